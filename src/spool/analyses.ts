/** Analyses in SQLite: one row for one content, whatever mails wait for it, and its verdict while that is valid. */
import type { Database } from "bun:sqlite";
import { extensionOf } from "../extract/file-type.ts";
import { groupOf } from "../triage/groups.ts";
import {
  ACTIONS,
  type Action,
  contentKey,
  type Decision,
  type PlannedArtifact,
  PRIORITIES,
  submits,
} from "../triage/plan.ts";
import type { ContentVerdict } from "../verdict/verdict.ts";
import { leavesMembersOpen, lookUpMembers } from "./members.ts";
import { putEvents } from "./outbox.ts";
import type { Relooks } from "./relooks.ts";
import { askRecheck, decideWaiting, newChange, revise } from "./revisions.ts";
import {
  ANALYSIS_LANES,
  type AnalysisJob,
  type AnalysisLane,
  type AnalysisProgress,
  type MailUse,
  type Settlement,
  type Spool,
  type SpoolTopic,
  type Urgency,
} from "./spool.ts";
import type { StoreAccess } from "./store-access.ts";

/** The part that an analysis is made of. */
type PartRecord = {
  readonly mail: number;
  readonly n: number;
  readonly content: Uint8Array;
  readonly artifact: string;
};

type AnalysisRecord = {
  readonly key: string;
  readonly lane: number;
  readonly priority: number;
  readonly turn: number;
  readonly artifact: string;
  readonly mail_id: string;
  readonly progress: string;
  readonly created_at: number;
  readonly next_at: number;
  readonly faults: number;
};

export type AnalysisStore = Pick<
  Spool,
  | "dueAnalyses"
  | "urgencies"
  | "tellStates"
  | "toldStates"
  | "nextAnalysisAt"
  | "recordProgress"
  | "charged"
  | "chargedMails"
  | "submissionsFinished"
  | "finishedCursor"
  | "moveAnalysis"
  | "adoptAnalyses"
  | "finishAnalysis"
>;

/** Of those handed out, one in so many is the longest waiting one, so that no priority starves. */
const AGED_SHARE = 8;
/** Priority of what comes behind all mails, like looking at an old URL again. */
export const BACKGROUND_PRIORITY = 3;
/** Key of a second look at a content: a look-up alone, for which no artifact waits. */
export const AGAIN = "again:";

/** The analyzer that is asked where nothing names another one. */
export const FIRST_ANALYZER = "default";

/** Milliseconds; longer than any wait of an analysis for its next step with the intervals of the defaults. */
const LONGEST_WAIT = 15 * 60_000;
const CHARGED = "submissions.";
const FINISHED_CURSOR = "feed.last_id";
const TOLD = "told.";
/** The first text after all that begin with TOLD. */
const AFTER_TOLD = "told/";
/** The counter of one analyzer; the names of those beside the first lie apart from all of its days. */
const of = (counter: string, analyzer: string): string =>
  analyzer === FIRST_ANALYZER ? counter : `${analyzer}@${counter}`;

