/**
 * `explain`: says for each part of a mail which rule decides and what would be done, with no call made.
 *
 * In go mails and a configuration (or the defaults), out comes one table or one JSON object a mail. Mails are taken
 * apart in helper processes, as `scan` does it: one that cannot be read costs itself alone, and makes the exit code 1.
 */
import { isIP } from "node:net";
import { parseArgs } from "node:util";
import { knownSecret } from "../alert/marker.ts";
import { createOwnAlerts, OWN_ALERT_FLAG } from "../alert/own.ts";
import { loadConfig } from "../config/load.ts";
import { type Config, schema } from "../config/schema.ts";
import { type ControlClient, connectControl } from "../control/client.ts";
import { listEntryOf } from "../control/lists.ts";
import { readTokenFile } from "../control/token.ts";
import { asSensorError, SensorError } from "../errors.ts";
import { createExtractPool } from "../extract/pool.ts";
import { createLog } from "../log.ts";
import { toJsonLine } from "../text.ts";
import { loadPolicy } from "../triage/files.ts";
import { createLists, joinLists, type ListEntry, type Lists } from "../triage/lists.ts";
import type { Action, Decision, PlannedArtifact } from "../triage/plan.ts";
import { attachmentView, mailView, type Policy, type TriagedMail } from "../triage/policy.ts";
import { type Triaged, triage } from "../triage/triage.ts";
import { formatDuration, formatSize } from "../units.ts";
import type { Command, ExitCode } from "./command.ts";
import { type Item, inOrder, itemsOf } from "./scan/inputs.ts";
import { printable, renderTable } from "./table.ts";

const USAGE = `use: email-sensor explain [--config FILE] [--json] [options] FILE...

Says for each attachment and URL of a mail which rule decides about it, and what a sensor would do.
Nothing is sent anywhere. FILE is what email-sensor scan takes: .eml, mbox, .msg, winmail.dat, or -.

options:
  --config FILE    the configuration whose rules and lists count; the defaults where it is missing
  --from ADDRESS   envelope sender, <> for none; where it is missing the first address of From
  --to ADDRESS     envelope recipient, repeat it for several; where it is missing those of To and Cc
  --client-ip IP   address of the SMTP client (127.0.0.1)
  --json           one object a line, a mail: file, error, envelope, direction, sender_list,
                   run_time_lists (whether those of a running sensor were asked), parts

The envelope of a journal report or a copy is the one that its own text names. What email-sensor lists added
to a running sensor counts where --config names one that answers; else a note on stderr says that it does not.
Rules and list files count as they are now: a running sensor has them as they were at its last reload.

Exit codes: 0 done, 1 a file could not be read, 2 bad usage or configuration.
`;

type Options = {
  readonly config: string | null;
  readonly json: boolean;
  /** Null where the header tells. */
  readonly from: string | null;
  readonly to: readonly string[] | null;
  readonly clientIp: string;
  readonly files: readonly string[];
};

/** What would be done with a mail. */
export type Explained = {
  /** Whether the lists of a running sensor were asked. */
  readonly runTimeLists?: boolean;
  readonly mail: TriagedMail;
  readonly triaged: Triaged;
  readonly policy: Policy;
};

export const command: Command = {
  summary: "says which rule decides about each part of a mail, and what would be done",
  usage: USAGE,
  async run(args) {
    const options = readArguments(args);
    const log = createLog("warn", (line) => process.stderr.write(line));
    const config = options.config === null ? null : await loadConfig(options.config, process.env);
    const loaded = await loadPolicy(config?.triage ?? schema.shape.triage.parse({}), log);
    const { policy } = loaded;
    const runTime = config === null ? "no --config names a sensor" : await listsOf(config.control);
    const runTimeLists = typeof runTime !== "string";
    if (!runTimeLists) process.stderr.write(`entries added to a running sensor do not count: ${runTime}\n`);
    const lists = runTimeLists ? joinLists([runTime, loaded.lists]) : loaded.lists;
    const settings = config?.extract ?? schema.shape.extract.parse({});
    const pool = createExtractPool(settings, log);
    const secret = config === null ? null : knownSecret(config.spool.path);
    const ownAlerts = secret === null ? null : createOwnAlerts({ secret, log });
    const explained = async (item: Item): Promise<Explained | SensorError> => {
      if (item.raw instanceof SensorError) return item.raw;
      try {
        const extraction =
          (await ownAlerts?.recognise(item.raw)) ??
          (await pool.extract(item.raw, { copiedTo: options.to ?? [] }));
        const mail = { extraction, envelope: envelopeOf(extraction.mail, options) };
        return { ...explain(mail, policy, lists), runTimeLists };
      } catch (thrown) {
        return asSensorError(thrown);
      }
    };
    const width = process.stdout.isTTY === true ? Math.max(60, process.stdout.columns) : Infinity;
    let exitCode: ExitCode = 0;
    try {
      const results = inOrder(itemsOf(options.files), 2 * settings.helpers, async (item) => ({
        item,
        outcome: await explained(item),
      }));
      for await (const { item, outcome } of results) {
        if (outcome instanceof SensorError) exitCode = 1;
        const shown = options.json
          ? jsonLine(item, outcome)
          : `${tableOf(item, outcome, width).join("\n")}\n\n`;
        await Bun.write(Bun.stdout, shown);
      }
    } finally {
      await pool.close();
    }
    return exitCode;
  },
};

