/**
 * Bounds of an event: how long its texts and lists may be, and how it is made to fit a number of bytes.
 *
 * Pure. An event goes in and one comes out that keeps every limit; each value that was cut is named in
 * `truncated` by its JSON pointer (RFC 6901) in the event that comes out. Ids and hashes are never cut, and what
 * people search by (addresses, Message-ID, subject, the URL and the name of the worst parts) is cut last.
 */

import { cutText } from "../text.ts";
import { atLeast, type Indicator, type Iocs, type Technique, VERDICT_ORDER } from "../verdict/verdict.ts";
import type {
  EventAttachment,
  EventMail,
  EventMailBeside,
  EventPart,
  EventUrl,
  SensorEvent,
} from "./event.ts";

/** Texts in UTF-16 units, lists in items. docs/event.schema.json repeats these. */
export type EventLimits = {
  readonly subject: number;
  readonly messageId: number;
  readonly address: number;
  readonly helo: number;
  readonly tls: number;
  readonly filename: number;
  readonly mediaType: number;
  readonly url: number;
  readonly reason: number;
  readonly threatName: number;
  readonly flag: number;
  readonly source: number;
  readonly message: number;
  readonly recipients: number;
  readonly headerAddresses: number;
  readonly attachments: number;
  readonly urls: number;
  readonly reasons: number;
  readonly threatNames: number;
  readonly flags: number;
  readonly path: number;
  readonly facts: number;
  readonly sources: number;
  readonly unwrapped: number;
  /** On verdict.changed: other mails, and recipients of each. */
  readonly mails: number;
  readonly mailRecipients: number;
  readonly classifications: number;
  readonly indicators: number;
  readonly techniques: number;
  readonly tactics: number;
  /** Of each kind. */
  readonly iocs: number;
  readonly ioc: number;
};

export const LIMITS: EventLimits = {
  subject: 1024,
  messageId: 998,
  address: 320,
  helo: 255,
  tls: 128,
  filename: 512,
  mediaType: 127,
  url: 2048,
  reason: 512,
  threatName: 128,
  flag: 64,
  source: 64,
  message: 1024,
  recipients: 500,
  headerAddresses: 200,
  attachments: 200,
  urls: 200,
  reasons: 20,
  threatNames: 20,
  flags: 50,
  path: 20,
  facts: 30,
  sources: 20,
  unwrapped: 10,
  mails: 50,
  mailRecipients: 20,
  classifications: 20,
  indicators: 20,
  techniques: 30,
  tactics: 5,
  iocs: 20,
  ioc: 1024,
};

/** More pointers than this are given as the lists they lie in. */
export const MAX_POINTERS = 50;

const SHORTEST_TEXT = 16;
/** Where even that is too long, for a header of the longest names and a text that takes six bytes a character. */
const TINIEST_TEXT = 2;

/** Where a value is in the event that comes out, and where it was in the one that went in. */
type Place = { readonly at: string; readonly was: string };

const into = (place: Place, key: string | number, formerKey: string | number = key): Place => ({
  at: `${place.at}/${key}`,
  was: `${place.was}/${formerKey}`,
});

/** `harmless`: how many attachments, and how many URLs, that are neither malicious nor suspicious. */
type Limits = EventLimits & { readonly harmless?: number };

