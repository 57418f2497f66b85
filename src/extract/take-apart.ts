/**
 * Takes one mail apart in the strict reading of the MIME standard (view "mime").
 *
 * In goes a mail of any bytes and the bounds of `extract`, out comes an Extraction; nested mails are taken apart
 * as well. What hits a bound is flagged and the extraction is not complete; whatever the parser gives up on,
 * what came before it is in the answer. It throws only where the source or the sink fails.
 */
import { type AttachmentStream, type Headers, MailParser } from "mailparser";
import type { Config } from "../config/schema.ts";
import { type ContentSample, createSampler } from "./content-sample.ts";
import type { Attachment, Extraction, MailFacts } from "./extraction.ts";
import { detectType, extensionOf, isText, PLAIN_TEXT, UNKNOWN_BINARY } from "./file-type.ts";
import { FLAGS, type Flag } from "./flags.ts";
import { cutTo, MAX_NAME, NO_FACTS, readFacts } from "./mail-facts.ts";
import { chunksSource, type MailSource } from "./mail-source.ts";
import { createUrlCollector, type UrlCollector } from "./urls/collector.ts";

export type Bounds = Pick<
  Config["extract"],
  "max_depth" | "max_attachments" | "max_urls" | "max_decoded_size"
>;

/** Receives the bytes of every attachment, one attachment after the other. */
export type ContentSink = {
  readonly begin: () => void;
  readonly write: (chunk: Uint8Array) => void;
  /** The attachment is whole; `sha256` is hex. After "enough" the rest of the mail is not read. */
  readonly keep: (sha256: string) => "more" | "enough";
  /** What was begun is no attachment, or was not read to its end. */
  readonly drop: () => void;
};

const NO_SINK: ContentSink = { begin() {}, write() {}, keep: () => "more", drop() {} };

/** Bytes of all body texts of a mail that are searched for URLs. */
const MAX_TEXT = 8 * 1024 * 1024;
/** An attachment up to this size is searched for URLs where it is text or HTML. */
const MAX_TEXT_ATTACHMENT = 1024 * 1024;
/** Bytes handed to the parser at once. */
const FEED_SIZE = 16 * 1024;
const MAX_ATTEMPTS = 12;
const UNNAMED_MAIL = "unnamed.eml";

/** An attachment with what lies inside it. */
type Found = { readonly attachment: Attachment; inside: readonly Found[] };
type NestedMail = { readonly holder: Found; readonly source: MailSource; readonly depth: number };

/** What all levels of one mail share. */
type Run = {
  readonly bounds: Bounds;
  readonly sink: ContentSink;
  readonly urls: UrlCollector;
  readonly flag: (flag: Flag) => void;
  attachments: number;
  decoded: number;
  text: number;
  enough: boolean;
};

export async function takeApart(
  source: MailSource,
  bounds: Bounds,
  sink: ContentSink = NO_SINK,
): Promise<Extraction> {
  const flags = new Set<Flag>();
  const flag = (name: Flag): void => {
    flags.add(name);
  };
  const urls = createUrlCollector({ max: bounds.max_urls, recipients: [], onFlag: flag });
  const run: Run = { bounds, sink, urls, flag, attachments: 0, decoded: 0, text: 0, enough: false };

  const root = await readMail(run, source, []);
  if (root.facts.subject !== null) urls.addText(root.facts.subject, "subject");
  // One after the other, so that only one mail is in the parser at a time.
  const waiting: NestedMail[] = nestedMails(root, 1);
  for (let nested = waiting.pop(); nested !== undefined && !run.enough; nested = waiting.pop()) {
    if (nested.depth > bounds.max_depth) {
      flag("depth_exceeded");
      continue;
    }
    const { attachment } = nested.holder;
    const path = [...attachment.path, attachment.filename ?? UNNAMED_MAIL];
    const inner = await readMail(run, nested.source, path);
    if (inner.facts.subject !== null) urls.addText(inner.facts.subject, "subject");
    nested.holder.inside = inner.found.map(({ entry }) => entry);
    waiting.push(...nestedMails(inner, nested.depth + 1));
  }

  const names = [...flags];
  return {
    mail: root.facts,
    attachments: inOrder(root.found.map(({ entry }) => entry)),
    urls: urls.found(),
    passwords: [],
    flags: names,
    complete: names.every((name) => FLAGS[name].complete),
  };
}

