/**
 * `lists`: shows and changes the allow and deny lists of a running sensor.
 *
 * In: a verb, a list, a kind and values, or lines on stdin in the form of list files. Out: a table or JSON. Many values
 * go in several calls; a fault in the middle says how many are done, and the same command may be given again.
 */
import type { ListEntry } from "../../gen/emailsensor/v1/sensor.ts";
import { listEntryJson } from "../control/json.ts";
import { ENTRY_LIMIT } from "../control/lists.ts";
import { API_LIST_KIND, API_LIST_NAME, wordOf } from "../control/vocabulary.ts";
import { asSensorError, SensorError } from "../errors.ts";
import { escapeControls, toJsonLine } from "../text.ts";
import { readListFile } from "../triage/list-file.ts";
import { LIST_KINDS, LIST_NAMES, type ListKind, type ListName, readListValue } from "../triage/lists.ts";
import { parseDuration } from "../units.ts";
import type { Command, ExitCode } from "./command.ts";
import { type ControlArguments, controlArguments, readCount, SHARED_USAGE } from "./control-options.ts";
import { type Screen, screenOf, shortTime } from "./screen.ts";
import { renderTable } from "./table.ts";

const DEFAULT_LIMIT = 50;
const PAGE_SIZE = 500;
/** Values on one command line. */
const MAX_VALUES = 10_000;
/** Ten times what a running sensor holds. */
const MAX_STDIN_VALUES = 1_000_000;
/** Bytes of stdin. */
const MAX_STDIN = 64 * 1024 * 1024;
/** Bytes of values and comments in one call. */
const CALL_BYTES = 128 * 1024;

const USAGE = `use: email-sensor lists [show] [--list LIST] [--kind KIND] [--text TEXT] [--limit N]
     email-sensor lists add --list LIST --kind KIND [--comment TEXT] [--expires TIME] VALUE...
     email-sensor lists remove --list LIST --kind KIND VALUE...

Shows and changes the allow and deny lists of a running sensor. They count at once, beside the files of
triage.lists, and are kept over restarts. What is denied is malicious, what is allowed is not analysed.

options:
  --list LIST         ${LIST_NAMES.join(", ")}
  --kind KIND         hash (of an attachment), domain (of URLs, with all below it), url, sender (an
                      address, or a domain with all below it)
  --comment TEXT      why, for people; told with each hit
  --expires TIME      after how long (30m, 2h, 7d) or when (2026-03-31, 2026-03-31T08:00Z) they no longer count
  --text TEXT         part of the value or the comment
  --limit N           at most N entries (${DEFAULT_LIMIT})
${SHARED_USAGE}; show: one object a line, an entry

VALUE - reads stdin: one value a line, and after white space and # a comment, as in the files.
Removing does not change what mails were judged to be.

Exit codes: 0 done, 1 refused, 2 bad usage, 3 no sensor answers.
`;

const OWN = {
  list: { type: "string" },
  kind: { type: "string" },
  comment: { type: "string" },
  expires: { type: "string" },
  text: { type: "string" },
  limit: { type: "string" },
} as const;
const OPTIONS: Readonly<Record<string, readonly string[]>> = {
  show: ["list", "kind", "text", "limit"],
  add: ["list", "kind", "comment", "expires"],
  remove: ["list", "kind"],
};

async function run(args: readonly string[]): Promise<ExitCode> {
  const options = controlArguments(args, OWN, MAX_VALUES + 1);
  const [verb = "show", ...values] = options.positionals;
  const known = OPTIONS[Object.hasOwn(OPTIONS, verb) ? verb : ""];
  if (known === undefined) {
    throw new SensorError("USAGE", `does not understand ${JSON.stringify(verb)}: give show, add or remove`);
  }
  const foreign = Object.keys(OWN).find((name) => options.value(name) !== undefined && !known.includes(name));
  if (foreign !== undefined) throw new SensorError("USAGE", `--${foreign} is not for ${verb}; see --help`);
  if (verb === "show") return show(options, values);
  return verb === "add" ? add(options, values) : remove(options, values);
}

// ---- show

