import { describe, expect, test } from "bun:test";
import Ajv2020 from "ajv/dist/2020.js";
import addFormats from "ajv-formats";
import fc from "fast-check";
import schema from "../../../docs/event.schema.json" with { type: "json" };
import { boundEvent, LIMITS, MAX_POINTERS, shrinkEvent } from "../../../src/report/bounds.ts";
import {
  composeFailed,
  composeMailEvents,
  composeState,
  EVENT_SCHEMA,
  MAX_EVENT_BYTES,
} from "../../../src/report/compose.ts";
import { EVENT_TYPES, type EventType, type SensorEvent } from "../../../src/report/event.ts";
import { formatJson } from "../../../src/report/formats/json.ts";
import { sampleEvents } from "../../../src/report/samples.ts";
import { toJsonLine } from "../../../src/text.ts";
import { judge } from "../../../src/verdict/judge.ts";
import type { ContentVerdict } from "../../../src/verdict/verdict.ts";
import { content, file, link, mailRow, NO_TYPES, NOON, SENSOR, SHA, verdictEvent } from "./fixtures.ts";

const ajv = new Ajv2020({ strict: true, allErrors: true, strictRequired: false, allowUnionTypes: true });
addFormats(ajv);
const validate = ajv.compile(schema);
const WANTED: ReadonlySet<EventType> = new Set(EVENT_TYPES);

function expectValid(event: unknown): void {
  const valid = validate(event);
  if (!valid) throw new Error(JSON.stringify(validate.errors?.slice(0, 3)));
}

/** The value a JSON pointer names. */
function at(event: unknown, pointer: string): unknown {
  return pointer
    .split("/")
    .slice(1)
    .reduce<unknown>(
      (value, key) => (typeof value === "object" && value !== null ? Reflect.get(value, key) : undefined),
      event,
    );
}

const vmray = { sample_id: 7, submission_id: 8, url: "https://vmray.example/samples/7" };
const ordinary = () =>
  mailRow([
    file("x.zip", content({ verdict: "malicious", threat_names: ["EICAR-Test-File"], vmray })),
    file("logo.png", content({ outcome: "skipped", verdict: "not_available", reason: "plain image" })),
    link("http://a.example/", content({ outcome: "failed", verdict: "not_available", reason: "time-out" })),
  ]);

/** What VMRay may say beside a verdict, `count` times each. */
function proofs(count: number, text: string): Pick<ContentVerdict, "evidence" | "cost" | "analyzer"> {
  const many = <T>(value: T): readonly T[] => new Array(count).fill(value);
  return {
    evidence: {
      classifications: many(text),
      indicators: many({ category: text, operation: text, score: 5 }),
      techniques: many({ id: "T1055.012", name: text, tactics: many(text) }),
      iocs: {
        urls: many(`http://ioc.example/${text}`),
        domains: many("ioc.example"),
        ips: many("192.0.2.1"),
        files: many(SHA),
        email_addresses: many("a@ioc.example"),
      },
    },
    cost: { calls: 7, submissions: 1, quota: null, seconds: 1.5 },
    analyzer: "cloud",
  };
}

/** A mail in which everything is as long as it can be. */
function hugeMail() {
  const long = '\u00fc\u{1F600}"\\\u0001'.repeat(2000);
  return mailRow(
    Array.from({ length: 600 }, (_, n) =>
      n % 2 === 0
        ? file(
            long + n,
            content({ reason: long, threat_names: new Array(30).fill(long), ...proofs(99, long) }),
            {
              path: new Array(50).fill(long),
              facts: new Array(100).fill(long),
            },
          )
        : link(`http://${long}`, content({ verdict: n === 599 ? "malicious" : "clean", reason: long }), {
            sources: new Array(50).fill(long),
            unwrapped_from: new Array(50).fill(long),
          }),
    ),
    {
      envelope: {
        from: long,
        to: new Array(2000).fill(`${"r".repeat(300)}@example.org`),
        client_ip: "192.0.2.7",
        helo: long,
        tls: long,
      },
    },
    {
      mail: {
        message_id: long,
        subject: long,
        from: new Array(500).fill(long),
        to: new Array(500).fill(long),
        cc: new Array(500).fill(long),
        date: null,
      },
      flags: new Array(100).fill(long),
    },
  );
}

