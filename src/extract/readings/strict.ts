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
};

export type StrictFlag =
  | "decoded_size_exceeded"
  | "header_too_large"
  | "header_lines_exceeded"
  | "malformed"
  | "parts_exceeded";

export type StrictReading = {
  readonly headers: Headers;
  readonly lines: HeaderLines;
  readonly parts: readonly StrictPart[];
  readonly flags: readonly StrictFlag[];
};

/** Bytes handed to the parser at once. */
const FEED_SIZE = 64 * 1024;
const MAX_ATTEMPTS = 12;
const MORE_NODES = 1000;

/**
 * Where the parser gives up it has lost parts it had not handed out yet, so the mail is read again up to a place
 * before that, and a little less each time until the parser takes it.
 */
export async function readStrict(raw: Uint8Array, limits: StrictLimits): Promise<StrictReading> {
  const flags = new Set<StrictFlag>();
  let end = raw.length;
  for (let attempt = 0; ; attempt++) {
    const { headers, lines, parts, fault, full, fed } = await parse(raw.subarray(0, end), limits);
    if (full !== null) flags.add(full);
    if (fault !== null) flags.add(flagOf(fault));
    if (lines.length > limits.headerLines) flags.add("header_lines_exceeded");
    if (fault === null || attempt === MAX_ATTEMPTS || fed === 0) {
      return { headers, lines: lines.slice(0, limits.headerLines), parts, flags: [...flags] };
    }
    end = Math.max(0, fed - FEED_SIZE * 2 ** Math.max(0, attempt - 3));
  }
}

function flagOf(fault: Error): StrictFlag {
  if ("code" in fault && fault.code === "EMAXLEN") {
    return fault.message.includes("header") ? "header_too_large" : "parts_exceeded";
  }
  return "malformed";
}

/** MailParser that hands out texts as it does attachments: as streams, each with its header. */
class PartParser extends MailParser {
  protected readonly textTypes: readonly string[] = [];
}

type Parsed = {
  readonly headers: Headers;
  readonly lines: HeaderLines;
  readonly parts: readonly StrictPart[];
  readonly fault: Error | null;
  /** The bound that ended the reading. */
  readonly full: "decoded_size_exceeded" | "parts_exceeded" | null;
  readonly fed: number;
};

async function parse(raw: Uint8Array, limits: StrictLimits): Promise<Parsed> {
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
  let left = limits.bytes;
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
    const chunks: Uint8Array[] = [];
    let size = 0;
    part.content.on("data", (chunk: Uint8Array) => {
      if (size + chunk.length > left) {
        full = "decoded_size_exceeded";
        stop();
        return;
      }
      size += chunk.length;
      chunks.push(chunk);
    });
    part.content.on("end", () => {
      open = null;
      left -= size;
      parts.push(partOf(part, Buffer.concat(chunks, size)));
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
  parser.on("end", finish);

  for (let at = 0; at < raw.length && !parser.destroyed; at += FEED_SIZE) {
    const piece = raw.subarray(at, at + FEED_SIZE);
    fed += piece.length;
    if (!parser.write(piece)) await Promise.race([drained(parser), over]);
  }
  if (!parser.destroyed) parser.end();
  await over;
  return { headers, lines, parts, fault, full, fed };
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
