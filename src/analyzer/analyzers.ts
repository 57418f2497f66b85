/**
 * The analyzers of the configuration, each a pool of its own: calls, pauses, budget, and the place in its list of
 * finished submissions. The spool says which analysis is with which, so that a restart goes on there.
 *
 * Throws SensorError CONFIG_INVALID where a key, a certificate or a password cannot be read.
 */
import { join } from "node:path";
import { vmrayApiKey, vmrayConnection } from "../config/load.ts";
import type { Config } from "../config/schema.ts";
import type { Log } from "../log.ts";
import type { Spool } from "../spool/spool.ts";
import {
  type Analyzer,
  type AnalyzerOptions,
  type AnalyzerSpool,
  type AnalyzerStatus,
  startAnalyzer,
} from "./analyzer.ts";
import type { StateChange } from "./budget.ts";
import { createVmrayClient } from "./client.ts";
import { proxyOf } from "./connection.ts";

export type AnalyzersOptions = Pick<AnalyzerOptions, "writeContent" | "tempDir"> & {
  /** As that of one analyzer, whose name comes last. */
  readonly announce: (
    changes: readonly StateChange[],
    open: readonly string[],
    analyzer: string,
  ) => Promise<void>;
  readonly spool: Spool;
  readonly vmray: Config["vmray"];
  readonly log: Log;
};

export type Analyzers = {
  stop(): Promise<void>;
  /** In the order of the configuration; the first is that of the `vmray` section itself. */
  status(): readonly [NamedStatus, ...NamedStatus[]];
};
export type NamedStatus = AnalyzerStatus & { readonly name: string };

export const FIRST = "default";

type Entry = { readonly name: string; readonly settings: Config["vmray"] };

/** The connection keys of the section that a further analyzer must not have from it. */
const NOT_SHARED = {
  api_key: undefined,
  api_key_file: undefined,
  ca_file: undefined,
  client_cert_file: undefined,
  client_key_file: undefined,
  proxy: undefined,
  proxy_password_file: undefined,
};

export function entriesOf(vmray: Config["vmray"]): readonly [Entry, ...Entry[]] {
  const further = vmray.analyzers.map(({ name, ...keys }) => ({
    name,
    settings: { ...vmray, ...NOT_SHARED, ...keys },
  }));
  return [{ name: FIRST, settings: vmray }, ...further];
}

/** The name of the first of `fallback` that is not among those tried, null where there is none. */
export function nextOf(fallback: readonly string[], tried: readonly string[]): string | null {
  return fallback.find((name) => !tried.includes(name)) ?? null;
}

/** What of the spool concerns the analyzer of this name. */
export function spoolOf(spool: Spool, name: string): AnalyzerSpool {
  return {
    dueAnalyses: (now, limit, leaveOut, lane) => spool.dueAnalyses(now, limit, leaveOut, lane, name),
    urgencies: spool.urgencies,
    toldStates: () => spool.toldStates(name),
    nextAnalysisAt: (leaveOut, lane) => spool.nextAnalysisAt(leaveOut, lane, name),
    charged: (day) => spool.charged(day, name),
    chargedMails: (day) => spool.chargedMails(day, name),
    submissionsFinished: (ids, cursor, now) => spool.submissionsFinished(ids, cursor, now, name),
    finishedCursor: () => spool.finishedCursor(name),
    recordProgress: spool.recordProgress,
    moveAnalysis: spool.moveAnalysis,
    finishAnalysis: spool.finishAnalysis,
    subscribe: spool.subscribe,
  };
}

export async function startAnalyzers(options: AnalyzersOptions): Promise<Analyzers> {
  const { spool, vmray, log, tempDir, announce } = options;
  const entries = entriesOf(vmray);
  const several = entries.length > 1;
  const ready = await Promise.all(
    entries.map(async ({ name, settings }) => {
      const connection = await vmrayConnection(settings);
      return { name, settings, client: createVmrayClient(connection, await vmrayApiKey(settings)) };
    }),
  );
  const [first, ...rest] = entries;
  const adopted = await spool.adoptAnalyses([first.name, ...rest.map(({ name }) => name)]);
  if (adopted > 0)
    log.warn("analyses of an analyzer that is no longer there begin anew", { analyses: adopted });
  const started: (Analyzer & { readonly name: string })[] = [];
  const stop = async () => void (await Promise.all(started.map((each) => each.stop())));
  try {
    for (const { name, settings, client } of ready) {
      const own = several ? log.with({ analyzer: name }) : log;
      const proxy = proxyOf(settings);
      if (proxy !== null && proxy.variable !== null) {
        own.info("VMRay is reached through a proxy of the environment", {
          proxy: proxy.host,
          variable: proxy.variable,
        });
      }
      if (!settings.tls_verify) {
        own.warn("the certificate of VMRay is not checked: anyone in between can read and forge", {
          key: name === FIRST ? "vmray.tls_verify" : "vmray.analyzers[].tls_verify",
        });
      }
      const analyzer = startAnalyzer({
        spool: spoolOf(spool, name),
        client,
        settings,
        writeContent: options.writeContent,
        tempDir: name === FIRST ? tempDir : join(tempDir, `analyzer-${name}`),
        announce: (changes, open) =>
          announce(
            several
              ? changes.map((each) => ({ ...each, message: `analyzer ${name}: ${each.message}` }))
              : changes,
            open,
            name,
          ),
        log: own,
        ...(several ? { several: { name, after: (tried) => nextOf(vmray.fallback, tried) } } : {}),
      });
      started.push({ ...analyzer, name });
    }
  } catch (thrown) {
    await stop();
    throw thrown;
  }
  const statusOf = (each: (typeof started)[number]): NamedStatus => ({ ...each.status(), name: each.name });
  return {
    stop,
    status() {
      const [one, ...others] = started;
      if (one === undefined) throw new Error("no analyzer was started");
      return [statusOf(one), ...others.map(statusOf)];
    },
  };
}
