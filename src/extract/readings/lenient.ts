/**
 * The lenient reading of a mail: what any mail program could read in it.
 *
 * In goes the mail, out come its parts in the order in which they stand there, decoded. Every line that may begin
 * a part does begin one, whatever the nesting, so an inner part is found however broken the outer one is. Where a
 * body can be read in several ways, the likeliest one is given, and each other one whose content looks like a type
 * worth analysing. Nothing is thrown because of the bytes; the work is linear in them, whatever they are.
 */
import type { Limits } from "../reading.ts";
import { type Budget, fromUtf7, isBlankBody, readBodyWays } from "./bodies.ts";
import { HEAD_SIZE, looksDangerous } from "./dangerous.ts";
import { type Boundaries, createBoundaries, createDelimiterFinder, type Delimiter } from "./delimiters.ts";
import type { ReadingFlag } from "./flags.ts";
import {
  createLines,
  decodeWords,
  type Encoding,
  encodingsOf,
  type FieldName,
  type Head,
  mayBeMultipart,
  mediaTypeOf,
  parameterValues,
  plainBoundary,
  readHead,
} from "./headers.ts";

export type LenientPart = {
  /** The name a mail program would show; null where there is none. Hostile text. */
  readonly name: string | null;
  /** Every name that one program or another takes it to have. */
  readonly names: readonly string[];
  /** Media type as the part declares it, lower case. */
  readonly declared: string | null;
  readonly charset: string | null;
  /** Decoded. May share memory with the mail. */
  readonly bytes: Uint8Array;
  /** How many mails it lies in, the read one not counted. */
  readonly depth: number;
  readonly kind: "attachment" | "text" | "html" | "mail";
  /** The transfer encoding it was read in. */
  readonly encoding: Encoding;
  /** False where this is one of the less likely ways to read a body. */
  readonly primary: boolean;
  /** Where its encoded body stands in the mail; null where it lies in something that was itself encoded. */
  readonly range: Range | null;
};

export type LenientReading = {
  readonly parts: readonly LenientPart[];
  readonly flags: readonly ReadingFlag[];
  /** Where headers stand in the mail that were read as such. */
  readonly heads: readonly Range[];
};

/** Offsets of a mail: `start` is in it, `end` is not. */
export type Range = { readonly start: number; readonly end: number };

export type LenientLimits = Limits & {
  /** Mails inside the mail. */
  readonly depth: number;
  readonly parts: number;
};

/** Lines that may begin a part, for each part that is wanted. */
const DELIMITERS_PER_PART = 8;
/** Headers in a row in one part, each of a mail inside the one before. */
const MAX_HEADS = 64;
const MAX_NAMES = 8;
/** Bytes read in less likely ways; what comes out is kept until all of the mail is read. */
const MAX_WORK = 64 * 1024 * 1024;
const MAX_NAME = 1024;
const LF = 0x0a;
const CR = 0x0d;

/** What all sources of one reading share. */
type Run = {
  readonly limits: LenientLimits;
  readonly parts: LenientPart[];
  readonly flags: Set<ReadingFlag>;
  readonly heads: Range[];
  readonly waiting: Source[];
  readonly budget: Budget;
  bytes: number;
  delimiters: number;
};

/** Bytes that are read as a mail: the mail itself, or one that was encoded in it. */
type Source = {
  readonly raw: Buffer;
  readonly depth: number;
  readonly root: boolean;
  /** Boundaries that were declared outside. */
  readonly boundaries: readonly string[];
};

export function readLenient(raw: Uint8Array, limits: LenientLimits): LenientReading {
  const mail = Buffer.from(raw.buffer, raw.byteOffset, raw.length);
  const run: Run = {
    limits,
    parts: [],
    flags: new Set(),
    heads: [],
    waiting: [{ raw: mail, depth: 0, root: true, boundaries: [] }],
    budget: { work: Math.min(4 * raw.length, Math.max(raw.length, MAX_WORK)) + 256 * 1024 },
    bytes: 0,
    delimiters: 0,
  };
  noteBytes(run, mail);
  const narrow = fromUtf16(mail);
  if (narrow !== null) {
    run.flags.add("utf16_mail");
    run.waiting.push({ raw: narrow, depth: 0, root: false, boundaries: [] });
  }
  for (let source = run.waiting.shift(); source !== undefined; source = run.waiting.shift()) {
    readSource(run, source);
  }
  if (run.budget.work < 0) run.flags.add("lenient_work_exceeded");
  return { parts: run.parts, flags: [...run.flags], heads: run.heads };
}

/**
 * The ranges of the mail that the sweep need not read: bodies of attachments that were read in the one way there is,
 * and base64 that was.
 */
