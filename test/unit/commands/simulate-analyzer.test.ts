/** The command: what it prints, when it refuses, how it stops. */
import { describe, expect, test } from "bun:test";
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
  }, 15_000);
});
