/**
 * How old a verdict that VMRay has may be before the content is analysed anew.
 *
 * Takes what VMRay knows of a sample, gives whether its last analysis is too old. What VMRay does not tell the age of is
 * not: it would be analysed for each mail. Throws the VmrayError of a call.
 */
import type { Config } from "../config/schema.ts";
import type { VmrayClient } from "./client.ts";
import type { JudgedSample } from "./verdict-of.ts";
import { VmrayError } from "./vmray-error.ts";
import { timeOf } from "./vmray-time.ts";

/** Milliseconds by verdict. */
export type ReuseLimits = Config["vmray"]["reuse_results"];

/** One call at most, and none where the sample itself is young enough. */
export async function isTooOld(
  client: Pick<VmrayClient, "submissionsOfSample">,
  { sample, verdict: { verdict } }: JudgedSample,
  limits: ReuseLimits,
  now: number,
  signal: AbortSignal,
): Promise<boolean> {
  if (verdict === "not_available") return false;
  const earliest = now - limits[verdict];
  const created = timeOf(sample.sample_created);
  if (created !== null && created >= earliest) return false;
  let last: number | null = null;
  try {
    for (const submission of await client.submissionsOfSample(sample.sample_id, signal)) {
      const finished = timeOf(submission.submission_finish_time);
      if (finished !== null && (last === null || finished > last)) last = finished;
    }
  } catch (thrown) {
    if (!(thrown instanceof VmrayError) || thrown.status !== 403) throw thrown;
  }
  return last !== null && last < earliest;
}
