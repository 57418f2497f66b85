/**
 * Syslog messages: a header by RFC 5424 or RFC 3164, and the event as MSG.
 *
 * Pure but for the time zone of the machine, in which RFC 3164 gives the time. MSG is UTF-8 without a byte order
 * mark and holds no control character, so that a receiver that splits at line breaks sees one line. Header fields
 * are reduced to what the RFC allows and never fail.
 */

import { escapeControls } from "../text.ts";
import type { SensorEvent } from "./event.ts";
import type { VisibleEvent } from "./formats/format.ts";

/** RFC 5424 table 1, by the names of syslog.conf. */
export const FACILITIES = {
  kern: 0,
  user: 1,
  mail: 2,
  daemon: 3,
  auth: 4,
  syslog: 5,
  lpr: 6,
  news: 7,
  uucp: 8,
  cron: 9,
  authpriv: 10,
  ftp: 11,
  ntp: 12,
  audit: 13,
  alert: 14,
  clock: 15,
  local0: 16,
  local1: 17,
  local2: 18,
  local3: 19,
  local4: 20,
  local5: 21,
  local6: 22,
  local7: 23,
} as const;
export type Facility = keyof typeof FACILITIES;

/** RFC 5424 table 2, by the names of syslog.conf. */
export const SEVERITIES = {
  emerg: 0,
  alert: 1,
  crit: 2,
  err: 3,
  warning: 4,
  notice: 5,
  info: 6,
  debug: 7,
} as const;
export type Severity = keyof typeof SEVERITIES;

/** By verdict, and of the events that have none. */
export type SeverityMap = {
  readonly malicious: Severity;
  readonly suspicious: Severity;
  readonly not_available: Severity;
  readonly clean: Severity;
  /** `mail.failed`. */
  readonly failed: Severity;
  /** `sensor.state`. */
  readonly state: Severity;
  /** Other events without a verdict. */
  readonly received: Severity;
};

export const DEFAULT_SEVERITIES: SeverityMap = {
  malicious: "crit",
  suspicious: "warning",
  not_available: "notice",
  clean: "info",
  failed: "err",
  state: "notice",
  received: "info",
};

export type SyslogSettings = {
  readonly facility: Facility;
  /** Absent: RFC 5424. */
  readonly header?: "rfc5424" | "rfc3164" | undefined;
  readonly severity?: SeverityMap | undefined;
  /** SD-ID (NAME@NUMBER) of the element that repeats the main fields; absent: none. RFC 5424 alone has it. */
  readonly structuredData?: string | undefined;
  readonly hostname: string;
  readonly appName: string;
  readonly procId: string;
};

/** RFC 5424 section 6: the longest each header field may be. */
const MAX_HOSTNAME = 255;
const MAX_APP_NAME = 48;
const MAX_PROCID = 128;
const MAX_MSGID = 32;
const MAX_SD_NAME = 32;
/** No id or name that is repeated in structured data is longer. */
const MAX_PARAM = 128;

/** The longest TAG that RFC 3164 section 5.3 allows. */
const MAX_TAG = 32;

/** A clean mail of which a part could not be judged counts as not available. */
export function severityOf(event: SensorEvent, map: SeverityMap = DEFAULT_SEVERITIES): number {
  const name = ((): keyof SeverityMap => {
    if (event.type === "mail.failed") return "failed";
    if (event.type === "sensor.state") return "state";
    if (event.verdict === undefined) return "received";
    return event.verdict === "clean" && event.complete === false ? "not_available" : event.verdict;
  })();
  return SEVERITIES[map[name]];
}

/** All that stands before MSG, the space included. ASCII only. `shown` is what the destination may have of the event. */
export function syslogHeader(
  event: SensorEvent,
  settings: SyslogSettings,
  shown: VisibleEvent = event,
): string {
  const priority = FACILITIES[settings.facility] * 8 + severityOf(event, settings.severity);
  const hostname = headerField(settings.hostname, MAX_HOSTNAME);
  if (settings.header === "rfc3164") {
    const tag = headerField(settings.appName, MAX_TAG).replace(/[[\]:]/g, "_");
    const procId = headerField(settings.procId, MAX_PROCID).replace(/[[\]:]/g, "_");
    return `<${priority}>${localTime(event.time)} ${hostname} ${tag}[${procId}]: `;
  }
  return [
    `<${priority}>1`,
    /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,6})?Z$/.test(event.time) ? event.time : "-",
    hostname,
    headerField(settings.appName, MAX_APP_NAME),
    headerField(settings.procId, MAX_PROCID),
    headerField(event.type, MAX_MSGID),
    structuredData(shown, settings.structuredData),
    "",
  ].join(" ");
}

/** The same for what cannot be read as an event: severity err, the time of now where there must be one. */
export function bareHeader(settings: SyslogSettings, now: number = Date.now()): string {
  const bare = { schema: "", id: "", type: "mail.failed", sensor: { id: "", version: "" } } as const;
  const severity = { ...DEFAULT_SEVERITIES, ...settings.severity, failed: "err" } as const;
  const time = new Date(now).toISOString();
  return syslogHeader({ ...bare, time }, { ...settings, severity, structuredData: undefined });
}

/** One whole message for `text`, which becomes MSG with its control characters escaped. */
export function formatSyslog(
  event: SensorEvent,
  text: string,
  settings: SyslogSettings,
  shown: VisibleEvent = event,
): string {
  return syslogHeader(event, settings, shown) + escapeControls(text).replace(/^\uFEFF+/, "");
}

/** An SD-ELEMENT with what a receiver sorts by, without parsing MSG: RFC 5424 section 6.3. */
function structuredData(event: VisibleEvent, id: string | undefined): string {
  if (id === undefined) return "-";
  const params = [
    ["id", event.id],
    ["type", event.type],
    ["verdict", event.verdict],
    ["mail", event.mail?.id],
  ].flatMap(([name, value]) => (value === undefined ? [] : [` ${name}="${paramValue(value)}"`]));
  return `[${headerField(id, MAX_SD_NAME).replace(/[="\]]/g, "_")}${params.join("")}]`;
}

/** PARAM-VALUE: section 6.3.3 wants quote, backslash and bracket escaped. */
function paramValue(text: string): string {
  return text
    .slice(0, MAX_PARAM)
    .replace(/[^\x20-\x7E]/g, "_")
    .replace(/["\\\]]/g, "\\$&");
}

const MONTHS = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/** TIMESTAMP of RFC 3164 section 4.1.2: local time, the day padded with a space. */
function localTime(time: string): string {
  const parsed = new Date(time);
  const date = Number.isNaN(parsed.getTime()) ? new Date(0) : parsed;
  const two = (value: number) => String(value).padStart(2, "0");
  const clock = [date.getHours(), date.getMinutes(), date.getSeconds()].map(two).join(":");
  return `${MONTHS[date.getMonth()]} ${String(date.getDate()).padStart(2)} ${clock}`;
}

/** PRINTUSASCII (bytes 33 to 126); anything else becomes "_", an empty field the NILVALUE. */
function headerField(text: string, max: number): string {
  const field = text.slice(0, max).replace(/[^\x21-\x7E]/g, "_");
  return field === "" ? "-" : field;
}
