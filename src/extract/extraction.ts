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
  /** Bytes. */
  readonly size: number;
  /** Media type detected from the content, with the name as a hint ("application/zip"). */
  readonly type: string;
  /** Readings of the mail that found it; "mime" is the strict one. */
  readonly views: readonly string[];
  /** Names of the containers it lies in, outermost first; [] for one directly in the mail. */
  readonly path: readonly string[];
};

/** One URL of the mail; the same normalized URL appears once. */
export type FoundUrl = {
  /** As written in the mail. */
  readonly url: string;
  /** Normal form for comparing and caching. */
  readonly normalized: string;
  /** Where it stood: "text", "html", "subject", ... */
  readonly sources: readonly string[];
};

export type Extraction = {
  readonly mail: MailFacts;
  readonly attachments: readonly Attachment[];
  readonly urls: readonly FoundUrl[];
  /** Candidate passwords for archives. */
  readonly passwords: readonly string[];
  /** What was odd about the mail, each a documented name; a bound that was hit is one of them. */
  readonly flags: readonly string[];
  /** False where a bound cut the extraction short. */
  readonly complete: boolean;
};
