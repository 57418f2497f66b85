/**
 * RTF, read as Word reads it: whatever it finds, it goes on.
 *
 * Bytes in, a Reading out: objects packed in it and their targets, fields, templates, images and visible text.
 * Samples split the hex of objects by groups, control words and white space, shorten the header, and nest groups
 * without end; so groups are counted, not descended into, and only what Word takes for data is taken for data.
 */
import { createReading, type Limits, type Reading, type ReadingBuilder } from "../reading.ts";
import type { OfficeFact, OfficeFlag } from "./flags.ts";
import { giveField, giveTarget, OFFICE_SOURCE } from "./links.ts";
import { packagedFile, readOleObject } from "./ole-documents.ts";
import { collectText } from "./text.ts";

/** What the content of a group is taken for. Numbers, since there may be a million groups. */
const TEXT = 0;
const SKIP = 1;
const OBJECT = 2;
const PICTURE = 3;
const FIELD = 4;
const TEMPLATE = 5;
const LINK = 6;

/** Control words that say what the group they stand in is. */
const DESTINATIONS: Readonly<Record<string, number>> = {
  objdata: OBJECT,
  pict: PICTURE,
  fldinst: FIELD,
  template: TEMPLATE,
  hlsrc: LINK,
  hlfr: LINK,
  hlloc: LINK,
  hlinkbase: LINK,
  sv: LINK,
  file: LINK,
  linkval: LINK,
  mmconnectstr: LINK,
  mmdatasource: LINK,
  fonttbl: SKIP,
  colortbl: SKIP,
  stylesheet: SKIP,
  listtable: SKIP,
  info: SKIP,
  nonshppict: SKIP,
  xmlnstbl: SKIP,
  latentstyles: SKIP,
  generator: SKIP,
  themedata: SKIP,
  colorschememapping: SKIP,
  datastore: SKIP,
};
/** Groups that a star does not hide, since Word knows them. */
const SHOWN: ReadonlySet<string> = new Set([
  "shppict",
  "shpinst",
  "hl",
  "fldrslt",
  "sp",
  "picprop",
  "nofpages",
]);
const FACTS: Readonly<Record<string, OfficeFact>> = {
  objautlink: "object_autoload",
  objupdate: "object_autoload",
  objlink: "linked_object",
  objhtml: "scripting_object",
  objocx: "activex",
  object: "embedded_object",
};
const CHARACTERS: Readonly<Record<string, string>> = {
  par: "\n",
  line: "\n",
  sect: "\n",
  page: "\n",
  row: "\n",
  cell: "\n",
  tab: "\t",
  lquote: "‘",
  rquote: "’",
  ldblquote: "“",
  rdblquote: "”",
  bullet: "•",
  endash: "–",
  emdash: "—",
};
const MAX_IMAGES = 20;
const MAX_OBJECTS = 1000;
/** Letters of a control word that are looked at. */
const MAX_WORD = 32;
/** Characters of the code of a field or of a target. */
const MAX_CODE = 32_768;

const BACKSLASH = 0x5c;
const OPEN = 0x7b;
const CLOSE = 0x7d;
const MINUS = 0x2d;

export function readRtf(bytes: Uint8Array, limits: Limits): Reading {
  const reading = createReading(limits);
  const file = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length);
  const start = file.subarray(0, 4096).indexOf("{\\rt", 0, "latin1");
  if (start < 0) reading.flag("office_unreadable" satisfies OfficeFlag);
  else readGroups(file, start, reading);
  return reading.done();
}

