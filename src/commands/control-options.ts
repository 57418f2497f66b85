/**
 * What the commands that call a running sensor share: their options, and how they show times and verdicts.
 *
 * In: the words after the command. Out: a client and checked options. Bad usage is SensorError USAGE.
 */
import { type ParseArgsOptionsConfig, parseArgs } from "node:util";
import { readControlAddress } from "../config/address.ts";
import { type ControlClient, connectControl } from "../control/client.ts";
import { readTokenFile } from "../control/token.ts";
import { SensorError } from "../errors.ts";
import { parseDuration } from "../units.ts";

export const DEFAULT_ADDRESS = "unix:/run/email-sensor/control.sock";

/** Of the usage text of each such command. */
export const SHARED_USAGE = `  --address ADDR      the sensor: unix:/PATH or HOST:PORT (EMAIL_SENSOR_ADDRESS, else
                      ${DEFAULT_ADDRESS})
  --token-file FILE   token of the sensor, where its configuration has control.token_file
                      (EMAIL_SENSOR_TOKEN_FILE)
  --json              for programs; times in UTC, one form that only grows`;

const SHARED = {
  address: { type: "string" },
  "token-file": { type: "string" },
  json: { type: "boolean" },
} as const satisfies ParseArgsOptionsConfig;

export type ControlArguments = {
  readonly json: boolean;
  readonly positionals: readonly string[];
  /** The one value of an option. */
  value(name: string): string | undefined;
  /** All values of an option that may be repeated, or hold several with commas between. */
  values(name: string): readonly string[];
  /** A client of the sensor that was named; close it. */
  connect(): Promise<ControlClient>;
};

export function controlArguments(
  args: readonly string[],
  own: Readonly<Record<string, { readonly type: "string"; readonly multiple?: boolean }>>,
  positionalCount: number,
): ControlArguments {
  const { values, positionals } = parsed(args, own);
  if (positionals.length > positionalCount) {
    throw new SensorError(
      "USAGE",
      `does not understand ${JSON.stringify(positionals[positionalCount])}; see --help`,
    );
  }
  const strings = (name: string): readonly string[] =>
    [values[name]].flat().filter((value) => typeof value === "string");
  const value = (name: string) => strings(name)[0];
  return {
    json: values.json === true,
    positionals,
    value,
    values: (name) => strings(name).flatMap((text) => text.split(",").map((part) => part.trim())),
    async connect() {
      const address = value("address") ?? (process.env.EMAIL_SENSOR_ADDRESS || DEFAULT_ADDRESS);
      const checked = readControlAddress(address);
      if ("problem" in checked) throw new SensorError("USAGE", `--address ${checked.problem}`);
      const tokenFile = value("token-file") ?? process.env.EMAIL_SENSOR_TOKEN_FILE;
      return connectControl(address, tokenFile ? await readTokenFile(tokenFile) : null);
    },
  };
}

type Parsed = {
  readonly values: Readonly<Record<string, string | boolean | readonly (string | boolean)[] | undefined>>;
  readonly positionals: readonly string[];
};

function parsed(args: readonly string[], own: ParseArgsOptionsConfig): Parsed {
  try {
    return parseArgs({
      args: [...args],
      options: { ...SHARED, ...own },
      allowPositionals: true,
      strict: true,
    });
  } catch (thrown) {
    const message = thrown instanceof Error ? thrown.message : String(thrown);
    // What follows is advice about "--" that helps nobody here.
    const [what] = message.split(". To specify");
    throw new SensorError("USAGE", `${what}; see --help`, { cause: thrown });
  }
}

/** The number of the API for each word given, or USAGE naming the words there are. */
export function numbersOf<Value extends number>(
  option: string,
  table: Readonly<Record<string, Value>>,
  words: readonly string[],
): readonly Value[] {
  return words.map((word) => {
    const number = Object.hasOwn(table, word) ? table[word] : undefined;
    if (number !== undefined) return number;
    throw new SensorError(
      "USAGE",
      `${option}: ${JSON.stringify(word)} is not known; give ${Object.keys(table).join(", ")}`,
    );
  });
}

/** A point in time as people give it: `2h` ago, or a date and time. */
export function readInstant(option: string, text: string, now: number): Date {
  const ago = parseDuration(text);
  const date = ago === null ? readDate(text) : new Date(now - ago);
  if (!Number.isNaN(date.getTime())) return date;
  throw new SensorError(
    "USAGE",
    `${option}: ${JSON.stringify(text)} is no time; give how long ago (30m, 2h, 7d) or a date (2026-03-31, 2026-03-31T08:00Z)`,
  );
}

/** A date is its first moment in local time, which is what the commands show. */
function readDate(text: string): Date {
  if (!/^\d{4}-\d{2}-\d{2}/.test(text)) return new Date(Number.NaN);
  return new Date(text.length === 10 ? `${text}T00:00:00` : text);
}

/** A whole number of an option within bounds. */
export function readCount(option: string, text: string, min: number, max: number): number {
  const count = /^\d{1,16}$/.test(text) ? Number(text) : Number.NaN;
  if (count >= min && count <= max) return count;
  throw new SensorError("USAGE", `${option}: ${JSON.stringify(text)} is no number from ${min} to ${max}`);
}
