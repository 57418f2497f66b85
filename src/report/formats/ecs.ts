/**
 * The `ecs` format: Elastic Common Schema 8.11, one JSON object an event.
 *
 * Fields of ECS hold what ECS has a place for; everything of the sensor's own is below `email_sensor`. `file.*`,
 * `url.*` and `threat.indicator.*` are of the worst part, `threat.enrichments` has an entry for each bad part and
 * each indicator of compromise.
 */
import { toJsonLine } from "../../text.ts";
import {
  badParts,
  distinct,
  extensionOf,
  ipOf,
  isBad,
  isUrl,
  outcomeOf,
  PRODUCT,
  PROVIDER,
  scoreOf,
  sentenceOf,
  urlParts,
  VENDOR,
  type VisibleAttachment,
  type VisiblePart,
  worstOf,
  worstPart,
} from "./about.ts";
import type { Format, VisibleEvent } from "./format.ts";
import { objectTable, type Row } from "./mapping.ts";

const ECS_VERSION = "8.11.0";
/** Entries of threat.enrichments. */
const MAX_ENRICHMENTS = 100;

const row = (field: string, from: string, value: Row["value"]): Row => ({ field, from, value });

const hashesOf = ({ sha256, sha1, md5 }: VisibleAttachment) => ({
  ...(sha256 !== undefined && { sha256 }),
  ...(sha1 !== undefined && { sha1 }),
  ...(md5 !== undefined && { md5 }),
});

function fileOf(part: VisibleAttachment | undefined) {
  if (part === undefined) return undefined;
  const extension = extensionOf(part.filename);
  return {
    ...(typeof part.filename === "string" && { name: part.filename }),
    ...(extension !== undefined && { extension }),
    ...(part.type !== undefined && { mime_type: part.type }),
    ...(part.size !== undefined && { size: part.size }),
    hash: hashesOf(part),
  };
}

function urlOf(url: string | undefined) {
  if (url === undefined) return undefined;
  const parts = urlParts(url);
  if (parts === null) return { original: url };
  const { scheme, domain, port, path, query, fragment } = parts;
  return {
    original: url,
    full: url,
    scheme,
    domain,
    ...(port !== undefined && { port }),
    ...(path !== "" && { path }),
    ...(query !== undefined && { query }),
    ...(fragment !== undefined && { fragment }),
  };
}

/** threat.indicator of a part that is bad. */
function indicatorOf(part: VisiblePart) {
  const { threat_names = [], vmray, verdict } = part;
  return {
    type: isUrl(part) ? "url" : "file",
    provider: PROVIDER,
    confidence: verdict === "malicious" ? "High" : "Medium",
    ...(threat_names.length > 0 && { description: threat_names.join(", ") }),
    ...(typeof vmray?.url === "string" && { reference: vmray.url }),
    ...(isUrl(part) ? { url: urlOf(part.url) } : { file: fileOf(part) }),
  };
}

const iocs = ({ attachments = [], urls = [] }: VisibleEvent) =>
  [...attachments, ...urls].flatMap((part) => (part.iocs === undefined ? [] : [part.iocs]));

/** Indicators of compromise as VMRay found them, each once. */
function iocIndicators(event: VisibleEvent) {
  const all = iocs(event);
  const each = (name: "urls" | "domains" | "ips" | "files" | "email_addresses") =>
    distinct(all.flatMap((one) => one[name] ?? []));
  return [
    ...each("urls").map((url) => ({ type: "url", url: urlOf(url) })),
    ...each("domains").map((domain) => ({ type: "domain-name", url: { domain } })),
    ...each("ips").flatMap((address) => {
      const found = ipOf(address);
      return found === null ? [] : [{ type: `ipv${found.version}-addr`, ip: found.ip }];
    }),
    ...each("files").map((sha256) => ({ type: "file", file: { hash: { sha256 } } })),
    ...each("email_addresses").map((address) => ({ type: "email-addr", email: { address } })),
  ].map((indicator) => ({ indicator: { ...indicator, provider: PROVIDER } }));
}

function enrichmentsOf(event: VisibleEvent) {
  const { attachments, urls } = badParts(event);
  return [
    ...attachments.map((part) => ({
      indicator: indicatorOf(part),
      matched: { atomic: part.sha256, field: "email.attachments.file.hash.sha256" },
    })),
    ...urls.map((part) => ({
      indicator: indicatorOf(part),
      matched: { atomic: part.url, field: "url.original" },
    })),
    ...iocIndicators(event),
  ].slice(0, MAX_ENRICHMENTS);
}

