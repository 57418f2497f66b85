/** What a verdict took, as VMRay and the sensor's clock tell it. */
import { describe, expect, test } from "bun:test";
import { costOf, counted, type Usage, usageOf } from "../../../src/analyzer/cost.ts";
import { readScenario } from "../../../src/analyzer/simulator/scenario.ts";
import { timeOf } from "../../../src/analyzer/vmray-time.ts";
import { clientOf, file, simulator, submission, url, world } from "./harness.ts";

type Fields = Readonly<Record<string, unknown>>;
const of = (...submissions: readonly Fields[]): Usage =>
  usageOf(
    submissions.map((fields, n) => submission({ submission_id: n, ...fields })),
    () => true,
  );

describe("what VMRay says of its quota", () => {
  test("is summed up by its kinds, by the names of several versions", () => {
    expect(
      of(
        {
          submission_consumed_quota: 3,
          submission_quota_type: "report",
          submission_billing_type: "detector",
        },
        { submission_consumed_quota: "1", submission_billing_type: "detector" },
      ),
    ).toMatchObject({ quota: 4, reports: 3, verdicts: 1 });
  });
  test("is not known where one submission does not say, or is gone", () => {
    expect(of({ submission_consumed_quota: 3 }, {})).toMatchObject({ quota: null, reports: null });
    expect(of({ submission_consumed_quota: 3 })).toMatchObject({ quota: 3, reports: null, verdicts: null });
    expect(usageOf([null], () => true).quota).toBeNull();
  });
  test("does not count what others submitted", () => {
    const theirs = submission({
      submission_id: 1,
      submission_consumed_quota: 5,
      submission_quota_type: "report",
    });
    expect(usageOf([theirs], () => false)).toMatchObject({ quota: 0, reports: 0 });
  });
  test("has the time from the first submission to the end of the last", () => {
    expect(
      of(
        { submission_created: "2026-01-01T10:00:00", submission_finish_time: "2026-01-01T10:00:20" },
        { submission_created: "2026-01-01T10:00:05", submission_finish_time: "2026-01-01T10:01:00.500Z" },
      ).analysis,
    ).toBe(60_500);
    expect(
      of({ submission_created: "2026-01-01T10:00:00", submission_finish_time: null }).analysis,
    ).toBeNull();
    expect(of().analysis).toBeNull();
  });
});

describe("the cost", () => {
  const submitted = { state: "submitted", submissionIds: [1], sampleIds: [], submittedAt: 1_500 } as const;
  test("tells the steps it took", () => {
    const usage = { quota: 2, reports: 2, verdicts: 0, analysis: 55_000 };
    const spent = { calls: 9, submissions: 1 };
    expect(costOf(spent, { ...submitted, runningSince: 4_500 }, 1_000, 62_250, usage)).toEqual({
      calls: 9,
      submissions: 1,
      quota: 2,
      reports: 2,
      verdicts: 0,
      seconds: 61.3,
      waited_seconds: 0.5,
      queued_seconds: 3,
      analysis_seconds: 55,
    });
  });
  test("of a look-up is no quota, of nothing is none at all", () => {
    expect(costOf({ calls: 1, submissions: 0 }, { state: "queued" }, 0, 100, null)).toEqual({
      calls: 1,
      submissions: 0,
      quota: 0,
      seconds: 0.1,
    });
    expect(costOf({ calls: 0, submissions: 0 }, { state: "queued" }, 0, 100, null)).toBeUndefined();
  });
  test("of a clock that was set back is never less than nothing", () => {
    expect(costOf({ calls: 1, submissions: 1 }, submitted, 9_000, 2_000, null)).toMatchObject({
      seconds: 0,
      waited_seconds: 0,
      quota: null,
    });
  });
});

test("calls are counted as they are made, whatever comes of them", async () => {
  let calls = 0;
  const client = {
    ask: async (word: string) => `${word}?`,
    fail: () => Promise.reject(new Error("no")),
    name: "n",
  };
  const counting = counted(client, () => {
    calls += 1;
  });
  expect([await counting.ask("a"), counting.name]).toEqual(["a?", "n"]);
  expect(counting.fail()).rejects.toThrow("no");
  expect(calls).toBe(2);
});

test.each([
  ["2021-02-17T15:07:51", Date.UTC(2021, 1, 17, 15, 7, 51)],
  ["2021-02-17 15:07:51.123456", Date.UTC(2021, 1, 17, 15, 7, 51, 123)],
  ["2021-02-17T15:07:51+01:00", Date.UTC(2021, 1, 17, 14, 7, 51)],
  ["2021-02-30", null],
  ["yesterday", null],
  ["", null],
  [null, null],
])("the time %p is %p", (text, expected) => {
  expect(timeOf(text)).toBe(expected);
});

test("a verdict in a mail says what it took; the next mail with the content had it for nothing", async () => {
  const scenario = readScenario(
    "contents:\n  - {match: {filename: invoice.exe}, children: [{filename: a}]}",
    "s",
  );
  const { mail, start, verdicts } = await world();
  start(clientOf(await simulator({ scenario })));
  const content = crypto.randomUUID();
  const [analysed] = await verdicts(await mail(file(content)));
  expect(analysed?.cost).toMatchObject({
    submissions: 1,
    quota: 2,
    reports: 2,
    verdicts: 0,
    analysis_seconds: 0,
  });
  expect(analysed?.cost?.calls).toBeGreaterThanOrEqual(4);
  expect(analysed?.cost?.seconds).toBeGreaterThanOrEqual(analysed?.cost?.waited_seconds ?? 99);
  const [known] = await verdicts(await mail(file(content)));
  expect(known).toEqual({ ...analysed, cost: undefined } as never);
  const [looked] = await verdicts(await mail(url("http://a.example/", "lookup")));
  expect(looked?.cost).toMatchObject({ submissions: 0, quota: 0 });
});
