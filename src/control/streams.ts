/**
 * What all streams of the control service share: a bound on how many are open, an end when the client is gone or
 * the sensor stops, and a way to send that waits for the client.
 */
import { status } from "@grpc/grpc-js";
import type { Log } from "../log.ts";
import { asRefusal, Refusal } from "./refusal.ts";

/** The sides of a server stream that its life needs. */
type Stream = {
  readonly cancelled: boolean;
  on(event: "cancelled", listener: () => void): unknown;
  emit(event: "error", error: Refusal): boolean;
  end(): unknown;
};

/**
 * Runs `serve` for a stream, with a signal that fires when the client is gone or the sensor stops, and ends the
 * stream when it is done: with the fault it threw, UNAVAILABLE where the sensor stops, else OK.
 */
export type OpenStream = (
  stream: Stream,
  method: string,
  serve: (gone: AbortSignal) => Promise<void>,
) => void;

export function streamOpener(limit: number, stopping: AbortSignal, log: Log): OpenStream {
  let open = 0;
  const run: (...of: Parameters<OpenStream>) => Promise<void> = async (stream, method, serve) => {
    const client = new AbortController();
    stream.on("cancelled", () => client.abort());
    try {
      if (open >= limit) {
        throw new Refusal(
          status.RESOURCE_EXHAUSTED,
          `${limit} streams are open already, which is the limit; end one, or try again later`,
        );
      }
      open += 1;
      try {
        await serve(AbortSignal.any([client.signal, stopping]));
      } finally {
        open -= 1;
      }
      if (stopping.aborted)
        throw new Refusal(status.UNAVAILABLE, "the sensor stops; call again when it is back");
      stream.end();
    } catch (thrown) {
      if (!stream.cancelled) stream.emit("error", asRefusal(thrown, method, log));
    }
  };
  return (stream, method, serve) => void run(stream, method, serve);
}

/**
 * Sends one message; resolves when the transport took it, which waits while the client does not read. Never
 * rejects: where `gone` fires first it resolves, and the caller looks at the signal.
 */
export function send<T>(
  stream: { readonly cancelled: boolean; write(message: T, sent: () => void): boolean },
  message: T,
  gone: AbortSignal,
): Promise<void> {
  return new Promise((resolve) => {
    if (gone.aborted || stream.cancelled) return resolve();
    const settle = () => {
      gone.removeEventListener("abort", settle);
      resolve();
    };
    gone.addEventListener("abort", settle);
    stream.write(message, settle);
  });
}
