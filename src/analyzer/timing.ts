/** How long the pool waits in its own affairs; what an operator may want to change is in the configuration. */
import type { GateTiming } from "./gate.ts";
import type { HealthTiming } from "./health.ts";

export type AnalyzerTiming = GateTiming &
  HealthTiming & {
    /** First and longest wait of one content after a fault of its own, milliseconds. */
    readonly faultFirst: number;
    readonly faultMax: number;
    /** How long a submission that is being sent may take to end when the sensor stops, milliseconds. */
    readonly stopGrace: number;
    /** How long after a refusal for its quota VMRay is tried again, milliseconds. */
    readonly quotaRetry: number;
    /** How often VMRay is asked for its quota, milliseconds. */
    readonly quotaEvery: number;
  };

export const TIMING: AnalyzerTiming = {
  probeFirst: 1_000,
  probeMax: 30_000,
  probeAuth: 60_000,
  unreachableNews: 10_000,
  throttledNews: 60_000,
  faultFirst: 2_000,
  faultMax: 300_000,
  stopGrace: 5_000,
  quotaRetry: 15 * 60_000,
  quotaEvery: 5 * 60_000,
};
