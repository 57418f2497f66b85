/**
 * The sweep of a mail: reading without any structure.
 *
 * In go the bytes of a mail and the ranges that another reading already has, out come files that lie in the rest:
 * base64 from whatever character it begins at, quoted-printable, uuencode, yEnc, BinHex, Ascii85, raw bytes, and
 * whole mails. Only what looks like a type worth analysing is kept. Nothing is thrown because of the bytes. What is
 * decoded in all is bounded by a multiple of the mail, so the work is linear.
 */
import type { Limits } from "../reading.ts";
import { decodeBase64, readBase64, SEXTETS } from "./base64.ts";
import { nextFile } from "./bodies.ts";
import { HEAD_SIZE, looksDangerous, PREFIXES } from "./dangerous.ts";
import { decodeQuoted } from "./encodings.ts";
import type { ReadingFlag } from "./flags.ts";
import type { Range } from "./lenient.ts";

export type SweptFile = {
  /** As the encoding gives it. Hostile text. */
  readonly name: string | null;
  /** May share memory with the mail. */
  readonly bytes: Uint8Array;
  /** "mail": the bytes are a header and what follows it, to be read as a mail. */
  readonly how:
    | "base64"
    | "quoted-printable"
    | "uuencode"
    | "yenc"
    | "binhex"
    | "ascii85"
    | "binary"
    | "mail";
  readonly range: Range;
};

export type SweepReading = { readonly found: readonly SweptFile[]; readonly flags: readonly ReadingFlag[] };

export type SweepOptions = {
  /** True where a content that begins with these bytes is worth keeping. */
  readonly worth: (head: Uint8Array) => boolean;
  /** Ranges that another reading has; in any order. */
  readonly skip?: readonly Range[];
  /** Headers that another reading has read, in any order: they begin no mail that is new. */
  readonly heads?: readonly Range[];
};

/** A shorter piece holds no file. */
const MIN_PIECE = 24;
/** Bytes of a file that are decoded to decide. */
const HEAD = 96;
/** Bytes of a piece that may be needed for that. */
const HEAD_INPUT = 1024;
const MAX_MAILS = 32;
/** Bytes decoded. */
const MAX_WORK = 64 * 1024 * 1024;
const LF = 0x0a;
const CR = 0x0d;
const EQUALS = 0x3d;
const OTHER = 255;

type Run = {
  readonly limits: Limits;
  readonly worth: (head: Uint8Array) => boolean;
  readonly found: SweptFile[];
  readonly flags: Set<ReadingFlag>;
  /** Bytes that may still be decoded, and places that may still be looked at closely. */
  work: number;
  looks: number;
  bytes: number;
  mails: number;
};

export function sweepRaw(
  raw: Uint8Array,
  limits: Limits,
  { worth, skip = [], heads = [] }: SweepOptions = { worth: looksDangerous },
): SweepReading {
  const mail = Buffer.from(raw.buffer, raw.byteOffset, raw.length);
  const run: Run = {
    limits,
    worth,
    found: [],
    flags: new Set(),
    work: Math.min(6 * raw.length, MAX_WORK) + 64 * 1024,
    looks: 4096 + (raw.length >> 8),
    bytes: 0,
    mails: 0,
  };
  const known = [...heads].sort((a, b) => a.start - b.start);
  for (const { start, end } of gapsOf(skip, mail.length)) {
    const piece = mail.subarray(start, end);
    sweepPiece(run, piece, start);
    findMails(run, piece, start, known);
  }
  return { found: run.found, flags: [...run.flags] };
}

/** What lies between the ranges. */
function gapsOf(skip: readonly Range[], length: number): Range[] {
  const gaps: Range[] = [];
  let at = 0;
  for (const { start, end } of [...skip].sort((a, b) => a.start - b.start)) {
    if (start - at >= MIN_PIECE) gaps.push({ start: at, end: Math.min(start, length) });
    at = Math.max(at, end);
  }
  if (length - at >= MIN_PIECE) gaps.push({ start: at, end: length });
  return gaps;
}

