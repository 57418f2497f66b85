/** `siem`: one destination of events. */
import { z } from "zod";
import { EVENT_TYPES } from "../../report/event.ts";
import {
  DEFAULT_SEVERITIES,
  FACILITIES,
  type Facility,
  SEVERITIES,
  type Severity,
  type SeverityMap,
} from "../../report/syslog.ts";
import { readHostPort } from "../address.ts";
import { noted } from "../note.ts";
import {
  type Conflict,
  choice,
  destinationName,
  flag,
  key,
  path,
  printable,
  rule,
  size,
  template,
  type Unchecked,
  VERDICTS,
  wait,
  when,
} from "./kinds.ts";

const SYSLOG_TARGET = /^(udp|tcp|tls|relp):\/\//;

export function syslogTarget() {
  return noted(
    z
      .string()
      .regex(SYSLOG_TARGET, "must be udp://, tcp://, tls:// or relp://, and HOST:PORT")
      .superRefine((value, context) => {
        if (!SYSLOG_TARGET.test(value)) return;
        const result = readHostPort(value.slice(value.indexOf("://") + 3), 1);
        if ("problem" in result) context.addIssue({ code: "custom", message: result.problem });
      }),
    { kind: "`udp://`, `tcp://`, `tls://` or `relp://`, and `HOST:PORT`" },
  );
}

