/**
 * The analyzer stage: the worker pool for VMRay calls.
 *
 * Takes analyses from the spool and brings each to a verdict: look up, else submit, wait, read. Every step is committed
 * before the next begins, so that a restart goes on where it stood and no content is submitted twice. The order is
 * that of schedule.ts; the spool holds what has no room here. Temporary faults never end an analysis: work waits, for
 * ever if it must, while VMRay is down, busy or refuses the key. Only what VMRay refuses, does not finish in time, or
 * fails on again and again while it serves others, ends as `failed` with the reason.
 */
import type { Config } from "../config/schema.ts";
import { asSensorError } from "../errors.ts";
import type { Log } from "../log.ts";
import {
  ANALYSIS_LANES,
  type AnalysisJob,
  type AnalysisLane,
  type AnalysisProgress,
  type Spool,
} from "../spool/spool.ts";
import { type BudgetStatus, createBudget, dayOf, type StateChange } from "./budget.ts";
import type { Quota, VmrayClient } from "./client.ts";
import { createDeciding } from "./deciding.ts";
import { createFollowing } from "./following.ts";
import { backoff, type PauseReason } from "./gate.ts";
import { type Item, logFields, type Outcome, whileWaiting } from "./item.ts";
import { createLanes } from "./lanes.ts";
import { type Circuit, createPauses, type Fault, type LastError, type Tickets } from "./pauses.ts";
import { createRecords } from "./records.ts";
import { createSender } from "./sending.ts";
import { steadyClock } from "./steady-clock.ts";
import { noAnswers, Paused, sizeOf, stepClient } from "./step-client.ts";
import { failed, lookUp, type Next, onlyLookedUp, poll } from "./steps.ts";
import { createSubmitting, type OneOfSeveral, Stopping } from "./submitting.ts";
import { type AnalyzerTiming, TIMING } from "./timing.ts";
import { oneLine, VmrayError } from "./vmray-error.ts";

export type AnalyzerSpool = Pick<
  Spool,
  | "dueAnalyses"
  | "urgencies"
  | "toldStates"
  | "nextAnalysisAt"
  | "recordProgress"
  | "charged"
  | "chargedMails"
  | "submissionsFinished"
  | "finishedCursor"
  | "moveAnalysis"
  | "finishAnalysis"
  | "subscribe"
>;

export type AnalyzerOptions = {
  readonly spool: AnalyzerSpool;
  readonly client: VmrayClient;
  readonly settings: Pick<
    Config["vmray"],
    | "concurrency"
    | "resend_after"
    | "poll_interval"
    | "give_up_after"
    | "queue_limit"
    | "reuse_results"
    | "cache"
    | "budget"
  >;
  /** Writes the attachment with this SHA-256 out of the mail into the existing file; false where it is gone. */
  readonly writeContent: (mailId: string, sha256: string, toPath: string) => Promise<boolean>;
  /** A folder of the analyzer alone, for contents on their way. */
  readonly tempDir: string;
  /** Commits `sensor.state` events, and with them what `toldStates` of the spool gives: what was told and is not over. */
  readonly announce: (changes: readonly StateChange[], open: readonly string[]) => Promise<void>;
  readonly log: Log;
  readonly several?: OneOfSeveral;
  readonly now?: () => number;
  readonly random?: () => number;
  readonly timing?: Partial<AnalyzerTiming>;
};

export type AnalyzerStatus = {
  /** Steps being taken now. */
  readonly running: number;
  /** Analyses in hand: running, waiting for a slot or for VMRay. The spool may hold more. */
  readonly open: number;
  /** Those in hand that take no step now, by what they wait for. */
  readonly waiting: Readonly<Record<AnalysisLane, number>>;
  /** Why no calls are made for now, null where they are. */
  readonly paused: PauseReason | null;
  /** Whether calls are made: those that submit, and all others. */
  readonly circuits: { readonly reads: Circuit; readonly submits: Circuit };
  readonly lastError: LastError | null;
  readonly budget: BudgetStatus;
  /** What VMRay said of its quota last, null where it has not or does not. */
  readonly quota: Quota | null;
  /** Steps since the start. */
  readonly counts: {
    readonly lookups: number;
    readonly submissions: number;
    readonly polls: number;
    readonly feeds: number;
    readonly finished: number;
    readonly failed: number;
  };
};

