/**
 * Picks the command. Each is loaded only when it is called, so that a helper process starts with little.
 */
import type { Command, ExitCode } from "./commands/command.ts";
import { asSensorError, CATALOGUE } from "./errors.ts";
import { VERSION } from "./version.ts";

const COMMANDS: Readonly<Record<string, () => Promise<Command>>> = {
  run: async () => (await import("./commands/run.ts")).command,
  "check-config": async () => (await import("./commands/check-config.ts")).command,
  render: async () => (await import("./commands/render.ts")).command,
  scan: async () => (await import("./commands/scan.ts")).command,
  explain: async () => (await import("./commands/explain.ts")).command,
  demo: async () => (await import("./commands/demo.ts")).command,
  "simulate-analyzer": async () => (await import("./commands/simulate-analyzer.ts")).command,
  status: async () => (await import("./commands/status.ts")).command,
  mails: async () => (await import("./commands/mails.ts")).command,
  mail: async () => (await import("./commands/mail.ts")).command,
  lists: async () => (await import("./commands/lists.ts")).command,
  replay: async () => (await import("./commands/replay.ts")).command,
  watch: async () => (await import("./commands/watch.ts")).command,
};

/** Commands the sensor starts itself; not shown. */
const INTERNAL: Readonly<Record<string, () => Promise<Command>>> = {
  "extract-helper": async () => (await import("./commands/extract-helper.ts")).command,
};

async function help(): Promise<string> {
  const rows = await Promise.all(
    Object.entries(COMMANDS).map(async ([name, load]) => `  ${name.padEnd(18)} ${(await load()).summary}`),
  );
  return [
    `email-sensor ${VERSION}`,
    "",
    "Receives a copy of every mail over SMTP, has VMRay judge its URLs and attachments,",
    "and reports the verdicts to a SIEM.",
    "",
    "use: email-sensor COMMAND [options]",
    "",
    ...rows,
    "",
    "email-sensor COMMAND --help says more about one. Exit codes: 0 done, 1 failed,",
    "2 bad usage or configuration, 3 cannot reach the sensor or a service.",
    "",
  ].join("\n");
}

async function main(argv: readonly string[]): Promise<ExitCode> {
  const [name, ...rest] = argv;
  if (name === "help" && rest[0] !== undefined) return main([rest[0], "--help"]);
  if (name === undefined || name === "--help" || name === "-h" || name === "help") {
    (name === undefined ? process.stderr : process.stdout).write(await help());
    return name === undefined ? 2 : 0;
  }
  if (name === "--version" || name === "-V" || name === "version") {
    process.stdout.write(`email-sensor ${VERSION}\n`);
    return 0;
  }
  const load = Object.hasOwn(COMMANDS, name) ? COMMANDS[name] : INTERNAL[name];
  if (load === undefined) {
    process.stderr.write(
      `email-sensor: there is no command ${JSON.stringify(name)}; email-sensor --help lists them\n`,
    );
    return 2;
  }
  const command = await load();
  if (rest.includes("--help") || rest.includes("-h")) {
    process.stdout.write(command.usage);
    return 0;
  }
  try {
    return await command.run(rest);
  } catch (thrown) {
    const error = asSensorError(thrown);
    process.stderr.write(`email-sensor ${name}: ${error.message}\n`);
    if (/^(LISTEN|SPOOL)_/.test(error.code)) process.stderr.write(`  ${CATALOGUE[error.code].remedy}\n`);
    if (error.code === "USAGE" || error.code === "CONFIG_INVALID") return 2;
    return error.code === "CONTROL_UNREACHABLE" ? 3 : 1;
  }
}

process.exitCode = await main(process.argv.slice(2));
