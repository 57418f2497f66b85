/**
 * Each recorded answer of VMRay, through the real client: what the sensor makes of it.
 *
 * The recordings are not ours to publish. They lie in the folder VMRAY_SAMPLES names, or beside the project; where
 * there are none these tests are left out.
 */
import { describe, expect, test } from "bun:test";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { z } from "zod";
import { withEvidence } from "../../../src/analyzer/evidence.ts";
import { afterSubmit, lookUp, poll } from "../../../src/analyzer/steps.ts";
import { VmrayError } from "../../../src/analyzer/vmray-error.ts";
import type { ContentVerdict } from "../../../src/verdict/verdict.ts";
import { job, raw, SUBMIT, send, vmray } from "./canned.ts";
import { file, url } from "./harness.ts";

const FOLDER = process.env.VMRAY_SAMPLES ?? join(import.meta.dir, "../../../../shared/vmray-samples");
const read = (name: string): string => readFileSync(join(FOLDER, name), "utf8");
const signal = new AbortController().signal;
const LIMITS = { now: 0, giveUpAfter: 60_000, queueLimit: 60_000 };

/** The submission of 4.2.0 that all its other recordings are of, as the sensor follows it to its verdict. */
async function followed(): Promise<ContentVerdict> {
  const { client } = vmray({
    "/rest/submission/51": raw(read("mispfeed_submission.json")),
    "/rest/sample/12": raw(read("mispfeed_sample.json")),
    "/rest/sample/12/vtis": raw(read("mispfeed_vtis.json")),
    "/rest/sample/12/mitre_attack": raw(read("mispfeed_mitre_attack.json")),
    "/rest/sample/12/iocs": raw(read("mispfeed_iocs.json")),
    "/rest/analysis/submission/51": raw(read("mispfeed_analysis_submission_id.json")),
  });
  const progress = { state: "submitted", submissionIds: [51], sampleIds: [12], submittedAt: 0 } as const;
  const next = await poll(client, job(file("x")), progress, LIMITS, signal);
  if (next.kind !== "finish") throw new Error(`not finished but ${next.kind}`);
  return next.verdict;
}

/** What is looked up and known, with what VMRay says of it, in the masked form of a published scan. */
async function scanned(name: string, address: string): Promise<ContentVerdict> {
  const scan = z
    .array(z.object({ EntityResult: z.record(z.string(), z.unknown()) }))
    .parse(JSON.parse(read(name)));
  const entity = scan[0]?.EntityResult ?? {};
  const { client } = vmray({
    // Its id and hash are masked with letters; everything else is as VMRay gave it.
    "/rest/sample/sha256/": (path) => [
      { ...entity, sample_id: 7, sample_sha256hash: path.split("/").at(-1) },
    ],
    "/rest/sample/7/threat_indicators": { threat_indicators: entity.threat_indicators },
    "/rest/sample/7/iocs": { iocs: entity.iocs },
  });
  const next = await lookUp(client, job(url(address)), 0, signal);
  if (next.kind !== "finish") throw new Error(`not finished but ${next.kind}`);
  return next.verdict;
}

async function faultOf(call: Promise<unknown>): Promise<VmrayError> {
  const thrown = await call.then(
    () => null,
    (fault: unknown) => fault,
  );
  if (thrown instanceof VmrayError) return thrown;
  throw new Error("the call did not fail");
}

