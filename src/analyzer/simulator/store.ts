/**
 * What the simulator remembers: samples and submissions, and where each submission stands in its life.
 *
 * No timers: a submission knows the times of its life when it is made, and its state is read off the clock.
 * Samples keep hashes and facts, never bytes. Everything is bounded by `maxSubmissions`. Each change is a
 * record: given to `persist` and then applied, so that the same records make the same store again.
 */
import { ApiError } from "./api-error.ts";
import { contentFacts, hash, sampleType, storedFilename } from "./content-facts.ts";
import { createRuleBook, judgementAt, overlay, type RuleBook } from "./contents.ts";
import type { Judgement } from "./judgement.ts";
import type { EchoedForm, SampleRecord, StateRecord, SubmissionRecord } from "./records.ts";
import type { ChildRule, ContentRule, QuotaRule, Scenario } from "./scenario.ts";
import type { SubmitForm } from "./submit-form.ts";

export type Sample = Omit<SampleRecord, "kind"> & {
  /** What is said of it now: by the scenario; else by the submission that opened it; else by the first. */
  readonly judgement: Judgement;
  readonly submissions: readonly Submission[];
  /** When its first submission finishes. */
  readonly knownFrom: number;
  /** When what was found in it is listed. */
  readonly evidenceFrom: number;
  /** Submissions of what was found in it, and the one it was found by first. */
  readonly children: readonly Submission[];
  readonly foundBy: Submission | null;
};

export type Submission = Omit<SubmissionRecord, "kind" | "sampleId" | "sourceId" | "parentId"> & {
  readonly sample: Sample;
  /** What is said of the content when this submission finishes. */
  readonly judgement: Judgement;
  /** The submission whose analyses answer for this one. */
  readonly source: Submission | null;
  readonly parent: Submission | null;
  readonly children: readonly Submission[];
  /** Ids of the submissions that were answered by this one's analyses. */
  readonly usedBy: readonly number[];
};

type OwnSample = Omit<Sample, "knownFrom"> & {
  knownFrom: number;
  rule: ContentRule | undefined;
  readonly submissions: OwnSubmission[];
  readonly children: OwnSubmission[];
  foundBy: OwnSubmission | null;
  /** Those with an analysis of their own, in their order. */
  readonly analysed: OwnSubmission[];
  /** By password ("" for none): what its bytes say. */
  readonly bases: Map<string, Judgement>;
};
type OwnSubmission = Submission & {
  readonly sample: OwnSample;
  readonly children: OwnSubmission[];
  readonly usedBy: number[];
};

export type Stage = "queued" | "in_progress" | "finished";

/** What came of a submission. `errors`: texts beside what was stored. */
export type Stored =
  | { readonly state: "stored"; readonly submission: Submission; readonly errors: readonly string[] }
  /** Refused because the content is known (caching mode legacy, or the scenario). */
  | { readonly state: "known"; readonly sample: Sample }
  /** Refused for another reason. */
  | { readonly state: "refused"; readonly errors: readonly string[] };

export type StoreOptions = {
  readonly queuedMs: number;
  readonly inWorkMs: number;
  readonly maxSubmissions: number;
  readonly now: () => number;
  readonly scenario: Scenario;
  /** Keeps what is about to be applied. */
  readonly persist: (records: readonly StateRecord[]) => void;
};

/** A list that is read by place; arrays are such. */
export type Rows<T> = { readonly length: number; at(index: number): T | undefined };

export type Quota = {
  readonly reports: number;
  readonly verdicts: number;
  readonly rule: QuotaRule;
};

export type Store = ReturnType<typeof createStore>;

/** Ids of different kinds never meet, so that a client that mixes them up gets a 404 and not another's answer. */
const FIRST_SUBMISSION = 1_000_001;
const FIRST_JOB = 5_000_001;

/** How long a submission takes that is answered from the cache, as a part of a whole analysis. */
const CACHED_PART = 0.1;

const ECHOED_SETTINGS = [
  "archive_action",
  "detonate_links_in_documents",
  "detonate_links_in_emails",
  "enable_reputation",
  "enable_whois",
  "known_benign",
  "known_malicious",
  "max_dynamic_analyses_per_sample",
  "max_recursive_samples",
];

const passwordKey = (password: string | undefined): string | null =>
  password === undefined ? null : hash("sha256", new TextEncoder().encode(password));

