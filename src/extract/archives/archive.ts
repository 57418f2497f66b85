/**
 * Reads archives, packed streams and images of disks: gives what is inside, under bounds.
 *
 * In go the bytes, their type as file-type.ts tells it, the bounds and candidate passwords; out comes an
 * ArchiveReading. It never throws for what the bytes are. Archives inside are the caller's to read.
 */
import { type ArchiveLimits, type ArchiveReading, createGauge, type Gauge } from "./gauge.ts";
import { unpackWithSevenZip } from "./seven-zip.ts";
import { readGzip, readLz4, readZstd } from "./streams.ts";
import { readTar } from "./tar.ts";
import { readZip } from "./zip.ts";

type Reader = (bytes: Uint8Array, gauge: Gauge) => Promise<void> | void;

/** By 7-Zip, with its names for the types it may be, in the order they are tried. */
function bySevenZip(...types: readonly string[]): Reader {
  return async (bytes, gauge) => {
    if (!(await unpackWithSevenZip(bytes, types, gauge))) gauge.flag("archive_unreadable");
  };
}

/**
 * An image can hold two file systems over the same bytes, and systems differ in which they show. What the second
 * one adds is given, too.
 */
async function readOpticalImage(bytes: Uint8Array, gauge: Gauge): Promise<void> {
  const given = new Map<string, Uint8Array[]>();
  let ambiguous = false;
  const once = (second: boolean): Gauge => ({
    ...gauge,
    give: (name, content, whole) => {
      const key = (name ?? "").toLowerCase().replace(/;\d{1,5}$/, "");
      const same = given.get(key) ?? [];
      if (same.some((one) => Buffer.compare(one, content) === 0)) return true;
      given.set(key, [...same, content]);
      if (second) ambiguous = true;
      return gauge.give(name, content, whole);
    },
    list: second ? () => {} : gauge.list,
  });
  const udf = await unpackWithSevenZip(bytes, ["udf"], once(false));
  const iso = await unpackWithSevenZip(bytes, ["iso"], once(udf));
  if (ambiguous) gauge.flag("archive_ambiguous");
  if (!udf && !iso) await bySevenZip("")(bytes, gauge);
}

const readZstdOrLarger: Reader = (bytes, gauge) =>
  readZstd(bytes, gauge, async (all) => bySevenZip("zstd")(all, gauge));

const READERS: ReadonlyMap<string, Reader> = new Map<string, Reader>([
  ["application/zip", readZip],
  ["application/gzip", readGzip],
  ["application/x-bzip2", bySevenZip("bzip2")],
  ["application/x-xz", bySevenZip("xz")],
  ["application/x-lzma", bySevenZip("lzma")],
  ["application/zstd", readZstdOrLarger],
  ["application/x-lz4", readLz4],
  ["application/x-compress", bySevenZip("Z")],
  ["application/x-tar", readTar],
  ["application/x-cpio", bySevenZip("cpio")],
  ["application/x-unix-archive", bySevenZip("ar")],
  ["application/x-deb", bySevenZip("ar")],
  ["application/x-rpm", bySevenZip("rpm", "cpio")],
  ["application/x-7z-compressed", bySevenZip("7z")],
  ["application/x-rar-compressed", bySevenZip("rar5", "rar")],
  ["application/vnd.ms-cab-compressed", bySevenZip("cab")],
  ["application/x-arj", bySevenZip("arj")],
  ["application/x-lzh-compressed", bySevenZip("lzh")],
  ["application/vnd.ms-htmlhelp", bySevenZip("chm")],
  ["application/x-ms-wim", bySevenZip("wim")],
  ["application/x-xar", bySevenZip("xar")],
  // Of images 7-Zip opens what lies in them at once, partition table and file system.
  ["application/x-iso9660-image", readOpticalImage],
  ["application/x-raw-disk-image", bySevenZip("")],
  ["application/x-vhd", bySevenZip("")],
  ["application/x-vhdx", bySevenZip("")],
  ["application/x-vmdk", bySevenZip("")],
  ["application/x-qcow2", bySevenZip("")],
  ["application/x-apple-diskimage", bySevenZip("")],
  ["application/x-squashfs", bySevenZip("squashfs")],
]);

/** True for the types that readArchive reads. */
export function isArchive(type: string): boolean {
  return READERS.has(type);
}

export async function readArchive(
  bytes: Uint8Array,
  type: string,
  limits: ArchiveLimits,
  passwords: readonly string[],
): Promise<ArchiveReading> {
  const gauge = createGauge(bytes.length, limits, passwords);
  const reader = READERS.get(type);
  if (reader === undefined) gauge.flag("archive_unreadable");
  else await reader(bytes, gauge);
  return gauge.done();
}
