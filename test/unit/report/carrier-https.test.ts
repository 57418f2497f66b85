import { afterAll, afterEach, beforeAll, describe, expect, test } from "bun:test";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { gunzipSync } from "node:zlib";
import { createHttpsCarrier, type HttpsSettings } from "../../../src/report/carrier-https.ts";
import { composeState } from "../../../src/report/compose.ts";
import type { SensorEvent } from "../../../src/report/event.ts";
import { elastic, splunkHec, webhook } from "../../../src/report/https-kinds.ts";
import { toJsonLine } from "../../../src/text.ts";
import { type Certificates, makeCertificates } from "./certificates.ts";
import { NOON, SENSOR } from "./fixtures.ts";

let made: Certificates;
beforeAll(() => {
  made = makeCertificates("siem.test");
  writeFileSync(join(made.folder, "token"), "s3cret\n", { mode: 0o600 });
});
afterAll(() => made.remove());

const closing: (() => Promise<void> | void)[] = [];
afterEach(async () => {
  for (const close of closing.splice(0).reverse()) await close();
});

type Seen = { readonly path: string; readonly headers: Headers; readonly body: string };

/** A receiver that answers with what `answer` says, and remembers what it got. */
function receiver(answer: (seen: Seen) => Response | Promise<Response>, tls = false) {
  const seen: Seen[] = [];
  const server = Bun.serve({
    port: 0,
    hostname: "127.0.0.1",
    ...(tls && {
      tls: {
        cert: readFileSync(made.server.cert, "utf8"),
        key: readFileSync(made.server.key, "utf8"),
        ca: readFileSync(made.ca, "utf8"),
        requestCert: true,
        rejectUnauthorized: true,
      },
    }),
    async fetch(request) {
      const bytes = Buffer.from(await request.arrayBuffer());
      const body =
        request.headers.get("content-encoding") === "gzip" ? gunzipSync(bytes).toString() : bytes.toString();
      const one = { path: new URL(request.url).pathname, headers: request.headers, body };
      seen.push(one);
      return answer(one);
    },
  });
  closing.push(() => server.stop(true));
  return { seen, url: `${tls ? "https" : "http"}://127.0.0.1:${server.port}` };
}

function carrier(url: string, change: Partial<HttpsSettings> = {}) {
  const one = createHttpsCarrier(
    {
      url,
      kind: webhook("array"),
      headers: [],
      gzip: false,
      timeout: 3000,
      maxBytes: 1_000_000,
      maxItems: 1000,
      ...change,
    },
    (event) => [{ event, text: toJsonLine(event) }],
  );
  closing.push(() => one.close());
  return one;
}

const events = (...texts: string[]): SensorEvent[] =>
  texts.map((text) => composeState("x", text, SENSOR, NOON));
const ok = () => new Response("");
const messages = (body: string) => (JSON.parse(body) as SensorEvent[]).map(({ state }) => state?.message);

