/**
 * The `ocsf` format: Open Cybersecurity Schema Framework 1.5, several JSON objects an event.
 *
 * A mail becomes an Email Activity (4009), an Email File Activity (4011) for each attachment, an Email URL Activity
 * (4012) for each URL, all with the same `email_uid`, and a Detection Finding (2004) where the verdict is malicious
 * or suspicious, or was; what happens to the sensor itself becomes a Base Event (0). `metadata.uid` tells the objects of one
 * event apart and stays the same when they are sent again; `metadata.correlation_uid` is the id of the event.
 */
import { toJsonLine } from "../../text.ts";
import type { Verdict } from "../../verdict/verdict.ts";
import type { SensorEvent } from "../event.ts";
import { ofPart } from "../split.ts";
import {
  badParts,
  distinct,
  ipOf,
  isBad,
  isUrl,
  nameOf,
  outcomeOf,
  PRODUCT,
  PROVIDER,
  sentenceOf,
  urlParts,
  VENDOR,
  type VisibleAttachment,
  type VisiblePart,
  worstPart,
} from "./about.ts";
import type { Format, Piece, VisibleEvent } from "./format.ts";
import { objectTable, type Row } from "./mapping.ts";

const OCSF_VERSION = "1.5.0";

const row = (field: string, from: string, value: Row["value"]): Row => ({ field, from, value });
const millis = (time: string | undefined) => (time === undefined ? undefined : Date.parse(time));

/** Severity: 1 informational, 2 low, 3 medium, 4 high, 5 critical. */
function severityId({ type, verdict, complete }: VisibleEvent): 1 | 2 | 3 | 4 | 5 {
  if (type === "mail.failed") return 3;
  if (verdict === "malicious") return 5;
  if (verdict === "suspicious") return 4;
  return verdict === "not_available" || complete === false ? 2 : 1;
}

const SEVERITIES = { 1: "Informational", 2: "Low", 3: "Medium", 4: "High", 5: "Critical" } as const;
const STATUSES = { success: [1, "Success"], failure: [2, "Failure"], unknown: [0, "Unknown"] } as const;

/** What of the event itself has no attribute in OCSF. */
const unmapped = (event: VisibleEvent) => ({
  type: event.type,
  ...(event.verdict !== undefined && { verdict: event.verdict }),
  ...(event.complete !== undefined && { complete: event.complete }),
  ...(event.flags !== undefined && { flags: event.flags }),
  ...(event.change !== undefined && { change: event.change }),
  ...(event.state?.name !== undefined && { state: event.state.name }),
  ...(event.truncated !== undefined && { truncated: event.truncated }),
});

const shared = (suffix: string): readonly Row[] => [
  row(
    "severity_id",
    "by verdict: malicious 5, suspicious 4, not_available 2, clean 1; mail.failed 3",
    severityId,
  ),
  row("severity", "its name", (event) => SEVERITIES[severityId(event)]),
  row("time", "`time`, milliseconds since 1970", ({ time }) => millis(time)),
  row("message", "a sentence: the type, the verdict and `reasons[0]`, or `state.message`", sentenceOf),
  row("metadata.version", `always \`${OCSF_VERSION}\``, () => OCSF_VERSION),
  row("metadata.product.name", `always \`${PRODUCT}\``, () => PRODUCT),
  row("metadata.product.vendor_name", `always \`${VENDOR}\``, () => VENDOR),
  row("metadata.product.version", "`sensor.version`", ({ sensor }) => sensor?.version),
  row("metadata.uid", "`id`, and which of its objects", ({ id }) => `${id}${suffix}`),
  row("metadata.correlation_uid", "`id`", ({ id }) => id),
  row("metadata.event_code", "`type`", ({ type }) => type),
  row("metadata.log_provider", "`sensor.id`", ({ sensor }) => sensor?.id),
  row("metadata.original_time", "`time`", ({ time }) => time),
];

type Numbered = readonly [number, string];

