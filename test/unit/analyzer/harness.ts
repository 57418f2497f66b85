/** A spool, mails with contents, a VMRay and the analyzer between them, all gone after the test. */
import { afterEach } from "bun:test";
import { existsSync, readdirSync, statSync } from "node:fs";
import { join } from "node:path";
import { type Analyzer, type AnalyzerOptions, startAnalyzer } from "../../../src/analyzer/analyzer.ts";
import * as shapes from "../../../src/analyzer/api-shapes.ts";
import { createVmrayClient, type VmrayClient } from "../../../src/analyzer/client.ts";
import type { ConnectionSettings } from "../../../src/analyzer/connection.ts";
import {
  type Simulator,
  type SimulatorOptions,
  startSimulator,
} from "../../../src/analyzer/simulator/simulator.ts";
import type { SubmitDefaults } from "../../../src/analyzer/submit-fields.ts";
import type { AnalyzerTiming } from "../../../src/analyzer/timing.ts";
import { VmrayError } from "../../../src/analyzer/vmray-error.ts";
import { createLog } from "../../../src/log.ts";
import type { MailRow, Spool } from "../../../src/spool/spool.ts";
import type { PlannedArtifact } from "../../../src/triage/plan.ts";
import type { ContentVerdict } from "../../../src/verdict/verdict.ts";
import { until } from "../../until.ts";
import { extractionOf, open, someMail, temporaryFolder } from "../spool/fixtures.ts";

export const KEY = "test-key";
export const FAST: AnalyzerTiming = {
  probeFirst: 10,
  probeMax: 15,
  probeAuth: 30,
  faultFirst: 4,
  faultMax: 8,
  stopGrace: 100,
  unreachableNews: 20,
  throttledNews: 40,
  quotaRetry: 60,
  quotaEvery: 60_000,
};

export const SETTINGS: AnalyzerOptions["settings"] = {
  concurrency: 4,
  poll_interval: 8,
  resend_after: 30,
  give_up_after: 60_000,
  queue_limit: 600_000,
  reuse_results: { malicious: 1e13, suspicious: 1e13, clean: 1e13 },
  budget: { reserve: 10, per_mail: 100, count_reputation: true },
  cache: { malicious: 60_000, suspicious: 60_000, clean: 60_000, failed: 0 },
};

const undo: (() => unknown)[] = [];
afterEach(async () => {
  for (const step of undo.splice(0).reverse()) await step();
});

/** No proxy, no certificates of its own. */
export const DIRECT: Omit<ConnectionSettings, "url"> = {
  ca_file: undefined,
  tls_verify: true,
  client_cert_file: undefined,
  client_key_file: undefined,
  proxy: undefined,
  no_proxy: [],
};

/** Nothing about how to analyse is set. */
export const SUBMIT_DEFAULTS: SubmitDefaults = {
  analysis_timeout: undefined,
  analyzer_mode: undefined,
  archive_action: undefined,
  caching: "vmray",
  known_benign: "vmray",
  known_malicious: "vmray",
  max_jobs: undefined,
  max_recursive_samples: undefined,
  retention_period: undefined,
  shareable: false,
  tags: [],
};

/** An archive, with the password that opened it. */
export function zip(content: Uint8Array, password: string | null): PlannedArtifact {
  const artifact = file(content);
  if (artifact.kind === "url") return artifact;
  const attachment = { ...artifact.attachment, filename: "a.zip", type: "application/zip", password };
  return { ...artifact, attachment };
}

/** An attachment of these bytes; its name and type do not matter to the analyzer. */
export function file(
  content: string | Uint8Array,
  action: "dynamic" | "lookup" = "dynamic",
): PlannedArtifact {
  const sha256 = hashOf(content);
  contents.set(sha256, content);
  return {
    kind: "attachment",
    attachment: {
      filename: "invoice.exe",
      sha256,
      size: Buffer.byteLength(content),
      type: "application/x-msdownload",
      views: ["mime"],
      path: [],
      sha1: "0".repeat(40),
      md5: "0".repeat(32),
      within: "mail",
      facts: [],
      password: null,
    },
    decision: { action, rule: "test", reason: "the test says so" },
  };
}
const contents = new Map<string, string | Uint8Array>();

export function url(normalized: string, action: "reputation" | "lookup" = "reputation"): PlannedArtifact {
  return {
    kind: "url",
    url: { url: normalized, normalized, sources: ["text"] },
    decision: { action, rule: "test", reason: "the test says so" },
  };
}

export const hashOf = (text: string | Uint8Array): string =>
  new Bun.CryptoHasher("sha256").update(text).digest("hex");

export async function simulator(options: Partial<SimulatorOptions> = {}): Promise<Simulator> {
  const started = await startSimulator({ apiKey: KEY, queuedMs: 0, inWorkMs: 10, ...options });
  undo.push(() => started.stop());
  return started;
}

/** `timeout`: after so long without an answer a call has failed, milliseconds. */
export function clientOf(vmray: Pick<Simulator, "url">, key = KEY, timeout = 20_000): VmrayClient {
  return createVmrayClient(
    {
      url: vmray.url,
      ...DIRECT,
      request_timeout: timeout,
      upload_timeout: timeout,
      ...SUBMIT_DEFAULTS,
    },
    key,
  );
}

