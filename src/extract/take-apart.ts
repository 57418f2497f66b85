/**
 * Takes one mail apart, with everything inside it, to the bounds of `extract`.
 *
 * In goes a mail of any bytes, out comes an Extraction. A mail is read in three ways, and what any of them finds
 * counts: the strict reading (view "mime"), a lenient one ("lenient") and a sweep of its raw bytes ("sweep"). What
 * only the last two find is listed where it is of a kind worth analysing. Each content is then looked into by the
 * reader of its type. What hits a bound is flagged and the extraction is not complete. It throws only where the
 * sink does.
 */
import { isArchive } from "./archives/archive.ts";
import type { Bounds } from "./bounds.ts";
import { type CodeBudget, createCodeBudget } from "./codes/budget.ts";
import { sampleOf } from "./content-sample.ts";
import type { Attachment, Container, Extraction, MailFacts, OriginalEnvelope } from "./extraction.ts";
import { nameFacts } from "./facts/names.ts";
import { detectType, extensionOf, isText, PLAIN_TEXT, UNKNOWN_BINARY } from "./file-type.ts";
import { isIncomplete } from "./flags.ts";
import { type Inside, type InsideLimits, isContainer, isImage, isMailType, lookInside } from "./inside.ts";
import { cutTo, MAX_NAME, NO_FACTS, readFacts } from "./mail-facts.ts";
import { originalEnvelope } from "./original-envelope.ts";
import type { Inner } from "./reading.ts";
import { readStrictly } from "./readings/cut-parts.ts";
import { looksDangerous } from "./readings/dangerous.ts";
import { type LenientPart, type Range, rangesRead, readLenient } from "./readings/lenient.ts";
import type { StrictPart, StrictReading } from "./readings/strict.ts";
import { sweepRaw } from "./readings/sweep.ts";
import { createTexts, type Texts } from "./texts.ts";

/** Receives the bytes of every content that is listed. After "enough" nothing more is read. */
export type ContentSink = (sha256: string, bytes: Uint8Array) => "more" | "enough";

/** Which reading of the mail found a content. */
type View = "mime" | "lenient" | "sweep";

export type TakeApartOptions = {
  readonly sink?: ContentSink | undefined;
  /** Recipients that the copy had in SMTP: they may tell who the mail was for. */
  readonly copiedTo?: readonly string[];
};

const UNNAMED = "unnamed";
const UNNAMED_MAIL = "unnamed.eml";
const OUTLOOK_TYPES: ReadonlySet<string> = new Set(["application/vnd.ms-outlook", "application/vnd.ms-tnef"]);
/** First bytes of files of these types. */
const OUTLOOK_STARTS: ReadonlySet<number> = new Set([0xd0, 0x78]);
/** Of the time for a mail this much is used for reading, so that the answer comes before the helper is killed. */
const TIME_SHARE = 0.7;
/** This much for codes, and this much for archives, of which trying passwords takes long. */
const CODE_SHARE = 1 / 3;
const ARCHIVE_SHARE = 1 / 3;

/** Contents of this size and more are kept once, not for each mail they lie in; so many of one size are compared. */
const LARGE = 1024 * 1024;
const MAX_ALIKE = 8;

/**
 * Bytes held at once: the mail, what was decoded of it, and unpacked contents that wait. What a reader may unpack is
 * less where there is much of it already, as the memory of the helper is bounded.
 */
const MAX_HELD = 320 * 1024 * 1024;
/** Bytes of contents read after which garbage is collected. */
const COLLECT_AFTER = 24 * 1024 * 1024;

/** A content that is listed, with those inside it. */
type Node = {
  readonly attachment: Omit<Attachment, "views" | "facts" | "password">;
  readonly views: Set<View>;
  readonly facts: Set<string>;
  password: string | null;
  readonly inside: Node[];
};

/** Where a content lies. */
type Place = {
  readonly into: Node[];
  readonly path: readonly string[];
  readonly within: Container;
  readonly view: View;
  /** Containers around it, the mail itself not counted. */
  readonly depth: number;
};

/** A content that is to be looked into. */
type Unread = { readonly node: Node; readonly bytes: Uint8Array; readonly place: Place };

/** An archive that no password opened, the passwords that were tried, and how often. */
type Locked = Unread & { readonly inside: Inside; readonly tried: string; readonly rounds: number };

