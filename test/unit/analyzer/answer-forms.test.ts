/** Every form in which a VMRay of some version answers, errs or refuses, through the real client. */
import { describe, expect, test } from "bun:test";
import { correlationOf, type VmrayClient } from "../../../src/analyzer/client.ts";
import { afterSubmit, lookUp, poll } from "../../../src/analyzer/steps.ts";
import { publicReason, VmrayError } from "../../../src/analyzer/vmray-error.ts";
import { cpuNow } from "../extract/clock.ts";
import { type Canned, job, raw, SUBMIT, send, vmray } from "./canned.ts";
import { file, KEY, url } from "./harness.ts";

const signal = new AbortController().signal;
const LIMITS = { now: 0, giveUpAfter: 60_000, queueLimit: 60_000 };
const SHA = "ab".repeat(32);
const QUOTA =
  "Denied: The vmray quota for account 7 (ACME (EU) Ltd) is exceeded. (5/5 used, 1 requested at 2026-01-01 " +
  "10:00 (UTC+0) by joe.bloggs@acme.example)";

const errorsOf = async (answer: Canned): Promise<readonly string[]> => {
  const { errors } = await send(vmray({ [SUBMIT]: answer }).client);
  return errors.map((each) => each.error_msg);
};

async function faultOf(call: Promise<unknown>): Promise<VmrayError> {
  const thrown = await call.then(
    () => null,
    (fault: unknown) => fault,
  );
  if (thrown instanceof VmrayError) return thrown;
  throw new Error("the call did not fail");
}

async function verdictOf(client: VmrayClient, ids: readonly number[], content = file("x")) {
  const progress = { state: "submitted", submissionIds: ids, sampleIds: [], submittedAt: 0 } as const;
  const next = await poll(client, job(content), progress, LIMITS, signal);
  if (next.kind !== "finish") throw new Error(`not finished but ${next.kind}`);
  return next.verdict;
}

async function lookedUp(sample: object) {
  const { client } = vmray({
    "/rest/sample/sha256/": (path) => [
      { sample_id: 1, sample_sha256hash: path.split("/").at(-1), ...sample },
    ],
  });
  const next = await lookUp(client, job(url("http://a.example/", "lookup")), 0, signal);
  if (next.kind !== "finish") throw new Error(`not finished but ${next.kind}`);
  return next.verdict;
}

describe("a refused submission", () => {
  test.each<[string, Canned]>([
    [
      "an error in a 200",
      { errors: [{ submission_filename: "a", error_msg: QUOTA }], submissions: [], jobs: [] },
    ],
    ["a 200 with nothing but errors", { errors: [{ error_msg: QUOTA }] }],
    ["a 200 that says error", raw({ result: "error", error_msg: QUOTA })],
    ["a 400", raw({ result: "error", error_msg: QUOTA }, 400)],
    [
      "a 400 with the lists of a 200",
      raw({ result: "error", data: { errors: [{ error_msg: QUOTA }] } }, 400),
    ],
    ["a 403", raw({ result: "error", error_msg: QUOTA }, 403)],
  ])("for its quota is told by %s, without account and person", async (_, answer) => {
    const [error, ...others] = await errorsOf(answer);
    expect(others).toEqual([]);
    expect(error).toStartWith("Denied: The vmray quota for account (name removed) is exceeded. (5/5 used");
    expect(error).not.toMatch(/ACME|joe|acme\.example/);
  });

  test.each<[string, Canned, readonly string[]]>([
    ["text alone", { errors: ["Sample type not supported"] }, ["Sample type not supported"]],
    ["one object", { errors: { error_msg: "Too large" } }, ["Too large"]],
    ["words nobody knows", { errors: [{ reason: "new in 2030" }] }, ['{"reason":"new in 2030"}']],
    ["several", { errors: [{ error_msg: "One" }, { error_msg: null }] }, ["One", '{"error_msg":null}']],
    [
      "a 400 in plain text",
      raw("bad request: no file", 400),
      ["VMRay refused the request: bad request: no file"],
    ],
    [
      "the page of a proxy",
      raw("<html>\n<title>413 Request Entity Too Large</title>", 413),
      ["VMRay refused the request: 413 Request Entity Too Large"],
    ],
    ["nothing", raw("", 400), ["VMRay refused the request: HTTP 400"]],
  ])("keeps what VMRay says by %s", async (_, answer, expected) => {
    expect(await errorsOf(answer)).toEqual([...expected]);
  });

  test("that is the fault of the key or of the way is none", async () => {
    const of = async (answer: Canned) => (await faultOf(send(vmray({ [SUBMIT]: answer }).client))).code;
    expect(await of(raw({ result: "error", error_msg: "Forbidden" }, 403))).toBe("VMRAY_AUTH");
    expect(await of(raw("<title>502 Bad Gateway</title>", 502))).toBe("VMRAY_UNREACHABLE");
    expect(await of(raw("<title>400 Bad Request</title>", 400))).toBe("VMRAY_ANSWER");
    expect(await of(raw("<title>Log in</title>", 200))).toBe("VMRAY_ANSWER");
    expect(await of(raw({ result: "ok" }))).toBe("VMRAY_ANSWER");
    expect(await of(raw({ result: "error", error_msg: "slow down" }, 429))).toBe("VMRAY_THROTTLED");
  });
});