describe("a webhook", () => {
  test("gets events as one array, in order, with the headers and the secret of the configuration", async () => {
    const { seen, url } = receiver(ok);
    const token = join(made.folder, "token");
    const sender = carrier(`${url}/in`, {
      tokenFile: token,
      headers: [
        { name: "X-A", value: "b c" },
        { name: "X-Key", valueFile: token },
      ],
      gzip: true,
    });
    expect(await sender.carry(events("1", "2"))).toEqual({ delivered: 2, fault: null });
    expect(await sender.carry(events("3"))).toEqual({ delivered: 1, fault: null });
    expect(seen.map(({ body }) => messages(body))).toEqual([["1", "2"], ["3"]]);
    const [first] = seen;
    expect(first?.path).toBe("/in");
    expect(["authorization", "x-a", "x-key", "content-type"].map((name) => first?.headers.get(name))).toEqual(
      ["Bearer s3cret", "b c", "s3cret", "application/json"],
    );
  });

  test("may get an object a line, and requests no longer than told", async () => {
    const { seen, url } = receiver(ok);
    const sender = carrier(url, { kind: webhook("ndjson"), maxBytes: 600 });
    await sender.carry(events("1", "2", "3", "4", "5"));
    expect(seen.length).toBeGreaterThan(1);
    const lines = seen.flatMap(({ body }) => body.trimEnd().split("\n"));
    expect(lines.map((line) => (JSON.parse(line) as SensorEvent).state?.message)).toEqual([
      "1",
      "2",
      "3",
      "4",
      "5",
    ]);
    for (const { body } of seen) expect(body.length).toBeLessThan(1200);
  });

  test("that fails, redirects, is silent or talks without end gets the events again", async () => {
    const answers = [
      () => new Response("busy", { status: 503, headers: { "retry-after": "7" } }),
      () => Response.redirect("http://127.0.0.1:1/", 307),
      () => Bun.sleep(7000).then(() => new Response("")),
      () => new Response("x".repeat(9 * 1024 * 1024)),
      ok,
    ];
    const { seen, url } = receiver(() => (answers.shift() ?? ok)());
    const sender = carrier(url);
    const results = [];
    for (let tries = 0; tries < 5; tries += 1) results.push(await sender.carry(events("1")));
    expect(results.map(({ delivered }) => delivered)).toEqual([0, 0, 0, 0, 1]);
    expect(results.map(({ fault }) => fault?.code)).toEqual([
      ...Array<"SIEM_UNREACHABLE">(4).fill("SIEM_UNREACHABLE"),
      undefined,
    ]);
    expect(results[0]?.retryAfter).toBe(7000);
    expect(seen).toHaveLength(5);
  });

  test("that takes less at once gets less, and one event that is too large alone is told and passed", async () => {
    const { url, seen } = receiver(({ body }) => new Response("", { status: body.length > 700 ? 413 : 200 }));
    const sender = carrier(url);
    expect(await sender.carry(events("1", "2", "x".repeat(900), "4"))).toEqual({
      delivered: 4,
      fault: null,
      refused: [{ index: 2, reason: "it is too large for the receiver" }],
    });
    const taken = seen.filter(({ body }) => body.length <= 700).flatMap(({ body }) => messages(body));
    expect(taken).toEqual(["1", "2", "4"]);
  });

  test("that refuses one event for its form with 400 or 422 gets all others, in order, and is not blocked", async () => {
    for (const status of [400, 422]) {
      for (const bad of [0, 1, 49, 98, 99]) {
        const taken: unknown[] = [];
        const { url, seen } = receiver(({ body }) => {
          if (body.includes("poison")) return new Response("bad field", { status });
          taken.push(...messages(body));
          return new Response("");
        });
        const texts = Array.from({ length: 100 }, (_, n) => (n === bad ? "poison" : `${n}`));
        expect(await carrier(url).carry(events(...texts))).toMatchObject({
          delivered: 100,
          fault: null,
          refused: [{ index: bad, reason: `it answered ${status}: bad field` }],
        });
        expect(taken).toEqual(texts.filter((text) => text !== "poison"));
        expect(seen.length).toBeLessThan(25);
      }
    }
  });

  test("that refuses everything loses nothing, and neither does one that refuses more than a few in a row", async () => {
    const { url, seen } = receiver(({ body }) =>
      body.includes('"bad"') ? new Response("no such field", { status: 400 }) : new Response(""),
    );
    const sender = carrier(url);
    const fault = { code: "SIEM_UNREACHABLE", message: expect.stringContaining("refuses every event") };
    const doubt = expect.stringContaining("no such field");
    expect(await sender.carry(events("bad"))).toMatchObject({ delivered: 0, fault, doubt });
    const many = Array.from({ length: 100 }, () => "bad");
    expect(await sender.carry(events(...many))).toMatchObject({ delivered: 0, fault });
    expect(await sender.carry(events("good", ...many, "good"))).toEqual({
      delivered: 1,
      fault: expect.objectContaining(fault),
      doubt,
      retryAfter: 0,
    });
    expect(seen.length).toBeLessThan(100);
    // What is refused first is known to be its own fault as soon as another is taken.
    const last = await sender.carry(events("bad", "bad", "good"));
    expect(last).toMatchObject({ delivered: 3, fault: null });
    expect(last.refused?.map(({ index }) => index)).toEqual([0, 1]);
  });

  test("gets nothing after the sensor closed it", async () => {
    const { seen, url } = receiver(ok);
    const sender = carrier(url);
    const under = sender.carry(events("1"));
    await sender.close();
    expect(await under).toEqual({ delivered: 1, fault: null });
    expect((await sender.carry(events("2"))).delivered).toBe(0);
    expect(seen).toHaveLength(1);
  });

  test("gets no more events in a request than it is set to", async () => {
    const { seen, url } = receiver(ok);
    await carrier(url, { maxItems: 2 }).carry(events("1", "2", "3", "4", "5"));
    expect(seen.map(({ body }) => messages(body))).toEqual([["1", "2"], ["3", "4"], ["5"]]);
  });

  test("got longer requests than told where much goes around each event", async () => {
    const kinds = [webhook("array"), webhook("ndjson"), elastic("logs"), splunkHec({ index: "mail" })];
    for (const kind of kinds) {
      const lengths: number[] = [];
      const { url } = receiver(({ body }) => {
        lengths.push(Buffer.byteLength(body));
        const create = { status: 201 };
        return Response.json({ code: 0, items: body.match(/"create"/g)?.map(() => ({ create })) });
      });
      const texts = Array.from({ length: 100 }, (_, n) => `number ${n}`);
      const sent = await carrier(url, { kind, maxBytes: 3000 }).carry(events(...texts));
      expect(sent).toEqual({ delivered: 100, fault: null });
      expect(Math.max(...lengths)).toBeLessThanOrEqual(3000);
      expect(Math.max(...lengths)).toBeGreaterThan(2000);
    }
  });

  test("is spoken to over TLS with a client certificate, and only where its own is good", async () => {
    const { seen, url } = receiver(ok, true);
    const good = { ca: made.ca, serverName: "siem.test", verify: true, ...made.client };
    expect((await carrier(url, { tls: good }).carry(events("1"))).fault).toBeNull();
    for (const tls of [
      { ...good, ca: undefined },
      { ...good, serverName: "other.test" },
      { ca: made.ca, serverName: "siem.test", verify: true },
    ]) {
      expect((await carrier(url, { tls }).carry(events("2"))).fault?.code).toBe("SIEM_UNREACHABLE");
    }
    expect(seen).toHaveLength(1);
  });
});

