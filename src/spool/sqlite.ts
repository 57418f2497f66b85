/**
 * The spool on SQLite: one folder with the database, the bytes of large mails beside it, and a lock.
 *
 *   spool.db   everything but large mails          large/ID.eml      mails over `inlineSize`
 *   lock       held while a sensor runs            incoming/ID.part  large mails still coming in
 *                                                  parsing/ID        mails in a parser at this moment
 */
import { Database, SQLiteError } from "bun:sqlite";
import {
  chmodSync,
  closeSync,
  mkdirSync,
  openSync,
  readdirSync,
  statfsSync,
  statSync,
  unlinkSync,
} from "node:fs";
import { unlink } from "node:fs/promises";
import { join } from "node:path";
import { ignoreMissing, SensorError } from "../errors.ts";
import type { Extraction, OriginalEnvelope } from "../extract/extraction.ts";
import { addressKey } from "../extract/unwrap/addresses.ts";
import type { Envelope, RawMail } from "../intake/mail.ts";
import type { Log } from "../log.ts";
import { contentKey, submits } from "../triage/plan.ts";
import { alertStore } from "./alerts.ts";
import { AGAIN, analysisKey, analysisStore, knownVerdict, skipped, wantAnalysis } from "./analyses.ts";
import { createBody, largeFile } from "./body.ts";
import { openDatabase } from "./database.ts";
import { createDenials, type Denials } from "./denials.ts";
import { spoolFault } from "./faults.ts";
import { forgetExpired, listStore } from "./lists.ts";
import { count, firstId, type MailRecord, mailRow } from "./mail-rows.ts";
import { leavesMembersOpen, lookUpMembers } from "./members.ts";
import { lastSeq, outboxStore, putEvents } from "./outbox.ts";
import { createParsingNotes } from "./parsing-notes.ts";
import { createRelooks, type Relooks } from "./relooks.ts";
import { reportStore } from "./reports.ts";
import { askRecheck, contentId, newChange } from "./revisions.ts";
import type { MailFilter, MailRow, MailState, Spool, SpoolTopic } from "./spool.ts";
import type { StoreAccess } from "./store-access.ts";

export type SpoolSettings = {
  /** Folder; made where it is missing. */
  readonly path: string;
  /** Bytes up to which a mail is kept in the database. */
  readonly inlineSize: number;
  /** Free bytes below which no mail is taken. */
  readonly minFree: number;
  /** Milliseconds after the verdict. */
  readonly keepRaw: number;
  readonly keepMetadata: number;
  readonly keepEvents: number;
};

const FREE_SPACE_EVERY = 1_000;
const SWEEP_STEP = 500;
/** Pages given back to the file system in one step of the sweep (4 KB each). */
const VACUUM_STEP = 2_000;
const SCAN_STEP = 2_000;

/**
 * Opens the spool, and makes it where there is none. Mails that were in a parser when the sensor last died are
 * suspect from now on. Throws SPOOL_IN_USE, SPOOL_NEWER, SPOOL_FULL or SPOOL_BROKEN.
 */
