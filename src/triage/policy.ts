/**
 * The policy, made ready once: rules of the configuration become tests, lists of hosts become sets, so that a mail
 * with hundreds of parts and a policy with hundreds of rules take a few milliseconds.
 *
 * Pure. In go the `triage` section and what its files hold, out comes a Policy. It cannot fail: what it gets is
 * checked.
 */
import type { Config } from "../config/schema.ts";
import type { DIRECTIONS, TriageRule, TypeGroup } from "../config/sections/rules.ts";
import type { Attachment, Extraction, FoundUrl } from "../extract/extraction.ts";
import { extensionOf } from "../extract/file-type.ts";
import type { Envelope } from "../intake/mail.ts";
import { networkTest } from "../intake/networks.ts";
import { groupOf } from "./groups.ts";
import { hostOf, type ParsedAddress, parseAddress, withParents } from "./hosts.ts";
import { addressTest, type HostTest, hostTest, wordTest } from "./patterns.ts";
import type { Action, Priority, SubmitParameters } from "./plan.ts";
import type { PopularDomains } from "./popular.ts";

export type TriageSettings = Config["triage"];
export type Direction = (typeof DIRECTIONS)[number];

/** What triage looks at. */
export type TriagedMail = {
  readonly extraction: Pick<Extraction, "mail" | "envelope" | "attachments" | "urls" | "flags" | "complete">;
  /** As the MTA gave it; the mail's own (a journal report) comes before it. */
  readonly envelope: Pick<Envelope, "from" | "to" | "client_ip">;
};

/** A mail as rules see it. */
export type MailView = {
  /** Null where it is no address. */
  readonly sender: ParsedAddress | null;
  readonly recipients: readonly ParsedAddress[];
  /** Null where `own_domains` is not set. */
  readonly direction: Direction | null;
  readonly client: string;
  readonly flags: readonly string[];
};

/** An attachment as rules see it. */
export type AttachmentView = {
  readonly attachment: Attachment;
  readonly group: TypeGroup;
  readonly extension: string;
};

/** A URL as rules see it: its host with the domains it lies in. */
export type UrlView = { readonly url: FoundUrl; readonly names: readonly string[] };

export type PolicyRule = {
  readonly name: string;
  /** Null where the default says what is done. */
  readonly action: Action | null;
  readonly priority: Priority | null;
  readonly analyzer: string | null;
  readonly parameters: SubmitParameters | null;
  readonly kind: "attachment" | "url" | null;
  /** It says which hosts it is for, so that it may be for internal ones. */
  readonly namesHost: boolean;
  readonly matchesMail: (mail: MailView) => boolean;
  readonly matchesAttachment: (view: AttachmentView) => boolean;
  readonly matchesUrl: (view: UrlView) => boolean;
};

export type Policy = {
  readonly settings: TriageSettings;
  readonly rules: readonly PolicyRule[];
  readonly isOwn: HostTest;
  /** Own domains are internal, too. */
  readonly isInternal: HostTest;
  readonly popular: PopularDomains | null;
};

export function compilePolicy(settings: TriageSettings, popular: PopularDomains | null = null): Policy {
  return {
    settings,
    rules: settings.rules.map(compileRule),
    isOwn: hostTest(settings.own_domains),
    isInternal: hostTest([...settings.own_domains, ...settings.internal_domains]),
    popular,
  };
}

type Test<T> = (value: T) => boolean;

/** In the order given, so cheap tests come first. */
const all = <T>(conditions: readonly (Test<T> | null)[]): Test<T> => {
  const tests = conditions.filter((test) => test !== null);
  return (value) => {
    for (const test of tests) if (!test(value)) return false;
    return true;
  };
};

/** Null where the condition is not given, so that it costs nothing. */
const given = <Wanted, T>(wanted: Wanted | undefined, make: (wanted: Wanted) => Test<T>): Test<T> | null =>
  wanted === undefined ? null : make(wanted);

