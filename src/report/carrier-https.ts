/**
 * The HTTPS carrier: events go to a receiver in batches, one request after the other, so that their order is kept.
 *
 * A request that fails in whole or in part ends with a fault, and what was not taken is sent again by the caller
 * after a pause, or when the receiver says. What a receiver refuses (one event, not the request) is found by smaller
 * requests and passed, so that it holds up nothing; but not where it refuses everything, for that is trouble of the
 * receiver or of its configuration. Answers are bounded in size and time; redirects are not followed.
 */

import { isIP } from "node:net";
import { gzipSync } from "node:zlib";
import { loadSecret } from "../config/files.ts";
import { asSensorError, SensorError } from "../errors.ts";
import { boundedText, retryAfter } from "../http.ts";
import type { Carrier } from "./delivery.ts";
import type { SensorEvent } from "./event.ts";
import type { Message } from "./formats/formatter.ts";
import type { HttpsKind, Item, Outcome } from "./https-kinds.ts";
import { type TlsSettings, tlsFiles } from "./stream.ts";
import { type Delivery, deliveryOfEvents, type Refusal } from "./transport.ts";

export type HttpsSettings = {
  readonly url: string;
  readonly kind: HttpsKind;
  readonly tokenFile?: string | undefined;
  readonly headers: readonly {
    readonly name: string;
    readonly value?: string | undefined;
    readonly valueFile?: string | undefined;
  }[];
  readonly tls?: TlsSettings | undefined;
  readonly gzip: boolean;
  /** Milliseconds for one request with its answer. */
  readonly timeout: number;
  /** Bytes of one request before it is compressed; a single event may be longer. */
  readonly maxBytes: number;
  /** Most items of one request. */
  readonly maxItems: number;
};

const MAX_ANSWER = 8 * 1024 * 1024;
const LONGEST_WAIT_MS = 5 * 60_000;
/** More refusals in a row are not taken for those of single events. */
export const MAX_REFUSED_IN_A_ROW = 20;

/** `linesOf` gives the lines of an event and never throws. */
export function createHttpsCarrier(
  settings: HttpsSettings,
  linesOf: (event: SensorEvent) => readonly Message[],
): Carrier {
  const { kind } = settings;
  const target = httpsTarget(settings);
  const stopping = new AbortController();
  let queue: Promise<unknown> = Promise.resolve();
  let waiting = 0;
  /** Counts faults: a call made before one must not send after it. */
  let faults = 0;
  let closing = false;

  const post = async (entries: readonly string[]): Promise<{ outcome: Outcome; retryAfter: number }> => {
    const body = Buffer.from(kind.body(entries));
    const response = await fetch(target, {
      method: "POST",
      headers: await headersOf(settings, loadSecret),
      body: settings.gzip ? gzipSync(body) : body,
      redirect: "manual",
      signal: AbortSignal.any([AbortSignal.timeout(settings.timeout), stopping.signal]),
      tls: tlsOptions(settings.tls, target.hostname),
    });
    const answer = { status: response.status, body: await textOf(response) };
    return {
      outcome: kind.read(answer, entries.length),
      retryAfter: retryAfter(response.headers, Date.now(), LONGEST_WAIT_MS) ?? 0,
    };
  };

  /** Sends items in order. */
  const sendAll = async (items: readonly Item[]): Promise<Delivery> => {
    const entries = items.map(kind.entry);
    const trial = startTrial();
    /** What the receiver can hold at once, and how much is asked at once to find what it refuses. */
    let most = settings.maxItems;
    let step = settings.maxItems;
    for (let at = 0; at < entries.length; at = trial.reached()) {
      const batch = firstOf(entries.slice(at, at + Math.min(most, step)), settings.maxBytes);
      const { outcome, retryAfter } = await post(batch).catch((thrown: unknown) => ({
        outcome: faultOf(thrown),
        retryAfter: 0,
      }));
      if (outcome instanceof SensorError) return trial.end(outcome);
      const { whole } = outcome;
      if (whole === undefined) {
        const refused = new Map(outcome.refused.map(({ index, reason }) => [index, reason]));
        for (let index = 0; index < outcome.settled; index += 1) trial.settle(refused.get(index));
        step = Math.min(settings.maxItems, step * 2);
      } else if (batch.length === 1) {
        trial.settle(whole.reason);
      } else if (whole.because === "size") {
        most = Math.ceil(batch.length / 2);
      } else {
        step = whole.index === undefined ? Math.ceil(batch.length / 2) : Math.max(1, whole.index);
      }
      if (outcome.fault !== null || trial.hopeless()) {
        const fault = outcome.fault === null ? null : new SensorError("SIEM_UNREACHABLE", outcome.fault);
        return { ...trial.end(fault), retryAfter };
      }
    }
    return trial.end(null);
  };

  const carryNow = async (events: readonly SensorEvent[], calledAfter: number): Promise<Delivery> => {
    if (calledAfter !== faults) {
      return { delivered: 0, fault: new SensorError("SIEM_UNREACHABLE", "what was before it failed") };
    }
    const perEvent = events.map((event) => httpsItems(linesOf(event)));
    const delivery = await sendAll(perEvent.flat());
    if (delivery.fault !== null) faults += 1;
    return deliveryOfEvents(perEvent, delivery);
  };

  return {
    carry(events) {
      if (closing) {
        const fault = new SensorError("SIEM_UNREACHABLE", "the destination is closed");
        return Promise.resolve({ delivered: 0, fault });
      }
      const calledAfter = faults;
      waiting += 1;
      const turn = queue.then(() => carryNow(events, calledAfter));
      queue = turn;
      return turn.finally(() => {
        waiting -= 1;
      });
    },
    full: () => waiting > 0,
    async close() {
      closing = true;
      // What is under way has its own time-out.
      const timer = setTimeout(() => stopping.abort(), settings.timeout);
      await queue;
      clearTimeout(timer);
    },
  };
}

