import { describe, expect, test } from "bun:test";
import { createRefusalNotes } from "../../../src/report/refusals.ts";

describe("telling of refused events", () => {
  test("is done at once for the first, and for a flood once in a while with their number", async () => {
    const told: string[] = [];
    const notes = createRefusalNotes("soc", async (message) => void told.push(message), 100);
    const add = (id: string, type = "mail.verdict") => notes.add({ id, type }, "why");
    add("0", "sensor.state");
    for (let n = 1; n <= 50; n += 1) add(`${n}`);
    expect(told).toEqual(["the destination soc refused the event 1 for good: why"]);
    await Bun.sleep(150);
    expect(told).toEqual([
      told[0] ?? "",
      "the destination soc refused 49 more events for good, the last: 50: why",
    ]);
    add("51");
    expect(told).toHaveLength(2);
    await notes.close();
    expect(told[2]).toBe("the destination soc refused 1 more events for good, the last: 51: why");
  });
});
