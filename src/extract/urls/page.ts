/**
 * Searches a page for URLs and for files it carries: its markup, its styles, its scripts, and what these hide in
 * one another.
 *
 * In goes HTML or a script of any shape. The markup in the markup and the texts in the scripts are searched to a
 * depth of four, and together to four times the length of the page; beyond that is a flag. Linear; nothing throws.
 */
import { parse as parseHost } from "tldts";
import type { Inner } from "../reading.ts";
import { urlsInCss } from "./css.ts";
import { base64Bytes, dataUrl, looksLikeFile, percentDecoded, readableText, unescaped } from "./decoding.ts";
import type { UrlFlag } from "./flags.ts";
import { type LinkKind, scanHtml } from "./html.ts";
import { parseUrl, SCHEMELESS } from "./normal-form.ts";
import { scanScript } from "./script.ts";
import { urlsInCode } from "./text.ts";

export type PageFinds = {
  /** A URL, or one that is relative to `base`; without a base it is absolute, or SCHEMELESS says what it lacks. */
  readonly onUrl: (url: string, base: string | undefined, kind: LinkKind) => void;
  readonly onText: (text: string, kind: LinkKind) => void;
  /** What is shown of a link that leads elsewhere. */
  readonly onLinkText: (url: string, text: string) => void;
  readonly onFile: (file: Inner) => void;
  readonly onFlag: (flag: UrlFlag) => void;
};

const MAX_DEPTH = 4;
const MAX_RELATIVE = 5000;
/** Stands in for the page's own scheme where a URL names none: "//host". */
const NO_HOST = "relative.invalid";
const SCHEME_ONLY = `https://${NO_HOST}`;

/** What the parts of one page share. */
type Search = {
  readonly finds: PageFinds;
  /** Characters that nested texts may still have. */
  room: number;
  base: string | undefined;
  /** Relative links seen before there was a base. */
  readonly relative: { readonly value: string; readonly kind: LinkKind }[];
};

export function searchPage(html: string, finds: PageFinds, base?: string): void {
  const search = begin(html, finds, base);
  searchHtml(search, html.includes("\0") ? html.replaceAll("\0", "") : html, 0);
  if (search.base === undefined) return;
  for (const { value, kind } of search.relative) finds.onUrl(value, search.base, kind);
}

/** As searchPage, for a script that is a file of its own. */
export function searchScript(code: string, finds: PageFinds): void {
  readScript(begin(code, finds), code, 0);
}

function begin(text: string, finds: PageFinds, base?: string): Search {
  return { finds, room: 4 * text.length + 65_536, base, relative: [] };
}

/** Whether a text inside another one is searched; it is paid for once. */
function mayNest(search: Search, length: number, depth: number): boolean {
  search.room -= length;
  if (depth <= MAX_DEPTH && search.room >= 0) return true;
  search.finds.onFlag("html_nesting_exceeded");
  return false;
}

function searchHtml(search: Search, html: string, depth: number): void {
  const { finds } = search;
  scanHtml(html, {
    onBase: (value) => {
      search.base ??= parseUrl(value.trim())?.href;
    },
    onLink: (value, kind, download) => readLink(search, value, kind, download, depth),
    onLinkText: (value, text) => {
      if (!text.includes(".")) return;
      const url = parseUrl(value.trim(), search.base ?? SCHEME_ONLY);
      if (url !== null && url.hostname !== NO_HOST) finds.onLinkText(url.href, text);
    },
    onText: (text) => finds.onText(text, "link"),
    onScript: (code) => readScript(search, code, depth),
    onStyle: (css) => {
      for (const url of urlsInCss(css)) readLink(search, url, "resource", null, depth);
    },
    onComment: (comment) => finds.onText(comment, "comment"),
    onMarkup: (markup) => {
      if (mayNest(search, markup.length, depth + 1)) searchHtml(search, markup, depth + 1);
    },
  });
}

const INVISIBLE = /[\u00ad\u200b-\u200f\u2028-\u202e\u2060-\u2064\ufeff]+/g;
const AROUND = /^[\u0000-\u0020\u00a0]+|[\u0000-\u0020\u00a0]+$/g;
const WEB_SCHEMES: ReadonlySet<string> = new Set(["http", "https", "ftp"]);
/** Schemes that lead to no page. A mailto: may have a text with URLs, but leads to none of them. */
const OTHER_SCHEMES: ReadonlySet<string> = new Set([
  "mailto",
  "cid",
  "mid",
  "tel",
  "sms",
  "callto",
  "sip",
  "skype",
  "about",
  "blob",
  "xmpp",
  "geo",
]);

