/**
 * The helper process: takes mails apart for the pool, one after the other, until its stdin ends.
 *
 * In come requests of helper-protocol.ts, out go answers. A mail that cannot be taken apart is an answer, too;
 * what takes the process down (a crash, a loop, memory) is the pool's to see. It has nothing to steal: no
 * environment, no open files but its two pipes, low priority, and it dies with its parent.
 */
import { dlopen } from "bun:ffi";
import { constants, setPriority } from "node:os";
import { everyContentFile, oneContentFile } from "./content-files.ts";
import {
  createByteQueue,
  frame,
  HELLO,
  type HelperAnswer,
  type HelperRequest,
  MAX_FRAME,
} from "./helper-protocol.ts";
import { chunksSource, fileSource, type MailSource } from "./mail-source.ts";
import { takeApart } from "./take-apart.ts";

/** Resolves when the pool closes stdin. */
export async function serveExtractions(): Promise<void> {
  dieWithParent();
  setPriority(constants.priority.PRIORITY_BELOW_NORMAL);
  const out = Bun.stdout.writer();
  const say = async (answer: HelperAnswer): Promise<void> => {
    out.write(frame(answer));
    await out.flush();
  };
  await say({ kind: "hello", hello: HELLO });
  const input = createInput(Bun.stdin.stream());
  for (;;) {
    const header = await input.read(4);
    if (header === null) return;
    const length = Buffer.from(header).readUInt32BE(0);
    const json = length <= MAX_FRAME ? await input.read(length) : null;
    if (json === null) return;
    const request = JSON.parse(new TextDecoder().decode(json)) as HelperRequest;
    const source = await mailOf(request, input);
    if (source === null) return;
    await say(await answer(request, source));
  }
}

async function answer(request: HelperRequest, source: MailSource): Promise<HelperAnswer> {
  try {
    if (request.kind === "write") {
      const file = oneContentFile(request.path, request.sha256);
      try {
        await takeApart(source, request.bounds, file.sink);
      } finally {
        file.close();
      }
      return { kind: "written", found: file.found() };
    }
    if (request.contentsTo === null) {
      return { kind: "extracted", extraction: await takeApart(source, request.bounds) };
    }
    const files = everyContentFile(request.contentsTo);
    try {
      return { kind: "extracted", extraction: await takeApart(source, request.bounds, files.sink) };
    } finally {
      files.close();
    }
  } catch (thrown) {
    const message = thrown instanceof Error ? thrown.message : String(thrown);
    return { kind: "failed", message: message.slice(0, 2000).toWellFormed() };
  }
}

async function mailOf(request: HelperRequest, input: Input): Promise<MailSource | null> {
  if (request.mail.kind === "file") return fileSource(request.mail.path);
  const bytes = await input.read(request.mail.size);
  return bytes === null ? null : chunksSource([bytes]);
}

/** `read` gives null where the stream ends before. */
type Input = { readonly read: (count: number) => Promise<Uint8Array | null> };

function createInput(stream: ReadableStream<Uint8Array>): Input {
  const reader = stream.getReader();
  const queue = createByteQueue();
  return {
    async read(count) {
      while (queue.length() < count) {
        const { value, done } = await reader.read();
        if (done) return null;
        queue.push(value);
      }
      return queue.take(count);
    },
  };
}

const PR_SET_PDEATHSIG = 1;
const SIGKILL = 9n;

/** Has the kernel kill this process when its parent dies, even in the middle of a loop (Linux, prctl(2)). */
function dieWithParent(): void {
  const { symbols, close } = dlopen("libc.so.6", { prctl: { args: ["int", "u64"], returns: "int" } });
  symbols.prctl(PR_SET_PDEATHSIG, SIGKILL);
  close();
}
