/**
 * What the event loop and the thread of the spool say to each other. Calls of one turn of the loop go in one
 * message, in their order; so do the answers that are ready together, with what else the thread has to say.
 */
import { asSensorError, type ErrorCode, SensorError } from "../errors.ts";
import type { LogFields, LogLevel } from "../log.ts";
import type { Spool, SpoolTopic } from "./spool.ts";
import type { SpoolSettings } from "./sqlite.ts";

/** Methods that the thread does; the others belong to the side of the event loop. */
export type ThreadMethod = Exclude<keyof Spool, "ready" | "body" | "noteParsing" | "subscribe">;

/** An answer bears the id of its call; a call with NO_ANSWER gets none. */
export type Call = readonly [id: number, method: ThreadMethod, args: readonly unknown[]];
export const NO_ANSWER = 0;

export type ToThread = { readonly open: SpoolSettings } | readonly Call[];

export type SentError = { readonly code: ErrorCode; readonly message: string; readonly cause?: string };
export type Answer = readonly [id: number, value: unknown] | readonly [id: number, value: null, SentError];
export type LogLine = readonly [LogLevel, msg: string, LogFields];

export type FromThread = {
  /** Once, first: null where the spool is open. */
  opened?: SentError | null;
  readonly logs: readonly LogLine[];
  /** What `ready()` throws from now on, null for nothing; left out where it is as before. */
  fault?: SentError | null;
  readonly answers: readonly Answer[];
  /** Topics that commits made work for. */
  readonly woken: readonly SpoolTopic[];
};

export function sentError(thrown: unknown): SentError {
  const { code, message, cause } = asSensorError(thrown);
  return { code, message, ...(cause instanceof Error ? { cause: cause.message } : {}) };
}

export function receivedError({ code, message, cause }: SentError): SensorError {
  return new SensorError(code, message, cause === undefined ? {} : { cause: new Error(cause) });
}
