/** The simulator over HTTP: the life of a submission, the strictness of the API, the faults for tests. */
import { describe, expect, test } from "bun:test";
import { zipSync } from "fflate";
import { EICAR, MARKER_PREFIX } from "../../../src/analyzer/simulator/judgement.ts";
import { startSimulator } from "../../../src/analyzer/simulator/simulator.ts";
import { SensorError } from "../../../src/errors.ts";
import { makeWithSevenZip } from "../extract/archives/make.ts";
import { type Fields, first, KEY, sampleId, sha256, start, submissionId } from "./simulator-client.ts";

describe("an encrypted zip", () => {
  test("has a verdict by the password of its submission, and is not answered from one with another", async () => {
    const { call, submit, clock } = await start();
    const zip = await makeWithSevenZip({ "e.com": EICAR }, ["-tzip", "-pgeheim-7", "-mem=AES256"]);
    const content = new Uint8Array(zip);
    const send = async (fields: Fields) => submit(content, fields as Record<string, string>, "a.zip");
    const locked = await send({});
    clock.now += 10_000;
    const state = async (submission: number) => {
      const sample = (await call(`/rest/sample/${sampleId(locked)}`)).data;
      const { data } = await call(`/rest/submission/${submission}`);
      return [sample.sample_verdict, data.submission_verdict, data.submission_used_cache];
    };
    expect(await state(submissionId(locked))).toEqual(["not_available", "not_available", false]);
    const wrong = await send({ archive_password: "wrong" });
    const opened = await send({ archive_password: "geheim-7" });
    expect((await state(submissionId(locked)))[0]).toBe("not_available");
    clock.now += 10_000;
    expect(await state(submissionId(wrong))).toEqual(["malicious", "not_available", false]);
    expect(await state(submissionId(opened))).toEqual(["malicious", "malicious", false]);
    expect(await state(submissionId(locked))).toEqual(["malicious", "not_available", false]);
    const again = await send({ archive_password: "geheim-7" });
    clock.now += 10_000;
    expect(await state(submissionId(again))).toEqual(["malicious", "malicious", true]);
    const { opened: counted } = (await call("/simulator/statistics")).body;
    expect(counted).toEqual({ [new Bun.CryptoHasher("sha256").update(zip).digest("hex")]: 2 });
  });
});