function nestedMails(level: Level, depth: number): NestedMail[] {
  return level.found.flatMap(({ entry, mail }) =>
    mail === null ? [] : [{ holder: entry, source: chunksSource(mail), depth }],
  );
}

/** Each attachment before those inside it. */
function inOrder(found: readonly Found[]): readonly Attachment[] {
  return found.flatMap(({ attachment, inside }) => [attachment, ...inOrder(inside)]);
}

/** One mail, without the mails inside it. */
type Level = {
  readonly facts: MailFacts;
  /** `mail`: the bytes of an attachment that is a mail itself. */
  readonly found: readonly { readonly entry: Found; readonly mail: readonly Uint8Array[] | null }[];
};

/**
 * Reads one mail. Where the parser gives up it has lost parts it had not handed out yet, so the mail is read
 * again up to a place before that, and a little less each time until the parser takes it.
 */
async function readMail(run: Run, source: MailSource, path: readonly string[]): Promise<Level> {
  const before = { attachments: run.attachments, decoded: run.decoded, text: run.text };
  let limit = Number.POSITIVE_INFINITY;
  for (let attempt = 0; ; attempt++) {
    Object.assign(run, before);
    const reading = await parse(run, source, path, limit);
    if (reading.fault === null) return reading.level;
    run.flag(flagOf(reading.fault));
    if (attempt === MAX_ATTEMPTS || reading.fed === 0) return reading.level;
    limit = Math.max(0, reading.fed - FEED_SIZE * 2 ** Math.max(0, attempt - 3));
  }
}

function flagOf(fault: Error): Flag {
  if ("code" in fault && fault.code === "EMAXLEN") {
    return fault.message.includes("header") ? "header_too_large" : "parts_exceeded";
  }
  return "malformed";
}

/** MailParser that hands out texts as it does attachments: as streams, each with its header. */
class PartParser extends MailParser {
  protected readonly textTypes: readonly string[] = [];
}

type Reading = { readonly level: Level; readonly fault: Error | null; readonly fed: number };

/** Feeds the first `limit` bytes of a mail to the parser and reads the parts it finds. */
async function parse(run: Run, source: MailSource, path: readonly string[], limit: number): Promise<Reading> {
  const parser = new PartParser({
    checksumAlgo: false,
    ignoreEmbedded: true,
    skipHtmlToText: true,
    skipImageLinks: true,
    skipTextLinks: true,
    skipTextToHtml: true,
    maxChildNodes: run.bounds.max_attachments + 1000,
  });
  const found: Level["found"][number][] = [];
  let facts = NO_FACTS;
  let fault: Error | null = null;
  let failure: unknown;
  let fed = 0;
  let open: { readonly part: AttachmentStream; readonly read: Promise<void> } | null = null;

  const { promise: over, resolve: finish } = Promise.withResolvers<void>();
  const stop = (): void => {
    parser.destroy();
    if (open === null) {
      finish();
    } else {
      open.part.content.destroy();
      open.read.then(finish);
    }
  };
  const fail = (thrown: unknown): void => {
    failure ??= thrown ?? new Error("unknown fault");
    stop();
  };
  parser.on("headers", (headers) => {
    facts = readFacts(headers, parser.headerLines === false ? [] : parser.headerLines, run.flag);
  });
  parser.on("data", (part) => {
    if (part.type !== "attachment") return;
    const read = readPart(run, part, path).then(
      (result) => {
        open = null;
        if (result === "stop") return stop();
        if (result !== null) found.push(result);
        part.release?.();
      },
      (thrown: unknown) => {
        open = null;
        fail(thrown);
      },
    );
    open = { part, read };
  });
  parser.on("error", (error: Error) => {
    fault ??= error;
    stop();
  });
  parser.on("end", finish);

  const feeding = feed();
  async function feed(): Promise<void> {
    try {
      for await (const chunk of source()) {
        for (let at = 0; at < chunk.length && !parser.destroyed; at += FEED_SIZE) {
          const piece = chunk.subarray(at, Math.min(at + FEED_SIZE, at + limit - fed));
          if (piece.length === 0) break;
          const room = parser.write(piece);
          fed += piece.length;
          if (!room) await Promise.race([once(parser, "drain"), over]);
        }
        if (parser.destroyed || fed >= limit) break;
      }
      if (!parser.destroyed) parser.end();
    } catch (thrown) {
      fail(thrown);
    }
  }
  await Promise.all([over, feeding]);
  if (failure !== undefined) throw failure;
  return { level: { facts, found }, fault, fed };
}

