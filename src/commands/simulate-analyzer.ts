/**
 * `email-sensor simulate-analyzer`: a stand-in for a VMRay Analyzer, until a signal ends it.
 *
 * In: an address and a key. Out: on stdout where it listens and how a sensor is pointed at it. Exit 0 when it
 * was told to stop, 1 where the address cannot be bound, 2 for bad usage.
 */
import { parseArgs } from "node:util";
import { PLATFORMS, type Platform } from "../analyzer/simulator/platform.ts";
import {
  type FaultRule,
  readFaultOption,
  readScenario,
  type Scenario,
} from "../analyzer/simulator/scenario.ts";
import { startSimulator } from "../analyzer/simulator/simulator.ts";
import { readBounded, utf8 } from "../config/files.ts";
import { SensorError } from "../errors.ts";
import { parseDuration } from "../units.ts";
import type { Command, ExitCode } from "./command.ts";

const DEFAULTS = { listen: "127.0.0.1:8480", queued: "1s", work: "3s" } as const;
/** A day: an analysis that takes longer is a mistake in the unit. */
const LONGEST = 86_400_000;

export const command: Command = {
  summary: "stands in for a VMRay Analyzer over the same REST API, for tests and trials",
  usage: `use: email-sensor simulate-analyzer --api-key KEY [--listen HOST:PORT] [--queued 1s] [--work 3s]
     [--scenario FILE] [--fault "FAULT KEY=VALUE ..."]... [--platform VERSION] [--state PATH] [--call-log FILE]

A simulator of the VMRay REST API, to try a sensor before there is a licence. It analyses nothing: verdicts
follow fixed rules. It keeps hashes and names in memory, and with --state on disk; bytes of files nowhere.

  --api-key KEY        the key that a client has to send (Authorization: api_key KEY)
  --listen HOST:PORT   where to listen; default ${DEFAULTS.listen}; port 0 takes a free one
  --queued DURATION    how long a submission is queued; default ${DEFAULTS.queued}
  --work DURATION      how long it is then in work; default ${DEFAULTS.work}
  --scenario FILE      YAML: faults, and verdicts, evidence, times and errors by hash, name or URL; SIGHUP reads it anew
  --fault "FAULT ..."  one fault, as in a scenario: "status=503 endpoints=submit,lookup every=10", "slow delay=5s
                       probability=0.1", "reset_after", "truncated", "oversized", "wrong_json", "html"; can be repeated
  --platform VERSION   which version of the platform it is: ${PLATFORMS.join(", ")} (default)
  --state PATH         a file or folder that keeps what it knows over a restart and a crash
  --call-log FILE      appends a JSON line for each call

docs/simulator.md describes the keys of a scenario.

Files, by their bytes or, in a zip or OOXML document, those of its members; the first that applies:
  the EICAR test file              malicious, threat name EICAR-Test-File
  VMRAY-SIMULATOR: malicious       malicious
  VMRAY-SIMULATOR: suspicious      suspicious
  VMRAY-SIMULATOR: error           the analysis ends with errors and without a verdict
  VMRAY-SIMULATOR: not_available   not_available
  a zip with encrypted members     not_available
  anything else                    clean (also VMRAY-SIMULATOR: clean)

URLs, by a label of the host name under .example, .test, .invalid, .localhost, example.com, .net or .org:
  malicious     http://malicious.example/       malicious
  suspicious    http://www.suspicious.example/  suspicious
  error         http://error.example/           the analysis ends with errors and without a verdict
  unknown       http://unknown.example/         not_available
  anything else, and every real host            clean

GET /simulator/statistics (from this machine only) counts calls and submissions of each content as JSON.
Each web link of an answer leads to a page that says what the simulator decided and why.

SIGINT and SIGTERM stop it. Exit codes: 0 stopped, 1 cannot listen, 2 bad usage.
`,
  run,
};

type Options = {
  readonly apiKey: string;
  readonly hostname: string;
  readonly port: number;
  readonly queuedMs: number;
  readonly inWorkMs: number;
  readonly scenarioPath: string | undefined;
  readonly faults: readonly FaultRule[];
  readonly platform: Platform;
  readonly statePath: string | undefined;
  readonly callLogPath: string | undefined;
};

const MAX_SCENARIO = 4 * 1024 ** 2;

