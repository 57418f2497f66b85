/** Times of VMRay: ISO 8601 without a zone, in UTC; some versions name the zone. */

const FORM = /^(\d{4}-\d{2}-\d{2})[T ](\d{2}:\d{2}:\d{2})(\.\d{1,9})?(Z|[+-]\d{2}:?\d{2})?$/;

/** Milliseconds since 1970; null where it is no such time. */
export function timeOf(text: string | null | undefined): number | null {
  const [, date, clock, fraction = "", zone = "Z"] = FORM.exec(text ?? "") ?? [];
  const time = Date.parse(`${date}T${clock}${fraction.slice(0, 4)}${zone}`);
  return Number.isNaN(time) ? null : time;
}