describe("the life of a submission", () => {
  test("goes from queued to in progress to success, with its job in sight until then", async () => {
    const { call, submit, clock } = await start();
    const answer = await submit(EICAR);
    expect(answer.body.result).toBe("ok");
    expect(answer.data.errors).toEqual([]);
    const id = submissionId(answer);
    const job = first(answer, "jobs").job_id;
    const state = async () => {
      const { data } = await call(`/rest/submission/${id}`);
      const jobs = await call(`/rest/job/submission/${id}`);
      const one = await call(`/rest/job/${job}`);
      return [
        data.submission_status,
        data.submission_finished,
        jobs.list.length,
        one.status,
        one.data.job_status,
      ];
    };
    expect(await state()).toEqual(["queued", false, 1, 200, "queued"]);
    clock.now += 999;
    expect(await state()).toEqual(["queued", false, 1, 200, "queued"]);
    clock.now += 1;
    expect(await state()).toEqual(["in_progress", false, 1, 200, "inwork"]);
    clock.now += 2999;
    expect(await state()).toEqual(["in_progress", false, 1, 200, "inwork"]);
    clock.now += 1;
    expect(await state()).toEqual(["success", true, 0, 404, undefined]);
  });

  test("tells nothing of the verdict before it is finished, and all of it after", async () => {
    const { call, submit, clock } = await start();
    const answer = await submit(EICAR, { submission_metadata: '{"mail":"7"}' }, "test.com");
    const [submission, sample] = [
      `/rest/submission/${submissionId(answer)}`,
      `/rest/sample/${sampleId(answer)}`,
    ];
    expect((await call(submission)).data).toMatchObject({
      submission_verdict: null,
      submission_has_errors: null,
      submission_finish_time: null,
      submission_created: "2026-01-02T03:04:05",
      submission_submission_metadata: '{"mail":"7"}',
      submission_filename: "test.com",
    });
    expect((await call(sample)).data).toMatchObject({ sample_verdict: null, sample_threat_names: [] });
    expect((await call(`${sample}/vtis`)).data).toEqual({ status: "not_finished", threat_indicators: [] });
    expect((await call(`/rest/analysis/submission/${submissionId(answer)}`)).list).toEqual([]);

    clock.now += 4000;
    expect((await call(submission)).data).toMatchObject({
      submission_verdict: "malicious",
      submission_severity: "malicious",
      submission_has_errors: false,
      submission_finish_time: "2026-01-02T03:04:09",
    });
    expect((await call(sample)).data).toMatchObject({
      sample_verdict: "malicious",
      sample_sha256hash: sha256(EICAR),
      sample_filesize: 68,
    });
    expect((await call(`${sample}/threat_names`)).data.sample_threat_names).toEqual([
      { threat_name: "EICAR-Test-File", sources: ["av"] },
    ]);
    const vtis = await call(`${sample}/vtis`);
    expect(vtis.data).toMatchObject({ status: "finished", threat_indicators: [{ score: 5 }] });
    const iocs = await call(`${sample}/iocs`);
    expect(iocs.data.iocs).toMatchObject({ files: [{ hashes: [{ sha256_hash: sha256(EICAR) }] }], urls: [] });
    expect((await call(`${sample}/mitre_attack`)).data).toEqual({
      status: "finished",
      mitre_attack_techniques: [],
    });
    const analyses = await call(`/rest/analysis/submission/${submissionId(answer)}`);
    expect(analyses.list).toHaveLength(1);
    expect(analyses.list[0]).toMatchObject({ analysis_result_code: 1, analysis_verdict: "malicious" });
    const lookups = await call(`/rest/reputation_lookup/submission/${submissionId(answer)}`);
    expect(lookups.list[0]).toMatchObject({ reputation_lookup_verdict: "malicious" });
  });

  test("of a content marked as error ends with errors and without a verdict", async () => {
    const { call, submit, clock } = await start();
    const id = submissionId(await submit(`${MARKER_PREFIX}error`));
    clock.now += 4000;
    expect((await call(`/rest/submission/${id}`)).data).toMatchObject({
      submission_finished: true,
      submission_status: "error",
      submission_has_errors: true,
      submission_verdict: null,
    });
    expect((await call(`/rest/analysis/submission/${id}`)).list[0]).toMatchObject({
      analysis_verdict: null,
      analysis_severity: "error",
      analysis_webif_url: null,
    });
  });

  test("in reputation mode has a reputation job and no analysis", async () => {
    const { call, submitUrl, clock } = await start();
    const answer = await submitUrl("http://malicious.example/", { analyzer_mode: "reputation" });
    expect(answer.data).toMatchObject({ jobs: [], reputation_jobs: [{ reputation_job_status: "queued" }] });
    const id = submissionId(answer);
    clock.now += 4000;
    expect((await call(`/rest/reputation_lookup/submission/${id}`)).list).toHaveLength(1);
    expect((await call(`/rest/analysis/submission/${id}`)).list).toEqual([]);
    expect((await call(`/rest/submission/${id}`)).data).toMatchObject({
      submission_verdict: "malicious",
      submission_consumed_quota: 0,
    });
  });
});

