/** What was analysed less deeply than a mail wants says nothing good for that mail. */
import { describe, expect, test } from "bun:test";
import { isDeepEnough } from "../../../src/analyzer/depth.ts";
import { lookUp } from "../../../src/analyzer/steps.ts";
import type { PlannedArtifact, SubmitAction } from "../../../src/triage/plan.ts";
import { until } from "../../until.ts";
import { job } from "./canned.ts";
import { clientOf, file, SETTINGS, sample, scripted, simulator, submission, world } from "./harness.ts";

const signal = new AbortController().signal;
const wanting = (action: SubmitAction, content: string): PlannedArtifact => {
  const artifact = file(content);
  return { ...artifact, decision: { ...artifact.decision, action } };
};
const mode = (text: string | null, metadata = "{}") =>
  submission({
    submission_id: 1,
    submission_analyzer_mode_analyzer_mode: text,
    submission_submission_metadata: metadata,
  });

describe("a submission", () => {
  test.each([
    ["reputation", ["reputation"]],
    ["reputation_static", ["reputation", "static"]],
    ["static", ["reputation", "static"]],
    ["static_dynamic", ["reputation", "static", "dynamic"]],
    ["reputation_static_dynamic", ["reputation", "static", "dynamic"]],
    // What VMRay does not tell is no reason to analyse for each mail.
    ["system_default", ["reputation", "static", "dynamic"]],
    [null, ["reputation", "static", "dynamic"]],
  ])("with the mode %s is deep enough for %p", (text, enough) => {
    const actions: readonly SubmitAction[] = ["reputation", "static", "dynamic"];
    expect(actions.filter((action) => isDeepEnough(mode(text), action, false))).toEqual(
      enough as SubmitAction[],
    );
  });
  test("of ours is as deep as we wanted it, whatever VMRay's own settings made of it", () => {
    expect(
      isDeepEnough(mode("reputation_static", '{"email_sensor_action":"dynamic"}'), "dynamic", false),
    ).toBe(true);
    expect(isDeepEnough(mode(null, '{"email_sensor_action":"static"}'), "dynamic", false)).toBe(false);
    expect(isDeepEnough(mode(null, '{"email_sensor_action":"__proto__"}'), "dynamic", false)).toBe(true);
  });
});

describe("a clean verdict of a less deep analysis", () => {
  test("does not answer a wish for a deeper one: the file is detonated, once", async () => {
    const vmray = await simulator();
    const here = await world();
    const analyzer = here.start(clientOf(vmray));
    for (const action of ["reputation", "static", "dynamic"] as const) {
      const [verdict] = await here.verdicts(await here.mail(wanting(action, "looks harmless")));
      expect(verdict).toMatchObject({ outcome: "judged", cost: { submissions: 1 } });
    }
    await analyzer.stop();
    // Without what the sensor remembers: by what VMRay says of its submissions alone.
    const after = await world();
    const another = after.start(clientOf(vmray));
    for (const action of ["dynamic", "static", "reputation"] as const) {
      expect((await after.verdicts(await after.mail(wanting(action, "looks harmless"))))[0]?.verdict).toBe(
        "clean",
      );
    }
    expect(another.status().counts.submissions).toBe(0);
  });
  test("is not joined while it is in work", async () => {
    const vmray = await simulator({ inWorkMs: 300 });
    const here = await world();
    const analyzer = here.start(clientOf(vmray));
    const shallow = await here.mail(wanting("reputation", "in work"));
    await until(() => analyzer.status().counts.submissions === 1, "the first submission");
    const deep = await here.mail(wanting("dynamic", "in work"));
    expect((await here.verdicts(deep))[0]?.cost?.submissions).toBe(1);
    await here.verdicts(shallow);
    expect(vmray.submissions().size).toBe(1);
    expect([...vmray.submissions().values()]).toEqual([2]);
  });
  test("counts where no more is to be had, and the reason says so", async () => {
    const here = await world();
    const client = scripted({
      samplesBySha256: async () => [sample({ sample_id: 5, sample_verdict: "clean" })],
      submissionsOfSample: async () => [{ ...mode("reputation"), submission_finished: true }],
    });
    here.start(client, { settings: { ...SETTINGS, budget: { ...SETTINGS.budget, per_day: 0 } } });
    const row = await here.decided(await here.mail(file("budget is used up")));
    expect(row.artifacts[0]?.verdict).toMatchObject({ verdict: "clean", partial: true });
    expect(row.artifacts[0]?.verdict?.reason).toBe(
      "VMRay analysed it less deeply than the policy wants; the daily budget of 0 analyses is used up",
    );
  });
  test("makes no difference where it is malicious", async () => {
    const client = scripted({
      samplesBySha256: async () => [sample({ sample_id: 5, sample_verdict: "malicious" })],
      submissionsOfSample: async () => [{ ...mode("reputation"), submission_finished: true }],
    });
    const next = await lookUp(client, job(file("x")), 0, signal, SETTINGS.reuse_results);
    expect(next).toMatchObject({ kind: "finish", lasting: true, verdict: { verdict: "malicious" } });
  });
});
