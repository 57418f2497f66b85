/** What comes with a bad verdict: bounded, without what is clean, and never at the price of the verdict. */
import { describe, expect, test } from "bun:test";
import * as shapes from "../../../src/analyzer/api-shapes.ts";
import type { VmrayClient } from "../../../src/analyzer/client.ts";
import { withEvidence } from "../../../src/analyzer/evidence.ts";
import { VmrayError } from "../../../src/analyzer/vmray-error.ts";
import type { ContentVerdict } from "../../../src/verdict/verdict.ts";
import { file, SETTINGS, sample, scripted, world } from "./harness.ts";

const bad: ContentVerdict = {
  outcome: "judged",
  verdict: "malicious",
  reason: null,
  threat_names: [],
  vmray: null,
};
const SAMPLE = sample({ sample_id: 7, sample_threat_names: ["Old"], sample_classifications: ["Worm"] });
const signal = () => new AbortController().signal;

function evidence(change: Partial<VmrayClient>, slept: number[] = [], verdict = bad) {
  return withEvidence(scripted(change), verdict, SAMPLE, signal(), async (ms) => void slept.push(ms));
}
const iocs = (lists: object) => async () => shapes.iocs.parse({ status: "finished", iocs: lists });
const indicator = (score: number, operation = `op ${score}`) => ({ category: "Injection", operation, score });

