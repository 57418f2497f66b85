/**
 * Writes the documents that are made from code. `--check` writes nothing and exits 1 with the names of those
 * that are not current.
 */
import { join } from "node:path";
import { configurationReference } from "./docs/configuration.ts";
import { configurationSchema } from "./docs/configuration-schema.ts";
import { errorReference } from "./docs/errors.ts";
import { eventReference } from "./docs/events.ts";
import { exampleConfiguration } from "./docs/example.ts";
import { extractionReference } from "./docs/extraction.ts";
import { thirdPartyNotices } from "./docs/notices.ts";

type GeneratedDocument = {
  /** From the top of the repository. */
  readonly path: string;
  /** The whole text of the file, with its last newline. */
  make(): string;
};

const DOCUMENTS: readonly GeneratedDocument[] = [
  { path: "docs/configuration.md", make: configurationReference },
  { path: "docs/sensor.schema.json", make: configurationSchema },
  { path: "docs/errors.md", make: errorReference },
  { path: "docs/events.md", make: eventReference },
  { path: "docs/extraction.md", make: extractionReference },
  { path: "sensor.example.yaml", make: exampleConfiguration },
  { path: "THIRD-PARTY-NOTICES.md", make: thirdPartyNotices },
];

const top = join(import.meta.dir, "..");
const stale: string[] = [];
for (const { path, make } of DOCUMENTS) {
  const file = Bun.file(join(top, path));
  const text = make();
  if ((await file.exists()) && (await file.text()) === text) continue;
  stale.push(path);
  if (!process.argv.includes("--check")) await Bun.write(file, text);
}
if (process.argv.includes("--check") && stale.length > 0) {
  process.stderr.write(`not current, run scripts/docs.ts:\n${stale.map((path) => `  ${path}\n`).join("")}`);
  process.exitCode = 1;
}
