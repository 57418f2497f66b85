/**
 * A stand-in for a VMRay Analyzer: the REST API that a sensor uses, on one port, with its state in memory.
 *
 * As strict as the real one about authentication, forms and parameters; verdicts follow the content by the rules
 * of docs/simulator.md. Nothing is analysed and nothing leaves the machine. What is wrong with a request is
 * answered in the error envelope of the API; faults for tests are switched on by methods.
 */
import { createHash, timingSafeEqual } from "node:crypto";
import { SensorError } from "../../errors.ts";
import { ApiError, noSuchElement } from "./api-error.ts";
import {
  createLists,
  ITEMS_PER_REQUEST,
  integerParameter,
  MAX_ITEMS,
  type Page,
  refuseUnknown,
} from "./lists.ts";
import { API_VERSION, createObjects, type JsonObject, type Objects } from "./objects.ts";
import { samplePage } from "./pages.ts";
import { searchSamples } from "./sample-search.ts";
import { createStore, type Sample, type Store, type Submission } from "./store.ts";
import { MAX_BODY_SIZE, MAX_SAMPLE_SIZE, readSubmitForm, type SubmitForm } from "./submit-form.ts";

export type SimulatorOptions = {
  /** The one key that is let in. */
  readonly apiKey: string;
  /** Where to listen; default 127.0.0.1 and a port that the system chooses. */
  readonly hostname?: string;
  readonly port?: number;
  /** How long a submission is queued and then in work, in milliseconds; default 1000 and 3000. */
  readonly queuedMs?: number;
  readonly inWorkMs?: number;
  /** How many submissions are kept; more are answered 503. Default 100,000. */
  readonly maxSubmissions?: number;
  /** The clock, in milliseconds since 1970. */
  readonly now?: () => number;
  /** Told of a fault of the simulator itself, which the client sees as 500. Default: a line on stderr. */
  readonly onFault?: (fault: unknown) => void;
};

/** How requests are throttled: the next `calls`, or all above a rate, answered 429. */
export type Throttle =
  | { readonly calls: number; readonly retryAfterSeconds: number }
  | { readonly perSecond: number };

export type Simulator = {
  /** `http://HOST:PORT`, without a slash at its end. */
  readonly url: string;
  stop(): Promise<void>;
  /** How often each path was called, like `GET /rest/sample/{id}`; calls that were refused count too. */
  calls(): ReadonlyMap<string, number>;
  /** How often each content was submitted: the SHA-256 of a file, or a URL as it was sent. */
  submissions(): ReadonlyMap<string, number>;
  /** Answers 429 with Retry-After; null ends it. */
  throttle(throttle: Throttle | null): void;
  /**
   * Answers the next `count` requests with `status`. `before`: nothing of them is done. `after`: they are done
   * and only the answer is lost, as when a proxy times out.
   */
  failNext(count: number, status: number, when?: "before" | "after"): void;
  /** Refuses the next `count` submissions with status 200 and an entry in `errors`, as an exceeded quota does. */
  refuseNext(count: number, message: string): void;
  /** Down: connections are refused, what was in memory is kept. Up again: the same port. */
  setDown(down: boolean): Promise<void>;
};

type Call = {
  readonly request: Request;
  readonly query: URLSearchParams;
  /** What stands in the place of the braces of the route's path; empty where it has none. */
  readonly parameter: string;
  readonly objects: Objects;
};
type Answer = { readonly data: JsonObject | readonly JsonObject[] } & Omit<Page, "data">;
type Route = {
  readonly method: "GET" | "POST";
  readonly path: string;
  readonly answer: (call: Call) => Answer | Promise<Answer>;
};

const DEFAULTS = { hostname: "127.0.0.1", port: 0, queuedMs: 1000, inWorkMs: 3000, maxSubmissions: 100_000 };
const LICENSED = 1_000_000;
const NOT_STORED = "Submission not stored because no jobs were created";
const JSON_HEADERS = {
  "content-type": "application/json",
  "x-content-type-options": "nosniff",
  "cache-control": "no-store",
  server: "email-sensor analyzer simulator",
};

