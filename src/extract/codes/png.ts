/**
 * Reads the pixels of a PNG file (W3C PNG, third edition): every colour type and depth, interlaced too.
 *
 * Checksums are not looked at, since programs show an image whose checksums are wrong. Missing rows stay black
 * or transparent.
 */
import { unpack } from "../archives/inflate.ts";
import { type Decoded, pictureOf, type Size } from "./picture.ts";
import type { Pixels } from "./plane.ts";

const SAMPLES: Readonly<Record<number, number>> = { 0: 1, 2: 3, 3: 1, 4: 2, 6: 4 };
const MAX_CHUNKS = 100_000;

export function pngSize(bytes: Uint8Array): Size | null {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (bytes.length < 33) return null;
  return { width: view.getUint32(16), height: view.getUint32(20) };
}

type Pass = {
  readonly left: number;
  readonly top: number;
  readonly right: number;
  readonly down: number;
};
const WHOLE: readonly Pass[] = [{ left: 0, top: 0, right: 1, down: 1 }];
/** Adam7 (section 8.1). */
const INTERLACED: readonly Pass[] = [
  { left: 0, top: 0, right: 8, down: 8 },
  { left: 4, top: 0, right: 8, down: 8 },
  { left: 0, top: 4, right: 4, down: 8 },
  { left: 2, top: 0, right: 4, down: 4 },
  { left: 0, top: 2, right: 2, down: 4 },
  { left: 1, top: 0, right: 2, down: 2 },
  { left: 0, top: 1, right: 1, down: 2 },
];

export async function decodePng(bytes: Uint8Array): Promise<Decoded | null> {
  const size = pngSize(bytes);
  if (size === null || size.width === 0 || size.height === 0) return null;
  const depth = bytes[24] ?? 0;
  const type = bytes[25] ?? 0;
  const samples = SAMPLES[type];
  if (samples === undefined || ![1, 2, 4, 8, 16].includes(depth)) return null;
  const { data, palette, alpha } = readChunks(bytes);
  const bits = samples * depth;
  const passes = (bytes[28] === 1 ? INTERLACED : WHOLE).map((pass) => ({
    ...pass,
    width: Math.max(0, Math.ceil((size.width - pass.left) / pass.right)),
    height: Math.max(0, Math.ceil((size.height - pass.top) / pass.down)),
  }));
  const needed = passes.reduce(
    (sum, { width, height }) => sum + (width === 0 ? 0 : height * (1 + Math.ceil((width * bits) / 8))),
    0,
  );
  // The two bytes of the zlib header are passed over, so that a wrong checksum at the end does no harm.
  const raw = (await unpack("deflate", data.subarray(2), needed, needed)).bytes;
  const write = pixelWriter(size, type, depth, palette, alpha);
  let at = 0;
  for (const { left, top, right, down, width, height } of passes) {
    if (width === 0) continue;
    const length = Math.ceil((width * bits) / 8);
    let above: Uint8Array | null = null;
    for (let row = 0; row < height && at < raw.length; row++, at += 1 + length) {
      const line = raw.subarray(at + 1, at + 1 + length);
      unfilter(raw[at] ?? 0, line, above, Math.max(1, bits >> 3));
      above = line;
      write.row(line, width, (top + row * down) * size.width + left, right);
    }
  }
  return { picture: pictureOf(write.pixels), damaged: raw.length < needed };
}

type Chunks = { readonly data: Uint8Array; readonly palette: Uint8Array; readonly alpha: Uint8Array };

function readChunks(bytes: Uint8Array): Chunks {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const data: Uint8Array[] = [];
  let palette = new Uint8Array();
  let alpha = new Uint8Array();
  for (let at = 8, count = 0; at + 8 <= bytes.length && count < MAX_CHUNKS; count++) {
    const length = view.getUint32(at);
    const type = view.getUint32(at + 4);
    const body = bytes.subarray(at + 8, at + 8 + length);
    if (type === 0x49444154) data.push(body);
    else if (type === 0x504c5445) palette = body.slice();
    else if (type === 0x74524e53) alpha = body.slice();
    else if (type === 0x49454e44) break;
    at += 12 + length;
  }
  return { data: Buffer.concat(data), palette, alpha };
}

