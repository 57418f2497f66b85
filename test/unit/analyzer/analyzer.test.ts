/** The worker pool between a real spool and the simulator, and scripted VMRays for what that never does. */
import { describe, expect, test } from "bun:test";
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { dayOf } from "../../../src/analyzer/budget.ts";
import { EICAR, EICAR_THREAT_NAME, MARKER_PREFIX } from "../../../src/analyzer/simulator/judgement.ts";
import { readScenario } from "../../../src/analyzer/simulator/scenario.ts";
import { correlationId } from "../../../src/analyzer/steps.ts";
import { VmrayError } from "../../../src/analyzer/vmray-error.ts";
import { SensorError } from "../../../src/errors.ts";
import type { PlannedArtifact } from "../../../src/triage/plan.ts";
import { judge } from "../../../src/verdict/judge.ts";
import { until } from "../../until.ts";
import { makeWithSevenZip } from "../extract/archives/make.ts";
import {
  answer,
  clientOf,
  FAST,
  file,
  filesIn,
  hashOf,
  modeOf,
  movableClock,
  QUOTA_RETRY,
  SETTINGS,
  sample,
  scripted,
  simulator,
  submission,
  url,
  world,
  zip,
} from "./harness.ts";

const hang = (signal?: AbortSignal) =>
  new Promise<never>((_, reject) => signal?.addEventListener("abort", () => reject(signal.reason)));
/** No quota is tried again while the test goes on, but where it moves the clock. */
const PATIENT = { timing: { ...FAST, quotaRetry: QUOTA_RETRY } };
const unreachable = () => new VmrayError("VMRAY_UNREACHABLE", "VMRay has a fault: HTTP 500", { status: 500 });

describe("a file", () => {
  test("VMRay does not know is submitted once and gets verdict, threat names and link", async () => {
    const vmray = await simulator();
    const here = await world();
    const id = await here.mail(file(EICAR));
    const analyzer = here.start(clientOf(vmray));
    const [verdict] = await here.verdicts(id);
    expect(verdict).toMatchObject({
      outcome: "judged",
      verdict: "malicious",
      threat_names: [EICAR_THREAT_NAME],
      vmray: { sample_id: expect.any(Number), submission_id: expect.any(Number) },
    });
    expect(verdict?.vmray?.url).toStartWith(vmray.url);
    expect(vmray.submissions()).toEqual(new Map([[hashOf(EICAR), 1]]));
    expect(analyzer.status()).toMatchObject({
      paused: null,
      counts: { lookups: 1, submissions: 1, finished: 1 },
    });
  });

  test("in many mails at once is submitted once", async () => {
    const vmray = await simulator();
    const here = await world();
    here.start(clientOf(vmray));
    const content = `${MARKER_PREFIX}suspicious`;
    const ids = await Promise.all(
      Array.from({ length: 12 }, () => here.mail(file(content), file("harmless"))),
    );
    for (const id of ids) {
      expect((await here.verdicts(id)).map((each) => each.verdict)).toEqual(["suspicious", "clean"]);
    }
    expect([...vmray.submissions().values()]).toEqual([1, 1]);
  });

  test("VMRay knows is not submitted", async () => {
    const vmray = await simulator();
    const first = await world();
    const before = await first.mail(file(EICAR));
    first.start(clientOf(vmray));
    await first.decided(before);

    const second = await world();
    const analyzer = second.start(clientOf(vmray));
    expect(await second.verdicts(await second.mail(file(EICAR)))).toMatchObject([
      { outcome: "judged", verdict: "malicious", threat_names: [EICAR_THREAT_NAME] },
    ]);
    expect(analyzer.status().counts.submissions).toBe(0);
  });

  test("that is only looked up is not submitted", async () => {
    const vmray = await simulator();
    const here = await world();
    here.start(clientOf(vmray));
    const [verdict] = await here.verdicts(await here.mail(file("unknown", "lookup")));
    expect(verdict).toMatchObject({ outcome: "judged", verdict: "not_available" });
    expect(verdict?.reason).toContain("unknown to VMRay");
    expect(vmray.submissions().size).toBe(0);
  });

  test("whose analysis fails is not available, with the reason, and is tried again for a later mail", async () => {
    const vmray = await simulator();
    const here = await world();
    const analyzer = here.start(clientOf(vmray));
    const content = `${MARKER_PREFIX}error`;
    const [verdict] = await here.verdicts(await here.mail(file(content)));
    expect(verdict).toMatchObject({ outcome: "failed", verdict: "not_available" });
    expect(verdict?.reason).toContain("errors");
    await here.verdicts(await here.mail(file(content)));
    expect(analyzer.status().counts).toMatchObject({ submissions: 2, failed: 2 });
  });

  test("that the mail no longer has fails with the reason", async () => {
    const here = await world();
    here.start(scripted({}), { writeContent: async () => false });
    const [verdict] = await here.verdicts(await here.mail(file("gone")));
    expect(verdict).toMatchObject({ outcome: "failed", verdict: "not_available" });
    expect(verdict?.reason).toContain("no longer kept");
    expect(filesIn(here.tempDir)).toBeEmpty();
  });

  test("is on disk for us alone while it is sent, and not after", async () => {
    const here = await world();
    mkdirSync(here.tempDir);
    writeFileSync(join(here.tempDir, `content-${"0".repeat(64)}-1`), "left by a crash");
    writeFileSync(join(here.tempDir, "not-ours"), "");
    const seen: number[] = [];
    const client = scripted({
      submitFile: async ({ path, size }) => {
        seen.push(modeOf(path), modeOf(here.tempDir), size, Bun.file(path).size);
        throw new VmrayError("VMRAY_REFUSED", "VMRay refused the request: unsupported type", { status: 400 });
      },
    });
    here.start(client);
    expect(filesIn(here.tempDir)).toEqual(["not-ours"]);
    const [verdict] = await here.verdicts(await here.mail(file("12345")));
    expect(verdict).toMatchObject({
      outcome: "failed",
      reason: "VMRay refused the request: unsupported type",
    });
    expect(seen).toEqual([0o600, 0o700, 5, 5]);
    expect(filesIn(here.tempDir)).toEqual(["not-ours"]);
  });
});

