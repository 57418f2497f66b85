import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { readStrictly } from "../../../../src/extract/readings/cut-parts.ts";
import { readLenient } from "../../../../src/extract/readings/lenient.ts";
import { readStrict } from "../../../../src/extract/readings/strict.ts";
import { leastCpu } from "../clock.ts";

const LENIENT = { bytes: 1e7, inner: 500, urls: 500, depth: 5, parts: 200 };
const STRICT = { bytes: 1e7, parts: 200, headerSize: 100_000, headerLines: 1000 };

type Shown = { readonly bytes: string };

async function bothReadings(raw: Buffer): Promise<readonly [cut: unknown, whole: unknown]> {
  const { parts } = readLenient(raw, LENIENT);
  const shown = async (reading: ReturnType<typeof readStrict>) => {
    const { headers, lines, parts: found, flags } = await reading;
    const all = found.map((part): Shown => ({ ...part, bytes: Buffer.from(part.bytes).toString("latin1") }));
    return { headers: [...headers], lines, parts: all, flags };
  };
  return [await shown(readStrictly(raw, parts, STRICT)), await shown(readStrict(raw, STRICT))];
}

const LINES = [
  "An ordinary line of a text that is long enough to make the body worth cutting out of the mail.",
  "An escape =3D, =C3=A4 and a soft break=",
  "blanks at the end  \t",
  "blanks before a soft break \t= ",
  "lower case =c3=a4 and =",
  "no escape =zz = =3",
  "=",
  "a carriage \r return",
  "a soft break of one =\rcharacter",
  "an escape over two lines =3=\r\nD",
  "-- ",
  "--b",
  "--b--",
  "--other",
  "-not a boundary",
  "Content-Type: text/plain",
  "bytes \xff\x80 of eight bits",
  "",
  ".",
  "From someone",
] as const;

const text = fc
  .array(fc.tuple(fc.integer({ min: 0, max: 40 }), fc.constantFrom("\r\n", "\r\n", "\r\n", "\n")), {
    minLength: 1,
    maxLength: 8,
  })
  .map((picks) => picks.map(([pick, ending]) => `${LINES[pick] ?? LINES[0]}${ending}`).join(""))
  .chain((lines) => fc.boolean().map((ended) => (ended ? lines : `${lines.trimEnd()} `)))
  .chain((start) =>
    fc.tuple(fc.nat({ max: 90 }), fc.boolean()).map(([lines, odd]) => {
      const filler = `${LINES[0]}\r\n`.repeat(lines);
      return odd ? filler + start : start + filler;
    }),
  );

const base64 = fc
  .tuple(
    fc.uint8Array({ minLength: 1, maxLength: 12_000 }),
    fc.constantFrom(76, 64, 60, 5000),
    fc.constantFrom("\r\n", "\n"),
  )
  .map(([bytes, width, ending]) =>
    Buffer.from(bytes)
      .toString("base64")
      .replace(new RegExp(`.{${width}}`, "g"), `$&${ending}`),
  );

const part = fc
  .tuple(
    fc.constantFrom(
      "base64",
      "quoted-printable",
      "8bit",
      "7bit",
      "x-unknown",
      "BASE64 ",
      "quoted-printable; x",
    ),
    fc.constantFrom(
      "text/plain; charset=utf-8; format=flowed",
      "text/html",
      "application/octet-stream; name=a.bin",
      "message/rfc822",
      "multipart/mixed; boundary=other",
    ),
    fc.oneof(text, base64),
    fc.boolean(),
  )
  .map(
    ([encoding, type, body, named]) =>
      `Content-Type: ${type}\r\nContent-Transfer-Encoding: ${encoding}\r\n` +
      `${named ? "Content-Disposition: attachment; filename=b.bin\r\n" : ""}\r\n${body}`,
  );

const multipart = fc
  .tuple(fc.array(part, { minLength: 1, maxLength: 4 }), text, fc.boolean())
  .map(
    ([parts, around, closed]) =>
      `Subject: x\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n${around}\r\n` +
      `${parts.map((one) => `--b\r\n${one}\r\n`).join("")}${closed ? `--b--\r\n${around}` : ""}`,
  );

describe("a mail without the bodies that are read in one way only", () => {
  test("is read as with them", async () => {
    await fc.assert(
      fc.asyncProperty(fc.oneof(multipart, multipart, part), async (mail) => {
        const [cut, whole] = await bothReadings(Buffer.from(mail, "latin1"));
        expect(cut).toEqual(whole);
      }),
      { numRuns: 400 },
    );
  });

  test("is read as with them where its bytes were changed", async () => {
    const edit = fc.tuple(
      fc.double({ min: 0, max: 1, noNaN: true }),
      fc.nat({ max: 40 }),
      fc.constantFrom("", "\r\n", "\n", "\r", "--b\r\n", "=", "\0", "Content-Transfer-Encoding: base64\r\n"),
    );
    await fc.assert(
      fc.asyncProperty(multipart, fc.array(edit, { minLength: 1, maxLength: 4 }), async (mail, edits) => {
        const changed = edits.reduce((before, [place, gone, more]) => {
          const at = Math.floor(place * before.length);
          return before.slice(0, at) + more + before.slice(at + gone);
        }, mail);
        const [cut, whole] = await bothReadings(Buffer.from(changed, "latin1"));
        expect(cut).toEqual(whole);
      }),
      { numRuns: 400 },
    );
  });

  test("that holds many bodies in one place is read in linear time", async () => {
    const one = `--b\r\n\r\n${"x".repeat(4100)}\r\n`;
    const mail = (count: number) =>
      Buffer.from(`Content-Type: multipart/mixed; boundary=b\r\n\r\n${one.repeat(count)}`);
    const limits = { ...STRICT, parts: 10_000 };
    const time = (count: number, bound: number): Promise<number> => {
      const raw = mail(count);
      const { parts } = readLenient(raw, { ...LENIENT, parts: 10_000 });
      return leastCpu(bound, async () => {
        expect((await readStrictly(raw, parts, limits)).parts).toHaveLength(count);
      });
    };
    const bound = 40 * (await time(500, 0));
    expect(await time(4000, bound)).toBeLessThan(bound);
  });
});