describe("a submission that was taken", () => {
  const taken = async (answer: Canned) => {
    const { client } = vmray({ [SUBMIT]: answer });
    return afterSubmit(client, job(file("x")), await send(client), 0, signal);
  };

  test("in part is followed, with what VMRay said of the rest", async () => {
    const submissions = [{ submission_id: 5, submission_sample_id: 6 }];
    const errors = [{ error_msg: QUOTA }];
    for (const answer of [
      { errors, submissions, reputation_jobs: [{ reputation_job_id: 1 }] },
      raw({ result: "error", error_msg: QUOTA, data: { submissions } }),
    ]) {
      const next = await taken(answer);
      expect(next).toMatchObject({ kind: "follow", progress: { submissionIds: [5], sampleIds: [6] } });
      expect(next.kind === "follow" ? next.progress.note : "").toContain("quota for account (name removed)");
    }
  });

  test("as several, an archive's, has all of them followed, none twice", async () => {
    const submissions = [5, "6", 6, 7].map((id) => ({ submission_id: id, submission_sample_id: id }));
    expect(await taken({ submissions })).toMatchObject({
      kind: "follow",
      progress: { submissionIds: [5, 6, 7], sampleIds: [5, 6, 7] },
    });
  });

  test("and is named by its jobs alone is followed", async () => {
    const jobs = [{ job_id: 1, job_submission_id: 8, job_sample_id: 9 }];
    const reputation_jobs = [{ reputation_job_id: 1, reputation_job_submission_id: "8" }];
    expect(await taken({ jobs, reputation_jobs, submissions: null })).toMatchObject({
      kind: "follow",
      progress: { submissionIds: [8], sampleIds: [9] },
    });
  });

  test("counts with the worst of its submissions", async () => {
    const verdicts: Record<number, string | null> = { 1: "clean", 2: "malicious", 3: null };
    const { client } = vmray({
      "/rest/submission/": (path) => {
        const id = Number(path.split("/").at(-1));
        return { submission_id: id, submission_sample_id: id, submission_finished: "True" };
      },
      "/rest/sample/": (path) => {
        const id = Number(path.split("/").at(-1));
        return Number.isNaN(id) ? 404 : { sample_id: String(id), sample_verdict: verdicts[id] };
      },
    });
    expect(await verdictOf(client, [1, 2, 3])).toMatchObject({
      verdict: "malicious",
      vmray: { sample_id: 2, submission_id: 2 },
    });
  });
});

