/** docs/events.md, from docs/event.schema.json and the code that composes events. */
import schema from "../../docs/event.schema.json" with { type: "json" };
import { composeChanged, composeFailed, composeMailEvents, composeState } from "../../src/report/compose.ts";
import { EVENT_TYPES, type EventType, type SensorEvent } from "../../src/report/event.ts";
import type { ArtifactRow, MailBeside, MailRow } from "../../src/spool/spool.ts";
import { judge } from "../../src/verdict/judge.ts";
import { formatReference } from "./formats.ts";
import { table } from "./markdown.ts";

const SENSOR = { id: "sensor-01.example.org", version: "0.1.0" };
const TIME = Date.UTC(2026, 4, 4, 9, 30, 12, 345);
const MAIL_ID = "019df225-4a3f-7c11-8f2e-5b0a9d3c7e10";
const CHANGE_ID = "019df238-3c59-7000-8000-0a1b2c3d4e5f";

const IN_ARCHIVE = "The file lies in an archive that is analysed as a whole.";

const MEANINGS: Readonly<Record<EventType, string>> = {
  "mail.received":
    "A mail was taken and judged. Sent before its other events, only to destinations that name the type.",
  "mail.verdict":
    "A mail was judged: every mail that can be taken apart has exactly one. `complete: false` where a part could not be judged or is still being analysed.",
  "mail.failed": "A mail could not be taken apart after several tries. It has no `mail.verdict`.",
  "attachment.verdict":
    "One attachment that policy did not skip. Sent before the `mail.verdict`, only to destinations that name the type.",
  "url.verdict":
    "One URL that policy did not skip. Sent before the `mail.verdict`, only to destinations that name the type.",
  "verdict.changed":
    "A part of a mail that was reported has another verdict, or the rest of its parts are decided: one for each mail concerned. It has the fields of `mail.verdict`, `change` and `mails`; `attachments` and `urls` are those that changed.",
  "sensor.state": "Something about the sensor itself changed.",
};

function sampleMail(): MailRow {
  const attachment: ArtifactRow & { readonly kind: "attachment" } = {
    kind: "attachment",
    attachment: {
      filename: "invoice.zip",
      sha256: "2546dcffc5ad854d4ddc64fbf056871cd5a00f2471cb7a5bfd4ac23b6e9eedad",
      size: 184,
      type: "application/zip",
      views: ["mime"],
      path: [],
      sha1: "bec1b52d350d721c7e22a6d4bb0a92909893a3ae",
      md5: "6ce6f415d8475545be5ba114f208b0ff",
      within: "mail",
      facts: [],
      password: null,
    },
    decision: { action: "dynamic", rule: "default.archives", reason: "archives are analysed" },
    verdict: {
      outcome: "judged",
      verdict: "malicious",
      reason: null,
      threat_names: ["EICAR-Test-File"],
      vmray: { sample_id: 1207, submission_id: 1544, url: "https://vmray.example.org/samples/1207" },
      evidence: {
        classifications: ["Downloader"],
        indicators: [
          { category: "Antivirus", operation: "Malicious content was detected by heuristic scan", score: 4 },
        ],
        techniques: [{ id: "T1204.002", name: "Malicious File", tactics: ["Execution"] }],
        iocs: {
          urls: ["http://load.example.net/2"],
          domains: ["load.example.net"],
          ips: ["192.0.2.80"],
          files: ["275a021bbfb6489e54d471899f7db9d1663fc695ec2fe2a2c4538aabf651fd0f"],
          email_addresses: [],
        },
      },
      cost: { calls: 12, submissions: 1, quota: 1, seconds: 38.4 },
    },
  };
  const member: ArtifactRow = {
    kind: "attachment",
    attachment: {
      ...attachment.attachment,
      filename: "invoice.pdf.com",
      sha256: "275a021bbfb6489e54d471899f7db9d1663fc695ec2fe2a2c4538aabf651fd0f",
      sha1: "3395856ce81f2b7382dee72602f798b642f14140",
      md5: "44d88612fea8a8f36de82e1278abb02f",
      size: 68,
      type: "application/x-eicar-test",
      path: ["invoice.zip"],
      within: "archive",
      facts: ["double_extension"],
    },
    decision: { action: "skip", rule: "default.in_analysed_file", reason: IN_ARCHIVE },
    verdict: {
      outcome: "skipped",
      verdict: "not_available",
      reason: IN_ARCHIVE,
      threat_names: [],
      vmray: null,
    },
  };
  const url: ArtifactRow = {
    kind: "url",
    url: {
      url: "https://pay.example.net/1",
      normalized: "https://pay.example.net/1",
      sources: ["html"],
      unwrapped_from: ["https://links.example.com/?url=https%3A%2F%2Fpay.example.net%2F1"],
    },
    decision: { action: "reputation", rule: "urls", reason: "URLs are analysed" },
    verdict: {
      outcome: "failed",
      verdict: "not_available",
      reason: "VMRay refused the submission: the quota is used up",
      threat_names: [],
      vmray: null,
    },
  };
  return {
    id: MAIL_ID,
    receivedAt: TIME - 41_000,
    envelope: {
      from: "billing@example.net",
      to: ["anna@example.org"],
      client_ip: "192.0.2.25",
      helo: "mx.example.net",
      tls: "TLSv1.3 TLS_AES_256_GCM_SHA384",
    },
    size: 4312,
    sha256: "4a1f5f3c9a4be0c6f0c0e6d1d19a5a1f0a35b7c0a8a4a50c5a3b7c6b0f0d2e91",
    state: "analysed",
    sameAs: null,
    extraction: {
      mail: {
        message_id: "<20260504.1@example.net>",
        subject: "Your invoice",
        from: ["billing@example.net"],
        to: ["anna@example.org"],
        cc: [],
        date: null,
      },
      envelope: null,
      passwords: [],
      flags: [],
      complete: true,
    },
    artifacts: [attachment, member, url],
    attempts: 0,
    verdict: null,
    complete: null,
    reasons: [],
    finishedAt: null,
    error: null,
    rawKept: true,
  };
}

