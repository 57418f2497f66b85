/**
 * Looks into one content: the reader of its type gives what lies in it, the links it leads to and what is true of it.
 *
 * In go a content and its type, out comes a Reading; empty where the type has no reader. Images are searched for
 * codes, also those in documents, which are not given as contents of their own. It never throws for what the bytes
 * are.
 */
import { isArchive, readArchive } from "./archives/archive.ts";
import type { ArchiveLimits } from "./archives/gauge.ts";
import type { CodeBudget } from "./codes/budget.ts";
import type { FoundCodes } from "./codes/found.ts";
import { readImageCodes, readPixelCodes } from "./codes/images.ts";
import { decodeText } from "./decode-text.ts";
import type { MailFacts } from "./extraction.ts";
import { polyglotFacts } from "./facts/polyglot.ts";
import { readOdf } from "./office/odf.ts";
import { readOleDocument } from "./office/ole-documents.ts";
import { readOneNote } from "./office/onenote.ts";
import { readOfficeXml, readOoxml } from "./office/ooxml.ts";
import { readRtf } from "./office/rtf.ts";
import { readMsg } from "./outlook/msg.ts";
import { readTnef } from "./outlook/tnef.ts";
import { PDF_SCRIPT_SOURCE, readPdf } from "./pdf/pdf.ts";
import type { Inner, Limits, Reading, ReadText, ReadUrl } from "./reading.ts";
import { readLnk } from "./shortcuts/lnk.ts";
import { readCalendar } from "./urls/calendar.ts";
import { readShortcut } from "./urls/shortcuts.ts";

export type Content = {
  readonly bytes: Uint8Array;
  /** Detected media type. */
  readonly type: string;
  readonly name: string | null;
};

export type InsideLimits = ArchiveLimits & {
  /** What looking for codes may still cost; not bounded where it is left out. */
  readonly codes?: CodeBudget;
};

/** Candidates, worked out where something is locked. */
export type Passwords = () => readonly string[];

export type Inside = Reading & {
  /** The password that opened it. */
  readonly password: string | null;
  /** Of a file that is a mail itself. */
  readonly mail: MailFacts | null;
};

type Reader = (content: Content, limits: InsideLimits, passwords: Passwords) => Promise<Inside> | Inside;

const NOTHING: Inside = { inner: [], texts: [], urls: [], flags: [], facts: [], password: null, mail: null };

/** A text up to this size is searched for URLs. */
const MAX_TEXT = 1024 * 1024;
/** Images of one document that are searched for codes, and pixels of one. */
const MAX_IMAGES = 40;
const CODE_LIMITS = { codes: 20, pixels: 16_000_000 };

const MAIL_TYPES: ReadonlySet<string> = new Set([
  "message/rfc822",
  "message/global",
  "message/news",
  "application/x-mimearchive",
]);

/** True for what is read as a mail: also web archives, which have the same form. */
export function isMailType(type: string): boolean {
  return MAIL_TYPES.has(type);
}

const IMAGES: ReadonlySet<string> = new Set([
  "image/png",
  "image/jpeg",
  "image/gif",
  "image/webp",
  "image/bmp",
]);

/** True for an image that is searched for codes. */
export function isImage(type: string): boolean {
  return IMAGES.has(type);
}

/** True where whatever lies in such a content is hidden from who does not open it. */
export function isContainer(type: string): boolean {
  return isMailType(type) || isArchive(type) || OUTLOOK.has(type);
}

/** `type` of `content` decides; a content of an unknown type may still be two things at once. */
export async function lookInside(
  content: Content,
  limits: InsideLimits,
  passwords: Passwords,
): Promise<Inside> {
  const { type, bytes } = content;
  const read = await readerOf(type)(content, limits, passwords);
  const polyglot = polyglotFacts(bytes);
  if (polyglot.facts.length === 0 && polyglot.inner.length === 0) return read;
  return {
    ...read,
    facts: [...read.facts, ...polyglot.facts],
    inner: [...read.inner, ...polyglot.inner],
  };
}

function readerOf(type: string): Reader {
  if (isArchive(type)) return archive;
  const known = READERS.get(type);
  if (known !== undefined) return known;
  if (/^application\/vnd\.(?:openxmlformats-officedocument|ms-word|ms-excel|ms-powerpoint)\./.test(type)) {
    return office(readOoxml);
  }
  if (type.startsWith("application/vnd.oasis.opendocument.")) return office(readOdf);
  return () => NOTHING;
}

async function archive(content: Content, limits: InsideLimits, passwords: Passwords): Promise<Inside> {
  const { password, inner, texts, urls, flags, facts } = await readArchive(
    content.bytes,
    content.type,
    limits,
    passwords(),
  );
  return { inner, texts, urls, flags, facts, password, mail: null };
}

type PlainReader = (bytes: Uint8Array, limits: Limits) => Promise<Reading> | Reading;

/** A document: its images are searched for codes, everything else in it is a content of its own. */
function office(read: PlainReader): Reader {
  return async ({ bytes }, limits) => {
    const reading = await read(bytes, limits);
    const isImage = ({ declared }: Inner) => declared?.startsWith("image/") === true;
    const images = reading.inner.filter(isImage).slice(0, MAX_IMAGES);
    const codes: FoundCodes[] = [];
    for (const { bytes: image, declared } of images) {
      codes.push(await searched(limits, () => readImageCodes(image, declared ?? "", CODE_LIMITS)));
    }
    return withCodes({ ...NOTHING, ...reading, inner: reading.inner.filter((one) => !isImage(one)) }, codes);
  };
}

