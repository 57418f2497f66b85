/**
 * One walk over all objects of a PDF: what it does, where it leads, and which objects hold more.
 *
 * Links, facts and what is written in strings go into the reading at once; pages, forms, images, files and scripts
 * are listed for those who unpack them. An action counts wherever it stands, reachable or not.
 */
import type { ReadingBuilder } from "../reading.ts";
import type { PdfDocument, PdfObject } from "./document.ts";
import type { PdfFact, PdfFlag } from "./flags.ts";
import {
  isDict,
  isRef,
  listOf,
  nameOf,
  type PdfDict,
  type PdfString,
  type PdfValue,
  textOf,
} from "./objects.ts";

export const PDF_SOURCE = "pdf";

export type Survey = {
  /** Pages, and whatever else has /Contents to be drawn. */
  readonly pages: readonly PdfDict[];
  /** By name, of all resources; for content whose own resources lack it. */
  readonly fonts: ReadonlyMap<string, PdfDict>;
  /** Drawings that pages and annotations use (form XObjects). */
  readonly forms: readonly PdfObject[];
  readonly images: readonly PdfObject[];
  /** Embedded files with the name that something gives them. */
  readonly files: ReadonlyMap<PdfObject, string | null>;
  readonly scripts: readonly (PdfObject | string)[];
  /** Parts of forms in XML. */
  readonly xfa: readonly (PdfObject | string)[];
  /** What people see or write in strings: notes, values of fields, titles; and command lines. */
  readonly written: readonly string[];
};

type Collected = {
  readonly document: PdfDocument;
  readonly reading: ReadingBuilder;
  readonly pages: PdfDict[];
  readonly fonts: Map<string, PdfDict>;
  /** Lists that several objects share, gone through once. */
  readonly lists: Set<PdfValue>;
  readonly forms: PdfObject[];
  readonly images: PdfObject[];
  readonly files: Map<PdfObject, string | null>;
  readonly scripts: Set<PdfObject | string>;
  readonly xfa: Set<PdfObject | string>;
  readonly written: Set<string>;
  readonly bases: Set<string>;
  readonly relative: Set<string>;
};

const MAX_BASES = 4;
const MAX_RELATIVE = 1000;
const MAX_URL = 16_384;

/** Names that mean something to fear: nobody writes them with escapes for a good reason. */
const TELLING: ReadonlySet<string> = new Set(
  (
    "A AA AcroForm Action Annot Annots Catalog Contents EF EmbeddedFile EmbeddedFiles Encrypt F FS Filespec Filter " +
    "FlateDecode GoToE GoToR ImportData JBIG2Decode JS JavaScript Launch Link Names ObjStm OpenAction Page Pages " +
    "RichMedia Root S SubmitForm Subtype Type UF URI URL Win XFA XObject"
  ).split(" "),
);

export function surveyObjects(document: PdfDocument, reading: ReadingBuilder): Survey {
  const collected: Collected = {
    document,
    reading,
    pages: [],
    fonts: new Map(),
    lists: new Set(),
    forms: [],
    images: [],
    files: new Map(),
    scripts: new Set(),
    xfa: new Set(),
    written: new Set(),
    bases: new Set(),
    relative: new Set(),
  };
  const stack: PdfValue[] = [];
  for (const object of document.objects) {
    if (object.stream !== null && isDict(object.value)) sortStream(collected, object, object.value);
    stack.push(object.value);
    for (let value = stack.pop(); value !== undefined; value = stack.pop()) {
      if (typeof value !== "object" || value === null) continue;
      if (value.kind === "array") {
        for (const item of value.items) stack.push(item);
      } else if (value.kind === "dict") {
        readDict(collected, value);
        for (const item of value.entries.values()) stack.push(item);
        for (const [, item] of value.earlier) stack.push(item);
      } else if (value.kind === "name" && value.obfuscated) {
        if (TELLING.has(value.name)) fact(collected, "obfuscated_names");
      }
    }
  }
  for (const trailer of document.trailers) readDict(collected, trailer);
  joinRelative(collected);
  const { pages, fonts, forms, images, files, scripts, xfa, written } = collected;
  return { pages, fonts, forms, images, files, scripts: [...scripts], xfa: [...xfa], written: [...written] };
}

function fact({ reading }: Collected, name: PdfFact): void {
  reading.fact(name);
}

/** Files are not sorted out by what the document calls them alone: a PDF in a stream is one. */
function sortStream(collected: Collected, object: PdfObject, dict: PdfDict): void {
  const { get } = collected.document;
  const { entries } = dict;
  const type = nameOf(get(dict, "Type"));
  const subtype = nameOf(get(dict, "Subtype"));
  if (type === "EmbeddedFile" || object.holdsPdf) {
    fact(collected, "embedded_file");
    if (!collected.files.has(object)) collected.files.set(object, null);
  }
  const sized = entries.has("Width") && entries.has("Height");
  if (subtype === "Image" || (sized && (entries.has("BitsPerComponent") || entries.has("ImageMask")))) {
    collected.images.push(object);
  } else if (subtype === "Form" || entries.has("BBox")) {
    collected.forms.push(object);
  }
}

