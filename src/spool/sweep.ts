/**
 * Runs the retention of the spool: a sweep a minute, each in small steps with a pause between them, so that
 * mails come first.
 */
import { asSensorError } from "../errors.ts";
import { faultFields, type Log } from "../log.ts";
import type { Spool } from "./spool.ts";

const SWEEP_EVERY = 60_000;
const STEP_PAUSE = 50;

export function startSweep(spool: Spool, log: Log): { stop(): Promise<void> } {
  let stopping = false;
  let sweeping: Promise<void> = Promise.resolve();
  let busy = false;
  const sweep = async () => {
    busy = true;
    try {
      while (!stopping && (await spool.sweep(Date.now()))) await Bun.sleep(STEP_PAUSE);
    } catch (thrown) {
      log.warn("the sweep of the spool failed", { stage: "spool", ...faultFields(asSensorError(thrown)) });
    } finally {
      busy = false;
    }
  };
  const start = () => {
    if (!busy) sweeping = sweep();
  };
  const timer = setInterval(start, SWEEP_EVERY);
  start();
  return {
    stop: async () => {
      stopping = true;
      clearInterval(timer);
      await sweeping;
    },
  };
}
