/**
 * grpc.health.v1 for the server as a whole ("") and for the sensor's own service. Serving from the moment calls
 * are taken until the sensor begins to stop.
 */
import { status } from "@grpc/grpc-js";
import {
  type HealthCheckResponse,
  HealthCheckResponse_ServingStatus,
  type HealthServer,
} from "../../gen/grpc/health/v1/health.ts";
import { Refusal } from "./refusal.ts";
import { type OpenStream, send } from "./streams.ts";

const SERVICES = ["", "emailsensor.v1.SensorService"];

/** `openStream` gives a stream its place and its end; `stopping` fires when the sensor begins to stop. */
export function healthService(openStream: OpenStream, stopping: AbortSignal): HealthServer {
  const answer = (service: string): HealthCheckResponse => {
    const { SERVING, NOT_SERVING, SERVICE_UNKNOWN } = HealthCheckResponse_ServingStatus;
    if (!SERVICES.includes(service)) return { status: SERVICE_UNKNOWN };
    return { status: stopping.aborted ? NOT_SERVING : SERVING };
  };
  return {
    check(call, callback) {
      if (SERVICES.includes(call.request.service)) callback(null, answer(call.request.service));
      else
        callback(
          new Refusal(status.NOT_FOUND, `service: is not served here; the services are listed by List`),
        );
    },
    list(_call, callback) {
      callback(null, { statuses: Object.fromEntries(SERVICES.map((service) => [service, answer(service)])) });
    },
    watch(call) {
      openStream(call, "Health.Watch", async (gone) => {
        await send(call, answer(call.request.service), gone);
        await new Promise<void>((resolve) => {
          if (gone.aborted) resolve();
          else gone.addEventListener("abort", () => resolve(), { once: true });
        });
        if (stopping.aborted && !call.cancelled) call.write(answer(call.request.service));
      });
    },
  };
}
