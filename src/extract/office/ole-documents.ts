/**
 * Office documents in compound files: Word, Excel and PowerPoint up to 2003, and the objects that all documents
 * embed, after [MS-DOC], [MS-XLS], [MS-PPT] and [MS-OLEDS].
 *
 * Bytes in, a Reading out. Streams are known by their names wherever they lie, so a document in a document is read
 * with it. Never throws for what the bytes are; a broken stream gives what comes before it breaks.
 */
import { inflateSync } from "node:zlib";
import { type Compound, isCompound, openCompound } from "../ole/compound.ts";
import { createReading, type Limits, type Reading, type ReadingBuilder } from "../reading.ts";
import { decryptWithDefaultPassword } from "./encryption.ts";
import type { OfficeFact, OfficeFlag } from "./flags.ts";
import { giveTarget, MACRO_SOURCE, OFFICE_SOURCE, readFields } from "./links.ts";
import { collectText, writtenUrls } from "./text.ts";
import { readVba } from "./vba.ts";

/** Bytes of one stream that are read where its content is not given as such. */
const MAX_STREAM = 64 * 1024 * 1024;
const MAX_IMAGES = 20;
const MAX_OBJECTS = 1000;
/** Documents that lie in one compound file and are read in place. */
const MAX_DOCUMENTS = 50;

export function readOleDocument(bytes: Uint8Array, limits: Limits): Reading {
  const reading = createReading(limits);
  const file = buffer(bytes);
  const compound = openCompound(bytes);
  if (compound !== null) {
    readStreams(compound, reading);
    for (const flag of compound.flags) reading.flag(flag);
  } else if (file.length > 8 && file[0] === 0x09 && (file[1] ?? 9) <= 8) {
    // A workbook of Excel 2 to 4, or one without its compound file.
    readWorkbook(file, reading);
  } else {
    flag(reading, "office_unreadable");
  }
  return reading.done();
}

/** An OLE object in a document: what is packed in it is given, a document in it as a whole. False where it is none. */
export function readOleObject(bytes: Uint8Array, name: string | null, reading: ReadingBuilder): boolean {
  const compound = openCompound(bytes);
  if (compound === null) return false;
  const macros = compound.find(["VBA"]) !== null;
  if (!macros) fact(reading, "embedded_object");
  const document = compound.entries.some(
    (entry) => entry.kind === "stream" && DOCUMENT_STREAMS.has(entry.name.toLowerCase()),
  );
  if (document) reading.inner({ name, declared: null, bytes });
  else readStreams(compound, reading);
  return true;
}

const DOCUMENT_STREAMS: ReadonlySet<string> = new Set([
  "worddocument",
  "workbook",
  "book",
  "powerpoint document",
  "encryptedpackage",
  "__properties_version1.0",
]);

/** Objects that are dangerous by what they are, by their CLSID. */
const CLASSES: Readonly<Record<string, OfficeFact>> = {
  "0002ce0200000000c000000000000046": "equation_editor",
  "0002ce0300000000c000000000000046": "equation_editor",
  "0004a6b000000000c000000000000046": "equation_editor",
  "2533692003f911cf8fd000aa00686f13": "scripting_object",
  "06290bd248aa11d28432006008c3fbfc": "scripting_object",
  "06290bd348aa11d28432006008c3fbfc": "scripting_object",
  ecabb0c77f1911d2978e0000f8757e2a: "scripting_object",
  "8856f961340a11d0a96b00c04fd705a2": "scripting_object",
  d27cdb6eae6d11cf96b8444553540000: "scripting_object",
  "0003000c00000000c000000000000046": "embedded_file",
  f20da720c02f11ce927b0800095ae340: "embedded_file",
  "0003000000000000c000000000000046": "linked_object",
};

