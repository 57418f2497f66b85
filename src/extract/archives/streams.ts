/**
 * Unpacks what packs one content and lists no members: gzip, zstd, lz4, and through 7-Zip bzip2, xz, lzma, lzip
 * and compress. Concatenated streams are one content, as the programs of those formats have it; what follows the
 * last one and is none is given as a content of its own.
 */
import { crc32 } from "node:zlib";
import type { Gauge } from "./gauge.ts";
import { unpack } from "./inflate.ts";
import { unpackLz4Block } from "./lz4.ts";

/** Fewer bytes behind a stream are padding. */
const MIN_TRAILER = 16;
/** Streams in one file. */
const MAX_STREAMS = 100_000;

/** Collects the pieces of one content under the bounds of the gauge. */
type Pieces = {
  /** Bytes that still fit. */
  readonly room: () => number;
  readonly cutRoom: () => number;
  /** False where the content ends here. */
  readonly add: (bytes: Uint8Array, end: "whole" | "cut" | "broken") => boolean;
  readonly give: (name: string | null) => void;
};

function createPieces(gauge: Gauge): Pieces {
  const most = gauge.room();
  const cutMost = gauge.cutRoom();
  const pieces: Uint8Array[] = [];
  let length = 0;
  let whole = true;
  return {
    room: () => most - length,
    cutRoom: () => Math.max(0, cutMost - length),
    add: (bytes, end) => {
      pieces.push(bytes);
      length += bytes.length;
      if (end === "whole") return !gauge.expired();
      if (end === "broken") gauge.flag("archive_damaged");
      else {
        gauge.overflow();
        whole = false;
      }
      return false;
    },
    give: (name) => {
      const [only] = pieces;
      if (only === undefined) return;
      const size = whole ? length : Math.min(length, cutMost);
      gauge.give(name, pieces.length === 1 ? only.subarray(0, size) : Buffer.concat(pieces, size), whole);
    },
  };
}

function asBuffer(bytes: Uint8Array): Buffer {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length);
}

function giveTrailer(bytes: Uint8Array, at: number, gauge: Gauge): void {
  const rest = bytes.subarray(at);
  // Tapes and some programs pad with zeros.
  if (rest.length < MIN_TRAILER || rest.every((byte) => byte === 0)) return;
  gauge.flag("archive_data_around");
  gauge.give(null, rest);
}

/** RFC 1952. */
export async function readGzip(given: Uint8Array, gauge: Gauge): Promise<void> {
  const bytes = asBuffer(given);
  const pieces = createPieces(gauge);
  let name: string | null = null;
  let at = 0;
  for (let count = 0; ; count++) {
    const header = gzipHeader(bytes, at);
    if (header === null) break;
    if (count >= MAX_STREAMS) {
      gauge.flag("archive_members_exceeded");
      break;
    }
    name ??= header.name;
    const made = await unpack("deflate", bytes.subarray(header.dataAt), pieces.room(), pieces.cutRoom());
    const trailer = header.dataAt + made.consumed;
    at = Math.min(bytes.length, trailer + 8);
    if (made.end === "whole") {
      const sound = trailer + 8 <= bytes.length && crc32(made.bytes) === bytes.readUInt32LE(trailer);
      if (!sound) gauge.flag("archive_damaged");
    }
    if (!pieces.add(made.bytes, made.end)) {
      at = bytes.length;
      break;
    }
  }
  if (at === 0) gauge.flag("archive_unreadable");
  gauge.list({ name: name ?? "", size: null, encrypted: false });
  pieces.give(name);
  giveTrailer(bytes, at, gauge);
}

function gzipHeader(
  bytes: Buffer,
  at: number,
): { readonly name: string | null; readonly dataAt: number } | null {
  if (at + 18 > bytes.length || bytes[at] !== 0x1f || bytes[at + 1] !== 0x8b || bytes[at + 2] !== 8)
    return null;
  const flags = bytes[at + 3] ?? 0;
  let place = at + 10;
  let name: string | null = null;
  if ((flags & 4) !== 0) place += 2 + bytes.readUInt16LE(place);
  for (const flag of [8, 16]) {
    if ((flags & flag) === 0) continue;
    const end = bytes.indexOf(0, place);
    if (end < 0) return null;
    if (flag === 8) name = nameOf(bytes.subarray(place, Math.min(end, place + 4096)));
    place = end + 1;
  }
  if ((flags & 2) !== 0) place += 2;
  return place < bytes.length ? { name, dataAt: place } : null;
}

/** The standard says Latin 1, programs write UTF-8. */
function nameOf(raw: Buffer): string {
  const text = raw.toString("utf8");
  return text.includes("\uFFFD") ? raw.toString("latin1") : text;
}

const ZSTD = 0xfd2fb528;
const SKIPPABLE = 0x184d2a5;

