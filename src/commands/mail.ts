/**
 * `mail ID`: the whole way of one mail through a running sensor.
 */
import type { Attachment, Cost, Judgement, Mail, Url } from "../../gen/emailsensor/v1/sensor.ts";
import {
  actionWord,
  mailDetailJson,
  outcomeWord,
  sourceWord,
  stateWord,
  verdictWord,
} from "../control/json.ts";
import { SensorError } from "../errors.ts";
import { toJsonLine } from "../text.ts";
import { formatDuration, formatSize } from "../units.ts";
import type { Command, ExitCode } from "./command.ts";
import { controlArguments, SHARED_USAGE } from "./control-options.ts";
import { longTime, type Screen, screenOf } from "./screen.ts";
import { printable } from "./table.ts";

const USAGE = `use: email-sensor mail ID [options]

Shows one mail in full: envelope, header, each part with what policy decided and why, its verdict
and where VMRay keeps the findings, and the times. email-sensor mails lists the ids.

options:
${SHARED_USAGE}

Exit codes: 0 done, 1 no such mail or refused, 2 bad usage, 3 no sensor answers.
`;

const LABEL = 12;
const IOC_KINDS = ["urls", "domains", "ips", "files", "emailAddresses"] as const;

function field(label: string, values: readonly string[], indent = 0): readonly string[] {
  const first = " ".repeat(indent) + label.padEnd(LABEL);
  return values.map((value, index) => `${index === 0 ? first : " ".repeat(first.length)}${printable(value)}`);
}

function judgementLines({ decision, judgement }: Attachment | Url, screen: Screen): readonly string[] {
  if (judgement === undefined) return ["    verdict     waits"];
  const verdict = verdictWord(judgement.verdict) ?? "?";
  const outcome = outcomeWord(judgement.outcome);
  const judged = judgement.partial ? " (less was analysed than wanted)" : "";
  const how =
    outcome === "judged" ? judged : outcome === "skipped" ? " (not analysed)" : " (the analysis failed)";
  const why = judgement.reason === decision?.reason ? undefined : judgement.reason;
  const reason = why === undefined ? "" : `: ${printable(why)}`;
  const { vmray } = judgement;
  const numbers = [
    ...(vmray?.sampleId === undefined ? [] : [`sample ${vmray.sampleId}`]),
    ...(vmray?.submissionId === undefined ? [] : [`submission ${vmray.submissionId}`]),
  ].join(", ");
  return [
    `    verdict     ${screen.colour(verdict)}${how}${reason}`,
    ...field("threats", judgement.threatNames, 4),
    ...field("VMRay", vmray?.url === undefined ? (numbers === "" ? [] : [numbers]) : [vmray.url], 4),
    ...evidenceLines(judgement),
  ];
}

/** "9 calls, 1 submissions, 2 of the quota (2 reports), 61.3 s (waited 0.2 s, queued 3 s, analysis 55 s)". */
function costLine(cost: Cost): string {
  const tenths = (seconds: number) => Math.round(seconds * 10) / 10;
  const listed = (named: readonly (readonly [text: string, value: number | undefined])[]) => {
    const there = named.flatMap(([text, value]) =>
      value === undefined ? [] : [text.replace("#", String(tenths(value)))],
    );
    return there.length === 0 ? "" : ` (${there.join(", ")})`;
  };
  const kinds = listed([
    ["# reports", cost.reports || undefined],
    ["# verdicts", cost.verdicts || undefined],
  ]);
  const times = listed([
    ["waited # s", cost.waitedSeconds],
    ["queued # s", cost.queuedSeconds],
    ["analysis # s", cost.analysisSeconds],
  ]);
  return [
    `${cost.calls} calls, ${cost.submissions} submissions`,
    ...(cost.quota === undefined ? [] : [`${cost.quota} of the quota${kinds}`]),
    `${tenths(cost.seconds)} s${times}`,
  ].join(", ");
}

function evidenceLines({ evidence, cost, analyzer }: Judgement): readonly string[] {
  const iocs = evidence?.iocs;
  return [
    ...field("classes", evidence?.classifications ?? [], 4),
    ...field(
      "indicators",
      (evidence?.indicators ?? []).map((one) => `${one.score}/5 ${one.category}: ${one.operation}`),
      4,
    ),
    ...field(
      "techniques",
      (evidence?.techniques ?? []).map(({ id, name, tactics }) =>
        tactics.length === 0 ? `${id} ${name}` : `${id} ${name} (${tactics.join(", ")})`,
      ),
      4,
    ),
    ...field("IOCs", iocs === undefined ? [] : IOC_KINDS.flatMap((kind) => iocs[kind]), 4),
    ...field("cost", cost === undefined ? [] : [costLine(cost)], 4),
    ...field("analyzer", analyzer === undefined ? [] : [analyzer], 4),
  ];
}

function decisionLines(part: Attachment | Url): readonly string[] {
  if (part.decision === undefined) return [];
  const { action, rule, reason } = part.decision;
  return field("decision", [`${actionWord(action) ?? "?"} by ${rule}: ${reason}`], 4);
}

