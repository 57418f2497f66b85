/**
 * The pool for VMRay's calls on the compiled binary: what it spends over kill -9, and that it keeps quiet where VMRay
 * asks for it. What came of it is read from the committed events, the calls from the log of the simulator.
 */
import { Database } from "bun:sqlite";
import { afterEach, beforeEach, expect, test } from "bun:test";
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import type { SensorEvent } from "../../src/report/event.ts";
import { type Analyzer, launchSensor, obey, startAnalyzer, type TestSensor } from "./lib/binary.ts";
import { mime } from "./lib/mails.ts";
import { openPlace, type Place, waitFor } from "./lib/place.ts";
import { sendMails } from "./lib/smtp.ts";

let place: Place;
beforeEach(() => {
  place = openPlace("pool");
});
afterEach(() => place.close());

/** The default of `vmray.concurrency`. */
const CONCURRENCY = 8;

type Call = {
  readonly time: string;
  readonly endpoint: string;
  readonly status: number | null;
  readonly fault: string | null;
};

async function simulator(scenario: object, work = "50ms") {
  const path = join(place.path, "calls.jsonl");
  const analyzer = await startAnalyzer(place, { queued: "10ms", work }, ["--call-log", path]);
  await obey(analyzer, scenario);
  const calls = (): readonly Call[] =>
    existsSync(path)
      ? readFileSync(path, "utf8")
          .split("\n")
          .slice(0, -1)
          .map((line) => JSON.parse(line) as Call)
      : [];
  return { analyzer, calls };
}

function launch(analyzer: Analyzer, vmray: Readonly<Record<string, unknown>>): Promise<TestSensor> {
  const rules = [{ name: "all", match: { kind: "attachment" }, action: "dynamic" }];
  return launchSensor(place, { analyzer, config: { vmray, triage: { rules } } });
}

/** A mail with one program of its own. */
async function send(sensor: TestSensor, name: string): Promise<void> {
  const from = "billing@sender.example";
  const part = { type: "application/octet-stream", name: `${name}.exe`, body: `MZ${name}` };
  const content = mime(from, `${name}@sender.example`, name, [part]);
  const sent = await sendMails(sensor.smtpPort, [{ key: name, from, to: ["anna@example.org"], content }]);
  expect(sent.refused).toEqual([]);
}

function events(sensor: TestSensor): readonly SensorEvent[] {
  const db = new Database(join(sensor.spoolPath, "spool.db"), { readonly: true });
  try {
    return db
      .query<{ body: string }, []>("SELECT body FROM events ORDER BY seq")
      .all()
      .map(({ body }) => JSON.parse(body) as SensorEvent);
  } finally {
    db.close();
  }
}

function verdictOf(sensor: TestSensor, name: string): Promise<SensorEvent> {
  return waitFor(`the verdict of ${name}`, () =>
    events(sensor).find(({ type, mail }) => type === "mail.verdict" && mail?.subject === name),
  );
}

/** Names of the `sensor.state` events of the analyzer and its budget. */
const states = (sensor: TestSensor): readonly string[] =>
  events(sensor)
    .flatMap(({ type, state }) => (type === "sensor.state" ? (state?.name ?? []) : []))
    .filter((name) => /^(?:analyzer|budget|quota)_/.test(name));

const submitted = async (analyzer: Analyzer) => Object.values((await analyzer.statistics()).submissions);

