import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { looksDangerous } from "../../../../src/extract/readings/dangerous.ts";
import { READING_FLAGS } from "../../../../src/extract/readings/flags.ts";
import { rangesRead, readLenient } from "../../../../src/extract/readings/lenient.ts";
import { sweepRaw } from "../../../../src/extract/readings/sweep.ts";
import { leastCpu } from "../clock.ts";
import { binhexed, TRICKS } from "./tricks.ts";

const LIMITS = { bytes: 64 * 1024 * 1024, inner: 500, urls: 500, depth: 10, parts: 500 };
const WIDE = { ...LIMITS, depth: 1e6, parts: 1e6, inner: 1e6 };

const HEAD = "From: a@example.com\r\nSubject: x\r\nMIME-Version: 1.0\r\n";
const repeat = (text: string, size: number): string =>
  text.repeat(Math.ceil(size / text.length)).slice(0, size);
const around =
  (before: string, text: string, after = "") =>
  (size: number): Buffer =>
    Buffer.from(before + repeat(text, size) + after, "latin1");
const counted =
  (before: string, one: (index: number) => string) =>
  (size: number): Buffer => {
    const pieces = [before];
    for (let index = 0, length = 0; length < size; index++) {
      const piece = one(index);
      pieces.push(piece);
      length += piece.length;
    }
    return Buffer.from(pieces.join(""), "latin1");
  };
const MULTI = `${HEAD}Content-Type: multipart/mixed; boundary=`;
const BASE64 = `${HEAD}Content-Transfer-Encoding: base64\r\n\r\n`;
const QUOTED = `${HEAD}Content-Transfer-Encoding: quoted-printable\r\n\r\n`;

const SHAPES: Readonly<Record<string, (size: number) => Buffer>> = {
  "nested comments": (size) =>
    Buffer.from(`${MULTI}${"(".repeat(size / 2)}${")".repeat(size / 2)}b\r\n\r\n--b\r\n\r\nx`),
  "open comments": around(MULTI, "("),
  "boundary parameters": around(`${HEAD}Content-Type: multipart/mixed`, "; boundary=abcd", "\r\n\r\n"),
  "Content-Type headers": counted(
    HEAD,
    (index) => `Content-Type: multipart/mixed; boundary=abcd${index}\r\n`,
  ),
  "boundary lines": around(`${MULTI}b\r\n\r\n`, "--b\r\n"),
  "closing boundary lines": around(`${MULTI}b\r\n\r\n`, "--b--\r\n"),
  "parts of unknown boundaries": counted(
    `${MULTI}b\r\n\r\n`,
    (index) => `--z${index}\r\nContent-Type: a/b\r\n\r\n`,
  ),
  "base64 parts of unknown boundaries": counted(
    `${MULTI}b\r\n\r\n`,
    (index) =>
      `--z${index}\r\nContent-Type: a/b\r\nContent-Transfer-Encoding: base64\r\n\r\nUEsDBBQA*AAA\r\n`,
  ),
  "nested parts": counted(
    HEAD,
    (index) => `Content-Type: multipart/mixed; boundary=b${index}\r\n\r\n--b${index}\r\n`,
  ),
  "nested mails": around("", "From: a@b\r\nTo: c@d\r\nContent-Type: message/rfc822\r\n\r\n"),
  "header lines": around("", "X-A: b\r\n"),
  "one long header": around("Subject: ", "x "),
  "folded lines": around("Content-Type: a\r\n", " b\r\n"),
  "blank folded lines": around("Content-Type: a\r\n", " \r\n"),
  "blanks in a header": around(`${HEAD}Content-Type: multipart/mixed; boundary`, " ", "\r\n\r\n"),
  "hidden headers": around("X: ", "\x0bContent-Type: a/b"),
  "encoded words": around(`${HEAD}Content-Type: a/b; name="`, "=?utf-8?q?a?= "),
  "pieces of a name": counted(`${HEAD}Content-Type: a/b`, (index) => `; name*${index}=x`),
  colons: around("", ":"),
  NULs: around("", "\0"),
  "bare CRs": around("", "\r"),
  "bare LFs": around("", "\n"),
  dashes: around("", "-"),
  "lines of dashes": around("", "--\r\n"),
  "ends of data": around("", "\n.\nFrom: a\nTo: b\n"),
  commands: around("a\n.\n", "rset\r\n"),
  "no line breaks": around("", "abcdefgh "),
  "base64 without line breaks": around("", "UEsDBBQAAgAI"),
  "base64 with junk": around(BASE64, "UEsDBBQAAgAI*-"),
  "base64 with padding": around(BASE64, "UEsDBBQA="),
  "base64 and text": around("", "UEsDBBQAAgAIABFK\r\nhello my dear world\r\n"),
  "beginnings of base64": around("", "UEsD "),
  "open parentheses in base64": around(BASE64, "("),
  "beginnings of uuencode": around("", "begin 644 a\r\n#86)C\r\n"),
  "small BinHex files": around("", `${binhexed(Buffer.from("abc"))}\r\n`),
  "beginnings of yEnc": around("", "=ybegin a\r\n"),
  "beginnings of BinHex": around("", "BinHex\r\n:"),
  "run lengths of BinHex": around("BinHex\r\n:", "$3Ip"),
  "beginnings of Ascii85": around("", "<~"),
  "zeros of Ascii85": around("<~", "z"),
  "broken escapes": around(QUOTED, "=0"),
  "signs and blanks": around(QUOTED, "= "),
  "blanks at line ends": around(QUOTED, "   \n"),
  "beginnings of zip": around("", "PK\x03\x04"),
  "headers in a text": around("", "hello\r\nFrom: a\r\nContent-Type: text/plain\r\n\r\n"),
  "MIME lines": around("", "MIME-Version: 1.0\r\n"),
  "shifted UTF-7": around(`${HEAD}Content-Type: text/plain; charset=utf-7\r\n\r\n`, "+ADw-"),
};

