/** The analyzer simulator of the compiled binary: VMRay's own way to speak, faults, a kill, and its speed. */
import { afterEach, beforeEach, expect, test } from "bun:test";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { type Analyzer, startAnalyzer } from "./lib/binary.ts";
import { openPlace, type Place, runToEnd } from "./lib/place.ts";

/** Debian's Python, which has python3-requests. */
const PYTHON = "/usr/bin/python3";

let place: Place;
beforeEach(() => {
  place = openPlace("simulator");
});
afterEach(() => place.close());

type Row = { readonly submission_id: number; readonly submission_original_url: string };

const rowsOf = async (reply: Response): Promise<readonly Row[]> =>
  ((await reply.json()) as { readonly data: readonly Row[] }).data;
const submittedId = async (reply: Response): Promise<number | undefined> => {
  if (reply.status !== 200) return undefined;
  const { data } = (await reply.json()) as { readonly data: { readonly submissions: readonly Row[] } };
  return data.submissions[0]?.submission_id;
};

function caller({ url, apiKey }: Analyzer) {
  const headers = { authorization: `api_key ${apiKey}` };
  return {
    get: (path: string) => fetch(url + path, { headers }),
    submit: (sample_url: string) =>
      fetch(`${url}/rest/sample/submit`, {
        method: "POST",
        headers,
        body: new URLSearchParams({ sample_url, analyzer_mode: "reputation" }),
      }),
  };
}

test("clients that speak as VMRay's own get what they need", async () => {
  const analyzer = await startAnalyzer(place);
  const command = [PYTHON, join(import.meta.dir, "vmray_client.py"), analyzer.url, analyzer.apiKey];
  const { code, stdout, stderr } = await runToEnd(command);
  expect([code, stderr]).toEqual([0, ""]);
  expect(JSON.parse(stdout)).toEqual({
    first: [],
    version: "2026.2.1",
    file: ["résumé.com", ["TheHive", "mail"], "malicious"],
    hashes: [true, true, true],
    unknown: [],
    evidence: [1, 1, "finished", 1, 1, 10, 1],
    name: "ü.txt",
    url: ["suspicious", "suspicious"],
    known: [[], ["Submission not stored because no jobs were created"]],
    paging: [234, 234, true, 3],
    one: [1, []],
    quota: [0, 233, 233],
    refused: [
      [404, "No such element"],
      [401, "Invalid API key"],
      [400, 'Unknown parameter "sample_uri".'],
    ],
  });
}, 600_000);

test("a kill takes nothing of what was answered, and every fault stands in the log of calls", async () => {
  const scenario = join(place.path, "scenario.yaml");
  writeFileSync(
    scenario,
    `seed: 5
faults:
  - {fault: reset_after, endpoints: [submit], every: 10}
  - {fault: reset_before, endpoints: [submit], every: 7}
  - {fault: truncated, endpoints: [lookup], every: 3}
  - {fault: status, status: 503, probability: 0.1}
`,
  );
  const log = join(place.path, "calls.jsonl");
  const analyzer = await startAnalyzer(place, { queued: "0ms", work: "0ms" }, [
    ...["--scenario", scenario, "--state", join(place.path, "state"), "--call-log", log],
  ]);
  const { get, submit } = caller(analyzer);
  const answered = new Map<number, string>();
  for (let at = 0; at < 300; at++) {
    if (at % 100 === 99) {
      await analyzer.kill();
      await analyzer.restart();
    }
    const url = `http://h${at}.example/`;
    const id = await submit(url)
      .then(submittedId)
      .catch(() => undefined);
    if (id !== undefined) answered.set(id, url);
    await get(`/rest/sample/sha256/${"0".repeat(64)}`)
      .then((reply) => reply.text())
      .catch(() => undefined);
  }
  writeFileSync(scenario, "");
  await analyzer.kill();
  await analyzer.restart();
  expect(answered.size).toBeGreaterThan(150);
  const rows: Row[] = [];
  for (;;) {
    const last = rows.at(-1)?.submission_id ?? 0;
    const page = await rowsOf(await get(`/rest/submission?_order=asc&_limit=100&_last_id=${last}`));
    if (page.length === 0) break;
    rows.push(...page);
  }
  const stored = new Map(rows.map((row) => [row.submission_id, row.submission_original_url]));
  for (const [id, url] of answered) expect(stored.get(id)).toBe(url);
  const calls = readFileSync(log, "utf8")
    .split("\n")
    .filter((line) => line !== "")
    .map((line) => JSON.parse(line));
  expect(calls.flatMap((call) => call.submissions ?? []).toSorted()).toEqual([...stored.keys()].toSorted());
  const faults = new Set(calls.map((call) => call.fault));
  expect([...faults].toSorted()).toEqual(
    ["reset_after", "reset_before", "status 503", "truncated", null].toSorted(),
  );
  expect(readFileSync(log, "utf8")).not.toContain(analyzer.apiKey);
}, 600_000);

/** Of a process, in user and in kernel mode: what else the machine does is not in it (proc(5), in hundredths). */
function cpuSeconds(pid: number): number {
  const stat = readFileSync(`/proc/${pid}/stat`, "utf8");
  const [user, system] = stat
    .slice(stat.lastIndexOf(")") + 2)
    .split(" ")
    .slice(11, 13);
  return (Number(user) + Number(system)) / 100;
}

test("it is no bottleneck of a benchmark: lookups, and a page of the feed among many submissions", async () => {
  const analyzer = await startAnalyzer(place, { queued: "0ms", work: "0ms" });
  const { get, submit } = caller(analyzer);
  const count = 5000;
  const many = async (calls: number, one: (at: number) => Promise<Response>): Promise<void> => {
    let next = 0;
    const worker = async (): Promise<void> => {
      while (next < calls) await (await one(next++)).text();
    };
    await Promise.all(Array.from({ length: 32 }, worker));
  };
  const urlOf = (at: number): string => `http://h${at % count}.example/`;
  const hashOf = (at: number): string => new Bun.CryptoHasher("sha256").update(urlOf(at)).digest("hex");
  await many(count, (at) => submit(urlOf(at)));
  const before = cpuSeconds(analyzer.pid());
  await many(10_000, (at) => get(`/rest/sample/sha256/${hashOf(at)}`));
  const looked = cpuSeconds(analyzer.pid());
  // Alone on two cores it answers more than 10,000 a second.
  expect(looked - before).toBeLessThan(10_000 / 1500);
  for (let page = 0; page < 50; page++) {
    const last = 1_000_000 + page * 90;
    expect(await rowsOf(await get(`/rest/submission?_order=asc&_limit=100&_last_id=${last}`))).toHaveLength(
      100,
    );
  }
  expect((cpuSeconds(analyzer.pid()) - looked) / 50).toBeLessThan(0.1);
}, 600_000);
