/**
 * When submissions are asked after: all of them by the list of finished ones, and single ones to make sure of it, or
 * alone where there is no such list.
 */
import { asSensorError } from "../errors.ts";
import type { Log } from "../log.ts";
import type { AnalysisProgress, Spool } from "../spool/spool.ts";
import type { VmrayClient } from "./client.ts";
import { createFeed } from "./feed.ts";
import type { Lanes } from "./lanes.ts";
import type { Pauses } from "./pauses.ts";
import { SPOOL_FAULTS } from "./records.ts";

export type FollowingOptions = {
  readonly client: Pick<VmrayClient, "finishedAfter">;
  readonly spool: Pick<Spool, "submissionsFinished" | "finishedCursor">;
  readonly lanes: Pick<Lanes, "anySubmitted" | "finished">;
  readonly pauses: Pick<Pauses, "tickets" | "trip" | "note">;
  /** Milliseconds. */
  readonly pollInterval: number;
  readonly log: Log;
  readonly random: () => number;
  readonly stopped: AbortSignal;
};

export type Following = {
  /** Times the list was read. */
  reads(): number;
  mayRead(at: number): boolean;
  /** Reads the list and moves on what is finished. Throws nothing. */
  read(at: number): Promise<void>;
  mayPoll(at: number): boolean;
  /** A single submission is asked after. */
  polled(at: number): void;
  /** A single poll found these finished; the list should have them. */
  foundFinished(ids: readonly number[], at: number): void;
  /** A submission was made or joined; gives when it is asked after first. */
  submitted(progress: AnalysisProgress, joined: boolean, at: number): number;
  /** True where the list told of one of these, perhaps before anyone here knew its id. */
  toldOf(ids: readonly number[]): boolean;
  /** How long until a submission that is not finished is asked after again, milliseconds. */
  delay(progress: AnalysisProgress, at: number): number;
  nextAt(): readonly number[];
};

/** A submission in work for long is asked after less often, up to this many poll intervals, */
const MAX_STRETCH = 12;
/** and while the list of finished submissions says what is done, at least and at most so many. */
const SAFETY_FIRST = 12;
const SAFETY_MAX = 120;
/** Then so many single polls are made in a poll interval at most, whatever the number in flight. */
const SAFETY_POLLS = 4;

export function createFollowing(options: FollowingOptions): Following {
  const { client, spool, lanes, pauses, pollInterval, log, random, stopped } = options;
  const feed = createFeed({ client, spool, pollInterval, log });
  let reads = 0;
  let reading = false;
  let lastPollAt = 0;

  const nextPollAt = () => lastPollAt + pollInterval / SAFETY_POLLS;
  const jittered = (ms: number) => Math.round(ms * (0.8 + random() * 0.4));

  function delay(progress: AnalysisProgress, at: number): number {
    const elapsed = progress.state === "submitted" ? at - progress.submittedAt : 0;
    const [first, longest] = feed.trusted(at) ? [SAFETY_FIRST, SAFETY_MAX] : [1, MAX_STRETCH];
    const stretched = Math.min(elapsed / 10, pollInterval * longest);
    return jittered(Math.max(pollInterval * first, stretched));
  }

  return {
    reads: () => reads,
    mayRead: (at) => !reading && feed.trusted(at) && feed.nextAt() <= at && lanes.anySubmitted(),
    async read(at) {
      reading = true;
      reads += 1;
      const ticket = pauses.tickets().reads;
      try {
        lanes.finished(await feed.read(at, stopped));
      } catch (thrown) {
        if (stopped.aborted) return;
        const error = asSensorError(thrown);
        if (SPOOL_FAULTS.has(error.code))
          pauses.note(error, "the spool takes no finished submissions for now");
        else pauses.trip("reads", error, ticket);
      } finally {
        reading = false;
      }
    },
    // While the list of finished submissions is trusted, single polls only make sure of it.
    mayPoll: (at) => !feed.trusted(at) || at >= nextPollAt(),
    polled(at) {
      lastPollAt = at;
    },
    foundFinished(ids, at) {
      if (feed.trusted(at)) for (const id of ids) feed.foundFinished(id);
    },
    submitted(progress, joined, at) {
      // What is cached or asked for its reputation is done at once; the list of finished submissions tells.
      const dueAt = joined || !feed.trusted(at) ? at + jittered(pollInterval / 4) : at + delay(progress, at);
      feed.submitted(at);
      return dueAt;
    },
    toldOf: (ids) => ids.some(feed.toldOf),
    delay,
    nextAt: () => (lanes.anySubmitted() ? [feed.nextAt(), nextPollAt()] : []),
  };
}
