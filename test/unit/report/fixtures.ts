/** Mail rows, events and logs for the tests of verdict, report and alert. */
import type { Attachment, Extraction, FoundUrl } from "../../../src/extract/extraction.ts";
import { createLog, type Log } from "../../../src/log.ts";
import { composeMailEvents } from "../../../src/report/compose.ts";
import type { EventType, SensorEvent } from "../../../src/report/event.ts";
import type { ArtifactRow, MailRow } from "../../../src/spool/spool.ts";
import { judge } from "../../../src/verdict/judge.ts";
import type { ContentVerdict } from "../../../src/verdict/verdict.ts";

export const SENSOR = { id: "sensor-1", version: "0.1.0" } as const;
export const NOON = Date.UTC(2026, 0, 2, 12, 0, 0, 5);
export const NO_TYPES: ReadonlySet<EventType> = new Set();
export const SHA = "275a021bbfb6489e54d471899f7db9d1663fc695ec2fe2a2c4538aabf651fd0f";

export type Line = Readonly<Record<string, unknown>>;

/** A log whose lines can be looked at. */
export function recordingLog(): { readonly log: Log; readonly lines: Line[] } {
  const lines: Line[] = [];
  return { log: createLog("debug", (line) => lines.push(JSON.parse(line))), lines };
}

export function content(change: Partial<ContentVerdict> = {}): ContentVerdict {
  return { outcome: "judged", verdict: "clean", reason: null, threat_names: [], vmray: null, ...change };
}

export function file(
  filename: string | null,
  verdict: ContentVerdict | null,
  change: Partial<Attachment> = {},
): ArtifactRow {
  return {
    kind: "attachment",
    attachment: {
      filename,
      sha256: SHA,
      size: 68,
      type: "application/zip",
      views: ["mime"],
      path: [],
      sha1: "0".repeat(40),
      md5: "0".repeat(32),
      within: "mail",
      facts: [],
      password: null,
      ...change,
    },
    decision: { action: "dynamic", rule: "default.archives", reason: "archives are analysed" },
    verdict,
  };
}

export function link(
  url: string,
  verdict: ContentVerdict | null,
  change: Partial<FoundUrl> = {},
): ArtifactRow {
  return {
    kind: "url",
    url: { url, normalized: url, sources: ["html"], ...change },
    decision: { action: "reputation", rule: "default.urls", reason: "URLs are analysed" },
    verdict,
  };
}

export function mailRow(
  artifacts: readonly ArtifactRow[] = [],
  change: Partial<MailRow> = {},
  extraction: Partial<Omit<Extraction, "attachments" | "urls">> = {},
): MailRow {
  return {
    id: Bun.randomUUIDv7(),
    receivedAt: NOON - 5000,
    envelope: {
      from: "sender@example.net",
      to: ["anna@example.org", "ben@example.org"],
      client_ip: "192.0.2.7",
      helo: "mx.example.net",
      tls: "TLSv1.3 TLS_AES_256_GCM_SHA384",
    },
    size: 4096,
    sha256: SHA,
    state: "analysed",
    sameAs: null,
    extraction: {
      mail: {
        message_id: "<1@example.net>",
        subject: "Invoice",
        from: ["sender@example.net"],
        to: ["anna@example.org"],
        cc: [],
        date: null,
      },
      envelope: null,
      passwords: [],
      flags: [],
      complete: true,
      ...extraction,
    },
    artifacts,
    attempts: 0,
    verdict: null,
    complete: null,
    reasons: [],
    finishedAt: null,
    error: null,
    rawKept: true,
    ...change,
  };
}

/** The mail.verdict event of a mail. */
export function verdictEvent(mail: MailRow): SensorEvent {
  const event = composeMailEvents(mail, judge(mail), SENSOR, NO_TYPES, NOON).at(-1);
  if (event === undefined) throw new Error("no event was composed");
  return event;
}
