/**
 * What an alert destination remembers: alerts that wait, who was told of which content, how many went out.
 *
 * In memory and, after `save`, in the spool: a restart goes on where it was. Events go in; what is to be sent, and
 * when, comes out. A content is told to a recipient once in a window; a fixed address gets one alert with a count, and
 * at the end of the window one more where more mails came. With a digest each address has one mail in so long. Bounded:
 * MAX_WAITING alerts wait, beyond it the caller is to wait; of MAX_TOLD the oldest are forgotten first.
 */
import { createHash } from "node:crypto";
import type { Spool } from "../spool/spool.ts";
import { type AlertRow, type KeptEvent, MAX_RECIPIENTS_KNOWN } from "./facts.ts";
import { allows, type HourCount, isForgettable, NO_ALERTS, withLeftOut, withSent } from "./limit.ts";
import { addressKey } from "./recipients.ts";

export type Reader = {
  readonly address: string;
  /** From the configuration, not from the mail. */
  readonly fixed: boolean;
  /** True for a recipient of the mail. */
  readonly yours: boolean;
};

/** One alert to one address: it waits while `dueAt` is a time. */
export type Note = Reader & {
  readonly kind: "alert" | "digest";
  /** Contents it is about, hashed. */
  readonly contents: readonly string[];
  /** More mails with the same content belong to it until then. */
  readonly until: number;
  readonly dueAt: number | null;
  /** Tries so far, and the first one. */
  readonly attempts: number;
  readonly triedAt: number | null;
  readonly rows: readonly (AlertRow & { readonly contents: readonly string[] })[];
  /** Mails not told yet. */
  readonly mails: number;
  /** Their recipients, each once, as far as they are known. */
  readonly recipients: readonly string[];
  /** Of the last mails, so that none counts twice. */
  readonly seen: readonly string[];
};

export type WaitingNote = Note & { readonly id: string };

export type LedgerSettings = {
  readonly campaign_window: number;
  readonly campaign_wait: number;
  readonly digest?: number | undefined;
  readonly max_per_recipient_hour: number;
  readonly max_per_hour: number;
};

export type Ledger = {
  /** Notes an event for its readers. `contents` are what makes it the same as another one. */
  record(
    event: KeptEvent,
    contents: readonly string[],
    readers: readonly Reader[],
    recipients: readonly string[],
  ): void;
  /** False where too many wait. */
  hasRoom(): boolean;
  waiting(): number;
  /** Those to be sent at `now`, longest due first. */
  due(now: number): readonly WaitingNote[];
  /** When the next is due, null where none waits. */
  nextAt(): number | null;
  /** False where the hour has had enough alerts; digests are not counted. */
  allows(note: Note): boolean;
  leftOut(note: Note): number;
  sent(note: WaitingNote): void;
  /** Not to be sent after all: the relay refused it for good, or a limit (which counts it). */
  dropped(note: WaitingNote, why: "refused" | "limit"): void;
  postponed(note: WaitingNote, until: number): void;
  /** Writes what changed. Throws what the spool throws; a later call writes it then. */
  save(): Promise<void>;
};

const MAX_WAITING = 10_000;
const MAX_TOLD = 100_000;
const MAX_SEEN = 100;
const MAX_ROWS = 50;
const MAX_CONTENTS = 20;
const TOTAL = "limit:";

const short = (text: string) => createHash("sha256").update(text).digest("hex").slice(0, 20);

