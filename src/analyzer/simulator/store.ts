/**
 * What the simulator remembers: samples and submissions, and where each submission stands in its life.
 *
 * No timers: a submission knows the times of its life when it is made, and its state is read off the clock.
 * Samples keep hashes and facts, never bytes. Everything is bounded by `maxSubmissions`.
 */
import { ApiError } from "./api-error.ts";
import { type Judgement, judgeFile, judgeUrl } from "./judgement.ts";
import type { AnalyzerMode, SubmitForm, SubmittedContent } from "./submit-form.ts";

export type Sample = {
  readonly id: number;
  readonly sha256: string;
  readonly sha1: string;
  readonly md5: string;
  readonly size: number;
  readonly type: string;
  readonly filename: string;
  /** The URL as it was submitted; null for a file. */
  readonly url: string | null;
  /** That of the finished submission whose password opened it; where there is none that of the first. */
  readonly judgement: Judgement;
  /** Milliseconds since 1970, like all times here. */
  readonly created: number;
  readonly submissions: Submission[];
};

export type Submission = {
  readonly id: number;
  readonly sample: Sample;
  /** What the simulator says to this content with the password of this submission. */
  readonly judgement: Judgement;
  readonly password: string | undefined;
  readonly created: number;
  readonly startsAt: number;
  readonly finishesAt: number;
  /** Of its own full or static analysis, also the id of that analysis; null where none was created. */
  readonly jobId: number | null;
  /** Of its own reputation look-up, also the id of that look-up; null where none was created. */
  readonly reputationJobId: number | null;
  /** The submission whose analyses answer for this one. */
  readonly source: Submission | null;
  readonly filename: string;
  readonly originalFilename: string | null;
  readonly mode: AnalyzerMode;
  readonly form: Pick<
    SubmitForm,
    "caching" | "tags" | "comment" | "metadata" | "shareable" | "retentionDays"
  > & {
    readonly settings: ReadonlyMap<string, string>;
  };
};

export type Stage = "queued" | "in_progress" | "finished";

/** What came of a submission: stored, or refused because the content is known (caching mode legacy). */
export type Stored =
  | { readonly state: "stored"; readonly submission: Submission }
  | { readonly state: "known"; readonly sample: Sample };

