/**
 * The compiled binary under test: the sensor and the analyzer simulator as processes of their own.
 *
 * It is dist/email-sensor, or the file that EMAIL_SENSOR_BINARY names.
 */
import { existsSync, mkdirSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { freePort } from "../../ports.ts";
import { type Place, type Started, start, waitFor } from "./place.ts";
import { greeting } from "./smtp.ts";

/** Throws where it was not built yet. */
export function binaryPath(): string {
  const path = resolve(
    process.env.EMAIL_SENSOR_BINARY ?? join(import.meta.dir, "../../../dist/email-sensor"),
  );
  if (!existsSync(path)) throw new Error(`${path} is missing: build it with \`npm run build\``);
  return path;
}

export type Analyzer = {
  readonly url: string;
  readonly apiKey: string;
  statistics(): Promise<AnalyzerStatistics>;
  pid(): number;
  stop(): Promise<void>;
  /** SIGKILL, as a crash would be. */
  kill(): Promise<void>;
  /** Starts a new one at the same address; without `--state` it remembers nothing of the one before. */
  restart(): Promise<void>;
};

export type AnalyzerStatistics = {
  /** Method and path pattern to count. */
  readonly calls: Readonly<Record<string, number>>;
  /** Content (SHA-256 of a file, or a URL) to how often it was submitted. */
  readonly submissions: Readonly<Record<string, number>>;
  /** Encrypted zip (SHA-256) to how often it came with its password. */
  readonly opened: Readonly<Record<string, number>>;
  readonly samples: number;
  /** Taken of the quota. */
  readonly quota: { readonly reports: number; readonly verdicts: number };
};

/** Starts the analyzer simulator. `queued` and `work` are durations like 100ms; `more` are further options. */
export async function startAnalyzer(
  place: Place,
  timing: { readonly queued: string; readonly work: string } = { queued: "50ms", work: "100ms" },
  more: readonly string[] = [],
): Promise<Analyzer> {
  const apiKey = crypto.randomUUID();
  const port = await freePort();
  const url = `http://127.0.0.1:${port}`;
  const command = [
    ...[binaryPath(), "simulate-analyzer", "--listen", `127.0.0.1:${port}`, "--api-key", apiKey],
    ...["--queued", timing.queued, "--work", timing.work],
    ...more,
  ];
  const statistics = async () => {
    const answer = await fetch(`${url}/simulator/statistics`);
    if (!answer.ok) throw new Error(`the simulator answered ${answer.status}`);
    return (await answer.json()) as AnalyzerStatistics;
  };
  const launch = async () => {
    const started = start(place, `analyzer-${port}`, command);
    await waitFor("the analyzer simulator", async () => {
      if (started.exitCode() !== null) throw new Error(`the simulator ended: ${started.stderr()}`);
      return await statistics().catch(() => undefined);
    });
    return started;
  };
  let running = await launch();
  return {
    url,
    apiKey,
    statistics,
    pid: () => running.pid,
    async stop() {
      await running.stop();
    },
    async kill() {
      await running.stop("SIGKILL");
    },
    async restart() {
      await running.stop();
      running = await launch();
    },
  };
}

/** Has a running simulator go by another scenario. */
export async function obey(analyzer: Pick<Analyzer, "url" | "apiKey">, scenario: object): Promise<void> {
  const answer = await fetch(`${analyzer.url}/simulator/scenario`, {
    method: "PUT",
    headers: { authorization: `api_key ${analyzer.apiKey}` },
    // JSON is YAML too.
    body: JSON.stringify(scenario),
  });
  if (!answer.ok) throw new Error(`the simulator refuses the scenario: ${await answer.text()}`);
}

export type TestSensor = {
  readonly smtpPort: number;
  /** Of the control service: a unix socket. */
  readonly control: string;
  readonly configPath: string;
  readonly spoolPath: string;
  /** The log lines of all its lives, parsed; a line cut by a crash is left out. */
  log(): readonly Readonly<Record<string, unknown>>[];
  pid(): number;
  /** Null while it runs. */
  exitCode(): number | null;
  /** SIGTERM; gives the exit code. */
  stop(): Promise<number | null>;
  /** SIGKILL, as a crash or a power cut of the process would be. */
  kill(): Promise<void>;
  /** Starts it again with the same configuration and spool, and waits for its greeting. */
  start(): Promise<void>;
};

export type SensorSettings = {
  readonly analyzer: Pick<Analyzer, "url" | "apiKey">;
  /** Top-level keys of the configuration, merged over the ones of the harness, key by key. */
  readonly config?: Readonly<Record<string, Readonly<Record<string, unknown>> | readonly unknown[]>>;
};

/** Writes the configuration of a sensor, starts it and waits for its greeting (at most 15 s). */
export async function launchSensor(place: Place, settings: SensorSettings): Promise<TestSensor> {
  const smtpPort = await freePort();
  const folder = join(place.path, `sensor-${smtpPort}`);
  const spoolPath = join(folder, "spool");
  mkdirSync(spoolPath, { recursive: true });
  const keyFile = join(folder, "vmray.key");
  writeFileSync(keyFile, `${settings.analyzer.apiKey}\n`, { mode: 0o600 });
  const control = join(folder, "control.sock");
  const own: Record<string, Record<string, unknown>> = {
    smtp: { listen: [`127.0.0.1:${smtpPort}`] },
    spool: { path: spoolPath },
    vmray: { url: settings.analyzer.url, api_key_file: keyFile, poll_interval: "100ms" },
    control: { listen: `unix:${control}` },
    log: { level: "info" },
  };
  const merged: Record<string, unknown> = { ...own };
  for (const [key, value] of Object.entries(settings.config ?? {})) {
    merged[key] = Array.isArray(value) ? value : { ...own[key], ...value };
  }
  const configPath = join(folder, "sensor.yaml");
  // JSON is YAML too.
  writeFileSync(configPath, JSON.stringify(merged, null, 2));

  const lives: Started[] = [];
  const launch = async () => {
    const life = start(place, `sensor-${smtpPort}-${lives.length}`, [
      ...[binaryPath(), "run", "--config", configPath],
    ]);
    lives.push(life);
    await waitFor("the greeting of the sensor", () => {
      if (life.exitCode() !== null) {
        throw new Error(`the sensor ended with ${life.exitCode()}: ${life.stderr()}${life.stdout()}`);
      }
      return greeting(smtpPort);
    });
    return life;
  };
  let running = await launch();
  return {
    smtpPort,
    control,
    configPath,
    spoolPath,
    log: () => lives.flatMap((life) => life.stdout().split("\n").flatMap(parsedLine)),
    pid: () => running.pid,
    exitCode: () => running.exitCode(),
    stop: () => running.stop("SIGTERM", 60),
    async kill() {
      await running.stop("SIGKILL");
    },
    async start() {
      running = await launch();
    },
  };
}

function parsedLine(line: string): Record<string, unknown>[] {
  try {
    return line === "" ? [] : [JSON.parse(line) as Record<string, unknown>];
  } catch {
    return [];
  }
}
