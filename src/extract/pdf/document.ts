/**
 * The objects of a PDF, wherever they are: a program may find any of them, by a table or by a search.
 *
 * Tables of objects (xref) are not believed: the file is searched for objects, and object streams are read, so that
 * broken files, older versions of an object and objects no table lists are had as well. Never throws for what the
 * bytes are. Every object is read once; what is unpacked is bounded.
 */
import { decryptBytes } from "./crypt.ts";
import { FILTERS, type FilterParameters } from "./filters.ts";
import type { PdfFlag } from "./flags.ts";
import {
  createBounds,
  createLexer,
  type Get,
  isDict,
  isRef,
  isWhite,
  type LexerBounds,
  listOf,
  nameOf,
  nextToken,
  type PdfDict,
  type PdfRef,
  type PdfValue,
  parseValue,
  type Resolve,
} from "./objects.ts";
import { decryptStrings, openEncryption, streamMethod } from "./seal.ts";

export type PdfObject = {
  /** -1 where it has none. */
  readonly num: number;
  readonly gen: number;
  /** Where it, or the object stream that it is in, begins. */
  readonly at: number;
  /** In the stream or in a string of another object. */
  readonly hidden: boolean;
  /** In an object stream, which is encrypted as a whole. */
  readonly packed: boolean;
  readonly value: PdfValue;
  /** Where its stream begins, and where it ends by the word "endstream". */
  readonly stream: { readonly start: number; readonly end: number } | null;
  /** Its stream is, as it stands, a PDF. */
  readonly holdsPdf: boolean;
};

export type StreamContent = {
  readonly bytes: Buffer;
  /** Filter of an image that was not taken away, the last one; null where all were. */
  readonly imageFilter: { readonly name: string; readonly parameters: PdfDict | null } | null;
  readonly end: "whole" | "cut" | "broken";
};

export type PdfDocument = {
  readonly objects: readonly PdfObject[];
  readonly trailers: readonly PdfDict[];
  readonly encrypted: boolean;
  /** Encrypted, and not opened. */
  readonly locked: boolean;
  /** The candidate that opened it; null where none was needed. */
  readonly password: string | null;
  /** Versions of an object, the newest first. */
  readonly versions: (ref: PdfRef) => readonly PdfObject[];
  /** What a value refers to, or the value itself. */
  readonly resolve: Resolve;
  readonly get: Get;
  /** The unpacked stream of an object; null where it has none, or where nothing may be unpacked any more. */
  readonly content: (object: PdfObject, max?: number) => StreamContent | null;
  /** As content() of a dictionary and its data, for images within a page. */
  readonly unfilter: (dict: PdfDict, raw: Buffer, max: number) => StreamContent;
  readonly bounds: LexerBounds;
};

const MAX_OBJECTS = 250_000;
const MAX_VALUES = 2_000_000;
const MAX_VERSIONS = 16;
const MAX_HOPS = 8;
const MAX_FILTERS = 8;
const HEADER_WINDOW = 128;
const HIDDEN_MAX = 1024;
/** Bytes of all object streams together. */
const MAX_PACKED = 48 * 1024 * 1024;

