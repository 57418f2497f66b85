/**
 * Alert mails: verdicts out of the outbox in, mails to people out, through a relay.
 *
 * One destination an alert of the configuration. Its events are noted in the ledger, which is durable, and leave the
 * outbox then; what is due is sent one mail a recipient, with the null return path, so that recipients do not see each
 * other and no bounce comes back. A relay that cannot be reached is tried again until it takes the alert; a recipient
 * it refuses for good is logged and left; one it keeps putting off for a day too. A crash may send an alert twice, with
 * the same Message-ID.
 */
import type { AlertConfig } from "../config/schema.ts";
import { asSensorError, SensorError } from "../errors.ts";
import { faultFields, type Log } from "../log.ts";
import type { SensorIdentity } from "../report/compose.ts";
import { type Carrier, type DestinationStatus, pauseAfter, startDelivery } from "../report/delivery.ts";
import type { EventPart, SensorEvent } from "../report/event.ts";
import { createSleeper, pause } from "../sleeper.ts";
import type { Spool } from "../spool/spool.ts";
import { type Composer, createComposer } from "./compose.ts";
import { type DkimKey, loadDkimKey } from "./dkim.ts";
import { alertingParts, isAmong, keepEvent } from "./facts.ts";
import { type Ledger, type Note, openLedger, type WaitingNote } from "./ledger.ts";
import { alertMessage } from "./message.ts";
import { addressKey, alertRecipients } from "./recipients.ts";
import { createRelay, type Relay } from "./relay.ts";
import { createTemplateThread } from "./template-thread.ts";
import { namedRecipients, wantsAlert, withoutReports } from "./wanted.ts";

export type Alerts = {
  status(): Promise<readonly DestinationStatus[]>;
  /** Lets the alert that is being sent end, for a few seconds; cut then, it is sent again with the next start. */
  stop(): Promise<void>;
};

const BATCH = 100;
/** A recipient the relay puts off for so long is given up. */
const GIVE_UP_MS = 24 * 3_600_000;
const FIRST_RETRY_MS = 5_000;
const LONGEST_RETRY_MS = 15 * 60_000;
/** Alerts in a row that a relay may fail at and yet be held for sound, where it took one just before. */
const MAX_SUSPECTS = 5;
/** For the alert that is being sent when the sensor stops. */
const GRACE_MS = 5_000;
/** How often a look at the clock is due whatever happens. */
const POLL_MS = 1000;

/** The name of the outbox cursor of an alert. */
export function alertCursor(alert: Pick<AlertConfig, "name">): string {
  return `alert:${alert.name}`;
}

export function startAlerts(options: {
  readonly alerts: readonly AlertConfig[];
  /** Of the installation: signs the marker. */
  readonly secret: Uint8Array;
  readonly spool: Spool;
  readonly sensor: SensorIdentity;
  /** Servers of VMRay, whose pages alerts link to and are not about. */
  readonly analyzers?: readonly string[];
  readonly log: Log;
  readonly now?: () => number;
}): Alerts {
  const log = options.log.with({ stage: "alert" });
  const now = options.now ?? Date.now;
  const analyzers = (options.analyzers ?? []).flatMap((url) => URL.parse(url)?.origin ?? []);
  const templates = createTemplateThread();
  // Everything that can be wrong is found before the first loop starts.
  const senders = options.alerts.map((config) => {
    const own = log.with({ destination: alertCursor(config) });
    const composer = createComposer({
      config,
      render: templates.render,
      sensorId: options.sensor.id,
      secret: options.secret,
      failed: (fault, eventId) =>
        own.error("a template failed, the built-in one is used", {
          event_id: eventId,
          ...faultFields(fault),
        }),
    });
    const relay = createRelay(config, options.sensor.id);
    return startSender({
      config,
      composer,
      relay,
      dkim: loadDkimKey(config),
      secret: options.secret,
      spool: options.spool,
      analyzers,
      log: own,
      now,
    });
  });
  const loops = senders.map((sender) => ({
    sender,
    loop: startDelivery({
      destination: alertCursor(sender.config),
      name: sender.config.name,
      spool: options.spool,
      log,
      carrier: sender.carrier,
      batch: BATCH,
      maxOpen: BATCH,
      wants: (event) => wantsAlert(withoutReports(event, analyzers), sender.config),
    }),
  }));
  return {
    status: () =>
      Promise.all(
        loops.map(async ({ sender, loop }) => {
          return { ...(await loop.status()), ...sender.status() };
        }),
      ),
    async stop() {
      await Promise.all(loops.map(({ loop }) => loop.stop()));
      templates.stop();
    },
  };
}