describe("an archive with a password", () => {
  const sealed = () => makeWithSevenZip({ "e.com": EICAR }, ["-tzip", "-pgeheim-7", "-mem=AES256"]);

  test("goes to VMRay with it, and is judged by what it holds", async () => {
    const vmray = await simulator();
    const here = await world();
    here.start(clientOf(vmray));
    expect(await here.verdicts(await here.mail(zip(await sealed(), "geheim-7")))).toMatchObject([
      { verdict: "malicious", threat_names: [EICAR_THREAT_NAME] },
    ]);
  });

  test("is judged anew where it came without the password before, to us or to VMRay", async () => {
    const vmray = await simulator();
    const here = await world();
    here.start(clientOf(vmray));
    const content = await sealed();
    const verdictOf = async (password: string | null) =>
      (await here.verdicts(await here.mail(zip(content, password))))[0]?.verdict;
    expect(await verdictOf(null)).toBe("not_available");
    expect(await verdictOf("geheim-7")).toBe("malicious");
    expect(vmray.submissions().get(hashOf(content))).toBe(2);
    expect(await verdictOf("geheim-7")).toBe("malicious");
    expect(vmray.submissions().get(hashOf(content))).toBe(2);
  });

  test.each([
    ["clean", 1],
    ["not_available", 1],
    ["suspicious", 0],
    ["malicious", 0],
  ] as const)(
    "that VMRay found %s, perhaps without the password, is submitted %d times",
    async (known, times) => {
      const here = await world();
      const passwords: unknown[] = [];
      const client = scripted({
        samplesBySha256: async () => [sample({ sample_id: 5, sample_verdict: known })],
        submissionsOfSample: async () => [submission({ submission_id: 7, submission_finished: false })],
        submitFile: async ({ password }) => {
          passwords.push(password);
          return answer({ submissions: [{ submission_id: 8, submission_sample_id: 8 }] });
        },
      });
      here.start(client);
      await here.verdicts(await here.mail(zip(Buffer.from(`zip ${known}`), "pw")));
      expect(passwords).toEqual(times === 1 ? [{ of: "archive", value: "pw" }] : []);
    },
  );

  test("is a document where it is one", async () => {
    const here = await world();
    const passwords: unknown[] = [];
    const client = scripted({
      submitFile: async ({ password }) => {
        passwords.push(password);
        return answer({ submissions: [{ submission_id: 8, submission_sample_id: 8 }] });
      },
    });
    here.start(client);
    const artifact = zip(Buffer.from("a pdf"), "pw");
    if (artifact.kind === "url") throw new Error("no file");
    const attachment = { ...artifact.attachment, filename: "a.pdf", type: "application/pdf" };
    await here.verdicts(await here.mail({ ...artifact, attachment }));
    expect(passwords).toEqual([{ of: "document", value: "pw" }]);
  });
});

describe("a URL", () => {
  test.each([
    ["http://malicious.example/", "malicious", null],
    ["http://suspicious.example/", "suspicious", null],
    ["http://fine.example/", "clean", null],
    ["http://unknown.example/", "not_available", "VMRay knows nothing about this URL"],
  ] as const)("%s is %s", async (text, verdict, reason) => {
    const vmray = await simulator();
    const here = await world();
    here.start(clientOf(vmray));
    const [judged] = await here.verdicts(await here.mail(url(text)));
    expect(judged).toMatchObject({ outcome: "judged", verdict });
    if (reason !== null) expect(judged?.reason).toStartWith(reason);
    expect(vmray.submissions()).toEqual(new Map([[text, 1]]));
  });

  test("VMRay keeps without the slash after the host is known", async () => {
    const here = await world();
    const client = scripted({
      samplesBySha256: async (sha256) =>
        sha256 === hashOf("http://bad.example")
          ? [sample({ sample_id: 3, sample_verdict: "malicious" })]
          : [],
    });
    const analyzer = here.start(client);
    const [verdict] = await here.verdicts(await here.mail(url("http://bad.example/")));
    expect(verdict).toMatchObject({ verdict: "malicious", vmray: { sample_id: 3 } });
    expect(analyzer.status().counts.submissions).toBe(0);
  });

  test("does not wait behind uploads, however many wait", async () => {
    const here = await world();
    let uploads = 0;
    const client = scripted({
      submitFile: (_, signal) => {
        uploads += 1;
        return hang(signal);
      },
    });
    // More than are kept in memory.
    await here.mail(...Array.from({ length: 600 }, (_, n) => file(`upload ${n}`)));
    const id = await here.mail(url("http://fine.example/"));
    const analyzer = here.start(client);
    expect((await here.verdicts(id))[0]?.verdict).toBe("clean");
    await until(() => uploads === 3 && analyzer.status().running === 3, "as many uploads as may run, alone");
    expect(analyzer.status().paused).toBeNull();
  });
});

describe("a restart", () => {
  test("goes on asking after the same submission", async () => {
    const vmray = await simulator({ inWorkMs: 120 });
    const here = await world();
    const id = await here.mail(file(EICAR));
    const first = here.start(clientOf(vmray));
    await until(() => vmray.submissions().size === 1, "the submission");
    await first.stop();
    expect(filesIn(here.tempDir)).toBeEmpty();
    const second = here.start(clientOf(vmray));
    expect((await here.verdicts(id))[0]?.verdict).toBe("malicious");
    expect(vmray.submissions()).toEqual(new Map([[hashOf(EICAR), 1]]));
    expect(second.status().counts.submissions).toBe(0);
  });

  test("between the POST and its commit finds the submission by its metadata", async () => {
    const vmray = await simulator({ inWorkMs: 50 });
    const here = await world();
    const id = await here.mail(file(EICAR));
    const [job] = await here.spool.dueAnalyses(Date.now() + 1, 1, new Set());
    if (job === undefined) throw new Error("no analysis");
    await here.spool.recordProgress(job.key, { state: "submitting" }, 0, 0);
    const path = join(here.tempDir, "..", "content");
    writeFileSync(path, EICAR);
    const correlation = correlationId(job);
    await clientOf(vmray).submitFile({
      path,
      size: EICAR.length,
      filename: null,
      action: "dynamic",
      correlation,
    });

    const analyzer = here.start(clientOf(vmray));
    expect((await here.verdicts(id))[0]?.verdict).toBe("malicious");
    expect(vmray.submissions()).toEqual(new Map([[hashOf(EICAR), 1]]));
    expect(analyzer.status().counts.submissions).toBe(0);
  });

  test("before the POST was sent sends it", async () => {
    const vmray = await simulator();
    const here = await world();
    const id = await here.mail(file(EICAR));
    await here.spool.recordProgress(`file:${hashOf(EICAR)}`, { state: "submitting" }, 0, 0);
    here.start(clientOf(vmray));
    expect((await here.verdicts(id))[0]?.verdict).toBe("malicious");
    expect(vmray.submissions()).toEqual(new Map([[hashOf(EICAR), 1]]));
  });

  test("joins what is in work for somebody else, and not what ended without a verdict", async () => {
    const here = await world();
    const of = (id: number, finished: boolean, metadata?: string) =>
      submission({
        submission_id: id,
        submission_finished: finished,
        submission_submission_metadata: metadata,
      });
    const asked: number[] = [];
    const client = (submissions: readonly ReturnType<typeof of>[]) =>
      scripted({
        samplesBySha256: async () => [sample({ sample_id: 5, sample_verdict: null })],
        submissionsOfSample: async () => submissions,
        submission: async (id) => {
          asked.push(id);
          return submission({ submission_id: id, submission_finished: true, submission_verdict: "clean" });
        },
      });
    const inWork = here.start(client([of(7, true, "{}"), of(8, false, "{}")]));
    await here.verdicts(await here.mail(file("joined")));
    expect([asked, inWork.status().counts.submissions]).toEqual([[8], 0]);
    await inWork.stop();

    const ended = here.start(client([of(7, true, "{}"), of(8, true, "{}")]));
    await here.verdicts(await here.mail(file("submitted anew")));
    expect(ended.status().counts.submissions).toBe(1);
  });

  test("with a version that gives no metadata back takes the newest submission rather than submit twice", async () => {
    const here = await world();
    const id = await here.mail(file("old version"));
    await here.spool.recordProgress(`file:${hashOf("old version")}`, { state: "submitting" }, 0, 0);
    const analyzer = here.start(
      scripted({
        samplesBySha256: async () => [sample({ sample_id: 5, sample_severity: "unknown" })],
        submissionsOfSample: async () => [
          submission({ submission_id: 7, submission_finished: true, submission_severity: "malicious" }),
        ],
        sample: async () => null,
        submission: async () =>
          submission({ submission_id: 7, submission_finished: true, submission_severity: "malicious" }),
      }),
    );
    expect((await here.verdicts(id))[0]?.verdict).toBe("malicious");
    expect(analyzer.status().counts.submissions).toBe(0);
  });
});