function readDict(collected: Collected, dict: PdfDict): void {
  for (const [key, value] of dict.entries) readEntry(collected, dict, key, value);
  for (const [key, value] of dict.earlier) {
    if (TELLING.has(key) && !isSame(value, dict.entries.get(key))) {
      collected.reading.flag("pdf_ambiguous" satisfies PdfFlag);
    }
    readEntry(collected, dict, key, value);
  }
  for (const key of dict.obfuscatedKeys) if (TELLING.has(key)) fact(collected, "obfuscated_names");
}

/** Of values that are one word or string; others count as different. */
function isSame(one: PdfValue, other: PdfValue | undefined): boolean {
  if (typeof one !== "object" || typeof other !== "object" || one === null || other === null)
    return one === other;
  if (one.kind === "name" && other.kind === "name") return one.name === other.name;
  if (one.kind === "ref" && other.kind === "ref") return one.num === other.num;
  return one.kind === "string" && other.kind === "string" && one.bytes.equals(other.bytes);
}

/** By /S of an action. */
const ACTIONS: ReadonlyMap<string, PdfFact> = new Map<string, PdfFact>([
  ["URI", "uri_action"],
  ["Launch", "launch_action"],
  ["SubmitForm", "submit_form"],
  ["ImportData", "submit_form"],
  ["GoToR", "remote_document"],
  ["JavaScript", "javascript"],
  ["RichMediaExecute", "rich_media"],
  ["Rendition", "rich_media"],
  ["Movie", "rich_media"],
  ["Sound", "rich_media"],
  ["GoTo3DView", "rich_media"],
]);
const RICH_MEDIA: ReadonlySet<string> = new Set(["RichMedia", "3D", "Movie", "Sound", "Flash", "U3D", "PRC"]);

function readEntry(collected: Collected, dict: PdfDict, key: string, value: PdfValue): void {
  const { document } = collected;
  switch (key) {
    case "S": {
      const action = ACTIONS.get(nameOf(document.resolve(value)));
      if (action !== undefined) fact(collected, action);
      if (action === "launch_action") readLaunch(collected, dict);
      break;
    }
    case "Subtype":
      if (RICH_MEDIA.has(nameOf(value))) fact(collected, "rich_media");
      break;
    case "URI":
      for (const text of strings(document, value)) giveTarget(collected, text, "link");
      break;
    case "URL":
    case "BU":
    case "AU":
    case "F":
    case "UF":
    case "Unix":
    case "DOS":
    case "Mac":
      for (const text of strings(document, value)) giveTarget(collected, text, "file");
      break;
    case "Base":
      for (const text of strings(document, value)) {
        if (collected.bases.size < MAX_BASES) collected.bases.add(text);
        giveTarget(collected, text, "file");
      }
      break;
    case "JS":
      fact(collected, "javascript");
      addSources(document, value, collected.scripts);
      break;
    case "OpenAction":
      readOpenAction(collected, value);
      break;
    case "AA":
      fact(collected, "event_action");
      break;
    case "XFA":
      fact(collected, "acroform_xfa");
      readForm(collected, value);
      break;
    case "EF":
      readFiles(collected, dict, document.resolve(value));
      break;
    case "Collection":
      fact(collected, "portfolio");
      break;
    case "Font":
      listFonts(collected, document.resolve(value));
      break;
    case "Filter":
      if (listOf(document.resolve, value).some((filter) => nameOf(filter) === "JBIG2Decode")) {
        fact(collected, "jbig2");
      }
      break;
    case "Contents":
      if (typeof value === "object" && value !== null && (value.kind === "ref" || value.kind === "array")) {
        collected.pages.push(dict);
        break;
      }
      if (!dict.entries.has("ByteRange")) addWritten(collected, value);
      break;
    case "RC":
    case "V":
    case "DV":
    case "CA":
    case "TU":
    case "Title":
    case "Subject":
    case "Desc":
    case "Alt":
    case "ActualText":
      addWritten(collected, value);
      break;
  }
}

/** The texts that a value is, in each version of the object it refers to. */
function strings(document: PdfDocument, value: PdfValue): readonly string[] {
  if (isString(value)) return [textOf(value.bytes)];
  if (!isRef(value)) return [];
  return document
    .versions(value)
    .flatMap((object) => (isString(object.value) ? [textOf(object.value.bytes)] : []));
}

function isString(value: PdfValue): value is PdfString {
  return typeof value === "object" && value?.kind === "string";
}

function addSources(document: PdfDocument, value: PdfValue, into: Set<PdfObject | string>): void {
  for (const text of strings(document, value)) into.add(text);
  if (!isRef(value)) return;
  for (const object of document.versions(value)) if (object.stream !== null) into.add(object);
}

function addWritten(collected: Collected, value: PdfValue): void {
  for (const text of strings(collected.document, value)) {
    if (text.length > 3 && !/[\x00-\x08\x0e-\x1f]/.test(text)) collected.written.add(withoutNamespaces(text));
  }
}

