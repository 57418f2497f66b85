/**
 * Destinations that the configuration no longer names: by a mistake, a new name, or because they are no longer wanted.
 *
 * What waits for one is kept for a day, and goes on where it was when it is named again. Then it is given up, and an
 * event says how many there were. A fault of the spool is logged and the next turn tries again.
 */
import { asSensorError } from "../errors.ts";
import { faultFields, type Log } from "../log.ts";
import { repeat } from "../sleeper.ts";
import type { GoneDestination, Spool } from "../spool/spool.ts";
import { composeState, type SensorIdentity } from "./compose.ts";

const KEPT_FOR = 24 * 60 * 60 * 1000;
const LOOK_EVERY_MS = 60_000;

/** `names` are the cursors of the destinations there are. Call it when everything else has started. */
export function startGone(options: {
  readonly names: readonly string[];
  readonly spool: Pick<Spool, "keepDestinations" | "forgetDestination">;
  readonly sensor: SensorIdentity;
  readonly log: Log;
  readonly now?: () => number;
}): { stop(): Promise<void> } {
  const { names, spool, sensor } = options;
  const log = options.log.with({ stage: "report" });
  const now = options.now ?? Date.now;
  const told = new Set<string>();

  const look = async (gone: GoneDestination): Promise<void> => {
    const { destination, goneAt, waiting } = gone;
    const until = goneAt + KEPT_FOR;
    if (now() >= until) {
      const message = givenUp(gone);
      const event = message === null ? null : composeState("events_dropped", message, sensor, now());
      await spool.forgetDestination(destination, event);
      told.delete(destination);
      if (message !== null) log.error("the events of a destination that is gone were given up", { message });
    } else if (!told.has(destination)) {
      told.add(destination);
      log.warn("a destination is no longer in the configuration; named again, it goes on where it was", {
        destination,
        waiting,
        until: new Date(until).toISOString(),
      });
    }
  };

  return repeat(async () => {
    try {
      for (const gone of await spool.keepDestinations(names, now())) await look(gone);
    } catch (thrown) {
      log.warn("no look at destinations that are gone", faultFields(asSensorError(thrown)));
    }
    return LOOK_EVERY_MS;
  });
}

function givenUp({ destination, waiting, span }: GoneDestination): string | null {
  if (span === null) return null;
  return (
    `${waiting} events that waited for ${destination} were given up, a day after it was taken out of the ` +
    `configuration: from ${span.first.id} of ${span.first.time} to ${span.last.id} of ${span.last.time}`
  );
}
