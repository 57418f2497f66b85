import { describe, expect, test } from "bun:test";
import { join } from "node:path";
import Ajv from "ajv";
import { parse } from "yaml";
import { CONFIG_KEYS, type Key } from "../../../src/config/keys.ts";
import { checkConfig } from "../../../src/config/load.ts";

const TOP = join(import.meta.dir, "../../..");
const EXAMPLE = join(TOP, "sensor.example.yaml");

async function messages(text: string): Promise<readonly string[]> {
  const path = join(TOP, "test/unit/config", `.documents-${process.pid}.yaml`);
  try {
    await Bun.write(path, text);
    const { problems } = await checkConfig(path, { VMRAY_API_KEY: "k" });
    return problems.map(({ key, message }) => `${key}: ${message}`);
  } finally {
    await Bun.file(path).delete();
  }
}

test("the documents made from code are current", () => {
  const { exitCode, stderr } = Bun.spawnSync([process.execPath, join(TOP, "scripts/docs.ts"), "--check"]);
  expect(stderr.toString()).toBe("");
  expect(exitCode).toBe(0);
});

test("every key says what it means and what it is", () => {
  const silent = (key: Key, path: string): string[] => {
    const own = (key.note.description ?? "") === "" && !path.endsWith("]") ? [path] : [];
    if (key.shape === "section") {
      return [...own, ...[...key.keys].flatMap(([name, below]) => silent(below, `${path}.${name}`))];
    }
    if (key.shape === "list") return [...own, ...silent(key.item, `${path}[]`)];
    const bare = key.choices === null && key.note.kind === undefined ? [`${path} (kind)`] : [];
    const unset = !key.required && key.default === undefined && key.note.fallback === undefined;
    const shown = unset && key.note.example === undefined ? [`${path} (example)`] : [];
    return [...own, ...bare, ...shown];
  };
  expect([...CONFIG_KEYS.keys].flatMap(([name, key]) => silent(key, name))).toEqual([]);
});

describe("sensor.example.yaml", () => {
  test("is good but for the key file, which is not there yet", async () => {
    expect(await messages(await Bun.file(EXAMPLE).text())).toEqual([
      "vmray.api_key_file: the file does not exist",
    ]);
  });

  test("with every # taken away breaks only by its missing files and the keys that exclude others", async () => {
    const text = (await Bun.file(EXAMPLE).text()).replaceAll(/^( *)#(?=[^ \n])/gm, "$1");
    const told = (await messages(text)).filter((message) => !message.endsWith("does not exist"));
    expect(told).toEqual([
      "vmray.api_key: conflicts with api_key_file: keep one of the two",
      "siem[0].file: conflicts with syslog: keep one of the two",
      "siem[0].https: conflicts with syslog: keep one of the two",
      "siem[0].https.index: needs kind: splunk_hec",
      "siem[0].https.source: needs kind: splunk_hec",
      "siem[0].https.sourcetype: needs kind: splunk_hec",
      "siem[0].leef_delimiter: needs format: leef",
      "siem[0].template: needs format: template",
      "siem[0].template_file: needs format: template",
      "alerts[0]: reaches nobody: set to, or to_recipients with domains",
    ]);
  });

  test("shows the defaults the sensor has", async () => {
    const text = (await Bun.file(EXAMPLE).text()).replaceAll(/^( *)#(?=[^ \n])/gm, "$1");
    const differs = (value: unknown, key: Key, path: string): string[] => {
      if (key.shape === "section") {
        return [...key.keys].flatMap(([name, below]) =>
          differs(Object(value)[name], below, `${path}.${name}`),
        );
      }
      if (key.shape === "list" && key.item.shape === "section") {
        // An empty list is the default of one inside a section.
        if (path.split(".").length > 2 && Array.isArray(value) && value.length === 0) return [];
        return differs(Array.isArray(value) ? value[0] : undefined, key.item, path);
      }
      return key.default === undefined || Bun.deepEquals(value, key.default) ? [] : [path];
    };
    expect(differs(parse(text), CONFIG_KEYS, "")).toEqual([]);
  });
});

describe("docs/configuration.md", () => {
  test("has one example a section, and together they are good but for missing files", async () => {
    const blocks = (await Bun.file(join(TOP, "docs/configuration.md")).text()).matchAll(
      /```yaml\n(.*?)```/gs,
    );
    const sections = [...blocks].map(([, block = ""]) => block).slice(1);
    expect(sections.length).toBe([...CONFIG_KEYS.keys.values()].filter(hasKeys).length);
    const told = await messages(sections.join(""));
    expect(told.filter((message) => !message.endsWith("does not exist"))).toEqual([]);
  });
});

test("each example of docs/siem.md is good but for missing files", async () => {
  const blocks = (await Bun.file(join(TOP, "docs/siem.md")).text()).matchAll(/```yaml\n(.*?)```/gs);
  const examples = [...blocks].map(([, block = ""]) => block);
  expect(examples.length).toBeGreaterThan(8);
  for (const example of examples) {
    const told = await messages(`vmray: {url: "https://v.example", api_key: k}\n${example}`);
    expect(told.filter((message) => !message.endsWith("does not exist"))).toEqual([]);
  }
});

function hasKeys(key: Key): boolean {
  const section = key.shape === "list" ? key.item : key;
  return section.shape === "section" && section.keys.size > 0;
}

describe("docs/sensor.schema.json", () => {
  const validator = async () =>
    new Ajv().compile(await Bun.file(join(TOP, "docs/sensor.schema.json")).json());

  test("accepts the example and good configurations", async () => {
    const validate = await validator();
    for (const path of [EXAMPLE, join(import.meta.dir, "good/minimal/sensor.yaml")]) {
      expect([path, validate(parse(await Bun.file(path).text())), validate.errors]).toEqual([
        path,
        true,
        null,
      ]);
    }
  });

  test.each(["unknown-key", "wrong-types", "sizes-and-durations", "host-port", "missing-vmray"])(
    "refuses %s",
    async (name) => {
      const validate = await validator();
      const text = await Bun.file(join(import.meta.dir, "bad", name, "sensor.yaml")).text();
      expect(validate(parse(text))).toBe(false);
    },
  );

  test("holds nothing of the machine it was made on", async () => {
    const schema = await Bun.file(join(TOP, "docs/sensor.schema.json")).json();
    expect(schema.properties.sensor.properties.id.default).toBeUndefined();
  });
});