/** Reads the words after the command. Throws SensorError USAGE. */
function readOptions(args: readonly string[]): Options {
  const { values } = parse(args);
  const key = values["api-key"];
  if (key === undefined || !/^[\x21-\x7e]{1,256}$/.test(key)) {
    throw new SensorError("USAGE", "--api-key needs a key of 1 to 256 printable ASCII characters");
  }
  const listen = values.listen ?? DEFAULTS.listen;
  const parts = /^(?:\[([0-9A-Fa-f:.]+)\]|([^\s:[\]]+)):(\d{1,5})$/.exec(listen);
  const port = Number(parts?.[3]);
  const hostname = parts?.[1] ?? parts?.[2];
  if (hostname === undefined || port > 65_535) {
    throw new SensorError("USAGE", "--listen needs HOST:PORT, like 127.0.0.1:8480 or [::1]:8480");
  }
  return {
    apiKey: key,
    hostname,
    port,
    queuedMs: duration("--queued", values.queued ?? DEFAULTS.queued),
    inWorkMs: duration("--work", values.work ?? DEFAULTS.work),
    scenarioPath: values.scenario,
    faults: (values.fault ?? []).map(readFaultOption),
    platform: platform(values.platform),
    statePath: values.state,
    callLogPath: values["call-log"],
  };
}

function parse(args: readonly string[]) {
  const text = { type: "string" } as const;
  try {
    return parseArgs({
      args: [...args],
      options: {
        "api-key": text,
        listen: text,
        queued: text,
        work: text,
        scenario: text,
        fault: { type: "string", multiple: true },
        platform: text,
        state: text,
        "call-log": text,
      },
    });
  } catch (cause) {
    throw new SensorError("USAGE", cause instanceof Error ? cause.message : String(cause), { cause });
  }
}

function duration(option: string, value: string): number {
  const milliseconds = parseDuration(value);
  if (milliseconds === null || milliseconds > LONGEST) {
    throw new SensorError("USAGE", `${option} needs a duration of at most 1d, like 500ms or 3s`);
  }
  return milliseconds;
}

function platform(value: string | undefined): Platform {
  if (value === undefined) return "2026.2";
  const known = PLATFORMS.find((name) => name === value);
  if (known === undefined) throw new SensorError("USAGE", `--platform needs one of ${PLATFORMS.join(", ")}`);
  return known;
}

/** Throws SensorError USAGE for a file that cannot be read, CONFIG_INVALID for what is wrong in it. */
async function loadScenario(path: string): Promise<Scenario> {
  const read = await readBounded(path, MAX_SCENARIO, "any");
  if ("fault" in read) throw new SensorError("USAGE", `--scenario: the file ${path} ${read.fault}`);
  const text = utf8(read.bytes);
  if (text === null) throw new SensorError("USAGE", `--scenario: the file ${path} is not UTF-8 text`);
  return readScenario(text, path);
}

async function run(args: readonly string[]): Promise<ExitCode> {
  const { scenarioPath, statePath, callLogPath, ...options } = readOptions(args);
  const stopped = new Promise<void>((resolve) => {
    process.once("SIGINT", resolve);
    process.once("SIGTERM", resolve);
  });
  const starting = startSimulator({
    ...options,
    ...(scenarioPath === undefined ? {} : { scenario: await loadScenario(scenarioPath) }),
    ...(statePath === undefined ? {} : { statePath }),
    ...(callLogPath === undefined ? {} : { callLogPath }),
  });
  const reload = async (): Promise<void> => {
    if (scenarioPath === undefined) return;
    try {
      const scenario = await loadScenario(scenarioPath);
      (await starting).setScenario(scenario);
      process.stdout.write("the scenario was read anew\n");
    } catch (fault) {
      if (!(fault instanceof SensorError)) throw fault;
      process.stderr.write(`analyzer simulator: the old scenario stays: ${fault.message}\n`);
    }
  };
  process.on("SIGHUP", reload);
  const simulator = await starting;
  process.stdout.write(`analyzer simulator listening on ${simulator.url}
This is a simulator, not a VMRay Analyzer: it analyses nothing, verdicts follow fixed rules (--help).
To use it, put the key into a file and name both in the configuration of the sensor:
  vmray:
    url: ${simulator.url}
    api_key_file: FILE
`);
  await stopped;
  process.off("SIGHUP", reload);
  await simulator.stop();
  return 0;
}
