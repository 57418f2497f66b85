/**
 * A stand-in for a VMRay Analyzer: the REST API that a sensor uses, on one port, with its state in memory.
 *
 * As strict as the real one about authentication, forms and parameters; verdicts follow the content by the rules
 * of docs/simulator.md, and what a scenario says. Nothing is analysed and nothing leaves the machine. What is
 * wrong with a request is answered in the error envelope of the API; faults come from the scenario and, for tests
 * in the same process, from methods.
 */
import { createHash, timingSafeEqual } from "node:crypto";
import { SensorError } from "../../errors.ts";
import {
  errorReply,
  failedReply,
  jsonReply,
  type Reply,
  replyInstead,
  resetResponse,
  responseOf,
  spoiltResponse,
  throttledReply,
} from "./answers.ts";
import { ApiError } from "./api-error.ts";
import { openCallLog } from "./call-log.ts";
import { createFaultPlan, type FaultPlan } from "./faults.ts";
import { openJournal } from "./journal.ts";
import { createObjects } from "./objects.ts";
import { samplePage } from "./pages.ts";
import { linkedSample, type Platform } from "./platform.ts";
import { type CallNotes, createRouter, createRoutes } from "./routes.ts";
import { checkScenario, EMPTY_SCENARIO, type Endpoint, type FaultRule, type Scenario } from "./scenario.ts";
import { createStore } from "./store.ts";
import { MAX_BODY_SIZE } from "./submit-form.ts";

export type SimulatorOptions = {
  /** The one key that is let in. */
  readonly apiKey: string;
  /** Where to listen; default 127.0.0.1 and a port that the system chooses. */
  readonly hostname?: string;
  readonly port?: number;
  /** How long a submission is queued and then in work, in milliseconds; default 1000 and 3000. */
  readonly queuedMs?: number;
  readonly inWorkMs?: number;
  /** How many submissions are kept; more are answered 503. Default 200,000. */
  readonly maxSubmissions?: number;
  /** The version of the platform that it is; default 2026.2. */
  readonly platform?: Platform;
  /** Faults, rules for contents, quota; default none. */
  readonly scenario?: Scenario;
  /** Faults beside those of the scenario. They stay when another scenario is set. */
  readonly faults?: readonly FaultRule[];
  /** A file, or a folder, that keeps the state over a restart. */
  readonly statePath?: string;
  /** A file that gets a JSON line for each call. */
  readonly callLogPath?: string;
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
  /** From now on another scenario: faults and their counts begin anew, what is stored stays. */
  setScenario(scenario: Scenario): void;
  /** Down: connections are refused, what was in memory is kept. Up again: the same port. */
  setDown(down: boolean): Promise<void>;
};

const METHODS = ["GET", "POST"] as const;
const DEFAULTS = { hostname: "127.0.0.1", port: 0, queuedMs: 1000, inWorkMs: 3000, maxSubmissions: 200_000 };

function isLoopback(address: string | undefined): boolean {
  return address !== undefined && /^(?:127\.|::1$|::ffff:127\.)/.test(address);
}

/** A fault in the log of calls: `status 503`, `reset_after`. */
const nameOf = (fault: FaultRule): string =>
  fault.fault === "status" ? `status ${fault.status}` : fault.fault;

