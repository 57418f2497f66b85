/**
 * Text that came out of a mail, made fit to be shown: cut to a length, freed of what hides or forges.
 *
 * Pure and linear. Nothing here escapes for a language (JSON, HTML): that is the work of each output.
 */

/**
 * Characters that move the cursor, reorder or hide text: C0 and C1 controls, DEL, line and paragraph
 * separator, bidirectional controls (Unicode UAX #9), zero-width space and joiners, byte order mark.
 */
const UNSEEN =
  /[\u0000-\u001F\u007F-\u009F\u00AD\u061C\u180E\u200B-\u200F\u2028-\u202E\u2060-\u2069\uFEFF\uFFF9-\uFFFB]/g;

/** The controls that JSON.stringify leaves raw; a terminal or a log reader may obey them. */
const RAW_IN_JSON = /[\u007F-\u009F\u061C\u200E\u200F\u2028-\u202E\u2066-\u2069]/g;

const CONTROLS = /[\u0000-\u001F\u007F-\u009F\u061C\u200E\u200F\u2028-\u202E\u2066-\u2069]/g;

const SHORT_ESCAPES: Readonly<Record<string, string>> = { "\n": "\\n", "\r": "\\r", "\t": "\\t" };

/** The first `max` UTF-16 units of a text, one less where that would split a surrogate pair. */
export function cutText(text: string, max: number): string {
  if (text.length <= max) return text;
  const last = text.charCodeAt(max - 1);
  return text.slice(0, last >= 0xd800 && last <= 0xdbff ? max - 1 : max);
}

/** At most `max` UTF-16 units of a name, with its end, which says what a file is. */
export function cutMiddle(name: string, max: number): string {
  if (name.length <= max) return name;
  const end = Math.floor(max / 3);
  return `${cutText(name, max - end - 1)}\u2026${name.slice(-end).replace(/^[\uDC00-\uDFFF]/, "")}`;
}

/**
 * One line for people: white space runs become one space, other unseen characters and lone surrogates the
 * replacement character; longer than `max` units it ends in an ellipsis.
 */
export function showText(text: string, max: number): string {
  const bounded = cutText(text, max * 4);
  const line = bounded.toWellFormed().replace(/\s+/g, " ").trim().replace(UNSEEN, "\uFFFD");
  return line.length <= max && bounded.length === text.length ? line : `${cutText(line, max - 1)}\u2026`;
}

/** JSON on one line, with every control and bidirectional character escaped. */
export function toJsonLine(value: unknown): string {
  return JSON.stringify(value).replace(RAW_IN_JSON, unicodeEscape);
}

/** Control and bidirectional characters written as escapes (\n, \u0007), for output that has no escapes of its own. */
export function escapeControls(text: string): string {
  return text.toWellFormed().replace(CONTROLS, (one) => SHORT_ESCAPES[one] ?? unicodeEscape(one));
}

function unicodeEscape(one: string): string {
  return `\\u${one.charCodeAt(0).toString(16).padStart(4, "0")}`;
}
