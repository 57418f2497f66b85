/** An analysis in memory: its job as the spool gave it out, and what became of it since. */
import type { AnalysisJob, AnalysisLane, AnalysisProgress, ContentFault, Tried } from "../spool/spool.ts";
import type { Waiting } from "./schedule.ts";
import { type Answers, noAnswers } from "./step-client.ts";
import { contentId, type Next } from "./steps.ts";

export type Item = Waiting & {
  /** Those of the spool, which may rise while it is in hand: `job` has what they were. */
  priority: number;
  turn: number;
  job: AnalysisJob;
  readonly spent: { calls: number; submissions: number };
  readonly tried: readonly Tried[];
  /** What its last call met; `noted`: the spool has one. */
  fault: ContentFault | null;
  noted: boolean;
  /** The day to which its submission is charged, null while it is to none. */
  charged: string | null;
  /** VMRay answered its last submission and took nothing. */
  refused: boolean;
  /** Of the step that a fault ended; none while its steps go well. */
  answers: Answers;
};

/** What follows a step. `move`: this analyzer does not take the content, for `why`, and another one is asked. */
export type Outcome = Next | { readonly kind: "move"; readonly to: string; readonly why: string };

export function itemOf(job: AnalysisJob, lane: AnalysisLane): Item {
  const { progress } = job;
  return {
    key: job.key,
    priority: job.priority,
    turn: job.turn,
    lane,
    dueAt: job.nextAt,
    job,
    spent: { calls: 0, submissions: 0, ...progress.spent },
    tried: progress.tried ?? [],
    fault: progress.fault ?? null,
    noted: progress.fault !== undefined,
    charged: progress.charged ?? null,
    refused: false,
    answers: noAnswers(),
  };
}

/** `progress` with all that the spool keeps of the analysis beside it. */
export function keptOf(
  { spent, tried, charged, fault, job }: Item,
  progress: AnalysisProgress,
): AnalysisProgress {
  const doubted = job.doubted === true && progress.state !== "submitted";
  return {
    ...progress,
    spent: { ...spent },
    ...(tried.length === 0 ? {} : { tried }),
    ...(charged === null ? {} : { charged }),
    ...(doubted ? { doubted } : {}),
    fault: fault ?? undefined,
  };
}

/** The same progress where nothing about it is new. */
export function whileWaiting(
  progress: AnalysisProgress,
  { running, childIds = [] }: Extract<Next, { readonly kind: "wait" }>,
  at: number,
): AnalysisProgress {
  if (progress.state !== "submitted") return progress;
  const known = progress.childIds ?? [];
  const begins = running && progress.runningSince === undefined;
  if (!begins && childIds.every((id) => known.includes(id))) return progress;
  return {
    ...progress,
    ...(begins ? { runningSince: at } : {}),
    ...(childIds.length === 0 ? {} : { childIds: [...new Set([...known, ...childIds])] }),
  };
}

/** True where VMRay has a sample of it. */
export function isSeen({ progress }: AnalysisJob): boolean {
  return progress.state === "looked" && (progress.again === true || progress.seen === true);
}

export function logFields(job: AnalysisJob): { readonly mail_id: string; readonly content: string } {
  return { mail_id: job.mailId, content: contentId(job.artifact) };
}
