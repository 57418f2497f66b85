/**
 * Connections to receivers: plain TCP, or TLS over it (RFC 5425).
 *
 * The files of the certificates are read at each connection, so that renewed ones are used without a restart. The
 * receiver's certificate is checked against the authorities and the name, unless `verify` is false.
 */
import { readFileSync } from "node:fs";
import { connect, isIP, type Socket } from "node:net";
import { type ConnectionOptions, connect as connectTls } from "node:tls";

export type TlsSettings = {
  /** Paths of PEM files. Without `ca` the authorities the runtime knows are trusted. */
  readonly ca?: string | undefined;
  readonly cert?: string | undefined;
  readonly key?: string | undefined;
  /** The name the certificate must carry, where it is not the host. */
  readonly serverName?: string | undefined;
  readonly verify: boolean;
};

export type StreamSettings = {
  readonly host: string;
  readonly port: number;
  /** Milliseconds for connecting, the handshake of TLS included. */
  readonly timeout: number;
  /** Absent for plain TCP. */
  readonly tls?: TlsSettings | undefined;
};

const KEEP_ALIVE_MS = 15_000;
/** What TLS may still have to say when it is closed. */
export const GOODBYE_MS = 500;

/** A connection ready to be written to, or an error within the time-out. */
export function openStream({ host, port, timeout, tls }: StreamSettings): Promise<Socket> {
  return new Promise((resolve, reject) => {
    const endpoint = { host, port, noDelay: true, keepAlive: true, keepAliveInitialDelay: KEEP_ALIVE_MS };
    const socket =
      tls === undefined ? connect(endpoint) : connectTls({ ...endpoint, ...tlsOptions(tls, host) });
    const timer = setTimeout(() => {
      socket.destroy();
      reject(new Error(`no connection within ${timeout} ms`));
    }, timeout);
    const failed = (error: Error) => {
      clearTimeout(timer);
      socket.destroy();
      reject(error);
    };
    const ended = () => failed(new Error("the peer closed the connection during the handshake"));
    socket.once("error", failed);
    socket.once("close", ended);
    socket.once(tls === undefined ? "connect" : "secureConnect", () => {
      clearTimeout(timer);
      socket.off("error", failed);
      socket.off("close", ended);
      resolve(socket);
    });
  });
}

/** Ends a connection in order: what is written is sent, TLS says close_notify. Bounded in time. */
export async function closeStream(socket: Socket): Promise<void> {
  if (!socket.destroyed) {
    await within(new Promise<void>((resolve) => socket.end(() => resolve())), GOODBYE_MS);
  }
  socket.destroy();
}

/** One connection for all who want it: opened when it is first wanted, and anew after it was dropped. */
export type Kept<C> = {
  get(): Promise<C>;
  /** True where there is one, or one can be opened. */
  reach(): Promise<boolean>;
  /** The one in use, or that is being opened; null where there is none. */
  last(): Promise<C | null>;
  drop(connection: C): void;
};

export function keepOne<C extends { readonly closed: boolean }>(open: () => Promise<C>): Kept<C> {
  let current: C | null = null;
  let opening: Promise<C> | null = null;
  const openAndKeep = async () => {
    const opened = await open();
    // What was cut at once must not be kept: nobody would drop it.
    if (!opened.closed) current = opened;
    return opened;
  };
  const get = async () => {
    if (current !== null) return current;
    opening ??= openAndKeep().finally(() => {
      opening = null;
    });
    return opening;
  };
  return {
    get,
    async reach() {
      try {
        return !(await get()).closed;
      } catch {
        return false;
      }
    },
    last: async () => current ?? (await opening?.catch(() => null)) ?? null,
    drop: (connection) => {
      if (current === connection) current = null;
    },
  };
}

/** Resolves with the work, or after `milliseconds` without it. */
export async function within(work: Promise<void>, milliseconds: number): Promise<void> {
  let timer: Timer | undefined;
  const late = new Promise<void>((resolve) => {
    timer = setTimeout(resolve, milliseconds);
  });
  await Promise.race([work, late]);
  clearTimeout(timer);
}

/** What is in the files. Throws where one cannot be read. */
export function tlsFiles(tls: TlsSettings): { ca?: Buffer; cert?: Buffer; key?: Buffer } {
  const read = (name: "ca" | "cert" | "key", path: string | undefined) =>
    path === undefined ? {} : { [name]: readFileSync(path) };
  return { ...read("ca", tls.ca), ...read("cert", tls.cert), ...read("key", tls.key) };
}

function tlsOptions(tls: TlsSettings, host: string): ConnectionOptions {
  const name = tls.serverName ?? host;
  return {
    ...tlsFiles(tls),
    // RFC 6066 section 3: no literal addresses in SNI.
    ...(isIP(name) === 0 && { servername: name }),
    rejectUnauthorized: tls.verify,
    minVersion: "TLSv1.2",
  };
}
