/**
 * What the pool writes into the spool: committed again and again while the spool has a fault, since what VMRay said
 * must not be lost for it.
 */
import { asSensorError, type ErrorCode, type SensorError } from "../errors.ts";
import type { AnalysisProgress, Spool } from "../spool/spool.ts";
import { backoff } from "./gate.ts";
import { type Item, keptOf } from "./item.ts";

export const SPOOL_FAULTS: ReadonlySet<ErrorCode> = new Set(["SPOOL_FULL", "SPOOL_BUSY", "SPOOL_BROKEN"]);

export type RecordsOptions = {
  readonly spool: Pick<Spool, "recordProgress">;
  readonly note: (error: SensorError, msg: string) => void;
  readonly random: () => number;
  /** Aborted when the sensor stops: then a fault of the spool ends the commit. */
  readonly stopped: AbortSignal;
};

export type Records = {
  /** Throws what the write throws, faults of the spool only when the sensor stops. */
  commit(write: () => Promise<void>): Promise<void>;
  /** Writes once how far an analysis is; `charge` is the day to which one submission more is charged. */
  record(
    item: Item,
    progress: AnalysisProgress,
    nextAt: number,
    faults: number,
    charge?: string,
  ): Promise<void>;
};

export function createRecords({ spool, note, random, stopped }: RecordsOptions): Records {
  return {
    async commit(write) {
      for (let faults = 1; ; faults++) {
        try {
          return await write();
        } catch (thrown) {
          const error = asSensorError(thrown);
          if (stopped.aborted || !SPOOL_FAULTS.has(error.code)) throw error;
          if (faults === 1) note(error, "the spool takes no progress of analyses for now");
          await Bun.sleep(backoff(faults, 200, 5_000, random));
        }
      }
    },
    async record(item, progress, nextAt, faults, charge) {
      const noted = item.fault !== null;
      await spool.recordProgress(item.key, keptOf(item, progress), nextAt, faults, charge);
      item.noted = noted;
    },
  };
}
