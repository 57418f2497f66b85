/**
 * The configuration: the one source of its types, its checks, its reference page and its example.
 *
 * Sizes are written as 64MB or 512KB (powers of 1024) and become bytes; durations as 30s, 5m, 1h, 7d and
 * become milliseconds.
 */
import { hostname } from "node:os";
import { z } from "zod";
import { EVENT_TYPES } from "../report/event.ts";

const UNITS_OF_SIZE = { B: 1, KB: 1024, MB: 1024 ** 2, GB: 1024 ** 3, TB: 1024 ** 4 } as const;
const UNITS_OF_TIME = { ms: 1, s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 } as const;

function quantity(units: Readonly<Record<string, number>>, example: string) {
  return z.union([z.string(), z.number()]).transform((value, context) => {
    const match = /^(\d+(?:\.\d+)?) ?([A-Za-z]+)$/.exec(String(value).trim());
    const unit = match?.[2] === undefined ? undefined : units[match[2]];
    if (match?.[1] === undefined || unit === undefined) {
      context.addIssue({
        code: "custom",
        message: `must be a number with a unit, like ${example} (${Object.keys(units).join(", ")})`,
      });
      return z.NEVER;
    }
    return Math.round(Number(match[1]) * unit);
  });
}

const size = () => quantity(UNITS_OF_SIZE, "64MB");
const duration = () => quantity(UNITS_OF_TIME, "30s");
const verdict = z.enum(["malicious", "suspicious", "clean", "not_available"]);

const hostPort = z
  .string()
  .regex(
    /^(\[[0-9A-Fa-f:.]+\]|[^\s:[\]]+):\d{1,5}$/,
    "must be HOST:PORT, like 127.0.0.1:10025 or [::1]:10025",
  );

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

const siemDestination = z.strictObject({
  name: z.string().regex(/^[a-z0-9][a-z0-9_-]{0,62}$/, "must be lower-case letters, digits, - and _"),
  syslog: z
    .string()
    .regex(
      /^(udp|tcp):\/\/(\[[0-9A-Fa-f:.]+\]|[^\s:/[\]]+):\d{1,5}$/,
      "must be udp://HOST:PORT or tcp://HOST:PORT",
    ),
  format: z.enum(["json", "template"]).default("json"),
  template: z.string().optional(),
  template_file: z.string().optional(),
  events: z
    .array(z.enum(EVENT_TYPES))
    .min(1)
    .default(["mail.verdict", "mail.failed", "verdict.changed", "sensor.state"]),
  min_verdict: verdict.default("clean"),
  facility: z.string().default("local0"),
  app_name: z.string().default("email-sensor"),
  max_message_size: size().optional(),
  timeout: duration().default(10_000),
});

const alert = z.strictObject({
  name: z.string().regex(/^[a-z0-9][a-z0-9_-]{0,62}$/, "must be lower-case letters, digits, - and _"),
  relay: hostPort,
  from: z.string(),
  to_recipients: z.boolean().default(false),
  domains: z.array(z.string()).default([]),
  to: z.array(z.string()).default([]),
  min_verdict: z.enum(["malicious", "suspicious"]).default("malicious"),
  subject: z.string().optional(),
  max_per_recipient_hour: z.number().int().min(1).default(10),
});

export const schema = z.strictObject({
  sensor: z
    .strictObject({
      id: z
        .string()
        .min(1)
        .default(() => hostname()),
    })
    .prefault({}),
  smtp: z
    .strictObject({
      listen: z.array(hostPort).min(1).default(["127.0.0.1:10025"]),
      networks: z.array(z.string()).min(1).default(["127.0.0.0/8", "::1/128"]),
      hostname: z.string().default(() => hostname()),
      max_size: size().default(100 * 1024 ** 2),
      max_recipients: z.number().int().min(100).default(1000),
      max_connections: z.number().int().min(1).default(500),
      idle_timeout: duration().default(300_000),
      tls: z
        .strictObject({ cert_file: z.string(), key_file: z.string(), required: z.boolean().default(false) })
        .optional(),
    })
    .prefault({}),
  spool: z
    .strictObject({
      path: z.string().default("/var/lib/email-sensor"),
      inline_size: size().default(256 * 1024),
      min_free: size().default(100 * 1024 ** 2),
      keep_raw: duration().default(86_400_000),
      keep_metadata: duration().default(90 * 86_400_000),
      keep_events: duration().default(7 * 86_400_000),
    })
    .prefault({}),
  extract: z
    .strictObject({
      helpers: z.number().int().min(1).max(64).default(2),
      timeout: duration().default(30_000),
      memory: size().default(512 * 1024 ** 2),
      attempts: z.number().int().min(1).default(3),
      max_depth: z.number().int().min(1).default(10),
      max_attachments: z.number().int().min(1).default(500),
      max_urls: z.number().int().min(1).default(500),
      max_decoded_size: size().default(500 * 1024 ** 2),
    })
    .prefault({}),
  triage: z
    .strictObject({
      analyze: z
        .array(z.enum(TYPE_GROUPS))
        .default(["documents", "scripts", "executables", "archives", "html", "disk_images", "shortcuts"]),
      max_size: size().default(200 * 1024 ** 2),
      urls: z.enum(["analyse", "lookup", "skip"]).default("analyse"),
    })
    .prefault({}),
  vmray: z.strictObject({
    url: z.string(),
    api_key_file: z.string().optional(),
    api_key: z.string().optional(),
    ca_file: z.string().optional(),
    tls_verify: z.boolean().default(true),
    concurrency: z.number().int().min(1).max(256).default(8),
    request_timeout: duration().default(30_000),
    upload_timeout: duration().default(300_000),
    poll_interval: duration().default(5_000),
    give_up_after: duration().default(3_600_000),
    analysis_timeout: duration().optional(),
    tags: z.array(z.string()).default(["email-sensor"]),
    cache: z
      .strictObject({
        malicious: duration().default(7 * 86_400_000),
        suspicious: duration().default(86_400_000),
        clean: duration().default(4 * 3_600_000),
      })
      .prefault({}),
  }),
  siem: z.array(siemDestination).default([]),
  alerts: z.array(alert).default([]),
  control: z
    .strictObject({
      listen: z.string().default("unix:/run/email-sensor/control.sock"),
      token_file: z.string().optional(),
    })
    .prefault({}),
  console: z.strictObject({}).prefault({}),
  metrics: z.strictObject({}).prefault({}),
  log: z.strictObject({ level: z.enum(["debug", "info", "warn", "error"]).default("info") }).prefault({}),
});

export type Config = z.output<typeof schema>;
export type SiemConfig = Config["siem"][number];
export type AlertConfig = Config["alerts"][number];
