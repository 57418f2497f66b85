import { afterAll, describe, expect, test } from "bun:test";
import { writeFileSync } from "node:fs";
import fc from "fast-check";
import { FACTS } from "../../../src/extract/facts.ts";
import { FLAGS } from "../../../src/extract/flags.ts";
import { readAnswer } from "../../../src/extract/helper-protocol.ts";
import { createExtractPool } from "../../../src/extract/pool.ts";
import { MAX_URL_LENGTH, normalizeUrl } from "../../../src/extract/urls/normal-form.ts";
import { createLog } from "../../../src/log.ts";
import { leastCpu } from "./clock.ts";
import { BOUNDS, contentsSink, extractionOf, mail, multipart, sha256 } from "./mails.ts";
import { hostileMail, SEEDS } from "./seeds.ts";

/** Mails of the long run (`npm run test:long`); by default it takes seconds. */
const LONG = Number(process.env.EMAIL_SENSOR_LONG ?? 0);
const RUNS = LONG > 0 ? LONG : 400;
const TIMEOUT = LONG > 0 ? 24 * 3600_000 : 60_000;
/** Of a mail of some kilobytes. */
const MAX_SECONDS = 10;
/** What a helper has for itself is a part of it. */
const MAX_MEMORY = 400 * 1024 * 1024;

const helpers = createExtractPool(
  { ...BOUNDS, timeout: MAX_SECONDS * 1000, helpers: 1, memory: MAX_MEMORY },
  createLog("error", () => {}),
);
afterAll(() => helpers.close());

const tightBounds = fc.record({
  max_depth: fc.integer({ min: 1, max: 3 }),
  max_parts: fc.constantFrom(1, 3, BOUNDS.max_parts),
  max_attachments: fc.integer({ min: 1, max: 4 }),
  max_urls: fc.integer({ min: 1, max: 4 }),
  max_recipients: fc.constantFrom(1, 2, BOUNDS.max_recipients),
  max_header_size: fc.constantFrom(1024, BOUNDS.max_header_size),
  max_header_lines: fc.constantFrom(10, BOUNDS.max_header_lines),
  max_mail_size: fc.constantFrom(1024, BOUNDS.max_mail_size),
  max_decoded_size: fc.constantFrom(50, 500, BOUNDS.max_decoded_size),
  max_unpacked_size: fc.constantFrom(1024, BOUNDS.max_unpacked_size),
  max_archive_members: fc.constantFrom(1, 2, BOUNDS.max_archive_members),
});

/** Keeps a mail that does not pass, for a run that is too long to repeat. */
async function keepingFailures(raw: Uint8Array, check: () => Promise<void>): Promise<void> {
  try {
    await check();
  } catch (thrown) {
    const kept = process.env.EMAIL_SENSOR_KEEP;
    if (kept !== undefined) writeFileSync(`${kept}/${sha256(raw)}.eml`, raw);
    throw thrown;
  }
}

