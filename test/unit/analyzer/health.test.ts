/** When a pause of the calls is told, and when its end is. */
import { expect, test } from "bun:test";
import { createHealth } from "../../../src/analyzer/health.ts";

const timing = { unreachableNews: 10_000, throttledNews: 60_000 };
const name = (change: { readonly name: string } | null) => change?.name ?? null;

test("a refused key is told at once, once, and so is its end", () => {
  const health = createHealth(timing);
  expect(health.update("auth", "VMRay refuses the API key: HTTP 401", true, 0)).toEqual({
    name: "analyzer_auth_failed",
    message: "VMRay refuses the API key: HTTP 401",
  });
  expect(health.update("auth", "again", true, 5_000)).toBeNull();
  expect(name(health.update(null, "", false, 6_000))).toBe("analyzer_recovered");
  expect(health.update(null, "", false, 7_000)).toBeNull();
});

test.each([
  ["unreachable", 10_000, "analyzer_unreachable"],
  ["throttled", 60_000, "analyzer_throttled"],
] as const)("%s is told when it lasts %d ms, and short ones are not told at all", (reason, after, told) => {
  const health = createHealth(timing);
  expect(health.update(reason, "no", false, 0)).toBeNull();
  expect(health.nextAt()).toBe(after);
  expect(health.update(null, "", false, after - 1)).toBeNull();
  expect(health.update(reason, "no", false, after)).toBeNull();
  expect(health.update(reason, "no", false, 2 * after - 1)).toBeNull();
  expect(name(health.update(reason, "no", false, 2 * after))).toBe(told);
  expect(health.nextAt()).toBeNull();
});

test("another reason is told in its turn, and the end once", () => {
  const health = createHealth(timing);
  health.update("unreachable", "down", false, 0);
  expect(name(health.update("unreachable", "down", false, 10_000))).toBe("analyzer_unreachable");
  expect(name(health.update("auth", "401", true, 11_000))).toBe("analyzer_auth_failed");
  expect(name(health.update(null, "", false, 12_000))).toBe("analyzer_recovered");
});

test("a call that the key may not make is told only when that lasts: it may be about one object", () => {
  const health = createHealth(timing);
  expect(health.update("auth", "403", false, 0)).toBeNull();
  expect(health.nextAt()).toBe(10_000);
  expect(health.update(null, "", false, 1_000)).toBeNull();
  expect(health.update("auth", "403", false, 2_000)).toBeNull();
  expect(name(health.update("auth", "403", false, 12_000))).toBe("analyzer_auth_failed");
});

test("a pause that is no news yet is forgotten while nothing is tried, one that was told is not", () => {
  const health = createHealth(timing);
  health.update("unreachable", "reset", false, 0);
  health.rest();
  expect(health.nextAt()).toBeNull();
  expect(health.update("unreachable", "reset", false, 60_000)).toBeNull();
  expect(name(health.update("unreachable", "reset", false, 70_000))).toBe("analyzer_unreachable");
  health.rest();
  expect(health.update("unreachable", "reset", false, 80_000)).toBeNull();
  expect(name(health.update(null, "", false, 81_000))).toBe("analyzer_recovered");
});

test("what was told before a restart is not told again, and its end is told", () => {
  const before = createHealth(timing);
  before.update("auth", "401", true, 0);
  expect(before.open()).toEqual(["analyzer_auth_failed"]);
  const still = createHealth(timing);
  expect(still.begin(before.open())).toBe(true);
  expect(still.update("auth", "401", true, 100)).toBeNull();
  expect(name(still.update(null, "", false, 200))).toBe("analyzer_recovered");
  expect(still.open()).toEqual([]);
  expect(createHealth(timing).begin(["budget_used_up"])).toBe(false);
});
