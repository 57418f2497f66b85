/** Several analyzers: rules choose, what one does not take another one gets, and each stands by itself. */
import { describe, expect, test } from "bun:test";
import { join } from "node:path";
import { entriesOf, nextOf, spoolOf } from "../../../src/analyzer/analyzers.ts";
import type { VmrayClient } from "../../../src/analyzer/client.ts";
import { readScenario } from "../../../src/analyzer/simulator/scenario.ts";
import { SIZE_RETRY } from "../../../src/analyzer/size-limit.ts";
import { VmrayError } from "../../../src/analyzer/vmray-error.ts";
import type { Config } from "../../../src/config/schema.ts";
import type { PlannedArtifact } from "../../../src/triage/plan.ts";
import { until } from "../../until.ts";
import {
  answer,
  clientOf,
  file,
  movableClock,
  SETTINGS,
  scripted,
  simulator,
  submission,
  type World,
  world,
} from "./harness.ts";

const asking = (analyzer: string, artifact: PlannedArtifact): PlannedArtifact => ({
  ...artifact,
  decision: { ...artifact.decision, analyzer },
});
const content = () => file(crypto.randomUUID());

/** Starts a pool for each client, as the sensor does for several analyzers. */
function startAll(
  here: World,
  clients: Readonly<Record<string, VmrayClient>>,
  fallback: readonly string[] = [],
  settings = SETTINGS,
) {
  return Object.entries(clients).map(([name, client]) =>
    here.start(client, {
      settings,
      spool: spoolOf(here.spool, name),
      tempDir: `${here.tempDir}-${name}`,
      several: { name, after: (tried) => nextOf(fallback, tried) },
    }),
  );
}
const refusing = (error_msg: string) =>
  scripted({ submitFile: async () => answer({ errors: [{ error_msg }] }) });

