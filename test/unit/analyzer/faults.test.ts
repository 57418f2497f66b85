/** Each class of fault on its way through the pool: how it is classified, what it stops, and that no work is lost. */
import { describe, expect, test } from "bun:test";
import { join } from "node:path";
import { dayOf } from "../../../src/analyzer/budget.ts";
import { createVmrayClient, type VmrayClient } from "../../../src/analyzer/client.ts";
import { mayStillArrive } from "../../../src/analyzer/sending.ts";
import { checkScenario, type Scenario } from "../../../src/analyzer/simulator/scenario.ts";
import { correlationId, poll } from "../../../src/analyzer/steps.ts";
import { VmrayError } from "../../../src/analyzer/vmray-error.ts";
import type { AnalysisJob } from "../../../src/spool/spool.ts";
import { until } from "../../until.ts";
import { makeCertificates } from "../report/certificates.ts";
import {
  answer,
  clientOf,
  DIRECT,
  FAST,
  file,
  hashOf,
  KEY,
  movableClock,
  SETTINGS,
  SUBMIT_DEFAULTS,
  scripted,
  simulator,
  submission,
  url,
  world,
} from "./harness.ts";

function scenario(...faults: readonly object[]): Scenario {
  const { scenario: read, problems } = checkScenario(JSON.stringify({ faults }), "test");
  if (read === undefined) throw new Error(JSON.stringify(problems));
  return read;
}

/** Of look-ups, submissions and polls, the second and each third after it, so that others go well. */
const SOME = { endpoints: ["lookup", "submit", "submission"], skip: 1, every: 3 };

describe("calls that fail among others", () => {
  test.each([
    ["VMRAY_UNREACHABLE", { fault: "status", status: 500, count: 6 }],
    ["VMRAY_UNREACHABLE", { fault: "status", status: 502, when: "after", count: 6 }],
    ["VMRAY_UNREACHABLE", { fault: "reset_before", count: 8 }],
    ["VMRAY_UNREACHABLE", { fault: "reset_after", count: 8 }],
    ["VMRAY_UNREACHABLE", { fault: "slow", delay: "1500ms", count: 2 }],
    ["VMRAY_UNREACHABLE", { fault: "truncated", count: 8 }],
    ["VMRAY_ANSWER", { fault: "oversized", size: "9MB", count: 2 }],
    ["VMRAY_ANSWER", { fault: "wrong_json", count: 6 }],
    ["VMRAY_ANSWER", { fault: "html", count: 6 }],
    ["VMRAY_THROTTLED", { fault: "status", status: 429, retry_after: 0, count: 6 }],
  ] as const)(
    "are %s, %j: each content has its verdict, and none was submitted twice",
    async (code, fault) => {
      // A GET whose connection breaks is sent once more, and nobody hears of it: a submission is not.
      const first = /^(reset|truncated)/.test(fault.fault)
        ? [{ ...fault, endpoints: ["submit"], count: 1 }]
        : [];
      const vmray = await simulator({ scenario: scenario(...first, { ...SOME, ...fault }) });
      const here = await world();
      const contents = [0, 1, 2, 3].flatMap((n) => [file(`fault ${n}`), url(`http://f${n}.example/x`)]);
      const id = await here.mail(...contents);
      // Only what is slow is to meet the time-out, however busy the machine is.
      const slow = fault.fault === "slow";
      const client = clientOf(vmray, KEY, slow ? 1_000 : 30_000);
      const settings = slow ? { ...SETTINGS, resend_after: 60_000 } : SETTINGS;
      const analyzer = here.start(client, { settings });
      expect((await here.verdicts(id)).map(({ verdict }) => verdict)).toEqual(contents.map(() => "clean"));
      // Counted after its commit, which the test may see first.
      await until(() => analyzer.status().counts.finished === contents.length, "all counted");
      expect(analyzer.status()).toMatchObject({ lastError: { code }, counts: { finished: 8, failed: 0 } });
      expect([...vmray.submissions().values()]).toEqual(contents.map(() => 1));
    },
  );
});

