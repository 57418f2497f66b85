/**
 * Why a call fails, in the terms of gRPC. A Refusal is written for the client; any other fault becomes one that
 * says nothing of the insides, with a reference to the log line that says all.
 */
import { randomBytes } from "node:crypto";
import { status } from "@grpc/grpc-js";
import { asSensorError } from "../errors.ts";
import { faultFields, type Log } from "../log.ts";

/** A gRPC status with a text for the client. grpc-js reads `code` and `details`. */
export class Refusal extends Error {
  override readonly name = "Refusal";
  readonly code: status;
  readonly details: string;

  constructor(code: status, text: string) {
    // A lone surrogate, copied from what the client sent, could not be encoded in the trailer.
    const details = text.toWellFormed();
    super(details);
    this.code = code;
    this.details = details;
  }
}

/** The Refusal for anything thrown while `method` was served; faults of the sensor are logged. */
export function asRefusal(thrown: unknown, method: string, log: Log): Refusal {
  if (thrown instanceof Refusal) return thrown;
  const error = asSensorError(thrown);
  const reference = randomBytes(6).toString("hex");
  log.error("control call failed", { method, reference, ...faultFields(error) });
  switch (error.code) {
    case "SPOOL_FULL":
    case "SPOOL_BUSY":
    case "SPOOL_BROKEN":
      return new Refusal(
        status.UNAVAILABLE,
        `the spool cannot be read at the moment (${error.code}); try again, or see the sensor's log, reference ${reference}`,
      );
    default:
      return new Refusal(status.INTERNAL, `internal fault; see the sensor's log, reference ${reference}`);
  }
}