describe("Splunk HEC", () => {
  test("gets events in its envelope, at its path, with its token", async () => {
    const { seen, url } = receiver(() => Response.json({ text: "Success", code: 0 }));
    const kind = splunkHec({ index: "mail", source: "email-sensor", sourcetype: "_json" });
    const sent = events('a"} {"b', "c");
    expect(
      (await carrier(url, { kind, tokenFile: join(made.folder, "token") }).carry(sent)).fault,
    ).toBeNull();
    expect(seen[0]?.path).toBe("/services/collector/event");
    expect(seen[0]?.headers.get("authorization")).toBe("Splunk s3cret");
    const bodies = (seen[0]?.body ?? "").split("\n").map((line) => JSON.parse(line));
    expect(bodies).toMatchObject(
      sent.map((event) => ({
        time: NOON / 1000,
        host: "sensor-1",
        index: "mail",
        source: "email-sensor",
        sourcetype: "_json",
        fields: { event_id: event.id },
        event: { id: event.id, state: event.state },
      })),
    );
  });

  test("that refuses an event gets all others, whether it says which and whether it indexed those before", async () => {
    for (const says of [true, false]) {
      const indexed = new Set<unknown>();
      const { url, seen } = receiver(({ body }) => {
        const sent = body.split("\n").map((line) => JSON.parse(line).event.state.message);
        const bad = sent.findIndex((text) => String(text).startsWith("bad"));
        if (bad === -1) {
          for (const text of sent) indexed.add(text);
          return Response.json({ text: "Success", code: 0 });
        }
        const which = says ? { "invalid-event-number": bad } : {};
        return Response.json({ text: "Invalid data format", code: 6, ...which }, { status: 400 });
      });
      const texts = Array.from({ length: 50 }, (_, n) => ([0, 20, 21].includes(n) ? `bad ${n}` : `${n}`));
      const { refused, ...rest } = await carrier(url, { kind: splunkHec({}) }).carry(events(...texts));
      expect(rest).toEqual({ delivered: 50, fault: null });
      expect(refused).toEqual([0, 20, 21].map((index) => ({ index, reason: "Invalid data format" })));
      expect([...indexed]).toEqual(texts.filter((text) => !text.startsWith("bad")));
      expect(seen.length).toBeLessThan(says ? 20 : 40);
    }
  });

  test("gets everything again where the trouble is its own", async () => {
    const answers = [
      () => Response.json({ text: "Server is busy", code: 9 }, { status: 503 }),
      () => Response.json({ text: "Incorrect index", code: 7, "invalid-event-number": 0 }, { status: 400 }),
      () => new Response("<html>login</html>"),
      () => Response.json({ text: "Success", code: 0 }),
    ];
    const { url } = receiver(() => (answers.shift() ?? ok)());
    const sender = carrier(url, { kind: splunkHec({}) });
    expect((await sender.carry(events("3"))).delivered).toBe(0);
    expect((await sender.carry(events("3"))).fault?.message).toContain("Incorrect index");
    expect((await sender.carry(events("3"))).fault?.message).toContain("does not answer as Splunk HEC does");
    expect(await sender.carry(events("3"))).toEqual({ delivered: 1, fault: null });
  });
});

