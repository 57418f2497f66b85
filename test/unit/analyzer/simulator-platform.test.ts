/** Older versions of the platform: the fields and paths that each has. */
import { describe, expect, test } from "bun:test";
import { EICAR } from "../../../src/analyzer/simulator/judgement.ts";
import { PLATFORMS, type Platform } from "../../../src/analyzer/simulator/platform.ts";
import { sampleId, start, submissionId } from "./simulator-client.ts";

async function analysed(platform: Platform) {
  const client = await start({ platform });
  const answer = await client.submit(EICAR);
  client.clock.now += 4000;
  const get = async (path: string) => (await client.call(path)).data;
  return {
    ...client,
    answer,
    sample: await get(`/rest/sample/${sampleId(answer)}`),
    submission: await get(`/rest/submission/${submissionId(answer)}`),
    status: async (path: string) => (await client.call(path)).status,
  };
}

describe("the platform", () => {
  test("2.1 knows severities alone, and polls without a feed", async () => {
    const { answer, call, sample, submission, status } = await analysed("2.1");
    const all = JSON.stringify([sample, submission, answer.data]);
    expect(all).not.toContain("verdict");
    expect(sample).toMatchObject({ sample_severity: "malicious", sample_score: 100, sample_vti_score: 100 });
    expect(submission).toMatchObject({ submission_finished: true, submission_severity: "malicious" });
    expect(submission.submission_status).toBeUndefined();
    expect(answer.data.static_jobs).toBeUndefined();
    expect(await status("/rest/sample/1/threat_indicators")).toBe(200);
    for (const path of [
      "/rest/sample/1/vtis",
      "/rest/sample/1/threat_names",
      "/rest/sample/1/mitre_attack",
      "/rest/billing_info",
      "/rest/sample/search",
    ]) {
      expect([path, await status(path)]).toEqual([path, 404]);
    }
    expect(await status("/rest/submission?_last_id=1")).toBe(400);
    expect((await call("/rest/submission?_min_id=1&_order=asc")).list).toHaveLength(1);
    const iocs = await call("/rest/sample/1/iocs");
    expect(iocs.text).not.toContain("verdict");
    expect((await call("/rest/system_info")).data).toMatchObject({ version: "2.1.0", version_major: 2 });
  });

  test("4.2 has verdicts and the feed, and not yet what came later", async () => {
    const { sample, submission, status } = await analysed("4.2");
    expect(sample).toMatchObject({ sample_verdict: "malicious", sample_threat_names: ["EICAR-Test-File"] });
    expect(submission).toMatchObject({ submission_status: "success", submission_verdict: "malicious" });
    for (const name of ["submission_consumed_quota", "submission_used_cache", "submission_triaged"]) {
      expect(submission[name]).toBeUndefined();
    }
    expect(await status("/rest/submission?_last_id=1")).toBe(200);
    expect(await status("/rest/sample/1/vtis")).toBe(200);
    expect(await status("/rest/sample/1/threat_names")).toBe(404);
  });

  test.each(PLATFORMS.map((platform) => [platform]))("%s links to pages that are there", async (platform) => {
    const { simulator, sample } = await analysed(platform);
    const link = String(sample.sample_webif_url);
    expect(link).toBe(`${simulator.url}${platform === "2026.2" ? "/samples/1" : "/user/sample/view?id=1"}`);
    expect(await (await fetch(link)).text()).toContain("EICAR-Test-File");
  });
});
