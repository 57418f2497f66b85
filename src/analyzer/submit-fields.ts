/**
 * The fields of a submission that say how VMRay is to analyse: from the action of triage, the parameters of its
 * rule and the `vmray` section, in this order of weight. Pure.
 *
 * A field that nobody sets is left out: VMRay then follows the settings of the API key.
 */
import type { Config } from "../config/schema.ts";
import { isModeOf, type SubmitAction, type SubmitParameters } from "../triage/plan.ts";
import type { FormField } from "./multipart.ts";

export type SubmitDefaults = Pick<
  Config["vmray"],
  | "analysis_timeout"
  | "analyzer_mode"
  | "archive_action"
  | "caching"
  | "known_benign"
  | "known_malicious"
  | "max_jobs"
  | "max_recursive_samples"
  | "retention_period"
  | "shareable"
  | "tags"
>;

export type Wanted = {
  readonly kind: "file" | "url";
  readonly action: SubmitAction;
  readonly parameters?: SubmitParameters | undefined;
  /** Analyse anew what VMRay knows, whatever its caching would do. */
  readonly again?: boolean | undefined;
};

type Value = string | number | boolean | undefined;

/** Milliseconds as whole seconds, one at least. */
export const seconds = (ms: number): number => Math.max(1, Math.round(ms / 1000));

/** Names and values of the API; what an action leaves no room for (jobs of a reputation look-up) is not sent. */
export function submitFields(wanted: Wanted, defaults: SubmitDefaults): readonly FormField[] {
  const { action, parameters = {} } = wanted;
  const dynamic = action === "dynamic";
  const known = (choice: SubmitDefaults["known_benign"]): Value =>
    choice === "vmray" || action === "reputation" ? undefined : choice === "stop";
  const timeout = parameters.analysis_timeout ?? defaults.analysis_timeout;
  const caching = parameters.analysis_caching ?? defaults.caching;
  const tags = [...defaults.tags, ...(parameters.tags ?? [])].filter((tag) => tag !== "");
  const values: readonly (readonly [name: string, value: Value])[] = [
    ["analyzer_mode", modeOf(action, parameters, defaults)],
    ["enable_reputation", action === "reputation" ? true : undefined],
    ["known_benign", known(defaults.known_benign)],
    ["known_malicious", known(defaults.known_malicious)],
    ["analysis_caching", wanted.again === true ? "disabled" : caching === "vmray" ? undefined : caching],
    ["reanalyze", wanted.again === true ? true : undefined],
    [
      "archive_action",
      wanted.kind === "file" ? (parameters.archive_action ?? defaults.archive_action) : undefined,
    ],
    ["max_jobs", dynamic ? (parameters.max_jobs ?? defaults.max_jobs) : undefined],
    ["max_recursive_samples", dynamic ? defaults.max_recursive_samples : undefined],
    [
      "user_config",
      dynamic && timeout !== undefined ? JSON.stringify({ timeout: seconds(timeout) }) : undefined,
    ],
    ["retention_period", parameters.retention_period ?? defaults.retention_period],
    ["shareable", parameters.shareable ?? defaults.shareable],
    ["tags", tags.length === 0 ? undefined : [...new Set(tags)].join(",")],
  ];
  return values.flatMap(([name, value]) => (value === undefined ? [] : [{ name, value: spelled(value) }]));
}

/** A mode of a rule that is for another action is none of this one: what is not detonated must stay so. */
function modeOf(
  action: SubmitAction,
  { analyzer_mode: chosen }: SubmitParameters,
  defaults: SubmitDefaults,
): string | undefined {
  if (chosen !== undefined && isModeOf(action, chosen)) return chosen;
  switch (action) {
    case "reputation":
      return "reputation";
    case "static":
      return "reputation_static";
    case "dynamic":
      return defaults.analyzer_mode;
  }
}

/** `True` and `False` is the spelling that VMRay's own clients send. */
function spelled(value: string | number | boolean): string {
  return typeof value === "boolean" ? (value ? "True" : "False") : String(value);
}
