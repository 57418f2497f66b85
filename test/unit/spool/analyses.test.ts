/** Analyses in the spool: which verdict answers for which wish, in which order they are handed out, what is charged. */
import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import { composeState } from "../../../src/report/compose.ts";
import { analysisKey } from "../../../src/spool/analyses.ts";
import type { Spool } from "../../../src/spool/spool.ts";
import { contentKey, type PlannedArtifact, type Priority } from "../../../src/triage/plan.ts";
import { NOON, SENSOR } from "../report/fixtures.ts";
import { attachment, extractionOf, judged, open, someMail, temporaryFolder } from "./fixtures.ts";

let folder: ReturnType<typeof temporaryFolder>;
beforeEach(() => {
  folder = temporaryFolder();
});
afterEach(() => folder.remove());

/** Takes in a mail that wants these parts judged; gives its id. */
async function want(spool: Spool, ...parts: readonly PlannedArtifact[]): Promise<string> {
  const mail = someMail();
  await spool.putMail(mail);
  await spool.recordExtraction(mail.id, extractionOf(parts), parts);
  return mail.id;
}

async function keys(spool: Spool): Promise<readonly string[]> {
  return (await spool.dueAnalyses(Date.now() + 1, 100, new Set())).map(({ key }) => key);
}

test("states that were told are kept with their event, for each analyzer, over a restart", async () => {
  const first = await open(folder.path);
  await first.tellStates([], ["analyzer_auth_failed", "budget_used_up"]);
  await first.tellStates([], ["quota_used_up"], "cloud");
  const event = composeState("analyzer_recovered", "VMRay answers again", SENSOR, NOON);
  await first.tellStates([event], ["budget_used_up"]);
  await first.close();
  const spool = await open(folder.path);
  expect((await spool.eventsAfter(0, 10)).map((each) => each.event)).toEqual([event]);
  expect(await spool.toldStates()).toEqual(["budget_used_up"]);
  expect(await spool.toldStates("cloud")).toEqual(["quota_used_up"]);
  await spool.tellStates([], [], "cloud");
  expect([await spool.toldStates(), await spool.toldStates("cloud")]).toEqual([["budget_used_up"], []]);
  await spool.close();
});

