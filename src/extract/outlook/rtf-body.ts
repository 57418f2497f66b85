/**
 * Turns the RTF body of an Outlook mail into what a person sees of it: the HTML or the text that it was made from
 * ([MS-OXRTFEX]), or else the text of the RTF with the targets of its links.
 *
 * One pass over the bytes, whatever they are; groups deeper than a bound share the state of the one around them.
 */

import { DEFAULT_CODEPAGE, decodeBytes } from "./mapi.ts";

export type RtfBody = {
  readonly kind: "html" | "text";
  readonly text: string;
  /** It is more than another form of the text: it carries objects or loads a template. */
  readonly active: boolean;
};

type Origin = "html" | "text" | "rtf";

type Group = {
  /** Nothing of it is seen. */
  skip: boolean;
  /** Between \htmlrtf and \htmlrtf0: only for readers of RTF. */
  rtfOnly: boolean;
  fontTable: boolean;
  codepage: number;
  /** Characters that stand in for one written by \u. */
  substitutes: number;
};

const MAX_DEPTH = 1024;
/** Where the marks of encapsulation must stand. */
const PROLOGUE = 1024;

const CHARACTERS: Readonly<Record<string, string>> = {
  par: "\r\n",
  line: "\r\n",
  row: "\r\n",
  sect: "\r\n",
  page: "\r\n",
  tab: "\t",
  cell: "\t",
  lquote: "\u2018",
  rquote: "\u2019",
  ldblquote: "\u201c",
  rdblquote: "\u201d",
  bullet: "\u2022",
  endash: "\u2013",
  emdash: "\u2014",
  emspace: "\u2003",
  enspace: "\u2002",
};

/** Destinations that are not part of the text, though nothing marks them as ignorable. */
const HIDDEN = new Set([
  "colortbl",
  "stylesheet",
  "info",
  "pict",
  "objdata",
  "objclass",
  "filetbl",
  "header",
  "footer",
]);
const ACTIVE = new Set(["object", "objdata", "objupdate", "template"]);
/** Ignorable destinations that hold what a person sees or follows. */
const SHOWN = new Set(["fldinst", "shptxt"]);

/** Code pages by \fcharset. */
const CHARSETS: Readonly<Record<number, number>> = {
  77: 10000,
  128: 932,
  129: 949,
  130: 949,
  134: 936,
  136: 950,
  161: 1253,
  162: 1254,
  163: 1258,
  177: 1255,
  178: 1256,
  186: 1257,
  204: 1251,
  222: 874,
  238: 1250,
};

