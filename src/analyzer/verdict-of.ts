/**
 * What answers of VMRay, of any version, mean for one content. Pure functions.
 *
 * Takes samples, submissions and reputation look-ups; gives a ContentVerdict without its threat names. What VMRay
 * does not say is `not_available`, never clean; an analysis that did not come about is `failed` with the reason.
 */
import { type ContentVerdict, VERDICT_ORDER, type Verdict, type VmrayReference } from "../verdict/verdict.ts";
import type { ReputationLookup, Sample, Submission } from "./api-shapes.ts";
import { joined, oneLine, publicReason } from "./vmray-error.ts";

/** A verdict that says something. */
export type KnownVerdict = Exclude<Verdict, "not_available">;

/** One submission of the content, with what VMRay says now about its sample. */
export type FinishedPart = {
  /** Null where VMRay no longer has it. */
  readonly submission: Submission | null;
  readonly sample: Sample | null;
  /** Of this submission, for URLs. */
  readonly lookups: readonly ReputationLookup[];
  /** What VMRay found in it and analysed by itself. */
  readonly children?: readonly Submission[];
  /** What VMRay says of analyses that failed. */
  readonly faults?: readonly string[];
};

/** What VMRay found in a content and calls worse than the content itself. */
export type BadChild = { readonly sampleId: number | null };

const MAX_URL = 2048;

const BY_SEVERITY: Readonly<Record<string, KnownVerdict>> = {
  malicious: "malicious",
  blacklisted: "malicious",
  suspicious: "suspicious",
  not_suspicious: "clean",
  whitelisted: "clean",
};

const MAX_CHILD_NAME = 100;
const MAX_WORD = 40;

/** Relations that mean "is a part of it"; what a sample dropped or contacted while it ran is in its own verdict. */
const PART_OF: ReadonlySet<string> = new Set(["Attachment", "Embedded File", "Embedded URL"]);

type Said = {
  readonly verdict: string | null | undefined;
  readonly severity: string | null | undefined;
  readonly score?: number | null | undefined;
};

/**
 * The verdict in a `*_verdict` field; where the version has no such field (before 4.0) the one `*_severity` or,
 * without that, `*_score` (0 to 24 clean, to 74 suspicious, to 100 malicious) stands for. Null: nothing is known.
 */
function knownVerdict({ verdict, severity, score }: Said): KnownVerdict | null {
  if (verdict !== undefined) {
    return verdict === "malicious" || verdict === "suspicious" || verdict === "clean" ? verdict : null;
  }
  if (severity !== undefined) {
    return severity !== null && Object.hasOwn(BY_SEVERITY, severity) ? (BY_SEVERITY[severity] ?? null) : null;
  }
  if (score == null || score < 0 || score > 100) return null;
  return score < 25 ? "clean" : score < 75 ? "suspicious" : "malicious";
}

/** What is said in the place of a verdict and is none; null where nothing is. */
function unknownWord(words: readonly (string | null | undefined)[]): string | null {
  const known: readonly string[] = VERDICT_ORDER;
  const word = words.find((each) => each != null && each !== "" && !known.includes(each));
  return word == null ? null : oneLine(word, MAX_WORD);
}

type Finding = {
  readonly verdict: KnownVerdict;
  readonly reason: string | null;
  readonly child: BadChild | null;
};

function worse<T extends { readonly verdict: Verdict }>(a: T, b: T): T {
  return VERDICT_ORDER.indexOf(b.verdict) > VERDICT_ORDER.indexOf(a.verdict) ? b : a;
}

/** What a sample is, raised to the worst of the parts VMRay found in it. */
function findingOfSample(sample: Sample): Finding | null {
  const own = knownVerdict({
    verdict: sample.sample_verdict,
    severity: sample.sample_severity,
    score: sample.sample_score,
  });
  const findings: Finding[] =
    own === null
      ? []
      : [{ verdict: own, reason: said(sample.sample_verdict_reason_description), child: null }];
  for (const relation of sample.sample_child_relations) {
    const { relation_type, relation_child_sample_id: sampleId = null } = relation;
    const verdict = relation.relation_child_sample_verdict;
    if (!PART_OF.has(relation_type) || (verdict !== "malicious" && verdict !== "suspicious")) continue;
    const which = sampleId === null ? relation_type : `${relation_type}, sample ${sampleId}`;
    findings.push({ verdict, reason: `VMRay found a part of it ${verdict} (${which})`, child: { sampleId } });
  }
  return findings.length === 0 ? null : findings.reduce(worse);
}

