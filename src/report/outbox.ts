/**
 * Reporting: every event to every destination that wants it, each at its own pace.
 *
 * Destinations of the configuration in; out go syslog messages, lines of files and requests by HTTPS. A destination
 * that is down holds no other up and loses nothing: its events wait in the outbox, in order (delivery.ts). One event
 * that cannot be formatted is sent in a plainer form and never blocks the others. The cursors must exist:
 * Spool.addDestinations comes first.
 */
import type { SiemConfig } from "../config/schema.ts";
import { asSensorError, SensorError } from "../errors.ts";
import { faultFields, type Log } from "../log.ts";
import { createSleeper } from "../sleeper.ts";
import type { Spool } from "../spool/spool.ts";
import { escapeControls, toJsonLine } from "../text.ts";
import { VERSION } from "../version.ts";
import { createFileCarrier } from "./carrier-file.ts";
import { createHttpsCarrier, type HttpsSettings, MAX_REFUSED_IN_A_ROW } from "./carrier-https.ts";
import { createSyslogCarrier, maxMessageBytes, syslogSettings, tlsSettings } from "./carrier-syslog.ts";
import { composeState } from "./compose.ts";
import {
  type Carrier,
  type DestinationLoop,
  type DestinationStatus,
  type QueueLimits,
  startDelivery,
} from "./delivery.ts";
import { concerns, type SensorEvent } from "./event.ts";
import { createFormatter, type Formatter, type Message } from "./formats/formatter.ts";
import { elastic, type HttpsKind, splunkHec, webhook } from "./https-kinds.ts";
import { pacedCarrier } from "./paced.ts";
import { createRefusalNotes } from "./refusals.ts";
import { bareHeader, formatSyslog, type SyslogSettings, syslogHeader } from "./syslog.ts";

export type Reporting = {
  status(): Promise<readonly DestinationStatus[]>;
  /**
   * Sends the events from `since` to before `until` (milliseconds since 1970) to a destination once more, beside
   * what it gets anyway, also over a restart. Gives how many there are; `unknown` where there is no such
   * destination, `running` while an earlier replay of it goes on.
   */
  replay(name: string, since: number, until: number): Promise<number | "unknown" | "running">;
  /** Lets what is under way arrive, for at most the time-out of each destination. */
  stop(): Promise<void>;
};

const BATCH = 100;
/** Each is flushed to disk. */
const FILE_BATCH = 500;
/** So many that the carrier sees others beside those that are refused. */
const LEAST_HTTPS_BATCH = 2 * MAX_REFUSED_IN_A_ROW;
const REPLAY_POLL_MS = 10_000;

/** The name of the outbox cursor of a destination. */
export function siemCursor(destination: Pick<SiemConfig, "name">): string {
  return `siem:${destination.name}`;
}

/** Why a destination does not want an event, in words; null where it does. */
export function whyNot(
  { events, min_verdict }: Pick<SiemConfig, "events" | "min_verdict">,
  event: SensorEvent,
): string | null {
  if (!events.includes(event.type)) return `events does not name ${event.type}`;
  return concerns(event, min_verdict) ? null : `min_verdict is ${min_verdict}, and this is ${event.verdict}`;
}

