import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import type { Bounds } from "../../../src/extract/bounds.ts";
import { takeApart } from "../../../src/extract/take-apart.ts";
import { cpuNow } from "./clock.ts";
import { attached, BOUNDS, mail, multipart, type Part } from "./mails.ts";

const JOURNAL = "journal@sensor.example";
const EXCHANGE =
  "Received: from EX1.corp.example (10.0.0.5) by EX2.corp.example (10.0.0.6) with Microsoft SMTP Server\r\n (version=TLS1_2, cipher=TLS_ECDHE) id 15.2.1544.4; Mon, 2 Nov 2026 10:00:00 +0000";
const POSTFIX =
  "Received: from stranger.example (unknown [203.0.113.5])\r\n\tby mx.corp.example (Postfix) with ESMTP id 4F2\r\n\tfor <victim@corp.example>; Mon, 2 Nov 2026 10:00:00 +0000 (UTC)";

const INNER = multipart(
  [
    "From: Anna <anna@sender.example>",
    "To: berta@corp.example",
    "Subject: Offer 12",
    "Message-ID: <one@sender.example>",
  ],
  [
    { headers: ["Content-Type: text/plain"], body: "see http://link.sender.example/offer" },
    attached("a.exe", "MZ inner"),
  ],
);
const TEXT = [
  "Sender: anna@sender.example",
  "Subject: Offer 12",
  "Message-Id: <one@sender.example>",
  "To: berta@corp.example",
  "Bcc: carl@corp.example",
  "",
].join("\r\n");

type ReportChange = {
  readonly top?: readonly string[];
  readonly to?: string;
  readonly text?: string;
  readonly marker?: string;
  readonly more?: readonly Part[];
};

const report = ({ top = [], to = JOURNAL, text = TEXT, marker, more = [] }: ReportChange = {}): Buffer =>
  multipart(
    [
      ...top,
      "From: Exchange <MicrosoftExchange329e71ec88ae4615bbc36ab6ce41109e@corp.example>",
      `To: <${to}>`,
      "Subject: Offer 12",
      "Message-ID: <report@corp.example>",
      marker ?? "X-MS-Journal-Report:",
    ],
    [
      { headers: ["Content-Type: text/plain; charset=us-ascii"], body: text },
      { headers: ["Content-Type: message/rfc822"], body: INNER },
      ...more,
    ],
    "=_r",
  );

const read = (raw: Uint8Array, copiedTo: readonly string[], rules: Partial<Bounds> = {}) =>
  takeApart(raw, { ...BOUNDS, ...rules }, { copiedTo });

const expectTaken = async (raw: Uint8Array, copiedTo: readonly string[], rules: Partial<Bounds> = {}) => {
  const { envelope, mail: facts, attachments, flags } = await read(raw, copiedTo, rules);
  expect(envelope).toMatchObject({
    source: "journal",
    from: "anna@sender.example",
    to: ["berta@corp.example", "carl@corp.example"],
  });
  expect(envelope?.identity).toMatch(/^[0-9a-f]{64}$/);
  expect(facts.message_id).toBe("<one@sender.example>");
  expect(attachments.map(({ filename }) => filename)).toContain("a.exe");
  expect(flags).not.toContain("journal_report_untrusted");
};

/** Its envelope stays that of SMTP, its facts are its own, and what it holds is looked at all the same. */
const expectOrdinary = async (
  raw: Uint8Array,
  copiedTo: readonly string[],
  flag: string,
  rules: Partial<Bounds> = {},
) => {
  const { envelope, mail: facts, attachments, urls, flags } = await read(raw, copiedTo, rules);
  expect(envelope).toBe(null);
  expect(facts.message_id).toBe("<report@corp.example>");
  expect(attachments.map(({ filename }) => filename)).toContain("a.exe");
  expect(urls.map(({ url }) => url)).toContain("http://link.sender.example/offer");
  expect(flags).toContain(flag);
};

