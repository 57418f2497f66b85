/** The REST client against the simulator, and against servers that are not what they should be. */
import { afterEach, describe, expect, test } from "bun:test";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { Readable } from "node:stream";
import {
  correlationOf,
  createVmrayClient,
  submittedFilename,
  type VmrayClient,
  type VmrayConnection,
} from "../../../src/analyzer/client.ts";
import { MARKER_PREFIX } from "../../../src/analyzer/simulator/judgement.ts";
import { startSimulator } from "../../../src/analyzer/simulator/simulator.ts";
import { VmrayError } from "../../../src/analyzer/vmray-error.ts";
import { SensorError } from "../../../src/errors.ts";
import { VERSION } from "../../../src/version.ts";
import { DIRECT, SUBMIT_DEFAULTS } from "./harness.ts";

const KEY = "key-0123456789";
const CLIENT = join(import.meta.dir, "../../../src/analyzer/client.ts");
const SHA = "ab".repeat(32);
const undo: (() => unknown)[] = [];
afterEach(async () => {
  for (const step of undo.splice(0).reverse()) await step();
});

const CONNECTION: Omit<VmrayConnection, "url"> = {
  ...DIRECT,
  request_timeout: 20_000,
  upload_timeout: 20_000,
  ...SUBMIT_DEFAULTS,
  tags: ["email-sensor"],
};

function connect(url: string, change: Partial<VmrayConnection> = {}, key = KEY): VmrayClient {
  return createVmrayClient({ ...CONNECTION, url, ...change }, key);
}

/** A program in a process of its own that prints a number a line. */
function program(source: string) {
  const child = Bun.spawn([process.execPath, "-e", source], { stdout: "pipe" });
  undo.push(() => child.kill());
  const lines = createInterface({ input: Readable.fromWeb(child.stdout) })[Symbol.asyncIterator]();
  return { number: async () => Number((await lines.next()).value) };
}

async function simulator() {
  const started = await startSimulator({ apiKey: KEY, queuedMs: 0, inWorkMs: 0 });
  undo.push(() => started.stop());
  return started;
}

/** A server that answers as told; gives its address and the requests it got. */
function serve(answer: (request: Request) => Response | Promise<Response>) {
  const requests: { readonly url: string; readonly headers: ReadonlyMap<string, string> }[] = [];
  const server = Bun.serve({
    port: 0,
    hostname: "127.0.0.1",
    maxRequestBodySize: 1024 ** 3,
    fetch(request) {
      requests.push({ url: request.url, headers: new Map(request.headers) });
      return answer(request);
    },
  });
  undo.push(() => server.stop(true));
  return { url: `http://127.0.0.1:${server.port}`, requests };
}

const json = (body: unknown, status = 200, headers: Record<string, string> = {}) =>
  Response.json(body, { status, headers });

function temporaryFile(content: string): string {
  const folder = mkdtempSync(join(tmpdir(), "client-test-"));
  undo.push(() => rmSync(folder, { recursive: true, force: true }));
  const path = join(folder, "content");
  writeFileSync(path, content);
  return path;
}

async function faultOf(call: Promise<unknown>): Promise<VmrayError> {
  try {
    await call;
  } catch (thrown) {
    if (thrown instanceof VmrayError) return thrown;
    throw thrown;
  }
  throw new Error("the call went well");
}