function once(parser: MailParser, event: string): Promise<void> {
  return new Promise((resolve) => {
    parser.once(event, () => resolve());
  });
}

const BODY_TYPES: ReadonlySet<string> = new Set([
  "text/plain",
  "text/html",
  "text/enriched",
  "text/calendar",
  "text/x-amp-html",
  "text/watch-html",
  "text/rfc822-headers",
  "message/delivery-status",
  "message/disposition-notification",
]);
const MAIL_TYPES: ReadonlySet<string> = new Set(["message/rfc822", "message/global", "message/news"]);

/** What is kept of a part while its bytes stream by. */
type Content = {
  readonly sha256: string;
  readonly sample: ContentSample;
  readonly chunks: Uint8Array[] | null;
};

/**
 * Reads one part to its end. Null where it gives no attachment (a text of the mail, beyond the bound, not
 * whole), "stop" where the rest of the mail is not to be read: the bound of decoded bytes, or the sink has enough.
 */
async function readPart(
  run: Run,
  part: AttachmentStream,
  path: readonly string[],
): Promise<Level["found"][number] | null | "stop"> {
  // An empty Content-Type comes as false, whatever the types of mailparser say.
  const declared = (part.contentType || PLAIN_TEXT).toLowerCase();
  const filename = part.filename === undefined ? null : cutTo(MAX_NAME, part.filename, run.flag);
  const isBody =
    BODY_TYPES.has(declared) && filename === null && part.contentDisposition?.toLowerCase() !== "attachment";
  const mayBeMail = MAIL_TYPES.has(declared) || extensionOf(filename) === "eml";

  run.sink.begin();
  const content = await readContent(run, part, isBody ? MAX_TEXT : MAX_TEXT_ATTACHMENT, mayBeMail);
  if (content === null) {
    run.sink.drop();
    return run.decoded > run.bounds.max_decoded_size ? "stop" : null;
  }
  const { sample, sha256 } = content;
  const charset = charsetOf(part.headers);
  if (isBody && isText(sample.head)) {
    run.sink.drop();
    searchBody(run, sample, declared, charset);
    return null;
  }
  const type = await typeOf(sample, filename, MAIL_TYPES.has(declared));
  // A body that is known to be no text (a zip called text/plain) is something to look at.
  if (isBody && type === UNKNOWN_BINARY) {
    run.sink.drop();
    searchBody(run, sample, declared, charset);
    return null;
  }
  if (run.attachments >= run.bounds.max_attachments) {
    run.sink.drop();
    run.flag("attachments_exceeded");
    return null;
  }
  run.attachments++;
  if (run.sink.keep(sha256) === "enough") {
    run.enough = true;
    return "stop";
  }
  searchAttachment(run, sample, type, charset);
  const attachment: Attachment = { filename, sha256, size: sample.size, type, views: ["mime"], path };
  return {
    entry: { attachment, inside: [] },
    mail: content.chunks !== null && type === "message/rfc822" ? content.chunks : null,
  };
}

