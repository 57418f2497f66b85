/**
 * The pool of helper processes that take mails apart: hostile bytes are parsed there, never in this process.
 *
 * In go raw mails, out come extractions, or the bytes of one content in a file. A helper that crashes, hangs,
 * grows or answers anything but an answer is killed with SIGKILL; that costs the mail it had, and no other,
 * since a helper has one mail at a time. A mail that takes long leaves its place to the next one: as many mails again
 * are worked on beside the others, at the lowest priority. Faults are SensorError EXTRACT_CRASHED, EXTRACT_TIMEOUT, EXTRACT_MEMORY
 * and EXTRACT_FAILED, which count against the mail, and EXTRACT_UNAVAILABLE, which does not.
 */
import { readFileSync } from "node:fs";
import { constants, setPriority } from "node:os";
import type { Config } from "../config/schema.ts";
import { asSensorError, type ErrorCode, SensorError } from "../errors.ts";
import type { RawMail } from "../intake/mail.ts";
import { faultFields, type Log } from "../log.ts";
import { boundsOf } from "./bounds.ts";
import type { Following } from "./content-files.ts";
import type { Extraction } from "./extraction.ts";
import {
  createByteQueue,
  frame,
  type HelperAnswer,
  type HelperRequest,
  MAX_FRAME,
  readAnswer,
  type SentMail,
} from "./helper-protocol.ts";

export type ExtractPoolOptions = Omit<Config["extract"], "attempts"> & {
  /** What starts a helper; this program where it is left out. */
  readonly command?: readonly string[];
  /** Milliseconds after which a helper with nothing to do is stopped. */
  readonly idleAfter?: number;
  /** Milliseconds after which a mail counts as slow while others wait. */
  readonly slowAfter?: number;
  /** Milliseconds that a process has waited for a processor since its start; what the kernel says where left out. */
  readonly waitedForCpu?: (pid: number) => number;
  /** Mails that may wait for a helper; more are refused with EXTRACT_UNAVAILABLE. */
  readonly maxWaiting?: number;
};

export type ExtractPoolStats = {
  readonly helpers: number;
  readonly busy: number;
  /** Those of `busy` that work on a slow mail. */
  readonly slow: number;
  readonly waiting: number;
  /** Mails that were taken apart, and that were not, since the pool was made. */
  readonly done: number;
  readonly failed: number;
  /** Helpers that were killed because of a mail. */
  readonly killed: number;
};

export type ExtractOptions = {
  readonly signal?: AbortSignal;
  /** A folder that the bytes of every attachment are written to, as SHA-256. */
  readonly contentsTo?: string | undefined;
  /** Recipients that the mail had in SMTP. */
  readonly copiedTo?: readonly string[];
  /** Called when a helper gets the mail, which may be a while after the call; what it throws fails the job. */
  readonly begun?: () => void;
};

export type WriteOptions = Pick<ExtractOptions, "signal"> & {
  readonly following?: Following;
};

export type ExtractPool = {
  readonly extract: (raw: RawMail, options?: ExtractOptions) => Promise<Extraction>;
  /**
   * Writes the content with this SHA-256 (hex) out of a mail to the file `toPath`, mode 0600. False where the
   * mail has no such content: no file then. Contents after it are written as far as `following` says.
   */
  readonly writeContent: (
    raw: RawMail,
    sha256: string,
    toPath: string,
    options?: WriteOptions,
  ) => Promise<boolean>;
  readonly stats: () => ExtractPoolStats;
  /** Kills every helper and fails what is in work with EXTRACT_UNAVAILABLE. */
  readonly close: () => Promise<void>;
};

const IDLE_AFTER = 30_000;
const SLOW_AFTER = 1000;
/** How many times the time for a mail may pass where its helper waits for a processor that other programs have. */
const MOST_STARVED = 10;
const MAX_WAITING = 1000;
const START_TIMEOUT = 20_000;
const WATCH_INTERVAL = 50;

type Job = {
  readonly request: HelperRequest;
  readonly body: Uint8Array | null;
  readonly signal: AbortSignal | undefined;
  begun: (() => void) | undefined;
  /** It has a place among the slow ones, or waits for one. */
  slow: boolean;
  readonly resolve: (answer: HelperAnswer) => void;
  readonly reject: (reason: unknown) => void;
};

