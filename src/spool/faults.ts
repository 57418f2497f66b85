/**
 * What SQLite and the file system throw, as the faults of the spool.
 */
import { SQLiteError } from "bun:sqlite";
import { SensorError } from "../errors.ts";

/** True where the database itself is in trouble, so that every write of the same commit is. */
export function isStorageFault(thrown: unknown): boolean {
  if (!(thrown instanceof SQLiteError)) return false;
  const code = thrown.code ?? "";
  return (
    !code.startsWith("SQLITE_CONSTRAINT") && !code.startsWith("SQLITE_MISMATCH") && code !== "SQLITE_ERROR"
  );
}

/** The fault behind a thrown value: SPOOL_FULL, SPOOL_BUSY, SPOOL_BROKEN, or INTERNAL for a bug. */
export function spoolFault(thrown: unknown, doing: string): SensorError {
  if (thrown instanceof SensorError) return thrown;
  const message = thrown instanceof Error ? thrown.message : String(thrown);
  const code = thrown instanceof Error && "code" in thrown ? String(thrown.code) : "";
  const because = `${doing}: ${message}`;
  if (code === "SQLITE_FULL" || code === "ENOSPC" || code === "EDQUOT") {
    return new SensorError("SPOOL_FULL", because, { cause: thrown });
  }
  if (code.startsWith("SQLITE_BUSY") || code.startsWith("SQLITE_LOCKED")) {
    return new SensorError("SPOOL_BUSY", because, { cause: thrown });
  }
  if (isStorageFault(thrown) || /^E[A-Z]+$/.test(code)) {
    return new SensorError("SPOOL_BROKEN", because, { cause: thrown });
  }
  return new SensorError("INTERNAL", because, { cause: thrown });
}
