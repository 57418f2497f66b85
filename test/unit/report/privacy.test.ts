import { describe, expect, test } from "bun:test";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { FORMATS } from "../../../src/config/sections/siem.ts";
import { composeChanged, composeMailEvents, composeState } from "../../../src/report/compose.ts";
import type { SensorEvent } from "../../../src/report/event.ts";
import { createFormatter, type FormatSettings } from "../../../src/report/formats/formatter.ts";
import { createPrivacy, type PrivacySettings } from "../../../src/report/privacy.ts";
import { judge } from "../../../src/verdict/judge.ts";
import {
  content,
  file,
  link,
  mailRow,
  NO_TYPES,
  NOON,
  recordingLog,
  SENSOR,
  verdictEvent,
} from "./fixtures.ts";

const SECRET = Buffer.alloc(32, 1);
const KEEP: PrivacySettings = { addresses: "keep", subjects: "keep", filenames: "keep", url_queries: "keep" };

const VICTIM = "Victoria.Victim+x@corp.example";
const SUBJECT = "Severance of V. Victim";
const FILE = 'Severance "final" Victim.pdf.exe';
const QUERY = "user=victoria&token=s3cr3t";

/** A mail that tells on people wherever a mail can. */
function tellingEvent(): SensorEvent {
  const encoded = Buffer.from(VICTIM).toString("base64").replaceAll("=", "");
  const bad = content({
    verdict: "malicious",
    reason: `seen in ${FILE} for ${VICTIM.toLowerCase()}, https://x.example/p?${QUERY}#frag`,
    threat_names: [`Phish of ${VICTIM}`],
    vmray: { sample_id: 1, submission_id: 2, url: "https://vmray.example/view?id=1" },
    evidence: {
      classifications: [`Mail to <${VICTIM}>`],
      indicators: [{ category: "Drops", operation: `Drops ${FILE}`, score: 5 }],
      techniques: [{ id: "T1566", name: "Phishing", tactics: ["Initial Access"] }],
      iocs: {
        urls: [`https://c2.example/?${QUERY}`, `https://c2.example/${VICTIM}`],
        domains: ["c2.example"],
        ips: [],
        files: [],
        email_addresses: [VICTIM],
      },
    },
  });
  return verdictEvent(
    mailRow(
      [
        file(FILE, bad),
        file("inner.exe", bad, { path: [FILE, `${SUBJECT}.eml`] }),
        link(`https://pay.example/a?${QUERY}#${VICTIM}`, content({ verdict: "suspicious" })),
        link(`https://pay.example/${"long/".repeat(60)}?${QUERY}`, content({ verdict: "suspicious" })),
        link(`https://pay.example/u/${VICTIM.replace("@", "%40")}`, bad, {
          unwrapped_from: [`https://safe.example/?url=x&data=${VICTIM}`],
        }),
        link(`https://pay.example/${encoded}`, bad),
        link(`mailto:${VICTIM}?subject=x`, content()),
      ],
      {
        envelope: {
          from: VICTIM,
          to: [VICTIM.toLowerCase()],
          client_ip: "192.0.2.1",
          helo: "mx.example",
          tls: null,
        },
      },
      {
        mail: {
          message_id: `<bounce-${VICTIM.toLowerCase().replace("@", "=")}@list.example>`,
          subject: SUBJECT,
          from: [VICTIM],
          to: [VICTIM],
          cc: ['"odd one"@corp.example'],
          date: null,
        },
      },
    ),
  );
}

const applied = (change: Partial<PrivacySettings>, secret = SECRET): SensorEvent => {
  const privacy = createPrivacy({ ...KEEP, ...change }, secret);
  if (privacy === null) throw new Error("nothing is hidden");
  return privacy.apply(tellingEvent());
};
const without = (event: SensorEvent, words: readonly RegExp[]) => {
  const text = JSON.stringify(event);
  for (const word of words) expect(text).not.toMatch(word);
};
const ADDRESS_WORDS = [/victoria/i, /odd one/i, /dmljdG9|VmljdG9/i];