describe("a submission that reaches VMRay after the sensor gave it up", () => {
  const LATE = { fault: "late", endpoints: ["submit"], count: 1 };

  test("is found, not sent a second time", async () => {
    const vmray = await simulator({ scenario: scenario({ ...LATE, delay: "200ms" }) });
    const here = await world();
    const id = await here.mail(file("buffered"));
    const analyzer = here.start(clientOf(vmray), { settings: { ...SETTINGS, resend_after: 600 } });
    expect((await here.verdicts(id))[0]?.verdict).toBe("clean");
    expect([...vmray.submissions().values()]).toEqual([1]);
    expect(analyzer.status().counts.submissions).toBe(1);
    // Looked for by growing waits, and no alarm for a single one.
    expect(analyzer.status().counts.lookups).toBeWithin(4, 14);
    expect(here.news).toEqual([]);
  });

  test("is waited for again after a kill, since nobody knows how its POST ended", async () => {
    const vmray = await simulator({ scenario: scenario({ ...LATE, delay: "200ms" }) });
    const here = await world();
    const id = await here.mail(file("buffered"));
    const [job] = await here.spool.dueAnalyses(Date.now() + 1, 1, new Set());
    if (job === undefined) throw new Error("no analysis");
    await here.spool.recordProgress(job.key, { state: "submitting" }, 0, 0);
    const path = join(here.tempDir, "..", "content");
    await Bun.write(path, "buffered");
    const correlation = correlationId(job);
    await expect(
      clientOf(vmray).submitFile({ path, size: 8, filename: null, action: "dynamic", correlation }),
    ).rejects.toThrow();
    const analyzer = here.start(clientOf(vmray), { settings: { ...SETTINGS, resend_after: 600 } });
    expect((await here.verdicts(id))[0]?.verdict).toBe("clean");
    expect(vmray.submissions().get(hashOf("buffered"))).toBe(1);
    expect(analyzer.status().counts).toMatchObject({ submissions: 0 });
  });

  test("and never does, is sent again after that time and charged once", async () => {
    const vmray = await simulator({
      scenario: scenario({ fault: "reset_before", endpoints: ["submit"], count: 1 }),
    });
    const here = await world();
    const id = await here.mail(file("lost"));
    const began = performance.now();
    const analyzer = here.start(clientOf(vmray), { settings: { ...SETTINGS, resend_after: 150 } });
    expect((await here.verdicts(id))[0]?.verdict).toBe("clean");
    expect(performance.now() - began).toBeGreaterThan(150);
    expect([...vmray.submissions().values()]).toEqual([1]);
    expect(analyzer.status().budget.usedToday).toBe(1);
  });

  test("is committed as open before each POST, so that a kill waits anew, and charged with the first alone", async () => {
    const here = await world();
    const steps: string[] = [];
    const spool = {
      ...here.spool,
      recordProgress: async (...of: Parameters<typeof here.spool.recordProgress>) => {
        await here.spool.recordProgress(...of);
        const [, progress, , , charge] = of;
        const late = progress.state === "submitting" && progress.resendAt !== undefined ? ", late" : "";
        steps.push(`${progress.state}${late}${charge === undefined ? "" : ", charged"}`);
      },
    };
    const usual = scripted({});
    const client = scripted({
      submitFile: async (content, signal) => {
        steps.push("POST");
        if (steps.filter((each) => each === "POST").length === 1)
          throw new VmrayError("VMRAY_UNREACHABLE", "no answer within 30 s");
        return usual.submitFile(content, signal);
      },
    });
    const id = await here.mail(file("twice"));
    here.start(client, { spool, settings: { ...SETTINGS, resend_after: 50 } });
    await here.decided(id);
    expect(steps.filter((step, at) => step !== steps[at - 1])).toEqual([
      "submitting, charged",
      "POST",
      "submitting, late",
      "submitting",
      "POST",
      "submitted",
    ]);
  });

  describe("bug: was paid twice and charged once where it came after it was sent again", () => {
    const twice = async (consumed: readonly (number | null)[], finished: readonly boolean[]) => {
      const here = await world();
      let mark = "";
      let posts = 0;
      const made = (id: number) =>
        submission({
          submission_id: id,
          submission_sample_id: 7,
          submission_finished: finished[id - 1],
          submission_consumed_quota: consumed[id - 1],
          submission_submission_metadata: JSON.stringify({ email_sensor: mark }),
        });
      const client = scripted({
        submitFile: async ({ correlation }) => {
          mark = correlation;
          posts += 1;
          if (posts === 1) throw new VmrayError("VMRAY_UNREACHABLE", "no answer within 30 s");
          return answer({ submissions: [{ submission_id: 2, submission_sample_id: 7 }] });
        },
        submission: async (id) => made(id),
        submissionsOfSample: async () => [made(2), made(1)],
      });
      const id = await here.mail(file("late"));
      const analyzer = here.start(client, {
        settings: { ...SETTINGS, resend_after: 10, budget: { ...SETTINGS.budget, per_day: 100 } },
      });
      const [verdict] = await here.verdicts(id);
      expect(verdict).toMatchObject({ verdict: "clean", cost: { submissions: 2 } });
      await until(() => analyzer.status().counts.finished === 1, "the count");
      const told = here.lines.filter(
        ({ msg }) => msg === "VMRay got a content more than once: an answer was lost",
      );
      expect(told.length).toBe(1);
      const charged = await here.spool.charged(dayOf(Date.now()));
      expect(analyzer.status().budget.usedToday).toBe(charged);
      return { charged, quota: verdict?.cost?.quota };
    };

    test("as VMRay says what both took", async () => {
      expect(await twice([3, 1], [true, true])).toEqual({ charged: 4, quota: 4 });
    });

    test("as two where VMRay does not say, or is still at the first", async () => {
      expect(await twice([null, null], [true, true])).toEqual({ charged: 2, quota: null });
      expect(await twice([0, 1], [false, true])).toEqual({ charged: 2, quota: null });
    });
  });

  test("bug: was not found, and sent again, where VMRay gave it another hash", async () => {
    const here = await world();
    let mark = "";
    const client = scripted({
      submitUrl: async ({ correlation }) => {
        mark = correlation;
        throw new VmrayError("VMRAY_UNREACHABLE", "no answer within 30 s");
      },
      newestSubmissions: async () => [
        submission({ submission_id: 8, submission_submission_metadata: '{"email_sensor": "another"}' }),
        submission({
          submission_id: 7,
          submission_sample_id: 7,
          submission_submission_metadata: JSON.stringify({ email_sensor: mark }),
        }),
      ],
    });
    const id = await here.mail(url("http://spelt.example/%7Eother"));
    const analyzer = here.start(client, { settings: { ...SETTINGS, resend_after: 10 } });
    expect(await here.verdicts(id)).toMatchObject([{ verdict: "clean", vmray: { submission_id: 7 } }]);
    expect(analyzer.status().counts.submissions).toBe(1);
  });

  test("bug: was sent again after a look of long ago", async () => {
    const clock = movableClock();
    const here = await world(clock.now);
    const steps: string[] = [];
    let blocked = Promise.withResolvers<void>();
    const client = scripted({
      samplesBySha256: async (sha256) => {
        if (sha256 === hashOf("late")) steps.push("look");
        return [];
      },
      submitFile: async ({ size }) => {
        if (size === "late".length) {
          steps.push("POST");
          if (steps.filter((each) => each === "POST").length === 1)
            throw new VmrayError("VMRAY_UNREACHABLE", "no answer within 30 s");
        } else await blocked.promise;
        return answer({ submissions: [{ submission_id: 1, submission_sample_id: 1 }] });
      },
    });
    const settings = { ...SETTINGS, resend_after: 20, concurrency: 2 };
    const analyzer = here.start(client, { settings });
    const id = await here.mail(file("late"));
    await until(() => steps.includes("POST"), "the first one");
    // The only slot for files is taken when it may be sent again.
    await here.mail(file("takes the only slot for files"));
    await until(() => analyzer.status().waiting.upload === 1, "the wait for the slot");
    const looks = () => steps.filter((each) => each === "look").length;
    const before = looks();
    clock.move(60_000);
    blocked.resolve();
    blocked = Promise.withResolvers();
    await here.decided(id);
    expect(looks()).toBeGreaterThan(before);
    expect(steps.slice(-2)).toEqual(["look", "POST"]);
  });

  test.each([
    ["no answer within 30 s", "VMRAY_UNREACHABLE", null, true],
    ["bad gateway", "VMRAY_UNREACHABLE", 502, true],
    ["gateway time-out", "VMRAY_UNREACHABLE", 504, true],
    ["a login page", "VMRAY_ANSWER", 200, true],
    ["a fault of VMRay", "VMRAY_UNREACHABLE", 500, false],
    ["nobody there", "VMRAY_UNREACHABLE", 503, false],
    ["a scanner forbids it", "VMRAY_ANSWER", 403, false],
    ["a key", "VMRAY_AUTH", 401, false],
    ["too many", "VMRAY_THROTTLED", 429, false],
  ] as const)("after %s (%s, %p) may arrive: %p", (message, code, status, late) => {
    expect(mayStillArrive(new VmrayError(code, message, status === null ? {} : { status }))).toBe(late);
  });

  test("may not where there was no connection", async () => {
    const vmray = await simulator();
    const client = clientOf(vmray);
    await vmray.setDown(true);
    const sent = client.submitUrl({ url: "http://x.example/", action: "reputation", correlation: "c" });
    expect(mayStillArrive(await sent.catch((thrown) => thrown))).toBe(false);
  });
});

