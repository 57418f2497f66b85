/**
 * The verdict stage: mails whose parts are all decided go in, their verdict and events come out, committed
 * together by the spool.
 *
 * A fault (a spool that is full or busy) is logged and tried again with growing pauses; a mail that keeps
 * failing waits aside and holds no other mail up. What was not committed is taken up again after a restart.
 */
import { asSensorError } from "../errors.ts";
import { faultFields, type Log } from "../log.ts";
import { composeMailEvents, type SensorIdentity } from "../report/compose.ts";
import type { EventType } from "../report/event.ts";
import { createSleeper } from "../sleeper.ts";
import type { MailRow, Spool } from "../spool/spool.ts";
import { judge } from "./judge.ts";

export type VerdictStage = {
  /** Resolves when what is being committed is committed. */
  stop(): Promise<void>;
};

const BATCH = 200;
/** Mails that may wait aside; beyond it the oldest of them are tried again with the others. */
const MAX_ASIDE = 10_000;
const POLL_MS = 1000;
const FIRST_PAUSE_MS = 500;
const LONGEST_PAUSE_MS = 60_000;

export function startVerdicts(options: {
  readonly spool: Spool;
  readonly sensor: SensorIdentity;
  readonly log: Log;
  /** Event types that some destination asks for; `mail.verdict` is always made. */
  readonly wanted: ReadonlySet<EventType>;
  readonly now?: () => number;
}): VerdictStage {
  const { spool, sensor, wanted } = options;
  const now = options.now ?? Date.now;
  const log = options.log.with({ stage: "verdict" });
  const aside = new Map<string, { readonly faults: number; readonly retryAt: number }>();
  let stopped = false;
  const sleeper = createSleeper();
  const unsubscribe = spool.subscribe("analysed", sleeper.wake);

  const finish = async (mail: MailRow): Promise<void> => {
    try {
      const judgement = judge(mail);
      const events = composeMailEvents(mail, judgement, sensor, wanted, now());
      await spool.finishMail(mail.id, judgement.verdict, judgement.complete, judgement.reasons, events);
      aside.delete(mail.id);
      log.info("mail judged", {
        mail_id: mail.id,
        verdict: judgement.verdict,
        complete: judgement.complete,
        seconds: Math.max(0, (now() - mail.receivedAt) / 1000),
      });
    } catch (thrown) {
      const faults = (aside.get(mail.id)?.faults ?? 0) + 1;
      if (aside.size < MAX_ASIDE) aside.set(mail.id, { faults, retryAt: now() + pauseAfter(faults) });
      log.error("mail could not be judged, it is tried again", {
        mail_id: mail.id,
        faults,
        ...faultFields(asSensorError(thrown)),
      });
    }
  };

  const run = async () => {
    let faults = 0;
    while (!stopped) {
      sleeper.forget();
      try {
        const rows = await spool.analysedMails(BATCH + aside.size);
        const due = rows.filter((mail) => (aside.get(mail.id)?.retryAt ?? 0) <= now()).slice(0, BATCH);
        faults = 0;
        if (due.length > 0) await Promise.all(due.map(finish));
        else await sleeper.sleep(POLL_MS);
      } catch (thrown) {
        faults += 1;
        log.error("the spool gave no mails to judge", faultFields(asSensorError(thrown)));
        if (stopped) break;
        sleeper.forget();
        await sleeper.sleep(pauseAfter(faults));
      }
    }
  };
  const running = run();

  return {
    async stop() {
      stopped = true;
      unsubscribe();
      sleeper.wake();
      await running;
    },
  };
}

function pauseAfter(faults: number): number {
  return Math.min(LONGEST_PAUSE_MS, FIRST_PAUSE_MS * 2 ** Math.min(faults - 1, 16));
}