test.each([
  ["was answered", { fault: "slow", delay: "5m" }],
  ["had come in", { fault: "late", delay: "3s" }],
])(
  "the reputation in place of an analysis stays one where kill -9 comes before it %s",
  async (_, fault) => {
    const { analyzer, calls } = await simulator({});
    const sensor = await launch(analyzer, {
      budget: { per_day: 1, reserve: 0, per_mail: 100, count_reputation: false },
    });
    await send(sensor, "first");
    expect((await verdictOf(sensor, "first")).complete).toBe(true);
    await obey(analyzer, { faults: [{ ...fault, endpoints: ["submit"], count: 1 }] });
    await send(sensor, "second");
    await waitFor("the second submission", async () => {
      const late = calls().some((call) => call.fault?.startsWith("late"));
      return late || (await submitted(analyzer)).length === 2 ? true : undefined;
    });
    await sensor.kill();
    await sensor.start();

    const event = await verdictOf(sensor, "second");
    expect(event.complete).toBe(false);
    expect(event.attachments?.[0]).toMatchObject({
      verdict: "clean",
      reason: expect.stringContaining("only its reputation was asked for"),
    });
    expect(await submitted(analyzer)).toEqual([1, 1]);
    expect((await analyzer.statistics()).quota.reports).toBe(1);
    expect(states(sensor)).toEqual(["budget_used_up"]);
    // It would still be at its slow answer.
    await analyzer.kill();
    await analyzer.kill();
  },
  120_000,
);

test("a refused key stops the calls, is told once over kill -9, and once that it is well again", async () => {
  const { analyzer, calls } = await simulator({ faults: [{ fault: "status", status: 401 }] });
  const sensor = await launch(analyzer, {});
  const names = Array.from({ length: 20 }, (_, n) => `refused ${n}`);
  for (const name of names) await send(sensor, name);
  await waitFor("the event", () => (states(sensor).length > 0 ? true : undefined));
  // Those that were under way, the list and the quota (two calls).
  expect(calls().length).toBeLessThanOrEqual(CONCURRENCY + 3);
  await sensor.kill();
  const before = calls().length;
  await sensor.start();
  await waitFor("the second pause", () =>
    sensor.log().filter(({ msg }) => msg === "calls to VMRay pause").length === 2 ? true : undefined,
  );
  expect(calls().length - before).toBeLessThanOrEqual(CONCURRENCY + 3);
  await obey(analyzer, {});
  await sensor.stop();
  await sensor.start();
  for (const name of names) expect((await verdictOf(sensor, name)).verdict).toBe("clean");
  await waitFor("the end", () => (states(sensor).length > 1 ? true : undefined));
  expect(states(sensor)).toEqual(["analyzer_auth_failed", "analyzer_recovered"]);
}, 120_000);

test("Retry-After of one call keeps all quiet, and nothing is lost", async () => {
  const wait = 4;
  const fault = { fault: "status", status: 429, retry_after: wait, endpoints: ["lookup"], skip: 5, count: 1 };
  const { analyzer, calls } = await simulator({ faults: [fault] });
  const sensor = await launch(analyzer, {});
  const names = Array.from({ length: 40 }, (_, n) => `throttled ${n}`);
  for (const name of names) await send(sensor, name);
  for (const name of names) expect((await verdictOf(sensor, name)).verdict).toBe("clean");
  const asked = calls().findIndex(({ status }) => status === 429);
  const at = Date.parse(calls()[asked]?.time ?? "");
  const during = calls()
    .slice(asked + 1)
    .filter(({ time }) => Date.parse(time) < at + wait * 1000 - 100);
  // What was under way when the answer came, the list of finished submissions beside it.
  expect(during.length).toBeLessThanOrEqual(CONCURRENCY + 1);
  expect(await submitted(analyzer)).toEqual(names.map(() => 1));
}, 120_000);

test("the time to give up counts from when VMRay works on it", async () => {
  const { analyzer } = await simulator({
    contents: [
      { match: { filename: "queued.exe" }, queued: "8s", work: "1s" },
      { match: { filename: "endless.exe" }, work: "1h" },
    ],
  });
  const sensor = await launch(analyzer, { give_up_after: "4s" });
  await send(sensor, "queued");
  await send(sensor, "endless");
  expect((await verdictOf(sensor, "endless")).attachments?.[0]).toMatchObject({
    outcome: "failed",
    reason: expect.stringContaining("VMRay did not finish the analysis within"),
  });
  expect((await verdictOf(sensor, "queued")).attachments?.[0]).toMatchObject({ verdict: "clean" });
}, 120_000);