describe("the same content again", () => {
  test("is counted, uses the same sample and the cache, and finishes fast", async () => {
    const { simulator, call, submit, clock } = await start();
    const before = await submit(EICAR);
    clock.now += 4000;
    const again = await submit(EICAR, {}, "other.txt");
    expect(sampleId(again)).toBe(sampleId(before));
    expect(submissionId(again)).not.toBe(submissionId(before));
    expect(again.data.jobs).toEqual([]);
    clock.now += 400;
    expect((await call(`/rest/submission/${submissionId(again)}`)).data).toMatchObject({
      submission_finished: true,
      submission_used_cache: true,
      submission_number_created_jobs: 0,
      submission_verdict: "malicious",
    });
    expect(simulator.submissions()).toEqual(new Map([[sha256(EICAR), 2]]));
  });

  test("while the first is in work waits for that one", async () => {
    const { call, submit, clock } = await start();
    await submit("hello");
    clock.now += 2000;
    const id = submissionId(await submit("hello"));
    clock.now += 1999;
    expect((await call(`/rest/submission/${id}`)).data.submission_finished).toBe(false);
    clock.now += 1;
    expect((await call(`/rest/submission/${id}`)).data.submission_finished).toBe(true);
  });

  test("with caching disabled, in another mode, or after errors is analysed anew", async () => {
    const { submit } = await start();
    const usedCache = async (content: string, fields: Readonly<Record<string, string>>) =>
      first(await submit(content, fields), "submissions").submission_used_cache;
    expect(await usedCache("hello", {})).toBe(false);
    expect(await usedCache("hello", { analysis_caching: "disabled" })).toBe(false);
    expect(await usedCache("hello", { analyzer_mode: "reputation" })).toBe(false);
    expect(await usedCache("hello", {})).toBe(true);
    expect(await usedCache(`${MARKER_PREFIX}error`, {})).toBe(false);
    expect(await usedCache(`${MARKER_PREFIX}error`, {})).toBe(false);
  });

  test("under legacy caching without reanalysis is not stored and names the sample", async () => {
    const { simulator, submit } = await start();
    const id = sampleId(await submit("hello"));
    const again = await submit("hello", { analysis_caching: "legacy", reanalyze: "False" });
    expect(again.status).toBe(200);
    expect(again.data).toMatchObject({
      errors: [
        { error_msg: "Submission not stored because no jobs were created", submission_filename: "a.txt" },
      ],
      samples: [{ sample_id: id }],
      submissions: [],
    });
    expect(simulator.submissions().get(sha256("hello"))).toBe(2);
  });
});

describe("the type of a sample", () => {
  test("is told by its content, unless the client names it", async () => {
    const { submit } = await start();
    const zip = (member: string) => zipSync({ [member]: new Uint8Array(3) });
    const type = async (
      content: string | Uint8Array<ArrayBuffer>,
      fields: Readonly<Record<string, string>> = {},
    ) => first(await submit(content, fields), "samples").sample_type;
    expect(await type(zip("xl/workbook.xml"))).toBe("Excel Document");
    expect(await type(zip("a.txt"))).toBe("Archive");
    expect(await type("%PDF-1.7")).toBe("PDF Document");
    expect(await type(" <!DOCTYPE html>")).toBe("HTML Document");
    expect(await type("hello")).toBe("Unknown");
    expect(await type("Sub a", { sample_type: "VBScript" })).toBe("VBScript");
  });
});

describe("looking up", () => {
  test("a hash gives a list of full samples, empty where it is unknown", async () => {
    const { call, submit, clock } = await start();
    await submit(EICAR);
    clock.now += 4000;
    for (const [kind, algorithm] of [
      ["sha256", "sha256"],
      ["sha1", "sha1"],
      ["md5", "md5"],
    ] as const) {
      const hash = new Bun.CryptoHasher(algorithm).update(EICAR).digest("hex");
      for (const spelling of [hash, hash.toUpperCase()]) {
        const { list } = await call(`/rest/sample/${kind}/${spelling}`);
        expect(list).toHaveLength(1);
        expect(list[0]?.sample_verdict).toBe("malicious");
      }
      expect((await call(`/rest/sample/${kind}/${"0".repeat(hash.length)}`)).body).toEqual({
        data: [],
        result: "ok",
      });
    }
    expect((await call("/rest/sample/sha256/abc")).status).toBe(400);
  });

  test("a URL by search finds the sample of the URL as it was sent", async () => {
    const { call, submitUrl } = await start();
    const url = "http://www.example/a b?x=1&y=and#z";
    const id = sampleId(await submitUrl(url));
    const search = (query: string) => call(`/rest/sample/search?query=${encodeURIComponent(query)}`);
    const hit = await search(`url == "${url}"`);
    expect(hit.list).toHaveLength(1);
    expect(hit.list[0]).toMatchObject({
      sample_id: id,
      sample_type: "URL",
      sample_filename: "sample.url",
      sample_url: url,
      sample_sha256hash: sha256(url),
      sample_filesize: url.length,
    });
    expect((await search('url == "http://www.example/"')).list).toEqual([]);
    expect((await search("url like WWW.EXAMPLE and filename == sample.url")).list).toHaveLength(1);
    expect((await search("url == x or filename not like txt")).list).toHaveLength(1);
    for (const wrong of [
      "",
      "url",
      "url = x",
      "size == 1",
      'url == "x',
      "url == x and",
      "url == x url == y",
    ]) {
      expect((await search(wrong)).status).toBe(400);
    }
    expect((await search(Array(11).fill("url == x").join(" or "))).status).toBe(400);
    expect((await call("/rest/sample/search")).body.error_msg).toBe("query: is required");
  });

  test("an id that is not there is answered 404 in the envelope", async () => {
    const { call, submit } = await start();
    const id = submissionId(await submit("hello"));
    for (const path of [
      "/rest/sample/99",
      "/rest/sample/0",
      "/rest/sample/-1",
      "/rest/sample/abc",
      `/rest/sample/${id}`,
      "/rest/submission/1",
      "/rest/job/1",
      "/rest/analysis/submission/1",
      "/rest/continuation/1",
      "/rest/nothing",
      "/other",
    ]) {
      const reply = await call(path);
      expect([path, reply.status, reply.body]).toEqual([
        path,
        404,
        { error_msg: "No such element", result: "error" },
      ]);
    }
  });
});

