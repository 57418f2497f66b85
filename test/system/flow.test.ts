/** The main job with real peers: mails through Postfix, verdicts of the simulator, events at rsyslog. */
import { afterEach, beforeEach, expect, test } from "bun:test";
import type { SensorEvent } from "../../src/report/event.ts";
import { launchSensor, startAnalyzer } from "./lib/binary.ts";
import { failingContents, mails, type NumberedMail } from "./lib/mails.ts";
import { openPlace, type Place, waitFor } from "./lib/place.ts";
import { startPostfix } from "./lib/postfix.ts";
import { type Rsyslog, startRsyslog } from "./lib/rsyslog.ts";
import { sendMails } from "./lib/smtp.ts";

let place: Place;
beforeEach(() => {
  place = openPlace("flow");
});
afterEach(() => place.close());

const eventsOf = (siem: Rsyslog): SensorEvent[] =>
  siem.messages().map((line) => JSON.parse(line) as SensorEvent);
const verdictsOf = (siem: Rsyslog): SensorEvent[] =>
  eventsOf(siem).filter(({ type }) => type === "mail.verdict");

function expectRightVerdicts(sent: readonly NumberedMail[], events: readonly SensorEvent[]): void {
  const byMessage = new Map(events.map((event) => [event.mail?.message_id, event]));
  for (const mail of sent) {
    const event = byMessage.get(mail.key);
    expect({ mail: mail.key, verdict: event?.verdict, complete: event?.complete }).toEqual({
      mail: mail.key,
      verdict: mail.verdict,
      complete: mail.complete,
    });
  }
}

test("200 mails of different kinds through Postfix give 200 verdict events in rsyslog, each the right one", async () => {
  const siem = await startRsyslog(place);
  const analyzer = await startAnalyzer(place);
  const sensor = await launchSensor(place, {
    analyzer,
    config: { siem: [{ name: "siem", syslog: `tcp://127.0.0.1:${siem.tcpPort}` }] },
  });
  const postfix = await startPostfix(place, {
    alwaysBcc: "copy@sensor.test",
    routes: { "sensor.test": `smtp:[127.0.0.1]:${sensor.smtpPort}` },
  });
  const all = mails(200, 5);
  const sent = await sendMails(postfix.port, all, { connections: 4 });
  expect(sent.refused).toEqual([]);
  await waitFor("200 verdicts", () => (verdictsOf(siem).length >= 200 ? true : undefined));
  const events = verdictsOf(siem);
  expect(events).toHaveLength(200);
  expect(new Set(events.map((event) => event.id)).size).toBe(200);
  expectRightVerdicts(all, events);
  const { submissions } = await analyzer.statistics();
  const failing = failingContents(5);
  expect(
    Object.entries(submissions).filter(([content, times]) => times !== 1 && !failing.has(content)),
  ).toEqual([]);
  await waitFor("an empty queue", async () => ((await postfix.queued()) === 0 ? true : undefined));
  expect(await sensor.stop()).toBe(0);
}, 600_000);

test("one mail can be followed through every stage in the log, which holds no text of it", async () => {
  const analyzer = await startAnalyzer(place);
  const siem = await startRsyslog(place);
  const sensor = await launchSensor(place, {
    analyzer,
    config: { siem: [{ name: "siem", syslog: `udp://127.0.0.1:${siem.udpPort}` }] },
  });
  const [, mail] = mails(2, 1);
  if (mail === undefined) throw new Error("no mail");
  await sendMails(sensor.smtpPort, [mail]);
  const event = await waitFor("the verdict", () => verdictsOf(siem)[0]);
  expect(event.verdict).toBe("malicious");
  await sensor.stop();
  const stages = sensor
    .log()
    .filter((line) => line.mail_id === event.mail?.id)
    .map((line) => line.stage);
  expect(stages).toEqual(expect.arrayContaining(["intake", "extract", "analyzer", "verdict", "report"]));
  const text = JSON.stringify(sensor.log());
  for (const secret of [analyzer.apiKey, "invoice", "Mail 1 ", "See invoice"])
    expect(text).not.toContain(secret);
}, 600_000);

test("a SIEM that is down for the whole run gets every event, in order, when it is up", async () => {
  const siem = await startRsyslog(place);
  const analyzer = await startAnalyzer(place);
  const sensor = await launchSensor(place, {
    analyzer,
    config: { siem: [{ name: "siem", syslog: `tcp://127.0.0.1:${siem.tcpPort}` }] },
  });
  await waitFor("the start event", () => (eventsOf(siem).length > 0 ? true : undefined));
  await siem.stop();
  const all = mails(100, 3);
  expect((await sendMails(sensor.smtpPort, all, { connections: 4 })).refused).toEqual([]);
  await waitFor("all verdicts in the log", () =>
    sensor.log().filter((line) => line.stage === "verdict").length >= 100 ? true : undefined,
  );
  expect(verdictsOf(siem)).toEqual([]);
  await siem.restart();
  await waitFor("100 verdicts", () => (verdictsOf(siem).length >= 100 ? true : undefined));
  const ids = verdictsOf(siem).map(({ id }) => id);
  const once = [...new Set(ids)];
  expect(once).toHaveLength(100);
  const judged = sensor.log().flatMap((line) => (line.stage === "verdict" ? [line.mail_id] : []));
  const order = once.map((id) => verdictsOf(siem).find((event) => event.id === id)?.mail?.id);
  expect(order.toSorted()).toEqual(judged.toSorted() as string[]);
  expect(once).toEqual(once.toSorted());
  expectRightVerdicts(all, verdictsOf(siem));
}, 600_000);

test("an analyzer that is down for the whole run costs time, not a verdict", async () => {
  const siem = await startRsyslog(place);
  const analyzer = await startAnalyzer(place);
  await analyzer.stop();
  const sensor = await launchSensor(place, {
    analyzer,
    config: { siem: [{ name: "siem", syslog: `tcp://127.0.0.1:${siem.tcpPort}` }] },
  });
  const all = mails(60, 2);
  expect((await sendMails(sensor.smtpPort, all, { connections: 4 })).refused).toEqual([]);
  await Bun.sleep(2000);
  const early = verdictsOf(siem);
  expectRightVerdicts(
    all.filter((mail) => early.some((event) => event.mail?.message_id === mail.key)),
    early,
  );
  expect(early.length).toBeLessThan(all.length);
  await analyzer.restart();
  await waitFor("60 verdicts", () => (verdictsOf(siem).length >= 60 ? true : undefined));
  expectRightVerdicts(all, verdictsOf(siem));
}, 600_000);
