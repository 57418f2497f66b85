/** What a verdict took: calls, submissions, VMRay's quota and time. */
import type { AnalysisProgress, Spent } from "../spool/spool.ts";
import type { Cost } from "../verdict/verdict.ts";
import type { Submission } from "./api-shapes.ts";
import { timeOf } from "./vmray-time.ts";

/** What VMRay says of submissions; null where it does not say. */
export type Usage = {
  readonly quota: number | null;
  /** How often the content came to VMRay, where that is more than once: an answer got lost. */
  readonly posts?: number;
  /** The part of `quota` that is analyses with a report, and the one that is verdicts alone. */
  readonly reports: number | null;
  readonly verdicts: number | null;
  /** From the first submission until the last one was finished, milliseconds by VMRay's clock. */
  readonly analysis: number | null;
};

/** Of a submission that VMRay did not take. */
export const NOTHING_USED: Usage = { quota: 0, reports: null, verdicts: null, analysis: null };

/** The same calls; each tells `onCall` before it is made. Reading a list of several pages is one. */
export function counted<T extends object>(client: T, onCall: () => void): T {
  return new Proxy(client, {
    get(target, name, receiver) {
      const method: unknown = Reflect.get(target, name, receiver);
      if (typeof method !== "function") return method;
      return (...parameters: unknown[]): unknown => {
        onCall();
        return Reflect.apply(method, target, parameters);
      };
    },
  });
}

const QUOTAS: Readonly<Record<string, "reports" | "verdicts">> = {
  report: "reports",
  analyzer: "reports",
  verdict: "verdicts",
  detector: "verdicts",
};

/**
 * `ours`: submissions of somebody else that were joined cost us nothing. `twins`: what came of further posts of the same
 * content; one in work does not say yet what it takes.
 */
export function usageOf(
  submissions: readonly (Submission | null)[],
  ours: (submission: Submission) => boolean,
  twins: readonly Submission[] = [],
): Usage {
  const followed = submissions.flatMap((each) => each ?? []);
  const told = twins.map((each) =>
    each.submission_finished === true ? each : { ...each, submission_consumed_quota: null },
  );
  const there = [...followed, ...told];
  const used = { reports: 0, verdicts: 0 };
  let kinds = true;
  let quota: number | null = 0;
  for (const submission of there) {
    const units = ours(submission) ? (submission.submission_consumed_quota ?? null) : 0;
    if (units === null || quota === null) {
      quota = null;
      continue;
    }
    quota += units;
    const word = submission.submission_quota_type ?? submission.submission_billing_type ?? "";
    const kind = Object.hasOwn(QUOTAS, word) ? QUOTAS[word] : undefined;
    if (kind !== undefined) used[kind] += units;
    else if (units > 0) kinds = false;
  }
  if (there.length === 0) quota = null;
  const known = quota !== null && kinds;
  return {
    quota,
    ...(twins.length > 0 && { posts: 1 + Math.ceil(twins.length / Math.max(1, submissions.length)) }),
    reports: known ? used.reports : null,
    verdicts: known ? used.verdicts : null,
    analysis: duration(there),
  };
}

function duration(submissions: readonly Submission[]): number | null {
  const begun = submissions.map((each) => timeOf(each.submission_created));
  const ended = submissions.map((each) => timeOf(each.submission_finish_time));
  const [first, last] = [
    Math.min(...begun.map((time) => time ?? Number.NaN)),
    Math.max(...ended.map((time) => time ?? Number.NaN)),
  ];
  const passed = last - first;
  return Number.isFinite(passed) && passed >= 0 ? passed : null;
}

const seconds = (ms: number): number => Math.max(0, Math.round(ms / 100) / 10);

/**
 * The cost of a verdict that is there at `at`, wanted since `createdAt`. Undefined where nobody was asked.
 */
export function costOf(
  spent: Spent,
  progress: AnalysisProgress,
  createdAt: number,
  at: number,
  usage: Usage | null,
): Cost | undefined {
  if (spent.calls === 0 && spent.submissions === 0) return undefined;
  const submitted = progress.state === "submitted" ? progress : null;
  const { quota = null, reports = null, verdicts = null, analysis = null } = usage ?? {};
  return {
    calls: spent.calls,
    submissions: spent.submissions,
    quota: spent.submissions === 0 && usage === null ? 0 : quota,
    seconds: seconds(at - createdAt),
    ...(reports !== null && { reports }),
    ...(verdicts !== null && { verdicts }),
    ...(submitted !== null && { waited_seconds: seconds(submitted.submittedAt - createdAt) }),
    ...(submitted?.runningSince !== undefined && {
      queued_seconds: seconds(submitted.runningSince - submitted.submittedAt),
    }),
    ...(analysis !== null && { analysis_seconds: seconds(analysis) }),
  };
}
