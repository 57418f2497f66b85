/**
 * Takes what names people out of an event, before any format sees it.
 *
 * An event goes in, one of the same shape comes out. Every text of it is looked at, not only the fields that are
 * meant to hold addresses, subjects, names and URLs: reasons quote them, and so may what VMRay says. A hash is the
 * start of HMAC-SHA-256 with a secret: equal values stay equal, and nobody without the secret can try values out.
 */
import { createHmac } from "node:crypto";
import { showText } from "../text.ts";
import { MAX_NAME } from "../verdict/judge.ts";
import type { SensorEvent } from "./event.ts";

export type PrivacySettings = {
  /** `hash` keeps the domain. */
  readonly addresses: "keep" | "hash" | "drop";
  readonly subjects: "keep" | "hash" | "drop";
  /** Of attachments and of what they lie in. `hash` keeps the extension. */
  readonly filenames: "keep" | "hash" | "drop";
  /** `drop` takes away the fragment, too. */
  readonly url_queries: "keep" | "drop";
};

export type Privacy = {
  apply(event: SensorEvent): SensorEvent;
  /** Paths of members that are dropped: in the event they are empty. */
  readonly dropped: readonly string[];
};

/** Hexadecimal digits of a hash: 128 bits. */
const HASH_DIGITS = 32;
/** Texts shorter than this are not searched for: they would be found in ordinary words. */
const SHORTEST = 4;
/** Characters of a value that are searched for in URLs: longer ones cost too much, and nothing else begins so. */
const MAX_KEY = 64;
/** Names that are searched for in the texts of one event. */
const MAX_NAMES = 300;

