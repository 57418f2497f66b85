import { describe, expect, test } from "bun:test";
import { crc32, gzipSync, zstdCompressSync } from "node:zlib";
import { isArchive } from "../../../../src/extract/archives/archive.ts";
import { cpuNow } from "../clock.ts";
import {
  contents,
  type Files,
  makeCab,
  makeFat,
  makeIso,
  makeRar4,
  makeRar5,
  makeVhd,
  makeWithSevenZip,
  read,
  tarEntry,
} from "./make.ts";

const FILES: Files = { "a.txt": "first content", "b.txt": "second content, a little longer" };
const BOTH = ["a.txt=first content", "b.txt=second content, a little longer"];

describe("archives read by 7-Zip", () => {
  const cases: readonly (readonly [string, string, () => Uint8Array | Promise<Uint8Array>])[] = [
    ["7z", "application/x-7z-compressed", () => makeWithSevenZip(FILES, ["-t7z"])],
    ["7z, not solid", "application/x-7z-compressed", () => makeWithSevenZip(FILES, ["-t7z", "-ms=off"])],
    ["wim", "application/x-ms-wim", () => makeWithSevenZip(FILES, ["-twim"])],
    ["rar 5", "application/x-rar-compressed", () => makeRar5(FILES)],
    ["rar 4", "application/x-rar-compressed", () => makeRar4(FILES)],
    ["cab", "application/vnd.ms-cab-compressed", () => makeCab(FILES)],
    ["ar", "application/x-unix-archive", makeAr],
    ["cpio", "application/x-cpio", makeCpio],
  ];
  for (const [name, type, make] of cases) {
    test(name, async () => {
      const reading = await read(await make(), type);
      expect(contents(reading)).toEqual(BOTH);
      expect(reading.flags).toEqual([]);
      expect(reading.encrypted).toBe("no");
      expect(reading.members.map((member) => member.name)).toEqual(["a.txt", "b.txt"]);
    });
  }

  test("images of disks give the files of the file system in them", async () => {
    const upper = ["A.TXT=first content", "B.TXT=second content, a little longer"];
    const iso = await read(
      makeIso({ "A.TXT;1": "first content", "B.TXT;1": BOTH[1]?.slice(6) ?? "" }),
      "application/x-iso9660-image",
    );
    expect(contents(iso)).toEqual(upper);
    expect(contents(await read(makeFat(FILES), "application/x-raw-disk-image"))).toEqual(upper);
    expect(contents(await read(makeVhd(makeFat(FILES)), "application/x-vhd"))).toEqual(upper);
  });

  test("what is none is unreadable, and nothing is given", async () => {
    for (const type of ["application/x-7z-compressed", "application/x-rar-compressed", "application/x-vhd"]) {
      const reading = await read(Buffer.from("no archive at all, only a text".repeat(20)), type);
      expect(reading.flags).toContain("archive_unreadable");
      expect(reading.inner).toEqual([]);
    }
  });

  test("names that leave the folder are given as they are", async () => {
    const reading = await read(
      makeRar5({ "../../etc/x": "1", "/abs": "2", "a\nPath = b": "3" }),
      "application/x-rar-compressed",
    );
    expect(contents(reading)).toEqual(["../../etc/x=1", "/abs=2", "a_Path = b=3"]);
    expect(reading.flags).toContain("archive_hostile_name");
  });

  test("two members of one name give both", async () => {
    const one = makeRar5({ x: "1" });
    const two = makeRar5({ x: "2" });
    // Without the end of the first and the beginning of the second.
    const joined = Buffer.concat([one.subarray(0, -8), two.subarray(16)]);
    expect(contents(await read(joined, "application/x-rar-compressed"))).toEqual(["x=1", "x=2"]);
  });

  test("what follows an archive is given, padding is not", async () => {
    const made = makeRar5({ a: "1" });
    const reading = await read(Buffer.concat([made, Buffer.alloc(99, "x")]), "application/x-rar-compressed");
    expect(contents(reading)).toEqual(["a=1", `null=${"x".repeat(99)}`]);
    expect(reading.flags).toEqual(["archive_data_around"]);
    const padded = await read(Buffer.concat([made, Buffer.alloc(99)]), "application/x-rar-compressed");
    expect(padded.flags).toEqual([]);
    const cut = await read(makeRar5({ a: "1".repeat(999) }).subarray(0, 500), "application/x-rar-compressed");
    expect(cut.inner).toHaveLength(1);
    expect(cut.flags).toEqual(["archive_damaged"]);
  });

  test("a broken archive gives what comes before the break", async () => {
    const whole = await makeWithSevenZip({ "a.txt": "x".repeat(1000), "b.bin": noise(50_000) }, [
      "-t7z",
      "-ms=off",
      "-mx0",
    ]);
    const broken = Buffer.from(whole);
    broken.fill(0, 20_000, 20_100);
    const reading = await read(broken, "application/x-7z-compressed");
    expect(reading.inner).toHaveLength(2);
    expect(reading.flags).toContain("archive_damaged");
  });
});

