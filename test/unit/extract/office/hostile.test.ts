import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { NAME_FACTS, POLYGLOT_FACTS } from "../../../../src/extract/facts/flags.ts";
import { polyglotFacts } from "../../../../src/extract/facts/polyglot.ts";
import { OFFICE_FACTS, OFFICE_FLAGS } from "../../../../src/extract/office/flags.ts";
import { readOdf } from "../../../../src/extract/office/odf.ts";
import { readOleDocument } from "../../../../src/extract/office/ole-documents.ts";
import { readOneNote } from "../../../../src/extract/office/onenote.ts";
import { readOfficeXml, readOoxml } from "../../../../src/extract/office/ooxml.ts";
import { readRtf } from "../../../../src/extract/office/rtf.ts";
import { COMPOUND_FLAGS } from "../../../../src/extract/ole/compound.ts";
import { type Limits, READER_FACTS, READER_FLAGS, type Reading } from "../../../../src/extract/reading.ts";
import { SHORTCUT_FACTS, SHORTCUT_FLAGS } from "../../../../src/extract/shortcuts/flags.ts";
import { readLnk } from "../../../../src/extract/shortcuts/lnk.ts";
import { cpuNow, leastCpu } from "../clock.ts";
import {
  bytes,
  compound,
  docx,
  hex,
  LIMITS,
  ole10Native,
  paragraph,
  rels,
  storage,
  stream,
  u16,
  u32,
  unknownNames,
  utf16,
  vbaProject,
  wordXml,
  zip,
} from "./make.ts";

const MACROS = compound([
  stream("WordDocument", bytes(600)),
  storage("Macros", [...vbaProject("Sub AutoOpen()\r\nEnd Sub")]),
  stream("\x01Ole10Native", ole10Native("x.js", bytes("x"))),
  stream("Workbook", bytes(u16(0x85), u16(8), 4, "\x02\x01\x01\0M", u16(0x1ae), u16(8), "\0\0\0\0\0a\x03b")),
  stream("PowerPoint Document", bytes(u16(0), u16(0xfba), u32(4), utf16("ab"))),
]);
const READERS: Readonly<
  Record<string, { read: (file: Uint8Array, limits: Limits) => Reading; seed: Uint8Array }>
> = {
  ooxml: {
    read: readOoxml,
    seed: zip(
      {
        "word/document.xml": wordXml(
          `${paragraph("x")}<w:instrText>HYPERLINK "http://a.example/"</w:instrText>`,
        ),
        "word/_rels/document.xml.rels": rels(["attachedTemplate", "http://a.example/"]),
        "word/vbaProject.bin": MACROS,
      },
      0,
    ),
  },
  "office xml": { read: readOfficeXml, seed: bytes(wordXml(paragraph("http://a.example/"))) },
  odf: {
    read: readOdf,
    seed: zip({ "content.xml": "<text:a xlink:href='http://a.example/'>x</text:a>" }, 0),
  },
  ole: { read: readOleDocument, seed: MACROS },
  rtf: {
    read: readRtf,
    seed: bytes(
      "{\\rtf1{\\object{\\*\\objdata 01050000020000000200000041}{\\field{\\*\\fldinst HYPERLINK x}}\\u12?\\bin3 abc}}",
    ),
  },
  onenote: {
    read: readOneNote,
    seed: bytes(hex("e4525c7b8cd8a74daeb15378d02996d3e716e3bd65261145a4c48d4d0b7a9eac"), u32(3), 16, "abc"),
  },
  lnk: {
    read: readLnk,
    seed: bytes(
      "L\0\0\0",
      hex("0114020000000000c000000000000046"),
      u32(0xff),
      52,
      u16(6),
      u16(4),
      "\x2fC",
      u16(0),
      u32(4),
      u16(1),
      utf16("x"),
    ),
  },
};

const edit = fc.record({
  at: fc.double({ min: 0, max: 1, noNaN: true }),
  remove: fc.nat({ max: 40 }),
  insert: fc.oneof(
    fc
      .constantFrom(
        "{",
        "}",
        "\\bin9 ",
        "\\'",
        "<",
        ">",
        '"',
        "\0",
        "\xff\xff\xff\xff",
        "://",
        "&#x",
        "PK\x01\x02",
        "\x13",
        "\x01",
      )
      .map((text) => bytes(text)),
    fc.uint8Array({ maxLength: 8 }).map((content) => Buffer.from(content)),
  ),
  times: fc.constantFrom(1, 1, 5, 100),
});
const edits = fc.array(edit, { maxLength: 8 });

