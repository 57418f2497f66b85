/**
 * What extraction gives to triage: the parts of one mail. The shape is the one `scan --json` prints.
 */

/** Facts from the header of the mail. Decoded text, control characters still in: escape at output. */
export type MailFacts = {
  readonly message_id: string | null;
  readonly subject: string | null;
  /** Addresses only, no display names. */
  readonly from: readonly string[];
  readonly to: readonly string[];
  readonly cc: readonly string[];
  /** ISO 8601 of the Date header, null where it is missing or unreadable. */
  readonly date: string | null;
};

/** One attachment, at whatever depth. */
export type Attachment = {
  /** Decoded name as the mail gives it, null where it gives none. Hostile text. */
  readonly filename: string | null;
  readonly sha256: string;
  readonly sha1: string;
  readonly md5: string;
  /** Bytes. */
  readonly size: number;
  /** Media type detected from the content, with the name as a hint ("application/zip"). */
  readonly type: string;
  /** Readings of the mail that found it; "mime" is the strict one. */
  readonly views: readonly string[];
  /** Names of the containers it lies in, outermost first; [] for one directly in the mail. */
  readonly path: readonly string[];
  /** What it lies in directly: a mail as a part of it, an archive, or a document (a PDF, an Office file, a page). */
  readonly within: Container;
  /** What is true of it, each a documented name ("macros", "double_extension"). */
  readonly facts: readonly string[];
  /** The password that opens it, where one of the candidates does; null for all others. */
  readonly password: string | null;
};

export type Container = "mail" | "archive" | "document";

/** One URL of the mail; the same normalized URL appears once. */
export type FoundUrl = {
  /** As written in the mail. */
  readonly url: string;
  /** Normal form for comparing and caching. */
  readonly normalized: string;
  /** Where it stood: "text", "html", "subject", ... */
  readonly sources: readonly string[];
  /** Normal forms of the wrappers (SafeLinks and the like) that carried it; missing where it stood there itself. */
  readonly unwrapped_from?: readonly string[];
  /** The domain that a wrapper names of a target it does not carry. */
  readonly target_domain?: string;
  /** It carries the address of a recipient. */
  readonly personal?: true;
};

/** Who the mail was for, where the mail itself tells: the envelope is then that of a copy only. */
export type OriginalEnvelope = {
  /** "journal": an Exchange journal report; "copy": header lines or the address the copy went to. */
  readonly source: "journal" | "copy";
  /** "" for the null sender; null where it is not told. */
  readonly from: string | null;
  readonly to: readonly string[];
  /** Of a mail that was journaled: equal in all reports of the same mail, hex. */
  readonly identity: string | null;
};

/** The flag of a mail whose sender is on the deny list: given by triage, all others by extraction. */
export const SENDER_DENIED_FLAG = "sender_denied";

export type Extraction = {
  readonly mail: MailFacts;
  readonly envelope: OriginalEnvelope | null;
  readonly attachments: readonly Attachment[];
  readonly urls: readonly FoundUrl[];
  /** Candidate passwords for archives. */
  readonly passwords: readonly string[];
  /** What was odd about the mail, each a documented name; a bound that was hit is one of them. */
  readonly flags: readonly string[];
  /** False where a bound cut the extraction short. */
  readonly complete: boolean;
};
