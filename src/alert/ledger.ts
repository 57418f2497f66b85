/**
 * What an alert destination remembers: alerts that wait, who was told of which content, how many went out.
 *
 * In memory and, after `save`, in the spool: a restart goes on where it was. Events go in; what is to be sent, and
 * when, comes out. A content is told to a recipient once in a window; a fixed address gets one alert with a count, and
 * at the end of the window one more where more mails came. With a digest each address has one mail in so long. What a
 * limit holds back becomes one summary for its address, sent as soon as the limit lets it. Nothing counts as told
 * before it was sent: what joins an alert while it is being sent is told later. Bounded: MAX_WAITING alerts wait,
 * beyond it the caller is to wait; of MAX_TOLD the oldest are forgotten first.
 */
import { createHash } from "node:crypto";
import type { Spool } from "../spool/spool.ts";
import { type AlertRow, type KeptEvent, MAX_RECIPIENTS_KNOWN } from "./facts.ts";
import { COUNT, openNotes } from "./ledger-notes.ts";
import { allowedAt, isForgettable, NO_ALERTS, withSent } from "./limit.ts";
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
  /** Only of a summary, which is written as a digest: the alerts that a limit held back for it. */
  readonly leftOut?: number;
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
  /** False where too many wait. To be asked before each event. */
  hasRoom(): boolean;
  waiting(): number;
  /** Ids of those to be sent at `now`, longest due first. */
  due(now: number): readonly string[];
  /** When the next is due, null where none waits. */
  nextAt(): number | null;
  /** The note to be sent now, as it stays while mails go on to join. Null where it does not wait any more. */
  begin(id: string): WaitingNote | null;
  /** When the limits let it be sent: now or later; digests are not limited. */
  allowedAt(note: Note): number;
  /** It waits until then by the limits: an alert within the summary for its address, which is returned. */
  held(id: string, until: number): Note | null;
  /** The note begun last was sent. What joined it since is not. */
  sent(id: string): void;
  /** Given up, untold. What joined it since it was begun is tried on its own. */
  refused(id: string): void;
  postponed(id: string, until: number): void;
  /** Writes what changed. Throws what the spool throws; a later call writes it then. */
  save(): Promise<void>;
};

const MAX_WAITING = 10_000;
const MAX_TOLD = 100_000;
const MAX_SEEN = 100;
const MAX_ROWS = 50;
const MAX_CONTENTS = 20;
const SWEEP_MS = 60_000;
/** A clock is put back where it is behind what it was by so much. */
const CLOCK_STEP_MS = 60_000;
/** Limits and retries hold an alert for at most so long at a time. */
const LONGEST_HOLD_MS = 3_600_000;
/** The count of all recipients together. */
const TOTAL = COUNT;

type Row = Note["rows"][number];

/** A mail on its way into notes. */
type Incoming = {
  readonly row: Row;
  readonly seen: string;
  readonly recipients: readonly string[];
  readonly time: number;
};

const short = (text: string) => createHash("sha256").update(text).digest("hex").slice(0, 20);
const countKey = (address: string) => `${COUNT}${addressKey(address)}`;
const digestId = (address: string) => `digest:${addressKey(address)}`;
const summaryId = (address: string) => `summary:${addressKey(address)}`;
const alertId = (event: KeptEvent, address: string) => `alert:${event.id}:${addressKey(address)}`;
const toldKey = (address: string, content: string) => `${addressKey(address)} ${content}`;
const isSummary = (note: Note) => note.leftOut !== undefined;