const classed = (
  category: Numbered,
  kind: Numbered,
  activity: (event: VisibleEvent) => Numbered,
  activities: string,
): readonly Row[] => [
  row("category_uid", `always ${category[0]}`, () => category[0]),
  row("category_name", `always \`${category[1]}\``, () => category[1]),
  row("class_uid", `always ${kind[0]}`, () => kind[0]),
  row("class_name", `always \`${kind[1]}\``, () => kind[1]),
  row("activity_id", activities, (event) => activity(event)[0]),
  row("activity_name", "its name", (event) => activity(event)[1]),
  row("type_uid", "`class_uid` * 100 + `activity_id`", (event) => kind[0] * 100 + activity(event)[0]),
  row("type_name", "their names", (event) => `${kind[1]}: ${activity(event)[1]}`),
];

const NETWORK = [4, "Network Activity"] as const;
const scanned = (kind: Numbered) => classed(NETWORK, kind, () => [3, "Scan"], "always 3, scan");

const unmappedRow = row(
  "unmapped.email_sensor",
  "`type`, `verdict`, `complete`, `flags[]`, `change`, `state.name`, `truncated[]`",
  unmapped,
);

const statusRows: readonly Row[] = [
  row("status_id", "1; 2 for mail.failed; 0 where not `complete`", (event) => STATUSES[outcomeOf(event)][0]),
  row("status", "its name", (event) => STATUSES[outcomeOf(event)][1]),
  row("status_detail", "`reasons[]`, with semicolons between", ({ reasons }) => reasons?.join("; ")),
  unmappedRow,
];

type Observable = {
  readonly name: string;
  readonly type_id: number;
  readonly type: string;
  readonly value?: string;
};

const observable = (
  name: string,
  type_id: number,
  type: string,
  values: readonly (string | null | undefined)[],
) => distinct(values).map((value): Observable => ({ name, type_id, type, value }));

/** Kinds of observables by OCSF: 2 IP Address, 5 Email Address, 6 URL String, 7 File Name, 8 Hash. */
function mailObservables({ mail }: VisibleEvent): readonly Observable[] {
  return [
    ...observable("email.smtp_from", 5, "Email Address", [mail?.envelope?.from]),
    ...observable("email.smtp_to", 5, "Email Address", mail?.envelope?.to ?? []),
    ...observable("email.from", 5, "Email Address", [mail?.from?.[0]]),
    ...observable("src_endpoint.ip", 2, "IP Address", [ipOf(mail?.envelope?.client_ip)?.ip]),
  ];
}

function emailOf({ mail }: VisibleEvent) {
  if (mail === undefined) return undefined;
  const { envelope } = mail;
  return {
    ...(mail.id !== undefined && { uid: mail.id }),
    ...(typeof mail.message_id === "string" && { message_uid: mail.message_id }),
    ...(typeof mail.subject === "string" && { subject: mail.subject }),
    ...(mail.from !== undefined && { from: mail.from[0] ?? envelope?.from ?? "" }),
    ...(mail.to !== undefined && { to: mail.to.length > 0 ? mail.to : (envelope?.to ?? []) }),
    ...(mail.cc !== undefined && mail.cc.length > 0 && { cc: mail.cc }),
    ...(envelope?.from !== undefined && { smtp_from: envelope.from }),
    ...(envelope?.to !== undefined && { smtp_to: envelope.to }),
    ...(mail.size !== undefined && { size: mail.size }),
  };
}

const HASHES = [
  ["md5", 1, "MD5"],
  ["sha1", 2, "SHA-1"],
  ["sha256", 3, "SHA-256"],
] as const;

function fileOf(part: VisibleAttachment | undefined) {
  if (part === undefined) return undefined;
  return {
    // Required by OCSF: an attachment without a name has its hash for one.
    name: part.filename ?? part.sha256 ?? "",
    type_id: 1,
    type: "Regular File",
    ...(part.type !== undefined && { mime_type: part.type }),
    ...(part.size !== undefined && { size: part.size }),
    hashes: HASHES.flatMap(([name, algorithm_id, algorithm]) => {
      const value = part[name];
      return value === undefined ? [] : [{ algorithm_id, algorithm, value }];
    }),
  };
}

