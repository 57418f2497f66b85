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
import { asSensorError, type ErrorCode, type SensorError } from "../errors.ts";
import { faultFields, type Log } from "../log.ts";
import {
  ANALYSIS_LANES,
  type AnalysisJob,
  type AnalysisLane,
  type AnalysisProgress,
  type ContentFault,
  type Instead,
  type Settlement,
  type Spool,
  type Tried,
} from "../spool/spool.ts";
import type { ContentVerdict } from "../verdict/verdict.ts";
import { type BudgetStatus, createBudget, dayOf, type Permit, type StateChange } from "./budget.ts";
import type { Quota, VmrayClient } from "./client.ts";
import { costOf, counted, NOTHING_USED } from "./cost.ts";
import { createFeed } from "./feed.ts";
import { backoff, createGate, type Gate, type GateTiming, type PauseReason } from "./gate.ts";
import { createHealth, type HealthTiming } from "./health.ts";
import { createSchedule } from "./schedule.ts";
import { createSender, mayStillArrive } from "./sending.ts";
import {
  afterSubmit,
  contentId,
  type Finish,
  failed,
  insteadOf,
  isAgain,
  isQuotaDenial,
  lookUp,
  type Next,
  olderVerdict,
  onlyLookedUp,
  poll,
} from "./steps.ts";
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

/** Where this is one of several. */
export type OneOfSeveral = {
  readonly name: string;
  /** The name of the one to ask next, after those that did not take a content; null where there is none left. */
  readonly after: (tried: readonly string[]) => string | null;
};

export type AnalyzerTiming = GateTiming &
  HealthTiming & {
    /** First and longest wait of one content after a fault of its own, milliseconds. */
    readonly faultFirst: number;
    readonly faultMax: number;
    /** How long a submission that is being sent may take to end when the sensor stops, milliseconds. */
    readonly stopGrace: number;
    /** How long after a refusal for its quota VMRay is tried again, milliseconds. */
    readonly quotaRetry: number;
    /** How often VMRay is asked for its quota, milliseconds. */
    readonly quotaEvery: number;
  };

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

