/**
 * The most visited domains, a million of them in 16 MB: 64-bit hashes in a table, keyed by a number that is drawn
 * anew at each start, so that nobody can make a name that passes for another one.
 */
import { parse as parseHost } from "tldts";
import { readHost } from "./hosts.ts";

export const MAX_POPULAR = 1_000_000;
/** Twice as many places as domains, a power of two. */
const PLACES = 2 ** 21;

export type PopularDomains = {
  readonly size: number;
  /**
   * True where the host, or a domain it lies in, is one of them. `names` is the host with the domains it lies in. What
   * people register below a public suffix (somebody.github.io) is not covered by the suffix.
   */
  has(names: readonly string[]): boolean;
};

/**
 * Reads a list: one domain a line or CSV with the domain in its last column, most visited first. Lines without a
 * domain (a heading, a comment) are left out. Others have their turn in between: a million takes about a second.
 */
export async function readPopularDomains(
  bytes: Uint8Array,
  seed: bigint = crypto.getRandomValues(new BigUint64Array(1))[0] ?? 0n,
): Promise<PopularDomains> {
  const table = new BigUint64Array(PLACES);
  const hash = (name: string): bigint => Bun.hash.wyhash(name, seed) | 1n;
  const placeOf = (key: bigint): number => {
    let place = Number(key >> 40n) & (PLACES - 1);
    while (table[place] !== 0n && table[place] !== key) place = (place + 1) & (PLACES - 1);
    return place;
  };
  let size = 0;
  let lines = 0;
  const take = (line: string) => {
    const written = line.slice(line.lastIndexOf(",") + 1).trim();
    const name = written.startsWith("#") || !written.includes(".") ? null : readHost(written);
    if (name === null) return;
    const key = hash(name);
    const place = placeOf(key);
    if (table[place] === 0n) size += 1;
    table[place] = key;
  };
  for (const piece of piecesOf(bytes)) {
    for (const line of piece.slice(0, MAX_POPULAR - lines)) take(line);
    lines += piece.length;
    if (lines >= MAX_POPULAR) break;
    await new Promise(setImmediate);
  }
  return {
    size,
    has: (names) => {
      const [host] = names;
      if (host === undefined) return false;
      const registered = parseHost(host, { allowPrivateDomains: true }).domain;
      for (const name of names) {
        const key = hash(name);
        if (table[placeOf(key)] === key) return true;
        if (registered === null || name === registered) return false;
      }
      return false;
    },
  };
}

/** Lines of UTF-8 text, some at a time: the whole text as one string would be several times as large. */
function* piecesOf(bytes: Uint8Array): Generator<readonly string[]> {
  const decoder = new TextDecoder();
  const PIECE = 256 * 1024;
  let rest = "";
  for (let at = 0; at < bytes.length; at += PIECE) {
    const text = rest + decoder.decode(bytes.subarray(at, at + PIECE), { stream: true });
    const lines = text.split("\n");
    rest = (lines.pop() ?? "").slice(0, 4096);
    yield lines;
  }
  if (rest !== "") yield [rest];
}
