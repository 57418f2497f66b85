/**
 * Syslog over TCP and TLS (RFC 6587, RFC 5425), framed by octet counts or by line feeds.
 *
 * TCP syslog answers nothing, so a message counts as delivered when the peer's kernel has acknowledged its bytes
 * (unacknowledged.ts) and the connection then lived on for a grace period. A peer on this machine must have read
 * them, too. A peer that was seen to read slowly must live on much longer, or acknowledge more than its kernel can
 * hold unread. Where the kernel cannot be asked, a longer grace period begins when the bytes left this process. On a
 * cut, everything that does not count yet ends with a fault and is sent again by the caller: at least once, with
 * duplicates around a cut. What a peer read and lost is beyond what this protocol can tell.
 */
import type { Socket } from "node:net";
import { SensorError } from "../errors.ts";
import { closeStream, keepOne, openStream, type StreamSettings } from "./stream.ts";
import type { Delivery, Transport } from "./transport.ts";
import { type Endpoints, type Unacknowledged, unacknowledgedBytes } from "./unacknowledged.ts";

export type Framing = "octet-counting" | "lf";

export type TcpSettings = StreamSettings & {
  readonly framing?: Framing;
  /** Milliseconds a connection must live on after a peer on this machine read. */
  readonly grace?: number;
  /** After a peer elsewhere acknowledged. */
  readonly farGrace?: number;
  /** Where acknowledgements cannot be seen. */
  readonly blindGrace?: number;
  /** Where the peer was seen to read slowly. */
  readonly slowGrace?: number;
  /** Asks for the bytes not acknowledged; null where that cannot be known. */
  readonly unacknowledged?: (endpoints: Endpoints) => Promise<Unacknowledged | null>;
};

const GRACE_MS = 300;
const FAR_GRACE_MS = 1000;
const BLIND_GRACE_MS = 2000;
const SLOW_GRACE_MS = 20_000;
/** Bytes not acknowledged for this long: the peer reads slowly. */
const SLOW_AFTER_MS = 700;
/** More than a kernel holds unread: net.ipv4.tcp_rmem of Linux ends at 6 MB. */
const PEER_BUFFER = 8 * 1024 * 1024;
const CHECK_MS = 50;
/** Where the kernel's table is long, it is read less often. */
const MAX_CHECK_MS = 1000;
/** A peer that acknowledges nothing for this many times `timeout` is taken for dead. */
const STALL_FACTOR = 3;

type Batch = {
  readonly count: number;
  /** Bytes written to the connection up to the end of this batch. */
  readonly end: number;
  readonly writtenAt: number;
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
  /** When the kernel last knew; it is not asked for long where it never did. */
  knownAt: number;
  /** Whether the peer was seen to be on this machine. */
  near: boolean;
  /** When the peer was last seen to read slowly. */
  slowAt: number;
  checking: boolean;
  closed: boolean;
};