/** One kind of call: all are made, none is, or one at a time is tried. */
export type Circuit = {
  readonly state: "open" | "shut" | "trial";
  readonly reason: PauseReason | null;
  /** When the next one is tried, milliseconds since 1970; null while it is open. */
  readonly retryAt: number | null;
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
  readonly lastError: { readonly code: ErrorCode; readonly message: string; readonly at: number } | null;
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

const TIMING: AnalyzerTiming = {
  probeFirst: 1_000,
  probeMax: 30_000,
  probeAuth: 60_000,
  unreachableNews: 10_000,
  throttledNews: 60_000,
  faultFirst: 2_000,
  faultMax: 300_000,
  stopGrace: 5_000,
  quotaRetry: 15 * 60_000,
  quotaEvery: 5 * 60_000,
};

/** Analyses of one lane kept in memory between steps; the rest wait in the spool. */
const MAX_HELD = 512;
/** Analyses of one lane taken out of the spool at a time, for each slot: the spool may be busy for some calls' time. */
const TAKEN_AHEAD = 8;
/** And at most so many where there are enough in hand, to see whether what is new is more urgent. */
const FRESH = 32;
/** How long a look-up that found nothing holds: what waits longer for its submission is looked up again. */
const LOOKED_HOLDS = 120_000;
/** Steps whose outcome is being committed, for each slot: their calls are done, so they take none. */
const SETTLING = 3;
/** Between two looks into the spool that found nothing. */
const REFILL_PAUSE = 20;
/** Between two looks whether what is in hand has become more urgent. */
const URGENCY_PAUSE = 250;
/** Faults of one content, while VMRay serves others, after which it is given up. */
const MAX_FAULTS = 20;
/** A submission in work for long is asked after less often, up to this many poll intervals, */
const MAX_STRETCH = 12;
/** and while the list of finished submissions says what is done, at least and at most so many. */
const SAFETY_FIRST = 12;
const SAFETY_MAX = 120;
/** Then so many single polls are made in a poll interval at most, whatever the number in flight. */
const SAFETY_POLLS = 4;
const MAX_SLEEP = 60_000;
/** Every server answers it, most with "unknown": SHA-256 of no bytes. */
const PROBE_SHA256 = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

/** An analysis in memory. */
type Item = {
  readonly key: string;
  /** Those of the spool, which may rise while it is in hand: `job` has what they were. */
  priority: number;
  turn: number;
  lane: AnalysisLane;
  dueAt: number;
  job: AnalysisJob;
  readonly spent: { calls: number; submissions: number };
  readonly tried: readonly Tried[];
  /** What its last call met; `noted`: the spool has one. */
  fault: ContentFault | null;
  noted: boolean;
  /** The day to which its submission is charged, null while it is to none. */
  charged: string | null;
  /** VMRay answered its last submission and took nothing. */
  refused: boolean;
};

/** What follows a step. `move`: this analyzer does not take the content, for `why`, and another one is asked. */
type Outcome = Next | { readonly kind: "move"; readonly to: string; readonly why: string };

/** What the spool may hold of a lane beside what is in memory. */
type Beyond = { more: boolean; fresh: boolean; filling: boolean; nextAt: number | null; retryAt: number };

const QUEUED_LANES: readonly AnalysisLane[] = ["look", "send", "upload"];
const SUBMITTED_LANES: readonly AnalysisLane[] = ["poll", "read"];

const SPOOL_FAULTS: ReadonlySet<ErrorCode> = new Set(["SPOOL_FULL", "SPOOL_BUSY", "SPOOL_BROKEN"]);

/** The same progress where nothing about it is new. */
function whileWaiting(
  progress: AnalysisProgress,
  { running, childIds = [] }: Extract<Next, { readonly kind: "wait" }>,
  at: number,
): AnalysisProgress {
  if (progress.state !== "submitted") return progress;
  const known = progress.childIds ?? [];
  const begins = running && progress.runningSince === undefined;
  if (!begins && childIds.every((id) => known.includes(id))) return progress;
  return {
    ...progress,
    ...(begins ? { runningSince: at } : {}),
    ...(childIds.length === 0 ? {} : { childIds: [...new Set([...known, ...childIds])] }),
  };
}

/** What the gates stood at when a step began. */
type Tickets = { readonly reads: number; readonly submits: number };

/** `blamed`: it is the content's own, since VMRay serves others. `retryAt`: null where it waits for reasons of its own. */
type Fault = { readonly error: SensorError; readonly blamed: boolean; readonly retryAt: number | null };

type Submitting = Extract<AnalysisProgress, { readonly state: "submitting" }>;

class Stopping extends Error {}

/** Starts the pool. Throws SensorError where the temporary folder cannot be used. */
export function startAnalyzer(options: AnalyzerOptions): Analyzer {
  const { spool, client, settings, log, several } = options;
  const now = options.now ?? Date.now;
  const random = options.random ?? Math.random;
  const timing: AnalyzerTiming = { ...TIMING, ...options.timing };
  const { concurrency } = settings;
  const maxUploads = Math.max(1, concurrency - Math.ceil(concurrency / 4));
  const batch = Math.min(MAX_HELD, Math.max(64, TAKEN_AHEAD * concurrency));

  const reads = createGate(timing, random);
  const submits = createGate(timing, random);
  const health = createHealth(timing);
  const budget = createBudget(settings.budget, timing.quotaRetry);
  const feed = createFeed({ client, spool, pollInterval: settings.poll_interval, log });
  const schedule = createSchedule<Item>(MAX_HELD);
  const send = createSender({ client, writeContent: options.writeContent, tempDir: options.tempDir });
  const ending = { reads: new AbortController(), posts: new AbortController() };

  const running = new Map<string, Item>();
  const beyond: Readonly<Record<AnalysisLane, Beyond>> = {
    look: { more: true, fresh: false, filling: false, nextAt: null, retryAt: 0 },
    send: { more: true, fresh: false, filling: false, nextAt: null, retryAt: 0 },
    upload: { more: true, fresh: false, filling: false, nextAt: null, retryAt: 0 },
    poll: { more: true, fresh: false, filling: false, nextAt: null, retryAt: 0 },
    read: { more: true, fresh: false, filling: false, nextAt: null, retryAt: 0 },
  };
  const flights = new Set<Promise<void>>();
  const counts = { lookups: 0, submissions: 0, polls: 0, feeds: 0, finished: 0, failed: 0 };
  /** Keys of running analyses that the feed told of meanwhile. */
  const toldWhileRunning = new Set<string>();
  let lastError: AnalyzerStatus["lastError"] = null;
  let lastFault = { message: "", ofAll: false };
  let quota: Quota | null = null;
  let quotaAt = 0;
  let calling = 0;
  let submitting = 0;
  let uploads = 0;
  let refillFaults = 0;
  let lastPollAt = 0;
  /** Mails came in since the urgency of what is in hand was read; it is read again at that time. */
  const urgency = { stale: false, reading: false, at: 0 };
  let stopping = false;
  let probing = false;
  /** What was charged and told before is known. */
  let loaded = false;
  /** A pause was told before the start, and VMRay did not answer since. */
  let unproven = false;
  let telling: Promise<void> = Promise.resolve();
  let feeding = false;
  let asking = false;
  let timer: ReturnType<typeof setTimeout> | undefined;

  const unsubscribe = spool.subscribe("analyses", () => {
    beyond.look.more = true;
    beyond.look.fresh = true;
    urgency.stale = true;
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
    if (stopping) return;
    const at = now();
    report(at);
    if (urgency.stale && !urgency.reading && urgency.at <= at) fly(readUrgency(at));
    const doubtful = reads.state(at) === "trial" || (unproven && reads.state(at) === "open");
    if (doubtful && !probing) fly(probe());
    if (reads.state(at) === "open") {
      if (quotaAt <= at && !asking) fly(askQuota(at));
      if (mayFeed(at)) fly(readFeed(at));
      while (calling < concurrency && running.size < concurrency * (1 + SETTLING)) {
        const item = schedule.take(at, (lane) => mayRun(lane, at));
        if (item === null) break;
        if (item.lane === "poll") lastPollAt = at;
        running.set(item.key, item);
        calling += 1;
        fly(run(item));
      }
      for (const lane of ANALYSIS_LANES) if (mayFill(lane, at)) fly(refill(lane));
    }
    arm(at);
  }

  function arm(at: number): void {
    clearTimeout(timer);
    let next = at + MAX_SLEEP;
    const consider = (time: number | null) => {
      if (time !== null && time > at && time < next) next = time;
    };
    consider(schedule.nextDue(at));
    for (const gate of [reads, submits]) if (gate.reason() !== null) consider(gate.until());
    for (const lane of ANALYSIS_LANES) {
      consider(beyond[lane].nextAt);
      consider(beyond[lane].retryAt);
    }
    consider(quotaAt);
    if (urgency.stale) consider(urgency.at);
    consider(health.nextAt());
    if (anyInFlight()) {
      consider(feed.nextAt());
      consider(nextPollAt());
    }
    timer = setTimeout(pump, Math.max(0, next - at));
  }

  function mayRun(lane: AnalysisLane, at: number): boolean {
    if (lane === "look" || lane === "read") return true;
    // While the list of finished submissions is trusted, single polls only make sure of it.
    if (lane === "poll") return !feed.trusted(at) || at >= nextPollAt();
    if (!budget.known) return false;
    const gate = submits.state(at);
    if (gate === "shut" || (gate === "trial" && submitting > 0)) return false;
    return lane === "send" || uploads < maxUploads;
  }

  function nextPollAt(): number {
    return lastPollAt + settings.poll_interval / SAFETY_POLLS;
  }

  function anyInFlight(): boolean {
    return schedule.size("poll") > 0 || beyond.poll.more || beyond.poll.nextAt !== null;
  }

  function mayFeed(at: number): boolean {
    return !feeding && feed.trusted(at) && feed.nextAt() <= at && anyInFlight();
  }

  /** True where the lane runs low, or what just came in may be more urgent than what is in hand. */
  function mayFill(lane: AnalysisLane, at: number): boolean {
    const there = beyond[lane];
    if (there.nextAt !== null && there.nextAt <= at) {
      there.nextAt = null;
      there.more = true;
    }
    if (!there.more || there.filling || there.retryAt > at || !mayRun(lane, at)) return false;
    return there.fresh || schedule.size(lane) < batch / 2;
  }

  /** Takes more of a lane out of the spool. What waits there may be in hand already, further on than the spool knows. */
  async function refill(lane: AnalysisLane): Promise<void> {
    const there = beyond[lane];
    const held = schedule.size(lane);
    const limit = held < batch / 2 ? batch - held : Math.min(batch, FRESH);
    there.filling = true;
    there.more = false;
    there.fresh = false;
    try {
      const jobs = await spool.dueAnalyses(now(), limit, inHand(lane), lane);
      const meanwhile = inHand(lane);
      for (const job of jobs) {
        if (meanwhile.has(job.key)) continue;
        const spent = { calls: 0, submissions: 0, ...job.progress.spent };
        const tried = job.progress.tried ?? [];
        put({
          key: job.key,
          priority: job.priority,
          turn: job.turn,
          lane,
          dueAt: job.nextAt,
          job,
          spent,
          tried,
          fault: job.progress.fault ?? null,
          noted: job.progress.fault !== undefined,
          charged: job.progress.charged ?? null,
          refused: false,
        });
      }
      if (jobs.length >= limit) there.more = true;
      else there.nextAt = await spool.nextAnalysisAt(inHand(lane), lane);
      refillFaults = 0;
      there.retryAt = now() + REFILL_PAUSE;
    } catch (thrown) {
      refillFaults += 1;
      there.retryAt = now() + backoff(refillFaults, 500, 10_000, random);
      there.more = true;
      noteError(asSensorError(thrown), "analyses cannot be read from the spool");
    } finally {
      there.filling = false;
    }
  }

  /** A mail that came since may want what is in hand sooner than the mail it was taken for. */
  async function readUrgency(at: number): Promise<void> {
    urgency.reading = true;
    urgency.stale = false;
    urgency.at = at + URGENCY_PAUSE;
    try {
      const items = [...running.values(), ...schedule.entries(QUEUED_LANES)];
      await raise(items.filter(({ job }) => job.progress.state !== "submitted"));
    } catch (thrown) {
      urgency.stale = true;
      noteError(asSensorError(thrown), "how urgent analyses are cannot be read from the spool");
    } finally {
      urgency.reading = false;
    }
  }

  async function raise(items: readonly Item[]): Promise<void> {
    if (items.length === 0) return;
    const current = new Map(
      (await spool.urgencies(items.map(({ key }) => key))).map((each) => [each.key, each]),
    );
    for (const item of items) {
      const { priority, turn } = current.get(item.key) ?? item;
      Object.assign(item, { priority, turn });
    }
  }

  /** Puts an analysis into memory; gives the one that has no room there, perhaps itself. */
  function put(item: Item): Item | null {
    const out = schedule.put(item);
    if (out !== null) {
      beyond.look.more = true;
      beyond[out.lane].more = true;
    }
    return out;
  }

  /** What may be in hand of a lane of the spool, perhaps further on than the spool knows. */
  function inHand(lane: AnalysisLane): Set<string> {
    const lanes = lane === "poll" || lane === "read" ? SUBMITTED_LANES : QUEUED_LANES;
    return new Set([...running.keys(), ...lanes.flatMap((each) => schedule.keys(each))]);
  }

  /** Takes up what was charged today, and what was told of the state and is not over. */
  async function load(): Promise<void> {
    const day = dayOf(now());
    for (let faults = 1; !stopping; faults++) {
      try {
        const open = await spool.toldStates();
        const mails = settings.budget.per_day === undefined ? [] : await spool.chargedMails(day);
        budget.begin(day, await spool.charged(day), open, mails);
        unproven = health.begin(open);
        loaded = true;
        return;
      } catch (thrown) {
        noteError(asSensorError(thrown), "the day's submissions cannot be read from the spool");
        await Bun.sleep(backoff(faults, 200, 5_000, random));
      }
    }
  }

  async function probe(): Promise<void> {
    probing = true;
    const ticket = reads.ticket();
    try {
      await client.samplesBySha256(PROBE_SHA256, ending.reads.signal);
    } catch (thrown) {
      if (stopping) return;
      const error = asSensorError(thrown);
      // A refusal is an answer too.
      if (error.code !== "VMRAY_REFUSED") return void trip("reads", error, ticket);
    } finally {
      probing = false;
    }
    unproven = false;
    if (reads.pass(ticket)) log.info("VMRay answers again");
  }

  async function askQuota(at: number): Promise<void> {
    asking = true;
    quotaAt = at + timing.quotaEvery;
    const ticket = reads.ticket();
    try {
      quota = await client.quota(ending.reads.signal);
    } catch (thrown) {
      if (stopping) return;
      trip("reads", asSensorError(thrown), ticket);
    } finally {
      asking = false;
    }
  }

  async function readFeed(at: number): Promise<void> {
    feeding = true;
    counts.feeds += 1;
    const ticket = reads.ticket();
    try {
      for (const key of await feed.read(at, ending.reads.signal)) {
        const item = schedule.remove(key);
        if (item !== null) put({ ...item, lane: item.lane === "poll" ? "read" : item.lane, dueAt: 0 });
        else if (running.has(key)) toldWhileRunning.add(key);
        else beyond.read.more = true;
      }
    } catch (thrown) {
      if (stopping) return;
      const error = asSensorError(thrown);
      if (SPOOL_FAULTS.has(error.code)) noteError(error, "the spool takes no finished submissions for now");
      else trip("reads", error, ticket);
    } finally {
      feeding = false;
    }
  }

  /** Tells of what became different: once for each change, over restarts too. */
  function report(at: number): void {
    if (!loaded) return;
    const reason = reads.reason() ?? submits.reason();
    // A single submission that went wrong, with no other to try: VMRay may be well.
    const alone = submits.faults() === 1 && submits.state(at) === "trial" && reads.reason() === null;
    if (alone) health.rest();
    const unknown = alone || (unproven && reason === null);
    const change = unknown ? null : health.update(reason, lastFault.message, lastFault.ofAll, at);
    const changes = [...(change === null ? [] : [change]), ...budget.changes(at)];
    if (changes.length === 0) return;
    for (const { name, message } of changes) log.info(message, { state: name });
    const open = [...health.open(), ...budget.open()];
    telling = telling.then(() =>
      commit(() => options.announce(changes, open)).catch((thrown) => {
        if (!stopping) noteError(asSensorError(thrown), "an event of the analyzer's state is lost");
      }),
    );
    fly(telling);
  }

  /** Shuts a gate; a line is logged when the reason is new, not for every call that met it. */
  function trip(
    kind: "reads" | "submits",
    error: SensorError,
    ticket: number,
  ): ReturnType<typeof reads.trip> {
    const gate = kind === "reads" ? reads : submits;
    const reason = pauseReason(error);
    const wait = error instanceof VmrayError ? error.retryAfter : null;
    const ofAll = reason === "throttled" || (error instanceof VmrayError && error.status === 401);
    const tripped = gate.trip(reason, ticket, now(), wait, ofAll);
    lastError = { code: error.code, message: error.message, at: now() };
    lastFault = { message: error.message, ofAll };
    if (tripped.news) log.warn("calls to VMRay pause", { reason, calls: kind, ...faultFields(error) });
    return tripped;
  }

  /** VMRay answered a submission, with whatever. */
  function passSubmit(tickets: Pick<Tickets, "submits">): void {
    if (submits.pass(tickets.submits)) log.info("VMRay takes submissions again");
  }

  function noteError(error: SensorError, msg: string, item?: Item): void {
    lastError = { code: error.code, message: error.message, at: now() };
    log.warn(msg, { ...(item === undefined ? {} : logFields(item.job)), ...faultFields(error) });
  }

  // one step of one analysis

  async function run(item: Item): Promise<void> {
    const tickets = { reads: reads.ticket(), submits: submits.ticket() };
    const { progress } = item.job;
    if (progress.state === "looked" && now() - progress.at > LOOKED_HOLDS) {
      item.lane = "look";
      item.job = { ...item.job, progress: { state: "queued" } };
    }
    const kind = item.lane === "send" || item.lane === "upload" ? "submits" : "reads";
    let next: Outcome | null = null;
    let fault: Fault | null = null;
    try {
      next = await step(item, tickets);
    } catch (thrown) {
      fault = meetFault(item, asSensorError(thrown), kind, tickets);
    }
    // The call is done: the next one may begin while this one's outcome is committed.
    calling -= 1;
    pump();
    try {
      if (next !== null) await apply(item, next);
    } catch (thrown) {
      fault = meetFault(item, asSensorError(thrown), kind, tickets);
    }
    if (fault !== null) await recover(item, fault);
  }

  /** The analysis is no longer in work: it is decided, or waits in the schedule. */
  function release(item: Item): void {
    running.delete(item.key);
    toldWhileRunning.delete(item.key);
  }

  async function step(item: Item, tickets: Tickets): Promise<Outcome> {
    const { job } = item;
    const signal = ending.reads.signal;
    if (job.artifact.decision.action === "skip") return skipped(job);
    if (item.lane === "send" || item.lane === "upload") return submit(item, tickets);
    let next: Next;
    if (job.progress.state === "submitted") {
      counts.polls += 1;
      const { give_up_after: giveUpAfter, queue_limit: queueLimit } = settings;
      next = await poll(clientFor(item), job, job.progress, { now: now(), giveUpAfter, queueLimit }, signal);
      item.job = { ...job, faults: 0 };
      if (next.kind === "finish" && item.lane === "poll" && feed.trusted(now())) {
        for (const id of job.progress.submissionIds) feed.foundFinished(id);
      }
    } else {
      counts.lookups += 1;
      const { reuse_results } = settings;
      const reuse = job.anew === true ? { ...reuse_results, suspicious: 0, clean: 0 } : reuse_results;
      next = await lookUp(clientFor(item), job, now(), signal, reuse);
      if (job.anew === true && next.kind === "submit") next = { ...next, again: true };
    }
    reads.pass(tickets.reads);
    return next;
  }

  /** The client, counting for this analysis. */
  function clientFor({ spent }: Item): VmrayClient {
    return counted(client, () => {
      spent.calls += 1;
    });
  }

  async function record(
    item: Item,
    progress: AnalysisProgress,
    nextAt: number,
    faults: number,
    charge?: string,
  ): Promise<void> {
    const { key, spent, tried, charged, fault, job } = item;
    const doubted = job.doubted === true && progress.state !== "submitted";
    const kept = {
      ...progress,
      spent: { ...spent },
      ...(tried.length === 0 ? {} : { tried }),
      ...(charged === null ? {} : { charged }),
      ...(doubted ? { doubted } : {}),
      fault: fault ?? undefined,
    };
    await spool.recordProgress(key, kept, nextAt, faults, charge);
    item.noted = fault !== null;
  }

  /** Commits the outcome of a step and puts the analysis where it waits for the next one. */
  async function apply(item: Item, next: Outcome): Promise<void> {
    const at = now();
    switch (next.kind) {
      case "finish":
        return finish(item, next);
      case "submit": {
        const lane = item.job.artifact.kind === "url" ? "send" : "upload";
        const { progress } = item.job;
        // A submission that may have been sent stays marked as such, and may still be on its way.
        if (progress.state === "submitting") {
          const wait = lateWait(item, progress, at);
          if (wait > 0) return hold(item, "look", at + wait);
        } else {
          const again = next.again === true ? { again: true } : {};
          const seen = next.seen === true ? { seen: true } : {};
          item.job = { ...item.job, progress: { state: "looked", at, lane, ...again, ...seen } };
        }
        item.fault = null;
        if (item.noted) await commit(() => record(item, item.job.progress, at, item.job.faults));
        return hold(item, lane, at);
      }
      case "denied": {
        const why = `VMRay's quota is used up (${next.note})`;
        return apply(item, await notTaken(item, why, onlyLookedUp(why)));
      }
      case "move": {
        log.info("content goes to another analyzer", {
          ...logFields(item.job),
          to: next.to,
          reason: next.why,
        });
        const tried = [...item.tried, { analyzer: several?.name ?? "", why: next.why }];
        const progress: AnalysisProgress = { state: "queued", spent: { ...item.spent }, tried };
        const settlement = settlementOf(item, item.refused ? 0 : null, at);
        await commit(() => spool.moveAnalysis(item.key, next.to, progress, settlement));
        return release(item);
      }
      case "follow": {
        const joined = item.lane === "look";
        // The submission whose answer got lost had come in.
        if (joined && item.job.progress.state === "submitting" && submits.reason() === "unreachable")
          passSubmit({ submits: submits.ticket() });
        item.job = { ...item.job, progress: next.progress, faults: 0 };
        // What is cached or asked for its reputation is done at once; the list of finished submissions tells.
        const dueAt =
          joined || !feed.trusted(at) ? at + jittered(settings.poll_interval / 4) : at + pollDelay(item, at);
        feed.submitted(at);
        item.fault = null;
        await commit(() => record(item, next.progress, dueAt, 0));
        log.debug("submission followed", {
          ...logFields(item.job),
          submission_id: next.progress.submissionIds[0],
          submissions: next.progress.submissionIds.length,
        });
        const told = joined || next.progress.submissionIds.some(feed.toldOf);
        return hold(item, told ? "read" : "poll", told ? now() : dueAt);
      }
      case "wait": {
        const { progress } = item.job;
        const waiting = whileWaiting(progress, next, at);
        item.job = { ...item.job, progress: waiting };
        const dueAt = at + pollDelay(item, at);
        item.fault = null;
        // The spool must not think that it is finished.
        if (waiting !== progress || item.lane === "read" || item.noted)
          await commit(() => record(item, waiting, dueAt, item.job.faults));
        return hold(item, "poll", dueAt);
      }
    }
  }

  /**
   * How long to wait for the next look for a submission that VMRay does not have, milliseconds, longer each time; 0
   * where it may be sent again.
   */
  function lateWait(item: Item, progress: Submitting, at: number): number {
    const { resend_after: resendAfter } = settings;
    const resendAt = progress.resendAt ?? at + resendAfter;
    item.job = { ...item.job, progress: { ...progress, resendAt } };
    // A clock that was set back does not make it longer.
    const left = Math.min(resendAt - at, resendAfter);
    return Math.min(left, Math.max(timing.faultFirst, resendAfter - left));
  }

  /** What the budget does not allow is not sent: the cheaper action is taken. */
  async function submit(item: Item, tickets: Tickets): Promise<Outcome> {
    const { permit, instead } = permitOf(item);
    if (!permit.allowed) {
      const before = item.priority;
      await raise([item]);
      // What another mail wants more has the reserve.
      if (item.priority < before) return { kind: "submit", again: isAgain(item.job), seen: isSeen(item.job) };
      return notTaken(item, permit.reason, onlyLookedUp(permit.reason));
    }
    const file = item.job.artifact.kind === "attachment";
    let begun = false;
    submitting += 1;
    if (file) uploads += 1;
    try {
      const answer = await send(
        item.job,
        instead,
        async () => {
          await begin(item, permit, instead);
          begun = true;
        },
        ending.posts.signal,
      );
      if (answer === null) {
        const why = "the raw mail is no longer kept, so its attachment cannot be submitted";
        return notAnalysed(item, why, failed(why));
      }
      passSubmit(tickets);
      const next = await afterSubmit(clientFor(item), item.job, answer, now(), ending.posts.signal);
      const note = next.kind === "follow" ? (next.progress.note ?? "") : "";
      item.refused = next.kind !== "follow";
      const action = instead?.action ?? item.job.artifact.decision.action;
      if (next.kind === "denied" || isQuotaDenial(note)) budget.denied(action, now());
      else budget.accepted(action);
      const refused = next.kind === "finish" && next.verdict.outcome === "failed";
      return refused ? notTaken(item, next.verdict.reason ?? "VMRay refused the submission", next) : next;
    } catch (thrown) {
      const { job } = item;
      if (begun && job.progress.state === "submitting") {
        const late = mayStillArrive(thrown) ? settings.resend_after : 0;
        item.job = { ...job, progress: { ...job.progress, resendAt: now() + late } };
      }
      throw thrown;
    } finally {
      if (!begun) budget.giveBack(permit);
      submitting -= 1;
      if (file) uploads -= 1;
    }
  }

  /** One that may have been sent before is paid already, as what it was sent. */
  function permitOf(item: Item): { readonly permit: Permit; readonly instead: Instead | null } {
    const { job } = item;
    const { action } = job.artifact.decision;
    if (job.progress.state === "submitting")
      return { permit: { allowed: true, day: null }, instead: insteadOf(job) };
    const permit = budget.take(action, item.priority, now(), job.mailId);
    if (permit.allowed || settings.budget.count_reputation) return { permit, instead: null };
    if (action !== "dynamic" && action !== "static") return { permit, instead: null };
    // VMRay has asked for the reputation of what it has a sample of.
    const cheaper = isSeen(job) ? permit : budget.take("reputation", item.priority, now(), job.mailId);
    return cheaper.allowed
      ? { permit: cheaper, instead: { action: "reputation", why: permit.reason } }
      : { permit, instead: null };
  }

  /** Commits that the POST may have been sent, and whom it is charged to. */
  async function begin(item: Item, permit: Permit, instead: Instead | null): Promise<void> {
    if (stopping) throw new Stopping();
    const progress: AnalysisProgress = {
      state: "submitting",
      ...(isAgain(item.job) ? { again: true } : {}),
      ...(instead === null ? {} : { instead }),
    };
    const before = item.job.progress;
    if (before.state === "submitting") {
      // Charged already; of how this one ends nothing is known.
      if (before.resendAt !== undefined) await commit(() => record(item, progress, now(), item.job.faults));
    } else {
      const day = permit.allowed ? (permit.day ?? undefined) : undefined;
      const spent = { ...item.spent, submissions: item.spent.submissions + 1 };
      const charged = day ?? item.charged;
      await commit(() => record({ ...item, spent, charged }, progress, now(), item.job.faults, day));
      item.charged = charged;
    }
    item.job = { ...item.job, progress };
    item.refused = false;
    counts.submissions += 1;
    item.spent.submissions += 1;
  }

  /** What is not analysed anew has the verdict VMRay has; what it does not know is `otherwise`. */
  function notAnalysed(item: Item, why: string, otherwise: Finish): Promise<Finish> {
    return isAgain(item.job)
      ? olderVerdict(clientFor(item), item.job, why, now(), ending.reads.signal)
      : Promise.resolve(otherwise);
  }

  /** What this analyzer does not take another one may, where VMRay has no older verdict that is as deep either. */
  async function notTaken(item: Item, why: string, otherwise: Finish): Promise<Outcome> {
    const older = isAgain(item.job) ? await notAnalysed(item, why, otherwise) : null;
    if (older !== null && older.verdict.partial !== true) return older;
    const tried = item.tried.map(({ analyzer }) => analyzer);
    const to = several === undefined ? null : several.after([...tried, several.name]);
    return to === null ? (older ?? otherwise) : { kind: "move", to, why };
  }

  /** The reason, with those of the analyzers before this one where none of them took it. */
  function reasonOf(item: Item, verdict: ContentVerdict): string | null {
    if (item.tried.length === 0 || verdict.verdict !== "not_available") return verdict.reason;
    const last = { analyzer: several?.name ?? "", why: verdict.reason ?? "VMRay knows nothing" };
    return oneLine([...item.tried, last].map(({ analyzer, why }) => `${analyzer}: ${why}`).join("; "));
  }

  async function finish(item: Item, next: Finish): Promise<void> {
    const at = now();
    const { lasting, usage = item.refused ? NOTHING_USED : null } = next;
    const settlement = settlementOf(item, usage?.quota ?? null, at);
    const cost = costOf(item.spent, item.job.progress, item.job.createdAt, at, usage);
    const verdict: ContentVerdict = {
      ...next.verdict,
      reason: reasonOf(item, next.verdict),
      ...(cost === undefined ? {} : { cost }),
      ...(several === undefined || next.verdict.outcome === "skipped" ? {} : { analyzer: several.name }),
    };
    await commit(() =>
      spool.finishAnalysis(item.key, verdict, validUntil(item, verdict, lasting, at), settlement),
    );
    release(item);
    counts[verdict.outcome === "failed" ? "failed" : "finished"] += 1;
    log.info("content judged", {
      ...logFields(item.job),
      outcome: verdict.outcome,
      verdict: verdict.verdict,
      reason: verdict.reason,
      sample_id: verdict.vmray?.sample_id,
      submission_id: verdict.vmray?.submission_id,
      ms: at - item.job.createdAt,
    });
  }

  /** What its submission took beside what it was charged as; `consumed` is null where VMRay does not say. */
  function settlementOf({ charged, job }: Item, consumed: number | null, at: number): Settlement | null {
    return charged === null || consumed === null ? null : budget.settle(charged, consumed, at, job.mailId);
  }

  /** Until when the verdict serves later mails, null for not at all. */
  function validUntil(item: Item, verdict: ContentVerdict, lasting: boolean, at: number): number | null {
    const { cache } = settings;
    if (lasting && verdict.outcome === "judged") {
      const { verdict: word } = verdict;
      return at + (word === "not_available" ? (cache.not_available ?? cache.clean) : cache[word]);
    }
    // A look-up that found nothing costs nothing and is made for each mail.
    const wanted = item.job.artifact.decision.action !== "lookup" && verdict.outcome !== "skipped";
    return wanted && verdict.verdict === "not_available" && cache.failed > 0 ? at + cache.failed : null;
  }

  /** Keeps an analysis for its next step, in memory, or in the spool where that has no room. The last thing done. */
  async function hold(item: Item, lane: AnalysisLane, dueAt: number): Promise<void> {
    item.lane = lane === "poll" && toldWhileRunning.has(item.key) ? "read" : lane;
    item.dueAt = dueAt;
    release(item);
    const out = put(item);
    if (out === null) return;
    const { faults, progress } = out.job;
    if (out.lane === "look" && faults === 0 && progress.state !== "submitting") return;
    // What is further on than the spool knows must not be taken out of it meanwhile.
    running.set(out.key, out);
    try {
      await commit(() => record(out, out.job.progress, out.dueAt, out.job.faults));
    } finally {
      release(out);
    }
  }

  /** Puts an analysis back after a fault, or gives it up. Throws nothing. */
  async function recover(item: Item, { error, blamed, retryAt }: Fault): Promise<void> {
    if (stopping) return; // the spool has it as it stands
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
      if (blamed || ofVmray) await commit(() => record(item, kept, dueAt, faults));
      await hold(item, kept.state === "submitted" ? "poll" : "look", dueAt);
    } catch (thrown) {
      // Only the end of the sensor gets here; anything else is a mistake of ours that must not stop the pool.
      if (stopping) return;
      noteError(asSensorError(thrown), "an analysis could not be put back", item);
      const lane = item.job.progress.state === "submitted" ? "poll" : "look";
      release(item);
      put({ ...item, lane, dueAt: now() + timing.faultMax });
    }
  }

  /** Shuts the gate a fault belongs to, before any other call is made. */
  function meetFault(item: Item, error: SensorError, kind: "reads" | "submits", tickets: Tickets): Fault {
    if (stopping) return { error, blamed: false, retryAt: null };
    switch (error.code) {
      case "VMRAY_REFUSED":
        if (kind === "submits") {
          passSubmit(tickets);
          item.refused = true;
        }
        return { error, blamed: false, retryAt: null };
      case "VMRAY_THROTTLED":
        // What waits for all at the gate waits there and no longer.
        trip("reads", error, tickets.reads);
        return { error, blamed: false, retryAt: now() };
      case "VMRAY_AUTH":
      case "VMRAY_UNREACHABLE":
      case "VMRAY_ANSWER": {
        const blamed = trip(kind, error, tickets[kind]).others;
        if (blamed) return { error, blamed, retryAt: null };
        if (kind === "reads") return { error, blamed, retryAt: now() };
        // The next submission that is tried is another one, where there is one.
        const behind = backoff(1, timing.faultFirst, timing.faultMax, random);
        return { error, blamed, retryAt: submits.until() + behind };
      }
      default:
        noteError(error, "a step of an analysis failed", item);
        return { error, blamed: !SPOOL_FAULTS.has(error.code), retryAt: null };
    }
  }

  /** Commits, again and again while the spool has a fault: what VMRay said must not be lost for it. */
  async function commit(write: () => Promise<void>): Promise<void> {
    for (let faults = 1; ; faults++) {
      try {
        return await write();
      } catch (thrown) {
        const error = asSensorError(thrown);
        if (stopping || !SPOOL_FAULTS.has(error.code)) throw error;
        if (faults === 1) noteError(error, "the spool takes no progress of analyses for now");
        await Bun.sleep(backoff(faults, 200, 5_000, random));
      }
    }
  }

  function jittered(ms: number): number {
    return Math.round(ms * (0.8 + random() * 0.4));
  }

  function pollDelay(item: Item, at: number): number {
    const { progress } = item.job;
    const elapsed = progress.state === "submitted" ? at - progress.submittedAt : 0;
    const [first, longest] = feed.trusted(at) ? [SAFETY_FIRST, SAFETY_MAX] : [1, MAX_STRETCH];
    const stretched = Math.min(elapsed / 10, settings.poll_interval * longest);
    return jittered(Math.max(settings.poll_interval * first, stretched));
  }

  return {
    async stop() {
      stopping = true;
      unsubscribe();
      clearTimeout(timer);
      ending.reads.abort(new Stopping());
      const grace = setTimeout(() => ending.posts.abort(new Stopping()), timing.stopGrace);
      await Promise.all(flights);
      clearTimeout(grace);
    },
    status: () => ({
      running: running.size,
      open: running.size + ANALYSIS_LANES.reduce((sum, lane) => sum + schedule.size(lane), 0),
      waiting: {
        look: schedule.size("look"),
        send: schedule.size("send"),
        upload: schedule.size("upload"),
        poll: schedule.size("poll"),
        read: schedule.size("read"),
      },
      circuits: { reads: circuitOf(reads, now()), submits: circuitOf(submits, now()) },
      paused: reads.reason() ?? (submits.state(now()) === "shut" ? submits.reason() : null),
      lastError,
      budget: budget.status(now()),
      quota,
      counts: { ...counts },
    }),
  };
}

/** True where VMRay has a sample of it. */
function isSeen({ progress }: AnalysisJob): boolean {
  return progress.state === "looked" && (progress.again === true || progress.seen === true);
}

function circuitOf(gate: Gate, at: number): Circuit {
  const reason = gate.reason();
  return { state: gate.state(at), reason, retryAt: reason === null ? null : gate.until() };
}

function pauseReason(error: SensorError): PauseReason {
  switch (error.code) {
    case "VMRAY_AUTH":
      return "auth";
    case "VMRAY_THROTTLED":
      return "throttled";
    default:
      return "unreachable";
  }
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

function logFields(job: AnalysisJob): { readonly mail_id: string; readonly content: string } {
  return { mail_id: job.mailId, content: contentId(job.artifact) };
}
