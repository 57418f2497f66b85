/**
 * Decides what is done with each part of a mail: a pure function of the mail, the policy and the lists.
 *
 * Out comes a Plan: attachments first, in the order of the extraction, then URLs; and the list entry about its sender.
 * Every decision names its rule and says why. In this order: an empty file, the deny list, the allow list, the first
 * rule of the configuration that matches (a URL of an internal host: that names hosts), the defaults; then what lies in
 * a container that is analysed as a whole is not paid for twice, and of a listed sender nothing is submitted. It
 * cannot fail.
 */
import type { TypeGroup } from "../config/sections/rules.ts";
import {
  type Attachment,
  type Extraction,
  type FoundUrl,
  SENDER_DENIED_FLAG,
} from "../extract/extraction.ts";
import { stripTracking } from "../extract/urls/normal-form.ts";
import { withParents } from "./hosts.ts";
import { entryText, type ListEntry, type Lists } from "./lists.ts";
import {
  type Action,
  type Decision,
  IN_ANALYSED_FILE,
  type Plan,
  type PlannedArtifact,
  type PlannedUrl,
  type SenderHit,
  submits,
} from "./plan.ts";
import {
  type AttachmentView,
  attachmentView,
  mailView,
  type Policy,
  type PolicyRule,
  type TriagedMail,
  type TriageSettings,
  type UrlView,
  urlView,
} from "./policy.ts";
import { carriesOther, showsUserContent } from "./user-content.ts";

export type Triaged = {
  readonly plan: Plan;
  /** Null where no list says anything about the sender. */
  readonly sender: SenderHit | null;
};

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

export function triage(mail: TriagedMail, policy: Policy, lists: Lists): Triaged {
  const sender = senderHit(mail, lists);
  const { flags, ...about } = mailView(mail, policy);
  const view = { ...about, flags: sender?.list === "deny" ? [...flags, SENDER_DENIED_FLAG] : flags };
  const rules = policy.rules.filter((rule) => rule.matchesMail(view));
  const attachments = planAttachments(mail.extraction, policy.settings, rules, lists, sender);
  const urls = askedUrls(mail.extraction.urls, policy.settings).map((url): PlannedArtifact => {
    const decision = byList(lists.matchUrl(url)) ?? decideUrl(urlView(url), policy, rules);
    return { kind: "url", url, decision: ofListedSender(decision, sender) };
  });
  return { plan: [...attachments, ...urls], sender };
}

// ---- lists

/**
 * Denied where the envelope sender or an address of From is. Allowed where all of them are: each alone is what its
 * sender writes.
 */
function senderHit({ extraction, envelope }: TriagedMail, lists: Lists): SenderHit | null {
  const from = extraction.envelope?.from ?? envelope.from;
  const hits = [from, ...extraction.mail.from].map((address) => ({
    address,
    entry: lists.matchSender(address),
  }));
  const denied = hits.find(({ entry }) => entry?.list === "deny");
  const known = extraction.mail.from.length > 0 && !extraction.flags.includes("addresses_exceeded");
  const allowed = known && hits.every(({ entry }) => entry !== null) ? hits[0] : undefined;
  const { address, entry } = denied ?? allowed ?? {};
  if (address === undefined || entry === undefined || entry === null) return null;
  return { list: entry.list, address, entry: entryText(entry) };
}

/** A listed sender's parts are worth a look-up alone. */
function ofListedSender(decision: Decision, sender: SenderHit | null): Decision {
  if (sender === null || !submits(decision.action)) return decision;
  const reason =
    sender.list === "deny"
      ? "The sender is on the deny list, which makes the mail malicious: its parts are only looked up."
      : "The sender is on the allow list: parts of the mail are only looked up.";
  const { parameters: _none, ...kept } = decision;
  return { ...kept, action: "lookup", rule: `list.${sender.list}_sender`, reason };
}

function byList(entry: ListEntry | null): Decision | null {
  if (entry === null) return null;
  const { list, kind } = entry;
  return {
    action: "skip",
    rule: `list.${list}_${kind}`,
    reason: `on the ${list} list ${entryText(entry)}`,
    list,
  };
}

// ---- rules