export function startReporting(options: {
  readonly destinations: readonly SiemConfig[];
  readonly spool: Spool;
  /** HOSTNAME of the messages. */
  readonly sensorId: string;
  /** Of the installation: for hashes that hide what is private. */
  readonly secret: Uint8Array;
  readonly log: Log;
}): Reporting {
  const log = options.log.with({ stage: "report" });
  const sensor = { id: options.sensorId, version: VERSION };
  // Everything that can be wrong is found before the first loop starts.
  const carriers = options.destinations.map((destination) => {
    const ownLog = log.with({ destination: siemCursor(destination) });
    if (destination.tls?.verify === false) {
      ownLog.warn(
        "the certificate of the receiver is not checked: anyone in between can read and drop events",
        {
          key: "siem[].tls.verify",
        },
      );
    }
    // Told to the other destinations, too.
    const refusals = createRefusalNotes(destination.name, async (message) => {
      try {
        await options.spool.putEvents([composeState("event_refused", message, sensor, Date.now())]);
      } catch (thrown) {
        ownLog.warn("the refusal is not in the outbox", faultFields(asSensorError(thrown)));
      }
    });
    return {
      destination,
      refusals,
      carrier: createCarrier(destination, options.sensorId, options.secret, ownLog),
    };
  });
  const loops = carriers.map(({ destination, refusals, carrier }) => {
    const { max_events: maxEvents, max_age: maxAge } = destination.queue ?? {};
    const shared = {
      destination: siemCursor(destination),
      name: destination.name,
      spool: options.spool,
      log,
      carrier,
      batch: batchOf(destination),
      onRefused: refusals.add,
      wants: (event: SensorEvent) => whyNot(destination, event) === null,
    };
    const limits: QueueLimits = {
      maxEvents,
      maxAge,
      event: (message) => composeState("events_dropped", message, sensor, Date.now()),
    };
    return {
      main: startDelivery(destination.queue === undefined ? shared : { ...shared, limits }),
      again: startReplays(shared),
    };
  });
  return {
    status: () => Promise.all(loops.map(({ main }) => main.status())),
    async replay(name, since, until) {
      const destination = options.destinations.find((one) => one.name === name);
      if (destination === undefined) return "unknown";
      return (await options.spool.startReplay(siemCursor(destination), since, until)) ?? "running";
    },
    async stop() {
      await Promise.all(loops.flatMap(({ main, again }) => [main.stop(), again.stop()]));
      await Promise.all(carriers.map(({ refusals }) => refusals.close()));
    },
  };
}

/** Delivers the replays of a destination, one after the other, over its carrier; a fault of the spool is retried. */
function startReplays(shared: Parameters<typeof startDelivery>[0]): { stop(): Promise<void> } {
  const { destination, spool, carrier } = shared;
  const log = shared.log.with({ replay: true });
  const sleeper = createSleeper();
  const unsubscribe = spool.subscribe("events", sleeper.wake);
  let stopped = false;
  let current: DestinationLoop | null = null;
  const run = async () => {
    while (!stopped) {
      sleeper.forget();
      try {
        const replay = await spool.replay(destination);
        if (stopped) break;
        if (replay === null) {
          await sleeper.sleep(REPLAY_POLL_MS);
          continue;
        }
        log.info("a replay begins", { destination, from: replay.seq + 1, to: replay.last });
        current = startDelivery({
          ...shared,
          log,
          // The carrier is closed with the delivery it belongs to.
          carrier: { ...carrier, close: async () => {} },
          position: {
            read: async () => replay.seq,
            commit: (seq) => spool.advanceReplay(destination, seq),
            last: replay.last,
          },
        });
        await current.ended;
        await current.stop();
        current = null;
        if (!stopped) log.info("the replay ended", { destination });
      } catch (thrown) {
        log.warn("the replays cannot be read, it is tried again", faultFields(asSensorError(thrown)));
        await sleeper.sleep(REPLAY_POLL_MS);
      }
    }
  };
  const running = run();
  return {
    async stop() {
      stopped = true;
      unsubscribe();
      sleeper.wake();
      await current?.stop();
      await running;
    },
  };
}

/** Events handed over at once. */
function batchOf({ https, file }: SiemConfig): number {
  if (https !== undefined) return Math.max(https.max_batch_events, LEAST_HTTPS_BATCH);
  return file === undefined ? BATCH : FILE_BATCH;
}