/** The password of one archive may lie in another, whose password lies in a third. */
const MAX_ROUNDS = 4;

/** A mail that was read strictly; the other two readings of it come when all of that is done. */
type ReadMail = {
  readonly raw: Uint8Array;
  /** What the lenient reading found; emptied where it is listed, as it may be large. */
  readonly parts: LenientPart[];
  /** What the sweep need not look at, as that found it. */
  readonly skip: readonly Range[];
  readonly heads: readonly Range[];
  readonly place: Place;
};

type NewContent = {
  readonly bytes: Uint8Array;
  readonly name: string | null;
  /** Media type as declared, lower case; null where it is not. */
  readonly declared: string | null;
  readonly charset: string | null;
};

/** What all levels of one mail share. */
type Run = {
  readonly bounds: Bounds;
  readonly sink: ContentSink;
  readonly flags: Set<string>;
  readonly codes: CodeBudget;
  readonly texts: Texts;
  /** SHA-256 of contents that two readings share. */
  readonly digests: WeakMap<Uint8Array, string>;
  /** The first content of each SHA-256: it is looked into once. */
  readonly byHash: Map<string, Node>;
  readonly unread: Unread[];
  /** Archives wait until every text is read that may hold their password. */
  readonly archives: Unread[];
  /** And those that stay locked until the others are read. */
  readonly locked: Locked[];
  readonly mails: ReadMail[];
  /** Contents of LARGE bytes and more by their size. */
  readonly large: Map<number, readonly Uint8Array[]>;
  readonly deadline: number;
  /** Bytes held, of MAX_HELD, and bytes of contents that were read since garbage was collected. */
  held: number;
  litter: number;
  /** Milliseconds that archives may still take. */
  archiveTime: number;
  attachments: number;
  parts: number;
  left: number;
  /** Nothing more is to be read. */
  over: boolean;
};

export async function takeApart(
  raw: Uint8Array,
  bounds: Bounds,
  { sink = () => "more", copiedTo = [] }: TakeApartOptions = {},
): Promise<Extraction> {
  const flags = new Set<string>();
  const recipients = [...copiedTo];
  const codes = createCodeBudget(bounds.timeout * CODE_SHARE);
  const run: Run = {
    bounds,
    sink,
    flags,
    codes,
    texts: createTexts(bounds.max_urls, recipients, codes, (flag) => flags.add(flag)),
    digests: new WeakMap(),
    byHash: new Map(),
    unread: [],
    archives: [],
    locked: [],
    mails: [],
    large: new Map(),
    deadline: performance.now() + bounds.timeout * TIME_SHARE,
    held: Math.min(raw.length, bounds.max_mail_size),
    litter: 0,
    archiveTime: bounds.timeout * ARCHIVE_SHARE,
    attachments: 0,
    parts: 0,
    left: bounds.max_decoded_size,
    over: false,
  };
  const whole = raw.subarray(0, bounds.max_mail_size);
  if (whole.length < raw.length) run.flags.add("mail_size_exceeded");
  const found: Node[] = [];
  const place: Place = { into: found, path: [], within: "mail", view: "mime", depth: 0 };
  const { facts, envelope } = await readRoot(run, whole, place, copiedTo);
  recipients.push(...facts.to, ...facts.cc, ...(envelope?.to ?? []));
  await readInside(run);
  for (const mail of run.mails) await readLeniently(run, mail);
  run.large.clear();
  for (const mail of run.mails) await sweep(run, mail);

  const opened = [...run.byHash.values()].flatMap(({ password }) => password ?? []);
  return {
    mail: facts,
    envelope,
    attachments: inOrder(found),
    urls: run.texts.urls(),
    passwords:
      run.flags.has("archive_encrypted") || opened.length > 0
        ? [...new Set([...opened, ...run.texts.passwords()])]
        : [],
    flags: [...run.flags],
    complete: ![...run.flags].some(isIncomplete),
  };
}

/** Each attachment before those inside it. */
function inOrder(nodes: readonly Node[]): readonly Attachment[] {
  return nodes.flatMap(({ attachment, views, facts, password, inside }) => [
    { ...attachment, views: [...views], facts: [...facts], password },
    ...inOrder(inside),
  ]);
}

