/**
 * Makes events out of what the stages know.
 *
 * Pure but for the random part of the ids. Rows of the spool go in, events come out that keep the limits of
 * bounds.ts and the schema in docs/event.schema.json. Nothing of a mail ever becomes a key. Never throws.
 */

import type { FoundUrl } from "../extract/extraction.ts";
import type { ArtifactRow, MailBeside, MailRow } from "../spool/spool.ts";
import { toJsonLine } from "../text.ts";
import { type Judgement, partVerdict, UNDECIDED } from "../verdict/judge.ts";
import { type ContentVerdict, VERDICT_ORDER, type Verdict } from "../verdict/verdict.ts";
import { boundEvent, LIMITS, shrinkEvent } from "./bounds.ts";
import type {
  EventAttachment,
  EventChange,
  EventMail,
  EventPart,
  EventType,
  EventUrl,
  SensorEvent,
} from "./event.ts";

export const EVENT_SCHEMA = "email-sensor/event/1";

/** An event in the outbox has at most this many bytes as JSON. */
export const MAX_EVENT_BYTES = 192 * 1024;

export type SensorIdentity = { readonly id: string; readonly version: string };

/** Events of single parts say who the mail was for with fewer addresses: there may be hundreds of them. */
const PART_LIMITS = { ...LIMITS, recipients: 20, headerAddresses: 20 };

/**
 * The events of a mail that was judged: always one `mail.verdict`, before it those of `wanted` that apply:
 * one `mail.received`, one `attachment.verdict` or `url.verdict` for each part that policy did not skip.
 */
export function composeMailEvents(
  mail: MailRow,
  judgement: Judgement,
  sensor: SensorIdentity,
  wanted: ReadonlySet<EventType>,
  now: number,
): readonly SensorEvent[] {
  const about = eventMail(mail);
  const pending = mail.state === "analysing";
  const verdictEvent = finished({
    ...envelopeOf("mail.verdict", sensor, now),
    mail: about,
    verdict: judgement.verdict,
    complete: judgement.complete,
    reasons: judgement.reasons,
    ...eventParts(mail.artifacts, pending),
    flags: mail.extraction?.flags ?? [],
  });
  const partEvents = composeParts(mail.artifacts, pending, about, sensor, wanted, now);
  const received = wanted.has("mail.received")
    ? [finished({ ...envelopeOf("mail.received", sensor, now), mail: about })]
    : [];
  return [...received, ...partEvents, verdictEvent];
}

/** What is known of a change beside the mail itself. */
export type Change = Pick<EventChange, "id" | "because" | "mails"> & {
  /** Of the mail, as reported before. */
  readonly from: Verdict;
  readonly beside: readonly MailBeside[];
};

/**
 * The events of a mail that was reported and is judged anew: one `verdict.changed` with the parts that changed, before
 * it those of `wanted` for these parts.
 */
export function composeChanged(
  mail: MailRow,
  judgement: Judgement,
  change: Change,
  sensor: SensorIdentity,
  wanted: ReadonlySet<EventType>,
  now: number,
): readonly SensorEvent[] {
  const about = eventMail(mail);
  const pending = mail.state === "analysing";
  const changed = mail.artifacts.filter((artifact) => artifact.was !== undefined);
  const event = finished({
    ...envelopeOf("verdict.changed", sensor, now),
    mail: about,
    verdict: judgement.verdict,
    complete: judgement.complete,
    reasons: judgement.reasons,
    ...eventParts(changed, pending),
    flags: mail.extraction?.flags ?? [],
    change: {
      id: change.id,
      because: change.because,
      from: change.from,
      to: judgement.verdict,
      previous_event_id: mail.reported ?? null,
      mails: change.mails,
    },
    mails: change.beside.map(({ id, messageId, subject, receivedAt, envelope: { from, to } }) => ({
      id,
      message_id: messageId,
      subject,
      received_at: new Date(receivedAt).toISOString(),
      envelope: { from, to },
    })),
  });
  return [...composeParts(changed, pending, about, sensor, wanted, now), event];
}

/** `mail.failed`: the mail could not be taken apart; `error` is the code and the text of the last fault. */
export function composeFailed(
  mail: MailRow,
  error: string,
  sensor: SensorIdentity,
  now: number,
): SensorEvent {
  return finished({
    ...envelopeOf("mail.failed", sensor, now),
    mail: eventMail(mail),
    verdict: "not_available",
    complete: false,
    reasons: [error],
  });
}

/** `sensor.state`: something about the sensor itself changed, like `started` or `analyzer_down`. */
export function composeState(
  name: string,
  message: string,
  sensor: SensorIdentity,
  now: number,
): SensorEvent {
  return finished({ ...envelopeOf("sensor.state", sensor, now), state: { name, message } });
}

