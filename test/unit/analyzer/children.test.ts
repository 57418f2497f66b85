/** What VMRay finds in a content and analyses by itself counts for the content. */
import { describe, expect, test } from "bun:test";
import { zipSync } from "fflate";
import { MARKER_PREFIX } from "../../../src/analyzer/simulator/judgement.ts";
import { readScenario } from "../../../src/analyzer/simulator/scenario.ts";
import { lookUp, type Next, poll, type SubmittedProgress } from "../../../src/analyzer/steps.ts";
import { type Canned, job, vmray } from "./canned.ts";
import {
  answer,
  clientOf,
  file,
  sample,
  scripted,
  simulator,
  submission,
  url,
  world,
  zip,
} from "./harness.ts";

const signal = new AbortController().signal;
const LIMITS = { now: 0, giveUpAfter: 60_000, queueLimit: 60_000 };
const PROGRESS: SubmittedProgress = {
  state: "submitted",
  submissionIds: [1],
  sampleIds: [10],
  submittedAt: 0,
};
const CHILDREN = "/rest/submission";

type Fields = Readonly<Record<string, unknown>>;
const child = (id: number, parent: number, fields: Fields = {}) => ({
  submission_id: id,
  submission_parent_submission_id: parent,
  submission_sample_id: id * 10,
  submission_finished: true,
  submission_filename: `part ${id}.exe`,
  submission_verdict: "clean",
  ...fields,
});

/** A clean content in which something was found. */
function found(
  children: readonly Fields[],
  more: Readonly<Record<string, Canned>> = {},
  sample: Fields = {},
) {
  return vmray({
    "/rest/submission/1": { submission_id: 1, submission_sample_id: 10, submission_finished: true },
    "/rest/sample/10": { sample_id: 10, sample_verdict: "clean", sample_child_sample_ids: [20], ...sample },
    [CHILDREN]: children,
    ...more,
  });
}

const polled = (client: Parameters<typeof poll>[0], limits = LIMITS): Promise<Next> =>
  poll(client, job(file("x")), PROGRESS, limits, signal);

async function verdictOf(client: Parameters<typeof poll>[0], limits = LIMITS) {
  const next = await polled(client, limits);
  if (next.kind !== "finish") throw new Error(`not finished but ${next.kind}`);
  return { ...next.verdict, lasting: next.lasting };
}
const asksForChildren = (asked: readonly string[]) => asked.filter((path) => path.includes("parent"));

describe("what VMRay found in a content", () => {
  test("counts where it is worse, is named, and brings its own evidence", async () => {
    const { client } = found([child(2, 1), child(3, 1, { submission_sample_verdict: "malicious" })], {
      "/rest/sample/30": { sample_id: 30, sample_threat_names: ["Trojan.Part"] },
      "/rest/sample/30/vtis": {
        threat_indicators: [{ category: "Injection", operation: "Writes", score: 5 }],
      },
    });
    const verdict = await verdictOf(client);
    expect(verdict).toMatchObject({
      outcome: "judged",
      verdict: "malicious",
      reason: 'VMRay found a part of it malicious ("part 3.exe", sample 30)',
      threat_names: ["Trojan.Part"],
      vmray: { sample_id: 10, submission_id: 1 },
      lasting: true,
    });
    expect(verdict.evidence?.indicators[0]?.operation).toBe("Writes");
  });

  test("is named by its URL, on one line and not at any length", async () => {
    const link = `http://evil.example/\r\n${"a".repeat(500)}`;
    const { client } = found([
      child(2, 1, { submission_original_url: link, submission_verdict: "suspicious" }),
    ]);
    const { verdict, reason } = await verdictOf(client);
    expect(verdict).toBe("suspicious");
    expect(reason).toMatch(
      /^VMRay found a part of it suspicious \("http:\/\/evil\.example\/ a{50,80}\.\.\.", sample 20\)$/,
    );
  });

  test("counts at any depth VMRay goes to", async () => {
    const { client } = found([
      ...Array.from({ length: 7 }, (_, n) => child(n + 2, n + 1)),
      child(9, 8, { submission_severity: "blacklisted", submission_verdict: undefined }),
    ]);
    expect((await verdictOf(client)).verdict).toBe("malicious");
  });

  test("counts however much there is: the last of 150 is not left out", async () => {
    const { client } = found([
      ...Array.from({ length: 149 }, (_, n) => child(n + 2, 1)),
      child(151, 1, { submission_verdict: "malicious" }),
    ]);
    expect((await verdictOf(client)).verdict).toBe("malicious");
  });

  test("and is more than can be looked at leaves the verdict partial, and it is not kept", async () => {
    let id = 1;
    const client = scripted({
      sample: async (sampleId) =>
        sample({ sample_id: sampleId, sample_verdict: "clean", sample_child_sample_ids: [20] }),
      submissionChildren: async () => [
        submission({ submission_id: ++id, submission_finished: true, submission_verdict: "clean" }),
      ],
    });
    const verdict = await verdictOf(client);
    expect(verdict).toMatchObject({ verdict: "clean", partial: true, lasting: false });
    expect(verdict.reason).toBe("VMRay found more in it than could be looked at");
    expect(id).toBe(1001);
  });

  test("is not asked for where there is nothing in it, or it is malicious itself", async () => {
    for (const sample of [{ sample_child_sample_ids: [] }, { sample_verdict: "malicious" }]) {
      const { client, asked } = found([child(2, 1)], {}, sample);
      await verdictOf(client);
      expect(asksForChildren(asked)).toEqual([]);
    }
  });

  test("is waited for while VMRay works on it", async () => {
    const { client } = found([
      child(2, 1, { submission_finished: false, submission_status: "in_progress" }),
      child(3, 1),
    ]);
    expect(await polled(client)).toEqual({ kind: "wait", running: true, childIds: [2] });
  });

  test("is not waited for once another part is malicious", async () => {
    const { client } = found([
      child(2, 1, { submission_finished: false }),
      child(3, 1, { submission_verdict: "malicious" }),
    ]);
    expect((await verdictOf(client)).verdict).toBe("malicious");
  });

  test("and does not end in time leaves what is known of the rest, and is not kept", async () => {
    const { client } = found([child(2, 1, { submission_finished: false, submission_status: "queued" })]);
    expect(await verdictOf(client, { ...LIMITS, now: 60_000 })).toMatchObject({
      outcome: "judged",
      verdict: "clean",
      reason: "VMRay did not finish the analysis of a part of it in time",
      partial: true,
      lasting: false,
    });
  });

  test("and ended with errors is told, and a clean verdict then not kept", async () => {
    const { client } = found([child(2, 1, { submission_has_errors: true, submission_verdict: null })]);
    const { verdict, reason, lasting } = await verdictOf(client);
    expect([verdict, lasting]).toEqual(["clean", false]);
    expect(reason).toContain("a part of it ended with errors");
  });

  test("counts in a look-up, by what the sample says of it", async () => {
    const { client } = vmray({
      "/rest/sample/sha256/": (path) => [
        {
          sample_id: 10,
          sample_sha256hash: path.split("/").at(-1),
          sample_verdict: "clean",
          sample_child_relations: [
            {
              relation_type: "Dropped File",
              relation_child_sample_id: 19,
              relation_child_sample_verdict: "malicious",
            },
            {
              relation_type: "Embedded URL",
              relation_child_sample_id: 20,
              relation_child_sample_verdict: "suspicious",
            },
          ],
        },
      ],
      "/rest/sample/20": { sample_id: 20, sample_threat_names: ["Phish"] },
    });
    const next = await lookUp(client, job(url("http://a.example/")), 0, signal);
    expect(next).toMatchObject({
      kind: "finish",
      verdict: {
        verdict: "suspicious",
        reason: "VMRay found a part of it suspicious (Embedded URL, sample 20)",
        threat_names: ["Phish"],
      },
    });
  });
});

