import { Database } from "bun:sqlite";
import { afterEach, beforeEach, describe, expect, setSystemTime, test } from "bun:test";
import { cpSync, existsSync, readdirSync, renameSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { LOOK_EVERY } from "../../../src/spool/database.ts";
import type { Spool } from "../../../src/spool/spool.ts";
import { contentKey, type PlannedArtifact } from "../../../src/triage/plan.ts";
import { until } from "../../until.ts";
import {
  attachment,
  extractionOf,
  judged,
  open,
  openInThread,
  someEvent,
  someMail,
  temporaryFolder,
} from "./fixtures.ts";

let folder: ReturnType<typeof temporaryFolder>;
beforeEach(() => {
  folder = temporaryFolder();
});
afterEach(() => folder.remove());

const codeOf = (promise: Promise<unknown>) =>
  promise.then(
    () => "none",
    (error) => error.code,
  );

const refusalOf = (spool: Pick<Spool, "ready">): string => {
  try {
    spool.ready();
    return "";
  } catch (thrown) {
    return String(thrown);
  }
};

const IMPLEMENTATIONS = [
  ["in this process", (...args: Parameters<typeof openInThread>) => open(args[0], args[1])],
  ["in a thread", openInThread],
] as const;

describe.each(IMPLEMENTATIONS)("%s", (_where, open) => {
  describe("a mail", () => {
    test("goes from received over analysing and analysed to done, and its event stands in the outbox", async () => {
      const spool = await open(folder.path);
      const mail = someMail();
      const part = attachment("x");
      await spool.putMail(mail);
      expect(await spool.claimMails(10)).toMatchObject([{ id: mail.id, deaths: 0 }]);
      await spool.recordExtraction(mail.id, extractionOf([part]), [part]);
      expect((await spool.mail(mail.id))?.state).toBe("analysing");
      const [job] = await spool.dueAnalyses(Date.now(), 10, new Set());
      expect(job).toMatchObject({ key: contentKey(part), mailId: mail.id, progress: { state: "queued" } });
      await spool.finishAnalysis(contentKey(part), judged("malicious"), null);
      const [row] = await spool.analysedMails(10);
      expect(row?.artifacts[0]?.verdict?.verdict).toBe("malicious");
      await spool.finishMail(mail.id, "malicious", true, ["because"], [someEvent("mail.verdict")]);
      expect(await spool.mail(mail.id)).toMatchObject({
        state: "done",
        verdict: "malicious",
        complete: true,
      });
      expect(await spool.eventsAfter(0, 10)).toHaveLength(1);
      await spool.close();
    });

    test("keeps what the lists say: a denied part is malicious, an allowed one skipped, a denied sender told", async () => {
      const spool = await open(folder.path);
      const mail = someMail();
      const listed = (content: string, list: "allow" | "deny"): PlannedArtifact => {
        const part = attachment(content, "skip");
        return { ...part, decision: { ...part.decision, list, reason: `on the ${list} list (hash x)` } };
      };
      const plan = [listed("x", "deny"), listed("y", "allow")];
      const sender = { list: "deny", address: "a@evil.example", entry: "(sender evil.example)" } as const;
      await spool.putMail(mail);
      const [claimed] = await spool.claimMails(1);
      expect(claimed?.envelope).toEqual(mail.envelope);
      await spool.recordExtraction(mail.id, extractionOf(plan), plan, sender);
      const row = await spool.mail(mail.id);
      expect(row?.state).toBe("analysed");
      expect(row?.extraction?.sender_list).toEqual(sender);
      expect(row?.artifacts.map(({ verdict }) => verdict)).toEqual([
        {
          outcome: "judged",
          verdict: "malicious",
          reason: "on the deny list (hash x)",
          threat_names: [],
          vmray: null,
        },
        {
          outcome: "skipped",
          verdict: "not_available",
          reason: "on the allow list (hash x)",
          threat_names: [],
          vmray: null,
        },
      ]);
      await spool.close();
    });

    test("is finished once: a second verdict changes nothing and makes no second event", async () => {
      const spool = await open(folder.path);
      const mail = someMail();
      await spool.putMail(mail);
      await spool.recordExtraction(mail.id, extractionOf([]), []);
      await spool.finishMail(mail.id, "clean", true, [], [someEvent()]);
      await spool.finishMail(mail.id, "malicious", true, [], [someEvent()]);
      expect((await spool.mail(mail.id))?.verdict).toBe("clean");
      expect(await spool.eventsAfter(0, 10)).toHaveLength(1);
      await spool.close();
    });

    test("is handed out to one taker only", async () => {
      const spool = await open(folder.path);
      await Promise.all([spool.putMail(someMail()), spool.putMail(someMail())]);
      const takers = await Promise.all([spool.claimMails(1), spool.claimMails(1), spool.claimMails(1)]);
      expect(new Set(takers.flat().map((claimed) => claimed.id)).size).toBe(2);
      await spool.close();
    });

    test("in a parser when the sensor died is handed out alone, and before all others", async () => {
      let spool = await open(folder.path);
      const [before, guilty, after] = [someMail(), someMail(), someMail()];
      for (const mail of [before, guilty, after]) await spool.putMail(mail);
      await spool.claimMails(2);
      spool.noteParsing(guilty.id);
      const asLeftByCrash = temporaryFolder();
      cpSync(folder.path, asLeftByCrash.path, { recursive: true });
      await spool.close();
      spool = await open(asLeftByCrash.path);
      expect(await spool.claimMails(10)).toMatchObject([{ id: guilty.id, deaths: 1 }]);
      expect(await spool.claimMails(10)).toEqual([]);
      await spool.recordExtraction(guilty.id, extractionOf([]), []);
      expect((await spool.claimMails(10)).map(({ id, deaths }) => ({ id, deaths }))).toEqual([
        { id: before.id, deaths: 0 },
        { id: after.id, deaths: 0 },
      ]);
      await spool.close();
      asLeftByCrash.remove();
    });

    test("in a parser when the sensor is stopped is no suspect", async () => {
      let spool = await open(folder.path);
      const mail = someMail();
      await spool.putMail(mail);
      await spool.claimMails(1);
      spool.noteParsing(mail.id);
      await spool.close();
      spool = await open(folder.path);
      expect(await spool.claimMails(1)).toMatchObject([{ id: mail.id, deaths: 0 }]);
      await spool.close();
    });

    test("too large for the database lies in a file, which is gone after an abort", async () => {
      const spool = await open(folder.path);
      const body = spool.body("one");
      for (let i = 0; i < 4; i++) await body.write(new Uint8Array(500).fill(65));
      const { raw, size } = await body.finish();
      expect(size).toBe(2000);
      expect(raw.kind === "file" && statSync(raw.path).size).toBe(2000);
      const aborted = spool.body("two");
      await aborted.write(new Uint8Array(5000));
      await aborted.abort();
      expect(readdirSync(join(folder.path, "incoming"))).toEqual([]);
      await spool.close();
    });

    test("that never got its 250 leaves no file after a restart", async () => {
      let spool = await open(folder.path);
      const body = spool.body("lost");
      await body.write(new Uint8Array(5000));
      await body.finish();
      const kept = spool.body("0kept");
      await kept.write(new Uint8Array(5000));
      const { raw } = await kept.finish();
      await spool.putMail(someMail("", { id: "0kept", body: raw }));
      await spool.close();
      writeFileSync(join(folder.path, "incoming", "x.part"), "half");
      spool = await open(folder.path);
      expect(readdirSync(join(folder.path, "large"))).toEqual(["0kept.eml"]);
      expect(readdirSync(join(folder.path, "incoming"))).toEqual([]);
      await spool.close();
    });
  });

  describe("an analysis", () => {
    test("serves every mail with the same content", async () => {
      const spool = await open(folder.path);
      const part = attachment("shared");
      const mails = [someMail(), someMail(), someMail()];
      for (const mail of mails) {
        await spool.putMail(mail);
        await spool.recordExtraction(mail.id, extractionOf([part, part]), [part, part]);
      }
      expect(await spool.dueAnalyses(Date.now(), 10, new Set())).toHaveLength(1);
      await spool.finishAnalysis(contentKey(part), judged("clean"), Date.now() + 60_000);
      expect((await spool.analysedMails(10)).map((row) => row.id)).toEqual(mails.map((mail) => mail.id));
      const later = someMail();
      await spool.putMail(later);
      await spool.recordExtraction(later.id, extractionOf([part]), [part]);
      expect((await spool.mail(later.id))?.state).toBe("analysed");
      await spool.close();
    });

    test("is made anew when its verdict is no longer valid", async () => {
      const spool = await open(folder.path);
      const part = attachment("old");
      for (const validUntil of [Date.now() - 1, null]) {
        const mail = someMail();
        await spool.putMail(mail);
        await spool.recordExtraction(mail.id, extractionOf([part]), [part]);
        expect((await spool.mail(mail.id))?.state).toBe("analysing");
        await spool.finishAnalysis(contentKey(part), judged("clean"), validUntil);
      }
      await spool.close();
    });

    test("keeps its progress over a restart and leaves out what is running", async () => {
      let spool = await open(folder.path);
      const part = attachment("slow");
      const mail = someMail();
      await spool.putMail(mail);
      await spool.recordExtraction(mail.id, extractionOf([part]), [part]);
      const progress = { state: "submitted", sampleIds: [1], submissionIds: [7], submittedAt: 5 } as const;
      await spool.recordProgress(contentKey(part), progress, 0, 2);
      await spool.close();
      spool = await open(folder.path);
      const [job] = await spool.dueAnalyses(Date.now(), 10, new Set());
      expect(job).toMatchObject({ progress, faults: 2 });
      expect(await spool.dueAnalyses(Date.now(), 10, new Set([contentKey(part)]))).toEqual([]);
      expect(await spool.nextAnalysisAt(new Set([contentKey(part)]))).toBeNull();
      expect((await spool.counts()).analyses).toEqual({ queued: 0, submitted: 1 });
      await spool.close();
    });

    test("by look-up alone does not answer for one that may submit", async () => {
      const spool = await open(folder.path);
      const [lookup, full] = [attachment("same", "lookup"), attachment("same", "dynamic")];
      const mail = someMail();
      await spool.putMail(mail);
      await spool.recordExtraction(mail.id, extractionOf([lookup, full]), [lookup, full]);
      expect(await spool.dueAnalyses(Date.now(), 10, new Set())).toHaveLength(2);
      await spool.close();
    });
  });

  describe("the outbox", () => {
    test("gives a new destination only what comes after it, and keeps its place over a restart", async () => {
      let spool = await open(folder.path);
      await spool.putEvents([someEvent()]);
      await spool.addDestinations(["siem:a"]);
      await spool.putEvents([someEvent(), someEvent()]);
      const start = await spool.cursor("siem:a");
      const events = await spool.eventsAfter(start, 10);
      expect(events).toHaveLength(2);
      await spool.advanceCursor("siem:a", events[0]?.seq ?? 0);
      await spool.close();
      spool = await open(folder.path);
      await spool.addDestinations(["siem:a", "siem:b"]);
      expect((await spool.counts()).outbox).toMatchObject([
        { destination: "siem:a", backlog: 1 },
        { destination: "siem:b", backlog: 0, oldestAt: null },
      ]);
      await spool.close();
    });

    test("keeps the place of a destination that is gone, until it is named again or forgotten", async () => {
      let spool = await open(folder.path);
      expect(await spool.addDestinations(["siem:a", "siem:b"])).toEqual(["siem:a", "siem:b"]);
      const waiting = [someEvent(), someEvent()];
      await spool.putEvents(waiting);
      const gone = { destination: "siem:a", goneAt: 1000, waiting: 2 };
      const span = { first: { id: waiting[0]?.id }, last: { id: waiting[1]?.id } };
      expect(await spool.keepDestinations(["siem:b"], 1000)).toMatchObject([{ ...gone, span }]);
      await spool.putEvents([someEvent()]);
      await spool.close();
      spool = await open(folder.path);
      expect(await spool.keepDestinations(["siem:b"], 2000)).toMatchObject([{ ...gone, span }]);
      expect((await spool.counts()).outbox.map(({ destination }) => destination)).toEqual(["siem:b"]);
      expect(await spool.addDestinations(["siem:a"])).toEqual([]);
      expect(await spool.keepDestinations(["siem:a", "siem:b"], 3000)).toEqual([]);
      expect(await spool.eventsAfter(await spool.cursor("siem:a"), 9)).toHaveLength(3);
      const told = someEvent();
      await spool.keepDestinations(["siem:b"], 4000);
      await spool.forgetDestination("siem:a", told);
      expect(await spool.keepDestinations(["siem:b"], 5000)).toEqual([]);
      expect((await spool.eventsAfter(0, 9)).at(-1)?.event.id).toBe(told.id);
      expect(await spool.addDestinations(["siem:a"])).toEqual(["siem:a"]);
      await spool.close();
    });

    test("read a backlog of long events at once, whatever its size", async () => {
      const spool = await open(folder.path);
      const long = (characters: number) => ({ ...someEvent(), reasons: ["\u00fc".repeat(characters)] });
      await spool.putEvents([
        ...Array.from({ length: 5 }, () => long(1_500_000)),
        long(5_000_000),
        someEvent(),
      ]);
      const reads: number[] = [];
      for (let seq = 0; seq < 7; seq += reads.at(-1) ?? 7) {
        const bodies = await spool.eventBodies(seq, 500);
        expect(bodies[0]?.seq).toBe(seq + 1);
        reads.push(bodies.length);
      }
      expect(reads).toEqual([2, 2, 1, 1, 1]);
      expect(await spool.eventBodies(7, 500)).toEqual([]);
      const [last] = await spool.eventsAfter(6, 1);
      expect(last?.size).toBe(JSON.stringify(last?.event).length);
      await spool.close();
    });

    test("never moves a cursor back", async () => {
      const spool = await open(folder.path);
      await spool.addDestinations(["siem:a"]);
      await spool.advanceCursor("siem:a", 5);
      await spool.advanceCursor("siem:a", 3);
      expect(await spool.cursor("siem:a")).toBe(5);
      await spool.close();
    });
  });

  describe("retention", () => {
    test("keeps events a destination still waits for", async () => {
      const spool = await open(folder.path);
      await spool.addDestinations(["siem:a"]);
      await spool.putEvents([someEvent()]);
      while (await spool.sweep(Date.now() + 100_000));
      expect(await spool.eventsAfter(0, 1)).toHaveLength(1);
      await spool.close();
    });
  });

  describe("the list of mails", () => {
    test("is newest first, pages, and filters by state, verdict, time and text", async () => {
      const spool = await open(folder.path);
      const ids: string[] = [];
      for (let i = 0; i < 6; i++) {
        const mail = someMail();
        ids.unshift(mail.id);
        await spool.putMail(mail);
        if (i < 4) {
          await spool.recordExtraction(mail.id, extractionOf([], `Subject ${i} ÄÖ`), []);
          await spool.finishMail(mail.id, i === 2 ? "malicious" : "clean", true, [], []);
        }
        await Bun.sleep(2);
      }
      const list = async (...args: Parameters<typeof spool.mails>) =>
        (await spool.mails(...args)).map((m) => m.id);
      expect(await list({}, 4, null)).toEqual(ids.slice(0, 4));
      expect(await list({}, 4, ids[3] ?? null)).toEqual(ids.slice(4));
      expect(await list({ states: ["received"] }, 9, null)).toEqual(ids.slice(0, 2));
      expect(await list({ verdicts: ["malicious"] }, 9, null)).toEqual([ids[3] ?? ""]);
      expect(await list({ text: "SUBJECT 1" }, 9, null)).toEqual([ids[4] ?? ""]);
      expect(await list({ text: "%' OR 1=1 --" }, 9, null)).toEqual([]);
      const third = (await spool.mail(ids[2] ?? ""))?.receivedAt ?? 0;
      expect(await list({ since: third }, 9, null)).toEqual(ids.slice(0, 3));
      expect(await list({ until: third }, 9, null)).toEqual(ids.slice(3));
      await spool.close();
    });
  });

  describe("a spool in trouble", () => {
    test("is refused to a second sensor, and free again after the first one", async () => {
      const spool = await open(folder.path);
      expect(await codeOf(open(folder.path))).toBe("SPOOL_IN_USE");
      await spool.close();
      await (await open(folder.path)).close();
    });

    test("written by a newer version is refused and left as it is", async () => {
      await (await open(folder.path)).close();
      const db = new Database(join(folder.path, "spool.db"));
      db.run("PRAGMA user_version = 99");
      db.close();
      expect(await codeOf(open(folder.path))).toBe("SPOOL_NEWER");
    });

    test("with too little space takes no mail", async () => {
      const spool = await open(folder.path, { minFree: Number.MAX_SAFE_INTEGER });
      expect(() => spool.ready()).toThrow("bytes are free");
      await spool.close();
    });

    test("locked by another process waits, then says so, and goes on when it is free", async () => {
      const spool = await open(folder.path);
      const other = new Database(join(folder.path, "spool.db"));
      other.run("BEGIN IMMEDIATE");
      const waiting = spool.putMail(someMail());
      await Bun.sleep(100);
      other.run("ROLLBACK");
      expect(await codeOf(waiting)).toBe("none");
      other.run("BEGIN IMMEDIATE");
      expect(await codeOf(spool.putMail(someMail()))).toBe("SPOOL_BUSY");
      other.run("ROLLBACK");
      other.close();
      expect(await codeOf(spool.putMail(someMail()))).toBe("none");
      await spool.close();
    });

    test("overwritten with rubbish takes no mail, and goes on when it is put back", async () => {
      const spool = await open(folder.path);
      const file = join(folder.path, "spool.db");
      await spool.putMail(someMail());
      while (await spool.sweep(Date.now()));
      const good = await Bun.file(file).bytes();
      writeFileSync(file, new Uint8Array(good.length).fill(7));
      await until(() => refusalOf(spool).includes("no longer a database"), "the fault");
      expect(await codeOf(spool.putMail(someMail()))).toBe("SPOOL_BROKEN");
      writeFileSync(file, good);
      await until(
        async () => (await codeOf(spool.putMail(someMail()))) === "none",
        "the database to be used",
      );
      expect((await spool.counts()).states.received).toBe(2);
      await spool.close();
    });

    test("damaged in some of its pages takes no mail until it is whole again", async () => {
      const spool = await open(folder.path);
      const file = join(folder.path, "spool.db");
      for (let n = 0; n < 60; n++) await spool.putMail(someMail("x".repeat(3000)));
      while (await spool.sweep(Date.now()));
      const good = await Bun.file(file).bytes();
      // The first page stays: to a quick look it is a database.
      const bad = good.slice();
      bad.fill(7, 4096);
      await spool.close();
      const again = await open(folder.path);
      writeFileSync(file, bad);
      expect(await codeOf(again.mails({}, 100, null))).toBe("SPOOL_BROKEN");
      for (let n = 0; n < 14; n++) {
        expect(await codeOf(again.putMail(someMail()))).toBe("SPOOL_BROKEN");
        await Bun.sleep(100);
      }
      expect(() => again.ready()).toThrow();
      writeFileSync(file, good);
      await until(
        async () => (await codeOf(again.putMail(someMail()))) === "none",
        "the database to be used",
      );
      expect((await again.counts()).states.received).toBe(61);
      await again.close();
    });

    test("moved away is noticed: no mail is taken into a file without a name", async () => {
      const spool = await open(folder.path);
      const file = join(folder.path, "spool.db");
      renameSync(file, `${file}.moved`);
      await Bun.sleep(600);
      expect(await codeOf(spool.putMail(someMail()))).toBe("SPOOL_BROKEN");
      expect(existsSync(`${file}.moved`)).toBe(true);
      await spool.close();
    });

    test("takes back only the write that failed, not its neighbours in the same commit", async () => {
      const spool = await open(folder.path);
      const mail = someMail();
      const [first, twice, third] = [spool.putMail(mail), spool.putMail(mail), spool.putMail(someMail())];
      expect(await Promise.all([first, twice, third].map(codeOf))).toEqual(["none", "INTERNAL", "none"]);
      await spool.close();
    });
  });
});

test("a second look whose mail is gone does not stay open for ever", async () => {
  const folder = temporaryFolder();
  let time = Date.UTC(2026, 0, 1);
  const spool = await open(folder.path, { keepRaw: 0, keepMetadata: 1000 }, () => time);
  const unknown = attachment("nobody knows it");
  const mail = someMail();
  await spool.setRelooks({ for: 500, first: 100 });
  await spool.putMail(mail);
  await spool.claimMails(1);
  await spool.recordExtraction(mail.id, extractionOf([unknown]), [unknown]);
  const [job] = await spool.dueAnalyses(time, 9, new Set());
  await spool.finishAnalysis(job?.key ?? "", judged("not_available"), null);
  await spool.finishMail(mail.id, "clean", true, [], []);
  time += 200;
  expect(await spool.startRelooks(time, 9)).toBe(1);
  expect((await spool.counts()).analyses.queued).toBe(1);
  time += 10_000;
  for (let n = 0; n < 3; n++) while (await spool.sweep(time));
  expect(await spool.mail(mail.id)).toBeNull();
  expect((await spool.counts()).analyses.queued).toBe(0);
  await spool.close();
  folder.remove();
});

test("bug: a clock set back kept a spool from seeing that its database was gone, for as long as it was behind", async () => {
  const spool = await open(folder.path);
  await spool.putMail(someMail());
  const file = join(folder.path, "spool.db");
  try {
    setSystemTime(new Date(Date.now() - 3_600_000));
    renameSync(file, `${file}.moved`);
    await Bun.sleep(2 * LOOK_EVERY);
    expect(await codeOf(spool.putMail(someMail()))).toBe("SPOOL_BROKEN");
    renameSync(`${file}.moved`, file);
    await until(async () => (await codeOf(spool.putMail(someMail()))) === "none", "the database to be used");
  } finally {
    setSystemTime();
  }
  await spool.close();
});

describe("events once more", () => {
  test("are those of the time asked for, until they are sent, over a restart; the cursor stays", async () => {
    const folder = temporaryFolder();
    let spool = await open(folder.path);
    const at = (minute: number) => Date.UTC(2026, 0, 1, 12, minute);
    const event = (minute: number) => ({ ...someEvent(), time: new Date(at(minute)).toISOString() });
    await spool.addDestinations(["a", "b"]);
    expect(await spool.startReplay("a", 0, Date.now())).toBe(0);
    expect(await spool.replay("a")).toBeNull();
    await spool.putEvents([0, 1, 2, 3, 4, 4, 5].map(event));
    expect(await spool.startReplay("a", at(1), at(5))).toBe(5);
    expect(await spool.startReplay("a", at(0), at(1))).toBeNull();
    expect(await spool.startReplay("b", at(6), at(9))).toBe(0);
    expect(await spool.startReplay("b", 0, at(9))).toBe(7);
    await spool.advanceReplay("a", 3);
    await spool.close();
    spool = await open(folder.path);
    expect(await spool.replay("a")).toEqual({ seq: 3, last: 6 });
    await spool.advanceReplay("a", 2);
    expect(await spool.replay("a")).toEqual({ seq: 3, last: 6 });
    await spool.advanceReplay("a", 6);
    expect(await spool.replay("a")).toBeNull();
    expect(await spool.cursor("a")).toBe(0);
    await spool.forgetDestination("b", null);
    expect(await spool.replay("b")).toBeNull();
    await spool.close();
    folder.remove();
  });

  test("that are given up move the cursor together with the event that says so", async () => {
    const folder = temporaryFolder();
    const spool = await open(folder.path);
    await spool.addDestinations(["a"]);
    await spool.putEvents([someEvent(), someEvent(), someEvent()]);
    const told = someEvent();
    await spool.dropEvents("a", 2, told);
    expect(await spool.cursor("a")).toBe(2);
    expect((await spool.eventsAfter(3, 9)).map(({ event }) => event.id)).toEqual([told.id]);
    await spool.close();
    folder.remove();
  });
});

describe("by a clock held by the test", () => {
  test("a mail whose extraction failed waits until its time has come", async () => {
    let time = 1000;
    const spool = await open(folder.path, {}, () => time);
    const mail = someMail();
    await spool.putMail(mail);
    await spool.claimMails(1);
    expect(await spool.recordExtractionFault(mail.id, "EXTRACT_CRASHED", 5000)).toBe(1);
    expect(await spool.claimMails(1)).toEqual([]);
    time = 5000;
    expect(await spool.claimMails(1)).toHaveLength(1);
    expect(await spool.recordExtractionFault(mail.id, "EXTRACT_CRASHED", 9000)).toBe(2);
    await spool.failMail(mail.id, "EXTRACT_CRASHED", someEvent("mail.failed"));
    expect((await spool.mail(mail.id))?.state).toBe("failed");
    expect((await spool.counts()).states.failed).toBe(1);
    await spool.close();
  });

  test("retention deletes bytes first, then metadata, then events that all destinations have, and the file shrinks", async () => {
    let time = Date.now();
    const spool = await open(folder.path, { inlineSize: 100_000 }, () => time);
    const mails = Array.from({ length: 300 }, () => someMail("x".repeat(50_000)));
    await Promise.all(mails.map((mail) => spool.putMail(mail)));
    await Promise.all(mails.map(({ id }) => spool.recordExtraction(id, extractionOf([]), [])));
    await Promise.all(mails.map(({ id }) => spool.finishMail(id, "clean", true, [], [someEvent()])));
    await spool.addDestinations(["siem:a"]);
    const sweep = async () => {
      while (await spool.sweep(time));
    };
    await sweep();
    const before = statSync(join(folder.path, "spool.db")).size;
    expect(await spool.mails({}, 1, null)).toMatchObject([{ rawKept: true }]);
    time += 1500;
    await sweep();
    expect(await spool.mails({}, 1, null)).toMatchObject([{ rawKept: false }]);
    expect(statSync(join(folder.path, "spool.db")).size).toBeLessThan(before / 10);
    time += 1500;
    await sweep();
    expect(await spool.mails({}, 1, null)).toEqual([]);
    expect(await spool.eventsAfter(0, 1)).toHaveLength(1);
    time += 10_000;
    await sweep();
    expect(await spool.eventsAfter(0, 1)).toHaveLength(0);
    await spool.putEvents([someEvent()]);
    expect((await spool.eventsAfter(0, 1))[0]?.seq).toBe(301);
    await spool.close();
  });
});