export function analysisStore(
  { read, write }: StoreAccess,
  relooks: Relooks,
  now: () => number,
): AnalysisStore {
  return {
    dueAnalyses: async (time, limit, leaveOut, lane, analyzer = FIRST_ANALYZER) =>
      read((db) => {
        const found = new Set<string>();
        const collect = (order: string, only: AnalysisLane, most: number) => {
          const rows = db
            .query<{ key: string }, [string, number, number, number]>(
              `SELECT key FROM analyses
               WHERE open = 1 AND analyzer = ? AND lane = ? AND next_at <= ? ORDER BY ${order} LIMIT ?`,
            )
            .all(analyzer, ANALYSIS_LANES.indexOf(only), time, most + leaveOut.size + found.size);
          let left = most;
          for (const { key } of rows) {
            if (left === 0) return;
            if (leaveOut.has(key) || found.has(key)) continue;
            found.add(key);
            left -= 1;
          }
        };
        for (const each of lane === undefined ? ANALYSIS_LANES : [lane]) {
          const room = Math.max(0, limit - found.size);
          const aged = each === "poll" ? room : Math.floor(room / AGED_SHARE);
          collect("next_at", each, aged);
          if (aged < room) collect("priority, turn", each, room - aged);
        }
        const job = db.query<AnalysisRecord, [string]>(
          `SELECT a.key, a.lane, a.priority, a.turn, a.progress, a.created_at, a.next_at, a.faults,
                  m.id AS mail_id, r.artifact
           FROM analyses a JOIN mails m ON m.seq = a.mail JOIN artifacts r ON r.mail = a.mail AND r.n = a.n
           WHERE a.key = ?`,
        );
        return [...found].flatMap((key) => {
          const row = job.get(key);
          return row === null ? [] : [jobOf(row, relooks.submits())];
        });
      }),

    urgencies: async (keys) =>
      read((db) =>
        db
          .query<Urgency, [string]>(
            `SELECT key, priority, turn FROM analyses
             WHERE key IN (SELECT value FROM json_each(?)) AND open = 1`,
          )
          .all(JSON.stringify(keys)),
      ),

    nextAnalysisAt: async (leaveOut, lane, analyzer = FIRST_ANALYZER) =>
      read((db) => {
        const times = (lane === undefined ? ANALYSIS_LANES : [lane]).flatMap((each) => {
          const row = db
            .query<{ key: string; next_at: number }, [string, number, number]>(
              `SELECT key, next_at FROM analyses WHERE open = 1 AND analyzer = ? AND lane = ?
               ORDER BY next_at LIMIT ?`,
            )
            .all(analyzer, ANALYSIS_LANES.indexOf(each), leaveOut.size + 1)
            .find(({ key }) => !leaveOut.has(key));
          return row === undefined ? [] : [row.next_at];
        });
        return times.length === 0 ? null : Math.min(...times);
      }),

    recordProgress: (key, progress, nextAt, faults, charge) =>
      write([], (db) => {
        const { changes } = db
          .query(
            `UPDATE analyses SET progress = ?, submitted = ?, lane = ?, next_at = ?, faults = ?
             WHERE key = ? AND open = 1`,
          )
          .run(
            JSON.stringify(progress),
            progress.state === "submitted" ? 1 : 0,
            ANALYSIS_LANES.indexOf(laneAfter(progress)),
            nextAt,
            faults,
            key,
          );
        if (changes === 0) return;
        if (progress.state === "submitted") {
          const insert = db.query("INSERT OR IGNORE INTO submissions (id, key) VALUES (?, ?)");
          for (const id of followed(progress)) insert.run(id, key);
        }
        if (charge !== undefined) settle(db, key, { day: charge, by: 1 });
      }),

    charged: async (day, analyzer = FIRST_ANALYZER) =>
      read((db) => counter(db, of(CHARGED, analyzer) + day) ?? 0),

    chargedMails: async (day, analyzer = FIRST_ANALYZER) =>
      read((db) =>
        db
          .query<MailUse, [string, string, string]>(
            `SELECT m.id AS mail, sum(coalesce(a.verdict ->> '$.cost.quota', 1)) AS uses FROM analyses a JOIN mails m ON m.seq = a.mail
             WHERE a.mail IN (SELECT mail FROM analyses WHERE open = 1 AND analyzer = ?)
               AND a.analyzer = ? AND json_extract(a.progress, '$.charged') = ? GROUP BY m.id`,
          )
          .all(analyzer, analyzer, day),
      ),

    submissionsFinished: (ids, cursor, time, analyzer = FIRST_ANALYZER) =>
      write(["analyses"], (db) => {
        // Another analyzer may have given the same number to another submission.
        const waiting = db.query<{ key: string }, [number, string]>(
          `SELECT s.key FROM submissions s JOIN analyses a ON a.key = s.key
           WHERE s.id = ? AND a.analyzer = ?`,
        );
        const move = db.query(
          "UPDATE analyses SET lane = ?, next_at = ? WHERE key = ? AND open = 1 AND submitted = 1",
        );
        const keys = new Set(ids.flatMap((id) => waiting.all(id, analyzer).map(({ key }) => key)));
        for (const key of keys) move.run(ANALYSIS_LANES.indexOf("read"), time, key);
        db.query("INSERT OR REPLACE INTO counters (name, value) VALUES (?, ?)").run(
          of(FINISHED_CURSOR, analyzer),
          cursor,
        );
        return [...keys];
      }),

    tellStates: (events, open, analyzer = FIRST_ANALYZER) =>
      write(["events"], (db) => {
        putEvents(db, events);
        db.query("DELETE FROM counters WHERE name >= ? AND name < ?").run(
          of(TOLD, analyzer),
          of(AFTER_TOLD, analyzer),
        );
        const insert = db.query("INSERT OR REPLACE INTO counters (name, value) VALUES (?, 1)");
        for (const name of open) insert.run(of(TOLD, analyzer) + name);
      }),

    toldStates: async (analyzer = FIRST_ANALYZER) =>
      read((db) => {
        const [from, end] = [of(TOLD, analyzer), of(AFTER_TOLD, analyzer)];
        return db
          .query<{ name: string }, [string, string]>("SELECT name FROM counters WHERE name >= ? AND name < ?")
          .all(from, end)
          .map(({ name }) => name.slice(from.length));
      }),

    finishedCursor: async (analyzer = FIRST_ANALYZER) =>
      read((db) => counter(db, of(FINISHED_CURSOR, analyzer))),

    moveAnalysis: (key, analyzer, progress, settlement = null) =>
      write(["analyses"], (db) => {
        const there = db.query<{ analyzer: string }, [string]>(
          "SELECT analyzer FROM analyses WHERE key = ? AND open = 1",
        );
        if (settlement !== null && (there.get(key)?.analyzer ?? analyzer) !== analyzer) {
          settle(db, key, settlement);
        }
        db.query(
          `UPDATE analyses SET analyzer = ?, progress = ?, submitted = 0, lane = ?, next_at = ?, faults = 0
           WHERE key = ? AND open = 1`,
        ).run(analyzer, JSON.stringify(progress), ANALYSIS_LANES.indexOf(laneAfter(progress)), now(), key);
      }),

    adoptAnalyses: (names) => {
      relooks.setAnalyzers(names);
      return write(["analyses"], (db) => {
        const queued: AnalysisProgress = { state: "queued" };
        const { changes } = db
          .query(
            `UPDATE analyses SET analyzer = ?, progress = ?, submitted = 0, lane = 0, next_at = ?, faults = 0
             WHERE open = 1 AND analyzer NOT IN (SELECT value FROM json_each(?))`,
          )
          .run(names[0], JSON.stringify(queued), now(), JSON.stringify(names));
        // Nothing waits so long: the clock was ahead then.
        db.query("UPDATE analyses SET next_at = ?1 WHERE open = 1 AND next_at > ?1 + ?2").run(
          now(),
          LONGEST_WAIT,
        );
        return changes;
      });
    },

    finishAnalysis: async (key, verdict, validUntil, settlement = null) => {
      const reached = (opened: boolean): readonly SpoolTopic[] =>
        opened ? ["analysed", "analyses"] : ["analysed"];
      await write(reached, (db): boolean => {
        const text = JSON.stringify(verdict);
        const before = db
          .query<{ progress: string; created_at: number }, [string]>(
            "SELECT progress, created_at FROM analyses WHERE key = ? AND open = 1",
          )
          .get(key);
        if (before === null) return false;
        if (settlement !== null) settle(db, key, settlement);
        db.query("UPDATE analyses SET open = 0, verdict = ?, valid_until = ? WHERE key = ?").run(
          text,
          validUntil,
          key,
        );
        const progress = JSON.parse(before.progress) as AnalysisProgress;
        if (progress.state === "submitted") {
          const forget = db.query("DELETE FROM submissions WHERE id = ? AND key = ?");
          for (const id of followed(progress)) forget.run(id, key);
        }
        const time = now();
        const opened = openMembers(db, key, verdict, time);
        decideWaiting(db, key, verdict, newChange(time));
        if (opened.malicious.length > 0) askRecheck(db, opened.malicious, "completed", newChange(time));
        const part = db
          .query<PartRecord, [string]>(
            `SELECT r.mail, r.n, r.content, r.artifact FROM analyses a
             JOIN artifacts r ON r.mail = a.mail AND r.n = a.n WHERE a.key = ? AND r.content IS NOT NULL`,
          )
          .get(key);
        if (part === null) return opened.waiting;
        const artifact = JSON.parse(part.artifact) as PlannedArtifact;
        const content = contentKey(artifact);
        const again = key.startsWith(AGAIN);
        // A new reputation is no reason to call harmless what an analysis found to be bad.
        const worse = again && progress.state === "submitted";
        if (relooks.changed(db, part.content, verdict, worse)) {
          // However long it took: it is about the mails of the time when it was wanted.
          const since = relooks.since(db, Math.min(before.created_at, time));
          const revision = { content, key: again ? null : key, verdict, worse, since };
          revise(db, revision, again ? "relook" : "late", newChange(time));
          if (again) renewKnown(db, content, verdict, validUntil);
        }
        if (again) relooks.looked(db, part.content, verdict, worse);
        else relooks.delivered(db, { ...part, artifact }, verdict, time);
        return opened.waiting;
      });
    },
  };
}