describe("an analysis that failed", () => {
  test("has the reason VMRay gives with the analysis, where it gives none with the verdict", async () => {
    const failed = { submission_id: 1, submission_finished: true, submission_has_errors: true };
    const { client } = vmray({
      "/rest/submission/1": failed,
      "/rest/analysis/submission/1": [
        { analysis_result_code: 1, analysis_result_str: "Operation completed successfully." },
        { analysis_result_code: 7340034, analysis_result_str: "Worker crashed." },
      ],
    });
    expect(await verdictOf(client)).toMatchObject({
      outcome: "failed",
      verdict: "not_available",
      reason: "the analysis ended with errors and without a verdict; Worker crashed.",
    });
  });
});

test("a mail's archive is as bad as the member VMRay found in it", async () => {
  const content = `PK${crypto.randomUUID()}`;
  const scenario = readScenario(
    `contents:
  - match: {filename: invoice.exe}
    verdict: clean
    children:
      - {filename: readme.txt, verdict: clean}
      - {filename: run.exe, relation: Downloaded File, verdict: malicious, threat_names: [Sim.Child]}`,
    "children.yaml",
  );
  const vmrayServer = await simulator({ scenario });
  const { mail, start, verdicts } = await world();
  start(clientOf(vmrayServer));
  const [verdict] = await verdicts(await mail(file(content)));
  expect(verdict).toMatchObject({ verdict: "malicious", threat_names: ["Sim.Child"] });
  expect(verdict?.reason).toContain('"run.exe"');
});

describe("an archive that is submitted as separate samples", () => {
  const separate = { archive_action: "separate_samples" } as const;
  const archive = (members: Readonly<Record<string, string>>) => {
    const bytes = Object.entries(members).map(([name, text]) => [name, new TextEncoder().encode(text)]);
    const artifact = zip(zipSync(Object.fromEntries(bytes)), null);
    return { ...artifact, decision: { ...artifact.decision, parameters: separate } };
  };

  test("is malicious where the last of its 60 members is", async () => {
    const members = Array.from({ length: 59 }, (_, n): [string, string] => [`a${n}.txt`, `x${n}`]);
    const vmray = await simulator();
    const here = await world();
    here.start(clientOf(vmray));
    const artifact = archive(Object.fromEntries([...members, ["zz.js", `// ${MARKER_PREFIX}malicious`]]));
    expect((await here.verdicts(await here.mail(artifact)))[0]).toMatchObject({
      outcome: "judged",
      verdict: "malicious",
    });
    expect(vmray.submissions().size).toBe(60);
  });

  test("and has more members than can be followed is clean only in part", async () => {
    const here = await world();
    const submissions = Array.from({ length: 1200 }, (_, n) => ({ submission_id: n + 1 }));
    here.start(scripted({ submitFile: async () => answer({ submissions }) }));
    const row = await here.decided(await here.mail(archive({ "a.txt": "one of very many" })));
    expect(row.artifacts[0]?.verdict).toMatchObject({ outcome: "judged", partial: true });
    expect(row.artifacts[0]?.verdict?.reason).toContain(
      "200 more submissions that VMRay made of it were not followed",
    );
  });
});
