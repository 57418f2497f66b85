/**
 * Finds the URLs of a mail in plain text and in HTML, and brings them to a normal form.
 *
 * In go hostile texts and HTML of any shape, out come URLs of the schemes http, https and ftp, each normal form
 * once. The work is linear in the length of the input; nothing here throws. What does not fit a limit is
 * reported through `onFlag`, never left out silently.
 */
import { Tokenizer } from "htmlparser2";
import { parse as parseHost } from "tldts";
import type { FoundUrl } from "./extraction.ts";
import type { Flag } from "./flags.ts";

/** Characters of the longest URL that is kept. */
export const MAX_URL_LENGTH = 8192;
/** A host name has at most 253 characters (RFC 1035 2.3.4); more room for one not yet in ASCII form. */
const MAX_WRITTEN_HOST = 512;

/** In place of a base URL: the URL was written without its scheme. */
export const SCHEMELESS = "schemeless";

export type UrlCollector = {
  /** URLs written in a text: with a scheme, beginning with www., or a known domain followed by a path. */
  readonly addText: (text: string, source: string) => void;
  /** URLs an HTML text leads to (links, forms, frames, scripts, refresh), and those written in its text. */
  readonly addHtml: (html: string, source: string) => void;
  readonly found: () => readonly FoundUrl[];
};

/** A collector of at most `max` different URLs. */
export function createUrlCollector(max: number, onFlag: (flag: Flag) => void): UrlCollector {
  type Entry = { readonly url: string; readonly sources: Set<string> };
  const byNormal = new Map<string, Entry>();
  const byWritten = new Map<string, Entry | null>();
  let full = false;

  function add(written: string, source: string, base?: string): void {
    if (full) return;
    if (written.length > MAX_URL_LENGTH) {
      onFlag("url_too_long");
      return;
    }
    const absolute = base === undefined || base === SCHEMELESS;
    let entry = absolute ? byWritten.get(written) : undefined;
    if (entry === undefined) {
      entry = enter(written, normalizeUrl(written, base));
      if (absolute && byWritten.size < 4 * max) byWritten.set(written, entry);
    }
    entry?.sources.add(source);
  }

  function enter(written: string, normalized: string | null): Entry | null {
    if (normalized === null) return null;
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
    const entry = { url: written.toWellFormed(), sources: new Set<string>() };
    byNormal.set(normalized, entry);
    return entry;
  }

  const addText = (text: string, source: string): void => {
    for (const written of urlsInText(text)) {
      if (full) return;
      add(written.url, source, written.schemeless ? SCHEMELESS : undefined);
    }
  };

  return {
    addText,
    addHtml: (html, source) => {
      if (full) return;
      scanHtml(html, {
        onLink: (value, base) => add(value, source, base),
        onText: (text) => addText(text, source),
      });
    },
    found: () =>
      [...byNormal].map(([normalized, { url, sources }]) => ({ url, normalized, sources: [...sources] })),
  };
}

const SCHEMES: ReadonlySet<string> = new Set(["http:", "https:", "ftp:"]);
/** A label longer than the 63 octets of RFC 1035 2.3.4, as far as that can be seen before it is converted. */
const OVERLONG_LABEL = /[^.\u3002\uff0e\uff61%]{64}/u;

/**
 * The normal form of a URL: as the WHATWG URL standard writes it (host in lower case and ASCII, default port
 * and dot segments gone), without its fragment. Null where it is no http, https or ftp URL.
 * `base`: what a relative one is resolved against; SCHEMELESS puts http:// in front.
 */
