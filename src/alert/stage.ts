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
import { type Ledger, openLedger, type WaitingNote } from "./ledger.ts";
import { alertMessage } from "./message.ts";
import { addressKey, alertRecipients } from "./recipients.ts";
import { createRelay, type Relay } from "./relay.ts";
import { wantsAlert } from "./wanted.ts";

export type Alerts = {
  status(): Promise<readonly DestinationStatus[]>;
  /** Lets the alert that is being sent end, within the time-outs of the relay. */
  stop(): Promise<void>;
};

const BATCH = 100;
/** A recipient the relay puts off for so long is given up. */
const GIVE_UP_MS = 24 * 3_600_000;
const FIRST_RETRY_MS = 5_000;
const LONGEST_RETRY_MS = 15 * 60_000;
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
  readonly log: Log;
  readonly now?: () => number;
}): Alerts {
  const log = options.log.with({ stage: "alert" });
  const now = options.now ?? Date.now;
  // Everything that can be wrong is found before the first loop starts.
  const senders = options.alerts.map((config) => {
    const own = log.with({ destination: alertCursor(config) });
    const composer = createComposer({
      config,
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
      wants: (event) => wantsAlert(event, sender.config),
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

type Sender = {
  readonly config: AlertConfig;
  readonly carrier: Carrier;
  status(): Pick<DestinationStatus, "state" | "composed" | "lastError" | "delivered">;
};

function startSender(options: {
  readonly config: AlertConfig;
  readonly composer: Composer;
  readonly relay: Relay;
  readonly dkim: DkimKey | null;
  readonly secret: Uint8Array;
  readonly spool: Pick<Spool, "mail" | "alertNotes" | "putAlertNotes">;
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
    const cut = event.truncated?.some((pointer) => "/mail/envelope/to".startsWith(pointer)) === true;
    const row = cut && event.mail !== undefined ? await spool.mail(event.mail.id) : null;
    return row?.envelope.to ?? event.mail?.envelope.to ?? [];
  };

  const record = async (ledger: Ledger, event: SensorEvent) => {
    const envelopeTo = await envelopeOf(event);
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

  /** One try of one alert. Throws where the relay as a whole is at fault. */
  const serve = async (ledger: Ledger, note: WaitingNote): Promise<void> => {
    const event = note.rows.at(-1)?.event;
    const ids = { mail_id: event?.mail?.id, event_id: event?.id };
    if (!ledger.allows(note)) {
      ledger.dropped(note, "limit");
      log.warn("an alert is left out: there were enough within the hour", {
        ...ids,
        left_out: ledger.leftOut(note),
      });
      return;
    }
    const giveUp = now() - (note.triedAt ?? now()) >= GIVE_UP_MS;
    const later = () =>
      ledger.postponed(
        note,
        now() + Math.min(LONGEST_RETRY_MS, FIRST_RETRY_MS * 2 ** Math.min(note.attempts, 16)),
      );
    let message: Buffer;
    try {
      message = await alertMessage({
        alert: composer.compose(note, ledger.leftOut(note)),
        from: config.from,
        to: note.address,
        logo: composer.logo,
        secret: options.secret,
        dkim: options.dkim,
        now: now(),
      });
    } catch (thrown) {
      // One that cannot be written must not hold the others up.
      log.error(
        giveUp ? "an alert cannot be written, it is given up" : "an alert cannot be written for now",
        {
          ...ids,
          ...faultFields(asSensorError(thrown)),
        },
      );
      if (giveUp) ledger.dropped(note, "refused");
      else later();
      return;
    }
    const answer = await relay.send(message, note.address);
    if (answer.state === "taken") {
      ledger.sent(note);
      delivered += 1;
      log.info("alert sent", { ...ids, mails: note.mails });
      return;
    }
    if (answer.permanent || giveUp) {
      ledger.dropped(note, "refused");
      log.error("the relay refuses a recipient, the alert is given up", {
        ...ids,
        attempts: note.attempts + 1,
        ...faultFields(new SensorError("ALERT_REFUSED", answer.message)),
      });
      return;
    }
    if (note.attempts === 0) {
      const why = new SensorError("ALERT_UNREACHABLE", answer.message);
      log.warn("the relay puts a recipient off, the alert is tried again", { ...ids, ...faultFields(why) });
    }
    later();
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

  const work = async (ledger: Ledger) => {
    while (!closing) {
      sleeper.forget();
      try {
        for (const note of ledger.due(now())) {
          if (closing) break;
          await serve(ledger, note);
          await ledger.save();
          goUp();
        }
        await ledger.save();
      } catch (thrown) {
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
    status: () => ({ state, lastError, delivered, composed: open?.waiting() ?? 0 }),
    carrier: {
      async carry(events) {
        const ledger = await ready;
        while (!closing && !ledger.hasRoom()) await Bun.sleep(POLL_MS);
        if (closing) return { delivered: 0, fault: new SensorError("ALERT_UNREACHABLE", "the sensor stops") };
        for (const event of events) await record(ledger, event);
        await ledger.save();
        sleeper.wake();
        return { delivered: events.length, fault: null };
      },
      async close() {
        closing = true;
        sleeper.wake();
        await working;
        await open
          ?.save()
          .catch((thrown: unknown) =>
            log.warn("what alerts remember could not be kept", faultFields(asSensorError(thrown))),
          );
        relay.close();
      },
    },
  };
}
