/**
 * For stages: a step that must be written is written, however long the spool is in trouble.
 */
import { asSensorError } from "../errors.ts";
import { faultFields, type Log } from "../log.ts";

const FIRST_WAIT = 100;
const LONGEST_WAIT = 5_000;
const SPOOL_TROUBLE = new Set(["SPOOL_FULL", "SPOOL_BUSY", "SPOOL_BROKEN"]);

/**
 * Runs `work` until it does not fail with a fault of the spool; other faults are thrown on. Gives up, with the
 * fault, when `stopped` says so: what was not written is done again after the next start.
 */
export async function untilStored<T>(work: () => Promise<T>, stopped: () => boolean, log: Log): Promise<T> {
  for (let wait = FIRST_WAIT; ; wait = Math.min(LONGEST_WAIT, wait * 2)) {
    try {
      return await work();
    } catch (thrown) {
      const error = asSensorError(thrown);
      if (!SPOOL_TROUBLE.has(error.code) || stopped()) throw error;
      log.warn("waiting for the spool", { ...faultFields(error), wait_ms: wait });
      await Bun.sleep(wait);
    }
  }
}