describe("when VMRay", () => {
  test("loses its answer to a submission, the content is not submitted twice", async () => {
    const vmray = await simulator();
    const here = await world();
    const client = clientOf(vmray);
    let lost = 0;
    here.start({
      ...client,
      submitFile: async (content, signal) => {
        lost += 1;
        vmray.failNext(1, 502, "after");
        return client.submitFile(content, signal);
      },
    });
    expect((await here.verdicts(await here.mail(file(EICAR))))[0]?.verdict).toBe("malicious");
    expect(vmray.submissions()).toEqual(new Map([[hashOf(EICAR), 1]]));
    expect(lost).toBe(1);
  });

  test("is down, everything waits, and gets its verdict when it is up again", async () => {
    const vmray = await simulator();
    const here = await world();
    await vmray.setDown(true);
    const ids = await Promise.all(
      Array.from({ length: 10 }, (_, n) => here.mail(file(`file ${n}`), url(`http://n${n}.example/`))),
    );
    const analyzer = here.start(clientOf(vmray));
    await until(() => analyzer.status().paused === "unreachable", "the pause");
    await Bun.sleep(60);
    expect(analyzer.status()).toMatchObject({
      lastError: { code: "VMRAY_UNREACHABLE" },
      counts: { finished: 0 },
    });
    expect(here.lines.filter((line) => line.level === "warn").length).toBe(1);
    await vmray.setDown(false);
    for (const id of ids) {
      expect((await here.verdicts(id)).map((each) => each.verdict)).toEqual(["clean", "clean"]);
    }
    expect(analyzer.status()).toMatchObject({ paused: null, counts: { finished: 20, failed: 0 } });
    expect([...vmray.submissions().values()].every((times) => times === 1)).toBe(true);
  });

  test("goes down while it analyses, nothing is given up for that", async () => {
    const clock = { now: Date.now() };
    const vmray = await simulator({ inWorkMs: 30 });
    const here = await world(() => clock.now);
    const id = await here.mail(file(EICAR));
    const analyzer = here.start(clientOf(vmray));
    await until(() => vmray.submissions().size === 1, "the submission");
    await vmray.setDown(true);
    for (let n = 0; n < 20; n++) {
      clock.now += 3_600_000;
      await here.mail(file(`wake ${n}`));
      await Bun.sleep(2);
    }
    await until(() => analyzer.status().paused === "unreachable", "the pause");
    await vmray.setDown(false);
    clock.now += 60_000;
    let wakes = 0;
    await until(async () => {
      clock.now += 100;
      await here.mail(file(`wake again ${wakes++}`));
      return (await here.spool.mail(id))?.state !== "analysing";
    }, "the verdict");
    expect(await here.verdicts(id)).toMatchObject([{ outcome: "judged", verdict: "malicious" }]);
  });

  test("bug: was not asked again for as long as the clock was set back", async () => {
    const clock = movableClock();
    const here = await world(clock.now);
    let polls = 0;
    const client = scripted({
      submission: async (id) => {
        polls += 1;
        return submission({ submission_id: id, submission_sample_id: id, submission_finished: polls > 2 });
      },
    });
    const id = await here.mail(file("in work"));
    here.start(client);
    await until(() => polls === 1, "the first call");
    clock.move(-86_400_000);
    expect((await here.verdicts(id))[0]?.verdict).toBe("clean");
  });

  test("takes no submissions, URLs and files wait, and what it knows is still told", async () => {
    const here = await world();
    let down = true;
    let posts = 0;
    const client = scripted({
      samplesBySha256: async (sha256) =>
        sha256 === hashOf("known") ? [sample({ sample_id: 1, sample_verdict: "malicious" })] : [],
      submitFile: async () => {
        posts += 1;
        if (down) throw unreachable();
        return answer({ submissions: [{ submission_id: 1, submission_sample_id: 1 }] });
      },
    });
    const waiting = await Promise.all(Array.from({ length: 10 }, (_, n) => here.mail(file(`unknown ${n}`))));
    const begun = performance.now();
    const analyzer = here.start(client);
    await until(() => analyzer.status().paused === "unreachable", "the pause");
    expect((await here.verdicts(await here.mail(file("known"))))[0]?.verdict).toBe("malicious");
    await Bun.sleep(40);
    // As many as may run at once, then one at a time, the next no sooner than half of the shortest wait.
    expect(posts).toBeLessThanOrEqual(3 + (performance.now() - begun) / (FAST.probeFirst / 2));
    down = false;
    for (const id of waiting) expect((await here.verdicts(id))[0]?.verdict).toBe("clean");
    expect(here.lines.map((line) => line.msg)).toContain("VMRay takes submissions again");
    expect(here.lines.filter((line) => line.level === "warn").length).toBe(1);
    expect(analyzer.status().counts.failed).toBe(0);
  });

  test("asks to wait, the whole pool waits that long", async () => {
    const here = await world();
    const calls: number[] = [];
    let throttled = 0;
    const client = scripted({
      samplesBySha256: async () => {
        calls.push(performance.now());
        if (throttled++ === 0)
          throw new VmrayError("VMRAY_THROTTLED", "wait", { status: 429, retryAfter: 150 });
        return [];
      },
    });
    const ids = [await here.mail(url("http://a.example/x")), await here.mail(url("http://b.example/x"))];
    const settings = { ...SETTINGS, concurrency: 1 };
    // And no longer: the content that met it has no wait of its own.
    const analyzer = here.start(client, { settings, timing: { faultFirst: 60_000 } });
    for (const id of ids) await here.decided(id);
    expect(here.lines).toContainEqual(
      expect.objectContaining({ msg: "calls to VMRay pause", reason: "throttled" }),
    );
    expect((calls[1] ?? 0) - (calls[0] ?? 0)).toBeGreaterThanOrEqual(145);
    expect(analyzer.status()).toMatchObject({ paused: null, counts: { finished: 2 } });
  });

  test("refuses the key, the pool asks now and then, says it once, and goes on with a right one", async () => {
    const vmray = await simulator();
    const here = await world();
    let client = clientOf(vmray, "wrong-key");
    let asked = 0;
    const ids = await Promise.all(Array.from({ length: 20 }, (_, n) => here.mail(file(`file ${n}`))));
    const begun = performance.now();
    const analyzer = here.start(
      scripted({
        samplesBySha256: (sha256, signal) => {
          asked += 1;
          return client.samplesBySha256(sha256, signal);
        },
        submitFile: (content, signal) => client.submitFile(content, signal),
        submission: (id, signal) => client.submission(id, signal),
        sample: (id, signal) => client.sample(id, signal),
      }),
    );
    await until(() => asked >= 4 + 2, "the key to be tried again");
    expect(analyzer.status()).toMatchObject({ paused: "auth", lastError: { code: "VMRAY_AUTH" } });
    // Four at once before the pause, then one at a time, 30 ms apart.
    expect(asked).toBeLessThanOrEqual(4 + 1 + (performance.now() - begun) / FAST.probeAuth);
    expect(here.lines.filter((line) => line.code === "VMRAY_AUTH").length).toBe(1);
    client = clientOf(vmray);
    for (const id of ids) expect((await here.verdicts(id))[0]?.verdict).toBe("clean");
    expect(analyzer.status().paused).toBeNull();
  });

  test("does not finish in time, the analysis is given up with the reason and the link", async () => {
    const clock = { now: Date.now() };
    const vmray = await simulator({ inWorkMs: 3_600_000 });
    const here = await world(() => clock.now);
    const id = await here.mail(file(EICAR));
    here.start(clientOf(vmray));
    await until(() => vmray.submissions().size === 1, "the submission");
    const wakeAfter = async (ms: number) => {
      clock.now += ms;
      await here.mail(file(`wakes the pool ${clock.now}`));
      await Bun.sleep(60);
    };
    // Its time begins when it is seen in work.
    await wakeAfter(60_001);
    expect((await here.spool.mail(id))?.state).toBe("analysing");
    while ((await here.spool.mail(id))?.state === "analysing") await wakeAfter(10_000);
    const [verdict] = await here.verdicts(id);
    expect(verdict).toMatchObject({ outcome: "failed", verdict: "not_available" });
    expect(verdict?.reason).toContain("within 1 min");
    expect(verdict?.vmray?.submission_id).toBeNumber();
  });

  test("refuses a submission for its quota, contents are only looked up for a while and the account is not named", async () => {
    const vmray = await simulator();
    const clock = movableClock();
    const here = await world(clock.now);
    here.start(clientOf(vmray), PATIENT);
    vmray.refuseNext(
      1,
      "Denied: The vmray quota for account 7 (ACME) is exceeded. (5/5 used by joe@acme.example)",
    );
    for (const content of ["over quota", "right after it"]) {
      const [verdict] = await here.verdicts(await here.mail(file(content)));
      expect(verdict).toMatchObject({ outcome: "judged", verdict: "not_available" });
      expect(verdict?.reason).toStartWith("VMRay's quota is used up");
      expect(verdict?.reason).not.toMatch(/ACME|joe/);
    }
    expect(vmray.submissions().size).toBe(0);
    expect(JSON.stringify(here.lines)).not.toMatch(/ACME|joe/);
    clock.move(QUOTA_RETRY);
    expect((await here.verdicts(await here.mail(file("within quota"))))[0]?.verdict).toBe("clean");
    await until(() => here.news.length === 2, "the events");
    expect(here.news).toEqual(["quota_used_up", "quota_back"]);
  });

  test("takes only a part for its quota, that part is followed, and its verdict serves no later mail", async () => {
    const clock = movableClock();
    const here = await world(clock.now);
    const analyzer = here.start(
      scripted({
        submitFile: async () =>
          answer({
            errors: [{ error_msg: "Denied: quota" }],
            submissions: [{ submission_id: 1, submission_sample_id: 1 }],
          }),
      }),
      PATIENT,
    );
    const row = await here.decided(await here.mail(file("part")));
    const verdict = row.artifacts[0]?.verdict;
    expect(verdict).toMatchObject({ outcome: "judged", verdict: "clean", partial: true });
    expect(verdict?.reason).toContain("Denied: quota");
    expect(judge(row)).toMatchObject({ verdict: "clean", complete: false });
    // No other one is tried until VMRay may take it again, and the event says so.
    const [other] = await here.verdicts(await here.mail(file("another")));
    expect(other).toMatchObject({ verdict: "not_available" });
    expect(analyzer.status().counts.submissions).toBe(1);
    await until(() => here.news.length > 0, "the event");
    expect(here.news).toEqual(["quota_used_up"]);
    clock.move(QUOTA_RETRY);
    await here.verdicts(await here.mail(file("part")));
    expect(analyzer.status().counts.submissions).toBe(2);
  });

  test("takes only the reputation for its quota, the file is analysed once there is quota again, not taken as known", async () => {
    const reports = (left: number) => readScenario(`quota: {reports: ${left}}`, "test");
    const vmray = await simulator({ scenario: reports(0) });
    const clock = movableClock();
    const here = await world(clock.now);
    const analyzer = here.start(clientOf(vmray), PATIENT);
    const first = await here.decided(await here.mail(file("denied")));
    expect(first.artifacts[0]?.verdict).toMatchObject({ verdict: "clean", partial: true });
    const second = await here.decided(await here.mail(file("denied")));
    expect(second.artifacts[0]?.verdict).toMatchObject({ verdict: "clean", partial: true });
    expect(analyzer.status().counts.submissions).toBe(1);
    vmray.setScenario(reports(10));
    clock.move(QUOTA_RETRY);
    const [third] = await here.verdicts(await here.mail(file("denied")));
    expect(third).toMatchObject({ verdict: "clean", cost: { submissions: 1 } });
    expect(third?.partial).toBeUndefined();
  });

  test("has stored the content before, what it knows about it counts", async () => {
    const here = await world();
    const notStored = { error_msg: "Submission not stored because no jobs were created" };
    here.start(
      scripted({
        submitFile: async () => answer({ errors: [notStored], samples: [{ sample_id: 9 }] }),
        sample: async (id) =>
          sample({ sample_id: id, sample_verdict: "suspicious", sample_threat_names: ["Old.Name"] }),
      }),
    );
    expect(await here.verdicts(await here.mail(file("stored")))).toMatchObject([
      { outcome: "judged", verdict: "suspicious", threat_names: ["Old.Name"], vmray: { sample_id: 9 } },
    ]);
  });

  test("has stored it and has no verdict, the content fails and is not submitted for ever", async () => {
    const here = await world();
    const notStored = { error_msg: "Submission not stored because no jobs were created" };
    const analyzer = here.start(
      scripted({
        samplesBySha256: async () => [sample({ sample_id: 9, sample_verdict: null })],
        submitFile: async () => answer({ errors: [notStored] }),
      }),
    );
    expect((await here.verdicts(await here.mail(file("stored"))))[0]?.outcome).toBe("failed");
    expect(analyzer.status().counts.submissions).toBe(1);
  });

  test("makes several submissions of one content, all are followed and the worst counts", async () => {
    const here = await world();
    const verdictOf = new Map([
      [1, "clean"],
      [2, "malicious"],
      [3, "suspicious"],
    ]);
    here.start(
      scripted({
        submitFile: async () =>
          answer({
            submissions: [1, 2, 3, 2].map((id) => ({ submission_id: id, submission_sample_id: id })),
          }),
        sample: async (id) => sample({ sample_id: id, sample_verdict: verdictOf.get(id) }),
        threatNames: async (id) => [`Name.${id}`, `Name.${id}`],
      }),
    );
    expect(await here.verdicts(await here.mail(file("archive")))).toMatchObject([
      { verdict: "malicious", threat_names: ["Name.2"], vmray: { sample_id: 2, submission_id: 2 } },
    ]);
  });

  test("fails on one content again and again, that one is given up and the others get their verdicts", async () => {
    const here = await world();
    const poison = file("poison");
    const id = await here.mail(poison);
    const analyzer = here.start(
      scripted({
        submitFile: async ({ size }) => {
          if (size === "poison".length) throw unreachable();
          return answer({ submissions: [{ submission_id: 1, submission_sample_id: 1 }] });
        },
      }),
    );
    const others: string[] = [];
    let done = false;
    const watch = here.decided(id).then(() => {
      done = true;
    });
    for (let n = 0; !done; n++) {
      others.push(await here.mail(file(`another content ${n}`)));
      await Bun.sleep(5);
    }
    await watch;
    const [verdict] = await here.verdicts(id);
    expect(verdict).toMatchObject({ outcome: "failed", verdict: "not_available" });
    expect(verdict?.reason).toContain("given up after 20 faults");
    for (const other of others) expect((await here.verdicts(other))[0]?.verdict).toBe("clean");
    expect(analyzer.status().paused).toBeNull();
  });

  test("has no threat names to give, a malicious verdict does not wait for them", async () => {
    const here = await world();
    here.start(
      scripted({
        samplesBySha256: async () => [
          sample({
            sample_id: 1,
            sample_verdict: "malicious",
            sample_threat_names: ["From.Sample", "a\r\nb"],
          }),
        ],
        threatNames: async () => {
          throw new VmrayError("VMRAY_AUTH", "not for this key", { status: 403 });
        },
      }),
    );
    expect(await here.verdicts(await here.mail(file("bad")))).toMatchObject([
      { verdict: "malicious", threat_names: ["From.Sample", "a b"] },
    ]);
  });
});

