/**
 * What the codes of a string on a page mean in the font they are shown in, as far as it is cheaply known.
 *
 * By /ToUnicode, else by /Encoding, else as Windows 1252; codes of glyphs without either as the order of glyphs in
 * most TrueType fonts has it. Widths are those of the document, or those of a common font.
 */
import type { PdfDocument, PdfObject } from "./document.ts";
import {
  createBounds,
  createLexer,
  isDict,
  isRef,
  listOf,
  nameOf,
  nextToken,
  type PdfDict,
  type PdfValue,
  utf16,
} from "./objects.ts";

/** A string as it is shown. */
export type Shown = {
  readonly text: string;
  /** In thousandths of the font's size. */
  readonly width: number;
  readonly codes: number;
  /** Codes of one byte that are 32, to which word spacing is added. */
  readonly spaces: number;
};

export type PdfFont = {
  readonly show: (bytes: Buffer) => Shown;
  /** The widths are the document's own. */
  readonly measured: boolean;
};

/** What the fonts of one document may cost, and the maps that several of them share. */
export type FontBudget = {
  fonts: number;
  /** Entries of maps and lists of widths. */
  entries: number;
  /** Bytes of maps. */
  bytes: number;
  readonly maps: Map<PdfObject, UnicodeMap | null>;
};

export function createFontBudget(): FontBudget {
  return { fonts: MAX_FONTS, entries: MAX_ENTRIES, bytes: MAX_MAP_BYTES, maps: new Map() };
}

const MAX_FONTS = 2000;
const MAX_ENTRIES = 1_000_000;
const MAX_MAP_BYTES = 6 * 1024 * 1024;
const MAX_DIFFERENCES = 1024;

/** Null where no more fonts are read. */
export function loadFont(document: PdfDocument, dict: PdfDict, budget: FontBudget): PdfFont | null {
  if (budget.fonts-- <= 0) return null;
  const { get } = document;
  const map = mapOf(document, dict.entries.get("ToUnicode"), budget);
  return nameOf(get(dict, "Subtype")) === "Type0" || get(dict, "DescendantFonts") !== null
    ? compositeFont(document, dict, map, budget)
    : simpleFont(document, dict, map);
}

// ---- fonts of one byte a code

function simpleFont(document: PdfDocument, dict: PdfDict, map: UnicodeMap | null): PdfFont {
  const { get, resolve } = document;
  const encoding = get(dict, "Encoding");
  const base = nameOf(isDict(encoding) ? get(encoding, "BaseEncoding") : encoding);
  const chars = [...(base === "MacRomanEncoding" ? MAC_ROMAN : WINDOWS)];
  if (isDict(encoding)) {
    let code = 0;
    for (const item of listOf(resolve, encoding.entries.get("Differences"), MAX_DIFFERENCES)) {
      if (typeof item === "number") code = item;
      else if (code >= 0 && code < 256) chars[code++] = characterOf(nameOf(item));
    }
  }
  for (let code = 0; code < 256; code++) chars[code] = map?.texts.get(code) ?? chars[code] ?? "";
  const listed = listOf(resolve, dict.entries.get("Widths"), 256);
  const measured = listed.length > 0;
  const first = numberOr(get(dict, "FirstChar"), 0);
  const matrix = listOf(resolve, dict.entries.get("FontMatrix"));
  const scale = matrix.length === 6 ? numberOr(matrix[0] ?? null, 0.001) * 1000 : 1;
  const fixed = /courier|mono/i.test(nameOf(get(dict, "BaseFont")));
  const widths = Float64Array.from({ length: 256 }, (_, code) =>
    measured ? numberOr(listed[code - first] ?? null, 0) * scale : fixed ? 600 : (COMMON_WIDTHS[code] ?? 556),
  );
  return {
    measured,
    show: (bytes) => {
      let text = "";
      let width = 0;
      let spaces = 0;
      for (let at = 0; at < bytes.length; at++) {
        const code = bytes[at] ?? 0;
        text += chars[code] ?? "";
        width += widths[code] ?? 0;
        if (code === 32) spaces++;
      }
      return { text, width, codes: bytes.length, spaces };
    },
  };
}

type Charset = ConstructorParameters<typeof TextDecoder>[0];

function table(charset: Charset): readonly string[] {
  return [...new TextDecoder(charset).decode(Uint8Array.from({ length: 256 }, (_, code) => code))];
}

const WINDOWS = table("windows-1252");
const MAC_ROMAN = table("macintosh");