describe("against a VMRay", () => {
  test("submits a file and reads the submission, the sample and the threat names", async () => {
    const { url } = await simulator();
    const client = connect(url);
    const content = `${MARKER_PREFIX}malicious`;
    const answer = await client.submitFile({
      path: temporaryFile(content),
      size: content.length,
      filename: "Rechnung für März.doc",
      action: "dynamic",
      correlation: "c-1",
    });
    const id = answer.submissions[0]?.submission_id ?? 0;
    const submission = await client.submission(id);
    expect(submission).toMatchObject({ submission_finished: true, submission_verdict: "malicious" });
    expect(submission === null ? null : correlationOf(submission)).toBe("c-1");
    const sha256 = new Bun.CryptoHasher("sha256").update(content).digest("hex");
    const [sample] = await client.samplesBySha256(sha256.toUpperCase());
    expect(sample).toMatchObject({ sample_verdict: "malicious" });
    expect(await client.sample(sample?.sample_id ?? 0)).toEqual(sample ?? null);
    expect(await client.threatNames(sample?.sample_id ?? 0)).not.toBeEmpty();
    expect(
      (await client.submissionsOfSample(sample?.sample_id ?? 0)).map((each) => each.submission_id),
    ).toEqual([id]);
  });

  test("submits a URL in reputation mode", async () => {
    const { url } = await simulator();
    const client = connect(url);
    const answer = await client.submitUrl({
      url: "http://malicious.example/?a=1&b=%22",
      action: "reputation",
      correlation: "c-2",
    });
    const id = answer.submissions[0]?.submission_id ?? 0;
    expect(await client.reputationLookups(id)).toMatchObject([{ reputation_lookup_verdict: "malicious" }]);
  });

  test("says that a thing is not there without a fault", async () => {
    const { url } = await simulator();
    const client = connect(url);
    expect(await client.samplesBySha256(SHA)).toEqual([]);
    expect([await client.sample(99), await client.submission(99)]).toEqual([null, null]);
  });

  test("reads the system information under every spelling of the address", async () => {
    const { url } = await simulator();
    for (const spelling of [url, `${url}/`, `${url}/rest`, `${url}/rest/`, ` ${url}//`]) {
      expect((await connect(spelling).systemInfo()).version).toBeString();
    }
  });

  test("refuses a wrong key as VMRAY_AUTH", async () => {
    const { url } = await simulator();
    const error = await faultOf(connect(url, {}, "wrong").samplesBySha256(SHA));
    expect([error.code, error.status]).toEqual(["VMRAY_AUTH", 401]);
  });
});

describe("a request", () => {
  test("carries the key, who asks, and nothing else of the sensor", async () => {
    const { url, requests } = serve(() => json({ data: [] }));
    await connect(url).samplesBySha256(SHA);
    expect(requests[0]?.headers.get("authorization")).toBe(`api_key ${KEY}`);
    expect(requests[0]?.headers.get("user-agent")).toBe(`email-sensor/${VERSION}`);
    expect(new URL(requests[0]?.url ?? "").pathname).toBe(`/rest/sample/sha256/${SHA}`);
  });

  test("with a submission has the fields of the API, its exact length, and no name of the mail outside base64", async () => {
    let form: FormData | undefined;
    let length = -1;
    const { url, requests } = serve(async (request) => {
      const bytes = await request.clone().bytes();
      length = bytes.length;
      form = (await request.formData()) as FormData;
      return json({ result: "ok", data: { submissions: [{ submission_id: 1 }] } });
    });
    const name = 'x"; name="shareable"\r\n\r\nTrue.exe';
    const config = { analysis_timeout: 120_000, tags: ["one", "two"] };
    await connect(url, config).submitFile({
      path: temporaryFile("abc"),
      size: 3,
      filename: name,
      action: "dynamic",
      correlation: "c",
    });
    expect(Number(requests[0]?.headers.get("content-length"))).toBe(length);
    const fields = [...(form?.entries() ?? [])].map(([field, value]) => [
      field,
      typeof value === "string" ? value : "(file)",
    ]);
    expect(Object.fromEntries(fields)).toEqual({
      sample_file: "(file)",
      sample_filename_b64enc: Buffer.from("x_; name=_shareable_____True.exe").toString("base64"),
      user_config: '{"timeout":120}',
      shareable: "False",
      tags: "one,two",
      submission_metadata: '{"email_sensor":"c","email_sensor_action":"dynamic"}',
    });
    const file = form?.get("sample_file");
    expect(file instanceof Blob ? await file.text() : null).toBe("abc");
  });

  test("for a URL says so in the body, never in the query", async () => {
    let form: FormData | undefined;
    const { url, requests } = serve(async (request) => {
      form = (await request.formData()) as FormData;
      return json({ data: {} });
    });
    await connect(url).submitUrl({
      url: "http://a.example/?token=secret",
      action: "reputation",
      correlation: "c",
    });
    expect(requests[0]?.url).not.toContain("secret");
    expect([form?.get("sample_url"), form?.get("analyzer_mode"), form?.get("enable_reputation")]).toEqual([
      "http://a.example/?token=secret",
      "reputation",
      "True",
    ]);
  });

  test("holds no whole file in memory", async () => {
    // Both sides in processes of their own: neither what the receiver holds nor what other tests left counts.
    const receiver =
      program(`const server = Bun.serve({ port: 0, hostname: "127.0.0.1", maxRequestBodySize: 1e9,
      async fetch(request) {
        let received = 0;
        for await (const chunk of request.body) received += chunk.length;
        console.log(received);
        return Response.json({ result: "ok", data: { submissions: [{ submission_id: 1 }] } });
      } });
      console.log(server.port);`);
    const url = `http://127.0.0.1:${await receiver.number()}`;
    const size = 256 * 1024 ** 2;
    const path = temporaryFile("");
    const file = Bun.file(path).writer();
    for (let n = 0; n < 256; n++) file.write(new Uint8Array(1024 ** 2));
    await file.end();
    const sender = program(`import { createVmrayClient } from ${JSON.stringify(CLIENT)};
      const client = createVmrayClient(${JSON.stringify({ ...CONNECTION, url, upload_timeout: 60_000 })}, "key");
      const before = process.memoryUsage.rss();
      let most = before;
      setInterval(() => { most = Math.max(most, process.memoryUsage.rss()); }, 5).unref();
      await client.submitFile(${JSON.stringify({ path, size, filename: null, action: "dynamic", correlation: "c" })});
      console.log(most - before);`);
    const grown = await sender.number();
    expect(await receiver.number()).toBeGreaterThan(size);
    expect(grown).toBeLessThan(size / 2);
  });
});

