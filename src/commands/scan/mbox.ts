/**
 * Splits an mbox file (RFC 4155) into its mails.
 *
 * In go the bytes of the file, out come the bytes of each mail without its "From " line, in order. Any bytes
 * give some answer; the work is linear.
 */

const NEWLINE = 0x0a;
const RETURN = 0x0d;
const FROM = Buffer.from("From ");
/** A "From " line: an address, then a date as asctime(3) writes it, with a clock in it. */
const FROM_LINE = /^From \S{0,320} +\S.{0,60}\d{1,2}:\d{2}/;

export function startsLikeMbox(head: Buffer): boolean {
  return FROM_LINE.test(head.toString("latin1", 0, 512));
}

export function* mailsOfMbox(mbox: Buffer): Generator<Buffer> {
  let start = afterLine(mbox, 0);
  for (let at = start; at < mbox.length; ) {
    const next = mbox.indexOf("\nFrom ", at);
    if (next < 0) break;
    at = next + 1;
    if (!FROM_LINE.test(mbox.toString("latin1", at, at + 512))) continue;
    if (!isEmptyLineBefore(mbox, next)) continue;
    yield unquoted(mbox.subarray(start, at));
    start = afterLine(mbox, at);
    at = start;
  }
  if (start < mbox.length) yield unquoted(mbox.subarray(start));
}

function afterLine(bytes: Buffer, at: number): number {
  const end = bytes.indexOf(NEWLINE, at);
  return end < 0 ? bytes.length : end + 1;
}

/** True where the line that the newline at `at` ends is empty. */
function isEmptyLineBefore(bytes: Buffer, at: number): boolean {
  const last = bytes[at - 1] === RETURN ? at - 2 : at - 1;
  return last < 0 || bytes[last] === NEWLINE;
}

/** Takes away the ">" that keeps a line of a mail that begins with "From " apart from a "From " line. */
function unquoted(mail: Buffer): Buffer {
  const pieces: Buffer[] = [];
  let from = 0;
  for (let at = mail.indexOf("\n>"); at >= 0; at = mail.indexOf("\n>", at + 1)) {
    let quotes = at + 1;
    while (mail[quotes] === 0x3e) quotes++;
    if (!mail.subarray(quotes, quotes + FROM.length).equals(FROM)) continue;
    pieces.push(mail.subarray(from, at + 1));
    from = at + 2;
  }
  return pieces.length === 0 ? mail : Buffer.concat([...pieces, mail.subarray(from)]);
}
