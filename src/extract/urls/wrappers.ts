/**
 * Opens URLs that carry another one: those that mail gateways rewrite links to, click counters, and redirectors.
 *
 * In goes an absolute URL, out come the URLs it carries, as written there. What carries its target only in the
 * tables of a service (Mimecast, SendGrid, shorteners) gives none. A target ends where its parameter ends: what
 * follows the next & or ; is the wrapper's own. Nothing throws; the work is linear in the length of the URL.
 */
import { parse as parseHost } from "tldts";
import { base64Bytes, percentDecoded } from "./decoding.ts";
import { MAX_URL_LENGTH, parseUrl } from "./normal-form.ts";

/** Wrappers inside one another that are opened, and URLs that one URL may give in all. */
export const MAX_UNWRAP_DEPTH = 5;
export const MAX_UNWRAPPED = 20;

/** All URLs that a URL carries, at any depth, the outer ones first. */
export function unwrapUrl(url: string): readonly string[] {
  return unwrapAll(url).targets.map(({ url: target }) => target);
}

export type Target = {
  readonly url: string;
  /** The URL that carries it. */
  readonly from: string;
};

/**
 * As unwrapUrl, with where each one was; `whole` is false where a bound left some out. `parsed`: the URL as parseUrl
 * gives it, where that is known.
 */
export function unwrapAll(
  url: string,
  parsed: URL | null = parseUrl(url),
): { readonly targets: readonly Target[]; readonly whole: boolean } {
  const first = parsed === null || url.length > MAX_URL_LENGTH ? [] : carriedBy(parsed);
  if (first.length === 0) return { targets: [], whole: true };
  const targets: Target[] = [];
  const seen = new Set([url]);
  const whole = true;
  let level = [url];
  for (let depth = 0; level.length > 0; depth++) {
    const next: string[] = [];
    for (const from of level) {
      for (const target of depth === 0 ? first : unwrapOnce(from)) {
        if (seen.has(target)) continue;
        if (depth === MAX_UNWRAP_DEPTH || targets.length === MAX_UNWRAPPED) return { targets, whole: false };
        seen.add(target);
        targets.push({ url: target, from });
        next.push(target);
      }
    }
    level = next;
  }
  return { targets, whole };
}

/** The URLs that a URL carries directly. */
export function unwrapOnce(written: string): readonly string[] {
  if (written.length > MAX_URL_LENGTH) return [];
  const url = parseUrl(written);
  return url === null ? [] : carriedBy(url);
}

function carriedBy(url: URL): readonly string[] {
  const special = rewritten(url);
  if (special !== null) return [special];
  const found = new Set<string>();
  for (const value of parameterValues(url.search.slice(1))) addTo(found, carried(value));
  addTo(found, carriedByPath(url));
  addTo(found, carriedByPage(url));
  const fragment = url.hash.slice(1);
  addTo(found, carried(fragment));
  for (const value of parameterValues(fragment)) addTo(found, carried(value));
  return [...found];
}

function addTo(found: Set<string>, target: string | null): void {
  if (target !== null && parseUrl(target) !== null) found.add(target);
}

/** The domain that a wrapper names of a target it does not carry: `domain` of Mimecast, `d` of Sophos. */
export function namedDomain(url: URL): string | null {
  const { hostname } = url;
  const name = hostname.endsWith(".mimecast.com")
    ? "domain"
    : hostname.endsWith(".protection.sophos.com")
      ? "d"
      : null;
  if (name === null) return null;
  const domain = (url.searchParams.get(name) ?? "").toLowerCase();
  return parseHost(domain).isIcann === true && parseHost(domain).hostname === domain ? domain : null;
}

const MAX_PARAMETERS = 200;

function parameterValues(query: string): readonly string[] {
  if (query.length <= 6) return [];
  return query
    .split(/[&;]/, MAX_PARAMETERS)
    .map((parameter) => parameter.slice(parameter.indexOf("=") + 1))
    .filter((value) => value.length > 6);
}

