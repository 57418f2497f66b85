/**
 * Applies what is new on a deny list to mails of the last hours: has the spool take one step after the other.
 *
 * What a running sensor is given is queued with it; here the files are looked through whose content is not what it was
 * at the last start or reload. What the steps find is told as `verdict.changed` by the verdict stage. A fault of the
 * spool is logged and tried again; after a crash it goes on where it was.
 */
import { asSensorError } from "../errors.ts";
import { faultFields, type Log } from "../log.ts";
import { repeat } from "../sleeper.ts";
import type { Spool } from "../spool/spool.ts";
import type { DenyList } from "../triage/files.ts";

const EVERY_MS = 500;
const FAULT_PAUSE_MS = 5_000;
/** Entries of a file looked up in one turn. */
const ENTRIES = 500;
/** After so many entries it is written down how far a file was looked through, also where no mail had one of them. */
const NOTE_EVERY = 20 * ENTRIES;
/** Longest rest after a turn, which else lasts as long as that: mails that come in wait for the same spool. */
const LONGEST_REST_MS = 100;
/** Mails looked at in one turn. */
const MAILS = 100;

export function startDenials(options: {
  readonly spool: Pick<Spool, "deniedFromFile" | "denyFromFile" | "keepDenyFiles" | "applyDenials">;
  readonly files: readonly DenyList[];
  readonly log: Log;
}): { stop(): Promise<void> } {
  const { spool } = options;
  const log = options.log.with({ stage: "lists" });
  const names = options.files.map(({ name }) => name);
  let left = [...options.files];
  /** How many entries of the first of them were looked up; null where that is not known yet. */
  let done: number | null = null;

  /** True where there was something to do. */
  const lookThrough = async (): Promise<boolean> => {
    const [file] = left;
    if (file === undefined) return false;
    const { count, entries, ...about } = file;
    const from = done ?? (await spool.deniedFromFile(about));
    const end = Math.min(count, from + ENTRIES);
    if (from < count) {
      const note = end === count || end % NOTE_EVERY < ENTRIES;
      await spool.denyFromFile(about, { from, entries: entries(from, end), note });
    }
    done = end < count ? end : null;
    if (done === null) left = left.slice(1);
    return true;
  };

  let named = false;
  return repeat(async () => {
    try {
      if (!named) await spool.keepDenyFiles(names);
      named = true;
      const begun = performance.now();
      const looked = await lookThrough();
      const mails = await spool.applyDenials(MAILS);
      if (mails > 0) log.debug("what is new on a deny list is applied to earlier mails", { mails });
      const rest = Math.min(LONGEST_REST_MS, performance.now() - begun);
      return looked || mails > 0 ? rest : EVERY_MS;
    } catch (thrown) {
      log.warn("deny lists are not applied to earlier mails for now", faultFields(asSensorError(thrown)));
      return FAULT_PAUSE_MS;
    }
  });
}