export function openPdf(
  file: Buffer,
  unpackedMax: number,
  passwords: readonly string[],
  flag: (name: PdfFlag) => void,
): PdfDocument {
  const bounds = createBounds(file.length, MAX_VALUES);
  const objects = findObjects(file, bounds, flag);
  const trailers = findTrailers(file, objects, bounds);
  const byNumber = new Map<number, PdfObject[]>();
  for (const object of objects) remember(byNumber, object);
  sortVersions(byNumber);

  const versions = (ref: PdfRef): readonly PdfObject[] => byNumber.get(ref.num) ?? [];
  const resolve = (value: PdfValue | undefined): PdfValue => {
    let found = value ?? null;
    for (let hops = 0; isRef(found); hops++) {
      if (hops === MAX_HOPS) return null;
      found = versions(found)[0]?.value ?? null;
    }
    return found;
  };
  const get = (dict: PdfDict, ...keys: readonly string[]): PdfValue => {
    for (const key of keys) {
      const value = resolve(dict.entries.get(key));
      if (value !== null) return value;
    }
    return null;
  };

  const seal = openEncryption(trailers, resolve, get, versions, passwords, flag);
  if (seal?.key != null) decryptStrings(objects, seal);

  // What is packed may be read in several ways, but not without end.
  let readable = 4 * file.length + 65_536;
  let unpackable = unpackedMax;

  const takeFilters = (dict: PdfDict, raw: Buffer, max: number): StreamContent => {
    const filters = listOf(resolve, get(dict, "Filter", "F"));
    const parameters = listOf(resolve, get(dict, "DecodeParms", "DP"));
    if (filters.length > MAX_FILTERS) {
      flag("pdf_filters_exceeded");
      return { bytes: NO_BYTES, imageFilter: null, end: "cut" };
    }
    let bytes = raw;
    let end: StreamContent["end"] = "whole";
    for (const [index, filter] of filters.entries()) {
      const name = nameOf(filter);
      if (name === "Crypt") continue;
      const of = parameters[index];
      const known = FILTERS.get(name);
      if (known === undefined) {
        if (IMAGE_FILTERS.has(name)) {
          return { bytes, imageFilter: { name, parameters: isDict(of) ? of : null }, end };
        }
        return { bytes: NO_BYTES, imageFilter: null, end: "broken" };
      }
      const room = Math.min(max, unpackable);
      const made = known(bytes, room, parametersOf(isDict(of) ? of : null, get));
      unpackable -= made.bytes.length;
      bytes = made.bytes;
      if (made.end === "whole") continue;
      end = made.end;
      if (made.end === "cut" && unpackable <= 0) flag("pdf_too_large");
    }
    return { bytes, imageFilter: null, end };
  };

  /** What is encrypted seems broken, and has its own flag. */
  const flagged = (made: StreamContent): StreamContent => {
    if (made.end === "broken" && (seal === null || seal.key !== null)) flag("pdf_stream_unreadable");
    return made;
  };
  const unfilter = (dict: PdfDict, raw: Buffer, max: number): StreamContent =>
    flagged(takeFilters(dict, raw, max));

  const content = (object: PdfObject, max = Number.POSITIVE_INFINITY): StreamContent | null => {
    const { value } = object;
    if (object.stream === null || !isDict(value)) return null;
    const raw = rawStream(file, object, get(value, "Length"));
    if (readable < raw.length || unpackable <= 0) {
      flag("pdf_too_large");
      return null;
    }
    readable -= raw.length;
    const method = seal?.key == null ? "none" : streamMethod(seal, object, value, get, resolve);
    if (seal?.key == null || method === "none" || object.num < 0) return unfilter(value, raw, max);
    const opened = takeFilters(value, decryptBytes(seal.key, method, object.num, object.gen, raw), max);
    if (opened.end !== "broken" && (opened.bytes.length > 0 || raw.length < 32)) return opened;
    // It may be in clear, whatever the document says.
    const clear = takeFilters(value, raw, max);
    return flagged(clear.end === "broken" || clear.bytes.length === 0 ? opened : clear);
  };

  const document: PdfDocument = {
    objects,
    trailers,
    encrypted: seal !== null,
    locked: seal !== null && seal.key === null,
    password: seal?.password ?? null,
    versions,
    resolve,
    get,
    content,
    unfilter,
    bounds,
  };
  readObjectStreams(document, objects, byNumber, flag);
  if (bounds.values <= 0) flag("pdf_objects_exceeded");
  return document;
}

const NO_BYTES = Buffer.alloc(0);

const IMAGE_FILTERS: ReadonlySet<string> = new Set([
  "DCTDecode",
  "DCT",
  "JPXDecode",
  "CCITTFaxDecode",
  "CCF",
  "JBIG2Decode",
]);

