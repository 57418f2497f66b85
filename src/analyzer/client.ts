/**
 * The VMRay REST API (2017 to 2026.2), as far as the sensor uses it.
 *
 * Takes ids, hashes, a file on disk or a URL; gives checked answers. Every fault is a VmrayError: VMRAY_AUTH (401,
 * 403), VMRAY_THROTTLED (429), VMRAY_UNREACHABLE (network, time-out, 5xx), VMRAY_ANSWER (not the API, not its shapes,
 * or a question it will not answer). A submission that VMRay will not take, for good, is an answer with `errors`.
 * Redirects are not followed and answers are bounded.
 * A GET is sent once more where its connection broke; a POST never is, since VMRay may have taken the first one.
 */
import { z } from "zod";
import type { Config } from "../config/schema.ts";
import { SensorError } from "../errors.ts";
import { boundedText, retryAfter } from "../http.ts";
import type { SubmitAction, SubmitParameters } from "../triage/plan.ts";
import { VERSION } from "../version.ts";
import * as shapes from "./api-shapes.ts";
import { type Connection, type ConnectionSettings, createConnection } from "./connection.ts";
import { type FormField, type FormFile, multipartBody } from "./multipart.ts";
import { type SubmitDefaults, seconds, submitFields } from "./submit-fields.ts";
import { isPage, oneLine, publicReason, saidByPage, VmrayError } from "./vmray-error.ts";

export type VmrayConnection = SubmitDefaults &
  ConnectionSettings &
  Pick<Config["vmray"], "request_timeout" | "upload_timeout">;

/** The same for files and URLs. */
export type HowSubmitted = {
  readonly action: SubmitAction;
  readonly parameters?: SubmitParameters | undefined;
  /** Analyse anew what VMRay knows. */
  readonly again?: boolean | undefined;
  /** Comes back in `submission_submission_metadata`. */
  readonly correlation: string;
};

export type FileSubmission = HowSubmitted & {
  /** The content on disk; it is streamed, never held in memory. */
  readonly path: string;
  /** Bytes; the file must have exactly as many. */
  readonly size: number;
  /** The name the mail gives it, hostile text; null where there is none. */
  readonly filename: string | null;
  /** What opens it, where something is needed and known. */
  readonly password?: { readonly of: "archive" | "document"; readonly value: string } | undefined;
};

/** `tooLarge`: it was refused for its size, by VMRay or by a proxy before it. */
export type SubmitReply = shapes.SubmitAnswer & { readonly tooLarge?: boolean };

export type UrlSubmission = HowSubmitted & { readonly url: string };

export type FinishedFeed = {
  /** Of every user the key may see, children included; finished ones alone, in order of completion. */
  readonly submissions: readonly shapes.Submission[];
  /** What to give the next time; null while there is nothing to go on from. */
  readonly cursor: number | null;
};

/** What VMRay makes when the verdict is there already; `finished` is false while it may find more. */
export type Listed<T> = { readonly finished: boolean; readonly items: T };

/** One allowance and what was used of it; null where VMRay does not say, a limit of 0 where there is none. */
export type Allowance = { readonly limit: number | null; readonly used: number | null };

export type Quota = {
  /** Of the API key. */
  readonly key: Allowance;
  /** Of the licence: analyses with a report, and with a verdict alone. */
  readonly report: Allowance;
  readonly verdict: Allowance;
  /** When the licence's allowances begin anew: `always`, `daily`, `monthly`, `annual`, `never`; null if unknown. */
  readonly period: string | null;
};