export async function openSpool(
  settings: SpoolSettings,
  log: Log,
  now: () => number = Date.now,
): Promise<Spool> {
  const folder = (name: string) => join(settings.path, name);
  try {
    for (const made of [settings.path, folder("large"), folder("incoming")]) {
      mkdirSync(made, { recursive: true, mode: 0o700 });
    }
  } catch (thrown) {
    throw spoolFault(thrown, `make the spool folder ${settings.path}`);
  }
  const unlock = lock(folder("lock"));
  let store: ReturnType<typeof openDatabase>;
  try {
    store = openDatabase(folder("spool.db"), log);
    chmodSync(folder("spool.db"), 0o600);
  } catch (thrown) {
    unlock();
    throw thrown;
  }

  const subscribers = new Map<SpoolTopic, Set<() => void>>();
  const write: StoreAccess["write"] = async (topics, work) => {
    const result = await store.write(work);
    const reached = typeof topics === "function" ? topics(result) : topics;
    for (const topic of reached) for (const wake of subscribers.get(topic) ?? []) wake();
    return result;
  };

  const access: StoreAccess = { read: store.read, write };

  let freeLookedAt = 0;
  let free = Number.POSITIVE_INFINITY;
  const lowSpace = (): SensorError | null => {
    const time = Date.now();
    if (time - freeLookedAt >= FREE_SPACE_EVERY) {
      freeLookedAt = time;
      try {
        const disk = statfsSync(settings.path);
        free = disk.bavail * disk.bsize;
      } catch (thrown) {
        return spoolFault(thrown, "look for free space");
      }
    }
    if (free >= settings.minFree) return null;
    return new SensorError("SPOOL_FULL", `only ${free} bytes are free where ${settings.minFree} are wanted`);
  };

  const relooks = createRelooks(access);
  const denials = createDenials(access, relooks, now);
  const handedOut = new Set<string>();
  const parsing = createParsingNotes(folder("parsing"));
  const takenBack = (id: string) => {
    parsing.erase(id);
    handedOut.delete(id);
  };
  const suspects = parsing.left();
  await write([], (db) => {
    const count = db.query("UPDATE mails SET deaths = deaths + 1 WHERE id = ? AND state = 'received'");
    for (const id of suspects) count.run(id);
  });
  for (const id of suspects) parsing.erase(id);
  removeLeftovers(store.read, folder("incoming"), folder("large"));

  const rawOf = (db: Database, row: Pick<MailRecord, "seq" | "id" | "raw">): RawMail | null => {
    if (row.raw === null) return null;
    if (row.raw === "file") return { kind: "file", path: largeFile(settings.path, row.id) };
    const found = db
      .query<{ bytes: Uint8Array }, [number]>("SELECT bytes FROM raw WHERE seq = ?")
      .get(row.seq);
    return found === null ? null : { kind: "inline", bytes: found.bytes };
  };

  return {
    ready: () => {
      const error = lowSpace();
      if (error !== null) throw error;
      store.check();
    },

    body: (id) => createBody(settings, id),

    putMail: (mail) =>
      write(["received"], (db) => {
        const { lastInsertRowid } = db
          .query(
            `INSERT INTO mails (id, state, received_at, size, sha256, envelope, raw)
             VALUES (?, 'received', ?, ?, ?, ?, ?)`,
          )
          .run(
            mail.id,
            mail.receivedAt,
            mail.size,
            mail.sha256,
            JSON.stringify(mail.envelope),
            mail.body.kind,
          );
        if (mail.body.kind === "inline") {
          db.query("INSERT INTO raw (seq, bytes) VALUES (?, ?)").run(lastInsertRowid, mail.body.bytes);
        }
      }),

    claimMails: async (limit) => {
      const rows = store.read((db) => {
        const suspect = db
          .query<MailRecord, [number]>(
            "SELECT * FROM mails WHERE state = 'received' AND deaths > 0 AND next_at <= ? ORDER BY seq LIMIT 1",
          )
          .get(now());
        if (suspect !== null) return handedOut.size > 0 ? [] : [suspect];
        // Those handed out are read again at each call: their ids alone.
        const ids = db
          .query<{ id: string }, [number, number]>(
            "SELECT id FROM mails WHERE state = 'received' AND next_at <= ? ORDER BY seq LIMIT ?",
          )
          .all(now(), limit + handedOut.size)
          .filter(({ id }) => !handedOut.has(id))
          .slice(0, limit);
        const read = db.query<MailRecord, [string]>("SELECT * FROM mails WHERE id = ?");
        return ids.flatMap(({ id }) => read.get(id) ?? []);
      });
      return rows.map((row) => {
        // Bytes that are gone fail when the file is opened, and so cost this mail alone.
        const raw = store.read((db) => rawOf(db, row)) ?? {
          kind: "file",
          path: largeFile(settings.path, row.id),
        };
        handedOut.add(row.id);
        const envelope = JSON.parse(row.envelope) as Envelope;
        return { id: row.id, size: row.size, envelope, raw, deaths: row.deaths };
      });
    },

    giveBackMail: takenBack,

    noteParsing: (id) => parsing.note(id),

    rawMail: async (id) =>
      store.read((db) => {
        const row = db.query<MailRecord, [string]>("SELECT * FROM mails WHERE id = ?").get(id);
        return row === null ? null : rawOf(db, row);
      }),

    recordExtraction: async (id, extraction, plan, sender = null) => {
      await write(["analyses", "analysed"], (db) => {
        const row = db
          .query<Pick<MailRecord, "seq" | "envelope" | "received_at">, [string]>(
            "SELECT seq, envelope, received_at FROM mails WHERE id = ? AND state = 'received'",
          )
          .get(id);
        if (row === null) return;
        if (extraction.envelope !== null) setOriginalEnvelope(db, row, extraction.envelope);
        const time = now();
        let waiting = 0;
        let malicious = sender?.list === "deny";
        const open: number[] = [];
        for (const [n, artifact] of plan.entries()) {
          const verdict =
            artifact.decision.action === "skip"
              ? skipped(artifact.decision)
              : knownVerdict(db, artifact, time);
          const key =
            verdict === null
              ? wantAnalysis(db, { artifact, mail: row.seq, n, before: waiting }, time)
              : analysisKey(artifact);
          if (verdict === null) waiting += 1;
          malicious ||= verdict?.verdict === "malicious";
          if (verdict !== null && submits(artifact.decision.action) && leavesMembersOpen(verdict))
            open.push(n);
          const content = contentId(contentKey(artifact));
          db.query(
            "INSERT INTO artifacts (mail, n, key, artifact, verdict, content) VALUES (?, ?, ?, ?, ?, ?)",
          ).run(
            row.seq,
            n,
            key,
            JSON.stringify(artifact),
            verdict === null ? null : JSON.stringify(verdict),
            content,
          );
          if (verdict !== null && artifact.decision.action !== "skip") {
            relooks.delivered(db, { mail: row.seq, n, content, artifact }, verdict, time);
          }
        }
        for (const n of open) {
          const members = lookUpMembers(db, row.seq, n, time);
          waiting += members.waiting;
          malicious ||= members.malicious;
        }
        const { attachments: _attachments, urls: _urls, ...kept } = extraction;
        db.query(
          "UPDATE mails SET state = ?, waiting = ?, extraction = ?, planned_at = ?, error = NULL WHERE seq = ?",
        ).run(
          waiting > 0 ? "analysing" : "analysed",
          waiting,
          JSON.stringify(sender === null ? kept : { ...kept, sender_list: sender }),
          time,
          row.seq,
        );
        const from = extraction.envelope?.from ?? (JSON.parse(row.envelope) as Envelope).from;
        denials.record(db, row.seq, plan, [from, ...extraction.mail.from]);
        if (malicious && waiting > 0) askRecheck(db, [row.seq], "completed", newChange(time));
      });
      takenBack(id);
    },

    recordExtractionFault: async (id, error, retryAt) => {
      const attempts = await write(["received"], (db) => {
        db.query(
          `UPDATE mails SET attempts = attempts + 1, error = ?, next_at = ?
           WHERE id = ? AND state = 'received'`,
        ).run(error, retryAt, id);
        const row = db
          .query<{ attempts: number }, [string]>("SELECT attempts FROM mails WHERE id = ?")
          .get(id);
        return row?.attempts ?? 0;
      });
      takenBack(id);
      return attempts;
    },

    failMail: async (id, error, event) => {
      await write(["events"], (db) => {
        const { changes } = db
          .query(
            `UPDATE mails SET state = 'failed', error = ?, finished_at = ?
             WHERE id = ? AND state = 'received'`,
          )
          .run(error, now(), id);
        if (changes === 0) return;
        count(db, "failed", 1);
        putEvents(db, [event]);
      });
      takenBack(id);
    },

    ...analysisStore(access, relooks, now),

    setRelooks: relooks.set,
    startRelooks: relooks.start,

    ...reportStore(access, now),

    ...outboxStore(access),
    ...alertStore(access),
    ...listStore(access, denials, now),
    ...denials.store,

    mail: async (id) =>
      store.read((db) => {
        const row = db.query<MailRecord, [string]>("SELECT * FROM mails WHERE id = ?").get(id);
        return row === null ? null : mailRow(db, row);
      }),

    mails: async (filter, limit, before) => {
      const found: MailRow[] = [];
      let last = before;
      for (;;) {
        const [rows, more] = store.read((db) => {
          const [where, values] = conditions(filter, last);
          const page = db
            .query<MailRecord, (string | number)[]>(
              `SELECT * FROM mails ${where} ORDER BY id DESC LIMIT ${SCAN_STEP}`,
            )
            .all(...values);
          const wanted = page.filter((row) => matches(row, filter)).slice(0, limit - found.length);
          last = page.at(-1)?.id ?? last;
          return [wanted.map((row) => mailRow(db, row)), page.length === SCAN_STEP] as const;
        });
        found.push(...rows);
        if (found.length >= limit || !more) return found;
        await Bun.sleep(0);
      }
    },

    counts: async () =>
      store.read((db) => {
        const open = (state: MailState) =>
          db.query<{ n: number }, []>(`SELECT count(*) AS n FROM mails WHERE state = '${state}'`).get()?.n ??
          0;
        const counted = (name: string) =>
          db.query<{ value: number }, [string]>("SELECT value FROM counters WHERE name = ?").get(name)
            ?.value ?? 0;
        const analyses = (submitted: number) =>
          db
            .query<{ n: number }, [number]>(
              "SELECT count(*) AS n FROM analyses WHERE open = 1 AND submitted = ?",
            )
            .get(submitted)?.n ?? 0;
        const last = lastSeq(db);
        return {
          states: {
            received: open("received"),
            analysing: open("analysing"),
            analysed: open("analysed"),
            done: counted("done"),
            failed: counted("failed"),
          },
          verdicts: {
            malicious: counted("verdict.malicious"),
            suspicious: counted("verdict.suspicious"),
            clean: counted("verdict.clean"),
            not_available: counted("verdict.not_available"),
          },
          analyses: { queued: analyses(0), submitted: analyses(1) },
          outbox: db
            .query<{ destination: string; seq: number }, []>(
              "SELECT destination, seq FROM cursors WHERE gone_at IS NULL ORDER BY destination",
            )
            .all()
            .map(({ destination, seq }) => ({
              destination,
              seq,
              backlog: last - seq,
              oldestAt:
                db
                  .query<{ time: number }, [number]>(
                    "SELECT time FROM events WHERE seq > ? ORDER BY seq LIMIT 1",
                  )
                  .get(seq)?.time ?? null,
            })),
          bytes: folderSize(settings.path),
        };
      }),

    subscribe: (topic, wake) => {
      const topicSubscribers = subscribers.get(topic) ?? new Set();
      subscribers.set(topic, topicSubscribers.add(wake));
      return () => topicSubscribers.delete(wake);
    },

    sweep: async (time) => {
      const { files, more } = await write([], (db) => sweepStep(db, time, settings, { denials, relooks }));
      for (const id of files) await unlink(largeFile(settings.path, id)).catch(ignoreMissing);
      if (more) return true;
      // Stepped to the end: each step gives back one page.
      const left = await write([], (db) => {
        db.query(`PRAGMA incremental_vacuum(${VACUUM_STEP})`).all();
        return db.query<{ freelist_count: number }, []>("PRAGMA freelist_count").get()?.freelist_count ?? 0;
      });
      if (left > 0) return true;
      store.truncateLog();
      return false;
    },

    close: async () => {
      for (const id of [...handedOut]) takenBack(id);
      await store.close();
      unlock();
    },
  };
}

