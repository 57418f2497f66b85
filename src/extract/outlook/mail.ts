/**
 * What winmail.dat and .msg files have in common once their properties are known: the facts of the mail, its
 * bodies as texts, and what kind of item it is.
 */

import type { MailFacts } from "../extraction.ts";
import type { Inner, Reading, ReadingBuilder } from "../reading.ts";
import { decompressRtf } from "./compressed-rtf.ts";
import {
  ATTACH_METHOD,
  decodeBytes,
  decodeHtml,
  decodeValue,
  FIRST_NAMED,
  isText,
  type MapiProperties,
  type MapiValue,
  numberOf,
  PROPERTY,
  TYPE,
  textOf,
  timeOf,
} from "./mapi.ts";
import { readRtfBody } from "./rtf-body.ts";

export type OutlookReading = Reading & { readonly mail: MailFacts };

/** A row of the table of recipients. */
export type Recipient = MapiProperties;

const MAX_SUBJECT = 8192;
const MAX_MESSAGE_ID = 998;
const MAX_ADDRESS = 320;
const MAX_ADDRESSES = 1000;
/** Characters of a file name. */
export const MAX_NAME = 1024;
/** Characters of a media type. */
const MAX_TYPE = 255;
/** Bytes of a stored mail header that are read. */
const MAX_HEADERS = 262_144;
const RECIPIENT_TO = 1;
const RECIPIENT_CC = 2;

/** What is known of a mail elsewhere than in its properties; it stands where they are silent. */
export type KnownMail = {
  readonly messageClass: string | null;
  readonly body: string | null;
  readonly subject: string | null;
  readonly from: string | null;
  readonly date: string | null;
};

export function mailFacts(
  properties: MapiProperties,
  recipients: readonly Recipient[],
  known: KnownMail,
  codepage: number,
  reading: ReadingBuilder,
): MailFacts {
  const headers = readHeaders(properties, codepage);
  const cut = (text: string | null, max: number): string | null => cutText(text, max, reading);
  const subject = textOf(properties, PROPERTY.subject, codepage);
  const listed = (kind: number): readonly string[] =>
    recipients
      .filter((row) => ((numberOf(row, PROPERTY.recipientType) ?? RECIPIENT_TO) & 0xf) === kind)
      .map((row) => addressOf(row, [PROPERTY.smtpAddress, PROPERTY.emailAddress], codepage))
      .filter((address) => address !== null);
  const first = (...choices: readonly (readonly string[])[]): readonly string[] =>
    boundAddresses(choices.find((choice) => choice.length > 0) ?? [], reading);
  const sender = addressOf(
    properties,
    [
      PROPERTY.sentRepresentingSmtpAddress,
      PROPERTY.sentRepresentingEmailAddress,
      PROPERTY.senderSmtpAddress,
      PROPERTY.senderEmailAddress,
      PROPERTY.sentRepresentingName,
      PROPERTY.senderName,
    ],
    codepage,
  );
  return {
    message_id: cut(
      textOf(properties, PROPERTY.internetMessageId, codepage) ?? headers.get("message-id") ?? null,
      MAX_MESSAGE_ID,
    ),
    subject: cut(
      (subject === null ? null : withoutPrefixMark(subject)) ??
        known.subject ??
        textOf(properties, PROPERTY.normalizedSubject, codepage),
      MAX_SUBJECT,
    ),
    from: first(
      sender === null ? [] : [sender],
      readAddresses(headers.get("from")),
      known.from === null ? [] : [known.from],
    ),
    to: first(listed(RECIPIENT_TO), readAddresses(headers.get("to"))),
    cc: first(listed(RECIPIENT_CC), readAddresses(headers.get("cc"))),
    date:
      timeOf(properties, PROPERTY.clientSubmitTime) ??
      known.date ??
      headerDate(headers.get("date")) ??
      timeOf(properties, PROPERTY.messageDeliveryTime),
  };
}

/** Stored subjects may begin with 1 and the length of their "Re: " ([MS-OXCMSG] 2.2.1.9 in its stored form). */
function withoutPrefixMark(subject: string): string {
  return subject.charCodeAt(0) === 1 ? subject.slice(2) : subject;
}

export function cutText(text: string | null, max: number, reading: ReadingBuilder): string | null {
  if (text === null) return null;
  if (text.length > max) reading.flag("outlook_value_cut");
  return text.slice(0, max).toWellFormed();
}

/** The first of the properties that is an address of the Internet, not one of Exchange's directory. */
function addressOf(properties: MapiProperties, ids: readonly number[], codepage: number): string | null {
  for (const id of ids) {
    const address = textOf(properties, id, codepage)?.trim();
    if (!address?.includes("@") || address.startsWith("/")) continue;
    const [first] = /\s/.test(address) ? readAddresses(address) : [address];
    if (first !== undefined) return first;
  }
  return null;
}

