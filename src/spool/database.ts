/**
 * The database file: opens it, brings it to the current schema, groups writes into commits, and opens it
 * again after it was broken.
 *
 * Writes that are asked for in the same turn of the event loop share one transaction and one flush to disk: those
 * that came in while the last one was flushed. A write that throws takes back only itself; a fault of the storage
 * takes back the whole commit, and every write in it is rejected. While the file is locked by another process, commits wait up to BUSY_WAIT.
 */
import { Database } from "bun:sqlite";
import { closeSync, openSync, readSync, statSync } from "node:fs";
import { SensorError } from "../errors.ts";
import type { Log } from "../log.ts";
import { faultFields } from "../log.ts";
import { isStorageFault, spoolFault } from "./faults.ts";
import { MIGRATIONS } from "./migrations.ts";

const BUSY_WAIT = 5_000;
const BUSY_STEP = 20;
/** A broken database is tried again after this time, */
const FIRST_REOPEN = 1_000;
/** twice as long each time it is still broken, up to this. */
const LAST_REOPEN = 60_000;
/** The file is looked at for having been replaced or overwritten at most this often. */
export const LOOK_EVERY = 250;
const MAX_GROUP = 1_000;
/** Statements kept prepared for a database: more than there are in src/spool/. */
Database.MAX_QUERY_CACHE_SIZE = 128;
const MAGIC = "SQLite format 3\0";

export type SpoolDatabase = {
  /** Runs `work` inside the next commit, perhaps more than once; resolves with its result once that is on disk. */
  write<T>(work: (db: Database) => T): Promise<T>;
  /** Runs `work` at once; it must only read. */
  read<T>(work: (db: Database) => T): T;
  /** Throws the fault that keeps the database from being used, where there is one. */
  check(): void;
  /** Brings the write-ahead log into the database and gives its space back. */
  truncateLog(): void;
  /** Commits what waits, then closes. */
  close(): Promise<void>;
};

type Pending = {
  readonly work: (db: Database) => unknown;
  readonly resolve: (value: never) => void;
  readonly reject: (error: SensorError) => void;
};

type Outcome = { readonly value: unknown } | { readonly error: SensorError };

/** Opens the database at `path`. Throws SPOOL_NEWER where a newer version wrote it; other faults are retried. */
export function openDatabase(path: string, log: Log): SpoolDatabase {
  let db: Database | null = null;
  let inode = 0;
  // Open as long as the database is: closing any descriptor of the file would drop SQLite's locks on it.
  let watch = -1;
  let fault: SensorError | null = null;
  let triedAt = 0;
  let reopenAfter = FIRST_REOPEN;
  let lookedAt = 0;
  let pending: Pending[] = [];
  let scheduled = false;
  let busySince: number | null = null;
  let closing = false;
  let closed = false;
  let flushed: (() => void) | null = null;

  const drop = (error: SensorError) => {
    if (fault === null) log.error("the spool database cannot be used", faultFields(error));
    fault = error;
    triedAt = performance.now();
    try {
      db?.close();
    } catch (thrown) {
      log.debug("closing the broken database failed", faultFields(spoolFault(thrown, "close")));
    }
    db = null;
    if (watch >= 0) closeSync(watch);
    watch = -1;
  };

  const open = (): Database => {
    triedAt = performance.now();
    // SQLite gives the files beside it the mode of the database: nobody else is to read mails in the log.
    closeSync(openSync(path, "a", 0o600));
    const opened = new Database(path, { create: true, readwrite: true });
    try {
      opened.run("PRAGMA busy_timeout = 0");
      opened.run("PRAGMA auto_vacuum = INCREMENTAL");
      opened.run("PRAGMA journal_mode = WAL");
      opened.run("PRAGMA synchronous = FULL");
      opened.run("PRAGMA wal_autocheckpoint = 4000");
      opened.run("PRAGMA journal_size_limit = 67108864");
      opened.run("PRAGMA cache_size = -16384");
      migrate(opened);
      // Pages that are whole would be read and written while others are lost: a mail could get its 250 and never be
      // read again.
      if (fault !== null) checkPages(opened, path);
    } catch (thrown) {
      opened.close();
      throw thrown;
    }
    inode = statSync(path).ino;
    watch = openSync(path, "r");
    lookedAt = performance.now();
    if (fault !== null) log.info("the spool database is in use again");
    fault = null;
    reopenAfter = FIRST_REOPEN;
    return opened;
  };

  /** The database, opened again where it was broken and the time has come. */
  const use = (): Database => {
    if (closed) throw new SensorError("SPOOL_BROKEN", "the spool is closed");
    const now = performance.now();
    if (db !== null) {
      if (now - lookedAt < LOOK_EVERY) return db;
      lookedAt = now;
      const wrong = whatIsWrong(path, inode, watch);
      if (wrong === null) return db;
      drop(new SensorError("SPOOL_BROKEN", `${path} ${wrong}`));
    }
    if (fault !== null && now - triedAt < reopenAfter) throw fault;
    try {
      db = open();
      return db;
    } catch (thrown) {
      const error = spoolFault(thrown, `open ${path}`);
      if (error.code !== "SPOOL_BUSY") {
        if (fault !== null) reopenAfter = Math.min(LAST_REOPEN, 2 * reopenAfter);
        drop(error);
      }
      throw error;
    }
  };

  const later = (delay: number) => {
    if (scheduled) return;
    scheduled = true;
    if (delay > 0) {
      setTimeout(flush, delay);
      return;
    }
    setImmediate(flush);
  };

  const flush = () => {
    scheduled = false;
    const group = pending.splice(0, MAX_GROUP);
    if (group.length > 0) commit(group);
    if (pending.length > 0) later(busySince === null ? 0 : BUSY_STEP);
    else flushed?.();
  };

  const commit = (group: Pending[]) => {
    let current: Database;
    try {
      current = use();
      current.run("BEGIN IMMEDIATE");
    } catch (thrown) {
      const error = spoolFault(thrown, "begin");
      const now = performance.now();
      if (error.code === "SPOOL_BUSY" && !closing) {
        busySince ??= now;
        if (now - busySince < BUSY_WAIT) {
          pending = [...group, ...pending];
          return;
        }
        log.warn("the spool database is locked", faultFields(error));
        busySince = now - BUSY_WAIT;
      } else if (error.code === "SPOOL_BROKEN" && db !== null) drop(error);
      for (const entry of group) entry.reject(error);
      return;
    }
    busySince = null;
    let outcomes: readonly Outcome[];
    try {
      outcomes = together(current, group) ?? oneByOne(current, group);
      current.run("COMMIT");
    } catch (thrown) {
      const error = spoolFault(thrown, "commit");
      try {
        if (current.inTransaction) current.run("ROLLBACK");
        if (error.code === "SPOOL_BROKEN") drop(error);
      } catch (second) {
        drop(spoolFault(second, "rollback"));
      }
      for (const entry of group) entry.reject(error);
      return;
    }
    for (const [at, outcome] of outcomes.entries()) {
      if ("error" in outcome) group[at]?.reject(outcome.error);
      else group[at]?.resolve(outcome.value as never);
    }
  };

  try {
    db = open();
  } catch (thrown) {
    throw spoolFault(thrown, `open ${path}`);
  }

  return {
    write: (work) =>
      new Promise((resolve, reject) => {
        if (closing) {
          reject(new SensorError("SPOOL_BROKEN", "the spool is closed"));
          return;
        }
        pending.push({ work, resolve: resolve as (value: never) => void, reject });
        later(0);
      }),
    read: (work) => {
      try {
        return work(use());
      } catch (thrown) {
        const error = spoolFault(thrown, `read ${path}`);
        if (error.code === "SPOOL_BROKEN" && db !== null && isStorageFault(thrown)) drop(error);
        throw error;
      }
    },
    check: () => {
      use();
    },
    truncateLog: () => {
      try {
        use().query("PRAGMA wal_checkpoint(TRUNCATE)").all();
      } catch (thrown) {
        throw spoolFault(thrown, "checkpoint");
      }
    },
    close: async () => {
      closing = true;
      if (pending.length > 0) {
        await new Promise<void>((resolve) => {
          flushed = resolve;
        });
      }
      closed = true;
      db?.run("PRAGMA wal_checkpoint(TRUNCATE)");
      db?.close();
      db = null;
      if (watch >= 0) closeSync(watch);
      watch = -1;
    },
  };
}

