/**
 * Decompresses the RTF that Outlook stores ([MS-OXRTFCP]), whether it says it is compressed ("LZFu") or not
 * ("MELA"). Where sizes and checksum do not fit, it reads what there is and says so; nothing throws.
 */

import { readUint32 } from "./mapi.ts";

export type DecompressedRtf = {
  readonly rtf: Uint8Array;
  /** The header, a reference or the end is not as it must be. */
  readonly broken: boolean;
  /** There is more than `maxBytes`. */
  readonly exceeded: boolean;
};

const COMPRESSED = 0x75465a4c;
const UNCOMPRESSED = 0x414c454d;
const HEADER_BYTES = 16;
const WINDOW = 4096;
/** What every window begins with ([MS-OXRTFCP] 2.1.2.1). */
const PRESET = new TextEncoder().encode(
  "{\\rtf1\\ansi\\mac\\deff0\\deftab720{\\fonttbl;}{\\f0\\fnil \\froman \\fswiss \\fmodern \\fscript " +
    "\\fdecor MS Sans SerifSymbolArialTimes New RomanCourier{\\colortbl\\red0\\green0\\blue0\r\n\\par " +
    "\\pard\\plain\\f0\\fs20\\b\\i\\u\\tab\\tx",
);

export function decompressRtf(bytes: Uint8Array, maxBytes: number): DecompressedRtf {
  const kind = bytes.length >= HEADER_BYTES ? readUint32(bytes, 8) : null;
  if (kind === COMPRESSED) {
    const content = bytes.subarray(HEADER_BYTES);
    const unpacked = unpack(content, maxBytes);
    const sizesFit =
      readUint32(bytes, 0) === bytes.length - 4 && readUint32(bytes, 4) === unpacked.rtf.length;
    const broken = unpacked.broken || !sizesFit || readUint32(bytes, 12) !== checksum(content);
    return { ...unpacked, broken: broken && !unpacked.exceeded };
  }
  const raw = kind === UNCOMPRESSED ? bytes.subarray(HEADER_BYTES) : bytes;
  const broken = kind !== UNCOMPRESSED || readUint32(bytes, 4) !== raw.length;
  return { rtf: raw.subarray(0, maxBytes), broken, exceeded: raw.length > maxBytes };
}

function unpack(input: Uint8Array, maxBytes: number): DecompressedRtf {
  const window = new Uint8Array(WINDOW).fill(0x20);
  window.set(PRESET);
  let write = PRESET.length;
  let written = PRESET.length;
  // Two bytes give 17 at most, and every eight of those pairs take a byte of their own.
  const output = new Uint8Array(Math.min(maxBytes, input.length * 8));
  let length = 0;
  let broken = false;
  let at = 0;
  while (at < input.length) {
    const control = input[at++] ?? 0;
    for (let bit = 0; bit < 8; bit++) {
      if (at >= input.length) return { rtf: output.subarray(0, length), broken: true, exceeded: false };
      let from = -1;
      let count = 1;
      if ((control >> bit) & 1) {
        const reference = ((input[at] ?? 0) << 8) | (input[at + 1] ?? 0);
        at += 2;
        from = reference >> 4;
        count = (reference & 15) + 2;
        if (from === write) return { rtf: output.subarray(0, length), broken, exceeded: false };
        if (from >= written) broken = true;
      }
      for (let step = 0; step < count; step++) {
        if (length >= maxBytes) return { rtf: output.subarray(0, length), broken, exceeded: true };
        const byte = from < 0 ? (input[at++] ?? 0) : (window[(from + step) % WINDOW] ?? 0);
        output[length++] = byte;
        window[write] = byte;
        write = (write + 1) % WINDOW;
        if (written < WINDOW) written++;
      }
    }
  }
  return { rtf: output.subarray(0, length), broken: true, exceeded: false };
}

const CRC_TABLE = Uint32Array.from({ length: 256 }, (_, index) => {
  let value = index;
  for (let bit = 0; bit < 8; bit++) value = value & 1 ? 0xedb88320 ^ (value >>> 1) : value >>> 1;
  return value >>> 0;
});

/** The CRC of [MS-OXRTFCP] 2.1.3.1.3, which begins with 0 and is not inverted. */
export function checksum(bytes: Uint8Array): number {
  let crc = 0;
  for (const byte of bytes) crc = (CRC_TABLE[(crc ^ byte) & 255] ?? 0) ^ (crc >>> 8);
  return crc >>> 0;
}
