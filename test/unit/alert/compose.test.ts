import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { alertMessageId, composeAlert, defang, isOwnAlert } from "../../../src/alert/compose.ts";
import { createAlertLimit } from "../../../src/alert/limit.ts";
import { alertRecipients } from "../../../src/alert/recipients.ts";
import { wantsAlert } from "../../../src/alert/stage.ts";
import type { SensorEvent } from "../../../src/report/event.ts";
import type { MailRow } from "../../../src/spool/spool.ts";
import { content, file, link, mailRow, SENSOR, SHA, verdictEvent } from "../report/fixtures.ts";

const FROM = "email-sensor@example.org";
const malicious = content({
  verdict: "malicious",
  threat_names: ["EICAR-Test-File"],
  vmray: { sample_id: 7, submission_id: 8, url: "https://vmray.example/samples/7?a=b" },
});

function compose(event: SensorEvent, change: Partial<Parameters<typeof composeAlert>[0]> = {}) {
  const { mail } = event;
  if (mail === undefined) throw new Error("the event has no mail");
  return composeAlert({
    event,
    mail,
    minimum: "malicious",
    recipient: "anna@example.org",
    envelopeTo: mail.envelope.to,
    from: FROM,
    sensor: SENSOR,
    subject: null,
    leftOut: 0,
    ...change,
  });
}

describe("an alert", () => {
  const event = verdictEvent(mailRow([file("invoice.zip", malicious), file("fine.pdf", content())]));

  test("tells a recipient what was found, that it was delivered, and what to do", () => {
    const { subject, text, headers } = compose(event);
    expect(subject).toBe('Malicious attachment: "invoice[.]zip"');
    expect(text).toStartWith("A mail that was delivered to you has a malicious attachment.");
    expect(text).toContain("was NOT blocked");
    expect(text).toContain("Do not open the attachment");
    expect(text).toContain('Attachment "invoice[.]zip"');
    expect(text).toContain(SHA);
    expect(text).toContain("EICAR-Test-File");
    expect(text).toContain("https://vmray.example/samples/7?a=b");
    expect(text).not.toContain("fine");
    expect(text).not.toContain("ben@");
    expect(headers).toEqual({
      "Auto-Submitted": "auto-generated",
      "X-Auto-Response-Suppress": "All",
      "X-Email-Sensor-Alert": event.id,
    });
  });

  test("tells a fixed address who got the mail", () => {
    const { text } = compose(event, { recipient: "soc@example.org" });
    expect(text).toStartWith("A mail in your organization has");
    expect(text).toContain("anna@example[.]org, ben@example[.]org");
  });

  test("has nothing to click, no forged line and no hidden character, whatever the mail says", () => {
    const evil =
      "see http://evil.example/a?b=1\r\nVerdict: clean\u202E www.evil.example\u0000 x@evil.example";
    const row: MailRow = mailRow(
      [
        file(evil, {
          ...malicious,
          threat_names: [evil],
          vmray: { sample_id: 1, submission_id: 1, url: "javascript:alert(1)" },
        }),
      ],
      { envelope: { from: evil, to: [evil], client_ip: "::1", helo: evil, tls: null } },
      { mail: { message_id: evil, subject: evil, from: [evil], to: [], cc: [], date: null } },
    );
    const { subject, text } = compose(verdictEvent(row), { recipient: "soc@example.org" });
    for (const out of [subject, text.replaceAll("\n", "")]) {
      expect(out).not.toMatch(/[\u0000-\u001F\u007F-\u009F\u200B-\u200F\u2028-\u202E\u2060-\u2069]/);
      expect(out).not.toMatch(/https?:|:\/\/|evil\.example|javascript:/);
    }
    expect(text).not.toMatch(/^Verdict: clean/m);
    expect(text).toContain("hxxp[:]//evil[.]example");
  });

  test("is short however much there is to say", () => {
    const parts = Array.from({ length: 150 }, (_, n) => file(`${n}${"x".repeat(500)}`, malicious));
    const { subject, text } = compose(verdictEvent(mailRow(parts)));
    expect(subject.length).toBeLessThan(150);
    expect(text.length).toBeLessThan(8000);
    expect(text).toContain("and 140 more attachments");
  });

  test("has the same Message-ID for the same event and recipient only", () => {
    const id = alertMessageId(event.id, "Anna@EXAMPLE.org", FROM, SENSOR);
    expect(id).toBe(alertMessageId(event.id, "anna@example.org", FROM, SENSOR));
    expect(id).not.toBe(alertMessageId(event.id, "ben@example.org", FROM, SENSOR));
    expect(id).toMatch(/^<alert\.[0-9a-f-]{36}\.[0-9a-f]{24}@example\.org>$/);
  });

  test("says how many alerts were left out before it", () => {
    expect(compose(event, { leftOut: 3 }).text).toContain("3 earlier alerts to you had to be left out");
  });
});