function json(status: number, body: object, headers: Readonly<Record<string, string>> = {}): Response {
  return new Response(JSON.stringify(body), { status, headers: { ...JSON_HEADERS, ...headers } });
}

function errorAnswer(status: number, message: string, headers?: Readonly<Record<string, string>>): Response {
  return json(status, { error_msg: message, result: "error" }, headers);
}

/** What stands in front of the API answers these in HTML, so a client has to cope with it. */
function faultAnswer(status: number): Response {
  if (status < 500) return errorAnswer(status, `The simulator was told to answer ${status}.`);
  return new Response(`<html><body><h1>${status}</h1><p>The simulator was told to fail.</p></body></html>`, {
    status,
    headers: { "content-type": "text/html" },
  });
}

function isLoopback(address: string | undefined): boolean {
  return address !== undefined && /^(?:127\.|::1$|::ffff:127\.)/.test(address);
}

function numeric(text: string): number {
  if (!/^\d{1,15}$/.test(text)) throw noSuchElement();
  return Number(text);
}

function found<T>(value: T | undefined): T {
  if (value === undefined) throw noSuchElement();
  return value;
}

const submissionError = (form: SubmitForm, message: string): JsonObject => ({
  error_msg: message,
  submission_filename: form.content.kind === "file" ? form.content.filename : form.content.text,
});

function systemInfo(webif: string): JsonObject {
  const [major = 0, minor = 0, revision = 0] = API_VERSION.split(".").map(Number);
  return {
    api_items_per_request: ITEMS_PER_REQUEST,
    file_param_http_scheme_enabled: false,
    max_api_items: MAX_ITEMS,
    version: API_VERSION,
    version_major: major,
    version_minor: minor,
    version_revision: revision,
    webif_alias: "simulator",
    webif_base_url: webif,
    webif_max_sample_size: MAX_SAMPLE_SIZE,
    webif_max_upload_size: MAX_SAMPLE_SIZE,
  };
}

/** A licence that lasts: its quota goes down with use and is never used up. */
function billingInfo(submissions: readonly Submission[]): JsonObject {
  const own = submissions.filter((submission) => submission.source === null);
  const reports = LICENSED - own.filter((submission) => submission.jobId !== null).length;
  const verdicts = LICENSED - own.filter((submission) => submission.jobId === null).length;
  return {
    billing_period: "always",
    detector_quota: LICENSED,
    detector_remaining: verdicts,
    end_date: null,
    product_plan_name: "Simulator",
    quota: LICENSED,
    remaining: reports,
    report_quota: LICENSED,
    report_remaining: reports,
    verdict_quota: LICENSED,
    verdict_remaining: verdicts,
  };
}

