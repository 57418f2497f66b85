/** Names of what file names say about a content, and of contents that are of two types at once. */
import type { FactEntry } from "../reading.ts";

export const NAME_FACTS = {
  double_extension: { meaning: "The name ends in the extension of a program behind that of a document." },
  spaced_extension: { meaning: "White space in the name pushes its extension out of sight." },
  right_to_left_override: {
    meaning: "The name has a character that turns the direction of what follows around.",
  },
  invisible_characters: { meaning: "The name has control characters, or characters without width." },
  trailing_dots: { meaning: "The name ends in dots or spaces, which Windows leaves out." },
  homoglyph_extension: { meaning: "The extension of the name has letters that only look like Latin ones." },
  long_name: { meaning: "The name is longer than file systems allow." },
  path_in_name: { meaning: "The name leads out of its folder, or names a folder or a stream of a file." },
  type_mismatch: { meaning: "The content is of another type than the extension of the name says." },
  program_as_document: { meaning: "The content is a program or a script and has the name of a document." },
} as const satisfies Record<string, FactEntry>;

export const POLYGLOT_FACTS = {
  appended_archive: { meaning: "An archive follows after the end of the content." },
  appended_program: { meaning: "A program follows after the end of the content." },
  appended_script: { meaning: "HTML or a script is in a content of another type." },
  appended_document: { meaning: "A document follows after the end of the content, or is in it." },
  prepended_data: { meaning: "Something stands before the beginning of the content." },
  web_archive_as_document: {
    meaning: "A web archive (MHTML) or its macros begin like a document of another type.",
  },
} as const satisfies Record<string, FactEntry>;

export type NameFact = keyof typeof NAME_FACTS;
export type PolyglotFact = keyof typeof POLYGLOT_FACTS;