export function normalizeUrl(written: string, base?: string): string | null {
  const value = base === SCHEMELESS ? `http://${written}` : written;
  const authority = /^[^/\\?#]*[/\\]{2,}([^/\\?#]*)/.exec(value)?.[1] ?? "";
  // Punycode takes quadratic time, so what cannot be a host is not converted.
  const host = authority.slice(authority.lastIndexOf("@") + 1);
  if (host.length > MAX_WRITTEN_HOST || OVERLONG_LABEL.test(host)) return null;
  const url = URL.parse(value, base === SCHEMELESS ? undefined : base);
  if (url === null || !SCHEMES.has(url.protocol) || url.hostname === "") return null;
  url.hash = "";
  return url.href;
}

type WrittenUrl = { readonly url: string; readonly schemeless: boolean };

const SCHEME = /(?:https?|ftp):\/\//gi;
const AFTER_URL = /[\s<>"`\u0000-\u001f\u007f]/g;
const TOKEN = /[^\s<>"`\u0000-\u001f\u007f]+/g;
const NEXT_URL = /[,;|](?=(?:https?|ftp):\/\/)/i;

/** The URLs written in a text, in the order of their kind: first those with a scheme. */
function* urlsInText(text: string): Generator<WrittenUrl> {
  if (!text.includes(".") && !text.includes("://")) return;
  let position = 0;
  for (;;) {
    SCHEME.lastIndex = position;
    const match = SCHEME.exec(text);
    if (match === null) break;
    AFTER_URL.lastIndex = SCHEME.lastIndex;
    let end = AFTER_URL.exec(text)?.index ?? text.length;
    const run = text.slice(match.index, end);
    const next = NEXT_URL.exec(run);
    if (next !== null) end = match.index + next.index + 1;
    const whole = next === null ? run : run.slice(0, next.index);
    const url = whole.length <= MAX_URL_LENGTH ? withoutTail(whole) : whole;
    if (url.length > match[0].length) yield { url, schemeless: false };
    position = end;
  }
  for (const [token] of text.matchAll(TOKEN)) {
    const url = token.length <= MAX_URL_LENGTH ? schemelessUrl(token) : null;
    if (url !== null) yield { url, schemeless: true };
  }
}

const WWW = /(?:^|[^\p{L}\p{N}@.\-_/\\%=&?#~])(www\d{0,2}\.)/iu;
const FIRST_OF_HOST = /[\p{L}\p{N}]/u;
const LABEL = /^[\p{L}\p{M}\p{N}_-]{1,63}$/u;

/**
 * The URL in a word without scheme, as mail programs make links of them: www.example.com, example.com/path.
 * A bare example.com is none: it would take in file names (report.zip) and missing spaces (done.It).
 */
function schemelessUrl(token: string): string | null {
  if (!token.includes(".") || token.includes("://")) return null;
  const www = WWW.exec(token);
  if (www === null && !token.includes("/")) return null;
  const start =
    www === null ? token.search(FIRST_OF_HOST) : www.index + www[0].length - (www[1] ?? "").length;
  if (start < 0) return null;
  const rest = token.slice(start);
  const hostEnd = rest.search(/[/?#:@\\]/);
  const host = withoutTail(hostEnd < 0 ? rest : rest.slice(0, hostEnd));
  const after = hostEnd < 0 ? "" : rest.slice(hostEnd);
  if (after.startsWith("@") || host.length > 253) return null;
  if (www === null && !/^(?::\d{1,5})?\//.test(after)) return null;
  const labels = host.split(".");
  if (labels.length < 2 || !labels.every((label) => LABEL.test(label))) return null;
  const known = parseHost(host, { allowPrivateDomains: false });
  if (known.isIp === true || known.isIcann !== true || known.domain === null) return null;
  return withoutTail(host === rest.slice(0, hostEnd < 0 ? rest.length : hostEnd) ? rest : host);
}

const TAIL = new Set([..."..,;:!?'\"*_~|。,、；：！？”’»"]);
const BRACKETS: Readonly<Record<string, string>> = {
  ")": "(",
  "]": "[",
  "}": "{",
  "）": "（",
  "】": "【",
  "」": "「",
  "》": "《",
};

/** A URL without what the sentence around it put at its end: punctuation, brackets it did not open. */
function withoutTail(run: string): string {
  let end = run.length;
  const surplus = new Map<string, number>();
  for (; end > 0; end--) {
    const last = run.charAt(end - 1);
    if (TAIL.has(last)) continue;
    const open = BRACKETS[last];
    if (open === undefined) break;
    const count = surplus.get(last) ?? occurrences(run, last) - occurrences(run, open);
    if (count <= 0) break;
    surplus.set(last, count - 1);
  }
  return run.slice(0, end);
}

function occurrences(text: string, char: string): number {
  let count = 0;
  for (let at = text.indexOf(char); at >= 0; at = text.indexOf(char, at + 1)) count++;
  return count;
}

/** Attributes that lead somewhere, by element. */
const LINKS: Readonly<Record<string, readonly string[]>> = {
  a: ["href", "xlink:href"],
  area: ["href"],
  base: ["href"],
  form: ["action"],
  button: ["formaction"],
  input: ["formaction"],
  iframe: ["src"],
  frame: ["src"],
  embed: ["src"],
  object: ["data"],
  script: ["src"],
};
const NO_TEXT: ReadonlySet<string> = new Set(["script", "style"]);
const OTHER_SCHEME = /^\s*(?:mailto|cid|data|javascript|vbscript|tel|sms|about|blob|file):/i;

type HtmlFinds = {
  readonly onLink: (value: string, base: string | undefined) => void;
  readonly onText: (text: string) => void;
};

/** Reads HTML as a flat run of tags, so that nesting costs nothing. */
function scanHtml(html: string, finds: HtmlFinds, insideComment = false): void {
  let base: string | undefined;
  let tag = "";
  let wanted: readonly string[] | undefined;
  let attribute = "";
  let value = "";
  let refresh = false;
  let content = "";
  let silent = "";
  let text = "";

  const flushText = (): void => {
    if (text !== "") finds.onText(text);
    text = "";
  };
  const link = (written: string): void => {
    const trimmed = written.trim();
    if (trimmed === "" || trimmed.startsWith("#") || OTHER_SCHEME.test(trimmed)) return;
    if (/^[/\\]{2}/.test(trimmed)) finds.onLink(trimmed, base ?? "https://relative.invalid");
    else if (base === undefined && /^www\d{0,2}\./i.test(trimmed)) finds.onLink(trimmed, SCHEMELESS);
    else finds.onLink(trimmed, base);
  };

  const tokenizer = new Tokenizer(
    {},
    {
      onopentagname: (start, end) => {
        tag = html.slice(start, end).toLowerCase();
        wanted = Object.hasOwn(LINKS, tag) ? LINKS[tag] : undefined;
        refresh = false;
        content = "";
        if (silent === "") flushText();
        if (NO_TEXT.has(tag)) silent = tag;
      },
      onattribname: (start, end) => {
        attribute = wanted !== undefined || tag === "meta" ? html.slice(start, end).toLowerCase() : "";
        value = "";
      },
      onattribdata: (start, end) => {
        // One character over the limit is enough for it to be seen as too long.
        if (attribute !== "" && value.length <= MAX_URL_LENGTH) {
          value += html.slice(start, Math.min(end, start + MAX_URL_LENGTH + 1));
        }
      },
      onattribentity: (codepoint) => {
        if (attribute !== "" && value.length <= MAX_URL_LENGTH) value += String.fromCodePoint(codepoint);
      },
      onattribend: () => {
        if (tag === "meta") {
          if (attribute === "http-equiv") refresh = value.trim().toLowerCase() === "refresh";
          if (attribute === "content") content = value;
        } else if (attribute !== "" && wanted?.includes(attribute) === true) {
          if (tag === "base" && base === undefined) base = normalizeUrl(value.trim()) ?? undefined;
          link(value);
        }
      },
      onopentagend: () => {
        const target = refresh ? /url\s*=\s*["']?([^"']*)/i.exec(content)?.[1] : undefined;
        if (target !== undefined) link(target);
      },
      onselfclosingtag: () => {
        const target = refresh ? /url\s*=\s*["']?([^"']*)/i.exec(content)?.[1] : undefined;
        if (target !== undefined) link(target);
      },
      onclosetag: (start, end) => {
        if (silent === "") flushText();
        else if (html.slice(start, end).toLowerCase() === silent) silent = "";
      },
      ontext: (start, end) => {
        if (silent === "") text += html.slice(start, end);
      },
      ontextentity: (codepoint) => {
        if (silent === "") text += String.fromCodePoint(codepoint);
      },
      oncomment: (start, end, endOffset) => {
        // Outlook shows what stands in a conditional comment.
        const comment = html.slice(start, end - endOffset);
        if (!insideComment && comment.includes("<") && /^\s*\[if/i.test(comment))
          scanHtml(comment, finds, true);
      },
      oncdata: (start, end, endOffset) => {
        if (silent === "") text += html.slice(start, end - endOffset);
      },
      ondeclaration: () => {},
      onprocessinginstruction: () => {},
      onend: flushText,
    },
  );
  tokenizer.write(html);
  tokenizer.end();
}
