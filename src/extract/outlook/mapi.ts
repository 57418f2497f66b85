/**
 * The properties of MAPI, as winmail.dat and .msg files both hold them: numbers, types, and values decoded from
 * their bytes ([MS-OXPROPS], [MS-OXCDATA]). Nothing throws; a value that is missing or too short is null.
 */

/** Property numbers by the names of [MS-OXPROPS], without "PidTag". */
export const PROPERTY = {
  messageClass: 0x001a,
  subject: 0x0037,
  clientSubmitTime: 0x0039,
  sentRepresentingName: 0x0042,
  sentRepresentingEmailAddress: 0x0065,
  transportMessageHeaders: 0x007d,
  recipientType: 0x0c15,
  senderName: 0x0c1a,
  senderEmailAddress: 0x0c1f,
  messageDeliveryTime: 0x0e06,
  normalizedSubject: 0x0e1d,
  body: 0x1000,
  rtfCompressed: 0x1009,
  bodyHtml: 0x1013,
  internetMessageId: 0x1035,
  displayName: 0x3001,
  emailAddress: 0x3003,
  attachData: 0x3701,
  attachEncoding: 0x3702,
  attachFilename: 0x3704,
  attachMethod: 0x3705,
  attachLongFilename: 0x3707,
  attachPathname: 0x3708,
  attachLongPathname: 0x370d,
  attachMimeTag: 0x370e,
  smtpAddress: 0x39fe,
  personalHomePage: 0x3a50,
  businessHomePage: 0x3a51,
  internetCodepage: 0x3fde,
  messageLocale: 0x3ff1,
  messageCodepage: 0x3ffd,
  senderSmtpAddress: 0x5d01,
  sentRepresentingSmtpAddress: 0x5d02,
} as const;

/** Numbers from here on stand for names that each file assigns anew. */
export const FIRST_NAMED = 0x8000;
/** PidLidReminderFileParameter. */
export const NAMED_REMINDER_FILE = 0x851f;

export const TYPE = {
  int16: 0x0002,
  int32: 0x0003,
  boolean: 0x000b,
  object: 0x000d,
  string8: 0x001e,
  unicode: 0x001f,
  time: 0x0040,
  guid: 0x0048,
  binary: 0x0102,
  multiple: 0x1000,
} as const;

export const ATTACH_METHOD = {
  byReference: 2,
  byReferenceResolve: 3,
  byReferenceOnly: 4,
  webReference: 7,
} as const;

export type MapiValue = {
  readonly id: number;
  readonly type: number;
  /** Bytes the value claims to have. */
  readonly size: number;
  /** At most `maxBytes` of it. */
  readonly read: (maxBytes: number) => Uint8Array;
};

export type MapiProperties = {
  /** Values by number, in the order of the file; one number may have several. */
  readonly values: ReadonlyMap<number, readonly MapiValue[]>;
  /** The path of a reminder's sound: a named property, null where there is none. */
  readonly reminderFile: MapiValue | null;
};

/** Bytes of a property other than a body or an attachment's content that are read. */
const MAX_VALUE = 65_536;

export function collectProperties(
  all: Iterable<MapiValue>,
  reminderFile: MapiValue | null = null,
): MapiProperties {
  const values = new Map<number, MapiValue[]>();
  for (const value of all) {
    const same = values.get(value.id);
    if (same) same.push(value);
    else values.set(value.id, [value]);
  }
  return { values, reminderFile };
}

export function isText(value: MapiValue): boolean {
  return value.type === TYPE.unicode || value.type === TYPE.string8;
}

/** Decoded and cut at its first NUL. */
export function decodeValue(value: MapiValue, codepage: number, maxBytes = MAX_VALUE): string {
  const text =
    value.type === TYPE.unicode
      ? UTF16.decode(value.read(maxBytes))
      : decodeBytes(value.read(maxBytes), codepage);
  const end = text.indexOf("\0");
  return end === -1 ? text : text.slice(0, end);
}

/** The first text that is not empty, one in Unicode before one in a code page; null where there is none. */
export function textOf(properties: MapiProperties, id: number, codepage: number): string | null {
  const values = (properties.values.get(id) ?? []).slice(0, 4).filter(isText);
  values.sort((a, b) => Number(b.type === TYPE.unicode) - Number(a.type === TYPE.unicode));
  for (const value of values) {
    const text = decodeValue(value, codepage);
    if (text !== "") return text;
  }
  return null;
}

export function numberOf(properties: MapiProperties, id: number): number | null {
  for (const value of properties.values.get(id) ?? []) {
    if (value.type !== TYPE.int32 && value.type !== TYPE.int16) continue;
    const bytes = value.read(4);
    if (bytes.length >= 2) return bytes.length >= 4 ? readUint32(bytes, 0) : readUint16(bytes, 0);
  }
  return null;
}