test("the fault of a submission that VMRay has trouble with is kept as long as that is why it waits", async () => {
  const here = await world();
  let trouble = true;
  let asked = 0;
  const client = scripted({
    submission: async (id) => {
      asked += 1;
      if (trouble) throw new VmrayError("VMRAY_UNREACHABLE", "VMRay has a fault: HTTP 500", { status: 500 });
      return submission({ submission_id: id, submission_finished: false, submission_status: "queued" });
    },
  });
  const id = await here.mail(url("http://trouble.example/"));
  here.start(client);
  const told = (wanted: string | null) =>
    until(
      async () => (await here.spool.waitingFault(id)) === wanted,
      () => `the fault to be ${wanted}, after ${asked} polls`,
    );
  await told("VMRay has a fault: HTTP 500");
  trouble = false;
  await told(null);
  expect((await here.spool.mail(id))?.state).toBe("analysing");
});

describe("an answer that is not VMRay's", () => {
  const PLAIN = "<html><title>400 The plain HTTP request was sent to HTTPS port</title></html>";
  test.each([
    ["a page with 400", () => new Response(PLAIN, { status: 400 }), "400 The plain HTTP request"],
    ["a page with 451", () => new Response("<title>Blocked</title>", { status: 451 }), "Blocked"],
    ["a gateway's JSON", () => Response.json({ message: "no Route matched" }, { status: 404 }), "HTTP 404"],
    ["a refusal of every question", () => Response.json({ result: "error" }, { status: 400 }), "HTTP 400"],
  ])(
    "costs no work (bug: it failed contents for good, or made them unknown): %s",
    async (_, wrong, words) => {
      const vmray = await simulator();
      let astray = true;
      const front = Bun.serve({
        port: 0,
        hostname: "127.0.0.1",
        fetch(request): Response | Promise<Response> {
          const { pathname, search } = new URL(request.url);
          return astray ? wrong() : fetch(`${vmray.url}${pathname}${search}`, request);
        },
      });
      try {
        const here = await world();
        const id = await here.mail(file("kept"), url("http://kept.example/", "lookup"));
        const analyzer = here.start(clientOf({ url: front.url.origin }), {
          timing: { ...FAST, unreachableNews: 50 },
        });
        await until(() => here.news.length > 0, "the event");
        expect(here.news).toEqual(["analyzer_unreachable"]);
        expect(analyzer.status().lastError).toMatchObject({ code: "VMRAY_ANSWER" });
        expect(analyzer.status().lastError?.message).toContain(words);
        expect(analyzer.status().counts).toMatchObject({ finished: 0, failed: 0 });
        astray = false;
        expect(await here.verdicts(id)).toMatchObject([
          { verdict: "clean" },
          { verdict: "not_available", reason: "unknown to VMRay; only looked up, as the policy wants" },
        ]);
        expect(analyzer.status().counts).toMatchObject({ finished: 2, failed: 0 });
      } finally {
        await front.stop(true);
      }
    },
  );
});

