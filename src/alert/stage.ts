/**
 * Alert mails: `mail.verdict` events out of the outbox in, plain text mails to people out, through a relay.
 *
 * One destination an alert of the configuration, with the cursor, order and patience of every destination
 * (report/delivery.ts). One mail a recipient, with the null return path, so that recipients do not see each other
 * and no bounce comes back. A relay that cannot be reached or refuses for now is tried again until it takes
 * the alert; a recipient it refuses for good is logged and left; one it keeps putting off for a day too. A crash may
 * send an alert twice, with the same Message-ID.
 */
import type { AlertConfig } from "../config/schema.ts";
import { asSensorError, SensorError } from "../errors.ts";
import { faultFields, type Log } from "../log.ts";
import type { SensorIdentity } from "../report/compose.ts";
import { type Carrier, type DestinationStatus, startDelivery } from "../report/delivery.ts";
import type { EventMail, SensorEvent } from "../report/event.ts";
import { compileTemplate, type Template } from "../report/formats/template.ts";
import type { Delivery } from "../report/transport.ts";
import type { Spool } from "../spool/spool.ts";
import { atLeast } from "../verdict/verdict.ts";
import { alertingAttachments, composeAlert, isOwnAlert, MAX_SUBJECT } from "./compose.ts";
import type { AlertLimit } from "./limit.ts";
import { addressKey, alertRecipients } from "./recipients.ts";
import { createRelay } from "./relay.ts";

export type Alerts = {
  status(): Promise<readonly DestinationStatus[]>;
  /** Lets the alert that is being sent end, within the time-outs of the relay. */
  stop(): Promise<void>;
};

/** Alerts that may be open at once: behind a recipient the relay puts off. */
const MAX_OPEN = 50;
/** A recipient the relay puts off for so long is given up. */
const GIVE_UP_MS = 24 * 3_600_000;
const FIRST_RETRY_MS = 5_000;
const LONGEST_RETRY_MS = 15 * 60_000;
/** Mails whose served recipients are remembered. */
const MAX_REMEMBERED = 1000;

/** The name of the outbox cursor of an alert. */
export function alertCursor(alert: Pick<AlertConfig, "name">): string {
  return `alert:${alert.name}`;
}

export function startAlerts(options: {
  readonly alerts: readonly AlertConfig[];
  /** Counts the alerts of a destination of this name. */
  readonly limitOf: (name: string) => AlertLimit;
  readonly spool: Spool;
  readonly sensor: SensorIdentity;
  readonly log: Log;
  readonly now?: () => number;
}): Alerts {
  const log = options.log.with({ stage: "alert" });
  const now = options.now ?? Date.now;
  const carriers = options.alerts.map((config) => ({
    config,
    carrier: createAlertCarrier({
      config,
      limit: options.limitOf(config.name),
      spool: options.spool,
      sensor: options.sensor,
      log: log.with({ destination: alertCursor(config) }),
      now,
    }),
  }));
  const loops = carriers.map(({ config, carrier }) =>
    startDelivery({
      destination: alertCursor(config),
      name: config.name,
      spool: options.spool,
      log,
      carrier,
      batch: 1,
      maxOpen: MAX_OPEN,
      wants: (event) => wantsAlert(event, config, options.sensor),
    }),
  );
  return {
    status: () => Promise.all(loops.map((loop) => loop.status())),
    async stop() {
      await Promise.all(loops.map((loop) => loop.stop()));
    },
  };
}

/** True for a mail.verdict that is bad enough by an attachment, unless the mail is an alert of this sensor. */
export function wantsAlert(
  event: SensorEvent,
  config: Pick<AlertConfig, "min_verdict" | "from">,
  sensor: SensorIdentity,
): boolean {
  return (
    event.type === "mail.verdict" &&
    event.mail !== undefined &&
    event.verdict !== undefined &&
    atLeast(event.verdict, config.min_verdict) &&
    alertingAttachments(event, config.min_verdict).length > 0 &&
    !isOwnAlert(event.mail, config.from, sensor)
  );
}

type Job = {
  readonly event: SensorEvent;
  readonly mail: EventMail;
  readonly settle: (delivery: Delivery) => void;
};

/** Where one recipient of one mail stands, as long as the mail is remembered. */
type Progress = { readonly state: "served" } | Waiting;

type Waiting = {
  readonly state: "waiting";
  readonly attempts: number;
  /** The first try. */
  readonly since: number;
  readonly nextAt: number;
};