describe("an event", () => {
  test("of a mail has the fields of the schema and nothing else", () => {
    const mail = ordinary();
    const event = verdictEvent(mail);
    expectValid(event);
    expect(event).toMatchObject({
      schema: EVENT_SCHEMA,
      type: "mail.verdict",
      time: "2026-01-02T12:00:00.005Z",
      sensor: SENSOR,
      verdict: "malicious",
      complete: false,
      flags: [],
    });
    expect(event.mail).toMatchObject({
      id: mail.id,
      subject: "Invoice",
      received_at: "2026-01-02T11:59:55.005Z",
    });
    expect(event.attachments?.[0]).toEqual({
      filename: "x.zip",
      sha256: SHA,
      sha1: "0".repeat(40),
      md5: "0".repeat(32),
      size: 68,
      type: "application/zip",
      path: [],
      facts: [],
      outcome: "judged",
      verdict: "malicious",
      reason: null,
      threat_names: ["EICAR-Test-File"],
      vmray,
      action: "dynamic",
      rule: "default.archives",
    });
    expect(event.urls?.map(({ verdict }) => verdict)).toEqual(["not_available"]);
    expect(event).not.toHaveProperty("truncated");
  });

  test("says why a verdict is bad, what it took and who judged, on parts of both kinds", () => {
    const judged = content({ verdict: "malicious", ...proofs(1, "Injection") });
    const event = verdictEvent(mailRow([file("x.exe", judged), link("http://a.example/", judged)]));
    expectValid(event);
    for (const part of [event.attachments?.[0], event.urls?.[0]]) {
      expect(part).toMatchObject({
        ...judged.evidence,
        cost: { calls: 7, submissions: 1, quota: null, seconds: 1.5 },
        analyzer: "cloud",
      });
    }
  });

  test("never holds half of an IOC", () => {
    const judged = content({ verdict: "malicious", ...proofs(20, "p".repeat(500)) });
    const parsed = JSON.parse(formatJson(verdictEvent(mailRow([file("x.exe", judged)])), 6000));
    const { urls } = parsed.attachments[0].iocs;
    expect(urls.length).toBeLessThan(20);
    expect(new Set([...urls, judged.evidence?.iocs.urls[0]]).size).toBe(1);
  });

  test("says where a part lay and what is true of it", () => {
    const event = verdictEvent(
      mailRow([
        file("macro.docm", content({ verdict: "malicious" }), {
          path: ["fwd.eml", "docs.zip"],
          within: "archive",
          facts: ["macros"],
        }),
        link("http://b.example/", content(), {
          sources: ["html", "qr"],
          unwrapped_from: ["http://wrapper.example/?url=http%3A%2F%2Fb.example%2F"],
        }),
        link("http://c.example/", content()),
      ]),
    );
    expectValid(event);
    expect(event.attachments?.[0]).toMatchObject({ path: ["fwd.eml", "docs.zip"], facts: ["macros"] });
    expect(event.urls?.[0]).toMatchObject({
      sources: ["html", "qr"],
      unwrapped_from: ["http://wrapper.example/?url=http%3A%2F%2Fb.example%2F"],
    });
    expect(event.urls?.[1]).not.toHaveProperty("unwrapped_from");
  });

  test("lists what policy left out, tells it from a failure, and lets it go first", () => {
    const reason = "The file lies in an archive that is analysed as a whole.";
    const left = content({ outcome: "skipped", verdict: "not_available", reason });
    const event = verdictEvent(
      mailRow([file("docs.zip", content()), ...Array.from({ length: 5 }, () => file("a.js", left))]),
    );
    expect(event).toMatchObject({ verdict: "clean", complete: true, reasons: [] });
    expect(event.attachments?.[1]).toMatchObject({ outcome: "skipped", verdict: "not_available", reason });
    const cut = boundEvent(event, { ...LIMITS, attachments: 1 });
    expect(cut.attachments?.map(({ filename }) => filename)).toEqual(["docs.zip"]);
  });

  test("is made alone where nobody asks for the others", () => {
    const mail = ordinary();
    expect(composeMailEvents(mail, judge(mail), SENSOR, NO_TYPES, NOON)).toHaveLength(1);
  });

  test("comes after those of its parts, skipped parts having none, each valid", () => {
    const mail = ordinary();
    const events = composeMailEvents(mail, judge(mail), SENSOR, WANTED, NOON);
    expect(events.map(({ type }) => type)).toEqual([
      "mail.received",
      "attachment.verdict",
      "url.verdict",
      "mail.verdict",
    ]);
    for (const event of events) expectValid(event);
    expect(new Set(events.map(({ id }) => id)).size).toBe(4);
    expect(events[2]).toMatchObject({ verdict: "not_available", complete: false, reasons: ["time-out"] });
  });

  test("of a failed mail or of the sensor is valid", () => {
    const failed = composeFailed(
      mailRow([], { extraction: null }),
      "EXTRACT_TIMEOUT: too long",
      SENSOR,
      NOON,
    );
    expectValid(failed);
    expect(failed).toMatchObject({
      verdict: "not_available",
      complete: false,
      mail: { subject: null, from: [] },
    });
    expectValid(composeState("started", "the sensor started", SENSOR, NOON));
  });

  test("of every type is documented by a valid example", () => {
    const events = sampleEvents().map(({ event }) => event);
    expect([...new Set(events.map(({ type }) => type))]).toEqual([...EVENT_TYPES]);
    expect(new Set(events.map(({ id }) => id)).size).toBe(events.length);
    for (const event of events) expectValid(event);
  });

  test("is refused by the schema where a field is unknown, missing, too long or of another type's", () => {
    const event = verdictEvent(ordinary());
    expect(validate({ ...event, "x-header": 1 })).toBe(false);
    expect(validate({ ...event, mail: { ...event.mail, headers: {} } })).toBe(false);
    expect(validate({ ...event, flags: undefined })).toBe(false);
    expect(validate({ ...event, reasons: ["x".repeat(LIMITS.reason + 1)] })).toBe(false);
    expect(validate({ ...event, state: { name: "x", message: "y" } })).toBe(false);
  });

  test("of a hostile mail keeps every bound and the worst parts, and says what was cut", () => {
    const mail = hugeMail();
    const events = composeMailEvents(mail, judge(mail), SENSOR, WANTED, NOON);
    expect(events.length).toBe(1 + LIMITS.attachments + LIMITS.urls + 1);
    for (const event of events) {
      expectValid(event);
      expect(Buffer.byteLength(toJsonLine(event))).toBeLessThanOrEqual(MAX_EVENT_BYTES);
    }
    const event = events.at(-1);
    expect(event?.urls?.some(({ verdict }) => verdict === "malicious")).toBe(true);
    expect(event?.truncated).toContain("/mail/subject");
    expect(event?.truncated).toContain("/mail/envelope/to");
    expect(event?.truncated?.length).toBeLessThanOrEqual(MAX_POINTERS);
  });

  test("names a cut value where it stands, also after a second cut moved it", () => {
    const parts = Array.from({ length: 10 }, (_, n) =>
      file(n === 9 ? "z".repeat(1000) : "a.doc", content({ verdict: n === 9 ? "malicious" : "clean" })),
    );
    const event = verdictEvent(mailRow(parts));
    expect(event.truncated).toEqual(["/attachments/9/filename"]);
    const again = boundEvent(event, { ...LIMITS, attachments: 3 });
    expect(again.truncated).toEqual(["/attachments", "/attachments/2/filename"]);
    expect(again.attachments?.[2]?.verdict).toBe("malicious");
  });

  test("has no lone surrogates and no keys from a mail", () => {
    const event = verdictEvent(mailRow([file("__proto__\uD800", content())]));
    expect(event.attachments?.[0]?.filename).toBe("__proto__\uFFFD");
    expect(toJsonLine(event).isWellFormed()).toBe(true);
  });

  test("says the same limits in code and schema", () => {
    const { mail, attachment, url } = schema.$defs;
    expect({
      subject: mail.properties.subject.maxLength,
      messageId: mail.properties.message_id.maxLength,
      address: mail.properties.from.items.maxLength,
      helo: mail.properties.envelope.properties.helo.maxLength,
      tls: mail.properties.envelope.properties.tls.maxLength,
      filename: attachment.properties.filename.maxLength,
      mediaType: attachment.properties.type.maxLength,
      url: url.properties.url.maxLength,
      reason: schema.properties.reasons.items.maxLength,
      threatName: attachment.properties.threat_names.items.maxLength,
      flag: attachment.properties.facts.items.maxLength,
      source: url.properties.sources.items.maxLength,
      message: schema.properties.state.properties.message.maxLength,
      recipients: mail.properties.envelope.properties.to.maxItems,
      headerAddresses: mail.properties.cc.maxItems,
      attachments: schema.properties.attachments.maxItems,
      urls: schema.properties.urls.maxItems,
      reasons: schema.properties.reasons.maxItems,
      threatNames: url.properties.threat_names.maxItems,
      flags: schema.properties.flags.maxItems,
      path: attachment.properties.path.maxItems,
      facts: attachment.properties.facts.maxItems,
      sources: url.properties.sources.maxItems,
      unwrapped: url.properties.unwrapped_from.maxItems,
      mails: schema.properties.mails.maxItems,
      mailRecipients: schema.$defs.mail_beside.properties.envelope.properties.to.maxItems,
      classifications: url.properties.classifications.maxItems,
      indicators: url.properties.indicators.maxItems,
      techniques: url.properties.techniques.maxItems,
      tactics: schema.$defs.technique.properties.tactics.maxItems,
      iocs: schema.$defs.iocs.properties.urls.maxItems,
      ioc: schema.$defs.iocs.properties.urls.items.maxLength,
    }).toEqual({ ...LIMITS });
    expect(schema.properties.flags.items.maxLength).toBe(LIMITS.flag);
    expect(attachment.properties.path.items.maxLength).toBe(LIMITS.filename);
    expect(url.properties.unwrapped_from.items.maxLength).toBe(LIMITS.url);
    expect(schema.properties.truncated.maxItems).toBe(MAX_POINTERS);
  });
});

