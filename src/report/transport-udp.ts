/**
 * Syslog over UDP (RFC 5426): one datagram a message.
 *
 * UDP answers nothing. A message counts as delivered when it was sent and no "refused" (ICMP port unreachable)
 * came back for a grace period; a refusal ends every open call with a fault, and the caller sends again. Sending
 * is paced, so that a receiver's buffer is not flooded. Loss on the way cannot be seen.
 */
import { createSocket, type Socket } from "node:dgram";
import { lookup } from "node:dns/promises";
import { SensorError } from "../errors.ts";
import type { Delivery, Transport } from "./transport.ts";

export type UdpSettings = {
  readonly host: string;
  readonly port: number;
  /** Milliseconds for finding the address of the host. */
  readonly timeout: number;
  /** Milliseconds within which a refusal must come back to be noticed. */
  readonly grace?: number;
};

const GRACE_MS = 200;
/** Datagrams sent in one go, and the pause after them: about 16,000 a second. */
const BURST = 32;
const PAUSE_MS = 2;

type Connection = {
  readonly socket: Socket;
  broken: SensorError | null;
  /** Calls whose messages left and that wait for a refusal or the end of the grace period. */
  readonly waiting: Set<() => void>;
};

export function createUdpTransport(settings: UdpSettings): Transport {
  const grace = settings.grace ?? GRACE_MS;
  let current: Connection | null = null;
  let queue: Promise<unknown> = Promise.resolve();
  let closing = false;
  /** Counts faults: a call made before one must not send after it, or the order would be lost. */
  let faults = 0;

  const fault = (message: string, cause?: unknown) => new SensorError("SIEM_UNREACHABLE", message, { cause });

  const discard = (connection: Connection, why: SensorError) => {
    if (connection.broken !== null) return;
    connection.broken = why;
    faults += 1;
    if (current === connection) current = null;
    connection.socket.close();
    for (const wake of connection.waiting) wake();
  };

  const open = async (): Promise<Connection> => {
    const { address, family } = await withTimeout(lookup(settings.host), settings.timeout);
    const socket = createSocket(family === 6 ? "udp6" : "udp4");
    await new Promise<void>((resolve, reject) => {
      socket.once("error", reject);
      // A connected socket is told of refusals.
      socket.connect(settings.port, address, (error?: unknown) => {
        socket.off("error", reject);
        if (error === undefined || error === null) resolve();
        else reject(error);
      });
    }).catch((thrown: unknown) => {
      socket.close();
      throw thrown;
    });
    const connection: Connection = { socket, broken: null, waiting: new Set() };
    socket.on("error", (error) => discard(connection, fault(`not delivered: ${error.message}`, error)));
    current = connection;
    return connection;
  };

  const sendOne = (connection: Connection, message: Uint8Array) =>
    new Promise<void>((resolve, reject) => {
      connection.socket.send(message, (error) => (error === null ? resolve() : reject(error)));
    });

  const pause = (connection: Connection) =>
    new Promise<void>((resolve) => {
      const done = () => {
        clearTimeout(timer);
        connection.waiting.delete(done);
        resolve();
      };
      const timer = setTimeout(done, grace);
      connection.waiting.add(done);
    });

  const opened = async (): Promise<Connection> => {
    if (current !== null) return current;
    try {
      return await open();
    } catch (thrown) {
      faults += 1;
      throw fault(thrown instanceof Error ? thrown.message : String(thrown), thrown);
    }
  };

  /** Sends in order; resolves when the last datagram left, with the connection it left by. */
  const transmit = async (messages: readonly Uint8Array[], calledAfter: number): Promise<Connection> => {
    if (calledAfter !== faults) throw fault("not sent: what was before it failed");
    const connection = await opened();
    for (const [index, message] of messages.entries()) {
      if (connection.broken !== null) throw connection.broken;
      try {
        await sendOne(connection, message);
      } catch (thrown) {
        const why = fault(`not sent: ${thrown instanceof Error ? thrown.message : String(thrown)}`, thrown);
        discard(connection, why);
        throw why;
      }
      if ((index + 1) % BURST === 0) await Bun.sleep(PAUSE_MS);
    }
    return connection;
  };

  return {
    async send(messages): Promise<Delivery> {
      if (closing) return { delivered: 0, fault: fault("the transport is closed") };
      const calledAfter = faults;
      const turn = queue.then(() => transmit(messages, calledAfter));
      queue = turn.catch(() => undefined);
      try {
        const connection = await turn;
        if (connection.broken === null) await pause(connection);
        return connection.broken === null
          ? { delivered: messages.length, fault: null }
          : { delivered: 0, fault: connection.broken };
      } catch (thrown) {
        return {
          delivered: 0,
          fault: thrown instanceof SensorError ? thrown : fault(String(thrown), thrown),
        };
      }
    },

    async close() {
      closing = true;
      await queue;
      const connection = current;
      if (connection === null) return;
      await pause(connection);
      discard(connection, fault("the sensor stops"));
    },
  };
}

async function withTimeout<T>(work: Promise<T>, milliseconds: number): Promise<T> {
  let timer: Timer | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`no address within ${milliseconds} ms`)), milliseconds);
  });
  try {
    return await Promise.race([work, late]);
  } finally {
    clearTimeout(timer);
  }
}