type Lane = "extract" | "write";
/** "slow": it was stopped, and waits for a place among the slow ones. */
type Outcome = "over" | "slow";

export function createExtractPool(options: ExtractPoolOptions, log: Log): ExtractPool {
  const { helpers: maxHelpers, timeout, memory } = options;
  const { command = helperCommand(), idleAfter = IDLE_AFTER, maxWaiting = MAX_WAITING } = options;
  const { slowAfter = SLOW_AFTER, waitedForCpu = waitedForProcessor } = options;
  const bounds = boundsOf(options);
  const waiting: Readonly<Record<Lane | "slow", Job[]>> = { extract: [], write: [], slow: [] };
  const countWaiting = (): number => waiting.extract.length + waiting.write.length + waiting.slow.length;
  const helpers = new Set<Helper>();
  const idle: { readonly helper: Helper; readonly timer: Timer }[] = [];
  const counts = { busy: 0, slow: 0, done: 0, failed: 0, killed: 0 };
  let turn: Lane = "extract";
  let closed = false;
  let warned = false;

  const watch = createWatch(timeout, memory, slowAfter, waitedForCpu);

  /**
   * A slow job, or else the one that waited longest, of the two lanes in turn, so that neither waits for the whole
   * of the other.
   */
  function nextJob(): Job | undefined {
    if (counts.slow < maxHelpers && waiting.slow.length > 0) return waiting.slow.shift();
    if (counts.busy - counts.slow >= maxHelpers) return undefined;
    const other: Lane = turn === "extract" ? "write" : "extract";
    const lane = waiting[other].length > 0 ? other : turn;
    turn = lane;
    return waiting[lane].shift();
  }

  function dispatch(): void {
    for (let job = nextJob(); job !== undefined; job = nextJob()) {
      const taken = job;
      counts.busy++;
      if (taken.slow) counts.slow++;
      work(taken).then((outcome) => {
        counts.busy--;
        if (taken.slow) counts.slow--;
        if (outcome === "slow") {
          taken.slow = true;
          waiting.slow.push(taken);
        }
        dispatch();
      });
    }
  }

  /** Called again and again for a job that takes long. "stop" where it cannot go on now. */
  function makeRoom(job: Job, helper: Helper): "go on" | "stop" {
    if (job.slow || waiting.extract.length + waiting.write.length === 0) return "go on";
    if (counts.slow >= maxHelpers) return "stop";
    job.slow = true;
    counts.slow++;
    helper.stepBack();
    dispatch();
    return "go on";
  }

  /** Runs one job to its end, whatever that is, or until it has to wait; never rejects. */
  async function work(job: Job): Promise<Outcome> {
    let helper: Helper;
    try {
      helper = takeIdle() ?? (await start());
    } catch (thrown) {
      job.reject(thrown);
      return "over";
    }
    if (job.slow) helper.stepBack();
    let stopped = false;
    const abort = (): void => helper.kill("EXTRACT_UNAVAILABLE", "was called off");
    job.signal?.addEventListener("abort", abort);
    watch.add(helper, () => {
      if (makeRoom(job, helper) === "go on") return;
      stopped = true;
      helper.kill("EXTRACT_UNAVAILABLE", "was needed for other mails");
    });
    const begin = performance.now();
    try {
      if (job.signal?.aborted === true) abort();
      job.begun?.();
      job.begun = undefined;
      const answer = await helper.ask(job.request, job.body);
      if (answer.kind === "failed") throw new SensorError("EXTRACT_FAILED", answer.message);
      counts.done++;
      job.resolve(answer);
    } catch (thrown) {
      const fault = asSensorError(thrown);
      if (stopped && !closed && fault === helper.fault() && job.signal?.aborted !== true) return "slow";
      if (fault.code !== "EXTRACT_UNAVAILABLE") counts.failed++;
      job.reject(job.signal?.aborted === true ? job.signal.reason : fault);
    } finally {
      job.signal?.removeEventListener("abort", abort);
      watch.delete(helper);
    }
    if (helper.dead()) {
      counts.killed++;
    } else if (
      closed ||
      job.slow ||
      (performance.now() - begin > WATCH_INTERVAL && residentMemory(helper.pid) > memory / 2)
    ) {
      // A helper does not give memory back, nor can it take its priority back: a fresh one takes its place.
      helper.kill("EXTRACT_UNAVAILABLE", "was stopped");
    } else {
      putIdle(helper);
    }
    return "over";
  }

  async function start(): Promise<Helper> {
    if (closed) throw new SensorError("EXTRACT_UNAVAILABLE", "the pool of helpers is closed");
    const helper = spawned(command);
    helpers.add(helper);
    helper.exited.then(() => {
      helpers.delete(helper);
      dropIdle(helper);
      const fault = helper.fault();
      if (fault !== null && fault.code !== "EXTRACT_UNAVAILABLE") log.warn("helper died", faultFields(fault));
    });
    const timer = setTimeout(
      () => helper.kill("EXTRACT_UNAVAILABLE", "did not start in time"),
      START_TIMEOUT,
    );
    try {
      if (!(await helper.ready) && !warned) {
        warned = true;
        log.warn("the kernel has no seccomp filters: helpers are not kept from the network");
      }
    } catch (cause) {
      throw new SensorError("EXTRACT_UNAVAILABLE", "an extraction helper does not start", { cause });
    } finally {
      clearTimeout(timer);
    }
    return helper;
  }

  function takeIdle(): Helper | null {
    // The one used last, so that those not needed grow old.
    const entry = idle.pop();
    if (entry === undefined) return null;
    clearTimeout(entry.timer);
    return entry.helper;
  }

  function putIdle(helper: Helper): void {
    const timer = setTimeout(() => {
      dropIdle(helper);
      helper.kill("EXTRACT_UNAVAILABLE", "had nothing to do");
    }, idleAfter);
    idle.push({ helper, timer });
  }

  function dropIdle(helper: Helper): void {
    const at = idle.findIndex((entry) => entry.helper === helper);
    if (at >= 0) clearTimeout(idle.splice(at, 1)[0]?.timer);
  }

  function submit(
    lane: Lane,
    request: HelperRequest,
    raw: RawMail,
    { signal, begun }: Pick<ExtractOptions, "signal" | "begun">,
  ): Promise<HelperAnswer> {
    if (signal?.aborted === true) return Promise.reject(signal.reason);
    if (closed || countWaiting() >= maxWaiting) {
      const why = closed
        ? "the pool of helpers is closed"
        : `more than ${maxWaiting} mails wait for a helper`;
      return Promise.reject(new SensorError("EXTRACT_UNAVAILABLE", why));
    }
    const { promise, resolve, reject } = Promise.withResolvers<HelperAnswer>();
    const body = raw.kind === "inline" ? raw.bytes : null;
    const job: Job = { request, body, signal, begun, slow: false, resolve, reject };
    const leave = (): void => {
      for (const jobs of [waiting[lane], waiting.slow]) {
        const at = jobs.indexOf(job);
        if (at < 0) continue;
        jobs.splice(at, 1);
        reject(signal?.reason);
      }
    };
    signal?.addEventListener("abort", leave, { once: true });
    waiting[lane].push(job);
    dispatch();
    return promise.finally(() => signal?.removeEventListener("abort", leave));
  }

  return {
    async extract(raw, options = {}) {
      const request = {
        kind: "extract",
        mail: sentMail(raw),
        bounds,
        contentsTo: options.contentsTo ?? null,
        copiedTo: options.copiedTo ?? [],
      } as const;
      const answer = await submit("extract", request, raw, options);
      if (answer.kind !== "extracted") throw new SensorError("INTERNAL", "no answer to extract");
      return answer.extraction;
    },
    async writeContent(raw, sha256, toPath, options = {}) {
      const request = {
        kind: "write",
        mail: sentMail(raw),
        bounds,
        sha256,
        path: toPath,
        following: options.following ?? null,
      } as const;
      const answer = await submit("write", request, raw, options);
      if (answer.kind !== "written") throw new SensorError("INTERNAL", "no answer to write");
      return answer.found;
    },
    stats: () => ({
      helpers: helpers.size,
      waiting: countWaiting(),
      ...counts,
    }),
    async close() {
      closed = true;
      const reason = new SensorError("EXTRACT_UNAVAILABLE", "the pool of helpers is closed");
      for (const jobs of Object.values(waiting)) for (const job of jobs.splice(0)) job.reject(reason);
      const all = [...helpers];
      for (const helper of all) helper.kill("EXTRACT_UNAVAILABLE", "was stopped");
      await Promise.all(all.map((helper) => helper.exited));
      watch.stop();
    },
  };
}

