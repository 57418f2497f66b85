/**
 * Sizes and durations as people write them: 64MB, 512KB (powers of 1024), 30s, 5m, 1h, 7d.
 *
 * Inside the sensor a size is a number of bytes and a duration a number of milliseconds. What `format...`
 * gives is read back by `parse...`; a value that is not round is rounded to one decimal place.
 */

export const SIZE_UNITS = { B: 1, KB: 1024, MB: 1024 ** 2, GB: 1024 ** 3, TB: 1024 ** 4 } as const;
export const TIME_UNITS = { ms: 1, s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 } as const;

type Units = Readonly<Record<string, number>>;

function parse(units: Units, text: string): number | null {
  const match = /^(\d{1,15}(?:\.\d{1,6})?) ?([A-Za-z]{1,2})$/.exec(text.trim());
  const factor = match?.[2] === undefined || !Object.hasOwn(units, match[2]) ? undefined : units[match[2]];
  if (match?.[1] === undefined || factor === undefined) return null;
  const value = Math.round(Number(match[1]) * factor);
  return Number.isSafeInteger(value) ? value : null;
}

function format(units: Units, value: number): string {
  const ascending = Object.entries(units);
  const [name, factor] = ascending.findLast(([, size]) => Math.abs(value) >= size) ?? ascending[0] ?? ["", 1];
  return `${Number((value / factor).toFixed(1))}${name}`;
}

/** Bytes of "64MB"; null where the text is no size. */
export const parseSize = (text: string): number | null => parse(SIZE_UNITS, text);
/** Milliseconds of "30s"; null where the text is no duration. */
export const parseDuration = (text: string): number | null => parse(TIME_UNITS, text);
/** "64MB" of bytes. */
export const formatSize = (bytes: number): string => format(SIZE_UNITS, bytes);
/** "30s" of milliseconds. */
export const formatDuration = (milliseconds: number): string => format(TIME_UNITS, milliseconds);
