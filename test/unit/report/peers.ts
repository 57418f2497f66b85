/** Syslog receivers on loopback, as honest and as bad as real ones; each at the port given, or a free one for 0. */
import { createSocket } from "node:dgram";
import { createServer, type Server, type Socket } from "node:net";
import { createServer as createTlsServer, type TlsOptions } from "node:tls";
import { relpFrame, relpParser } from "../../../src/report/transport-relp.ts";
import { freePort } from "../../ports.ts";

export type TcpPeer = {
  readonly port: number;
  /** Whole messages in the order they came, over all connections. */
  readonly messages: string[];
  readonly connections: Socket[];
  /** Stops or starts reading, on present and coming connections. */
  pause(paused: boolean): void;
  /** Cuts every connection. */
  cut(): void;
  close(): Promise<void>;
};

/** Takes octet-counted messages (RFC 6587), over TLS where told so, and refuses anything else by throwing. */
export async function tcpPeer(port = 0, tls?: TlsOptions): Promise<TcpPeer> {
  const own = port === 0 ? await freePort() : port;
  const messages: string[] = [];
  const connections: Socket[] = [];
  let paused = false;
  const take = (socket: Socket) => {
    connections.push(socket);
    let rest = Buffer.alloc(0);
    const parts: Buffer[] = [];
    let held = 0;
    let needed = 0;
    socket.on("error", () => {});
    socket.on("data", (data) => {
      parts.push(typeof data === "string" ? Buffer.from(data) : data);
      held += data.length;
      if (held < needed) return;
      rest = Buffer.concat([rest, ...parts.splice(0)]);
      for (;;) {
        held = rest.length;
        needed = 0;
        const space = rest.indexOf(32);
        if (space === -1) return;
        const count = rest.toString("latin1", 0, space);
        if (!/^[1-9]\d*$/.test(count)) throw new Error(`no octet count: ${count.slice(0, 40)}`);
        const end = space + 1 + Number(count);
        if (rest.length < end) {
          needed = end;
          return;
        }
        messages.push(rest.toString("utf8", space + 1, end));
        rest = rest.subarray(end);
      }
    });
    if (paused) socket.pause();
    else socket.resume();
  };
  const server: Server =
    tls === undefined ? createServer({ pauseOnConnect: true }, take) : createTlsServer(tls, take);
  await new Promise<void>((resolve) => server.listen(own, "127.0.0.1", () => resolve()));
  return {
    port: own,
    messages,
    connections,
    pause(now) {
      paused = now;
      for (const socket of connections) {
        if (now) socket.pause();
        else socket.resume();
      }
    },
    cut() {
      for (const socket of connections.splice(0)) socket.destroy();
    },
    async close() {
      for (const socket of connections.splice(0)) socket.destroy();
      await new Promise<void>((resolve) => server.close(() => resolve()));
    },
  };
}

export type UdpPeer = { readonly port: number; readonly messages: string[]; close(): Promise<void> };

export async function udpPeer(port = 0): Promise<UdpPeer> {
  const own = port === 0 ? await freePort() : port;
  const messages: string[] = [];
  const socket = createSocket("udp4");
  socket.on("message", (data) => messages.push(data.toString("utf8")));
  await new Promise<void>((resolve) => socket.bind(own, "127.0.0.1", () => resolve()));
  return {
    port: own,
    messages,
    close: () => new Promise((resolve) => socket.close(() => resolve())),
  };
}

export type RelpPeer = {
  readonly port: number;
  readonly messages: string[];
  /** While true, nothing is answered. */
  mute: boolean;
  /** Answers to syslog commands: `200 OK` where it is null. */
  refusal: string | null;
  /** Only messages with this in them are refused; null: all. */
  poison: string | null;
  cut(): void;
  close(): Promise<void>;
};

/** Takes syslog over RELP and answers every command. */
export async function relpPeer(port = 0, offer = "commands=syslog"): Promise<RelpPeer> {
  const own = port === 0 ? await freePort() : port;
  const connections: Socket[] = [];
  const peer = {
    messages: [] as string[],
    mute: false,
    refusal: null as string | null,
    poison: null as string | null,
  };
  const server = createServer((socket) => {
    connections.push(socket);
    const parse = relpParser();
    const answer = (txnr: number, data: string) => socket.write(relpFrame(txnr, "rsp", Buffer.from(data)));
    socket.on("error", () => {});
    socket.on("data", (bytes) => {
      for (const { txnr, command, data } of parse(typeof bytes === "string" ? Buffer.from(bytes) : bytes)) {
        if (command === "open") answer(txnr, `200 OK\nrelp_version=0\n${offer}`);
        else if (command === "close") {
          answer(txnr, "");
          socket.end(relpFrame(0, "serverclose", new Uint8Array()));
        } else if (!peer.mute) {
          const refusal = peer.poison === null || data.includes(peer.poison) ? peer.refusal : null;
          if (refusal === null) peer.messages.push(data);
          answer(txnr, refusal ?? "200 OK");
        }
      }
    });
  });
  await new Promise<void>((resolve) => server.listen(own, "127.0.0.1", () => resolve()));
  return Object.assign(peer, {
    port: own,
    cut() {
      for (const socket of connections.splice(0)) socket.destroy();
    },
    async close() {
      for (const socket of connections.splice(0)) socket.destroy();
      await new Promise<void>((resolve) => server.close(() => resolve()));
    },
  });
}