describe("privacy", () => {
  test("is nothing where all is kept", () => {
    expect(createPrivacy(KEEP, SECRET)).toBeNull();
  });

  test("hashes addresses wherever they are, keeps their domains, and equal ones stay equal", () => {
    const event = applied({ addresses: "hash", url_queries: "drop" });
    without(event, ADDRESS_WORDS);
    const hashed = event.mail?.envelope.from ?? "";
    expect(hashed).toMatch(/^[0-9a-f]{32}@corp\.example$/);
    expect(event.mail?.envelope.to).toEqual([hashed]);
    expect(event.mail?.from).toEqual([hashed]);
    expect(event.attachments?.[0]?.reason).toContain(hashed);
    expect(event.attachments?.[0]?.iocs?.email_addresses).toEqual([hashed]);
    expect(event.urls?.[2]?.url).toBe(`https://pay.example/u/${hashed.replace("@", "%40")}`);
    expect(event.urls?.[3]?.url).toBe(`https://pay.example/${hashed}`);
    expect(event.mail?.subject).toBe(SUBJECT);
    expect(event.mail?.message_id).toMatch(/^[0-9a-f]{32}@list\.example>$/);
  });

  test("has other hashes with another secret", () => {
    const one = applied({ addresses: "hash" }).mail?.envelope.from;
    expect(applied({ addresses: "hash" }, Buffer.alloc(32, 2)).mail?.envelope.from).not.toBe(one);
    expect(applied({ addresses: "hash" }).mail?.envelope.from).toBe(one);
  });

  test("keeps what only looks private: message ids, senders of links, links to VMRay", () => {
    const row = mailRow([link("https://bank.example@evil.example/a@b", content())]);
    const event = createPrivacy({ ...KEEP, addresses: "hash", url_queries: "drop" }, SECRET)?.apply(
      verdictEvent(row),
    );
    expect(event?.mail?.message_id).toBe("<1@example.net>");
    expect(event?.urls?.[0]?.url).toMatch(/^https:\/\/bank\.example@evil\.example\/[0-9a-f]{32}@b$/);
    expect(applied({ url_queries: "drop" }).attachments?.[0]?.vmray?.url).toBe(
      "https://vmray.example/view?id=1",
    );
  });

  test("drops addresses", () => {
    const event = applied({ addresses: "drop", url_queries: "drop" });
    without(event, [...ADDRESS_WORDS, /corp\.example/]);
    expect(event.mail).toMatchObject({ from: [], to: [], cc: [], envelope: { from: "", to: [] } });
  });

  test("hashes or drops subjects, in names that repeat them, too", () => {
    for (const subjects of ["hash", "drop"] as const) without(applied({ subjects }), [/Severance of/]);
    expect(applied({ subjects: "hash" }).mail?.subject).toMatch(/^[0-9a-f]{32}$/);
  });

  test("hashes or drops names of files, in reasons and findings, too", () => {
    for (const filenames of ["hash", "drop"] as const)
      without(applied({ filenames }), [/final/, /inner/, /pdf/]);
    const event = applied({ filenames: "hash" });
    const name = event.attachments?.[0]?.filename ?? "";
    expect(name).toMatch(/^[0-9a-f]{32}\.exe$/);
    expect(event.attachments?.[1]?.path[0]).toBe(name);
    expect(event.reasons?.[0]).toStartWith(`attachment "${name}" is malicious`);
  });

  test("drops queries and fragments of URLs, in reasons and findings, too", () => {
    const event = applied({ url_queries: "drop" });
    without(event, [/s3cr3t/, /token/, /#frag/, /subject=x/, /data=/]);
    expect(event.urls?.[0]?.url).toBe("https://pay.example/a");
    expect(event.reasons?.join()).toContain('URL "https://pay.example/a"');
  });

  // Names were left in URLs, and so was an address before the host.
  test("hides names, subjects and addresses in every part of a URL", () => {
    const hidden = (change: Partial<PrivacySettings>, written: string) => {
      const row = mailRow(
        [file("Salary & bonus.xlsx", content()), link(written, content())],
        {},
        {
          mail: { message_id: null, subject: "Salary of Ann", from: [], to: [], cc: [], date: null },
        },
      );
      const event = createPrivacy({ ...KEEP, ...change }, SECRET)?.apply(verdictEvent(row));
      return event?.urls?.[0]?.url ?? "";
    };
    for (const name of [
      "Salary%20%26%20bonus.xlsx",
      "Salary+%26+bonus.xlsx",
      "Salary & bonus.xlsx",
      "%zz-Salary+%26%20bonus.xlsx",
    ]) {
      const made = hidden({ filenames: "hash" }, `https://x.example/a/${name}?b=1`);
      expect(made).toMatch(/^https:\/\/x\.example\/a\/[0-9a-f]{32}\.xlsx\?b=1$/);
    }
    expect(hidden({ filenames: "drop" }, "https://x.example/?n=Salary%20%26%20bonus.xlsx#y")).toBe(
      "https://x.example/?n=[name]#y",
    );
    expect(hidden({ subjects: "drop" }, "https://x.example/?s=Salary+of+Ann&t=1")).toBe(
      "https://x.example/?s=[subject]&t=1",
    );
    for (const user of ["anna@example.org", "anna%40example.org", "ANNA@example.org:secret"]) {
      const made = hidden({ addresses: "hash" }, `https://${user}@evil.example/p`);
      expect(made).toMatch(/^https:\/\/[0-9a-f]{32}(@|%40)example\.org(:secret)?@evil\.example\/p$/);
      expect(hidden({ addresses: "drop" }, `https://${user}@evil.example/p`)).not.toMatch(/anna/i);
    }
    expect(hidden({ addresses: "hash" }, "https://anna@example.org/")).toMatch(
      /^https:\/\/[0-9a-f]{32}@example\.org\/$/,
    );
    expect(hidden({ addresses: "drop" }, "https://anna@example.org/")).toBe("https://[address]@example.org/");
  });

  // Another destination of the same events got what a receiver quotes of one that it refuses.
  test("leaves out what a receiver says of an event that it refused", () => {
    const privacy = createPrivacy({ ...KEEP, subjects: "drop" }, SECRET);
    for (const [message, left] of [
      [
        "the destination a refused the event 1 for good: 400: value 'Salary' is no date",
        "the destination a refused the event 1 for good",
      ],
      [
        "the destination a refused 3 more events for good, the last: 1: 'Salary'",
        "the destination a refused 3 more events for good",
      ],
    ] as const) {
      const event = composeState("event_refused", message, SENSOR, NOON);
      expect(privacy?.apply(event).state?.message).toBe(left);
    }
  });

  test("leaves nothing of other mails of a change", () => {
    const mail = mailRow([
      { ...link("https://a.example/", content({ verdict: "malicious" })), was: "clean" },
    ]);
    const { envelope } = mail;
    const beside = [{ id: mail.id, receivedAt: NOON, envelope, subject: SUBJECT, messageId: null }];
    const change = { id: mail.id, because: "relook", mails: 2, from: "clean", beside } as const;
    const event = composeChanged(mail, judge(mail), change, SENSOR, NO_TYPES, NOON).at(-1) ?? tellingEvent();
    const all = { addresses: "drop", subjects: "drop", filenames: "drop", url_queries: "drop" } as const;
    const [made] = createFormatter(
      { name: "a", format: "json", privacy: all },
      recordingLog().log,
      SECRET,
    ).format(event, () => 65_536);
    expect(JSON.parse(made?.text ?? "").mails).toEqual([
      { id: mail.id, message_id: null, received_at: expect.any(String), envelope: {} },
    ]);
  });

  test("hides names in reasons that the event itself no longer holds in full", () => {
    const event = tellingEvent();
    const [attachment] = event.attachments ?? [];
    if (attachment === undefined) throw new Error("no attachment");
    const cut = { ...event, attachments: [{ ...attachment, filename: "Severance" }], urls: [] };
    const all = { addresses: "drop", subjects: "drop", filenames: "drop", url_queries: "drop" } as const;
    const { reasons } = createPrivacy(all, SECRET)?.apply(cut) ?? cut;
    for (const word of [/final/, /s3cr3t/, /user=/, /victoria/i]) expect(reasons?.join()).not.toMatch(word);
  });

  // Two hundred names that a search gets far into, in forty URLs, took half a second of CPU.
  test("takes little time for many long names and URLs that are alike", () => {
    const alike = (length: number, distance: number) => {
      const letters = Array.from({ length }, () => "a");
      letters[10] = "b";
      letters[10 + distance] = "b";
      return letters.join("");
    };
    const event = verdictEvent(
      mailRow([
        ...Array.from({ length: 200 }, (_, n) => file(alike(500, n + 3), content())),
        ...Array.from({ length: 40 }, () => link(`http://x.example/${alike(2000, 1500)}`, content())),
      ]),
    );
    const privacy = createPrivacy({ ...KEEP, filenames: "hash" }, SECRET);
    privacy?.apply(event);
    const before = process.threadCpuUsage();
    privacy?.apply(event);
    const { user, system } = process.threadCpuUsage(before);
    expect((user + system) / 1000).toBeLessThan(250);
  });

  test("takes linear time", () => {
    const nasty = [
      "a://".repeat(500),
      "@".repeat(2000),
      "a@".repeat(1000),
      'URL "'.repeat(400),
      "%41".repeat(700),
    ];
    const row = mailRow(
      nasty.flatMap((one) => [
        link(one, content({ verdict: "malicious", reason: one })),
        file(one, content()),
      ]),
    );
    const all = { addresses: "hash", subjects: "hash", filenames: "hash", url_queries: "drop" } as const;
    const event = verdictEvent(row);
    const started = performance.now();
    createPrivacy(all, SECRET)?.apply(event);
    expect(performance.now() - started).toBeLessThan(1000);
  });
});

const formatted = (settings: Omit<FormatSettings, "name">, event: SensorEvent) =>
  createFormatter({ name: "a", ...settings }, recordingLog().log, SECRET).format(event, () => 65_536);

describe("a destination", () => {
  test.each(FORMATS)("with privacy leaks nothing by the format %s", (format) => {
    const template = "{{ mail | json }}{{ reasons | json }}{{ attachments | json }}{{ urls | json }}";
    for (const how of ["hash", "drop"] as const) {
      const privacy = { addresses: how, subjects: how, filenames: how, url_queries: "drop" } as const;
      const made = formatted({ format, privacy, ...(format === "template" && { template }) }, tellingEvent());
      for (const { text } of made) {
        for (const word of [...ADDRESS_WORDS, /Severance/, /final/, /s3cr3t/]) expect(text).not.toMatch(word);
      }
      expect(made.length).toBeGreaterThan(0);
    }
  });

  test("hashes with the secret of its file, however that ends, and takes no short one", async () => {
    const path = join(tmpdir(), `privacy-${process.pid}.key`);
    const hashed = async (key: string) => {
      await Bun.write(path, key);
      const privacy = { ...KEEP, subjects: "hash", key_file: path } as const;
      const [message] = formatted({ format: "json", privacy }, tellingEvent());
      return JSON.parse(message?.text ?? "").mail.subject;
    };
    try {
      const subject = await hashed("0123456789abcdef");
      expect(subject).toMatch(/^[0-9a-f]{32}$/);
      expect(await hashed("0123456789abcdef\n")).toBe(subject);
      expect(await hashed("0123456789abcdeg")).not.toBe(subject);
      await expect(hashed("short\n")).rejects.toThrow(
        'siem destination "a": privacy.key_file: the secret is shorter',
      );
    } finally {
      await Bun.file(path).delete();
    }
  });

  test("gets the fields it wants and those without which an event means nothing", () => {
    const [message] = formatted(
      {
        format: "json",
        fields: { include: ["verdict", "mail", "/attachments/sha256"], exclude: ["mail.envelope", "id"] },
      },
      tellingEvent(),
    );
    const event = JSON.parse(message?.text ?? "");
    expect(Object.keys(event)).toEqual(["schema", "id", "type", "time", "mail", "verdict", "attachments"]);
    expect(Object.keys(event.attachments[0])).toEqual(["sha256"]);
    expect(event.mail.envelope).toBeUndefined();
    expect(event.mail.subject).toBe(SUBJECT);
  });

  test("without some fields has them in no format", () => {
    const fields = {
      exclude: [
        "mail.envelope.to",
        "mail.to",
        "mail.from",
        "mail.cc",
        "mail.envelope.from",
        "attachments",
        "urls",
        "reasons",
        "mail.message_id",
      ],
    };
    for (const format of ["ecs", "ocsf", "cef", "leef"] as const) {
      for (const { text } of formatted({ format, fields }, tellingEvent())) {
        if (format !== "ocsf" || text.includes('"class_uid":4009')) expect(text).not.toMatch(/victoria/i);
      }
    }
  });

  test("that splits gets an event for each part that was judged, with ids that stay", () => {
    const event = verdictEvent(
      mailRow([
        file("a.exe", content({ verdict: "malicious" })),
        file("b.txt", content()),
        file("c.txt", content({ outcome: "skipped", verdict: "not_available" })),
        link("https://x.example/", content({ verdict: "suspicious" })),
      ]),
    );
    const made = formatted({ format: "json", split: true }, event).map(({ text }) => JSON.parse(text));
    expect(made.map(({ type, verdict }) => `${type} ${verdict}`)).toEqual([
      "attachment.verdict malicious",
      "attachment.verdict clean",
      "url.verdict suspicious",
      "mail.verdict malicious",
    ]);
    expect(new Set(made.map(({ id }) => id)).size).toBe(4);
    for (const { id } of made)
      expect(id).toMatch(/^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/);
    expect(made[1]).toMatchObject({ attachments: [{ filename: "b.txt" }], complete: true, reasons: [] });
    expect(made[1].urls).toBeUndefined();
    expect(formatted({ format: "json", split: true }, event).map(({ text }) => JSON.parse(text).id)).toEqual(
      made.map(({ id }) => id),
    );
    // A part that still waited had an event that called it judged.
    const early = composeMailEvents(
      mailRow([file("a.exe", content({ verdict: "malicious" })), file("b.exe", null)], {
        state: "analysing",
      }),
      { verdict: "malicious", complete: false, reasons: [] },
      SENSOR,
      NO_TYPES,
      NOON,
    ).flatMap((one) => formatted({ format: "json", split: true }, one));
    expect(early.map(({ event: { type, attachments } }) => [type, attachments?.[0]?.filename])).toEqual([
      ["attachment.verdict", "a.exe"],
      ["mail.verdict", "a.exe"],
    ]);
    const partial = verdictEvent(
      mailRow([file("a.pdf", content({ partial: true, reason: "only looked up" }))]),
    );
    expect(
      formatted({ format: "json", split: true }, partial).map(({ event: { complete } }) => complete),
    ).toEqual([false, false]);
    const bad = formatted({ format: "json", split: true, min_verdict: "malicious" }, event);
    expect(bad.map(({ event: { type } }) => type)).toEqual(["attachment.verdict", "mail.verdict"]);
  });
});
