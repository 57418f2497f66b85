/**
 * Reads zip archives as every program reads them, and gives the union: the members of each directory, those only
 * local headers show, and each name and content where the two headers of a member disagree.
 *
 * Broken, cut off and hostile archives give what can be had of them. Unpacked bytes are bounded by the gauge; what
 * is unpacked in vain is bounded, too, as members of a bomb share their bytes.
 */
import { crc32 } from "node:zlib";
import type { Gauge } from "./gauge.ts";
import { type Unpacked, unpack } from "./inflate.ts";
import { ARCHIVE_PATH, OUTPUT_FOLDER, runSevenZip } from "./seven-zip-host.ts";
import { mayOpen, openMember, passwordForms, type Seal } from "./zip-crypto.ts";
import { type Entry, type Header, type Local, nextLocal, readDirectories } from "./zip-entries.ts";
import { distinctNames, extraField, plainName, zipName } from "./zip-names.ts";

const STORED = 0;
const DEFLATED = 8;
const ZSTD = 93;
const AES = 99;
const AES_FIELD = 0x9901;
/** Methods 7-Zip knows beside those: shrunk, imploded, deflate64, bzip2, lzma, zstd, xz, ppmd. */
const FOREIGN_METHODS: ReadonlySet<number> = new Set([1, 6, 9, 12, 14, 20, ZSTD, 95, 98]);
const ENCRYPTED = 1;
const DESCRIPTOR = 8;
const STRONG = 0x40;
const DESCRIPTOR_TEXT = "PK\x07\x08";
/** Members for which all candidates are tried. */
const MAX_SWEEPS = 8;
/** Unpacking in vain may cost this many times what may be given. */
const WORK_FACTOR = 2;
/** Fewer bytes behind an archive are padding or a line break. */
const MIN_TRAILER = 64;

type Decoded = Unpacked & { readonly sumRight: boolean };

type Zip = {
  readonly bytes: Buffer;
  readonly gauge: Gauge;
  /** Passwords that opened members. */
  readonly known: string[];
  sweeps: number;
  /** Bytes that may still be unpacked, given or not. */
  work: number;
};

export async function readZip(given: Uint8Array, gauge: Gauge): Promise<void> {
  const bytes = Buffer.from(given.buffer, given.byteOffset, given.length);
  const zip: Zip = { bytes, gauge, known: [], sweeps: 0, work: gauge.room() * WORK_FACTOR };
  const directory = readDirectories(bytes, gauge.maxMembers * 2);
  if (directory.ambiguous) gauge.flag("archive_ambiguous");
  if (directory.damaged) gauge.flag("archive_damaged");
  if (directory.exceeded) gauge.flag("archive_members_exceeded");
  if (directory.volumes) gauge.flag("archive_volumes");
  for (const { header } of directory.entries) noteMember(zip, header);
  await findPassword(zip, directory.entries);
  const ranges: Range[] = [];
  let going = true;
  for (const entry of directory.entries) {
    if (going) going = goesOn(zip);
    const end = going ? await readEntry(zip, entry) : plannedEnd(zip, entry);
    if (entry.local !== null) ranges.push({ from: entry.local.at, to: end });
  }
  const { gaps, overlap } = gapsOf(ranges, bytes.length);
  if (overlap) gauge.flag("archive_overlap");
  if (going) await readUnlisted(zip, gaps, ranges, directory.end < 0);
  const first = ranges.reduce((least, range) => Math.min(least, range.from), bytes.length);
  if (ranges.length > 0 && first >= MIN_TRAILER) gauge.flag("archive_data_around");
  const last = ranges.reduce((most, range) => Math.max(most, range.to), directory.end);
  if (directory.end >= 0 && bytes.length - last >= MIN_TRAILER) {
    gauge.flag("archive_data_around");
    gauge.give(null, bytes.subarray(last));
  }
}

type Range = { readonly from: number; readonly to: number };

function goesOn(zip: Zip): boolean {
  if (zip.gauge.full() || zip.gauge.expired()) return false;
  if (zip.gauge.room() > 0 && zip.work > 0) return true;
  zip.gauge.overflow();
  return false;
}

function noteMember(zip: Zip, header: Header): void {
  const name = zipName(header.rawName, header.flags, header.extra);
  if (name.endsWith("/") && header.size === 0) return;
  zip.gauge.list({ name, size: header.size, encrypted: (header.flags & ENCRYPTED) !== 0 });
}

/** Where the data of an entry ends by what its headers say. */
function plannedEnd(zip: Zip, { header, local }: Entry): number {
  return local === null ? 0 : Math.min(zip.bytes.length, local.dataAt + header.packed);
}

