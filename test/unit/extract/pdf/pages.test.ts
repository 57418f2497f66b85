import { describe, expect, test } from "bun:test";
import { deflateSync } from "node:zlib";
import type { PdfImage } from "../../../../src/extract/pdf/images.ts";
import { type PdfReading, readPdf } from "../../../../src/extract/pdf/pdf.ts";
import { classicPdf, deflated, type Objects, onePage, packedPdf } from "./write-pdf.ts";

const LIMITS = { bytes: 32 * 1024 * 1024, inner: 100, urls: 100 };

const read = (bytes: Uint8Array): PdfReading => readPdf(bytes, LIMITS);

/** What a page with this content says, without white space at its end. */
function shown(
  content: string,
  font = "<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>",
  more: Objects = {},
): string {
  const objects = {
    ...onePage({ page: "/Resources << /Font << /F1 5 0 R >> >>" }),
    4: deflated("", Buffer.from(content, "latin1")),
    5: font,
    ...more,
  };
  const reading = read(packedPdf(objects));
  expect(reading.flags).toEqual([]);
  return reading.texts
    .map(({ text }) => text)
    .join("")
    .trimEnd();
}

describe("the text of pages", () => {
  test("in lines, with spaces where there are gaps", () => {
    expect(shown("BT /F1 12 Tf (see http://a.) Tj (example/x) Tj ET")).toBe("see http://a.example/x");
    expect(shown("BT /F1 12 Tf [(ht) 20 (tp:) -15 (//a.example) -300 (and) -1000 (more)] TJ ET")).toBe(
      "http://a.example and more",
    );
    expect(shown("BT /F1 12 Tf 14 TL (one) Tj T* (two) Tj (three) ' 1 0 (four) \" ET")).toBe(
      "one\ntwo\nthree\nfour",
    );
    expect(shown("BT /F1 12 Tf 1 0 0 1 50 700 Tm (one) Tj 1 0 0 1 50 680 Tm (two) Tj ET")).toBe("one\ntwo");
    expect(shown("BT /F1 10 Tf (http) Tj 18.9 0 Td (s://a.example) Tj ET")).toBe("https://a.example");
    expect(shown("BT /F1 10 Tf (one) Tj 40 0 Td (two) Tj ET")).toBe("one two");
  });

  test("turned around and scaled", () => {
    expect(shown("q 0 1 -1 0 0 0 cm BT /F1 12 Tf (one) Tj 0 -14 Td (two) Tj ET Q")).toBe("one\ntwo");
    expect(shown("q .01 0 0 .01 0 0 cm BT /F1 1000 Tf (http) Tj 1890 0 Td (s://a.example) Tj ET Q")).toBe(
      "https://a.example",
    );
  });

  test("in forms, and in pieces of content", () => {
    const objects = {
      ...onePage({ page: "/Resources << /Font << /F1 9 0 R >> >>" }),
      3: "<< /Type /Page /Contents [4 0 R 5 0 R] /Resources << /Font << /F1 9 0 R >> >> >>",
      4: { dict: "", stream: "BT /F1 12 Tf (http://a.ex) Tj" },
      5: { dict: "", stream: "(ample) Tj ET" },
      6: deflated("/Type /XObject /Subtype /Form /BBox [0 0 9 9]", "BT /F1 9 Tf (in a form) Tj ET"),
      9: "<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>",
    };
    expect(read(classicPdf(objects)).texts).toEqual([
      { kind: "text", text: "http://a.example\nin a form\n", source: "pdf" },
    ]);
  });

  test("in fonts of every kind of code", () => {
    const map = (body: string): Objects => ({
      6: deflated("", `1 begincodespacerange <0000> <ffff> endcodespacerange ${body}`),
    });
    const type0 = "<< /Type /Font /Subtype /Type0 /Encoding /Identity-H /ToUnicode 6 0 R >>";
    expect(
      shown(
        "BT /F1 9 Tf <00010002> Tj ET",
        type0,
        map("2 beginbfchar <0001> <0061> <0002> <00660069> endbfchar"),
      ),
    ).toBe("afi");
    expect(
      shown("BT /F1 9 Tf <00010003> Tj ET", type0, map("1 beginbfrange <0001> <0003> <0061> endbfrange")),
    ).toBe("ac");
    expect(
      shown(
        "BT /F1 9 Tf <00010002> Tj ET",
        type0,
        map("1 beginbfrange <0001> <0002> [<0078> <0079>] endbfrange"),
      ),
    ).toBe("xy");
    expect(shown("BT /F1 9 Tf <00010002> Tj ET", type0, map("1 beginbfchar <0001> <FB01> endbfchar"))).toBe(
      "fi\ufffd",
    );
    const glyphs = "<< /Type /Font /Subtype /Type0 /Encoding /Identity-H >>";
    expect(shown("BT /F1 9 Tf <004B005700570053> Tj ET", glyphs)).toBe("http");
    const unicode = "<< /Type /Font /Subtype /Type0 /Encoding /UniGB-UCS2-H >>";
    expect(shown("BT /F1 9 Tf <00684E2D> Tj ET", unicode)).toBe("h中");
    const shiftJis = "<< /Type /Font /Subtype /Type0 /Encoding /90ms-RKSJ-H >>";
    expect(shown("BT /F1 9 Tf (a\x93\xfa) Tj ET", shiftJis)).toBe("a日");
    const differences =
      "<< /Type /Font /Subtype /Type1 /Encoding << /Differences [1 /h /t /p /colon /slash 65 /uni0061 /odieresis /f_f.alt] >> >>";
    expect(shown("BT /F1 9 Tf (\\001\\002\\002\\003\\004\\005\\005AB) Tj ET", differences)).toBe("http://aö");
    expect(
      shown(
        "BT /F1 9 Tf (\x80\x8a) Tj ET",
        "<< /Type /Font /Subtype /TrueType /Encoding /MacRomanEncoding >>",
      ),
    ).toBe("Ää");
    expect(shown("BT /Unknown 9 Tf (plain) Tj ET")).toBe("plain");
  });

  test("widths of the document tell gaps", () => {
    const narrow = "<< /Type /Font /Subtype /Type1 /FirstChar 97 /Widths [200 200 200] >>";
    expect(shown("BT /F1 10 Tf (ab) Tj 4 0 Td (c) Tj 5 0 Td (c) Tj ET", narrow)).toBe("abc c");
    const composite =
      "<< /Type /Font /Subtype /Type0 /Encoding /Identity-H /DescendantFonts [<< /W [36 [200] 37 40 300] /DW 500 >>] >>";
    expect(
      shown("BT /F1 10 Tf <00240025> Tj 5 0 Td <0026> Tj 3 0 Td <0044> Tj 9 0 Td <0045> Tj ET", composite),
    ).toBe("ABCa b");
  });

  test("on pages that share what they show it comes once", () => {
    const kids = Array.from({ length: 50 }, (_, index) => index + 10);
    const objects: Record<number, Objects[number]> = { ...onePage({ content: "BT (once) Tj ET" }) };
    for (const num of kids) objects[num] = "<< /Type /Page /Contents 4 0 R >>";
    expect(read(classicPdf(objects)).texts.map(({ text }) => text.trim())).toEqual(["once"]);
  });
});

