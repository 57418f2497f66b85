/**
 * The state of a simulator on disk: one JSON line for each thing that came to be, appended before it is answered.
 *
 * A killed process loses nothing that it answered; a line that was cut by the kill is dropped. A power cut may
 * lose the last lines: nothing is flushed to the disk. Throws SensorError CONFIG_INVALID where the file holds
 * something else.
 */
import { closeSync, existsSync, openSync, readFileSync, statSync, truncateSync, writeSync } from "node:fs";
import { join } from "node:path";
import { SensorError } from "../../errors.ts";
import type { StateRecord } from "./records.ts";

const HEADER = JSON.stringify({ email_sensor_simulator_state: 1 });

export type Journal = {
  /** What an earlier process wrote, in its order. */
  readonly records: readonly StateRecord[];
  append(records: readonly StateRecord[]): void;
  close(): void;
};

/** Opens the state in a file, or in `simulator-state.jsonl` of a folder; makes the file where there is none. */
export function openJournal(path: string): Journal {
  const file = existsSync(path) && statSync(path).isDirectory() ? join(path, "simulator-state.jsonl") : path;
  const wrong = (what: string, cause?: unknown): SensorError =>
    new SensorError("CONFIG_INVALID", `the state of the simulator in ${file} ${what}`, { cause });
  let text: string;
  try {
    text = existsSync(file) ? readFileSync(file, "utf8") : "";
  } catch (cause) {
    throw wrong("cannot be read", cause);
  }
  const whole = text.slice(0, text.lastIndexOf("\n") + 1);
  const [header, ...lines] = whole.split("\n").slice(0, -1);
  if (text !== "" && header !== HEADER) throw wrong("is not one that this program wrote");
  let records: readonly StateRecord[];
  try {
    records = lines.map((line) => JSON.parse(line) as StateRecord);
  } catch (cause) {
    throw wrong("is damaged", cause);
  }
  let handle: number;
  try {
    if (whole.length < text.length) truncateSync(file, Buffer.byteLength(whole));
    handle = openSync(file, "a", 0o600);
    if (header === undefined) writeSync(handle, `${HEADER}\n`);
  } catch (cause) {
    throw wrong("cannot be written", cause);
  }
  return {
    records,
    append: (added) => {
      if (added.length > 0) writeSync(handle, added.map((record) => `${JSON.stringify(record)}\n`).join(""));
    },
    close: () => closeSync(handle),
  };
}