function boundAddresses(addresses: readonly string[], reading: ReadingBuilder): readonly string[] {
  const found = new Set<string>();
  for (const address of addresses) {
    if (found.size >= MAX_ADDRESSES) {
      reading.flag("outlook_addresses_exceeded");
      break;
    }
    found.add(cutText(address, MAX_ADDRESS, reading) ?? "");
  }
  return [...found];
}

/** The header that came over the Internet, by lower case name; the first of each. */
function readHeaders(properties: MapiProperties, codepage: number): ReadonlyMap<string, string> {
  const value = properties.values.get(PROPERTY.transportMessageHeaders)?.find(isText);
  const headers = new Map<string, string>();
  if (!value) return headers;
  let name = "";
  let lines: string[] = [];
  const keep = (): void => {
    if (name !== "" && !headers.has(name)) headers.set(name, lines.join(" ").trim());
  };
  for (const line of decodeValue(value, codepage, MAX_HEADERS).split(/\r\n|\r|\n/)) {
    if (line.startsWith(" ") || line.startsWith("\t")) {
      lines.push(line.trim());
      continue;
    }
    keep();
    const colon = line.indexOf(":");
    name = colon > 0 ? line.slice(0, colon).trim().toLowerCase() : "";
    lines = [line.slice(colon + 1)];
  }
  keep();
  return headers;
}

/** The addresses of a header, without names and comments. */
export function readAddresses(header: string | undefined): readonly string[] {
  const found: string[] = [];
  let bare = "";
  let angle: string | null = null;
  let quoted = false;
  let comment = 0;
  const finish = (): void => {
    const address = (angle ?? bare).trim();
    if (address.includes("@") && !/\s/.test(address)) found.push(address);
    bare = "";
    angle = null;
  };
  let open = false;
  const text = (header ?? "").slice(0, MAX_HEADERS);
  for (let at = 0; at < text.length; at++) {
    const character = text[at] ?? "";
    if (quoted) {
      if (character === "\\") at++;
      else if (character === '"') quoted = false;
    } else if (comment > 0) {
      if (character === "\\") at++;
      else if (character === "(") comment++;
      else if (character === ")") comment--;
    } else if (open) {
      if (character === ">") open = false;
      else angle += character;
    } else if (character === '"') quoted = true;
    else if (character === "(") comment++;
    else if (character === "<") {
      open = true;
      angle = "";
    } else if (character === ",") finish();
    else if (character === ":") bare = "";
    else if (character === ";") finish();
    else bare += character;
  }
  finish();
  return found;
}

function headerDate(header: string | undefined): string | null {
  if (header === undefined) return null;
  const time = Date.parse(header.slice(0, 64).replace(/\([^()]*\)?/g, " "));
  return Number.isNaN(time) ? null : new Date(time).toISOString();
}

/** Bytes of one form of a body that are read; those of an RTF body are unpacked ones. */
const MAX_BODY = 8_388_608;

function readBody(value: MapiValue, reading: ReadingBuilder): Uint8Array {
  const most = Math.min(MAX_BODY, reading.left());
  const bytes = value.read(most + 1);
  if (bytes.length <= most) return bytes;
  reading.flag("outlook_body_exceeded");
  return bytes.subarray(0, most);
}

/** Gives every form of the body, each text once. An item that is no mail is shown with the texts of its fields. */
export function readBodies(
  properties: MapiProperties,
  known: KnownMail,
  codepage: number,
  reading: ReadingBuilder,
): void {
  const given = new Set<string>();
  const give = (kind: "text" | "html", text: string, source: string): void => {
    if (text.trim() === "" || given.has(text)) return;
    given.add(text);
    reading.text({ kind, text, source });
  };
  if (known.body !== null) give("text", known.body, "text");
  for (const value of properties.values.get(PROPERTY.body) ?? []) {
    if (value.type === TYPE.binary) give("text", decodeBytes(readBody(value, reading), codepage), "text");
    else if (isText(value)) give("text", wholeText(value, codepage, reading), "text");
  }
  for (const value of properties.values.get(PROPERTY.bodyHtml) ?? []) {
    const html =
      value.type === TYPE.unicode
        ? wholeText(value, codepage, reading)
        : decodeHtml(readBody(value, reading), numberOf(properties, PROPERTY.internetCodepage));
    give("html", html, "html");
  }
  for (const value of properties.values.get(PROPERTY.rtfCompressed) ?? []) {
    if (value.type === TYPE.binary) readRtf(value, reading, give);
  }
  if (!isNote(messageClass(properties, known, codepage))) {
    give("text", namedTexts(properties, codepage, reading).join("\n"), "outlook");
  }
}

function wholeText(value: MapiValue, codepage: number, reading: ReadingBuilder): string {
  const bytes = readBody(value, reading);
  return decodeBytes(bytes, value.type === TYPE.unicode ? 1200 : codepage).replace(/\0+$/, "");
}

