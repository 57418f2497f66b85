/**
 * The objects of a PDF, wherever they are: a program may find any of them, by a table or by a search.
 *
 * Tables of objects (xref) are not believed: the file is searched for objects, and object streams are read, so that
 * broken files, older versions of an object and objects no table lists are had as well. Never throws for what the
 * bytes are. Every object is read once; what is unpacked is bounded.
 */
import { type CryptMethod, decryptBytes, findKey } from "./crypt.ts";
import { FILTERS, type FilterParameters } from "./filters.ts";
import type { PdfFlag } from "./flags.ts";
import {
  createBounds,
  createLexer,
  isWhite,
  type LexerBounds,
  nextToken,
  type PdfDict,
  type PdfRef,
  type PdfValue,
  parseValue,
} from "./objects.ts";

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
  readonly resolve: (value: PdfValue | undefined) => PdfValue;
  readonly get: (dict: PdfDict, ...keys: readonly string[]) => PdfValue;
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
const MAX_PASSWORDS = 200;
const HEADER_WINDOW = 128;
const HIDDEN_MAX = 1024;
/** Items of a list that are looked at, where a few make sense. */
const MAX_LIST = 64;
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

export function isDict(value: PdfValue | undefined): value is PdfDict {
  return typeof value === "object" && value?.kind === "dict";
}

export function isRef(value: PdfValue | undefined): value is PdfRef {
  return typeof value === "object" && value?.kind === "ref";
}

/** "" where the value is no name. */
export function nameOf(value: PdfValue | undefined): string {
  return typeof value === "object" && value?.kind === "name" ? value.name : "";
}

/** The first items of an array, or the one value. */
export function listOf(
  resolve: PdfDocument["resolve"],
  value: PdfValue | undefined,
  max: number = MAX_LIST,
): readonly PdfValue[] {
  const found = resolve(value);
  if (found === null) return [];
  return typeof found === "object" && found.kind === "array"
    ? found.items.slice(0, max).map(resolve)
    : [found];
}

