/**
 * What several formats say about an event: its worst parts, one sentence, how it ended.
 *
 * Pure. Members of the event may be missing: a destination may have left them out.
 */
import { isIPv4, isIPv6 } from "node:net";
import { VERDICT_ORDER, type Verdict } from "../../verdict/verdict.ts";
import type { VisibleEvent } from "./format.ts";

export type VisibleAttachment = NonNullable<VisibleEvent["attachments"]>[number];
export type VisibleUrl = NonNullable<VisibleEvent["urls"]>[number];
export type VisiblePart = VisibleAttachment | VisibleUrl;

/** Who the events come from, in the formats that ask. */
export const VENDOR = "email-sensor";
export const PRODUCT = "email-sensor";
/** Who judges. */
export const PROVIDER = "VMRay";

export const isUrl = (part: VisiblePart): part is VisibleUrl => "url" in part;

const rank = (part: VisiblePart): number =>
  part.outcome === "skipped" || part.verdict === undefined ? -1 : VERDICT_ORDER.indexOf(part.verdict);

export const isBad = ({ verdict }: { readonly verdict?: Verdict | undefined }): boolean =>
  verdict === "malicious" || verdict === "suspicious";

/** The worst part that was not skipped, the first of several; undefined where there is none. */
export function worstOf<T extends VisiblePart>(parts: readonly T[] | undefined): T | undefined {
  let worst: T | undefined;
  for (const part of parts ?? []) {
    if (rank(part) > (worst === undefined ? -1 : rank(worst))) worst = part;
  }
  return worst;
}

/** The part that speaks for the event: an attachment before a URL that is as bad. */
export function worstPart(event: VisibleEvent): VisiblePart | undefined {
  const [file, url] = [worstOf(event.attachments), worstOf(event.urls)];
  if (file === undefined || url === undefined) return file ?? url;
  return rank(url) > rank(file) ? url : file;
}

export const badParts = ({ attachments = [], urls = [] }: VisibleEvent) => ({
  attachments: attachments.filter(isBad),
  urls: urls.filter(isBad),
});

const NAMES: Readonly<Record<VisibleEvent["type"], string>> = {
  "mail.received": "Mail received",
  "mail.verdict": "Mail judged",
  "mail.failed": "Mail could not be taken apart",
  "attachment.verdict": "Attachment judged",
  "url.verdict": "URL judged",
  "verdict.changed": "Verdict changed",
  "sensor.state": "Sensor state changed",
};

/** One of few fixed names: of the type, with the verdict where the event has one. */
export function nameOf({ type, verdict }: VisibleEvent): string {
  if (verdict === undefined || type === "mail.failed") return NAMES[type];
  return `${NAMES[type]}: ${verdict.replaceAll("_", " ")}`;
}

/** A sentence for people; it may hold text of the mail. */
export function sentenceOf(event: VisibleEvent): string {
  if (event.state !== undefined) return event.state.message ?? event.state.name ?? nameOf(event);
  const why = event.reasons?.[0];
  return why === undefined ? nameOf(event) : `${nameOf(event)}: ${why}`;
}

export type Outcome = "success" | "failure" | "unknown";

/** Whether the sensor did what it is there for: `unknown` where a part could not be judged. */
export function outcomeOf({ type, complete }: VisibleEvent): Outcome {
  if (type === "mail.failed") return "failure";
  return complete === false ? "unknown" : "success";
}

/** 0 to 10. */
export function scoreOf({ type, verdict, complete }: VisibleEvent): number {
  if (type === "mail.failed") return 5;
  switch (verdict) {
    case "malicious":
      return 10;
    case "suspicious":
      return 7;
    case "not_available":
      return 4;
    case "clean":
      return complete === false ? 4 : 1;
    default:
      return type === "sensor.state" ? 3 : 0;
  }
}

/** The extension of a file name without its dot, in lower case; undefined where it has none. */
export function extensionOf(filename: string | null | undefined): string | undefined {
  return /\.([a-z0-9]{1,16})$/i.exec(filename ?? "")?.[1]?.toLowerCase();
}

export type UrlParts = {
  readonly scheme: string;
  readonly domain: string;
  readonly port: number | undefined;
  readonly path: string;
  readonly query: string | undefined;
  readonly fragment: string | undefined;
};

/** The parts of a URL; null where it is none that has a host. */
export function urlParts(url: string | undefined): UrlParts | null {
  const parsed = url === undefined ? null : URL.parse(url);
  if (parsed === null || parsed.hostname === "") return null;
  const { protocol, hostname, port, pathname, search, hash } = parsed;
  return {
    scheme: protocol.slice(0, -1),
    domain: hostname.replace(/^\[(.*)\]$/, "$1"),
    port: port === "" ? undefined : Number(port),
    path: pathname,
    query: search === "" ? undefined : search.slice(1),
    fragment: hash === "" ? undefined : hash.slice(1),
  };
}

export function ipOf(address: string | undefined): { readonly ip: string; readonly version: 4 | 6 } | null {
  if (address === undefined) return null;
  if (isIPv4(address)) return { ip: address, version: 4 };
  return isIPv6(address) ? { ip: address, version: 6 } : null;
}

/** The values without repetition, without undefined and without empty ones. */
export function distinct(values: readonly (string | null | undefined)[]): readonly string[] {
  return [...new Set(values.filter((value): value is string => typeof value === "string" && value !== ""))];
}
