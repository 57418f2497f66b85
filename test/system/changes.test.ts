/**
 * Verdicts that keep being true, on the compiled binary: links armed after delivery, parts that take long, an analyzer
 * that is down. Events at a real rsyslog, alerts at an SMTP server, kill -9 in the middle.
 */
import { Database } from "bun:sqlite";
import { afterEach, beforeEach, expect, test } from "bun:test";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { listenForMail, type SunkMail } from "../../src/commands/demo/mail-sink.ts";
import type { SensorEvent } from "../../src/report/event.ts";
import {
  type Analyzer,
  binaryPath,
  launchSensor,
  obey,
  startAnalyzer,
  type TestSensor,
} from "./lib/binary.ts";
import { openPlace, type Place, runToEnd, waitFor } from "./lib/place.ts";
import { type Rsyslog, startRsyslog } from "./lib/rsyslog.ts";
import { sendMails, type TestMail } from "./lib/smtp.ts";

/** Debian's Python, which has python3-grpcio and python3-protobuf. */
const PYTHON = "/usr/bin/python3";

let place: Place;
beforeEach(() => {
  place = openPlace("changes");
});
afterEach(() => place.close());

type Peers = {
  readonly siem: Rsyslog;
  readonly analyzer: Analyzer;
  readonly sensor: TestSensor;
  readonly alerts: readonly SunkMail[];
};

/** A sensor with its SIEM, its relay, and an analyzer that obeys `scenario`. */
async function peers(
  scenario: object,
  vmray: Readonly<Record<string, unknown>>,
  { analyzerUp = true, triage = {} }: { readonly analyzerUp?: boolean; readonly triage?: object } = {},
): Promise<Peers> {
  const siem = await startRsyslog(place);
  const alerts: SunkMail[] = [];
  const relay = await listenForMail((mail) => alerts.push(mail));
  place.onClose(() => relay.close());
  const analyzer = await startAnalyzer(place, { queued: "10ms", work: "50ms" });
  await obey(analyzer, scenario);
  if (!analyzerUp) await analyzer.stop();
  const sensor = await launchSensor(place, {
    analyzer,
    config: {
      siem: [{ name: "siem", syslog: `tcp://127.0.0.1:${siem.tcpPort}` }],
      alerts: [
        {
          name: "people",
          relay: `127.0.0.1:${relay.port}`,
          tls: "none",
          from: "email-sensor@example.org",
          to_recipients: true,
          domains: ["example.org"],
          on: ["attachment", "url", "sender"],
        },
      ],
      vmray,
      triage: { ...triage },
    },
  });
  return { siem, analyzer, sensor, alerts };
}

function mail(
  key: string,
  to: readonly string[],
  html: string,
  files: Readonly<Record<string, string>> = {},
): TestMail {
  const parts = Object.entries(files).map(([name, text]) => [
    "--mark",
    `Content-Type: application/octet-stream; name="${name}"`,
    `Content-Disposition: attachment; filename="${name}"`,
    "Content-Transfer-Encoding: base64",
    "",
    Buffer.from(text).toString("base64"),
  ]);
  const lines = [
    "From: Billing <billing@sender.example>",
    `To: ${to.join(", ")}`,
    `Subject: Invoice for ${to[0]}`,
    `Message-ID: <${key}@sender.example>`,
    "MIME-Version: 1.0",
    'Content-Type: multipart/mixed; boundary="mark"',
    "",
    ...["--mark", "Content-Type: text/html; charset=utf-8", "", html],
    ...parts.flat(),
    "--mark--",
    "",
  ];
  return { key, from: "billing@sender.example", to, content: lines.join("\r\n") };
}

async function send(sensor: TestSensor, mails: readonly TestMail[]): Promise<void> {
  expect((await sendMails(sensor.smtpPort, mails)).refused).toEqual([]);
}

