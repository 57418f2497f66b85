/**
 * What was put on a deny list is applied to the mails of the last hours, in SQLite.
 *
 * A denial is queued in the commit that adds the entry, or finds it new in a file, where an index says that some mail
 * may have it. It goes over these mails in steps, first giving the parts their verdict, then having the mails judged
 * again, so that each event can name all the mails; where it stands is part of each commit.
 */
import type { Database } from "bun:sqlite";
import { SENDER_DENIED_FLAG } from "../extract/extraction.ts";
import type { Envelope } from "../intake/mail.ts";
import { createLists, entryText, type ListEntry, type ListKey, type Lists } from "../triage/lists.ts";
import type { Decision, Plan, PlannedArtifact, SenderHit } from "../triage/plan.ts";
import { partVerdict } from "../verdict/judge.ts";
import type { ContentVerdict } from "../verdict/verdict.ts";
import { skipped } from "./analyses.ts";
import type { MailRecord } from "./mail-rows.ts";
import type { Relooks } from "./relooks.ts";
import { askRecheck, newChange } from "./revisions.ts";
import type { DenyFile, KeptExtraction, Spool } from "./spool.ts";
import type { StoreAccess } from "./store-access.ts";
import {
  dayOf,
  FIRST,
  forgetTraits,
  mailsWith,
  mayConcern,
  recordTraits,
  type TraitCursor,
  type TraitWindow,
} from "./traits.ts";

export type Denials = {
  readonly store: Pick<Spool, "deniedFromFile" | "denyFromFile" | "keepDenyFiles" | "applyDenials">;
  /** Notes what a mail that was taken apart is found by; `senders` are its addresses in the envelope and in From. */
  record(db: Database, mail: number, plan: Plan, senders: readonly string[]): void;
  /** Queues what is new on a deny list. */
  queue(db: Database, entries: readonly ListEntry[]): void;
  /** Takes back what a running sensor was given and has not begun to apply. */
  cancel(db: Database, key: ListKey): void;
  /** Forgets what is too old to be found, at most `limit`; gives how much. */
  sweep(db: Database, time: number, limit: number): number;
};

type Step =
  | { readonly phase: "apply"; readonly after: TraitCursor }
  | { readonly phase: "tell"; readonly after: number };

const BEGINNING = JSON.stringify({ phase: "apply", after: FIRST } satisfies Step);

type QueuedDenial = {
  readonly id: number;
  readonly entry: string;
  readonly change: string;
  readonly step: string;
};

export function createDenials({ read, write }: StoreAccess, relooks: Relooks, now: () => number): Denials {
  /** Null where nothing that came is looked at. */
  const window = (db: Database): TraitWindow | null => {
    const length = relooks.window() ?? 0;
    const time = now();
    if (length === 0) return null;
    return { mail: relooks.since(db, time), days: [dayOf(time - length), dayOf(time)] };
  };
  const first = (db: Database) =>
    db.query<QueuedDenial, []>("SELECT id, entry, change, step FROM denials ORDER BY id LIMIT 1").get();

  const queue = (db: Database, entries: readonly ListEntry[]) => {
    const from = window(db);
    if (from === null) return;
    const insert = db.query(
      "INSERT INTO denials (kind, value, run_time, entry, change, step) VALUES (?, ?, ?, ?, ?, ?)",
    );
    for (const entry of entries) {
      if (entry.list !== "deny" || !mayConcern(db, entry, from)) continue;
      const { kind, value, addedAt } = entry;
      const runTime = addedAt === null ? 0 : 1;
      insert.run(kind, value, runTime, JSON.stringify(entry), newChange(now()), BEGINNING);
    }
  };

  const positionOf = (db: Database, { name, fingerprint }: DenyFile) =>
    db
      .query<{ position: number }, [string, string]>(
        "SELECT position FROM deny_files WHERE name = ? AND fingerprint = ?",
      )
      .get(name, fingerprint)?.position ?? 0;

  return {
    store: {
      deniedFromFile: async (file) => read((db) => positionOf(db, file)),

      denyFromFile: async ({ name, fingerprint }, { from, entries, note }) => {
        const some = read((db) => {
          const mails = window(db);
          return mails === null ? [] : entries.filter((entry) => mayConcern(db, entry, mails));
        });
        if (some.length === 0 && !note) return;
        await write([], (db) => {
          queue(db, some);
          db.query("INSERT OR REPLACE INTO deny_files (name, fingerprint, position) VALUES (?, ?, ?)").run(
            name,
            fingerprint,
            from + entries.length,
          );
        });
      },

      keepDenyFiles: (names) =>
        write([], (db) => {
          db.query("DELETE FROM deny_files WHERE name NOT IN (SELECT value FROM json_each(?))").run(
            JSON.stringify(names),
          );
        }),

      applyDenials: async (limit) => {
        if (read(first) === null) return 0;
        return write(["analysed"], (db) => {
          const row = first(db);
          if (row === null) return 0;
          const { handled, next } = advance(db, row, limit);
          if (next === null) db.query("DELETE FROM denials WHERE id = ?").run(row.id);
          else db.query("UPDATE denials SET step = ? WHERE id = ?").run(JSON.stringify(next), row.id);
          return Math.max(1, handled);
        });
      },
    },

    record: (db, mail, plan, senders) => {
      if (relooks.window() !== 0) recordTraits(db, mail, dayOf(now()), plan, senders);
    },

    queue,

    cancel: (db, { kind, value }) => {
      db.query("DELETE FROM denials WHERE kind = ? AND value = ? AND run_time = 1 AND step = ?").run(
        kind,
        value,
        BEGINNING,
      );
    },

    sweep: (db, time, limit) => {
      const length = relooks.window();
      return length === null ? 0 : forgetTraits(db, dayOf(time - length), limit);
    },
  };

  function advance(
    db: Database,
    row: QueuedDenial,
    limit: number,
  ): { readonly handled: number; readonly next: Step | null } {
    const step = JSON.parse(row.step) as Step;
    if (step.phase === "tell") return tell(db, row.change, step.after, limit);
    const entry = JSON.parse(row.entry) as ListEntry;
    const from = window(db);
    if (from === null) return tell(db, row.change, -1, limit);
    const { mails, next } = mailsWith(db, entry, from, step.after, limit);
    const lists = createLists([entry], now);
    for (const mail of new Set(mails)) deny(db, mail, { entry, lists, change: row.change }, relooks);
    if (next !== null) return { handled: mails.length, next: { phase: "apply", after: next } };
    return tell(db, row.change, -1, limit);
  }

  function tell(db: Database, change: string, after: number, limit: number) {
    const mails = db
      .query<{ seq: number }, [string, number, number]>(
        "SELECT seq FROM mails WHERE list_change = ? AND seq > ? ORDER BY seq LIMIT ?",
      )
      .all(change, after, limit)
      .map(({ seq }) => seq);
    askRecheck(db, mails, "list", change);
    const last = mails.at(-1);
    const next: Step | null =
      mails.length < limit || last === undefined ? null : { phase: "tell", after: last };
    return { handled: mails.length, next };
  }
}

