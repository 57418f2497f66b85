/**
 * Every format over every transport, of mails that try to forge a line, a field or a header, and of mails whose fields
 * are too long: what goes out, read by the rules of the transport.
 */
import { describe, expect, test } from "bun:test";
import { FORMATS, siemDestination } from "../../../src/config/sections/siem.ts";
import { composeState } from "../../../src/report/compose.ts";
import type { SensorEvent } from "../../../src/report/event.ts";
import { createPreviewer } from "../../../src/report/preview.ts";
import { NOON, SENSOR } from "./fixtures.ts";
import { eventWith, HOSTILE, readCef, readLeef, UNSAFE } from "./formats/hostile.ts";

type Format = (typeof FORMATS)[number];
/** From what goes out to the lines or messages in it. Throws where it is not what the transport wants. */
type Reader = (bytes: Buffer) => readonly string[];

const END = "\n<0>1 2020-01-01T00:00:00Z evil su - - - forged\n";
const TEXTS: readonly string[] = [
  ...HOSTILE,
  END,
  `\r${END}\u0000`,
  "12 <13>forged",
  "\u2028\u2029\u0085\u000b\u000c",
  "\u202d\u202e\u2066\u2067\u2068\u2069\u061c\u200e\u200f",
  "\u001b]8;;http://evil.example\u0007click\u001b]8;;\u0007",
  '"}\n{"create":{"_index":"other"}}\n{"forged":true}',
  '"}},{"forged":true,"x":"',
  "\ufeff\ufffe\uffff",
];
const LONG: readonly string[] = [
  "x".repeat(500_000),
  `${"\\\\"}${'"\\=|^\u0000\n'.repeat(80_000)}`,
  "\u{1F4A3}\u0301".repeat(150_000),
  "\u202e\u2028".repeat(200_000),
];

const text = (bytes: Buffer): string => new TextDecoder("utf-8", { fatal: true }).decode(bytes);

/** The messages of a stream with octet counting. */
const counted: Reader = (bytes) => {
  const messages: string[] = [];
  for (let at = 0; at < bytes.length; ) {
    const [head = "", count = ""] = /^([1-9][0-9]*) /.exec(bytes.toString("latin1", at, at + 12)) ?? [];
    const start = at + head.length;
    at = start + Number(count);
    if (head === "" || at > bytes.length) throw new Error("the count is wrong");
    messages.push(text(bytes.subarray(start, at)));
  }
  return messages;
};
/** The messages of RELP commands. */
const relp: Reader = (bytes) => {
  const messages: string[] = [];
  for (let at = 0; at < bytes.length; ) {
    const [head = "", count = ""] =
      /^[1-9][0-9]* syslog ([1-9][0-9]*) /.exec(bytes.toString("latin1", at, at + 40)) ?? [];
    const start = at + head.length;
    at = start + Number(count) + 1;
    if (head === "" || bytes[at - 1] !== 10) throw new Error("the frame is wrong");
    messages.push(text(bytes.subarray(start, at - 1)));
  }
  return messages;
};
const lines: Reader = (bytes) => {
  const all = text(bytes).split("\n");
  if (all.pop() !== "") throw new Error("the last line does not end");
  return all;
};
/** A text that a receiver got inside JSON: an object as it is, else the text. */
const embedded = (value: unknown): string => (typeof value === "string" ? value : JSON.stringify(value));

type Transport = {
  readonly change: object;
  readonly read: Reader;
  /** What stands before the text of the format. */
  readonly header?: RegExp;
};

