/**
 * Mails named on the command line: files, mailboxes, stdin.
 *
 * What cannot be read stands in its place as the fault that says why, so that the others go on.
 */
import { createReadStream } from "node:fs";
import { open, stat } from "node:fs/promises";
import { resolve } from "node:path";
import { asSensorError, fileFault, SensorError } from "../../errors.ts";
import type { RawMail } from "../../intake/mail.ts";
import { formatSize } from "../../units.ts";
import { mailsOfMbox, startsLikeMbox } from "./mbox.ts";

/** One mail of the command line; `message` is its number in an mbox. */
export type Item = {
  readonly file: string;
  readonly message: number | null;
  readonly raw: RawMail | SensorError;
};
/** Bytes of stdin, a pipe or an mbox: they are held in memory. */
const MAX_HELD = 1024 ** 3;
/** The mails of all files, in their order. */
export async function* itemsOf(files: readonly string[]): AsyncGenerator<Item> {
  for (const file of files) {
    try {
      yield* mailsOf(file);
    } catch (thrown) {
      const reason = fileFault(thrown);
      const fault = reason === null ? asSensorError(thrown) : new SensorError("EXTRACT_FAILED", reason);
      yield { file, message: null, raw: fault };
    }
  }
}

async function* mailsOf(file: string): AsyncGenerator<Item> {
  const path = resolve(file);
  const regular = file !== "-" && (await stat(path)).isFile();
  const held = regular ? null : await readAll(file === "-" ? Bun.stdin.stream() : createReadStream(path));
  const head = held === null ? await readHead(path) : held.subarray(0, 512);
  if (!startsLikeMbox(head) || /\.eml$/i.test(file)) {
    const raw: RawMail = held === null ? { kind: "file", path } : { kind: "inline", bytes: held };
    yield { file, message: null, raw };
    return;
  }
  let message = 0;
  for (const bytes of mailsOfMbox(held ?? (await readAll(createReadStream(path))))) {
    message++;
    yield { file, message, raw: { kind: "inline", bytes } };
  }
}

async function readHead(path: string): Promise<Buffer> {
  const file = await open(path);
  try {
    const { buffer, bytesRead } = await file.read(Buffer.alloc(512), 0, 512, 0);
    return buffer.subarray(0, bytesRead);
  } finally {
    await file.close();
  }
}

async function readAll(stream: AsyncIterable<Uint8Array>): Promise<Buffer> {
  const chunks: Uint8Array[] = [];
  let size = 0;
  for await (const chunk of stream) {
    size += chunk.length;
    if (size > MAX_HELD) throw new SensorError("EXTRACT_FAILED", `more than ${formatSize(MAX_HELD)}`);
    chunks.push(chunk);
  }
  return Buffer.concat(chunks, size);
}

/** Results in the order of the inputs, with at most `ahead` of them in work. */
export async function* inOrder<In, Out>(
  inputs: AsyncIterable<In>,
  ahead: number,
  work: (input: In) => Promise<Out>,
): AsyncGenerator<Out> {
  const running: Promise<Out>[] = [];
  for await (const input of inputs) {
    running.push(work(input));
    const first = running.length >= ahead ? running.shift() : undefined;
    if (first !== undefined) yield await first;
  }
  for (const next of running) yield await next;
}
