/**
 * The extraction stage: takes mails from the spool in the order they came, has each taken apart by a helper,
 * plans what to do with its parts, and commits both.
 *
 * A mail whose helper dies, hangs or grows too large is tried again after a pause, `attempts` times in all; then
 * it has failed, and a mail.failed event says so. A mail costs itself alone: its neighbours go on beside it.
 *
 * While taking mails in needs the machine (`busy`), they are taken apart one at a time and with rests in between: the
 * MTA waits for nothing, and what it handed over in a burst is worked off after it.
 */
import { asSensorError, SensorError } from "../errors.ts";
import type { RawMail } from "../intake/mail.ts";
import { faultFields, type Log } from "../log.ts";
import type { SensorEvent } from "../report/event.ts";
import { untilStored } from "../spool/retry.ts";
import type { ClaimedMail, MailRow, Spool } from "../spool/spool.ts";
import type { Plan } from "../triage/plan.ts";
import type { TriagedMail } from "../triage/policy.ts";
import type { Triaged } from "../triage/triage.ts";
import { type Extraction, SENDER_DENIED_FLAG } from "./extraction.ts";

export type ExtractionStage = {
  /** Takes no more mails and lets those in work be committed; what takes too long is done after the next start. */
  stop(): Promise<void>;
};

export type ExtractionStageOptions = {
  readonly spool: Spool;
  /** `begun` is called when the bytes go to a parser, which may be a while after the call. */
  readonly extract: (raw: RawMail, copiedTo: readonly string[], begun: () => void) => Promise<Extraction>;
  readonly triage: (mail: TriagedMail) => Triaged;
  readonly failedEvent: (mail: MailRow, error: SensorError) => SensorEvent;
  /** Mails in work at once. */
  readonly concurrency: number;
  /** True while mails come in as fast as this process can take them. */
  readonly busy?: () => boolean;
  readonly attempts: number;
  readonly log: Log;
  readonly now?: () => number;
};

/** A mail in whose parsing the whole sensor died this often is given up; it was alone each time but the first. */
const MAX_DEATHS = 20;
const STOP_GRACE = 3_000;
const RETRY_PAUSE = 1_000;
/** While the intake is busy a mail is followed by a rest of this many times its own time, */
const REST = 4;
/** but no longer than this, milliseconds. */
const LONGEST_REST = 250;
/** Mails that wait out a pause wake nobody: the stage looks for them this often. */
const LOOK_EVERY = 500;

export function startExtraction(options: ExtractionStageOptions): ExtractionStage {
  const { spool, now = Date.now, busy = () => false } = options;
  const log = options.log.with({ stage: "extract" });
  const inWork = new Set<Promise<void>>();
  let stopping = false;
  let claiming = false;
  let restUntil = 0;
  const stopped = () => stopping;

  const giveUp = async (mail: ClaimedMail, error: SensorError) => {
    const row = await spool.mail(mail.id);
    if (row === null) return;
    await spool.failMail(mail.id, `${error.code}: ${error.message}`, options.failedEvent(row, error));
    log.error("mail given up", { mail_id: mail.id, ...faultFields(error) });
  };

  /** A fault that is no fault of the mail (no helper to be had, a spool in trouble) is waited out. */
  const takeApart = async (mail: ClaimedMail): Promise<Extraction> => {
    for (;;) {
      try {
        return await options.extract(mail.raw, mail.envelope.to, () => spool.noteParsing(mail.id));
      } catch (thrown) {
        const error = asSensorError(thrown);
        const itsFault = error.code !== "EXTRACT_UNAVAILABLE" && !error.code.startsWith("SPOOL_");
        if (itsFault || stopping) throw error;
        log.warn("waiting to take a mail apart", { mail_id: mail.id, ...faultFields(error) });
        await Bun.sleep(RETRY_PAUSE);
      }
    }
  };

  const work = async (mail: ClaimedMail) => {
    const startedAt = now();
    try {
      if (mail.deaths >= MAX_DEATHS) {
        throw new SensorError(
          "EXTRACT_CRASHED",
          `the sensor died ${mail.deaths} times while it took this mail apart`,
        );
      }
      const extraction = await takeApart(mail);
      // Planned in the turn in which it is committed, also when that is tried again: lists change while it waits.
      let plan: Plan = [];
      await untilStored(
        () => {
          const triaged = options.triage({ extraction, envelope: mail.envelope });
          plan = triaged.plan;
          const denied = triaged.sender?.list === "deny" ? [SENDER_DENIED_FLAG] : [];
          const flags = [...extraction.flags, ...denied];
          return spool.recordExtraction(mail.id, { ...extraction, flags }, plan, triaged.sender);
        },
        stopped,
        log,
      );
      log.info("mail taken apart", {
        mail_id: mail.id,
        attachments: extraction.attachments.length,
        urls: extraction.urls.length,
        to_analyse: plan.filter((part) => part.decision.action !== "skip").length,
        complete: extraction.complete,
        ms: now() - startedAt,
      });
    } catch (thrown) {
      if (stopping) {
        spool.giveBackMail(mail.id);
        return;
      }
      const error = asSensorError(thrown);
      log.warn("a mail could not be taken apart", { mail_id: mail.id, ...faultFields(error) });
      const text = `${error.code}: ${error.message}`;
      await untilStored(
        async () => {
          const row = await spool.mail(mail.id);
          const attempts = (row?.attempts ?? 0) + 1;
          if (mail.deaths >= MAX_DEATHS || attempts >= options.attempts) return giveUp(mail, error);
          await spool.recordExtractionFault(mail.id, text, now() + RETRY_PAUSE * 4 ** (attempts - 1));
        },
        stopped,
        log,
      );
    }
  };

  const pump = async () => {
    if (claiming || stopping) return;
    claiming = true;
    try {
      while (!stopping) {
        const yielding = busy();
        const room = (yielding ? 1 : options.concurrency) - inWork.size;
        if (room <= 0 || (yielding && performance.now() < restUntil)) break;
        const mails = await spool.claimMails(room);
        if (mails.length === 0) break;
        for (const mail of mails) {
          const begun = performance.now();
          const job = work(mail).catch((thrown) => {
            log.error("a mail waits for the next start", {
              mail_id: mail.id,
              ...faultFields(asSensorError(thrown)),
            });
          });
          inWork.add(job);
          job.then(() => {
            inWork.delete(job);
            const rest = busy() ? Math.min(LONGEST_REST, REST * (performance.now() - begun)) : 0;
            restUntil = performance.now() + rest;
            if (rest > 0) setTimeout(wake, rest);
            else wake();
          });
        }
      }
    } catch (thrown) {
      log.warn("no mails from the spool", faultFields(asSensorError(thrown)));
    } finally {
      claiming = false;
    }
  };
  const wake = () => void pump();

  const unsubscribe = spool.subscribe("received", wake);
  const timer = setInterval(wake, LOOK_EVERY);
  wake();
  return {
    stop: async () => {
      stopping = true;
      unsubscribe();
      clearInterval(timer);
      const { promise: grace, resolve } = Promise.withResolvers<void>();
      const patience = setTimeout(resolve, STOP_GRACE);
      await Promise.race([Promise.all(inWork), grace]);
      clearTimeout(patience);
    },
  };
}
