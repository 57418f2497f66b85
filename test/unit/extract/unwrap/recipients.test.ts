import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { addressOf } from "../../../../src/extract/unwrap/addresses.ts";
import type { Field } from "../../../../src/extract/unwrap/carrier.ts";
import { copyRecipients, decodeCopyAddress } from "../../../../src/extract/unwrap/recipients.ts";
import { cpuNow } from "../clock.ts";

const COPIES = "copies@sensor.example";
const headers = (...lines: readonly string[]): readonly Field[] =>
  lines.map((line) => ({ name: line.slice(0, line.indexOf(":")), value: line.slice(line.indexOf(":") + 1) }));
const RECEIVED = "Received: from x by mx.corp.example";
const addresses = (fields: readonly Field[], to: readonly string[], own?: number) =>
  copyRecipients(fields, to, own).recipients.map(({ address }) => address);

describe("recipients of a copy", () => {
  test("stand in the address of the copy", () => {
    const to = ["copies+berta=corp.example@sensor.example", "copies+carl%40corp.example@sensor.example"];
    expect(copyRecipients([], to)).toEqual({
      recipients: [
        { address: "berta@corp.example", source: "copy_address" },
        { address: "carl@corp.example", source: "copy_address" },
      ],
      flags: [],
    });
  });

  test.each([
    "X-Original-To",
    "Delivered-To",
    "Envelope-To",
    "X-Envelope-To",
    "X-Delivered-To",
    "X-Gm-Original-To",
    "X-Forwarded-For",
    "X-MS-Exchange-Inbox-Rules-Loop",
    "X-MS-Exchange-ForwardingLoop",
  ])("stand in %s above the first Received", (name) => {
    expect(copyRecipients(headers(`${name}: <berta@corp.example>`, RECEIVED), [COPIES])).toEqual({
      recipients: [{ address: "berta@corp.example", source: name.toLowerCase() }],
      flags: [],
    });
  });

  test("are not taken from what a sender can write", () => {
    const fields = headers(
      "Delivered-To: copies@SENSOR.example",
      RECEIVED,
      "X-Original-To: forged@corp.example",
      "To: a@b.example",
    );
    expect(copyRecipients(fields, [COPIES]).recipients).toEqual([{ address: COPIES, source: "envelope" }]);
    expect(addresses(headers("X-Original-To: forged@corp.example"), [COPIES])).toEqual([COPIES]);
  });

  test("are taken from between the MTAs of one's own", () => {
    const fields = headers(
      RECEIVED,
      "X-Original-To: berta@corp.example",
      RECEIVED,
      "Delivered-To: forged@corp.example",
    );
    expect(addresses(fields, [COPIES], 2)).toEqual(["berta@corp.example"]);
    expect(addresses(fields, [COPIES], 3)).toEqual(["berta@corp.example"]);
    expect(addresses(fields, [COPIES], 0)).toEqual([COPIES]);
  });

  test("come once each, in order, whatever the case of the domain", () => {
    const fields = headers(
      "X-Original-To: b@corp.example",
      "Delivered-To: B@corp.example, b@CORP.example; c@corp.example",
      RECEIVED,
    );
    expect(addresses(fields, ["copies+a=corp.example@sensor.example"])).toEqual([
      "a@corp.example",
      "b@corp.example",
      "B@corp.example",
      "c@corp.example",
    ]);
  });

  test("of a forwarded mail are those it had before", () => {
    const fields = headers(
      "X-Forwarded-To: copies@sensor.example",
      "X-Forwarded-For: berta@corp.example copies@sensor.example",
      RECEIVED,
    );
    expect(addresses(fields, [COPIES])).toEqual(["berta@corp.example"]);
    const loop = headers("X-MS-Exchange-ForwardingLoop: berta@corp.example;6f2c-11", RECEIVED);
    expect(addresses(loop, [COPIES])).toEqual(["berta@corp.example"]);
  });

  test("beyond the bound are flagged", () => {
    const many = Array.from({ length: 1001 }, (_, index) => `u${index}@corp.example`);
    const { recipients, flags } = copyRecipients([], many);
    expect(recipients).toHaveLength(1000);
    expect(flags).toEqual(["copy_recipients_exceeded"]);
  });

  test("are addresses, whatever the bytes", () => {
    const field = fc.record({
      name: fc.constantFrom("X-Original-To", "Delivered-To", "Received", "X-Forwarded-For", "To"),
      value: fc.oneof(
        fc.string({ unit: "binary" }),
        fc.emailAddress(),
        fc.constant("a@b@c, <d@e.f>;\u202ex@y.z"),
      ),
    });
    fc.assert(
      fc.property(fc.array(field), fc.array(fc.oneof(fc.emailAddress(), fc.string())), (fields, to) => {
        for (const { address } of copyRecipients(fields, to).recipients)
          expect(addressOf(address)).toBe(address);
      }),
      { numRuns: 400 },
    );
    const started = cpuNow();
    for (const filler of [" ", "\t", ",", "a@b.example,", "<", "@", "+", "=", "%40"]) {
      const long = filler.repeat(200_000 / filler.length);
      copyRecipients(headers(`X-Original-To:${long}`, RECEIVED), [long, `copies+${long}@sensor.example`]);
    }
    expect(cpuNow() - started).toBeLessThan(4000);
  });
});

describe("addresses", () => {
  test.each([
    "a@b.example",
    "a.b+c=d@sub.b.example",
    "ü@müller.example",
    "a@[192.0.2.1]",
    "a@localhost",
    "a'b!#$%&*/?^`{|}~@x.example",
  ])("%s is one", (text) => {
    expect(addressOf(` <${text}> `)).toBe(text);
  });

  test.each([
    "",
    "@",
    "a@",
    "@b.example",
    "a@b@c.example",
    "a b@c.example",
    "a@b c.example",
    "a\r\n@b.example",
    "a@b.example\0",
    '"a"@b.example',
    "Name <a@b.example>",
    "a@b.example,c@d.example",
    "a@-b.example",
    "a@b.example/x",
    "a@b_.example:25",
    `${"a".repeat(65)}@b.example`,
    `a@${"b".repeat(400)}`,
    "a\u00a0b@c.example",
    "a@b\u2028.example",
  ])("%p is none", (text) => {
    expect(addressOf(text)).toBeNull();
  });

  test.each([
    ["copies+berta=corp.example@s.example", "berta@corp.example"],
    ["copies+berta+news=corp.example@s.example", "berta+news@corp.example"],
    ["copies+a=b=corp.example@s.example", "a=b@corp.example"],
    ["copies+berta%40corp.example@s.example", "berta@corp.example"],
    ["copies+year=2026@s.example", null],
    ["copies+v=1.5@s.example", null],
    ["copies+tag@s.example", null],
    ["copies+=corp.example@s.example", null],
    ["copies=corp.example@s.example", null],
  ])("%s was for %p", (address, recipient) => {
    expect(decodeCopyAddress(address)).toBe(recipient);
  });
});