function sweepPiece(run: Run, piece: Buffer, offset: number): void {
  for (const encoding of ["uu", "yenc", "binhex", "ascii85"] as const)
    findFiles(run, piece, offset, encoding);
  findBase64(run, piece, offset, null);
  findBinary(run, piece, offset, null);
  if (!hasEscapes(piece) || !spend(run, piece.length)) return;
  const { bytes } = decodeQuoted(piece, "keep");
  const decoded = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length);
  const range = { start: offset, end: offset + piece.length };
  findBase64(run, decoded, 0, range);
  findBinary(run, decoded, 0, range);
}

function spend(run: Run, bytes: number): boolean {
  if (bytes > run.work) {
    run.flags.add("sweep_exceeded");
    return false;
  }
  run.work -= bytes;
  return true;
}

/** False where a bound is reached. */
function keep(run: Run, file: SweptFile): boolean {
  if (run.found.length >= run.limits.inner || run.bytes + file.bytes.length > run.limits.bytes) {
    run.flags.add("sweep_exceeded");
    return false;
  }
  const known = run.found.some(
    ({ bytes }) => bytes.length === file.bytes.length && Buffer.compare(bytes, file.bytes) === 0,
  );
  if (known) return true;
  if (file.how !== "mail") run.bytes += file.bytes.length;
  run.found.push(file);
  return true;
}

const HOW = { uu: "uuencode", yenc: "yenc", binhex: "binhex", ascii85: "ascii85" } as const;
/** What the text around a file of an encoding has for certain. */
const MARKS = { uu: "begin", yenc: "=ybegin ", binhex: "BinHex", ascii85: "<~" } as const;

function findFiles(run: Run, piece: Buffer, offset: number, encoding: keyof typeof HOW): void {
  for (let at = piece.indexOf(MARKS[encoding]); at !== -1; ) {
    const file = nextFile(piece, at, encoding);
    if (file === null || !spend(run, file.end - file.start)) return;
    if (file.cut === true) run.flags.add("sweep_exceeded");
    if (run.worth(file.bytes.subarray(0, HEAD_SIZE))) {
      const range = { start: offset + file.start, end: offset + file.end };
      if (!keep(run, { name: file.name, bytes: file.bytes, how: HOW[encoding], range })) return;
    }
    at = piece.indexOf(MARKS[encoding], Math.max(file.end, at + 1));
  }
}

/** First three bytes that a file worth keeping may begin with. */
const WHOLE_STARTS: ReadonlySet<number> = new Set(
  PREFIXES.filter(({ length }) => length > 2).map(([first = 0, second = 0, third = 0]) => {
    return (first << 16) | (second << 8) | third;
  }),
);
/** First bytes of files whose third byte may be any. */
const SHORT_STARTS: ReadonlySet<number> = new Set(
  PREFIXES.filter(({ length }) => length === 2).map(([first = 0, second = 0]) => (first << 8) | second),
);
/** Three characters of base64 to whether a file may begin with them: a first look, which few pass. */
const STARTS: Uint8Array = startsOf();

function startsOf(): Uint8Array {
  const starts = new Uint8Array(1 << 18);
  for (const bytes of WHOLE_STARTS) starts[bytes >> 6] = 1;
  // Of two bytes three characters know all but the last two bits.
  for (const bytes of SHORT_STARTS) starts.fill(1, bytes << 2, (bytes + 1) << 2);
  return starts;
}

/** Whether four characters of base64 (24 bits) begin a file. */
function isStart(bits: number): boolean {
  return SHORT_STARTS.has(bits >> 8) || WHOLE_STARTS.has(bits);
}

/**
 * Finds base64 that begins like a file, at any character and across whatever is not of the alphabet. `range`: where
 * `text` comes from, if it is not a piece of the mail at `offset`.
 */
