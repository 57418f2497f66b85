/**
 * The spool in a thread of its own: flushing to disk holds up neither SMTP nor anything else of the event loop.
 *
 * This side turns calls into messages and answers into promises. It keeps what must be known at once (may a mail be
 * taken, who waits for which topic), and what belongs to the way of the bytes: the bodies of mails coming in, and the
 * notes of mails in a parser, so that a note is there before a helper has the mail.
 */
import { join } from "node:path";
import { SensorError } from "../errors.ts";
import type { Log } from "../log.ts";
import { workerEntry } from "../worker-entry.ts";
import { createBody } from "./body.ts";
import { parsedEvent } from "./outbox.ts";
import { createParsingNotes } from "./parsing-notes.ts";
import type { Spool, SpoolTopic } from "./spool.ts";
import type { SpoolSettings } from "./sqlite.ts";
import {
  type Call,
  type FromThread,
  NO_ANSWER,
  receivedError,
  type ThreadMethod,
  type ToThread,
} from "./thread-protocol.ts";

export type SpoolThread = Spool & {
  /**
   * Resolves when the thread has died. Every call is rejected from then on: only a new process gets at the spool
   * again. Nothing that was acknowledged is lost.
   */
  readonly died: Promise<SensorError>;
};

type Waiting = {
  readonly resolve: (value: never) => void;
  readonly reject: (error: SensorError) => void;
};