/** What looks like an address, plain or with the at sign of a URL. */
const ADDRESS =
  /((?:[^\s@<>"'(),:;[\]\\/?#&=|%]|%(?!40)[0-9a-f]{2}){1,64})(@|%40)([\p{L}\p{N}](?:[\p{L}\p{N}.-]{0,252}[\p{L}\p{N}])?)/giu;
/** Without one there is no address to look for. */
const AT = /@|%40/;
const TOKEN = /[A-Za-z0-9+_-]{12,}={0,2}/g;
const WEB_URL = /([a-z][a-z0-9+.-]{0,30}:\/\/[^\s"'<>?#\u2026]{0,4096})[?#][^\s"'<>]*/gi;
/** How reasons name a part: judge.ts. */
const PART = /\b(attachment|URL) "/g;

/** Members that are no text of a mail, and those that only the sensor and VMRay write. */
const PLAIN = new Set([
  ..."schema id type time verdict outcome action rule received_at client_ip tls size truncated".split(" "),
  ..."sha256 sha1 md5 sample_id submission_id facts sources cost analyzer sensor files ips domains".split(
    " ",
  ),
]);
const ADDRESSES = new Set(["from", "to", "cc", "email_addresses"]);
const NAMES = new Set(["filename", "path"]);
const URLS = new Set(["url", "urls", "unwrapped_from"]);

/**
 * What a receiver says of an event that it refuses may quote the event, of which nothing is known here. What stands
 * before that is ours: refusals.ts.
 */
const REFUSED = "event_refused";
const withoutQuote = (message: string): string => message.replace(/( for good)(?:, |: ).*$/s, "$1");

/** Null where everything is kept. */
export function createPrivacy(settings: PrivacySettings, secret: Uint8Array): Privacy | null {
  const { addresses, subjects, filenames, url_queries } = settings;
  if (addresses === "keep" && subjects === "keep" && filenames === "keep" && url_queries === "keep")
    return null;

  const hash = (kind: string, value: string): string =>
    createHmac("sha256", secret).update(`${kind}\0${value}`).digest("hex").slice(0, HASH_DIGITS);

  const address = (value: string): string => {
    if (addresses === "keep" || value === "") return value;
    if (addresses === "drop") return "";
    const lower = value.trim().toLowerCase();
    const at = lower.lastIndexOf("@");
    const digest = hash("address", lower);
    return at < 0 ? digest : `${digest}@${lower.slice(at + 1)}`;
  };
  const subject = (value: string): string => {
    if (subjects === "keep") return value;
    return subjects === "drop" ? "" : hash("subject", value);
  };
  const filename = (value: string): string => {
    if (filenames === "keep") return value;
    if (filenames === "drop") return "";
    const extension = /\.[A-Za-z0-9]{1,8}$/.exec(value)?.[0] ?? "";
    return hash("filename", value) + extension.toLowerCase();
  };
  const marked = (value: string, mark: string): string => (value === "" ? mark : value);
  /** The local part of an address whose host stays. */
  const hiddenUser = (value: string): string => marked(address(value), "[address]").replace(/@.*$/s, "");

  /** Addresses in any text, in base64 and with an escaped at sign, too. */
  const withoutAddresses = (text: string): string => {
    if (addresses === "keep") return text;
    const plain = !AT.test(text)
      ? text
      : text.replace(ADDRESS, (_, local: string, at: string, domain: string) => {
          const made = marked(address(`${percentDecoded(local)}@${domain}`), "[address]");
          return at === "@" ? made : made.replace("@", "%40");
        });
    return plain.replace(TOKEN, (token) => {
      const decoded = Buffer.from(token, "base64").toString("latin1");
      if (!/^[\x20-\x7E]+$/.test(decoded)) return token;
      const found = /[^\s@<>"'=&?,;:/]{1,64}@[a-z0-9-]{1,63}(?:\.[a-z0-9-]{1,63})+/i.exec(decoded)?.[0];
      return found === undefined ? token : marked(address(found), "[address]");
    });
  };

  const withoutQueries = (text: string): string =>
    url_queries === "drop" ? text.replace(WEB_URL, "$1") : text;

  return {
    dropped: [
      ...(addresses === "drop"
        ? [
            ...["mail.envelope.from", "mail.envelope.to", "mail.from", "mail.to", "mail.cc"],
            ...["mails.envelope.from", "mails.envelope.to"],
            ...["attachments.iocs.email_addresses", "urls.iocs.email_addresses"],
          ]
        : []),
      ...(subjects === "drop" ? ["mail.subject", "mails.subject"] : []),
      ...(filenames === "drop" ? ["attachments.filename", "attachments.path"] : []),
    ],

    apply(event) {
      const known = knownValues(event);
      const unusual = addresses === "keep" ? [] : known.addresses.filter((one) => !isUsual(one));
      const names = filenames === "keep" ? [] : known.names;

      const knownAddresses = once(() => new Set(known.addresses.map((one) => one.toLowerCase())));
      const shownUrls = once(() => shownForms(known.urls));
      const shownNames = once(() => shownForms(known.names));

      const literal = (text: string, value: string, made: string): string =>
        value.length >= SHORTEST && text.includes(value) ? text.replaceAll(value, made) : text;

      /** What is searched for word by word, with what takes its place. */
      const literals = once(() => [
        ...(subjects === "keep" ? [] : known.subjects).flatMap((one) => {
          const hidden = marked(subject(one), "[subject]");
          return [one, showText(one, MAX_NAME)].map((value) => ({ value, hidden }));
        }),
        ...names.flatMap((one) => {
          const hidden = marked(filename(one), "[name]");
          return [one, showText(one, MAX_NAME)].map((value) => ({ value, hidden }));
        }),
        ...unusual.map((value) => ({ value, hidden: marked(address(value), "[address]") })),
      ]);
      /** What stands before the host is how a link deceives, not who is meant: it goes where it is an address. */
      const authority = (value: string): string => {
        const at = value.lastIndexOf("@");
        if (addresses === "keep" || at < 0) return value;
        const start = value.indexOf("://") + 3;
        const [user, host] = [value.slice(start, at), value.slice(at + 1)];
        const whole = `${percentDecoded(user)}@${host}`.toLowerCase();
        const known = knownAddresses().has(whole);
        return `${value.slice(0, start)}${known ? hiddenUser(whole) : withoutAddresses(user)}@${host}`;
      };
      /** What is searched for in URLs: of values that begin alike, which a mail may have many of, one stands for all. */
      const urlLiterals = once(() => {
        const each = literals().filter(({ value }) => value.length >= SHORTEST && !value.endsWith("\u2026"));
        return [...new Map(each.map((one) => [one.value.slice(0, MAX_KEY), one])).entries()].map(
          ([key, { value, hidden }]) => ({ key, value, hidden }),
        );
      });
      /** A part of a URL that holds a name or a subject, plain or with escapes, goes as a whole. */
      const withoutNames = (text: string): string => {
        const plain = escapesDecoded(text);
        const found = urlLiterals().filter(({ key }) => plain.includes(key));
        if (found.length === 0) return text;
        const holds = (one: string) => {
          const decoded = escapesDecoded(one);
          return found.find(({ key }) => decoded.includes(key));
        };
        const made = found
          .reduce((left, { value, hidden }) => literal(left, value, hidden), text)
          .replace(URL_PART, (part) => holds(part)?.hidden ?? part);
        // One that goes over the marks of a URL.
        const still = holds(made);
        return still === undefined ? made : `/${still.hidden}`;
      };
      const url = (value: string): string => {
        const kept = url_queries === "drop" ? value.replace(/[?#].*$/s, "") : value;
        const host = /^[a-z][a-z0-9+.-]*:\/\/[^/?#]*/i.exec(kept)?.[0] ?? "";
        return authority(host) + withoutAddresses(withoutNames(kept.slice(host.length)));
      };
      /** A text without what is known to be private, and without what looks like it. */
      const scrub = (text: string): string => {
        let made = text;
        for (const { value, hidden } of literals()) made = literal(made, value, hidden);
        return beforeEllipsis(withoutAddresses(withoutQueries(made)));
      };
      /** The start of an address whose rest was cut away. */
      const beforeEllipsis = (text: string): string =>
        addresses === "keep" || !text.includes("\u2026")
          ? text
          : text.replace(/[^\s"'<>/?#&=]{3,}(?=\u2026)/g, (start) =>
              known.addresses.some((one) => one.toLowerCase().startsWith(start.toLowerCase()))
                ? "[address]"
                : start,
            );

      const partName = (kind: string, name: string): string => {
        if (kind === "URL") return scrub(url(name));
        return filenames === "keep" ? scrub(name) : "[name]";
      };
      /** A text in which parts may be named as reasons name them. */
      const sentence = (text: string): string => {
        let made = "";
        let at = 0;
        for (const match of text.matchAll(PART)) {
          if (match.index < at) continue;
          const start = match.index + match[0].length;
          const [, kind = ""] = match;
          made += scrub(text.slice(at, match.index)) + match[0];
          const shown = (kind === "URL" ? shownUrls() : shownNames()).find((one) =>
            text.startsWith(`${one.text}"`, start),
          );
          if (shown !== undefined) {
            const hidden = kind === "URL" ? url(shown.value) : marked(filename(shown.value), "[name]");
            made += showText(kind === "URL" || filenames === "keep" ? scrub(hidden) : hidden, MAX_NAME);
            at = start + shown.text.length;
          } else {
            // A name that the event does not have in full: all of it goes, up to the last quote.
            const quote = text.lastIndexOf('"');
            at = quote > start ? quote : text.length;
            made += partName(kind, text.slice(start, at));
          }
        }
        return made + scrub(text.slice(at));
      };

      /** Message-IDs look like addresses; one that holds an address of the mail goes. */
      const messageId = (value: string): string => {
        if (addresses === "keep") return value;
        const lower = value.toLowerCase();
        const telling = known.addresses.some((one) => {
          const plain = one.toLowerCase();
          return (
            plain.length >= SHORTEST && (lower.includes(plain) || lower.includes(plain.replace("@", "=")))
          );
        });
        return telling ? marked(address(value), "[message id]") : value;
      };

      const text = (value: string, name: string, within: string): string => {
        if (PLAIN.has(name)) return value;
        if (ADDRESSES.has(name)) return address(value);
        if (name === "subject") return subjects === "keep" ? scrub(value) : subject(value);
        if (NAMES.has(name)) return filenames === "keep" ? scrub(value) : filename(value);
        if (name === "message_id") return messageId(value);
        // The page in the web interface of VMRay is no URL of the mail.
        if (URLS.has(name)) return within === "vmray" ? value : url(value);
        if (name === "message" && event.state?.name === REFUSED) return withoutQuote(value);
        return sentence(value);
      };
      const walk = (value: unknown, name: string, within: string): unknown => {
        if (typeof value === "string") return text(value, name, within);
        if (Array.isArray(value)) {
          if (addresses === "drop" && ADDRESSES.has(name)) return [];
          if (filenames === "drop" && NAMES.has(name)) return [];
          return value.map((item) => walk(item, name, within));
        }
        if (typeof value !== "object" || value === null) return value;
        return Object.fromEntries(
          Object.entries(value).map(([key, below]) => [
            key,
            key === "sensor" ? below : walk(below, key, name),
          ]),
        );
      };
      // The walk changes texts alone and empties lists: the shape stays.
      return walk(event, "", "") as SensorEvent;
    },
  };
}

const isUsual = (address: string): boolean => {
  ADDRESS.lastIndex = 0;
  return ADDRESS.exec(address)?.[0] === address;
};

/** What stands between the marks of a URL. */
const URL_PART = /[^/?&=#;]+/g;

/** The text of a part of a URL; escapes that are none stay. */
function escapesDecoded(text: string): string {
  return text.replaceAll("+", " ").replace(/(?:%[0-9a-f]{2})+/gi, percentDecoded);
}

function percentDecoded(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

function once<T>(make: () => T): () => T {
  let made: { readonly value: T } | null = null;
  return () => {
    made ??= { value: make() };
    return made.value;
  };
}

/** How reasons write the names of parts, longest first. */
function shownForms(values: readonly string[]) {
  return values
    .map((value) => ({ value, text: showText(value, MAX_NAME) }))
    .sort((a, b) => b.text.length - a.text.length);
}

/** Longest first, so that a name is found before one that it holds. */
const longest = (values: readonly string[]): readonly string[] =>
  [...new Set(values)].sort((a, b) => b.length - a.length).slice(0, MAX_NAMES);

/** Every address, subject, name and URL of the event, wherever a member of that name is. */
function knownValues(event: SensorEvent) {
  const found = {
    addresses: [] as string[],
    subjects: [] as string[],
    names: [] as string[],
    urls: [] as string[],
  };
  const gather = (value: unknown, name: string): void => {
    if (typeof value === "string") {
      if (value === "") return;
      if (ADDRESSES.has(name)) found.addresses.push(value);
      else if (name === "subject") found.subjects.push(value);
      else if (NAMES.has(name)) found.names.push(value);
      else if (URLS.has(name)) found.urls.push(value);
    } else if (Array.isArray(value)) for (const item of value) gather(item, name);
    else if (typeof value === "object" && value !== null) {
      for (const [key, below] of Object.entries(value)) gather(below, key);
    }
  };
  gather(event, "");
  return {
    addresses: [...new Set(found.addresses)],
    subjects: [...new Set(found.subjects)],
    names: longest(found.names),
    urls: [...new Set(found.urls)],
  };
}
