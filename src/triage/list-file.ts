/**
 * A list file in memory: its bytes, and a table of where each value stands in them. A million hashes take 90 MB so.
 *
 * In go the bytes, out come the entries, one by its value or some in the order of the file. Reading a million lines
 * takes seconds, in which others have their turns. A line that is no good costs itself alone.
 */
import { isUtf8 } from "node:buffer";
import { type ListEntry, type ListKind, type ListName, MAX_COMMENT, readListValue } from "./lists.ts";

/** Bad lines of one file that are told. */
const MAX_TOLD = 20;
/** Bytes of a line that are looked at: several times what any line has that is good for something. */
const MAX_LINE = 32 * 1024;
/** Lines that are read in one turn, a few milliseconds of work; and values that are put into the table. */
const LINES_A_TURN = 1_000;
const VALUES_A_TURN = 5_000;
const NEWLINE = 10;

export type LineProblem = { readonly line: number; readonly message: string };

export type ListFile = {
  readonly list: ListName;
  readonly kind: ListKind;
  /** How many entries there are, those with equal values included. */
  readonly count: number;
  /** The entry with this value, in normal form; of several the first. */
  get(value: string): ListEntry | undefined;
  /** In the order of the file, from one on and before another one. */
  entries(from: number, to: number): readonly ListEntry[];
  /** What is wrong with lines that are left out, of the first of them. */
  readonly problems: readonly LineProblem[];
  /** How many lines are left out. */
  readonly bad: number;
  /** Of the bytes, hex. */
  readonly fingerprint: string;
};

/**
 * Reads a list file of at most `limit` entries; "full" where it has more, "binary" where it is no UTF-8 text. The bytes
 * are kept and must not change.
 */
export async function readListFile(
  bytes: Uint8Array,
  { list, kind }: Pick<ListEntry, "list" | "kind">,
  limit: number,
): Promise<ListFile | "full" | "binary"> {
  const text = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length);
  const seed = crypto.getRandomValues(new Uint32Array(1))[0] ?? 0;
  const hashOf = (value: string): number => Bun.hash.xxHash32(value, seed);
  const lineAt = (start: number): string => {
    const end = text.indexOf(NEWLINE, start);
    return text.toString("utf8", start, Math.min(end < 0 ? text.length : end, start + MAX_LINE));
  };

  const starts = createNumbers();
  const hashes = createNumbers();
  const problems: LineProblem[] = [];
  let bad = 0;
  let line = 0;
  let checked = 0;
  const hasher = new Bun.CryptoHasher("sha256");
  for (let start = 0; start < text.length; ) {
    line += 1;
    const { value } = readLine(lineAt(start), list, kind);
    if (typeof value === "string") {
      if (starts.count() === limit) return "full";
      starts.add(start);
      hashes.add(hashOf(value));
    } else if (value !== null) {
      bad += 1;
      if (problems.length < MAX_TOLD) problems.push({ line, message: value.problem });
    }
    const end = text.indexOf(NEWLINE, start);
    start = end < 0 ? text.length : end + 1;
    if (line % LINES_A_TURN !== 0 && start < text.length) continue;
    if (!isUtf8(text.subarray(checked, start))) return "binary";
    hasher.update(text.subarray(checked, start));
    checked = start;
    await turn();
  }

  const count = starts.count();
  const [startOf, hashAt] = [starts.values(), hashes.values()];
  const entryAt = (n: number): ListEntry => {
    const { value, comment } = readLine(lineAt(startOf[n] ?? 0), list, kind);
    return { list, kind, value: String(value), comment, addedAt: null, expiresAt: null };
  };
  // At most half full, so that a value is found within a few steps. A place holds the number of an entry, from 1 on.
  const places = new Uint32Array(2 ** Math.ceil(Math.log2(2 * count + 2)));
  const mask = places.length - 1;
  const find = (
    hash: number,
    isWanted: (entry: ListEntry) => boolean,
  ): { place: number; entry?: ListEntry } => {
    let place = hash & mask;
    for (; places[place] !== 0; place = (place + 1) & mask) {
      const n = (places[place] ?? 0) - 1;
      if (hashAt[n] !== hash) continue;
      const entry = entryAt(n);
      if (isWanted(entry)) return { place, entry };
    }
    return { place };
  };
  for (let n = 0; n < count; n++) {
    const { place, entry } = find(hashAt[n] ?? 0, ({ value }) => value === entryAt(n).value);
    if (entry === undefined) places[place] = n + 1;
    if (n % VALUES_A_TURN === 0) await turn();
  }

  return {
    list,
    kind,
    count,
    get: (value) => find(hashOf(value), (entry) => entry.value === value).entry,
    entries: (from, to) =>
      Array.from({ length: Math.max(0, Math.min(to, count) - from) }, (_, n) => entryAt(from + n)),
    problems,
    bad,
    fingerprint: hasher.digest("hex"),
  };
}

const turn = () => new Promise<void>((resolve) => setImmediate(resolve));

type Line = { readonly value: ReturnType<typeof readListValue> | null; readonly comment: string | null };

/** `value` is null where the line has none. A byte order mark is white space. */
function readLine(line: string, list: ListName, kind: ListKind): Line {
  // A # within a URL is no comment.
  const mark = line.includes("#") ? (/(?:^|\s)#/.exec(line)?.index ?? line.length) : line.length;
  const written = line.slice(0, mark).trim();
  if (written === "") return { value: null, comment: null };
  return { value: readListValue(list, kind, written), comment: commentOf(line.slice(mark)) };
}

/** What follows the mark, on one line; null where it says nothing. */
function commentOf(text: string): string | null {
  if (text === "") return null;
  const comment = text
    .replace(/^\s*#+/, "")
    .replace(/[\s\p{Cc}]+/gu, " ")
    .trim()
    .slice(0, MAX_COMMENT);
  return comment === "" ? null : comment;
}

/** Numbers below 2^32, as many as come. */
function createNumbers() {
  let numbers = new Uint32Array(1024);
  let count = 0;
  return {
    count: () => count,
    add: (number: number) => {
      if (count === numbers.length) {
        const larger = new Uint32Array(2 * count);
        larger.set(numbers);
        numbers = larger;
      }
      numbers[count++] = number;
    },
    values: () => numbers.slice(0, count),
  };
}
