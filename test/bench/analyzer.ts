/**
 * What the pool for VMRay calls reaches and costs.
 *
 * "lookups": look-ups a second of an analyzer that answers after 50 ms (a process of its own), by the pool, commits to a
 * spool on disk included, beside bare fetches to the same analyzer with the same concurrency; the arithmetic limit is the
 * concurrency divided by 50 ms. The middle 80 % of the look-ups are measured. "flight": calls a second while 100,000
 * submissions are in flight, and how fast their verdicts are read once all are finished, beside the interval of the
 * list. "cached": CPU time of a verdict that is known, beside taking the same mails apart, all threads counted.
 *
 * use: analyzer.ts [--rounds N] [--only lookups,flight,cached] [--flight N]
 */
import { join } from "node:path";
import { parseArgs } from "node:util";
import { type Analyzer, type AnalyzerOptions, startAnalyzer } from "../../src/analyzer/analyzer.ts";
import * as shapes from "../../src/analyzer/api-shapes.ts";
import { createVmrayClient, type VmrayClient } from "../../src/analyzer/client.ts";
import { schema } from "../../src/config/schema.ts";
import { boundsOf } from "../../src/extract/bounds.ts";
import { takeApart } from "../../src/extract/take-apart.ts";
import { createLog } from "../../src/log.ts";
import type { Spool } from "../../src/spool/spool.ts";
import type { PlannedArtifact } from "../../src/triage/plan.ts";
import {
  attachment,
  extractionOf,
  open,
  openInThread,
  someMail,
  temporaryFolder,
} from "../unit/spool/fixtures.ts";
import { ordinaryMails } from "./mails.ts";

const WAIT_SECONDS = 0.05;
const CONCURRENCY = [8, 32, 64] as const;
/** Seconds that the look-ups of a round take at the arithmetic limit. */
const ROUND_SECONDS = 4;
const PARTS = 50;
const FLIGHT_SECONDS = 20;
const QUIET = createLog("error", () => {});
const VMRAY = schema.shape.vmray.parse({ url: "https://vmray.example.org", api_key: "key" });

const write = (line: string): void => void process.stdout.write(`${line}\n`);

function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  const upper = sorted[middle] ?? Number.NaN;
  return sorted.length % 2 === 1 ? upper : (upper + (sorted[middle - 1] ?? Number.NaN)) / 2;
}

/** A spool in a temporary folder that has `count` parts waiting, in mails of fifty. */
async function spoolWith(parts: readonly PlannedArtifact[]) {
  const folder = temporaryFolder();
  const spool = await openInThread(join(folder.path, "spool"), { keepMetadata: 1e9, keepRaw: 1e9 });
  for (let at = 0; at < parts.length; at += PARTS) await putMail(spool, parts.slice(at, at + PARTS));
  return {
    spool,
    folder: folder.path,
    async close() {
      await spool.close();
      folder.remove();
    },
  };
}

async function putMail(spool: Spool, parts: readonly PlannedArtifact[]): Promise<string> {
  const mail = someMail();
  await spool.putMail(mail);
  await spool.claimMails(1);
  await spool.recordExtraction(mail.id, extractionOf(parts), parts);
  return mail.id;
}

function startPool(
  place: { readonly spool: Spool; readonly folder: string },
  client: VmrayClient,
  settings: Partial<AnalyzerOptions["settings"]>,
): Analyzer {
  return startAnalyzer({
    spool: place.spool,
    client,
    settings: { ...VMRAY, ...settings },
    writeContent: async () => false,
    tempDir: join(place.folder, "contents"),
    announce: async () => {},
    log: QUIET,
  });
}

/** A second, between the moments at which `done` passes a tenth and nine tenths of `count`. */
async function rateOf(count: number, done: () => number): Promise<number> {
  const pass = async (share: number) => {
    while (done() < count * share) await Bun.sleep(5);
    return { at: performance.now(), done: done() };
  };
  const first = await pass(0.1);
  const last = await pass(0.9);
  return ((last.done - first.done) / (last.at - first.at)) * 1000;
}

