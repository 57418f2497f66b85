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
};

export const NO_ALERTS: HourCount = { minutes: [] };

const recent = (count: HourCount, now: number) =>
  count.minutes.filter(([minute]) => minute + HOUR_MS > now && minute <= now);

/** When one more may be sent: `now`, or later. */
export function allowedAt(count: HourCount, now: number, perHour: number): number {
  const minutes = recent(count, now);
  let sum = minutes.reduce((all, [, sent]) => all + sent, 0);
  let at = now;
  for (const [minute, sent] of minutes) {
    if (sum < perHour) break;
    sum -= sent;
    at = minute + HOUR_MS;
  }
  return at;
}

export function withSent(count: HourCount, now: number): HourCount {
  const minute = now - (now % MINUTE_MS);
  const before = recent(count, now);
  const last = before.at(-1);
  return {
    minutes:
      last?.[0] === minute ? [...before.slice(0, -1), [minute, last[1] + 1]] : [...before, [minute, 1]],
  };
}

/** True where forgetting it changes nothing. */
export function isForgettable(count: HourCount, now: number): boolean {
  return recent(count, now).length === 0;
}
