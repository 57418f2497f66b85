/** `siem`: one destination of events. */
import { z } from "zod";
import { EVENT_TYPES } from "../../report/event.ts";
import { dottedPath, EVENT_PATHS } from "../../report/fields.ts";
import { LEEF_DELIMITERS } from "../../report/formats/leef.ts";
import {
  DEFAULT_SEVERITIES,
  FACILITIES,
  type Facility,
  SEVERITIES,
  type Severity,
  type SeverityMap,
} from "../../report/syslog.ts";
import { parseSize } from "../../units.ts";
import { readHostPort } from "../address.ts";
import { noted } from "../note.ts";
import { nearest } from "../suggest.ts";
import {
  type Conflict,
  choice,
  destinationName,
  duration,
  flag,
  isEmpty,
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
  whole,
} from "./kinds.ts";

/** A size as it is after its own check, or before. */
const sizeBelow = (value: unknown, least: number): boolean => {
  const bytes = typeof value === "string" ? parseSize(value) : value;
  return typeof bytes === "number" && bytes < least;
};

export const FORMATS = ["json", "template", "ecs", "ocsf", "cef", "leef"] as const;

const SYSLOG_TARGET = /^(udp|tcp|tls|relp):\/\//;

function syslogTarget() {
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

const fieldPaths = (example: readonly string[], description: string) =>
  key(
    description,
    z
      .array(
        noted(
          z.string().superRefine((value, context) => {
            if (EVENT_PATHS.has(dottedPath(value))) return;
            const meant = nearest(dottedPath(value), [...EVENT_PATHS]);
            const hint = meant === null ? "" : `; did you mean ${meant}?`;
            context.addIssue({ code: "custom", message: `is no member of an event${hint}` });
          }),
          { kind: "path of a member" },
        ),
      )
      .max(200)
      .optional(),
    { example },
  );

const fieldChoice = () =>
  z.strictObject({
    include: fieldPaths(
      ["mail.message_id", "verdict", "reasons", "attachments.sha256"],
      "Only these, and what is below them.",
    ),
    exclude: fieldPaths(["mail.envelope.helo"], "All but these and what is below them."),
  });

const hidden = (description: string) => key(description, choice(["keep", "hash", "drop"]).prefault("keep"));

const privacySection = () =>
  z.strictObject({
    addresses: hidden(
      "Addresses of the mail, and what looks like one in other texts. `hash` keeps the domain.",
    ),
    subjects: hidden("Subjects."),
    filenames: hidden("Names of attachments and of what they lie in. `hash` keeps the extension."),
    url_queries: key(
      "Queries of URLs; `drop` takes the fragment away, too.",
      choice(["keep", "drop"]).prefault("keep"),
    ),
    key_file: key(
      "Secret of the hashes, of at least 16 characters, the same for all sensors whose events shall have equal hashes.",
      path("secret").optional(),
      { fallback: "the secret of this installation", example: "/etc/email-sensor/privacy.key" },
    ),
  });

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

const tlsSection = () =>
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

const fileSection = () =>
  z.strictObject({
    path: key(
      "The file. Its folder must be there, and the sensor may make files in it. It may be moved away at any time (logrotate): the sensor makes a new one.",
      path("written"),
      { example: "/var/log/email-sensor/events.json" },
    ),
    max_size: key(
      "Largest size of a file, but for a single line that is longer. Then it becomes PATH.1, PATH.1 becomes PATH.2, and so on.",
      size("64KB", "1TB").prefault("100MB"),
    ),
    max_age: key("Age after which it does the same.", duration("1m", "3650d").optional(), { example: "1d" }),
    keep: key(
      "Older files to keep. What lies beyond, PATH.12 and the like, is removed with the next change of file.",
      whole(0, 1000).prefault(10),
    ),
  });

const HEADER_NAME = /^[A-Za-z0-9!#$%&'*+.^_`|~-]{1,64}$/;
/** The carrier sets these itself. */
const OWN_HEADERS = [
  "content-type",
  "content-length",
  "content-encoding",
  "transfer-encoding",
  "host",
  "connection",
];

const headerName = () =>
  noted(
    z
      .string()
      .regex(HEADER_NAME, "must be a header name")
      .refine((name) => !OWN_HEADERS.includes(name.toLowerCase()), "is set by the sensor itself"),
    { kind: "name" },
  );
const headerValue = () =>
  noted(z.string().regex(/^[ -~]{1,1024}$/, "must be printable ASCII"), { kind: "text" });
const dataStream = () =>
  noted(z.string().regex(/^[a-z0-9][a-z0-9_.-]{0,99}$/, "must be lower-case letters, digits, -, _ and ."), {
    kind: "name",
  });

const httpsSection = () =>
  z
    .strictObject({
      kind: key(
        "Who takes the events: `splunk_hec` (HTTP Event Collector), `elastic` (bulk API of Elasticsearch, into a data stream), or `webhook`, anything that takes JSON and answers 2xx when it has it.",
        choice(["splunk_hec", "elastic", "webhook"]),
        { example: "webhook" },
      ),
      url: key(
        "Its address. Without a path, `splunk_hec` and `elastic` take the usual one. `http://` sends events and token unencrypted.",
        httpsTarget(),
        { example: "https://siem.example.org/events" },
      ),
      token_file: key(
        "File with the secret of the Authorization header: the token of `splunk_hec`, the API key of `elastic` (the encoded one), or a bearer token.",
        path("secret").optional(),
        { example: "/etc/email-sensor/siem.token" },
      ),
      headers: key(
        "More headers of the request.",
        z
          .array(
            z
              .strictObject({
                name: key("Its name.", headerName(), { example: "X-Source" }),
                value: key("Its value.", headerValue().optional(), { example: "email-sensor" }),
                value_file: key("A file with a secret value.", path("secret").optional(), {
                  alternative: true,
                  example: "/etc/email-sensor/siem.header",
                }),
              })
              .check(
                rule(({ value, value_file }) =>
                  when(
                    (value === undefined) === (value_file === undefined),
                    "",
                    "needs either value or value_file",
                  ),
                ),
              ),
          )
          .max(16)
          .prefault([]),
      ),
      index: key("Index, of `splunk_hec`.", printable(80).optional(), {
        fallback: "that of the token",
        example: "mail",
      }),
      source: key("Source, of `splunk_hec`.", printable(255).optional(), {
        fallback: "that of the token",
        example: "email-sensor",
      }),
      sourcetype: key("Source type, of `splunk_hec`.", printable(255).optional(), {
        fallback: "that of the token",
        example: "_json",
      }),
      data_stream: key("Data stream, of `elastic`.", dataStream().prefault("logs-email_sensor-default")),
      body: key(
        "Body of a `webhook`: an `array` of events, or `ndjson`, one a line.",
        choice(["array", "ndjson"]).prefault("array"),
      ),
      gzip: key("Whether requests are compressed.", flag().prefault(false)),
      max_batch_events: key("Most events in a request.", whole(1, 10_000).prefault(500)),
      max_batch_size: key(
        "Most bytes in a request, before it is compressed.",
        size("16KB", "100MB").prefault("1MB"),
      ),
    })
    .check(
      rule(({ kind, token_file, ...https }) => [
        ...when(
          (kind === "splunk_hec" || kind === "elastic") && token_file === undefined && isEmpty(https.headers),
          "",
          "needs token_file",
        ),
        ...["index", "source", "sourcetype"].flatMap((name) =>
          when(https[name] !== undefined && kind !== "splunk_hec", name, "needs kind: splunk_hec"),
        ),
      ]),
    );

function httpsTarget() {
  return noted(
    z.string().superRefine((value, context) => {
      const url = URL.canParse(value) ? new URL(value) : null;
      const usable = url !== null && /^https?:$/.test(url.protocol);
      if (usable && url.username === "" && url.password === "" && url.hash === "") return;
      context.addIssue({
        code: "custom",
        message: usable
          ? "must have no user, password or #"
          : "must be https://HOST or https://HOST:PORT/PATH",
      });
    }),
    { kind: "`https://HOST/PATH`" },
  );
}

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
      syslogTarget().optional(),
      { example: "tcp://siem.example.org:514" },
    ),
    file: key("Writes events into a file instead, a line each.", fileSection().optional(), {
      alternative: true,
    }),
    https: key("Sends events by HTTPS instead, in batches.", httpsSection().optional(), {
      alternative: true,
    }),
    failover: key(
      "Addresses to take, in this order, while `syslog` cannot be reached; of the same kind. The sensor goes back to `syslog` within a minute after it can be reached again.",
      z.array(syslogTarget()).max(8).optional(),
      { example: ["tcp://siem2.example.org:514"] },
    ),
    tls: key("TLS of `tls://`, `relp://` and `https`.", tlsSection().optional(), { alternative: true }),
    format: key(
      "Form of an event: `json` as in event.schema.json, `ecs` (Elastic Common Schema), `ocsf` (Open Cybersecurity Schema Framework, several messages an event), `cef` (ArcSight), `leef` (QRadar), or `template`, a text of your own. events.md says what goes where.",
      choice(FORMATS).prefault("json"),
    ),
    leef_delimiter: key(
      "What stands between the attributes of `format: leef`.",
      choice(LEEF_DELIMITERS).optional(),
      { fallback: "`^`", alternative: true, example: "~" },
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
      "Only events whose verdict is this one or worse; the order is `clean`, `not_available`, `suspicious`, `malicious`. A `verdict.changed` is sent also where the verdict was as bad before. Events without a verdict and `mail.failed` are sent whatever this says.",
      choice(VERDICTS).prefault("clean"),
    ),
    queue: key(
      "What may wait for this destination while it is down or slow. What goes beyond is given up, the oldest first, and an event `sensor.state` named `events_dropped` says how many and which. Without limits everything waits as long as there is disk.",
      z
        .strictObject({
          max_events: key(
            "Most events that wait, of those it wants.",
            whole(1000, 1_000_000_000).optional(),
            {
              example: 1_000_000,
            },
          ),
          max_age: key("Longest time an event waits.", duration("1m", "3650d").optional(), { example: "7d" }),
        })
        .optional(),
    ),
    fields: key(
      "Which members of an event are sent, whatever the format. Paths of event.schema.json, dotted or as JSON pointers, without the numbers of list items. `schema`, `id`, `type`, `time` and `truncated` are always sent.",
      fieldChoice().optional(),
      { alternative: true },
    ),
    privacy: key(
      "What is taken out of every text of an event before it is formatted. A hash is HMAC-SHA-256, cut to 128 bits: equal values have equal hashes.",
      privacySection().optional(),
      { alternative: true },
    ),
    split: key(
      "Whether one more event is sent for each attachment and each URL that policy did not skip and that is not still being analysed (`attachment.verdict`, `url.verdict`), before that of the mail and as far as `min_verdict` goes.",
      flag().prefault(false),
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
      "Longest message or line; longer events are cut with a note in `truncated`, never dropped.",
      size("2KB", "16MB").optional(),
      { fallback: "8KB by UDP, 64KB by TCP, TLS and RELP, 256KB for the others", example: "8KB" },
    ),
    timeout: key(
      "Longest wait for a connection, a write or the answer to a request before it is tried again.",
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
      const known = FORMATS.some((name) => name === siem.format);
      return known ? given.flatMap((name) => when(true, name, "needs format: template")) : [];
    }),
    rule((siem) =>
      when(
        siem.format === "ocsf" && sizeBelow(siem.max_message_size, 4096),
        "max_message_size",
        "must be at least 4KB with format: ocsf",
      ),
    ),
    rule((siem) =>
      when(
        siem.leef_delimiter !== undefined && siem.format !== "leef",
        "leef_delimiter",
        "needs format: leef",
      ),
    ),
    rule(({ split, events, format }) => {
      if (split !== true) return [];
      const twice = ["attachment.verdict", "url.verdict"].filter(
        (type) => Array.isArray(events) && events.includes(type),
      );
      return [
        ...when(twice.length > 0, "split", `events has ${twice[0]}, which would be sent twice`),
        ...when(format === "ocsf", "split", "format ocsf always has one message for each part"),
      ];
    }),
    rule(transportConflicts),
  );

const KINDS = ["syslog", "file", "https"] as const;

/** What cannot be had of the transport of a destination. */
function transportConflicts(siem: Unchecked): readonly Conflict[] {
  const given = KINDS.filter((name) => siem[name] !== undefined);
  const [first, ...more] = given;
  if (first === undefined) return when(true, "", "needs where to send: one of syslog, file, https");
  const double = more.flatMap((name) => when(true, name, `conflicts with ${first}: keep one of the two`));
  if (typeof siem.syslog !== "string") {
    return [
      ...double,
      ...when(siem.tls !== undefined && first === "file", "tls", "has no meaning for a file"),
      ...["failover", "structured_data"].flatMap((name) =>
        when(siem[name] !== undefined, name, "is of syslog alone"),
      ),
    ];
  }
  const scheme = siem.syslog.slice(0, siem.syslog.indexOf("://"));
  const others: readonly unknown[] = Array.isArray(siem.failover) ? siem.failover : [];
  return [
    ...double,
    ...when(
      siem.tls !== undefined && !given.includes("https") && scheme !== "tls" && scheme !== "relp",
      "tls",
      "needs tls:// or relp:// in syslog, or https",
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