function parametersOf(dict: PdfDict | null, get: PdfDocument["get"]): FilterParameters {
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
  if (typeof length === "number" && endsAt(file, start + length)) return { start, end: start + length };
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

// ---- encryption

type Seal = {
  readonly key: Buffer | null;
  readonly password: string | null;
  readonly strings: CryptMethod;
  readonly streams: CryptMethod;
  readonly methods: ReadonlyMap<string, CryptMethod>;
  readonly metadata: boolean;
  /** The encryption dictionary itself, whose strings are in clear. */
  readonly dict: PdfDict;
};

function openEncryption(
  trailers: readonly PdfDict[],
  resolve: PdfDocument["resolve"],
  get: PdfDocument["get"],
  versions: PdfDocument["versions"],
  passwords: readonly string[],
  flag: (name: PdfFlag) => void,
): Seal | null {
  let seal: Seal | null = null;
  const tried = new Set<PdfDict>();
  if (passwords.length > MAX_PASSWORDS && trailers.some(({ entries }) => entries.has("Encrypt"))) {
    flag("pdf_passwords_exceeded");
  }
  const candidates = ["", ...passwords.slice(0, MAX_PASSWORDS)];
  const ids = new Set<string>([""]);
  for (const trailer of trailers) {
    const [id] = listOf(resolve, trailer.entries.get("ID"));
    if (typeof id === "object" && id?.kind === "string") ids.add(id.bytes.toString("latin1"));
  }
  for (const trailer of [...trailers].reverse()) {
    const written = trailer.entries.get("Encrypt");
    const found = isRef(written) ? versions(written).map(({ value }) => value) : [written];
    for (const dict of found) {
      if (!isDict(dict) || tried.has(dict) || tried.size >= MAX_VERSIONS) continue;
      tried.add(dict);
      for (const id of [...ids].slice(-4).reverse()) {
        const made = openDictionary(dict, Buffer.from(id, "latin1"), get, candidates);
        if (made === null) continue;
        if (made.key !== null) return made;
        seal ??= made;
      }
    }
  }
  return seal;
}

function openDictionary(
  dict: PdfDict,
  id: Buffer,
  get: PdfDocument["get"],
  candidates: readonly string[],
): Seal | null {
  const number = (key: string, otherwise: number): number => {
    const value = get(dict, key);
    return typeof value === "number" ? value : otherwise;
  };
  const string = (key: string): Buffer => {
    const value = get(dict, key);
    return typeof value === "object" && value?.kind === "string" ? value.bytes : NO_BYTES;
  };
  const version = number("V", 0);
  const revision = number("R", 0);
  const metadata = get(dict, "EncryptMetadata") !== false;
  const methods = methodsOf(get(dict, "CF"), get, version);
  const method = (key: string): CryptMethod => {
    if (version < 4) return "rc4";
    return methods.get(nameOf(get(dict, key))) ?? "none";
  };
  const known = [1, 2, 3, 4, 5].includes(version) && revision >= 2 && revision <= 6;
  const length = number("Length", 40);
  const opened = known
    ? findKey(
        {
          version,
          revision,
          length: length < 40 ? length * 8 : length,
          owner: string("O"),
          user: string("U"),
          ownerKey: string("OE"),
          userKey: string("UE"),
          permissions: number("P", 0),
          metadata,
          id,
        },
        candidates,
      )
    : null;
  return {
    key: opened?.key ?? null,
    password: opened === null || opened.password === "" ? null : opened.password,
    strings: method("StrF"),
    streams: method("StmF"),
    methods,
    metadata,
    dict,
  };
}

function methodsOf(
  filters: PdfValue,
  get: PdfDocument["get"],
  version: number,
): ReadonlyMap<string, CryptMethod> {
  const methods = new Map<string, CryptMethod>([["Identity", "none"]]);
  if (!isDict(filters)) return methods;
  for (const name of filters.entries.keys()) {
    const filter = get(filters, name);
    const method = isDict(filter) ? nameOf(get(filter, "CFM")) : "";
    if (method === "V2") methods.set(name, "rc4");
    else if (method === "AESV2") methods.set(name, "aes128");
    else if (method === "AESV3" && version >= 5) methods.set(name, "aes256");
  }
  return methods;
}

function streamMethod(
  seal: Seal,
  object: PdfObject,
  dict: PdfDict,
  get: PdfDocument["get"],
  resolve: PdfDocument["resolve"],
): CryptMethod {
  const type = nameOf(get(dict, "Type"));
  if (type === "XRef" || object.hidden) return "none";
  if (type === "Metadata" && !seal.metadata) return "none";
  const filters = listOf(resolve, dict.entries.get("Filter"));
  const own = filters.findIndex((filter) => nameOf(filter) === "Crypt");
  if (own < 0) return seal.streams;
  const parameters = listOf(resolve, dict.entries.get("DecodeParms"))[own];
  const name = isDict(parameters) ? nameOf(get(parameters, "Name")) : "";
  return seal.methods.get(name === "" ? "Identity" : name) ?? seal.streams;
}

/** Objects that are not encrypted are left as they are: what is readable before and not after was not. */
function decryptStrings(objects: readonly PdfObject[], seal: Seal): void {
  const { key, strings } = seal;
  if (key === null || strings === "none") return;
  for (const object of objects) {
    if (object.num < 0 || object.value === seal.dict) continue;
    const values: PdfValue[] = [object.value];
    for (let value = values.pop(); value !== undefined; value = values.pop()) {
      if (typeof value !== "object" || value === null || value === seal.dict) continue;
      if (value.kind === "string") {
        const clear = decryptBytes(key, strings, object.num, object.gen, value.bytes);
        if (!isReadable(value.bytes) || isReadable(clear)) value.bytes = clear;
      } else if (value.kind === "array") {
        for (const item of value.items) values.push(item);
      } else if (value.kind === "dict") {
        for (const item of value.entries.values()) values.push(item);
        for (const [, item] of value.earlier) values.push(item);
      }
    }
  }
}

function isReadable(bytes: Buffer): boolean {
  if (bytes.length < 8) return false;
  for (const byte of bytes.subarray(0, 64)) if (byte < 0x20 || byte > 0x7e) return false;
  return true;
}
