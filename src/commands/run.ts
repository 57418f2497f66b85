/** `run`: the sensor in the foreground. */
import { parseArgs } from "node:util";
import { DEFAULT_CONFIG_PATH, loadConfig } from "../config/load.ts";
import { asSensorError, SensorError } from "../errors.ts";
import { createLog, faultFields } from "../log.ts";
import { startSensor } from "../sensor.ts";
import type { Command } from "./command.ts";
import { createLineWriter } from "./line-writer.ts";

export const command: Command = {
  summary: "runs the sensor, in the foreground",
  usage: `use: email-sensor run [--config FILE]

Takes mails over SMTP, has VMRay judge them, reports the verdicts. Logs JSON lines on stdout.

  --config FILE   the configuration (default ${DEFAULT_CONFIG_PATH})

SIGTERM or SIGINT  takes no more mails, lets what is in work come to its next commit, and ends
SIGHUP             reads the configuration again; a bad one is logged and the old one stays
`,
  run: async (args) => {
    const path = configPath(args);
    const config = await loadConfig(path, process.env);
    const out = createLineWriter(process.stdout.fd);
    const log = createLog(config.log.level, out.write);
    // Signals count from here on: one that comes while the sensor starts waits for it, and kills nothing.
    const signal = new Promise<string>((resolve) => {
      for (const name of ["SIGTERM", "SIGINT"] as const) process.once(name, () => resolve(name));
    });
    const starting = startSensor(config, log);
    let reloading: Promise<unknown> = starting.catch(() => undefined);
    process.on("SIGHUP", () => {
      reloading = reloading
        .then(async () => (await starting).reload(await loadConfig(path, process.env)))
        .catch((thrown) =>
          log.error(
            "the configuration was not reloaded, the old one stays",
            faultFields(asSensorError(thrown)),
          ),
        );
    });
    const sensor = await starting;
    const end = await Promise.race([signal, sensor.failed]);
    if (end instanceof SensorError) {
      log.error("the sensor cannot go on and ends, to be started anew", faultFields(end));
      out.flush();
      // Whatever still runs waits for what is gone.
      process.exit(1);
    }
    log.info("stopping", { signal: end });
    await reloading;
    await sensor.stop();
    out.flush();
    return 0;
  },
};

function configPath(args: readonly string[]): string {
  try {
    const { values } = parseArgs({ args: [...args], options: { config: { type: "string" } } });
    return values.config ?? DEFAULT_CONFIG_PATH;
  } catch (thrown) {
    throw new SensorError("USAGE", `${asSensorError(thrown).message}; see email-sensor run --help`, {
      cause: thrown,
    });
  }
}
