/**
 * Windows shortcuts (.lnk), after [MS-SHLLINK]: where they lead, what they run, and what hides behind their end.
 *
 * Bytes in, a Reading out; the command line is a text with source "shortcut". Never throws for what the bytes are:
 * a structure that is cut short gives what came before, and the rest is given as appended data.
 */
import { createReading, type Limits, type Reading, type ReadingBuilder } from "../reading.ts";
import type { ShortcutFact, ShortcutFlag } from "./flags.ts";

export const SHORTCUT_SOURCE = "shortcut";

const HEADER = 0x4c;
const HAS_ID_LIST = 0x01;
const HAS_LINK_INFO = 0x02;
/** Strings after the link information, in their order: name, relative path, working folder, arguments, icon. */
const STRINGS: readonly (readonly [number, keyof Strings])[] = [
  [0x04, "name"],
  [0x08, "path"],
  [0x10, "folder"],
  [0x20, "arguments"],
  [0x40, "icon"],
];
const IS_UNICODE = 0x80;
const ENVIRONMENT = 0xa0000001;
const ICON_ENVIRONMENT = 0xa0000007;
const MINIMIZED = 7;
const MAX_ITEMS = 1000;
const MAX_BLOCKS = 1000;
/** Characters of arguments that the window of properties shows. */
const SHOWN_ARGUMENTS = 260;
const MAX_TEXT = 256 * 1024;
/** An overlay this small is padding. */
const MIN_OVERLAY = 16;

type Strings = { name: string; path: string; folder: string; arguments: string; icon: string };