function edited(
  seed: Uint8Array,
  changes: readonly { at: number; remove: number; insert: Buffer; times: number }[],
): Buffer {
  return changes.reduce((file, { at, remove, insert, times }) => {
    const offset = Math.floor(at * file.length);
    return Buffer.concat([
      file.subarray(0, offset),
      ...Array<Buffer>(times).fill(insert),
      file.subarray(offset + remove),
    ]);
  }, Buffer.from(seed));
}

describe("whatever the bytes are, within its bounds", () => {
  test.each(Object.keys(READERS))("%s is read", (name) => {
    const reader = READERS[name];
    if (reader === undefined) throw new Error("no such reader");
    const limits = fc.record({
      bytes: fc.constantFrom(0, 1, 100, 5000, LIMITS.bytes),
      inner: fc.constantFrom(0, 1, 100),
      urls: fc.constantFrom(0, 1, 100),
    });
    fc.assert(
      fc.property(edits, limits, (changes, bounds) => {
        const reading = reader.read(edited(reader.seed, changes), bounds);
        const given = [
          ...reading.inner.map((one) => one.bytes.length),
          ...reading.texts.map((one) => one.text.length),
        ];
        expect(given.reduce((sum, size) => sum + size, 0)).toBeLessThanOrEqual(bounds.bytes);
        expect(reading.inner.length).toBeLessThanOrEqual(bounds.inner);
        expect(reading.urls.length).toBeLessThanOrEqual(bounds.urls);
        expect(
          unknownNames(reading.flags, OFFICE_FLAGS, READER_FLAGS, COMPOUND_FLAGS, SHORTCUT_FLAGS),
        ).toEqual([]);
        expect(unknownNames(reading.facts, OFFICE_FACTS, SHORTCUT_FACTS, READER_FACTS)).toEqual([]);
      }),
      { numRuns: 250 },
    );
  });

  test("two types at once are told of", () => {
    const seeds = [bytes("GIF89a", 30, "MZ", zip({ a: "x" })), bytes("%PDF-1.7\n%%EOF<script>"), MACROS];
    fc.assert(
      fc.property(fc.constantFrom(...seeds), edits, (seed, changes) => {
        const { facts, inner } = polyglotFacts(edited(seed, changes));
        expect(unknownNames(facts, POLYGLOT_FACTS, NAME_FACTS)).toEqual([]);
        expect(inner.length).toBeLessThanOrEqual(10);
      }),
      { numRuns: 250 },
    );
  });
});

