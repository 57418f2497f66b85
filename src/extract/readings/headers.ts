/**
 * Reads the header of a part in all the ways in which mail programs do: which lines belong to it, where the body
 * begins, what its boundary, transfer encoding and file name may be.
 *
 * Offsets are of the bytes of the mail. Nothing here throws; a header is read up to MAX_LINES lines, and each of
 * its values up to MAX_VALUE characters.
 */

const MAX_LINES = 5000;
const MAX_LINE = 16 * 1024;
const MAX_VALUE = 16 * 1024;
/** Values of one header that are kept: the first ones and the last one. */
const MAX_VALUES = 12;
/** Lines that are no header and still do not end the header. */
const MAX_JUNK_LINES = 24;
const MAX_SECTIONS = 200;
const MAX_BOUNDARY = 256;
const LF = 0x0a;
const CR = 0x0d;

export type FieldName =
  | "content-type"
  | "content-transfer-encoding"
  | "content-disposition"
  | "content-description"
  | "content-location"
  | "mime-version";

const FIELDS: ReadonlySet<string> = new Set<FieldName>([
  "content-type",
  "content-transfer-encoding",
  "content-disposition",
  "content-description",
  "content-location",
  "mime-version",
]);
/** Headers that a mail has and prose has not. */
const MAIL_FIELDS: ReadonlySet<string> = new Set([
  "received",
  "return-path",
  "message-id",
  "delivered-to",
  "dkim-signature",
  "from",
  "to",
  "subject",
  "date",
]);

export type Head = {
  readonly start: number;
  /** Where the body may begin; first where the standard says. Never empty. */
  readonly bodies: readonly number[];
  readonly fields: ReadonlyMap<FieldName, readonly string[]>;
  /** Lines that are a header. */
  readonly lines: number;
  /** Different headers that only mails have. */
  readonly mailFields: number;
  readonly flags: ReadonlySet<"malformed_header" | "no_header_delimiter" | "lenient_header_exceeded">;
};

/** Finds line ends in bytes; going forward it never looks at a byte twice. */
export type Lines = {
  /** End of the line that holds `at`, without its line break. */
  readonly end: (at: number) => number;
  /** Beginning of the line after the one that ends at `end`. */
  readonly after: (end: number) => number;
};

export function createLines(raw: Buffer): Lines {
  const lf = createFinder(raw, LF);
  const cr = createFinder(raw, CR);
  return {
    end: (at) => Math.min(lf(at), cr(at)),
    after: (end) => Math.min(raw.length, raw[end] === CR && raw[end + 1] === LF ? end + 2 : end + 1),
  };
}

/** The place of the next `wanted` at or after `at`, the length of `raw` where there is none. */
export function createFinder(raw: Buffer, wanted: number | string): (at: number) => number {
  let from = 0;
  let found = -1;
  return (at) => {
    if (found < at || from > at) {
      const next = raw.indexOf(wanted, at);
      found = next === -1 ? raw.length : next;
      from = at;
    }
    return found;
  };
}

/**
 * Reads the header that begins at `start`. `stops` tells whether a line, given from its beginning to its end and
 * with the Content-Type values so far, is the end of the part.
 */