export type StoreOptions = {
  readonly queuedMs: number;
  readonly inWorkMs: number;
  readonly maxSubmissions: number;
  readonly now: () => number;
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

const hash = (algorithm: "sha256" | "sha1" | "md5", bytes: Uint8Array): string =>
  new Bun.CryptoHasher(algorithm).update(bytes).digest("hex");

/** VMRay gives a file another name where Windows could not store it under its own (its submission_filename). */
function storedFilename(name: string, id: number): string {
  const device = /^(?:con|prn|aux|nul|com\d|lpt\d)(?:\.|$)/i;
  return name === "" || name.length > 255 || /[:<>\\"|?*/\0-\x1f]/.test(name) || device.test(name)
    ? `sample-${id}`
    : name;
}

/** Member names that tell the kind of an OOXML document. */
const OOXML_TYPES = [
  ["word/document.xml", "Word Document"],
  ["xl/workbook.xml", "Excel Document"],
  ["ppt/presentation.xml", "Powerpoint Document"],
] as const;

function sampleType(bytes: Uint8Array): string {
  const content = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const head = content.toString("latin1", 0, 1024);
  if (head.startsWith("MZ")) return "Windows Exe (x86-32)";
  if (head.startsWith("PK\x03\x04")) {
    return OOXML_TYPES.find(([member]) => content.includes(member))?.[1] ?? "Archive";
  }
  if (head.startsWith("%PDF-")) return "PDF Document";
  if (/^\s*<(?:!doctype html|html)/i.test(head)) return "HTML Document";
  return "Unknown";
}

/** An empty store. */
export function createStore(options: StoreOptions) {
  const { queuedMs, inWorkMs, maxSubmissions, now } = options;
  const samples: Sample[] = [];
  const submissions: Submission[] = [];
  const byCompletion: Submission[] = [];
  const byHash = new Map<string, Sample>();
  const byUrl = new Map<string, Sample[]>();
  const byJob = new Map<number, Submission>();
  const counts = new Map<string, number>();
  const opened = new Map<string, number>();
  let jobs = 0;

  function judgementFor(content: SubmittedContent, password: string | undefined): Judgement {
    return content.kind === "file" ? judgeFile(content.bytes, password) : judgeUrl(content.url);
  }

  function addSample(form: SubmitForm, password: string | undefined): Sample {
    const { content } = form;
    const bytes = content.kind === "file" ? content.bytes : new TextEncoder().encode(content.text);
    const sha256 = hash("sha256", bytes);
    // A URL and a file of the same bytes are two samples.
    const key = `${content.kind}:${sha256}`;
    const known = byHash.get(key);
    if (known !== undefined) return known;
    const id = samples.length + 1;
    const judged = judgementFor(content, password);
    const sample: Sample = {
      id,
      sha256,
      sha1: hash("sha1", bytes),
      md5: hash("md5", bytes),
      size: bytes.length,
      type: content.kind === "url" ? "URL" : (form.settings.get("sample_type") ?? sampleType(bytes)),
      filename: content.kind === "url" ? "sample.url" : storedFilename(content.filename, id),
      url: content.kind === "url" ? content.text : null,
      get judgement() {
        if (!judged.passwordProtected) return judged;
        const opened = sample.submissions.find((each) => each.judgement.opened && stage(each) === "finished");
        return opened?.judgement ?? judged;
      },
      created: now(),
      submissions: [],
    };
    samples.push(sample);
    byHash.set(key, sample);
    for (const digest of [sample.sha1, sample.md5]) byHash.set(`${content.kind}:${digest}`, sample);
    if (sample.url !== null) {
      const lower = sample.url.toLowerCase();
      byUrl.set(lower, [...(byUrl.get(lower) ?? []), sample]);
    }
    return sample;
  }

  /** The submission whose result a new one of the same sample, mode and password may use; failed ones are redone. */
  function cached(sample: Sample, form: SubmitForm, password: string | undefined): Submission | undefined {
    if (form.caching === "disabled") return undefined;
    return sample.submissions.find(
      (earlier) =>
        earlier.source === null &&
        earlier.mode === form.mode &&
        earlier.password === password &&
        earlier.judgement.outcome !== "error",
    );
  }

  function addToCompletion(submission: Submission): void {
    let at = byCompletion.length;
    while (at > 0 && (byCompletion[at - 1]?.finishesAt ?? 0) > submission.finishesAt) at--;
    byCompletion.splice(at, 0, submission);
  }

  /** Stores a submission. Throws ApiError where no more fit in. */
  function submit(form: SubmitForm): Stored {
    if (submissions.length >= maxSubmissions) {
      throw new ApiError(
        503,
        `The simulator keeps ${maxSubmissions} submissions in memory and no more: start it again.`,
      );
    }
    const password = form.settings.get("archive_password");
    const sample = addSample(form, password);
    const before = sample.submissions.find((earlier) => earlier.password === password);
    const judgement =
      before?.judgement ??
      (sample.submissions.length === 0 ? sample.judgement : judgementFor(form.content, password));
    const key = sample.url ?? sample.sha256;
    counts.set(key, (counts.get(key) ?? 0) + 1);
    if (judgement.opened) opened.set(key, (opened.get(key) ?? 0) + 1);
    const source = cached(sample, form, password) ?? null;
    if (source !== null && form.caching === "legacy" && !form.reanalyze) return { state: "known", sample };

    const created = now();
    const whole = queuedMs + inWorkMs;
    const finishesAt =
      source === null
        ? created + whole
        : Math.max(source.finishesAt, created + Math.round(whole * CACHED_PART));
    const startsAt = source === null ? created + queuedMs : Math.max(created, source.startsAt);
    const id = FIRST_SUBMISSION + submissions.length;
    const name = form.content.kind === "file" ? form.content.filename : "sample.url";
    const filename = form.content.kind === "file" ? storedFilename(name, id) : name;
    const reputation = form.mode.startsWith("reputation");
    const analysis = form.mode !== "reputation";
    const submission: Submission = {
      id,
      sample,
      judgement,
      password,
      created,
      startsAt,
      finishesAt,
      reputationJobId: source === null && reputation ? FIRST_JOB + jobs++ : null,
      jobId: source === null && analysis ? FIRST_JOB + jobs++ : null,
      source,
      filename,
      originalFilename: filename === name ? null : name.slice(0, 1024),
      mode: form.mode,
      form: {
        caching: form.caching,
        tags: form.tags,
        comment: form.comment,
        metadata: form.metadata,
        shareable: form.shareable,
        retentionDays: form.retentionDays,
        settings: new Map(
          ECHOED_SETTINGS.flatMap((setting) => {
            const value = form.settings.get(setting);
            return value === undefined ? [] : [[setting, value] as const];
          }),
        ),
      },
    };
    submissions.push(submission);
    sample.submissions.push(submission);
    addToCompletion(submission);
    if (submission.jobId !== null) byJob.set(submission.jobId, submission);
    return { state: "stored", submission };
  }

  function stage(submission: Submission): Stage {
    const time = now();
    if (time >= submission.finishesAt) return "finished";
    return time >= submission.startsAt ? "in_progress" : "queued";
  }

  /** How many of `byCompletion`, from its start, are finished. */
  function finishedCount(): number {
    const time = now();
    let low = 0;
    let high = byCompletion.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if ((byCompletion[middle]?.finishesAt ?? 0) <= time) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  /**
   * Finished submissions in the order in which they finished, after the one with the id `lastId`; where that is
   * not a finished one, those with a greater id.
   */
  function finishedAfter(lastId: number): readonly Submission[] {
    const finished = finishedCount();
    const last = submissions[lastId - FIRST_SUBMISSION];
    const at = last === undefined ? -1 : byCompletion.indexOf(last);
    return at >= 0 && at < finished
      ? byCompletion.slice(at + 1, finished)
      : byCompletion.slice(0, finished).filter((submission) => submission.id > lastId);
  }

  return {
    submit,
    stage,
    finishedAfter,
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
