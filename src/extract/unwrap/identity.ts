/**
 * Tells whether two mails are the same mail that came on two ways: the journal reports of one mail that a server
 * split among its recipients, or two copies.
 *
 * The key covers the Message-ID, the whole body, and every field of the header but those that servers write or
 * change on the way. So a mail that takes the Message-ID of another one has another key.
 */
import { createHash } from "node:crypto";

const NEWLINE = 0x0a;
const RETURN = 0x0d;
/** A longer header counts as body after that. */
const MAX_HEADER = 1024 * 1024;

/** Fields of transport, by name and by how a name begins. */
const LEFT_OUT: ReadonlySet<string> = new Set([
  "received",
  "return-path",
  "delivered-to",
  "x-original-to",
  "x-delivered-to",
  "envelope-to",
  "x-envelope-to",
  "x-envelope-from",
  "x-gm-original-to",
  "x-forwarded-to",
  "x-forwarded-for",
  "x-received",
  "x-google-smtp-source",
  "authentication-results",
  "authentication-results-original",
  "received-spf",
  "x-originatororg",
  "x-originating-ip",
  "x-originalarrivaltime",
  "bcc",
  "status",
  "x-status",
  "lines",
]);
const LEFT_OUT_BEGINNINGS = [
  "arc-",
  "x-ms-",
  "x-microsoft-",
  "x-forefront-",
  "x-exchange-",
  "x-eop",
  "x-spam-",
];

/** 64 hexadecimal digits. `messageId` as the header of the mail has it. */
export function mailIdentity(messageId: string | null, mail: Uint8Array): string {
  const hash = createHash("sha256");
  hash.update(`${(messageId ?? "").trim()}\n`);
  const end = headerEnd(mail);
  for (const field of keptFields(Buffer.from(mail.buffer, mail.byteOffset, end))) hash.update(`${field}\n`);
  hash.update("\n");
  hash.update(withoutLastLineEnds(mail.subarray(end)));
  return hash.digest("hex");
}

/** The place after the newline of the last line of the header. */
function headerEnd(mail: Uint8Array): number {
  const last = Math.min(mail.length, MAX_HEADER);
  for (let at = 0; at < last; ) {
    const newline = mail.indexOf(NEWLINE, at);
    if (newline < 0 || newline >= last) return last;
    if (newline === at || (newline === at + 1 && mail[at] === RETURN)) return at;
    at = newline + 1;
  }
  return last;
}

/**
 * As they stand, folded or not, in the order of their names; those of one name in their own order. Nothing is
 * evened out in them: a blank more can make another mail of the same body.
 */
function keptFields(header: Buffer): readonly string[] {
  const fields: { readonly name: string; readonly lines: string[] }[] = [];
  for (const line of header.toString("latin1").split("\n")) {
    const last = fields.at(-1);
    if (/^[ \t]/.test(line) && last !== undefined) {
      last.lines.push(line);
    } else {
      const name = line.slice(0, Math.max(0, line.indexOf(":")));
      fields.push({ name: name.trim().toLowerCase(), lines: [line] });
    }
  }
  return fields
    .filter(({ name }) => !isOfTransport(name))
    .sort((a, b) => (a.name < b.name ? -1 : a.name > b.name ? 1 : 0))
    .map(({ lines }) => lines.join("\n"));
}

const isOfTransport = (name: string): boolean =>
  LEFT_OUT.has(name) || LEFT_OUT_BEGINNINGS.some((beginning) => name.startsWith(beginning));

/** Line ends at the end may be those of what carried the mail. */
function withoutLastLineEnds(body: Uint8Array): Uint8Array {
  let end = body.length;
  while (end > 0 && (body[end - 1] === NEWLINE || body[end - 1] === RETURN)) end--;
  return body.subarray(0, end);
}
