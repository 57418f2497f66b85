/** Makes archives for tests: with 7-Zip, and by hand where no program here writes the format. */
import { createCipheriv, createHash, pbkdf2Sync } from "node:crypto";
import { crc32 } from "node:zlib";
import sevenZip from "7z-wasm";
import { readArchive } from "../../../../src/extract/archives/archive.ts";
import type { ArchiveLimits, ArchiveReading } from "../../../../src/extract/archives/gauge.ts";

export const LIMITS: ArchiveLimits = {
  bytes: 64 * 1024 * 1024,
  inner: 1000,
  urls: 10,
  ratio: 100,
  seconds: 20,
};

export type Files = Readonly<Record<string, string | Uint8Array>>;

export function read(
  bytes: Uint8Array,
  type: string,
  passwords: readonly string[] = [],
  limits: Partial<ArchiveLimits> = {},
): Promise<ArchiveReading> {
  return readArchive(bytes, type, { ...LIMITS, ...limits }, passwords);
}

/** What was read as "name=content" in Latin 1. */
export function contents(reading: ArchiveReading): readonly string[] {
  return reading.inner.map((inner) => `${inner.name}=${Buffer.from(inner.bytes).toString("latin1")}`);
}

/** An archive of 7-Zip; `args` are switches such as "-t7z" and "-psecret". */
export async function makeWithSevenZip(files: Files, args: readonly string[]): Promise<Uint8Array> {
  const exitCode = process.exitCode;
  const program = await sevenZip({ stdout: () => {}, stderr: () => {} });
  for (const [name, content] of Object.entries(files)) program.FS.writeFile(name, content);
  program.callMain(["a", "-mmt1", ...args, "made", ...Object.keys(files)]);
  // The program sets the exit code of this process.
  process.exitCode = exitCode ?? 0;
  const name = program.FS.readdir(".").find((one) => one === "made" || one.startsWith("made."));
  return program.FS.readFile(name ?? "made");
}

export function bytesOf(content: string | Uint8Array): Buffer {
  return typeof content === "string" ? Buffer.from(content) : Buffer.from(content);
}

export type ZipMember = {
  readonly name: string | Uint8Array;
  readonly localName?: string | Uint8Array;
  /** Packed as it stands in the file. */
  readonly data: Uint8Array;
  readonly method?: number;
  readonly localMethod?: number;
  readonly flags?: number;
  readonly localFlags?: number;
  readonly crc?: number;
  readonly localCrc?: number;
  readonly size?: number;
  readonly packed?: number;
  readonly localPacked?: number;
  readonly localSize?: number;
  readonly extra?: Uint8Array;
  /** Behind the data: a data descriptor. */
  readonly after?: Uint8Array;
  /** Left out of the directory. */
  readonly hidden?: boolean;
  /** Left out of the local part: the entry points to the offset. */
  readonly at?: number;
};

/** A zip archive written as told, however wrong. */
export function makeZip(
  members: readonly ZipMember[],
  changes: { count?: number; comment?: string } = {},
): Buffer {
  const locals: Buffer[] = [];
  const centrals: Buffer[] = [];
  let offset = 0;
  for (const member of members) {
    const name = bytesOf(member.name);
    const localName = bytesOf(member.localName ?? member.name);
    const extra = bytesOf(member.extra ?? new Uint8Array());
    const common = Buffer.alloc(24);
    common.writeUInt16LE(20, 0);
    common.writeUInt16LE(member.flags ?? 0, 2);
    common.writeUInt16LE(member.method ?? 0, 4);
    common.writeUInt32LE(member.crc ?? crc32(member.data), 10);
    common.writeUInt32LE(member.packed ?? member.data.length, 14);
    common.writeUInt32LE(member.size ?? member.data.length, 18);
    const local = Buffer.alloc(30);
    local.write("PK\x03\x04", "latin1");
    common.copy(local, 4);
    local.writeUInt16LE(member.localFlags ?? member.flags ?? 0, 6);
    local.writeUInt16LE(member.localMethod ?? member.method ?? 0, 8);
    local.writeUInt32LE(member.localCrc ?? member.crc ?? crc32(member.data), 14);
    local.writeUInt32LE(member.localPacked ?? member.packed ?? member.data.length, 18);
    local.writeUInt32LE(member.localSize ?? member.size ?? member.data.length, 22);
    local.writeUInt16LE(localName.length, 26);
    local.writeUInt16LE(extra.length, 28);
    const whole = Buffer.concat([local, localName, extra, member.data, member.after ?? new Uint8Array()]);
    const central = Buffer.alloc(46);
    central.write("PK\x01\x02", "latin1");
    central.writeUInt16LE(20, 4);
    common.copy(central, 6, 0, 22);
    central.writeUInt16LE(name.length, 28);
    central.writeUInt16LE(extra.length, 30);
    central.writeUInt32LE(member.at ?? offset, 42);
    if (member.hidden !== true) centrals.push(Buffer.concat([central, name, extra]));
    if (member.at !== undefined) continue;
    locals.push(whole);
    offset += whole.length;
  }
  const directory = Buffer.concat(centrals);
  const end = Buffer.alloc(22);
  end.write("PK\x05\x06", "latin1");
  const count = changes.count ?? centrals.length;
  end.writeUInt16LE(count % 65536, 8);
  end.writeUInt16LE(count % 65536, 10);
  end.writeUInt32LE(directory.length, 12);
  end.writeUInt32LE(offset, 16);
  const comment = Buffer.from(changes.comment ?? "", "latin1");
  end.writeUInt16LE(comment.length, 20);
  return Buffer.concat([...locals, directory, end, comment]);
}

