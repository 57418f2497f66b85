/** Analyses in SQLite: one row for one content, whatever mails wait for it, and its verdict while that is valid. */
import type { Database } from "bun:sqlite";
import { contentKey, type PlannedArtifact } from "../triage/plan.ts";
import type { ContentVerdict } from "../verdict/verdict.ts";
import type { AnalysisJob, AnalysisProgress, Spool } from "./spool.ts";
import type { StoreAccess } from "./store-access.ts";

type AnalysisRecord = {
  readonly key: string;
  readonly artifact: string;
  readonly mail_id: string;
  readonly progress: string;
  readonly created_at: number;
  readonly next_at: number;
  readonly faults: number;
};

export type AnalysisStore = Pick<
  Spool,
  "dueAnalyses" | "nextAnalysisAt" | "recordProgress" | "finishAnalysis"
>;

export function analysisStore({ read, write }: StoreAccess): AnalysisStore {
  return {
    dueAnalyses: async (time, limit, running) =>
      read((db) =>
        db
          .query<AnalysisRecord, [number, number]>(
            `SELECT a.key, a.progress, a.created_at, a.next_at, a.faults, m.id AS mail_id, r.artifact
             FROM analyses a JOIN mails m ON m.seq = a.mail JOIN artifacts r ON r.mail = a.mail AND r.n = a.n
             WHERE a.open = 1 AND a.next_at <= ? ORDER BY a.next_at, a.created_at LIMIT ?`,
          )
          .all(time, limit + running.size)
          .filter((row) => !running.has(row.key))
          .slice(0, limit)
          .map(
            (row): AnalysisJob => ({
              key: row.key,
              artifact: JSON.parse(row.artifact),
              mailId: row.mail_id,
              progress: JSON.parse(row.progress),
              createdAt: row.created_at,
              nextAt: row.next_at,
              faults: row.faults,
            }),
          ),
      ),

    nextAnalysisAt: async (running) =>
      read((db) => {
        const rows = db
          .query<{ key: string; next_at: number }, [number]>(
            "SELECT key, next_at FROM analyses WHERE open = 1 ORDER BY next_at, created_at LIMIT ?",
          )
          .all(running.size + 1);
        return rows.find((row) => !running.has(row.key))?.next_at ?? null;
      }),

    recordProgress: (key, progress, nextAt, faults) =>
      write(["analyses"], (db) => {
        db.query(
          "UPDATE analyses SET progress = ?, submitted = ?, next_at = ?, faults = ? WHERE key = ? AND open = 1",
        ).run(JSON.stringify(progress), progress.state === "submitted" ? 1 : 0, nextAt, faults, key);
      }),

    finishAnalysis: (key, verdict, validUntil) =>
      write(["analysed"], (db) => {
        const text = JSON.stringify(verdict);
        const { changes } = db
          .query("UPDATE analyses SET open = 0, verdict = ?, valid_until = ? WHERE key = ? AND open = 1")
          .run(text, validUntil, key);
        if (changes === 0) return;
        const waiting = db
          .query<{ mail: number; parts: number }, [string]>(
            "SELECT mail, count(*) AS parts FROM artifacts WHERE key = ? AND verdict IS NULL GROUP BY mail",
          )
          .all(key);
        db.query("UPDATE artifacts SET verdict = ? WHERE key = ? AND verdict IS NULL").run(text, key);
        const settle = db.query(
          `UPDATE mails SET waiting = waiting - ?1,
             state = CASE WHEN waiting = ?1 THEN 'analysed' ELSE state END
           WHERE seq = ?2 AND state = 'analysing'`,
        );
        for (const { mail, parts } of waiting) settle.run(parts, mail);
      }),
  };
}

/** A look-up alone and an analysis of the same content are two jobs: the first must not answer for the second. */
export function analysisKey(artifact: PlannedArtifact): string {
  return artifact.decision.action === "lookup" ? `lookup:${contentKey(artifact)}` : contentKey(artifact);
}

export function skipped(reason: string): ContentVerdict {
  return { outcome: "skipped", verdict: "not_available", reason, threat_names: [], vmray: null };
}

export function knownVerdict(db: Database, key: string, time: number): ContentVerdict | null {
  const row = db
    .query<{ verdict: string }, [string, number]>(
      "SELECT verdict FROM analyses WHERE key = ? AND open = 0 AND valid_until > ?",
    )
    .get(key, time);
  return row === null ? null : JSON.parse(row.verdict);
}

export function wantAnalysis(db: Database, key: string, mail: number, n: number, time: number): void {
  const queued: AnalysisProgress = { state: "queued" };
  db.query(
    `INSERT INTO analyses (key, open, mail, n, progress, created_at, next_at)
     VALUES (?1, 1, ?2, ?3, ?4, ?5, ?5)
     ON CONFLICT (key) DO UPDATE SET open = 1, mail = ?2, n = ?3, progress = ?4, submitted = 0,
       created_at = ?5, next_at = ?5, faults = 0, verdict = NULL, valid_until = NULL
     WHERE open = 0`,
  ).run(key, mail, n, JSON.stringify(queued), time);
}
