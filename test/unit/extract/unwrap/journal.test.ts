import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import type { Carrier, Field, LeafPart } from "../../../../src/extract/unwrap/carrier.ts";
import { UNWRAP_FLAGS } from "../../../../src/extract/unwrap/flags.ts";
import { type InnerHead, type NoJournal, readJournal } from "../../../../src/extract/unwrap/journal.ts";
import { cpuNow } from "../clock.ts";

const MAIL = Buffer.from("Message-ID: <one@sender.example>\r\nSubject: Offer 12\r\n\r\nHello\r\n");
const HEAD: InnerHead = { messageId: "<one@sender.example>", subject: "Offer 12" };

const TEXT = [
  "Sender: anna@sender.example",
  "Subject: Offer 12",
  "Message-Id: <one@sender.example>",
  "To: berta@corp.example",
  "To: carl@corp.example, Expanded: sales@corp.example",
  "Cc: dora@corp.example, Forwarded: emil@corp.example",
  "Bcc: fred@corp.example",
  "Recipient: gina@other.example",
  "",
];

const part = (declared: string, content: string | Uint8Array, more: Partial<LeafPart> = {}): LeafPart => ({
  declared,
  name: null,
  bytes: Buffer.from(content as string),
  disposition: null,
  ...more,
});

function report(
  change: { lines?: readonly string[]; headers?: readonly Field[]; parts?: readonly LeafPart[] } = {},
): Carrier {
  return {
    headers: change.headers ?? [{ name: "X-MS-Journal-Report", value: "" }],
    parts: change.parts ?? [
      part("text/plain", (change.lines ?? TEXT).join("\r\n")),
      part("message/rfc822", MAIL, { disposition: "attachment" }),
    ],
  };
}

const read = (carrier: Carrier, head: InnerHead = HEAD) => readJournal(carrier, () => head);
const rejected = (reason: NoJournal["reason"]): NoJournal => ({
  kind: "not",
  reason,
  flags: ["journal_report_rejected"],
});
const line = (find: string, put: string | null): readonly string[] =>
  TEXT.flatMap((one) => (one.startsWith(find) ? (put === null ? [] : [put]) : [one]));

describe("a journal report", () => {
  test("gives sender, recipients and the place of the mail in it", () => {
    const plain = { expanded: null, forwarded: null };
    expect(read(report())).toEqual({
      kind: "journal",
      sender: "anna@sender.example",
      onBehalfOf: null,
      recipients: [
        { address: "berta@corp.example", field: "to", ...plain },
        { address: "carl@corp.example", field: "to", expanded: "sales@corp.example", forwarded: null },
        { address: "dora@corp.example", field: "cc", expanded: null, forwarded: "emil@corp.example" },
        { address: "fred@corp.example", field: "bcc", ...plain },
        { address: "gina@other.example", field: "recipient", ...plain },
      ],
      innerPart: 1,
      flags: [],
    });
  });

  test.each([
    ["inside the organisation", "X-MS-Exchange-Organization-Journal-Report", ""],
    ["in lower case, with a value", "x-ms-journal-report", "yes"],
    ["of Exchange 2003", "Content-Identifier", " ExJournalReport"],
    ["of Exchange 2003, misspelt", "Content-Identifer", "exjournalreport"],
  ])("is known by the marker %s", (_name, name, value) => {
    expect(read(report({ headers: [{ name, value }] })).kind).toBe("journal");
  });

  test("may have all the fields of the specification, in either order, with LF", () => {
    const lines = [
      "Sender: <anna@sender.example>",
      "On-Behalf-Of: boss@sender.example",
      "Message-ID: <one@sender.example>",
      "Subject: Offer 12",
      "Label: Internal, keep ten years",
      "Mailbox: berta@corp.example",
      "SentUtc: 2/13/2026 6:43:19 PM",
      "ReceivedUtc: 2026-02-13T18:43:20Z",
      "To: berta@corp.example",
    ];
    const carrier = report({ parts: [part("message/rfc822", MAIL), part("text/plain", lines.join("\n"))] });
    expect(read(carrier)).toMatchObject({ kind: "journal", onBehalfOf: "boss@sender.example", innerPart: 0 });
  });

  test("of a mail with the empty reverse path has no sender", () => {
    for (const sender of ["Sender: <>", "Sender:"]) {
      expect(read(report({ lines: line("Sender", sender) }))).toMatchObject({
        kind: "journal",
        sender: null,
      });
    }
  });

  test("of Exchange 2003 lists recipients under a heading", () => {
    const lines = [
      "Sender: anna@sender.example",
      "Message-ID: <one@sender.example>",
      "Recipients:",
      "\tberta@corp.example",
      "\t<carl@corp.example>",
    ];
    const headers = [{ name: "Content-Identifier", value: "ExJournalReport" }];
    const read2003 = read(report({ headers, lines }));
    expect(read2003.kind === "journal" && read2003.recipients.map(({ address }) => address)).toEqual([
      "berta@corp.example",
      "carl@corp.example",
    ]);
  });

  test("names each recipient once, whatever the case of the domain", () => {
    const lines = [...TEXT, "To: berta@CORP.example", "To: Berta@corp.example"];
    const found = read(report({ lines }));
    expect(found.kind === "journal" && found.recipients.length).toBe(6);
  });

  test("tells the same subject in another writing, and with signs its charset lacks", () => {
    const subject = "Größe  für\tAnna";
    for (const reported of ["Größe für Anna", "Gr\u006f\u0308ße für Anna", "Gr??e f?r Anna"]) {
      const carrier = report({ lines: line("Subject", `Subject: ${reported}`) });
      expect(read(carrier, { ...HEAD, subject }).kind).toBe("journal");
    }
    const text = Buffer.from(line("Subject", "Subject: Größe").join("\r\n"), "latin1");
    const parts = [part("text/plain", text, { charset: "iso-8859-1" }), part("message/rfc822", MAIL)];
    expect(read(report({ parts }), { ...HEAD, subject: "Größe" }).kind).toBe("journal");
  });

  test("with more recipients than the bound is flagged", () => {
    const lines = [...TEXT, ...Array.from({ length: 10_100 }, (_, index) => `To: u${index}@corp.example`)];
    const found = read(report({ lines }));
    expect(found.flags).toEqual(["journal_recipients_exceeded"]);
    expect(found.kind === "journal" && found.recipients.length).toBe(10_000);
  });
});

