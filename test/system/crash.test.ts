/** kill -9 of the sensor while mails flow: what got its 250 is judged once and reported, nothing is sent twice. */
import { Database } from "bun:sqlite";
import { expect, test } from "bun:test";
import { join } from "node:path";
import type { SensorEvent } from "../../src/report/event.ts";
import { launchSensor, startAnalyzer } from "./lib/binary.ts";
import { failingContents, mails } from "./lib/mails.ts";
import { openPlace, waitFor } from "./lib/place.ts";
import { startRsyslog } from "./lib/rsyslog.ts";
import { sendMails } from "./lib/smtp.ts";

const MAILS = 2000;
const KILLS = 20;
const SEED = Number(process.env.CRASH_SEED ?? Date.now() % 1_000_000);

/** A small generator, so that a run can be repeated. */
function randomFrom(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return state / 2 ** 32;
  };
}

test(`20 times kill -9 while 2,000 mails flow costs no mail, no event and no second submission (CRASH_SEED=${SEED})`, async () => {
  const place = openPlace("crash");
  try {
    const random = randomFrom(SEED);
    const siem = await startRsyslog(place);
    const analyzer = await startAnalyzer(place, { queued: "20ms", work: "200ms" });
    const sensor = await launchSensor(place, {
      analyzer,
      config: {
        siem: [{ name: "siem", syslog: `tcp://127.0.0.1:${siem.tcpPort}` }],
        spool: { keep_raw: "30d" },
      },
    });
    const all = mails(MAILS, 40);
    const accepted = new Set<string>();
    let sending = true;
    // As an MTA does: what got no 250 is sent again until it does.
    const mta = (async () => {
      let rest = [...all];
      while (rest.length > 0) {
        const sent = await sendMails(sensor.smtpPort, rest, { connections: 8 });
        for (const key of sent.accepted) accepted.add(key);
        rest = rest.filter((mail) => !accepted.has(mail.key));
        await Bun.sleep(30);
      }
      sending = false;
    })();
    for (let kill = 0; kill < KILLS; kill++) {
      // Mails must still flow at the last kill, so the moments lie in the time that sending takes.
      await Bun.sleep(50 + random() * (sending ? 450 : 900));
      await sensor.kill();
      await sensor.start();
    }
    await mta;
    expect(accepted.size).toBe(MAILS);

    const ended = () => {
      const db = new Database(join(sensor.spoolPath, "spool.db"), { readonly: true });
      try {
        return db
          .query<{ n: number }, []>("SELECT count(*) AS n FROM mails WHERE state NOT IN ('done', 'failed')")
          .get()?.n;
      } finally {
        db.close();
      }
    };
    await waitFor("every mail to end", () => (ended() === 0 ? true : undefined), 180);
    const db = new Database(join(sensor.spoolPath, "spool.db"), { readonly: true });
    const rows = db
      .query<{ id: string; state: string; verdict: string | null; extraction: string | null }, []>(
        "SELECT id, state, verdict, extraction, error, deaths, attempts FROM mails",
      )
      .all();
    const events = db
      .query<{ body: string }, []>("SELECT body FROM events ORDER BY seq")
      .all()
      .map(({ body }) => JSON.parse(body) as SensorEvent);
    db.close();

    const messageOf = (row: { extraction: string | null }) =>
      JSON.parse(row.extraction ?? "{}").mail?.message_id;
    const judgedMessages = new Set(rows.map(messageOf));
    expect(all.filter((mail) => !judgedMessages.has(mail.key)).map((mail) => mail.key)).toEqual([]);
    const wanted = new Map(all.map((mail) => [mail.key, mail.verdict]));
    expect(rows.filter((row) => row.state !== "done" || row.verdict !== wanted.get(messageOf(row)))).toEqual(
      [],
    );

    const verdictEvents = events.filter(({ type }) => type === "mail.verdict");
    expect(verdictEvents).toHaveLength(rows.length);
    expect(new Set(verdictEvents.map((event) => event.mail?.id)).size).toBe(rows.length);

    const atSiem = () => new Set(siem.messages().map((line) => (JSON.parse(line) as SensorEvent).id));
    const missing = () => {
      const there = atSiem();
      return verdictEvents.filter(({ id }) => !there.has(id));
    };
    await waitFor("every event at the SIEM", () => (missing().length === 0 ? true : undefined));

    const { submissions } = await analyzer.statistics();
    const failing = failingContents(40);
    expect(
      Object.entries(submissions).filter(([content, times]) => times !== 1 && !failing.has(content)),
    ).toEqual([]);
    expect(Object.keys(submissions).length).toBeGreaterThan(200);
    expect(await sensor.stop()).toBe(0);
  } finally {
    await place.close();
  }
}, 600_000);
