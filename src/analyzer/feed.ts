/**
 * Finished submissions by one call for any number in flight: VMRay lists them in the order of their completion, after
 * the last one that was seen.
 *
 * The place in that list is kept in the spool together with what came of it, so that a restart goes on there. A list
 * that is not there, that the key may not see or that leaves out what is finished is left alone for a while: then
 * single polls do it all. Throws what the call throws, but for what means "not here".
 */
import type { Log } from "../log.ts";
import type { Spool } from "../spool/spool.ts";
import type { VmrayClient } from "./client.ts";
import { VmrayError } from "./vmray-error.ts";

export type FeedOptions = {
  readonly client: Pick<VmrayClient, "finishedAfter">;
  readonly spool: Pick<Spool, "submissionsFinished" | "finishedCursor">;
  /** Milliseconds. */
  readonly pollInterval: number;
  readonly log: Log;
};

export type Feed = {
  /** False while it is not asked and single polls do it all. */
  trusted(now: number): boolean;
  /** When it is to be asked again, milliseconds since 1970. */
  nextAt(): number;
  /** Reads what finished since; gives the keys of the analyses that may go on. */
  read(now: number, signal: AbortSignal): Promise<readonly string[]>;
  /** A submission was made: what VMRay has cached finishes at once, so it is asked more often for a while. */
  submitted(now: number): void;
  /** A single poll found this submission finished: the list should have it, or get it soon. */
  foundFinished(id: number): void;
  /** True where it told of this submission, perhaps before anyone here knew its id. */
  toldOf(id: number): boolean;
};

/** Most submissions of one call, and of the first one. */
const PAGE = 1_000;
const FIRST_PAGE = 100;
/** Pages read at a time; the rest is read the next time. */
const MAX_PAGES = 10;
/** Ids it told of, kept for a submission whose answer comes after its completion. */
const MAX_TOLD = 10_000;
/** Finished submissions in a row that it left out, after which it is not trusted. */
const MAX_MISSED = 3;
/** In poll intervals: how long it is then left alone, and how long where there is no such list. */
const DISTRUST = 120;
const UNSUPPORTED = 720;
/** In poll intervals: after so long without a look its place is given up: all that others did lies in between. */
const STALE = 8_640;
const QUICK = 4;

export function createFeed({ client, spool, pollInterval, log }: FeedOptions): Feed {
  let cursor: number | null = null;
  let loaded = false;
  let offUntil = 0;
  let at = 0;
  let lastRead = 0;
  let quickUntil = 0;
  let reads = 0;
  let missed = 0;
  const told = new Set<number>();
  /** Found by single polls, with the count of reads then. */
  const found = new Map<number, number>();

  function turnOff(now: number, intervals: number, msg: string): void {
    offUntil = now + intervals * pollInterval;
    cursor = null;
    missed = 0;
    found.clear();
    log.info(msg, { seconds: Math.round((intervals * pollInterval) / 1000) });
  }

  function note(id: number): void {
    if (found.delete(id)) missed = 0;
    told.delete(id);
    told.add(id);
    if (told.size <= MAX_TOLD) return;
    for (const oldest of told) {
      told.delete(oldest);
      return;
    }
  }

  /** What was found finished two reads ago and is still not in the list was left out. */
  function countMissed(now: number): void {
    for (const [id, when] of found) {
      if (reads < when + 2) continue;
      found.delete(id);
      missed += 1;
    }
    if (missed >= MAX_MISSED) {
      turnOff(
        now,
        DISTRUST,
        "VMRay's list of finished submissions leaves some out, each is asked after by itself",
      );
    }
  }

  async function readPages(now: number, signal: AbortSignal): Promise<readonly string[]> {
    const keys: string[] = [];
    for (let page = 0; page < MAX_PAGES; page++) {
      const limit = cursor === null ? FIRST_PAGE : PAGE;
      const next = await client.finishedAfter(cursor, limit, signal);
      if (next.cursor === null) return keys;
      const ids = next.submissions.map((each) => each.submission_id);
      for (const id of ids) note(id);
      if (next.cursor !== cursor) keys.push(...(await spool.submissionsFinished(ids, next.cursor, now)));
      cursor = next.cursor;
      if (ids.length < limit) return keys;
    }
    return keys;
  }

  return {
    trusted: (now) => now >= offUntil,
    nextAt: () => Math.max(at, offUntil),
    async read(now, signal) {
      at = now + (now < quickUntil ? pollInterval / QUICK : pollInterval);
      if (!loaded) {
        cursor = await spool.finishedCursor();
        loaded = true;
      } else if (now - lastRead > STALE * pollInterval) cursor = null;
      lastRead = now;
      let keys: readonly string[];
      try {
        keys = await readPages(now, signal);
      } catch (thrown) {
        if (!notHere(thrown)) throw thrown;
        turnOff(now, UNSUPPORTED, "VMRay has no list of finished submissions for this key");
        return [];
      }
      reads += 1;
      countMissed(now);
      return keys;
    },
    submitted(now) {
      quickUntil = now + QUICK * pollInterval;
      at = Math.min(at, now + pollInterval / QUICK);
    },
    foundFinished(id) {
      if (!told.has(id)) found.set(id, reads);
    },
    toldOf: (id) => told.has(id),
  };
}

function notHere(thrown: unknown): boolean {
  return thrown instanceof VmrayError && [400, 403, 404, 405].includes(thrown.status ?? 0);
}
