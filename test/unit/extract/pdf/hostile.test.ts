import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { PDF_FACTS, PDF_FLAGS } from "../../../../src/extract/pdf/flags.ts";
import { readPdf } from "../../../../src/extract/pdf/pdf.ts";
import { READER_FACTS, READER_FLAGS } from "../../../../src/extract/reading.ts";
import { leastCpu } from "../clock.ts";
import { classicPdf, deflated, link, onePage, packedPdf, sealOld } from "./write-pdf.ts";

const LIMITS = { bytes: 1024 * 1024, inner: 20, urls: 20 };

function check(bytes: Uint8Array): void {
  const reading = readPdf(bytes, LIMITS, ["candidate"]);
  const size =
    reading.inner.reduce((sum, one) => sum + one.bytes.length, 0) +
    reading.texts.reduce((sum, one) => sum + one.text.length, 0);
  expect(size).toBeLessThanOrEqual(LIMITS.bytes);
  expect(reading.inner.length).toBeLessThanOrEqual(LIMITS.inner);
  expect(reading.urls.length).toBeLessThanOrEqual(LIMITS.urls);
  expect(reading.images.length).toBeLessThanOrEqual(40);
  for (const image of reading.images) {
    if (image.kind === "pixels") expect(image.data.length).toBe(image.width * image.height * image.channels);
  }
  for (const flag of reading.flags) expect({ ...PDF_FLAGS, ...READER_FLAGS }).toHaveProperty(flag);
  for (const fact of reading.facts) expect({ ...PDF_FACTS, ...READER_FACTS }).toHaveProperty(fact);
}

const objects = {
  ...onePage({
    catalog: "/OpenAction << /S /JavaScript /JS (x\\(1\\)) >> /AcroForm << /XFA [(a) 6 0 R] >>",
    page: `/Resources << /Font << /F1 5 0 R >> /XObject << /I 9 0 R >> >> /Annots [${link("/S /URI /URI (http://a.example)")}]`,
    content: `BT /F1 12 Tf [(http) -3 (://b.example)] TJ ET BI /W 30 /H 30 /BPC 1 /IM true ID ${"\xaa".repeat(120)}\nEI ${"1 2 3 4 re f ".repeat(60)}`,
  }),
  5: "<< /Type /Font /Subtype /Type0 /ToUnicode 7 0 R /DescendantFonts [<< /W [1 [2 3] 4 5 6] >>] >>",
  6: deflated("", "<a href='http://c.example'/>"),
  7: { dict: "", stream: "1 beginbfrange <0000> <0009> <0041> endbfrange" },
  8: deflated("/Type /EmbeddedFile /DecodeParms << /Predictor 12 /Columns 4 >>", "file ".repeat(50)),
  9: {
    dict: "/Subtype /Image /Width 32 /Height 32 /Filter /CCITTFaxDecode /DecodeParms << /K -1 /Columns 32 >>",
    stream: Buffer.alloc(200, "fax data"),
  },
  10: {
    dict: "/Subtype /Image /Width 25 /Height 25 /BitsPerComponent 4 /ColorSpace [/Indexed /DeviceCMYK 9 (abcdefg)]",
    stream: Buffer.alloc(400, "index"),
  },
};
const seal = sealOld("aes-128", "", "owner");
const SEEDS = [
  classicPdf(objects),
  packedPdf(objects),
  packedPdf({ ...objects, 800: seal.dict }, seal.trailer, seal.cipher, 800),
];

