/** Mails made to cost much, sent together with ordinary ones: neither are lost, and the ordinary ones do not wait. */
import { afterEach, beforeEach, expect, test } from "bun:test";
import type { SensorEvent } from "../../src/report/event.ts";
import { BOMBS } from "../unit/extract/bombs.ts";
import { launchSensor, startAnalyzer } from "./lib/binary.ts";
import { mails, type NumberedMail } from "./lib/mails.ts";
import { openPlace, type Place, waitFor } from "./lib/place.ts";
import { type Rsyslog, startRsyslog } from "./lib/rsyslog.ts";
import { sendMails, type TestMail } from "./lib/smtp.ts";

let place: Place;
beforeEach(() => {
  place = openPlace("extract");
});
afterEach(() => place.close());

/** Those that cost most of their kind. */
const HARMFUL = [
  "a zip in a zip, 200 deep",
  "100 pictures of 16 million dots",
  "a page of 300,000 cells",
  "a gzip of 1 GB of zeros",
  "10,000 multiparts within each other",
  "10,000 mails within each other",
  "1,000,000 boundaries",
  "50,000 attachments",
  "a header of 2,000,000 lines",
  "1,000,000 URLs",
  "base64 of 60 MB with junk in it",
];
const ORDINARY = 200;
/** Helpers give way to all else that runs: on a busy machine much takes long. Seconds that end a test that hangs. */
const MANY = 280;

const sender = (number: number): string => `bomb-${number}@example.com`;

function bombs(): readonly TestMail[] {
  return HARMFUL.map((name, number) => {
    const bomb = BOMBS[name];
    if (bomb === undefined) throw new Error(`there is no ${name}`);
    return { key: name, from: sender(number), to: ["bob@example.org"], content: bomb.make() };
  });
}

const eventsOf = (siem: Rsyslog): readonly SensorEvent[] =>
  siem
    .messages()
    .map((line) => JSON.parse(line) as SensorEvent)
    .filter(({ type }) => type === "mail.verdict" || type === "mail.failed");

/** Waits for the verdicts of all of these mails; gives the seconds from `since` to the last one. */
async function untilJudged(siem: Rsyslog, sent: readonly NumberedMail[], since: number): Promise<number> {
  const missing = new Set(sent.map(({ key }) => key));
  await waitFor(
    `the verdicts of ${sent.length} mails`,
    async () => {
      await Bun.sleep(200);
      for (const { mail } of eventsOf(siem)) missing.delete(mail?.message_id ?? "");
      return missing.size === 0 ? true : undefined;
    },
    MANY,
  );
  return (performance.now() - since) / 1000;
}

test("ordinary mails get their verdicts beside bombs at about their usual speed, and bombs get theirs", async () => {
  const siem = await startRsyslog(place);
  const sensor = await launchSensor(place, {
    analyzer: await startAnalyzer(place, { queued: "10ms", work: "10ms" }),
    config: {
      // What VMRay is sent of a bomb takes longer than all else.
      extract: { max_attachments: 200, max_urls: 200 },
      siem: [{ name: "siem", syslog: `tcp://127.0.0.1:${siem.tcpPort}` }],
    },
  });
  const harmful = bombs();

  const before = mails(ORDINARY, 5, "before");
  let begun = performance.now();
  await sendMails(sensor.smtpPort, before, { connections: 4 });
  const alone = await untilJudged(siem, before, begun);

  const beside = mails(ORDINARY, 5, "beside");
  begun = performance.now();
  const sent = await Promise.all([
    sendMails(sensor.smtpPort, harmful, { connections: 3 }),
    Bun.sleep(1000).then(() => {
      begun = performance.now();
      return sendMails(sensor.smtpPort, beside, { connections: 4 });
    }),
    Bun.sleep(1000).then(() => untilJudged(siem, beside, begun)),
  ]);
  const [{ refused }, ordinary, together] = sent;
  expect(refused).toEqual([]);
  expect(ordinary.refused).toEqual([]);

  await waitFor(
    "what became of the bombs",
    async () => {
      await Bun.sleep(1000);
      const known = new Set(eventsOf(siem).map(({ mail }) => mail?.envelope.from));
      return harmful.every((_, number) => known.has(sender(number))) ? true : undefined;
    },
    MANY,
  );
  const all = (performance.now() - begun) / 1000;
  const times = sensor
    .log()
    .filter(({ msg, complete }) => msg === "mail taken apart" && complete === true)
    .map(({ ms }) => Number(ms) / 1000);
  process.stdout.write(
    `${ORDINARY} ordinary mails: ${alone.toFixed(1)} s alone, ${together.toFixed(1)} s beside ${harmful.length} bombs, which took ${all.toFixed(1)} s; none waited longer than ${Math.max(...times).toFixed(1)} s to be taken apart\n`,
  );

  const events = eventsOf(siem);
  for (const mail of [...before, ...beside]) {
    const event = events.find((one) => one.mail?.message_id === mail.key);
    expect({ key: mail.key, verdict: event?.verdict, complete: event?.complete }).toEqual({
      key: mail.key,
      verdict: mail.verdict,
      complete: mail.complete,
    });
  }
  for (const [number, name] of HARMFUL.entries()) {
    const own = events.filter((event) => event.mail?.envelope.from === sender(number));
    expect({ name, events: own.map(({ type }) => type) }).toEqual({ name, events: ["mail.verdict"] });
    const { flags = [], complete } = BOMBS[name] ?? {};
    const [event] = own;
    expect({ name, complete: event?.complete }).toEqual({ name, complete: complete ?? false });
    const given = event?.flags ?? [];
    const flagged = flags.length === 0 || [...flags, "time_exceeded"].some((flag) => given.includes(flag));
    expect({ name, given, flagged }).toEqual({ name, given, flagged: true });
  }
  expect(sensor.log().filter(({ code }) => String(code).startsWith("EXTRACT_"))).toEqual([]);
  expect(await sensor.stop()).toBe(0);
}, 600_000);