describe("whatever the bytes of a mail are", () => {
  test(
    "it is taken apart within the bounds, and what is said about it is true",
    async () => {
      const within = async (raw: Uint8Array, bounds: Partial<typeof BOUNDS>): Promise<void> => {
        const { max_attachments, max_urls, max_depth, max_recipients } = { ...BOUNDS, ...bounds };
        const { sink, contents } = contentsSink();
        const extraction = await extractionOf(raw, bounds, sink);
        const { attachments, urls, flags, complete, envelope } = extraction;

        expect(attachments.length).toBeLessThanOrEqual(max_attachments);
        expect(urls.length).toBeLessThanOrEqual(max_urls);
        for (const list of [
          extraction.mail.from,
          extraction.mail.to,
          extraction.mail.cc,
          envelope?.to ?? [],
        ]) {
          expect(list.length).toBeLessThanOrEqual(max_recipients);
        }
        for (const { sha256: hash, size, path, type, facts } of attachments) {
          const content = contents.get(hash);
          if (content === undefined) throw new Error(`no bytes of ${hash}`);
          expect(sha256(content)).toBe(hash);
          expect(content.length).toBe(size);
          expect(path.length).toBeLessThanOrEqual(max_depth);
          expect(type).toMatch(/^[a-z]+\/[a-z0-9.+_-]+$/);
          for (const fact of facts) expect(FACTS).toHaveProperty([fact]);
        }
        for (const { normalized, sources } of urls) {
          expect(normalized.length).toBeLessThanOrEqual(MAX_URL_LENGTH);
          expect(normalizeUrl(normalized)).toBe(normalized);
          expect(sources.length).toBeGreaterThan(0);
        }
        expect(new Set(urls.map(({ normalized }) => normalized)).size).toBe(urls.length);
        for (const flag of flags) expect(FLAGS).toHaveProperty([flag]);
        expect(complete).toBe(flags.every((flag) => FLAGS[flag]?.complete === true));
        const json = JSON.stringify({ kind: "extracted", extraction });
        expect(json.isWellFormed()).toBe(true);
        expect(readAnswer(Buffer.from(json))).toEqual({ kind: "extracted", extraction });
      };
      for (const seed of SEEDS) await within(seed, {});
      await fc.assert(
        fc.asyncProperty(hostileMail, tightBounds, (raw, bounds) =>
          keepingFailures(raw, () => within(raw, bounds)),
        ),
        { numRuns: RUNS },
      );
    },
    TIMEOUT,
  );

  test(
    "it costs no helper its life, and little time and memory",
    async () => {
      await fc.assert(
        fc.asyncProperty(hostileMail, (raw) =>
          keepingFailures(raw, async () => {
            await helpers.extract({ kind: "inline", bytes: raw });
          }),
        ),
        { numRuns: RUNS },
      );
      expect(helpers.stats()).toMatchObject({ failed: 0, killed: 0 });
    },
    TIMEOUT,
  );

  test(
    "the answer is the same every time",
    async () => {
      await fc.assert(
        fc.asyncProperty(hostileMail, async (raw) => {
          expect(await extractionOf(raw)).toEqual(await extractionOf(raw));
        }),
        { numRuns: Math.ceil(RUNS / 8) },
      );
    },
    TIMEOUT,
  );
});

