/**
 * Ports for servers of tests that cannot say which one they took, or that come back at the one they had.
 *
 * They lie below the ranges that Linux and macOS take for port 0 and for outgoing connections, and each is kept for the
 * life of the process that got it: nothing else takes one, neither before its server listens nor while it is down.
 */
import { createServer } from "node:net";

const LOWEST = 10_000;
const HIGHEST = 32_766;
const TRIES = 1000;

/** Listens on a port of 127.0.0.1; gives what ends it, or undefined where something else has the port. */
function listen(port: number): Promise<(() => Promise<void>) | undefined> {
  const server = createServer((socket) => socket.destroy());
  return new Promise((resolve, reject) => {
    server.once("error", (error) => {
      if ("code" in error && error.code === "EADDRINUSE") resolve(undefined);
      else reject(error);
    });
    server.listen(port, "127.0.0.1", () => {
      server.unref();
      resolve(() => new Promise((done) => void server.close(() => done())));
    });
  });
}

/** A port of 127.0.0.1 that nothing listens on and that no other test is given while this process lives. */
export async function freePort(): Promise<number> {
  for (let tries = 0; tries < TRIES; tries += 1) {
    // Even ports are given out; who listens on the odd one above has it.
    const port = LOWEST + 2 * Math.floor((Math.random() * (HIGHEST - LOWEST)) / 2);
    if ((await listen(port + 1)) === undefined) continue;
    const close = await listen(port);
    if (close === undefined) continue;
    await close();
    return port;
  }
  throw new Error(`no port from ${LOWEST} to ${HIGHEST} is free`);
}
