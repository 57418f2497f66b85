/**
 * The objects of the API, with the field names of version 2026.2.1, made from what the store remembers.
 *
 * Times are naive ISO strings in UTC. What a real system knows only after the analysis (verdict, errors, finish
 * time) is null until then.
 */
import type { Verdict } from "../../verdict/verdict.ts";
import type { Judgement, Outcome } from "./judgement.ts";
import { fieldsOf, sampleLink as linkOf, type Platform, VERSIONS } from "./platform.ts";
import type { Sample, Store, Submission } from "./store.ts";

export type Json = null | boolean | number | string | readonly Json[] | { readonly [key: string]: Json };
export type JsonObject = { readonly [key: string]: Json };

const USER = "simulator@vmray-simulator.example";

type Facts = {
  readonly verdict: Verdict | null;
  readonly severity: string;
  readonly score: number | null;
  readonly hasErrors: boolean;
};
const FACTS: Readonly<Record<Outcome, Facts>> = {
  malicious: { verdict: "malicious", severity: "malicious", score: 100, hasErrors: false },
  suspicious: { verdict: "suspicious", severity: "suspicious", score: 50, hasErrors: false },
  clean: { verdict: "clean", severity: "not_suspicious", score: 0, hasErrors: false },
  not_available: { verdict: "not_available", severity: "unknown", score: null, hasErrors: false },
  error: { verdict: null, severity: "error", score: null, hasErrors: true },
};
const UNFINISHED = { verdict: null, severity: null, score: null, hasErrors: null } as const;

/** Why there is no verdict, in the field the API has for it; a verdict speaks for itself. */
const reasonOf = (judgement: Judgement): string | null =>
  judgement.reason ??
  (judgement.outcome === "error" || judgement.outcome === "not_available"
    ? `Simulator: ${judgement.why}`
    : null);

function time(milliseconds: number): string {
  return new Date(milliseconds).toISOString().slice(0, 19);
}

const flag = (submission: Submission, setting: string, otherwise: boolean): boolean => {
  const value = submission.form.settings[setting];
  return value === undefined ? otherwise : value.toLowerCase() === "true";
};