function urlOf(url: string | undefined) {
  if (url === undefined) return undefined;
  const parts = urlParts(url);
  return {
    url_string: url,
    ...(parts !== null && {
      scheme: parts.scheme,
      hostname: parts.domain,
      path: parts.path,
      ...(parts.port !== undefined && { port: parts.port }),
      ...(parts.query !== undefined && { query_string: parts.query }),
    }),
  };
}

/** Of Evidence Artifacts: 2 true positive, 4 suspicious, 5 benign, 7 insufficient data. */
const VERDICTS: Readonly<Record<Verdict, readonly [number, string]>> = {
  malicious: [2, "True Positive"],
  suspicious: [4, "Suspicious"],
  clean: [5, "Benign"],
  not_available: [7, "Insufficient Data"],
};

/** That a bad verdict is right. */
const CONFIDENCES: Readonly<Partial<Record<Verdict, Numbered>>> = {
  malicious: [3, "High"],
  suspicious: [2, "Medium"],
};

/** Where a part stood in the mail, and what is odd about it. */
function placeOf(part: VisiblePart) {
  if (isUrl(part)) {
    const { sources, unwrapped_from } = part;
    return { ...(sources && { sources }), ...(unwrapped_from && { unwrapped_from }) };
  }
  const { path, facts } = part;
  return { ...(path && { path }), ...(facts && { facts }) };
}

/** How a part was judged and what of it has no attribute in OCSF, for `enrichments` and `evidences[].data`. */
const judgementOf = (part: VisiblePart) => ({
  ...(part.verdict !== undefined && { verdict: part.verdict }),
  ...(part.outcome !== undefined && { outcome: part.outcome }),
  ...(part.partial !== undefined && { partial: part.partial }),
  ...(typeof part.reason === "string" && { reason: part.reason }),
  ...(part.threat_names !== undefined && { threat_names: part.threat_names }),
  ...(part.classifications !== undefined && { classifications: part.classifications }),
  ...(part.indicators !== undefined && { indicators: part.indicators }),
  ...(part.techniques !== undefined && { techniques: part.techniques }),
  ...(part.iocs !== undefined && { iocs: part.iocs }),
  ...(part.action !== undefined && { action: part.action }),
  ...(part.rule !== undefined && { rule: part.rule }),
  ...placeOf(part),
  ...(typeof part.vmray?.url === "string" && { report: part.vmray.url }),
});

const enrichment = (name: string, value: string | null | undefined, part: VisiblePart | undefined) =>
  part === undefined
    ? undefined
    : [{ name, value: value ?? "", provider: PROVIDER, type: "verdict", data: judgementOf(part) }];

/** Enrichments of an object of the mail. */
const MAX_ENRICHMENTS = 100;

/** How each part was judged that policy did not skip, by what names it in `email`. */
function enrichmentsOf({ attachments = [], urls = [] }: VisibleEvent) {
  const each = (name: string, value: string | undefined, part: VisiblePart) => {
    const { verdict, outcome, partial, reason, threat_names, report } = judgementOf(part);
    const data = { verdict, outcome, partial, reason, threat_names, report };
    return part.outcome === "skipped" || value === undefined
      ? []
      : [{ name, value, provider: PROVIDER, type: "verdict", data }];
  };
  return [
    ...attachments.flatMap((part) => each("email.files.hashes.value", part.sha256, part)),
    ...urls.flatMap((part) => each("email.urls.url_string", part.url, part)),
  ].slice(0, MAX_ENRICHMENTS);
}

function attacksOf({ attachments = [], urls = [] }: VisibleEvent) {
  const found = [...attachments, ...urls].flatMap(({ techniques = [] }) => techniques);
  const byId = new Map(found.map((technique) => [technique.id, technique]));
  return [...byId.values()].map(({ id, name, tactics = [] }) => ({
    technique: { uid: id, name },
    ...(tactics.length > 0 && { tactics: tactics.map((tactic) => ({ name: tactic })) }),
  }));
}

