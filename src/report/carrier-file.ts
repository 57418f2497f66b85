/**
 * The file carrier: events become lines of a file, flushed to disk before they count as delivered, as is its name.
 *
 * The file is appended to and rotated by size and age: FILE becomes FILE.1, FILE.1 becomes FILE.2, and so on. Where
 * somebody else moved or removed it (logrotate) it is made anew. What a fault or a crash left of a line is cut off
 * before the next one, and those events are written again: at least once, in order, whole lines. An end without line
 * break that does not look like these lines is nobody's to cut: it gets its line break. A full disk is a fault of the
 * destination: its events wait.
 */
import { type FileHandle, open, realpath, rename, stat, unlink } from "node:fs/promises";
import { dirname } from "node:path";
import { ignoreMissing, SensorError } from "../errors.ts";
import type { Carrier } from "./delivery.ts";
import type { SensorEvent } from "./event.ts";
import { type Delivery, deliveryOfEvents } from "./transport.ts";

export type FileSettings = {
  readonly path: string;
  /** Bytes that a file of more than one line never exceeds. */
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
/** Bytes by which the beginning of a line is known. Those of the same format share them. */
const HEAD_BYTES = 16;

type Opened = {
  readonly file: FileHandle;
  readonly device: number;
  readonly inode: number;
  readonly since: number;
  size: number;
  /** What was found behind the last line break: where, and how it begins. */
  tail: { readonly at: number; readonly head: Buffer } | null;
};

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
  let closing = false;

  const close = async () => {
    const old = opened;
    opened = null;
    await old?.file.close();
  };

  const current = async (): Promise<Opened> => {
    if (opened !== null) {
      const found = await stat(settings.path).catch(() => null);
      if (found?.ino === opened.inode && found.dev === opened.device) {
        // Somebody may have emptied it (copytruncate).
        if (found.size < opened.size) Object.assign(opened, { size: found.size, tail: null });
        return opened;
      }
      await close();
    }
    const file = await open(settings.path, "a+", 0o640);
    try {
      const found = await file.stat();
      if (!found.isFile()) throw new Error("it is no plain file");
      // A new file, or one of which nobody knows whether its name is on disk.
      if (found.size === 0) await flushFolder(settings.path);
      const at = await wholeLines(file, found.size);
      const born = found.birthtimeMs > 0 ? found.birthtimeMs : found.ctimeMs;
      opened = {
        file,
        device: found.dev,
        inode: found.ino,
        since: found.size === 0 ? now() : born,
        size: found.size,
        tail: at === found.size ? null : { at, head: await bytesAt(file, at) },
      };
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
    // Those of a time when more were kept.
    for (let n = settings.keep + 1; await removed(name(n)); n += 1);
  };

  const due = ({ size, since }: Opened, more: number): boolean =>
    size > 0 &&
    (size + more > settings.maxSize || (settings.maxAge !== undefined && now() - since >= settings.maxAge));

  /** Ends or cuts off what was found behind the last line break. */
  const finishTail = async (target: Opened, lines: readonly Buffer[]) => {
    if (target.tail === null) return;
    const { at, head } = target.tail;
    if (lines.some((line) => line.subarray(0, head.length).equals(head))) {
      await target.file.truncate(at);
      target.size = at;
    } else {
      await target.file.appendFile("\n");
      target.size += 1;
    }
    target.tail = null;
  };

  /** Appends the lines that fit into the file as it is, at least one; resolves to how many. */
  const appendSome = async (lines: readonly Buffer[]): Promise<number> => {
    let target = await current();
    await finishTail(target, lines);
    if (due(target, lines[0]?.length ?? 0)) {
      await rotate();
      target = await current();
    }
    const before = target.size;
    let size = before;
    const fitting = lines.findIndex((line, index) => {
      size += line.length;
      return index > 0 && size > settings.maxSize;
    });
    const bytes = Buffer.concat(fitting === -1 ? lines : lines.slice(0, fitting));
    try {
      await target.file.appendFile(bytes);
      await target.file.datasync();
      target.size = before + bytes.length;
    } catch (thrown) {
      await target.file.truncate(before).catch(() => close());
      throw thrown;
    }
    return fitting === -1 ? lines.length : fitting;
  };

  /** Appends all lines; resolves to how many are on disk, and what kept the others from it. */
  const append = async (lines: readonly Buffer[], calledAfter: number): Promise<Delivery> => {
    let written = 0;
    try {
      if (calledAfter !== faults) throw new Error("what was before it failed");
      while (written < lines.length) written += await appendSome(lines.slice(written));
      return { delivered: written, fault: null };
    } catch (thrown) {
      if (calledAfter === faults) faults += 1;
      const reason = thrown instanceof Error ? thrown.message : String(thrown);
      const message = `the file cannot be written: ${reason}`;
      return { delivered: written, fault: new SensorError("SIEM_UNREACHABLE", message, { cause: thrown }) };
    }
  };

  return {
    carry(events): Promise<Delivery> {
      // The file would be opened anew, and nobody would close it.
      if (closing) {
        const fault = new SensorError("SIEM_UNREACHABLE", "the file is closed");
        return Promise.resolve({ delivered: 0, fault });
      }
      const perEvent = events.map((event) => linesOf(event).map((line) => Buffer.from(`${line}\n`)));
      const lines = perEvent.flat();
      const size = lines.reduce((sum, { length }) => sum + length, 0);
      const calledAfter = faults;
      openBytes += size;
      const turn = queue.then(() => append(lines, calledAfter));
      queue = turn;
      return turn
        .then((delivery) => deliveryOfEvents(perEvent, delivery))
        .finally(() => {
          openBytes -= size;
        });
    },
    full: () => openBytes >= MAX_OPEN_BYTES,
    async close() {
      closing = true;
      await queue;
      await close();
    },
  };
}

/** Without this a power cut may take a new file back, with all that was flushed into it. */
async function flushFolder(path: string): Promise<void> {
  // It may have been moved away already.
  const real = await realpath(path).catch((thrown: unknown) => {
    ignoreMissing(thrown);
    return path;
  });
  const folder = await open(dirname(real), "r");
  try {
    await folder.sync();
  } catch (thrown) {
    // Not every file system has a way to do it.
    if (!(thrown instanceof Error && "code" in thrown && thrown.code === "EINVAL")) throw thrown;
  } finally {
    await folder.close();
  }
}

async function removed(path: string): Promise<boolean> {
  try {
    await unlink(path);
    return true;
  } catch (thrown) {
    ignoreMissing(thrown);
    return false;
  }
}

/** The first bytes from `at` on. */
async function bytesAt(file: FileHandle, at: number): Promise<Buffer> {
  const head = Buffer.alloc(HEAD_BYTES);
  const { bytesRead } = await file.read(head, 0, HEAD_BYTES, at);
  return head.subarray(0, bytesRead);
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