export function readStreams(compound: Compound, reading: ReadingBuilder): void {
  for (const clsid of [compound.clsid, ...compound.entries.map((entry) => entry.clsid)]) {
    const known = Object.hasOwn(CLASSES, clsid) ? CLASSES[clsid] : undefined;
    if (known !== undefined) fact(reading, known);
  }
  readVba(compound, reading);
  let objects = 0;
  let documents = 0;
  for (const entry of compound.entries) {
    if (entry.kind !== "stream") continue;
    const name = entry.name.toLowerCase();
    const stream = (): Buffer => buffer(compound.read(entry, MAX_STREAM));
    if (name === "\x01ole10native" || name === "package" || name === "contents") {
      if (++objects > MAX_OBJECTS) {
        flag(reading, "office_parts_exceeded");
        continue;
      }
      if (entry.size > reading.left()) {
        flag(reading, "office_part_bytes_exceeded");
        continue;
      }
      if (name === "\x01ole10native") givePackage(stream(), reading);
      else giveContents(stream(), reading);
    } else if (DOCUMENT_STREAMS.has(name) && ++documents > MAX_DOCUMENTS) {
      flag(reading, "office_parts_exceeded");
    } else if (name === "worddocument") {
      const table = (which: string): Buffer => {
        const found = compound.find([...entry.path, which]);
        return found === null ? Buffer.alloc(0) : buffer(compound.read(found, MAX_STREAM));
      };
      readWord(stream(), table, reading);
    } else if (name === "workbook" || name === "book") {
      readWorkbook(stream(), reading);
    } else if (name === "powerpoint document") {
      readSlides(stream(), reading);
    } else if (name === "pictures" || name === "data") {
      giveImages(stream(), reading);
    } else if (name === "\x01ole") {
      readOleStream(stream(), reading);
    } else if (name === "equation native") {
      fact(reading, "equation_editor");
    } else if (name === "encryptedpackage") {
      fact(reading, "encrypted");
      // Trying a password takes a while.
      if (documents > 1) continue;
      const info = compound.find([...entry.path, "EncryptionInfo"]);
      if (info !== null && entry.size <= reading.left()) {
        const opened = decryptWithDefaultPassword(buffer(compound.read(info, MAX_STREAM)), stream());
        if (opened !== null) {
          fact(reading, "default_password");
          reading.inner({ name: null, declared: null, bytes: opened });
        }
      }
    } else if (name === "current user" && stream().includes("dfc4d1f3", 0, "hex")) {
      fact(reading, "encrypted");
    } else if (name.endsWith("summaryinformation")) {
      giveWritten(reading, stream());
    }
  }
}

function fact(reading: ReadingBuilder, name: OfficeFact): void {
  reading.fact(name);
}

function flag(reading: ReadingBuilder, name: OfficeFlag): void {
  reading.flag(name);
}

function giveWritten(reading: ReadingBuilder, bytes: Buffer): void {
  const text = writtenUrls(bytes);
  if (text !== "") reading.text({ kind: "text", text, source: OFFICE_SOURCE });
}

// ---- objects

/** A file as Packager keeps it ([MS-OLEDS] 2.3.6 and what Packager puts there); null where it is not of that form. */
export function packagedFile(bytes: Buffer): { readonly name: string; readonly bytes: Buffer } | null {
  let at = 2;
  const text = (): string | null => {
    const end = bytes.indexOf(0, at);
    if (end < 0 || end - at > 1024) return null;
    const found = bytes.toString("latin1", at, end);
    at = end + 1;
    return found;
  };
  const label = text();
  const source = label === null ? null : text();
  if (source === null || at + 8 > bytes.length) return null;
  const pathLength = bytes.readUInt32LE(at + 4);
  at += 8 + pathLength;
  if (at + 4 > bytes.length) return null;
  const size = bytes.readUInt32LE(at);
  if (size === 0) return null;
  const base = (path: string): string =>
    path.slice(Math.max(path.lastIndexOf("\\"), path.lastIndexOf("/")) + 1);
  // Packager opens what the path in the file says; the label is only shown.
  const name = base(source) || base(label ?? "");
  return { name, bytes: bytes.subarray(at + 4, at + 4 + size) };
}

/** The stream "\x01Ole10Native": a size, then a packed file or the bytes of an old object. */
function givePackage(stream: Buffer, reading: ReadingBuilder): void {
  fact(reading, "embedded_object");
  for (const body of [stream.subarray(4), stream]) {
    const file = packagedFile(body);
    if (file !== null) {
      fact(reading, "embedded_file");
      reading.inner({ name: file.name === "" ? null : file.name, declared: null, bytes: file.bytes });
      return;
    }
  }
  if (stream.length > 4) reading.inner({ name: null, declared: null, bytes: stream.subarray(4) });
}

function giveContents(stream: Buffer, reading: ReadingBuilder): void {
  if (stream.length === 0) return;
  fact(reading, "embedded_object");
  reading.inner({ name: null, declared: null, bytes: stream });
}