/** RFC 8878. Frames are walked first, so that a frame that is cut off is known as such. */
export async function readZstd(
  given: Uint8Array,
  gauge: Gauge,
  other: (frame: Uint8Array) => Promise<void>,
): Promise<void> {
  const bytes = asBuffer(given);
  const pieces = createPieces(gauge);
  let at = 0;
  let frames = 0;
  while (at + 8 <= bytes.length && frames < MAX_STREAMS) {
    const magic = bytes.readUInt32LE(at);
    if (magic >>> 4 === SKIPPABLE) {
      at += 8 + bytes.readUInt32LE(at + 4);
      continue;
    }
    if (magic !== ZSTD) break;
    frames++;
    const end = zstdFrameEnd(bytes, at);
    const frame = bytes.subarray(at, end ?? bytes.length);
    const made = await unpack("zstd", frame, pieces.room(), pieces.cutRoom());
    if (made.end === "broken" && made.bytes.length === 0 && frames === 1) {
      // A window larger than the limit of zlib; 7-Zip takes larger ones.
      await other(bytes);
      return;
    }
    at = end ?? bytes.length;
    const ended = end === null && made.end === "whole" ? "broken" : made.end;
    if (!pieces.add(made.bytes, ended)) {
      at = bytes.length;
      break;
    }
  }
  if (frames === 0) gauge.flag("archive_unreadable");
  if (frames >= MAX_STREAMS) gauge.flag("archive_members_exceeded");
  gauge.list({ name: "", size: null, encrypted: false });
  pieces.give(null);
  giveTrailer(bytes, Math.min(at, bytes.length), gauge);
}

/** Where a frame ends, by its block headers; null where it is cut off. */
function zstdFrameEnd(bytes: Buffer, start: number): number | null {
  const descriptor = bytes[start + 4] ?? 0;
  const single = (descriptor & 0x20) !== 0;
  const sizeField = [single ? 1 : 0, 2, 4, 8][descriptor >>> 6] ?? 0;
  const dictionary = [0, 1, 2, 4][descriptor & 3] ?? 0;
  let at = start + 5 + (single ? 0 : 1) + dictionary + sizeField;
  for (;;) {
    if (at + 3 > bytes.length) return null;
    const header = bytes.readUIntLE(at, 3);
    const type = (header >>> 1) & 3;
    at += 3 + (type === 1 ? 1 : header >>> 3);
    if ((header & 1) !== 0) break;
  }
  if ((descriptor & 4) !== 0) at += 4;
  return at <= bytes.length ? at : null;
}

const LZ4 = 0x184d2204;
const LZ4_LEGACY = 0x184c2102;

/** LZ4 frames 1.6.2, and the legacy frame. */
export function readLz4(given: Uint8Array, gauge: Gauge): void {
  const bytes = asBuffer(given);
  const pieces = createPieces(gauge);
  let at = 0;
  let frames = 0;
  let going = true;
  while (going && at + 8 <= bytes.length && frames < MAX_STREAMS) {
    const magic = bytes.readUInt32LE(at);
    if (magic >>> 4 === SKIPPABLE) {
      at += 8 + bytes.readUInt32LE(at + 4);
      continue;
    }
    if (magic !== LZ4 && magic !== LZ4_LEGACY) break;
    frames++;
    const legacy = magic === LZ4_LEGACY;
    const descriptor = bytes[at + 4] ?? 0;
    const blockSums = !legacy && (descriptor & 0x10) !== 0;
    if (legacy) at += 4;
    else at += 7 + ((descriptor & 8) !== 0 ? 8 : 0) + ((descriptor & 1) !== 0 ? 4 : 0);
    // Blocks may refer to the 64 kB before them.
    let window: Uint8Array = new Uint8Array();
    for (;;) {
      if (at + 4 > bytes.length) {
        if (!legacy) going = pieces.add(new Uint8Array(), "broken");
        break;
      }
      const field = bytes.readUInt32LE(at);
      if (legacy && (field === LZ4 || field === LZ4_LEGACY || field >>> 4 === SKIPPABLE)) break;
      at += 4;
      if (field === 0) {
        if ((descriptor & 4) !== 0) at += 4;
        break;
      }
      const size = legacy ? field : field & 0x7fffffff;
      const block = bytes.subarray(at, at + size);
      const room = pieces.room();
      const made =
        !legacy && field >>> 31 === 1
          ? {
              bytes: block.subarray(0, room),
              end: block.length > room ? ("cut" as const) : ("whole" as const),
            }
          : unpackLz4Block(block, window, room);
      at += size + (blockSums ? 4 : 0);
      const end = made.end === "whole" && block.length < size ? "broken" : made.end;
      going = pieces.add(made.bytes, end);
      if (!going) break;
      window = joinWindow(window, made.bytes);
    }
  }
  if (frames === 0) gauge.flag("archive_unreadable");
  gauge.list({ name: "", size: null, encrypted: false });
  pieces.give(null);
  if (going) giveTrailer(bytes, Math.min(at, bytes.length), gauge);
}

function joinWindow(window: Uint8Array, added: Uint8Array): Uint8Array {
  if (added.length >= 65_536) return added.subarray(added.length - 65_536);
  const joined = Buffer.concat([window, added]);
  return joined.subarray(Math.max(0, joined.length - 65_536));
}
