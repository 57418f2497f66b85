/**
 * The schema as a plain tree of keys: what load.ts and the generated documents walk over.
 *
 * Made once from schema.ts; it knows the shape and the notes, not the checks.
 */
import type { z } from "zod";
import { type KeyNote, noteOf } from "./note.ts";
import { schema } from "./schema.ts";

type Common = {
  readonly note: KeyNote;
  readonly required: boolean;
  /** As written in the file; undefined where there is none or it is computed (`note.fallback`). */
  readonly default: unknown;
};
export type SectionKey = Common & { readonly shape: "section"; readonly keys: ReadonlyMap<string, Key> };
export type ListKey = Common & { readonly shape: "list"; readonly item: Key };
export type ValueKey = Common & {
  readonly shape: "value";
  readonly type: "text" | "number" | "boolean";
  /** The only values allowed, where they are few. */
  readonly choices: readonly string[] | null;
};
export type Key = SectionKey | ListKey | ValueKey;

/** The tree below a schema. Throws where the schema uses a construct this tree has no shape for. */
export function keysOf(start: z.core.$ZodType): Key {
  let inner = start;
  let note: KeyNote = {};
  let required = true;
  let fallback: unknown;
  for (;;) {
    note = { ...noteOf(inner), ...note };
    const { def } = (inner as z.core.$ZodTypes)._zod;
    if (def.type === "default" || def.type === "prefault") {
      required = false;
      fallback = note.fallback === undefined ? def.defaultValue : undefined;
      inner = def.innerType;
    } else if (def.type === "optional") {
      required = false;
      inner = def.innerType;
    } else if (def.type === "pipe") {
      inner = def.in;
    } else {
      const common: Common = { note, required, default: fallback };
      switch (def.type) {
        case "object": {
          const keys = Object.entries(def.shape).map(([name, below]) => [name, keysOf(below)] as const);
          return { ...common, shape: "section", keys: new Map(keys) };
        }
        case "array":
          return { ...common, shape: "list", item: keysOf(def.element) };
        case "enum":
          return { ...common, shape: "value", type: "text", choices: Object.values(def.entries).map(String) };
        case "string":
          return { ...common, shape: "value", type: "text", choices: null };
        case "number":
        case "boolean":
          return { ...common, shape: "value", type: def.type, choices: null };
        default:
          throw new TypeError(
            `the configuration schema uses ${def.type}, which its tree of keys does not know`,
          );
      }
    }
  }
}

const root = keysOf(schema);
if (root.shape !== "section") throw new TypeError("the configuration is not a section");

/** The whole configuration. */
export const CONFIG_KEYS: SectionKey = root;
