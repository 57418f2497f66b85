/**
 * Delivery from the outbox to one destination: events in, in order, until the cursor has passed them.
 *
 * A loop reads events after the cursor, leaves out what the destination does not want, hands the rest to a
 * carrier and moves the durable cursor behind what was carried. Several hand-overs may be open at once. A fault of
 * the destination is logged once and everything not carried is handed over again after a growing pause; a fault of
 * the spool likewise. At least once, in order; a crash repeats at most what the cursor had not passed.
 *
 * A receiver that refuses what is handed over, with no other event beside it that it takes, is down, too. But where one
 * event waits alone, it is passed after a few tries, once for each type of events, if the receiver took one of that type
 * before.
 */
import { asSensorError, SensorError } from "../errors.ts";
import { faultFields, type Log } from "../log.ts";
import { createSleeper, pause } from "../sleeper.ts";
import type { OutboxEvent, Spool } from "../spool/spool.ts";
import type { SensorEvent } from "./event.ts";
import type { RefusedEvent } from "./refusals.ts";
import type { Delivery } from "./transport.ts";

export type Carrier = {
  /**
   * Hands over events in order. Begins before it returns; resolves with how many, from the first on, need not be
   * handed over again. After a fault every open call ends with one.
   */
  carry(events: readonly SensorEvent[]): Promise<Delivery>;
  /** True where nothing more may be handed over until an open call ended. */
  full?(): boolean;
  /** Lets open calls come to their end, for a bounded time; later ones end with a fault. */
  close(): Promise<void>;
};

export type DestinationStatus = {
  /** Name of the cursor: `siem:NAME` or `alert:NAME`. */
  readonly destination: string;
  readonly name: string;
  /** `idle`: nothing was handed over since the start. */
  readonly state: "idle" | "up" | "down";
  /** Events after the cursor, wanted or not. */
  readonly backlog: number;
  /** The last fault, kept when it is over. */
  readonly lastError: string | null;
  /** Events carried since the start. */
  readonly delivered: number;
  /** Events it refused for good since the start: they are passed, and not among `delivered`. */
  readonly refused: number;
  /** Alerts that were made of events and are not sent yet; left out where events are sent themselves. */
  readonly composed?: number;
};

export type DestinationLoop = {
  status(): Promise<DestinationStatus>;
  /** Resolves when the loop ended: it was stopped, or came to the end of what it was to deliver. */
  readonly ended: Promise<void>;
  /** Lets open hand-overs end, commits the cursor. */
  stop(): Promise<void>;
};

const READ_BATCH = 500;
/** Open hand-overs, events in them, and characters of their JSON, give or take one hand-over. */
const MAX_OPEN = 256;
const MAX_OPEN_EVENTS = 20_000;
const MAX_OPEN_SIZE = 64 * 1024 * 1024;
const COMMIT_EVERY_MS = 200;
const COMMIT_EVERY_EVENTS = 500;
const POLL_MS = 1000;
/** While nothing more may be handed over: the end of a hand-over wakes the loop, other room has to be looked for. */
const FULL_POLL_MS = 20;
const LIMITS_EVERY_MS = 1000;
/** Reads at one look at the limits, so that counting what is wanted of a long backlog holds nobody up. */
const COUNT_READS = 20;
/** How often an event that waits alone is refused before it is passed; with the pauses, within four seconds. */
const LONE_TRIES = 5;
const FIRST_PAUSE_MS = 200;
const LONGEST_PAUSE_MS = 30_000;

/** The pause before try number `faults` + 1: doubling, capped, half of it random. */
export function pauseAfter(faults: number, random: () => number = Math.random): number {
  const whole = Math.min(LONGEST_PAUSE_MS, FIRST_PAUSE_MS * 2 ** Math.min(faults - 1, 16));
  return whole / 2 + (whole / 2) * random();
}

/** Where a loop begins, what it notes, and up to where it goes. */
export type Position = {
  read(): Promise<number>;
  commit(seq: number): Promise<void>;
  /** The last seq to deliver; absent where there is no end. */
  readonly last?: number;
};

/** What may wait for a destination, of what it wants; what goes beyond is given up, the oldest first. */
export type QueueLimits = {
  readonly maxEvents?: number | undefined;
  /** Milliseconds since the time of the event. */
  readonly maxAge?: number | undefined;
  /** The event that tells of it. */
  event(message: string): SensorEvent;
};

/** What is kept of an event while it is under way: the event itself is in the outbox. */
type UnderWay = {
  readonly seq: number;
  readonly id: string;
  readonly type: string;
  readonly mailId: string | undefined;
};