async function show(options: ControlArguments, rest: readonly string[]): Promise<ExitCode> {
  if (rest[0] !== undefined) {
    throw new SensorError(
      "USAGE",
      `does not understand ${JSON.stringify(rest[0])}; --text looks for a value`,
    );
  }
  const limit = readCount("--limit", options.value("limit") ?? String(DEFAULT_LIMIT), 1, 1_000_000);
  const list = wanted(options, "list", LIST_NAMES);
  const kind = wanted(options, "kind", LIST_KINDS);
  const request = {
    list: list === undefined ? 0 : API_LIST_NAME[list],
    kind: kind === undefined ? 0 : API_LIST_KIND[kind],
    text: options.value("text") ?? "",
  };
  const client = await options.connect();
  try {
    const shown: ListEntry[] = [];
    let left = limit;
    let pageToken = "";
    do {
      const pageSize = Math.min(left, PAGE_SIZE);
      const page = await client.listListEntries({ ...request, pageSize, pageToken });
      const entries = page.entries.slice(0, left);
      left -= entries.length;
      pageToken = page.nextPageToken;
      if (options.json) {
        for (const entry of entries) process.stdout.write(`${toJsonLine(listEntryJson(entry))}\n`);
      } else shown.push(...entries);
    } while (pageToken !== "" && left > 0);
    if (options.json) return 0;
    if (shown.length === 0) {
      process.stderr.write("no entry; those of files (triage.lists) are not shown here\n");
      return 0;
    }
    process.stdout.write(
      `${renderEntries(shown, screenOf(process.stdout, process.env), new Date()).join("\n")}\n`,
    );
    if (pageToken !== "") process.stderr.write(`there are more; --limit ${limit * 2} shows more of them\n`);
    return 0;
  } finally {
    client.close();
  }
}

export function renderEntries(entries: readonly ListEntry[], screen: Screen, now: Date): readonly string[] {
  return renderTable(
    [
      { title: "list" },
      { title: "kind" },
      { title: "value", shrink: true },
      { title: "added" },
      { title: "expires" },
      { title: "comment", shrink: true },
    ],
    entries.map((entry) => [
      wordOf(API_LIST_NAME, entry.list) ?? "?",
      wordOf(API_LIST_KIND, entry.kind) ?? "?",
      entry.value,
      shortTime(entry.addedAt, now),
      entry.expiresAt === undefined ? "never" : shortTime(entry.expiresAt, now),
      entry.comment,
    ]),
    screen.width,
  );
}

// ---- add and remove

async function add(options: ControlArguments, values: readonly string[]): Promise<ExitCode> {
  const expires = options.value("expires");
  const expiresAt = expires === undefined ? undefined : readExpiry(expires, Date.now());
  const comment = options.value("comment") ?? "";
  const written = await readValues(options, values);
  const entries = written.map((entry) => ({ ...entry, comment: entry.comment || comment, expiresAt }));
  let [added, changed] = [0, 0];
  await inCalls(options, entries, async (client, part) => {
    const outcome = await client.addListEntries({ entries: part });
    added += outcome.added;
    changed += outcome.changed;
  });
  const unchanged = entries.length - added - changed;
  process.stdout.write(
    options.json
      ? `${toJsonLine({ added, changed, unchanged })}\n`
      : `${added} added, ${changed} changed, ${unchanged} there already\n`,
  );
  return 0;
}

async function remove(options: ControlArguments, values: readonly string[]): Promise<ExitCode> {
  const entries = await readValues(options, values);
  let removed = 0;
  await inCalls(options, entries, async (client, part) => {
    removed += (await client.removeListEntries({ entries: part })).removed;
  });
  const missing = entries.length - removed;
  process.stdout.write(
    options.json ? `${toJsonLine({ removed, missing })}\n` : `${removed} removed, ${missing} not there\n`,
  );
  return 0;
}

/** Has the entries sent in calls that are small enough, one after the other. */
async function inCalls(
  options: ControlArguments,
  entries: readonly ListEntry[],
  send: (
    client: Awaited<ReturnType<ControlArguments["connect"]>>,
    part: readonly ListEntry[],
  ) => Promise<void>,
): Promise<void> {
  const client = await options.connect();
  let done = 0;
  try {
    while (done < entries.length) {
      let bytes = 0;
      const part: ListEntry[] = [];
      for (const entry of entries.slice(done, done + ENTRY_LIMIT)) {
        bytes += Buffer.byteLength(entry.value) + Buffer.byteLength(entry.comment);
        if (part.length > 0 && bytes > CALL_BYTES) break;
        part.push(entry);
      }
      await send(client, part);
      done += part.length;
    }
  } catch (thrown) {
    if (done === 0) throw thrown;
    const { code, message } = asSensorError(thrown);
    const left = `the first ${done} of ${entries.length} values are done; give the command again for the rest`;
    throw new SensorError(code, `${message}; ${left}`, { cause: thrown });
  } finally {
    client.close();
  }
}

