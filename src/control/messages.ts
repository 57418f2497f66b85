/**
 * Messages of the API made from what the spool holds.
 *
 * In goes a row or an event of any size, out comes a message that every gRPC client takes (they refuse more than
 * 4 MB unless told otherwise): where it would be larger, long texts and lists are cut, and the message says so.
 */
import {
  Decision_Action as ApiAction,
  type Allowance as ApiAllowance,
  type Analyzer as ApiAnalyzer,
  type Attachment as ApiAttachment,
  type Circuit as ApiCircuit,
  type Cost as ApiCost,
  type Decision as ApiDecision,
  type Envelope as ApiEnvelope,
  type Event as ApiEvent,
  type Evidence as ApiEvidence,
  type Judgement as ApiJudgement,
  type Mail as ApiMail,
  type MailHeader as ApiMailHeader,
  type Url as ApiUrl,
  Verdict as ApiVerdict,
  type VmrayReference as ApiVmrayReference,
  type MailSummary,
  type Status,
} from "../../gen/emailsensor/v1/sensor.ts";
import type { Allowance } from "../analyzer/client.ts";
import type { Circuit } from "../analyzer/pauses.ts";
import type { MailFacts } from "../extract/extraction.ts";
import type { Envelope } from "../intake/mail.ts";
import type { EventPart, SensorEvent } from "../report/event.ts";
import type { ArtifactRow, MailRow, SpoolCounts } from "../spool/spool.ts";
import { cutText } from "../text.ts";
import type { Decision } from "../triage/plan.ts";
import type { ContentVerdict, Cost, Evidence, Verdict, VmrayReference } from "../verdict/verdict.ts";
import type { AnalyzerStatus, DestinationStatus, ExtraStatus } from "./status.ts";
import {
  API_ACTION,
  API_CAUSE,
  API_CIRCUIT_STATE,
  API_CONTAINER,
  API_DESTINATION_STATE,
  API_ENVELOPE_SOURCE,
  API_EVENT_TYPE,
  API_MAIL_STATE,
  API_OUTCOME,
  API_VERDICT,
} from "./vocabulary.ts";

/** Bytes one message may have. */
export const MESSAGE_LIMIT = 3_500_000;

/** Bytes counted for an entry of a list beside its texts: hash, numbers, tags. */
const ENTRY_BYTES = 200;

/** Cuts texts and lists to a size, counts what it lets through, and lets nothing through beyond the limit. */
type Cutter = {
  text(value: string): string;
  list<T>(values: readonly T[]): readonly T[];
  /** Whether something was cut. */
  cut(): boolean;
  /** Whether the limit was met; the message is of no use then. */
  exceeded(): boolean;
};

function cutter(textLength: number, listLength: number): Cutter {
  let happened = false;
  let bytes = 0;
  return {
    text(value) {
      if (bytes > MESSAGE_LIMIT) return "";
      const kept = cutText(value, textLength);
      if (kept.length < value.length) happened = true;
      bytes += Buffer.byteLength(kept) + 8;
      return kept;
    },
    list(values) {
      if (bytes > MESSAGE_LIMIT) return [];
      const kept = values.slice(0, listLength);
      if (kept.length < values.length) happened = true;
      bytes += kept.length * ENTRY_BYTES;
      return kept;
    },
    cut: () => happened,
    exceeded: () => bytes > MESSAGE_LIMIT,
  };
}

/** Makes a message with ever smaller texts and lists until it fits. */
function fitting<T>(make: (cut: Cutter) => T): T {
  let textLength = 65_536;
  let listLength = 20_000;
  for (;;) {
    const cut = cutter(textLength, listLength);
    const message = make(cut);
    if (!cut.exceeded() || (textLength === 64 && listLength === 1)) return message;
    textLength = Math.max(64, textLength >> 2);
    listLength = Math.max(1, listLength >> 1);
  }
}

function present(cut: Cutter, value: string | null): string | undefined {
  return value === null ? undefined : cut.text(value);
}

