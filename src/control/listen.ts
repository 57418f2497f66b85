/**
 * Where the control service listens: a unix socket for those on the machine, or TCP.
 *
 * Makes the folder of the socket, takes away what a dead sensor left behind, and never takes the place of one
 * that lives. Faults are SensorError LISTEN_FAILED with what stands in the way.
 */
import { chmod, lstat, mkdir, rm } from "node:fs/promises";
import { connect } from "node:net";
import { dirname } from "node:path";
import type { Server } from "@grpc/grpc-js";
import { ServerCredentials } from "@grpc/grpc-js";
import { isLoopback, readControlAddress } from "../config/address.ts";
import { SensorError } from "../errors.ts";

/** Owner and group may call; the group is who operates the sensor. */
const SOCKET_MODE = 0o660;
const ANSWER_TIMEOUT = 1000;

export type ControlAddress =
  | { readonly kind: "unix"; readonly path: string }
  | { readonly kind: "tcp"; readonly host: string; readonly port: number };

/** The parts of `control.listen`. Throws SensorError CONFIG_INVALID. */
export function parseListen(listen: string): ControlAddress {
  const address = readControlAddress(listen);
  if ("problem" in address) {
    throw new SensorError("CONFIG_INVALID", `control.listen: ${address.problem}`);
  }
  return "path" in address ? { kind: "unix", ...address } : { kind: "tcp", ...address };
}

/** True where everybody who reaches the address may be someone else than whoever works on this machine. */
export function isExposed(address: ControlAddress): boolean {
  return address.kind === "tcp" && !isLoopback(address.host);
}

function formatAddress(address: ControlAddress): string {
  if (address.kind === "unix") return `unix:${address.path}`;
  return `${address.host.includes(":") ? `[${address.host}]` : address.host}:${address.port}`;
}

/** Whether a process answers on a unix socket; throws what else than a refusal comes of asking. */
function answers(path: string): Promise<boolean> {
  return new Promise((resolve, reject) => {
    const socket = connect(path);
    socket.setTimeout(ANSWER_TIMEOUT);
    // Not accepting in time is a busy process, not a dead one.
    const settle = (alive: boolean) => {
      socket.destroy();
      resolve(alive);
    };
    socket.once("connect", () => settle(true));
    socket.once("timeout", () => settle(true));
    socket.once("error", (error: NodeJS.ErrnoException) => {
      if (error.code === "ECONNREFUSED" || error.code === "ENOENT") settle(false);
      else reject(error);
    });
  });
}

async function makeRoom(path: string): Promise<void> {
  await mkdir(dirname(path), { recursive: true, mode: 0o755 });
  const found = await lstat(path).catch((error: NodeJS.ErrnoException) => {
    if (error.code === "ENOENT") return null;
    throw error;
  });
  if (found === null) return;
  if (!found.isSocket()) {
    throw new SensorError(
      "LISTEN_FAILED",
      `control.listen: ${path} is there and is no socket; remove it or name another path`,
    );
  }
  if (await answers(path)) {
    throw new SensorError(
      "LISTEN_FAILED",
      `control.listen: another process answers on ${path}; stop it or name another path`,
    );
  }
  await rm(path, { force: true });
}

/**
 * Binds the server. Resolves to the address really bound, as clients write it: `unix:/PATH` or HOST:PORT.
 * Throws SensorError LISTEN_FAILED.
 */
export async function bind(server: Server, address: ControlAddress): Promise<string> {
  const written = formatAddress(address);
  try {
    if (address.kind === "unix") await makeRoom(address.path);
    const port = await new Promise<number>((resolve, reject) => {
      server.bindAsync(written, ServerCredentials.createInsecure(), (error, bound) => {
        if (error === null) resolve(bound);
        else reject(error);
      });
    });
    if (address.kind === "tcp") return formatAddress({ ...address, port });
    await chmod(address.path, SOCKET_MODE);
    return written;
  } catch (thrown) {
    if (thrown instanceof SensorError) throw thrown;
    const why = thrown instanceof Error ? thrown.message : String(thrown);
    throw new SensorError("LISTEN_FAILED", `control.listen: cannot listen on ${written}: ${why}`, {
      cause: thrown,
    });
  }
}
