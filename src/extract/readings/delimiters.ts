/**
 * Finds the lines of a mail that begin or end a part, or another mail.
 *
 * A delimiter is a line that begins with two dashes and either continues with a boundary that was declared anywhere
 * before it, in any way to read that declaration, or is followed by the header of a part. What some servers take
 * for the end of a mail is one as well where another mail follows it. Going forward, no byte is looked at more than
 * a fixed number of times.
 */
import { boundariesOf, createFinder, headerOf, isPartHeader, type Lines, mayBeMultipart } from "./headers.ts";

const MAX_BOUNDARIES = 5000;
/** A shorter boundary is not looked for at the beginning of longer lines. */
const MIN_PREFIX = 4;
const MAX_DELIMITER = 256;
const LF = 0x0a;
const CR = 0x0d;
const DASH = 0x2d;

/** A line that begins or ends a part. */
export type Delimiter = {
  /** Beginning of its line; of the line break before it: `bodyEnd`. */
  readonly start: number;
  readonly bodyEnd: number;
  readonly next: number;
  readonly key: string;
  readonly closing: boolean;
  readonly how: "exact" | "near" | "guess" | "end of data";
};

export type Boundaries = {
  /** True where the Content-Type may be that of a multipart. */
  readonly add: (contentType: string) => boolean;
  readonly has: (text: string) => boolean;
  /** A boundary that `text` begins with. */
  readonly prefixOf: (text: string) => string | null;
  readonly all: () => string[];
};

export function createBoundaries(given: readonly string[], exceeded: () => void): Boundaries {
  const seen = new Map<string, boolean>();
  const boundaries = new Set(given);
  const lengths = new Set(given.map(({ length }) => length));
  return {
    add(contentType) {
      const known = seen.get(contentType);
      if (known !== undefined) return known;
      const multipart = mayBeMultipart(contentType);
      if (seen.size < MAX_BOUNDARIES) seen.set(contentType, multipart);
      if (!multipart && !contentType.toLowerCase().includes("boundary")) return false;
      for (const boundary of boundariesOf(contentType)) {
        if (boundaries.size >= MAX_BOUNDARIES) {
          exceeded();
          break;
        }
        boundaries.add(boundary);
        lengths.add(boundary.length);
      }
      return multipart;
    },
    has: (text) => boundaries.has(text),
    prefixOf(text) {
      for (const length of lengths) {
        if (length < MIN_PREFIX || length >= text.length) continue;
        const start = text.slice(0, length);
        if (boundaries.has(start) && isWord(start)) return start;
      }
      return null;
    },
    all: () => [...boundaries],
  };
}

/** True where a boundary is more than dashes and signs, which begin lines of any text. */
function isWord(boundary: string): boolean {
  return /[a-z0-9][^a-z0-9]*[a-z0-9][^a-z0-9]*[a-z0-9]/.test(boundary);
}

export type DelimiterFinder = {
  readonly next: (from: number) => Delimiter | null;
  readonly isDelimiter: (lineStart: number, lineEnd: number) => boolean;
};

export function createDelimiterFinder(
  raw: Buffer,
  lines: Lines,
  boundaries: Boundaries,
  isOpen: (boundary: string) => boolean,
): DelimiterFinder {
  let dashes = -1;
  let dot = -1;
  const match = (lineStart: number, dashAt: number, lineEnd: number): Delimiter | null => {
    const text = raw
      .toString("latin1", dashAt + 2, Math.min(lineEnd, dashAt + 2 + MAX_DELIMITER))
      .replace(/[\s\0]{1,}/g, " ")
      .trim()
      .toLowerCase();
    const next = lines.after(lineEnd);
    const found = keyOf(text, boundaries, isOpen) ?? (startsPart(raw, lines, next) ? guessed(text) : null);
    return found === null ? null : { ...found, start: lineStart, bodyEnd: beforeBreak(raw, lineStart), next };
  };
  const nextDashes = (from: number): Delimiter | null => {
    for (let at = Math.max(dashes, from); ; ) {
      const hit = raw.indexOf("--", at);
      if (hit === -1) {
        dashes = raw.length;
        return null;
      }
      const lineStart = startOfLine(raw, hit, from);
      if (lineStart !== -1) {
        const found = match(lineStart, hit, lines.end(hit));
        if (found !== null) {
          dashes = hit;
          return found;
        }
      }
      at = hit + 2;
      while (raw[at] === DASH) at++;
    }
  };
  const dots = BEFORE_DOT.map((before) => createFinder(raw, `${before}.`));
  const nextDot = (from: number): Delimiter | null => {
    for (let at = Math.max(dot, from); ; ) {
      const before = Math.min(...dots.map((find) => find(Math.max(0, at - 1))));
      const hit = before === raw.length ? -1 : before + 1;
      if (hit === -1 || hit > (dashes === -1 ? raw.length : dashes)) {
        dot = hit === -1 ? raw.length : hit;
        return null;
      }
      const found = endOfData(raw, lines, hit);
      if (found !== null) {
        dot = hit;
        return found;
      }
      at = hit + 1;
    }
  };
  return {
    next(from) {
      const dashed = nextDashes(from);
      const dotted = nextDot(from);
      return dotted !== null && (dashed === null || dotted.start < dashed.start) ? dotted : dashed;
    },
    isDelimiter: (lineStart, lineEnd) => match(lineStart, lineStart, lineEnd) !== null,
  };
}

