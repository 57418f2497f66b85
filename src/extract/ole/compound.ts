/**
 * Compound files: the little file systems that old Office documents, Outlook mails and installers are kept in.
 *
 * Bytes in, entries and their contents out, after [MS-CFB]. Nothing here throws for what the bytes are: a chain
 * that loops, leaves the file or ends early gives what came before and sets a flag. Entries that no tree leads to
 * are given too, since a program that walks the tables of the directory finds them. All work is linear in the file:
 * streams that share sectors are read until they add up to more than the file could hold.
 */

import type { FlagEntry } from "../reading.ts";

export const COMPOUND_FLAGS = {
  compound_header_odd: {
    complete: true,
    meaning: "The header of a compound file has values that its format does not allow.",
  },
  compound_truncated: {
    complete: true,
    meaning: "A compound file names sectors that lie beyond its end.",
  },
  compound_chain_broken: {
    complete: true,
    meaning: "A chain of sectors in a compound file loops, or ends before the size of its stream is reached.",
  },
  compound_directory_broken: {
    complete: true,
    meaning: "The directory of a compound file loops, or names entries that do not exist.",
  },
  compound_orphans: {
    complete: true,
    meaning: "A compound file has entries that its directory tree does not lead to; they are read as well.",
  },
  compound_duplicate_names: {
    complete: true,
    meaning: "Two entries of one storage of a compound file have the same name.",
  },
  compound_streams_overlap: {
    complete: false,
    meaning: "Streams of a compound file share their sectors so often that not all of them are read.",
  },
} as const satisfies Record<string, FlagEntry>;

export type CompoundFlag = keyof typeof COMPOUND_FLAGS;

export type CompoundEntry = {
  readonly kind: "storage" | "stream";
  /** Up to 32 UTF-16 units, cut at the first NUL. Hostile text. */
  readonly name: string;
  /** Names of the storages it lies in, outermost first, without the root; the first 64 of them. */
  readonly path: readonly string[];
  /** Bytes as the directory says; the file may hold fewer. 0 for a storage. */
  readonly size: number;
  /** 32 hex digits in the usual order of a GUID, without dashes; all zero where none is set. */
  readonly clsid: string;
  readonly state: number;
  /** No tree leads to it. */
  readonly orphan: boolean;
  /** Place in the directory. */
  readonly id: number;
};

export type Compound = {
  /** All but the root, in order of the tree, then the orphans. */
  readonly entries: readonly CompoundEntry[];
  /** CLSID of the root storage. */
  readonly clsid: string;
  /** The content of a stream, at most `maxBytes` of it, cut where its chain breaks. May share the file's memory. */
  readonly read: (entry: CompoundEntry, maxBytes: number) => Uint8Array;
  /** By names from the root, in any case. The first one where names are given twice. */
  readonly find: (path: readonly string[]) => CompoundEntry | null;
  /** What lies directly in a storage; null means the root. */
  readonly children: (storage: CompoundEntry | null) => readonly CompoundEntry[];
  /** Names of COMPOUND_FLAGS; grows while streams are read. */
  readonly flags: ReadonlySet<CompoundFlag>;
};

const SIGNATURE = [0xd0, 0xcf, 0x11, 0xe0, 0xa1, 0xb1, 0x1a, 0xe1];
const HEADER_BYTES = 512;
const ENTRY_BYTES = 128;
/** Sector numbers from here on have a meaning of their own: end of chain, free, part of a table. */
const FIRST_SPECIAL = 0xfffffffa;
const END_OF_CHAIN = 0xfffffffe;
const FREE = 0xffffffff;
const NO_ENTRY = 0xffffffff;
const MINI_BYTES = 64;
const MINI_CUTOFF = 4096;
const MAX_PATH = 64;
/** Streams that do not overlap never add up to more than the file; the rest is for odd but harmless files. */
const OVERLAP_FACTOR = 4;
const OVERLAP_SLACK = 65_536;

export function isCompound(bytes: Uint8Array): boolean {
  return SIGNATURE.every((value, at) => bytes[at] === value);
}