/** The paths of the API that are simulated; the first that matches answers. `{...}` takes one segment. */
function createRoutes(store: Store, refusal: () => string | undefined): readonly Route[] {
  const lists = createLists();
  const sampleOf = (call: Call): Sample => found(store.sample(numeric(call.parameter)));
  const submissionOf = (call: Call): Submission => found(store.submission(numeric(call.parameter)));
  const submissionOfJob = (job: string): Submission => found(store.submissionOfJob(numeric(job)));
  /** An analysis is listed once, with the submission that it was made for. */
  const ownAnalysis =
    (objects: Objects) =>
    (of: Submission): JsonObject | undefined =>
      of.source === null ? objects.analysis(of) : undefined;
  const one = <T>(value: T | undefined): readonly T[] => (value === undefined ? [] : [value]);

  const get = (path: string, answer: Route["answer"], own: readonly string[] = []): Route => ({
    method: "GET",
    path,
    answer: (call) => {
      refuseUnknown(call.query, own);
      return answer(call);
    },
  });
  const list = (path: string, answer: Route["answer"]): Route => ({ method: "GET", path, answer });
  const byHash = (kind: string, length: number): Route =>
    get(`/rest/sample/${kind}/{${kind}}`, ({ parameter, objects }) => {
      if (!new RegExp(`^[0-9A-Fa-f]{${length}}$`).test(parameter)) {
        throw new ApiError(400, `${kind}: must be ${length} hexadecimal digits`);
      }
      return { data: store.samplesByHash(parameter.toLowerCase()).map(objects.sample) };
    });

  async function submit({ request, query, objects }: Call): Promise<Answer> {
    const form = await readSubmitForm(request, query);
    const nothing = {
      errors: [],
      jobs: [],
      md_jobs: [],
      reputation_jobs: [],
      samples: [],
      static_jobs: [],
      submissions: [],
      vt_jobs: [],
      whois_jobs: [],
    };
    const refused = refusal();
    if (refused !== undefined) return { data: { ...nothing, errors: [submissionError(form, refused)] } };
    const stored = store.submit(form);
    if (stored.state === "known") {
      return {
        data: {
          ...nothing,
          errors: [submissionError(form, NOT_STORED)],
          samples: [objects.submittedSample(stored.sample)],
        },
      };
    }
    const { submission } = stored;
    return {
      data: {
        ...nothing,
        jobs: one(objects.job(submission)),
        reputation_jobs: one(objects.reputationJob(submission)),
        samples: [objects.submittedSample(submission.sample)],
        submissions: [objects.submission(submission)],
      },
    };
  }

  return [
    { method: "POST", path: "/rest/sample/submit", answer: submit },
    get(
      "/rest/sample/search",
      ({ query, objects }) => {
        const text = query.get("query");
        if (text === null) throw new ApiError(400, "query: is required");
        const limits = new URLSearchParams([...query].filter(([name]) => name !== "query"));
        return lists.page(searchSamples(text, store), objects.sample, "sample_", limits);
      },
      ["query", "_limit", "_order", "_min_id", "_max_id"],
    ),
    byHash("sha256", 64),
    byHash("sha1", 40),
    byHash("md5", 32),
    list("/rest/sample", ({ objects, query }) =>
      lists.page(store.samples(), objects.sample, "sample_", query),
    ),
    get("/rest/sample/{id}", (call) => ({ data: call.objects.sample(sampleOf(call)) })),
    get("/rest/sample/{id}/threat_names", (call) => ({ data: call.objects.threatNames(sampleOf(call)) })),
    get("/rest/sample/{id}/classifications", (call) => {
      sampleOf(call);
      return { data: call.objects.classifications() };
    }),
    get("/rest/sample/{id}/vtis", (call) => ({ data: call.objects.vtis(sampleOf(call)) })),
    get("/rest/sample/{id}/threat_indicators", (call) => ({ data: call.objects.vtis(sampleOf(call)) })),
    get("/rest/sample/{id}/iocs", (call) => ({ data: call.objects.iocs(sampleOf(call)) }), ["all_artifacts"]),
    get("/rest/sample/{id}/mitre_attack", (call) => ({ data: call.objects.mitreAttack(sampleOf(call)) })),
    list("/rest/submission", ({ objects, query }) => {
      const last = integerParameter(query, "_last_id");
      const which = last === undefined ? store.submissions() : store.finishedAfter(last);
      return lists.page(which, objects.submission, "submission_", query);
    }),
    get("/rest/submission/{id}", (call) => ({ data: call.objects.submission(submissionOf(call)) })),
    list("/rest/submission/sample/{id}", (call) =>
      lists.page(sampleOf(call).submissions, call.objects.submission, "submission_", call.query),
    ),
    get("/rest/job/submission/{id}", (call) => ({ data: one(call.objects.job(submissionOf(call))) })),
    get("/rest/job/sample/{id}", (call) => ({
      data: sampleOf(call).submissions.flatMap((of) => one(call.objects.job(of))),
    })),
    get("/rest/job/{id}", ({ parameter, objects }) => {
      return { data: found(objects.job(submissionOfJob(parameter))) };
    }),
    list("/rest/analysis", ({ objects, query }) =>
      lists.page(store.submissions(), ownAnalysis(objects), "analysis_", query),
    ),
    list("/rest/analysis/submission/{id}", (call) =>
      lists.page([submissionOf(call)], call.objects.analysis, "analysis_", call.query),
    ),
    list("/rest/analysis/sample/{id}", (call) =>
      lists.page(sampleOf(call).submissions, ownAnalysis(call.objects), "analysis_", call.query),
    ),
    get("/rest/analysis/{id}", ({ parameter, objects }) => {
      return { data: found(objects.analysis(submissionOfJob(parameter))) };
    }),
    list("/rest/reputation_lookup/submission/{id}", (call) =>
      lists.page([submissionOf(call)], call.objects.reputationLookup, "reputation_lookup_", call.query),
    ),
    get("/rest/system_info", ({ objects }) => ({ data: systemInfo(objects.webif) })),
    get("/rest/api_key/quota", () => ({ data: { quota_limit: 0, used_quota: store.submissions().length } })),
    get("/rest/billing_info", () => ({ data: billingInfo(store.submissions()) })),
    get("/rest/continuation/{id}", ({ parameter }) => lists.next(numeric(parameter))),
  ];
}

