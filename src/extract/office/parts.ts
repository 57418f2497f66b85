/**
 * The parts of an Office or OpenDocument file: a small reader of zip that unpacks only what is asked for.
 *
 * Bytes in, a list of parts out; a part is unpacked up to a bound, and what a broken stream gives before it breaks
 * is kept. Duplicate names are kept too, since programs disagree about which one counts. Never throws for what the
 * bytes are.
 */
import { constants, inflateRawSync } from "node:zlib";
import { Inflate } from "fflate";

export type Part = {
  /** With slashes, without one at its beginning. */
  readonly name: string;
  /** Unpacked, as the zip says; UNKNOWN_SIZE where it does not. */
  readonly size: number;
  readonly encrypted: boolean;
  readonly method: number;
  /** Of the local header. */
  readonly at: number;
  readonly packedSize: number;
};

export type Parts = {
  readonly list: readonly Part[];
  /** There are more parts than are listed. */
  readonly cut: boolean;
};

/** `whole` is false where the bound or a broken stream cut it; `bytes` may share the file's memory. */
export type PartContent = { readonly bytes: Buffer; readonly whole: boolean };

const MAX_PARTS = 20_000;
/** Parts that do not share bytes never add up to more than the file. */
const OVERLAP_FACTOR = 4;
const END_BYTES = 22;
const MAX_COMMENT = 0xffff;
const UNKNOWN_SIZE = 0xffffffff;
/** Packed bytes that are unpacked at a time where a stream is taken apart piece by piece. */
const PIECE = 4096;

/** Null where there is nothing like a zip in the bytes. */
export function listParts(file: Buffer): Parts | null {
  const { list, cut } = fromDirectory(file) ?? fromLocalHeaders(file);
  if (list.length === 0) return null;
  // Parts that share their bytes would be unpacked again and again.
  let packed = 0;
  const kept = list.filter((part) => {
    packed += Math.min(part.packedSize, file.length);
    return packed <= file.length * OVERLAP_FACTOR;
  });
  return { list: kept, cut: cut || kept.length < list.length };
}

/** From the directory at the end; null where there is none. */
function fromDirectory(file: Buffer): Parts | null {
  const from = Math.max(0, file.length - MAX_COMMENT - END_BYTES);
  const end = file.subarray(from).lastIndexOf("PK\x05\x06", MAX_COMMENT + END_BYTES, "latin1");
  if (end < 0 || from + end + END_BYTES > file.length) return null;
  const endAt = from + end;
  const size = file.readUInt32LE(endAt + 12);
  const offset = file.readUInt32LE(endAt + 16);
  // Where something stands before the zip, all offsets are off by its length.
  const places = [endAt - size, offset].filter((at) => isSignature(file, at, 0x02014b50));
  let at = places[0];
  if (at === undefined) return null;
  const shift = at === endAt - size ? at - offset : 0;
  const list: Part[] = [];
  while (at + 46 <= file.length && isSignature(file, at, 0x02014b50)) {
    if (list.length >= MAX_PARTS) return { list, cut: true };
    const nameLength = file.readUInt16LE(at + 28);
    const localAt = file.readUInt32LE(at + 42);
    const shifted = localAt + shift;
    list.push({
      name: partName(file, at + 46, nameLength),
      size: file.readUInt32LE(at + 24),
      encrypted: (file.readUInt16LE(at + 8) & 1) !== 0,
      method: file.readUInt16LE(at + 10),
      at: isSignature(file, shifted, 0x04034b50) ? shifted : localAt,
      packedSize: file.readUInt32LE(at + 20),
    });
    at += 46 + nameLength + file.readUInt16LE(at + 30) + file.readUInt16LE(at + 32);
  }
  return { list, cut: false };
}

/** From the headers before each part: how programs repair a file whose end is missing. */
function fromLocalHeaders(file: Buffer): Parts {
  const list: Part[] = [];
  let at = file.indexOf("PK\x03\x04", 0, "latin1");
  while (at >= 0 && at + 30 <= file.length) {
    if (list.length >= MAX_PARTS) return { list, cut: true };
    const nameLength = file.readUInt16LE(at + 26);
    const next = file.indexOf("PK\x03\x04", at + 4, "latin1");
    const packedSize = file.readUInt32LE(at + 18);
    list.push({
      name: partName(file, at + 30, nameLength),
      size: packedSize === 0 ? UNKNOWN_SIZE : file.readUInt32LE(at + 22),
      encrypted: (file.readUInt16LE(at + 6) & 1) !== 0,
      method: file.readUInt16LE(at + 8),
      at,
      // Where the size stands after the part, the part reaches to the next one.
      packedSize: packedSize === 0 ? (next < 0 ? file.length : next) - at : packedSize,
    });
    at = next;
  }
  return { list, cut: false };
}

function isSignature(file: Buffer, at: number, signature: number): boolean {
  return at >= 0 && at + 30 <= file.length && file.readUInt32LE(at) === signature;
}

function partName(file: Buffer, at: number, length: number): string {
  return file
    .toString("utf8", at, at + length)
    .replaceAll("\\", "/")
    .replace(/^\/{1,1000}/, "");
}

/** At most `max` bytes of a part; null where it is encrypted, packed in a way Office does not know, or not there. */
export function readPart(file: Buffer, part: Part, max: number): PartContent | null {
  const packed = packedBytes(file, part);
  if (packed === null) return null;
  if (part.method === 0) return { bytes: packed.subarray(0, max), whole: packed.length <= max };
  if (part.method !== 8) return null;
  try {
    const bytes = inflateRawSync(packed, {
      maxOutputLength: Math.max(1, max),
      finishFlush: constants.Z_SYNC_FLUSH,
    });
    // A stream that was cut or damaged gives another size than the one that is written.
    const whole = part.size === UNKNOWN_SIZE || bytes.length === part.size;
    if (whole || bytes.length > 0) return { bytes, whole };
  } catch {
    // Too large or broken: what comes before that is read piece by piece.
  }
  return { bytes: inflateStart(packed, max), whole: false };
}

/** The first `count` bytes of a part, to tell what it is. */
export function peekPart(file: Buffer, part: Part, count: number): Buffer {
  const packed = packedBytes(file, part);
  if (packed === null) return Buffer.alloc(0);
  if (part.method === 0) return packed.subarray(0, count);
  return part.method === 8 ? inflateStart(packed, count) : Buffer.alloc(0);
}

function packedBytes(file: Buffer, part: Part): Buffer | null {
  if (part.encrypted || !isSignature(file, part.at, 0x04034b50)) return null;
  const from = part.at + 30 + file.readUInt16LE(part.at + 26) + file.readUInt16LE(part.at + 28);
  const size = part.packedSize === UNKNOWN_SIZE ? file.length : part.packedSize;
  return file.subarray(from, from + size);
}

class Enough extends Error {}

function inflateStart(packed: Buffer, max: number): Buffer {
  const pieces: Uint8Array[] = [];
  let length = 0;
  const stream = new Inflate((piece) => {
    pieces.push(piece);
    length += piece.length;
    if (length >= max) throw new Enough();
  });
  try {
    for (let at = 0; at < packed.length; at += PIECE) {
      stream.push(packed.subarray(at, at + PIECE), at + PIECE >= packed.length);
    }
  } catch {
    // Enough was read, or the stream broke here.
  }
  return Buffer.concat(pieces).subarray(0, max);
}
