import { describe, expect, test } from "bun:test";
import { readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { SiemConfig } from "../../../src/config/schema.ts";
import { FORMATS, siemDestination } from "../../../src/config/sections/siem.ts";
import { startReporting } from "../../../src/report/outbox.ts";
import { createPreviewer } from "../../../src/report/preview.ts";
import { sampleEvents } from "../../../src/report/samples.ts";
import { until } from "../../until.ts";
import { openInThread } from "../spool/fixtures.ts";
import { recordingLog, SENSOR } from "./fixtures.ts";

const SECRET = Buffer.alloc(32, 7);
const EVENTS = sampleEvents().map(({ event }) => event);

const destination = (change: object): SiemConfig => siemDestination.parse({ name: "a", ...change });
const shown = (change: object) => {
  const previewer = createPreviewer(destination(change), SENSOR.id, SECRET);
  return Buffer.concat(EVENTS.flatMap((event) => [...previewer.preview(event).payloads])).toString();
};

/** What really arrives of the samples: all bytes of the connection or the request bodies. */
async function arriving(change: (address: string) => object, done: (bytes: Buffer) => boolean) {
  const folder = join(tmpdir(), `preview-${process.pid}-${Math.random()}`);
  const chunks: Buffer[] = [];
  using server = Bun.listen<undefined>({
    hostname: "127.0.0.1",
    port: 0,
    socket: { data: (_, bytes) => void chunks.push(Buffer.from(bytes)) },
  });
  const spool = await openInThread(folder);
  try {
    await spool.addDestinations(["siem:a"]);
    const reporting = startReporting({
      destinations: [destination(change(`127.0.0.1:${server.port}`))],
      spool,
      sensorId: SENSOR.id,
      secret: SECRET,
      log: recordingLog().log,
    });
    await spool.putEvents(EVENTS);
    await until(() => done(Buffer.concat(chunks)));
    await reporting.stop();
    return Buffer.concat(chunks).toString();
  } finally {
    await spool.close();
    rmSync(folder, { recursive: true, force: true });
  }
}

describe("a preview", () => {
  test.each(FORMATS)("of format %s is what arrives by TCP, byte for byte", async (format) => {
    for (const framing of ["octet-counting", "lf"]) {
      const change = {
        format,
        framing,
        header: framing === "lf" ? "rfc3164" : "rfc5424",
        events: [...new Set(EVENTS.map(({ type }) => type))],
        privacy: { addresses: "hash", subjects: "drop" },
        ...(format === "template" && { template: "{{ type }} {{ mail | json }}" }),
      };
      const expected = shown({ ...change, syslog: "tcp://127.0.0.1:1" });
      const bytes = await arriving(
        (address) => ({ ...change, syslog: `tcp://${address}` }),
        (all) => all.length >= Buffer.byteLength(expected),
      );
      expect(bytes).toBe(expected);
    }
  });

  test("of a file is what the file holds", async () => {
    const path = join(tmpdir(), `preview-${process.pid}.json`);
    const expected = shown({ file: { path } });
    try {
      await arriving(
        () => ({ file: { path } }),
        () => readFileSync(path, { flag: "a+" }).length >= Buffer.byteLength(expected),
      );
      expect(readFileSync(path, "utf8")).toBe(expected);
    } finally {
      rmSync(path, { force: true });
    }
  });

  // What fields leave out stood in the header all the same.
  test("of a message has in its structured data what fields allow", () => {
    const structured = (exclude: readonly string[]) => {
      const change = { syslog: "tcp://127.0.0.1:1", structured_data: "a@32473", fields: { exclude } };
      const previewer = createPreviewer(destination(change), SENSOR.id, SECRET);
      const verdict = EVENTS.find(({ type }) => type === "mail.verdict");
      if (verdict === undefined) throw new Error("no sample");
      const [payload] = previewer.preview(verdict).payloads;
      return / \[a@32473 .*?\] /.exec(Buffer.from(payload ?? []).toString())?.[0] ?? "";
    };
    expect(structured(["mail.subject"])).toMatch(/ verdict="[a-z_]+" mail="[0-9a-f-]{36}"\] $/);
    expect(structured(["mail.id", "verdict"])).toMatch(/ type="mail\.verdict"\] $/);
  });

  test("of a request has the headers and no secret", async () => {
    const previewer = createPreviewer(
      destination({
        https: {
          kind: "splunk_hec",
          url: "https://splunk.example.org",
          token_file: "/etc/token",
          headers: [
            { name: "X-Plain", value: "p" },
            { name: "X-Secret", value_file: "/etc/secret" },
          ],
          gzip: true,
        },
        split: true,
      }),
      SENSOR.id,
      SECRET,
    );
    expect(previewer.target).toBe("https://splunk.example.org/services/collector/event");
    expect(await previewer.request()).toEqual({
      method: "POST",
      headers: {
        "content-type": "application/json",
        authorization: "Splunk [the secret in /etc/token]",
        "x-plain": "p",
        "x-secret": "[the secret in /etc/secret]",
        "content-encoding": "gzip",
      },
    });
    const verdict = EVENTS.find(({ type }) => type === "mail.verdict");
    if (verdict === undefined) throw new Error("no sample");
    const [body] = previewer.preview(verdict).payloads;
    const items = Buffer.from(body ?? [])
      .toString()
      .split("\n")
      .map((line) => JSON.parse(line));
    expect(items.map(({ event }) => event.type)).toEqual([
      "attachment.verdict",
      "url.verdict",
      "mail.verdict",
    ]);
    // Each is found by its own id.
    for (const { fields, event } of items) expect(fields.event_id).toBe(event.id);
  });

  test("says why an event is not sent, and what the log would say", () => {
    const previewer = createPreviewer(
      destination({
        syslog: "udp://127.0.0.1:1",
        format: "template",
        template: "{{ mail.subject }}",
        min_verdict: "suspicious",
      }),
      SENSOR.id,
      SECRET,
    );
    const of = (name: string) => {
      const sample = sampleEvents().find((one) => one.name === name);
      if (sample === undefined) throw new Error("no such sample");
      return previewer.preview(sample.event);
    };
    expect(of("mail.received")).toEqual({
      why: "events does not name mail.received",
      payloads: [],
      notes: [],
    });
    expect(of("mail.verdict of a bare mail").why).toBe("min_verdict is suspicious, and this is clean");
    expect(of("mail.verdict")).toMatchObject({ why: null, notes: [] });
    const state = of("sensor.state");
    expect(state.notes).toEqual([
      "the format failed, the event is sent as JSON: the template made an empty line",
    ]);
    expect(Buffer.from(state.payloads[0] ?? []).toString()).toContain('"type":"sensor.state"');
  });
});