/** A pattern without symmetry. */
const isDark = (x: number, y: number): boolean => (x * x + 3 * y * y + x * y) % 7 < 3;
const SIDE = 24;
const each = <T>(make: (x: number, y: number) => T): T[] =>
  Array.from({ length: SIDE * SIDE }, (_, index) => make(index % SIDE, Math.floor(index / SIDE)));
const GREY = Buffer.from(each((x, y) => (isDark(x, y) ? 0 : 255)));
const packBits = (values: readonly number[], bits: number): Buffer => {
  const rows: number[] = [];
  for (let y = 0; y < SIDE; y++) {
    const row = values.slice(y * SIDE, y * SIDE + SIDE).map((value) => value.toString(2).padStart(bits, "0"));
    for (const octet of row.join("").match(/.{1,8}/g) ?? [])
      rows.push(Number.parseInt(octet.padEnd(8, "0"), 2));
  }
  return Buffer.from(rows);
};
const BITS = packBits(
  each((x, y) => (isDark(x, y) ? 0 : 1)),
  1,
);
const SIZE = `/Subtype /Image /Width ${SIDE} /Height ${SIDE}`;

function imagesOf(dict: string, stream: Uint8Array, more: Objects = {}): readonly PdfImage[] {
  return read(classicPdf({ ...onePage(), ...more, 9: { dict: `${SIZE} ${dict}`, stream } })).images;
}

