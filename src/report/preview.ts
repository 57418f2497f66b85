/**
 * What a destination would receive of an event: the bytes, as they go over the wire or into the file.
 *
 * Made by the functions that make the real ones. Opens no connection and reads no secret of the receiver: where one
 * would stand in a header, the name of its file does.
 */
import type { SiemConfig } from "../config/schema.ts";
import type { Log, LogFields } from "../log.ts";
import { headersOf, httpsBody, httpsTarget } from "./carrier-https.ts";
import { maxMessageBytes, syslogSettings } from "./carrier-syslog.ts";
import type { SensorEvent } from "./event.ts";
import { createFormatter } from "./formats/formatter.ts";
import { formatLines, formatMessages, httpsSettings, whyNot } from "./outbox.ts";
import { relpFrame } from "./transport-relp.ts";
import { frameByCounts, frameByLines } from "./transport-tcp.ts";

export type Preview = {
  /** Why it is not sent; null where it is. */
  readonly why: string | null;
  /** Each in one datagram, frame, line or request. */
  readonly payloads: readonly Uint8Array[];
  /** What the log of the sensor would say. */
  readonly notes: readonly string[];
};

export type Previewer = {
  /** Address or path. */
  readonly target: string;
  /** How the payloads are told apart, in words. */
  readonly framing: string;
  /** Of each request by HTTPS, in front of its payload; null for the others. */
  request(): Promise<{ readonly method: "POST"; readonly headers: Readonly<Record<string, string>> } | null>;
  preview(event: SensorEvent): Preview;
};

/** The open command of RELP has number 1. */
const FIRST_TXNR = 2;

/** `secret` is that of the hashes of `privacy`. Throws CONFIG_INVALID, naming the destination. */
export function createPreviewer(destination: SiemConfig, sensorId: string, secret: Uint8Array): Previewer {
  let notes: string[] = [];
  const log = noteLog((note) => {
    notes.push(note);
  });
  const formatter = createFormatter(destination, log, secret);
  const maxBytes = maxMessageBytes(destination);
  const { syslog, file, https } = destination;
  const settings = https === undefined ? null : httpsSettings(destination, https);
  const lines = (event: SensorEvent) => formatLines(event, formatter, maxBytes, log);
  const frame = frameOf(destination);
  let txnr = FIRST_TXNR;

  const payloadsOf = (event: SensorEvent): readonly Uint8Array[] => {
    if (syslog !== undefined) {
      const messages = formatMessages(event, syslogSettings(destination, sensorId), formatter, maxBytes, log);
      if (!syslog.startsWith("relp:")) return messages.map(frame);
      return messages.map((message) => relpFrame(txnr++, "syslog", message));
    }
    if (settings !== null) return [httpsBody(settings, lines(event))];
    return lines(event).map(({ text }) => Buffer.from(`${text}\n`));
  };

  return {
    target: syslog ?? file?.path ?? (settings === null ? "" : httpsTarget(settings).href),
    framing: framingOf(destination),
    async request() {
      if (settings === null) return null;
      const headers = await headersOf(settings, async (path) => `[the secret in ${path}]`);
      return { method: "POST", headers };
    },
    preview(event) {
      notes = [];
      const why = whyNot(destination, event);
      return why === null ? { why, payloads: payloadsOf(event), notes } : { why, payloads: [], notes };
    },
  };
}

function frameOf({ syslog, framing }: SiemConfig): (message: Uint8Array) => Uint8Array {
  if (syslog?.startsWith("udp:")) return (message) => message;
  return framing === "lf" ? (message) => frameByLines([message]) : (message) => frameByCounts([message]);
}

function framingOf({ syslog, framing, https, file }: SiemConfig): string {
  if (file !== undefined) return "a line each";
  if (https !== undefined) {
    const zipped = https.gzip ? ", compressed before it is sent" : "";
    return `${https.kind}, here a request for each event${zipped}`;
  }
  if (syslog?.startsWith("udp:")) return "a datagram each";
  if (syslog?.startsWith("relp:")) return "RELP: number, command and bytes stand before each message";
  return framing === "lf"
    ? "a line feed behind each message"
    : "octet counting: the number before each message says its bytes";
}

/** A log that gives warnings and errors as sentences. */
function noteLog(note: (words: string) => void): Log {
  const tell = (msg: string, fields?: LogFields) =>
    note(fields?.error === undefined ? msg : `${msg}: ${fields.error}`);
  return { debug() {}, info() {}, warn: tell, error: tell, with: () => noteLog(note) };
}
