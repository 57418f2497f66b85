import { afterEach, describe, expect, test } from "bun:test";
import { chmod, mkdir, stat, symlink, writeFile } from "node:fs/promises";
import { createServer } from "node:net";
import { join } from "node:path";
import { credentials, Metadata, type ServiceError, status } from "@grpc/grpc-js";
import { HealthCheckResponse_ServingStatus, HealthClient } from "../../../gen/grpc/health/v1/health.ts";
import { ServerReflectionClient } from "../../../gen/grpc/reflection/v1/reflection.ts";
import { startControl } from "../../../src/control/server.ts";
import { SensorError } from "../../../src/errors.ts";
import { openRunTimeLists } from "../../../src/triage/run-time.ts";
import { open as openSpool, QUIET, temporaryFolder } from "../spool/fixtures.ts";
import { bearer, calls, EXTRA, type Harness, harness, refusalOf, watchRequest } from "./harness.ts";

const TOKEN = "0123456789abcdef0123456789abcdef";

const cleanups: (() => Promise<void> | void)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

async function opened(change: Parameters<typeof harness>[0] = {}): Promise<Harness> {
  const made = await harness(change);
  cleanups.push(made.end);
  return made;
}

function folder(): string {
  const { path, remove } = temporaryFolder();
  cleanups.push(remove);
  return path;
}

async function tokenFile(text: string): Promise<string> {
  const path = join(folder(), "token");
  await writeFile(path, text);
  return path;
}

/** The error of a start that must fail. */
async function startError(listen: string, token?: string): Promise<SensorError> {
  const spool = await openSpool(folder());
  cleanups.push(() => spool.close());
  try {
    const control = await startControl({
      listen,
      tokenFile: token,
      spool,
      replay: async () => "unknown",
      lists: await openRunTimeLists(spool),
      status: () => EXTRA,
      sensor: { id: "a", version: "1" },
      log: QUIET,
    });
    cleanups.push(control.stop);
  } catch (thrown) {
    if (thrown instanceof SensorError) return thrown;
    throw thrown;
  }
  throw new Error(`it started on ${listen}`);
}

describe("where the control service listens", () => {
  test("the socket is for owner and group, in a folder that is made, and goes with the service", async () => {
    const { control, end, folder: path } = await harness();
    const socket = join(path, "run/control.sock");
    expect(control.address).toBe(`unix:${socket}`);
    expect((await stat(socket)).mode & 0o777).toBe(0o660);
    await control.stop();
    await expect(stat(socket)).rejects.toThrow("ENOENT");
    await control.stop();
    await end();
  });

  test("the socket a dead sensor left is taken over", async () => {
    const path = join(folder(), "control.sock");
    const dead = Bun.spawn(
      [
        process.execPath,
        "-e",
        `require("node:net").createServer().listen(${JSON.stringify(path)}, () => process.kill(process.pid, "SIGKILL"))`,
      ],
      { stdout: "ignore", stderr: "ignore" },
    );
    await dead.exited;
    expect((await stat(path)).isSocket()).toBe(true);
    const { client } = await opened({ listen: `unix:${path}` });
    expect((await calls(client()).getStatus()).status?.sensor?.id).toBe("sensor-1");
  });

  test("the socket of a process that answers is left alone", async () => {
    const path = join(folder(), "control.sock");
    const other = createServer();
    await new Promise<void>((resolve) => other.listen(path, resolve));
    cleanups.push(() => new Promise((resolve) => other.close(() => resolve())));
    const error = await startError(`unix:${path}`);
    expect(error.code).toBe("LISTEN_FAILED");
    expect(error.message).toContain("another process answers");
    expect((await stat(path)).isSocket()).toBe(true);
  });

  test("a file or a link in its place is never removed", async () => {
    const place = folder();
    const precious = join(place, "precious");
    await writeFile(precious, "data");
    await symlink(precious, join(place, "link"));
    for (const path of [precious, join(place, "link")]) {
      const error = await startError(`unix:${path}`);
      expect(error.code).toBe("LISTEN_FAILED");
      expect(error.message).toContain("is no socket");
    }
    expect(await Bun.file(precious).text()).toBe("data");
  });

  test("a TCP port that is taken is LISTEN_FAILED", async () => {
    const { control } = await opened({ listen: "127.0.0.1:0" });
    const error = await startError(control.address);
    expect(error.code).toBe("LISTEN_FAILED");
    expect(error.message).toContain(control.address);
  });

  test("an address that is none, or too long for a socket, is CONFIG_INVALID", async () => {
    for (const listen of ["", "nonsense", "unix:relative", `unix:/${"x".repeat(200)}`, "127.0.0.1:99999"]) {
      expect((await startError(listen)).code).toBe("CONFIG_INVALID");
    }
  });

  test("TCP that others reach needs a token", async () => {
    const error = await startError("0.0.0.0:0");
    expect(error.code).toBe("CONFIG_INVALID");
    expect(error.message).toContain("control.token_file");
  });
});

