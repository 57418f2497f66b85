/**
 * The words of the sensor and the numbers of the API for the same things, in both directions.
 */
import {
  EnvelopeSource as ApiEnvelopeSource,
  EventType as ApiEventType,
  ListKind as ApiListKind,
  ListName as ApiListName,
  MailState as ApiMailState,
  Verdict as ApiVerdict,
  Attachment_Container,
  Change_Cause,
  Circuit_State,
  Decision_Action,
  Destination_State,
  Judgement_Outcome,
} from "../../gen/emailsensor/v1/sensor.ts";
import type { Circuit } from "../analyzer/pauses.ts";
import type { Container, OriginalEnvelope } from "../extract/extraction.ts";
import type { EventType, Outcome } from "../report/event.ts";
import type { ChangeCause, MailState } from "../spool/spool.ts";
import type { ListKind, ListName } from "../triage/lists.ts";
import type { Action } from "../triage/plan.ts";
import type { Verdict } from "../verdict/verdict.ts";

export const API_VERDICT: Readonly<Record<Verdict, ApiVerdict>> = {
  clean: ApiVerdict.CLEAN,
  not_available: ApiVerdict.NOT_AVAILABLE,
  suspicious: ApiVerdict.SUSPICIOUS,
  malicious: ApiVerdict.MALICIOUS,
};

export const API_MAIL_STATE: Readonly<Record<MailState, ApiMailState>> = {
  received: ApiMailState.RECEIVED,
  analysing: ApiMailState.ANALYSING,
  analysed: ApiMailState.ANALYSED,
  done: ApiMailState.DONE,
  failed: ApiMailState.FAILED,
};

export const API_EVENT_TYPE: Readonly<Record<EventType, ApiEventType>> = {
  "mail.received": ApiEventType.MAIL_RECEIVED,
  "mail.verdict": ApiEventType.MAIL_VERDICT,
  "mail.failed": ApiEventType.MAIL_FAILED,
  "attachment.verdict": ApiEventType.ATTACHMENT_VERDICT,
  "url.verdict": ApiEventType.URL_VERDICT,
  "verdict.changed": ApiEventType.VERDICT_CHANGED,
  "sensor.state": ApiEventType.SENSOR_STATE,
};

export const API_CIRCUIT_STATE: Readonly<Record<Circuit["state"], Circuit_State>> = {
  open: Circuit_State.OPEN,
  shut: Circuit_State.PAUSED,
  trial: Circuit_State.TRIAL,
};

export const API_ACTION: Readonly<Record<Action, Decision_Action>> = {
  reputation: Decision_Action.REPUTATION,
  static: Decision_Action.STATIC,
  dynamic: Decision_Action.DYNAMIC,
  lookup: Decision_Action.LOOKUP,
  skip: Decision_Action.SKIP,
};

export const API_OUTCOME: Readonly<Record<Outcome, Judgement_Outcome>> = {
  judged: Judgement_Outcome.JUDGED,
  failed: Judgement_Outcome.FAILED,
  skipped: Judgement_Outcome.SKIPPED,
  pending: Judgement_Outcome.PENDING,
};

export const API_CAUSE: Readonly<Record<ChangeCause, Change_Cause>> = {
  completed: Change_Cause.COMPLETED,
  late: Change_Cause.LATE,
  relook: Change_Cause.RELOOK,
  list: Change_Cause.LIST,
};

export const API_CONTAINER: Readonly<Record<Container, Attachment_Container>> = {
  mail: Attachment_Container.MAIL,
  archive: Attachment_Container.ARCHIVE,
  document: Attachment_Container.DOCUMENT,
};

export const API_ENVELOPE_SOURCE: Readonly<Record<OriginalEnvelope["source"] | "smtp", ApiEnvelopeSource>> = {
  smtp: ApiEnvelopeSource.SMTP,
  journal: ApiEnvelopeSource.JOURNAL,
  copy: ApiEnvelopeSource.COPY,
};

export const API_LIST_NAME: Readonly<Record<ListName, ApiListName>> = {
  allow: ApiListName.ALLOW,
  deny: ApiListName.DENY,
};

export const API_LIST_KIND: Readonly<Record<ListKind, ApiListKind>> = {
  hash: ApiListKind.HASH,
  domain: ApiListKind.DOMAIN,
  url: ApiListKind.URL,
  sender: ApiListKind.SENDER,
};

export const API_DESTINATION_STATE = {
  unknown: Destination_State.UNSPECIFIED,
  up: Destination_State.UP,
  down: Destination_State.DOWN,
} as const;

/** The word for a number of the API, undefined for UNSPECIFIED and for numbers of a newer API. */
export function wordOf<Word extends string>(
  table: Readonly<Record<Word, number>>,
  number: number,
): Word | undefined {
  for (const word in table) if (table[word] === number) return word;
  return undefined;
}
