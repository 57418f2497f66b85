/**
 * Requests of clients, checked: every one is hostile until it went through here.
 *
 * In goes a decoded request, out comes what the spool understands; a Refusal INVALID_ARGUMENT names the field,
 * what is wrong and what to give instead.
 */
import { createHash } from "node:crypto";
import { status } from "@grpc/grpc-js";
import {
  type EventType as ApiEventType,
  type MailFilter as ApiMailFilter,
  Verdict as ApiVerdict,
  type ListMailsRequest,
  type ReplayEventsRequest,
  type WatchEventsRequest,
} from "../../gen/emailsensor/v1/sensor.ts";
import type { EventType } from "../report/event.ts";
import type { MailFilter } from "../spool/spool.ts";
import type { Verdict } from "../verdict/verdict.ts";
import { Refusal } from "./refusal.ts";
import { API_EVENT_TYPE, API_MAIL_STATE, API_VERDICT, wordOf } from "./vocabulary.ts";

const PAGE_SIZE = { default: 50, max: 500 } as const;
/** Characters of `filter.text`. */
const TEXT_LIMIT = 256;
const MAIL_ID = /^[0-9A-Za-z-]{1,64}$/;

function invalid(text: string): Refusal {
  return new Refusal(status.INVALID_ARGUMENT, text);
}

/** The words of a list of enum numbers, each once. */
function words<Word extends string>(
  field: string,
  prefix: string,
  table: Readonly<Record<Word, number>>,
  numbers: readonly number[],
): readonly Word[] {
  if (numbers.length > 100)
    throw invalid(`${field}: ${numbers.length} values are too many; each counts once`);
  const found = new Set<Word>();
  for (const [index, number] of numbers.entries()) {
    const word = wordOf(table, number);
    if (word === undefined) {
      const known = Object.keys(table).map((name) => `${prefix}_${name.toUpperCase().replace(".", "_")}`);
      throw invalid(`${field}[${index}]: ${number} is not known; give any of ${known.join(", ")}`);
    }
    found.add(word);
  }
  return [...found];
}

/** What to send again, as the spool understands it. `now` is milliseconds since 1970. */
export function checkReplay(request: ReplayEventsRequest): {
  readonly destination: string;
  readonly since: number;
  readonly until: number;
} {
  const since = instant("since", request.since);
  if (since === undefined) throw invalid("since: is missing; give the time of the first event to send again");
  // Without an end also what bears a later time than now: the clock may have been set back.
  const until = instant("until", request.until) ?? Number.POSITIVE_INFINITY;
  if (since >= until) throw invalid("until: is not after since; give a later time or leave it out");
  const { destination } = request;
  if (!/^[a-z0-9_-]{1,63}$/.test(destination)) {
    throw invalid("destination: is no name; give siem[].name of the configuration");
  }
  return { destination, since, until };
}

function instant(field: string, date: Date | undefined): number | undefined {
  if (date === undefined) return undefined;
  const milliseconds = date.getTime();
  if (Number.isNaN(milliseconds))
    throw invalid(`${field}: is out of range; give a time of the years 1 to 9999`);
  return milliseconds;
}

export function checkFilter(filter: ApiMailFilter | undefined): MailFilter {
  if (filter === undefined) return {};
  const states = words("filter.states", "MAIL_STATE", API_MAIL_STATE, filter.states);
  const verdicts = words("filter.verdicts", "VERDICT", API_VERDICT, filter.verdicts);
  const since = instant("filter.received_since", filter.receivedSince);
  const until = instant("filter.received_until", filter.receivedUntil);
  if (since !== undefined && until !== undefined && since >= until) {
    throw invalid("filter.received_until: is not after received_since; give a later time or leave one out");
  }
  if (filter.text.length > TEXT_LIMIT) {
    throw invalid(
      `filter.text: ${filter.text.length} characters are too many; give at most ${TEXT_LIMIT} of them`,
    );
  }
  if (filter.text.includes("\0")) throw invalid("filter.text: holds a NUL character; leave it out");
  return {
    ...(states.length > 0 && { states }),
    ...(verdicts.length > 0 && { verdicts }),
    ...(since !== undefined && { since }),
    ...(until !== undefined && { until }),
    ...(filter.text !== "" && { text: filter.text }),
  };
}

export type MailsQuery = {
  readonly filter: MailFilter;
  readonly pageSize: number;
  /** Id of the last mail of the page before. */
  readonly before: string | null;
};

function fingerprint(filter: MailFilter): string {
  const { states = [], verdicts = [], since = null, until = null, text = null } = filter;
  const canonical = JSON.stringify([[...states].sort(), [...verdicts].sort(), since, until, text]);
  return createHash("sha256").update(canonical).digest("hex").slice(0, 16);
}

/** The token that goes on after the mail `last` of a list made with `filter`. */
export function pageToken(filter: MailFilter, last: string): string {
  return Buffer.from(`${fingerprint(filter)}.${last}`).toString("base64url");
}

export function checkListMails(request: ListMailsRequest): MailsQuery {
  const filter = checkFilter(request.filter);
  if (request.pageSize < 0) {
    throw invalid(`page_size: is negative; give 1 to ${PAGE_SIZE.max}, or 0 for ${PAGE_SIZE.default}`);
  }
  const pageSize = request.pageSize === 0 ? PAGE_SIZE.default : Math.min(request.pageSize, PAGE_SIZE.max);
  if (request.pageToken === "") return { filter, pageSize, before: null };
  if (request.pageToken.length > 256) throw invalid("page_token: is not one of this service; leave it out");
  const [print, before, ...rest] = Buffer.from(request.pageToken, "base64url").toString("latin1").split(".");
  if (before === undefined || rest.length > 0 || !MAIL_ID.test(before)) {
    throw invalid(
      "page_token: is not one of this service; give next_page_token of an answer, or leave it out",
    );
  }
  if (print !== fingerprint(filter)) {
    throw invalid("page_token: belongs to another filter; repeat the filter of the first page");
  }
  return { filter, pageSize, before };
}

export function checkMailId(id: string): string {
  if (!MAIL_ID.test(id)) throw invalid("id: is not the id of a mail; ListMails and every event give it");
  return id;
}

export type WatchQuery = {
  /** Null: only events from now on. */
  readonly afterSeq: number | null;
  /** Null: all. */
  readonly types: ReadonlySet<EventType> | null;
  readonly minVerdict: Verdict | null;
};

export function checkWatchEvents(request: WatchEventsRequest): WatchQuery {
  const types = words<EventType>(
    "types",
    "EVENT_TYPE",
    API_EVENT_TYPE,
    request.types satisfies readonly ApiEventType[],
  );
  const minVerdict = wordOf(API_VERDICT, request.minVerdict);
  if (minVerdict === undefined && request.minVerdict !== ApiVerdict.UNSPECIFIED) {
    throw invalid(`min_verdict: ${request.minVerdict} is not known; give one of the values of Verdict`);
  }
  if (request.afterSeq !== undefined && request.afterSeq < 0n) {
    throw invalid("after_seq: is negative; give the seq of an event, 0 for the oldest, or leave it out");
  }
  // Beyond this no event has a number; the check against the newest event refuses it.
  const afterSeq =
    request.afterSeq === undefined
      ? null
      : Number(
          request.afterSeq > BigInt(Number.MAX_SAFE_INTEGER) ? Number.MAX_SAFE_INTEGER : request.afterSeq,
        );
  return { afterSeq, types: types.length === 0 ? null : new Set(types), minVerdict: minVerdict ?? null };
}
