/**
 * Reads delivery reports (RFC 3462, 3464, 6522): what became of a mail, for whom, and which part has that mail.
 *
 * The mail in a report may be a journal report that could not be delivered (the alternate journaling mailbox of
 * Exchange); it is a mail like any other for who takes it apart further. Everything is as true as its sender.
 */
import { addressOf } from "./addresses.ts";
import { type Carrier, fieldOf, type LeafPart, textOf } from "./carrier.ts";
import type { UnwrapFlag } from "./flags.ts";

export type DeliveryRecipient = {
  /** Final-Recipient. */
  readonly address: string;
  /** Original-Recipient, as the sender wrote it (RFC 3461 4.2). */
  readonly original: string | null;
  /** "failed", "delayed", "delivered", "relayed", "expanded"; "" where it is none of these. */
  readonly action: string;
  /** "5.1.1"; "" where it is no status code. */
  readonly status: string;
};

export type DeliveryReport = {
  readonly kind: "report";
  readonly recipients: readonly DeliveryRecipient[];
  /** The part with the mail in question; `complete` where it is all of it, not its header alone. */
  readonly original: { readonly part: number; readonly complete: boolean } | null;
  readonly flags: readonly UnwrapFlag[];
};

export type NoReport = { readonly kind: "not" };

const MAX_TEXT = 1024 * 1024;
const MAX_RECIPIENTS = 1000;
const MAX_FIELD = 2000;

const STATUS_TYPES: ReadonlySet<string> = new Set([
  "message/delivery-status",
  "message/global-delivery-status",
]);
const WHOLE_TYPES: ReadonlySet<string> = new Set(["message/rfc822", "message/global"]);
const HEAD_TYPES: ReadonlySet<string> = new Set([
  "text/rfc822-headers",
  "message/rfc822-headers",
  "message/global-headers",
]);

export function readDeliveryReport({ headers, parts }: Carrier): DeliveryReport | NoReport {
  const status = parts.findIndex(({ declared }) => STATUS_TYPES.has(declared));
  const type = fieldOf(headers, "content-type") ?? "";
  if (status < 0 || !/^multipart\/(?:report|mixed)\b/i.test(type)) return { kind: "not" };
  const flags = new Set<UnwrapFlag>();
  const recipients = readStatus(parts[status], flags);
  if (recipients.length === 0) flags.add("delivery_report_damaged");
  return { kind: "report", recipients, original: findOriginal(parts, status), flags: [...flags] };
}

/** What follows the status; what comes before it only where nothing follows. */
function findOriginal(parts: readonly LeafPart[], status: number): DeliveryReport["original"] {
  const order = [...parts.keys()].sort((a, b) => Number(a < status) - Number(b < status) || a - b);
  for (const types of [WHOLE_TYPES, HEAD_TYPES]) {
    const part = order.find((index) => types.has(parts[index]?.declared ?? ""));
    if (part !== undefined) return { part, complete: types === WHOLE_TYPES };
  }
  return null;
}

function readStatus(part: LeafPart | undefined, flags: Set<UnwrapFlag>): readonly DeliveryRecipient[] {
  if (part === undefined) return [];
  if (part.bytes.length > MAX_TEXT) flags.add("delivery_recipients_exceeded");
  const recipients: DeliveryRecipient[] = [];
  for (const group of groupsOf(textOf({ ...part, bytes: part.bytes.subarray(0, MAX_TEXT) }), flags)) {
    const address = typedAddress(group.get("final-recipient"));
    const original = typedAddress(group.get("original-recipient"));
    const one = address ?? original;
    if (one === null) continue;
    if (recipients.length >= MAX_RECIPIENTS) {
      flags.add("delivery_recipients_exceeded");
      break;
    }
    recipients.push({
      address: one,
      original,
      action:
        /^(?:failed|delayed|delivered|relayed|expanded)\b/i
          .exec(group.get("action") ?? "")?.[0]
          .toLowerCase() ?? "",
      status: /^[245]\.\d{1,3}\.\d{1,3}\b/.exec(group.get("status") ?? "")?.[0] ?? "",
    });
  }
  return recipients;
}

/** Groups of fields between empty lines; the first value of each name (lower case), unfolded, cut. */
function* groupsOf(text: string, flags: Set<UnwrapFlag>): Generator<ReadonlyMap<string, string>> {
  let group = new Map<string, string>();
  let last = "";
  for (let at = 0; at < text.length; ) {
    const next = text.indexOf("\n", at);
    const end = next < 0 ? text.length : next;
    const line = text.slice(at, Math.min(end, at + MAX_FIELD)).trimEnd();
    at = end + 1;
    if (line === "") {
      if (group.size > 0) yield group;
      group = new Map();
      last = "";
    } else if (/^[ \t]/.test(line)) {
      const before = group.get(last);
      if (before !== undefined && before.length < MAX_FIELD) group.set(last, `${before} ${line.trim()}`);
    } else {
      const colon = line.indexOf(":");
      if (colon <= 0) {
        flags.add("delivery_report_damaged");
        continue;
      }
      last = line.slice(0, colon).trim().toLowerCase();
      if (group.has(last)) last = "";
      else group.set(last, line.slice(colon + 1).trim());
    }
  }
  if (group.size > 0) yield group;
}

/** `rfc822; user@example.org`. */
function typedAddress(value: string | undefined): string | null {
  if (value === undefined) return null;
  const [type = "", address = ""] = value.split(";", 2);
  return /^(?:rfc822|utf-8)$/i.test(type.trim()) ? addressOf(address) : null;
}
