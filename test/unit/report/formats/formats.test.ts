import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { FORMATS } from "../../../../src/config/sections/siem.ts";
import { composeFailed, composeState } from "../../../../src/report/compose.ts";
import type { SensorEvent } from "../../../../src/report/event.ts";
import { createFormatter, type Message } from "../../../../src/report/formats/formatter.ts";
import { escapeControls } from "../../../../src/text.ts";
import { mailRow, NOON, recordingLog, SENSOR } from "../fixtures.ts";
import { eventWith, HOSTILE, malicious, readCef, readLeef, UNSAFE } from "./hostile.ts";

type Name = (typeof FORMATS)[number];
const SECRET = Buffer.alloc(32, 1);
const TEMPLATE =
  '{"verdict": {{ verdict | json }}, "subject": {{ mail.subject | json }}, "all": {{ mail | json }}}';

function messages(format: Name, event: SensorEvent, room = 65_536): readonly Message[] {
  const { log, lines } = recordingLog();
  const settings = { name: "a", format, ...(format === "template" && { template: TEMPLATE }) };
  const made = createFormatter(settings, log, SECRET).format(event, () => room);
  expect(lines).toEqual([]);
  return made;
}
const first = (format: Name, event: SensorEvent, room?: number): string => {
  const [message] = messages(format, event, room);
  if (message === undefined) throw new Error("no message");
  return message.text;
};

/** What a format without escapes of its own makes of a text. */
const shown = (text: string): string => escapeControls(text);

/** Reads a line by the rules of its format and gives the subject in it. */
const SUBJECT_OF: Readonly<Record<Name, (line: string) => unknown>> = {
  json: (line) => JSON.parse(line).mail.subject,
  template: (line) => JSON.parse(line).subject,
  ecs: (line) => JSON.parse(line).email.subject,
  ocsf: (line) => JSON.parse(line).email.subject,
  cef: (line) => readCef(line).fields.get("cs3"),
  leef: (line) => readLeef(line).fields.get("subject"),
};
const CARRIED: Readonly<Record<Name, (text: string) => string>> = {
  json: (text) => text,
  template: (text) => text,
  ecs: (text) => text,
  ocsf: (text) => text,
  cef: (text) =>
    text
      .split(/(\r|\n)/)
      .map((part) => (/^[\r\n]$/.test(part) ? part : shown(part)))
      .join(""),
  leef: (text) => shown(text).replaceAll("^", "\\u005e"),
};

describe.each(FORMATS)("the format %s", (format) => {
  test("has one line that can be read back, whatever the mail holds", () => {
    for (const text of HOSTILE) {
      const event = eventWith(text);
      for (const { text: line } of messages(format, event)) {
        expect(line).not.toMatch(UNSAFE);
        expect(line.isWellFormed()).toBe(true);
      }
      expect(SUBJECT_OF[format](first(format, event))).toBe(CARRIED[format](text.toWellFormed()));
    }
  });

  test("does the same for any text", () => {
    const any = fc.string({ unit: "binary", minLength: 1, maxLength: 60 });
    const syntax = fc
      .array(fc.constantFrom("\\", "=", "|", "^", "\n", "\r", " ", "a", "a=", "\\n", '"', "\u0000"), {
        minLength: 1,
      })
      .map((parts) => parts.join(""));
    fc.assert(
      fc.property(fc.oneof(any, syntax), (text) => {
        const event = eventWith(text);
        for (const { text: line } of messages(format, event)) expect(line).not.toMatch(UNSAFE);
        expect(SUBJECT_OF[format](first(format, event))).toBe(CARRIED[format](text.toWellFormed()));
      }),
      { numRuns: 150 },
    );
  });

  test("keeps to the room there is, whole and valid, and says what was cut", () => {
    for (const text of ["x".repeat(1_000_000), '"\\=|^\u0000'.repeat(200_000), "\u{1F4A3}".repeat(300_000)]) {
      const event = eventWith(text);
      // The least that the configuration lets a message have, less a long header.
      for (const room of [format === "ocsf" ? 3000 : 1400, 4096, 8192]) {
        for (const { text: line } of messages(format, event, room)) {
          expect(Buffer.byteLength(line)).toBeLessThanOrEqual(room);
          expect(line).not.toMatch(UNSAFE);
          if (format === "cef") expect(readCef(line).fields.get("flexString2")).toContain("/mail/subject");
          else if (format === "leef")
            expect(readLeef(line).fields.get("truncated")).toContain("/mail/subject");
          else if (format !== "template") expect(JSON.stringify(JSON.parse(line))).toContain("/mail/subject");
        }
      }
    }
  });

  test("has a line for each type", () => {
    const mail = mailRow([], {}, {});
    for (const event of [
      composeFailed({ ...mail, extraction: null }, "EXTRACT_TIMEOUT: too slow", SENSOR, NOON),
      composeState("started", "the sensor takes mails", SENSOR, NOON),
      { ...malicious(), type: "verdict.changed" as const },
    ]) {
      for (const { text } of messages(format, event)) expect(text.length).toBeGreaterThan(20);
    }
  });
});

test("JSON formats have no keys but their own", () => {
  const names = new Set<string>();
  const collect = (value: unknown): void => {
    if (typeof value !== "object" || value === null) return;
    for (const [key, below] of Object.entries(value)) {
      if (!Array.isArray(value)) names.add(key);
      collect(below);
    }
  };
  for (const text of HOSTILE) {
    for (const format of ["json", "ecs", "ocsf"] as const) {
      for (const { text: line } of messages(format, eventWith(text))) collect(JSON.parse(line));
    }
  }
  for (const name of names) expect(name).toMatch(/^@?[a-z][a-z0-9_]*$/);
});

test("a format that fails gives JSON and a line in the log", () => {
  const { log, lines } = recordingLog();
  const formatter = createFormatter(
    { name: "a", format: "template", template: "{{ nothing }}" },
    log,
    SECRET,
  );
  const [message] = formatter.format(malicious(), () => 8192);
  expect(JSON.parse(message?.text ?? "").verdict).toBe("malicious");
  expect(lines).toMatchObject([{ code: "TEMPLATE_FAILED" }]);
});
