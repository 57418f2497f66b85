/**
 * When a pause of the calls to VMRay becomes news for people: once when it lasts, once when it is over.
 *
 * Pure: what was told before a restart comes in with the start, the reason of the pause goes in at any time, changes come out as name and message of `sensor.state` events. A
 * refused key is news at once; a call it may not make, a VMRay that does not answer or asks to wait are news only after
 * a while, since single resets, objects of others and short throttling are everyday.
 */
import type { StateChange } from "./budget.ts";
import type { PauseReason } from "./gate.ts";

export type HealthTiming = {
  /** How long VMRay does not answer before that is news, milliseconds. */
  readonly unreachableNews: number;
  /** How long VMRay throttles before that is news, milliseconds. */
  readonly throttledNews: number;
};

export type Health = {
  /** Takes up what was told before the start, by the names of the events; true where something was and is not over. */
  begin(open: readonly string[]): boolean;
  /** Names of the events that were told and are not over. */
  open(): readonly string[];
  /** Null where calls are made. `fault` is the last fault in words, `sure` whether it surely concerns every call. */
  update(reason: PauseReason | null, fault: string, sure: boolean, now: number): StateChange | null;
  /** Nothing is known until the next call: a pause that is no news yet is forgotten. */
  rest(): void;
  /** When a pause that goes on becomes news, null where none may. */
  nextAt(): number | null;
};

const NAMES = {
  auth: "analyzer_auth_failed",
  unreachable: "analyzer_unreachable",
  throttled: "analyzer_throttled",
} as const satisfies Record<PauseReason, string>;
const REASONS = ["auth", "unreachable", "throttled"] as const;

export function createHealth(timing: HealthTiming): Health {
  const newsAfter = (reason: PauseReason, sure: boolean): number => {
    if (reason === "throttled") return timing.throttledNews;
    return reason === "auth" && sure ? 0 : timing.unreachableNews;
  };
  let pause: { readonly reason: PauseReason; readonly since: number; readonly newsAt: number } | null = null;
  let told: PauseReason | null = null;
  return {
    begin(open) {
      told = REASONS.find((reason) => open.includes(NAMES[reason])) ?? null;
      return told !== null;
    },
    open: () => (told === null ? [] : [NAMES[told]]),
    update(reason, fault, sure, now) {
      if (reason === null) {
        pause = null;
        if (told === null) return null;
        told = null;
        return { name: "analyzer_recovered", message: "VMRay answers again" };
      }
      const since = pause?.reason === reason ? pause.since : now;
      pause = { reason, since, newsAt: since + newsAfter(reason, sure) };
      if (told === reason || now < pause.newsAt) return null;
      told = reason;
      return { name: NAMES[reason], message: fault };
    },
    rest() {
      if (told === null) pause = null;
    },
    nextAt: () => (pause === null || told === pause.reason ? null : pause.newsAt),
  };
}
