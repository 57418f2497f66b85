/** What a scenario says of contents: verdicts, evidence, times, children, changes. */
import { describe, expect, test } from "bun:test";
import { zipSync } from "fflate";
import { createRuleBook } from "../../../src/analyzer/simulator/contents.ts";
import { EICAR, MARKER_PREFIX } from "../../../src/analyzer/simulator/judgement.ts";
import { readScenario } from "../../../src/analyzer/simulator/scenario.ts";
import { makeWithSevenZip } from "../extract/archives/make.ts";
import { type Fields, first, sampleId, sha256, start, submissionId } from "./simulator-client.ts";

const scenario = (text: string) => ({ scenario: readScenario(text, "test") });
const bytes = (text: string): Uint8Array => new TextEncoder().encode(text);

describe("a rule matches", () => {
  const found = (match: string, facts: { sha256?: string; filename?: string; url?: string }): boolean => {
    const book = createRuleBook(readScenario(`contents: [{match: ${match}}]`, "s").contents);
    return book.find({ sha256: "", filename: "", url: null, ...facts }) !== undefined;
  };

  test.each([
    ["{filename: 'inv*.PDF'}", { filename: "Invoice 7.pdf" }, true],
    ["{filename: 'inv*.pdf'}", { filename: "Invoice.pdf.exe" }, false],
    ["{filename: '*a*a'}", { filename: "xa" }, false],
    ["{filename: 'a.b'}", { filename: "a.b" }, true],
    ["{filename: '*'}", { filename: "sample.url", url: "http://a/" }, false],
    ["{url_host: example.com}", { url: "https://www.Example.com/x" }, true],
    ["{url_host: example.com}", { url: "https://notexample.com/" }, false],
    ["{url_prefix: 'http://a.example/x'}", { url: "http://a.example/xy" }, true],
    ["{url: 'http://a.example/'}", { url: "http://a.example/x" }, false],
    [`{sha256: ${"AB".repeat(32)}}`, { sha256: "ab".repeat(32) }, true],
    [`{sha256: ${"ab".repeat(32)}, filename: x}`, { sha256: "ab".repeat(32), filename: "y" }, false],
  ] as const)("%s with %p: %p", (match, facts, expected) => {
    expect(found(match, facts)).toBe(expected);
  });

  test("first of several that fit, whatever found it", () => {
    const book = createRuleBook(
      readScenario(
        `contents:
  - {match: {filename: "*.txt"}, verdict: clean}
  - {match: {sha256: ${"a".repeat(64)}}, verdict: malicious}`,
        "s",
      ).contents,
    );
    const facts = { sha256: "a".repeat(64), url: null };
    expect(book.find({ ...facts, filename: "a.txt" })?.verdict).toBe("clean");
    expect(book.find({ ...facts, filename: "a" })?.verdict).toBe("malicious");
  });
});

