/**
 * The configuration: the one source of its types, its checks, its reference page, its example and its JSON
 * Schema for editors. A key is added here or in a section beside, with its note, and nowhere else. Defaults are
 * written as a person would write them. File checks and `${NAME}` are load.ts.
 */
import { hostname } from "node:os";
import { resolve } from "node:path";
import { z } from "zod";
import { isLoopback, readControlAddress, readDomain, readMailAddress, readNetwork } from "./address.ts";
import { noted } from "./note.ts";
import { alert } from "./sections/alerts.ts";
import {
  type Conflict,
  choice,
  controlAddress,
  duration,
  flag,
  hostPort,
  key,
  path,
  printable,
  rule,
  size,
  text,
  type Unchecked,
  wait,
  when,
  whole,
} from "./sections/kinds.ts";
import { siemDestination } from "./sections/siem.ts";
import { triageSection } from "./sections/triage.ts";
import { analyzerNames, NO_ANALYZER, vmraySection } from "./sections/vmray.ts";

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
/** The host name as SMTP and syslog can carry it. */
function safeHostname(): string {
  return (
    hostname()
      .replace(/[^A-Za-z0-9.-]/g, "-")
      .slice(0, 253) || "localhost"
  );
}

const part = (of: unknown, name: string): unknown =>
  typeof of === "object" && of !== null ? Reflect.get(of, name) : undefined;

/** Names that an earlier entry of the same list has. */
function doubleNames(section: Unchecked): readonly Conflict[] {
  return ["siem", "alerts"].flatMap((list) => {
    const entries: unknown = section[list];
    if (!Array.isArray(entries)) return [];
    const names: readonly unknown[] = entries.map((entry: unknown) => part(entry, "name"));
    return names.flatMap((name, index) =>
      typeof name === "string" && names.indexOf(name) < index
        ? [{ path: [list, index, "name"], message: "is the name of an earlier entry already" }]
        : [],
    );
  });
}

/** Rules that name an analyzer which is not there. */
function unknownAnalyzers(config: Unchecked): readonly Conflict[] {
  const names = analyzerNames({ analyzers: part(config.vmray, "analyzers") });
  const rules = part(config.triage, "rules");
  return (Array.isArray(rules) ? rules : []).flatMap((each: unknown, index) => {
    const name = part(each, "analyzer");
    return typeof name === "string" && !names.includes(name)
      ? [{ path: ["triage", "rules", index, "analyzer"], message: NO_ANALYZER }]
      : [];
  });
}

/** Files that another destination writes as well, or would rename its own to. */
function sharedFiles(section: Unchecked): readonly Conflict[] {
  const entries: readonly unknown[] = Array.isArray(section.siem) ? section.siem : [];
  return sharedPaths(
    entries.map((entry) => {
      const path = part(part(entry, "file"), "path");
      return typeof path === "string" ? resolve(path) : null;
    }),
  );
}

/** The same for the paths of the entries of `siem`, null where one writes no file. */
export function sharedPaths(paths: readonly (string | null)[]): readonly Conflict[] {
  const ofOne = (path: string, other: string) =>
    path === other || (path.startsWith(`${other}.`) && /^\d+$/.test(path.slice(other.length + 1)));
  return paths.flatMap((path, index) => {
    if (path === null) return [];
    const other = paths.findIndex(
      (one, at) => at < index && one !== null && (ofOne(path, one) || ofOne(one, path)),
    );
    return other === -1
      ? []
      : [{ path: ["siem", index, "file", "path"], message: `is written by siem[${other}] already` }];
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
          timeout: key(
            "Longest time for one mail, without what its helper waits for a processor that other programs have; ten times as long with it.",
            wait().prefault("30s"),
          ),
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
    triage: key("What is sent to VMRay.", triageSection),
    vmray: key(
      "The VMRay Analyzer, Cloud or On-Premises. Its address and an API key are all that a working sensor needs.",
      vmraySection,
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
  .check(rule((config) => [...doubleNames(config), ...sharedFiles(config), ...unknownAnalyzers(config)]));

export type Config = z.output<typeof schema>;
export type SiemConfig = Config["siem"][number];
export type AlertConfig = Config["alerts"][number];