function sentMail(raw: RawMail): SentMail {
  return raw.kind === "inline" ? { kind: "inline", size: raw.bytes.length } : raw;
}

/** This program, as a helper; from source that is bun and the path of main.ts. */
export function helperCommand(): readonly string[] {
  const compiled = import.meta.path.startsWith("/$bunfs/");
  const main = compiled ? [] : [new URL("../main.ts", import.meta.url).pathname];
  return [process.execPath, ...main, "extract-helper"];
}

/** Throws EXTRACT_UNAVAILABLE where the system lets no process be started. */
function spawned(command: readonly string[]): Helper {
  try {
    return spawnHelper(command);
  } catch (cause) {
    throw new SensorError("EXTRACT_UNAVAILABLE", "an extraction helper does not start", { cause });
  }
}

/** A helper process and the talk with it. */
type Helper = {
  readonly pid: number;
  /** Resolves when it says HELLO, to whether it is isolated; rejects where it dies before. */
  readonly ready: Promise<boolean>;
  readonly exited: Promise<void>;
  /** One request at a time. Rejects with the fault where the helper dies or is killed. */
  readonly ask: (request: HelperRequest, body: Uint8Array | null) => Promise<HelperAnswer>;
  /** Lowers its priority as far as it goes. */
  readonly stepBack: () => void;
  /** Ends it at once; the first reason given is its fault. */
  readonly kill: (code: ErrorCode, why: string) => void;
  readonly dead: () => boolean;
  readonly fault: () => SensorError | null;
};