/** Makes API objects; `webif` is the address under which people reach the pages of the simulator. */
export function createObjects(store: Store, webif: string, platform: Platform, now: () => number) {
  const fields = fieldsOf(platform);
  const sampleLink = (sample: Sample): string => linkOf(platform, webif, sample.id);
  const finished = (submission: Submission): boolean => store.stage(submission) === "finished";
  const judged = (sample: Sample): boolean => now() >= sample.knownFrom;
  /** What was found in it is listed; a while after the verdict, where the scenario wants it. */
  const evident = (sample: Sample): boolean => now() >= sample.evidenceFrom;
  const hasErrors = ({ outcome, hasErrors: told }: Judgement): boolean =>
    told === true || FACTS[outcome].hasErrors;

  const childRelations = (sample: Sample): readonly JsonObject[] =>
    sample.children.filter(finished).map((child) => ({
      relation_child_sample_id: child.sample.id,
      relation_child_sample_verdict: FACTS[child.judgement.outcome].verdict,
      relation_id: child.id,
      relation_type: child.relation,
    }));

  /** A sample as the answer of a submission has it: without what only an analysis tells. */
  function submittedSample(sample: Sample): JsonObject {
    return {
      sample_child_relations: childRelations(sample),
      sample_child_relations_truncated: false,
      sample_child_sample_ids: [...new Set(sample.children.filter(finished).map((child) => child.sample.id))],
      sample_container_type: null,
      sample_created: time(sample.created),
      sample_display_url: sample.url,
      sample_filename: sample.filename,
      sample_filesize: sample.size,
      sample_id: sample.id,
      sample_is_multipart: false,
      sample_md5hash: sample.md5,
      sample_parent_relations: [],
      sample_parent_relations_truncated: false,
      sample_parent_sample_ids: sample.foundBy?.parent == null ? [] : [sample.foundBy.parent.sample.id],
      sample_password_protected: sample.judgement.passwordProtected,
      sample_priority: 1,
      sample_sha1hash: sample.sha1,
      sample_sha256hash: sample.sha256,
      sample_ssdeephash: null,
      sample_type: sample.type,
      sample_url: sample.url,
      sample_webif_url: sampleLink(sample),
    };
  }

  function sample(of: Sample): JsonObject {
    const judgement = of.judgement;
    const facts = judged(of) ? FACTS[judgement.outcome] : UNFINISHED;
    return {
      ...submittedSample(of),
      sample_classifications: evident(of) ? (of.judgement.classifications ?? []) : [],
      sample_clusters: [],
      sample_emailhash: null,
      sample_highest_vti_score: facts.score,
      sample_highest_vti_severity: facts.severity,
      sample_imphash: null,
      sample_last_md_score: null,
      sample_last_reputation_severity: facts.severity,
      sample_last_vt_score: null,
      sample_pe_signature: null,
      sample_score: facts.score,
      sample_severity: facts.severity,
      sample_threat_names: evident(of) ? judgement.threatNames : [],
      sample_verdict: facts.verdict,
      sample_verdict_reason_code: null,
      sample_verdict_reason_description: judged(of) ? reasonOf(of.judgement) : null,
      sample_vti_score: facts.score,
    };
  }

  function submission(of: Submission): JsonObject {
    const stage = store.stage(of);
    const done = stage === "finished";
    const judgement = of.judgement;
    const facts = done ? FACTS[judgement.outcome] : UNFINISHED;
    const reason = done ? reasonOf(judgement) : null;
    const errors = done ? hasErrors(judgement) : null;
    const analysed = (of.source ?? of).jobId !== null;
    const source = of.source ?? of;
    return {
      submission_analysis_cache_ids: of.source?.jobId == null ? [] : [of.source.jobId],
      submission_analyzer_mode_analysis_caching: of.form.caching,
      submission_analyzer_mode_analyzer_mode: of.mode,
      submission_analyzer_mode_archive_action: of.form.settings.archive_action ?? "sample",
      submission_analyzer_mode_detonate_links_in_documents:
        of.form.settings.detonate_links_in_documents ?? "smart",
      submission_analyzer_mode_detonate_links_in_emails: of.form.settings.detonate_links_in_emails ?? "smart",
      submission_analyzer_mode_enable_reputation: flag(of, "enable_reputation", true),
      submission_analyzer_mode_enable_whois: flag(of, "enable_whois", false),
      submission_analyzer_mode_known_benign: flag(of, "known_benign", false),
      submission_analyzer_mode_known_malicious: flag(of, "known_malicious", false),
      submission_analyzer_mode_max_dynamic_analyses_per_sample:
        of.form.settings.max_dynamic_analyses_per_sample ?? "default",
      submission_analyzer_mode_max_recursive_samples: of.form.settings.max_recursive_samples ?? "10",
      submission_billing_type: analysed ? "analyzer" : "detector",
      submission_comment: of.form.comment,
      submission_consumed_quota: [of, ...of.children].reduce(
        (sum, each) => sum + each.reports + each.verdicts,
        0,
      ),
      submission_created: time(of.created),
      submission_deletion_date: null,
      submission_filename: of.filename,
      submission_finish_time: done ? time(of.finishesAt) : null,
      submission_finished: done,
      submission_has_errors: errors,
      submission_has_recursive_errors: done ? of.children.some((child) => hasErrors(child.judgement)) : null,
      submission_id: of.id,
      submission_interface_name: "-",
      submission_job_cache_ids: [],
      submission_number_cached_analyses: of.source === null ? 0 : 1,
      submission_number_created_jobs: (of.jobId === null ? 0 : 1) + (of.reputationJobId === null ? 0 : 1),
      submission_original_filename: of.originalFilename,
      submission_original_url: of.sample.url,
      submission_parent_submission_id: of.parent?.id ?? null,
      submission_priority: 1,
      submission_quota_type: analysed ? "report" : "verdict",
      submission_recursive: of.parent !== null,
      submission_reputation_lookup_cache_id: of.source?.reputationJobId ?? null,
      submission_retention_period: of.form.retentionDays,
      submission_sample_id: of.sample.id,
      submission_sample_md5: of.sample.md5,
      submission_sample_sha1: of.sample.sha1,
      submission_sample_sha256: of.sample.sha256,
      submission_sample_ssdeep: null,
      submission_sample_verdict: judged(of.sample) ? FACTS[of.sample.judgement.outcome].verdict : null,
      submission_sample_verdict_reason_code: null,
      submission_sample_verdict_reason_description: judged(of.sample) ? reasonOf(of.sample.judgement) : null,
      submission_score: facts.score,
      submission_severity: facts.severity,
      submission_shareable: of.form.shareable,
      submission_status: done ? (facts.hasErrors ? "error" : errors === true ? "warning" : "success") : stage,
      submission_submission_metadata: of.form.metadata,
      submission_submitter_email: null,
      submission_tags: of.form.tags,
      submission_triage_stage: done && source.mode === "reputation" ? "reputation" : null,
      submission_triaged: done ? false : null,
      submission_type: "api",
      submission_used_cache: of.source !== null,
      submission_user_email: USER,
      submission_user_id: 1,
      submission_verdict: facts.verdict,
      submission_verdict_reason_code: null,
      submission_verdict_reason_description: reason,
      submission_webif_url: sampleLink(of.sample),
    };
  }

  const jobFields = (of: Submission, prefix: "job" | "reputation_job", id: number): JsonObject => ({
    [`${prefix}_created`]: time(of.created),
    [`${prefix}_id`]: id,
    [`${prefix}_sample_id`]: of.sample.id,
    [`${prefix}_sample_md5`]: of.sample.md5,
    [`${prefix}_sample_sha1`]: of.sample.sha1,
    [`${prefix}_sample_sha256`]: of.sample.sha256,
    [`${prefix}_status`]: store.stage(of) === "queued" ? "queued" : "inwork",
    [`${prefix}_submission_id`]: of.id,
    [`${prefix}_submission_ids`]: [of.id],
  });

  /** The analysis job of a submission while it is queued or running. */
  function job(of: Submission): JsonObject | undefined {
    if (of.jobId === null || finished(of)) return undefined;
    const started = store.stage(of) !== "queued";
    return {
      ...jobFields(of, "job", of.jobId),
      job_configuration_name: "simulator",
      job_jobrule_sampletype: of.sample.type,
      job_statuschanged: time(started ? of.startsAt : of.created),
      job_tracking_state: started ? "//running/vm/executing" : "//waiting",
      job_type: isStatic(of) ? "only_static_analysis" : "full_analysis",
      job_vm_name: "simulator",
    };
  }

  const isStatic = (of: Submission): boolean => of.mode === "static" || of.mode === "reputation_static";

  /** The same for its reputation look-up. */
  function reputationJob(of: Submission): JsonObject | undefined {
    if (of.reputationJobId === null || finished(of)) return undefined;
    return jobFields(of, "reputation_job", of.reputationJobId);
  }

  /** The finished analysis that answers for a submission, its own or a cached one. */
  function analysis(of: Submission): JsonObject | undefined {
    const source = of.source ?? of;
    if (source.jobId === null || !finished(of)) return undefined;
    const facts = FACTS[of.judgement.outcome];
    const code = facts.hasErrors ? 7340034 : 1;
    return {
      analysis_analyzer_id: 1,
      analysis_analyzer_name: "vmray",
      analysis_analyzer_version: VERSIONS[platform],
      analysis_billing_type: "analyzer",
      analysis_configuration_name: "simulator",
      analysis_created: time(source.finishesAt),
      analysis_id: source.jobId,
      analysis_job_id: source.jobId,
      analysis_job_started: time(source.startsAt),
      analysis_job_type: isStatic(source) ? "only_static_analysis" : "full_analysis",
      analysis_jobrule_sampletype: of.sample.type,
      analysis_quota_type: "report",
      analysis_result_code: code,
      analysis_result_str: facts.hasErrors
        ? "The simulator lets the analysis of this content fail."
        : "Operation completed successfully.",
      analysis_sample_id: of.sample.id,
      analysis_sample_md5: of.sample.md5,
      analysis_sample_sha1: of.sample.sha1,
      analysis_sample_sha256: of.sample.sha256,
      analysis_serialized_result: { code, extra_args: {}, fmt_args: [] },
      analysis_severity: facts.severity,
      analysis_submission_id: source.id,
      analysis_submission_ids: [source.id, ...source.usedBy],
      analysis_tags: [],
      analysis_user_email: USER,
      analysis_verdict: facts.verdict,
      analysis_verdict_reason_code: null,
      analysis_verdict_reason_description: reasonOf(of.judgement),
      analysis_vm_name: "simulator",
      analysis_vti_score: facts.score,
      analysis_webif_url: facts.hasErrors ? null : sampleLink(of.sample),
    };
  }

  /** The finished reputation look-up that answers for a submission, its own or a cached one. */
  function reputationLookup(of: Submission): JsonObject | undefined {
    const source = of.source ?? of;
    if (source.reputationJobId === null || !finished(of)) return undefined;
    const facts = FACTS[of.judgement.outcome];
    return {
      reputation_lookup_context: {},
      reputation_lookup_created: time(source.finishesAt),
      reputation_lookup_id: source.reputationJobId,
      reputation_lookup_job_id: source.reputationJobId,
      reputation_lookup_result_code: facts.hasErrors ? 7340034 : 1,
      reputation_lookup_sample_id: of.sample.id,
      reputation_lookup_sample_md5: of.sample.md5,
      reputation_lookup_sample_sha1: of.sample.sha1,
      reputation_lookup_sample_sha256: of.sample.sha256,
      reputation_lookup_severity: facts.severity,
      reputation_lookup_submission_id: source.id,
      reputation_lookup_verdict: facts.verdict,
      reputation_lookup_verdict_reason_code: null,
      reputation_lookup_verdict_reason_description: reasonOf(of.judgement),
    };
  }

  const analysisIds = (of: Sample): readonly number[] =>
    of.submissions.flatMap((each) => (each.jobId !== null && finished(each) ? [each.jobId] : []));
  const status = (of: Sample): string => (evident(of) ? "finished" : "not_finished");
  const isBad = ({ outcome }: Judgement): boolean => outcome === "malicious" || outcome === "suspicious";
  const children = (of: Sample): readonly Submission[] => of.children.filter(finished);

  function threatNames(of: Sample): JsonObject {
    const named = (names: readonly string[]): readonly JsonObject[] =>
      names.map((name) => ({ threat_name: name, sources: ["av"] }));
    return {
      children_threat_names: named(
        evident(of) ? [...new Set(children(of).flatMap((child) => child.judgement.threatNames))] : [],
      ),
      sample_threat_names: named(evident(of) ? of.judgement.threatNames : []),
    };
  }

  function classifications(of: Sample): JsonObject {
    const named = (names: readonly string[]): readonly JsonObject[] =>
      names.map((name) => ({ classification_name: name, sources: ["vti"] }));
    return {
      children_classifications: named(
        evident(of)
          ? [...new Set(children(of).flatMap((child) => child.judgement.classifications ?? []))]
          : [],
      ),
      sample_classifications: named(evident(of) ? (of.judgement.classifications ?? []) : []),
    };
  }

  function indicators(of: Sample): readonly JsonObject[] {
    const judgement = of.judgement;
    if (!evident(of)) return [];
    if (judgement.vtis !== undefined) {
      return judgement.vtis.map((vti, index) => ({ analysis_ids: analysisIds(of), id: index + 1, ...vti }));
    }
    if (!isBad(judgement)) return [];
    return [
      {
        analysis_ids: analysisIds(of),
        category: "Antivirus",
        classifications: judgement.classifications ?? [],
        id: 1,
        operation: `Simulator: ${judgement.why}`,
        score: judgement.outcome === "malicious" ? 5 : 3,
      },
    ];
  }

  function mitreAttack(of: Sample): JsonObject {
    const techniques = evident(of) ? (of.judgement.mitre ?? []) : [];
    return {
      mitre_attack_techniques: techniques.map((each, index) => ({
        analysis_ids: analysisIds(of),
        id: index + 1,
        threat_indicators: [],
        ...each,
      })),
      status: status(of),
    };
  }

  /** With `verdict`, those of that verdict alone; all IOCs of a sample have its own. */
  function iocs(of: Sample, verdict?: string): JsonObject {
    const judgement = of.judgement;
    const facts = FACTS[judgement.outcome];
    const shown = evident(of) && (verdict === undefined || verdict === (facts.verdict ?? "not_available"));
    const artifact = {
      analysis_ids: analysisIds(of),
      ioc: true,
      numeric_severity: judgement.outcome === "malicious" ? 4 : judgement.outcome === "suspicious" ? 3 : 0,
      severity: facts.severity,
      verdict: facts.verdict,
      verdict_reason_code: null,
      verdict_reason_description: "",
      version: 3,
    };
    const list = (values: readonly string[], make: (value: string) => JsonObject): readonly JsonObject[] =>
      shown ? values.map((value, id) => ({ ...artifact, id, ...make(value) })) : [];
    const file = (hashes: JsonObject, name: string | null): JsonObject => ({
      categories: ["Sample File"],
      classifications: judgement.classifications ?? [],
      file_size: of.size,
      filename: name,
      filenames: name === null ? [] : [name],
      hashes: [{ imp_hash: null, md5_hash: null, sha1_hash: null, ssdeep_hash: null, ...hashes }],
      ioc_type: "file",
      threat_names: judgement.threatNames,
      type: "file_artifact",
    });
    const told = judgement.iocs;
    // Without a scenario the sample itself is the one IOC of a bad one.
    const self = told === undefined && isBad(judgement) && of.url === null ? [of.sha256] : [];
    const own = told === undefined && isBad(judgement) && of.url !== null ? [of.url] : [];
    return {
      iocs: {
        domains: list(told?.domains ?? [], (domain) => ({
          countries: [],
          domain,
          ioc_type: "domain",
          ip_addresses: [],
          original_domains: [domain],
          sources: [],
          type: "domain_artifact",
        })),
        email_addresses: list(told?.email_addresses ?? [], (address) => ({
          email_address: address,
          ioc_type: "email_address",
          type: "email_address_artifact",
        })),
        emails: [],
        filenames: list(told?.filenames ?? [], (filename) => ({
          filename,
          ioc_type: "filename",
          operations: [],
          type: "filename_artifact",
        })),
        files: [
          ...list(self, () =>
            file({ md5_hash: of.md5, sha1_hash: of.sha1, sha256_hash: of.sha256 }, of.filename),
          ),
          ...list(told?.files ?? [], (digest) => file({ sha256_hash: digest }, null)),
        ],
        ips: list(told?.ips ?? [], (address) => ({
          countries: [],
          domains: [],
          ioc_type: "ip",
          ip_address: address,
          protocols: [],
          type: "ip_artifact",
        })),
        mutexes: list(told?.mutexes ?? [], (name) => ({
          ioc_type: "mutex",
          mutex_name: name,
          operations: [],
          type: "mutex_artifact",
        })),
        processes: list(told?.processes ?? [], (command) => ({
          classifications: [],
          cmd_line: command,
          image_names: [],
          ioc_type: "process",
          type: "process_artifact",
        })),
        registry: list(told?.registry ?? [], (name) => ({
          ioc_type: "registry",
          operations: [],
          reg_key_name: name,
          type: "registry_artifact",
        })),
        urls: list([...own, ...(told?.urls ?? [])], (url) => ({
          categories: ["Contacted"],
          ioc_type: "url",
          ip_addresses: [],
          original_urls: [url],
          type: "url_artifact",
          url,
        })),
      },
      status: status(of),
    };
  }

  /** With the fields that the version of the platform has. */
  const shaped =
    <T>(make: (of: T) => JsonObject) =>
    (of: T): JsonObject =>
      fields(make(of));
  const maybe =
    <T>(make: (of: T) => JsonObject | undefined) =>
    (of: T): JsonObject | undefined => {
      const made = make(of);
      return made === undefined ? undefined : fields(made);
    };

  return {
    webif,
    platform,
    fields,
    submittedSample: shaped(submittedSample),
    sample: shaped(sample),
    submission: shaped(submission),
    job: maybe(job),
    reputationJob: maybe(reputationJob),
    analysis: maybe(analysis),
    reputationLookup: maybe(reputationLookup),
    threatNames,
    classifications,
    iocs: (of: Sample, verdict?: string): JsonObject => fields(iocs(of, verdict)),
    vtis: (of: Sample): JsonObject => ({ status: status(of), threat_indicators: indicators(of) }),
    mitreAttack,
  };
}

export type Objects = ReturnType<typeof createObjects>;