async function lookups(rounds: number): Promise<void> {
  const server = Bun.spawn([process.execPath, join(import.meta.dir, "slow-analyzer.ts")], { stdout: "pipe" });
  try {
    const { value } = await server.stdout.getReader().read();
    const url = `http://127.0.0.1:${new TextDecoder().decode(value).trim()}`;
    const client = createVmrayClient({ ...VMRAY, url }, "key");
    write(`\nLook-ups a second, an answer takes 50 ms, median of ${rounds} rounds`);
    write(
      "concurrency      limit       pool  bare fetch  pool/limit  bare/limit  CPU ms of one  of a bare one",
    );
    for (const concurrency of CONCURRENCY) {
      const limit = concurrency / WAIT_SECONDS;
      const count = limit * ROUND_SECONDS;
      const rates: { readonly pool: Rate; readonly bare: Rate }[] = [];
      for (let round = 0; round < rounds; round++) {
        rates.push({
          pool: await poolRate(client, concurrency, count),
          bare: await bareRate(url, concurrency, count),
        });
      }
      const of = (which: "pool" | "bare", what: keyof Rate) => median(rates.map((rate) => rate[which][what]));
      const percent = (which: "pool" | "bare") => `${((100 * of(which, "rate")) / limit).toFixed(0)} %`;
      write(
        `${String(concurrency).padStart(11)}${limit.toFixed(0).padStart(11)}` +
          `${of("pool", "rate").toFixed(0).padStart(11)}${of("bare", "rate").toFixed(0).padStart(12)}` +
          `${percent("pool").padStart(12)}${percent("bare").padStart(12)}` +
          `${of("pool", "cpu").toFixed(2).padStart(15)}${of("bare", "cpu").toFixed(2).padStart(15)}`,
      );
    }
  } finally {
    server.kill();
    await server.exited;
  }
}

/** Look-ups a second, and CPU milliseconds of one. */
type Rate = { readonly rate: number; readonly cpu: number };

async function poolRate(client: VmrayClient, concurrency: number, count: number): Promise<Rate> {
  const parts = Array.from({ length: count }, (_, n) => attachment(`lookup ${n}`, "lookup"));
  const place = await spoolWith(parts);
  const begun = process.cpuUsage();
  const analyzer = startPool(place, client, { concurrency });
  const done = () => analyzer.status().counts.finished;
  const rate = await rateOf(count, done);
  while (done() < count) await Bun.sleep(5);
  const cpu = cpuSince(begun) / count;
  await analyzer.stop();
  await place.close();
  return { rate, cpu };
}

async function bareRate(url: string, concurrency: number, count: number): Promise<Rate> {
  let next = 0;
  let done = 0;
  const worker = async () => {
    for (let n = next++; n < count; n = next++) {
      const hash = new Bun.CryptoHasher("sha256").update(String(n)).digest("hex");
      await (await fetch(`${url}/rest/sample/sha256/${hash}`)).json();
      done += 1;
    }
  };
  const begun = process.cpuUsage();
  const workers = Promise.all(Array.from({ length: concurrency }, worker));
  const rate = await rateOf(count, () => done);
  await workers;
  return { rate, cpu: cpuSince(begun) / count };
}

/** Of all threads, milliseconds. */
function cpuSince(begun: NodeJS.CpuUsage): number {
  const { user, system } = process.cpuUsage(begun);
  return (user + system) / 1000;
}

async function flight(count: number): Promise<void> {
  const parts = Array.from(
    { length: count },
    (_, n): PlannedArtifact => ({
      kind: "url",
      url: { url: `http://h${n}.example/`, normalized: `http://h${n}.example/`, sources: ["text"] },
      decision: { action: "reputation", rule: "bench", reason: "the benchmark says so" },
    }),
  );
  const place = await spoolWith(parts);
  const made = { feeds: 0, polls: 0 };
  let submitted = 0;
  let finished = 0;
  const page = (after: number, limit: number) =>
    Array.from({ length: Math.max(0, Math.min(limit, finished - after)) }, (_, n) =>
      shapes.submission.parse({ submission_id: after + n + 1, submission_finished: true }),
    );
  const client: VmrayClient = {
    ...createVmrayClient(VMRAY, "key"),
    quota: async () => null,
    samplesBySha256: async () => [],
    sample: async (id) => shapes.sample.parse({ sample_id: id, sample_verdict: "clean" }),
    submissionChildren: async () => [],
    submitUrl: async () => {
      submitted += 1;
      return shapes.submitAnswer.parse({
        submissions: [{ submission_id: submitted, submission_sample_id: submitted }],
      });
    },
    submission: async (id) => {
      made.polls += 1;
      const done = id <= finished;
      return shapes.submission.parse({
        submission_id: id,
        submission_sample_id: id,
        submission_finished: done,
        submission_status: done ? "success" : "inwork",
      });
    },
    finishedAfter: async (after, limit) => {
      made.feeds += 1;
      const submissions = page(after ?? 0, limit);
      return { submissions, cursor: submissions.at(-1)?.submission_id ?? after ?? 0 };
    },
  };
  const begun = performance.now();
  const analyzer = startPool(place, client, { concurrency: 64 });
  while (submitted < count) await Bun.sleep(20);
  const sent = (performance.now() - begun) / 1000;
  // What was just sent makes the list be asked more often for a while.
  await Bun.sleep(4 * VMRAY.poll_interval + 500);
  const before = { ...made };
  const cpu = process.cpuUsage();
  await Bun.sleep(FLIGHT_SECONDS * 1000);
  const used = cpuSince(cpu);
  const each = (calls: number) => (calls / FLIGHT_SECONDS).toFixed(2);
  write(`\n${count} submissions in flight, poll_interval ${VMRAY.poll_interval / 1000} s`);
  write(
    `sent in                       ${sent.toFixed(1)} s: ${(count / sent).toFixed(0)} look-ups and submissions a second`,
  );
  write(`calls a second for the list   ${each(made.feeds - before.feeds)}`);
  write(`calls a second one by one     ${each(made.polls - before.polls)}`);
  write(`CPU                           ${(used / FLIGHT_SECONDS / 10).toFixed(1)} % of a core`);
  const ended = performance.now();
  finished = count;
  while (analyzer.status().counts.finished < count) await Bun.sleep(20);
  const read = (performance.now() - ended) / 1000;
  write(`read once all are finished    ${(count / read).toFixed(0)} verdicts a second`);
  await analyzer.stop();
  await place.close();
}

