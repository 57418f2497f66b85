/** The way to VMRay: a proxy that asks who is there, refuses or is down, and a server that wants a certificate. */
import { afterAll, afterEach, beforeAll, describe, expect, test } from "bun:test";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { type AddressInfo, connect as connectTo, createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createVmrayClient, type VmrayConnection } from "../../../src/analyzer/client.ts";
import { createConnection, isDirect, proxyOf } from "../../../src/analyzer/connection.ts";
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
  writeFileSync(path("elsewhere.ext"), "subjectAltName=DNS:elsewhere.example\n");
  for (const [name, ext] of [
    ["server", "server"],
    ["client", "client"],
    ["expired", "server"],
    ["elsewhere", "elsewhere"],
  ]) {
    const days = name === "expired" ? "-1" : "2";
    openssl("req", ...ec, "-keyout", `${name}.key`, "-out", `${name}.csr`, "-subj", `/CN=${name}`);
    openssl(
      ...["x509", "-req", "-in", `${name}.csr`, "-out", `${name}.crt`, "-CA", "ca.crt", "-CAkey", "ca.key"],
      ...["-CAcreateserial", "-extfile", `${ext}.ext`, "-days", days],
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
  const timeouts = { request_timeout: 20_000, upload_timeout: 20_000 };
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
    ["example.org.", true],
    // Bug: the URL has the name in ASCII, the configuration as people write it.
    ["xn--bcher-kva.example", true],
  ])("is needed for %p: %p is direct", (host, direct) => {
    expect(isDirect(host, ["example.org", "10.0.0.0/8", "2001:db8::/32", "bücher.example"])).toBe(direct);
  });
});

describe("a proxy of the environment", () => {
  const settings = { ...DIRECT, url: "https://vmray.example.org" };
  const P = "http://proxy.example.org:3128";

  test("is named where it stands in the way (bug: the fault seemed VMRay's)", async () => {
    const [server, through] = [vmray(false), await proxy({ refusal: "403 Forbidden" })];
    const { base, fetch, explain } = createConnection(
      { ...settings, url: server.url },
      { HTTPS_PROXY: through.at("user:secret@") },
    );
    const fault = await fetch(base).catch((thrown: unknown) => explain(thrown));
    expect(fault).toBe(
      `VMRay cannot be reached through the proxy 127.0.0.1:${through.port} (HTTPS_PROXY of the environment): it refused to open a tunnel: 403 Forbidden`,
    );
  });

  test.each<[string, Record<string, string>, string | null]>([
    ["https://vmray.example.org", { HTTPS_PROXY: P }, "HTTPS_PROXY"],
    ["https://vmray.example.org", { HTTPS_PROXY: "http://other:1", https_proxy: P }, "https_proxy"],
    ["https://vmray.example.org", { HTTPS_PROXY: "", ALL_PROXY: P }, "ALL_PROXY"],
    ["https://vmray.example.org", { HTTPS_PROXY: "proxy.example.org:3128" }, "HTTPS_PROXY"],
    ["https://vmray.example.org", { HTTP_PROXY: P, http_proxy: P }, null],
    ["http://vmray.example.org", { HTTP_PROXY: P }, "HTTP_PROXY"],
    ["http://vmray.example.org", { HTTPS_PROXY: P }, null],
  ])("is taken by the scheme of the server: %s with %j", (url, environment, variable) => {
    const found = proxyOf({ ...settings, url }, environment);
    const expected = { url: P, host: "proxy.example.org:3128", variable };
    expect(found).toEqual(variable === null ? null : expected);
  });

  test.each<[string, string, boolean]>([
    ["https://vmray.example.org", "vmray.example.org", true],
    ["https://vmray.example.org", "localhost, example.org", true],
    ["https://vmray.example.org", ".example.org", true],
    ["https://vmray.example.org", "*.example.org", true],
    ["https://vmray.example.org", "*", true],
    ["https://vmray.example.org", "vmray.example.org:443", true],
    ["https://vmray.example.org:8443", "vmray.example.org:443", false],
    ["https://notexample.org", "example.org", false],
    ["https://vmray.example.org", ",, ,!,//", false],
    ["https://10.1.2.3", "10.0.0.0/8", true],
    ["https://11.1.2.3", "10.0.0.0/8", false],
    ["https://[2001:db8::1]:8443", "[2001:db8::1]:8443", true],
    ["https://[2001:db8::1]", "2001:db8::/32", true],
  ])("is not needed for what NO_PROXY names: %s with %p is direct: %p", (url, NO_PROXY, direct) => {
    expect(proxyOf({ ...settings, url }, { HTTPS_PROXY: P, NO_PROXY }) === null).toBe(direct);
  });

  test("is left aside for vmray.proxy and vmray.no_proxy", () => {
    const environment = { HTTPS_PROXY: P };
    const own = { ...settings, proxy: "http://own:8080" };
    expect(proxyOf(own, environment)).toEqual({ url: "http://own:8080", host: "own:8080", variable: null });
    expect(proxyOf({ ...own, no_proxy: ["example.org"] }, environment)).toBeNull();
    expect(proxyOf(own, { NO_PROXY: "*" })?.host).toBe("own:8080");
  });

  test("that is none of HTTP stops the start", () => {
    expect(() => createConnection(settings, { ALL_PROXY: "socks5://127.0.0.1:1080" })).toThrow(
      "ALL_PROXY of the environment must start with http:// or https://",
    );
  });
});