export function rangesRead({ parts }: LenientReading): Range[] {
  return parts.flatMap(({ range, kind, primary, encoding }) =>
    range !== null && primary && (encoding === "base64" || (kind === "attachment" && encoding === "identity"))
      ? [range]
      : [],
  );
}

/** Line ends are odd where they are mixed: a mail whose lines all end in LF is how Unix stores one. */
function noteBytes(run: Run, raw: Buffer): void {
  if (raw.indexOf(0) !== -1) run.flags.add("nul_bytes");
  let both = 0;
  for (let at = raw.indexOf(LF); at !== -1 && both !== 3; at = raw.indexOf(LF, at + 1)) {
    both |= raw[at - 1] === CR ? 1 : 2;
  }
  if (both === 3) run.flags.add("bare_lf");
  for (let at = raw.indexOf(CR); at !== -1; at = raw.indexOf(CR, at + 1)) {
    if (raw[at + 1] === LF) continue;
    run.flags.add("bare_cr");
    break;
  }
}

/** The mail in UTF-8 where it is in UTF-16. */
function fromUtf16(raw: Buffer): Buffer | null {
  const [first, second] = raw;
  if (raw.length < 8) return null;
  if (first === 0xff && second === 0xfe) return recoded(raw, "utf-16le");
  if (first === 0xfe && second === 0xff) return recoded(raw, "utf-16be");
  const zeros = [0, 0] as [number, number];
  const end = Math.min(raw.length, 256);
  for (let at = 0; at < end; at++) if (raw[at] === 0) zeros[at % 2 === 0 ? 0 : 1]++;
  if (zeros[1] > end / 3 && zeros[0] < 4) return recoded(raw, "utf-16le");
  return zeros[0] > end / 3 && zeros[1] < 4 ? recoded(raw, "utf-16be") : null;
}

function recoded(raw: Buffer, charset: "utf-16le" | "utf-16be"): Buffer {
  return Buffer.from(new TextDecoder(charset).decode(raw));
}

/** What is known of a part before its body is read. */
type Facts = {
  readonly names: readonly string[];
  readonly declared: string | null;
  readonly charset: string | null;
  readonly kind: "attachment" | "text" | "html";
  readonly encodings: readonly Encoding[];
  readonly multipart: boolean;
  readonly message: boolean;
};

const NO_FACTS: Facts = {
  names: [],
  declared: null,
  charset: null,
  kind: "text",
  encodings: ["identity"],
  multipart: false,
  message: false,
};

/** Where a piece of the mail stands: the header and body of a part, or what follows the end of a multipart. */
type Role = "part" | "epilogue";

/** A mail inside the source whose end is not reached. */
type OpenMail = { readonly start: number; readonly level: number; readonly facts: Facts };
/** A body that may go on behind the delimiter that ended it, for who does not see that delimiter. */
type OpenBody = { readonly start: number; readonly end: number; readonly facts: Facts };

/** The multiparts and mails that are open at a place of the source. */
type Nesting = {
  /** Mails that are open. */
  readonly depth: () => number;
  readonly openMail: (start: number, facts: Facts) => void;
  readonly pass: (delimiter: Delimiter) => void;
  /** `whole`: nothing of the source was left out. */
  readonly end: (whole: boolean) => void;
  readonly isOpen: (boundary: string) => boolean;
};

function createNesting(run: Run, source: Source): Nesting {
  /** Boundaries from the outside in; null stands for a mail. */
  const levels: (string | null)[] = [];
  const levelOf = new Map<string, number>();
  const mails: OpenMail[] = [];
  const closeTo = (level: number, end: number): void => {
    while (levels.length > level) {
      const boundary = levels.pop();
      if (typeof boundary === "string") levelOf.delete(boundary);
    }
    for (let mail = mails.at(-1); mail !== undefined && mail.level > level; mail = mails.at(-1)) {
      mails.pop();
      const depth = source.depth + mails.length;
      if (end > mail.start) {
        emit(run, source, mail.facts, {
          bytes: source.raw.subarray(mail.start, end),
          start: mail.start,
          end,
          kind: "mail",
          encoding: "identity",
          depth,
          primary: true,
        });
      }
    }
  };
  return {
    depth: () => source.depth + mails.length,
    isOpen: (boundary) => levelOf.has(boundary),
    openMail(start, facts) {
      levels.push(null);
      mails.push({ start, level: levels.length, facts });
    },
    pass({ key, closing, how, bodyEnd }) {
      if (how === "end of data") {
        closeTo(0, bodyEnd);
        return;
      }
      const level = levelOf.get(key);
      if (level !== undefined) {
        closeTo(level, bodyEnd);
        if (closing) closeTo(level - 1, bodyEnd);
      } else if (!closing) {
        levels.push(key);
        levelOf.set(key, levels.length);
      }
    },
    end(whole) {
      if (whole && levelOf.size > 0) run.flags.add("missing_closing_boundary");
      closeTo(0, source.raw.length);
    },
  };
}

