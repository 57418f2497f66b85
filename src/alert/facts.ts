/**
 * What an alert says: the variables of its templates, made from an event.
 *
 * Pure. Every text of a mail is one line, bounded and defanged here, so that a template cannot forget it; escaping for
 * HTML is the template engine's. Field names are those of the event (docs/events.md) where there is one.
 */
import { SensorError } from "../errors.ts";
import { SENDER_DENIED_FLAG } from "../extract/extraction.ts";
import { boundEvent, LIMITS, shrinkEvent } from "../report/bounds.ts";
import type { EventAttachment, EventPart, EventUrl, SensorEvent } from "../report/event.ts";
import type { ChangeCause } from "../spool/spool.ts";
import { cutMiddle, showText, toJsonLine } from "../text.ts";
import { atLeast, VERDICT_ORDER, type Verdict } from "../verdict/verdict.ts";
import { showDefanged } from "./defang.ts";
import { addressKey } from "./recipients.ts";
import {
  type Badness,
  type Before,
  type Found,
  foremost,
  type Language,
  WORDS,
  type Words,
} from "./words.ts";

/** What an alert can be about: bad parts of a mail, or its sender, where that is on the deny list. */
export const PART_KINDS = ["attachment", "url", "sender"] as const;
export type PartKind = (typeof PART_KINDS)[number];

export const AUDIENCES = ["user", "analyst"] as const;
export type Audience = (typeof AUDIENCES)[number];

/** Parts of each kind that are shown. */
export const MAX_PARTS = 10;
export const MAX_RECIPIENTS_SHOWN = 20;
/** Recipients of a campaign that are told apart. */
export const MAX_RECIPIENTS_KNOWN = 200;
const MAX_LINK = 1000;
/** An event is kept for its alert with at most this many bytes as JSON. */
const MAX_KEPT_BYTES = 24 * 1024;
const KEPT_LIMITS = {
  ...LIMITS,
  recipients: MAX_RECIPIENTS_SHOWN,
  headerAddresses: 5,
  attachments: MAX_PARTS,
  urls: MAX_PARTS,
};

export type Alerting = {
  readonly attachments: readonly EventAttachment[];
  readonly urls: readonly EventUrl[];
  readonly sender: boolean;
};

/**
 * What of an event is as bad as `minimum` or worse, of the kinds asked for. Of a changed verdict only what became
 * worse: the rest was told before, or is good news. A sender that was denied after delivery changes no part.
 */
export function alertingParts(event: SensorEvent, minimum: Verdict, kinds: readonly PartKind[]): Alerting {
  const changed = event.type === "verdict.changed";
  const bad = ({ verdict, previous_verdict: before }: EventPart) =>
    atLeast(verdict, minimum) && !(changed && before !== undefined && atLeast(before, verdict));
  const parts = (event.attachments?.length ?? 0) + (event.urls?.length ?? 0);
  const senderIsNew = !changed || (event.change?.because === "list" && parts === 0);
  const denied = senderIsNew && event.flags?.includes(SENDER_DENIED_FLAG) === true;
  return {
    attachments: kinds.includes("attachment") ? (event.attachments ?? []).filter(bad) : [],
    urls: kinds.includes("url") ? (event.urls ?? []).filter(bad) : [],
    sender: kinds.includes("sender") && denied,
  };
}

type PartCounts = { readonly attachments: number; readonly urls: number };

/** An event as far as alerts speak of it: only the parts they are about, worst first, and few of everything. */
export type KeptEvent = SensorEvent & {
  /** How many parts it had that alerts are about, shown or not. */
  readonly counts: PartCounts & {
    /** Of them, those that are only suspicious; absent in notes of older releases. */
    readonly suspicious?: PartCounts;
  };
  /** True where its denied sender is something the alert is about. */
  readonly denied?: boolean;
};

export function keepEvent(event: SensorEvent, minimum: Verdict, kinds: readonly PartKind[]): KeptEvent {
  const { attachments, urls, sender } = alertingParts(event, minimum, kinds);
  const worstFirst = <T extends { readonly verdict: Verdict }>(parts: readonly T[]) =>
    parts.toSorted((a, b) => VERDICT_ORDER.indexOf(b.verdict) - VERDICT_ORDER.indexOf(a.verdict));
  const own = { ...event, attachments: worstFirst(attachments), urls: worstFirst(urls) };
  const kept = shrinkEvent(boundEvent(own, KEPT_LIMITS), MAX_KEPT_BYTES, toJsonLine).event;
  const suspicious = { attachments: countSuspicious(attachments), urls: countSuspicious(urls) };
  return {
    ...kept,
    counts: { attachments: attachments.length, urls: urls.length, suspicious },
    denied: sender,
  };
}

