/**
 * The judgement of a demo run: what was sent beside what came out.
 *
 * In: the samples and everything the other ends saw. Out: one named check for each expectation, with what differs
 * where it fails. Pure, so that a test can hold every failure against it.
 */
import type { EventAttachment, EventUrl, SensorEvent } from "../../report/event.ts";
import { VERDICT_ORDER, type Verdict } from "../../verdict/verdict.ts";
import type { SunkMail } from "./mail-sink.ts";
import type { Sample } from "./samples.ts";
import type { SyslogMessage } from "./syslog-listener.ts";

export type VerdictCounts = Readonly<Record<Verdict, number>>;

/** One event as the SIEM received it. */
export type ReceivedEvent = {
  readonly syslog: SyslogMessage;
  readonly event: SensorEvent;
  /** Milliseconds since 1970. */
  readonly at: number;
};

export type Observed = {
  readonly events: readonly ReceivedEvent[];
  readonly alerts: readonly SunkMail[];
  /** Breaches of RFC 5424, RFC 6587 or the event's form, in words. */
  readonly syslogFaults: readonly string[];
  /** Submissions the simulator took, by content. */
  readonly submissions: ReadonlyMap<string, number>;
  /** Why a sample could not be handed to the sensor, by the name of the sample. */
  readonly refused: ReadonlyMap<string, string>;
  /** Mails by verdict as the control service counts them, or why it did not answer. */
  readonly control: VerdictCounts | string;
};

export type Check = { readonly name: string; readonly ok: boolean; readonly detail: string | null };

/** An attachment or a URL of an event, by the name people know it by. */
export type Finding = { readonly label: string; readonly part: EventAttachment | EventUrl };

/** Reads the text of a syslog message as an event, null where it is none. */
export function readEvent(text: string): SensorEvent | null {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return null;
  }
  if (typeof value !== "object" || value === null) return null;
  const { schema, id, type } = value as Partial<Record<string, unknown>>;
  if (typeof schema !== "string" || typeof id !== "string" || typeof type !== "string") return null;
  return value as SensorEvent;
}

/** The parts of an event that were judged or should have been, worst first. */
export function findings(event: SensorEvent): readonly Finding[] {
  const all: Finding[] = [
    ...(event.attachments ?? []).map((part) => ({ label: part.filename ?? "unnamed attachment", part })),
    ...(event.urls ?? []).map((part) => ({ label: part.url, part })),
  ];
  const counted = all.filter(({ part }) => part.outcome !== "skipped");
  return counted.sort(
    (a, b) => VERDICT_ORDER.indexOf(b.part.verdict) - VERDICT_ORDER.indexOf(a.part.verdict),
  );
}

/** The final events of one sample, matched by Message-ID; one is right. */
export function outcomesOf(sample: Sample, events: readonly ReceivedEvent[]): readonly ReceivedEvent[] {
  return events.filter(
    ({ event }) =>
      (event.type === "mail.verdict" || event.type === "mail.failed") &&
      event.mail?.message_id === sample.mail.messageId,
  );
}

/** The alerts that speak of a sample: they name its Message-ID or its subject. */
export function alertsOf(sample: Sample, alerts: readonly SunkMail[]): readonly SunkMail[] {
  return alerts.filter((alert) => alert.text.includes(sample.mail.subject));
}

export function judge(samples: readonly Sample[], observed: Observed): readonly Check[] {
  return [
    ...samples.map((sample) => outcomeCheck(sample, observed)),
    check("the SIEM got well-formed RFC 5424 messages in RFC 6587 frames", observed.syslogFaults),
    check("no event came twice", repeatedEvents(observed.events)),
    check(
      "every malicious attachment, and nothing else, was alerted by mail",
      samples.flatMap((sample) => alertFaults(sample, observed.alerts)),
    ),
    check("the analyzer got each content once", submissionFaults(samples, observed.submissions)),
    check("the control service counts the same verdicts", controlFaults(samples, observed.control)),
  ];
}

