/**
 * What the demo prints at its end, for people and for programs.
 *
 * In: the samples, what came out and the checks. Out: text, or one JSON object. Text of mails is printed with its
 * control characters escaped.
 */
import type { Verdict } from "../../verdict/verdict.ts";
import { VERSION } from "../../version.ts";
import { type Column, printable, renderTable } from "../table.ts";
import { type Check, findings, type Observed, outcomesOf } from "./checks.ts";
import type { Outcome } from "./run.ts";
import type { Sample } from "./samples.ts";

/** What is said of one sample. */
export type Line = {
  readonly sample: Sample;
  /** As the event has it; null where none came. */
  readonly verdict: Verdict | "failed" | null;
  readonly finding: string;
  /** From the begin of sending to the event at the SIEM, milliseconds; null where none came. */
  readonly took: number | null;
};

const COLUMNS: readonly Column[] = [
  { title: "mail", shrink: true },
  { title: "finding", shrink: true },
  { title: "verdict" },
  { title: "time", align: "right" },
];
const VERDICT_COLUMN = 2;
const COLOURS: Readonly<Record<string, string>> = {
  malicious: "31",
  suspicious: "33",
  clean: "32",
  not_available: "35",
  failed: "31",
};

export function lines(samples: readonly Sample[], outcome: Outcome): readonly Line[] {
  return samples.map((sample) => {
    const [received] = outcomesOf(sample, outcome.events);
    if (received === undefined) return { sample, verdict: null, finding: "no verdict came", took: null };
    const { event } = received;
    const sentAt = outcome.sentAt.get(sample.name);
    return {
      sample,
      verdict: event.type === "mail.failed" ? "failed" : (event.verdict ?? null),
      finding: describe(outcome, sample),
      took: sentAt === undefined ? null : received.at - sentAt,
    };
  });
}

function describe(observed: Observed, sample: Sample): string {
  const [received] = outcomesOf(sample, observed.events);
  if (received === undefined) return "";
  const [worst, ...others] = findings(received.event);
  if (worst === undefined) return "nothing to judge";
  const why = worst.part.threat_names.join(", ") || worst.part.reason;
  const more = others.length === 0 ? "" : ` (and ${others.length} more)`;
  return `${worst.label}${why === null ? "" : `: ${why}`}${more}`;
}

/** The table, one syslog message, the alert and the checks; no line but the syslog message is wider than `width`. */
export function renderReport(
  samples: readonly Sample[],
  outcome: Outcome,
  checks: readonly Check[],
  options: { readonly width: number; readonly colour: boolean; readonly duration: number },
): string {
  const paint = (colour: string | undefined, text: string) =>
    options.colour && colour !== undefined ? `\u001b[${colour}m${text}\u001b[0m` : text;
  const rows = lines(samples, outcome);
  const table = renderTable(
    COLUMNS,
    rows.map(({ sample, finding, verdict, took }) => [
      sample.mail.subject,
      finding,
      verdict ?? "none",
      took === null ? "-" : `${(took / 1000).toFixed(2)} s`,
    ]),
    options.width,
    (cell, row, column) =>
      column === VERDICT_COLUMN ? paint(COLOURS[rows[row]?.verdict ?? ""], cell) : cell,
  );

  const shown = samples.find(
    (sample) => sample.expected.alert && outcomesOf(sample, outcome.events).length > 0,
  );
  const syslog = shown === undefined ? undefined : outcomesOf(shown, outcome.events)[0]?.syslog;
  const [alert] = outcome.alerts;
  const failed = checks.filter(({ ok }) => !ok);
  const seconds = (options.duration / 1000).toFixed(1);

  return [
    ...table,
    "",
    ...(shown === undefined || syslog === undefined
      ? []
      : [`The syslog message of "${printable(shown.mail.subject)}":`, printable(syslog.line), ""]),
    ...(alert === undefined
      ? []
      : [`The alert mail to ${printable(alert.to.join(", "))}: ${printable(alert.subject)}`, ""]),
    "Checked:",
    ...checks.flatMap((check) => [
      `  ${check.ok ? paint("32", "ok  ") : paint("31", "FAIL")}  ${printable(check.name)}`,
      ...(check.detail === null ? [] : [`        ${printable(check.detail)}`]),
    ]),
    "",
    failed.length === 0
      ? `${samples.length} mails in, ${rows.length} verdicts out, all as expected, in ${seconds} s.`
      : `${failed.length} of ${checks.length} checks failed, after ${seconds} s.`,
    "",
  ].join("\n");
}

/** The same for programs. `folder` is null where it was removed. */
export function reportObject(
  samples: readonly Sample[],
  outcome: Outcome,
  checks: readonly Check[],
  duration: number,
  folder: string | null,
) {
  return {
    version: VERSION,
    ok: checks.every(({ ok }) => ok),
    duration_ms: duration,
    folder,
    mails: lines(samples, outcome).map(({ sample, verdict, finding, took }) => ({
      name: sample.name,
      title: sample.title,
      message_id: sample.mail.messageId,
      subject: sample.mail.subject,
      expected: sample.expected,
      verdict,
      finding,
      time_ms: took,
    })),
    checks,
    submissions: Object.fromEntries(outcome.submissions),
    alerts: outcome.alerts.map(({ from, to, subject }) => ({ from, to, subject })),
    events: outcome.events.map(({ event }) => event),
  };
}
