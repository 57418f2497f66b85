/**
 * Base64 as mail programs read it: the clean way at the speed of the runtime, and the other ways of reading what
 * is not clean. In go bytes of a body, out come decoded bytes; nothing here throws, all work is linear.
 */

/** How a broken body is read. */
export type Base64Way =
  /** Whatever is not of the alphabet is passed over, padding as well. */
  | "skip"
  /** Padding ends a stream, and another stream follows it. */
  | "restart"
  /** Padding ends the content. */
  | "stop"
  /** Padding counts as a character of a group of four wherever it stands. */
  | "group"
  /** What is left of a line after its groups of four is dropped. */
  | "line"
  /** The same at an empty line only. */
  | "blank"
  /** Only lines that are base64 throughout count. */
  | "pure"
  /** What stands in parentheses is a comment. */
  | "comment"
  /** `-` and `_` stand for `+` and `/`. */
  | "url";

export const BASE64_WAYS: readonly Base64Way[] = [
  "restart",
  "stop",
  "group",
  "line",
  "blank",
  "pure",
  "comment",
  "url",
];

const ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
const OTHER = 255;
/** Byte to its six bits; 255 for what is not of the alphabet. */
export const SEXTETS: Uint8Array = tableOf(ALPHABET);
const URL_SEXTETS: Uint8Array = tableOf(ALPHABET, "-_");

function tableOf(alphabet: string, more = ""): Uint8Array {
  const table = new Uint8Array(256).fill(OTHER);
  for (let at = 0; at < alphabet.length; at++) table[alphabet.charCodeAt(at)] = at;
  for (let at = 0; at < more.length; at++) table[more.charCodeAt(at)] = 62 + at;
  return table;
}

/** Characters handed to the runtime at once: no body becomes one long string. */
const CHUNK = 64 * 1024;
const EQUALS = 0x3d;
const LF = 0x0a;

export type Base64 = {
  readonly bytes: Uint8Array;
  /** True where every mail program reads the body the same. */
  readonly clean: boolean;
};

/** Decodes `body`; where it is not clean, in the way "skip", which is the usual one. */
export function decodeBase64(body: Buffer): Base64 {
  const out = new Uint8Array(Math.ceil((body.length * 3) / 4) + 3);
  let written = 0;
  for (let at = 0; at < body.length; ) {
    const end = Math.min(body.length, at + CHUNK);
    const last = end === body.length;
    const step = decodeChunk(body.toString("latin1", at, end), out.subarray(written), last);
    // Padding that ends a chunk may be padding in the middle of the body.
    if (step === null || (!last && endsPadded(body, at + step.read))) {
      return { bytes: readInto(out, body, "skip"), clean: false };
    }
    written += step.written;
    if (last) break;
    // A chunk without one whole group of four is nothing but blanks.
    at += step.read === 0 ? CHUNK : step.read;
  }
  return { bytes: out.subarray(0, written), clean: true };
}

function decodeChunk(
  text: string,
  out: Uint8Array,
  last: boolean,
): { readonly read: number; readonly written: number } | null {
  try {
    return out.setFromBase64(text, { lastChunkHandling: last ? "loose" : "stop-before-partial" });
  } catch (thrown) {
    if (thrown instanceof SyntaxError) return null;
    throw thrown;
  }
}

function endsPadded(body: Buffer, end: number): boolean {
  let at = end - 1;
  while (at > 0 && (body[at] ?? 0) <= 0x20) at--;
  return body[at] === EQUALS;
}

/**
 * Decodes `body` in one way, to at most `limit` bytes. `drop`: characters of the alphabet that are passed over
 * first, for a body with junk before it.
 */
export function readBase64(
  body: Buffer,
  way: Base64Way,
  limit: number = Number.POSITIVE_INFINITY,
  drop = 0,
): Uint8Array {
  const size = Math.min(limit, Math.ceil((body.length * 3) / 4)) + 3;
  return readInto(new Uint8Array(size), body, way, drop);
}

/** Decodes as far as `out` has room, but for three bytes. */
function readInto(out: Uint8Array, body: Buffer, way: Base64Way, drop = 0): Uint8Array {
  const table = way === "url" ? URL_SEXTETS : SEXTETS;
  const most = out.length - 3;
  let written = 0;
  let bits = 0;
  let held = 0;
  /** Characters of the group of four that is open, and what was written before it. */
  let group = 0;
  let mark = 0;
  let lineStart = 0;
  for (let at = 0; at < body.length && written < most; at++) {
    if (way === "pure" && at === lineStart) {
      const end = endOfLine(body, at);
      lineStart = end + 1;
      if (!isPure(body, at, end)) {
        at = end;
        continue;
      }
    }
    const byte = body[at] ?? 0;
    const sextet = table[byte] ?? OTHER;
    if (sextet !== OTHER) {
      if (drop > 0) {
        drop--;
        continue;
      }
      bits = ((bits << 6) | sextet) & 0xff_ffff;
      held += 6;
      if (held >= 8) {
        held -= 8;
        out[written++] = (bits >> held) & 0xff;
      }
      if (++group === 4) {
        group = 0;
        mark = written;
        if (way === "group") held = 0;
      }
      continue;
    }
    if (byte === EQUALS) {
      if (way === "stop" && written > 0) break;
      if (way === "restart") {
        held = 0;
        group = 0;
        mark = written;
      } else if (way === "group" && ++group === 4) {
        group = 0;
        held = 0;
        mark = written;
      }
    } else if (byte === LF && (way === "line" || (way === "blank" && isBlankBefore(body, at)))) {
      written = mark;
      held = 0;
      group = 0;
    } else if (byte === 0x28 && way === "comment") {
      const end = body.indexOf(0x29, at);
      if (end === -1) break;
      at = end;
    }
  }
  if (way === "line" && written < most) written = mark;
  return out.subarray(0, Math.min(written, most));
}

function endOfLine(body: Buffer, at: number): number {
  const end = body.indexOf(LF, at);
  return end === -1 ? body.length : end;
}

function isPure(body: Buffer, start: number, end: number): boolean {
  for (let at = start; at < end; at++) {
    const byte = body[at] ?? 0;
    if (SEXTETS[byte] === OTHER && byte !== EQUALS && byte !== 0x0d) return false;
  }
  return true;
}

/** True where the line that ends at `at` is empty. */
function isBlankBefore(body: Buffer, at: number): boolean {
  const before = body[at - 1] === 0x0d ? at - 2 : at - 1;
  return body[before] === LF;
}