/** Charges the analyzer of an analysis; days before are forgotten, and what is given back to one of them is too. */
function settle(db: Database, key: string, { day, by }: Settlement): void {
  const { analyzer } = db
    .query<{ analyzer: string }, [string]>("SELECT analyzer FROM analyses WHERE key = ?")
    .get(key) ?? { analyzer: FIRST_ANALYZER };
  const account = of(CHARGED, analyzer);
  if (by > 0) {
    db.query("DELETE FROM counters WHERE name >= ? AND name < ?").run(account, account + day);
    db.query(
      `INSERT INTO counters (name, value) VALUES (?1, ?2)
       ON CONFLICT (name) DO UPDATE SET value = value + ?2`,
    ).run(account + day, by);
    return;
  }
  db.query("UPDATE counters SET value = max(0, value + ?) WHERE name = ?").run(by, account + day);
}

/**
 * Looks up by themselves the members of the files that wait for the analysis `key`, where its verdict says too little
 * of them. Gives whether analyses were queued, and the mails in which a member is known to be malicious.
 */
function openMembers(
  db: Database,
  key: string,
  verdict: ContentVerdict,
  time: number,
): { readonly waiting: boolean; readonly malicious: readonly number[] } {
  const malicious: number[] = [];
  let queued = false;
  if (key.startsWith(AGAIN) || !leavesMembersOpen(verdict)) return { waiting: queued, malicious };
  const holders = db
    .query<{ mail: number; n: number }, [string]>(
      `SELECT r.mail, r.n FROM artifacts r JOIN mails m ON m.seq = r.mail
       WHERE r.key = ? AND r.verdict IS NULL AND m.state = 'analysing'`,
    )
    .all(key);
  const wait = db.query("UPDATE mails SET waiting = waiting + ? WHERE seq = ?");
  for (const { mail, n } of holders) {
    const members = lookUpMembers(db, mail, n, time);
    if (members.waiting > 0) wait.run(members.waiting, mail);
    queued ||= members.waiting > 0;
    if (members.malicious) malicious.push(mail);
  }
  return { waiting: queued, malicious };
}

