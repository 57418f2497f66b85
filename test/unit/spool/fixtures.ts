/** A spool in a temporary folder, and mails to put into it. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Extraction } from "../../../src/extract/extraction.ts";
import type { ReceivedMail } from "../../../src/intake/mail.ts";
import { createLog } from "../../../src/log.ts";
import type { SensorEvent } from "../../../src/report/event.ts";
import type { Spool } from "../../../src/spool/spool.ts";
import { openSpool, type SpoolSettings } from "../../../src/spool/sqlite.ts";
import { openSpoolThread, type SpoolThread } from "../../../src/spool/thread.ts";
import type { Action, PlannedArtifact } from "../../../src/triage/plan.ts";
import type { ContentVerdict, Evidence, Verdict } from "../../../src/verdict/verdict.ts";

export const QUIET = createLog("error", () => {});

export function temporaryFolder(): { path: string; remove(): void } {
  const path = mkdtempSync(join(tmpdir(), "spool-test-"));
  return { path, remove: () => rmSync(path, { recursive: true, force: true }) };
}

const settings = (path: string, change: Partial<SpoolSettings>): SpoolSettings => ({
  path,
  inlineSize: 1024,
  minFree: 0,
  keepRaw: 1000,
  keepMetadata: 2000,
  keepEvents: 3000,
  ...change,
});

export function open(path: string, change: Partial<SpoolSettings> = {}, now?: () => number): Promise<Spool> {
  return openSpool(settings(path, change), QUIET, now);
}

export function openInThread(
  path: string,
  change: Partial<SpoolSettings> = {},
  log = QUIET,
): Promise<SpoolThread> {
  return openSpoolThread(settings(path, change), log);
}

export function someMail(
  text = "Subject: hello\r\n\r\nhi\r\n",
  change: Partial<ReceivedMail> = {},
): ReceivedMail {
  const bytes = new TextEncoder().encode(text);
  const receivedAt = Date.now();
  return {
    id: Bun.randomUUIDv7("hex", receivedAt),
    receivedAt,
    envelope: { from: "a@example.com", to: ["b@example.org"], client_ip: "127.0.0.1", helo: "mx", tls: null },
    size: bytes.length,
    sha256: new Bun.CryptoHasher("sha256").update(bytes).digest("hex"),
    body: { kind: "inline", bytes },
    ...change,
  };
}

export function extractionOf(artifacts: readonly PlannedArtifact[], subject = "hello"): Extraction {
  return {
    mail: { message_id: "<1@example.com>", subject, from: ["a@example.com"], to: [], cc: [], date: null },
    envelope: null,
    attachments: artifacts.flatMap((part) => (part.kind === "attachment" ? [part.attachment] : [])),
    urls: artifacts.flatMap((part) => (part.kind === "url" ? [part.url] : [])),
    passwords: [],
    flags: [],
    complete: true,
  };
}

export function attachment(content: string, action: Action = "dynamic"): PlannedArtifact {
  return {
    kind: "attachment",
    attachment: {
      filename: `${content}.exe`,
      sha256: new Bun.CryptoHasher("sha256").update(content).digest("hex"),
      size: content.length,
      type: "application/x-msdownload",
      views: ["mime"],
      path: [],
      sha1: "0".repeat(40),
      md5: "0".repeat(32),
      within: "mail",
      facts: [],
      password: null,
    },
    decision: { action, rule: "test", reason: "the test says so" },
  };
}

export function judged(verdict: Verdict): ContentVerdict {
  return { outcome: "judged", verdict, reason: null, threat_names: [], vmray: null };
}

/** What VMRay says of a miner, without its indicators. */
export const MINING: Omit<Evidence, "indicators"> = {
  classifications: ["Miner"],
  techniques: [{ id: "T1496", name: "Resource Hijacking", tactics: ["Impact"] }],
  iocs: {
    urls: [],
    domains: ["pool.example"],
    ips: [],
    files: [],
    email_addresses: ["m@pool.example"],
  },
};

export function someEvent(type: SensorEvent["type"] = "sensor.state"): SensorEvent {
  return {
    schema: "test",
    id: Bun.randomUUIDv7(),
    type,
    time: new Date().toISOString(),
    sensor: { id: "test", version: "0" },
  };
}