describe("a fault", () => {
  test.each([
    [401, "VMRAY_AUTH"],
    [403, "VMRAY_ANSWER"],
    [429, "VMRAY_THROTTLED"],
    [500, "VMRAY_UNREACHABLE"],
    [503, "VMRAY_UNREACHABLE"],
    [408, "VMRAY_UNREACHABLE"],
    [302, "VMRAY_ANSWER"],
    [405, "VMRAY_ANSWER"],
    [204, "VMRAY_ANSWER"],
    [400, "VMRAY_ANSWER"],
    [413, "VMRAY_ANSWER"],
  ])("of status %p is %s", async (status, code) => {
    const { url } = serve(
      () => new Response(status === 204 ? null : "<html>", { status, headers: { location: "/x" } }),
    );
    const error = await faultOf(connect(url).sample(1));
    expect([error.code, error.status]).toEqual([code as never, status]);
  });

  test("is what is no JSON, has no data, or lost its ids", async () => {
    const bodies = [
      "<html>log in</html>",
      "",
      "[]",
      "null",
      '{"result":"ok"}',
      '{"data":7}',
      `${"[".repeat(200_000)}`,
    ];
    for (const body of bodies) {
      const { url } = serve(() => new Response(body));
      expect((await faultOf(connect(url).sample(1))).code).toBe("VMRAY_ANSWER");
    }
  });

  test("is a 404 that does not come from the API", async () => {
    const { url } = serve(() => new Response("<h1>Not found</h1>", { status: 404 }));
    expect((await faultOf(connect(url).sample(1))).code).toBe("VMRAY_ANSWER");
  });

  test("is a result that says error, with its text fit for people", async () => {
    const { url } = serve(() => json({ result: "error", error_msg: "bad\r\nthing of joe@acme.example" }));
    const error = await faultOf(connect(url).sample(1));
    expect([error.code, error.message]).toEqual([
      "VMRAY_ANSWER",
      "VMRay refused the request: bad thing of (address removed)",
    ]);
  });

  test("is an answer larger than any real one", async () => {
    const { url } = serve(
      () =>
        new Response(
          new ReadableStream({
            pull(controller) {
              controller.enqueue(new Uint8Array(1024 ** 2).fill(32));
            },
          }),
        ),
    );
    const error = await faultOf(connect(url, { request_timeout: 10_000 }).sample(1));
    expect([error.code, error.message.includes("more than")]).toEqual(["VMRAY_ANSWER", true]);
  });

  test("is an answer that unpacks to more than it is", async () => {
    const { url } = serve(
      () => new Response(Bun.gzipSync(new Uint8Array(1e6)), { headers: { "content-encoding": "gzip" } }),
    );
    expect((await faultOf(connect(url).sample(1))).code).toBe("VMRAY_ANSWER");
  });

  test("is a redirect, and the key does not follow it", async () => {
    const other = serve(() => json({ data: [] }));
    const { url } = serve(() => Response.redirect(`${other.url}/login`));
    expect((await faultOf(connect(url).sample(1))).code).toBe("VMRAY_ANSWER");
    expect(other.requests).toBeEmpty();
  });

  test("is no answer in time", async () => {
    const { url } = serve(async () => {
      await Bun.sleep(300);
      return json({ data: [] });
    });
    const error = await faultOf(connect(url, { request_timeout: 50 }).sample(1));
    expect([error.code, error.status]).toEqual(["VMRAY_UNREACHABLE", null]);
  });

  test("is a server that is not there, or a name nobody has", async () => {
    const { url } = serve(() => json({}));
    await undo.pop()?.();
    expect((await faultOf(connect(url).sample(1))).code).toBe("VMRAY_UNREACHABLE");
    expect((await faultOf(connect("http://vmray.invalid").sample(1))).code).toBe("VMRAY_UNREACHABLE");
  });

  test.each([
    ["7", 7000],
    ["0", 0],
    ["99999999", 600_000],
    ["Thu, 01 Jan 1970 00:00:30 GMT", 30_000],
    ["Thu, 01 Jan 1970 00:00:00 GMT", 0],
    ["soon", null],
    ["-5", null],
  ])("of too many requests tells how long %p is", async (header, expected) => {
    const { url } = serve(() => json({ result: "error" }, 429, { "retry-after": header }));
    const client = createVmrayClient({ ...CONNECTION, url }, KEY, { now: () => 0 });
    expect((await faultOf(client.sample(1))).retryAfter).toBe(expected);
  });

  test("never names the key", async () => {
    const { url } = serve((request) =>
      json({ result: "error", error_msg: "no" }, Number(request.url.slice(-3))),
    );
    for (const status of [401, 403, 500, 400]) {
      const error = await faultOf(connect(url).sample(status));
      expect(`${error.message} ${error.cause ?? ""}`).not.toContain(KEY);
    }
  });
});

