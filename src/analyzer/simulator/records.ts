/** What a simulator remembers, as records: each is one change, JSON, and together they make the store again. */
import type { Judgement } from "./judgement.ts";
import type { AnalyzerMode, SubmitForm } from "./submit-form.ts";

/** Milliseconds since 1970, like all times here. */
export type SampleRecord = {
  readonly kind: "sample";
  readonly id: number;
  readonly sha256: string;
  readonly sha1: string;
  readonly md5: string;
  readonly size: number;
  readonly type: string;
  readonly filename: string;
  /** The URL as it was submitted; null for a file. */
  readonly url: string | null;
  readonly created: number;
};

export type EchoedForm = Pick<
  SubmitForm,
  "caching" | "tags" | "comment" | "metadata" | "shareable" | "retentionDays"
> & {
  readonly settings: Readonly<Record<string, string>>;
};

export type SubmissionRecord = {
  readonly kind: "submission";
  readonly id: number;
  readonly sampleId: number;
  /** What the simulator says to this content with the password of this submission, without a scenario. */
  readonly base: Judgement;
  /** SHA-256 of the password; null where none came. */
  readonly password: string | null;
  readonly created: number;
  readonly startsAt: number;
  readonly finishesAt: number;
  /** Of its own full or static analysis, also the id of that analysis; null where none was created. */
  readonly jobId: number | null;
  /** Of its own reputation look-up, also the id of that look-up; null where none was created. */
  readonly reputationJobId: number | null;
  readonly sourceId: number | null;
  readonly parentId: number | null;
  /** How the sample was found in that of the parent. */
  readonly relation: string | null;
  readonly filename: string;
  readonly originalFilename: string | null;
  readonly mode: AnalyzerMode;
  /** Taken from the quota, without its children. */
  readonly reports: number;
  readonly verdicts: number;
  readonly form: EchoedForm;
};

/** A content was submitted, stored or not: a SHA-256 or a URL. */
type CountRecord = { readonly kind: "count"; readonly key: string; readonly opened: boolean };

/** One change, as JSON. */
export type StateRecord = SampleRecord | SubmissionRecord | CountRecord;
