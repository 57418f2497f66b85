/**
 * Isolates itself as a helper does, then tries what a parser that was taken over would try. Says what came of it as
 * one line of JSON. `bun isolated.ts PORT FOLDER`: a port that something listens on, a folder it may write to.
 */
import { readFileSync, writeFileSync } from "node:fs";
import { connect, createServer } from "node:net";
import { join } from "node:path";
import { isolate } from "../../../src/extract/sandbox.ts";

const [port = "", folder = ""] = process.argv.slice(2);

function connected(): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect({ host: "127.0.0.1", port: Number(port) });
    socket.on("connect", () => resolve(true));
    socket.on("error", () => resolve(false));
  });
}

function listened(): Promise<boolean> {
  return new Promise((resolve) => {
    const server = createServer();
    server.on("error", () => resolve(false));
    server.listen(0, "127.0.0.1", () => resolve(true));
  });
}

function started(): boolean {
  try {
    return Bun.spawnSync(["/bin/true"]).exitCode === 0;
  } catch {
    return false;
  }
}

function signalled(): boolean {
  try {
    process.kill(process.ppid, 0);
    return true;
  } catch {
    return false;
  }
}

async function attempts() {
  writeFileSync(join(folder, "file"), "text");
  const worker = new Worker("data:text/javascript,postMessage(1)");
  const thread = await new Promise<boolean>((resolve) => {
    worker.onmessage = () => resolve(true);
    worker.onerror = () => resolve(false);
  });
  worker.terminate();
  return {
    connected: await connected(),
    listened: await listened(),
    fetched: await fetch(`http://127.0.0.1:${port}/`).then(
      () => true,
      () => false,
    ),
    started: started(),
    signalled: signalled(),
    thread,
    file: readFileSync(join(folder, "file"), "utf8"),
    limits: readFileSync("/proc/self/limits", "utf8")
      .split("\n")
      .filter((line) => /core file|open files/.test(line))
      .map((line) => line.replace(/\s+/g, " ").trim()),
  };
}

const before = process.argv[4] === "free" ? null : isolate();
process.stdout.write(`${JSON.stringify({ isolated: before, ...(await attempts()) })}\n`);
process.exit(0);