describe("a connection that breaks", () => {
  /** Ends the connection of the first request after it came, and answers the later ones. */
  function breaking() {
    let connections = 0;
    const server = Bun.listen({
      hostname: "127.0.0.1",
      port: 0,
      socket: {
        data(socket, data) {
          if (!data.includes("\r\n\r\n")) return;
          connections += 1;
          if (connections === 1) return void socket.terminate();
          const body = '{"data":[]}';
          socket.end(`HTTP/1.1 200 OK\r\nContent-Length: ${body.length}\r\nConnection: close\r\n\r\n${body}`);
        },
      },
    });
    undo.push(() => server.stop(true));
    return { url: `http://127.0.0.1:${server.port}`, connections: () => connections };
  }

  test("is tried once more for a GET", async () => {
    const { url, connections } = breaking();
    expect(await connect(url).samplesBySha256(SHA)).toEqual([]);
    expect(connections()).toBe(2);
  });

  test("is not tried again for a POST, which VMRay may have taken", async () => {
    const { url, connections } = breaking();
    const error = await faultOf(
      connect(url).submitUrl({ url: "http://a.example/", action: "reputation", correlation: "c" }),
    );
    expect([error.code, connections()]).toEqual(["VMRAY_UNREACHABLE", 1]);
  });
});