/** Gives the readings of one entry; returns where its data ends. */
async function readEntry(zip: Zip, entry: Entry): Promise<number> {
  const { header, local } = entry;
  const { gauge } = zip;
  if (local === null) return 0;
  const names = namesOf(zip, header, local);
  if (isFolder(names[0] ?? "", header)) return local.dataAt;
  const readings: Header[] = [header];
  if (disagree(header, local)) {
    gauge.flag("archive_ambiguous");
    readings.push(local);
  }
  let end = local.dataAt;
  let first: Uint8Array | null = null;
  for (const reading of readings) {
    const decoded = await decode(zip, reading, local);
    if (decoded === null) continue;
    end = Math.max(end, local.dataAt + decoded.consumed);
    // The second reading counts only where it makes sense and says something else.
    if (reading === local && first !== null) {
      const sound = decoded.end === "whole" && decoded.sumRight;
      if (!sound || Buffer.compare(first, decoded.bytes) === 0) continue;
    }
    first ??= decoded.bytes;
    give(zip, names, decoded);
  }
  return Math.max(end, plannedEnd(zip, entry));
}

function give(zip: Zip, names: readonly string[], decoded: Decoded): void {
  const { gauge } = zip;
  if (decoded.end === "cut") gauge.overflow();
  if (decoded.end === "broken" || (decoded.end === "whole" && !decoded.sumRight))
    gauge.flag("archive_damaged");
  if (decoded.end === "broken" && decoded.bytes.length === 0) return;
  for (const name of names) gauge.give(name, decoded.bytes, decoded.end !== "cut");
}

function isFolder(name: string, header: Header): boolean {
  return (name.endsWith("/") || name.endsWith("\\")) && header.size === 0 && header.packed <= 2;
}

/** The names programs see for an entry, as far as they end differently. */
function namesOf(zip: Zip, header: Header, local: Local): readonly string[] {
  const main = zipName(header.rawName, header.flags, header.extra);
  const same = Buffer.compare(header.rawName, local.rawName) === 0;
  const other = same ? main : zipName(local.rawName, local.flags, local.extra);
  const names = distinctNames([main, other, plainName(header.rawName, header.flags)]);
  if (names.length > 1 || !same) zip.gauge.flag("archive_ambiguous");
  return names;
}

/** True where programs that trust one header unpack something else than those that trust the other. */
function disagree(header: Header, local: Local): boolean {
  if (header.method !== local.method || ((header.flags ^ local.flags) & ENCRYPTED) !== 0) return true;
  if ((local.flags & DESCRIPTOR) !== 0 && local.packed === 0) return false;
  return header.packed !== local.packed || (header.size !== local.size && header.method === STORED);
}

/** Unpacks a member as one of its headers describes it; null where that is not possible. */
async function decode(zip: Zip, header: Header, local: Local): Promise<Decoded | null> {
  const data = dataOf(zip, header, local);
  if ((header.flags & ENCRYPTED) === 0) return decodePlain(zip, header, data, local);
  const seal = sealOf(header, local);
  const opened = seal === null ? null : await openSealed(zip, header, data, seal, local);
  if (opened !== null) return opened;
  // Some programs do not look at the flag.
  const plain = header.method === AES ? null : await decodePlain(zip, header, data, local);
  if (plain !== null && plain.end === "whole" && plain.sumRight && header.crc !== 0) {
    zip.gauge.flag("archive_ambiguous");
    return plain;
  }
  zip.gauge.sealed(null);
  return null;
}

/** The packed bytes. Without a size in the header a stored member ends at its descriptor, others end themselves. */
function dataOf(zip: Zip, header: Header, local: Local): Buffer {
  const { bytes } = zip;
  if (header.packed > 0 || (header.flags & DESCRIPTOR) === 0) {
    return bytes.subarray(local.dataAt, Math.min(bytes.length, local.dataAt + header.packed));
  }
  if (header.method !== STORED && (header.flags & ENCRYPTED) === 0) return bytes.subarray(local.dataAt);
  for (
    let at = bytes.indexOf(DESCRIPTOR_TEXT, local.dataAt, "latin1");
    at >= 0 && at + 16 <= bytes.length;
  ) {
    if (bytes.readUInt32LE(at + 8) === at - local.dataAt) return bytes.subarray(local.dataAt, at);
    at = bytes.indexOf(DESCRIPTOR_TEXT, at + 4, "latin1");
  }
  return bytes.subarray(local.dataAt);
}

async function decodePlain(
  zip: Zip,
  header: Header,
  data: Uint8Array,
  local: Local,
): Promise<Decoded | null> {
  const decoded = await decodeMethod(zip, header.method, header, data);
  if (decoded === null || decoded.end !== "broken" || header.method !== DEFLATED) return decoded;
  // The size of a header may lie; a deflate stream knows its own end.
  const rest = zip.bytes.subarray(local.dataAt);
  if (rest.length <= data.length) return decoded;
  const again = await decodeMethod(zip, DEFLATED, header, rest);
  if (again === null || again.end === "broken") return decoded;
  zip.gauge.flag("archive_ambiguous");
  return again;
}