describe("a submission", () => {
  const finished = async (fields: object) =>
    (await vmray({ "/rest/submission/1": { submission_id: 1, ...fields } }).client.submission(1))
      ?.submission_finished;

  test("is finished where it says so, or has a time or a status that say it", async () => {
    expect(await finished({ submission_finished: true })).toBe(true);
    expect(await finished({ submission_finished: "false", submission_finish_time: "2026-01-01" })).toBe(
      false,
    );
    expect(await finished({ submission_finish_time: "2026-01-01T00:00:00" })).toBe(true);
    expect(await finished({ submission_status: "error" })).toBe(true);
    expect(await finished({ submission_status: "in_progress", submission_finish_time: null })).toBeNull();
    expect(await finished({})).toBeNull();
  });

  test("of a sample the key may not see has the verdict it names itself", async () => {
    const { client } = vmray({
      "/rest/submission/1": {
        submission_id: 1,
        submission_sample_id: 2,
        submission_finished: 1,
        submission_sample_verdict: "malicious",
        submission_verdict: "clean",
      },
      "/rest/sample/2": 403,
    });
    expect((await verdictOf(client, [1])).verdict).toBe("malicious");
  });

  test("with errors in what was found in it says that something may be missing", async () => {
    const { client } = vmray({
      "/rest/submission/1": {
        submission_id: 1,
        submission_finished: true,
        submission_has_errors: null,
        submission_has_recursive_errors: true,
        submission_verdict: "clean",
      },
    });
    const verdict = await verdictOf(client, [1]);
    expect([verdict.outcome, verdict.verdict]).toEqual(["judged", "clean"]);
    expect(verdict.reason).toContain("a part of it ended with errors");
  });

  test("gives our mark back as text or as what the text stands for", async () => {
    for (const metadata of ['{"email_sensor":"c-1"}', { email_sensor: "c-1" }]) {
      const { client } = vmray({
        "/rest/submission/1": { submission_id: 1, submission_submission_metadata: metadata },
      });
      const submission = await client.submission(1);
      expect(submission === null ? null : correlationOf(submission)).toBe("c-1");
    }
  });
});

describe("a sample", () => {
  test.each<[string, object, string]>([
    ["2.1, with a severity alone", { sample_severity: "malicious", sample_score: 12 }, "malicious"],
    ["2.1, on its white list", { sample_severity: "whitelisted", sample_threat_names: null }, "clean"],
    ["2.1, not judged", { sample_severity: "unknown", sample_score: null }, "not_available"],
    ["2.1, with a score as text alone", { sample_score: "75" }, "malicious"],
    ["4.2, not judged", { sample_verdict: null, sample_severity: "malicious" }, "not_available"],
    ["2026.2", { sample_verdict: "suspicious", sample_child_relations: null }, "suspicious"],
    ["years to come", { sample_verdict: "very_bad" }, "not_available"],
  ])("of %s has its verdict", async (_, sample, expected) => {
    expect((await lookedUp(sample)).verdict).toBe(expected as never);
  });
});

describe("bug: an answer to another question was taken for this one", () => {
  test("a gateway that does not know the way is not VMRay having no such thing", async () => {
    const lost = raw({ message: "no Route matched with those values" }, 404);
    const { client } = vmray({ "/rest/": lost });
    for (const call of [client.samplesBySha256(SHA), client.submission(1), client.sample(1)]) {
      expect((await faultOf(call)).code).toBe("VMRAY_ANSWER");
    }
    expect(await vmray({}).client.submission(1)).toBeNull();
    expect(await vmray({ "/rest/": raw({ error_msg: "No such element" }, 404) }).client.sample(1)).toBeNull();
  });

  test("the sample or submission of another number is none", async () => {
    const { client } = vmray({
      "/rest/submission/1": { submission_id: 2, submission_finished: true, submission_verdict: "malicious" },
      "/rest/sample/1": { sample_id: "2", sample_verdict: "malicious" },
      "/rest/sample/3": { sample_id: "3", sample_verdict: "malicious" },
    });
    for (const call of [client.submission(1), client.sample(1)]) {
      const fault = await faultOf(call);
      expect([fault.code, fault.message]).toEqual([
        "VMRAY_ANSWER",
        "VMRay was asked for number 1 and answered with 2",
      ]);
    }
    expect((await client.sample(3))?.sample_verdict).toBe("malicious");
  });
});

test("bug: a null in a list of samples held up its content until it had failed", async () => {
  const { client } = vmray({ "/rest/sample/sha256/": [null, { sample_id: 1, sample_verdict: "malicious" }] });
  expect((await client.samplesBySha256(SHA)).map((each) => each.sample_verdict)).toEqual(["malicious"]);
});