export function createAlertCarrier(options: {
  readonly config: AlertConfig;
  readonly limit: AlertLimit;
  readonly spool: Pick<Spool, "mail">;
  readonly sensor: SensorIdentity;
  readonly log: Log;
  readonly now: () => number;
}): Carrier {
  const { config, sensor, log, now } = options;
  const relay = createRelay(config, sensor.id);
  const subjectTemplate = compileSubject(config);
  const { limit } = options;
  /**
   * By mail, then by recipient: survives a fault of the relay, after which events come again. Several journal reports
   * of one mail have an event each, with the id of the mail.
   */
  const remembered = new Map<string, Map<string, Progress>>();
  let jobs: Job[] = [];
  let closing = false;
  let working: Promise<void> | null = null;
  let woken = false;
  let wake: (() => void) | null = null;

  const progressOf = (mailId: string) => {
    const known = remembered.get(mailId) ?? new Map<string, Progress>();
    remembered.delete(mailId);
    remembered.set(mailId, known);
    if (remembered.size > MAX_REMEMBERED) {
      const oldest = remembered.keys().next();
      if (!oldest.done) remembered.delete(oldest.value);
    }
    return known;
  };

  /** The event names only so many recipients: where it was cut, the spool knows the others. */
  const envelopeOf = async ({ event, mail }: Job): Promise<readonly string[]> => {
    const cut = event.truncated?.some((pointer) => "/mail/envelope/to".startsWith(pointer)) === true;
    const row = cut ? await options.spool.mail(mail.id) : null;
    return row?.envelope.to ?? mail.envelope.to;
  };

  const subjectOf = ({ event }: Job): string | null => {
    if (subjectTemplate === null) return null;
    try {
      return subjectTemplate.render(event, MAX_SUBJECT * 4);
    } catch (thrown) {
      log.error("the subject template failed, the built-in subject is used", {
        event_id: event.id,
        ...faultFields(asSensorError(thrown)),
      });
      return null;
    }
  };

  /** One try for one recipient. Throws where the relay as a whole is at fault. */
  const serve = async (
    job: Job,
    recipient: string,
    envelopeTo: readonly string[],
    before: Waiting | undefined,
  ): Promise<Progress> => {
    const ids = { mail_id: job.mail.id, event_id: job.event.id };
    const key = addressKey(recipient);
    if (before === undefined && !limit.allows(key, now(), config.max_per_recipient_hour)) {
      log.warn("an alert is left out: its recipient had enough within the hour", {
        ...ids,
        left_out: limit.leftOut(key),
      });
      return { state: "served" };
    }
    const alert = composeAlert({
      event: job.event,
      mail: job.mail,
      minimum: config.min_verdict,
      recipient,
      envelopeTo,
      from: config.from,
      sensor,
      subject: subjectOf(job),
      leftOut: limit.leftOut(key),
    });
    const answer = await relay.send(alert, recipient);
    if (answer.state === "taken") {
      limit.sent(key, now());
      log.info("alert sent", ids);
      return { state: "served" };
    }
    const since = before?.since ?? now();
    const attempts = (before?.attempts ?? 0) + 1;
    if (answer.permanent || now() - since >= GIVE_UP_MS) {
      const why = new SensorError("ALERT_REFUSED", answer.message);
      log.error("the relay refuses a recipient, the alert is given up", {
        ...ids,
        attempts,
        ...faultFields(why),
      });
      return { state: "served" };
    }
    if (attempts === 1) {
      const why = new SensorError("ALERT_UNREACHABLE", answer.message);
      log.warn("the relay puts a recipient off, the alert is tried again", { ...ids, ...faultFields(why) });
    }
    const wait = Math.min(LONGEST_RETRY_MS, FIRST_RETRY_MS * 2 ** Math.min(attempts - 1, 16));
    return { state: "waiting", attempts, since, nextAt: now() + wait };
  };

  /** Tries everyone of a job who is due; resolves to when the next one is, null when none is left. */
  const advance = async (job: Job): Promise<number | null> => {
    const envelopeTo = await envelopeOf(job);
    const progress = progressOf(job.mail.id);
    let next: number | null = null;
    for (const recipient of alertRecipients(envelopeTo, config)) {
      const key = addressKey(recipient);
      let current = progress.get(key);
      if (current?.state === "served") continue;
      if (closing) return now();
      if (current === undefined || current.nextAt <= now()) {
        current = await serve(job, recipient, envelopeTo, current);
        progress.set(key, current);
      }
      if (current.state === "waiting") next = Math.min(next ?? current.nextAt, current.nextAt);
    }
    return next;
  };

  const work = async () => {
    while (!closing && jobs.length > 0) {
      woken = false;
      let next = Number.POSITIVE_INFINITY;
      for (const job of [...jobs]) {
        if (closing) break;
        try {
          const due = await advance(job);
          if (due === null) {
            jobs = jobs.filter((other) => other !== job);
            job.settle({ delivered: 1, fault: null });
          } else next = Math.min(next, due);
        } catch (thrown) {
          // The relay (or the spool) as a whole: every open event ends with the fault and comes again.
          const fault = asSensorError(thrown);
          for (const open of jobs.splice(0)) open.settle({ delivered: 0, fault });
          break;
        }
      }
      if (!closing && !woken && jobs.length > 0) await sleepUntil(next);
    }
  };

  const sleepUntil = (time: number) =>
    new Promise<void>((resolve) => {
      const timer = setTimeout(resolve, Math.max(0, Math.min(time - now(), LONGEST_RETRY_MS)));
      wake = () => {
        clearTimeout(timer);
        resolve();
      };
    }).finally(() => {
      wake = null;
    });

  const rouse = () => {
    woken = true;
    wake?.();
    working ??= work().finally(() => {
      working = null;
      if (jobs.length > 0 && !closing) rouse();
    });
  };

  return {
    carry(events) {
      const [event] = events;
      if (event?.mail === undefined) return Promise.resolve({ delivered: events.length, fault: null });
      const { mail } = event;
      return new Promise<Delivery>((settle) => {
        jobs.push({ event, mail, settle });
        rouse();
      });
    },
    async close() {
      closing = true;
      wake?.();
      await working;
      relay.close();
      const fault = new SensorError("ALERT_UNREACHABLE", "the sensor stops");
      for (const job of jobs.splice(0)) job.settle({ delivered: 0, fault });
    },
  };
}

function compileSubject(config: Pick<AlertConfig, "name" | "subject">): Template | null {
  if (config.subject === undefined) return null;
  try {
    return compileTemplate(config.subject);
  } catch (thrown) {
    const message = `alert ${config.name}: subject: ${asSensorError(thrown).message}`;
    throw new SensorError("CONFIG_INVALID", message, { cause: thrown });
  }
}