export type PartFacts = {
  readonly verdict: Verdict;
  readonly verdict_word: string;
  readonly reason: string | null;
  readonly threat_names: readonly string[];
  readonly classifications: readonly string[];
  /** What VMRay saw it do, worst first; `score` is 1 to 5. */
  readonly indicators: readonly {
    readonly score: number;
    readonly category: string;
    readonly operation: string;
  }[];
  /** Of MITRE ATT&CK. */
  readonly techniques: readonly { readonly id: string; readonly name: string }[];
  /** The rule of policy that wanted the analysis; null in events of older releases. */
  readonly rule: string | null;
  /** Page of VMRay; the one thing in an alert that may be a link. Null where it is not plainly a web address. */
  readonly report: string | null;
};

export type AttachmentFacts = PartFacts & {
  /** Null where it has none. */
  readonly filename: string | null;
  /** What it lay in, outermost first. */
  readonly path: readonly string[];
  readonly type: string;
  /** Bytes. */
  readonly size: number;
  /** "68 bytes", "1.2 MB". */
  readonly size_text: string;
  readonly sha256: string;
  readonly sha1: string;
  readonly md5: string;
};

export type UrlFacts = PartFacts & { readonly url: string };

/** How a verdict came to change. */
export type ChangeFacts = {
  readonly because: ChangeCause;
  readonly because_text: string;
  /** Of the mail, as it was reported before. */
  readonly from: Verdict;
  readonly from_word: string;
  /** Mails that the change concerns, each with an event of its own. */
  readonly mails: number;
  readonly mails_text: string;
};

/** The mail, as alerts show it. */
export type MailShown = {
  readonly id: string;
  readonly subject: string | null;
  readonly from: readonly string[];
  readonly envelope: { readonly from: string; readonly to: readonly string[] };
  /** ISO 8601, UTC. */
  readonly received_at: string;
  /** The same in the language and time zone of the alert. */
  readonly received: string;
  readonly message_id: string | null;
};

export type DigestRow = {
  readonly mail: MailShown;
  /** True where it was found after delivery. */
  readonly changed: boolean;
  readonly sender_denied: boolean;
  readonly verdict: Verdict;
  readonly verdict_word: string;
  /** Names of bad attachments and bad URLs, a few. */
  readonly found: readonly string[];
  readonly threat_names: readonly string[];
  /** Mails with the same content, this one included. */
  readonly mails: number;
  readonly mails_text: string;
  /** Of the worst part that has one. */
  readonly report: string | null;
};

export type AlertFacts = {
  /** Of the event; of a digest, of its last one. */
  readonly id: string;
  readonly type: string;
  readonly verdict: "malicious" | "suspicious";
  readonly verdict_word: string;
  readonly mail: MailShown;
  readonly attachments: readonly AttachmentFacts[];
  readonly urls: readonly UrlFacts[];
  /** Parts beyond those listed. */
  readonly more_attachments: number;
  readonly more_urls: number;
  readonly more_text: string | null;
  /** True where the reader is a recipient of the mail. */
  readonly yours: boolean;
  /** True where the verdict came after an earlier, better one. */
  readonly changed: boolean;
  /** How it came to that; null where it did not. */
  readonly change: ChangeFacts | null;
  /** True where the alert is about a sender on the deny list. */
  readonly sender_denied: boolean;
  /** The entry of the list, a sentence; null where there is none. */
  readonly sender_reason: string | null;
  /** Mails and recipients of the campaign so far. */
  readonly mails: number;
  readonly recipients: readonly string[];
  readonly more_recipients: number;
  readonly mails_text: string;
  readonly recipients_text: string;
  readonly left_out: number;
  readonly left_out_text: string | null;
  readonly headline: string;
  readonly delivered: string;
  readonly changed_text: string | null;
  /** A sentence about the sender, where the headline is about something else. */
  readonly sender_text: string | null;
  readonly advice: readonly string[];
  readonly contact: string;
  /** True where the configuration names whom to ask. */
  readonly contact_given: boolean;
  readonly footer: string;
  readonly sensor: string;
  readonly language: Language;
  readonly audience: Audience;
  /** True where `cid:logo` is an image of this mail. */
  readonly logo: boolean;
  readonly words: Words["labels"];
  /** Only of a digest. */
  readonly rows: readonly DigestRow[];
  readonly more_rows: number;
  readonly more_rows_text: string | null;
};

