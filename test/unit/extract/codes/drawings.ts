/** QR codes and images of them, made for tests. */
import zlib from "node:zlib";
import { prepareZXingModule, writeBarcode } from "zxing-wasm/writer";
import writerPath from "zxing-wasm/writer/zxing_writer.wasm" with { type: "file" };
import type { Pixels } from "../../../../src/extract/codes/plane.ts";

export type Grid = {
  readonly width: number;
  readonly height: number;
  readonly dark: (x: number, y: number) => boolean;
};
export type Colour = readonly [number, number, number, number];

export const BLACK: Colour = [0, 0, 0, 255];
export const WHITE: Colour = [255, 255, 255, 255];

let ready: Promise<unknown> | undefined;

/** The modules of a code, without a quiet zone. */
export async function gridOf(
  text: string,
  format: "QRCode" | "Aztec" | "DataMatrix" | "PDF417" = "QRCode",
): Promise<Grid> {
  ready ??= Bun.file(writerPath)
    .arrayBuffer()
    .then((wasmBinary) => prepareZXingModule({ overrides: { wasmBinary }, fireImmediately: true }));
  await ready;
  const { symbol, error } = await writeBarcode(text, { format, scale: 1, addQuietZones: false });
  if (error !== "") throw new Error(error);
  const { width, height, data } = symbol;
  return {
    width,
    height,
    dark: (x, y) => x >= 0 && y >= 0 && x < width && y < height && data[y * width + x] === 0,
  };
}

export type Drawing = {
  readonly scale?: number;
  /** Pixels around the code. */
  readonly margin?: number;
  readonly dark?: Colour;
  readonly light?: Colour;
};

/** RGBA. */
export function draw(grid: Grid, drawing: Drawing = {}): Pixels {
  const { scale = 4, margin = 16, dark = BLACK, light = WHITE } = drawing;
  const width = grid.width * scale + 2 * margin;
  const height = grid.height * scale + 2 * margin;
  return paint(width, height, (x, y) =>
    grid.dark(Math.floor((x - margin) / scale), Math.floor((y - margin) / scale)) ? dark : light,
  );
}

export function paint(width: number, height: number, colour: (x: number, y: number) => Colour): Pixels {
  const data = new Uint8Array(width * height * 4);
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) data.set(colour(x, y), (y * width + x) * 4);
  }
  return { width, height, channels: 4, data };
}

export function pngOf({ width, height, channels, data }: Pixels): Uint8Array {
  const stride = width * channels;
  const rows = Buffer.alloc(height * (stride + 1));
  for (let y = 0; y < height; y++)
    rows.set(data.subarray(y * stride, (y + 1) * stride), y * (stride + 1) + 1);
  return pngFile(width, height, 8, channels === 4 ? 6 : channels === 3 ? 2 : 0, rows);
}

export function pngFile(
  width: number,
  height: number,
  depth: number,
  type: number,
  rows: Uint8Array,
  more: readonly (readonly [string, Uint8Array])[] = [],
  interlaced = false,
): Uint8Array {
  const head = Buffer.alloc(13);
  head.writeUInt32BE(width, 0);
  head.writeUInt32BE(height, 4);
  head.set([depth, type, 0, 0, interlaced ? 1 : 0], 8);
  const chunks = [
    ["IHDR", head],
    ...more,
    ["IDAT", zlib.deflateSync(rows)],
    ["IEND", Buffer.alloc(0)],
  ] as const;
  return Buffer.concat([
    Buffer.from("\x89PNG\r\n\x1a\n", "latin1"),
    ...chunks.map(([name, body]) => {
      const chunk = Buffer.alloc(12 + body.length);
      chunk.writeUInt32BE(body.length, 0);
      chunk.write(name, 4, "latin1");
      chunk.set(body, 8);
      chunk.writeUInt32BE(zlib.crc32(chunk.subarray(4, 8 + body.length)), 8 + body.length);
      return chunk;
    }),
  ]);
}

/** Black and white, uncompressed codes of LZW: each followed by a clear code often enough to stay at one length. */
export function gifOf(frames: readonly Pixels[]): Uint8Array {
  const first = frames[0];
  if (first === undefined) throw new Error("no frame");
  const word = (value: number): number[] => [value & 255, value >> 8];
  const out: number[] = [...Buffer.from("GIF89a"), ...word(first.width), ...word(first.height), 0x80, 0, 0];
  out.push(0, 0, 0, 255, 255, 255);
  for (const { width, height, data } of frames) {
    out.push(0x2c, 0, 0, 0, 0, ...word(width), ...word(height), 0, 7);
    const bytes: number[] = [];
    let buffer = 0;
    let bits = 0;
    const put = (code: number): void => {
      buffer |= code << bits;
      bits += 8;
      while (bits >= 8) {
        bytes.push(buffer & 255);
        buffer >>= 8;
        bits -= 8;
      }
    };
    for (let index = 0; index < width * height; index++) {
      // 7-bit values have 8-bit codes, until 126 have been added to the table.
      if (index % 100 === 0) put(128);
      put(data[index * 4] === 0 ? 0 : 1);
    }
    put(129);
    for (let at = 0; at < bytes.length; at += 255) {
      const piece = bytes.slice(at, at + 255);
      out.push(piece.length, ...piece);
    }
    out.push(0);
  }
  out.push(0x3b);
  return new Uint8Array(out);
}

export function bmpOf({ width, height, data }: Pixels): Uint8Array {
  const stride = Math.ceil((width * 3) / 4) * 4;
  const file = Buffer.alloc(54 + stride * height);
  file.write("BM", 0, "latin1");
  file.writeUInt32LE(54, 10);
  file.writeUInt32LE(40, 14);
  file.writeInt32LE(width, 18);
  file.writeInt32LE(height, 22);
  file.writeUInt16LE(1, 26);
  file.writeUInt16LE(24, 28);
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      const from = (y * width + x) * 4;
      const to = 54 + (height - 1 - y) * stride + x * 3;
      file.set([data[from + 2] ?? 0, data[from + 1] ?? 0, data[from] ?? 0], to);
    }
  }
  return file;
}
