import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { COMPOUND_FLAGS, type Compound, openCompound } from "../../../../src/extract/ole/compound.ts";
import { type StoredStorage, writeCompound } from "../../../../src/extract/ole/write-compound.ts";
import { ascii, NO_CLSID, storage, stream } from "../outlook/writers.ts";

const CLSID = "00020d0b0000000c0000c00000000046".slice(0, 32);
const LONG = new Uint8Array(10_000).map((_, at) => at % 251);
const FILE = writeCompound(
  storage("", [
    stream("short", ascii("hello")),
    stream("empty", new Uint8Array(0)),
    stream("long", LONG),
    storage("Macros", [storage("VBA", [stream("dir", ascii("x".repeat(200)))], CLSID)]),
  ]),
);

function opened(bytes: Uint8Array): Compound {
  const compound = openCompound(bytes);
  if (!compound) throw new Error("no compound file");
  return compound;
}

function content(compound: Compound, ...path: readonly string[]): Uint8Array {
  const entry = compound.find(path);
  if (!entry) throw new Error(`no entry ${path.join("/")}`);
  return compound.read(entry, 1e9);
}

/** A copy with numbers of 32 bits written over. */
function patched(
  bytes: Uint8Array,
  ...changes: readonly (readonly [at: number, value: number])[]
): Uint8Array {
  const copy = bytes.slice();
  for (const [at, value] of changes) new DataView(copy.buffer).setUint32(at, value, true);
  return copy;
}

const u32 = (bytes: Uint8Array, at: number): number => new DataView(bytes.buffer).getUint32(at, true);
const sector = (number: number): number => (number + 1) * 512;

/** Where the entry of that name stands in the file. */
function entryAt(bytes: Uint8Array, name: string): number {
  const at = Buffer.from(bytes).indexOf(Buffer.from(`${name}\0`, "utf16le"));
  if (at % 128 !== 0) throw new Error(`no entry ${name}`);
  return at;
}

/** A file of version 4, whose sectors have 4,096 bytes: a table, a directory and one stream. */
function versionFour(text: Uint8Array): Uint8Array {
  const bytes = new Uint8Array(4096 * 4 + text.length);
  bytes.set(FILE.subarray(0, 32));
  const view = new DataView(bytes.buffer);
  view.setUint16(0x1a, 4, true);
  view.setUint16(0x1e, 12, true);
  view.setUint16(0x20, 6, true);
  for (const [at, value] of [
    [0x28, 1],
    [0x2c, 1],
    [0x30, 1],
    [0x38, 4096],
    [0x3c, 0xfffffffe],
    [0x44, 0xfffffffe],
  ] as const) {
    view.setUint32(at, value, true);
  }
  bytes.fill(0xff, 0x50, 512);
  bytes.fill(0xff, 4096, 8192);
  const sectors = Math.ceil(text.length / 4096);
  for (const [index, value] of [0xfffffffd, 0xfffffffe].entries())
    view.setUint32(4096 + index * 4, value, true);
  for (let index = 0; index < sectors; index++) {
    view.setUint32(4096 + (index + 2) * 4, index === sectors - 1 ? 0xfffffffe : index + 3, true);
  }
  const entry = (
    at: number,
    name: string,
    type: number,
    child: number,
    start: number,
    size: number,
  ): void => {
    bytes.set(Buffer.from(name, "utf16le"), at);
    view.setUint16(at + 0x40, name.length * 2 + 2, true);
    view.setUint8(at + 0x42, type);
    view.setUint32(at + 0x44, 0xffffffff, true);
    view.setUint32(at + 0x48, 0xffffffff, true);
    view.setUint32(at + 0x4c, child, true);
    view.setUint32(at + 0x74, start, true);
    view.setUint32(at + 0x78, size, true);
  };
  entry(8192, "Root Entry", 5, 1, 0xfffffffe, 0);
  entry(8192 + 128, "stream", 2, 0xffffffff, 2, text.length);
  bytes.set(text, 4096 * 3);
  return bytes;
}

