/**
 * Reporting: every event to every syslog destination that wants it, each at its own pace.
 *
 * Destinations of the configuration in, syslog messages out. A destination that is down holds no other up and
 * loses nothing: its events wait in the outbox, in order (delivery.ts). One event that cannot be formatted is sent
 * in a plainer form and never blocks the others. The cursors must exist: Spool.setDestinations comes first.
 */
import { type HostPort, readHostPort } from "../config/address.ts";
import type { SiemConfig } from "../config/schema.ts";
import { asSensorError, SensorError } from "../errors.ts";
import { faultFields, type Log } from "../log.ts";
import type { Spool } from "../spool/spool.ts";
import { toJsonLine } from "../text.ts";
import { atLeast } from "../verdict/verdict.ts";
import { type Carrier, type DestinationStatus, startDelivery } from "./delivery.ts";
import type { SensorEvent } from "./event.ts";
import { createFormatter, type Formatter } from "./formats/formatter.ts";
import { formatSyslog, type SyslogSettings, syslogHeader } from "./syslog.ts";
import type { Transport } from "./transport.ts";
import { createTcpTransport } from "./transport-tcp.ts";
import { createUdpTransport } from "./transport-udp.ts";

export type Reporting = {
  status(): Promise<readonly DestinationStatus[]>;
  /** Lets what is under way arrive, for at most the time-out of each destination. */
  stop(): Promise<void>;
};

/** RFC 5424 section 6.1 and RFC 5426 section 3.2 ask receivers for 2048 at least; common ones take these. */
const DEFAULT_UDP_BYTES = 8192;
const DEFAULT_TCP_BYTES = 64 * 1024;
/** Below this an event cannot be told any more. */
export const MIN_MESSAGE_BYTES = 2048;
/** What an IPv4 datagram can hold. */
const MAX_UDP_BYTES = 65_507;
const BATCH = 100;
/** Bytes handed to a transport and not delivered yet, give or take one batch. */
const MAX_OPEN_BYTES = 16 * 1024 * 1024;

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
  const { scheme, host, port } = readTarget(destination);
  const settings: SyslogSettings = {
    facility: destination.facility,
    hostname: sensorId,
    appName: destination.app_name,
    procId: String(process.pid),
  };
  const formatter = createFormatter(destination, log);
  const maxBytes = Math.max(
    MIN_MESSAGE_BYTES,
    scheme === "udp"
      ? Math.min(destination.max_message_size ?? DEFAULT_UDP_BYTES, MAX_UDP_BYTES)
      : (destination.max_message_size ?? DEFAULT_TCP_BYTES),
  );
  const create: (target: HostPort & { readonly timeout: number }) => Transport =
    scheme === "udp" ? createUdpTransport : createTcpTransport;
  const transport = create({ host, port, timeout: destination.timeout });
  let openBytes = 0;
  return {
    carry(events) {
      const formatted = events.map((event) => formatMessages(event, settings, formatter, maxBytes, log));
      const messages = formatted.flat();
      const size = messages.reduce((sum, { byteLength }) => sum + byteLength, 0);
      openBytes += size;
      return transport
        .send(messages)
        .then(({ delivered, fault }) => ({ delivered: wholeEvents(formatted, delivered), fault }))
        .finally(() => {
          openBytes -= size;
        });
    },
    full: () => openBytes >= MAX_OPEN_BYTES,
    close: () => transport.close(),
  };
}

/** How many events, from the first on, have all of their messages among the first `messages`. */
export function wholeEvents(formatted: readonly (readonly unknown[])[], messages: number): number {
  let end = 0;
  const cut = formatted.findIndex((one) => {
    end += one.length;
    return end > messages;
  });
  return cut === -1 ? formatted.length : cut;
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

function readTarget({ name, syslog }: SiemConfig): HostPort & { readonly scheme: string } {
  const [scheme = "", rest = ""] = syslog.split("://");
  const address = readHostPort(rest, 1);
  if ("problem" in address) {
    throw new SensorError("CONFIG_INVALID", `siem destination ${name}: syslog ${address.problem}`);
  }
  return { scheme, ...address };
}
