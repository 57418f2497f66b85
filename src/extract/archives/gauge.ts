/**
 * The bounds of one archive: bytes, ratio, members, time. Every unpacker asks it what it may still do and hands
 * it what came out; it keeps the Reading and says each bound that was hit by its flag.
 */
import { createReading, type Inner, type Limits, type Reading } from "../reading.ts";
import type { ARCHIVE_FLAGS, ArchiveFact } from "./flags.ts";

export type ArchiveLimits = Limits & {
  /** Most bytes unpacked for each byte of the archive; not asked below RATIO_FREE bytes. */
  readonly ratio: number;
  /** Seconds for this archive, or a function that tells how many are left. */
  readonly seconds?: number | (() => number);
};

export type Member = {
  /** As the archive gives it. Hostile. */
  readonly name: string;
  /** Bytes unpacked, as the archive gives it; null where it does not. */
  readonly size: number | null;
  readonly encrypted: boolean;
};

export type ArchiveReading = Reading & {
  /** The password that opened it. */
  readonly password: string | null;
  readonly encrypted: "no" | "opened" | "closed";
  /** What the archive lists, whether unpacked or not; at most as many as `limits.inner`. */
  readonly members: readonly Member[];
  /** Places in `inner` of contents of which only the beginning is given. */
  readonly cut: readonly number[];
};

/** A text may be very repetitive, and harms nobody as long as it is small. */
export const RATIO_FREE = 16 * 1024 * 1024;
/** Most of a member that does not fit. Programs blown up by zeros have what counts in front. */
const CUT_MAX = 8 * 1024 * 1024;
/** Bytes given after which what unpackers leave behind is collected: it is as much again, at least. */
const COLLECT_AFTER = 24 * 1024 * 1024;
const DEFAULT_SECONDS = 20;

export type ArchiveFlag =
  | keyof typeof ARCHIVE_FLAGS
  | "inner_exceeded"
  | "inner_bytes_exceeded"
  | "inner_urls_exceeded";

export type Gauge = {
  readonly passwords: readonly string[];
  /** Most members looked at. */
  readonly maxMembers: number;
  /** Bytes that still may be unpacked. */
  readonly room: () => number;
  /** Most bytes that are worth having of a member that does not fit. */
  readonly cutRoom: () => number;
  readonly expired: () => boolean;
  /** Seconds left. */
  readonly secondsLeft: () => number;
  /** True where no more contents are taken. */
  readonly full: () => boolean;
  /** Says by flags that what comes is larger than room. */
  readonly overflow: () => void;
  /** Keeps a content, whole or its beginning. False where it found no place. */
  readonly give: (name: string | null, bytes: Uint8Array, whole?: boolean) => boolean;
  readonly list: (member: Member) => void;
  readonly flag: (flag: ArchiveFlag) => void;
  readonly fact: (fact: ArchiveFact) => void;
  /** Says that something is encrypted: opened by a password, or closed (null). */
  readonly sealed: (password: string | null) => void;
  readonly done: () => ArchiveReading;
};

export function createGauge(
  packed: number,
  limits: ArchiveLimits,
  passwords: readonly string[],
  now: () => number = () => performance.now(),
): Gauge {
  const reading = createReading(limits);
  const members: Member[] = [];
  const cut: number[] = [];
  const allowed = Math.max(RATIO_FREE, packed * limits.ratio);
  const end = now() + (typeof limits.seconds === "number" ? limits.seconds : DEFAULT_SECONDS) * 1000;
  const secondsLeft = typeof limits.seconds === "function" ? limits.seconds : () => (end - now()) / 1000;
  let given = 0;
  let litter = 0;
  let count = 0;
  let password: string | null = null;
  let closed = false;
  const room = (): number => Math.max(0, Math.min(reading.left(), allowed - given));
  const full = (): boolean => {
    if (count < limits.inner) return false;
    reading.flag("archive_members_exceeded");
    return true;
  };
  const overflow = (): void => {
    reading.flag(allowed - given < reading.left() ? "archive_ratio_exceeded" : "inner_bytes_exceeded");
  };
  return {
    passwords,
    maxMembers: limits.inner,
    room,
    cutRoom: () => Math.min(CUT_MAX, Math.floor(room() / 4)),
    expired: () => {
      if (secondsLeft() > 0) return false;
      reading.flag("archive_too_slow");
      return true;
    },
    secondsLeft,
    full,
    overflow,
    give: (name, bytes, whole = true) => {
      if (full() || (!whole && bytes.length === 0)) return false;
      if (bytes.length > room()) {
        overflow();
        return false;
      }
      const inner: Inner = { name, declared: null, bytes };
      if (!reading.inner(inner)) return false;
      if (!whole) {
        cut.push(count);
        reading.flag("archive_member_cut");
      }
      if (name !== null && isHostileName(name)) reading.flag("archive_hostile_name");
      count++;
      given += bytes.length;
      litter += bytes.length;
      if (litter > COLLECT_AFTER) {
        litter = 0;
        Bun.gc(true);
      }
      return true;
    },
    list: (member) => {
      if (members.length < limits.inner) members.push(member);
      else reading.flag("archive_members_exceeded");
      if (member.encrypted) reading.fact("encrypted");
    },
    flag: reading.flag,
    fact: reading.fact,
    sealed: (one) => {
      reading.fact("encrypted");
      if (one === null) closed = true;
      else password ??= one;
    },
    done: () => {
      if (closed) reading.flag("archive_encrypted");
      const made = reading.done();
      const encrypted = closed ? "closed" : password !== null ? "opened" : "no";
      return { ...made, password, encrypted, members, cut };
    },
  };
}

/** True for names that reach out of the folder they are unpacked to, or end where some programs see no end. */
function isHostileName(name: string): boolean {
  return name.includes("\0") || /^(?:[/\\]|[A-Za-z]:)/.test(name) || /(?:^|[/\\])\.\.(?:[/\\]|$)/.test(name);
}