describe("a scenario tells of a content", () => {
  test("a verdict with all evidence, which comes a while after it", async () => {
    const { call, submit, clock } = await start(
      scenario(`contents:
  - match: {filename: "*.pdf"}
    verdict: malicious
    threat_names: [Sim.A, Sim.B]
    classifications: [Phishing]
    vtis: [{category: Heuristics, operation: Asks for a password, score: 4}]
    mitre: [{technique_id: T1566.001, technique: Spearphishing Attachment, tactics: [Initial Access]}]
    iocs: {urls: ["http://login.example/"], domains: [login.example], ips: [192.0.2.1], files: [${"c".repeat(64)}]}
    evidence_lag: 2s
    has_errors: true
    work: 5s`),
    );
    const answer = await submit("hello", {}, "a.pdf");
    const sample = `/rest/sample/${sampleId(answer)}`;
    clock.now += 5999;
    expect((await call(sample)).data.sample_verdict).toBeNull();
    clock.now += 1;
    expect((await call(sample)).data).toMatchObject({ sample_verdict: "malicious", sample_threat_names: [] });
    expect((await call(`${sample}/vtis`)).data).toEqual({ status: "not_finished", threat_indicators: [] });
    expect((await call(`${sample}/threat_names`)).data.sample_threat_names).toEqual([]);
    clock.now += 2000;
    expect((await call(sample)).data).toMatchObject({
      sample_threat_names: ["Sim.A", "Sim.B"],
      sample_classifications: ["Phishing"],
    });
    expect((await call(`${sample}/vtis`)).data).toMatchObject({
      status: "finished",
      threat_indicators: [{ id: 1, category: "Heuristics", operation: "Asks for a password", score: 4 }],
    });
    expect((await call(`${sample}/classifications`)).data.sample_classifications).toEqual([
      { classification_name: "Phishing", sources: ["vti"] },
    ]);
    expect((await call(`${sample}/mitre_attack`)).data.mitre_attack_techniques).toMatchObject([
      { technique_id: "T1566.001", tactics: ["Initial Access"] },
    ]);
    const { iocs } = (await call(`${sample}/iocs`)).data as { iocs: Fields };
    expect(iocs).toMatchObject({
      urls: [{ url: "http://login.example/", verdict: "malicious", ip_addresses: [] }],
      domains: [{ domain: "login.example" }],
      ips: [{ ip_address: "192.0.2.1" }],
      files: [{ hashes: [{ sha256_hash: "c".repeat(64) }] }],
    });
    expect(((await call(`${sample}/iocs/verdict/suspicious`)).data.iocs as Fields).urls).toEqual([]);
    expect((await call(`/rest/submission/${submissionId(answer)}`)).data).toMatchObject({
      submission_status: "warning",
      submission_has_errors: true,
      submission_verdict: "malicious",
    });
  });

  test("a verdict that changes later: for the sample and what finishes from then on", async () => {
    const { call, submitUrl, clock } = await start(
      scenario(`contents:
  - match: {url_host: late.example}
    verdict: clean
    then:
      - {after: 1m, verdict: malicious, threat_names: [Late]}
      - {after: 30s, verdict: suspicious}`),
    );
    const url = "http://late.example/";
    const before = submissionId(await submitUrl(url));
    const verdict = async (id: number) => (await call(`/rest/submission/${id}`)).data.submission_verdict;
    const sample = async () =>
      (await call(`/rest/sample/search?query=${encodeURIComponent(`url == "${url}"`)}`)).list[0]
        ?.sample_verdict;
    clock.now += 4000 + 29_999;
    expect([await sample(), await verdict(before)]).toEqual(["clean", "clean"]);
    clock.now += 1;
    expect([await sample(), await verdict(before)]).toEqual(["suspicious", "clean"]);
    clock.now += 30_000;
    const cached = submissionId(await submitUrl(url));
    const anew = submissionId(await submitUrl(url, { analysis_caching: "disabled" }));
    clock.now += 4000;
    expect([await sample(), await verdict(before), await verdict(cached), await verdict(anew)]).toEqual([
      "malicious",
      "clean",
      "clean",
      "malicious",
    ]);
  });

  test("that it is known without a submission, until another scenario says another thing", async () => {
    const hash = "d".repeat(64);
    const { simulator, call } = await start(
      scenario(`contents:
  - {match: {sha256: ${hash}}, known: true, verdict: suspicious}
  - {match: {url: "http://known.example/"}, known: true, verdict: malicious}
  - {match: {sha256: ${"e".repeat(64)}}, verdict: malicious}`),
    );
    const lookup = async (digest: string) =>
      (await call(`/rest/sample/sha256/${digest}`)).list.map((one) => one.sample_verdict);
    expect(await lookup(hash)).toEqual(["suspicious"]);
    expect(await lookup("e".repeat(64))).toEqual([]);
    expect(await lookup(sha256("http://known.example/"))).toEqual(["malicious"]);
    expect(simulator.submissions().size).toBe(0);
    simulator.setScenario(readScenario(`contents: [{match: {sha256: ${hash}}, verdict: malicious}]`, "s"));
    expect(await lookup(hash)).toEqual(["malicious"]);
  });

  test("children: samples and submissions of their own, that take quota and stand in the feed", async () => {
    const { call, submit, clock } = await start(
      scenario(`contents:
  - match: {filename: mail.eml}
    verdict: suspicious
    children:
      - {filename: evil.exe, relation: Attachment, verdict: malicious, threat_names: [Child]}
      - {url: "http://child.example/", verdict: clean}`),
    );
    const answer = await submit("mail", {}, "mail.eml");
    const id = submissionId(answer);
    expect(answer.data.submissions).toHaveLength(1);
    clock.now += 4000;
    const children = (await call(`/rest/submission?submission_parent_submission_id=${id}&_order=asc`)).list;
    expect(children.map((one) => [one.submission_verdict, one.submission_recursive])).toEqual([
      ["malicious", true],
      ["clean", true],
    ]);
    const { data } = await call(`/rest/sample/${sampleId(answer)}`);
    expect(data.sample_child_relations).toMatchObject([
      { relation_type: "Attachment", relation_child_sample_verdict: "malicious" },
      { relation_type: "Embedded URL", relation_child_sample_verdict: "clean" },
    ]);
    const [child] = data.sample_child_sample_ids as readonly number[];
    expect((await call(`/rest/sample/${child}`)).data).toMatchObject({
      sample_parent_sample_ids: [sampleId(answer)],
      sample_filename: "evil.exe",
    });
    expect((await call(`/rest/sample/${sampleId(answer)}/threat_names`)).data.children_threat_names).toEqual([
      { threat_name: "Child", sources: ["av"] },
    ]);
    expect((await call(`/rest/submission/${id}`)).data.submission_consumed_quota).toBe(3);
    expect((await call("/rest/submission?_last_id=0&_order=asc")).list).toHaveLength(3);
    const few = await submit("mail two", { max_recursive_samples: "1" }, "mail.eml");
    clock.now += 4000;
    expect((await call(`/rest/submission/${submissionId(few)}`)).data.submission_consumed_quota).toBe(2);
  });

  test("errors beside a submission, and that it was not stored", async () => {
    const { submit } = await start(
      scenario(`contents:
  - {match: {filename: beside}, errors: [One member is too large]}
  - {match: {filename: old}, submit: not_stored}`),
    );
    const beside = await submit("a", {}, "beside");
    expect(beside.data).toMatchObject({
      errors: [{ submission_filename: "beside", error_msg: "One member is too large" }],
      submissions: [{ submission_finished: false }],
    });
    const old = await submit("b", {}, "old");
    expect(old.data.submissions).toEqual([]);
    expect(first(old, "errors").error_msg).toBe("Submission not stored because no jobs were created");
    expect(sampleId(old)).toBeGreaterThan(0);
  });
});