type Root = { readonly facts: MailFacts; readonly envelope: OriginalEnvelope | null };

/** The mail itself; a file of Outlook is one, too. */
async function readRoot(run: Run, raw: Uint8Array, place: Place, copiedTo: readonly string[]): Promise<Root> {
  // Few mails begin with such a byte; of those the whole signature is looked at.
  const type = OUTLOOK_STARTS.has(raw[0] ?? 0) ? await detectType(sampleOf(raw), null) : PLAIN_TEXT;
  if (OUTLOOK_TYPES.has(type)) {
    const inside = await lookInside({ bytes: raw, type, name: null }, limitsOf(run), run.texts.passwords);
    await addInside(run, inside, { ...place, within: "mail" });
    return { facts: inside.mail ?? NO_FACTS, envelope: null };
  }
  const strict = await readMail(run, raw, place);
  const flag = (name: string) => run.flags.add(name);
  const original = await originalEnvelope(strict, copiedTo, run.bounds, flag);
  const reported = original?.inner ?? strict;
  return {
    facts: readFacts(reported.headers, reported.lines, run.bounds.max_recipients, flag),
    envelope: original?.envelope ?? null,
  };
}

/** The strict reading of one mail: its texts are searched, its attachments listed. */
async function readMail(run: Run, raw: Uint8Array, place: Place): Promise<StrictReading> {
  const limits = {
    bytes: Math.max(0, run.left),
    parts: Math.max(0, run.bounds.max_parts - run.parts),
    headerSize: run.bounds.max_header_size,
    headerLines: run.bounds.max_header_lines,
    deadline: run.deadline,
  };
  const lenient = readLenient(raw, {
    ...limitsOf(run),
    bytes: limits.bytes,
    parts: limits.parts,
    depth: run.bounds.max_depth - place.depth,
  });
  for (const flag of lenient.flags) run.flags.add(flag);
  const parts = lenient.parts.map((part) => ({ ...part, bytes: sharedBytes(run, raw, part.bytes) }));
  collect(run, raw);
  run.mails.push({ raw, parts, skip: rangesRead(lenient), heads: lenient.heads, place });
  const strict = await readStrictly(raw, parts, limits);
  collect(run, raw);
  for (const flag of strict.flags) run.flags.add(flag);
  run.parts += strict.parts.length;
  const subject = strict.headers.get("subject");
  if (typeof subject === "string") run.texts.subject(subject);
  run.texts.header(strict.lines);
  for (const part of strict.parts) {
    if (isOver(run)) break;
    await addPart(run, part, place);
  }
  return strict;
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

async function addPart(run: Run, part: StrictPart, place: Place): Promise<void> {
  const { declared, name, charset, bytes } = part;
  if (BODY_TYPES.has(declared) && name === null && part.disposition !== "attachment") {
    const search = () => run.texts.body(part, (data) => addData(run, data, place));
    if (isText(bytes)) return search();
    // A body that is known to be no text (a zip called text/plain) is something to look at.
    if ((await detectType(sampleOf(bytes), name)) === UNKNOWN_BINARY) return search();
  }
  await add(run, { bytes, name, declared, charset }, place);
}

/** Lists a content and puts it on the list of those to be looked into. */
async function add(run: Run, content: NewContent, place: Place): Promise<void> {
  const { bytes, declared } = content;
  if (run.over) return;
  if (bytes.length > run.left) {
    run.flags.add("decoded_size_exceeded");
    run.over = true;
    return;
  }
  run.left -= bytes.length;
  if (run.attachments >= run.bounds.max_attachments) {
    run.flags.add("attachments_exceeded");
    return;
  }
  run.attachments++;
  const filename =
    content.name === null ? null : cutTo(MAX_NAME, content.name, (flag) => run.flags.add(flag));
  const type = await typeOf(bytes, filename, declared);
  const sha256 = digestOf(run, bytes);
  const known = run.byHash.get(sha256);
  const node: Node = {
    attachment: {
      filename,
      sha256,
      sha1: known?.attachment.sha1 ?? hash("sha1", bytes),
      md5: known?.attachment.md5 ?? hash("md5", bytes),
      size: bytes.length,
      type,
      path: place.path,
      within: place.within,
    },
    views: new Set([place.view]),
    facts: new Set([...nameFacts(filename, type), ...(known?.facts ?? [])]),
    password: known?.password ?? null,
    inside: [],
  };
  place.into.push(node);
  if (run.sink(sha256, bytes) === "enough") {
    run.over = true;
    return;
  }
  if (known !== undefined) return;
  run.byHash.set(sha256, node);
  if (filename !== null) run.texts.name(filename);
  const inner: Place = {
    into: node.inside,
    path: [...place.path, filename ?? (isMailType(type) ? UNNAMED_MAIL : UNNAMED)],
    within: isMailType(type) || OUTLOOK_TYPES.has(type) ? "mail" : isArchive(type) ? "archive" : "document",
    view: place.view,
    depth: place.depth + 1,
  };
  const waiting = isArchive(type) ? run.archives : run.unread;
  run.held += unpackedSize(place, bytes);
  waiting.push({ node, bytes, place: inner });
}

/** Bytes that a content takes beside those of the mail: none for its own parts, which are counted when it is read. */
function unpackedSize({ within }: Pick<Attachment, "within">, { length }: Uint8Array): number {
  return within === "mail" ? 0 : length;
}

/** What is declared a mail is one, unless its bytes are clearly something else. */
async function typeOf(bytes: Uint8Array, filename: string | null, declared: string | null): Promise<string> {
  const type = await detectType(sampleOf(bytes), filename);
  const said = declared !== null && isMailType(declared);
  const vague = type === PLAIN_TEXT || type === UNKNOWN_BINARY || isText(bytes);
  if (said && bytes.length > 0 && vague) return "message/rfc822";
  return extensionOf(filename) === "eml" && type === PLAIN_TEXT ? "message/rfc822" : type;
}

/** The same bytes of an earlier mail, where there are such: each mail around a large content has it again. */
function sharedBytes(run: Run, raw: Uint8Array, bytes: Uint8Array): Uint8Array {
  const alike = bytes.length < LARGE ? [] : (run.large.get(bytes.length) ?? []);
  const same = alike.find((one) => Buffer.compare(one, bytes) === 0);
  if (same !== undefined) return same;
  if (bytes.length >= LARGE && alike.length < MAX_ALIKE) run.large.set(bytes.length, [...alike, bytes]);
  if (bytes.buffer !== raw.buffer) run.held += bytes.length;
  return bytes;
}

function digestOf(run: Run, bytes: Uint8Array): string {
  const known = run.digests.get(bytes);
  if (known !== undefined) return known;
  const digest = hash("sha256", bytes);
  run.digests.set(bytes, digest);
  return digest;
}

function hash(algorithm: "sha256" | "sha1" | "md5", bytes: Uint8Array): string {
  return new Bun.CryptoHasher(algorithm).update(bytes).digest("hex");
}

/** Contents of other readings: listed where they are new and look like something that does harm. */
async function addNew(run: Run, content: NewContent, place: Place): Promise<void> {
  const known = run.byHash.get(digestOf(run, content.bytes));
  if (known !== undefined) {
    known.views.add(place.view);
    return;
  }
  if (!looksDangerous(content.bytes)) return;
  await add(run, content, place);
  await readInside(run);
}

async function readLeniently(run: Run, { parts, place }: ReadMail): Promise<void> {
  const here: Place = { ...place, view: "lenient" };
  for (const part of parts.splice(0)) {
    if (isOver(run)) return;
    const { bytes, name, declared, charset } = part;
    if (part.kind === "text" || part.kind === "html") {
      if (!run.texts.seen(bytes)) {
        const body = { bytes, declared: `text/${part.kind}`, charset, flowed: null };
        await run.texts.body(body, (data) => addData(run, data, here));
      }
    } else await addNew(run, { bytes, name, declared, charset }, here);
  }
}

async function sweep(run: Run, { raw, skip, heads, place }: ReadMail): Promise<void> {
  if (isOver(run)) return;
  const swept = sweepRaw(raw, limitsOf(run), { worth: looksDangerous, skip, heads });
  for (const flag of swept.flags) run.flags.add(flag);
  for (const { bytes, name, how } of swept.found) {
    const declared = how === "mail" ? "message/rfc822" : null;
    await addNew(run, { bytes, name, declared, charset: null }, { ...place, view: "sweep" });
  }
}

/** Gives back what reading contents left behind, each time that may be much, before more is made. */
function collect(run: Run, { length }: Uint8Array): void {
  run.litter += length;
  if (run.litter < COLLECT_AFTER) return;
  run.litter = 0;
  Bun.gc(true);
}

/** Says, too, that time is over. */
function isOver(run: Run): boolean {
  if (!run.over && performance.now() > run.deadline) {
    run.flags.add("time_exceeded");
    run.over = true;
  }
  return run.over;
}

/** Looks into every content that waits, and into what is found there, until none is left. */
async function readInside(run: Run): Promise<void> {
  for (;;) {
    const locked = run.unread.length + run.archives.length === 0 ? run.locked.shift() : undefined;
    const next = locked ?? run.unread.shift() ?? run.archives.shift();
    if (next === undefined || isOver(run)) return;
    const { node, bytes, place } = next;
    const { type, filename } = node.attachment;
    if (locked === undefined) run.held -= unpackedSize(node.attachment, bytes);
    if (place.depth > run.bounds.max_depth) {
      if (isContainer(type)) run.flags.add("depth_exceeded");
      continue;
    }
    if (isMailType(type)) {
      await readMail(run, bytes, place);
      continue;
    }
    const begin = performance.now();
    const inside =
      locked !== undefined && locked.tried === passwordsOf(run)
        ? locked.inside
        : await lookInside(
            { bytes, type, name: filename },
            isArchive(type) ? archiveLimitsOf(run) : limitsOf(run),
            run.texts.passwords,
          );
    if (isArchive(type)) run.archiveTime -= performance.now() - begin;
    const rounds = (locked?.rounds ?? 0) + 1;
    if (isLocked(inside) && rounds < MAX_ROUNDS && locked?.tried !== passwordsOf(run)) {
      run.locked.push({ ...next, inside, tried: passwordsOf(run), rounds });
      continue;
    }
    collect(run, bytes);
    for (const fact of inside.facts) node.facts.add(fact);
    node.password = inside.password;
    await addInside(run, inside, place);
  }
}

const passwordsOf = (run: Run): string => run.texts.passwords().join("\0");

/** Of an archive that is open in part nothing is read twice. */
const isLocked = ({ flags, inner }: Inside): boolean =>
  inner.length === 0 && flags.includes("archive_encrypted");

/** What a reader found in a content. */
async function addInside(run: Run, inside: Inside, place: Place): Promise<void> {
  for (const flag of inside.flags) run.flags.add(flag);
  if (inside.mail?.subject) run.texts.subject(inside.mail.subject);
  for (const { url, source } of inside.urls) run.texts.url(url, source);
  for (const text of inside.texts) await run.texts.add(text, (data) => addData(run, data, place));
  for (const { bytes, name, declared } of inside.inner) {
    await add(run, { bytes, name, declared, charset: null }, place);
  }
}

/** A content in a `data:` URI, or written into a script. Of an image only the codes in it matter. */
async function addData(run: Run, data: Inner, place: Place): Promise<void> {
  if (data.declared?.startsWith("image/") === true) {
    const type = await detectType(sampleOf(data.bytes), data.name);
    if (isImage(type)) {
      const inside = await lookInside(
        { bytes: data.bytes, type, name: null },
        limitsOf(run),
        run.texts.passwords,
      );
      await addInside(run, inside, place);
      return;
    }
  }
  await add(run, { ...data, charset: null }, { ...place, within: "document" });
}

/** Bounds of one reader. */
function limitsOf(run: Run): InsideLimits & { readonly seconds: number } {
  const { max_unpacked_size, max_archive_members, max_archive_ratio, max_urls } = run.bounds;
  return {
    bytes: Math.max(0, Math.min(max_unpacked_size, run.left, MAX_HELD - run.held)),
    inner: max_archive_members,
    urls: max_urls,
    ratio: max_archive_ratio,
    codes: run.codes,
    seconds: Math.max(0, run.deadline - performance.now()) / 1000,
  };
}

function archiveLimitsOf(run: Run): InsideLimits {
  const limits = limitsOf(run);
  return { ...limits, seconds: Math.max(0, Math.min(limits.seconds, run.archiveTime / 1000)) };
}
