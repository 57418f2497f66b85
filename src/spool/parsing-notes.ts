/**
 * Notes which mails are in a parser at this moment, so that after a crash of the whole sensor the next start knows
 * whom to suspect. An empty file a mail: it outlives the process, not a power cut, and no mail cuts the power; so
 * it need not be flushed and costs microseconds.
 */
import { closeSync, mkdirSync, openSync, readdirSync, unlinkSync } from "node:fs";
import { join } from "node:path";
import { ignoreMissing } from "../errors.ts";
import { spoolFault } from "./faults.ts";

export type ParsingNotes = {
  /** Throws SPOOL_FULL or SPOOL_BROKEN. */
  note(id: string): void;
  erase(id: string): void;
  /** Ids of the notes that are there. */
  left(): readonly string[];
};

/** Notes in `folder`, which is made where it is missing. */
export function createParsingNotes(folder: string): ParsingNotes {
  try {
    mkdirSync(folder, { recursive: true, mode: 0o700 });
  } catch (thrown) {
    throw spoolFault(thrown, `make ${folder}`);
  }
  const noted = new Set(readdirSync(folder));
  return {
    note: (id) => {
      try {
        closeSync(openSync(join(folder, id), "w", 0o600));
      } catch (thrown) {
        throw spoolFault(thrown, "note a mail that is parsed");
      }
      noted.add(id);
    },
    erase: (id) => {
      if (!noted.delete(id)) return;
      try {
        unlinkSync(join(folder, id));
      } catch (thrown) {
        ignoreMissing(thrown);
      }
    },
    left: () => [...noted],
  };
}
