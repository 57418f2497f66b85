import { afterEach, describe, expect, test } from "bun:test";
import { SensorError } from "../../../src/errors.ts";
import type { Spool } from "../../../src/spool/spool.ts";
import { startVerdicts } from "../../../src/verdict/stage.ts";
import { until } from "../../until.ts";
import { NO_TYPES, NOON, recordingLog, SENSOR } from "../report/fixtures.ts";
import { attachment, extractionOf, judged, open, someMail, temporaryFolder } from "../spool/fixtures.ts";

const PATIENT = { reportAfter: 900_000, whyWaiting: () => null };

const closing: (() => Promise<void> | void)[] = [];
afterEach(async () => {
  for (const close of closing.splice(0).reverse()) await close();
});

async function someSpool(): Promise<Spool> {
  const folder = temporaryFolder();
  closing.push(folder.remove);
  const spool = await open(folder.path);
  closing.push(() => spool.close());
  return spool;
}

async function analysedMail(spool: Spool): Promise<string> {
  const mail = someMail();
  await spool.putMail(mail);
  await spool.claimMails(1);
  await spool.recordExtraction(mail.id, extractionOf([]), []);
  return mail.id;
}

function start(spool: Spool) {
  const { log, lines } = recordingLog();
  const stage = startVerdicts({ spool, sensor: SENSOR, log, wanted: NO_TYPES, ...PATIENT, now: () => NOON });
  closing.push(() => stage.stop());
  return lines;
}

const finished = (spool: Spool, id: string): Promise<void> =>
  until(async () => (await spool.mail(id))?.state === "done", "the mail to be judged");

describe("the verdict stage", () => {
  test("takes up mails from before its start and judges new ones as they come", async () => {
    const spool = await someSpool();
    const early = await analysedMail(spool);
    const lines = start(spool);
    await finished(spool, early);
    const mail = someMail();
    const part = attachment("x");
    await spool.putMail(mail);
    await spool.claimMails(1);
    await spool.recordExtraction(mail.id, extractionOf([part]), [part]);
    const [job] = await spool.dueAnalyses(Date.now(), 1, new Set());
    await spool.finishAnalysis(job?.key ?? "", judged("malicious"), null);
    await finished(spool, mail.id);
    expect(await spool.mail(mail.id)).toMatchObject({
      verdict: "malicious",
      complete: true,
      reasons: ['attachment "x.exe" is malicious'],
    });
    const events = await spool.eventsAfter(0, 10);
    expect(events.map(({ event }) => [event.type, event.mail?.id, event.verdict])).toEqual([
      ["mail.verdict", early, "clean"],
      ["mail.verdict", mail.id, "malicious"],
    ]);
    expect(lines.filter(({ mail_id }) => mail_id === mail.id)).toMatchObject([
      { stage: "verdict", msg: "mail judged", verdict: "malicious" },
    ]);
  });

  test("is not held up by a mail that cannot be finished, and does not forget it", async () => {
    const real = await someSpool();
    const bad = await analysedMail(real);
    let broken = true;
    const spool: Spool = {
      ...real,
      finishMail: async (id, ...rest) => {
        if (broken && id === bad) throw new SensorError("SPOOL_BROKEN", "no luck with this one");
        return real.finishMail(id, ...rest);
      },
    };
    const { log, lines } = recordingLog();
    const stage = startVerdicts({ spool, sensor: SENSOR, log, wanted: NO_TYPES, ...PATIENT });
    closing.push(() => stage.stop());
    const good = await analysedMail(real);
    await finished(real, good);
    expect(lines.find(({ mail_id, level }) => mail_id === bad && level === "error")).toMatchObject({
      code: "SPOOL_BROKEN",
      faults: 1,
    });
    broken = false;
    await finished(real, bad);
  });

  test("goes on when the spool is healed", async () => {
    const real = await someSpool();
    const id = await analysedMail(real);
    let faults = 0;
    const spool: Spool = {
      ...real,
      analysedMails: async (limit) => {
        faults += 1;
        if (faults === 1) throw new SensorError("SPOOL_BUSY", "locked");
        return real.analysedMails(limit);
      },
    };
    const lines = start(spool);
    await finished(real, id);
    expect(lines[0]).toMatchObject({ level: "error", code: "SPOOL_BUSY" });
  });
});