describe("the pool", () => {
  test("never has more calls in the air than allowed, nor uploads than three quarters of them", async () => {
    const here = await world();
    const air = { all: 0, most: 0, uploads: 0, mostUploads: 0 };
    async function flying<T>(upload: boolean, result: T): Promise<T> {
      air.all += 1;
      air.uploads += upload ? 1 : 0;
      air.most = Math.max(air.most, air.all);
      air.mostUploads = Math.max(air.mostUploads, air.uploads);
      await Bun.sleep(2);
      air.all -= 1;
      air.uploads -= upload ? 1 : 0;
      return result;
    }
    let id = 0;
    const submitted = () => answer({ submissions: [{ submission_id: ++id, submission_sample_id: id }] });
    const client = scripted({
      samplesBySha256: () => flying(false, []),
      submitFile: () => flying(true, submitted()),
      submitUrl: () => flying(false, submitted()),
    });
    here.start(client);
    const mails = await Promise.all(
      Array.from({ length: 30 }, (_, n) => here.mail(file(`file ${n}`), url(`http://n${n}.example/x`))),
    );
    for (const mail of mails) await here.decided(mail);
    expect([air.most, air.mostUploads]).toEqual([4, 3]);
  });

  test("commits that a submission may be sent before it sends it, and keeps trying while the spool is busy", async () => {
    const here = await world();
    const steps: string[] = [];
    let busy = 2;
    const spool = {
      ...here.spool,
      recordProgress: async (...of: Parameters<typeof here.spool.recordProgress>) => {
        if (busy-- > 0) throw new SensorError("SPOOL_BUSY", "busy");
        await here.spool.recordProgress(...of);
        steps.push(of[1].state);
      },
      finishAnalysis: async (...of: Parameters<typeof here.spool.finishAnalysis>) => {
        await here.spool.finishAnalysis(...of);
        steps.push("finished");
      },
    };
    const client = scripted({
      submitFile: async () => {
        steps.push("POST");
        return answer({ submissions: [{ submission_id: 1, submission_sample_id: 1 }] });
      },
    });
    here.start(client, { spool });
    await here.verdicts(await here.mail(file("content")));
    expect(steps).toEqual(["submitting", "POST", "submitted", "finished"]);
  });

  test("goes on when the spool cannot be read for a while", async () => {
    const here = await world();
    let broken = 1;
    const spool = {
      ...here.spool,
      dueAnalyses: async (...of: Parameters<typeof here.spool.dueAnalyses>) => {
        if (broken-- > 0) throw new SensorError("SPOOL_BROKEN", "broken");
        return here.spool.dueAnalyses(...of);
      },
    };
    const analyzer = here.start(scripted({}), { spool });
    expect((await here.verdicts(await here.mail(file("content"))))[0]?.verdict).toBe("clean");
    expect(analyzer.status().lastError?.code).toBe("SPOOL_BROKEN");
  });

  test("stops at once while VMRay hangs, and leaves the work in the spool", async () => {
    const here = await world();
    await here.mail(file("hangs"), url("http://hangs.example/"));
    // A stop that waits for what hangs would outlast the test.
    const timing = { ...FAST, stopGrace: 600_000 };
    const analyzer = here.start(scripted({ samplesBySha256: (_, signal) => hang(signal) }), { timing });
    await until(() => analyzer.status().running === 2, "two calls");
    await analyzer.stop();
    expect((await here.spool.counts()).analyses).toEqual({ queued: 2, submitted: 0 });
  });

  test("lets a submission that is being sent come to its commit when it stops", async () => {
    const here = await world();
    await here.mail(file("being sent"));
    let sent = false;
    const analyzer = here.start(
      scripted({
        submitFile: async () => {
          sent = true;
          await Bun.sleep(40);
          return answer({ submissions: [{ submission_id: 77 }] });
        },
      }),
      { timing: { ...FAST, stopGrace: 600_000 } },
    );
    await until(() => sent, "the submission");
    await analyzer.stop();
    expect((await here.spool.counts()).analyses).toEqual({ queued: 0, submitted: 1 });
  });

  test("logs the way of a content under its mail without any text of the mail", async () => {
    const vmray = await simulator();
    const here = await world();
    here.start(clientOf(vmray));
    const id = await here.mail(url("http://malicious.example/?token=secret"));
    await here.decided(id);
    expect(here.lines.filter((line) => line.mail_id === id).map((line) => line.msg)).toEqual([
      "submission followed",
      "content judged",
    ]);
    expect(JSON.stringify(here.lines)).not.toContain("secret");
  });
});

