/**
 * Messages of the API as the commands print them with --json: field names and values of the JSON event.
 *
 * Times are ISO 8601 in UTC, verdicts and states words, what is absent is null, numbers are numbers. Keys are
 * only ever added to.
 */
import type {
  Allowance,
  Analyzer,
  Circuit,
  Cost,
  Destination,
  Envelope,
  Event,
  EventUrl,
  Evidence,
  Judgement,
  ListEntry,
  Mail,
  MailHeader,
  MailSummary,
  Status,
  VmrayReference,
} from "../../gen/emailsensor/v1/sensor.ts";
import {
  API_ACTION,
  API_CAUSE,
  API_CIRCUIT_STATE,
  API_CONTAINER,
  API_DESTINATION_STATE,
  API_ENVELOPE_SOURCE,
  API_EVENT_TYPE,
  API_LIST_KIND,
  API_LIST_NAME,
  API_MAIL_STATE,
  API_OUTCOME,
  API_VERDICT,
  wordOf,
} from "./vocabulary.ts";

const iso = (date: Date | undefined): string | null =>
  date === undefined || Number.isNaN(date.getTime()) ? null : date.toISOString();
const count = (value: bigint | undefined): number => Number(value ?? 0n);
/** Numbers of a newer API have no word here. */
const word = <Word extends string>(table: Readonly<Record<Word, number>>, value: number): Word | null =>
  wordOf(table, value) ?? null;

export const verdictWord = (value: number) => word(API_VERDICT, value);
export const stateWord = (value: number) => word(API_MAIL_STATE, value);
export const typeWord = (value: number) => word(API_EVENT_TYPE, value);
export const actionWord = (value: number) => word(API_ACTION, value);
export const outcomeWord = (value: number) => word(API_OUTCOME, value);
export const containerWord = (value: number) => word(API_CONTAINER, value);
export const sourceWord = (value: number) => word(API_ENVELOPE_SOURCE, value);
export const destinationWord = (value: number) => word(API_DESTINATION_STATE, value) ?? "unknown";

function vmrayJson(reference: VmrayReference | undefined) {
  if (reference === undefined) return null;
  return {
    sample_id: reference.sampleId === undefined ? null : Number(reference.sampleId),
    submission_id: reference.submissionId === undefined ? null : Number(reference.submissionId),
    url: reference.url ?? null,
  };
}

function evidenceJson(evidence: Evidence | undefined) {
  if (evidence === undefined) return {};
  const { classifications, indicators, techniques, iocs } = evidence;
  return {
    classifications,
    indicators: indicators.map(({ category, operation, score }) => ({ category, operation, score })),
    techniques: techniques.map(({ id, name, tactics }) => ({ id, name, tactics })),
    iocs: {
      urls: iocs?.urls ?? [],
      domains: iocs?.domains ?? [],
      ips: iocs?.ips ?? [],
      files: iocs?.files ?? [],
      email_addresses: iocs?.emailAddresses ?? [],
    },
  };
}

function costJson(cost: Cost) {
  const { reports, verdicts, waitedSeconds, queuedSeconds, analysisSeconds } = cost;
  return {
    calls: Number(cost.calls),
    submissions: Number(cost.submissions),
    quota: cost.quota ?? null,
    seconds: cost.seconds,
    ...(reports !== undefined && { reports }),
    ...(verdicts !== undefined && { verdicts }),
    ...(waitedSeconds !== undefined && { waited_seconds: waitedSeconds }),
    ...(queuedSeconds !== undefined && { queued_seconds: queuedSeconds }),
    ...(analysisSeconds !== undefined && { analysis_seconds: analysisSeconds }),
  };
}

/** What came of a part beside its verdict; what it does not have is missing, as in the event. */
function partJson(part: Pick<Judgement, "evidence" | "cost" | "analyzer" | "partial">) {
  const { evidence, cost, analyzer, partial } = part;
  return {
    ...(partial && { partial }),
    ...evidenceJson(evidence),
    ...(cost !== undefined && { cost: costJson(cost) }),
    ...(analyzer !== undefined && { analyzer }),
  };
}

function decidedJson({ action, rule }: Event["attachments"][number] | Event["urls"][number]) {
  return { ...(action !== 0 && { action: actionWord(action) }), ...(rule !== "" && { rule }) };
}

function envelopeJson(envelope: Envelope | undefined) {
  if (envelope === undefined) return null;
  const { from, to, clientIp, helo, tls } = envelope;
  return { from, to, client_ip: clientIp, helo, tls: tls ?? null };
}

