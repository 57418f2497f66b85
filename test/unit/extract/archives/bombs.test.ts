import { describe, expect, test } from "bun:test";
import { crc32, createGzip, deflateRawSync, zstdCompressSync } from "node:zlib";
import fc from "fast-check";
import { isArchive, readArchive } from "../../../../src/extract/archives/archive.ts";
import type { ArchiveLimits, ArchiveReading } from "../../../../src/extract/archives/gauge.ts";
import { cpuNow } from "../clock.ts";
import { LIMITS, makeRar5, makeWithSevenZip, makeZip, read, tarEntry } from "./make.ts";

const MB = 1024 * 1024;
const ZIP = "application/zip";

/** Reads within a time and says that no bound was passed. */
async function bounded(
  bytes: Uint8Array,
  type: string,
  seconds: number,
  limits: Partial<ArchiveLimits> = {},
): Promise<ArchiveReading> {
  const begin = cpuNow();
  const reading = await read(bytes, type, [], limits);
  expect(cpuNow() - begin).toBeLessThan(seconds * 1000);
  const all = { ...LIMITS, ...limits };
  expect(reading.inner.reduce((total, inner) => total + inner.bytes.length, 0)).toBeLessThanOrEqual(
    all.bytes,
  );
  expect(reading.inner.length).toBeLessThanOrEqual(all.inner);
  expect(reading.members.length).toBeLessThanOrEqual(all.inner);
  return reading;
}

function gzipOfZeros(length: number): Promise<Buffer> {
  return new Promise((resolve) => {
    const pieces: Buffer[] = [];
    const engine = createGzip({ level: 1 });
    engine.on("data", (piece: Buffer) => pieces.push(piece));
    engine.on("end", () => resolve(Buffer.concat(pieces)));
    const zeros = Buffer.alloc(MB);
    for (let left = length; left > 0; left -= MB) engine.write(zeros);
    engine.end();
  });
}

