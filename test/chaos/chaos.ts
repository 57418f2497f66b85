/**
 * The chaos run: mails flow while the analyzer answers with every fault that it can have, and both it and the sensor
 * are killed again and again. Afterwards nothing may show of that but the time it took.
 *
 * The verdict of each content is first learned from a run without faults. Everything random comes from one seed. Throws
 * where mails are not all judged in the time given.
 */
import { Database } from "bun:sqlite";
import { expect } from "bun:test";
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { seededRandom } from "../../src/analyzer/simulator/faults.ts";
import type { SensorEvent } from "../../src/report/event.ts";
import type { Verdict } from "../../src/verdict/verdict.ts";
import { type Analyzer, launchSensor, startAnalyzer, type TestSensor } from "../system/lib/binary.ts";
import { openPlace, type Place, waitFor } from "../system/lib/place.ts";
import { sendMails } from "../system/lib/smtp.ts";
import { type ChaosMail, type Content, chaosMails, contents, worst } from "./contents.ts";

export type ChaosSettings = {
  readonly seed: number;
  readonly mails: number;
  readonly contents: number;
  /** How often something is killed: the sensor, the analyzer. */
  readonly kills: number;
  /** Longest time between two kills, milliseconds. */
  readonly killPause: number;
  /** How often in a hundred calls something goes wrong. */
  readonly percent: number;
  readonly moreFaults?: readonly object[];
  /** For all mails to be judged, seconds. */
  readonly seconds: number;
};

type Row = {
  readonly id: string;
  readonly state: string;
  readonly verdict: Verdict;
  readonly complete: number;
};

/** Faults of every kind; the shares add up to one. */
const KINDS: readonly (readonly [number, object])[] = [
  [0.2, { fault: "status", status: 429, retry_after: 1 }],
  [0.2, { fault: "status", status: 503 }],
  [0.05, { fault: "status", status: 500, when: "after" }],
  [0.1, { fault: "reset_before" }],
  [0.15, { fault: "reset_after" }],
  [0.1, { fault: "truncated" }],
  [0.05, { fault: "wrong_json" }],
  [0.02, { fault: "html", when: "after" }],
  [0.03, { fault: "html", status: 400, when: "after" }],
  [0.05, { fault: "oversized", size: "9MB" }],
  [0.05, { fault: "slow", delay: "3s" }],
];

/** Each content is paid each time it is submitted, whatever is cached: a second time shows in the quota. */
const QUOTA = { charge_reputation: true, charge_cached: true };

const VMRAY = {
  concurrency: 16,
  request_timeout: "2s",
  upload_timeout: "2s",
  resend_after: "3s",
  cache: { not_available: "1d", failed: "1d" },
};

/** Runs it and expects that nothing shows; gives the figures. */
export async function chaos(settings: ChaosSettings): Promise<Readonly<Record<string, unknown>>> {
  const place = openPlace("chaos");
  try {
    const random = seededRandom(settings.seed);
    const all = contents(settings.contents);
    const mails = chaosMails(settings.mails, all, random);
    const learned = await verdictsWithoutFaults(place, all, mails.slice(0, all.length));
    expect(learned).toEqual(all.map(({ verdict }) => verdict));

    const begun = performance.now();
    const scenario = join(place.path, "scenario.yaml");
    const callLog = join(place.path, "calls.jsonl");
    writeFileSync(
      scenario,
      // JSON is YAML too.
      JSON.stringify({
        seed: settings.seed,
        quota: QUOTA,
        faults: [
          ...(settings.moreFaults ?? []),
          ...KINDS.map(([share, fault]) => ({ ...fault, probability: (share * settings.percent) / 100 })),
        ],
      }),
    );
    const analyzer = await startAnalyzer(place, { queued: "50ms", work: "300ms" }, [
      ...["--scenario", scenario, "--state", join(place.path, "state"), "--call-log", callLog],
    ]);
    const sensor = await launchSensor(place, { analyzer, config: { vmray: VMRAY } });
    const sending = sendAll(sensor, mails);
    const kills = await killAround(settings, random, sensor, analyzer);
    await sending;
    await waitFor(
      "every mail to be judged",
      () => (openMails(sensor) === 0 ? true : undefined),
      settings.seconds - (performance.now() - begun) / 1000,
    );
    const seconds = (performance.now() - begun) / 1000;

    const { rows, events, charged, pauses } = ended(sensor);
    const wanted = new Map(
      mails.map(({ key, contents: carried }) => [key, worst(carried.map((at) => learned[at] ?? "clean"))]),
    );
    // A mail that was accepted and killed before its 250 comes twice, as an MTA sends it again.
    expect(new Set(rows.map(({ key }) => key))).toEqual(new Set(wanted.keys()));
    expect(rows.filter(({ row, key }) => row.state !== "done" || row.verdict !== wanted.get(key))).toEqual(
      [],
    );
    const told = new Map<string | undefined, SensorEvent>();
    for (const event of events) if (event.verdict !== undefined) told.set(event.mail?.id, event);
    expect(rows.filter(({ row }) => told.get(row.id)?.verdict !== row.verdict)).toEqual([]);

    const statistics = await analyzer.statistics();
    const { submissions, quota } = statistics;
    expect(Object.entries(submissions).filter(([, times]) => times !== 1)).toEqual([]);
    expect(new Set(Object.keys(submissions))).toEqual(new Set(all.map(({ key }) => key)));
    expect(quota.reports + quota.verdicts).toBe(all.length);
    expect(charged).toBe(all.length);
    const calls = callsOf(callLog);
    expect(await sensor.stop()).toBe(0);
    return {
      seed: settings.seed,
      mails: mails.length,
      contents: all.length,
      ...kills,
      seconds: Math.round(seconds),
      calls: calls.total,
      faulty: calls.faulty,
      faults: calls.faults,
      pauses,
      submissions: Object.keys(submissions).length,
      quota: quota.reports + quota.verdicts,
    };
  } finally {
    await place.close();
  }
}

