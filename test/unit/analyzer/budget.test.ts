/** What may be submitted: the daily budget with its reserve, and VMRay's own refusals. */
import { describe, expect, test } from "bun:test";
import { type BudgetSettings, createBudget } from "../../../src/analyzer/budget.ts";

const DAY = Date.UTC(2026, 10, 24, 12);
const NEXT = Date.UTC(2026, 10, 25, 0, 0, 1);
const OPEN_QUOTA = ["quota_used_up.dynamic"];
const [HIGH, NORMAL] = [0, 1];

function opened(settings: Partial<BudgetSettings>, used = 0, open: readonly string[] = []) {
  const budget = createBudget({ reserve: 0, per_mail: 100, count_reputation: true, ...settings }, 1_000);
  budget.begin("2026-11-24", used, open);
  return budget;
}

describe("the budget", () => {
  test("allows as many submissions as it has, those charged before the start included", () => {
    const budget = opened({ per_day: 5 }, 3);
    expect(budget.take("dynamic", NORMAL, DAY, "mail 1")).toMatchObject({ allowed: true, day: "2026-11-24" });
    expect(budget.take("dynamic", NORMAL, DAY, "mail 1")).toMatchObject({ allowed: true });
    expect(budget.changes(DAY)).toEqual([]);
    expect(budget.take("dynamic", NORMAL, DAY, "mail 1")).toEqual({
      allowed: false,
      reason: "the daily budget of 5 analyses is used up",
    });
    expect(budget.status(DAY)).toEqual({
      perDay: 5,
      usedToday: 5,
      reserve: 0,
      usedUp: true,
      renewsAt: Date.parse("2026-11-25T00:00:00Z"),
      cheaper: "lookup",
      quotaRetryAt: null,
    });
  });

  test("keeps the reserve for high priority", () => {
    const budget = opened({ per_day: 10, reserve: 25 }, 7);
    expect(budget.take("static", NORMAL, DAY, "mail 1")).toEqual({
      allowed: false,
      reason: "the daily budget of 10 analyses is used up, the rest is kept for high priority",
    });
    for (let n = 0; n < 3; n++) expect(budget.take("dynamic", HIGH, DAY, "mail 1").allowed).toBe(true);
    expect(budget.take("dynamic", HIGH, DAY, "mail 1").allowed).toBe(false);
  });

  test("tells once that it is used up, and once that it is back the next day", () => {
    const budget = opened({ per_day: 0 });
    for (let n = 0; n < 3; n++) budget.take("dynamic", NORMAL, DAY, "mail 1");
    expect(budget.changes(DAY).map(({ name }) => name)).toEqual(["budget_used_up"]);
    expect(budget.changes(DAY)).toEqual([]);
    expect(budget.changes(NEXT).map(({ name }) => name)).toEqual(["budget_back"]);
    expect(budget.status(NEXT)).toMatchObject({ usedToday: 0, usedUp: false });
  });

  test("that was told as used up is told as back after a restart, once there is one again", () => {
    const changes = (budget: ReturnType<typeof opened>, now: number) =>
      budget.changes(now).map(({ name }) => name);
    const same = opened({ per_day: 5, reserve: 20 }, 4, ["budget_used_up"]);
    expect(changes(same, DAY)).toEqual([]);
    expect(same.open()).toEqual(["budget_used_up"]);
    same.take("dynamic", NORMAL, DAY, "mail 1");
    expect(changes(same, DAY)).toEqual([]);
    expect(changes(same, NEXT)).toEqual(["budget_back"]);
    expect(same.open()).toEqual([]);
    expect(changes(opened({ per_day: 5 }, 0, ["budget_used_up"]), DAY)).toEqual(["budget_back"]);
    expect(opened({}, 9, ["budget_used_up"]).changes(DAY)).toEqual([
      { name: "budget_back", message: "analyses have no daily budget any more" },
    ]);
  });

  test("that was told as refused by VMRay is told as back when VMRay takes one after a restart", () => {
    const budget = opened({}, 0, OPEN_QUOTA);
    expect(budget.changes(DAY)).toEqual([]);
    expect(budget.status(DAY).quotaRetryAt).toBe(DAY);
    expect(budget.take("dynamic", NORMAL, DAY, "mail 1").allowed).toBe(true);
    expect(budget.open()).toEqual(OPEN_QUOTA);
    // The one that tries is on its way.
    expect(budget.take("dynamic", NORMAL, DAY, "mail 1").allowed).toBe(false);
    budget.accepted("dynamic");
    expect(budget.changes(DAY).map(({ name }) => name)).toEqual(["quota_back"]);
    expect(budget.open()).toEqual([]);
  });

  test("is not opened anew by a clock that is set back", () => {
    const budget = opened({ per_day: 1 });
    budget.take("dynamic", NORMAL, DAY, "mail 1");
    expect(budget.take("dynamic", NORMAL, DAY - 86_400_000, "mail 1").allowed).toBe(false);
  });

  test("lets free reputation go on and does not count it", () => {
    const budget = opened({ per_day: 1, count_reputation: false });
    expect(budget.take("reputation", NORMAL, DAY, "mail 1")).toEqual({ allowed: true, day: null });
    expect(budget.take("dynamic", NORMAL, DAY, "mail 1").allowed).toBe(true);
    expect(budget.take("reputation", NORMAL, DAY, "mail 1")).toEqual({ allowed: true, day: null });
    expect(opened({ per_day: 0 }).take("reputation", NORMAL, DAY, "mail 1").allowed).toBe(false);
  });

  test("takes back what was not used", () => {
    const budget = opened({ per_day: 1 });
    budget.giveBack(budget.take("dynamic", NORMAL, DAY, "mail 1"));
    expect(budget.take("dynamic", NORMAL, DAY, "mail 1").allowed).toBe(true);
  });

  test("makes no submission after VMRay refused one for its quota, until it is tried again and taken", () => {
    const budget = opened({});
    budget.denied("reputation", DAY);
    expect(budget.status(DAY)).toMatchObject({ usedUp: false, quotaRetryAt: DAY + 1_000 });
    expect(budget.take("reputation", HIGH, DAY + 999, "mail 1")).toEqual({
      allowed: false,
      reason: "VMRay's quota is used up",
    });
    expect(budget.changes(DAY).map(({ name }) => name)).toEqual(["quota_used_up"]);
    expect(budget.take("reputation", NORMAL, DAY + 1_000, "mail 1").allowed).toBe(true);
    budget.denied("reputation", DAY + 1_000);
    expect(budget.changes(DAY + 1_000)).toEqual([]);
    budget.accepted("reputation");
    expect(budget.changes(DAY + 1_000).map(({ name }) => name)).toEqual(["quota_back"]);
  });

  test("bug: a quota for reports that was used up held back URLs that take none", () => {
    const budget = opened({});
    budget.denied("dynamic", DAY);
    expect(budget.take("dynamic", HIGH, DAY, "mail 1").allowed).toBe(false);
    expect(budget.take("static", NORMAL, DAY, "mail 1").allowed).toBe(true);
    expect(budget.take("reputation", NORMAL, DAY, "mail 1").allowed).toBe(true);
    expect(budget.changes(DAY)[0]?.message).toBe(
      "VMRay's quota is used up: no submissions for dynamic are made",
    );
    budget.accepted("reputation");
    expect(budget.take("dynamic", HIGH, DAY, "mail 1").allowed).toBe(false);
    expect(budget.changes(DAY)).toEqual([]);
  });

  test("bug: all that waited were sent at once when VMRay's quota was tried again", () => {
    const budget = opened({ per_day: 100 });
    budget.denied("dynamic", DAY);
    const first = budget.take("dynamic", NORMAL, DAY + 1_000, "mail 1");
    expect(first.allowed).toBe(true);
    expect(budget.take("dynamic", NORMAL, DAY + 1_000, "mail 1").allowed).toBe(false);
    // Where it was not sent another one tries.
    budget.giveBack(first);
    expect(budget.status(DAY).usedToday).toBe(0);
    expect(budget.take("dynamic", NORMAL, DAY + 1_000, "mail 1").allowed).toBe(true);
    expect(budget.take("dynamic", NORMAL, DAY + 1_999, "mail 1").allowed).toBe(false);
    budget.accepted("dynamic");
    expect(budget.take("dynamic", NORMAL, DAY + 1_999, "mail 1").allowed).toBe(true);
  });

  test("bug: a submission was charged as one, whatever VMRay said that it took", () => {
    const today = "2026-11-24";
    const budget = opened({ per_day: 100 }, 10);
    expect(budget.settle(today, 1, DAY, "mail 1")).toBeNull();
    expect(budget.settle(today, 61, DAY, "mail 1")).toEqual({ day: today, by: 60 });
    expect(budget.status(DAY).usedToday).toBe(70);
    expect(budget.settle(today, 0, DAY, "mail 1")).toEqual({ day: today, by: -1 });
    expect(budget.status(DAY).usedToday).toBe(69);
    // The day after has less for what turned out to be more, not more for what was less.
    expect(budget.settle(today, 0, NEXT, "mail 1")).toBeNull();
    expect(budget.settle(today, 3, NEXT, "mail 1")).toEqual({ day: "2026-11-25", by: 2 });
    expect(budget.status(NEXT).usedToday).toBe(2);
    expect(budget.settle("2026-11-25", 1e300, NEXT, "mail 1")).toEqual({ day: "2026-11-25", by: 99_999 });
  });

  test("bug: one mail with many links used up the budget of the day", () => {
    const budget = opened({ per_day: 50, per_mail: 10 });
    const take = (mail: string, priority = NORMAL, action: "dynamic" | "reputation" = "reputation") =>
      budget.take(action, priority, DAY, mail);
    for (let n = 0; n < 5; n++) expect(take("links").allowed).toBe(true);
    for (const priority of [NORMAL, HIGH]) {
      expect(take("links", priority)).toEqual({
        allowed: false,
        reason: "one mail may use 5 of the daily budget of 50 analyses",
      });
    }
    // It says nothing of the day.
    expect(budget.changes(DAY)).toEqual([]);
    const other = take("exe", NORMAL, "dynamic");
    expect(other.allowed).toBe(true);
    budget.giveBack(other);
    // What a submission took beyond one is of the mail's share.
    expect(take("zip", NORMAL, "dynamic").allowed).toBe(true);
    budget.settle("2026-11-24", 5, DAY, "zip");
    expect(take("zip").allowed).toBe(false);
    budget.settle("2026-11-24", 0, DAY, "links");
    expect(take("links").allowed).toBe(true);
    expect(budget.take("dynamic", NORMAL, NEXT, "zip").allowed).toBe(true);
  });

  test("gives each mail one analysis at least, and over a restart no more than its share", () => {
    expect(opened({ per_day: 3, per_mail: 1 }).take("dynamic", NORMAL, DAY, "mail 1").allowed).toBe(true);
    const budget = createBudget({ per_day: 10, reserve: 0, per_mail: 20, count_reputation: true });
    budget.begin("2026-11-24", 2, [], [{ mail: "mail 1", uses: 2 }]);
    expect(budget.take("dynamic", NORMAL, DAY, "mail 1").allowed).toBe(false);
    expect(budget.take("dynamic", NORMAL, DAY, "mail 2").allowed).toBe(true);
  });

  test("leaves the second half of the day to new mails where second looks are submitted", () => {
    const budget = opened({ per_day: 10, reserve: 20 }, 3);
    const [LOOK, LOW] = [3, 2];
    expect(budget.take("reputation", LOOK, DAY, "mail 1").allowed).toBe(true);
    expect(budget.take("reputation", LOOK, DAY, "mail 1")).toMatchObject({ allowed: false });
    expect(budget.changes(DAY)).toEqual([]);
    expect(budget.take("reputation", LOW, DAY, "mail 1").allowed).toBe(true);
  });

  test("is not known before the spool has said what was charged", () => {
    expect(createBudget({ per_day: 5, reserve: 0, per_mail: 100, count_reputation: true }).known).toBe(false);
    expect(createBudget({ reserve: 0, per_mail: 100, count_reputation: true }).known).toBe(true);
  });
});
