/** Events like those alerts are made of: templates are tried with them at start. */
import { SENDER_DENIED_FLAG } from "../extract/extraction.ts";
import { LIMITS } from "../report/bounds.ts";
import type { EventAttachment, EventMail, EventUrl, SensorEvent } from "../report/event.ts";

const mail: EventMail = {
  id: "01890a5d-ac96-774b-bcce-b302099a8056",
  message_id: "<1@example.net>",
  received_at: "2026-01-02T11:59:00.000Z",
  envelope: {
    from: "sender@example.net",
    to: ["anna@example.org"],
    client_ip: "192.0.2.7",
    helo: "mx.example.net",
    tls: null,
  },
  from: ["sender@example.net"],
  to: ["anna@example.org"],
  cc: [],
  subject: "Invoice",
  size: 4096,
  sha256: "0".repeat(64),
};

const attachment: EventAttachment = {
  filename: "invoice.zip",
  sha256: "2546dcffc5ad854d4ddc64fbf056871cd5a00f2471cb7a5bfd4ac23b6e9eedad",
  sha1: "d27265074c9eac2e2122ed69294dbc4d7cce9141",
  md5: "6ce6f415d8475545be5ba114f208b0ff",
  size: 184,
  type: "application/zip",
  path: [],
  facts: [],
  outcome: "judged",
  verdict: "malicious",
  reason: null,
  threat_names: ["EICAR-Test-File"],
  vmray: { sample_id: 1, submission_id: 1, url: "https://vmray.example/samples/1" },
  action: "dynamic",
  rule: "default.archives",
  classifications: ["Downloader"],
  indicators: [{ category: "Network Connection", operation: "Connects to a remote host", score: 4 }],
  techniques: [{ id: "T1071", name: "Application Layer Protocol", tactics: ["Command and Control"] }],
};

const url: EventUrl = {
  url: "http://evil.example/a",
  sources: ["html"],
  outcome: "judged",
  verdict: "malicious",
  reason: null,
  threat_names: [],
  vmray: null,
};

export const SAMPLE_EVENT: SensorEvent = {
  schema: "email-sensor/event/1",
  id: "01890a5d-ac96-774b-bcce-b302099a8057",
  type: "mail.verdict",
  time: "2026-01-02T12:00:00.000Z",
  sensor: { id: "sensor.example.org", version: "0.1.0" },
  mail,
  verdict: "malicious",
  complete: true,
  reasons: [],
  attachments: [attachment],
  urls: [url],
  flags: [],
};

/** A link armed after delivery. */
export const SAMPLE_CHANGED: SensorEvent = {
  ...SAMPLE_EVENT,
  type: "verdict.changed",
  attachments: [],
  urls: [{ ...url, previous_verdict: "clean" }],
  change: {
    id: "01890a5d-ac96-774b-bcce-b302099a8060",
    because: "relook",
    from: "clean",
    to: "malicious",
    previous_event_id: SAMPLE_EVENT.id,
    mails: 3,
  },
};

export const SAMPLE_DENIED: SensorEvent = {
  ...SAMPLE_EVENT,
  attachments: [],
  urls: [],
  flags: [SENDER_DENIED_FLAG],
  reasons: ['the sender "sender@example.net" is on the deny list (sender example.net): phishing in May'],
};

const WIDE = "\u4e00";
/** As much as an event can have of everything. */
function largestEvent(): SensorEvent {
  return {
    ...SAMPLE_EVENT,
    mail: {
      ...mail,
      subject: WIDE.repeat(LIMITS.subject),
      from: Array.from({ length: LIMITS.headerAddresses }, (_, n) => `${n}${"a".repeat(200)}@example.net`),
      envelope: {
        ...mail.envelope,
        to: Array.from({ length: LIMITS.recipients }, (_, n) => `${n}${"b".repeat(200)}@example.org`),
      },
    },
    attachments: Array.from({ length: LIMITS.attachments }, () => ({
      ...attachment,
      filename: WIDE.repeat(LIMITS.filename),
      path: Array(LIMITS.path).fill(WIDE.repeat(LIMITS.filename)),
      reason: WIDE.repeat(LIMITS.reason),
      threat_names: Array(LIMITS.threatNames).fill(WIDE.repeat(LIMITS.threatName)),
    })),
    urls: Array.from({ length: LIMITS.urls }, (_, n) => ({
      ...url,
      url: `http://evil.example/${n}?${"x".repeat(LIMITS.url - 50)}`,
    })),
  };
}

/** The usual one first. Each with what it is, in words. */
export function sampleEvents(): readonly { readonly about: string; readonly event: SensorEvent }[] {
  return [
    { about: "a bad attachment and a bad link", event: SAMPLE_EVENT },
    { about: "a link found after delivery", event: SAMPLE_CHANGED },
    { about: "a denied sender", event: SAMPLE_DENIED },
    { about: "as many and as long parts as there can be", event: largestEvent() },
  ];
}
