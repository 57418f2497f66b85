/**
 * Reads journal reports of Exchange and Microsoft 365 ([MS-XJRNL], and the form of Exchange 2003).
 *
 * A report is a mail with a marker in its header, a text of known fields, and the journaled mail as its only other
 * part. Anyone can send a mail that looks like one. So a mail counts as a report only where nothing is left over
 * that would go unseen if only the mail in it were analysed, and where the text speaks of that mail. Otherwise the
 * whole is to be analysed as an ordinary mail, with a flag. Even of a report that counts, sender and recipients
 * are as true as the server it came from.
 */
import { addressOf, createAddressList } from "./addresses.ts";
import { type Carrier, type Field, type LeafPart, textOf } from "./carrier.ts";
import type { UnwrapFlag } from "./flags.ts";

export type JournalField = "to" | "cc" | "bcc" | "recipient";

export type JournalRecipient = {
  readonly address: string;
  /** "recipient": the server did not know whether it was addressed as To, Cc or Bcc. */
  readonly field: JournalField;
  /** The address it was expanded from (a group) or forwarded from. */
  readonly expanded: string | null;
  readonly forwarded: string | null;
};

export type JournalReport = {
  readonly kind: "journal";
  /** Null for the empty reverse path. */
  readonly sender: string | null;
  readonly onBehalfOf: string | null;
  /** The envelope of the journaled mail; each address once. */
  readonly recipients: readonly JournalRecipient[];
  /** Place of the journaled mail in the parts. */
  readonly innerPart: number;
  readonly flags: readonly UnwrapFlag[];
};

/** Which check failed; "no_marker" is every ordinary mail. */
export type NoJournal = {
  readonly kind: "not";
  readonly reason: "no_marker" | "parts" | "text" | "recipients" | "message_id" | "subject";
  readonly flags: readonly UnwrapFlag[];
};

/** What the journaled mail says of itself: the subject decoded, the id as it stands. */
export type InnerHead = { readonly messageId: string | null; readonly subject: string | null };

const MAX_TEXT = 2 * 1024 * 1024;
const MAX_RECIPIENTS = 10_000;
/** A longer subject cannot equal one that is taken from a report. */
const MAX_SUBJECT = 16_384;

/** `readHead` is asked once, for the bytes of the journaled mail. */
export function readJournal(
  { headers, parts }: Carrier,
  readHead: (bytes: Uint8Array) => InnerHead,
): JournalReport | NoJournal {
  if (!hasMarker(headers)) return { kind: "not", reason: "no_marker", flags: [] };
  const innerPart = parts.findIndex((part) => part.declared === "message/rfc822");
  const text = parts[1 - innerPart];
  const inner = parts[innerPart];
  if (parts.length !== 2 || inner === undefined || text === undefined || !isReportText(text)) {
    return rejected("parts");
  }
  const report = readText(textOf(text));
  if (report === null) return rejected("text");
  if (report.recipients.length === 0) return rejected("recipients");
  const head = readHead(inner.bytes);
  if (bareId(report.messageId) !== bareId(head.messageId ?? "")) return rejected("message_id");
  if (report.subject !== null && !isSameSubject(report.subject, head.subject ?? ""))
    return rejected("subject");
  const { sender, onBehalfOf, recipients, exceeded } = report;
  const flags: readonly UnwrapFlag[] = exceeded ? ["journal_recipients_exceeded"] : [];
  return { kind: "journal", sender, onBehalfOf, recipients, innerPart, flags };
}

const rejected = (reason: NoJournal["reason"]): NoJournal => ({
  kind: "not",
  reason,
  flags: ["journal_report_rejected"],
});

/** The value is empty for the first two. The last is of Exchange 2003, also with its misspelling. */
function hasMarker(headers: readonly Field[]): boolean {
  return headers.some(({ name, value }) => {
    switch (name.toLowerCase()) {
      case "x-ms-journal-report":
      case "x-ms-exchange-organization-journal-report":
        return true;
      case "content-identifier":
      case "content-identifer":
        return value.trim().toLowerCase() === "exjournalreport";
      default:
        return false;
    }
  });
}

const isReportText = ({ declared, name, bytes, disposition }: LeafPart): boolean =>
  declared === "text/plain" && name === null && disposition !== "attachment" && bytes.length <= MAX_TEXT;

type ReportText = {
  readonly sender: string | null;
  readonly onBehalfOf: string | null;
  readonly messageId: string;
  /** Null where the report has none, as with Exchange 2003. */
  readonly subject: string | null;
  readonly recipients: readonly JournalRecipient[];
  readonly exceeded: boolean;
};

