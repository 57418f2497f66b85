import { describe, expect, test } from "bun:test";
import { crc32, deflateRawSync, zstdCompressSync } from "node:zlib";
import { zipSync } from "fflate";
import { cpuNow } from "../clock.ts";
import { bytesOf, contents, makeWithSevenZip, makeZip, read, type ZipMember } from "./make.ts";

const ZIP = "application/zip";

function stored(name: string | Uint8Array, content: string, changes: Partial<ZipMember> = {}): ZipMember {
  return { name, data: bytesOf(content), ...changes };
}

function deflated(name: string, content: string, changes: Partial<ZipMember> = {}): ZipMember {
  const plain = bytesOf(content);
  return { name, data: deflateRawSync(plain), method: 8, crc: crc32(plain), size: plain.length, ...changes };
}

describe("ordinary zip archives", () => {
  test("stored and deflated members in order, without flags", async () => {
    const made = zipSync({
      "a.txt": [bytesOf("first"), { level: 0 }],
      "d/b.txt": bytesOf("second".repeat(100)),
    });
    const reading = await read(made, ZIP);
    expect(contents(reading)).toEqual(["a.txt=first", `d/b.txt=${"second".repeat(100)}`]);
    expect(reading.flags).toEqual([]);
    expect(reading.facts).toEqual([]);
    expect(reading.members).toEqual([
      { name: "a.txt", size: 5, encrypted: false },
      { name: "d/b.txt", size: 600, encrypted: false },
    ]);
  });

  test("an empty archive and one with a comment", async () => {
    expect(await read(makeZip([]), ZIP)).toMatchObject({ inner: [], flags: [] });
    const reading = await read(
      makeZip([stored("a", "1")], { comment: "a comment of some length".repeat(9) }),
      ZIP,
    );
    expect(contents(reading)).toEqual(["a=1"]);
    expect(reading.flags).toEqual([]);
  });

  test("rare methods go through 7-Zip, zstd too", async () => {
    const content = "packed by a rare method ".repeat(50);
    for (const method of ["Deflate64", "BZip2", "LZMA", "PPMd"]) {
      const made = await makeWithSevenZip({ "a.txt": content }, ["-tzip", `-mm=${method}`]);
      const reading = await read(made, ZIP);
      expect(contents(reading)).toEqual([`a.txt=${content}`]);
      expect(reading.flags).toEqual([]);
    }
    const plain = bytesOf(content);
    const zstd = {
      name: "z",
      data: zstdCompressSync(plain),
      method: 93,
      crc: crc32(plain),
      size: plain.length,
    };
    expect(contents(await read(makeZip([zstd]), ZIP))).toEqual([`z=${content}`]);
    const unknown = await read(makeZip([stored("a", "1", { method: 77 })]), ZIP);
    expect(unknown.flags).toContain("archive_method_unknown");
    expect(unknown.members).toHaveLength(1);
  });

  test("names: UTF-8, code page 437, the Unicode path field", async () => {
    const extra = (raw: string, name: string): Buffer => {
      const path = Buffer.from(name);
      const field = Buffer.alloc(9);
      field.writeUInt16LE(0x7075, 0);
      field.writeUInt16LE(5 + path.length, 2);
      field[4] = 1;
      field.writeUInt32LE(crc32(Buffer.from(raw)), 5);
      return Buffer.concat([field, path]);
    };
    const reading = await read(
      makeZip([
        stored("ü.txt", "1", { flags: 0x800 }),
        stored(Buffer.from([0x81, 0x2e, 0x74, 0x78, 0x74]), "2"),
        stored("_.txt", "3", { extra: extra("_.txt", "名.txt") }),
        stored("_.txt", "4", { extra: extra("other", "名.txt") }),
        stored("a.txt", "5", { extra: extra("a.txt", "a.exe") }),
      ]),
      ZIP,
    );
    expect(contents(reading)).toEqual(["ü.txt=1", "ü.txt=2", "名.txt=3", "_.txt=4", "a.exe=5", "a.txt=5"]);
    expect(reading.flags).toEqual(["archive_ambiguous"]);
  });
});