describe("a more urgent mail that wants what is in hand already", () => {
  const high = (artifact: PlannedArtifact): PlannedArtifact => ({
    ...artifact,
    decision: { ...artifact.decision, priority: "high" },
  });

  test("moves it forward in memory", async () => {
    const here = await world();
    const sent: string[] = [];
    let release = () => {};
    const first = new Promise<void>((resolve) => {
      release = resolve;
    });
    const usual = scripted({});
    const client = scripted({
      submitUrl: async (content, signal) => {
        sent.push(content.url);
        await first;
        return usual.submitUrl(content, signal);
      },
    });
    const urls = Array.from({ length: 12 }, (_, n) => `http://n${n}.example/`);
    const ids = [];
    for (const each of urls) ids.push(await here.mail(url(each)));
    let asked = 0;
    const spool = {
      ...here.spool,
      urgencies: async (...of: Parameters<typeof here.spool.urgencies>) => {
        const answer = await here.spool.urgencies(...of);
        asked += 1;
        return answer;
      },
    };
    const analyzer = here.start(client, { settings: { ...SETTINGS, concurrency: 1 }, spool });
    await until(() => sent.length === 1, "the first submission");
    expect(analyzer.status().open).toBe(12);
    const before = asked;
    ids.push(await here.mail(high(url("http://n11.example/"))));
    await until(() => asked > before, "the question how urgent they are now");
    release();
    for (const id of ids) await here.decided(id);
    // Behind those that were looked up while the first one was sent.
    expect(sent.indexOf("http://n11.example/")).toBeWithin(1, 5);
    expect(sent.toSorted()).toEqual(urls.toSorted());
  });

  test("gives it the reserve of the budget, even at the last moment", async () => {
    const here = await world(movableClock().now);
    const wanted = url("http://wanted.example/");
    const settings = {
      ...SETTINGS,
      budget: { per_day: 1, reserve: 100, per_mail: 100, count_reputation: true },
    };
    const ids = [await here.mail(wanted)];
    const client = scripted({
      samplesBySha256: async () => {
        if (ids.length === 1) ids.push(await here.mail(high(wanted)));
        return [];
      },
    });
    const analyzer = here.start(client, { settings });
    await until(() => ids.length === 2, "the second mail");
    for (const id of ids) expect((await here.verdicts(id))[0]?.verdict).toBe("clean");
    expect(analyzer.status().budget.usedToday).toBe(1);
  });
});

