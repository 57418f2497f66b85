/**
 * The log: one JSON object a line on stdout, for journald, jq and the SIEM.
 *
 * A line has `time`, `level`, `stage`, `msg`, and the fields given. What belongs to a mail carries `mail_id`.
 * Never log a secret or text of a mail (subject, body, file name): ids, sizes, counts, codes and hosts are enough.
 */
import type { SensorError } from "./errors.ts";

export type LogLevel = "debug" | "info" | "warn" | "error";
export type LogFields = Readonly<Record<string, string | number | boolean | null | undefined>>;

export type Log = {
  debug(msg: string, fields?: LogFields): void;
  info(msg: string, fields?: LogFields): void;
  warn(msg: string, fields?: LogFields): void;
  error(msg: string, fields?: LogFields): void;
  /** The same log for another stage, or with fields that every line of it carries. */
  with(fields: LogFields): Log;
};

const ORDER: Readonly<Record<LogLevel, number>> = { debug: 0, info: 1, warn: 2, error: 3 };

/** A log that hands each finished line, newline included, to `write`. */
export function createLog(level: LogLevel, write: (line: string) => void, fixed: LogFields = {}): Log {
  const line = (lineLevel: LogLevel) => (msg: string, fields?: LogFields) => {
    if (ORDER[lineLevel] < ORDER[level]) return;
    write(
      `${JSON.stringify({ time: new Date().toISOString(), level: lineLevel, ...fixed, msg, ...fields })}\n`,
    );
  };
  return {
    debug: line("debug"),
    info: line("info"),
    warn: line("warn"),
    error: line("error"),
    with: (fields) => createLog(level, write, { ...fixed, ...fields }),
  };
}

/** The log fields of a fault: its code, its message and the message of its cause. */
export function faultFields(error: SensorError): LogFields {
  const cause = error.cause instanceof Error ? error.cause.message : undefined;
  return { code: error.code, error: error.message, cause: cause === error.message ? undefined : cause };
}
