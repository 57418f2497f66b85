/**
 * The strict reading of a mail: as mailparser reads the MIME standard (view "mime").
 *
 * In go the bytes of one mail, out come its header and its leaf parts in order, decoded; a mail inside it is one
 * part. What the parser gives up on costs what comes after it, never what came before. It does not throw for what
 * the bytes are.
 */
import { type AttachmentStream, type HeaderLines, type Headers, MailParser } from "mailparser";

export type StrictPart = {
  /** Media type as declared, lower case; "text/plain" where none is. */
  readonly declared: string;
  readonly name: string | null;
  /** Lower case, null where there is none. */
  readonly disposition: string | null;
  readonly charset: string | null;
  /** RFC 3676: the text is `format=flowed`, and with which `delsp`; null where it is not. */
  readonly flowed: { readonly delsp: boolean } | null;
  readonly bytes: Uint8Array;
};

export type StrictLimits = {
  /** Bytes of all decoded parts together. */
  readonly bytes: number;
  readonly parts: number;
  /** Bytes and lines of one header block. */
  readonly headerSize: number;
  readonly headerLines: number;
  /** When reading is to end, as performance.now() tells it. */
  readonly deadline?: number;
};

export type StrictFlag =
  | "decoded_size_exceeded"
  | "header_too_large"
  | "header_lines_exceeded"
  | "malformed"
  | "nesting_exceeded"
  | "parts_exceeded"
  | "strict_exceeded"
  | "time_exceeded";

export type StrictReading = {
  readonly headers: Headers;
  readonly lines: HeaderLines;
  readonly parts: readonly StrictPart[];
  readonly flags: readonly StrictFlag[];
};

/** Bytes handed to the parser at once; more of a large mail, of which it then copies less. */
const FEED_SIZE = 16 * 1024;
const LARGE_FEED_SIZE = 64 * 1024;
/** Lines handed to the parser in all: it needs time and memory for each. */
const MAX_LINES = 3_000_000;
/** Bytes of parts that only it has; while they are joined they are there twice. */
const MAX_OWN = 32 * 1024 * 1024;
/** The pieces it makes of a large mail would fill the memory of the helper before the runtime looks for garbage. */
const COLLECT_EVERY = 16 * 1024 * 1024;
/** From this size on it is asked whether another reading has the bytes already. */
const MIN_SHARED = 64 * 1024;
/** Contents that begin the same which are compared with. */
const MAX_ALIKE = 4;
const MARK = 32;
/** Bytes handed to it again where it gave up, and how often. */
const MAX_FED_AGAIN = 16 * 1024 * 1024;
const MAX_ATTEMPTS = 12;
const MORE_NODES = 1000;
const LF = 0x0a;
/** Multiparts within each other: the parser compares each line with the boundaries of all of them. */
const MAX_LEVELS = 100;

/**
 * Where the parser gives up it has lost parts it had not handed out yet, so the mail is read again up to a place
 * before that, and a little less each time until the parser takes it. `known`: contents that parts may be, which they
 * then share their bytes with.
 */
export async function readStrict(
  raw: Uint8Array,
  limits: StrictLimits,
  known: readonly Uint8Array[] = [],
): Promise<StrictReading> {
  const shared = createShared(known);
  const flags = new Set<StrictFlag>();
  let end = raw.length;
  let again = MAX_FED_AGAIN;
  for (let attempt = 0; ; attempt++) {
    const { headers, lines, parts, fault, full, fed } = await parse(raw.subarray(0, end), limits, shared);
    if (full !== null) flags.add(full);
    if (fault !== null) flags.add(flagOf(fault));
    if (lines.length > limits.headerLines) flags.add("header_lines_exceeded");
    end = Math.max(0, fed - feedSize(raw) * 2 ** Math.max(0, attempt - 3));
    again -= end;
    if (fault === null || attempt === MAX_ATTEMPTS || fed === 0 || again < 0) {
      return { headers, lines: lines.slice(0, limits.headerLines), parts, flags: [...flags] };
    }
  }
}

