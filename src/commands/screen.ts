/**
 * How the control commands show things to people: times, colours, the width of the terminal.
 */

const COLOURS: Readonly<Record<string, string>> = {
  malicious: "31",
  failed: "31",
  down: "31",
  suspicious: "33",
  clean: "32",
  up: "32",
  not_available: "35",
};

export type Screen = {
  /** Columns text may take. */
  readonly width: number;
  /** A word in the colour it has, where colours are wanted. `shown` is the word as padded or cut. */
  colour(word: string, shown?: string): string;
};

/** What stdout is: colours only on a terminal, and not where NO_COLOR is set (no-color.org). */
export function screenOf(
  out: { readonly isTTY?: boolean; readonly columns?: number },
  env: Readonly<Record<string, string | undefined>>,
): Screen {
  const colours = out.isTTY === true && !env.NO_COLOR && env.TERM !== "dumb";
  return {
    width: out.isTTY === true ? Math.max(60, out.columns ?? 80) : 120,
    colour(word, shown = word) {
      const code = Object.hasOwn(COLOURS, word) ? COLOURS[word] : undefined;
      return colours && code !== undefined ? `\x1b[${code}m${shown}\x1b[0m` : shown;
    },
  };
}

const two = (number: number): string => String(number).padStart(2, "0");

/** Time of day; on another day than `now` the date and the minute. Local time. */
export function shortTime(date: Date | undefined, now: Date): string {
  if (date === undefined || Number.isNaN(date.getTime())) return "-";
  return date.toDateString() === now.toDateString() ? clock(date) : `${day(date)} ${clock(date).slice(0, 5)}`;
}

/** Date, time and offset; local time. */
export function longTime(date: Date | undefined): string {
  if (date === undefined || Number.isNaN(date.getTime())) return "-";
  const offset = -date.getTimezoneOffset();
  const zone = `${offset < 0 ? "-" : "+"}${two(Math.floor(Math.abs(offset) / 60))}:${two(Math.abs(offset) % 60)}`;
  return `${day(date)} ${clock(date)} ${zone}`;
}

function clock(date: Date): string {
  return `${two(date.getHours())}:${two(date.getMinutes())}:${two(date.getSeconds())}`;
}

function day(date: Date): string {
  return `${date.getFullYear()}-${two(date.getMonth() + 1)}-${two(date.getDate())}`;
}