const MAX_FONTS = 1000;
const MAX_XFA = 256;
/** A file has at most five names, of which all may lead to the same stream. */
const MAX_FILE_STREAMS = 16;

function listFonts({ document, fonts, lists }: Collected, value: PdfValue): void {
  if (!isDict(value) || lists.has(value)) return;
  lists.add(value);
  for (const name of value.entries.keys()) {
    if (fonts.size >= MAX_FONTS) return;
    const font = document.get(value, name);
    if (isDict(font) && !fonts.has(name)) fonts.set(name, font);
  }
}

/** A form in XML is one stream or string, or a list of names and parts. */
function readForm({ document, xfa, lists }: Collected, value: PdfValue): void {
  addSources(document, value, xfa);
  const list = document.resolve(value);
  if (typeof list !== "object" || list?.kind !== "array" || lists.has(list)) return;
  lists.add(list);
  for (const part of list.items.slice(0, MAX_XFA)) if (isRef(part)) addSources(document, part, xfa);
}

/** A destination is none, and neither is an action that leads to one. */
function readOpenAction(collected: Collected, value: PdfValue): void {
  const { document } = collected;
  const action = document.resolve(value);
  if (isDict(action) && nameOf(document.get(action, "S")) !== "GoTo") fact(collected, "open_action");
}

function readLaunch(collected: Collected, dict: PdfDict): void {
  const { document } = collected;
  const file = document.get(dict, "F");
  const target = isDict(file) ? document.get(file, "UF", "F") : file;
  if (isString(target)) collected.written.add(textOf(target.bytes));
  for (const system of ["Win", "Unix", "Mac"]) {
    const command = document.get(dict, system);
    if (!isDict(command)) continue;
    const words = ["F", "P", "D"].map((key) => document.get(command, key)).filter(isString);
    collected.written.add(words.map(({ bytes }) => textOf(bytes)).join(" "));
  }
}

function readFiles(collected: Collected, dict: PdfDict, files: PdfValue): void {
  const { document } = collected;
  if (!isDict(files)) return;
  fact(collected, "embedded_file");
  const name = ["UF", "F", "Unix", "DOS", "Mac", "Desc"].map((key) => document.get(dict, key)).find(isString);
  for (const reference of files.entries.values().take(MAX_FILE_STREAMS)) {
    if (!isRef(reference)) continue;
    for (const object of document.versions(reference)) {
      if (object.stream === null) continue;
      const known = collected.files.get(object) ?? null;
      collected.files.set(object, known ?? (name === undefined ? null : textOf(name.bytes)));
    }
  }
}

const SCHEME = /^([a-z][a-z0-9+.-]{1,30}):/i;
/** Schemes that lead to no content. */
const NO_CONTENT: ReadonlySet<string> = new Set(["mailto", "tel", "sms", "callto", "about"]);
const UNC = /^(?:file:\/{0,5})?\\\\[^\\/?.]|^file:\/\/[^/\\]/i;
const HOST = /^[\w-]{1,63}(?:\.[\w-]{1,63}){1,10}(?:[:/?#]|$)/;

/** A file is a link only where it is written as a URL. */
function giveTarget(collected: Collected, written: string, kind: "link" | "file"): void {
  const { reading } = collected;
  const target = written
    .slice(0, MAX_URL)
    .replace(/[\x00-\x1f\x7f]/g, "")
    .trim();
  if (UNC.test(target)) fact(collected, "unc_link");
  const scheme = SCHEME.exec(target)?.[1]?.toLowerCase();
  if (scheme === undefined || (kind === "file" && scheme.length === 1)) {
    if (/^www\./i.test(target)) {
      reading.url(target, PDF_SOURCE);
    } else if (
      kind === "link" &&
      target !== "" &&
      !target.startsWith("#") &&
      collected.relative.size < MAX_RELATIVE
    ) {
      collected.relative.add(target);
    }
  } else if (scheme === "javascript") {
    fact(collected, "javascript");
    collected.scripts.add(target.slice("javascript:".length));
  } else if (!NO_CONTENT.has(scheme)) {
    reading.url(target, PDF_SOURCE);
  }
}

/** Without a base, what begins like the name of a host is taken for one. */
function joinRelative({ bases, relative, reading }: Collected): void {
  if (bases.size === 0) for (const link of relative) if (HOST.test(link)) reading.url(link, PDF_SOURCE);
  for (const base of bases) {
    for (const link of relative) {
      const joined = URL.canParse(link, base) ? new URL(link, base).href : null;
      if (joined !== null && !reading.url(joined, PDF_SOURCE)) return;
    }
  }
}

/** A text without the names of namespaces, which look like links and are none. */
export function withoutNamespaces(xml: string): string {
  return xml.includes("xmlns")
    ? xml.replace(/\sxmlns(?::[\w.-]{1,64})?\s{0,8}=\s{0,8}(?:"[^"<]{0,1024}"|'[^'<]{0,1024}')/g, "")
    : xml;
}
