/**
 * Reads TNEF, the stream that Outlook and Exchange send as winmail.dat ([MS-OXTNEF]).
 *
 * In go its bytes, out come the attachments, the bodies and the facts of the mail in it. A mail inside the mail
 * is given as TNEF of its own. What is broken is flagged and read as far as it goes; bytes that belong to nothing
 * are searched for another stream. Nothing throws, and every byte is looked at a fixed number of times.
 */

import { isCompound, openCompound } from "../ole/compound.ts";
import { createReading, type Inner, type Limits, type ReadingBuilder } from "../reading.ts";
import {
  type Description,
  describeAttachment,
  type KnownMail,
  MAX_NAME,
  mailFacts,
  type OutlookReading,
  type Recipient,
  readAddresses,
  readBodies,
  readKind,
  readReference,
} from "./mail.ts";
import {
  collectProperties,
  DEFAULT_CODEPAGE,
  decodeBytes,
  FIRST_NAMED,
  isoDate,
  isText,
  type MapiValue,
  NAMED_REMINDER_FILE,
  PROPERTY,
  readUint16,
  readUint32,
  TYPE,
} from "./mapi.ts";
import { readOleObject } from "./ole-object.ts";

const SIGNATURE = 0x223e9f78;
const SIGNATURE_START = 0x78;
const HEADER_BYTES = 6;
const LEVEL_MESSAGE = 1;
const LEVEL_ATTACHMENT = 2;

/** Numbers of attributes by the names of [MS-OXTNEF] 2.1.3, without "att". */
const ATTRIBUTE = {
  from: 0x8000,
  subject: 0x8004,
  dateSent: 0x8005,
  messageClass: 0x8008,
  body: 0x800c,
  attachData: 0x800f,
  attachTitle: 0x8010,
  attachTransportFilename: 0x9001,
  attachRenderData: 0x9002,
  properties: 0x9003,
  recipients: 0x9004,
  attachment: 0x9005,
  oemCodepage: 0x9007,
} as const;

/** All that the format has; some readers go by the number of an attribute, others by its level. */
const ATTACHMENT_ATTRIBUTES: ReadonlySet<number> = new Set([
  ATTRIBUTE.attachData,
  ATTRIBUTE.attachTitle,
  0x8011,
  0x8012,
  0x8013,
  ATTRIBUTE.attachTransportFilename,
  ATTRIBUTE.attachRenderData,
  ATTRIBUTE.attachment,
]);

/** Bytes of one text that is no property. */
const MAX_TEXT = 8_388_608;
/** Rows of the table of recipients that are read. */
const MAX_RECIPIENTS = 10_000;

export function isTnef(bytes: Uint8Array): boolean {
  return bytes.length >= 4 && readUint32(bytes, 0) === SIGNATURE;
}

export function readTnef(bytes: Uint8Array, limits: Limits): OutlookReading {
  const reading = createReading(limits);
  const mail = createMail();
  let streams = 0;
  let at = findSignature(bytes, 0);
  if (at !== 0) reading.flag("tnef_garbage");
  while (at !== -1) {
    if (++streams === 2) reading.flag("tnef_several_streams");
    const end = readAttributes(bytes, at + HEADER_BYTES, mail, reading);
    if (end < bytes.length) reading.flag("tnef_garbage");
    at = findSignature(bytes, end);
  }
  const { codepage } = mail;
  const text = (bytes: Uint8Array | null): string | null => {
    if (bytes === null) return null;
    if (bytes.length > MAX_TEXT) reading.flag("outlook_body_exceeded");
    return decodeZeroEnded(bytes.subarray(0, MAX_TEXT), codepage);
  };
  const known: KnownMail = {
    messageClass: text(mail.messageClass),
    subject: text(mail.subject),
    body: text(mail.body),
    from: mail.from,
    date: mail.date,
  };
  const properties = collectProperties(mail.values, mail.reminderFile);
  readBodies(properties, known, codepage, reading);
  readKind(properties, known, codepage, reading);
  for (const attachment of mail.attachments) {
    if (!readAttachment(attachment, codepage, reading)) break;
  }
  const facts = mailFacts(properties, mail.recipients, known, codepage, reading);
  return { ...reading.done(), mail: facts };
}

