/** The command: what it prints, when it refuses, how it stops. */
import { describe, expect, test } from "bun:test";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { command } from "../../../src/commands/simulate-analyzer.ts";

const MAIN = join(import.meta.dir, "../../../src/main.ts");

describe("simulate-analyzer", () => {
  test.each([
    [[], "--api-key needs"],
    [["--api-key", ""], "--api-key needs"],
    [["--api-key", "a b"], "--api-key needs"],
    [["--api-key", "k", "--listen", "8480"], "--listen needs"],
    [["--api-key", "k", "--listen", "127.0.0.1:70000"], "--listen needs"],
    [["--api-key", "k", "--queued", "3"], "--queued needs"],
    [["--api-key", "k", "--work", "2d"], "--work needs"],
    [["--api-key", "k", "--fast"], "--fast"],
    [["--api-key", "k", "--platform", "5"], "--platform needs one of 2.1, 4.2, 2026.2"],
    [["--api-key", "k", "--fault", "never"], "--fault: fault: must be one of"],
    [["--api-key", "k", "--scenario", "/nowhere/s.yaml"], "--scenario: the file /nowhere/s.yaml"],
    [["--api-key", "k", "extra"], "extra"],
  ] as const)("refuses %p", async (args, message) => {
    const thrown = await command.run(args).catch((error: unknown) => error);
    expect(thrown).toMatchObject({ code: "USAGE", message: expect.stringContaining(message) });
  });

  test("serves until SIGTERM, and says where and that it is a simulator", async () => {
    const process_ = Bun.spawn(
      [process.execPath, MAIN, "simulate-analyzer", "--api-key", "k", "--listen", "127.0.0.1:0"],
      { stdout: "pipe", stderr: "inherit" },
    );
    try {
      const reader = process_.stdout.getReader();
      let printed = "";
      while (!printed.includes("api_key_file")) {
        const { value, done } = await reader.read();
        if (done) break;
        printed += new TextDecoder().decode(value);
      }
      expect(printed).toContain("This is a simulator, not a VMRay Analyzer");
      const url = /listening on (http:\/\/127\.0\.0\.1:\d+)\n/.exec(printed)?.[1];
      expect(url).toBeString();
      const reply = await fetch(`${url}/rest/system_info`, { headers: { authorization: "api_key k" } });
      expect(reply.status).toBe(200);
      process_.kill("SIGTERM");
      expect(await process_.exited).toBe(0);
    } finally {
      process_.kill("SIGKILL");
    }
  });

  test("reads its scenario anew on SIGHUP, and keeps the old one where the new one is wrong", async () => {
    const folder = mkdtempSync(join(tmpdir(), "simulate-"));
    const scenario = join(folder, "s.yaml");
    const status = (code: number) => `faults: [{fault: status, status: ${code}, endpoints: [system_info]}]`;
    writeFileSync(scenario, status(503));
    const process_ = Bun.spawn(
      [
        ...[process.execPath, MAIN, "simulate-analyzer", "--api-key", "k", "--listen", "127.0.0.1:0"],
        ...["--scenario", scenario, "--fault", "status=429 endpoints=lookup"],
      ],
      { stdout: "pipe", stderr: "pipe" },
    );
    try {
      const [out, err] = [lineReader(process_.stdout), lineReader(process_.stderr)];
      const url = /listening on (http:\S+)/.exec(await out("api_key_file"))?.[1];
      const get = async (path: string) =>
        (await fetch(`${url}${path}`, { headers: { authorization: "api_key k" } })).status;
      expect(await get("/rest/system_info")).toBe(503);
      expect(await get("/rest/sample/search?query=x")).toBe(429);
      writeFileSync(scenario, status(502));
      process_.kill("SIGHUP");
      await out("read anew");
      expect(await get("/rest/system_info")).toBe(502);
      writeFileSync(scenario, "faults: yes");
      process_.kill("SIGHUP");
      expect(await err("must be a list")).toContain("the old scenario stays");
      expect([await get("/rest/system_info"), await get("/rest/sample/search?query=x")]).toEqual([502, 429]);
    } finally {
      process_.kill("SIGKILL");
      rmSync(folder, { recursive: true });
    }
  });
});

/** Reads on until a text was printed; gives all that was read so far. */
function lineReader(stream: ReadableStream<Uint8Array>): (until: string) => Promise<string> {
  const reader = stream.getReader();
  const decoder = new TextDecoder();
  let printed = "";
  let from = 0;
  return async (until) => {
    while (!printed.includes(until, from)) {
      const { value, done } = await reader.read();
      if (done) throw new Error(`ended without "${until}": ${printed}`);
      printed += decoder.decode(value, { stream: true });
    }
    from = printed.indexOf(until, from) + until.length;
    return printed;
  };
}