/** Opens the spool as `openSpool` does, in a thread. Throws what `openSpool` throws. */
export async function openSpoolThread(settings: SpoolSettings, log: Log): Promise<SpoolThread> {
  const thread = new Worker(workerEntry("spool/thread-worker"), { smol: true });
  const waiting = new Map<number, Waiting>();
  const subscribers = new Map<SpoolTopic, Set<() => void>>();
  let lastId = NO_ANSWER;
  let calls: Call[] = [];
  let bytes: ArrayBuffer[] = [];
  let fault: SensorError | null = null;
  /** Why no more calls are taken. */
  let ended: SensorError | null = null;
  let closing: Promise<void> | null = null;
  const opened = Promise.withResolvers<void>();
  const died = Promise.withResolvers<SensorError>();

  const post = () => {
    if (calls.length === 0) return;
    const message: ToThread = calls;
    thread.postMessage(message, bytes);
    calls = [];
    bytes = [];
  };

  const tell = (id: number, method: ThreadMethod, args: readonly unknown[]) => {
    if (calls.length === 0) setImmediate(post);
    calls.push([id, method, args]);
  };

  const call = <T>(method: ThreadMethod, args: readonly unknown[]): Promise<T> =>
    new Promise((resolve, reject) => {
      lastId += 1;
      waiting.set(lastId, { resolve, reject });
      tell(lastId, method, args);
    });

  const remote = <M extends ThreadMethod>(method: M): Spool[M] =>
    // The result is what the method of the same name gave in the thread.
    ((...args: readonly unknown[]) =>
      ended === null ? call(method, args) : Promise.reject(ended)) as Spool[M];

  const die = (why: string) => {
    thread.removeEventListener("close", closedByItself);
    thread.terminate();
    const error = new SensorError("SPOOL_BROKEN", `the thread of the spool died: ${why}`);
    ended = error;
    calls = [];
    opened.reject(error);
    for (const { reject } of waiting.values()) reject(error);
    waiting.clear();
    died.resolve(error);
  };
  const closedByItself = () => die("it ended");

  thread.addEventListener("message", ({ data }: MessageEvent<FromThread>) => {
    for (const [level, msg, fields] of data.logs) log[level](msg, fields);
    if (data.fault !== undefined) fault = data.fault === null ? null : receivedError(data.fault);
    if (data.opened === null) opened.resolve();
    else if (data.opened !== undefined) opened.reject(receivedError(data.opened));
    for (const [id, value, error] of data.answers) {
      const entry = waiting.get(id);
      waiting.delete(id);
      if (error === undefined) entry?.resolve(value as never);
      else entry?.reject(receivedError(error));
    }
    for (const topic of data.woken) for (const wake of subscribers.get(topic) ?? []) wake();
  });
  thread.addEventListener("error", ({ message }) => die(firstLine(message)));
  thread.addEventListener("close", closedByItself);

  const open: ToThread = { open: settings };
  thread.postMessage(open);
  try {
    await opened.promise;
  } catch (thrown) {
    thread.removeEventListener("close", closedByItself);
    thread.terminate();
    throw thrown;
  }

  // Only now: the thread has taken note of those of the last run.
  const parsing = createParsingNotes(join(settings.path, "parsing"));
  const recordExtraction = remote("recordExtraction");
  const recordExtractionFault = remote("recordExtractionFault");
  const failMail = remote("failMail");
  const eventBodies = remote("eventBodies");

  const close = async () => {
    if (ended !== null) throw ended;
    const answered = call<void>("close", []);
    ended = new SensorError("SPOOL_BROKEN", "the spool is closed");
    await answered;
    thread.removeEventListener("close", closedByItself);
    thread.terminate();
    for (const id of parsing.left()) parsing.erase(id);
  };

  return {
    died: died.promise,

    ready: () => {
      if (ended !== null) throw ended;
      if (fault !== null) throw fault;
    },
    body: (id) => createBody(settings, id),
    putMail: (mail) => {
      if (ended !== null) return Promise.reject(ended);
      if (mail.body.kind === "file") return call("putMail", [mail]);
      // A copy of its own: the bytes may be part of a larger buffer, which would be sent whole.
      const own = new Uint8Array(mail.body.bytes);
      bytes.push(own.buffer);
      return call("putMail", [{ ...mail, body: { kind: "inline", bytes: own } }]);
    },

    claimMails: remote("claimMails"),
    giveBackMail: (id) => {
      parsing.erase(id);
      if (ended === null) tell(NO_ANSWER, "giveBackMail", [id]);
    },
    noteParsing: parsing.note,
    rawMail: remote("rawMail"),
    recordExtraction: async (id, extraction, plan, sender) => {
      await recordExtraction(id, extraction, plan, sender);
      parsing.erase(id);
    },
    recordExtractionFault: async (id, error, retryAt) => {
      const attempts = await recordExtractionFault(id, error, retryAt);
      parsing.erase(id);
      return attempts;
    },
    failMail: async (id, error, event) => {
      await failMail(id, error, event);
      parsing.erase(id);
    },

    dueAnalyses: remote("dueAnalyses"),
    urgencies: remote("urgencies"),
    tellStates: remote("tellStates"),
    toldStates: remote("toldStates"),
    nextAnalysisAt: remote("nextAnalysisAt"),
    recordProgress: remote("recordProgress"),
    charged: remote("charged"),
    chargedMails: remote("chargedMails"),
    submissionsFinished: remote("submissionsFinished"),
    finishedCursor: remote("finishedCursor"),
    moveAnalysis: remote("moveAnalysis"),
    adoptAnalyses: remote("adoptAnalyses"),
    finishAnalysis: remote("finishAnalysis"),

    analysedMails: remote("analysedMails"),
    finishMail: remote("finishMail"),
    setRelooks: remote("setRelooks"),
    startRelooks: remote("startRelooks"),
    mailsToReport: remote("mailsToReport"),
    reportMail: remote("reportMail"),
    waitingFault: remote("waitingFault"),
    mailsBeside: remote("mailsBeside"),
    mailsOfChange: remote("mailsOfChange"),

    putEvents: remote("putEvents"),
    eventsAfter: async (seq, limit) => (await eventBodies(seq, limit)).map(parsedEvent),
    eventBodies,
    addDestinations: remote("addDestinations"),
    keepDestinations: remote("keepDestinations"),
    forgetDestination: remote("forgetDestination"),
    cursor: remote("cursor"),
    advanceCursor: remote("advanceCursor"),
    lastSeq: remote("lastSeq"),
    dropEvents: remote("dropEvents"),
    startReplay: remote("startReplay"),
    replay: remote("replay"),
    advanceReplay: remote("advanceReplay"),
    alertNotes: remote("alertNotes"),
    putAlertNotes: remote("putAlertNotes"),

    putListEntries: remote("putListEntries"),
    removeListEntries: remote("removeListEntries"),
    listEntries: remote("listEntries"),
    deniedFromFile: remote("deniedFromFile"),
    denyFromFile: remote("denyFromFile"),
    keepDenyFiles: remote("keepDenyFiles"),
    applyDenials: remote("applyDenials"),

    mail: remote("mail"),
    mails: remote("mails"),
    counts: remote("counts"),

    subscribe: (topic, wake) => {
      const topicSubscribers = subscribers.get(topic) ?? new Set();
      subscribers.set(topic, topicSubscribers.add(wake));
      return () => topicSubscribers.delete(wake);
    },
    sweep: remote("sweep"),
    close: () => {
      closing ??= close();
      return closing;
    },
  };
}

/** Of what the runtime says of an error: without the source text and the stack around it. */
function firstLine(message: string): string {
  return /^(?:\w*[Ee]rror): .*$/m.exec(message)?.[0] ?? "for an unknown reason";
}