describe("the feed of finished submissions", () => {
  test("gives what finished after the last one seen, in the order of finishing", async () => {
    const { call, submit, clock } = await start();
    const feed = async (last: number): Promise<readonly unknown[]> =>
      (await call(`/rest/submission?_order=asc&_limit=10&_last_id=${last}`)).list.map(
        (row) => row.submission_id,
      );
    const one = submissionId(await submit("one"));
    clock.now += 3900;
    const two = submissionId(await submit("two"));
    clock.now += 100;
    expect(await feed(0)).toEqual([one]);
    const oneAgain = submissionId(await submit("one"));
    clock.now += 400;
    expect(await feed(one)).toEqual([oneAgain]);
    clock.now += 4000;
    // The second was sent before the third and finished after it: the order is that of finishing.
    expect(await feed(0)).toEqual([one, oneAgain, two]);
    expect(await feed(oneAgain)).toEqual([two]);
    expect(await feed(two)).toEqual([]);
  });

  test("and every list obeys limit, order, least and greatest id, and filters by field", async () => {
    const { call, submit, clock } = await start();
    const ids: number[] = [];
    for (const content of ["a", "b", EICAR]) ids.push(submissionId(await submit(content)));
    clock.now += 4000;
    const list = async (query: string) =>
      (await call(`/rest/submission?${query}`)).list.map((row) => row.submission_id);
    expect(await list("")).toEqual(ids.toReversed());
    expect(await list("_order=asc&_limit=2")).toEqual(ids.slice(0, 2));
    expect(await list(`_min_id=${ids[1]}&_order=asc`)).toEqual(ids.slice(1));
    expect(await list(`_max_id=${ids[1]}&_order=asc`)).toEqual(ids.slice(0, 2));
    expect(await list("submission_verdict=malicious")).toEqual(ids.slice(2));
    expect(await list("submission_sample_id=2")).toEqual(ids.slice(1, 2));
    expect(await list("submission_finish_time=2026-01-02T00:00:00~")).toHaveLength(3);
    expect(await list("submission_finish_time=~2026-01-02T00:00:00")).toEqual([]);
    for (const wrong of [
      "limit=1",
      "_limit=x",
      "_limit=-1",
      "_order=up",
      "submission_nothing=1",
      "sample_id=1",
    ]) {
      expect((await call(`/rest/submission?${wrong}`)).status).toBe(400);
    }
    expect((await call("/rest/sample/1?verbose=1")).status).toBe(400);
  });

  test("continues where one answer does not hold it all; an id is good for one call", async () => {
    const { call, submit } = await start();
    for (let at = 0; at < 230; at++) await submit("hello");
    const page = await call("/rest/submission?_order=asc");
    expect(page.list).toHaveLength(100);
    const next = `/rest/continuation/${page.body.continuation_id}`;
    const second = await call(next);
    expect(second.list).toHaveLength(100);
    expect((await call(next)).status).toBe(404);
    const third = await call(`/rest/continuation/${second.body.continuation_id}`);
    expect(third.list).toHaveLength(30);
    expect(third.body.continuation_id).toBeUndefined();
    const ids = [page, second, third].flatMap((reply) => reply.list.map((row) => row.submission_id));
    expect(new Set(ids).size).toBe(230);
  });
});

