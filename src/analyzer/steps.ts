/**
 * The steps of the analysis of one content, without their scheduling: look up, submit, follow.
 *
 * Each takes the job and makes its calls; it gives what comes next, and throws the VmrayError of a call that failed.
 * Nothing is committed here.
 */
import { createHash } from "node:crypto";
import { SensorError } from "../errors.ts";
import type { AnalysisJob, AnalysisProgress, Instead } from "../spool/spool.ts";
import { type PlannedArtifact, submits } from "../triage/plan.ts";
import { atLeast, type ContentVerdict } from "../verdict/verdict.ts";
import type { Sample, Submission, SubmitAnswer } from "./api-shapes.ts";
import { withChildren } from "./children.ts";
import { correlationOf, type HowSubmitted, type VmrayClient } from "./client.ts";
import { type Usage, usageOf } from "./cost.ts";
import { isDeepEnough } from "./depth.ts";
import { withEvidence } from "./evidence.ts";
import { isTooOld, type ReuseLimits } from "./reuse.ts";
import {
  type BadChild,
  endedWithErrors,
  type FinishedPart,
  type JudgedParts,
  lacksReason,
  referenceOf,
  verdictOfKnownSamples,
  verdictOfParts,
} from "./verdict-of.ts";
import { joined, oneLine, publicReason, VmrayError } from "./vmray-error.ts";

export type Finish = Extract<Next, { readonly kind: "finish" }>;
export type SubmittedProgress = Extract<AnalysisProgress, { readonly state: "submitted" }>;

/** What follows a step. */
export type Next =
  /** `lasting`: it may serve later mails; `usage`: what VMRay says of its submissions. */
  | {
      readonly kind: "finish";
      readonly verdict: ContentVerdict;
      readonly lasting: boolean;
      readonly usage?: Usage;
    }
  /** `again`: VMRay knows it, by an analysis that is too old or not as deep; `seen`: it has a sample of it. */
  | { readonly kind: "submit"; readonly again?: boolean; readonly seen?: boolean }
  | { readonly kind: "follow"; readonly progress: SubmittedProgress }
  /** VMRay did not take it, for its quota; `note` is what it said. */
  | { readonly kind: "denied"; readonly note: string }
  /**
   * VMRay is not done yet; `running`: it works on it, so that the time to give up runs. `childIds`: what is waited for
   * beside the submissions that are followed.
   */
  | { readonly kind: "wait"; readonly running: boolean; readonly childIds?: readonly number[] };

/** Milliseconds. `giveUpAfter` counts from when VMRay works on it, `queueLimit` from when it was submitted. */
export type PollLimits = {
  readonly now: number;
  readonly giveUpAfter: number;
  readonly queueLimit: number;
  /** It was sent more than once: VMRay may have all of these. */
  readonly resent?: boolean;
};

/** Submissions of one answer that are followed at most; where there are more the verdict is partial. */
const MAX_FOLLOWED = 1000;
/** Samples of one hash whose submissions are looked through. */
const MAX_JOINED_SAMPLES = 3;

const sha256 = (text: string): string => createHash("sha256").update(text).digest("hex");

/** A content in log lines: a URL is text of a mail, so only its hash appears. */
export function contentId(artifact: PlannedArtifact): string {
  return artifact.kind === "attachment"
    ? `file:${artifact.attachment.sha256}`
    : `url-sha256:${sha256(artifact.url.normalized)}`;
}

/** What marks the submissions of this analysis, and of no other of the same content, in VMRay. */
export function correlationId(job: AnalysisJob): string {
  return `${job.createdAt.toString(36)}-${sha256(job.key).slice(0, 32)}`;
}

/** What the policy wants of the submission, or what is done `instead`. Throws INTERNAL where nothing is submitted. */
export function howSubmitted(job: AnalysisJob, instead: Instead | null): HowSubmitted {
  const { action: wanted, parameters } = job.artifact.decision;
  const action = instead?.action ?? wanted;
  if (!submits(action)) throw new SensorError("INTERNAL", "a content that is not to be submitted");
  return { action, parameters, correlation: correlationId(job), again: isAgain(job) };
}

/** True where the content is analysed anew, though VMRay knows it. */
export function isAgain({ progress }: AnalysisJob): boolean {
  return (progress.state === "looked" || progress.state === "submitting") && progress.again === true;
}