export function createTcpTransport(settings: TcpSettings): Transport {
  const grace = settings.grace ?? GRACE_MS;
  const farGrace = settings.farGrace ?? FAR_GRACE_MS;
  const blindGrace = settings.blindGrace ?? BLIND_GRACE_MS;
  const slowGrace = settings.slowGrace ?? SLOW_GRACE_MS;
  const unacknowledged = settings.unacknowledged ?? unacknowledgedBytes;
  const frame = settings.framing === "lf" ? frameByLines : frameByCounts;
  let closing = false;

  const fault = (message: string, cause?: unknown) => new SensorError("SIEM_UNREACHABLE", message, { cause });

  const cut = (connection: Connection, why: SensorError) => {
    if (connection.closed) return;
    connection.closed = true;
    kept.drop(connection);
    connection.socket.destroy();
    for (const batch of connection.batches.splice(0)) batch.settle({ delivered: 0, fault: why });
  };

  const open = async (): Promise<Connection> => {
    const socket = await openStream(settings);
    const { localAddress, localPort, remoteAddress, remotePort } = socket;
    const now = performance.now();
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
      progressAt: now,
      knownAt: Number.NEGATIVE_INFINITY,
      near: false,
      slowAt: Number.NEGATIVE_INFINITY,
      checking: false,
      closed: false,
    };
    socket.on("error", (error) => cut(connection, fault(`the connection broke: ${error.message}`, error)));
    socket.on("end", () => cut(connection, fault("the peer closed the connection")));
    socket.on("close", () => cut(connection, fault("the connection was closed")));
    // A syslog receiver says nothing; reading is how its end is noticed.
    socket.resume();
    return connection;
  };

  const kept = keepOne(open);

  /** Milliseconds for which what was acknowledged must stay without a cut. */
  const waitFor = (connection: Connection, queue: Unacknowledged | null, now: number): number => {
    if (queue === null) return blindGrace;
    // Much of it may lie unread where the peer is slow, also when this sensor stops.
    const slow = !queue.read && now - connection.slowAt < slowGrace;
    if (slow) return slowGrace;
    if (closing) return 0;
    return queue.read ? grace : farGrace;
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
      // One look may fail, or miss a row of the table, which changes while it is read: that proves nothing.
      if (queue !== null && (queue.read || !connection.near)) {
        connection.knownAt = now;
        connection.near = queue.read;
      } else if (now - connection.knownAt < blindGrace) continue;
      // With TLS the queue holds what was encrypted, which is longer: too little counts then, never too much.
      const acknowledged = Math.max(connection.acknowledged, inKernel - (queue?.bytes ?? 0));
      if (acknowledged > connection.acknowledged) connection.progressAt = now;
      connection.acknowledged = acknowledged;
      for (const batch of connection.batches) {
        if (batch.end > acknowledged) {
          if (now - batch.writtenAt > SLOW_AFTER_MS) connection.slowAt = now;
          break;
        }
        batch.acknowledgedAt ??= now;
      }
      const wait = waitFor(connection, queue, now);
      for (
        let first = connection.batches[0];
        first !== undefined &&
        first.acknowledgedAt !== null &&
        now - first.acknowledgedAt >=
          (acknowledged - first.end >= PEER_BUFFER ? Math.min(wait, grace) : wait);
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
      let to: Connection;
      try {
        to = await kept.get();
      } catch (thrown) {
        const message = thrown instanceof Error ? thrown.message : String(thrown);
        return { delivered: 0, fault: fault(message, thrown) };
      }
      if (to.closed) return { delivered: 0, fault: fault("the connection broke at once") };
      const bytes = frame(messages);
      const now = performance.now();
      if (to.batches.length === 0) to.progressAt = now;
      to.written += bytes.length;
      const settled = new Promise<Delivery>((resolve) => {
        to.batches.push({
          count: messages.length,
          end: to.written,
          writtenAt: now,
          acknowledgedAt: null,
          settle: resolve,
        });
      });
      to.socket.write(bytes);
      void check(to);
      return settled;
    },

    reach: kept.reach,

    async close() {
      closing = true;
      const last = await kept.last();
      if (last === null) return;
      const deadline = performance.now() + settings.timeout;
      while (!last.closed && last.batches.length > 0 && performance.now() < deadline) {
        await Bun.sleep(CHECK_MS);
      }
      if (!last.closed) await closeStream(last.socket);
      cut(last, fault("the sensor stops"));
    },
  };
}

/** RFC 6587 section 3.4.1. */
export function frameByCounts(messages: readonly Uint8Array[]): Buffer {
  return Buffer.concat(
    messages.flatMap((message) => [Buffer.from(`${message.byteLength} `, "latin1"), message]),
  );
}

/** RFC 6587 section 3.4.2. Messages hold no control character, so each line feed ends one. */
export function frameByLines(messages: readonly Uint8Array[]): Buffer {
  const end = Buffer.from("\n", "latin1");
  return Buffer.concat(messages.flatMap((message) => [message, end]));
}
