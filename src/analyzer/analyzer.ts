/**
 * The analyzer stage: the worker pool for VMRay calls.
 *
 * Takes analyses from the spool and brings each to a verdict: look up, else submit, follow, read. Every step is
 * committed before the next begins, so that a restart goes on where it stood and no content is submitted twice.
 * Temporary faults never end an analysis: work waits, for ever if it must, while VMRay is down, busy or refuses the
 * key. Only what VMRay refuses, does not finish in time, or fails on again and again while it serves others, ends
 * as `failed` with the reason.
 */
import { chmodSync, mkdirSync, readdirSync, rmSync } from "node:fs";
import { open, rm, stat } from "node:fs/promises";
import { join } from "node:path";
import type { Config } from "../config/schema.ts";
import { asSensorError, type ErrorCode, SensorError } from "../errors.ts";
import { extensionOf } from "../extract/file-type.ts";
import { faultFields, type Log } from "../log.ts";
import type { AnalysisJob, AnalysisProgress, Spool } from "../spool/spool.ts";
import { groupOf } from "../triage/groups.ts";
import type { ContentVerdict } from "../verdict/verdict.ts";
import type { SubmitAnswer } from "./api-shapes.ts";
import type { VmrayClient } from "./client.ts";
import { backoff, createGate, type GateTiming, type PauseReason } from "./gate.ts";
import {
  afterSubmit,
  contentId,
  correlationId,
  failed,
  howSubmitted,
  lookUp,
  type Next,
  poll,
} from "./steps.ts";
import { VmrayError } from "./vmray-error.ts";

export type AnalyzerSpool = Pick<
  Spool,
  "dueAnalyses" | "nextAnalysisAt" | "recordProgress" | "finishAnalysis" | "subscribe"
>;

export type AnalyzerTiming = GateTiming & {
  /** First and longest wait of one content after a fault of its own, milliseconds. */
  readonly faultFirst: number;
  readonly faultMax: number;
  /** How long a submission that is being sent may take to end when the sensor stops, milliseconds. */
  readonly stopGrace: number;
};

export type AnalyzerOptions = {
  readonly spool: AnalyzerSpool;
  readonly client: VmrayClient;
  readonly settings: Pick<Config["vmray"], "concurrency" | "poll_interval" | "give_up_after" | "cache">;
  /** Writes the attachment with this SHA-256 out of the mail into the existing file; false where it is gone. */
  readonly writeContent: (mailId: string, sha256: string, toPath: string) => Promise<boolean>;
  /** A folder of the analyzer alone, for contents on their way. */
  readonly tempDir: string;
  readonly log: Log;
  readonly now?: () => number;
  readonly random?: () => number;
  readonly timing?: Partial<AnalyzerTiming>;
};

