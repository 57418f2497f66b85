/**
 * Writes compound files of version 3 ([MS-CFB]): a part of one, such as a mail in a mail, as a file of its own.
 *
 * In go a root and its storages and streams, out comes a file that any program of that format opens. The order
 * of siblings is the one the format wants, so the same content gives the same bytes.
 */

export type StoredStream = {
  readonly kind: "stream";
  readonly name: string;
  readonly content: Uint8Array;
};
export type StoredStorage = {
  readonly kind: "storage";
  readonly name: string;
  /** 32 hex digits in the usual order of a GUID. */
  readonly clsid: string;
  readonly state: number;
  readonly children: readonly (StoredStorage | StoredStream)[];
};

const SECTOR = 512;
const MINI = 64;
const MINI_CUTOFF = 4096;
const ENTRY_BYTES = 128;
const NUMBERS = SECTOR / 4;
const HEADER_FAT_SECTORS = 109;
const END_OF_CHAIN = 0xfffffffe;
const FREE = 0xffffffff;
const FAT_SECTOR = 0xfffffffd;
const DIFAT_SECTOR = 0xfffffffc;
const NO_ENTRY = 0xffffffff;
const MAX_NAME = 31;

type Item = StoredStorage | StoredStream;
type Slot = { readonly item: Item; left: number; right: number; child: number; red: boolean; start: number };

export function writeCompound(root: StoredStorage): Uint8Array {
  const slots = placeEntries(root);
  const small = slots.filter(({ item }) => item.kind === "stream" && item.content.length < MINI_CUTOFF);
  const large = slots.filter(({ item }) => item.kind === "stream" && item.content.length >= MINI_CUTOFF);

  let minis = 0;
  for (const slot of small) {
    if (sizeOf(slot) === 0) continue;
    slot.start = minis;
    minis += Math.ceil(sizeOf(slot) / MINI);
  }
  let sectors = 0;
  const take = (bytes: number): number => {
    const start = sectors;
    sectors += Math.ceil(bytes / SECTOR);
    return start;
  };
  for (const slot of large) slot.start = take(sizeOf(slot));
  const miniStream = take(minis * MINI);
  const miniFat = take(minis * 4);
  const directory = take(slots.length * ENTRY_BYTES);
  const { fatSectors, difatSectors } = tableSectors(sectors);
  const fat = take(fatSectors * SECTOR);
  const difat = take(difatSectors * SECTOR);

  const bytes = new Uint8Array((sectors + 1) * SECTOR);
  const view = new DataView(bytes.buffer);
  const offset = (sector: number): number => (sector + 1) * SECTOR;

  const table = new Uint32Array(fatSectors * NUMBERS).fill(FREE);
  const chain = (start: number, count: number): void => {
    for (let index = 0; index < count; index++) {
      table[start + index] = index === count - 1 ? END_OF_CHAIN : start + index + 1;
    }
  };
  for (const slot of large) chain(slot.start, Math.ceil(sizeOf(slot) / SECTOR));
  chain(miniStream, Math.ceil((minis * MINI) / SECTOR));
  chain(miniFat, Math.ceil((minis * 4) / SECTOR));
  chain(directory, Math.ceil((slots.length * ENTRY_BYTES) / SECTOR));
  table.fill(FAT_SECTOR, fat, fat + fatSectors);
  table.fill(DIFAT_SECTOR, difat, difat + difatSectors);
  for (const [index, value] of table.entries()) view.setUint32(offset(fat) + index * 4, value, true);

  for (const { item, start } of large) if (item.kind === "stream") bytes.set(item.content, offset(start));
  bytes.fill(0xff, offset(miniFat), offset(directory));
  for (const slot of small) {
    if (slot.item.kind !== "stream" || slot.item.content.length === 0) continue;
    bytes.set(slot.item.content, offset(miniStream) + slot.start * MINI);
    const count = Math.ceil(slot.item.content.length / MINI);
    for (let index = 0; index < count; index++) {
      const next = index === count - 1 ? END_OF_CHAIN : slot.start + index + 1;
      view.setUint32(offset(miniFat) + (slot.start + index) * 4, next, true);
    }
  }
  const rootSlot = slots[0];
  if (rootSlot) rootSlot.start = minis > 0 ? miniStream : END_OF_CHAIN;
  for (const [index, slot] of slots.entries()) {
    writeEntry(view, offset(directory) + index * ENTRY_BYTES, slot, index === 0 ? minis * MINI : null);
  }
  for (let id = slots.length; id % (SECTOR / ENTRY_BYTES) !== 0; id++) {
    for (const field of [0x44, 0x48, 0x4c]) {
      view.setUint32(offset(directory) + id * ENTRY_BYTES + field, NO_ENTRY, true);
    }
  }

  writeHeader(view, { directory, fatSectors, fat, difat, difatSectors, miniFat, minis });
  for (let index = 0; index < difatSectors * NUMBERS; index++) {
    const sector = Math.floor(index / NUMBERS);
    const last = index % NUMBERS === NUMBERS - 1;
    const number = HEADER_FAT_SECTORS + sector * (NUMBERS - 1) + (index % NUMBERS);
    const next = sector === difatSectors - 1 ? END_OF_CHAIN : difat + sector + 1;
    const value = last ? next : number < fatSectors ? fat + number : FREE;
    view.setUint32(offset(difat) + index * 4, value, true);
  }
  return bytes;
}