/** The part of `mail{}` that events and mails share. */
function mailJson(mail: {
  readonly id: string;
  readonly receivedAt: Date | undefined;
  readonly envelope: Envelope | undefined;
  readonly header: MailHeader | undefined;
  readonly size: bigint;
  readonly sha256: string;
}) {
  return {
    id: mail.id,
    message_id: mail.header?.messageId ?? null,
    received_at: iso(mail.receivedAt),
    envelope: envelopeJson(mail.envelope),
    from: mail.header?.from ?? [],
    to: mail.header?.to ?? [],
    cc: mail.header?.cc ?? [],
    subject: mail.header?.subject ?? null,
    size: Number(mail.size),
    sha256: mail.sha256,
  };
}

function judgementJson(judgement: Judgement | undefined) {
  return {
    outcome: judgement === undefined ? null : outcomeWord(judgement.outcome),
    verdict: judgement === undefined ? null : verdictWord(judgement.verdict),
    reason: judgement?.reason ?? null,
    threat_names: judgement?.threatNames ?? [],
    vmray: vmrayJson(judgement?.vmray),
    ...(judgement !== undefined && partJson(judgement)),
  };
}

function previousJson({ previousVerdict }: Pick<EventUrl, "previousVerdict">) {
  return previousVerdict === 0 ? {} : { previous_verdict: verdictWord(previousVerdict) };
}

function decisionJson(part: Mail["attachments"][number] | Mail["urls"][number]) {
  if (part.decision === undefined) return null;
  const { action, rule, reason } = part.decision;
  return { action: actionWord(action), rule, reason };
}

export function mailDetailJson(mail: Mail) {
  return {
    mail: { ...mailJson(mail), date: mail.header?.date ?? null },
    envelope_source: sourceWord(mail.envelopeSource),
    same_as: mail.sameAs ?? null,
    state: stateWord(mail.state),
    verdict: verdictWord(mail.verdict),
    complete: mail.complete ?? null,
    reasons: mail.reasons,
    finished_at: iso(mail.finishedAt),
    attachments: mail.attachments.map((attachment) => ({
      filename: attachment.filename ?? null,
      sha256: attachment.sha256,
      sha1: attachment.sha1,
      md5: attachment.md5,
      size: Number(attachment.size),
      type: attachment.type,
      views: attachment.views,
      path: attachment.path,
      within: containerWord(attachment.within),
      facts: attachment.facts,
      password: attachment.password ?? null,
      decision: decisionJson(attachment),
      ...judgementJson(attachment.judgement),
    })),
    urls: mail.urls.map((url) => ({
      url: url.url,
      normalized: url.normalized,
      sources: url.sources,
      unwrapped_from: url.unwrappedFrom,
      target_domain: url.targetDomain ?? null,
      personal: url.personal,
      decision: decisionJson(url),
      ...judgementJson(url.judgement),
    })),
    flags: mail.flags,
    password_count: mail.passwordCount,
    extraction_complete: mail.extractionComplete ?? null,
    attempts: mail.attempts,
    error: mail.error ?? null,
    raw_kept: mail.rawKept,
    truncated: mail.truncated,
  };
}

export function summaryJson(mail: MailSummary) {
  return {
    id: mail.id,
    received_at: iso(mail.receivedAt),
    state: stateWord(mail.state),
    verdict: verdictWord(mail.verdict),
    complete: mail.complete ?? null,
    from: mail.envelopeFrom,
    to: mail.envelopeTo,
    recipient_count: mail.recipientCount,
    subject: mail.subject ?? null,
    size: Number(mail.size),
    attachment_count: mail.attachmentCount,
    url_count: mail.urlCount,
    reasons: mail.reasons,
  };
}

export function listEntryJson({ list, kind, value, comment, addedAt, expiresAt }: ListEntry) {
  return {
    list: word(API_LIST_NAME, list),
    kind: word(API_LIST_KIND, kind),
    value,
    comment: comment === "" ? null : comment,
    added_at: iso(addedAt),
    expires_at: iso(expiresAt),
  };
}

