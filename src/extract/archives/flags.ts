/**
 * The names the reader of archives gives to what it did not read in full or what was odd, and to what is true of
 * an archive. They stand in `flags` and `facts` of a Reading.
 */
import type { FactEntry, FlagEntry, ReaderFact } from "../reading.ts";

export const ARCHIVE_FLAGS = {
  archive_encrypted: {
    complete: false,
    meaning: "Members of an archive are encrypted, and no candidate password opened them.",
  },
  archive_passwords_exceeded: {
    complete: false,
    meaning: "The time for trying passwords ended before all candidates were tried.",
  },
  archive_ratio_exceeded: {
    complete: false,
    meaning: "An archive unpacks to more than the allowed multiple of its size; the rest is not read.",
  },
  archive_members_exceeded: {
    complete: false,
    meaning: "An archive has more members than the bound; the ones after that are not read.",
  },
  archive_too_slow: {
    complete: false,
    meaning: "The time for an archive ended before it was unpacked.",
  },
  archive_too_costly: {
    complete: false,
    meaning: "An archive asks for more memory, or more rounds for a password, than is spent on one.",
  },
  archive_member_cut: {
    complete: false,
    meaning: "Of a member that is larger than what may still be unpacked only the beginning is given.",
  },
  archive_damaged: {
    complete: false,
    meaning: "An archive is broken, cut off, or has wrong checksums; what could be read is given.",
  },
  archive_unreadable: {
    complete: false,
    meaning: "Nothing of an archive could be read, not even its list of members.",
  },
  archive_method_unknown: {
    complete: false,
    meaning: "A member is packed by a method that is not known here.",
  },
  archive_volumes: {
    complete: false,
    meaning: "An archive is one of several volumes; what lies in the others is missing.",
  },
  archive_ambiguous: {
    complete: true,
    meaning: "Programs can read different members, names or contents in an archive; each reading is given.",
  },
  archive_overlap: {
    complete: true,
    meaning: "Members of an archive share bytes, as in bombs.",
  },
  archive_data_around: {
    complete: true,
    meaning:
      "There is other data before or after an archive; what follows it is given as a content of its own.",
  },
  archive_hostile_name: {
    complete: true,
    meaning: "The name of a member is absolute, leaves the folder it is unpacked to, or has a NUL in it.",
  },
} as const satisfies Record<string, FlagEntry>;

export const ARCHIVE_FACTS = {
  encrypted_names: { meaning: "The list of members of an archive is encrypted, too." },
  sparse: { meaning: "An archive has members with holes, which are given as they are packed." },
} as const satisfies Record<string, FactEntry>;

export type ArchiveFact = keyof typeof ARCHIVE_FACTS | ReaderFact;