/** Null where the signature is missing or the file is shorter than a header. */
export function openCompound(bytes: Uint8Array): Compound | null {
  if (bytes.length < HEADER_BYTES || !isCompound(bytes)) return null;
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const flags = new Set<CompoundFlag>();
  const major = view.getUint16(0x1a, true);
  const sectorBytes = readSectorBytes(view, flags);
  if (view.getUint16(0x20, true) !== 6 || view.getUint32(0x38, true) !== MINI_CUTOFF) {
    flags.add("compound_header_odd");
  }
  const count = Math.max(0, Math.ceil((bytes.length - sectorBytes) / sectorBytes));
  const file: Sectors = { bytes, view, flags, sectorBytes, count, fat: new Uint32Array(0) };
  const table: Sectors = { ...file, fat: readFat(file) };

  const directory = readDirectory(table, view.getUint32(0x30, true), major);
  const root = directory.nodes[0];
  const miniSectors = root ? sectorChain(table, root.start) : new Uint32Array(0);
  const miniFat = readMiniFat(table, view.getUint32(0x3c, true), miniSectors.length);

  let budget = bytes.length * OVERLAP_FACTOR + OVERLAP_SLACK;
  const counted = new Map<number, number>();

  const read = (entry: CompoundEntry, maxBytes: number): Uint8Array => {
    const node = directory.nodes[entry.id];
    if (entry.kind !== "stream" || !node) return new Uint8Array(0);
    const before = counted.get(entry.id) ?? 0;
    const asked = Math.max(0, Math.min(entry.size, maxBytes));
    const wanted = Math.min(asked, before + budget);
    if (wanted < asked && wanted < bytes.length) flags.add("compound_streams_overlap");
    const mini = entry.size < MINI_CUTOFF;
    const content = mini
      ? readMini(table, miniFat, miniSectors, node.start, wanted)
      : readChain(table, node.start, wanted);
    if (content.length > before) {
      budget -= content.length - before;
      counted.set(entry.id, content.length);
    }
    return content;
  };

  return {
    entries: directory.entries,
    clsid: root?.clsid ?? "0".repeat(32),
    read,
    find: (path) => {
      let found: CompoundEntry | null = null;
      for (const name of path) {
        const inside: number = found ? found.id : 0;
        found = directory.byName.get(nameKey(inside, name)) ?? null;
        if (!found) return null;
      }
      return found;
    },
    children: (storage) => directory.children.get(storage?.id ?? 0) ?? [],
    flags,
  };
}

type Sectors = {
  readonly bytes: Uint8Array;
  readonly view: DataView;
  readonly flags: Set<CompoundFlag>;
  readonly sectorBytes: number;
  /** Sectors after the header; the last may be short. */
  readonly count: number;
  /** The sector after each sector. */
  readonly fat: Uint32Array;
};

function readSectorBytes(view: DataView, flags: Set<CompoundFlag>): number {
  const major = view.getUint16(0x1a, true);
  const shift = view.getUint16(0x1e, true);
  const regular = (major === 3 && shift === 9) || (major === 4 && shift === 12);
  if (!regular || view.getUint16(0x1c, true) !== 0xfffe) flags.add("compound_header_odd");
  if (shift >= 7 && shift <= 16) return 2 ** shift;
  return major === 4 ? 4096 : 512;
}

function sectorOffset(file: Sectors, sector: number): number {
  return (sector + 1) * file.sectorBytes;
}

/** A table of numbers from one sector; shorter where the file ends. */
function eachNumber(file: Sectors, sector: number, take: (value: number, index: number) => void): void {
  const start = sectorOffset(file, sector);
  const numbers = Math.min(file.sectorBytes, file.bytes.length - start) >> 2;
  for (let index = 0; index < numbers; index++) take(file.view.getUint32(start + index * 4, true), index);
}

function readFat(file: Sectors): Uint32Array {
  const fat = new Uint32Array(file.count).fill(FREE);
  const perSector = file.sectorBytes / 4;
  const needed = Math.ceil(file.count / perSector);
  let filled = 0;
  const add = (sector: number): void => {
    if (filled >= needed || sector === FREE) return;
    const base = filled++ * perSector;
    if (sector >= file.count) {
      file.flags.add("compound_truncated");
      return;
    }
    eachNumber(file, sector, (value, index) => {
      if (base + index < fat.length) fat[base + index] = value;
    });
  };
  for (let at = 0x4c; at < HEADER_BYTES; at += 4) add(file.view.getUint32(at, true));
  let next = file.view.getUint32(0x44, true);
  const most = Math.ceil(needed / (perSector - 1));
  for (let step = 0; step < most && filled < needed && next < FIRST_SPECIAL; step++) {
    if (next >= file.count) {
      file.flags.add("compound_truncated");
      break;
    }
    let after = END_OF_CHAIN;
    eachNumber(file, next, (value, index) => {
      if (index === perSector - 1) after = value;
      else add(value);
    });
    next = after;
  }
  return fat;
}

