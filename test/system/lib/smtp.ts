/**
 * A small SMTP client for tests: sends mails over some reused connections and tells which of them were accepted.
 *
 * It is strict about nothing and quick about everything: what matters is which mails got their 250, also when the
 * server dies in the middle. A mail whose answer never came counts as not accepted.
 */
import { connect, type Socket } from "node:net";

export type TestMail = {
  /** The test's own name for it, given back in the result. */
  readonly key: string;
  readonly from: string;
  readonly to: readonly string[];
  /** Header and body with CRLF line ends. */
  readonly content: string | Uint8Array;
};

export type Sent = { readonly accepted: string[]; readonly refused: { key: string; answer: string }[] };

type Dialogue = {
  /** The next whole reply, its last line. Rejects when the connection ends. */
  reply(): Promise<string>;
  write(bytes: string | Uint8Array): void;
  end(): void;
};

function open(port: number, seconds: number): Dialogue {
  const socket: Socket = connect({ host: "127.0.0.1", port });
  socket.setNoDelay(true);
  socket.setTimeout(seconds * 1000, () => socket.destroy(new Error("no answer in time")));
  const lines: string[] = [];
  let rest = "";
  let failure: Error | undefined;
  let wake: (() => void) | undefined;
  const fail = (error: Error) => {
    failure ??= error;
    wake?.();
  };
  socket.on("data", (bytes) => {
    const parts = (rest + bytes.toString("latin1")).split("\r\n");
    rest = parts.pop() ?? "";
    lines.push(...parts.filter((line) => line[3] !== "-"));
    wake?.();
  });
  socket.on("error", fail);
  socket.on("close", () => fail(new Error("the connection was closed")));
  return {
    async reply() {
      for (;;) {
        const line = lines.shift();
        if (line !== undefined) return line;
        if (failure !== undefined) throw failure;
        await new Promise<void>((resolve) => {
          wake = resolve;
        });
      }
    },
    write: (bytes) => void socket.write(bytes),
    end: () => void socket.destroy(),
  };
}

/** A reply other than the one needed; the dialogue can go on with the next mail after RSET. */
class Refused extends Error {}

async function say(dialogue: Dialogue, line: string | Uint8Array, expected: string): Promise<void> {
  dialogue.write(line);
  const answer = await dialogue.reply();
  if (!answer.startsWith(expected)) throw new Refused(answer);
}

function stuffed(content: string | Uint8Array): Uint8Array {
  const text = Buffer.from(content).toString("latin1");
  return Buffer.from(`${text.replace(/^\./gm, "..").replace(/(?:\r\n)?$/, "\r\n")}.\r\n`, "latin1");
}

async function sendOne(dialogue: Dialogue, mail: TestMail): Promise<void> {
  await say(dialogue, `MAIL FROM:<${mail.from}>\r\n`, "250");
  for (const recipient of mail.to) await say(dialogue, `RCPT TO:<${recipient}>\r\n`, "25");
  await say(dialogue, "DATA\r\n", "354");
  await say(dialogue, stuffed(mail.content), "250");
}

/** The server's greeting, or undefined where it does not answer with one yet. */
export async function greeting(port: number, seconds = 5): Promise<string | undefined> {
  const dialogue = open(port, seconds);
  try {
    return await dialogue.reply();
  } catch {
    return undefined;
  } finally {
    dialogue.end();
  }
}

/** Sends each mail once. Connections that break are not opened again: their next mails are refused. */
export async function sendMails(
  port: number,
  mails: readonly TestMail[],
  options: { readonly connections?: number; readonly seconds?: number } = {},
): Promise<Sent> {
  const queue = [...mails];
  const sent: Sent = { accepted: [], refused: [] };
  const worker = async () => {
    const dialogue = open(port, options.seconds ?? 120);
    let broken: string | undefined;
    try {
      await dialogue.reply();
      await say(dialogue, "EHLO test\r\n", "250");
    } catch (thrown) {
      broken = String(thrown);
    }
    for (let mail = queue.shift(); mail !== undefined; mail = queue.shift()) {
      try {
        if (broken !== undefined) throw new Error(broken);
        await sendOne(dialogue, mail);
        sent.accepted.push(mail.key);
      } catch (thrown) {
        const answer = thrown instanceof Error ? thrown.message : String(thrown);
        sent.refused.push({ key: mail.key, answer });
        if (!(thrown instanceof Refused)) broken = answer;
        else await say(dialogue, "RSET\r\n", "250").catch((error) => (broken ??= String(error)));
      }
    }
    dialogue.end();
  };
  await Promise.all(Array.from({ length: options.connections ?? 1 }, worker));
  return sent;
}
