/** A time that is never set back. */
import { expect, test } from "bun:test";
import { steadyClock } from "../../../src/analyzer/steady-clock.ts";

test("goes on from where it was when the clock is set back, once and again, and follows it where it comes to that", () => {
  let told = 1_000;
  const now = steadyClock(() => told);
  const at = (time: number) => {
    told = time;
    return now();
  };
  expect([at(1_000), at(1_500)]).toEqual([1_000, 1_500]);
  expect([at(500), at(600)]).toEqual([1_500, 1_600]);
  expect([at(100), at(150)]).toEqual([1_600, 1_650]);
  expect([at(1_649), at(5_000), at(5_001)]).toEqual([3_149, 5_000, 5_001]);
});
