/**
 * Allow and deny lists: what people know already, so that nobody is asked.
 *
 * Entries go in, a matcher comes out whose look-ups take the same time whatever the number of entries. Pure; a
 * value that is no good is told in words that complete "VALUE ...".
 */
import { isIPv6 } from "node:net";
import { parse as parseHost } from "tldts";
import type { Problematic } from "../config/address.ts";
import type { Attachment } from "../extract/extraction.ts";
import { normalizeUrl } from "../extract/urls/normal-form.ts";
import { hostOf, readAddress, readHost, spellingsOf, withParents } from "./hosts.ts";
import type { PlannedUrl } from "./plan.ts";

export const LIST_NAMES = ["allow", "deny"] as const;
export type ListName = (typeof LIST_NAMES)[number];

export const LIST_KINDS = ["hash", "domain", "url", "sender"] as const;
export type ListKind = (typeof LIST_KINDS)[number];

export type ListEntry = {
  readonly list: ListName;
  readonly kind: ListKind;
  /** In normal form, see readListValue. */
  readonly value: string;
  /** Why it is listed, for people. Text of a person: bounded, escaped at output. */
  readonly comment: string | null;
  /** When it was added to a running sensor, milliseconds since 1970; null for entries of files. */
  readonly addedAt: number | null;
  /** From this time on it no longer counts, milliseconds since 1970; null for never. */
  readonly expiresAt: number | null;
};

/** Which entry of the lists: each value stands in a list of one kind once. */
export type ListKey = Pick<ListEntry, "list" | "kind" | "value">;

const MAX_VALUE = 8192;
/** Characters of a comment. */
export const MAX_COMMENT = 1000;

/**
 * The normal form of one value, or what is wrong with it.
 *
 * `hash`: MD5, SHA-1 or SHA-256 in hex. `domain`: a host name, which stands for all below it as well, or an IP
 * address. `url`: a URL, in the normal form of `normalizeUrl`. `sender`: a mail address, or a domain with all below.
 */
