/**
 * How many alerts went out within the last hour, by minutes: a sliding window that is small enough to be kept on disk.
 *
 * Pure. States in, states out; the ledger keeps them.
 */

const MINUTE_MS = 60_000;
const HOUR_MS = 60 * MINUTE_MS;

export type HourCount = {
  /** Start of a minute and how many went out in it, oldest first, at most 61. */
  readonly minutes: readonly (readonly [minute: number, count: number])[];
  /** Alerts left out since one was sent. */
  readonly leftOut: number;
};

export const NO_ALERTS: HourCount = { minutes: [], leftOut: 0 };

const recent = (count: HourCount, now: number) =>
  count.minutes.filter(([minute]) => minute + HOUR_MS > now && minute <= now);

/** True where one more may be sent. */
export function allows(count: HourCount, now: number, perHour: number): boolean {
  return recent(count, now).reduce((sum, [, sent]) => sum + sent, 0) < perHour;
}

export function withSent(count: HourCount, now: number): HourCount {
  const minute = now - (now % MINUTE_MS);
  const before = recent(count, now);
  const last = before.at(-1);
  return {
    minutes:
      last?.[0] === minute ? [...before.slice(0, -1), [minute, last[1] + 1]] : [...before, [minute, 1]],
    leftOut: 0,
  };
}

export function withLeftOut(count: HourCount, now: number): HourCount {
  return { minutes: recent(count, now), leftOut: count.leftOut + 1 };
}

/** True where forgetting it changes nothing. */
export function isForgettable(count: HourCount, now: number): boolean {
  return count.leftOut === 0 && recent(count, now).length === 0;
}
