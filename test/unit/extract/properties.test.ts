import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { FLAGS } from "../../../src/extract/flags.ts";
import { MAX_URL_LENGTH, normalizeUrl } from "../../../src/extract/urls/normal-form.ts";
import { attached, BOUNDS, contentsSink, extractionOf, mail, multipart, sha256 } from "./mails.ts";

const INNER = multipart(
  ["Subject: inner http://s.example/", "From: x@example.com"],
  [
    { headers: ["Content-Type: text/html"], body: "<a href='http://a.example/'>x</a> http://b.example/x" },
    attached("a.zip", Buffer.from("504b0304", "hex")),
  ],
  "inner",
);
const SEEDS: readonly Buffer[] = [
  mail(["Subject: plain", "To: a@example.com, b@example.com"], "http://c.example/ www.example.com\r\n"),
  multipart(
    ["Subject: =?utf-8?q?=C3=A4?=", "From: J <j@example.com>", "Date: Mon, 1 Jan 2024 10:00:00 +0100"],
    [
      {
        headers: ["Content-Type: text/plain; format=flowed; delsp=yes"],
        body: "hello http://d.example/ \r\nx",
      },
      { headers: ["Content-Type: message/rfc822"], body: INNER },
      attached("b.exe", "MZ"),
    ],
  ),
];

/** What hostile mails are made of. */
const SNIPPETS = [
  "\r\n",
  "\n",
  "\r",
  "\0",
  "\r\n\r\n",
  "--=_b",
  "--=_b--",
  "--inner\r\n",
  "Content-Type: multipart/mixed; boundary=inner\r\n",
  "Content-Type: message/rfc822\r\n\r\n",
  "Content-Type: ;\r\n",
  "Content-Transfer-Encoding: base64\r\n",
  "Content-Transfer-Encoding: quoted-printable\r\n",
  "Content-Disposition: attachment; filename*0*=utf-8''%ff%00; filename*1=x\r\n",
  "Content-Type: text/html; charset=utf-16le\r\n",
  'From: "a, <b@c>, (d(e\r\n',
  "Subject: =?utf-16le?b?ANg=?=\r\n",
  "Date: Mon, 99 Jan 99999999 99:99:99 +9999\r\n",
  "=?utf-8?q?",
  "http://",
  "<a href=",
  "<!--[if",
  "&#x110000;",
  "__proto__: x\r\n",
  "List-__proto__: <x>\r\n",
];

const edit = fc.record({
  at: fc.double({ min: 0, max: 1, noNaN: true }),
  remove: fc.nat({ max: 200 }),
  insert: fc.oneof(
    fc.constantFrom(...SNIPPETS).map((snippet) => Buffer.from(snippet, "latin1")),
    fc.uint8Array({ maxLength: 40 }).map((bytes) => Buffer.from(bytes)),
  ),
  times: fc.constantFrom(1, 1, 1, 3, 40),
});

const hostileMail = fc
  .tuple(fc.constantFrom(...SEEDS), fc.array(edit, { maxLength: 12 }))
  .map(([seed, edits]) =>
    edits.reduce((raw, { at, remove, insert, times }) => {
      const offset = Math.floor(at * raw.length);
      const pieces = [
        raw.subarray(0, offset),
        ...Array<Buffer>(times).fill(insert),
        raw.subarray(offset + remove),
      ];
      return Buffer.concat(pieces);
    }, seed),
  );

const tightBounds = fc.record({
  max_depth: fc.integer({ min: 1, max: 3 }),
  max_attachments: fc.integer({ min: 1, max: 4 }),
  max_urls: fc.integer({ min: 1, max: 4 }),
  max_decoded_size: fc.constantFrom(50, 500, BOUNDS.max_decoded_size),
});

