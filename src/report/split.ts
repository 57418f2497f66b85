/**
 * From an event of a mail to events of its single parts.
 *
 * Pure. An event that is made so has the id that its parent and its place give it: sent twice, it is the same.
 */
import { createHash } from "node:crypto";
import type { EventType, SensorEvent } from "./event.ts";

export type PartKind = "attachments" | "urls";

const TYPES: Readonly<Record<PartKind, EventType>> = {
  attachments: "attachment.verdict",
  urls: "url.verdict",
};

/** The event as if it were of one part alone, with its verdict; id and type stay. */
export function ofPart(event: SensorEvent, kind: PartKind, index: number): SensorEvent {
  const part = event[kind]?.[index];
  const { attachments: _, urls: __, flags: ___, truncated: ____, ...rest } = event;
  if (part === undefined) return rest;
  const truncated = truncatedOf(event, kind, index);
  return {
    ...rest,
    verdict: part.verdict,
    complete: part.outcome === "skipped" || (part.verdict !== "not_available" && part.partial !== true),
    reasons: part.reason === null ? [] : [part.reason],
    ...(kind === "attachments"
      ? { attachments: (event.attachments ?? []).slice(index, index + 1) }
      : { urls: (event.urls ?? []).slice(index, index + 1) }),
    ...(truncated.length > 0 && { truncated }),
  };
}

/** One event for each part that was judged or should have been: those of attachments, then those of URLs. */
export function partEvents(event: SensorEvent): readonly SensorEvent[] {
  if (event.type !== "mail.verdict" && event.type !== "verdict.changed") return [];
  // Events of parts have neither: what changed about the part is its previous_verdict.
  const { change: _, mails: __, ...told } = event;
  return (["attachments", "urls"] as const).flatMap((kind) =>
    (event[kind] ?? []).flatMap((part, index) =>
      part.outcome === "skipped" || part.outcome === "pending"
        ? []
        : [{ ...ofPart(told, kind, index), id: partId(event.id, kind, index), type: TYPES[kind] }],
    ),
  );
}

/** Pointers that lead to the mail, or to this part where it is now; the empty one says that cuts are all over. */
function truncatedOf(event: SensorEvent, kind: PartKind, index: number): readonly string[] {
  const was = `/${kind}/${index}/`;
  return (event.truncated ?? []).flatMap((pointer) => {
    if (pointer === "" || pointer.startsWith("/mail")) return [pointer];
    return pointer.startsWith(was) ? [`/${kind}/0/${pointer.slice(was.length)}`] : [];
  });
}

/** A UUIDv7 (RFC 9562) with the time of the parent's and bits that its id and the place give. */
function partId(parent: string, kind: PartKind, index: number): string {
  const bits = createHash("sha256").update(`${parent}/${kind}/${index}`).digest("hex");
  const variant = ((Number.parseInt(bits.slice(3, 4), 16) & 3) | 8).toString(16);
  return `${parent.slice(0, 13)}-7${bits.slice(0, 3)}-${variant}${bits.slice(4, 7)}-${bits.slice(7, 19)}`;
}
