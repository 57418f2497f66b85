/** The part of docs/events.md that says what each format makes of an event, from the tables of the code. */
import { CEF_ROWS } from "../../src/report/formats/cef.ts";
import { ECS_ROWS } from "../../src/report/formats/ecs.ts";
import { LEEF_ROWS } from "../../src/report/formats/leef.ts";
import type { Row } from "../../src/report/formats/mapping.ts";
import { OCSF_CLASSES, OCSF_SHARED } from "../../src/report/formats/ocsf.ts";
import { table } from "./markdown.ts";

const fields = (rows: readonly Row[]) =>
  table(
    ["Field", "From"],
    rows.map(({ field, from }) => [`\`${field}\``, from]),
  );

const OCSF_NAMES: Readonly<Record<keyof typeof OCSF_CLASSES, string>> = {
  email: "Email Activity (4009)",
  file: "Email File Activity (4011)",
  url: "Email URL Activity (4012)",
  finding: "Detection Finding (2004)",
  base: "Base Event (0)",
};

export function formatReference(): readonly string[] {
  return [
    "## Formats",
    "",
    "`siem[].format` says what a destination gets. In all formats one message is one line of UTF-8; control",
    "characters, line and paragraph separators and bidirectional controls of a mail are escaped, lone surrogates become",
    "U+FFFD; an event that is too long is cut as `truncated` says, and a field without a value is left out.",
    "",
    "The worst attachment and the worst URL are the first ones with the worst verdict of those that policy did not skip.",
    "",
    "### `ecs`",
    "",
    "[Elastic Common Schema](https://www.elastic.co/guide/en/ecs/8.11/index.html) 8.11, one JSON object an event.",
    "",
    fields(ECS_ROWS),
    "",
    "### `ocsf`",
    "",
    "[Open Cybersecurity Schema Framework](https://schema.ocsf.io/1.5.0/) 1.5.0, several JSON objects an event, each a",
    "message of its own: Email Activity; Email File Activity for each attachment and Email URL Activity for each URL,",
    "linked by `email_uid`; Detection Finding where the verdict is malicious or suspicious, or was. `attachment.verdict` and",
    "`url.verdict` are the object of the part alone; `sensor.state` is a Base Event. The event counts as delivered when",
    "all of its messages are. The two classes of parts are deprecated since OCSF 1.3 in favour of `email.files[]` and",
    "`email.urls[]`: these stand in the Email Activity as well, with the verdict of each part as an enrichment, so a pipeline",
    "that does not know them can leave out 4011 and 4012. The evidence of bad parts is in the Detection Finding, too. Where",
    "the Email Activity is too long, its lists of parts are left out and named in `truncated`.",
    "",
    "All objects have:",
    "",
    fields(OCSF_SHARED),
    ...Object.entries(OCSF_CLASSES).flatMap(([name, rows]) => [
      "",
      `#### ${OCSF_NAMES[name as keyof typeof OCSF_CLASSES]}`,
      "",
      fields(rows),
    ]),
    "",
    "### `cef`",
    "",
    "ArcSight Common Event Format 0. In the header: vendor and product `email-sensor`, the version of the sensor, the type",
    "of the event, the type and the verdict in words, a severity of 0 to 10 (malicious 10, suspicious 7, mail.failed 5,",
    "not_available 4, clean 1). In values `\\`, `=` and line breaks are escaped as the format wants. A value longer than the",
    "CEF dictionary allows is cut, and `flexString2` (`flexString2Label=truncated`) names its key.",
    "",
    table(
      ["Key", "From", "At most"],
      CEF_ROWS.map(({ field, from, max }) => [`\`${field}\``, from, String(max)]),
    ),
    "",
    "### `leef`",
    "",
    "IBM QRadar Log Event Extended Format 2.0: vendor and product `email-sensor`, the version of the sensor, the type of the",
    "event, and `siem[].leef_delimiter` between the attributes. LEEF has no escapes: the delimiter and control characters in",
    "a value are written as `\\u005e`.",
    "",
    fields(LEEF_ROWS),
    "",
  ];
}