export function readHead(
  raw: Buffer,
  lines: Lines,
  start: number,
  stops: (lineStart: number, lineEnd: number, types: readonly string[]) => boolean,
): Head {
  const fields = new Map<FieldName, string[]>();
  const flags = new Set<Head["flags"] extends ReadonlySet<infer Flag> ? Flag : never>();
  const mailFields = new Set<string>();
  let standard: number | null = null;
  const odd: number[] = [];
  let headers = 0;
  let junk = 0;
  let junkFirst = false;
  let open: string[] | null = null;
  let at = start;
  const take = (name: FieldName, value: string): string[] => {
    const values = fields.get(name) ?? [];
    fields.set(name, values);
    if (values.length >= MAX_VALUES) values.pop();
    values.push(value);
    return values;
  };
  const extend = (text: string): void => {
    const last = open?.at(-1);
    if (open === null || last === undefined || last.length + text.length > MAX_VALUE) return;
    open[open.length - 1] = `${last}${text}`;
  };
  for (let count = 0; at < raw.length; count++) {
    if (count === MAX_LINES) {
      flags.add("lenient_header_exceeded");
      break;
    }
    const end = lines.end(at);
    const next = lines.after(end);
    if (end === at) {
      // A line break of CR, CR and LF is one for some, and an empty line for others.
      if (count > 0 && raw[at - 1] === CR && raw[at] === CR && raw[at + 1] === LF) {
        if (odd.length === 0) odd.push(next);
        at = next;
        continue;
      }
      standard = next;
      break;
    }
    if (raw[at] === 0x2d && raw[at + 1] === 0x2d && stops(at, end, fields.get("content-type") ?? [])) break;
    const text = raw.toString("latin1", at, Math.min(end, at + MAX_LINE));
    const first = text.charCodeAt(0);
    const folded = first === 0x20 || first === 0x09;
    const bare = text.trim().length === 0 || /^[\0-\x20\x85]{1,200}$/.test(text);
    if (bare) {
      if (odd.length === 0) odd.push(next);
      extend(" ");
      at = next;
      continue;
    }
    const header = headerOf(text);
    for (const hidden of hiddenIn(text, folded)) {
      flags.add("malformed_header");
      take(hidden.name, hidden.value);
    }
    if (folded && count > 0) {
      extend(` ${text.trimStart()}`);
    } else if (header !== null) {
      headers++;
      open = null;
      const { name, value } = header;
      if (isField(name)) {
        if (header.odd) flags.add("malformed_header");
        open = take(name, value);
      } else if (MAIL_FIELDS.has(name)) mailFields.add(name);
    } else if (count > 0 || !isEnvelopeLine(text)) {
      // A value may stand on a line of its own.
      if (open !== null && open.at(-1)?.trim() === "") extend(` ${text}`);
      if (junk === 0) {
        odd.push(at);
        junkFirst = count === 0;
      }
      if (++junk > MAX_JUNK_LINES || junkFirst) break;
    }
    at = next;
  }
  const strange = odd.length > 0 && headers > 0;
  if (strange) flags.add("no_header_delimiter");
  const bodies = [...new Set(standard === null ? [...odd, at] : [standard, ...odd])];
  if (junkFirst && headers === 0) bodies.splice(0, bodies.length, start);
  return { start, bodies, fields, lines: headers, mailFields: mailFields.size, flags };
}

function isField(name: string): name is FieldName {
  return FIELDS.has(name);
}

/** The line before the header in an mbox, or one that it quotes. */
function isEnvelopeLine(text: string): boolean {
  return /^>?From /.test(text);
}

