/**
 * Contents of mails delivered not long ago: what is known of each, and when it is looked at again. One row for one
 * content, however many mails carry it.
 *
 * URLs and what VMRay did not know are looked at again, at times that double from one to the next. A row lives as long
 * after the last mail with the content as `setRelooks` says, and until a look that was due by then is begun; nothing is
 * kept, and nothing looked at, before that is called. A look is wanted since it was due, whenever it can be made.
 */
import type { Database } from "bun:sqlite";
import { contentKey, type PlannedArtifact } from "../triage/plan.ts";
import { partVerdict } from "../verdict/judge.ts";
import { atLeast, type ContentVerdict, type Verdict } from "../verdict/verdict.ts";
import { FIRST_ANALYZER, openAgain } from "./analyses.ts";
import { firstId } from "./mail-rows.ts";
import type { RelookSettings, Spool } from "./spool.ts";
import type { StoreAccess } from "./store-access.ts";

export type Relooks = {
  readonly set: Spool["setRelooks"];
  readonly start: Spool["startRelooks"];
  /** Milliseconds in which verdicts are kept true; null until that is known. */
  window(): number | null;
  /** True where second looks at URLs are submitted. */
  submits(): boolean;
  /** The analyzers there are: what was judged by another one is looked up at the first. */
  setAnalyzers(names: readonly string[]): void;
  /** False where no earlier mail can know the content by another verdict; `worse`: by a better one. */
  changed(db: Database, content: Uint8Array, verdict: ContentVerdict, worse: boolean): boolean;
  /** `seq` of the oldest mail whose verdict was kept true at that time. */
  since(db: Database, time: number): number;
  /** Forgets what is over at `time`, `limit` rows at most; gives how many. */
  sweep(db: Database, time: number, limit: number): number;
  /** A part of a mail that just came got its verdict. */
  delivered(
    db: Database,
    part: {
      readonly mail: number;
      readonly n: number;
      readonly content: Uint8Array;
      readonly artifact: PlannedArtifact;
    },
    verdict: ContentVerdict,
    time: number,
  ): void;
  /** A second look is over; `worse`: it counts only where it found something worse. */
  looked(db: Database, content: Uint8Array, verdict: ContentVerdict, worse: boolean): void;
};

type Due = {
  readonly content: Uint8Array;
  readonly mail: number;
  readonly n: number;
  readonly looks: number;
  readonly next_at: number;
  readonly until: number;
  /** Null where the mail is no longer kept. */
  readonly artifact: string | null;
  /** Null while the part has none, or the mail is no longer kept. */
  readonly verdict: string | null;
};

function verdictOf(db: Database, content: Uint8Array): Verdict | null {
  return (
    db.query<{ verdict: Verdict }, [Uint8Array]>("SELECT verdict FROM relooks WHERE content = ?").get(content)
      ?.verdict ?? null
  );
}

export function createRelooks({ read, write }: StoreAccess): Relooks {
  let settings: RelookSettings = { for: 0, first: 0 };
  let known = false;
  let analyzers: readonly string[] = [];
  const due = (db: Database, time: number, limit: number) =>
    db
      .query<Due, [number, number]>(
        `SELECT l.content, l.mail, l.n, l.looks, l.next_at, l.until, r.artifact, r.verdict FROM relooks l
         LEFT JOIN artifacts r ON r.mail = l.mail AND r.n = l.n
         WHERE l.next_at <= ? ORDER BY l.next_at LIMIT ?`,
      )
      .all(time, limit);
  return {
    set: async (given) => {
      settings = given;
      known = true;
    },

    submits: () => settings.submit === true,

    window: () => (known ? settings.for : null),

    setAnalyzers: (names) => {
      analyzers = names;
    },

    start: async (time, limit) => {
      if (settings.for === 0 || read((db) => due(db, time, 1)).length === 0) return 0;
      return write(["analyses"], (db) => {
        const later = db.query("UPDATE relooks SET looks = ?, next_at = ? WHERE content = ?");
        const rows = due(db, time, limit);
        for (const { content, mail, n, looks, next_at, until, artifact, verdict } of rows) {
          const next = time + settings.first * 2 ** Math.min(looks + 1, 30);
          const ends = artifact === null || next > until;
          later.run(looks + 1, ends ? null : next, content);
          if (artifact === null) continue;
          const planned = JSON.parse(artifact) as PlannedArtifact;
          const judged = verdict === null ? null : (JSON.parse(verdict) as ContentVerdict);
          const named = judged?.analyzer ?? planned.decision.analyzer ?? FIRST_ANALYZER;
          const analyzer = analyzers.includes(named) ? named : FIRST_ANALYZER;
          openAgain(db, contentKey(planned), { mail, n, analyzer }, next_at);
        }
        return rows.length;
      });
    },

    changed: (db, content, verdict, worse) => {
      const told = partVerdict(verdict);
      if (settings.for === 0 || told === "not_available") return false;
      // A row may be gone by the time an answer comes that was wanted while it was there.
      const before = verdictOf(db, content);
      return before === null || (before !== told && (!worse || !atLeast(before, told)));
    },

    since: (db, time) =>
      db
        .query<{ seq: number }, [string]>("SELECT seq FROM mails WHERE id >= ? ORDER BY id LIMIT 1")
        .get(firstId(time - settings.for))?.seq ?? Number.MAX_SAFE_INTEGER,

    sweep: (db, time, limit) =>
      db
        .query(
          `DELETE FROM relooks WHERE content IN
             (SELECT content FROM relooks WHERE until < ? AND (next_at IS NULL OR ?) LIMIT ?)`,
        )
        .run(time, known && settings.for === 0 ? 1 : 0, limit).changes,

    delivered: (db, { mail, n, content, artifact }, verdict, time) => {
      if (settings.for === 0 || verdict.outcome === "skipped") return;
      const told = partVerdict(verdict);
      const open = artifact.kind === "url" ? told !== "malicious" : told === "not_available";
      const next = open && settings.first <= settings.for ? time + settings.first : null;
      db.query(
        `INSERT INTO relooks (content, mail, n, verdict, next_at, until) VALUES (?1, ?2, ?3, ?4, ?5, ?6)
         ON CONFLICT (content) DO UPDATE SET mail = ?2, n = ?3, verdict = ?4, until = ?6,
           looks = CASE WHEN next_at IS NULL THEN 0 ELSE looks END,
           next_at = CASE WHEN ?5 IS NULL THEN NULL ELSE coalesce(next_at, ?5) END`,
      ).run(content, mail, n, told, next, time + settings.for);
    },

    looked: (db, content, verdict, worse) => {
      const told = partVerdict(verdict);
      if (told === "not_available" || (worse && atLeast(verdictOf(db, content) ?? "not_available", told)))
        return;
      db.query(
        `UPDATE relooks SET verdict = ?2, next_at = CASE WHEN ?2 = 'malicious' THEN NULL ELSE next_at END
         WHERE content = ?1`,
      ).run(content, told);
    },
  };
}
