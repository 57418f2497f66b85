/**
 * The helper process: takes mails apart for the pool, one after the other, until its stdin ends.
 *
 * In come requests of helper-protocol.ts, out go answers. A mail that cannot be taken apart is an answer, too;
 * what takes the process down (a crash, a loop, memory) is the pool's to see. It has nothing to steal: no
 * environment, no open files but its two pipes, no network (sandbox.ts), low priority, and it dies with its parent.
 */
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
import { isolate } from "./sandbox.ts";
import { takeApart } from "./take-apart.ts";

/** Resolves when the pool closes stdin. */
export async function serveExtractions(): Promise<void> {
  const isolated = isolate();
  setPriority(constants.priority.PRIORITY_BELOW_NORMAL);
  const out = Bun.stdout.writer();
  const say = async (answer: HelperAnswer): Promise<void> => {
    out.write(frame(answer));
    await out.flush();
  };
  await say({ kind: "hello", hello: HELLO, isolated });
  const input = createInput(Bun.stdin.stream());
  for (;;) {
    const header = await input.read(4);
    if (header === null) return;
    const length = Buffer.from(header).readUInt32BE(0);
    const json = length <= MAX_FRAME ? await input.read(length) : null;
    if (json === null) return;
    const request = JSON.parse(new TextDecoder().decode(json)) as HelperRequest;
    const mail = await mailOf(request, input);
    if (mail === null) return;
    await say(await answer(request, mail));
  }
}

async function answer(request: HelperRequest, mail: () => Promise<Uint8Array>): Promise<HelperAnswer> {
  try {
    const raw = await mail();
    if (request.kind === "write") {
      const file = oneContentFile(request.path, request.sha256, request.following);
      await takeApart(raw, request.bounds, { sink: file.sink });
      return { kind: "written", found: file.found() };
    }
    const sink = request.contentsTo === null ? undefined : everyContentFile(request.contentsTo);
    return {
      kind: "extracted",
      extraction: await takeApart(raw, request.bounds, { sink, copiedTo: request.copiedTo }),
    };
  } catch (thrown) {
    const message = thrown instanceof Error ? thrown.message : String(thrown);
    return { kind: "failed", message: message.slice(0, 2000).toWellFormed() };
  }
}

/** Null where stdin ends before the mail does. A file is read when it is wanted, one byte more than is taken apart. */
async function mailOf(request: HelperRequest, input: Input): Promise<(() => Promise<Uint8Array>) | null> {
  const { mail, bounds } = request;
  if (mail.kind === "file")
    return () =>
      Bun.file(mail.path)
        .slice(0, bounds.max_mail_size + 1)
        .bytes();
  const bytes = await input.read(mail.size);
  return bytes === null ? null : async () => bytes;
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
