/**
 * The sensor: starts every stage of the way of a mail in order, and stops them in order.
 */
import type { Config } from "./config/schema.ts";
import type { Log } from "./log.ts";
import type { Spool } from "./spool/spool.ts";

export type Sensor = {
  /** Where SMTP is taken, with the ports really bound (a configured port 0 becomes the one the system chose). */
  readonly smtp: readonly { readonly host: string; readonly port: number }[];
  readonly spool: Spool;
  /** Stops taking mails, lets what is in work come to its next commit, closes the spool. */
  stop(): Promise<void>;
};

/** Starts a sensor in this process. Throws SensorError where it cannot: nothing is left running then. */
export async function startSensor(_config: Config, _log: Log): Promise<Sensor> {
  throw new Error("being built");
}