/** ISO 8601; null for what is no date of this calendar. */
export function timeOf(properties: MapiProperties, id: number): string | null {
  const value = properties.values.get(id)?.find(({ type }) => type === TYPE.time);
  const bytes = value?.read(8);
  if (!bytes || bytes.length < 8) return null;
  return isoDate((readUint32(bytes, 4) * 2 ** 32 + readUint32(bytes, 0)) / 10_000 - 11_644_473_600_000);
}

/** ISO 8601 of milliseconds since 1970, null outside the years 1601 to 9999. */
export function isoDate(milliseconds: number): string | null {
  const inside = milliseconds > -11_644_473_600_000 && milliseconds < 253_402_300_800_000;
  return inside ? new Date(milliseconds).toISOString() : null;
}

export function readUint16(bytes: Uint8Array, at: number): number {
  return (bytes[at] ?? 0) | ((bytes[at + 1] ?? 0) << 8);
}

export function readUint32(bytes: Uint8Array, at: number): number {
  return readUint16(bytes, at) + readUint16(bytes, at + 2) * 65_536;
}

const UTF16 = new TextDecoder("utf-16le");
export const DEFAULT_CODEPAGE = 1252;

/** Windows code pages whose encoding has a name of its own; 125x and ISO 8859 are named by their number. */
const ENCODINGS: Readonly<Record<number, string>> = {
  866: "ibm866",
  874: "windows-874",
  932: "shift_jis",
  936: "gbk",
  949: "euc-kr",
  950: "big5",
  1200: "utf-16le",
  1201: "utf-16be",
  10000: "macintosh",
  10007: "x-mac-cyrillic",
  20866: "koi8-r",
  20932: "euc-jp",
  20936: "gbk",
  20949: "euc-kr",
  21866: "koi8-u",
  28600: "iso-8859-10",
  28603: "iso-8859-13",
  28605: "iso-8859-15",
  50220: "iso-2022-jp",
  50221: "iso-2022-jp",
  50222: "iso-2022-jp",
  51932: "euc-jp",
  51936: "gbk",
  51949: "euc-kr",
  54936: "gb18030",
  65001: "utf-8",
};

/** Code pages of Windows by the primary language of a locale; others are Western. */
const LANGUAGES: Readonly<Record<number, number>> = {
  1: 1256,
  2: 1251,
  4: 936,
  5: 1250,
  8: 1253,
  13: 1255,
  14: 1250,
  17: 932,
  18: 949,
  21: 1250,
  24: 1250,
  25: 1251,
  26: 1250,
  27: 1250,
  28: 1250,
  30: 874,
  31: 1254,
  32: 1256,
  34: 1251,
  35: 1251,
  36: 1250,
  37: 1257,
  38: 1257,
  39: 1257,
  41: 1256,
  42: 1258,
  47: 1251,
};
/** Chinese as written in Taiwan, Hong Kong and Macao; Serbian in Cyrillic. */
const LOCALES: Readonly<Record<number, number>> = { 1028: 950, 3076: 950, 5124: 950, 3098: 1251 };

/** The code page that texts of a mail are stored in, null where nothing tells. */
export function storedCodepage(properties: MapiProperties): number | null {
  const stated = numberOf(properties, PROPERTY.messageCodepage);
  if (stated !== null) return stated;
  const locale = numberOf(properties, PROPERTY.messageLocale);
  if (locale === null) return numberOf(properties, PROPERTY.internetCodepage);
  return LOCALES[locale] ?? LANGUAGES[locale & 0x3ff] ?? DEFAULT_CODEPAGE;
}

const decoders = new Map<string, TextDecoder>();

/** Reads windows-1252 where the code page is none that is known: its ASCII part is right nearly everywhere. */
export function decodeBytes(bytes: Uint8Array, codepage: number): string {
  const label = encodingOf(codepage) ?? "windows-1252";
  let decoder = decoders.get(label);
  if (!decoder) {
    decoder = new TextDecoder(label as Bun.Encoding);
    decoders.set(label, decoder);
  }
  return decoder.decode(bytes);
}

function encodingOf(codepage: number): string | null {
  if (codepage >= 1250 && codepage <= 1258) return `windows-${codepage}`;
  if (codepage >= 28592 && codepage <= 28598) return `iso-8859-${codepage - 28590}`;
  return ENCODINGS[codepage] ?? null;
}

/** HTML whose encoding nothing reliable tells: a mark or its zeros first, then the code page, then UTF-8. */
export function decodeHtml(bytes: Uint8Array, codepage: number | null): string {
  if (looksUtf16(bytes)) return UTF16.decode(bytes);
  if (codepage !== null && encodingOf(codepage) !== null) return decodeBytes(bytes, codepage);
  const text = decodeBytes(bytes, 65001);
  return text.includes("\ufffd") ? decodeBytes(bytes, DEFAULT_CODEPAGE) : text;
}

function looksUtf16(bytes: Uint8Array): boolean {
  if (bytes[0] === 0xff && bytes[1] === 0xfe) return true;
  return bytes.length >= 4 && bytes[0] !== 0 && bytes[1] === 0 && bytes[2] !== 0 && bytes[3] === 0;
}
