/**
 * Finds the entries of a zip archive in every way programs find them: by each end record and its directory, and by
 * the local headers that no directory names. Nothing is unpacked here. Work is linear in the bytes: each byte
 * is searched once for end records and once for local headers.
 *
 * Format: APPNOTE 6.3.10, sections 4.3 and 4.5.
 */
import { extraField } from "./zip-names.ts";

/** One header, of the directory or local. */
export type Header = {
  readonly rawName: Uint8Array;
  readonly extra: Uint8Array;
  readonly flags: number;
  readonly method: number;
  readonly time: number;
  readonly crc: number;
  /** Bytes packed, unpacked. */
  readonly packed: number;
  readonly size: number;
};

export type Local = Header & {
  /** Where the header and where the data begins. */
  readonly at: number;
  readonly dataAt: number;
};

/** An entry of a directory, with the local header it points to, null where there is none. */
export type Entry = { readonly header: Header; readonly local: Local | null };

export type Directory = {
  readonly entries: readonly Entry[];
  /** Directories tell different stories, or one of them a wrong number of entries. */
  readonly ambiguous: boolean;
  readonly damaged: boolean;
  readonly exceeded: boolean;
  readonly volumes: boolean;
  /** Where the last end record ends; -1 where there is none. */
  readonly end: number;
};

const END = "PK\x05\x06";
const END_SIZE = 22;
const END64 = 0x06064b50;
const END64_SIZE = 56;
const LOCATOR = 0x07064b50;
const LOCATOR_SIZE = 20;
const CENTRAL = 0x02014b50;
const CENTRAL_SIZE = 46;
const LOCAL = 0x04034b50;
const LOCAL_SIZE = 30;
const LOCAL_TEXT = "PK\x03\x04";
const MAX_ENDS = 16;
/** Longer names are taken for none where no directory names them. */
const MAX_NAME = 4096;
const NONE = 0xffffffff;
const ZIP64_FIELD = 0x0001;

function readSafe(bytes: Buffer, at: number): number {
  return at >= 0 && at + 4 <= bytes.length ? bytes.readUInt32LE(at) : -1;
}

/** A number of 64 bits; one that no file can have becomes infinite. */
function read64(bytes: Buffer, at: number): number {
  const value = bytes.readUInt32LE(at) + bytes.readUInt32LE(at + 4) * 2 ** 32;
  return Number.isSafeInteger(value) ? value : Number.POSITIVE_INFINITY;
}

export function readDirectories(bytes: Buffer, maxEntries: number): Directory {
  const entries = new Map<string, Entry>();
  const seen = new Set<string>();
  let ambiguous = false;
  let damaged = false;
  let volumes = false;
  let walked = 0;
  let end = -1;
  let directories = 0;
  const ends = endRecords(bytes);
  for (const record of ends) {
    end = Math.max(end, record.at + END_SIZE + Math.min(record.comment, bytes.length - record.at - END_SIZE));
    if (record.disk !== 0) volumes = true;
    // Some programs trust the offset, others the size and the place of the end record.
    const places = [
      { start: record.directoryEnd - record.size, base: record.directoryEnd - record.size - record.offset },
      { start: record.offset, base: 0 },
    ];
    let found = 0;
    for (const { start, base } of places) {
      if (seen.has(`${start} ${base}`) || readSafe(bytes, start) !== CENTRAL) continue;
      seen.add(`${start} ${base}`);
      found++;
      directories++;
      let count = 0;
      let at = start;
      while (walked < maxEntries && readSafe(bytes, at) === CENTRAL && at + CENTRAL_SIZE <= bytes.length) {
        const central = readCentral(bytes, at);
        const local = readLocal(bytes, base + central.offset) ?? readLocal(bytes, central.offset);
        const { header } = central;
        const name = Buffer.from(header.rawName).toString("latin1");
        const key = `${local?.at ?? -1} ${header.method} ${header.flags & 1} ${header.packed} ${name}`;
        if (!entries.has(key)) entries.set(key, { header, local });
        if (local === null) damaged = true;
        count++;
        walked++;
        at = central.next;
      }
      if (walked < maxEntries && count % 65536 !== record.count % 65536) ambiguous = true;
    }
    if (found === 0 && record.count > 0) damaged = true;
  }
  if (directories > 1) ambiguous = true;
  return {
    entries: [...entries.values()],
    ambiguous,
    damaged,
    volumes,
    end,
    exceeded: walked >= maxEntries,
  };
}

type EndRecord = {
  readonly at: number;
  readonly comment: number;
  readonly disk: number;
  readonly count: number;
  readonly size: number;
  readonly offset: number;
  /** Where the directory should end. */
  readonly directoryEnd: number;
};

