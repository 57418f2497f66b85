/**
 * Tables that say which member of an event goes into which field of a format: the code and docs/events.md are
 * made from the same rows.
 */
import type { VisibleEvent } from "./format.ts";

/** One field of a format. */
export type Row<T = VisibleEvent> = {
  /** As the format names it; dots lead into objects. */
  readonly field: string;
  /** Where its value comes from, for people: members of the event, in Markdown. */
  readonly from: string;
  /** Undefined, null, an empty text and an empty list are left out. */
  readonly value: (from: T) => unknown;
};

const isNothing = (value: unknown): boolean =>
  value === undefined || value === null || value === "" || (Array.isArray(value) && value.length === 0);

export type Table<T> = (from: T) => Record<string, unknown>;

/** A function that fills an object from a table. Only the table's own names become keys. */
export function objectTable<T>(rows: readonly Row<T>[]): Table<T> {
  const steps = rows.map(({ field, value }) => ({ path: field.split("."), value }));
  return (from) => {
    const made: Record<string, unknown> = {};
    for (const { path, value } of steps) {
      const found = value(from);
      if (!isNothing(found)) put(made, path, found);
    }
    return made;
  };
}

function put(object: Record<string, unknown>, path: readonly string[], value: unknown): void {
  let here = object;
  for (const name of path.slice(0, -1)) {
    const below = here[name];
    const next: Record<string, unknown> =
      typeof below === "object" && below !== null ? (below as Record<string, unknown>) : {};
    here[name] = next;
    here = next;
  }
  here[path.at(-1) ?? ""] = value;
}

/** The pairs of a flat table, in its order. */
export function pairsOf<R extends Row>(rows: readonly R[], event: VisibleEvent) {
  return rows.flatMap((row) => {
    const value = row.value(event);
    return isNothing(value) ? [] : [{ row, value: Array.isArray(value) ? value.join(",") : String(value) }];
  });
}