describe("bombs", () => {
  test("a gigabyte of zeros in gzip and zstd gives its beginning", async () => {
    const gzip = await bounded(await gzipOfZeros(1024 * MB), "application/gzip", 3);
    expect(gzip.flags.toSorted()).toEqual(["archive_member_cut", "inner_bytes_exceeded"]);
    expect(gzip.cut).toEqual([0]);
    const frame = zstdCompressSync(Buffer.alloc(64 * MB));
    const zstd = await bounded(Buffer.concat(Array.from({ length: 16 }, () => frame)), "application/zstd", 3);
    expect(zstd.flags.toSorted()).toEqual(["archive_member_cut", "archive_ratio_exceeded"]);
    expect(zstd.inner[0]?.bytes.length).toBeGreaterThan(MB);
  });

  test("half a gigabyte of zeros by 7-Zip", async () => {
    const zeros = Buffer.alloc(48 * MB);
    for (const [format, type] of [
      ["bzip2", "application/x-bzip2"],
      ["xz", "application/x-xz"],
      ["7z", "application/x-7z-compressed"],
    ] as const) {
      const one = await makeWithSevenZip({ zeros }, [`-t${format}`, "-mx1"]);
      const bytes = format === "7z" ? one : Buffer.concat(Array.from({ length: 10 }, () => one));
      const reading = await bounded(bytes, type, 5);
      expect(reading.flags.toSorted()).toEqual(["archive_member_cut", "archive_ratio_exceeded"]);
    }
  });

  test("what is small beside a bomb is given", async () => {
    const made = await makeWithSevenZip({ a: Buffer.alloc(24 * MB), "b.txt": "small" }, [
      "-t7z",
      "-mx1",
      "-ms=off",
    ]);
    const reading = await bounded(made, "application/x-7z-compressed", 5);
    expect(reading.inner.map((inner) => inner.name).toSorted()).toEqual(["a", "b.txt"]);
    const zipped = await makeWithSevenZip({ a: Buffer.alloc(24 * MB), "b.txt": "small" }, ["-tzip"]);
    expect((await bounded(zipped, ZIP, 2)).inner.map((inner) => inner.name)).toEqual(["a", "b.txt"]);
  });

  test("members that share their bytes", async () => {
    const plain = Buffer.alloc(8 * MB);
    const kernel = { data: deflateRawSync(plain), method: 8, crc: crc32(plain), size: plain.length };
    const members = Array.from({ length: 500 }, (_, index) => ({
      name: `${index}`,
      ...kernel,
      ...(index === 0 ? {} : { at: 0, localName: "0" }),
    }));
    const reading = await bounded(makeZip(members), ZIP, 3);
    expect(reading.flags).toContain("archive_ratio_exceeded");
    expect(reading.flags).toContain("archive_overlap");
    expect(reading.members).toHaveLength(500);
  });

  test("a million members", async () => {
    const one = makeZip([{ name: "a", data: Buffer.from("1") }]);
    const directory = one.indexOf("PK\x01\x02");
    const central = one.subarray(directory, one.length - 22);
    const end = Buffer.from(one.subarray(-22));
    end.writeUInt32LE(central.length * 1_000_000, 12);
    const reading = await bounded(
      Buffer.concat([one.subarray(0, directory), Buffer.alloc(central.length * 1_000_000, central), end]),
      ZIP,
      2,
    );
    expect(reading.flags).toContain("archive_members_exceeded");
    const local = one.subarray(0, directory);
    const locals = await bounded(Buffer.alloc(local.length * 1_000_000, local), ZIP, 2);
    expect(locals.inner).toHaveLength(LIMITS.inner);
    expect(locals.flags).toContain("archive_members_exceeded");
    const tar = await bounded(Buffer.alloc(100 * MB, tarEntry("a", Buffer.alloc(0))), "application/x-tar", 2);
    expect(tar.flags).toContain("archive_members_exceeded");
    const files = Object.fromEntries(Array.from({ length: 20_000 }, (_, index) => [`f${index}`, ""]));
    const rar = await bounded(makeRar5(files), "application/x-rar-compressed", 3);
    expect(rar.flags).toContain("archive_members_exceeded");
  });

  test("a dictionary larger than the memory", async () => {
    const made = Buffer.from(
      await makeWithSevenZip({ a: "x".repeat(100_000) }, ["-t7z", "-m0=lzma", "-mhc=off"]),
    );
    // Properties of LZMA in the header: lc, lp, pb in one byte, then the size of the dictionary.
    const at = made.indexOf(Buffer.from([0x03, 0x01, 0x01, 0x05, 0x5d]));
    expect(at).toBeGreaterThan(0);
    made.writeUInt32LE(0xf0000000, at + 5);
    const sum = crc32(made.subarray(32 + Number(made.readBigUInt64LE(12))));
    made.writeUInt32LE(sum, 28);
    made.writeUInt32LE(crc32(made.subarray(12, 32)), 8);
    const reading = await bounded(made, "application/x-7z-compressed", 2);
    expect(reading.inner).toEqual([]);
    expect(reading.flags).toContain("archive_too_costly");
  });

  test("the time is kept", async () => {
    const made = await makeWithSevenZip({ a: "content" }, ["-t7z", "-psecret"]);
    const guesses = Array.from({ length: 1000 }, (_, index) => `guess${index}`);
    const begin = cpuNow();
    const reading = await read(made, "application/x-7z-compressed", guesses, { seconds: 2 });
    expect(cpuNow() - begin).toBeLessThan(5000);
    // On a busy machine nothing is left behind the passwords, which is a flag of its own.
    expect(reading.flags).toEqual(
      expect.arrayContaining(["archive_encrypted", "archive_passwords_exceeded"]),
    );
    const over = await read(made, "application/x-7z-compressed", [], { seconds: () => 0 });
    expect(over.flags).toEqual(["archive_too_slow"]);
  });

  test("repetitive archives that are small are no bombs", async () => {
    const plain = Buffer.alloc(10 * MB, "all work and no play ");
    const reading = await bounded(
      makeZip([{ name: "a", data: deflateRawSync(plain), method: 8, crc: crc32(plain), size: plain.length }]),
      ZIP,
      1,
    );
    expect(reading.flags).toEqual([]);
  });
});