async function decodeMethod(
  zip: Zip,
  method: number,
  header: Header,
  data: Uint8Array,
): Promise<Decoded | null> {
  const room = Math.min(zip.gauge.room(), zip.work);
  const cutTo = zip.gauge.cutRoom();
  let made: Unpacked;
  if (method === STORED) {
    made =
      data.length > room
        ? { bytes: data.subarray(0, cutTo), consumed: data.length, end: "cut" }
        : { bytes: data, consumed: data.length, end: data.length < header.packed ? "broken" : "whole" };
  } else if (method === DEFLATED) {
    made = await unpack("deflate", data, room, cutTo);
  } else if (FOREIGN_METHODS.has(method)) {
    made = await unpackForeign(zip, method, header, data, room, cutTo);
  } else {
    zip.gauge.flag("archive_method_unknown");
    return null;
  }
  zip.work -= made.end === "cut" ? room : made.bytes.length;
  return { ...made, sumRight: made.end === "whole" && sumIsRight(header, made.bytes) };
}

function sumIsRight(header: Header, bytes: Uint8Array): boolean {
  // In front of its data a member with a descriptor has no sum; AE-2 never has one.
  return header.crc === 0 || crc32(bytes) === header.crc;
}

/** Unpacks one member of a rare method by giving 7-Zip an archive with it alone. */
async function unpackForeign(
  zip: Zip,
  method: number,
  header: Header,
  data: Uint8Array,
  room: number,
  cutTo: number,
): Promise<Unpacked> {
  const pieces: Uint8Array[] = [];
  let length = 0;
  const end = await runSevenZip({
    args: ["x", "-tzip", `-o${OUTPUT_FOLDER}`, "-p-", "-y", "-bd", "-bso0", "-mmt1", "--", ARCHIVE_PATH],
    archive: singleMember(method, header, data),
    expired: zip.gauge.expired,
    print: () => true,
    complain: () => true,
    create: () => ({
      write: (piece) => {
        pieces.push(piece);
        length += piece.length;
        return length <= room;
      },
      close: () => {},
    }),
  });
  const bytes = Buffer.concat(pieces, length > room ? Math.min(cutTo, length) : length);
  if (end.kind === "crashed") zip.gauge.flag("archive_too_costly");
  const sound = end.kind === "ended" && end.status === 0;
  return { bytes, consumed: data.length, end: length > room ? "cut" : sound ? "whole" : "broken" };
}

function singleMember(method: number, header: Header, data: Uint8Array): Uint8Array {
  const flags = header.flags & 0b110;
  const local = Buffer.alloc(31);
  local.write(`PK\x03\x04`, "latin1");
  local.writeUInt16LE(63, 4);
  local.writeUInt16LE(flags, 6);
  local.writeUInt16LE(method, 8);
  local.writeUInt32LE(header.crc, 14);
  local.writeUInt32LE(data.length, 18);
  local.writeUInt32LE(Math.min(header.size, NO_SIZE), 22);
  local.writeUInt16LE(1, 26);
  local.write("m", 30);
  const central = Buffer.alloc(47);
  central.write(`PK\x01\x02`, "latin1");
  central.writeUInt16LE(63, 4);
  local.copy(central, 6, 4, 28);
  central.write("m", 46);
  const end = Buffer.alloc(22);
  end.write(`PK\x05\x06`, "latin1");
  end.writeUInt16LE(1, 8);
  end.writeUInt16LE(1, 10);
  end.writeUInt32LE(central.length, 12);
  end.writeUInt32LE(local.length + data.length, 16);
  return Buffer.concat([local, data, central, end]);
}

const NO_SIZE = 0xfffffffe;

/** How a member is encrypted, null where no password opens it here. */
function sealOf(header: Header, local: Local): Seal | null {
  if ((header.flags & STRONG) !== 0) return null;
  if (header.method === AES) {
    const strength = aesField(header, local)?.[4];
    return strength === 1 || strength === 2 || strength === 3 ? { kind: "aes", strength } : null;
  }
  // The last byte of the cipher's header repeats one of the checksum or, with a descriptor, of the time.
  return { kind: "traditional", check: [header.crc >>> 24, header.time >>> 8, local.time >>> 8] };
}

function aesField(header: Header, local: Local): Uint8Array | null {
  const field = extraField(header.extra, AES_FIELD) ?? extraField(local.extra, AES_FIELD);
  return field !== null && field.length >= 7 ? field : null;
}