/** Reports of one mail come within this time of each other, milliseconds. */
const SAME_MAIL_WITHIN = 24 * 60 * 60 * 1000;
/** The later report keeps those that no longer fit. */
const MAX_MERGED_RECIPIENTS = 10_000;

/**
 * Gives a mail the envelope it had before it was journaled or copied. Exchange sends several reports of a mail with
 * many recipients: the first of them that is taken apart gets the recipients of all, the others say whose they are.
 * Each keeps its own recipients, so that its event names them whether the first has had its event or not.
 */
function setOriginalEnvelope(
  db: Database,
  row: Pick<MailRecord, "seq" | "envelope" | "received_at">,
  original: OriginalEnvelope,
): void {
  const copied = JSON.parse(row.envelope) as Envelope;
  const envelope: Envelope = { ...copied, from: original.from ?? copied.from, to: original.to };
  const first =
    original.identity === null
      ? null
      : db
          .query<Pick<MailRecord, "seq" | "id" | "envelope" | "extraction">, [string, number, number]>(
            `SELECT seq, id, envelope, extraction FROM mails
             WHERE identity = ?1 AND same_as IS NULL AND abs(received_at - ?2) <= ?3 ORDER BY seq LIMIT 1`,
          )
          .get(original.identity, row.received_at, SAME_MAIL_WITHIN);
  db.query("UPDATE mails SET envelope = ?, identity = ?, same_as = ? WHERE seq = ?").run(
    JSON.stringify(envelope),
    original.identity,
    first?.id ?? null,
    row.seq,
  );
  if (first === null) return;
  const known = JSON.parse(first.envelope) as Envelope;
  const merged = new Map<string, string>();
  for (const address of [...known.to, ...envelope.to]) {
    const key = addressKey(address);
    if (!merged.has(key)) merged.set(key, address);
  }
  const to = [...merged.values()].slice(0, MAX_MERGED_RECIPIENTS);
  db.query("UPDATE mails SET envelope = ? WHERE seq = ?").run(JSON.stringify({ ...known, to }), first.seq);
  if (merged.size > to.length && first.extraction !== null) {
    const extraction = JSON.parse(first.extraction) as Extraction;
    const flags = [...new Set([...extraction.flags, "addresses_exceeded"])];
    db.query("UPDATE mails SET extraction = ? WHERE seq = ?").run(
      JSON.stringify({ ...extraction, flags }),
      first.seq,
    );
  }
}

