/** The names that reading Outlook's formats gives to what was odd, and to what is true of the mail. */

import type { FactEntry, FlagEntry } from "../reading.ts";

export const OUTLOOK_FLAGS = {
  tnef_checksum_wrong: {
    complete: true,
    meaning:
      "An attribute of a TNEF stream does not have the checksum that it states; it is read all the same.",
  },
  tnef_truncated: {
    complete: true,
    meaning: "A TNEF stream ends in the middle of an attribute; what there is of it is read.",
  },
  tnef_level_wrong: {
    complete: true,
    meaning: "An attribute of an attachment in a TNEF stream says it belongs to the mail, or the reverse.",
  },
  tnef_garbage: {
    complete: true,
    meaning: "A TNEF stream has bytes that belong to no attribute.",
  },
  tnef_several_streams: {
    complete: true,
    meaning: "Several TNEF streams follow each other in one file; all of them are read.",
  },
  tnef_properties_broken: {
    complete: true,
    meaning: "The properties in an attribute of a TNEF stream end before their count is reached.",
  },
  msg_properties_broken: {
    complete: true,
    meaning: "A part of an Outlook mail file lacks its table of properties, or the table is cut short.",
  },
  rtf_broken: {
    complete: true,
    meaning: "A compressed RTF body has a wrong size, checksum, reference or kind.",
  },
  outlook_body_exceeded: {
    complete: false,
    meaning: "One form of the body of an Outlook mail is larger than 8 MB; the rest is not read.",
  },
  outlook_attachment_elsewhere: {
    complete: true,
    meaning: "An attachment of an Outlook mail is only a reference to a file on a disk, a share or the web.",
  },
  outlook_attachment_empty: {
    complete: true,
    meaning: "An attachment of an Outlook mail is an empty file.",
  },
  outlook_addresses_exceeded: {
    complete: true,
    meaning: "An Outlook mail has more than 1,000 addresses of one kind; the ones after that are not listed.",
  },
  outlook_value_cut: {
    complete: true,
    meaning:
      "A subject, name, address or message id of an Outlook mail is longer than its limit and was cut.",
  },
} as const satisfies Record<string, FlagEntry>;

export const OUTLOOK_FACTS = {
  outlook_signed: { meaning: "An Outlook mail that is signed or encrypted with S/MIME." },
  outlook_meeting: { meaning: "An Outlook appointment, or a request, answer or cancellation of a meeting." },
  outlook_contact: { meaning: "An Outlook contact or distribution list." },
  outlook_ole_object: { meaning: "An Outlook mail with an embedded OLE object." },
  outlook_reminder_file: {
    meaning:
      "An Outlook item whose reminder plays a sound from a network path, which gives away credentials.",
  },
} as const satisfies Record<string, FactEntry>;
