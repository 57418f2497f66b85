/**
 * When a pause of the calls to VMRay becomes news for people: once when it lasts, once when it is over.
 *
 * Pure: the reason of the pause goes in at any time, changes come out as name and message of `sensor.state` events. A
 * refused key is news at once; a VMRay that does not answer or asks to wait is news only after a while, since single
 * resets and short throttling are everyday.
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
  /** Null where calls are made. `fault` is the last fault in words. */
  update(reason: PauseReason | null, fault: string, now: number): StateChange | null;
  /** When a pause that goes on becomes news, null where none may. */
  nextAt(): number | null;
};

const NAMES = {
  auth: "analyzer_auth_failed",
  unreachable: "analyzer_unreachable",
  throttled: "analyzer_throttled",
} as const;

export function createHealth(timing: HealthTiming): Health {
  const after = { auth: 0, unreachable: timing.unreachableNews, throttled: timing.throttledNews } as const;
  let pause: { readonly reason: PauseReason; readonly since: number } | null = null;
  let told: PauseReason | null = null;
  return {
    update(reason, fault, now) {
      if (reason === null) {
        pause = null;
        if (told === null) return null;
        told = null;
        return { name: "analyzer_recovered", message: "VMRay answers again" };
      }
      if (pause?.reason !== reason) pause = { reason, since: now };
      if (told === reason || now - pause.since < after[reason]) return null;
      told = reason;
      return { name: NAMES[reason], message: fault };
    },
    nextAt: () => (pause === null || told === pause.reason ? null : pause.since + after[pause.reason]),
  };
}