describe("a 403", () => {
  const forbidden = () =>
    new VmrayError("VMRAY_AUTH", "VMRay does not allow the API key this call", { status: 403 });

  test("to one object does not stop the pool: that content alone waits and is given up", async () => {
    const here = await world();
    const poison = await here.mail(url("http://poison.example/"));
    let refused = 0;
    const usual = scripted({});
    here.start(
      scripted({
        submission: async (id, signal) => {
          if (id !== 101) return usual.submission(id, signal);
          refused += 1;
          throw forbidden();
        },
      }),
      // On a busy machine two of these may follow each other.
      { timing: { ...FAST, unreachableNews: 500 } },
    );
    await until(() => refused > 0, "the first 403");
    const others = [];
    for (let n = 0; n < 30; n++) {
      others.push(await here.mail(url(`http://h${n}.example/`)));
      await Bun.sleep(5);
    }
    for (const other of others) expect((await here.verdicts(other))[0]?.verdict).toBe("clean");
    expect(refused).toBeGreaterThan(1);
    expect(here.news).toEqual([]);
    const [given] = await here.verdicts(poison);
    expect(given).toMatchObject({ outcome: "failed", reason: expect.stringContaining("does not allow") });
  });

  test("to every call stops the pool", async () => {
    const here = await world();
    let calls = 0;
    const deny = async () => {
      calls += 1;
      throw forbidden();
    };
    const analyzer = here.start(scripted({ samplesBySha256: deny }), {
      timing: { ...FAST, probeAuth: 60_000, unreachableNews: 500 },
    });
    for (let n = 0; n < 20; n++) await here.mail(url(`http://h${n}.example/`));
    await until(() => analyzer.status().circuits.reads.reason === "auth", "the pause");
    await Bun.sleep(1500);
    expect(calls).toBeLessThan(20);
    expect(here.news).toEqual(["analyzer_auth_failed"]);
  });
});

