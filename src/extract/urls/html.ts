/**
 * Reads HTML as a flat run of tags, so that nesting costs nothing, and tells where it leads and what it loads.
 *
 * What hides the rest of a page from one reader (a comment, a title or a script that is never closed) does not
 * hide it from all, so what stands in it is given as markup of its own. The work is linear; nothing throws.
 */
import { Tokenizer } from "htmlparser2";
import { createNameFilter } from "../name-filter.ts";
import { MAX_URL_LENGTH } from "./normal-form.ts";

/** How a page uses a URL: to lead there or run it, to load it as a picture or style, or in a script or comment. */
export type LinkKind = "link" | "resource" | "script" | "comment";

export type HtmlFinds = {
  /** The value of an attribute, as written. `download`: the name under which its target is saved. */
  readonly onLink: (value: string, kind: LinkKind, download: string | null) => void;
  readonly onBase: (value: string) => void;
  /** What is shown of a link. */
  readonly onLinkText: (value: string, text: string) => void;
  readonly onText: (text: string) => void;
  readonly onScript: (code: string) => void;
  readonly onStyle: (css: string) => void;
  readonly onComment: (comment: string) => void;
  /** HTML inside the HTML. */
  readonly onMarkup: (html: string) => void;
};

type Role = LinkKind | "list" | "candidates" | "script-code" | "style" | "markup" | "other";

/** Attributes that are looked at, on whatever element they stand: mail programs differ in which they follow. */
const ROLES: ReadonlyMap<string, Role> = new Map<string, Role>([
  ["href", "link"],
  ["xlink:href", "link"],
  ["o:href", "link"],
  ["action", "link"],
  ["formaction", "link"],
  ["cite", "link"],
  ["longdesc", "link"],
  ["manifest", "link"],
  ["codebase", "link"],
  // Where a mail program keeps the link that a gateway rewrote.
  ["originalsrc", "link"],
  ["data-saferedirecturl", "link"],
  ["data-href", "link"],
  ["data-url", "link"],
  ["src", "resource"],
  ["o:src", "resource"],
  ["data-src", "resource"],
  ["poster", "resource"],
  ["background", "resource"],
  ["lowsrc", "resource"],
  ["dynsrc", "resource"],
  ["icon", "resource"],
  ["ping", "list"],
  ["archive", "list"],
  ["srcset", "candidates"],
  ["imagesrcset", "candidates"],
  ["srcdoc", "markup"],
  ["style", "style"],
  ["http-equiv", "other"],
  ["content", "other"],
  ["data", "other"],
  ["value", "other"],
  ["values", "other"],
  ["to", "other"],
  ["from", "other"],
  ["download", "other"],
]);
/** Elements whose `src` is a page or a program. */
const ACTIVE: ReadonlySet<string> = new Set(["iframe", "frame", "embed", "script", "bgsound", "amp-iframe"]);
/** Elements whose `href` is a picture or a style. */
const LOADING: ReadonlySet<string> = new Set(["link", "image", "use", "feimage"]);
/** Elements that lead where their `values` say. */
const ANIMATIONS: ReadonlySet<string> = new Set(["animate", "set", "animatetransform", "animatemotion"]);
/** Elements whose content browsers take for text, and others for HTML. */
const RAW: ReadonlySet<string> = new Set([
  "script",
  "style",
  "title",
  "textarea",
  "xmp",
  "iframe",
  "noembed",
  "noframes",
  "plaintext",
]);
/** Attributes kept whole. Of others one character over the limit is enough for a URL to be seen as too long. */
const LONG: ReadonlySet<Role> = new Set<Role>(["script-code", "markup", "style", "candidates"]);
/** data:, javascript: and vbscript: may be long as well. */
const CARRYING = /^[\s\u0000-\u0020]*[djv]/i;
const MAX_LINK_TEXT = 300;
const LETTER_O = 0x6f;

const mayHaveRole = createNameFilter(ROLES.keys());

type Attribute = { readonly name: string; readonly role: Role; readonly value: string };