function readSource(run: Run, source: Source): void {
  const { raw } = source;
  const lines = createLines(raw);
  const boundaries = createBoundaries(source.boundaries, () => run.flags.add("lenient_work_exceeded"));
  const nesting = createNesting(run, source);
  const find = createDelimiterFinder(raw, lines, boundaries, nesting.isOpen);
  const bodies = new Map<string, OpenBody>();
  const readOn = (open: OpenBody | undefined, end: number): void => {
    if (open !== undefined && open.end < end) readFar(run, source, open, end, nesting.depth());
  };
  let whole = true;
  let role: Role = "part";
  let key: string | null = null;
  let start = 0;
  for (;;) {
    const piece = role === "part" ? readHeads(start) : { facts: NO_FACTS, bodies: [start] };
    const first = Math.min(...piece.bodies);
    const delimiter = find.next(first);
    const end = delimiter?.bodyEnd ?? raw.length;
    for (const [index, body] of piece.bodies.entries()) {
      if (body < end)
        readPart(run, source, piece.facts, body, end, index === 0, role, nesting.depth(), boundaries);
    }
    if (
      role === "part" &&
      key !== null &&
      !piece.facts.multipart &&
      piece.facts.encodings[0] !== "identity"
    ) {
      bodies.set(key, { start: piece.bodies[0] ?? first, end, facts: piece.facts });
    }
    if (delimiter === null) break;
    if (
      run.parts.length >= run.limits.parts ||
      ++run.delimiters > run.limits.parts * DELIMITERS_PER_PART + 100
    ) {
      run.flags.add("lenient_parts_exceeded");
      whole = false;
      break;
    }
    noteDelimiter(run, delimiter);
    readOn(bodies.get(delimiter.key), delimiter.bodyEnd);
    bodies.delete(delimiter.key);
    nesting.pass(delimiter);
    role = delimiter.closing ? "epilogue" : "part";
    key = delimiter.key;
    start = delimiter.next;
  }
  for (const open of bodies.values()) readOn(open, raw.length);
  nesting.end(whole);

  /** Reads the header of a part, and those right behind it: of a mail in it, of a part behind an empty line. */
  function readHeads(at: number): { readonly facts: Facts; readonly bodies: readonly number[] } {
    let facts = NO_FACTS;
    let bodies: readonly number[] = [at];
    let from = at;
    for (let count = 0; count < MAX_HEADS; count++) {
      const head = readHead(raw, lines, from, (lineStart, lineEnd, types) => {
        for (const type of types) boundaries.add(type);
        return find.isDelimiter(lineStart, lineEnd);
      });
      const inside = count > 0 && (facts !== NO_FACTS || at > 0);
      if (count > 0 && !isHeadBehind(head, facts)) break;
      if (inside && (facts.message || facts.kind === "attachment" || head.mailFields > 0)) {
        if (nesting.depth() >= run.limits.depth || count === MAX_HEADS - 1) {
          run.flags.add("lenient_depth_exceeded");
          break;
        }
        if (!facts.message) run.flags.add("undeclared_parts");
        nesting.openMail(from, facts);
      } else if (count > 0) run.flags.add("malformed_header");
      if (head.lines > 0) {
        if (source.root) run.heads.push({ start: from, end: Math.max(...head.bodies) });
        for (const flag of head.flags) run.flags.add(flag);
        noteTypes(run, head, boundaries);
        facts = factsOf(run, head);
      }
      bodies = head.bodies;
      const body = bodies[0] ?? from;
      if (body <= from || body >= raw.length || facts.multipart || !facts.encodings.includes("identity"))
        break;
      from = body;
    }
    return { facts, bodies };
  }
}

/** True where what begins a body is the header of a mail or of a part. */
function isHeadBehind(head: Head, facts: Facts): boolean {
  if (head.lines === 0) return false;
  if (facts.message || (facts === NO_FACTS && head.mailFields > 1)) return true;
  const mime = head.fields.has("content-type") || head.fields.has("content-transfer-encoding");
  return mime && (head.mailFields > 0 || head.fields.has("mime-version") || facts === NO_FACTS);
}