describe("the circuit breaker", () => {
  test("lets one call at a time through while VMRay has a fault, and all once it has none", async () => {
    const vmray = await simulator({ scenario: scenario({ fault: "status", status: 503 }) });
    const here = await world();
    const ids = await Promise.all(Array.from({ length: 20 }, (_, n) => here.mail(file(`breaker ${n}`))));
    // A probe after 50 to 100 ms, then after 100 to 200, and so on.
    const begun = performance.now();
    const analyzer = here.start(clientOf(vmray), { timing: { probeFirst: 100, probeMax: 200 } });
    await until(() => analyzer.status().circuits.reads.state === "shut", "the pause");
    await Bun.sleep(300);
    const probes = (performance.now() - begun) / 50;
    const calls = [...vmray.calls().values()].reduce((sum, times) => sum + times, 0);
    // Four look-ups and the quota's two calls at once, then the probes.
    expect(calls).toBeLessThanOrEqual(4 + 2 + Math.ceil(probes));
    expect(analyzer.status().circuits.reads).toMatchObject({ reason: "unreachable" });
    vmray.setScenario(scenario());
    for (const id of ids) expect((await here.verdicts(id))[0]?.verdict).toBe("clean");
    expect(analyzer.status().circuits.reads).toEqual({ state: "open", reason: null, retryAt: null });
  });

  test("stays closed for a call that fails now and then", async () => {
    const here = await world();
    let calls = 0;
    const analyzer = here.start(
      scripted({
        samplesBySha256: async () => {
          calls += 1;
          if (calls % 5 === 0) throw new VmrayError("VMRAY_UNREACHABLE", "a single fault");
          return [];
        },
      }),
    );
    for (let n = 0; n < 20; n++) await here.decided(await here.mail(url(`http://n${n}.example/`, "lookup")));
    expect(here.lines.filter(({ msg }) => msg === "calls to VMRay pause")).toEqual([]);
    expect(analyzer.status().counts.finished).toBe(20);
  });
});