/** Every call may be ended by `signal`; it then throws the reason of the signal. */
export type VmrayClient = {
  /** Samples with this SHA-256 the key may see; [] where there is none. */
  samplesBySha256(sha256: string, signal?: AbortSignal): Promise<readonly shapes.Sample[]>;
  /** Null where VMRay has no such sample. */
  sample(id: number, signal?: AbortSignal): Promise<shapes.Sample | null>;
  /** Null where VMRay has no such submission. */
  submission(id: number, signal?: AbortSignal): Promise<shapes.Submission | null>;
  /** In no particular order, at most a few thousand. */
  submissionsOfSample(sampleId: number, signal?: AbortSignal): Promise<readonly shapes.Submission[]>;
  /** The newest 100 of every user the key may see, in one call: of a submission whose sample nobody knows. */
  newestSubmissions(signal?: AbortSignal): Promise<readonly shapes.Submission[]>;
  /** What VMRay says of analyses of the submission that failed, none twice; [] where none did or it cannot say. */
  analysisFaults(submissionId: number, signal?: AbortSignal): Promise<readonly string[]>;
  /** Status of each job of the submission (`pending`, `queued`, `inwork`, `uploading`); [] once all are done. */
  jobStatuses(submissionId: number, signal?: AbortSignal): Promise<readonly string[]>;
  /** Those that VMRay made of what it found in this one, 1000 at most; [] where this version cannot say. */
  submissionChildren(id: number, signal?: AbortSignal): Promise<readonly shapes.Submission[]>;
  /**
   * Submissions that finished after the one with id `lastId`, `limit` (1 to 1000) at most, in one call. With null
   * the newest, to begin with. Before 4.0.1 there is no such feed: submissions come by id there, and one that is
   * not finished hides those behind it, for which only `submission` helps.
   */
  finishedAfter(lastId: number | null, limit: number, signal?: AbortSignal): Promise<FinishedFeed>;
  /** Null where VMRay tells nothing (an old version, a key that may not ask). */
  quota(signal?: AbortSignal): Promise<Quota | null>;
  submitFile(file: FileSubmission, signal?: AbortSignal): Promise<SubmitReply>;
  /** With the action `reputation` VMRay does not open it. */
  submitUrl(url: UrlSubmission, signal?: AbortSignal): Promise<shapes.SubmitAnswer>;
  /** Names of the sample and then of what was found in it; null where this version has no such list. */
  threatNames(sampleId: number, signal?: AbortSignal): Promise<readonly string[] | null>;
  /** The same for classifications. */
  classifications(sampleId: number, signal?: AbortSignal): Promise<readonly string[] | null>;
  /** VTIs, the techniques of MITRE ATT&CK and IOCs. Null where this version has no such list or the key may not see it. */
  indicators(
    sampleId: number,
    signal?: AbortSignal,
  ): Promise<Listed<z.output<typeof shapes.indicators>["items"]> | null>;
  techniques(
    sampleId: number,
    signal?: AbortSignal,
  ): Promise<Listed<z.output<typeof shapes.techniques>["items"]> | null>;
  iocs(sampleId: number, signal?: AbortSignal): Promise<Listed<shapes.FoundIocs | null> | null>;
  /** [] where this version has no such list or the key may not see it. */
  reputationLookups(submissionId: number, signal?: AbortSignal): Promise<readonly shapes.ReputationLookup[]>;
  systemInfo(signal?: AbortSignal): Promise<shapes.SystemInfo>;
};

const MAX_ANSWER = 8 * 1024 ** 2;
const MAX_PAGES = 20;
/** Of one list. */
const MAX_RESTARTS = 1;
const MAX_RETRY_AFTER = 600_000;
const MAX_FILENAME_BYTES = 200;
const METADATA_KEY = "email_sensor";
const ACTION_KEY = "email_sensor_action";
/** `max_api_items` of a real system. */
const MAX_FEED = 1000;
const TOO_LARGE = 413;
const NEWEST = 100;
const MAX_CHILDREN = 1000;
/** What servers give in one page. */
const CHILDREN_PAGE = 100;
const MAX_PERIOD = 50;
/** Of where a redirect leads, in a message. */
const MAX_LOCATION = 120;
/** What says that a version has no such call, or that the key may not make it. */
const ABSENT: ReadonlySet<number> = new Set([400, 403, 404, 405]);

/**
 * A client for one VMRay server. Throws SensorError CONFIG_INVALID where the URL, a file of the connection or the key
 * cannot be used; makes no call yet.
 */