/** The submissions whose end moves the analysis on. */
function followed(progress: Extract<AnalysisProgress, { readonly state: "submitted" }>): readonly number[] {
  return [...progress.submissionIds, ...(progress.childIds ?? [])];
}

function laneAfter(progress: AnalysisProgress): AnalysisLane {
  switch (progress.state) {
    case "queued":
    case "submitting":
      return "look";
    case "looked":
      return progress.lane;
    case "submitted":
      return "poll";
  }
}

/** `submitLooks`: second looks are submitted where that may be. */
function jobOf(row: AnalysisRecord, submitLooks: boolean): AnalysisJob {
  const artifact = JSON.parse(row.artifact) as PlannedArtifact;
  const progress = JSON.parse(row.progress) as AnalysisProgress;
  const { decision } = artifact;
  const again = row.key.startsWith(AGAIN);
  // What was begun goes on, whatever the configuration says now.
  const begun = progress.state !== "queued";
  const anew = again && artifact.kind === "url" && submits(decision.action) && (submitLooks || begun);
  return {
    key: row.key,
    lane: ANALYSIS_LANES[row.lane] ?? "look",
    priority: row.priority,
    turn: row.turn,
    artifact: again
      ? { ...artifact, decision: { ...decision, action: anew ? "reputation" : "lookup" } }
      : artifact,
    ...(anew ? { anew } : {}),
    mailId: row.mail_id,
    progress,
    createdAt: row.created_at,
    nextAt: row.next_at,
    faults: row.faults,
    ...(progress.doubted === true ? { doubted: true } : {}),
  };
}

