/**
 * The control service: gRPC for automation and for the commands of this program.
 *
 * In goes what the stages know (the spool, a status callback), out go answers. Every request is checked, every
 * answer and every number of calls is bounded, and no fault of a call ever leaves it: the client gets a status,
 * the log the whole story.
 */
import {
  type handleUnaryCall,
  logVerbosity,
  Server,
  type ServerUnaryCall,
  setLogVerbosity,
  status,
} from "@grpc/grpc-js";
import {
  type ListMailsRequest,
  type ListMailsResponse,
  MailSummary,
  type SensorServiceServer,
  SensorServiceService,
} from "../../gen/emailsensor/v1/sensor.ts";
import { HealthService } from "../../gen/grpc/health/v1/health.ts";
import { ServerReflectionService } from "../../gen/grpc/reflection/v1/reflection.ts";
import { SensorError } from "../errors.ts";
import type { Log } from "../log.ts";
import type { Spool } from "../spool/spool.ts";
import type { RunTimeLists } from "../triage/run-time.ts";
import { healthService } from "./health.ts";
import { bind, isExposed, parseListen } from "./listen.ts";
import { addListEntries, listListEntries, removeListEntries } from "./lists.ts";
import { MESSAGE_LIMIT, mailMessage, statusMessage, summaryMessage } from "./messages.ts";
import { REFLECTION_V1ALPHA, reflectionService } from "./reflection.ts";
import { asRefusal, Refusal } from "./refusal.ts";
import { checkListMails, checkMailId, checkReplay, checkWatchEvents, pageToken } from "./requests.ts";
import type { ExtraStatus } from "./status.ts";
import { type OpenStream, streamOpener } from "./streams.ts";
import { readTokenFile, requireToken } from "./token.ts";
import { watchEvents } from "./watch.ts";

/** Bytes of a request; most have a few hundred, those that change lists up to 500 values. */
const REQUEST_LIMIT = 262_144;
/** Streams open at once. */
const STREAM_LIMIT = 64;
/** Calls with one answer in work at once. */
const CALL_LIMIT = 32;
/** Rows of a list read from the spool at once, and bytes after which a page ends. */
const LIST = { rows: 50, bytes: 2_000_000 } as const;
/** A client that is silently gone is noticed in this time, milliseconds. */
const KEEPALIVE = { interval: 60_000, timeout: 20_000 } as const;
/** How long calls in work may go on after stop(), milliseconds. */
const STOP_GRACE = 2000;

export type ControlOptions = {
  /** `unix:/PATH` or HOST:PORT; port 0 takes a free one. */
  readonly listen: string;
  /** Where given, every call but health checks must show the token in this file. */
  readonly tokenFile?: string | undefined;
  readonly spool: Spool;
  /** Called for each GetStatus. */
  readonly status: () => ExtraStatus | Promise<ExtraStatus>;
  /** Sends events of a time to a destination once more; see Reporting.replay. */
  readonly replay: (
    destination: string,
    since: number,
    until: number,
  ) => Promise<number | "unknown" | "running">;
  readonly lists: RunTimeLists;
  readonly sensor: { readonly id: string; readonly version: string };
  readonly log: Log;
};

export type Control = {
  /** Really bound, as clients write it. */
  readonly address: string;
  /** Ends all streams UNAVAILABLE, lets calls in work finish for a moment, and takes the socket away. */
  stop(): Promise<void>;
};

async function listMails(
  call: ServerUnaryCall<ListMailsRequest, ListMailsResponse>,
  spool: Spool,
): Promise<ListMailsResponse> {
  const { filter, pageSize, before } = checkListMails(call.request);
  const mails: MailSummary[] = [];
  let bytes = 0;
  let last = before;
  for (;;) {
    const wanted = Math.min(LIST.rows, pageSize - mails.length);
    // One row more than wanted says whether another page follows.
    const rows = await spool.mails(filter, wanted + 1, last);
    for (const row of rows.slice(0, wanted)) {
      const summary = summaryMessage(row);
      bytes += MailSummary.encode(summary).finish().length;
      mails.push(summary);
      last = row.id;
    }
    if (rows.length <= wanted || last === null) return { mails, nextPageToken: "" };
    if (mails.length >= pageSize || bytes >= LIST.bytes) {
      return { mails, nextPageToken: pageToken(filter, last) };
    }
    if (call.cancelled) throw new Refusal(status.CANCELLED, "the client is gone");
  }
}

