/** What the simulator leaves on disk: its state over a restart, and the log of calls. */
import { afterEach, describe, expect, test } from "bun:test";
import { appendFileSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { EICAR } from "../../../src/analyzer/simulator/judgement.ts";
import { readFaultOption, readScenario } from "../../../src/analyzer/simulator/scenario.ts";
import { KEY, sampleId, sha256, start, submissionId } from "./simulator-client.ts";

const folders: string[] = [];
afterEach(() => {
  for (const folder of folders.splice(0)) rmSync(folder, { recursive: true });
});
function folder(): string {
  const path = mkdtempSync(join(tmpdir(), "simulator-"));
  folders.push(path);
  return path;
}
const lines = (path: string): readonly string[] =>
  readFileSync(path, "utf8")
    .split("\n")
    .filter((line) => line !== "");

describe("the state", () => {
  test("is there again after a restart: samples, verdicts, children, feed, quota, counts", async () => {
    const statePath = folder();
    const scenario = readScenario(
      `quota: {reports: 10}
contents:
  - {match: {filename: mail}, children: [{url: "http://c.example/", verdict: malicious}], then: {after: 10s, verdict: suspicious}}`,
      "s",
    );
    const one = await start({ statePath, scenario });
    const mail = submissionId(await one.submit("mail", {}, "mail"));
    const eicar = await one.submit(EICAR, { submission_metadata: '{"mail":1}' });
    one.clock.now += 4000;
    const again = submissionId(await one.submit(EICAR));
    // Nothing is told to the first one: it is left as a kill would leave it.
    const two = await start({ statePath, scenario });
    two.clock.now += 5000;
    one.clock.now += 1000;
    for (const path of [
      `/rest/submission/${mail}`,
      `/rest/submission/${again}`,
      `/rest/sample/sha256/${sha256(EICAR)}`,
      `/rest/sample/${sampleId(eicar)}/vtis`,
      "/rest/submission?_last_id=0&_order=asc",
      "/rest/billing_info",
      `/rest/analysis/submission/${again}`,
    ]) {
      const [before, after] = [await one.call(path), await two.call(path)];
      expect(after.text.replaceAll(two.simulator.url, one.simulator.url)).toBe(before.text);
    }
    expect(two.simulator.submissions()).toEqual(one.simulator.submissions());
    const fresh = submissionId(await two.submit("new"));
    expect(fresh).toBe(again + 1);
    two.clock.now += 10_000;
    expect((await two.call(`/rest/sample/sha256/${sha256("mail")}`)).list[0]?.sample_verdict).toBe(
      "suspicious",
    );
  });

  test("drops a line that a kill cut, and goes on behind it", async () => {
    const statePath = join(folder(), "state");
    const one = await start({ statePath });
    await one.submit("hello");
    const whole = statSync(statePath).size;
    await one.simulator.stop();
    appendFileSync(statePath, '{"kind":"submission","id":100');
    const two = await start({ statePath });
    expect(statSync(statePath).size).toBe(whole);
    await two.submit("other");
    await two.simulator.stop();
    const three = await start({ statePath });
    expect(three.simulator.submissions().size).toBe(2);
    expect(lines(statePath).every((line) => JSON.parse(line) !== null)).toBe(true);
  });

  test.each([
    ["a letter", "is not one that this program wrote"],
    ['{"email_sensor_simulator_state":1}\nx\n', "is damaged"],
  ])("is not made of another file: %p", async (text, message) => {
    const statePath = join(folder(), "state");
    writeFileSync(statePath, `${text}\n`);
    const thrown = await start({ statePath }).catch((error: unknown) => error);
    expect(thrown).toMatchObject({ code: "CONFIG_INVALID", message: expect.stringContaining(message) });
  });
});

describe("the log of calls", () => {
  test("has a line for each call, with its fault and submissions, and without the key", async () => {
    const callLogPath = join(folder(), "calls");
    const { call, submit } = await start({
      callLogPath,
      faults: [readFaultOption("reset_after endpoints=submit count=1")],
    });
    await expect(submit("hello", { archive_password: "secret" })).rejects.toThrow();
    await call("/rest/submission?_last_id=5");
    await call("/rest/sample/submit?archive_password=secret", { method: "POST" });
    await call("/rest/nothing");
    const text = readFileSync(callLogPath, "utf8");
    expect(text).not.toContain(KEY);
    expect(text).not.toContain("secret");
    expect(lines(callLogPath).map((line) => JSON.parse(line))).toMatchObject([
      {
        time: "2026-01-02T03:04:05.600Z",
        method: "POST",
        path: "/rest/sample/submit",
        endpoint: "submit",
        status: null,
        fault: "reset_after",
        content: sha256("hello"),
        submissions: [1_000_001],
      },
      {
        method: "GET",
        path: "/rest/submission",
        query: "_last_id=5",
        endpoint: "feed",
        status: 200,
        fault: null,
      },
      { method: "POST", status: 400, fault: null },
      { path: "/rest/nothing", endpoint: "other", status: 404 },
    ]);
  });

  test("that cannot be written is told at the start", async () => {
    const thrown = await start({ callLogPath: folder() }).catch((error: unknown) => error);
    expect(thrown).toMatchObject({ code: "USAGE" });
  });
});
