import { afterEach, beforeEach, expect, test } from "bun:test";
import { mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

const MAIN = join(import.meta.dir, "../../../../src/main.ts");
const LIMIT = 90_000;

let folder = "";
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "demo-test-"));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

function start(...options: string[]) {
  return Bun.spawn([process.execPath, MAIN, "demo", ...options], {
    env: { ...process.env, TMPDIR: folder },
    stdout: "pipe",
    stderr: "pipe",
  });
}

test(
  "the demo brings every sample mail the whole way and leaves nothing behind",
  async () => {
    const demo = start("--json");
    const report = JSON.parse(await demo.stdout.text());
    expect(report.checks.filter((check: { ok: boolean }) => !check.ok)).toEqual([]);
    expect(report).toMatchObject({ ok: true, folder: null });
    expect(await demo.exited).toBe(0);
    expect(readdirSync(folder)).toEqual([]);
  },
  LIMIT,
);

test(
  "the demo, interrupted in its middle, ends with 1 and leaves nothing behind",
  async () => {
    const demo = start();
    let progress = "";
    let interrupted = false;
    for await (const chunk of demo.stderr.pipeThrough(new TextDecoderStream())) {
      progress += chunk;
      if (interrupted || !progress.includes("sending")) continue;
      interrupted = true;
      demo.kill("SIGINT");
    }
    expect(await demo.exited).toBe(1);
    expect(progress).toContain("interrupted");
    expect(readdirSync(folder)).toEqual([]);
  },
  LIMIT,
);