describe("what only looks like a journal report", () => {
  test("an ordinary mail is none, and has no flag", () => {
    const headers = [
      { name: "Subject", value: "X-MS-Journal-Report" },
      { name: "Content-Identifier", value: "other" },
    ];
    expect(read(report({ headers }))).toEqual({ kind: "not", reason: "no_marker", flags: [] });
  });

  const text = part("text/plain", TEXT.join("\r\n"));
  const mail = part("message/rfc822", MAIL);
  test.each([
    ["no mail", [text]],
    ["no text", [mail]],
    ["two mails", [mail, mail]],
    ["nothing", []],
    ["a part more", [text, mail, part("application/octet-stream", "MZ")]],
    ["a second text", [text, part("text/html", "<a href=x>"), mail]],
    ["HTML for the text", [part("text/html", TEXT.join("\r\n")), mail]],
    ["an attached text", [{ ...text, disposition: "attachment" }, mail]],
    ["a text with a name", [{ ...text, name: "readme.txt" }, mail]],
    ["a text of 3 MB", [part("text/plain", "a".repeat(3_000_000)), mail]],
  ])("parts: %s", (_name, parts) => {
    expect(read(report({ parts }))).toEqual(rejected("parts"));
  });

  test.each([
    ["a line that is no field", [...TEXT, "Log in here: https://login.example/"]],
    ["a link after an address", line("Bcc", "Bcc: fred@corp.example https://login.example/")],
    ["a link in a redirection", line("Bcc", "Bcc: fred@corp.example, Expanded: https://login.example/")],
    ["an unknown redirection", line("Bcc", "Bcc: fred@corp.example, Visit: x@corp.example")],
    ["a link for a recipient", line("Bcc", "Bcc: https://login.example/")],
    ["a recipient without @", line("Bcc", "Bcc: fred")],
    ["a recipient with two @", line("Bcc", "Bcc: fred@corp.example@other.example")],
    ["a recipient with a control character", line("Bcc", "Bcc: fr\u0007ed@corp.example")],
    ["a display name", line("Bcc", "Bcc: Fred <fred@corp.example>")],
    ["a sender that is no address", line("Sender", "Sender: click here")],
    ["a date that is a text", [...TEXT, "SentUtc: https://x.example"]],
    ["a field twice", [...TEXT, "Subject: Offer 12"]],
    ["no sender", line("Sender", null)],
    ["no subject", line("Subject", null)],
    ["no message id", line("Message-Id", null)],
    ["a folded line", [...TEXT, " and more"]],
    ["nothing", []],
  ])("text: %s", (_name, lines) => {
    expect(read(report({ lines }))).toEqual(rejected("text"));
  });

  test("no recipients", () => {
    expect(read(report({ lines: TEXT.slice(0, 3) }))).toEqual(rejected("recipients"));
  });

  test("the message id of another mail", () => {
    expect(read(report(), { ...HEAD, messageId: "<two@sender.example>" })).toEqual(rejected("message_id"));
    expect(read(report(), { ...HEAD, messageId: null })).toEqual(rejected("message_id"));
  });

  test("the subject of another mail", () => {
    expect(read(report(), { ...HEAD, subject: "Offer 13" })).toEqual(rejected("subject"));
    expect(read(report(), { ...HEAD, subject: null })).toEqual(rejected("subject"));
    const questions = report({ lines: line("Subject", "Subject: ????? ??") });
    expect(read(questions)).toEqual(rejected("subject"));
  });

  test("200 kB of white space takes no time", () => {
    for (const filler of [" ", "\n", " \n", "\t", "\r", "To: a@b.example", ",", "Expanded: "]) {
      const started = cpuNow();
      read(report({ lines: [...TEXT, filler.repeat(200_000 / filler.length)] }));
      expect(cpuNow() - started).toBeLessThan(1200);
    }
  });

  test("garbage never throws", () => {
    const known = new Set(Object.keys(UNWRAP_FLAGS));
    const bytes = fc.oneof(
      fc.uint8Array({ maxLength: 400 }),
      fc
        .array(fc.constantFrom(...TEXT, "\u0000", ": : :", ",,,", "To:", "Recipients:", "Ä"), {
          maxLength: 20,
        })
        .map((lines) => new Uint8Array(Buffer.from(lines.join("\n")))),
    );
    const parts = fc.array(
      fc.record({
        declared: fc.constantFrom("text/plain", "message/rfc822", "text/html"),
        name: fc.constantFrom(null, "a"),
        bytes,
        disposition: fc.constantFrom(null, "inline", "attachment"),
        charset: fc.constantFrom(null, "utf-8", "utf-16le", "no-such", "iso-2022-jp"),
      }),
      { maxLength: 3 },
    );
    fc.assert(
      fc.property(parts, (made) => {
        for (const flag of read(report({ parts: made })).flags) expect(known.has(flag)).toBe(true);
      }),
      { numRuns: 400 },
    );
  });
});