/** Of these types are compound files, and documents in one XML file. */
const oldOffice = office((bytes, limits) => {
  const begin = bytes[0] === 0xef ? 3 : 0;
  const xml = decodeText(bytes.subarray(begin, begin + 100), null)
    .trimStart()
    .startsWith("<");
  return xml ? readOfficeXml(bytes, limits) : readOleDocument(bytes, limits);
});

function withCodes(inside: Inside, codes: readonly FoundCodes[]): Inside {
  const urls: ReadUrl[] = codes.flatMap(({ values }) => values.map((url) => ({ url, source: "qr" })));
  return {
    ...inside,
    urls: [...inside.urls, ...urls],
    flags: [...new Set([...inside.flags, ...codes.flatMap(({ flags }) => flags)])],
  };
}

async function pdf({ bytes }: Content, limits: InsideLimits, passwords: Passwords): Promise<Inside> {
  const { images, ...reading } = readPdf(bytes, limits, isEncrypted(bytes) ? passwords() : []);
  const codes: FoundCodes[] = [];
  for (const one of images.slice(0, MAX_IMAGES)) {
    codes.push(
      await searched(limits, () =>
        one.kind === "file"
          ? readImageCodes(one.bytes, one.type, CODE_LIMITS)
          : readPixelCodes(one, CODE_LIMITS),
      ),
    );
  }
  const texts = reading.texts.map((one) =>
    one.source === PDF_SCRIPT_SOURCE ? ({ ...one, kind: "script" } as const) : one,
  );
  return withCodes({ ...NOTHING, ...reading, texts }, codes);
}

/** Whether candidates are to be worked out at all: the word stands in every encrypted PDF. */
function isEncrypted(bytes: Uint8Array): boolean {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).includes("/Encrypt");
}

const image: Reader = async ({ bytes, type }, limits) =>
  withCodes(NOTHING, [await searched(limits, () => readImageCodes(bytes, type, CODE_LIMITS))]);

const searched = ({ codes }: InsideLimits, search: () => Promise<FoundCodes>): Promise<FoundCodes> =>
  codes === undefined ? search() : codes.spend("image", search);

/** A mail of Outlook; a compound file may be that and a document, too. */
const outlook: Reader = async (content, limits, passwords) => {
  const { bytes, type } = content;
  if (type === "application/vnd.ms-tnef") return { ...NOTHING, ...readTnef(bytes, limits) };
  const document = await office(readOleDocument)(content, limits, passwords);
  const mail = readMsg(bytes, limits);
  if (mail === null) return document;
  return {
    ...document,
    mail: mail.mail,
    inner: [...mail.inner, ...document.inner],
    texts: [...mail.texts, ...document.texts],
    urls: [...mail.urls, ...document.urls],
    // Each recipient is a storage of its own: for a document these would be many.
    flags: [...mail.flags, ...document.flags.filter((flag) => flag !== "office_parts_exceeded")],
    facts: [...mail.facts, ...document.facts],
  };
};

const text =
  (kind: ReadText["kind"], source = "attachment"): Reader =>
  ({ bytes }) =>
    bytes.length > MAX_TEXT
      ? { ...NOTHING, flags: ["text_exceeded"] }
      : { ...NOTHING, texts: [{ kind, text: decodeText(bytes, null), source }] };

/** A text that has a form of its own. */
const decoded =
  (read: (text: string, limits: Limits) => Reading): Reader =>
  ({ bytes }, limits) =>
    bytes.length > MAX_TEXT
      ? { ...NOTHING, flags: ["text_exceeded"] }
      : { ...NOTHING, ...read(decodeText(bytes, null), limits) };

const plain =
  (read: PlainReader): Reader =>
  async ({ bytes }, limits) => ({ ...NOTHING, ...(await read(bytes, limits)) });

const OUTLOOK: ReadonlySet<string> = new Set(["application/vnd.ms-outlook", "application/vnd.ms-tnef"]);

const READERS: ReadonlyMap<string, Reader> = new Map([
  ["application/pdf", pdf],
  ["application/rtf", plain(readRtf)],
  ["application/onenote", plain(readOneNote)],
  ["application/x-ms-shortcut", plain(readLnk)],
  ...[...OUTLOOK].map((type): [string, Reader] => [type, outlook]),
  ...[
    "application/msword",
    "application/vnd.ms-excel",
    "application/vnd.ms-powerpoint",
    "application/vnd.visio",
    "application/x-mspublisher",
    "application/x-ole-storage",
    "application/x-cfb",
    "application/x-ooxml-protected",
  ].map((type): [string, Reader] => [type, oldOffice]),
  ...[...IMAGES].map((type): [string, Reader] => [type, image]),
  ...["text/plain", "text/csv"].map((type): [string, Reader] => [type, text("text")]),
  ...["text/calendar", "text/vcard"].map((type): [string, Reader] => [type, decoded(readCalendar)]),
  ...["application/internet-shortcut", "application/x-desktop"].map((type): [string, Reader] => [
    type,
    decoded(readShortcut),
  ]),
  ["text/javascript", text("script")],
  ...["text/vbscript", "application/x-powershell", "application/x-bat", "application/x-wsf"].map(
    (type): [string, Reader] => [type, text("text")],
  ),
  ...["text/html", "image/svg+xml", "application/hta"].map((type): [string, Reader] => [type, text("html")]),
]);
