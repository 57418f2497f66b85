import { afterAll, describe, expect, test } from "bun:test";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Parser } from "htmlparser2";
import { simpleParser } from "mailparser";
import { splitMail } from "../../../src/alert/canonical.ts";
import { alertMessageId, createComposer, rehearseTemplates } from "../../../src/alert/compose.ts";
import type { Note } from "../../../src/alert/ledger.ts";
import { MAX_LOGO_BYTES } from "../../../src/alert/logo.ts";
import { isOwnAlert, MAX_ALERT_BYTES } from "../../../src/alert/marker.ts";
import { alertMessage } from "../../../src/alert/message.ts";
import { renderTemplate } from "../../../src/alert/template.ts";
import type { SensorError } from "../../../src/errors.ts";
import type { SensorEvent } from "../../../src/report/event.ts";
import type { MailRow } from "../../../src/spool/spool.ts";
import { content, file, link, mailRow, SHA, verdictEvent } from "../report/fixtures.ts";
import { alertConfig, FROM, facts, MANNER, malicious, note, SECRET } from "./fixtures.ts";

const folder = mkdtempSync(join(tmpdir(), "alert-compose-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));
const saved = (name: string, text: string | Uint8Array) => {
  writeFileSync(join(folder, name), text);
  return join(folder, name);
};

async function compose(
  event: SensorEvent,
  change: Partial<Note> = {},
  config: Readonly<Record<string, unknown>> = {},
  leftOut = 0,
) {
  const faults: SensorError[] = [];
  const composer = createComposer({
    config: alertConfig(config),
    render: async (source, about) => renderTemplate(source, about),
    sensorId: "sensor-1",
    secret: SECRET,
    failed: (fault) => faults.push(fault),
  });
  return { ...(await composer.compose(note(event, change), leftOut)), logo: composer.logo, faults };
}

/** What can be clicked or loaded in a page, and its text. */
function page(html: string) {
  const links: string[] = [];
  const tags = new Set<string>();
  let text = "";
  const parser = new Parser({
    onopentag(name, attributes) {
      tags.add(name);
      for (const [key, value] of Object.entries(attributes)) {
        if (["href", "src", "action", "background", "srcset", "data"].includes(key)) links.push(value);
        if (key.startsWith("on")) links.push(key);
      }
    },
    ontext: (piece) => {
      text += piece;
    },
  });
  parser.end(html);
  return { links, tags: [...tags], text: text.replace(/\s+/g, " ") };
}

const event = verdictEvent(mailRow([file("invoice.zip", malicious), file("fine.pdf", content())]));

function never(): never {
  throw new Error("a note without a row");
}

describe("an alert for a recipient", () => {
  test("tells what was found, that nothing was blocked, what to do and whom to ask, and nothing more", async () => {
    const { subject, text, html } = await compose(event, {}, { contact: "IT security, phone 1234" });
    expect(subject).toBe('Malicious attachment: "invoice[.]zip"');
    expect(text).toStartWith("A mail to you has a malicious attachment.");
    for (const shown of [text, page(html).text]) {
      expect(shown).toContain("This sensor did NOT block, change or remove the mail");
      // No more than the sensor knows: another filter may have stopped it.
      expect(shown).not.toContain("mailbox");
      expect(shown).toContain("Do not open the attachment");
      expect(shown).toContain("invoice[.]zip");
      expect(shown).toContain("EICAR-Test-File");
      expect(shown).toContain("sender@example[.]net");
      expect(shown).toContain("2 January 2026");
      expect(shown).toContain("Questions? IT security, phone 1234");
      for (const absent of [SHA, "fine", "ben@", "vmray", "undefined", "null"]) {
        expect(shown).not.toContain(absent);
      }
    }
    expect(page(html).links).toEqual([]);
    expect(text.length).toBeLessThan(1500);
  });

  test("is in German where that is asked for, with times of the place", async () => {
    const { subject, text, html } = await compose(event, {}, { language: "de", time_zone: "Europe/Berlin" });
    expect(subject).toBe('Sch\u00e4dlicher Anhang: "invoice[.]zip"');
    expect(text).toStartWith("Eine Mail an Sie enth\u00e4lt einen sch\u00e4dlichen Anhang.");
    expect(text).toContain("2. Januar 2026");
    expect(text).toContain("12:59 MEZ");
    expect(html).toContain('<html lang="de">');
    expect(page(html).text).toContain("\u00d6ffnen Sie den Anhang nicht");
  });

  test("about a link speaks of the link", async () => {
    const row = mailRow([link("http://evil.example/login?x=1", malicious)]);
    const { subject, text } = await compose(verdictEvent(row));
    expect(subject).toBe('Malicious link: "Invoice"');
    expect(text).toContain("has a malicious link.");
    expect(text).toContain("hxxp[:]//evil[.]example/login?x=1");
    expect(text).toContain("enter no password there");
  });

  test("says of each kind how bad it is: a link was called bad, a suspicious attachment malicious beside it", async () => {
    const suspicious = content({ verdict: "suspicious" });
    const evil = link("http://evil.example/", malicious);
    const said = async (
      parts: Parameters<typeof mailRow>[0],
      config: Readonly<Record<string, unknown>> = {},
    ) => {
      const { subject, text } = await compose(verdictEvent(mailRow(parts)), {}, config);
      return [subject, text.split("\n")[0]];
    };
    expect(await said([file("a.zip", suspicious), evil])).toEqual([
      'Malicious link: "Invoice"',
      "A mail to you has a suspicious attachment and a malicious link.",
    ]);
    expect(await said([file("a.zip", suspicious), evil], { language: "de" })).toEqual([
      'Sch\u00e4dlicher Link: "Invoice"',
      "Eine Mail an Sie enth\u00e4lt einen verd\u00e4chtigen Anhang und einen sch\u00e4dlichen Link.",
    ]);
    const some = [file("a.zip", malicious), file("b.zip", suspicious)];
    expect(await said(some)).toEqual([
      'Malicious attachment: "a[.]zip"',
      "A mail to you has 2 malicious or suspicious attachments.",
    ]);
    expect((await said(some, { language: "de" }))[1]).toBe(
      "Eine Mail an Sie enth\u00e4lt 2 sch\u00e4dliche oder verd\u00e4chtige Anh\u00e4nge.",
    );
    const many = [...Array.from({ length: 12 }, () => file("a.zip", malicious)), file("b.zip", suspicious)];
    expect((await said(many))[1]).toBe("A mail to you has 13 malicious or suspicious attachments.");
  });

  test("about an attachment and a link says what to do where either was opened", async () => {
    const both = verdictEvent(mailRow([file("a.zip", malicious), link("http://evil.example/", malicious)]));
    const { text } = await compose(both);
    expect(text).toContain("If you opened the attachment already: disconnect the computer");
    expect(text).toContain("If you followed a link already: change any password");
    const german = (await compose(both, {}, { language: "de" })).text;
    expect(german).toContain("Falls Sie den Anhang schon ge\u00f6ffnet haben:");
    expect(german).toContain("Falls Sie einem Link schon gefolgt sind:");
  });

  test("names what the attachment lay in: that is what the reader sees in the mail", async () => {
    const inside = file("final.pdf.exe", malicious, { path: ["invoice.zip", "scan.iso"] });
    const { text, html } = await compose(verdictEvent(mailRow([inside])));
    for (const shown of [text, page(html).text])
      expect(shown).toContain("final[.]pdf[.]exe (inside invoice[.]zip / scan[.]iso)");
  });

  test("shows the end of a long name, in its subject too", async () => {
    const long = file(`${"scan_".repeat(80)}.pdf.exe`, malicious, { path: [`${"n".repeat(300)}.zip`] });
    const { subject, text, html } = await compose(verdictEvent(mailRow([long])));
    for (const shown of [subject, text, page(html).text]) {
      expect(shown).toContain("[.]pdf[.]exe");
      expect(shown).toContain("\u2026");
      expect(shown).not.toContain("scan_".repeat(50));
    }
    expect(text).toMatch(/inside n+\u2026n+\[\.\]zip\)/);
    expect((await compose(verdictEvent(mailRow([long])), { kind: "digest" })).text).toContain("[.]pdf[.]exe");
  });

  test("that is a digest says what to do about all its mails: it used to speak of the last one only", async () => {
    const rowOf = (parts: Parameters<typeof mailRow>[0]) => ({
      ...{ mails: 1, contents: [], event: note(verdictEvent(mailRow(parts))).rows[0]?.event ?? never() },
    });
    const rows = [rowOf([file("a.zip", malicious)]), rowOf([link("http://evil.example/", malicious)])];
    const { text } = await compose(event, { kind: "digest", rows, mails: 2 });
    expect(text).toContain("Do not open the attachment, and do not follow links in these mails.");
    expect(text).toContain("If you opened the attachment already:");
    expect(text).toContain("If you followed a link already:");
    expect(text).toContain("Do not answer or forward these mails. Delete them,");
  });

  test("that is a summary says how many alerts had to wait for it", async () => {
    const digest = { kind: "digest" } as const;
    const text = (await compose(event, digest, {}, 3)).text;
    expect(text).toContain("3 alerts to you had to wait for this summary");
    expect(text).not.toContain("since the last digest");
    expect((await compose(event, digest, { language: "de" }, 1)).text).toContain(
      "1 Warnung an Sie musste auf diese \u00dcbersicht warten:",
    );
  });
});

describe("an alert for an analyst", () => {
  const analyst = { address: "soc@example.org", fixed: true, yours: false };

  test("has hashes, threat names, recipients and the link to VMRay, which is all that can be clicked", async () => {
    const { text, html } = await compose(event, analyst);
    expect(text).toStartWith("A mail in your organization has");
    for (const shown of [text, page(html).text]) {
      for (const wanted of [
        SHA,
        "0".repeat(40),
        "EICAR-Test-File",
        "anna@example[.]org, ben@example[.]org",
      ]) {
        expect(shown).toContain(wanted);
      }
    }
    expect(text).toContain("https://vmray.example/samples/7?a=b");
    expect(page(html).links).toEqual(["https://vmray.example/samples/7?a=b"]);
  });

  test("counts the mails and recipients of a campaign", async () => {
    const kept = note(event).rows[0]?.event;
    if (kept === undefined) throw new Error("no row");
    const recipients = Array.from({ length: 40 }, (_, n) => `r${n}@example.org`);
    const { subject, text } = await compose(event, {
      ...analyst,
      mails: 12,
      recipients,
      rows: [{ event: kept, mails: 12, contents: [] }],
    });
    expect(subject).toBe('Malicious attachment: "invoice[.]zip" (12 mails)');
    expect(text).toStartWith("12 mails in your organization have a malicious attachment.");
    expect(text).toContain("40 recipients, 12 mails: r0@example[.]org");
    expect(text).not.toContain("r20@");
  });

  test("is short however much there is to say", async () => {
    const parts = Array.from({ length: 150 }, (_, n) => file(`${n}${"x".repeat(500)}`, malicious));
    const { subject, text, html } = await compose(verdictEvent(mailRow(parts)), analyst);
    expect(subject.length).toBeLessThan(150);
    expect(text.length).toBeLessThan(8000);
    expect(html.length).toBeLessThan(60_000);
    expect(text).toContain("and 140 more");
  });
});

test("sizes are written as in the language of the alert", () => {
  for (const [size, en, de] of [
    [1, "1 byte", "1 Byte"],
    [1023, "1023 bytes", "1023 Bytes"],
    [2048, "2 KB", "2 KB"],
    [1.5 * 1024 ** 2, "1.5 MB", "1,5 MB"],
  ] as const) {
    const sized = verdictEvent(mailRow([file("x", malicious, { size })]));
    const text = (language: "en" | "de") =>
      facts(sized, { manner: { ...MANNER, language } }).attachments[0]?.size_text;
    expect([text("en"), text("de")]).toEqual([en, de]);
  }
});

describe("whatever the mail says, an alert", () => {
  const evil =
    "see http://evil.example/a?b=1\r\nVerdict: clean\u202E www.evil.example\u0000 x@evil.example <a href='http://evil.example'>x</a><script>\"&{{ sensor }}";
  const row: MailRow = mailRow(
    [
      file(evil, {
        ...malicious,
        reason: evil,
        threat_names: [evil],
        vmray: { sample_id: 1, submission_id: 1, url: "javascript:alert(1)" },
      }),
      link(evil, {
        ...malicious,
        vmray: { sample_id: 1, submission_id: 1, url: 'https://x.example/"onload="' },
      }),
    ],
    { envelope: { from: evil, to: [evil], client_ip: "::1", helo: evil, tls: null } },
    { mail: { message_id: evil, subject: evil, from: [evil], to: [], cc: [], date: null } },
  );
  const own = {
    text_file: saved("own.txt", "{{ mail.subject }} {{ attachments[0].filename | upcase }}"),
    html_file: saved(
      "own.html",
      "<b title='{{ mail.subject }}'>{{ mail.subject | append: '<i>' }}{{ mail | json }}</b>",
    ),
    subject: "{{ mail.subject }}",
  };
  for (const [name, config] of [
    ["built in", {}],
    ["of the customer's own", own],
  ] as const) {
    for (const fixed of [true, false]) {
      for (const kind of ["alert", "digest"] as const) {
        test(`${name} has nothing to click, no tag, no forged line: ${kind}, ${fixed ? "analyst" : "user"}`, async () => {
          const made = await compose(verdictEvent(row), { fixed, yours: !fixed, kind }, config);
          const { links, tags, text } = page(made.html);
          expect(made.faults).toEqual([]);
          expect(links).toEqual([]);
          expect(tags).not.toContain("script");
          expect(tags).not.toContain("i");
          for (const out of [made.subject, made.text.replaceAll("\n", ""), text]) {
            expect(out).not.toMatch(/[\u0000-\u001F\u007F-\u009F\u200B-\u200F\u2028-\u202E\u2060-\u2069]/);
            expect(out).not.toMatch(/https?:|:\/\/|evil\.example|javascript:/i);
            expect(out).not.toContain('"&sensor-1');
          }
          expect(made.text).not.toMatch(/^Verdict: clean/m);
        });
      }
    }
  }
});

describe("templates of the customer", () => {
  test("replace subject, text and HTML, and have the logo", async () => {
    const png = Buffer.concat([Buffer.from("89504e470d0a1a0a", "hex"), Buffer.alloc(20)]);
    const made = await compose(
      event,
      {},
      {
        subject: "[{{ verdict }}] {{ mail.subject }}",
        text_file: saved(
          "a.txt",
          "Hello {{ headline }}\n\n\n\n{% for step in advice %}- {{ step }}\n{% endfor %}",
        ),
        html_file: saved(
          "a.html",
          "<p>{{ attachments[0].sha256 }}{% if logo %}<img src='cid:logo'>{% endif %}</p>",
        ),
        logo_file: saved("logo.png", png),
      },
    );
    expect(made.subject).toBe("[malicious] Invoice");
    expect(made.text).toStartWith("Hello A mail to you has a malicious attachment.\n\n- Do not");
    expect(made.html).toBe(`<p>${SHA}<img src='cid:logo'></p>`);
    expect(made.logo?.type).toBe("image/png");
    expect((await compose(event, {}, { logo_file: saved("b.png", png) })).html).toContain('src="cid:logo"');
  });

  test("that are wrong are found at start, with the key", async () => {
    const bad = (config: Readonly<Record<string, unknown>>) => expect(compose(event, {}, config)).rejects;
    await bad({ subject: "{{ verdict | nosuch }}" }).toThrow(/alert soc: subject: .*nosuch/);
    await bad({ text_file: saved("bad.txt", "a\n{% if %}") }).toThrow(
      /alert soc: text_file: template line 2/,
    );
    await bad({ html_file: saved("bad.html", "{% include 'x' %}") }).toThrow(/html_file: .*include/);
    await bad({ logo_file: saved("x.png", "GIF89a") }).toThrow(/no PNG or JPEG/);
    await bad({ text_file: "/nonexistent/x" }).toThrow(/text_file/);
  });

  test("that fail on the usual sample are a problem of the configuration", async () => {
    const html_file = saved("loop.html", "{% for a in (1..100000000) %}x{% endfor %}");
    const render = async (...[source, about]: Parameters<typeof renderTemplate>) =>
      renderTemplate(source, about);
    expect(await rehearseTemplates(alertConfig({ html_file }), render)).toEqual([
      { key: "html_file", severity: "problem", message: expect.stringContaining("loop over less") },
    ]);
  });

  test("that fail on one alert give way to the built-in ones, and that is told", async () => {
    const made = await compose(
      event,
      {},
      {
        text_file: saved(
          "odd.txt",
          '{% if mail.id != "01890a5d-ac96-774b-bcce-b302099a8056" %}{% for a in (1..9999999) %}{{ a }}{% endfor %}{% endif %}ok'.replace(
            "",
            "",
          ),
        ),
      },
    );
    expect(made.faults).toHaveLength(1);
    expect(made.text).toStartWith("A mail to you");
  });
});

describe("a mail made of hostile values", () => {
  const bidi = "\u202Egpj.exe\u2066";
  const name = `a\r\nBcc: x@evil.example\r\n\r\n<b>${bidi}\u0000${"\u{1F600}".repeat(3000)}`;
  const row = mailRow(
    [file(name, malicious)],
    {},
    { mail: { message_id: name, subject: name, from: [name], to: [], cc: [], date: null } },
  );

  for (const subject of [
    undefined,
    "{{ mail.subject }}",
    "x\r\nBcc: y@evil.example\r\n\r\n{{ attachments[0].filename }}",
  ]) {
    test(`has one subject on short lines, no other recipient, and no hidden character: ${subject ?? "built in"}`, async () => {
      const made = await compose(verdictEvent(row), {}, subject === undefined ? {} : { subject });
      expect(made.faults).toEqual([]);
      const bytes = await alertMessage({
        alert: made,
        from: FROM,
        to: "o'neill+$HOME&`x`@example.org",
        logo: null,
        secret: SECRET,
        dkim: null,
        now: Date.UTC(2026, 0, 2),
      });
      const { fields } = splitMail(bytes);
      const names = fields.map((field) => field.name);
      for (const once of ["subject", "from", "to", "message-id", "date"])
        expect(names.filter((one) => one === once)).toHaveLength(1);
      expect(names).not.toContain("bcc");
      expect(names).not.toContain("");
      const lines = bytes.toString("latin1").split("\r\n");
      expect(Math.max(...lines.map((line) => line.length))).toBeLessThan(500);
      expect(bytes.length).toBeLessThan(64 * 1024);
      const read = await simpleParser(bytes);
      expect(read.subject?.length).toBeLessThan(500);
      expect([read.to].flat().map((to) => to?.text)).toEqual(["o'neill+$HOME&`x`@example.org"]);
      for (const text of [read.subject, read.text]) {
        expect(text).not.toMatch(/[\u0000-\u0009\u007F-\u009F\u200B-\u200F\u202A-\u202E\u2066-\u2069]/);
        expect(text).not.toContain("evil.example");
      }
    });
  }
});

describe("the largest alerts", () => {
  const long = (text: string) => text.repeat(600);
  const worst = (text: string): MailRow =>
    mailRow(
      Array.from({ length: 20 }, (_, n) =>
        file(`${n}${long(text)}`, {
          ...malicious,
          reason: long(text),
          threat_names: Array(20).fill(long(text)),
          vmray: { sample_id: 1, submission_id: 1, url: `https://vmray.example/${"a=".repeat(450)}` },
        }),
      ),
      {},
      {
        mail: {
          message_id: long(text),
          subject: long(text),
          from: [1, 2, 3].map((n) => `${n}${long(text)}`),
          to: [],
          cc: [],
          date: null,
        },
      },
    );
  const logo = { type: "image/png", bytes: Buffer.alloc(MAX_LOGO_BYTES, 7) } as const;

  for (const [name, text] of [
    ["wide characters", "\u{20000}"],
    ["characters that are escaped", "\"'"],
    ["dots", "a.b."],
  ] as const) {
    for (const kind of ["alert", "digest"] as const) {
      for (const fixed of [true, false]) {
        test(`of ${name} are sent, and known when they come back: ${kind}, ${fixed ? "analyst" : "user"}`, async () => {
          const sent = verdictEvent(worst(text));
          const [row] = note(sent).rows;
          if (row === undefined) throw new Error("no row");
          const rows = kind === "alert" ? [row] : Array.from({ length: 50 }, () => row);
          const recipients = Array.from({ length: 200 }, (_, n) => `${n}${text.repeat(100)}@example.org`);
          const made = await compose(sent, {
            kind,
            fixed,
            yours: !fixed,
            rows,
            mails: rows.length,
            recipients,
          });
          const bytes = await alertMessage({
            ...{
              alert: made,
              from: FROM,
              to: "anna@example.org",
              logo,
              secret: SECRET,
              dkim: null,
              now: 1e12,
            },
          });
          expect(bytes.length).toBeLessThan(MAX_ALERT_BYTES);
          expect(isOwnAlert(bytes, SECRET, 1e12)).toBe(true);
          const listed = made.text.match(/^\d+\. /gm)?.length ?? 0;
          if (kind === "digest" && listed < 50) expect(made.text).toContain(`and ${50 - listed} more`);
        });
      }
    }
  }
});

describe("the Message-ID", () => {
  test("is the same for the same event and recipient only, and needs the secret", () => {
    const id = alertMessageId(event.id, "Anna@EXAMPLE.org", FROM, SECRET);
    expect(id).toBe(alertMessageId(event.id, "anna@example.org", FROM, SECRET));
    expect(id).not.toBe(alertMessageId(event.id, "ben@example.org", FROM, SECRET));
    expect(id).not.toBe(alertMessageId(event.id, "anna@example.org", FROM, Buffer.alloc(32)));
    expect(id).toMatch(/^<alert\.[0-9a-f-]{36}\.[0-9a-f]{24}@example\.org>$/);
  });
});
