/**
 * The configuration: the one source of its types, its checks, its reference page, its example and its JSON
 * Schema for editors. A key is added here, with its note, and nowhere else.
 *
 * Sizes are written as 64MB or 512KB (powers of 1024) and become bytes; durations as 30s, 5m, 1h, 7d and
 * become milliseconds. Defaults are written as a person would write them. File checks and `${NAME}` are load.ts.
 */
import { hostname } from "node:os";
import { z } from "zod";
import { TRACKING_PARAMETERS } from "../extract/urls/normal-form.ts";
import { EVENT_TYPES } from "../report/event.ts";
import { FACILITIES, type Facility } from "../report/syslog.ts";
import { parseDuration, parseSize, SIZE_UNITS, TIME_UNITS } from "../units.ts";
import {
  HOST_PORT,
  isLoopback,
  type Problematic,
  readControlAddress,
  readDomain,
  readHostPort,
  readMailAddress,
  readNetwork,
  readServerUrl,
} from "./address.ts";
import { type FileKind, type KeyNote, noted } from "./note.ts";

/** A key with its meaning. */
const key = <T extends z.core.$ZodType>(description: string, schema: T, note: KeyNote = {}): T =>
  noted(schema, { description, ...note });

// ---- kinds of values

function quantity(
  parse: (text: string) => number | null,
  units: Readonly<Record<string, number>>,
  like: string,
  bounds: { readonly min: string; readonly max: string },
) {
  const names = Object.keys(units);
  const advice = `must be a number with a unit, like ${like} (${names.join(", ")})`;
  const min = parse(bounds.min) ?? 0;
  const max = parse(bounds.max) ?? Number.MAX_SAFE_INTEGER;
  return z
    .string(advice)
    .regex(new RegExp(`^ *\\d{1,15}(\\.\\d{1,6})? ?(${names.join("|")}) *$`), advice)
    .transform((text, context) => {
      const value = parse(text);
      if (value !== null && value >= min && value <= max) return value;
      context.addIssue({ code: "custom", message: `must be from ${bounds.min} to ${bounds.max}` });
      return z.NEVER;
    });
}

const size = (min: string, max: string) =>
  noted(quantity(parseSize, SIZE_UNITS, "64MB", { min, max }), { kind: `size, ${min} to ${max}` });
const duration = (min: string, max: string) =>
  noted(quantity(parseDuration, TIME_UNITS, "30s", { min, max }), { kind: `duration, ${min} to ${max}` });
/** A wait that ends in a timer; timers of the runtime end at 2^31 ms. */
const wait = () => duration("1ms", "24d");

/** Text that `read` turns into its normal form. */
function text(kind: string, read: (value: string) => string | Problematic) {
  const checked = z.string().transform((value, context) => {
    const result = read(value);
    if (typeof result === "string") return result;
    context.addIssue({ code: "custom", message: result.problem });
    return z.NEVER;
  });
  return noted(checked, { kind });
}

function hostPort(minPort: 0 | 1 = 0) {
  const checked = z.string().regex(HOST_PORT, "must be HOST:PORT, like 127.0.0.1:25");
  return noted(
    checked.superRefine((value, context) => {
      if (!HOST_PORT.test(value)) return;
      const result = readHostPort(value, minPort);
      if ("problem" in result) context.addIssue({ code: "custom", message: result.problem });
    }),
    { kind: "`HOST:PORT`" },
  );
}

const SYSLOG_TARGET = /^(udp|tcp):\/\//;

