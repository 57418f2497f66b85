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

/** What VMRay saw a content do or be. */
export type Indicator = {
  readonly category: string;
  readonly operation: string;
  /** 1 to 5, 5 the worst. */
  readonly score: number;
};

/** A technique of MITRE ATT&CK. */
export type Technique = {
  readonly id: string;
  readonly name: string;
  readonly tactics: readonly string[];
};

/** Indicators of compromise by kind, none twice; what VMRay calls clean is left out. */
export type Iocs = {
  readonly urls: readonly string[];
  readonly domains: readonly string[];
  readonly ips: readonly string[];
  /** SHA-256, hex. */
  readonly files: readonly string[];
  readonly email_addresses: readonly string[];
};

/** Why VMRay says malicious or suspicious. Lists are bounded and hold decoded, hostile text. */
export type Evidence = {
  readonly classifications: readonly string[];
  /** Score 3 and more, worst first. */
  readonly indicators: readonly Indicator[];
  readonly techniques: readonly Technique[];
  readonly iocs: Iocs;
  /** VMRay did not give all of it. */
  readonly lacking?: true;
};

/** What a verdict took. */
export type Cost = {
  /** Calls that look something up, polls included. */
  readonly calls: number;
  readonly submissions: number;
  /** Of VMRay's quota, as it says; null where it does not say. */
  readonly quota: number | null;
  /** From when the verdict was wanted until it was there. */
  readonly seconds: number;
  /** Of `quota`: analyses with a report, and verdicts alone; missing where VMRay does not say. */
  readonly reports?: number;
  readonly verdicts?: number;
  /** Of `seconds`: in the sensor, until it was submitted; missing where it was not. */
  readonly waited_seconds?: number;
  /** In VMRay's queue; missing where it was not seen there. */
  readonly queued_seconds?: number;
  /** From when VMRay had it until it was finished, by VMRay's clock; missing where it does not say. */
  readonly analysis_seconds?: number;
};

/**
 * The judgement of one content.
 * `outcome`: `judged` VMRay finished (its verdict may still be not_available: it knows nothing), or a deny list says so;
 * `failed` an analysis was wanted and did not come about; `skipped` policy wanted none.
 */
export type ContentVerdict = {
  readonly outcome: "judged" | "failed" | "skipped";
  readonly verdict: Verdict;
  /** Why, for people, one sentence; null where the verdict speaks for itself. */
  readonly reason: string | null;
  readonly threat_names: readonly string[];
  readonly vmray: VmrayReference | null;
  /** Less was analysed than the policy wants, `reason` says why: the mail is not complete. Never of malicious ones. */
  readonly partial?: true;
  /** Of a bad verdict. */
  readonly evidence?: Evidence;
  /** Missing where no call was made: a verdict that was known, a list, a skipped part. */
  readonly cost?: Cost;
  /** Name of the analyzer that judged, where several are configured. */
  readonly analyzer?: string;
};