const RECIPIENTS: ReadonlyMap<string, JournalField> = new Map([
  ["to", "to"],
  ["cc", "cc"],
  ["bcc", "bcc"],
  ["recipient", "recipient"],
]);
/** Fields that tell something about the mail and come once, with the most characters of each. */
const ONCE: ReadonlyMap<string, number> = new Map([
  ["sender", 400],
  ["on-behalf-of", 400],
  ["subject", 4096],
  ["message-id", 1200],
  ["label", 255],
  ["mailbox", 400],
  ["sentutc", 64],
  ["receivedutc", 64],
]);
const DATE = /^[\d/.:,\- TZ+apmAPM\u202f\u00a0]*$/;

/** Null where a line is anything but a field of a report. */
function readText(text: string): ReportText | null {
  const fields = new Map<string, string>();
  const list = createAddressList<JournalRecipient>(MAX_RECIPIENTS);
  let exceeded = false;
  let heading = false;
  for (const line of linesOf(text)) {
    const content = line.trim();
    if (content === "") continue;
    const colon = content.indexOf(":");
    const name = colon > 0 && colon <= 16 ? content.slice(0, colon).toLowerCase() : "";
    const value = content.slice(colon + 1).trim();
    const field = RECIPIENTS.get(name);
    const most = ONCE.get(name);
    let recipient: JournalRecipient | null = null;
    if (field !== undefined) recipient = readRecipient(field, value);
    else if (most !== undefined) {
      if (fields.has(name) || value.length > most) return null;
      fields.set(name, value);
      continue;
    } else if (name === "recipients" && value === "") {
      // Exchange 2003: the addresses stand below, one a line.
      heading = true;
      continue;
    } else if (heading) recipient = readRecipient("recipient", content);
    if (recipient === null) return null;
    if (!list.add(recipient.address, recipient)) exceeded = true;
  }
  const sender = readSender(fields.get("sender"));
  const onBehalfOf = readSender(fields.get("on-behalf-of") ?? "");
  const messageId = fields.get("message-id");
  const subject = fields.get("subject") ?? null;
  if (sender === undefined || onBehalfOf === undefined || messageId === undefined) return null;
  if (subject === null && !heading) return null;
  if (![fields.get("sentutc"), fields.get("receivedutc")].every((date) => DATE.test(date ?? ""))) return null;
  const mailbox = fields.get("mailbox") ?? "";
  if (mailbox !== "" && addressOf(mailbox) === null) return null;
  return { sender, onBehalfOf, messageId, subject, recipients: list.entries(), exceeded };
}

function* linesOf(text: string): Generator<string> {
  let at = 0;
  while (at < text.length) {
    const next = text.indexOf("\n", at);
    const end = next < 0 ? text.length : next;
    yield text.slice(at, end);
    at = end + 1;
  }
}

/** Null for the empty path, undefined for what is no address. */
function readSender(value: string | undefined): string | null | undefined {
  if (value === undefined) return undefined;
  if (value === "" || value === "<>") return null;
  return addressOf(value) ?? undefined;
}

const REDIRECTION = /^(expanded|forwarded):\s*(\S+)$/i;

/** `a@b`, then any number of `, Expanded: c@d` and `, Forwarded: e@f`. */
function readRecipient(field: JournalField, value: string): JournalRecipient | null {
  if (value.length > 1400) return null;
  const [first = "", ...redirections] = value.split(/,|\s(?=(?:Expanded|Forwarded):)/i);
  const address = addressOf(first);
  if (address === null || redirections.length > 3) return null;
  let expanded: string | null = null;
  let forwarded: string | null = null;
  for (const redirection of redirections) {
    if (redirection.trim() === "") continue;
    const [, kind = "", written = ""] = REDIRECTION.exec(redirection.trim()) ?? [];
    const from = addressOf(written);
    if (from === null) return null;
    if (kind.toLowerCase() === "expanded") expanded = from;
    else forwarded = from;
  }
  return { address, field, expanded, forwarded };
}

const bareId = (id: string): string => id.trim().replace(/^<|>$/g, "");

/** White space apart, and signs apart that the charset of the report cannot write. */
function isSameSubject(reported: string, subject: string): boolean {
  const [one, other] = [reported, subject.slice(0, MAX_SUBJECT)].map((text) =>
    text.normalize("NFC").replace(/\s+/g, " ").trim(),
  );
  if (one === undefined || other === undefined || one.length !== other.length) return one === other;
  for (let at = 0; at < one.length; at++) {
    if (one[at] === other[at]) continue;
    const lost = one[at] === "?" || one[at] === "\ufffd";
    if (!lost || other.charCodeAt(at) < 0x80) return false;
  }
  return true;
}
