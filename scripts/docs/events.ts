/** docs/events.md, from docs/event.schema.json and the code that composes events. */
import schema from "../../docs/event.schema.json" with { type: "json" };
import { EVENT_TYPES, type EventType } from "../../src/report/event.ts";
import { sampleEvents } from "../../src/report/samples.ts";
import { formatReference } from "./formats.ts";
import { table } from "./markdown.ts";

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

/** A line of CEF by a template, on one line as the sensor sends it. */
const OWN_CEF = [
  "CEF:0|Example|Mail|1|{{ type | cef_header }}|{{ verdict | cef_header }}|{% if verdict == 'malicious' %}10{% else %}3{% endif %}|",
  "msg={{ mail.subject | cef }} suser={{ mail.envelope.from | cef }} duser={{ mail.envelope.to | cef }}",
].join("");

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
    "A message is RFC 5424, or RFC 3164 where `siem[].header` says so: HOSTNAME is `sensor.id` or `siem[].host_name`, MSGID",
    "the type of the event, MSG what the format makes of it, in UTF-8 without a byte order mark and without control",
    "characters. There is no structured data but what `siem[].structured_data` adds. The severity tells the verdict, unless",
    "`siem[].severity` says otherwise:",
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
    "members are missing; in sentences and URLs `[address]`, `[subject]` and `[name]` stand for them. Links to VMRay stay. A reader of",
    "VMRay's own report sees what was submitted.",
    "",
    "`siem[].split` adds an `attachment.verdict` or `url.verdict` for each part that is decided, with an id that its mail's event and its",
    "place give: sent again, it is the same.",
    "",
    "## Templates",
    "",
    "`format: template` renders [Liquid](https://shopify.github.io/liquid/) with the fields above as variables. The",
    "filter `json` writes any value as JSON: use it to build JSON safely. Other values are put in with their",
    "control characters escaped (`\\n`, `\\u0007`), and line breaks of the template become one space, so that a message",
    "is always one line. Files and other templates cannot be included.",
    "",
    "`check-config` and the sensor at its start try each template with the samples below that its destination wants. One",
    "that fails is an error with the line. Members that no event has, a type of which nothing is made, and JSON that is",
    "none are warnings of `check-config`. A template that fails on an event later, or makes nothing of it, is logged as",
    "`TEMPLATE_FAILED`, and the event is sent as JSON.",
    "",
    "A template has 64 KB, and for each event 250 ms of CPU time and 1 MB of output. After two events in a row that took all",
    "of that time, events are sent as JSON for twenty times as long: templates run on the thread that takes mails in.",
    "",
    "```liquid",
    "{{ verdict }} from={{ mail.envelope.from }} subject={{ mail.subject | json }}",
    "```",
    "",
    "For lines of your own in other forms there are filters that keep a value in its place, whatever a mail holds. Use them",
    "on each value; of a list they make one text with commas.",
    "",
    table(
      ["Filter", "For", "Escapes"],
      [
        ["`json`", "JSON, without quotes around it", "what JSON wants"],
        ["`cef`", "a value of CEF", "`\\`, `=`, line breaks as `\\n` and `\\r`"],
        ["`cef_header`", "a field of the header of CEF", "`\\` and `|`"],
        [
          '`leef`, `leef: "~"`',
          "an attribute of LEEF 2.0",
          "the delimiter, `^` where none is named, as `\\u005e`",
        ],
        ["`leef_header`", "a field of the header of LEEF", "`|` as `\\u007c`"],
        ["`syslog_sd`", 'a value in double quotes: RFC 5424, `key="value"`', '`"`, `\\` and `]`'],
      ],
    ),
    "",
    "```liquid",
    OWN_CEF,
    "```",
    "",
    "## Alert mails",
    "",
    "`alerts[]` makes mails to people of `mail.verdict` and, where asked for, `verdict.changed`: [alerts.md](alerts.md).",
    "",
    "## Examples",
    "",
    "What `email-sensor render` shows, and what templates are tried with at start.",
    ...sampleEvents().flatMap(({ name, event }) => [
      "",
      `### ${name}`,
      "",
      "```json",
      JSON.stringify(event, null, 2),
      "```",
    ]),
    "",
  ].join("\n");
}