describe("the budget", () => {
  const limited = (budget: Partial<(typeof SETTINGS)["budget"]>) => ({
    settings: { ...SETTINGS, budget: { ...SETTINGS.budget, ...budget } },
  });

  test("when it is used up, contents are only looked up, the reason says so and an event is made", async () => {
    const vmray = await simulator();
    const here = await world(movableClock().now);
    const analyzer = here.start(clientOf(vmray), limited({ per_day: 2, reserve: 0 }));
    for (const name of ["first", "second"]) {
      expect((await here.verdicts(await here.mail(file(name))))[0]?.verdict).toBe("clean");
    }
    const [third] = await here.verdicts(await here.mail(file("third")));
    expect(third).toMatchObject({ outcome: "judged", verdict: "not_available" });
    expect(third?.reason).toBe(
      "the daily budget of 2 analyses is used up: only looked up, and unknown to VMRay",
    );
    expect(vmray.submissions().size).toBe(2);
    expect(analyzer.status().budget).toMatchObject({ perDay: 2, usedToday: 2, usedUp: true });
    await until(() => here.news.length > 0, "the event");
    expect(here.news).toEqual(["budget_used_up"]);
    await analyzer.stop();

    // A restart does not give it anew.
    here.start(clientOf(vmray), limited({ per_day: 2, reserve: 0 }));
    await here.verdicts(await here.mail(file("fourth")));
    expect(vmray.submissions().size).toBe(2);
  });

  test("bug: of a day was there anew where the clock was set back over midnight before a restart", async () => {
    const clock = movableClock();
    const here = await world(clock.now);
    const budget = limited({ per_day: 1, reserve: 0 });
    const first = here.start(scripted({}), budget);
    await here.verdicts(await here.mail(file("the only one")));
    await first.stop();
    clock.move(-86_400_000);
    const second = here.start(scripted({}), budget);
    const [over] = await here.verdicts(await here.mail(file("one more")));
    expect(over?.reason).toStartWith("the daily budget of 1 analyses is used up");
    expect(second.status().budget.usedToday).toBe(1);
  });

  test("bug: is charged what VMRay says that a submission took, once, over restarts", async () => {
    const here = await world(movableClock().now);
    let finished = false;
    const client = scripted({
      submission: async (id) =>
        submission({
          submission_id: id,
          submission_sample_id: id,
          submission_finished: finished,
          ...(finished ? { submission_consumed_quota: 7, submission_quota_type: "report" } : {}),
        }),
    });
    const budget = limited({ per_day: 10, reserve: 0 });
    const first = here.start(client, budget);
    const id = await here.mail(file("many members"));
    await until(() => first.status().counts.submissions === 1, "the submission");
    await until(() => here.lines.some(({ msg }) => msg === "submission followed"), "its answer");
    expect(first.status().budget.usedToday).toBe(1);
    await first.stop();
    const second = here.start(client, budget);
    finished = true;
    expect((await here.verdicts(id))[0]?.cost).toMatchObject({ submissions: 1, quota: 7 });
    expect(second.status().budget.usedToday).toBe(7);
    await second.stop();
    const third = here.start(client, budget);
    await here.verdicts(await here.mail(file("some more")));
    expect(third.status().budget.usedToday).toBe(14);
    const [over] = await here.verdicts(await here.mail(file("beyond")));
    expect(over?.reason).toStartWith("the daily budget of 10 analyses is used up");
    expect(await here.spool.charged(dayOf(movableClock().now()))).toBe(14);
  });

  test("bug: stayed charged with submissions that VMRay did not take", async () => {
    const clock = movableClock();
    const here = await world(clock.now);
    let error = "Denied: quota exceeded";
    const analyzer = here.start(
      scripted({ submitFile: async () => answer({ errors: [{ error_msg: error }] }) }),
      { ...limited({ per_day: 10, reserve: 0 }), ...PATIENT },
    );
    const [denied] = await here.verdicts(await here.mail(file("denied")));
    expect(denied?.reason).toStartWith("VMRay's quota is used up");
    expect(denied?.cost).toMatchObject({ submissions: 1, quota: 0 });
    clock.move(QUOTA_RETRY);
    error = "this type is not supported";
    expect((await here.verdicts(await here.mail(file("refused"))))[0]?.outcome).toBe("failed");
    expect(analyzer.status().budget.usedToday).toBe(0);
    expect(await here.spool.charged(dayOf(clock.now()))).toBe(0);
  });

  test("bug: a mail with hundreds of links left nothing of the day for the mails after it", async () => {
    const here = await world(movableClock().now);
    const settings = { per_day: 20, reserve: 0, per_mail: 20 };
    const analyzer = here.start(scripted({}), limited(settings));
    const links = Array.from({ length: 30 }, (_, n) => url(`https://host-${n}.example/`));
    const verdicts = await here.verdicts(await here.mail(...links));
    const held = verdicts.filter(({ reason }) =>
      reason?.startsWith("one mail may use 4 of the daily budget of 20 analyses: only looked up"),
    );
    expect(held).toHaveLength(26);
    expect(held.every(({ verdict }) => verdict === "not_available")).toBe(true);
    expect(analyzer.status().counts.submissions).toBe(4);
    const [next] = await here.verdicts(await here.mail(file("behind the links")));
    expect(next?.verdict).toBe("clean");
    expect(here.news).toEqual([]);
    await analyzer.stop();
  });

  test("that is used up leaves what VMRay knows of the members of a new archive: malware in it is found", async () => {
    const vmray = await simulator();
    const here = await world(movableClock().now);
    const before = here.start(clientOf(vmray));
    await here.verdicts(await here.mail(file(EICAR)));
    await before.stop();
    const later = await world(movableClock().now);
    later.start(clientOf(vmray), limited({ per_day: 0 }));
    const archive = zip(Buffer.from("a new archive"), null);
    const member = file(EICAR);
    if (archive.kind === "url" || member.kind === "url") throw new Error("files are wanted");
    const inside: PlannedArtifact = {
      ...member,
      attachment: { ...member.attachment, path: ["a.zip"], within: "archive" },
      decision: { action: "skip", rule: "default.in_analysed_file", reason: "It is analysed as a whole." },
    };
    const row = await later.decided(await later.mail(archive, inside));
    expect(row.artifacts.map(({ verdict }) => verdict?.verdict)).toEqual(["not_available", "malicious"]);
    expect(judge(row).verdict).toBe("malicious");
  });

  test("leaves free reputation in place of an analysis where that is configured", async () => {
    const here = await world(movableClock().now);
    const actions: string[] = [];
    const client = scripted({
      submitFile: async ({ action }) => {
        actions.push(action);
        return answer({ submissions: [{ submission_id: 1, submission_sample_id: 1 }] });
      },
    });
    here.start(client, limited({ per_day: 1, reserve: 0, count_reputation: false }));
    await here.decided(await here.mail(file("analysed")));
    const row = await here.decided(await here.mail(file("asked for its reputation")));
    expect(actions).toEqual(["dynamic", "reputation"]);
    expect(row.artifacts[0]?.verdict).toMatchObject({
      verdict: "clean",
      partial: true,
      reason: "the daily budget of 1 analyses is used up: only its reputation was asked for",
    });
    expect(judge(row)).toMatchObject({ verdict: "clean", complete: false });
  });

  test("that is back has analysed what was asked for its reputation, which it is once", async () => {
    const vmray = await simulator();
    const here = await world(movableClock().now);
    const used = here.start(clientOf(vmray), limited({ per_day: 0, count_reputation: false }));
    for (let n = 0; n < 2; n++) {
      const [verdict] = await here.verdicts(await here.mail(file("cheaper")));
      expect(verdict).toMatchObject({ verdict: "clean", partial: true });
    }
    expect(used.status().counts.submissions).toBe(1);
    await used.stop();
    here.start(clientOf(vmray), limited({ per_day: 1, reserve: 0, count_reputation: false }));
    const [verdict] = await here.verdicts(await here.mail(file("cheaper")));
    expect(verdict).toMatchObject({ verdict: "clean", cost: { submissions: 1 } });
    expect(verdict?.partial).toBeUndefined();
  });

  test("that is used up stays so for what was being sent for its reputation when the sensor was killed", async () => {
    const here = await world(movableClock().now);
    const id = await here.mail(file("killed"));
    const sent: string[] = [];
    const hanging = scripted({
      submitFile: async ({ action }, signal) => {
        sent.push(action);
        return hang(signal);
      },
    });
    const budget = limited({ per_day: 0, count_reputation: false });
    const killed = here.start(hanging, budget);
    await until(() => sent.length === 1, "the POST");
    await killed.stop();
    here.start(
      scripted({
        submitFile: async ({ action }) => {
          sent.push(action);
          return answer({ submissions: [{ submission_id: 1, submission_sample_id: 1 }] });
        },
      }),
      { settings: { ...budget.settings, resend_after: 0 } },
    );
    const row = await here.decided(id);
    expect(sent).toEqual(["reputation", "reputation"]);
    expect(row.artifacts[0]?.verdict).toMatchObject({ verdict: "clean", partial: true });
  });
});