function noteDelimiter(run: Run, { how }: Delimiter): void {
  if (how === "guess") run.flags.add("undeclared_parts");
  else if (how === "near") run.flags.add("boundary_ambiguous");
  else if (how === "end of data") run.flags.add("pseudo_end_of_data");
}

function noteTypes(run: Run, head: Head, boundaries: Boundaries): void {
  const types = new Set((head.fields.get("content-type") ?? []).map((value) => value.trim()));
  if (types.size > 1) run.flags.add("duplicate_header");
  for (const type of types) {
    if (!boundaries.add(type)) continue;
    if (plainBoundary(type) === null) run.flags.add("missing_boundary");
    else if (isAmbiguous(type)) run.flags.add("boundary_ambiguous");
  }
}

/** True where a Content-Type gives its boundary otherwise than in one string or one plain word. */
function isAmbiguous(contentType: string): boolean {
  const places = contentType.match(/boundary\s{0,20}\*?\d{0,4}\*?\s{0,20}=/gi) ?? [];
  if (places.length !== 1) return true;
  return !/;\s{0,200}boundary=(?:"[^"\\\r\n]{1,200}"|[^\s"'();,\\]{1,200})\s{0,200}(?:;|$)/i.test(
    contentType,
  );
}

const TEXT_TYPES: ReadonlySet<string> = new Set(["text/plain", "text/enriched", "text/watch-html"]);

function factsOf(run: Run, head: Head): Facts {
  const values = (name: FieldName): readonly string[] => head.fields.get(name) ?? [];
  const types = values("content-type");
  const dispositions = values("content-disposition");
  const declared = first(types, mediaTypeOf);
  const encodings = encodingsOf(values("content-transfer-encoding"));
  for (const flag of encodings.flags) run.flags.add(flag);
  const names = namesOf(types, dispositions, values("content-description"), values("content-location"));
  const attached = dispositions.some((value) => /^\W{0,10}attachment/i.test(value));
  if (declared === "message/partial") run.flags.add("message_partial");
  if (declared === "message/external-body") run.flags.add("external_body");
  return {
    names,
    declared,
    charset: first(types, (type) => parameterValues(type, "charset")[0] ?? null),
    kind: kindOf(declared, attached || names.length > 0),
    encodings: encodings.all,
    multipart: types.some(mayBeMultipart),
    message: types.some((type) => /message\/(?!delivery|disposition|external|tracking)/i.test(type)),
  };
}

function first<Value>(values: readonly string[], read: (value: string) => Value | null): Value | null {
  for (const value of values) {
    const found = read(value);
    if (found !== null) return found;
  }
  return null;
}

function kindOf(declared: string | null, attached: boolean): Facts["kind"] {
  if (attached) return "attachment";
  if (declared === null || TEXT_TYPES.has(declared) || declared.startsWith("multipart/")) return "text";
  if (declared === "text/html" || declared === "text/x-amp-html") return "html";
  return declared.startsWith("text/") || declared.startsWith("message/") ? "text" : "attachment";
}

/** A name that ends like one decides how a program opens the file. */
const EXTENSION = /\.[a-z0-9]{1,8}[. ]{0,4}$/i;

function namesOf(
  types: readonly string[],
  dispositions: readonly string[],
  descriptions: readonly string[],
  locations: readonly string[],
): string[] {
  const names = new Set<string>();
  const add = (name: string): void => {
    if (names.size < MAX_NAMES && name.trim() !== "") names.add(name.slice(0, MAX_NAME));
  };
  for (const value of dispositions) for (const name of parameterValues(value, "filename")) add(name);
  for (const value of types) {
    for (const name of parameterValues(value, "name")) add(name);
    for (const name of parameterValues(value, "filename")) add(name);
  }
  for (const value of dispositions) for (const name of parameterValues(value, "name")) add(name);
  for (const value of [...descriptions, ...locations]) {
    const name = decodeWords(value.trim());
    if (names.size === 0 && name.length <= 255 && EXTENSION.test(name) && !name.includes("://")) add(name);
  }
  return [...names];
}

/** What is given of a part besides what its header tells. */
type Given = Pick<LenientPart, "bytes" | "kind" | "depth" | "primary" | "encoding"> & {
  readonly start: number;
  readonly end: number;
  /** As the encoding gives it. */
  readonly name?: string | null;
};

