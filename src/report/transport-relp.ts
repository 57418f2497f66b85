/**
 * Syslog over RELP, the Reliable Event Logging Protocol of rsyslog (librelp, doc/relp.html), plain or over TLS.
 *
 * Each message is a command with a transaction number which the receiver answers when it has taken the message
 * over; only that counts as delivered. At most WINDOW commands are unanswered at a time. On a cut or an answer that is
 * no RELP, what is unanswered ends with a fault and is sent again by the caller: at least once, in order. What comes
 * from the receiver is bounded.
 *
 * A message that the receiver refuses while it takes others is sent again alone, a few times, and then given up; so
 * it may come late, but it holds up no other and makes none come twice. Where the receiver takes no other, that is a
 * fault like a cut.
 */
import type { Socket } from "node:net";
import { SensorError } from "../errors.ts";
import { escapeControls } from "../text.ts";
import { closeStream, GOODBYE_MS, keepOne, openStream, type StreamSettings, within } from "./stream.ts";
import type { Delivery, Refusal, Transport } from "./transport.ts";

/** Unanswered commands. */
const WINDOW = 1024;
/** Frames written in one go. */
const WRITE_FRAMES = 256;
/** After this number the next is 1. */
const MAX_TXNR = 999_999_999;
const MAX_HEADER = 64;
const MAX_ANSWER = 64 * 1024;
/** A receiver that answers nothing for this many times `timeout` is taken for dead. */
const STALL_FACTOR = 3;
/** How often a message is sent that is refused while others are taken. */
const TRIES = 5;
/** The pause before it is sent again, doubled each time. */
const RETRY_MS = 250;
/** Refused messages on a connection that wait to be sent again. */
const MAX_DOUBTED = 100;

type Call = {
  readonly messages: readonly Uint8Array[];
  /** Answered, whatever their order. */
  readonly answered: boolean[];
  left: number;
  /** Given up, and among those answered. */
  readonly refused: Refusal[];
  readonly settle: (delivery: Delivery) => void;
};

/** A message on its way. */
type Sending = {
  readonly call: Call;
  readonly index: number;
  refusals: number;
  /** What the connection had taken when this was refused first. */
  takenBefore: number;
};

type Connection = {
  readonly socket: Socket;
  readonly parser: RelpParser;
  txnr: number;
  /** By transaction number, in the order they were sent. */
  readonly unanswered: Map<number, Sending | { readonly done: () => void }>;
  readonly waiting: Sending[];
  /** Refused, and to be sent again after a pause. */
  readonly doubted: Set<Sending>;
  /** Messages the receiver has taken. */
  taken: number;
  /** Open calls in their order. */
  readonly calls: Call[];
  progressAt: number;
  readonly watch: Timer;
  closed: boolean;
};

export type RelpAnswer = { readonly txnr: number; readonly command: string; readonly data: string };
export type RelpParser = (bytes: Uint8Array) => readonly RelpAnswer[];

/** One frame: TXNR SP COMMAND SP DATALEN [SP DATA] LF. */
export function relpFrame(txnr: number, command: string, data: Uint8Array): Buffer {
  return data.byteLength === 0
    ? Buffer.from(`${txnr} ${command} 0\n`, "latin1")
    : Buffer.concat([
        Buffer.from(`${txnr} ${command} ${data.byteLength} `, "latin1"),
        data,
        Buffer.from("\n", "latin1"),
      ]);
}

/** Takes the bytes of a connection as they come and gives whole frames. Throws where they are no RELP. */
export function relpParser(): RelpParser {
  let rest: Buffer = Buffer.alloc(0);
  return (bytes) => {
    rest = Buffer.concat([rest, bytes]);
    const answers: RelpAnswer[] = [];
    for (;;) {
      const head = /^(\d{1,9}) ([A-Za-z]{1,32}) (\d{1,9})( |\n)/.exec(rest.toString("latin1", 0, MAX_HEADER));
      if (head === null) {
        if (rest.length >= MAX_HEADER) throw new Error("the receiver does not speak RELP");
        return answers;
      }
      const [whole, txnr = "", command = "", size = "", separator] = head;
      const length = Number(size);
      if (length > MAX_ANSWER) throw new Error("an answer of the receiver is too long");
      if (separator === "\n" && length > 0) throw new Error("the receiver does not speak RELP");
      // Some receivers write the space also before no data.
      const end = whole.length + (separator === "\n" ? 0 : length + 1);
      if (rest.length < end) return answers;
      if (rest[end - 1] !== 10) throw new Error("the receiver does not speak RELP");
      const data = separator === "\n" ? "" : rest.toString("utf8", whole.length, whole.length + length);
      answers.push({ txnr: Number(txnr), command, data });
      rest = rest.subarray(end);
    }
  };
}

