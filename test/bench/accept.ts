/**
 * How many mails a second are accepted: the sensor beside Postfix and smtp-sink, in one run, on the same disk.
 *
 * Postfix's own load generator, smtp-source, sends mails of 4 kB to each of them in turn; a figure is the median of
 * the rounds, a ratio the median of the rounds' ratios. The sensor commits each mail to its spool before it
 * answers 250, and goes on working on them meanwhile, as it does in production; each of its rounds starts with a new
 * spool. Postfix writes and syncs its queue file and then holds the mail: only accepting it counts. smtp-sink throws
 * mails away: it shows what the load generator and the machine can do at most.
 *
 * use: accept.ts [--rounds N] [--only sensor,postfix,sink]
 */
import { statfsSync } from "node:fs";
import { tmpdir } from "node:os";
import { parseArgs } from "node:util";
import { launchSensor } from "../system/lib/binary.ts";
import {
  freePort,
  needProgram,
  openPlace,
  type Place,
  runToEnd,
  start,
  waitFor,
} from "../system/lib/place.ts";
import { startPostfix } from "../system/lib/postfix.ts";
import { greeting } from "../system/lib/smtp.ts";

const MAIL_SIZE = 4096;
/** Of statfs(2): a temporary folder in memory would make every figure a lie. */
const TMPFS_MAGIC = 0x01021994;

type TargetName = "sensor" | "postfix" | "sink";
type Target = {
  /** Runs one load; gives mails a second. */
  round(load: Load, mails: number): Promise<number>;
};

type Load = { readonly name: string; readonly connections: number; readonly reuse: boolean };

const LOADS: readonly Load[] = [
  { name: "20 connections, reused", connections: 20, reuse: true },
  { name: "100 connections, reused", connections: 100, reuse: true },
  { name: "20 at a time, one a mail", connections: 20, reuse: false },
];

/** Enough mails for about a second and a half of each. */
const MAILS: Readonly<Record<TargetName, number>> = { sensor: 5000, postfix: 500, sink: 10_000 };
/** One connection a mail is slower. */
const MAILS_UNREUSED: Readonly<Record<TargetName, number>> = { sensor: 3000, postfix: 500, sink: 1500 };

/** Sends the mails; throws where one of them was not accepted. */
async function sendLoad(port: number, load: Load, mails: number): Promise<number> {
  const begun = performance.now();
  const sent = await runToEnd(
    [
      needProgram("smtp-source", "postfix"),
      ...["-4", "-s", String(load.connections), "-m", String(mails), "-l", String(MAIL_SIZE)],
      ...["-C", "10", "-f", "sender@example.com", "-t", "recipient@sensor.test"],
      ...(load.reuse ? ["-d"] : []),
      `127.0.0.1:${port}`,
    ],
    { seconds: 60 },
  );
  const seconds = (performance.now() - begun) / 1000;
  if (sent.code !== 0) throw new Error(`smtp-source: ${sent.stderr.trim() || `exit code ${sent.code}`}`);
  return mails / seconds;
}

/** Wakes up what starts lazily: processes of Postfix, compiled code of the sensor. */
async function warmUp(port: number, load: Load, mails: number): Promise<void> {
  await sendLoad(port, load, mails);
}

async function openSink(place: Place): Promise<Target> {
  const port = await freePort();
  start(place, "sink", [...[needProgram("smtp-sink", "postfix"), "-u", "root", `127.0.0.1:${port}`, "500"]]);
  await waitFor("smtp-sink", () => greeting(port));
  return {
    async round(load, mails) {
      await warmUp(port, load, 500);
      return sendLoad(port, load, mails);
    },
  };
}

async function openPostfix(place: Place): Promise<Target> {
  const postfix = await startPostfix(place, {
    settings: { smtpd_client_restrictions: "check_client_access static:HOLD" },
  });
  return {
    async round(load, mails) {
      await warmUp(postfix.port, load, 2 * load.connections);
      return sendLoad(postfix.port, load, mails);
    },
  };
}

async function openSensor(place: Place): Promise<Target> {
  const nowhere = { url: `http://127.0.0.1:${await freePort()}`, apiKey: "none" };
  return {
    async round(load, mails) {
      const inner = openPlace("bench-sensor", place.path);
      try {
        const sensor = await launchSensor(inner, { analyzer: nowhere, config: { log: { level: "warn" } } });
        await warmUp(sensor.smtpPort, load, 500);
        const rate = await sendLoad(sensor.smtpPort, load, mails);
        await sensor.kill();
        return rate;
      } finally {
        await inner.close();
      }
    },
  };
}

function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  const upper = sorted[middle] ?? Number.NaN;
  return sorted.length % 2 === 1 ? upper : (upper + (sorted[middle - 1] ?? Number.NaN)) / 2;
}

const OPEN: Readonly<Record<TargetName, (place: Place) => Promise<Target>>> = {
  sensor: openSensor,
  postfix: openPostfix,
  sink: openSink,
};
const NAMES = ["sensor", "postfix", "sink"] as const;

async function measure(place: Place, names: readonly TargetName[], rounds: number): Promise<void> {
  const targets = new Map<TargetName, Target>();
  for (const name of names) targets.set(name, await OPEN[name](place));
  process.stdout.write(
    `mails of ${MAIL_SIZE / 1024} kB accepted a second, median of ${rounds} rounds; ` +
      "the sensor and Postfix have each on disk before 250\n\n" +
      `${"".padEnd(26)}${NAMES.map((name) => name.padStart(10)).join("")}` +
      `${"sensor/postfix".padStart(17)}${"sensor/sink".padStart(14)}\n`,
  );
  for (const load of LOADS) {
    const rates: Record<TargetName, number[]> = { sensor: [], postfix: [], sink: [] };
    for (let round = 0; round < rounds; round++) {
      for (const [name, target] of targets) {
        const mails = (load.reuse ? MAILS : MAILS_UNREUSED)[name];
        rates[name].push(await target.round(load, mails));
      }
    }
    const ratio = (other: TargetName) =>
      median(rates.sensor.map((rate, round) => rate / (rates[other][round] ?? Number.NaN)));
    const figure = (value: number, digits: number, unit = "") =>
      Number.isNaN(value) ? "-" : `${value.toFixed(digits)}${unit}`;
    process.stdout.write(
      `${load.name.padEnd(26)}` +
        `${NAMES.map((name) => figure(median(rates[name]), 0).padStart(10)).join("")}` +
        `${figure(ratio("postfix"), 1, " x").padStart(17)}${figure(ratio("sink"), 2, " x").padStart(14)}\n`,
    );
  }
}

const { values: options } = parseArgs({
  options: { rounds: { type: "string", default: "3" }, only: { type: "string", default: NAMES.join(",") } },
});
const rounds = Number(options.rounds);
const only = NAMES.filter((name) => options.only.split(",").includes(name));
if (!(Number.isInteger(rounds) && rounds >= 1 && rounds <= 20) || only.length === 0) {
  process.stderr.write("use: accept.ts [--rounds 1 to 20] [--only sensor,postfix,sink]\n");
  process.exit(2);
}
const disk = statfsSync(tmpdir()).type === TMPFS_MAGIC ? "/var/tmp" : tmpdir();
const place = openPlace("bench", disk);
try {
  await measure(place, only, rounds);
} finally {
  await place.close();
}
