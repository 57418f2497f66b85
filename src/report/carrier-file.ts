/**
 * The file carrier: events become lines of a file, flushed to disk before they count as delivered.
 *
 * The file is appended to and rotated by size and age: FILE becomes FILE.1, FILE.1 becomes FILE.2, and so on. Where
 * somebody else moved or removed it (logrotate) it is made anew. What a fault or a crash left of a line is cut off
 * before the next one, and those events are written again: at least once, in order, whole lines. A full disk is a
 * fault of the destination: its events wait.
 */
import { type FileHandle, open, rename, stat, unlink } from "node:fs/promises";
import { ignoreMissing, SensorError } from "../errors.ts";
import type { Carrier } from "./delivery.ts";
import type { SensorEvent } from "./event.ts";
import type { Delivery } from "./transport.ts";

export type FileSettings = {
  readonly path: string;
  /** Bytes after which the next line goes into a new file. */
  readonly maxSize: number;
  /** Milliseconds after its first line after which a file is closed; absent: never. */
  readonly maxAge?: number | undefined;
  /** Rotated files to keep. */
  readonly keep: number;
  readonly now?: () => number;
};

const MAX_OPEN_BYTES = 8 * 1024 * 1024;
/** The search for the end of the last whole line goes back in steps of this. */
const TAIL_STEP = 64 * 1024;

type Opened = { readonly file: FileHandle; readonly inode: number; readonly since: number; size: number };

/** `linesOf` gives the texts of an event, without line breaks; it never throws. */
export function createFileCarrier(
  settings: FileSettings,
  linesOf: (event: SensorEvent) => readonly string[],
): Carrier {
  const now = settings.now ?? Date.now;
  let opened: Opened | null = null;
  let queue: Promise<unknown> = Promise.resolve();
  let openBytes = 0;
  /** Counts faults: a call made before one must not write after it, or the order would be lost. */
  let faults = 0;

  const close = async () => {
    const old = opened;
    opened = null;
    await old?.file.close();
  };

  const current = async (): Promise<Opened> => {
    if (opened !== null) {
      const found = await stat(settings.path).catch(() => null);
      if (found?.ino === opened.inode) {
        // Somebody may have emptied it (copytruncate).
        if (found.size < opened.size) opened.size = found.size;
        return opened;
      }
      await close();
    }
    const file = await open(settings.path, "a+", 0o640);
    try {
      const found = await file.stat();
      if (!found.isFile()) throw new Error("it is no plain file");
      const size = await wholeLines(file, found.size);
      if (size < found.size) await file.truncate(size);
      const born = found.birthtimeMs > 0 ? found.birthtimeMs : found.ctimeMs;
      opened = { file, inode: found.ino, since: size === 0 ? now() : born, size };
      return opened;
    } catch (thrown) {
      await file.close();
      throw thrown;
    }
  };

  const rotate = async () => {
    await close();
    const name = (n: number) => (n === 0 ? settings.path : `${settings.path}.${n}`);
    if (settings.keep === 0) await unlink(settings.path);
    for (let n = settings.keep - 1; n >= 0; n -= 1) await rename(name(n), name(n + 1)).catch(ignoreMissing);
  };

  const due = ({ size, since }: Opened, more: number): boolean =>
    size > 0 &&
    (size + more > settings.maxSize || (settings.maxAge !== undefined && now() - since >= settings.maxAge));

  const append = async (bytes: Buffer, calledAfter: number) => {
    if (calledAfter !== faults) throw new Error("what was before it failed");
    try {
      let target = await current();
      if (due(target, bytes.length)) {
        await rotate();
        target = await current();
      }
      const before = target.size;
      try {
        await target.file.appendFile(bytes);
        await target.file.datasync();
        target.size = before + bytes.length;
      } catch (thrown) {
        await target.file.truncate(before).catch(() => close());
        throw thrown;
      }
    } catch (thrown) {
      faults += 1;
      throw thrown;
    }
  };

  return {
    carry(events): Promise<Delivery> {
      const bytes = Buffer.from(
        events.flatMap((event) => linesOf(event).map((line) => `${line}\n`)).join(""),
      );
      const calledAfter = faults;
      openBytes += bytes.length;
      const turn = queue.then(() => append(bytes, calledAfter));
      queue = turn.catch(() => undefined);
      return turn
        .then(
          (): Delivery => ({ delivered: events.length, fault: null }),
          (thrown: unknown): Delivery => ({
            delivered: 0,
            fault: new SensorError(
              "SIEM_UNREACHABLE",
              `the file cannot be written: ${thrown instanceof Error ? thrown.message : String(thrown)}`,
              { cause: thrown },
            ),
          }),
        )
        .finally(() => {
          openBytes -= bytes.length;
        });
    },
    full: () => openBytes >= MAX_OPEN_BYTES,
    async close() {
      await queue;
      await close();
    },
  };
}

/** Bytes up to the end of the last whole line. */
async function wholeLines(file: FileHandle, size: number): Promise<number> {
  const step = Buffer.alloc(TAIL_STEP);
  for (let end = size; end > 0; ) {
    const start = Math.max(0, end - TAIL_STEP);
    const { bytesRead } = await file.read(step, 0, end - start, start);
    const at = step.subarray(0, bytesRead).lastIndexOf(10);
    if (at !== -1) return start + at + 1;
    end = start;
  }
  return 0;
}