/** One line of a digest, or the one content of an alert. */
export type AlertRow = {
  readonly event: KeptEvent;
  /** Mails with the same content. */
  readonly mails: number;
};

/** How an alert is written, from the configuration. */
export type Manner = {
  readonly language: Language;
  readonly timeZone: string;
  readonly contact: string | null;
  readonly sensor: string;
  readonly logo: boolean;
};

export function alertFacts(options: {
  /** At least one; more only in a digest. */
  readonly rows: readonly AlertRow[];
  /** Null for an alert, all mails of a digest, listed or not. */
  readonly digest: number | null;
  readonly manner: Manner;
  readonly audience: Audience;
  /** True where the reader is a recipient of the mail. */
  readonly yours: boolean;
  /** Of all mails together, each once. */
  readonly recipients: readonly string[];
  /** Alerts to this recipient that a limit held back for this digest. */
  readonly leftOut: number;
}): AlertFacts {
  const { manner, recipients, digest, yours } = options;
  const last = options.rows.at(-1);
  if (last === undefined) throw new SensorError("INTERNAL", "an alert about nothing");
  const { event, mails } = last;
  const words = WORDS[manner.language];
  const attachments = (event.attachments ?? []).map((part) => attachmentFacts(part, words));
  const urls = (event.urls ?? []).map((part) => urlFacts(part, words));
  const verdict = worstOf(options.rows.map((row) => row.event));
  const changed = event.type === "verdict.changed";
  const denied = event.denied === true;
  const mail = mailShown(event, words, manner);
  const found = digest === null ? foundIn([last], mails, yours) : foundIn(options.rows, digest, yours);
  const shownTo = recipients.slice(0, MAX_RECIPIENTS_SHOWN).map((to) => showDefanged(to, 200));
  const rows = digest === null ? [] : options.rows.map((row) => digestRow(row, words, manner));
  const unlisted = digest === null ? 0 : Math.max(0, digest - rows.reduce((sum, row) => sum + row.mails, 0));
  const more = event.counts.attachments + event.counts.urls - attachments.length - urls.length;
  return {
    id: event.id,
    type: event.type,
    verdict,
    verdict_word: words.verdicts[verdict],
    mail,
    attachments,
    urls,
    more_attachments: event.counts.attachments - attachments.length,
    more_urls: event.counts.urls - urls.length,
    more_text: more > 0 ? words.more(more) : null,
    yours,
    changed,
    change: changed ? changeFacts(event, words) : null,
    sender_denied: denied,
    sender_reason: denied ? showDefanged(event.reasons?.[0] ?? "", 320) : null,
    mails,
    recipients: shownTo,
    more_recipients: recipients.length - shownTo.length,
    mails_text: words.mails(mails),
    recipients_text: words.recipients(recipients.length, MAX_RECIPIENTS_KNOWN),
    left_out: options.leftOut,
    left_out_text: options.leftOut > 0 ? words.leftOut(options.leftOut) : null,
    headline:
      digest === null
        ? words.headline(found)
        : options.leftOut > 0
          ? `${words.digestSubject(digest, found.denied)}.`
          : words.digestHeadline(digest, found.denied),
    delivered: words.delivered((digest ?? mails) > 1),
    changed_text:
      changed && digest === null ? words.changed(found, mail.received, verdictBefore(event, verdict)) : null,
    sender_text: denied && event.counts.attachments + event.counts.urls > 0 ? words.denied(found) : null,
    advice: words.advice(found),
    contact: words.contact(manner.contact),
    contact_given: manner.contact !== null,
    footer: words.footer(showDefanged(manner.sensor, 255)),
    sensor: showDefanged(manner.sensor, 255),
    language: manner.language,
    audience: options.audience,
    logo: manner.logo,
    words: words.labels,
    rows,
    more_rows: unlisted,
    more_rows_text: unlisted > 0 ? words.more(unlisted) : null,
  };
}

/** A digest with the first half of its rows, the others counted; null where there is no half. */
export function withFewerRows(facts: AlertFacts): AlertFacts | null {
  const rows = facts.rows.slice(0, Math.floor(facts.rows.length / 2));
  if (rows.length === 0) return null;
  const left = facts.rows.slice(rows.length).reduce((sum, { mails }) => sum + mails, facts.more_rows);
  return { ...facts, rows, more_rows: left, more_rows_text: WORDS[facts.language].more(left) };
}

