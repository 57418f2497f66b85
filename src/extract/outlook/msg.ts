/**
 * Reads Outlook's mail files, .msg ([MS-OXMSG]): a compound file whose storages hold properties.
 *
 * In go the bytes of a file, out come its attachments, bodies and facts. A mail inside the mail is given as a
 * .msg file of its own, so that it has a hash and is taken apart like one that came alone. Nothing throws; what
 * the table of properties lacks is taken from the streams, and what the streams lack from the table.
 */

import { type Compound, type CompoundEntry, openCompound } from "../ole/compound.ts";
import { type StoredStorage, type StoredStream, writeCompound } from "../ole/write-compound.ts";
import { createReading, type Limits, type ReadingBuilder } from "../reading.ts";
import {
  describeAttachment,
  mailFacts,
  type OutlookReading,
  type Recipient,
  readBodies,
  readKind,
  readReference,
} from "./mail.ts";
import {
  collectProperties,
  DEFAULT_CODEPAGE,
  FIRST_NAMED,
  type MapiProperties,
  type MapiValue,
  NAMED_REMINDER_FILE,
  PROPERTY,
  readUint16,
  readUint32,
  storedCodepage,
  TYPE,
} from "./mapi.ts";
import { readOleObject } from "./ole-object.ts";

export const MSG_TYPE = "application/vnd.ms-outlook";

const PROPERTY_TABLE = "__properties_version1.0";
const NAMES = "__nameid_version1.0";
const NAME_ENTRIES = "__substg1.0_00030102";
const STREAM = /^__substg1\.0_([0-9a-f]{4})([0-9a-f]{4})(-[0-9a-f]{8})?$/i;
const RECIPIENT = /^__recip_version1\.0_#/i;
const ATTACHMENT = /^__attach_version1\.0_#/i;
/** Bytes before the rows of a table of properties ([MS-OXMSG] 2.4.1). */
const TOP_HEADER = 32;
const NESTED_HEADER = 24;
const OTHER_HEADER = 8;
const ROW = 16;
/** Bytes of one table that are read. */
const MAX_TABLE = 1_048_576;
const MAX_RECIPIENTS = 10_000;

/** Null for a compound file that is no mail, and for what is no compound file. */
export function readMsg(bytes: Uint8Array, limits: Limits): OutlookReading | null {
  const compound = openCompound(bytes);
  if (!compound || !isMessage(compound, null)) return null;
  const reading = createReading(limits);
  const parts = compound.children(null);
  const properties = readStorage(compound, null, TOP_HEADER, reading);
  const codepage = storedCodepage(properties) ?? DEFAULT_CODEPAGE;

  const recipients: Recipient[] = [];
  for (const part of parts) {
    if (part.kind !== "storage" || !RECIPIENT.test(part.name)) continue;
    if (recipients.length >= MAX_RECIPIENTS) {
      reading.flag("outlook_addresses_exceeded");
      break;
    }
    recipients.push(readStorage(compound, part, OTHER_HEADER, reading));
  }
  readBodies(properties, NOTHING_KNOWN, codepage, reading);
  readKind(properties, NOTHING_KNOWN, codepage, reading);
  for (const part of parts) {
    if (part.kind !== "storage" || !ATTACHMENT.test(part.name)) continue;
    if (!readAttachment(compound, part, codepage, reading)) break;
  }
  // The content of an attachment whose storage is lost.
  for (const value of properties.values.get(PROPERTY.attachData) ?? []) {
    reading.inner({ name: null, declared: null, bytes: value.read(reading.left() + 1) });
  }
  const mail = mailFacts(properties, recipients, NOTHING_KNOWN, codepage, reading);
  for (const flag of compound.flags) reading.flag(flag);
  return { ...reading.done(), mail };
}

const NOTHING_KNOWN = { messageClass: null, subject: null, body: null, from: null, date: null };

function isMessage(compound: Compound, storage: CompoundEntry | null): boolean {
  return compound
    .children(storage)
    .some(
      ({ kind, name }) => kind === "stream" && (name.toLowerCase() === PROPERTY_TABLE || STREAM.test(name)),
    );
}

/** The properties of a mail, a recipient or an attachment: rows of fixed size, and a stream for each other one. */
function readStorage(
  compound: Compound,
  storage: CompoundEntry | null,
  headerBytes: number,
  reading: ReadingBuilder,
): MapiProperties {
  const values: MapiValue[] = [];
  let table: Uint8Array | null = null;
  for (const entry of compound.children(storage)) {
    if (entry.kind !== "stream") continue;
    if (entry.name.toLowerCase() === PROPERTY_TABLE) table ??= compound.read(entry, MAX_TABLE);
    const [, id, type, item] = STREAM.exec(entry.name) ?? [];
    if (id === undefined || type === undefined) continue;
    const tag = Number.parseInt(type, 16);
    // The stream of a list without a number holds only the lengths of its items.
    if ((tag & TYPE.multiple) !== 0 && item === undefined) continue;
    values.push({
      id: Number.parseInt(id, 16),
      type: tag & ~TYPE.multiple,
      size: entry.size,
      read: (maxBytes) => compound.read(entry, maxBytes),
    });
  }
  const whole = table && table.length >= headerBytes && table.length < MAX_TABLE;
  if (!whole) reading.flag("msg_properties_broken");
  for (const value of readRows(table ?? new Uint8Array(0), headerBytes)) values.push(value);
  const properties = collectProperties(values);
  return storage === null ? { ...properties, reminderFile: reminderFile(compound, properties) } : properties;
}

