/**
 * The SIEM of the demo: a syslog receiver for one destination, TCP with octet counting.
 *
 * In: connections on 127.0.0.1, frames of RFC 6587 section 3.4.1 holding messages of RFC 5424. Out: each message
 * with its header taken apart. A peer that breaks the framing or the header is cut off and reported; the
 * size of a frame and the number of connections are bounded.
 */
import { createServer, type Socket } from "node:net";

/** A syslog message; "-" in a header field is null (RFC 5424 section 6). */
export type SyslogMessage = {
  readonly line: string;
  readonly priority: number;
  readonly time: string | null;
  readonly host: string | null;
  readonly app: string | null;
  readonly messageId: string | null;
  readonly text: string;
};

export type SyslogListener = { readonly port: number; close(): Promise<void> };

const MAX_FRAME = 4 * 1024 ** 2;
const MAX_CONNECTIONS = 8;

/** PRI VERSION SP TIMESTAMP SP HOSTNAME SP APP-NAME SP PROCID SP MSGID SP; the lengths are the RFC's. */
const HEADER = /^<(\d{1,3})>1 (\S{1,64}) ([!-~]{1,255}) ([!-~]{1,48}) ([!-~]{1,128}) ([!-~]{1,32}) (?=-|\[)/;

/** Takes one message apart, null where it is not RFC 5424. */
export function parseSyslog(line: string): SyslogMessage | null {
  const header = HEADER.exec(line);
  if (header === null) return null;
  const [whole, priority, time, host, app, , messageId] = header;
  const end = endOfStructuredData(line, whole.length);
  if (end === null) return null;
  if (end < line.length && line[end] !== " ") return null;
  const orNull = (value: string | undefined) => (value === undefined || value === "-" ? null : value);
  return {
    line,
    priority: Number(priority),
    time: orNull(time),
    host: orNull(host),
    app: orNull(app),
    messageId: orNull(messageId),
    text: line.slice(end + 1).replace(/^\ufeff/, ""),
  };
}

/** Index behind STRUCTURED-DATA (RFC 5424 section 6.3), which begins at `start`; null where it never ends. */
function endOfStructuredData(line: string, start: number): number | null {
  if (line[start] === "-") return start + 1;
  let at = start;
  while (line[at] === "[") {
    let quoted = false;
    for (at += 1; at < line.length; at += 1) {
      const char = line[at];
      if (quoted && char === "\\") at += 1;
      else if (char === '"') quoted = !quoted;
      else if (char === "]" && !quoted) break;
    }
    if (at >= line.length) return null;
    at += 1;
  }
  return at;
}

/**
 * Takes octet-counted frames out of a byte stream. `push` gives the frames that are complete now and throws
 * where the stream is no octet counting or a frame is larger than `maxFrame` bytes.
 */
export function createFrameReader(maxFrame: number): { push(chunk: Uint8Array): string[] } {
  let chunks: Uint8Array[] = [];
  let held = 0;
  let wanted: number | null = null;
  const decoder = new TextDecoder();

  function join(): Uint8Array {
    const [only] = chunks;
    if (chunks.length === 1 && only !== undefined) return only;
    const joined = Buffer.concat(chunks);
    chunks = [joined];
    return joined;
  }

  function drop(count: number): void {
    const rest = join().subarray(count);
    chunks = [rest];
    held = rest.length;
  }

  return {
    push(chunk) {
      const frames: string[] = [];
      chunks.push(chunk);
      held += chunk.length;
      for (;;) {
        if (wanted === null) {
          const start = join().subarray(0, 11);
          const space = start.indexOf(0x20);
          const digits = decoder.decode(space < 0 ? start : start.subarray(0, space));
          if (!/^([1-9]\d*)?$/.test(digits) || space === 0 || (space < 0 && start.length > 10)) {
            throw new Error(`no octet count where a frame should begin: ${JSON.stringify(digits)}`);
          }
          if (space < 0) return frames;
          wanted = Number(digits);
          if (wanted > maxFrame) throw new Error(`a frame of ${wanted} bytes, more than ${maxFrame}`);
          drop(space + 1);
        }
        if (held < wanted) return frames;
        frames.push(decoder.decode(join().subarray(0, wanted)));
        drop(wanted);
        wanted = null;
      }
    },
  };
}

/**
 * Listens on a port the system chooses. Calls `receive` for each message in the order of arrival, and `fault`, in
 * words, for each connection that was cut because it broke the protocol.
 */
export async function listenForSyslog(
  receive: (message: SyslogMessage) => void,
  fault: (why: string) => void,
): Promise<SyslogListener> {
  const open = new Set<Socket>();

  const server = createServer((socket) => {
    open.add(socket);
    const frames = createFrameReader(MAX_FRAME);
    const refuse = (why: string) => {
      fault(why);
      socket.destroy();
    };
    socket.on("data", (chunk: Buffer) => {
      try {
        for (const frame of frames.push(chunk)) {
          const message = parseSyslog(frame);
          if (message === null) refuse(`not RFC 5424: ${JSON.stringify(frame.slice(0, 80))}`);
          else receive(message);
        }
      } catch (thrown) {
        refuse(thrown instanceof Error ? thrown.message : String(thrown));
      }
    });
    // A reset by the peer is no breach of the protocol; what it had not sent is sent again.
    socket.on("error", () => socket.destroy());
    socket.on("close", () => open.delete(socket));
  });
  server.maxConnections = MAX_CONNECTIONS;

  await new Promise<void>((resolve, reject) => {
    server.once("error", reject);
    server.listen(0, "127.0.0.1", resolve);
  });
  const address = server.address();
  if (address === null || typeof address === "string") throw new Error("the syslog listener has no port");

  return {
    port: address.port,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        for (const socket of open) socket.destroy();
      }),
  };
}
