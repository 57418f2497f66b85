/** docs/sensor.schema.json: JSON Schema (draft 7, which editors know best) of the file as it is written. */
import { z } from "zod";
import { noteOf } from "../../src/config/note.ts";
import { schema } from "../../src/config/schema.ts";

/** What a pattern lets through beside its own: `${NAME}` is filled in before the value is checked. */
const PLACEHOLDER = "|\\$\\{[A-Za-z_]";

export function configurationSchema(): string {
  const made = z.toJSONSchema(schema, {
    io: "input",
    target: "draft-07",
    override({ zodSchema, jsonSchema }) {
      const { description, fallback, example, oneOrMore } = noteOf(zodSchema);
      if (description !== undefined) jsonSchema.description = description;
      if (example !== undefined) jsonSchema.examples = [example];
      if (fallback !== undefined) delete jsonSchema.default;
      if (oneOrMore === true && jsonSchema.type === "array") {
        const { type, items, minItems, maxItems, ...rest } = jsonSchema;
        for (const name of Object.keys(jsonSchema)) Reflect.deleteProperty(jsonSchema, name);
        const bounds = Object.fromEntries(
          Object.entries({ minItems, maxItems }).filter(([, bound]) => bound !== undefined),
        );
        Object.assign(jsonSchema, rest, { anyOf: [{ type, items, ...bounds }, items] });
      }
      // A section or list whose keys are all commented out is as good as absent.
      if (zodSchema._zod.def.type === "prefault" && isSections(jsonSchema)) {
        Object.assign(jsonSchema, { type: [jsonSchema.type, "null"] });
        delete jsonSchema.default;
      }
      // Called for the wrappers of a schema too, with what the inner one was given.
      if (jsonSchema.pattern?.endsWith(PLACEHOLDER) === false) jsonSchema.pattern += PLACEHOLDER;
    },
  });
  return `${JSON.stringify({ title: "Configuration of the email sensor", ...made }, null, 2)}\n`;
}

function isSections(jsonSchema: z.core.JSONSchema.BaseSchema): boolean {
  if (jsonSchema.type === "object") return true;
  const { items } = jsonSchema;
  return typeof items === "object" && !Array.isArray(items) && items.type === "object";
}