describe("a request", () => {
  test("without the right key is refused", async () => {
    const { simulator, call } = await start();
    for (const authorization of [
      undefined,
      KEY,
      `api_key  ${KEY}`,
      `API_KEY ${KEY}`,
      `Bearer ${KEY}`,
      "api_key x",
    ]) {
      const reply = await call(
        "/rest/system_info",
        authorization === undefined ? { headers: {} } : { headers: { authorization } },
      );
      expect([reply.status, reply.body]).toEqual([401, { error_msg: "Invalid API key", result: "error" }]);
    }
    expect((await call("/rest/system_info")).status).toBe(200);
    expect(simulator.calls().get("GET /rest/system_info")).toBe(7);
  });

  test("with the wrong method is refused", async () => {
    const { call } = await start();
    expect((await call("/rest/sample/submit", { method: "PUT" })).status).toBe(405);
    // Bug: for methods that no path has it said that there is no such element.
    expect((await call("/rest/system_info", { method: "DELETE" })).status).toBe(405);
    const reply = await call("/rest/system_info", { method: "POST" });
    expect([reply.status, reply.headers.get("allow")]).toEqual([405, "GET"]);
  });

  test("with a wrong field is refused in the envelope and stores nothing", async () => {
    const { simulator, submit } = await start();
    const reply = await submit("hello", { tag: "x" });
    expect([reply.status, reply.body]).toEqual([
      400,
      { error_msg: 'Unknown parameter "tag".', result: "error" },
    ]);
    expect(simulator.submissions().size).toBe(0);
  });

  test("for a file name that Windows refuses gets another name and keeps the original", async () => {
    const { submit } = await start();
    const name = 'in"voice<1>.pdf';
    const encoded = Buffer.from(name).toString("base64");
    const submission = first(await submit("hello", { sample_filename_b64enc: encoded }), "submissions");
    expect(submission.submission_filename).toMatch(/^sample-\d+$/);
    expect(submission.submission_original_filename).toBe(name);
  });

  test("beyond the submissions that are kept is refused for now", async () => {
    const { submit } = await start({ maxSubmissions: 1 });
    expect((await submit("one")).status).toBe(200);
    const reply = await submit("two");
    expect(reply.status).toBe(503);
    expect(reply.body.error_msg).toContain("keeps 1 submissions");
  });

  test("for the system, the quota and the billing is answered as the API does", async () => {
    const { call, submit } = await start();
    await submit("hello");
    expect((await call("/rest/system_info")).data).toMatchObject({
      version: "2026.2.1",
      version_major: 2026,
      webif_max_sample_size: 209_715_200,
      api_items_per_request: 100,
    });
    expect((await call("/rest/api_key/quota")).data).toEqual({ quota_limit: 0, used_quota: 1 });
    expect((await call("/rest/billing_info")).data).toMatchObject({ product_plan_name: "Simulator" });
  });
});