function readGroups(file: Buffer, start: number, reading: ReadingBuilder): void {
  const visible = collectText(reading, OFFICE_SOURCE);
  const groups: number[] = [];
  /** Codes of open fields, of a template or a link: what is written there is put together here. */
  const codes: string[][] = [];
  const objects = collectObjects(reading);
  let destination = TEXT;
  /** This group gave its content the meaning it has, and so ends it. */
  let first = false;
  /** Characters after \u that stand for the same character in programs without Unicode. */
  let skip = 1;
  let toSkip = 0;
  let starred = false;

  const character = (text: string): void => {
    if (toSkip > 0) toSkip--;
    else write(text);
  };
  const write = (text: string): void => {
    if (destination === TEXT) visible.add(text);
    else if (destination >= FIELD) codes.at(-1)?.push(text.slice(0, MAX_CODE));
  };
  const endContent = (): void => {
    if (destination === OBJECT || destination === PICTURE) objects.end(destination === PICTURE);
    else if (destination >= FIELD) giveCode(destination, (codes.pop() ?? []).join(""), reading);
  };
  const endGroup = (): void => {
    if (first) endContent();
    const outer = groups.pop() ?? 0;
    destination = outer & 7;
    first = (outer & 8) !== 0;
    skip = outer >> 4;
    toSkip = 0;
  };
  const enter = (kind: number): void => {
    // A group within an object is a part of its data, and one object is read at a time.
    if (kind === destination && (kind !== FIELD || first)) return;
    const data = kind === OBJECT || kind === PICTURE;
    if (first) endContent();
    destination = data && objects.open() ? SKIP : kind;
    first = true;
    if (destination >= FIELD) codes.push([]);
    if (data && destination !== SKIP) objects.begin();
  };
  const control = (word: string, parameter: number): void => {
    const kind = Object.hasOwn(DESTINATIONS, word) ? DESTINATIONS[word] : undefined;
    const known = Object.hasOwn(FACTS, word) ? FACTS[word] : undefined;
    if (known !== undefined) reading.fact(known);
    if (kind !== undefined) enter(kind);
    else if (starred && !SHOWN.has(word)) enter(SKIP);
    else if (word === "uc") skip = Math.min(Math.max(parameter, 0), 10);
    else if (word === "u") {
      write(String.fromCharCode(parameter & 0xffff));
      toSkip = skip;
    } else if (word === "pngblip" || word === "jpegblip") objects.image(word === "pngblip" ? "png" : "jpeg");
    else if (Object.hasOwn(CHARACTERS, word)) character(CHARACTERS[word] ?? "");
    starred = false;
  };

  let at = start;
  while (at < file.length) {
    const char = file[at] ?? 0;
    if (char === OPEN) {
      groups.push(destination | (first ? 8 : 0) | (skip << 4));
      first = false;
      starred = false;
      toSkip = 0;
      at++;
    } else if (char === CLOSE) {
      endGroup();
      starred = false;
      at++;
      if (groups.length === 0) break;
    } else if (char !== BACKSLASH) {
      const end = runEnd(file, at);
      if (destination === OBJECT || destination === PICTURE) objects.hex(file, at, end);
      else if (destination !== SKIP) {
        // Line breaks of the file are not of the text.
        const run = file.toString("latin1", at, end).replace(/[\r\n\0]/g, "");
        const dropped = Math.min(toSkip, run.length);
        toSkip -= dropped;
        if (run.length > dropped) write(windows1252(run.slice(dropped)));
      }
      at = end;
    } else {
      const next = file[at + 1] ?? 0;
      if (isLetter(next)) {
        let end = at + 1;
        while (end < file.length && isLetter(file[end] ?? 0)) end++;
        const word = file.toString("latin1", at + 1, Math.min(end, at + 1 + MAX_WORD));
        const numberAt = end;
        if (file[end] === MINUS && isDigit(file[end + 1] ?? 0)) end++;
        while (end < file.length && isDigit(file[end] ?? 0)) end++;
        const parameter =
          end > numberAt ? Number(file.toString("latin1", numberAt, Math.min(end, numberAt + 20))) : 1;
        if (file[end] === 0x20) end++;
        at = end;
        if (word === "bin") {
          const size = end > numberAt ? Math.min(Math.max(parameter, 0), file.length - at) : 0;
          if (destination === OBJECT || destination === PICTURE) objects.binary(file.subarray(at, at + size));
          at += size;
        } else {
          control(word, parameter);
        }
      } else if (next === 0x27) {
        const code = Number.parseInt(file.toString("latin1", at + 2, at + 4), 16);
        if (destination === OBJECT || destination === PICTURE) objects.quoted();
        else if (!Number.isNaN(code)) character(windows1252(String.fromCharCode(code)));
        at += 4;
      } else {
        if (next === 0x2a) starred = true;
        else if (next === BACKSLASH || next === OPEN || next === CLOSE) character(String.fromCharCode(next));
        else if (next === 0x7e) character(" ");
        else if (next === 0x5f) character("-");
        else if (next === 0x0a || next === 0x0d) character("\n");
        at += 2;
      }
    }
  }
  while (groups.length > 0) endGroup();
  visible.done();
}

function isLetter(char: number): boolean {
  return (char >= 0x61 && char <= 0x7a) || (char >= 0x41 && char <= 0x5a);
}

function isDigit(char: number): boolean {
  return char >= 0x30 && char <= 0x39;
}

/** Where the next brace or backslash is. */
function runEnd(file: Buffer, from: number): number {
  let at = from;
  while (at < file.length) {
    const char = file[at];
    if (char === BACKSLASH || char === OPEN || char === CLOSE) return at;
    at++;
  }
  return at;
}

const WINDOWS_1252 = new TextDecoder("windows-1252");

function windows1252(text: string): string {
  return /[\x80-\x9f]/.test(text) ? WINDOWS_1252.decode(Buffer.from(text, "latin1")) : text;
}

function giveCode(destination: number, code: string, reading: ReadingBuilder): void {
  const cut = code.slice(0, MAX_CODE);
  if (code.length > MAX_CODE) reading.flag("office_fields_odd" satisfies OfficeFlag);
  if (destination === FIELD) giveField(reading, cut);
  else if (giveTarget(reading, cut) && destination === TEMPLATE) {
    reading.fact("remote_template" satisfies OfficeFact);
  }
}

// ---- objects

type ObjectCollector = {
  readonly begin: () => void;
  /** True while the data of an object or a picture is being collected. */
  readonly open: () => boolean;
  readonly hex: (file: Buffer, from: number, end: number) => void;
  readonly binary: (bytes: Buffer) => void;
  /** Some versions of Word drop the half of a byte that stands before \'xx in the data. */
  readonly quoted: () => void;
  readonly image: (kind: "png" | "jpeg") => void;
  readonly end: (picture: boolean) => void;
};

