/**
 * A gate in front of one kind of VMRay call: shut by a fault that concerns every call, opened by a success.
 *
 * What VMRay says to the key or asks of all (401, 429) shuts it at once. A call that fails among others that go well is
 * its own trouble, a 403 to one object included: the second one without a success between shuts the gate.
 * open -> (fault) shut until a time -> trial: one call at a time is let through -> open or shut again, longer.
 * Time and randomness come in; nothing here waits or calls.
 */

export type PauseReason = "auth" | "throttled" | "unreachable";

export type GateTiming = {
  /** First and longest wait before VMRay is tried again, milliseconds. */
  readonly probeFirst: number;
  readonly probeMax: number;
  /** Wait before a refused key is tried again, milliseconds. */
  readonly probeAuth: number;
};

export type Tripped = {
  /** True where this fault shut the gate; false where it was shut already or the call began before that. */
  readonly news: boolean;
  /** True where other calls went well since the last fault: the trouble may be with this call alone. */
  readonly others: boolean;
};

export type Gate = {
  state(now: number): "open" | "shut" | "trial";
  /** Null while it is open. */
  reason(): PauseReason | null;
  /** When a shut gate becomes a trial. */
  until(): number;
  /** Faults in a row. */
  faults(): number;
  /** To be given back by the call's outcome: outcomes of calls begun before the last fault change nothing. */
  ticket(): number;
  /** A fault; `wait` is what VMRay asked for in milliseconds, `ofAll` whether it surely concerns every call. */
  trip(reason: PauseReason, ticket: number, now: number, wait: number | null, ofAll: boolean): Tripped;
  /** A success. True where it opened the gate. */
  pass(ticket: number): boolean;
};

/** Exponential, capped, and between half and the whole of it at random, so that many do not come at once. */
export function backoff(faults: number, first: number, longest: number, random: () => number): number {
  const full = Math.min(longest, first * 2 ** Math.min(Math.max(faults - 1, 0), 40));
  return Math.round(full * (0.5 + random() / 2));
}

/** An open gate. */
export function createGate(timing: GateTiming, random: () => number): Gate {
  let reason: PauseReason | null = null;
  let until = 0;
  let faults = 0;
  let epoch = 0;
  let passes = 0;
  return {
    state: (now) => (reason === null ? "open" : now < until ? "shut" : "trial"),
    reason: () => reason,
    until: () => until,
    faults: () => faults,
    ticket: () => epoch,
    trip(why, ticket, now, wait, ofAll) {
      if (ticket !== epoch) {
        if (wait !== null && reason !== null) until = Math.max(until, now + wait);
        return { news: false, others: false };
      }
      const others = passes > 0;
      passes = 0;
      if (!ofAll && reason === null && others) return { news: false, others };
      const tripped: Tripped = { news: reason !== why, others };
      epoch += 1;
      faults += 1;
      reason = why;
      const own =
        why === "auth" && (ofAll || faults > 1)
          ? timing.probeAuth
          : backoff(faults, timing.probeFirst, timing.probeMax, random);
      // "At once", and a date of a clock that is behind, would be asked again without end.
      until = now + (wait === null || wait < timing.probeFirst ? Math.max(wait ?? 0, own) : wait);
      return tripped;
    },
    pass(ticket) {
      if (ticket !== epoch) return false;
      const opened = reason !== null;
      reason = null;
      faults = 0;
      passes += 1;
      return opened;
    },
  };
}