describe("the faults for tests", () => {
  test("throttle the next calls with the time to wait", async () => {
    const { simulator, call } = await start();
    simulator.throttle({ calls: 2, retryAfterSeconds: 7 });
    for (let at = 0; at < 2; at++) {
      const reply = await call("/rest/system_info");
      expect([reply.status, reply.headers.get("retry-after"), reply.body]).toEqual([
        429,
        "7",
        { error_msg: "Request was throttled. Expected available in 7 seconds.", result: "error" },
      ]);
    }
    expect((await call("/rest/system_info")).status).toBe(200);
  });

  test("throttle all above a rate", async () => {
    const { simulator, call, clock } = await start();
    simulator.throttle({ perSecond: 2 });
    const statuses = async () => {
      const seen: number[] = [];
      for (let at = 0; at < 3; at++) seen.push((await call("/rest/system_info")).status);
      return seen;
    };
    expect(await statuses()).toEqual([200, 200, 429]);
    clock.now += 1001;
    expect(await statuses()).toEqual([200, 200, 429]);
    simulator.throttle(null);
    expect(await statuses()).toEqual([200, 200, 200]);
  });

  test("fail before anything is done, in HTML as a proxy does", async () => {
    const { simulator, submit } = await start();
    simulator.failNext(1, 502);
    const reply = await submit("hello");
    expect([reply.status, reply.headers.get("content-type")]).toEqual([502, "text/html"]);
    expect(simulator.submissions().size).toBe(0);
    expect((await submit("hello")).status).toBe(200);
  });

  test("lose the answer after it is done", async () => {
    const { simulator, call, submit } = await start();
    simulator.failNext(1, 504, "after");
    expect((await submit("hello")).status).toBe(504);
    expect(simulator.submissions().get(sha256("hello"))).toBe(1);
    expect((await call(`/rest/sample/sha256/${sha256("hello")}`)).list).toHaveLength(1);
  });

  test("refuse a submission with status 200", async () => {
    const { simulator, submit } = await start();
    simulator.refuseNext(1, "Denied: the quota is exceeded");
    const reply = await submit("hello");
    expect(reply.status).toBe(200);
    expect(reply.data).toMatchObject({
      errors: [{ error_msg: "Denied: the quota is exceeded", submission_filename: "a.txt" }],
      submissions: [],
      samples: [],
    });
    expect(first(await submit("hello"), "submissions").submission_id).toBeNumber();
  });

  test("take it down and bring it up on the same port with its memory", async () => {
    const { simulator, call, submit } = await start();
    const id = submissionId(await submit("hello"));
    await simulator.setDown(true);
    await expect(call("/rest/system_info")).rejects.toThrow();
    await simulator.setDown(true);
    await simulator.setDown(false);
    expect((await call(`/rest/submission/${id}`)).status).toBe(200);
  });
});

describe("it says that it is a simulator", () => {
  test("on the page behind each web link, with all text escaped and nothing to run", async () => {
    const { simulator, clock, call, submitUrl } = await start();
    const url = "http://malicious.example/?<script>alert('1')</script>&x=\u202e";
    const answer = await submitUrl(url);
    const link = String(first(answer, "samples").sample_webif_url);
    expect(link).toBe(`${simulator.url}/samples/1`);
    expect(first(answer, "submissions").submission_webif_url).toBe(link);
    const page = () => call("/simulator/samples/1", { headers: {} });
    expect((await page()).text).toContain("not finished yet");
    clock.now += 4000;
    const { status, text, headers } = await page();
    expect(status).toBe(200);
    expect(text).toContain("This is a simulator, not a VMRay Analyzer.");
    expect(text).toContain("The host name has the label &quot;malicious&quot;");
    expect(text).toContain("?&lt;script&gt;alert(&#39;1&#39;)&lt;/script&gt;&amp;x=");
    expect(text).not.toContain("<script");
    expect(text).not.toContain("\u202e");
    expect(headers.get("content-security-policy")).toContain("default-src 'none'");
    expect((await call("/simulator/samples/2")).status).toBe(404);
    expect((await call("/simulator/other")).body.result).toBe("error");
  });

  test("in the links under the name by which the client reached it", async () => {
    const { call } = await start();
    const info = async (host: string) =>
      (await call("/rest/system_info", { headers: { authorization: `api_key ${KEY}`, host } })).data;
    expect((await info("analyzer.example:8480")).webif_base_url).toBe("http://analyzer.example:8480");
  });

  test("and counts in its statistics what was submitted how often", async () => {
    const { call, submit, submitUrl } = await start();
    await submit("hello");
    await submit("hello");
    await submitUrl("http://www.example/");
    const reply = await call("/simulator/statistics", { headers: {} });
    expect(reply.body).toEqual({
      simulator: true,
      calls: { "POST /rest/sample/submit": 3 },
      submissions: { [sha256("hello")]: 2, "http://www.example/": 1 },
      opened: {},
      samples: 2,
      faults: {},
      quota: { reports: 2, verdicts: 0 },
    });
  });
});

describe("starting", () => {
  test("on an address in use, or with an empty key, fails with a code", async () => {
    const { simulator } = await start();
    const port = Number(new URL(simulator.url).port);
    expect(await startSimulator({ apiKey: KEY, port }).catch((thrown: unknown) => thrown)).toMatchObject({
      code: "LISTEN_FAILED",
    });
    expect(await startSimulator({ apiKey: "" }).catch((thrown: unknown) => thrown)).toBeInstanceOf(
      SensorError,
    );
  });
});