export function createVmrayClient(
  connection: VmrayConnection,
  apiKey: string,
  clock: { readonly now: () => number } = { now: Date.now },
): VmrayClient {
  if (!/^[\x21-\x7e]{1,512}$/.test(apiKey)) {
    throw new SensorError("CONFIG_INVALID", "the VMRay API key is empty or holds spaces or line breaks");
  }
  const headers = {
    Authorization: `api_key ${apiKey}`,
    "User-Agent": `email-sensor/${VERSION}`,
    Accept: "application/json",
    // An answer that unpacks to more than it is could not be bounded chunk by chunk.
    "Accept-Encoding": "identity",
  };
  const { base, fetch, explain } = createConnection(connection);
  const reading: Reading = { now: clock.now, secret: apiKey };

  async function exchange(path: string, init: BunFetchRequestInit, call: Call): Promise<Reply> {
    const ending = new AbortController();
    const timer = setTimeout(() => ending.abort(new TimedOut(call.timeout)), call.timeout);
    const onAbort = () => ending.abort(call.signal?.reason);
    if (call.signal?.aborted) onAbort();
    call.signal?.addEventListener("abort", onAbort, { once: true });
    try {
      const response = await fetch(`${base}${path}`, {
        ...init,
        headers: { ...headers, ...init.headers },
        redirect: "manual",
        decompress: false,
        timeout: false,
        signal: ending.signal,
      });
      return { status: response.status, headers: response.headers, text: await textOf(response) };
    } catch (thrown) {
      throw networkFault(thrown, call, explain);
    } finally {
      clearTimeout(timer);
      call.signal?.removeEventListener("abort", onAbort);
    }
  }

  async function get(path: string, signal?: AbortSignal): Promise<Answer | null> {
    const call: Call = { timeout: connection.request_timeout, signal };
    let reply: Reply;
    try {
      reply = await exchange(path, { method: "GET" }, call);
    } catch (thrown) {
      if (!isBrokenConnection(thrown)) throw thrown;
      reply = await exchange(path, { method: "GET" }, call);
    }
    return readAnswer(reply, reading, "question");
  }

  async function getOne<T extends z.ZodType>(
    path: string,
    shape: T,
    signal?: AbortSignal,
  ): Promise<z.output<T> | null> {
    const answer = await get(path, signal);
    return answer === null ? null : checked(answer.data, shape);
  }

  async function getList<T extends z.ZodType>(
    path: string,
    shape: T,
    signal?: AbortSignal,
  ): Promise<z.output<T>[]> {
    const items: z.output<T>[] = [];
    let restarts = 0;
    let next: string | null = path;
    for (let page = 0; next !== null && page < MAX_PAGES; page++) {
      const answer: Answer | null = await get(next, signal);
      if (answer === null && next === path) return [];
      if (answer === null) {
        // The id of a page is good for one call. The list is read from its beginning, lest half of it count as all.
        if (restarts === MAX_RESTARTS) throw new VmrayError("VMRAY_ANSWER", "VMRay lost a page of a list");
        restarts += 1;
        items.length = 0;
        page = -1;
        next = path;
        continue;
      }
      const data: readonly unknown[] = Array.isArray(answer.data) ? answer.data : [answer.data];
      const told = data.filter((item) => item !== null);
      items.push(...checked(told, z.array(shape)));
      next = answer.continuation === null ? null : `/rest/continuation/${answer.continuation}`;
    }
    return items;
  }

  async function submit(
    content: readonly FormField[],
    file: FormFile | null,
    how: HowSubmitted,
    signal: AbortSignal | undefined,
  ): Promise<SubmitReply> {
    const body = multipartBody(
      [
        ...content,
        ...submitFields({ ...how, kind: file === null ? "url" : "file" }, connection),
        {
          name: "submission_metadata",
          value: JSON.stringify({ [METADATA_KEY]: how.correlation, [ACTION_KEY]: how.action }),
        },
      ],
      file,
    );
    const reply = await exchange(
      "/rest/sample/submit",
      {
        method: "POST",
        headers: { "Content-Type": body.contentType, "Content-Length": String(body.length) },
        body: body.stream(),
      },
      { timeout: file === null ? connection.request_timeout : connection.upload_timeout, signal },
    );
    return readSubmitAnswer(reply, reading);
  }

  async function systemInfo(signal?: AbortSignal): Promise<shapes.SystemInfo> {
    const info = await getOne("/rest/system_info", shapes.systemInfo, signal);
    if (info === null)
      throw new VmrayError("VMRAY_ANSWER", "VMRay has no system information", { status: 404 });
    return info;
  }

  let feed: boolean | null = null;
  async function hasFeed(signal?: AbortSignal): Promise<boolean> {
    feed ??= feedOfVersion((await optional(systemInfo(signal)))?.version);
    return feed;
  }

  return {
    async samplesBySha256(sha256, signal) {
      const samples = await getList(`/rest/sample/sha256/${hash(sha256)}`, shapes.sample, signal);
      // A server that ignores the hash must not lend this content the verdict of another.
      return samples.filter(
        (each) => each.sample_sha256hash == null || each.sample_sha256hash.toLowerCase() === hash(sha256),
      );
    },
    async sample(id, signal) {
      const sample = await getOne(`/rest/sample/${whole(id)}`, shapes.sample, signal);
      return aboutThis(sample, id, sample?.sample_id);
    },
    async submission(id, signal) {
      const submission = await getOne(`/rest/submission/${whole(id)}`, shapes.submission, signal);
      return aboutThis(submission, id, submission?.submission_id);
    },
    submissionsOfSample: (sampleId, signal) =>
      getList(`/rest/submission/sample/${whole(sampleId)}`, shapes.submission, signal),
    newestSubmissions: async (signal) =>
      (await getOne(`/rest/submission?_order=desc&_limit=${NEWEST}`, z.array(shapes.submission), signal)) ??
      [],
    async analysisFaults(submissionId, signal) {
      const path = `/rest/analysis/submission/${whole(submissionId)}`;
      const analyses = (await optional(getList(path, shapes.analysis, signal))) ?? [];
      const failed = analyses.filter((each) => (each.analysis_result_code ?? 1) !== 1);
      return [...new Set(failed.map((each) => publicReason(each.analysis_result_str ?? "", apiKey)))].filter(
        (text) => text !== "",
      );
    },
    async jobStatuses(submissionId, signal) {
      const jobs = await getList(`/rest/job/submission/${whole(submissionId)}`, shapes.job, signal);
      return jobs.map((each) => each.job_status);
    },
    async submissionChildren(id, signal) {
      const path = `/rest/submission?_order=asc&_limit=${CHILDREN_PAGE}&submission_parent_submission_id=${whole(id)}`;
      const children = new Map<number, shapes.Submission>();
      for (let from = ""; ; ) {
        const page = (await optional(getOne(`${path}${from}`, z.array(shapes.submission), signal))) ?? [];
        // A version that does not know the filter gives every submission.
        const found = page.filter((each) => each.submission_parent_submission_id === id);
        const before = children.size;
        for (const child of found) children.set(child.submission_id, child);
        const last = Math.max(...children.keys());
        const more = found.length >= CHILDREN_PAGE && children.size > before && children.size < MAX_CHILDREN;
        if (!more) return [...children.values()];
        from = `&_min_id=${whole(last + 1)}`;
      }
    },
    async finishedAfter(lastId, limit, signal) {
      const count = `_limit=${whole(Math.min(Math.max(limit, 1), MAX_FEED))}`;
      const page = async (query: string): Promise<readonly shapes.Submission[]> => {
        const answer = await get(`/rest/submission?${query}`, signal);
        return answer === null ? [] : checked(answer.data, z.array(shapes.submission));
      };
      if (lastId === null) {
        const newest = await page(`_order=desc&${count}`);
        const finished = newest.filter((each) => each.submission_finished === true).toReversed();
        return { submissions: finished, cursor: finished.at(-1)?.submission_id ?? null };
      }
      if (await hasFeed(signal)) {
        const next = await page(`_order=asc&${count}&_last_id=${whole(lastId)}`);
        const submissions = next.filter((each) => each.submission_finished === true);
        return { submissions, cursor: next.at(-1)?.submission_id ?? lastId };
      }
      const byId = await page(`_order=asc&${count}&_min_id=${whole(lastId + 1)}`);
      const open = byId.findIndex((each) => each.submission_finished !== true);
      const submissions = open < 0 ? byId : byId.slice(0, open);
      return { submissions, cursor: submissions.at(-1)?.submission_id ?? lastId };
    },
    async quota(signal) {
      const key = await optional(getOne("/rest/api_key/quota", shapes.keyQuota, signal));
      const licence = await optional(getOne("/rest/billing_info", shapes.billingInfo, signal));
      return key === null && licence === null ? null : quotaOf(key, licence);
    },
    submitFile(file, signal) {
      const name = Buffer.from(submittedFilename(file.filename)).toString("base64");
      const { password } = file;
      const opening =
        password === undefined ? [] : [{ name: `${password.of}_password`, value: password.value }];
      return submit(
        [{ name: "sample_filename_b64enc", value: name }, ...opening],
        { name: "sample_file", path: file.path, size: file.size },
        file,
        signal,
      );
    },
    submitUrl: (url, signal) => submit([{ name: "sample_url", value: url.url }], null, url, signal),
    threatNames: (sampleId, signal) =>
      optional(getOne(`/rest/sample/${whole(sampleId)}/threat_names`, shapes.threatNames, signal)),
    classifications: (sampleId, signal) =>
      optional(getOne(`/rest/sample/${whole(sampleId)}/classifications`, shapes.classifications, signal)),
    async indicators(sampleId, signal) {
      const list = (name: string) =>
        optional(getOne(`/rest/sample/${whole(sampleId)}/${name}`, shapes.indicators, signal));
      return (await list("vtis")) ?? (await list("threat_indicators"));
    },
    techniques: (sampleId, signal) =>
      optional(getOne(`/rest/sample/${whole(sampleId)}/mitre_attack`, shapes.techniques, signal)),
    iocs: (sampleId, signal) => optional(getOne(`/rest/sample/${whole(sampleId)}/iocs`, shapes.iocs, signal)),
    async reputationLookups(submissionId, signal) {
      const path = `/rest/reputation_lookup/submission/${whole(submissionId)}`;
      return (await optional(getList(path, shapes.reputationLookup, signal))) ?? [];
    },
    systemInfo,
  };
}