describe("taking a mail apart takes time in proportion to", () => {
  const encoded = (type: string, text: string): Buffer =>
    mail(
      [`Content-Type: ${type}`, "Content-Transfer-Encoding: base64"],
      Buffer.from(text).toString("base64").replace(/.{76}/g, "$&\r\n"),
    );
  const filled = (size: number, text: string): string => text.repeat(Math.floor(size / text.length));
  const numbered = (size: number, line: (n: number) => string): string =>
    Array.from({ length: Math.floor(size / line(10_000).length) }, (_, n) => line(n)).join("");
  const SHAPES: Readonly<Record<string, (size: number) => Buffer>> = {
    "empty lines": (size) => mail(["Subject: x"], filled(size, "\r\n")),
    "header lines": (size) =>
      mail(
        Array.from({ length: size / 100 }, () => `X-A: ${"(".repeat(90)}`),
        "x",
      ),
    "header lines of one name": (size) =>
      mail(
        Array.from({ length: size / 40 }, (_, n) => `Content-Type: text/plain; name=${n}`),
        "x",
      ),
    "a folded header": (size) => mail([`Subject: x${filled(size, "\r\n y")}`], "x"),
    "a long From": (size) => mail([`From: ${filled(size, "a@b.example,")}`], "x"),
    "nested comments": (size) => mail([`To: ${filled(size / 2, "(")}${filled(size / 2, ")")}`], "x"),
    "nested groups": (size) => mail([`To: ${filled(size, "g:")}`], "x"),
    "open quotes and comments": (size) => mail([`To: ${filled(size, '"(<')}`], "x"),
    "encoded words": (size) => mail([`Subject: ${filled(size, "=?utf-8?q?=C3?= ")}`], "x"),
    parameters: (size) => mail([`Content-Type: text/plain; ${filled(size, "a*0*=b; ")}`], "x"),
    "numbered parameters": (size) =>
      mail([`Content-Type: text/plain; ${numbered(size, (n) => `name*${n}=b; `)}`], "x"),
    "lines like boundaries": (size) => multipart([], [{ headers: [], body: filled(size, "--=_\r\n") }]),
    boundaries: (size) => multipart([], [{ headers: [], body: filled(size, "--=_b\r\n\r\n") }]),
    "different boundaries": (size) =>
      multipart([], [{ headers: [], body: numbered(size, (n) => `--${n}\r\n`) }]),
    "closing boundaries": (size) => multipart([], [{ headers: [], body: filled(size, "--=_b--\r\n") }]),
    "multiparts within each other": (size) =>
      mail(
        ["MIME-Version: 1.0"],
        numbered(size, (n) => `Content-Type: multipart/mixed; boundary=b${n}\r\n\r\n--b${n}\r\n`),
      ),
    "mails within each other": (size) => Buffer.from(filled(size, "Content-Type: message/rfc822\r\n\r\n")),
    "one line of base64": (size) =>
      mail(["Content-Type: application/zip", "Content-Transfer-Encoding: base64"], filled(size, "A")),
    "base64 of no declared kind": (size) => mail(["Subject: x"], filled(size, "TVqQAAMAAAAEAAAA\r\n")),
    "soft line breaks": (size) =>
      mail(["Content-Transfer-Encoding: quoted-printable"], filled(size, "=\r\n")),
    "beginnings of encodings": (size) =>
      mail(
        ["Subject: x"],
        filled(size, "begin 644 a\r\n=ybegin line=1 size=9 name=a\r\n(This file must be converted\r\n:\r\n"),
      ),
    "beginnings of mails": (size) =>
      mail(["Subject: x"], filled(size, "From: a\r\nSubject: b\r\nTo: c\r\n\r\n")),
    "words of HTML": (size) => mail(["Content-Type: text/html"], filled(size, "<p>www.example.com/x ")),
    "unclosed tags": (size) => mail(["Content-Type: text/html"], filled(size, "<a href='http://a.example/")),
    "elements within each other": (size) =>
      mail(["Content-Type: text/html"], filled(size, "<table><tr><td>")),
    "comments that never close": (size) =>
      mail(["Content-Type: text/html"], filled(size, "<!--<!-[if <![CDATA[")),
    "styles and scripts": (size) =>
      mail(
        ["Content-Type: text/html"],
        filled(size, "<style>a{b:url(</style><script>a='\\x68'+\"b\"+</script>"),
      ),
    "a script of pieces": (size) =>
      mail(["Content-Type: text/html"], `<script>a=${filled(size, "'ht'+")}''</script>`),
    "text without blanks": (size) => mail(["Subject: x"], filled(size, "http://a.b@c.d:")),
    "wrapped URLs": (size) =>
      mail(
        ["Subject: x"],
        numbered(size, (n) => `http://a.example/?url=http%3A%2F%2Fb${n}.example%2F%3Fu%3Dhttp%253A\n`),
      ),
    "a table of cells": (size) =>
      mail(["Content-Type: text/html"], `<table>${filled(size, "<td bgcolor=#000>")}`),
    "blocks of characters": (size) => mail(["Subject: x"], filled(size, "\u2588\u2580\u2584 \n")),
    "RTF in groups": (size) => encoded("application/rtf", `{\\rtf1${filled(size, "{\\object\\objdata 01")}`),
    "a calendar": (size) =>
      encoded("text/calendar", `BEGIN:VCALENDAR\r\n${filled(size, "URL:http://a.example\r\n x\r\n")}`),
    "objects of PDF": (size) =>
      encoded("application/pdf", `%PDF-1.4\n${numbered(size, (n) => `${n} 0 obj<</A[(`)}`),
    "signatures of zip": (size) => encoded("application/zip", filled(size, "PK\x03\x04PK\x01\x02")),
  };
  test.each(Object.keys(SHAPES))("%s", async (name) => {
    const shape = SHAPES[name];
    if (shape === undefined) throw new Error("no such shape");
    await extractionOf(shape(50_000));
    const small = await leastCpu(0, () => extractionOf(shape(120_000)));
    // Eight times the input; quadratic work would take 64 times as long. Below 10 ms a collection is most of it.
    const bound = 24 * Math.max(small, 10);
    const large = shape(960_000);
    expect(await leastCpu(bound, () => extractionOf(large))).toBeLessThan(bound);
  });
});