/** Null where a line is no header. `odd`: some mail programs do not see it. */
export function headerOf(
  text: string,
): { readonly name: string; readonly value: string; readonly odd: boolean } | null {
  const colon = text.indexOf(":");
  if (colon < 1 || colon > 100) return null;
  const written = text.slice(0, colon);
  const name = written
    .replace(/[\0-\x20\x7f-\xff]{1,100}/g, (blank) => (blank.includes(" ") ? " " : ""))
    .trim();
  if (name === "" || /[ "(),<>@[\\\]]/.test(name)) return null;
  const value = text.slice(colon + 1).replace(/^[\s\0:]{1,5000}/, "");
  const odd = name.length !== written.length || text[colon + 1] === ":";
  return { name: name.toLowerCase(), value, odd };
}

const HIDDEN = /content-(?:type|transfer-encoding|disposition)[\0-\x20]{0,20}:/gi;

/** Headers that begin in the middle of a line, after a character that some mail programs take for a line break. */
function hiddenIn(text: string, folded: boolean): { readonly name: FieldName; readonly value: string }[] {
  if (!folded && !/[\0\x0b\x0c\x85\u2028]/.test(text)) return [];
  const found: { name: FieldName; value: string }[] = [];
  for (const match of text.matchAll(HIDDEN)) {
    const before = text.slice(0, match.index);
    if (before === "" || (!/[\0\x0b\x0c\x85]\s{0,20}$/.test(before) && before.trim() !== "")) continue;
    const name = match[0].replace(/[\0-\x20:]{1,25}$/, "").toLowerCase();
    const value = text.slice(match.index + match[0].length).split(/[\0\x0b\x0c\x85]/, 1)[0] ?? "";
    if (isField(name) && MEANT[name]?.test(value) && found.length < 8)
      found.push({ name, value: value.trim() });
  }
  return found;
}

/** What a hidden header says, if it is one and not a name in the list of a signature. */
const MEANT: { readonly [name in FieldName]?: RegExp } = {
  "content-type": /^[\s\0]{0,50}(?:[\w\\().-]{1,60}\/|multi)/i,
  "content-transfer-encoding": /^[\s\0;,"]{0,50}[^:]{0,30}(?:64|quoted|printable|uu|enc|hex)[^:]{0,40}$/i,
  "content-disposition": /^[\s\0]{0,50}(?:attachment|inline)/i,
};

/** True where a line looks like the first one of a MIME part. */
export function isPartHeader(text: string): boolean {
  return /^[\0-\x20\x7f-\xff]{0,20}(?:content-[a-z]|mime-version)[a-z-]{1,40}[\0-\x20]{0,20}:/i.test(text);
}

/** Takes out comments (RFC 822), nested ones too. A comment that is not closed stays. */
export function stripComments(text: string, quotes: boolean): string {
  if (!text.includes("(")) return text;
  let out = "";
  let depth = 0;
  let from = 0;
  let quoted = false;
  for (let at = 0; at < text.length; at++) {
    const char = text[at];
    if (char === "\\") at++;
    else if (char === '"' && depth === 0 && quotes) quoted = !quoted;
    else if (quoted) continue;
    else if (char === "(") {
      if (depth++ === 0) {
        out += text.slice(from, at);
        from = at;
      }
    } else if (char === ")" && depth > 0 && --depth === 0) from = at + 1;
  }
  return out + text.slice(from);
}

/** Decodes encoded words (RFC 2047), also ones that are not closed. */
export function decodeWords(text: string): string {
  if (!text.includes("=?")) return text;
  return text
    .replace(/(\?=)[ \t\r\n]{1,100}(?==\?)/g, "$1")
    .replace(
      /=\?([^?\s]{1,60})\?([bq])\?([^?\s]{0,4000})(?:\?=|$)/gi,
      (_, charset: string, kind: string, content: string) => {
        const bytes =
          kind.toLowerCase() === "b"
            ? Buffer.from(content, "base64")
            : Buffer.from(percentless(content.replaceAll("_", " ")), "latin1");
        return textOf(bytes, charset.split("*", 1)[0] ?? charset);
      },
    );
}

function percentless(text: string): string {
  return text.replace(/=([0-9a-f]{2})/gi, (_, hex: string) => String.fromCharCode(Number.parseInt(hex, 16)));
}

function textOf(bytes: Uint8Array, charset: string): string {
  try {
    return new TextDecoder(charset as Bun.Encoding).decode(bytes);
  } catch (thrown) {
    if (thrown instanceof RangeError || thrown instanceof TypeError) return new TextDecoder().decode(bytes);
    throw thrown;
  }
}

/** A place in a value where a parameter is given. */
type Given = { readonly section: number | null; readonly extended: boolean; readonly rest: string };

/** Every place where `value` gives the parameter `name`, also in comments and strings. */
function given(value: string, name: string): Given[] {
  const flat = value.replace(/\s{1,}/g, " ");
  const found: Given[] = [];
  const pattern = new RegExp(`(?<![a-z-])${name} ?(?:\\* ?(\\d{1,4})?)? ?(\\*)? ?= ?`, "gi");
  for (const match of flat.matchAll(pattern)) {
    if (found.length === MAX_SECTIONS) break;
    const section = match[1] === undefined ? null : Number(match[1]);
    const extended = match[2] !== undefined || (section === null && match[0].includes("*"));
    const from = match.index + match[0].length;
    found.push({ section, extended, rest: flat.slice(from, from + 2000) });
  }
  return found;
}

/** The value of a parameter as the standard reads it, if `rest` begins with it. */
function plainValue(rest: string): string {
  if (rest[0] === '"') {
    const end = closingQuote(rest);
    return (end === -1 ? rest.slice(1) : rest.slice(1, end)).replace(/\\(.)/g, "$1");
  }
  return (/^[^;]*/.exec(rest)?.[0] ?? "").trim();
}

function closingQuote(rest: string): number {
  for (let at = 1; at < rest.length; at++) {
    if (rest[at] === "\\") at++;
    else if (rest[at] === '"') return at;
  }
  return -1;
}

/** All that mail programs may take for the value at the beginning of `rest`. */
function possibleValues(rest: string): string[] {
  const found = new Set<string>();
  const add = (value: string | undefined): void => {
    if (value !== undefined) found.add(value.trim());
  };
  const first = rest[0];
  add(plainValue(rest));
  const token = /^[^;]*/.exec(rest)?.[0] ?? "";
  add(token);
  add(rest);
  add(token.replace(/["']/g, ""));
  add(token.replaceAll("\\", ""));
  add(rest.replaceAll("\\", "").trim());
  if (first === '"') {
    // Strings that end at the first quote, escaped or not.
    add(rest.slice(1).split('"', 1)[0]);
    add(rest.slice(1).split('\\"', 1)[0]);
  } else if (first === "'") add(rest.slice(1).split("'", 1)[0]);
  add(/^[^\s;"'(),/:<=>?@[\\\]]*/.exec(rest.replace(/^["']/, ""))?.[0]);
  add(rest.split(/[\s;]/, 1)[0]);
  add(rest.split(/[;,]/, 1)[0]);
  add(rest.split(/[;()]/, 1)[0]);
  add(rest.split(/["']/, 1)[0]);
  add(rest.split("\\", 1)[0]);
  add(/["']([^"']*)["']/.exec(rest)?.[1]);
  add(/\\"([^"]*)\\"/.exec(rest)?.[1]);
  if (rest.includes("=?")) add(decodeWords(plainValue(rest)));
  return [...found];
}

/** RFC 2231: charset and language before the value, percent-encoding in it. */
function extendedValue(text: string): { readonly charset: string; readonly value: string } {
  const parts = /^([\w.:+-]{0,40})'[\w-]{0,40}'/.exec(text);
  return {
    charset: parts?.[1] ?? "",
    value: text
      .slice(parts?.[0].length ?? 0)
      .replace(/%([0-9a-f]{2})/gi, (_, hex: string) => String.fromCharCode(Number.parseInt(hex, 16))),
  };
}

/** A parameter in pieces (RFC 2231), put together in the orders in which mail programs do. */
function joined(pieces: readonly Given[]): string[] {
  const numbered = pieces.filter(({ section }) => section !== null);
  if (numbered.length === 0) return [];
  const byNumber = (later: boolean): string => {
    const values = new Map<number, string>();
    for (const { section, rest } of numbered) {
      if (section !== null && (later || !values.has(section))) values.set(section, plainValue(rest));
    }
    const inOrder = [...values].sort(([a], [b]) => a - b);
    return inOrder.map(([, value]) => value).join("");
  };
  const asWritten = numbered.map(({ rest }) => plainValue(rest)).join("");
  return [...new Set([byNumber(false), byNumber(true), asWritten])];
}

/** All that may be the boundary of a multipart with this Content-Type, in lower case. */
export function boundariesOf(contentType: string): Set<string> {
  const found = new Set<string>();
  const add = (value: string, plain = false): void => {
    const flat = value
      .replace(/\s{1,}/g, " ")
      .trim()
      .toLowerCase();
    if (flat.length > MAX_BOUNDARY) return;
    // What is left of a boundary that was cut must still tell it from other lines.
    if (plain || /[a-z0-9].*[a-z0-9].*[a-z0-9]/.test(flat)) found.add(flat);
  };
  const texts = new Set([contentType, stripComments(contentType, true), stripComments(contentType, false)]);
  for (const text of texts) {
    const pieces = given(text, "boundary");
    for (const { rest, extended, section } of pieces) {
      if (section !== null && section > 0) continue;
      add(plainValue(rest), true);
      for (const value of possibleValues(rest)) {
        add(value);
        if (extended || section !== null || value.includes("%")) add(extendedValue(value).value);
      }
    }
    for (const value of joined(pieces)) {
      add(value);
      add(extendedValue(value).value);
      // The charset may stand before any piece.
      add(extendedValue(value.replace(/[\w-]{0,20}'[\w-]{0,20}'/, "")).value);
    }
  }
  return found;
}

/** The boundary as the standard reads it, in lower case; null where there is none. */
export function plainBoundary(contentType: string): string | null {
  const [first] = given(contentType, "boundary");
  return first === undefined ? null : plainValue(first.rest).toLowerCase();
}

/** Each value of the parameter that may be meant, the one that the standard means first. */
export function parameterValues(value: string, name: string): string[] {
  const pieces = given(value, name);
  if (pieces.length === 0) return [];
  const found = new Set<string>();
  const numbered = pieces.some(({ section }) => section !== null);
  const add = (text: string, extended: boolean): void => {
    if (!extended) {
      found.add(decodeWords(text));
      return;
    }
    const { charset, value: bytes } = extendedValue(text);
    found.add(textOf(Buffer.from(bytes, "latin1"), charset === "" ? "utf-8" : charset));
  };
  for (const { section, extended, rest } of pieces) {
    if (section === null && extended) add(plainValue(rest), true);
  }
  if (numbered) {
    const extended = pieces.some((piece) => piece.section !== null && piece.extended);
    for (const text of joined(pieces)) add(text, extended);
  }
  for (const { section, extended, rest } of pieces) {
    if (section === null && !extended) add(plainValue(rest), false);
  }
  return [...found].filter((text) => text !== "");
}

export type Encoding =
  | "identity"
  | "base64"
  | "quoted"
  | "uu"
  | "yenc"
  | "binhex"
  | "ascii85"
  /** Not known: the content tells. */
  | "unknown";

const STANDARD: ReadonlyMap<string, Encoding> = new Map([
  ["", "identity"],
  ["7bit", "identity"],
  ["8bit", "identity"],
  ["binary", "identity"],
  ["base64", "base64"],
  ["quoted-printable", "quoted"],
]);

const WORDS: readonly (readonly [RegExp, Encoding])[] = [
  [/base-?_?64|b64|gzip64|^64$/, "base64"],
  [/quoted|printable|\bx?-?qp\b/, "quoted"],
  [/uu|xx-?enc/, "uu"],
  [/y-?enc/, "yenc"],
  [/bin-?hex|hqx/, "binhex"],
  [/ascii-?85|base-?85|btoa/, "ascii85"],
  [/7-?bit|8-?bit|binary|\bnone\b|identity/, "identity"],
];

export type Encodings = {
  /** Each one that may be meant, the likeliest first. Never empty. */
  readonly all: readonly Encoding[];
  readonly flags: readonly ("unknown_encoding" | "malformed_encoding" | "duplicate_header")[];
};

/** What the values of Content-Transfer-Encoding may mean. */
export function encodingsOf(values: readonly string[]): Encodings {
  if (values.length === 0) return { all: ["identity"], flags: [] };
  if (values.length === 1) {
    const known = STANDARD.get((values[0] ?? "").trim().toLowerCase());
    if (known !== undefined) return { all: [known], flags: [] };
  }
  const flags = new Set<Encodings["flags"][number]>();
  const all = new Set<Encoding>();
  const written = new Set(values.map((value) => value.trim().toLowerCase()));
  if (written.size > 1) flags.add("duplicate_header");
  for (const value of written) {
    const standard = STANDARD.get(value);
    if (standard !== undefined) {
      all.add(standard);
      continue;
    }
    flags.add("malformed_encoding");
    const found = encodingsIn(value);
    for (const encoding of found) all.add(encoding);
    if (found.length === 0) {
      flags.add("unknown_encoding");
      all.add("unknown");
    }
  }
  return { all: [...all], flags: [...flags] };
}

function encodingsIn(value: string): Encoding[] {
  const plain = decodeWords(stripComments(value, false)).replace(/[\s\0"'\\]{1,}/g, " ");
  const texts = [plain, plain.replaceAll(" ", ""), decodeWords(value).replace(/[\s\0"'\\]{1,}/g, "")];
  const places = new Map<Encoding, number>();
  for (const text of texts) {
    for (const [pattern, encoding] of WORDS) {
      const place = text.search(pattern);
      if (place !== -1 && !places.has(encoding)) places.set(encoding, place);
    }
  }
  return [...places].sort(([, a], [, b]) => a - b).map(([encoding]) => encoding);
}

/** Media type that a Content-Type gives, in lower case: null where it gives none. */
export function mediaTypeOf(contentType: string): string | null {
  const text = stripComments(contentType, false).replace(/[\s\0"'\\]{1,}/g, "");
  return /^([\w!#$&^.+-]{1,80}\/[\w!#$&^.+-]{1,80})/.exec(text)?.[1]?.toLowerCase() ?? null;
}

/** True where some mail program may take a Content-Type for a multipart. */
export function mayBeMultipart(contentType: string): boolean {
  const text = stripComments(contentType, false).replace(/[\s\0"'\\]{1,}/g, "");
  return /multi-?part|boundary[*\d]{0,6}=/i.test(text);
}
