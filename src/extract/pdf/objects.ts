/**
 * The objects of PDF and how they are written (ISO 32000-1, 7.2 and 7.3), read as generously as viewers do.
 *
 * A Lexer goes over bytes once. What is not closed ends where the bytes end, or where the next object begins; what
 * cannot be is skipped. Nothing throws for what the bytes are, and nothing recurses.
 */

export type PdfName = {
  readonly kind: "name";
  readonly name: string;
  /** A letter or digit of it is written as #xx, which nothing asks for. */
  readonly obfuscated: boolean;
};
/** The bytes are replaced once, when the string is decrypted. */
export type PdfString = { readonly kind: "string"; bytes: Buffer };
export type PdfRef = { readonly kind: "ref"; readonly num: number; readonly gen: number };
export type PdfArray = { readonly kind: "array"; readonly items: readonly PdfValue[] };
export type PdfDict = {
  readonly kind: "dict";
  /** The last value of each key. */
  readonly entries: ReadonlyMap<string, PdfValue>;
  /** Earlier values of keys that are given twice. */
  readonly earlier: readonly (readonly [key: string, value: PdfValue])[];
  readonly obfuscatedKeys: readonly string[];
};
export type PdfValue = null | boolean | number | PdfName | PdfString | PdfRef | PdfArray | PdfDict;

export type Lexer = {
  readonly bytes: Buffer;
  readonly end: number;
  at: number;
  /** Of the token that was read last. */
  value: PdfValue;
  word: string;
  readonly bounds: LexerBounds;
};

/** Shared by the lexers of a document. */
export type LexerBounds = {
  /** Bytes of strings and comments that may still be read; they can hold other objects, which are read again. */
  quoted: number;
  /** Names, strings and arrays that may still be made; a dictionary counts as several. */
  values: number;
};

export type Token = "end" | "value" | "word" | "[" | "]" | "<<" | ">>";

/** Longest string or comment once the bytes for them are spent. */
const SHORT = 256;
const MAX_WORD = 32;
const DICT_COST = 4;

const REGULAR = 0;
const WHITE = 1;
const DELIMITER = 2;
const CLASSES = new Uint8Array(256);
for (const byte of [0, 9, 10, 12, 13, 32]) CLASSES[byte] = WHITE;
for (const byte of Buffer.from("()<>[]{}/%")) CLASSES[byte] = DELIMITER;

const HEX = new Int8Array(256).fill(-1);
for (let digit = 0; digit < 16; digit++) {
  HEX[digit.toString(16).charCodeAt(0)] = digit;
  HEX[digit.toString(16).toUpperCase().charCodeAt(0)] = digit;
}

export function isWhite(byte: number | undefined): boolean {
  return byte !== undefined && CLASSES[byte] === WHITE;
}

/** The value of a hexadecimal digit, -1 where it is none. */
export function hexDigit(byte: number): number {
  return HEX[byte] ?? -1;
}

export function createLexer(bytes: Buffer, at: number, end: number, bounds: LexerBounds): Lexer {
  return { bytes, at, end, value: null, word: "", bounds };
}

export function createBounds(size: number, values: number): LexerBounds {
  return { quoted: 4 * size + 65_536, values };
}

/** Skips white space and comments. */
export function skipWhite(lexer: Lexer): void {
  const { bytes, end } = lexer;
  let at = lexer.at;
  while (at < end) {
    const byte = bytes[at] ?? 0;
    if (CLASSES[byte] === WHITE) at++;
    else if (byte === 0x25) at = afterComment(lexer, at);
    else break;
  }
  lexer.at = at;
}

function afterComment({ bytes, end, bounds }: Lexer, start: number): number {
  const limit = bounds.quoted > 0 ? end : Math.min(end, start + SHORT);
  let at = start + 1;
  while (at < limit && bytes[at] !== 10 && bytes[at] !== 13) at++;
  bounds.quoted -= at - start;
  return at;
}