const feedSize = ({ length }: Uint8Array): number =>
  length > 16 * LARGE_FEED_SIZE ? LARGE_FEED_SIZE : FEED_SIZE;

function flagOf(fault: Error): StrictFlag {
  if ("code" in fault && fault.code === "EMAXLEN") {
    return fault.message.includes("header") ? "header_too_large" : "parts_exceeded";
  }
  return "malformed";
}

/** A part of the mail as the splitter of MailParser hands it over, and pieces of bodies; its types leave them out. */
type Chunk = { readonly type: string; readonly parentNode?: Chunk | false };
type Splitting = { readonly processChunk: (chunk: Chunk, done: (error?: Error) => void) => void };

const { processChunk } = MailParser.prototype as unknown as Splitting;

/**
 * MailParser that hands out texts as it does attachments: as streams, each with its header. It says "nested" at the
 * first part that lies too deep, and waits then.
 */
class PartParser extends MailParser {
  protected readonly textTypes: readonly string[] = [];
  private readonly levels = new WeakMap<Chunk, number>();

  protected processChunk(chunk: Chunk, done: (error?: Error) => void): void {
    if (chunk.type === "node") {
      const level = chunk.parentNode ? (this.levels.get(chunk.parentNode) ?? 0) + 1 : 0;
      this.levels.set(chunk, level);
      if (level > MAX_LEVELS) {
        this.emit("nested");
        return;
      }
    }
    processChunk.call(this, chunk, done);
  }
}

type Parsed = {
  readonly headers: Headers;
  readonly lines: HeaderLines;
  readonly parts: readonly StrictPart[];
  readonly fault: Error | null;
  /** The bound that ended the reading. */
  readonly full: Exclude<StrictFlag, "header_lines_exceeded" | "header_too_large" | "malformed"> | null;
  readonly fed: number;
};

/** Contents by how they begin. */
type Shared = (first: Uint8Array) => Uint8Array | null;

function createShared(known: readonly Uint8Array[]): Shared {
  const byMark = new Map<string, Uint8Array[]>();
  for (const bytes of known) {
    if (bytes.length < MIN_SHARED) continue;
    const alike = byMark.get(markOf(bytes));
    if (alike === undefined) byMark.set(markOf(bytes), [bytes]);
    else if (alike.length < MAX_ALIKE) alike.push(bytes);
  }
  return (first) => {
    if (byMark.size === 0 || first.length < MARK) return null;
    return byMark.get(markOf(first))?.find((bytes) => standsAt(bytes, 0, first)) ?? null;
  };
}

const markOf = (bytes: Uint8Array): string => Buffer.from(bytes.subarray(0, MARK)).toString("latin1");

function standsAt(bytes: Uint8Array, at: number, piece: Uint8Array): boolean {
  return Buffer.compare(bytes.subarray(at, at + piece.length), piece) === 0;
}

/** Joins the pieces of one part, or finds that they are those of a content that is there already. */
function createBody(shared: Shared) {
  const chunks: Uint8Array[] = [];
  let size = 0;
  let same: Uint8Array | null = null;
  return {
    size: () => size,
    /** Bytes that only this part has. */
    own: () => (same === null ? size : 0),
    add(chunk: Uint8Array): void {
      if (size === 0) same = shared(chunk);
      else if (same !== null && !standsAt(same, size, chunk)) {
        chunks.push(same.subarray(0, size));
        same = null;
      }
      if (same === null) chunks.push(chunk);
      size += chunk.length;
    },
    bytes(): Uint8Array {
      if (same === null) return Buffer.concat(chunks, size);
      return same.length === size ? same : same.subarray(0, size);
    },
  };
}

