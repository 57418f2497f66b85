/**
 * Calls about the lists of the running sensor: adding, removing, showing.
 *
 * Requests are checked here: values are brought into the form that list files have, and a Refusal INVALID_ARGUMENT
 * names the entry, what is wrong and what to give instead. Each change is a log line that names the client.
 */
import { createHash } from "node:crypto";
import { status } from "@grpc/grpc-js";
import {
  type AddListEntriesRequest,
  type AddListEntriesResponse,
  ListKind as ApiListKind,
  ListName as ApiListName,
  ListEntry,
  type ListListEntriesRequest,
  type ListListEntriesResponse,
  type RemoveListEntriesRequest,
  type RemoveListEntriesResponse,
} from "../../gen/emailsensor/v1/sensor.ts";
import type { Log } from "../log.ts";
import type { ListFilter, Spool, StoredListEntry } from "../spool/spool.ts";
import { cutText, escapeControls } from "../text.ts";
import { type ListEntry as Entry, type ListKey, MAX_COMMENT, readListValue } from "../triage/lists.ts";
import type { RunTimeLists } from "../triage/run-time.ts";
import { Refusal } from "./refusal.ts";
import { API_LIST_KIND, API_LIST_NAME, wordOf } from "./vocabulary.ts";

/** Entries of one call. */
export const ENTRY_LIMIT = 500;
const PAGE_SIZE = { default: 50, max: 500 } as const;
/** Characters of `text`. */
const TEXT_LIMIT = 256;
/** Bytes after which a page ends. */
const PAGE_BYTES = 2_000_000;
/** Characters of a value in the log. */
const LOGGED = 500;

function invalid(text: string): Refusal {
  return new Refusal(status.INVALID_ARGUMENT, text);
}

function checkKey(entry: ListEntry, at: string): ListKey {
  const list = wordOf(API_LIST_NAME, entry.list);
  if (list === undefined) throw invalid(`${at}.list: is none; give LIST_NAME_ALLOW or LIST_NAME_DENY`);
  const kind = wordOf(API_LIST_KIND, entry.kind);
  if (kind === undefined) {
    throw invalid(
      `${at}.kind: is none; give LIST_KIND_HASH, LIST_KIND_DOMAIN, LIST_KIND_URL or LIST_KIND_SENDER`,
    );
  }
  const written = entry.value.trim();
  const value = /\p{Cc}/u.test(written)
    ? { problem: "holds a control character: leave it out" }
    : readListValue(list, kind, written);
  if (typeof value === "string") return { list, kind, value };
  throw invalid(`${at}.value: "${escapeControls(cutText(written, 100))}" ${value.problem}`);
}

function checkEntry(entry: ListEntry, at: string, now: number): Entry {
  const key = checkKey(entry, at);
  const comment = entry.comment.trim();
  if (comment.length > MAX_COMMENT) {
    throw invalid(
      `${at}.comment: ${comment.length} characters are too many; give at most ${MAX_COMMENT} of them`,
    );
  }
  if (/\p{Cc}/u.test(comment))
    throw invalid(`${at}.comment: holds a control character; give one line of text`);
  const expiresAt = entry.expiresAt?.getTime() ?? null;
  if (Number.isNaN(expiresAt)) {
    throw invalid(`${at}.expires_at: is out of range; give a time of the years 1 to 9999`);
  }
  if (expiresAt !== null && expiresAt <= now) {
    throw invalid(`${at}.expires_at: is in the past; give a later time, or leave it out for never`);
  }
  return { ...key, comment: comment === "" ? null : comment, addedAt: now, expiresAt };
}

function checkEntries<Checked>(
  entries: readonly ListEntry[],
  check: (entry: ListEntry, at: string) => Checked,
): readonly Checked[] {
  if (entries.length === 0) throw invalid("entries: is empty; give at least one");
  if (entries.length > ENTRY_LIMIT) {
    throw invalid(
      `entries: ${entries.length} are too many; give at most ${ENTRY_LIMIT} in one call, the others in further ones`,
    );
  }
  return entries.map((entry, n) => check(entry, `entries[${n}]`));
}

/** Who and what, for the log. */
function logged({ list, kind, value }: ListKey) {
  return { list, kind, value: escapeControls(cutText(value, LOGGED)) };
}

/** `peer` is the address of the client. */
export async function addListEntries(
  request: AddListEntriesRequest,
  peer: string,
  { lists, log, now }: { readonly lists: RunTimeLists; readonly log: Log; readonly now: number },
): Promise<AddListEntriesResponse> {
  const entries = checkEntries(request.entries, (entry, at) => checkEntry(entry, at, now));
  const outcome = await lists.add(entries);
  if (outcome === "full") {
    throw new Refusal(
      status.RESOURCE_EXHAUSTED,
      "entries: do not fit, the lists of the running sensor are full; remove some, or put them into a file of triage.lists",
    );
  }
  for (const entry of entries) {
    log.info("list entry added", {
      peer: escapeControls(peer),
      ...logged(entry),
      comment: entry.comment === null ? null : escapeControls(entry.comment),
      expires_at: entry.expiresAt === null ? null : new Date(entry.expiresAt).toISOString(),
    });
  }
  return outcome;
}

