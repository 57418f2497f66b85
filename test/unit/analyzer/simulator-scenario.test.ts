/** Scenarios: what is let in, what is refused with its position, and the document that describes them. */
import { describe, expect, test } from "bun:test";
import { join } from "node:path";
import {
  checkScenario,
  EMPTY_SCENARIO,
  ENDPOINTS,
  FAULTS,
  readFaultOption,
  readScenario,
} from "../../../src/analyzer/simulator/scenario.ts";

const DOCUMENT = await Bun.file(join(import.meta.dir, "../../../docs/simulator.md")).text();
const example = /<!-- scenario -->\n```yaml\n([\s\S]+?)```/.exec(DOCUMENT)?.[1] ?? "";
const problems = (text: string) =>
  checkScenario(text, "s.yaml").problems.map((one) => `${one.line}:${one.column} ${one.key}: ${one.message}`);

describe("a scenario", () => {
  test("of the documentation is a good one, and its units are read", () => {
    const scenario = readScenario(example, "example");
    expect(scenario.faults).toHaveLength(5);
    expect(scenario.faults[3]).toMatchObject({ fault: "slow", delay: 5000, from: 10_000, until: 40_000 });
    expect(scenario.contents[1]?.then).toEqual([
      { after: 30_000, verdict: "malicious", threat_names: ["Armed-Later"] },
    ]);
    expect(scenario.quota).toMatchObject({ reports: 500, charge_reputation: true, charge_cached: false });
  });

  test("that is empty, or of comments alone, says nothing", () => {
    expect(readScenario("", "s")).toEqual(EMPTY_SCENARIO);
    expect(readScenario("# nothing\n\n", "s")).toEqual(EMPTY_SCENARIO);
  });

  test("with mistakes tells all of them, where they stand", () => {
    const text = `seed: -1
fault: []
faults:
  - fault: status
  - {fault: slow, delay: 5}
  - {fault: html, status: 500, endpoints: [lookups]}
contents:
  - match: {}
    verdict: evil
    vti: []
  - match: {sha256: abc}
    children: [{verdict: clean}]
    then: {verdict: clean}
`;
    expect(problems(text)).toEqual([
      "1:1 seed: must be at least 0",
      "2:1 fault: unknown key; did you mean faults?",
      "4:5 faults[0].status: is missing",
      "5:19 faults[1].delay: must be a number with a unit, like 30s (ms, s, m, h, d)",
      expect.stringContaining("6:44 faults[2].endpoints[0]: must be one of submit, lookup"),
      "8:5 contents[0].match: needs one of its keys",
      "9:5 contents[0].verdict: must be one of malicious, suspicious, error, not_available, clean",
      "10:5 contents[0].vti: unknown key; did you mean vtis?",
      "11:13 contents[1].match.sha256: must be 64 hexadecimal digits",
      "12:16 contents[1].children[0]: needs a filename or a url, and not both",
      "13:5 contents[1].then[0].after: must be a number with a unit, like 30s (ms, s, m, h, d)",
    ]);
    expect(problems("a: [")[0]).toStartWith("1:");
    expect(problems("faults: [{fault: truncated, status: 500}]")).toEqual([
      "1:29 faults[0].status: goes with fault: status or html alone",
    ]);
    expect(() => readScenario(text, "s.yaml")).toThrow("the scenario has 11 problems:\ns.yaml:1:1: seed:");
  });

  test("has each of its keys, faults and endpoints in the documentation", () => {
    const rule = readScenario("contents: [{match: {url: a}}]\nfaults: [{fault: html}]", "s");
    const names = [
      ...Object.keys(EMPTY_SCENARIO.quota),
      ...Object.keys(rule.contents[0] ?? {}),
      ...["reports", "verdicts", "key_limit", "threat_names", "mitre", "iocs", "url_prefix", "url_host"],
      ...["skip", "count", "every", "probability", "from", "until", "retry_after", "size"],
      ...FAULTS,
      ...ENDPOINTS,
    ];
    expect(names.filter((name) => !new RegExp(`\`${name}[\`:]|\\b${name}:`).test(DOCUMENT))).toEqual([]);
  });
});

describe("a fault of the command line", () => {
  test("is read like one of a scenario", () => {
    expect(readFaultOption("status=503 endpoints=submit,lookup every=10")).toMatchObject({
      fault: "status",
      status: 503,
      endpoints: ["submit", "lookup"],
      every: 10,
    });
    expect(readFaultOption("slow delay=5s probability=0.1")).toMatchObject({ delay: 5000, probability: 0.1 });
  });

  test.each([
    ["", "fault: must be one of"],
    ["status", "status: is missing"],
    ["html often=1", "often: unknown key"],
    ["html every=x", "every: must be"],
    ["html now", "KEY=VALUE"],
  ])("%p is refused", (text, message) => {
    expect(() => readFaultOption(text)).toThrow(message);
  });
});