function readRows(table: Uint8Array, headerBytes: number): MapiValue[] {
  const values: MapiValue[] = [];
  for (let at = headerBytes; at + ROW <= table.length; at += ROW) {
    const type = readUint16(table, at);
    const fixed = type === TYPE.int16 || type === TYPE.int32 || type === TYPE.boolean || type === TYPE.time;
    if (!fixed) continue;
    const bytes = table.subarray(at + 8, at + 16);
    values.push({ id: readUint16(table, at + 2), type, size: 8, read: (max) => bytes.subarray(0, max) });
  }
  return values;
}

/** Named properties have numbers in the order of the table of names ([MS-OXMSG] 2.2.3.1.2). */
function reminderFile(compound: Compound, { values }: MapiProperties): MapiValue | null {
  const entries = compound.find([NAMES, NAME_ENTRIES]);
  if (!entries) return null;
  const table = compound.read(entries, MAX_TABLE);
  for (let at = 0; at + 8 <= table.length; at += 8) {
    const named = (readUint16(table, at + 4) & 1) === 1;
    if (named || readUint32(table, at) !== NAMED_REMINDER_FILE) continue;
    const [value] = values.get(FIRST_NAMED + readUint16(table, at + 6)) ?? [];
    if (value) return value;
  }
  return null;
}

/** False where a bound is reached. */
function readAttachment(
  compound: Compound,
  storage: CompoundEntry,
  codepage: number,
  reading: ReadingBuilder,
): boolean {
  const properties = readStorage(compound, storage, OTHER_HEADER, reading);
  const given = describeAttachment(properties, [], codepage, reading);
  let found = false;
  for (const value of properties.values.get(PROPERTY.attachData) ?? []) {
    const content = value.read(reading.left() + 1);
    if (content.length === 0) continue;
    found = true;
    if (!reading.inner({ ...given, bytes: content })) return false;
  }
  for (const part of compound.children(storage)) {
    if (part.kind !== "storage") continue;
    found = true;
    if (isMessage(compound, part)) {
      const bytes = rebuild(compound, part, true, reading);
      if (!bytes || !reading.inner({ name: given.name, declared: MSG_TYPE, bytes })) return false;
    } else readOleObject(compound, part, given, () => rebuild(compound, part, false, reading), reading);
  }
  return readReference(properties, given, found, codepage, reading);
}

/** A storage as a compound file of its own; null where it is larger than what may still be given. */
function rebuild(
  compound: Compound,
  top: CompoundEntry,
  asMessage: boolean,
  reading: ReadingBuilder,
): Uint8Array | null {
  let left = reading.left();
  type Growing = StoredStorage & { readonly children: (StoredStorage | StoredStream)[] };
  const grow = ({ name, clsid, state }: CompoundEntry): Growing => {
    return { kind: "storage", name, clsid, state, children: [] };
  };
  const root = grow(top);
  const open: { readonly from: CompoundEntry; readonly to: Growing }[] = [{ from: top, to: root }];
  const names = asMessage ? compound.find([NAMES]) : null;
  if (names?.kind === "storage") {
    const copy = grow(names);
    root.children.push(copy);
    open.push({ from: names, to: copy });
  }
  for (let next = open.pop(); next; next = open.pop()) {
    for (const entry of compound.children(next.from)) {
      if (entry.kind === "storage") {
        const inside = grow(entry);
        next.to.children.push(inside);
        open.push({ from: entry, to: inside });
        continue;
      }
      const content = compound.read(entry, left + 1);
      left -= content.length;
      if (left < 0) {
        reading.flag("inner_bytes_exceeded");
        return null;
      }
      const table = asMessage && next.from === top && entry.name.toLowerCase() === PROPERTY_TABLE;
      next.to.children.push({
        kind: "stream",
        name: entry.name,
        content: table ? widenHeader(content) : content,
      });
    }
  }
  return writeCompound(root);
}

/** The table of a mail that stands alone has eight bytes more before its rows. */
function widenHeader(table: Uint8Array): Uint8Array {
  if (table.length < NESTED_HEADER) return table;
  const wide = new Uint8Array(table.length + TOP_HEADER - NESTED_HEADER);
  wide.set(table.subarray(0, NESTED_HEADER));
  wide.set(table.subarray(NESTED_HEADER), TOP_HEADER);
  return wide;
}
