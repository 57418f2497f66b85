/**
 * `scan`: takes mails apart and shows what is in them, with no network and no sensor.
 *
 * In go files (or stdin), out comes one JSON object or one summary a mail, in the order of the files. Mails are
 * taken apart in helper processes: one that cannot be read costs itself alone, and makes the exit code 1.
 */
import { mkdir } from "node:fs/promises";
import { resolve } from "node:path";
import { parseArgs } from "node:util";
import { schema } from "../config/schema.ts";
import { asSensorError, SensorError } from "../errors.ts";
import type { Attachment, Extraction, FoundUrl, OriginalEnvelope } from "../extract/extraction.ts";
import { FLAGS } from "../extract/flags.ts";
import { NO_FACTS } from "../extract/mail-facts.ts";
import { createExtractPool, type ExtractPool } from "../extract/pool.ts";
import { createLog } from "../log.ts";
import { escapeControls, toJsonLine } from "../text.ts";
import { formatSize } from "../units.ts";
import type { Command, ExitCode } from "./command.ts";
import { type Item, inOrder, itemsOf } from "./scan/inputs.ts";

const USAGE = `use: email-sensor scan [--json] [--extract-to DIR] FILE...

Takes mails apart and lists their attachments and URLs. No network, no sensor, no configuration.
FILE is a mail as it travels (.eml), an mbox, a .msg or winmail.dat of Outlook, or - for stdin.

options:
  --json            one JSON object a line for each mail, in the order of the files: file, error, mail,
                    envelope, attachments, urls, passwords, flags, complete; a mail of an mbox also has
                    message, its number in the file
  --extract-to DIR  writes the bytes of each attachment to DIR, named by its SHA-256

What lies in mails, archives and documents is listed after what it lies in. An attachment shows what is
true of it (facts), the password that opens it, and how it was found where the standard's way of reading
does not show it. The envelope is whom a journal report or a copy says the mail was for.

Exit codes: 0 done, 1 a file could not be read, 2 bad usage.
`;

type Result = { readonly item: Item; readonly outcome: Extraction | SensorError };

const NOTHING: Extraction = {
  mail: NO_FACTS,
  envelope: null,
  attachments: [],
  urls: [],
  passwords: [],
  flags: [],
  complete: false,
};

export const command: Command = {
  summary: "takes mails apart and lists attachments and URLs, with no network",
  usage: USAGE,
  async run(args) {
    const { json, extractTo, files } = readArguments(args);
    if (extractTo !== null) await mkdir(extractTo, { recursive: true });
    const settings = schema.shape.extract.parse({});
    const pool = createExtractPool(
      settings,
      createLog("error", (line) => process.stderr.write(line)),
    );
    const show = json ? jsonLine : (result: Result) => summary(result, process.stdout.isTTY === true);
    let exitCode: ExitCode = 0;
    try {
      for await (const result of inOrder(itemsOf(files), 2 * settings.helpers, (item) =>
        scanned(pool, item, extractTo),
      )) {
        if (result.outcome instanceof SensorError) exitCode = 1;
        await Bun.write(Bun.stdout, show(result));
      }
    } finally {
      await pool.close();
    }
    return exitCode;
  },
};

function readArguments(args: readonly string[]) {
  try {
    const { values, positionals } = parseArgs({
      args: [...args],
      options: { json: { type: "boolean" }, "extract-to": { type: "string" } },
      allowPositionals: true,
    });
    if (positionals.length === 0) throw new Error("needs at least one FILE");
    const folder = values["extract-to"];
    return {
      json: values.json === true,
      extractTo: folder === undefined ? null : resolve(folder),
      files: positionals,
    };
  } catch (thrown) {
    const message = thrown instanceof Error ? thrown.message : String(thrown);
    throw new SensorError("USAGE", `${message}; see --help`, { cause: thrown });
  }
}

async function scanned(pool: ExtractPool, item: Item, extractTo: string | null): Promise<Result> {
  if (item.raw instanceof SensorError) return { item, outcome: item.raw };
  try {
    return { item, outcome: await pool.extract(item.raw, { contentsTo: extractTo ?? undefined }) };
  } catch (thrown) {
    return { item, outcome: asSensorError(thrown) };
  }
}