describe("reading takes time in proportion to", () => {
  const xml = (unit: string) => (size: number) => {
    readOfficeXml(bytes(unit.repeat(size / unit.length)), LIMITS);
  };
  const sheet = (unit: string) => (size: number) => {
    // Larger than what is read tag by tag.
    const body = "<v>1</v>".repeat(140_000) + unit.repeat(size / unit.length);
    readOoxml(zip({ "xl/worksheets/sheet1.xml": `<worksheet>${body}` }, 0), LIMITS);
  };
  const rtf =
    (unit: string, start = "{\\rtf1 ") =>
    (size: number) => {
      readRtf(bytes(start, unit.repeat(size / unit.length)), LIMITS);
    };
  const ole = (name: string, unit: string | Uint8Array) => (size: number) => {
    const content = bytes(name === "WordDocument" ? 0x1aa : 0, Buffer.alloc(size, unit));
    readOleDocument(compound([stream(name, content)]), LIMITS);
  };
  const polyglot = (start: string, unit: string) => (size: number) => {
    polyglotFacts(bytes(start, unit.repeat(size / unit.length)));
  };
  const module = (unit: string) => (size: number) => {
    readOleDocument(compound([...vbaProject(unit.repeat(size / unit.length))]), LIMITS);
  };
  const SHAPES: Readonly<Record<string, (size: number) => void>> = {
    "opening brackets": xml("<"),
    tags: xml("<a>"),
    "quotes in tags": xml('<a b="'),
    "attributes without values": xml(`<a ${"b=".repeat(50)}>`),
    "open comments": xml("<!--"),
    entities: xml("&#x41;"),
    "begun fields": xml('<w:fldChar w:fldCharType="begin"/><w:instrText>QUOTE 1 </w:instrText>'),
    "links in one value": xml("<a href='http://x!http://x:"),
    "a long name": xml(":a"),
    "texts of shared strings": xml("<t>www.example.com/ "),
    "formulas without beginning": sheet("f>"),
    "formulas with prefix": sheet(":f>"),
    formulas: sheet("</f>"),
    "formulas with quotes": sheet('<f>HYPERLINK("</f>'),
    "URLs in sheets": sheet("://"),
    "URLs in attributes": sheet('<c a="://"/>'),
    "many parts": (size) => {
      const parts = Object.fromEntries(
        Array.from({ length: size / 200 }, (_, index) => [`word/${index}.xml`, "<t>x</t>"]),
      );
      readOoxml(zip(parts, 0), LIMITS);
    },
    groups: rtf("{"),
    "closed groups": rtf("{}"),
    "long control words": rtf("a", "{\\rtf1\\"),
    "fields in fields": rtf("{\\*\\fldinst x"),
    "objects in objects": rtf("{\\*\\objdata 41"),
    objects: rtf("{\\*\\objdata 0102}"),
    "hex in groups": rtf("{4}1", "{\\rtf1{\\*\\objdata "),
    "quoted bytes": rtf("4\\'41", "{\\rtf1{\\*\\objdata "),
    "binary data": rtf("\\bin1 x", "{\\rtf1{\\*\\objdata "),
    "Unicode characters": rtf("\\u65?"),
    "codes of fields": rtf("\\'41", "{\\rtf1{\\*\\fldinst "),
    "marks of fields": ole("WordDocument", "\x13"),
    "text with URLs": ole("WordDocument", "://"),
    "names of streams": (size) => {
      const many = Array.from({ length: size / 300 }, (_, index) =>
        storage(`s${index}`, [stream("_VBA_PROJECT", bytes("x")), stream("WordDocument", bytes(20))]),
      );
      readOleDocument(compound(many), LIMITS);
    },
    "parts that share their bytes": (size) => {
      const empty = Buffer.alloc(size / 2, hex("000000ffff"));
      const local = (length: number) =>
        bytes(hex("504b0304"), 4, u16(8), 8, u32(length), u32(1), u16(1), u16(0), "a", empty);
      const file = local(empty.length);
      const entry = bytes(hex("504b0102"), 6, u16(8), 8, u32(empty.length), u32(1), u16(5), 16, "a.xml");
      const directory = Buffer.concat(Array<Buffer>((size / 2 / entry.length) | 0).fill(entry));
      const end = bytes(hex("504b0506"), 8, u32(directory.length), u32(file.length), 2);
      readOoxml(bytes(file, directory, end), LIMITS);
    },
    "records of a workbook": ole("Workbook", hex("1800 0000".replace(" ", ""))),
    "links of a workbook": ole("Workbook", hex("b8011000e0c9ea79f9bace118c8200aa004ba90b")),
    "records of slides": ole("PowerPoint Document", hex("0000a00f00000000")),
    "containers of slides": ole("PowerPoint Document", hex("0f00a00f00000000")),
    "signatures of images": ole("Pictures", hex("89504e470d0a1a0a")),
    "images without beginning": ole("Data", hex("00001ef0ffffff7f89504e470d0a1a0a")),
    "a macro of quotes": module('"a" & '),
    "a macro of characters": module("Chr(65)&"),
    "a macro of names": module("a_"),
    "a macro written backwards": module('"ptth'),
    "stores of files": (size) => {
      readOneNote(
        bytes(
          hex("e4525c7b8cd8a74daeb15378d02996d3"),
          Buffer.alloc(size, hex("e716e3bd65261145a4c48d4d0b7a9eac")),
        ),
        LIMITS,
      );
    },
    "arguments of a shortcut": (size) => {
      readLnk(
        bytes("L\0\0\0", hex("0114020000000000c000000000000046"), u32(0), 52, "-e ".repeat(size / 3)),
        LIMITS,
      );
    },
    "zips behind an image": polyglot("GIF89a", "PK\x05\x06"),
    "programs behind an image": polyglot("GIF89a", "MZ This program cannot be run in DOS mode"),
    "markup behind an image": polyglot("GIF89a", "<scrip"),
    "lines of a PDF": polyglot("%PDF-1.7\n", "\nmime-version"),
  };
  test.each(Object.keys(SHAPES))("%s", async (name) => {
    const run = SHAPES[name];
    if (run === undefined) throw new Error("no such shape");
    run(120_000);
    // Eight times the input; quadratic work would take 64 times as long.
    const bound = 24 * Math.max(await leastCpu(0, () => run(120_000)), 8);
    expect(await leastCpu(bound, () => run(960_000))).toBeLessThan(bound);
  });
});

test("a small document that unpacks to much is cut at the bound", () => {
  const begin = cpuNow();
  const reading = readOoxml(docx("x", { "word/a.xml": Buffer.alloc(100_000_000, " ") }), {
    ...LIMITS,
    bytes: 1_000_000,
  });
  expect(reading.flags).toContain("office_part_bytes_exceeded");
  expect(cpuNow() - begin).toBeLessThan(8000);
});
