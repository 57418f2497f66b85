/** What extraction says to be true of a content: `facts` of an attachment, for triage and for people. */
import { ARCHIVE_FACTS } from "./archives/flags.ts";
import { NAME_FACTS, POLYGLOT_FACTS } from "./facts/flags.ts";
import { OFFICE_FACTS } from "./office/flags.ts";
import { OUTLOOK_FACTS } from "./outlook/flags.ts";
import { PDF_FACTS } from "./pdf/flags.ts";
import { type FactEntry, READER_FACTS } from "./reading.ts";
import { SHORTCUT_FACTS } from "./shortcuts/flags.ts";

export type FactTable = { readonly title: string; readonly facts: Readonly<Record<string, FactEntry>> };

/** Every name stands in one of these only. */
export const FACT_TABLES: readonly FactTable[] = [
  { title: "File names", facts: NAME_FACTS },
  { title: "Two types at once", facts: POLYGLOT_FACTS },
  { title: "Archives and documents of several types", facts: READER_FACTS },
  { title: "Archives", facts: ARCHIVE_FACTS },
  { title: "Mails of Outlook", facts: OUTLOOK_FACTS },
  { title: "Office documents", facts: OFFICE_FACTS },
  { title: "PDF documents", facts: PDF_FACTS },
  { title: "Windows shortcuts", facts: SHORTCUT_FACTS },
];

export const FACTS: Readonly<Record<string, FactEntry>> = Object.fromEntries(
  FACT_TABLES.flatMap(({ facts }) => Object.entries(facts)),
);