const GLYPHS = new Map<string, string>();
for (const [index, name] of (
  "space exclam quotedbl numbersign dollar percent ampersand quotesingle parenleft parenright asterisk plus comma " +
  "hyphen period slash zero one two three four five six seven eight nine colon semicolon less equal greater question at"
)
  .split(" ")
  .entries()) {
  GLYPHS.set(name, String.fromCharCode(0x20 + index));
}
for (const pair of (
  "bracketleft[ backslash\\ bracketright] asciicircum^ underscore_ grave` braceleft{ bar| braceright} asciitilde~ " +
  "minus- hyphenminus- sfthyphen- endash\u2013 emdash\u2014 quoteleft\u2018 quoteright\u2019 quotedblleft\u201c " +
  "quotedblright\u201d bullet\u2022 fi\ufb01 fl\ufb02 ff\ufb00 ffi\ufb03 ffl\ufb04 nbspace\u00a0 adieresis\u00e4 odieresis\u00f6 " +
  "udieresis\u00fc germandbls\u00df eacute\u00e9 egrave\u00e8 agrave\u00e0 ccedilla\u00e7 ntilde\u00f1 periodcentered\u00b7"
).split(" ")) {
  GLYPHS.set(pair.slice(0, -1), ligature(pair.slice(-1)));
}

/** A ligature as the letters it is made of. */
function ligature(char: string): string {
  return char >= "\ufb00" && char <= "\ufb04" ? char.normalize("NFKD") : char;
}

function characterOf(glyph: string): string {
  if (glyph.length === 1) return glyph;
  const [name = ""] = glyph.split(".", 1);
  const known = GLYPHS.get(name);
  if (known !== undefined) return known;
  const code = /^(?:uni([0-9A-F]{4})|u([0-9A-F]{4,6}))$/i.exec(name);
  const point = Number.parseInt(code?.[1] ?? code?.[2] ?? "fffd", 16);
  return name.length === 1 ? name : point <= 0x10ffff ? String.fromCodePoint(point) : "\ufffd";
}

/** Of Helvetica, from the space on, in thousandths of its size. */
const COMMON_WIDTHS: Readonly<Record<number, number>> = Object.fromEntries(
  (
    "278 278 355 556 556 889 667 191 333 333 389 584 278 333 278 278 556 556 556 556 556 556 556 556 556 556 278 278 " +
    "584 584 584 556 1015 667 667 722 722 667 611 778 722 278 500 667 556 833 722 778 667 778 722 667 611 722 667 944 " +
    "667 667 611 278 278 278 469 556 333 556 556 500 556 556 278 556 556 222 222 500 222 833 556 556 556 556 333 500 " +
    "278 556 500 722 500 500 500 334 260 334 584"
  )
    .split(" ")
    .map((width, index) => [0x20 + index, Number(width)]),
);

// ---- fonts of several bytes a code

/** Charsets by what begins or is in the name of a map. */
const CHARSETS: readonly (readonly [RegExp, Charset])[] = [
  [/^GB/, "gbk"],
  [/RKSJ/, "shift_jis"],
  [/^(?:B5|ETen|HKscs)/i, "big5"],
  [/^KSC/, "euc-kr"],
  [/^(?:EUC-[HV]|Ext)/, "euc-jp"],
];

function compositeFont(
  document: PdfDocument,
  dict: PdfDict,
  map: UnicodeMap | null,
  budget: FontBudget,
): PdfFont {
  const { get, resolve } = document;
  const encoding = get(dict, "Encoding");
  const encodingName = nameOf(encoding);
  const [descendant] = listOf(resolve, dict.entries.get("DescendantFonts"));
  const widths = isDict(descendant)
    ? widthsOf(document, descendant, budget)
    : { of: new Map<number, number>(), other: 1000 };
  const identity = /^Identity/.test(encodingName) || isDict(encoding) || encodingName === "";
  const unicode = /UCS2|UTF16/.test(encodingName);
  const charset = CHARSETS.find(([pattern]) => pattern.test(encodingName))?.[1];
  if (map === null && !identity && !unicode && charset !== undefined) {
    const decoder = new TextDecoder(charset);
    return {
      measured: false,
      show: (bytes) => ({
        text: decoder.decode(bytes),
        width: bytes.length * 500,
        codes: bytes.length,
        spaces: 0,
      }),
    };
  }
  const size = map !== null && map.codeSize === 1 && !/^Identity/.test(encodingName) ? 1 : 2;
  return {
    measured: true,
    show: (bytes) => {
      let text = "";
      let width = 0;
      let codes = 0;
      for (let at = 0; at + size <= bytes.length; at += size) {
        const code = size === 1 ? (bytes[at] ?? 0) : ((bytes[at] ?? 0) << 8) | (bytes[at + 1] ?? 0);
        const known = map?.texts.get(code);
        if (known !== undefined) text += known;
        else if (unicode) text += String.fromCharCode(code);
        // In most TrueType fonts glyph 3 is the space, and the rest of ASCII follows.
        else if (map === null && code >= 3 && code <= 97) text += String.fromCharCode(code + 29);
        else text += "\ufffd";
        width += widths.of.get(code) ?? widths.other;
        codes++;
      }
      return { text, width, codes, spaces: 0 };
    },
  };
}

