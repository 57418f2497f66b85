/**
 * `replay`: has a running sensor send events that it still keeps to a SIEM destination once more.
 */
import { SensorError } from "../errors.ts";
import { toJsonLine } from "../text.ts";
import type { Command, ExitCode } from "./command.ts";
import { controlArguments, readInstant, SHARED_USAGE } from "./control-options.ts";
import { printable } from "./table.ts";

const USAGE = `use: email-sensor replay --since TIME [--until TIME] --to NAME [options]

Sends events that the sensor still keeps (spool.keep_events) to a SIEM destination once more, for a
SIEM that lost them or is new. They have the ids they had, so that what is there twice can be told.
What the destination gets anyway goes on beside it. The command ends at once; the sensor goes on,
also after a restart, and its log says when it is done.

options:
  --since TIME        events since: how long ago (30m, 2h, 7d) or a date (2026-03-31, 2026-03-31T08:00Z)
  --until TIME        events before; all since, where it is left out
  --to NAME           the destination: siem[].name of the configuration
${SHARED_USAGE}

Exit codes: 0 done, 1 no such destination or refused, 2 bad usage, 3 no sensor answers.
`;

async function run(args: readonly string[]): Promise<ExitCode> {
  const options = controlArguments(
    args,
    { since: { type: "string" }, until: { type: "string" }, to: { type: "string" } },
    0,
  );
  const now = Date.now();
  const [since, until, destination] = ["since", "until", "to"].map(options.value);
  if (since === undefined) throw new SensorError("USAGE", "since when? give --since TIME");
  if (destination === undefined) throw new SensorError("USAGE", "to which destination? give --to NAME");
  const request = {
    destination,
    since: readInstant("--since", since, now),
    until: until === undefined ? undefined : readInstant("--until", until, now),
  };
  const client = await options.connect();
  try {
    const events = Number((await client.replayEvents(request)).events);
    process.stdout.write(
      options.json
        ? `${toJsonLine({ destination, events })}\n`
        : `${events} ${events === 1 ? "event" : "events"} of that time go to ${printable(destination)} once more, as far as it wants them\n`,
    );
    return 0;
  } finally {
    client.close();
  }
}

export const command: Command = {
  summary: "sends events that are still kept to a SIEM once more",
  usage: USAGE,
  run,
};
