/** Mails as SQLite holds them, and the rows that the stages see. */
import type { Database } from "bun:sqlite";
import type { Envelope } from "../intake/mail.ts";
import type { PlannedArtifact } from "../triage/plan.ts";
import type { ContentVerdict, Verdict } from "../verdict/verdict.ts";
import type { ArtifactRow, ChangeCause, KeptExtraction, MailRow, MailState } from "./spool.ts";

export type MailRecord = {
  readonly seq: number;
  readonly id: string;
  readonly state: MailState;
  readonly received_at: number;
  readonly size: number;
  readonly sha256: string;
  readonly envelope: string;
  readonly raw: "inline" | "file" | null;
  readonly deaths: number;
  readonly attempts: number;
  readonly extraction: string | null;
  readonly same_as: string | null;
  readonly verdict: Verdict | null;
  readonly complete: number | null;
  readonly reasons: string | null;
  readonly finished_at: number | null;
  readonly error: string | null;
  readonly reported: string | null;
  readonly recheck: string | null;
  readonly because: ChangeCause | null;
};

/** A mail with its parts. */
export function mailRow(db: Database, row: MailRecord): MailRow {
  const artifacts = db
    .query<{ artifact: string; verdict: string | null; was: Verdict | null }, [number]>(
      "SELECT artifact, verdict, was FROM artifacts WHERE mail = ? ORDER BY n",
    )
    .all(row.seq);
  return {
    id: row.id,
    state: row.state,
    receivedAt: row.received_at,
    envelope: JSON.parse(row.envelope) as Envelope,
    size: row.size,
    sha256: row.sha256,
    sameAs: row.same_as,
    extraction: row.extraction === null ? null : (JSON.parse(row.extraction) as KeptExtraction),
    artifacts: artifacts.map(
      ({ artifact, verdict, was }): ArtifactRow => ({
        ...(JSON.parse(artifact) as PlannedArtifact),
        verdict: verdict === null ? null : (JSON.parse(verdict) as ContentVerdict),
        ...(was !== null && { was }),
      }),
    ),
    attempts: row.attempts,
    verdict: row.verdict,
    complete: row.complete === null ? null : row.complete === 1,
    reasons: row.reasons === null ? [] : (JSON.parse(row.reasons) as string[]),
    ...(row.reported !== null && { reported: row.reported }),
    ...(row.recheck !== null &&
      row.because !== null && { recheck: { because: row.because, change: row.recheck } }),
    finishedAt: row.finished_at,
    error: row.error,
    rawKept: row.raw !== null,
  };
}

/** Adds to one of the counters that live as long as the spool. */
export function count(db: Database, name: string, by: number): void {
  db.query(
    "INSERT INTO counters (name, value) VALUES (?1, ?2) ON CONFLICT (name) DO UPDATE SET value = value + ?2",
  ).run(name, by);
}

/** The smallest UUIDv7 of a millisecond. */
export function firstId(time: number): string {
  const hex = Math.max(0, Math.floor(time)).toString(16).padStart(12, "0");
  return `${hex.slice(0, 8)}-${hex.slice(8)}-`;
}
