/**
 * The analyses in hand: those in memory, lane by lane, and what the spool may hold beside them.
 *
 * What is in hand may be further on than the spool knows, so it is never taken out of it again. A lane that runs low is
 * filled from the spool, most urgent first; what has no room in memory goes back there.
 */
import { asSensorError, type SensorError } from "../errors.ts";
import { ANALYSIS_LANES, type AnalysisLane, type Spool } from "../spool/spool.ts";
import { backoff } from "./gate.ts";
import { type Item, itemOf } from "./item.ts";
import { createSchedule } from "./schedule.ts";

export type LanesOptions = {
  readonly spool: Pick<Spool, "dueAnalyses" | "urgencies" | "nextAnalysisAt">;
  readonly concurrency: number;
  readonly note: (error: SensorError, msg: string) => void;
  readonly now: () => number;
  readonly random: () => number;
};

export type Lanes = {
  /** Takes the next one for its step, of a lane that may go on; it is in work until it is released. */
  take(at: number, may: (lane: AnalysisLane) => boolean): Item | null;
  /** Steps being taken. */
  working(): number;
  /** True where one more step may be taken. */
  hasRoom(): boolean;
  /** In work once more, so that it is not taken out of the spool meanwhile. */
  keep(item: Item): void;
  /** No longer in work: it is decided, or waits. */
  release(item: Item): void;
  /** Puts one into memory; gives the one that has no room there, perhaps itself. */
  put(item: Item): Item | null;
  /** The spool has new analyses. */
  arrived(): void;
  /** VMRay finished the submissions of these: their verdicts can be read. */
  finished(keys: readonly string[]): void;
  /** True where VMRay finished its submissions while it was in work. */
  finishedMeanwhile(item: Item): boolean;
  /** True where the lane runs low, or what just came in may be more urgent than what is in hand. */
  mayFill(lane: AnalysisLane, at: number): boolean;
  fill(lane: AnalysisLane): Promise<void>;
  mayReadUrgency(at: number): boolean;
  /** A mail that came since may want what is in hand sooner than the mail it was taken for. */
  readUrgency(at: number): Promise<void>;
  /** Reads how urgent these are now. */
  raise(items: readonly Item[]): Promise<void>;
  /** True where submissions are waited for, in memory or in the spool. */
  anySubmitted(): boolean;
  /** When something here is due next, those before `at` included but for steps. */
  nextAt(at: number): readonly number[];
  /** Those in memory that take no step. */
  waiting(): Readonly<Record<AnalysisLane, number>>;
};

/** Analyses of one lane kept in memory between steps; the rest wait in the spool. */
const MAX_HELD = 512;
/** Analyses of one lane taken out of the spool at a time, for each slot: the spool may be busy for some calls' time. */
const TAKEN_AHEAD = 8;
/** And at most so many where there are enough in hand, to see whether what is new is more urgent. */
const FRESH = 32;
/** Steps whose outcome is being committed, for each slot: their calls are done, so they take none. */
const SETTLING = 3;
/** Between two looks into the spool that found nothing. */
const REFILL_PAUSE = 20;
/** Between two looks whether what is in hand has become more urgent. */
const URGENCY_PAUSE = 250;

const QUEUED_LANES: readonly AnalysisLane[] = ["look", "send", "upload"];
const SUBMITTED_LANES: readonly AnalysisLane[] = ["poll", "read"];

/** What the spool may hold of a lane beside what is in memory. */
type Beyond = { more: boolean; fresh: boolean; filling: boolean; nextAt: number | null; retryAt: number };

const unread = (): Beyond => ({ more: true, fresh: false, filling: false, nextAt: null, retryAt: 0 });