describe("whatever the bytes are", () => {
  test("mutated documents are read within the bounds", () => {
    const change = fc.record({
      at: fc.nat(),
      remove: fc.nat({ max: 40 }),
      insert: fc.oneof(
        fc.uint8Array({ maxLength: 8 }),
        fc
          .constantFrom(
            "<<",
            ">>",
            "[",
            "]",
            "(",
            ")",
            "<",
            ">",
            "%",
            "/",
            "R",
            "obj",
            "endobj",
            "stream\n",
            "\nendstream",
            "-1",
            "999999999",
            "1 0 R",
            "9 0 R",
            " ",
            "\\",
            "BI",
            "ID ",
            "EI",
            "trailer",
            "/Filter /LZWDecode",
            "/Length 9",
            "/Predictor 15",
            "/Columns 0",
            "/Width 40000",
            "/N 99999",
            "/First 0",
            "/Encrypt 800 0 R",
          )
          .map((text) => new Uint8Array(Buffer.from(text))),
      ),
    });
    fc.assert(
      fc.property(
        fc.constantFrom(...SEEDS),
        fc.array(change, { minLength: 1, maxLength: 8 }),
        (seed, changes) => {
          let bytes: Buffer = seed;
          for (const { at, remove, insert } of changes) {
            const place = at % (bytes.length + 1);
            bytes = Buffer.concat([bytes.subarray(0, place), insert, bytes.subarray(place + remove)]);
          }
          check(bytes);
        },
      ),
      { numRuns: 400 },
    );
  });

  test("documents made of pieces in any order", () => {
    const piece = fc.constantFrom(
      "1 0 obj",
      "2 0 obj",
      "endobj",
      "<<",
      ">>",
      "[",
      "]",
      "(x",
      ")",
      "/Type /ObjStm",
      "/N 2",
      "/First 4",
      "stream\n",
      "1 0 2 3 ",
      "\nendstream",
      "/Length 2 0 R",
      "/Contents 1 0 R",
      "/Subtype /Image",
      "/Width 50",
      "/Height 50",
      "/BitsPerComponent 2",
      "/ColorSpace 2 0 R",
      "/Indexed",
      "/EF",
      "/F 1 0 R",
      "/JS 2 0 R",
      "/XFA 1 0 R",
      "/Filter /FlateDecode",
      "/Filter /A85",
      "/Filter /RL",
      "/Filter /CCF",
      "BT",
      "(text) Tj",
      "0 0 1 1 re f",
      "/Resources 1 0 R",
      "/Font 2 0 R",
      "/F1 9 Tf",
      "/ToUnicode 1 0 R",
      "/W 1 0 R",
      "trailer",
      "/Encrypt 1 0 R",
      "/BBox 1",
      "%c\n",
      "q 1 0 0 1 0 0 cm",
      "BI ID ",
      "EI",
    );
    fc.assert(
      fc.property(fc.array(piece, { maxLength: 60 }), (pieces) => check(Buffer.from(pieces.join(" ")))),
      { numRuns: 500 },
    );
  });
});