const MAX_WIDTHS = 65_536;

function widthsOf(
  document: PdfDocument,
  dict: PdfDict,
  budget: FontBudget,
): { of: ReadonlyMap<number, number>; other: number } {
  const { get, resolve } = document;
  const of = new Map<number, number>();
  const listed = listOf(resolve, dict.entries.get("W"), Math.max(0, Math.min(MAX_WIDTHS, budget.entries)));
  budget.entries -= listed.length;
  for (let index = 0; index < listed.length && budget.entries > 0; ) {
    const first = listed[index];
    const next = listed[index + 1];
    if (typeof first !== "number") {
      index++;
    } else if (typeof next === "number") {
      const width = numberOr(listed[index + 2] ?? null, 1000);
      const last = Math.min(next, first + 0xffff);
      for (let code = first; code <= last && budget.entries-- > 0; code++) of.set(code, width);
      index += 3;
    } else {
      const widths = listOf(resolve, next, MAX_WIDTHS);
      budget.entries -= widths.length;
      for (const [offset, width] of widths.entries()) of.set(first + offset, numberOr(width, 1000));
      index += 2;
    }
  }
  return { of, other: numberOr(get(dict, "DW"), 1000) };
}

function numberOr(value: PdfValue, otherwise: number): number {
  return typeof value === "number" ? value : otherwise;
}

// ---- maps to Unicode (9.10.3)

type UnicodeMap = { readonly texts: ReadonlyMap<number, string>; readonly codeSize: number };

function mapOf(document: PdfDocument, value: PdfValue | undefined, budget: FontBudget): UnicodeMap | null {
  if (!isRef(value)) return null;
  const object = document.versions(value).find(({ stream }) => stream !== null);
  if (object === undefined) return null;
  const known = budget.maps.get(object);
  if (known !== undefined) return known;
  const content = budget.bytes > 0 ? document.content(object, budget.bytes) : null;
  budget.bytes -= content?.bytes.length ?? 0;
  const map = content === null ? null : parseMap(content.bytes, budget);
  budget.maps.set(object, map);
  return map;
}

function parseMap(bytes: Buffer, budget: FontBudget): UnicodeMap | null {
  const texts = new Map<number, string>();
  const lexer = createLexer(bytes, 0, bytes.length, createBounds(bytes.length, 0));
  let codeSize = 2;
  let codes: Buffer[] = [];
  /** Of an array in a range: the texts of its codes, one after the other. */
  let list: Buffer[] | null = null;
  const set = (code: number, text: string): void => {
    if (budget.entries-- > 0) texts.set(code, text);
  };
  let mode: "" | "char" | "range" | "space" = "";
  for (let token = nextToken(lexer); token !== "end"; token = nextToken(lexer)) {
    if (token === "word") {
      mode = MODES.get(lexer.word) ?? "";
      codes = [];
      list = null;
      continue;
    }
    if (mode === "") continue;
    if (token === "[") {
      list = [];
      continue;
    }
    if (token === "]") {
      const from = numberIn(codes[0]);
      for (const [offset, text] of (list ?? []).entries()) set(from + offset, utf16(text, "big"));
      codes = [];
      list = null;
      continue;
    }
    if (token !== "value" || typeof lexer.value !== "object" || lexer.value?.kind !== "string") continue;
    const { bytes: code } = lexer.value;
    if (list !== null) {
      list.push(code);
      continue;
    }
    codes.push(code);
    const [from, to, text] = codes;
    if (mode === "space" && to !== undefined) {
      codeSize = to.length;
      codes = [];
    } else if (mode === "char" && to !== undefined) {
      set(numberIn(from), utf16(to, "big"));
      codes = [];
    } else if (mode === "range" && text !== undefined) {
      const first = numberIn(from);
      const last = Math.min(numberIn(to), first + 0xffff);
      const start = utf16(text, "big");
      const end = start.charCodeAt(start.length - 1);
      for (let at = first; at <= last && budget.entries > 0; at++) {
        set(at, start.slice(0, -1) + String.fromCharCode(end + at - first));
      }
      codes = [];
    }
  }
  return texts.size === 0 ? null : { texts, codeSize };
}

const MODES: ReadonlyMap<string, "char" | "range" | "space"> = new Map([
  ["beginbfchar", "char"],
  ["beginbfrange", "range"],
  ["begincodespacerange", "space"],
] as const);

function numberIn(bytes: Buffer | undefined): number {
  let value = 0;
  for (const byte of bytes?.subarray(0, 4) ?? []) value = value * 256 + byte;
  return value;
}
