/**
 * Office documents since 2007: a zip of XML parts that refer to each other and to the outside (ECMA-376).
 *
 * Bytes in, a Reading out. Only parts that can hold something are unpacked. What a part is, its content type, its
 * relationships and its first bytes tell; its name is the sender's choice. Word and Excel as one XML file are read
 * by readOfficeXml. Never throws for what the bytes are.
 */
import { isCompound } from "../ole/compound.ts";
import { createReading, type Limits, type Reading, type ReadingBuilder } from "../reading.ts";
import { unpackActiveMime } from "./active-mime.ts";
import type { OfficeFact, OfficeFlag } from "./flags.ts";
import { type FieldReader, giveTarget, MACRO_SOURCE, OFFICE_SOURCE, readFields } from "./links.ts";
import { readOleObject } from "./ole-documents.ts";
import { listParts, type Part, peekPart, readPart } from "./parts.ts";
import { collectText, type TextCollector, withoutConcatenation, writtenUrls } from "./text.ts";
import { decodeXml, readAttributes, scanXml, unescapeXml } from "./xml.ts";

const MAX_IMAGES = 20;
/** A sheet larger than this is hunted through for what matters instead of being read tag by tag. */
const LARGE_SHEET = 1024 * 1024;

type Document = {
  readonly file: Buffer;
  readonly reading: ReadingBuilder;
  readonly text: TextCollector;
  readonly macroText: TextCollector;
  /** Content type by name of part, both in lower case. */
  readonly types: Map<string, string>;
  /** Ids of the relationships that lead to sheets of macros. */
  readonly macroSheets: Set<string>;
  /** Names, without folder and in lower case, of parts that are documents to be taken in. */
  readonly chunks: Set<string>;
  /** Bytes that may still be unpacked to be looked at. */
  left: number;
};

export function readOoxml(bytes: Uint8Array, limits: Limits): Reading {
  const document = openDocument(bytes, limits);
  const { reading, file } = document;
  const parts = listParts(file);
  if (parts === null) {
    flag(reading, "office_unreadable");
    return reading.done();
  }
  if (parts.cut) flag(reading, "office_parts_exceeded");
  for (const part of parts.list) if (part.name.toLowerCase() === CONTENT_TYPES) readTypes(document, part);
  for (const part of parts.list) if (isRelationships(part)) readRelationships(document, part);
  // What costs little and matters most comes first, images last.
  const kinds = parts.list.map((part) => ({ part, kind: kindOf(document, part) }));
  const images = kinds.filter(({ kind }) => kind === "image").map(({ part }) => part);
  for (const { part, kind } of kinds) if (kind === "xml") readXmlPart(document, part);
  for (const { part, kind } of kinds) if (kind === "other") readOther(document, part, images);
  for (const { part, kind } of kinds) if (kind === "sheet") readSheet(document, part);
  document.text.done();
  document.macroText.done();
  giveImages(document, images);
  return reading.done();
}

/** Word's and Excel's documents in one XML file: Word 2003, Excel 2003, and "flat" files of 2007. */
export function readOfficeXml(bytes: Uint8Array, limits: Limits): Reading {
  const document = openDocument(bytes, limits);
  readXml(document, decodeXml(document.file), false);
  document.text.done();
  document.macroText.done();
  return document.reading.done();
}

function openDocument(bytes: Uint8Array, limits: Limits): Document {
  const reading = createReading(limits);
  return {
    file: Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length),
    reading,
    text: collectText(reading, OFFICE_SOURCE),
    macroText: collectText(reading, MACRO_SOURCE),
    types: new Map(),
    macroSheets: new Set(),
    chunks: new Set(),
    left: limits.bytes,
  };
}

function fact(reading: ReadingBuilder, name: OfficeFact): void {
  reading.fact(name);
}

function flag(reading: ReadingBuilder, name: OfficeFlag): void {
  reading.flag(name);
}

/** A part's content within the bounds, null where nothing of it can be read. */
function contentOf(document: Document, part: Part): Buffer | null {
  const { reading } = document;
  if (document.left <= 0) {
    flag(reading, "office_part_bytes_exceeded");
    return null;
  }
  const content = readPart(document.file, part, document.left);
  if (content === null || (!content.whole && content.bytes.length < document.left)) {
    flag(reading, "office_part_unreadable");
  } else if (!content.whole) {
    flag(reading, "office_part_bytes_exceeded");
  }
  document.left -= content?.bytes.length ?? 0;
  return content === null || content.bytes.length === 0 ? null : content.bytes;
}