function texts(cut: Cutter, values: readonly string[]): readonly string[] {
  return cut.list(values).map((value) => cut.text(value));
}

function time(milliseconds: number | null): Date | undefined {
  return milliseconds === null || Number.isNaN(milliseconds) ? undefined : new Date(milliseconds);
}

function verdict(value: Verdict | null | undefined): ApiVerdict {
  return value === null || value === undefined ? ApiVerdict.UNSPECIFIED : API_VERDICT[value];
}

function envelopeMessage(cut: Cutter, envelope: Envelope): ApiEnvelope {
  return {
    from: cut.text(envelope.from),
    to: texts(cut, envelope.to),
    clientIp: envelope.client_ip,
    helo: cut.text(envelope.helo),
    tls: present(cut, envelope.tls),
  };
}

function headerMessage(cut: Cutter, facts: Omit<MailFacts, "date">, date: string | null): ApiMailHeader {
  return {
    messageId: present(cut, facts.message_id),
    subject: present(cut, facts.subject),
    from: texts(cut, facts.from),
    to: texts(cut, facts.to),
    cc: texts(cut, facts.cc),
    date: present(cut, date),
  };
}

function vmrayMessage(cut: Cutter, reference: VmrayReference | null): ApiVmrayReference | undefined {
  if (reference === null) return undefined;
  return {
    sampleId: reference.sample_id === null ? undefined : BigInt(reference.sample_id),
    submissionId: reference.submission_id === null ? undefined : BigInt(reference.submission_id),
    url: present(cut, reference.url),
  };
}

function judgementMessage(cut: Cutter, judged: ContentVerdict | null): ApiJudgement | undefined {
  if (judged === null) return undefined;
  return {
    outcome: API_OUTCOME[judged.outcome],
    verdict: API_VERDICT[judged.verdict],
    reason: present(cut, judged.reason),
    threatNames: texts(cut, judged.threat_names),
    vmray: vmrayMessage(cut, judged.vmray),
    evidence: judged.evidence === undefined ? undefined : evidenceMessage(cut, judged.evidence),
    cost: costMessage(judged.cost),
    analyzer: present(cut, judged.analyzer ?? null),
    partial: judged.partial === true,
  };
}

function evidenceMessage(cut: Cutter, evidence: Evidence): ApiEvidence {
  const { classifications, indicators, techniques, iocs } = evidence;
  return {
    classifications: texts(cut, classifications),
    indicators: cut.list(indicators).map(({ category, operation, score }) => ({
      category: cut.text(category),
      operation: cut.text(operation),
      score,
    })),
    techniques: cut.list(techniques).map(({ id, name, tactics }) => ({
      id: cut.text(id),
      name: cut.text(name),
      tactics: texts(cut, tactics),
    })),
    iocs: {
      urls: texts(cut, iocs.urls),
      domains: texts(cut, iocs.domains),
      ips: texts(cut, iocs.ips),
      files: texts(cut, iocs.files),
      emailAddresses: texts(cut, iocs.email_addresses),
    },
  };
}

function costMessage(cost: Cost | undefined): ApiCost | undefined {
  if (cost === undefined) return undefined;
  return {
    calls: BigInt(cost.calls),
    submissions: BigInt(cost.submissions),
    quota: cost.quota ?? undefined,
    seconds: cost.seconds,
    reports: cost.reports,
    verdicts: cost.verdicts,
    waitedSeconds: cost.waited_seconds,
    queuedSeconds: cost.queued_seconds,
    analysisSeconds: cost.analysis_seconds,
  };
}

