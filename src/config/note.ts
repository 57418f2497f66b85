/**
 * What the schema says about a key beyond its type: meaning, example, and whether it names a file.
 *
 * The notes hang on the zod schemas themselves, so that the checks, the reference page, the example and the
 * JSON Schema for editors are made from one table: schema.ts.
 */
import { z } from "zod";

/** The kind of file a key names. A relative path is taken from the folder of the configuration file. */
export type FileKind =
  /** A secret of one line, see loadSecret. */
  | "secret"
  /** A private key in PEM. */
  | "private key"
  /** Certificates in PEM. */
  | "certificate"
  /** A template, see compileTemplate. */
  | "template"
  /** A PNG or JPEG of at most 64 KB. */
  | "image"
  /** Values, one a line. */
  | "list"
  /** A folder the sensor makes itself; not looked at. */
  | "folder"
  /** A file the sensor writes; not looked at. */
  | "written";

export type KeyNote = {
  /** What the key means, sentences in Markdown. */
  readonly description?: string;
  /** What a value is, for people ("size", "`HOST:PORT`"). */
  readonly kind?: string;
  /** The default in words, where it is computed. */
  readonly fallback?: string;
  /** A value as one would write it, for keys without a default or whose default shows little. */
  readonly example?: unknown;
  /** True where it excludes another key: examples with all keys leave it out. */
  readonly alternative?: boolean;
  readonly file?: FileKind;
  /** Of a list: one value may stand for a list of one. */
  readonly oneOrMore?: boolean;
  /** True where the value is a template itself. */
  readonly template?: boolean;
};

const NOTES = z.registry<KeyNote>();

/** Hangs a note on a schema, adding to the one it has, and gives the same schema back. */
export function noted<T extends z.core.$ZodType>(schema: T, note: KeyNote): T {
  NOTES.add(schema, { ...NOTES.get(schema), ...note });
  return schema;
}

/** The note of a schema itself, without those of the schemas it wraps. */
export function noteOf(schema: z.core.$ZodType): KeyNote {
  return NOTES.get(schema) ?? {};
}