/** VMRay's classifications that OCSF has a number for. */
const CLASSIFICATIONS: ReadonlyMap<string, number> = new Map([
  ["adware", 1],
  ["backdoor", 2],
  ["bot", 3],
  ["bootkit", 4],
  ["downloader", 6],
  ["dropper", 7],
  ["keylogger", 9],
  ["ransomware", 10],
  ["rat", 11],
  ["remote access trojan", 11],
  ["rootkit", 15],
  ["spyware", 17],
  ["trojan", 18],
  ["virus", 19],
  ["wiper", 21],
  ["worm", 22],
]);

function malwareOf(event: VisibleEvent) {
  const { attachments, urls } = badParts(event);
  const all = [...attachments, ...urls];
  return distinct(all.flatMap(({ threat_names = [] }) => threat_names)).map((name) => {
    const classes = distinct(
      all.flatMap((part) => (part.threat_names?.includes(name) === true ? (part.classifications ?? []) : [])),
    );
    const ids = [...new Set(classes.map((one) => CLASSIFICATIONS.get(one.toLowerCase()) ?? 99))];
    return {
      name,
      provider: PROVIDER,
      classification_ids: ids.length > 0 ? ids : [0],
      ...(classes.length > 0 && { classifications: classes }),
    };
  });
}

function evidencesOf(event: VisibleEvent) {
  const { attachments, urls } = badParts(event);
  const email = emailOf(event);
  const judged = (part: VisiblePart) => {
    const [verdict_id, verdict] = VERDICTS[part.verdict ?? "not_available"];
    return { verdict_id, verdict, data: judgementOf(part) };
  };
  return [
    ...(email === undefined ? [] : [{ email }]),
    ...attachments.map((part) => ({ file: fileOf(part), ...judged(part) })),
    ...urls.map((part) => ({ url: urlOf(part.url), ...judged(part) })),
  ];
}

/**
 * What an event does to the finding of its mail; null where there is none. What was no finding so far becomes one now,
 * and one whose mail is neither malicious nor suspicious any more is closed.
 */
function findingActivity({ type, verdict, change }: VisibleEvent): Numbered | null {
  // What the destination does not get is taken for what is usual.
  const was = type === "verdict.changed" && isBad({ verdict: change?.from ?? "malicious" });
  if (isBad({ verdict: verdict ?? "malicious" })) return was ? [2, "Update"] : [1, "Create"];
  return was ? [3, "Close"] : null;
}

const closes = (event: VisibleEvent): boolean => findingActivity(event)?.[0] === 3;

const emailUid = row("email_uid", "`mail.id`", ({ mail }) => mail?.id);