test("bug: what is not stored and in work under a hash that we do not know was not waited for", async () => {
  const { client } = vmray({
    [SUBMIT]: {
      errors: [{ error_msg: "Submission not stored because no jobs were created" }],
      samples: [{ sample_id: 7 }],
    },
    "/rest/sample/7": { sample_id: 7, sample_verdict: null },
    "/rest/sample/sha256/": [],
    "/rest/submission/sample/7": [{ submission_id: 8, submission_sample_id: 7, submission_finished: false }],
  });
  const next = await afterSubmit(client, job(url("http://a.example/")), await send(client), 0, signal);
  expect(next).toMatchObject({ kind: "follow", progress: { submissionIds: [8] } });
});

test("bug: a word of VMRay that is no verdict was said to be none at all", async () => {
  const answers = {
    "/rest/submission/1": { submission_id: 1, submission_finished: true, submission_verdict: "phishing\r\n" },
  };
  expect(await verdictOf(vmray(answers).client, [1])).toMatchObject({
    outcome: "judged",
    verdict: "not_available",
    reason: 'VMRay calls it "phishing", which is no verdict that the sensor knows',
  });
});

test("bug: threat names that the key may not see left each verdict with a reason about them", async () => {
  const { client } = vmray({ "/rest/sample/1/": 403 });
  expect([await client.threatNames(1), await client.classifications(1)]).toEqual([null, null]);
});

test("bug: a URL that VMRay does not know had failed where the key may not see reputations", async () => {
  for (const status of [403, 405]) {
    const { client } = vmray({
      "/rest/submission/1": { submission_id: 1, submission_finished: true },
      "/rest/reputation_lookup/": status,
    });
    expect(await verdictOf(client, [1], url("http://a.example/"))).toMatchObject({
      outcome: "judged",
      verdict: "not_available",
      reason: "VMRay knows nothing about this URL",
    });
  }
});

describe("a list", () => {
  const ids = (list: readonly { submission_id: number }[]) => list.map((each) => each.submission_id);

  test("that is null or missing from its envelope's data is empty, one item stands for a list", async () => {
    expect(await vmray({ "/rest/sample/sha256/": null }).client.samplesBySha256(SHA)).toEqual([]);
    const { client } = vmray({ "/rest/sample/sha256/": { sample_id: 4 } });
    expect((await client.samplesBySha256(SHA)).map((each) => each.sample_id)).toEqual([4]);
  });

  test("ends where its next page is 0 or null", async () => {
    for (const continuation_id of [0, "0", "", null]) {
      const page = raw({ data: [{ submission_id: 1 }], continuation_id });
      const { client, asked } = vmray({ "/rest/submission/sample/1": page });
      expect(ids(await client.submissionsOfSample(1))).toEqual([1]);
      expect(asked).toHaveLength(1);
    }
  });

  test("that loses a page is read again from its beginning, and never taken for whole", async () => {
    const first = raw({ data: [{ submission_id: 1 }], continuation_id: 9 });
    let lost = 1;
    const second = () => {
      lost -= 1;
      return lost >= 0 ? 404 : [{ submission_id: 2 }];
    };
    const { client, asked } = vmray({ "/rest/submission/sample/1": first, "/rest/continuation/9": second });
    expect(ids(await client.submissionsOfSample(1))).toEqual([1, 2]);
    expect(asked).toHaveLength(4);
    lost = 99;
    expect((await faultOf(client.submissionsOfSample(1))).code).toBe("VMRAY_ANSWER");
  });
});

describe("the quota", () => {
  test("of a version that calls the one for verdicts after its detector is read", async () => {
    const { client } = vmray({
      "/rest/billing_info": { quota: 10, remaining: "4", detector_quota: 7, detector_remaining: 0 },
    });
    expect(await client.quota()).toMatchObject({
      key: { limit: null, used: null },
      report: { limit: 10, used: 6 },
      verdict: { limit: 7, used: 7 },
    });
  });
});