function readRtf(
  value: MapiValue,
  reading: ReadingBuilder,
  give: (kind: "text" | "html", text: string, source: string) => void,
): void {
  const packed = readBody(value, reading);
  if (packed.length === 0) return;
  const { rtf, broken, exceeded } = decompressRtf(packed, Math.min(MAX_BODY, reading.left()));
  if (broken) reading.flag("rtf_broken");
  if (exceeded) reading.flag("outlook_body_exceeded");
  const body = readRtfBody(rtf);
  give(body.kind, body.text, body.kind);
  if (body.active) reading.inner({ name: "body.rtf", declared: "application/rtf", bytes: rtf });
}

/** Bytes of the texts of named properties that are read. */
const MAX_NAMED = 262_144;

function namedTexts(properties: MapiProperties, codepage: number, reading: ReadingBuilder): string[] {
  const texts: string[] = [];
  let left = MAX_NAMED;
  for (const [id, values] of properties.values) {
    if (id < FIRST_NAMED && id !== PROPERTY.personalHomePage && id !== PROPERTY.businessHomePage) continue;
    for (const value of values) {
      if (!isText(value)) continue;
      if (left <= 0) {
        reading.flag("outlook_value_cut");
        return texts;
      }
      const text = decodeValue(value, codepage, left);
      left -= text.length;
      if (text !== "") texts.push(text);
    }
  }
  return texts;
}

function messageClass(properties: MapiProperties, known: KnownMail, codepage: number): string {
  return (textOf(properties, PROPERTY.messageClass, codepage) ?? known.messageClass ?? "").toLowerCase();
}

/** An ordinary mail, as TNEF and MAPI name it. The texts of its other properties are marks of programs. */
function isNote(kind: string): boolean {
  return /^ipm\.(?:microsoft mail\.)?note/.test(kind);
}

/** Facts from the class of the item, and from a reminder that reaches over the network. */
export function readKind(
  properties: MapiProperties,
  known: KnownMail,
  codepage: number,
  reading: ReadingBuilder,
): void {
  const kind = messageClass(properties, known, codepage);
  if (kind.includes(".smime")) reading.fact("outlook_signed");
  if (/^ipm\.(?:microsoft )?(?:schedule|appointment)/.test(kind)) reading.fact("outlook_meeting");
  if (/^ipm\.(?:contact|distlist)/.test(kind)) reading.fact("outlook_contact");
  const { reminderFile } = properties;
  if (!reminderFile || !isText(reminderFile)) return;
  if (/^(?:[\\/]{2}|[a-z]{2,}:)/i.test(decodeValue(reminderFile, codepage))) {
    reading.fact("outlook_reminder_file");
  }
}

/** What an attachment is called and declared as, from its properties; `titles` are names it has elsewhere. */
export function describeAttachment(
  properties: MapiProperties,
  titles: readonly (string | null)[],
  codepage: number,
  reading: ReadingBuilder,
): Description {
  const name =
    textOf(properties, PROPERTY.attachLongFilename, codepage) ??
    titles.find((title) => title !== null && title !== "") ??
    textOf(properties, PROPERTY.attachFilename, codepage) ??
    textOf(properties, PROPERTY.displayName, codepage);
  const declared = textOf(properties, PROPERTY.attachMimeTag, codepage)?.trim().toLowerCase() ?? null;
  return { name: cutText(name, MAX_NAME, reading), declared: cutText(declared, MAX_TYPE, reading) };
}

export type Description = Pick<Inner, "name" | "declared">;

/**
 * The links of an attachment that lies elsewhere, which may have a stand-in as its content. One that has neither
 * is an empty file. False where a bound is reached.
 */
export function readReference(
  properties: MapiProperties,
  given: Description,
  found: boolean,
  codepage: number,
  reading: ReadingBuilder,
): boolean {
  const path =
    textOf(properties, PROPERTY.attachLongPathname, codepage) ??
    textOf(properties, PROPERTY.attachPathname, codepage);
  const method = numberOf(properties, PROPERTY.attachMethod);
  const elsewhere = method !== null && REFERENCES.has(method);
  const targets = elsewhere ? [path, ...namedTexts(properties, codepage, reading)] : [path];
  for (const target of targets) {
    if (target !== null && /^[a-z][a-z0-9+.-]*:\/\//i.test(target)) reading.url(target, "outlook");
  }
  if (elsewhere || (path !== null && !found)) reading.flag("outlook_attachment_elsewhere");
  else if (!found) {
    reading.flag("outlook_attachment_empty");
    return reading.inner({ ...given, bytes: new Uint8Array(0) });
  }
  return true;
}

const REFERENCES: ReadonlySet<number> = new Set([
  ATTACH_METHOD.byReference,
  ATTACH_METHOD.byReferenceResolve,
  ATTACH_METHOD.byReferenceOnly,
  ATTACH_METHOD.webReference,
]);
