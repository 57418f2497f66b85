import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { EVENT_TYPES } from "../../../src/report/event.ts";
import { sampleEvents } from "../../../src/report/samples.ts";
import { runCommand } from "./run-command.ts";

const CONFIG = `
vmray: { url: https://vmray.example.org, api_key: k }
sensor: { id: sensor-9 }
siem:
  - name: soc
    syslog: tcp://siem.example.org:514
    events: [${EVENT_TYPES.join(", ")}]
  - name: own
    syslog: udp://siem.example.org:514
    format: template
    template: "{{ mail.subject }}"
`;

let folder: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "render-"));
  writeFileSync(join(folder, "sensor.yaml"), CONFIG);
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));
const render = (args: readonly string[], stdin = "") =>
  runCommand(["render", "--config", "sensor.yaml", ...args], folder, stdin);

describe("render", () => {
  test("shows every type to each destination, with the headers they come in", async () => {
    const { out, errors, code } = await render(["--to", "soc"]);
    expect([code, errors]).toEqual([0, ""]);
    expect(out).toStartWith("=== soc: tcp://siem.example.org:514, json, octet counting");
    for (const { name } of sampleEvents()) expect(out).toContain(`--- ${name}: `);
    const framed = out.split("\n").filter((line) => /^\d+ </.test(line));
    expect(framed.length).toBe(sampleEvents().length);
    for (const line of framed) {
      const [count = ""] = line.split(" ");
      expect(Buffer.byteLength(line)).toBe(count.length + 1 + Number(count));
      expect(line).toContain(" sensor-9 email-sensor ");
    }
  });

  test("gives the same to programs, and says where a template makes nothing", async () => {
    const { code, rows } = await render(["--json"]);
    expect(code).toBe(1);
    const all = rows();
    expect(all.length).toBe(2 * sampleEvents().length);
    expect(all[0]).toMatchObject({
      destination: "soc",
      target: "tcp://siem.example.org:514",
      format: "json",
      request: null,
      sample: "mail.received",
      type: "mail.received",
      sent: true,
      why: null,
    });
    for (const { payloads } of all) {
      for (const { bytes, text } of payloads) expect(Buffer.byteLength(text)).toBe(bytes);
    }
    const state = all.find(({ destination, sample }) => destination === "own" && sample === "sensor.state");
    expect(state.notes).toEqual([expect.stringContaining("the template made an empty line")]);
  });

  test("shows an event of a file, or of stdin", async () => {
    const event = sampleEvents().find(({ name }) => name === "mail.verdict")?.event;
    const text = JSON.stringify({ ...event, mail: { ...event?.mail, subject: "\u001b[2J\r\n<13>forged" } });
    writeFileSync(join(folder, "event.json"), text);
    for (const [file, stdin] of [
      ["event.json", ""],
      ["-", text],
    ] as const) {
      const { out, code } = await render(["--event", file, "--to", "own"], stdin);
      expect(code).toBe(0);
      expect(out).toContain("\\u001b[2J\\r\\n<13>forged\n");
      expect(out).not.toContain("\u001b");
    }
  });

  test("refuses what is no event, no destination, no option and no good configuration", async () => {
    writeFileSync(join(folder, "bad.json"), '{"type":"mail.verdict"}');
    for (const [args, words] of [
      [["--event", "bad.json"], "bad.json holds no event:\n  schema: is missing"],
      [["--event", "not-there.json"], "not-there.json does not exist"],
      [["--event", "/dev/zero"], "/dev/zero is larger than"],
      [["--to", "nobody"], 'there is no destination "nobody"; there is soc, own'],
      [["--frmt"], "--frmt"],
      [["--config", "none.yaml"], "the configuration file does not exist"],
    ] as const) {
      const { out, errors, code } = await render(args);
      expect([code, out]).toEqual([2, ""]);
      expect(errors).toContain(words);
    }
  });
});
