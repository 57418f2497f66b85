/**
 * The shapes of VMRay's answers, as far as the sensor reads them.
 *
 * Versions differ (2017 to 2026): only ids are required, every other field and every list may be missing or null,
 * a number may come as text, unknown keys are ignored. A field of a wrong type counts as null. Where `undefined`
 * and null mean different things (a version without verdicts, or no verdict) both stay apart.
 */
import { z } from "zod";

/** Most items of one list that are looked at; `max_api_items` of a real system is 1000. */
const MAX_ITEMS = 1000;
/** Submissions of one answer: more than an answer has room for, so that none is lost. */
const MAX_SUBMITTED = 100_000;

const id = z
  .union([
    z.number(),
    z
      .string()
      .regex(/^\d{1,15}$/)
      .transform(Number),
  ])
  .pipe(z.int().nonnegative());
const optionalId = id.nullish().catch(null);
const number = z
  .union([
    z.number(),
    z
      .string()
      .regex(/^-?\d{1,15}(\.\d{1,15})?$/)
      .transform(Number),
  ])
  .nullish()
  .catch(null);
const text = z.string().nullish().catch(null);
const flag = z
  .union([
    z.boolean(),
    z.literal([0, 1]).transform((bit) => bit === 1),
    z
      .string()
      .toLowerCase()
      .pipe(z.enum(["true", "false"]))
      .transform((word) => word === "true"),
  ])
  .nullish()
  .catch(null);
/** JSON as text, or as what it stands for. */
const json = z
  .union([z.string(), z.record(z.string(), z.unknown()).transform((value) => JSON.stringify(value))])
  .nullish()
  .catch(null);

/** A list that may be missing; an item without its id makes the answer invalid, since it would be lost. */
function list<T extends z.ZodType>(item: T, most = MAX_ITEMS) {
  return z
    .array(z.unknown())
    .nullish()
    .transform((items) => (items ?? []).slice(0, most))
    .pipe(z.array(item));
}

/** A list of what is good to have: items of a wrong shape are left out. */
function looseList<T extends z.ZodType>(item: T, most = MAX_ITEMS) {
  return z
    .unknown()
    .transform((value) =>
      (Array.isArray(value) ? value.slice(0, most) : []).flatMap((each: unknown): z.output<T>[] => {
        const parsed = item.safeParse(each);
        return parsed.success ? [parsed.data] : [];
      }),
    )
    .optional()
    .default([]);
}

/** The envelope around every answer; `result` is missing in some real answers. */
export const envelope = z.object({
  result: z.string().toLowerCase().nullish().catch(null),
  error_msg: text,
  data: z.unknown().optional(),
  /** No id is null, 0 or missing. */
  continuation_id: z
    .union([z.number(), z.string()])
    .nullish()
    .catch(null)
    .transform((next) => (next == null || Number(next) === 0 ? null : String(next))),
});

export const sample = z.object({
  sample_id: id,
  sample_sha256hash: text,
  sample_verdict: text,
  sample_verdict_reason_description: text,
  sample_severity: text,
  sample_score: number,
  sample_threat_names: looseList(z.string()),
  sample_classifications: looseList(z.string()),
  sample_created: text,
  sample_webif_url: text,
  sample_child_sample_ids: looseList(id),
  sample_child_relations_truncated: flag,
  sample_child_relations: looseList(
    z.object({
      relation_type: z.string(),
      relation_child_sample_id: optionalId,
      relation_child_sample_verdict: text,
    }),
  ),
});
export type Sample = z.output<typeof sample>;

const submissionFields = z.object({
  submission_id: id,
  submission_sample_id: optionalId,
  submission_sample_verdict: text,
  submission_filename: text,
  submission_original_url: text,
  submission_finished: flag,
  submission_has_errors: flag,
  /** Of what VMRay found in it. */
  submission_has_recursive_errors: flag,
  submission_status: text,
  submission_verdict: text,
  submission_verdict_reason_description: text,
  submission_severity: text,
  submission_score: number,
  submission_submission_metadata: json,
  submission_analyzer_mode_analyzer_mode: text,
  submission_webif_url: text,
  submission_parent_submission_id: optionalId,
  submission_created: text,
  submission_finish_time: text,
  submission_consumed_quota: number,
  submission_quota_type: text,
  submission_billing_type: text,
  submission_used_cache: flag,
});
/** A version that does not say whether it is finished says when, or by its status that it is. */
export const submission = submissionFields.transform((fields) => ({
  ...fields,
  submission_finished: fields.submission_finished ?? endedOtherwise(fields),
}));
export type Submission = z.output<typeof submission>;

const ENDED: ReadonlySet<string> = new Set(["success", "error"]);

function endedOtherwise(fields: z.output<typeof submissionFields>): true | null {
  const { submission_finish_time: time, submission_status: status } = fields;
  return (time ?? "") !== "" || ENDED.has(status?.toLowerCase() ?? "") ? true : null;
}

