import { describe, expect, test } from "bun:test";
import { join } from "node:path";

const TOP = join(import.meta.dir, "../../..");
const CONFIGS = join(TOP, "test/unit/config");

async function checkConfig(...args: string[]) {
  const child = Bun.spawn([process.execPath, join(TOP, "src/main.ts"), "check-config", ...args], {
    stdout: "pipe",
    stderr: "pipe",
  });
  const [stdout, stderr, code] = await Promise.all([
    new Response(child.stdout).text(),
    new Response(child.stderr).text(),
    child.exited,
  ]);
  return { stdout, stderr, code };
}

describe("check-config", () => {
  test("says in one line what a good configuration will do", async () => {
    const file = join(CONFIGS, "good/minimal/sensor.yaml");
    const { stdout, code } = await checkConfig("--config", file);
    expect(code).toBe(0);
    expect(stdout.split("\n")).toEqual([expect.stringContaining(`${file} is good: takes mail on`), ""]);
    expect(stdout).toContain("127.0.0.1:10025");
    expect(stdout).toContain("https://eu.cloud.vmray.com");
  });

  test("lists every problem on stderr and exits with 2", async () => {
    const file = join(CONFIGS, "bad/all-at-once/sensor.yaml");
    const expected = await Bun.file(join(CONFIGS, "bad/all-at-once/expected.txt")).text();
    const { stdout, stderr, code } = await checkConfig("--config", file);
    expect(code).toBe(2);
    expect(stdout).toBe("");
    expect(stderr.replaceAll(join(CONFIGS, "bad/all-at-once/"), "")).toBe(expected);
  });

  test("gives the same as JSON", async () => {
    const file = join(CONFIGS, "bad/control-open/sensor.yaml");
    const { stdout, code } = await checkConfig("--json", "--config", file);
    expect(code).toBe(2);
    expect(JSON.parse(stdout)).toEqual({
      file,
      ok: false,
      summary: null,
      problems: [
        {
          file,
          line: 5,
          column: 3,
          key: "control.listen",
          message: "is open to other hosts and needs token_file",
        },
      ],
      warnings: [],
    });
  });

  test("exits with 2 for a command line it does not know", async () => {
    const { stderr, code } = await checkConfig("--conf", "x");
    expect(code).toBe(2);
    expect(stderr).toContain("use: email-sensor check-config");
  });
});