export function readListValue(list: ListName, kind: ListKind, text: string): string | Problematic {
  const written = text.trim();
  if (written === "") return { problem: "is empty" };
  if (written.length > MAX_VALUE) return { problem: `is longer than ${MAX_VALUE} characters` };
  switch (kind) {
    case "hash":
      return /^(?:[0-9a-f]{32}|[0-9a-f]{40}|[0-9a-f]{64})$/i.test(written)
        ? written.toLowerCase()
        : { problem: "is no MD5, SHA-1 or SHA-256 in hex" };
    case "domain":
      return readListedDomain(list, written);
    case "url":
      if (!/^(?:https?|ftp):\/\//i.test(written)) {
        return { problem: "is no URL that starts with http://, https:// or ftp://" };
      }
      if (/^[a-z]+:\/\/[^/?#]*\*/i.test(written)) {
        return { problem: "has a * in its host: list the domain, which covers all below it" };
      }
      return normalizeUrl(written) ?? { problem: "is no URL that can be read" };
    case "sender":
      if (!written.includes("@")) return readListedDomain(list, written);
      if (/^<?@[^@]*$/.test(written)) {
        return { problem: "has nothing before its @: for all senders of a domain write it alone" };
      }
      if (written.includes("*")) {
        return { problem: "has a *, which matches nothing else: for all senders of a domain write it alone" };
      }
      return readAddress(written) ?? { problem: "is no mail address" };
  }
}

function readListedDomain(list: ListName, written: string): string | Problematic {
  if (written.startsWith("*.") || written.startsWith(".")) {
    return { problem: "covers what lies below it anyway: write it without * and dot in front" };
  }
  const host = readHost(isIPv6(written) ? `[${written}]` : written);
  if (host === null) return { problem: "is no domain name" };
  const { publicSuffix } = publicPartsOf(host);
  if (list === "allow" && publicSuffix === host) {
    return { problem: "is a domain under which anybody registers names: it would allow them all" };
  }
  return host;
}

/**
 * The public suffix of a host, like `co.uk` or `github.io`, and the name registered under it. Null for what is in no
 * list of these, like the names of an intranet.
 */
function publicPartsOf(host: string): {
  readonly publicSuffix: string | null;
  readonly domain: string | null;
} {
  // Also of a name that no registry would take, like a!b.github.io: browsers go there all the same.
  const { isIcann, isPrivate, publicSuffix, domain } = parseHost(host, {
    allowPrivateDomains: true,
    extractHostname: false,
    validateHostname: false,
  });
  return isIcann === true || isPrivate === true
    ? { publicSuffix, domain }
    : { publicSuffix: null, domain: null };
}

/** A host and the domains it lies in that belong to whom it does: what strangers share is no part of an allowed name. */
function withOwnParents(host: string): readonly string[] {
  const { domain } = publicPartsOf(host);
  const names = withParents(host);
  return domain === null ? names : names.slice(0, names.indexOf(domain) + 1);
}

/** What lists ask of a URL. */
export type ListedUrl = Pick<PlannedUrl, "normalized" | "unwrapped_from" | "target_domain" | "stripped_from">;

export type Lists = {
  /** The entry that decides about a file, by any of its hashes; null where none does. */
  matchAttachment(attachment: Pick<Attachment, "md5" | "sha1" | "sha256">): ListEntry | null;
  /**
   * The entry that decides about a URL: it itself, its host or a domain that lies in; to allow it, no domain above the
   * one that is registered. Deny entries also count where they name a wrapper that carried it, the domain that a wrapper
   * says it leads to, or another spelling of it: with what tracks the reader, without what stands before an @.
   */
  matchUrl(url: ListedUrl): ListEntry | null;
  /** The entry that decides about a sender's address: it itself, or its domain or one that lies in. */
  matchSender(address: string): ListEntry | null;
};

/** Lists that change while they are asked. */
export type ChangeableLists = Lists & {
  /** The entry that stands there, also where it has expired. */
  get(key: ListKey): ListEntry | undefined;
  /** Adds an entry, in place of one with the same value. */
  put(entry: ListEntry): void;
  remove(key: ListKey): void;
  /** Forgets what has expired. */
  prune(): void;
};

/**
 * A matcher for `entries`. Deny beats allow; of several the closest (address, then longest domain) is told. Of two that
 * say the same the one that lasts longer counts.
 */
export function createLists(entries: Iterable<ListEntry>, now: () => number = Date.now): ChangeableLists {
  const byValue: Record<ListName, Partial<Record<ListKind, Map<string, ListEntry>>>> = {
    allow: {},
    deny: {},
  };
  const put = (entry: ListEntry) => {
    const { list, kind, value } = entry;
    const same = byValue[list][kind] ?? new Map<string, ListEntry>();
    byValue[list][kind] = same;
    same.set(value, entry);
  };
  const get = ({ list, kind, value }: ListKey) => byValue[list][kind]?.get(value);
  for (const entry of entries) {
    const known = get(entry);
    if (known === undefined || lastsLonger(entry, known)) put(entry);
  }
  const over = ({ expiresAt }: ListEntry) => expiresAt !== null && expiresAt <= now();

  return {
    ...matching({
      holds: (kind) => LIST_NAMES.some((list) => byValue[list][kind] !== undefined),
      get: (key) => {
        const entry = get(key);
        return entry === undefined || over(entry) ? undefined : entry;
      },
    }),
    get,
    put,
    remove: ({ list, kind, value }) => void byValue[list][kind]?.delete(value),
    prune: () => {
      for (const list of LIST_NAMES) {
        for (const ofKind of Object.values(byValue[list])) {
          for (const [value, entry] of ofKind) if (over(entry)) ofKind.delete(value);
        }
      }
    },
  };
}

/** A matcher for the entries of files: deny beats allow, the closest of all files is told. */
export function listsOf(
  files: readonly (Pick<ListEntry, "list" | "kind"> & { get(value: string): ListEntry | undefined })[],
): Lists {
  return matching({
    holds: (kind) => files.some((file) => file.kind === kind),
    get: ({ list, kind, value }) => {
      for (const file of files) {
        const entry = file.list === list && file.kind === kind ? file.get(value) : undefined;
        if (entry !== undefined) return entry;
      }
      return undefined;
    },
  });
}

/** Entries by their keys. */
type Entries = {
  /** False where there are none of this kind. */
  holds(kind: ListKind): boolean;
  get(key: ListKey): ListEntry | undefined;
};

function matching({ holds, get }: Entries): Lists {
  const find = (list: ListName, kind: ListKind, values: readonly string[]): ListEntry | null => {
    if (!holds(kind)) return null;
    for (const value of values) {
      const entry = get({ list, kind, value });
      if (entry !== undefined) return entry;
    }
    return null;
  };

  const matchHash = (list: ListName, { sha256, sha1, md5 }: Pick<Attachment, "md5" | "sha1" | "sha256">) =>
    find(list, "hash", [sha256, sha1, md5]);

  const matchAddress = (list: ListName, written: string) => {
    const address = readAddress(written);
    if (address === null) return null;
    const domain = address.slice(address.lastIndexOf("@") + 1);
    const domains = list === "allow" ? withOwnParents(domain) : withParents(domain);
    return find(list, "sender", [address, ...domains]);
  };

  return {
    matchAttachment: (attachment) => matchHash("deny", attachment) ?? matchHash("allow", attachment),

    matchUrl: ({ normalized, unwrapped_from = [], target_domain, stripped_from = [] }) => {
      if (!holds("url") && !holds("domain")) return null;
      const host = hostOf(normalized);
      const own = withParents(host);
      const further = unwrapped_from.flatMap((wrapper) => withParents(hostOf(wrapper)));
      const target = target_domain === undefined ? [] : withParents(readHost(target_domain) ?? "");
      return (
        find("deny", "url", [normalized, ...stripped_from, ...unwrapped_from].flatMap(spellingsOf)) ??
        find("deny", "domain", [...own, ...target, ...further]) ??
        find("allow", "url", [normalized]) ??
        find("allow", "domain", withOwnParents(host))
      );
    },

    matchSender: (address) => matchAddress("deny", address) ?? matchAddress("allow", address),
  };
}

function lastsLonger(one: ListEntry, other: ListEntry): boolean {
  return other.expiresAt !== null && (one.expiresAt === null || one.expiresAt > other.expiresAt);
}

/** Asks several matchers as if they were one: a deny of any beats an allow of another. */
export function joinLists(parts: readonly Lists[]): Lists {
  const first = (ask: (part: Lists) => ListEntry | null): ListEntry | null => {
    let found: ListEntry | null = null;
    for (const part of parts) {
      const entry = ask(part);
      if (entry?.list === "deny") return entry;
      found ??= entry;
    }
    return found;
  };
  return {
    matchAttachment: (attachment) => first((part) => part.matchAttachment(attachment)),
    matchUrl: (url) => first((part) => part.matchUrl(url)),
    matchSender: (address) => first((part) => part.matchSender(address)),
  };
}

/** Lists without an entry. */
export const NO_LISTS: Lists = createLists([]);

const MAX_SHOWN = 200;

/**
 * An entry in words, after "on the deny list": `(domain evil.example): comment`. What was added to a running sensor
 * says so, so that nobody looks for it in a file.
 */
export function entryText({ kind, value, comment, addedAt }: ListEntry): string {
  const shown = value.length > MAX_SHOWN ? `${value.slice(0, MAX_SHOWN)}...` : value;
  const source = addedAt === null ? "" : ", added at run time";
  return `(${kind} ${shown}${source})${comment === null || comment === "" ? "" : `: ${comment.slice(0, MAX_SHOWN)}`}`;
}