function byRule(rule: PolicyRule, fallback: () => Decision): Decision {
  const { name, action, priority, analyzer, parameters } = rule;
  const base = action === null ? fallback() : { action, reason: `The rule "${name}" matches.` };
  return {
    action: base.action,
    rule: name,
    reason:
      action === null
        ? `The rule "${name}" matches and leaves the action to the defaults. ${base.reason}`
        : base.reason,
    ...(priority === null ? {} : { priority }),
    ...(analyzer === null ? {} : { analyzer }),
    ...(parameters === null ? {} : { parameters }),
  };
}

// ---- attachments

function planAttachments(
  { attachments, complete }: Pick<Extraction, "attachments" | "complete">,
  settings: TriageSettings,
  rules: readonly PolicyRule[],
  lists: Lists,
  sender: SenderHit | null,
): readonly PlannedArtifact[] {
  // Each attachment stands before those inside it: the last one of each depth is what the next ones lie in.
  const around: Decided[] = [];
  const byMember = settings.archives === "members" && complete;
  const passwords = passwordsInside(attachments);
  const ofKind = rules.filter(({ kind }) => kind !== "url");
  return attachments.map((attachment, n): PlannedArtifact => {
    const depth = attachment.path.length;
    const next = attachments[n + 1];
    const unpacked = next !== undefined && next.within === "archive" && next.path.length > depth;
    const view = attachmentView(attachment);
    const decide = (): Decision => {
      const rule = ofKind.find((one) => one.matchesAttachment(view));
      const fallback = () => (byMember && unpacked ? BY_MEMBER : byDefault(view, settings));
      const decided = rule === undefined ? fallback() : byRule(rule, fallback);
      const sent = submits(decided.action) && attachment.size > settings.max_size;
      return ofListedSender(sent ? tooLarge(decided, view, settings) : decided, sender);
    };
    const listed = attachment.size === 0 ? EMPTY : byList(lists.matchAttachment(attachment));
    const holder = around[depth - 1];
    const decision = listed ?? decideInside(attachment, holder, decide);
    const covers =
      decision.rule === IN_ANALYSED_FILE ? (holder?.covers ?? []) : (COVERED[decision.action] ?? []);
    around.splice(depth, around.length, { attachment, decision, covers });
    const password = attachment.password ?? passwords.get(attachment) ?? null;
    return { kind: "attachment", attachment: { ...attachment, password }, decision };
  });
}

type Decided = {
  readonly attachment: Attachment;
  readonly decision: Decision;
  /** What is no longer wanted of the files in it. */
  readonly covers: readonly Action[];
};

const LISTED = "default.in_listed_file";
const EMPTY: Decision = { action: "skip", rule: "default.empty", reason: "The file is empty." };
const BY_MEMBER: Decision = {
  action: "skip",
  rule: "default.archive_members",
  reason: "The file is an archive whose members are decided by themselves.",
};

/** What is no longer wanted of the files in a container after an action that looks into it. */
const COVERED: Readonly<Partial<Record<Action, readonly Action[]>>> = {
  static: ["skip", "lookup", "reputation", "static"],
  dynamic: ["skip", "lookup", "reputation", "static", "dynamic"],
};

/**
 * What lies in an archive or a document is analysed with that, where that is: it is not paid for twice. What needs a
 * password of its own is analysed by itself too: nothing says that VMRay opens what lies deeper.
 */