function counter(db: Database, name: string): number | null {
  return (
    db.query<{ value: number }, [string]>("SELECT value FROM counters WHERE name = ?").get(name)?.value ??
    null
  );
}

/**
 * Key of the analysis of a content: `dynamic`, the deepest, has the key of the content, the others are named before
 * it. A shallower analysis must not answer for a deeper one.
 */
export function analysisKey(artifact: PlannedArtifact): string {
  return keyAt(artifact, artifact.decision.action);
}

function keyAt(artifact: PlannedArtifact, action: Action): string {
  return keyOf(contentKey(artifact), action);
}

function keyOf(content: string, action: Action): string {
  return action === "dynamic" || action === "skip" ? content : `${action}:${content}`;
}

/** What serves later mails must not say what a second look has refuted. */
function renewKnown(db: Database, content: string, verdict: ContentVerdict, validUntil: number | null): void {
  const renew = db.query(
    "UPDATE analyses SET verdict = ?, valid_until = ? WHERE key = ? AND open = 0 AND valid_until IS NOT NULL",
  );
  for (const action of ACTIONS) renew.run(JSON.stringify(verdict), validUntil, keyOf(content, action));
}

/** Keys of the analyses whose verdict answers for this artifact: its own and the deeper ones. */
function answeringKeys(artifact: PlannedArtifact): readonly string[] {
  return ACTIONS.slice(ACTIONS.indexOf(artifact.decision.action)).map((action) => keyAt(artifact, action));
}

/** The verdict of a part that nobody is asked about: what is on the deny list is malicious. */
export function skipped({ reason, list }: Decision): ContentVerdict {
  const decided =
    list === "deny"
      ? ({ outcome: "judged", verdict: "malicious" } as const)
      : ({ outcome: "skipped", verdict: "not_available" } as const);
  return { ...decided, reason, threat_names: [], vmray: null };
}

/** A verdict still valid at `time`, of an analysis at least as deep as the artifact wants. */
export function knownVerdict(db: Database, artifact: PlannedArtifact, time: number): ContentVerdict | null {
  const find = db.query<{ verdict: string }, [string, number]>(
    "SELECT verdict FROM analyses WHERE key = ? AND open = 0 AND valid_until > ?",
  );
  for (const key of answeringKeys(artifact)) {
    const row = find.get(key, time);
    if (row !== null) return withoutCost(JSON.parse(row.verdict) as ContentVerdict);
  }
  return null;
}

/** What it took was for an earlier mail. */
function withoutCost({ cost: _, ...verdict }: ContentVerdict): ContentVerdict {
  return verdict;
}

/** Part of a mail that wants an analysis. */
export type Wish = {
  readonly artifact: PlannedArtifact;
  /** Its row: `seq` of the mail and its number in the plan. */
  readonly mail: number;
  readonly n: number;
  /** How many parts of the same mail were wanted before it. */
  readonly before: number;
};

/**
 * Starts or joins an analysis and gives its key. One that would submit joins a deeper one that is under way rather
 * than pay twice. The more urgent of two mails sets the priority.
 */