function sensorService(options: ControlOptions, openStream: OpenStream): SensorServiceServer {
  const { spool, sensor, log } = options;
  let running = 0;
  const unary =
    <Request, Response>(
      method: string,
      answer: (call: ServerUnaryCall<Request, Response>) => Promise<Response>,
    ): handleUnaryCall<Request, Response> =>
    async (call, callback) => {
      if (running >= CALL_LIMIT) {
        callback(new Refusal(status.RESOURCE_EXHAUSTED, "too many calls at once; try again in a moment"));
        return;
      }
      running += 1;
      try {
        callback(null, await answer(call));
      } catch (thrown) {
        callback(asRefusal(thrown, method, log));
      } finally {
        running -= 1;
      }
    };
  // The client of a unix socket has no address: the socket says at least who may have been it.
  const peerOf = (call: { getPeer(): string }) => {
    const peer = call.getPeer();
    return peer === "unknown" ? options.listen : peer;
  };
  return {
    getStatus: unary("GetStatus", async () => {
      const [counts, extra] = await Promise.all([spool.counts(), options.status()]);
      return { status: statusMessage(sensor, performance.timeOrigin, Date.now(), counts, extra) };
    }),
    listMails: unary("ListMails", (call) => listMails(call, spool)),
    getMail: unary("GetMail", async (call) => {
      const id = checkMailId(call.request.id);
      const row = await spool.mail(id);
      if (row === null) {
        throw new Refusal(
          status.NOT_FOUND,
          `id: no mail ${id} is known; it was never here or is deleted by now`,
        );
      }
      return { mail: mailMessage(row) };
    }),
    replayEvents: unary("ReplayEvents", async (call) => {
      const { destination, since, until } = checkReplay(call.request);
      const events = await options.replay(destination, since, until);
      if (events === "unknown") {
        throw new Refusal(status.NOT_FOUND, `destination: there is no siem destination ${destination}`);
      }
      if (events === "running") {
        throw new Refusal(
          status.FAILED_PRECONDITION,
          `an earlier replay to ${destination} goes on; try again when it has ended`,
        );
      }
      log.info("events are sent again", { destination: `siem:${destination}`, events });
      return { events: BigInt(events) };
    }),
    addListEntries: unary("AddListEntries", (call) =>
      addListEntries(call.request, peerOf(call), { lists: options.lists, log, now: Date.now() }),
    ),
    removeListEntries: unary("RemoveListEntries", (call) =>
      removeListEntries(call.request, peerOf(call), { lists: options.lists, log }),
    ),
    listListEntries: unary("ListListEntries", (call) => listListEntries(call.request, spool)),
    watchEvents(call) {
      openStream(call, "WatchEvents", async (gone) => {
        await watchEvents(call, checkWatchEvents(call.request), spool, gone);
      });
    },
  };
}

/**
 * Starts the service. Throws SensorError CONFIG_INVALID where the address or the token will not do, and
 * LISTEN_FAILED where the address cannot be bound; nothing is left running then.
 */
export async function startControl(options: ControlOptions): Promise<Control> {
  const log = options.log.with({ stage: "control" });
  const address = parseListen(options.listen);
  const token = options.tokenFile === undefined ? null : await readTokenFile(options.tokenFile);
  if (token === null && isExposed(address)) {
    throw new SensorError(
      "CONFIG_INVALID",
      `control.listen: ${options.listen} can be reached from other machines, which needs control.token_file`,
    );
  }
  // Its faults arrive here as errors; on stderr they would be lines that are no JSON.
  setLogVerbosity(logVerbosity.NONE);
  const stopping = new AbortController();
  const openStream = streamOpener(STREAM_LIMIT, stopping.signal, log);
  const server = new Server({
    "grpc.max_receive_message_length": REQUEST_LIMIT,
    "grpc.max_send_message_length": MESSAGE_LIMIT + 65_536,
    "grpc.keepalive_time_ms": KEEPALIVE.interval,
    "grpc.keepalive_timeout_ms": KEEPALIVE.timeout,
    "grpc.max_concurrent_streams": STREAM_LIMIT + CALL_LIMIT,
    interceptors: token === null ? [] : [requireToken(token)],
  });
  const reflection = reflectionService(openStream);
  server.addService(SensorServiceService, sensorService({ ...options, log }, openStream));
  server.addService(HealthService, healthService(openStream, stopping.signal));
  server.addService(ServerReflectionService, reflection);
  server.addService(REFLECTION_V1ALPHA, reflection);
  const bound = await bind(server, address).catch((thrown: unknown) => {
    server.forceShutdown();
    throw thrown;
  });
  if (isExposed(address)) {
    log.warn("control token and answers cross the network unencrypted; keep the network private", {
      address: bound,
    });
  }
  log.info("control service listens", { address: bound, token: token !== null });

  let stopped: Promise<void> | null = null;
  const stop = async (): Promise<void> => {
    stopping.abort();
    await new Promise<void>((resolve) => {
      const force = setTimeout(() => {
        server.forceShutdown();
        resolve();
      }, STOP_GRACE);
      server.tryShutdown(() => {
        clearTimeout(force);
        resolve();
      });
    });
    log.info("control service stopped");
  };
  return {
    address: bound,
    stop() {
      stopped ??= stop();
      return stopped;
    },
  };
}
