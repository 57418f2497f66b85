/** Two analyzers, on the compiled binary: rules choose, one gets what the other does not take, over kill -9. */
import { afterEach, beforeEach, expect, test } from "bun:test";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import type { SensorEvent } from "../../src/report/event.ts";
import { type Analyzer, binaryPath, launchSensor, obey, startAnalyzer } from "./lib/binary.ts";
import { openPlace, type Place, runToEnd, waitFor } from "./lib/place.ts";
import { startRsyslog } from "./lib/rsyslog.ts";
import { sendMails, type TestMail } from "./lib/smtp.ts";

let place: Place;
beforeEach(() => {
  place = openPlace("analyzers");
});
afterEach(() => place.close());

function mail(key: string, filename: string): TestMail {
  const to = ["anna@example.org"];
  const content = [
    "From: Billing <billing@sender.example>",
    "To: anna@example.org",
    `Subject: ${key}`,
    `Message-ID: <${key}@sender.example>`,
    "MIME-Version: 1.0",
    `Content-Type: application/octet-stream; name="${filename}"`,
    `Content-Disposition: attachment; filename="${filename}"`,
    "Content-Transfer-Encoding: base64",
    "",
    Buffer.from(`MZ${key}`).toString("base64"),
    "",
  ].join("\r\n");
  return { key, from: "billing@sender.example", to, content };
}

test("each attachment goes to the analyzer it is for, once, whatever dies meanwhile", async () => {
  const siem = await startRsyslog(place);
  const times = { queued: "10ms", work: "2s" };
  const [onPremises, cloud] = [await startAnalyzer(place, times), await startAnalyzer(place, times)];
  await obey(onPremises, {
    contents: [{ match: { filename: "*.huge" }, submit: "refused", errors: ["The file is too large"] }],
  });
  await obey(cloud, { contents: [{ match: { filename: "*.huge" }, verdict: "malicious" }] });
  const key = join(place.path, "cloud.key");
  writeFileSync(key, `${cloud.apiKey}\n`, { mode: 0o600 });
  const sensor = await launchSensor(place, {
    analyzer: onPremises,
    config: {
      siem: [{ name: "siem", syslog: `tcp://127.0.0.1:${siem.tcpPort}` }],
      vmray: { analyzers: [{ name: "cloud", url: cloud.url, api_key_file: key }], fallback: ["cloud"] },
      triage: {
        rules: [
          { name: "chosen", match: { extension: ["chosen"] }, action: "dynamic", analyzer: "cloud" },
          { name: "rest", match: { kind: "attachment" }, action: "dynamic" },
        ],
      },
    },
  });
  const mails = [mail("first", "a.exe"), mail("second", "b.chosen"), mail("third", "c.huge")];
  expect((await sendMails(sensor.smtpPort, mails)).refused).toEqual([]);
  const submitted = async (analyzer: Analyzer) =>
    Object.values((await analyzer.statistics()).submissions).reduce((sum, times) => sum + times, 0);
  await waitFor("all submissions", async () =>
    (await submitted(onPremises)) >= 1 && (await submitted(cloud)) >= 2 ? true : undefined,
  );
  await sensor.kill();
  await sensor.start();

  const verdicts = await waitFor("three verdicts", () => {
    const events = siem.messages().map((line) => JSON.parse(line) as SensorEvent);
    const found = new Map(
      events.filter(({ type }) => type === "mail.verdict").map((event) => [event.mail?.subject, event]),
    );
    return found.size === 3 ? found : undefined;
  });
  const shown = mails.map(({ key: subject }) => {
    const part = verdicts.get(subject)?.attachments?.[0];
    return [subject, part?.verdict, part?.analyzer];
  });
  expect(shown).toEqual([
    ["first", "clean", "default"],
    ["second", "clean", "cloud"],
    ["third", "malicious", "cloud"],
  ]);
  const posts = async (analyzer: Analyzer) => Object.values((await analyzer.statistics()).submissions);
  expect(await posts(onPremises)).toEqual([1, 1]);
  expect(await posts(cloud)).toEqual([1, 1]);

  const status = await runToEnd([binaryPath(), "status", "--address", `unix:${sensor.control}`]);
  expect(status.stdout).toMatch(/analyzer +default: working/);
  expect(status.stdout).toMatch(/analyzer +cloud: working/);
}, 600_000);
