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
  own_alert: {
    complete: true,
    meaning:
      "The mail is an alert of this sensor that was copied to it, known by its signed marker; it is archived and not analysed.",
  },
  sender_denied: {
    complete: true,
    meaning:
      "The sender is on the deny list, which makes the mail malicious whatever is in it. It is given after the rules, which do not see it.",
  },
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
      "The mail has more than 3,000,000 lines that are not plainly encoded, or 32 MB that the strict reading alone reads so; it ended there, the others went on.",
  },
  header_too_large: {
    complete: false,
    meaning: "A header block is larger than `extract.max_header_size`; what follows it is not read.",
  },
  header_lines_exceeded: {
    complete: false,
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

export type FlagTable = { readonly title: string; readonly flags: Readonly<Record<string, FlagEntry>> };

/** Every name stands in one of these only. */
export const FLAG_TABLES: readonly FlagTable[] = [
  { title: "Bounds of the mail as a whole", flags: MAIL_FLAGS },
  { title: "Ambiguous mails", flags: READING_FLAGS },
  { title: "Journal reports, delivery reports and copies", flags: UNWRAP_FLAGS },
  { title: "URLs, pages and scripts", flags: URL_FLAGS },
  { title: "QR codes", flags: CODE_FLAGS },
  { title: "Bounds of one content", flags: READER_FLAGS },
  { title: "Archives", flags: ARCHIVE_FLAGS },
  { title: "Mails of Outlook", flags: OUTLOOK_FLAGS },
  { title: "Compound files (old Office documents, mails of Outlook)", flags: COMPOUND_FLAGS },
  { title: "Office documents", flags: OFFICE_FLAGS },
  { title: "PDF documents", flags: PDF_FLAGS },
  { title: "Windows shortcuts", flags: SHORTCUT_FLAGS },
];

/** Flag to meaning; `complete` tells whether an extraction with this flag alone still counts as complete. */
export const FLAGS: Readonly<Record<string, FlagEntry>> = Object.fromEntries(
  FLAG_TABLES.flatMap(({ flags }) => Object.entries(flags)),
);

/** True for a flag that says something was not read. A name that is not known counts as such. */
export function isIncomplete(flag: string): boolean {
  return FLAGS[flag]?.complete !== true;
}
