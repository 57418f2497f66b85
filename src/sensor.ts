/**
 * The sensor: starts every stage of the way of a mail, last stage first, so that nothing waits for a stage that
 * is not there; stops them in the opposite order.
 */
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { alertSecret } from "./alert/marker.ts";
import { createOwnAlerts } from "./alert/own.ts";
import { alertCursor, startAlerts } from "./alert/stage.ts";
import type { AnalyzerStatus } from "./analyzer/analyzer.ts";
import { startAnalyzers } from "./analyzer/analyzers.ts";
import type { StateChange } from "./analyzer/budget.ts";
import type { Config } from "./config/schema.ts";
import { startControl } from "./control/server.ts";
import { asSensorError, SensorError } from "./errors.ts";
import { createContents } from "./extract/contents.ts";
import { watchLoad } from "./extract/load.ts";
import { createExtractPool } from "./extract/pool.ts";
import { startExtraction } from "./extract/stage.ts";
import { type Intake, startIntake } from "./intake/intake.ts";
import { faultFields, type Log } from "./log.ts";
import { composeFailed, composeState } from "./report/compose.ts";
import { startGone } from "./report/gone.ts";
import { siemCursor, startReporting } from "./report/outbox.ts";
import type { Spool } from "./spool/spool.ts";
import { startSweep } from "./spool/sweep.ts";
import { openSpoolThread } from "./spool/thread.ts";
import { type LoadedPolicy, loadPolicy } from "./triage/files.ts";
import { joinLists } from "./triage/lists.ts";
import { openRunTimeLists, type RunTimeLists } from "./triage/run-time.ts";
import { triage } from "./triage/triage.ts";
import { startDenials } from "./verdict/denials.ts";
import { startRelooks } from "./verdict/relook.ts";
import { startVerdicts } from "./verdict/stage.ts";
import { VERSION } from "./version.ts";

export type Sensor = {
  /** Where SMTP is taken, with the ports really bound (a configured port 0 becomes the one the system chose). */
  readonly smtp: readonly { readonly host: string; readonly port: number }[];
  /** The control service, as clients write its address. */
  readonly control: string;
  readonly spool: Spool;
  /** Resolves with a fault after which only a new process goes on; nothing that was answered 250 is lost. */
  readonly failed: Promise<SensorError>;
  /** Stops taking mails, lets what is in work come to its next commit, closes the spool. */
  stop(): Promise<void>;
  /**
   * Goes on with another configuration. Intake stays open where `smtp` and its certificate are the same; `spool.path`
   * cannot change, and other keys of `spool` and those of `log` change with the next start, which is logged.
   * Throws SensorError where the new one cannot be started; the sensor then runs with the old one.
   */
  reload(config: Config): Promise<void>;
};

type Stopping = { readonly what: string; readonly stop: () => Promise<void> };

/** Mails in work for each helper: one is taken apart, the others wait for it or for their commit. */
const MAILS_A_HELPER = 16;
/** How long sessions in the middle of a mail may go on after stop(), milliseconds. */
const INTAKE_GRACE = 5_000;

