/**
 * How deep VMRay looked into a content: its reputation alone, static analysis too, or a detonation. Pure.
 *
 * What was looked into less deeply than a mail wants says nothing good for that mail.
 */
import type { SubmitAction } from "../triage/plan.ts";
import type { Submission } from "./api-shapes.ts";
import { actionOf } from "./client.ts";

const DEPTH: Readonly<Record<SubmitAction, number>> = { reputation: 1, static: 2, dynamic: 3 };

/** By `analyzer_mode` of VMRay. */
const DEPTH_OF_MODE: ReadonlyMap<string, number> = new Map([
  ["reputation", DEPTH.reputation],
  ["static", DEPTH.static],
  ["reputation_static", DEPTH.static],
  ["static_dynamic", DEPTH.dynamic],
  ["reputation_static_dynamic", DEPTH.dynamic],
]);

/**
 * True where the submission is, or will be, analysed as deep as `wanted`: by its mode, or because it is one of ours that
 * wanted as much (VMRay then followed its own settings). True too where VMRay does not tell: old versions would analyse
 * it for each mail. Where VMRay took our last one only in part (`doubted`), one of ours is not.
 */
export function isDeepEnough(submission: Submission, wanted: SubmitAction, doubted: boolean): boolean {
  const ours = actionOf(submission);
  if (ours !== null && DEPTH[ours] >= DEPTH[wanted]) return !doubted;
  const mode = submission.submission_analyzer_mode_analyzer_mode ?? "";
  const depth = DEPTH_OF_MODE.get(mode) ?? (ours === null ? DEPTH.dynamic : DEPTH[ours]);
  return depth >= DEPTH[wanted];
}
