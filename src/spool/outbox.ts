/** The outbox in SQLite: events in the order of their commits, and how far each destination has come. */
import type { Database } from "bun:sqlite";
import { SensorError } from "../errors.ts";
import type { SensorEvent } from "../report/event.ts";
import type { Spool } from "./spool.ts";
import type { StoreAccess } from "./store-access.ts";

export type OutboxStore = Pick<
  Spool,
  "putEvents" | "eventsAfter" | "setDestinations" | "cursor" | "advanceCursor" | "lastSeq"
>;

export function outboxStore({ read, write }: StoreAccess): OutboxStore {
  return {
    putEvents: (events) => write(["events"], (db) => putEvents(db, events)),

    eventsAfter: async (seq, limit) =>
      read((db) =>
        db
          .query<{ seq: number; body: string }, [number, number]>(
            "SELECT seq, body FROM events WHERE seq > ? ORDER BY seq LIMIT ?",
          )
          .all(seq, limit)
          .map((row) => ({ seq: row.seq, event: JSON.parse(row.body) as SensorEvent })),
      ),

    setDestinations: (names) =>
      write([], (db) => {
        const last = lastSeq(db);
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
  };
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
