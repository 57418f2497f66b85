import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { mailIdentity } from "../../../../src/extract/unwrap/identity.ts";
import { cpuNow } from "../clock.ts";

const HEADER = [
  "Message-ID: <one@sender.example>",
  "From: anna@sender.example",
  "Subject: Offer",
  'Content-Type: multipart/mixed; boundary="a b"',
];
const BODY = "--a b\r\n\r\nHello\r\n--a b--\r\n";
const key = (fields: readonly string[], body = BODY, id: string | null = "<one@sender.example>") =>
  mailIdentity(id, Buffer.from(`${fields.join("\r\n")}\r\n\r\n${body}`, "latin1"));
const one = key(HEADER);

describe("the key of a mail", () => {
  test("is the same for copies that came on different ways", () => {
    const way = [
      "Received: from a\r\n\tby b",
      "X-MS-Exchange-Organization-SCL: 1",
      "ARC-Seal: i=1",
      "Delivered-To: x@corp.example",
      "Return-Path: <>",
    ];
    expect(key([...way, ...HEADER])).toBe(one);
    expect(key([...way.slice(0, 2), ...HEADER, "Authentication-Results: mx; spf=pass"])).toBe(one);
    expect(key(HEADER.toReversed())).toBe(one);
    expect(key(HEADER, `${BODY}\r\n\r\n`)).toBe(one);
    expect(key(HEADER, BODY.trimEnd())).toBe(one);
  });

  test("differs for another mail with the same Message-ID", () => {
    const others = [
      key(HEADER, BODY.replace("Hello", "Hallo")),
      key(HEADER, `${BODY}https://login.example/`),
      key(HEADER.map((field) => field.replace("Offer", "Order"))),
      key(HEADER.map((field) => field.replace("a b", "a  b"))),
      key([...HEADER, "Content-Type: text/html"]),
      key(["Content-Type: text/html", ...HEADER]),
      key([...HEADER, "List-Unsubscribe: <https://x.example>"]),
      key(HEADER, BODY.replaceAll("\r\n", "\n")),
      key([], `${HEADER.join("\r\n")}\r\n\r\n${BODY}`),
      key(HEADER, BODY, "<two@sender.example>"),
      key(HEADER, BODY, null),
    ];
    expect(new Set([one, ...others]).size).toBe(others.length + 1);
  });

  test("takes no time for hostile headers, and never throws", () => {
    for (const filler of ["a:\n", "\n ", " ", "\r", ":", "Received: x\n"]) {
      const started = cpuNow();
      mailIdentity(null, Buffer.from(`X: y\n ${filler.repeat(3_000_000 / filler.length)}`));
      expect(cpuNow() - started).toBeLessThan(6000);
    }
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 300 }), fc.uint8Array({ maxLength: 300 }), (a, b) => {
        expect(mailIdentity("x", a)).toMatch(/^[0-9a-f]{64}$/);
        const body = (tail: Uint8Array) => Buffer.concat([Buffer.from("A: b\n\n"), tail, Buffer.from(".")]);
        expect(mailIdentity("x", body(a)) === mailIdentity("x", body(b))).toBe(Buffer.compare(a, b) === 0);
      }),
      { numRuns: 300 },
    );
  });
});
