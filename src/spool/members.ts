/**
 * What lies in a file that was to be analysed as a whole and could not be judged: looked up by itself, in SQLite.
 *
 * Triage leaves the members of an archive or document out where that is analysed. Ends it without a verdict, or is less
 * of it analysed than was wanted, what VMRay knows of them would be lost.
 */
import type { Database } from "bun:sqlite";
import { type Decision, IN_ANALYSED_FILE, IN_UNJUDGED_FILE, type PlannedArtifact } from "../triage/plan.ts";
import { partVerdict } from "../verdict/judge.ts";
import type { ContentVerdict } from "../verdict/verdict.ts";
import { analysisKey, knownVerdict, wantAnalysis } from "./analyses.ts";

type Row = { readonly n: number; readonly artifact: string };

/** True where the verdict of a file says too little about what lies in it. */
export function leavesMembersOpen(verdict: ContentVerdict): boolean {
  return partVerdict(verdict) === "not_available" || verdict.partial === true;
}

/** `waiting`: parts of the mail that wait now. `malicious`: one of them is known to be, without a look. */
export type OpenMembers = { readonly waiting: number; readonly malicious: boolean };

const NONE: OpenMembers = { waiting: 0, malicious: false };

/** Has the members of the part `n` of a mail looked up that were left out for it. The mail does not count them yet. */
export function lookUpMembers(db: Database, mail: number, n: number, time: number): OpenMembers {
  const rows = db
    .query<Row, [number, number]>("SELECT n, artifact FROM artifacts WHERE mail = ? AND n >= ? ORDER BY n")
    .all(mail, n)
    .map((row) => ({ n: row.n, artifact: JSON.parse(row.artifact) as PlannedArtifact }));
  const [first, ...rest] = rows;
  if (first === undefined || first.artifact.kind === "url") return NONE;
  const { attachment: holder, decision: whole } = first.artifact;
  const put = db.query(
    `UPDATE artifacts SET artifact = ?, key = ?, verdict = ?,
       was = CASE WHEN (SELECT verdict FROM mails WHERE seq = mail) IS NULL THEN NULL ELSE 'not_available' END
     WHERE mail = ? AND n = ?`,
  );
  let waiting = 0;
  let malicious = false;
  let within = Number.POSITIVE_INFINITY;
  for (const { n: at, artifact } of rest) {
    if (artifact.kind === "url" || artifact.attachment.path.length <= holder.path.length) break;
    const depth = artifact.attachment.path.length;
    if (depth > within) continue;
    // What is decided by itself answers for what lies in it.
    within = artifact.decision.rule === IN_ANALYSED_FILE ? Number.POSITIVE_INFINITY : depth;
    if (artifact.decision.rule !== IN_ANALYSED_FILE) continue;
    const decision: Decision = {
      action: "lookup",
      rule: IN_UNJUDGED_FILE,
      reason: "The file it lies in could not be judged as a whole: it is looked up by itself.",
      ...(whole.priority === undefined ? {} : { priority: whole.priority }),
      ...(whole.analyzer === undefined ? {} : { analyzer: whole.analyzer }),
    };
    const member = { ...artifact, decision };
    const known = knownVerdict(db, member, time);
    const wish = { artifact: member, mail, n: at, before: waiting };
    const key = known === null ? wantAnalysis(db, wish, time) : analysisKey(member);
    put.run(JSON.stringify(member), key, known === null ? null : JSON.stringify(known), mail, at);
    if (known === null) waiting += 1;
    else malicious ||= partVerdict(known) === "malicious";
  }
  return { waiting, malicious };
}
