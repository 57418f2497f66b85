import { describe, expect, test } from "bun:test";
import { composeFailed, composeState } from "../../../src/report/compose.ts";
import {
  DEFAULT_SEVERITIES,
  formatSyslog,
  type SyslogSettings,
  severityOf,
} from "../../../src/report/syslog.ts";
import { content, file, mailRow, NOON, SENSOR, verdictEvent } from "./fixtures.ts";

const SETTINGS: SyslogSettings = {
  facility: "local0",
  hostname: "sensor-1",
  appName: "email-sensor",
  procId: "42",
};
const clean = verdictEvent(mailRow());

describe("a syslog message", () => {
  test("has the header of RFC 5424", () => {
    expect(formatSyslog(clean, "text", SETTINGS)).toBe(
      "<134>1 2026-01-02T12:00:00.005Z sensor-1 email-sensor 42 mail.verdict - text",
    );
    expect(formatSyslog(clean, "text", { ...SETTINGS, facility: "mail" })).toStartWith("<22>1 ");
  });

  test("tells the verdict by its severity", () => {
    const of = (verdict: "malicious" | "suspicious" | "clean" | "not_available") =>
      severityOf(verdictEvent(mailRow([file("x", content({ verdict }))])));
    expect([of("malicious"), of("suspicious"), of("not_available"), of("clean")]).toEqual([2, 4, 5, 6]);
    expect(severityOf(verdictEvent(mailRow([], {}, { complete: false })))).toBe(5);
    expect(severityOf(composeFailed(mailRow(), "EXTRACT_FAILED: x", SENSOR, NOON))).toBe(3);
    expect(severityOf(composeState("started", "x", SENSOR, NOON))).toBe(5);
  });

  test("has the severity the customer gives a verdict", () => {
    const severity = { ...DEFAULT_SEVERITIES, clean: "debug", malicious: "emerg" } as const;
    expect(formatSyslog(clean, "text", { ...SETTINGS, severity })).toStartWith("<135>1 ");
    const bad = verdictEvent(mailRow([file("x", content({ verdict: "malicious" }))]));
    expect(severityOf(bad, severity)).toBe(0);
  });

  test("has the old header where it is wanted, with a tag that ends where it should", () => {
    const message = formatSyslog(clean, "text\n", {
      ...SETTINGS,
      header: "rfc3164",
      appName: "es]: x",
      structuredData: "a@1",
    });
    expect(message).toMatch(/^<134>Jan {2}[123] \d\d:\d\d:00 sensor-1 es___x\[42\]: text\\n$/);
    const broken = formatSyslog({ ...clean, time: "x" }, "t", { ...SETTINGS, header: "rfc3164" });
    expect(broken).toMatch(/^<134>(Jan|Dec) [ \d]\d \d\d:\d\d:\d\d sensor-1 /);
  });

  test("repeats the main fields as structured data, escaped", () => {
    const settings = { ...SETTINGS, structuredData: "emailsensor@32473" };
    expect(formatSyslog(clean, "text", settings)).toEndWith(
      ` mail.verdict [emailsensor@32473 id="${clean.id}" type="mail.verdict" verdict="clean" mail="${clean.mail?.id}"] text`,
    );
    const forged = { ...clean, id: 'x"] <1>\\\n\u00fc' };
    expect(formatSyslog(forged, "text", settings)).toContain(' id="x\\"\\] <1>\\\\__" ');
    expect(formatSyslog(composeState("a", "b", SENSOR, NOON), "text", settings)).toContain(
      'type="sensor.state"] text',
    );
  });

  test("reduces header fields to printable ASCII of the length allowed", () => {
    const message = formatSyslog({ ...clean, time: "yesterday\n" }, "text", {
      ...SETTINGS,
      hostname: "h\u00f6st name\r\n".repeat(100),
      appName: "a".repeat(100),
      procId: "",
    });
    const [, time, host, app, procId, msgId] = message.split(" ");
    expect([time, procId, msgId]).toEqual(["-", "-", "mail.verdict"]);
    expect(host).toHaveLength(255);
    expect(host).toMatch(/^[\x21-\x7E]+$/);
    expect(app).toHaveLength(48);
  });

  test("holds no control character, whatever its text", () => {
    const message = formatSyslog(clean, "\uFEFFa\r\n<0>1 forged\u0000\u0085\u2028", SETTINGS);
    expect(message).toEndWith(" - a\\r\\n<0>1 forged\\u0000\\u0085\\u2028");
  });
});
