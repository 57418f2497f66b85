/**
 * Syslog over TCP with octet counting (RFC 6587 section 3.4.1).
 *
 * TCP syslog answers nothing, so a message counts as delivered when the peer's kernel has acknowledged its bytes
 * (unacknowledged.ts) and the connection then lived on for a grace period; where the kernel cannot be asked, when
 * the bytes left this process and a longer grace period passed. On a cut, everything that does not count yet ends
 * with a fault and is sent again by the caller: at least once, with duplicates around a cut. What a peer
 * acknowledged and lost long after is beyond what this protocol can tell.
 */
import { connect, type Socket } from "node:net";
import { SensorError } from "../errors.ts";
import type { Delivery, Transport } from "./transport.ts";
import { type Endpoints, unacknowledgedBytes } from "./unacknowledged.ts";

export type TcpSettings = {
  readonly host: string;
  readonly port: number;
  /** Milliseconds for connecting, and for closing with messages under way. */
  readonly timeout: number;
  /** Milliseconds a connection must live on after the peer acknowledged. */
  readonly grace?: number;
  /** The same where acknowledgements cannot be seen. */
  readonly blindGrace?: number;
  /** Asks for the bytes not acknowledged; null where that cannot be known. */
  readonly unacknowledged?: (endpoints: Endpoints) => Promise<number | null>;
};

const GRACE_MS = 300;
const BLIND_GRACE_MS = 1000;
const CHECK_MS = 50;
/** Where the kernel's table is long, it is read less often. */
const MAX_CHECK_MS = 1000;
const KEEP_ALIVE_MS = 15_000;
/** A peer that acknowledges nothing for this many times `timeout` is taken for dead. */
const STALL_FACTOR = 3;

type Batch = {
  readonly count: number;
  /** Bytes written to the connection up to the end of this batch. */
  readonly end: number;
  acknowledgedAt: number | null;
  readonly settle: (delivery: Delivery) => void;
};

type Connection = {
  readonly socket: Socket;
  readonly endpoints: Endpoints;
  readonly batches: Batch[];
  written: number;
  acknowledged: number;
  progressAt: number;
  checking: boolean;
  closed: boolean;
};

