/**
 * What the receivers of events by HTTPS want and say: Splunk HEC, Elasticsearch, webhooks.
 *
 * Pure: items in, a body of their entries out; an answer in, out comes how many items are taken, which are refused for good, and what
 * keeps the rest from being taken. What a receiver says is untrusted.
 */
import { escapeControls } from "../text.ts";
import type { SensorEvent } from "./event.ts";

export type Item = {
  readonly event: SensorEvent;
  /** What the format made of it, one line. */
  readonly text: string;
  /** The same whenever it is sent again. */
  readonly id: string;
};

/** What an answer means for the items of a request. */
export type Outcome = {
  /** From the first on: taken or refused. */
  readonly settled: number;
  /** Among those settled. */
  readonly refused: readonly { readonly index: number; readonly reason: string }[];
  /** Why the rest is to be sent again; null where there is no rest, or it is to be sent at once. */
  readonly fault: string | null;
  /** The request was refused for an item in it, or for its size: fewer items at once, and of one it is refused. */
  readonly whole?: {
    readonly because: "size" | "form";
    readonly reason: string;
    /** The item it was refused for, where the receiver says. What is before it may be taken or not. */
    readonly index?: number;
  };
};

export type Answer = { readonly status: number; readonly body: string };

export type HttpsKind = {
  /** Behind the configured address where that names no path. */
  readonly path: string;
  /** Scheme of the Authorization header. */
  readonly scheme: string;
  readonly contentType: string;
  /** What an item is in the body. */
  entry(item: Item): string;
  /** Entries in their order, with at most a byte for each and one more around them. */
  body(entries: readonly string[]): string;
  read(answer: Answer, count: number): Outcome;
};

const MAX_REASON = 300;

const retry = (fault: string): Outcome => ({ settled: 0, refused: [], fault });
const whole = (because: "size" | "form", reason: string, index?: number): Outcome => ({
  settled: 0,
  refused: [],
  fault: null,
  whole: { because, reason, ...(index !== undefined && { index }) },
});
const all = (count: number): Outcome => ({ settled: count, refused: [], fault: null });
const short = (text: string) => escapeControls(text.slice(0, MAX_REASON));

function parsed(body: string): unknown {
  try {
    return JSON.parse(body);
  } catch {
    return null;
  }
}

const field = (value: unknown, name: string): unknown =>
  typeof value === "object" && value !== null ? Reflect.get(value, name) : undefined;

/** What any receiver may answer; null where it is for the kind to read. */
function common({ status, body }: Answer): Outcome | null {
  if (status === 413) return whole("size", "it is too large for the receiver");
  if (status >= 300) return retry(`it answered ${status}: ${short(body)}`);
  return null;
}

/** An object as it stands, anything else as a text in JSON. */
const embedded = (text: string): string => (isObject(text) ? text : JSON.stringify(text));
const isObject = (text: string) => text.startsWith("{") && typeof parsed(text) === "object";

/** The HTTP Event Collector of Splunk. */
export function splunkHec(settings: {
  readonly index?: string | undefined;
  readonly source?: string | undefined;
  readonly sourcetype?: string | undefined;
}): HttpsKind {
  /** Of Splunk's "Possible error codes": what is wrong with one event. */
  const EVENT_CODES: readonly unknown[] = [5, 6, 12, 13, 15];
  return {
    path: "/services/collector/event",
    scheme: "Splunk",
    contentType: "application/json",
    entry({ event, text, id }) {
      const head = JSON.stringify({
        time: Date.parse(event.time) / 1000,
        host: event.sensor.id,
        ...settings,
        fields: { event_id: id },
      });
      return `${head.slice(0, -1)},"event":${embedded(text)}}`;
    },
    body: (entries) => entries.join("\n"),
    read(answer, count) {
      const said = parsed(answer.body);
      const code = field(said, "code");
      const at = field(said, "invalid-event-number");
      if (answer.status === 400 && EVENT_CODES.includes(code)) {
        // Whether what is before that event was indexed is documented nowhere, and Splunk logs
        // "events_processed=0" with it: it is sent again.
        const known = typeof at === "number" && Number.isInteger(at) && at >= 0 && at < count;
        return whole("form", short(String(field(said, "text") ?? "no reason given")), known ? at : undefined);
      }
      const known = common(answer);
      if (known !== null) return known;
      return code === 0 ? all(count) : retry(`it does not answer as Splunk HEC does: ${short(answer.body)}`);
    },
  };
}

/** The bulk API of Elasticsearch, into a data stream. The id makes what is sent twice one document. */
export function elastic(dataStream: string): HttpsKind {
  return {
    path: "/_bulk",
    scheme: "ApiKey",
    contentType: "application/x-ndjson",
    entry({ event, text, id }) {
      const action = JSON.stringify({ create: { _index: dataStream, _id: id } });
      return `${action}\n${elasticDocument(event, text)}\n`;
    },
    body: (entries) => entries.join(""),
    read(answer, count) {
      const known = common(answer);
      if (known !== null) return known;
      const said = parsed(answer.body);
      const results = field(said, "items");
      if (!Array.isArray(results) || results.length !== count) {
        return retry(`it does not answer as Elasticsearch does: ${short(answer.body)}`);
      }
      const refused: { index: number; reason: string }[] = [];
      for (const [index, result] of results.entries()) {
        const outcome = field(result, "create");
        const status = field(outcome, "status");
        if (typeof status !== "number")
          return { ...retry("a result has no status"), settled: index, refused };
        // 409: it is there already.
        if ((status >= 200 && status < 300) || status === 409) continue;
        const error = field(outcome, "error");
        const reason = short(`${status} ${String(field(error, "type"))}: ${String(field(error, "reason"))}`);
        if (status !== 400 && status !== 413) return { settled: index, refused, fault: reason };
        refused.push({ index, reason });
      }
      return { settled: count, refused, fault: null };
    },
  };
}

/** A document needs @timestamp; a text that is no object becomes its message. */
function elasticDocument(event: SensorEvent, text: string): string {
  const stamp = JSON.stringify({ "@timestamp": event.time });
  if (!isObject(text)) {
    return JSON.stringify({ "@timestamp": event.time, event: { id: event.id }, message: text });
  }
  const document: unknown = JSON.parse(text);
  if (field(document, "@timestamp") !== undefined) return text;
  return text === "{}" ? stamp : `${stamp.slice(0, -1)},${text.slice(text.indexOf("{") + 1)}`;
}

/** Any receiver of JSON: one array, or an object a line. Every 2xx takes the whole request, 400 and 422 none of it. */
export function webhook(form: "array" | "ndjson"): HttpsKind {
  return {
    path: "",
    scheme: "Bearer",
    contentType: form === "array" ? "application/json" : "application/x-ndjson",
    entry: ({ text }) => embedded(text),
    body: (entries) => (form === "array" ? `[${entries.join(",")}]` : `${entries.join("\n")}\n`),
    read(answer, count) {
      if (answer.status === 400 || answer.status === 422) {
        return whole("form", `it answered ${answer.status}: ${short(answer.body)}`);
      }
      return common(answer) ?? all(count);
    },
  };
}