test.each([401, 403])("a key that is refused with %d stops all calls, and is told once", async (status) => {
  const vmray = await simulator({ scenario: scenario({ fault: "status", status }) });
  const here = await world();
  const ids = await Promise.all(Array.from({ length: 10 }, (_, n) => here.mail(file(`refused ${n}`))));
  const analyzer = here.start(clientOf(vmray), { timing: { probeAuth: 2000, unreachableNews: 50 } });
  await until(() => here.news.length > 0, "the event");
  const calls = () => [...vmray.calls().values()].reduce((sum, times) => sum + times, 0);
  const before = calls();
  await Bun.sleep(120);
  expect(calls()).toBe(before);
  expect(before).toBeLessThan(10);
  expect(analyzer.status()).toMatchObject({ paused: "auth", counts: { finished: 0, failed: 0 } });
  vmray.setScenario(scenario());
  for (const id of ids) expect((await here.verdicts(id))[0]?.verdict).toBe("clean");
  expect(here.news).toEqual(["analyzer_auth_failed", "analyzer_recovered"]);
});

test("a server with a wrong certificate gets nothing, and the work waits for a right one", async () => {
  const certificates = makeCertificates("vmray.example");
  let requests = 0;
  const server = Bun.serve({
    port: 0,
    hostname: "127.0.0.1",
    tls: { cert: Bun.file(certificates.server.cert), key: Bun.file(certificates.server.key) },
    fetch: () => {
      requests += 1;
      return new Response("{}");
    },
  });
  try {
    const vmray = await simulator();
    const wrong = createVmrayClient(
      {
        url: `https://127.0.0.1:${server.port}`,
        ...DIRECT,
        request_timeout: 1000,
        upload_timeout: 1000,
        ...SUBMIT_DEFAULTS,
      },
      KEY,
    );
    const right = clientOf(vmray);
    let client: VmrayClient = wrong;
    const here = await world();
    const id = await here.mail(file("certificate"));
    const analyzer = here.start(
      scripted({
        samplesBySha256: (sha256, signal) => client.samplesBySha256(sha256, signal),
        submitFile: (content, signal) => client.submitFile(content, signal),
        submission: (one, signal) => client.submission(one, signal),
      }),
    );
    await until(() => here.news.length > 0, "the event");
    expect(here.news).toEqual(["analyzer_unreachable"]);
    expect(analyzer.status()).toMatchObject({
      paused: "unreachable",
      lastError: { code: "VMRAY_UNREACHABLE" },
    });
    expect(requests).toBe(0);
    client = right;
    expect((await here.verdicts(id))[0]?.verdict).toBe("clean");
  } finally {
    await server.stop(true);
    certificates.remove();
  }
});

