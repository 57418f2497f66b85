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
import { freePort } from "../ports.ts";
import { launchSensor } from "../system/lib/binary.ts";
import { needProgram, openPlace, type Place, runToEnd, start, waitFor } from "../system/lib/place.ts";
import { startPostfix } from "../system/lib/postfix.ts";
import { greeting } from "../system/lib/smtp.ts";

const MAIL_SIZE = 4096;
/** Of statfs(2): a temporary folder in memory would make every figure a lie. */
const TMPFS_MAGIC = 0x01021994;

type TargetName = "sensor" | "postfix" | "sink";
type Target = {
  /** Runs one load; gives mails a second. */
  round(load: Load): Promise<number>;
};

type Load = { readonly name: string; readonly connections: number; readonly reuse: boolean };

const LOADS: readonly Load[] = [
  { name: "20 connections, reused", connections: 20, reuse: true },
  { name: "100 connections, reused", connections: 100, reuse: true },
  { name: "20 at a time, one a mail", connections: 20, reuse: false },
];

/** A round is about this long, after a warm-up, whatever the rate: the whole run stays under two minutes. */
const ROUND_SECONDS = 1.5;
const WARM_UP_MAILS: Readonly<Record<TargetName, number>> = { sensor: 3000, postfix: 1000, sink: 3000 };

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

/** A warm-up, which wakes up processes and compiles code, then as many mails as take about ROUND_SECONDS. */
async function sendRound(port: number, load: Load, warmUpMails: number): Promise<number> {
  const expected = await sendLoad(port, load, warmUpMails);
  return sendLoad(port, load, Math.max(load.connections, Math.round(expected * ROUND_SECONDS)));
}

async function openSink(place: Place): Promise<Target> {
  const port = await freePort();
  start(place, "sink", [...[needProgram("smtp-sink", "postfix"), "-u", "root", `127.0.0.1:${port}`, "500"]]);
  await waitFor("smtp-sink", () => greeting(port));
  return {
    round: (load) => sendRound(port, load, WARM_UP_MAILS.sink),
  };
}

async function openPostfix(place: Place): Promise<Target> {
  const postfix = await startPostfix(place, {
    settings: { smtpd_client_restrictions: "check_client_access static:HOLD" },
  });
  return {
    round: (load) => sendRound(postfix.port, load, WARM_UP_MAILS.postfix),
  };
}

async function openSensor(place: Place): Promise<Target> {
  const nowhere = { url: `http://127.0.0.1:${await freePort()}`, apiKey: "none" };
  return {
    async round(load) {
      const inner = openPlace("bench-sensor", place.path);
      try {
        const sensor = await launchSensor(inner, { analyzer: nowhere, config: { log: { level: "warn" } } });
        const rate = await sendRound(sensor.smtpPort, load, WARM_UP_MAILS.sensor);
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
        rates[name].push(await target.round(load));
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