/** The subject where the customer has none of their own. */
export function builtInSubject(facts: AlertFacts, digest: number | null): string {
  const words = WORDS[facts.language];
  if (digest !== null)
    return words.digestSubject(
      digest,
      facts.rows.some((row) => row.sender_denied),
    );
  const { attachments, urls } = facts;
  const found: Found = {
    verdict: facts.verdict,
    attachments: attachments.length,
    attachments_are: badness(attachments.length, countSuspicious(attachments)),
    urls: urls.length,
    urls_are: badness(urls.length, countSuspicious(urls)),
    denied: facts.sender_denied,
    late: facts.changed,
    yours: facts.yours,
    mails: facts.mails,
  };
  const start = words.subject(found);
  const [first] = foremost(found).kind === "attachment" ? attachments : [];
  const name = first === undefined ? facts.mail.subject : (first.filename ?? words.labels.unnamed);
  const count = facts.mails > 1 ? ` (${facts.mails_text})` : "";
  return `${start}${name === null ? "" : `: "${cutMiddle(name, 100)}"`}${count}`;
}

/** True where an address is among the envelope recipients of a mail, whatever its case. */
export function isAmong(address: string, envelopeTo: readonly string[]): boolean {
  return envelopeTo.some((to) => addressKey(to) === addressKey(address));
}

function worstOf(events: readonly KeptEvent[]): "malicious" | "suspicious" {
  if (events.some(({ denied }) => denied === true)) return "malicious";
  const parts = events.flatMap(({ attachments, urls }) => [...(attachments ?? []), ...(urls ?? [])]);
  return parts.some(({ verdict }) => verdict === "malicious") ? "malicious" : "suspicious";
}

function countSuspicious(parts: readonly { readonly verdict: Verdict }[]): number {
  return parts.filter(({ verdict }) => verdict === "suspicious").length;
}

function badness(count: number, suspicious: number): Badness {
  if (suspicious === 0) return "malicious";
  return suspicious === count ? "suspicious" : "mixed";
}

function foundIn(rows: readonly AlertRow[], mails: number, yours: boolean): Found {
  const events = rows.map(({ event }) => event);
  const sum = (countOf: (event: KeptEvent) => number) =>
    events.reduce((all, event) => all + countOf(event), 0);
  const attachments = sum(({ counts }) => counts.attachments);
  const urls = sum(({ counts }) => counts.urls);
  const suspicious = (kind: "attachments" | "urls") =>
    sum((event) => event.counts.suspicious?.[kind] ?? countSuspicious(event[kind] ?? []));
  return {
    verdict: worstOf(events),
    attachments,
    attachments_are: badness(attachments, suspicious("attachments")),
    urls,
    urls_are: badness(urls, suspicious("urls")),
    denied: events.some((event) => event.denied === true),
    late: events.some(({ type }) => type === "verdict.changed"),
    yours,
    mails,
  };
}

/** What the worst parts were before they became so. */
function verdictBefore(event: KeptEvent, worst: Verdict): Before {
  const parts: readonly EventPart[] = [...(event.attachments ?? []), ...(event.urls ?? [])];
  const before = parts.flatMap((part) => {
    const was = part.previous_verdict ?? "not_available";
    return part.verdict === worst && was !== "malicious" ? [was] : [];
  });
  return before.reduce<Before>(
    (worse, one) => (VERDICT_ORDER.indexOf(one) > VERDICT_ORDER.indexOf(worse) ? one : worse),
    "clean",
  );
}

function changeFacts({ change }: SensorEvent, words: Words): ChangeFacts | null {
  if (change === undefined) return null;
  const { because, from, mails } = change;
  return {
    because,
    because_text: words.because[because],
    from,
    from_word: words.verdicts[from],
    mails,
    mails_text: words.mails(mails),
  };
}

function mailShown({ mail }: SensorEvent, words: Words, manner: Manner): MailShown {
  return {
    id: mail?.id ?? "",
    subject: mail?.subject == null ? null : showDefanged(mail.subject, 200),
    from: (mail?.from ?? []).slice(0, 3).map((from) => showDefanged(from, 200)),
    envelope: {
      from: showDefanged(mail?.envelope.from ?? "", 200),
      to: (mail?.envelope.to ?? []).slice(0, MAX_RECIPIENTS_SHOWN).map((to) => showDefanged(to, 200)),
    },
    received_at: mail?.received_at ?? "",
    received: mail === undefined ? "" : timeText(mail.received_at, words, manner.timeZone),
    message_id: mail?.message_id == null ? null : showDefanged(mail.message_id, 200),
  };
}