describe("whatever the bytes of a mail are", () => {
  test("it is taken apart within the bounds, and what is said about it is true", async () => {
    await fc.assert(
      fc.asyncProperty(hostileMail, tightBounds, async (raw, bounds) => {
        const { sink, contents } = contentsSink();
        const extraction = await extractionOf(raw, bounds, sink);
        const { attachments, urls, flags, complete } = extraction;

        expect(attachments.length).toBeLessThanOrEqual(bounds.max_attachments);
        expect(urls.length).toBeLessThanOrEqual(bounds.max_urls);
        for (const { sha256: hash, size, path, type } of attachments) {
          const content = contents.get(hash);
          if (content === undefined) throw new Error(`no bytes of ${hash}`);
          expect(sha256(content)).toBe(hash);
          expect(content.length).toBe(size);
          expect(path.length).toBeLessThanOrEqual(bounds.max_depth);
          expect(type).toMatch(/^[a-z]+\/[a-z0-9.+_-]+$/);
        }
        for (const { normalized, sources } of urls) {
          expect(normalized.length).toBeLessThanOrEqual(MAX_URL_LENGTH);
          expect(normalizeUrl(normalized)).toBe(normalized);
          expect(sources.length).toBeGreaterThan(0);
        }
        expect(new Set(urls.map(({ normalized }) => normalized)).size).toBe(urls.length);
        for (const flag of flags) expect(Object.keys(FLAGS)).toContain(flag);
        const cut = Object.entries(FLAGS).some(
          ([name, { complete: whole }]) => !whole && flags.includes(name),
        );
        expect(complete).toBe(!cut);
        expect(JSON.parse(JSON.stringify(extraction))).toEqual(extraction);
        expect(JSON.stringify(extraction).isWellFormed()).toBe(true);
      }),
      { numRuns: 400 },
    );
  });

  test("the answer is the same every time", async () => {
    await fc.assert(
      fc.asyncProperty(hostileMail, async (raw) => {
        expect(await extractionOf(raw)).toEqual(await extractionOf(raw));
      }),
      { numRuns: 50 },
    );
  });
});

describe("taking a mail apart takes time in proportion to", () => {
  const SHAPES: Readonly<Record<string, (size: number) => Buffer>> = {
    "empty lines": (size) => mail(["Subject: x"], "\r\n".repeat(size / 2)),
    "header lines": (size) =>
      mail(
        Array.from({ length: size / 100 }, () => `X-A: ${"(".repeat(90)}`),
        "x",
      ),
    "a long From": (size) => mail([`From: ${"a@b.example,".repeat(size / 12)}`], "x"),
    "open quotes and comments": (size) => mail([`To: ${'"(<'.repeat(size / 3)}`], "x"),
    "encoded words": (size) => mail([`Subject: ${"=?utf-8?q?=C3?= ".repeat(size / 16)}`], "x"),
    parameters: (size) => mail([`Content-Type: text/plain; ${"a*0*=b; ".repeat(size / 8)}`], "x"),
    "lines like boundaries": (size) => multipart([], [{ headers: [], body: "--=_\r\n".repeat(size / 6) }]),
    "closing boundaries": (size) => multipart([], [{ headers: [], body: "--=_b--\r\n".repeat(size / 9) }]),
    "one line of base64": (size) =>
      mail(["Content-Type: application/zip", "Content-Transfer-Encoding: base64"], "A".repeat(size)),
    "soft line breaks": (size) =>
      mail(["Content-Transfer-Encoding: quoted-printable"], "=\r\n".repeat(size / 3)),
    "words of HTML": (size) => mail(["Content-Type: text/html"], "<p>www.example.com/x ".repeat(size / 21)),
  };
  test.each(Object.keys(SHAPES))("%s", async (name) => {
    const shape = SHAPES[name];
    if (shape === undefined) throw new Error("no such shape");
    const time = async (size: number): Promise<number> => {
      const raw = shape(size);
      const begin = process.cpuUsage();
      await extractionOf(raw);
      const { user, system } = process.cpuUsage(begin);
      return user + system;
    };
    await time(50_000);
    const small = Math.min(await time(120_000), await time(120_000));
    const large = Math.min(await time(960_000), await time(960_000));
    // Eight times the input; quadratic work would take 64 times as long.
    expect(large).toBeLessThan(24 * Math.max(small, 5_000));
  });
});