export async function openLedger(options: {
  readonly destination: string;
  readonly settings: LedgerSettings;
  readonly spool: Pick<Spool, "alertNotes" | "putAlertNotes">;
  readonly now: () => number;
}): Promise<Ledger> {
  const { settings, now, spool, destination } = options;
  const notes = new Map<string, Note>();
  const counts = new Map<string, HourCount>();
  /** Address and content to the note that told it. */
  const told = new Map<string, string>();
  const waiting = new Set<string>();
  let dirty = new Set<string>();

  const toldKey = (address: string, content: string) => `${addressKey(address)} ${content}`;
  const countKey = (address: string) => `${TOTAL}${addressKey(address)}`;

  const put = (id: string, note: Note) => {
    notes.set(id, note);
    dirty.add(id);
    if (note.dueAt === null) waiting.delete(id);
    else waiting.add(id);
    for (const content of note.contents) {
      const key = toldKey(note.address, content);
      const other = notes.get(told.get(key) ?? "");
      if (other === undefined || other === note || other.until < note.until) told.set(key, id);
    }
  };
  const forget = (id: string) => {
    const note = notes.get(id);
    notes.delete(id);
    waiting.delete(id);
    dirty.add(id);
    for (const content of note?.contents ?? []) {
      const key = toldKey(note?.address ?? "", content);
      if (told.get(key) === id) told.delete(key);
    }
  };
  const putCount = (key: string, count: HourCount) => {
    if (isForgettable(count, now())) counts.delete(key);
    else counts.set(key, count);
    dirty.add(key);
  };

  for (const { id, body } of await spool.alertNotes(destination)) {
    if (id.startsWith(TOTAL)) counts.set(id, JSON.parse(body) as HourCount);
    else put(id, JSON.parse(body) as Note);
  }
  dirty = new Set();

  /** Drops what needs not be known any more. */
  const sweep = () => {
    const time = now();
    for (const [id, { dueAt, until }] of notes) if (dueAt === null && until <= time) forget(id);
    for (const [key, count] of counts) if (isForgettable(count, time)) putCount(key, count);
    for (const id of notes.keys()) {
      if (notes.size <= MAX_TOLD) break;
      if (!waiting.has(id)) forget(id);
    }
  };
  let sweptAt = 0;

  const joined = (note: Note, seen: string, recipients: readonly string[]): Note => {
    const known = note.seen.includes(seen);
    const keys = new Set(note.recipients.map(addressKey));
    const added = recipients.filter((to) => {
      if (keys.has(addressKey(to))) return false;
      keys.add(addressKey(to));
      return true;
    });
    return {
      ...note,
      mails: note.mails + (known ? 0 : 1),
      seen: known ? note.seen : [...note.seen, seen].slice(-MAX_SEEN),
      recipients: [...note.recipients, ...added].slice(0, MAX_RECIPIENTS_KNOWN),
    };
  };

  const record: Ledger["record"] = (event, allContents, readers, recipients) => {
    const time = now();
    if (time - sweptAt > 60_000 || notes.size > MAX_TOLD) {
      sweptAt = time;
      sweep();
    }
    const contents = [...new Set(allContents.map(short))].slice(0, MAX_CONTENTS);
    const seen = short(JSON.stringify([event.mail?.id, contents]));
    const row = { event, mails: 1, contents };
    for (const reader of readers) {
      const { address } = reader;
      const fresh: Note = {
        ...reader,
        kind: "alert",
        contents,
        until: time + settings.campaign_window,
        dueAt: time + (reader.fixed ? settings.campaign_wait : 0),
        attempts: 0,
        triedAt: null,
        rows: [row],
        mails: 1,
        recipients: recipients.slice(0, MAX_RECIPIENTS_KNOWN),
        seen: [seen],
      };
      if (settings.digest !== undefined) {
        const id = `digest:${addressKey(address)}`;
        const note = notes.get(id);
        if (note === undefined || note.dueAt === null) {
          const seenBefore = note?.seen ?? [];
          if (seenBefore.includes(seen)) continue;
          const dueAt = time + settings.digest;
          put(id, {
            ...fresh,
            kind: "digest",
            contents: [],
            until: dueAt,
            dueAt,
            seen: [...seenBefore, seen],
          });
        } else if (!note.seen.includes(seen)) {
          put(id, { ...joined(note, seen, recipients), rows: withRow(note.rows, row) });
        } else put(id, joined(note, seen, recipients));
        continue;
      }
      const ids = contents.map((content) => told.get(toldKey(address, content)));
      const olds = ids.map((id) => (id === undefined ? undefined : notes.get(id)));
      const isKnown = (note: Note | undefined) =>
        note !== undefined && (note.until > time || note.dueAt !== null);
      const [firstId] = ids;
      const [first] = olds;
      if (firstId === undefined || first === undefined || !olds.every(isKnown)) {
        const unknown = contents.filter((_, at) => !isKnown(olds[at]));
        put(`alert:${event.id}:${addressKey(address)}`, { ...fresh, contents: unknown });
        continue;
      }
      const known = first.seen.includes(seen);
      const grown = joined(first, seen, recipients);
      if (first.dueAt !== null) {
        const rows = known ? first.rows : first.rows.map((one) => ({ ...one, mails: one.mails + 1 }));
        put(firstId, { ...grown, yours: first.yours || reader.yours, rows });
      } else if (!known && first.fixed) {
        put(firstId, { ...grown, rows: [row], dueAt: first.until, attempts: 0, triedAt: null });
      }
    }
  };

  /** What is left of a note when nothing of it waits any more. */
  const settled = (note: WaitingNote) => {
    const { id, ...rest } = note;
    const time = now();
    const until = rest.until > time ? rest.until : time + settings.campaign_window;
    put(id, { ...rest, until, dueAt: null, rows: [], mails: 0, recipients: [], attempts: 0, triedAt: null });
  };

  const counted = (note: Note) => [countKey(note.address), TOTAL];
  const countOf = (key: string) => counts.get(key) ?? NO_ALERTS;
  return {
    record,
    hasRoom: () => waiting.size < MAX_WAITING,
    waiting: () => waiting.size,
    due: (time) =>
      [...waiting]
        .flatMap((id): readonly WaitingNote[] => {
          const note = notes.get(id);
          return note !== undefined && note.dueAt !== null && note.dueAt <= time ? [{ ...note, id }] : [];
        })
        .toSorted((a, b) => (a.dueAt ?? 0) - (b.dueAt ?? 0)),
    nextAt: () =>
      [...waiting].reduce<number | null>((next, id) => {
        const dueAt = notes.get(id)?.dueAt ?? null;
        return dueAt === null ? next : Math.min(next ?? dueAt, dueAt);
      }, null),
    allows: (note) =>
      note.kind === "digest" ||
      (allows(countOf(countKey(note.address)), now(), settings.max_per_recipient_hour) &&
        allows(countOf(TOTAL), now(), settings.max_per_hour)),
    leftOut: (note) => countOf(countKey(note.address)).leftOut,
    sent(note) {
      if (note.kind === "alert")
        for (const key of counted(note)) putCount(key, withSent(countOf(key), now()));
      settled(note);
    },
    dropped(note, why) {
      if (why === "limit") {
        const key = countKey(note.address);
        putCount(key, withLeftOut(countOf(key), now()));
      }
      settled(note);
    },
    postponed({ id, ...note }, until) {
      put(id, { ...note, dueAt: until, attempts: note.attempts + 1, triedAt: note.triedAt ?? now() });
    },
    async save() {
      if (dirty.size === 0) return;
      const ids = [...dirty];
      dirty = new Set();
      try {
        await spool.putAlertNotes(
          destination,
          ids.map((id) => {
            const kept = notes.get(id) ?? counts.get(id);
            return { id, body: kept === undefined ? null : JSON.stringify(kept) };
          }),
        );
      } catch (thrown) {
        for (const id of ids) dirty.add(id);
        throw thrown;
      }
    },
  };
}

/** Rows of a digest with one more mail: in the row of the same content, or in one of its own while there is room. */
function withRow(rows: Note["rows"], row: Note["rows"][number]): Note["rows"] {
  const same = rows.findIndex(({ contents }) => row.contents.every((content) => contents.includes(content)));
  if (same >= 0) return rows.map((one, at) => (at === same ? { ...one, mails: one.mails + 1 } : one));
  return rows.length < MAX_ROWS ? [...rows, row] : rows;
}
