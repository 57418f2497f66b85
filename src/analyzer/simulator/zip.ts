/**
 * The members of a zip (also of an OOXML document or a JAR), for the judgement of the simulator.
 *
 * Bytes in, members out one at a time, by the central directory (APPNOTE 6.3.10, section 4.3). Everything is
 * bounded by a {@link ZipBudget} that nested zips share. Never throws: what cannot be read is left out, what is
 * encrypted is named so.
 */
import { inflateRawSync } from "node:zlib";

/** What may still be spent on one sample; it is used up by reading. */
export type ZipBudget = { members: number; bytes: number };

export type ZipMember =
  | { readonly state: "read"; readonly bytes: Uint8Array }
  | { readonly state: "encrypted" }
  | { readonly state: "unreadable" };

const END_OF_DIRECTORY = Buffer.from([0x50, 0x4b, 0x05, 0x06]);
const DIRECTORY_ENTRY = 0x02014b50;
const LOCAL_HEADER = 0x04034b50;
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

/** The members in the order of the directory, until the budget is used up. */
export function* zipMembers(bytes: Uint8Array, budget: ZipBudget): Generator<ZipMember> {
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
    const packedSize = zip.readUInt32LE(at + 20);
    const local = zip.readUInt32LE(at + 42) + shift;
    at += 46 + zip.readUInt16LE(at + 28) + zip.readUInt16LE(at + 30) + zip.readUInt16LE(at + 32);
    if (flags & 1) {
      yield { state: "encrypted" };
      continue;
    }
    if (local + 30 > zip.length || zip.readUInt32LE(local) !== LOCAL_HEADER) {
      yield { state: "unreadable" };
      continue;
    }
    const start = local + 30 + zip.readUInt16LE(local + 26) + zip.readUInt16LE(local + 28);
    const packed = zip.subarray(start, start + packedSize);
    const plain =
      method === 0
        ? packed.length <= budget.bytes
          ? packed
          : undefined
        : method === 8
          ? inflate(packed, budget.bytes)
          : undefined;
    if (plain === undefined) {
      // The work was done up to the limit all the same, so that a row of bombs ends too.
      budget.bytes -= method === 8 ? Math.min(budget.bytes, packed.length * MAX_RATIO) : 0;
      yield { state: "unreadable" };
      continue;
    }
    budget.bytes -= plain.length;
    yield { state: "read", bytes: plain };
  }
}