async function openSealed(
  zip: Zip,
  header: Header,
  data: Uint8Array,
  seal: Seal,
  local: Local,
): Promise<Decoded | null> {
  for (const password of [...zip.known, ...sweep(zip)]) {
    for (const form of passwordForms(password)) {
      const clear = mayOpen(data, seal, form) ? openMember(data, seal, form) : null;
      if (clear === null) continue;
      const field = seal.kind === "aes" ? aesField(header, local) : null;
      const method = field === null ? header.method : (field[5] ?? 0) | ((field[6] ?? 0) << 8);
      const opened = { ...header, packed: clear.length };
      const decoded = await decodeMethod(zip, method, opened, clear);
      // One password of 256 passes the check of the traditional cipher; the checksum decides.
      const right = seal.kind === "aes" || decoded?.end === "cut" || decoded?.sumRight === true;
      if (decoded === null || !right) continue;
      if (!zip.known.includes(password)) zip.known.push(password);
      zip.gauge.sealed(password);
      return { ...decoded, consumed: data.length };
    }
  }
  return null;
}

/** All candidates, for the first members that ask; half of the time may go into them. */
function* sweep(zip: Zip): Generator<string> {
  if (zip.sweeps >= MAX_SWEEPS) return;
  zip.sweeps++;
  const least = zip.gauge.secondsLeft() / 2;
  for (const password of zip.gauge.passwords) {
    if (zip.gauge.secondsLeft() < least) {
      zip.gauge.flag("archive_passwords_exceeded");
      return;
    }
    yield password;
  }
}

/** Finds the password by the smallest member, where trying costs least. */
async function findPassword(zip: Zip, entries: readonly Entry[]): Promise<void> {
  let smallest: Entry | null = null;
  for (const entry of entries) {
    if (entry.local === null || (entry.header.flags & ENCRYPTED) === 0) continue;
    if (entry.header.size === 0 && entry.header.crc === 0 && entry.header.method !== AES) continue;
    if (smallest === null || entry.header.packed < smallest.header.packed) smallest = entry;
  }
  if (smallest?.local == null || zip.gauge.expired()) return;
  const seal = sealOf(smallest.header, smallest.local);
  if (seal === null) return;
  const data = dataOf(zip, smallest.header, smallest.local);
  await openSealed(zip, smallest.header, data, seal, smallest.local);
}

/** What lies between the ranges, and whether some share bytes. */
function gapsOf(
  ranges: readonly Range[],
  size: number,
): { readonly gaps: readonly Range[]; readonly overlap: boolean } {
  const gaps: Range[] = [];
  let overlap = false;
  let at = 0;
  for (const range of [...ranges].sort((one, other) => one.from - other.from)) {
    if (range.from > at) gaps.push({ from: at, to: range.from });
    else if (range.from < at && range.to > range.from) overlap = true;
    at = Math.max(at, range.to);
  }
  gaps.push({ from: at, to: size });
  return { gaps, overlap };
}

/** Members that only their local header shows: between those of the directory, or all where there is none. */
async function readUnlisted(
  zip: Zip,
  gaps: readonly Range[],
  ranges: Range[],
  noDirectory: boolean,
): Promise<void> {
  const { bytes, gauge } = zip;
  if (noDirectory) gauge.flag("archive_damaged");
  let tries = gauge.maxMembers;
  for (const gap of gaps) {
    let from = gap.from;
    for (;;) {
      const local = nextLocal(bytes, from, gap.to);
      if (local === null) break;
      if (!goesOn(zip)) return;
      if (tries-- <= 0) {
        gauge.flag("archive_members_exceeded");
        return;
      }
      const end = await readLocalOnly(zip, local, noDirectory);
      if (end !== null) ranges.push({ from: local.at, to: end });
      from = Math.max(local.at + 4, end ?? 0);
    }
  }
}

/** Gives a member that no directory names; null where the header turns out to be none. */
async function readLocalOnly(zip: Zip, local: Local, noDirectory: boolean): Promise<number | null> {
  const name = zipName(local.rawName, local.flags, local.extra);
  if (isFolder(name, local)) return local.dataAt;
  const decoded = await decode(zip, local, local);
  if (decoded === null) {
    if ((local.flags & ENCRYPTED) === 0) return null;
    noteMember(zip, local);
    return local.dataAt + local.packed;
  }
  // Three bytes and a version can stand anywhere; what unpacks well is meant.
  if (decoded.end === "broken" && !noDirectory) return null;
  if (decoded.end === "whole" && !decoded.sumRight && !noDirectory) return null;
  noteMember(zip, local);
  if (!noDirectory) zip.gauge.flag("archive_ambiguous");
  give(zip, distinctNames([name]), decoded);
  return local.dataAt + decoded.consumed;
}