/** The verdict of each content, of a sensor and an analyzer with which all goes well. */
async function verdictsWithoutFaults(
  place: Place,
  all: readonly Content[],
  mails: readonly ChaosMail[],
): Promise<readonly (Verdict | undefined)[]> {
  const analyzer = await startAnalyzer(place, { queued: "0ms", work: "20ms" });
  const sensor = await launchSensor(place, { analyzer, config: { vmray: VMRAY } });
  await sendAll(sensor, mails);
  await waitFor("the verdicts without faults", () => (openMails(sensor) === 0 ? true : undefined), 120);
  const verdicts = new Map(ended(sensor).rows.map(({ key, row }) => [key, row.verdict]));
  await sensor.stop();
  await analyzer.stop();
  return all.map((_, n) => verdicts.get(mails[n]?.key ?? ""));
}

/** As an MTA does: what got no 250 is sent again until it does. */
async function sendAll(sensor: TestSensor, mails: readonly ChaosMail[]): Promise<void> {
  let rest = mails;
  while (rest.length > 0) {
    const accepted = new Set((await sendMails(sensor.smtpPort, rest, { connections: 4 })).accepted);
    rest = rest.filter(({ key }) => !accepted.has(key));
    await Bun.sleep(50);
  }
}

/** Kills the sensor or the analyzer at random moments, and starts them again. */
async function killAround(
  { kills, killPause }: ChaosSettings,
  random: () => number,
  sensor: TestSensor,
  analyzer: Analyzer,
): Promise<{ readonly sensorKills: number; readonly analyzerKills: number }> {
  let sensorKills = 0;
  for (let kill = 0; kill < kills; kill++) {
    await Bun.sleep(killPause * (0.3 + 0.7 * random()));
    if (random() < 0.6) {
      sensorKills += 1;
      await sensor.kill();
      await sensor.start();
      continue;
    }
    await analyzer.kill();
    await Bun.sleep(1_000 * random());
    await analyzer.restart();
  }
  return { sensorKills, analyzerKills: kills - sensorKills };
}

function reading<T>(sensor: TestSensor, read: (db: Database) => T): T {
  const db = new Database(join(sensor.spoolPath, "spool.db"), { readonly: true });
  try {
    return read(db);
  } finally {
    db.close();
  }
}

function openMails(sensor: TestSensor): number | undefined {
  return reading(
    sensor,
    (db) =>
      db
        .query<{ n: number }, []>("SELECT count(*) AS n FROM mails WHERE state NOT IN ('done', 'failed')")
        .get()?.n,
  );
}

/** What the sensor came to: mails with their Message-ID, events in order, submissions it charged, pauses it logged. */
function ended(sensor: TestSensor) {
  return reading(sensor, (db) => ({
    rows: db
      .query<Row & { extraction: string | null }, []>(
        "SELECT id, state, verdict, complete, extraction, error FROM mails",
      )
      .all()
      .map(({ extraction, ...row }) => ({
        row,
        key: String((JSON.parse(extraction ?? "{}") as { mail?: { message_id?: string } }).mail?.message_id),
      })),
    events: db
      .query<{ body: string }, []>("SELECT body FROM events ORDER BY seq")
      .all()
      .map(({ body }) => JSON.parse(body) as SensorEvent),
    charged: db
      .query<{ n: number }, []>("SELECT sum(value) AS n FROM counters WHERE name LIKE 'submissions.%'")
      .get()?.n,
    pauses: sensor.log().filter(({ msg }) => msg === "calls to VMRay pause").length,
  }));
}

function callsOf(path: string) {
  const lines = existsSync(path) ? readFileSync(path, "utf8").split("\n") : [];
  const faults: Record<string, number> = {};
  let total = 0;
  for (const line of lines) {
    // The line that a kill cut, and the one that was written behind it.
    if (!/^\{.*\}$/.test(line)) continue;
    const { fault } = JSON.parse(line) as { readonly fault: string | null };
    total += 1;
    if (fault !== null) faults[fault] = (faults[fault] ?? 0) + 1;
  }
  return { total, faulty: Object.values(faults).reduce((a, b) => a + b, 0), faults };
}
