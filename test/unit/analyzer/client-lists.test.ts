/** The feed of finished submissions, children and quota, of versions old and new. */
import { describe, expect, test } from "bun:test";
import { vmray } from "./canned.ts";

const done = (id: number) => ({ submission_id: id, submission_finished: true });
const open = (id: number) => ({ submission_id: id, submission_finished: false });
const version = (text: string) => ({ "/rest/system_info": { version: text } });
const ids = (list: readonly { submission_id: number }[]) => list.map((each) => each.submission_id);

describe("the feed of finished submissions", () => {
  test("goes on behind the last one, in order of completion", async () => {
    const { client, asked } = vmray({ ...version("2026.2.1"), "/rest/submission": [done(9), done(7)] });
    const feed = await client.finishedAfter(5, 100);
    expect([ids(feed.submissions), feed.cursor]).toEqual([[9, 7], 7]);
    expect(asked.at(-1)).toBe("/rest/submission?_order=asc&_limit=100&_last_id=5");
  });

  test("stays where it was when nothing finished, and asks for the version once", async () => {
    const { client, asked } = vmray({ ...version("4.0.1"), "/rest/submission": [] });
    expect((await client.finishedAfter(5, 9999)).cursor).toBe(5);
    await client.finishedAfter(5, 1);
    expect(asked).toEqual([
      "/rest/system_info",
      "/rest/submission?_order=asc&_limit=1000&_last_id=5",
      "/rest/submission?_order=asc&_limit=1&_last_id=5",
    ]);
  });

  test.each(["4.0.0", "3.3.1", "2.1.0"])("of version %p goes by id up to the first open one", async (old) => {
    const { client, asked } = vmray({ ...version(old), "/rest/submission": [done(6), open(7), done(8)] });
    const feed = await client.finishedAfter(5, 100);
    expect([ids(feed.submissions), feed.cursor]).toEqual([[6], 6]);
    expect(asked.at(-1)).toBe("/rest/submission?_order=asc&_limit=100&_min_id=6");
  });

  test("of a version the key may not ask for is taken for a new one", async () => {
    const { client, asked } = vmray({ "/rest/system_info": 403, "/rest/submission": [] });
    await client.finishedAfter(5, 100);
    expect(asked.at(-1)).toContain("_last_id=5");
  });

  test("begins with the newest that is finished", async () => {
    const { client } = vmray({ "/rest/submission": [open(9), done(8), open(7), done(6)] });
    const feed = await client.finishedAfter(null, 100);
    expect([ids(feed.submissions), feed.cursor]).toEqual([[6, 8], 8]);
    expect((await vmray({ "/rest/submission": [] }).client.finishedAfter(null, 100)).cursor).toBeNull();
  });
});

describe("children of a submission", () => {
  const child = (id: number, parent: number) => ({ ...done(id), submission_parent_submission_id: parent });

  test("are those that name it, though an old version lists every submission", async () => {
    const { client, asked } = vmray({ "/rest/submission": [child(2, 1), child(3, 9), done(4)] });
    expect(ids(await client.submissionChildren(1))).toEqual([2]);
    expect(asked).toEqual(["/rest/submission?_order=asc&_limit=100&submission_parent_submission_id=1"]);
  });

  test("are none where this version cannot say", async () => {
    expect(await vmray({ "/rest/submission": 400 }).client.submissionChildren(1)).toEqual([]);
  });
});

describe("quota", () => {
  test("of the key and of the licence", async () => {
    const { client } = vmray({
      "/rest/api_key/quota": { quota_limit: 50, used_quota: "12" },
      "/rest/billing_info": {
        billing_period: "daily",
        report_quota: 100,
        report_remaining: 30,
        verdict_quota: 0,
        verdict_remaining: 0,
        user_email: "joe@acme.example",
      },
    });
    expect(await client.quota()).toEqual({
      key: { limit: 50, used: 12 },
      report: { limit: 100, used: 70 },
      verdict: { limit: 0, used: 0 },
      period: "daily",
    });
  });

  test("of an old version has one allowance", async () => {
    const { client } = vmray({ "/rest/billing_info": { quota: 10, remaining: 4 } });
    expect((await client.quota())?.report).toEqual({ limit: 10, used: 6 });
  });

  test("is unknown where the key may not ask or there is no such call", async () => {
    expect(await vmray({ "/rest/api_key/quota": 403 }).client.quota()).toBeNull();
    expect(
      await vmray({ "/rest/api_key/quota": null, "/rest/billing_info": [] }).client.quota(),
    ).toMatchObject({
      key: { limit: null, used: null },
      period: null,
    });
  });

  test("of a VMRay that is down is a fault, not an unknown one", async () => {
    expect(vmray({ "/rest/api_key/quota": 503 }).client.quota()).rejects.toMatchObject({
      code: "VMRAY_UNREACHABLE",
    });
  });
});
