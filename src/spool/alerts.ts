/** What alerts remember in SQLite: what waits to be sent, who was told what, and how many there were. */
import type { Spool } from "./spool.ts";
import type { StoreAccess } from "./store-access.ts";

export type AlertStore = Pick<Spool, "alertNotes" | "putAlertNotes">;

export function alertStore({ read, write }: StoreAccess): AlertStore {
  return {
    alertNotes: async (destination) =>
      read((db) =>
        db
          .query<{ id: string; body: string }, [string]>(
            "SELECT id, body FROM alert_notes WHERE destination = ?",
          )
          .all(destination),
      ),

    putAlertNotes: (destination, notes) =>
      write([], (db) => {
        const put = db.query("INSERT OR REPLACE INTO alert_notes (destination, id, body) VALUES (?, ?, ?)");
        const forget = db.query("DELETE FROM alert_notes WHERE destination = ? AND id = ?");
        for (const { id, body } of notes) {
          if (body === null) forget.run(destination, id);
          else put.run(destination, id, body);
        }
      }),
  };
}