function findBase64(run: Run, text: Buffer, offset: number, range: Range | null): void {
  let bits = 0;
  let until = 0;
  for (let at = 0; at < text.length; at++) {
    const sextet = SEXTETS[text[at] ?? 0] ?? OTHER;
    if (sextet === OTHER) continue;
    bits = ((bits << 6) | sextet) & 0xff_ffff;
    if (STARTS[bits >> 6] === 0 || !isStart(bits)) continue;
    const first = firstOfFour(text, at);
    // In base64 that was read, another stream begins with a line or not at all.
    if (first < until && !startsLine(text, first)) continue;
    if (run.looks-- <= 0) {
      run.flags.add("sweep_exceeded");
      return;
    }
    const head = readBase64(text.subarray(first, first + HEAD_INPUT), "skip", HEAD);
    if (!run.worth(head)) continue;
    const end = takeBase64(run, text, first, offset, range);
    if (end === null) return;
    until = Math.max(until, end);
  }
}

/** The place of the first of the four characters of base64 of which the last one stands at `last`. */
function firstOfFour(text: Buffer, last: number): number {
  let at = last;
  for (let left = 3; left > 0 && at > 0; ) {
    at--;
    if (SEXTETS[text[at] ?? 0] !== OTHER) left--;
  }
  return at;
}

function startsLine(text: Buffer, at: number): boolean {
  return at === 0 || text[at - 1] === LF || text[at - 1] === CR;
}

/** Decodes the base64 that begins at `start`; answers to where there is but one way to read it, null at a bound. */
function takeBase64(
  run: Run,
  text: Buffer,
  start: number,
  offset: number,
  range: Range | null,
): number | null {
  const { end, even } = runOf(text, start);
  const give = (bytes: Uint8Array, stop: number): boolean =>
    keep(run, {
      name: null,
      bytes,
      how: "base64",
      range: range ?? { start: offset + start, end: offset + stop },
    });
  if (!spend(run, end - start)) return null;
  const whole = decodeBase64(text.subarray(start, end));
  if (!give(whole.bytes, end)) return null;
  if (even < end && spend(run, even - start)) give(decodeBase64(text.subarray(start, even)).bytes, even);
  if (whole.clean) return end;
  if (spend(run, end - start)) give(readBase64(text.subarray(start, end), "stop"), end);
  return start;
}

/** Lines that are no base64 and still do not end it. */
const MAX_JUNK_LINES = 2;

/**
 * Where the base64 that begins at `start` ends: `even`, where its lines are all of one length but the last one, and
 * `end`, where there is nothing more that may be base64.
 */
function runOf(text: Buffer, start: number): { readonly end: number; readonly even: number } {
  let end = start;
  let even = -1;
  let length = 0;
  let junk = 0;
  for (let at = start; at < text.length; ) {
    const lf = text.indexOf(LF, at);
    const next = lf === -1 ? text.length : lf + 1;
    const stop = lf > at && text[lf - 1] === CR ? lf - 1 : lf === -1 ? text.length : lf;
    if (text[at] === 0x2d && text[at + 1] === 0x2d && stop > at + 2 && at > start) break;
    const isWhole = stop - at <= MAX_LINE && isCode(text, at, stop);
    // The first line is base64 as far as it goes: that is how this place was found.
    const kind = isWhole ? stop : stop - at > MAX_LINE || at === start ? wordEnd(text, at, stop) : -1;
    if (kind === -1) {
      if (even === -1 && end > start) even = end;
      if (++junk > MAX_JUNK_LINES) break;
    } else {
      junk = 0;
      end = kind;
      if (kind < stop) break;
      const size = stop - at;
      if (even === -1 && at > start && length > 0 && size < length) even = stop;
      if (at > start || length === 0) length = Math.max(length, size);
    }
    at = next;
  }
  return { end: Math.max(end, start), even: even === -1 ? end : even };
}

/** A longer line is base64 up to the first character that is not. */
const MAX_LINE = 1000;

function wordEnd(text: Buffer, start: number, stop: number): number {
  let at = start;
  while (at < stop && (SEXTETS[text[at] ?? 0] !== OTHER || text[at] === EQUALS || text[at] === CR)) at++;
  return at;
}

