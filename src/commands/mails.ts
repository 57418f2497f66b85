/**
 * `mails`: the mails a running sensor took in, newest first.
 */
import type { MailFilter, MailSummary } from "../../gen/emailsensor/v1/sensor.ts";
import { stateWord, summaryJson, verdictWord } from "../control/json.ts";
import { API_MAIL_STATE, API_VERDICT } from "../control/vocabulary.ts";
import { toJsonLine } from "../text.ts";
import { formatSize } from "../units.ts";
import type { Command, ExitCode } from "./command.ts";
import {
  type ControlArguments,
  controlArguments,
  numbersOf,
  readCount,
  readInstant,
  SHARED_USAGE,
} from "./control-options.ts";
import { type Screen, screenOf, shortTime } from "./screen.ts";
import { type Column, renderTable } from "./table.ts";

const DEFAULT_LIMIT = 50;
const PAGE_SIZE = 500;

const USAGE = `use: email-sensor mails [options]

Lists the mails a running sensor took in, newest first. email-sensor mail ID shows one in full.

options:
  --state STATE       ${Object.keys(API_MAIL_STATE).join(", ")}; repeat it or use commas for several
  --verdict VERDICT   ${Object.keys(API_VERDICT).join(", ")}; repeat it or use commas for several
  --since TIME        received since: how long ago (30m, 2h, 7d) or a date (2026-03-31, 2026-03-31T08:00Z)
  --until TIME        received before
  --text TEXT         part of the subject, the sender or a recipient
  --limit N           at most N mails (${DEFAULT_LIMIT})
${SHARED_USAGE}; one object a line, a mail

Exit codes: 0 done, also where no mail matches, 1 refused, 2 bad usage, 3 no sensor answers.
`;

const COLUMNS: Readonly<Record<string, Column>> = {
  id: { title: "id" },
  received: { title: "received" },
  verdict: { title: "verdict" },
  size: { title: "size", align: "right" },
  parts: { title: "parts", align: "right" },
  from: { title: "from", shrink: true },
  subject: { title: "subject", shrink: true },
};
/** Columns left out where the terminal is narrower. */
const NEEDED_WIDTH: Readonly<Record<string, number>> = { size: 130, parts: 130, from: 95 };

/** The verdict, or where the mail stands while it has none. */
function standing(mail: MailSummary): string {
  return verdictWord(mail.verdict) ?? stateWord(mail.state) ?? "?";
}

export function renderMails(mails: readonly MailSummary[], screen: Screen, now: Date): readonly string[] {
  const names = Object.keys(COLUMNS).filter((name) => screen.width >= (NEEDED_WIDTH[name] ?? 0));
  const cells = (mail: MailSummary): Readonly<Record<string, string>> => ({
    id: mail.id,
    received: shortTime(mail.receivedAt, now),
    verdict: standing(mail),
    size: formatSize(Number(mail.size)),
    parts: String(mail.attachmentCount + mail.urlCount),
    from: mail.envelopeFrom === "" ? "<>" : mail.envelopeFrom,
    subject: mail.subject ?? "",
  });
  return renderTable(
    names.flatMap((name) => COLUMNS[name] ?? []),
    mails.map((mail) => names.map((name) => cells(mail)[name] ?? "")),
    screen.width,
    (cell, row, column) => {
      const mail = mails[row];
      return names[column] === "verdict" && mail !== undefined ? screen.colour(standing(mail), cell) : cell;
    },
  );
}

function filterOf(options: ControlArguments, now: number): MailFilter {
  const since = options.value("since");
  const until = options.value("until");
  return {
    states: numbersOf("--state", API_MAIL_STATE, options.values("state")),
    verdicts: numbersOf("--verdict", API_VERDICT, options.values("verdict")),
    receivedSince: since === undefined ? undefined : readInstant("--since", since, now),
    receivedUntil: until === undefined ? undefined : readInstant("--until", until, now),
    text: options.value("text") ?? "",
  };
}

async function run(args: readonly string[]): Promise<ExitCode> {
  const options = controlArguments(
    args,
    {
      state: { type: "string", multiple: true },
      verdict: { type: "string", multiple: true },
      since: { type: "string" },
      until: { type: "string" },
      text: { type: "string" },
      limit: { type: "string" },
    },
    0,
  );
  const now = new Date();
  const filter = filterOf(options, now.getTime());
  const limit = readCount("--limit", options.value("limit") ?? String(DEFAULT_LIMIT), 1, 1_000_000);
  const screen = screenOf(process.stdout, process.env);
  const client = await options.connect();
  try {
    const shown: MailSummary[] = [];
    let left = limit;
    let pageToken = "";
    do {
      const page = await client.listMails({ filter, pageSize: Math.min(left, PAGE_SIZE), pageToken });
      const mails = page.mails.slice(0, left);
      left -= mails.length;
      pageToken = page.nextPageToken;
      if (options.json) for (const mail of mails) process.stdout.write(`${toJsonLine(summaryJson(mail))}\n`);
      else shown.push(...mails);
    } while (pageToken !== "" && left > 0);
    if (options.json) return 0;
    if (shown.length === 0) {
      process.stderr.write("no mail matches\n");
      return 0;
    }
    process.stdout.write(`${renderMails(shown, screen, now).join("\n")}\n`);
    if (pageToken !== "") process.stderr.write(`there are more; --limit ${limit * 2} shows more of them\n`);
    return 0;
  } finally {
    client.close();
  }
}

export const command: Command = {
  summary: "lists the mails a running sensor took in, newest first",
  usage: USAGE,
  run,
};
