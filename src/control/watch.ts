/**
 * WatchEvents: the outbox as a stream.
 *
 * In goes a checked query, out come the events of the spool that match, in order, each once. One event at a time
 * is handed to the transport, so a client that does not read costs one event of memory. Ends when `gone` fires;
 * rejects with a Refusal or a fault of the spool.
 */
import { Metadata, type ServerWritableStream, status } from "@grpc/grpc-js";
import type { WatchEventsRequest, WatchEventsResponse } from "../../gen/emailsensor/v1/sensor.ts";
import { concerns, type SensorEvent } from "../report/event.ts";
import type { Spool } from "../spool/spool.ts";
import { eventMessage } from "./messages.ts";
import { Refusal } from "./refusal.ts";
import type { WatchQuery } from "./requests.ts";
import { send } from "./streams.ts";

/** Events read from the spool at once. */
const BATCH = 32;

function wanted(event: SensorEvent, query: WatchQuery): boolean {
  if (query.types !== null && !query.types.has(event.type)) return false;
  return query.minVerdict === null || concerns(event, query.minVerdict);
}

export async function watchEvents(
  call: ServerWritableStream<WatchEventsRequest, WatchEventsResponse>,
  query: WatchQuery,
  spool: Spool,
  gone: AbortSignal,
): Promise<void> {
  const newest = await spool.lastSeq();
  if (query.afterSeq !== null && query.afterSeq > newest) {
    throw new Refusal(
      status.OUT_OF_RANGE,
      `after_seq: the newest event is ${newest}; give at most that, or leave it out for events from now on`,
    );
  }
  let cursor = query.afterSeq ?? newest;
  let woken = false;
  let wake = () => {};
  const rouse = () => {
    woken = true;
    wake();
  };
  const unsubscribe = spool.subscribe("events", rouse);
  gone.addEventListener("abort", rouse);
  try {
    call.sendMetadata(new Metadata());
    while (!gone.aborted) {
      woken = false;
      const batch = await spool.eventsAfter(cursor, BATCH);
      for (const { seq, event } of batch) {
        if (wanted(event, query)) await send(call, { event: eventMessage(seq, event) }, gone);
        if (gone.aborted) return;
        cursor = seq;
      }
      if (batch.length > 0) {
        // A filter that lets nothing through must not keep the rest of the sensor from its turn.
        await new Promise((resolve) => setImmediate(resolve));
      } else if (!woken) {
        await new Promise<void>((resolve) => {
          wake = resolve;
        });
      }
    }
  } finally {
    unsubscribe();
    gone.removeEventListener("abort", rouse);
  }
}
