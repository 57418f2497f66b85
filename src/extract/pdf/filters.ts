/**
 * The filters that streams of PDF are packed with (ISO 32000-1, 7.4), except those of images.
 *
 * Each gives what it can of a broken stream, at most `max` bytes, and says whether that is all.
 */
import { inflate } from "./inflate.ts";
import { hexDigit, isWhite } from "./objects.ts";

export type Unfiltered = { readonly bytes: Buffer; readonly end: "whole" | "cut" | "broken" };

/** The numbers of /DecodeParms. */
export type FilterParameters = {
  readonly predictor: number;
  readonly colors: number;
  readonly bits: number;
  readonly columns: number;
  readonly earlyChange: boolean;
};

type Filter = (bytes: Buffer, max: number, parameters: FilterParameters) => Unfiltered;

/** By name and short name. */
export const FILTERS: ReadonlyMap<string, Filter> = new Map<string, Filter>([
  ["FlateDecode", flate],
  ["Fl", flate],
  ["LZWDecode", lzw],
  ["LZW", lzw],
  ["ASCIIHexDecode", asciiHex],
  ["AHx", asciiHex],
  ["ASCII85Decode", ascii85],
  ["A85", ascii85],
  ["RunLengthDecode", runLength],
  ["RL", runLength],
]);

function flate(bytes: Buffer, max: number, parameters: FilterParameters): Unfiltered {
  const made = inflate(bytes, max);
  return { bytes: unpredict(made.bytes, parameters), end: made.end };
}

function lzw(bytes: Buffer, max: number, parameters: FilterParameters): Unfiltered {
  const made = unpackLzw(bytes, max, parameters.earlyChange ? 1 : 0);
  return { bytes: unpredict(made.bytes, parameters), end: made.end };
}

function asciiHex(bytes: Buffer, max: number): Unfiltered {
  const out = Buffer.alloc(Math.min(max, (bytes.length + 1) >> 1));
  let nibbles = 0;
  for (let at = 0; at < bytes.length; at++) {
    const byte = bytes[at] ?? 0;
    if (byte === 0x3e) break;
    const digit = hexDigit(byte);
    if (digit < 0) continue;
    const index = nibbles >> 1;
    if (index >= out.length) return { bytes: out, end: "cut" };
    out[index] = (out[index] ?? 0) | (nibbles & 1 ? digit : digit << 4);
    nibbles++;
  }
  return { bytes: out.subarray(0, (nibbles + 1) >> 1), end: "whole" };
}

function ascii85(bytes: Buffer, max: number): Unfiltered {
  const out = createOutput(max, bytes.length);
  let at = bytes[0] === 0x3c && bytes[1] === 0x7e ? 2 : 0;
  let group = 0;
  let digits = 0;
  for (; at < bytes.length; at++) {
    const byte = bytes[at] ?? 0;
    if (byte === 0x7e) break;
    if (byte === 0x7a && digits === 0) {
      if (!out.repeat(0, 4)) return out.cut();
    } else if (byte >= 0x21 && byte <= 0x75) {
      group = group * 85 + (byte - 0x21);
      if (++digits < 5) continue;
      for (let shift = 24; shift >= 0; shift -= 8) {
        if (!out.byte(Math.floor(group / 2 ** shift) & 0xff)) return out.cut();
      }
      group = 0;
      digits = 0;
    } else if (!isWhite(byte)) {
      return out.broken();
    }
  }
  if (digits > 1) {
    for (let missing = digits; missing < 5; missing++) group = group * 85 + 84;
    for (let index = 0; index < digits - 1; index++) {
      if (!out.byte(Math.floor(group / 2 ** (24 - 8 * index)) & 0xff)) return out.cut();
    }
  }
  return out.whole();
}

function runLength(bytes: Buffer, max: number): Unfiltered {
  const out = createOutput(max, bytes.length * 2);
  for (let at = 0; at < bytes.length; ) {
    const length = bytes[at++] ?? 128;
    if (length === 128) break;
    if (length < 128) {
      if (!out.copy(bytes.subarray(at, at + length + 1))) return out.cut();
      at += length + 1;
    } else if (at < bytes.length) {
      if (!out.repeat(bytes[at++] ?? 0, 257 - length)) return out.cut();
    }
  }
  return out.whole();
}

const LZW_CLEAR = 256;
const LZW_END = 257;
const LZW_CODES = 4096;

function unpackLzw(bytes: Buffer, max: number, early: 0 | 1): Unfiltered {
  const out = createOutput(max, bytes.length * 3);
  const prefixes = new Uint16Array(LZW_CODES);
  const lasts = new Uint8Array(LZW_CODES);
  const lengths = new Uint16Array(LZW_CODES);
  for (let code = 0; code < 256; code++) {
    lasts[code] = code;
    lengths[code] = 1;
  }
  const word = Buffer.alloc(LZW_CODES);
  const spell = (code: number): Buffer => {
    const length = lengths[code] ?? 0;
    for (let index = length - 1, part = code; index >= 0; index--) {
      word[index] = lasts[part] ?? 0;
      part = prefixes[part] ?? 0;
    }
    return word.subarray(0, length);
  };
  let next = 258;
  let width = 9;
  let before = -1;
  let hold = 0;
  let held = 0;
  for (let at = 0; ; ) {
    while (held < width && at < bytes.length) {
      hold = ((hold << 8) | (bytes[at++] ?? 0)) & 0xffffff;
      held += 8;
    }
    if (held < width) return out.whole();
    const code = (hold >> (held - width)) & ((1 << width) - 1);
    held -= width;
    if (code === LZW_END) return out.whole();
    if (code === LZW_CLEAR) {
      next = 258;
      width = 9;
      before = -1;
      continue;
    }
    if (code > next || (code === next && before < 0)) return out.broken();
    let first: number;
    if (code < next) {
      const piece = spell(code);
      first = piece[0] ?? 0;
      if (!out.copy(piece)) return out.cut();
    } else {
      const piece = spell(before);
      first = piece[0] ?? 0;
      if (!out.copy(piece) || !out.byte(first)) return out.cut();
    }
    if (before >= 0 && next < LZW_CODES) {
      prefixes[next] = before;
      lasts[next] = first;
      lengths[next] = (lengths[before] ?? 0) + 1;
      next++;
    }
    before = code;
    if (next + early >= 1 << width && width < 12) width++;
  }
}