describe("Elasticsearch", () => {
  const results = (...statuses: number[]) =>
    Response.json({
      errors: true,
      items: statuses.map((status) => ({
        create: { status, error: { type: "some_exception", reason: "why" } },
      })),
    });

  test("gets documents with a time stamp, created under the id of the event", async () => {
    const { seen, url } = receiver(() => results(201, 409));
    const kind = elastic("logs-email_sensor-default");
    const sent = events("1", "2");
    const sender = carrier(url, { kind, tokenFile: join(made.folder, "token") });
    expect(await sender.carry(sent)).toEqual({ delivered: 2, fault: null });
    expect(seen[0]?.path).toBe("/_bulk");
    expect(seen[0]?.headers.get("authorization")).toBe("ApiKey s3cret");
    const lines = (seen[0]?.body ?? "")
      .trimEnd()
      .split("\n")
      .map((line) => JSON.parse(line));
    expect(lines).toMatchObject(
      sent.flatMap((event) => [
        { create: { _index: "logs-email_sensor-default", _id: event.id } },
        { "@timestamp": event.time, id: event.id, state: event.state },
      ]),
    );
  });

  test("refuses single documents for good, and takes others later", async () => {
    const answers = [() => results(201, 400, 429, 201), () => results(201, 409)];
    const { url } = receiver(() => (answers.shift() ?? ok)());
    const sender = carrier(url, { kind: elastic("logs") });
    expect(await sender.carry(events("1", "bad", "3", "4"))).toMatchObject({
      delivered: 2,
      fault: { code: "SIEM_UNREACHABLE" },
      refused: [{ index: 1, reason: "400 some_exception: why" }],
    });
    expect(await sender.carry(events("3", "4"))).toEqual({ delivered: 2, fault: null });
  });

  test("whose configuration makes it refuse every document gives up none of them", async () => {
    let broken = true;
    const { url } = receiver(({ body }) => {
      const count = body.split('{"create"').length - 1;
      const error = { type: "illegal_argument_exception", reason: "pipeline with id [mail] does not exist" };
      const create = broken ? { status: 400, error } : { status: 201 };
      return Response.json({ items: Array.from({ length: count }, () => ({ create })) });
    });
    const sender = carrier(url, { kind: elastic("logs") });
    for (const texts of [["1"], ["1", "2", "3"], Array.from({ length: 83 }, (_, n) => `${n}`)]) {
      const { delivered, fault, refused } = await sender.carry(events(...texts));
      expect([delivered, refused]).toEqual([0, undefined]);
      expect(fault?.message).toContain("pipeline with id [mail] does not exist");
    }
    broken = false;
    expect(await sender.carry(events("1", "2"))).toEqual({ delivered: 2, fault: null });
  });

  test("is not believed where the answer does not fit the request", async () => {
    const answers = [() => results(201), () => Response.json({}), () => new Response("{")];
    const { url } = receiver(() => (answers.shift() ?? ok)());
    const sender = carrier(url, { kind: elastic("logs") });
    for (let tries = 0; tries < 3; tries += 1) {
      expect((await sender.carry(events("1", "2"))).delivered).toBe(0);
    }
  });

  test("gets a text that is no object as a message", () => {
    const [event] = events("1");
    if (event === undefined) throw new Error("no event");
    const { entry, body: bodyOf } = elastic("logs");
    const body = bodyOf([
      entry({ event, text: 'CEF:0|"x"', id: "i" }),
      entry({ event, text: '{"@timestamp":"mine"}', id: "j" }),
    ]);
    expect(JSON.parse(body.split("\n")[1] ?? "")).toEqual({
      "@timestamp": event.time,
      event: { id: event.id },
      message: 'CEF:0|"x"',
    });
    expect(body.split("\n")[3]).toBe('{"@timestamp":"mine"}');
  });
});