/** Its text whatever its form: a refusal must not be lost because it is spelled in a new way. */
const refusal = z.unknown().transform((value): { error_msg: string } => {
  const told = z.object({ error_msg: z.string() }).safeParse(value);
  if (told.success) return told.data;
  return { error_msg: typeof value === "string" ? value : (JSON.stringify(value) ?? "") };
});
const refusals = z
  .unknown()
  .transform((value) => (value == null ? [] : Array.isArray(value) ? value : [value]).slice(0, MAX_ITEMS))
  .pipe(z.array(refusal))
  .optional()
  .default([]);

/** A job names the submission it is for. */
const jobOf = (kind: string) =>
  looseList(
    z.object({ [`${kind}_submission_id`]: id, [`${kind}_sample_id`]: optionalId }).transform((job) => ({
      submission_id: Number(job[`${kind}_submission_id`]),
      submission_sample_id: job[`${kind}_sample_id`],
    })),
    MAX_SUBMITTED,
  );

/** Answer to POST /sample/submit. Submissions that are named by their jobs alone count too. */
export const submitAnswer = z
  .object({
    errors: refusals,
    samples: list(z.object({ sample_id: id })),
    submissions: list(z.object({ submission_id: id, submission_sample_id: optionalId }), MAX_SUBMITTED),
    jobs: jobOf("job"),
    static_jobs: jobOf("job"),
    reputation_jobs: jobOf("reputation_job"),
  })
  .transform(({ errors, samples, submissions, jobs, static_jobs, reputation_jobs }) => ({
    errors,
    samples,
    submissions: submissions.length > 0 ? submissions : [...jobs, ...static_jobs, ...reputation_jobs],
  }));
export type SubmitAnswer = z.output<typeof submitAnswer>;

export const job = z.object({ job_status: z.string().toLowerCase().catch("inwork") });

/** How one analysis of a submission ended: code 1 is success, null not told. */
export const analysis = z.object({ analysis_result_code: number, analysis_result_str: text });

export const threatNames = z
  .object({
    sample_threat_names: looseList(z.object({ threat_name: z.string() })),
    children_threat_names: looseList(z.object({ threat_name: z.string() })),
  })
  .transform((names) =>
    [...names.sample_threat_names, ...names.children_threat_names].map((each) => each.threat_name),
  );

const classificationList = looseList(z.object({ classification_name: z.string() }));
export const classifications = z
  .object({ sample_classifications: classificationList, children_classifications: classificationList })
  .transform((names) =>
    [...names.sample_classifications, ...names.children_classifications].map(
      (each) => each.classification_name,
    ),
  );

/** `status` of lists that VMRay makes after the verdict; without one (old versions) they are done. */
const status = text.transform((word) => word == null || word === "finished");

export const indicators = z
  .object({
    status,
    threat_indicators: looseList(
      z.object({ category: z.string(), operation: z.string(), score: z.coerce.number().min(0).max(5) }),
    ),
  })
  .transform(({ status: finished, threat_indicators }) => ({ finished, items: threat_indicators }));

export const techniques = z
  .object({
    status,
    mitre_attack_techniques: looseList(
      z.object({ technique_id: z.string(), technique: text, tactics: looseList(z.string()) }),
    ),
  })
  .transform(({ status: finished, mitre_attack_techniques }) => ({
    finished,
    items: mitre_attack_techniques,
  }));

const judgedIoc = { ioc: flag, verdict: text, severity: text };
export const iocs = z
  .object({
    status,
    iocs: z
      .object({
        urls: looseList(z.object({ ...judgedIoc, url: z.string() })),
        domains: looseList(z.object({ ...judgedIoc, domain: z.string() })),
        ips: looseList(z.object({ ...judgedIoc, ip_address: z.string() })),
        files: looseList(
          z.object({ ...judgedIoc, hashes: looseList(z.object({ sha256_hash: z.string() })) }),
        ),
        email_addresses: looseList(z.object({ ...judgedIoc, email_address: z.string() })),
      })
      .nullish(),
  })
  .transform(({ status: finished, iocs: items }) => ({ finished, items: items ?? null }));
export type FoundIocs = NonNullable<z.output<typeof iocs>["items"]>;

export const reputationLookup = z.object({
  reputation_lookup_verdict: text,
  reputation_lookup_severity: text,
  reputation_lookup_result_code: number,
});
export type ReputationLookup = z.output<typeof reputationLookup>;

export const systemInfo = z.object({
  version: text,
  webif_max_sample_size: number,
  webif_max_upload_size: number,
});
export type SystemInfo = z.output<typeof systemInfo>;

/** Of the API key alone; a limit of 0 means that it has none of its own. */
export const keyQuota = z.object({ quota_limit: number, used_quota: number }).catch({});

/** Of the licence. Old versions have `quota` and `detector_quota` with their `remaining`. */
export const billingInfo = z
  .object({
    billing_period: text,
    verdict_quota: number,
    verdict_remaining: number,
    report_quota: number,
    report_remaining: number,
    quota: number,
    remaining: number,
    detector_quota: number,
    detector_remaining: number,
  })
  .catch({});