type Output = {
  /** False where the bound is reached. */
  readonly byte: (value: number) => boolean;
  readonly repeat: (value: number, times: number) => boolean;
  readonly copy: (piece: Uint8Array) => boolean;
  readonly whole: () => Unfiltered;
  readonly cut: () => Unfiltered;
  readonly broken: () => Unfiltered;
};

function createOutput(max: number, guess: number): Output {
  let out = Buffer.allocUnsafe(Math.max(16, Math.min(max, guess)));
  let length = 0;
  const room = (more: number): boolean => {
    if (length + more > max) return false;
    if (length + more > out.length) {
      const larger = Buffer.allocUnsafe(Math.min(max, (length + more) * 2));
      out.copy(larger, 0, 0, length);
      out = larger;
    }
    return true;
  };
  const done = (end: Unfiltered["end"]): Unfiltered => ({ bytes: out.subarray(0, length), end });
  return {
    byte: (value) => {
      if (!room(1)) return false;
      out[length++] = value;
      return true;
    },
    repeat: (value, times) => {
      if (!room(times)) return false;
      out.fill(value, length, length + times);
      length += times;
      return true;
    },
    copy: (piece) => {
      if (!room(piece.length)) return false;
      out.set(piece, length);
      length += piece.length;
      return true;
    },
    whole: () => done("whole"),
    cut: () => done("cut"),
    broken: () => done("broken"),
  };
}

/** Takes back what a predictor did to rows of samples (7.4.4.4). */
function unpredict(bytes: Buffer, { predictor, colors, bits, columns }: FilterParameters): Buffer {
  if (predictor < 2) return bytes;
  const rowBits = colors * bits * columns;
  if (!(rowBits > 0 && rowBits < 2 ** 31)) return bytes;
  const row = Math.ceil(rowBits / 8);
  const pixel = Math.max(1, (colors * bits) >> 3);
  return predictor === 2 ? unpredictTiff(bytes, row, colors, bits) : unpredictPng(bytes, row, pixel);
}

function unpredictTiff(bytes: Buffer, row: number, colors: number, bits: number): Buffer {
  // Of other depths there is hardly a document.
  if (bits !== 8) return bytes;
  const out = Buffer.from(bytes);
  for (let start = 0; start < out.length; start += row) {
    const end = Math.min(out.length, start + row);
    for (let at = start + colors; at < end; at++) out[at] = (out[at] ?? 0) + (out[at - colors] ?? 0);
  }
  return out;
}

function unpredictPng(bytes: Buffer, row: number, pixel: number): Buffer {
  const rows = Math.ceil(bytes.length / (row + 1));
  const out = Buffer.allocUnsafe(bytes.length - rows);
  let to = 0;
  for (let from = 0; from < bytes.length; ) {
    const kind = bytes[from++] ?? 0;
    const end = Math.min(bytes.length, from + row);
    const above = to - row;
    const start = to;
    switch (kind) {
      case 1:
        for (; from < end; from++, to++) {
          out[to] = (bytes[from] ?? 0) + (to - start >= pixel ? (out[to - pixel] ?? 0) : 0);
        }
        break;
      case 2:
        if (above < 0) to += bytes.copy(out, to, from, end);
        else
          for (let up = above; from < end; from++, to++, up++) out[to] = (bytes[from] ?? 0) + (out[up] ?? 0);
        from = end;
        break;
      case 3:
        for (let up = above; from < end; from++, to++, up++) {
          const left = to - start >= pixel ? (out[to - pixel] ?? 0) : 0;
          out[to] = (bytes[from] ?? 0) + ((left + (up < 0 ? 0 : (out[up] ?? 0))) >> 1);
        }
        break;
      case 4:
        for (let up = above; from < end; from++, to++, up++) {
          const inside = to - start >= pixel;
          const left = inside ? (out[to - pixel] ?? 0) : 0;
          const top = up < 0 ? 0 : (out[up] ?? 0);
          const corner = inside && up >= 0 ? (out[up - pixel] ?? 0) : 0;
          const guess = left + top - corner;
          const byLeft = Math.abs(guess - left);
          const byTop = Math.abs(guess - top);
          const byCorner = Math.abs(guess - corner);
          const nearest = byLeft <= byTop && byLeft <= byCorner ? left : byTop <= byCorner ? top : corner;
          out[to] = (bytes[from] ?? 0) + nearest;
        }
        break;
      default:
        to += bytes.copy(out, to, from, end);
        from = end;
    }
  }
  return out.subarray(0, to);
}
