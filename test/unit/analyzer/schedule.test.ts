/** The order of the steps: lanes by turns, urgent before old, none for ever behind others. */
import { describe, expect, test } from "bun:test";
import { createSchedule, type Waiting } from "../../../src/analyzer/schedule.ts";
import type { AnalysisLane } from "../../../src/spool/spool.ts";

const entry = (key: string, change: Partial<Waiting> = {}): Waiting => ({
  key,
  lane: "look",
  priority: 1,
  turn: 0,
  dueAt: 0,
  ...change,
});
const any = () => true;

/** Keys in the order in which they are taken at `now`. */
function drain(
  schedule: ReturnType<typeof createSchedule<Waiting>>,
  now = 1,
  may: (lane: AnalysisLane) => boolean = any,
) {
  const keys: string[] = [];
  for (let next = schedule.take(now, may); next !== null; next = schedule.take(now, may)) keys.push(next.key);
  return keys;
}

describe("the schedule", () => {
  test("takes the most urgent priority first, and in it the smallest turn", () => {
    const schedule = createSchedule<Waiting>(100);
    schedule.put(entry("low, old", { priority: 2, turn: 1 }));
    schedule.put(entry("normal, late", { turn: 9 }));
    schedule.put(entry("normal, early", { turn: 3 }));
    schedule.put(entry("high, new", { priority: 0, turn: 50 }));
    expect(drain(schedule)).toEqual(["high, new", "normal, early", "normal, late", "low, old"]);
  });

  test("lets the longest waiting one go every eighth time, however much urgent work there is", () => {
    const schedule = createSchedule<Waiting>(100);
    for (let n = 0; n < 3; n++) schedule.put(entry(`low ${n}`, { priority: 2, turn: n }));
    for (let n = 0; n < 40; n++) schedule.put(entry(`high ${n}`, { priority: 0, turn: 100 + n }));
    const keys = drain(schedule);
    expect([7, 15, 23].map((at) => keys[at])).toEqual(["low 0", "low 1", "low 2"]);
    expect(keys.slice(0, 24).filter((key) => key.startsWith("high"))).toHaveLength(21);
  });

  test("goes round the lanes, so that a look-up waits for one submission at most", () => {
    const schedule = createSchedule<Waiting>(100);
    for (let n = 0; n < 3; n++) {
      schedule.put(entry(`look ${n}`, { lane: "look", turn: n }));
      schedule.put(entry(`upload ${n}`, { lane: "upload", turn: n, priority: 0 }));
    }
    expect(drain(schedule).map((key) => key.split(" ")[0])).toEqual([
      "upload",
      "look",
      "upload",
      "look",
      "upload",
      "look",
    ]);
  });

  test("takes nothing that is not due or of a lane that may not go on, and says when the next one is due", () => {
    const schedule = createSchedule<Waiting>(100);
    schedule.put(entry("later", { dueAt: 500 }));
    schedule.put(entry("sent", { lane: "send" }));
    expect(drain(schedule, 499, (lane) => lane !== "send")).toEqual([]);
    expect(schedule.nextDue(499)).toBe(500);
    expect(drain(schedule, 500)).toEqual(["sent", "later"]);
    expect(schedule.nextDue(500)).toBeNull();
  });

  test("asks after submissions in the order in which they are due", () => {
    const schedule = createSchedule<Waiting>(100);
    for (const dueAt of [30, 10, 20]) {
      schedule.put(entry(`due ${dueAt}`, { lane: "poll", dueAt, priority: dueAt === 30 ? 0 : 2 }));
    }
    expect(drain(schedule, 40)).toEqual(["due 10", "due 20", "due 30"]);
  });

  test("gives back what has no room: the least urgent, never the longest waiting", () => {
    const schedule = createSchedule<Waiting>(8);
    schedule.put(entry("low, oldest", { priority: 2, turn: 1 }));
    schedule.put(entry("low, old", { priority: 2, turn: 2 }));
    for (let n = 0; n < 6; n++) expect(schedule.put(entry(`normal ${n}`, { turn: 10 + n }))).toBeNull();
    expect(schedule.put(entry("high", { priority: 0, turn: 99 }))?.key).toBe("low, old");
    expect(schedule.put(entry("low, new", { priority: 2, turn: 100 }))?.key).toBe("low, new");
    expect(schedule.size("look")).toBe(8);
    expect(schedule.keys("look")).toContain("low, oldest");
  });

  test("removes an entry by its key from whatever lane it is in", () => {
    const schedule = createSchedule<Waiting>(8);
    schedule.put(entry("there", { lane: "poll" }));
    expect(schedule.remove("there")?.lane).toBe("poll");
    expect(schedule.remove("there")).toBeNull();
    expect(schedule.keys()).toEqual([]);
  });
});