function greyOf(image: PdfImage | undefined): Buffer {
  if (image?.kind !== "pixels") throw new Error("no pixels");
  expect([image.width, image.height]).toEqual([SIDE, SIDE]);
  const grey = Buffer.alloc(image.width * image.height);
  for (let index = 0; index < grey.length; index++) grey[index] = image.data[index * image.channels] ?? 0;
  return grey;
}

describe("images", () => {
  test("files are given as they are", () => {
    const jpeg = Buffer.from("\xff\xd8\xff\xe0 picture \xff\xd9", "latin1");
    expect(imagesOf("/Filter /DCTDecode", jpeg)).toEqual([{ kind: "file", type: "image/jpeg", bytes: jpeg }]);
    expect(imagesOf("/Filter [/FlateDecode /DCTDecode]", deflateSync(jpeg))).toEqual([
      { kind: "file", type: "image/jpeg", bytes: jpeg },
    ]);
    expect(imagesOf("/Filter /JPXDecode", jpeg)).toEqual([{ kind: "file", type: "image/jp2", bytes: jpeg }]);
  });

  test("pixels of every colour space and depth", () => {
    const triple = Buffer.from([...GREY].flatMap((value) => [value, value, value]));
    const cmyk = Buffer.from([...GREY].flatMap((value) => [0, 0, 0, 255 - value]));
    const wide = Buffer.from([...GREY].flatMap((value) => [value, 0]));
    const index4 = packBits(
      each((x, y) => (isDark(x, y) ? 2 : 9)),
      4,
    );
    const palette = `<${"ffffff".repeat(2)}000000${"ffffff".repeat(7)}>`;
    const cases: readonly (readonly [string, Buffer])[] = [
      ["/BitsPerComponent 8 /ColorSpace /DeviceGray", GREY],
      ["/BitsPerComponent 8 /ColorSpace 20 0 R", triple],
      ["/BitsPerComponent 8 /ColorSpace [/ICCBased 21 0 R]", GREY],
      ["/BitsPerComponent 8 /ColorSpace /Unheard", triple],
      ["/BitsPerComponent 8 /ColorSpace /DeviceCMYK", cmyk],
      ["/BitsPerComponent 16 /ColorSpace /CalGray", wide],
      ["/BitsPerComponent 1 /ColorSpace /DeviceGray", BITS],
      ["/BitsPerComponent 1 /ColorSpace /DeviceGray /Decode [1 0]", Buffer.from(BITS.map((byte) => ~byte))],
      ["/ImageMask true", BITS],
      [`/BitsPerComponent 4 /ColorSpace [/Indexed /DeviceRGB 9 ${palette}]`, index4],
      ["/BitsPerComponent 4 /ColorSpace [/Indexed /DeviceGray 9 22 0 R]", index4],
      [
        "/BitsPerComponent 8 /ColorSpace [/Separation /Black /DeviceGray null]",
        Buffer.from(GREY.map((byte) => ~byte)),
      ],
    ];
    const more = {
      20: "/DeviceRGB",
      21: { dict: "/N 1", stream: "profile" },
      22: deflated("", Buffer.from([255, 255, 0, ...Array<number>(7).fill(255)])),
    };
    for (const [dict, stream] of cases) {
      const [image] = imagesOf(`${dict} /Filter /FlateDecode`, deflateSync(stream), more);
      expect({ dict, same: greyOf(image).equals(GREY) }).toEqual({ dict, same: true });
    }
  });

  test("of fax machines", () => {
    const packed = {
      "-1": "23e47c8f91f23e47c8f91f23e47c8f91f23e47c8f91f23e47c8f91f23e47c8f91f23e47c8f91f23e47c8f856363636363636363636363636363636362082b104158820ac410562082b8250c189ed430627b50c1c3062560978a18312b091ac30643f09b84972e47e1261907f12b250e088f91f0471ce39c738e088f91f0471ce39c738e088f91f0471ce39c738e088f91f0471ce39c738e088f91f5b4d34d34d34d34d34d34d34d4530c424c310930c424c310930c42560cd8a15833628560cd8ac19c087020560ce04526a1c2b067839e0e78a18320fe27f127f9c738e71c111f23e08e39c738e71c111f23e08e39c738e71c111f23e08e39c738e71c111f23e08e39c738e71d76363636363636363636363636363636ec310930c424c310930c424c310930ec312ac424c312ac424c312ac1c41888842084cc37b064340cb064366b60c837458320a3ec1902f0002002",
      "0": "0011f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f00176eddbb76eddbb76eddbb76eddbb0018282828282828282828288004d45b16c5b16c5b16c5b16c004d42604c0981302604c2001350fc1f83f07e0fc40026a3f07f07f07f07c0013543e3e3e3e3e3e3e3e3e3e3e3e3e3e3e3e3e3e3e3e3e3e3e3e3e3e3e3e3e3e3e3a00135ddbb76eddbb76eddbb76eddbb76f800c14141414141414141414400362d8b62d8b62d8b62d8a00381302604c098130262001350fc1f83f07e0fc40026a0fe0fe0fe0fe1c004d71f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1f1c004d776eddbb76eddbb76eddbb76eddbe0026b4141414141414141414140009abb16c5b16c5b16c5b16d8009a867140ce10004d4340b068180026a1b0a0366a0026a0dca81ba0004d41416028f0013502e0805e00",
      "1": "0018f8f8f8f8f8f8f8f8f8f8f8f8f8f8f8f8f8f8f8f8f8f8f8f8f8f8f8f8f8f8f8f80098d8d8d8d8d8d8d8d8d8d8d8d8d8d8d8c007050505050505050505051000812860c4f6a18313da860c0066a1302604c098130261000a18321f84dc24b96003351f83f83f83f83e000a50e088f91f0471ce39c738e088f91f0471ce39c738e088f91f0471ce39c738e088f91f0471ce39c738e088f91f50019aeeddbb76eddbb76eddbb76eddbb7c00429862126188498621261884986212800ec5b16c5b16c5b16c5b14004c19c087020560ce0450019a87e0fc1f83f07e2001430641fc4fe24fe00335c7c7c7c7c7c7c7c7c7c7c7c7c7c7c7c7c7c7c7c7c7c7c7c7c7c7c7c7c7c7c7c70016c6c6c6c6c6c6c6c6c6c6c6c6c6c6c6d800cd6828282828282828282828001586255884986255884986255830019a867140ce1000560c86818003350d8501b3500158320dd000335050580a3c00560c81780",
    };
    const isBlack = (x: number, y: number): boolean =>
      y < 18 ? (Math.floor(x / (1 + (y % 7))) + Math.floor(y / 3)) % 3 === 0 : x % (y * 3) > y;
    for (const [k, code] of Object.entries(packed)) {
      const stream = Buffer.from(code, "hex");
      const dict = `/Subtype /Image /Width 96 /Height 24 /BitsPerComponent 1 /ColorSpace /DeviceGray /Filter /CCITTFaxDecode /DecodeParms << /K ${k} /Columns 96 /BlackIs1 true >>`;
      const [image] = read(classicPdf({ ...onePage(), 9: { dict, stream } })).images;
      if (image?.kind !== "pixels") throw new Error("no pixels");
      const wrong = [...image.data].filter(
        (value, at) => (value === 0) !== isBlack(at % 96, Math.floor(at / 96)),
      );
      expect({ k, wrong }).toEqual({ k, wrong: [] });
    }
  });

  test("within a page", () => {
    const objects = {
      ...onePage(),
      4: {
        dict: "",
        stream: Buffer.concat([
          Buffer.from(`q BI /W ${SIDE} /H ${SIDE} /BPC 8 /CS /G /F [/Fl] ID `),
          deflateSync(GREY),
          Buffer.from("\nEI Q BT (after) Tj ET"),
        ]),
      },
    };
    const reading = read(classicPdf(objects));
    expect(greyOf(reading.images[0]).equals(GREY)).toBe(true);
    expect(reading.texts.map(({ text }) => text.trim())).toEqual(["after"]);
  });

  test("those of pages first; none that are too small or of one colour", () => {
    const objects = {
      ...onePage({ page: "/Resources << /XObject << /I 12 0 R >> >>" }),
      10: deflated(
        `${SIZE} /BitsPerComponent 8 /ColorSpace /DeviceGray`,
        Buffer.from(GREY.map((byte) => ~byte)),
      ),
      11: deflated(
        "/Subtype /Image /Width 9 /Height 9 /BitsPerComponent 8 /ColorSpace /DeviceGray",
        Buffer.alloc(81),
      ),
      12: deflated(`${SIZE} /BitsPerComponent 8 /ColorSpace /DeviceGray`, GREY),
      13: deflated(`${SIZE} /BitsPerComponent 8 /ColorSpace /DeviceGray`, Buffer.alloc(SIDE * SIDE)),
    };
    const reading = read(classicPdf(objects));
    expect(reading.images).toHaveLength(2);
    expect(greyOf(reading.images[0]).equals(GREY)).toBe(true);
    expect(reading.flags).toEqual([]);
  });

  test("bounds of number and size", () => {
    const objects: Record<number, Objects[number]> = { ...onePage() };
    for (let num = 10; num < 60; num++) {
      objects[num] = deflated(`${SIZE} /BitsPerComponent 8 /ColorSpace /DeviceGray`, GREY);
    }
    const many = read(classicPdf(objects));
    expect(many.images).toHaveLength(40);
    expect(many.flags).toEqual(["pdf_images_exceeded"]);
    const large = packBits(each(isDark).map(Number), 1);
    const dict = "/Subtype /Image /Width 8000 /Height 4000 /BitsPerComponent 1 /ColorSpace /DeviceGray";
    const [image] = read(
      classicPdf({ ...onePage(), 9: deflated(dict, Buffer.alloc(4_000_000, large)) }),
    ).images;
    expect(image).toMatchObject({ kind: "pixels", width: 2666, height: 1333 });
  });

  test("cut into pieces side by side are put together", () => {
    const half = SIDE / 2;
    const piece = (left: number, top: number): Buffer =>
      Buffer.from(
        each((x, y) => ({ x, y }))
          .filter(({ x, y }) => x >= left && x < left + half && y >= top && y < top + half)
          .map(({ x, y }) => (isDark(x, y) ? 0 : 255)),
      );
    const objects: Record<number, Objects[number]> = {
      ...onePage({
        page: "/Resources << /XObject << /A 10 0 R /B 11 0 R /C 12 0 R /D 13 0 R /E 14 0 R >> >>",
        content: [
          "q 36 0 0 36 100 500 cm /C Do Q q 36 0 0 36 136 500 cm /D Do Q",
          // Mirrored, and with a little space between.
          "q 36 0 0 36 100 536.5 cm /A Do Q q -36 0 0 36 172 536.5 cm /B Do Q",
          "q 0 36 -36 0 100 500 cm /A Do Q q 36 0 0 36 400 100 cm /E Do Q",
        ].join("\n"),
      }),
    };
    for (const [index, at] of [
      [0, 0],
      [half, 0],
      [0, half],
      [half, half],
      [0, 0],
    ].entries()) {
      const rows = piece(at[0] ?? 0, at[1] ?? 0);
      if (index === 1) for (let y = 0; y < half; y++) rows.subarray(y * half, y * half + half).reverse();
      const dict = `/Subtype /Image /Width ${half} /Height ${half} /BitsPerComponent 8 /ColorSpace /DeviceGray`;
      objects[10 + index] = deflated(dict, rows);
    }
    const { images, flags } = read(classicPdf(objects));
    expect(flags).toEqual([]);
    expect(images).toHaveLength(1);
    expect(greyOf(images[0]).equals(GREY)).toBe(true);
  });

  test("broken ones", () => {
    for (const dict of [
      "/Filter /DCTDecode",
      "/BitsPerComponent 8 /ColorSpace /DeviceRGB",
      "/Filter /JBIG2Decode",
    ]) {
      const reading = read(classicPdf({ ...onePage(), 9: { dict: `${SIZE} ${dict}`, stream: "short" } }));
      expect(reading.images).toEqual([]);
      expect(reading.flags).toEqual(["pdf_image_unreadable"]);
    }
  });
});

