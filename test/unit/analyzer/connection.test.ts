/** The way to VMRay: a proxy that asks who is there, refuses or is down, and a server that wants a certificate. */
import { afterAll, afterEach, beforeAll, describe, expect, test } from "bun:test";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { type AddressInfo, connect as connectTo, createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createVmrayClient, type VmrayConnection } from "../../../src/analyzer/client.ts";
import { isDirect } from "../../../src/analyzer/connection.ts";
import { DIRECT, SUBMIT_DEFAULTS } from "./harness.ts";

const SHA = "ab".repeat(32);
const folder = mkdtempSync(join(tmpdir(), "connection-test-"));
const undo: (() => unknown)[] = [];
afterEach(async () => {
  for (const step of undo.splice(0).reverse()) await step();
});

const path = (name: string) => join(folder, name);
const openssl = (...args: readonly string[]) => {
  const { exitCode, stderr } = Bun.spawnSync(["openssl", ...args], { cwd: folder });
  if (exitCode !== 0) throw new Error(stderr.toString());
};

/** A CA, a server and a client that it vouches for, and a client of nobody. */
beforeAll(() => {
  const ec = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"];
  openssl("req", "-x509", ...ec, "-keyout", "ca.key", "-out", "ca.crt", "-subj", "/CN=ca");
  openssl("req", "-x509", ...ec, "-keyout", "other.key", "-out", "other.crt", "-subj", "/CN=other");
  writeFileSync(path("server.ext"), "subjectAltName=DNS:localhost,IP:127.0.0.1\n");
  writeFileSync(path("client.ext"), "extendedKeyUsage=clientAuth\n");
  for (const name of ["server", "client"]) {
    openssl("req", ...ec, "-keyout", `${name}.key`, "-out", `${name}.csr`, "-subj", `/CN=${name}`);
    openssl(
      ...["x509", "-req", "-in", `${name}.csr`, "-out", `${name}.crt`, "-CA", "ca.crt", "-CAkey", "ca.key"],
      ...["-CAcreateserial", "-extfile", `${name}.ext`],
    );
  }
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** A VMRay that speaks TLS, to whoever has a certificate of the CA where `mutual`. */
function vmray(mutual: boolean) {
  const file = (name: string) => Bun.file(path(name));
  let bytes = 0;
  const server = Bun.serve({
    port: 0,
    hostname: "127.0.0.1",
    tls: {
      cert: file("server.crt"),
      key: file("server.key"),
      ...(mutual ? { ca: file("ca.crt"), requestCert: true, rejectUnauthorized: true } : {}),
    },
    async fetch(request) {
      bytes += (await request.bytes()).length;
      return Response.json({ data: request.method === "GET" ? [] : { submissions: [{ submission_id: 1 }] } });
    },
  });
  undo.push(() => server.stop(true));
  return { url: `https://localhost:${server.port}`, received: () => bytes };
}

/** An HTTP proxy that knows CONNECT alone; `user` is who may use it, `refusal` the status for everybody. */
async function proxy(options: { readonly user?: string; readonly refusal?: string } = {}) {
  const tunnels: string[] = [];
  const server = createServer((socket) => {
    socket.on("error", () => socket.destroy());
    socket.once("data", (data) => {
      const head = data.toString("latin1");
      const target = /^CONNECT ([^ :]+):(\d+) /.exec(head);
      const said = /^proxy-authorization: basic (\S+)/im.exec(head)?.[1] ?? "";
      const known = options.user === undefined || Buffer.from(said, "base64").toString() === options.user;
      if (options.refusal !== undefined) return void socket.end(`HTTP/1.1 ${options.refusal}\r\n\r\n`);
      if (!known) {
        socket.end("HTTP/1.1 407 Proxy Authentication Required\r\nProxy-Authenticate: Basic\r\n\r\n");
      } else if (target === null) {
        socket.end("HTTP/1.1 405 Method Not Allowed\r\n\r\n");
      } else {
        tunnels.push(`${target[1]}:${target[2]}`);
        const there = connectTo(Number(target[2]), target[1], () => {
          socket.write("HTTP/1.1 200 Connection established\r\n\r\n");
          socket.pipe(there).pipe(socket);
        });
        there.on("error", () => socket.destroy());
      }
    });
  });
  const { promise, resolve } = Promise.withResolvers<void>();
  server.listen(0, "127.0.0.1", resolve);
  await promise;
  undo.push(() => server.close());
  const { port } = server.address() as AddressInfo;
  return { port, at: (user = "") => `http://${user}127.0.0.1:${port}`, tunnels };
}

function client(url: string, change: Partial<VmrayConnection> = {}) {
  const timeouts = { request_timeout: 2000, upload_timeout: 5000 };
  const defaults = { ...SUBMIT_DEFAULTS, ...DIRECT, ...timeouts, ca_file: path("ca.crt") };
  return createVmrayClient({ ...defaults, url, ...change }, "key");
}
const wrong = { code: "VMRAY_UNREACHABLE" };

describe("a proxy", () => {
  test("passes requests and uploads on; its connection is kept", async () => {
    const [server, through] = [vmray(false), await proxy()];
    const via = client(server.url, { proxy: through.at() });
    writeFileSync(path("content"), Buffer.alloc(3_000_000, "x"));
    expect(await via.samplesBySha256(SHA)).toEqual([]);
    await via.submitFile({
      path: path("content"),
      size: 3_000_000,
      filename: "a.exe",
      action: "dynamic",
      correlation: "c",
    });
    expect(server.received()).toBeGreaterThan(3_000_000);
    expect(through.tunnels).toEqual([new URL(server.url).host]);
  });

  test("is told user and password, special characters and all, and never VMRay's key", async () => {
    const [server, through] = [vmray(false), await proxy({ user: "se:ns@r" })];
    const via = client(server.url, { proxy: through.at("se:ns%40r@") });
    expect(await via.samplesBySha256(SHA)).toEqual([]);
  });

  test("that wants another password is named, without the password", async () => {
    const [server, through] = [vmray(false), await proxy({ user: "a:right" })];
    const call = client(server.url, { proxy: through.at("a:wrong-one@") }).samplesBySha256(SHA);
    await expect(call).rejects.toMatchObject({
      ...wrong,
      message: `VMRay cannot be reached through the proxy 127.0.0.1:${through.port}: it wants another user or password (407)`,
    });
  });

  test("that refuses says so; one that is not there, too", async () => {
    const [server, through] = [vmray(false), await proxy({ refusal: "403 Forbidden" })];
    const call = client(server.url, { proxy: through.at() }).samplesBySha256(SHA);
    await expect(call).rejects.toMatchObject(wrong);
    await expect(call).rejects.toThrow(/through the proxy .*403 Forbidden/);
    const nobody = client(server.url, { proxy: "http://127.0.0.1:1" }).samplesBySha256(SHA);
    await expect(nobody).rejects.toMatchObject(wrong);
  });

  test("of a server without TLS that wants a password is not taken for a refusal of VMRay", async () => {
    const through = await proxy({ user: "a:b" });
    const call = client("http://vmray.example", { proxy: through.at() }).samplesBySha256(SHA);
    await expect(call).rejects.toMatchObject({ ...wrong, status: 407 });
  });

  test("is left aside for servers that need none", async () => {
    const [server, through] = [vmray(false), await proxy()];
    const direct = client(server.url, { proxy: through.at(), no_proxy: ["localhost"] });
    expect(await direct.samplesBySha256(SHA)).toEqual([]);
    expect(through.tunnels).toEqual([]);
  });

  test.each([
    ["vmray.example.org", true],
    ["EXAMPLE.ORG", true],
    ["notexample.org", false],
    ["10.20.30.40", true],
    ["11.20.30.40", false],
    ["[2001:db8::1]", true],
    ["[2001:db9::1]", false],
  ])("is needed for %p: %p is direct", (host, direct) => {
    expect(isDirect(host, ["example.org", "10.0.0.0/8", "2001:db8::/32"])).toBe(direct);
  });
});

describe("a server that wants a certificate", () => {
  const certificate = (name: string) => ({
    client_cert_file: path(`${name}.crt`),
    client_key_file: path(`${name}.key`),
  });

  test("gets it, through a proxy, too", async () => {
    const [server, through] = [vmray(true), await proxy()];
    expect(await client(server.url, certificate("client")).samplesBySha256(SHA)).toEqual([]);
    const via = client(server.url, { ...certificate("client"), proxy: through.at() });
    expect(await via.samplesBySha256(SHA)).toEqual([]);
  });

  test("refuses who has none or one of nobody it knows", async () => {
    const server = vmray(true);
    for (const change of [{}, certificate("other")]) {
      await expect(client(server.url, change).samplesBySha256(SHA)).rejects.toMatchObject(wrong);
    }
  });

  test("cannot be reached where the files are gone", () => {
    expect(() => client("vmray.example.org", { ...certificate("client"), client_key_file: "/no" })).toThrow(
      "vmray.client_key_file",
    );
  });
});
