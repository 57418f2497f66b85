/**
 * All ways to read the body of one part.
 *
 * In go the encoded bytes and the transfer encodings that the header may mean, out come the decoded contents: the
 * likeliest one, and each other one whose head looks like a type worth analysing. The number of ways is fixed; those
 * that cost a decoding of the whole body are paid for from a budget, so that the work stays linear in the mail.
 */
import { BASE64_WAYS, type Base64Way, decodeBase64, readBase64, SEXTETS } from "./base64.ts";
import { dangerOf, HEAD_SIZE, looksDangerous } from "./dangerous.ts";
import {
  decodeAscii85,
  decodeBinhex,
  decodeQuoted,
  decodeUtf7,
  decodeUu,
  decodeYenc,
  type EmbeddedFile,
  QUOTED_WAYS,
} from "./encodings.ts";
import type { ReadingFlag } from "./flags.ts";
import type { Encoding } from "./headers.ts";

/** Bytes at the beginning of a body that tell how it is encoded. */
const PROBE = 2048;
/** Bytes of a body that are decoded to see whether a way of reading it is worth the rest. */
const HEAD_INPUT = 4096;
/** Files in one body. */
const MAX_FILES = 32;
const LF = 0x0a;
const CR = 0x0d;

/** One content of a body. `name`: as its encoding gives it. */
export type Way = { readonly bytes: Uint8Array; readonly name: string | null; readonly cut?: boolean };

export type BodyReading = {
  readonly primary: readonly Way[];
  readonly others: readonly Way[];
  /** The likeliest encoding: the declared one, or the guessed one where that is not known. */
  readonly encoding: Encoding;
  readonly flags: readonly ReadingFlag[];
};

/** Bytes that may still be spent on the less likely ways, and on what they unpack to. */
export type Budget = { work: number };

export function isBlankBody(body: Buffer): boolean {
  for (let at = 0; at < body.length; at++) if ((body[at] ?? 0) > 0x20) return false;
  return true;
}

export function readBodyWays(body: Buffer, encodings: readonly Encoding[], budget: Budget): BodyReading {
  const flags = new Set<ReadingFlag>();
  const [declared = "identity"] = encodings;
  const guess = guessEncoding(body);
  const encoding = declared === "unknown" ? guess : declared;
  const main = decode(body, encoding);
  const primary = main.ways;
  const others: Way[] = [];
  const isScript = primary.some(({ bytes }) => dangerOf(bytes.subarray(0, HEAD_SIZE)) === "text");
  const give = (way: Way): boolean => {
    // Another spelling, or the end, of a text that is given already adds nothing.
    if (dangerOf(way.bytes.subarray(0, HEAD_SIZE)) === "text") {
      if (isScript || primary.some(({ bytes }) => endsWith(bytes, way.bytes))) return false;
    }
    if ([...primary, ...others].some(({ bytes }) => same(bytes, way.bytes))) return false;
    others.push(way);
    return true;
  };
  if (!main.clean) flags.add(encoding === "base64" ? "malformed_base64" : "malformed_quoted_printable");
  if (primary.some(({ cut }) => cut === true)) flags.add("lenient_bytes_exceeded");
  const isFound = (): boolean => primary.some(({ bytes }) => isWorth(bytes));
  if (encoding !== "base64" && body.indexOf("\n..") !== -1 && spend(budget, body.length)) {
    for (const way of decode(unstuffed(body), encoding).ways) if (isWorth(way.bytes)) give(way);
  }
  if ((encoding === "base64" || encoding === "quoted") && !isFound()) {
    for (const { bytes } of primary) readAgain(bytes, budget, give);
  }
  // The usual case: one way to read it, and nothing to be seen that tells of another.
  const plain = main.clean && encodings.length === 1 && encoding === guess;
  if (plain && (encoding !== "base64" || isFound())) return { primary, others, encoding, flags: [...flags] };
  if (encoding === "base64") {
    readMoreBase64(body, main.clean, budget, give);
  } else if (encoding === "quoted" && !main.clean) {
    for (const way of QUOTED_WAYS) {
      const head = decodeQuoted(body.subarray(0, HEAD_INPUT), way, HEAD_SIZE).bytes;
      if (looksDangerous(head) && spend(budget, body.length)) {
        give({ bytes: decodeQuoted(body, way).bytes, name: null });
      }
    }
  }
  const more = new Set<Encoding>([...encodings, guess, "identity"]);
  for (const other of more) {
    if (other === encoding || other === "unknown") continue;
    if (readOther(body, other, budget, give) && !encodings.includes(other)) flags.add("undeclared_encoding");
  }
  if (encoding !== "base64" && guess !== "base64" && isMostlyBase64(body)) {
    if (readOther(body, "base64", budget, give)) flags.add("undeclared_encoding");
  }
  return { primary, others, encoding, flags: [...flags] };
}

/** Reads what was encoded twice. */
function readAgain(bytes: Uint8Array, budget: Budget, give: (way: Way) => boolean): void {
  const inner = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length);
  const guess = guessEncoding(inner);
  if (guess !== "identity") readOther(inner, guess, budget, give);
}