function endRecords(bytes: Buffer): readonly EndRecord[] {
  const records: EndRecord[] = [];
  let at = bytes.length >= END_SIZE ? bytes.lastIndexOf(END, bytes.length - END_SIZE, "latin1") : -1;
  while (at >= 0 && records.length < MAX_ENDS) {
    const plain = {
      at,
      comment: bytes.readUInt16LE(at + 20),
      disk: bytes.readUInt16LE(at + 4),
      count: bytes.readUInt16LE(at + 10),
      size: bytes.readUInt32LE(at + 12),
      offset: bytes.readUInt32LE(at + 16),
      directoryEnd: at,
    };
    records.push(plain);
    const large = end64(bytes, at);
    if (large !== null) records.push({ ...plain, ...large, disk: 0 });
    at = at === 0 ? -1 : bytes.lastIndexOf(END, at - 1, "latin1");
  }
  // A record whose fields all say "see the other one" says nothing itself.
  return records.filter((one) => one.offset !== NONE);
}

function end64(
  bytes: Buffer,
  endAt: number,
): Pick<EndRecord, "count" | "size" | "offset" | "directoryEnd"> | null {
  const locator = endAt - LOCATOR_SIZE;
  if (readSafe(bytes, locator) !== LOCATOR) return null;
  for (const at of [read64(bytes, locator + 8), locator - END64_SIZE]) {
    if (readSafe(bytes, at) !== END64 || at + END64_SIZE > bytes.length) continue;
    return {
      count: read64(bytes, at + 32),
      size: read64(bytes, at + 40),
      offset: read64(bytes, at + 48),
      directoryEnd: at,
    };
  }
  return null;
}

function readCentral(
  bytes: Buffer,
  at: number,
): { readonly header: Header; readonly offset: number; readonly next: number } {
  const nameLength = bytes.readUInt16LE(at + 28);
  const extraLength = bytes.readUInt16LE(at + 30);
  const nameAt = at + CENTRAL_SIZE;
  const extra = bytes.subarray(nameAt + nameLength, nameAt + nameLength + extraLength);
  const size = bytes.readUInt32LE(at + 24);
  const packed = bytes.readUInt32LE(at + 20);
  const offset = bytes.readUInt32LE(at + 42);
  const large = zip64(extra, [size, packed, offset]);
  return {
    header: {
      rawName: bytes.subarray(nameAt, nameAt + nameLength),
      extra,
      flags: bytes.readUInt16LE(at + 8),
      method: bytes.readUInt16LE(at + 10),
      time: bytes.readUInt16LE(at + 12),
      crc: bytes.readUInt32LE(at + 16),
      size: large[0] ?? size,
      packed: large[1] ?? packed,
    },
    offset: large[2] ?? offset,
    next: nameAt + nameLength + extraLength + bytes.readUInt16LE(at + 32),
  };
}

/** Values of the zip64 field for those that are all ones, in their order; undefined for the others. */
function zip64(extra: Uint8Array, values: readonly number[]): readonly (number | undefined)[] {
  if (!values.includes(NONE)) return [];
  const field = extraField(extra, ZIP64_FIELD);
  if (field === null) return [];
  const bytes = Buffer.from(field.buffer, field.byteOffset, field.length);
  let at = 0;
  return values.map((value) => {
    if (value !== NONE || at + 8 > bytes.length) return undefined;
    at += 8;
    return read64(bytes, at - 8);
  });
}

/** The local header at a place, null where there is none. */
export function readLocal(bytes: Buffer, at: number): Local | null {
  if (readSafe(bytes, at) !== LOCAL || at + LOCAL_SIZE > bytes.length) return null;
  const nameLength = bytes.readUInt16LE(at + 26);
  const extraLength = bytes.readUInt16LE(at + 28);
  const nameAt = at + LOCAL_SIZE;
  const extra = bytes.subarray(nameAt + nameLength, nameAt + nameLength + extraLength);
  const size = bytes.readUInt32LE(at + 22);
  const packed = bytes.readUInt32LE(at + 18);
  const large = zip64(extra, [size, packed]);
  return {
    rawName: bytes.subarray(nameAt, nameAt + nameLength),
    extra,
    flags: bytes.readUInt16LE(at + 6),
    method: bytes.readUInt16LE(at + 8),
    time: bytes.readUInt16LE(at + 10),
    crc: bytes.readUInt32LE(at + 14),
    size: large[0] ?? size,
    packed: large[1] ?? packed,
    at,
    dataAt: Math.min(bytes.length, nameAt + nameLength + extraLength),
  };
}

/** Places of local headers between `from` and `to` that look like headers; the next one is sought when asked for. */
export function nextLocal(bytes: Buffer, from: number, to: number): Local | null {
  const part = bytes.subarray(0, to);
  for (let at = part.indexOf(LOCAL_TEXT, from, "latin1"); at >= 0; ) {
    // Three letters and a version may stand anywhere, and very often.
    const name = at + LOCAL_SIZE <= bytes.length ? bytes.readUInt16LE(at + 26) : 0;
    if (name > 0 && name < MAX_NAME) {
      const local = readLocal(bytes, at);
      if (local !== null) return local;
    }
    at = part.indexOf(LOCAL_TEXT, at + 4, "latin1");
  }
  return null;
}