// ---- what a part is

const CONTENT_TYPES = "[content_types].xml";
/** Ends of content types of parts that hold nothing, and that are in every document. */
const DULL_TYPE =
  /(?:theme|themeOverride|styles|stylesWithEffects|fontTable|numbering|webSettings|tableStyles|calcChain|core-properties|chartstyle|chartcolorstyle)\+xml$/i;
const DULL_NAME = /\.(?:emf|wmf|emz|wmz|odttf|fntdata|ttf|wdp|wav|mp3|mp4|m4a|mov|avi|wmv|mpg)$/i;
const IMAGE_NAME = /\.(?:png|jpe?g|gif|webp|bmp|tiff?)$/i;
const SHEET_TYPE = /(?:worksheet|dialogsheet)\+xml$/i;
const XML_NAME = /\.(?:xml|vml)$/i;

type Kind = "xml" | "sheet" | "image" | "other" | "none";

function isRelationships(part: Part): boolean {
  return part.name.toLowerCase().endsWith(".rels");
}

function kindOf(document: Document, part: Part): Kind {
  const name = part.name.toLowerCase();
  if (name.endsWith("/") || name === CONTENT_TYPES || isRelationships(part)) return "none";
  if (document.chunks.has(baseName(name))) return "other";
  const type = typeOf(document, name);
  if (DULL_TYPE.test(type)) return "none";
  if (SHEET_TYPE.test(type) || (type === "" && name.startsWith("xl/worksheets/"))) return "sheet";
  if (/(?:^text\/xml|[+/]xml)$/.test(type) ? !/xhtml/.test(type) : XML_NAME.test(name)) return "xml";
  if (!IMAGE_NAME.test(name)) return "other";
  // The picture that folders show of a document is in none of its pages.
  return name.startsWith("docprops/thumbnail.") ? "none" : "image";
}

function typeOf(document: Document, name: string): string {
  const lower = name.toLowerCase();
  const own = document.types.get(`/${lower}`);
  return own ?? document.types.get(lower.slice(lower.lastIndexOf(".") + 1)) ?? "";
}

function baseName(name: string): string {
  return name.slice(name.lastIndexOf("/") + 1);
}

function readTypes(document: Document, part: Part): void {
  const content = contentOf(document, part);
  if (content === null) return;
  scanXml(decodeXml(content), {
    open: (name, attributes) => {
      if (name !== "Override" && name !== "Default") return;
      const values = valuesOf(attributes);
      const key = values.get(name === "Override" ? "PartName" : "Extension");
      if (key !== undefined) document.types.set(key.toLowerCase(), values.get("ContentType") ?? "");
    },
    close: () => {},
    text: () => {},
  });
}

function valuesOf(attributes: string): ReadonlyMap<string, string> {
  return new Map(readAttributes(attributes).map(({ name, value }) => [name, value]));
}

// ---- relationships

/** What a relationship to the outside means, by the end of its type in lower case; others mean an object. */
const OUTSIDE: Readonly<Record<string, OfficeFact | null>> = {
  hyperlink: null,
  attachedtemplate: "remote_template",
  image: "external_image",
  media: "external_image",
  video: "external_image",
  audio: "external_image",
  externallinkpath: "external_workbook",
  externallinklongpath: "external_workbook",
  xlpathmissing: "external_workbook",
  xlalternaterefs: "external_workbook",
  mailmergesource: "data_connection",
  mailmergeheadersource: "data_connection",
};

function readRelationships(document: Document, part: Part): void {
  const content = contentOf(document, part);
  if (content === null) return;
  const { reading } = document;
  scanXml(decodeXml(content), {
    open: (name, attributes) => {
      if (name !== "Relationship") return;
      const values = valuesOf(attributes);
      const type = baseName(values.get("Type") ?? "").toLowerCase();
      const target = values.get("Target") ?? "";
      const external = values.get("TargetMode")?.toLowerCase() === "external";
      if (type === "control") fact(reading, "activex");
      if (type === "afchunk") {
        fact(reading, "alt_chunk");
        if (!external) document.chunks.add(baseName(target).toLowerCase());
      }
      if (type.endsWith("macrosheet")) document.macroSheets.add(values.get("Id") ?? "");
      if (!external && !target.includes("://")) return;
      const meaning = Object.hasOwn(OUTSIDE, type) ? OUTSIDE[type] : "external_object";
      if (giveTarget(reading, target) && meaning) fact(reading, meaning);
    },
    close: () => {},
    text: () => {},
  });
}

// ---- parts of XML

