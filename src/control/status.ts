/**
 * What the control service is told by the stages beside what the spool knows. Plain numbers and texts, so that
 * a stage need not know the control service.
 */

import type { AnalyzerStatus as PoolStatus } from "../analyzer/analyzer.ts";

export type AnalyzerStatus = Pick<PoolStatus, "waiting" | "circuits" | "budget" | "quota" | "lastError"> & {
  /** Analyses being worked on at this moment. */
  readonly running: number;
  /** Analyses the pool has still to finish, those running included. */
  readonly open: number;
  /** Why no calls are made at the moment, null where the pool works. */
  readonly pausedReason: string | null;
  /** Where there are several. */
  readonly name?: string;
};

export type DestinationStatus = {
  /** As the cursor of the outbox is named: `siem:NAME` or `alert:NAME`. */
  readonly name: string;
  /** Whether the last delivery was taken; null where nothing was sent yet. */
  readonly up: boolean | null;
  /** Events delivered since the process started. */
  readonly delivered: number;
  /** Events it refused for good in that time; absent: none. */
  readonly refused?: number;
  readonly lastError: string | null;
  /** What waits beside the outbox: alerts that are composed and not sent. */
  readonly composed?: number;
};

export type ExtraStatus = {
  /** Null while the analyzer is not running. */
  readonly analyzer: AnalyzerStatus | null;
  /** Those beside it. */
  readonly furtherAnalyzers?: readonly AnalyzerStatus[];
  /** In the order of the configuration. */
  readonly destinations: readonly DestinationStatus[];
};
