/**
 * Reporting: every event to every syslog destination that wants it, each at its own pace.
 *
 * Destinations of the configuration in, syslog messages out. A destination that is down holds no other up and
 * loses nothing: its events wait in the outbox, in order (delivery.ts). One event that cannot be formatted is sent
 * in a plainer form and never blocks the others. The cursors must exist: Spool.setDestinations comes first.
 */
import type { SiemConfig } from "../config/schema.ts";
import { asSensorError } from "../errors.ts";
import { faultFields, type Log } from "../log.ts";
import type { Spool } from "../spool/spool.ts";
import { toJsonLine } from "../text.ts";
import { atLeast } from "../verdict/verdict.ts";
import { createSyslogCarrier, maxMessageBytes, syslogSettings } from "./carrier-syslog.ts";
import { type Carrier, type DestinationStatus, startDelivery } from "./delivery.ts";
import type { SensorEvent } from "./event.ts";
import { createFormatter, type Formatter } from "./formats/formatter.ts";
import { formatSyslog, type SyslogSettings, syslogHeader } from "./syslog.ts";

export type Reporting = {
  status(): Promise<readonly DestinationStatus[]>;
  /** Lets what is under way arrive, for at most the time-out of each destination. */
  stop(): Promise<void>;
};

const BATCH = 100;

/** The name of the outbox cursor of a destination. */
export function siemCursor(destination: Pick<SiemConfig, "name">): string {
  return `siem:${destination.name}`;
}

export function startReporting(options: {
  readonly destinations: readonly SiemConfig[];
  readonly spool: Spool;
  /** HOSTNAME of the messages. */
  readonly sensorId: string;
  readonly log: Log;
}): Reporting {
  const log = options.log.with({ stage: "report" });
  // Everything that can be wrong is found before the first loop starts.
  const carriers = options.destinations.map((destination) => ({
    destination,
    carrier: createCarrier(destination, options.sensorId, log.with({ destination: siemCursor(destination) })),
  }));
  const loops = carriers.map(({ destination, carrier }) => {
    const types = new Set(destination.events);
    return startDelivery({
      destination: siemCursor(destination),
      name: destination.name,
      spool: options.spool,
      log,
      carrier,
      batch: BATCH,
      wants: ({ type, verdict }) =>
        types.has(type) &&
        (type === "mail.failed" || verdict === undefined || atLeast(verdict, destination.min_verdict)),
    });
  });
  return {
    status: () => Promise.all(loops.map((loop) => loop.status())),
    async stop() {
      await Promise.all(loops.map((loop) => loop.stop()));
    },
  };
}

function createCarrier(destination: SiemConfig, sensorId: string, log: Log): Carrier {
  const settings = syslogSettings(destination, sensorId);
  const formatter = createFormatter(destination, log);
  const maxBytes = maxMessageBytes(destination);
  return createSyslogCarrier(
    destination,
    destination.syslog,
    (event) => formatMessages(event, settings, formatter, maxBytes, log),
    log,
  );
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
    const room = (about: SensorEvent) => maxBytes - syslogHeader(about, settings).length;
    return formatter
      .format(event, room)
      .map(({ event: about, text }) => Buffer.from(formatSyslog(about, text, settings)));
  } catch (thrown) {
    log.error("an event could not be formatted, only its id is sent", {
      event_id: String(event.id),
      ...faultFields(asSensorError(thrown)),
    });
    const { schema, id, type, time } = event;
    const bare = toJsonLine({ schema, id, type, time, truncated: [""] });
    return [Buffer.from(`<131>1 - - - - - - ${bare}`)];
  }
}
