/**
 * Macros in Visual Basic (VBA), after [MS-OVBA]: their source, what it calls, and whether it runs by itself.
 *
 * In goes a compound file, out come facts and the source as text. Where the project's own list of modules is
 * broken or lies, their source is hunted for in every stream beside it.
 */
import type { Compound, CompoundEntry } from "../ole/compound.ts";
import type { ReadingBuilder } from "../reading.ts";
import type { OfficeFact, OfficeFlag } from "./flags.ts";
import { MACRO_SOURCE } from "./links.ts";
import { collectText, withoutConcatenation, writtenUrls } from "./text.ts";

/** Unpacked source of all modules together. */
const MAX_SOURCE = 8 * 1024 * 1024;
const MAX_STREAM = 16 * 1024 * 1024;
const CHUNK = 4096;

const AUTOEXEC =
  /\b(?:auto_?(?:open|close|exec|exit|new|activate|deactivate)|(?:document|workbook|presentation)_?(?:open|close|new|beforeclose|beforesave|activate|deactivate|windowactivate|sheetactivate|contentcontrolonenter)|worksheet_(?:activate|calculate)|on(?:slideshow(?:pagechange|terminate)|docopened)|inkedit\w{0,10}_gotfocus|\w{1,40}_(?:layout|painted|painting|onconnecting|onconnected|downloadcomplete|navigatecomplete2|beforenavigate2))\b/i;