export type AnalyzerStatus = {
  /** Steps being taken now. */
  readonly running: number;
  /** Analyses in hand: running, waiting for a slot or for VMRay. The spool may hold more. */
  readonly open: number;
  /** Why no calls are made for now, null where they are. */
  readonly paused: PauseReason | null;
  readonly lastError: { readonly code: ErrorCode; readonly at: number } | null;
  /** Steps since the start. */
  readonly counts: {
    readonly lookups: number;
    readonly submissions: number;
    readonly polls: number;
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
  faultFirst: 2_000,
  faultMax: 300_000,
  stopGrace: 5_000,
};

/** Analyses of one lane kept in memory between steps; the rest wait in the spool. */
const MAX_HELD = 400;
/** When a content that waits in the spool for its submission is taken up again. */
const SUBMIT_WAIT = 120_000;
const BATCH = 64;
/** Faults of one content, while VMRay serves others, after which it is given up. */
const MAX_FAULTS = 20;
/** A submission in work for long is asked after less often, up to this many poll intervals. */
const MAX_STRETCH = 12;
const MAX_SLEEP = 60_000;
/** Every server answers it, most with "unknown": SHA-256 of no bytes. */
const PROBE_SHA256 = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
const TEMP_NAME = /^content-[0-9a-f]{64}-\d{1,15}$/;

/** An analysis in memory; `submit` has been looked up and is to be sent. */
type Item = { job: AnalysisJob; step: "advance" | "submit"; dueAt: number };

/** What waits for different things waits apart, so that neither stands in the way of the other. */
type Lane = "advance" | "send" | "upload";
const LANES: readonly Lane[] = ["advance", "send", "upload"];

const SPOOL_FAULTS: ReadonlySet<ErrorCode> = new Set(["SPOOL_FULL", "SPOOL_BUSY", "SPOOL_BROKEN"]);

/** What the gates stood at when a step began. */
type Tickets = { readonly reads: number; readonly submits: number };

class Stopping extends Error {}

/** Starts the pool. Throws SensorError where the temporary folder cannot be used. */
export function startAnalyzer(options: AnalyzerOptions): Analyzer {
  const { spool, client, settings, log } = options;
  const now = options.now ?? Date.now;
  const random = options.random ?? Math.random;
  const timing: AnalyzerTiming = { ...TIMING, ...options.timing };
  const maxUploads = Math.max(1, settings.concurrency - Math.ceil(settings.concurrency / 4));

  const reads = createGate(timing, random);
  const submits = createGate(timing, random);
  const ending = { reads: new AbortController(), posts: new AbortController() };

  const running = new Map<string, Item>();
  const held: Readonly<Record<Lane, Map<string, Item>>> = {
    advance: new Map(),
    send: new Map(),
    upload: new Map(),
  };
  const ready: Item[] = [];
  const flights = new Set<Promise<void>>();
  const counts = { lookups: 0, submissions: 0, polls: 0, finished: 0, failed: 0 };
  let lastError: AnalyzerStatus["lastError"] = null;
  let submitting = 0;
  let uploads = 0;
  let tempSeq = 0;
  let turn = false;
  let stopping = false;
  let probing = false;
  let refilling = false;
  let refillFaults = 0;
  let refillAt = 0;
  let spoolMayHaveMore = true;
  let spoolNextAt: number | null = null;
  let timer: ReturnType<typeof setTimeout> | undefined;

  prepareTempDir(options.tempDir);
  const unsubscribe = spool.subscribe("analyses", () => {
    spoolMayHaveMore = true;
    pump();
  });
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
    if (reads.state(at) === "trial" && !probing) fly(probe());
    while (running.size < settings.concurrency) {
      const item = take(at);
      if (item === null) break;
      running.set(item.job.key, item);
      fly(run(item));
    }
    if (spoolNextAt !== null && spoolNextAt <= at) {
      spoolNextAt = null;
      spoolMayHaveMore = true;
    }
    const wanting = ready.length === 0 && running.size < settings.concurrency && reads.state(at) === "open";
    if (wanting && spoolMayHaveMore && !refilling && refillAt <= at) fly(refill());
    arm(at);
  }

  function arm(at: number): void {
    clearTimeout(timer);
    let next = at + MAX_SLEEP;
    const consider = (time: number) => {
      if (time > at && time < next) next = time;
    };
    for (const lane of LANES) for (const item of held[lane].values()) consider(item.dueAt);
    for (const gate of [reads, submits]) if (gate.reason() !== null) consider(gate.until());
    if (spoolNextAt !== null) consider(spoolNextAt);
    consider(refillAt);
    timer = setTimeout(pump, Math.max(0, next - at));
  }

  function mayRun(lane: Lane, at: number): boolean {
    if (lane === "advance") return true;
    const gate = submits.state(at);
    if (gate === "shut" || (gate === "trial" && submitting > 0)) return false;
    return lane === "send" || uploads < maxUploads;
  }

  /** The next step to take, new work and work in hand by turns; null where none may be taken. */
  function take(at: number): Item | null {
    if (reads.state(at) !== "open") return null;
    let due: Item | null = null;
    for (const lane of LANES) {
      if (!mayRun(lane, at)) continue;
      for (const item of held[lane].values()) {
        if (item.dueAt <= at && (due === null || item.dueAt < due.dueAt)) due = item;
      }
    }
    turn = !turn;
    if (due !== null && (turn || ready.length === 0)) {
      held[laneOf(due)].delete(due.job.key);
      return due;
    }
    return ready.shift() ?? null;
  }

  function inHand(): Set<string> {
    return new Set([
      ...running.keys(),
      ...LANES.flatMap((lane) => [...held[lane].keys()]),
      ...ready.map((item) => item.job.key),
    ]);
  }

  async function refill(): Promise<void> {
    refilling = true;
    spoolMayHaveMore = false;
    try {
      const jobs = await spool.dueAnalyses(now(), BATCH, inHand());
      for (const job of jobs) ready.push({ job, step: "advance", dueAt: job.nextAt });
      if (jobs.length === BATCH) spoolMayHaveMore = true;
      else spoolNextAt = await spool.nextAnalysisAt(inHand());
      refillFaults = 0;
      refillAt = jobs.length === 0 ? now() + 20 : 0;
    } catch (thrown) {
      refillFaults += 1;
      refillAt = now() + backoff(refillFaults, 500, 10_000, random);
      spoolMayHaveMore = true;
      noteError(asSensorError(thrown), "analyses cannot be read from the spool");
    } finally {
      refilling = false;
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
    if (reads.pass(ticket)) log.info("VMRay answers again");
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
    const tripped = gate.trip(reason, ticket, now(), wait);
    lastError = { code: error.code, at: now() };
    if (tripped.news) log.warn("calls to VMRay pause", { reason, calls: kind, ...faultFields(error) });
    return tripped;
  }

  /** VMRay answered a submission, with whatever. */
  function passSubmit(tickets: Tickets): void {
    if (submits.pass(tickets.submits)) log.info("VMRay takes submissions again");
  }

  function noteError(error: SensorError, msg: string, item?: Item): void {
    lastError = { code: error.code, at: now() };
    log.warn(msg, { ...(item === undefined ? {} : logFields(item.job)), ...faultFields(error) });
  }

  // one step of one analysis

  async function run(item: Item): Promise<void> {
    const tickets = { reads: reads.ticket(), submits: submits.ticket() };
    const kind = item.step === "submit" ? "submits" : "reads";
    try {
      await apply(item, await step(item, tickets));
    } catch (thrown) {
      await recover(item, asSensorError(thrown), kind, tickets);
    } finally {
      running.delete(item.job.key);
      spoolMayHaveMore = true;
    }
  }

  async function step(item: Item, tickets: Tickets): Promise<Next> {
    const { job } = item;
    const signal = ending.reads.signal;
    if (job.artifact.decision.action === "skip") return skipped(job);
    if (item.step === "submit") return submit(item, tickets);
    let next: Next;
    if (job.progress.state === "submitted") {
      counts.polls += 1;
      const limits = { now: now(), giveUpAfter: settings.give_up_after };
      next = await poll(client, job, job.progress, limits, signal);
      item.job = { ...job, faults: 0 };
    } else {
      counts.lookups += 1;
      next = await lookUp(client, job, now(), signal);
    }
    reads.pass(tickets.reads);
    return next;
  }

  /** Commits the outcome of a step and puts the analysis where it waits for the next one. */
  async function apply(item: Item, next: Next): Promise<void> {
    const at = now();
    switch (next.kind) {
      case "finish":
        return finish(item, next.verdict, next.lasting);
      case "submit":
        return hold(item, "submit", at);
      case "follow": {
        item.job = { ...item.job, progress: next.progress, faults: 0 };
        await commit(() => spool.recordProgress(item.job.key, next.progress, at, 0));
        log.debug("submission followed", {
          ...logFields(item.job),
          submission_id: next.progress.submissionIds[0],
          submissions: next.progress.submissionIds.length,
        });
        // Cached analyses and reputation are done at once.
        return hold(item, "advance", now() + jittered(settings.poll_interval / 4));
      }
      case "wait":
        return hold(item, "advance", at + pollDelay(item.job.progress, at));
    }
  }

  async function submit(item: Item, tickets: Tickets): Promise<Next> {
    const { job } = item;
    const file = job.artifact.kind === "attachment";
    submitting += 1;
    if (file) uploads += 1;
    try {
      const answer = await (file ? upload(item) : post(item, (correlation) => sendUrl(job, correlation)));
      if (answer === null)
        return failed("the raw mail is no longer kept, so its attachment cannot be submitted");
      passSubmit(tickets);
      return await afterSubmit(client, item.job, answer, now(), ending.posts.signal);
    } finally {
      submitting -= 1;
      if (file) uploads -= 1;
    }
  }

  /** Null where the mail no longer has the content. */
  async function upload(item: Item): Promise<SubmitAnswer | null> {
    const { artifact, mailId } = item.job;
    if (artifact.kind !== "attachment") throw new SensorError("INTERNAL", "only files are uploaded");
    const { sha256, size, filename, type } = artifact.attachment;
    const isDocument = groupOf(type, extensionOf(filename)) === "documents";
    const value = artifact.attachment.password;
    const password =
      value === null ? undefined : ({ of: isDocument ? "document" : "archive", value } as const);
    tempSeq += 1;
    const path = join(options.tempDir, `content-${sha256}-${tempSeq}`);
    try {
      await (await open(path, "wx", 0o600)).close();
      if (!(await options.writeContent(mailId, sha256, path))) return null;
      const written = (await stat(path)).size;
      if (written !== size) {
        throw new SensorError("INTERNAL", `a content of ${size} bytes came out of the mail with ${written}`);
      }
      return await post(item, (correlation) =>
        client.submitFile(
          { ...howSubmitted(item.job, correlation), path, size, filename, password },
          ending.posts.signal,
        ),
      );
    } catch (thrown) {
      throw diskFault(thrown);
    } finally {
      await rm(path, { force: true });
    }
  }

  function sendUrl(job: AnalysisJob, correlation: string): Promise<SubmitAnswer> {
    if (job.artifact.kind !== "url") throw new SensorError("INTERNAL", "only URLs are sent as URLs");
    return client.submitUrl(
      { ...howSubmitted(job, correlation), url: job.artifact.url.normalized },
      ending.posts.signal,
    );
  }

  /** Commits that the POST may have been sent, then sends it. */
  async function post(
    item: Item,
    send: (correlation: string) => Promise<SubmitAnswer>,
  ): Promise<SubmitAnswer> {
    if (stopping) throw new Stopping();
    const progress: AnalysisProgress = { state: "submitting" };
    if (item.job.progress.state !== "submitting") {
      await commit(() => spool.recordProgress(item.job.key, progress, now(), item.job.faults));
      item.job = { ...item.job, progress };
    }
    counts.submissions += 1;
    return send(correlationId(item.job));
  }

  async function finish(item: Item, verdict: ContentVerdict, lasting: boolean): Promise<void> {
    const ttl = verdict.verdict === "not_available" ? settings.cache.clean : settings.cache[verdict.verdict];
    const validUntil = lasting && verdict.outcome === "judged" ? now() + ttl : null;
    await commit(() => spool.finishAnalysis(item.job.key, verdict, validUntil));
    counts[verdict.outcome === "failed" ? "failed" : "finished"] += 1;
    log.info("content judged", {
      ...logFields(item.job),
      outcome: verdict.outcome,
      verdict: verdict.verdict,
      reason: verdict.reason,
      sample_id: verdict.vmray?.sample_id,
      submission_id: verdict.vmray?.submission_id,
      ms: now() - item.job.createdAt,
    });
  }

  /** Keeps an analysis for its next step, in memory, or in the spool where that holds enough. */
  async function hold(item: Item, step: Item["step"], dueAt: number): Promise<void> {
    item.step = step;
    item.dueAt = dueAt;
    const lane = laneOf(item);
    if (held[lane].size < MAX_HELD) {
      held[lane].set(item.job.key, item);
      return;
    }
    // What waits to be submitted is looked up anew then; what needs less must not queue behind it.
    const nextAt = lane === "advance" ? dueAt : now() + jittered(SUBMIT_WAIT);
    await commit(() => spool.recordProgress(item.job.key, item.job.progress, nextAt, item.job.faults));
  }

  /** What a fault means for this analysis and for the whole pool. Throws nothing. */
  async function recover(
    item: Item,
    error: SensorError,
    kind: "reads" | "submits",
    tickets: Tickets,
  ): Promise<void> {
    if (stopping) return; // the spool has it as it stands
    try {
      if (error.code === "VMRAY_REFUSED") {
        if (kind === "submits") passSubmit(tickets);
        return await apply(item, failed(error.message));
      }
      const blamed = meetFault(item, error, kind, tickets);
      if (blamed) item.job = { ...item.job, faults: item.job.faults + 1 };
      const { key, progress, faults } = item.job;
      if (faults >= MAX_FAULTS) {
        return await apply(item, failed(`given up after ${faults} faults: ${error.message}`));
      }
      const faultsInRow = Math.max(faults, submits.faults(), reads.faults());
      const dueAt = now() + backoff(faultsInRow + 1, timing.faultFirst, timing.faultMax, random);
      if (blamed) await commit(() => spool.recordProgress(key, progress, dueAt, faults));
      await hold(item, "advance", dueAt);
    } catch (thrown) {
      // Only the end of the sensor gets here; anything else is a mistake of ours that must not stop the pool.
      if (stopping) return;
      noteError(asSensorError(thrown), "an analysis could not be put back", item);
      held.advance.set(item.job.key, { ...item, step: "advance", dueAt: now() + timing.faultMax });
    }
  }

  /** Shuts the gate a fault belongs to. True where the fault is this content's own. */
  function meetFault(item: Item, error: SensorError, kind: "reads" | "submits", tickets: Tickets): boolean {
    switch (error.code) {
      case "VMRAY_THROTTLED":
        trip("reads", error, tickets.reads);
        return false;
      case "VMRAY_AUTH":
      case "VMRAY_UNREACHABLE":
      case "VMRAY_ANSWER":
        return trip(kind, error, tickets[kind]).others;
      default:
        noteError(error, "a step of an analysis failed", item);
        return !SPOOL_FAULTS.has(error.code);
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

  function pollDelay(progress: AnalysisProgress, at: number): number {
    const elapsed = progress.state === "submitted" ? at - progress.submittedAt : 0;
    const stretched = Math.min(elapsed / 10, settings.poll_interval * MAX_STRETCH);
    return jittered(Math.max(settings.poll_interval, stretched));
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
      open: inHand().size,
      paused: reads.reason() ?? (submits.state(now()) === "shut" ? submits.reason() : null),
      lastError,
      counts: { ...counts },
    }),
  };
}

function laneOf(item: Item): Lane {
  if (item.step === "advance") return "advance";
  return item.job.artifact.kind === "url" ? "send" : "upload";
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

function diskFault(thrown: unknown): unknown {
  const code = thrown instanceof Error && "code" in thrown ? thrown.code : undefined;
  return code === "ENOSPC" || code === "EDQUOT"
    ? new SensorError("SPOOL_FULL", "no room for a content on its way to VMRay", { cause: thrown })
    : thrown;
}

/** Makes the folder, for us alone, and removes what a crash left in it. */
function prepareTempDir(path: string): void {
  try {
    mkdirSync(path, { recursive: true, mode: 0o700 });
    chmodSync(path, 0o700);
    for (const name of readdirSync(path)) {
      if (TEMP_NAME.test(name)) rmSync(join(path, name), { force: true });
    }
  } catch (cause) {
    throw new SensorError("SPOOL_BROKEN", `the folder ${path} cannot be used for contents on their way`, {
      cause,
    });
  }
}
