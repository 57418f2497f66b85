/**
 * Verdicts of contents that change after mails were judged by them, in SQLite.
 *
 * A revision gives the new verdict to every part with the content and asks for another judgement of their mails, in
 * the commit that brought the verdict. `was` of a part keeps what was told of it until an event tells the change.
 */
import type { Database } from "bun:sqlite";
import { createHash } from "node:crypto";
import { partVerdict, UNDECIDED } from "../verdict/judge.ts";
import { type ContentVerdict, VERDICT_ORDER } from "../verdict/verdict.ts";
import type { ChangeCause } from "./spool.ts";

const CONTENT_ID_BYTES = 12;

/** What the index knows a content by: short, and so long that nobody makes two contents with the same. */
export function contentId(content: string): Uint8Array {
  return createHash("sha256").update(content).digest().subarray(0, CONTENT_ID_BYTES);
}

export function newChange(time: number): string {
  return Bun.randomUUIDv7("hex", time);
}

/** Has mails judged again, whatever state they are in; the later of two changes stands. */
export function askRecheck(
  db: Database,
  mails: Iterable<number>,
  because: ChangeCause,
  change: string,
): void {
  const ask = db.query(
    `UPDATE mails SET recheck = ?, because = ?
     WHERE seq = ? AND state IN ('analysing', 'analysed', 'done')`,
  );
  for (const seq of mails) ask.run(change, because, seq);
}

/**
 * Decides the parts that wait for the analysis `key`. Mails that wait for nothing more are analysed; of the others
 * those are looked at now that could have something to tell: the first malicious part, or a bad one after a report.
 */
export function decideWaiting(db: Database, key: string, verdict: ContentVerdict, change: string): void {
  const waiting = db
    .query<{ mail: number; parts: number }, [string]>(
      "SELECT mail, count(*) AS parts FROM artifacts WHERE key = ? AND verdict IS NULL GROUP BY mail",
    )
    .all(key);
  if (waiting.length === 0) return;
  db.query(
    `UPDATE artifacts SET verdict = ?,
       was = CASE WHEN (SELECT verdict FROM mails WHERE seq = mail) IS NULL THEN NULL ELSE 'not_available' END
     WHERE key = ? AND verdict IS NULL`,
  ).run(JSON.stringify(verdict), key);
  const settle = db.query<{ state: string; reported: number }, [number, number]>(
    `UPDATE mails SET waiting = waiting - ?1, state = CASE WHEN waiting = ?1 THEN 'analysed' ELSE state END
     WHERE seq = ?2 AND state = 'analysing' RETURNING state, verdict IS NOT NULL AS reported`,
  );
  const told = partVerdict(verdict);
  const news: number[] = [];
  for (const { mail, parts } of waiting) {
    const settled = settle.get(parts, mail);
    if (settled?.state !== "analysing") continue;
    if (told === "malicious" || (told === "suspicious" && settled.reported === 1)) news.push(mail);
  }
  askRecheck(db, news, "completed", change);
}

type Judged = {
  readonly mail: number;
  readonly n: number;
  readonly key: string;
  readonly verdict: string;
};

export type Revision = {
  readonly content: string;
  /** Of the analysis that gave the verdict; null where it holds whatever analysis judged before. */
  readonly key: string | null;
  readonly verdict: ContentVerdict;
  /** True where it replaces better verdicts alone. */
  readonly worse: boolean;
  /** `seq` of the first mail that is looked at. */
  readonly since: number;
};

/**
 * Gives the new verdict of a content to the parts that had another one, and has their mails judged again. What knows
 * nothing replaces nothing; a better verdict replaces one of VMRay's own only, of the same analysis. Gives the number
 * of mails.
 */
export function revise(db: Database, revision: Revision, because: ChangeCause, change: string): number {
  const told = partVerdict(revision.verdict);
  if (told === "not_available") return 0;
  const text = JSON.stringify(revision.verdict);
  const rows = db
    .query<Judged, [Uint8Array, number, string]>(
      `SELECT mail, n, key, verdict FROM artifacts
       WHERE content = ? AND mail >= ? AND verdict IS NOT NULL AND verdict <> ?`,
    )
    .all(contentId(revision.content), revision.since, text);
  const mails = new Set<number>();
  let parsed = "";
  let old = UNDECIDED;
  for (const row of rows) {
    // Mails that came with a verdict that was known have the same one.
    if (row.verdict !== parsed) old = JSON.parse(row.verdict) as ContentVerdict;
    parsed = row.verdict;
    if (!replaces(revision, row.key, old)) continue;
    setVerdict(db, row.mail, row.n, text, partVerdict(old));
    mails.add(row.mail);
  }
  askRecheck(db, mails, because, change);
  return mails.size;
}

/** `was`: what it has been so far; what was told stays where that is known already. */
export function setVerdict(db: Database, mail: number, n: number, verdict: string, was: string): void {
  db.query("UPDATE artifacts SET verdict = ?, was = coalesce(was, ?) WHERE mail = ? AND n = ?").run(
    verdict,
    was,
    mail,
    n,
  );
}

function replaces({ verdict, key, worse }: Revision, oldKey: string, old: ContentVerdict): boolean {
  if (old.outcome === "skipped") return false;
  const rank = (content: ContentVerdict) => VERDICT_ORDER.indexOf(partVerdict(content));
  const was = partVerdict(old);
  if (was === partVerdict(verdict)) return false;
  if (was === "not_available" || rank(verdict) > rank(old)) return true;
  return !worse && old.vmray !== null && (key === null || key === oldKey);
}