describe("a list", () => {
  test("is read over its pages, each asked for once", async () => {
    const { url, requests } = serve((request) => {
      const id = Number(request.url.at(-1));
      return json({
        data: [{ submission_id: id }],
        continuation_id: request.url.includes("continuation") ? (id < 3 ? id + 1 : null) : 2,
      });
    });
    expect((await connect(url).submissionsOfSample(1)).map((each) => each.submission_id)).toEqual([1, 2, 3]);
    expect(requests.map((request) => new URL(request.url).pathname)).toEqual([
      "/rest/submission/sample/1",
      "/rest/continuation/2",
      "/rest/continuation/3",
    ]);
  });

  test("without an end is left after 20 pages", async () => {
    const { url, requests } = serve(() => json({ data: [], continuation_id: 5 }));
    await connect(url).submissionsOfSample(1);
    expect(requests.length).toBe(20);
  });

  test("does not take a continuation id that would leave its path", async () => {
    const { url, requests } = serve(() => json({ data: [], continuation_id: "../../sample/1" }));
    await connect(url).submissionsOfSample(1);
    expect(requests.length).toBe(1);
  });

  test("of samples leaves out those with another hash", async () => {
    const { url } = serve(() =>
      json({ data: [{ sample_id: 1, sample_sha256hash: "00".repeat(32), sample_verdict: "clean" }] }),
    );
    expect(await connect(url).samplesBySha256(SHA)).toEqual([]);
  });
});

describe("TLS", () => {
  async function secure() {
    const { certificate, key } = await selfSigned();
    const server = Bun.serve({
      port: 0,
      hostname: "127.0.0.1",
      tls: { cert: certificate, key },
      fetch: () => json({ data: [] }),
    });
    undo.push(() => server.stop(true));
    return { url: `https://127.0.0.1:${server.port}`, ca_file: temporaryFile(certificate) };
  }

  test("is refused without trust, taken with the CA file or with checks off", async () => {
    const { url, ca_file } = await secure();
    expect((await faultOf(connect(url).samplesBySha256(SHA))).code).toBe("VMRAY_UNREACHABLE");
    expect(await connect(url, { ca_file }).samplesBySha256(SHA)).toEqual([]);
    expect(await connect(url, { tls_verify: false }).samplesBySha256(SHA)).toEqual([]);
  });
});

describe("a wrong configuration", () => {
  test.each([
    "",
    "ftp://vmray.example.com",
    "https://u:p@vmray.example.com",
    "https://vmray.example.com/?a=1",
    "http://",
  ])("of the address %p is told at once", (url) => {
    expect(() => connect(url)).toThrow(SensorError);
  });
  test.each(["", "a b", "a\nb", "ключ"])("of the key %p is told at once", (key) => {
    expect(() => connect("vmray.example.com", {}, key)).toThrow("API key");
  });
  test("of the CA file is told at once", () => {
    expect(() => connect("vmray.example.com", { ca_file: "/no/such/file" })).toThrow("ca_file");
  });
});

describe("the name VMRay sees", () => {
  test.each([
    ["invoice.pdf", "invoice.pdf"],
    ["..\\..\\windows\\evil.exe", "evil.exe"],
    ["/etc/passwd", "passwd"],
    ['a<b>c:"d"|?*.doc', "a_b_c__d____.doc"],
    ["a\r\nb\u202eexe.txt", "a__b_exe.txt"],
    ["Rechnung März.pdf", "Rechnung März.pdf"],
    ["", "attachment"],
    ["...", "attachment"],
    [null, "attachment"],
  ])("of %p is %p", (name, expected) => {
    expect(submittedFilename(name)).toBe(expected);
  });
  test("is cut to 200 bytes with its extension, whole characters only", () => {
    const name = submittedFilename(`${"ü😀".repeat(500)}.docm`);
    expect(Buffer.byteLength(name)).toBeLessThanOrEqual(200);
    expect([name.endsWith(".docm"), name.isWellFormed()]).toEqual([true, true]);
  });
});

async function selfSigned(): Promise<{ readonly certificate: string; readonly key: string }> {
  const folder = mkdtempSync(join(tmpdir(), "client-test-"));
  undo.push(() => rmSync(folder, { recursive: true, force: true }));
  const [key, cert] = [join(folder, "key"), join(folder, "cert")];
  const made = Bun.spawnSync(
    `openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -keyout ${key} -out ${cert} -subj /CN=localhost -addext subjectAltName=IP:127.0.0.1`.split(
      " ",
    ),
  );
  if (!made.success) throw new Error(made.stderr.toString());
  return { certificate: await Bun.file(cert).text(), key: await Bun.file(key).text() };
}