describe("evidence", () => {
  test("holds classifications, indicators of score 3 and more, worst first, techniques and IOCs", async () => {
    const got = await evidence({
      threatNames: async () => ["Emotet"],
      classifications: async () => ["Downloader", "Downloader"],
      indicators: async () => ({ finished: true, items: [3, 2, 5, 5].map((score) => indicator(score)) }),
      techniques: async () => ({
        finished: true,
        items: [
          { technique_id: "T1055.012", technique: "Process Hollowing", tactics: ["Defense Evasion"] },
          { technique_id: "T1055.012", technique: "twice", tactics: [] },
          { technique_id: "<script>", technique: "no id", tactics: [] },
        ],
      }),
      iocs: iocs({ ips: [{ ip_address: "192.0.2.1", verdict: "malicious" }] }),
    });
    expect(got.threat_names).toEqual(["Emotet"]);
    expect(got.reason).toBeNull();
    expect(got.evidence).toEqual({
      classifications: ["Downloader"],
      indicators: [indicator(5), indicator(3)],
      techniques: [{ id: "T1055.012", name: "Process Hollowing", tactics: ["Defense Evasion"] }],
      iocs: { urls: [], domains: [], ips: ["192.0.2.1"], files: [], email_addresses: [] },
    });
  });

  test("leaves out IOCs that are clean, none, or not what their list says, and puts the worst first", async () => {
    const hash = "AB".repeat(32);
    const got = await evidence({
      iocs: iocs({
        urls: [
          { url: "http://clean.example/", verdict: "clean" },
          { url: "http://unknown.example/", verdict: null },
          { url: "http://old.example/", severity: "blacklisted" },
          { url: "http://none.example/", verdict: "malicious", ioc: false },
          { url: `http://cut.example/${"a".repeat(2000)}`, verdict: "malicious" },
          { url: "http://two.example/\r\nlines", verdict: "malicious" },
        ],
        domains: [{ domain: "not a domain" }, { domain: "bad.example", severity: "not_suspicious" }],
        ips: [{ ip_address: "999.1.1.1" }, { ip_address: "2001:db8::1" }],
        files: [{ verdict: "malicious", hashes: [{ sha256_hash: hash }, { sha256_hash: "12" }, {}] }],
        email_addresses: [{ email_address: "a@b.example" }, { email_address: "nobody" }],
        mutexes: [{ mutex: "x" }],
      }),
    });
    expect(got.evidence?.iocs).toEqual({
      urls: ["http://old.example/", "http://unknown.example/"],
      domains: [],
      ips: ["2001:db8::1"],
      files: [hash.toLowerCase()],
      email_addresses: ["a@b.example"],
    });
  });

  test("is bounded whatever VMRay sends", async () => {
    const many = Array.from({ length: 900 }, (_, n) => n);
    const got = await evidence({
      threatNames: async () => many.map((n) => `${n}${"x".repeat(9000)}`),
      classifications: async () => many.map(String),
      indicators: async () => ({
        finished: true,
        items: many.map((n) => indicator(5, `${n}\n${"y".repeat(9000)}`)),
      }),
      techniques: async () => ({
        finished: true,
        items: many.map((n) => ({ technique_id: `T${1000 + n}`, tactics: many.map(String) })),
      }),
      iocs: iocs({ urls: many.map((n) => ({ url: `http://${n}.example/` })) }),
    });
    expect(JSON.stringify(got).length).toBeLessThan(40_000);
    expect(got.evidence?.iocs.urls).toHaveLength(20);
    expect(JSON.stringify(got)).not.toContain("\\n");
  });

  test("waits a little for lists that VMRay is not done with, then goes without and says so", async () => {
    const slept: number[] = [];
    let looks = 0;
    const got = await evidence(
      {
        indicators: async () => ({ finished: ++looks === 2, items: [indicator(4)] }),
        iocs: async () => ({ finished: false, items: null }),
      },
      slept,
    );
    expect([looks, slept.length]).toEqual([2, 3]);
    expect(got.evidence?.indicators).toEqual([indicator(4)]);
    expect([got.verdict, got.reason]).toEqual(["malicious", "VMRay did not give all of its IOCs"]);
  });

  test("bug: without all of it a verdict answered for later mails as long as with it", async () => {
    let passed = 0;
    const here = await world(() => Date.now() + passed);
    let done = false;
    const client = scripted({
      samplesBySha256: async () => [sample({ sample_id: 7, sample_verdict: "malicious" })],
      iocs: async () => {
        if (done) return shapes.iocs.parse({ iocs: { ips: [{ ip_address: "192.0.2.1" }] } });
        throw new VmrayError("VMRAY_UNREACHABLE", "no");
      },
    });
    here.start(client, { settings: { ...SETTINGS, cache: { ...SETTINGS.cache, malicious: 1e9 } } });
    const ips = async () => {
      const [verdict] = await here.verdicts(await here.mail(file("campaign")));
      return verdict?.evidence?.iocs.ips;
    };
    expect(await ips()).toEqual([]);
    done = true;
    passed += 9 * 60_000;
    expect(await ips()).toEqual([]);
    passed += 2 * 60_000;
    expect(await ips()).toEqual(["192.0.2.1"]);
    done = false;
    passed += 60 * 60_000;
    expect(await ips()).toEqual(["192.0.2.1"]);
  });

  test("of an older version is what the sample says itself, without complaint", async () => {
    const got = await evidence({});
    expect([got.threat_names, got.evidence?.classifications, got.reason]).toEqual([["Old"], ["Worm"], null]);
  });

  test("that cannot be read leaves the verdict standing; one that VMRay wants later is asked for later", async () => {
    const fails = (code: "VMRAY_UNREACHABLE" | "VMRAY_THROTTLED") => async () => {
      throw new VmrayError(code, "no");
    };
    const got = await evidence({ techniques: fails("VMRAY_UNREACHABLE") }, [], { ...bad, reason: "it is" });
    expect([got.verdict, got.reason]).toEqual([
      "malicious",
      "it is; VMRay did not give all of its techniques",
    ]);
    expect(evidence({ iocs: fails("VMRAY_THROTTLED") })).rejects.toMatchObject({ code: "VMRAY_THROTTLED" });
  });

  test("is not asked for where the verdict is not bad", async () => {
    const clean = { ...bad, verdict: "clean" } as const;
    const never = async () => {
      throw new Error("asked");
    };
    expect(await evidence({ threatNames: never, iocs: never }, [], clean)).toEqual(clean);
  });

  test("ends with the sensor while it waits", async () => {
    const ending = new AbortController();
    const client = scripted({ indicators: async () => ({ finished: false, items: [] }) });
    const waiting = withEvidence(client, bad, SAMPLE, ending.signal);
    setTimeout(() => ending.abort(new Error("stopping")), 20);
    expect(waiting).rejects.toThrow("stopping");
  });
});