export async function openLedger(options: {
  readonly destination: string;
  readonly settings: LedgerSettings;
  readonly spool: Pick<Spool, "alertNotes" | "putAlertNotes">;
  readonly now: () => number;
}): Promise<Ledger> {
  const { settings, now } = options;
  const store = await openNotes(options.destination, options.spool);
  const { notes, counts } = store;
  /** Address and content to the note that told it. */
  const told = new Map<string, string>();
  const waiting = new Set<string>();
  /** The note that is being sent, and what it becomes: mails that come meanwhile join both. */
  let flight: { readonly id: string; sent: Note; untold: Note | null } | null = null;
  let sweptAt = 0;

  const index = (id: string, note: Note) => {
    if (note.dueAt === null) waiting.delete(id);
    else waiting.add(id);
    for (const content of note.contents) {
      const key = toldKey(note.address, content);
      const other = notes.get(told.get(key) ?? "");
      if (other === undefined || other === note || other.until < note.until) told.set(key, id);
    }
  };
  const put = (id: string, note: Note) => {
    store.put(id, note);
    index(id, note);
  };
  const forget = (id: string) => {
    const note = notes.get(id);
    if (note === undefined) return;
    store.put(id, null);
    waiting.delete(id);
    for (const content of note.contents) {
      const key = toldKey(note.address, content);
      if (told.get(key) === id) told.delete(key);
    }
  };
  for (const [id, note] of notes) index(id, note);

  let lookedAt = now();
  /** A clock that is put back must let nothing wait, or count as told, for longer than it would have. */
  const followClock = (time: number) => {
    const back = lookedAt - time;
    lookedAt = time;
    if (back < CLOCK_STEP_MS) return;
    const moved = (one: number | null) => (one === null ? null : one - back);
    for (const [id, note] of notes) {
      const { until, dueAt, triedAt } = note;
      put(id, { ...note, until: until - back, dueAt: moved(dueAt), triedAt: moved(triedAt) });
    }
  };
  /** What was noted in a future that no setting gives was noted by a clock that was wrong. */
  const longest = Math.max(
    settings.campaign_window,
    settings.campaign_wait,
    settings.digest ?? 0,
    LONGEST_HOLD_MS,
  );
  for (const [id, note] of notes) {
    const bound = (one: number) => Math.min(one, lookedAt + longest);
    const { until, dueAt, triedAt } = note;
    if (until === bound(until) && (dueAt === null || dueAt === bound(dueAt))) continue;
    put(id, {
      ...note,
      until: bound(until),
      dueAt: dueAt === null ? null : bound(dueAt),
      triedAt: triedAt === null ? null : Math.min(triedAt, lookedAt),
    });
  }

  /** Drops what needs not be known any more. */
  const sweep = (time: number) => {
    for (const [id, { dueAt, until }] of notes) if (dueAt === null && until <= time) forget(id);
    for (const [key, count] of counts) if (isForgettable(count, time)) store.putCount(key, null);
    for (const id of notes.keys()) {
      if (notes.size <= MAX_TOLD) break;
      if (!waiting.has(id)) forget(id);
    }
  };

  const union = createUnion();
  const joined = (note: Note, { seen, recipients }: Incoming): Note => {
    const known = note.seen.includes(seen);
    return {
      ...note,
      mails: note.mails + (known ? 0 : 1),
      seen: known ? note.seen : [...note.seen, seen].slice(-MAX_SEEN),
      recipients: union(note.recipients, recipients),
    };
  };
  const first = (reader: Reader, mail: Incoming) => ({
    address: reader.address,
    fixed: reader.fixed,
    yours: reader.yours,
    attempts: 0,
    triedAt: null,
    rows: [mail.row],
    mails: 1,
    recipients: mail.recipients,
    seen: [mail.seen],
  });
  const freshAlert = (reader: Reader, mail: Incoming, contents: readonly string[]): Note => ({
    ...first(reader, mail),
    kind: "alert",
    contents,
    until: mail.time + settings.campaign_window,
    dueAt: mail.time + (reader.fixed ? settings.campaign_wait : 0),
  });
  const freshDigest = (reader: Reader, mail: Incoming, dueAt: number): Note => ({
    ...first(reader, mail),
    kind: "digest",
    contents: [],
    until: dueAt,
    dueAt,
  });
  /** An alert whose contents the mail has. */
  const grownAlert = (note: Note, reader: Reader, mail: Incoming): Note => {
    const known = note.seen.includes(mail.seen);
    const grown = joined(note, mail);
    if (note.dueAt !== null) {
      const rows = known ? note.rows : note.rows.map((one) => ({ ...one, mails: one.mails + 1 }));
      return { ...grown, yours: note.yours || reader.yours, rows };
    }
    if (known || !note.fixed) return note;
    return { ...grown, rows: [mail.row], dueAt: note.until, attempts: 0, triedAt: null };
  };
  const grownDigest = (note: Note, mail: Incoming): Note => {
    const grown = joined(note, mail);
    if (note.seen.includes(mail.seen)) return grown;
    const rows = withRow(note.rows, mail.row, store.hasRoomFor(mail.row.event));
    return { ...grown, rows, ...(note.leftOut !== undefined && { leftOut: note.leftOut + 1 }) };
  };
  const nextDigest = (note: Note | null, reader: Reader, mail: Incoming): Note => {
    if (note !== null && note.dueAt !== null) return grownDigest(note, mail);
    if (note?.seen.includes(mail.seen)) return note;
    const fresh = freshDigest(reader, mail, mail.time + (settings.digest ?? 0));
    return { ...fresh, seen: [...(note?.seen ?? []), mail.seen].slice(-MAX_SEEN) };
  };

  const recordDigest = (reader: Reader, mail: Incoming) => {
    const id = digestId(reader.address);
    put(id, nextDigest(notes.get(id) ?? null, reader, mail));
    if (flight?.id !== id) return;
    flight.sent = nextDigest(flight.sent, reader, mail);
    flight.untold = nextDigest(flight.untold, reader, mail);
  };
  const recordAlert = (reader: Reader, mail: Incoming, contents: readonly string[]) => {
    const { address } = reader;
    const ids = contents.map((content) => told.get(toldKey(address, content)));
    const olds = ids.map((id) => (id === undefined ? undefined : notes.get(id)));
    const isKnown = (note: Note | undefined) =>
      note !== undefined && (note.until > mail.time || note.dueAt !== null);
    const [id] = ids;
    const [old] = olds;
    if (id === undefined || old === undefined || !olds.every(isKnown)) {
      const summary = notes.get(summaryId(address));
      if (summary?.dueAt != null && flight?.id !== summaryId(address)) {
        put(summaryId(address), grownDigest(summary, mail));
        return;
      }
      const unknown = contents.filter((_, at) => !isKnown(olds[at]));
      put(alertId(mail.row.event, address), freshAlert(reader, mail, unknown));
      return;
    }
    const grown = grownAlert(old, reader, mail);
    if (grown !== old) put(id, grown);
    if (flight?.id !== id) return;
    flight.sent = grownAlert(flight.sent, reader, mail);
    // Mails that were counted before are part of what was given up.
    if (old.seen.includes(mail.seen)) return;
    flight.untold =
      flight.untold === null
        ? freshAlert(reader, mail, old.contents)
        : grownAlert(flight.untold, reader, mail);
  };

  const record: Ledger["record"] = (event, allContents, readers, allRecipients) => {
    const time = now();
    followClock(time);
    if (time - sweptAt > SWEEP_MS || notes.size > MAX_TOLD) {
      sweptAt = time;
      sweep(time);
    }
    const contents = boundedContents(allContents);
    const mail: Incoming = {
      row: { event, mails: 1, contents },
      seen: short(JSON.stringify([event.mail?.id, contents])),
      recipients: union([], allRecipients),
      time,
    };
    for (const reader of readers) {
      if (settings.digest === undefined) recordAlert(reader, mail, contents);
      else recordDigest(reader, mail);
    }
  };

  /** What is left of a note when all of it is told. */
  const settled = (note: Note): Note => {
    const time = now();
    const until = note.until > time ? note.until : time + settings.campaign_window;
    return { ...note, until, dueAt: null, rows: [], mails: 0, recipients: [], attempts: 0, triedAt: null };
  };
  /** The rows of a summary count as told one by one, as if each had been an alert. */
  const tellRows = (summary: Note) => {
    for (const row of summary.rows) {
      const id = alertId(row.event, summary.address);
      if (notes.has(id)) continue;
      const { leftOut: _, ...rest } = settled(summary);
      put(id, {
        ...rest,
        kind: "alert",
        contents: row.contents,
        until: now() + settings.campaign_window,
        seen: [],
      });
    }
  };
  const countOf = (key: string) => counts.get(key) ?? NO_ALERTS;
  return {
    record,
    hasRoom: () => waiting.size < MAX_WAITING,
    waiting: () => waiting.size,
    due(time) {
      followClock(time);
      return [...waiting]
        .map((id) => ({ id, dueAt: notes.get(id)?.dueAt ?? null }))
        .filter(({ dueAt }) => dueAt !== null && dueAt <= time)
        .toSorted((a, b) => (a.dueAt ?? 0) - (b.dueAt ?? 0))
        .map(({ id }) => id);
    },
    nextAt: () =>
      [...waiting].reduce<number | null>((next, id) => {
        const dueAt = notes.get(id)?.dueAt ?? null;
        return dueAt === null ? next : Math.min(next ?? dueAt, dueAt);
      }, null),
    begin(id) {
      const note = notes.get(id);
      if (note === undefined || note.dueAt === null) return null;
      flight = { id, sent: settled(note), untold: null };
      return { ...note, id };
    },
    allowedAt(note) {
      const time = now();
      if (note.kind === "digest" && !isSummary(note)) return time;
      return Math.max(
        allowedAt(countOf(countKey(note.address)), time, settings.max_per_recipient_hour),
        allowedAt(countOf(TOTAL), time, settings.max_per_hour),
      );
    },
    held(id, until) {
      const note = notes.get(id);
      if (note === undefined) return null;
      if (isSummary(note)) {
        put(id, { ...note, dueAt: until });
        return null;
      }
      const key = summaryId(note.address);
      const open = notes.get(key);
      const before = open?.dueAt == null ? undefined : open;
      const rows = note.rows.reduce(
        (all, row) => withRow(all, row, store.hasRoomFor(row.event)),
        before?.rows ?? [],
      );
      const summary: Note = {
        ...{ address: note.address, fixed: note.fixed, yours: note.yours || before?.yours === true },
        ...{ kind: "digest", contents: [], rows, mails: (before?.mails ?? 0) + note.mails },
        ...{ until, dueAt: before?.dueAt ?? until, attempts: 0, triedAt: null },
        recipients: union(before?.recipients ?? [], note.recipients),
        seen: [...new Set([...(before?.seen ?? []), ...note.seen])].slice(-MAX_SEEN),
        leftOut: (before?.leftOut ?? 0) + 1,
      };
      forget(id);
      put(key, summary);
      return summary;
    },
    sent(id) {
      const note = notes.get(id);
      if (note === undefined || flight?.id !== id) return;
      const time = now();
      if (note.kind === "alert" || isSummary(note)) {
        for (const key of [countKey(note.address), TOTAL]) store.putCount(key, withSent(countOf(key), time));
      }
      if (isSummary(note)) {
        forget(id);
        tellRows(note);
      } else put(id, flight.sent);
      flight = null;
    },
    refused(id) {
      const untold = flight?.id === id ? flight.untold : null;
      if (flight?.id === id) flight = null;
      forget(id);
      if (untold !== null) put(id, untold);
    },
    postponed(id, until) {
      const note = notes.get(id);
      if (note === undefined) return;
      if (flight?.id === id) flight = null;
      put(id, { ...note, dueAt: until, attempts: note.attempts + 1, triedAt: note.triedAt ?? now() });
    },
    save: store.save,
  };
}