const URL_MONIKER = Buffer.from("e0c9ea79f9bace118c8200aa004ba90b", "hex");
const FILE_MONIKER = Buffer.from("0303000000000000c000000000000046", "hex");
const SCRIPT_MONIKER = Buffer.from("c7b0abec197fd211978e0000f8757e2a", "hex");
const COMPOSITE_MONIKER = Buffer.from("0903000000000000c000000000000046", "hex");
const MAX_MONIKERS = 10_000;

/** Gives the targets of all monikers in some bytes ([MS-OSHARED] 2.3.7). True where there are any. */
function giveMonikers(bytes: Buffer, reading: ReadingBuilder): boolean {
  let found = 0;
  for (const [moniker, wide] of [
    [URL_MONIKER, true],
    [FILE_MONIKER, false],
  ] as const) {
    let at = bytes.indexOf(moniker);
    while (at >= 0 && found < MAX_MONIKERS) {
      found++;
      const from = at + moniker.length + (wide ? 4 : 6);
      const text = wide
        ? bytes.toString("utf16le", from, Math.min(bytes.length, from + 8192))
        : bytes.toString("latin1", from, Math.min(bytes.length, from + 1024));
      giveTarget(reading, text.slice(0, end(text)));
      at = bytes.indexOf(moniker, from);
    }
  }
  return found > 0;
}

function end(text: string): number {
  const at = text.indexOf("\0");
  return at < 0 ? text.length : at;
}

/** The stream "\x01Ole" ([MS-OLEDS] 2.3.3): for a link, what it leads to. */
function readOleStream(stream: Buffer, reading: ReadingBuilder): void {
  const linked = stream.length >= 8 && (stream.readUInt32LE(4) & 1) !== 0;
  if (giveMonikers(stream, reading) && linked) fact(reading, "linked_object");
  if (stream.includes(SCRIPT_MONIKER)) fact(reading, "script_link");
  if (linked && stream.includes(COMPOSITE_MONIKER)) fact(reading, "linked_object");
  giveWritten(reading, stream);
}

// ---- Word

const FIELD_MARK = /[\x13\x14\x15]/;

function readWord(stream: Buffer, tableOf: (name: string) => Buffer, reading: ReadingBuilder): void {
  if (stream.length < 0x20) return;
  const bits = stream.readUInt16LE(0x0a);
  if ((bits & 0x0100) !== 0) {
    fact(reading, "encrypted");
    return;
  }
  const table = tableOf((bits & 0x0200) === 0 ? "0Table" : "1Table");
  const text = wordText(stream, table);
  if (text === null) {
    // Without its list of pieces the text stands in the stream in one charset or the other.
    giveWordText(stream.toString("latin1"), reading);
    giveWordText(stream.toString("utf16le"), reading);
  } else {
    giveWordText(text, reading);
  }
  giveTemplate(stream, table, reading);
  giveWritten(reading, table);
  giveImages(stream, reading);
}

/** Text and codes of fields, which stand between the characters 0x13, 0x14 and 0x15. */
function giveWordText(text: string, reading: ReadingBuilder): void {
  const visible = collectText(reading, OFFICE_SOURCE);
  const fields = readFields(reading);
  for (const run of text.split(/(?=[\x13\x14\x15\r\x07\x0b\x0c])/)) {
    const mark = run.charAt(0);
    if (mark === "\x13") fields.begin();
    if (mark === "\x14") fields.separate();
    if (mark === "\x15") fields.end();
    const isMark = FIELD_MARK.test(mark);
    const words = isMark ? run.slice(1) : run;
    if (words !== "" && !fields.text(words)) visible.add(words.replace(/[\r\x07\x0b\x0c]/g, "\n"));
  }
  fields.done();
  visible.done();
}

const MAX_PIECES = 1_000_000;

