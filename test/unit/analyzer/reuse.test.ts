/** How old a verdict of VMRay may be before the content is analysed anew, and what counts where it cannot be. */
import { describe, expect, test } from "bun:test";
import type { FileSubmission, VmrayClient } from "../../../src/analyzer/client.ts";
import { isTooOld, type ReuseLimits } from "../../../src/analyzer/reuse.ts";
import { lookUp } from "../../../src/analyzer/steps.ts";
import { verdictOfKnownSamples } from "../../../src/analyzer/verdict-of.ts";
import { VmrayError } from "../../../src/analyzer/vmray-error.ts";
import { job } from "./canned.ts";
import { answer, file, SETTINGS, sample, scripted, submission, url, world } from "./harness.ts";

const DAY = 86_400_000;
const NOW = Date.UTC(2026, 5, 30);
const LIMITS: ReuseLimits = { malicious: 36_500 * DAY, suspicious: 30 * DAY, clean: 7 * DAY };
const signal = new AbortController().signal;
const ago = (days: number): string => new Date(NOW - days * DAY).toISOString().slice(0, 19);

type Fields = Readonly<Record<string, unknown>>;
/** A VMRay that has judged the content, with the times of its analyses. */
function knowing(verdict: string, created: string | null, ended: readonly (string | null)[] = []) {
  const calls: string[] = [];
  const fields: Fields = { sample_id: 5, sample_verdict: verdict, sample_created: created };
  const change: Partial<VmrayClient> = {
    samplesBySha256: async () => [sample(fields)],
    async submissionsOfSample() {
      calls.push("submissions");
      return ended.map((time, n) =>
        submission({
          submission_id: n,
          submission_sample_id: 5,
          submission_finished: true,
          submission_finish_time: time,
        }),
      );
    },
  };
  return { change, client: scripted(change), calls };
}

async function tooOld(known: ReturnType<typeof knowing>, limits = LIMITS) {
  const judged = verdictOfKnownSamples(await known.client.samplesBySha256("ab".repeat(32)));
  if (judged === null) throw new Error("not known");
  return isTooOld(known.client, judged, limits, NOW, signal);
}

describe("a verdict of VMRay", () => {
  test("counts by its age, and that of each verdict is another", async () => {
    expect(await tooOld(knowing("clean", ago(60), [ago(8)]))).toBe(true);
    expect(await tooOld(knowing("clean", ago(60), [ago(8), ago(6), ago(50)]))).toBe(false);
    expect(await tooOld(knowing("suspicious", ago(60), [ago(29)]))).toBe(false);
    expect(await tooOld(knowing("suspicious", ago(60), [ago(31)]))).toBe(true);
    expect(await tooOld(knowing("malicious", ago(4000), [ago(4000)]))).toBe(false);
  });
  test("of a sample that is young itself needs no further call, and neither does one that always counts", async () => {
    const young = knowing("clean", ago(6), [ago(5)]);
    expect([await tooOld(young), young.calls]).toEqual([false, []]);
    const malicious = knowing("malicious", ago(4000));
    expect([await tooOld(malicious), malicious.calls]).toEqual([false, []]);
  });
  test("whose age VMRay does not tell counts", async () => {
    expect(await tooOld(knowing("clean", null))).toBe(false);
    expect(await tooOld(knowing("clean", ago(60), [null, "soon"]))).toBe(false);
    const hidden = knowing("clean", ago(60));
    const refuse = (status: number) => async () => {
      throw new VmrayError(status === 403 ? "VMRAY_AUTH" : "VMRAY_UNREACHABLE", "no", { status });
    };
    const client = (status: number) => ({ ...hidden.client, submissionsOfSample: refuse(status) });
    expect(await tooOld({ ...hidden, client: client(403) })).toBe(false);
    expect(tooOld({ ...hidden, client: client(503) })).rejects.toThrow("no");
  });
});

describe("a look-up", () => {
  const next = (known: ReturnType<typeof knowing>, content = file("x")) =>
    lookUp(known.client, job(content), NOW, signal, LIMITS);

  test("has what is too old submitted anew", async () => {
    expect(await next(knowing("clean", ago(60), [ago(8)]))).toEqual({
      kind: "submit",
      again: true,
      seen: true,
    });
    expect(await next(knowing("clean", ago(60), [ago(1)]))).toMatchObject({ kind: "finish" });
  });
  test("takes a verdict of any age where the policy wants no more than it", async () => {
    const old = knowing("clean", ago(60), [ago(60)]);
    expect(await next(old, url("http://a.example/", "lookup"))).toMatchObject({
      kind: "finish",
      verdict: { verdict: "clean" },
    });
    expect(old.calls).toEqual(["submissions"]);
  });
  test("joins an analysis of it that is in work", async () => {
    const old = knowing("clean", ago(60), [ago(8)]);
    const inWork = submission({ submission_id: 9, submission_sample_id: 5, submission_finished: false });
    const client = scripted({
      ...old.change,
      submissionsOfSample: async (id) => [...(await old.client.submissionsOfSample(id)), inWork],
    });
    expect(await lookUp(client, job(file("x")), NOW, signal, LIMITS)).toMatchObject({
      kind: "follow",
      progress: { submissionIds: [9] },
    });
  });
});

describe("the pool", () => {
  const OLD = knowing("clean", "2020-01-01T00:00:00", ["2020-01-01T00:00:00"]).change;
  const settings = { ...SETTINGS, reuse_results: LIMITS };

  test("has VMRay analyse it anew, and not answer out of its cache", async () => {
    const sent: FileSubmission[] = [];
    const { mail, start, verdicts } = await world();
    const client = scripted({
      ...OLD,
      async submitFile(submitted) {
        sent.push(submitted);
        return answer({ submissions: [{ submission_id: 7, submission_sample_id: 7 }] });
      },
      sample: async () => sample({ sample_id: 7, sample_verdict: "malicious" }),
    });
    start(client, { settings });
    expect((await verdicts(await mail(file(crypto.randomUUID()))))[0]?.verdict).toBe("malicious");
    expect(sent.map((each) => each.again)).toEqual([true]);
  });

  test.each([
    ["the budget is used up", { budget: { ...SETTINGS.budget, per_day: 0 } }, {}, "the daily budget"],
    ["VMRay's quota is", {}, { errors: [{ error_msg: "Denied: quota" }] }, "VMRay's quota is used up"],
    [
      "VMRay refuses it",
      {},
      { errors: [{ error_msg: "Wrong type" }] },
      "VMRay refused the submission: Wrong type",
    ],
  ])("takes the old verdict where %s", async (_, change, refusal, why) => {
    const { mail, start, verdicts } = await world();
    const client = scripted({ ...OLD, submitFile: async () => answer(refusal) });
    start(client, { settings: { ...settings, ...change } });
    const [verdict] = await verdicts(await mail(file(crypto.randomUUID())));
    expect(verdict).toMatchObject({ outcome: "judged", verdict: "clean" });
    expect(verdict?.reason).toStartWith(why);
    expect(verdict?.reason).toEndWith(": an older analysis counts");
  });
});
