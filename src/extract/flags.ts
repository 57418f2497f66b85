/**
 * The names extraction gives to what it did not take in full. They stand in `flags` of an extraction and an
 * event; every one of them also makes the extraction incomplete, except where its meaning says otherwise.
 */

import { URL_FLAGS } from "./urls/flags.ts";

type FlagEntry = { readonly complete: boolean; readonly meaning: string };

/** Flag to meaning; `complete` tells whether an extraction with this flag alone still counts as complete. */
export const FLAGS = {
  attachments_exceeded: {
    complete: false,
    meaning: "More attachments than `extract.max_attachments`; the ones after that are not listed.",
  },
  urls_exceeded: {
    complete: false,
    meaning: "More URLs than `extract.max_urls`; the ones after that are not listed.",
  },
  depth_exceeded: {
    complete: false,
    meaning: "A mail inside a mail lies deeper than `extract.max_depth`; it is listed, not taken apart.",
  },
  decoded_size_exceeded: {
    complete: false,
    meaning: "The decoded parts are larger than `extract.max_decoded_size` together; the rest is not read.",
  },
  parts_exceeded: {
    complete: false,
    meaning: "The mail has more MIME parts than the parser takes; what follows them is not read.",
  },
  header_too_large: {
    complete: false,
    meaning: "A header block is larger than 1 MB; what follows it is not read.",
  },
  malformed: {
    complete: false,
    meaning: "The parser gave up at a place in the mail; what follows it is not read.",
  },
  text_exceeded: {
    complete: false,
    meaning: "Only the first 8 MB of the texts of the mail were searched for URLs.",
  },
  url_too_long: {
    complete: false,
    meaning: "A URL is longer than 8,192 characters; it is not listed.",
  },
  addresses_exceeded: {
    complete: true,
    meaning: "More than 1,000 addresses in From, To or Cc; the ones after that are not listed.",
  },
  value_cut: {
    complete: true,
    meaning: "A subject, name, address or message id is longer than its limit and was cut.",
  },
  ...URL_FLAGS,
} as const satisfies Record<string, FlagEntry>;

export type Flag = keyof typeof FLAGS;
