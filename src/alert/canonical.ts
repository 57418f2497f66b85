/**
 * Mails in the relaxed forms of DKIM (RFC 6376 section 3.4), which stay the same where mail servers fold lines again.
 *
 * Bytes of a mail in, header fields and text of the body out, one character a byte. Never throws.
 */

/** Of a header, so much is read. */
export const MAX_HEADER_BYTES = 64 * 1024;

/** `name` in lower case, `value` unfolded, with single spaces. */
export type Field = { readonly name: string; readonly value: string };

/** The header of a mail. */
export function readHeader(message: Uint8Array): readonly Field[] {
  return splitMail(message).fields;
}

/** Header fields, and the bytes behind the header. A line that is no field has the name "". */
export function splitMail(message: Uint8Array): { readonly fields: readonly Field[]; readonly body: Buffer } {
  const bytes = Buffer.from(message.buffer, message.byteOffset, message.byteLength);
  const text = bytes.subarray(0, MAX_HEADER_BYTES).toString("latin1");
  const end = /\r?\n\r?\n/.exec(text);
  const head = end === null ? text : text.slice(0, end.index);
  const fields = head
    .replace(/\r?\n(?=[ \t])/g, "")
    .split(/\r?\n/)
    .map((line): Field => {
      const colon = line.indexOf(":");
      if (colon <= 0) return { name: "", value: line };
      return {
        name: line.slice(0, colon).trimEnd().toLowerCase(),
        value: relaxedValue(line.slice(colon + 1)),
      };
    });
  return { fields, body: end === null ? Buffer.alloc(0) : bytes.subarray(end.index + end[0].length) };
}

/** What stands behind the colon of a field, on one line. */
export function relaxedValue(text: string): string {
  return text
    .replace(/\r?\n/g, "")
    .replace(/[ \t]+/g, " ")
    .trim();
}

/** The body without white space at the ends of lines and without empty lines at its end. */
export function relaxedBody(body: Buffer): string {
  const lines = body
    .toString("latin1")
    .split(/\r?\n/)
    .map((line) => line.replace(/[ \t]+/g, " ").trimEnd());
  while (lines.at(-1) === "") lines.pop();
  return lines.map((line) => `${line}\r\n`).join("");
}
