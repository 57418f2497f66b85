import { afterAll, beforeAll, expect, test } from "bun:test";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

let folder: string;
let server: Bun.Server<undefined>;
let requests = 0;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "sandbox-"));
  server = Bun.serve({
    hostname: "127.0.0.1",
    port: 0,
    fetch: () => {
      requests += 1;
      return new Response("here");
    },
  });
});
afterAll(async () => {
  await server.stop(true);
  rmSync(folder, { recursive: true });
});

async function attempts(...mode: string[]): Promise<unknown> {
  const program = new URL("./isolated.ts", import.meta.url).pathname;
  const child = Bun.spawn([process.execPath, program, String(server.port), folder, ...mode], {
    stderr: "inherit",
  });
  const [said] = await Promise.all([child.stdout.text(), child.exited]);
  return JSON.parse(said);
}

test("an isolated process has files and threads, but no network and no other processes", async () => {
  expect(await attempts()).toEqual({
    isolated: true,
    connected: false,
    listened: false,
    fetched: false,
    started: false,
    signalled: false,
    thread: true,
    file: "text",
    limits: ["Max core file size 0 0 bytes", "Max open files 256 256 files"],
  });
  expect(requests).toBe(0);
});

test("the same process has all of that where it is not isolated: the attempts are real", async () => {
  expect(await attempts("free")).toMatchObject({
    isolated: null,
    connected: true,
    listened: true,
    fetched: true,
    started: true,
    signalled: true,
    thread: true,
  });
});
