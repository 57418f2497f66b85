/**
 * Which calls go wrong, by the fault rules of a scenario: by chance, by count, or by time.
 *
 * In: the rules and the endpoint of each call in its order. Out: the fault of this call, or none. The same seed
 * and the same calls give the same faults. The first rule that applies decides; all rules count every call.
 */
import type { Endpoint, FaultRule } from "./scenario.ts";

export type FaultPlan = {
  /** The fault of the next call to this endpoint. */
  next(endpoint: Endpoint): FaultRule | undefined;
};

/** Numbers from 0 to 1, the same for the same seed (mulberry32). */
export function seededRandom(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296;
  };
}

/** A plan that begins now: `from` and `until` of the rules count from here. `now` in milliseconds. */
export function createFaultPlan(rules: readonly FaultRule[], seed: number, now: () => number): FaultPlan {
  const started = now();
  const states = rules.map((rule, index) => ({
    rule,
    calls: 0,
    fired: 0,
    random: seededRandom(seed + index),
  }));
  return {
    next(endpoint) {
      const elapsed = now() - started;
      let first: FaultRule | undefined;
      for (const state of states) {
        const { rule } = state;
        if (rule.endpoints !== undefined && !rule.endpoints.includes(endpoint)) continue;
        if (elapsed < (rule.from ?? 0) || elapsed >= (rule.until ?? Number.POSITIVE_INFINITY)) continue;
        const call = ++state.calls - rule.skip;
        const chance = state.random();
        if (call < 1 || call % rule.every !== 0 || chance >= rule.probability) continue;
        if (state.fired >= (rule.count ?? Number.POSITIVE_INFINITY) || first !== undefined) continue;
        state.fired++;
        first = rule;
      }
      return first;
    },
  };
}
