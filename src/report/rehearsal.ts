/**
 * Tries a destination with sample events before it is used, so that what a template cannot do is known at the start.
 *
 * A destination of the configuration goes in, out come what keeps it from being used and what is most likely meant
 * differently, each with the key it is about. Bounded by the limits of templates. Reads the files the destination
 * names; opens no connection.
 */
import { printable } from "../config/problem.ts";
import type { SiemConfig } from "../config/schema.ts";
import { asSensorError } from "../errors.ts";
import { createLog } from "../log.ts";
import { createFormatter, type Formatter, templateText } from "./formats/formatter.ts";
import { compileTemplate, EMPTY_LINE } from "./formats/template.ts";
import { whyNot } from "./outbox.ts";
import { sampleEvents } from "./samples.ts";

export type Finding = {
  /** Below the destination. */
  readonly key: "template" | "template_file" | "privacy";
  readonly severity: "problem" | "warning";
  readonly message: string;
};

/** Room for any sample: sizes are not what is tried. */
const ROOM = 1024 * 1024;
const MAX_MESSAGE = 600;
const MAX_UNKNOWN = 20;

/** At most one problem, and every warning. */
export function rehearse(destination: SiemConfig): readonly Finding[] {
  const { template_file: file } = destination;
  const key = file === undefined ? "template" : "template_file";
  const found = (severity: Finding["severity"], message: string, at: Finding["key"] = key): Finding => ({
    key: at,
    severity,
    message: printable(message, MAX_MESSAGE),
  });
  let formatter: Formatter;
  try {
    formatter = createFormatter(
      destination,
      createLog("error", () => {}),
      new Uint8Array(32),
    );
  } catch (thrown) {
    return [
      found("problem", asSensorError(thrown).message, destination.format === "template" ? key : "privacy"),
    ];
  }
  if (destination.format !== "template") return [];

  const empty: string[] = [];
  const noJson: string[] = [];
  for (const { name, event } of sampleEvents()) {
    if (whyNot(destination, event) !== null) continue;
    try {
      const lines = formatter.tryFormat(event, () => ROOM);
      if (lines.some(({ text }) => text.startsWith("{") && !isJson(text))) noJson.push(name);
    } catch (thrown) {
      const { message } = asSensorError(thrown);
      if (message !== EMPTY_LINE) {
        return [
          found(
            "problem",
            `${file === undefined ? "" : `the file ${file} `}fails for ${destination.name} on a ${name}: ${message}`,
          ),
        ];
      }
      empty.push(name);
    }
  }
  const unknown = compileTemplate(templateText(destination)).unknown();
  return [
    ...unknown.slice(0, MAX_UNKNOWN).map((words) => found("warning", words)),
    ...(empty.length === 0
      ? []
      : [
          found(
            "warning",
            `makes nothing of ${empty.join(", ")}, which is then sent as JSON: write something, or leave the type out of events`,
          ),
        ]),
    ...(noJson.length === 0
      ? []
      : [
          found(
            "warning",
            `looks like JSON and makes none of ${noJson.join(", ")}: write each value as {{ value | json }}, without quotes around it`,
          ),
        ]),
  ];
}

function isJson(text: string): boolean {
  try {
    JSON.parse(text);
    return true;
  } catch {
    return false;
  }
}