/** The values of the command line or of stdin, each once. Throws USAGE naming every one that is no good, 20 at most. */
async function readValues(
  options: ControlArguments,
  values: readonly string[],
): Promise<readonly ListEntry[]> {
  const list = wanted(options, "list", LIST_NAMES);
  if (list === undefined)
    throw new SensorError("USAGE", `on which list? give --list ${LIST_NAMES.join(" or ")}`);
  const kind = wanted(options, "kind", LIST_KINDS);
  if (kind === undefined)
    throw new SensorError("USAGE", `of which kind? give --kind ${LIST_KINDS.join(", ")}`);
  if (values.length === 0)
    throw new SensorError("USAGE", "which values? give at least one VALUE, or - for stdin");
  const found = new Map<string, ListEntry>();
  const put = (value: string, comment: string) =>
    found.set(value, {
      list: API_LIST_NAME[list],
      kind: API_LIST_KIND[kind],
      value,
      comment,
      addedAt: undefined,
      expiresAt: undefined,
    });
  const problems: string[] = [];
  for (const written of values) {
    if (written === "-") {
      const read = await readListFile(await readStdin(), { list, kind }, MAX_STDIN_VALUES);
      if (read === "binary") throw new SensorError("USAGE", "stdin is not UTF-8 text");
      if (read === "full") throw new SensorError("USAGE", `stdin has more than ${MAX_STDIN_VALUES} values`);
      for (const { value, comment } of read.entries(0, read.count)) put(value, comment ?? "");
      problems.push(...read.problems.map(({ line, message }) => `line ${line} of stdin ${message}`));
      continue;
    }
    const value = readListValue(list, kind, written);
    if (typeof value === "string") put(value, "");
    else problems.push(`"${escapeControls(written.slice(0, 100))}" ${value.problem}`);
  }
  if (problems.length > 0) {
    throw new SensorError("USAGE", `nothing was done: ${problems.slice(0, 20).join("\n  ")}`);
  }
  if (found.size === 0) throw new SensorError("USAGE", "stdin has no value");
  return [...found.values()];
}

async function readStdin(): Promise<Uint8Array> {
  const chunks: Uint8Array[] = [];
  let bytes = 0;
  for await (const chunk of Bun.stdin.stream()) {
    bytes += chunk.length;
    if (bytes > MAX_STDIN) throw new SensorError("USAGE", "stdin has more than 64 MB");
    chunks.push(chunk);
  }
  return Buffer.concat(chunks);
}

function wanted<Word extends ListName | ListKind>(
  options: ControlArguments,
  name: string,
  words: readonly Word[],
): Word | undefined {
  const written = options.value(name);
  if (written === undefined) return undefined;
  const word = words.find((one) => one === written);
  if (word !== undefined) return word;
  throw new SensorError(
    "USAGE",
    `--${name}: ${JSON.stringify(written)} is not known; give ${words.join(", ")}`,
  );
}

function readExpiry(text: string, now: number): Date {
  const after = parseDuration(text);
  const date =
    after === null
      ? new Date(
          /^\d{4}-\d{2}-\d{2}$/.test(text)
            ? `${text}T00:00:00`
            : /^\d{4}-\d{2}-\d{2}T/.test(text)
              ? text
              : "",
        )
      : new Date(now + after);
  if (date.getTime() > now) return date;
  const problem = Number.isNaN(date.getTime())
    ? "is no time; give how long (30m, 2h, 7d) or a date (2026-03-31, 2026-03-31T08:00Z)"
    : "is in the past; give a later time";
  throw new SensorError("USAGE", `--expires: ${JSON.stringify(text)} ${problem}`);
}

export const command: Command = {
  summary: "shows and changes the allow and deny lists of a running sensor",
  usage: USAGE,
  run,
};