export function createTcpTransport(settings: TcpSettings): Transport {
  const grace = settings.grace ?? GRACE_MS;
  const blindGrace = settings.blindGrace ?? BLIND_GRACE_MS;
  const unacknowledged = settings.unacknowledged ?? unacknowledgedBytes;
  let opening: Promise<Connection> | null = null;
  let current: Connection | null = null;
  let closing = false;

  const fault = (message: string, cause?: unknown) => new SensorError("SIEM_UNREACHABLE", message, { cause });

  const cut = (connection: Connection, why: SensorError) => {
    if (connection.closed) return;
    connection.closed = true;
    if (current === connection) current = null;
    connection.socket.destroy();
    for (const batch of connection.batches.splice(0)) batch.settle({ delivered: 0, fault: why });
  };

  const open = async (): Promise<Connection> => {
    const socket = await connected(settings);
    const { localAddress, localPort, remoteAddress, remotePort } = socket;
    const connection: Connection = {
      socket,
      endpoints: {
        localAddress: localAddress ?? "",
        localPort: localPort ?? 0,
        remoteAddress: remoteAddress ?? "",
        remotePort: remotePort ?? 0,
      },
      batches: [],
      written: 0,
      acknowledged: 0,
      progressAt: performance.now(),
      checking: false,
      closed: false,
    };
    socket.on("error", (error) => cut(connection, fault(`the connection broke: ${error.message}`, error)));
    socket.on("end", () => cut(connection, fault("the peer closed the connection")));
    socket.on("close", () => cut(connection, fault("the connection was closed")));
    // A syslog receiver says nothing; reading is how its end is noticed.
    socket.resume();
    current = connection;
    return connection;
  };

  /** Looks what was acknowledged until no batch is open. */
  const check = async (connection: Connection) => {
    if (connection.checking) return;
    connection.checking = true;
    let cost = 0;
    while (!connection.closed && connection.batches.length > 0) {
      await Bun.sleep(Math.min(MAX_CHECK_MS, Math.max(CHECK_MS, cost * 4)));
      const asked = performance.now();
      // Before the question, not after: what is written in between must not count as acknowledged.
      const inKernel = connection.written - connection.socket.writableLength;
      const queue = await unacknowledged(connection.endpoints);
      if (connection.closed) break;
      const now = performance.now();
      cost = now - asked;
      const acknowledged = Math.max(connection.acknowledged, inKernel - (queue ?? 0));
      if (acknowledged > connection.acknowledged) connection.progressAt = now;
      connection.acknowledged = acknowledged;
      const wait = closing && queue !== null ? 0 : queue === null ? blindGrace : grace;
      for (const batch of connection.batches) {
        if (batch.end <= acknowledged) batch.acknowledgedAt ??= now;
      }
      for (
        let first = connection.batches[0];
        first !== undefined && first.acknowledgedAt !== null && now - first.acknowledgedAt >= wait;
        first = connection.batches[0]
      ) {
        connection.batches.shift();
        first.settle({ delivered: first.count, fault: null });
      }
      const waiting = connection.batches[0];
      if (
        waiting !== undefined &&
        waiting.acknowledgedAt === null &&
        now - connection.progressAt > STALL_FACTOR * settings.timeout
      ) {
        cut(connection, fault("the peer acknowledges nothing"));
      }
    }
    connection.checking = false;
  };

  return {
    async send(messages) {
      if (closing) return { delivered: 0, fault: fault("the transport is closed") };
      if (messages.length === 0) return { delivered: 0, fault: null };
      let connection: Connection;
      try {
        if (current !== null) connection = current;
        else {
          opening ??= open().finally(() => {
            opening = null;
          });
          connection = await opening;
        }
      } catch (thrown) {
        const message = thrown instanceof Error ? thrown.message : String(thrown);
        return { delivered: 0, fault: fault(message, thrown) };
      }
      if (connection.closed) return { delivered: 0, fault: fault("the connection broke at once") };
      const frame = Buffer.concat(
        messages.flatMap((message) => [Buffer.from(`${message.byteLength} `, "latin1"), message]),
      );
      if (connection.batches.length === 0) connection.progressAt = performance.now();
      connection.written += frame.length;
      const settled = new Promise<Delivery>((resolve) => {
        connection.batches.push({
          count: messages.length,
          end: connection.written,
          acknowledgedAt: null,
          settle: resolve,
        });
      });
      connection.socket.write(frame);
      void check(connection);
      return settled;
    },

    async close() {
      closing = true;
      const connection = current ?? (await opening?.catch(() => null)) ?? null;
      if (connection === null) return;
      const deadline = performance.now() + settings.timeout;
      while (!connection.closed && connection.batches.length > 0 && performance.now() < deadline) {
        await Bun.sleep(CHECK_MS);
      }
      if (!connection.closed) connection.socket.end();
      cut(connection, fault("the sensor stops"));
    },
  };
}

/** A connected socket, or an error within the time-out. */
function connected({ host, port, timeout }: TcpSettings): Promise<Socket> {
  return new Promise((resolve, reject) => {
    const socket = connect({
      host,
      port,
      noDelay: true,
      keepAlive: true,
      keepAliveInitialDelay: KEEP_ALIVE_MS,
    });
    const timer = setTimeout(() => {
      socket.destroy();
      reject(new Error(`no connection within ${timeout} ms`));
    }, timeout);
    socket.once("error", (error) => {
      clearTimeout(timer);
      reject(error);
    });
    socket.once("connect", () => {
      clearTimeout(timer);
      resolve(socket);
    });
  });
}