/** The same mail, whose link VMRay knows to be malicious by now. */
function changedMail(mail: MailRow): MailRow {
  const verdict = {
    outcome: "judged",
    verdict: "malicious",
    reason: null,
    threat_names: ["Phishing"],
    vmray: { sample_id: 1311, submission_id: null, url: "https://vmray.example.org/samples/1311" },
  } as const;
  return {
    ...mail,
    state: "done",
    reported: "019df225-eb19-7000-8000-000000000004",
    artifacts: mail.artifacts
      .filter(({ kind }) => kind === "url")
      .map((part) => ({ ...part, verdict, was: "clean" })),
  };
}

function beside(): MailBeside {
  return {
    id: "019df222-9d1a-7d02-b1c5-90d3a1b7f2c4",
    receivedAt: TIME - 260_000,
    envelope: {
      from: "billing@example.net",
      to: ["ben@example.org"],
      client_ip: "192.0.2.25",
      helo: "mx.example.net",
      tls: null,
    },
    subject: "Your invoice",
    messageId: "<20260504.2@example.net>",
  };
}

/** One event of each type, with ids that stay the same. */
export function sampleEvents(): readonly SensorEvent[] {
  const mail = sampleMail();
  const made = [
    ...composeMailEvents(mail, judge(mail), SENSOR, new Set(EVENT_TYPES), TIME),
    composeFailed(
      { ...mail, extraction: null },
      "EXTRACT_TIMEOUT: taking the mail apart took too long",
      SENSOR,
      TIME,
    ),
    composeState("started", "the sensor takes mails", SENSOR, TIME),
  ];
  const later = changedMail(mail);
  const change = { id: CHANGE_ID, because: "relook", mails: 2, from: "clean", beside: [beside()] } as const;
  const changed = composeChanged(later, judge(later), change, SENSOR, new Set(), TIME + 1_200_000);
  return EVENT_TYPES.flatMap((type) => [...made, ...changed].filter((event) => event.type === type)).map(
    (event, index) => ({ ...event, id: `019df225-eb19-7000-8000-00000000000${index + 1}` }),
  );
}

type Node = {
  readonly type?: string | readonly string[];
  readonly description?: string;
  readonly properties?: Readonly<Record<string, Node>>;
  readonly items?: Node;
  readonly oneOf?: readonly Node[];
  readonly enum?: readonly string[];
  readonly const?: string;
  readonly maxLength?: number;
  readonly maxItems?: number;
  readonly $ref?: string;
};

const DEFINITIONS: Readonly<Record<string, Node>> = schema.$defs;

function resolve(node: Node): Node {
  const target = node.$ref === undefined ? undefined : DEFINITIONS[node.$ref.replace("#/$defs/", "")];
  return target === undefined ? node : { ...target, ...node };
}

function rowsOf(name: string, node: Node): readonly (readonly string[])[] {
  const here = resolve(node);
  const inner = resolve(here.items ?? here.oneOf?.find(({ $ref }) => $ref !== undefined) ?? {});
  const below = here.properties ?? inner.properties ?? {};
  const path = here.items === undefined ? name : `${name}[]`;
  return [
    [`\`${path}\``, kindOf(here, inner), here.description ?? ""],
    ...Object.entries(below).flatMap(([key, child]) => rowsOf(`${path}.${key}`, child)),
  ];
}

function kindOf(node: Node, inner: Node): string {
  if (node.const !== undefined) return `\`${node.const}\``;
  if (node.enum !== undefined) return node.enum.map((value) => `\`${value}\``).join(", ");
  if (node.oneOf !== undefined) return "object or null";
  const many = node.maxItems === undefined ? "" : `, at most ${node.maxItems}`;
  const long = node.maxLength ?? inner.maxLength;
  const most = long === undefined ? "" : `, at most ${long} characters`;
  const kind = typeof node.type === "string" ? node.type : (node.type ?? []).join(" or ");
  return `${kind === "array" ? `list${many}` : kind}${most}`;
}