/** The part of a filter that SQLite can answer from an index; `matches` does the rest. */
function conditions(filter: MailFilter, before: string | null): [string, (string | number)[]] {
  const where: string[] = [];
  const values: (string | number)[] = [];
  const until = filter.until === undefined ? null : firstId(filter.until);
  const below = [before, until].filter((id) => id !== null).sort()[0];
  if (below !== undefined) {
    where.push("id < ?");
    values.push(below);
  }
  if (filter.since !== undefined) {
    where.push("id >= ?");
    values.push(firstId(filter.since));
  }
  for (const [column, wanted] of [
    ["state", filter.states],
    ["verdict", filter.verdicts],
  ] as const) {
    if (wanted === undefined || wanted.length === 0) continue;
    where.push(`${column} IN (${wanted.map(() => "?").join(", ")})`);
    values.push(...wanted);
  }
  return [where.length === 0 ? "" : `WHERE ${where.join(" AND ")}`, values];
}

function matches(row: MailRecord, filter: MailFilter): boolean {
  if (filter.text === undefined || filter.text === "") return true;
  const wanted = filter.text.toLowerCase();
  const envelope = JSON.parse(row.envelope) as Envelope;
  const extraction = row.extraction === null ? null : (JSON.parse(row.extraction) as Extraction);
  return [
    extraction?.mail.subject ?? "",
    extraction?.mail.message_id ?? "",
    envelope.from,
    ...envelope.to,
    ...(extraction?.mail.from ?? []),
  ].some((value) => value.toLowerCase().includes(wanted));
}