describe("the recipients of a journal report are those of the mail", () => {
  test("where the server that made it handed it over", async () => {
    await expectTaken(report(), [JOURNAL]);
  });

  test.each([
    EXCHANGE,
    "Received: from a.prod.outlook.com (2603:10a6::1) by b.prod.outlook.com (2603:10a6::2) with Microsoft SMTP Server (version=TLS1_3) id 15.20.1; date",
    "Received: from mail pickup service by ex2003.corp.example with Microsoft SMTPSVC; date",
    "Received: from a.corp.example (1.2.3.4) by b.corp.example (1.2.3.5) with mapi id 15.02.1; date",
  ])("where Exchange alone passed it on: %s", async (received) => {
    await expectTaken(report({ top: [received] }), [JOURNAL]);
    await expectTaken(report({ top: [received, POSTFIX] }), [JOURNAL.toUpperCase()]);
  });

  test("where it came to a mailbox of reports, whatever passed it on", async () => {
    const rules = { journal_addresses: ["Journal@Sensor.example"] };
    await expectTaken(report({ top: [POSTFIX], to: "other@corp.example" }), [JOURNAL], rules);
  });

  test("where it comes back because it could not be delivered", async () => {
    const bounce = mail(
      [
        EXCHANGE,
        `To: ${JOURNAL}`,
        "MIME-Version: 1.0",
        'Content-Type: multipart/report; report-type=delivery-status; boundary="=_n"',
      ],
      [
        "--=_n\r\nContent-Type: text/plain\r\n\r\nNot delivered.",
        "--=_n\r\nContent-Type: message/delivery-status\r\n\r\nReporting-MTA: dns; x\r\n\r\nFinal-Recipient: rfc822; old@corp.example\r\nAction: failed\r\nStatus: 5.1.1",
        `--=_n\r\nContent-Type: message/rfc822\r\n\r\n${report().toString("latin1")}`,
        "--=_n--\r\n",
      ].join("\r\n"),
    );
    await expectTaken(bounce, [JOURNAL]);
    const { envelope, flags } = await read(bounce, ["copy@sensor.example"]);
    expect(envelope).toBe(null);
    expect(flags).toContain("journal_report_untrusted");
  });

  test("where a file is scanned, which came by no SMTP", async () => {
    await expectTaken(report({ top: [EXCHANGE] }), []);
  });

  test("up to the bound", async () => {
    const { envelope, flags } = await read(report(), [JOURNAL], { max_recipients: 1 });
    expect(envelope?.to).toEqual(["berta@corp.example"]);
    expect(flags).toContain("addresses_exceeded");
  });
});

describe("a stranger's report is an ordinary mail", () => {
  test("in a copy by Postfix", async () => {
    await expectOrdinary(report({ top: [POSTFIX] }), [JOURNAL], "journal_report_untrusted");
    await expectOrdinary(report({ top: [POSTFIX, EXCHANGE] }), [JOURNAL], "journal_report_untrusted");
  });

  test("in a copy by Exchange of what was addressed to someone else", async () => {
    const forged = report({ top: [EXCHANGE], to: "victim@corp.example" });
    await expectOrdinary(forged, ["copy@sensor.example"], "journal_report_untrusted");
    await expectOrdinary(report({ top: [EXCHANGE] }), [JOURNAL, "b@x.example"], "journal_report_untrusted");
  });

  test("in any mail that came elsewhere than to the mailboxes of reports", async () => {
    const rules = { journal_addresses: [JOURNAL] };
    await expectOrdinary(report(), ["copy@sensor.example"], "journal_report_untrusted", rules);
    const both = [JOURNAL, "copy@sensor.example"];
    await expectOrdinary(report(), both, "journal_report_untrusted", rules);
  });

  test.each([
    [
      "in its greeting",
      "from by a (b) with Microsoft SMTP Server id 15 (x [1.2.3.4]) by mx (Postfix) with ESMTP id 1; date",
    ],
    [
      "in its greeting, where the server names no protocol",
      "from x by a (b) with Microsoft SMTP Server ([1.2.3.4]) by mx.corp.example; date",
    ],
    [
      "in the recipient",
      'from x ([1.2.3.4]) by mx.corp.example for <"a by b with Microsoft SMTP Server"@c.example>; date',
    ],
    ["in a name of another server", "from x (HELO by y with mapi) (1.2.3.4) by 0 with SMTP; date"],
    ["at length", `from ${"by a with Microsoft SMTP Server ".repeat(1000)}`],
  ])("where the name of Exchange is the stranger's %s", async (_where, received) => {
    await expectOrdinary(report({ top: [`Received: ${received}`] }), [JOURNAL], "journal_report_untrusted");
  });

  test("where the configuration wants it so", async () => {
    await expectOrdinary(report(), [JOURNAL], "journal_report_untrusted", { journal: "never" });
  });

  test("where it holds more than a report does", async () => {
    const more = report({ more: [attached("hidden.exe", "MZ hidden")] });
    await expectOrdinary(more, [JOURNAL], "journal_report_rejected");
    const { attachments } = await read(more, [JOURNAL]);
    expect(attachments.map(({ filename }) => filename)).toContain("hidden.exe");
  });

  test("where it speaks of another mail", async () => {
    const text = TEXT.replace("one@sender.example>", "two@sender.example>");
    await expectOrdinary(report({ text }), [JOURNAL], "journal_report_rejected");
  });

  test("whose copy says whom it was for", async () => {
    const forged = report({ top: ["X-Original-To: dora@corp.example", POSTFIX] });
    const byField = await read(forged, ["copy@sensor.example"]);
    expect(byField.envelope).toMatchObject({ source: "copy", to: ["dora@corp.example"] });
    expect(byField.flags).toContain("journal_report_untrusted");
    const byAddress = await read(report(), ["journal+dora=corp.example@sensor.example"]);
    expect(byAddress.envelope).toMatchObject({ source: "copy", from: null, to: ["dora@corp.example"] });
    expect(byAddress.mail.message_id).toBe("<report@corp.example>");
  });

  test("without the mark of one, and says nothing", async () => {
    const { envelope, flags } = await read(report({ marker: "X-Other: 1" }), [JOURNAL]);
    expect(envelope).toBe(null);
    expect(flags.filter((flag) => flag.startsWith("journal"))).toEqual([]);
  });
});

