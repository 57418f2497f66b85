/**
 * The verdict stage: mails whose parts are decided go in, their verdict and events come out, committed together by
 * the spool.
 *
 * Three kinds of mails are judged. Those whose parts are all decided get their `mail.verdict`, or, where they had it
 * already, a `verdict.changed`. Those that wait for parts are reported before all is decided: at once where a part is
 * malicious, and after `reportAfter` whatever is known. Those that were reported and of which a part has another
 * verdict now get a `verdict.changed` where there is something to tell.
 *
 * A fault (a spool that is full or busy) is logged and tried again with growing pauses; a mail that keeps
 * failing waits aside and holds no other mail up. What was not committed is taken up again after a restart.
 */
import { asSensorError } from "../errors.ts";
import { faultFields, type Log } from "../log.ts";
import { LIMITS } from "../report/bounds.ts";
import { composeChanged, composeMailEvents, type SensorIdentity } from "../report/compose.ts";
import type { EventType, SensorEvent } from "../report/event.ts";
import { createSleeper } from "../sleeper.ts";
import type { MailRow, Spool } from "../spool/spool.ts";
import { type Judgement, judge, partVerdict } from "./judge.ts";
import { atLeast } from "./verdict.ts";

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
  /** Milliseconds after which a mail whose parts still wait is reported with what is known. */
  readonly reportAfter: number;
  /** Why contents wait for VMRay, a clause without a full stop; null where nothing hinders them. */
  readonly whyWaiting: () => string | null;
  readonly now?: () => number;
}): VerdictStage {
  const { spool, sensor, wanted } = options;
  const now = options.now ?? Date.now;
  const log = options.log.with({ stage: "verdict" });
  const aside = new Map<string, { readonly faults: number; readonly retryAt: number }>();
  let stopped = false;
  const sleeper = createSleeper();
  const unsubscribe = spool.subscribe("analysed", sleeper.wake);

  const told = (mail: MailRow, { verdict, complete }: Judgement, msg: string) => {
    const seconds = Math.max(0, (now() - mail.receivedAt) / 1000);
    log.info(msg, { mail_id: mail.id, verdict, complete, seconds });
  };

  const changeEvents = async (mail: MailRow, judgement: Judgement): Promise<readonly SensorEvent[]> => {
    const parts = mail.artifacts.flatMap(({ was }, n) => (was === undefined ? [] : [n]));
    const { count, mails } =
      mail.recheck?.because === "list"
        ? await spool.mailsOfChange(mail.id, mail.recheck.change, LIMITS.mails)
        : await spool.mailsBeside(mail.id, parts, LIMITS.mails, mail.recheck?.change);
    const change = {
      id: mail.recheck?.change ?? Bun.randomUUIDv7("hex", now()),
      because: mail.recheck?.because ?? "completed",
      from: mail.verdict ?? "not_available",
      mails: count + 1,
      beside: mails,
    };
    return composeChanged(mail, judgement, change, sensor, wanted, now());
  };

  const finish = async (mail: MailRow): Promise<void> => {
    const judgement = judge(mail);
    const { verdict, complete, reasons } = judgement;
    const events =
      mail.verdict === null
        ? composeMailEvents(mail, judgement, sensor, wanted, now())
        : await changeEvents(mail, judgement);
    await spool.finishMail(mail.id, verdict, complete, reasons, events, mail.recheck?.change);
    told(mail, judgement, "mail judged");
  };

  /** What stands in the way of all contents, else what those of this mail met last. */
  const whyWaiting = async (mail: MailRow): Promise<string | null> => {
    const ofAll = options.whyWaiting();
    if (ofAll !== null) return ofAll;
    const fault = await spool.waitingFault(mail.id);
    return fault === null ? null : `last fault: ${fault}`;
  };

  const report = async (mail: MailRow): Promise<void> => {
    const judgement = judge(mail, mail.state === "analysing" ? await whyWaiting(mail) : undefined);
    if (mail.verdict === null) {
      const late = mail.recheck === undefined;
      if (!late && judgement.verdict !== "malicious") return spool.reportMail(mail, null);
      const events = composeMailEvents(mail, judgement, sensor, wanted, now());
      await spool.reportMail(mail, { ...judgement, events });
      return told(mail, judgement, late ? "mail reported: its parts wait for long" : "mail reported early");
    }
    if (!hasNews(mail, judgement)) return spool.reportMail(mail, null);
    await spool.reportMail(mail, { ...judgement, events: await changeEvents(mail, judgement) });
    told(mail, judgement, "verdict changed");
  };

  const attempt = (step: (mail: MailRow) => Promise<void>) => async (mail: MailRow) => {
    try {
      await step(mail);
      aside.delete(mail.id);
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

  const due = (mails: readonly MailRow[]) =>
    mails.filter((mail) => (aside.get(mail.id)?.retryAt ?? 0) <= now()).slice(0, BATCH);

  const run = async () => {
    let faults = 0;
    while (!stopped) {
      sleeper.forget();
      try {
        const decided = due(await spool.analysedMails(BATCH + aside.size));
        await Promise.all(decided.map(attempt(finish)));
        const open = due(await spool.mailsToReport(now() - options.reportAfter, BATCH + aside.size));
        await Promise.all(open.map(attempt(report)));
        faults = 0;
        if (decided.length + open.length === 0) await sleeper.sleep(POLL_MS);
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

/**
 * A mail that is done tells every change of a part. One that still waits for parts tells what makes it worse; the end
 * of its analysis is told anyway.
 */
function hasNews(mail: MailRow, judgement: Judgement): boolean {
  if (judgement.verdict !== mail.verdict || judgement.complete !== mail.complete) return true;
  return mail.artifacts.some(({ was, verdict }) => {
    if (was === undefined || verdict === null || was === partVerdict(verdict)) return false;
    return mail.state === "done" || atLeast(partVerdict(verdict), "suspicious") || atLeast(was, "suspicious");
  });
}

function pauseAfter(faults: number): number {
  return Math.min(LONGEST_PAUSE_MS, FIRST_PAUSE_MS * 2 ** Math.min(faults - 1, 16));
}
