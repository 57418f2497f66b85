/**
 * Syslog messages by RFC 5424: header, no structured data, the event as MSG.
 *
 * Pure. MSG is UTF-8 without a byte order mark and holds no control character, so that a receiver that splits
 * at line breaks sees one line. Header fields are reduced to what the RFC allows and never fail.
 */

import { escapeControls } from "../text.ts";
import type { SensorEvent } from "./event.ts";

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

export type SyslogSettings = {
  readonly facility: Facility;
  readonly hostname: string;
  readonly appName: string;
  readonly procId: string;
};

/** RFC 5424 section 6: the longest each header field may be. */
const MAX_HOSTNAME = 255;
const MAX_APP_NAME = 48;
const MAX_PROCID = 128;
const MAX_MSGID = 32;

/**
 * RFC 5424 table 2. By verdict: malicious 2 (critical), suspicious 4 (warning), not_available or incomplete
 * 5 (notice), clean 6 (informational). mail.failed is 3 (error), sensor.state 5, mail.received 6.
 */
export function severityOf(event: SensorEvent): number {
  if (event.type === "mail.failed") return 3;
  if (event.type === "sensor.state") return 5;
  if (event.verdict === undefined) return 6;
  switch (event.verdict) {
    case "malicious":
      return 2;
    case "suspicious":
      return 4;
    case "not_available":
      return 5;
    case "clean":
      return event.complete === false ? 5 : 6;
  }
}

/** HEADER SP SD SP: what stands before MSG. ASCII only. */
export function syslogHeader(event: SensorEvent, settings: SyslogSettings): string {
  const priority = FACILITIES[settings.facility] * 8 + severityOf(event);
  return [
    `<${priority}>1`,
    /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,6})?Z$/.test(event.time) ? event.time : "-",
    headerField(settings.hostname, MAX_HOSTNAME),
    headerField(settings.appName, MAX_APP_NAME),
    headerField(settings.procId, MAX_PROCID),
    headerField(event.type, MAX_MSGID),
    "-",
    "",
  ].join(" ");
}

/** One whole message for `text`, which becomes MSG with its control characters escaped. */
export function formatSyslog(event: SensorEvent, text: string, settings: SyslogSettings): string {
  return syslogHeader(event, settings) + escapeControls(text).replace(/^\uFEFF+/, "");
}

/** PRINTUSASCII (bytes 33 to 126); anything else becomes "_", an empty field the NILVALUE. */
function headerField(text: string, max: number): string {
  const field = text.slice(0, max).replace(/[^\x21-\x7E]/g, "_");
  return field === "" ? "-" : field;
}