function syslogTarget() {
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

function controlAddress() {
  return noted(
    z.string().superRefine((value, context) => {
      const result = readControlAddress(value);
      if ("problem" in result) context.addIssue({ code: "custom", message: result.problem });
    }),
    { kind: "`unix:/PATH` or `HOST:PORT`" },
  );
}

const path = (file: FileKind) =>
  noted(
    z
      .string()
      .min(1, "must name a file")
      .max(4096, "must be at most 4096 characters")
      .regex(/^[^\0]*$/, "must not hold a NUL character"),
    { kind: file === "folder" ? "folder" : `file (${file})`, file },
  );

/** Text in the header of a syslog message: RFC 5424 section 6, PRINTUSASCII. */
const printable = (max: number) =>
  noted(
    z
      .string()
      .regex(new RegExp(`^[!-~]{1,${max}}$`), `must be 1 to ${max} printable ASCII characters, no space`),
    { kind: "text" },
  );

const choice = <const T extends readonly string[]>(names: T) => z.enum(names);
const whole = (min: number, max: number) =>
  noted(z.int().min(min).max(max), { kind: `number, ${min} to ${max}` });
const flag = () => noted(z.boolean(), { kind: "`true` or `false`" });
/** An address, or what stands before its @. */
const mailbox = () =>
  noted(
    z
      .string()
      .regex(
        /^[^\s@+<>(),:;"\\[\]\p{C}]{1,64}(@[^\s@<>(),:;"\\\p{C}]{1,255})?$/u,
        "must be a mail address or what stands before its @, without a +",
      ),
    { kind: "mail address or its part before the `@`" },
  );
const destinationName = () =>
  noted(
    z.string().regex(/^[a-z0-9][a-z0-9_-]{0,62}$/, "must be 1 to 63 lower-case letters, digits, - and _"),
    { kind: "name" },
  );
const template = (max: number) =>
  noted(z.string().min(1, "is empty").max(max), { kind: "Liquid template", template: true });

/** The host name as SMTP and syslog can carry it. */
function safeHostname(): string {
  return (
    hostname()
      .replace(/[^A-Za-z0-9.-]/g, "-")
      .slice(0, 253) || "localhost"
  );
}

// ---- rules over several keys

type Conflict = { readonly path: readonly (string | number)[]; readonly message: string };
type Unchecked = Readonly<Record<string, unknown>>;

/**
 * A rule over the keys of one section. It also runs where single keys are wrong, so that all problems are
 * listed at once: what it gets is unchecked.
 */
function rule(find: (section: Unchecked) => readonly Conflict[]) {
  return z.core._check<object>(
    (payload) => {
      const section: unknown = payload.value;
      if (typeof section !== "object" || section === null || Array.isArray(section)) return;
      for (const { path: where, message } of find(section as Unchecked)) {
        payload.issues.push({ code: "custom", path: [...where], message, input: payload.value });
      }
    },
    { when: () => true },
  );
}

const when = (broken: boolean, name: string, message: string): readonly Conflict[] =>
  broken ? [{ path: name === "" ? [] : [name], message }] : [];

const isEmpty = (value: unknown): boolean =>
  value === undefined || (Array.isArray(value) && value.length === 0);

/** Names that an earlier entry of the same list has. */
function doubleNames(section: Unchecked): readonly Conflict[] {
  return ["siem", "alerts"].flatMap((list) => {
    const entries: unknown = section[list];
    if (!Array.isArray(entries)) return [];
    const names: readonly unknown[] = entries.map((entry: unknown) =>
      typeof entry === "object" && entry !== null ? Reflect.get(entry, "name") : undefined,
    );
    return names.flatMap((name, index) =>
      typeof name === "string" && names.indexOf(name) < index
        ? [{ path: [list, index, "name"], message: "is the name of an earlier entry already" }]
        : [],
    );
  });
}

function doubleListens(section: Unchecked): readonly Conflict[] {
  const listens: readonly unknown[] = Array.isArray(section.listen) ? section.listen : [];
  return listens.flatMap((address, index) =>
    typeof address === "string" && !address.endsWith(":0") && listens.indexOf(address) < index
      ? [{ path: ["listen", index], message: "is in the list twice" }]
      : [],
  );
}

// ---- sections

