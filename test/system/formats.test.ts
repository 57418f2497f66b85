/**
 * What `render` of the binary shows, read by readers that are not ours: CEF by liblognorm, which rsyslog parses it with.
 */
import { afterEach, beforeEach, expect, test } from "bun:test";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { sampleEvents } from "../../src/report/samples.ts";
import { escapeControls } from "../../src/text.ts";
import { HOSTILE } from "../unit/report/formats/hostile.ts";
import { binaryPath } from "./lib/binary.ts";
import { needProgram, openPlace, type Place, runToEnd } from "./lib/place.ts";

let place: Place;
beforeEach(() => {
  place = openPlace("formats");
});
afterEach(() => place.close());

/** The lines that a file destination of this format would get of the event. */
async function rendered(format: string, event: object): Promise<readonly string[]> {
  const [config, file] = [join(place.path, "sensor.yaml"), join(place.path, "event.json")];
  writeFileSync(
    config,
    [
      "vmray: { url: https://vmray.example.org, api_key: k }",
      `siem: [{ name: a, format: ${format}, file: { path: /nowhere/events } }]`,
    ].join("\n"),
  );
  writeFileSync(file, JSON.stringify(event));
  const { stdout, stderr, code } = await runToEnd([
    ...[binaryPath(), "render", "--config", config, "--event", file, "--json"],
  ]);
  expect([code, stderr]).toEqual([0, ""]);
  const { payloads } = JSON.parse(stdout);
  return payloads.map(({ text }: { text: string }) => text.replace(/\n$/, ""));
}

const plain = sampleEvents().find(({ name }) => name === "mail.verdict")?.event;

/** The sample with `text` wherever a mail can have one. */
function eventWith(text: string): object {
  const { mail, attachments = [], urls = [] } = plain ?? {};
  return {
    ...plain,
    mail: {
      ...mail,
      message_id: text,
      subject: text,
      from: [text],
      envelope: { ...mail?.envelope, from: text, to: [text], helo: text },
    },
    reasons: [text],
    attachments: attachments.map((part) => ({ ...part, filename: text, threat_names: [text] })),
    urls: urls.map((part) => ({ ...part, url: `http://a.example/${text}`, threat_names: [text] })),
  };
}

/** What CEF makes of a text: line breaks stay, other controls are shown. */
const shown = (text: string): string =>
  text
    .toWellFormed()
    .split(/(\r|\n)/)
    .map((part) => (/^[\r\n]$/.test(part) ? part : escapeControls(part)))
    .join("");

test("a line of CEF has the same fields to liblognorm, with what the mail holds in them", async () => {
  const program = needProgram("lognormalizer", "liblognorm-utils");
  const rules = join(place.path, "cef.rb");
  writeFileSync(rules, "version=2\nrule=:%cef:cef%\n");
  const texts = ["plain", ...HOSTILE];
  const lines: string[] = [];
  for (const text of texts) lines.push(...(await rendered("cef", eventWith(text))));
  const { stdout, code } = await runToEnd([program, "-r", rules, "-e", "json"], {
    input: `${lines.join("\n")}\n`,
  });
  expect(code).toBe(0);
  const read = stdout
    .trimEnd()
    .split("\n")
    .map((line) => JSON.parse(line));
  expect(read.length).toBe(texts.length);
  const keys = Object.keys(read[0].cef.Extensions);
  expect(keys).toContain("cs3");
  for (const [index, { cef }] of read.entries()) {
    const text = shown(texts[index] ?? "");
    expect(cef).toMatchObject({
      DeviceVendor: "email-sensor",
      DeviceProduct: "email-sensor",
      SignatureID: "mail.verdict",
      Name: "Mail judged: malicious",
      Severity: "10",
      Extensions: {
        cs1: "malicious",
        cs3: text,
        suser: text,
        duser: text,
        fname: text,
        request: `http://a.example/${text}`,
        cs5: text,
        externalId: plain?.id,
        outcome: "unknown",
      },
    });
    expect(Object.keys(cef.Extensions)).toEqual(keys);
  }
});
