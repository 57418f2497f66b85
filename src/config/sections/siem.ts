/** `siem`: one destination of events. */
import { z } from "zod";
import { EVENT_TYPES } from "../../report/event.ts";
import { FACILITIES, type Facility } from "../../report/syslog.ts";
import { readHostPort } from "../address.ts";
import { noted } from "../note.ts";
import {
  choice,
  destinationName,
  key,
  path,
  printable,
  rule,
  size,
  template,
  VERDICTS,
  wait,
  when,
} from "./kinds.ts";

const SYSLOG_TARGET = /^(udp|tcp):\/\//;

export function syslogTarget() {
  return noted(
    z
      .string()
      .regex(SYSLOG_TARGET, "must be udp://HOST:PORT or tcp://HOST:PORT")
      .superRefine((value, context) => {
        if (!SYSLOG_TARGET.test(value)) return;
        const result = readHostPort(value.slice("udp://".length), 1);
        if ("problem" in result) context.addIssue({ code: "custom", message: result.problem });
      }),
    { kind: "`udp://HOST:PORT` or `tcp://HOST:PORT`" },
  );
}

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
      "Where to send: syslog after RFC 5424 by UDP (RFC 5426), or by TCP with octet counting (RFC 6587). UDP gives no sign of loss; take TCP where no event may be missing.",
      syslogTarget(),
      { example: "tcp://siem.example.org:514" },
    ),
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
    facility: key("Syslog facility.", choice(FACILITY_NAMES).prefault("local0")),
    app_name: key("APP-NAME of the syslog header.", printable(48).prefault("email-sensor")),
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
  );
