import { describe, expect, test } from "bun:test";
import { composeChanged, composeMailEvents, composeState } from "../../../../src/report/compose.ts";
import type { SensorEvent } from "../../../../src/report/event.ts";
import { writeCef } from "../../../../src/report/formats/cef.ts";
import { writeEcs } from "../../../../src/report/formats/ecs.ts";
import { createFormatter } from "../../../../src/report/formats/formatter.ts";
import { writeLeef } from "../../../../src/report/formats/leef.ts";
import { OCSF_CLASSES, ocsfFormat } from "../../../../src/report/formats/ocsf.ts";
import { judge } from "../../../../src/verdict/judge.ts";
import type { Verdict } from "../../../../src/verdict/verdict.ts";
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
} from "../fixtures.ts";
// Of Elastic Common Schema 8.11 (Apache-2.0), as @elastic/ecs 8.11.5 on npm has it.
import ecsFields from "./ecs-fields.json" with { type: "json" };
import { EVIDENCE, malicious, readCef, readLeef } from "./hostile.ts";

type Field = {
  readonly type: string;
  readonly list?: boolean;
  readonly allowed?: readonly string[];
  readonly expected?: readonly string[];
};
const FIELDS = new Map<string, Field>(Object.entries(ecsFields));
const state = composeState("started", "the sensor takes mails", SENSOR, NOON);
const clean = verdictEvent(mailRow([file("a.txt", content()), link("not a url", content())]));

/** Every value with the name of its field; lists of objects give the fields of each. */
function* leaves(value: unknown, path: string): Generator<readonly [string, unknown]> {
  if (path.startsWith("email_sensor.")) return;
  if (Array.isArray(value) && value.some((one) => typeof one === "object")) {
    for (const one of value) yield* leaves(one, path);
  } else if (typeof value === "object" && value !== null && !Array.isArray(value)) {
    for (const [key, below] of Object.entries(value))
      yield* leaves(below, path === "" ? key : `${path}.${key}`);
  } else yield [path, value];
}

type Enrichment = { readonly name: string; readonly data: { readonly verdict: string } };

const JSON_TYPES: Readonly<Record<string, string>> = { long: "number", boolean: "boolean", float: "number" };

describe("ecs", () => {
  test("has only fields and values of the Elastic Common Schema", () => {
    for (const event of [malicious(), clean, state, { ...malicious(), type: "mail.failed" } as SensorEvent]) {
      for (const [name, value] of leaves(JSON.parse(writeEcs(event)), "")) {
        const field = FIELDS.get(name);
        if (field === undefined) throw new Error(`${name} is no field of ECS`);
        const values = Array.isArray(value) ? value : [value];
        for (const one of values) {
          expect(`${name}: ${typeof one}`).toBe(`${name}: ${JSON_TYPES[field.type] ?? "string"}`);
          const among = field.allowed ?? field.expected;
          if (among !== undefined) expect(among).toContain(String(one));
        }
        if (Array.isArray(value)) expect(`${name} ${field.list === true}`).toBe(`${name} true`);
        if (field.type === "date") expect(new Date(String(value)).toISOString()).toBe(String(value));
        if (field.type === "ip") for (const one of values) expect(one).toMatch(/^[0-9a-f.:]+$/);
      }
    }
  });

  test("says what was found, in which file, by which technique", () => {
    const made = JSON.parse(writeEcs(malicious()));
    expect(made).toMatchObject({
      event: { kind: "alert", category: ["email", "malware"], action: "mail.verdict", severity: 100 },
      email: {
        from: { address: ["sender@example.net"] },
        sender: { address: "sender@example.net" },
        attachments: [
          { file: { name: "invoice.pdf.exe", extension: "exe" } },
          { file: { name: "fine.txt" } },
        ],
      },
      file: { name: "invoice.pdf.exe", hash: { sha256: expect.any(String) } },
      url: {
        original: "https://pay.example:8443/a/b?user=anna#top",
        domain: "pay.example",
        port: 8443,
        path: "/a/b",
        query: "user=anna",
        fragment: "top",
      },
      threat: {
        framework: "MITRE ATT&CK",
        technique: { id: ["T1543.003"], name: ["Windows Service"] },
        tactic: { name: ["Persistence"] },
        indicator: {
          type: "file",
          confidence: "High",
          description: "Emotet",
          reference: "https://vmray.example/samples/7",
        },
      },
      source: { ip: "192.0.2.7" },
      tls: { version: "1.3", cipher: "TLS_AES_256_GCM_SHA384", established: true },
      related: { hosts: ["pay.example", "c2.example"], ip: ["192.0.2.7", "203.0.113.9", "2001:db8::9"] },
      email_sensor: { verdict: "malicious", complete: true },
    });
    expect(
      made.threat.enrichments.map(({ indicator }: { indicator: { type: string } }) => indicator.type),
    ).toEqual(["file", "url", "url", "domain-name", "ipv4-addr", "ipv6-addr", "file", "email-addr"]);
    expect(made.related.hash).toContain("b".repeat(64));
  });

  test("calls a clean mail no alert, and says nothing of threats", () => {
    const made = JSON.parse(writeEcs(clean));
    expect(made.event.kind).toBe("event");
    expect(made.event.category).toEqual(["email"]);
    expect(made.threat).toBeUndefined();
    expect(made.url).toEqual({ original: "not a url" });
  });
});