export function createLanes({ spool, concurrency, note, now, random }: LanesOptions): Lanes {
  const batch = Math.min(MAX_HELD, Math.max(64, TAKEN_AHEAD * concurrency));
  const schedule = createSchedule<Item>(MAX_HELD);
  const running = new Map<string, Item>();
  /** Keys of those in work whose submissions VMRay finished meanwhile. */
  const toldWhileRunning = new Set<string>();
  const beyond: Readonly<Record<AnalysisLane, Beyond>> = {
    look: unread(),
    send: unread(),
    upload: unread(),
    poll: unread(),
    read: unread(),
  };
  let fillFaults = 0;
  /** Mails came in since the urgency of what is in hand was read; it is read again at that time. */
  const urgency = { stale: false, reading: false, at: 0 };

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

  return {
    take(at, may) {
      const item = schedule.take(at, may);
      if (item !== null) running.set(item.key, item);
      return item;
    },
    working: () => running.size,
    hasRoom: () => running.size < concurrency * (1 + SETTLING),
    keep: (item) => void running.set(item.key, item),
    release(item) {
      running.delete(item.key);
      toldWhileRunning.delete(item.key);
    },
    put,
    arrived() {
      beyond.look.more = true;
      beyond.look.fresh = true;
      urgency.stale = true;
    },
    finished(keys) {
      for (const key of keys) {
        const item = schedule.remove(key);
        if (item !== null) put({ ...item, lane: item.lane === "poll" ? "read" : item.lane, dueAt: 0 });
        else if (running.has(key)) toldWhileRunning.add(key);
        else beyond.read.more = true;
      }
    },
    finishedMeanwhile: ({ key }) => toldWhileRunning.has(key),
    mayFill(lane, at) {
      const there = beyond[lane];
      if (there.nextAt !== null && there.nextAt <= at) {
        there.nextAt = null;
        there.more = true;
      }
      if (!there.more || there.filling || there.retryAt > at) return false;
      return there.fresh || schedule.size(lane) < batch / 2;
    },
    async fill(lane) {
      const there = beyond[lane];
      const held = schedule.size(lane);
      const limit = held < batch / 2 ? batch - held : Math.min(batch, FRESH);
      there.filling = true;
      there.more = false;
      there.fresh = false;
      try {
        const jobs = await spool.dueAnalyses(now(), limit, inHand(lane), lane);
        const meanwhile = inHand(lane);
        for (const job of jobs) if (!meanwhile.has(job.key)) put(itemOf(job, lane));
        if (jobs.length >= limit) there.more = true;
        else there.nextAt = await spool.nextAnalysisAt(inHand(lane), lane);
        fillFaults = 0;
        there.retryAt = now() + REFILL_PAUSE;
      } catch (thrown) {
        fillFaults += 1;
        there.retryAt = now() + backoff(fillFaults, 500, 10_000, random);
        there.more = true;
        note(asSensorError(thrown), "analyses cannot be read from the spool");
      } finally {
        there.filling = false;
      }
    },
    mayReadUrgency: (at) => urgency.stale && !urgency.reading && urgency.at <= at,
    async readUrgency(at) {
      urgency.reading = true;
      urgency.stale = false;
      urgency.at = at + URGENCY_PAUSE;
      try {
        const items = [...running.values(), ...schedule.entries(QUEUED_LANES)];
        await raise(items.filter(({ job }) => job.progress.state !== "submitted"));
      } catch (thrown) {
        urgency.stale = true;
        note(asSensorError(thrown), "how urgent analyses are cannot be read from the spool");
      } finally {
        urgency.reading = false;
      }
    },
    raise,
    anySubmitted: () => schedule.size("poll") > 0 || beyond.poll.more || beyond.poll.nextAt !== null,
    nextAt: (at) =>
      [
        schedule.nextDue(at),
        ...ANALYSIS_LANES.flatMap((lane) => [beyond[lane].nextAt, beyond[lane].retryAt]),
        urgency.stale ? urgency.at : null,
      ].filter((each) => each !== null),
    waiting: () => ({
      look: schedule.size("look"),
      send: schedule.size("send"),
      upload: schedule.size("upload"),
      poll: schedule.size("poll"),
      read: schedule.size("read"),
    }),
  };
}