function sweepStep(
  db: Database,
  time: number,
  settings: SpoolSettings,
  { denials, relooks }: { readonly denials: Denials; readonly relooks: Relooks },
): { readonly files: readonly string[]; readonly more: boolean } {
  const old = db
    .query<Pick<MailRecord, "seq" | "id" | "raw">, [number, number]>(
      `SELECT seq, id, raw FROM mails WHERE raw IS NOT NULL AND finished_at IS NOT NULL AND finished_at < ?
       ORDER BY finished_at LIMIT ?`,
    )
    .all(time - settings.keepRaw, SWEEP_STEP);
  for (const { seq } of old) {
    db.query("DELETE FROM raw WHERE seq = ?").run(seq);
    db.query("UPDATE mails SET raw = NULL WHERE seq = ?").run(seq);
  }
  const forgotten = db
    .query<{ seq: number }, [number, number]>(
      `SELECT seq FROM mails
       WHERE finished_at IS NOT NULL AND finished_at < ? AND raw IS NULL AND recheck IS NULL
       ORDER BY finished_at LIMIT ?`,
    )
    .all(time - settings.keepMetadata, SWEEP_STEP);
  for (const { seq } of forgotten) {
    db.query("DELETE FROM artifacts WHERE mail = ?").run(seq);
    db.query("DELETE FROM mails WHERE seq = ?").run(seq);
  }
  const delivered =
    db.query<{ seq: number | null }, []>("SELECT min(seq) AS seq FROM cursors").get()?.seq ?? lastSeq(db);
  const events = db
    .query(
      `DELETE FROM events WHERE seq IN
         (SELECT seq FROM events WHERE seq <= ? AND time < ? ORDER BY seq LIMIT ?)`,
    )
    .run(delivered, time - settings.keepEvents, SWEEP_STEP).changes;
  const analyses = db
    .query(
      `DELETE FROM analyses WHERE key IN
         (SELECT key FROM analyses WHERE open = 0 AND coalesce(valid_until, 0) < ? LIMIT ?)`,
    )
    .run(time, SWEEP_STEP).changes;
  // A second look whose mail is gone can be taken by nobody.
  const again = db
    .query(
      `DELETE FROM analyses WHERE key IN
         (SELECT key FROM analyses WHERE key >= ? AND key < ? AND open = 1
            AND mail NOT IN (SELECT seq FROM mails) LIMIT ?)`,
    )
    .run(AGAIN, AGAIN.replace(":", ";"), SWEEP_STEP).changes;
  const looks = relooks.sweep(db, time, SWEEP_STEP);
  const entries = forgetExpired(db, time, SWEEP_STEP);
  const traits = denials.sweep(db, time, SWEEP_STEP);
  return {
    files: old.filter(({ raw }) => raw === "file").map(({ id }) => id),
    more: [old.length, forgotten.length, events, analyses, looks, entries, traits, again].some(
      (deleted) => deleted >= SWEEP_STEP,
    ),
  };
}

