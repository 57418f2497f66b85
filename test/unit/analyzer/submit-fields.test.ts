/** What triage and configuration want of a submission, in the fields of the API. */
import { expect, test } from "bun:test";
import { type SubmitDefaults, submitFields, type Wanted } from "../../../src/analyzer/submit-fields.ts";
import type { AnalyzerMode } from "../../../src/triage/plan.ts";
import { SUBMIT_DEFAULTS } from "./harness.ts";

function fields(wanted: Partial<Wanted>, defaults: Partial<SubmitDefaults> = {}): Record<string, string> {
  const all = { kind: "file", action: "dynamic", ...wanted } as const;
  return Object.fromEntries(
    submitFields(all, { ...SUBMIT_DEFAULTS, ...defaults }).map(({ name, value }) => [name, value]),
  );
}

test("what nobody sets is left to VMRay, but for the sharing of hashes", () => {
  expect(fields({})).toEqual({ shareable: "False" });
});

test("each action has its analyzer mode; reputation asks for it by name", () => {
  expect(fields({ action: "reputation" })).toMatchObject({
    analyzer_mode: "reputation",
    enable_reputation: "True",
  });
  expect(fields({ action: "static" }).analyzer_mode).toBe("reputation_static");
  expect(fields({ kind: "url" }, { analyzer_mode: "static_dynamic" }).analyzer_mode).toBe("static_dynamic");
});

test("bug: the analyzer mode of a rule was not sent", () => {
  const mode = (action: Wanted["action"], analyzer_mode: AnalyzerMode) =>
    fields({ action, parameters: { analyzer_mode } }, { analyzer_mode: "reputation_static_dynamic" })
      .analyzer_mode;
  expect(mode("dynamic", "static_dynamic")).toBe("static_dynamic");
  expect(mode("static", "static")).toBe("static");
  // A rule without an action meets all of them; none goes deeper, or less deep, for its mode.
  expect(mode("static", "static_dynamic")).toBe("reputation_static");
  expect(mode("reputation", "static_dynamic")).toBe("reputation");
  expect(mode("dynamic", "static")).toBe("reputation_static_dynamic");
});

test("the parameters of a rule weigh more than the configuration; tags of both are sent once", () => {
  const parameters = {
    analysis_timeout: 90_000,
    tags: ["b", "c"],
    archive_action: "separate_samples",
    analysis_caching: "disabled",
    max_jobs: 2,
    shareable: true,
    retention_period: 60,
  } as const;
  const defaults: Partial<SubmitDefaults> = {
    analysis_timeout: 1,
    archive_action: "sample",
    caching: "smart",
    max_jobs: 9,
    retention_period: 180,
    tags: ["a", "b"],
  };
  expect(fields({ parameters }, defaults)).toEqual({
    analysis_caching: "disabled",
    archive_action: "separate_samples",
    max_jobs: "2",
    user_config: '{"timeout":90}',
    retention_period: "60",
    shareable: "True",
    tags: "a,b,c",
  });
});

test("VMRay is told whether to stop at what it knows, where there is an analysis to stop", () => {
  const defaults = { known_benign: "stop", known_malicious: "continue", caching: "smart" } as const;
  expect(fields({ action: "static" }, defaults)).toMatchObject({
    known_benign: "True",
    known_malicious: "False",
    analysis_caching: "smart",
  });
  expect(fields({ action: "reputation" }, defaults)).not.toContainKeys(["known_benign", "known_malicious"]);
});

test("no run time and no number of jobs where nothing runs, no archive action for a URL", () => {
  const most = { max_jobs: 3, max_recursive_samples: 0 } as const;
  const defaults = { analysis_timeout: 60_000, archive_action: "sample", ...most } as const;
  expect(fields({}, defaults)).toMatchObject({ max_jobs: "3", max_recursive_samples: "0" });
  expect(fields({ action: "static" }, defaults)).not.toContainKeys([
    "user_config",
    "max_jobs",
    "max_recursive_samples",
  ]);
  expect(fields({ kind: "url" }, defaults)).not.toContainKey("archive_action");
});

test("what is to be analysed anew is not answered out of VMRay's cache", () => {
  expect(fields({ again: true }, { caching: "smart" })).toMatchObject({
    reanalyze: "True",
    analysis_caching: "disabled",
  });
});