/** A tar header with its data, padded. */
export function tarEntry(
  name: string,
  data: Uint8Array,
  type = "0",
  changes: Record<string, string> = {},
): Buffer {
  const header = Buffer.alloc(512);
  header.write(name, 0, 100, "utf8");
  header.write("0000644\0", 100);
  header.write(changes.size ?? `${data.length.toString(8).padStart(11, "0")}\0`, 124, "latin1");
  header.write("00000000000\0", 136);
  header.write(type, 156);
  header.write(changes.magic ?? "ustar\x0000", 257, "latin1");
  header.fill(0x20, 148, 156);
  const sum = header.reduce((total, byte) => total + byte, 0);
  header.write(changes.sum ?? `${sum.toString(8).padStart(6, "0")}\0 `, 148, "latin1");
  return Buffer.concat([header, data, Buffer.alloc((512 - (data.length % 512)) % 512)]);
}

/** How a RAR is encrypted; `rounds` as the power of two that stands in it. */
export type Rar5Seal = { readonly password: string; readonly rounds: number; readonly names: boolean };

/** RAR 5.0 with stored members (technical note of rarlab.com). */
export function makeRar5(files: Files, seal: Rar5Seal | null = null): Buffer {
  const key = seal === null ? null : rar5Key(seal);
  const block = (header: Buffer): Buffer => {
    const plain = rar5Block(header);
    if (key === null || seal?.names !== true) return plain;
    return Buffer.concat([RAR5_IV, encryptCbc(plain, key.key)]);
  };
  const parts: Buffer[] = [Buffer.from("Rar!\x1a\x07\x01\x00", "latin1")];
  if (key !== null && seal?.names === true) {
    parts.push(rar5Block(Buffer.concat([Buffer.from([4, 0, 0, 1, seal.rounds]), RAR5_SALT, key.check])));
  }
  parts.push(block(Buffer.from([1, 0, 0])));
  for (const [name, content] of Object.entries(files)) {
    const data = bytesOf(content);
    const path = Buffer.from(name);
    const sum = Buffer.alloc(4);
    sum.writeUInt32LE(crc32(data));
    const packed = key === null ? data : encryptCbc(data, key.key);
    const extra =
      key === null || seal === null
        ? Buffer.alloc(0)
        : Buffer.concat([Buffer.from([48, 1, 0, 1, seal.rounds]), RAR5_SALT, RAR5_IV, key.check]);
    const header = Buffer.concat([
      // File header with data, sizes, flag "CRC32 present", attributes.
      Buffer.from(extra.length === 0 ? [2, 2] : [2, 3, extra.length]),
      vint(packed.length),
      vint(4),
      vint(data.length),
      vint(0x20),
      sum,
      // Stored; made on Unix.
      vint(0),
      vint(1),
      vint(path.length),
      path,
      extra,
    ]);
    parts.push(block(header), packed);
  }
  parts.push(block(Buffer.from([5, 0, 0])));
  return Buffer.concat(parts);
}

const RAR5_SALT = Buffer.from("0123456789abcdef");
const RAR5_IV = Buffer.from("fedcba9876543210");