export function nextToken(lexer: Lexer): Token {
  for (;;) {
    skipWhite(lexer);
    if (lexer.at >= lexer.end) return "end";
    const byte = lexer.bytes[lexer.at] ?? 0;
    if (CLASSES[byte] === REGULAR) {
      if ((byte >= 0x30 && byte <= 0x39) || byte === 0x2d || byte === 0x2e || byte === 0x2b) {
        lexer.value = readNumber(lexer);
        return "value";
      }
      return readWord(lexer);
    }
    switch (byte) {
      case 0x2f:
        lexer.value = readName(lexer);
        return "value";
      case 0x28:
        lexer.value = readString(lexer);
        return "value";
      case 0x5b:
        lexer.at++;
        return "[";
      case 0x5d:
        lexer.at++;
        return "]";
      case 0x3c:
        if (lexer.bytes[lexer.at + 1] === 0x3c && lexer.at + 1 < lexer.end) {
          lexer.at += 2;
          return "<<";
        }
        lexer.value = readHexString(lexer);
        return "value";
      case 0x3e:
        if (lexer.bytes[lexer.at + 1] === 0x3e && lexer.at + 1 < lexer.end) {
          lexer.at += 2;
          return ">>";
        }
        lexer.at++;
        break;
      default:
        // A bracket that closes nothing, or one of PostScript.
        lexer.at++;
    }
  }
}

function readNumber(lexer: Lexer): number {
  const { bytes, end } = lexer;
  let at = lexer.at;
  let negative = false;
  let byte = bytes[at] ?? 0;
  while (at < end && (byte === 0x2b || byte === 0x2d)) {
    if (byte === 0x2d) negative = true;
    byte = bytes[++at] ?? 0;
  }
  let value = 0;
  let scale = 0;
  for (; at < end; byte = bytes[++at] ?? 0) {
    if (byte >= 0x30 && byte <= 0x39) {
      value = value * 10 + (byte - 0x30);
      scale *= 10;
    } else if (byte === 0x2e && scale === 0) {
      scale = 1;
    } else if (byte !== 0x2d && byte !== 0x2e) {
      // A minus in a number is passed over, as viewers do.
      break;
    }
  }
  lexer.at = at;
  if (scale > 1) value /= scale;
  return Number.isFinite(value) ? (negative ? -value : value) : 0;
}

function readWord(lexer: Lexer): Token {
  const { bytes, end } = lexer;
  const start = lexer.at;
  let at = start;
  while (at < end && CLASSES[bytes[at] ?? 0] === REGULAR) at++;
  lexer.at = at;
  const word = bytes.toString("latin1", start, Math.min(at, start + MAX_WORD));
  if (word === "true" || word === "false") {
    lexer.value = word === "true";
    return "value";
  }
  if (word === "null") {
    lexer.value = null;
    return "value";
  }
  lexer.word = word;
  return "word";
}

const NAMES = new Map<string, PdfName>();
const NAMES_KEPT = 4096;

function readName(lexer: Lexer): PdfName {
  const { bytes, end } = lexer;
  const start = lexer.at + 1;
  let at = start;
  let escaped = false;
  while (at < end && CLASSES[bytes[at] ?? 0] === REGULAR) {
    if (bytes[at] === 0x23) escaped = true;
    at++;
  }
  lexer.at = at;
  const written = bytes.toString("latin1", start, at);
  if (escaped) return unescapeName(written);
  const known = NAMES.get(written);
  if (known !== undefined) return known;
  const name: PdfName = { kind: "name", name: written, obfuscated: false };
  if (written.length <= MAX_WORD && NAMES.size < NAMES_KEPT) NAMES.set(written, name);
  return name;
}

function unescapeName(written: string): PdfName {
  let obfuscated = false;
  const name = written.replace(/#([0-9a-fA-F]{2})/g, (_, hex: string) => {
    const char = String.fromCharCode(Number.parseInt(hex, 16));
    if (/[A-Za-z0-9]/.test(char)) obfuscated = true;
    return char;
  });
  return { kind: "name", name, obfuscated };
}

const ESCAPES: Readonly<Record<number, number>> = { 110: 10, 114: 13, 116: 9, 98: 8, 102: 12 };