describe("what keeps VMRay from being reached", () => {
  const tls = (name: string) => {
    const server = Bun.serve({
      port: 0,
      hostname: "127.0.0.1",
      tls: { cert: Bun.file(path(`${name}.crt`)), key: Bun.file(path(`${name}.key`)) },
      fetch: () => Response.json({ data: [] }),
    });
    undo.push(() => server.stop(true));
    return `https://localhost:${server.port}`;
  };
  const plain = () => {
    const server = Bun.serve({ port: 0, hostname: "127.0.0.1", fetch: () => new Response("no") });
    undo.push(() => server.stop(true));
    return server.url.origin;
  };
  const speaking = async (greeting: string) => {
    const server = createServer((socket) => {
      socket.on("error", () => socket.destroy());
      socket.once("data", () => socket.end(greeting));
    });
    const { promise, resolve } = Promise.withResolvers<void>();
    server.listen(0, "127.0.0.1", resolve);
    await promise;
    undo.push(() => server.close());
    return `127.0.0.1:${(server.address() as AddressInfo).port}`;
  };

  test.each<[string, () => string | Promise<string>, string]>([
    ["a name of another host", () => tls("elsewhere"), "its certificate is for another host name"],
    ["a date that is over", () => tls("expired"), "its certificate has expired, or the clock here is wrong"],
    [
      "an authority of nobody",
      () => tls("other"),
      "its certificate is not trusted (self signed certificate)",
    ],
    ["no TLS", () => plain().replace("http:", "https:"), "no TLS could be agreed on"],
    ["no HTTP", async () => `http://${await speaking("220 mail ESMTP\r\n")}`, "broken HTTP, or none"],
    [
      "a short answer",
      async () => `http://${await speaking("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{")}`,
      "the connection was closed before",
    ],
    ["nobody", () => "http://127.0.0.1:1", "nothing takes connections there (refused)"],
    ["no address", () => "https://vmray.invalid", "its host name has no address (DNS)"],
  ])("is said in words of the field (bug: they were those of the runtime): %s", async (_, url, words) => {
    const call = client(await url()).samplesBySha256(SHA);
    await expect(call).rejects.toMatchObject(wrong);
    await expect(call).rejects.toThrow(`VMRay cannot be reached: `);
    await expect(call).rejects.toThrow(words);
  });

  test("names the server to which a redirect leads, without its query", async () => {
    const server = Bun.serve({
      port: 0,
      hostname: "127.0.0.1",
      fetch: () =>
        new Response(null, { status: 302, headers: { location: "https://sso.example/login?for=x" } }),
    });
    undo.push(() => server.stop(true));
    await expect(client(server.url.origin).samplesBySha256(SHA)).rejects.toMatchObject({
      code: "VMRAY_ANSWER",
      message:
        "VMRay answered with a redirect (HTTP 302 to https://sso.example/login); vmray.url must be the server itself",
    });
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
    for (const [change, key] of [
      [{}, "client_cert_file"],
      [certificate("other"), "VMRay may not take client_cert_file"],
    ] as const) {
      const call = client(server.url, change).samplesBySha256(SHA);
      await expect(call).rejects.toMatchObject(wrong);
      await expect(call).rejects.toThrow(key);
    }
  });

  test("cannot be reached where the files are gone", () => {
    expect(() => client("vmray.example.org", { ...certificate("client"), client_key_file: "/no" })).toThrow(
      "vmray.client_key_file",
    );
  });
});