export const TYPE_GROUPS = [
  "documents",
  "scripts",
  "executables",
  "archives",
  "html",
  "disk_images",
  "shortcuts",
  "mails",
  "images",
  "media",
  "text",
  "other",
] as const;
export type TypeGroup = (typeof TYPE_GROUPS)[number];

/** RFC 5424 section 6.2.1, table 1. */
const FACILITY_NAMES = Object.keys(FACILITIES) as readonly Facility[];

const VERDICTS = ["malicious", "suspicious", "not_available", "clean"] as const;

const siemDestination = z
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

const alert = z
  .strictObject({
    name: key("Name of the alert in logs and in the outbox.", destinationName(), { example: "blue-team" }),
    relay: key("Mail relay that takes the alerts.", hostPort(1), { example: "127.0.0.1:25" }),
    from: key(
      "Address in the From header. The envelope sender is empty, so that no bounce comes back.",
      text("mail address", readMailAddress),
      {
        example: "email-sensor@example.org",
      },
    ),
    to_recipients: key(
      "Alert the recipients of the mail, those within `domains` only.",
      flag().prefault(false),
    ),
    domains: key(
      "Domains whose recipients may be alerted, exactly as named: subdomains are domains of their own.",
      z.array(text("domain", readDomain)).max(1000).prefault([]),
      { example: ["example.org"] },
    ),
    to: key(
      "Fixed addresses that get every alert.",
      z.array(text("mail address", readMailAddress)).max(100).prefault([]),
      {
        example: ["soc@example.org"],
      },
    ),
    min_verdict: key(
      "Alert where an attachment has this verdict or a worse one.",
      choice(["malicious", "suspicious"]).prefault("malicious"),
    ),
    subject: key("Subject of the alert in the Liquid language.", template(1000).optional(), {
      fallback: "names the verdict",
      example: "Malicious mail: {{ attachments[0].filename }}",
    }),
    max_per_recipient_hour: key(
      "Alerts one recipient gets within an hour; the next alert says how many were left out.",
      whole(1, 10_000).prefault(10),
    ),
  })
  .check(
    rule((section) => [
      ...when(
        isEmpty(section.to) && section.to_recipients === false,
        "",
        "reaches nobody: set to, or to_recipients with domains",
      ),
      ...when(
        section.to_recipients === true && isEmpty(section.domains),
        "to_recipients",
        "needs domains: nobody outside the domains named there is ever alerted",
      ),
    ]),
  );