function readLink(
  search: Search,
  written: string,
  kind: LinkKind,
  download: string | null,
  depth: number,
): void {
  const { finds, base } = search;
  const value = written.replace(AROUND, "");
  if (value === "" || value.startsWith("#")) return;
  if (/^[/\\]{2}/.test(value)) {
    if (value.startsWith("\\\\")) finds.onFlag("file_share_link");
    finds.onUrl(value, base ?? SCHEME_ONLY, kind);
    return;
  }
  if (base === undefined && /^www\d{0,2}\./i.test(value)) {
    finds.onUrl(value, SCHEMELESS, kind);
    return;
  }
  // Browsers take tabs and line breaks out; some programs other invisible characters as well.
  const head = value.slice(0, 64).replace(/[\t\r\n]+/g, "");
  let scheme = /^([a-z][a-z0-9+.-]*):/i.exec(head)?.[1]?.toLowerCase();
  let plain = value;
  if (scheme === undefined && head.search(INVISIBLE) >= 0) {
    scheme = /^([a-z][a-z0-9+.-]*):/i.exec(head.replace(INVISIBLE, ""))?.[1]?.toLowerCase();
    if (scheme !== undefined) plain = value.replace(INVISIBLE, "");
  }
  if (scheme === undefined) {
    if (base !== undefined) finds.onUrl(value, base, kind);
    else if (search.relative.length < MAX_RELATIVE) search.relative.push({ value, kind });
    if (base === undefined) finds.onText(value, kind);
  } else if (WEB_SCHEMES.has(scheme)) {
    if (plain !== value) finds.onFlag("url_disguised");
    finds.onUrl(plain, base, kind);
  } else if (scheme === "data") {
    readDataUrl(search, plain, download);
  } else if (scheme === "javascript" || scheme === "vbscript") {
    const code = percentDecoded(plain.slice(plain.indexOf(":") + 1));
    if (mayNest(search, code.length, depth + 1)) readScript(search, code, depth + 1);
  } else if (scheme === "file") {
    const host = /^file:[/\\]{2}([^/\\]+)/i.exec(plain)?.[1]?.toLowerCase();
    if (host !== undefined && host !== "localhost" && !/^[a-z][:|]$/.test(host))
      finds.onFlag("file_share_link");
  } else if (!OTHER_SCHEMES.has(scheme)) {
    // view-source:https://..., ms-word:ofe|u|https://...
    for (const url of urlsInCode(percentDecoded(plain))) finds.onUrl(url, undefined, kind);
  }
}

function readDataUrl(search: Search, url: string, name: string | null): void {
  const data = dataUrl(url);
  if (data !== null && data.bytes.length > 0) {
    search.finds.onFile({ name: name === "" ? null : name, declared: data.declared, bytes: data.bytes });
  }
}

function readScript(search: Search, code: string, depth: number): void {
  const files: Uint8Array[] = [];
  let name: string | null = null;
  const onFile = (bytes: Uint8Array): void => {
    files.push(bytes);
  };
  const whole = scanScript(code, {
    onText: (text) => readConstant(search, text, depth, onFile),
    onFile,
    onCode: (text) => search.finds.onText(text, "comment"),
    onFileName: (written) => {
      if (written.length <= 255) name = written;
    },
  });
  if (!whole) search.finds.onFlag("script_exceeded");
  if (files.length > 0) search.finds.onFlag("script_carries_file");
  for (const bytes of files) search.finds.onFile({ name, declared: null, bytes });
}

const MIN_ENCODED = 16;
const HOST_START = /^[/\\]{2}([^/\\?#:]+)/;
const CODE = /\b(?:atob|eval|unescape|location|fromCharCode|decodeURIComponent|document|window)\b/;

/** What a constant text of a script is: a URL, a page, a script, or one of these encoded. */
function readConstant(
  search: Search,
  text: string,
  depth: number,
  onFile: (bytes: Uint8Array) => void,
): void {
  const { finds } = search;
  if (/^\s{0,64}data:/i.test(text)) {
    readDataUrl(search, text, null);
    return;
  }
  const nested = (inner: string): void => {
    if (!mayNest(search, inner.length, depth + 1)) return;
    if (/<[a-z!/]/i.test(inner)) searchHtml(search, inner, depth + 1);
    else readConstant(search, inner, depth + 1, onFile);
  };
  if (/<[a-z!/]/i.test(text)) {
    nested(text);
    return;
  }
  // A script in the script: what it puts together counts, not how it is written.
  if (CODE.test(text) && /["'`]/.test(text) && /[=(]/.test(text)) {
    if (mayNest(search, text.length, depth + 1)) readScript(search, text, depth + 1);
    return;
  }
  if (text.includes("://") || text.includes(":\\\\")) {
    for (const url of urlsInCode(text)) finds.onUrl(url, undefined, "script");
  } else {
    const host = HOST_START.exec(text)?.[1];
    if (host !== undefined && host.length <= 253 && !/\s/.test(text) && parseHost(host).isIcann === true) {
      finds.onUrl(text, SCHEME_ONLY, "script");
    }
  }
  if (text.length < MIN_ENCODED) return;
  const encoded = decodedConstant(text);
  if (encoded instanceof Uint8Array) {
    if (looksLikeFile(encoded)) onFile(encoded);
    else {
      const inner = readableText(encoded);
      if (inner !== null && isTelling(inner)) nested(inner);
    }
  } else if (encoded !== null && encoded !== text) {
    nested(encoded);
  }
}

function isTelling(text: string): boolean {
  return (
    text.includes("://") || /<[a-z!/]/i.test(text) || CODE.test(text) || /(?:aHR0c|%[0-9a-f]{2})/i.test(text)
  );
}

/** A text decoded: bytes where it is base64, hexadecimal or numbers, text where it is escaped or reversed. */
function decodedConstant(text: string): Uint8Array | string | null {
  if (/%(?:u[0-9a-f]{2}|[0-9a-f])[0-9a-f]/i.test(text)) return unescaped(text);
  if (/\/\/:(?:s?ptth|ptf)/i.test(text)) return [...text].reverse().join("");
  if (text.length % 2 === 0 && /^[0-9a-f]+$/i.test(text)) return Buffer.from(text, "hex");
  if (/^\d{2,3}(?:[,; |-]\s?\d{2,3}){7,}$/.test(text)) {
    return Uint8Array.from(text.split(/\D+/), (code) => Number(code) & 0xff);
  }
  return base64Bytes(text);
}
