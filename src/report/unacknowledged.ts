/**
 * How many bytes of a TCP connection the peer has not acknowledged, as the Linux kernel knows it.
 *
 * TCP syslog has no answer of its own, and the ioctl for this (SIOCOUTQ) is out of reach; the same number is
 * the `tx_queue` column of /proc/net/tcp (Linux Documentation/networking/proc_net_tcp). Where the peer is on this
 * machine its own row is there, too: `rx_queue` is what it has not read. Null wherever nothing can be had: another
 * system, no /proc, the connection gone, a table too large to read. Never throws.
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

export type Unacknowledged = {
  /** Not acknowledged; with `read`, not read. */
  readonly bytes: number;
  /** True where the peer is on this machine, and `bytes` holds what it has not read. */
  readonly read: boolean;
};

/** About 50,000 connections. */
const MAX_TABLE_BYTES = 8 * 1024 * 1024;
const READ_BYTES = 64 * 1024;

export async function unacknowledgedBytes(endpoints: Endpoints): Promise<Unacknowledged | null> {
  const local = addressWord(endpoints.localAddress);
  const remote = addressWord(endpoints.remoteAddress);
  if (local === null || remote === null || local.length !== remote.length) return null;
  const here = `${local}:${portWord(endpoints.localPort)}`;
  const there = `${remote}:${portWord(endpoints.remotePort)}`;
  const table = isIPv4(endpoints.localAddress) ? "/proc/net/tcp" : "/proc/net/tcp6";
  // A peer on this machine has the same address, or both have one of loopback.
  const near = local === remote || endpoints.localAddress.startsWith("127.");
  const rows = await findRows(
    table,
    near ? [`: ${here} ${there} `, `: ${there} ${here} `] : [`: ${here} ${there} `],
  );
  const own = queues(rows?.[0]);
  if (own === null) return null;
  const peer = queues(rows?.[1]);
  return peer === null
    ? { bytes: own.unacknowledged, read: false }
    : { bytes: own.unacknowledged + peer.unread, read: true };
}

function queues(row: string | null | undefined): { unacknowledged: number; unread: number } | null {
  const found = /^[0-9A-F]{2} ([0-9A-F]{8}):([0-9A-F]{8})/.exec(row ?? "");
  if (found?.[1] === undefined || found[2] === undefined) return null;
  return { unacknowledged: Number.parseInt(found[1], 16), unread: Number.parseInt(found[2], 16) };
}

/** What follows each of `keys` in the table, null for one that is not there; null without a table. */
async function findRows(path: string, keys: readonly string[]): Promise<readonly (string | null)[] | null> {
  const wanted = keys.map((key) => Buffer.from(key, "latin1"));
  const longest = Math.max(...wanted.map(({ length }) => length));
  const found = wanted.map((): string | null => null);
  try {
    const table = await open(path, "r");
    try {
      let kept = Buffer.alloc(0);
      for (let total = 0; total < MAX_TABLE_BYTES && found.includes(null); ) {
        const { bytesRead, buffer } = await table.read(Buffer.allocUnsafe(READ_BYTES), 0, READ_BYTES, null);
        if (bytesRead === 0) break;
        total += bytesRead;
        const block = Buffer.concat([kept, buffer.subarray(0, bytesRead)]);
        for (const [index, key] of wanted.entries()) {
          const at = block.indexOf(key);
          const end = at + key.length + ROW_REST;
          if (at !== -1 && end <= block.length)
            found[index] ??= block.toString("latin1", at + key.length, end);
        }
        kept = block.subarray(Math.max(0, block.length - longest - ROW_REST));
      }
      return found;
    } finally {
      await table.close();
    }
  } catch {
    // No table, no knowledge: the caller has another way.
    return null;
  }
}

/** Characters of a row that are looked at, behind the addresses. */
const ROW_REST = 32;

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