/** Where requests go. */
export function httpsTarget({ url, kind }: Pick<HttpsSettings, "url" | "kind">): URL {
  const target = new URL(url);
  if (target.pathname === "/") target.pathname = kind.path;
  return target;
}

/** The headers of a request; `secretOf` gives what is in a file. */
export async function headersOf(
  { kind, tokenFile, headers, gzip }: HttpsSettings,
  secretOf: (path: string) => Promise<string>,
): Promise<Record<string, string>> {
  const made: Record<string, string> = { "content-type": kind.contentType };
  if (tokenFile !== undefined) made.authorization = `${kind.scheme} ${await secretOf(tokenFile)}`;
  for (const { name, value, valueFile } of headers) {
    made[name.toLowerCase()] = valueFile === undefined ? (value ?? "") : await secretOf(valueFile);
  }
  if (gzip) made["content-encoding"] = "gzip";
  return made;
}

/** The lines of an event, each with an id that stays the same: that of what it tells of, numbered where it is repeated. */
function httpsItems(lines: readonly Message[]): readonly Item[] {
  const seen = new Map<string, number>();
  return lines.map(({ event, text }) => {
    const before = seen.get(event.id) ?? 0;
    seen.set(event.id, before + 1);
    return { event, text, id: before === 0 ? event.id : `${event.id}-${before}` };
  });
}

/** The body of a request with the lines of one event. */
export function httpsBody({ kind }: Pick<HttpsSettings, "kind">, lines: readonly Message[]): Uint8Array {
  return Buffer.from(kind.body(httpsItems(lines).map(kind.entry)));
}

/**
 * Judges what a receiver says of items, one after the other: a refusal is one for good where it took another item of
 * the same run and did not refuse more than a few in a row. Else all that it refused last is to be sent again.
 */
function startTrial() {
  const refused: Refusal[] = [];
  /** Refused since the last one that was taken. */
  const doubted: Refusal[] = [];
  let reached = 0;
  let taken = false;
  const hopeless = () => doubted.length > MAX_REFUSED_IN_A_ROW;
  return {
    /** Items judged. */
    reached: () => reached,
    hopeless,
    /** Why the next item was refused; undefined where it was taken. */
    settle(reason: string | undefined): void {
      if (reason === undefined) {
        taken = true;
        if (!hopeless()) refused.push(...doubted.splice(0));
      } else if (!hopeless()) {
        doubted.push({ index: reached, reason });
      }
      reached += 1;
    },
    end(fault: SensorError | null): Delivery {
      const [first] = doubted;
      if (first !== undefined && (!taken || hopeless())) {
        const all = new SensorError(
          "SIEM_UNREACHABLE",
          `it refuses every event, so none is given up: ${first.reason}`,
        );
        return {
          delivered: first.index,
          fault: fault ?? all,
          ...(fault === null && { doubt: first.reason }),
          ...(refused.length > 0 && { refused }),
        };
      }
      const lost = [...refused, ...doubted];
      return { delivered: reached, fault, ...(lost.length > 0 && { refused: lost }) };
    },
  };
}

/** The first entries whose body fits, at least one. */
function firstOf(entries: readonly string[], maxBytes: number): readonly string[] {
  let bytes = 1;
  const end = entries.findIndex((entry, index) => {
    bytes += Buffer.byteLength(entry) + 1;
    return index > 0 && bytes > maxBytes;
  });
  return end === -1 ? entries : entries.slice(0, end);
}

async function textOf(response: Response): Promise<string> {
  const text = await boundedText(response, MAX_ANSWER);
  if (text === null) throw new Error("the answer is too long");
  return text;
}

function tlsOptions(tls: TlsSettings | undefined, host: string) {
  const name = tls?.serverName ?? host;
  return {
    rejectUnauthorized: tls?.verify ?? true,
    ...(tls && tlsFiles(tls)),
    ...(tls?.serverName !== undefined && isIP(name) === 0 && { serverName: name }),
  };
}

function faultOf(thrown: unknown): SensorError {
  if (thrown instanceof SensorError) return thrown;
  return new SensorError("SIEM_UNREACHABLE", asSensorError(thrown).message, { cause: thrown });
}