type Match = { readonly route: Route; readonly parameter: string };

function createRouter(routes: readonly Route[]): (method: string, path: string) => Match | undefined {
  const table = routes.map((route) => ({ route, segments: route.path.split("/") }));
  return (method, path) => {
    const given = path.split("/");
    const match = table.find(
      ({ route, segments }) =>
        route.method === method &&
        segments.length === given.length &&
        segments.every(
          (segment, at) => segment === given[at] || (segment.startsWith("{") && given[at] !== ""),
        ),
    );
    if (match === undefined) return undefined;
    const at = match.segments.findIndex((segment) => segment.startsWith("{"));
    return { route: match.route, parameter: at < 0 ? "" : (given[at] ?? "") };
  };
}

/** Whether the next request is one too many, and for how many seconds the client shall wait. */
function createThrottle(now: () => number) {
  let mode: Throttle | null = null;
  let left = 0;
  let recent: number[] = [];
  return {
    set(throttle: Throttle | null): void {
      mode = throttle;
      left = throttle !== null && "calls" in throttle ? throttle.calls : 0;
      recent = [];
    },
    retryAfter(): number | undefined {
      if (mode === null) return undefined;
      if ("calls" in mode) return left-- > 0 ? mode.retryAfterSeconds : undefined;
      const time = now();
      recent = recent.filter((at) => at > time - 1000);
      if (recent.length >= mode.perSecond) return 1;
      recent.push(time);
      return undefined;
    },
  };
}

function createKeyCheck(apiKey: string): (request: Request) => boolean {
  const digest = (text: string): Buffer => createHash("sha256").update(text).digest();
  const right = digest(`api_key ${apiKey}`);
  return (request) => timingSafeEqual(digest(request.headers.get("authorization") ?? ""), right);
}

/**
 * Starts a simulator in this process.
 * Throws SensorError LISTEN_FAILED where the address cannot be bound, and USAGE for an empty key.
 */
