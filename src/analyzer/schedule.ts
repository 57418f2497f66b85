/**
 * The order in which analyses in memory take their next steps. Pure: it holds entries and gives one out at a time.
 *
 * Entries wait in lanes, by what they wait for, and lanes take turns, so that none stands behind another. In a lane the
 * most urgent priority comes first and in it the smallest turn, which the spool sets by age, risk and the mail's share;
 * every eighth goes to the smallest turn of any priority, so that none starves. In `poll`, what is due first is first.
 */
import { ANALYSIS_LANES, type AnalysisLane } from "../spool/spool.ts";

export type Waiting = {
  readonly key: string;
  /** 0 is the most urgent. */
  readonly priority: number;
  /** A time, the smallest first. */
  readonly turn: number;
  lane: AnalysisLane;
  /** Not before this time, milliseconds since 1970. */
  dueAt: number;
};

export type Schedule<T extends Waiting> = {
  /** Puts an entry in its lane. Gives the one for which there is no more room, perhaps itself: the last to be taken. */
  put(entry: T): T | null;
  /** Takes out the next entry that is due, of a lane that may go on; null where there is none. */
  take(now: number, may: (lane: AnalysisLane) => boolean): T | null;
  /** Takes out the entry of this key. */
  remove(key: string): T | null;
  size(lane: AnalysisLane): number;
  /** Keys of the entries of a lane, or of all. */
  keys(lane?: AnalysisLane): readonly string[];
  /** The entries of these lanes. Their urgency may be changed in place. */
  entries(lanes: readonly AnalysisLane[]): readonly T[];
  /** The earliest time after `now` at which an entry is due, null where there is none. */
  nextDue(now: number): number | null;
};

/** One turn in so many goes to the longest waiting entry, and as much of the room. */
const AGED_SHARE = 8;

/** A schedule with room for `room` entries in each lane. */
export function createSchedule<T extends Waiting>(room: number): Schedule<T> {
  const lanes = new Map<AnalysisLane, Map<string, T>>(ANALYSIS_LANES.map((lane) => [lane, new Map()]));
  const taken = new Map<AnalysisLane, number>();
  let last = 0;
  const entries = (lane: AnalysisLane): Map<string, T> => lanes.get(lane) ?? new Map<string, T>();

  function first(lane: AnalysisLane, now: number): T | null {
    const aged = lane !== "poll" && ((taken.get(lane) ?? 0) + 1) % AGED_SHARE === 0;
    const before = lane === "poll" ? dueBefore : aged ? olderThan : moreUrgent;
    let found: T | null = null;
    for (const entry of entries(lane).values()) {
      if (entry.dueAt <= now && (found === null || before(entry, found))) found = entry;
    }
    return found;
  }

  /** The entry that would be taken last, but for the longest waiting ones. */
  function leastUrgent(lane: AnalysisLane): T | null {
    const all = [...entries(lane).values()];
    if (lane === "poll") return all.reduce<T | null>((a, b) => (a === null || dueBefore(a, b) ? b : a), null);
    return all
      .sort((a, b) => a.turn - b.turn)
      .slice(Math.floor(room / AGED_SHARE))
      .reduce<T | null>((a, b) => (a === null || moreUrgent(a, b) ? b : a), null);
  }

  return {
    put(entry) {
      const lane = entries(entry.lane);
      lane.set(entry.key, entry);
      if (lane.size <= room) return null;
      const out = leastUrgent(entry.lane) ?? entry;
      lane.delete(out.key);
      return out;
    },
    take(now, may) {
      for (let step = 1; step <= ANALYSIS_LANES.length; step++) {
        const at = (last + step) % ANALYSIS_LANES.length;
        const lane = ANALYSIS_LANES[at];
        if (lane === undefined || entries(lane).size === 0 || !may(lane)) continue;
        const found = first(lane, now);
        if (found === null) continue;
        last = at;
        taken.set(lane, (taken.get(lane) ?? 0) + 1);
        entries(lane).delete(found.key);
        return found;
      }
      return null;
    },
    remove(key) {
      for (const lane of lanes.values()) {
        const entry = lane.get(key);
        if (entry === undefined) continue;
        lane.delete(key);
        return entry;
      }
      return null;
    },
    size: (lane) => entries(lane).size,
    keys: (lane) =>
      lane === undefined
        ? [...lanes.values()].flatMap((each) => [...each.keys()])
        : [...entries(lane).keys()],
    entries: (of) => of.flatMap((lane) => [...entries(lane).values()]),
    nextDue(now) {
      let next: number | null = null;
      for (const lane of lanes.values()) {
        for (const { dueAt } of lane.values())
          if (dueAt > now && (next === null || dueAt < next)) next = dueAt;
      }
      return next;
    },
  };
}

const olderThan = (a: Waiting, b: Waiting): boolean => a.turn < b.turn;
const moreUrgent = (a: Waiting, b: Waiting): boolean =>
  a.priority < b.priority || (a.priority === b.priority && a.turn < b.turn);
const dueBefore = (a: Waiting, b: Waiting): boolean => a.dueAt < b.dueAt;
