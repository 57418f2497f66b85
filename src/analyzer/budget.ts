/**
 * How many submissions may be made: the daily budget of the configuration, and what VMRay says of its own quota.
 *
 * Submissions are charged to the UTC day, in the spool, with the commit before each is sent, as one, and with the commit
 * of the verdict as what VMRay says they took; here is what that comes to, kept in memory. A share of the budget is left
 * to high priority. Time comes in; nothing here waits or calls.
 */
import type { MailUse, Settlement } from "../spool/spool.ts";
import { ACTIONS, type Action } from "../triage/plan.ts";

export type BudgetSettings = {
  /** Submissions a UTC day; undefined: no limit. */
  readonly per_day?: number | undefined;
  /** Percent of it that only high priority may use. */
  readonly reserve: number;
  /** Percent of `per_day` that the parts of one mail may use, one analysis at least. */
  readonly per_mail: number;
  /** False where submissions for the reputation alone cost nothing: they are neither counted nor held back. */
  readonly count_reputation: boolean;
};

export type Permit =
  /** Charge the submission to this day; null where it costs nothing. */
  | {
      readonly allowed: true;
      readonly day: string | null;
      /** After a refusal, the one that tries whether VMRay takes submissions again. */
      readonly trial?: Action;
      /** The mail on whose share it goes. */
      readonly mail?: string;
    }
  /** Why not, a sentence without a full stop. */
  | { readonly allowed: false; readonly reason: string };

export type BudgetStatus = {
  /** Null where there is no limit. */
  readonly perDay: number | null;
  /** Today's submissions that count. */
  readonly usedToday: number;
  /** How many of `perDay` only high priority may use. */
  readonly reserve: number;
  /** True from the first submission of the day that was held back for the budget. */
  readonly usedUp: boolean;
  /** When the next day begins, milliseconds since 1970. */
  readonly renewsAt: number;
  /** What is done instead of an analysis that the budget does not allow. */
  readonly cheaper: "lookup" | "reputation";
  /** When VMRay, which refused submissions for its own quota, is tried again at first; null where it did not. */
  readonly quotaRetryAt: number | null;
};

/** What became different, for people: name and message of a `sensor.state` event. */
export type StateChange = { readonly name: string; readonly message: string };

export type Budget = {
  /**
   * Says what was charged to `day` before, and which states were told before the start; submissions are held back until
   * it is known. `mails`: how much of it each mail used that is still being analysed.
   */
  begin(day: string, used: number, open: readonly string[], mails?: readonly MailUse[]): void;
  /** Names of the states that were told and are not over, that of a quota with the action refused. */
  open(): readonly string[];
  readonly known: boolean;
  /** Asks for one submission of a part of `mail` and, where it is allowed and costs something, takes it. */
  take(action: Action, priority: number, now: number, mail: string): Permit;
  /** Gives back what was taken and not used. */
  giveBack(permit: Permit): void;
  /** VMRay refused a submission for its quota: none for this action is made until one is tried again. */
  denied(action: Action, now: number): void;
  /** VMRay took a submission for this action. */
  accepted(action: Action): void;
  /**
   * Of one for `mail` that was charged to `charged`: VMRay says that it took `consumed`. Gives what is to be charged with it, null
   * for nothing. More is charged to the present day, less is given back to the day charged.
   */
  settle(charged: string, consumed: number, now: number, mail: string): Settlement | null;
  /** Changes since the last call. */
  changes(now: number): readonly StateChange[];
  status(now: number): BudgetStatus;
};

/** How long after a refusal for its quota VMRay is tried again, milliseconds. */
export const QUOTA_RETRY = 15 * 60_000;
/** No submission takes more; a number of VMRay beyond it is a mistake. */
const MAX_CONSUMED = 100_000;
const USED_UP = "budget_used_up";
/** With the action behind it. */
const QUOTA_USED_UP = "quota_used_up.";
const HIGH = 0;
const LOW = 2;
const DAY = 86_400_000;

/** The UTC day, `2026-11-24`. */
export function dayOf(now: number): string {
  return new Date(now).toISOString().slice(0, 10);
}