type Fields = Readonly<Record<string, unknown>>;
export const sample = (fields: Fields): shapes.Sample => shapes.sample.parse(fields);
export const submission = (fields: Fields): shapes.Submission => shapes.submission.parse(fields);
export const answer = (fields: Fields): shapes.SubmitAnswer => shapes.submitAnswer.parse(fields);

/** A VMRay that knows nothing and finishes every submission at once as clean, but for what the test changes. */
export function scripted(change: Partial<VmrayClient>): VmrayClient {
  let id = 100;
  const submitted = async () => {
    id += 1;
    return answer({ submissions: [{ submission_id: id, submission_sample_id: id }] });
  };
  return {
    samplesBySha256: async () => [],
    sample: async (sampleId) => sample({ sample_id: sampleId, sample_verdict: "clean" }),
    submission: async (submissionId) =>
      submission({
        submission_id: submissionId,
        submission_sample_id: submissionId,
        submission_finished: true,
      }),
    submissionsOfSample: async () => [],
    newestSubmissions: async () => [],
    submitFile: submitted,
    submitUrl: submitted,
    threatNames: async () => null,
    classifications: async () => null,
    indicators: async () => null,
    techniques: async () => null,
    iocs: async () => null,
    analysisFaults: async () => [],
    jobStatuses: async () => ["inwork"],
    submissionChildren: async () => [],
    finishedAfter: async () => {
      throw new VmrayError("VMRAY_ANSWER", "no such call", { status: 400 });
    },
    quota: async () => null,
    reputationLookups: async () => [],
    systemInfo: async () => shapes.systemInfo.parse({}),
    ...change,
  };
}

export type World = {
  readonly spool: Spool;
  readonly tempDir: string;
  /** Log lines, parsed. */
  readonly lines: readonly Fields[];
  /** Names of the `sensor.state` events. */
  readonly news: readonly string[];
  /** Puts a mail with these contents into the spool; gives its id. */
  mail(...artifacts: readonly PlannedArtifact[]): Promise<string>;
  start(client: VmrayClient, change?: Partial<AnalyzerOptions>): Analyzer;
  /** Waits until every content of the mail is decided. */
  decided(id: string): Promise<MailRow>;
  /** The verdicts of the mail's contents once all are decided. */
  verdicts(id: string): Promise<readonly ContentVerdict[]>;
};

/** A spool on disk. `now` is the clock of the spool and the analyzer. */
export async function world(now: () => number = Date.now): Promise<World> {
  const folder = temporaryFolder();
  undo.push(() => folder.remove());
  const spool = await open(join(folder.path, "spool"), {}, now);
  undo.push(() => spool.close());
  const tempDir = join(folder.path, "tmp");
  const lines: Fields[] = [];
  const news: string[] = [];
  const log = createLog("debug", (line) => lines.push(JSON.parse(line)));

  async function decided(id: string): Promise<MailRow> {
    let row: MailRow | null = null;
    const decided = async () => {
      row = await spool.mail(id);
      return row?.state === "analysed";
    };
    await until(decided, () => `the mail, still ${row?.state}: ${JSON.stringify(lines.slice(-8))}`);
    if (row === null) throw new Error("there is no such mail");
    return row;
  }

  return {
    spool,
    tempDir,
    lines,
    news,
    async mail(...artifacts) {
      const mail = someMail();
      await spool.putMail(mail);
      await spool.claimMails(1);
      await spool.recordExtraction(mail.id, extractionOf(artifacts), artifacts);
      return mail.id;
    },
    start(client, change = {}) {
      const analyzer = startAnalyzer({
        spool,
        client,
        settings: SETTINGS,
        async announce(changes, open) {
          await spool.tellStates([], open);
          news.push(...changes.map(({ name }) => name));
        },
        async writeContent(_mailId, sha256, toPath) {
          const content = contents.get(sha256);
          if (content === undefined) return false;
          await Bun.write(toPath, content);
          return true;
        },
        tempDir,
        log,
        now,
        timing: FAST,
        ...change,
      });
      undo.push(() => analyzer.stop());
      return analyzer;
    },
    decided,
    verdicts: async (id) =>
      (await decided(id)).artifacts.flatMap((artifact) =>
        artifact.verdict === null ? [] : [artifact.verdict],
      ),
  };
}

/** Times of a pool that the test waits out by moving the clock, never by sleeping. */
export const QUOTA_RETRY = 600_000;

/** A clock that begins at noon, so that the day does not end in a test, goes on and can be moved. */
export function movableClock(): { now(): number; move(ms: number): void } {
  let ahead = Date.UTC(2026, 10, 2, 12) - performance.now();
  return {
    now: () => Math.floor(performance.now() + ahead),
    move(ms) {
      ahead += ms;
    },
  };
}

export const filesIn = (folder: string): readonly string[] => (existsSync(folder) ? readdirSync(folder) : []);
export const modeOf = (path: string): number => statSync(path).mode & 0o777;
