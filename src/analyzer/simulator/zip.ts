/**
 * The members of a zip (also of an OOXML document or a JAR), for the judgement of the simulator.
 *
 * Bytes in, members out one at a time, by the central directory (APPNOTE 6.3.10, section 4.3). Everything is
 * bounded by a {@link ZipBudget} that nested zips share. Never throws: what cannot be read is left out, what is
 * encrypted (by the traditional cipher or by AES of WinZip) and not opened by the password is named so.
 */
import { crc32, inflateRawSync } from "node:zlib";
import { openMember, passwordForms, type Seal } from "../../extract/archives/zip-crypto.ts";

/** What may still be spent on one sample; it is used up by reading. */
export type ZipBudget = { members: number; bytes: number };

export type ZipMember = {
  /** As the directory has it, read as UTF-8. Hostile. */
  readonly name: string;
} & (
  | {
      readonly state: "read";
      readonly bytes: Uint8Array;
      /** It was encrypted, and the password opened it. */
      readonly sealed: boolean;
    }
  | { readonly state: "encrypted" }
  | { readonly state: "unreadable" }
);

const END_OF_DIRECTORY = Buffer.from([0x50, 0x4b, 0x05, 0x06]);
const DIRECTORY_ENTRY = 0x02014b50;
const LOCAL_HEADER = 0x04034b50;
const AES_METHOD = 99;
const AES_EXTRA = 0x9901;
const END_SIZE = 22;
const MAX_COMMENT = 65_535;
/** The most that deflate packs into one byte. */
const MAX_RATIO = 1032;

function endOfDirectory(zip: Buffer): number | undefined {
  const first = Math.max(0, zip.length - END_SIZE - MAX_COMMENT);
  const at = zip.subarray(first).lastIndexOf(END_OF_DIRECTORY);
  return at < 0 || first + at + END_SIZE > zip.length ? undefined : first + at;
}

function inflate(data: Uint8Array, limit: number): Uint8Array | undefined {
  try {
    return inflateRawSync(data, { maxOutputLength: Math.max(1, limit) });
  } catch {
    return undefined; // damaged, or larger than the budget: the member is unreadable either way
  }
}

type Packed = { readonly data: Uint8Array; readonly method: number };

/** The extra field with this id, undefined where there is none (APPNOTE 4.5.1). */
function extraField(extras: Buffer, id: number): Buffer | undefined {
  for (let at = 0; at + 4 <= extras.length; ) {
    const end = at + 4 + extras.readUInt16LE(at + 2);
    if (extras.readUInt16LE(at) === id) return extras.subarray(at + 4, end);
    at = end;
  }
  return undefined;
}

/** What an encrypted member holds; undefined where the password is not the right one. */
function decrypted(
  packed: Buffer,
  entry: { readonly method: number; readonly crc: number; readonly time: number },
  extras: Buffer,
  password: string | undefined,
  limit: number,
): Packed | undefined {
  if (password === undefined) return undefined;
  let method = entry.method;
  let seal: Seal = { kind: "traditional", check: [entry.crc >>> 24, entry.time >>> 8] };
  let hasCrc = true;
  if (method === AES_METHOD) {
    const aes = extraField(extras, AES_EXTRA);
    const strength = aes?.[4];
    if (aes === undefined || aes.length < 7 || (strength !== 1 && strength !== 2 && strength !== 3))
      return undefined;
    seal = { kind: "aes", strength };
    method = aes.readUInt16LE(5);
    hasCrc = aes.readUInt16LE(0) === 1;
  }
  for (const form of passwordForms(password)) {
    const data = openMember(packed, seal, form);
    if (data === null) continue;
    const plain = hasCrc ? unpacked({ data, method }, limit) : undefined;
    // The traditional cipher takes one wrong password in 256 for right.
    if (!hasCrc || (plain !== undefined && crc32(plain) === entry.crc)) return { data, method };
  }
  return undefined;
}

function unpacked({ data, method }: Packed, limit: number): Uint8Array | undefined {
  if (method === 0) return data.length <= limit ? data : undefined;
  return method === 8 ? inflate(data, limit) : undefined;
}

/** The members in the order of the directory, until the budget is used up. */
export function* zipMembers(bytes: Uint8Array, budget: ZipBudget, password?: string): Generator<ZipMember> {
  const zip = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const end = endOfDirectory(zip);
  if (end === undefined) return;
  // Offsets count from the start of the zip, which is not the start of the file where something stands before it.
  const size = zip.readUInt32LE(end + 12);
  const shift = Math.max(0, end - size - zip.readUInt32LE(end + 16));
  let at = end - size;
  while (at >= 0 && at + 46 <= end && zip.readUInt32LE(at) === DIRECTORY_ENTRY) {
    if (budget.members <= 0 || budget.bytes <= 0) return;
    budget.members--;
    const flags = zip.readUInt16LE(at + 8);
    const method = zip.readUInt16LE(at + 10);
    const entry = { method, crc: zip.readUInt32LE(at + 16), time: zip.readUInt16LE(at + 12) };
    const packedSize = zip.readUInt32LE(at + 20);
    const local = zip.readUInt32LE(at + 42) + shift;
    const extrasAt = at + 46 + zip.readUInt16LE(at + 28);
    const name = zip.toString("utf8", at + 46, extrasAt);
    const extras = zip.subarray(extrasAt, extrasAt + zip.readUInt16LE(at + 30));
    at = extrasAt + extras.length + zip.readUInt16LE(at + 32);
    const sealed = (flags & 1) === 1;
    if (local + 30 > zip.length || zip.readUInt32LE(local) !== LOCAL_HEADER) {
      yield { name, state: sealed ? "encrypted" : "unreadable" };
      continue;
    }
    const start = local + 30 + zip.readUInt16LE(local + 26) + zip.readUInt16LE(local + 28);
    const data = zip.subarray(start, start + packedSize);
    const key = data.length <= budget.bytes ? password : undefined;
    const packed = sealed ? decrypted(data, entry, extras, key, budget.bytes) : { data, method };
    const plain = packed === undefined ? undefined : unpacked(packed, budget.bytes);
    if (plain === undefined) {
      // The work was done up to the limit all the same, so that a row of bombs ends too.
      const worked = packed?.method === 8 ? data.length * MAX_RATIO : sealed ? data.length : 0;
      budget.bytes -= Math.min(budget.bytes, worked);
      yield { name, state: packed === undefined ? "encrypted" : "unreadable" };
      continue;
    }
    budget.bytes -= plain.length;
    yield { name, state: "read", bytes: plain, sealed };
  }
}