describe("codes that are drawn", () => {
  const modules = each((x, y) => ({ x, y })).filter(({ x, y }) => isDark(x, y));
  /** Whether each module of the pattern is found in what was painted. */
  function isFound(content: string): boolean {
    const { images } = read(classicPdf(onePage({ content })));
    const [image] = images;
    if (images.length !== 1 || image?.kind !== "pixels") return false;
    const columns = modules.map(({ x }) => x);
    const rows = modules.map(({ y }) => y);
    const [left, right] = [Math.min(...columns), Math.max(...columns)];
    const [top, bottom] = [Math.min(...rows), Math.max(...rows)];
    const size = image.width / (right - left + 1 + 10);
    const at = (x: number, y: number): number =>
      image.data[Math.floor((y - top + 5.5) * size) * image.width + Math.floor((x - left + 5.5) * size)] ??
      -1;
    return each(
      (x, y) => x < left || x > right || y < top || y > bottom || at(x, y) < 128 === isDark(x, y),
    ).every(Boolean);
  }
  const up = (y: number): number => 700 - y * 3;
  const ways: Readonly<Record<string, string>> = {
    "a rectangle each": modules.map(({ x, y }) => `${x * 3} ${up(y)} 3 3 re f`).join("\n"),
    "rectangles filled together": `${modules.map(({ x, y }) => `${x * 3} ${up(y)} 3 3 re`).join("\n")} f`,
    "lines closed to squares": modules
      .map(
        ({ x, y }) =>
          `${x * 3} ${up(y)} m ${x * 3 + 3} ${up(y)} l ${x * 3 + 3} ${up(y) + 3} l ${x * 3} ${up(y) + 3} l h f`,
      )
      .join("\n"),
    "thick strokes": `3 w ${modules.map(({ x, y }) => `${x * 3} ${up(y) + 1.5} m ${x * 3 + 3} ${up(y) + 1.5} l S`).join("\n")}`,
    "scaled, over a background": `q 1 g 0 0 612 792 re f 0.1 0 0 0.1 0 0 cm 0 0 0 rg ${modules
      .map(({ x, y }) => `${x * 30} ${up(y) * 10} 30 30 re f`)
      .join("\n")} Q`,
    "white on black": `0 g -150 500 400 300 re f 1 g ${each((x, y) => ({ x, y }))
      .filter(({ x, y }) => !isDark(x, y))
      .map(({ x, y }) => `${x * 3} ${up(y)} 3 3 re f`)
      .join("\n")}`,
  };
  for (const [name, content] of Object.entries(ways)) {
    test(name, () => {
      expect(isFound(content)).toBe(true);
    });
  }

  test("a few lines and boxes are none", () => {
    expect(read(classicPdf(onePage({ content: "0 0 9 9 re f ".repeat(20) }))).images).toEqual([]);
  });
});