/** The events of a type at the SIEM, in the order of arrival; what came twice with one id is one. */
function told(siem: Rsyslog, type: SensorEvent["type"]): readonly SensorEvent[] {
  const events = siem.messages().map((line) => JSON.parse(line) as SensorEvent);
  return [...new Map(events.map((event) => [event.id, event])).values()].filter(
    (event) => event.type === type,
  );
}

function waitForEvents(siem: Rsyslog, type: SensorEvent["type"], count: number) {
  return waitFor(`${count} events ${type}`, () => {
    const found = told(siem, type);
    return found.length >= count ? found : undefined;
  });
}

/** What the spool has committed: every event, whether it was delivered or not. */
function committed(sensor: TestSensor, type: SensorEvent["type"]): readonly SensorEvent[] {
  const db = new Database(join(sensor.spoolPath, "spool.db"), { readonly: true });
  try {
    return db
      .query<{ body: string }, []>("SELECT body FROM events ORDER BY seq")
      .all()
      .map(({ body }) => JSON.parse(body) as SensorEvent)
      .filter((event) => event.type === type);
  } finally {
    db.close();
  }
}

const armed = { url_host: "late.example" };
const LINK = "http://late.example/invoice";

test("a link armed after delivery: each mail is told once, over kill -9, and its recipients are alerted", async () => {
  const { siem, analyzer, sensor, alerts } = await peers(
    { contents: [{ match: armed, verdict: "clean" }] },
    { relook: { for: "1h", first: "1s" } },
  );
  const html = `<p><a href="${LINK}">Your invoice</a></p>`;
  await send(sensor, [
    mail("one", ["anna@example.org", "ben@example.org"], html),
    mail("two", ["carl@example.org"], html),
  ]);
  const before = await waitForEvents(siem, "mail.verdict", 2);
  expect(before.map(({ verdict }) => verdict)).toEqual(["clean", "clean"]);
  expect(alerts).toEqual([]);

  await obey(analyzer, {
    contents: [
      {
        match: armed,
        verdict: "clean",
        // biome-ignore lint/suspicious/noThenProperty: the key of a scenario.
        then: { after: "1ms", verdict: "malicious", threat_names: ["Armed-Later"] },
      },
    ],
  });
  for (const pause of [300, 900]) {
    await Bun.sleep(pause);
    await sensor.kill();
    await sensor.start();
  }
  await waitFor("a change", () => (committed(sensor, "verdict.changed").length > 0 ? true : undefined));
  await sensor.kill();
  await sensor.start();
  const changes = await waitForEvents(siem, "verdict.changed", 2);
  await waitFor("three alerts", () => (alerts.length >= 3 ? true : undefined));
  await Bun.sleep(1500);

  const stored = committed(sensor, "verdict.changed");
  expect(stored.map(({ mail }) => mail?.message_id).toSorted()).toEqual([
    "<one@sender.example>",
    "<two@sender.example>",
  ]);
  expect(
    told(siem, "verdict.changed")
      .map(({ id }) => id)
      .toSorted(),
  ).toEqual(stored.map(({ id }) => id).toSorted());
  expect(new Set(changes.map(({ change }) => change?.id)).size).toBe(1);
  for (const event of changes) {
    const first = before.find(({ mail }) => mail?.id === event.mail?.id);
    const other = before.find(({ mail }) => mail?.id !== event.mail?.id);
    expect(event).toMatchObject({
      verdict: "malicious",
      complete: true,
      change: {
        because: "relook",
        from: "clean",
        to: "malicious",
        previous_event_id: first?.id ?? "",
        mails: 2,
      },
      mails: [{ id: other?.mail?.id ?? "", envelope: { to: other?.mail?.envelope.to ?? [] } }],
      urls: [{ url: LINK, verdict: "malicious", previous_verdict: "clean", threat_names: ["Armed-Later"] }],
    });
  }
  const recipients = new Set(alerts.flatMap(({ to }) => to));
  expect([...recipients].toSorted()).toEqual(["anna@example.org", "ben@example.org", "carl@example.org"]);
}, 600_000);

