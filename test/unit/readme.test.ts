import { expect, test } from "bun:test";
import { existsSync } from "node:fs";
import { dirname, join } from "node:path";
import Ajv from "ajv/dist/2020";
import addFormats from "ajv-formats";

const ROOT = join(import.meta.dir, "../..");
const PAGES = ["README.md", "SECURITY.md", "CONTRIBUTING.md", "CHANGELOG.md", "docs/operations.md"];

const read = (path: string) => Bun.file(join(ROOT, path)).text();

test("the event in the README is one by the schema of events", async () => {
  const ajv = new Ajv({ strict: false });
  addFormats(ajv);
  const valid = ajv.compile(JSON.parse(await read("docs/event.schema.json")));
  const event = /```json\n(.*?)```/s.exec(await read("README.md"))?.[1] ?? "";
  expect(valid(JSON.parse(event)) || valid.errors).toBe(true);
});

for (const page of PAGES) {
  test(`every file that ${page} links to is there`, async () => {
    const links = [...(await read(page)).matchAll(/\]\((?!https?:|#)([^)#\s]+)/g)].map(
      ([, link = ""]) => link,
    );
    expect(links.filter((link) => !existsSync(join(ROOT, dirname(page), link)))).toEqual([]);
  });
}