export function scanHtml(html: string, finds: HtmlFinds): void {
  let tag = "";
  let attributes: Attribute[] = [];
  let name = "";
  let role: Role | undefined;
  let value = "";
  let limit = 0;
  let raw = "";
  let text = "";
  let anchor: { readonly href: string; text: string } | null = null;

  const flushText = (): void => {
    if (text === "") return;
    const flushed = text;
    text = "";
    finds.onText(flushed);
  };
  const closeAnchor = (): void => {
    if (anchor !== null && anchor.text !== "") finds.onLinkText(anchor.href, anchor.text);
    anchor = null;
  };
  const closeRaw = (closed: boolean): void => {
    const content = text;
    const element = raw;
    text = "";
    raw = "";
    if (element === "script") finds.onScript(content);
    else if (element === "style") finds.onStyle(content);
    else if (!content.includes("<")) finds.onText(content);
    else finds.onMarkup(content);
    if (!closed && (element === "script" || element === "style") && content.includes("<"))
      finds.onMarkup(content);
  };
  const endTag = (): void => {
    if (tag === "") return;
    if (attributes.length > 0) readElement(tag, attributes, finds);
    if (tag === "a" || tag === "area") {
      closeAnchor();
      const href = attributes.find((one) => one.name === "href")?.value;
      if (tag === "a" && href !== undefined) anchor = { href, text: "" };
    }
    if (RAW.has(tag)) {
      flushText();
      raw = tag;
    }
    tag = "";
    if (attributes.length > 0) attributes = [];
  };

  const tokenizer = new Tokenizer(
    {},
    {
      onopentagname: (start, end) => {
        // Inside a raw element the tokenizer sees no tags, unless it takes the element for an ordinary one.
        if (raw !== "") closeRaw(true);
        flushText();
        tag = html.slice(start, end).toLowerCase();
        if (attributes.length > 0) attributes = [];
      },
      onattribname: (start, end) => {
        role = undefined;
        if ((html.charCodeAt(start) | 0x20) !== LETTER_O && !mayHaveRole(html, start, end)) return;
        name = html.slice(start, end).toLowerCase();
        role = name.startsWith("on") ? "script-code" : ROLES.get(name);
        value = "";
        limit = role !== undefined && LONG.has(role) ? Number.POSITIVE_INFINITY : MAX_URL_LENGTH + 1;
      },
      onattribdata: (start, end) => {
        if (role === undefined) return;
        let left = limit - value.length;
        if (end - start > left) {
          const head = value.length < 32 ? value + html.slice(start, start + 32) : value;
          if (CARRYING.test(head.slice(0, 32))) {
            limit = Number.POSITIVE_INFINITY;
            left = limit;
          }
        }
        if (left > 0) value += html.slice(start, Math.min(end, start + left));
      },
      onattribentity: (codepoint) => {
        if (role !== undefined && value.length < limit) value += String.fromCodePoint(codepoint);
      },
      onattribend: () => {
        if (role !== undefined) attributes.push({ name, role, value });
      },
      onopentagend: endTag,
      onselfclosingtag: endTag,
      onclosetag: (start, end) => {
        const closing = html.slice(start, Math.min(end, start + 16)).toLowerCase();
        if (raw !== "") {
          if (closing === raw) closeRaw(true);
          return;
        }
        flushText();
        if (closing === "a") closeAnchor();
      },
      ontext: (start, end) => {
        const piece = html.slice(start, end);
        text += piece;
        if (anchor !== null && anchor.text.length < MAX_LINK_TEXT)
          anchor.text += piece.slice(0, MAX_LINK_TEXT);
      },
      ontextentity: (codepoint) => {
        const char = String.fromCodePoint(codepoint);
        text += char;
        if (anchor !== null && anchor.text.length < MAX_LINK_TEXT) anchor.text += char;
      },
      oncomment: (start, end, endOffset) =>
        readComment(html.slice(start, Math.max(start, end - endOffset)), finds),
      oncdata: (start, end, endOffset) => {
        text += html.slice(start, Math.max(start, end - endOffset));
      },
      ondeclaration: (start, end) => finds.onComment(html.slice(start, end)),
      onprocessinginstruction: (start, end) => finds.onComment(html.slice(start, end)),
      onend: () => {
        // A tag that is never closed is none to a browser, but to others.
        endTag();
        if (raw !== "") closeRaw(false);
        flushText();
        closeAnchor();
      },
    },
  );
  tokenizer.write(html);
  tokenizer.end();
}

function readComment(comment: string, finds: HtmlFinds): void {
  // Outlook shows what stands in a conditional comment.
  if (/^\s{0,64}\[if/i.test(comment) && comment.includes("<")) finds.onMarkup(comment);
  else finds.onComment(comment);
}

function readElement(tag: string, attributes: readonly Attribute[], finds: HtmlFinds): void {
  const download = attributes.find(({ name }) => name === "download")?.value ?? null;
  for (const { name, role, value } of attributes) {
    switch (role) {
      case "link":
        if (tag === "base" && name === "href") finds.onBase(value);
        finds.onLink(value, name === "href" && LOADING.has(tag) ? "resource" : "link", download);
        break;
      case "resource":
        finds.onLink(value, name === "src" && ACTIVE.has(tag) ? "link" : "resource", null);
        break;
      case "list":
        for (const one of value.split(/[\s,]+/)) finds.onLink(one, "link", null);
        break;
      case "candidates":
        for (const one of candidates(value)) finds.onLink(one, "resource", null);
        break;
      case "script-code":
        finds.onScript(value);
        break;
      case "style":
        if (/url|@import|\\/i.test(value)) finds.onStyle(value);
        break;
      case "markup":
        finds.onMarkup(value);
        break;
      default:
        if (name === "data" && tag === "object") finds.onLink(value, "link", null);
        else if (name === "value" && tag === "param") finds.onLink(value, "link", null);
        else if (ANIMATIONS.has(tag)) for (const one of value.split(";")) finds.onLink(one, "link", null);
    }
  }
  if (tag === "meta") readMeta(attributes, finds);
}

function readMeta(attributes: readonly Attribute[], finds: HtmlFinds): void {
  if (
    !attributes.some(({ name, value }) => name === "http-equiv" && value.trim().toLowerCase() === "refresh")
  )
    return;
  for (const { name, value } of attributes) {
    const target = name === "content" ? /url\s{0,64}=\s{0,64}["']?([^"']*)/i.exec(value)?.[1] : undefined;
    if (target !== undefined) finds.onLink(target, "link", null);
  }
}

/** The URLs of a srcset: each with a width or density behind it, and a comma. */
function* candidates(value: string): Generator<string> {
  for (const word of value.split(/\s+/)) {
    const url = word.replace(/^,+|,+$/g, "");
    if (url !== "" && !/^\d+(?:\.\d+)?[wxh]$/.test(url)) yield url;
  }
}
