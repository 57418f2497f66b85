import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { defang } from "../../../src/alert/defang.ts";
import { allowedAt, isForgettable, NO_ALERTS, withSent } from "../../../src/alert/limit.ts";
import { alertRecipients } from "../../../src/alert/recipients.ts";
import { wantsAlert, withoutReports } from "../../../src/alert/wanted.ts";
import type { MailRow } from "../../../src/spool/spool.ts";
import type { Verdict } from "../../../src/verdict/verdict.ts";
import { cpuNow } from "../extract/clock.ts";
import { content, file, link, mailRow, verdictEvent } from "../report/fixtures.ts";
import { alertConfig, malicious } from "./fixtures.ts";

describe("defanging", () => {
  test("breaks schemes, hosts, addresses and file names that are domains", () => {
    expect(defang("HTTPS://a.b.example/x.y ftp://1.2.3.4 m@h.example invoice.com")).toBe(
      "HxxPS[:]//a[.]b[.]example/x[.]y fxp[:]//1[.]2[.]3[.]4 m@h[.]example invoice[.]com",
    );
  });

  test("breaks domains of emoji, which symbols and joiners end", () => {
    const heart = "\u2764";
    const labels = [
      heart,
      `${heart}\ufe0f`,
      "\u{1f4a9}",
      "\u{1f469}\u200d\u{1f4bb}",
      "\u{1fae9}\u200d",
      "\ue000",
      "1\u20e3",
    ];
    for (const label of labels) {
      expect(defang(`http://i${label}.ws`)).toBe(`hxxp[:]//i${label}[.]ws`);
      expect(defang(`${label}.la`)).toBe(`${label}[.]la`);
      expect(defang(`shop.${label}.ws`)).toBe(`shop[.]${label}[.]ws`);
    }
    expect(defang("The end. Next ... 'x'.")).toBe("The end. Next ... 'x'.");
  });

  test("leaves no host name and no scheme in any text, and takes linear time", () => {
    const piece = fc.constantFrom(..."http|://|.|a|example|:|/|[|]|www.|\u3002|hhttpp".split("|"));
    fc.assert(
      fc.property(fc.array(piece, { maxLength: 30 }), (pieces) => {
        const out = defang(pieces.join(""));
        expect(out).not.toContain("://");
        expect(out).not.toMatch(/[a-z]\.[a-z]/);
      }),
    );
    const started = cpuNow();
    for (const text of ["http", ".a", ":", "a.", "://"]) defang(text.repeat(200_000));
    expect(cpuNow() - started).toBeLessThan(2000);
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
    ).toEqual({ fixed: ["soc@example.org"], own: ["anna@example.org"] });
  });

  test("may have a domain in any spelling of its name, and are written with the one that was compared", () => {
    const spellings = [
      "a@xn--bcher-kva.example",
      "b@B\u00dcCHER.example",
      "c@\uff45xample.org",
      "d@example\u3002org",
    ];
    expect(alertRecipients(spellings, { ...config, to: [] }).own).toEqual([
      "a@xn--bcher-kva.example",
      "b@xn--bcher-kva.example",
      "c@example.org",
      "d@example.org",
    ]);
  });

  test("are never outside of the domains, however an address is written", () => {
    const odd = [
      "a@example.org\r\nRCPT TO:<x@evil.example>",
      "a b@example.org",
      '"a"@example.org',
      '"x@evil.example"@example.org',
      "a(comment)@example.org",
      "a@example.org(x@evil.example)",
      "x@evil.example@example.org",
      "a@example.org@evil.example",
      "a@ex\u0430mple.org",
      "a@example.org.evil.example",
      "a@evil.example,b@example.org",
      "x%evil.example@example.org",
      "=?utf-8?q?x=40evil.example=2C?=@example.org",
      "evil.example!x@example.org",
      "@evil.example:a@example.org",
      "@example.org",
      "<a@example.org",
      "a@[example.org]",
      "a@example.org\u0000",
      "a\u200b@example.org",
      '"a@example.org" <x@evil.example>',
      "Anna <a@example.org>",
      "@a.example,@example.org:x@evil.example",
      "@example.org,@evil.example:a@example.org",
      "x@evil.example\\@example.org",
      "a@example.org%evil.example",
      "a@evil.example#@example.org",
      "a@sub.example.org",
      "a@.example.org",
      "a@example.org.",
      "a@example.org\u3002evil.example",
      "a@example.org/evil.example",
      "a@example.org:25",
      "a@ex\u00adample.org",
      "a@example.org\u202e",
      "-oQ/tmp@example.org",
      "|id@example.org",
      "/etc/passwd@example.org",
      "~root@example.org",
      "$(id)@example.org",
      "a;id@example.org",
      `${"a".repeat(65)}@example.org`,
    ];
    expect(alertRecipients(odd, { ...config, to: [] }).own).toEqual([]);
    // Odd, and good: they go out as they came.
    const good = ["o'neill+$HOME&`x`@example.org", "\u0433\u0440\u0435\u0442\u0430@example.org"];
    expect(alertRecipients(good, { ...config, to: [] }).own).toEqual(good);
    fc.assert(
      fc.property(
        fc.array(fc.constantFrom(...'a@.%!"(),<>: \r\n\\[]\u0430\u3002'), { maxLength: 20 }),
        (pieces) => {
          for (const own of alertRecipients([`${pieces.join("")}@example.org`, pieces.join("")], config)
            .own) {
            expect(own).toMatch(/^[^\s@%!"(),<>:\\[\]]+@example\.org$/);
          }
        },
      ),
    );
  });

  test("are not those of the mail unless that is asked for", () => {
    expect(alertRecipients(["anna@example.org"], { ...config, to_recipients: false })).toEqual({
      fixed: ["soc@example.org"],
      own: [],
    });
  });
});

describe("what is worth an alert", () => {
  const suspicious = content({ verdict: "suspicious" });
  const wants = (row: MailRow, change: Readonly<Record<string, unknown>> = {}) =>
    wantsAlert(verdictEvent(row), alertConfig(change));

  test("is a mail with a part as bad as asked, of the kind asked for", () => {
    expect(wants(mailRow([file("x", malicious)]))).toBe(true);
    expect(wants(mailRow([file("x", suspicious)]))).toBe(false);
    expect(wants(mailRow([file("x", suspicious)]), { min_verdict: "suspicious" })).toBe(true);
    const url = mailRow([link("http://a.example", malicious), file("x", content())]);
    expect(wants(url)).toBe(false);
    expect(wants(url, { on: ["attachment", "url"] })).toBe(true);
    expect(wants(mailRow([file("x", malicious)]), { on: ["url"] })).toBe(false);
  });

  test("is no page of VMRay, which an alert links to: alerts about alerts that came back changed never ended", () => {
    const page = link("https://vmray.example/samples/7", malicious);
    const seen = (parts: Parameters<typeof mailRow>[0]) =>
      withoutReports(verdictEvent(mailRow(parts)), ["https://vmray.example"]);
    expect(wantsAlert(seen([page]), alertConfig({ on: ["url"] }))).toBe(false);
    const others = [
      link("https://vmray.example.evil.example/", malicious),
      link("http://vmray.example/", malicious),
    ];
    for (const other of others)
      expect(wantsAlert(seen([page, other]), alertConfig({ on: ["url"] }))).toBe(true);
    expect(seen([page, ...others]).urls).toHaveLength(2);
  });

  test("is a verdict or a changed one, unless changes are not wanted", () => {
    const event = verdictEvent(mailRow([file("x", malicious)]));
    expect(wantsAlert({ ...event, type: "mail.failed" }, alertConfig())).toBe(false);
    expect(wantsAlert({ ...event, type: "attachment.verdict" }, alertConfig())).toBe(false);
    expect(wantsAlert({ ...event, type: "verdict.changed" }, alertConfig())).toBe(true);
    expect(wantsAlert({ ...event, type: "verdict.changed" }, alertConfig({ changed: false }))).toBe(false);
  });

  test("is of a changed verdict what became worse, and nothing that was as bad before or got better", () => {
    const changed = (previous: Verdict, verdict: Verdict, change: Readonly<Record<string, unknown>> = {}) => {
      const event = verdictEvent(mailRow([file("x", content({ verdict }))]));
      const attachments = event.attachments?.map((part) => ({ ...part, previous_verdict: previous }));
      return wantsAlert(
        { ...event, type: "verdict.changed", ...(attachments && { attachments }) },
        alertConfig(change),
      );
    };
    const all = { min_verdict: "suspicious" };
    for (const before of ["clean", "not_available", "suspicious"] as const)
      expect(changed(before, "malicious")).toBe(true);
    expect(changed("clean", "suspicious")).toBe(false);
    expect(changed("clean", "suspicious", all)).toBe(true);
    expect(changed("suspicious", "malicious", all)).toBe(true);
    expect(changed("malicious", "malicious", all)).toBe(false);
    expect(changed("malicious", "suspicious", all)).toBe(false);
    expect(changed("malicious", "clean", all)).toBe(false);
  });

  test("is a denied sender where that is asked for, once", () => {
    const denied = mailRow([file("x", content())], {}, { flags: ["sender_denied"] });
    expect(wants(denied)).toBe(false);
    expect(wants(denied, { on: ["sender"] })).toBe(true);
    expect(wants(denied, { on: ["sender"], match: { verdicts: ["suspicious"] } })).toBe(false);
    expect(wants(mailRow([file("x", malicious)]), { on: ["sender"] })).toBe(false);
    const later = { ...verdictEvent(denied), type: "verdict.changed" as const };
    expect(wantsAlert(later, alertConfig({ on: ["sender"] }))).toBe(false);
    const change = {
      id: "1",
      because: "list",
      from: "clean",
      to: "malicious",
      previous_event_id: null,
      mails: 1,
    } as const;
    const listed = { ...later, change, attachments: [], urls: [] };
    expect(wantsAlert(listed, alertConfig({ on: ["sender"] }))).toBe(true);
    expect(wantsAlert({ ...later, change }, alertConfig({ on: ["sender"] }))).toBe(false);
  });

  test("fits every part of match", () => {
    const row = mailRow([file("x", malicious)]);
    const fits = (match: Readonly<Record<string, unknown>>) => wants(row, { match });
    expect(fits({ recipient_domains: ["EXAMPLE.org"] })).toBe(true);
    expect(fits({ recipient_domains: ["other.example"] })).toBe(false);
    expect(fits({ sender_domains: ["example.net"] })).toBe(true);
    expect(fits({ sender_domains: ["net"] })).toBe(false);
    expect(fits({ verdicts: ["suspicious"] })).toBe(false);
    expect(fits({ recipient_domains: ["example.org"], sender_domains: ["other.example"] })).toBe(false);
    expect(
      fits({ recipient_domains: ["example.org"], sender_domains: ["example.net"], verdicts: ["malicious"] }),
    ).toBe(true);
  });
});

describe("the hourly limit", () => {
  test("counts over a sliding hour, and says when one more may go out", () => {
    const minute = 60_000;
    let count = withSent(withSent(NO_ALERTS, 0), 10 * minute);
    expect(allowedAt(count, 20 * minute, 2)).toBe(60 * minute);
    expect(allowedAt(count, 20 * minute, 1)).toBe(70 * minute);
    expect(allowedAt(count, 20 * minute, 3)).toBe(20 * minute);
    expect(allowedAt(count, 61 * minute, 2)).toBe(61 * minute);
    count = withSent(count, 61 * minute);
    expect(allowedAt(count, 62 * minute, 2)).toBe(70 * minute);
    expect(isForgettable(count, 62 * minute)).toBe(false);
    expect(isForgettable(count, 122 * minute)).toBe(true);
  });

  test("stays small however many there are", () => {
    let count = NO_ALERTS;
    for (let time = 0; time < 5_000; time += 1) count = withSent(count, time * 2_000);
    expect(count.minutes.length).toBeLessThanOrEqual(61);
  });
});