describe("an archive", () => {
  test("as separate samples is a submission for each member", async () => {
    const { call, submit, clock } = await start();
    const zip = zipSync({ "a.txt": bytes("a"), "dir/": new Uint8Array(), "dir/e.com": bytes(EICAR) });
    const answer = await submit(
      zip as Uint8Array<ArrayBuffer>,
      { archive_action: "separate_samples" },
      "a.zip",
    );
    const submissions = answer.data.submissions as readonly Fields[];
    expect(submissions).toHaveLength(2);
    expect((answer.data.samples as readonly Fields[])[0]?.sample_filename).toBe("a.txt");
    clock.now += 4000;
    const verdicts = await Promise.all(
      submissions.map(
        async (one) => (await call(`/rest/submission/${one.submission_id}`)).data.submission_verdict,
      ),
    );
    expect(verdicts).toEqual(["clean", "malicious"]);
    const locked = await makeWithSevenZip({ "e.com": EICAR }, ["-tzip", "-pgeheim"]);
    const refused = await submit(new Uint8Array(locked), { archive_action: "separate_samples" }, "b.zip");
    expect(refused.data).toMatchObject({
      submissions: [],
      errors: [{ submission_filename: "e.com", error_msg: "Archive member could not be extracted" }],
    });
  });

  test.each([[[]], [["-mhe=on"]]])(
    "of 7z is opened by its password, also with names encrypted (%p)",
    async (more) => {
      const { call, submit, clock } = await start();
      const archive = await makeWithSevenZip({ "a.txt": `${MARKER_PREFIX}suspicious` }, [
        "-t7z",
        "-pgeheim",
        ...more,
      ]);
      const verdict = async (fields: Readonly<Record<string, string>>) => {
        const id = submissionId(await submit(new Uint8Array(archive), fields, "a.7z"));
        clock.now += 10_000;
        return (await call(`/rest/submission/${id}`)).data.submission_verdict;
      };
      expect(await verdict({})).toBe("not_available");
      expect(await verdict({ archive_password: "wrong" })).toBe("not_available");
      expect(await verdict({ archive_password: "geheim" })).toBe("suspicious");
    },
  );
});