/** What a part declared as a mail contains is one, unless its bytes are clearly something else. */
async function typeOf(sample: ContentSample, filename: string | null, isMail: boolean): Promise<string> {
  const type = await detectType(sample, filename);
  const vague = type === PLAIN_TEXT || type === UNKNOWN_BINARY || isText(sample.head);
  return isMail && sample.size > 0 && vague ? "message/rfc822" : type;
}

/** Null where the part was not read to its end: the parser gave up, or the bound of decoded bytes is reached. */
function readContent(
  run: Run,
  part: AttachmentStream,
  headSize: number,
  keepAll: boolean,
): Promise<Content | null> {
  const hash = new Bun.CryptoHasher("sha256");
  const sampler = createSampler(headSize);
  const chunks: Uint8Array[] | null = keepAll ? [] : null;
  return new Promise((resolve, reject) => {
    part.content.on("data", (chunk: Uint8Array) => {
      run.decoded += chunk.length;
      if (run.decoded > run.bounds.max_decoded_size) {
        run.flag("decoded_size_exceeded");
        part.content.destroy();
        return;
      }
      try {
        hash.update(chunk);
        sampler.push(chunk);
        chunks?.push(chunk);
        run.sink.write(chunk);
      } catch (thrown) {
        part.content.destroy();
        reject(thrown);
      }
    });
    part.content.on("end", () => resolve({ sha256: hash.digest("hex"), sample: sampler.finish(), chunks }));
    part.content.on("close", () => resolve(null));
    part.content.on("error", reject);
  });
}

function searchBody(run: Run, sample: ContentSample, declared: string, charset: string | null): void {
  const bytes = sample.head.subarray(0, MAX_TEXT - run.text);
  run.text += bytes.length;
  if (bytes.length < sample.size) run.flag("text_exceeded");
  const text = decode(bytes, charset);
  if (declared.endsWith("html")) run.urls.addHtml(text, "html");
  else run.urls.addText(text, "text");
}

const TEXT_ATTACHMENTS: ReadonlySet<string> = new Set([
  "text/plain",
  "text/csv",
  "text/calendar",
  "text/vcard",
  "application/internet-shortcut",
]);
const HTML_ATTACHMENTS: ReadonlySet<string> = new Set(["text/html", "image/svg+xml", "application/hta"]);

function searchAttachment(run: Run, sample: ContentSample, type: string, charset: string | null): void {
  if (sample.size > MAX_TEXT_ATTACHMENT) return;
  if (HTML_ATTACHMENTS.has(type)) run.urls.addHtml(decode(sample.head, charset), "attachment");
  else if (TEXT_ATTACHMENTS.has(type)) run.urls.addText(decode(sample.head, charset), "attachment");
}

function charsetOf(headers: Headers): string | null {
  const value = headers.get("content-type");
  if (typeof value !== "object" || !("params" in value)) return null;
  const { params } = value;
  return typeof params === "object" && "charset" in params ? String(params.charset) : null;
}

/** Text of any charset a browser knows; what is unknown is read as UTF-8, which keeps the ASCII of a URL. */
function decode(bytes: Uint8Array, charset: string | null): string {
  if (bytes[0] === 0xff && bytes[1] === 0xfe) return new TextDecoder("utf-16le").decode(bytes);
  if (bytes[0] === 0xfe && bytes[1] === 0xff) return new TextDecoder("utf-16be").decode(bytes);
  return (decoderFor(charset?.trim() ?? "utf-8") ?? new TextDecoder()).decode(bytes);
}

function decoderFor(charset: string): TextDecoder | null {
  try {
    return new TextDecoder(charset as Bun.Encoding);
  } catch (thrown) {
    if (thrown instanceof RangeError) return null;
    throw thrown;
  }
}
