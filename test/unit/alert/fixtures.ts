/** Configurations, notes and bad parts for the tests of alerts. */
import { type AlertFacts, alertFacts, keepEvent, type Manner } from "../../../src/alert/facts.ts";
import type { Note } from "../../../src/alert/ledger.ts";
import type { AlertConfig } from "../../../src/config/schema.ts";
import { alert } from "../../../src/config/sections/alerts.ts";
import type { SensorEvent } from "../../../src/report/event.ts";
import { content } from "../report/fixtures.ts";

export const FROM = "email-sensor@example.org";
export const SECRET = Buffer.alloc(32, 7);

export const malicious = content({
  verdict: "malicious",
  threat_names: ["EICAR-Test-File"],
  vmray: { sample_id: 7, submission_id: 8, url: "https://vmray.example/samples/7?a=b" },
});

/** An alert as the configuration gives it, with the defaults; alerts to fixed addresses do not wait. */
export function alertConfig(change: Readonly<Record<string, unknown>> = {}): AlertConfig {
  return alert.parse({
    name: "soc",
    relay: "127.0.0.1:25",
    from: FROM,
    to_recipients: true,
    domains: ["example.org"],
    campaign_wait: "0s",
    ...change,
  });
}

export const MANNER: Manner = {
  language: "en",
  timeZone: "UTC",
  contact: null,
  sensor: "sensor-1",
  logo: false,
};

/** A note about one event, as the ledger gives it. */
export function note(event: SensorEvent, change: Partial<Note> = {}): Note {
  const kept = keepEvent(event, "suspicious", ["attachment", "url"]);
  return {
    address: "anna@example.org",
    fixed: false,
    yours: true,
    kind: "alert",
    contents: [],
    until: 0,
    dueAt: 0,
    attempts: 0,
    triedAt: null,
    rows: [{ event: kept, mails: 1, contents: [] }],
    mails: 1,
    recipients: event.mail?.envelope.to ?? [],
    seen: [],
    ...change,
  };
}

export function facts(
  event: SensorEvent,
  change: Partial<Parameters<typeof alertFacts>[0]> = {},
): AlertFacts {
  const { rows, recipients } = note(event);
  return alertFacts({
    rows,
    digest: null,
    manner: MANNER,
    audience: "user",
    yours: true,
    recipients,
    leftOut: 0,
    ...change,
  });
}
