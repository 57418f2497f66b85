/** The gate in front of VMRay calls, and the waits behind it. */
import { describe, expect, test } from "bun:test";
import { backoff, createGate } from "../../../src/analyzer/gate.ts";

const TIMING = { probeFirst: 1000, probeMax: 30_000, probeAuth: 60_000 };
const longest = () => 1;

describe("backoff", () => {
  test("doubles from the first wait to the longest and stays there", () => {
    expect([1, 2, 3, 4, 5, 60, 5000].map((n) => backoff(n, 1000, 8000, longest))).toEqual([
      1000, 2000, 4000, 8000, 8000, 8000, 8000,
    ]);
  });
  test("keeps between half and the whole of the wait", () => {
    expect(backoff(3, 1000, 8000, () => 0)).toBe(2000);
    expect(backoff(3, 1000, 8000, () => 0.5)).toBe(3000);
  });
});

describe("a gate", () => {
  test("is shut by a fault, then lets one call try, and opens with its success", () => {
    const gate = createGate(TIMING, longest);
    expect(gate.state(0)).toBe("open");
    expect(gate.trip("unreachable", gate.ticket(), 0, null, false)).toEqual({ news: true, others: false });
    expect([gate.state(999), gate.state(1000), gate.reason()]).toEqual(["shut", "trial", "unreachable"]);
    expect(gate.pass(gate.ticket())).toBe(true);
    expect([gate.state(1000), gate.reason()]).toEqual(["open", null]);
  });

  test("waits longer with each fault in a row, and tells the first one only as news", () => {
    const gate = createGate(TIMING, longest);
    gate.trip("unreachable", gate.ticket(), 0, null, false);
    expect(gate.trip("unreachable", gate.ticket(), 1000, null, false).news).toBe(false);
    expect(gate.until()).toBe(3000);
    for (let n = 0; n < 20; n++) gate.trip("unreachable", gate.ticket(), 3000, null, false);
    expect(gate.until()).toBe(33_000);
    expect(gate.trip("auth", gate.ticket(), 3000, null, true).news).toBe(true);
    expect(gate.until()).toBe(63_000);
  });

  test("counts eight calls that fail together as one fault", () => {
    const gate = createGate(TIMING, longest);
    const ticket = gate.ticket();
    for (let n = 0; n < 8; n++) gate.trip("unreachable", ticket, 0, null, false);
    expect([gate.faults(), gate.until()]).toEqual([1, 1000]);
  });

  test("is not opened by a call that began before the fault", () => {
    const gate = createGate(TIMING, longest);
    const early = gate.ticket();
    gate.trip("unreachable", gate.ticket(), 0, null, false);
    expect(gate.pass(early)).toBe(false);
    expect(gate.reason()).toBe("unreachable");
  });

  test("waits as long as VMRay asks, and longer where a call in the air was asked to wait longer", () => {
    const gate = createGate(TIMING, longest);
    const ticket = gate.ticket();
    gate.trip("throttled", ticket, 0, 5000, true);
    gate.trip("throttled", ticket, 0, 9000, true);
    gate.trip("throttled", ticket, 0, 2000, true);
    expect(gate.until()).toBe(9000);
  });

  test("tells whether other calls went well since the last fault", () => {
    const gate = createGate(TIMING, longest);
    gate.pass(gate.ticket());
    expect(gate.trip("unreachable", gate.ticket(), 0, null, false).others).toBe(true);
    expect(gate.trip("unreachable", gate.ticket(), 2000, null, false).others).toBe(false);
  });

  test("stays open for one fault among calls that go well, and is shut by the second in a row", () => {
    const gate = createGate(TIMING, longest);
    for (let n = 0; n < 5; n++) {
      gate.pass(gate.ticket());
      expect(gate.trip("unreachable", gate.ticket(), 0, null, false)).toEqual({ news: false, others: true });
      expect(gate.state(0)).toBe("open");
    }
    expect(gate.trip("unreachable", gate.ticket(), 0, null, false)).toEqual({ news: true, others: false });
    expect(gate.state(0)).toBe("shut");
  });

  test("is shut at once by a refused key and by a wish to wait, however well others went", () => {
    for (const why of ["auth", "throttled"] as const) {
      const gate = createGate(TIMING, longest);
      gate.pass(gate.ticket());
      expect(gate.trip(why, gate.ticket(), 0, null, true)).toEqual({ news: true, others: true });
      expect(gate.state(0)).toBe("shut");
    }
  });

  test("is not shut by a 403 to one object among calls that go well, and briefly by the first call of all", () => {
    const gate = createGate(TIMING, longest);
    expect(gate.trip("auth", gate.ticket(), 0, null, false).news).toBe(true);
    expect(gate.until()).toBe(1000);
    gate.pass(gate.ticket());
    expect(gate.trip("auth", gate.ticket(), 1000, null, false)).toEqual({ news: false, others: true });
    expect(gate.state(1000)).toBe("open");
    expect(gate.trip("auth", gate.ticket(), 2000, null, false).news).toBe(true);
    gate.trip("auth", gate.ticket(), 3000, null, false);
    expect(gate.until()).toBe(63_000);
  });

  test("backs off where it is asked to come again at once", () => {
    const gate = createGate(TIMING, longest);
    for (let n = 0; n < 4; n++) gate.trip("throttled", gate.ticket(), 0, 0, true);
    expect(gate.until()).toBe(8000);
    gate.trip("throttled", gate.ticket(), 0, 2000, true);
    expect(gate.until()).toBe(2000);
  });
});