export function readRtfBody(rtf: Uint8Array): RtfBody {
  const origin = originOf(rtf);
  const output = createOutput(rtf.length);
  const fonts = new Map<number, number>();
  const outer: Group[] = [];
  let tooDeep = 0;
  let group: Group = {
    skip: false,
    rtfOnly: false,
    fontTable: false,
    codepage: DEFAULT_CODEPAGE,
    substitutes: 1,
  };
  let defaultCodepage = DEFAULT_CODEPAGE;
  let font = 0;
  let ignorable = false;
  let substitutesLeft = 0;
  let active = false;

  const seen = (): boolean => !group.skip && !group.fontTable && !group.rtfOnly;
  const byte = (value: number): void => {
    if (substitutesLeft > 0) substitutesLeft--;
    else if (seen()) output.byte(value, group.codepage);
  };

  const destination = (word: string): void => {
    if (word === "fonttbl") group.fontTable = true;
    else if (word === "htmltag") group.skip = origin !== "html";
    else if (HIDDEN.has(word) || (ignorable && !SHOWN.has(word))) group.skip = true;
  };

  const control = (word: string, value: number | null): void => {
    if (ACTIVE.has(word)) active = true;
    if (ignorable || HIDDEN.has(word) || word === "fonttbl") destination(word);
    ignorable = false;
    switch (word) {
      case "htmlrtf":
        if (origin === "html") group.rtfOnly = value !== 0;
        return;
      case "ansicpg":
        if (value) defaultCodepage = value;
        group.codepage = defaultCodepage;
        return;
      case "f":
        font = value ?? 0;
        if (!group.fontTable) group.codepage = fonts.get(font) ?? defaultCodepage;
        return;
      case "fcharset":
        if (group.fontTable) fonts.set(font, CHARSETS[value ?? 0] ?? defaultCodepage);
        return;
      case "cpg":
        if (group.fontTable && value) fonts.set(font, value);
        return;
      case "plain":
        group.codepage = fonts.get(0) ?? defaultCodepage;
        return;
      case "uc":
        group.substitutes = Math.max(0, Math.min(value ?? 1, 16));
        return;
      case "u":
        if (value !== null && seen()) output.text(String.fromCharCode(value & 0xffff));
        substitutesLeft = group.substitutes;
        return;
      default: {
        const text = CHARACTERS[word];
        if (text !== undefined && seen()) output.text(text);
      }
    }
  };

  let at = 0;
  while (at < rtf.length) {
    const code = rtf[at++] ?? 0;
    if (code === 0x7b) {
      substitutesLeft = 0;
      ignorable = false;
      if (outer.length < MAX_DEPTH) {
        outer.push(group);
        group = { ...group };
      } else tooDeep++;
    } else if (code === 0x7d) {
      substitutesLeft = 0;
      ignorable = false;
      if (tooDeep > 0) tooDeep--;
      else group = outer.pop() ?? group;
    } else if (code === 0x5c) {
      const symbol = rtf[at] ?? 0;
      if (!isLetter(symbol)) {
        at++;
        if (symbol === 0x27) {
          byte(hexByte(rtf, at));
          at += 2;
        } else if (symbol === 0x2a) ignorable = true;
        else if (symbol === 0x0a || symbol === 0x0d) control("par", null);
        else if (symbol === 0x7e) {
          if (seen()) output.text("\u00a0");
        } else if (symbol === 0x5c || symbol === 0x7b || symbol === 0x7d) byte(symbol);
        continue;
      }
      const start = at;
      while (at - start < 32 && isLetter(rtf[at] ?? 0)) at++;
      const word = latin1(rtf, start, at);
      const numberStart = at;
      if (rtf[at] === 0x2d) at++;
      while (at - numberStart < 11 && isDigit(rtf[at] ?? 0)) at++;
      const value = at > numberStart ? Number.parseInt(latin1(rtf, numberStart, at), 10) : null;
      if (rtf[at] === 0x20) at++;
      if (word === "bin" && value !== null && value > 0) at += value;
      else control(word, Number.isNaN(value) ? null : value);
    } else if (code !== 0x0a && code !== 0x0d && code !== 0) byte(code);
  }
  return { kind: origin === "html" ? "html" : "text", text: output.done(), active };
}

function originOf(rtf: Uint8Array): Origin {
  const prologue = latin1(rtf, 0, Math.min(rtf.length, PROLOGUE));
  if (prologue.includes("\\fromhtml")) return "html";
  return prologue.includes("\\fromtext") ? "text" : "rtf";
}

function latin1(bytes: Uint8Array, from: number, to: number): string {
  let text = "";
  for (let at = from; at < to; at++) text += String.fromCharCode(bytes[at] ?? 0);
  return text;
}

function isLetter(code: number): boolean {
  return (code >= 0x61 && code <= 0x7a) || (code >= 0x41 && code <= 0x5a);
}

function isDigit(code: number): boolean {
  return code >= 0x30 && code <= 0x39;
}

function hexByte(rtf: Uint8Array, at: number): number {
  const value = Number.parseInt(latin1(rtf, at, Math.min(at + 2, rtf.length)), 16);
  return Number.isNaN(value) ? 0x3f : value;
}

/** Collects bytes of a code page until another one or a character of Unicode follows. */
function createOutput(most: number) {
  const parts: string[] = [];
  const waiting = new Uint8Array(most);
  let length = 0;
  let codepage = DEFAULT_CODEPAGE;
  const flush = (): void => {
    if (length > 0) parts.push(decodeBytes(waiting.subarray(0, length), codepage));
    length = 0;
  };
  return {
    byte: (value: number, of: number): void => {
      if (of !== codepage) {
        flush();
        codepage = of;
      }
      waiting[length++] = value;
    },
    text: (text: string): void => {
      flush();
      parts.push(text);
    },
    done: (): string => {
      flush();
      return parts.join("");
    },
  };
}
