/**
 * The paths of the API that are simulated, with what each answers.
 *
 * A route takes a checked call and gives the `data` of the envelope, or throws ApiError. Each belongs to an
 * endpoint, by which faults are limited, and to the oldest platform that had it.
 */
import { ApiError, noSuchElement } from "./api-error.ts";
import { contentFacts } from "./content-facts.ts";
import { judge } from "./judgement.ts";
import {
  createLists,
  ITEMS_PER_REQUEST,
  integerParameter,
  MAX_ITEMS,
  type Page,
  refuseUnknown,
} from "./lists.ts";
import type { JsonObject, Objects } from "./objects.ts";
import { isAtLeast, type Platform, VERSIONS } from "./platform.ts";
import { searchSamples } from "./sample-search.ts";
import type { Endpoint } from "./scenario.ts";
import type { Quota, Rows, Sample, Store, Submission } from "./store.ts";
import { MAX_SAMPLE_SIZE, readSubmitForm, type SubmitForm } from "./submit-form.ts";
import { type ZipBudget, zipMembers } from "./zip.ts";

/** What a call did, for the log of calls. */
export type CallNotes = { content?: string; submissions?: readonly number[] };

export type Call = {
  readonly request: Request;
  readonly query: URLSearchParams;
  /** What stands in the place of the braces of the route's path; empty where it has none. */
  readonly parameter: string;
  readonly objects: Objects;
  readonly notes: CallNotes;
};
type Answer = { readonly data: JsonObject | readonly JsonObject[] } & Omit<Page, "data">;
export type Route = {
  readonly method: "GET" | "POST";
  readonly path: string;
  readonly endpoint: Endpoint;
  readonly since: Platform;
  readonly answer: (call: Call) => Answer | Promise<Answer>;
};

const NOT_STORED = "Submission not stored because no jobs were created";
const LICENSED = 1_000_000;
const SEPARATE_BUDGET: Readonly<ZipBudget> = { members: 100, bytes: 64 * 1024 ** 2 };

function numeric(text: string): number {
  if (!/^\d{1,15}$/.test(text)) throw noSuchElement();
  return Number(text);
}

function found<T>(value: T | undefined): T {
  if (value === undefined) throw noSuchElement();
  return value;
}

const one = <T>(value: T | undefined): readonly T[] => (value === undefined ? [] : [value]);
const nameOf = ({ content }: SubmitForm): string =>
  content.kind === "file" ? content.filename : content.text;
const submissionError = (submission_filename: string, error_msg: string): JsonObject => ({
  error_msg,
  submission_filename,
});

function systemInfo(webif: string, platform: Platform): JsonObject {
  const version = VERSIONS[platform];
  const [major = 0, minor = 0, revision = 0] = version.split(".").map(Number);
  return {
    api_items_per_request: ITEMS_PER_REQUEST,
    file_param_http_scheme_enabled: false,
    max_api_items: MAX_ITEMS,
    version,
    version_major: major,
    version_minor: minor,
    version_revision: revision,
    webif_alias: "simulator",
    webif_base_url: webif,
    webif_max_sample_size: MAX_SAMPLE_SIZE,
    webif_max_upload_size: MAX_SAMPLE_SIZE,
  };
}

/** A licence; without a quota in the scenario one of a million that goes down with use and is never used up. */
function billingInfo({ reports, verdicts, rule }: Quota): JsonObject {
  const reportQuota = rule.reports ?? LICENSED;
  const verdictQuota = rule.verdicts ?? LICENSED;
  const left = (quota: number, used: number): number => Math.max(0, quota - used);
  return {
    billing_period: "always",
    detector_quota: verdictQuota,
    detector_remaining: left(verdictQuota, verdicts),
    end_date: null,
    product_plan_name: "Simulator",
    quota: reportQuota,
    remaining: left(reportQuota, reports),
    report_quota: reportQuota,
    report_remaining: left(reportQuota, reports),
    user_email: rule.user,
    verdict_quota: verdictQuota,
    verdict_remaining: left(verdictQuota, verdicts),
  };
}