/** CPU milliseconds of one of `times` runs. */
async function cpuOf(times: number, work: (n: number) => Promise<unknown>): Promise<number> {
  const begun = process.cpuUsage();
  for (let n = 0; n < times; n++) await work(n);
  return cpuSince(begun) / times;
}

async function cached(rounds: number): Promise<void> {
  const folder = temporaryFolder();
  const spool = await open(join(folder.path, "spool"), { keepMetadata: 1e9, keepRaw: 1e9 });
  const bounds = boundsOf(schema.shape.extract.parse({}));
  const mails = ordinaryMails(10).flatMap((set) => set.mails);
  const known = attachment("known", "lookup");
  await putMail(spool, [known]);
  const [job] = await spool.dueAnalyses(Date.now() + 1, 1, new Set());
  if (job === undefined) throw new Error("no analysis");
  const verdict = {
    outcome: "judged",
    verdict: "clean",
    reason: null,
    threat_names: [],
    vmray: null,
  } as const;
  await spool.finishAnalysis(job.key, verdict, Date.now() + 1e9);
  const ways = {
    apart: (n: number) => takeApart(mails[n % mails.length] ?? Buffer.alloc(0), bounds),
    known: () => putMail(spool, [known]),
    none: () => putMail(spool, []),
  };
  const costs = { apart: [] as number[], known: [] as number[], none: [] as number[] };
  for (const warm of [true, ...Array.from({ length: rounds }, () => false)]) {
    for (const way of ["apart", "known", "none"] as const) {
      const cost = await cpuOf(mails.length * 4, ways[way]);
      if (!warm) costs[way].push(cost);
    }
  }
  const apart = median(costs.apart);
  const one = median(costs.known.map((value, round) => value - (costs.none[round] ?? Number.NaN)));
  write(`\nCPU time of a mail in milliseconds, median of ${rounds} rounds`);
  write(`taken apart                              ${apart.toFixed(3)}`);
  write(`into the spool, with a verdict known     ${median(costs.known).toFixed(3)}`);
  write(`into the spool, without a part           ${median(costs.none).toFixed(3)}`);
  write(
    `the known verdict alone                  ${one.toFixed(3)}, ${((100 * one) / apart).toFixed(1)} % of taking apart`,
  );
  await spool.close();
  folder.remove();
}

const GROUPS = ["lookups", "flight", "cached"] as const;
const { values: options } = parseArgs({
  options: {
    rounds: { type: "string", default: "3" },
    only: { type: "string", default: GROUPS.join(",") },
    flight: { type: "string", default: "100000" },
  },
});
const rounds = Number(options.rounds);
const inFlight = Number(options.flight);
const only = GROUPS.filter((name) => options.only.split(",").includes(name));
const whole = (value: number, most: number) => Number.isInteger(value) && value >= 1 && value <= most;
if (!whole(rounds, 50) || !whole(inFlight, 1_000_000) || only.length === 0) {
  process.stderr.write(
    "use: analyzer.ts [--rounds 1 to 50] [--only lookups,flight,cached] [--flight 1 to 1000000]\n",
  );
  process.exit(2);
}
if (only.includes("lookups")) await lookups(rounds);
if (only.includes("flight")) await flight(inFlight);
if (only.includes("cached")) await cached(rounds);