/** The key, and the value by which a password is checked: one derived with 32 rounds more, and its sum. */
function rar5Key(seal: Rar5Seal): { readonly key: Buffer; readonly check: Buffer } {
  const derive = (more: number): Buffer =>
    pbkdf2Sync(seal.password, RAR5_SALT, 2 ** seal.rounds + more, 32, "sha256");
  const check = Buffer.alloc(8);
  derive(32).forEach((byte, index) => {
    check[index % 8] = (check[index % 8] ?? 0) ^ byte;
  });
  const sum = createHash("sha256").update(check).digest().subarray(0, 4);
  return { key: derive(0), check: Buffer.concat([check, sum]) };
}

function encryptCbc(data: Buffer, key: Buffer): Buffer {
  const cipher = createCipheriv("aes-256-cbc", key, RAR5_IV).setAutoPadding(false);
  const padding = Buffer.alloc((16 - (data.length % 16)) % 16);
  return Buffer.concat([cipher.update(Buffer.concat([data, padding])), cipher.final()]);
}

function rar5Block(header: Buffer): Buffer {
  const sized = Buffer.concat([vint(header.length), header]);
  const sum = Buffer.alloc(4);
  sum.writeUInt32LE(crc32(sized));
  return Buffer.concat([sum, sized]);
}

function vint(value: number): Buffer {
  const bytes: number[] = [];
  let rest = value;
  while (rest >= 128) {
    bytes.push((rest % 128) | 128);
    rest = Math.floor(rest / 128);
  }
  bytes.push(rest);
  return Buffer.from(bytes);
}

/** RAR 2.9 to 4 with stored members. */
export function makeRar4(files: Files): Buffer {
  const parts: Buffer[] = [Buffer.from("Rar!\x1a\x07\x00", "latin1"), rar4Block(0x73, 0, Buffer.alloc(6))];
  for (const [name, content] of Object.entries(files)) {
    const data = bytesOf(content);
    const path = Buffer.from(name);
    const header = Buffer.alloc(25);
    header.writeUInt32LE(data.length, 0);
    header.writeUInt32LE(data.length, 4);
    header[8] = 3;
    header.writeUInt32LE(crc32(data), 9);
    header.writeUInt32LE(0x21_0000, 13);
    header[17] = 20;
    header[18] = 0x30;
    header.writeUInt16LE(path.length, 19);
    header.writeUInt32LE(0o100644, 21);
    parts.push(rar4Block(0x74, 0x8000, Buffer.concat([header, path])), data);
  }
  parts.push(rar4Block(0x7b, 0x4000, Buffer.alloc(0)));
  return Buffer.concat(parts);
}

function rar4Block(type: number, flags: number, body: Buffer): Buffer {
  const block = Buffer.alloc(7 + body.length);
  block[2] = type;
  block.writeUInt16LE(flags, 3);
  block.writeUInt16LE(block.length, 5);
  body.copy(block, 7);
  block.writeUInt16LE(crc32(block.subarray(2)) & 0xffff, 0);
  return block;
}

/** A cabinet with one folder of stored members ([MS-CAB]). */
export function makeCab(files: Files): Buffer {
  const names = Object.keys(files).map((name) => Buffer.from(`${name}\0`));
  const datas = Object.values(files).map(bytesOf);
  const content = Buffer.concat(datas);
  const filesAt = 36 + 8;
  const dataAt = filesAt + names.reduce((total, name) => total + 16 + name.length, 0);
  const header = Buffer.alloc(36);
  header.write("MSCF");
  header.writeUInt32LE(dataAt + 8 + content.length, 8);
  header.writeUInt32LE(filesAt, 16);
  header.writeUInt16LE(0x0103, 24);
  header.writeUInt16LE(1, 26);
  header.writeUInt16LE(names.length, 28);
  const folder = Buffer.alloc(8);
  folder.writeUInt32LE(dataAt, 0);
  folder.writeUInt16LE(1, 4);
  let at = 0;
  const entries = names.map((name, index) => {
    const entry = Buffer.alloc(16);
    entry.writeUInt32LE(datas[index]?.length ?? 0, 0);
    entry.writeUInt32LE(at, 4);
    at += datas[index]?.length ?? 0;
    return Buffer.concat([entry, name]);
  });
  const block = Buffer.alloc(8);
  block.writeUInt16LE(content.length, 4);
  block.writeUInt16LE(content.length, 6);
  return Buffer.concat([header, folder, ...entries, block, content]);
}

const SECTOR = 2048;