test("a mail with a malicious part is told at once, and completed when its slow part is decided", async () => {
  const { siem, sensor, alerts } = await peers(
    { contents: [{ match: { filename: "*slow.js" }, work: "15s" }] },
    {},
  );
  await send(sensor, [
    mail("mixed", ["anna@example.org"], "<p>Two files</p>", {
      "bad.js": "// VMRAY-SIMULATOR: malicious",
      "slow.js": "// nothing bad, but it takes long",
    }),
  ]);
  const [early] = await waitForEvents(siem, "mail.verdict", 1);
  expect(early).toMatchObject({ verdict: "malicious", complete: false });
  expect(early?.reasons).toContain("1 part is still being analysed");
  expect(early?.attachments?.map(({ filename, outcome }) => [filename, outcome]).toSorted()).toEqual([
    ["bad.js", "judged"],
    ["slow.js", "pending"],
  ]);
  const [completed] = await waitForEvents(siem, "verdict.changed", 1);
  expect(completed).toMatchObject({
    verdict: "malicious",
    complete: true,
    change: { because: "completed", from: "malicious", previous_event_id: early?.id ?? "" },
    attachments: [{ filename: "slow.js", verdict: "clean", previous_verdict: "not_available" }],
  });
  await waitFor("the alert", () => (alerts.length > 0 ? true : undefined));
  await Bun.sleep(500);
  expect(alerts.map(({ to }) => to)).toEqual([["anna@example.org"]]);
}, 600_000);

test("an analyzer that is down: the mail is reported in time with the reason, its verdict follows", async () => {
  const { siem, analyzer, sensor, alerts } = await peers({}, { report_after: "2s" }, { analyzerUp: false });
  await send(sensor, [
    mail("waits", ["anna@example.org"], "<p>See</p>", { "bad.js": "// VMRAY-SIMULATOR: malicious" }),
  ]);
  const [late] = await waitForEvents(siem, "mail.verdict", 1);
  expect(late).toMatchObject({
    verdict: "not_available",
    complete: false,
    reasons: ["1 part is still being analysed: VMRay cannot be reached"],
    attachments: [{ filename: "bad.js", outcome: "pending", verdict: "not_available" }],
  });
  expect(alerts).toEqual([]);
  await sensor.kill();
  await analyzer.restart();
  await sensor.start();
  const [changed] = await waitForEvents(siem, "verdict.changed", 1);
  expect(changed).toMatchObject({
    verdict: "malicious",
    complete: true,
    change: {
      because: "completed",
      from: "not_available",
      to: "malicious",
      previous_event_id: late?.id ?? "",
    },
  });
  await waitFor("the alert", () => (alerts.length > 0 ? true : undefined));
  expect(alerts[0]?.to).toEqual(["anna@example.org"]);
  expect(committed(sensor, "mail.verdict")).toHaveLength(1);
}, 600_000);

/** A call of a client in another language; the answer, or `code` and `details` of the refusal. */
async function call(sensor: TestSensor, method: string, request: object): Promise<Record<string, unknown>> {
  const client = join(import.meta.dir, "grpc_client.py");
  const path = `emailsensor.v1.SensorService/${method}`;
  const { stdout, stderr } = await runToEnd([
    PYTHON,
    ...[client, `unix:${sensor.control}`, "call", path, JSON.stringify(request)],
  ]);
  if (stdout === "") throw new Error(`the client printed nothing: ${stderr}`);
  return JSON.parse(stdout) as Record<string, unknown>;
}

const entry = (kind: string, value: string, comment = "ticket 4711") => ({
  list: "LIST_NAME_DENY",
  kind: `LIST_KIND_${kind}`,
  value,
  comment,
});

