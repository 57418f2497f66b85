/** How the parts of the SQLite spool reach the database. */
import type { Database } from "bun:sqlite";
import type { SpoolTopic } from "./spool.ts";

export type StoreAccess = {
  readonly read: <T>(work: (db: Database) => T) => T;
  /** Resolves when the commit is on disk, and then wakes those who wait for the topics, which may follow from `work`. */
  readonly write: <T>(
    topics: readonly SpoolTopic[] | ((result: T) => readonly SpoolTopic[]),
    work: (db: Database) => T,
  ) => Promise<T>;
};