/** An ISO 9660 image with files in its root. */
export function makeIso(files: Files): Buffer {
  const datas = Object.values(files).map(bytesOf);
  const rootAt = 18;
  let next = rootAt + 1;
  const places = datas.map((data) => {
    const place = next;
    next += Math.ceil(data.length / SECTOR);
    return place;
  });
  const image = Buffer.alloc(next * SECTOR);
  const root = isoRecord(rootAt, SECTOR, 2, Buffer.from([0]));
  const records = [root, isoRecord(rootAt, SECTOR, 2, Buffer.from([1]))];
  Object.keys(files).forEach((name, index) => {
    const data = datas[index] ?? Buffer.alloc(0);
    records.push(isoRecord(places[index] ?? 0, data.length, 0, Buffer.from(name)));
    data.copy(image, (places[index] ?? 0) * SECTOR);
  });
  Buffer.concat(records).copy(image, rootAt * SECTOR);
  const volume = image.subarray(16 * SECTOR, 17 * SECTOR);
  volume.write("\x01CD001\x01", "latin1");
  volume.fill(0x20, 8, 72);
  bothOrders(volume, 80, next);
  volume.set([1, 0, 0, 1, 1, 0, 0, 1], 120);
  volume.set([0, 8, 8, 0], 128);
  root.copy(volume, 156);
  volume.fill(0x20, 190, 813);
  volume[881] = 1;
  image.write("\xffCD001\x01", 17 * SECTOR, "latin1");
  return image;
}

function isoRecord(sector: number, size: number, flags: number, name: Buffer): Buffer {
  const record = Buffer.alloc(33 + name.length + (name.length % 2 === 0 ? 1 : 0));
  record[0] = record.length;
  bothOrders(record, 2, sector);
  bothOrders(record, 10, size);
  record[25] = flags;
  record.set([1, 0, 0, 1], 28);
  record[32] = name.length;
  name.copy(record, 33);
  return record;
}

function bothOrders(bytes: Buffer, at: number, value: number): void {
  bytes.writeUInt32LE(value, at);
  bytes.writeUInt32BE(value, at + 4);
}

/** A FAT12 image with files of one cluster each in its root. */
export function makeFat(files: Files): Buffer {
  const image = Buffer.alloc(2880 * 512);
  image.set([0xeb, 0x3c, 0x90], 0);
  image.write("MSDOS5.0", 3);
  image.writeUInt16LE(512, 11);
  image[13] = 1;
  image.writeUInt16LE(1, 14);
  image[16] = 2;
  image.writeUInt16LE(224, 17);
  image.writeUInt16LE(2880, 19);
  image[21] = 0xf0;
  image.writeUInt16LE(9, 22);
  image.writeUInt16LE(18, 24);
  image.writeUInt16LE(2, 26);
  image[38] = 0x29;
  image.write("NO NAME    FAT12   ", 43);
  image.writeUInt16LE(0xaa55, 510);
  Object.entries(files).forEach(([name, content], index) => {
    const data = bytesOf(content);
    const cluster = 2 + index;
    const entry = 19 * 512 + index * 32;
    const [stem = "", extension = ""] = name.toUpperCase().split(".");
    image.write(stem.padEnd(8) + extension.padEnd(3), entry);
    image[entry + 11] = 0x20;
    image.writeUInt16LE(cluster, entry + 26);
    image.writeUInt32LE(data.length, entry + 28);
    data.copy(image, (33 + index) * 512);
    for (const table of [512, 10 * 512]) {
      image.set([0xf0, 0xff, 0xff], table);
      const at = table + Math.floor((cluster * 3) / 2);
      const shift = cluster % 2 === 0 ? 0 : 4;
      image.writeUInt16LE(image.readUInt16LE(at) | ((0xfff << shift) & 0xffff), at);
    }
  });
  return image;
}

/** A fixed virtual hard disk: an image and a footer. */
export function makeVhd(image: Buffer): Buffer {
  const footer = Buffer.alloc(512);
  footer.write("conectix");
  footer.writeUInt32BE(2, 8);
  footer.writeUInt32BE(0x10000, 12);
  footer.fill(0xff, 16, 24);
  footer.writeBigUInt64BE(BigInt(image.length), 40);
  footer.writeBigUInt64BE(BigInt(image.length), 48);
  footer.writeUInt32BE(2, 60);
  const sum = footer.reduce((total, byte) => total + byte, 0);
  footer.writeUInt32BE(~sum >>> 0, 64);
  return Buffer.concat([image, footer]);
}
