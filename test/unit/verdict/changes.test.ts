/** What is told of a mail before all of it is decided, and after that: on a real spool, reopened as after a kill. */
import { afterEach, describe, expect, test } from "bun:test";
import { AGAIN } from "../../../src/spool/analyses.ts";
import { contentKey, type PlannedArtifact } from "../../../src/triage/plan.ts";
import { attachment, judged } from "../spool/fixtures.ts";
import { closeAll, events, HOUR, judgeAll, known, type Place, place, takenApart, url } from "./delivered.ts";

afterEach(closeAll);

describe("a mail with a malicious part", () => {
  test("is reported at once, and completed when the other parts are decided", async () => {
    const at = await place();
    const [bad, slow] = [attachment("bad"), attachment("slow")];
    const id = await takenApart(at, [bad, slow]);
    await at.spool.finishAnalysis(contentKey(bad), known("malicious"), null);
    await at.restart();
    await judgeAll(at);
    expect(await at.spool.mail(id)).toMatchObject({
      state: "analysing",
      verdict: "malicious",
      complete: false,
    });
    expect((await at.spool.counts()).verdicts.malicious).toBe(1);
    await at.restart();
    await at.spool.finishAnalysis(contentKey(slow), known("clean"), null);
    await judgeAll(at);
    const [first, second, ...more] = await events(at.spool);
    expect(more).toEqual([]);
    expect(first).toMatchObject({ type: "mail.verdict", verdict: "malicious", complete: false });
    expect(first?.reasons).toContain("1 part is still being analysed");
    expect(first?.attachments?.map(({ outcome }) => outcome)).toEqual(["judged", "pending"]);
    expect(second).toMatchObject({
      type: "verdict.changed",
      verdict: "malicious",
      complete: true,
      change: {
        because: "completed",
        from: "malicious",
        to: "malicious",
        previous_event_id: first?.id ?? "",
        mails: 1,
      },
      attachments: [{ filename: "slow.exe", verdict: "clean", previous_verdict: "not_available" }],
    });
    expect((await at.spool.counts()).verdicts).toMatchObject({ malicious: 1, clean: 0 });
    expect((await at.spool.counts()).states.done).toBe(1);
  });

  test("known from another mail is reported while the others wait", async () => {
    const at = await place();
    const bad = attachment("bad");
    await takenApart(at, [bad]);
    await at.spool.finishAnalysis(contentKey(bad), known("malicious"), at.clock.now + HOUR);
    await judgeAll(at);
    const id = await takenApart(at, [attachment("slow"), bad]);
    await judgeAll(at);
    expect(await at.spool.mail(id)).toMatchObject({ state: "analysing", verdict: "malicious" });
  });

  test("tells further bad parts as they come, and clean ones with the end", async () => {
    const at = await place();
    const parts = ["bad", "clean", "worse", "slow"].map((name) => attachment(name));
    await takenApart(at, parts);
    for (const [n, verdict] of (["malicious", "clean", "suspicious"] as const).entries()) {
      await at.spool.finishAnalysis(contentKey(parts[n] as PlannedArtifact), known(verdict), null);
      await judgeAll(at);
    }
    expect((await events(at.spool)).map(({ type }) => type)).toEqual(["mail.verdict", "verdict.changed"]);
    await at.spool.finishAnalysis(contentKey(parts[3] as PlannedArtifact), known("clean"), null);
    await judgeAll(at);
    const last = (await events(at.spool)).at(-1);
    expect(last).toMatchObject({ type: "verdict.changed", complete: true });
  });
});

