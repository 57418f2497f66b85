/**
 * What mails of the last hours are found by when something is put on a deny list: hosts, senders and further hashes.
 * The contents of the parts themselves are in the index of the artifacts.
 *
 * A trait is a text of which equal or near ones lie beside each other: names are written with their labels turned
 * round, so that `example.evil.` stands before all that lies below `evil.example`. What is found is a superset: who asks
 * looks at the mails themselves. They are kept by the day, so that what is too old lies together and is forgotten cheaply.
 */
import type { Database } from "bun:sqlite";
import { hostOf, readAddress, readHost, spellingsOf } from "../triage/hosts.ts";
import type { ListKey } from "../triage/lists.ts";
import type { Plan } from "../triage/plan.ts";
import { contentId } from "./revisions.ts";

/** Where mails with a value of a list are found. `from` and everything after it, before `to`. */
type Place = { readonly content: Uint8Array } | { readonly from: string; readonly to: string };

/** How far the mails of a value were handed out. */
export type TraitCursor = {
  readonly place: number;
  readonly day: number;
  readonly value: string;
  readonly mail: number;
};
export const FIRST: TraitCursor = { place: 0, day: 0, value: "", mail: -1 };

/** The mails that are looked at. */
export type TraitWindow = {
  /** `seq` of the first of them. */
  readonly mail: number;
  /** Days of the first and the last, see dayOf. */
  readonly days: readonly [first: number, last: number];
};

const DAY = 24 * 60 * 60 * 1000;

/** The day of a time, UTC. */
export function dayOf(time: number): number {
  return Math.floor(time / DAY);
}

export function recordTraits(
  db: Database,
  mail: number,
  day: number,
  plan: Plan,
  senders: readonly string[],
): void {
  const insert = db.query("INSERT OR IGNORE INTO traits (day, value, mail) VALUES (?, ?, ?)");
  for (const trait of traitsOf(plan, senders)) insert.run(day, trait, mail);
}

function traitsOf(plan: Plan, senders: readonly string[]): ReadonlySet<string> {
  const traits = new Set<string>();
  const addHost = (host: string | null) => {
    if (host !== null && host !== "") traits.add(`d:${turned(host)}.`);
  };
  for (const part of plan) {
    if (part.kind === "attachment") {
      traits.add(`h:${part.attachment.md5}`).add(`h:${part.attachment.sha1}`);
      continue;
    }
    const { normalized, unwrapped_from = [], target_domain, stripped_from = [] } = part.url;
    addHost(hostOf(normalized));
    for (const spelling of [normalized, ...stripped_from].flatMap(spellingsOf)) {
      if (spelling !== normalized) traits.add(urlTrait(spelling));
    }
    if (target_domain !== undefined) addHost(readHost(target_domain));
    for (const wrapper of unwrapped_from) {
      addHost(hostOf(wrapper));
      for (const spelling of spellingsOf(wrapper)) traits.add(urlTrait(spelling));
    }
  }
  for (const sender of senders) {
    const address = readAddress(sender);
    if (address !== null) traits.add(senderTrait(address));
  }
  return traits;
}

/** Where mails may lie that an entry of a list is about. */
function placesOf({ kind, value }: ListKey): readonly Place[] {
  switch (kind) {
    case "hash":
      if (value.length !== 64) return [exactly(`h:${value}`)];
      return [{ content: contentId(`file:${value}`) }, { content: contentId(`file:${value}:opened`) }];
    case "url":
      return [{ content: contentId(`url:${value}`) }, exactly(urlTrait(value))];
    case "domain":
      return [beginning(`d:${turned(value)}.`)];
    case "sender": {
      if (value.includes("@")) return [exactly(senderTrait(value))];
      const domain = `s:${turned(value)}`;
      return [beginning(`${domain}@`), beginning(`${domain}.`)];
    }
  }
}

/** True where a mail of the window may have it. */
export function mayConcern(db: Database, key: ListKey, window: TraitWindow): boolean {
  return mailsWith(db, key, window, FIRST, 1).mails.length > 0;
}

/**
 * The next mails of the window that may have a value of a list, at most `limit`, some perhaps twice; and where to go on,
 * null where there are no more.
 */
export function mailsWith(
  db: Database,
  key: ListKey,
  window: TraitWindow,
  after: TraitCursor,
  limit: number,
): { readonly mails: readonly number[]; readonly next: TraitCursor | null } {
  const [first, last] = window.days;
  const mails: number[] = [];
  const places = placesOf(key);
  let cursor = after;
  for (let place = places[cursor.place]; place !== undefined; place = places[cursor.place]) {
    const room = limit - mails.length;
    const day = Math.max(cursor.day, first);
    const rows =
      "content" in place
        ? withContent(db, place.content, window, cursor, room)
        : withTrait(db, place, window, { ...cursor, day }, room);
    for (const { mail } of rows) mails.push(mail);
    const end = rows.at(-1);
    if (end !== undefined && rows.length === room) return { mails, next: { ...cursor, day, ...end } };
    const more = !("content" in place) && day < last;
    cursor = more ? { ...FIRST, place: cursor.place, day: day + 1 } : { ...FIRST, place: cursor.place + 1 };
  }
  return { mails, next: null };
}

type Row = { readonly value: string; readonly mail: number };

function withContent(
  db: Database,
  content: Uint8Array,
  window: TraitWindow,
  { mail }: TraitCursor,
  limit: number,
): readonly Row[] {
  return db
    .query<Row, [Uint8Array, number, number]>(
      `SELECT DISTINCT '' AS value, mail FROM artifacts WHERE content = ? AND mail > ? ORDER BY mail LIMIT ?`,
    )
    .all(content, Math.max(mail, window.mail - 1), limit);
}

function withTrait(
  db: Database,
  { from, to }: { readonly from: string; readonly to: string },
  window: TraitWindow,
  { day, value, mail }: TraitCursor,
  limit: number,
): readonly Row[] {
  return db
    .query<Row, [number, string, number, string, number, number]>(
      `SELECT value, mail FROM traits WHERE day = ? AND (value, mail) > (?, ?) AND value < ? AND mail >= ?
       ORDER BY value, mail LIMIT ?`,
    )
    .all(day, value === "" ? from : value, mail, to, window.mail, limit);
}

/** Forgets traits of days before `day`, at most `limit`; gives how many. */
export function forgetTraits(db: Database, day: number, limit: number): number {
  return db
    .query(
      `DELETE FROM traits WHERE (day, value, mail) IN
         (SELECT day, value, mail FROM traits WHERE day < ? ORDER BY day, value, mail LIMIT ?)`,
    )
    .run(day, limit).changes;
}

const urlTrait = (normalized: string) => `u:${Buffer.from(contentId(`url:${normalized}`)).toString("hex")}`;

function senderTrait(address: string): string {
  const at = address.lastIndexOf("@");
  return `s:${turned(address.slice(at + 1))}@${address.slice(0, at)}`;
}

function turned(host: string): string {
  return host.split(".").reverse().join(".");
}

/** No trait goes on with the character that ends the range. */
function exactly(trait: string): Place {
  return { from: trait, to: `${trait}\u0001` };
}

/** `prefix` ends with a dot or an @. */
function beginning(prefix: string): Place {
  const end = prefix.length - 1;
  return { from: prefix, to: prefix.slice(0, end) + String.fromCharCode(prefix.charCodeAt(end) + 1) };
}
