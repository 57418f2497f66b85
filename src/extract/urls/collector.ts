/**
 * Collects the URLs of a mail, each normal form once, with those that wrappers among them carry.
 *
 * In go hostile texts and HTML of any shape, out come URLs of the schemes http, https and ftp. The work is linear
 * in the length of the input; nothing here throws. What does not fit a limit is reported through `onFlag`, never
 * left out silently.
 */
import { parse as parseHost } from "tldts";
import type { FoundUrl } from "../extraction.ts";
import type { Inner } from "../reading.ts";
import type { UrlFlag } from "./flags.ts";
import type { LinkKind } from "./html.ts";
import { MAX_URL_LENGTH, normalFormOf, parseUrl, SCHEMELESS } from "./normal-form.ts";
import { type PageFinds, searchPage, searchScript } from "./page.ts";
import { createPersonalTest } from "./personal.ts";
import { urlsInText } from "./text.ts";
import { namedDomain, unwrapAll } from "./wrappers.ts";

export type HtmlOptions = {
  /** Of what relative URLs are relative to, where the mail says so (Content-Base, Content-Location). */
  readonly base?: string;
  /** Receives the files of data: URLs and scripts. */
  readonly onData?: (file: Inner) => void;
};

export type UrlCollector = {
  /** URLs written in a text: with a scheme, beginning with www., or a known domain followed by a path. */
  readonly addText: (text: string, source: string) => void;
  /**
   * URLs of an HTML text. Where it leads or what it runs has the given source; what it loads, what stands in its
   * scripts and in its comments has the source with "-resource", "-script" and "-comment" behind it.
   */
  readonly addHtml: (html: string, source: string, options?: HtmlOptions) => void;
  /** URLs in the texts of a script; the source is as given. */
  readonly addScript: (code: string, source: string, options?: HtmlOptions) => void;
  /** A URL that is given as such, absolute or without a scheme. */
  readonly addUrl: (written: string, source: string) => void;
  readonly found: () => readonly FoundUrl[];
};

export type CollectorOptions = {
  /** Different URLs at most. */
  readonly max: number;
  /** Addresses: a URL with one of them is personal. May grow until `found` is called. */
  readonly recipients: readonly string[];
  readonly onFlag: (flag: UrlFlag) => void;
};

type Entry = {
  readonly url: string;
  /** With its fragment, which the normal form has not. */
  readonly href: string;
  readonly normalized: string;
  readonly sources: Set<string>;
  readonly carriers: Set<string>;
  readonly targets: Set<Entry>;
  readonly domain: string | null;
};

const MAX_FILES = 1000;
/** URLs that standards and file formats name things by, and that no reader follows. */
const NAMES =
  /^https?:\/\/(?:www\.w3\.org\/|schema\.org(?:\/|$)|schemas\.(?:microsoft|openxmlformats|xmlsoap)\.(?:com|org)\/|ns\.adobe\.com\/|purl\.org\/|ogp\.me\/|xmlns\.com\/)/i;