describe("an analysis", () => {
  test("of a deeper kind answers for a shallower wish, and never the other way", async () => {
    const spool = await open(folder.path);
    const wishes = (["lookup", "reputation", "static", "dynamic"] as const).map((action) =>
      attachment("one content", action),
    );
    for (const [deep, wish] of wishes.entries()) {
      await want(spool, wish);
      expect(await keys(spool)).toEqual([analysisKey(wish)]);
      await spool.finishAnalysis(analysisKey(wish), judged("clean"), Date.now() + 60_000);
      for (const shallower of wishes.slice(0, deep + 1)) {
        expect((await spool.mail(await want(spool, shallower)))?.state).toBe("analysed");
      }
    }
    await spool.close();
  });

  test("that would submit joins a deeper one under way, a look-up alone does not wait for that", async () => {
    const spool = await open(folder.path);
    const [lookup, reputation, dynamic] = (["lookup", "reputation", "dynamic"] as const).map((action) =>
      attachment("one content", action),
    ) as [PlannedArtifact, PlannedArtifact, PlannedArtifact];
    await want(spool, dynamic);
    const joined = await want(spool, reputation);
    const looked = await want(spool, lookup);
    expect((await keys(spool)).toSorted()).toEqual([contentKey(dynamic), analysisKey(lookup)].toSorted());
    await spool.finishAnalysis(contentKey(dynamic), judged("suspicious"), null);
    expect((await spool.mail(joined))?.artifacts[0]?.verdict?.verdict).toBe("suspicious");
    expect((await spool.mail(looked))?.state).toBe("analysing");
    await spool.close();
  });

  test("is as urgent as the most urgent mail that wants it, also where it was handed out before", async () => {
    const time = 1_000_000;
    const spool = await open(folder.path, {}, () => time);
    const [first, second] = [attachment("first"), attachment("second")];
    await want(spool, attachment("in front"), first);
    await want(spool, second);
    const all = [contentKey(first), contentKey(second), "file:unknown"];
    const before = await spool.urgencies(all);
    expect(before.map(({ priority }) => priority)).toEqual([1, 1]);
    await want(spool, { ...first, decision: { ...first.decision, priority: "high" } });
    await spool.finishAnalysis(contentKey(second), judged("clean"), null);
    expect(await spool.urgencies(all)).toEqual([{ key: contentKey(first), priority: 0, turn: time }]);
    await spool.close();
  });

  test("is handed out by priority, then risk and age, with some of the longest waiting", async () => {
    let time = 1_000_000;
    const spool = await open(folder.path, {}, () => time);
    const wish = async (name: string, priority: Priority) => {
      const part = attachment(name);
      await want(spool, { ...part, decision: { ...part.decision, priority } });
      time += 1;
    };
    for (let n = 0; n < 20; n++) await wish(`low ${n}`, "low");
    for (let n = 0; n < 20; n++) await wish(`normal ${n}`, "normal");
    for (let n = 0; n < 4; n++) await wish(`high ${n}`, "high");
    const due = await spool.dueAnalyses(time, 16, new Set(), "look");
    const names = due.map(({ artifact }) =>
      artifact.kind === "attachment" ? artifact.attachment.filename?.replace(".exe", "") : "",
    );
    const first = (word: string, count: number) => Array.from({ length: count }, (_, n) => `${word} ${n}`);
    expect(names.toSorted()).toEqual(
      [...first("low", 2), ...first("high", 4), ...first("normal", 10)].toSorted(),
    );
    expect(due.map(({ priority }) => priority)).toContain(0);
    // A mail that is more urgent brings forward what waits already.
    await wish("low 19", "high");
    const next = await spool.dueAnalyses(time, 16, new Set(due.map(({ key }) => key)), "look");
    expect(next.some(({ key }) => key === contentKey(attachment("low 19")))).toBe(true);
    await spool.close();
  });

  test("of a mail with hundreds of parts stands behind those of mails that come soon after it", async () => {
    let time = 1_000_000;
    const spool = await open(folder.path, {}, () => time);
    await want(spool, ...Array.from({ length: 300 }, (_, n) => attachment(`many ${n}`)));
    time += 500;
    const small = attachment("small");
    await want(spool, small);
    const due = await spool.dueAnalyses(time, 8, new Set(), "look");
    expect(due.map(({ key }) => key)).toContain(contentKey(small));
    expect(due).toHaveLength(8);
    await spool.close();
  });

  test("of one of several analyzers is taken up by its own feed, budget and place alone", async () => {
    let spool = await open(folder.path);
    const [one, two] = [attachment("first's"), attachment("cloud's")];
    const cloud = { ...two, decision: { ...two.decision, analyzer: "cloud" } };
    await want(spool, one, cloud);
    const keys = async (analyzer?: string) =>
      (await spool.dueAnalyses(Date.now(), 10, new Set(), undefined, analyzer)).map(({ key }) => key);
    expect([await keys(), await keys("cloud")]).toEqual([[contentKey(one)], [contentKey(two)]]);
    expect(await spool.nextAnalysisAt(new Set(), "look", "other")).toBeNull();
    const submitted = { state: "submitted", sampleIds: [], submissionIds: [7], submittedAt: 5 } as const;
    const far = Date.now() + 3_600_000;
    await spool.recordProgress(contentKey(one), submitted, far, 0, "2026-01-02");
    await spool.recordProgress(contentKey(two), submitted, far, 0, "2026-01-03");
    expect([await spool.charged("2026-01-02"), await spool.charged("2026-01-03")]).toEqual([1, 0]);
    expect(await spool.charged("2026-01-03", "cloud")).toBe(1);
    expect(await spool.submissionsFinished([7], 7, Date.now(), "cloud")).toEqual([contentKey(two)]);
    await spool.close();
    spool = await open(folder.path);
    expect([await spool.finishedCursor(), await spool.finishedCursor("cloud")]).toEqual([null, 7]);
    expect([await keys(), await keys("cloud")]).toEqual([[], [contentKey(two)]]);
    const tried = [{ analyzer: "cloud", why: "too large" }];
    await spool.moveAnalysis(contentKey(two), "default", { state: "queued", tried });
    expect(await keys("cloud")).toEqual([]);
    expect(await spool.dueAnalyses(Date.now(), 10, new Set())).toMatchObject([
      { key: contentKey(two), lane: "look", progress: { state: "queued", tried } },
    ]);
    expect(await spool.adoptAnalyses(["default"])).toBe(0);
    await spool.close();
  });

  test("bug: waited until a clock that was ahead before the start had come true", async () => {
    const spool = await open(folder.path);
    const [ahead, soon] = [attachment("ahead"), attachment("soon")];
    await want(spool, ahead, soon);
    await spool.recordProgress(contentKey(ahead), { state: "queued" }, Date.now() + 86_400_000, 0);
    await spool.recordProgress(contentKey(soon), { state: "queued" }, Date.now() + 600_000, 0);
    await spool.adoptAnalyses(["default"]);
    const due = await spool.dueAnalyses(Date.now(), 10, new Set());
    expect(due.map(({ key }) => key)).toEqual([contentKey(ahead)]);
    await spool.close();
  });

  test("is taken up when the feed names its submission, and only then", async () => {
    let spool = await open(folder.path);
    const [one, two] = [attachment("one"), attachment("two")];
    await want(spool, one, two);
    const far = Date.now() + 3_600_000;
    const submitted = (id: number) =>
      ({ state: "submitted", sampleIds: [], submissionIds: [id, id + 1], submittedAt: 5 }) as const;
    await spool.recordProgress(contentKey(one), submitted(10), far, 0);
    await spool.recordProgress(contentKey(two), submitted(20), far, 0);
    expect(await spool.finishedCursor()).toBeNull();
    expect(await spool.submissionsFinished([3, 21, 99], 99, Date.now())).toEqual([contentKey(two)]);
    await spool.close();
    spool = await open(folder.path);
    expect(await spool.finishedCursor()).toBe(99);
    const due = await spool.dueAnalyses(Date.now(), 10, new Set());
    expect(due).toMatchObject([{ key: contentKey(two), lane: "read" }]);
    await spool.recordProgress(contentKey(two), { ...submitted(20), childIds: [77] }, far, 0);
    expect(await spool.submissionsFinished([77], 99, Date.now())).toEqual([contentKey(two)]);
    await spool.finishAnalysis(contentKey(two), judged("clean"), null);
    expect(await spool.submissionsFinished([20, 77], 100, Date.now())).toEqual([]);
    await spool.close();
  });

  test("charges its submission to the day once, with the commit of the step", async () => {
    let spool = await open(folder.path);
    const part = attachment("paid");
    await want(spool, part);
    await spool.recordProgress(contentKey(part), { state: "submitting" }, 0, 0, "2026-11-23");
    await spool.recordProgress(contentKey(part), { state: "submitting" }, 0, 0, "2026-11-24");
    await spool.recordProgress(contentKey(part), { state: "submitting" }, 0, 0, "2026-11-24");
    await spool.recordProgress("file:unknown", { state: "submitting" }, 0, 0, "2026-11-24");
    await spool.close();
    spool = await open(folder.path);
    expect(await Promise.all(["2026-11-23", "2026-11-24"].map((day) => spool.charged(day)))).toEqual([0, 2]);
    await spool.close();
  });

  test("says what mails that are not done had of the day, over a restart", async () => {
    let spool = await open(folder.path);
    const parts = Array.from({ length: 4 }, (_, n) => attachment(`part ${n}`));
    await want(spool, ...parts);
    const done = attachment("done");
    await want(spool, done);
    const day = "2026-11-24";
    for (const part of [parts[0], parts[1], done]) {
      const key = contentKey(part as PlannedArtifact);
      await spool.recordProgress(key, { state: "submitting", charged: day }, 0, 0, day);
    }
    const cost = { calls: 3, submissions: 1, quota: 5, seconds: 1 };
    await spool.finishAnalysis(contentKey(parts[0] as PlannedArtifact), { ...judged("clean"), cost }, null);
    await spool.finishAnalysis(contentKey(done), judged("clean"), null);
    await spool.close();
    spool = await open(folder.path);
    // One that is in work, and one that took five.
    expect((await spool.chargedMails(day)).map(({ uses }) => uses)).toEqual([6]);
    expect([await spool.chargedMails("2026-11-25"), await spool.chargedMails(day, "cloud")]).toEqual([
      [],
      [],
    ]);
    await spool.close();
  });

  test("bug: charges what a submission took with the verdict, once, however often that is committed", async () => {
    let spool = await open(folder.path);
    const [zip, denied] = [attachment("zip"), attachment("denied")];
    await want(spool, zip, denied);
    const day = "2026-11-24";
    for (const part of [zip, denied]) {
      await spool.recordProgress(contentKey(part), { state: "submitting", charged: day }, 0, 0, day);
    }
    for (let n = 0; n < 2; n++) {
      await spool.finishAnalysis(contentKey(zip), judged("clean"), null, { day, by: 59 });
      await spool.moveAnalysis(contentKey(denied), "cloud", { state: "queued" }, { day, by: -1 });
    }
    await spool.close();
    spool = await open(folder.path);
    expect([await spool.charged(day), await spool.charged(day, "cloud")]).toEqual([60, 0]);
    // What is given back to a day that is no longer counted is forgotten.
    await spool.finishAnalysis(contentKey(denied), judged("clean"), null, { day: "2026-11-23", by: -1 });
    expect(await spool.charged("2026-11-23", "cloud")).toBe(0);
    await spool.close();
  });
});