const techniques = ({ attachments = [], urls = [] }: VisibleEvent) =>
  [...attachments, ...urls].flatMap(({ techniques: found = [] }) => found);

const worstBad = (event: VisibleEvent): VisiblePart | undefined => {
  const part = worstPart(event);
  return part !== undefined && isBad(part) ? part : undefined;
};

/** Attachments and URLs of the whole event: what ECS has no place for. */
const ownPart = ({ sha1: _, md5: __, size: ___, type: ____, ...part }: VisibleAttachment) => part;

/** `mail.envelope.tls` is like "TLSv1.3 TLS_AES_256_GCM_SHA384". */
const tls = ({ mail }: VisibleEvent) => /^(TLS|SSL)v?([0-9.]+)(?: (\S+))?$/.exec(mail?.envelope?.tls ?? "");

export const ECS_ROWS: readonly Row[] = [
  row("@timestamp", "`time`", ({ time }) => time),
  row("ecs.version", `always \`${ECS_VERSION}\``, () => ECS_VERSION),
  row("message", "a sentence: the type, the verdict and `reasons[0]`, or `state.message`", sentenceOf),
  row("event.id", "`id`", ({ id }) => id),
  row("event.kind", "`alert` where the verdict is malicious or suspicious, else `event`", (event) =>
    isBad(event) ? "alert" : "event",
  ),
  row(
    "event.category",
    "`email`; also `malware` where an attachment is malicious",
    ({ mail, attachments = [] }) =>
      mail === undefined
        ? ["host"]
        : ["email", ...(attachments.some(({ verdict }) => verdict === "malicious") ? ["malware"] : [])],
  ),
  row("event.type", "always `info`", () => ["info"]),
  row("event.action", "`type`", ({ type }) => type),
  row("event.outcome", "`success`; `failure` for mail.failed; `unknown` where not `complete`", outcomeOf),
  row(
    "event.severity",
    "0 to 100 by verdict: malicious 100, suspicious 70, not_available 40, clean 10",
    (event) => scoreOf(event) * 10,
  ),
  row("event.reason", "`reasons[]`, with semicolons between", ({ reasons }) => reasons?.join("; ")),
  row("event.reference", "`vmray.url` of the worst part", (event) => worstPart(event)?.vmray?.url),
  row("event.module", "always `email_sensor`", () => "email_sensor"),
  row("event.dataset", "always `email_sensor.event`", () => "email_sensor.event"),
  row("event.provider", `always \`${PROVIDER}\` where there is a verdict`, ({ verdict }) =>
    verdict === undefined ? undefined : PROVIDER,
  ),
  row("observer.vendor", `always \`${VENDOR}\``, () => VENDOR),
  row("observer.product", `always \`${PRODUCT}\``, () => PRODUCT),
  row("observer.type", "always `sensor`", () => "sensor"),
  row("observer.name", "`sensor.id`", ({ sensor }) => sensor?.id),
  row("observer.version", "`sensor.version`", ({ sensor }) => sensor?.version),
  row("email.local_id", "`mail.id`", ({ mail }) => mail?.id),
  row("email.message_id", "`mail.message_id`", ({ mail }) => mail?.message_id),
  row("email.delivery_timestamp", "`mail.received_at`", ({ mail }) => mail?.received_at),
  row("email.subject", "`mail.subject`", ({ mail }) => mail?.subject),
  row("email.from.address", "`mail.from[]`", ({ mail }) => mail?.from),
  row("email.sender.address", "`mail.envelope.from`", ({ mail }) => mail?.envelope?.from),
  row("email.to.address", "`mail.to[]`", ({ mail }) => mail?.to),
  row("email.cc.address", "`mail.cc[]`", ({ mail }) => mail?.cc),
  row(
    "email.attachments",
    "`attachments[]`: `file.name`, `.extension`, `.mime_type`, `.size`, `.hash.*`",
    (event) => event.attachments?.map((part) => ({ file: fileOf(part) })),
  ),
  row("source.ip", "`mail.envelope.client_ip`", ({ mail }) => ipOf(mail?.envelope?.client_ip)?.ip),
  row("tls.established", "whether `mail.envelope.tls` is not null", ({ mail }) =>
    mail?.envelope?.tls === undefined ? undefined : mail.envelope.tls !== null,
  ),
  row("tls.version", "`mail.envelope.tls`", (event) => tls(event)?.[2]),
  row("tls.version_protocol", "`mail.envelope.tls`", (event) => tls(event)?.[1]?.toLowerCase()),
  row("tls.cipher", "`mail.envelope.tls`", (event) => tls(event)?.[3]),
  row("file", "the worst attachment: `name`, `extension`, `mime_type`, `size`, `hash.*`", ({ attachments }) =>
    fileOf(worstOf(attachments)),
  ),
  row(
    "url",
    "the worst URL: `original`, `full`, `scheme`, `domain`, `port`, `path`, `query`, `fragment`",
    ({ urls }) => urlOf(worstOf(urls)?.url),
  ),
  row(
    "threat.indicator",
    "the worst part, where it is bad: `type`, `file.*` or `url.*`, `description` (threat names), `confidence`, `provider`, `reference`",
    (event) => {
      const part = worstBad(event);
      return part && indicatorOf(part);
    },
  ),
  row(
    "threat.enrichments",
    `bad parts, then \`iocs\` of all parts; at most ${MAX_ENRICHMENTS}`,
    enrichmentsOf,
  ),
  row("threat.framework", "always `MITRE ATT&CK` where there are techniques", (event) =>
    techniques(event).length === 0 ? undefined : "MITRE ATT&CK",
  ),
  row("threat.technique.id", "`techniques[].id` of all parts", (event) =>
    distinct(techniques(event).map(({ id }) => id)),
  ),
  row("threat.technique.name", "`techniques[].name` of all parts", (event) =>
    distinct(techniques(event).map(({ name }) => name)),
  ),
  row("threat.tactic.name", "`techniques[].tactics[]` of all parts", (event) =>
    distinct(techniques(event).flatMap(({ tactics = [] }) => tactics)),
  ),
  row("related.hash", "`sha256`, `sha1` and `md5` of `attachments[]`, `iocs.files[]`", (event) =>
    distinct([
      ...(event.attachments ?? []).flatMap(({ sha256, sha1, md5 }) => [sha256, sha1, md5]),
      ...iocs(event).flatMap(({ files = [] }) => files),
    ]),
  ),
  row("related.hosts", "hosts of `urls[]`, `iocs.domains[]`", (event) =>
    distinct([
      ...(event.urls ?? []).map(({ url }) => urlParts(url)?.domain),
      ...iocs(event).flatMap(({ domains = [] }) => domains),
    ]),
  ),
  row("related.ip", "`mail.envelope.client_ip`, `iocs.ips[]`", (event) =>
    distinct(
      [event.mail?.envelope?.client_ip, ...iocs(event).flatMap(({ ips = [] }) => ips)].map(
        (one) => ipOf(one)?.ip,
      ),
    ),
  ),
  row("related.user", "all addresses of `mail`", ({ mail }) =>
    distinct([
      mail?.envelope?.from,
      ...(mail?.envelope?.to ?? []),
      ...(mail?.from ?? []),
      ...(mail?.to ?? []),
      ...(mail?.cc ?? []),
    ]),
  ),
  row("error.message", "`reasons[0]` of mail.failed", ({ type, reasons }) =>
    type === "mail.failed" ? reasons?.[0] : undefined,
  ),
  row("email_sensor.schema", "`schema`", ({ schema }) => schema),
  row("email_sensor.verdict", "`verdict`", ({ verdict }) => verdict),
  row("email_sensor.complete", "`complete`", ({ complete }) => complete),
  row("email_sensor.envelope.to", "`mail.envelope.to[]`", ({ mail }) => mail?.envelope?.to),
  row("email_sensor.envelope.helo", "`mail.envelope.helo`", ({ mail }) => mail?.envelope?.helo),
  row("email_sensor.mail.size", "`mail.size`", ({ mail }) => mail?.size),
  row("email_sensor.mail.sha256", "`mail.sha256`", ({ mail }) => mail?.sha256),
  row("email_sensor.reasons", "`reasons[]`", ({ reasons }) => reasons),
  row(
    "email_sensor.attachments",
    "`attachments[]` without `sha1`, `md5`, `size` and `type`",
    ({ attachments }) => attachments?.map(ownPart),
  ),
  row("email_sensor.urls", "`urls[]`", ({ urls }) => urls),
  row("email_sensor.flags", "`flags[]`", ({ flags }) => flags),
  row("email_sensor.change", "`change`", ({ change }) => change),
  row("email_sensor.mails", "`mails[]`", ({ mails }) => mails),
  row("email_sensor.state", "`state`", ({ state }) => state),
  row("email_sensor.truncated", "`truncated[]`", ({ truncated }) => truncated),
];

const fill = objectTable(ECS_ROWS);

/** The object of an event; its keys are the table's. */
export const writeEcs = (event: VisibleEvent): string => toJsonLine(fill(event));

export const ecsFormat: Format = (event) => [{ event, write: writeEcs }];