describe("ocsf", () => {
  const objects = (event: SensorEvent) =>
    ocsfFormat(event).map((piece) => JSON.parse(piece.write(piece.event)));

  test("makes objects of a mail that have its uid in common, and a finding where it is bad", () => {
    const made = objects(malicious());
    expect(made.map(({ class_uid }) => class_uid)).toEqual([4009, 4011, 4011, 4012, 2004]);
    const [email, bad, fine, url, finding] = made;
    expect(
      new Set([email.email.uid, bad.email_uid, fine.email_uid, url.email_uid, finding.finding_info.uid]).size,
    ).toBe(1);
    expect(new Set(made.map(({ metadata }) => metadata.uid)).size).toBe(5);
    expect(new Set(made.map(({ metadata }) => metadata.correlation_uid)).size).toBe(1);
    expect([bad.severity_id, fine.severity_id, url.severity_id]).toEqual([5, 1, 4]);
    expect(bad.file.hashes.map(({ algorithm_id }: { algorithm_id: number }) => algorithm_id)).toEqual([
      1, 2, 3,
    ]);
    expect(bad.enrichments[0].data).toMatchObject({ verdict: "malicious", threat_names: ["Emotet"] });
    expect(url.url).toMatchObject({ hostname: "pay.example", port: 8443, query_string: "user=anna" });
    expect(finding).toMatchObject({
      is_alert: true,
      confidence_id: 3,
      malware: [
        { name: "Emotet", classification_ids: [10, 99], classifications: ["Ransomware", "Something new"] },
      ],
      finding_info: {
        attacks: [{ technique: { uid: "T1543.003" }, tactics: [{ name: "Persistence" }] }],
        src_url: "https://vmray.example/samples/7",
      },
    });
    expect(finding.evidences.map((one: object) => Object.keys(one)[0])).toEqual(["email", "file", "url"]);
    expect(objects(clean).map(({ class_uid }) => class_uid)).toEqual([4009, 4011, 4012]);
    expect(objects(state).map(({ class_uid }) => class_uid)).toEqual([0]);
    expect(objects({ ...malicious(), type: "verdict.changed" }).at(-1)?.activity_id).toBe(2);
  });

  // Attributes that the schema of OCSF 1.5.0 requires, of each class and of the objects in it.
  test("has what each class requires", () => {
    const all = [...objects(malicious()), ...objects(clean), ...objects(state)];
    for (const one of all) {
      expect(one).toMatchObject({
        activity_id: expect.any(Number),
        category_uid: Math.floor(one.class_uid / 1000),
        class_uid: expect.any(Number),
        severity_id: expect.any(Number),
        time: expect.any(Number),
        type_uid: one.class_uid * 100 + one.activity_id,
        metadata: { version: "1.5.0", product: { vendor_name: expect.any(String) } },
      });
      for (const { name, type_id } of one.observables ?? []) {
        expect([typeof name, typeof type_id]).toEqual(["string", "number"]);
      }
      if (one.class_uid === 4009) {
        expect(one).toMatchObject({
          direction_id: 0,
          email: { from: expect.any(String), to: expect.any(Array) },
        });
      }
      if (one.class_uid === 4011)
        expect(one).toMatchObject({
          email_uid: expect.any(String),
          file: { name: expect.any(String), type_id: 1 },
        });
      if (one.class_uid === 4012)
        expect(one).toMatchObject({ email_uid: expect.any(String), url: { url_string: expect.any(String) } });
      if (one.class_uid === 2004) expect(one.finding_info.uid).toBeString();
    }
  });

  // Looked up in an object, "constructor" had the number null and "__proto__" an empty object for one.
  test("has a number for every classification, also for names that objects have", () => {
    const classifications = ["Trojan", "constructor", "__proto__", "toString"];
    const evidence = EVIDENCE.evidence && { ...EVIDENCE.evidence, classifications };
    const verdict = content({ verdict: "malicious", threat_names: ["X"], ...(evidence && { evidence }) });
    const finding = objects(verdictEvent(mailRow([file("x.zip", verdict)]))).at(-1);
    expect(finding?.malware).toEqual([
      { name: "X", provider: "VMRay", classification_ids: [18, 99], classifications },
    ]);
  });

  // A mail that was clean at first had its finding updated, which nobody knew; one that was judged anew to be clean kept it.
  test("creates the finding of a mail, updates it, and closes it", () => {
    const changed = (from: Verdict, to: Verdict) => {
      const mail = mailRow([{ ...link("https://a.example/", content({ verdict: to })), was: from }]);
      const change = { id: Bun.randomUUIDv7(), because: "relook", mails: 1, from, beside: [] } as const;
      const event = composeChanged(mail, judge(mail), change, SENSOR, NO_TYPES, NOON).at(-1);
      return event === undefined ? [] : objects(event).filter(({ class_uid }) => class_uid === 2004);
    };
    expect(changed("clean", "malicious")).toMatchObject([
      {
        activity_id: 1,
        type_uid: 200401,
        is_alert: true,
        status_id: 1,
        finding_info: { created_time: NOON },
      },
    ]);
    expect(changed("suspicious", "malicious")).toMatchObject([
      {
        activity_id: 2,
        type_uid: 200402,
        is_alert: true,
        status_id: 1,
        finding_info: { modified_time: NOON },
      },
    ]);
    const closed = changed("malicious", "clean");
    expect(closed).toMatchObject([
      {
        activity_id: 3,
        type_uid: 200403,
        is_alert: false,
        status_id: 4,
        finding_info: { modified_time: NOON },
      },
    ]);
    expect(closed[0].confidence_id).toBeUndefined();
    expect(changed("not_available", "clean")).toEqual([]);
  });

  // What still waited was a success that was judged "not_available".
  test("calls the status of a part that waits or failed unknown", () => {
    const event = composeMailEvents(
      mailRow(
        [
          file("a.exe", content(EVIDENCE)),
          file("b.exe", null),
          file("c.exe", content({ outcome: "failed" })),
        ],
        {
          state: "analysing",
        },
      ),
      judge(mailRow()),
      SENSOR,
      NO_TYPES,
      NOON,
    ).at(-1);
    const parts = objects(event ?? malicious()).filter(({ class_uid }) => class_uid === 4011);
    expect(parts.map(({ status_id }) => status_id)).toEqual([1, 0, 0]);
  });

  test("has all parts and their verdicts in the class that is not deprecated", () => {
    const [email] = objects(malicious());
    expect(email.email.files.map(({ name }: { name: string }) => name)).toEqual([
      "invoice.pdf.exe",
      "fine.txt",
    ]);
    expect(email.unmapped.email_sensor.mail_sha256).toMatch(/^[0-9a-f]{64}$/);
    const [, bad, , url] = objects(malicious());
    expect(bad.enrichments[0].data).toMatchObject({ path: [], facts: [], rule: "default.archives" });
    expect(url.enrichments[0].data).toMatchObject({ sources: ["html"], action: "reputation" });
    expect(email.email.urls[0]).toMatchObject({ url_string: "https://pay.example:8443/a/b?user=anna#top" });
    expect(email.enrichments.map(({ name, data }: Enrichment) => [name, data.verdict])).toEqual([
      ["email.files.hashes.value", "malicious"],
      ["email.files.hashes.value", "clean"],
      ["email.urls.url_string", "suspicious"],
    ]);
    for (const one of email.enrichments) {
      expect([typeof one.name, typeof one.value, typeof one.data]).toEqual(["string", "string", "object"]);
    }
  });

  test("keeps recipients rather than lists of parts that have objects of their own", () => {
    const to = Array.from({ length: 300 }, (_, n) => `recipient-${n}@corp.example`);
    const mail = mailRow(Array.from({ length: 150 }, (_, n) => file(`${n}.zip`, content())));
    const event = verdictEvent({ ...mail, envelope: { ...mail.envelope, to } });
    const made = createFormatter({ name: "a", format: "ocsf" }, recordingLog().log, Buffer.alloc(32)).format(
      event,
      () => 65_536,
    );
    const email = JSON.parse(made[0]?.text ?? "");
    expect(email.email.smtp_to).toEqual(to);
    expect([email.email.files, email.enrichments]).toEqual([undefined, undefined]);
    expect(email.unmapped.email_sensor.truncated).toEqual(["/attachments"]);
    expect(made.length).toBe(151);
  });

  test("names no field twice in a table", () => {
    for (const rows of Object.values(OCSF_CLASSES)) {
      const names = rows.map(({ field }) => field);
      expect(new Set(names).size).toBe(names.length);
    }
  });

  test("tells cuts of a part in the object of that part", () => {
    const event = { ...malicious(), truncated: ["/attachments/1/filename", "/mail/subject"] };
    const [email, first, second] = objects(event);
    expect(email.unmapped.email_sensor.truncated).toEqual(event.truncated);
    expect(first.unmapped.email_sensor.truncated).toEqual(["/mail/subject"]);
    expect(second.unmapped.email_sensor.truncated).toEqual(["/attachments/0/filename", "/mail/subject"]);
  });
});

