import { describe, expect, test } from "bun:test";
import { type Check, judge, type Observed, readEvent } from "../../../../src/commands/demo/checks.ts";
import type { SunkMail } from "../../../../src/commands/demo/mail-sink.ts";
import { renderReport, reportObject } from "../../../../src/commands/demo/report.ts";
import { SAMPLES, type Sample } from "../../../../src/commands/demo/samples.ts";
import type { SensorEvent } from "../../../../src/report/event.ts";

const samples = SAMPLES.map((sample) => sample({ id: "test", date: new Date(0) }));

function eventFor(sample: Sample): SensorEvent {
  const { finding, verdict, complete } = sample.expected;
  const part = { outcome: "judged" as const, verdict, reason: null, threat_names: [], vmray: null };
  const file = { sha256: "", sha1: "", md5: "", size: 1, type: "x", path: [], facts: [] };
  const isUrl = finding?.startsWith("http") === true;
  return {
    schema: "email-sensor.event.v1",
    id: `event of ${sample.name}`,
    type: "mail.verdict",
    time: "2026-03-01T09:00:00.000Z",
    sensor: { id: "demo", version: "0.1.0" },
    mail: {
      id: sample.name,
      message_id: sample.mail.messageId,
      received_at: "2026-03-01T09:00:00.000Z",
      envelope: { from: "a@b.example", to: ["c@d.example"], client_ip: "127.0.0.1", helo: "x", tls: null },
      from: [],
      to: [],
      cc: [],
      subject: sample.mail.subject,
      size: 1,
      sha256: "",
    },
    verdict,
    complete,
    reasons: [],
    attachments: finding === null || isUrl ? [] : [{ filename: finding, ...file, ...part }],
    urls: isUrl && finding !== null ? [{ url: finding, sources: ["text"], ...part }] : [],
    flags: [],
  };
}

function alertFor(sample: Sample): SunkMail {
  return {
    from: "",
    to: ["soc@demo.example"],
    subject: "Malicious attachment",
    text: `Subject: ${sample.mail.subject}`,
    autoSubmitted: "auto-generated",
  };
}

/** Everything as it should be, with `change` made to the event of the mail that is named. */
function observed(
  change: Partial<Record<string, (event: SensorEvent) => SensorEvent | null>> = {},
): Observed {
  const events = samples.flatMap((sample) => {
    const event = change[sample.name]?.(eventFor(sample));
    const kept = event === undefined ? eventFor(sample) : event;
    if (kept === null) return [];
    const text = JSON.stringify(kept);
    const syslog = {
      line: `<134>1 - - - - - - ${text}`,
      priority: 134,
      time: null,
      host: null,
      app: null,
      messageId: null,
      text,
    };
    return [{ event: kept, at: 500, syslog }];
  });
  return {
    events,
    alerts: samples.filter(({ expected }) => expected.alert).map(alertFor),
    syslogFaults: [],
    submissions: new Map(samples.flatMap(({ contents }) => contents).map((content) => [content, 1])),
    refused: new Map(),
    control: { malicious: 4, suspicious: 1, clean: 3, not_available: 1 },
  };
}

function failures(checks: readonly Check[]): string[] {
  return checks.filter(({ ok }) => !ok).map(({ name, detail }) => `${name}: ${detail}`);
}