function guessed(text: string): Pick<Delimiter, "key" | "closing" | "how"> {
  return { key: text.replace(/-{1,}$/, ""), closing: false, how: "guess" };
}

/** The boundary that a line after its two dashes may stand for. */
function keyOf(
  text: string,
  boundaries: Boundaries,
  isOpen: (boundary: string) => boolean,
): Pick<Delimiter, "key" | "closing" | "how"> | null {
  const known = (key: string): boolean => boundaries.has(key) || isOpen(key);
  if (known(text)) return { key: text, closing: false, how: "exact" };
  if (text.endsWith("--")) {
    const bare = text.slice(0, -2).trimEnd();
    if (known(bare)) return { key: bare, closing: true, how: "exact" };
  }
  const word = text.split(/[ ;,"'()]/, 1)[0] ?? "";
  if (word.length >= MIN_PREFIX && known(word)) return { key: word, closing: false, how: "near" };
  const prefix = boundaries.prefixOf(text);
  if (prefix === null) return null;
  return { key: prefix, closing: text.startsWith("--", prefix.length), how: "near" };
}

/** Lines after a delimiter that are looked at for the header of a part. */
const HEADER_LINES = 4;

function startsPart(raw: Buffer, lines: Lines, from: number): boolean {
  for (let at = from, count = 0; at < raw.length && count < HEADER_LINES; count++) {
    const end = lines.end(at);
    const text = raw.toString("latin1", at, Math.min(end, at + 200));
    if (isPartHeader(text)) return true;
    if (text.trim() !== "" && headerOf(text) === null) return false;
    if (text === "" && count > 0) return false;
    at = lines.after(end);
  }
  return false;
}

/** Blanks before a delimiter that are passed over. */
const MAX_INDENT = 16;

/** The beginning of the line whose first characters stand at `at`; -1 where others stand before them. */
function startOfLine(raw: Buffer, at: number, from: number): number {
  for (let back = at - 1; back >= at - MAX_INDENT; back--) {
    if (back < from) return back + 1;
    const byte = raw[back] ?? 0;
    if (byte === LF || byte === CR || byte === 0x0b || byte === 0x0c || byte === 0x85) return back + 1;
    if (byte !== 0x20 && byte !== 0x09 && byte !== 0) return -1;
  }
  return -1;
}

/** The line break before a delimiter belongs to it. */
function beforeBreak(raw: Buffer, lineStart: number): number {
  if (raw[lineStart - 1] === LF) return lineStart - (raw[lineStart - 2] === CR ? 2 : 1);
  return raw[lineStart - 1] === CR ? lineStart - 1 : lineStart;
}

const COMMAND = /^(?:mail from:|rcpt to:|ehlo |helo |rset|data$|noop|starttls|quit)/i;
const MAX_COMMANDS = 64;

/** What may stand right before a dot that is alone on its line; NUL, where a line break stands before that. */
const BEFORE_DOT = ["\n", "\r", "\0"] as const;

/** A dot that stands alone on its line, with another mail behind it. */
function endOfData(raw: Buffer, lines: Lines, dot: number): Delimiter | null {
  const before = raw[dot - 1] === 0 ? dot - 2 : dot - 1;
  const first = raw[before];
  const after = raw[dot + 1] === 0 ? dot + 2 : dot + 1;
  if (first !== LF && first !== CR) return null;
  if (raw[after] !== LF && raw[after] !== CR) return null;
  let at = after;
  while (raw[at] === CR || raw[at] === LF) at++;
  let commands = 0;
  for (; commands < MAX_COMMANDS && at < raw.length; commands++) {
    const end = lines.end(at);
    if (!COMMAND.test(raw.toString("latin1", at, Math.min(end, at + 64)).trim())) break;
    at = lines.after(end);
  }
  if (commands === 0 && !startsMail(raw, lines, at)) return null;
  return {
    start: before + 1,
    bodyEnd: beforeBreak(raw, before + 1),
    next: at,
    key: "",
    closing: false,
    how: "end of data",
  };
}

const MAIL_HEADER =
  /^(?:from|to|subject|date|received|return-path|message-id|mime-version|content-type) {0,5}:/i;

/** Two lines in a row that are headers of a mail. */
function startsMail(raw: Buffer, lines: Lines, from: number): boolean {
  for (let at = from, count = 0; count < 2; count++) {
    if (at >= raw.length) return false;
    const end = lines.end(at);
    if (!MAIL_HEADER.test(raw.toString("latin1", at, Math.min(end, at + 64)))) return false;
    at = lines.after(end);
  }
  return true;
}
