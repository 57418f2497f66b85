/**
 * The names that the lenient reading and the sweep of a mail give to what is ambiguous in it. They stand in the
 * `flags` of a LenientReading and a SweepReading. A clean mail has none of them.
 */
import type { FlagEntry } from "../reading.ts";

export const READING_FLAGS = {
  bare_cr: {
    complete: true,
    meaning: "A carriage return stands alone; some mail programs take it for the end of a line.",
  },
  bare_lf: {
    complete: true,
    meaning: "Some lines end in CRLF and some in a lone line feed; some mail programs do not see the latter.",
  },
  boundary_ambiguous: {
    complete: true,
    meaning: "A multipart has a boundary that mail programs read differently, or several of them.",
  },
  content_in_epilogue: {
    complete: true,
    meaning: "After the end of a multipart stands more than text; most mail programs do not show it.",
  },
  content_in_preamble: {
    complete: true,
    meaning: "Before the first part of a multipart stands more than text; most mail programs do not show it.",
  },
  content_in_multipart_type: {
    complete: true,
    meaning: "A part that calls itself a multipart has content of its own instead of parts.",
  },
  duplicate_header: {
    complete: true,
    meaning: "A header that tells how to read a part stands there twice, with different values.",
  },
  encoded_multipart: {
    complete: true,
    meaning:
      "A multipart or a mail inside the mail is transfer-encoded as a whole, which the standard forbids.",
  },
  external_body: {
    complete: true,
    meaning: "A part is of type message/external-body: its content lies elsewhere.",
  },
  malformed_base64: {
    complete: true,
    meaning: "A base64 body has characters, padding or lines that mail programs read differently.",
  },
  malformed_encoding: {
    complete: true,
    meaning: "A transfer encoding is written so that some mail programs do not recognise it.",
  },
  malformed_header: {
    complete: true,
    meaning: "A header that tells how to read a part is written so that some mail programs do not see it.",
  },
  malformed_quoted_printable: {
    complete: true,
    meaning: "A quoted-printable body has escapes that mail programs read differently.",
  },
  message_partial: {
    complete: true,
    meaning: "A part is a piece of a larger mail (message/partial); the other pieces are in other mails.",
  },
  missing_boundary: {
    complete: true,
    meaning: "A multipart does not name its boundary; it was guessed from the lines of the mail.",
  },
  missing_closing_boundary: {
    complete: true,
    meaning: "A multipart is not closed.",
  },
  no_header_delimiter: {
    complete: true,
    meaning: "No empty line, or an odd one, stands between the header and the body of a part.",
  },
  nul_bytes: {
    complete: true,
    meaning: "The mail has NUL bytes where only text should be.",
  },
  pseudo_end_of_data: {
    complete: true,
    meaning: "Something that some mail servers take for the end of a mail is followed by another mail.",
  },
  undeclared_parts: {
    complete: true,
    meaning:
      "Lines that look like the beginning of a part belong to no declared boundary; they were read as such.",
  },
  undeclared_encoding: {
    complete: true,
    meaning: "A body is transfer-encoded otherwise than its header says.",
  },
  unknown_encoding: {
    complete: true,
    meaning: "A part names a transfer encoding that is not known; it was guessed from the content.",
  },
  utf7_text: {
    complete: true,
    meaning: "A text is in UTF-7, which can hide markup from programs that do not know it.",
  },
  utf16_mail: {
    complete: true,
    meaning: "The mail itself is in UTF-16.",
  },
  lenient_depth_exceeded: {
    complete: false,
    meaning: "Mails inside the mail lie deeper than the bound; the lenient reading did not follow them.",
  },
  lenient_parts_exceeded: {
    complete: false,
    meaning: "The mail has more parts than the bound; the lenient reading ended there.",
  },
  lenient_bytes_exceeded: {
    complete: false,
    meaning: "The contents are larger than the bound together; the lenient reading left the rest out.",
  },
  lenient_work_exceeded: {
    complete: false,
    meaning: "The mail can be read in more ways than are followed; some were left out.",
  },
  lenient_header_exceeded: {
    complete: false,
    meaning: "A header is longer than the lenient reading follows; the rest of it counts as body.",
  },
  sweep_exceeded: {
    complete: false,
    meaning:
      "The sweep of the raw bytes found more, or larger, contents than the bound; the rest is left out.",
  },
} as const satisfies Record<string, FlagEntry>;

export type ReadingFlag = keyof typeof READING_FLAGS;
