/** Each format read back by readers that are not ours, whatever the mail holds. */
import { describe, expect, test } from "bun:test";
import Ajv2020 from "ajv/dist/2020.js";
import addFormats from "ajv-formats";
import { Parse as glossy } from "glossy";
import nsyslog from "nsyslog-parser";
import schema from "../../../../docs/event.schema.json" with { type: "json" };
import { FORMATS, siemDestination } from "../../../../src/config/sections/siem.ts";
import type { SensorEvent } from "../../../../src/report/event.ts";
import { createFormatter } from "../../../../src/report/formats/formatter.ts";
import { createPreviewer } from "../../../../src/report/preview.ts";
import { sampleEvents } from "../../../../src/report/samples.ts";
import { severityOf } from "../../../../src/report/syslog.ts";
import { recordingLog } from "../fixtures.ts";
import { eventWith, HOSTILE, UNSAFE } from "./hostile.ts";

const SECRET = Buffer.alloc(32, 1);
const EVENTS: readonly SensorEvent[] = [
  ...sampleEvents().map(({ event }) => event),
  ...HOSTILE.map(eventWith),
];
/** In a message of syslog alone, so that a reader may not take it for anything else. */
const AS_TEXT = { cef: false, leef: false, fields: false };

const settings = (change: object) =>
  siemDestination.parse({
    name: "a",
    syslog: "udp://h:514",
    events: schema.properties.type.enum,
    ...change,
  });
const PARTS: readonly string[] = ["attachment.verdict", "url.verdict"];
const textsOf = (change: object, event: SensorEvent, room = 60_000) =>
  createFormatter(settings(change), recordingLog().log, SECRET).format(event, () => room);
const messagesOf = (change: object, event: SensorEvent) =>
  createPreviewer(settings({ max_message_size: "60KB", ...change }), "sensor-1", SECRET)
    .preview(event)
    .payloads.map((payload) => Buffer.from(payload).toString());
const own = (format: string) => ({
  format,
  ...(format === "template" && { template: "{{ type }} {{ mail.subject }} {{ mail | json }}" }),
});

describe.each(FORMATS)("a syslog message of format %s", (format) => {
  test("is RFC 5424 to others, with one message in it", () => {
    for (const sd of [undefined, "emailsensor@32473"]) {
      for (const event of EVENTS) {
        const change = { ...own(format), structured_data: sd };
        const texts = textsOf(change, event, 60_000 - 400);
        const messages = messagesOf(change, event);
        expect(messages.length).toBe(texts.length);
        for (const [index, message] of messages.entries()) {
          const { event: about, text } = texts[index] ?? { event, text: "" };
          const read = glossy.parse(message);
          expect(read).toMatchObject({
            facility: "local0",
            severityID: severityOf(about),
            time: new Date(event.time),
            host: "sensor-1",
            appName: "email-sensor",
            pid: String(process.pid),
            msgID: event.type,
            message: text,
          });
          const { [sd ?? ""]: params, ...others } = read.structuredData ?? {};
          expect(others).toEqual({});
          if (sd !== undefined) expect(params).toMatchObject({ id: about.id, type: about.type });
          expect(nsyslog(message, AS_TEXT)).toMatchObject({
            type: "RFC5424",
            facility: "local0",
            levelval: severityOf(about),
            host: "sensor-1",
            appName: "email-sensor",
            pid: String(process.pid),
            messageid: event.type,
          });
        }
      }
    }
  });

  test("is RFC 3164 to others", () => {
    for (const event of EVENTS) {
      const change = { ...own(format), header: "rfc3164" };
      const texts = textsOf(change, event);
      for (const [index, message] of messagesOf(change, event).entries()) {
        expect(nsyslog(message, AS_TEXT)).toMatchObject({
          type: "BSD",
          facility: "local0",
          host: "sensor-1",
          appName: "email-sensor",
          pid: String(process.pid),
          message: texts[index]?.text,
        });
      }
    }
  });
});

test("json is valid by its schema, at any size", () => {
  const ajv = new Ajv2020({ allErrors: true, strict: false });
  addFormats(ajv);
  const validate = ajv.compile(schema);
  const events = schema.properties.type.enum.filter((type) => !PARTS.includes(type));
  const long = ["x".repeat(100_000), '"\\\u0000'.repeat(50_000), "\u{1F4A3}".repeat(50_000)].map(eventWith);
  for (const event of [...EVENTS, ...long]) {
    for (const room of [1400, 4096, 60_000]) {
      for (const { text } of textsOf({ format: "json", split: true, events }, event, room)) {
        expect(text).not.toMatch(UNSAFE);
        if (!validate(JSON.parse(text))) throw new Error(JSON.stringify(validate.errors?.slice(0, 3)));
      }
    }
  }
});

test("leef has the same attributes to others, whatever the mail holds", () => {
  for (const leef_delimiter of ["^", "~", ";", "!"]) {
    const read = (text: string) => {
      const [line] = textsOf({ format: "leef", leef_delimiter }, eventWith(text));
      return nsyslog(line?.text ?? "");
    };
    const keys = Object.keys(read("plain").fields ?? {});
    expect(keys).toContain("subject");
    // This reader ends the attributes at a pipe, which LEEF allows in them.
    for (const text of HOSTILE.map((one) => one.replaceAll("|", "/"))) {
      const { type, leef, fields = {} } = read(text);
      expect(type).toBe("LEEF");
      expect(leef).toMatchObject({
        leefVersion: "LEEF:2.0",
        vendor: "email-sensor",
        product: "email-sensor",
        eventID: "mail.verdict",
        delimiter: leef_delimiter,
      });
      expect(Object.keys(fields)).toEqual(keys);
      expect([fields.verdict, fields.sev, fields.cat]).toEqual(["malicious", "10", "malicious"]);
    }
  }
});