type Attachment = {
  title: Uint8Array | null;
  transportName: Uint8Array | null;
  data: Uint8Array | null;
  macBinary: boolean;
  values: MapiValue[];
};

type Mail = {
  codepage: number;
  subject: Uint8Array | null;
  messageClass: Uint8Array | null;
  body: Uint8Array | null;
  from: string | null;
  date: string | null;
  reminderFile: MapiValue | null;
  readonly values: MapiValue[];
  readonly recipients: Recipient[];
  readonly attachments: Attachment[];
};

function createMail(): Mail {
  return {
    codepage: DEFAULT_CODEPAGE,
    subject: null,
    messageClass: null,
    body: null,
    from: null,
    date: null,
    reminderFile: null,
    values: [],
    recipients: [],
    attachments: [],
  };
}

function findSignature(bytes: Uint8Array, from: number): number {
  let at = bytes.indexOf(SIGNATURE_START, from);
  while (at !== -1 && readUint32(bytes, at) !== SIGNATURE) at = bytes.indexOf(SIGNATURE_START, at + 1);
  return at;
}

/** Where the stream ends: the first byte that begins no attribute. */
function readAttributes(bytes: Uint8Array, from: number, mail: Mail, reading: ReadingBuilder): number {
  let at = from;
  while (at < bytes.length) {
    const level = bytes[at];
    if (level !== LEVEL_MESSAGE && level !== LEVEL_ATTACHMENT) return at;
    if (at + 9 > bytes.length) {
      reading.flag("tnef_truncated");
      return bytes.length;
    }
    const id = readUint16(bytes, at + 1);
    const start = at + 9;
    const end = start + readUint32(bytes, at + 5);
    const data = bytes.subarray(start, end);
    if (end + 2 > bytes.length) reading.flag("tnef_truncated");
    else if (readUint16(bytes, end) !== sum(data)) reading.flag("tnef_checksum_wrong");
    const ofAttachment = ATTACHMENT_ATTRIBUTES.has(id);
    if (ofAttachment !== (level === LEVEL_ATTACHMENT)) reading.flag("tnef_level_wrong");
    if (ofAttachment) readAttachmentAttribute(id, data, mail, reading);
    else readMessageAttribute(id, data, mail, reading);
    at = end + 2;
  }
  return Math.min(at, bytes.length);
}

function sum(data: Uint8Array): number {
  let total = 0;
  for (const byte of data) total += byte;
  return total & 0xffff;
}

function readMessageAttribute(id: number, data: Uint8Array, mail: Mail, reading: ReadingBuilder): void {
  switch (id) {
    case ATTRIBUTE.oemCodepage:
      if (data.length >= 4) mail.codepage = readUint32(data, 0);
      return;
    case ATTRIBUTE.subject:
      mail.subject ??= data;
      return;
    case ATTRIBUTE.messageClass:
      mail.messageClass ??= data;
      return;
    case ATTRIBUTE.body:
      mail.body ??= data;
      return;
    case ATTRIBUTE.dateSent:
      mail.date ??= readDate(data);
      return;
    case ATTRIBUTE.from:
      mail.from ??= readFrom(data);
      return;
    case ATTRIBUTE.properties: {
      const block = readProperties(data, 0, reading);
      for (const value of block.values) mail.values.push(value);
      mail.reminderFile ??= block.reminderFile;
      return;
    }
    case ATTRIBUTE.recipients:
      readRecipients(data, mail, reading);
      return;
  }
}