function readXmlPart(document: Document, part: Part): void {
  const content = contentOf(document, part);
  if (content === null) return;
  const macros = /macrosheet/i.test(typeOf(document, part.name)) || part.name.startsWith("xl/macrosheets/");
  if (macros) fact(document.reading, "excel4_macros");
  readXml(document, decodeXml(content), macros);
}

/** What the text of an element is taken for. */
const CAPTURES: Readonly<
  Record<string, "text" | "field" | "formula" | "value" | "name" | "target" | "file" | "query">
> = {
  t: "text",
  Data: "text",
  instrText: "field",
  delInstrText: "field",
  f: "formula",
  v: "value",
  definedName: "name",
  HyperlinkBase: "target",
  Template: "target",
  binData: "file",
  binaryData: "file",
  DataMashup: "query",
};
const LINES: ReadonlySet<string> = new Set(["p", "br", "si", "tr", "row", "Row", "Cell", "is"]);
const LINK_ATTRIBUTES: ReadonlySet<string> = new Set([
  "href",
  "HRef",
  "src",
  "url",
  "location",
  "dest",
  "sourceFile",
  "Target",
]);
const MAX_FORMULA = 32_768;

/** `macros`: its formulas and texts are those of Excel 4.0 macros. */
function readXml(document: Document, xml: string, macros: boolean): void {
  const { reading } = document;
  const text = macros ? document.macroText : document.text;
  const fields = readFields(reading);
  let capture: (typeof CAPTURES)[string] | undefined;
  let captured: string[] = [];
  scanXml(xml, {
    open: (name, attributes) => {
      capture = Object.hasOwn(CAPTURES, name) ? CAPTURES[name] : undefined;
      if (capture !== undefined) captured = [];
      if (name === "definedName" && isAutoName(valuesOf(attributes).get("name") ?? "")) {
        fact(reading, "macros_autoexec");
      }
      readElement(document, fields, name, attributes);
      if (attributes.includes("://") || attributes.includes("\\\\")) {
        for (const attribute of readAttributes(attributes)) {
          if (LINK_ATTRIBUTES.has(attribute.name)) giveTarget(reading, attribute.value);
        }
      }
    },
    close: (name) => {
      if (capture !== undefined && CAPTURES[name] === capture) {
        giveCaptured(document, capture, captured.join(""), macros);
        capture = undefined;
      }
      if (name === "instrText" || name === "delInstrText" || name === "t") capture = undefined;
      if (LINES.has(name)) text.line();
    },
    text: (piece) => {
      if (capture === "text") {
        fields.text(piece);
        text.add(piece);
      } else if (capture === "field") {
        fields.text(piece);
      } else if (capture !== undefined) {
        captured.push(piece);
      }
    },
  });
  fields.done();
}

function isAutoName(name: string): boolean {
  return /^(?:_xlnm\.)?auto_?(?:open|close|activate|deactivate)/i.test(name);
}

function giveCaptured(
  document: Document,
  capture: (typeof CAPTURES)[string],
  captured: string,
  macros: boolean,
): void {
  // Values are mostly numbers: of other cells' texts, or what they are.
  if (capture === "value" && /[a-z]{2}/i.test(captured)) {
    const text = macros ? document.macroText : document.text;
    text.add(captured);
    text.line();
  }
  if (capture === "formula" || capture === "name") giveFormula(document, captured, macros);
  if (capture === "target" && giveTarget(document.reading, captured))
    fact(document.reading, "external_object");
  if (capture === "file") giveFile(document, Buffer.from(captured, "base64"));
  if (capture === "query") readQuery(document, Buffer.from(captured, "base64"));
}