/** `FROM~TO` of naive ISO times as milliseconds; undefined where it is no such range. */
function timeRange(text: string | null): readonly [number, number] | undefined {
  const [from, to, more] = (text ?? "").split("~");
  if (text === null || from === undefined || to === undefined || more !== undefined) return undefined;
  const start = from === "" ? 0 : Date.parse(`${from}Z`);
  // Times are told in whole seconds: the last one counts to its end.
  const end = to === "" ? Number.MAX_SAFE_INTEGER : Date.parse(`${to}Z`) + 999;
  return Number.isNaN(start) || Number.isNaN(end) ? undefined : [start, end];
}

/** What an archive is taken apart into under `separate_samples`: the form itself where it is none. */
function separated(form: SubmitForm): {
  readonly forms: readonly SubmitForm[];
  readonly errors: readonly JsonObject[];
} {
  const { content } = form;
  if (form.settings.get("archive_action") !== "separate_samples" || content.kind !== "file")
    return { forms: [form], errors: [] };
  const forms: SubmitForm[] = [];
  const errors: JsonObject[] = [];
  for (const member of zipMembers(
    content.bytes,
    { ...SEPARATE_BUDGET },
    form.settings.get("archive_password"),
  )) {
    if (member.name.endsWith("/")) continue;
    if (member.state !== "read")
      errors.push(submissionError(member.name, "Archive member could not be extracted"));
    else if (member.bytes.length > 0) {
      forms.push({ ...form, content: { kind: "file", bytes: member.bytes, filename: member.name } });
    }
  }
  return forms.length + errors.length === 0 ? { forms: [form], errors } : { forms, errors };
}

