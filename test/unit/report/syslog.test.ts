import { describe, expect, test } from "bun:test";
import { composeFailed, composeState } from "../../../src/report/compose.ts";
import { formatSyslog, type SyslogSettings, severityOf } from "../../../src/report/syslog.ts";
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
