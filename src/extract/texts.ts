/**
 * The texts of one mail and of what is in it: searched for URLs and drawn codes, and kept for the passwords that may
 * be in them.
 *
 * In go hostile texts, out come URLs and candidate passwords. At most MAX_TEXT bytes are searched in all; what is
 * beyond is flagged.
 */
import type { HeaderLines } from "mailparser";
import { passwordCandidates } from "./archives/passwords.ts";
import type { CodeBudget } from "./codes/budget.ts";
import { codesInHtml } from "./codes/html.ts";
import { codesInText } from "./codes/text.ts";
import { decodeText } from "./decode-text.ts";
import type { FoundUrl } from "./extraction.ts";
import type { Inner, ReadText } from "./reading.ts";
import { createUrlCollector } from "./urls/collector.ts";
import { headerUrls } from "./urls/headers.ts";
import { joinFlowed } from "./urls/text.ts";

/** Bytes of all texts together that are searched. */
const MAX_TEXT = 8 * 1024 * 1024;
/** Characters of all texts together that passwords are taken from. */
const MAX_PASSWORD_TEXT = 256 * 1024;
const MAX_PASSWORDS = 200;
const CODE_LIMITS = { codes: 20, pixels: 4_000_000 };

export type Body = {
  readonly bytes: Uint8Array;
  readonly declared: string;
  readonly charset: string | null;
  readonly flowed: { readonly delsp: boolean } | null;
};

/** Receives a content that is written into a text: a `data:` URI, a file in a script. */
export type OnData = (data: Inner) => Promise<void>;

export type Texts = {
  readonly subject: (text: string) => void;
  readonly header: (lines: HeaderLines) => void;
  readonly body: (body: Body, onData: OnData) => Promise<void>;
  readonly add: (text: ReadText, onData: OnData) => Promise<void>;
  readonly url: (written: string, source: string) => void;
  readonly name: (filename: string) => void;
  /** True where a body of the same bytes, blanks around them aside, was searched. */
  readonly seen: (bytes: Uint8Array) => boolean;
  readonly urls: () => readonly FoundUrl[];
  readonly passwords: () => readonly string[];
};

/** `recipients`: addresses the mail is for, which are never indicators; they may become known later. */
export function createTexts(
  maxUrls: number,
  recipients: readonly string[],
  codeBudget: CodeBudget,
  flag: (name: string) => void,
): Texts {
  const urls = createUrlCollector({ max: maxUrls, recipients, onFlag: flag });
  const seen = new Set<number | bigint>();
  const spoken: string[] = [];
  const names: string[] = [];
  let searched = 0;
  let kept = 0;
  let passwords: readonly string[] | null = null;

  const keep = (text: string): void => {
    const piece = text.slice(0, MAX_PASSWORD_TEXT - kept);
    if (piece === "") return;
    kept += piece.length;
    spoken.push(piece);
    passwords = null;
  };
  const search = async (kind: ReadText["kind"], text: string, source: string, onData: OnData) => {
    keep(text);
    if (kind === "html") {
      const found: Inner[] = [];
      urls.addHtml(text, source, { onData: (data) => found.push(data) });
      for (const data of found) await onData(data);
    } else if (kind === "script") {
      const found: Inner[] = [];
      urls.addScript(text, source, { onData: (data) => found.push(data) });
      for (const data of found) await onData(data);
    } else urls.addText(text, source);
    const codes = await codeBudget.spend("text", () =>
      kind === "html" ? codesInHtml(text, CODE_LIMITS) : codesInText(text, CODE_LIMITS),
    );
    for (const value of codes.values) urls.addUrl(value, "qr");
    for (const name of codes.flags) flag(name);
  };
  /** As much of a text as is still to be searched. */
  const room = <Text extends string | Uint8Array>(text: Text): Text => {
    const left = MAX_TEXT - searched;
    searched += Math.min(text.length, left);
    if (text.length <= left) return text;
    flag("text_exceeded");
    return (typeof text === "string" ? text.slice(0, left) : text.subarray(0, left)) as Text;
  };

  return {
    subject: (text) => {
      keep(text);
      urls.addText(text, "subject");
    },
    header: (lines) => {
      for (const { key, line } of lines) {
        for (const { url, source } of headerUrls(key, line.slice(key.length + 1))) urls.addUrl(url, source);
      }
    },
    body: async ({ bytes, declared, charset, flowed }, onData) => {
      seen.add(fingerprint(bytes));
      const text = decodeText(room(bytes), charset);
      const kind = declared.endsWith("html") ? "html" : "text";
      const source = declared === "text/calendar" ? "calendar" : kind;
      await search(kind, flowed === null ? text : joinFlowed(text, flowed.delsp), source, onData);
    },
    add: ({ kind, text, source }, onData) => search(kind, room(text), source, onData),
    url: (written, source) => urls.addUrl(written, source),
    name: (filename) => {
      names.push(filename);
      passwords = null;
    },
    seen: (bytes) => seen.has(fingerprint(bytes)),
    urls: () => urls.found(),
    passwords: () => {
      passwords ??= passwordCandidates(spoken, names, MAX_PASSWORDS);
      return passwords;
    },
  };
}

/** Of the bytes between the blanks: readings differ in whether a line end belongs to a part. */
function fingerprint(bytes: Uint8Array): number | bigint {
  let start = 0;
  let end = bytes.length;
  while (start < end && isBlank(bytes[start])) start++;
  while (end > start && isBlank(bytes[end - 1])) end--;
  return Bun.hash(bytes.subarray(start, end));
}

function isBlank(byte: number | undefined): boolean {
  return byte === 0x20 || (byte !== undefined && byte >= 0x09 && byte <= 0x0d);
}
