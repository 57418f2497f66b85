/** What answers of VMRay of several versions mean. Bodies are made by hand. */
import { describe, expect, test } from "bun:test";
import * as shapes from "../../../src/analyzer/api-shapes.ts";
import {
  type FinishedPart,
  verdictOfKnownSamples,
  verdictOfParts,
} from "../../../src/analyzer/verdict-of.ts";
import { oneLine, publicReason } from "../../../src/analyzer/vmray-error.ts";
import { cpuNow } from "../extract/clock.ts";

type Fields = Readonly<Record<string, unknown>>;
const sample = (fields: Fields = {}) => shapes.sample.parse({ sample_id: 12, ...fields });
const submission = (fields: Fields = {}) =>
  shapes.submission.parse({ submission_id: 51, submission_finished: true, ...fields });
const part = (
  ofSubmission: Fields,
  ofSample: Fields | null = null,
  lookups: readonly Fields[] = [],
): FinishedPart => ({
  submission: submission(ofSubmission),
  sample: ofSample === null ? null : sample(ofSample),
  lookups: lookups.map((fields) => shapes.reputationLookup.parse(fields)),
});
const known = (fields: Fields) => verdictOfKnownSamples([sample(fields)])?.verdict.verdict ?? null;

describe("the shapes of answers", () => {
  test("take numbers as text, missing lists, nulls and unknown keys", () => {
    const read = sample({ sample_id: "7", sample_score: "80", sample_threat_names: null, new_in_2030: {} });
    expect([read.sample_id, read.sample_score, read.sample_threat_names]).toEqual([7, 80, []]);
    expect(shapes.submitAnswer.parse({ submissions: [{ submission_id: "3" }] })).toEqual({
      errors: [],
      samples: [],
      submissions: [{ submission_id: 3 }],
    });
  });
  test("refuse an answer that lost its ids, since what it names could not be followed", () => {
    expect(shapes.sample.safeParse({ sample_id: null }).success).toBe(false);
    expect(shapes.sample.safeParse({ sample_id: -1 }).success).toBe(false);
    expect(shapes.sample.safeParse({ sample_id: "12 or so" }).success).toBe(false);
    expect(shapes.submitAnswer.safeParse({ submissions: [{ submission_sample_id: 1 }] }).success).toBe(false);
  });
  test("count a field of a wrong type as null", () => {
    expect(sample({ sample_verdict: ["clean"], sample_webif_url: 7 })).toMatchObject({
      sample_verdict: null,
      sample_webif_url: null,
    });
  });
});

describe("a known sample", () => {
  test.each(["malicious", "suspicious", "clean"] as const)("with verdict %s has it", (verdict) => {
    expect(known({ sample_verdict: verdict })).toBe(verdict);
  });
  test.each([null, "not_available", "harmless", "CLEAN"])("with verdict %p is not known", (verdict) => {
    expect(known({ sample_verdict: verdict, sample_severity: "malicious", sample_score: 0 })).toBeNull();
  });
  test.each([
    ["malicious", "malicious"],
    ["blacklisted", "malicious"],
    ["suspicious", "suspicious"],
    ["not_suspicious", "clean"],
    ["whitelisted", "clean"],
    ["unknown", null],
    ["error", null],
    ["constructor", null],
    [null, null],
  ])("of a version without verdicts and with severity %p is %p", (severity, verdict) => {
    expect(known({ sample_severity: severity, sample_score: 0 })).toBe(verdict as never);
  });
  test.each([
    [0, "clean"],
    [24, "clean"],
    [25, "suspicious"],
    [74, "suspicious"],
    ["75", "malicious"],
    [100, "malicious"],
    [101, null],
    [-1, null],
    [null, null],
  ])("with nothing but score %p is %p", (score, verdict) => {
    expect(known({ sample_score: score })).toBe(verdict as never);
  });
  test("is as bad as a part VMRay found in it, and says so", () => {
    const relation = (type: string, verdict: string) => ({
      relation_type: type,
      relation_child_sample_verdict: verdict,
    });
    const judged = verdictOfKnownSamples([
      sample({
        sample_verdict: "clean",
        sample_child_relations: [relation("Attachment", "suspicious"), relation("Embedded URL", "malicious")],
      }),
    ]);
    expect(judged?.verdict.verdict).toBe("malicious");
    expect(judged?.verdict.reason).toContain("Embedded URL");
    expect(
      known({ sample_verdict: "clean", sample_child_relations: [relation("Contacted URL", "malicious")] }),
    ).toBe("clean");
    expect(
      known({ sample_verdict: null, sample_child_relations: [relation("Attachment", "clean")] }),
    ).toBeNull();
  });
  test("counts with the worst of several under one hash", () => {
    const judged = verdictOfKnownSamples([
      sample({ sample_id: 1, sample_verdict: "clean" }),
      sample({
        sample_id: 2,
        sample_verdict: "malicious",
        sample_webif_url: "https://vmray.example.com/samples/2",
      }),
      sample({ sample_id: 3, sample_verdict: null }),
    ]);
    expect(judged?.verdict).toEqual({
      outcome: "judged",
      verdict: "malicious",
      reason: null,
      threat_names: [],
      vmray: { sample_id: 2, submission_id: null, url: "https://vmray.example.com/samples/2" },
    });
  });
  test.each([
    ["a script", "javascript:alert(1)"],
    ["a local file", "file:///etc/passwd"],
    ["no link", "not a link"],
    ["a line break", "https://vmray.example.com/a\r\nSet-Cookie: x"],
    ["3000 characters", `https://vmray.example.com/${"a".repeat(3000)}`],
  ])("has no link for people where VMRay gives %s", (_, link) => {
    const judged = verdictOfKnownSamples([sample({ sample_verdict: "clean", sample_webif_url: link })]);
    expect(judged?.verdict.vmray?.url).toBeNull();
  });
});

