/**
 * Reads PDF documents: links, text and scripts, files in them, images for codes, and what they do (ISO 32000).
 *
 * Bytes in, a PdfReading out. Objects are searched for rather than looked up, and each version of each is read; see
 * document.ts. Encrypted documents are opened with the empty password and candidates. Images are given as the
 * files they are or as pixels, those of the first pages first. Never throws for what the bytes are.
 */
import { createReading, type Limits, type Reading, type ReadingBuilder } from "../reading.ts";
import { openPdf, type PdfDocument, type PdfObject } from "./document.ts";
import type { PdfImage } from "./images.ts";
import { isDict, nameOf, textOf } from "./objects.ts";
import { drawPages } from "./pages.ts";
import { PDF_SOURCE, type Survey, surveyObjects, withoutNamespaces } from "./survey.ts";

export type PdfReading = Reading & {
  /** Images that may show codes. */
  readonly images: readonly PdfImage[];
  /** The candidate password that opened the document; null where none was needed or none did. */
  readonly password: string | null;
};

/** Bytes that may be unpacked for one document, its images included. */
const UNPACKED_MAX = 192 * 1024 * 1024;
export const PDF_SCRIPT_SOURCE = "pdf_script";

export function readPdf(bytes: Uint8Array, limits: Limits, passwords: readonly string[] = []): PdfReading {
  const file = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length);
  const reading = createReading(limits);
  const document = openPdf(file, Math.min(UNPACKED_MAX, 4 * limits.bytes), passwords, reading.flag);
  if (document.objects.length === 0) reading.flag("pdf_unreadable");
  if (document.encrypted) reading.fact("encrypted");
  if (document.locked) reading.flag("pdf_encrypted");
  const survey = surveyObjects(document, reading);
  giveScripts(document, survey, reading);
  giveForms(document, survey, reading);
  if (survey.written.length > 0) giveText(reading, survey.written.join("\n"), PDF_SOURCE);
  const pages = drawPages(document, survey, reading.flag);
  giveText(reading, pages.text, PDF_SOURCE);
  giveFiles(document, survey, reading);
  return { ...reading.done(), images: pages.images, password: document.password };
}

/** As much of a text as the bounds let through. */
function giveText(reading: ReadingBuilder, text: string, source: string): void {
  const plain = text.replace(/[\ufb00-\ufb04]/g, lettersOf);
  if (plain.length > reading.left()) reading.flag("inner_bytes_exceeded");
  const kept = plain.slice(0, reading.left());
  if (/\S/.test(kept)) reading.text({ kind: "text", text: kept, source });
}

/** A URL is written in letters, whatever the font makes of them. */
function lettersOf(ligature: string): string {
  return ligature.normalize("NFKD");
}

function giveScripts(document: PdfDocument, survey: Survey, reading: ReadingBuilder): void {
  for (const script of survey.scripts) {
    const text =
      typeof script === "string"
        ? script
        : textOf(document.content(script, reading.left())?.bytes ?? NO_BYTES);
    giveText(reading, text, PDF_SCRIPT_SOURCE);
  }
}

function giveForms(document: PdfDocument, survey: Survey, reading: ReadingBuilder): void {
  for (const part of survey.xfa) {
    const xml =
      typeof part === "string" ? part : (document.content(part, reading.left())?.bytes.toString() ?? "");
    giveText(reading, unescapeXml(withoutNamespaces(xml)), PDF_SOURCE);
  }
}

const NO_BYTES = Buffer.alloc(0);
const ENTITIES: Readonly<Record<string, string>> = { amp: "&", lt: "<", gt: ">", quot: '"', apos: "'" };

function unescapeXml(xml: string): string {
  return xml.replace(
    /&(?:#x([0-9a-f]{1,6})|#(\d{1,7})|(amp|lt|gt|quot|apos));/gi,
    (whole, hex, decimal, name) => {
      if (name !== undefined) return ENTITIES[(name as string).toLowerCase()] ?? whole;
      const code = hex === undefined ? Number(decimal) : Number.parseInt(hex as string, 16);
      return code > 0 && code <= 0x10ffff ? String.fromCodePoint(code) : whole;
    },
  );
}

function giveFiles(document: PdfDocument, survey: Survey, reading: ReadingBuilder): void {
  for (const [object, name] of survey.files) if (!giveFile(document, object, name, reading)) return;
}

function giveFile(
  document: PdfDocument,
  object: PdfObject,
  name: string | null,
  reading: ReadingBuilder,
): boolean {
  // Of what could not be opened only what is packed can be told from noise.
  const content = document.content(object, reading.left());
  if (content === null || content.bytes.length === 0) return true;
  const packed = isDict(object.value) && object.value.entries.has("Filter");
  if (document.locked && !(packed && content.end !== "broken")) return true;
  if (content.end === "cut") reading.flag("inner_bytes_exceeded");
  const declared = isDict(object.value) ? nameOf(document.get(object.value, "Subtype")).toLowerCase() : "";
  return reading.inner({ name, declared: declared === "" ? null : declared, bytes: content.bytes });
}
