/**
 * Reads the frames of a GIF file (GIF89a), each as it stands alone on a transparent screen.
 *
 * A frame is read as far as its data goes. Work is bounded by the bytes and by the pixels of the frames read.
 */
import { type Decoded, pictureOf, type Size } from "./picture.ts";

const MAX_BLOCKS = 100_000;
const MAX_CODES = 4096;

type Frame = Size & {
  readonly palette: Uint8Array;
  readonly interlaced: boolean;
  readonly transparent: number;
  readonly codeSize: number;
  readonly data: Uint8Array;
};

/** The size of the screen; frames have sizes of their own. */
export function gifSize(bytes: Uint8Array): Size | null {
  if (bytes.length < 13) return null;
  return { width: word(bytes, 6), height: word(bytes, 8) };
}

const word = (bytes: Uint8Array, at: number): number => (bytes[at] ?? 0) | ((bytes[at + 1] ?? 0) << 8);

export type GifFrames = {
  readonly frames: readonly Decoded[];
  /** There are frames that were not read. */
  readonly more: boolean;
  /** The first frame has more pixels than the bound. */
  readonly large: boolean;
};

/** At most `count` frames, of at most `pixels` pixels together. */
export function decodeGif(bytes: Uint8Array, count: number, pixels: number): GifFrames {
  const frames: Decoded[] = [];
  let left = pixels;
  for (const frame of framesOf(bytes)) {
    left -= frame.width * frame.height;
    if (left < 0 && frames.length === 0) return { frames, more: false, large: true };
    if (left < 0 || frames.length >= count) return { frames, more: true, large: false };
    if (frame.width > 0 && frame.height > 0) frames.push(decodeFrame(frame));
  }
  return { frames, more: false, large: false };
}

function* framesOf(bytes: Uint8Array): Generator<Frame> {
  const tableAt = (at: number, flags: number): Uint8Array =>
    (flags & 0x80) === 0 ? new Uint8Array() : bytes.subarray(at, at + 3 * (2 << (flags & 7)));
  const common = tableAt(13, bytes[10] ?? 0);
  let at = 13 + common.length;
  let transparent = -1;
  for (let count = 0; count < MAX_BLOCKS && at < bytes.length; count++) {
    const kind = bytes[at];
    if (kind === 0x21) {
      if (bytes[at + 1] === 0xf9 && ((bytes[at + 3] ?? 0) & 1) === 1) transparent = bytes[at + 6] ?? -1;
      at = subBlocks(bytes, at + 2, null);
    } else if (kind === 0x2c) {
      const flags = bytes[at + 9] ?? 0;
      const own = tableAt(at + 10, flags);
      const start = at + 10 + own.length;
      const [width, height] = [word(bytes, at + 5), word(bytes, at + 7)];
      const pieces: Uint8Array[] = [];
      at = subBlocks(bytes, start + 1, pieces);
      yield {
        width,
        height,
        palette: own.length > 0 ? own : common,
        interlaced: (flags & 0x40) !== 0,
        transparent,
        codeSize: bytes[start] ?? 0,
        data: Buffer.concat(pieces),
      };
      transparent = -1;
    } else {
      return;
    }
  }
}

/** The place after the blocks. */
function subBlocks(bytes: Uint8Array, from: number, pieces: Uint8Array[] | null): number {
  let at = from;
  for (;;) {
    const length = bytes[at] ?? 0;
    if (length === 0) return at + 1;
    pieces?.push(bytes.subarray(at + 1, at + 1 + length));
    at += 1 + length;
  }
}

function decodeFrame(frame: Frame): Decoded {
  const { width, height, palette } = frame;
  const { indexes, length } = unpackCodes(frame.data, frame.codeSize, width * height);
  const data = new Uint8Array(width * height * 4);
  const rows = rowOrder(height, frame.interlaced);
  for (let index = 0; index < length; index++) {
    const line = Math.floor(index / width);
    const to = ((rows?.[line] ?? line) * width + (index - line * width)) * 4;
    const colour = indexes[index] ?? 0;
    if (colour === frame.transparent) continue;
    data[to] = palette[colour * 3] ?? 0;
    data[to + 1] = palette[colour * 3 + 1] ?? 0;
    data[to + 2] = palette[colour * 3 + 2] ?? 0;
    data[to + 3] = 255;
  }
  return { picture: pictureOf({ width, height, channels: 4, data }), damaged: length < width * height };
}

/** The rows in the order of the data; null where it is their own. */
function rowOrder(height: number, interlaced: boolean): Uint32Array | null {
  if (!interlaced) return null;
  const rows = new Uint32Array(height);
  let at = 0;
  for (const [first, step] of [
    [0, 8],
    [4, 8],
    [2, 4],
    [1, 2],
  ] as const) {
    for (let row = first; row < height; row += step) rows[at++] = row;
  }
  return rows;
}

/** Undoes LZW (GIF89a, appendix F), at most `max` values. */
function unpackCodes(
  data: Uint8Array,
  codeSize: number,
  max: number,
): { readonly indexes: Uint8Array; readonly length: number } {
  const indexes = new Uint8Array(max);
  if (codeSize < 1 || codeSize > 8) return { indexes, length: 0 };
  const clear = 1 << codeSize;
  const prefix = new Uint16Array(MAX_CODES);
  const suffix = new Uint8Array(MAX_CODES);
  const lengths = new Uint16Array(MAX_CODES);
  for (let code = 0; code < clear; code++) {
    suffix[code] = code;
    lengths[code] = 1;
  }
  let next = clear + 2;
  let size = codeSize + 1;
  let previous = -1;
  let length = 0;
  let buffer = 0;
  let bits = 0;
  for (let at = 0; length < max; ) {
    while (bits < size && at < data.length) {
      buffer |= (data[at++] ?? 0) << bits;
      bits += 8;
    }
    if (bits < size) break;
    const code = buffer & ((1 << size) - 1);
    buffer >>>= size;
    bits -= size;
    if (code === clear) {
      next = clear + 2;
      size = codeSize + 1;
      previous = -1;
      continue;
    }
    if (code === clear + 1) break;
    if (previous < 0 ? code >= clear : code > next || code === clear) break;
    const known = code < next ? code : previous;
    const count = (lengths[known] ?? 0) + (known === code ? 0 : 1);
    // Written from its end: each code names the one before it.
    let place = length + count - 1;
    let walk = known;
    if (known !== code) place--;
    for (;;) {
      if (place < max) indexes[place] = suffix[walk] ?? 0;
      if (place-- <= length) break;
      walk = prefix[walk] ?? 0;
    }
    const first = indexes[length] ?? 0;
    if (known !== code && length + count - 1 < max) indexes[length + count - 1] = first;
    length += count;
    if (previous >= 0 && next < MAX_CODES) {
      prefix[next] = previous;
      suffix[next] = first;
      lengths[next] = (lengths[previous] ?? 0) + 1;
      next++;
      if (next === 1 << size && size < 12) size++;
    }
    previous = code;
  }
  return { indexes, length: Math.min(length, max) };
}