function createCarrier(destination: SiemConfig, sensorId: string, secret: Uint8Array, log: Log): Carrier {
  const formatter = createFormatter(destination, log, secret);
  const maxBytes = maxMessageBytes(destination);
  const { syslog, file, https } = destination;
  if (syslog !== undefined) {
    const settings = syslogSettings(destination, sensorId);
    return pacedCarrier(
      (event) => formatMessages(event, settings, formatter, maxBytes, log),
      (messagesOf) => createSyslogCarrier(destination, syslog, messagesOf, log),
    );
  }
  const linesOf = (event: SensorEvent) => formatLines(event, formatter, maxBytes, log);
  if (file !== undefined) {
    const { path, max_size, max_age, keep } = file;
    return pacedCarrier(
      (event) => linesOf(event).map(({ text }) => text),
      (made) => createFileCarrier({ path, maxSize: max_size, maxAge: max_age, keep }, made),
    );
  }
  if (https !== undefined) {
    const settings = httpsSettings(destination, https);
    return pacedCarrier(linesOf, (made) => createHttpsCarrier(settings, made));
  }
  throw new SensorError(
    "CONFIG_INVALID",
    `siem destination ${destination.name}: needs syslog, file or https`,
  );
}

/** How a destination is sent to by HTTPS. */
export function httpsSettings(
  { tls, timeout }: SiemConfig,
  https: NonNullable<SiemConfig["https"]>,
): HttpsSettings {
  return {
    url: https.url,
    kind: httpsKind(https),
    tokenFile: https.token_file,
    headers: https.headers.map(({ name, value, value_file }) => ({ name, value, valueFile: value_file })),
    tls: tlsSettings(tls),
    gzip: https.gzip,
    timeout,
    maxBytes: https.max_batch_size,
    maxItems: https.max_batch_events,
  };
}

function httpsKind(https: NonNullable<SiemConfig["https"]>): HttpsKind {
  switch (https.kind) {
    case "splunk_hec":
      return splunkHec({ index: https.index, source: https.source, sourcetype: https.sourcetype });
    case "elastic":
      return elastic(https.data_stream);
    case "webhook":
      return webhook(https.body);
  }
}

/** The lines of an event; whatever is wrong with it, it costs no other its place. */
export function formatLines(
  event: SensorEvent,
  formatter: Formatter,
  maxBytes: number,
  log: Log,
): readonly Message[] {
  try {
    return formatter
      .format(event, () => maxBytes)
      .map(({ event: about, text }) => {
        const line = escapeControls(text);
        return { event: about, text: fits(line, maxBytes) ? line : bareLine(about, TOO_LONG, log) };
      });
  } catch (thrown) {
    return [{ event, text: bareLine(event, thrown, log) }];
  }
}

/** The format is asked for less and less until it fits; a long header may leave too little for the least of it. */
const TOO_LONG = new Error("the format has no form of it that fits max_message_size");

function fits(text: string, maxBytes: number): boolean {
  return text.length * 3 <= maxBytes || Buffer.byteLength(text) <= maxBytes;
}

/** What can be said of an event that no format takes. */
function bareLine({ schema, id, type, time }: SensorEvent, thrown: unknown, log: Log): string {
  log.error("an event could not be formatted, only its id is sent", {
    event_id: String(id),
    ...faultFields(asSensorError(thrown)),
  });
  return toJsonLine({ schema, id, type, time, truncated: [""] });
}

/** The syslog messages of an event; whatever is wrong with it, it costs no other its place. */
export function formatMessages(
  event: SensorEvent,
  settings: SyslogSettings,
  formatter: Formatter,
  maxBytes: number,
  log: Log,
): readonly Uint8Array[] {
  try {
    const shown = (about: SensorEvent) =>
      settings.structuredData === undefined ? about : formatter.select(about);
    const header = (about: SensorEvent) => syslogHeader(about, settings, shown(about));
    return formatter
      .format(event, (about) => maxBytes - header(about).length)
      .map(({ event: about, text }) => {
        const message = formatSyslog(about, text, settings, shown(about));
        return Buffer.from(
          fits(message, maxBytes) ? message : header(about) + bareLine(about, TOO_LONG, log),
        );
      });
  } catch (thrown) {
    return [Buffer.from(bareHeader(settings) + bareLine(event, thrown, log))];
  }
}
