/**
 * The `cef` format: ArcSight Common Event Format (CEF:0), one line an event.
 *
 * CEF has no lists: an event of a mail names its worst attachment and its worst URL and counts the rest; events of the
 * types `attachment.verdict` and `url.verdict` name each. Values are escaped and cut to the lengths of the CEF
 * dictionary; what was cut is named in `flexString2`.
 */
import { cutText, escapeControls } from "../../text.ts";
import {
  distinct,
  ipOf,
  nameOf,
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

type CefRow = Row & { readonly max: number };

const row = (field: string, max: number, from: string, value: Row["value"]): CefRow => ({
  field,
  max,
  from,
  value,
});

/** A value with its own label: `cs1` and `cs1Label`. The label is left out with the value. */
function labelled(
  field: string,
  max: number,
  label: string,
  from: string,
  value: Row["value"],
): readonly CefRow[] {
  const has = (event: VisibleEvent) => {
    const found = value(event);
    return (
      found === undefined || found === null || found === "" || (Array.isArray(found) && found.length === 0)
    );
  };
  return [
    row(`${field}Label`, 1023, `always \`${label}\``, (event) => (has(event) ? undefined : label)),
    row(field, max, from, value),
  ];
}

const millis = (time: string | undefined) => (time === undefined ? undefined : Date.parse(time));

/** Names and lengths: ArcSight CEF implementation standard, version 26 of the dictionary. */
export const CEF_ROWS: readonly CefRow[] = [
  row("rt", 32, "`time`, milliseconds since 1970", ({ time }) => millis(time)),
  row("externalId", 40, "`id`", ({ id }) => id),
  row("dvchost", 100, "`sensor.id`", ({ sensor }) => sensor?.id),
  row("cat", 1023, "`type`", ({ type }) => type),
  row("outcome", 63, "`success`; `failure` for mail.failed; `unknown` where not `complete`", outcomeOf),
  row("app", 31, "always `SMTP`", ({ mail }) => (mail === undefined ? undefined : "SMTP")),
  row("src", 16, "`mail.envelope.client_ip`, IPv4", ({ mail }) => {
    const address = ipOf(mail?.envelope?.client_ip);
    return address?.version === 4 ? address.ip : undefined;
  }),
  ...labelled("c6a2", 64, "Source IPv6 Address", "`mail.envelope.client_ip`, IPv6", ({ mail }) => {
    const address = ipOf(mail?.envelope?.client_ip);
    return address?.version === 6 ? address.ip : undefined;
  }),
  row(
    "suser",
    1023,
    "`mail.from[0]`, else `mail.envelope.from`",
    ({ mail }) => mail?.from?.[0] ?? mail?.envelope?.from,
  ),
  row("duser", 1023, "`mail.envelope.to[]`, with commas between", ({ mail }) => mail?.envelope?.to),
  row(
    "fname",
    1023,
    "`filename` of the worst attachment",
    ({ attachments }) => worstOf(attachments)?.filename,
  ),
  row("fileHash", 255, "`sha256` of the worst attachment", ({ attachments }) => worstOf(attachments)?.sha256),
  row("fsize", 20, "`size` of the worst attachment", ({ attachments }) => worstOf(attachments)?.size),
  row("fileType", 1023, "`type` of the worst attachment", ({ attachments }) => worstOf(attachments)?.type),
  row("request", 1023, "`url` of the worst URL", ({ urls }) => worstOf(urls)?.url),
  row("reason", 1023, "`reasons[]`, with semicolons between", ({ reasons }) => reasons?.join("; ")),
  ...labelled("cs1", 4000, "verdict", "`verdict`", ({ verdict }) => verdict),
  ...labelled("cs2", 4000, "messageId", "`mail.message_id`", ({ mail }) => mail?.message_id),
  ...labelled("cs3", 4000, "subject", "`mail.subject`", ({ mail }) => mail?.subject),
  ...labelled(
    "cs4",
    4000,
    "vmrayReport",
    "`vmray.url` of the worst part",
    (event) => worstPart(event)?.vmray?.url,
  ),
  ...labelled(
    "cs5",
    4000,
    "threatNames",
    "`threat_names[]` of all parts",
    ({ attachments = [], urls = [] }) =>
      distinct([...attachments, ...urls].flatMap(({ threat_names = [] }) => threat_names)),
  ),
  ...labelled("cs6", 4000, "mailId", "`mail.id`", ({ mail }) => mail?.id),
  ...labelled(
    "cn1",
    20,
    "attachments",
    "number of `attachments[]`",
    ({ attachments }) => attachments?.length,
  ),
  ...labelled("cn2", 20, "urls", "number of `urls[]`", ({ urls }) => urls?.length),
  ...labelled("cn3", 20, "mailSize", "`mail.size`", ({ mail }) => mail?.size),
  ...labelled(
    "deviceCustomDate1",
    32,
    "receivedAt",
    "`mail.received_at`, milliseconds since 1970",
    ({ mail }) => millis(mail?.received_at),
  ),
  ...labelled(
    "flexString1",
    1023,
    "techniques",
    "MITRE ATT&CK ids of all parts",
    ({ attachments = [], urls = [] }) =>
      distinct([...attachments, ...urls].flatMap(({ techniques = [] }) => techniques.map(({ id }) => id))),
  ),
  // The dictionary has nothing for these: keys of our own are named after the product.
  row("emailSensorPreviousVerdict", 1023, "`change.from`", ({ change }) => change?.from),
  row(
    "emailSensorPreviousEventId",
    1023,
    "`change.previous_event_id`",
    ({ change }) => change?.previous_event_id,
  ),
  row("emailSensorChangeId", 1023, "`change.id`", ({ change }) => change?.id),
  row("emailSensorBecause", 1023, "`change.because`", ({ change }) => change?.because),
  row("msg", 1023, "a sentence: `reasons[0]` or `state.message`", sentenceOf),
];

/** In a header: backslash and pipe are escaped, control characters are written as escapes. */
export function escapeCefHeader(text: string): string {
  return escapeControls(text).replace(/[\\|]/g, "\\$&");
}

/** In a value: backslash and equals sign are escaped, line breaks are \n and \r, other controls as escapes. */
export function escapeCef(text: string): string {
  return text
    .split(/(\r|\n)/)
    .map((part) =>
      part === "\n" ? "\\n" : part === "\r" ? "\\r" : escapeControls(part).replace(/[\\=]/g, "\\$&"),
    )
    .join("");
}

/** The line of an event. */
export function writeCef(event: VisibleEvent): string {
  const header = [
    "CEF:0",
    VENDOR,
    PRODUCT,
    event.sensor?.version ?? "",
    event.type,
    nameOf(event),
    `${scoreOf(event)}`,
  ];
  const cut: string[] = [];
  const pairs = pairsOf(CEF_ROWS, event).map(({ row: { field, max }, value }) => {
    if (value.length > max) cut.push(field);
    return `${field}=${escapeCef(cutText(value, max))}`;
  });
  const truncated = [...(event.truncated ?? []).map((pointer) => (pointer === "" ? "/" : pointer)), ...cut];
  const flag =
    truncated.length === 0
      ? []
      : ["flexString2Label=truncated", `flexString2=${escapeCef(cutText(truncated.join(","), 1023))}`];
  return `${header.map(escapeCefHeader).join("|")}|${[...pairs, ...flag].join(" ")}`;
}

export const cefFormat: Format = (event) => [{ event, write: writeCef }];
