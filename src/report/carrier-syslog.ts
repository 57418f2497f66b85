/**
 * The syslog carrier: events become messages of a destination's header and format and go over its transport.
 */
import { readHostPort } from "../config/address.ts";
import type { SiemConfig } from "../config/schema.ts";
import { SensorError } from "../errors.ts";
import type { Log } from "../log.ts";
import type { Carrier } from "./delivery.ts";
import type { SensorEvent } from "./event.ts";
import type { StreamSettings, TlsSettings } from "./stream.ts";
import type { SyslogSettings } from "./syslog.ts";
import { deliveryOfEvents, type Transport } from "./transport.ts";
import { createFailoverTransport } from "./transport-failover.ts";
import { createRelpTransport } from "./transport-relp.ts";
import { createTcpTransport } from "./transport-tcp.ts";
import { createUdpTransport } from "./transport-udp.ts";

/** RFC 5424 section 6.1 and RFC 5426 section 3.2 ask receivers for 2048 at least; common ones take these. */
const DEFAULT_UDP_BYTES = 8192;
const DEFAULT_STREAM_BYTES = 64 * 1024;
/** A file or a request has room for a whole event. */
const DEFAULT_LINE_BYTES = 256 * 1024;
/** Below this an event cannot be told any more. */
export const MIN_MESSAGE_BYTES = 2048;
/** What an IPv4 datagram can hold. */
const MAX_UDP_BYTES = 65_507;
/** Bytes handed to a transport and not delivered yet, give or take one batch. */
const MAX_OPEN_BYTES = 24 * 1024 * 1024;

export type SyslogTarget = { readonly scheme: string; readonly host: string; readonly port: number };

/** The parts of `tcp://HOST:PORT`. Throws CONFIG_INVALID. */
export function readTarget(name: string, address: string): SyslogTarget {
  const [scheme = "", rest = ""] = address.split("://");
  const read = readHostPort(rest, 1);
  if ("problem" in read) {
    throw new SensorError("CONFIG_INVALID", `siem destination ${name}: syslog ${read.problem}`);
  }
  return { scheme, ...read };
}

/** The header of a destination's messages. */
export function syslogSettings(destination: SiemConfig, sensorId: string): SyslogSettings {
  return {
    facility: destination.facility,
    header: destination.header,
    severity: destination.severity,
    structuredData: destination.structured_data,
    hostname: destination.host_name ?? sensorId,
    appName: destination.app_name,
    procId: String(process.pid),
  };
}

/** The most bytes of one message to a destination. */
export function maxMessageBytes({ syslog, max_message_size }: SiemConfig): number {
  const byUdp = syslog?.startsWith("udp:") ?? false;
  const usual = syslog === undefined ? DEFAULT_LINE_BYTES : byUdp ? DEFAULT_UDP_BYTES : DEFAULT_STREAM_BYTES;
  const wanted = max_message_size ?? usual;
  return Math.max(MIN_MESSAGE_BYTES, byUdp ? Math.min(wanted, MAX_UDP_BYTES) : wanted);
}

export function tlsSettings(tls: SiemConfig["tls"]): TlsSettings {
  return {
    ca: tls?.ca_file,
    cert: tls?.cert_file,
    key: tls?.key_file,
    serverName: tls?.server_name,
    verify: tls?.verify ?? true,
  };
}

/** `messagesOf` gives the whole messages of an event and never throws. */
export function createSyslogCarrier(
  destination: SiemConfig,
  syslog: string,
  messagesOf: (event: SensorEvent) => readonly Uint8Array[],
  log: Log,
): Carrier {
  const addresses = [syslog, ...(destination.failover ?? [])];
  const transport = createFailoverTransport(
    addresses.map((address) => {
      const target = readTarget(destination.name, address);
      return () => createTransport(destination, target);
    }),
    { onChange: (index) => log.warn("another address is used from now on", { address: addresses[index] }) },
  );
  let openBytes = 0;
  return {
    carry(events) {
      const formatted = events.map(messagesOf);
      const messages = formatted.flat();
      const size = messages.reduce((sum, { byteLength }) => sum + byteLength, 0);
      openBytes += size;
      return transport
        .send(messages)
        .then((delivery) => deliveryOfEvents(formatted, delivery))
        .finally(() => {
          openBytes -= size;
        });
    },
    full: () => openBytes >= MAX_OPEN_BYTES,
    close: () => transport.close(),
  };
}

function createTransport(destination: SiemConfig, { scheme, host, port }: SyslogTarget): Transport {
  const plain: StreamSettings = { host, port, timeout: destination.timeout };
  const overTls: StreamSettings = { ...plain, tls: tlsSettings(destination.tls) };
  const { framing } = destination;
  switch (scheme) {
    case "udp":
      return createUdpTransport(plain);
    case "relp":
      return createRelpTransport(destination.tls === undefined ? plain : overTls);
    case "tls":
      return createTcpTransport({ ...overTls, framing });
    default:
      return createTcpTransport({ ...plain, framing });
  }
}
