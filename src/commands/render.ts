/**
 * `render`: shows what each SIEM destination of a configuration would receive, for sample events or one from a file.
 *
 * Reads the configuration and the files it names, opens no connection. Payloads are shown as the bytes they are: they
 * hold no control character but the line feeds of their framing.
 */
import { parseArgs } from "node:util";
import { knownSecret } from "../alert/marker.ts";
import { readBounded, utf8 } from "../config/files.ts";
import { DEFAULT_CONFIG_PATH, loadConfig } from "../config/load.ts";
import type { Config, SiemConfig } from "../config/schema.ts";
import { SensorError } from "../errors.ts";
import { createPreviewer, type Preview, type Previewer } from "../report/preview.ts";
import { MAX_EVENT_TEXT, readEvent } from "../report/read-event.ts";
import { type Sample, sampleEvents } from "../report/samples.ts";
import { toJsonLine } from "../text.ts";
import { VERSION } from "../version.ts";
import type { Command, ExitCode } from "./command.ts";
import { printable } from "./table.ts";

const USAGE = `use: email-sensor render [--config FILE] [--event EVENT.json] [--to NAME] [--json]

Shows what each SIEM destination of a configuration would receive, byte for byte, of a sample event of
each type, or of an event of yours. Nothing is sent anywhere.

options:
  --config FILE   the configuration (${DEFAULT_CONFIG_PATH})
  --event FILE    an event instead of the samples, or - for stdin: what format json and email-sensor
                  watch --json give
  --to NAME       only this destination: siem[].name; repeat it for several
  --json          one object a line, for each destination and event: destination, target, format,
                  framing, request, sample, type, id, sent, why, payloads[]{bytes,text}, notes[]

Exit codes: 0 done, 1 a template failed on an event, 2 bad usage, configuration or event.
`;

type Options = {
  readonly config: string;
  readonly event: string | null;
  readonly to: readonly string[];
  readonly json: boolean;
};

export const command: Command = {
  summary: "shows what each SIEM destination would receive of a sample event",
  usage: USAGE,
  async run(args) {
    const options = readArguments(args);
    const config = await loadConfig(options.config, process.env);
    const samples = options.event === null ? ownSamples(config) : [await sampleOf(options.event)];
    const destinations = chosen(config.siem, options.to);
    const secret = knownSecret(config.spool.path);
    if (secret === null && destinations.some(hashesWithInstallation)) {
      process.stderr.write(
        `email-sensor render: the hashes of privacy are others than the sensor makes: its secret in ${printable(config.spool.path)} cannot be read\n`,
      );
    }
    let exitCode: ExitCode = 0;
    for (const destination of destinations) {
      const previewer = createPreviewer(destination, config.sensor.id, secret ?? new Uint8Array(32));
      const request = await previewer.request();
      const shown: string[] = options.json ? [] : heading(destination, previewer, request);
      for (const sample of samples) {
        const preview = previewer.preview(sample.event);
        if (preview.notes.length > 0) exitCode = 1;
        shown.push(
          ...(options.json
            ? [
                toJsonLine({
                  ...aboutDestination(destination, previewer),
                  request,
                  ...facts(sample, preview),
                }),
              ]
            : paragraph(sample, preview)),
        );
      }
      await Bun.write(Bun.stdout, `${shown.join("\n")}\n`);
    }
    return exitCode;
  },
};

function readArguments(args: readonly string[]): Options {
  try {
    const { values } = parseArgs({
      args: [...args],
      options: {
        config: { type: "string" },
        event: { type: "string" },
        to: { type: "string", multiple: true },
        json: { type: "boolean" },
      },
    });
    return {
      config: values.config ?? DEFAULT_CONFIG_PATH,
      event: values.event ?? null,
      to: values.to ?? [],
      json: values.json === true,
    };
  } catch (thrown) {
    const message = thrown instanceof Error ? thrown.message : String(thrown);
    throw new SensorError("USAGE", `${message}; see --help`, { cause: thrown });
  }
}

/** The samples as if this sensor had made them. */
function ownSamples(config: Config): readonly Sample[] {
  const sensor = { id: config.sensor.id, version: VERSION };
  return sampleEvents().map(({ name, event }) => ({ name, event: { ...event, sensor } }));
}

async function sampleOf(file: string): Promise<Sample> {
  const refuse = (words: string, cause?: unknown) =>
    new SensorError("USAGE", `${file === "-" ? "stdin" : printable(file)} ${words}`, { cause });
  // A character has four bytes at most.
  const read = await readBounded(file === "-" ? "/dev/stdin" : file, MAX_EVENT_TEXT * 4, "any");
  if ("fault" in read) throw refuse(read.fault);
  const text = utf8(read.bytes);
  if (text === null) throw refuse("is not UTF-8 text");
  try {
    const event = readEvent(text);
    return { name: event.type, event };
  } catch (thrown) {
    if (thrown instanceof SensorError) throw refuse(thrown.message, thrown);
    throw thrown;
  }
}

function chosen(siem: readonly SiemConfig[], names: readonly string[]): readonly SiemConfig[] {
  if (siem.length === 0) throw new SensorError("USAGE", "the configuration has no siem destination");
  const known = siem.map(({ name }) => name);
  const missing = names.find((name) => !known.includes(name));
  if (missing !== undefined) {
    const list = known.map((name) => printable(name)).join(", ");
    throw new SensorError("USAGE", `there is no destination ${JSON.stringify(missing)}; there is ${list}`);
  }
  return names.length === 0 ? siem : siem.filter(({ name }) => names.includes(name));
}

const hashesWithInstallation = ({ privacy }: SiemConfig): boolean =>
  privacy !== undefined &&
  privacy.key_file === undefined &&
  [privacy.addresses, privacy.subjects, privacy.filenames].includes("hash");

function aboutDestination({ name, format }: SiemConfig, { target, framing }: Previewer) {
  return { destination: name, target, format, framing };
}

function facts({ name, event }: Sample, { why, payloads, notes }: Preview) {
  return {
    sample: name,
    type: event.type,
    id: event.id,
    sent: why === null,
    why,
    payloads: payloads.map((payload) => ({ bytes: payload.byteLength, text: textOf(payload) })),
    notes,
  };
}

const textOf = (payload: Uint8Array): string => new TextDecoder("utf-8", { fatal: true }).decode(payload);

// ---- for people

type Request = Awaited<ReturnType<Previewer["request"]>>;

function heading(destination: SiemConfig, previewer: Previewer, request: Request): string[] {
  const { name, format } = destination;
  const lines = [
    `=== ${printable(name)}: ${printable(previewer.target)}, ${format}, ${previewer.framing}`,
    ...Object.entries(request?.headers ?? {}).map(([key, value]) => `    ${key}: ${printable(value)}`),
  ];
  return [...lines, ""];
}

function paragraph({ name }: Sample, { why, payloads, notes }: Preview): string[] {
  if (why !== null) return [`--- ${name}: not sent, ${why}`];
  const bytes = payloads.reduce((sum, { byteLength }) => sum + byteLength, 0);
  const many = payloads.length === 1 ? "" : `${payloads.length} messages, `;
  return [
    `--- ${name}: ${many}${bytes} bytes`,
    ...notes.map((note) => `    ! ${printable(note)}`),
    ...payloads.map((payload) => textOf(payload).replace(/\n$/, "")),
    "",
  ];
}
