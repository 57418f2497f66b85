import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import type { SenderHit } from "../../../src/triage/plan.ts";
import { judge, MAX_REASON_LENGTH, MAX_REASONS } from "../../../src/verdict/judge.ts";
import { VERDICT_ORDER } from "../../../src/verdict/verdict.ts";
import { content, file, link, mailRow } from "../report/fixtures.ts";

const malicious = content({ verdict: "malicious", threat_names: ["EICAR-Test-File"] });
const failed = content({ outcome: "failed", verdict: "not_available", reason: "quota is used up" });
const skipped = content({ outcome: "skipped", verdict: "not_available", reason: "plain image" });

describe("the verdict of a mail", () => {
  test("is clean without parts, and has no reason", () => {
    expect(judge(mailRow())).toEqual({ verdict: "clean", complete: true, reasons: [] });
  });

  test("is that of its worst part, whose reason comes first", () => {
    const parts = [
      link("http://a.example/", content()),
      link("http://b.example/", content({ verdict: "suspicious" })),
      file("x.zip", malicious),
    ];
    expect(judge(mailRow(parts))).toEqual({
      verdict: "malicious",
      complete: true,
      reasons: ['attachment "x.zip" is malicious (EICAR-Test-File)', 'URL "http://b.example/" is suspicious'],
    });
  });

  test("is malicious where its sender is denied, with or without parts, and says so first", () => {
    const row = mailRow([file("x.zip", malicious)]);
    if (row.extraction === null) throw new Error("not taken apart");
    const denied = { list: "deny", address: "a@evil.example", entry: "(sender evil.example): spam" } as const;
    const judged = (artifacts: typeof row.artifacts, sender_list: SenderHit) =>
      judge({ artifacts, extraction: row.extraction === null ? null : { ...row.extraction, sender_list } });
    const reason = 'the sender "a@evil.example" is on the deny list (sender evil.example): spam';
    expect(judged([], denied)).toEqual({ verdict: "malicious", complete: true, reasons: [reason] });
    expect(judged(row.artifacts, denied).reasons).toEqual([
      reason,
      'attachment "x.zip" is malicious (EICAR-Test-File)',
    ]);
    expect(judged([], { ...denied, list: "allow" })).toEqual({
      verdict: "clean",
      complete: true,
      reasons: [],
    });
  });

  test("does not count parts that policy skipped", () => {
    expect(judge(mailRow([file("logo.png", skipped)]))).toEqual({
      verdict: "clean",
      complete: true,
      reasons: [],
    });
  });

  test("is incomplete where a clean part was analysed less deeply than the policy wants, and says why", () => {
    const partial = content({ reason: "the daily budget is used up", partial: true });
    expect(judge(mailRow([file("a.doc", partial), file("b.doc", content())]))).toEqual({
      verdict: "clean",
      complete: false,
      reasons: ['attachment "a.doc" is clean: the daily budget is used up'],
    });
  });

  test("is not_available and incomplete where an analysis failed, however clean the rest", () => {
    expect(judge(mailRow([file("a.doc", failed), file("b.doc", content())]))).toEqual({
      verdict: "not_available",
      complete: false,
      reasons: ['attachment "a.doc" could not be judged: quota is used up'],
    });
  });

  test("never takes a verdict from a failed analysis", () => {
    expect(judge(mailRow([file("a.doc", { ...failed, verdict: "clean" })])).verdict).toBe("not_available");
    expect(judge(mailRow([file("a.doc", { ...failed, verdict: "malicious" })])).verdict).toBe(
      "not_available",
    );
  });

  test("stays malicious but incomplete where another part failed", () => {
    const judgement = judge(mailRow([file("a.doc", failed), file("x.zip", malicious)]));
    expect(judgement.verdict).toBe("malicious");
    expect(judgement.complete).toBe(false);
  });

  test("is not complete where VMRay has no verdict for a part", () => {
    const unknown = content({ verdict: "not_available" });
    expect(judge(mailRow([link("http://a.example/", unknown)]))).toEqual({
      verdict: "not_available",
      complete: false,
      reasons: ['VMRay has no verdict for URL "http://a.example/"'],
    });
  });

  test("is incomplete where the mail was not taken apart in full", () => {
    const judgement = judge(mailRow([], {}, { complete: false, flags: ["max_depth"] }));
    expect(judgement).toEqual({
      verdict: "clean",
      complete: false,
      reasons: ["the mail was not taken apart in full (max_depth)"],
    });
  });

  test("counts a part without a recorded verdict as failed", () => {
    expect(judge(mailRow([file("a.doc", null)]))).toMatchObject({
      verdict: "not_available",
      complete: false,
    });
  });

  test("has a bounded number of bounded reasons, and says how many there are more", () => {
    const parts = Array.from({ length: 100 }, (_, n) => file(`${n}-${"y".repeat(5000)}\r\n`, malicious));
    const { reasons } = judge(mailRow(parts, {}, { complete: false }));
    expect(reasons).toHaveLength(MAX_REASONS);
    expect(reasons.at(-2)).toBe(`and ${100 - (MAX_REASONS - 2)} more of its parts`);
    expect(reasons.at(-1)).toStartWith("the mail was not taken apart in full");
    for (const reason of reasons) {
      expect(reason.length).toBeLessThanOrEqual(MAX_REASON_LENGTH);
      expect(reason).not.toMatch(/[\r\n]/);
    }
  });

  test("does not depend on the order of the parts and never gets better by one more", () => {
    const part = fc.record({
      outcome: fc.constantFrom("judged" as const, "failed" as const, "skipped" as const),
      verdict: fc.constantFrom(...VERDICT_ORDER),
    });
    fc.assert(
      fc.property(fc.array(part, { maxLength: 8 }), part, (parts, one) => {
        const rows = parts.map((each) => file("f", content(each)));
        const before = judge(mailRow(rows));
        const after = judge(mailRow([file("f", content(one)), ...rows]));
        const rank = (verdict: (typeof VERDICT_ORDER)[number]) => VERDICT_ORDER.indexOf(verdict);
        expect(rank(after.verdict)).toBeGreaterThanOrEqual(rank(before.verdict));
        expect(judge(mailRow([...rows].reverse())).verdict).toBe(before.verdict);
        const decided =
          one.outcome === "skipped" || (one.outcome === "judged" && one.verdict !== "not_available");
        expect(after.complete).toBe(before.complete && decided);
      }),
    );
  });
});