export function eventReference(): string {
  const properties: Readonly<Record<string, Node>> = schema.properties;
  return [
    "# Events",
    "",
    "<!-- Made from docs/event.schema.json and src/report by scripts/docs.ts: change it there. -->",
    "",
    "An event is one JSON object: the message of a syslog line in the `json` format, and what other formats and templates",
    "get their fields from. [event.schema.json](event.schema.json) is the same as a JSON Schema (2020-12).",
    "",
    "- Every event arrives at least once and in order at each destination; around a cut connection some arrive twice,",
    "  with the same `id`.",
    "- Nothing of a mail ever becomes a key. Long values are cut, never silently: `truncated` names them.",
    "- A field that a type does not have is missing, not null. A later release may add fields under the same `schema`:",
    "  leave aside what you do not know.",
    "- A part whose analysis failed has the `outcome` `failed`: it is `not_available` with a reason, makes the mail",
    "  `not_available` at least, and `complete` false.",
    "- A part that policy left out has the `outcome` `skipped`. It is listed with its hashes, is `not_available` with the",
    "  reason, and counts for nothing: what lies in an archive or a document that is analysed as a whole is judged",
    "  with it, and the verdict stands with the file that was analysed. `path` leads there.",
    "- A part with the `outcome` `pending` is still being analysed: a `verdict.changed` follows.",
    "- Verdicts are kept true for a while: [analysis.md](analysis.md#verdicts-that-keep-being-true) says when a",
    "  `verdict.changed` comes. It takes the place of the event `change.previous_event_id`. One change that concerns",
    "  many mails gives one event for each of them, with the same `change.id`; `mails` names others.",
    "- What the names in `flags` and in `facts` of an attachment mean is in [extraction.md](extraction.md).",
    "",
    "## Types",
    "",
    table(
      ["Type", "When"],
      EVENT_TYPES.map((type) => [`\`${type}\``, MEANINGS[type]]),
    ),
    "",
    "## Fields",
    "",
    table(
      ["Field", "Value", "Meaning"],
      Object.entries(properties).flatMap(([name, node]) => rowsOf(name, node)),
    ),
    "",
    "## Syslog",
    "",
    "A message is RFC 5424 without structured data: HOSTNAME is `sensor.id`, MSGID the type of the event, MSG the",
    "JSON object or the line of the template, in UTF-8 without a byte order mark and without control characters. The",
    "severity tells the verdict:",
    "",
    table(
      ["Event", "Severity"],
      [
        ["verdict `malicious`", "2, critical"],
        ["`mail.failed`", "3, error"],
        ["verdict `suspicious`", "4, warning"],
        ["verdict `not_available`, or not complete; `sensor.state`", "5, notice"],
        ["verdict `clean`; `mail.received`", "6, informational"],
      ],
    ),
    "",
    "By TCP messages are framed by octet counting (RFC 6587) and have at most 64 KB, by UDP each is one datagram of at",
    "most 8 KB; `siem[].max_message_size` changes that. An event that is longer is cut to fit, recipients first,",
    "and stays valid JSON.",
    "",
    "TCP syslog has no acknowledgement. The sensor takes an event for delivered when the receiver's kernel has",
    "acknowledged its bytes and the connection lived on for a moment; everything younger is sent again after a cut.",
    "By UDP a loss on the way cannot be seen; only a host that refuses is.",
    "",
    ...formatReference(),
    "## What is left out",
    "",
    "`siem[].fields` chooses members for all formats. `siem[].privacy` hashes or drops addresses, subjects, names of files",
    "and queries of URLs, in every text of the event, before it is formatted: reasons quote them, and so may what VMRay",
    "says. Addresses are found in URLs, too, with `%40` and in base64; hashes of addresses and other encodings are not, and",
    "go with `url_queries: drop` alone, where they are in a query. A Message-ID is kept where it holds no address of the mail. Dropped",
    "members are missing; in sentences `[address]`, `[subject]` and `[name]` stand for them. Links to VMRay stay. A reader of",
    "VMRay's own report sees what was submitted.",
    "",
    "`siem[].split` adds an `attachment.verdict` or `url.verdict` for each part, with an id that its mail's event and its",
    "place give: sent again, it is the same.",
    "",
    "## Templates",
    "",
    "`format: template` renders [Liquid](https://shopify.github.io/liquid/) with the fields above as variables. The",
    "filter `json` writes any value as JSON: use it to build JSON safely. Other values are put in with their",
    "control characters escaped (`\\n`, `\\u0007`), and line breaks of the template become one space, so that a message",
    "is always one line. Files and other templates cannot be included. A template that fails on an event is logged as",
    "`TEMPLATE_FAILED`, and the event is sent as JSON.",
    "",
    "```liquid",
    "{{ verdict }} from={{ mail.envelope.from }} subject={{ mail.subject | json }}",
    "```",
    "",
    "## Alert mails",
    "",
    "`alerts[]` makes mails to people of `mail.verdict` and, where asked for, `verdict.changed`: [alerts.md](alerts.md).",
    "",
    "## Examples",
    ...sampleEvents().flatMap((event) => [
      "",
      `### ${event.type}`,
      "",
      "```json",
      JSON.stringify(event, null, 2),
      "```",
    ]),
    "",
  ].join("\n");
}