function check(name: string, faults: readonly string[]): Check {
  return { name, ok: faults.length === 0, detail: faults.length === 0 ? null : faults.join("; ") };
}

function outcomeCheck(sample: Sample, observed: Observed): Check {
  const { verdict, finding } = sample.expected;
  const name = finding === null ? `${sample.title}: ${verdict}` : `${sample.title}: ${verdict}, ${finding}`;
  const refusal = observed.refused.get(sample.name);
  if (refusal !== undefined) return check(name, [`the sensor did not take it: ${refusal}`]);
  const outcomes = outcomesOf(sample, observed.events);
  const [outcome] = outcomes;
  if (outcome === undefined) return check(name, ["no verdict came"]);
  if (outcomes.length > 1) return check(name, [`${outcomes.length} verdicts came`]);
  return check(name, outcomeFaults(sample, outcome.event));
}

function outcomeFaults(sample: Sample, event: SensorEvent): string[] {
  const { expected } = sample;
  if (event.type === "mail.failed") {
    return [`the sensor gave the mail up: ${(event.reasons ?? []).join(", ") || "no reason"}`];
  }
  const faults: string[] = [];
  const differs = (what: string, is: unknown, wanted: unknown) => {
    if (is !== wanted) faults.push(`${what} is ${JSON.stringify(is)}, not ${JSON.stringify(wanted)}`);
  };
  differs("verdict", event.verdict, expected.verdict);
  differs("complete", event.complete, expected.complete);
  differs("subject", event.mail?.subject, sample.mail.subject);
  const parts = findings(event);
  if (expected.finding === null) {
    differs("number of attachments and URLs", parts.length, 0);
  } else {
    const part = parts.find(({ label }) => label === expected.finding);
    if (part === undefined) faults.push(`only ${JSON.stringify(parts.map(({ label }) => label))} was found`);
    else differs(`verdict of ${expected.finding}`, part.part.verdict, expected.verdict);
  }
  return faults;
}

function repeatedEvents(events: readonly ReceivedEvent[]): string[] {
  const seen = new Set<string>();
  const repeated: string[] = [];
  for (const { event } of events) {
    if (seen.has(event.id)) repeated.push(`${event.type} ${event.id}`);
    seen.add(event.id);
  }
  return repeated;
}

function alertFaults(sample: Sample, alerts: readonly SunkMail[]): string[] {
  const found = alertsOf(sample, alerts);
  const wanted = sample.expected.alert ? 1 : 0;
  const faults: string[] = [];
  if (found.length !== wanted) faults.push(`${sample.title}: ${found.length} alerts, not ${wanted}`);
  for (const alert of found) {
    if (alert.from !== "") faults.push(`${sample.title}: the alert has the return path <${alert.from}>`);
    if (alert.autoSubmitted !== "auto-generated") faults.push(`${sample.title}: the alert may start a loop`);
  }
  return faults;
}

function submissionFaults(samples: readonly Sample[], submissions: ReadonlyMap<string, number>): string[] {
  const wanted = new Set(samples.flatMap((sample) => sample.contents));
  const faults: string[] = [];
  for (const [content, count] of submissions) {
    if (count > 1) faults.push(`${content} was submitted ${count} times`);
    if (!wanted.has(content)) faults.push(`${content} was submitted and is in no sample`);
  }
  for (const content of wanted) {
    if (!submissions.has(content)) faults.push(`${content} was not submitted`);
  }
  return faults;
}

function controlFaults(samples: readonly Sample[], control: VerdictCounts | string): string[] {
  if (typeof control === "string") return [control];
  return VERDICT_ORDER.flatMap((verdict) => {
    const wanted = samples.filter(({ expected }) => expected.verdict === verdict).length;
    return control[verdict] === wanted ? [] : [`${control[verdict]} ${verdict}, not ${wanted}`];
  });
}
