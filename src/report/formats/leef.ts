/**
 * The `leef` format: IBM QRadar Log Event Extended Format 2.0, one line an event.
 *
 * Like CEF, LEEF has no lists: an event of a mail names its worst attachment and its worst URL and counts the rest.
 * LEEF has no escapes either: a delimiter in a value is written as \uXXXX, as control characters are.
 */
import { escapeControls } from "../../text.ts";
import {
  distinct,
  ipOf,
  outcomeOf,
  PRODUCT,
  scoreOf,
  sentenceOf,
  VENDOR,
  worstOf,
  worstPart,
} from "./about.ts";
import type { Format, VisibleEvent } from "./format.ts";
import { pairsOf, type Row } from "./mapping.ts";

/** Characters that may stand between attributes. */
export const LEEF_DELIMITERS = ["^", "~", ";", "!"] as const;
export type LeefDelimiter = (typeof LEEF_DELIMITERS)[number];

const row = (field: string, from: string, value: Row["value"]): Row => ({ field, from, value });

/** Predefined keys first, then keys of our own. */
export const LEEF_ROWS: readonly Row[] = [
  row("devTime", "`time`", ({ time }) => time),
  row("devTimeFormat", "always `yyyy-MM-dd'T'HH:mm:ss.SSSX`", () => "yyyy-MM-dd'T'HH:mm:ss.SSSX"),
  row("cat", "`verdict`, else `type`", ({ verdict, type }) => verdict ?? type),
  row("sev", "1 to 10 by verdict", (event) => Math.max(1, scoreOf(event))),
  row("src", "`mail.envelope.client_ip`", ({ mail }) => ipOf(mail?.envelope?.client_ip)?.ip),
  row("usrName", "`mail.envelope.to[0]`", ({ mail }) => mail?.envelope?.to?.[0]),
  row("resource", "`sensor.id`", ({ sensor }) => sensor?.id),
  row("url", "`url` of the worst URL", ({ urls }) => worstOf(urls)?.url),
  row("eventId", "`id`", ({ id }) => id),
  row("verdict", "`verdict`", ({ verdict }) => verdict),
  row("previousVerdict", "`change.from`", ({ change }) => change?.from),
  row("previousEventId", "`change.previous_event_id`", ({ change }) => change?.previous_event_id),
  row("changeId", "`change.id`", ({ change }) => change?.id),
  row("because", "`change.because`", ({ change }) => change?.because),
  row("outcome", "`success`; `failure` for mail.failed; `unknown` where not `complete`", outcomeOf),
  row("mailId", "`mail.id`", ({ mail }) => mail?.id),
  row("messageId", "`mail.message_id`", ({ mail }) => mail?.message_id),
  row("receivedAt", "`mail.received_at`", ({ mail }) => mail?.received_at),
  row("sender", "`mail.from[0]`", ({ mail }) => mail?.from?.[0]),
  row("envelopeSender", "`mail.envelope.from`", ({ mail }) => mail?.envelope?.from),
  row("recipients", "`mail.envelope.to[]`, with commas between", ({ mail }) => mail?.envelope?.to),
  row("subject", "`mail.subject`", ({ mail }) => mail?.subject),
  row("mailSize", "`mail.size`", ({ mail }) => mail?.size),
  row("attachments", "number of `attachments[]`", ({ attachments }) => attachments?.length),
  row("urls", "number of `urls[]`", ({ urls }) => urls?.length),
  row("fileName", "`filename` of the worst attachment", ({ attachments }) => worstOf(attachments)?.filename),
  row("fileHash", "`sha256` of the worst attachment", ({ attachments }) => worstOf(attachments)?.sha256),
  row("fileSize", "`size` of the worst attachment", ({ attachments }) => worstOf(attachments)?.size),
  row("fileType", "`type` of the worst attachment", ({ attachments }) => worstOf(attachments)?.type),
  row("threatNames", "`threat_names[]` of all parts", ({ attachments = [], urls = [] }) =>
    distinct([...attachments, ...urls].flatMap(({ threat_names = [] }) => threat_names)),
  ),
  row("techniques", "MITRE ATT&CK ids of all parts", ({ attachments = [], urls = [] }) =>
    distinct([...attachments, ...urls].flatMap(({ techniques = [] }) => techniques.map(({ id }) => id))),
  ),
  row("vmrayReport", "`vmray.url` of the worst part", (event) => worstPart(event)?.vmray?.url),
  row("flags", "`flags[]`, with commas between", ({ flags }) => flags),
  row("reason", "`reasons[]`, with semicolons between", ({ reasons }) => reasons?.join("; ")),
  row("state", "`state.name`", ({ state }) => state?.name),
  row("msg", "a sentence: `reasons[0]` or `state.message`", sentenceOf),
  row("truncated", "`truncated[]`, with commas between", ({ truncated }) =>
    truncated?.map((pointer) => (pointer === "" ? "/" : pointer)),
  ),
];

/** A value with nothing in it that ends a line or an attribute. */
export function escapeLeef(text: string, delimiter: string): string {
  return escapeControls(text).replaceAll(
    delimiter,
    `\\u${delimiter.charCodeAt(0).toString(16).padStart(4, "0")}`,
  );
}

const escapeHeader = (text: string): string => escapeLeef(text, "|");

/** The line of an event. */
export function writeLeef(event: VisibleEvent, delimiter: LeefDelimiter): string {
  const header = ["LEEF:2.0", VENDOR, PRODUCT, event.sensor?.version ?? "", event.type].map(escapeHeader);
  const pairs = pairsOf(LEEF_ROWS, event).map(
    ({ row: { field }, value }) => `${field}=${escapeLeef(value, delimiter)}`,
  );
  return `${header.join("|")}|${delimiter}|${pairs.join(delimiter)}`;
}

export function leefFormat(delimiter: LeefDelimiter): Format {
  return (event) => [{ event, write: (shown) => writeLeef(shown, delimiter) }];
}
