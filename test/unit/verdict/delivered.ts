/** Mails taken apart and judged on a real spool, whose clock the test holds and which can be reopened as after a kill. */
import type { SensorEvent } from "../../../src/report/event.ts";
import type { Spool } from "../../../src/spool/spool.ts";
import type { PlannedArtifact } from "../../../src/triage/plan.ts";
import { startVerdicts } from "../../../src/verdict/stage.ts";
import type { ContentVerdict, Verdict } from "../../../src/verdict/verdict.ts";
import { until } from "../../until.ts";
import { NO_TYPES, recordingLog, SENSOR } from "../report/fixtures.ts";
import { extractionOf, judged, open, someMail, temporaryFolder } from "../spool/fixtures.ts";

export const HOUR = 3_600_000;
const closing: (() => Promise<void> | void)[] = [];

/** For afterEach. */
export async function closeAll(): Promise<void> {
  for (const close of closing.splice(0).reverse()) await close();
}

/** A spool that can be closed and opened again, as a restart does, on a clock that the test holds. */
export async function place() {
  const folder = temporaryFolder();
  closing.push(folder.remove);
  const clock = { now: Date.now() };
  const opened = async (relooks: boolean) => {
    const spool = await open(folder.path, { keepRaw: 24 * HOUR, keepMetadata: 1000 * HOUR }, () => clock.now);
    if (relooks) await spool.setRelooks({ for: 24 * HOUR, first: 600_000 });
    return spool;
  };
  let spool = await opened(true);
  closing.push(() => spool.close());
  return {
    clock,
    get spool() {
      return spool;
    },
    /** `relooks`: whether the spool is told for how long verdicts are kept true (24 hours). */
    async restart(relooks = true) {
      await spool.close();
      spool = await opened(relooks);
    },
  };
}
export type Place = Awaited<ReturnType<typeof place>>;

export function url(text: string): PlannedArtifact {
  return {
    kind: "url",
    url: { url: text, normalized: text, sources: ["html"] },
    decision: { action: "reputation", rule: "test", reason: "the test says so" },
  };
}

export async function takenApart(
  at: Place,
  parts: readonly PlannedArtifact[],
  to = "b@example.org",
  from = "a@example.com",
) {
  const id = Bun.randomUUIDv7("hex", at.clock.now);
  const envelope = { from, to: [to], client_ip: "127.0.0.1", helo: "mx", tls: null };
  await at.spool.putMail(someMail(undefined, { id, receivedAt: at.clock.now, envelope }));
  await at.spool.claimMails(10);
  await at.spool.recordExtraction(id, extractionOf(parts), parts);
  return id;
}

export const known = (verdict: Verdict): ContentVerdict => ({
  ...judged(verdict),
  vmray: { sample_id: 1, submission_id: null, url: null },
});

/** Runs the stage until nothing is left to judge. */
export async function judgeAll(
  at: Place,
  reportAfter = 15 * 60_000,
  why: string | null = null,
): Promise<void> {
  const { log } = recordingLog();
  const stage = startVerdicts({
    spool: at.spool,
    sensor: SENSOR,
    log,
    wanted: NO_TYPES,
    reportAfter,
    whyWaiting: () => why,
    now: () => at.clock.now,
  });
  const left = async () => [
    ...(await at.spool.analysedMails(10)),
    ...(await at.spool.mailsToReport(at.clock.now - reportAfter, 10)),
  ];
  await until(async () => (await left()).length === 0, "every mail to be judged");
  await stage.stop();
}

export const events = async (spool: Spool): Promise<readonly SensorEvent[]> =>
  (await spool.eventsAfter(0, 100)).map(({ event }) => event);
