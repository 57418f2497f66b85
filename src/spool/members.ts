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

type File = {
  readonly n: number;
  readonly artifact: Extract<PlannedArtifact, { readonly kind: "attachment" }>;
};

/** Read at a time. */
const CHUNK = 16;

const partOf = (row: Row): PlannedArtifact => JSON.parse(row.artifact) as PlannedArtifact;

function rowsFrom(db: Database, mail: number, n: number, most: number): readonly Row[] {
  return db
    .query<Row, [number, number, number]>(
      "SELECT n, artifact FROM artifacts WHERE mail = ? AND n >= ? ORDER BY n LIMIT ?",
    )
    .all(mail, n, most);
}

/** What lies in the file `n`, whose path has this length: the deeper ones that follow it, none for most files. */
function liesIn(db: Database, mail: number, n: number, length: number): readonly File[] {
  const found: File[] = [];
  for (let from = n + 1; ; ) {
    const rows = rowsFrom(db, mail, from, CHUNK);
    for (const row of rows) {
      const artifact = partOf(row);
      if (artifact.kind === "url" || artifact.attachment.path.length <= length) return found;
      found.push({ n: row.n, artifact });
      from = row.n + 1;
    }
    if (rows.length < CHUNK) return found;
  }
}

/** Has the members of the part `n` of a mail looked up that were left out for it. The mail does not count them yet. */
export function lookUpMembers(db: Database, mail: number, n: number, time: number): OpenMembers {
  const part = rowsFrom(db, mail, n, 1).map(partOf).at(0);
  if (part === undefined || part.kind === "url") return NONE;
  const { attachment: holder, decision: whole } = part;
  const put = db.query(
    `UPDATE artifacts SET artifact = ?, key = ?, verdict = ?,
       was = CASE WHEN (SELECT verdict FROM mails WHERE seq = mail) IS NULL THEN NULL ELSE 'not_available' END
     WHERE mail = ? AND n = ?`,
  );
  let waiting = 0;
  let malicious = false;
  let within = Number.POSITIVE_INFINITY;
  for (const { n: at, artifact } of liesIn(db, mail, n, holder.path.length)) {
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