function readString(lexer: Lexer): PdfString {
  const { bytes, bounds } = lexer;
  const start = lexer.at + 1;
  const limit = bounds.quoted > 0 ? lexer.end : Math.min(lexer.end, start + SHORT);
  let depth = 1;
  let plain = true;
  let at = start;
  for (; at < limit; at++) {
    const byte = bytes[at];
    if (byte === 0x5c) {
      plain = false;
      at++;
    } else if (byte === 0x28) {
      depth++;
    } else if (byte === 0x29) {
      if (--depth === 0) break;
    } else if (byte === 13) {
      plain = false;
    }
  }
  bounds.quoted -= Math.min(at, limit) - start;
  if (depth > 0) {
    // Not closed: it ends where something else seems to begin, so that what follows is read.
    const stop = endOfUnclosed(bytes, start, limit);
    lexer.at = stop;
    return { kind: "string", bytes: unescapeString(bytes, start, stop) };
  }
  lexer.at = at + 1;
  return { kind: "string", bytes: plain ? bytes.subarray(start, at) : unescapeString(bytes, start, at) };
}

const ENDS_UNCLOSED = [Buffer.from("endobj"), Buffer.from("\n")];

function endOfUnclosed(bytes: Buffer, start: number, limit: number): number {
  const window = bytes.subarray(start, Math.min(limit, start + 4096));
  for (const end of ENDS_UNCLOSED) {
    const at = window.indexOf(end);
    if (at >= 0) return start + at;
  }
  return Math.min(limit, start + 4096);
}

function unescapeString(bytes: Buffer, start: number, end: number): Buffer {
  const out = Buffer.allocUnsafe(end - start);
  let length = 0;
  for (let at = start; at < end; at++) {
    const byte = bytes[at] ?? 0;
    if (byte === 13) {
      out[length++] = 10;
      if (bytes[at + 1] === 10) at++;
    } else if (byte !== 0x5c || at + 1 >= end) {
      out[length++] = byte;
    } else {
      const next = bytes[++at] ?? 0;
      if (next >= 0x30 && next <= 0x37) {
        let code = next - 0x30;
        for (let digits = 1; digits < 3 && at + 1 < end; digits++) {
          const digit = (bytes[at + 1] ?? 0) - 0x30;
          if (digit < 0 || digit > 7) break;
          code = code * 8 + digit;
          at++;
        }
        out[length++] = code & 0xff;
      } else if (next === 13) {
        if (bytes[at + 1] === 10) at++;
      } else if (next !== 10) {
        out[length++] = ESCAPES[next] ?? next;
      }
    }
  }
  return out.subarray(0, length);
}

function readHexString(lexer: Lexer): PdfString {
  const { bytes, bounds } = lexer;
  const start = lexer.at + 1;
  const limit = bounds.quoted > 0 ? lexer.end : Math.min(lexer.end, start + SHORT);
  let end = start;
  let digits = 0;
  for (; end < limit; end++) {
    const byte = bytes[end] ?? 0;
    if (byte === 0x3e) break;
    if ((HEX[byte] ?? -1) >= 0) digits++;
    // Not hexadecimal at all: not closed.
    else if (CLASSES[byte] === DELIMITER) break;
  }
  bounds.quoted -= end - start;
  const out = Buffer.alloc((digits + 1) >> 1);
  let nibble = 0;
  for (let at = start; at < end; at++) {
    const digit = HEX[bytes[at] ?? 0] ?? -1;
    if (digit < 0) continue;
    const index = nibble >> 1;
    out[index] = (out[index] ?? 0) | (nibble & 1 ? digit : digit << 4);
    nibble++;
  }
  lexer.at = bytes[end] === 0x3e && end < limit ? end + 1 : end;
  return { kind: "string", bytes: out };
}

type Container = { readonly kind: "[" | "<<"; readonly items: PdfValue[] };

/** Words that end an object; they may be written without a space before what follows. */
const STOPS = /^(?:obj|endobj|stream|endstream|xref|trailer|startxref)/;