/** The event within `limits`. Lone surrogates become the replacement character. */
export function boundEvent(event: SensorEvent, limits: Limits = LIMITS): SensorEvent {
  const cuts = createCuts(event.truncated ?? []);
  const root: Place = { at: "", was: "" };
  const strings = (values: readonly string[], list: number, length: number, place: Place) =>
    cuts.list(values, list, place).map(([value, at]) => cuts.text(value, length, at));
  const nullable = (value: string | null, length: number, place: Place) =>
    value === null ? null : cuts.text(value, length, place);

  const boundMail = (mail: EventMail, place: Place): EventMail => {
    const envelope = into(place, "envelope");
    return {
      id: mail.id,
      message_id: nullable(mail.message_id, limits.messageId, into(place, "message_id")),
      received_at: mail.received_at,
      envelope: {
        from: cuts.text(mail.envelope.from, limits.address, into(envelope, "from")),
        to: strings(mail.envelope.to, limits.recipients, limits.address, into(envelope, "to")),
        client_ip: cuts.text(mail.envelope.client_ip, limits.address, into(envelope, "client_ip")),
        helo: cuts.text(mail.envelope.helo, limits.helo, into(envelope, "helo")),
        tls: nullable(mail.envelope.tls, limits.tls, into(envelope, "tls")),
      },
      from: strings(mail.from, limits.headerAddresses, limits.address, into(place, "from")),
      to: strings(mail.to, limits.headerAddresses, limits.address, into(place, "to")),
      cc: strings(mail.cc, limits.headerAddresses, limits.address, into(place, "cc")),
      subject: nullable(mail.subject, limits.subject, into(place, "subject")),
      size: mail.size,
      sha256: mail.sha256,
    };
  };
  const boundIndicator = ({ category, operation, score }: Indicator, place: Place): Indicator => ({
    category: cuts.text(category, limits.threatName, into(place, "category")),
    operation: cuts.text(operation, limits.reason, into(place, "operation")),
    score,
  });
  const boundTechnique = ({ id, name, tactics }: Technique, place: Place): Technique => ({
    id: cuts.text(id, limits.flag, into(place, "id")),
    name: cuts.text(name, limits.threatName, into(place, "name")),
    tactics: strings(tactics, limits.tactics, limits.threatName, into(place, "tactics")),
  });
  const boundIocs = (iocs: Iocs, place: Place): Iocs => {
    const kind = (name: keyof Iocs) => strings(iocs[name], limits.iocs, limits.ioc, into(place, name));
    return {
      urls: kind("urls"),
      domains: kind("domains"),
      ips: kind("ips"),
      files: kind("files"),
      email_addresses: kind("email_addresses"),
    };
  };
  const judged = (part: EventPart, place: Place): EventPart => {
    const { classifications, indicators, techniques, iocs, action, rule, cost, analyzer } = part;
    const below = (name: keyof EventPart) => into(place, name);
    return {
      outcome: part.outcome,
      verdict: part.verdict,
      ...(part.previous_verdict && { previous_verdict: part.previous_verdict }),
      ...(part.partial && { partial: part.partial }),
      reason: nullable(part.reason, limits.reason, below("reason")),
      threat_names: strings(part.threat_names, limits.threatNames, limits.threatName, below("threat_names")),
      vmray: part.vmray && {
        sample_id: part.vmray.sample_id,
        submission_id: part.vmray.submission_id,
        url: nullable(part.vmray.url, limits.url, into(below("vmray"), "url")),
      },
      ...(action && { action }),
      ...(rule !== undefined && { rule: cuts.text(rule, limits.threatName, below("rule")) }),
      ...(classifications && {
        classifications: strings(
          classifications,
          limits.classifications,
          limits.threatName,
          below("classifications"),
        ),
      }),
      ...(indicators && {
        indicators: cuts
          .list(indicators, limits.indicators, below("indicators"))
          .map(([one, at]) => boundIndicator(one, at)),
      }),
      ...(techniques && {
        techniques: cuts
          .list(techniques, limits.techniques, below("techniques"))
          .map(([one, at]) => boundTechnique(one, at)),
      }),
      ...(iocs && { iocs: boundIocs(iocs, below("iocs")) }),
      ...(cost && { cost }),
      ...(analyzer !== undefined && { analyzer: cuts.text(analyzer, limits.flag, below("analyzer")) }),
    };
  };
  const boundAttachment = (part: EventAttachment, place: Place): EventAttachment => ({
    filename: nullable(part.filename, limits.filename, into(place, "filename")),
    sha256: part.sha256,
    sha1: part.sha1,
    md5: part.md5,
    size: part.size,
    type: cuts.text(part.type, limits.mediaType, into(place, "type")),
    path: strings(part.path, limits.path, limits.filename, into(place, "path")),
    facts: strings(part.facts, limits.facts, limits.flag, into(place, "facts")),
    ...judged(part, place),
  });
  const boundUrl = (part: EventUrl, place: Place): EventUrl => ({
    url: cuts.text(part.url, limits.url, into(place, "url")),
    sources: strings(part.sources, limits.sources, limits.source, into(place, "sources")),
    ...(part.unwrapped_from && {
      unwrapped_from: strings(
        part.unwrapped_from,
        limits.unwrapped,
        limits.url,
        into(place, "unwrapped_from"),
      ),
    }),
    ...judged(part, place),
  });

  const boundBeside = (mail: EventMailBeside, place: Place): EventMailBeside => {
    const envelope = into(place, "envelope");
    return {
      id: mail.id,
      message_id: nullable(mail.message_id, limits.messageId, into(place, "message_id")),
      subject: nullable(mail.subject, limits.subject, into(place, "subject")),
      received_at: mail.received_at,
      envelope: {
        from: cuts.text(mail.envelope.from, limits.address, into(envelope, "from")),
        to: strings(mail.envelope.to, limits.mailRecipients, limits.address, into(envelope, "to")),
      },
    };
  };

  const room = (parts: readonly (EventAttachment | EventUrl)[], most: number) =>
    Math.min(most, parts.filter(isBad).length + (limits.harmless ?? most));

  const { mail, verdict, complete, reasons, attachments, urls, flags, change, mails, state } = event;
  const bounded: SensorEvent = {
    schema: event.schema,
    id: event.id,
    type: event.type,
    time: event.time,
    sensor: {
      id: cuts.text(event.sensor.id, LIMITS.helo, into(into(root, "sensor"), "id")),
      version: event.sensor.version,
    },
    ...(mail && { mail: boundMail(mail, into(root, "mail")) }),
    ...(verdict && { verdict }),
    ...(complete !== undefined && { complete }),
    ...(reasons && { reasons: strings(reasons, limits.reasons, limits.reason, into(root, "reasons")) }),
    ...(attachments && {
      attachments: cuts
        .list(attachments, room(attachments, limits.attachments), into(root, "attachments"), badness)
        .map(([part, place]) => boundAttachment(part, place)),
    }),
    ...(urls && {
      urls: cuts
        .list(urls, room(urls, limits.urls), into(root, "urls"), badness)
        .map(([part, place]) => boundUrl(part, place)),
    }),
    ...(flags && { flags: strings(flags, limits.flags, limits.flag, into(root, "flags")) }),
    ...(change && { change }),
    ...(mails && {
      mails: cuts
        .list(mails, limits.mails, into(root, "mails"))
        .map(([one, place]) => boundBeside(one, place)),
    }),
    ...(state && {
      state: {
        name: cuts.text(state.name, limits.flag, into(into(root, "state"), "name")),
        message: cuts.text(state.message, limits.message, into(into(root, "state"), "message")),
      },
    }),
  };
  const truncated = cuts.pointers();
  return truncated.length === 0 ? bounded : { ...bounded, truncated };
}