/** The body without the dots that are doubled at the beginning of lines on the way (RFC 5321, 4.5.2). */
function unstuffed(body: Buffer): Buffer {
  const out = Buffer.alloc(body.length);
  let written = 0;
  let from = 0;
  for (let at = body.indexOf("\n.."); at !== -1; at = body.indexOf("\n..", at + 3)) {
    written += body.copy(out, written, from, at + 2);
    from = at + 3;
  }
  written += body.copy(out, written, from);
  return out.subarray(0, written);
}

/** Reads a body in another encoding than the likeliest one; true where that gave something. */
function readOther(body: Buffer, encoding: Encoding, budget: Budget, give: (way: Way) => boolean): boolean {
  if (encoding === "base64") {
    const before = budget.work;
    const head = readBase64(body.subarray(0, HEAD_INPUT), "skip", HEAD_SIZE);
    let found = false;
    if (looksDangerous(head) && spend(budget, body.length)) {
      const { bytes, clean } = decodeBase64(body);
      found = give({ bytes, name: null });
      if (clean) return found;
    }
    readMoreBase64(body, false, budget, give);
    return found || budget.work < before;
  }
  if (!spend(budget, body.length)) return false;
  let found = false;
  for (const way of decode(body, encoding).ways) if (isWorth(way.bytes) && give(way)) found = true;
  return found;
}

/** Lines of junk that may stand before the content. */
const MAX_JUNK_LINES = 3;

function readMoreBase64(body: Buffer, clean: boolean, budget: Budget, give: (way: Way) => boolean): void {
  const tryWay = (from: Buffer, way: Base64Way, drop: number): void => {
    if (!looksDangerous(readBase64(from.subarray(0, HEAD_INPUT), way, HEAD_SIZE, drop))) return;
    if (!spend(budget, body.length)) return;
    give({ bytes: readBase64(from, way, Number.POSITIVE_INFINITY, drop), name: null });
  };
  // Characters before the content shift its groups of four.
  for (let drop = 1; drop < 4; drop++) tryWay(body, "skip", drop);
  for (let lines = 0, at = 0; lines < MAX_JUNK_LINES; lines++) {
    at = body.indexOf(LF, at) + 1;
    if (at === 0) break;
    tryWay(body.subarray(at), "skip", 0);
  }
  for (const way of clean ? CLEAN_WAYS : BASE64_WAYS) tryWay(body, way, 0);
}

/** Ways that differ where nothing is wrong but the lengths of the lines. */
const CLEAN_WAYS: readonly Base64Way[] = ["blank", "line"];

function spend(budget: Budget, bytes: number): boolean {
  if (bytes > budget.work) {
    budget.work = -1;
    return false;
  }
  budget.work -= bytes;
  return true;
}

function isWorth(bytes: Uint8Array): boolean {
  return looksDangerous(bytes.subarray(0, HEAD_SIZE));
}

function same(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && Buffer.compare(a, b) === 0;
}

function endsWith(bytes: Uint8Array, end: Uint8Array): boolean {
  return bytes.length >= end.length && same(bytes.subarray(bytes.length - end.length), end);
}

/** Decodes a body in one encoding. What holds no file of that encoding is given as it is. */
function decode(
  body: Buffer,
  encoding: Encoding,
): { readonly ways: readonly Way[]; readonly clean: boolean } {
  const plain = [{ bytes: body, name: null }];
  switch (encoding) {
    case "base64": {
      const { bytes, clean } = decodeBase64(body);
      return { ways: [{ bytes, name: null }], clean };
    }
    case "quoted": {
      const { bytes, clean } = decodeQuoted(body, "keep");
      return { ways: [{ bytes, name: null }], clean };
    }
    case "uu":
    case "yenc":
    case "binhex":
    case "ascii85": {
      const files = filesIn(body, encoding);
      return { ways: files.length === 0 ? plain : files, clean: true };
    }
    case "identity":
    case "unknown":
      return { ways: plain, clean: true };
  }
}

function filesIn(body: Buffer, encoding: "uu" | "yenc" | "binhex" | "ascii85"): readonly EmbeddedFile[] {
  const found: EmbeddedFile[] = [];
  for (let at = 0; at < body.length && found.length < MAX_FILES; ) {
    const file = nextFile(body, at, encoding);
    if (file === null) break;
    found.push(file);
    at = Math.max(file.end, at + 1);
  }
  // Lines without a line before them that tells what they are.
  if (found.length === 0 && encoding === "uu") {
    const file = decodeUu(body, firstLine(body), body.length);
    if (file !== null) found.push(file);
  }
  return found;
}

/** `begin`, a mode, a name. */
const UU_BEGIN = /^begin(?:-base64)? {1,5}[0-7]{3,6} {1,5}([^\r\n]{1,255})/;

