import { afterEach, beforeEach, expect, test } from "bun:test";
import { SensorError } from "../../../src/errors.ts";
import { type ExtractionStage, startExtraction } from "../../../src/extract/stage.ts";
import type { RawMail } from "../../../src/intake/mail.ts";
import type { Spool } from "../../../src/spool/spool.ts";
import { judge } from "../../../src/verdict/judge.ts";
import { until } from "../../until.ts";
import {
  attachment,
  extractionOf,
  open,
  QUIET,
  someEvent,
  someMail,
  temporaryFolder,
} from "../spool/fixtures.ts";

let folder: ReturnType<typeof temporaryFolder>;
let spool: Spool;
let stage: ExtractionStage;
beforeEach(async () => {
  folder = temporaryFolder();
  spool = await open(folder.path);
});
afterEach(async () => {
  await stage.stop();
  await spool.close();
  folder.remove();
});

const textOf = (raw: RawMail) => (raw.kind === "inline" ? new TextDecoder().decode(raw.bytes) : "");

function start(
  extract: (raw: RawMail) => Promise<ReturnType<typeof extractionOf>>,
  on: Spool = spool,
  busy: () => boolean = () => false,
) {
  stage = startExtraction({
    spool: on,
    extract,
    triage: () => ({ plan: [], sender: null }),
    failedEvent: () => someEvent("mail.failed"),
    concurrency: 2,
    busy,
    attempts: 2,
    log: QUIET,
  });
}

test("a poison mail fails after its last attempt, with its event, while its neighbours go on", async () => {
  const poison = someMail("poison");
  await spool.putMail(poison);
  const tries: string[] = [];
  start(async (raw) => {
    tries.push(textOf(raw));
    if (textOf(raw) === "poison") throw new SensorError("EXTRACT_CRASHED", "helper died");
    return extractionOf([]);
  });
  const neighbours = Array.from({ length: 5 }, (_, i) => someMail(`good ${i}`));
  for (const mail of neighbours) await spool.putMail(mail);
  await until(async () => (await spool.analysedMails(9)).length === 5);
  await until(async () => (await spool.mail(poison.id))?.state === "failed");
  expect(tries.filter((text) => text === "poison")).toHaveLength(2);
  expect((await spool.mail(poison.id))?.error).toContain("EXTRACT_CRASHED");
  expect((await spool.eventsAfter(0, 9)).map(({ event }) => event.type)).toEqual(["mail.failed"]);
});

test("triage gets the envelope, and what lists say of the sender stands beside the mail", async () => {
  const mail = someMail();
  await spool.putMail(mail);
  const seen: unknown[] = [];
  const sender = { list: "deny", address: "a@example.com", entry: "(sender example.com)" } as const;
  stage = startExtraction({
    spool,
    extract: async () => extractionOf([]),
    triage: ({ extraction, envelope }) => {
      seen.push(extraction.mail.subject, envelope);
      return { plan: [], sender };
    },
    failedEvent: () => someEvent("mail.failed"),
    concurrency: 2,
    attempts: 2,
    log: QUIET,
  });
  await until(async () => (await spool.analysedMails(9)).length === 1);
  expect(seen).toEqual(["hello", mail.envelope]);
  const [row] = await spool.analysedMails(1);
  if (row === undefined) throw new Error("no mail");
  expect(row.extraction?.flags).toEqual(["sender_denied"]);
  expect(judge(row)).toEqual({
    verdict: "malicious",
    complete: true,
    reasons: ['the sender "a@example.com" is on the deny list (sender example.com)'],
  });
});

test("mails are taken apart one at a time while the intake is busy, and together after it", async () => {
  let busy = true;
  let inWork = 0;
  let most = 0;
  const work = async () => {
    inWork += 1;
    most = Math.max(most, inWork);
    await Bun.sleep(10);
    inWork -= 1;
    return extractionOf([]);
  };
  for (let n = 0; n < 12; n++) await spool.putMail(someMail(`mail ${n}`));
  start(work, spool, () => busy);
  await until(async () => (await spool.analysedMails(20)).length >= 3);
  expect(most).toBe(1);
  busy = false;
  await until(async () => (await spool.analysedMails(20)).length === 12);
  expect(most).toBe(2);
});

test("a result waits for a spool in trouble instead of being lost", async () => {
  const mail = someMail();
  await spool.putMail(mail);
  let troubles = 3;
  let extractions = 0;
  start(
    async () => {
      extractions += 1;
      return extractionOf([]);
    },
    {
      ...spool,
      recordExtraction: (...args) => {
        troubles -= 1;
        if (troubles >= 0) return Promise.reject(new SensorError("SPOOL_FULL", "full"));
        return spool.recordExtraction(...args);
      },
    },
  );
  await until(async () => (await spool.mail(mail.id))?.state === "analysed");
  expect(extractions).toBe(1);
});

test("what a mail is planned by is what counts when it is committed", async () => {
  const mail = someMail();
  await spool.putMail(mail);
  let troubles = 2;
  let rule = "before";
  stage = startExtraction({
    spool: {
      ...spool,
      recordExtraction: (...args) => {
        troubles -= 1;
        if (troubles < 0) return spool.recordExtraction(...args);
        rule = "added meanwhile";
        return Promise.reject(new SensorError("SPOOL_FULL", "full"));
      },
    },
    extract: async () => extractionOf([]),
    triage: () => {
      const part = attachment("file", "skip");
      return { plan: [{ ...part, decision: { ...part.decision, rule } }], sender: null };
    },
    failedEvent: () => someEvent("mail.failed"),
    concurrency: 2,
    attempts: 2,
    log: QUIET,
  });
  await until(async () => (await spool.mail(mail.id))?.state === "analysed");
  expect((await spool.mail(mail.id))?.artifacts[0]?.decision.rule).toBe("added meanwhile");
});

test("a mail in work when the stage stops is handed out again after the next start", async () => {
  const mail = someMail();
  await spool.putMail(mail);
  let letGo = () => {};
  let begun = false;
  start(
    () =>
      new Promise((_resolve, reject) => {
        begun = true;
        letGo = () => reject(new SensorError("EXTRACT_CRASHED", "the pool was closed"));
      }),
  );
  await until(async () => begun, "the begin of the work");
  const stopped = stage.stop();
  letGo();
  await stopped;
  await spool.close();
  spool = await open(folder.path);
  expect(await spool.claimMails(1)).toMatchObject([{ id: mail.id }]);
  expect((await spool.mail(mail.id))?.attempts).toBe(0);
});
