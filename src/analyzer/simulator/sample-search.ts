/**
 * The query language of GET /rest/sample/search: `field operator value`, joined by `and` and `or`.
 *
 * Operators `==`, `<>`, `like`, `not like`; values with spaces stand in double quotes; at most ten filters; all
 * comparisons ignore case. `and` binds closer than `or`. What does not parse is an ApiError 400.
 */
import { ApiError } from "./api-error.ts";
import type { Sample, Store } from "./store.ts";

const MAX_QUERY = 16_384;
const MAX_FILTERS = 10;

type Operator = "==" | "<>" | "like" | "not like";
type Filter = { readonly field: string; readonly operator: Operator; readonly value: string };

const FIELDS: Readonly<Record<string, (sample: Sample) => readonly string[]>> = {
  url: (sample) => (sample.url === null ? [] : [sample.url]),
  filename: (sample) => [sample.filename],
  threat_name: (sample) => sample.judgement.threatNames,
};

const wrong = (what: string): ApiError => new ApiError(400, `query: ${what}`);

/** Words and quoted texts, in one pass. */
function words(query: string): readonly string[] {
  const found: string[] = [];
  let at = 0;
  while (at < query.length) {
    if (query[at] === " ") {
      at++;
      continue;
    }
    if (query[at] === '"') {
      const end = query.indexOf('"', at + 1);
      if (end < 0) throw wrong("a quoted value has no end");
      found.push(query.slice(at + 1, end));
      at = end + 1;
      continue;
    }
    const space = query.indexOf(" ", at);
    const end = space < 0 ? query.length : space;
    found.push(query.slice(at, end));
    at = end;
  }
  return found;
}

/** A query as alternatives, each of filters that all have to hold. */
function parse(query: string): readonly (readonly Filter[])[] {
  if (query.length > MAX_QUERY) throw wrong(`must not be longer than ${MAX_QUERY} characters`);
  const all = words(query);
  const alternatives: Filter[][] = [[]];
  let at = 0;
  for (let count = 1; ; count++) {
    if (count > MAX_FILTERS) throw wrong(`must not have more than ${MAX_FILTERS} filters`);
    const field = all[at++]?.toLowerCase() ?? "";
    if (!Object.hasOwn(FIELDS, field))
      throw wrong(`the field must be one of ${Object.keys(FIELDS).join(", ")}`);
    let operator = all[at++]?.toLowerCase() ?? "";
    if (operator === "not" && all[at]?.toLowerCase() === "like") {
      operator = "not like";
      at++;
    }
    if (operator !== "==" && operator !== "<>" && operator !== "like" && operator !== "not like") {
      throw wrong("the operator must be one of ==, <>, like, not like");
    }
    const value = all[at++];
    if (value === undefined) throw wrong("a filter has no value");
    alternatives.at(-1)?.push({ field, operator, value: value.toLowerCase() });
    if (at === all.length) return alternatives;
    const joint = all[at++]?.toLowerCase();
    if (joint === "or") alternatives.push([]);
    else if (joint !== "and") throw wrong("filters must be joined by and, or");
  }
}

function holds(filter: Filter, sample: Sample): boolean {
  const values = (FIELDS[filter.field]?.(sample) ?? []).map((value) => value.toLowerCase());
  const part = filter.value.replaceAll("%", "").replaceAll("*", "");
  switch (filter.operator) {
    case "==":
      return values.includes(filter.value);
    case "<>":
      return values.length > 0 && !values.includes(filter.value);
    case "like":
      return values.some((value) => value.includes(part));
    case "not like":
      return values.length > 0 && !values.some((value) => value.includes(part));
  }
}

/** The samples that match, in the order of their ids. */
export function searchSamples(query: string, store: Store): readonly Sample[] {
  const alternatives = parse(query);
  const [only, ...others] = alternatives;
  const [first, ...rest] = only ?? [];
  if (others.length === 0 && rest.length === 0 && first?.field === "url" && first.operator === "==") {
    return store.samplesByUrl(first.value);
  }
  return store
    .samples()
    .filter((sample) => alternatives.some((filters) => filters.every((filter) => holds(filter, sample))));
}