describe("a mail whose parts wait for long", () => {
  test("is reported with the reason, and its late verdict follows", async () => {
    const at = await place();
    const part = attachment("slow");
    const id = await takenApart(at, [part]);
    await judgeAll(at);
    expect(await events(at.spool)).toEqual([]);
    at.clock.now += 15 * 60_000 + 1;
    await judgeAll(at, 15 * 60_000, "VMRay cannot be reached");
    expect(await events(at.spool)).toMatchObject([
      {
        type: "mail.verdict",
        verdict: "not_available",
        complete: false,
        reasons: ["1 part is still being analysed: VMRay cannot be reached"],
      },
    ]);
    await at.restart();
    await judgeAll(at);
    expect(await events(at.spool)).toHaveLength(1);
    await at.spool.finishAnalysis(contentKey(part), known("malicious"), null);
    await judgeAll(at);
    expect((await events(at.spool))[1]).toMatchObject({
      type: "verdict.changed",
      mail: { id },
      verdict: "malicious",
      complete: true,
      change: { from: "not_available", to: "malicious" },
    });
    expect((await at.spool.counts()).verdicts).toMatchObject({ malicious: 1, not_available: 0 });
  });
});

test("a mail that waits for a content with faults is reported with the last of those that still wait", async () => {
  const at = await place();
  const parts = ["decided", "older", "newer", "without"].map((name) => attachment(name));
  const [decided, older, newer] = parts.map(contentKey);
  await takenApart(at, parts);
  const meet = (key: string | undefined, time: number, reason: string) =>
    at.spool.recordProgress(key ?? "", { state: "queued", fault: { at: time, reason } }, 0, 1);
  await meet(decided, 9, "is over");
  await meet(older, 7, "VMRay asks to wait");
  await meet(newer, 8, "VMRay has a fault: HTTP 500");
  await at.spool.finishAnalysis(decided ?? "", known("clean"), null);
  at.clock.now += 15 * 60_000 + 1;
  await at.restart();
  await judgeAll(at);
  expect((await events(at.spool))[0]).toMatchObject({
    type: "mail.verdict",
    reasons: ["3 parts are still being analysed: last fault: VMRay has a fault: HTTP 500"],
  });
});

