/**
 * The names extraction gives to what was odd about a mail, and to what it did not take in full. They stand in
 * `flags` of an extraction and an event.
 */
import { ARCHIVE_FLAGS } from "./archives/flags.ts";
import { CODE_FLAGS } from "./codes/flags.ts";
import { OFFICE_FLAGS } from "./office/flags.ts";
import { COMPOUND_FLAGS } from "./ole/compound.ts";
import { OUTLOOK_FLAGS } from "./outlook/flags.ts";
import { PDF_FLAGS } from "./pdf/flags.ts";
import { type FlagEntry, READER_FLAGS } from "./reading.ts";
import { READING_FLAGS } from "./readings/flags.ts";
import { SHORTCUT_FLAGS } from "./shortcuts/flags.ts";
import { UNWRAP_FLAGS } from "./unwrap/flags.ts";
import { URL_FLAGS } from "./urls/flags.ts";

/** Bounds of a mail as a whole, and what its header does not keep. */
export const MAIL_FLAGS = {
  mail_size_exceeded: {
    complete: false,
    meaning: "The mail is larger than `extract.max_mail_size`; only its beginning was read.",
  },
  time_exceeded: {
    complete: false,
    meaning: "Reading took most of `extract.timeout`; what was not read by then is listed, not looked into.",
  },
  attachments_exceeded: {
    complete: false,
    meaning: "More attachments than `extract.max_attachments`; the ones after that are not listed.",
  },
  urls_exceeded: {
    complete: false,
    meaning: "More URLs than `extract.max_urls`; the ones after that are not listed.",
  },
  url_too_long: {
    complete: false,
    meaning: "A URL is longer than 8,192 characters; it is not listed.",
  },
  depth_exceeded: {
    complete: false,
    meaning: "A mail or an archive lies deeper than `extract.max_depth`; it is listed, not looked into.",
  },
  decoded_size_exceeded: {
    complete: false,
    meaning: "The decoded parts are larger than `extract.max_decoded_size` together; the rest is not read.",
  },
  parts_exceeded: {
    complete: false,
    meaning: "The mail has more MIME parts than `extract.max_parts`; what follows them is not read.",
  },
  nesting_exceeded: {
    complete: false,
    meaning:
      "More than 100 multiparts lie within each other; the strict reading ended there, the others went on.",
  },
  strict_exceeded: {
    complete: false,
    meaning:
      "More of the mail than 32 MB or 1,000,000 lines is not plainly encoded; the strict reading ended there, the others went on.",
  },
  header_too_large: {
    complete: false,
    meaning: "A header block is larger than `extract.max_header_size`; what follows it is not read.",
  },
  header_lines_exceeded: {
    complete: true,
    meaning:
      "A header has more lines than `extract.max_header_lines`; the ones after that are not searched for URLs.",
  },
  malformed: {
    complete: false,
    meaning: "The strict reading gave up at a place in the mail; the others went on.",
  },
  text_exceeded: {
    complete: false,
    meaning: "Texts are larger than what is searched for URLs: 8 MB of one mail, 1 MB of one attachment.",
  },
  addresses_exceeded: {
    complete: true,
    meaning:
      "More addresses than `extract.max_recipients` in From, To or Cc; the ones after that are not listed.",
  },
  value_cut: {
    complete: true,
    meaning: "A subject, name, address or message id is longer than its limit and was cut.",
  },
} as const satisfies Record<string, FlagEntry>;

/** Flag to meaning; `complete` tells whether an extraction with this flag alone still counts as complete. */
export const FLAGS: Readonly<Record<string, FlagEntry>> = {
  ...MAIL_FLAGS,
  ...READING_FLAGS,
  ...UNWRAP_FLAGS,
  ...URL_FLAGS,
  ...CODE_FLAGS,
  ...READER_FLAGS,
  ...ARCHIVE_FLAGS,
  ...OUTLOOK_FLAGS,
  ...COMPOUND_FLAGS,
  ...OFFICE_FLAGS,
  ...PDF_FLAGS,
  ...SHORTCUT_FLAGS,
};

/** True for a flag that says something was not read. A name that is not known counts as such. */
export function isIncomplete(flag: string): boolean {
  return FLAGS[flag]?.complete !== true;
}