export function wantAnalysis(db: Database, wish: Wish, time: number): string {
  const { artifact } = wish;
  const open = db.query<{ one: number }, [string]>(
    "SELECT 1 AS one FROM analyses WHERE key = ? AND open = 1",
  );
  const joined = submits(artifact.decision.action)
    ? answeringKeys(artifact).find((each) => open.get(each) !== null)
    : undefined;
  const key = joined ?? analysisKey(artifact);
  const priority = 2 - PRIORITIES.indexOf(artifact.decision.priority ?? "normal");
  openAnalysis(
    db,
    {
      key,
      mail: wish.mail,
      n: wish.n,
      priority,
      turn: turnOf(artifact, wish.before, time),
      analyzer: artifact.decision.analyzer ?? FIRST_ANALYZER,
    },
    time,
  );
  return key;
}

/** Row of an analysis to be made of the artifact `n` of `mail`. */
export type NewAnalysis = {
  readonly key: string;
  readonly mail: number;
  readonly n: number;
  readonly priority: number;
  readonly turn: number;
  readonly analyzer: string;
};

/** Queues a second look at the content of a part, behind all that mails wait for. */
export function openAgain(
  db: Database,
  content: string,
  { mail, n, analyzer }: Pick<NewAnalysis, "mail" | "n" | "analyzer">,
  time: number,
): void {
  const priority = BACKGROUND_PRIORITY;
  openAnalysis(db, { key: AGAIN + content, mail, n, priority, turn: time, analyzer }, time);
}

/** Queues an analysis; where it is under way already, a more urgent wish brings it forward. */
export function openAnalysis(
  db: Database,
  { key, mail, n, priority, turn, analyzer }: NewAnalysis,
  time: number,
): void {
  const queued: AnalysisProgress = { state: "queued" };
  const doubted: AnalysisProgress = { ...queued, doubted: true };
  const { changes } = db
    .query(
      `INSERT INTO analyses (key, open, mail, n, progress, created_at, next_at, priority, turn, analyzer)
       VALUES (?1, 1, ?2, ?3, ?4, ?5, ?5, ?6, ?7, ?8)
       ON CONFLICT (key) DO UPDATE SET open = 1, mail = ?2, n = ?3, submitted = 0, lane = 0,
         progress = CASE WHEN coalesce(progress ->> '$.note', progress ->> '$.doubted') IS NULL THEN ?4 ELSE ?9 END,
         created_at = ?5, next_at = ?5, priority = ?6, turn = ?7, faults = 0, verdict = NULL, valid_until = NULL,
         analyzer = ?8
       WHERE open = 0`,
    )
    .run(key, mail, n, JSON.stringify(queued), time, priority, turn, analyzer, JSON.stringify(doubted));
  if (changes > 0) return;
  db.query(
    `UPDATE analyses SET priority = min(priority, ?2), turn = min(turn, ?3)
     WHERE key = ?1 AND (priority > ?2 OR turn > ?3)`,
  ).run(key, priority, turn);
}

/** A mail's parts take their turns one second apart, so that one with hundreds does not hold up the others. */
const PART_APART = 1_000;
/** How much later than a program that came at the same time other parts have their turn. */
const BEHIND_PROGRAMS = { document: 5_000, other: 10_000 };
const PROGRAMS: ReadonlySet<string> = new Set(["executables", "scripts", "shortcuts"]);
const DOCUMENTS: ReadonlySet<string> = new Set(["documents", "archives", "disk_images", "html"]);

/** The turn of a part among those of its priority: by age, by risk, and by the mail's fair share. */
export function turnOf(artifact: PlannedArtifact, before: number, time: number): number {
  return time + before * PART_APART + behind(artifact);
}

function behind(artifact: PlannedArtifact): number {
  if (artifact.kind === "url") return BEHIND_PROGRAMS.other;
  const { type, filename } = artifact.attachment;
  const group = groupOf(type, extensionOf(filename));
  if (PROGRAMS.has(group)) return 0;
  return DOCUMENTS.has(group) ? BEHIND_PROGRAMS.document : BEHIND_PROGRAMS.other;
}