const INTERESTING = /HYPERLINK|WEBSERVICE|IMAGE|RTD|FILTERXML|CALL|EXEC|REGISTER|:\/\/|www\.|\|/i;
const WEB_FUNCTION = /\b(?:WEBSERVICE|IMAGE)\s{0,8}\(/i;
const MACRO_CALL = /\b(?:EXEC|CALL|REGISTER|FWRITE|FOPEN|SHELL)\s{0,8}\(/i;
const DDE_FORMULA = /^=?[+@-]?[\w.]{1,60}\|/;

function giveFormula(document: Document, formula: string, macros: boolean): void {
  const { reading } = document;
  const cut = formula.slice(0, MAX_FORMULA);
  if (formula.length > MAX_FORMULA) flag(reading, "office_text_exceeded");
  if (!macros && !INTERESTING.test(cut)) return;
  const folded = withoutConcatenation(cut);
  if (macros && MACRO_CALL.test(folded)) fact(reading, "macros_suspicious");
  if (WEB_FUNCTION.test(folded)) fact(reading, "web_formula");
  if (DDE_FORMULA.test(folded)) fact(reading, "dde");
  const text = macros ? document.macroText : document.text;
  text.add(folded);
  text.line();
}

/** Elements that matter by their attributes. */
function readElement(document: Document, fields: FieldReader, name: string, attributes: string): void {
  const { reading } = document;
  switch (name) {
    case "fldChar": {
      const type = valuesOf(attributes).get("fldCharType");
      if (type === "begin") fields.begin();
      if (type === "separate") fields.separate();
      if (type === "end") fields.end();
      break;
    }
    case "fldSimple": {
      fields.begin();
      fields.text(valuesOf(attributes).get("instr") ?? "");
      fields.end();
      break;
    }
    case "ddeLink":
    case "ddeItem": {
      fact(reading, "dde");
      const values = valuesOf(attributes);
      document.text.add(`${values.get("ddeService") ?? ""}|${values.get("ddeTopic") ?? ""}`);
      document.text.line();
      break;
    }
    case "OLEObject":
    case "oleObject":
    case "oleObj":
    case "oleLink":
      for (const { name: key, value } of readAttributes(attributes)) {
        if (/^progid$/i.test(key) && /^equation/i.test(value)) fact(reading, "equation_editor");
        if (key === "Type" && value === "Link") fact(reading, "linked_object");
      }
      break;
    case "ocx":
      fact(reading, "activex");
      break;
    case "customUI":
      if (valuesOf(attributes).has("onLoad")) fact(reading, "custom_ui_onload");
      break;
    case "dbPr":
    case "webPr":
    case "textPr":
    case "olapPr":
    case "connectString":
      fact(reading, "data_connection");
      for (const { value } of readAttributes(attributes)) {
        giveTarget(reading, value);
        document.text.add(value);
        document.text.line();
      }
      break;
    case "sheet": {
      const values = valuesOf(attributes);
      const hidden = /hidden/i.test(values.get("state") ?? "");
      if (hidden && document.macroSheets.has(values.get("id") ?? "")) fact(reading, "hidden_macro_sheet");
      break;
    }
    case "hlinkClick":
    case "hlinkHover":
    case "hlinkMouseOver": {
      const values = valuesOf(attributes);
      if (/^ppaction:\/\/(?:program|macro|ole)/i.test(values.get("action") ?? "")) {
        fact(reading, "program_action");
      }
      if (name !== "hlinkClick" && (values.get("id") ?? "") !== "") fact(reading, "hover_action");
      break;
    }
    case "Cell": {
      const formula = valuesOf(attributes).get("Formula");
      if (formula !== undefined) giveFormula(document, formula, false);
      break;
    }
  }
}

/** A file in a document of one XML file. */
function giveFile(document: Document, bytes: Buffer): void {
  const { reading } = document;
  const content = unpackActiveMime(bytes, reading.left()) ?? bytes;
  if (isCompound(content)) readOleObject(content, null, reading);
  else if (content.length > 0) reading.inner({ name: null, declared: null, bytes: content });
}

/** A query of Power Query ([MS-QDEFF]): a zip in a frame, with the query as text in it. */
function readQuery(document: Document, mashup: Buffer): void {
  fact(document.reading, "data_connection");
  const zip = mashup.subarray(8);
  for (const part of listParts(zip)?.list ?? []) {
    if (!part.name.endsWith(".m") || document.left <= 0) continue;
    const content = readPart(zip, part, document.left);
    document.left -= content?.bytes.length ?? 0;
    document.text.add(content?.bytes.toString("utf8") ?? "");
    document.text.line();
  }
}

// ---- sheets

function readSheet(document: Document, part: Part): void {
  const content = contentOf(document, part);
  if (content === null) return;
  const large = content.length > LARGE_SHEET ? content.toString("latin1") : "<!";
  // Comments and charsets that could hide something from the hunt are rare in what Excel writes.
  if (content[0] !== 0x3c || content[1] === 0 || large.includes("<!")) {
    readXml(document, decodeXml(content), false);
    return;
  }
  huntFormulas(document, large);
  huntTexts(document, large);
}

const LESS = 0x3c;
const SLASH = 0x2f;
const COLON = 0x3a;
const MAX_PREFIX = 64;

function huntFormulas(document: Document, sheet: string): void {
  for (let at = sheet.indexOf("f>"); at >= 0; at = sheet.indexOf("f>", at + 2)) {
    const end = closingTag(sheet, at);
    if (end < 0) continue;
    const formula = unescapeXml(sheet.slice(sheet.lastIndexOf(">", end) + 1, end));
    if (INTERESTING.test(formula)) {
      giveFormula(document, Buffer.from(formula, "latin1").toString("utf8"), false);
    }
  }
}

/** Where the closing tag begins whose last letter is at `at`, -1 where that is none. */
function closingTag(sheet: string, at: number): number {
  const before = sheet.charCodeAt(at - 1);
  if (before === SLASH) return sheet.charCodeAt(at - 2) === LESS ? at - 2 : -1;
  if (before !== COLON) return -1;
  const window = sheet.slice(Math.max(0, at - MAX_PREFIX), at);
  const open = window.lastIndexOf("</");
  return open < 0 || window.includes(">", open) ? -1 : at - window.length + open;
}

const MAX_CELL = 32_768;

/** Texts that stand in the cells themselves, as far as they have a URL in them. */
function huntTexts(document: Document, sheet: string): void {
  for (const needle of ["://", "www."]) {
    let done = 0;
    for (let at = sheet.indexOf(needle); at >= 0; at = sheet.indexOf(needle, done)) {
      const before = sheet.slice(Math.max(done, at - MAX_CELL), at);
      const from = at - before.length + before.lastIndexOf(">") + 1;
      done = at + needle.length;
      // Names of schemas are in attributes.
      if (before.lastIndexOf("<") > before.lastIndexOf(">")) continue;
      const close = sheet.indexOf("<", at);
      done = Math.max(done, Math.min(close < 0 ? sheet.length : close, at + MAX_CELL));
      document.text.add(unescapeXml(Buffer.from(sheet.slice(from, done), "latin1").toString("utf8")));
      document.text.line();
    }
  }
}

// ---- other parts

const MAX_SIGNATURE = 16;
const DANGEROUS =
  /^(?:MZ|PK\x03\x04|%PDF|\{\\rt|Rar!|7z\xbc\xaf|L\0\0\0\x01\x14|ActiveMime|<\?|<scr|<htm|<hta|#!)/i;
const IMAGE_START = /^(?:\x89PNG|\xff\xd8\xff|GIF8|RIFF....WEBP|BM)/s;

function readOther(document: Document, part: Part, images: Part[]): void {
  const { reading } = document;
  const start = peekPart(document.file, part, MAX_SIGNATURE);
  const signature = start.toString("latin1");
  const type = typeOf(document, part.name);
  if (isCompound(start)) {
    const content = contentOf(document, part);
    if (content !== null) readOleObject(content, baseName(part.name), reading);
  } else if (IMAGE_START.test(signature)) {
    images.push(part);
  } else if ((DULL_NAME.test(part.name) || /printersettings/i.test(type)) && !DANGEROUS.test(signature)) {
    // Drawings, fonts, sounds and films.
  } else if (/^application\/vnd\.ms-excel\./i.test(type) || /^xl\/.{0,200}\.bin$/i.test(part.name)) {
    readRecords(document, part);
  } else if (part.size > reading.left()) {
    flag(reading, "office_part_bytes_exceeded");
  } else {
    const content = contentOf(document, part);
    if (content === null) return;
    fact(reading, "embedded_object");
    reading.inner({
      name: baseName(part.name),
      declared: type === "" ? null : type.toLowerCase(),
      bytes: content,
    });
  }
}

/** A part of a workbook in records instead of XML ([MS-XLSB]): its texts are UTF-16. */
function readRecords(document: Document, part: Part): void {
  const content = contentOf(document, part);
  if (content === null) return;
  const macros = /macrosheet/i.test(`${typeOf(document, part.name)} ${part.name}`);
  if (macros) fact(document.reading, "excel4_macros");
  const text = macros ? document.macroText : document.text;
  const written = writtenUrls(content);
  if (written === "") return;
  text.add(written);
  text.line();
}

function giveImages(document: Document, images: readonly Part[]): void {
  const { reading } = document;
  if (images.length > MAX_IMAGES) flag(reading, "office_images_exceeded");
  for (const part of images.slice(0, MAX_IMAGES)) {
    const content = contentOf(document, part);
    if (content === null) continue;
    const type = typeOf(document, part.name).toLowerCase();
    const declared =
      type === "" ? `image/${part.name.slice(part.name.lastIndexOf(".") + 1).toLowerCase()}` : type;
    if (!reading.inner({ name: baseName(part.name), declared, bytes: content })) return;
  }
}