describe("finished submissions", () => {
  const of = (parts: readonly FinishedPart[], kind: "file" | "url" = "file", note: string | null = null) =>
    verdictOfParts(parts, kind, note).verdict;

  test("take the sample's verdict before their own", () => {
    expect(of([part({ submission_verdict: "clean" }, { sample_verdict: "malicious" })])).toMatchObject({
      outcome: "judged",
      verdict: "malicious",
      reason: null,
      vmray: { sample_id: 12, submission_id: 51 },
    });
    expect(of([part({ submission_verdict: "suspicious" }, { sample_verdict: null })]).verdict).toBe(
      "suspicious",
    );
    expect(of([part({ submission_verdict: "suspicious" })]).verdict).toBe("suspicious");
  });
  test("with errors and no verdict failed, with VMRay's words", () => {
    const verdict = of([
      part({
        submission_has_errors: true,
        submission_verdict: null,
        submission_verdict_reason_description: "Worker crashed.",
      }),
    ]);
    expect(verdict).toMatchObject({ outcome: "failed", verdict: "not_available" });
    expect(verdict.reason).toContain("errors");
    expect(verdict.reason).toContain("Worker crashed.");
  });
  test("with errors and a verdict have the verdict, and the reason mentions the errors", () => {
    const verdict = of([part({ submission_status: "error" }, { sample_verdict: "clean" })]);
    expect(verdict).toMatchObject({ outcome: "judged", verdict: "clean" });
    expect(verdict.reason).toContain("errors");
  });
  test("without errors and without a verdict are judged, and not clean", () => {
    expect(of([part({ submission_verdict: "not_available" }, { sample_verdict: null })])).toMatchObject({
      outcome: "judged",
      verdict: "not_available",
      reason: "VMRay finished without a verdict",
    });
  });
  test("count with the worst of their parts", () => {
    const clean = part({ submission_id: 1 }, { sample_id: 1, sample_verdict: "clean" });
    const bad = part({ submission_id: 2 }, { sample_id: 2, sample_verdict: "malicious" });
    const broken = part({ submission_id: 3, submission_has_errors: true });
    expect(of([clean, bad, broken])).toMatchObject({ verdict: "malicious", vmray: { sample_id: 2 } });
    expect(of([clean, bad, broken]).reason).toContain("1 of 3 parts could not be analysed");
    expect(of([clean, broken])).toMatchObject({ outcome: "failed", verdict: "not_available" });
    const empty = part({ submission_id: 4 }, { sample_id: 4, sample_verdict: null });
    expect(of([empty, broken])).toMatchObject({ outcome: "failed", vmray: { submission_id: 3 } });
  });
  test("that VMRay no longer has failed", () => {
    expect(of([{ submission: null, sample: null, lookups: [] }]).outcome).toBe("failed");
    expect(of([]).outcome).toBe("failed");
  });
  test("say what VMRay said when it took only a part", () => {
    const verdict = of([part({}, { sample_verdict: "malicious" })], "file", "quota exceeded");
    expect(verdict).toMatchObject({ verdict: "malicious" });
    expect(verdict.reason).toContain("quota exceeded");
  });
});

describe("the reputation of a URL", () => {
  const of = (lookups: readonly Fields[]) =>
    verdictOfParts([part({ submission_verdict: null }, { sample_verdict: null }, lookups)], "url", null)
      .verdict;

  test("counts where neither sample nor submission have a verdict", () => {
    expect(of([{ reputation_lookup_verdict: "malicious", reputation_lookup_result_code: 1 }]).verdict).toBe(
      "malicious",
    );
  });
  test("of a version without verdicts is its severity", () => {
    expect(of([{ reputation_lookup_severity: "not_suspicious" }]).verdict).toBe("clean");
  });
  test("of a look-up that failed does not count", () => {
    expect(of([{ reputation_lookup_verdict: "clean", reputation_lookup_result_code: 7 }]).verdict).toBe(
      "not_available",
    );
  });
  test("without knowledge is judged and not available, with the reason", () => {
    for (const lookups of [
      [],
      [{ reputation_lookup_verdict: null }],
      [{ reputation_lookup_severity: "unknown" }],
    ]) {
      expect(of(lookups)).toMatchObject({
        outcome: "judged",
        verdict: "not_available",
        reason: "VMRay knows nothing about this URL",
      });
    }
  });
});

describe("text of VMRay", () => {
  test("loses account names and addresses before it is shown", () => {
    const text =
      "Denied: The vmray quota for account 7 (ACME (EU) Ltd) is exceeded. (5/5 used, 1 requested at 2026-01-01 " +
      "10:00 (UTC+0) by joe.bloggs@acme.example)";
    const shown = publicReason(text);
    expect(shown).not.toMatch(/ACME|joe|acme\.example/);
    expect(shown).toStartWith("Denied: The vmray quota for account (name removed) is exceeded. (5/5 used");
  });
  test("is one line of at most 300 characters without control or direction characters", () => {
    const shown = publicReason(`a\r\nb\u202ec\u0000${"x".repeat(5000)}`);
    expect(shown.length).toBe(300);
    expect(shown).toStartWith("a b c xxx");
    expect(shown).toEndWith("...");
  });
  test("is cut without breaking a character in two", () => {
    expect(oneLine("😀".repeat(200), 20).isWellFormed()).toBe(true);
  });
  test("is read in linear time however hostile it is", () => {
    for (const piece of ["account 1 (", "a@", "@", "(", "account 1 ((((", " "]) {
      const before = cpuNow();
      publicReason(piece.repeat(200_000));
      expect(cpuNow() - before).toBeLessThan(2000);
    }
  });
});
