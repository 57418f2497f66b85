/**
 * One transport over several addresses: the first that can be reached, in their order.
 *
 * A fault moves on to the next address, where the caller sends again what was not delivered. While another than the
 * first is in use, the first is tried now and then; when it can be reached, what is open is let come to its end and
 * all that comes then goes to the first again. Where the first can be reached and then takes nothing, as a receiver
 * that hangs, the time to the next try doubles. Each receiver sees its messages in order.
 */
import type { Transport } from "./transport.ts";

const RETURN_AFTER_MS = 60_000;
/** The longest time is this many times the usual one. */
const MAX_RETURN_FACTOR = 32;

export function createFailoverTransport(
  addresses: readonly (() => Transport)[],
  options: {
    /** Milliseconds between two looks for the first address. */
    readonly returnAfter?: number;
    /** Told which address is in use from now on, from 0. */
    readonly onChange?: (index: number) => void;
  } = {},
): Transport {
  const first = addresses[0];
  if (first === undefined) throw new TypeError("there is no address");
  const returnAfter = options.returnAfter ?? RETURN_AFTER_MS;
  let index = 0;
  let current = first();
  /** The transport of the first address while it is looked for. */
  let candidate: Transport | null = null;
  let looking: Timer | null = null;
  /** Doubled each time the first address took nothing after it was gone back to. */
  let factor = 1;
  /** Whether the first address was gone back to and has taken nothing since. */
  let onTrial = false;
  let open = 0;
  let idle: (() => void) | null = null;
  /** Calls wait for this: the way back to the first address. */
  let turning: Promise<void> = Promise.resolve();
  let closing = false;

  const use = (next: number, transport: Transport) => {
    const old = current;
    index = next;
    current = transport;
    options.onChange?.(next);
    if (looking !== null) clearInterval(looking);
    looking = next === 0 ? null : setInterval(() => void look(), returnAfter * factor);
    return old.close();
  };

  const turnBack = async (to: Transport) => {
    if (open > 0) {
      await new Promise<void>((resolve) => {
        idle = resolve;
      });
    }
    idle = null;
    if (closing || index === 0) await to.close();
    else {
      onTrial = true;
      await use(0, to);
    }
  };

  const look = async () => {
    if (candidate !== null || closing) return;
    const trying = first();
    candidate = trying;
    const reached = (await trying.reach?.()) ?? false;
    candidate = null;
    if (!reached || closing || index === 0) await trying.close();
    else turning = turnBack(trying);
  };

  return {
    async send(messages) {
      await turning;
      const by = current;
      open += 1;
      const delivery = await by.send(messages);
      open -= 1;
      if (by === current && index === 0 && delivery.delivered > 0) {
        onTrial = false;
        factor = 1;
      }
      if (delivery.fault !== null && by === current && !closing && addresses.length > 1) {
        const next = (index + 1) % addresses.length;
        const create = addresses[next];
        if (index === 0 && onTrial) {
          factor = Math.min(MAX_RETURN_FACTOR, factor * 2);
          onTrial = false;
        }
        if (create !== undefined) void use(next, create());
      }
      if (open === 0) idle?.();
      return delivery;
    },

    async close() {
      closing = true;
      if (looking !== null) clearInterval(looking);
      await Promise.all([current.close(), candidate?.close()]);
      await turning;
    },
  };
}
