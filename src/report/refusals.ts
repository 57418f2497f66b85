/**
 * Telling that a destination refused events for good, without a flood.
 *
 * The first refusal is told at once; those that come within the time after it are counted and told in one message.
 */
export type RefusedEvent = { readonly id: string; readonly type: string };

export type RefusalNotes = {
  add(event: RefusedEvent, reason: string): void;
  /** Tells what is counted and not told yet. */
  close(): Promise<void>;
};

const EVERY_MS = 60_000;

/** `tell` is given a sentence about the destination `name`, and never rejects. */
export function createRefusalNotes(
  name: string,
  tell: (message: string) => Promise<void>,
  everyMs: number = EVERY_MS,
): RefusalNotes {
  let timer: Timer | null = null;
  let count = 0;
  let last = "";
  const tellCounted = async () => {
    const more = count;
    count = 0;
    if (more > 0)
      await tell(`the destination ${name} refused ${more} more events for good, the last: ${last}`);
  };
  const wait = () => {
    timer = setTimeout(() => {
      timer = null;
      if (count === 0) return;
      void tellCounted();
      wait();
    }, everyMs);
  };
  return {
    add({ id, type }, reason) {
      // A refusal of this very message would have no end.
      if (type === "sensor.state") return;
      if (timer === null) {
        void tell(`the destination ${name} refused the event ${id} for good: ${reason}`);
        wait();
      } else {
        count += 1;
        last = `${id}: ${reason}`;
      }
    },
    async close() {
      if (timer !== null) clearTimeout(timer);
      await tellCounted();
    },
  };
}
