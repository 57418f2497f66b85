/**
 * Whom a mail was for, where what came in is a journal report or a copy of it.
 *
 * In go the strict reading of what came in and the recipients it had in SMTP, out come the envelope of the mail
 * itself and, for a journal report, the reading of the mail in it. Null where nothing tells: the mail then has the
 * envelope of SMTP.
 *
 * A mail of a stranger reaches this program as a copy, and can look like a report to the last byte. What it cannot
 * choose is the mailbox that it comes to and the `Received` field that one's own server wrote on top. So a report
 * counts where it came to a mailbox of reports or, where none is named, where no server but Exchange has passed it
 * on. Any other report is read as an ordinary mail, with a flag.
 */
import type { Bounds } from "./bounds.ts";
import type { OriginalEnvelope } from "./extraction.ts";
import { readStrict, type StrictReading } from "./readings/strict.ts";
import { type Carrier, type Field, fieldOf } from "./unwrap/carrier.ts";
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
const MAX_RECEIVED = 2000;
const MAX_TO = 8192;

export type EnvelopeRules = Pick<
  Bounds,
  "max_recipients" | "journal" | "journal_addresses" | "copy_addresses"
>;

/** `copiedTo`: recipients of the copy in SMTP, none where it did not come that way. */
export async function originalEnvelope(
  strict: StrictReading,
  copiedTo: readonly string[],
  rules: EnvelopeRules,
  flag: (name: string) => void,
): Promise<Original | null> {
  const max = rules.max_recipients;
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
  const { recipients, flags } = copyRecipients(carrier.headers, copiedTo, 1, mailboxIn(rules.copy_addresses));
  for (const name of flags) flag(name);
  const told = recipients.some(({ source }) => source !== "envelope");
  if (journal !== null) {
    if (isTrusted(carrier.headers, copiedTo, told, rules)) return journalOriginal(journal, max, flag);
    flag("journal_report_untrusted");
  }
  if (!told) return null;
  const to = recipients.map(({ address }) => address);
  return {
    envelope: { source: "copy", from: null, to: cut(to, max, flag), identity: null },
    inner: null,
  };
}

/** Whether a report is one that came from a server of one's own. `told`: the copy says itself whom it was for. */
function isTrusted(
  headers: readonly Field[],
  copiedTo: readonly string[],
  told: boolean,
  { journal, journal_addresses }: EnvelopeRules,
): boolean {
  if (journal === "never") return false;
  if (journal_addresses.length > 0) {
    const known = new Set(journal_addresses.map((address) => address.toLowerCase()));
    return copiedTo.every((address) => known.has(address.toLowerCase()));
  }
  if (told) return false;
  const received = fieldOf(headers, "received");
  if (received === null) return true;
  return isOfExchange(received) && copiedTo.every(addresseeIn(headers));
}

/**
 * Whether Exchange wrote a `Received` field. The name in it that a client gave itself may be any text, and many
 * servers write it as it is: so what ends the field counts, and nothing of other servers may be in it.
 */
function isOfExchange(received: string): boolean {
  if (received.length > MAX_RECEIVED || /["<>]|\bwith\s+(?:UTF8)?(?:E?SMTP|LMTP)/i.test(received))
    return false;
  const by = received.slice(received.toLowerCase().lastIndexOf(" by ") + 1);
  return /^by \S+(?: \([^()]*\))? with (?:Microsoft SMTP Server|Microsoft SMTPSVC|mapi)\b/i.test(by);
}

/** Reports are addressed to the mailbox they are sent to; what a stranger sends to someone else is not. */
function addresseeIn(headers: readonly Field[]): (address: string) => boolean {
  const written = headers.filter(({ name }) => name.toLowerCase() === "to").map(({ value }) => value);
  const addressees = new Set(
    written
      .join(" ")
      .slice(0, MAX_TO)
      .toLowerCase()
      .split(/[\s,;<>"]+/),
  );
  return (address) => addressees.has(address.toLowerCase());
}

/** Whether an address, without what follows a + in it, is that of a mailbox in the list. */
function mailboxIn(mailboxes: readonly string[]): (address: string) => boolean {
  const known = new Set(mailboxes.map((mailbox) => mailbox.toLowerCase()));
  return (address) => {
    const lower = address.toLowerCase();
    const at = lower.lastIndexOf("@");
    const [local = ""] = lower.slice(0, Math.max(0, at)).split("+", 1);
    return known.has(local) || known.has(local + lower.slice(at));
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
