/**
 * A fault of a VMRay call, and how its text is made fit for people.
 *
 * Answers of VMRay name accounts and people and may hold anything: what is kept of them is short, on one line, and
 * without addresses or account names.
 */
import { type ErrorCode, SensorError } from "../errors.ts";
import { withoutNames } from "./without-names.ts";

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
/** Of a reason with what is added to it, and of that alone. */
const MAX_JOINED = 450;
const MAX_ADDED = 290;

/** Control, line-breaking, direction-changing and invisible characters. */
const UNSAFE = /[\u0000-\u001f\u007f-\u009f\u00ad\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff]+/g;

/** Text of VMRay on one line, at most `limit` characters; a cut shows as "...". */
export function oneLine(text: string, limit: number = MAX_REASON): string {
  const line = text.slice(0, MAX_READ).toWellFormed().replace(UNSAFE, " ").replace(/ {2,}/g, " ").trim();
  return line.length > limit ? `${line.slice(0, limit - 3).toWellFormed()}...` : line;
}

/** A reason and what is to be added to it; null where there is nothing. Where it is too long the reason is cut. */
export function joined(reason: string | null, ...added: readonly (string | null)[]): string | null {
  const gaps = oneLine(added.filter((each) => each !== null).join("; "), MAX_ADDED);
  if (gaps === "") return reason;
  return reason === null ? gaps : `${oneLine(reason, MAX_JOINED - gaps.length - 2)}; ${gaps}`;
}

/**
 * An error text of VMRay without e-mail addresses, API keys and the names of accounts, users and keys, on one line, at
 * most 300 characters. `secret` is left out wherever it stands.
 */
export function publicReason(text: string, secret: string = ""): string {
  const whole = secret === "" ? text : text.slice(0, MAX_READ).replaceAll(secret, "(key removed)");
  return oneLine(
    withoutNames(
      oneLine(whole, MAX_READ)
        .replace(/\b(account|user) \d{1,20} \(.{0,400}\)(?= is\b)/gi, "$1 (name removed)")
        .replace(/\b(account|user) \d{1,20} \([^)]{0,400}\)/gi, "$1 (name removed)")
        .replace(/[^\s@<>()"',;]{1,64}@[^\s@<>()"',;]{1,255}/g, "(address removed)")
        .replace(
          /\b(api[ _-]?key|authorization|token)\b(\s?[:=]\s?|\s)(?:api_key\s)?["'`]?[\w+/=.-]{16,512}["'`]?/gi,
          "$1$2(key removed)",
        )
        .replace(/\b(key)(\s?[:=]\s?|\s)["'`]?[0-9a-f-]{16,512}\b["'`]?/gi, "$1$2(key removed)")
        .replace(
          /\b(account|customer|login|api[ _-]?key|user ?name|user)\b(\s?[:=]?\s?)(?:"[^"]{1,200}"|'[^']{1,200}'|`[^`]{1,200}`)/gi,
          "$1$2(name removed)",
        )
        .replace(
          /(\brequested at [^()]{0,80}(?:\([^()]{0,20}\))? by )(?!\()[^,;)]{1,200}/gi,
          "$1(name removed)",
        ),
    ),
  );
}

/** True for HTML and XML. */
export function isPage(text: string): boolean {
  return /^\s*</.test(text.slice(0, MAX_READ));
}

/**
 * What an answer that is not the API says: its text, or the title of a page; empty where there is none. A proxy or a
 * gateway speaks so.
 */
export function saidByPage(text: string): string {
  const begin = text.slice(0, MAX_READ);
  const title = /<title[^>]{0,200}>([^<]{1,300})/i.exec(begin)?.[1] ?? "";
  const isData = /^\s*[[{]/.test(begin);
  return oneLine(isPage(begin) ? title : isData ? "" : begin);
}