/** The JSON event with `seq` before it; keys that its type does not carry are left out, as in the event. */
export function eventJson(event: Event) {
  const judged = event.verdict !== 0;
  return {
    seq: Number(event.seq),
    schema: event.schema,
    id: event.id,
    type: typeWord(event.type),
    time: iso(event.time),
    sensor: event.sensor ?? null,
    ...(event.mail !== undefined && { mail: mailJson(event.mail) }),
    ...(judged && {
      verdict: verdictWord(event.verdict),
      complete: event.complete ?? null,
      reasons: event.reasons,
      attachments: event.attachments.map((attachment) => ({
        filename: attachment.filename ?? null,
        sha256: attachment.sha256,
        sha1: attachment.sha1,
        md5: attachment.md5,
        size: Number(attachment.size),
        type: attachment.type,
        path: attachment.path,
        facts: attachment.facts,
        outcome: outcomeWord(attachment.outcome),
        verdict: verdictWord(attachment.verdict),
        ...previousJson(attachment),
        reason: attachment.reason ?? null,
        threat_names: attachment.threatNames,
        vmray: vmrayJson(attachment.vmray),
        ...decidedJson(attachment),
        ...partJson(attachment),
      })),
      urls: event.urls.map((url) => ({
        url: url.url,
        sources: url.sources,
        ...(url.unwrappedFrom.length > 0 && { unwrapped_from: url.unwrappedFrom }),
        outcome: outcomeWord(url.outcome),
        verdict: verdictWord(url.verdict),
        ...previousJson(url),
        reason: url.reason ?? null,
        threat_names: url.threatNames,
        vmray: vmrayJson(url.vmray),
        ...decidedJson(url),
        ...partJson(url),
      })),
      flags: event.flags,
    }),
    ...(event.change !== undefined && {
      change: {
        id: event.change.id,
        because: word(API_CAUSE, event.change.because),
        from: verdictWord(event.change.from),
        to: verdictWord(event.change.to),
        previous_event_id: event.change.previousEventId ?? null,
        mails: Number(event.change.mails),
      },
      mails: event.mails.map((mail) => ({
        id: mail.id,
        message_id: mail.messageId ?? null,
        subject: mail.subject ?? null,
        received_at: iso(mail.receivedAt),
        envelope: { from: mail.envelopeFrom, to: mail.envelopeTo },
      })),
    }),
    ...(event.state !== undefined && { state: { name: event.state.name, message: event.state.message } }),
    ...(event.truncated.length > 0 && { truncated: event.truncated }),
  };
}

function destinationJson(destination: Destination) {
  return {
    name: destination.name,
    state: destinationWord(destination.state),
    backlog: Number(destination.backlog),
    oldest_waiting_at: iso(destination.oldestWaitingAt),
    delivered: Number(destination.delivered),
    refused: Number(destination.refused),
    last_error: destination.lastError ?? null,
  };
}

const optionalCount = (value: bigint | undefined): number | null =>
  value === undefined ? null : Number(value);

function circuitJson(circuit: Circuit | undefined) {
  return {
    state: word(API_CIRCUIT_STATE, circuit?.state ?? 0) ?? "unknown",
    reason: circuit?.reason ?? null,
    retry_at: iso(circuit?.retryAt),
  };
}

function allowanceJson(allowance: Allowance | undefined) {
  return { limit: optionalCount(allowance?.limit), used: optionalCount(allowance?.used) };
}

function analyzerJson(analyzer: Analyzer) {
  const { waiting, budget, quota } = analyzer;
  return {
    ...(analyzer.name !== undefined && { name: analyzer.name }),
    running: Number(analyzer.running),
    open: Number(analyzer.open),
    paused_reason: analyzer.pausedReason ?? null,
    lookups: circuitJson(analyzer.lookups),
    submissions: circuitJson(analyzer.submissions),
    last_error: analyzer.lastError ?? null,
    last_error_at: iso(analyzer.lastErrorAt),
    waiting: {
      lookups: count(waiting?.lookups),
      urls: count(waiting?.urls),
      files: count(waiting?.files),
      vmray: count(waiting?.vmray),
      verdicts: count(waiting?.verdicts),
    },
    budget: {
      per_day: optionalCount(budget?.perDay),
      used: count(budget?.used),
      reserve: count(budget?.reserve),
      used_up: budget?.usedUp ?? false,
      renews_at: iso(budget?.renewsAt),
      when_used_up: actionWord(budget?.whenUsedUp ?? 0),
      quota_retry_at: iso(budget?.quotaRetryAt),
    },
    quota:
      quota === undefined
        ? null
        : {
            key: allowanceJson(quota.key),
            report: allowanceJson(quota.report),
            verdict: allowanceJson(quota.verdict),
            period: quota.period ?? null,
          },
  };
}

export type AnalyzerJson = ReturnType<typeof analyzerJson>;

export function statusJson(status: Status) {
  const { mails, verdicts, analyses, analyzer } = status;
  return {
    sensor: status.sensor ?? null,
    started_at: iso(status.startedAt),
    uptime_seconds: count(status.uptime?.seconds),
    mails: {
      received: count(mails?.received),
      analysing: count(mails?.analysing),
      analysed: count(mails?.analysed),
      done: count(mails?.done),
      failed: count(mails?.failed),
    },
    verdicts: {
      malicious: count(verdicts?.malicious),
      suspicious: count(verdicts?.suspicious),
      clean: count(verdicts?.clean),
      not_available: count(verdicts?.notAvailable),
    },
    analyses: { queued: count(analyses?.queued), submitted: count(analyses?.submitted) },
    analyzer: analyzer === undefined ? null : analyzerJson(analyzer),
    further_analyzers: status.furtherAnalyzers.map(analyzerJson),
    destinations: status.destinations.map(destinationJson),
    spool_bytes: Number(status.spoolBytes),
  };
}