const WEB_URL = /^(?:https?|ftp):[/\\]{1,3}[^/\\]/i;
const WEB_HOST = /^(?:[/\\]{2})?[^/\\?#@:]+/;
/** Base64 of "http" and "HTTP". Services put up to four characters of their own in front. */
const BASE64_HTTP = /^[A-Za-z0-9_-]{0,4}?(?=aHR0c|SFRUU)/;
const MAX_ENCODINGS = 3;

/** The URL that a value is, in up to three layers of percent escapes, or in base64. */
function carried(value: string): string | null {
  if (value === "") return null;
  let text = value;
  for (let layer = 0; ; layer++) {
    if (WEB_URL.test(text)) return text.replace(/^([a-z]+:)[/\\]+/i, "$1//");
    const lead = BASE64_HTTP.exec(text);
    if (lead !== null) return carriedInBase64(text.slice(lead[0].length));
    if (/^(?:[/\\]{2}|www\.)/i.test(text)) {
      const host = WEB_HOST.exec(text)?.[0].replace(/^[/\\]+/, "") ?? "";
      if (host.length <= 253 && parseHost(host).isIcann === true)
        return `http://${text.replace(/^[/\\]+/, "")}`;
    }
    const decoded = layer < MAX_ENCODINGS ? percentDecoded(text).trim() : text;
    if (decoded === text) return null;
    text = decoded;
  }
}

function carriedInBase64(text: string): string | null {
  // What follows the base64 (a checksum after a dot, a path) is not of it.
  const run = /^[A-Za-z0-9+/_-]+/.exec(text)?.[0] ?? "";
  const decoded = base64Bytes(run)?.toString("utf8") ?? "";
  const url = /^https?:\/\/[^\u0000-\u0020\u007f\ufffd"<>]+/i.exec(decoded)?.[0];
  return url ?? null;
}

const PLAIN_IN_PATH = /\/(?:[\w.-]{1,16}=)?(https?:\/{1,2}[^/].*)$/i;
const ESCAPED_IN_PATH = /^(?:[\w.-]{1,16}=)?(?:https?(?::|%3a|%253a)(?:\/|%2f|%252f){0,2}(?:%2f|%252f))/i;

/** A URL in the path: to the end of all where it is written plainly, to the end of its segment where escaped. */
function carriedByPath({ pathname, search }: URL): string | null {
  for (const segment of pathname.split("/", MAX_PARAMETERS)) {
    if (segment.length < 8) continue;
    if (ESCAPED_IN_PATH.test(segment)) return carried(segment.replace(/^[\w.-]{1,16}=/, ""));
    if (BASE64_HTTP.test(segment)) return carried(segment);
  }
  const at = pathname.search(/\/(?:[\w.-]{1,16}=)?https?:\//i);
  const plain = at < 0 ? undefined : PLAIN_IN_PATH.exec(pathname.slice(at))?.[1];
  return plain === undefined ? null : carried(plain + search);
}

/** Services that show the page of another host under their own name. */
function carriedByPage({ hostname, pathname, search }: URL): string | null {
  const amp = /^\/amp\/(s\/)?(.+)$/.exec(pathname);
  if (amp !== null && /^www\.google\.[a-z.]+$/.test(hostname)) return ampTarget(amp[1], amp[2], search);
  const cache = /^\/(?:[cvir]|wp)\/(s\/)?(.+)$/.exec(pathname);
  if (cache !== null && hostname.endsWith(".cdn.ampproject.org"))
    return ampTarget(cache[1], cache[2], search);
  if (!hostname.endsWith(".translate.goog")) return null;
  const label = hostname.slice(0, -".translate.goog".length);
  const host = label.replace(/-(-)?/g, (_, twice: string | undefined) => (twice === undefined ? "." : "-"));
  const own = search
    .slice(1)
    .split("&")
    .filter((parameter) => parameter !== "" && !parameter.startsWith("_x_tr_"));
  return `https://${host}${pathname}${own.length === 0 ? "" : `?${own.join("&")}`}`;
}

function ampTarget(secure: string | undefined, rest: string | undefined, search: string): string | null {
  const host = (rest ?? "").split("/", 1)[0] ?? "";
  if (host.length > 253 || parseHost(host).isIcann !== true) return null;
  return `${secure === undefined ? "http" : "https"}://${rest}${search}`;
}

/** URL Defense of Proofpoint, which writes its targets in ways of its own (versions 2 and 3). */
function rewritten(url: URL): string | null {
  if (!/(?:^|\.)urldefense(?:\.proofpoint)?\.(?:com|us)$/.test(url.hostname)) return null;
  if (url.pathname.startsWith("/v3/")) return defenseV3(url.href);
  if (!url.pathname.startsWith("/v2/")) return null;
  const value = url.searchParams.get("u") ?? "";
  return carried(percentDecoded(value.replaceAll("-", "%").replaceAll("_", "/")));
}

const RUN_LENGTHS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/**
 * Version 3: `/v3/__TARGET__;REPLACED!...`, where each * of the target stands for the next character of REPLACED
 * (base64url of UTF-8), and ** with a letter for as many as the letter says, from two.
 */
function defenseV3(href: string): string | null {
  const start = href.indexOf("/v3/__");
  const end = href.lastIndexOf("__;");
  if (start < 0 || end < start + 6) return null;
  const target = href.slice(start + 6, end);
  const replaced = /^[A-Za-z0-9_-]*/.exec(href.slice(end + 3))?.[0] ?? "";
  const chars = [...Buffer.from(replaced, "base64").toString("utf8")];
  let at = 0;
  const whole = target.replace(/\*(?:\*([A-Za-z0-9_-]))?/g, (star, run: string | undefined) => {
    const length = run === undefined ? 1 : RUN_LENGTHS.indexOf(run) + 2;
    const text = chars.slice(at, at + length).join("");
    at += length;
    return text === "" ? star : text;
  });
  return carried(whole);
}