export async function removeListEntries(
  request: RemoveListEntriesRequest,
  peer: string,
  { lists, log }: { readonly lists: RunTimeLists; readonly log: Log },
): Promise<RemoveListEntriesResponse> {
  const keys = checkEntries(request.entries, checkKey);
  const removed = await lists.remove(keys);
  for (const key of keys) log.info("list entry removed", { peer: escapeControls(peer), ...logged(key) });
  return { removed };
}

export async function listListEntries(
  request: ListListEntriesRequest,
  spool: Pick<Spool, "listEntries">,
): Promise<ListListEntriesResponse> {
  const { filter, pageSize, before } = checkList(request);
  // One row more than wanted says whether another page follows.
  const rows = await spool.listEntries(filter, pageSize + 1, before);
  const entries: ListEntry[] = [];
  let bytes = 0;
  for (const row of rows.slice(0, pageSize)) {
    const entry = entryMessage(row);
    entries.push(entry);
    bytes += ListEntry.encode(entry).finish().length;
    if (bytes >= PAGE_BYTES) break;
  }
  const last = rows[entries.length - 1];
  const more = rows.length > entries.length && last !== undefined;
  return { entries, nextPageToken: more ? pageToken(filter, last.id) : "" };
}

function entryMessage({ list, kind, value, comment, addedAt, expiresAt }: StoredListEntry): ListEntry {
  return {
    list: API_LIST_NAME[list],
    kind: API_LIST_KIND[kind],
    value,
    comment: comment ?? "",
    addedAt: addedAt === null ? undefined : new Date(addedAt),
    expiresAt: expiresAt === null ? undefined : new Date(expiresAt),
  };
}

/** An entry of an answer as triage knows it; null for kinds of a newer API. */
export function listEntryOf(entry: ListEntry): Entry | null {
  const list = wordOf(API_LIST_NAME, entry.list);
  const kind = wordOf(API_LIST_KIND, entry.kind);
  if (list === undefined || kind === undefined) return null;
  return {
    list,
    kind,
    value: entry.value,
    comment: entry.comment === "" ? null : entry.comment,
    addedAt: entry.addedAt?.getTime() ?? 0,
    expiresAt: entry.expiresAt?.getTime() ?? null,
  };
}

function checkList(request: ListListEntriesRequest): {
  readonly filter: ListFilter;
  readonly pageSize: number;
  readonly before: number | null;
} {
  const list = wordOf(API_LIST_NAME, request.list);
  if (list === undefined && request.list !== ApiListName.UNSPECIFIED) {
    throw invalid(`list: ${request.list} is not known; give LIST_NAME_ALLOW, LIST_NAME_DENY or leave it out`);
  }
  const kind = wordOf(API_LIST_KIND, request.kind);
  if (kind === undefined && request.kind !== ApiListKind.UNSPECIFIED) {
    throw invalid(`kind: ${request.kind} is not known; give one of the values of ListKind or leave it out`);
  }
  const { text } = request;
  if (text.length > TEXT_LIMIT) {
    throw invalid(`text: ${text.length} characters are too many; give at most ${TEXT_LIMIT} of them`);
  }
  if (text.includes("\0")) throw invalid("text: holds a NUL character; leave it out");
  if (request.pageSize < 0) {
    throw invalid(`page_size: is negative; give 1 to ${PAGE_SIZE.max}, or 0 for ${PAGE_SIZE.default}`);
  }
  const filter = {
    ...(list !== undefined && { list }),
    ...(kind !== undefined && { kind }),
    ...(text !== "" && { text }),
  };
  const pageSize = request.pageSize === 0 ? PAGE_SIZE.default : Math.min(request.pageSize, PAGE_SIZE.max);
  return { filter, pageSize, before: readToken(request.pageToken, filter) };
}

function fingerprint({ list, kind, text }: ListFilter): string {
  return createHash("sha256")
    .update(JSON.stringify([list ?? null, kind ?? null, text ?? null]))
    .digest("hex")
    .slice(0, 16);
}

function pageToken(filter: ListFilter, last: number): string {
  return Buffer.from(`${fingerprint(filter)}.${last}`).toString("base64url");
}

function readToken(token: string, filter: ListFilter): number | null {
  if (token === "") return null;
  const text = token.length > 256 ? "" : Buffer.from(token, "base64url").toString("latin1");
  const [, print, id] = /^([0-9a-f]{16})\.(\d{1,15})$/.exec(text) ?? [];
  if (print === undefined || id === undefined) {
    throw invalid(
      "page_token: is not one of this service; give next_page_token of an answer, or leave it out",
    );
  }
  if (print !== fingerprint(filter)) {
    throw invalid("page_token: belongs to another question; repeat that of the first page");
  }
  return Number(id);
}
