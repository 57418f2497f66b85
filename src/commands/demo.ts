/**
 * `email-sensor demo`: the whole way of a mail on loopback, checked.
 *
 * In: nothing but this machine. Out: a report on stdout, progress on stderr, exit 1 where something is not as
 * expected. The temporary folder is removed however it ends, unless --keep asks for it.
 */
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { SensorError } from "../errors.ts";
import type { Command, ExitCode } from "./command.ts";
import { judge } from "./demo/checks.ts";
import { createProgress } from "./demo/progress.ts";
import { renderReport, reportObject } from "./demo/report.ts";
import { LOG_FILE, runDemo } from "./demo/run.ts";
import { SAMPLES } from "./demo/samples.ts";

const WIDTH = 100;
/** For sending and for the verdicts together. */
const TIMEOUT = 40_000;
/** For all of it; after that something does not let go and the process is ended. */
const LAST_RESORT = 60_000;
const LOG_LINES = 10;

export const command: Command = {
  summary: "shows the whole way on this machine: sample mails in, verdicts out, checked",
  usage: `use: email-sensor demo [--json] [--keep]

Starts an analyzer simulator, a syslog listener, a mail relay and the sensor on loopback, in a temporary
folder. Sends sample mails over SMTP, prints what came out, and checks it. Needs no network and no licence.

  --json   one JSON object on stdout: the mails, the checks, the events as the syslog listener got them
  --keep   keep the temporary folder (spool, log of the sensor) and say where it is

Progress goes to stderr. Exit codes: 0 all as expected, 1 not so, 2 bad usage.
`,
  run,
};

async function run(args: readonly string[]): Promise<ExitCode> {
  const { json, keep } = options(args);
  const startedAt = Date.now();
  const folder = mkdtempSync(join(tmpdir(), "email-sensor-demo-"));
  const removeFolder = () => {
    if (!keep) rmSync(folder, { recursive: true, force: true });
  };

  const abort = new AbortController();
  const interrupted = () => {
    if (!abort.signal.aborted) return abort.abort(new Error("interrupted"));
    removeFolder();
    process.exit(1);
  };
  const signals = ["SIGINT", "SIGTERM", "SIGHUP"] as const;
  for (const name of signals) process.on(name, interrupted);
  const watchdog = setTimeout(() => {
    removeFolder();
    process.stderr.write(`email-sensor demo: it did not end within ${LAST_RESORT / 1000} s\n`);
    process.exit(1);
  }, LAST_RESORT);
  // It shall end a process that hangs, not keep one alive that has failed and stopped.
  watchdog.unref();

  const progress = createProgress({
    live: process.stderr.isTTY === true,
    width: Math.min(process.stderr.columns ?? WIDTH, WIDTH),
    write: (text) => process.stderr.write(text),
  });
  try {
    const samples = SAMPLES.map((sample) => sample({ id: crypto.randomUUID(), date: new Date(startedAt) }));
    const outcome = await runDemo(folder, samples, progress, TIMEOUT, abort.signal);
    clearTimeout(watchdog);
    progress.end();
    const checks = judge(samples, outcome);
    const duration = Date.now() - startedAt;
    const good = checks.every(({ ok }) => ok);
    if (json) {
      const object = reportObject(samples, outcome, checks, duration, keep ? folder : null);
      process.stdout.write(`${JSON.stringify(object, null, 2)}\n`);
    } else {
      const colour = process.stdout.isTTY === true && !process.env.NO_COLOR;
      const width = Math.min(process.stdout.columns ?? WIDTH, WIDTH);
      process.stdout.write(`\n${renderReport(samples, outcome, checks, { width, colour, duration })}`);
    }
    if (!good) process.stderr.write(logTail(folder));
    return good ? 0 : 1;
  } catch (fault) {
    progress.end();
    process.stderr.write(logTail(folder));
    throw fault;
  } finally {
    for (const name of signals) process.off(name, interrupted);
    removeFolder();
    if (keep) process.stderr.write(`kept: ${folder}\n`);
  }
}

function options(args: readonly string[]): { readonly json: boolean; readonly keep: boolean } {
  try {
    const { values } = parseArgs({
      args: [...args],
      options: { json: { type: "boolean", default: false }, keep: { type: "boolean", default: false } },
    });
    return values;
  } catch (cause) {
    throw new SensorError("USAGE", cause instanceof Error ? cause.message : String(cause), { cause });
  }
}

/** The last warnings and errors the sensor logged, to see why something went wrong. */
function logTail(folder: string): string {
  let log: string;
  try {
    log = readFileSync(join(folder, LOG_FILE), "utf8");
  } catch {
    return "the sensor wrote no log\n";
  }
  const worth = log.split("\n").filter((line) => /"level":"(?:warn|error)"/.test(line));
  if (worth.length === 0) return "the sensor logged no warning and no error\n";
  return `the last warnings and errors of the sensor:\n${worth.slice(-LOG_LINES).join("\n")}\n`;
}