/** The lists of the running sensor, or why they cannot be had. */
async function listsOf({ listen, token_file }: Config["control"]): Promise<Lists | string> {
  let client: ControlClient | null = null;
  try {
    client = connectControl(listen, token_file === undefined ? null : await readTokenFile(token_file));
    const entries: ListEntry[] = [];
    for (let pageToken = ""; ; ) {
      const page = await client.listListEntries({ list: 0, kind: 0, text: "", pageSize: 500, pageToken });
      entries.push(...page.entries.flatMap((entry) => listEntryOf(entry) ?? []));
      pageToken = page.nextPageToken;
      if (pageToken === "") return createLists(entries);
    }
  } catch (thrown) {
    // Without the advice, which is about options of other commands.
    return asSensorError(thrown).message.split(". ")[0] ?? "";
  } finally {
    client?.close();
  }
}

function readArguments(args: readonly string[]): Options {
  try {
    const { values, positionals } = parseArgs({
      args: [...args],
      options: {
        config: { type: "string" },
        json: { type: "boolean" },
        from: { type: "string" },
        to: { type: "string", multiple: true },
        "client-ip": { type: "string" },
      },
      allowPositionals: true,
    });
    if (positionals.length === 0) throw new Error("needs at least one FILE");
    const clientIp = values["client-ip"] ?? "127.0.0.1";
    if (isIP(clientIp) === 0) throw new Error("--client-ip must be an IP address");
    return {
      config: values.config ?? null,
      json: values.json === true,
      from: values.from === undefined ? null : bare(values.from),
      to: values.to === undefined ? null : values.to.map(bare),
      clientIp,
      files: positionals,
    };
  } catch (thrown) {
    const message = thrown instanceof Error ? thrown.message : String(thrown);
    throw new SensorError("USAGE", `${message}; see --help`, { cause: thrown });
  }
}

function bare(address: string): string {
  return address.trim().replace(/^<(.*)>$/, "$1");
}

function envelopeOf(
  { from, to, cc }: TriagedMail["extraction"]["mail"],
  options: Options,
): TriagedMail["envelope"] {
  return {
    from: options.from ?? from[0] ?? "",
    to: options.to ?? [...to, ...cc],
    client_ip: options.clientIp,
  };
}

export function explain(mail: TriagedMail, policy: Policy, lists: Lists): Explained {
  return { mail, policy, triaged: triage(mail, policy, lists) };
}

// ---- for programs

function jsonLine({ file, message }: Item, outcome: Explained | SensorError): string {
  const about = { file, ...(message === null ? {} : { message }) };
  if (outcome instanceof SensorError) {
    const nothing = { envelope: null, direction: null, sender_list: null, run_time_lists: false, parts: [] };
    return `${toJsonLine({ ...about, error: outcome.message, ...nothing })}\n`;
  }
  const { mail, policy, triaged, runTimeLists = false } = outcome;
  return `${toJsonLine({
    ...about,
    error: null,
    envelope: envelopeSeen(mail),
    direction: mailView(mail, policy).direction,
    sender_list: triaged.sender,
    run_time_lists: runTimeLists,
    parts: triaged.plan.map(jsonPart),
  })}\n`;
}

function jsonPart(part: PlannedArtifact): object {
  const { action, rule, reason, priority = "normal", analyzer = null, parameters = {} } = part.decision;
  const decision = { action, rule, reason, priority, analyzer, parameters, list: part.decision.list ?? null };
  if (part.kind === "url") {
    const { url, normalized, sources } = part.url;
    return { kind: "url", url, normalized, sources, ...decision };
  }
  const { filename, sha256, size, type, path, facts } = part.attachment;
  const { group } = attachmentView(part.attachment);
  return { kind: "attachment", filename, sha256, size, type, group, path, facts, ...decision };
}

