import type { ReadUrl } from "../reading.ts";

/** Header fields that hold URLs for readers or their programs. */
const URL_HEADERS: ReadonlySet<string> = new Set([
  "list-unsubscribe",
  "list-subscribe",
  "list-post",
  "list-help",
  "list-archive",
  "list-owner",
  "archived-at",
  "content-base",
  "content-location",
  "link",
  "url",
  "x-url",
  "openpgp",
]);
const MAX_HEADER = 65_536;
const WEB = /^(?:https?|ftp):[/\\]/i;

/**
 * The URLs of a header field: those in angle brackets (RFC 2369, lines may break in them), or the value itself.
 * Their source is the name of the field in lower case. mailto: is none.
 */
export function headerUrls(name: string, value: string): readonly ReadUrl[] {
  const source = name.trim().toLowerCase();
  if (!URL_HEADERS.has(source)) return [];
  const found = new Set<string>();
  const text = value.slice(0, MAX_HEADER);
  for (const [, inner = ""] of text.matchAll(/<([^<>]*)>/g)) {
    const url = inner.replace(/\s+/g, "");
    if (WEB.test(url)) found.add(url);
  }
  if (found.size === 0) {
    for (const word of text.split(/[\s,;"()]+/)) {
      const url = word.replace(/^(?:url=|<)/i, "").replace(/>$/, "");
      if (WEB.test(url)) found.add(url);
    }
  }
  return [...found].map((url) => ({ url, source }));
}