const SUSPICIOUS =
  /\b(?:shell(?:execute[aw]?)?|wscript\.shell|winmgmts|win32_process|urldownloadtofile[aw]?|(?:msxml2|microsoft|winhttp)\.(?:\w{1,20}\.)?\w{0,20}xmlhttp|winhttprequest|internetopen[aw]?|adodb\.stream|scripting\.filesystemobject|powershell|mshta|regsvr32|rundll32|certutil|bitsadmin|cmd(?:\.exe)?\s{1,8}\/[ck]|virtualalloc(?:ex)?|rtlmovememory|writeprocessmemory|createthread|createremotethread|enumsystemlocales|callbyname|executeexcel4macro|strreverse|appactivate|vbproject|createprocess[aw]?|loadlibrary[aw]?|getprocaddress|kernel32|ntdll|urlmon)\b|\bdeclare\s{1,8}(?:ptrsafe\s{1,8})?(?:sub|function)\b|\bcreateobject\s{0,8}\(\s{0,8}[^"\s)]/i;

/** Names in compiled code, where any letter may stand before them. */
const COMPILED =
  /auto_?(?:open|close|exec|exit|new)|(?:document|workbook|presentation)_(?:open|close|beforeclose|new|activate)/i;
/** A text that may hold a URL written backwards, for StrReverse. */
const BACKWARDS = /"[^"\r\n]{0,4096}ptth[^"\r\n]{0,64}"/gi;

/** Tells what a source of macros does, in any of the languages of Office. */
export function giveMacroSource(reading: ReadingBuilder, source: string): void {
  const folded = withoutConcatenation(source);
  if (AUTOEXEC.test(folded)) fact(reading, "macros_autoexec");
  if (SUSPICIOUS.test(folded)) fact(reading, "macros_suspicious");
  const text = collectText(reading, MACRO_SOURCE);
  text.add(folded);
  text.line();
  if (/ptth/i.test(folded)) {
    for (const [literal] of folded.matchAll(BACKWARDS)) {
      text.add([...literal].reverse().join(""));
      text.line();
    }
  }
  text.done();
}

function fact(reading: ReadingBuilder, name: OfficeFact): void {
  reading.fact(name);
}

const NO_MODULES: ReadonlySet<string> = new Set(["dir", "_vba_project", "project", "projectwm"]);

/** Reads every VBA project of a compound file, wherever it lies in it. */
export function readVba(compound: Compound, reading: ReadingBuilder): void {
  const projects = vbaStorages(compound);
  if (projects.size === 0) return;
  fact(reading, "macros");
  const sources: string[] = [];
  let left = MAX_SOURCE;
  let compiled = "";
  const streamsOf = Map.groupBy(
    compound.entries.filter(({ kind }) => kind === "stream"),
    ({ path }) => pathKey(path),
  );
  for (const key of projects) {
    const streams = streamsOf.get(key) ?? [];
    const named = (name: string): CompoundEntry | undefined =>
      streams.find((stream) => stream.name.toLowerCase() === name);
    const offsets = moduleOffsets(compound, named("dir"));
    const cache = named("_vba_project");
    if (cache !== undefined) compiled += latin1(compound.read(cache, MAX_STREAM)).replaceAll("\0", "");
    for (const stream of streams) {
      const name = stream.name.toLowerCase();
      if (NO_MODULES.has(name) || name.startsWith("__srp_")) continue;
      const bytes = buffer(compound.read(stream, MAX_STREAM));
      const module = moduleSource(bytes, offsets.get(name), left);
      if (module === null && offsets.has(name)) reading.flag("vba_unreadable" satisfies OfficeFlag);
      if (module !== null) {
        left -= module.source.length;
        sources.push(module.source);
      }
      // The compiled code before the source has its texts as they are.
      giveWritten(reading, bytes.subarray(0, module?.at));
    }
  }
  const source = sources.join("\n");
  giveMacroSource(reading, source);
  // The names in compiled code whose source is gone: other programs of Office run that code all the same.
  if (!/\b(?:sub|function|property)\b/i.test(source) && COMPILED.test(compiled)) {
    fact(reading, "macros_stomped");
    fact(reading, "macros_autoexec");
  }
  giveFormTexts(compound, reading);
}

/** Where the modules of projects lie: a storage named VBA, or any with the two streams of a project. */
function vbaStorages(compound: Compound): ReadonlySet<string> {
  const found = new Set<string>();
  for (const { kind, name, path } of compound.entries) {
    const lower = name.toLowerCase();
    if (kind === "stream" && (lower === "_vba_project" || lower === "dir")) {
      if (lower === "_vba_project" || path.at(-1)?.toLowerCase() === "vba") found.add(pathKey(path));
    }
  }
  return found;
}

function pathKey(path: readonly string[]): string {
  return path.join("/").toLowerCase();
}

/** URLs in the texts of forms, where macros keep what shall not be seen in their source. */
function giveFormTexts(compound: Compound, reading: ReadingBuilder): void {
  for (const entry of compound.entries) {
    if (entry.kind === "stream" && /^(?:f|o|\x03vbframe)$/i.test(entry.name)) {
      giveWritten(reading, buffer(compound.read(entry, MAX_STREAM)));
    }
  }
}

function giveWritten(reading: ReadingBuilder, bytes: Buffer): void {
  const text = writtenUrls(bytes);
  if (text !== "") reading.text({ kind: "text", text, source: MACRO_SOURCE });
}

/** The place of the source in the stream of each module, by the name of the stream in lower case. */
function moduleOffsets(compound: Compound, dir: CompoundEntry | undefined): ReadonlyMap<string, number> {
  const offsets = new Map<string, number>();
  if (dir === undefined) return offsets;
  const records = unpackVba(buffer(compound.read(dir, MAX_STREAM)), 0, MAX_SOURCE);
  let stream = "";
  let at = 0;
  while (at + 6 <= records.length) {
    const id = records.readUInt16LE(at);
    // PROJECTVERSION says 4 and has 6.
    const size = id === 9 ? 6 : records.readUInt32LE(at + 2);
    const data = records.subarray(at + 6, at + 6 + size);
    if (id === 0x1a) stream = data.toString("latin1");
    if (id === 0x32) stream = data.toString("utf16le");
    if (id === 0x31 && data.length >= 4) offsets.set(stream.toLowerCase(), data.readUInt32LE(0));
    at += 6 + size;
  }
  return offsets;
}

type ModuleSource = { readonly source: string; readonly at: number };

function moduleSource(bytes: Buffer, offset: number | undefined, max: number): ModuleSource | null {
  // A source begins with "Attribute VB_Name", and its first eight letters are stored as they are.
  const hunted = bytes.indexOf("\0Attribut", 0, "latin1") - 3;
  for (const at of [offset ?? -1, hunted]) {
    const source = at < 0 ? "" : unpackVba(bytes, at, max).toString("latin1");
    if (source !== "") return { source, at };
  }
  return null;
}

/** Unpacks a container ([MS-OVBA] 2.4.1) until it breaks or `max` bytes are there. */
export function unpackVba(bytes: Buffer, start: number, max: number): Buffer {
  if (bytes[start] !== 1) return Buffer.alloc(0);
  const chunks: Buffer[] = [];
  let length = 0;
  let at = start + 1;
  while (at + 2 <= bytes.length && length < max) {
    const header = bytes.readUInt16LE(at);
    if (((header >> 12) & 7) !== 3) break;
    const end = Math.min(bytes.length, at + (header & 0xfff) + 3);
    const packed = bytes.subarray(at + 2, end);
    const chunk = header >> 15 === 0 ? packed.subarray(0, CHUNK) : unpackChunk(packed);
    chunks.push(chunk);
    length += chunk.length;
    at = end;
  }
  return Buffer.concat(chunks).subarray(0, max);
}

function unpackChunk(packed: Buffer): Buffer {
  const out = Buffer.alloc(CHUNK);
  let length = 0;
  let at = 0;
  while (at < packed.length) {
    const flags = packed[at++] ?? 0;
    for (let bit = 0; bit < 8 && at < packed.length && length < CHUNK; bit++) {
      if (((flags >> bit) & 1) === 0) {
        out[length++] = packed[at++] ?? 0;
        continue;
      }
      if (at + 2 > packed.length) return out.subarray(0, length);
      const token = packed.readUInt16LE(at);
      at += 2;
      const offsetBits = Math.max(4, 32 - Math.clz32(Math.max(0, length - 1)));
      const offset = (token >> (16 - offsetBits)) + 1;
      const count = (token & (0xffff >> offsetBits)) + 3;
      if (offset > length) return out.subarray(0, length);
      for (let copied = 0; copied < count && length < CHUNK; copied++) {
        out[length] = out[length - offset] ?? 0;
        length++;
      }
    }
    if (length >= CHUNK) break;
  }
  return out.subarray(0, length);
}

function buffer(bytes: Uint8Array): Buffer {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length);
}

function latin1(bytes: Uint8Array): string {
  return buffer(bytes).toString("latin1");
}