const COMMANDS =
  /(?:^|[\\/\s"'=(,;&|%])(?:powershell(?:_ise)?|pwsh|cmd|%?comspec%?|mshta|wscript|cscript|rundll32|regsvr32|msiexec|certutil|bitsadmin|curl|wmic|forfiles|conhost|explorer|installutil|msbuild|cmstp|hh|odbcconf|pcalua|schtasks|scriptrunner|ftp|ssh|scp|finger|winget|python|wsl|bash|node|mavinject|control|xcopy|robocopy|tar|expand|extrac32)(?:\.exe)?(?:$|[\s"'&|,;/)%])/i;
const ENCODED = /[-/]e(?:nc?|c|ncodedcommand|nco\w{0,11})?\s{1,64}["']?([A-Za-z0-9+/]{16,}={0,2})/gi;
const DOCUMENT_ICON =
  /\.(?:pdf|docx?|xlsx?|pptx?|txt|jpe?g|png|zip)\b|(?:acrord32|acrobat|winword|excel|powerpnt|msedge|chrome|firefox|notepad|wordpad|imageres|shell32|wordicon|pdfstandin)/i;
const WEB = /(?:https?|ftp):\/\/[^\s"'<>|]{1,4096}/gi;

export function readLnk(bytes: Uint8Array, limits: Limits): Reading {
  const reading = createReading(limits);
  const file = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length);
  if (file.length < HEADER) {
    flag(reading, "shortcut_unreadable");
    return reading.done();
  }
  const flags = file.readUInt32LE(0x14);
  if (file.readUInt32LE(0x3c) === MINIMIZED) fact(reading, "hidden_window");
  const targets: string[] = [];
  let at = file.readUInt32LE(0);
  if (at < HEADER || at > 0x1000) at = HEADER;
  if ((flags & HAS_ID_LIST) !== 0 && at + 2 <= file.length) {
    const size = file.readUInt16LE(at);
    targets.push(...itemTargets(file.subarray(at + 2, at + 2 + size)));
    at += 2 + size;
  }
  if ((flags & HAS_LINK_INFO) !== 0 && at + 4 <= file.length) {
    const size = file.readUInt32LE(at);
    targets.push(...linkInfoTargets(file.subarray(at, at + size)));
    at += Math.max(4, size);
  }
  const strings: Strings = { name: "", path: "", folder: "", arguments: "", icon: "" };
  const width = (flags & IS_UNICODE) === 0 ? 1 : 2;
  for (const [bit, key] of STRINGS) {
    if ((flags & bit) === 0) continue;
    if (at + 2 > file.length) {
      flag(reading, "shortcut_unreadable");
      break;
    }
    const end = at + 2 + file.readUInt16LE(at) * width;
    strings[key] = text(file.subarray(at + 2, end), width);
    at = end;
  }
  const icons = [strings.icon];
  at = readBlocks(file, at, (kind, block) => {
    // Both forms of the path, 260 characters each.
    const paths = [text(block.subarray(0, 260), 1), text(block.subarray(260, 780), 2)];
    if (kind === ENVIRONMENT) targets.push(...paths);
    if (kind === ICON_ENVIRONMENT) icons.push(...paths);
  });
  give(reading, targets, strings, icons);
  const overlay = file.subarray(at);
  if (overlay.length >= MIN_OVERLAY && overlay.some((byte) => byte !== 0)) {
    fact(reading, "appended_data");
    reading.inner({ name: null, declared: null, bytes: overlay });
  }
  return reading.done();
}

function fact(reading: ReadingBuilder, name: ShortcutFact): void {
  reading.fact(name);
}

function flag(reading: ReadingBuilder, name: ShortcutFlag): void {
  reading.flag(name);
}

/** Text up to the first NUL. */
function text(bytes: Buffer, width: 1 | 2): string {
  const whole = bytes.toString(width === 1 ? "latin1" : "utf16le");
  const end = whole.indexOf("\0");
  return end < 0 ? whole : whole.slice(0, end);
}

/** Names and addresses in a list of items: one item a step of the path. */
function itemTargets(list: Buffer): readonly string[] {
  const found: string[] = [];
  const steps: string[] = [];
  let at = 0;
  for (let count = 0; count < MAX_ITEMS && at + 2 <= list.length; count++) {
    const size = list.readUInt16LE(at);
    if (size < 2) break;
    const item = list.subarray(at + 2, at + size);
    const kind = item[0] ?? 0;
    if (kind === 0x2f) steps.push(text(item.subarray(1), 1).replace(/\\$/, ""));
    else if ((kind & 0x70) === 0x30) steps.push(fileName(item, kind));
    else if ((kind & 0x70) === 0x40) found.push(text(item.subarray(3), 1));
    else if (kind === 0x61) found.push(...addresses(item));
    at += size;
  }
  return steps.length === 0 ? found : [...found, steps.join("\\")];
}

const LONG_NAME = Buffer.from("0400efbe", "hex");

/** The long name of a file where the item has one, its short one otherwise. */
function fileName(item: Buffer, kind: number): string {
  const block = item.indexOf(LONG_NAME, 12);
  if (block >= 4) {
    const version = item.readUInt16LE(block - 2);
    const skip = version >= 9 ? 42 : version >= 8 ? 38 : version >= 7 ? 34 : version >= 3 ? 16 : 12;
    const name = text(item.subarray(block - 4 + skip + (version >= 3 ? 4 : 0)), 2);
    if (/^[^\x00-\x1f]{1,300}$/.test(name)) return name;
  }
  return text(item.subarray(12), (kind & 4) === 0 ? 1 : 2);
}

/** The addresses in an item of the internet folder, in either width. */
function addresses(item: Buffer): readonly string[] {
  const narrow = item.toString("latin1").match(WEB) ?? [];
  const wide = [0, 1].flatMap((offset) => item.subarray(offset).toString("utf16le").match(WEB) ?? []);
  return [...narrow, ...wide].map((url) => url.replace(/[\x00-\x1f\x7f-\uffff].*$/s, ""));
}

/** [MS-SHLLINK] 2.3: the path on this machine or the name of a share, with what comes after it. */
function linkInfoTargets(info: Buffer): readonly string[] {
  if (info.length < 28) return [];
  const at = (offset: number): number => (offset + 4 <= info.length ? info.readUInt32LE(offset) : 0);
  const string = (offset: number, width: 1 | 2): string =>
    offset === 0 ? "" : text(info.subarray(offset), width);
  const wide = at(4) >= 0x24;
  const found: string[] = [];
  const suffix = (wide ? string(at(32), 2) : "") || string(at(24), 1);
  const local = (wide ? string(at(28), 2) : "") || string(at(16), 1);
  if (local !== "") found.push(local + suffix);
  const network = at(20);
  if (network !== 0 && network + 20 <= info.length) {
    const share = text(info.subarray(network + at(network + 8)), 1);
    found.push(suffix === "" ? share : `${share}\\${suffix}`);
  }
  return found;
}

/** Reads the blocks of extra data; the place after the last one. */
function readBlocks(file: Buffer, from: number, take: (kind: number, block: Buffer) => void): number {
  let at = from;
  for (let count = 0; count < MAX_BLOCKS && at + 4 <= file.length; count++) {
    const size = file.readUInt32LE(at);
    if (size < 4) return at + 4;
    // What is no block, is what was appended to a shortcut without its last block.
    if (size < 8 || at + size > file.length || file.readUInt32LE(at + 4) >>> 4 !== 0xa000000) return at;
    take(file.readUInt32LE(at + 4), file.subarray(at + 8, at + size));
    at += size;
  }
  return Math.min(at, file.length);
}

function give(reading: ReadingBuilder, targets: readonly string[], strings: Strings, icons: string[]): void {
  const programs = [...new Set([...targets, strings.path].filter((target) => target !== ""))];
  const line = [...programs, strings.arguments]
    .filter((piece) => piece !== "")
    .join(" ")
    .slice(0, MAX_TEXT);
  const runs = COMMANDS.test(line) || /\.(?:ps1|vbs|vbe|jse?|wsf|hta|bat|cmd|scr|pif)\b/i.test(line);
  if (runs) fact(reading, "runs_command");
  const shown = strings.arguments;
  if (shown.length > SHOWN_ARGUMENTS) fact(reading, "long_arguments");
  if (/[\s\u00a0]{32}/.test(shown)) fact(reading, "padded_arguments");
  const icon = icons.filter((path) => path !== "").join(" ");
  const own = programs.some((program) => program !== "" && icon.toLowerCase() === program.toLowerCase());
  if (runs && !own && DOCUMENT_ICON.test(icon)) fact(reading, "misleading_icon");
  if ([...programs, icon].some((path) => /^\\\\[^?.\\]/.test(path.trim()))) fact(reading, "unc_target");
  if (targets.some((target) => /^(?:https?|ftp):\/\//i.test(target.trim()))) fact(reading, "url_target");
  const decoded = encodedCommands(line);
  if (decoded.length > 0) fact(reading, "encoded_command");
  const pieces = [line, ...decoded, strings.name, strings.folder, icon];
  const whole = pieces.filter((piece) => piece.trim() !== "").join("\n");
  // Carets and empty quotes split words of a command without changing it.
  const plain = whole.replace(/\^|""|''|'\s{0,8}\+\s{0,8}'/g, "");
  reading.text({
    kind: "text",
    text: plain === whole ? whole : `${whole}\n${plain}`,
    source: SHORTCUT_SOURCE,
  });
}

function encodedCommands(line: string): readonly string[] {
  if (!/powershell|pwsh|-e/i.test(line)) return [];
  return [...line.matchAll(ENCODED)].map(([, base64 = ""]) =>
    Buffer.from(base64, "base64").toString("utf16le"),
  );
}
