/**
 * A helper that misbehaves, for the tests of the pool: `bun fake-helper.ts MODE`. It answers a mail with the
 * subject of its first line, except in the way the mode says.
 */
import { createByteQueue, frame, HELLO, type HelperRequest } from "../../../src/extract/helper-protocol.ts";

const mode = process.argv[2] ?? "";
const say = (bytes: Uint8Array): void => {
  process.stdout.write(bytes);
};

if (mode === "dies-at-once") process.exit(3);
if (mode === "wrong-hello") say(frame({ kind: "failed", message: "hello?" }));
else say(frame({ kind: "hello", hello: HELLO, isolated: mode !== "not-isolated" }));

/** What a harmful mail is answered with; the modes that answer nothing are not here. */
const HARM: Readonly<Record<string, Uint8Array>> = {
  garbage: Buffer.from("\0\0\0\x04nope"),
  "other-json": Buffer.from("\0\0\0\x02{}"),
  "too-much": Buffer.from("\xff\xff\xff\xff", "latin1"),
  "wrong-kind": frame({ kind: "written", found: true }),
  fails: frame({ kind: "failed", message: "no" }),
  "answers-twice": Buffer.concat([
    frame({ kind: "failed", message: "once" }),
    frame({ kind: "failed", message: "twice" }),
  ]),
};

function doHarm(): void {
  if (mode === "crashes") process.kill(process.pid, "SIGSEGV");
  if (mode === "hangs") for (;;);
  const kept: Uint8Array[] = [];
  while (mode === "grows") {
    kept.push(new Uint8Array(8 * 1024 * 1024).fill(1));
    Bun.sleepSync(5);
  }
  const bytes = HARM[mode];
  if (bytes !== undefined) say(bytes);
}

function answer(body: string): void {
  if (body.startsWith("harm")) {
    doHarm();
    return;
  }
  say(
    frame({
      kind: "extracted",
      extraction: {
        mail: { message_id: String(process.pid), subject: body, from: [], to: [], cc: [], date: null },
        envelope: null,
        attachments: [],
        urls: [],
        passwords: [],
        flags: [],
        complete: true,
      },
    }),
  );
}

const queue = createByteQueue();
let request: HelperRequest | null = null;
for await (const chunk of Bun.stdin.stream()) {
  queue.push(chunk);
  for (;;) {
    const length = request === null ? queue.frameLength() : null;
    if (length !== null && queue.length() >= 4 + length) {
      queue.take(4);
      request = JSON.parse(new TextDecoder().decode(queue.take(length)));
    }
    if (request?.mail.kind !== "inline" || queue.length() < request.mail.size) break;
    const body = new TextDecoder().decode(queue.take(request.mail.size));
    request = null;
    answer(body);
  }
}