/** Starts a sensor in this process. Throws SensorError where it cannot: nothing is left running then. */
export async function startSensor(first: Config, log: Log): Promise<Sensor> {
  let config = first;
  const policyOf = ({ triage }: Config) => loadPolicy(triage, log.with({ stage: "triage" }));
  let policy = await policyOf(config);
  const spool = await openSpoolThread(spoolSettings(config), log.with({ stage: "spool" }));
  const runTime = await openRunTimeLists(spool).catch(async (thrown: unknown) => {
    await spool.close();
    throw thrown;
  });
  let stages: Stopping[] = [];
  let intake: Intake | null = null;
  let control = "";
  let intakeIdentity = identityOf(config.smtp);
  let added: readonly string[] = [];
  try {
    added = await spool.addDestinations(cursorsOf(config));
    ({ stages, control } = await startStages(config, policy, spool, runTime, log));
    intake = await startIntake(config.smtp, spool, log);
    await putState(spool, config, "started", `email-sensor ${VERSION} takes mails`);
    stages.unshift(watchGone(config, spool, log));
  } catch (thrown) {
    await intake?.stop(0);
    await stopAll(stages, log);
    await forget(added, spool, log);
    await spool.close();
    throw thrown;
  }
  log.info("sensor started", { version: VERSION, sensor: config.sensor.id });

  return {
    get smtp() {
      return intake?.addresses ?? [];
    },
    get control() {
      return control;
    },
    spool,
    failed: spool.died,
    stop: async () => {
      await intake?.stop(INTAKE_GRACE);
      await putState(spool, config, "stopped", "the sensor was stopped").catch((thrown) =>
        log.warn("the stop is not in the outbox", faultFields(asSensorError(thrown))),
      );
      await stopAll(stages, log);
      await spool.close();
      log.info("sensor stopped");
    },
    reload: async (written) => {
      if (written.spool.path !== config.spool.path) {
        throw new SensorError("CONFIG_INVALID", "spool.path cannot change while the sensor runs: restart it");
      }
      const kept = changedKeys(
        { spool: config.spool, log: config.log },
        { spool: written.spool, log: written.log },
      );
      if (kept.length > 0) log.warn("changes of these keys need a restart", { keys: kept.join(", ") });
      const next: Config = { ...written, spool: config.spool, log: config.log };
      // While the old stages still work: lists take their time, and a bad one changes nothing.
      const nextPolicy = await policyOf(next);
      const intakeBefore = intakeIdentity;
      const intakeNow = identityOf(next.smtp);
      const addedNow = await spool.addDestinations(cursorsOf(next));
      await stopAll(stages, log);
      stages = [];
      try {
        ({ stages, control } = await startStages(next, nextPolicy, spool, runTime, log));
        if (intakeNow !== intakeBefore) {
          await intake?.stop(INTAKE_GRACE);
          intake = await startIntake(next.smtp, spool, log);
          intakeIdentity = intakeNow;
        }
        config = next;
        policy = nextPolicy;
        stages.unshift(watchGone(config, spool, log));
      } catch (thrown) {
        await stopAll(stages, log);
        await forget(addedNow, spool, log);
        ({ stages, control } = await startStages(config, policy, spool, runTime, log));
        if (intake === null || intakeNow !== intakeBefore) {
          await intake?.stop(0);
          intake = await startIntake(config.smtp, spool, log);
        }
        stages.unshift(watchGone(config, spool, log));
        throw thrown;
      }
      log.info("configuration reloaded");
    },
  };
}

function cursorsOf(config: Config): readonly string[] {
  return [...config.siem.map(siemCursor), ...config.alerts.map(alertCursor)];
}

/** Only once everything has started: until then nobody knows whether this configuration is the one that holds. */
function watchGone(config: Config, spool: Spool, log: Log): Stopping {
  const sensor = { id: config.sensor.id, version: VERSION };
  const { stop } = startGone({ names: cursorsOf(config), spool, sensor, log });
  return { what: "destinations that are gone", stop };
}

/** Destinations that were added for a configuration that then could not be started. */
async function forget(destinations: readonly string[], spool: Spool, log: Log): Promise<void> {
  try {
    for (const destination of destinations) await spool.forgetDestination(destination, null);
  } catch (thrown) {
    log.warn("a destination that never started stays in the spool", faultFields(asSensorError(thrown)));
  }
}

