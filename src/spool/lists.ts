/**
 * The lists of a running sensor in SQLite: what was added over the control service.
 *
 * What has expired is gone with the next change or sweep; until then those who ask look at `expiresAt`.
 */
import type { Database } from "bun:sqlite";
import type { ListEntry, ListKey, ListKind, ListName } from "../triage/lists.ts";
import type { Denials } from "./denials.ts";
import type { Spool, StoredListEntry } from "./spool.ts";
import type { StoreAccess } from "./store-access.ts";

export type ListStore = Pick<Spool, "putListEntries" | "removeListEntries" | "listEntries">;

/** Entries of all lists of a running sensor together. */
export const MAX_RUN_TIME_ENTRIES = 100_000;

type Row = {
  readonly id: number;
  readonly list: ListName;
  readonly kind: ListKind;
  readonly value: string;
  readonly comment: string | null;
  readonly added_at: number;
  readonly expires_at: number | null;
};

export function listStore(
  { read, write }: StoreAccess,
  denials: Pick<Denials, "queue" | "cancel">,
  now: () => number,
): ListStore {
  return {
    putListEntries: (entries) =>
      write([], (db) => {
        forgetExpired(db, now(), entries.length);
        forgetExpiredOf(db, now(), entries);
        const known = db.query<Row, [string, string, string]>(
          "SELECT * FROM list_entries WHERE list = ? AND kind = ? AND value = ?",
        );
        const before = entries.map(({ list, kind, value }) => known.get(list, kind, value));
        const fresh = new Set(
          entries
            .filter((_, n) => before[n] === null)
            .map(({ list, kind, value }) => `${list} ${kind} ${value}`),
        );
        if (countOf(db) + fresh.size > MAX_RUN_TIME_ENTRIES) return "full";
        const changed = entries.filter(({ comment, expiresAt }, n) => {
          const row = before[n];
          return row !== null && (row?.comment !== comment || row.expires_at !== expiresAt);
        });
        for (const entry of entries) put(db, entry, now());
        denials.queue(
          db,
          entries.filter((_, n) => before[n] === null),
        );
        return { added: fresh.size, changed: changed.length };
      }),

    removeListEntries: (keys) =>
      write([], (db) => {
        forgetExpired(db, now(), keys.length);
        forgetExpiredOf(db, now(), keys);
        const remove = db.query("DELETE FROM list_entries WHERE list = ? AND kind = ? AND value = ?");
        for (const key of keys) if (key.list === "deny") denials.cancel(db, key);
        return keys.reduce((sum, { list, kind, value }) => sum + remove.run(list, kind, value).changes, 0);
      }),

    listEntries: async (filter, limit, before) =>
      read((db) => {
        const { list = null, kind = null, text = null } = filter;
        return db
          .query<Row, [number, number, string | null, string | null, string | null, number]>(
            `SELECT * FROM list_entries
             WHERE id < ?1 AND coalesce(expires_at > ?2, 1) AND coalesce(list = ?3, 1) AND coalesce(kind = ?4, 1)
               AND (?5 IS NULL OR instr(lower(value), lower(?5)) > 0 OR instr(lower(comment), lower(?5)) > 0)
             ORDER BY id DESC LIMIT ?6`,
          )
          .all(before ?? Number.MAX_SAFE_INTEGER, now(), list, kind, text, limit)
          .map(stored);
      }),
  };
}

function stored({ id, list, kind, value, comment, added_at, expires_at }: Row): StoredListEntry {
  return { id, list, kind, value, comment, addedAt: added_at, expiresAt: expires_at };
}

/** Of a value that is there the time it was added stays. */
function put(
  db: Database,
  { list, kind, value, comment, addedAt, expiresAt }: ListEntry,
  time: number,
): void {
  db.query(
    `INSERT INTO list_entries (list, kind, value, comment, added_at, expires_at) VALUES (?, ?, ?, ?, ?, ?)
     ON CONFLICT (list, kind, value) DO UPDATE SET comment = excluded.comment, expires_at = excluded.expires_at`,
  ).run(list, kind, value, comment, addedAt ?? time, expiresAt);
}

function countOf(db: Database): number {
  return db.query<{ n: number }, []>("SELECT count(*) AS n FROM list_entries").get()?.n ?? 0;
}

/** What has expired is not there, however much waits to be forgotten: given again it is new. */
function forgetExpiredOf(db: Database, time: number, keys: readonly ListKey[]): void {
  const forget = db.query(
    "DELETE FROM list_entries WHERE list = ? AND kind = ? AND value = ? AND expires_at <= ?",
  );
  for (const { list, kind, value } of keys) forget.run(list, kind, value, time);
}

/** Forgets at most so many entries that have expired; gives how many. */
export function forgetExpired(db: Database, time: number, limit: number): number {
  return db
    .query(
      `DELETE FROM list_entries WHERE id IN
         (SELECT id FROM list_entries WHERE expires_at <= ? ORDER BY expires_at LIMIT ?)`,
    )
    .run(time, limit).changes;
}
