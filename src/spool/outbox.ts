/** The outbox in SQLite: events in the order of their commits, and how far each destination has come. */
import type { Database } from "bun:sqlite";
import { SensorError } from "../errors.ts";
import type { SensorEvent } from "../report/event.ts";
import type { OutboxBody, OutboxEvent, Replay, Spool } from "./spool.ts";
import type { StoreAccess } from "./store-access.ts";

export type OutboxStore = Pick<
  Spool,
  | "putEvents"
  | "eventsAfter"
  | "eventBodies"
  | "setDestinations"
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

    setDestinations: (names) =>
      write([], (db) => {
        const last = lastSeq(db);
        for (const { destination } of db
          .query<{ destination: string }, []>("SELECT destination FROM replays")
          .all()) {
          if (!names.includes(destination))
            db.query("DELETE FROM replays WHERE destination = ?").run(destination);
        }
        for (const { destination } of db.query<{ destination: string }, []>("SELECT * FROM cursors").all()) {
          if (!names.includes(destination))
            db.query("DELETE FROM cursors WHERE destination = ?").run(destination);
        }
        db.query("DELETE FROM alert_notes WHERE destination NOT IN (SELECT destination FROM cursors)").run();
        for (const name of names) {
          db.query("INSERT OR IGNORE INTO cursors (destination, seq) VALUES (?, ?)").run(name, last);
        }
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

function bodiesAfter(db: Database, seq: number, limit: number): readonly OutboxBody[] {
  return db
    .query<OutboxBody, [number, number]>("SELECT seq, body FROM events WHERE seq > ? ORDER BY seq LIMIT ?")
    .all(seq, limit);
}

/** An event out of its row. */
export function parsedEvent({ seq, body }: OutboxBody): OutboxEvent {
  return { seq, event: JSON.parse(body) as SensorEvent };
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