/** Where sender and recipients come from, where that is not SMTP. */
function envelopeNote({ envelopeSource }: Mail): string {
  const source = sourceWord(envelopeSource);
  if (source === "journal") return " (of the mail, as its journal report has it)";
  return source === "copy" ? " (recipients as the copy tells them)" : "";
}

export function renderMail(mail: Mail, screen: Screen): readonly string[] {
  const { envelope, header } = mail;
  const verdict = verdictWord(mail.verdict);
  const took =
    mail.finishedAt === undefined || mail.receivedAt === undefined
      ? ""
      : `, after ${formatDuration(Math.max(0, mail.finishedAt.getTime() - mail.receivedAt.getTime()))}`;
  return [
    ...field("mail", [mail.id]),
    ...field("state", [stateWord(mail.state) ?? "?"]),
    `${"verdict".padEnd(LABEL)}${verdict === null ? "none yet" : screen.colour(verdict)}${mail.complete === false ? " (incomplete: a part could not be judged, or not in full)" : ""}`,
    ...field("reasons", mail.reasons),
    ...field("received", [longTime(mail.receivedAt)]),
    ...field("finished", mail.finishedAt === undefined ? [] : [longTime(mail.finishedAt) + took]),
    ...field("attempts", mail.attempts === 0 ? [] : [`could not be taken apart ${mail.attempts} times`]),
    ...field("error", mail.error === undefined ? [] : [mail.error]),
    ...field("size", [
      `${formatSize(Number(mail.size))}, ${mail.rawKept ? "kept" : "bytes deleted by retention"}`,
    ]),
    ...field("sha256", [mail.sha256]),
    ...field("same as", mail.sameAs === undefined ? [] : [`${mail.sameAs}, another report of this mail`]),
    "",
    `envelope${envelopeNote(mail)}`,
    ...field("from", [envelope?.from === "" ? "<>" : (envelope?.from ?? "?")], 2),
    ...field("to", envelope?.to ?? [], 2),
    ...field(
      "client",
      [`${envelope?.clientIp ?? "?"} (${envelope?.helo ?? "?"}), ${envelope?.tls ?? "no TLS"}`],
      2,
    ),
    ...(header === undefined
      ? []
      : [
          "",
          "header",
          ...field("subject", header.subject === undefined ? [] : [header.subject], 2),
          ...field("from", header.from, 2),
          ...field("to", header.to, 2),
          ...field("cc", header.cc, 2),
          ...field("date", header.date === undefined ? [] : [header.date], 2),
          ...field("message id", header.messageId === undefined ? [] : [header.messageId], 2),
          ...field("flags", mail.flags, 2),
          ...field("passwords", mail.passwordCount === 0 ? [] : [`${mail.passwordCount} found`], 2),
          ...(mail.extractionComplete === false
            ? field("note", ["a limit cut the taking apart short"], 2)
            : []),
        ]),
    ...mail.attachments.flatMap((attachment) => [
      "",
      `attachment ${printable([...attachment.path, attachment.filename ?? "(no name)"].join(" > "))}`,
      ...field("content", [`${attachment.type}, ${formatSize(Number(attachment.size))}`], 4),
      ...field("sha256", [attachment.sha256], 4),
      ...field("sha1", [attachment.sha1], 4),
      ...field("md5", [attachment.md5], 4),
      ...field("facts", attachment.facts.length === 0 ? [] : [attachment.facts.join(", ")], 4),
      ...field("password", attachment.password === undefined ? [] : [attachment.password], 4),
      ...field("found by", attachment.views.length === 0 ? [] : [attachment.views.join(", ")], 4),
      ...decisionLines(attachment),
      ...judgementLines(attachment, screen),
    ]),
    ...mail.urls.flatMap((url) => [
      "",
      `url ${printable(url.url)}`,
      ...field("normal form", url.normalized === url.url ? [] : [url.normalized], 4),
      ...field("found in", url.sources.length === 0 ? [] : [url.sources.join(", ")], 4),
      ...field("wrapped in", url.unwrappedFrom, 4),
      ...field("leads to", url.targetDomain === undefined ? [] : [url.targetDomain], 4),
      ...field("personal", url.personal ? ["it carries the address of a recipient"] : [], 4),
      ...decisionLines(url),
      ...judgementLines(url, screen),
    ]),
    ...(mail.truncated ? ["", "Long texts or lists were cut; the spool has them in full."] : []),
  ];
}

async function run(args: readonly string[]): Promise<ExitCode> {
  const options = controlArguments(args, {}, 1);
  const id = options.positionals[0];
  if (id === undefined) throw new SensorError("USAGE", "which mail? email-sensor mails lists the ids");
  const client = await options.connect();
  try {
    const mail = await client.getMail(id);
    const lines = options.json
      ? [toJsonLine(mailDetailJson(mail))]
      : renderMail(mail, screenOf(process.stdout, process.env));
    process.stdout.write(`${lines.join("\n")}\n`);
    return 0;
  } finally {
    client.close();
  }
}

export const command: Command = {
  summary: "shows the whole way of one mail through a running sensor",
  usage: USAGE,
  run,
};
