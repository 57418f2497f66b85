/**
 * `check-config`: says whether a configuration is good and what a sensor would do with it, or everything that is
 * wrong with it. Reads the file and those it names, opens no port and no connection.
 */
import { parseArgs } from "node:util";
import { checkConfig, DEFAULT_CONFIG_PATH } from "../config/load.ts";
import { formatProblem, printable } from "../config/problem.ts";
import type { Config } from "../config/schema.ts";
import { SensorError } from "../errors.ts";
import type { Command, ExitCode } from "./command.ts";

const USAGE = `use: email-sensor check-config [--config FILE] [--json]

Checks a configuration file and the files it names. Where all is well it says so, with what the
sensor would do. Otherwise it lists every problem on stderr, a line each:

  FILE:LINE:COLUMN: path.to.key: message

options:
  --config FILE   the file (${DEFAULT_CONFIG_PATH})
  --json          one JSON object on stdout: file, ok, summary, problems[], warnings[]

Run it as the user of the sensor to find out whether that user may read all files.
Exit codes: 0 good (warnings may be there), 2 not.
`;

const list = (parts: readonly string[]): string => parts.join(", ");

/** One line about what a sensor with this configuration does. */
export function summary(config: Config): string {
  const { smtp, siem, alerts, vmray } = config;
  const tls = smtp.tls === undefined ? "no TLS" : `STARTTLS${smtp.tls.required ? " required" : ""}`;
  const destinations = siem.map(
    ({ name, syslog, file, https, format }) =>
      `${name} at ${syslog ?? file?.path ?? https?.url ?? "no address"} as ${format}`,
  );
  const mails = alerts.map(({ name, relay }) => `${name} by ${relay}`);
  return [
    `takes mail on ${list(smtp.listen)} from ${list(smtp.networks)} (${tls})`,
    `spool in ${config.spool.path}`,
    `verdicts of ${list([vmray.url, ...vmray.analyzers.map(({ name, url }) => `${url} (${name})`)])}`,
    destinations.length === 0 ? "events to no SIEM" : `events to ${list(destinations)}`,
    mails.length === 0 ? "no alert mails" : `alerts ${list(mails)}`,
    `control on ${config.control.listen}`,
  ].join("; ");
}

async function run(args: readonly string[]): Promise<ExitCode> {
  let options: { config?: string | undefined; json?: boolean | undefined };
  try {
    options = parseArgs({
      args: [...args],
      options: { config: { type: "string" }, json: { type: "boolean" } },
    }).values;
  } catch (cause) {
    throw new SensorError("USAGE", `${cause instanceof Error ? cause.message : cause}\n\n${USAGE}`, {
      cause,
    });
  }
  const path = options.config ?? DEFAULT_CONFIG_PATH;
  const { config, problems, warnings } = await checkConfig(path, process.env);
  if (options.json === true) {
    const ok = config !== undefined;
    const what = ok ? summary(config) : null;
    process.stdout.write(`${JSON.stringify({ file: path, ok, summary: what, problems, warnings })}\n`);
    return ok ? 0 : 2;
  }
  for (const problem of problems) process.stderr.write(`${formatProblem(problem)}\n`);
  for (const warning of warnings) process.stderr.write(`${formatProblem(warning, "warning: ")}\n`);
  if (config === undefined) return 2;
  process.stdout.write(`${printable(path, 4096)} is good: ${printable(summary(config), 4096)}\n`);
  return 0;
}

export const command: Command = {
  summary: "says what is wrong with a configuration file, all at once",
  usage: USAGE,
  run,
};
