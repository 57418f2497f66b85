/**
 * Spares the strict parser large parts that can be read in one way only: bodies in faultless base64.
 *
 * In go a mail and what the lenient reading found in it, out comes the strict reading of the whole mail. Each such
 * body is replaced by a short one for the parser, and put back into what the parser gives. Where the parser takes
 * a body for anything else than one whole part in base64, it reads the mail as it is.
 */
import { randomBytes } from "node:crypto";
import type { LenientPart } from "./lenient.ts";
import { readStrict, type StrictLimits, type StrictReading } from "./strict.ts";

/** Bytes of an encoded body from which on cutting it out is worth it. */
const MIN_BODY = 64 * 1024;

type Cut = {
  readonly start: number;
  readonly end: number;
  readonly bytes: Uint8Array;
  readonly token: string;
};

export async function readStrictly(
  raw: Uint8Array,
  parts: readonly LenientPart[],
  limits: StrictLimits,
): Promise<StrictReading> {
  const cuts = cutsOf(raw, parts);
  if (cuts.length === 0) return readStrict(raw, limits);
  const pieces: Uint8Array[] = [];
  let at = 0;
  for (const { start, end, token } of cuts) {
    pieces.push(raw.subarray(at, start), Buffer.from(Buffer.from(token).toString("base64")));
    at = end;
  }
  const short = await readStrict(Buffer.concat([...pieces, raw.subarray(at)]), limits);
  const whole = restored(short, cuts);
  return whole ?? readStrict(raw, limits);
}

function cutsOf(raw: Uint8Array, parts: readonly LenientPart[]): readonly Cut[] {
  const cuts: Cut[] = [];
  for (const { primary, encoding, range, bytes, depth } of parts) {
    if (!primary || encoding !== "base64" || range === null || depth > 0) continue;
    const { start } = range;
    const end = start + encodedLength(raw, start, bytes.length);
    if (end - start < MIN_BODY || end > range.end || !isBlank(raw.subarray(end, range.end))) continue;
    if (cuts.some((cut) => start < cut.end && cut.start < end)) continue;
    cuts.push({ start, end, bytes, token: `a part that was cut out, ${randomBytes(16).toString("hex")}` });
  }
  return cuts.sort((a, b) => a.start - b.start);
}

/**
 * Bytes of `decoded` bytes in base64 with lines as long as the first one, without the last line end. Where the body
 * is as long as this, it has no room for anything that is not base64.
 */
function encodedLength(raw: Uint8Array, start: number, decoded: number): number {
  const digits = 4 * Math.ceil(decoded / 3);
  const line = raw.indexOf(0x0a, start) - start + 1;
  const ending = raw[start + line - 2] === 0x0d ? 2 : 1;
  if (line <= ending || line - ending >= digits) return digits;
  return digits + ending * Math.floor((digits - 1) / (line - ending));
}

function isBlank(bytes: Uint8Array): boolean {
  return bytes.length <= 1024 && bytes.every((byte) => byte === 0x0d || byte === 0x0a);
}

/** Null where a body did not come out of the parser as one part, once. */
function restored(reading: StrictReading, cuts: readonly Cut[]): StrictReading | null {
  const missing = new Map(cuts.map((cut) => [cut.token, cut.bytes]));
  const parts = reading.parts.map((part) => {
    const token = part.bytes.length < 100 ? Buffer.from(part.bytes).toString("latin1") : "";
    const bytes = missing.get(token);
    if (bytes === undefined) return part;
    missing.delete(token);
    return { ...part, bytes };
  });
  return missing.size === 0 ? { ...reading, parts } : null;
}