/** True where a line may be base64: one long word, or a word alone, or single characters with junk between them. */
function isCode(text: Buffer, start: number, stop: number): boolean {
  let row = 0;
  let longest = 0;
  let all = 0;
  let signs = 0;
  for (let at = start; at < stop; at++) {
    const byte = text[at] ?? 0;
    if (SEXTETS[byte] !== OTHER) {
      all++;
      if (++row > longest) longest = row;
      continue;
    }
    row = 0;
    if (byte !== EQUALS && byte > 0x20 && byte !== 0x3e) signs++;
  }
  if (longest >= 16) return true;
  if (all > 0 && longest >= all * 0.9 && signs === 0) return true;
  return all >= 4 && longest <= 4 && all + 1 >= (stop - start) * 0.4;
}

/** A file that lies in a text as it is: how it begins, and whether that stands at the beginning of a line only. */
const BINARY: readonly { readonly mark: Buffer; readonly line: boolean }[] = [
  { mark: Buffer.from("504b0304", "hex"), line: false },
  { mark: Buffer.from("526172211a07", "hex"), line: false },
  { mark: Buffer.from("377abcaf271c", "hex"), line: false },
  { mark: Buffer.from("fd377a585a00", "hex"), line: false },
  { mark: Buffer.from("d0cf11e0a1b11ae1", "hex"), line: false },
  { mark: Buffer.from("7f454c46", "hex"), line: false },
  { mark: Buffer.from("1f8b08", "hex"), line: false },
  { mark: Buffer.from("4d534346000000", "hex"), line: false },
  { mark: Buffer.from("4c0000000114020000000000c000", "hex"), line: false },
  { mark: Buffer.from("789f3e22", "hex"), line: false },
  { mark: Buffer.from("28b52ffd", "hex"), line: false },
  { mark: Buffer.from("314159265359", "hex"), line: false },
  { mark: Buffer.from("MZ"), line: true },
  { mark: Buffer.from("%PDF-"), line: true },
  { mark: Buffer.from("{\\rtf"), line: true },
  { mark: Buffer.from("X5O!P%@AP"), line: true },
];
/** The mark of bzip2 stands behind its name and its level. */
const BZIP_MARK = 0x31;

function findBinary(run: Run, text: Buffer, offset: number, range: Range | null): void {
  for (const { mark, line } of BINARY) {
    for (let at = text.indexOf(mark); at !== -1; at = text.indexOf(mark, at)) {
      const start = mark[0] === BZIP_MARK ? Math.max(0, at - 4) : at;
      const before = text[start - 1];
      const placed = !line || start === 0 || before === LF || before === CR;
      at += mark.length;
      if (!placed) continue;
      if (run.looks-- <= 0) {
        run.flags.add("sweep_exceeded");
        return;
      }
      if (!run.worth(text.subarray(start, start + HEAD_SIZE))) continue;
      const end = endOfFile(text, at);
      const kept = keep(run, {
        name: null,
        bytes: text.subarray(start, end),
        how: range === null ? "binary" : "quoted-printable",
        range: range ?? { start: offset + start, end: offset + end },
      });
      if (!kept) return;
      at = end;
    }
  }
}

/** The end of a part, or of the text. */
function endOfFile(text: Buffer, from: number): number {
  const at = text.indexOf("\n--", from);
  if (at === -1) return text.length;
  return text[at - 1] === CR ? at - 1 : at;
}

/** Equals signs that are looked at, and how many of them must begin an escape. */
const SIGNS = 64;
const MIN_ESCAPES = 4;

function hasEscapes(piece: Buffer): boolean {
  let escapes = 0;
  for (let at = piece.indexOf(EQUALS), count = 0; at !== -1 && count < SIGNS; count++) {
    if (/^[0-9A-Fa-f]{2}/.test(piece.toString("latin1", at + 1, at + 3)) && ++escapes === MIN_ESCAPES)
      return true;
    at = piece.indexOf(EQUALS, at + 1);
  }
  return false;
}

