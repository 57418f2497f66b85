/**
 * Reads XML as a flat run of tags and texts, as generously as a repairing program would.
 *
 * It knows no nesting, so none can harm it, and resolves no entity but the five of XML and numbers. Names come
 * without prefix, since the writer of a file chooses the prefixes. Time is linear in the text.
 */

export type Attribute = { readonly name: string; readonly value: string };

export type XmlFinds = {
  /** `attributes` as they are written, for readAttributes; "" where there are none. */
  readonly open: (name: string, attributes: string) => void;
  readonly close: (name: string) => void;
  /** Text with its entities resolved, in as many pieces as it has in the file. */
  readonly text: (text: string) => void;
};

const MAX_NAME = 200;
const MAX_ATTRIBUTES = 1000;
const SLASH = 0x2f;
const QUOTE = 0x22;
const APOSTROPHE = 0x27;
const GREATER = 0x3e;

export function scanXml(xml: string, finds: XmlFinds): void {
  let at = 0;
  for (;;) {
    const open = xml.indexOf("<", at);
    const textEnd = open < 0 ? xml.length : open;
    if (textEnd > at) finds.text(unescapeXml(xml.slice(at, textEnd)));
    if (open < 0) return;
    if (xml.startsWith("<!--", open)) {
      at = after(xml, "-->", open + 4);
    } else if (xml.startsWith("<![CDATA[", open)) {
      at = after(xml, "]]>", open + 9);
      finds.text(xml.slice(open + 9, at === xml.length ? at : at - 3));
    } else if (xml.startsWith("<?", open)) {
      at = after(xml, "?>", open + 2);
    } else {
      const end = tagEnd(xml, open + 1);
      if (end < 0) return;
      tag(xml, open + 1, end, finds);
      at = end + 1;
    }
  }
}

function after(xml: string, closing: string, from: number): number {
  const at = xml.indexOf(closing, from);
  return at < 0 ? xml.length : at + closing.length;
}

/** Where the bracket of a tag closes that does not stand in a value; -1 where none does. */
function tagEnd(xml: string, from: number): number {
  for (let at = from; at < xml.length; at++) {
    const char = xml.charCodeAt(at);
    if (char === GREATER) return at;
    if (char === QUOTE || char === APOSTROPHE) {
      at = xml.indexOf(char === QUOTE ? '"' : "'", at + 1);
      if (at < 0) return -1;
    }
  }
  return -1;
}

function tag(xml: string, from: number, end: number, finds: XmlFinds): void {
  const closing = xml.charCodeAt(from) === SLASH;
  const start = closing ? from + 1 : from;
  let nameEnd = start;
  let nameStart = start;
  while (nameEnd < end && nameEnd - start < MAX_NAME && !isSpace(xml.charCodeAt(nameEnd))) {
    const char = xml.charCodeAt(nameEnd);
    if (char === SLASH) break;
    nameEnd++;
    if (char === 0x3a) nameStart = nameEnd;
  }
  const name = xml.slice(nameStart, nameEnd);
  if (closing) {
    finds.close(name);
    return;
  }
  const empty = xml.charCodeAt(end - 1) === SLASH;
  finds.open(name, xml.slice(nameEnd, empty ? end - 1 : end));
  if (empty) finds.close(name);
}

function isSpace(char: number): boolean {
  return char === 0x20 || (char >= 0x09 && char <= 0x0d);
}

export function readAttributes(source: string): readonly Attribute[] {
  const found: Attribute[] = [];
  let at = 0;
  while (found.length < MAX_ATTRIBUTES) {
    const equals = source.indexOf("=", at);
    if (equals < 0) return found;
    const name = source.slice(at, equals).trim();
    at = equals + 1;
    while (at < source.length && isSpace(source.charCodeAt(at))) at++;
    const quote = source.charAt(at);
    const quoted = quote === '"' || quote === "'";
    let end = quoted ? source.indexOf(quote, at + 1) : at;
    if (!quoted) while (end < source.length && !isSpace(source.charCodeAt(end))) end++;
    if (end < 0) return found;
    const value = source.slice(quoted ? at + 1 : at, end);
    found.push({ name: name.slice(name.lastIndexOf(":") + 1), value: unescapeXml(value) });
    at = end + 1;
  }
  return found;
}

const ENTITY = /&(?:#x([0-9a-f]{1,8})|#(\d{1,8})|(amp|lt|gt|quot|apos));/gi;
const NAMED: Readonly<Record<string, string>> = { amp: "&", lt: "<", gt: ">", quot: '"', apos: "'" };

export function unescapeXml(text: string): string {
  if (!text.includes("&")) return text;
  return text.replace(ENTITY, (whole, hex: string | undefined, decimal: string | undefined, name: string) => {
    if (hex === undefined && decimal === undefined) return NAMED[name.toLowerCase()] ?? whole;
    const code = hex === undefined ? Number(decimal) : Number.parseInt(hex, 16);
    return code <= 0x10ffff ? String.fromCodePoint(code) : whole;
  });
}

/** The text of an XML file, by its byte order mark or its first characters; UTF-8 where they do not tell. */
export function decodeXml(bytes: Buffer): string {
  const [first, second] = bytes;
  if (first === 0xff && second === 0xfe) return bytes.toString("utf16le", 2);
  if (first === 0x3c && second === 0) return bytes.toString("utf16le");
  const bigEndian = (first === 0xfe && second === 0xff) || (first === 0 && second === 0x3c);
  if (bigEndian) {
    const even = bytes.subarray(0, bytes.length - (bytes.length % 2));
    return Buffer.from(even)
      .swap16()
      .toString("utf16le")
      .replace(/^\ufeff/, "");
  }
  return bytes.toString("utf8", first === 0xef && second === 0xbb && bytes[2] === 0xbf ? 3 : 0);
}