/** What was asked for. Throws where something in between, a cache for example, gave the answer of another call. */
function aboutThis<T>(answer: T | null, wanted: number, given: number | undefined): T | null {
  if (answer === null || given === wanted) return answer;
  throw new VmrayError("VMRAY_ANSWER", `VMRay was asked for number ${wanted} and answered with ${given}`);
}

/** Null where this version has no such call or this key may not make it. */
async function optional<T>(call: Promise<T | null>): Promise<T | null> {
  try {
    return await call;
  } catch (thrown) {
    if (thrown instanceof VmrayError && thrown.status !== null && ABSENT.has(thrown.status)) return null;
    throw thrown;
  }
}

/** The feed by `_last_id` came with 4.0.1. A version nobody tells (old ones tell it to administrators) has it. */
function feedOfVersion(version: string | null | undefined): boolean {
  const [major, minor, revision] =
    /^(\d{1,6})\.(\d{1,6})(?:\.(\d{1,6}))?/.exec(version ?? "")?.slice(1) ?? [];
  if (major === undefined) return true;
  return Number(major) > 4 || (Number(major) === 4 && (Number(minor) > 0 || Number(revision ?? 0) >= 1));
}

type KeyQuota = z.output<typeof shapes.keyQuota>;
type BillingInfo = z.output<typeof shapes.billingInfo>;

