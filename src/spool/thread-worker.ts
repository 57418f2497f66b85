/**
 * The thread of the spool: has the database to itself, does the calls that come in, and answers them.
 *
 * It looks at the database by itself too, so that the other side knows at any time whether mails can be taken.
 * What is thrown outside a call ends the thread, and with it the sensor.
 */
import type { Log, LogFields, LogLevel } from "../log.ts";
import { LOOK_EVERY } from "./database.ts";
import type { Spool, SpoolTopic } from "./spool.ts";
import { openSpool, type SpoolSettings } from "./sqlite.ts";
import {
  type Answer,
  type Call,
  type FromThread,
  type LogLine,
  NO_ANSWER,
  type SentError,
  sentError,
  type ToThread,
} from "./thread-protocol.ts";

declare const self: Worker;

const TOPICS: readonly SpoolTopic[] = ["received", "analyses", "analysed", "events"];
/** A little more than the database wants between two looks. */
const CHECK_EVERY = LOOK_EVERY + 5;

let spool: Spool | null = null;
let fault: SentError | null = null;
let unanswered = 0;
let allAnswered: (() => void) | null = null;

let logs: LogLine[] = [];
let answers: Answer[] = [];
const woken = new Set<SpoolTopic>();
let scheduled = false;

const send = (more: Pick<FromThread, "opened" | "fault"> = {}) => {
  const message: FromThread = { ...more, logs, answers, woken: [...woken] };
  self.postMessage(message);
  logs = [];
  answers = [];
  woken.clear();
};

const sendSoon = () => {
  if (scheduled) return;
  scheduled = true;
  setImmediate(() => {
    scheduled = false;
    if (answers.length > 0 || logs.length > 0 || woken.size > 0) send();
  });
};

const threadLog = (fixed: LogFields): Log => {
  const line = (level: LogLevel) => (msg: string, fields?: LogFields) => {
    logs.push([level, msg, { ...fixed, ...fields }]);
    sendSoon();
  };
  return {
    debug: line("debug"),
    info: line("info"),
    warn: line("warn"),
    error: line("error"),
    with: (fields) => threadLog({ ...fixed, ...fields }),
  };
};

/** Tells the other side where what `ready()` says has changed. */
const check = (opened: Spool) => {
  let now: SentError | null = null;
  try {
    opened.ready();
  } catch (thrown) {
    now = sentError(thrown);
  }
  if (now?.code === fault?.code && now?.message === fault?.message) return;
  fault = now;
  send({ fault });
};

const open = async (settings: SpoolSettings) => {
  try {
    const opened = await openSpool(settings, threadLog({}));
    for (const topic of TOPICS) {
      opened.subscribe(topic, () => {
        woken.add(topic);
        sendSoon();
      });
    }
    check(opened);
    setInterval(check, CHECK_EVERY, opened);
    spool = opened;
    send({ opened: null });
  } catch (thrown) {
    send({ opened: sentError(thrown) });
  }
};

const answer = (entry: Answer) => {
  answers.push(entry);
  sendSoon();
  unanswered -= 1;
  if (unanswered === 0) allAnswered?.();
};

const work = (opened: Spool, [id, method, args]: Call) => {
  const result = (opened[method] as (...args: readonly unknown[]) => unknown)(...args);
  if (id === NO_ANSWER) return;
  unanswered += 1;
  Promise.resolve(result).then(
    (value) => answer([id, value]),
    (thrown) => {
      check(opened);
      answer([id, null, sentError(thrown)]);
    },
  );
};

/** Closes at once for new writes; answered as the last of all calls. */
const close = async (opened: Spool, id: number) => {
  const others = new Promise<void>((resolve) => {
    if (unanswered === 0) resolve();
    else allAnswered = resolve;
  });
  let outcome: Answer;
  try {
    await opened.close();
    outcome = [id, null];
  } catch (thrown) {
    outcome = [id, null, sentError(thrown)];
  }
  await others;
  unanswered += 1;
  answer(outcome);
};

self.onmessage = ({ data }: MessageEvent<ToThread>) => {
  if ("open" in data) {
    void open(data.open);
    return;
  }
  if (spool === null) throw new Error("a call came before the spool was open");
  for (const call of data) {
    if (call[1] === "close") void close(spool, call[0]);
    else work(spool, call);
  }
  // After the turn in which these calls are committed: one message answers them all.
  sendSoon();
};
