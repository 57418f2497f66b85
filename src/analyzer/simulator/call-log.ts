/**
 * The log of calls: one JSON line for each call that was answered, for tests to read.
 *
 * No key and no form is in it; a query stands there for GET alone, since submissions may carry passwords in it.
 */
import { closeSync, openSync, writeSync } from "node:fs";
import { SensorError } from "../../errors.ts";

export type LoggedCall = {
  /** ISO 8601, UTC, of the arrival. */
  readonly time: string;
  readonly method: string;
  readonly path: string;
  readonly query?: string | undefined;
  readonly endpoint: string;
  /** Null where the connection was reset. */
  readonly status: number | null;
  /** The fault that the simulator was told to make; null for none. */
  readonly fault: string | null;
  readonly milliseconds: number;
  /** Of a submission: the SHA-256 of the file or the URL, and the submissions that were stored. */
  readonly content?: string | undefined;
  readonly submissions?: readonly number[] | undefined;
};

export type CallLog = { write(call: LoggedCall): void; close(): void };

/** Appends to a file. Throws SensorError USAGE where it cannot be opened. */
export function openCallLog(path: string): CallLog {
  let handle: number;
  try {
    handle = openSync(path, "a", 0o600);
  } catch (cause) {
    throw new SensorError("USAGE", `the call log ${path} cannot be written`, { cause });
  }
  return {
    write: (call) => void writeSync(handle, `${JSON.stringify(call)}\n`),
    close: () => closeSync(handle),
  };
}