function collectObjects(reading: ReadingBuilder): ObjectCollector {
  let open = false;
  let nibbles = new Uint8Array(4096);
  let length = 0;
  /** Places of the halves that may be dropped. */
  let doubtful: number[] = [];
  let image: string | null = null;
  let images = 0;
  let objects = 0;
  const reserve = (more: number): void => {
    if (length + more <= nibbles.length) return;
    const larger = new Uint8Array(Math.max(nibbles.length * 2, length + more));
    larger.set(nibbles.subarray(0, length));
    nibbles = larger;
  };
  const quoted = (): void => {
    if ((length - doubtful.length) % 2 === 1) doubtful.push(length - 1);
  };
  return {
    begin: () => {
      open = true;
      length = 0;
      doubtful = [];
      image = null;
    },
    open: () => open,
    hex: (file, from, end) => {
      reserve(end - from);
      for (let at = from; at < end; at++) {
        const value = NIBBLES[file[at] ?? 0] ?? -1;
        if (value >= 0) nibbles[length++] = value;
      }
    },
    binary: (bytes) => {
      quoted();
      reserve(bytes.length * 2);
      for (const byte of bytes) {
        nibbles[length++] = byte >> 4;
        nibbles[length++] = byte & 15;
      }
    },
    quoted,
    image: (kind) => {
      image = `image/${kind}`;
    },
    end: (picture) => {
      open = false;
      const whole = nibbles.subarray(0, length);
      if (length < 2) return;
      if (picture) {
        if (image === null) return;
        if (++images > MAX_IMAGES) reading.flag("office_images_exceeded" satisfies OfficeFlag);
        else reading.inner({ name: null, declared: image, bytes: packed(whole) });
        return;
      }
      if (++objects > MAX_OBJECTS) {
        reading.flag("office_parts_exceeded" satisfies OfficeFlag);
        return;
      }
      giveObject(packed(whole), reading);
      if (doubtful.length > 0) {
        const dropped = new Set(doubtful);
        giveObject(packed(whole.filter((_, index) => !dropped.has(index))), reading);
      }
    },
  };
}

/** The value of a hex digit by its byte, -1 for all others. */
const NIBBLES = Int8Array.from({ length: 256 }, (_, char) => {
  const value = Number.parseInt(String.fromCharCode(char), 16);
  return Number.isNaN(value) ? -1 : value;
});

function packed(nibbles: Uint8Array): Buffer {
  const bytes = Buffer.alloc(nibbles.length >> 1);
  for (let at = 0; at < bytes.length; at++) {
    bytes[at] = ((nibbles[at * 2] ?? 0) << 4) | (nibbles[at * 2 + 1] ?? 0);
  }
  return bytes;
}

const COMPOUND = Buffer.from("d0cf11e0a1b11ae1", "hex");

/** An object as OLE 1 keeps it ([MS-OLEDS] 2.2); where its header is broken, what is known by its signature. */
function giveObject(bytes: Buffer, reading: ReadingBuilder): void {
  if (/equation/i.test(bytes.toString("latin1", 0, 512)))
    reading.fact("equation_editor" satisfies OfficeFact);
  const header = oleHeader(bytes);
  if (header?.linked === true) {
    for (const target of header.targets) giveTarget(reading, target);
    reading.fact("linked_object" satisfies OfficeFact);
  }
  const data = header?.data ?? bytes;
  if (data.indexOf(COMPOUND) === 0 && readOleObject(data, null, reading)) return;
  const file = header !== null && /^package$/i.test(header.className) ? packagedFile(data) : null;
  if (file !== null) {
    reading.fact("embedded_file" satisfies OfficeFact);
    reading.inner({ name: file.name === "" ? null : file.name, declared: null, bytes: file.bytes });
    return;
  }
  const compound = bytes.indexOf(COMPOUND);
  if (compound >= 0 && readOleObject(bytes.subarray(compound), null, reading)) return;
  if (data.length > 0) reading.inner({ name: null, declared: null, bytes: data });
}

type OleHeader = {
  readonly linked: boolean;
  readonly className: string;
  readonly targets: readonly string[];
  readonly data: Buffer;
};

function oleHeader(bytes: Buffer): OleHeader | null {
  let at = 8;
  const strings: string[] = [];
  for (let index = 0; index < 3; index++) {
    if (at + 4 > bytes.length) return null;
    const length = bytes.readUInt32LE(at);
    if (length > 4096 || at + 4 + length > bytes.length) return null;
    strings.push(bytes.toString("latin1", at + 4, at + 4 + length).replace(/\0.*$/s, ""));
    at += 4 + length;
  }
  const [className = "", ...targets] = strings;
  if (bytes.readUInt32LE(4) === 1) return { linked: true, className, targets, data: Buffer.alloc(0) };
  if (at + 4 > bytes.length) return null;
  return { linked: false, className, targets, data: bytes.subarray(at + 4, at + 4 + bytes.readUInt32LE(at)) };
}