describe("an event that must be shorter", () => {
  const event: SensorEvent = verdictEvent(hugeMail());

  test("fits any size from 2 KB up, valid and with its hashes whole", () => {
    for (const size of [2048, 4096, 8192, 16_384, 65_536]) {
      const text = formatJson(event, size - 200);
      expect(Buffer.byteLength(text)).toBeLessThanOrEqual(size - 200);
      const parsed = JSON.parse(text);
      expectValid(parsed);
      expect(parsed.truncated.length).toBeGreaterThan(0);
      expect(parsed.mail.sha256).toBe(SHA);
      expect(parsed.verdict).toBe("malicious");
    }
  });

  test("names only values that are there", () => {
    for (const size of [2048, 8192, 65_536]) {
      const parsed = JSON.parse(formatJson(event, size));
      for (const pointer of parsed.truncated) expect(at(parsed, pointer)).toBeDefined();
    }
  });

  test("loses recipients before it loses anything else", () => {
    const mail = mailRow([file("x.zip", content({ verdict: "malicious" }))], {
      envelope: {
        from: "a@example.net",
        to: Array.from({ length: 400 }, (_, n) => `recipient-${n}@example.org`),
        client_ip: "192.0.2.7",
        helo: "mx",
        tls: null,
      },
    });
    const parsed = JSON.parse(formatJson(verdictEvent(mail), 4096));
    expect(parsed.truncated).toEqual(["/mail/envelope/to"]);
    expect(parsed.mail.subject).toBe("Invoice");
  });

  test("keeps what people search by whole, and a few of the worst parts, where links are many", () => {
    const vmray = { sample_id: 1, submission_id: 2, url: "https://vmray.example/samples/1" };
    const links = Array.from({ length: 150 }, (_, n) =>
      link(
        `http://bad.example/${n}?${"x".repeat(200)}`,
        content({
          verdict: n === 77 ? "malicious" : "suspicious",
          threat_names: ["Phishing"],
          vmray,
          ...proofs(10, "y".repeat(60)),
        }),
      ),
    );
    const address = `${"first.last".repeat(5)}@partner-company.example`;
    const messageId = `<${"AM0PR04MB1234567890".repeat(5)}@eurprd04.prod.outlook.com>`;
    const mail = mailRow(
      links,
      { envelope: { from: address, to: [address, address], client_ip: "192.0.2.7", helo: "mx", tls: null } },
      {
        mail: {
          message_id: messageId,
          from: [address],
          to: [address],
          cc: [],
          subject: "Invoice ".repeat(30),
          date: null,
        },
      },
    );
    const sensor = { id: "sensor-01.".repeat(20), version: "1" };
    const whole: SensorEvent = { ...verdictEvent(mail), sensor };
    for (const [size, least] of [
      [8192, 3],
      [6144, 1],
    ] as const) {
      const parsed = JSON.parse(formatJson(whole, size));
      expect(parsed.sensor.id).toBe(whole.sensor.id);
      expect(parsed.mail).toEqual(JSON.parse(toJsonLine(whole.mail)));
      expect(parsed.urls.length).toBeGreaterThanOrEqual(least);
      const worst = parsed.urls.find(({ verdict }: { verdict: string }) => verdict === "malicious");
      expect(worst.url).toBe(`http://bad.example/77?${"x".repeat(200)}`);
    }
    expect(JSON.parse(formatJson(whole, 2048)).sensor.id).toBe(whole.sensor.id);
  });

  test("bug: lost the evidence of its bad part for the sake of links that are clean", () => {
    const clean = Array.from({ length: 40 }, (_, n) =>
      link(`http://good.example/${n}?${"x".repeat(40)}`, content()),
    );
    const bad = content({ verdict: "malicious", threat_names: ["Trojan"], ...proofs(10, "y".repeat(60)) });
    const whole = verdictEvent(mailRow([...clean.slice(0, 20), file("x.zip", bad), ...clean.slice(20)]));
    const parsed = JSON.parse(formatJson(whole, toJsonLine(whole).length - 2000));
    expect(parsed.attachments).toEqual(JSON.parse(toJsonLine(whole.attachments)));
    expect(parsed.urls.length).toBeGreaterThanOrEqual(3);
    expect(parsed.urls.length).toBeLessThan(40);
    expect(parsed.truncated).toEqual(["/urls"]);
  });

  test("is formatted a few times only, however much must go", () => {
    let formatted = 0;
    const { fits } = shrinkEvent(event, 3000, (one) => {
      formatted += 1;
      return toJsonLine(one);
    });
    expect(fits).toBe(true);
    expect(formatted).toBeLessThan(12);
  });

  test("is left alone where it fits", () => {
    const small = verdictEvent(ordinary());
    expect(shrinkEvent(small, 64_000, toJsonLine).event).toBe(small);
  });

  test("keeps the promise for any mail", () => {
    const text = fc
      .array(fc.integer({ min: 0, max: 0xffff }), { maxLength: 2000 })
      .map((units) => String.fromCharCode(...units));
    fc.assert(
      fc.property(fc.array(fc.tuple(text, text), { maxLength: 40 }), text, (parts, subject) => {
        const rows = parts.flatMap(([name, reason]) => [
          file(name, content({ reason })),
          link(name, content({ verdict: "suspicious", reason })),
        ]);
        const mail = mailRow(rows, {}, { flags: [subject], complete: false });
        const line = formatJson(verdictEvent(mail), 3000);
        expect(Buffer.byteLength(line)).toBeLessThanOrEqual(3000);
        expect(line).not.toMatch(/[\u0000-\u001F\u007F-\u009F\u2028\u2029]/);
        expectValid(JSON.parse(line));
      }),
      { numRuns: 40 },
    );
  });
});
