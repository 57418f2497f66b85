/**
 * Which members of an event a destination gets.
 *
 * Pure. Paths are members of docs/event.schema.json: dotted (`mail.envelope.to`) or JSON pointers
 * (`/mail/envelope/to`), without the numbers of list items: a path through a list means all of its items.
 */
import schema from "../../docs/event.schema.json" with { type: "json" };
import type { SensorEvent } from "./event.ts";
import type { VisibleEvent } from "./formats/format.ts";

type Node = {
  readonly type?: unknown;
  readonly const?: unknown;
  readonly enum?: unknown;
  readonly properties?: Readonly<Record<string, Node>>;
  readonly items?: Node;
  readonly oneOf?: readonly Node[];
  readonly $ref?: string;
};

const DEFINITIONS: Readonly<Record<string, Node>> = schema.$defs;

type Path = { readonly path: string; readonly list: boolean };

function* pathsBelow(node: Node, path: string): Generator<Path> {
  const target = node.$ref === undefined ? undefined : DEFINITIONS[node.$ref.replace("#/$defs/", "")];
  for (const inner of [target, node.items, ...(node.oneOf ?? [])]) {
    if (inner !== undefined) yield* pathsBelow(inner, path);
  }
  for (const [name, below] of Object.entries(node.properties ?? {})) {
    const here = path === "" ? name : `${path}.${name}`;
    yield { path: here, list: below.items !== undefined };
    yield* pathsBelow(below, here);
  }
}

const ALL = [...pathsBelow(schema, "")];

/** Every path there is. */
export const EVENT_PATHS: ReadonlySet<string> = new Set(ALL.map(({ path }) => path));
/** Those of lists. */
export const EVENT_LISTS: ReadonlySet<string> = new Set(
  ALL.filter(({ list }) => list).map(({ path }) => path),
);

/** What no choice takes away: without these an event means nothing, and a cut would be silent. */
export const ALWAYS = ["schema", "id", "type", "time", "truncated"] as const;

/** `/mail/envelope/to` as `mail.envelope.to`; dotted paths as they are. */
export function dottedPath(path: string): string {
  return path.startsWith("/") ? path.slice(1).replaceAll("/", ".") : path;
}

export type FieldChoice = {
  /** Only these and what is below them. Missing: all. */
  readonly include?: readonly string[] | undefined;
  readonly exclude?: readonly string[] | undefined;
};

/** Null: the whole of it. */
type Tree = Map<string, Tree | null>;

function treeOf(paths: readonly string[]): Tree {
  const tree: Tree = new Map();
  for (const path of paths) {
    const names = dottedPath(path).split(".");
    let here: Tree | null = tree;
    for (const [index, name] of names.entries()) {
      if (index === names.length - 1) here.set(name, null);
      else {
        const below: Tree | null | undefined = here.get(name);
        if (below === null) break;
        const next: Tree = below ?? new Map();
        here.set(name, next);
        here = next;
      }
    }
  }
  return tree;
}

function keep(value: unknown, tree: Tree): unknown {
  if (Array.isArray(value)) return value.map((item) => keep(item, tree));
  if (typeof value !== "object" || value === null) return value;
  return Object.fromEntries(
    Object.entries(value).flatMap(([name, below]) => {
      const inner = tree.get(name);
      if (inner === undefined) return [];
      return [[name, inner === null ? below : keep(below, inner)]];
    }),
  );
}

function remove(value: unknown, tree: Tree): unknown {
  if (Array.isArray(value)) return value.map((item) => remove(item, tree));
  if (typeof value !== "object" || value === null) return value;
  return Object.fromEntries(
    Object.entries(value).flatMap(([name, below]) => {
      const inner = tree.get(name);
      if (inner === null) return [];
      return [[name, inner === undefined ? below : remove(below, inner)]];
    }),
  );
}

/** A function that gives the chosen members of an event, the event itself where all are chosen. */
export function createSelection({
  include,
  exclude = [],
}: FieldChoice): (event: SensorEvent) => VisibleEvent {
  const always: ReadonlySet<string> = new Set(ALWAYS);
  const excluded = exclude.filter((path) => !always.has(dottedPath(path)));
  const kept = include === undefined ? null : treeOf([...ALWAYS, ...include]);
  const removed = excluded.length === 0 ? null : treeOf(excluded);
  return (event) => {
    const some = kept === null ? event : keep(event, kept);
    // Its own members are always there: the trees leave those alone.
    return (removed === null ? some : remove(some, removed)) as VisibleEvent;
  };
}