function read(mail: Buffer, limits: typeof LIMITS): void {
  const lenient = readLenient(mail, limits);
  sweepRaw(mail, limits, { worth: looksDangerous });
  sweepRaw(mail, limits, { worth: looksDangerous, skip: rangesRead(lenient), heads: lenient.heads });
}

describe("time grows no faster than the mail:", () => {
  for (const [name, shape] of Object.entries(SHAPES)) {
    for (const [bounds, limits] of [
      ["usual", LIMITS],
      ["wide", WIDE],
    ] as const) {
      test(`${name}, ${bounds} bounds`, async () => {
        read(shape(16 * 1024), limits);
        const [small, large] = [shape(256 * 1024), shape(1024 * 1024)];
        // Four times the bytes; the rest is for a busy machine.
        const bound = 12 * Math.max(20, await leastCpu(0, () => read(small, limits)));
        expect(await leastCpu(bound, () => read(large, limits))).toBeLessThan(bound);
      });
    }
  }

  test("a million boundary lines and ten thousand nested parts end at their bound", async () => {
    const lines = Buffer.from(`${MULTI}b\r\n\r\n${"--b\r\n".repeat(1e6)}`);
    expect(await leastCpu(2000, () => read(lines, LIMITS))).toBeLessThan(2000);
    expect(readLenient(lines, LIMITS).flags).toContain("lenient_parts_exceeded");
    const nested = Array.from(
      { length: 10_000 },
      (_, index) => `Content-Type: multipart/mixed; boundary=b${index}\r\n\r\n--b${index}\r\n`,
    );
    const mail = Buffer.from(HEAD + nested.join(""));
    expect(await leastCpu(2000, () => read(mail, LIMITS))).toBeLessThan(2000);
  });
});

const edit = fc.record({
  at: fc.double({ min: 0, max: 1, noNaN: true }),
  remove: fc.nat({ max: 60 }),
  insert: fc.oneof(
    fc
      .constantFrom(
        "\r\n",
        "\n",
        "\r",
        "\0",
        "\r\n\r\n",
        "=",
        "--",
        "--b1\r\n",
        "--bbb1--",
        ":",
        "(",
        '"',
        "\\",
        "=?utf-8?q?",
        "Content-Type: multipart/mixed; boundary=b1\r\n",
        "Content-Type: message/rfc822\r\n\r\n",
        "Content-Transfer-Encoding: base64\r\n",
        "Content-Transfer-Encoding: x-uuencode\r\n",
        "begin 644 a\r\n",
        "=ybegin a\r\n",
        "BinHex 4.0\r\n:",
        "<~",
        "\n.\n",
        "UEsDBBQA",
        "boundary*0*=''%62; boundary*1=1;",
      )
      .map((text) => Buffer.from(text, "latin1")),
    fc.uint8Array({ maxLength: 30 }).map((bytes) => Buffer.from(bytes)),
  ),
});
const mutated = fc
  .tuple(fc.constantFrom(...TRICKS), fc.array(edit, { maxLength: 8 }))
  .map(([{ mail }, edits]) =>
    edits.reduce((raw, { at, remove, insert }) => {
      const offset = Math.floor(at * raw.length);
      return Buffer.concat([raw.subarray(0, offset), insert, raw.subarray(offset + remove)]);
    }, mail),
  );

describe("mutated mails", () => {
  test("never make a reading throw, and keep its bounds", () => {
    const limits = { bytes: 20_000, inner: 6, urls: 6, depth: 3, parts: 12 };
    fc.assert(
      fc.property(mutated, (mail) => {
        const lenient = readLenient(mail, limits);
        const swept = sweepRaw(mail, limits, { worth: looksDangerous });
        expect(lenient.parts.length).toBeLessThanOrEqual(limits.parts);
        expect(swept.found.length).toBeLessThanOrEqual(limits.inner);
        const size = (items: readonly { readonly bytes: Uint8Array }[]): number =>
          items.reduce((sum, { bytes }) => sum + bytes.length, 0);
        expect(size(lenient.parts.filter(({ kind }) => kind !== "mail"))).toBeLessThanOrEqual(limits.bytes);
        expect(size(swept.found.filter(({ how }) => how !== "mail"))).toBeLessThanOrEqual(limits.bytes);
        for (const { range, depth } of lenient.parts) {
          expect(depth).toBeLessThanOrEqual(limits.depth);
          if (range !== null) expect(range.start <= range.end && range.end <= mail.length).toBe(true);
        }
        for (const { range } of swept.found)
          expect(range.start < range.end && range.end <= mail.length).toBe(true);
        for (const flag of [...lenient.flags, ...swept.flags]) expect(READING_FLAGS).toHaveProperty(flag);
      }),
      { numRuns: 500 },
    );
  });

  test("give the same answer each time", () => {
    fc.assert(
      fc.property(mutated, (mail) => {
        expect(readLenient(mail, LIMITS)).toEqual(readLenient(mail, LIMITS));
      }),
      { numRuns: 60 },
    );
  });
});