/** The classes, each with its table. */
export const OCSF_CLASSES = {
  email: [
    ...scanned([4009, "Email Activity"]),
    row("direction_id", "always 0, unknown", () => 0),
    row("direction", "always `Unknown`", () => "Unknown"),
    row("protocol_name", "always `SMTP`", () => "SMTP"),
    row(
      "email",
      "`mail`: `uid`, `message_uid`, `subject`, `from`, `to`, `cc`, `smtp_from`, `smtp_to`, `size`",
      emailOf,
    ),
    row("email.files", "`attachments[]`: `name`, `mime_type`, `size`, `hashes[]`", ({ attachments }) =>
      attachments?.map(fileOf),
    ),
    row(
      "email.urls",
      "`urls[]`: `url_string`, `scheme`, `hostname`, `port`, `path`, `query_string`",
      ({ urls }) => urls?.map(({ url }) => urlOf(url)),
    ),
    row(
      "enrichments",
      `of each part that policy did not skip, at most ${MAX_ENRICHMENTS}: \`verdict\`, \`outcome\`, \`reason\`, \`threat_names[]\` and \`vmray.url\``,
      enrichmentsOf,
    ),
    row("src_endpoint.ip", "`mail.envelope.client_ip`", ({ mail }) => ipOf(mail?.envelope?.client_ip)?.ip),
    row("smtp_hello", "`mail.envelope.helo`", ({ mail }) => mail?.envelope?.helo),
    row("start_time", "`mail.received_at`, milliseconds since 1970", ({ mail }) => millis(mail?.received_at)),
    row("observables", "addresses and IP address", mailObservables),
    ...statusRows,
    row("unmapped.email_sensor.mail_sha256", "`mail.sha256`", ({ mail }) => mail?.sha256),
    row("unmapped.email_sensor.mails", "`mails[]`", ({ mails }) => mails),
  ],
  file: [
    ...scanned([4011, "Email File Activity"]),
    emailUid,
    row("file", "`attachments[]`, one: `name`, `mime_type`, `size`, `hashes[]`", ({ attachments }) =>
      fileOf(attachments?.[0]),
    ),
    row(
      "enrichments",
      "its `verdict`, `outcome`, `reason`, `threat_names[]`, evidence, `vmray.url`, what policy wanted, and where it stood",
      ({ attachments }) => enrichment("file", attachments?.[0]?.sha256, attachments?.[0]),
    ),
    row("observables", "name and hashes", ({ attachments }) => [
      ...observable("file.name", 7, "File Name", [attachments?.[0]?.filename]),
      ...observable("file.hashes.value", 8, "Hash", [
        attachments?.[0]?.sha256,
        attachments?.[0]?.sha1,
        attachments?.[0]?.md5,
      ]),
    ]),
    ...statusRows,
  ],
  url: [
    ...scanned([4012, "Email URL Activity"]),
    emailUid,
    row(
      "url",
      "`urls[]`, one: `url_string`, `scheme`, `hostname`, `port`, `path`, `query_string`",
      ({ urls }) => urlOf(urls?.[0]?.url),
    ),
    row(
      "enrichments",
      "its `verdict`, `outcome`, `reason`, `threat_names[]`, evidence, `vmray.url`, what policy wanted, and where it stood",
      ({ urls }) => enrichment("url.url_string", urls?.[0]?.url, urls?.[0]),
    ),
    row("observables", "the URL and its host", ({ urls }) => [
      ...observable("url.url_string", 6, "URL String", [urls?.[0]?.url]),
      ...observable("url.hostname", 1, "Hostname", [urlParts(urls?.[0]?.url)?.domain]),
    ]),
    ...statusRows,
  ],
  finding: [
    ...classed(
      [2, "Findings"],
      [2004, "Detection Finding"],
      (event) => findingActivity(event) ?? [0, "Unknown"],
      "1, create; for a verdict.changed of what was malicious or suspicious before 2, update, or 3, close, where it is neither any more",
    ),
    row("is_alert", "true; false where it is closed", (event) => !closes(event)),
    row("status_id", "1; 4 where it is closed", (event) => (closes(event) ? 4 : 1)),
    row("status", "its name", (event) => (closes(event) ? "Resolved" : "New")),
    row("finding_info.uid", "`mail.id`, else `id`", ({ id, mail }) => mail?.id ?? id),
    row("finding_info.title", "the type and the verdict", nameOf),
    row("finding_info.desc", "`reasons[]`, with semicolons between", ({ reasons }) => reasons?.join("; ")),
    row("finding_info.types", "`classifications[]` of the bad parts", (event) => {
      const { attachments, urls } = badParts(event);
      return distinct([...attachments, ...urls].flatMap(({ classifications = [] }) => classifications));
    }),
    row("finding_info.created_time", "`time`, milliseconds since 1970, where it is created", (event) =>
      findingActivity(event)?.[0] === 1 ? millis(event.time) : undefined,
    ),
    row("finding_info.modified_time", "`time`, milliseconds since 1970, where it is not", (event) =>
      findingActivity(event)?.[0] === 1 ? undefined : millis(event.time),
    ),
    row("finding_info.first_seen_time", "`mail.received_at`, milliseconds since 1970", ({ mail }) =>
      millis(mail?.received_at),
    ),
    row("finding_info.src_url", "`vmray.url` of the worst part", (event) => worstPart(event)?.vmray?.url),
    row("finding_info.attacks", "`techniques[]` of all parts", attacksOf),
    row(
      "confidence_id",
      "3 (high) for malicious, 2 (medium) for suspicious, else none",
      ({ verdict }) => CONFIDENCES[verdict ?? "clean"]?.[0],
    ),
    row("confidence", "its name", ({ verdict }) => CONFIDENCES[verdict ?? "clean"]?.[1]),
    row("malware", "`threat_names[]` and `classifications[]` of the bad parts", malwareOf),
    row("evidences", "`mail`, and the bad ones of `attachments[]` and `urls[]`", evidencesOf),
    row("observables", "addresses of the mail, hashes and URLs of the bad parts", (event) => {
      const { attachments, urls } = badParts(event);
      return [
        ...observable(
          "evidences.file.hashes.value",
          8,
          "Hash",
          attachments.map(({ sha256 }) => sha256),
        ),
        ...observable(
          "evidences.url.url_string",
          6,
          "URL String",
          urls.map(({ url }) => url),
        ),
        ...observable("evidences.email.smtp_to", 5, "Email Address", event.mail?.envelope?.to ?? []),
        ...observable("evidences.email.from", 5, "Email Address", [event.mail?.from?.[0]]),
      ];
    }),
    unmappedRow,
  ],
  base: [
    ...classed([0, "Uncategorized"], [0, "Base Event"], () => [99, "Other"], "always 99, other"),
    ...statusRows,
  ],
} as const satisfies Readonly<Record<string, readonly Row[]>>;