test("cef names the worst parts and counts the rest", () => {
  const { header, fields } = readCef(writeCef(malicious()));
  expect(header).toEqual([
    "CEF:0",
    "email-sensor",
    "email-sensor",
    "0.1.0",
    "mail.verdict",
    "Mail judged: malicious",
    "10",
  ]);
  expect(Object.fromEntries(fields)).toMatchObject({
    rt: String(NOON),
    src: "192.0.2.7",
    suser: "sender@example.net",
    duser: "anna@example.org,ben@example.org",
    fname: "invoice.pdf.exe",
    request: "https://pay.example:8443/a/b?user=anna#top",
    cs1Label: "verdict",
    cs1: "malicious",
    cs5: "Emotet",
    cn1Label: "attachments",
    cn1: "2",
    flexString1: "T1543.003",
    outcome: "success",
  });
  expect([...readCef(writeCef(state)).fields.keys()]).toEqual([
    "rt",
    "externalId",
    "dvchost",
    "cat",
    "outcome",
    "msg",
  ]);
});

test("cef cuts to the lengths of its dictionary and names what it cut", () => {
  const long = link(`https://long.example/${"a".repeat(1500)}`, content({ verdict: "malicious" }));
  const { fields } = readCef(writeCef(verdictEvent(mailRow([long]))));
  expect(fields.get("request")).toHaveLength(1023);
  expect(fields.get("flexString2")).toBe("request");
});