describe("a compound file", () => {
  test("gives all entries with their paths, in any case of letters", () => {
    const compound = opened(FILE);
    expect(compound.entries.map(({ kind, name, path }) => [kind, ...path, name].join("/")).sort()).toEqual([
      "storage/Macros",
      "storage/Macros/VBA",
      "stream/Macros/VBA/dir",
      "stream/empty",
      "stream/long",
      "stream/short",
    ]);
    expect(content(compound, "SHORT")).toEqual(ascii("hello"));
    expect(content(compound, "long")).toEqual(LONG);
    expect(content(compound, "empty")).toHaveLength(0);
    expect(content(compound, "macros", "vba", "DIR")).toHaveLength(200);
    expect(compound.find(["Macros", "VBA"])?.clsid).toBe(CLSID);
    expect(compound.children(compound.find(["Macros"])).map(({ name }) => name)).toEqual(["VBA"]);
    expect(compound.children(null).map(({ name }) => name)).toEqual(["long", "empty", "short", "Macros"]);
    expect([...compound.flags]).toEqual([]);
  });

  test("gives as many bytes of a stream as are asked for", () => {
    const compound = opened(FILE);
    const long = compound.find(["long"]);
    if (!long) throw new Error("no entry");
    expect(compound.read(long, 700)).toEqual(LONG.subarray(0, 700));
    expect(compound.read(long, 0)).toHaveLength(0);
  });

  test("may have sectors of 4,096 bytes", () => {
    const text = new Uint8Array(9000).map((_, at) => at % 7);
    const compound = opened(versionFour(text));
    expect(content(compound, "stream")).toEqual(text);
    expect([...compound.flags]).toEqual([]);
  });

  test("may need sectors that list the sectors of its table", () => {
    const large = new Uint8Array(9_000_000).map((_, at) => at % 253);
    const compound = opened(writeCompound(storage("", [stream("large", large), stream("s", ascii("s"))])));
    expect(Buffer.compare(content(compound, "large"), large)).toBe(0);
    expect(content(compound, "s")).toEqual(ascii("s"));
    expect([...compound.flags]).toEqual([]);
  });

  test("is nothing without its signature or its header", () => {
    expect(openCompound(new Uint8Array(0))).toBeNull();
    expect(openCompound(new Uint8Array(4096))).toBeNull();
    expect(openCompound(FILE.subarray(0, 511))).toBeNull();
  });
});

describe("a broken compound file", () => {
  test("cut short gives what is there", () => {
    const cut = new Uint8Array(FILE.subarray(0, sector(10)));
    expect(opened(cut).entries).toEqual([]);
    const whole = versionFour(new Uint8Array(9000).fill(1));
    const half = opened(whole.subarray(0, 4096 * 3 + 4000));
    expect(content(half, "stream")).toEqual(new Uint8Array(4000).fill(1));
    expect([...half.flags]).toEqual(["compound_truncated"]);
  });

  test("with a looping chain gives no more than the file could hold, and says so", () => {
    const long = opened(FILE).find(["long"]);
    const at = entryAt(FILE, "long");
    const fat = sector(u32(FILE, 0x4c));
    const start = u32(FILE, at + 0x74);
    const looping = opened(patched(FILE, [fat + start * 4, start], [at + 0x78, 0x7fffffff]));
    expect(long?.size).toBe(LONG.length);
    expect(content(looping, "long").length).toBeLessThanOrEqual(FILE.length);
    expect([...looping.flags]).toContain("compound_chain_broken");
  });

  test("with a looping directory gives each entry once", () => {
    const at = entryAt(FILE, "short");
    const looping = opened(patched(FILE, [at + 0x44, 1], [at + 0x48, 0], [entryAt(FILE, "VBA") + 0x4c, 2]));
    expect(new Set(looping.entries.map(({ id }) => id)).size).toBe(looping.entries.length);
    expect([...looping.flags]).toContain("compound_directory_broken");
  });

  test("gives entries that no tree leads to", () => {
    const hidden = opened(patched(FILE, [entryAt(FILE, "Root Entry") + 0x4c, 0xffffffff]));
    expect(hidden.entries.map(({ name }) => name).sort()).toEqual(
      ["Macros", "VBA", "dir", "empty", "long", "short"].sort(),
    );
    expect(hidden.entries.find(({ name }) => name === "dir")?.orphan).toBe(true);
    expect(content(hidden, "long")).toEqual(LONG);
    expect([...hidden.flags]).toContain("compound_orphans");
  });

  test("with two streams of one name gives both, and finds the first", () => {
    const twice = opened(writeCompound(storage("", [stream("x", ascii("1")), stream("X", ascii("2"))])));
    expect(twice.entries).toHaveLength(2);
    expect(twice.entries.map((entry) => String.fromCharCode(...twice.read(entry, 9))).sort()).toEqual([
      "1",
      "2",
    ]);
    expect(twice.find(["x"])).toEqual(twice.entries[0] ?? null);
    expect([...twice.flags]).toContain("compound_duplicate_names");
  });

  test("survives every header field at its largest", () => {
    for (let at = 0x18; at < 0x200; at += 2) {
      const broken = FILE.slice();
      broken.fill(0xff, at, at + 4);
      const compound = openCompound(broken);
      for (const entry of compound?.entries ?? []) compound?.read(entry, 1e9);
    }
  });
});