/** Names of headers that a mail with parts or attachments has, without their first letter. */
const MIME_MARKS = [
  "IME-Version:",
  "ime-Version:",
  "ime-version:",
  "ontent-Type:",
  "ontent-type:",
  "ontent-Transfer-Encoding:",
];
const MIME_LINE = /^(?:content-(?:type|transfer-encoding)|mime-version)[ \t]{0,5}:/i;
const MAIL_LINE = /^(?:from|to|subject|date|received|return-path|message-id)[ \t]{0,5}:/i;
const HEADER_LINE = /^(?:[!-9;-~]{1,60}[ \t]{0,5}:|[ \t])/;
/** Lines of a header that are looked at before and after a mark. */
const MAX_HEADER_LINES = 60;

/** Finds headers of mails in the middle of a text. The header at the very beginning of the mail is none. */
function findMails(run: Run, piece: Buffer, offset: number, known: readonly Range[]): void {
  const starts = new Set<number>();
  for (const mark of MIME_MARKS) {
    let from = 0;
    for (let at = piece.indexOf(mark, from); at !== -1; at = piece.indexOf(mark, from)) {
      from = at + mark.length;
      if (run.looks-- <= 0 || starts.size >= MAX_MAILS) break;
      if (isKnown(known, offset + at - 1, offset + at)) continue;
      const header = headerAround(piece, at - 1);
      if (header === null) continue;
      from = Math.max(from, header.end);
      if (header.start + offset > 0 && !isKnown(known, header.start + offset, header.end + offset))
        starts.add(header.start);
    }
  }
  const ordered = [...starts].sort((a, b) => a - b);
  for (const [index, start] of ordered.entries()) {
    if (run.mails++ >= MAX_MAILS) {
      run.flags.add("sweep_exceeded");
      return;
    }
    const end = ordered[index + 1] ?? piece.length;
    const range = { start: offset + start, end: offset + end };
    if (!keep(run, { name: null, bytes: piece.subarray(start, end), how: "mail", range })) return;
  }
}

/** True where one of the ranges, which are in order and do not overlap, has something of this one. */
function isKnown(ranges: readonly Range[], start: number, end: number): boolean {
  let low = 0;
  let high = ranges.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if ((ranges[middle]?.end ?? 0) <= start) low = middle + 1;
    else high = middle;
  }
  const first = ranges[low];
  return first !== undefined && first.start < end;
}

/** The header that holds the line at `at`; null where it is not that of a mail. */
function headerAround(piece: Buffer, at: number): Range | null {
  if (at < 0 || (at > 0 && piece[at - 1] !== LF && piece[at - 1] !== CR)) return null;
  let start = at;
  let mail = false;
  for (let lines = 0; start > 0 && lines < MAX_HEADER_LINES; lines++) {
    const stop = piece[start - 1] === LF && piece[start - 2] === CR ? start - 2 : start - 1;
    const before = stop === 0 ? -1 : piece.lastIndexOf(LF, stop - 1);
    if (stop - before > 2000) break;
    const text = piece.toString("latin1", before + 1, stop);
    if (!HEADER_LINE.test(text)) {
      // The header of a part, or of a quoted mail in one, stands behind a delimiter and is read as such.
      if (text.startsWith("--")) return null;
      break;
    }
    if (MAIL_LINE.test(text)) mail = true;
    start = before + 1;
  }
  let end = at;
  for (let lines = 0; end < piece.length && lines < MAX_HEADER_LINES; lines++) {
    const lf = piece.indexOf(LF, end);
    const stop = lf === -1 ? piece.length : lf;
    const text = piece.toString("latin1", end, Math.min(stop, end + 200));
    if (!HEADER_LINE.test(text)) break;
    if (MAIL_LINE.test(text)) mail = true;
    end = stop + 1;
  }
  return mail && MIME_LINE.test(piece.toString("latin1", at, at + 60))
    ? { start, end: Math.min(end, piece.length) }
    : null;
}