describe("the token", () => {
  test("opens every call, and nothing else does", async () => {
    const { client, control } = await opened({
      listen: "127.0.0.1:0",
      tokenFile: await tokenFile(`${TOKEN}\n`),
    });
    expect(control.address).toMatch(/^127\.0\.0\.1:\d+$/);
    expect((await calls(client(), bearer(TOKEN)).getStatus()).status).toBeDefined();

    const basic = new Metadata();
    basic.set("authorization", `Basic ${TOKEN}`);
    const wrong = [
      new Metadata(),
      bearer(""),
      bearer(TOKEN.slice(1)),
      bearer(`${TOKEN}0`),
      bearer("x"),
      basic,
    ];
    for (const metadata of wrong) {
      const refused = await refusalOf(calls(client(), metadata).getStatus());
      expect(refused.code).toBe(status.UNAUTHENTICATED);
      expect(refused.details).not.toContain(TOKEN);
    }
  });

  test("opens streams and reflection too, while health checks need none", async () => {
    const { client, control } = await opened({ tokenFile: await tokenFile(TOKEN) });
    const codeOf = (stream: NodeJS.EventEmitter) =>
      new Promise<number>((resolve) => stream.once("error", (error: ServiceError) => resolve(error.code)));
    expect(await codeOf(client().watchEvents(watchRequest()))).toBe(status.UNAUTHENTICATED);

    const reflection = new ServerReflectionClient(control.address, credentials.createInsecure());
    const health = new HealthClient(control.address, credentials.createInsecure());
    cleanups.push(() => reflection.close());
    cleanups.push(() => health.close());
    const asked = reflection.serverReflectionInfo();
    asked.write({ host: "", messageRequest: { $case: "listServices", value: "" } });
    expect(await codeOf(asked)).toBe(status.UNAUTHENTICATED);
    const serving = await new Promise((resolve, reject) => {
      health.check({ service: "" }, (error, answer) =>
        error === null ? resolve(answer.status) : reject(error),
      );
    });
    expect(serving).toBe(HealthCheckResponse_ServingStatus.SERVING);
  });

  test("in a file that is missing, empty, short or not one word stops the start", async () => {
    for (const text of [
      "",
      "\n",
      "short",
      "two words that are long enough",
      `${TOKEN}\n${TOKEN}`,
      "ü".repeat(40),
    ]) {
      const error = await startError("127.0.0.1:0", await tokenFile(text));
      expect(error.code).toBe("CONFIG_INVALID");
      if (text.trim() !== "") expect(error.message).not.toContain(text.trim());
    }
    const missing = await startError("127.0.0.1:0", join(folder(), "missing"));
    expect(missing.message).toContain("ENOENT");
    const place = folder();
    await mkdir(join(place, "token"));
    expect((await startError("127.0.0.1:0", join(place, "token"))).message).toContain("EISDIR");
    await chmod(place, 0o700);
  });
});