export function createUrlCollector({ max, recipients, onFlag }: CollectorOptions): UrlCollector {
  const byNormal = new Map<string, Entry>();
  const byWritten = new Map<string, Entry | null>();
  let full = false;
  let files = 0;

  function add(written: string, source: string, base?: string): void {
    if (full) return;
    if (written.length > MAX_URL_LENGTH) {
      onFlag("url_too_long");
      return;
    }
    const key = base === undefined || base === SCHEMELESS ? written : null;
    let entry = key === null ? undefined : byWritten.get(key);
    if (entry === undefined) {
      entry = enterWithTargets(written, base);
      if (key !== null && byWritten.size < 4 * max) byWritten.set(key, entry);
    }
    if (entry !== null) addSource(entry, source);
  }

  function addSource(entry: Entry, source: string): void {
    const waiting = [entry];
    for (let next = waiting.pop(); next !== undefined; next = waiting.pop()) {
      if (next.sources.has(source)) continue;
      next.sources.add(source);
      waiting.push(...next.targets);
    }
  }

  function enterWithTargets(written: string, base: string | undefined): Entry | null {
    const url = parseUrl(written, base);
    if (url === null) return null;
    if (isDisguised(written, url)) onFlag("url_disguised");
    const known = byNormal.size;
    const entry = enter(written, url);
    // Where the fragment differs, so may what it carries.
    if (entry === null || (byNormal.size === known && url.hash === "")) return entry;
    const { targets, whole } = unwrapAll(url.href, url);
    if (!whole) onFlag("url_targets_exceeded");
    const entries = new Map([[url.href, entry]]);
    for (const { url: target, from } of targets) {
      const carrier = entries.get(from);
      const parsed = parseUrl(target);
      if (carrier === undefined || parsed === null) continue;
      const inner = enter(target, parsed);
      if (inner === null) continue;
      entries.set(target, inner);
      if (inner === carrier) continue;
      carrier.targets.add(inner);
      inner.carriers.add(carrier.normalized);
      for (const source of carrier.sources) addSource(inner, source);
    }
    return entry;
  }

  function enter(written: string, url: URL): Entry | null {
    const normalized = normalFormOf(url);
    if (normalized.length > MAX_URL_LENGTH) {
      onFlag("url_too_long");
      return null;
    }
    const known = byNormal.get(normalized);
    if (known !== undefined) return known;
    if (byNormal.size >= max) {
      full = true;
      onFlag("urls_exceeded");
      return null;
    }
    const entry: Entry = {
      url: written.toWellFormed(),
      normalized,
      sources: new Set(),
      carriers: new Set(),
      targets: new Set(),
      href: url.href,
      domain: namedDomain(url),
    };
    byNormal.set(normalized, entry);
    return entry;
  }

  const addText = (text: string, source: string): void => {
    for (const written of urlsInText(text)) {
      if (full) return;
      add(written.url, source, written.schemeless ? SCHEMELESS : undefined);
    }
  };

  const findsOf = (sourceOf: (kind: LinkKind) => string, onData: HtmlOptions["onData"]): PageFinds => ({
    onUrl: (url, base, kind) => {
      if ((kind === "script" || kind === "comment") && NAMES.test(url)) return;
      add(url, sourceOf(kind), base);
    },
    onText: (text, kind) => {
      if (kind !== "comment") return addText(text, sourceOf(kind));
      if (!text.includes("://")) return;
      for (const { url, schemeless } of urlsInText(text)) {
        if (!schemeless && !NAMES.test(url)) add(url, sourceOf(kind));
      }
    },
    onLinkText: (url, text) => {
      if (leadsElsewhere(url, text)) onFlag("link_text_mismatch");
    },
    onFile: (file) => {
      files++;
      if (files > MAX_FILES) onFlag("embedded_files_exceeded");
      else onData?.(file);
    },
    onFlag,
  });

  return {
    addText,
    addHtml: (html, source, options) => {
      const sourceOf = (kind: LinkKind): string => (kind === "link" ? source : `${source}-${kind}`);
      searchPage(html, findsOf(sourceOf, options?.onData), options?.base);
    },
    addScript: (code, source, options) =>
      searchScript(
        code,
        findsOf(() => source, options?.onData),
      ),
    addUrl: (written, source) => {
      const trimmed = written.trim();
      add(trimmed, source, /^(?:https?|ftp):/i.test(trimmed) ? undefined : SCHEMELESS);
    },
    found: () => {
      const isPersonal = createPersonalTest(recipients);
      return [...byNormal.values()].map((entry) => collected(entry, isPersonal(entry.href)));
    },
  };
}

function collected({ url, normalized, sources, carriers, domain }: Entry, personal: boolean): FoundUrl {
  return {
    url,
    normalized,
    sources: [...sources],
    ...(carriers.size === 0 ? {} : { unwrapped_from: [...carriers] }),
    ...(domain === null ? {} : { target_domain: domain }),
    ...(personal ? { personal } : {}),
  };
}

/** Whether the host of a URL is not to be seen from how it is written. */
function isDisguised(written: string, url: URL): boolean {
  const authority = /^\s*[a-z+.-]*:?[/\\]*([^/\\?#]*)/i.exec(written)?.[1] ?? "";
  const at = authority.lastIndexOf("@");
  if (/[\u0000-\u001f\u00ad\u200b-\u200f\u2060\ufeff]/.test(authority)) return true;
  if (at > 0 && parseHost(authority.slice(0, at).split(":", 1)[0] ?? "").isIcann === true) return true;
  return /^[\d.]+$/.test(url.hostname) && !authority.slice(at + 1).startsWith(url.hostname);
}

const SHOWN_URL = /^(?:https?:\/\/)?([\p{L}\p{N}.-]{4,253})(?::\d{1,5})?(?:[/?#]\S*)?$/iu;
const FILE_NAME = /^[^/]+\.(?:zip|mov|app|sh|py|rs|md|pl|ps|so|ai|cc)$/i;

/** Whether the text of a link is an address of another registrable domain than the link, or what it carries. */
function leadsElsewhere(link: string, text: string): boolean {
  const shown = text.replace(/[\s\u00ad\u200b-\u200f\u2060\ufeff]+/g, " ").trim();
  const host = SHOWN_URL.exec(shown)?.[1];
  if (host === undefined || FILE_NAME.test(shown)) return false;
  const known = parseHost(host);
  if (known.isIcann !== true || known.domain === null) return false;
  const targets = [link, ...unwrapAll(link).targets.map(({ url }) => url)];
  return !targets.some((target) => parseHost(target).domain === known.domain);
}