export function createBudget(settings: BudgetSettings, quotaRetry: number = QUOTA_RETRY): Budget {
  const { per_day: perDay } = settings;
  const reserve = perDay === undefined ? 0 : Math.ceil((perDay * settings.reserve) / 100);
  const shared = (perDay ?? 0) - reserve;
  // A new day, or another configuration since it was told.
  const backAgain =
    perDay === undefined
      ? "analyses have no daily budget any more"
      : `the daily budget of ${perDay} analyses is there again`;
  const cheaper = settings.count_reputation ? "only looked up" : "only asked for their reputation";
  let day: string | null = null;
  let used = 0;
  let usedUp = false;
  /** When each action that VMRay refused is tried again: reports and verdicts have quotas of their own. */
  const retryAt = new Map<Action, number>();
  let told = { usedUp: false, denied: false };
  const mailLimit =
    perDay === undefined
      ? Number.POSITIVE_INFINITY
      : Math.max(1, Math.floor((perDay * settings.per_mail) / 100));
  /** What each mail used of the day, as many as there were analyses at most. */
  const ofMail = new Map<string, number>();
  const chargeMail = (mail: string, by: number) => {
    if (perDay === undefined) return;
    const uses = (ofMail.get(mail) ?? 0) + by;
    if (uses > 0) ofMail.set(mail, uses);
    else ofMail.delete(mail);
  };

  const roll = (now: number) => {
    const today = dayOf(now);
    // A clock that is set back does not open the budget of a day anew.
    if (day === null || today <= day) return;
    day = today;
    used = 0;
    usedUp = false;
    ofMail.clear();
  };

  return {
    begin(of, before, open, mails = []) {
      day = of;
      used = before;
      for (const { mail, uses } of mails) chargeMail(mail, uses);
      const refused = ACTIONS.filter((action) => open.includes(QUOTA_USED_UP + action));
      told = { usedUp: open.includes(USED_UP), denied: refused.length > 0 };
      // Over only when there is a budget again, or VMRay takes one.
      usedUp ||= told.usedUp && perDay !== undefined && used >= shared;
      for (const action of refused) if (!retryAt.has(action)) retryAt.set(action, 0);
    },
    open: () => [
      ...(told.usedUp ? [USED_UP] : []),
      ...(told.denied ? [...retryAt.keys()].map((action) => QUOTA_USED_UP + action) : []),
    ],
    get known() {
      return day !== null || perDay === undefined;
    },
    take(action, priority, now, mail) {
      roll(now);
      const free = action === "reputation" && !settings.count_reputation;
      const retry = retryAt.get(action);
      if (retry !== undefined && now < retry) {
        return { allowed: false, reason: "VMRay's quota is used up" };
      }
      const tries = () => {
        if (retry === undefined) return {};
        // One alone; the others wait for what becomes of it.
        retryAt.set(action, now + quotaRetry);
        return { trial: action };
      };
      if (free) return { allowed: true, day: null, ...tries() };
      // Whatever the day may still bring comes first.
      if (perDay !== undefined && priority > LOW && used >= Math.floor(shared / 2)) {
        return {
          allowed: false,
          reason: `second looks are submitted in the first half of the daily budget of ${perDay} analyses`,
        };
      }
      if (perDay !== undefined && used >= (priority === HIGH ? perDay : shared)) {
        usedUp = true;
        const left = used < perDay ? ", the rest is kept for high priority" : "";
        return { allowed: false, reason: `the daily budget of ${perDay} analyses is used up${left}` };
      }
      if ((ofMail.get(mail) ?? 0) >= mailLimit) {
        return {
          allowed: false,
          reason: `one mail may use ${mailLimit} of the daily budget of ${perDay} analyses`,
        };
      }
      used += 1;
      chargeMail(mail, 1);
      return { allowed: true, day: day ?? dayOf(now), mail, ...tries() };
    },
    giveBack(permit) {
      if (permit.allowed && permit.trial !== undefined && retryAt.has(permit.trial))
        retryAt.set(permit.trial, 0);
      if (!permit.allowed || permit.day === null || permit.day !== day) return;
      used -= 1;
      if (permit.mail !== undefined) chargeMail(permit.mail, -1);
    },
    denied: (action, now) => void retryAt.set(action, now + quotaRetry),
    accepted: (action) => void retryAt.delete(action),
    settle(charged, consumed, now, mail) {
      roll(now);
      const by = Math.min(consumed, MAX_CONSUMED) - 1;
      if (by === 0 || (by < 0 && charged !== day)) return null;
      used = Math.max(0, used + by);
      chargeMail(mail, by);
      return { day: by < 0 ? charged : (day ?? dayOf(now)), by };
    },
    changes(now) {
      roll(now);
      const denied = retryAt.size > 0;
      const changes: StateChange[] = [];
      if (usedUp !== told.usedUp) {
        changes.push(
          usedUp
            ? {
                name: USED_UP,
                message: `the daily budget of ${perDay} analyses is used up: contents are ${cheaper} until 00:00 UTC`,
              }
            : { name: "budget_back", message: backAgain },
        );
      }
      if (denied !== told.denied) {
        changes.push(
          denied
            ? {
                name: "quota_used_up",
                message: `VMRay's quota is used up: no submissions for ${[...retryAt.keys()].join(", ")} are made`,
              }
            : { name: "quota_back", message: "VMRay takes submissions again" },
        );
      }
      told = { usedUp, denied };
      return changes;
    },
    status(now) {
      roll(now);
      return {
        perDay: perDay ?? null,
        usedToday: used,
        reserve,
        usedUp,
        renewsAt: (Math.floor(now / DAY) + 1) * DAY,
        cheaper: settings.count_reputation ? "lookup" : "reputation",
        quotaRetryAt: retryAt.size === 0 ? null : Math.max(now, Math.min(...retryAt.values())),
      };
    },
  };
}
