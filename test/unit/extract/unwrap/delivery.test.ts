import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import type { Carrier, LeafPart } from "../../../../src/extract/unwrap/carrier.ts";
import { readDeliveryReport } from "../../../../src/extract/unwrap/delivery.ts";
import { cpuNow } from "../clock.ts";

const part = (declared: string, content: string): LeafPart => ({
  declared,
  name: null,
  bytes: Buffer.from(content),
  disposition: null,
});

const STATUS = `Reporting-MTA: dns; mx.corp.example
Arrival-Date: Mon, 2 Nov 2026 10:00:00 +0000

Original-Recipient: rfc822;Journal@archive.example
Final-Recipient: rfc822; journal@archive.example
Action: failed
Status: 5.1.1
Diagnostic-Code: smtp; 550 5.1.1
  no such user

Final-Recipient: RFC822;other@archive.example
Action: Delayed (later)
Status: 4.4.1 (timeout)
`.replaceAll("\n", "\r\n");

const report = (parts: readonly LeafPart[]): Carrier => ({
  headers: [{ name: "Content-Type", value: 'multipart/report; report-type=delivery-status; boundary="x"' }],
  parts,
});
const text = part("text/plain", "Sorry.");
const status = part("message/delivery-status", STATUS);

describe("a delivery report", () => {
  test("gives its recipients and the place of the mail", () => {
    expect(readDeliveryReport(report([text, status, part("message/rfc822", "Subject: a\n\nb")]))).toEqual({
      kind: "report",
      recipients: [
        {
          address: "journal@archive.example",
          original: "Journal@archive.example",
          action: "failed",
          status: "5.1.1",
        },
        { address: "other@archive.example", original: null, action: "delayed", status: "4.4.1" },
      ],
      original: { part: 2, complete: true },
      flags: [],
    });
  });

  test("may have the header of the mail alone, or no mail", () => {
    const head = part("text/rfc822-headers", "Subject: a");
    expect(readDeliveryReport(report([text, status, head]))).toMatchObject({
      original: { part: 2, complete: false },
    });
    expect(readDeliveryReport(report([text, status]))).toMatchObject({ original: null });
  });

  test("prefers the whole mail after the status", () => {
    const mail = part("message/rfc822", "Subject: a\n\nb");
    const parts = [mail, status, part("text/rfc822-headers", "Subject: a"), mail];
    expect(readDeliveryReport(report(parts))).toMatchObject({ original: { part: 3, complete: true } });
  });

  test("of nothing readable is flagged", () => {
    const parts = [text, part("message/delivery-status", "hello\n\nFinal-Recipient: x400; /c=de/\n")];
    expect(readDeliveryReport(report(parts))).toEqual({
      kind: "report",
      recipients: [],
      original: null,
      flags: ["delivery_report_damaged"],
    });
  });

  test("with more recipients than the bound is flagged", () => {
    const many = "Final-Recipient: rfc822; a@b.example\n\n".repeat(1001);
    const found = readDeliveryReport(report([text, part("message/delivery-status", many)]));
    expect(found).toMatchObject({ flags: ["delivery_recipients_exceeded"] });
  });

  test("is none without the status, or in another kind of mail", () => {
    expect(readDeliveryReport(report([text]))).toEqual({ kind: "not" });
    expect(readDeliveryReport({ headers: [], parts: [text, status] })).toEqual({ kind: "not" });
  });

  test("garbage never throws, and white space takes no time", () => {
    for (const filler of [" ", "\n", "\t\n", "a:\n b\n", ":", "Final-Recipient: rfc822;"]) {
      const started = cpuNow();
      readDeliveryReport(report([part("message/delivery-status", filler.repeat(1_000_000 / filler.length))]));
      expect(cpuNow() - started).toBeLessThan(4000);
    }
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 500 }), fc.string(), (bytes, type) => {
        const parts = [{ ...status, bytes }];
        readDeliveryReport(report(parts));
        readDeliveryReport({ headers: [{ name: "content-type", value: type }], parts });
      }),
      { numRuns: 300 },
    );
  });
});
