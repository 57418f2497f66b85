/**
 * Reads the pixels of a BMP file: 1, 4, 8, 16, 24 and 32 bits, not packed (BITMAPCOREHEADER to BITMAPV5HEADER).
 */
import { type Decoded, pictureOf, type Size } from "./picture.ts";

type Head = Size & { readonly upsideDown: boolean; readonly bits: number; readonly packing: number };

function readHead(bytes: Uint8Array): Head | null {
  if (bytes.length < 26) return null;
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (view.getUint32(14, true) === 12) {
    const [width, height] = [view.getUint16(18, true), view.getUint16(20, true)];
    return { width, height, upsideDown: false, bits: view.getUint16(24, true), packing: 0 };
  }
  if (bytes.length < 54) return null;
  const height = view.getInt32(22, true);
  return {
    width: Math.max(0, view.getInt32(18, true)),
    height: Math.abs(height),
    upsideDown: height < 0,
    bits: view.getUint16(28, true),
    packing: view.getUint32(30, true),
  };
}

export function bmpSize(bytes: Uint8Array): Size | null {
  return readHead(bytes);
}

export function decodeBmp(bytes: Uint8Array): Decoded | null {
  const head = readHead(bytes);
  if (head === null || head.width === 0 || head.height === 0) return null;
  const { width, height, bits, packing } = head;
  const masked = packing === 3 || packing === 6;
  if (![1, 4, 8, 16, 24, 32].includes(bits) || (packing !== 0 && !masked)) return null;
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const start = view.getUint32(10, true);
  const headSize = view.getUint32(14, true);
  const entry = headSize === 12 ? 3 : 4;
  const palette = bytes.subarray(14 + headSize, Math.max(14 + headSize, start));
  const masks = masked && bytes.length >= 66 ? [54, 58, 62].map((at) => view.getUint32(at, true)) : null;
  const parts = (masks ?? (bits === 16 ? [0x7c00, 0x03e0, 0x001f] : [0xff0000, 0xff00, 0xff])).map(partOf);
  const stride = Math.floor((bits * width + 31) / 32) * 4;
  const data = new Uint8Array(width * height * 3);
  for (let y = 0; y < height; y++) {
    const from = start + y * stride;
    if (from >= bytes.length) break;
    let to = (head.upsideDown ? y : height - 1 - y) * width * 3;
    for (let x = 0; x < width; x++, to += 3) {
      if (bits <= 8) {
        const bit = x * bits;
        const index = ((bytes[from + (bit >> 3)] ?? 0) >> (8 - bits - (bit & 7))) & ((1 << bits) - 1);
        for (let part = 0; part < 3; part++) data[to + part] = palette[index * entry + 2 - part] ?? 0;
        continue;
      }
      const size = bits >> 3;
      let value = 0;
      for (let byte = size - 1; byte >= 0; byte--) {
        value = ((value << 8) | (bytes[from + x * size + byte] ?? 0)) >>> 0;
      }
      for (let part = 0; part < 3; part++) data[to + part] = parts[part]?.(value) ?? 0;
    }
  }
  const picture = pictureOf({ width, height, channels: 3, data });
  return { picture, damaged: start + height * stride > bytes.length };
}

/** Takes the value a mask covers, as 0 to 255. */
function partOf(mask: number): (value: number) => number {
  if (mask === 0) return () => 0;
  const shift = 31 - Math.clz32(mask & -mask);
  const most = mask >>> shift;
  return (value) => (((value & mask) >>> shift) / most) * 255;
}
