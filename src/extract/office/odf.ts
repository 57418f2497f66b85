/**
 * OpenDocument files (text, sheet, presentation, drawing), as a zip or as one XML file.
 *
 * Bytes in, a Reading out. Never throws for what the bytes are.
 */
import { isCompound } from "../ole/compound.ts";
import { createReading, type Limits, type Reading, type ReadingBuilder } from "../reading.ts";
import type { OfficeFact, OfficeFlag } from "./flags.ts";
import { giveTarget, OFFICE_SOURCE } from "./links.ts";
import { readOleObject } from "./ole-documents.ts";
import { listParts, type Part, readPart } from "./parts.ts";
import { collectText, type TextCollector, withoutConcatenation } from "./text.ts";
import { giveMacroSource } from "./vba.ts";
import { type Attribute, decodeXml, readAttributes, scanXml } from "./xml.ts";

const MAX_IMAGES = 20;

type Document = {
  readonly file: Buffer;
  readonly reading: ReadingBuilder;
  readonly text: TextCollector;
  /** Bytes that may still be unpacked to be looked at. */
  left: number;
};

export function readOdf(bytes: Uint8Array, limits: Limits): Reading {
  const reading = createReading(limits);
  const file = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length);
  const document: Document = { file, reading, text: collectText(reading, OFFICE_SOURCE), left: limits.bytes };
  const parts = listParts(file);
  if (parts !== null) readZip(document, parts.list, parts.cut);
  else if (file.includes("office:document", 0, "latin1")) readContent(document, decodeXml(file));
  else flag(reading, "office_unreadable");
  document.text.done();
  return reading.done();
}

function fact(reading: ReadingBuilder, name: OfficeFact): void {
  reading.fact(name);
}

function flag(reading: ReadingBuilder, name: OfficeFlag): void {
  reading.flag(name);
}