describe("a content whose verdict changes", () => {
  const link = url("https://pay.example.net/1");
  const key = `reputation:${contentKey(link)}`;

  async function delivered(at: Place, recipients: readonly string[]): Promise<readonly string[]> {
    const ids: string[] = [];
    for (const to of recipients) {
      ids.push(await takenApart(at, [link], to));
      await at.spool.finishAnalysis(key, known("clean"), at.clock.now + HOUR);
      await judgeAll(at);
      at.clock.now += 1000;
    }
    return ids;
  }

  test("is looked at again at growing intervals, once however many mails have it, and no longer than wanted", async () => {
    const at = await place();
    await delivered(at, ["anna@example.org", "ben@example.org"]);
    const start = at.clock.now;
    const looks: number[] = [];
    for (; at.clock.now < start + 30 * HOUR; at.clock.now += 60_000) {
      if ((await at.spool.startRelooks(at.clock.now, 10)) === 0) continue;
      looks.push(Math.round((at.clock.now - start) / 60_000));
      const jobs = await at.spool.dueAnalyses(at.clock.now, 10, new Set());
      expect(jobs).toMatchObject([{ key: AGAIN + contentKey(link), priority: 3 }]);
      expect(jobs[0]?.artifact.decision.action).toBe("lookup");
      await at.spool.finishAnalysis(AGAIN + contentKey(link), judged("not_available"), null);
    }
    expect(looks).toEqual([10, 30, 70, 150, 310, 630, 1270]);
    await judgeAll(at);
    expect((await events(at.spool)).filter(({ type }) => type === "verdict.changed")).toEqual([]);
  });

  test("bug: a second look never submitted a URL, so that only others could find it armed", async () => {
    const at = await place();
    await at.spool.setRelooks({ for: 24 * HOUR, first: 600_000, submit: true });
    const rated = { ...link, decision: { ...link.decision, action: "lookup" } } as const;
    const looked: PlannedArtifact =
      rated.kind === "url"
        ? { ...rated, url: { ...rated.url, normalized: "https://looked.example/" } }
        : rated;
    await takenApart(at, [link, looked]);
    await at.spool.finishAnalysis(key, known("suspicious"), null);
    await at.spool.finishAnalysis(`lookup:${contentKey(looked)}`, known("clean"), null);
    await judgeAll(at);
    at.clock.now += 600_000;
    expect(await at.spool.startRelooks(at.clock.now, 10)).toBe(2);
    const due = async () => {
      const jobs = await at.spool.dueAnalyses(at.clock.now, 10, new Set());
      return jobs.map(({ key: of, anew, priority, artifact }) => [
        of,
        anew,
        priority,
        artifact.decision.action,
      ]);
    };
    expect((await due()).toSorted()).toEqual([
      // Whoever wants it only looked up has it only looked up.
      [AGAIN + contentKey(looked), undefined, 3, "lookup"],
      [AGAIN + contentKey(link), true, 3, "reputation"],
    ]);
    const again = AGAIN + contentKey(link);
    const submitted = { state: "submitted", submissionIds: [7], sampleIds: [], submittedAt: 1 } as const;
    // What is begun is ended, whatever the configuration says after a restart.
    await at.spool.recordProgress(again, { state: "submitting", again: true }, at.clock.now, 0);
    await at.spool.setRelooks({ for: 24 * HOUR, first: 600_000, submit: false });
    expect(await due()).toContainEqual([again, true, 3, "reputation"]);
    // A better reputation refutes no analysis; a worse one counts.
    await at.spool.recordProgress(again, submitted, at.clock.now, 0);
    await at.spool.finishAnalysis(again, known("clean"), null);
    await judgeAll(at);
    const changes = async () => (await events(at.spool)).filter(({ type }) => type === "verdict.changed");
    expect(await changes()).toEqual([]);
    at.clock.now += 1_200_000;
    await at.spool.startRelooks(at.clock.now, 10);
    await at.spool.recordProgress(again, submitted, at.clock.now, 0);
    await at.spool.finishAnalysis(again, known("malicious"), null);
    await judgeAll(at);
    expect(await changes()).toMatchObject([
      { verdict: "malicious", change: { because: "relook", from: "suspicious", to: "malicious" } },
    ]);
  });

  test("has every mail with it judged again: each gets an event that names the others", async () => {
    const at = await place();
    const [anna, ben] = await delivered(at, ["anna@example.org", "ben@example.org"]);
    at.clock.now += 600_000;
    await at.spool.startRelooks(at.clock.now, 10);
    await at.restart();
    await at.spool.finishAnalysis(AGAIN + contentKey(link), known("malicious"), at.clock.now + HOUR);
    await at.restart();
    await judgeAll(at);
    await at.restart();
    await judgeAll(at);
    const told = await events(at.spool);
    const changed = told.filter(({ type }) => type === "verdict.changed");
    expect(changed).toMatchObject([
      {
        mail: { id: anna, envelope: { to: ["anna@example.org"] } },
        verdict: "malicious",
        complete: true,
        urls: [{ url: "https://pay.example.net/1", verdict: "malicious", previous_verdict: "clean" }],
        change: {
          because: "relook",
          from: "clean",
          to: "malicious",
          previous_event_id: told[0]?.id,
          mails: 2,
        },
        mails: [{ id: ben, envelope: { from: "a@example.com", to: ["ben@example.org"] } }],
      },
      { mail: { id: ben }, mails: [{ id: anna }] },
    ]);
    expect(new Set(changed.map(({ change }) => change?.id)).size).toBe(1);
    expect((await at.spool.counts()).verdicts).toMatchObject({ malicious: 2, clean: 0 });
    // What serves later mails is the new verdict, and it is looked at no more.
    const next = await takenApart(at, [link]);
    expect((await at.spool.mail(next))?.artifacts[0]?.verdict?.verdict).toBe("malicious");
    at.clock.now += 5 * HOUR;
    expect(await at.spool.startRelooks(at.clock.now, 10)).toBe(0);
  });

  test("by the analysis of a later mail changes the earlier mails too", async () => {
    const at = await place();
    const [anna] = await delivered(at, ["anna@example.org"]);
    at.clock.now += 2 * HOUR;
    await takenApart(at, [link], "ben@example.org");
    await at.spool.finishAnalysis(key, known("malicious"), null);
    await judgeAll(at);
    const changed = (await events(at.spool)).filter(({ type }) => type === "verdict.changed");
    expect(changed).toMatchObject([{ mail: { id: anna }, change: { because: "late", mails: 2 } }]);
  });

  test("does not change what a look knows nothing of, nor mails older than the time", async () => {
    const at = await place();
    const [anna] = await delivered(at, ["anna@example.org"]);
    at.clock.now += 25 * HOUR;
    await takenApart(at, [link], "ben@example.org");
    await at.spool.finishAnalysis(key, known("malicious"), null);
    await judgeAll(at);
    expect(await at.spool.mail(anna ?? "")).toMatchObject({ verdict: "clean" });
  });

  const swept = async (at: Place) => {
    while (await at.spool.sweep(at.clock.now));
  };
  const changes = async (at: Place) =>
    (await events(at.spool)).filter(({ type }) => type === "verdict.changed");

  test("bug: a look that VMRay answered after the time told nobody what it found", async () => {
    const at = await place();
    const [anna, ben] = await delivered(at, ["anna@example.org", "ben@example.org"]);
    at.clock.now += 600_000;
    expect(await at.spool.startRelooks(at.clock.now, 10)).toBe(1);
    for (let hours = 0; hours < 30; hours += 1) {
      at.clock.now += HOUR;
      await at.spool.startRelooks(at.clock.now, 10);
      await swept(at);
    }
    await at.restart();
    await at.spool.finishAnalysis(AGAIN + contentKey(link), known("malicious"), at.clock.now + HOUR);
    await judgeAll(at);
    expect(await changes(at)).toMatchObject([
      { mail: { id: anna }, change: { because: "relook", from: "clean", to: "malicious", mails: 2 } },
      { mail: { id: ben }, change: { because: "relook" } },
    ]);
    at.clock.now += HOUR;
    expect(await at.spool.startRelooks(at.clock.now, 10)).toBe(0);
  });

  test("bug: looks that were due while the sensor was down were never made", async () => {
    const at = await place();
    const [anna] = await delivered(at, ["anna@example.org"]);
    at.clock.now += 30 * HOUR;
    await at.restart();
    await swept(at);
    expect(await at.spool.startRelooks(at.clock.now, 10)).toBe(1);
    expect(await at.spool.startRelooks(at.clock.now, 10)).toBe(0);
    await swept(at);
    await at.spool.finishAnalysis(AGAIN + contentKey(link), known("malicious"), null);
    await judgeAll(at);
    expect(await changes(at)).toMatchObject([{ mail: { id: anna }, change: { because: "relook" } }]);
  });

  test("bug: an analysis of a later mail that took longer than the time told the earlier one nothing", async () => {
    const at = await place();
    const [anna] = await delivered(at, ["anna@example.org"]);
    at.clock.now += 20 * HOUR;
    await takenApart(at, [link], "ben@example.org");
    at.clock.now += 20 * HOUR;
    await swept(at);
    await at.spool.finishAnalysis(key, known("malicious"), null);
    await judgeAll(at);
    expect(await changes(at)).toMatchObject([
      { mail: { id: anna }, change: { because: "late", from: "clean", to: "malicious" } },
    ]);
  });

  test("bug: each of many mails of a change looked up all the others", async () => {
    const at = await place();
    const count = 60;
    const all = await delivered(
      at,
      Array.from({ length: count }, (_, n) => `user${n}@example.org`),
    );
    at.clock.now += 600_000;
    await at.spool.startRelooks(at.clock.now, 10);
    await at.spool.finishAnalysis(AGAIN + contentKey(link), known("malicious"), null);
    const [first] = await at.spool.mailsToReport(0, 1);
    const change = first?.recheck?.change;
    const told = await at.spool.mailsBeside(all[0] ?? "", [0], 50, change);
    expect(told.count).toBe(count - 1);
    expect(told.mails.map(({ id }) => id)).toEqual(all.slice(-50).toReversed());
    // What comes meanwhile is none of those that are told of the change.
    await delivered(at, ["late@example.org"]);
    expect((await at.spool.mailsBeside(all[0] ?? "", [0], 50, change)).count).toBe(count - 1);
    const newest = await at.spool.mailsBeside(all.at(-1) ?? "", [0], 50, change);
    expect([newest.count, newest.mails.length]).toEqual([count - 1, 50]);
    expect(newest.mails.map(({ id }) => id)).not.toContain(all.at(-1));
    expect((await at.spool.mailsBeside(all[0] ?? "", [0], 50)).count).toBe(count);
  });

  test("is not kept in mind where looks are off", async () => {
    const at = await place();
    await delivered(at, ["anna@example.org"]);
    await at.spool.setRelooks({ for: 0, first: 600_000 });
    at.clock.now += 30 * HOUR;
    await swept(at);
    await at.spool.setRelooks({ for: 24 * HOUR, first: 600_000 });
    expect(await at.spool.startRelooks(at.clock.now, 10)).toBe(0);
  });

  test("changes as often as VMRay changes its mind, each time told from what was told last", async () => {
    const at = await place();
    await delivered(at, ["anna@example.org"]);
    for (const verdict of ["suspicious", "clean", "suspicious", "malicious"] as const) {
      at.clock.now += 3 * HOUR;
      expect(await at.spool.startRelooks(at.clock.now, 10)).toBe(1);
      await at.spool.finishAnalysis(AGAIN + contentKey(link), known(verdict), at.clock.now + HOUR);
      await at.restart();
      await judgeAll(at);
    }
    const told = await changes(at);
    expect(told.map(({ change }) => [change?.from, change?.to])).toEqual([
      ["clean", "suspicious"],
      ["suspicious", "clean"],
      ["clean", "suspicious"],
      ["suspicious", "malicious"],
    ]);
    const replaced = told.map(({ change }) => change?.previous_event_id);
    expect(replaced.slice(1)).toEqual(told.slice(0, -1).map(({ id }) => id));
    expect((await at.spool.counts()).verdicts).toMatchObject({ malicious: 1, suspicious: 0, clean: 0 });
  });

  test("is not looked at where the time is 0", async () => {
    const at = await place();
    await at.spool.setRelooks({ for: 0, first: 600_000 });
    await delivered(at, ["anna@example.org"]);
    at.clock.now += HOUR;
    expect(await at.spool.startRelooks(at.clock.now, 10)).toBe(0);
  });

  test("while a mail with it is being judged is not lost", async () => {
    const at = await place();
    const [other] = await delivered(at, ["anna@example.org"]);
    expect(other).toBeDefined();
    const id = await takenApart(at, [link], "ben@example.org");
    const [row] = await at.spool.analysedMails(1);
    await at.spool.startRelooks(at.clock.now + 600_000, 10);
    await at.spool.finishAnalysis(AGAIN + contentKey(link), known("malicious"), null);
    await at.spool.finishMail(id, "clean", true, [], [], row?.recheck?.change);
    await judgeAll(at);
    expect(await at.spool.mail(id)).toMatchObject({ verdict: "malicious" });
    const told = (await events(at.spool)).filter(({ mail }) => mail?.id === id);
    expect(told.map(({ type }) => type)).toEqual(["verdict.changed"]);
  });
});
