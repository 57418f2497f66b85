/** The encodings that URLs and scripts hide texts and files in. Each function gives null for what is not in it. */

const HEX_ESCAPE = /%[0-9a-f]{2}/i;

/** Percent escapes decoded as UTF-8; what is no escape stays, what is no UTF-8 is read as Latin-1. */
export function percentDecoded(text: string): string {
  if (!HEX_ESCAPE.test(text)) return text;
  return text.replace(/(?:%[0-9a-f]{2})+/gi, (run) => {
    const bytes = Buffer.from(run.replaceAll("%", ""), "hex");
    const decoded = bytes.toString("utf8");
    return decoded.includes("\ufffd") ? bytes.toString("latin1") : decoded;
  });
}

/** What `unescape` of JavaScript gives: %XX and %uXXXX, each one character. */
export function unescaped(text: string): string {
  if (!text.includes("%")) return text;
  return text.replace(/%(?:u([0-9a-f]{4})|([0-9a-f]{2}))/gi, (_, wide: string | undefined, narrow: string) =>
    String.fromCharCode(Number.parseInt(wide ?? narrow, 16)),
  );
}

/** Base64 or base64url, with line breaks or escaped padding; null where other characters are in it. */
export function base64Bytes(text: string): Buffer | null {
  const compact = /\s/.test(text) ? text.replace(/\s+/g, "") : text;
  if (compact.length < 4 || !/^[A-Za-z0-9+/_-]+={0,2}$/.test(compact)) return null;
  return Buffer.from(compact, "base64");
}

/** The text in base64 where it is readable text. */
export function base64Text(text: string): string | null {
  const bytes = base64Bytes(text);
  return bytes === null ? null : readableText(bytes);
}

/** Bytes as text where they are: UTF-16 by its mark or its zeros, UTF-8, or Latin-1. Null for binary. */
export function readableText(bytes: Uint8Array): string | null {
  const buffer = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const wide = bytes.length >= 4 && bytes[1] === 0 && bytes[3] === 0;
  const text =
    wide || (bytes[0] === 0xff && bytes[1] === 0xfe) ? buffer.toString("utf16le") : buffer.toString("utf8");
  const head = text.slice(0, 512);
  if (/[\u0000-\u0008\u000e-\u001a]/.test(head)) return null;
  let odd = 0;
  for (let at = head.indexOf("\ufffd"); at >= 0; at = head.indexOf("\ufffd", at + 1)) odd++;
  return odd * 10 > head.length ? null : text;
}

const HEADS: readonly (readonly [head: string, at: number])[] = [
  ["PK\u0003\u0004", 0],
  ["PK\u0005\u0006", 0],
  ["MZ", 0],
  ["\u007fELF", 0],
  ["%PDF-", 0],
  ["\u00d0\u00cf\u0011\u00e0", 0],
  ["Rar!", 0],
  ["7z\u00bc\u00af", 0],
  ["\u001f\u008b\u0008", 0],
  ["BZh", 0],
  ["\u00fd7zXZ", 0],
  ["\u0028\u00b5\u002f\u00fd", 0],
  ["MSCF", 0],
  ["ISc(", 0],
  ["ITSF", 0],
  ["L\u0000\u0000\u0000\u0001\u0014\u0002\u0000", 0],
  ["{\\rt", 0],
  ["\u00e4\u0052\u005c\u007b", 0],
  ["\u00ca\u00fe\u00ba\u00be", 0],
  ["\u00cf\u00fa\u00ed\u00fe", 0],
  ["!<arch>", 0],
  ["xar!", 0],
  ["vhdxfile", 0],
  ["conectix", 0],
  ["ustar", 257],
  ["CD001", 0x8001],
  ["CD001", 0x8801],
];
const MARKUP_HEAD =
  /^(?:\u00ef\u00bb\u00bf)?\s*<(?:!doctype|html|head|body|script|svg|hta:|\?xml|job|package)/i;
/** Shorter ones are signatures that code compares with. */
const MIN_FILE = 30;
/** An executable names its second header at this place; a text that begins with MZ does not. */
const PE_OFFSET = 0x3c;

/** Whether bytes begin as a file does that a mail might smuggle: a program, an archive, a document, a page. */
export function looksLikeFile(bytes: Uint8Array): boolean {
  if (bytes.length < MIN_FILE) return false;
  const buffer = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  for (const [head, at] of HEADS) {
    if (buffer.length < at + head.length || buffer.toString("latin1", at, at + head.length) !== head)
      continue;
    if (head !== "MZ") return true;
    if (buffer.length >= PE_OFFSET + 4 && buffer.readUInt32LE(PE_OFFSET) < buffer.length) return true;
  }
  return MARKUP_HEAD.test(buffer.toString("latin1", 0, 256));
}

/** A data: URL (RFC 2397) decoded. Null where it is none. `declared`: its media type, without parameters. */
export function dataUrl(
  url: string,
): { readonly declared: string | null; readonly bytes: Uint8Array } | null {
  const head = /^[\s\u0000]*data:([^,]{0,1024}),/i.exec(url);
  if (head === null) return null;
  const [type = "", ...parameters] = (head[1] ?? "").split(";").map((part) => part.trim().toLowerCase());
  const declared = /^[\w!#$&^.+-]+\/[\w!#$&^.+-]+$/.test(type) ? type : null;
  const body = url.slice(head[0].length);
  if (!parameters.includes("base64")) {
    const fragment = body.indexOf("#");
    return { declared, bytes: percentBytes(fragment < 0 ? body : body.slice(0, fragment)) };
  }
  // Browsers skip what is not of the alphabet only where it is white space; other readers skip more.
  const compact = unescaped(body).replace(/[^A-Za-z0-9+/_-]+/g, "");
  return { declared, bytes: Buffer.from(compact, "base64") };
}

function percentBytes(text: string): Uint8Array {
  if (!HEX_ESCAPE.test(text)) return Buffer.from(text, "utf8");
  return Buffer.concat(
    text
      .split(/((?:%[0-9a-f]{2})+)/i)
      .map((part, index) =>
        index % 2 === 1 ? Buffer.from(part.replaceAll("%", ""), "hex") : Buffer.from(part, "utf8"),
      ),
  );
}