/** All entries with the root first; siblings form the balanced tree that the format asks for. */
function placeEntries(root: StoredStorage): Slot[] {
  const slots: Slot[] = [];
  const place = (item: Item): number => {
    slots.push({ item, left: NO_ENTRY, right: NO_ENTRY, child: NO_ENTRY, red: false, start: END_OF_CHAIN });
    return slots.length - 1;
  };
  place(root);
  for (let parent = 0; parent < slots.length; parent++) {
    const slot = slots[parent];
    if (slot?.item.kind !== "storage" || slot.item.children.length === 0) continue;
    const first = slots.length;
    for (const item of slot.item.children.toSorted(byName)) place(item);
    slot.child = balance(slots, first, slots.length);
  }
  for (const slot of slots) if (slot.item.kind === "storage") slot.start = 0;
  return slots;
}

/** Links the sorted slots of [from, to) into a tree and gives its top. The last level is red where it has gaps. */
function balance(slots: readonly Slot[], from: number, to: number): number {
  const count = to - from;
  const levels = Math.floor(Math.log2(count));
  const full = Number.isInteger(Math.log2(count + 1));
  const link = (low: number, high: number, level: number): number => {
    if (low >= high) return NO_ENTRY;
    const middle = (low + high) >> 1;
    const slot = slots[middle];
    if (!slot) return NO_ENTRY;
    slot.left = link(low, middle, level + 1);
    slot.right = link(middle + 1, high, level + 1);
    slot.red = level === levels && !full;
    return middle;
  };
  return link(from, to, 0);
}

/** [MS-CFB] 2.6.4: by length first, then by upper case. */
function byName(a: Item, b: Item): number {
  const [one, two] = [cutName(a.name), cutName(b.name)];
  if (one.length !== two.length) return one.length - two.length;
  const [left, right] = [one.toUpperCase(), two.toUpperCase()];
  return left < right ? -1 : left > right ? 1 : 0;
}

function cutName(name: string): string {
  return name.slice(0, MAX_NAME);
}

function sizeOf(slot: Slot): number {
  return slot.item.kind === "stream" ? slot.item.content.length : 0;
}

/** The tables describe themselves too, so that their number is found by growing it until it holds. */
function tableSectors(others: number): { readonly fatSectors: number; readonly difatSectors: number } {
  let fatSectors = 1;
  let difatSectors = 0;
  while (fatSectors * NUMBERS < others + fatSectors + difatSectors) {
    fatSectors = Math.ceil((others + fatSectors + difatSectors) / NUMBERS);
    difatSectors = Math.max(0, Math.ceil((fatSectors - HEADER_FAT_SECTORS) / (NUMBERS - 1)));
  }
  return { fatSectors, difatSectors };
}

function writeEntry(view: DataView, at: number, slot: Slot, rootSize: number | null): void {
  const { item } = slot;
  const name = rootSize === null ? cutName(item.name) : "Root Entry";
  for (let unit = 0; unit < name.length; unit++) {
    view.setUint16(at + unit * 2, name.charCodeAt(unit), true);
  }
  view.setUint16(at + 0x40, (name.length + 1) * 2, true);
  view.setUint8(at + 0x42, rootSize === null ? (item.kind === "stream" ? 2 : 1) : 5);
  view.setUint8(at + 0x43, slot.red ? 0 : 1);
  view.setUint32(at + 0x44, slot.left, true);
  view.setUint32(at + 0x48, slot.right, true);
  view.setUint32(at + 0x4c, slot.child, true);
  if (item.kind === "storage") {
    writeGuid(view, at + 0x50, item.clsid);
    view.setUint32(at + 0x60, item.state, true);
  }
  view.setUint32(at + 0x74, slot.start, true);
  view.setUint32(at + 0x78, rootSize ?? sizeOf(slot), true);
}

function writeGuid(view: DataView, at: number, hex: string): void {
  const number = (from: number, to: number): number => Number.parseInt(hex.slice(from, to), 16) || 0;
  view.setUint32(at, number(0, 8), true);
  view.setUint16(at + 4, number(8, 12), true);
  view.setUint16(at + 6, number(12, 16), true);
  for (let index = 8; index < 16; index++) view.setUint8(at + index, number(index * 2, index * 2 + 2));
}

type Layout = {
  readonly directory: number;
  readonly fat: number;
  readonly fatSectors: number;
  readonly difat: number;
  readonly difatSectors: number;
  readonly miniFat: number;
  readonly minis: number;
};

function writeHeader(view: DataView, layout: Layout): void {
  const { directory, fat, fatSectors, difat, difatSectors, miniFat, minis } = layout;
  view.setUint32(0, 0xd0cf11e0);
  view.setUint32(4, 0xa1b11ae1);
  view.setUint16(0x18, 0x3e, true);
  view.setUint16(0x1a, 3, true);
  view.setUint16(0x1c, 0xfffe, true);
  view.setUint16(0x1e, 9, true);
  view.setUint16(0x20, 6, true);
  view.setUint32(0x2c, fatSectors, true);
  view.setUint32(0x30, directory, true);
  view.setUint32(0x38, MINI_CUTOFF, true);
  view.setUint32(0x3c, minis > 0 ? miniFat : END_OF_CHAIN, true);
  view.setUint32(0x40, Math.ceil((minis * 4) / SECTOR), true);
  view.setUint32(0x44, difatSectors > 0 ? difat : END_OF_CHAIN, true);
  view.setUint32(0x48, difatSectors, true);
  for (let index = 0; index < HEADER_FAT_SECTORS; index++) {
    view.setUint32(0x4c + index * 4, index < fatSectors ? fat + index : FREE, true);
  }
}