/** What VMRay found in a content and analysed by itself, where it is bad; its name is text of a hostile file. */
function findingOfChild(child: Submission): Finding | null {
  const said = [
    { verdict: child.submission_sample_verdict ?? null, severity: undefined },
    { verdict: child.submission_verdict, severity: child.submission_severity, score: child.submission_score },
  ].flatMap((each) => {
    const verdict = knownVerdict(each);
    return verdict === "malicious" || verdict === "suspicious" ? [{ verdict }] : [];
  });
  if (said.length === 0) return null;
  const { verdict } = said.reduce(worse);
  const sampleId = child.submission_sample_id ?? null;
  const name = oneLine(child.submission_original_url || child.submission_filename || "", MAX_CHILD_NAME);
  const id = sampleId === null ? `submission ${child.submission_id}` : `sample ${sampleId}`;
  const which = name === "" ? id : `"${name}", ${id}`;
  return { verdict, reason: `VMRay found a part of it ${verdict} (${which})`, child: { sampleId } };
}

/** True where VMRay may have found something in it; what it says of the sample would else name it. */
export function mayHaveChildren({ submission, sample }: FinishedPart): boolean {
  if (submission === null) return false;
  if (sample === null) return true;
  return sample.sample_child_sample_ids.length > 0 || sample.sample_child_relations.length > 0;
}

/** A sentence of VMRay, null where it gives none. */
function said(description: string | null | undefined): string | null {
  const line = description == null ? "" : publicReason(description);
  return line === "" ? null : line;
}

/** The page for people, null where VMRay gives none that a person could follow. */
function page(...links: readonly (string | null | undefined)[]): string | null {
  for (const link of links) {
    if (link == null || link.length > MAX_URL || oneLine(link, MAX_URL) !== link || !URL.canParse(link))
      continue;
    const { protocol } = new URL(link);
    if (protocol === "https:" || protocol === "http:") return link;
  }
  return null;
}

/** Where VMRay keeps a part. */
export function referenceOf(sample: Sample | null, submission: Submission | null): VmrayReference {
  return {
    sample_id: sample?.sample_id ?? submission?.submission_sample_id ?? null,
    submission_id: submission?.submission_id ?? null,
    url: page(sample?.sample_webif_url, submission?.submission_webif_url),
  };
}

export type JudgedSample = {
  readonly sample: Sample;
  readonly verdict: ContentVerdict;
  /** Where the verdict is that of something VMRay found in it. */
  readonly child: BadChild | null;
};

/** The worst of what VMRay already knows about samples with the content's hash; null where it knows nothing. */
export function verdictOfKnownSamples(samples: readonly Sample[]): JudgedSample | null {
  const judged = samples.flatMap((sample) => {
    const finding = findingOfSample(sample);
    return finding === null ? [] : [{ sample, ...finding }];
  });
  if (judged.length === 0) return null;
  const { sample, verdict, reason, child } = judged.reduce(worse);
  return {
    sample,
    child,
    verdict: { outcome: "judged", verdict, reason, threat_names: [], vmray: referenceOf(sample, null) },
  };
}

type JudgedPart = {
  readonly part: FinishedPart;
  readonly outcome: "judged" | "failed";
  readonly verdict: Verdict;
  readonly reason: string | null;
  readonly child: BadChild | null;
};

function hasErrors(submission: Submission): boolean {
  return submission.submission_has_errors === true || submission.submission_status?.toLowerCase() === "error";
}

/** True where VMRay may not have seen all of it: its own analysis had errors, or that of something in it. */
export function endedWithErrors(submission: Submission): boolean {
  return hasErrors(submission) || submission.submission_has_recursive_errors === true;
}

function findingOfReputation(lookups: readonly ReputationLookup[]): Finding | null {
  const known = lookups.flatMap((lookup): Finding[] => {
    if (lookup.reputation_lookup_result_code != null && lookup.reputation_lookup_result_code !== 1) return [];
    const verdict = knownVerdict({
      verdict: lookup.reputation_lookup_verdict,
      severity: lookup.reputation_lookup_severity,
    });
    return verdict === null ? [] : [{ verdict, reason: null, child: null }];
  });
  return known.length === 0 ? null : known.reduce(worse);
}