function parametersOf(dict: PdfDict | null, get: Get): FilterParameters {
  const number = (key: string, otherwise: number): number => {
    const value = dict === null ? null : get(dict, key);
    return typeof value === "number" ? value : otherwise;
  };
  return {
    predictor: number("Predictor", 1),
    colors: number("Colors", 1),
    bits: number("BitsPerComponent", 8),
    columns: number("Columns", 1),
    earlyChange: number("EarlyChange", 1) !== 0,
  };
}

// ---- the search for objects

/** Of the 128 bytes before the word "obj". */
const HEADER = /(\d{1,10})(?:[\0\t\n\f\r ]|%[^\r\n]*[\r\n])+(\d{1,5})(?:[\0\t\n\f\r ]|%[^\r\n]*[\r\n])*$/;

function findObjects(file: Buffer, bounds: LexerBounds, flag: (name: PdfFlag) => void): PdfObject[] {
  const objects: PdfObject[] = [];
  const ends = finder(file, "endstream");
  const objectEnds = finder(file, "endobj");
  /** Of the values and streams read so far; what begins before it lies inside of one. */
  let covered = 0;
  /** The stream up to `covered` is a PDF itself, whose objects are its own. */
  let foreign = false;
  /** Bytes that may be read a second time, for what lies inside; after that each is read up to a bound. */
  let again = 2 * file.length;
  for (let at = file.indexOf("obj"); at >= 0; at = file.indexOf("obj", at + 3)) {
    if (file[at - 1] === 0x64) continue;
    const header = HEADER.exec(file.toString("latin1", Math.max(0, at - HEADER_WINDOW), at));
    const inside = at < covered;
    if (inside && (foreign || header === null)) continue;
    if (objects.length >= MAX_OBJECTS || bounds.values <= 0) {
      flag("pdf_objects_exceeded");
      break;
    }
    const end = inside && again <= 0 ? Math.min(file.length, at + HIDDEN_MAX) : file.length;
    const lexer = createLexer(file, at + 3, end, bounds);
    const value = parseValue(lexer);
    const stream = isDict(value) ? streamAfter(lexer.at, file, value, ends, objectEnds) : null;
    if (header === null && value === null) continue;
    const holdsPdf = stream !== null && beginsAsPdf(file.subarray(stream.start, stream.end));
    objects.push({
      num: header === null ? -1 : Number(header[1]),
      gen: header === null ? 0 : Number(header[2]),
      at,
      hidden: inside,
      packed: false,
      value,
      stream,
      holdsPdf,
    });
    if (inside) {
      again -= lexer.at - at;
      flag("pdf_hidden_objects");
      continue;
    }
    covered = stream?.end ?? lexer.at;
    foreign = holdsPdf;
  }
  return objects;
}

function beginsAsPdf(stream: Buffer): boolean {
  return stream.subarray(0, 1024).includes("%PDF-");
}

/** Finds the next place of a word, for places that only ever grow; the end of the file where there is none. */
function finder(file: Buffer, word: string): (from: number) => number {
  let searched = 0;
  let found = -1;
  return (from) => {
    if (found >= from && from >= searched) return found;
    searched = from;
    const at = file.indexOf(word, from);
    found = at < 0 ? file.length : at;
    return found;
  };
}

function streamAfter(
  at: number,
  file: Buffer,
  dict: PdfDict,
  ends: (from: number) => number,
  objectEnds: (from: number) => number,
): PdfObject["stream"] {
  let start = at;
  const limit = Math.min(file.length, at + 64);
  while (start < limit && isWhite(file[start])) start++;
  if (file.toString("latin1", start, start + 6) !== "stream") return null;
  start += 6;
  let eol = start;
  while (eol < start + 4 && (file[eol] === 0x20 || file[eol] === 0x09)) eol++;
  if (file[eol] === 13) start = file[eol + 1] === 10 ? eol + 2 : eol + 1;
  else if (file[eol] === 10) start = eol + 1;
  const length = dict.entries.get("Length");
  if (typeof length === "number" && length >= 0 && endsAt(file, start + length))
    return { start, end: start + length };
  let end = ends(start);
  if (end >= file.length) end = objectEnds(start);
  return { start, end };
}