/**
 * The event cut so far that `format` of it has at most `maxBytes` in UTF-8, and no further: see SHRINKING. What is
 * still too long at the end (every list empty, every text short) is given back as it is.
 */
export function shrinkEvent(
  event: SensorEvent,
  maxBytes: number,
  format: (event: SensorEvent) => string,
): { readonly event: SensorEvent; readonly text: string; readonly fits: boolean } {
  const attempt = (step: number) => {
    const limits = SHRINKING[step];
    const cut = limits === undefined ? event : boundEvent(event, limits);
    const text = format(cut);
    const fits =
      text.length <= maxBytes && (text.length * 3 <= maxBytes || Buffer.byteLength(text) <= maxBytes);
    return { event: cut, text, fits };
  };
  const last = SHRINKING.length - 1;
  let tooLong = -1;
  let best = attempt(tooLong);
  if (best.fits) return best;
  // Formatting may be slow: first in growing steps until it fits, then between the last two by halves.
  let enough = 0;
  for (let stride = 1; ; stride *= 2) {
    best = attempt(enough);
    if (best.fits || enough === last) break;
    tooLong = enough;
    enough = Math.min(last, enough + stride);
  }
  while (best.fits && enough - tooLong > 1) {
    const middle = Math.floor((tooLong + enough) / 2);
    const tried = attempt(middle);
    if (tried.fits) {
      best = tried;
      enough = middle;
    } else tooLong = middle;
  }
  return best;
}

/**
 * The limits of shrinking, step by step. First there are fewer recipients, then fewer parts that are not bad, so that
 * the evidence of the bad ones has their room; then fewer parts, the worst being kept, with less evidence, then hardly
 * any recipients; then long texts get shorter, at last addresses and the Message-ID, too.
 */
const SHRINKING: readonly Limits[] = shrinkingSteps();

function shrinkingSteps(): readonly Limits[] {
  const people = (most: number) => ({ recipients: most, headerAddresses: most });
  const harmless = [50, 25, 12, 6, 3].map((parts) => ({ ...LIMITS, ...people(20), harmless: parts }));
  const items = [100, 50, 35, 25, 18, 12, 9, 7, 6, 5, 4, 3].map((parts) => ({
    ...LIMITS,
    ...people(20),
    ...fewerItems(LIMITS.urls / parts, 1),
    harmless: 3,
  }));
  const few = { ...LIMITS, ...fewerItems(64, 1), harmless: 3 };
  const one = { ...few, ...people(1), attachments: 1, urls: 1 };
  const short = { ...one, ...shorterTexts(16) };
  const names = (divisor: number) => ({
    address: divided("address", divisor),
    messageId: divided("messageId", divisor),
  });
  const none = { ...LIMITS, ...people(0), ...fewerItems(1024, 0), ...shorterTexts(1024), ...names(1024) };
  return [
    { ...LIMITS, recipients: 100, headerAddresses: 50 },
    { ...LIMITS, ...people(20) },
    ...harmless,
    ...items,
    ...[10, 5, 2].map((most) => ({ ...few, ...people(most) })),
    one,
    ...[2, 4, 8].map((divisor) => ({ ...one, ...shorterTexts(divisor) })),
    short,
    { ...short, attachments: 0, urls: 0 },
    ...[2, 4, 8, 16, 32, 64].map((divisor) => ({
      ...short,
      ...names(divisor),
      ...shorterTexts(16 * divisor),
      attachments: 0,
      urls: 0,
    })),
    none,
    { ...none, ...shorterTexts(1024, TINIEST_TEXT), address: TINIEST_TEXT, messageId: TINIEST_TEXT },
  ];
}