describe("encrypted archives of 7-Zip", () => {
  test("the candidate that opens is told", async () => {
    for (const args of [["-t7z"], ["-t7z", "-mhe=on"], ["-t7z", "-mx0"], ["-t7z", "-ms=off"]]) {
      const bytes = await makeWithSevenZip(FILES, [...args, "-pgeheim ü"]);
      const reading = await read(bytes, "application/x-7z-compressed", ["no", "geheim ü", "neither"]);
      expect(contents(reading)).toEqual(BOTH);
      expect(reading.password).toBe("geheim ü");
      expect(reading.encrypted).toBe("opened");
      expect(reading.facts).toContain("encrypted");
      expect(reading.flags).toEqual([]);
    }
  });

  test("a list of one name, which is encrypted without being packed", async () => {
    const bytes = await makeWithSevenZip({ a: "MZ" }, ["-t7z", "-mhe=on", "-psecret"]);
    const type = "application/x-7z-compressed";
    const opened = await read(bytes, type, ["no", "secret"]);
    expect(opened).toMatchObject({ password: "secret", encrypted: "opened", flags: [] });
    expect(contents(opened)).toEqual(["a=MZ"]);
    const closed = await read(bytes, type, ["no"]);
    expect(closed).toMatchObject({ inner: [], encrypted: "closed", flags: ["archive_encrypted"] });
    expect(closed.facts).toContain("encrypted_names");
  });

  test("rar, with and without encrypted names", async () => {
    for (const names of [false, true]) {
      const bytes = makeRar5(FILES, { password: "pä55", rounds: 10, names });
      const reading = await read(bytes, "application/x-rar-compressed", ["no", "pä55"]);
      expect(contents(reading)).toEqual(BOTH);
      expect(reading).toMatchObject({ password: "pä55", encrypted: "opened", flags: [] });
      const closed = await read(bytes, "application/x-rar-compressed", ["no"]);
      expect(closed).toMatchObject({ inner: [], encrypted: "closed", flags: ["archive_encrypted"] });
      expect(closed.members).toHaveLength(names ? 0 : 2);
    }
  });

  test("a key that takes very long is not made", async () => {
    for (const names of [false, true]) {
      const bytes = makeRar5({ a: "1" }, { password: "x", rounds: 10, names });
      // The rounds stand in front of the salt.
      const at = bytes.indexOf("0123456789abcdef") - 1;
      bytes[at] = 24;
      const start = names ? 8 : 16;
      bytes.writeUInt32LE(crc32(bytes.subarray(start + 4, start + 5 + (bytes[start + 4] ?? 0))), start);
      const begin = cpuNow();
      const reading = await read(bytes, "application/x-rar-compressed", ["x"]);
      expect(cpuNow() - begin).toBeLessThan(4000);
      expect(reading.flags).toContain("archive_too_costly");
      expect(reading.encrypted).toBe("closed");
    }
  });

  test("members in clear beside encrypted ones are given without a password", async () => {
    const plain = makeRar5({ "a.txt": "in clear" });
    const sealed = makeRar5({ "b.txt": "secret" }, { password: "right", rounds: 8, names: false });
    const joined = Buffer.concat([plain.subarray(0, -8), sealed.subarray(16)]);
    const closed = await read(joined, "application/x-rar-compressed", ["wrong"]);
    expect(contents(closed)).toEqual(["a.txt=in clear"]);
    expect(closed.flags).toEqual(["archive_encrypted"]);
    const opened = await read(joined, "application/x-rar-compressed", ["wrong", "right"]);
    expect(contents(opened)).toEqual(["a.txt=in clear", "b.txt=secret"]);
  });

  test("without the password the members are listed, or not even they", async () => {
    const listed = await makeWithSevenZip(FILES, ["-t7z", "-psecret"]);
    const closed = await read(listed, "application/x-7z-compressed", ["wrong"]);
    expect(closed.inner).toEqual([]);
    expect(closed.encrypted).toBe("closed");
    expect(closed.flags).toEqual(["archive_encrypted"]);
    expect(closed.members).toEqual([
      { name: "a.txt", size: 13, encrypted: true },
      { name: "b.txt", size: 31, encrypted: true },
    ]);
    const hidden = await makeWithSevenZip(FILES, ["-t7z", "-psecret", "-mhe=on"]);
    const names = await read(hidden, "application/x-7z-compressed", []);
    expect(names.members).toEqual([]);
    expect(names.facts).toEqual(["encrypted_names", "encrypted"]);
    expect(names.flags).toEqual(["archive_encrypted"]);
  });

  test("noise of a wrong key that looks like a damaged block is no damage of the archive", async () => {
    // One of some 300 archives: with no password, 7-Zip says "Data Error : #0" of it, and nothing of a password.
    const archive = Buffer.from(
      "N3q8ryccAASZesT6pwAAAAAAAAAhAAAAAAAAAPPshB/CHZqoNgUmmIwtxl80bN6oP6LZBTmXaK2VIsZoW2sgGg2RTgw1g8PI6aU9" +
        "XBbLqsAAAIEzB64P0QDUPKCKabDjxAD69FhUvheMO64kXG/AONbpLMaUxHvlqGJibM/awpXQimmSIt4wJ+cyXp6Hi15fcq6BE/WJ" +
        "/hf7oI27ew1mB9ZNEioI8nUHj9YmMg/XlOeweidseWpWw/wC23656Tbvbdx0JQAAABcGMAEJdwAHCwEAASMDAQEFXQAQAAAMgI4K" +
        "AbYqUgcAAA==",
      "base64",
    );
    const reading = await read(archive, "application/x-7z-compressed", []);
    expect(reading.encrypted).toBe("closed");
    expect(reading.flags).toEqual(["archive_encrypted"]);
  });
});