function readAttachmentAttribute(id: number, data: Uint8Array, mail: Mail, reading: ReadingBuilder): void {
  const last = mail.attachments.at(-1);
  const begin = (): Attachment => {
    const next: Attachment = { title: null, transportName: null, data: null, macBinary: false, values: [] };
    mail.attachments.push(next);
    return next;
  };
  if (id === ATTRIBUTE.attachRenderData) {
    begin().macBinary = data.length >= 14 && (readUint32(data, 10) & 1) === 1;
    return;
  }
  const current = last ?? begin();
  switch (id) {
    case ATTRIBUTE.attachTitle:
      current.title ??= data;
      return;
    case ATTRIBUTE.attachTransportFilename:
      current.transportName ??= data;
      return;
    case ATTRIBUTE.attachData:
      // A second content without a new beginning is one that other readers may take instead.
      if (current.data === null) current.data = data;
      else begin().data = data;
      return;
    case ATTRIBUTE.attachment: {
      const { values } = readProperties(data, 0, reading);
      for (const value of values) current.values.push(value);
      return;
    }
  }
}

/** Year, month, day, hour, minute, second as 16-bit numbers. The zone is not told: taken as UTC. */
function readDate(data: Uint8Array): string | null {
  if (data.length < 12) return null;
  const field = (index: number): number => readUint16(data, index * 2);
  const year = field(0);
  if (year < 1601 || year > 9999 || field(1) < 1 || field(1) > 12) return null;
  return isoDate(Date.UTC(year, field(1) - 1, field(2), field(3), field(4), field(5)));
}

/** A TRP structure: lengths, the name, and an address such as "SMTP:a@b.example". */
function readFrom(data: Uint8Array): string | null {
  const addressAt = 8 + readUint16(data, 4);
  const address = decodeBytes(data.subarray(addressAt, addressAt + Math.min(readUint16(data, 6), 512)), 0);
  const [text = ""] = address.split("\0", 1);
  return readAddresses(text.replace(/^smtp:/i, ""))[0] ?? null;
}

function readRecipients(data: Uint8Array, mail: Mail, reading: ReadingBuilder): void {
  const rows = readUint32(data, 0);
  let at = 4;
  for (let row = 0; row < rows && at < data.length; row++) {
    if (mail.recipients.length >= MAX_RECIPIENTS) {
      reading.flag("outlook_addresses_exceeded");
      return;
    }
    const block = readProperties(data, at, reading);
    mail.recipients.push(collectProperties(block.values));
    at = block.end;
  }
}

type Block = {
  readonly values: readonly MapiValue[];
  readonly reminderFile: MapiValue | null;
  readonly end: number;
};

/** Bytes of one value of a type of fixed size; null for the types that state their size. */
function fixedBytes(type: number): number | null {
  switch (type) {
    case 0x0000:
    case 0x0001:
      return 0;
    case TYPE.int16:
    case TYPE.int32:
    case 0x0004:
    case 0x000a:
    case TYPE.boolean:
      return 4;
    case 0x0005:
    case 0x0006:
    case 0x0007:
    case 0x0014:
    case TYPE.time:
      return 8;
    case TYPE.guid:
      return 16;
    default:
      return null;
  }
}

function isSized(type: number): boolean {
  return type === TYPE.string8 || type === TYPE.unicode || type === TYPE.binary || type === TYPE.object;
}

