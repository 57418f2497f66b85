/**
 * One submission: what the budget allows is charged and marked in the spool before the first byte goes out, what it does
 * not allow is not sent.
 */
import type { AnalysisLane, AnalysisProgress, Instead, Tried } from "../spool/spool.ts";
import type { Budget, BudgetSettings, Permit } from "./budget.ts";
import type { VmrayClient } from "./client.ts";
import { type Item, isSeen, type Outcome } from "./item.ts";
import type { Lanes } from "./lanes.ts";
import type { Pauses, Tickets } from "./pauses.ts";
import type { Records } from "./records.ts";
import { mayStillArrive, type Sender } from "./sending.ts";
import { createSizeLimit } from "./size-limit.ts";
import {
  afterSubmit,
  type Finish,
  failed,
  insteadOf,
  isAgain,
  isQuotaDenial,
  olderVerdict,
  onlyLookedUp,
} from "./steps.ts";
import type { AnalyzerTiming } from "./timing.ts";

/** Where this is one of several. */
export type OneOfSeveral = {
  readonly name: string;
  /** The name of the one to ask next, after those that did not take a content; null where there is none left. */
  readonly after: (tried: readonly string[]) => string | null;
};

export type SubmittingOptions = {
  /** The client for a step of this one. */
  readonly clientFor: (item: Item) => VmrayClient;
  readonly send: Sender;
  readonly budget: Budget;
  readonly lanes: Pick<Lanes, "raise">;
  readonly pauses: Pick<Pauses, "state" | "passSubmit">;
  readonly records: Records;
  readonly settings: {
    readonly concurrency: number;
    /** Milliseconds. */
    readonly resend_after: number;
    readonly budget: Pick<BudgetSettings, "count_reputation">;
  };
  readonly several: OneOfSeveral | undefined;
  readonly timing: Pick<AnalyzerTiming, "faultFirst">;
  readonly now: () => number;
  /** Ends calls that only read, and those that submit. */
  readonly signals: { readonly reads: AbortSignal; readonly posts: AbortSignal };
};

export type Submitting = {
  mayRun(lane: Extract<AnalysisLane, "send" | "upload">, at: number): boolean;
  /** Submits, and says what follows. Throws what the call throws; `item` then says whether it may have been sent. */
  submit(item: Item, tickets: Tickets): Promise<Outcome>;
  /** What follows where this analyzer does not take a content, for `why`; `otherwise` where nobody does. */
  notTaken(item: Item, why: string, otherwise: Finish): Promise<Outcome>;
  /**
   * How long to wait for the next look for a submission that VMRay does not have, milliseconds, longer each time; 0
   * where it may be sent again.
   */
  lateWait(item: Item, progress: Sent, at: number): number;
  /** Submissions since the start. */
  count(): number;
};

type Sent = Extract<AnalysisProgress, { readonly state: "submitting" }>;

export class Stopping extends Error {}