describe("a second look that is submitted", () => {
  test("is sent once for each look, past VMRay's cache, over a restart, and not for what is known to be bad", async () => {
    const here = await world();
    await here.spool.setRelooks({ for: 3_600_000, first: 1, submit: true });
    const sent: { action: string; again: boolean | undefined; correlation: string }[] = [];
    let [finished, bad] = [true, false];
    const submissionOf = (id: number) =>
      submission({
        submission_id: id,
        submission_sample_id: 1,
        submission_finished: finished || id === 1,
        submission_finish_time: "2026-01-01T00:00:00",
        submission_submission_metadata: JSON.stringify({ email_sensor: sent[id - 1]?.correlation }),
      });
    const known = () => sample({ sample_id: 1, sample_verdict: bad ? "malicious" : "clean" });
    const client = scripted({
      samplesBySha256: async () => (sent.length === 0 ? [] : [known()]),
      sample: async () => known(),
      submissionsOfSample: async () => sent.map((_, n) => submissionOf(n + 1)),
      submission: async (id) => submissionOf(id),
      submitUrl: async ({ action, again, correlation }) => {
        sent.push({ action, again, correlation });
        return answer({ submissions: [{ submission_id: sent.length, submission_sample_id: 1 }] });
      },
    });
    const first = here.start(client);
    await here.verdicts(await here.mail(url("https://armed.example/")));
    finished = false;
    await until(
      async () => (await here.spool.startRelooks(Date.now(), 10)) === 1,
      "the second look to be due",
    );
    await until(() => sent.length === 2, "the second submission");
    await until(
      () => here.lines.filter(({ msg }) => msg === "submission followed").length === 2,
      "its answer",
    );
    await first.stop();
    here.start(client);
    finished = true;
    const judged = () => here.lines.filter(({ msg }) => msg === "content judged");
    await until(() => judged().length === 2, "its verdict");
    expect(sent).toMatchObject([
      { action: "reputation", again: false },
      { action: "reputation", again: true },
    ]);
    bad = true;
    await until(
      async () => (await here.spool.startRelooks(Date.now(), 10)) === 1,
      "the third look to be due",
    );
    await until(() => judged().length === 3, "the verdict of the look-up");
    expect(judged()[2]?.verdict).toBe("malicious");
    expect(sent).toHaveLength(2);
  });
});

