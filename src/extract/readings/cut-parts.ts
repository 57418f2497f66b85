/**
 * Spares the strict parser the bodies that can be read in one way only: faultless base64 and quoted-printable, and
 * what is not encoded, without any line that may be a boundary.
 *
 * In go a mail and what the lenient reading found in it, out comes the strict reading of the whole mail. Each such
 * body is replaced by a short one for the parser, and put back into what the parser gives. Where the parser takes
 * a body for anything else than one whole part in that encoding, it reads the mail as it is.
 */
import { randomBytes } from "node:crypto";
import type { Encoding } from "./headers.ts";
import type { LenientPart, Range } from "./lenient.ts";
import { readStrict, type StrictLimits, type StrictReading } from "./strict.ts";

/** Bytes of a body from which on cutting it out is worth it. */
const MIN_BODY = 4 * 1024;
const LF = 0x0a;
const CR = 0x0d;
const DASH = 0x2d;
const EQUALS = 0x3d;

type Cut = {
  readonly start: number;
  readonly end: number;
  readonly bytes: Uint8Array;
  /** What the parser should give of it. */
  readonly token: string;
  /** What stands in its place. */
  readonly written: string;
};

export async function readStrictly(
  raw: Uint8Array,
  parts: readonly LenientPart[],
  limits: StrictLimits,
): Promise<StrictReading> {
  const mail = Buffer.from(raw.buffer, raw.byteOffset, raw.length);
  const cuts = cutsOf(mail, parts);
  const known = parts.map(({ bytes }) => bytes);
  if (cuts.length === 0) return readStrict(raw, limits, known);
  const pieces: Uint8Array[] = [];
  let at = 0;
  for (const { start, end, written } of cuts) {
    pieces.push(mail.subarray(at, start), Buffer.from(written));
    at = end;
  }
  const short = await readStrict(Buffer.concat([...pieces, mail.subarray(at)]), limits, known);
  const whole = restored(short, cuts);
  return whole ?? readStrict(raw, limits, known);
}

function cutsOf(mail: Buffer, parts: readonly LenientPart[]): readonly Cut[] {
  const secret = randomBytes(16).toString("hex");
  const cuts: Cut[] = [];
  for (const part of parts) {
    const { primary, range, depth, kind, declared } = part;
    if (!primary || range === null || depth > 0 || range.end - range.start < MIN_BODY) continue;
    // A mail is read as one by the parser, and what stands before the parts of a multipart is none of them.
    if (kind === "mail" || declared?.startsWith("multipart/") === true) continue;
    const end = endOfPlain(mail, part, range);
    if (end === null) continue;
    // The sign that is escaped in one encoding only tells whether the parser reads it in the same one.
    const token = `a part = ${cuts.length} that was cut out, ${secret}`;
    cuts.push({ start: range.start, end, bytes: part.bytes, token, written: WRITTEN[part.encoding](token) });
  }
  cuts.sort((a, b) => a.start - b.start);
  return cuts.filter(({ start }, index) => index === 0 || start >= (cuts[index - 1]?.end ?? 0));
}

const asItIs = (token: string): string => token;
const WRITTEN: Readonly<Record<Encoding, (token: string) => string>> = {
  base64: (token) => Buffer.from(token).toString("base64"),
  quoted: (token) => token.replace("=", "=3D"),
  identity: asItIs,
  uu: asItIs,
  yenc: asItIs,
  binhex: asItIs,
  ascii85: asItIs,
  unknown: asItIs,
};

/** Where a body ends that every parser reads the same, but for line ends behind it; null for another one. */
function endOfPlain(mail: Buffer, { encoding, bytes }: LenientPart, range: Range): number | null {
  const { start } = range;
  if (encoding === "base64") {
    const end = start + encodedLength(mail, start, bytes.length);
    return end <= range.end && isBlank(mail.subarray(end, range.end)) ? end : null;
  }
  const body = mail.subarray(start, range.end);
  if (encoding !== "identity" && encoding !== "quoted") return null;
  if (hasDashedLine(body) || (encoding === "quoted" && !isPlainQuoted(body))) return null;
  return range.end;
}

function hasDashedLine(body: Buffer): boolean {
  return (body[0] === DASH && body[1] === DASH) || body.indexOf("\n--") !== -1;
}

/** True for quoted-printable with whole escapes and ordinary line ends only. */
function isPlainQuoted(body: Buffer): boolean {
  for (let at = body.indexOf(EQUALS); at !== -1; at = body.indexOf(EQUALS, at + 1)) {
    const next = body[at + 1] ?? 0;
    if (next === LF || (next === CR && body[at + 2] === LF)) continue;
    if (!isHex(next) || !isHex(body[at + 2] ?? 0)) return false;
  }
  for (let at = body.indexOf(CR); at !== -1; at = body.indexOf(CR, at + 1)) {
    if (body[at + 1] !== LF) return false;
  }
  const last = body.at(-1);
  return last !== 0x20 && last !== 0x09;
}

function isHex(byte: number): boolean {
  const letter = byte | 0x20;
  return (byte >= 0x30 && byte <= 0x39) || (letter >= 0x61 && letter <= 0x66);
}

/**
 * Bytes of `decoded` bytes in base64 with lines as long as the first one, without the last line end. Where the body
 * is as long as this, it has no room for anything that is not base64.
 */
function encodedLength(raw: Buffer, start: number, decoded: number): number {
  const digits = 4 * Math.ceil(decoded / 3);
  const line = raw.indexOf(LF, start) - start + 1;
  const ending = raw[start + line - 2] === CR ? 2 : 1;
  if (line <= ending || line - ending >= digits) return digits;
  return digits + ending * Math.floor((digits - 1) / (line - ending));
}

function isBlank(bytes: Uint8Array): boolean {
  return bytes.length <= 1024 && bytes.every((byte) => byte === CR || byte === LF);
}

/** A longer part is none that was cut out. */
const MAX_TOKEN = 100;

/** Null where a body did not come out of the parser as one part, once. */
function restored(reading: StrictReading, cuts: readonly Cut[]): StrictReading | null {
  const missing = new Map(cuts.map((cut) => [cut.token, cut.bytes]));
  const parts = reading.parts.map((part) => {
    const token = part.bytes.length < MAX_TOKEN ? Buffer.from(part.bytes).toString("latin1") : "";
    const bytes = missing.get(token);
    if (bytes === undefined) return part;
    missing.delete(token);
    return { ...part, bytes };
  });
  return missing.size === 0 ? { ...reading, parts } : null;
}