test("what is denied over gRPC counts at once, for mails that come and mails that came, over kill -9", async () => {
  const { siem, sensor, alerts } = await peers({}, {});
  const html = (page: string) => `<p><a href="http://www.phish.example/${page}">Your invoice</a></p>`;
  await send(sensor, [
    mail("one", ["anna@example.org", "ben@example.org"], html("a")),
    mail("two", ["carl@example.org"], html("b")),
    mail("three", ["dora@example.org"], "<p>See</p>", { "tool.js": "// a tool" }),
  ]);
  expect((await waitForEvents(siem, "mail.verdict", 3)).map(({ verdict }) => verdict)).toEqual(
    Array(3).fill("clean"),
  );

  const refused = await call(sensor, "AddListEntries", {
    entries: [entry("DOMAIN", "Phish.EXAMPLE"), entry("HASH", "abc")],
  });
  expect(refused.code).toBe("INVALID_ARGUMENT");
  expect(refused.details).toContain('entries[1].value: "abc" is no MD5, SHA-1 or SHA-256 in hex');
  const sha1 = new Bun.CryptoHasher("sha1").update("// a tool").digest("hex");
  const entries = [entry("DOMAIN", "Phish.EXAMPLE"), entry("HASH", sha1.toUpperCase())];
  expect(await call(sensor, "AddListEntries", { entries })).toEqual({ added: 2 });
  await sensor.kill();
  await sensor.start();
  const changes = await waitForEvents(siem, "verdict.changed", 3);
  await sensor.kill();
  await sensor.start();
  const byMessage = (name: string) =>
    changes.find(({ mail: about }) => about?.message_id === `<${name}@sender.example>`);
  const [one, two, three] = ["one", "two", "three"].map(byMessage);
  expect(one).toMatchObject({
    verdict: "malicious",
    complete: true,
    change: { because: "list", from: "clean", to: "malicious", mails: 2 },
    mails: [{ id: two?.mail?.id ?? "", envelope: { to: ["carl@example.org"] } }],
    urls: [
      {
        url: "http://www.phish.example/a",
        verdict: "malicious",
        previous_verdict: "clean",
        rule: "list.deny_domain",
        reason: "on the deny list (domain phish.example, added at run time): ticket 4711",
      },
    ],
  });
  expect(two?.change?.id).toBe(one?.change?.id ?? "");
  expect(three).toMatchObject({
    change: { because: "list", mails: 1 },
    attachments: [{ filename: "tool.js", rule: "list.deny_hash" }],
  });
  // One that was being sent when the sensor was killed comes twice.
  const told = () => new Set(alerts.flatMap(({ to }) => to));
  await waitFor("alerts to four", () => (told().size >= 4 ? true : undefined));
  expect(told().size).toBe(4);

  await send(sensor, [mail("four", ["eve@example.org"], html("c"))]);
  expect((await waitForEvents(siem, "mail.verdict", 4))[3]).toMatchObject({
    verdict: "malicious",
    urls: [{ rule: "list.deny_domain" }],
  });
  expect(committed(sensor, "verdict.changed")).toHaveLength(3);
  const shown = await call(sensor, "ListListEntries", { text: "phish" });
  expect(shown.entries).toMatchObject([{ value: "phish.example", comment: "ticket 4711" }]);

  expect(await call(sensor, "RemoveListEntries", { entries })).toEqual({ removed: 2 });
  await sensor.kill();
  await sensor.start();
  await send(sensor, [mail("five", ["eve@example.org"], html("d"))]);
  expect((await waitForEvents(siem, "mail.verdict", 5))[4]).toMatchObject({ verdict: "clean" });
  expect(committed(sensor, "verdict.changed")).toHaveLength(3);
  const audit = sensor.log().filter(({ msg }) => String(msg).startsWith("list entry"));
  expect(audit.map(({ msg, kind, value }) => [msg, kind, value])).toEqual([
    ["list entry added", "domain", "phish.example"],
    ["list entry added", "hash", sha1],
    ["list entry removed", "domain", "phish.example"],
    ["list entry removed", "hash", sha1],
  ]);
}, 600_000);

