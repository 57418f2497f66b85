/** The examples of docs/analysis.md go through the checks of the configuration. */
import { afterAll, expect, test } from "bun:test";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { CONFIG_KEYS, type Key } from "../../../src/config/keys.ts";
import { checkConfig } from "../../../src/config/load.ts";

const folder = mkdtempSync(join(tmpdir(), "documented-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const text = await Bun.file(join(import.meta.dir, "../../../docs/analysis.md")).text();
const section = (name: string): string =>
  text
    .split(/^## /m)
    .find((one) => one.startsWith(`${name}\n`))
    ?.slice(name.length) ?? "";

/** The policy of a configuration, or its problems. */
/** With the analyzer that examples name. */
const VMRAY = JSON.stringify({
  url: "https://v.example",
  api_key: "k",
  analyzers: [{ name: "cloud", url: "https://c.example", api_key: "k" }],
});

async function policyOf(yaml: string) {
  const file = join(folder, "sensor.yaml");
  await Bun.write(file, `vmray: ${VMRAY}\n${yaml}\n`);
  const { config, problems } = await checkConfig(file, {});
  return config?.triage ?? problems.map(({ line, message }) => `${line}: ${message}`);
}

const ROWS = [...section("Rules").matchAll(/^\| `([a-z_.]+)` \| .* \| `([^`]+)` \|$/gm)].map(
  ([, name = "", example = ""]): [string, string] => [name, example],
);

test.each(ROWS)("the example of %s is good and sets it: %s", async (name, example) => {
  const action = /^(?:action|priority|analyzer|vmray):/.test(example) ? "" : "\n      action: lookup";
  const policy = await policyOf(
    `triage:\n  own_domains: [example.org]\n  rules:\n    - name: example\n      ${example}${action}`,
  );
  expect(policy).toMatchObject({ rules: [{ name: "example" }] });
  const [top = "", below = ""] = name.includes(".") ? name.split(".") : ["", name];
  const rule: object = Array.isArray(policy) ? {} : Object(policy).rules[0];
  const holder = Object(Reflect.get(rule, top === "" && !(below in rule) ? "match" : top) ?? rule);
  expect(holder[below]).toBeDefined();
});

test("every key of a rule is told with an example", () => {
  const told = new Set(ROWS.map(([name]) => name));
  const names = (key: Key | undefined, prefix: string): readonly string[] =>
    key?.shape === "section"
      ? [...key.keys].flatMap(([name, below]) =>
          below.shape === "section" ? names(below, name === "match" ? "" : `${name}.`) : [`${prefix}${name}`],
        )
      : [];
  const triage = CONFIG_KEYS.keys.get("triage");
  const rules = triage?.shape === "section" ? triage.keys.get("rules") : undefined;
  const keys = names(rules?.shape === "list" ? rules.item : undefined, "");
  expect(keys.length).toBeGreaterThan(20);
  expect(keys.filter((name) => name !== "name" && !told.has(name))).toEqual([]);
});

test("the whole examples are good but for files that are not there", async () => {
  const blocks = [...`${section("Rules")}${section("Lists")}`.matchAll(/```yaml\n(.*?)```/gs)];
  expect(blocks.length).toBe(2);
  for (const [, block = ""] of blocks) {
    const policy = await policyOf(block);
    const problems = Array.isArray(policy) ? policy : [];
    expect(problems.filter((problem) => !problem.endsWith("does not exist"))).toEqual([]);
  }
});
