/**
 * The client of the control service, for the commands of this program.
 *
 * In goes an address and perhaps a token, out come messages. Faults are SensorError: CONTROL_UNREACHABLE where
 * no sensor answers, USAGE where it finds the request bad, CONTROL_REFUSED for the rest. What the server says is
 * passed on with control characters escaped.
 */
import {
  credentials,
  logVerbosity,
  Metadata,
  type ServiceError,
  setLogVerbosity,
  status,
} from "@grpc/grpc-js";
import {
  type AddListEntriesRequest,
  type AddListEntriesResponse,
  type Event,
  type GetMailResponse,
  type GetStatusResponse,
  type ListListEntriesRequest,
  type ListListEntriesResponse,
  type ListMailsRequest,
  type ListMailsResponse,
  type Mail,
  type RemoveListEntriesRequest,
  type RemoveListEntriesResponse,
  type ReplayEventsRequest,
  type ReplayEventsResponse,
  SensorServiceClient,
  type Status,
  type WatchEventsRequest,
  type WatchEventsResponse,
} from "../../gen/emailsensor/v1/sensor.ts";
import { SensorError } from "../errors.ts";
import { cutText, escapeControls } from "../text.ts";

/** Milliseconds a call with one answer may take. */
const DEADLINE = 30_000;
/** Bytes of one answer. */
const ANSWER_LIMIT = 16 * 1024 * 1024;

export type ControlClient = {
  getStatus(): Promise<Status>;
  listMails(request: ListMailsRequest): Promise<ListMailsResponse>;
  getMail(id: string): Promise<Mail>;
  replayEvents(request: ReplayEventsRequest): Promise<ReplayEventsResponse>;
  addListEntries(request: AddListEntriesRequest): Promise<AddListEntriesResponse>;
  removeListEntries(request: RemoveListEntriesRequest): Promise<RemoveListEntriesResponse>;
  listListEntries(request: ListListEntriesRequest): Promise<ListListEntriesResponse>;
  /** Events until `stop` fires; throws where the stream ends without that. */
  watchEvents(request: WatchEventsRequest, stop: AbortSignal): AsyncGenerator<Event, void>;
  close(): void;
};

function unreachable(address: string, details: string): string {
  const where = `cannot reach the sensor at ${address}`;
  const next = "name another address with --address or EMAIL_SENSOR_ADDRESS";
  if (details.includes("ENOENT")) {
    return `${where}: there is no such socket. Start the sensor (systemctl start email-sensor), or ${next}`;
  }
  if (details.includes("ECONNREFUSED")) {
    return `${where}: nothing listens there. Start the sensor (systemctl start email-sensor), or ${next}`;
  }
  if (details.includes("EACCES") || details.includes("EPERM")) {
    return `${where}: this user may not open the socket. Run the command as root or as a member of the socket's group`;
  }
  return `${where}: ${escapeControls(cutText(details, 500))}. See whether it runs (systemctl status email-sensor), or ${next}`;
}

/** The SensorError for what grpc-js reports. */
export function fromServiceError(error: ServiceError, address: string): SensorError {
  const details = escapeControls(cutText(error.details, 2000));
  switch (error.code) {
    case status.UNAVAILABLE:
      // grpc-js itself says so where it could not connect; a sensor that is up says what it has.
      return new SensorError(
        "CONTROL_UNREACHABLE",
        /^(No connection|Name resolution|Connection dropped)/.test(details) || details.includes("connect E")
          ? unreachable(address, details)
          : `the sensor at ${address} is not available: ${details}`,
        { cause: error },
      );
    case status.DEADLINE_EXCEEDED:
      return new SensorError(
        "CONTROL_UNREACHABLE",
        `the sensor at ${address} does not answer within ${DEADLINE / 1000} s; see its log and the load of the machine`,
        { cause: error },
      );
    case status.INVALID_ARGUMENT:
    case status.OUT_OF_RANGE:
      return new SensorError("USAGE", details, { cause: error });
    case status.UNAUTHENTICATED:
      return new SensorError(
        "CONTROL_REFUSED",
        `the sensor at ${address} refuses the call: name the file of its token (control.token_file) with --token-file`,
        { cause: error },
      );
    case status.UNIMPLEMENTED:
      return new SensorError(
        "CONTROL_REFUSED",
        `what answers at ${address} is no sensor, or one of another version: ${details}`,
        { cause: error },
      );
    default:
      return new SensorError("CONTROL_REFUSED", details, { cause: error });
  }
}

/** A client of the sensor at `address` (`unix:/PATH` or HOST:PORT). Connects with the first call. */
export function connectControl(address: string, token: string | null): ControlClient {
  setLogVerbosity(logVerbosity.NONE);
  const client = new SensorServiceClient(address, credentials.createInsecure(), {
    "grpc.enable_http_proxy": 0,
    "grpc.max_receive_message_length": ANSWER_LIMIT,
    "grpc.keepalive_time_ms": 60_000,
    "grpc.keepalive_timeout_ms": 20_000,
  });
  const metadata = new Metadata();
  if (token !== null) metadata.set("authorization", `Bearer ${token}`);

  const once = <Response>(
    start: (
      metadata: Metadata,
      options: { readonly deadline: number },
      callback: (error: ServiceError | null, response: Response) => void,
    ) => unknown,
  ): Promise<Response> =>
    new Promise((resolve, reject) => {
      start(metadata, { deadline: Date.now() + DEADLINE }, (error, response) => {
        if (error === null) resolve(response);
        else reject(fromServiceError(error, address));
      });
    });
  const present = <Message>(message: Message | undefined): Message => {
    if (message !== undefined) return message;
    throw new SensorError(
      "CONTROL_REFUSED",
      `what answers at ${address} sends empty answers; is it a sensor?`,
    );
  };

  return {
    async getStatus() {
      const response = await once<GetStatusResponse>((...rest) => client.getStatus({}, ...rest));
      return present(response.status);
    },
    listMails: (request) => once((...rest) => client.listMails(request, ...rest)),
    async getMail(id) {
      const response = await once<GetMailResponse>((...rest) => client.getMail({ id }, ...rest));
      return present(response.mail);
    },
    replayEvents: (request) => once((...rest) => client.replayEvents(request, ...rest)),
    addListEntries: (request) => once((...rest) => client.addListEntries(request, ...rest)),
    removeListEntries: (request) => once((...rest) => client.removeListEntries(request, ...rest)),
    listListEntries: (request) => once((...rest) => client.listListEntries(request, ...rest)),
    async *watchEvents(request, stop) {
      if (stop.aborted) return;
      const call = client.watchEvents(request, metadata);
      // The loop below reports it; after the loop it is the answer to our own cancelling.
      call.on("error", () => {});
      const cancel = () => call.cancel();
      stop.addEventListener("abort", cancel);
      try {
        for await (const response of call as AsyncIterable<WatchEventsResponse>) {
          yield present(response.event);
        }
      } catch (thrown) {
        if (stop.aborted) return;
        throw thrown instanceof Error && "details" in thrown
          ? fromServiceError(thrown as ServiceError, address)
          : thrown;
      } finally {
        stop.removeEventListener("abort", cancel);
        call.cancel();
      }
      if (!stop.aborted) {
        throw new SensorError("CONTROL_UNREACHABLE", `the sensor at ${address} ended the stream of events`);
      }
    },
    close: () => client.close(),
  };
}