/** The list of submissions is the feed where it is asked for what finished after another. */
function endpointOf(
  route: { readonly endpoint: Endpoint; readonly path: string } | undefined,
  query: URLSearchParams,
): Endpoint {
  if (route === undefined) return "other";
  return route.path === "/rest/submission" && query.has("_last_id") ? "feed" : route.endpoint;
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
 * Throws SensorError LISTEN_FAILED where the address cannot be bound, USAGE for an empty key or a call log that
 * cannot be written, and CONFIG_INVALID for a state that cannot be used.
 */
export async function startSimulator(options: SimulatorOptions): Promise<Simulator> {
  if (options.apiKey === "")
    throw new SensorError("USAGE", "the simulator needs an API key that is not empty");
  const now = options.now ?? Date.now;
  const platform = options.platform ?? "2026.2";
  const onFault =
    options.onFault ??
    ((fault: unknown) => {
      process.stderr.write(`analyzer simulator: ${fault instanceof Error ? fault.stack : String(fault)}\n`);
    });
  const callLog = options.callLogPath === undefined ? undefined : openCallLog(options.callLogPath);
  const journal = options.statePath === undefined ? undefined : openJournal(options.statePath);
  const scenario = options.scenario ?? EMPTY_SCENARIO;
  const store = createStore(
    {
      queuedMs: options.queuedMs ?? DEFAULTS.queuedMs,
      inWorkMs: options.inWorkMs ?? DEFAULTS.inWorkMs,
      maxSubmissions: options.maxSubmissions ?? DEFAULTS.maxSubmissions,
      now,
      scenario,
      persist: (records) => journal?.append(records),
    },
    journal?.records,
  );
  const planOf = ({ faults, seed }: Scenario): FaultPlan =>
    createFaultPlan([...(options.faults ?? []), ...faults], seed, now);
  let plan = planOf(scenario);
  const calls = new Map<string, number>();
  const made = new Map<string, number>();
  const throttle = createThrottle(now);
  const keyIsRight = createKeyCheck(options.apiKey);
  const late = new Set<ReturnType<typeof setTimeout>>();
  const failures = { left: 0, status: 500, when: "before" as "before" | "after" };
  const refusals = { left: 0, message: "" };
  const route = createRouter(
    createRoutes(store, platform, () => (refusals.left-- > 0 ? refusals.message : undefined)),
  );

  function setScenario(next: Scenario): void {
    store.setScenario(next);
    plan = planOf(next);
  }

  /** What the API says to a call that no fault stops. */
  async function answer(
    request: Request,
    url: URL,
    match: ReturnType<typeof route>,
    notes: CallNotes,
  ): Promise<Reply> {
    if (!keyIsRight(request)) return errorReply(401, "Invalid API key");
    if (match === undefined) {
      const allow = METHODS.filter((method) => route(method, url.pathname) !== undefined).join(", ");
      return allow === ""
        ? errorReply(404, "No such element")
        : errorReply(405, "Method not allowed", { allow });
    }
    try {
      const objects = createObjects(store, webAddress(request), platform, now);
      const { route: found, parameter } = match;
      const body = await found.answer({ request, query: url.searchParams, parameter, objects, notes });
      return jsonReply(200, { ...body, result: "ok" });
    } catch (thrown) {
      if (thrown instanceof ApiError) return errorReply(thrown.status, thrown.message);
      onFault(thrown);
      return errorReply(500, "The simulator has a fault of its own; its log tells more.");
    }
  }

  /** What stands in front of the API has all of the call and passes it on when nobody waits for its answer any more. */
  async function doLater(
    request: Request,
    url: URL,
    match: ReturnType<typeof route>,
    delay: number,
  ): Promise<void> {
    const { method, headers } = request;
    const body = await request.arrayBuffer();
    const held = new Request(request.url, { method, headers, ...(method === "GET" ? {} : { body }) });
    const timer = setTimeout(() => {
      late.delete(timer);
      void answer(held, url, match, {});
    }, delay);
    late.add(timer);
  }

  async function api(request: Request, url: URL, unhurried: () => void): Promise<Response> {
    const arrived = now();
    const began = performance.now();
    const match = route(request.method, url.pathname);
    const name = match === undefined ? `${request.method} other` : `${request.method} ${match.route.path}`;
    calls.set(name, (calls.get(name) ?? 0) + 1);
    const endpoint = endpointOf(match?.route, url.searchParams);
    const notes: CallNotes = {};
    const finish = (response: Response, status: number | null, fault: string | null): Response => {
      if (fault !== null) made.set(fault, (made.get(fault) ?? 0) + 1);
      callLog?.write({
        time: new Date(arrived).toISOString(),
        method: request.method,
        path: url.pathname,
        ...(request.method === "GET" && url.search !== "" ? { query: url.search.slice(1) } : {}),
        endpoint,
        status,
        fault,
        milliseconds: Math.round(performance.now() - began),
        ...notes,
      });
      return response;
    };
    const wait = throttle.retryAfter();
    if (wait !== undefined) return finish(responseOf(throttledReply(wait)), 429, "throttle");
    const failing = failures.left-- > 0;
    const failed = (): Response =>
      finish(responseOf(failedReply(failures.status)), failures.status, "failed");
    if (failing && failures.when === "before") return failed();
    const fault = plan.next(endpoint);
    const instead = fault === undefined ? undefined : replyInstead(fault);
    if (fault !== undefined && instead !== undefined) {
      return instead === "reset"
        ? finish(resetResponse(), null, nameOf(fault))
        : finish(responseOf(instead), instead.status, nameOf(fault));
    }
    if (fault?.fault === "late") {
      await doLater(request, url, match, fault.delay ?? 0);
      return finish(resetResponse(), null, nameOf(fault));
    }
    const reply = await answer(request, url, match, notes);
    if (failing) return failed();
    if (fault === undefined) return finish(responseOf(reply), reply.status, null);
    if (fault.fault === "slow") unhurried();
    const spoilt = await spoiltResponse(reply, fault);
    return finish(spoilt, fault.fault === "reset_after" ? null : spoilt.status, nameOf(fault));
  }

  /** The address under which the client reached the simulator, so that links work behind a forwarded port. */
  function webAddress(request: Request): string {
    const host = request.headers.get("host") ?? "";
    return /^[A-Za-z0-9.:[\]-]{1,255}$/.test(host) ? `http://${host}` : address();
  }

  function statistics(): Reply {
    const { reports, verdicts } = store.quota();
    return jsonReply(200, {
      simulator: true,
      calls: Object.fromEntries(calls),
      faults: Object.fromEntries(made),
      submissions: Object.fromEntries(store.counts()),
      opened: Object.fromEntries(store.opened()),
      samples: store.samples().length,
      quota: { reports, verdicts },
    });
  }

  /** A new scenario as YAML, from whoever has the key. */
  async function takeScenario(request: Request): Promise<Reply> {
    if (!keyIsRight(request)) return errorReply(401, "Invalid API key");
    const { scenario: next, problems } = checkScenario(await request.text(), "scenario");
    if (next === undefined) {
      const [first] = problems;
      return errorReply(
        400,
        first === undefined ? "" : `${first.line}:${first.column}: ${first.key}: ${first.message}`,
      );
    }
    setScenario(next);
    return jsonReply(200, {
      data: { contents: next.contents.length, faults: next.faults.length },
      result: "ok",
    });
  }

  async function pages(request: Request, url: URL, peer: string | undefined): Promise<Response> {
    const path = url.pathname;
    if (path === "/simulator/scenario" && request.method === "PUT")
      return responseOf(await takeScenario(request));
    if (request.method !== "GET") return responseOf(errorReply(405, "Method not allowed", { allow: "GET" }));
    if (path === "/simulator/statistics" && isLoopback(peer)) return responseOf(statistics());
    const id = linkedSample(path, url.searchParams);
    return id === undefined
      ? responseOf(errorReply(404, "No such element"))
      : samplePage(store.sample(id), store);
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
          if (url === null) return responseOf(errorReply(400, "The request has no usable address."));
          return /^\/(?:simulator|samples|user)\//.test(url.pathname)
            ? pages(request, url, bound.requestIP(request)?.address)
            : api(request, url, () => bound.timeout(request, 0));
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

  let stopped = false;
  return {
    url: address(),
    async stop() {
      await close();
      if (stopped) return;
      stopped = true;
      for (const timer of late) clearTimeout(timer);
      journal?.close();
      callLog?.close();
    },
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
    setScenario,
    async setDown(down) {
      if (down) await close();
      else server ??= listen(hostname, port);
    },
  };
}
