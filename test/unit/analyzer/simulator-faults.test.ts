/** Faults that a scenario asks for: which calls they hit, and what the client sees of each. */
import { describe, expect, test } from "bun:test";
import { createFaultPlan } from "../../../src/analyzer/simulator/faults.ts";
import { type FaultRule, readFaultOption, readScenario } from "../../../src/analyzer/simulator/scenario.ts";
import { until } from "../../until.ts";
import { first, KEY, sha256, start, submissionId } from "./simulator-client.ts";

const rule = (text: string): FaultRule => readFaultOption(text);

/** Which of `calls` calls go wrong, counted from 1. */
function hits(rules: readonly FaultRule[], calls: number, seed = 1): readonly number[] {
  const plan = createFaultPlan(rules, seed, () => 0);
  return Array.from({ length: calls }, (_, at) => at + 1).filter(() => plan.next("lookup") !== undefined);
}

describe("the plan of faults", () => {
  test("counts: every third, after some, for some", () => {
    expect(hits([rule("html every=3")], 10)).toEqual([3, 6, 9]);
    expect(hits([rule("html skip=4 count=2")], 10)).toEqual([5, 6]);
    expect(hits([rule("html endpoints=submit")], 10)).toEqual([]);
  });

  test("throws dice that fall alike for the same seed, and about as often as asked", () => {
    expect(rule("html status=403 count=1")).toMatchObject({ fault: "html", status: 403, count: 1 });
    const some = [rule("html probability=0.2")];
    const seen = hits(some, 5000, 7);
    expect(hits(some, 5000, 7)).toEqual(seen);
    expect(hits(some, 5000, 8)).not.toEqual(seen);
    expect(seen.length).toBeWithin(900, 1100);
    expect(hits([rule("html probability=0")], 100)).toEqual([]);
  });

  test("begins and ends by time, and the first rule that applies decides", () => {
    const clock = { now: 5000 };
    const plan = createFaultPlan([rule("status=401 from=10s until=20s"), rule("html")], 1, () => clock.now);
    const seen = () => plan.next("feed")?.fault;
    expect(seen()).toBe("html");
    clock.now += 10_000;
    expect(seen()).toBe("status");
    clock.now += 10_000;
    expect(seen()).toBe("html");
  });
});

const scenario = (text: string) => ({ scenario: readScenario(text, "test") });