/** The text by its table of pieces ([MS-DOC] 2.4.1); null where that cannot be read. */
function wordText(stream: Buffer, table: Buffer): string | null {
  if (stream.length < 0x1aa) return null;
  const clx = table.subarray(stream.readUInt32LE(0x1a2));
  let at = 0;
  // Formatting comes before the pieces.
  while (clx[at] === 1 && at + 3 <= clx.length) at += 3 + clx.readUInt16LE(at + 1);
  if (clx[at] !== 2 || at + 5 > clx.length) return null;
  const pieces = clx.subarray(at + 5, at + 5 + clx.readUInt32LE(at + 1));
  const count = Math.floor((pieces.length - 4) / 12);
  if (count <= 0 || count > MAX_PIECES) return null;
  const texts: string[] = [];
  // Pieces may share their bytes: what all give together is no more than the stream could.
  let left = stream.length * 2;
  for (let index = 0; index < count && left > 0; index++) {
    const length = pieces.readUInt32LE(index * 4 + 4) - pieces.readUInt32LE(index * 4);
    const place = pieces.readUInt32LE((count + 1) * 4 + index * 8 + 2);
    if (length <= 0) continue;
    const narrow = (place & 0x40000000) !== 0;
    const from = narrow ? (place & 0x3fffffff) >>> 1 : place & 0x3fffffff;
    const size = Math.min(left, narrow ? length : length * 2);
    texts.push(stream.toString(narrow ? "latin1" : "utf16le", from, Math.min(stream.length, from + size)));
    left -= size;
  }
  return texts.join("");
}

/** The template of a document: the second of the strings that belong to it ([MS-DOC] 2.9.274). */
function giveTemplate(stream: Buffer, table: Buffer, reading: ReadingBuilder): void {
  if (stream.length < 0x1a2) return;
  const strings = table.subarray(stream.readUInt32LE(0x19a));
  if (strings.length < 6 || strings.readUInt16LE(0) !== 0xffff) return;
  let at = 6;
  for (let index = 0; index < 2 && at + 2 <= strings.length; index++) {
    const bytes = strings.readUInt16LE(at) * 2;
    if (index === 1 && giveTarget(reading, strings.toString("utf16le", at + 2, at + 2 + bytes))) {
      fact(reading, "remote_template");
    }
    at += 2 + bytes;
  }
}

// ---- Excel

const BOUNDSHEET = 0x85;
const FILEPASS = 0x2f;
const HLINK = 0x1b8;
const SUPBOOK = 0x1ae;
const EXTERNSHEET = 0x17;
const NAME = 0x18;
const BOF_RECORDS: ReadonlySet<number> = new Set([0x09, 0x209, 0x409, 0x809]);
const DRAWING_GROUP = 0xeb;
const CONTINUE = 0x3c;
/** First character of the name of an Excel 4.0 macro that runs when the workbook is opened or closed. */
const AUTO_NAMES: ReadonlySet<number> = new Set([1, 2, 0x0a, 0x0b]);

function readWorkbook(stream: Buffer, reading: ReadingBuilder): void {
  const drawings: Buffer[] = [];
  let last = 0;
  let macroSheets = false;
  let autoName = false;
  let at = 0;
  while (at + 4 <= stream.length) {
    const kind = stream.readUInt16LE(at);
    const data = stream.subarray(at + 4, at + 4 + stream.readUInt16LE(at + 2));
    at += 4 + stream.readUInt16LE(at + 2);
    if (kind === FILEPASS) {
      // What follows is not readable.
      fact(reading, "encrypted");
      return;
    }
    if (kind === BOUNDSHEET && data.length >= 6 && data[5] === 1) {
      macroSheets = true;
      if (((data[4] ?? 0) & 3) !== 0) fact(reading, "hidden_macro_sheet");
    } else if (BOF_RECORDS.has(kind) && data.length >= 4 && data.readUInt16LE(2) === 0x40) {
      macroSheets = true;
    } else if (kind === HLINK) {
      giveMonikers(data, reading);
    } else if (kind === SUPBOOK || kind === EXTERNSHEET) {
      giveSupportingBook(data, reading);
    } else if (kind === NAME && data.length > 15 && (data.readUInt16LE(0) & 0x20) !== 0) {
      autoName ||= AUTO_NAMES.has(data[15] ?? 0) || AUTO_NAMES.has(data[14] ?? 0);
    } else if (kind === DRAWING_GROUP || (kind === CONTINUE && last === DRAWING_GROUP)) {
      drawings.push(data);
    }
    if (kind !== CONTINUE) last = kind;
  }
  const text = writtenUrls(stream);
  if (macroSheets) {
    fact(reading, "excel4_macros");
    if (autoName) fact(reading, "macros_autoexec");
  }
  if (text !== "") reading.text({ kind: "text", text, source: macroSheets ? MACRO_SOURCE : OFFICE_SOURCE });
  giveImages(Buffer.concat(drawings), reading);
}