/** Reads one value; null where there is none. What is open ends with the object. */
export function parseValue(lexer: Lexer): PdfValue {
  const stack: Container[] = [];
  let items: PdfValue[] = [];
  let kind: "root" | Container["kind"] = "root";
  const root = items;
  const { bounds } = lexer;
  const open = (next: Container["kind"]): void => {
    stack.push({ kind: kind as Container["kind"], items });
    items = [];
    kind = next;
  };
  const close = (): void => {
    const outer = stack.pop();
    if (outer === undefined) return;
    const value: PdfValue = kind === "[" ? { kind: "array", items } : dictOf(items);
    items = outer.items;
    kind = stack.length === 0 ? "root" : outer.kind;
    items.push(value);
  };
  while (bounds.values > 0) {
    const before = lexer.at;
    const token = nextToken(lexer);
    if (token === "end") break;
    if (token === "word") {
      if (lexer.word === "R") combineRef(items);
      else if (STOPS.test(lexer.word)) {
        lexer.at = before;
        break;
      }
      if (kind === "root" && typeof items.at(-1) === "object") break;
      continue;
    }
    if (token === "value") {
      if (typeof lexer.value === "object") bounds.values--;
      items.push(lexer.value);
    } else if (token === "[" || token === "<<") {
      bounds.values -= token === "<<" ? DICT_COST : 1;
      open(token);
    } else {
      close();
    }
    // Numbers may still become a reference.
    if (kind === "root" && items.length > 0 && typeof items.at(-1) !== "number") break;
    if (kind === "root" && items.length > 3) break;
  }
  while (stack.length > 0) close();
  const first = root[0];
  return first === undefined ? null : first;
}

function combineRef(items: PdfValue[]): void {
  const gen = items.at(-1);
  const num = items.at(-2);
  if (typeof gen !== "number" || typeof num !== "number") return;
  items.length -= 2;
  items.push({ kind: "ref", num, gen });
}

function dictOf(items: readonly PdfValue[]): PdfDict {
  const entries = new Map<string, PdfValue>();
  const earlier: [string, PdfValue][] = [];
  const obfuscatedKeys: string[] = [];
  for (let index = 0; index < items.length; ) {
    const key = items[index];
    if (typeof key !== "object" || key?.kind !== "name") {
      index++;
      continue;
    }
    if (key.obfuscated) obfuscatedKeys.push(key.name);
    const before = entries.get(key.name);
    if (before !== undefined) earlier.push([key.name, before]);
    entries.set(key.name, items[index + 1] ?? null);
    index += 2;
  }
  return {
    kind: "dict",
    entries,
    earlier: earlier.length > 0 ? earlier : NONE,
    obfuscatedKeys: obfuscatedKeys.length > 0 ? obfuscatedKeys : NONE,
  };
}

const NONE: readonly never[] = [];

/** A text string (7.9.2.2): UTF-16 or UTF-8 with a mark at its beginning, else taken as Latin 1. */
export function textOf(bytes: Buffer): string {
  if (bytes[0] === 0xfe && bytes[1] === 0xff) return utf16(bytes.subarray(2), "big");
  if (bytes[0] === 0xff && bytes[1] === 0xfe) return utf16(bytes.subarray(2), "little");
  if (bytes[0] === 0xef && bytes[1] === 0xbb && bytes[2] === 0xbf) return bytes.toString("utf8", 3);
  return bytes.toString("latin1");
}

export function utf16(bytes: Buffer, order: "big" | "little"): string {
  const even = bytes.subarray(0, bytes.length & ~1);
  return order === "little" ? even.toString("utf16le") : Buffer.from(even).swap16().toString("utf16le");
}

/** What a value refers to, or the value itself. */
export type Resolve = (value: PdfValue | undefined) => PdfValue;
/** The first of these keys that has a value other than null, resolved. */
export type Get = (dict: PdfDict, ...keys: readonly string[]) => PdfValue;

/** Items of a list that are looked at, where a few make sense. */
const MAX_LIST = 64;

export function isDict(value: PdfValue | undefined): value is PdfDict {
  return typeof value === "object" && value?.kind === "dict";
}

export function isRef(value: PdfValue | undefined): value is PdfRef {
  return typeof value === "object" && value?.kind === "ref";
}

/** "" where the value is no name. */
export function nameOf(value: PdfValue | undefined): string {
  return typeof value === "object" && value?.kind === "name" ? value.name : "";
}

/** The first items of an array, or the one value. */
export function listOf(
  resolve: Resolve,
  value: PdfValue | undefined,
  max: number = MAX_LIST,
): readonly PdfValue[] {
  const found = resolve(value);
  if (found === null) return [];
  return typeof found === "object" && found.kind === "array"
    ? found.items.slice(0, max).map(resolve)
    : [found];
}
