/** A control service on a real spool in a temporary folder, with clients that are closed at the end. */
import { join } from "node:path";
import { credentials, Metadata, type ServiceError } from "@grpc/grpc-js";
import {
  type GetMailResponse,
  type GetStatusResponse,
  type ListMailsRequest,
  type ListMailsResponse,
  type MailFilter,
  type ReplayEventsRequest,
  type ReplayEventsResponse,
  SensorServiceClient,
  type WatchEventsRequest,
} from "../../../gen/emailsensor/v1/sensor.ts";
import { type Control, type ControlOptions, startControl } from "../../../src/control/server.ts";
import type { ExtraStatus } from "../../../src/control/status.ts";
import { createLog } from "../../../src/log.ts";
import type { SensorEvent } from "../../../src/report/event.ts";
import type { Spool } from "../../../src/spool/spool.ts";
import { openRunTimeLists } from "../../../src/triage/run-time.ts";
import { open, someEvent, temporaryFolder } from "../spool/fixtures.ts";

export const EXTRA: ExtraStatus = {
  analyzer: {
    running: 2,
    open: 5,
    pausedReason: null,
    waiting: { look: 1, send: 0, upload: 2, poll: 7, read: 0 },
    circuits: {
      reads: { state: "open", reason: null, retryAt: null },
      submits: { state: "shut", reason: "unreachable", retryAt: Date.UTC(2026, 10, 24, 9) },
    },
    lastError: { code: "VMRAY_UNREACHABLE", message: "VMRay closed\u202e it", at: Date.UTC(2026, 10, 24, 8) },
    budget: {
      perDay: 500,
      usedToday: 412,
      reserve: 50,
      usedUp: false,
      renewsAt: Date.UTC(2026, 10, 25),
      cheaper: "reputation",
      quotaRetryAt: null,
    },
    quota: {
      key: { limit: 0, used: 412 },
      report: { limit: 1_000, used: 411.5 },
      verdict: { limit: 0, used: 0 },
      period: "monthly",
    },
  },
  destinations: [{ name: "siem", up: true, delivered: 7, refused: 3, lastError: null }],
};

export type Harness = {
  readonly control: Control;
  readonly spool: Spool;
  readonly folder: string;
  /** Lines of the log so far. */
  readonly logged: readonly string[];
  client(address?: string): SensorServiceClient;
  end(): Promise<void>;
};

export async function harness(
  change: Partial<ControlOptions> & { readonly wrap?: (spool: Spool) => Spool } = {},
): Promise<Harness> {
  const { path, remove } = temporaryFolder();
  const { wrap = (spool: Spool) => spool, ...options } = change;
  const spool = await open(join(path, "spool"), { keepRaw: 1e9, keepMetadata: 1e9, keepEvents: 1e9 });
  const logged: string[] = [];
  const control = await startControl({
    listen: `unix:${path}/run/control.sock`,
    spool: wrap(spool),
    status: () => EXTRA,
    replay: async (destination, since, until) =>
      destination === "siem" ? ((await spool.startReplay("siem", since, until)) ?? "running") : "unknown",
    lists: await openRunTimeLists(spool),
    sensor: { id: "sensor-1", version: "1.2.3" },
    log: createLog("debug", (line) => logged.push(line)),
    ...options,
  });
  const clients: SensorServiceClient[] = [];
  return {
    control,
    spool,
    folder: path,
    logged,
    client(address = control.address) {
      const client = new SensorServiceClient(address, credentials.createInsecure());
      clients.push(client);
      return client;
    },
    async end() {
      for (const client of clients) client.close();
      await control.stop();
      await spool.close();
      remove();
    },
  };
}

/** The calls with one answer as promises; they reject with the ServiceError. */
export function calls(client: SensorServiceClient, metadata = new Metadata()) {
  const answer = <Response>(
    start: (callback: (error: ServiceError | null, response: Response) => void) => unknown,
  ): Promise<Response> =>
    new Promise((resolve, reject) => {
      start((error, response) => (error === null ? resolve(response) : reject(error)));
    });
  return {
    getStatus: () => answer<GetStatusResponse>((done) => client.getStatus({}, metadata, done)),
    replayEvents: (request: ReplayEventsRequest) =>
      answer<ReplayEventsResponse>((done) => client.replayEvents(request, metadata, done)),
    getMail: (id: string) => answer<GetMailResponse>((done) => client.getMail({ id }, metadata, done)),
    listMails: (...of: Parameters<typeof listRequest>) =>
      answer<ListMailsResponse>((done) => client.listMails(listRequest(...of), metadata, done)),
  };
}

/** Code and text of the refusal of a call. */
export async function refusalOf(call: Promise<unknown>): Promise<{ code: number; details: string }> {
  try {
    await call;
  } catch (thrown) {
    const { code, details } = thrown as ServiceError;
    return { code, details };
  }
  throw new Error("the call was answered");
}

export function bearer(token: string): Metadata {
  const metadata = new Metadata();
  metadata.set("authorization", `Bearer ${token}`);
  return metadata;
}

export const NO_FILTER: MailFilter = {
  states: [],
  verdicts: [],
  receivedSince: undefined,
  receivedUntil: undefined,
  text: "",
};

export function listRequest(
  filter: Partial<MailFilter> = {},
  pageSize = 0,
  pageToken = "",
): ListMailsRequest {
  return { filter: { ...NO_FILTER, ...filter }, pageSize, pageToken };
}

export function watchRequest(change: Partial<WatchEventsRequest> = {}): WatchEventsRequest {
  return { types: [], minVerdict: 0, ...change };
}

/** A verdict event of about `bytes` bytes. */
export function verdictEvent(verdict: SensorEvent["verdict"], bytes = 0): SensorEvent {
  return {
    ...someEvent("mail.verdict"),
    ...(verdict !== undefined && { verdict }),
    complete: true,
    reasons: ["x".repeat(bytes)],
  };
}