/** All sectors of a chain whose length nothing tells, each once. */
function sectorChain(file: Sectors, start: number): Uint32Array {
  const seen = new Uint8Array(file.count);
  const chain: number[] = [];
  let sector = start;
  while (sector < FIRST_SPECIAL) {
    if (sector >= file.count) {
      file.flags.add("compound_truncated");
      break;
    }
    if (seen[sector]) {
      file.flags.add("compound_chain_broken");
      break;
    }
    seen[sector] = 1;
    chain.push(sector);
    sector = file.fat[sector] ?? FREE;
  }
  return Uint32Array.from(chain);
}

function readMiniFat(file: Sectors, start: number, miniSectors: number): Uint32Array {
  const fat = new Uint32Array(miniSectors * (file.sectorBytes / MINI_BYTES)).fill(FREE);
  const perSector = file.sectorBytes / 4;
  let base = 0;
  for (const sector of sectorChain(file, start)) {
    if (base >= fat.length) break;
    eachNumber(file, sector, (value, index) => {
      if (base + index < fat.length) fat[base + index] = value;
    });
    base += perSector;
  }
  return fat;
}

type Run = { readonly from: number; to: number };

/** Follows a chain for `wanted` bytes, as runs of the file; a chain that loops ends where it must have. */
function followChain(
  file: Sectors,
  next: Uint32Array,
  start: number,
  unit: number,
  wanted: number,
  offset: (sector: number) => number,
): Run[] {
  const runs: Run[] = [];
  let left = wanted;
  let sector = start;
  for (let step = 0; left > 0 && step < next.length && sector < next.length; step++) {
    const from = offset(sector);
    const to = Math.min(from + Math.min(unit, left), file.bytes.length);
    if (from >= to) break;
    const last = runs.at(-1);
    if (last && last.to === from) last.to = to;
    else runs.push({ from, to });
    left -= to - from;
    sector = next[sector] ?? FREE;
  }
  if (left > 0) {
    const outside = sector >= next.length && sector < FIRST_SPECIAL;
    file.flags.add(outside || file.count === 0 ? "compound_truncated" : "compound_chain_broken");
  }
  return runs;
}

function gather(file: Sectors, runs: readonly Run[]): Uint8Array {
  const only = runs[0];
  if (!only) return new Uint8Array(0);
  if (runs.length === 1) return file.bytes.subarray(only.from, only.to);
  const content = new Uint8Array(runs.reduce((sum, run) => sum + run.to - run.from, 0));
  let at = 0;
  for (const run of runs) {
    content.set(file.bytes.subarray(run.from, run.to), at);
    at += run.to - run.from;
  }
  return content;
}

function readChain(file: Sectors, start: number, wanted: number): Uint8Array {
  const offset = (sector: number): number => sectorOffset(file, sector);
  return gather(file, followChain(file, file.fat, start, file.sectorBytes, wanted, offset));
}

function readMini(
  file: Sectors,
  fat: Uint32Array,
  sectors: Uint32Array,
  start: number,
  wanted: number,
): Uint8Array {
  const perSector = file.sectorBytes / MINI_BYTES;
  const offset = (mini: number): number =>
    sectorOffset(file, sectors[Math.floor(mini / perSector)] ?? FREE) + (mini % perSector) * MINI_BYTES;
  return gather(file, followChain(file, fat, start, MINI_BYTES, wanted, offset));
}

/** An entry of the directory as it stands there. */
type Node = {
  readonly kind: "storage" | "stream";
  readonly name: string;
  readonly left: number;
  readonly right: number;
  readonly child: number;
  readonly clsid: string;
  readonly state: number;
  readonly start: number;
  readonly size: number;
};

type Directory = {
  /** Null where an entry is not in use. */
  readonly nodes: readonly (Node | null)[];
  readonly entries: readonly CompoundEntry[];
  readonly byName: ReadonlyMap<string, CompoundEntry>;
  readonly children: ReadonlyMap<number, readonly CompoundEntry[]>;
};

type Place = { readonly parent: number; readonly path: readonly string[] };
type Step = { readonly id: number; readonly place: Place; readonly leftDone: boolean };
const TOP: Place = { parent: 0, path: [] };

function nameKey(parent: number, name: string): string {
  return `${parent}\0${name.toUpperCase()}`;
}