/** An analysis that was wanted and did not come about. */
export function failed(reason: string, vmray: ContentVerdict["vmray"] = null): Finish {
  return {
    kind: "finish",
    lasting: false,
    verdict: {
      outcome: "failed",
      verdict: "not_available",
      reason: oneLine(reason),
      threat_names: [],
      vmray,
    },
  };
}

/** Nothing is known of it, for `reason`, and nothing more is done. */
function unknownFor(reason: string): Finish {
  return {
    kind: "finish",
    lasting: false,
    verdict: {
      outcome: "judged",
      verdict: "not_available",
      reason: oneLine(reason),
      threat_names: [],
      vmray: null,
    },
  };
}

/** Not analysed, for `why`: the cheaper action is what was done. */
export function onlyLookedUp(why: string): Finish {
  return unknownFor(`${why}: only looked up, and unknown to VMRay`);
}

/** True where VMRay says that a quota does not allow the submission. */
export function isQuotaDenial(note: string): boolean {
  return /\bquotas?\b/i.test(note);
}

/**
 * The hashes under which VMRay may know the content. A URL sample is the text of the URL, and VMRay keeps it as it
 * was given: with and without the slash after a bare host name, and as the mail spells it.
 */
export function knownHashes(artifact: PlannedArtifact): readonly string[] {
  if (artifact.kind === "attachment") return [artifact.attachment.sha256];
  const { normalized, url } = artifact.url;
  const bare = /^https?:\/\/[^/?#]+\/$/i.test(normalized) ? [normalized.slice(0, -1)] : [];
  return [...new Set([normalized, ...bare, url])].map(sha256);
}

/**
 * Looks whether VMRay knows the content or has it in work, as deep as it is wanted. A job that may have been submitted
 * (`submitting`) joins its own submission where VMRay has it. A verdict older than `reuse` wants, or of a less deep
 * analysis, is not enough; without `reuse` any is.
 */
export async function lookUp(
  client: VmrayClient,
  job: AnalysisJob,
  now: number,
  signal: AbortSignal,
  reuse: ReuseLimits | null = null,
): Promise<Next> {
  const { decision } = job.artifact;
  const resumed = job.progress.state === "submitting";
  const samples: Sample[] = [];
  const age = { now, reuse };
  let known: Known = null;
  for (const hash of knownHashes(job.artifact)) {
    const found = await client.samplesBySha256(hash, signal);
    samples.push(...found);
    if (resumed || found.length === 0) continue;
    known = await finishKnown(client, job, samples, age, signal);
    if (known !== null && known !== "again") return known;
  }
  if (!submits(decision.action)) {
    return unknownFor(
      samples.length === 0
        ? "unknown to VMRay; only looked up, as the policy wants"
        : "VMRay has no verdict for it",
    );
  }
  const joined = await submissionToJoin(client, job, samples, signal);
  if (joined?.own) return follow([joined.submission], now, null, insteadOf(job));
  if (resumed) known = await finishKnown(client, job, samples, age, signal);
  if (known !== null && known !== "again") return known;
  if (joined !== null) return follow([joined.submission], now, null);
  return {
    kind: "submit",
    ...(known === "again" ? { again: true } : {}),
    ...(samples.length > 0 ? { seen: true } : {}),
  };
}

/** The verdict VMRay has of a content that could not be analysed anew, for `why`. */
export async function olderVerdict(
  client: VmrayClient,
  job: AnalysisJob,
  why: string,
  now: number,
  signal: AbortSignal,
): Promise<Finish> {
  const samples: Sample[] = [];
  for (const hash of knownHashes(job.artifact)) samples.push(...(await client.samplesBySha256(hash, signal)));
  const known = await finishKnown(client, job, samples, { now, reuse: null }, signal);
  if (known === null || known === "again") return onlyLookedUp(why);
  const { reason, partial } = known.verdict;
  // One that is not as deep says so itself.
  const counts = partial === true ? why : `${why}: an older analysis counts`;
  return { ...known, verdict: { ...known.verdict, reason: joined(reason, counts) } };
}

/** `again`: what VMRay knows is too old, or not as deep as wanted. */
type Known = Finish | "again" | null;

const LESS_DEEP = "VMRay analysed it less deeply than the policy wants";
const IN_WORK = "VMRay is still analysing it";
const PARTS_CUT = "VMRay lists only some of what it found in it";
const WITH_ERRORS = "its analysis ended with errors, so VMRay may not have seen everything";

/**
 * VMRay does not tell whether it had the password of a file when it found nothing bad: only bad verdicts on such a file
 * count before it is submitted with its password. Only what is malicious is so however deep VMRay looked, and however
 * far it is: of what is in work all other verdicts are those of the parts that are done.
 */
async function finishKnown(
  client: VmrayClient,
  job: AnalysisJob,
  samples: readonly Sample[],
  { now, reuse }: { readonly now: number; readonly reuse: ReuseLimits | null },
  signal: AbortSignal,
): Promise<Known> {
  const known = verdictOfKnownSamples(samples);
  if (known === null || (hasPassword(job) && !atLeast(known.verdict.verdict, "suspicious"))) return null;
  const { action } = job.artifact.decision;
  const finish = async (gap: string | null): Promise<Finish> => {
    const verdict = await explained(client, known, signal);
    if (gap === null) return { kind: "finish", verdict, lasting: true };
    return {
      kind: "finish",
      verdict: { ...verdict, reason: joined(verdict.reason, gap), partial: true },
      lasting: false,
    };
  };
  let aged: Pick<VmrayClient, "submissionsOfSample"> = client;
  let gap: string | null = null;
  if (action !== "reputation" && known.verdict.verdict !== "malicious") {
    const { inWork, ended, deep } = await analysesOf(client, job, known.sample, samples, signal);
    if (inWork && ended.length === 0) {
      // It can be joined, but for a file with a password, which was perhaps not told.
      if (submits(action) && !hasPassword(job)) return null;
      return known.verdict.verdict === "clean" ? unknownFor(IN_WORK) : finish(IN_WORK);
    }
    if (ended.length > 0 && deep.length === 0) return reuse === null ? finish(LESS_DEEP) : "again";
    gap = deep.length > 0 && deep.every(endedWithErrors) ? WITH_ERRORS : null;
    aged = { submissionsOfSample: async () => deep };
  }
  if (known.verdict.verdict !== "malicious" && known.sample.sample_child_relations_truncated === true) {
    gap = joined(gap, PARTS_CUT);
  }
  if (submits(action) && reuse !== null && (await isTooOld(aged, known, reuse, now, signal))) return "again";
  return finish(gap);
}

/**
 * What VMRay did about a content it knows: whether something is in work, what has ended, and which of that was as deep as
 * is wanted. Looks no further than it takes to know that one ended well.
 */
async function analysesOf(
  client: VmrayClient,
  job: AnalysisJob,
  judged: Sample,
  samples: readonly Sample[],
  signal: AbortSignal,
): Promise<{
  readonly inWork: boolean;
  readonly ended: readonly Submission[];
  readonly deep: readonly Submission[];
}> {
  const { action } = job.artifact.decision;
  const isDeep = (each: Submission) => !submits(action) || isDeepEnough(each, action, job.doubted === true);
  const others = newestOf(samples).filter((each) => each !== judged);
  const all: Submission[] = [];
  for (const { sample_id } of [judged, ...others].slice(0, MAX_JOINED_SAMPLES)) {
    all.push(...((await permitted(client.submissionsOfSample(sample_id, signal))) ?? []));
    if (all.some((each) => !isInWork(each) && isDeep(each) && !endedWithErrors(each))) break;
  }
  const ended = all.filter((each) => !isInWork(each));
  return { inWork: all.length > ended.length, ended, deep: ended.filter(isDeep) };
}

const isInWork = (submission: Submission): boolean => submission.submission_finished === false;

type Judged = {
  readonly verdict: ContentVerdict;
  readonly sample: Sample | null;
  readonly child: BadChild | null;
};

/** With the evidence of what is bad: the content itself, or what VMRay found in it. */
async function explained(client: VmrayClient, judged: Judged, signal: AbortSignal): Promise<ContentVerdict> {
  const id = judged.child?.sampleId ?? null;
  const child = id === null ? null : await permitted(client.sample(id, signal));
  return withEvidence(client, judged.verdict, child ?? judged.sample, signal);
}

const newestOf = (samples: readonly Sample[]): readonly Sample[] =>
  samples.toSorted((a, b) => b.sample_id - a.sample_id);

/** Newest first: a submission of this analysis, else one that is still in work and as deep. */
async function submissionToJoin(
  client: VmrayClient,
  job: AnalysisJob,
  samples: readonly Sample[],
  signal: AbortSignal,
): Promise<{ readonly submission: Submission; readonly own: boolean } | null> {
  const submissions: Submission[] = [];
  for (const sample of newestOf(samples).slice(0, MAX_JOINED_SAMPLES)) {
    submissions.push(...((await permitted(client.submissionsOfSample(sample.sample_id, signal))) ?? []));
  }
  submissions.sort((a, b) => b.submission_id - a.submission_id);
  if (job.progress.state === "submitting") {
    // VMRay may have given it another hash, as to a URL that it spells in another way.
    const newest = (await permitted(client.newestSubmissions(signal))) ?? [];
    // Where it came twice the first one ends first.
    const own = ownOf(job, [...submissions, ...newest]).at(0);
    if (own !== undefined) return { submission: own, own: true };
    // A version that gives no metadata back cannot say whose it is: take the newest rather than submit twice.
    const first = submissions[0];
    if (first !== undefined && first.submission_submission_metadata === undefined) {
      return { submission: first, own: true };
    }
  }
  if (hasPassword(job)) return null;
  const { action } = job.artifact.decision;
  const inWork = submissions.find(
    (each) => each.submission_finished === false && (!submits(action) || isDeepEnough(each, action, false)),
  );
  return inWork === undefined ? null : { submission: inWork, own: false };
}

/** Those of this analysis, each once, the oldest first; what VMRay found in one of them is left out. */
function ownOf(job: AnalysisJob, submissions: readonly Submission[]): readonly Submission[] {
  const correlation = correlationId(job);
  const own = submissions.filter(
    (each) => correlationOf(each) === correlation && each.submission_parent_submission_id == null,
  );
  const each = new Map(own.map((one) => [one.submission_id, one]));
  return [...each.values()].sort((a, b) => a.submission_id - b.submission_id);
}

/** What VMRay has of the same content beside the submissions that are followed: one whose answer got lost came late. */
async function twinsOf(
  client: VmrayClient,
  job: AnalysisJob,
  { submissionIds }: SubmittedProgress,
  sampleIds: readonly number[],
  signal: AbortSignal,
): Promise<readonly Submission[]> {
  const there = [...((await permitted(client.newestSubmissions(signal))) ?? [])];
  for (const id of sampleIds.slice(0, MAX_JOINED_SAMPLES)) {
    there.push(...((await permitted(client.submissionsOfSample(id, signal))) ?? []));
  }
  return ownOf(job, there).filter((each) => !submissionIds.includes(each.submission_id));
}

function hasPassword({ artifact }: AnalysisJob): boolean {
  return artifact.kind === "attachment" && artifact.attachment.password !== null;
}

type Submitted = {
  readonly submission_id: number;
  readonly submission_sample_id?: number | null | undefined;
};

/** What is, or was, sent in place of what the policy wants. */
export function insteadOf({ progress }: AnalysisJob): Instead | null {
  return progress.state === "submitting" || progress.state === "submitted"
    ? (progress.instead ?? null)
    : null;
}

function follow(
  submissions: readonly Submitted[],
  now: number,
  note: string | null,
  instead: Instead | null = null,
): Next {
  const all = [...new Set(submissions.map((each) => each.submission_id))];
  const first = all.slice(0, MAX_FOLLOWED);
  const samples = submissions.flatMap((each) => each.submission_sample_id ?? []);
  return {
    kind: "follow",
    progress: {
      state: "submitted",
      submissionIds: first,
      sampleIds: [...new Set(samples)].slice(0, MAX_FOLLOWED),
      submittedAt: now,
      ...(note === null ? {} : { note }),
      ...(instead === null ? {} : { instead }),
      ...(all.length > first.length ? { unfollowed: all.length - first.length } : {}),
    },
  };
}

/**
 * What VMRay's answer to a submission means. A 200 does not mean that it was taken: `errors` may stand alone, beside
 * submissions (a quota that allows a part), or say that VMRay has the content already ("not stored").
 */
export async function afterSubmit(
  client: VmrayClient,
  job: AnalysisJob,
  answer: SubmitAnswer,
  now: number,
  signal: AbortSignal,
): Promise<Next> {
  const messages = [...new Set(answer.errors.map((each) => publicReason(each.error_msg)))];
  const note = messages.length === 0 ? null : oneLine(messages.join("; "));
  if (answer.submissions.length > 0) return follow(answer.submissions, now, note, insteadOf(job));
  if (
    messages.some((message) => /not stored/i.test(message)) ||
    (note === null && answer.samples.length > 0)
  ) {
    return alreadyStored(client, job, answer, now, signal);
  }
  if (note !== null && isQuotaDenial(note)) return { kind: "denied", note };
  if (note !== null) return failed(`VMRay refused the submission: ${note}`);
  throw new VmrayError("VMRAY_ANSWER", "VMRay took a submission without naming it");
}

async function alreadyStored(
  client: VmrayClient,
  job: AnalysisJob,
  answer: SubmitAnswer,
  now: number,
  signal: AbortSignal,
): Promise<Next> {
  const samples: Sample[] = [];
  for (const { sample_id } of answer.samples.slice(0, MAX_FOLLOWED)) {
    const sample = await permitted(client.sample(sample_id, signal));
    if (sample !== null) samples.push(sample);
  }
  const known = await finishKnown(client, job, samples, { now, reuse: null }, signal);
  if (known !== null && known !== "again") return known;
  // VMRay may know it by another hash than we do, as it does a URL that it spells in another way.
  const joined = await submissionToJoin(client, job, samples, signal);
  if (joined !== null) return follow([joined.submission], now, null, joined.own ? insteadOf(job) : null);
  const next = await lookUp(client, job, now, signal);
  if (next.kind !== "submit") return next;
  const [sample] = samples;
  return failed(
    "VMRay knows this content, has no verdict for it and does not analyse it again",
    sample === undefined ? null : referenceOf(sample, null),
  );
}

/** Asks after the submissions; when all are finished reads the verdict, when they take too long gives up. */
export async function poll(
  client: VmrayClient,
  job: AnalysisJob,
  progress: SubmittedProgress,
  limits: PollLimits,
  signal: AbortSignal,
): Promise<Next> {
  const submissions: (Submission | null)[] = [];
  // The last one ends last, most often: of many that are in work one call is enough.
  for (const id of progress.submissionIds.toReversed()) {
    const submission = await client.submission(id, signal);
    if (submission !== null && submission.submission_finished !== true) {
      return unfinished(client, progress, submission, limits, signal);
    }
    submissions.unshift(submission);
  }
  const kind = job.artifact.kind === "url" ? "url" : "file";
  let parts: readonly FinishedPart[] = [];
  const samples = new Map<number, Sample | null>();
  for (const submission of submissions) {
    const id =
      submission?.submission_sample_id ?? (submissions.length === 1 ? progress.sampleIds[0] : undefined);
    if (id !== undefined && !samples.has(id)) samples.set(id, await permitted(client.sample(id, signal)));
    const sample = id === undefined ? null : (samples.get(id) ?? null);
    parts = [...parts, { submission, sample, lookups: [] }];
  }
  const correlation = correlationId(job);
  const twins = limits.resent ? await twinsOf(client, job, progress, [...samples.keys()], signal) : [];
  const isOurs = (each: Submission) => {
    const mark = correlationOf(each);
    return mark === correlation || (mark === null && each.submission_submission_metadata === undefined);
  };
  const usage = usageOf(submissions, isOurs, twins);
  const judge = () => verdictOfParts(parts, kind, progress.note ?? null);
  const gaps: string[] = [];
  const { unfollowed = 0, instead } = progress;
  if (instead !== undefined) gaps.push(`${instead.why}: only its reputation was asked for`);
  if (unfollowed > 0) gaps.push(`${unfollowed} more submissions that VMRay made of it were not followed`);
  // What is malicious cannot become worse by what is in it.
  if (judge().verdict.verdict !== "malicious") {
    const found = await withChildren(client, parts, signal);
    parts = found.parts;
    if (found.cut) gaps.push("VMRay found more in it than could be looked at");
    const open = parts
      .flatMap((part) => part.children ?? [])
      .filter((each) => each.submission_finished === false);
    const [first] = open;
    if (first !== undefined && judge().verdict.verdict !== "malicious") {
      const next = await unfinished(client, progress, first, limits, signal);
      if (next.kind === "wait") return { ...next, childIds: open.map((each) => each.submission_id) };
      gaps.push("VMRay did not finish the analysis of a part of it in time");
      return { ...(await finishPart(client, judge(), gaps, signal)), usage };
    }
  }
  if (kind === "url" && judge().verdict.verdict === "not_available") {
    parts = await askedAbout(parts, async (id) => ({ lookups: await client.reputationLookups(id, signal) }));
  }
  if (judge().verdict.outcome === "failed") {
    // Why, where VMRay had errors and said no more.
    parts = await askedAbout(parts, async (id, part) =>
      lacksReason(part) ? { faults: await client.analysisFaults(id, signal) } : {},
    );
  }
  const judged = judge();
  if (gaps.length > 0) return { ...(await finishPart(client, judged, gaps, signal)), usage };
  const verdict = await explained(client, judged, signal);
  const whole = progress.note === undefined && !judged.incomplete;
  const partial = !whole && verdict.outcome === "judged" && verdict.verdict !== "malicious";
  return {
    kind: "finish",
    verdict: partial ? { ...verdict, partial } : verdict,
    lasting: verdict.outcome === "judged" && !partial,
    usage,
  };
}

/** What is known, with what is missing of it. What is malicious cannot become worse. */
async function finishPart(
  client: VmrayClient,
  judged: JudgedParts,
  gaps: readonly string[],
  signal: AbortSignal,
): Promise<Finish> {
  const verdict = await explained(client, judged, signal);
  if (verdict.verdict === "malicious") return { kind: "finish", verdict, lasting: true };
  const reason = joined(verdict.reason, ...gaps);
  return { kind: "finish", verdict: { ...verdict, reason, partial: true }, lasting: false };
}

/** VMRay may have much to do before it begins: the time to give up runs only while it works on the submission. */
async function unfinished(
  client: VmrayClient,
  progress: SubmittedProgress,
  submission: Submission,
  limits: PollLimits,
  signal: AbortSignal,
): Promise<Next> {
  const { now, giveUpAfter, queueLimit } = limits;
  const running = progress.runningSince !== undefined || (await isRunning(client, submission, signal));
  const begun = progress.runningSince ?? now;
  const minutes = (ms: number) => Math.max(1, Math.round(ms / 60_000));
  const reference = referenceOf(null, submission);
  if (running && now - begun >= giveUpAfter) {
    return failed(`VMRay did not finish the analysis within ${minutes(giveUpAfter)} min`, reference);
  }
  if (now - progress.submittedAt >= queueLimit) {
    return failed(`VMRay did not finish a submission within ${minutes(queueLimit)} min`, reference);
  }
  return { kind: "wait", running };
}

/** Its status says so; versions without one are asked for its jobs, which there are only until they are done. */
async function isRunning(client: VmrayClient, submission: Submission, signal: AbortSignal): Promise<boolean> {
  const status = submission.submission_status?.toLowerCase();
  if (status === "queued") return false;
  if (status !== undefined) return true;
  const jobs = await permitted(client.jobStatuses(submission.submission_id, signal));
  return jobs === null || jobs.length === 0 || jobs.some((each) => each !== "queued" && each !== "pending");
}

/** The parts with what `ask` finds out about the submission of each, one after another. */
async function askedAbout(
  parts: readonly FinishedPart[],
  ask: (id: number, part: FinishedPart) => Promise<Partial<FinishedPart>>,
): Promise<FinishedPart[]> {
  const filled: FinishedPart[] = [];
  for (const part of parts) {
    const id = part.submission?.submission_id;
    filled.push(id === undefined ? part : { ...part, ...(await ask(id, part)) });
  }
  return filled;
}

/** Null where the key may not see the thing asked for. */
async function permitted<T>(call: Promise<T>): Promise<T | null> {
  try {
    return await call;
  } catch (thrown) {
    if (thrown instanceof VmrayError && thrown.status === 403) return null;
    throw thrown;
  }
}