/** A count of properties and the properties ([MS-OXTNEF] 2.1.3.4); ends where one is of no known type. */
function readProperties(data: Uint8Array, from: number, reading: ReadingBuilder): Block {
  const values: MapiValue[] = [];
  let reminderFile: MapiValue | null = null;
  const count = readUint32(data, from);
  let at = from + 4;
  const broken = (): Block => {
    reading.flag("tnef_properties_broken");
    return { values, reminderFile, end: data.length };
  };
  for (let index = 0; index < count; index++) {
    if (at + 4 > data.length) return broken();
    const tag = readUint16(data, at);
    const id = readUint16(data, at + 2);
    at += 4;
    let local: number | null = null;
    if (id >= FIRST_NAMED) {
      if (at + 24 > data.length) return broken();
      const named = readUint32(data, at + 16);
      const detail = readUint32(data, at + 20);
      at += 24;
      if (named === 0) local = detail;
      else at += padded(detail);
    }
    const type = tag & ~TYPE.multiple;
    const sized = isSized(type);
    const fixed = fixedBytes(type);
    if (!sized && fixed === null) return broken();
    let items = 1;
    if (sized || tag !== type) {
      if (at + 4 > data.length) return broken();
      items = readUint32(data, at);
      at += 4;
    }
    for (let item = 0; item < items && fixed !== 0; item++) {
      if (at + 4 > data.length) return broken();
      const size = sized ? readUint32(data, at) : (fixed ?? 0);
      if (sized) at += 4;
      const bytes = data.subarray(at, at + size);
      const value: MapiValue = { id, type, size: bytes.length, read: (max) => bytes.subarray(0, max) };
      values.push(value);
      if (local === NAMED_REMINDER_FILE && isText(value)) reminderFile ??= value;
      if (at + size > data.length) return broken();
      at += padded(size);
    }
  }
  return { values, reminderFile, end: Math.min(at, data.length) };
}

function padded(size: number): number {
  return Math.ceil(size / 4) * 4;
}

function decodeZeroEnded(bytes: Uint8Array, codepage: number): string {
  const end = bytes.indexOf(0);
  return decodeBytes(end === -1 ? bytes : bytes.subarray(0, end), codepage);
}

/** False where a bound is reached. */
function readAttachment(attachment: Attachment, codepage: number, reading: ReadingBuilder): boolean {
  const properties = collectProperties(attachment.values);
  const titles = [attachment.title, attachment.transportName].map(
    (bytes) => bytes && decodeZeroEnded(bytes.subarray(0, MAX_NAME * 4), codepage),
  );
  const given = describeAttachment(properties, titles, codepage, reading);
  const mac = attachment.data && attachment.macBinary ? readMacBinary(attachment.data) : null;
  const data = mac ?? attachment.data;
  let found = false;
  let more = true;
  const give = (inner: Inner): void => {
    if (inner.bytes.length === 0 || (found && data && sameBytes(data, inner.bytes))) return;
    found = true;
    more = reading.inner(inner) && more;
  };
  if (data) give({ ...given, bytes: data });
  for (const value of properties.values.get(PROPERTY.attachData) ?? []) {
    if (!more) return false;
    const bytes = value.read(value.size);
    if (value.type === TYPE.object) found = readObject(bytes, given, give, reading) || found;
    else if (value.type === TYPE.binary) give({ ...given, bytes });
  }
  return more && readReference(properties, given, found, codepage, reading);
}

/** The interface that an object is stored by comes before it. */
const GUID_BYTES = 16;

/** False where there is nothing in it. */
function readObject(
  value: Uint8Array,
  given: Description,
  give: (inner: Inner) => void,
  reading: ReadingBuilder,
): boolean {
  const bare = isTnef(value) || isCompound(value);
  const bytes = bare ? value : value.subarray(GUID_BYTES);
  if (isTnef(bytes)) {
    give({ name: given.name, declared: "application/vnd.ms-tnef", bytes });
    return true;
  }
  const compound = openCompound(bytes);
  if (!compound) {
    give({ ...given, bytes });
    return bytes.length > 0;
  }
  readOleObject(compound, null, given, () => bytes, reading);
  for (const flag of compound.flags) reading.flag(flag);
  return true;
}

function sameBytes(one: Uint8Array, other: Uint8Array): boolean {
  return one.length === other.length && Buffer.compare(one, other) === 0;
}

const MAC_HEADER = 128;

/** The data fork of a file in MacBinary; null where its header does not fit. */
function readMacBinary(bytes: Uint8Array): Uint8Array | null {
  if (bytes.length < MAC_HEADER || bytes[0] !== 0 || bytes[74] !== 0) return null;
  const nameLength = bytes[1] ?? 0;
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const size = view.getUint32(83);
  if (nameLength === 0 || nameLength > 63 || size === 0 || MAC_HEADER + size > bytes.length) return null;
  return bytes.subarray(MAC_HEADER, MAC_HEADER + size);
}