function endsAt(file: Buffer, at: number): boolean {
  let end = at;
  while (end < at + 4 && isWhite(file[end])) end++;
  return file.toString("latin1", end, end + 9) === "endstream";
}

function rawStream(file: Buffer, object: PdfObject, length: PdfValue): Buffer {
  const { start, end } = object.stream ?? { start: 0, end: 0 };
  if (typeof length === "number" && length >= 0 && endsAt(file, start + length)) {
    return file.subarray(start, start + length);
  }
  let last = end;
  if (last > start && file[last - 1] === 10) last--;
  if (last > start && file[last - 1] === 13) last--;
  return file.subarray(start, last);
}

function findTrailers(file: Buffer, objects: readonly PdfObject[], bounds: LexerBounds): readonly PdfDict[] {
  const trailers: PdfDict[] = [];
  for (let at = file.indexOf("trailer"); at >= 0; ) {
    const lexer = createLexer(file, at + 7, file.length, bounds);
    const value = parseValue(lexer);
    at = file.indexOf("trailer", lexer.at);
    if (isDict(value)) trailers.push(value);
  }
  // Tables that are streams are trailers, too.
  for (const { value, stream } of objects) {
    if (stream !== null && isDict(value) && value.entries.has("Root")) trailers.push(value);
  }
  return trailers;
}

function remember(byNumber: Map<number, PdfObject[]>, object: PdfObject): void {
  if (object.num < 0) return;
  const known = byNumber.get(object.num);
  if (known === undefined) byNumber.set(object.num, [object]);
  else known.push(object);
}

function sortVersions(byNumber: Map<number, PdfObject[]>): void {
  for (const list of byNumber.values()) {
    if (list.length === 1) continue;
    list.sort((one, other) => Number(one.hidden) - Number(other.hidden) || other.at - one.at);
    list.length = Math.min(list.length, MAX_VERSIONS);
  }
}

// ---- object streams

function readObjectStreams(
  document: PdfDocument,
  objects: PdfObject[],
  byNumber: Map<number, PdfObject[]>,
  flag: (name: PdfFlag) => void,
): void {
  const { get, bounds } = document;
  const before = objects.length;
  let left = MAX_PACKED;
  for (let index = 0; index < before; index++) {
    const container = objects[index];
    if (container === undefined || container.stream === null || !isDict(container.value)) continue;
    if (!container.value.entries.has("First")) continue;
    const first = get(container.value, "First");
    const count = get(container.value, "N");
    if (typeof first !== "number" || typeof count !== "number") continue;
    if (left <= 0) {
      flag("pdf_too_large");
      break;
    }
    const content = document.content(container, left);
    if (content === null) continue;
    left -= content.bytes.length;
    const { bytes } = content;
    /** Objects that begin at the same place are the same; together they may be read a few times only. */
    const values = new Map<number, PdfValue>();
    let readable = 4 * bytes.length + 4096;
    const header = createLexer(bytes, 0, Math.min(bytes.length, Math.max(0, first)), bounds);
    for (let entry = 0; entry < count; entry++) {
      if (nextToken(header) !== "value") break;
      const num = header.value;
      if (nextToken(header) !== "value") break;
      const offset = header.value;
      if (typeof num !== "number" || typeof offset !== "number") break;
      if (objects.length >= MAX_OBJECTS || readable <= 0 || bounds.values <= 0) {
        flag("pdf_objects_exceeded");
        break;
      }
      const at = first + offset;
      let value = values.get(at);
      if (value === undefined) {
        const lexer = createLexer(bytes, at, bytes.length, bounds);
        value = parseValue(lexer);
        readable -= lexer.at - at + 1;
        values.set(at, value);
      }
      const { hidden, at: place } = container;
      const object = { num, gen: 0, at: place, hidden, packed: true, value, stream: null, holdsPdf: false };
      objects.push(object);
      remember(byNumber, object);
    }
  }
  sortVersions(byNumber);
}
