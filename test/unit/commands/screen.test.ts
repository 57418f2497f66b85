import { describe, expect, test } from "bun:test";
import { longTime, screenOf, shortTime } from "../../../src/commands/screen.ts";

describe("screenOf", () => {
  test("colours verdicts on a terminal alone, and never where NO_COLOR is set", () => {
    const terminal = { isTTY: true, columns: 100 };
    expect(screenOf(terminal, {}).colour("malicious")).toBe("\x1b[31mmalicious\x1b[0m");
    expect(screenOf(terminal, {}).colour("malicious", "malic…")).toBe("\x1b[31mmalic…\x1b[0m");
    expect(screenOf(terminal, { NO_COLOR: "1" }).colour("malicious")).toBe("malicious");
    expect(screenOf(terminal, { TERM: "dumb" }).colour("malicious")).toBe("malicious");
    expect(screenOf({}, {}).colour("malicious")).toBe("malicious");
  });

  test("colours no other word, also none that an object inherits", () => {
    const { colour } = screenOf({ isTTY: true, columns: 100 }, {});
    for (const word of ["constructor", "__proto__", "received", ""]) expect(colour(word)).toBe(word);
  });

  test("takes the width of the terminal, and 120 columns without one", () => {
    expect(screenOf({ isTTY: true, columns: 93 }, {}).width).toBe(93);
    expect(screenOf({ isTTY: true }, {}).width).toBe(80);
    expect(screenOf({ isTTY: true, columns: 10 }, {}).width).toBe(60);
    expect(screenOf({}, {}).width).toBe(120);
  });
});

describe("times", () => {
  const now = new Date(2026, 10, 24, 12, 0, 0);

  test("of today are the time of day, others have the date", () => {
    expect(shortTime(new Date(2026, 10, 24, 8, 5, 9), now)).toBe("08:05:09");
    expect(shortTime(new Date(2026, 10, 23, 8, 5, 9), now)).toBe("2026-11-23 08:05");
    expect(shortTime(undefined, now)).toBe("-");
    expect(shortTime(new Date(Number.NaN), now)).toBe("-");
  });

  test("in full name their offset", () => {
    expect(longTime(new Date(2026, 10, 24, 8, 5, 9))).toMatch(/^2026-11-24 08:05:09 [+-]\d\d:\d\d$/);
    expect(Date.parse(longTime(now).replace(" ", "T").replace(" ", ""))).toBe(now.getTime());
    expect(longTime(undefined)).toBe("-");
  });
});