/** Runs the writes of a commit; null where one threw and so none is done: the transaction begins anew then. */
function together(db: Database, group: readonly Pending[]): readonly Outcome[] | null {
  const outcomes: Outcome[] = [];
  try {
    for (const { work } of group) outcomes.push({ value: work(db) });
    return outcomes;
  } catch (thrown) {
    if (isStorageFault(thrown) || !db.inTransaction) throw thrown;
    db.run("ROLLBACK");
    db.run("BEGIN IMMEDIATE");
    return null;
  }
}

/** The same where one of them throws: it alone is taken back. Slower by a savepoint for each. */
function oneByOne(db: Database, group: readonly Pending[]): readonly Outcome[] {
  return group.map(({ work }) => {
    db.run("SAVEPOINT one");
    try {
      const value = work(db);
      db.run("RELEASE one");
      return { value };
    } catch (thrown) {
      if (isStorageFault(thrown) || !db.inTransaction) throw thrown;
      db.run("ROLLBACK TO one");
      db.run("RELEASE one");
      return { error: spoolFault(thrown, "write") };
    }
  });
}

/** What happened to the file since it was opened, null where nothing did. */
function whatIsWrong(path: string, inode: number, watch: number): string | null {
  try {
    if (statSync(path).ino !== inode) return "was replaced by another file";
    const head = Buffer.alloc(MAGIC.length);
    readSync(watch, head, 0, head.length, 0);
    return head.toString("latin1") === MAGIC ? null : "is no longer a database";
  } catch (thrown) {
    return `is gone or unreadable (${thrown instanceof Error ? thrown.message : String(thrown)})`;
  }
}

/** Throws SPOOL_BROKEN where SQLite finds a page that is not what it should be. */
function checkPages(db: Database, path: string): void {
  const row = db.query<Record<string, string>, []>("PRAGMA quick_check(1)").get();
  const said = Object.values(row ?? {})[0] ?? "nothing";
  if (said !== "ok") throw new SensorError("SPOOL_BROKEN", `${path} is damaged: ${said}`);
}

function migrate(db: Database): void {
  const row = db.query<{ user_version: number }, []>("PRAGMA user_version").get();
  const version = row?.user_version ?? 0;
  if (version > MIGRATIONS.length) {
    throw new SensorError(
      "SPOOL_NEWER",
      `the spool has schema ${version}, this version knows ${MIGRATIONS.length}: install the newer version again`,
    );
  }
  for (const [index, step] of MIGRATIONS.entries()) {
    if (index < version) continue;
    db.transaction(() => {
      db.run(step);
      db.run(`PRAGMA user_version = ${index + 1}`);
    }).immediate();
  }
}