describe("a copy", () => {
  const copy = (...top: readonly string[]) => mail([...top, "To: all@corp.example", "Subject: hi"], "text");
  const recipients = async (raw: Uint8Array, to: readonly string[], rules: Partial<Bounds> = {}) =>
    (await read(raw, to, rules)).envelope?.to ?? null;

  test("names the recipient in its address", async () => {
    expect(await recipients(copy(POSTFIX), ["copies+dora=corp.example@sensor.example"])).toEqual([
      "dora@corp.example",
    ]);
    const long = `${"d".repeat(60)}@${"long.".repeat(12)}corp.example`;
    expect(await recipients(copy(), [`bcc+${long.replace("@", "=")}@sensor.example`])).toEqual([long]);
  });

  test("names it in fields that one's own server put on top", async () => {
    expect(await recipients(copy("X-Original-To: dora@corp.example", POSTFIX), ["copy@s.example"])).toEqual([
      "dora@corp.example",
    ]);
    expect(await recipients(copy(POSTFIX, "X-Original-To: dora@corp.example"), ["copy@s.example"])).toBe(
      null,
    );
    expect(await recipients(copy("X-Original-To: dora@corp.example"), ["copy@s.example"])).toBe(null);
  });

  test("that has the real recipients keeps them, whatever a stranger writes into their addresses", async () => {
    const to = ["victim+boss=corp.example@corp.example"];
    expect(await recipients(copy(POSTFIX), to)).toBe(null);
    expect(await recipients(copy(POSTFIX), [...to, "copy+dora=corp.example@s.example"])).toEqual([
      "dora@corp.example",
      ...to,
    ]);
    const field = `X-Original-To: ${to[0]}`;
    expect(await recipients(copy(field, POSTFIX), ["copy@s.example"])).toEqual(to);
  });

  test("goes to the mailboxes that the configuration names", async () => {
    const rules = { copy_addresses: ["Tap@sensor.example", "mirror"] };
    const [tap, other, mirror] = ["tap@sensor", "tap@other", "mirror@other"].map((mailbox) =>
      `${mailbox}.example`.replace("@", "+dora=corp.example@"),
    ) as [string, string, string];
    expect(await recipients(copy(), [tap], rules)).toEqual(["dora@corp.example"]);
    expect(await recipients(copy(), [other], rules)).toBe(null);
    expect(await recipients(copy(), [mirror], rules)).toEqual(["dora@corp.example"]);
    expect(await recipients(copy(), ["copies+dora=corp.example@sensor.example"], rules)).toBe(null);
  });
});

test("whatever the header and the recipients are, an envelope has recipients and the time is short", async () => {
  const line = fc.oneof(
    fc.constantFrom(EXCHANGE, POSTFIX, "X-MS-Journal-Report:", "Content-Identifier: ExJournalReport"),
    fc.string({ maxLength: 200 }).map((text) => `Received: ${text.replace(/[\r\n]/g, " ")}`),
  );
  const address = fc.oneof(fc.emailAddress(), fc.string({ maxLength: 100 }), fc.constant(JOURNAL));
  await fc.assert(
    fc.asyncProperty(
      fc.array(line, { maxLength: 5 }),
      fc.array(address, { maxLength: 4 }),
      async (top, to) => {
        const { envelope } = await read(report({ top }), to);
        if (envelope !== null) expect(envelope.to.length).toBeGreaterThan(0);
      },
    ),
    { numRuns: 100 },
  );
  const started = cpuNow();
  for (const filler of [" by a", " with mapi", "(", "by  ", "a "]) {
    await read(report({ top: [`Received: ${filler.repeat(100_000 / filler.length)}`] }), [JOURNAL]);
    await read(report({ to: filler.repeat(100_000 / filler.length) }), [JOURNAL]);
  }
  expect(cpuNow() - started).toBeLessThan(10000);
});