/** What an event says of a part beside its verdict. */
function partMessage(cut: Cutter, part: EventPart) {
  const { classifications, indicators, techniques, iocs } = part;
  const evidence =
    iocs === undefined
      ? undefined
      : evidenceMessage(cut, {
          classifications: classifications ?? [],
          indicators: indicators ?? [],
          techniques: techniques ?? [],
          iocs,
        });
  return {
    action: part.action === undefined ? ApiAction.UNSPECIFIED : API_ACTION[part.action],
    rule: cut.text(part.rule ?? ""),
    previousVerdict: verdict(part.previous_verdict),
    evidence,
    cost: costMessage(part.cost),
    analyzer: present(cut, part.analyzer ?? null),
    partial: part.partial === true,
  };
}

function decisionMessage(cut: Cutter, decision: Decision): ApiDecision {
  return {
    action: API_ACTION[decision.action],
    rule: cut.text(decision.rule),
    reason: cut.text(decision.reason),
  };
}

function attachmentMessages(cut: Cutter, artifacts: readonly ArtifactRow[]): readonly ApiAttachment[] {
  const attachments = artifacts.filter((artifact) => artifact.kind === "attachment");
  return cut.list(attachments).map(({ attachment, decision, verdict: judged }) => ({
    filename: present(cut, attachment.filename),
    sha256: attachment.sha256,
    size: BigInt(attachment.size),
    type: cut.text(attachment.type),
    views: texts(cut, attachment.views),
    path: texts(cut, attachment.path),
    sha1: attachment.sha1,
    md5: attachment.md5,
    within: API_CONTAINER[attachment.within],
    facts: texts(cut, attachment.facts),
    password: present(cut, attachment.password),
    decision: decisionMessage(cut, decision),
    judgement: judgementMessage(cut, judged),
  }));
}

function urlMessages(cut: Cutter, artifacts: readonly ArtifactRow[]): readonly ApiUrl[] {
  const urls = artifacts.filter((artifact) => artifact.kind === "url");
  return cut.list(urls).map(({ url, decision, verdict: judged }) => ({
    url: cut.text(url.url),
    normalized: cut.text(url.normalized),
    sources: texts(cut, url.sources),
    unwrappedFrom: texts(cut, url.unwrapped_from ?? []),
    targetDomain: present(cut, url.target_domain ?? null),
    personal: url.personal === true,
    decision: decisionMessage(cut, decision),
    judgement: judgementMessage(cut, judged),
  }));
}

/** A mail with all its parts. */
export function mailMessage(row: MailRow): ApiMail {
  return fitting((cut) => {
    const message: ApiMail = {
      id: row.id,
      receivedAt: time(row.receivedAt),
      state: API_MAIL_STATE[row.state],
      verdict: verdict(row.verdict),
      complete: row.complete ?? undefined,
      reasons: texts(cut, row.reasons),
      finishedAt: time(row.finishedAt),
      envelope: envelopeMessage(cut, row.envelope),
      header:
        row.extraction === null
          ? undefined
          : headerMessage(cut, row.extraction.mail, row.extraction.mail.date),
      size: BigInt(row.size),
      sha256: row.sha256,
      attachments: attachmentMessages(cut, row.artifacts),
      urls: urlMessages(cut, row.artifacts),
      flags: texts(cut, row.extraction?.flags ?? []),
      passwordCount: row.extraction?.passwords.length ?? 0,
      extractionComplete: row.extraction?.complete,
      attempts: row.attempts,
      error: present(cut, row.error),
      rawKept: row.rawKept,
      truncated: false,
      envelopeSource: API_ENVELOPE_SOURCE[row.extraction?.envelope?.source ?? "smtp"],
      sameAs: row.sameAs ?? undefined,
    };
    return { ...message, truncated: cut.cut() };
  });
}

/** A mail as one line of a list: a few kilobytes whatever the mail is. */
export function summaryMessage(row: MailRow): MailSummary {
  const cut = cutter(500, 20);
  return {
    id: row.id,
    receivedAt: time(row.receivedAt),
    state: API_MAIL_STATE[row.state],
    verdict: verdict(row.verdict),
    complete: row.complete ?? undefined,
    envelopeFrom: cut.text(row.envelope.from),
    envelopeTo: texts(cut, row.envelope.to),
    recipientCount: row.envelope.to.length,
    subject: present(cut, row.extraction?.mail.subject ?? null),
    size: BigInt(row.size),
    attachmentCount: row.artifacts.filter((artifact) => artifact.kind === "attachment").length,
    urlCount: row.artifacts.filter((artifact) => artifact.kind === "url").length,
    reasons: row.reasons.slice(0, 5).map(cut.text),
  };
}

