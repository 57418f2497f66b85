/** The end of an analysis in this pool: its verdict, what it took and how long it serves later mails, or another pool. */
import type { Config } from "../config/schema.ts";
import type { Log } from "../log.ts";
import type { AnalysisProgress, Settlement, Spool } from "../spool/spool.ts";
import type { ContentVerdict } from "../verdict/verdict.ts";
import type { Budget } from "./budget.ts";
import { costOf, NOTHING_USED } from "./cost.ts";
import { type Item, logFields, type Outcome } from "./item.ts";
import type { Records } from "./records.ts";
import type { Finish } from "./steps.ts";
import type { OneOfSeveral } from "./submitting.ts";
import { oneLine } from "./vmray-error.ts";

export type DecidingOptions = {
  readonly spool: Pick<Spool, "finishAnalysis" | "moveAnalysis">;
  readonly budget: Pick<Budget, "settle">;
  readonly records: Pick<Records, "commit">;
  readonly cache: Config["vmray"]["cache"];
  readonly several: OneOfSeveral | undefined;
  readonly log: Log;
};

/** Both commit, with what is to be charged beside what was, and throw what the spool throws. */
export type Deciding = {
  finish(item: Item, next: Finish, at: number): Promise<void>;
  move(item: Item, next: Extract<Outcome, { readonly kind: "move" }>, at: number): Promise<void>;
  /** Since the start. */
  counts(): { readonly finished: number; readonly failed: number };
};

/** How long a verdict of whose evidence VMRay did not give all serves later mails, so that these have the rest. */
const LACKING_KEPT = 10 * 60_000;

export function createDeciding({ spool, budget, records, cache, several, log }: DecidingOptions): Deciding {
  const counts = { finished: 0, failed: 0 };

  /** What its submission took beside what it was charged as; `consumed` is null where VMRay does not say. */
  function settlementOf({ charged, job }: Item, consumed: number | null, at: number): Settlement | null {
    return charged === null || consumed === null ? null : budget.settle(charged, consumed, at, job.mailId);
  }

  /** The reason, with those of the analyzers before this one where none of them took it. */
  function reasonOf(item: Item, verdict: ContentVerdict): string | null {
    if (item.tried.length === 0 || verdict.verdict !== "not_available") return verdict.reason;
    const last = { analyzer: several?.name ?? "", why: verdict.reason ?? "VMRay knows nothing" };
    return oneLine([...item.tried, last].map(({ analyzer, why }) => `${analyzer}: ${why}`).join("; "));
  }

  /** Until when the verdict serves later mails, null for not at all. */
  function validUntil(item: Item, verdict: ContentVerdict, lasting: boolean, at: number): number | null {
    if (lasting && verdict.outcome === "judged") {
      const { verdict: word, evidence } = verdict;
      const kept = word === "not_available" ? (cache.not_available ?? cache.clean) : cache[word];
      return at + (evidence?.lacking === true ? Math.min(kept, LACKING_KEPT) : kept);
    }
    // A look-up that found nothing costs nothing and is made for each mail.
    const wanted = item.job.artifact.decision.action !== "lookup" && verdict.outcome !== "skipped";
    return wanted && verdict.verdict === "not_available" && cache.failed > 0 ? at + cache.failed : null;
  }

  return {
    async finish(item, next, at) {
      const { lasting, usage = item.refused ? NOTHING_USED : null } = next;
      const { quota = null, posts = 1 } = usage ?? {};
      const settlement = settlementOf(item, quota ?? (posts > 1 ? posts : null), at);
      if (posts > 1) log.warn("VMRay got a content more than once: an answer was lost", logFields(item.job));
      const cost = costOf(item.spent, item.job.progress, item.job.createdAt, at, usage);
      const verdict: ContentVerdict = {
        ...next.verdict,
        reason: reasonOf(item, next.verdict),
        ...(cost === undefined ? {} : { cost }),
        ...(several === undefined || next.verdict.outcome === "skipped" ? {} : { analyzer: several.name }),
      };
      const until = validUntil(item, verdict, lasting, at);
      await records.commit(() => spool.finishAnalysis(item.key, verdict, until, settlement));
      counts[verdict.outcome === "failed" ? "failed" : "finished"] += 1;
      log.info("content judged", {
        ...logFields(item.job),
        outcome: verdict.outcome,
        verdict: verdict.verdict,
        reason: verdict.reason,
        sample_id: verdict.vmray?.sample_id,
        submission_id: verdict.vmray?.submission_id,
        ms: at - item.job.createdAt,
      });
    },
    async move(item, { to, why }, at) {
      log.info("content goes to another analyzer", { ...logFields(item.job), to, reason: why });
      const tried = [...item.tried, { analyzer: several?.name ?? "", why }];
      const progress: AnalysisProgress = { state: "queued", spent: { ...item.spent }, tried };
      const settlement = settlementOf(item, item.refused ? 0 : null, at);
      await records.commit(() => spool.moveAnalysis(item.key, to, progress, settlement));
    },
    counts: () => ({ ...counts }),
  };
}
