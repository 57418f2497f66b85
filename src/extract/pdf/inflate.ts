/**
 * Inflates what is broken or cut off as far as it goes (RFC 1951), and what is whole by zlib.
 *
 * zlib gives up all of a stream whose last byte is wrong; viewers show what comes before it, so it is read here.
 */
import { inflateRawSync } from "node:zlib";

export type Inflated = { readonly bytes: Buffer; readonly end: "whole" | "cut" | "broken" };

/** At most `max` bytes. `bytes` have the header of zlib, or, where it is wrong, none. */
export function inflate(bytes: Buffer, max: number): Inflated {
  const [first = 0, second = 0] = bytes;
  const headed = (first & 15) === 8 && ((first << 8) | second) % 31 === 0 && (second & 0x20) === 0;
  const made = inflateRaw(headed ? bytes.subarray(2) : bytes, max);
  if (headed || made.bytes.length > 0) return made;
  // A header of zlib that is wrong.
  return inflateRaw(bytes.subarray(2), max);
}

function inflateRaw(bytes: Buffer, max: number): Inflated {
  if (max <= 0) return { bytes: Buffer.alloc(0), end: "cut" };
  try {
    return { bytes: inflateRawSync(bytes, { maxOutputLength: max }), end: "whole" };
  } catch (fault) {
    const cut = (fault as { code?: unknown }).code === "ERR_BUFFER_TOO_LARGE";
    return { bytes: inflateBeginning(bytes, max), end: cut ? "cut" : "broken" };
  }
}

const LENGTH_BASE = [
  3, 4, 5, 6, 7, 8, 9, 10, 11, 13, 15, 17, 19, 23, 27, 31, 35, 43, 51, 59, 67, 83, 99, 115, 131, 163, 195,
  227, 258,
];
const LENGTH_BITS = [0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3, 4, 4, 4, 4, 5, 5, 5, 5, 0];
const DISTANCE_BASE = [
  1, 2, 3, 4, 5, 7, 9, 13, 17, 25, 33, 49, 65, 97, 129, 193, 257, 385, 513, 769, 1025, 1537, 2049, 3073, 4097,
  6145, 8193, 12289, 16385, 24577,
];
const DISTANCE_BITS = [
  0, 0, 0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6, 7, 7, 8, 8, 9, 9, 10, 10, 11, 11, 12, 12, 13, 13,
];
const CODE_ORDER = [16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15];

/** Symbols by code: `counts` of codes of each length, `symbols` in their order. */
type Codes = { readonly counts: Uint16Array; readonly symbols: Uint16Array };

function codesOf(lengths: Uint8Array): Codes {
  const counts = new Uint16Array(16);
  for (const length of lengths) counts[length] = (counts[length] ?? 0) + 1;
  const offsets = new Uint16Array(16);
  for (let bits = 1; bits < 15; bits++) offsets[bits + 1] = (offsets[bits] ?? 0) + (counts[bits] ?? 0);
  const symbols = new Uint16Array(lengths.length);
  for (const [symbol, length] of lengths.entries()) {
    if (length === 0) continue;
    const at = offsets[length] ?? 0;
    symbols[at] = symbol;
    offsets[length] = at + 1;
  }
  counts[0] = 0;
  return { counts, symbols };
}

const FIXED_LENGTHS = codesOf(
  Uint8Array.from({ length: 288 }, (_, symbol) =>
    symbol < 144 ? 8 : symbol < 256 ? 9 : symbol < 280 ? 7 : 8,
  ),
);
const FIXED_DISTANCES = codesOf(new Uint8Array(30).fill(5));

/** What comes out of a stream until it breaks, at most `max` bytes. */
function inflateBeginning(bytes: Buffer, max: number): Buffer {
  let out = Buffer.allocUnsafe(Math.min(max, Math.max(1024, bytes.length * 4)));
  let length = 0;
  let at = 0;
  let hold = 0;
  let held = 0;
  let ended = false;

  const bits = (count: number): number => {
    while (held < count) {
      if (at >= bytes.length) {
        ended = true;
        return 0;
      }
      hold |= (bytes[at++] ?? 0) << held;
      held += 8;
    }
    const value = hold & ((1 << count) - 1);
    hold >>>= count;
    held -= count;
    return value;
  };
  const symbol = ({ counts, symbols }: Codes): number => {
    let code = 0;
    let first = 0;
    let index = 0;
    for (let size = 1; size < 16; size++) {
      code |= bits(1);
      if (ended) return -1;
      const count = counts[size] ?? 0;
      if (code - count < first) return symbols[index + code - first] ?? -1;
      index += count;
      first = (first + count) << 1;
      code <<= 1;
    }
    return -1;
  };
  const room = (more: number): boolean => {
    if (length + more <= out.length) return true;
    if (length >= max) return false;
    const larger = Buffer.allocUnsafe(Math.min(max, (length + more) * 2));
    out.copy(larger, 0, 0, length);
    out = larger;
    return true;
  };
  /** False where the stream breaks, ends or reaches the bound. */
  const compressed = (lengths: Codes, distances: Codes): boolean => {
    for (;;) {
      const value = symbol(lengths);
      if (value < 0 || value > 285) return false;
      if (value === 256) return true;
      if (value < 256) {
        if (!room(1)) return false;
        out[length++] = value;
        continue;
      }
      const size = (LENGTH_BASE[value - 257] ?? 0) + bits(LENGTH_BITS[value - 257] ?? 0);
      const code = symbol(distances);
      if (code < 0 || code > 29) return false;
      const distance = (DISTANCE_BASE[code] ?? 0) + bits(DISTANCE_BITS[code] ?? 0);
      if (ended || distance > length || !room(size)) return false;
      const end = Math.min(length + size, out.length);
      while (length < end) {
        out[length] = out[length - distance] ?? 0;
        length++;
      }
    }
  };
  const stored = (): boolean => {
    hold = 0;
    held = 0;
    const size = bits(16);
    const check = bits(16);
    if (ended || size !== (~check & 0xffff)) return false;
    const piece = bytes.subarray(at, at + size);
    if (!room(piece.length)) return false;
    length += piece.copy(out, length);
    at += size;
    return at <= bytes.length;
  };
  const dynamic = (): boolean => {
    const literals = bits(5) + 257;
    const distances = bits(5) + 1;
    const codes = bits(4) + 4;
    const sizes = new Uint8Array(19);
    for (let index = 0; index < codes; index++) sizes[CODE_ORDER[index] ?? 0] = bits(3);
    if (ended) return false;
    const table = codesOf(sizes);
    const lengths = new Uint8Array(literals + distances);
    for (let index = 0; index < lengths.length; ) {
      const value = symbol(table);
      if (value < 0) return false;
      if (value < 16) {
        lengths[index++] = value;
        continue;
      }
      const repeated = value === 16 ? (lengths[index - 1] ?? 0) : 0;
      const times = value === 16 ? 3 + bits(2) : value === 17 ? 3 + bits(3) : 11 + bits(7);
      lengths.fill(repeated, index, index + times);
      index += times;
    }
    return compressed(codesOf(lengths.subarray(0, literals)), codesOf(lengths.subarray(literals)));
  };

  for (;;) {
    const last = bits(1);
    const kind = bits(2);
    if (ended) break;
    const whole =
      kind === 0
        ? stored()
        : kind === 1
          ? compressed(FIXED_LENGTHS, FIXED_DISTANCES)
          : kind === 2 && dynamic();
    if (!whole || last === 1) break;
  }
  return out.subarray(0, length);
}
