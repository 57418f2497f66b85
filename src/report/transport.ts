/**
 * What carries syslog messages to a destination: UDP, TCP, TLS or RELP.
 */
import type { SensorError } from "../errors.ts";

/** How many of what was handed over, counted from the first, need not be sent again; and why not all. */
export type Delivery = {
  readonly delivered: number;
  readonly fault: SensorError | null;
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

/** How many events, from the first on, have all of their messages among the first `messages`. */
export function wholeEvents(formatted: readonly (readonly unknown[])[], messages: number): number {
  let end = 0;
  const cut = formatted.findIndex((one) => {
    end += one.length;
    return end > messages;
  });
  return cut === -1 ? formatted.length : cut;
}