describe("defanging", () => {
  test("breaks schemes, hosts and addresses", () => {
    expect(defang("HTTPS://a.b.example/x.y ftp://1.2.3.4 m@h.example")).toBe(
      "HxxPS[:]//a[.]b[.]example/x[.]y fxp[:]//1[.]2[.]3[.]4 m@h[.]example",
    );
  });

  test("leaves no host name and no scheme in any text, and takes linear time", () => {
    const piece = fc.constantFrom(
      "http",
      "://",
      ".",
      "a",
      "example",
      ":",
      "/",
      "[",
      "]",
      "www.",
      "\u3002",
      "hhttpp",
    );
    fc.assert(
      fc.property(fc.array(piece, { maxLength: 30 }), (pieces) => {
        const out = defang(pieces.join(""));
        expect(out).not.toContain("://");
        expect(out).not.toMatch(/[a-z]\.[a-z]/);
      }),
    );
    const started = performance.now();
    for (const text of ["http", ".a", ":", "a.", "://"]) defang(text.repeat(200_000));
    expect(performance.now() - started).toBeLessThan(2000);
  });
});

describe("the recipients of alerts", () => {
  const config = {
    to: ["soc@example.org"],
    to_recipients: true,
    domains: ["Example.org", "b\u00fccher.example"],
  };

  test("are fixed ones and envelope recipients of the named domains, each once", () => {
    expect(
      alertRecipients(
        ["anna@EXAMPLE.ORG", "Anna@example.org", "SOC@example.org", "x@other.example", "y@sub.example.org"],
        config,
      ),
    ).toEqual(["soc@example.org", "anna@EXAMPLE.ORG"]);
  });

  test("may have a domain in either spelling of its name", () => {
    expect(alertRecipients(["a@xn--bcher-kva.example", "b@B\u00dcCHER.example"], config)).toEqual([
      "soc@example.org",
      "a@xn--bcher-kva.example",
      "b@B\u00dcCHER.example",
    ]);
  });

  test("are no strings that would say more than an address", () => {
    const odd = [
      "a@example.org\r\nRCPT TO:<x@evil.example>",
      "a b@example.org",
      '"a"@example.org',
      "@example.org",
      "<a@example.org",
    ];
    expect(alertRecipients(odd, { ...config, to: [] })).toEqual([]);
  });

  test("are not those of the mail unless that is asked for", () => {
    expect(alertRecipients(["anna@example.org"], { ...config, to_recipients: false })).toEqual([
      "soc@example.org",
    ]);
  });
});

describe("what is worth an alert", () => {
  const config = { min_verdict: "malicious", from: FROM } as const;
  const wants = (row: MailRow, minimum: "malicious" | "suspicious" = "malicious") =>
    wantsAlert(verdictEvent(row), { ...config, min_verdict: minimum }, SENSOR);

  test("is a mail with an attachment as bad as asked", () => {
    const suspicious = content({ verdict: "suspicious" });
    expect(wants(mailRow([file("x", malicious)]))).toBe(true);
    expect(wants(mailRow([file("x", suspicious)]))).toBe(false);
    expect(wants(mailRow([file("x", suspicious)]), "suspicious")).toBe(true);
    expect(wants(mailRow([link("http://a.example", malicious), file("x", content())]))).toBe(false);
    expect(
      wantsAlert({ ...verdictEvent(mailRow([file("x", malicious)])), type: "mail.failed" }, config, SENSOR),
    ).toBe(false);
  });

  test("is never an alert that came back, and cannot be silenced by looking a little like one", () => {
    const eventId = Bun.randomUUIDv7();
    const like = (messageId: string, sender = "") =>
      mailRow(
        [file("x", malicious)],
        { envelope: { from: sender, to: ["copy@example.org"], client_ip: "::1", helo: "x", tls: null } },
        {
          mail: {
            message_id: messageId,
            subject: null,
            from: [FROM],
            to: ["anna@example.org"],
            cc: [],
            date: null,
          },
        },
      );
    const genuine = alertMessageId(eventId, "anna@example.org", FROM, SENSOR);
    expect(wants(like(genuine))).toBe(false);
    expect(wants(like(genuine, "someone@example.net"))).toBe(true);
    expect(wants(like("<anything@example.org>"))).toBe(true);
    expect(wants(like(alertMessageId(eventId, "ben@example.org", FROM, SENSOR)))).toBe(true);
    const { mail } = verdictEvent(like(genuine));
    expect(mail !== undefined && isOwnAlert(mail, "other@example.org", SENSOR)).toBe(false);
  });
});

describe("the hourly limit", () => {
  test("counts each address over a sliding hour, and what it left out", () => {
    const limit = createAlertLimit();
    const minute = 60_000;
    for (const time of [0, 10 * minute]) {
      expect(limit.allows("a", time, 2)).toBe(true);
      limit.sent("a", time);
    }
    expect(limit.allows("a", 20 * minute, 2)).toBe(false);
    expect(limit.allows("a", 30 * minute, 2)).toBe(false);
    expect(limit.allows("b", 30 * minute, 2)).toBe(true);
    expect(limit.leftOut("a")).toBe(2);
    expect(limit.allows("a", 61 * minute, 2)).toBe(true);
    limit.sent("a", 61 * minute);
    expect(limit.leftOut("a")).toBe(0);
    expect(limit.allows("a", 62 * minute, 2)).toBe(false);
  });
});