export type Analyzer = {
  /** Takes no more steps and lets a submission that is being sent come to its commit. */
  stop(): Promise<void>;
  status(): AnalyzerStatus;
};

/** How long a look-up that found nothing holds: what waits longer for its submission is looked up again. */
const LOOKED_HOLDS = 120_000;
/** And one for what may have been sent: right before it is sent again VMRay is asked for it once more. */
const RESEND_LOOK_HOLDS = 5_000;
/** Faults of one content, while VMRay serves others, after which it is given up. */
const MAX_FAULTS = 20;
const MAX_SLEEP = 60_000;
const DAY = 86_400_000;

/** Starts the pool. Throws SensorError where the temporary folder cannot be used. */
export function startAnalyzer(options: AnalyzerOptions): Analyzer {
  const { spool, client, settings, log, several } = options;
  const now = steadyClock(options.now ?? Date.now);
  const random = options.random ?? Math.random;
  const timing: AnalyzerTiming = { ...TIMING, ...options.timing };
  const { concurrency } = settings;

  const ending = { reads: new AbortController(), posts: new AbortController() };
  const signals = { reads: ending.reads.signal, posts: ending.posts.signal };
  const stopped = signals.reads;
  const pauses = createPauses({ client, timing, log, now, random, stopped });
  const { note } = pauses;
  const records = createRecords({ spool, note, random, stopped });
  const budget = createBudget(settings.budget, timing.quotaRetry);
  const lanes = createLanes({ spool, concurrency, note, now, random });
  const following = createFollowing({
    client,
    spool,
    lanes,
    pauses,
    pollInterval: settings.poll_interval,
    log,
    random,
    stopped,
  });
  const send = createSender({ client, writeContent: options.writeContent, tempDir: options.tempDir });
  const clientFor = (item: Item) =>
    stepClient(client, item.answers, () => {
      if (pauses.state("reads", now()) !== "open") throw new Paused("all calls pause");
      item.spent.calls += 1;
    });
  const submitting = createSubmitting({
    clientFor,
    send,
    budget,
    lanes,
    pauses,
    records,
    settings,
    several,
    timing,
    now,
    signals,
  });
  const deciding = createDeciding({ spool, budget, records, cache: settings.cache, several, log });

  const flights = new Set<Promise<void>>();
  const counts = { lookups: 0, polls: 0 };
  let quota: Quota | null = null;
  let quotaAt = 0;
  let asking = false;
  /** Steps whose call is not done. */
  let calling = 0;
  /** What was charged and told before is known. */
  let loaded = false;
  let telling: Promise<void> = Promise.resolve();
  let timer: ReturnType<typeof setTimeout> | undefined;

  const unsubscribe = spool.subscribe("analyses", () => {
    lanes.arrived();
    pump();
  });
  fly(load());
  pump();

  // scheduling

  function fly(work: Promise<void>): void {
    flights.add(work);
    void work.finally(() => {
      flights.delete(work);
      pump();
    });
  }

  /** Starts whatever may start now, and sets the timer for what comes next. Cheap, and safe to call at any time. */
  function pump(): void {
    if (stopped.aborted) return;
    const at = now();
    report(at);
    if (lanes.mayReadUrgency(at)) fly(lanes.readUrgency(at));
    if (pauses.mayProbe(at)) fly(pauses.probe());
    if (pauses.state("reads", at) === "open") {
      if (quotaAt <= at && !asking) fly(askQuota(at));
      if (following.mayRead(at)) fly(following.read(at));
      while (calling < concurrency && lanes.hasRoom()) {
        const item = lanes.take(at, (lane) => mayRun(lane, at));
        if (item === null) break;
        if (item.lane === "poll") following.polled(at);
        calling += 1;
        fly(run(item));
      }
      for (const lane of ANALYSIS_LANES) {
        if (lanes.mayFill(lane, at) && mayRun(lane, at)) fly(lanes.fill(lane));
      }
    }
    arm(at);
  }

  function arm(at: number): void {
    clearTimeout(timer);
    const times = [...lanes.nextAt(at), ...pauses.nextAt(), ...following.nextAt(), quotaAt];
    const next = Math.min(at + MAX_SLEEP, ...times.filter((time) => time > at));
    timer = setTimeout(pump, next - at);
  }

  function mayRun(lane: AnalysisLane, at: number): boolean {
    switch (lane) {
      case "look":
      case "read":
        return true;
      case "poll":
        return following.mayPoll(at);
      case "send":
      case "upload":
        return submitting.mayRun(lane, at);
    }
  }

  /** Takes up what was charged today, and what was told of the state and is not over. */
  async function load(): Promise<void> {
    for (let faults = 1; !stopped.aborted; faults++) {
      try {
        const open = await spool.toldStates();
        // A clock that was set back over midnight does not open the budget of the day before anew.
        const next = dayOf(now() + DAY);
        const day = (await spool.charged(next)) > 0 ? next : dayOf(now());
        const mails = settings.budget.per_day === undefined ? [] : await spool.chargedMails(day);
        budget.begin(day, await spool.charged(day), open, mails);
        pauses.begin(open);
        loaded = true;
        return;
      } catch (thrown) {
        note(asSensorError(thrown), "the day's submissions cannot be read from the spool");
        await Bun.sleep(backoff(faults, 200, 5_000, random));
      }
    }
  }

  async function askQuota(at: number): Promise<void> {
    asking = true;
    quotaAt = at + timing.quotaEvery;
    const ticket = pauses.tickets().reads;
    try {
      quota = await client.quota(signals.reads);
    } catch (thrown) {
      if (stopped.aborted) return;
      pauses.trip("reads", asSensorError(thrown), ticket);
    } finally {
      asking = false;
    }
  }

  /** Tells of what became different: once for each change, over restarts too. */
  function report(at: number): void {
    if (!loaded) return;
    const change = pauses.change(at);
    const changes = [...(change === null ? [] : [change]), ...budget.changes(at)];
    if (changes.length === 0) return;
    for (const { name, message } of changes) log.info(message, { state: name });
    const open = [...pauses.open(), ...budget.open()];
    telling = telling.then(() =>
      records
        .commit(() => options.announce(changes, open))
        .catch((thrown) => {
          if (!stopped.aborted) note(asSensorError(thrown), "an event of the analyzer's state is lost");
        }),
    );
    fly(telling);
  }

  // one step of one analysis

  async function run(item: Item): Promise<void> {
    const tickets = pauses.tickets();
    const { progress } = item.job;
    if (progress.state === "looked" && now() - progress.at > LOOKED_HOLDS) {
      item.lane = "look";
      item.job = { ...item.job, progress: { state: "queued" } };
    }
    if (progress.state === "submitting" && now() - item.dueAt > RESEND_LOOK_HOLDS) item.lane = "look";
    const kind = item.lane === "send" || item.lane === "upload" ? "submits" : "reads";
    const known = sizeOf(item.answers);
    const meet = (thrown: unknown): Fault => {
      if (thrown instanceof Paused) return { error: asSensorError(thrown), blamed: false, retryAt: now() };
      const fault = pauses.meet(asSensorError(thrown), kind, tickets, item.job);
      if (fault.error.code === "VMRAY_REFUSED" && kind === "submits") item.refused = true;
      // Faults with answers between them are not in a row.
      if (fault.blamed && sizeOf(item.answers) > known) item.job = { ...item.job, faults: 0 };
      return fault;
    };
    let next: Outcome | null = null;
    let fault: Fault | null = null;
    try {
      next = await step(item, tickets);
      item.answers = noAnswers();
    } catch (thrown) {
      fault = meet(thrown);
    }
    // The call is done: the next one may begin while this one's outcome is committed.
    calling -= 1;
    pump();
    try {
      if (next !== null) await apply(item, next);
    } catch (thrown) {
      fault = meet(thrown);
    }
    if (fault !== null) await recover(item, fault);
  }

  async function step(item: Item, tickets: Tickets): Promise<Outcome> {
    const { job } = item;
    if (job.artifact.decision.action === "skip") return skipped(job);
    if (item.lane === "send" || item.lane === "upload") return submitting.submit(item, tickets);
    const own = clientFor(item);
    let next: Next;
    if (job.progress.state === "submitted") {
      counts.polls += 1;
      const { give_up_after: giveUpAfter, queue_limit: queueLimit } = settings;
      const limits = { now: now(), giveUpAfter, queueLimit, resent: item.spent.submissions > 1 };
      next = await poll(own, job, job.progress, limits, signals.reads);
      item.job = { ...job, faults: 0 };
      if (next.kind === "finish" && item.lane === "poll")
        following.foundFinished(job.progress.submissionIds, now());
    } else {
      counts.lookups += 1;
      const { reuse_results } = settings;
      const reuse = job.anew === true ? { ...reuse_results, suspicious: 0, clean: 0 } : reuse_results;
      next = await lookUp(own, job, now(), signals.reads, reuse);
      if (job.anew === true && next.kind === "submit") next = { ...next, again: true };
    }
    pauses.passRead(tickets.reads);
    return next;
  }

  /** Commits the outcome of a step and puts the analysis where it waits for the next one. */
  async function apply(item: Item, next: Outcome): Promise<void> {
    const at = now();
    switch (next.kind) {
      case "finish":
        await deciding.finish(item, next, at);
        return lanes.release(item);
      case "move":
        await deciding.move(item, next, at);
        return lanes.release(item);
      case "denied": {
        const why = `VMRay's quota is used up (${next.note})`;
        return apply(item, await submitting.notTaken(item, why, onlyLookedUp(why)));
      }
      case "submit": {
        const lane = item.job.artifact.kind === "url" ? "send" : "upload";
        const { progress } = item.job;
        // A submission that may have been sent stays marked as such, and may still be on its way.
        if (progress.state === "submitting") {
          const wait = submitting.lateWait(item, progress, at);
          if (wait > 0) return hold(item, "look", at + wait);
        } else {
          const again = next.again === true ? { again: true } : {};
          const seen = next.seen === true ? { seen: true } : {};
          item.job = { ...item.job, progress: { state: "looked", at, lane, ...again, ...seen } };
        }
        item.fault = null;
        if (item.noted)
          await records.commit(() => records.record(item, item.job.progress, at, item.job.faults));
        return hold(item, lane, at);
      }
      case "follow": {
        const joined = item.lane === "look";
        if (joined && item.job.progress.state === "submitting") pauses.lostArrived();
        const { progress } = next;
        item.job = { ...item.job, progress, faults: 0 };
        const dueAt = following.submitted(progress, joined, at);
        item.fault = null;
        await records.commit(() => records.record(item, progress, dueAt, 0));
        log.debug("submission followed", {
          ...logFields(item.job),
          submission_id: progress.submissionIds[0],
          submissions: progress.submissionIds.length,
        });
        const told = joined || following.toldOf(progress.submissionIds);
        return hold(item, told ? "read" : "poll", told ? now() : dueAt);
      }
      case "wait": {
        const { progress } = item.job;
        const waiting = whileWaiting(progress, next, at);
        item.job = { ...item.job, progress: waiting };
        const dueAt = at + following.delay(waiting, at);
        item.fault = null;
        // The spool must not think that it is finished.
        if (waiting !== progress || item.lane === "read" || item.noted)
          await records.commit(() => records.record(item, waiting, dueAt, item.job.faults));
        return hold(item, "poll", dueAt);
      }
    }
  }

  /** Keeps an analysis for its next step, in memory, or in the spool where that has no room. The last thing done. */
  async function hold(item: Item, lane: AnalysisLane, dueAt: number): Promise<void> {
    item.lane = lane === "poll" && lanes.finishedMeanwhile(item) ? "read" : lane;
    item.dueAt = dueAt;
    lanes.release(item);
    const out = lanes.put(item);
    if (out === null) return;
    const { faults, progress } = out.job;
    if (out.lane === "look" && faults === 0 && progress.state !== "submitting") return;
    // What is further on than the spool knows must not be taken out of it meanwhile.
    lanes.keep(out);
    try {
      await records.commit(() => records.record(out, out.job.progress, out.dueAt, out.job.faults));
    } finally {
      lanes.release(out);
    }
  }

  /** Puts an analysis back after a fault, or gives it up. Throws nothing. */
  async function recover(item: Item, { error, blamed, retryAt }: Fault): Promise<void> {
    if (stopped.aborted) return; // the spool has it as it stands
    try {
      if (error.code === "VMRAY_REFUSED") return await apply(item, failed(error.message));
      if (blamed) item.job = { ...item.job, faults: item.job.faults + 1 };
      const { progress, faults } = item.job;
      if (faults >= MAX_FAULTS) {
        return await apply(item, failed(`given up after ${faults} faults: ${error.message}`));
      }
      const dueAt = retryAt ?? now() + backoff(faults + 1, timing.faultFirst, timing.faultMax, random);
      // What was looked up and could not be sent is looked up again: VMRay may have it.
      const kept: AnalysisProgress = progress.state === "looked" ? { state: "queued" } : progress;
      item.job = { ...item.job, progress: kept };
      const ofVmray = error instanceof VmrayError;
      if (ofVmray) item.fault = { at: now(), reason: oneLine(error.message) };
      if (blamed || ofVmray) await records.commit(() => records.record(item, kept, dueAt, faults));
      await hold(item, kept.state === "submitted" ? "poll" : "look", dueAt);
    } catch (thrown) {
      // Only the end of the sensor gets here; anything else is a mistake of ours that must not stop the pool.
      if (stopped.aborted) return;
      note(asSensorError(thrown), "an analysis could not be put back", item.job);
      const lane = item.job.progress.state === "submitted" ? "poll" : "look";
      lanes.release(item);
      lanes.put({ ...item, lane, dueAt: now() + timing.faultMax });
    }
  }

  return {
    async stop() {
      ending.reads.abort(new Stopping());
      unsubscribe();
      clearTimeout(timer);
      const grace = setTimeout(() => ending.posts.abort(new Stopping()), timing.stopGrace);
      await Promise.all(flights);
      clearTimeout(grace);
    },
    status() {
      const waiting = lanes.waiting();
      return {
        running: lanes.working(),
        open: lanes.working() + ANALYSIS_LANES.reduce((sum, lane) => sum + waiting[lane], 0),
        waiting,
        ...pauses.status(now()),
        budget: budget.status(now()),
        quota,
        counts: {
          ...counts,
          ...deciding.counts(),
          submissions: submitting.count(),
          feeds: following.reads(),
        },
      };
    },
  };
}

function skipped(job: AnalysisJob): Next {
  return {
    kind: "finish",
    lasting: false,
    verdict: {
      outcome: "skipped",
      verdict: "not_available",
      reason: job.artifact.decision.reason,
      threat_names: [],
      vmray: null,
    },
  };
}