type Denial = { readonly entry: ListEntry; readonly lists: Lists; readonly change: string };

/** Denies what the entry is about in one mail, and notes the mail where that was news. */
function deny(db: Database, seq: number, denial: Denial, relooks: Relooks): void {
  const mail = db
    .query<MailRecord, [number]>(
      "SELECT * FROM mails WHERE seq = ? AND state IN ('analysing', 'analysed', 'done')",
    )
    .get(seq);
  if (mail === null) return;
  const changed =
    denial.entry.kind === "sender" ? denySender(db, mail, denial) : denyParts(db, mail, denial, relooks);
  if (changed) db.query("UPDATE mails SET list_change = ? WHERE seq = ?").run(denial.change, seq);
}

function denySender(db: Database, mail: MailRecord, { entry, lists }: Denial): boolean {
  if (mail.extraction === null) return false;
  const extraction = JSON.parse(mail.extraction) as KeptExtraction;
  if (extraction.sender_list?.list === "deny") return false;
  const { from } = JSON.parse(mail.envelope) as Envelope;
  const address = [from, ...extraction.mail.from].find((each) => lists.matchSender(each) !== null);
  if (address === undefined) return false;
  const hit: SenderHit = { list: "deny", address, entry: entryText(entry) };
  db.query("UPDATE mails SET extraction = ? WHERE seq = ?").run(
    JSON.stringify({ ...extraction, flags: [...extraction.flags, SENDER_DENIED_FLAG], sender_list: hit }),
    mail.seq,
  );
  return true;
}

type PartRecord = {
  readonly n: number;
  readonly content: Uint8Array | null;
  readonly artifact: string;
  readonly verdict: string | null;
};

function denyParts(db: Database, mail: MailRecord, { entry, lists }: Denial, relooks: Relooks): boolean {
  const parts = db
    .query<PartRecord, [number]>(
      "SELECT n, content, artifact, verdict FROM artifacts WHERE mail = ? ORDER BY n",
    )
    .all(mail.seq);
  const put = db.query(
    "UPDATE artifacts SET artifact = ?, verdict = ?, was = coalesce(was, ?) WHERE mail = ? AND n = ?",
  );
  let waited = 0;
  let changed = false;
  for (const { n, content, artifact, verdict } of parts) {
    const part = JSON.parse(artifact) as PlannedArtifact;
    const listed = part.kind === "url" ? lists.matchUrl(part.url) : lists.matchAttachment(part.attachment);
    const old = verdict === null ? null : (JSON.parse(verdict) as ContentVerdict);
    if (listed === null || (old !== null && partVerdict(old) === "malicious")) continue;
    const decision: Decision = {
      ...part.decision,
      rule: `list.deny_${entry.kind}`,
      reason: `on the deny list ${entryText(entry)}`,
      list: "deny",
    };
    const denied = skipped(decision);
    const was = mail.verdict === null ? null : old === null ? "not_available" : partVerdict(old);
    put.run(JSON.stringify({ ...part, decision }), JSON.stringify(denied), was, mail.seq, n);
    if (old === null) waited += 1;
    // By a wrapper or by what tracks its reader only this mail is denied: others with the content are looked at again.
    const isAbout =
      part.kind === "attachment" || lists.matchUrl({ normalized: part.url.normalized }) !== null;
    if (content !== null && isAbout) relooks.looked(db, content, denied, false);
    changed = true;
  }
  if (waited > 0) {
    db.query(
      `UPDATE mails SET waiting = waiting - ?1, state = CASE WHEN waiting = ?1 THEN 'analysed' ELSE state END
       WHERE seq = ?2 AND state = 'analysing'`,
    ).run(waited, mail.seq);
  }
  return changed;
}