describe("hostile compound files", () => {
  /** As many streams as fit, all of which claim the whole file. */
  function overlapping(bytes: number): Uint8Array {
    const streams = Array.from({ length: Math.floor(bytes / 256) }, (_, index) =>
      stream(`s${index}`, new Uint8Array(0)),
    );
    const file = writeCompound(storage("", [stream("whole", new Uint8Array(bytes / 2)), ...streams]));
    const whole = entryAt(file, "whole");
    const changes = opened(file)
      .entries.filter(({ name }) => name !== "whole")
      .flatMap(({ name }): [number, number][] => {
        const at = entryAt(file, name);
        return [
          [at + 0x74, u32(file, whole + 0x74)],
          [at + 0x78, bytes / 2],
        ];
      });
    return patched(file, ...changes);
  }

  test("streams that share their sectors are read a few times over, not without end", () => {
    const file = overlapping(131_072);
    const compound = opened(file);
    let total = 0;
    for (const entry of compound.entries) total += compound.read(entry, 1e9).length;
    expect(total).toBeLessThan(file.length * 5 + 100_000);
    expect([...compound.flags]).toContain("compound_streams_overlap");
    expect(COMPOUND_FLAGS.compound_streams_overlap.complete).toBe(false);
  });

  test("storages in storages in storages are all given, with paths of a bounded length", () => {
    let inner: StoredStorage = storage("deep", [stream("x", ascii("x"))]);
    for (let depth = 0; depth < 3000; depth++) inner = storage(`d${depth}`, [inner]);
    const compound = opened(writeCompound(storage("", [inner])));
    expect(compound.entries).toHaveLength(3002);
    expect(Math.max(...compound.entries.map(({ path }) => path.length))).toBeLessThanOrEqual(64);
  });

  test("mutated files give only bytes, names and documented flags", () => {
    const change = fc.tuple(fc.nat(FILE.length - 1), fc.nat(255));
    fc.assert(
      fc.property(fc.array(change, { maxLength: 30 }), fc.nat(FILE.length), (changes, cut) => {
        const bytes = FILE.slice();
        for (const [at, value] of changes) if (at >= 8) bytes[at] = value;
        const compound = openCompound(bytes.subarray(0, Math.max(512, cut)));
        if (!compound) return;
        let total = 0;
        for (const entry of compound.entries) {
          expect(entry.name.length).toBeLessThanOrEqual(32);
          total += compound.read(entry, 1e9).length;
        }
        expect(total).toBeLessThanOrEqual(bytes.length * 4 + 65_536);
        for (const flag of compound.flags) expect(flag in COMPOUND_FLAGS).toBe(true);
      }),
      { numRuns: 300 },
    );
  });
});

describe("a written compound file", () => {
  test("holds what it was given", () => {
    const name = fc.string({ minLength: 1, maxLength: 31, unit: fc.constantFrom(..."abcXYZ_#.0123") });
    const streams = fc.array(
      fc.record({ name, content: fc.oneof(fc.uint8Array({ maxLength: 300 }), fc.nat(9000)) }),
      { maxLength: 20 },
    );
    fc.assert(
      fc.property(streams, fc.nat(3), (given, depth) => {
        const unique = [...new Map(given.map((one) => [one.name.toUpperCase(), one])).values()];
        const children = unique.map((one) =>
          stream(
            one.name,
            typeof one.content === "number" ? new Uint8Array(one.content).fill(9) : one.content,
          ),
        );
        const path: string[] = [];
        let root = storage("", children);
        for (let level = 0; level < depth; level++) {
          root = storage("", [storage(`in${level}`, root.children, NO_CLSID)]);
          path.unshift(`in${level}`);
        }
        const compound = opened(writeCompound(root));
        for (const child of children) expect(content(compound, ...path, child.name)).toEqual(child.content);
        expect([...compound.flags]).toEqual([]);
      }),
      { numRuns: 200 },
    );
  });
});
