/**
 * Reads tar archives: old, ustar, pax (POSIX.1-2001) and GNU with long names. A header with a wrong checksum is
 * read, too, where it has the mark of ustar, as some programs do not check it. Nothing is unpacked: contents are
 * views of the archive.
 */
import type { Gauge } from "./gauge.ts";

const BLOCK = 512;
/** Most of a long name, or of a pax header, that is read. */
const MAX_HEADER_DATA = 64 * 1024;
/** Headers of folders, links and long names do not count as members, but are bounded, too. */
const HEADERS_FACTOR = 4;
const MIN_TRAILER = 64;

type Pending = { name: string | null; size: number | null; sparse: boolean };

export function readTar(given: Uint8Array, gauge: Gauge): void {
  const bytes = Buffer.from(given.buffer, given.byteOffset, given.length);
  let pending: Pending = { name: null, size: null, sparse: false };
  let at = 0;
  let headers = 0;
  let empty = 0;
  while (at + BLOCK <= bytes.length) {
    if (gauge.expired()) return;
    const header = bytes.subarray(at, at + BLOCK);
    if (isZero(header)) {
      empty++;
      at += BLOCK;
      continue;
    }
    const mark = header.toString("latin1", 257, 262) === "ustar";
    const sound = checksumIsRight(header);
    if (!sound && !mark) break;
    // Behind the two empty blocks an archive is over for most programs, not for all.
    if (empty >= 2 && headers > 0) gauge.flag("archive_ambiguous");
    if (!sound) gauge.flag("archive_damaged");
    empty = 0;
    if (headers++ >= gauge.maxMembers * HEADERS_FACTOR) {
      gauge.flag("archive_members_exceeded");
      return;
    }
    const type = String.fromCharCode(header[156] ?? 0);
    const size = pending.size ?? numberOf(header, 124, 12);
    const dataAt = at + BLOCK;
    const data = bytes.subarray(dataAt, Math.min(bytes.length, dataAt + size));
    // Headers of links and folders have no data, whatever their size says.
    const hasData = !"12345".includes(type) || type === "\0";
    at = hasData ? dataAt + Math.ceil(size / BLOCK) * BLOCK : dataAt;
    if (type === "L" || type === "K") {
      if (type === "L") pending.name = textOf(data.subarray(0, MAX_HEADER_DATA));
      continue;
    }
    if (type === "x" || type === "g") {
      if (type === "x") readPax(data.subarray(0, MAX_HEADER_DATA), pending);
      continue;
    }
    const name = pending.name ?? headerName(header, mark);
    const { sparse } = pending;
    pending = { name: null, size: null, sparse: false };
    if (!hasData || type === "V" || type === "D") continue;
    if (type === "S" || sparse) gauge.fact("sparse");
    if (name.endsWith("/") && size === 0) continue;
    gauge.list({ name, size, encrypted: false });
    if (data.length < size) gauge.flag("archive_damaged");
    if (gauge.full()) return;
    if (!gauge.give(name, data)) gauge.give(name, data.subarray(0, gauge.cutRoom()), false);
  }
  if (headers === 0) gauge.flag("archive_unreadable");
  if (headers === 0 || at >= bytes.length) return;
  const rest = bytes.subarray(at);
  if (rest.length < MIN_TRAILER || isZero(rest)) return;
  gauge.flag("archive_data_around");
  gauge.give(null, rest);
}

function isZero(bytes: Uint8Array): boolean {
  return bytes.every((byte) => byte === 0);
}

/** Sums of unsigned and, as old programs made them, of signed bytes. */
function checksumIsRight(header: Buffer): boolean {
  let unsigned = 0;
  let signed = 0;
  for (let index = 0; index < BLOCK; index++) {
    const byte = index >= 148 && index < 156 ? 0x20 : (header[index] ?? 0);
    unsigned += byte;
    signed += byte < 128 ? byte : byte - 256;
  }
  const sum = numberOf(header, 148, 8);
  return sum === unsigned || sum === signed;
}

/** Octal digits, or GNU's binary form for large numbers. */
function numberOf(header: Buffer, at: number, length: number): number {
  if (((header[at] ?? 0) & 0x80) !== 0) {
    const value = header.readUIntBE(at + length - 6, 6);
    // Negative, or larger than any file.
    return header.subarray(at + 1, at + length - 6).every((byte) => byte === 0) ? value : 0;
  }
  const digits = /^[\s\0]*([0-7]{1,12})/.exec(header.toString("latin1", at, at + length))?.[1];
  return digits === undefined ? 0 : Number.parseInt(digits, 8);
}

function headerName(header: Buffer, mark: boolean): string {
  const name = textOf(header.subarray(0, 100));
  const prefix = mark && header[262] === 0 ? textOf(header.subarray(345, 500)) : "";
  return prefix === "" ? name : `${prefix}/${name}`;
}

function textOf(raw: Buffer): string {
  const end = raw.indexOf(0);
  const part = end < 0 ? raw : raw.subarray(0, end);
  const text = part.toString("utf8");
  return text.includes("\uFFFD") ? part.toString("latin1") : text;
}

/** Records "length key=value\n" of a pax header. */
function readPax(data: Buffer, pending: Pending): void {
  let at = 0;
  while (at < data.length) {
    const space = data.indexOf(0x20, at);
    if (space < 0 || space - at > 10) return;
    const length = Number(data.toString("latin1", at, space));
    if (!Number.isInteger(length) || length <= space - at || at + length > data.length) return;
    const record = data.toString("utf8", space + 1, at + length - 1);
    const split = record.indexOf("=");
    const key = record.slice(0, split);
    const value = record.slice(split + 1);
    if (key === "path" || key === "GNU.sparse.name") pending.name = value;
    if (key === "size" && /^\d{1,15}$/.test(value)) pending.size = Number(value);
    if (key.startsWith("GNU.sparse.")) pending.sparse = true;
    at += length;
  }
}