/** What makes an alert the same as another one. What was suspicious and is malicious now is told anew. */
function alertContents(
  event: SensorEvent,
  config: Pick<AlertConfig, "min_verdict" | "on">,
): readonly string[] {
  const { attachments, urls, sender } = alertingParts(event, config.min_verdict, config.on);
  const as = ({ verdict }: EventPart) => (verdict === "malicious" ? "" : ` ${verdict}`);
  const from = event.mail?.from[0] ?? event.mail?.envelope.from ?? "";
  return [
    ...attachments.map((part) => `file:${part.sha256}${as(part)}`),
    ...urls.map((part) => `url:${part.url}${as(part)}`),
    ...(sender ? [`sender:${addressKey(from)}`] : []),
  ];
}

function idsOf(note: WaitingNote) {
  const event = note.rows.at(-1)?.event;
  return { mail_id: event?.mail?.id, event_id: event?.id };
}

type Sender = {
  readonly config: AlertConfig;
  readonly carrier: Carrier;
  status(): Pick<DestinationStatus, "state" | "composed" | "lastError" | "delivered" | "refused">;
};

function startSender(options: {
  readonly config: AlertConfig;
  readonly composer: Composer;
  readonly relay: Relay;
  readonly dkim: DkimKey | null;
  readonly secret: Uint8Array;
  readonly spool: Pick<Spool, "mail" | "alertNotes" | "putAlertNotes">;
  readonly analyzers: readonly string[];
  readonly log: Log;
  readonly now: () => number;
}): Sender {
  const { config, composer, relay, spool, log, now } = options;
  const sleeper = createSleeper();
  let closing = false;
  let faults = 0;
  let state: DestinationStatus["state"] = "idle";
  let lastError: string | null = null;
  let delivered = 0;
  let refused = 0;
  let open: Ledger | null = null;

  const opening = async (): Promise<Ledger> => {
    for (let tries = 1; ; tries += 1) {
      try {
        open = await openLedger({ destination: alertCursor(config), settings: config, spool, now });
        return open;
      } catch (thrown) {
        const fault = asSensorError(thrown);
        log.warn("the alerts that wait cannot be read, it is tried again", faultFields(fault));
        if (closing) throw fault;
        await rest(pauseAfter(tries));
      }
    }
  };

  const rest = (milliseconds: number) => pause(sleeper, milliseconds, () => closing);

  /** The event names only so many recipients: where it was cut, the spool knows the others. */
  const envelopeOf = async (event: SensorEvent): Promise<readonly string[]> => {
    const named = namedRecipients(event);
    if (named !== null) return named;
    const row = event.mail === undefined ? null : await spool.mail(event.mail.id);
    return row?.envelope.to ?? event.mail?.envelope.to ?? [];
  };

  const record = async (ledger: Ledger, event: SensorEvent) => {
    const envelopeTo = await envelopeOf(event);
    if (!wantsAlert(event, config, envelopeTo)) return;
    const { fixed, own } = alertRecipients(envelopeTo, config);
    ledger.record(
      keepEvent(event, config.min_verdict, config.on),
      alertContents(event, config),
      [
        ...fixed.map((address) => ({ address, fixed: true, yours: isAmong(address, envelopeTo) })),
        ...own.map((address) => ({ address, fixed: false, yours: true })),
      ],
      envelopeTo,
    );
  };

  /** After a try that failed for this one alert: true where it waits, false where it went on for a day. */
  const waits = (ledger: Ledger, note: WaitingNote, permanent = false): boolean => {
    if (permanent || now() - (note.triedAt ?? now()) >= GIVE_UP_MS) {
      ledger.refused(note.id);
      return false;
    }
    const wait = Math.min(LONGEST_RETRY_MS, FIRST_RETRY_MS * 2 ** Math.min(note.attempts, 16));
    ledger.postponed(note.id, now() + wait);
    return true;
  };

  const putOff = (ledger: Ledger, note: WaitingNote, permanent: boolean, message: string) => {
    const ids = idsOf(note);
    if (!waits(ledger, note, permanent)) {
      const why = new SensorError("ALERT_REFUSED", message);
      refused += 1;
      lastError = `${why.code}: ${why.message}`;
      log.error("the relay refuses an alert, it is given up", {
        ...ids,
        attempts: note.attempts + 1,
        ...faultFields(why),
      });
    } else if (note.attempts === 0) {
      const why = new SensorError("ALERT_UNREACHABLE", message);
      log.warn("the relay puts an alert off, it is tried again", { ...ids, ...faultFields(why) });
    }
  };

  /** Null where it cannot be written: it must not hold the others up. */
  const written = async (ledger: Ledger, note: WaitingNote): Promise<Buffer | null> => {
    try {
      return await alertMessage({
        alert: await composer.compose(note, note.leftOut ?? 0),
        from: config.from,
        to: note.address,
        logo: composer.logo,
        secret: options.secret,
        dkim: options.dkim,
        now: now(),
      });
    } catch (thrown) {
      log.error(
        waits(ledger, note)
          ? "an alert cannot be written for now"
          : "an alert cannot be written, it is given up",
        { ...idsOf(note), ...faultFields(asSensorError(thrown)) },
      );
      return null;
    }
  };

  /** False for an alert that was noted by another configuration, which had a reader that this one has not. */
  const mayReach = ({ address, fixed }: Note): boolean => {
    const readers = alertRecipients([address], config);
    return isAmong(address, fixed ? readers.fixed : [...readers.fixed, ...readers.own]);
  };

  /** One try of one alert; true where the relay answered. Throws where the relay may be at fault as a whole. */
  const serve = async (ledger: Ledger, note: WaitingNote): Promise<boolean> => {
    if (!mayReach(note)) {
      ledger.refused(note.id);
      log.warn("an alert is dropped: its recipient is in the configuration no more", idsOf(note));
      return false;
    }
    const allowedAt = ledger.allowedAt(note);
    if (allowedAt > now()) {
      const summary = ledger.held(note.id, allowedAt);
      if (summary?.leftOut === 1) {
        log.warn("an alert waits to be part of a summary: there were enough within the hour", idsOf(note));
      }
      return false;
    }
    const message = await written(ledger, note);
    if (message === null) return false;
    const answer = await relay.send(message, note.address);
    if (answer.state === "taken") {
      ledger.sent(note.id);
      delivered += 1;
      const leftOut = note.leftOut === undefined ? {} : { left_out: note.leftOut };
      log.info("alert sent", { ...idsOf(note), mails: note.mails, ...leftOut });
    } else putOff(ledger, note, answer.permanent, answer.message);
    return true;
  };

  const goDown = (fault: SensorError) => {
    faults += 1;
    lastError = `${fault.code}: ${fault.message}`;
    if (state !== "down") log.warn("the destination is down, its alerts wait", faultFields(fault));
    state = "down";
  };
  const goUp = () => {
    if (state === "down") log.info("the destination is up again");
    state = "up";
    faults = 0;
  };

  /** How often each due alert ended in what may be a fault of the relay: those that did are tried last. */
  const faulted = new Map<string, number>();

  /** Sends what is due. Throws where the relay is at fault: not where it serves others and fails at some alerts. */
  const sendDue = async (ledger: Ledger) => {
    const due = new Set(ledger.due(now()));
    for (const id of faulted.keys()) if (!due.has(id)) faulted.delete(id);
    const timesOf = (id: string) => faulted.get(id) ?? 0;
    let served = false;
    let suspects: { readonly note: WaitingNote; readonly fault: SensorError }[] = [];
    const clear = async () => {
      for (const { note, fault } of suspects) putOff(ledger, note, false, fault.message);
      suspects = [];
      await ledger.save();
    };
    for (const id of [...due].toSorted((a, b) => timesOf(a) - timesOf(b))) {
      if (closing) break;
      const note = ledger.begin(id);
      if (note === null) continue;
      try {
        if (!(await serve(ledger, note))) continue;
      } catch (thrown) {
        const fault = asSensorError(thrown);
        faulted.set(id, timesOf(id) + 1);
        suspects.push({ note, fault });
        if (suspects.length >= (served ? MAX_SUSPECTS : 2)) throw fault;
        continue;
      }
      served = true;
      faulted.delete(id);
      await clear();
      goUp();
    }
    const [suspect] = suspects;
    if (suspect !== undefined && !served) throw suspect.fault;
    await clear();
  };

  const work = async (ledger: Ledger) => {
    while (!closing) {
      sleeper.forget();
      try {
        await sendDue(ledger);
      } catch (thrown) {
        if (closing) return;
        goDown(asSensorError(thrown));
        await rest(pauseAfter(faults));
        continue;
      }
      const next = ledger.nextAt();
      if (!closing)
        await sleeper.sleep(Math.min(POLL_MS, next === null ? POLL_MS : Math.max(0, next - now())));
    }
  };

  const ready = opening();
  const working = ready.then(work, () => undefined);
  return {
    config,
    status: () => ({ state, lastError, delivered, refused, composed: open?.waiting() ?? 0 }),
    carrier: {
      async carry(events) {
        const ledger = await ready;
        let recorded = 0;
        for (const event of events) {
          if (!ledger.hasRoom()) {
            await ledger.save();
            sleeper.wake();
          }
          while (!closing && !ledger.hasRoom()) await Bun.sleep(POLL_MS);
          if (closing) break;
          await record(ledger, withoutReports(event, options.analyzers));
          recorded += 1;
        }
        await ledger.save();
        sleeper.wake();
        const stops = recorded < events.length;
        return {
          delivered: recorded,
          fault: stops ? new SensorError("ALERT_UNREACHABLE", "the sensor stops") : null,
        };
      },
      async close() {
        closing = true;
        sleeper.wake();
        const cut = setTimeout(() => relay.close(), GRACE_MS);
        await working;
        clearTimeout(cut);
        await open
          ?.save()
          .catch((thrown: unknown) =>
            log.warn("what alerts remember could not be kept", faultFields(asSensorError(thrown))),
          );
      },
    },
  };
}
