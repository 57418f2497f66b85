/**
 * Finds the URLs written in a plain text, as mail programs make links of them.
 *
 * In goes a decoded text, out come URLs as written: with a scheme, beginning with www., or a known domain
 * followed by a path or query. A bare example.com is none: some programs link it, but the same rule takes in file
 * names (report.zip), missing spaces (done.It) and every signature. Neither is what was made unusable on purpose
 * (hxxp, example[.]com): no program links it. The work is linear in the length of the text.
 */
import { parse as parseHost } from "tldts";
import { MAX_URL_LENGTH, parseUrl } from "./normal-form.ts";

export type WrittenUrl = { readonly url: string; readonly schemeless: boolean };

/** The URLs of a text, first those with a scheme. Where a text can be read in two ways, both readings. */
export function* urlsInText(text: string): Generator<WrittenUrl> {
  if (!MAY_HOLD_URL.test(text)) return;
  const plain = withoutQuoteMarks(text);
  yield* withScheme(plain);
  yield* withoutScheme(plain);
}

const MAY_HOLD_URL = /[^\s.]\.[^\s.]|:[/\\]{2}/;

/** The URLs with a scheme in the code of a script: they end at quotes and backslashes as well. */
export function* urlsInCode(code: string): Generator<string> {
  for (const [start, end] of spans(code, CODE_END)) {
    yield withoutTail(withoutHostEnd(code.slice(start, Math.min(end, start + MAX_URL_LENGTH + 1))));
  }
}

/** The marks of a reply ("> > ") off the lines of a text. */
function withoutQuoteMarks(text: string): string {
  return text.includes(">") && /(?:^|\n)>/.test(text) ? text.replace(/^(?:> ?)+/gm, "") : text;
}