describe("packed streams", () => {
  const text = "one line of a text\n".repeat(500);
  test("bzip2, xz, and concatenated ones", async () => {
    for (const [format, type] of [
      ["bzip2", "application/x-bzip2"],
      ["xz", "application/x-xz"],
    ] as const) {
      const packed = await makeWithSevenZip({ "t.txt": text }, [`-t${format}`]);
      const [inner] = (await read(packed, type)).inner;
      expect(Buffer.from(inner?.bytes ?? []).toString()).toBe(text);
      const twice = await read(Buffer.concat([packed, packed]), type);
      expect(Buffer.from(twice.inner[0]?.bytes ?? []).toString()).toBe(text + text);
      const cut = await read(packed.subarray(0, packed.length - 20), type);
      expect(cut.flags.length).toBeGreaterThan(0);
    }
  });

  test("gzip: name, several members, what follows", async () => {
    const plain = gzipSync(text);
    const named = Buffer.concat([
      Buffer.from([0x1f, 0x8b, 8, 8]),
      plain.subarray(4, 10),
      Buffer.from("n.js\0"),
      plain.subarray(10),
    ]);
    const reading = await read(
      Buffer.concat([named, plain, Buffer.from("hidden behind the stream")]),
      "application/gzip",
    );
    expect(reading.inner.map((inner) => inner.name)).toEqual(["n.js", null]);
    expect(Buffer.from(reading.inner[0]?.bytes ?? []).toString()).toBe(text + text);
    expect(contents(reading)[1]).toBe("null=hidden behind the stream");
    expect(reading.flags).toEqual(["archive_data_around"]);
    const padded = await read(Buffer.concat([plain, Buffer.alloc(1000)]), "application/gzip");
    expect(padded.flags).toEqual([]);
    const cut = await read(gzipSync(noise(100_000)).subarray(0, 50_000), "application/gzip");
    expect(cut.flags).toEqual(["archive_damaged"]);
    expect(cut.inner[0]?.bytes.length).toBeGreaterThan(40_000);
  });

  test("zstd: frames, skippable frames, cut off", async () => {
    const frame = zstdCompressSync(text);
    const skipped = Buffer.from("502a4d1804000000deadbeef", "hex");
    const reading = await read(Buffer.concat([skipped, frame, skipped, frame]), "application/zstd");
    expect(Buffer.from(reading.inner[0]?.bytes ?? []).toString()).toBe(text + text);
    expect(reading.flags).toEqual([]);
    const big = zstdCompressSync(noise(1_000_000));
    const cut = await read(big.subarray(0, 500_000), "application/zstd");
    expect(cut.flags).toEqual(["archive_damaged"]);
  });

  test("lz4", async () => {
    // Frame without content size, one block: a literal run, then a match that repeats it.
    const block = Buffer.from([0x4f, ...Buffer.from("abcd"), 4, 0, 17, 0x50, ...Buffer.from("abcde")]);
    const frame = Buffer.concat([
      Buffer.from("04224d186040", "hex"),
      Buffer.from([0x82, block.length, 0, 0, 0]),
      block,
      Buffer.alloc(4),
    ]);
    const reading = await read(frame, "application/x-lz4");
    expect(contents(reading)).toEqual([`null=${"abcd".repeat(10)}abcde`]);
    expect(reading.flags).toEqual([]);
  });
});