/** Undoes the filter of a row in place (section 9). A row that is cut off is undone as far as it goes. */
function unfilter(filter: number, line: Uint8Array, above: Uint8Array | null, step: number): void {
  if (filter === 0) return;
  for (let x = 0; x < line.length; x++) {
    const left = x >= step ? (line[x - step] ?? 0) : 0;
    const up = above?.[x] ?? 0;
    const value = line[x] ?? 0;
    if (filter === 1) line[x] = value + left;
    else if (filter === 2) line[x] = value + up;
    else if (filter === 3) line[x] = value + ((left + up) >> 1);
    else if (filter === 4) {
      const corner = x >= step ? (above?.[x - step] ?? 0) : 0;
      const guess = left + up - corner;
      const toLeft = Math.abs(guess - left);
      const toUp = Math.abs(guess - up);
      const toCorner = Math.abs(guess - corner);
      line[x] = value + (toLeft <= toUp && toLeft <= toCorner ? left : toUp <= toCorner ? up : corner);
    }
  }
}

type PixelWriter = {
  readonly pixels: Pixels;
  /** Writes a row of `count` pixels, `step` pixels apart, from pixel `to`. */
  readonly row: (line: Uint8Array, count: number, to: number, step: number) => void;
};

function pixelWriter(
  { width, height }: Size,
  type: number,
  depth: number,
  palette: Uint8Array,
  alpha: Uint8Array,
): PixelWriter {
  const samples = SAMPLES[type] ?? 1;
  const keyed = alpha.length > 0;
  const channels = type === 0 && !keyed ? 1 : type === 4 || type === 6 || keyed ? 4 : 3;
  const data = new Uint8Array(width * height * channels);
  const wide = depth === 16;
  const bytes = wide ? 2 : 1;
  const scale = depth < 8 && type !== 3 ? 255 / ((1 << depth) - 1) : 1;
  const sample = (line: Uint8Array, index: number): number => {
    if (depth >= 8) return line[index * bytes] ?? 0;
    const bit = index * depth;
    return ((line[bit >> 3] ?? 0) >> (8 - depth - (bit & 7))) & ((1 << depth) - 1);
  };
  const keyOf = (index: number): number =>
    wide ? (alpha[index * 2] ?? 0) : depth === 8 ? (alpha[index * 2 + 1] ?? 0) : (alpha[index * 2 + 1] ?? 0);
  const keys = [keyOf(0), keyOf(1), keyOf(2)];
  const row = (line: Uint8Array, count: number, to: number, step: number): void => {
    let at = to * channels;
    const skip = step * channels;
    for (let index = 0; index < count; index++, at += skip) {
      const first = sample(line, index * samples);
      if (type === 3) {
        for (let part = 0; part < 3; part++) data[at + part] = palette[first * 3 + part] ?? 0;
        if (channels === 4) data[at + 3] = alpha[first] ?? 255;
      } else if (samples < 3) {
        const grey = first * scale;
        data[at] = grey;
        if (channels !== 4) continue;
        data[at + 1] = grey;
        data[at + 2] = grey;
        data[at + 3] = samples === 2 ? sample(line, index * 2 + 1) : first === keys[0] ? 0 : 255;
      } else {
        const second = sample(line, index * samples + 1);
        const third = sample(line, index * samples + 2);
        data[at] = first;
        data[at + 1] = second;
        data[at + 2] = third;
        if (channels !== 4) continue;
        const isKey = first === keys[0] && second === keys[1] && third === keys[2];
        data[at + 3] = samples === 4 ? sample(line, index * 4 + 3) : isKey ? 0 : 255;
      }
    }
  };
  return { pixels: { width, height, channels, data }, row };
}