type Handover = {
  readonly events: readonly UnderWay[];
  readonly size: number;
  /** What the cursor may pass when all are carried: unwanted events behind the last one included. */
  end: number;
  /** Null while it is open. */
  result: Delivery | null;
  readonly over: Promise<void>;
};

export function startDelivery(options: {
  readonly destination: string;
  readonly name: string;
  readonly spool: Spool;
  readonly log: Log;
  readonly carrier: Carrier;
  /** Most events in one hand-over. */
  readonly batch: number;
  /** Most events handed over and not carried yet. */
  readonly maxOpen?: number;
  readonly wants: (event: SensorEvent) => boolean;
  /** The cursor of the destination where absent. */
  readonly position?: Position;
  readonly limits?: QueueLimits;
  /** Told of each event that is passed because the destination refused it for good. */
  readonly onRefused?: (event: RefusedEvent, reason: string) => void;
}): DestinationLoop {
  const { destination, name, spool, carrier } = options;
  const position: Position = options.position ?? {
    read: () => spool.cursor(destination),
    commit: (seq) => spool.advanceCursor(destination, seq),
  };
  const lastSeq = position.last ?? Number.POSITIVE_INFINITY;
  const maxOpenEvents = options.maxOpen ?? MAX_OPEN_EVENTS;
  const log = options.log.with({ destination });
  let stopped = false;
  let state: DestinationStatus["state"] = "idle";
  let lastError: string | null = null;
  let delivered = 0;
  let refused = 0;
  let faults = 0;
  /** What the destination asked for with its last fault, milliseconds. */
  let retryAfter = 0;
  /** Everything up to here is carried or unwanted. */
  let carried = 0;
  let committed = 0;
  let committing: Promise<void> | null = null;
  let commitTimer: Timer | null = null;
  let open: Handover[] = [];
  /** Types of which one was taken since one of them was passed because it was refused alone. */
  const takenTypes = new Set<string>();
  /** The event that waits alone and is refused, and how often in a row. */
  let lone = { id: "", tries: 0 };
  /** How many wanted events wait behind `carried` up to `to`; null while fewer wait in all than may. */
  let counted: { readonly to: number; readonly wanted: number } | null = null;

  const sleeper = createSleeper();
  const unsubscribe = spool.subscribe("events", sleeper.wake);

  /** Returns early only when the loop is to stop. */
  const rest = (milliseconds: number) => pause(sleeper, milliseconds, () => stopped);

  const commit = async () => {
    const seq = carried;
    if (seq <= committed) return;
    try {
      await position.commit(seq);
      committed = seq;
    } catch (thrown) {
      log.warn("the cursor could not be moved, it is tried again", faultFields(asSensorError(thrown)));
      if (!stopped) commitLater(POLL_MS);
    }
  };
  const commitNow = () => {
    if (commitTimer !== null) clearTimeout(commitTimer);
    commitTimer = null;
    committing ??= commit().finally(() => {
      committing = null;
      if (carried > committed && !stopped) commitLater(COMMIT_EVERY_MS);
    });
    return committing;
  };
  const commitLater = (milliseconds: number) => {
    commitTimer ??= setTimeout(() => void commitNow(), Math.max(0, milliseconds));
  };
  /** `events` of those up to `seq` were wanted. */
  const moveTo = (seq: number, events: number) => {
    carried = seq;
    if (counted !== null) {
      counted = seq > counted.to ? null : { to: counted.to, wanted: counted.wanted - events };
    }
  };
  const passTo = (seq: number, events: number) => {
    if (seq <= carried) return;
    moveTo(seq, events);
    if (carried - committed >= COMMIT_EVERY_EVENTS) void commitNow();
    else commitLater(COMMIT_EVERY_MS);
  };

  const goDown = (error: SensorError) => {
    faults += 1;
    lastError = `${error.code}: ${error.message}`;
    if (state !== "down") log.warn("the destination is down, its events wait", faultFields(error));
    state = "down";
  };
  const goUp = (events: readonly UnderWay[], reasons: ReadonlyMap<number, string>) => {
    for (const [index, { id, mailId, type }] of events.entries()) {
      const reason = reasons.get(index);
      if (reason === undefined) {
        delivered += 1;
        takenTypes.add(type);
        log.info("event delivered", { mail_id: mailId, event_id: id, type });
      } else {
        refused += 1;
        lastError = `SIEM_REFUSED: event ${id}: ${reason}`;
        log.error("an event was refused for good, it is passed", {
          mail_id: mailId,
          event_id: id,
          ...faultFields(new SensorError("SIEM_REFUSED", reason)),
        });
        options.onRefused?.({ id, type }, reason);
      }
    }
    faults = 0;
    if (state === "down") log.info("the destination is up again");
    state = "up";
  };

  /** Whether the fault is not the receiver's: it refuses the one event that waits, and took others of its type. */
  const refusesOne = ({ delivered: count, doubt }: Delivery, { events }: Handover): boolean => {
    const [only] = events;
    if (doubt === undefined || only === undefined || count > 0) return false;
    if (events.length > 1 || open.length > 1) return false;
    lone = { id: only.id, tries: lone.id === only.id ? lone.tries + 1 : 1 };
    return lone.tries >= LONE_TRIES && takenTypes.delete(only.type);
  };

  /** Takes the results in, oldest first. True where there was a fault: what is open is to be done again. */
  const takeResults = (): boolean => {
    for (;;) {
      const first = open[0];
      if (first === undefined || first.result === null) return false;
      const { fault } = first.result;
      const count = Math.min(first.result.delivered, first.events.length);
      const reasons = new Map(first.result.refused?.map(({ index, reason }) => [index, reason]));
      if (count > 0) goUp(first.events.slice(0, count), reasons);
      if (fault !== null) {
        if (!stopped && refusesOne(first.result, first)) {
          goUp(first.events, new Map([[0, first.result.doubt ?? ""]]));
          passTo(first.end, 1);
          open.shift();
          continue;
        }
        const last = first.events[count - 1];
        if (last !== undefined) passTo(last.seq, count);
        retryAfter = first.result.retryAfter ?? 0;
        // What a stop interrupts is no fault of the destination.
        if (!stopped) goDown(fault);
        return true;
      }
      passTo(first.end, first.events.length);
      open.shift();
    }
  };

  const handOver = (events: readonly OutboxEvent[], end: number) => {
    const carrying = carrier
      .carry(events.map(({ event }) => event))
      .catch((thrown: unknown): Delivery => ({ delivered: 0, fault: asSensorError(thrown) }));
    const handover: Handover = {
      events: events.map(({ seq, event }) => ({
        seq,
        id: event.id,
        type: event.type,
        mailId: event.mail?.id,
      })),
      size: events.reduce((sum, { size }) => sum + size, 0),
      end,
      result: null,
      over: carrying.then((result) => {
        handover.result = result;
        sleeper.wake();
      }),
    };
    open.push(handover);
  };

  const wanted = ({ seq, event }: OutboxEvent): boolean => {
    try {
      return options.wants(event);
    } catch (thrown) {
      log.error("an event cannot be read, it is left out", { seq, ...faultFields(asSensorError(thrown)) });
      return false;
    }
  };

  const full = () =>
    open.length >= MAX_OPEN ||
    (open.length > 0 && carrier.full?.() === true) ||
    open.reduce((sum, { events }) => sum + events.length, 0) >= maxOpenEvents ||
    open.reduce((sum, { size }) => sum + size, 0) >= MAX_OPEN_SIZE;
  const broken = () => open.some(({ result }) => result !== null && result.fault !== null);

  /** Reads on behind `from` and hands over what is wanted, as far as there is room; resolves to how far. */
  const readOn = async (from: number): Promise<number> => {
    const found = await spool.eventsAfter(from, READ_BATCH);
    const events = (found.at(-1)?.seq ?? 0) > lastSeq ? found.filter(({ seq }) => seq <= lastSeq) : found;
    const last = events.at(-1);
    // A fault that came in meanwhile goes first: nothing may overtake what it sends back.
    if (stopped || broken()) return from;
    if (last === undefined) {
      // Retention may have taken what was to be delivered.
      if (from < lastSeq && lastSeq < Number.POSITIVE_INFINITY && open.length === 0) passTo(lastSeq, 0);
      return from;
    }
    const wants = events.filter(wanted);
    if (wants.length === 0) {
      const latest = open.at(-1);
      if (latest === undefined) passTo(last.seq, 0);
      else latest.end = last.seq;
      return last.seq;
    }
    let reached = from;
    for (let at = 0; at < wants.length && !full(); at += options.batch) {
      const next = wants[at + options.batch];
      reached = next === undefined ? last.seq : next.seq - 1;
      handOver(wants.slice(at, at + options.batch), reached);
    }
    return reached;
  };

  const readCursor = async () => {
    for (let failed = 1; !stopped; failed += 1) {
      try {
        carried = await position.read();
        committed = carried;
        return;
      } catch (thrown) {
        log.warn("the cursor could not be read, it is tried again", faultFields(asSensorError(thrown)));
        await rest(pauseAfter(failed));
      }
    }
  };

  /** How many more wanted events wait than may; counted on at each call, and 0 until all are counted. */
  const excessOver = async (most: number): Promise<number> => {
    const newest = await spool.lastSeq();
    if (newest - carried <= most) {
      counted = null;
      return 0;
    }
    let { to, wanted: count } = counted ?? { to: carried, wanted: 0 };
    for (let reads = 0; to < newest && reads < COUNT_READS && !stopped; reads += 1) {
      const events = await spool.eventsAfter(to, READ_BATCH);
      to = events.at(-1)?.seq ?? newest;
      count += events.filter(wanted).length;
    }
    counted = { to, wanted: count };
    return to < newest ? 0 : Math.max(0, count - most);
  };

  let lookedAt = Number.NEGATIVE_INFINITY;
  /** How many are to be given up, 0 where only those that are too old; null where none. Looked at once a second. */
  const overLimits = async (): Promise<number | null> => {
    const { limits } = options;
    if (limits === undefined || performance.now() - lookedAt < LIMITS_EVERY_MS) return null;
    const { maxEvents, maxAge } = limits;
    const excess = maxEvents === undefined ? 0 : await excessOver(maxEvents);
    // A tenth more than must be, so that it is not done for each.
    if (maxEvents !== undefined && excess > 0) return excess + Math.ceil(maxEvents * 0.1);
    const [oldest] = maxAge === undefined ? [] : await spool.eventsAfter(carried, 1);
    if (oldest !== undefined && tooOld(oldest.event)) return 0;
    lookedAt = performance.now();
    return null;
  };
  const tooOld = ({ time }: SensorEvent): boolean =>
    options.limits?.maxAge !== undefined && Date.parse(time) < Date.now() - options.limits.maxAge;

  /** Gives up the `most` oldest events that are wanted, and all that are too old; resolves to how far. */
  const giveUp = async (most: number): Promise<number> => {
    const { limits } = options;
    if (limits === undefined) return carried;
    const lost: { count: number; first?: SensorEvent; last?: SensorEvent } = { count: 0 };
    let reached = carried;
    for (let more = true; more && !stopped; ) {
      const events = await spool.eventsAfter(reached, READ_BATCH);
      more = events.length > 0;
      for (const one of events) {
        if (lost.count >= most && !tooOld(one.event)) {
          more = false;
          break;
        }
        reached = one.seq;
        if (!wanted(one)) continue;
        lost.count += 1;
        lost.first ??= one.event;
        lost.last = one.event;
      }
    }
    if (lost.first === undefined || lost.last === undefined) {
      passTo(reached, 0);
    } else {
      const [first, last] = [lost.first, lost.last];
      const message =
        `${lost.count} events for ${destination} were given up by its queue limits: ` +
        `from ${first.id} of ${first.time} to ${last.id} of ${last.time}`;
      await spool.dropEvents(destination, reached, limits.event(message));
      log.error("events were given up by the queue limits", {
        count: lost.count,
        first_event_id: first.id,
        last_event_id: last.id,
      });
      moveTo(reached, lost.count);
      committed = Math.max(committed, reached);
    }
    lookedAt = performance.now();
    return carried;
  };

  const run = async () => {
    await readCursor();
    let read = carried;
    let spoolFaults = 0;
    while (!stopped) {
      sleeper.forget();
      if (takeResults()) {
        await Promise.all(open.map(({ over }) => over));
        open = [];
        read = carried;
        await rest(Math.max(retryAfter, pauseAfter(faults)));
        continue;
      }
      if (carried >= lastSeq) return;
      try {
        const over = await overLimits();
        if (over !== null) {
          if (open.length > 0) {
            // First what is under way: nothing may be given up that has arrived.
            await sleeper.sleep(POLL_MS);
            continue;
          }
          read = await giveUp(over);
        }
        const reached = full() ? read : await readOn(read);
        spoolFaults = 0;
        if (reached > read) read = reached;
        else await sleeper.sleep(full() ? FULL_POLL_MS : POLL_MS);
      } catch (thrown) {
        spoolFaults += 1;
        log.warn("the outbox could not be read, it is tried again", faultFields(asSensorError(thrown)));
        await rest(pauseAfter(spoolFaults));
      }
    }
  };
  const running = run();

  return {
    ended: running.then(async () => {
      if (!stopped) await commitNow();
    }),
    async status() {
      const backlog = Math.max(0, (await spool.lastSeq()) - carried);
      return { destination, name, state, backlog, lastError, delivered, refused };
    },
    async stop() {
      stopped = true;
      unsubscribe();
      sleeper.wake();
      await carrier.close();
      await running;
      await Promise.all(open.map(({ over }) => over));
      takeResults();
      if (commitTimer !== null) clearTimeout(commitTimer);
      await committing;
      await commit();
    },
  };
}