export function createRelpTransport(settings: StreamSettings): Transport {
  let closing = false;

  const fault = (message: string, cause?: unknown) => new SensorError("SIEM_UNREACHABLE", message, { cause });

  /** `doubted` was refused where nothing else was taken. */
  const cut = (connection: Connection, why: SensorError, doubted?: Sending & { readonly reason: string }) => {
    if (connection.closed) return;
    connection.closed = true;
    clearInterval(connection.watch);
    kept.drop(connection);
    connection.socket.destroy();
    for (const entry of connection.unanswered.values()) if ("done" in entry) entry.done();
    for (const call of connection.calls.splice(0)) settle(call, why, doubted);
  };

  const settle = (of: Call, fault: SensorError | null, doubted?: Sending & { readonly reason: string }) => {
    const first = of.answered.indexOf(false);
    const delivered = first === -1 ? of.answered.length : first;
    const lost = of.refused.filter(({ index }) => index < delivered);
    const doubts = doubted?.call === of && doubted.index === delivered;
    of.settle({
      delivered,
      fault,
      ...(doubts && { doubt: doubted.reason }),
      ...(lost.length > 0 && { refused: lost }),
    });
  };

  const settleOne = (connection: Connection, { call, index }: Sending) => {
    call.answered[index] = true;
    call.left -= 1;
    if (call.left > 0) return;
    connection.calls.splice(connection.calls.indexOf(call), 1);
    settle(call, null);
  };

  const doubt = (connection: Connection, sending: Sending, reason: string) => {
    if (sending.refusals === 0) sending.takenBefore = connection.taken;
    sending.refusals += 1;
    const takesOthers = () => connection.taken > sending.takenBefore;
    if (sending.refusals >= TRIES && takesOthers()) {
      sending.call.refused.push({ index: sending.index, reason });
      settleOne(connection, sending);
      return;
    }
    const why = fault(`the receiver refused a message: ${reason}`);
    connection.doubted.add(sending);
    if (connection.doubted.size > MAX_DOUBTED) throw why;
    const again = () => {
      connection.doubted.delete(sending);
      if (connection.closed) return;
      if (!takesOthers()) return cut(connection, why, { ...sending, reason });
      connection.waiting.unshift(sending);
      pump(connection);
    };
    setTimeout(again, RETRY_MS * 2 ** (sending.refusals - 1));
  };

  const command = (connection: Connection, name: string, data: Uint8Array): Promise<void> =>
    new Promise((resolve) => {
      connection.unanswered.set(nextTxnr(connection), { done: resolve });
      connection.socket.write(relpFrame(connection.txnr, name, data));
    });

  const pump = (connection: Connection) => {
    while (connection.waiting.length > 0 && connection.unanswered.size < WINDOW) {
      const room = Math.min(WRITE_FRAMES, WINDOW - connection.unanswered.size);
      const frames = connection.waiting.splice(0, room).map((sending) => {
        const txnr = nextTxnr(connection);
        connection.unanswered.set(txnr, sending);
        return relpFrame(txnr, "syslog", sending.call.messages[sending.index] ?? new Uint8Array());
      });
      connection.socket.write(Buffer.concat(frames));
    }
  };

  const take = (connection: Connection, { txnr, command: name, data }: RelpAnswer) => {
    if (name === "serverclose") throw new Error("the receiver closes the connection");
    if (name !== "rsp") throw new Error(`the receiver sent the command ${name}`);
    const entry = connection.unanswered.get(txnr);
    if (entry === undefined) throw new Error("the receiver answered what was not asked");
    connection.unanswered.delete(txnr);
    connection.progressAt = performance.now();
    if ("done" in entry) {
      if (!/^(200|$)/.test(data)) throw new Error(`the receiver refused: ${data.slice(0, 200)}`);
      entry.done();
    } else if (data.startsWith("200")) {
      connection.taken += 1;
      settleOne(connection, entry);
    } else {
      doubt(connection, entry, escapeControls(data.slice(0, 200)));
    }
  };

  const open = async (): Promise<Connection> => {
    const socket = await openStream(settings);
    const connection: Connection = {
      socket,
      parser: relpParser(),
      txnr: 0,
      unanswered: new Map(),
      waiting: [],
      doubted: new Set(),
      taken: 0,
      calls: [],
      progressAt: performance.now(),
      watch: setInterval(() => {
        const silent = performance.now() - connection.progressAt;
        if (connection.unanswered.size > 0 && silent > STALL_FACTOR * settings.timeout) {
          cut(connection, fault("the receiver answers nothing"));
        }
      }, settings.timeout),
      closed: false,
    };
    let greeting: RelpAnswer | null = null;
    socket.on("error", (error) => cut(connection, fault(`the connection broke: ${error.message}`, error)));
    socket.on("end", () => cut(connection, fault("the peer closed the connection")));
    socket.on("close", () => cut(connection, fault("the connection was closed")));
    socket.on("data", (bytes) => {
      if (connection.closed) return;
      try {
        for (const answer of connection.parser(typeof bytes === "string" ? Buffer.from(bytes) : bytes)) {
          greeting ??= answer;
          take(connection, answer);
        }
        pump(connection);
      } catch (thrown) {
        cut(connection, fault(thrown instanceof Error ? thrown.message : String(thrown), thrown));
      }
    });
    const offer = "relp_version=0\nrelp_software=email-sensor\ncommands=syslog";
    await within(command(connection, "open", Buffer.from(offer)), settings.timeout);
    const said: RelpAnswer | null = greeting;
    if (said === null || connection.closed) {
      cut(connection, fault("closed"));
      throw new Error("the receiver did not answer to RELP open");
    }
    if (!/^commands=.*\bsyslog\b/m.test((said as RelpAnswer).data)) {
      cut(connection, fault("closed"));
      throw new Error("the receiver takes no syslog over RELP");
    }
    return connection;
  };

  const kept = keepOne(open);

  return {
    async send(messages) {
      if (closing) return { delivered: 0, fault: fault("the transport is closed") };
      if (messages.length === 0) return { delivered: 0, fault: null };
      let to: Connection;
      try {
        to = await kept.get();
      } catch (thrown) {
        return {
          delivered: 0,
          fault: fault(thrown instanceof Error ? thrown.message : String(thrown), thrown),
        };
      }
      if (to.closed) return { delivered: 0, fault: fault("the connection broke at once") };
      if (to.unanswered.size === 0) to.progressAt = performance.now();
      return new Promise<Delivery>((settle) => {
        const call: Call = {
          messages,
          answered: messages.map(() => false),
          left: messages.length,
          refused: [],
          settle,
        };
        to.calls.push(call);
        for (const index of messages.keys()) to.waiting.push({ call, index, refusals: 0, takenBefore: 0 });
        pump(to);
      });
    },

    reach: kept.reach,

    async close() {
      closing = true;
      const last = await kept.last();
      if (last === null) return;
      const deadline = performance.now() + settings.timeout;
      while (!last.closed && last.calls.length > 0 && performance.now() < deadline) await Bun.sleep(20);
      if (!last.closed && last.calls.length === 0) {
        await within(command(last, "close", new Uint8Array()), GOODBYE_MS);
      }
      if (!last.closed) await closeStream(last.socket);
      cut(last, fault("the sensor stops"));
    },
  };
}

function nextTxnr(connection: Connection): number {
  connection.txnr = connection.txnr >= MAX_TXNR ? 1 : connection.txnr + 1;
  return connection.txnr;
}
