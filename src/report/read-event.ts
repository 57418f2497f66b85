/**
 * Reads an event that somebody hands in, by the schema that real ones keep.
 *
 * A text goes in, an event within the limits of bounds.ts comes out, or a SensorError USAGE that names each member that
 * is wrong, without its value. Too long texts and lists are no fault: they are cut as those of a mail are. Members that
 * are of another type of event are none either. `seq`, which `watch --json` adds, is left out.
 */
import schema from "../../docs/event.schema.json" with { type: "json" };
import { printable } from "../config/problem.ts";
import { nearest } from "../config/suggest.ts";
import { SensorError } from "../errors.ts";
import { boundEvent } from "./bounds.ts";
import type { SensorEvent } from "./event.ts";

/** Characters of the text; the sensor makes none that is longer. */
export const MAX_EVENT_TEXT = 1024 * 1024;
const MAX_PROBLEMS = 10;

type Node = {
  readonly type?: string | readonly string[];
  readonly const?: unknown;
  readonly enum?: readonly unknown[];
  readonly pattern?: string;
  readonly format?: string;
  readonly minimum?: number;
  readonly maximum?: number;
  readonly required?: readonly string[];
  readonly properties?: Readonly<Record<string, Node>>;
  readonly items?: Node;
  readonly oneOf?: readonly Node[];
  readonly $ref?: string;
};

const DEFINITIONS: Readonly<Record<string, Node>> = schema.$defs;

/** What an event of each type must have beside what all have. */
const REQUIRED: ReadonlyMap<unknown, readonly string[]> = new Map(
  schema.allOf.flatMap(({ if: { properties }, then: { required } }) =>
    properties.type.enum.map((type) => [type, required] as const),
  ),
);

const KINDS: Readonly<Record<string, { readonly words: string; is(value: unknown): boolean }>> = {
  string: { words: "a text", is: (value) => typeof value === "string" },
  number: { words: "a number", is: (value) => typeof value === "number" },
  integer: { words: "a whole number", is: (value) => Number.isSafeInteger(value) },
  boolean: { words: "true or false", is: (value) => typeof value === "boolean" },
  array: { words: "a list", is: Array.isArray },
  object: { words: "an object", is: isObject },
  null: { words: "null", is: (value) => value === null },
};

function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** Throws SensorError USAGE; its message completes "FILE ...". */
export function readEvent(text: string): SensorEvent {
  if (text.length > MAX_EVENT_TEXT) throw refusal(`is longer than ${MAX_EVENT_TEXT} characters`);
  const value = parsed(text);
  if (!isObject(value)) throw refusal("holds no JSON object: an event is one");
  const { seq: _, ...event } = value;
  const problems = [...problemsOf(event, schema, ""), ...problemsOfType(event)];
  if (problems.length > 0) {
    const more = problems.length - MAX_PROBLEMS;
    const shown = problems.slice(0, MAX_PROBLEMS).concat(more > 0 ? [`and ${more} more`] : []);
    throw refusal(`holds no event:\n${shown.map((problem) => `  ${problem}`).join("\n")}`);
  }
  // The schema says the same as the type does.
  return boundEvent(event as unknown as SensorEvent);
}

function refusal(words: string): SensorError {
  return new SensorError("USAGE", words);
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (thrown) {
    throw new SensorError("USAGE", "holds no JSON", { cause: thrown });
  }
}

function* problemsOfType(event: Readonly<Record<string, unknown>>): Generator<string> {
  for (const name of REQUIRED.get(event.type) ?? []) {
    if (event[name] === undefined) yield `${name}: is missing, ${event.type} events have it`;
  }
}

/** The rules of JSON Schema that the schema of events uses, but for lengths. */
function* problemsOf(value: unknown, schemaNode: Node, path: string): Generator<string> {
  const node = resolved(schemaNode, value);
  const here = path === "" ? "the event" : path;
  const kinds = node.type === undefined ? [] : [node.type].flat();
  if (kinds.length > 0 && !kinds.some((kind) => KINDS[kind]?.is(value))) {
    yield `${here}: must be ${kinds.map((kind) => KINDS[kind]?.words ?? kind).join(" or ")}`;
    return;
  }
  if (node.const !== undefined && value !== node.const) yield `${here}: must be ${String(node.const)}`;
  if (node.enum !== undefined && !node.enum.includes(value)) {
    yield `${here}: must be one of ${node.enum.join(", ")}`;
  }
  if (typeof value === "string") {
    const wellFormed = node.pattern === undefined || new RegExp(node.pattern, "u").test(value);
    const timely = node.format !== "date-time" || !Number.isNaN(Date.parse(value));
    if (!wellFormed || !timely) yield `${here}: does not have the right form`;
  }
  if (typeof value === "number" && (value < (node.minimum ?? value) || value > (node.maximum ?? value))) {
    yield `${here}: is out of range`;
  }
  if (Array.isArray(value) && node.items !== undefined) {
    for (const [index, item] of value.entries()) yield* problemsOf(item, node.items, `${path}[${index}]`);
  }
  if (isObject(value)) yield* memberProblems(value, node, path);
}

function* memberProblems(
  value: Readonly<Record<string, unknown>>,
  node: Node,
  path: string,
): Generator<string> {
  const known = node.properties ?? {};
  const below = (name: string) => (path === "" ? name : `${path}.${name}`);
  for (const name of node.required ?? []) {
    if (!Object.hasOwn(value, name)) yield `${below(name)}: is missing`;
  }
  for (const [name, inner] of Object.entries(value)) {
    const child = Object.hasOwn(known, name) ? known[name] : undefined;
    if (child === undefined) {
      const meant = nearest(name, Object.keys(known));
      const hint = meant === null ? "" : `; did you mean ${meant}?`;
      yield `${below(printable(name, 64))}: is no member of an event${hint}`;
    } else yield* problemsOf(inner, child, below(name));
  }
}

/** A node without references; of several it may be the one that fits null or not. */
function resolved(node: Node, value: unknown): Node {
  const chosen = node.oneOf?.find((one) => (one.type === "null") === (value === null)) ?? node;
  const target = chosen.$ref === undefined ? undefined : DEFINITIONS[chosen.$ref.replace("#/$defs/", "")];
  return target === undefined ? chosen : { ...target, ...chosen };
}
