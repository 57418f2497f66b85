/**
 * Has contents of mails delivered not long ago looked up again: a clock that tells the spool to queue what is due.
 *
 * The looks themselves are analyses like others, behind all that mails wait for; what they find is told as
 * `verdict.changed` by the verdict stage. A fault of the spool is logged and the next turn tries again.
 */
import { asSensorError } from "../errors.ts";
import { faultFields, type Log } from "../log.ts";
import { repeat } from "../sleeper.ts";
import type { Spool } from "../spool/spool.ts";

const EVERY_MS = 1_000;
/** Looks queued in one turn. */
const BATCH = 50;

export function startRelooks(options: {
  readonly spool: Pick<Spool, "startRelooks">;
  readonly log: Log;
  readonly now?: () => number;
}): { stop(): Promise<void> } {
  const log = options.log.with({ stage: "relook" });
  const now = options.now ?? Date.now;
  return repeat(async () => {
    try {
      const started = await options.spool.startRelooks(now(), BATCH);
      if (started > 0) log.debug("contents are looked up again", { contents: started });
    } catch (thrown) {
      log.warn("no contents are looked up again for now", faultFields(asSensorError(thrown)));
    }
    return EVERY_MS;
  });
}