describe("the checks of the demo", () => {
  test("pass where all is as expected", () => {
    expect(failures(judge(samples, observed()))).toEqual([]);
  });

  for (const [what, change, complaint] of [
    ["a verdict is missing", () => null, "no verdict came"],
    ["a mail was given up", (event: SensorEvent) => ({ ...event, type: "mail.failed" }), "gave the mail up"],
    [
      "a verdict is another",
      (event: SensorEvent) => ({ ...event, verdict: "clean" }),
      'is "clean", not "malicious"',
    ],
    ["it is incomplete", (event: SensorEvent) => ({ ...event, complete: false }), "complete is false"],
    [
      "the attachment is missing",
      (event: SensorEvent) => ({ ...event, attachments: [] }),
      "only [] was found",
    ],
    [
      "the subject is garbled",
      (event: SensorEvent) => ({ ...event, mail: event.mail && { ...event.mail, subject: "?" } }),
      'subject is "?"',
    ],
  ] as const) {
    test(`fail where ${what}`, () => {
      const changed = change as (event: SensorEvent) => SensorEvent | null;
      const found = failures(judge(samples, observed({ "eicar-in-zip": changed })));
      expect(found).toHaveLength(1);
      expect(found[0]).toContain("the EICAR test file in a zip");
      expect(found[0]).toContain(complaint);
    });
  }

  test("fail where a clean mail shows parts it does not have", () => {
    const attachments = eventFor(samples[1] as Sample).attachments ?? [];
    const found = failures(
      judge(samples, observed({ "clean-text": (event) => ({ ...event, attachments }) })),
    );
    expect(found).toEqual(["a plain text mail: clean: number of attachments and URLs is 1, not 0"]);
  });

  test("look at what was judged, not at what policy left out", () => {
    const skipped = { outcome: "skipped", verdict: "not_available", reason: "lies in an archive" } as const;
    const withMember = (event: SensorEvent): SensorEvent => {
      const [archive] = event.attachments ?? [];
      if (archive === undefined) throw new Error("no attachment");
      return { ...event, attachments: [archive, { ...archive, filename: "member.bin", ...skipped }] };
    };
    const clean = { ...observed({ "large-attachment": withMember }), sentAt: new Map() };
    expect(failures(judge(samples, clean))).toEqual([]);
    const { mails } = reportObject(samples, clean, [], 0, null);
    expect(mails.find(({ name }) => name === "large-attachment")?.finding).toBe("site-plans.zip");
  });

  test("fail where a mail was refused", () => {
    const refused = new Map([["non-ascii", "452 the disk is full"]]);
    expect(failures(judge(samples, { ...observed(), refused })).join()).toContain("452 the disk is full");
  });

  test("fail where a content was submitted twice, not at all, or out of nowhere", () => {
    const good = observed();
    const [first] = good.submissions.keys();
    if (first === undefined) throw new Error("no content");
    const wrong: [string, ReadonlyMap<string, number>][] = [
      ["submitted 2 times", new Map([...good.submissions, [first, 2]])],
      ["was not submitted", new Map([...good.submissions].slice(1))],
      ["is in no sample", new Map([...good.submissions, ["http://other.example/", 1]])],
    ];
    for (const [complaint, submissions] of wrong) {
      const found = failures(judge(samples, { ...good, submissions }));
      expect(found).toHaveLength(1);
      expect(found[0]).toContain(complaint);
    }
  });

  test("fail where an alert is missing, doubled, unwanted or could start a loop", () => {
    const good = observed();
    const [first, ...rest] = good.alerts;
    const clean = samples[0];
    if (first === undefined || clean === undefined) throw new Error("no alert");
    for (const alerts of [
      rest,
      [first, ...good.alerts],
      [...good.alerts, alertFor(clean)],
      [{ ...first, from: "sensor@demo.example" }, ...rest],
      [{ ...first, autoSubmitted: null }, ...rest],
    ]) {
      expect(failures(judge(samples, { ...good, alerts }))).toHaveLength(1);
    }
  });

  test("fail where the control service counts otherwise or does not answer", () => {
    const counts = { malicious: 4, suspicious: 1, clean: 2, not_available: 2 };
    expect(failures(judge(samples, { ...observed(), control: counts }))).toEqual([
      "the control service counts the same verdicts: 2 clean, not 3; 2 not_available, not 1",
    ]);
    expect(failures(judge(samples, { ...observed(), control: "no sensor" })).join()).toContain("no sensor");
  });

  test("fail where the syslog was malformed or an event came twice", () => {
    const good = observed();
    expect(failures(judge(samples, { ...good, syslogFaults: ["no octet count"] }))).toHaveLength(1);
    const state = { ...eventFor(samples[0] as Sample), type: "sensor.state" as const };
    const syslog = good.events[0]?.syslog;
    if (syslog === undefined) throw new Error("no event");
    const twice = [
      ...good.events,
      { event: { ...state, id: "s" }, at: 1, syslog },
      { event: { ...state, id: "s" }, at: 2, syslog },
    ];
    expect(failures(judge(samples, { ...good, events: twice }))).toEqual([
      "no event came twice: sensor.state s",
    ]);
  });
});

describe("the text of a syslog message", () => {
  test("is read as an event, or as none", () => {
    const event = eventFor(samples[0] as Sample);
    expect(readEvent(JSON.stringify(event))).toEqual(event);
    for (const text of ["", "null", "[]", "{", '"x"', '{"schema":1,"id":"a","type":"b"}']) {
      expect(readEvent(text)).toBeNull();
    }
  });
});

describe("the report of the demo", () => {
  const sentAt = new Map(samples.map(({ name }) => [name, 80]));
  const options = { width: 100, colour: false, duration: 4200 };

  test("has a row for each mail, within the width, and says that all is well", () => {
    const outcome = { ...observed(), sentAt };
    const text = renderReport(samples, outcome, judge(samples, outcome), options);
    for (const { mail } of samples) expect(text).toContain(mail.subject);
    expect(text).toContain("0.42 s");
    expect(text).toContain("all as expected, in 4.2 s");
    expect(text).not.toContain("\u001b");
    for (const line of text.split("\n")) {
      if (!line.startsWith("<134>1 ")) expect(Bun.stringWidth(line)).toBeLessThanOrEqual(100);
    }
  });

  test("names what differs", () => {
    const outcome = { ...observed({ "malicious-url": () => null }), sentAt };
    const text = renderReport(samples, outcome, judge(samples, outcome), options);
    expect(text).toContain("FAIL  a malicious link in HTML");
    expect(text).toMatch(/no verdict came +none +-/);
    expect(text).not.toContain("all as expected");
  });

  test("is coloured only where asked for", () => {
    const outcome = { ...observed(), sentAt };
    const checks = judge(samples, outcome);
    const coloured = renderReport(samples, outcome, checks, { ...options, colour: true });
    expect(coloured).toContain("\u001b[31mmalicious");
    expect(Bun.stripANSI(coloured)).toBe(renderReport(samples, outcome, checks, options));
  });

  test("exists for programs too", () => {
    const outcome = { ...observed(), sentAt };
    const object = reportObject(samples, outcome, judge(samples, outcome), 4200, null);
    const read = JSON.parse(JSON.stringify(object));
    expect(read.ok).toBe(true);
    expect(read.mails).toHaveLength(samples.length);
    expect(read.mails[1]).toMatchObject({ name: "eicar-in-zip", verdict: "malicious", time_ms: 420 });
    expect(read.events).toHaveLength(samples.length);
  });
});
