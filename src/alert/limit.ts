/**
 * How many alerts an address gets within an hour, counted over a sliding window.
 *
 * In memory: a restart forgets, a reload does not. Bounded: the addresses longest without an alert are forgotten first.
 */

const HOUR_MS = 3_600_000;
const MAX_ADDRESSES = 100_000;

export type AlertLimit = {
  /** True where one more may be sent to `address` at `now`; where not, it is counted as left out. */
  allows(address: string, now: number, perHour: number): boolean;
  /** Alerts left out for the address since one was sent. */
  leftOut(address: string): number;
  /** Counts a sent alert and forgets what was left out before it. */
  sent(address: string, now: number): void;
};

export function createAlertLimit(): AlertLimit {
  const addresses = new Map<string, { readonly times: readonly number[]; readonly leftOut: number }>();
  const put = (address: string, times: readonly number[], leftOut: number) => {
    addresses.delete(address);
    addresses.set(address, { times, leftOut });
    if (addresses.size <= MAX_ADDRESSES) return;
    const oldest = addresses.keys().next();
    if (!oldest.done) addresses.delete(oldest.value);
  };
  const recent = (address: string, now: number) =>
    (addresses.get(address)?.times ?? []).filter((time) => time > now - HOUR_MS);
  const leftOut = (address: string) => addresses.get(address)?.leftOut ?? 0;
  return {
    allows(address, now, perHour) {
      const times = recent(address, now);
      if (times.length < perHour) return true;
      put(address, times, leftOut(address) + 1);
      return false;
    },
    leftOut,
    sent: (address, now) => put(address, [...recent(address, now), now], 0),
  };
}