describe("hostile zip archives", () => {
  test("names that differ, and end differently, are both given", async () => {
    const reading = await read(makeZip([stored("bill.pdf", "1", { localName: "bill.exe" })]), ZIP);
    expect(contents(reading)).toEqual(["bill.pdf=1", "bill.exe=1"]);
    expect(reading.flags).toEqual(["archive_ambiguous"]);
    const nul = await read(makeZip([stored("bill.exe\0.pdf", "1")]), ZIP);
    expect(contents(nul)).toEqual(["bill.exe\0.pdf=1", "bill.exe=1"]);
    expect(nul.flags).toEqual(["archive_ambiguous", "archive_hostile_name"]);
  });

  test("names that leave the folder", async () => {
    for (const name of ["../../a", "/a", "C:\\a", "..\\a", "a/../../b", "\\\\server\\a"]) {
      const reading = await read(makeZip([stored(name, "1")]), ZIP);
      expect(contents(reading)).toEqual([`${name}=1`]);
      expect(reading.flags).toEqual(["archive_hostile_name"]);
    }
  });

  test("a member that no directory names", async () => {
    const reading = await read(
      makeZip([stored("a", "1"), deflated("b", "hidden", { hidden: true }), stored("c", "3")]),
      ZIP,
    );
    expect(contents(reading)).toEqual(["a=1", "c=3", "b=hidden"]);
    expect(reading.flags).toEqual(["archive_ambiguous"]);
  });

  test("a directory that claims nothing, or too much", async () => {
    const none = await read(makeZip([stored("a", "1", { hidden: true })]), ZIP);
    expect(contents(none)).toEqual(["a=1"]);
    expect(none.flags).toEqual(["archive_ambiguous"]);
    const lie = await read(makeZip([stored("a", "1"), stored("b", "2")], { count: 1 }), ZIP);
    expect(contents(lie)).toEqual(["a=1", "b=2"]);
    expect(lie.flags).toEqual(["archive_ambiguous"]);
  });

  test("no directory at all", async () => {
    const whole = makeZip([stored("a", "1"), deflated("b", "second ".repeat(50))]);
    const reading = await read(whole.subarray(0, whole.indexOf("PK\x01\x02")), ZIP);
    expect(contents(reading)).toEqual(["a=1", `b=${"second ".repeat(50)}`]);
    expect(reading.flags).toEqual(["archive_damaged"]);
  });

  test("two archives in one file, and other data around", async () => {
    const two = await read(Buffer.concat([makeZip([stored("a", "1")]), makeZip([stored("b", "2")])]), ZIP);
    expect(contents(two)).toEqual(["b=2", "a=1"]);
    expect(two.flags).toContain("archive_ambiguous");
    const around = Buffer.concat([
      Buffer.alloc(300, "x"),
      makeZip([stored("a", "1")]),
      Buffer.alloc(200, "y"),
    ]);
    const reading = await read(around, ZIP);
    expect(contents(reading)).toEqual(["a=1", `null=${"y".repeat(200)}`]);
    expect(reading.flags).toEqual(["archive_data_around"]);
  });

  test("an end record in the comment that points to another directory", async () => {
    const other = makeZip([stored("evil", "2")]);
    const first = makeZip([stored("good", "1")], { comment: other.toString("latin1") });
    expect(contents(await read(first, ZIP)).toSorted()).toEqual(["evil=2", "good=1"]);
  });

  test("sizes that lie", async () => {
    const short = await read(makeZip([deflated("a", "content ".repeat(40), { packed: 5 })]), ZIP);
    expect(contents(short)).toEqual([`a=${"content ".repeat(40)}`]);
    expect(short.flags).toEqual(["archive_ambiguous"]);
    const differ = await read(
      makeZip([
        stored("a", "first, and more", {
          packed: 5,
          localPacked: 15,
          crc: crc32("first"),
          localCrc: crc32("first, and more"),
        }),
      ]),
      ZIP,
    );
    expect(contents(differ)).toEqual(["a=first", "a=first, and more"]);
    expect(differ.flags).toEqual(["archive_ambiguous"]);
    const far = await read(makeZip([stored("a", "1", { packed: 0x7fffffff, size: 0x7fffffff })]), ZIP);
    expect(far.inner).toHaveLength(1);
    expect(far.flags).toContain("archive_damaged");
  });

  test("methods that differ give both readings where both make sense", async () => {
    const packed = deflateRawSync(bytesOf("inside"));
    const member = {
      name: "a",
      data: packed,
      method: 0,
      localMethod: 8,
      crc: crc32(packed),
      localCrc: crc32("inside"),
      size: packed.length,
      localSize: 6,
    };
    const reading = await read(makeZip([member]), ZIP);
    expect(contents(reading)).toEqual([`a=${packed.toString("latin1")}`, "a=inside"]);
    expect(reading.flags).toEqual(["archive_ambiguous"]);
  });

  test("a wrong checksum", async () => {
    const reading = await read(makeZip([stored("a", "1", { crc: 5 })]), ZIP);
    expect(contents(reading)).toEqual(["a=1"]);
    expect(reading.flags).toEqual(["archive_damaged"]);
  });

  test("data descriptors, also of stored members", async () => {
    const descriptor = (content: string, packed: number): Buffer => {
      const bytes = Buffer.alloc(16);
      bytes.write("PK\x07\x08", "latin1");
      bytes.writeUInt32LE(crc32(content), 4);
      bytes.writeUInt32LE(packed, 8);
      bytes.writeUInt32LE(content.length, 12);
      return bytes;
    };
    const blank = { flags: 8, localPacked: 0, localSize: 0, localCrc: 0 };
    const members = [
      stored("a", "stored content", { ...blank, after: descriptor("stored content", 14) }),
      deflated("b", "packed content", { ...blank }),
    ];
    const whole = makeZip(members);
    for (const bytes of [whole, whole.subarray(0, whole.indexOf("PK\x01\x02"))]) {
      expect(contents(await read(bytes, ZIP))).toEqual(["a=stored content", "b=packed content"]);
    }
    expect((await read(whole, ZIP)).flags).toEqual([]);
  });

  test("a flag of encryption that is not true", async () => {
    const reading = await read(makeZip([deflated("a", "in clear", { flags: 1, localFlags: 1 })]), ZIP, ["x"]);
    expect(contents(reading)).toEqual(["a=in clear"]);
    expect(reading.flags).toEqual(["archive_ambiguous"]);
    expect(reading.encrypted).toBe("no");
  });

  test("zip64", async () => {
    const extra = Buffer.alloc(20);
    extra.writeUInt16LE(1, 0);
    extra.writeUInt16LE(16, 2);
    extra.writeBigUInt64LE(7n, 4);
    extra.writeBigUInt64LE(7n, 12);
    const large = { packed: 0xffffffff, size: 0xffffffff, crc: crc32("content"), extra };
    const plain = makeZip([stored("a", "content", large)]);
    expect(contents(await read(plain, ZIP))).toEqual(["a=content"]);
    const end = plain.length - 22;
    const record = Buffer.alloc(56 + 20);
    record.writeUInt32LE(0x06064b50, 0);
    record.writeBigUInt64LE(44n, 4);
    record.writeBigUInt64LE(1n, 32);
    record.writeBigUInt64LE(BigInt(plain.readUInt32LE(end + 12)), 40);
    record.writeBigUInt64LE(BigInt(plain.readUInt32LE(end + 16)), 48);
    record.writeUInt32LE(0x07064b50, 56);
    record.writeBigUInt64LE(BigInt(end), 64);
    const tail = Buffer.from(plain.subarray(end));
    tail.fill(0xff, 8, 20);
    const reading = await read(Buffer.concat([plain.subarray(0, end), record, tail]), ZIP);
    expect(contents(reading)).toEqual(["a=content"]);
    expect(reading.flags).toEqual([]);
  });
});