function eventParts(artifacts: readonly ArtifactRow[], pending: boolean) {
  return {
    attachments: artifacts.flatMap((part) =>
      part.kind === "attachment" ? [eventAttachment(part, pending)] : [],
    ),
    urls: artifacts.flatMap((part) => (part.kind === "url" ? [eventUrl(part, pending)] : [])),
  };
}

/** The events of single parts that are wanted, worst first; none for what waits or was skipped. */
function composeParts(
  artifacts: readonly ArtifactRow[],
  pending: boolean,
  about: EventMail,
  sensor: SensorIdentity,
  wanted: ReadonlySet<EventType>,
  now: number,
): readonly SensorEvent[] {
  const counted = artifacts.filter(
    ({ verdict }) => (verdict ?? UNDECIDED).outcome !== "skipped" && !(pending && verdict === null),
  );
  const worst = [...counted].sort((a, b) => rank(b) - rank(a));
  const parts = (kind: ArtifactRow["kind"], type: EventType, limit: number) =>
    wanted.has(type) ? worst.filter((artifact) => artifact.kind === kind).slice(0, limit) : [];
  return [
    ...parts("attachment", "attachment.verdict", LIMITS.attachments),
    ...parts("url", "url.verdict", LIMITS.urls),
  ].map((artifact) => composePart(artifact, about, sensor, now));
}

function composePart(
  artifact: ArtifactRow,
  mail: EventMail,
  sensor: SensorIdentity,
  now: number,
): SensorEvent {
  const content = artifact.verdict ?? UNDECIDED;
  const shared = {
    mail,
    verdict: partVerdict(content),
    complete: partVerdict(content) !== "not_available" && content.partial !== true,
    reasons: content.reason === null ? [] : [content.reason],
  };
  const event: SensorEvent =
    artifact.kind === "attachment"
      ? {
          ...envelopeOf("attachment.verdict", sensor, now),
          ...shared,
          attachments: [eventAttachment(artifact, false)],
        }
      : { ...envelopeOf("url.verdict", sensor, now), ...shared, urls: [eventUrl(artifact, false)] };
  return finished(event, PART_LIMITS);
}

function envelopeOf(type: EventType, sensor: SensorIdentity, now: number) {
  return {
    schema: EVENT_SCHEMA,
    id: Bun.randomUUIDv7("hex", now),
    type,
    time: new Date(now).toISOString(),
    sensor: { id: sensor.id, version: sensor.version },
  };
}

function finished(event: SensorEvent, limits = LIMITS): SensorEvent {
  return shrinkEvent(boundEvent(event, limits), MAX_EVENT_BYTES, toJsonLine).event;
}

function eventMail(mail: MailRow): EventMail {
  const facts = mail.extraction?.mail;
  const { from, to, client_ip, helo, tls } = mail.envelope;
  return {
    id: mail.sameAs ?? mail.id,
    message_id: facts?.message_id ?? null,
    received_at: new Date(mail.receivedAt).toISOString(),
    envelope: { from, to, client_ip, helo, tls },
    from: facts?.from ?? [],
    to: facts?.to ?? [],
    cc: facts?.cc ?? [],
    subject: facts?.subject ?? null,
    size: mail.size,
    sha256: mail.sha256,
  };
}

function eventAttachment(
  artifact: Extract<ArtifactRow, { kind: "attachment" }>,
  pending: boolean,
): EventAttachment {
  const { filename, sha256, sha1, md5, size, type, path, facts } = artifact.attachment;
  return { filename, sha256, sha1, md5, size, type, path, facts, ...judgedPart(artifact, pending) };
}

function eventUrl(artifact: ArtifactRow & { readonly url: FoundUrl }, pending: boolean): EventUrl {
  const { url, sources, unwrapped_from } = artifact.url;
  return { url, sources, ...(unwrapped_from && { unwrapped_from }), ...judgedPart(artifact, pending) };
}

function judgedPart(artifact: ArtifactRow, pending: boolean): EventPart {
  const waits = pending && artifact.verdict === null;
  const content: ContentVerdict = artifact.verdict ?? UNDECIDED;
  const { vmray, evidence, cost, analyzer } = content;
  const { action, rule } = artifact.decision;
  return {
    outcome: waits ? "pending" : content.outcome,
    verdict: partVerdict(content),
    ...(artifact.was !== undefined && { previous_verdict: artifact.was }),
    ...(content.partial && { partial: content.partial }),
    reason: waits ? "it is still being analysed" : content.reason,
    threat_names: content.threat_names,
    vmray: vmray && { sample_id: vmray.sample_id, submission_id: vmray.submission_id, url: vmray.url },
    action,
    rule,
    ...evidence,
    ...(cost && { cost }),
    ...(analyzer !== undefined && { analyzer }),
  };
}

function rank(artifact: ArtifactRow): number {
  return VERDICT_ORDER.indexOf(partVerdict(artifact.verdict ?? UNDECIDED));
}
