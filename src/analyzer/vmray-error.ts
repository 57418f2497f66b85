/**
 * A fault of a VMRay call, and how its text is made fit for people.
 *
 * Answers of VMRay name accounts and people and may hold anything: what is kept of them is short, on one line, and
 * without addresses or account names.
 */
import { type ErrorCode, SensorError } from "../errors.ts";

export type VmrayErrorCode = Extract<ErrorCode, `VMRAY_${string}`>;

export class VmrayError extends SensorError {
  declare readonly code: VmrayErrorCode;
  /** HTTP status of the answer, null where there was none. */
  readonly status: number | null;
  /** Milliseconds VMRay asks to wait, null where it does not say. */
  readonly retryAfter: number | null;

  constructor(
    code: VmrayErrorCode,
    message: string,
    options: { readonly status?: number; readonly retryAfter?: number | null; readonly cause?: unknown } = {},
  ) {
    super(code, message, { cause: options.cause });
    this.status = options.status ?? null;
    this.retryAfter = options.retryAfter ?? null;
  }
}

const MAX_READ = 4096;
export const MAX_REASON = 300;

/** Control, line-breaking, direction-changing and invisible characters. */
const UNSAFE = /[\u0000-\u001f\u007f-\u009f\u00ad\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff]+/g;

/** Text of VMRay on one line, at most `limit` characters; a cut shows as "...". */
export function oneLine(text: string, limit: number = MAX_REASON): string {
  const line = text.slice(0, MAX_READ).toWellFormed().replace(UNSAFE, " ").replace(/ {2,}/g, " ").trim();
  return line.length > limit ? `${line.slice(0, limit - 3).toWellFormed()}...` : line;
}

/** An error text of VMRay without e-mail addresses and account names, on one line, at most 300 characters. */
export function publicReason(text: string): string {
  return oneLine(
    oneLine(text, MAX_READ)
      .replace(/\b(account|user) \d{1,20} \(.{0,400}\)(?= is\b)/gi, "$1 (name removed)")
      .replace(/\b(account|user) \d{1,20} \([^)]{0,400}\)/gi, "$1 (name removed)")
      .replace(/[^\s@<>()"',;]{1,64}@[^\s@<>()"',;]{1,255}/g, "(address removed)"),
  );
}