// A URL also ends where another one, or the second half of a Markdown link, follows without a space.
const AFTER_URL = /[\s<>"`\u0000-\u001f\u007f]|[,;|](?=(?:https?|ftp):[/\\]{2})|\]\(/gi;
const CODE_END = /[\s<>"'`\\\u0000-\u001f\u007f]/g;

/** From the scheme of each URL (with two slashes or, as browsers have it, backslashes) to where it ends. */
function* spans(text: string, after: RegExp): Generator<readonly [start: number, end: number]> {
  let position = 0;
  let slashes = text.indexOf("://");
  let backslashes = text.indexOf(":\\\\");
  while (slashes >= 0 || backslashes >= 0) {
    const at = backslashes < 0 || (slashes >= 0 && slashes < backslashes) ? slashes : backslashes;
    const word = /(?:https?|ftp)$/i.exec(text.slice(Math.max(position, at - 5), at))?.[0];
    position = at + 3;
    if (word !== undefined) {
      after.lastIndex = position;
      const end = after.exec(text)?.index ?? text.length;
      yield [at - word.length, end];
      position = end;
    }
    // What one URL took in is not searched for another.
    if (slashes >= 0 && slashes < position) slashes = text.indexOf("://", position);
    if (backslashes >= 0 && backslashes < position) backslashes = text.indexOf(":\\\\", position);
  }
}

const SENTENCE_MARK = /[。，、；：！？「」『』《》（）【】]/;

function* withScheme(text: string): Generator<WrittenUrl> {
  for (const [start, end] of spans(text, AFTER_URL)) {
    yield* readings(text.slice(start, Math.min(end, start + MAX_URL_LENGTH + 1)));
    const joined = joinedLines(text, start, end);
    if (joined !== null) yield* readings(joined);
  }
}

/** A URL that can be read in one way only. */
const ORDINARY = /^[a-z]+:\/\/[\w.-]+(?:[:/?#][\u0021-\u007e]*)?$/i;

function* readings(whole: string): Generator<WrittenUrl> {
  if (whole.length > MAX_URL_LENGTH) {
    yield { url: whole, schemeless: false };
    return;
  }
  const url = withoutTail(withoutHostEnd(whole));
  if (ORDINARY.test(url)) {
    yield { url, schemeless: false };
    return;
  }
  const host = /^[a-z]+:[/\\]+([^/\\?#]*)/i.exec(url)?.[1] ?? "";
  if (host === "") return;
  const mark = url.search(SENTENCE_MARK);
  if (parseUrl(url) === null || (mark < 0 && !hasForeignEnd(host))) {
    yield { url, schemeless: false };
    return;
  }
  if (mark < 0) {
    // Written without a space before the next word, in a script that has none: http://a.example请
    const foreign = url.search(/[^\u0000-\u007f]/);
    yield { url: url.slice(0, foreign), schemeless: false };
    return;
  }
  // A sentence goes on behind it, or the marks are part of it.
  yield { url: withoutTail(url.slice(0, mark)), schemeless: false };
  yield { url, schemeless: false };
}

/** A URL cut where its host has a mark that no host name has: [x](http://a.example)-like, http://a.example|x. */
function withoutHostEnd(url: string): string {
  const end = /^[a-z]+:[/\\]+[\w.:-]+(?=[()|^{}*'!,;$+=~])(?![^/\\?#]*@)/i.exec(url);
  return end === null ? url : end[0];
}

/** A host that begins in ASCII and ends as no domain does. */
function hasForeignEnd(host: string): boolean {
  const foreign = host.search(/[^\u0000-\u007f]/);
  if (foreign <= 0 || host.length > 253) return false;
  return parseHost(host).isIcann !== true && parseHost(host.slice(0, foreign)).isIcann === true;
}

/** Lines of mails are wrapped at 76 characters, more or less. */
const WRAP_MIN = 74;
const WRAP_MAX = 79;
const MAX_JOINED = 100;

/**
 * The URL with what it goes on with: in angle brackets over any lines (RFC 3986 appendix C), else where it ends
 * just where lines are wrapped. Null where it ends.
 */
function joinedLines(text: string, start: number, end: number): string | null {
  const bracketed = text[start - 1] === "<" || /<url:$/i.test(text.slice(Math.max(0, start - 5), start));
  const pieces = [text.slice(start, end)];
  let length = end - start;
  let lineStart = lineStartOf(text, start);
  let position = end;
  for (let lines = 0; lines < MAX_JOINED && length <= MAX_URL_LENGTH; lines++) {
    const next = lineAfter(text, position);
    if (next === null) break;
    const width = position - lineStart;
    if (!bracketed && (width < WRAP_MIN || width > WRAP_MAX)) break;
    AFTER_URL.lastIndex = next;
    const tokenEnd = AFTER_URL.exec(text)?.index ?? text.length;
    const token = text.slice(next, tokenEnd);
    if (token === "" || /^[a-z]+:\/\//i.test(token)) return null;
    if (!bracketed && !goesOn(text, tokenEnd, token, pieces.at(-1) ?? "")) break;
    pieces.push(token);
    length += token.length;
    lineStart = next;
    position = tokenEnd;
  }
  if (pieces.length === 1 || (bracketed && text[position] !== ">")) return null;
  return pieces.join("");
}

function lineStartOf(text: string, at: number): number {
  // Further back than a wrapped line reaches it makes no difference.
  const from = Math.max(0, at - WRAP_MAX - 1);
  const before = text.slice(from, at);
  return from + Math.max(before.lastIndexOf("\n"), before.lastIndexOf("\r")) + 1;
}

/** Where the next line begins if the line ends here, blanks left aside. */
function lineAfter(text: string, at: number): number | null {
  const match = /^[ \t]{0,4}(?:\r\n|\n|\r)[ \t]{0,16}/.exec(text.slice(at, at + 24));
  return match === null ? null : at + match[0].length;
}

/** Whether a word at the start of a line is rather the rest of a URL than the next word of a sentence. */
function goesOn(text: string, tokenEnd: number, token: string, before: string): boolean {
  if (/[0-9/?=&%#_]/.test(token) || /[/?=&%_-]$/.test(before)) return true;
  return tokenEnd === text.length || text[tokenEnd] === "\n" || text[tokenEnd] === "\r";
}

const NO_TOKEN = /[\s<>"`\u0000-\u001f\u007f]/g;

function* withoutScheme(text: string): Generator<WrittenUrl> {
  let tokenEnd = 0;
  for (let dot = text.indexOf("."); dot >= 0; dot = text.indexOf(".", Math.max(dot + 1, tokenEnd))) {
    // A full stop between words: nothing to look at.
    if (!isWordChar(text.charCodeAt(dot + 1)) || !isWordChar(text.charCodeAt(dot - 1))) continue;
    NO_TOKEN.lastIndex = dot;
    const end = NO_TOKEN.exec(text)?.index ?? text.length;
    let start = dot;
    const earliest = Math.max(tokenEnd, end - MAX_URL_LENGTH - 1);
    while (start > earliest && !separates(text.charCodeAt(start - 1))) start--;
    tokenEnd = end;
    if (end - start > MAX_URL_LENGTH) continue;
    const url = schemelessUrl(text.slice(start, end));
    if (url !== null) yield { url, schemeless: true };
  }
}

function separates(code: number): boolean {
  if (code <= 0x20 || code === 0x22 || code === 0x3c || code === 0x3e || code === 0x60 || code === 0x7f)
    return true;
  return code >= 0x80 && /\s/.test(String.fromCharCode(code));
}

function isWordChar(code: number): boolean {
  return code > 0x7e || (code >= 0x30 && code <= 0x39) || (code >= 0x40 && code !== 0x5f) || code === 0x2d;
}

const WWW = /(?:^|[^\p{L}\p{N}@.\-_/\\%=&?#~])(www\d{0,2}\.)/iu;
const FIRST_OF_HOST = /[\p{L}\p{N}]/u;
const LABEL = /^[\p{L}\p{M}\p{N}_-]{1,63}$/u;
/** Top-level domains that are far more often the ending of a file name. */
const FILE_ENDINGS: ReadonlySet<string> = new Set(["zip", "mov"]);

/** The URL in a word without scheme: www.example.com, example.com/path, example.com?query=. */
function schemelessUrl(token: string): string | null {
  if (token.includes("://")) return null;
  const www = WWW.exec(token);
  if (www === null && !/[/?]/.test(token)) return null;
  const start =
    www === null ? token.search(FIRST_OF_HOST) : www.index + www[0].length - (www[1] ?? "").length;
  if (start < 0) return null;
  const rest = token.slice(start);
  const hostEnd = rest.search(/[/?#:@\\]/);
  const host = withoutTail(hostEnd < 0 ? rest : rest.slice(0, hostEnd));
  const after = hostEnd < 0 ? "" : rest.slice(hostEnd);
  if (after.startsWith("@") || host.length > 253) return null;
  if (www === null && !/^(?::\d{1,5})?(?:\/|\?[\w.%-]{1,64}=)/.test(after)) return null;
  const labels = host.split(".");
  if (labels.length < 2 || !labels.every((label) => LABEL.test(label))) return null;
  if (www === null && FILE_ENDINGS.has((labels.at(-1) ?? "").toLowerCase())) return null;
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
export function withoutTail(run: string): string {
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

/**
 * A text of `format=flowed` with its soft line breaks undone (RFC 3676): lines that end in a space go on in the
 * next line of the same quote depth; with `delsp` that space goes.
 */
export function joinFlowed(text: string, delsp: boolean): string {
  const out: string[] = [];
  let open = false;
  let depth = 0;
  for (const line of text.split(/\r\n|\n|\r/)) {
    const quotes = /^>*/.exec(line)?.[0].length ?? 0;
    const stuffed = line.slice(quotes);
    const content = stuffed.startsWith(" ") ? stuffed.slice(1) : stuffed;
    const signature = content === "-- ";
    const goesOn = content.endsWith(" ") && !signature;
    if (!open || quotes !== depth || signature) {
      if (out.length > 0) out.push("\n");
      if (quotes > 0) out.push(">".repeat(quotes), " ");
    }
    out.push(goesOn && delsp ? content.slice(0, -1) : content);
    open = goesOn;
    depth = quotes;
  }
  return out.join("");
}