// What changed was in no format but JSON: who reads another one could not tell from which verdict, nor since when.
test("every format says what changed", () => {
  const mail = mailRow([{ ...link("https://a.example/", content({ verdict: "malicious" })), was: "clean" }], {
    reported: "019df225-eb19-7000-8000-000000000002",
  });
  const id = "019df238-3c59-7000-8000-0a1b2c3d4e5f";
  const beside = [
    {
      id: "019df222-9d1a-7d02-b1c5-90d3a1b7f2c4",
      receivedAt: NOON,
      envelope: mail.envelope,
      subject: "other",
      messageId: null,
    },
  ];
  const change = { id, because: "relook", mails: 2, from: "clean", beside } as const;
  const event = composeChanged(mail, judge(mail), change, SENSOR, NO_TYPES, NOON).at(-1) ?? malicious();
  const said = { id, because: "relook", from: "clean", to: "malicious", mails: 2 };
  expect(JSON.parse(writeEcs(event)).email_sensor).toMatchObject({
    change: said,
    mails: [{ subject: "other" }],
  });
  const [email] = ocsfFormat(event).map((piece) => JSON.parse(piece.write(piece.event)));
  expect(email.unmapped.email_sensor).toMatchObject({ change: said, mails: [{ subject: "other" }] });
  expect(Object.fromEntries(readCef(writeCef(event)).fields)).toMatchObject({
    emailSensorPreviousVerdict: "clean",
    emailSensorPreviousEventId: "019df225-eb19-7000-8000-000000000002",
    emailSensorChangeId: id,
    emailSensorBecause: "relook",
  });
  expect(Object.fromEntries(readLeef(writeLeef(event, "^")).fields)).toMatchObject({
    previousVerdict: "clean",
    previousEventId: "019df225-eb19-7000-8000-000000000002",
    changeId: id,
    because: "relook",
  });
});

test("cef has a place for IPv6", () => {
  const mail = mailRow([]);
  const event = verdictEvent({ ...mail, envelope: { ...mail.envelope, client_ip: "2001:db8::1" } });
  const { fields } = readCef(writeCef(event));
  expect([fields.get("src"), fields.get("c6a2"), fields.get("c6a2Label")]).toEqual([
    undefined,
    "2001:db8::1",
    "Source IPv6 Address",
  ]);
});

test("leef names the worst parts, with any of its delimiters", () => {
  for (const delimiter of ["^", "~", ";", "!"] as const) {
    const { header, fields } = readLeef(writeLeef(malicious(), delimiter));
    expect(header).toEqual(["LEEF:2.0", "email-sensor", "email-sensor", "0.1.0", "mail.verdict", delimiter]);
    expect(Object.fromEntries(fields)).toMatchObject({
      cat: "malicious",
      sev: "10",
      usrName: "anna@example.org",
      url: "https://pay.example:8443/a/b?user=anna#top",
      fileName: "invoice.pdf.exe",
      techniques: "T1543.003",
    });
  }
});
