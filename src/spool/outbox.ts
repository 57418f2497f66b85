/** The outbox in SQLite: events in the order of their commits, and how far each destination has come. */
import type { Database } from "bun:sqlite";
import { SensorError } from "../errors.ts";
import type { SensorEvent } from "../report/event.ts";
import type { GoneDestination, OutboxBody, OutboxEvent, Replay, Spool } from "./spool.ts";
import type { StoreAccess } from "./store-access.ts";

/** Events read at once: one alone may be longer. */
const MAX_READ_BYTES = 8 * 1024 * 1024;

export type OutboxStore = Pick<
  Spool,
  | "putEvents"
  | "eventsAfter"
  | "eventBodies"
  | "addDestinations"
  | "keepDestinations"
  | "forgetDestination"
  | "cursor"
  | "advanceCursor"
  | "lastSeq"
  | "dropEvents"
  | "startReplay"
  | "replay"
  | "advanceReplay"
>;

export function outboxStore({ read, write }: StoreAccess): OutboxStore {
  return {
    putEvents: (events) => write(["events"], (db) => putEvents(db, events)),

    eventsAfter: async (seq, limit) => read((db) => bodiesAfter(db, seq, limit)).map(parsedEvent),

    eventBodies: async (seq, limit) => read((db) => bodiesAfter(db, seq, limit)),

    addDestinations: (names) =>
      write([], (db) => {
        const last = lastSeq(db);
        const insert = db.query("INSERT OR IGNORE INTO cursors (destination, seq) VALUES (?, ?)");
        return names.filter((name) => insert.run(name, last).changes > 0);
      }),

    keepDestinations: (names, time) =>
      write([], (db) => {
        const known = db.query<Cursor, []>("SELECT * FROM cursors").all();
        const back = db.query("UPDATE cursors SET gone_at = NULL, gone_seq = NULL WHERE destination = ?");
        for (const { destination, gone_at } of known)
          if (gone_at !== null && names.includes(destination)) back.run(destination);
        const gone = known.filter(({ destination }) => !names.includes(destination));
        const leave = db.query("UPDATE cursors SET gone_at = ?, gone_seq = ? WHERE destination = ?");
        const last = lastSeq(db);
        return gone.map(({ destination, seq, gone_at, gone_seq }) => {
          if (gone_at === null) leave.run(time, last, destination);
          return { destination, goneAt: gone_at ?? time, ...between(db, seq, gone_seq ?? last) };
        });
      }),

    forgetDestination: (destination, event) =>
      write(["events"], (db) => {
        for (const table of ["cursors", "replays", "alert_notes"])
          db.query(`DELETE FROM ${table} WHERE destination = ?`).run(destination);
        if (event !== null) putEvents(db, [event]);
      }),

    cursor: async (destination) =>
      read((db) => {
        const row = db
          .query<{ seq: number }, [string]>("SELECT seq FROM cursors WHERE destination = ?")
          .get(destination);
        if (row === null) throw new SensorError("INTERNAL", `the outbox has no destination ${destination}`);
        return row.seq;
      }),

    advanceCursor: (destination, seq) =>
      write([], (db) => {
        db.query("UPDATE cursors SET seq = ?2 WHERE destination = ?1 AND seq < ?2").run(destination, seq);
      }),

    lastSeq: async () => read(lastSeq),

    dropEvents: (destination, seq, event) =>
      write(["events"], (db) => {
        db.query("UPDATE cursors SET seq = ?2 WHERE destination = ?1 AND seq < ?2").run(destination, seq);
        putEvents(db, [event]);
      }),

    startReplay: (destination, since, until) =>
      write(["events"], (db) => {
        if (replayOf(db, destination) !== null) return null;
        const first = firstAt(db, since);
        const last = firstAt(db, until) - 1;
        if (last < first) return 0;
        db.query("INSERT INTO replays (destination, seq, last) VALUES (?, ?, ?)").run(
          destination,
          first - 1,
          last,
        );
        return last - first + 1;
      }),

    replay: async (destination) => read((db) => replayOf(db, destination)),

    advanceReplay: (destination, seq) =>
      write([], (db) => {
        db.query("UPDATE replays SET seq = ?2 WHERE destination = ?1 AND seq < ?2").run(destination, seq);
        db.query("DELETE FROM replays WHERE destination = ? AND seq >= last").run(destination);
      }),
  };
}

type Cursor = {
  readonly destination: string;
  readonly seq: number;
  readonly gone_at: number | null;
  readonly gone_seq: number | null;
};

/** The events behind `seq`, up to and with `last`: numbered without gaps, since nothing that waits is deleted. */
function between(db: Database, seq: number, last: number): Pick<GoneDestination, "waiting" | "span"> {
  const at = (order: "ASC" | "DESC") =>
    db
      .query<OutboxBody, [number, number]>(
        `SELECT seq, body FROM events WHERE seq > ? AND seq <= ? ORDER BY seq ${order} LIMIT 1`,
      )
      .get(seq, last);
  const [oldest, newest] = [at("ASC"), at("DESC")];
  if (oldest === null || newest === null) return { waiting: 0, span: null };
  return {
    waiting: newest.seq - oldest.seq + 1,
    span: { first: parsedEvent(oldest).event, last: parsedEvent(newest).event },
  };
}

function bodiesAfter(db: Database, seq: number, limit: number): readonly OutboxBody[] {
  const sizes = db
    .query<{ seq: number; size: number }, [number, number]>(
      "SELECT seq, octet_length(body) AS size FROM events WHERE seq > ? ORDER BY seq LIMIT ?",
    )
    .all(seq, limit);
  let bytes = 0;
  const beyond = sizes.findIndex(({ size }, index) => {
    bytes += size;
    return index > 0 && bytes > MAX_READ_BYTES;
  });
  return db
    .query<OutboxBody, [number, number]>("SELECT seq, body FROM events WHERE seq > ? ORDER BY seq LIMIT ?")
    .all(seq, beyond === -1 ? sizes.length : beyond);
}

/** An event out of its row. */
export function parsedEvent({ seq, body }: OutboxBody): OutboxEvent {
  return { seq, size: body.length, event: JSON.parse(body) as SensorEvent };
}

export function putEvents(db: Database, events: readonly SensorEvent[]): void {
  const insert = db.query("INSERT INTO events (time, body) VALUES (?, ?)");
  for (const event of events) insert.run(Date.parse(event.time), JSON.stringify(event));
}

export function lastSeq(db: Database): number {
  // Not max(seq): retention may have deleted every event.
  const row = db.query<{ seq: number }, []>("SELECT seq FROM sqlite_sequence WHERE name = 'events'").get();
  return row?.seq ?? 0;
}

function replayOf(db: Database, destination: string): Replay | null {
  return db.query<Replay, [string]>("SELECT seq, last FROM replays WHERE destination = ?").get(destination);
}

/**
 * The seq of the first event of `time` or later, that after the newest where there is none. Events are committed in
 * the order of their times, give or take a moment, so that a few of them are looked at and not all.
 */
function firstAt(db: Database, time: number): number {
  const next = db.query<{ seq: number; time: number }, [number]>(
    "SELECT seq, time FROM events WHERE seq >= ? ORDER BY seq LIMIT 1",
  );
  // Everything before `low` is earlier; `high` is late enough.
  let low = next.get(0)?.seq ?? lastSeq(db) + 1;
  let high = lastSeq(db) + 1;
  while (low < high) {
    const middle = Math.floor((low + high) / 2);
    const found = next.get(middle);
    if (found === null || found.time >= time) high = middle;
    else low = found.seq + 1;
  }
  return low;
}