describe("time grows with the size", () => {
  const repeated = (text: string, size: number): Buffer => Buffer.alloc(size, text, "latin1");
  const asContent = (text: string, size: number): Buffer =>
    classicPdf({ 1: "<< /Contents 2 0 R >>", 2: { dict: "", stream: repeated(text, size) } });
  /** Many objects that all refer to one long list. */
  const shared = (key: string, item: string, size: number): Buffer =>
    Buffer.concat([
      Buffer.from("9 0 obj["),
      repeated(item, size / 2),
      Buffer.from("] endobj "),
      repeated(
        `1 0 obj << ${key} 9 0 R /Subtype /Image /Width 99 /Height 99 >> stream\nendstream `,
        size / 2,
      ),
    ]);
  const shapes: Readonly<Record<string, (size: number) => Buffer>> = {
    dictionaries: (size) => Buffer.concat([Buffer.from("1 0 obj"), repeated("<</A", size)]),
    arrays: (size) => Buffer.concat([Buffer.from("1 0 obj"), repeated("[", size)]),
    strings: (size) => Buffer.concat([Buffer.from("1 0 obj"), repeated("(", size)]),
    "escapes in a string": (size) => Buffer.concat([Buffer.from("1 0 obj("), repeated("\\", size)]),
    "objects in strings": (size) => repeated("1 0 obj((((", size),
    "objects in hexadecimal strings": (size) => repeated("1 0 obj<41 ", size),
    "objects in comments": (size) => repeated("1 0 obj%", size),
    "objects in arrays": (size) => repeated("1 0 obj[", size),
    "words of objects": (size) => repeated("obj ", size),
    "numbers of objects": (size) => repeated("1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1obj", size),
    objects: (size) => repeated("1 0 obj<</A 1>>", size),
    "streams in streams": (size) => repeated("1 0 obj<<>>stream\n", size),
    "streams with a length": (size) => repeated("1 0 obj<</Length 999999>>stream\n", size),
    comments: (size) => repeated("%", size),
    trailers: (size) => repeated("trailer<<(", size),
    "encryption dictionaries": (size) =>
      repeated("trailer<</Encrypt<</V 2/R 3/Length 128/O(a)/U(b)>>/ID[(a)]>>", size),
    "object streams": (size) => repeated("1 0 obj<</Type/ObjStm/N 9/First 9>>stream\n1 0 2 0 3 0 ", size),
    "object streams of themselves": (size) =>
      repeated("1 0 obj<</N 1 0 R/First 1 0 R/Extends 1 0 R>>stream\nendstream ", size),
    files: (size) => repeated("1 0 obj<</Type/EmbeddedFile>>stream\n", size),
    images: (size) =>
      repeated("1 0 obj<</Subtype/Image/Width 100/Height 100/BitsPerComponent 8>>stream\n", size),
    forms: (size) => repeated("1 0 obj<</Subtype/Form>>stream\nBT (x) Tj ", size),
    "references to references": (size) =>
      Buffer.from(Array.from({ length: size / 20 }, (_, num) => `${num} 0 obj ${num + 1} 0 R `).join("")),
    "filters of many": (size) => shared("/Filter", "/A ", size),
    "colours of many": (size) => shared("/ColorSpace", "/A ", size),
    "contents of many": (size) => shared("/Contents", "1 0 R ", size),
    "forms of many": (size) => shared("/XFA", "1 0 R ", size),
    "states in content": (size) => asContent("q ", size),
    "images without an end": (size) => asContent("BI /W 50 /H 50 ID ", size),
    "ends of images": (size) => asContent("BI ID EIx", size),
    "shapes in content": (size) => asContent("0 0 9 9 re f 0 0 900 900 re f ", size),
    "curves in content": (size) => asContent("0 0 m 1 1 2 2 3 3 c S ", size),
    "lists in content": (size) => asContent("[(a)1", size),
    "images in content": (size) =>
      classicPdf({
        1: "<< /Contents 2 0 R /Resources << /XObject << /I 3 0 R >> >> >>",
        2: { dict: "", stream: repeated("/I Do 1.1 0 0 1.1 0 0 cm ", size) },
        3: {
          dict: "/Subtype /Image /Width 99 /Height 99 /BitsPerComponent 8",
          stream: Buffer.alloc(9801, "ab"),
        },
      }),
    "pages of images": (size) =>
      Buffer.concat([
        Buffer.from("3 0 obj<</Subtype/Image/Width 9/Height 9/BitsPerComponent 8>>stream\nendstream endobj "),
        repeated(
          "1 0 obj<</Resources<</XObject<</I 3 0 R>>>>/Contents 1 0 R>>stream\n/I Do /I Do\nendstream ",
          size,
        ),
      ]),
    "text in content": (size) => asContent("(a)Tj ", size),
    "fonts in content": (size) => asContent("/F1 1 Tf ", size),
  };
  const SMALL = 64 * 1024;
  const LARGE = 1024 * 1024;
  for (const [name, make] of Object.entries(shapes)) {
    test(name, async () => {
      const [small, large] = [make(SMALL), make(LARGE)];
      // Sixteen times the size; four times that for what else the machine does, sixteen times would be quadratic.
      const bound = Math.max(64 * (await leastCpu(0, () => check(small))), 1000);
      expect(await leastCpu(bound, () => check(large))).toBeLessThan(bound);
    });
  }
});