describe("whatever the bytes are", () => {
  const TYPES = [
    "application/zip",
    "application/gzip",
    "application/zstd",
    "application/x-lz4",
    "application/x-tar",
    "application/x-7z-compressed",
    "application/x-rar-compressed",
    "application/vnd.ms-cab-compressed",
    "application/x-xz",
    "application/x-bzip2",
    "application/x-iso9660-image",
    "application/x-arj",
    "application/x-lzh-compressed",
    "application/vnd.ms-htmlhelp",
    "application/x-ms-wim",
    "application/x-vhdx",
  ];

  test("no bytes make a reader throw or pass its bounds", async () => {
    const seeds: readonly Uint8Array[] = [
      makeZip([
        { name: "a", data: Buffer.from("first") },
        { name: "b", data: deflateRawSync("second".repeat(50)), method: 8 },
      ]),
      makeRar5({ a: "first", b: "second" }),
      zstdCompressSync("text".repeat(100)),
      Buffer.concat([tarEntry("a", Buffer.from("1")), tarEntry("b", Buffer.from("2"))]),
      await makeWithSevenZip({ a: "first", b: "second" }, ["-t7z"]),
      await makeWithSevenZip({ a: "first", b: "second" }, ["-tzip", "-psecret"]),
      await makeWithSevenZip({ a: "first" }, ["-txz"]),
    ];
    const limits: ArchiveLimits = { bytes: 100_000, inner: 20, urls: 1, ratio: 10, seconds: 5 };
    await fc.assert(
      fc.asyncProperty(
        fc.oneof(fc.constantFrom(...seeds), fc.uint8Array({ maxLength: 2000 })),
        fc.array(fc.tuple(fc.nat(5000), fc.nat(255)), { maxLength: 12 }),
        fc.nat(5000),
        fc.constantFrom(...TYPES),
        async (seed, changes, cut, type) => {
          const bytes = Buffer.from(seed).subarray(0, Math.max(1, seed.length - (cut % 2 === 0 ? 0 : cut)));
          for (const [at, value] of changes) bytes[at % bytes.length] = value;
          const reading = await readArchive(bytes, type, limits, ["secret"]);
          expect(reading.inner.length).toBeLessThanOrEqual(limits.inner);
          expect(reading.members.length).toBeLessThanOrEqual(limits.inner);
          const total = reading.inner.reduce((sum, inner) => sum + inner.bytes.length, 0);
          expect(total).toBeLessThanOrEqual(limits.bytes);
        },
      ),
      { numRuns: 400 },
    );
  });

  test("time grows in proportion to the bytes", async () => {
    const shapes: Readonly<Record<string, readonly [string, string]>> = {
      "local headers": [
        "application/zip",
        "PK\x03\x04\x14\0\0\0\x08\0aaaabbbb\xff\xff\0\0\xff\xff\0\0\x01\0\0\0a\x01",
      ],
      "stored headers": ["application/zip", "PK\x03\x04\x14\0\x08\0\0\0aaaabbbb\0\0\0\0\0\0\0\0\x01\0\0\0a"],
      "end records": ["application/zip", "PK\x05\x06\0\0\0\0\x01\0\x01\0\x2e\0\0\0\0\0\0\0\0\0"],
      "directory entries": ["application/zip", "PK\x01\x02"],
      "gzip headers": ["application/gzip", "\x1f\x8b\x08\x08\0\0\0\0\0\0a"],
      "gzip members": ["application/gzip", "\x1f\x8b\x08\0\0\0\0\0\0\x03\x03\0\0\0\0\0\0\0\0\0"],
      "zstd frames": ["application/zstd", "\x28\xb5\x2f\xfd\x20\0\x01\0\0"],
      "lz4 frames": ["application/x-lz4", "\x04\x22\x4d\x18\x60\x40\x82\0\0\0\0"],
    };
    for (const [name, [type, unit]] of Object.entries(shapes)) {
      expect(isArchive(type)).toBe(true);
      const times: number[] = [];
      for (const size of [64, 256, 1024]) {
        const bytes = Buffer.alloc(size * 1024, unit, "latin1");
        const begin = cpuNow();
        await read(bytes, type, ["guess"]);
        times.push(cpuNow() - begin);
      }
      const [, middle = 0, large = 0] = times;
      // Four times the bytes; the rest is for a busy machine.
      expect({ name, slow: large > 100 && large > middle * 12 }).toEqual({ name, slow: false });
      expect({ name, slow: large > 3000 }).toEqual({ name, slow: false });
    }
  });
});