const RFC5424 =
  /^<1[0-9]{2}>1 \S+ sensor-1 email-sensor \d+ mail\.verdict (-|\[a@1( [a-z]+="[^"\\\]]*")+\]) /;
const TRANSPORTS: Readonly<Record<string, Transport>> = {
  udp: {
    change: { syslog: "udp://h:1" },
    read: (bytes) => [text(bytes)],
    header: RFC5424,
  },
  "tcp by counts": {
    change: { syslog: "tcp://h:1", structured_data: "a@1" },
    read: counted,
    header: RFC5424,
  },
  "tls by lines": { change: { syslog: "tls://h:1", framing: "lf" }, read: lines, header: RFC5424 },
  "tcp, old header": {
    change: { syslog: "tcp://h:1", framing: "lf", header: "rfc3164" },
    read: lines,
    header: /^<1[0-9]{2}>[A-Z][a-z]{2} [ \d]\d \d\d:\d\d:\d\d sensor-1 email-sensor\[\d+\]: /,
  },
  relp: { change: { syslog: "relp://h:1" }, read: relp, header: RFC5424 },
  file: { change: { file: { path: "/nowhere" } }, read: lines },
  splunk: {
    change: { https: { kind: "splunk_hec", url: "https://h", token_file: "t" } },
    read: (bytes) =>
      text(bytes)
        .split("\n")
        .map((line) => {
          const item = JSON.parse(line);
          expect(Object.keys(item).sort()).toEqual(["event", "fields", "host", "time"]);
          expect(item.host).toBe(SENSOR.id);
          return embedded(item.event);
        }),
  },
  elastic: {
    change: { https: { kind: "elastic", url: "https://h", token_file: "t" } },
    read: (bytes) => {
      const all = lines(bytes);
      return all.flatMap((line, index) => {
        const value = JSON.parse(line);
        if (index % 2 === 1) {
          const { "@timestamp": time, event, message, ...rest } = value;
          expect(time).toBe(new Date(NOON).toISOString());
          if (typeof message === "string" && Object.keys(rest).length === 0) return [message];
          return [JSON.stringify({ ...value })];
        }
        expect(Object.keys(value)).toEqual(["create"]);
        expect(value.create._index).toBe("logs-email_sensor-default");
        return [];
      });
    },
  },
  "webhook, array": {
    change: { https: { kind: "webhook", url: "https://h" } },
    read: (bytes) => JSON.parse(text(bytes)).map(embedded),
  },
  "webhook, lines": {
    change: { https: { kind: "webhook", url: "https://h", body: "ndjson" } },
    read: (bytes) => lines(bytes).map((line) => embedded(JSON.parse(line))),
  },
};

const TEMPLATE =
  '{"type": {{ type | json }}, "subject": {{ mail.subject | json }}, "parts": {{ attachments | json }}}';

function sent(format: Format, transport: Transport, event: SensorEvent, more: object = {}) {
  const { payloads, notes, why } = createPreviewer(
    siemDestination.parse({
      name: "a",
      format,
      ...(format === "template" && { template: TEMPLATE }),
      ...transport.change,
      ...more,
    }),
    "sensor-1",
    Buffer.alloc(32, 1),
  ).preview(event);
  expect([notes, why]).toEqual([[], null]);
  const messages = payloads.flatMap((payload) => transport.read(Buffer.from(payload)));
  return { payloads, messages };
}

/** The text behind the header, which must be there once. */
function body(message: string, { header }: Transport): string {
  if (header === undefined) return message;
  const [head = ""] = header.exec(message) ?? [];
  if (head === "") throw new Error(`no header: ${message.slice(0, 100)}`);
  return message.slice(head.length);
}

/** What others read: member paths, or names of fields. */
const SHAPE: Readonly<Record<Format, (line: string) => readonly string[]>> = {
  json: (line) => membersOf(JSON.parse(line)),
  ecs: (line) => membersOf(JSON.parse(line)),
  ocsf: (line) => membersOf(JSON.parse(line)),
  template: (line) => membersOf(JSON.parse(line)),
  cef: (line) => [...readCef(line).fields.keys()],
  leef: (line) => [...readLeef(line).fields.keys()],
};

function membersOf(value: unknown): readonly string[] {
  const found = new Set<string>();
  const walk = (one: unknown, path: string): void => {
    if (Array.isArray(one)) for (const item of one) walk(item, `${path}[]`);
    else if (typeof one === "object" && one !== null) {
      for (const [name, below] of Object.entries(one)) walk(below, `${path}.${name}`);
    } else found.add(path);
  };
  walk(value, "");
  return [...found].sort();
}

/** What says that something was cut. */
const CUT: Readonly<Record<Format, (line: string) => unknown>> = {
  json: (line) => JSON.parse(line).truncated,
  ecs: (line) => JSON.parse(line).email_sensor.truncated,
  ocsf: (line) => JSON.parse(line).unmapped.email_sensor.truncated,
  cef: (line) => readCef(line).fields.get("flexString2"),
  leef: (line) => readLeef(line).fields.get("truncated"),
  // The template does not say it: it can, by {{ truncated }}.
  template: () => "template",
};

describe.each(FORMATS)("format %s", (format) => {
  describe.each(Object.keys(TRANSPORTS))("by %s", (name) => {
    const transport = TRANSPORTS[name];
    if (transport === undefined) throw new Error(name);
    const room = { max_message_size: "60KB" };

    test("lets a mail forge no line, field or header", () => {
      // What ECS finds in a URL depends on the URL: its members are a subset of these.
      const usual = sent(format, transport, eventWith("plain?a=b#c"), room);
      const shapes = usual.messages.map((one) => new Set(SHAPE[format](body(one, transport))));
      for (const hostile of TEXTS) {
        const { messages } = sent(format, transport, eventWith(hostile), room);
        expect(messages.length).toBe(usual.messages.length);
        for (const [index, message] of messages.entries()) {
          const line = body(message, transport);
          // Inside JSON a receiver gets the characters themselves back.
          if (transport.header !== undefined || name === "file") expect(message).not.toMatch(UNSAFE);
          const more = SHAPE[format](line).filter((field) => !shapes[index]?.has(field));
          expect(more.filter((field) => !/truncated|flexString2/.test(field))).toEqual([]);
        }
      }
    });

    test("keeps to its size, whole and flagged, however long a field is", () => {
      const least = format === "ocsf" ? 4096 : 2048;
      for (const long of LONG) {
        const { payloads, messages } = sent(format, transport, eventWith(long), {
          max_message_size: `${least}B`,
        });
        for (const message of messages) {
          const line = body(message, transport);
          if (transport.header !== undefined || name === "file") {
            expect(Buffer.byteLength(message)).toBeLessThanOrEqual(least);
          }
          SHAPE[format](line);
          expect(CUT[format](line)).toBeTruthy();
        }
        expect(payloads.length).toBeGreaterThan(0);
      }
    });
  });
});

test("an event in a format that takes much room was longer than told where the header is long", () => {
  const siem = {
    ...{
      name: "a",
      syslog: "udp://h:1",
      max_message_size: "2KB",
      structured_data: `${"a".repeat(20)}@32473`,
    },
    ...{ host_name: "h".repeat(255), app_name: "a".repeat(48) },
  };
  for (const format of FORMATS.filter((one) => one !== "template" && one !== "ocsf")) {
    const destination = siemDestination.parse({ ...siem, format });
    for (const long of LONG) {
      const { payloads } = createPreviewer(destination, "s".repeat(255), Buffer.alloc(32, 1)).preview(
        eventWith(long),
      );
      expect(payloads).toHaveLength(1);
      for (const payload of payloads) expect([format, payload.length <= 2048]).toEqual([format, true]);
    }
  }
});

// Behind the longest header, ecs of bidirectional controls was 120 bytes too long.
test.each(FORMATS)("format %s keeps to its size behind the longest header", (format) => {
  const least = format === "ocsf" ? 4096 : 2048;
  const settings = siemDestination.parse({
    name: "a",
    syslog: "tcp://127.0.0.1:1",
    format,
    ...(format === "template" && { template: "{{ mail | json }}" }),
    ...{ host_name: "h".repeat(255), app_name: "a".repeat(48), structured_data: "emailsensor@32473" },
    max_message_size: `${least}B`,
  });
  const previewer = createPreviewer(settings, SENSOR.id, Buffer.alloc(32, 1));
  for (const long of LONG) {
    for (const payload of previewer.preview(eventWith(long)).payloads) {
      const message = Buffer.from(payload).toString().replace(/^\d+ /, "");
      expect(Buffer.byteLength(message)).toBeLessThanOrEqual(least);
    }
  }
});

test("a hostile id of a sensor or state reaches no header", () => {
  const state = { ...composeState("a\n<0>b", `x${END}`, { id: `evil${END}`, version: "1" }, NOON) };
  for (const [name, transport] of Object.entries(TRANSPORTS)) {
    if (transport.header === undefined) continue;
    const previewer = createPreviewer(
      siemDestination.parse({ name: "a", ...transport.change }),
      `evil${END}`,
      Buffer.alloc(32, 1),
    );
    const messages = previewer.preview(state).payloads.flatMap((one) => transport.read(Buffer.from(one)));
    expect([name, messages.length]).toEqual([name, 1]);
    for (const message of messages) {
      expect(message).not.toMatch(UNSAFE);
      expect(message).toMatch(
        /^<133>.{10,40}evil_<0>1_2020-01-01T00:00:00Z_evil_su_-_-_-_forged_ email-sensor/,
      );
    }
  }
});