async function parse(raw: Uint8Array, limits: StrictLimits, shared: Shared): Promise<Parsed> {
  const parser = new PartParser({
    checksumAlgo: false,
    ignoreEmbedded: true,
    skipHtmlToText: true,
    skipImageLinks: true,
    skipTextLinks: true,
    skipTextToHtml: true,
    // Of parts that hold parts, too; those that are given are counted here.
    maxChildNodes: limits.parts + MORE_NODES,
    maxHeadSize: limits.headerSize,
  });
  const parts: StrictPart[] = [];
  let headers: Headers = new Map();
  let lines: HeaderLines = [];
  let fault: Error | null = null;
  let fed = 0;
  let linesLeft = MAX_LINES;
  let left = limits.bytes;
  let ownLeft = MAX_OWN;
  let full: Parsed["full"] = null;
  let open: AttachmentStream | null = null;

  const { promise: over, resolve: finish } = Promise.withResolvers<void>();
  const stop = (): void => {
    parser.destroy();
    open?.content.destroy();
    finish();
  };
  parser.on("headers", (read) => {
    headers = read;
    lines = parser.headerLines === false ? [] : parser.headerLines;
  });
  parser.on("data", (part) => {
    if (part.type !== "attachment") return;
    open = part;
    if (parts.length >= limits.parts) {
      full = "parts_exceeded";
      stop();
      return;
    }
    const body = createBody(shared);
    part.content.on("data", (chunk: Uint8Array) => {
      body.add(chunk);
      if (body.size() > left || body.own() > ownLeft) {
        full = body.size() > left ? "decoded_size_exceeded" : "strict_exceeded";
        stop();
      }
    });
    part.content.on("end", () => {
      open = null;
      left -= body.size();
      ownLeft -= body.own();
      parts.push(partOf(part, body.bytes()));
      part.release?.();
    });
    part.content.on("error", (error: Error) => {
      fault ??= error;
      stop();
    });
  });
  parser.on("error", (error: Error) => {
    fault ??= error;
    stop();
  });
  parser.on("nested", () => {
    full = "nesting_exceeded";
    stop();
  });
  parser.on("end", finish);

  const feed = feedSize(raw);
  for (let at = 0; at < raw.length && !parser.destroyed; at += feed) {
    const late = performance.now() > (limits.deadline ?? Number.POSITIVE_INFINITY);
    if (late || linesLeft < 0) {
      full = late ? "time_exceeded" : "strict_exceeded";
      stop();
      break;
    }
    const piece = raw.subarray(at, at + feed);
    fed += piece.length;
    if (fed % COLLECT_EVERY === 0) Bun.gc(true);
    linesLeft -= countLines(piece);
    if (!parser.write(piece)) await Promise.race([drained(parser), over]);
  }
  if (!parser.destroyed) parser.end();
  await over;
  return { headers, lines, parts, fault, full, fed };
}

function countLines(bytes: Uint8Array): number {
  let count = 0;
  for (let at = bytes.indexOf(LF); at !== -1; at = bytes.indexOf(LF, at + 1)) count++;
  return count;
}

function drained(parser: MailParser): Promise<void> {
  return new Promise((resolve) => {
    parser.once("drain", () => resolve());
  });
}

function partOf(part: AttachmentStream, bytes: Uint8Array): StrictPart {
  const parameters = parametersOf(part.headers);
  const format = parameters.get("format");
  return {
    // An empty Content-Type comes as false, whatever the types of mailparser say.
    declared: (part.contentType || "text/plain").toLowerCase(),
    name: part.filename ?? null,
    disposition: part.contentDisposition?.toLowerCase() ?? null,
    charset: parameters.get("charset") ?? null,
    flowed:
      format?.toLowerCase() === "flowed" ? { delsp: parameters.get("delsp")?.toLowerCase() === "yes" } : null,
    bytes,
  };
}

function parametersOf(headers: Headers): ReadonlyMap<string, string> {
  const value = headers.get("content-type");
  if (typeof value !== "object" || !("params" in value)) return new Map();
  const { params } = value;
  if (typeof params !== "object" || params === null) return new Map();
  return new Map(Object.entries(params).map(([name, text]) => [name.toLowerCase(), String(text)]));
}