/** RFC 5424 section 6.3.2: a name of its own under a private enterprise number. */
const structuredDataId = () =>
  noted(
    z
      .string()
      .regex(
        /^(?=.{3,32}$)[!#-<>?A-Z[\\^-~]+@[0-9]+(\.[0-9]+)*$/,
        "must be NAME@NUMBER, at most 32 characters, with your private enterprise number",
      ),
    { kind: "`NAME@NUMBER`" },
  );

export const tlsSection = () =>
  z
    .strictObject({
      ca_file: key(
        "Authorities that may have signed the receiver's certificate.",
        path("certificate").optional(),
        {
          fallback: "those that the program carries",
          example: "/etc/email-sensor/siem-ca.pem",
        },
      ),
      cert_file: key("Certificate to show to the receiver, with its chain.", path("certificate").optional(), {
        example: "/etc/email-sensor/siem-client.pem",
      }),
      key_file: key("Its private key, without a passphrase.", path("private key").optional(), {
        example: "/etc/email-sensor/siem-client.key",
      }),
      server_name: key("Name that must be in the receiver's certificate.", printable(253).optional(), {
        fallback: "the host of the address",
        example: "siem.example.org",
      }),
      verify: key(
        "Whether the receiver's certificate is checked. Without it anyone in between can read and drop events.",
        flag().prefault(true),
      ),
    })
    .check(
      rule(({ cert_file, key_file }) => [
        ...when(cert_file !== undefined && key_file === undefined, "cert_file", "needs key_file"),
        ...when(key_file !== undefined && cert_file === undefined, "key_file", "needs cert_file"),
      ]),
    );

/** RFC 5424 section 6.2.1, table 2. */
const SEVERITY_NAMES = Object.keys(SEVERITIES) as readonly Severity[];
const severity = (of: string, name: keyof SeverityMap) =>
  key(`Of ${of}.`, choice(SEVERITY_NAMES).prefault(DEFAULT_SEVERITIES[name]));

/** RFC 5424 section 6.2.1, table 1. */
const FACILITY_NAMES = Object.keys(FACILITIES) as readonly Facility[];

export const siemDestination = z
  .strictObject({
    name: key(
      "Name of the destination in logs and in the outbox. Changing it starts a new destination: events that wait for the old name are not sent.",
      destinationName(),
      { example: "soc" },
    ),
    syslog: key(
      "Where to send syslog: by UDP (RFC 5426), TCP (RFC 6587), TLS (RFC 5425) or RELP. UDP gives no sign of loss. RELP alone has every message acknowledged: take it where no event may be missing. With `tls`, RELP goes over TLS.",
      syslogTarget(),
      { example: "tcp://siem.example.org:514" },
    ),
    failover: key(
      "Addresses to take, in this order, while `syslog` cannot be reached; of the same kind. The sensor goes back to `syslog` within a minute after it can be reached again.",
      z.array(syslogTarget()).max(8).optional(),
      { example: ["tcp://siem2.example.org:514"] },
    ),
    tls: key("TLS of `tls://` and `relp://`.", tlsSection().optional(), { alternative: true }),
    format: key(
      "Form of an event: `json` as in event.schema.json, or `template`, a text of your own.",
      choice(["json", "template"]).prefault("json"),
    ),
    template: key(
      "The text of `format: template` in the Liquid language, one event a message.",
      template(65_536).optional(),
      { alternative: true, example: "{{ type }} {{ verdict }} {{ mail.message_id }}" },
    ),
    template_file: key("The same from a file.", path("template").optional(), {
      alternative: true,
      example: "siem.liquid",
    }),
    events: key(
      "Types of events to send.",
      z
        .array(choice(EVENT_TYPES))
        .min(1)
        .prefault(["mail.verdict", "mail.failed", "verdict.changed", "sensor.state"]),
    ),
    min_verdict: key(
      "Only events whose verdict is this one or worse; the order is `clean`, `not_available`, `suspicious`, `malicious`. Events without a verdict and `mail.failed` are sent whatever this says.",
      choice(VERDICTS).prefault("clean"),
    ),
    framing: key(
      "How messages are told apart by TCP and TLS: `octet-counting` (RFC 6587, RFC 5425), or `lf`, a line feed behind each, for receivers that know no better.",
      choice(["octet-counting", "lf"]).prefault("octet-counting"),
    ),
    header: key(
      "Syslog header: `rfc5424`, or `rfc3164`, the old one, for receivers that know no other. The old one has the local time of this machine, without a year and without parts of a second.",
      choice(["rfc5424", "rfc3164"]).prefault("rfc5424"),
    ),
    facility: key("Syslog facility.", choice(FACILITY_NAMES).prefault("local0")),
    severity: key(
      "Syslog severity.",
      z
        .strictObject({
          malicious: severity("malicious", "malicious"),
          suspicious: severity("suspicious", "suspicious"),
          not_available: severity("what could not be judged, or not in full", "not_available"),
          clean: severity("clean", "clean"),
          failed: severity("`mail.failed`", "failed"),
          state: severity("`sensor.state`", "state"),
          received: severity("`mail.received`", "received"),
        })
        .prefault({}),
    ),
    app_name: key(
      "APP-NAME of the syslog header, or TAG of the old one.",
      printable(48).prefault("email-sensor"),
    ),
    host_name: key("HOSTNAME of the syslog header.", printable(255).optional(), {
      fallback: "`sensor.id`",
      example: "mx1.example.org",
    }),
    structured_data: key(
      "Name of an element of structured data (RFC 5424) with `id`, `type`, `verdict` and `mail`, for receivers that sort by it. The number is your private enterprise number.",
      structuredDataId().optional(),
      { fallback: "none", example: "emailsensor@32473" },
    ),
    max_message_size: key(
      "Longest syslog message; longer events are cut with a note in `truncated`, never dropped.",
      size("2KB", "16MB").optional(),
      { fallback: "8KB by UDP, 64KB by TCP", example: "8KB" },
    ),
    timeout: key(
      "Longest wait for a TCP connection or a write before it is tried again.",
      wait().prefault("10s"),
    ),
  })
  .check(
    rule((siem) => {
      const given = ["template", "template_file"].filter((name) => siem[name] !== undefined);
      if (siem.format === "template") {
        return [
          ...when(given.length === 0, "", "format template needs template or template_file"),
          ...when(given.length === 2, "template_file", "conflicts with template: keep one of the two"),
        ];
      }
      return siem.format === "json"
        ? given.flatMap((name) => when(true, name, "needs format: template"))
        : [];
    }),
    rule(transportConflicts),
  );

/** What cannot be had of the transport of a destination. */
function transportConflicts(siem: Unchecked): readonly Conflict[] {
  if (typeof siem.syslog !== "string") return [];
  const scheme = siem.syslog.slice(0, siem.syslog.indexOf("://"));
  const others: readonly unknown[] = Array.isArray(siem.failover) ? siem.failover : [];
  return [
    ...when(
      siem.tls !== undefined && scheme !== "tls" && scheme !== "relp",
      "tls",
      "needs tls:// or relp:// in syslog",
    ),
    ...when(
      others.length > 0 && scheme === "udp",
      "failover",
      "cannot be with udp://, which gives no sign of loss",
    ),
    ...others.flatMap((other, index) =>
      typeof other === "string" && SYSLOG_TARGET.test(other) && !other.startsWith(`${scheme}://`)
        ? [{ path: ["failover", index], message: `must be ${scheme}:// as syslog is` }]
        : [],
    ),
    ...when(
      siem.framing === "lf" && scheme !== "tcp" && scheme !== "tls",
      "framing",
      "is of tcp:// and tls:// alone",
    ),
    ...when(
      siem.structured_data !== undefined && siem.header === "rfc3164",
      "structured_data",
      "needs header: rfc5424",
    ),
  ];
}