export const schema = z
  .strictObject({
    sensor: key(
      "Who this sensor is.",
      z
        .strictObject({
          id: key(
            "Name of this sensor in its events and in the syslog header.",
            printable(255).default(() => safeHostname()),
            { fallback: "the host name", example: "sensor-01.example.org" },
          ),
        })
        .prefault({}),
    ),
    smtp: key(
      "Where mails come in. The MTA sends a copy of each mail here.",
      z
        .strictObject({
          listen: key(
            "Addresses to listen on. Port 0 takes any free port.",
            z.array(hostPort()).min(1).max(64).prefault(["127.0.0.1:10025"]),
            { example: ["0.0.0.0:10025", "[::]:10025"] },
          ),
          networks: key(
            "Networks whose hosts may send mails; all others are refused.",
            z
              .array(text("network (CIDR)", readNetwork))
              .min(1)
              .max(1000)
              .prefault(["127.0.0.0/8", "::1/128"]),
            { example: ["127.0.0.0/8", "10.1.0.0/16"] },
          ),
          hostname: key(
            "Name in the SMTP greeting.",
            text("domain", readDomain).default(() => safeHostname()),
            { fallback: "the host name", example: "sensor-01.example.org" },
          ),
          max_size: key(
            "Largest mail taken; larger ones are refused with 552. No smaller than what the MTA takes: it would bounce the rest.",
            size("1KB", "2GB").prefault("100MB"),
          ),
          max_recipients: key(
            "Recipients of one mail; more are put off with 452 (RFC 5321 wants 100 at least).",
            whole(100, 100_000).prefault(1000),
          ),
          max_connections: key(
            "Connections at the same time; more are put off with 421.",
            whole(1, 10_000).prefault(500),
          ),
          idle_timeout: key(
            "A connection on which nothing comes for so long is closed (RFC 5321 advises 5m).",
            wait().prefault("5m"),
          ),
          tls: key(
            "STARTTLS. Without this section none is offered.",
            z
              .strictObject({
                cert_file: key("Certificate of the server and its chain, PEM.", path("certificate"), {
                  example: "tls/server.crt",
                }),
                key_file: key("Its private key, PEM, without a passphrase.", path("private key"), {
                  example: "tls/server.key",
                }),
                required: key("Refuse mails before STARTTLS.", flag().prefault(false)),
              })
              .optional(),
          ),
        })
        .check(rule(doubleListens))
        .prefault({}),
    ),
    spool: key(
      "Where mails and events are kept until their work is done, and for how long after.",
      z
        .strictObject({
          path: key(
            "Folder of the spool, on a local disk, of this sensor alone.",
            path("folder").prefault("/var/lib/email-sensor"),
          ),
          inline_size: key(
            "Mails up to this size are kept in the database, larger ones in files beside it.",
            size("0B", "16MB").prefault("256KB"),
          ),
          min_free: key(
            "Space that stays free on the disk: below it mails are put off with 452 and wait at the MTA.",
            size("0B", "1TB").prefault("100MB"),
          ),
          keep_raw: key(
            "How long a mail itself is kept after its verdict.",
            duration("0s", "3650d").prefault("1d"),
          ),
          keep_metadata: key(
            "How long what is known about a mail (header, parts, verdicts) is kept after its verdict.",
            duration("0s", "3650d").prefault("90d"),
          ),
          keep_events: key(
            "How long events are kept after every destination has them.",
            duration("0s", "3650d").prefault("7d"),
          ),
        })
        .check(
          rule(({ keep_raw, keep_metadata }) =>
            when(
              typeof keep_raw === "number" && typeof keep_metadata === "number" && keep_raw > keep_metadata,
              "keep_raw",
              "must not be longer than keep_metadata",
            ),
          ),
        )
        .prefault({}),
    ),
    extract: key(
      "How mails are taken apart: in helper processes that are killed at these limits. What goes beyond a limit of number or depth is left out, with a flag in the event.",
      z
        .strictObject({
          helpers: key(
            "Helper processes. As many again work on mails that take longer than a second while others wait.",
            whole(1, 64).prefault(2),
          ),
          timeout: key("Longest time for one mail.", wait().prefault("30s")),
          memory: key("Most memory of one helper.", size("128MB", "64GB").prefault("512MB")),
          attempts: key(
            "Tries before a mail is given up with a `mail.failed` event.",
            whole(1, 20).prefault(3),
          ),
          max_mail_size: key(
            "Bytes of one mail that are read; what comes after them is not looked at.",
            size("1KB", "4GB").prefault("150MB"),
          ),
          max_depth: key("Depth of mails and containers within each other.", whole(1, 100).prefault(10)),
          max_parts: key("MIME parts of one mail.", whole(1, 1_000_000).prefault(10_000)),
          max_attachments: key("Attachments of one mail.", whole(1, 100_000).prefault(500)),
          max_urls: key("URLs of one mail.", whole(1, 100_000).prefault(500)),
          max_recipients: key(
            "Addresses of From, To or Cc that are listed, and recipients taken from a journal report or a copy.",
            whole(1, 100_000).prefault(1000),
          ),
          max_header_size: key("Bytes of one header block.", size("1KB", "64MB").prefault("1MB")),
          max_header_lines: key("Lines of one header block.", whole(10, 1_000_000).prefault(10_000)),
          max_decoded_size: key(
            "Bytes of all decoded parts and unpacked contents of one mail together.",
            size("1KB", "16GB").prefault("500MB"),
          ),
          max_unpacked_size: key(
            "Bytes that are unpacked from one archive or document.",
            size("1KB", "4GB").prefault("100MB"),
          ),
          max_archive_members: key(
            "Members of one archive that are unpacked.",
            whole(1, 1_000_000).prefault(1000),
          ),
          max_archive_ratio: key(
            "How many times larger than its archive the unpacked contents may be, beyond the first 16 MB.",
            whole(2, 1_000_000).prefault(200),
          ),
          journal: key(
            "Whether sender and recipients are taken out of journal reports of Exchange and Microsoft 365. `auto`: where the report came to one of `journal_addresses`; without these, where no server but Exchange has passed it on. `never`: every report is read as an ordinary mail that holds another one.",
            choice(["auto", "never"]).prefault("auto"),
          ),
          journal_addresses: key(
            "Addresses that the journal rules of Exchange send to. Mails from outside must not reach them: whoever writes to them names the recipients.",
            z.array(text("mail address", readMailAddress)).max(100).prefault([]),
            { example: ["journal@sensor.example.org"] },
          ),
          copy_addresses: key(
            "Mailboxes that an MTA sends copies to, whose addresses may name the recipient of the mail behind a `+`: `copies+user=example.org@sensor.example.org`.",
            z
              .array(mailbox())
              .max(100)
              .prefault(["bcc", "copies", "copy", "email-sensor", "journal", "journaling", "sensor"]),
            { example: ["copies@sensor.example.org"] },
          ),
        })
        .prefault({}),
    ),
    triage: key(
      "What is sent to VMRay.",
      z
        .strictObject({
          analyze: key(
            "Groups of file types that are analysed; the type is detected from the content.",
            z
              .array(choice(TYPE_GROUPS))
              .prefault([
                "documents",
                "scripts",
                "executables",
                "archives",
                "html",
                "disk_images",
                "shortcuts",
              ]),
          ),
          archives: key(
            "`whole` submits an archive as it is, with its password where one was found; `members` submits what lies in it, each by its own type, where all of it could be unpacked.",
            choice(["whole", "members"]).prefault("whole"),
          ),
          max_size: key("Largest attachment that is submitted.", size("1B", "2GB").prefault("200MB")),
          strip_tracking: key(
            "Whether `tracking_parameters` are taken out of URLs before VMRay is asked: it then learns less about who got a mail, and one answer serves more mails.",
            flag().prefault(false),
          ),
          tracking_parameters: key(
            "Parameters of a URL's query that tell who clicked where and change nothing of the page; a `*` stands for any end.",
            z
              .array(noted(z.string().min(1, "is empty").max(100), { kind: "text" }))
              .max(1000)
              .prefault([...TRACKING_PARAMETERS]),
          ),
          urls: key(
            "`analyse` looks a URL up and submits it where it is unknown, `lookup` only looks it up, `skip` does neither.",
            choice(["analyse", "lookup", "skip"]).prefault("analyse"),
          ),
        })
        .prefault({}),
    ),
    vmray: key(
      "The VMRay Analyzer, Cloud or On-Premises. Its address and an API key are all that a working sensor needs.",
      z
        .strictObject({
          url: key(
            "Address of the server. Without a scheme https is taken; a trailing `/rest` is taken off.",
            text("URL", readServerUrl),
            { example: "https://eu.cloud.vmray.com" },
          ),
          api_key_file: key(
            "File with the API key, one line. Either this or `api_key`.",
            path("secret").optional(),
            {
              example: "/etc/email-sensor/vmray.key",
            },
          ),
          api_key: key(
            "The API key itself, best from the environment. Either this or `api_key_file`.",
            printable(4096).optional(),
            // biome-ignore lint/suspicious/noTemplateCurlyInString: the placeholder of the configuration file
            { alternative: true, example: "${VMRAY_API_KEY}" },
          ),
          ca_file: key(
            "Certificates to trust beside those of the system, PEM: the way to go for a server with a certificate of its own.",
            path("certificate").optional(),
            { example: "tls/vmray-ca.crt" },
          ),
          tls_verify: key(
            "Check the certificate of the server. Prefer `ca_file` to switching this off.",
            flag().prefault(true),
          ),
          concurrency: key("Analyses and requests in work at the same time.", whole(1, 256).prefault(8)),
          request_timeout: key("Longest wait for the answer to a request.", wait().prefault("30s")),
          upload_timeout: key("Longest time for one submission, upload included.", wait().prefault("5m")),
          poll_interval: key(
            "Time between two looks at a submission that is not finished.",
            wait().prefault("5s"),
          ),
          give_up_after: key(
            "A content that is not judged by then is `not_available`.",
            duration("1ms", "365d").prefault("1h"),
          ),
          analysis_timeout: key(
            "Run time of a dynamic analysis, handed to VMRay.",
            duration("1s", "1d").optional(),
            {
              fallback: "set in VMRay",
              example: "2m",
            },
          ),
          tags: key(
            "Tags of each submission. Servers before 2026.2 take letters, digits, - and _ only.",
            z
              .array(
                noted(z.string().regex(/^[^,\p{C}]{1,255}$/u, "must be 1 to 255 characters, no comma"), {
                  kind: "text",
                }),
              )
              .max(50)
              .prefault(["email_sensor"]),
          ),
          cache: key(
            "How long a verdict serves later mails with the same content before VMRay is asked again.",
            z
              .strictObject({
                malicious: key("A malicious verdict.", duration("0s", "3650d").prefault("7d")),
                suspicious: key("A suspicious verdict.", duration("0s", "3650d").prefault("1d")),
                clean: key("A clean verdict.", duration("0s", "3650d").prefault("4h")),
              })
              .prefault({}),
          ),
        })
        .check(
          rule(({ api_key, api_key_file }) => [
            ...when(
              api_key === undefined && api_key_file === undefined,
              "",
              "needs api_key_file (or api_key)",
            ),
            ...when(
              api_key !== undefined && api_key_file !== undefined,
              "api_key",
              "conflicts with api_key_file: keep one of the two",
            ),
          ]),
        ),
    ),
    siem: key(
      "Destinations of events. Each has its own place in the outbox: one that is down holds up no other, and gets everything in order when it is back.",
      z.array(siemDestination).max(32).prefault([]),
    ),
    alerts: key("Mails to people about mails with bad attachments.", z.array(alert).max(32).prefault([])),
    control: key(
      "The gRPC service for the commands `status`, `mails`, `mail`, `watch` and for automation.",
      z
        .strictObject({
          listen: key(
            "A Unix socket, or an address. Any address but a loopback one needs `token_file`.",
            controlAddress().prefault("unix:/run/email-sensor/control.sock"),
          ),
          token_file: key("File with the token clients must show, one line.", path("secret").optional(), {
            example: "/etc/email-sensor/control.token",
          }),
        })
        .check(
          rule(({ listen, token_file }) => {
            const address = typeof listen === "string" ? readControlAddress(listen) : undefined;
            return when(
              address !== undefined &&
                "host" in address &&
                !isLoopback(address.host) &&
                token_file === undefined,
              "listen",
              "is open to other hosts and needs token_file",
            );
          }),
        )
        .prefault({}),
    ),
    console: key("The web console.", z.strictObject({}).prefault({})),
    metrics: key("The metrics.", z.strictObject({}).prefault({})),
    log: key(
      "The log: JSON lines on standard output.",
      z
        .strictObject({
          level: key(
            "Least level that is written.",
            choice(["debug", "info", "warn", "error"]).prefault("info"),
          ),
        })
        .prefault({}),
    ),
  })
  .check(rule(doubleNames));

export type Config = z.output<typeof schema>;
export type SiemConfig = Config["siem"][number];
export type AlertConfig = Config["alerts"][number];