/** Files of mails that never got their 250, or whose rows are gone. */
function removeLeftovers(read: <T>(work: (db: Database) => T) => T, incoming: string, large: string): void {
  for (const name of readdirSync(incoming)) unlinkSync(join(incoming, name));
  for (const name of readdirSync(large)) {
    const id = name.replace(/\.eml$/, "");
    const kept = read((db) =>
      db.query<{ one: number }, [string]>("SELECT 1 AS one FROM mails WHERE id = ? AND raw = 'file'").get(id),
    );
    if (kept === null) unlinkSync(join(large, name));
  }
}

function folderSize(path: string): number {
  let bytes = 0;
  for (const entry of readdirSync(path, { recursive: true, withFileTypes: true })) {
    if (!entry.isFile()) continue;
    try {
      bytes += statSync(join(entry.parentPath, entry.name)).size;
    } catch (thrown) {
      ignoreMissing(thrown);
    }
  }
  return bytes;
}

/**
 * Holds the spool for this process. SQLite's own lock does it: the kernel releases it however the process
 * ends, so nothing stale is left. Throws SPOOL_IN_USE.
 */
function lock(path: string): () => void {
  closeSync(openSync(path, "a", 0o600));
  const holder = new Database(path, { create: true, readwrite: true });
  try {
    holder.run("PRAGMA locking_mode = EXCLUSIVE");
    holder.run("BEGIN EXCLUSIVE");
  } catch (thrown) {
    holder.close();
    if (thrown instanceof SQLiteError && (thrown.code ?? "").startsWith("SQLITE_BUSY")) {
      throw new SensorError("SPOOL_IN_USE", "another sensor runs on this spool: stop it first", {
        cause: thrown,
      });
    }
    throw spoolFault(thrown, "lock the spool");
  }
  return () => holder.close();
}