test("what a deny file has new at a reload is applied to mails that came", async () => {
  const file = join(place.path, "deny.txt");
  writeFileSync(file, "other.example\n");
  const lists = [{ list: "deny", kind: "domain", file }];
  const { siem, sensor } = await peers({}, {}, { triage: { lists } });
  await send(sensor, [mail("one", ["anna@example.org"], '<a href="http://www.phish.example/">x</a>')]);
  await waitForEvents(siem, "mail.verdict", 1);
  writeFileSync(file, "other.example\nphish.example # ticket 4711\n");
  process.kill(sensor.pid(), "SIGHUP");
  const [changed] = await waitForEvents(siem, "verdict.changed", 1);
  expect(changed).toMatchObject({
    verdict: "malicious",
    change: { because: "list", mails: 1 },
    urls: [{ reason: "on the deny list (domain phish.example): ticket 4711" }],
  });
  await sensor.kill();
  await sensor.start();
  await Bun.sleep(1500);
  expect(committed(sensor, "verdict.changed")).toHaveLength(1);
}, 600_000);

test("email-sensor lists changes them, and explain knows them", async () => {
  const { sensor } = await peers({}, {});
  const own = async (stdin: string, ...args: readonly string[]) =>
    (
      await runToEnd([binaryPath(), ...args], {
        input: stdin,
        env: { EMAIL_SENSOR_ADDRESS: `unix:${sensor.control}` },
      })
    ).stdout;
  const values = ["--list", "allow", "--kind", "domain"];
  const lines = Array.from({ length: 700 }, (_, n) => `host${n}.example # number ${n}`).join("\n");
  expect(await own(lines, "lists", "add", ...values, "-")).toBe("700 added, 0 changed, 0 there already\n");
  expect(await own("", "lists", "remove", ...values, "--json", "HOST1.example", "none.example")).toBe(
    '{"removed":1,"missing":1}\n',
  );
  expect(JSON.parse(await own("", "lists", "show", "--json", "--text", "host7."))).toMatchObject({
    list: "allow",
    kind: "domain",
    value: "host7.example",
    comment: "number 7",
    expires_at: null,
  });
  expect(await own("", "lists")).toContain("host699.example");
  const { content } = mail("explained", ["anna@example.org"], '<a href="http://host7.example/">x</a>');
  const explained = JSON.parse(
    await own(String(content), "explain", "--json", "--config", sensor.configPath, "-"),
  );
  expect(explained).toMatchObject({
    run_time_lists: true,
    parts: [
      {
        rule: "list.allow_domain",
        reason: "on the allow list (domain host7.example, added at run time): number 7",
      },
    ],
  });
}, 600_000);

test("a sender denied afterwards: each of its mails is told, naming the others, and the recipients are alerted", async () => {
  const { siem, sensor, alerts } = await peers({}, {});
  await send(sensor, [
    mail("one", ["anna@example.org"], "<p>Nothing in it</p>"),
    mail("two", ["ben@example.org"], "<p>Nothing in it either</p>"),
  ]);
  const before = await waitForEvents(siem, "mail.verdict", 2);
  expect(await call(sensor, "AddListEntries", { entries: [entry("SENDER", "sender.example")] })).toEqual({
    added: 1,
  });
  const changes = await waitForEvents(siem, "verdict.changed", 2);
  for (const event of changes) {
    const other = before.find(({ mail: about }) => about?.id !== event.mail?.id);
    expect(event).toMatchObject({
      verdict: "malicious",
      flags: ["sender_denied"],
      change: { because: "list", from: "clean", mails: 2 },
      mails: [{ id: other?.mail?.id ?? "", envelope: { to: other?.mail?.envelope.to ?? [] } }],
    });
    expect(event.reasons?.[0]).toContain(
      "is on the deny list (sender sender.example, added at run time): ticket 4711",
    );
  }
  await waitFor("two alerts", () => (alerts.length >= 2 ? true : undefined));
  expect(alerts.flatMap(({ to }) => to).toSorted()).toEqual(["anna@example.org", "ben@example.org"]);
  expect(alerts[0]?.text).toContain("was found malicious after delivery");
}, 600_000);