function spawnHelper(command: readonly string[]): Helper {
  const child = Bun.spawn([...command], {
    stdin: "pipe",
    stdout: "pipe",
    // What a dying helper prints may be text of a mail, which belongs in no log.
    stderr: "ignore",
    env: {},
    cwd: "/",
  });
  let fault: SensorError | null = null;
  let gone = false;
  let expected = Promise.withResolvers<HelperAnswer>();
  let asked = true;
  // Nobody may be asking when it dies.
  expected.promise.catch(() => {});

  const kill = (code: ErrorCode, why: string): void => {
    fault ??= new SensorError(code, `an extraction helper ${why}`);
    gone = true;
    child.kill("SIGKILL");
  };

  async function listen(): Promise<void> {
    const queue = createByteQueue();
    for await (const chunk of child.stdout) {
      queue.push(chunk);
      for (let length = queue.frameLength(); length !== null; length = queue.frameLength()) {
        if (length > MAX_FRAME) return kill("EXTRACT_CRASHED", "answered too much");
        if (queue.length() < 4 + length) break;
        queue.take(4);
        const answer = readAnswer(queue.take(length));
        if (answer === null || !asked) return kill("EXTRACT_CRASHED", "answered what is no answer");
        asked = false;
        expected.resolve(answer);
      }
      if (!asked && queue.length() > 0) return kill("EXTRACT_CRASHED", "answered without being asked");
    }
  }
  const exited = listen()
    .catch((thrown: unknown) => kill("EXTRACT_CRASHED", `cannot be read: ${asSensorError(thrown).message}`))
    .then(async () => {
      // A helper that closes its stdout and lives on is of no use.
      child.kill("SIGKILL");
      await child.exited;
      gone = true;
      fault ??= new SensorError("EXTRACT_CRASHED", `an extraction helper died (${exitOf(child)})`);
      expected.reject(fault);
    });

  return {
    pid: child.pid,
    ready: expected.promise.then((answer) => {
      if (answer.kind === "hello") return answer.isolated;
      kill("EXTRACT_CRASHED", "did not say hello");
      throw fault;
    }),
    exited,
    kill,
    stepBack() {
      try {
        setPriority(child.pid, constants.priority.PRIORITY_LOW);
      } catch (thrown) {
        if (!isGone(thrown)) throw thrown;
      }
    },
    dead: () => gone,
    fault: () => fault,
    async ask(request, body) {
      if (gone) throw fault ?? new SensorError("EXTRACT_CRASHED", "an extraction helper died");
      expected = Promise.withResolvers();
      asked = true;
      const { promise } = expected;
      child.stdin.write(frame(request));
      if (body !== null) child.stdin.write(body);
      // Where it does not read to the end it has died, or is killed for the time it takes: `promise` says so.
      Promise.resolve(child.stdin.flush()).catch(() => {});
      const answer = await promise;
      if (answer.kind !== ANSWERS[request.kind] && answer.kind !== "failed") {
        kill("EXTRACT_CRASHED", "answered another question");
        throw fault;
      }
      return answer;
    },
  };
}