function readZip(document: Document, parts: readonly Part[], cut: boolean): void {
  const { reading } = document;
  if (cut) flag(reading, "office_parts_exceeded");
  const manifest = parts.find(({ name }) => name === "META-INF/manifest.xml");
  if (manifest !== undefined && contentOf(document, manifest)?.includes("encryption-data") === true) {
    fact(reading, "encrypted");
    return;
  }
  const images: Part[] = [];
  for (const part of parts) {
    const { name } = part;
    if (
      name.endsWith("/") ||
      name === "mimetype" ||
      /^(?:META-INF|Thumbnails|Configurations2)\//.test(name)
    ) {
      continue;
    }
    if (/^(?:Basic|Scripts|Dialogs)\//.test(name)) readMacro(document, part);
    else if (/\.(?:xml|rdf)$/i.test(name)) readLinks(document, part);
    else if (/\.(?:png|jpe?g|gif|webp|bmp)$/i.test(name)) images.push(part);
    else if (/^ObjectReplacements\/|\.(?:emf|wmf|svm|ttf|otf|wav|mp3|mp4)$/i.test(name)) continue;
    else readObject(document, part);
  }
  if (images.length > MAX_IMAGES) flag(reading, "office_images_exceeded");
  for (const part of images.slice(0, MAX_IMAGES)) {
    const content = contentOf(document, part);
    if (content !== null && !reading.inner({ name: baseName(part.name), declared: null, bytes: content }))
      return;
  }
}

function baseName(name: string): string {
  return name.slice(name.lastIndexOf("/") + 1);
}

function contentOf(document: Document, part: Part): Buffer | null {
  const { reading } = document;
  const content = document.left > 0 ? readPart(document.file, part, document.left) : null;
  document.left -= content?.bytes.length ?? 0;
  if (document.left <= 0) flag(reading, "office_part_bytes_exceeded");
  else if (content === null || !content.whole) flag(reading, "office_part_unreadable");
  return content === null || content.bytes.length === 0 ? null : content.bytes;
}

function readLinks(document: Document, part: Part): void {
  const content = contentOf(document, part);
  if (content !== null) readContent(document, decodeXml(content));
}

const LINES: ReadonlySet<string> = new Set(["p", "h", "line-break", "table-row", "list-item"]);
/** Names of elements whose links are followed when the document is opened. */
const LOADED: Readonly<Record<string, OfficeFact>> = {
  template: "remote_template",
  "auto-reload": "external_object",
  image: "external_image",
  "fill-image": "external_image",
  "background-image": "external_image",
  object: "external_object",
  "object-ole": "external_object",
  "floating-frame": "external_object",
  plugin: "external_object",
  applet: "external_object",
  "section-source": "external_object",
  "table-source": "external_workbook",
  "cell-range-source": "external_workbook",
  "database-source": "data_connection",
  "connection-resource": "data_connection",
};

function readContent(document: Document, xml: string): void {
  const { reading, text } = document;
  scanXml(xml, {
    open: (name, attributes) => {
      if (name === "event-listener") readListener(reading, readAttributes(attributes));
      if (name === "dde-source" || name === "dde-connection-decl") {
        fact(reading, "dde");
        const values = readAttributes(attributes).filter((attribute) => attribute.name.startsWith("dde-"));
        text.add(values.map(({ value }) => value).join("|"));
        text.line();
      }
      if (attributes.includes("href") || attributes.includes("formula")) {
        for (const attribute of readAttributes(attributes)) {
          if (attribute.name === "href") readLink(reading, name, attribute.value);
          if (attribute.name === "formula") readFormula(document, attribute.value);
        }
      }
    },
    close: (name) => {
      if (LINES.has(name)) text.line();
    },
    text: (piece) => {
      // White space between elements is the writer's, not the document's.
      if (!piece.includes("\n") || /\S/.test(piece)) text.add(piece);
    },
  });
}

function readLink(reading: ReadingBuilder, element: string, target: string): void {
  const meaning = Object.hasOwn(LOADED, element) ? LOADED[element] : undefined;
  if (/^(?:vnd\.sun\.star\.(?:script|expand|pkg)|macro|service|slot|\.uno):/i.test(target)) {
    fact(reading, "script_link");
  }
  if (giveTarget(reading, target) && meaning !== undefined) fact(reading, meaning);
}

/** Events of the document itself run by themselves; those of a button do not. */
function readListener(reading: ReadingBuilder, attributes: readonly Attribute[]): void {
  const values = new Map(attributes.map(({ name, value }) => [name, value]));
  const href = values.get("href") ?? values.get("macro-name") ?? "";
  if (href === "") return;
  fact(reading, "macros");
  if (/^(?:dom:load|dom:unload|office:|on-?load|on-?unload)/i.test(values.get("event-name") ?? "")) {
    fact(reading, "macros_autoexec");
  }
}

function readFormula(document: Document, formula: string): void {
  const { reading, text } = document;
  if (/\bDDE\s{0,8}\(/i.test(formula)) fact(reading, "dde");
  if (/\bWEBSERVICE\s{0,8}\(/i.test(formula)) fact(reading, "web_formula");
  if (!/DDE|WEBSERVICE|HYPERLINK|:\/\//i.test(formula)) return;
  text.add(withoutConcatenation(formula));
  text.line();
}

/** A module of Basic is text in XML; scripts of other languages are files as they are. */
function readMacro(document: Document, part: Part): void {
  if (/(?:script-lb|script-lc|dialog-lb|dialog-lc|parcel-descriptor)\.xml$/i.test(part.name)) return;
  const content = contentOf(document, part);
  if (content === null) return;
  fact(document.reading, "macros");
  if (!part.name.toLowerCase().endsWith(".xml")) {
    document.reading.inner({ name: baseName(part.name), declared: null, bytes: content });
    return;
  }
  const source: string[] = [];
  scanXml(decodeXml(content), { open: () => {}, close: () => {}, text: (piece) => source.push(piece) });
  giveMacroSource(document.reading, source.join(""));
}

function readObject(document: Document, part: Part): void {
  const { reading } = document;
  if (part.size > reading.left()) {
    flag(reading, "office_part_bytes_exceeded");
    return;
  }
  const content = contentOf(document, part);
  if (content === null) return;
  fact(reading, "embedded_object");
  if (isCompound(content)) readOleObject(content, baseName(part.name), reading);
  else reading.inner({ name: baseName(part.name), declared: null, bytes: content });
}
