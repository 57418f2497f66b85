/**
 * The event: what destinations receive. Field names are the public schema (docs/event.schema.json).
 */
import type { MailFacts } from "../extract/extraction.ts";
import type { Envelope } from "../intake/mail.ts";
import type { ChangeCause } from "../spool/spool.ts";
import type { Action } from "../triage/plan.ts";
import {
  atLeast,
  type ContentVerdict,
  type Cost,
  type Indicator,
  type Iocs,
  type Technique,
  type Verdict,
  type VmrayReference,
} from "../verdict/verdict.ts";

export const EVENT_TYPES = [
  "mail.received",
  "mail.verdict",
  "mail.failed",
  "attachment.verdict",
  "url.verdict",
  "verdict.changed",
  "sensor.state",
] as const;
export type EventType = (typeof EVENT_TYPES)[number];

export type EventMail = Omit<MailFacts, "date"> & {
  readonly id: string;
  /** ISO 8601, UTC. */
  readonly received_at: string;
  readonly envelope: Envelope;
  readonly size: number;
  readonly sha256: string;
};

/** `pending`: it is still being analysed; a verdict.changed event follows. */
export type Outcome = ContentVerdict["outcome"] | "pending";

/** What both kinds of parts have. */
export type EventPart = {
  /** Tells a part that policy left out from one whose analysis failed: both are not_available. */
  readonly outcome: Outcome;
  readonly verdict: Verdict;
  /** On verdict.changed: what was reported before. */
  readonly previous_verdict?: Verdict;
  /** Less was analysed than policy wants, `reason` says why. */
  readonly partial?: true;
  readonly reason: string | null;
  readonly threat_names: readonly string[];
  readonly vmray: VmrayReference | null;
  /** What policy wanted, and its rule. Missing in events of older releases. */
  readonly action?: Action;
  readonly rule?: string;
  /** Of a malicious or suspicious verdict of VMRay. */
  readonly classifications?: readonly string[];
  readonly indicators?: readonly Indicator[];
  readonly techniques?: readonly Technique[];
  readonly iocs?: Iocs;
  /** Missing where no call was made. */
  readonly cost?: Cost;
  /** Missing where one analyzer alone is configured. */
  readonly analyzer?: string;
};

export type EventAttachment = EventPart & {
  readonly filename: string | null;
  readonly sha256: string;
  readonly sha1: string;
  readonly md5: string;
  readonly size: number;
  readonly type: string;
  /** Names of the containers it lies in, outermost first. */
  readonly path: readonly string[];
  readonly facts: readonly string[];
};

export type EventUrl = EventPart & {
  readonly url: string;
  readonly sources: readonly string[];
  /** Missing where it stood there itself. */
  readonly unwrapped_from?: readonly string[];
};

/** What changed about the verdict of a mail. */
export type EventChange = {
  /** UUIDv7; the same in the events of all mails that one change concerns. */
  readonly id: string;
  readonly because: ChangeCause;
  /** Of the mail. */
  readonly from: Verdict;
  readonly to: Verdict;
  /** Of the event that this one takes the place of. */
  readonly previous_event_id: string | null;
  /** Mails that have one of the changed parts, this one among them; of a deny list, those that the entry concerns. */
  readonly mails: number;
};

/** Another mail with a changed part. */
export type EventMailBeside = Pick<EventMail, "id" | "message_id" | "subject" | "received_at"> & {
  readonly envelope: Pick<Envelope, "from" | "to">;
};

export type SensorEvent = {
  readonly schema: string;
  /** UUIDv7; the same event sent twice has the same id. */
  readonly id: string;
  readonly type: EventType;
  /** ISO 8601, UTC. */
  readonly time: string;
  readonly sensor: { readonly id: string; readonly version: string };
  /** Present on all types but sensor.state. */
  readonly mail?: EventMail;
  readonly verdict?: Verdict;
  /** False where a part of the mail could not be judged. */
  readonly complete?: boolean;
  readonly reasons?: readonly string[];
  readonly attachments?: readonly EventAttachment[];
  readonly urls?: readonly EventUrl[];
  readonly flags?: readonly string[];
  /** On verdict.changed; `attachments` and `urls` are then those that changed. */
  readonly change?: EventChange;
  /** On verdict.changed: other mails with a changed part, or concerned by the same entry of a deny list, newest first. Each has an event of its own. */
  readonly mails?: readonly EventMailBeside[];
  /** On sensor.state: what changed. */
  readonly state?: { readonly name: string; readonly message: string };
  /** JSON pointers of values that were cut to fit a limit. */
  readonly truncated?: readonly string[];
};

/**
 * Whether the verdict of an event is `least` or worse, or takes the place of one that was: whoever was told that a mail
 * is malicious is told as well that it is not. Events without a verdict concern everybody, and so does `mail.failed`.
 */
export function concerns({ type, verdict, change, attachments, urls }: SensorEvent, least: Verdict): boolean {
  if (type === "mail.failed" || verdict === undefined) return true;
  const part = type === "mail.verdict" || type === "verdict.changed" ? undefined : (attachments ?? urls)?.[0];
  return [verdict, change?.from, part?.previous_verdict].some(
    (one) => one !== undefined && atLeast(one, least),
  );
}