describe("of several analyzers", () => {
  test("the one a rule names is asked, else the first, and the verdict says which", async () => {
    const [onPremises, cloud] = [await simulator(), await simulator()];
    const here = await world();
    startAll(here, { default: clientOf(onPremises), cloud: clientOf(cloud) });
    const [first, second] = await here.verdicts(await here.mail(content(), asking("cloud", content())));
    expect([first?.analyzer, second?.analyzer].toSorted()).toEqual(["cloud", "default"]);
    expect([onPremises.submissions().size, cloud.submissions().size]).toEqual([1, 1]);
  });

  test.each([
    ["refuses it", refusing("File type not supported"), SETTINGS],
    ["has no quota left", refusing("Denied: The quota is exceeded"), SETTINGS],
    ["has no budget left", scripted({}), { ...SETTINGS, budget: { ...SETTINGS.budget, per_day: 0 } }],
  ])("the next is asked where one %s", async (_, first, settings) => {
    const here = await world();
    const name = await simulator();
    startAll(here, { default: first }, ["cloud"], settings);
    startAll(here, { cloud: clientOf(name) }, ["cloud"]);
    const [verdict] = await here.verdicts(await here.mail(content()));
    expect(verdict).toMatchObject({ outcome: "judged", verdict: "clean", analyzer: "cloud", reason: null });
    expect(name.submissions().size).toBe(1);
  });

  test("bug: a file too large for the first was uploaded there before the next one got it", async () => {
    const clock = movableClock();
    const here = await world(clock.now);
    const large = (text: string) => file(text.padEnd(1024 ** 2, "."));
    const sent: number[] = [];
    let refused = true;
    const first = scripted({
      submitFile: async ({ size }) => {
        sent.push(size);
        if (refused && size >= 1024 ** 2)
          return { ...answer({ errors: [{ error_msg: "413" }] }), tooLarge: true };
        return answer({ submissions: [{ submission_id: 1, submission_sample_id: 1 }] });
      },
    });
    startAll(here, { default: first, cloud: scripted({}) }, ["cloud"]);
    const analyzerOf = async (part: PlannedArtifact) =>
      (await here.verdicts(await here.mail(part)))[0]?.analyzer;
    expect(await analyzerOf(large("one"))).toBe("cloud");
    expect(await analyzerOf(large("two"))).toBe("cloud");
    expect(await analyzerOf(file("small"))).toBe("default");
    expect(sent).toEqual([1024 ** 2, 5]);
    // It is tried again now and then, and where it is taken the limit is gone.
    refused = false;
    clock.move(SIZE_RETRY);
    expect([await analyzerOf(large("three")), await analyzerOf(large("four"))]).toEqual([
      "default",
      "default",
    ]);
  });

  test("bug: 413 was not told from other refusals", async () => {
    const server = Bun.serve({
      port: 0,
      hostname: "127.0.0.1",
      fetch: async (request) => {
        await request.arrayBuffer();
        return new Response("<title>413 Request Entity Too Large</title>", { status: 413 });
      },
    });
    try {
      const here = await world();
      const client = clientOf({ url: String(server.url) });
      const path = join(here.tempDir, "..", "content");
      await Bun.write(path, "large");
      const how = { path, size: 5, filename: null, action: "dynamic", correlation: "mark" } as const;
      expect(await client.submitFile(how)).toMatchObject({ tooLarge: true, submissions: [] });
    } finally {
      await server.stop(true);
    }
  });

  test("none is asked beside the first where there is no fallback", async () => {
    const here = await world();
    const cloud = await simulator();
    startAll(here, { default: refusing("Too large"), cloud: clientOf(cloud) });
    const [verdict] = await here.verdicts(await here.mail(content()));
    expect(verdict).toMatchObject({
      outcome: "failed",
      analyzer: "default",
      reason: "VMRay refused the submission: Too large",
    });
    expect(cloud.submissions().size).toBe(0);
  });

  test("each is asked once where none takes it, and the reason has what each said", async () => {
    const here = await world();
    const fallback = ["default", "cloud", "other"];
    const clients = { default: refusing("Too large"), cloud: refusing("Wrong type"), other: refusing("No") };
    startAll(here, clients, fallback);
    const [verdict] = await here.verdicts(await here.mail(asking("cloud", content())));
    expect(verdict).toMatchObject({ outcome: "failed", verdict: "not_available", analyzer: "other" });
    expect(verdict?.reason).toBe(
      "cloud: VMRay refused the submission: Wrong type; default: VMRay refused the submission: Too large; " +
        "other: VMRay refused the submission: No",
    );
    expect(verdict?.cost?.submissions).toBe(3);
  });

  test("one that is down holds up no other", async () => {
    const here = await world();
    const down = scripted({
      samplesBySha256: async () => {
        throw new VmrayError("VMRAY_UNREACHABLE", "no route");
      },
    });
    const [first] = startAll(here, { default: down, cloud: scripted({}) });
    const waits = await here.mail(content());
    await until(() => first?.status().paused === "unreachable", "the pause of the first");
    const [verdict] = await here.verdicts(await here.mail(asking("cloud", content())));
    expect(verdict?.analyzer).toBe("cloud");
    expect((await here.spool.mail(waits))?.state).toBe("analysing");
  });

  test("a restart asks the one that has the submission, and no other", async () => {
    const slow = readScenario("contents:\n  - {match: {filename: invoice.exe}, work: 1s}", "slow");
    const [onPremises, cloud] = [await simulator(), await simulator({ scenario: slow })];
    const here = await world();
    const clients = { default: clientOf(onPremises), cloud: clientOf(cloud) };
    const before = startAll(here, clients, ["cloud"]);
    const id = await here.mail(asking("cloud", content()));
    await until(() => cloud.submissions().size === 1, "the submission");
    await Promise.all(before.map((each) => each.stop()));
    startAll(here, clients, ["cloud"]);
    const [verdict] = await here.verdicts(id);
    expect(verdict).toMatchObject({ verdict: "clean", analyzer: "cloud" });
    expect([onPremises.submissions().size, cloud.submissions().size]).toEqual([0, 1]);
  });

  test("what was refused by one before a restart is not brought to it again", async () => {
    const here = await world();
    let posts = 0;
    const first = scripted({
      async submitFile() {
        posts += 1;
        return answer({ errors: [{ error_msg: "Too large" }] });
      },
    });
    const before = startAll(here, { default: first }, ["cloud"]);
    const id = await here.mail(content());
    await until(() => here.lines.some(({ msg }) => msg === "content goes to another analyzer"), "the move");
    await Promise.all(before.map((each) => each.stop()));
    startAll(here, { default: first, cloud: scripted({}) }, ["cloud"]);
    const [verdict] = await here.verdicts(id);
    expect([verdict?.analyzer, posts]).toEqual(["cloud", 1]);
  });

  test("what was with one that is no longer there begins anew with the first", async () => {
    const here = await world();
    const never = scripted({
      submission: async (id) => submission({ submission_id: id, submission_finished: false }),
    });
    const before = startAll(here, { gone: never });
    const id = await here.mail(asking("gone", content()));
    await until(() => before[0]?.status().counts.polls === 1, "the first poll");
    await Promise.all(before.map((each) => each.stop()));
    expect(await here.spool.adoptAnalyses(["default", "cloud"])).toBe(1);
    startAll(here, { default: scripted({}) });
    expect((await here.verdicts(id))[0]?.analyzer).toBe("default");
  });
});

test("a further analyzer has what the section says, but for its connection", () => {
  const section = {
    url: "https://a",
    api_key_file: "/a.key",
    ca_file: "/a.pem",
    proxy: "http://user@proxy:1",
    proxy_password_file: "/p",
    concurrency: 8,
    caching: "smart",
    analyzers: [
      { name: "cloud", url: "https://b", api_key: "b", tls_verify: true, no_proxy: [], concurrency: 2 },
    ],
  } as unknown as Config["vmray"];
  const [first, cloud] = entriesOf(section);
  expect(first).toEqual({ name: "default", settings: section });
  expect(cloud).toMatchObject({
    name: "cloud",
    settings: { url: "https://b", api_key: "b", concurrency: 2, caching: "smart" },
  });
  const { ca_file, api_key_file, proxy, proxy_password_file } = cloud?.settings ?? section;
  expect([ca_file, api_key_file, proxy, proxy_password_file]).toEqual([
    undefined,
    undefined,
    undefined,
    undefined,
  ]);
});
