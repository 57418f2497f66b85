/**
 * The notes of an alert destination in memory, and after `save` in the spool.
 *
 * An event, and a list of recipients, is kept once however many notes have it: a mail may have a thousand recipients.
 * Saving is done in pieces, so that no write is large; what a note needs is never written after it nor taken away
 * before it, so that a crash between two pieces leaves each note whole.
 */
import { createHash } from "node:crypto";
import type { Spool } from "../spool/spool.ts";
import type { KeptEvent } from "./facts.ts";
import type { Note } from "./ledger.ts";
import type { HourCount } from "./limit.ts";

export type Notes = {
  readonly notes: ReadonlyMap<string, Note>;
  readonly counts: ReadonlyMap<string, HourCount>;
  /** Null forgets. */
  put(id: string, note: Note | null): void;
  putCount(id: string, count: HourCount | null): void;
  /** False where it would be one more and there are too many. */
  hasRoomFor(event: KeptEvent): boolean;
  /** Writes what changed. Throws what the spool throws; a later call writes it then. */
  save(): Promise<void>;
};

/** Ids of counts begin so. */
export const COUNT = "limit:";
const EVENT = "event:";
const LIST = "to:";
/** Events and lists. */
const MAX_SHARED = 20_000;
const PIECE_ENTRIES = 500;
const PIECE_CHARACTERS = 1_000_000;

type StoredNote = Omit<Note, "rows" | "recipients"> & {
  /** Events and recipients are ids of shared values; older releases wrote the values. */
  readonly rows: readonly (Omit<Note["rows"][number], "event"> & { readonly event: string | KeptEvent })[];
  readonly recipients: string | readonly string[];
};

type Shared = { readonly value: KeptEvent | readonly string[]; notes: number; stored: boolean };

const listIds = new WeakMap<readonly string[], string>();
const listId = (list: readonly string[]): string => {
  const known = listIds.get(list);
  if (known !== undefined) return known;
  const id = `${LIST}${createHash("sha256").update(JSON.stringify(list)).digest("hex").slice(0, 32)}`;
  listIds.set(list, id);
  return id;
};

const eventId = (event: KeptEvent) => `${EVENT}${event.id}`;

function sharedOf(note: Note): readonly (readonly [id: string, value: Shared["value"]])[] {
  const events = note.rows.map(({ event }) => [eventId(event), event] as const);
  return note.recipients.length === 0 ? events : [...events, [listId(note.recipients), note.recipients]];
}

export async function openNotes(
  destination: string,
  spool: Pick<Spool, "alertNotes" | "putAlertNotes">,
): Promise<Notes> {
  const notes = new Map<string, Note>();
  const counts = new Map<string, HourCount>();
  const shared = new Map<string, Shared>();
  /** Shared values that no note has any more. */
  const unused = new Set<string>();
  const dirty = new Set<string>();
  let saving: Promise<void> | null = null;

  const put: Notes["put"] = (id, note) => {
    const before = notes.get(id);
    for (const [key, value] of note === null ? [] : sharedOf(note)) {
      const one = shared.get(key) ?? { value, notes: 0, stored: false };
      one.notes += 1;
      shared.set(key, one);
      unused.delete(key);
    }
    for (const [key] of before === undefined ? [] : sharedOf(before)) {
      const one = shared.get(key);
      if (one === undefined) continue;
      one.notes -= 1;
      if (one.notes === 0) unused.add(key);
    }
    if (note === null) notes.delete(id);
    else notes.set(id, note);
    dirty.add(id);
  };

  const load = async () => {
    const entries = new Map((await spool.alertNotes(destination)).map(({ id, body }) => [id, body]));
    for (const [id, body] of entries) {
      if (!id.startsWith(EVENT) && !id.startsWith(LIST)) continue;
      shared.set(id, { value: JSON.parse(body) as Shared["value"], notes: 0, stored: true });
      unused.add(id);
    }
    const read = <T extends Shared["value"]>(kept: string | T): T | undefined =>
      typeof kept === "string" ? (shared.get(kept)?.value as T | undefined) : kept;
    for (const [id, body] of entries) {
      if (id.startsWith(EVENT) || id.startsWith(LIST)) continue;
      if (id.startsWith(COUNT)) {
        counts.set(id, JSON.parse(body) as HourCount);
        continue;
      }
      const stored = JSON.parse(body) as StoredNote;
      put(id, {
        ...stored,
        rows: stored.rows.flatMap((row) => {
          const event = read<KeptEvent>(row.event);
          return event === undefined ? [] : [{ ...row, event }];
        }),
        recipients: read<readonly string[]>(stored.recipients) ?? [],
      });
    }
    dirty.clear();
  };
  await load();

  const encode = (note: Note): string => {
    const stored: StoredNote = {
      ...note,
      rows: note.rows.map((row) => ({ ...row, event: eventId(row.event) })),
      recipients: note.recipients.length === 0 ? [] : listId(note.recipients),
    };
    return JSON.stringify(stored);
  };

  /** The next entries to be written, with what their notes need. */
  const nextPiece = () => {
    const ids: string[] = [];
    const entries = new Map<string, string | null>();
    let size = 0;
    const add = (id: string, body: string | null) => {
      entries.set(id, body);
      size += body?.length ?? 0;
    };
    for (const id of dirty) {
      if (entries.size >= PIECE_ENTRIES || size >= PIECE_CHARACTERS) break;
      ids.push(id);
      const note = notes.get(id);
      for (const [key] of note === undefined ? [] : sharedOf(note)) {
        const one = shared.get(key);
        if (one?.stored === false && !entries.has(key)) add(key, JSON.stringify(one.value));
      }
      const count = counts.get(id);
      if (note !== undefined) add(id, encode(note));
      else add(id, count === undefined ? null : JSON.stringify(count));
    }
    return { ids, entries };
  };

  const write = (entries: ReadonlyMap<string, string | null>) =>
    spool.putAlertNotes(
      destination,
      [...entries].map(([id, body]) => ({ id, body })),
    );

  const writePiece = async () => {
    const { ids, entries } = nextPiece();
    for (const id of ids) dirty.delete(id);
    try {
      await write(entries);
    } catch (thrown) {
      for (const id of ids) dirty.add(id);
      throw thrown;
    }
    for (const id of entries.keys()) {
      const one = shared.get(id);
      if (one !== undefined) one.stored = true;
    }
  };
  const writeEnds = async () => {
    const ends = [...unused].slice(0, PIECE_ENTRIES);
    for (const id of ends) {
      unused.delete(id);
      shared.delete(id);
    }
    await write(new Map(ends.map((id) => [id, null])));
  };
  const saveAll = async () => {
    try {
      // What is unused goes last: by then no note in the spool is older than the one here.
      while (dirty.size > 0 || unused.size > 0) await (dirty.size > 0 ? writePiece() : writeEnds());
    } finally {
      // In the same turn as the last look: what changes after it begins another one.
      saving = null;
    }
  };

  return {
    notes,
    counts,
    put,
    putCount(id, count) {
      if (count === null) counts.delete(id);
      else counts.set(id, count);
      dirty.add(id);
    },
    hasRoomFor: (event) => shared.size < MAX_SHARED || shared.has(eventId(event)),
    async save() {
      if (dirty.size === 0 && unused.size === 0) return;
      saving ??= saveAll();
      await saving;
    },
  };
}
