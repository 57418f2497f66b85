/** The verdicts of mails in SQLite: which mails are to be judged, and what was reported of them. */
import type { Database } from "bun:sqlite";
import type { Extraction } from "../extract/extraction.ts";
import type { Envelope } from "../intake/mail.ts";
import type { Verdict } from "../verdict/verdict.ts";
import { count, type MailRecord, mailRow } from "./mail-rows.ts";
import { putEvents } from "./outbox.ts";
import type { MailBeside, Spool } from "./spool.ts";
import type { StoreAccess } from "./store-access.ts";

export type ReportStore = Pick<
  Spool,
  | "analysedMails"
  | "finishMail"
  | "mailsToReport"
  | "reportMail"
  | "waitingFault"
  | "mailsBeside"
  | "mailsOfChange"
>;

/** Mails that share a content are counted up to this number. */
const MAX_BESIDE = 10_000;
/** Changes whose mails are kept in mind. */
const MAX_SHARING = 8;

/** The mails that share contents, newest first. */
type Sharing = { readonly seqs: readonly number[]; readonly newest: readonly MailBeside[] };

export function reportStore({ read, write }: StoreAccess, now: () => number): ReportStore {
  // Each of the mails of a change asks for the others: they are looked up once.
  const known = new Map<string, Sharing>();
  const sharing = (
    db: Database,
    contents: readonly Uint8Array[],
    limit: number,
    change?: string,
  ): Sharing => {
    if (change === undefined) return mailsSharing(db, contents, limit);
    const name = [change, limit, ...contents.map((content) => content.toHex())].join(" ");
    const found = known.get(name) ?? mailsSharing(db, contents, limit);
    known.delete(name);
    known.set(name, found);
    for (const oldest of known.keys()) {
      if (known.size <= MAX_SHARING) break;
      known.delete(oldest);
    }
    return found;
  };
  return {
    analysedMails: async (limit) =>
      read((db) =>
        db
          .query<MailRecord, [number]>("SELECT * FROM mails WHERE state = 'analysed' ORDER BY seq LIMIT ?")
          .all(limit)
          .map((row) => mailRow(db, row)),
      ),

    finishMail: (id, verdict, complete, reasons, events, seen) =>
      write(["events"], (db) => {
        const before = db
          .query<MailRecord, [string]>("SELECT * FROM mails WHERE id = ? AND state = 'analysed'")
          .get(id);
        if (before === null) return;
        db.query("UPDATE mails SET state = 'done', finished_at = ? WHERE seq = ?").run(now(), before.seq);
        count(db, "done", 1);
        tell(db, before, { verdict, complete, reasons, events });
        if (before.recheck === (seen ?? null)) settle(db, before);
      }),

    mailsToReport: async (plannedBefore, limit) =>
      read((db) => {
        const changed = db
          .query<MailRecord, [number]>(
            `SELECT * FROM mails WHERE recheck IS NOT NULL AND state IN ('analysing', 'done')
             ORDER BY seq LIMIT ?`,
          )
          .all(limit);
        const late = db
          .query<MailRecord, [number, number]>(
            `SELECT * FROM mails WHERE state = 'analysing' AND verdict IS NULL AND planned_at < ?
             ORDER BY planned_at LIMIT ?`,
          )
          .all(plannedBefore, limit - changed.length)
          .filter(({ recheck }) => recheck === null);
        return [...changed, ...late].map((row) => mailRow(db, row));
      }),

    reportMail: (mail, report) =>
      write(["events"], (db) => {
        const before = db
          .query<MailRecord & { readonly waiting: number }, [string]>(
            "SELECT * FROM mails WHERE id = ? AND state IN ('analysing', 'done')",
          )
          .get(mail.id);
        const waiting = mail.artifacts.filter(({ verdict }) => verdict === null).length;
        const asRead = before?.recheck === (mail.recheck?.change ?? null) && before.waiting === waiting;
        if (before === null || !asRead) return;
        if (report === null) {
          db.query("UPDATE mails SET recheck = NULL, because = NULL WHERE seq = ?").run(before.seq);
          return;
        }
        tell(db, before, report);
        settle(db, before);
      }),

    waitingFault: async (id) =>
      read(
        (db) =>
          db
            .query<{ reason: string }, [string]>(
              `SELECT json_extract(a.progress, '$.fault.reason') AS reason
               FROM mails m JOIN artifacts r ON r.mail = m.seq AND r.verdict IS NULL
               JOIN analyses a ON a.key = r.key AND a.open = 1
               WHERE m.id = ? AND json_extract(a.progress, '$.fault.at') IS NOT NULL
               ORDER BY json_extract(a.progress, '$.fault.at') DESC LIMIT 1`,
            )
            .get(id)?.reason ?? null,
      ),

    mailsBeside: async (id, parts, limit, change) =>
      read((db) => {
        const own = db.query<{ seq: number }, [string]>("SELECT seq FROM mails WHERE id = ?").get(id)?.seq;
        if (own === undefined) return { count: 0, mails: [] };
        const contentOf = db.query<{ content: Uint8Array | null }, [number, number]>(
          "SELECT content FROM artifacts WHERE mail = ? AND n = ?",
        );
        const contents = parts.flatMap((n) => contentOf.get(own, n)?.content ?? []);
        const { seqs, newest } = sharing(db, contents, limit, change);
        const others = seqs.length - (seqs.includes(own) ? 1 : 0);
        const mails = newest.filter((mail) => mail.id !== id).slice(0, limit);
        return { count: Math.min(others, MAX_BESIDE), mails };
      }),

    mailsOfChange: async (id, change, limit) =>
      read((db) => {
        const own = db.query<{ seq: number }, [string]>("SELECT seq FROM mails WHERE id = ?").get(id)?.seq;
        // From the index alone: each of the mails asks for it.
        const all = db
          .query<{ n: number }, [string, number]>(
            "SELECT count(*) AS n FROM (SELECT 1 FROM mails WHERE list_change = ? LIMIT ?)",
          )
          .get(change, MAX_BESIDE);
        const newest = db
          .query<{ seq: number }, [string, number]>(
            "SELECT seq FROM mails WHERE list_change = ? ORDER BY seq DESC LIMIT ?",
          )
          .all(change, limit + 1)
          .filter(({ seq }) => seq !== own);
        return { count: Math.max(0, (all?.n ?? 0) - 1), mails: besides(db, newest.slice(0, limit)) };
      }),
  };
}