/** The first file of an encoding at or after `from`. */
export function nextFile(
  body: Buffer,
  from: number,
  encoding: "uu" | "yenc" | "binhex" | "ascii85",
): EmbeddedFile | null {
  const end = body.length;
  switch (encoding) {
    case "uu": {
      for (let at = body.indexOf("begin", from); at !== -1; at = body.indexOf("begin", at + 5)) {
        const match = UU_BEGIN.exec(body.toString("latin1", at, Math.min(end, at + 300)));
        if (match === null || (at > 0 && /[\w-]/.test(String.fromCharCode(body[at - 1] ?? 0)))) continue;
        const line = body.indexOf(LF, at);
        if (line === -1) return null;
        const quote = at - lineStartOf(body, at);
        const file = decodeUu(body, line + 1, end, quote);
        if (file !== null) return { ...file, name: match[1]?.trim() ?? null, start: at };
      }
      return null;
    }
    case "yenc": {
      const at = body.indexOf("=ybegin ", from);
      return at === -1 ? null : decodeYenc(body, at, end);
    }
    case "binhex": {
      const at = body.indexOf("BinHex", from);
      // The line that tells of BinHex may have a colon of its own.
      const line = at === -1 ? from - 1 : body.indexOf(LF, at);
      if (at !== -1 && line === -1) return null;
      return decodeBinhex(body, line + 1, end);
    }
    case "ascii85": {
      const at = body.indexOf("<~", from);
      const stop = at === -1 ? -1 : body.indexOf("~>", at);
      if (at === -1) return null;
      const bytes = decodeAscii85(body, at + 2, stop === -1 ? end : stop);
      return bytes === null ? null : { name: null, bytes, start: at, end: stop === -1 ? end : stop + 2 };
    }
  }
}

/** Characters of a quotation before a file that are looked back at. */
const MAX_QUOTE = 8;

function lineStartOf(body: Buffer, at: number): number {
  for (let back = at; back > at - MAX_QUOTE; back--) {
    if (back === 0 || body[back - 1] === LF || body[back - 1] === CR) return back;
  }
  return at;
}

function firstLine(body: Buffer): number {
  let at = 0;
  while (at < body.length && (body[at] ?? 0) <= 0x20) at++;
  return at;
}

/** Tells from the first lines of a body how it is encoded. */
export function guessEncoding(body: Buffer): Encoding {
  const text = body.toString("latin1", 0, Math.min(body.length, PROBE)).replace(/^[\s\0]{1,2000}/, "");
  if (UU_BEGIN.test(text) || text.startsWith("begin 6")) return "uu";
  if (text.startsWith("=ybegin ")) return "yenc";
  if (/^\(This file |^:[!-r]{60}/.test(text) && (text.startsWith(":") || text.includes("BinHex")))
    return "binhex";
  if (text.startsWith("<~")) return "ascii85";
  const lines = text.split(/[\r\n]{1,4}/, 12);
  // The last line may have been cut.
  if (lines.length > 1) lines.pop();
  const written = lines.filter((line) => line !== "");
  const long = written.filter((line) => line.length > 1);
  if (long.length > 0 && long.every((line) => /^[\w+/=-]{2,}$/.test(line)) && isCode(long.join("")))
    return "base64";
  if (written.length > 0 && written.every(isUuLine)) return "uu";
  if (/=[0-9A-F]{2}(?:=[0-9A-F]{2}|[^\r\n]{0,80}=\r?\n)|=3D/.test(text)) return "quoted";
  return "identity";
}

/** True where a row of characters of the alphabet is no word. */
function isCode(text: string): boolean {
  if (text.length < 8) return false;
  return /[A-Z]/.test(text) && /[a-z]/.test(text)
    ? text.length >= 16 || /\d|[+/=]/.test(text)
    : /^[A-Z0-9+/]{12,}={0,2}$/.test(text);
}

function isUuLine(line: string): boolean {
  const count = (line.charCodeAt(0) - 0x20) & 63 || 64;
  const expected = Math.ceil(count / 3) * 4;
  return /^[ -`]{2,80}$/.test(line) && line.length - 1 >= expected - 1 && line.length - 1 <= expected + 1;
}

/** True where base64 stands between other things in the first bytes of a body. */
function isMostlyBase64(body: Buffer): boolean {
  const end = Math.min(body.length, PROBE);
  let row = 0;
  let longest = 0;
  let all = 0;
  for (let at = 0; at < end; at++) {
    if (SEXTETS[body[at] ?? 0] === 255) {
      row = 0;
      continue;
    }
    all++;
    longest = Math.max(longest, ++row);
  }
  return longest >= 24 || all > end * 0.9;
}

/** The text in UTF-8 where it is in UTF-7; null elsewhere. `markup`: UTF-7 hides tags in it. */
export function fromUtf7(
  body: Buffer,
  charset: string | null,
): { readonly text: Uint8Array; readonly markup: boolean } | null {
  const markup = body.indexOf("+ADw") !== -1;
  if (!markup && !(charset?.toLowerCase().includes("utf-7") ?? false)) return null;
  return { text: decodeUtf7(body), markup };
}