/** Another workbook, or a program and what it is asked (DDE): "program", the character 3, "topic". */
function giveSupportingBook(data: Buffer, reading: ReadingBuilder): void {
  for (const path of [data.toString("latin1", 4), data.toString("utf16le", 5), data.toString("latin1", 1)]) {
    const mark = path.indexOf("\x03");
    if (mark < 1 || !/^[\w .\\:-]{1,100}$/.test(path.slice(0, mark).replace(/^[\x00-\x1f]{1,3}/, "")))
      continue;
    fact(reading, "dde");
    reading.text({ kind: "text", text: path.replaceAll("\x03", "|"), source: OFFICE_SOURCE });
    return;
  }
}

// ---- PowerPoint

const TEXT_CHARS = 0x0fa0;
const TEXT_BYTES = 0x0fa8;
const C_STRING = 0x0fba;
const OBJECT_STORAGE = 0x1011;
const ENCRYPTION = 0x2f14;
const INTERACTION = 0x0ff3;

function readSlides(stream: Buffer, reading: ReadingBuilder): void {
  const text = collectText(reading, OFFICE_SOURCE);
  let objects = 0;
  let at = 0;
  while (at + 8 <= stream.length) {
    const versionAndInstance = stream.readUInt16LE(at);
    const kind = stream.readUInt16LE(at + 2);
    const size = stream.readUInt32LE(at + 4);
    at += 8;
    // A container is stepped into.
    if ((versionAndInstance & 0x0f) === 0x0f && kind !== ENCRYPTION) continue;
    const data = stream.subarray(at, at + size);
    at += size;
    if (kind === ENCRYPTION) {
      fact(reading, "encrypted");
    } else if (kind === TEXT_CHARS) {
      text.add(data.toString("utf16le"));
      text.line();
    } else if (kind === TEXT_BYTES) {
      text.add(data.toString("latin1"));
      text.line();
    } else if (kind === C_STRING) {
      const string = data.toString("utf16le");
      if (!giveTarget(reading, string)) {
        text.add(string);
        text.line();
      }
    } else if (kind === INTERACTION && (data[8] === 1 || data[8] === 2)) {
      fact(reading, "program_action");
    } else if (kind === OBJECT_STORAGE && ++objects <= MAX_OBJECTS) {
      giveObjectStorage(data, versionAndInstance >> 4 !== 0, reading);
    }
  }
  text.done();
}

function giveObjectStorage(data: Buffer, packed: boolean, reading: ReadingBuilder): void {
  let bytes = data;
  if (packed) {
    try {
      bytes = inflateSync(data.subarray(4), {
        maxOutputLength: Math.max(1, Math.min(reading.left(), MAX_STREAM)),
      });
    } catch {
      flag(reading, "office_part_unreadable");
      return;
    }
  }
  if (!isCompound(bytes)) return;
  readOleObject(bytes, null, reading);
}

// ---- images

const BLIPS: Readonly<Record<number, string>> = {
  61469: "image/jpeg",
  61470: "image/png",
  61482: "image/jpeg",
};
const IMAGE_STARTS = ["\x89PNG\r\n\x1a\n", "\xff\xd8\xff"];

/** Images as drawings keep them ([MS-ODRAW] 2.2.23): found by their signature, measured by the header before it. */
function giveImages(bytes: Buffer, reading: ReadingBuilder): void {
  const text = bytes.toString("latin1");
  let given = 0;
  for (const start of IMAGE_STARTS) {
    let at = text.indexOf(start);
    while (at >= 0) {
      let next = at + start.length;
      for (const header of [at - 25, at - 41]) {
        const declared = header < 0 ? undefined : BLIPS[bytes.readUInt16LE(header + 2)];
        if (declared === undefined) continue;
        const imageEnd = header + 8 + bytes.readUInt32LE(header + 4);
        if (imageEnd <= next) continue;
        if (++given > MAX_IMAGES) {
          flag(reading, "office_images_exceeded");
          return;
        }
        if (!reading.inner({ name: null, declared, bytes: bytes.subarray(at, imageEnd) })) return;
        next = imageEnd;
        break;
      }
      at = text.indexOf(start, next);
    }
  }
}

function buffer(bytes: Uint8Array): Buffer {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length);
}