function timeText(iso: string, words: Words, timeZone: string): string {
  const time = Date.parse(iso);
  if (Number.isNaN(time)) return showDefanged(iso, 40);
  return new Intl.DateTimeFormat(words.locale, {
    timeZone,
    day: "numeric",
    month: "long",
    year: "numeric",
    hour: "2-digit",
    minute: "2-digit",
    timeZoneName: "short",
  }).format(time);
}

function partFacts(part: EventAttachment | EventUrl, words: Words): PartFacts {
  return {
    verdict: part.verdict,
    verdict_word: words.verdicts[part.verdict],
    reason: part.reason === null ? null : showDefanged(part.reason, 300),
    threat_names: part.threat_names.slice(0, 5).map((threat) => showDefanged(threat, 80)),
    classifications: (part.classifications ?? []).slice(0, 5).map((text) => showDefanged(text, 80)),
    indicators: (part.indicators ?? []).slice(0, 8).map(({ score, category, operation }) => ({
      score,
      category: showDefanged(category, 80),
      operation: showDefanged(operation, 160),
    })),
    techniques: (part.techniques ?? []).slice(0, 8).map(({ id, name }) => ({
      id: showDefanged(id, 20),
      name: showDefanged(name, 80),
    })),
    rule: part.rule === undefined ? null : showText(part.rule, 80),
    report: reportOf(part),
  };
}

/** A long name in front of an ending used to hide it. */
function showName(name: string, max: number): string {
  return showDefanged(cutMiddle(name, max), max);
}

function attachmentFacts(part: EventAttachment, words: Words): AttachmentFacts {
  return {
    ...partFacts(part, words),
    filename: part.filename === null ? null : showName(part.filename, 150),
    path: part.path.slice(0, 5).map((name) => showName(name, 80)),
    type: showDefanged(part.type, 100),
    size: part.size,
    size_text: sizeText(part.size, words),
    sha256: showText(part.sha256, 64),
    sha1: showText(part.sha1, 40),
    md5: showText(part.md5, 32),
  };
}

function urlFacts(part: EventUrl, words: Words): UrlFacts {
  return { ...partFacts(part, words), url: showDefanged(part.url, 200) };
}

function digestRow({ event, mails }: AlertRow, words: Words, manner: Manner): DigestRow {
  const parts = [...(event.attachments ?? []), ...(event.urls ?? [])];
  const verdict = worstOf([event]);
  const names = [
    ...(event.denied === true ? [words.labels.denied_sender] : []),
    ...(event.attachments ?? []).map(({ filename }) => showName(filename ?? words.labels.unnamed, 60)),
    ...(event.urls ?? []).map(({ url }) => showDefanged(url, 60)),
  ];
  return {
    mail: mailShown(event, words, manner),
    changed: event.type === "verdict.changed",
    sender_denied: event.denied === true,
    verdict,
    verdict_word: words.verdicts[verdict],
    found: names.slice(0, 2),
    threat_names: [...new Set(parts.flatMap(({ threat_names }) => threat_names))]
      .slice(0, 2)
      .map((threat) => showDefanged(threat, 60)),
    mails,
    mails_text: words.mails(mails),
    report: parts.map((part) => reportOf(part)).find((link) => link !== null) ?? null,
  };
}

function reportOf({ vmray }: EventAttachment | EventUrl): string | null {
  const link = vmray?.url ?? null;
  return link !== null && isPlainLink(link) ? link : null;
}

/** The link comes from the answers of VMRay: taken as it is where it is plainly a web address. */
function isPlainLink(link: string): boolean {
  return (
    link.length <= MAX_LINK && /^https?:\/\/[\w.~:/?#[\]@!$&()*+,;=%-]+$/.test(link) && URL.canParse(link)
  );
}

function sizeText(bytes: number, words: Words): string {
  if (bytes < 1024) return `${bytes} ${bytes === 1 ? words.byte : words.bytes}`;
  if (bytes < 1024 ** 2) return `${(bytes / 1024).toFixed(0)} KB`;
  const digits = { minimumFractionDigits: 1, maximumFractionDigits: 1, useGrouping: false };
  return `${new Intl.NumberFormat(words.locale, digits).format(bytes / 1024 ** 2)} MB`;
}
