/** What extraction says to be true of a content: `facts` of an attachment, for triage and for people. */
import { ARCHIVE_FACTS } from "./archives/flags.ts";
import { NAME_FACTS, POLYGLOT_FACTS } from "./facts/flags.ts";
import { OFFICE_FACTS } from "./office/flags.ts";
import { OUTLOOK_FACTS } from "./outlook/flags.ts";
import { PDF_FACTS } from "./pdf/flags.ts";
import type { FactEntry } from "./reading.ts";
import { SHORTCUT_FACTS } from "./shortcuts/flags.ts";

export const FACTS: Readonly<Record<string, FactEntry>> = {
  ...NAME_FACTS,
  ...POLYGLOT_FACTS,
  ...ARCHIVE_FACTS,
  ...OUTLOOK_FACTS,
  ...OFFICE_FACTS,
  ...PDF_FACTS,
  ...SHORTCUT_FACTS,
};
