/**
 * Making messages without holding others up: it happens on the thread that also takes mails in, and a template may take
 * long for each event.
 */
import { asSensorError, SensorError } from "../errors.ts";
import type { Carrier } from "./delivery.ts";
import type { SensorEvent } from "./event.ts";
import type { Delivery } from "./transport.ts";

/** About as long as a client may be kept waiting for its greeting. */
const LONGEST_TURN_MS = 20;
/** Events whose messages are not made yet, held in memory; give or take one batch. */
const MAX_UNMADE = 2000;

/**
 * A carrier that is handed events whose messages are made already, batch after batch in their order, with a pause for
 * others wherever it took long. `create` gets what to ask for the messages of an event.
 */
export function pacedCarrier<Made>(
  format: (event: SensorEvent) => Made,
  create: (messagesOf: (event: SensorEvent) => Made) => Carrier,
): Carrier {
  const made = new Map<SensorEvent, Made>();
  const carrier = create((event) => {
    const messages = made.get(event) ?? format(event);
    made.delete(event);
    return messages;
  });
  let closing = false;
  let turnBegan = 0;
  const prepare = async (events: readonly SensorEvent[]) => {
    for (const event of events) {
      if (performance.now() - turnBegan > LONGEST_TURN_MS) {
        await Bun.sleep(0);
        turnBegan = performance.now();
      }
      if (closing) return;
      made.set(event, format(event));
    }
  };
  let prepared: Promise<void> = Promise.resolve();
  let lastFault: Delivery | null = null;
  let unmade = 0;
  /** From the bound on until half of it: what is read on for one batch alone is read again for the next. */
  let enough = false;
  return {
    ...carrier,
    full: () => enough || carrier.full?.() === true,
    async carry(events) {
      const faultBefore = lastFault;
      unmade += events.length;
      enough ||= unmade >= MAX_UNMADE;
      prepared = prepared.then(() => prepare(events));
      await prepared;
      unmade -= events.length;
      enough &&= unmade > MAX_UNMADE / 2;
      try {
        // A batch in front of it comes again: this one must not overtake it.
        if (lastFault !== null && lastFault !== faultBefore) return { ...lastFault, delivered: 0 };
        if (closing) {
          return { delivered: 0, fault: new SensorError("SIEM_UNREACHABLE", "the destination is closed") };
        }
        const result = await carrier
          .carry(events)
          .catch((thrown: unknown): Delivery => ({ delivered: 0, fault: asSensorError(thrown) }));
        if (result.fault !== null) lastFault = result;
        return result;
      } finally {
        for (const event of events) made.delete(event);
      }
    },
    close() {
      closing = true;
      return carrier.close();
    },
  };
}