/** An event with its place in the outbox. */
export function eventMessage(seq: number, event: SensorEvent): ApiEvent {
  return fitting((cut) => {
    const message: ApiEvent = {
      seq: BigInt(seq),
      id: event.id,
      type: API_EVENT_TYPE[event.type],
      time: time(Date.parse(event.time)),
      sensor: event.sensor,
      schema: event.schema,
      mail:
        event.mail === undefined
          ? undefined
          : {
              id: event.mail.id,
              receivedAt: time(Date.parse(event.mail.received_at)),
              envelope: envelopeMessage(cut, event.mail.envelope),
              header: headerMessage(cut, event.mail, null),
              size: BigInt(event.mail.size),
              sha256: event.mail.sha256,
            },
      verdict: verdict(event.verdict),
      complete: event.complete,
      reasons: texts(cut, event.reasons ?? []),
      attachments: cut.list(event.attachments ?? []).map((attachment) => ({
        filename: present(cut, attachment.filename),
        sha256: attachment.sha256,
        size: BigInt(attachment.size),
        type: cut.text(attachment.type),
        sha1: attachment.sha1,
        md5: attachment.md5,
        path: texts(cut, attachment.path),
        facts: texts(cut, attachment.facts),
        outcome: API_OUTCOME[attachment.outcome],
        verdict: API_VERDICT[attachment.verdict],
        reason: present(cut, attachment.reason),
        threatNames: texts(cut, attachment.threat_names),
        vmray: vmrayMessage(cut, attachment.vmray),
        ...partMessage(cut, attachment),
      })),
      urls: cut.list(event.urls ?? []).map((url) => ({
        url: cut.text(url.url),
        sources: texts(cut, url.sources),
        unwrappedFrom: texts(cut, url.unwrapped_from ?? []),
        outcome: API_OUTCOME[url.outcome],
        verdict: API_VERDICT[url.verdict],
        reason: present(cut, url.reason),
        threatNames: texts(cut, url.threat_names),
        vmray: vmrayMessage(cut, url.vmray),
        ...partMessage(cut, url),
      })),
      flags: texts(cut, event.flags ?? []),
      change: event.change && {
        id: event.change.id,
        because: API_CAUSE[event.change.because],
        from: API_VERDICT[event.change.from],
        to: API_VERDICT[event.change.to],
        previousEventId: event.change.previous_event_id ?? undefined,
        mails: BigInt(event.change.mails),
      },
      mails: cut.list(event.mails ?? []).map((mail) => ({
        id: mail.id,
        receivedAt: time(Date.parse(mail.received_at)),
        messageId: present(cut, mail.message_id),
        subject: present(cut, mail.subject),
        envelopeFrom: cut.text(mail.envelope.from),
        envelopeTo: texts(cut, mail.envelope.to),
      })),
      state: event.state,
      truncated: texts(cut, event.truncated ?? []),
    };
    return cut.cut() ? { ...message, truncated: [...message.truncated, ""] } : message;
  });
}

