import { expect, test } from "bun:test";
import fc from "fast-check";
import { formatDuration, formatSize, parseDuration, parseSize } from "../../src/units.ts";

test("sizes are powers of 1024", () => {
  expect(parseSize("512B")).toBe(512);
  expect(parseSize("64MB")).toBe(64 * 1024 ** 2);
  expect(parseSize(" 1.5 GB ")).toBe(1.5 * 1024 ** 3);
});

test("durations are milliseconds", () => {
  expect(parseDuration("250ms")).toBe(250);
  expect(parseDuration("5m")).toBe(300_000);
  expect(parseDuration("7d")).toBe(7 * 86_400_000);
});

test("what has no known unit, is negative or too large is none", () => {
  for (const text of ["", "5", "MB", "5mb", "-1MB", "1e3MB", "5 constructor", "1  MB", "999999999999TB"]) {
    expect(parseSize(text)).toBeNull();
  }
});

test("values are shown in their largest unit", () => {
  expect([0, 1023, 1024, 1536, 100 * 1024 ** 2].map(formatSize)).toEqual([
    "0B",
    "1023B",
    "1KB",
    "1.5KB",
    "100MB",
  ]);
  expect([0, 999, 90_000, 86_400_000].map(formatDuration)).toEqual(["0ms", "999ms", "1.5m", "1d"]);
});

test("what is shown is read back within its rounding", () => {
  fc.assert(
    fc.property(fc.nat({ max: 2 ** 50 }), (value) => {
      const read = parseSize(formatSize(value));
      expect(read).not.toBeNull();
      expect(Math.abs((read ?? 0) - value)).toBeLessThanOrEqual(Math.max(1, value * 0.051));
    }),
  );
});
