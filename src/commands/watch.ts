/**
 * `watch`: the events of a running sensor as they come, a line each, until interrupted.
 */
import { type Event, Verdict } from "../../gen/emailsensor/v1/sensor.ts";
import { eventJson, typeWord, verdictWord } from "../control/json.ts";
import { API_EVENT_TYPE, API_VERDICT } from "../control/vocabulary.ts";
import { toJsonLine } from "../text.ts";
import type { Command, ExitCode } from "./command.ts";
import { controlArguments, numbersOf, readCount, SHARED_USAGE } from "./control-options.ts";
import { type Screen, screenOf, shortTime } from "./screen.ts";
import { fit, pad, printable } from "./table.ts";

const USAGE = `use: email-sensor watch [options]

Shows the events of a running sensor as they come, a line each, until it is interrupted.

options:
  --type TYPE         ${Object.keys(API_EVENT_TYPE).join(", ")};
                      repeat it or use commas for several (all)
  --min-verdict V     only this verdict or a worse one: ${Object.keys(API_VERDICT).join(", ")};
                      events without a verdict, mail.failed and what is so no more are shown, too
  --after SEQ         start after the event of this seq; 0 starts with the oldest kept (only new ones)
${SHARED_USAGE}; one object a line, an event

Exit codes: 0 interrupted, 1 refused, 2 bad usage, 3 no sensor answers or it stopped.
`;

const TYPE_WIDTH = Math.max(...Object.keys(API_EVENT_TYPE).map((type) => type.length));
const VERDICT_WIDTH = Math.max(...Object.keys(API_VERDICT).map((verdict) => verdict.length));

function what(event: Event): string {
  const { mail, state } = event;
  if (state !== undefined) return `${state.name}: ${state.message}`;
  if (mail === undefined) return "";
  const [first = "", ...others] = mail.envelope?.to ?? [];
  const to = others.length === 0 ? first : `${first} +${others.length}`;
  const subject = mail.header?.subject === undefined ? "" : ` ${JSON.stringify(mail.header.subject)}`;
  const reason = event.reasons[0] === undefined ? "" : `: ${event.reasons[0]}`;
  return `${mail.id}${subject} ${mail.envelope?.from || "<>"} > ${to}${reason}`;
}

export function renderEvent(event: Event, screen: Screen, now: Date): string {
  const verdict = verdictWord(event.verdict) ?? "";
  const start = `${shortTime(event.time, now)}  ${pad(typeWord(event.type) ?? "?", TYPE_WIDTH)}  `;
  const rest = fit(printable(what(event)), Math.max(20, screen.width - start.length - VERDICT_WIDTH - 2));
  return `${start}${screen.colour(verdict, pad(verdict, VERDICT_WIDTH))}  ${rest}`;
}

async function run(args: readonly string[]): Promise<ExitCode> {
  const options = controlArguments(
    args,
    {
      type: { type: "string", multiple: true },
      "min-verdict": { type: "string" },
      after: { type: "string" },
    },
    0,
  );
  const types = numbersOf("--type", API_EVENT_TYPE, options.values("type"));
  const [minVerdict = Verdict.UNSPECIFIED] = numbersOf(
    "--min-verdict",
    API_VERDICT,
    options.values("min-verdict"),
  );
  const after = options.value("after");
  const afterSeq =
    after === undefined ? undefined : BigInt(readCount("--after", after, 0, Number.MAX_SAFE_INTEGER));
  const terminal = screenOf(process.stdout, process.env);
  // What reads a pipe can take long lines.
  const screen = process.stdout.isTTY ? terminal : { ...terminal, width: Number.POSITIVE_INFINITY };
  const client = await options.connect();

  const stop = new AbortController();
  const interrupt = () => stop.abort();
  process.on("SIGINT", interrupt);
  process.on("SIGTERM", interrupt);
  // The reader of a pipe went away (watch | head).
  process.stdout.on("error", interrupt);
  try {
    for await (const event of client.watchEvents({ afterSeq, types, minVerdict }, stop.signal)) {
      const line = options.json ? toJsonLine(eventJson(event)) : renderEvent(event, screen, new Date());
      if (!process.stdout.write(`${line}\n`)) await drained(stop.signal);
    }
    return 0;
  } finally {
    process.off("SIGINT", interrupt);
    process.off("SIGTERM", interrupt);
    client.close();
  }
}

/** Waits until stdout takes more. */
function drained(stop: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const settle = () => {
      process.stdout.off("drain", settle);
      stop.removeEventListener("abort", settle);
      resolve();
    };
    process.stdout.on("drain", settle);
    stop.addEventListener("abort", settle);
  });
}

export const command: Command = {
  summary: "shows the events of a running sensor as they come",
  usage: USAGE,
  run,
};