/** The status of the sensor. `startedAt` and `now` are milliseconds since 1970. */
export function statusMessage(
  sensor: { readonly id: string; readonly version: string },
  startedAt: number,
  now: number,
  counts: SpoolCounts,
  extra: ExtraStatus,
): Status {
  const uptime = Math.max(0, Math.round(now - startedAt));
  const cursors = new Map(counts.outbox.map((cursor) => [cursor.destination, cursor]));
  const known = new Set(extra.destinations.map((destination) => destination.name));
  const silent = counts.outbox
    .filter((cursor) => !known.has(cursor.destination))
    .map(
      (cursor): DestinationStatus => ({
        name: cursor.destination,
        up: null,
        delivered: 0,
        lastError: null,
      }),
    );
  return {
    sensor,
    startedAt: time(startedAt),
    uptime: { seconds: BigInt(Math.floor(uptime / 1000)), nanos: (uptime % 1000) * 1_000_000 },
    mails: {
      received: BigInt(counts.states.received),
      analysing: BigInt(counts.states.analysing),
      analysed: BigInt(counts.states.analysed),
      done: BigInt(counts.states.done),
      failed: BigInt(counts.states.failed),
    },
    verdicts: {
      malicious: BigInt(counts.verdicts.malicious),
      suspicious: BigInt(counts.verdicts.suspicious),
      clean: BigInt(counts.verdicts.clean),
      notAvailable: BigInt(counts.verdicts.not_available),
    },
    analyses: {
      queued: BigInt(counts.analyses.queued),
      submitted: BigInt(counts.analyses.submitted),
    },
    analyzer: extra.analyzer === null ? undefined : analyzerMessage(extra.analyzer),
    furtherAnalyzers: (extra.furtherAnalyzers ?? []).map(analyzerMessage),
    destinations: [...extra.destinations, ...silent].map((destination) => {
      const cursor = cursors.get(destination.name);
      const state = destination.up === null ? "unknown" : destination.up ? "up" : "down";
      return {
        name: destination.name,
        state: API_DESTINATION_STATE[state],
        backlog: BigInt((cursor?.backlog ?? 0) + (destination.composed ?? 0)),
        oldestWaitingAt: time(cursor?.oldestAt ?? null),
        delivered: BigInt(destination.delivered),
        refused: BigInt(destination.refused ?? 0),
        lastError: destination.up === true ? undefined : (destination.lastError ?? undefined),
      };
    }),
    spoolBytes: BigInt(counts.bytes),
  };
}

function analyzerMessage(analyzer: AnalyzerStatus): ApiAnalyzer {
  const { waiting, circuits, budget, quota, lastError } = analyzer;
  return {
    name: analyzer.name,
    running: BigInt(analyzer.running),
    open: BigInt(analyzer.open),
    pausedReason: analyzer.pausedReason ?? undefined,
    lookups: circuitMessage(circuits.reads),
    submissions: circuitMessage(circuits.submits),
    lastError: lastError === null ? undefined : `${lastError.code}: ${lastError.message}`,
    lastErrorAt: time(lastError?.at ?? null),
    waiting: {
      lookups: BigInt(waiting.look),
      urls: BigInt(waiting.send),
      files: BigInt(waiting.upload),
      vmray: BigInt(waiting.poll),
      verdicts: BigInt(waiting.read),
    },
    budget: {
      perDay: budget.perDay === null ? undefined : BigInt(budget.perDay),
      used: BigInt(budget.usedToday),
      reserve: BigInt(budget.reserve),
      usedUp: budget.usedUp,
      renewsAt: time(budget.renewsAt),
      whenUsedUp: API_ACTION[budget.cheaper],
      quotaRetryAt: time(budget.quotaRetryAt),
    },
    quota:
      quota === null
        ? undefined
        : {
            key: allowanceMessage(quota.key),
            report: allowanceMessage(quota.report),
            verdict: allowanceMessage(quota.verdict),
            period: quota.period ?? undefined,
          },
  };
}

function circuitMessage({ state, reason, retryAt }: Circuit): ApiCircuit {
  return { state: API_CIRCUIT_STATE[state], reason: reason ?? undefined, retryAt: time(retryAt) };
}

/** VMRay's numbers may have fractions. */
function allowanceMessage({ limit, used }: Allowance): ApiAllowance {
  const whole = (number: number | null) => (number === null ? undefined : BigInt(Math.round(number)));
  return { limit: whole(limit), used: whole(used) };
}