/** Everything behind the intake, in the order in which it is to be stopped. */
async function startStages(
  config: Config,
  { policy, lists: fileLists, denyLists }: LoadedPolicy,
  spool: Spool,
  runTime: RunTimeLists,
  log: Log,
): Promise<{ readonly stages: Stopping[]; readonly control: string }> {
  const identity = { id: config.sensor.id, version: VERSION };
  const stages: Stopping[] = [];
  const started = <T extends { stop(): Promise<void> }>(what: string, stage: T): T => {
    stages.unshift({ what, stop: () => stage.stop() });
    return stage;
  };
  try {
    const lists = joinLists([runTime.lists, fileLists]);
    started("retention", startSweep(spool, log));
    const secret = alertSecret(config.spool.path);
    const reporting = started(
      "reporting",
      startReporting({ destinations: config.siem, spool, sensorId: config.sensor.id, secret, log }),
    );
    const ownAlerts = createOwnAlerts({ secret, log: log.with({ stage: "alert" }) });
    const alerts = started(
      "alerts",
      startAlerts({
        alerts: config.alerts,
        analyzers: [config.vmray.url, ...config.vmray.analyzers.map(({ url }) => url)],
        ...{ secret, spool, sensor: identity, log },
      }),
    );
    await spool.setRelooks(config.vmray.relook);
    started("second looks", startRelooks({ spool, log }));
    started("denials", startDenials({ spool, files: denyLists, log }));
    let whyWaiting = (): string | null => null;
    started(
      "verdicts",
      startVerdicts({
        spool,
        sensor: identity,
        log,
        wanted: new Set(config.siem.flatMap(({ events }) => events)),
        reportAfter: config.vmray.report_after,
        whyWaiting: () => whyWaiting(),
      }),
    );
    const pool = createExtractPool(config.extract, log.with({ stage: "extract" }));
    stages.unshift({ what: "helpers", stop: () => pool.close() });
    const contents = createContents({
      rawMail: (mailId) => spool.rawMail(mailId),
      pool,
      folder: join(config.spool.path, "contents", "kept"),
    });
    stages.unshift({ what: "contents", stop: () => contents.stop() });
    const analyzers = started(
      "analyzers",
      await startAnalyzers({
        spool,
        vmray: config.vmray,
        writeContent: contents.write,
        tempDir: join(config.spool.path, "contents"),
        announce: (changes, open, analyzer) => {
          const composed = ({ name, message }: StateChange) =>
            composeState(name, message, identity, Date.now());
          return spool.tellStates(changes.map(composed), open, analyzer);
        },
        log: log.with({ stage: "analyzer" }),
      }),
    );
    whyWaiting = () => pauseText(analyzers.status().find(({ paused }) => paused !== null)?.paused ?? null);
    const load = watchLoad();
    stages.unshift({ what: "load", stop: async () => load.stop() });
    started(
      "extraction",
      startExtraction({
        spool,
        extract: async (raw, copiedTo, begun) =>
          (await ownAlerts.recognise(raw)) ?? (await pool.extract(raw, { copiedTo, begun })),
        triage: (mail) => triage(mail, policy, lists),
        failedEvent: (mail, error) =>
          composeFailed(mail, `${error.code}: ${error.message}`, identity, Date.now()),
        concurrency: config.extract.helpers * MAILS_A_HELPER,
        busy: load.busy,
        attempts: config.extract.attempts,
        log,
      }),
    );
    const control = started(
      "control",
      await startControl({
        listen: config.control.listen,
        tokenFile: config.control.token_file,
        spool,
        sensor: identity,
        status: async () => {
          const [analyzer, ...furtherAnalyzers] = analyzers
            .status()
            .map(({ name, ...pool }, _, { length }) => ({
              ...pool,
              ...(length > 1 ? { name } : {}),
              pausedReason: pool.paused,
            }));
          return {
            analyzer: analyzer ?? null,
            furtherAnalyzers,
            destinations: [...(await reporting.status()), ...(await alerts.status())].map((one) => ({
              name: one.destination,
              up: one.state === "idle" ? null : one.state === "up",
              delivered: one.delivered,
              refused: one.refused,
              lastError: one.lastError,
              composed: one.composed ?? 0,
            })),
          };
        },
        replay: reporting.replay,
        lists: runTime,
        log,
      }),
    );
    return { stages, control: control.address };
  } catch (thrown) {
    await stopAll(stages, log);
    throw thrown;
  }
}

/** Why no calls are made, as the reason of a mail that waits for them. */
function pauseText(reason: AnalyzerStatus["paused"]): string | null {
  switch (reason) {
    case "auth":
      return "VMRay refuses the API key";
    case "throttled":
      return "VMRay takes no more requests for now";
    case "unreachable":
      return "VMRay cannot be reached";
    case null:
      return null;
  }
}

/** What the intake is made of: its settings and what is in the files of its certificate. */
function identityOf(smtp: Config["smtp"]): string {
  const files = smtp.tls === undefined ? [] : [smtp.tls.cert_file, smtp.tls.key_file];
  const contents = files.map((path) => (existsSync(path) ? readFileSync(path, "base64") : ""));
  return JSON.stringify([smtp, contents]);
}

/** Keys under the same two names whose values differ, as `name.key`. */
function changedKeys(before: Partial<Config>, after: Partial<Config>): readonly string[] {
  const flat = (config: Partial<Config>) =>
    new Map(
      Object.entries(config).flatMap(([name, keys]) =>
        Object.entries(keys ?? {}).map(([key, value]): [string, string] => [
          `${name}.${key}`,
          JSON.stringify(value),
        ]),
      ),
    );
  const [old, next] = [flat(before), flat(after)];
  return [...new Set([...old.keys(), ...next.keys()])].filter((key) => old.get(key) !== next.get(key));
}

async function stopAll(stages: readonly Stopping[], log: Log): Promise<void> {
  for (const { what, stop } of stages) {
    try {
      await stop();
    } catch (thrown) {
      log.warn(`stopping ${what} failed`, faultFields(asSensorError(thrown)));
    }
  }
}

function putState(spool: Spool, config: Config, name: string, message: string): Promise<void> {
  return spool.putEvents([
    composeState(name, message, { id: config.sensor.id, version: VERSION }, Date.now()),
  ]);
}

function spoolSettings({ spool }: Config) {
  return {
    path: spool.path,
    inlineSize: spool.inline_size,
    minFree: spool.min_free,
    keepRaw: spool.keep_raw,
    keepMetadata: spool.keep_metadata,
    keepEvents: spool.keep_events,
  };
}