export async function startSimulator(options: SimulatorOptions): Promise<Simulator> {
  if (options.apiKey === "")
    throw new SensorError("USAGE", "the simulator needs an API key that is not empty");
  const now = options.now ?? Date.now;
  const onFault =
    options.onFault ??
    ((fault: unknown) => {
      process.stderr.write(`analyzer simulator: ${fault instanceof Error ? fault.stack : String(fault)}\n`);
    });
  const store = createStore({
    queuedMs: options.queuedMs ?? DEFAULTS.queuedMs,
    inWorkMs: options.inWorkMs ?? DEFAULTS.inWorkMs,
    maxSubmissions: options.maxSubmissions ?? DEFAULTS.maxSubmissions,
    now,
  });
  const calls = new Map<string, number>();
  const throttle = createThrottle(now);
  const keyIsRight = createKeyCheck(options.apiKey);
  const failures = { left: 0, status: 500, when: "before" as "before" | "after" };
  const refusals = { left: 0, message: "" };
  const route = createRouter(createRoutes(store, () => (refusals.left-- > 0 ? refusals.message : undefined)));

  async function api(request: Request, url: URL): Promise<Response> {
    const match = route(request.method, url.pathname);
    const name = match === undefined ? `${request.method} other` : `${request.method} ${match.route.path}`;
    calls.set(name, (calls.get(name) ?? 0) + 1);
    const wait = throttle.retryAfter();
    if (wait !== undefined) {
      return errorAnswer(429, `Request was throttled. Expected available in ${wait} seconds.`, {
        "retry-after": String(wait),
      });
    }
    const failing = failures.left-- > 0;
    if (failing && failures.when === "before") return faultAnswer(failures.status);
    if (!keyIsRight(request)) return errorAnswer(401, "Invalid API key");
    if (match === undefined) {
      const other = request.method === "POST" ? "GET" : "POST";
      return route(other, url.pathname) === undefined
        ? errorAnswer(404, "No such element")
        : errorAnswer(405, "Method not allowed", { allow: other });
    }
    const objects = createObjects(store, webAddress(request));
    const answer = await match.route.answer({
      request,
      query: url.searchParams,
      parameter: match.parameter,
      objects,
    });
    return failing ? faultAnswer(failures.status) : json(200, { ...answer, result: "ok" });
  }

  /** The address under which the client reached the simulator, so that links work behind a forwarded port. */
  function webAddress(request: Request): string {
    const host = request.headers.get("host") ?? "";
    return /^[A-Za-z0-9.:[\]-]{1,255}$/.test(host) ? `http://${host}` : address();
  }

  function statistics(): Response {
    return json(200, {
      simulator: true,
      calls: Object.fromEntries(calls),
      submissions: Object.fromEntries(store.counts()),
      opened: Object.fromEntries(store.opened()),
      samples: store.samples().length,
    });
  }

  function pages(request: Request, url: URL, peer: string | undefined): Response {
    const path = url.pathname;
    if (request.method !== "GET") return errorAnswer(405, "Method not allowed", { allow: "GET" });
    if (path === "/simulator/statistics" && isLoopback(peer)) return statistics();
    const id = /^\/simulator\/samples\/(\d{1,15})$/.exec(path)?.[1];
    return id === undefined
      ? errorAnswer(404, "No such element")
      : samplePage(store.sample(Number(id)), store);
  }

  function listen(hostname: string, port: number) {
    try {
      return Bun.serve({
        hostname,
        port,
        development: false,
        // Bun shares the port with whoever else binds it outside development mode, unless told not to.
        reusePort: false,
        idleTimeout: 60,
        maxRequestBodySize: MAX_BODY_SIZE,
        async fetch(request, bound) {
          const url = URL.parse(request.url);
          if (url === null) return errorAnswer(400, "The request has no usable address.");
          try {
            return await (url.pathname.startsWith("/simulator/")
              ? pages(request, url, bound.requestIP(request)?.address)
              : api(request, url));
          } catch (thrown) {
            if (thrown instanceof ApiError) return errorAnswer(thrown.status, thrown.message);
            onFault(thrown);
            return errorAnswer(500, "The simulator has a fault of its own; its log tells more.");
          }
        },
      });
    } catch (cause) {
      throw new SensorError("LISTEN_FAILED", `the simulator cannot listen on ${hostname}:${port}`, { cause });
    }
  }

  const hostname = options.hostname ?? DEFAULTS.hostname;
  let server: ReturnType<typeof listen> | undefined = listen(hostname, options.port ?? DEFAULTS.port);
  const port = server.port ?? 0;
  const address = (): string => `http://${hostname.includes(":") ? `[${hostname}]` : hostname}:${port}`;

  async function close(): Promise<void> {
    const open = server;
    server = undefined;
    await open?.stop(true);
  }

  return {
    url: address(),
    stop: close,
    calls: () => calls,
    submissions: store.counts,
    throttle: throttle.set,
    failNext(count, status, when = "before") {
      failures.left = count;
      failures.status = status;
      failures.when = when;
    },
    refuseNext(count, message) {
      refusals.left = count;
      refusals.message = message;
    },
    async setDown(down) {
      if (down) await close();
      else server ??= listen(hostname, port);
    },
  };
}
