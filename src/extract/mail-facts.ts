/**
 * Reads the facts of a mail from its parsed header.
 *
 * In go the header as mailparser gives it, out come MailFacts with bounded values that are well-formed Unicode.
 * A value that is cut is flagged; nothing here throws.
 */
import {
  type AddressObject,
  type EmailAddress,
  type HeaderLines,
  type Headers,
  type HeaderValue,
  parseAddressHeader,
} from "mailparser";
import type { MailFacts } from "./extraction.ts";

export const NO_FACTS: MailFacts = { message_id: null, subject: null, from: [], to: [], cc: [], date: null };

const MAX_SUBJECT = 8192;
const MAX_MESSAGE_ID = 998;
/** Characters of a file name. */
export const MAX_NAME = 1024;
/** RFC 5321 4.5.3.1: 64 for the local part, 255 for the domain. */
const MAX_ADDRESS = 320;

/** At most `max` addresses of each kind. */
export function readFacts(
  headers: Headers,
  lines: HeaderLines,
  max: number,
  onFlag: (flag: string) => void,
): MailFacts {
  const text = (name: string, max: number): string | null => {
    const value = headers.get(name);
    return typeof value === "string" ? cutTo(max, value, onFlag) : null;
  };
  return {
    message_id: text("message-id", MAX_MESSAGE_ID),
    subject: text("subject", MAX_SUBJECT),
    from: addresses(senders(headers, lines), max, onFlag),
    to: addresses(headers.get("to"), max, onFlag),
    cc: addresses(headers.get("cc"), max, onFlag),
    date: dateOf(lines.find(({ key }) => key === "date")?.line),
  };
}

/** At most `max` characters of a text, as well-formed Unicode. */
export function cutTo(max: number, text: string, onFlag: (flag: string) => void): string {
  if (text.length <= max) return text.toWellFormed();
  onFlag("value_cut");
  return text.slice(0, max).toWellFormed();
}

/** Of several From the parser keeps the first; which of them people see depends on their program. */
function senders(headers: Headers, lines: HeaderLines): HeaderValue | undefined {
  const written = lines
    .filter(({ key }) => key === "from")
    .map(({ line }) => line.slice(line.indexOf(":") + 1));
  return written.length > 1 ? parseAddressHeader(written) : headers.get("from");
}

/** An address that is too long loses what stands before its domain: that says whose it is. */
function cutAddress(address: string, onFlag: (flag: string) => void): string {
  const domain = address.slice(Math.max(0, address.lastIndexOf("@")));
  if (address.length <= MAX_ADDRESS || domain.length >= MAX_ADDRESS)
    return cutTo(MAX_ADDRESS, address, onFlag);
  return `${cutTo(MAX_ADDRESS - domain.length, address.slice(0, -domain.length), onFlag)}${domain.toWellFormed()}`;
}

function addresses(
  value: HeaderValue | undefined,
  max: number,
  onFlag: (flag: string) => void,
): readonly string[] {
  const found = new Set<string>();
  const waiting = (Array.isArray(value) ? value : [value]).filter(isAddresses).flatMap((part) => part.value);
  waiting.reverse();
  for (let next = waiting.pop(); next !== undefined; next = waiting.pop()) {
    if (next.group !== undefined) for (const member of next.group.toReversed()) waiting.push(member);
    if (next.address === undefined || next.address === "") continue;
    if (found.size >= max) {
      onFlag("addresses_exceeded");
      break;
    }
    found.add(cutAddress(next.address, onFlag));
  }
  return [...found];
}

function isAddresses(value: unknown): value is AddressObject & { value: EmailAddress[] } {
  return typeof value === "object" && value !== null && "value" in value && Array.isArray(value.value);
}

/** RFC 5322 3.3 and its obsolete form 4.3: day, month, year, time, zone. */
const DATE =
  /^(?:[A-Za-z]{3,9}[,.]? +)?(\d{1,2}[ -][A-Za-z]{3,9}[ -]\d{2,4} +\d{1,2}:\d{2}(?::\d{2})?(?: +(?:[+-]\d{4}|[A-Za-z]{1,5}))?)/;

/** ISO 8601 of a Date line, null where it is no date. */
function dateOf(line: string | undefined): string | null {
  if (line === undefined) return null;
  const value = line
    .slice(line.indexOf(":") + 1, 512)
    .replace(/\([^()]{0,200}\)/g, " ")
    .replace(/\s+/g, " ")
    .trim();
  const written = DATE.exec(value)?.[1];
  if (written === undefined) return null;
  const time = Date.parse(written.replace(/^(\d+)-([A-Za-z]+)-/, "$1 $2 "));
  return Number.isNaN(time) ? null : new Date(time).toISOString();
}
