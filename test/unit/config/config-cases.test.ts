import { describe, expect, test } from "bun:test";
import { readdirSync } from "node:fs";
import { join } from "node:path";
import { checkConfig, loadConfig } from "../../../src/config/load.ts";
import { formatProblem } from "../../../src/config/problem.ts";
import { SensorError } from "../../../src/errors.ts";

const BAD = join(import.meta.dir, "bad");
const FILES = join(import.meta.dir, "files");
const ENV = { NOT_A_NUMBER: "1e3", LEVEL: "secret-level" };

describe("every bad configuration is refused with its expected problems", () => {
  for (const name of readdirSync(BAD).sort()) {
    test(name, async () => {
      const file = join(BAD, name, "sensor.yaml");
      const { config, problems } = await checkConfig(file, ENV);
      const told = problems
        .map((problem) => formatProblem(problem))
        .join("\n")
        .replaceAll(join(BAD, name, "/"), "")
        .replaceAll(join(BAD, name), ".")
        .replaceAll(FILES, "files");
      expect(`${told}\n`).toBe(await Bun.file(join(BAD, name, "expected.txt")).text());
      expect(config).toBeUndefined();
      expect(told).not.toContain("secret-");
      expect(told).not.toMatch(/[^\P{C}\n]/u);
      const refusal = await loadConfig(file, ENV).catch((thrown: unknown) => thrown);
      expect(refusal).toBeInstanceOf(SensorError);
      if (refusal instanceof SensorError) {
        expect(refusal.code).toBe("CONFIG_INVALID");
        expect(refusal.message.split("\n").slice(1)).toEqual(
          problems.map((problem) => formatProblem(problem)),
        );
      }
    });
  }
});