export const OCSF_SHARED: readonly Row[] = shared("");

type ClassName = keyof typeof OCSF_CLASSES;

/** Tables of the objects of which an event has one at most. */
const SINGLE = (["email", "finding", "base"] as const).map(
  (name) => [name, objectTable([...shared(`/${name}`), ...OCSF_CLASSES[name]])] as const,
);
const single = new Map<ClassName, (event: VisibleEvent) => Record<string, unknown>>(SINGLE);

function piece(name: "email" | "finding" | "base", event: SensorEvent): Piece {
  const fill = single.get(name);
  return { event, write: (shown) => toJsonLine(fill?.(shown)) };
}

/** The mail without its parts, which have objects of their own. */
function withoutParts({ attachments = [], urls = [], truncated = [], ...rest }: VisibleEvent): VisibleEvent {
  const left = [attachments.length > 0 ? "/attachments" : "", urls.length > 0 ? "/urls" : ""].filter(Boolean);
  const others = truncated.filter((pointer) => !/^\/(attachments|urls)(\/|$)/.test(pointer));
  const all = [...others, ...left];
  return { ...rest, ...(all.length > 0 && { truncated: all }) };
}

/** The object of the mail: where its lists of parts are too long, recipients stay and these go. */
function emailPiece(event: SensorEvent): Piece {
  const whole = piece("email", event);
  return { ...whole, brief: (shown) => whole.write(withoutParts(shown)) };
}

const partTables = { file: objectTable(OCSF_CLASSES.file), url: objectTable(OCSF_CLASSES.url) } as const;
const sharedTable = objectTable(OCSF_SHARED);

/** One part alone: its verdict is that of the object. */
function partPiece(name: "file" | "url", index: number, event: SensorEvent): Piece {
  return {
    event,
    write: (shown) => {
      const common = sharedTable(shown);
      const { metadata } = common;
      return toJsonLine({
        ...common,
        ...(typeof metadata === "object" && {
          metadata: { ...metadata, uid: `${shown.id}/${name}/${index}` },
        }),
        ...partTables[name](shown),
      });
    },
  };
}

export const ocsfFormat: Format = (event) => {
  if (event.mail === undefined) return [piece("base", event)];
  const files = (event.attachments ?? []).map((_, index) =>
    partPiece("file", index, ofPart(event, "attachments", index)),
  );
  const links = (event.urls ?? []).map((_, index) => partPiece("url", index, ofPart(event, "urls", index)));
  // What is said of the mail is said once: with the verdict of the mail.
  if (event.type === "attachment.verdict" || event.type === "url.verdict") return [...files, ...links];
  const found = event.verdict !== undefined && findingActivity(event) !== null;
  return [emailPiece(event), ...files, ...links, ...(found ? [piece("finding", event)] : [])];
};