/** The envelope that counts: that of the mail itself where it tells one. */
function envelopeSeen({ extraction, envelope }: TriagedMail) {
  const { from, to, client_ip } = envelope;
  return { from: extraction.envelope?.from ?? from, to: extraction.envelope?.to ?? to, client_ip };
}

// ---- for people

const MEANINGS: Readonly<Record<Action, string>> = {
  skip: "Nobody is asked.",
  lookup: "VMRay is asked what it knows.",
  reputation: "VMRay's reputation service is asked where VMRay does not know it.",
  static: "VMRay reads it without running it, where it does not know it.",
  dynamic: "VMRay detonates it where it does not know it.",
};

const MAX_SHOWN_RECIPIENTS = 5;

/** The lines about one mail, none wider than `width` but for reasons. */
export function tableOf(
  { file, message }: Pick<Item, "file" | "message">,
  outcome: Explained | SensorError,
  width: number,
): readonly string[] {
  const title = printable(`${file}${message === null ? "" : `, message ${message}`}`);
  if (outcome instanceof SensorError) return [title, `  error: ${printable(outcome.message)}`];
  const { mail, policy, triaged } = outcome;
  const { from, to, client_ip } = envelopeSeen(mail);
  const { direction } = mailView(mail, policy);
  const recipients = to.slice(0, MAX_SHOWN_RECIPIENTS).join(", ");
  const more = to.length > MAX_SHOWN_RECIPIENTS ? ` and ${to.length - MAX_SHOWN_RECIPIENTS} more` : "";
  const head = [
    title,
    `  ${printable(`from ${from === "" ? "<>" : from} to ${recipients}${more}, client ${client_ip}${direction === null ? "" : `, ${direction}`}`)}`,
    ...(triaged.sender === null ? [] : [`  ${printable(senderText(triaged.sender))}`]),
    ...(mail.extraction.flags.includes(OWN_ALERT_FLAG)
      ? ["  an alert of this sensor: it is archived and not taken apart"]
      : []),
    ...(mail.extraction.complete
      ? []
      : ["  something in the mail was not read: email-sensor scan says what"]),
  ];
  if (triaged.plan.length === 0) return [...head, "  no attachment and no URL"];
  const settings = triaged.plan.map(({ decision }) => settingsText(decision));
  const withSettings = settings.some((text) => text !== "");
  const columns = [
    { title: "part", shrink: true },
    { title: "type", shrink: true },
    { title: "action" },
    { title: "rule" },
    ...(withSettings ? [{ title: "with", shrink: true }] : []),
  ];
  const rows = triaged.plan.map((part, n) => [
    part.kind === "url" ? part.url.normalized : fileText(part),
    part.kind === "url" ? `URL (${part.url.sources.join(", ")})` : part.attachment.type,
    part.decision.action,
    part.decision.rule,
    ...(withSettings ? [settings[n] ?? ""] : []),
  ]);
  const [titles = "", ruler = "", ...lines] = renderTable(columns, rows, width - 2);
  return [
    ...head,
    "",
    `  ${titles}`,
    `  ${ruler}`,
    ...lines.flatMap((line, n) => [`  ${line}`, `    ${printable(whyText(triaged.plan[n]?.decision))}`]),
  ];
}

function senderText({ list, address, entry }: NonNullable<Triaged["sender"]>): string {
  const meaning = list === "deny" ? "the mail is malicious" : "its parts are only looked up";
  return `the sender ${address} is on the ${list} list ${entry}; ${meaning}`;
}

function fileText({ attachment }: PlannedArtifact & { readonly kind: "attachment" }): string {
  const { filename, size, path } = attachment;
  const place = path.length === 0 ? "" : ` in ${path.join(" > ")}`;
  return `${filename ?? "(no name)"}, ${formatSize(size)}${place}`;
}

function whyText(decision: Decision | undefined): string {
  if (decision === undefined) return "";
  const { action, reason, list } = decision;
  if (list === undefined) return `${reason} ${MEANINGS[action]}`;
  return `It is ${reason}; ${list === "deny" ? "it is malicious, and nobody is asked" : "nobody is asked"}.`;
}

/** Priority, analyzer and parameters, where they are not the usual ones. */
function settingsText({ priority = "normal", analyzer, parameters = {} }: Decision): string {
  return [
    ...(priority === "normal" ? [] : [`${priority} priority`]),
    ...(analyzer === undefined ? [] : [`analyzer ${analyzer}`]),
    ...Object.entries(parameters).map(([name, value]) => `${name} ${parameterText(name, value)}`),
  ].join("; ");
}

function parameterText(name: string, value: unknown): string {
  if (name === "analysis_timeout" && typeof value === "number") return formatDuration(value);
  return Array.isArray(value) ? value.join("+") : String(value);
}
