/** What VMRay is still analysing, or could not analyse in full, is neither clean nor all there is to know. */
import { describe, expect, test } from "bun:test";
import { lookUp, poll } from "../../../src/analyzer/steps.ts";
import { judge } from "../../../src/verdict/judge.ts";
import { extractionOf } from "../spool/fixtures.ts";
import { job } from "./canned.ts";
import { file, SETTINGS, sample, scripted, submission, zip } from "./harness.ts";

type Fields = Readonly<Record<string, unknown>>;
const signal = new AbortController().signal;

/** A VMRay that knows the content by this verdict, and did this about it. */
const knowing = (verdict: string, ...submissions: readonly Fields[]) =>
  scripted({
    samplesBySha256: async () => [sample({ sample_id: 5, sample_verdict: verdict })],
    submissionsOfSample: async () =>
      submissions.map((fields, n) =>
        submission({ submission_id: n + 1, submission_sample_id: 5, ...fields }),
      ),
  });
const IN_WORK = { submission_finished: false, submission_status: "in_progress" };
const ENDED = { submission_finished: true, submission_has_errors: false };
const FAULTY = { submission_finished: true, submission_has_errors: true };

const lookedUp = (client: ReturnType<typeof knowing>, content = file("x")) =>
  lookUp(client, job(content), 0, signal, SETTINGS.reuse_results);

describe("bug: a sample that was clean so far was clean while VMRay still analysed it", () => {
  test.each(["clean", "suspicious"])("what is %s so far is waited for", async (verdict) => {
    expect(await lookedUp(knowing(verdict, IN_WORK))).toMatchObject({
      kind: "follow",
      progress: { submissionIds: [1] },
    });
  });
  test("what is malicious so far stays so", async () => {
    expect(await lookedUp(knowing("malicious", IN_WORK))).toMatchObject({
      kind: "finish",
      verdict: { verdict: "malicious" },
    });
  });
  test("what was judged before it is analysed once more is known", async () => {
    expect(await lookedUp(knowing("clean", IN_WORK, ENDED))).toMatchObject({
      kind: "finish",
      lasting: true,
      verdict: { verdict: "clean" },
    });
  });
  test("where the policy only looks up, it is not known to be clean, and what is bad says that it may get worse", async () => {
    expect(await lookedUp(knowing("clean", IN_WORK), file("x", "lookup"))).toMatchObject({
      kind: "finish",
      lasting: false,
      verdict: { verdict: "not_available", reason: "VMRay is still analysing it" },
    });
    expect(await lookedUp(knowing("suspicious", IN_WORK), file("x", "lookup"))).toMatchObject({
      lasting: false,
      verdict: { verdict: "suspicious", partial: true, reason: "VMRay is still analysing it" },
    });
  });
  test("a file whose password VMRay may not have is not waited for", async () => {
    expect(await lookedUp(knowing("suspicious", IN_WORK), zip(Buffer.from("zip"), "pw"))).toMatchObject({
      kind: "finish",
      verdict: { verdict: "suspicious", partial: true },
    });
  });
});

test("bug: a file was clean and complete where VMRay listed only some of what it found in it", async () => {
  const client = scripted({
    samplesBySha256: async () => [
      sample({ sample_id: 5, sample_verdict: "clean", sample_child_relations_truncated: "true" }),
    ],
  });
  expect(await lookedUp(client)).toMatchObject({
    kind: "finish",
    lasting: false,
    verdict: { verdict: "clean", partial: true, reason: "VMRay lists only some of what it found in it" },
  });
});

describe("bug: a mail was complete where the analysis of its part had errors", () => {
  const finished = async (fields: Fields, verdict: string) => {
    const client = scripted({
      submission: async (id) => submission({ submission_id: id, submission_sample_id: 5, ...fields }),
      sample: async () => sample({ sample_id: 5, sample_verdict: verdict }),
    });
    const progress = { state: "submitted", submissionIds: [1], sampleIds: [], submittedAt: 0 } as const;
    const limits = { now: 0, giveUpAfter: 60_000, queueLimit: 60_000 };
    const next = await poll(client, job(file("x")), progress, limits, signal);
    if (next.kind !== "finish") throw new Error(`not finished but ${next.kind}`);
    return next;
  };
  test.each([
    [FAULTY, "the analysis ended with errors, so VMRay may not have seen everything"],
    [{ ...ENDED, submission_status: "Error" }, "the analysis ended with errors"],
    [{ ...ENDED, submission_has_recursive_errors: true }, "the analysis of a part of it ended with errors"],
  ])("after %p the mail is clean, not complete, and says why", async (fields, reason) => {
    const { verdict, lasting } = await finished(fields, "clean");
    expect(lasting).toBe(false);
    const content = file("x");
    const judged = judge({ artifacts: [{ ...content, verdict }], extraction: extractionOf([content]) });
    expect(judged).toMatchObject({ verdict: "clean", complete: false });
    expect(judged.reasons.join()).toContain(reason);
  });
  test("what is malicious is so whatever else went wrong", async () => {
    const { verdict, lasting } = await finished(FAULTY, "malicious");
    expect([lasting, verdict.partial]).toEqual([true, undefined]);
  });
  test("and the next mail was told nothing of it: VMRay knows the content then", async () => {
    for (const content of [file("x"), file("x", "lookup")]) {
      expect(await lookedUp(knowing("clean", FAULTY, FAULTY), content)).toMatchObject({
        kind: "finish",
        lasting: false,
        verdict: {
          verdict: "clean",
          partial: true,
          reason: "its analysis ended with errors, so VMRay may not have seen everything",
        },
      });
    }
    const healed = await lookedUp(knowing("clean", FAULTY, ENDED));
    expect(healed).toMatchObject({ kind: "finish", lasting: true, verdict: { reason: null } });
  });
});
