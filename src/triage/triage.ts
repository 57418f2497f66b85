/**
 * Decides what is done with each part of a mail: a pure function of the extraction and the policy.
 *
 * In go an Extraction and `triage` of the configuration, out comes a Plan: attachments first, in the order of
 * the extraction, then URLs. Every decision names its rule and says why. It cannot fail.
 */
import type { Config } from "../config/schema.ts";
import type { TypeGroup } from "../config/sections/triage.ts";
import type { Attachment, Extraction, FoundUrl } from "../extract/extraction.ts";
import { extensionOf } from "../extract/file-type.ts";
import { stripTracking } from "../extract/urls/normal-form.ts";
import { groupOf } from "./groups.ts";
import { type Decision, type Plan, type PlannedArtifact, submits } from "./plan.ts";

export type TriagePolicy = Config["triage"];

const GROUP_NAMES: Readonly<Record<TypeGroup, string>> = {
  documents: "a document",
  scripts: "a script",
  executables: "a program",
  archives: "an archive",
  html: "an HTML page",
  disk_images: "a disk image",
  shortcuts: "a shortcut",
  mails: "a mail, whose parts are listed by themselves",
  images: "an image",
  media: "sound, video or a font",
  text: "plain text",
  other: "of a type that is not known",
};

export function triage(
  extraction: Pick<Extraction, "attachments" | "urls" | "complete">,
  policy: TriagePolicy,
): Plan {
  // Each attachment stands before those inside it: the last one of each depth is what the next ones lie in.
  const around: Decided[] = [];
  const byMember = policy.archives === "members" && extraction.complete;
  const passwords = passwordsInside(extraction.attachments);
  const attachments = extraction.attachments.map((attachment, n): PlannedArtifact => {
    const depth = attachment.path.length;
    const next = extraction.attachments[n + 1];
    const unpacked = next !== undefined && next.within === "archive" && next.path.length > depth;
    const decision =
      decideInside(attachment, around[depth - 1]) ??
      (byMember && unpacked ? BY_MEMBER : decideAttachment(attachment, policy));
    around.splice(depth, around.length, { attachment, decision });
    const password = attachment.password ?? passwords.get(attachment) ?? null;
    return { kind: "attachment", attachment: { ...attachment, password }, decision };
  });
  const asked = policy.strip_tracking ? withoutTracking(extraction.urls, policy) : extraction.urls;
  const urls = asked.map((url): PlannedArtifact => ({ kind: "url", url, decision: decideUrl(url, policy) }));
  return [...attachments, ...urls];
}

type Decided = { readonly attachment: Attachment; readonly decision: Decision };

const WHOLE = "default.in_analysed_file";
const BY_MEMBER: Decision = {
  action: "skip",
  rule: "default.archive_members",
  reason: "The file is an archive whose members are decided by themselves.",
};

/**
 * What lies in an archive or a document is analysed with that, where that is: it is not paid for twice. What needs a
 * password of its own is analysed by itself too: nothing says that VMRay opens what lies deeper.
 */
function decideInside({ within, password }: Attachment, holder: Decided | undefined): Decision | null {
  if (holder === undefined || within === "mail") return null;
  if (password !== null && password !== holder.attachment.password) return null;
  const { action, rule } = holder.decision;
  if (!submits(action) && rule !== WHOLE) return null;
  const reason = `The file lies in ${within === "archive" ? "an archive" : "a document"} that is analysed as a whole.`;
  return { action: "skip", rule: WHOLE, reason };
}

/** For archives and documents that need no password: the first of what lies in them, which VMRay may have use for. */
function passwordsInside(attachments: readonly Attachment[]): ReadonlyMap<Attachment, string> {
  const found = new Map<Attachment, string>();
  const around: Attachment[] = [];
  for (const attachment of attachments) {
    const depth = attachment.path.length;
    around.splice(depth, around.length, attachment);
    const { password } = attachment;
    if (password === null) continue;
    for (let at = depth; at > 0 && around[at]?.within !== "mail"; at--) {
      const holder = around[at - 1];
      if (holder !== undefined && !found.has(holder)) found.set(holder, password);
    }
  }
  return found;
}

/**
 * An empty file is skipped. A group of `triage.analyze` is analysed; larger than `triage.max_size` it is only
 * looked up, since a look-up sends no content. Of the other groups the unknown one is looked up, which costs
 * no analysis; the rest is skipped.
 */
function decideAttachment(attachment: Attachment, policy: TriagePolicy): Decision {
  if (attachment.size === 0) return { action: "skip", rule: "default.empty", reason: "The file is empty." };
  const group = groupOf(attachment.type, extensionOf(attachment.filename));
  const what = `The file is ${GROUP_NAMES[group]} (${attachment.type})`;
  if (policy.analyze.includes(group)) {
    if (attachment.size > policy.max_size) {
      const reason = `${what}, but larger than ${policy.max_size} bytes: it is not sent, only looked up.`;
      return { action: "lookup", rule: "default.max_size", reason };
    }
    return { action: "dynamic", rule: `default.${group}`, reason: `${what}.` };
  }
  if (group === "other") {
    return { action: "lookup", rule: "default.other", reason: `${what}: it is only looked up.` };
  }
  return { action: "skip", rule: `default.${group}`, reason: `${what}: the policy does not analyse these.` };
}

/** URLs that differ in what tracks the reader are one: the first of them, with the sources of all. */
function withoutTracking(urls: readonly FoundUrl[], policy: TriagePolicy): readonly FoundUrl[] {
  const found = new Map<string, FoundUrl>();
  for (const url of urls) {
    const normalized = stripTracking(url.normalized, { parameters: policy.tracking_parameters });
    const known = found.get(normalized);
    const sources = [...new Set([...(known?.sources ?? []), ...url.sources])];
    found.set(normalized, { ...(known ?? url), normalized, sources });
  }
  return [...found.values()];
}

const URL_REASONS: Readonly<Record<TriagePolicy["urls"], string>> = {
  analyse: "URLs are looked up, and analysed where they are not known.",
  lookup: "URLs are only looked up.",
  skip: "The policy does not ask about URLs.",
};

/** Pictures and styles that a page loads, and what stands in comments: no reader opens them. */
const NOT_OPENED = /-(?:resource|comment)$/;

function decideUrl({ sources }: FoundUrl, policy: TriagePolicy): Decision {
  if (sources.every((source) => NOT_OPENED.test(source))) {
    const reason = "The URL is only loaded by a page or stands in a comment: no reader opens it.";
    return { action: "skip", rule: "default.url_not_opened", reason };
  }
  const action = policy.urls === "analyse" ? "reputation" : policy.urls;
  return { action, rule: "default.urls", reason: URL_REASONS[policy.urls] };
}
