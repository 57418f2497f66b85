/**
 * What carries syslog messages to a destination: UDP, TCP, TLS or RELP.
 */
import type { SensorError } from "../errors.ts";

/** One of what was handed over, counted from 0, that the receiver refuses for good. */
export type Refusal = { readonly index: number; readonly reason: string };

/** How many of what was handed over, counted from the first, need not be sent again; and why not all. */
export type Delivery = {
  readonly delivered: number;
  readonly fault: SensorError | null;
  /** Among `delivered`: what did not arrive and never will. */
  readonly refused?: readonly Refusal[];
  /**
   * With a fault: why the first that was not delivered was refused, where it is unknown whether that one is at fault or
   * the receiver, which took no other.
   */
  readonly doubt?: string;
  /** Milliseconds the receiver wants to be left alone for. */
  readonly retryAfter?: number;
};

export type Transport = {
  /**
   * Sends messages, each a whole one without framing. Resolves when the transport has reason to believe that
   * they arrived, or with the fault that kept them from it; never rejects. Several calls may be open at once:
   * they are sent in the order of the calls, and after a fault every open one ends with a fault.
   */
  send(messages: readonly Uint8Array[]): Promise<Delivery>;
  /** Whether the receiver can be reached now; the connection is kept. Absent where that cannot be known. */
  reach?(): Promise<boolean>;
  /** Lets what was sent arrive, for a bounded time, then closes. Open calls end. */
  close(): Promise<void>;
};

/** What the delivery of messages is for the events they were made of: one refused message refuses its event. */
export function deliveryOfEvents(formatted: readonly (readonly unknown[])[], of: Delivery): Delivery {
  const { refused: messages = [], ...rest } = of;
  const delivered = wholeEvents(formatted, of.delivered);
  const owners = formatted.flatMap((one, event) => one.map(() => event));
  const refused = new Map<number, Refusal>();
  for (const { index, reason } of messages) {
    const event = owners[index];
    if (event === undefined || event >= delivered || refused.has(event)) continue;
    refused.set(event, { index: event, reason });
  }
  return { ...rest, delivered, ...(refused.size > 0 && { refused: [...refused.values()] }) };
}

/** How many events, from the first on, have all of their messages among the first `messages`. */
export function wholeEvents(formatted: readonly (readonly unknown[])[], messages: number): number {
  let end = 0;
  const cut = formatted.findIndex((one) => {
    end += one.length;
    return end > messages;
  });
  return cut === -1 ? formatted.length : cut;
}