function judgePart(part: FinishedPart, kind: "file" | "url"): JudgedPart {
  const { submission, sample } = part;
  if (submission === null) {
    return {
      part,
      outcome: "failed",
      verdict: "not_available",
      reason: "VMRay no longer has the submission",
      child: null,
    };
  }
  const ofSubmission = knownVerdict({
    verdict: submission.submission_verdict,
    severity: submission.submission_severity,
    score: submission.submission_score,
  });
  const description = said(submission.submission_verdict_reason_description);
  // For a key that may see the submission and not the sample.
  const ofSample = knownVerdict({
    verdict: submission.submission_sample_verdict ?? null,
    severity: undefined,
  });
  const own = (verdict: KnownVerdict | null): Finding | null =>
    verdict === null ? null : { verdict, reason: description, child: null };
  // The sample first: its verdict is over everything VMRay knows about it.
  const itself =
    (sample === null ? own(ofSample) : findingOfSample(sample)) ??
    own(ofSubmission) ??
    (kind === "url" ? findingOfReputation(part.lookups) : null);
  const children = part.children ?? [];
  const found = children.flatMap((child) => findingOfChild(child) ?? []);
  const findings = itself === null ? found : [itself, ...found];
  const errors = hasErrors(submission);
  if (findings.length > 0) {
    const { verdict, reason, child } = findings.reduce(worse);
    const inside = children.some(hasErrors) || endedWithErrors(submission);
    const whose = errors ? "the analysis" : inside ? "the analysis of a part of it" : null;
    const gap = whose === null ? null : `${whose} ended with errors, so VMRay may not have seen everything`;
    return { part, outcome: "judged", verdict, reason: joined(reason, gap), child };
  }
  const why = said(sample?.sample_verdict_reason_description) ?? description;
  if (errors) {
    const reason = joined("the analysis ended with errors and without a verdict", why ?? faultsOf(part));
    return { part, outcome: "failed", verdict: "not_available", reason, child: null };
  }
  const word = unknownWord([
    sample?.sample_verdict,
    submission.submission_sample_verdict,
    submission.submission_verdict,
  ]);
  const nothing =
    word !== null
      ? `VMRay calls it "${word}", which is no verdict that the sensor knows`
      : kind === "url"
        ? "VMRay knows nothing about this URL"
        : "VMRay finished without a verdict";
  return { part, outcome: "judged", verdict: "not_available", reason: joined(nothing, why), child: null };
}

/** True where VMRay ended with errors and said nothing of why. */
export function lacksReason(part: FinishedPart): boolean {
  const { submission, sample } = part;
  if (submission === null || !hasErrors(submission)) return false;
  return (
    said(sample?.sample_verdict_reason_description) === null &&
    said(submission.submission_verdict_reason_description) === null
  );
}

function faultsOf({ faults }: FinishedPart): string | null {
  return faults === undefined || faults.length === 0 ? null : said(faults.join("; "));
}

/** True where VMRay had errors, or no longer has a submission. */
function isIncomplete({ part: { submission, children = [] } }: JudgedPart): boolean {
  return [submission, ...children].some((each) => each === null || endedWithErrors(each));
}

export type JudgedParts = {
  readonly sample: Sample | null;
  readonly verdict: ContentVerdict;
  /** Where the verdict is that of something VMRay found in it. */
  readonly child: BadChild | null;
  /** VMRay had errors, so that later analyses may find more. */
  readonly incomplete: boolean;
};

/**
 * The verdict over all submissions one content led to (an archive may give several), which are finished: the worst
 * counts. `note` is what VMRay said when it took the submission only in part, null where it took all of it.
 */
export function verdictOfParts(
  parts: readonly FinishedPart[],
  kind: "file" | "url",
  note: string | null,
): JudgedParts {
  const judged = parts.map((part) => judgePart(part, kind));
  const failed = judged.filter((each) => each.outcome === "failed");
  const first = judged[0];
  if (first === undefined) {
    return {
      sample: null,
      child: null,
      incomplete: true,
      verdict: {
        outcome: "failed",
        verdict: "not_available",
        reason: "VMRay named no submission",
        threat_names: [],
        vmray: null,
      },
    };
  }
  // Of parts without a verdict a failed one is the one to report.
  const worst = judged.reduce((a, b) =>
    a.verdict === b.verdict && a.outcome === "judged" && b.outcome === "failed" ? b : worse(a, b),
  );
  const others = failed.filter((each) => each !== worst).length;
  const inPart = judged.filter((each) => each !== worst && each.outcome === "judged" && isIncomplete(each));
  const reason = joined(
    worst.reason,
    others === 0 ? null : `${others} of ${judged.length} parts could not be analysed`,
    inPart.length === 0 ? null : `the analysis of ${inPart.length} of ${judged.length} parts had errors`,
    note === null ? null : `VMRay took it only in part: ${note}`,
  );
  return {
    sample: worst.part.sample,
    child: worst.child,
    incomplete: judged.some(isIncomplete),
    verdict: {
      outcome: worst.outcome,
      verdict: worst.verdict,
      reason,
      threat_names: [],
      vmray: referenceOf(worst.part.sample, worst.part.submission),
    },
  };
}