export function createSubmitting(options: SubmittingOptions): Submitting {
  const { clientFor, send, budget, lanes, pauses, records, settings, several, timing, now, signals } =
    options;
  const { concurrency, resend_after: resendAfter } = settings;
  const maxUploads = Math.max(1, concurrency - Math.ceil(concurrency / 4));
  const sizes = createSizeLimit();
  let submitting = 0;
  let uploads = 0;
  let count = 0;

  /** One that may have been sent before is paid already, as what it was sent. */
  function permitOf(item: Item): { readonly permit: Permit; readonly instead: Instead | null } {
    const { job } = item;
    const { action } = job.artifact.decision;
    if (job.progress.state === "submitting")
      return { permit: { allowed: true, day: null }, instead: insteadOf(job) };
    const permit = budget.take(action, item.priority, now(), job.mailId);
    if (permit.allowed || settings.budget.count_reputation) return { permit, instead: null };
    if (action !== "dynamic" && action !== "static") return { permit, instead: null };
    // VMRay has asked for the reputation of what it has a sample of.
    const cheaper = isSeen(job) ? permit : budget.take("reputation", item.priority, now(), job.mailId);
    return cheaper.allowed
      ? { permit: cheaper, instead: { action: "reputation", why: permit.reason } }
      : { permit, instead: null };
  }

  /** Commits that the POST may have been sent, and whom it is charged to. */
  async function begin(item: Item, permit: Permit, instead: Instead | null): Promise<void> {
    if (signals.reads.aborted) throw new Stopping();
    const progress: AnalysisProgress = {
      state: "submitting",
      ...(isAgain(item.job) ? { again: true } : {}),
      ...(instead === null ? {} : { instead }),
    };
    // One that may have been sent before is charged already.
    const day = permit.allowed ? (permit.day ?? undefined) : undefined;
    const spent = { ...item.spent, submissions: item.spent.submissions + 1 };
    const charged = day ?? item.charged;
    const sent = { ...item, spent, charged };
    await records.commit(() => records.record(sent, progress, now(), item.job.faults, day));
    item.charged = charged;
    item.job = { ...item.job, progress };
    item.refused = false;
    count += 1;
    item.spent.submissions += 1;
  }

  /** The name of the analyzer to ask next, null where there is none. */
  function nextAfter(tried: readonly Tried[]): string | null {
    if (several === undefined) return null;
    return several.after([...tried.map(({ analyzer }) => analyzer), several.name]);
  }

  /** What is not analysed anew has the verdict VMRay has; what it does not know is `otherwise`. */
  function notAnalysed(item: Item, why: string, otherwise: Finish): Promise<Finish> {
    return isAgain(item.job)
      ? olderVerdict(clientFor(item), item.job, why, now(), signals.reads)
      : Promise.resolve(otherwise);
  }

  /** What this analyzer does not take another one may, where VMRay has no older verdict that is as deep either. */
  async function notTaken(item: Item, why: string, otherwise: Finish): Promise<Outcome> {
    const older = isAgain(item.job) ? await notAnalysed(item, why, otherwise) : null;
    if (older !== null && older.verdict.partial !== true) return older;
    const to = nextAfter(item.tried);
    return to === null ? (older ?? otherwise) : { kind: "move", to, why };
  }

  /** Why a file need not be uploaded here to be refused; null where there is no other analyzer for it. */
  function tooLarge({ job: { artifact, progress }, tried }: Item): string | null {
    if (artifact.kind === "url" || progress.state === "submitting" || nextAfter(tried) === null) return null;
    const { size } = artifact.attachment;
    const limit = sizes.exceeded(size, now());
    return limit === null ? null : `it has ${size} bytes, and one of ${limit} bytes was too large for VMRay`;
  }

  return {
    mayRun(lane, at) {
      if (!budget.known) return false;
      const gate = pauses.state("submits", at);
      if (gate === "shut" || (gate === "trial" && submitting > 0)) return false;
      return lane === "send" || uploads < maxUploads;
    },
    async submit(item, tickets) {
      const large = tooLarge(item);
      if (large !== null) return notTaken(item, large, failed(large));
      const { permit, instead } = permitOf(item);
      if (!permit.allowed) {
        const before = item.priority;
        await lanes.raise([item]);
        // What another mail wants more has the reserve.
        if (item.priority < before)
          return { kind: "submit", again: isAgain(item.job), seen: isSeen(item.job) };
        return notTaken(item, permit.reason, onlyLookedUp(permit.reason));
      }
      const file = item.job.artifact.kind === "attachment";
      let begun = false;
      submitting += 1;
      if (file) uploads += 1;
      try {
        const answer = await send(
          item.job,
          instead,
          async () => {
            await begin(item, permit, instead);
            begun = true;
          },
          signals.posts,
        );
        if (answer === null) {
          const why = "the raw mail is no longer kept, so its attachment cannot be submitted";
          return notAnalysed(item, why, failed(why));
        }
        pauses.passSubmit(tickets.submits);
        if (item.job.artifact.kind === "attachment") {
          const { size } = item.job.artifact.attachment;
          if (answer.tooLarge === true) sizes.refused(size, now());
          else if (answer.submissions.length > 0) sizes.taken(size);
        }
        const next = await afterSubmit(clientFor(item), item.job, answer, now(), signals.posts);
        const note = next.kind === "follow" ? (next.progress.note ?? "") : "";
        item.refused = next.kind !== "follow";
        const action = instead?.action ?? item.job.artifact.decision.action;
        if (next.kind === "denied" || isQuotaDenial(note)) budget.denied(action, now());
        else budget.accepted(action);
        const refused = next.kind === "finish" && next.verdict.outcome === "failed";
        return refused ? notTaken(item, next.verdict.reason ?? "VMRay refused the submission", next) : next;
      } catch (thrown) {
        const { job } = item;
        if (begun && job.progress.state === "submitting") {
          const late = mayStillArrive(thrown) ? resendAfter : 0;
          item.job = { ...job, progress: { ...job.progress, resendAt: now() + late } };
        }
        throw thrown;
      } finally {
        if (!begun) budget.giveBack(permit);
        submitting -= 1;
        if (file) uploads -= 1;
      }
    },
    notTaken,
    lateWait(item, progress, at) {
      const resendAt = progress.resendAt ?? at + resendAfter;
      item.job = { ...item.job, progress: { ...progress, resendAt } };
      // A clock that was set back does not make it longer.
      const left = Math.min(resendAt - at, resendAfter);
      return Math.min(left, Math.max(timing.faultFirst, resendAfter - left));
    },
    count: () => count,
  };
}