describe("a content of many submissions", () => {
  const MANY = 60;
  const many = () =>
    answer({
      submissions: Array.from({ length: MANY }, (_, n) => ({
        submission_id: n + 1,
        submission_sample_id: n + 1,
      })),
    });

  test.each([
    ["VMRAY_THROTTLED", 429],
    ["VMRAY_UNREACHABLE", 503],
  ] as const)("bug: began anew at each %s and never came to a verdict", async (code, status) => {
    const here = await world();
    const usual = scripted({});
    let calls = 0;
    const failing = <T>(call: () => Promise<T>): Promise<T> => {
      calls += 1;
      if (calls % 10 === 0) throw new VmrayError(code, "not now", { status, retryAfter: 0 });
      return call();
    };
    const client = scripted({
      submitFile: async () => many(),
      submission: (id, signal) => failing(() => usual.submission(id, signal)),
      sample: (id, signal) => failing(() => usual.sample(id, signal)),
    });
    const id = await here.mail(file("an archive"));
    const analyzer = here.start(client);
    expect(await here.verdicts(id)).toMatchObject([{ outcome: "judged", verdict: "clean" }]);
    // Two calls for each, and one in ten once more.
    expect(calls).toBeLessThan(2 * MANY * 1.2);
    expect(analyzer.status().counts.failed).toBe(0);
  });

  test("bug: was read on while VMRay asked all to wait", async () => {
    const here = await world();
    const usual = scripted({});
    let calls = 0;
    let throttled = false;
    const client = scripted({
      submitFile: async () => many(),
      samplesBySha256: async (sha256) => {
        if (sha256 !== hashOf("another")) return [];
        throttled = true;
        throw new VmrayError("VMRAY_THROTTLED", "wait", { status: 429, retryAfter: 60_000 });
      },
      submission: async (id, signal) => {
        // The first one is under way until VMRay asks to wait.
        if (calls === 0) await until(() => throttled, "the answer to the other one");
        calls += 1;
        return usual.submission(id, signal);
      },
    });
    const id = await here.mail(file("an archive"));
    const analyzer = here.start(client);
    await until(() => analyzer.status().counts.polls === 1, "the first call");
    await here.mail(file("another"));
    await until(() => analyzer.status().paused === "throttled", "the pause");
    await until(() => analyzer.status().running === 0, "the end of the step");
    expect(calls).toBe(1);
    expect((await here.spool.mail(id))?.state).toBe("analysing");
    expect(analyzer.status().counts.failed).toBe(0);
  });
});

describe("giving up", () => {
  const JOB: AnalysisJob = {
    key: "slow",
    artifact: file("slow"),
    lane: "poll",
    priority: 1,
    turn: 0,
    mailId: "mail",
    progress: { state: "queued" },
    createdAt: 0,
    nextAt: 0,
    faults: 0,
  };
  const LIMITS = { giveUpAfter: 60_000, queueLimit: 600_000 };
  const asked = async (
    fields: Readonly<Record<string, unknown>>,
    now: number,
    runningSince?: number,
    jobs: readonly string[] = [],
  ) => {
    const client = scripted({
      submission: async () => submission({ submission_id: 1, submission_finished: false, ...fields }),
      jobStatuses: async () => jobs,
    });
    const progress = {
      state: "submitted",
      submissionIds: [1],
      sampleIds: [],
      submittedAt: 0,
      ...(runningSince === undefined ? {} : { runningSince }),
    } as const;
    return poll(client, JOB, progress, { now, ...LIMITS }, new AbortController().signal);
  };

  test("counts from when VMRay works on it, not from when it was submitted", async () => {
    expect(await asked({ submission_status: "queued" }, 599_999)).toEqual({ kind: "wait", running: false });
    expect(await asked({ submission_status: "inwork" }, 599_000)).toEqual({ kind: "wait", running: true });
    expect(await asked({ submission_status: "inwork" }, 559_999, 500_000)).toMatchObject({ kind: "wait" });
    expect(await asked({ submission_status: "inwork" }, 560_000, 500_000)).toMatchObject({
      kind: "finish",
      verdict: { outcome: "failed", reason: "VMRay did not finish the analysis within 1 min" },
    });
  });

  test("asks the jobs of a version that gives no status", async () => {
    expect(await asked({}, 1_000, undefined, ["queued", "pending"])).toEqual({
      kind: "wait",
      running: false,
    });
    expect(await asked({}, 1_000, undefined, ["queued", "inwork"])).toEqual({ kind: "wait", running: true });
  });

  test("has an end for what is queued for ever", async () => {
    expect(await asked({ submission_status: "queued" }, 600_000)).toMatchObject({
      kind: "finish",
      verdict: { outcome: "failed", reason: "VMRay did not finish a submission within 10 min" },
    });
  });
});
