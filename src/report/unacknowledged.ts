/**
 * How many bytes of a TCP connection the peer has not acknowledged, as the Linux kernel knows it.
 *
 * TCP syslog has no answer of its own, and the ioctl for this (SIOCOUTQ) is out of reach; the same number is
 * the `tx_queue` column of /proc/net/tcp (Linux Documentation/networking/proc_net_tcp). Null wherever it cannot
 * be had: another system, no /proc, the connection gone, a table too large to read. Never throws.
 */
import { open } from "node:fs/promises";
import { isIPv4, isIPv6 } from "node:net";
import { endianness } from "node:os";

export type Endpoints = {
  readonly localAddress: string;
  readonly localPort: number;
  readonly remoteAddress: string;
  readonly remotePort: number;
};

/** About 50,000 connections. */
const MAX_TABLE_BYTES = 8 * 1024 * 1024;
const READ_BYTES = 64 * 1024;

export async function unacknowledgedBytes(endpoints: Endpoints): Promise<number | null> {
  const local = addressWord(endpoints.localAddress);
  const remote = addressWord(endpoints.remoteAddress);
  if (local === null || remote === null || local.length !== remote.length) return null;
  const key = `: ${local}:${portWord(endpoints.localPort)} ${remote}:${portWord(endpoints.remotePort)} `;
  const row = await findRow(isIPv4(endpoints.localAddress) ? "/proc/net/tcp" : "/proc/net/tcp6", key);
  const queue = row === null ? null : /^[0-9A-F]{2} ([0-9A-F]{8}):/.exec(row);
  return queue?.[1] === undefined ? null : Number.parseInt(queue[1], 16);
}

/** What follows `key` in the table. */
async function findRow(path: string, key: string): Promise<string | null> {
  const wanted = Buffer.from(key, "latin1");
  try {
    const table = await open(path, "r");
    try {
      let kept = Buffer.alloc(0);
      for (let total = 0; total < MAX_TABLE_BYTES; ) {
        const { bytesRead, buffer } = await table.read(Buffer.allocUnsafe(READ_BYTES), 0, READ_BYTES, null);
        if (bytesRead === 0) return null;
        total += bytesRead;
        const block = Buffer.concat([kept, buffer.subarray(0, bytesRead)]);
        const at = block.indexOf(wanted);
        const end = at + wanted.length + 32;
        if (at !== -1 && end <= block.length) return block.toString("latin1", at + wanted.length, end);
        kept = block.subarray(at !== -1 ? at : Math.max(0, block.length - wanted.length));
      }
      return null;
    } finally {
      await table.close();
    }
  } catch {
    // No table, no knowledge: the caller has another way.
    return null;
  }
}

/** An address as the kernel prints it: each 32-bit word in the byte order of the machine. */
export function addressWord(address: string): string | null {
  const bytes = isIPv4(address)
    ? address.split(".").map(Number)
    : isIPv6(address)
      ? ipv6Bytes(address)
      : null;
  if (bytes === null) return null;
  const ordered =
    endianness() === "LE" ? bytes.map((_, index) => bytes[(index & ~3) + 3 - (index & 3)] ?? 0) : bytes;
  return Buffer.from(ordered).toString("hex").toUpperCase();
}

function ipv6Bytes(address: string): readonly number[] | null {
  if (address.includes("%") || address.includes(".")) return null;
  const [head = "", tail] = address.split("::");
  const words = (part: string) =>
    part === "" ? [] : part.split(":").map((word) => Number.parseInt(word, 16));
  const front = words(head);
  const back = tail === undefined ? [] : words(tail);
  const all = [...front, ...new Array<number>(8 - front.length - back.length).fill(0), ...back];
  return all.flatMap((word) => [word >> 8, word & 255]);
}

function portWord(port: number): string {
  return port.toString(16).toUpperCase().padStart(4, "0");
}