/** Gives a part, or flags the bound that it hits. */
function emit(run: Run, source: Source, facts: Facts, given: Given): void {
  const { bytes, kind, depth, encoding, primary, start, end, name = null } = given;
  if (run.parts.length >= run.limits.parts) {
    run.flags.add("lenient_parts_exceeded");
    return;
  }
  if (kind !== "mail") {
    if (run.bytes + bytes.length > run.limits.bytes) {
      run.flags.add("lenient_bytes_exceeded");
      return;
    }
    run.bytes += bytes.length;
  }
  run.parts.push({
    name: facts.names[0] ?? name,
    names: name === null || facts.names.includes(name) ? facts.names : [...facts.names, name],
    declared: facts.declared,
    charset: facts.charset,
    bytes,
    depth,
    kind,
    encoding,
    primary,
    range: source.root ? { start, end } : null,
  });
}

/** Reads a body that begins at `start`; `standard`: where the standard has it begin. */
function readPart(
  run: Run,
  source: Source,
  facts: Facts,
  start: number,
  end: number,
  standard: boolean,
  role: Role,
  depth: number,
  boundaries: Boundaries,
): void {
  const body = source.raw.subarray(start, end);
  if (isBlankBody(body)) return;
  const reading = readBodyWays(body, facts.encodings, run.budget);
  const { encoding } = reading;
  const around = role === "epilogue" || facts.multipart;
  const [likely] = reading.primary;
  if (standard && reading.encoding !== "identity" && likely !== undefined) {
    readInside(run, facts, likely.bytes, depth, boundaries);
  }
  let found = false;
  for (const { bytes, name } of reading.primary) {
    const worth = looksDangerous(bytes.subarray(0, HEAD_SIZE));
    if (worth) found = true;
    if (!worth && !standard) continue;
    // A mail that stands here as it is, and was read as one, is given by its nesting.
    const kind = facts.message && standard ? "mail" : facts.kind;
    emit(run, source, facts, { bytes, kind, encoding, depth, primary: standard, start, end, name });
  }
  for (const { bytes, name } of reading.others) {
    found = true;
    emit(run, source, facts, {
      bytes,
      kind: "attachment",
      encoding,
      depth,
      primary: false,
      start,
      end,
      name,
    });
  }
  if (!around) for (const flag of reading.flags) run.flags.add(flag);
  else if (found) run.flags.add(aroundFlag(role, facts));
  if (facts.kind !== "attachment" && likely !== undefined) {
    const bytes = Buffer.from(likely.bytes.buffer, likely.bytes.byteOffset, likely.bytes.length);
    const text = fromUtf7(bytes, facts.charset);
    if (text !== null) {
      if (text.markup) run.flags.add("utf7_text");
      emit(run, source, facts, {
        bytes: text.text,
        kind: text.markup ? "html" : "text",
        encoding,
        depth,
        primary: false,
        start,
        end,
      });
    }
  }
}

function aroundFlag(role: Role, facts: Facts): ReadingFlag {
  if (role === "epilogue") return "content_in_epilogue";
  return facts.encodings[0] === "identity" ? "content_in_preamble" : "content_in_multipart_type";
}

/** Reads what a decoded body holds, if that is a mail or the parts of a multipart. */
function readInside(run: Run, facts: Facts, bytes: Uint8Array, depth: number, boundaries: Boundaries): void {
  const raw = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length);
  const inside = facts.multipart ? raw.indexOf("--") !== -1 : facts.message || startsLikeMail(raw);
  if (!inside) return;
  if (depth >= run.limits.depth) {
    run.flags.add("lenient_depth_exceeded");
    return;
  }
  if (facts.multipart || facts.message) run.flags.add("encoded_multipart");
  run.waiting.push({
    raw,
    depth: depth + 1,
    root: false,
    boundaries: facts.multipart ? boundaries.all() : [],
  });
}

function startsLikeMail(raw: Buffer): boolean {
  const text = raw.toString("latin1", 0, Math.min(raw.length, 2000));
  return /^[\s\0]{0,20}(?:[\w-]{1,60}:[^\n]{0,998}\n){1,12}?(?:content-type|mime-version|content-transfer-encoding) {0,5}:/i.test(
    `X: \n${text.trimStart()}`,
  );
}

/** Reads a body again that goes on behind the delimiter that ended it. */
function readFar(run: Run, source: Source, open: OpenBody, end: number, depth: number): void {
  const { start, facts } = open;
  if (run.budget.work < end - start) {
    run.budget.work = -1;
    return;
  }
  run.budget.work -= end - start;
  const { primary, others, encoding } = readBodyWays(
    source.raw.subarray(start, end),
    facts.encodings,
    run.budget,
  );
  for (const { bytes, name } of [...primary, ...others]) {
    if (!looksDangerous(bytes.subarray(0, HEAD_SIZE))) continue;
    emit(run, source, facts, {
      bytes,
      kind: "attachment",
      encoding,
      depth,
      primary: false,
      start,
      end,
      name,
    });
  }
}