/** What is beyond the bound is one content: a new part behind many known ones must not go untold. */
function boundedContents(all: readonly string[]): readonly string[] {
  const contents = [...new Set(all.map(short))].toSorted();
  if (contents.length <= MAX_CONTENTS) return contents;
  return [...contents.slice(0, MAX_CONTENTS - 1), short(contents.slice(MAX_CONTENTS - 1).join(" "))];
}

/** Rows with one more: its mails in the row of the same content, or a row of its own while there is room. */
function withRow(rows: readonly Row[], row: Row, room: boolean): readonly Row[] {
  const same = rows.findIndex(({ contents }) => row.contents.every((content) => contents.includes(content)));
  if (same >= 0) return rows.map((one, at) => (at === same ? { ...one, mails: one.mails + row.mails } : one));
  return rows.length === 0 || (rows.length < MAX_ROWS && room) ? [...rows, row] : rows;
}

/**
 * Lists of recipients joined, each address once, at most MAX_RECIPIENTS_KNOWN. The same lists give the same list again:
 * a mail to a thousand recipients makes one list and not a thousand.
 */
function createUnion(): (before: readonly string[], added: readonly string[]) => readonly string[] {
  const made = new WeakMap<readonly string[], WeakMap<readonly string[], readonly string[]>>();
  const none: readonly string[] = [];
  return (given, added) => {
    const before = given.length === 0 ? none : given;
    if (before.length >= MAX_RECIPIENTS_KNOWN || added.length === 0) return before;
    const ofBefore = made.get(before) ?? new WeakMap<readonly string[], readonly string[]>();
    made.set(before, ofBefore);
    const known = ofBefore.get(added);
    if (known !== undefined) return known;
    const list = new Map(before.map((address) => [addressKey(address), address]));
    for (const address of added) {
      if (list.size >= MAX_RECIPIENTS_KNOWN) break;
      const key = addressKey(address);
      if (!list.has(key)) list.set(key, address);
    }
    const result = list.size === before.length ? before : [...list.values()];
    ofBefore.set(added, result);
    return result;
  };
}