describe("encrypted zip archives", () => {
  const files = { "a.txt": "first content", "b.txt": "second content ".repeat(20) };
  const both = ["a.txt=first content", `b.txt=${"second content ".repeat(20)}`];
  for (const method of ["ZipCrypto", "AES128", "AES192", "AES256"]) {
    test(method, async () => {
      const made = await makeWithSevenZip(files, ["-tzip", `-mem=${method}`, "-pS3cret!"]);
      const reading = await read(made, ZIP, ["no", "S3cret", "S3cret!", "neither"]);
      expect(contents(reading)).toEqual(both);
      expect(reading).toMatchObject({
        password: "S3cret!",
        encrypted: "opened",
        flags: [],
        facts: ["encrypted"],
      });
      const closed = await read(made, ZIP, ["no", "S3cret"]);
      expect(closed).toMatchObject({
        inner: [],
        password: null,
        encrypted: "closed",
        flags: ["archive_encrypted"],
      });
      expect(closed.members).toEqual([
        { name: "a.txt", size: 13, encrypted: true },
        { name: "b.txt", size: 300, encrypted: true },
      ]);
      const changed = Buffer.from(made);
      changed[50] = (changed[50] ?? 0) ^ 1;
      expect((await read(changed, ZIP, ["S3cret!"])).encrypted).toBe("closed");
    });
  }

  test("thousands of candidates are tried in little time", async () => {
    const candidates = [...Array.from({ length: 2000 }, (_, index) => `guess${index}`), "right"];
    for (const [method, seconds] of [
      ["ZipCrypto", 1],
      ["AES256", 10],
    ] as const) {
      const made = await makeWithSevenZip(files, ["-tzip", `-mem=${method}`, "-pright"]);
      const begin = cpuNow();
      expect((await read(made, ZIP, candidates)).password).toBe("right");
      expect(cpuNow() - begin).toBeLessThan(seconds * 1000);
    }
  });
});
