/**
 * Verdicts as VMRay names them, and what the analyzer says about one content.
 */

export type Verdict = "malicious" | "suspicious" | "clean" | "not_available";

/** Best to worst for a mail: what could not be judged weighs more than what is known to be clean. */
export const VERDICT_ORDER: readonly Verdict[] = ["clean", "not_available", "suspicious", "malicious"];

/** True where `verdict` is at least as bad as `minimum`. */
export function atLeast(verdict: Verdict, minimum: Verdict): boolean {
  return VERDICT_ORDER.indexOf(verdict) >= VERDICT_ORDER.indexOf(minimum);
}

/** Where VMRay keeps what it found; any part may be unknown. */
export type VmrayReference = {
  readonly sample_id: number | null;
  readonly submission_id: number | null;
  /** Page for people in the VMRay web interface, as VMRay gave it. */
  readonly url: string | null;
};

/**
 * The judgement of one content.
 * `outcome`: `judged` VMRay finished (its verdict may still be not_available: it knows nothing);
 * `failed` an analysis was wanted and did not come about; `skipped` policy wanted none.
 */
export type ContentVerdict = {
  readonly outcome: "judged" | "failed" | "skipped";
  readonly verdict: Verdict;
  /** Why, for people, one sentence; null where the verdict speaks for itself. */
  readonly reason: string | null;
  readonly threat_names: readonly string[];
  readonly vmray: VmrayReference | null;
};
