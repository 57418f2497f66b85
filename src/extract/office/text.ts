/**
 * Text found in documents: collected up to a bound, or hunted for in bytes whose format is not read.
 */
import type { ReadingBuilder } from "../reading.ts";
import type { OfficeFlag } from "./flags.ts";

/** Characters of a document's text that are given. */
const MAX_TEXT = 4 * 1024 * 1024;
/** Longest word around a URL that is hunted for. */
const MAX_WORD = 4096;
const MAX_SCHEME = 32;
const MAX_WORDS = 10_000;

export type TextCollector = {
  readonly add: (piece: string) => void;
  /** Ends the line, if there is one. */
  readonly line: () => void;
  /** Gives what was collected, if it is more than white space. */
  readonly done: () => void;
};

/** `source` as it stands in the sources of a URL. */
export function collectText(reading: ReadingBuilder, source: string): TextCollector {
  const pieces: string[] = [];
  let length = 0;
  const add = (piece: string): void => {
    if (length >= MAX_TEXT) return;
    const room = MAX_TEXT - length;
    if (piece.length > room) reading.flag("office_text_exceeded" satisfies OfficeFlag);
    const kept = piece.length > room ? piece.slice(0, room) : piece;
    pieces.push(kept);
    length += kept.length;
  };
  return {
    add,
    line: () => {
      if (pieces.length > 0 && pieces.at(-1) !== "\n") add("\n");
    },
    done: () => {
      const text = pieces.join("");
      if (/\S/.test(text)) reading.text({ kind: "text", text, source });
    },
  };
}

/**
 * The words with "://" or "www." in bytes of any format, written in a single-byte charset or in UTF-16LE, one a
 * line; "" where there are none.
 */
export function writtenUrls(bytes: Buffer): string {
  const text = bytes.toString("latin1");
  const words = new Set<string>();
  for (const needle of ["://", "www."]) {
    hunt(text, needle, 1, words);
    hunt(text, [...needle].join("\0"), 2, words);
  }
  return [...words].join("\n");
}

/** `step` is the bytes of a character; those after the first are NUL. */
function hunt(text: string, needle: string, step: 1 | 2, words: Set<string>): void {
  let done = 0;
  const isWord = (at: number): boolean => {
    const char = text.charCodeAt(at);
    const wide = step === 1 || text.charCodeAt(at + 1) === 0;
    return wide && char > 0x20 && char < 0x7f && char !== 0x22 && char !== 0x3c && char !== 0x3e;
  };
  for (let at = text.indexOf(needle); at >= 0; at = text.indexOf(needle, done)) {
    if (words.size >= MAX_WORDS) return;
    let from = at;
    while (from - step >= done && at - from < MAX_SCHEME * step && isWord(from - step)) from -= step;
    let end = at;
    while (end < text.length && end - at < MAX_WORD * step && isWord(end)) end += step;
    const word = text.slice(from, end);
    words.add(step === 1 ? word : word.replaceAll("\0", ""));
    done = Math.max(end, at + needle.length);
  }
}

const GLUE = /"[ \t]{0,64}[&+][ \t]{0,64}(?:_[ \t]{0,64}\r?\n[ \t]{0,64})?"/g;
const CHARACTER = /\b(?:ChrW?\$?|CHAR)\([ \t]{0,8}(?:(&H)([0-9a-f]{1,4})|(\d{1,5}))[ \t]{0,8}\)/gi;

/** A formula or the source of a macro with its texts put together: "ht" & Chr(116) & "p" becomes "http". */
export function withoutConcatenation(source: string): string {
  if (!source.includes("&") && !source.includes("+")) return source;
  return source
    .replace(CHARACTER, (whole, _, hex: string | undefined, decimal: string | undefined) => {
      const code = hex === undefined ? Number(decimal) : Number.parseInt(hex, 16);
      return code >= 0x20 && code !== 0x22 && code < 0xd800 ? `"${String.fromCharCode(code)}"` : whole;
    })
    .replace(GLUE, "");
}