function decideInside(
  { within, password }: Attachment,
  holder: Decided | undefined,
  decide: () => Decision,
): Decision {
  const own = decide();
  if (holder === undefined || within === "mail") return own;
  const place = within === "archive" ? "an archive" : "a document";
  const { rule, list } = holder.decision;
  if (list !== undefined || rule === LISTED) {
    return { action: "skip", rule: LISTED, reason: `The file lies in ${place} that is on a list.` };
  }
  if (password !== null && password !== holder.attachment.password) return own;
  if (!holder.covers.includes(own.action)) return own;
  return {
    action: "skip",
    rule: IN_ANALYSED_FILE,
    reason: `The file lies in ${place} that is analysed as a whole.`,
  };
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
 * A group of `triage.analyze` is analysed. Of the other groups the unknown one is looked up, which costs no analysis;
 * the rest is skipped.
 */
function byDefault({ attachment, group }: AttachmentView, settings: TriageSettings): Decision {
  const what = `The file is ${GROUP_NAMES[group]} (${attachment.type})`;
  if (settings.analyze.includes(group)) {
    return { action: "dynamic", rule: `default.${group}`, reason: `${what}.` };
  }
  if (group === "other") {
    return { action: "lookup", rule: "default.other", reason: `${what}: it is only looked up.` };
  }
  return { action: "skip", rule: `default.${group}`, reason: `${what}: the policy does not analyse these.` };
}

/** Larger than `triage.max_size` it is only looked up, whatever the rule: a look-up sends no content. */
function tooLarge(
  decided: Decision,
  { attachment, group }: AttachmentView,
  settings: TriageSettings,
): Decision {
  const { parameters: _none, ...kept } = decided;
  const what = `The file is ${GROUP_NAMES[group]} (${attachment.type})`;
  const reason = `${what}, but larger than ${settings.max_size} bytes: it is not sent, only looked up.`;
  return { ...kept, action: "lookup", rule: "default.max_size", reason };
}

// ---- URLs

/**
 * URLs as VMRay is asked about them. Those that differ in what tracks the reader are one where the policy says so: the
 * first of them, with the sources and the wrappers of all.
 */
function askedUrls(
  urls: readonly FoundUrl[],
  { strip_tracking, tracking_parameters }: TriageSettings,
): readonly PlannedUrl[] {
  if (!strip_tracking) return urls;
  const found = new Map<string, PlannedUrl>();
  for (const written of urls) {
    const normalized = stripTracking(written.normalized, { parameters: tracking_parameters });
    const stripped = normalized === written.normalized ? [] : [written.normalized];
    const known = found.get(normalized);
    const unwrapped_from = union(known?.unwrapped_from, written.unwrapped_from);
    const stripped_from = union(known?.stripped_from, stripped);
    found.set(normalized, {
      ...written,
      ...known,
      normalized,
      sources: union(known?.sources, written.sources),
      ...(unwrapped_from.length > 0 && { unwrapped_from }),
      ...(stripped_from.length > 0 && { stripped_from }),
    });
  }
  return [...found.values()];
}

function union(some: readonly string[] = [], others: readonly string[] = []): readonly string[] {
  return [...new Set([...some, ...others])];
}

const URL_REASONS: Readonly<Record<TriageSettings["urls"], string>> = {
  analyse: "URLs are looked up, and analysed where they are not known.",
  lookup: "URLs are only looked up.",
  skip: "The policy does not ask about URLs.",
};

/** Pictures and styles that a page loads, and what stands in comments: no reader opens them. */
const NOT_OPENED = /-(?:resource|comment)$/;

function decideUrl(view: UrlView, policy: Policy, rules: readonly PolicyRule[]): Decision {
  const internal =
    policy.isInternal(view.names) && !leadsOn(view.url, (host) => isInternalHost(host, policy));
  const rule = rules.find(
    ({ kind, namesHost, matchesUrl }) =>
      kind !== "attachment" && (namesHost || !internal) && matchesUrl(view),
  );
  if (rule === undefined && internal) return INTERNAL;
  return rule === undefined ? urlByDefault(view, policy) : byRule(rule, () => urlByDefault(view, policy));
}

const INTERNAL: Decision = {
  action: "skip",
  rule: "default.internal_domain",
  reason: "The URL is one of the organisation's own hosts.",
};

/** A redirector leads wherever its writer wants. */
function leadsOn({ normalized, target_domain }: FoundUrl, isHarmless: (host: string) => boolean): boolean {
  return target_domain !== undefined || carriesOther(normalized, isHarmless);
}

function isInternalHost(host: string, { isInternal }: Policy): boolean {
  return isInternal(withParents(host));
}

function urlByDefault({ url, names }: UrlView, { settings, popular }: Policy): Decision {
  const skip = (rule: string, reason: string): Decision => ({ action: "skip", rule, reason });
  if (url.sources.every((source) => NOT_OPENED.test(source))) {
    return skip(
      "default.url_not_opened",
      "The URL is only loaded by a page or stands in a comment: no reader opens it.",
    );
  }
  if (popular?.has(names) === true && !showsUserContent(names) && !leadsOn(url, () => false)) {
    return skip("default.popular_domain", "The URL is of one of the most visited domains.");
  }
  const action = settings.urls === "analyse" ? "reputation" : settings.urls;
  return { action, rule: "default.urls", reason: URL_REASONS[settings.urls] };
}
