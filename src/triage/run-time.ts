/**
 * The lists of a running sensor: what people and programs add and remove over the control service.
 *
 * In memory for triage, in the spool for good. A change counts for mails from the moment it is asked for, and is
 * answered when it is on disk; where the spool does not take it, memory goes back to what it was. Throws SensorError
 * SPOOL_* then.
 */
import type { Spool, StoredListEntry } from "../spool/spool.ts";
import { createLists, type ListEntry, type ListKey, type Lists } from "./lists.ts";

export type RunTimeLists = {
  readonly lists: Lists;
  /** Values are in normal form. "full": they do not fit, and nothing is added. */
  add(entries: readonly ListEntry[]): ReturnType<Spool["putListEntries"]>;
  /** Gives how many of them were there. */
  remove(keys: readonly ListKey[]): Promise<number>;
};

/** Milliseconds between two looks for what has expired. */
const PRUNE_EVERY = 60_000;
/** Entries read from the spool at once. */
const PAGE = 5_000;

/** Reads the lists from the spool. */
export async function openRunTimeLists(
  spool: Pick<Spool, "putListEntries" | "removeListEntries" | "listEntries">,
  now: () => number = Date.now,
): Promise<RunTimeLists> {
  const found: StoredListEntry[] = [];
  for (let before: number | null = null; ; ) {
    const page: readonly StoredListEntry[] = await spool.listEntries({}, PAGE, before);
    for (const entry of page) found.push(entry);
    before = page.at(-1)?.id ?? null;
    if (page.length < PAGE) break;
  }
  const lists = createLists(found, now);
  let prunedAt = now();

  /** Puts back what stood there, where nobody has changed it since. */
  const undoing = (keys: readonly ListKey[]) => {
    const before = keys.map((key) => ({ key, entry: lists.get(key) }));
    return (after: ReadonlyMap<ListKey, ListEntry | undefined>) => {
      for (const { key, entry } of before) {
        if (lists.get(key) !== after.get(key)) continue;
        if (entry === undefined) lists.remove(key);
        else lists.put(entry);
      }
    };
  };

  return {
    lists,
    add: async (entries) => {
      if (now() - prunedAt >= PRUNE_EVERY) {
        prunedAt = now();
        lists.prune();
      }
      const undo = undoing(entries);
      // Before the spool is asked: a mail that is planned from now on is committed after the entries.
      for (const entry of entries) lists.put(entry);
      const after = new Map(entries.map((entry) => [entry, entry]));
      try {
        const outcome = await spool.putListEntries(entries);
        if (outcome === "full") undo(after);
        return outcome;
      } catch (thrown) {
        undo(after);
        throw thrown;
      }
    },
    remove: async (keys) => {
      const undo = undoing(keys);
      for (const key of keys) lists.remove(key);
      try {
        return await spool.removeListEntries(keys);
      } catch (thrown) {
        undo(new Map());
        throw thrown;
      }
    },
  };
}