type Told = {
  readonly verdict: Verdict;
  readonly complete: boolean;
  readonly reasons: readonly string[];
  readonly events: Parameters<typeof putEvents>[1];
};

function tell(db: Database, mail: MailRecord, { verdict, complete, reasons, events }: Told): void {
  db.query(
    "UPDATE mails SET verdict = ?, complete = ?, reasons = ?, reported = coalesce(?, reported) WHERE seq = ?",
  ).run(verdict, complete ? 1 : 0, JSON.stringify(reasons), events.at(-1)?.id ?? null, mail.seq);
  if (mail.verdict !== verdict) {
    if (mail.verdict !== null) count(db, `verdict.${mail.verdict}`, -1);
    count(db, `verdict.${verdict}`, 1);
  }
  putEvents(db, events);
}

/** Everything known about the mail is told. */
function settle(db: Database, mail: MailRecord): void {
  if (mail.verdict === null && mail.recheck === null) return;
  db.query("UPDATE mails SET recheck = NULL, because = NULL WHERE seq = ?").run(mail.seq);
  db.query("UPDATE artifacts SET was = NULL WHERE mail = ? AND was IS NOT NULL").run(mail.seq);
}

function mailsSharing(db: Database, contents: readonly Uint8Array[], limit: number): Sharing {
  const of = db.query<{ mail: number }, [Uint8Array, number]>(
    "SELECT DISTINCT mail FROM artifacts WHERE content = ? ORDER BY mail DESC LIMIT ?",
  );
  const found = new Set(
    contents.flatMap((content) => of.all(content, MAX_BESIDE + 1).map(({ mail }) => mail)),
  );
  const seqs = [...found].sort((a, b) => b - a).slice(0, MAX_BESIDE + 1);
  // One of them is the mail that asks.
  const newest = besides(
    db,
    seqs.slice(0, limit + 1).map((seq) => ({ seq })),
  );
  return { seqs, newest };
}

function besides(db: Database, mails: readonly { readonly seq: number }[]): readonly MailBeside[] {
  const read = db.query<Pick<MailRecord, "id" | "received_at" | "envelope" | "extraction">, [number]>(
    "SELECT id, received_at, envelope, extraction FROM mails WHERE seq = ?",
  );
  return mails
    .flatMap(({ seq }) => read.get(seq) ?? [])
    .map((row): MailBeside => {
      const facts = row.extraction === null ? null : (JSON.parse(row.extraction) as Extraction).mail;
      return {
        id: row.id,
        receivedAt: row.received_at,
        envelope: JSON.parse(row.envelope) as Envelope,
        subject: facts?.subject ?? null,
        messageId: facts?.message_id ?? null,
      };
    });
}