const NO_FORM: EchoedForm = {
  caching: "smart",
  tags: [],
  comment: null,
  metadata: "{}",
  shareable: false,
  retentionDays: 0,
  settings: {},
};

const CLEAN: Judgement = {
  outcome: "clean",
  threatNames: [],
  why: "The scenario says so.",
  passwordProtected: false,
  opened: false,
};

/** A store with what `records` tell, which are not persisted again. */
export function createStore(options: StoreOptions, records: readonly StateRecord[] = []) {
  const { queuedMs, inWorkMs, maxSubmissions, now } = options;
  const samples: OwnSample[] = [];
  const submissions: OwnSubmission[] = [];
  /** By time of finishing and then by id. */
  const byCompletion: OwnSubmission[] = [];
  const byHash = new Map<string, OwnSample>();
  const byUrl = new Map<string, OwnSample[]>();
  const byJob = new Map<number, OwnSubmission>();
  const counts = new Map<string, number>();
  const opened = new Map<string, number>();
  let jobs = 0;
  let reports = 0;
  let verdicts = 0;
  let scenario = options.scenario;
  let book: RuleBook = createRuleBook(scenario.contents);

  // ---- applying records

  function applySample({ kind: _, ...record }: SampleRecord): void {
    const sample: OwnSample = {
      ...record,
      rule: book.find(record),
      submissions: [],
      children: [],
      foundBy: null,
      analysed: [],
      bases: new Map(),
      knownFrom: Number.POSITIVE_INFINITY,
      get judgement() {
        const [first] = sample.submissions;
        const opening =
          first?.base.passwordProtected === true
            ? sample.submissions.find((each) => each.base.opened && stage(each) === "finished")
            : undefined;
        return judgementAt((opening ?? first)?.base ?? CLEAN, sample.rule, now() - sample.knownFrom);
      },
      get evidenceFrom() {
        return sample.knownFrom + (sample.rule?.evidence_lag ?? 0);
      },
    };
    samples.push(sample);
    const content = sample.url === null ? "file" : "url";
    for (const digest of [sample.sha256, sample.sha1, sample.md5]) byHash.set(`${content}:${digest}`, sample);
    if (sample.url !== null) {
      const lower = sample.url.toLowerCase();
      byUrl.set(lower, [...(byUrl.get(lower) ?? []), sample]);
    }
  }

  function applySubmission(record: SubmissionRecord): void {
    const { kind: _, sampleId, sourceId, parentId, ...own } = record;
    const sample = samples[sampleId - 1];
    if (sample === undefined)
      throw new TypeError(`submission ${own.id} is of sample ${sampleId}, which is not there`);
    const source = sourceId === null ? null : (submissions[sourceId - FIRST_SUBMISSION] ?? null);
    const parent = parentId === null ? null : (submissions[parentId - FIRST_SUBMISSION] ?? null);
    const submission: OwnSubmission = {
      ...own,
      sample,
      source,
      parent,
      children: [],
      usedBy: [],
      get judgement() {
        const analysedAt = Math.max(source?.finishesAt ?? own.finishesAt, sample.knownFrom);
        return judgementAt(own.base, sample.rule, analysedAt - sample.knownFrom);
      },
    };
    submissions.push(submission);
    sample.submissions.push(submission);
    sample.knownFrom = Math.min(sample.knownFrom, own.finishesAt);
    if (source === null) sample.analysed.push(submission);
    else source.usedBy.push(own.id);
    if (!sample.bases.has(own.password ?? "")) sample.bases.set(own.password ?? "", own.base);
    if (parent !== null) {
      parent.children.push(submission);
      parent.sample.children.push(submission);
      sample.foundBy ??= submission;
    }
    addToCompletion(submission);
    for (const job of [own.jobId, own.reputationJobId])
      if (job !== null) jobs = Math.max(jobs, job - FIRST_JOB + 1);
    if (own.jobId !== null) byJob.set(own.jobId, submission);
    reports += own.reports;
    verdicts += own.verdicts;
  }

  function apply(record: StateRecord): void {
    switch (record.kind) {
      case "sample":
        applySample(record);
        return;
      case "submission":
        applySubmission(record);
        return;
      case "count":
        counts.set(record.key, (counts.get(record.key) ?? 0) + 1);
        if (record.opened) opened.set(record.key, (opened.get(record.key) ?? 0) + 1);
        return;
    }
  }

  function commit(...added: readonly StateRecord[]): void {
    options.persist(added);
    for (const record of added) apply(record);
  }

  function addToCompletion(submission: OwnSubmission): void {
    let at = byCompletion.length;
    while (at > 0 && (byCompletion[at - 1]?.finishesAt ?? 0) > submission.finishesAt) at--;
    byCompletion.splice(at, 0, submission);
  }

  // ---- submitting

  const known = (kind: "file" | "url", sha256: string): OwnSample | undefined =>
    byHash.get(`${kind}:${sha256}`);

  function addSample(
    facts: Pick<SampleRecord, "sha256" | "sha1" | "md5" | "size" | "type" | "url">,
    filename: string,
  ): OwnSample {
    // A URL and a file of the same bytes are two samples.
    const kind = facts.url === null ? "file" : "url";
    if (known(kind, facts.sha256) === undefined) {
      const id = samples.length + 1;
      const name = kind === "url" ? "sample.url" : storedFilename(filename, id);
      commit({ kind: "sample", id, ...facts, filename: name, created: now() });
    }
    const sample = known(kind, facts.sha256);
    if (sample === undefined) throw new TypeError("a sample that was just added is not there");
    return sample;
  }

  /** The submission whose result a new one of the same sample, mode and password may use; failed ones are redone. */
  function cached(sample: OwnSample, form: SubmitForm, password: string | null): OwnSubmission | undefined {
    if (form.caching === "disabled") return undefined;
    return sample.analysed.find(
      (earlier) =>
        earlier.mode === form.mode &&
        (earlier.password === password || !earlier.base.passwordProtected) &&
        (earlier.jobId !== null || form.mode === "reputation") &&
        earlier.judgement.outcome !== "error",
    );
  }

  /** Why the quota does not allow it; undefined where it does. */
  function denial(cost: { readonly reports: number; readonly verdicts: number }): string | undefined {
    const { quota } = scenario;
    const over = (used: number, wanted: number, limit: number | undefined): string | undefined =>
      limit === undefined || wanted === 0 || used + wanted <= limit
        ? undefined
        : `Denied: The vmray quota for account 1 (${quota.account}) is exceeded. (${used}/${limit} used, ${wanted} requested at ${new Date(now()).toISOString().slice(0, 19).replace("T", " ")} (UTC+0) by ${quota.user})`;
    return (
      over(reports, cost.reports, quota.reports) ??
      over(verdicts, cost.verdicts, quota.verdicts) ??
      over(
        reports + verdicts,
        cost.reports + cost.verdicts,
        quota.key_limit === 0 ? undefined : quota.key_limit,
      )
    );
  }

  /**
   * Stores a submission. `judgement` is what its bytes say with the password that came, without a scenario.
   * Throws ApiError where no more fit in.
   */
  function submit(form: SubmitForm, judgement: Judgement): Stored {
    if (submissions.length >= maxSubmissions) {
      throw new ApiError(
        503,
        `The simulator keeps ${maxSubmissions} submissions in memory and no more: start it again.`,
      );
    }
    const { content } = form;
    const isFile = content.kind === "file";
    const hashes = contentFacts(content);
    const url = isFile ? null : content.text;
    const name = isFile ? content.filename : "sample.url";
    const type = isFile ? (form.settings.get("sample_type") ?? sampleType(content.bytes)) : "URL";
    const rule =
      known(content.kind, hashes.sha256)?.rule ?? book.find({ sha256: hashes.sha256, filename: name, url });
    const key = url ?? hashes.sha256;
    commit({ kind: "count", key, opened: judgement.opened });
    if (rule?.submit === "refused") {
      return { state: "refused", errors: rule.errors.length > 0 ? rule.errors : ["Submission refused"] };
    }
    const password = passwordKey(form.settings.get("archive_password"));
    const before = known(content.kind, hashes.sha256);
    const source = before === undefined ? null : (cached(before, form, password) ?? null);
    if (rule?.submit === "not_stored" || (source !== null && form.caching === "legacy" && !form.reanalyze)) {
      return { state: "known", sample: before ?? addSample({ ...hashes, type, url }, name) };
    }

    const wantsReputation = source === null && form.mode.startsWith("reputation");
    let wantsAnalysis = source === null && form.mode !== "reputation";
    const charged = source === null || scenario.quota.charge_cached;
    const most = Number(form.settings.get("max_recursive_samples") ?? "10");
    const found = wantsAnalysis ? (rule?.children ?? []).slice(0, most) : [];
    const cost = {
      reports: charged && form.mode !== "reputation" ? 1 : 0,
      verdicts: charged && form.mode === "reputation" && scenario.quota.charge_reputation ? 1 : 0,
    };
    const errors = [...(rule?.errors ?? [])];
    const denied =
      rule?.submit === "denied"
        ? deniedByRule(rule)
        : denial({ ...cost, reports: cost.reports + (cost.reports > 0 ? found.length : 0) });
    if (denied !== undefined) {
      // The cheap part still runs, where the mode has one.
      if (!wantsReputation || form.mode === "reputation" || !scenario.quota.reputation_when_denied) {
        return { state: "refused", errors: [denied] };
      }
      wantsAnalysis = false;
      cost.reports = 0;
      errors.push(denied);
    }

    const sample = addSample({ ...hashes, type, url }, name);
    const created = now();
    const queued = rule?.queued ?? queuedMs;
    const whole = queued + (rule?.work ?? inWorkMs);
    const id = FIRST_SUBMISSION + submissions.length;
    const filename = isFile ? storedFilename(name, id) : name;
    const record: SubmissionRecord = {
      kind: "submission",
      id,
      sampleId: sample.id,
      base: sample.bases.get(password ?? "") ?? judgement,
      password,
      created,
      startsAt: source === null ? created + queued : Math.max(created, source.startsAt),
      finishesAt:
        source === null
          ? created + whole
          : Math.max(source.finishesAt, created + Math.round(whole * CACHED_PART)),
      reputationJobId: wantsReputation ? FIRST_JOB + jobs++ : null,
      jobId: wantsAnalysis ? FIRST_JOB + jobs++ : null,
      sourceId: source?.id ?? null,
      parentId: null,
      relation: null,
      filename,
      originalFilename: filename === name ? null : name.slice(0, 1024),
      mode: form.mode,
      ...cost,
      form: {
        caching: form.caching,
        tags: form.tags,
        comment: form.comment,
        metadata: form.metadata,
        shareable: form.shareable,
        retentionDays: form.retentionDays,
        settings: Object.fromEntries(
          ECHOED_SETTINGS.flatMap((setting) => {
            const value = form.settings.get(setting);
            return value === undefined ? [] : [[setting, value]];
          }),
        ),
      },
    };
    commit(record);
    if (wantsAnalysis) for (const child of found) addChild(record, sample, child);
    return { state: "stored", submission: submissions[id - FIRST_SUBMISSION] as Submission, errors };
  }

  const deniedByRule = (rule: ContentRule): string =>
    rule.errors[0] ??
    `Denied: The vmray quota for account 1 (${scenario.quota.account}) is exceeded. (${reports}/${reports} used, 1 requested at ${new Date(now()).toISOString().slice(0, 19).replace("T", " ")} (UTC+0) by ${scenario.quota.user})`;

  /** What a scenario lets be found in a sample: a sample and a submission of its own, with the times of the parent. */
  function addChild(parent: SubmissionRecord, of: OwnSample, child: ChildRule): void {
    const name = child.url ?? child.filename ?? "";
    const text = child.url ?? `${of.sha256}/${name}`;
    const bytes = new TextEncoder().encode(text);
    const sample = addSample(
      {
        sha256: child.sha256 ?? hash("sha256", bytes),
        sha1: hash("sha1", bytes),
        md5: hash("md5", bytes),
        size: bytes.length,
        type: child.url === undefined ? "Unknown" : "URL",
        url: child.url ?? null,
      },
      name,
    );
    commit({
      ...parent,
      id: FIRST_SUBMISSION + submissions.length,
      sampleId: sample.id,
      base: overlay(CLEAN, child),
      password: null,
      reputationJobId: null,
      jobId: FIRST_JOB + jobs++,
      sourceId: null,
      parentId: parent.id,
      relation: child.relation ?? (child.url === undefined ? "Embedded File" : "Embedded URL"),
      filename: child.url === undefined ? sample.filename : "sample.url",
      originalFilename: null,
      reports: parent.reports,
      verdicts: 0,
    });
  }

  /** What the scenario says is known: as if others had had it analysed just now. */
  function addKnown(): void {
    for (const rule of scenario.contents) {
      const { sha256, url, filename } = rule.match;
      if (!rule.known || (sha256 === undefined && url === undefined)) continue;
      const bytes = new TextEncoder().encode(url ?? sha256);
      const digest = url === undefined ? (sha256 ?? "") : hash("sha256", bytes);
      if (known(url === undefined ? "file" : "url", digest) !== undefined) continue;
      const sample = addSample(
        {
          sha256: digest,
          sha1: hash("sha1", bytes),
          md5: hash("md5", bytes),
          size: bytes.length,
          type: url === undefined ? "Unknown" : "URL",
          url: url ?? null,
        },
        filename?.replaceAll("*", "x") ?? "known-sample",
      );
      commit({
        kind: "submission",
        id: FIRST_SUBMISSION + submissions.length,
        sampleId: sample.id,
        base: CLEAN,
        password: null,
        created: now(),
        startsAt: now(),
        finishesAt: now(),
        jobId: FIRST_JOB + jobs++,
        reputationJobId: FIRST_JOB + jobs++,
        sourceId: null,
        parentId: null,
        relation: null,
        filename: sample.filename,
        originalFilename: null,
        mode: "reputation_static_dynamic",
        reports: 0,
        verdicts: 0,
        form: NO_FORM,
      });
    }
  }

  // ---- reading

  function stage(submission: Submission): Stage {
    const time = now();
    if (time >= submission.finishesAt) return "finished";
    return time >= submission.startsAt ? "in_progress" : "queued";
  }

  /** How many of `byCompletion`, from its start, come before this time and id. */
  function countBefore(time: number, id: number): number {
    let low = 0;
    let high = byCompletion.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      const at = byCompletion[middle];
      if (at !== undefined && (at.finishesAt < time || (at.finishesAt === time && at.id <= id)))
        low = middle + 1;
      else high = middle;
    }
    return low;
  }

  const part = <T>(list: readonly T[], from: number, to: number): Rows<T> => ({
    length: Math.max(0, to - from),
    at: (index) => list[from + index],
  });

  /**
   * Finished submissions in the order in which they finished, after the one with the id `lastId`; where that is
   * not a finished one, those with a greater id.
   */
  function finishedAfter(lastId: number): Rows<Submission> {
    const finished = countBefore(now(), Number.POSITIVE_INFINITY);
    const last = submissions[lastId - FIRST_SUBMISSION];
    if (last !== undefined && stage(last) === "finished") {
      return part(byCompletion, countBefore(last.finishesAt, last.id), finished);
    }
    if (lastId < FIRST_SUBMISSION) return part(byCompletion, 0, finished);
    return byCompletion.slice(0, finished).filter((submission) => submission.id > lastId);
  }

  /** Those that finished from one time to another, ends included, by id. */
  function finishedBetween(from: number, to: number): readonly Submission[] {
    return byCompletion
      .slice(countBefore(from, 0), countBefore(Math.min(to, now()), Number.POSITIVE_INFINITY))
      .toSorted((a, b) => a.id - b.id);
  }

  for (const record of records) apply(record);
  addKnown();

  return {
    submit,
    stage,
    finishedAfter,
    finishedBetween,
    /** What the bytes of a known sample say with this password; undefined where they have to be read. */
    baseOf: (kind: "file" | "url", sha256: string, password: string | undefined): Judgement | undefined =>
      known(kind, sha256)?.bases.get(passwordKey(password) ?? ""),
    /** From now on. What is told of samples and submissions that are there follows the new scenario too. */
    setScenario(next: Scenario): void {
      scenario = next;
      book = createRuleBook(next.contents);
      for (const sample of samples) sample.rule = book.find(sample);
      addKnown();
    },
    scenario: (): Scenario => scenario,
    quota: (): Quota => ({ reports, verdicts, rule: scenario.quota }),
    sample: (id: number): Sample | undefined => samples[id - 1],
    submission: (id: number): Submission | undefined => submissions[id - FIRST_SUBMISSION],
    /** By the id of its job, which is also that of its analysis. */
    submissionOfJob: (id: number): Submission | undefined => byJob.get(id),
    samplesByHash: (digest: string): readonly Sample[] =>
      ["file", "url"].flatMap((kind) => byHash.get(`${kind}:${digest}`) ?? []),
    samplesByUrl: (url: string): readonly Sample[] => byUrl.get(url.toLowerCase()) ?? [],
    samples: (): readonly Sample[] => samples,
    submissions: (): readonly Submission[] => submissions,
    /** How often each content was submitted: SHA-256 of a file or URL to a number. */
    counts: (): ReadonlyMap<string, number> => counts,
    /** How often each protected archive came with a password that opened it, by SHA-256. */
    opened: (): ReadonlyMap<string, number> => opened,
  };
}