function jsonLine({ item, outcome }: Result): string {
  const { mail, envelope, attachments, urls, passwords, flags, complete } =
    outcome instanceof SensorError ? NOTHING : outcome;
  const error = outcome instanceof SensorError ? outcome.message : null;
  const message = item.message === null ? {} : { message: item.message };
  const parts = { attachments, urls, passwords, flags, complete };
  return `${toJsonLine({ file: item.file, ...message, error, mail, envelope, ...parts })}\n`;
}

/** The result for people. */
function summary({ item, outcome }: Result, colours: boolean): string {
  const paint = (code: string, text: string): string => (colours ? `\x1b[${code}m${text}\x1b[0m` : text);
  const title = `${item.file}${item.message === null ? "" : `, message ${item.message}`}`;
  const lines = [paint("1", escapeControls(title))];
  const fact = (name: string, value: string | null): void => {
    if (value !== null && value !== "") lines.push(`  ${name.padEnd(12)}${escapeControls(value)}`);
  };
  if (outcome instanceof SensorError) {
    lines.push(`  ${paint("31", `${"error".padEnd(12)}${escapeControls(outcome.message)}`)}`);
    return `${lines.join("\n")}\n\n`;
  }
  const { mail, envelope, attachments, urls, passwords, flags, complete } = outcome;
  fact("subject", mail.subject);
  fact("from", mail.from.join(", "));
  fact("to", mail.to.join(", "));
  fact("cc", mail.cc.join(", "));
  fact("date", mail.date);
  fact("message id", mail.message_id);
  if (envelope !== null) fact("envelope", envelopeText(envelope));
  fact("attachments", String(attachments.length));
  for (const attachment of attachments) lines.push(...attachmentLines(attachment));
  fact("urls", String(urls.length));
  for (const url of urls) lines.push(...urlLines(url));
  if (flags.includes("archive_encrypted"))
    fact("passwords", `${passwords.length} tried, which did not open all`);
  for (const flag of flags) {
    const meaning = Object.entries(FLAGS).find(([name]) => name === flag)?.[1].meaning ?? "";
    lines.push(`  ${paint("33", `${"flag".padEnd(12)}${escapeControls(flag)}: ${meaning}`)}`);
  }
  if (!complete) lines.push(`  ${paint("33", `${"complete".padEnd(12)}no: something was not read`)}`);
  return `${lines.join("\n")}\n\n`;
}

function envelopeText({ source, from, to }: OriginalEnvelope): string {
  const sender = from === null ? "" : `from ${from === "" ? "<>" : from} `;
  return `${source === "journal" ? "journal report" : "copy"}: ${sender}to ${to.join(", ")}`;
}

/** `name` and `value` below an attachment or a URL; no line where there is no value. */
function detail(name: string, value: string): readonly string[] {
  return value === "" ? [] : [`      ${name.padEnd(12)}${escapeControls(value)}`];
}

function attachmentLines(attachment: Attachment): readonly string[] {
  const { filename, size, type, sha256, path, views, facts, password } = attachment;
  const place = path.length === 0 ? "" : `, in ${path.join(" > ")}`;
  return [
    `    ${escapeControls(`${filename ?? "(no name)"}, ${formatSize(size)}, ${type}${place}`)}`,
    ...detail("sha256", sha256),
    ...detail("facts", facts.join(", ")),
    ...detail("password", password ?? ""),
    ...detail("found by", views.includes("mime") ? "" : views.join(", ")),
  ];
}

function urlLines(url: FoundUrl): readonly string[] {
  const { normalized, sources, unwrapped_from, target_domain, personal } = url;
  return [
    `    ${escapeControls(normalized)} (${escapeControls(sources.join(", "))})`,
    ...(unwrapped_from ?? []).flatMap((wrapper) => detail("wrapped in", wrapper)),
    ...detail("leads to", target_domain ?? ""),
    ...detail("personal", personal === true ? "it carries the address of a recipient" : ""),
  ];
}
