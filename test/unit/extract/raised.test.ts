import { describe, expect, test } from "bun:test";
import { join } from "node:path";
import { Glob } from "bun";
import { FACTS } from "../../../src/extract/facts.ts";
import { FLAGS } from "../../../src/extract/flags.ts";

const SOURCES = join(import.meta.dir, "../../../src/extract");
/** Alerts of the sensor's own that come back are known before they are taken apart. */
const OWN_ALERTS = join(import.meta.dir, "../../../src/alert/own.ts");
const TABLES = /(?:^|\/)(?:flags|facts)\.ts$/;

/** The code of extraction without the tables of names, and without the keys of those that stand beside code. */
async function code(): Promise<string> {
  const files: string[] = [await Bun.file(OWN_ALERTS).text()];
  for await (const path of new Glob("**/*.ts").scan(SOURCES)) {
    if (!TABLES.test(path)) files.push(await Bun.file(join(SOURCES, path)).text());
  }
  return files.join("\n").replaceAll(/^export const [A-Z]+_(?:FLAGS|FACTS) = \{.*?^\}/gms, "");
}

describe("the code of extraction", () => {
  test("can give each flag and each fact that is documented", async () => {
    const text = await code();
    const given = new Set([...text.matchAll(/"([a-z][a-z0-9_]*)"/g)].map(([, name]) => name));
    const never = Object.keys({ ...FLAGS, ...FACTS }).filter((name) => !given.has(name));
    expect(never).toEqual([]);
  });

  test("gives none that is not documented", async () => {
    const text = await code();
    const names = (calls: RegExp) => [...new Set([...text.matchAll(calls)].map(([, name = ""]) => name))];
    const flags = names(/\b(?:flag|onFlag|flags\.add)\(\s*"([^"]+)"/g);
    const facts = names(/\b(?:fact|facts\.add)\(\s*"([^"]+)"/g);
    expect(flags.length).toBeGreaterThan(50);
    expect(facts.length).toBeGreaterThan(20);
    expect(flags.filter((name) => !Object.hasOwn(FLAGS, name))).toEqual([]);
    expect(facts.filter((name) => !Object.hasOwn(FACTS, name))).toEqual([]);
  });
});