describe("text of VMRay", () => {
  test("never shows the API key, whatever sends it back", async () => {
    const echo = `invalid header "Authorization: api_key ${KEY}"`;
    const { client } = vmray({ "/rest/": raw({ result: "error", error_msg: echo }, 400) });
    expect((await faultOf(client.sample(1))).message).not.toContain(KEY);
    expect((await errorsOf({ errors: [{ error_msg: echo }] })).join()).not.toContain(KEY);
    const page = vmray({ "/rest/": raw(`upstream said: ${echo}`, 502) }).client;
    expect((await faultOf(page.sample(1))).message).toContain("upstream said");
    expect((await faultOf(page.sample(1))).message).not.toContain(KEY);
  });

  test.each([
    [
      "Key limit of API key 0123456789abcdef0123456789abcdef reached",
      "Key limit of API key (key removed) reached",
    ],
    ["api_key=0123456789abcdef0123 is blocked", "api_key=(key removed) is blocked"],
    ["denied (key abcdef0123456789abcdef) for now", "denied (key (key removed)) for now"],
    ["key: 01234567-89ab-cdef-0123-456789abcdef", "key: (key removed)"],
    ['API key "SOC mail sensor" has no verdicts left', "API key (name removed) has no verdicts left"],
    ["User 'jbloggs' may not submit", "User (name removed) may not submit"],
    ["username: jbloggs, role: viewer", "username: (name removed), role: viewer"],
    [
      "1 requested at 2026-01-01 10:00 (UTC+0) by jbloggs)",
      "1 requested at 2026-01-01 10:00 (UTC+0) by (name removed))",
    ],
    ["sent to joe.bloggs+x@acme.example.", "sent to (address removed)"],
    [`File ${SHA} is known`, `File ${SHA} is known`],
    ["The user agent is not supported", "The user agent is not supported"],
    ["Account is locked", "Account is locked"],
  ])("of %p is shown as %p", (text, shown) => {
    expect(publicReason(text)).toBe(shown);
  });

  test.each([
    ["quota for account ACME GmbH is exceeded", "quota for account (name removed) is exceeded"],
    [
      "customer ACME GmbH has no verdicts left, contact Jane Doe",
      "customer (name removed) has no verdicts left, contact (name removed)",
    ],
    ["Denied for ACME-7 (owner john.doe)", "Denied for ACME-7 (owner (name removed))"],
    ["User jdoe is not allowed to submit", "User (name removed) is not allowed to submit"],
    ["account: ACME GmbH", "account: (name removed)"],
    ["account: ACME GmbH, quota: 5", "account: (name removed), quota: 5"],
    ["Account name: Bank of Elbonia is locked", "Account name: (name removed) is locked"],
    ["Account ACME (EU) Ltd. has used 5 of 5 (report)", "Account (name removed) has used 5 of 5 (report)"],
    ["tenant Smith and Sons. Quota exceeded", "tenant (name removed). Quota exceeded"],
    ["account owner Jane van Doe may not do this", "account owner (name removed) may not do this"],
    ["Sample submitted by jdoe was deleted", "Sample submitted by (name removed) was deleted"],
    ["quota of user jdoe quota type report", "quota of user (name removed) quota type report"],
    ["API key SOC sensor has expired", "API key (name removed) has expired"],
    ["login: jdoe", "login: (name removed)"],
  ])("bug: names without quotes stayed in what VMRay said: %p", (text, shown) => {
    expect(publicReason(text)).toBe(shown);
    expect(publicReason(shown)).toBe(shown);
  });

  test.each([
    "The user agent is not supported",
    "User permissions are missing",
    "The account is locked",
    "Your account has no quota left, please contact your administrator",
    "please contact VMRay support",
    "tries to contact Example servers",
    "Invalid API key: access denied",
    "API key limit reached",
    "Key exchange failed",
    "Opens the registry key HKEY_LOCAL_MACHINE",
    "Login failed",
    "per-user limit exceeded",
    "Accounts of this plan may not submit archives",
    "User Account Control is off",
    "The file type is not supported by this license",
    "Request was throttled. Expected available in 2 seconds.",
    "Submission not stored because no jobs were created",
  ])("bug: what names nobody must stay readable: %p", (text) => {
    expect(publicReason(text)).toBe(text);
  });

  test("with keys and names is read in linear time however hostile it is", () => {
    for (const piece of [
      "api_key ",
      "user '",
      "account: ",
      "requested at (",
      "by ",
      "token=a",
      '"',
      "user a ",
      "account A (b) ",
    ]) {
      const before = cpuNow();
      publicReason(piece.repeat(100_000));
      expect(cpuNow() - before).toBeLessThan(2000);
    }
  });
});