/** All paths. `refusal` gives the text that refuses the next submission, where one is to be refused. */
export function createRoutes(
  store: Store,
  platform: Platform,
  refusal: () => string | undefined,
): readonly Route[] {
  const lists = createLists();
  const sampleOf = (call: Call): Sample => found(store.sample(numeric(call.parameter)));
  const submissionOf = (call: Call): Submission => found(store.submission(numeric(call.parameter)));
  const submissionOfJob = (job: string): Submission => found(store.submissionOfJob(numeric(job)));
  const idOf = (item: Submission | Sample): number => item.id;
  /** An analysis is listed once, with the submission that it was made for. */
  const ownAnalysis =
    (objects: Objects) =>
    (of: Submission): JsonObject | undefined =>
      of.source === null ? objects.analysis(of) : undefined;

  const get = (
    endpoint: Endpoint,
    path: string,
    answer: Route["answer"],
    own: readonly string[] = [],
    since: Platform = "2.1",
  ): Route => ({
    method: "GET",
    path,
    endpoint,
    since,
    answer: (call) => {
      refuseUnknown(call.query, own);
      return answer(call);
    },
  });
  const list = (endpoint: Endpoint, path: string, answer: Route["answer"]): Route => ({
    method: "GET",
    path,
    endpoint,
    since: "2.1",
    answer,
  });
  const byHash = (kind: string, length: number): Route => {
    const form = new RegExp(`^[0-9A-Fa-f]{${length}}$`);
    return get("lookup", `/rest/sample/${kind}/{${kind}}`, ({ parameter, objects }) => {
      if (!form.test(parameter)) throw new ApiError(400, `${kind}: must be ${length} hexadecimal digits`);
      return { data: store.samplesByHash(parameter.toLowerCase()).map(objects.sample) };
    });
  };
  const evidence = (
    name: string,
    make: (objects: Objects, sample: Sample, call: Call) => JsonObject,
    own: readonly string[] = [],
    since: Platform = "2.1",
  ): Route =>
    get(
      "evidence",
      `/rest/sample/{id}/${name}`,
      (call) => ({ data: make(call.objects, sampleOf(call), call) }),
      own,
      since,
    );

  async function submit({ request, query, objects, notes }: Call): Promise<Answer> {
    const form = await readSubmitForm(request, query, store.scenario().unknown_fields === "ignore");
    notes.content = form.content.kind === "file" ? contentFacts(form.content).sha256 : form.content.text;
    const refused = refusal();
    const apart =
      refused === undefined
        ? separated(form)
        : { forms: [], errors: [submissionError(nameOf(form), refused)] };
    const errors: JsonObject[] = [...apart.errors];
    const samples: JsonObject[] = [];
    const submissions: Submission[] = [];
    for (const each of apart.forms) {
      const password = each.settings.get("archive_password");
      const { kind } = each.content;
      const base =
        store.baseOf(kind, contentFacts(each.content).sha256, password) ??
        (await judge(each.content, password));
      const stored = store.submit(each, base);
      if (stored.state === "refused") {
        errors.push(...stored.errors.map((text) => submissionError(nameOf(each), text)));
      } else if (stored.state === "known") {
        errors.push(submissionError(nameOf(each), NOT_STORED));
        samples.push(objects.submittedSample(stored.sample));
      } else {
        errors.push(...stored.errors.map((text) => submissionError(nameOf(each), text)));
        samples.push(objects.submittedSample(stored.submission.sample));
        submissions.push(stored.submission);
      }
    }
    notes.submissions = submissions.map(({ id }) => id);
    return {
      data: objects.fields({
        errors,
        jobs: submissions.flatMap((of) => one(objects.job(of))),
        md_jobs: [],
        reputation_jobs: submissions.flatMap((of) => one(objects.reputationJob(of))),
        samples,
        static_jobs: [],
        submissions: submissions.map(objects.submission),
        vt_jobs: [],
        whois_jobs: [],
      }),
    };
  }

  /** The submissions among which a list has to look, found by the filters that have an index. */
  function submissionsFor(query: URLSearchParams): Rows<Submission> {
    const last = platform === "2.1" ? undefined : integerParameter(query, "_last_id");
    if (last !== undefined) return store.finishedAfter(last);
    const exactly = (name: string): number | undefined => {
      const value = query.get(name);
      return value !== null && /^\d{1,15}$/.test(value) ? Number(value) : undefined;
    };
    const parent = exactly("submission_parent_submission_id");
    if (parent !== undefined) return store.submission(parent)?.children ?? [];
    const sample = exactly("submission_sample_id");
    if (sample !== undefined) return store.sample(sample)?.submissions ?? [];
    const id = exactly("submission_id");
    if (id !== undefined) return one(store.submission(id));
    const range = timeRange(query.get("submission_finish_time"));
    return range === undefined ? store.submissions() : store.finishedBetween(...range);
  }

  function analysesFor(query: URLSearchParams): Rows<Submission> {
    const last = platform === "2.1" ? undefined : integerParameter(query, "_last_id");
    if (last !== undefined) return store.finishedAfter(store.submissionOfJob(last)?.id ?? 0);
    const submission = query.get("analysis_submission_id");
    if (submission !== null && /^\d{1,15}$/.test(submission)) {
      const of = store.submission(Number(submission));
      return one(of?.source ?? of);
    }
    const sample = query.get("analysis_sample_id");
    if (sample !== null && /^\d{1,15}$/.test(sample)) return store.sample(Number(sample))?.submissions ?? [];
    return store.submissions();
  }

  /** 2.1 has no `_last_id`. */
  const withoutLastId = (query: URLSearchParams): URLSearchParams => {
    if (platform === "2.1" && query.has("_last_id")) throw new ApiError(400, 'Unknown parameter "_last_id".');
    return query;
  };

  const routes: readonly Route[] = [
    { method: "POST", path: "/rest/sample/submit", endpoint: "submit", since: "2.1", answer: submit },
    get(
      "lookup",
      "/rest/sample/search",
      ({ query, objects }) => {
        const text = query.get("query");
        if (text === null) throw new ApiError(400, "query: is required");
        const limits = new URLSearchParams([...query].filter(([name]) => name !== "query"));
        return lists.page(searchSamples(text, store), objects.sample, "sample_", limits, idOf);
      },
      ["query", "_limit", "_order", "_min_id", "_max_id", "_fields"],
      "4.2",
    ),
    byHash("sha256", 64),
    byHash("sha1", 40),
    byHash("md5", 32),
    list("sample", "/rest/sample", ({ objects, query }) =>
      lists.page(store.samples(), objects.sample, "sample_", query, idOf),
    ),
    get("sample", "/rest/sample/{id}", (call) => ({ data: call.objects.sample(sampleOf(call)) })),
    evidence("threat_names", (objects, of) => objects.threatNames(of), [], "2026.2"),
    evidence("classifications", (objects, of) => objects.classifications(of), [], "2026.2"),
    evidence("vtis", (objects, of) => objects.vtis(of), [], "4.2"),
    evidence("threat_indicators", (objects, of) => objects.vtis(of)),
    evidence("iocs", (objects, of, { query }) => objects.iocs(of, query.get("ioc_verdict") ?? undefined), [
      "all_artifacts",
      "ioc_verdict",
    ]),
    evidence("mitre_attack", (objects, of) => objects.mitreAttack(of), [], "4.2"),
    ...(["malicious", "suspicious", "clean", "not_available"] as const).map((verdict) =>
      evidence(
        `iocs/verdict/${verdict}`,
        (objects, of) => objects.iocs(of, verdict),
        ["all_artifacts"],
        "4.2",
      ),
    ),
    list("submission", "/rest/submission", ({ objects, query }) =>
      lists.page(submissionsFor(query), objects.submission, "submission_", withoutLastId(query), idOf),
    ),
    get("submission", "/rest/submission/{id}", (call) => ({
      data: call.objects.submission(submissionOf(call)),
    })),
    list("submission", "/rest/submission/sample/{id}", (call) =>
      lists.page(sampleOf(call).submissions, call.objects.submission, "submission_", call.query, idOf),
    ),
    get("job", "/rest/job/submission/{id}", (call) => ({ data: one(call.objects.job(submissionOf(call))) })),
    get("job", "/rest/job/sample/{id}", (call) => ({
      data: sampleOf(call).submissions.flatMap((of) => one(call.objects.job(of))),
    })),
    get("job", "/rest/job/{id}", ({ parameter, objects }) => {
      return { data: found(objects.job(submissionOfJob(parameter))) };
    }),
    list("analysis", "/rest/analysis", ({ objects, query }) =>
      lists.page(analysesFor(query), ownAnalysis(objects), "analysis_", withoutLastId(query)),
    ),
    list("analysis", "/rest/analysis/submission/{id}", (call) =>
      lists.page([submissionOf(call)], call.objects.analysis, "analysis_", call.query),
    ),
    list("analysis", "/rest/analysis/sample/{id}", (call) =>
      lists.page(sampleOf(call).submissions, ownAnalysis(call.objects), "analysis_", call.query),
    ),
    get("analysis", "/rest/analysis/{id}", ({ parameter, objects }) => {
      return { data: found(objects.analysis(submissionOfJob(parameter))) };
    }),
    list("reputation", "/rest/reputation_lookup/submission/{id}", (call) =>
      lists.page([submissionOf(call)], call.objects.reputationLookup, "reputation_lookup_", call.query),
    ),
    get("system_info", "/rest/system_info", ({ objects }) => ({ data: systemInfo(objects.webif, platform) })),
    get(
      "quota",
      "/rest/api_key/quota",
      () => {
        const { reports, verdicts, rule } = store.quota();
        return { data: { quota_limit: rule.key_limit, used_quota: reports + verdicts } };
      },
      [],
      "4.2",
    ),
    get("quota", "/rest/billing_info", () => ({ data: billingInfo(store.quota()) }), [], "4.2"),
    get("continuation", "/rest/continuation/{id}", ({ parameter }) => lists.next(numeric(parameter))),
  ];
  return routes.filter((route) => isAtLeast(platform, route.since));
}

type Match = { readonly route: Route; readonly parameter: string };

/** Finds the route of a method and a path; `{...}` in a route takes one segment, and words come before it. */
export function createRouter(routes: readonly Route[]): (method: string, path: string) => Match | undefined {
  const exact = new Map<string, Route>();
  const table = new Map<
    number,
    { readonly route: Route; readonly segments: readonly string[]; readonly at: number }[]
  >();
  for (const route of routes) {
    const segments = route.path.split("/");
    const at = segments.findIndex((segment) => segment.startsWith("{"));
    if (at < 0) exact.set(`${route.method} ${route.path}`, route);
    else table.set(segments.length, [...(table.get(segments.length) ?? []), { route, segments, at }]);
  }
  return (method, path) => {
    const word = exact.get(`${method} ${path}`);
    if (word !== undefined) return { route: word, parameter: "" };
    const given = path.split("/");
    const match = table
      .get(given.length)
      ?.find(
        ({ route, segments, at }) =>
          route.method === method &&
          given[at] !== "" &&
          segments.every((segment, index) => index === at || segment === given[index]),
      );
    return match === undefined ? undefined : { route: match.route, parameter: given[match.at] ?? "" };
  };
}