function compileRule({ name, match, action, priority, analyzer, vmray }: TriageRule): PolicyRule {
  return {
    name,
    action: action ?? null,
    priority: priority ?? null,
    analyzer: analyzer ?? null,
    parameters: vmray === undefined ? null : parametersOf(vmray),
    kind: kindOf(match),
    namesHost: match.host !== undefined,
    matchesMail: all<MailView>([
      given(
        match.direction,
        (wanted) =>
          ({ direction }) =>
            direction !== null && wanted.includes(direction),
      ),
      given(
        match.flags,
        (wanted) =>
          ({ flags }) =>
            wanted.some((flag) => flags.includes(flag)),
      ),
      given(match.sender, (wanted) => ofSender(addressTest(wanted))),
      given(match.sender_domain, (wanted) => {
        const test = hostTest(wanted);
        return ofSender(({ names }) => test(names));
      }),
      given(match.recipient, (wanted) => ofAnyRecipient(addressTest(wanted))),
      given(match.recipient_domain, (wanted) => {
        const test = hostTest(wanted);
        return ofAnyRecipient(({ names }) => test(names));
      }),
      given(match.client, (wanted) => {
        const test = networkTest(wanted);
        return ({ client }) => test(client);
      }),
    ]),
    matchesAttachment: all<AttachmentView>([
      given(
        match.group,
        (wanted) =>
          ({ group }) =>
            wanted.includes(group),
      ),
      given(match.extension, (wanted) => {
        const set = new Set(wanted);
        return ({ extension }) => set.has(extension);
      }),
      given(match.type, (wanted) => {
        const test = wordTest(wanted);
        return ({ attachment }) => test(attachment.type);
      }),
      given(
        match.min_size,
        (least) =>
          ({ attachment }) =>
            attachment.size >= least,
      ),
      given(
        match.max_size,
        (most) =>
          ({ attachment }) =>
            attachment.size <= most,
      ),
      given(
        match.facts,
        (wanted) =>
          ({ attachment }) =>
            wanted.some((fact) => attachment.facts.includes(fact)),
      ),
    ]),
    matchesUrl: all<UrlView>([
      given(match.host, (wanted) => {
        const test = hostTest(wanted);
        return ({ names }) => test(names);
      }),
      given(match.sources, (wanted) => {
        const test = wordTest(wanted);
        return ({ url }) => url.sources.some(test);
      }),
    ]),
  };
}

const ofSender =
  (test: Test<ParsedAddress>): Test<MailView> =>
  ({ sender }) =>
    sender !== null && test(sender);

const ofAnyRecipient =
  (test: Test<ParsedAddress>): Test<MailView> =>
  ({ recipients }) =>
    recipients.some(test);

function kindOf(match: TriageRule["match"]): PolicyRule["kind"] {
  const { kind, type, group, extension, min_size, max_size, facts, sources, host } = match;
  if (kind !== undefined) return kind;
  if ([type, group, extension, min_size, max_size, facts].some((one) => one !== undefined))
    return "attachment";
  return sources !== undefined || host !== undefined ? "url" : null;
}

/** Only what is given: a key that is there and undefined would hide that of the `vmray` section. */
function parametersOf(vmray: NonNullable<TriageRule["vmray"]>): SubmitParameters {
  return Object.fromEntries(Object.entries(vmray).filter(([, value]) => value !== undefined));
}

/** Whom a mail was from and for, which is not whom its copy was for. */
export function mailView({ extraction, envelope }: TriagedMail, { settings, isOwn }: Policy): MailView {
  const original = extraction.envelope;
  const sender = parseAddress(original?.from ?? envelope.from);
  const written = original?.to ?? envelope.to;
  const recipients = written.flatMap((address) => parseAddress(address) ?? []);
  // Without a domain it is somebody of this server, like the postmaster (RFC 5321, 4.1.1.3).
  const read = written.every((address) => !address.includes("@") || parseAddress(address) !== null);
  return {
    sender,
    recipients,
    direction: settings.own_domains.length === 0 ? null : directionOf(sender, recipients, isOwn, read),
    client: envelope.client_ip,
    flags: extraction.flags,
  };
}

function directionOf(
  sender: ParsedAddress | null,
  recipients: readonly ParsedAddress[],
  isOwn: HostTest,
  allRead: boolean,
): Direction {
  if (sender === null || !isOwn(sender.names)) return "inbound";
  return allRead && recipients.every(({ names }) => isOwn(names)) ? "internal" : "outbound";
}

export function attachmentView(attachment: Attachment): AttachmentView {
  const extension = extensionOf(attachment.filename);
  return { attachment, extension, group: groupOf(attachment.type, extension) };
}

export function urlView(url: FoundUrl): UrlView {
  return { url, names: withParents(hostOf(url.normalized)) };
}