const ANSWERS = { extract: "extracted", write: "written" } as const;

function exitOf(child: Bun.Subprocess): string {
  return child.signalCode === null ? `exit code ${child.exitCode}` : `signal ${child.signalCode}`;
}

/**
 * Kills a helper that works on a mail for longer than `timeout` ms or has more than `memory` bytes resident; after
 * `slowAfter` ms it says so each time it looks. Helpers give way to all else: on a busy machine, what one waits for a
 * processor is not the doing of its mail and does not count. One timer looks after all of them; it runs on for a while
 * when there is nothing to watch, since mails come in rows.
 */
function createWatch(
  timeout: number,
  memory: number,
  slowAfter: number,
  waitedForCpu: (pid: number) => number,
) {
  const watched = new Map<
    Helper,
    { readonly begin: number; readonly waitedBefore: number; readonly onSlow: () => void }
  >();
  let timer: Timer | null = null;
  let quiet = 0;
  const stop = (): void => {
    if (timer !== null) clearInterval(timer);
    timer = null;
  };
  const look = (): void => {
    const now = performance.now();
    for (const [helper, { begin, waitedBefore, onSlow }] of watched) {
      const passed = now - begin;
      const took =
        passed > Math.min(timeout, slowAfter) ? passed - (waitedForCpu(helper.pid) - waitedBefore) : passed;
      if (took > timeout || passed > MOST_STARVED * timeout) {
        helper.kill("EXTRACT_TIMEOUT", `took longer than ${timeout} ms`);
      } else if (passed >= WATCH_INTERVAL && residentMemory(helper.pid) > memory) {
        helper.kill("EXTRACT_MEMORY", `needed more than ${memory} bytes`);
      } else if (took > slowAfter) onSlow();
    }
    quiet = watched.size === 0 ? quiet + 1 : 0;
    if (quiet > 20) stop();
  };
  return {
    add(helper: Helper, onSlow: () => void): void {
      watched.set(helper, {
        begin: performance.now(),
        waitedBefore: waitedForCpu(helper.pid),
        onSlow,
      });
      timer ??= setInterval(look, WATCH_INTERVAL);
    },
    delete(helper: Helper): void {
      watched.delete(helper);
    },
    stop,
  };
}

/**
 * Resident bytes of a process, 0 where it is gone (proc(5): VmRSS, in kB). A limit on the address space
 * (RLIMIT_AS) would not do: the JavaScript engine reserves far more than it uses.
 */
function residentMemory(pid: number): number {
  try {
    const status = readFileSync(`/proc/${pid}/status`, "latin1");
    return Number(/^VmRSS:\s+(\d+) kB/m.exec(status)?.[1] ?? 0) * 1024;
  } catch (thrown) {
    if (isGone(thrown)) return 0;
    throw thrown;
  }
}

/** Whether there is no such process any more. */
/**
 * Milliseconds that a process was ready to run and another one ran (proc(5): the second number of schedstat, in ns). 0
 * where it is gone, or where the kernel does not count that.
 */
export function waitedForProcessor(pid: number): number {
  try {
    return Number(readFileSync(`/proc/${pid}/schedstat`, "latin1").split(" ")[1]) / 1e6;
  } catch (thrown) {
    if (isGone(thrown)) return 0;
    throw thrown;
  }
}

function isGone(thrown: unknown): boolean {
  return thrown instanceof Error && "code" in thrown && (thrown.code === "ENOENT" || thrown.code === "ESRCH");
}