describe("the verdict of a failed analysis", () => {
  test.each([
    [0, 2],
    [60_000, 1],
  ])("kept for %d ms means %d submissions for two mails", async (failedFor, submissions) => {
    const vmray = await simulator();
    const here = await world();
    const cache = { ...SETTINGS.cache, failed: failedFor };
    const analyzer = here.start(clientOf(vmray), { settings: { ...SETTINGS, cache } });
    for (let n = 0; n < 2; n++) {
      const [verdict] = await here.verdicts(await here.mail(file(`${MARKER_PREFIX}error`)));
      expect(verdict?.outcome).toBe("failed");
    }
    expect(analyzer.status().counts.submissions).toBe(submissions);
  });
});

describe("the state of the analyzer", () => {
  test("is told when the key is refused and when it is taken again, once each", async () => {
    const vmray = await simulator();
    const here = await world();
    let client = clientOf(vmray, "wrong-key");
    const ids = await Promise.all(Array.from({ length: 8 }, (_, n) => here.mail(file(`file ${n}`))));
    here.start(
      scripted({
        samplesBySha256: (sha256, signal) => client.samplesBySha256(sha256, signal),
        submitFile: (content, signal) => client.submitFile(content, signal),
        submission: (id, signal) => client.submission(id, signal),
        sample: (id, signal) => client.sample(id, signal),
      }),
    );
    await until(() => here.news.length > 0, "the event");
    await Bun.sleep(100);
    expect(here.news).toEqual(["analyzer_auth_failed"]);
    client = clientOf(vmray);
    for (const id of ids) await here.decided(id);
    expect(here.news).toEqual(["analyzer_auth_failed", "analyzer_recovered"]);
  });

  test("that was told before a restart is told as over when VMRay answers, without a mail, and not before", async () => {
    const vmray = await simulator();
    const here = await world();
    const id = await here.mail(file("waits"));
    const wrong = here.start(clientOf(vmray, "wrong-key"));
    await until(() => here.news.length > 0, "the event");
    await wrong.stop();
    const still = here.start(clientOf(vmray, "wrong-key"));
    await until(() => still.status().paused === "auth", "the pause");
    await Bun.sleep(50);
    await still.stop();
    expect(here.news).toEqual(["analyzer_auth_failed"]);
    await vmray.setDown(true);
    const away = here.start(clientOf(vmray), { timing: { ...FAST, unreachableNews: 60_000 } });
    await until(() => away.status().paused === "unreachable", "the other pause");
    await away.stop();
    expect(here.news).toEqual(["analyzer_auth_failed"]);
    await vmray.setDown(false);
    await here.spool.finishAnalysis(
      `file:${hashOf("waits")}`,
      { outcome: "skipped", verdict: "not_available", reason: "by hand", threat_names: [], vmray: null },
      null,
    );
    await here.decided(id);
    const right = here.start(clientOf(vmray));
    await until(() => here.news.length > 1, "the end");
    await right.stop();
    here.start(clientOf(vmray));
    await Bun.sleep(50);
    expect(here.news).toEqual(["analyzer_auth_failed", "analyzer_recovered"]);
  });

  test("is told when VMRay stays away for long", async () => {
    const vmray = await simulator();
    const here = await world();
    await vmray.setDown(true);
    const id = await here.mail(file("waits"));
    here.start(clientOf(vmray));
    await until(() => here.news.length > 0, "the event");
    await vmray.setDown(false);
    await here.decided(id);
    expect(here.news).toEqual(["analyzer_unreachable", "analyzer_recovered"]);
  });
});

describe("many in flight", () => {
  test("are asked after by the list of finished submissions, hardly one by one, and over a restart", async () => {
    const vmray = await simulator({ inWorkMs: 400 });
    const here = await world();
    const client = clientOf(vmray);
    const settings = { ...SETTINGS, poll_interval: 100 };
    const first = here.start(client, { settings });
    const ids = await Promise.all(Array.from({ length: 60 }, (_, n) => here.mail(file(`file ${n}`))));
    await until(() => vmray.submissions().size === 60, "the submissions");
    await first.stop();
    const polls = () => vmray.calls().get("GET /rest/submission/{id}") ?? 0;
    const before = polls();
    await Bun.sleep(500);
    const second = here.start(client, { settings });
    for (const id of ids) expect((await here.verdicts(id))[0]?.verdict).toBe("clean");
    expect(second.status().counts).toMatchObject({ submissions: 0, lookups: 0 });
    // Each is read once, and a few are asked after besides.
    expect(polls() - before).toBeLessThan(60 + 25);
    expect([...vmray.submissions().values()].every((times) => times === 1)).toBe(true);
  });

  test("are asked after one by one where there is no such list", async () => {
    const vmray = await simulator({ inWorkMs: 60 });
    const here = await world();
    here.start({ ...clientOf(vmray), finishedAfter: scripted({}).finishedAfter });
    const id = await here.mail(...Array.from({ length: 20 }, (_, n) => file(`file ${n}`)));
    expect((await here.verdicts(id)).every(({ verdict }) => verdict === "clean")).toBe(true);
  });
});

describe("a mail with hundreds of parts", () => {
  test("does not hold up the mails that come after it", async () => {
    const here = await world();
    const client = scripted({
      samplesBySha256: async () => {
        await Bun.sleep(3);
        return [sample({ sample_id: 1, sample_verdict: "clean" })];
      },
    });
    const many = await here.mail(...Array.from({ length: 1500 }, (_, n) => file(`part ${n}`)));
    here.start(client);
    await Bun.sleep(50);
    for (let n = 0; n < 5; n++) await here.decided(await here.mail(file(`small ${n}`)));
    expect((await here.spool.mail(many))?.state).toBe("analysing");
    const parts = (await here.spool.mail(many))?.artifacts ?? [];
    expect(parts.filter(({ verdict }) => verdict === null).length).toBeGreaterThan(500);
  });
});
