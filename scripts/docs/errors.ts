/** docs/errors.md, from the catalogue of error codes. */
import { CATALOGUE } from "../../src/errors.ts";
import { table } from "./markdown.ts";

export function errorReference(): string {
  const rows = Object.entries(CATALOGUE)
    .toSorted(([a], [b]) => (a < b ? -1 : 1))
    .map(([code, { meaning, remedy, permanent }]) => [
      `\`${code}\``,
      meaning,
      permanent ? "no" : "yes",
      remedy,
    ]);
  return [
    "# Error codes",
    "",
    "<!-- Made from src/errors.ts by scripts/docs.ts: change it there. -->",
    "",
    "Every fault in a log line (`code`), an event or an answer of the control service has one of these codes.",
    "Temporary faults are tried again by the sensor itself.",
    "",
    table(["Code", "Meaning", "Temporary", "What to do"], rows),
    "",
  ].join("\n");
}