function quotaOf(key: KeyQuota | null, licence: BillingInfo | null): Quota {
  const spent = (limit: number | null | undefined, remaining: number | null | undefined): Allowance => ({
    limit: limit ?? null,
    used: limit == null || remaining == null ? null : Math.max(0, limit - remaining),
  });
  return {
    key: { limit: key?.quota_limit ?? null, used: key?.used_quota ?? null },
    report: spent(licence?.report_quota ?? licence?.quota, licence?.report_remaining ?? licence?.remaining),
    verdict: spent(
      licence?.verdict_quota ?? licence?.detector_quota,
      licence?.verdict_remaining ?? licence?.detector_remaining,
    ),
    period: licence?.billing_period == null ? null : oneLine(licence.billing_period, MAX_PERIOD),
  };
}

/** The mark of this analysis in `submission_submission_metadata`; null where it is not ours or unreadable. */
export function correlationOf(submission: shapes.Submission): string | null {
  return marked(submission, METADATA_KEY, z.string());
}

/** What a submission of ours wanted; null where it is not ours, or of a version that did not say. */
export function actionOf(submission: shapes.Submission): SubmitAction | null {
  return marked(submission, ACTION_KEY, z.enum(["reputation", "static", "dynamic"]));
}

function marked<T>(submission: shapes.Submission, key: string, shape: z.ZodType<T>): T | null {
  const text = submission.submission_submission_metadata;
  if (text == null || text.length > 4096) return null;
  try {
    const parsed = z.record(z.string(), z.unknown()).safeParse(JSON.parse(text));
    return shape.safeParse(parsed.data?.[key]).data ?? null;
  } catch {
    return null; // not JSON: somebody else's text
  }
}

function hash(sha256: string): string {
  if (!/^[0-9a-f]{64}$/i.test(sha256)) throw new SensorError("INTERNAL", "not a SHA-256");
  return sha256.toLowerCase();
}

function whole(id: number): string {
  if (!Number.isSafeInteger(id) || id < 0) throw new SensorError("INTERNAL", "not an id of VMRay");
  return String(id);
}