describe("tar", () => {
  const end = Buffer.alloc(1024);
  test("ustar, long names of GNU and pax, folders and links left out", async () => {
    const long = `${"folder/".repeat(30)}name.exe`;
    const record = `path=${long}.pax\n`;
    const size = record.length + 1 + String(record.length + 4).length;
    const tar = Buffer.concat([
      tarEntry("a.txt", Buffer.from("first")),
      tarEntry("folder/", Buffer.alloc(0), "5"),
      tarEntry("link", Buffer.alloc(0), "2"),
      tarEntry("././@LongLink", Buffer.from(`${long}\0`), "L"),
      tarEntry("cut", Buffer.from("second")),
      tarEntry("pax", Buffer.from(`${size} ${record}`), "x"),
      tarEntry("cut", Buffer.from("third")),
      end,
    ]);
    const reading = await read(tar, "application/x-tar");
    expect(contents(reading)).toEqual(["a.txt=first", `${long}=second`, `${long}.pax=third`]);
    expect(reading.flags).toEqual([]);
  });

  test("a wrong checksum is read over, a size beyond the end gives what is there", async () => {
    const wrong = await read(
      Buffer.concat([tarEntry("a", Buffer.from("1"), "0", { sum: "000000\0 " }), end]),
      "application/x-tar",
    );
    expect(contents(wrong)).toEqual(["a=1"]);
    expect(wrong.flags).toEqual(["archive_damaged"]);
    const huge = await read(
      tarEntry("a", Buffer.from("1".repeat(512)), "0", { size: "77777777777\0" }),
      "application/x-tar",
    );
    expect(contents(huge)).toEqual([`a=${"1".repeat(512)}`]);
    expect(huge.flags).toEqual(["archive_damaged"]);
  });

  test("members behind the end are found, and other data there", async () => {
    const more = Buffer.concat([tarEntry("a", Buffer.from("1")), end, tarEntry("b", Buffer.from("2")), end]);
    const reading = await read(more, "application/x-tar");
    expect(contents(reading)).toEqual(["a=1", "b=2"]);
    expect(reading.flags).toEqual(["archive_ambiguous"]);
    const junk = await read(
      Buffer.concat([tarEntry("a", Buffer.from("1")), end, noise(1000)]),
      "application/x-tar",
    );
    expect(junk.inner).toHaveLength(2);
    expect(junk.flags).toEqual(["archive_data_around"]);
  });
});

test("documents that are zip archives inside are no archives", () => {
  expect(isArchive("application/zip")).toBe(true);
  expect(isArchive("application/x-msi")).toBe(false);
  expect(isArchive("application/vnd.openxmlformats-officedocument.wordprocessingml.document")).toBe(false);
});

function makeAr(): Buffer {
  const parts = Object.entries(FILES).map(([name, content]) => {
    const size = String(content.length).padEnd(10);
    const data = `${`${name}/`.padEnd(16)}${"0".padEnd(12)}0     0     100644  ${size}\`\n${content}`;
    return data.length % 2 === 0 ? data : `${data}\n`;
  });
  return Buffer.from(`!<arch>\n${parts.join("")}`);
}

function makeCpio(): Buffer {
  const entry = (name: string, content: string): Buffer => {
    const fields = [
      1,
      name === "TRAILER!!!" ? 0 : 0o100644,
      0,
      0,
      1,
      0,
      content.length,
      0,
      0,
      0,
      0,
      name.length + 1,
      0,
    ];
    const head = `070701${fields.map((field) => field.toString(16).padStart(8, "0")).join("")}${name}\0`;
    const pad = (text: string): string => text.padEnd(Math.ceil(text.length / 4) * 4, "\0");
    return Buffer.from(pad(head) + pad(content), "latin1");
  };
  return Buffer.concat([
    ...Object.entries(FILES).map(([name, content]) => entry(name, String(content))),
    entry("TRAILER!!!", ""),
  ]);
}

/** Bytes that do not pack, the same each time. */
function noise(length: number): Buffer {
  const bytes = Buffer.alloc(length);
  let state = 1;
  for (let index = 0; index < length; index++) {
    state = (Math.imul(state, 1103515245) + 12345) >>> 0;
    bytes[index] = state >>> 16;
  }
  return bytes;
}
