/**
 * Whom a mail was for, where what came in is a journal report or a copy of it.
 *
 * In go the strict reading of what came in and the recipients it had in SMTP, out come the envelope of the mail
 * itself and, for a journal report, the reading of the mail in it. Null where nothing tells. A report that does not
 * hold what a report holds is read as any other mail, with a flag.
 */
import type { OriginalEnvelope } from "./extraction.ts";
import { readStrict, type StrictReading } from "./readings/strict.ts";
import type { Carrier } from "./unwrap/carrier.ts";
import { readDeliveryReport } from "./unwrap/delivery.ts";
import { mailIdentity } from "./unwrap/identity.ts";
import { type JournalReport, readJournal } from "./unwrap/journal.ts";
import { copyRecipients } from "./unwrap/recipients.ts";

export type Original = {
  readonly envelope: OriginalEnvelope;
  /** The header of the mail in a journal report. */
  readonly inner: StrictReading | null;
};

/** Bytes of a mail in a report that its header is looked for in. */
const HEAD = 1024 * 1024;

/** `copiedTo`: recipients of the copy in SMTP. At most `max` recipients are given. */
export async function originalEnvelope(
  strict: StrictReading,
  copiedTo: readonly string[],
  max: number,
  flag: (name: string) => void,
): Promise<Original | null> {
  const carrier = carrierOf(strict);
  const report = readDeliveryReport(carrier);
  // Exchange bounces reports it cannot deliver to another mailbox.
  const returned =
    report.kind === "report" && report.original?.complete === true
      ? strict.parts[report.original.part]
      : undefined;
  const journal =
    (await readReport(carrier, flag)) ??
    (returned === undefined ? null : await readReport(carrierOf(await readHead(returned.bytes)), flag));
  if (journal !== null) return journalOriginal(journal, max, flag);

  const { recipients, flags } = copyRecipients(carrier.headers, copiedTo);
  for (const name of flags) flag(name);
  const told = recipients.filter(({ source }) => source !== "envelope").map(({ address }) => address);
  if (told.length === 0) return null;
  return {
    envelope: { source: "copy", from: null, to: cut(told, max, flag), identity: null },
    inner: null,
  };
}

type ReadReport = {
  readonly report: JournalReport;
  readonly bytes: Uint8Array;
  readonly inner: StrictReading;
};

async function readReport(carrier: Carrier, flag: (name: string) => void): Promise<ReadReport | null> {
  const mail = carrier.parts.find(({ declared }) => declared === "message/rfc822");
  const marked = carrier.headers.some(({ name }) => /journal-report$|^content-identif/i.test(name));
  if (mail === undefined || !marked) return null;
  const inner = await readHead(mail.bytes.subarray(0, HEAD));
  const report = readJournal(carrier, () => ({
    messageId: textOf(inner, "message-id"),
    subject: textOf(inner, "subject"),
  }));
  for (const name of report.flags) flag(name);
  return report.kind === "journal" ? { report, bytes: mail.bytes, inner } : null;
}

function journalOriginal(
  { report, bytes, inner }: ReadReport,
  max: number,
  flag: (name: string) => void,
): Original {
  const to = report.recipients.map(({ address }) => address);
  const identity = mailIdentity(textOf(inner, "message-id"), bytes);
  return {
    envelope: { source: "journal", from: report.sender ?? "", to: cut(to, max, flag), identity },
    inner,
  };
}

function cut(addresses: readonly string[], max: number, flag: (name: string) => void): readonly string[] {
  if (addresses.length > max) flag("addresses_exceeded");
  return addresses.slice(0, max);
}

function readHead(bytes: Uint8Array): Promise<StrictReading> {
  return readStrict(bytes, { bytes: bytes.length, parts: 1000, headerSize: HEAD, headerLines: 10_000 });
}

function textOf({ headers }: StrictReading, name: string): string | null {
  const value = headers.get(name);
  return typeof value === "string" ? value : null;
}

function carrierOf({ lines, parts }: StrictReading): Carrier {
  return {
    headers: lines.map(({ key, line }) => ({
      name: key,
      value: line.slice(line.indexOf(":") + 1).replace(/\r?\n[ \t]/g, " "),
    })),
    parts,
  };
}
