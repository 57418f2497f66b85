/** Names of what was odd about taking a mail out of what carries it: journal reports, delivery reports, copies. */
import type { FlagEntry } from "../reading.ts";

export const UNWRAP_FLAGS = {
  journal_report_rejected: {
    complete: true,
    meaning:
      "The mail says that it is a journal report, but does not look like one that a server made; it is analysed as an ordinary mail.",
  },
  journal_report_untrusted: {
    complete: true,
    meaning:
      "The mail looks like a journal report, but nothing says that a server of one's own made it (`extract.journal_addresses`); its recipients are not taken, it is analysed as an ordinary mail.",
  },
  journal_recipients_exceeded: {
    complete: true,
    meaning: "A journal report has more recipients than the bound; the ones after that are not listed.",
  },
  delivery_report_damaged: {
    complete: true,
    meaning: "A delivery report has lines that are no fields, or names no recipient.",
  },
  delivery_recipients_exceeded: {
    complete: true,
    meaning:
      "A delivery report has more recipients, or is longer, than the bound; the rest of it is not read.",
  },
  copy_recipients_exceeded: {
    complete: true,
    meaning: "A copy names more recipients than the bound; the ones after that are not listed.",
  },
} as const satisfies Record<string, FlagEntry>;

export type UnwrapFlag = keyof typeof UNWRAP_FLAGS;