function divided(key: keyof EventLimits, divisor: number, shortest = SHORTEST_TEXT): number {
  return Math.max(shortest, Math.floor(LIMITS[key] / divisor));
}

/** Half of an IOC would be another one, so these are not among them. */
function shorterTexts(divisor: number, shortest = SHORTEST_TEXT) {
  const text = (key: keyof EventLimits) => divided(key, divisor, shortest);
  return {
    subject: text("subject"),
    helo: text("helo"),
    tls: text("tls"),
    filename: text("filename"),
    mediaType: text("mediaType"),
    url: text("url"),
    reason: text("reason"),
    threatName: text("threatName"),
    flag: text("flag"),
    source: text("source"),
    message: text("message"),
  };
}

/** `least` of what tells what a part is and why it is bad; the evidence may go altogether. */
function fewerItems(divisor: number, least: number) {
  const list = (key: keyof EventLimits, atLeast = least) =>
    Math.max(atLeast, Math.floor(LIMITS[key] / divisor));
  return {
    attachments: list("attachments"),
    urls: list("urls"),
    reasons: list("reasons"),
    threatNames: list("threatNames"),
    flags: list("flags"),
    path: list("path"),
    facts: list("facts"),
    sources: list("sources"),
    unwrapped: list("unwrapped"),
    mails: list("mails", 0),
    mailRecipients: list("mailRecipients"),
    classifications: list("classifications"),
    indicators: list("indicators", 0),
    techniques: list("techniques", 0),
    tactics: list("tactics", 0),
    iocs: list("iocs", 0),
  };
}

const isBad = ({ verdict }: EventPart): boolean => atLeast(verdict, "suspicious");

/** What policy left out is the first to go. */
function badness({ outcome, verdict }: EventAttachment | EventUrl): number {
  return outcome === "skipped" ? -1 : VERDICT_ORDER.indexOf(verdict);
}

/** Cuts values and remembers where; cuts made earlier are carried over to where the value is now. */
function createCuts(earlier: readonly string[]) {
  const former = new Set(earlier);
  const found = new Set<string>(former.has("") ? [""] : []);
  const collapsed = new Set([...former].filter((pointer) => !/\/\d+(\/|$)/.test(pointer)));
  return {
    text(value: string, max: number, { at, was }: Place): string {
      // Cut first: what is cut away need not be looked at.
      const kept = cutText(value, max).toWellFormed();
      if (kept.length < value.length || former.has(was)) found.add(at);
      return kept;
    },
    /** At most `max` values in their order, the ones of highest `worth` where some must go. */
    list<T>(
      values: readonly T[],
      max: number,
      place: Place,
      worth?: (value: T) => number,
    ): readonly (readonly [T, Place])[] {
      if (values.length > max || collapsed.has(place.was)) found.add(place.at);
      const kept = values.length <= max ? values.map((_, index) => index) : pick(values, max, worth);
      return kept.flatMap((index, position) => {
        const value = values[index];
        return value === undefined ? [] : [[value, into(place, position, index)] as const];
      });
    },
    pointers(): readonly string[] {
      if (found.size <= MAX_POINTERS) return [...found];
      const lists = new Set([...found].map((pointer) => pointer.replace(/\/\d+(\/.*)?$/, "")));
      return lists.size <= MAX_POINTERS ? [...lists] : [""];
    },
  };
}

function pick<T>(values: readonly T[], max: number, worth?: (value: T) => number): readonly number[] {
  const indexes = values.map((_, index) => index);
  if (worth === undefined) return indexes.slice(0, max);
  const worths = values.map(worth);
  return indexes
    .sort((a, b) => (worths[b] ?? 0) - (worths[a] ?? 0) || a - b)
    .slice(0, max)
    .sort((a, b) => a - b);
}
