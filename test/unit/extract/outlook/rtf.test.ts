import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { decompressRtf } from "../../../../src/extract/outlook/compressed-rtf.ts";
import { readRtfBody } from "../../../../src/extract/outlook/rtf-body.ts";
import { ascii, join, lzfu, u32 } from "./writers.ts";

const text = (bytes: Uint8Array): string => Buffer.from(bytes).toString("latin1");
const body = (rtf: string) => readRtfBody(ascii(rtf));

describe("compressed RTF", () => {
  /** The two examples of [MS-OXRTFCP] 3.1 and 3.2. */
  test("unpacks what its specification gives as examples", () => {
    const simple = Buffer.from(
      "2d0000002b0000004c5a4675f1c5c7a703000a007263706731323542320af32068656c090020627705b06c647d0a800fa0",
      "hex",
    );
    expect(decompressRtf(simple, 1000)).toMatchObject({ broken: false, exceeded: false });
    expect(text(decompressRtf(simple, 1000).rtf)).toBe("{\\rtf1\\ansi\\ansicpg1252\\pard hello world}\r\n");
    const crossing = Buffer.from("1a0000001c0000004c5a4675e2d44b51410004205758595a0d6e7d010eb0", "hex");
    expect(text(decompressRtf(crossing, 1000).rtf)).toBe("{\\rtf1 WXYZWXYZWXYZWXYZWXYZ}");
    expect(decompressRtf(crossing, 1000).broken).toBe(false);
  });

  test("may be stored as it is", () => {
    const stored = join(u32(12 + 5), u32(5), ascii("MELA"), u32(0), ascii("{\\rtf"));
    expect(decompressRtf(stored, 100)).toEqual({ rtf: ascii("{\\rtf"), broken: false, exceeded: false });
  });

  test("without a header is taken as RTF, and said to be broken", () => {
    expect(decompressRtf(ascii("{\\rtf1 hello}"), 100)).toMatchObject({
      rtf: ascii("{\\rtf1 hello}"),
      broken: true,
    });
    expect(decompressRtf(new Uint8Array(0), 100)).toMatchObject({ broken: true });
  });

  test("comes back as it was", () => {
    fc.assert(
      fc.property(fc.string({ maxLength: 6000, unit: fc.constantFrom(..."abc{}\\ \n") }), (rtf) => {
        const unpacked = decompressRtf(lzfu(rtf), 10_000);
        expect(text(unpacked.rtf)).toBe(rtf);
        expect(unpacked.broken).toBe(false);
      }),
      { numRuns: 200 },
    );
  });

  test("is unpacked to its bound, and says so", () => {
    const bomb = new Uint8Array(17 * 1000);
    for (let at = 0; at < bomb.length; at += 17) bomb.set([0xff], at);
    for (let at = 0; at < bomb.length; at++) if (at % 17 !== 0 && (at % 17) % 2 === 0) bomb[at] = 0x0f;
    const packed = lzfu("", bomb);
    const unpacked = decompressRtf(packed, 5000);
    expect(unpacked.rtf).toHaveLength(5000);
    expect(unpacked.exceeded).toBe(true);
    expect(decompressRtf(packed, 1e9).rtf.length).toBeLessThanOrEqual(bomb.length * 8);
  });

  test("of any bytes gives no more than its bound", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 500 }), fc.nat(300), (bytes, most) => {
        expect(decompressRtf(lzfu("", bytes), most).rtf.length).toBeLessThanOrEqual(most);
        expect(decompressRtf(bytes, most).rtf.length).toBeLessThanOrEqual(most);
      }),
      { numRuns: 300 },
    );
  });
});

describe("an RTF body", () => {
  test("made from HTML is that HTML", () => {
    const rtf =
      "{\\rtf1\\ansi\\ansicpg1252\\fromhtml1 \\deff0{\\fonttbl{\\f0\\fswiss Arial;}}\r\n" +
      "{\\*\\htmltag19 <html>}{\\*\\htmltag64 <p>}\\htmlrtf {\\htmlrtf0 See \r\n" +
      '{\\*\\htmltag84 <a href="http://a.example/">}\\htmlrtf {\\field{\\*\\fldinst{HYPERLINK "http://a.example/"}}' +
      "{\\fldrslt\\cf1\\ul \\htmlrtf0 here\\htmlrtf }\\htmlrtf0 \\htmlrtf }\\htmlrtf0 " +
      "{\\*\\htmltag92 </a>}{\\*\\mhtmltag84 <a href=3D>}\\'e4\\u8364?\\par\\htmlrtf }\\htmlrtf0{\\*\\htmltag27 </html>}}";
    expect(body(rtf)).toEqual({
      kind: "html",
      text: '<html><p>See <a href="http://a.example/">here</a>ä€\r\n</html>',
      active: false,
    });
  });

  test("made from text is that text", () => {
    const rtf =
      "{\\rtf1\\ansi\\ansicpg1252\\fromtext \\deff0{\\fonttbl{\\f0 Arial;}}{\\colortbl;\\red0;}\\f0 a\\{b\\}\\par\\tab c}";
    expect(body(rtf)).toEqual({ kind: "text", text: "a{b}\r\n\tc", active: false });
  });

  test("that is only RTF shows its text and the targets of its links", () => {
    const rtf =
      '{\\rtf1{\\stylesheet{\\s0 Normal;}}{\\*\\generator X;}Go {\\field{\\*\\fldinst HYPERLINK "http://b.example/"}{\\fldrslt there}}' +
      "{\\pict\\bin3 }}}}\\~{\\info{\\author me}}.}";
    expect(body(rtf)).toEqual({
      kind: "text",
      text: 'Go HYPERLINK "http://b.example/"there\u00a0.',
      active: false,
    });
  });

  test("has the code pages of its fonts", () => {
    const rtf =
      "{\\rtf1\\ansi\\ansicpg1252{\\fonttbl{\\f0 A;}{\\f1\\fcharset128 B;}{\\f2\\fcharset204 C;}}" +
      "\\'e4{\\f1\\'82\\'a0}{\\f2\\'c4}\\'e4}";
    expect(body(rtf).text).toBe("äあДä");
  });

  test("skips what stands in for characters written by number", () => {
    expect(body("{\\rtf1\\uc2\\u1044\\'c4?x{\\uc0\\u1044}y}").text).toBe("ДxДy");
    expect(body("{\\rtf1\\u-10179?\\u-8704?}").text).toBe("😀");
  });

  test("tells of objects and templates", () => {
    expect(body("{\\rtf1{\\object\\objemb{\\*\\objdata 0105}}x}")).toEqual({
      kind: "text",
      text: "x",
      active: true,
    });
    expect(body("{\\rtf1{\\*\\template http://c.example/t.dotm}x}").active).toBe(true);
  });

  test("of any words and groups is read to its end", () => {
    const word = fc.constantFrom(
      ..."{ } \\ \\* \\'e4 \\'zz \\u8364? \\htmlrtf \\htmlrtf0 \\f1 \\bin9 \\bin-1 \\fonttbl \\htmltag \\par a".split(
        " ",
      ),
      ..."\\uc9 \\fromhtml1 \\ansicpg932 \\fcharset128 \\u99999999999 \\".split(" "),
    );
    fc.assert(
      fc.property(fc.array(word, { maxLength: 60 }), (words) => {
        const rtf = `{\\rtf1${words.join("")}`;
        expect(body(rtf).text.length).toBeLessThanOrEqual(rtf.length * 2);
      }),
      { numRuns: 300 },
    );
  });
});
