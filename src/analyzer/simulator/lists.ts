/**
 * Lists of the API: filters, order, limits, and continuation ids for what does not fit into one answer.
 *
 * Takes the objects and the query, gives the answer's `data`. A parameter that no list knows, or a value that
 * is no number where one belongs, is an ApiError 400 that names it.
 */
import { ApiError, noSuchElement } from "./api-error.ts";
import type { Json, JsonObject } from "./objects.ts";
import type { Rows } from "./store.ts";

/** `api_items_per_request` and `max_api_items` of system_info. */
export const ITEMS_PER_REQUEST = 100;
export const MAX_ITEMS = 1000;
const MAX_CONTINUATIONS = 100;

export type Page = {
  readonly data: readonly JsonObject[];
  readonly continuation_id?: number | null;
  readonly truncated?: boolean;
};

export type Lists = {
  /**
   * The first page of a list: what `make` gives for the items, which come in ascending order of their id (or of
   * finishing). Makes no more of them than the answer needs. The names of its fields begin with `prefix`. Where
   * `idOf` is given the items are in the order of it, and `_min_id` and `_max_id` are found without a search.
   */
  page<T>(
    items: Rows<T>,
    make: (item: T) => JsonObject | undefined,
    prefix: string,
    query: URLSearchParams,
    idOf?: (item: T) => number,
  ): Page;
  /** The next page; an id is good for one call. Throws 404 for any other. */
  next(id: number): Page;
};

/** A whole number parameter of a query, or undefined where it is not given. */
export function integerParameter(query: URLSearchParams, name: string): number | undefined {
  const value = query.get(name);
  if (value === null) return undefined;
  if (!/^\d{1,15}$/.test(value)) throw new ApiError(400, `${name}: must be a whole number`);
  return Number(value);
}

/** Throws 400 for the first parameter that is not one of `known`. */
export function refuseUnknown(query: URLSearchParams, known: readonly string[]): void {
  for (const name of query.keys()) {
    if (!known.includes(name))
      throw new ApiError(400, `Unknown parameter ${JSON.stringify(name.slice(0, 64))}.`);
  }
}

const CONTROLS = ["_limit", "_order", "_min_id", "_max_id", "_last_id", "_fields"];

type Filter = (row: JsonObject) => boolean;

function compare(value: Json | undefined, bound: string): number {
  if (typeof value === "number") return value - Number(bound);
  const text = String(value);
  return text < bound ? -1 : text > bound ? 1 : 0;
}

/** `field=value`, or `field=FROM~TO` with either end left out. */
function fieldFilter(name: string, wanted: string): Filter {
  const at = wanted.indexOf("~");
  if (at < 0) return (row) => compare(row[name], wanted) === 0;
  const [from, to] = [wanted.slice(0, at), wanted.slice(at + 1)];
  return (row) =>
    row[name] !== null &&
    (from === "" || compare(row[name], from) >= 0) &&
    (to === "" || compare(row[name], to) <= 0);
}

function filters(prefix: string, query: URLSearchParams): readonly Filter[] {
  const fields = [...query.keys()].filter((name) => !CONTROLS.includes(name));
  const foreign = fields.find((name) => !name.startsWith(prefix));
  if (foreign !== undefined) {
    throw new ApiError(400, `Unknown parameter ${JSON.stringify(foreign.slice(0, 64))}.`);
  }
  const feed = query.has("_last_id");
  const least = feed ? undefined : integerParameter(query, "_min_id");
  const most = feed ? undefined : integerParameter(query, "_max_id");
  const id = (row: JsonObject): number => Number(row[`${prefix}id`]);
  return [
    ...(least === undefined ? [] : [(row: JsonObject) => id(row) >= least]),
    ...(most === undefined ? [] : [(row: JsonObject) => id(row) <= most]),
    ...fields.map((name) => {
      const filter = fieldFilter(name, query.get(name) ?? "");
      return (row: JsonObject) => {
        if (!Object.hasOwn(row, name)) {
          throw new ApiError(400, `Unknown parameter ${JSON.stringify(name.slice(0, 64))}.`);
        }
        return filter(row);
      };
    }),
  ];
}

/** How many items, from the start, have a smaller id; `items` are in the order of their ids. */
function countBelow<T>(items: Rows<T>, idOf: (item: T) => number, id: number): number {
  let low = 0;
  let high = items.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    const item = items.at(middle);
    if (item !== undefined && idOf(item) < id) low = middle + 1;
    else high = middle;
  }
  return low;
}

/** `_fields=(a,b)` or `a,b`: what takes the others out of a row; an unknown name is refused. */
function selection(query: URLSearchParams): (row: JsonObject) => JsonObject {
  const wanted = query.get("_fields");
  if (wanted === null) return (row) => row;
  const names = wanted
    .replace(/^\((.*)\)$/, "$1")
    .split(",")
    .map((name) => name.trim());
  return (row) =>
    Object.fromEntries(
      names.map((name) => {
        const value = Object.hasOwn(row, name) ? row[name] : undefined;
        if (value === undefined)
          throw new ApiError(400, `_fields: unknown field ${JSON.stringify(name.slice(0, 64))}`);
        return [name, value];
      }),
    );
}

/** The list answers of one simulator; it remembers the pages that are still to be fetched. */
export function createLists(): Lists {
  const waiting = new Map<number, readonly JsonObject[]>();
  let lastId = 0;

  function cut(rows: readonly JsonObject[]): Page {
    if (rows.length <= ITEMS_PER_REQUEST) return { data: rows };
    const id = ++lastId;
    waiting.set(id, rows.slice(ITEMS_PER_REQUEST));
    const oldest = waiting.keys().next().value;
    if (waiting.size > MAX_CONTINUATIONS && oldest !== undefined) waiting.delete(oldest);
    return { data: rows.slice(0, ITEMS_PER_REQUEST), continuation_id: id };
  }

  return {
    page(items, make, prefix, query, idOf) {
      const order = query.get("_order");
      if (order !== null && order !== "asc" && order !== "desc") {
        throw new ApiError(400, "_order: must be asc or desc");
      }
      const most = Math.min(integerParameter(query, "_limit") ?? MAX_ITEMS, MAX_ITEMS);
      const tests = filters(prefix, query);
      const select = selection(query);
      const ordered = idOf !== undefined && !query.has("_last_id") ? idOf : undefined;
      const least = ordered === undefined ? undefined : integerParameter(query, "_min_id");
      const greatest = ordered === undefined ? undefined : integerParameter(query, "_max_id");
      const first = ordered === undefined || least === undefined ? 0 : countBelow(items, ordered, least);
      const end =
        ordered === undefined || greatest === undefined
          ? items.length
          : countBelow(items, ordered, greatest + 1);
      const matching: JsonObject[] = [];
      // Like the real one: newest first, unless asked otherwise. One more than fits tells of truncation.
      for (let at = 0; at < end - first && matching.length <= most; at++) {
        const item = items.at(order === "asc" ? first + at : end - 1 - at);
        const row = item === undefined ? undefined : make(item);
        if (row !== undefined && tests.every((test) => test(row))) matching.push(row);
      }
      const truncated = matching.length > most && most === MAX_ITEMS;
      return { ...cut(matching.slice(0, most).map(select)), ...(truncated ? { truncated } : {}) };
    },
    next(id) {
      const rows = waiting.get(id);
      if (rows === undefined) throw noSuchElement();
      waiting.delete(id);
      return cut(rows);
    },
  };
}