function readDirectory(file: Sectors, start: number, major: number): Directory {
  const nodes: (Node | null)[] = [];
  for (const sector of sectorChain(file, start)) {
    const from = sectorOffset(file, sector);
    const to = Math.min(from + file.sectorBytes, file.bytes.length);
    for (let at = from; at + ENTRY_BYTES <= to; at += ENTRY_BYTES) nodes.push(readNode(file, at, major));
  }

  const entries: CompoundEntry[] = [];
  const byName = new Map<string, CompoundEntry>();
  const children = new Map<number, CompoundEntry[]>();
  const seen = new Uint8Array(nodes.length);
  const give = (id: number, node: Node, { parent, path }: Place, orphan: boolean): void => {
    const { kind, name, size, clsid, state } = node;
    const entry: CompoundEntry = { kind, name, path, size, clsid, state, orphan, id };
    entries.push(entry);
    const siblings = children.get(parent);
    if (siblings) siblings.push(entry);
    else children.set(parent, [entry]);
    const key = nameKey(parent, name);
    if (byName.has(key)) file.flags.add("compound_duplicate_names");
    else byName.set(key, entry);
  };
  /** In the order of the names, as far as the tree has it: what is left of an entry comes before it. */
  const walk = (first: number, top: Place, orphan: boolean): void => {
    const open: Step[] = [{ id: first, place: top, leftDone: false }];
    for (let step = open.pop(); step; step = open.pop()) {
      const { id, place, leftDone } = step;
      if (id === NO_ENTRY) continue;
      const node = nodes[id];
      if (!node || (seen[id] && !leftDone)) {
        file.flags.add("compound_directory_broken");
        continue;
      }
      seen[id] = 1;
      if (!leftDone) {
        open.push({ id, place, leftDone: true }, { id: node.left, place, leftDone: false });
        continue;
      }
      give(id, node, place, orphan);
      open.push({ id: node.right, place, leftDone: false });
      if (node.kind === "storage") {
        const path = place.path.length < MAX_PATH ? [...place.path, node.name] : place.path;
        open.push({ id: node.child, place: { parent: id, path }, leftDone: false });
      }
    }
  };

  const root = nodes[0];
  if (root) {
    seen[0] = 1;
    walk(root.child, TOP, false);
  } else {
    file.flags.add("compound_directory_broken");
  }
  for (const [id, node] of nodes.entries()) {
    if (!node || seen[id]) continue;
    file.flags.add("compound_orphans");
    walk(id, TOP, true);
  }
  return { nodes, entries, byName, children };
}

const TYPE_STORAGE = 1;
const TYPE_STREAM = 2;
const TYPE_ROOT = 5;

function readNode(file: Sectors, at: number, major: number): Node | null {
  const { view, flags } = file;
  const type = view.getUint8(at + 0x42);
  if (type !== TYPE_STORAGE && type !== TYPE_STREAM && type !== TYPE_ROOT) {
    if (type !== 0) flags.add("compound_directory_broken");
    return null;
  }
  // The upper half of the size is rubbish in files of version 3 that some programs wrote.
  const size = view.getUint32(at + 0x78, true) + (major >= 4 ? view.getUint32(at + 0x7c, true) * 2 ** 32 : 0);
  return {
    kind: type === TYPE_STREAM ? "stream" : "storage",
    name: readName(view, at),
    left: view.getUint32(at + 0x44, true),
    right: view.getUint32(at + 0x48, true),
    child: view.getUint32(at + 0x4c, true),
    clsid: readGuid(view, at + 0x50),
    state: view.getUint32(at + 0x60, true),
    start: view.getUint32(at + 0x74, true),
    size: type === TYPE_STREAM ? size : 0,
  };
}

function readName(view: DataView, at: number): string {
  let name = "";
  for (let unit = 0; unit < 32; unit++) {
    const code = view.getUint16(at + unit * 2, true);
    if (code === 0) break;
    name += String.fromCharCode(code);
  }
  return name;
}

function readGuid(view: DataView, at: number): string {
  const hex = (value: number, digits: number): string => value.toString(16).padStart(digits, "0");
  let guid = hex(view.getUint32(at, true), 8) + hex(view.getUint16(at + 4, true), 4);
  guid += hex(view.getUint16(at + 6, true), 4);
  for (let index = 8; index < 16; index++) guid += hex(view.getUint8(at + index), 2);
  return guid;
}
