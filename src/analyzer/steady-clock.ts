/**
 * The time, which is never set back: where the clock of the machine is, this one goes on from where it was.
 *
 * All that the pool waits for is due at a time. With a clock that is set back by a day it would wait for a day.
 */

/** `clock` gives milliseconds since 1970. It is followed again as soon as it is where this one is. */
export function steadyClock(clock: () => number): () => number {
  let last = clock();
  /** How far the clock was set back. */
  let behind = 0;
  return () => {
    const told = clock();
    if (told >= last) behind = 0;
    else if (told + behind < last) behind = last - told;
    last = told + behind;
    return last;
  };
}
