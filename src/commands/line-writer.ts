/**
 * Writes log lines to a descriptor: those of one turn of the event loop go out in one system call.
 *
 * A reader that does not keep up (a full pipe) never holds the sensor up: lines wait in memory up to a bound, then
 * newer ones are dropped and a line says how many.
 */
import { writeSync } from "node:fs";

const MAX_WAITING = 8 * 1024 ** 2;
const RETRY = 20;

export type LineWriter = { write(line: string): void; flush(): void };

export function createLineWriter(descriptor: number): LineWriter {
  let waiting: Buffer[] = [];
  let bytes = 0;
  let dropped = 0;
  let scheduled = false;

  const later = (delay: number) => {
    if (scheduled) return;
    scheduled = true;
    const run = () => {
      scheduled = false;
      flush();
    };
    if (delay === 0) setImmediate(run);
    else setTimeout(run, delay);
  };

  const flush = () => {
    if (dropped > 0) {
      waiting.push(
        Buffer.from(
          `${JSON.stringify({ time: new Date().toISOString(), level: "warn", msg: "log lines were dropped: their reader does not keep up", dropped })}\n`,
        ),
      );
      dropped = 0;
    }
    let rest = Buffer.concat(waiting);
    waiting = [];
    bytes = 0;
    while (rest.length > 0) {
      try {
        rest = rest.subarray(writeSync(descriptor, rest));
      } catch (thrown) {
        const code = thrown instanceof Error && "code" in thrown ? thrown.code : "";
        // A reader that is gone for good (EPIPE) must not stop the sensor either.
        if (code === "EAGAIN") {
          waiting.push(rest);
          bytes = rest.length;
          later(RETRY);
        }
        return;
      }
    }
  };

  return {
    write: (line) => {
      if (bytes + line.length > MAX_WAITING) {
        dropped += 1;
        return;
      }
      const encoded = Buffer.from(line);
      waiting.push(encoded);
      bytes += encoded.length;
      later(0);
    },
    flush,
  };
}