/**
 * The name of a mail's attachment as VMRay may see it: without folders and without the characters for which VMRay
 * would replace the whole name by a random one, its extension kept when it is cut.
 */
export function submittedFilename(name: string | null): string {
  const last = (name ?? "").slice(-4096).toWellFormed().split(/[/\\]/).at(-1) ?? "";
  const clean = last
    .replace(/[\u0000-\u001f\u007f-\u009f\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff:<>"|?*]/g, "_")
    .trim();
  if (/^[._ ]*$/.test(clean)) return "attachment";
  const extension = /\.[A-Za-z0-9]{1,10}$/.exec(clean)?.[0] ?? "";
  let stem = clean.slice(0, clean.length - extension.length).slice(0, MAX_FILENAME_BYTES);
  while (Buffer.byteLength(stem) + extension.length > MAX_FILENAME_BYTES) stem = stem.slice(0, -1);
  return `${stem.toWellFormed()}${extension}`;
}

type Call = { readonly timeout: number; readonly signal: AbortSignal | undefined };
type Reply = { readonly status: number; readonly headers: Headers; readonly text: string };
type Answer = { readonly data: unknown; readonly continuation: string | null };

class TimedOut extends Error {
  constructor(ms: number) {
    super(`no answer within ${seconds(ms)} s`);
  }
}

async function textOf(response: Response): Promise<string> {
  const coding = response.headers.get("content-encoding");
  if (coding !== null && coding.trim().toLowerCase() !== "identity") {
    throw new VmrayError("VMRAY_ANSWER", "VMRay packed an answer that was asked for unpacked", {
      status: response.status,
    });
  }
  const text = await boundedText(response, MAX_ANSWER);
  if (text !== null) return text;
  throw new VmrayError("VMRAY_ANSWER", `VMRay sent an answer of more than ${MAX_ANSWER} bytes`, {
    status: response.status,
  });
}

function networkFault(thrown: unknown, call: Call, explain: Connection["explain"]): unknown {
  if (thrown instanceof SensorError) return thrown;
  if (call.signal?.aborted) return call.signal.reason;
  const code = thrown instanceof Error && "code" in thrown ? String(thrown.code) : "";
  // The file that was to be sent, not the network.
  if (/^(ENOENT|EACCES|EIO|EISDIR)$/.test(code)) {
    return new SensorError("INTERNAL", "the temporary copy of a content cannot be read", { cause: thrown });
  }
  return new VmrayError("VMRAY_UNREACHABLE", publicReason(explain(thrown)), { cause: thrown });
}

/** True where the connection ended without an answer, as one that was kept open too long does. */
function isBrokenConnection(thrown: unknown): boolean {
  if (!(thrown instanceof VmrayError) || thrown.status !== null || thrown.code !== "VMRAY_UNREACHABLE")
    return false;
  const cause = thrown.cause;
  return (
    cause instanceof Error &&
    "code" in cause &&
    /^(ECONNRESET|EPIPE|ConnectionClosed)$/.test(String(cause.code))
  );
}

/** What reading an answer needs beside it; `secret` is the API key, which no text may name. */
type Reading = { readonly now: () => number; readonly secret: string };

/**
 * The answer to a submission. A refusal is one of its errors in whatever form it comes (a 4xx, `result: "error"`),
 * and submissions named beside it are not lost. Throws what is no answer to it.
 */
function readSubmitAnswer(reply: Reply, reading: Reading): SubmitReply {
  const cleaned = ({ errors, ...lists }: shapes.SubmitAnswer): shapes.SubmitAnswer => ({
    ...lists,
    errors: errors.map((each) => ({ error_msg: publicReason(each.error_msg, reading.secret) })),
  });
  try {
    return cleaned(checked(readAnswer(reply, reading, "submission").data, shapes.submitAnswer));
  } catch (thrown) {
    if (!(thrown instanceof VmrayError)) throw thrown;
    const body = parseEnvelope(reply.text);
    const said = body?.error_msg ?? "";
    const quota = thrown.code === "VMRAY_AUTH" && /\bquotas?\b/i.test(said);
    if (thrown.code !== "VMRAY_REFUSED" && !quota) throw thrown;
    const named = shapes.submitAnswer.safeParse(body?.data ?? {}).data ?? shapes.submitAnswer.parse({});
    const errors = said === "" ? named.errors : [{ error_msg: said }, ...named.errors];
    const answer = cleaned({
      ...named,
      errors: errors.length > 0 ? errors : [{ error_msg: thrown.message }],
    });
    return thrown.status === TOO_LARGE ? { ...answer, tooLarge: true } : answer;
  }
}

function readAnswer(reply: Reply, reading: Reading, call: "question"): Answer | null;
function readAnswer(reply: Reply, reading: Reading, call: "submission"): Answer;
/**
 * The data of an answer; null for 404 where that answers a question. Everything else is thrown. Only a submission is
 * refused for good: the answer to a question, and what a page of something else says, concern no single content.
 */
function readAnswer(reply: Reply, reading: Reading, call: "question" | "submission"): Answer | null {
  const { status } = reply;
  const { now, secret } = reading;
  const body = parseEnvelope(reply.text);
  // JSON alone does not make it VMRay's: gateways speak it, too.
  const own = body !== null && (body.result != null || body.error_msg != null);
  const text = body?.error_msg ?? (body === null ? saidByPage(reply.text) : "");
  const said = text === "" ? `HTTP ${status}` : publicReason(text, secret);
  const fault = (code: VmrayError["code"], message: string, retryAfter: number | null = null) =>
    new VmrayError(code, message, { status, retryAfter });

  if (status === 401) throw fault("VMRAY_AUTH", `VMRay refuses the API key: ${said}`);
  if (status === 403 && own) throw fault("VMRAY_AUTH", `VMRay does not allow the API key this call: ${said}`);
  if (status === 429) {
    throw fault(
      "VMRAY_THROTTLED",
      `VMRay asks to wait: ${said}`,
      retryAfter(reply.headers, now(), MAX_RETRY_AFTER),
    );
  }
  if (status === 407) {
    throw fault("VMRAY_UNREACHABLE", "the proxy on the way to VMRay wants another user or password");
  }
  if (status >= 500 || status === 408) {
    throw fault(
      "VMRAY_UNREACHABLE",
      `VMRay has a fault: ${said}`,
      retryAfter(reply.headers, now(), MAX_RETRY_AFTER),
    );
  }
  if (status >= 300 && status < 400) {
    const to = oneLine(reply.headers.get("location")?.split(/[?#]/, 1)[0] ?? "", MAX_LOCATION);
    const redirect = `a redirect (HTTP ${status}${to === "" ? "" : ` to ${to}`})`;
    throw fault(
      "VMRAY_ANSWER",
      publicReason(`VMRay answered with ${redirect}; vmray.url must be the server itself`, secret),
    );
  }
  if (status === 404 && call === "question" && own) return null;
  if (status === 404 || status === 405) throw fault("VMRAY_ANSWER", `vmray.url has no such call: ${said}`);
  if (status === 403 || (status >= 400 && status !== 413 && isPage(reply.text)))
    throw fault("VMRAY_ANSWER", `something before VMRay refuses the call: ${said}`);
  const refused = call === "submission" ? "VMRAY_REFUSED" : "VMRAY_ANSWER";
  if (status >= 400) throw fault(refused, `VMRay refused the request: ${said}`);
  if (status < 200 || status >= 300 || body === null) {
    const page = said === `HTTP ${status}` ? said : `HTTP ${status}: ${said}`;
    throw fault("VMRAY_ANSWER", publicReason(`VMRay answered with something that is not its API (${page})`));
  }
  if (body.result != null && body.result !== "ok") throw fault(refused, `VMRay refused the request: ${said}`);
  if (body.data === undefined) throw fault("VMRAY_ANSWER", "VMRay answered without data");
  const continuation = body.continuation_id;
  const usable = continuation !== null && /^[A-Za-z0-9_-]{1,128}$/.test(continuation);
  return { data: body.data, continuation: usable ? continuation : null };
}

function parseEnvelope(text: string): z.output<typeof shapes.envelope> | null {
  try {
    const parsed = shapes.envelope.safeParse(JSON.parse(text));
    return parsed.success ? parsed.data : null;
  } catch {
    return null; // the caller decides by the status what an answer that is no JSON means
  }
}

function checked<T extends z.ZodType>(data: unknown, shape: T): z.output<T> {
  const parsed = shape.safeParse(data);
  if (parsed.success) return parsed.data;
  const where = parsed.error.issues[0]?.path.map(String).join(".") ?? "";
  throw new VmrayError("VMRAY_ANSWER", publicReason(`VMRay answered without a usable ${where || "object"}`));
}