describe("a client sees", () => {
  test("429 with and without Retry-After, 401 and 503 as asked", async () => {
    const { call } = await start(
      scenario(`faults:
  - {fault: status, status: 429, retry_after: 3, count: 1}
  - {fault: status, status: 429, count: 1}
  - {fault: status, status: 401, count: 1}
  - {fault: status, status: 503, retry_after: 9, count: 1}`),
    );
    const seen = async () => {
      const reply = await call("/rest/system_info");
      return [reply.status, reply.headers.get("retry-after"), reply.body.error_msg];
    };
    expect(await seen()).toEqual([429, "3", "Request was throttled. Expected available in 3 seconds."]);
    expect(await seen()).toEqual([429, null, "Request was throttled."]);
    expect(await seen()).toEqual([401, null, "Invalid API key"]);
    expect(await seen()).toEqual([503, "9", undefined]);
    expect((await seen())[0]).toBe(200);
  });

  test("a connection that ends before the call was taken, and one after", async () => {
    const { simulator, submit } = await start(
      scenario(`faults:
  - {fault: reset_before, endpoints: [submit], count: 1}
  - {fault: reset_after, endpoints: [submit], count: 1}`),
    );
    await expect(submit("one")).rejects.toThrow();
    expect(simulator.submissions().size).toBe(0);
    await expect(submit("two")).rejects.toThrow();
    expect(simulator.submissions().get(sha256("two"))).toBe(1);
    expect((await submit("three")).status).toBe(200);
  });

  test("an answer that is cut, too large, half, or a page of a proxy", async () => {
    const { call } = await start(
      scenario(`faults:
  - {fault: truncated, count: 1}
  - {fault: oversized, size: 1MB, count: 1}
  - {fault: wrong_json, count: 1}
  - {fault: html, count: 1}
  - {fault: html, status: 400, count: 1}`),
    );
    const raw = () => call("/rest/system_info", { headers: { authorization: `api_key ${KEY}` } });
    await expect(raw()).rejects.toThrow();
    const large = await raw();
    expect(large.text.length).toBe(1024 ** 2);
    expect(large.data.version).toBe("2026.2.1");
    await expect(raw()).rejects.toThrow(/JSON/);
    const page = await raw();
    expect([page.status, page.headers.get("content-type")]).toEqual([200, "text/html"]);
    const refusal = await raw();
    expect([refusal.status, refusal.headers.get("content-type")]).toEqual([400, "text/html"]);
    expect((await raw()).data.version).toBe("2026.2.1");
  });

  test("a slow answer of what was taken at once", async () => {
    const { call, simulator, submit } = await start(
      scenario("faults: [{fault: slow, delay: 300ms, endpoints: [submit]}]"),
    );
    const before = performance.now();
    const waiting = submit("hello");
    while (simulator.submissions().size === 0) await Bun.sleep(5);
    expect((await call(`/rest/sample/sha256/${sha256("hello")}`)).list).toHaveLength(1);
    const id = submissionId(await waiting);
    expect(performance.now() - before).toBeGreaterThanOrEqual(295);
    expect((await call(`/rest/submission/${id}`)).status).toBe(200);
  });

  test("a connection that ends, while the call is done later", async () => {
    const { simulator, submit } = await start(
      scenario("faults: [{fault: late, delay: 1500ms, endpoints: [submit], count: 1}]"),
    );
    await expect(submit("late")).rejects.toThrow();
    expect(simulator.submissions().size).toBe(0);
    await until(() => simulator.submissions().get(sha256("late")) === 1, "the call to be done");
  });

  test("an answer that a proxy lost with 504 although it was taken", async () => {
    const { simulator, submit } = await start(
      scenario("faults: [{fault: status, status: 504, when: after, count: 1}]"),
    );
    expect((await submit("hello")).status).toBe(504);
    expect(simulator.submissions().get(sha256("hello"))).toBe(1);
  });

  test("faults of the feed alone, and another scenario as soon as it is set", async () => {
    const { call } = await start(scenario("faults: [{fault: status, status: 500, endpoints: [feed]}]"));
    const seen = async () => [
      (await call("/rest/submission?_last_id=0")).status,
      (await call("/rest/submission")).status,
    ];
    expect(await seen()).toEqual([500, 200]);
    const put = (body: string, key = KEY) =>
      call("/simulator/scenario", { method: "PUT", body, headers: { authorization: `api_key ${key}` } });
    expect((await put("faults: []", "other")).status).toBe(401);
    const wrong = await put("faults:\n  - {fault: none}");
    expect([wrong.status, wrong.body.error_msg]).toEqual([
      400,
      expect.stringContaining("2:6: faults[0].fault: must be one of status"),
    ]);
    expect(await seen()).toEqual([500, 200]);
    expect((await put("contents: []")).data).toEqual({ contents: 0, faults: 0 });
    expect(await seen()).toEqual([200, 200]);
    const { faults } = (await call("/simulator/statistics")).body;
    expect(faults).toEqual({ "status 500": 2 });
  });
});

describe("a submission under denial", () => {
  test("is told so beside what still runs", async () => {
    const { call, clock, submit } = await start(
      scenario("quota: {reports: 1, account: Acme, user: a@acme.example}"),
    );
    await submit("one");
    const denied = await submit("two");
    expect(first(denied, "errors").error_msg).toBe(
      "Denied: The vmray quota for account 1 (Acme) is exceeded. (1/1 used, 1 requested at 2026-01-02 03:04:05 (UTC+0) by a@acme.example)",
    );
    expect(denied.data.jobs).toEqual([]);
    expect(denied.data.reputation_jobs).toHaveLength(1);
    clock.now += 4000;
    expect((await call(`/rest/submission/${submissionId(denied)}`)).data).toMatchObject({
      submission_finished: true,
      submission_billing_type: "detector",
      submission_consumed_quota: 0,
    });
    expect((await call("/rest/billing_info")).data).toMatchObject({ report_quota: 1, report_remaining: 0 });
    const none = await submit("three", { analyzer_mode: "static_dynamic" });
    expect(none.data.submissions).toEqual([]);
    expect((await submit("one")).data.errors).toEqual([]);
  });

  test("or refused whole, for the key, for verdicts, by a rule", async () => {
    const { simulator, call, submit } = await start(
      scenario("quota: {verdicts: 1, charge_reputation: true, reputation_when_denied: false}"),
    );
    const errors = async (content: string, mode = "reputation", name = "a.txt") =>
      ((await submit(content, { analyzer_mode: mode }, name)).data.errors as readonly unknown[]).length;
    expect([await errors("one"), await errors("one"), await errors("two")]).toEqual([0, 0, 1]);
    expect((await call("/rest/api_key/quota")).data).toEqual({ quota_limit: 0, used_quota: 1 });
    simulator.setScenario(
      readScenario("quota: {key_limit: 2, charge_cached: true, reputation_when_denied: false}", "s"),
    );
    expect([await errors("three", "static"), await errors("three", "static")]).toEqual([0, 1]);
    simulator.setScenario(
      readScenario('contents: [{match: {filename: "*.no"}, submit: refused, errors: ["No", "Never"]}]', "s"),
    );
    expect([await errors("four", "static", "a.no"), await errors("four", "static")]).toEqual([2, 0]);
  });
});