const REPLAYS: Readonly<Record<string, (name: string) => Promise<void>>> = {
  async "contenthub_scan_hash_result.json"(name) {
    const verdict = await scanned(name, "http://test.com/test.php");
    expect(verdict).toMatchObject({ outcome: "judged", verdict: "malicious", reason: null });
    expect(verdict.vmray?.url).toBe("https://cloud.vmray.com/samples/3945xxx");
    expect(verdict.evidence?.iocs.urls).toEqual(["http://test.com/test.php"]);
    expect(verdict.evidence?.indicators).toEqual([
      { category: "Reputation", operation: "Known malicious URL", score: 4 },
    ]);
  },
  async "contenthub_scan_url_result.json"(name) {
    const verdict = await scanned(name, "http://exmaple.com/");
    expect(verdict).toMatchObject({ outcome: "judged", verdict: "suspicious", threat_names: [] });
    expect(verdict.evidence?.iocs.urls).toEqual(["http://exmaple.com/favicon.ico"]);
    expect(verdict.evidence?.indicators).toEqual([]);
  },
  async "mispfeed_analyses.json"(name) {
    const { client } = vmray({ "/rest/analysis/submission/20": raw(read(name)) });
    expect(await client.analysisFaults(20)).toEqual([
      "Worker crashed or Worker daemon was restarted during analysis.",
    ]);
  },
  async "mispfeed_analysis_submission_id.json"(name) {
    const { client } = vmray({ "/rest/analysis/submission/51": raw(read(name)) });
    expect(await client.analysisFaults(51)).toEqual([]);
  },
  async "mispfeed_iocs.json"() {
    const { evidence } = await followed();
    expect(evidence?.iocs.files).toHaveLength(4);
    expect(evidence?.iocs.files).toContain(
      "fdebb39a1a52a66875f08894a243525e4bb36e104d9cd57093fbcc29a653a5d1",
    );
  },
  async "mispfeed_mitre_attack.json"() {
    const { evidence } = await followed();
    expect(evidence?.techniques[0]).toEqual({
      id: "T1060",
      name: "Registry Run Keys / Startup Folder",
      tactics: ["Persistence"],
    });
  },
  async "mispfeed_sample.json"() {
    const verdict = await followed();
    expect(verdict).toMatchObject({ outcome: "judged", verdict: "malicious", reason: null });
    expect(verdict.threat_names).toEqual(["EICAR", "EICAR-Test-File (not a virus)"]);
    expect(verdict.evidence?.classifications).toEqual(["EICAR"]);
    expect(verdict.vmray?.url).toEndWith("/user/sample/view?id=12");
  },
  async "mispfeed_submission.json"(name) {
    expect((await followed()).vmray).toMatchObject({ sample_id: 12, submission_id: 51 });
    const { client } = vmray({ "/rest/submission/51": raw(read(name)) });
    expect(await client.submission(51)).toMatchObject({
      submission_finished: true,
      submission_has_errors: false,
      submission_has_recursive_errors: false,
      submission_finish_time: "2021-02-17T15:07:51",
    });
  },
  async "mispfeed_summary_v2.json"(name) {
    // A file out of the archive of an analysis, and no answer to anything the sensor asks.
    const { client } = vmray({ "/rest/sample/12": raw(read(name)) });
    expect((await faultOf(client.sample(12))).code).toBe("VMRAY_ANSWER");
  },
  async "mispfeed_system_info.json"(name) {
    const { client, asked } = vmray({ "/rest/system_info": raw(read(name)), "/rest/submission": [] });
    expect(await client.systemInfo()).toEqual({
      version: "4.2.0",
      webif_max_sample_size: 209_715_200,
      webif_max_upload_size: 209_715_200,
    });
    await client.finishedAfter(5, 10);
    expect(asked.at(-1)).toEndWith("_last_id=5");
  },
  async "mispfeed_vtis.json"() {
    const { evidence } = await followed();
    expect(evidence?.indicators).toEqual([
      { category: "Antivirus", operation: "Malicious content was detected by heuristic scan", score: 4 },
      { category: "Reputation", operation: "Malicious file detected via reputation", score: 4 },
    ]);
  },
  async "sentinel_etd_vmray_emails_CL.json"(name) {
    // Of another product and without an envelope: nothing of it may pass for samples.
    const { client } = vmray({ "/rest/sample/sha256/": raw(read(name)) });
    expect((await faultOf(client.samplesBySha256("ab".repeat(32)))).code).toBe("VMRAY_ANSWER");
  },
  async "splunksoar_sample_iocs_data.json"(name) {
    const { client } = vmray({
      "/rest/sample/1/iocs": JSON.parse(read(name)),
      "/rest/sample/2/iocs": raw(read(name)),
    });
    const { evidence } = await evident(client, 1);
    expect(Object.values(evidence?.iocs ?? { none: [""] }).flat()).toEqual([]);
    expect((await faultOf(client.iocs(2))).code).toBe("VMRAY_ANSWER");
  },
  async "splunksoar_sample_threat_indicators_data.json"(name) {
    const { client } = vmray({ "/rest/sample/1/vtis": JSON.parse(read(name)) });
    expect(await client.indicators(1)).toEqual({
      finished: true,
      items: [{ category: "Mutex", operation: "Creates mutex", score: 1 }],
    });
    expect((await evident(client, 1)).evidence?.indicators).toEqual([]);
  },
  async "xsoar_analysis_detector.json"(name) {
    // Paid with a quota for verdicts alone: it says nothing of a failure.
    const { client } = vmray({ "/rest/analysis/submission/1": raw(read(name)) });
    expect(await client.analysisFaults(1)).toEqual([]);
  },
  async "xsoar_no_such_element.json"(name) {
    const gone = raw(read(name), 404);
    const { client } = vmray({ "/rest/": gone });
    expect([await client.sample(1), await client.submission(1)]).toEqual([null, null]);
    expect(await client.samplesBySha256("ab".repeat(32))).toEqual([]);
    expect((await faultOf(send(client))).code).toBe("VMRAY_ANSWER");
  },
  async "xsoar_rate_limit_429.json"(name) {
    const recorded = z
      .object({ status_code: z.number(), headers: z.record(z.string(), z.string()), json: z.unknown() })
      .parse(JSON.parse(read(name)));
    const { client } = vmray({ "/rest/": raw(recorded.json, recorded.status_code, recorded.headers) });
    for (const call of [client.sample(1), send(client)]) {
      const fault = await faultOf(call);
      expect([fault.code, fault.retryAfter]).toEqual(["VMRAY_THROTTLED", 2000]);
      expect(fault.message).toContain("Expected available in 2 seconds");
    }
  },
  async "xsoar_submit_not_stored_200.json"(name) {
    const analysis = job(url("http://a.example/", "reputation"));
    const known = (path: string) => [
      { sample_id: 3, sample_sha256hash: path.split("/").at(-1), sample_verdict: "clean" },
    ];
    const hit = vmray({ [SUBMIT]: raw(read(name)), "/rest/sample/sha256/": known }).client;
    expect(await afterSubmit(hit, analysis, await send(hit), 0, signal)).toMatchObject({
      kind: "finish",
      verdict: { outcome: "judged", verdict: "clean" },
      lasting: true,
    });
    const unknown = vmray({ [SUBMIT]: raw(read(name)), "/rest/sample/sha256/": [] }).client;
    expect(await afterSubmit(unknown, analysis, await send(unknown), 0, signal)).toMatchObject({
      kind: "finish",
      verdict: { outcome: "failed", verdict: "not_available" },
      lasting: false,
    });
  },
};

async function evident(client: Parameters<typeof withEvidence>[0], id: number): Promise<ContentVerdict> {
  const bad: ContentVerdict = {
    outcome: "judged",
    verdict: "malicious",
    reason: null,
    threat_names: [],
    vmray: null,
  };
  const { client: naming } = vmray({ [`/rest/sample/${id}`]: { sample_id: id } });
  return withEvidence(client, bad, await naming.sample(id), signal);
}

describe.skipIf(!existsSync(FOLDER))("the recorded answer", () => {
  test.each(Object.keys(REPLAYS))("%s means what it says", async (name) => {
    await REPLAYS[name]?.(name);
  });
  test("of no file is left out", () => {
    const recorded = readdirSync(FOLDER).filter((name) => name.endsWith(".json"));
    expect(Object.keys(REPLAYS).toSorted()).toEqual(recorded.toSorted());
  });
});
