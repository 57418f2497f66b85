/**
 * Unpacks with 7-Zip what has no reader of its own here: lists first, then takes the members that fit.
 *
 * Names come from the listing; the paths 7-Zip would write to only tell which member of the list is meant. What a
 * listing says about sizes decides what is asked for, never how much is taken: each sink counts what it gets.
 */
import type { Gauge, Member } from "./gauge.ts";
import { entryKeyRounds, KEY_ROUNDS_MAX, namesKeyRounds } from "./key-rounds.ts";
import { ARCHIVE_PATH, OUTPUT_FOLDER, runSevenZip, type SevenZipEnd, type Sink } from "./seven-zip-host.ts";

/** Given where no password is known, so that 7-Zip never asks for one. No mail can name it. */
const NO_PASSWORD = "\u0001";
/** Bytes of a listing that are read. */
const LISTING_MAX = 16 * 1024 * 1024;
/** Bytes unpacked in one run that need not be kept: to get behind a member that is too large. */
const DISCARD_MAX = 256 * 1024 * 1024;
/** Members too large to be kept of which the beginning is fetched. */
const BEGINNINGS_MAX = 3;
const PASSWORD_MAX = 128;
/** Fewer bytes behind an archive are padding. */
const MIN_TRAILER = 64;
/** The end of a complaint about a block of several members. */
const NAMES_NO_MEMBER = / : #\d+$/;
/** Passwords may take this part of the time. */
const PASSWORD_SHARE = 0.5;

type Entry = Member & {
  readonly folder: boolean;
  /** A part of it lies in another volume. */
  readonly split: boolean;
  /** How it is packed, in 7-Zip's words. */
  readonly method: string;
};

type Listing = {
  readonly end: SevenZipEnd;
  readonly entries: readonly Entry[];
  /** What is said of the archive, lower case key to value. */
  readonly about: ReadonlyMap<string, string>;
  readonly errors: string;
};

/**
 * Tries the types (names of 7-Zip; "" lets it find out) in turn until one lists members, and unpacks those. False
 * where none did.
 */
export async function unpackWithSevenZip(
  bytes: Uint8Array,
  types: readonly string[],
  gauge: Gauge,
): Promise<boolean> {
  for (const type of types) {
    if (gauge.expired()) return true;
    if (namesKeyRounds(bytes) > KEY_ROUNDS_MAX) {
      gauge.fact("encrypted_names");
      gauge.flag("archive_too_costly");
      gauge.sealed(null);
      return true;
    }
    const typeArgs = type === "" ? [] : [`-t${type}`];
    let password: string | null = null;
    let listing = await list(bytes, typeArgs, null, gauge);
    // A wrong password for a short list of names gives nonsense that 7-Zip dies of.
    const nonsense = listing.end.kind === "crashed" && namesKeyRounds(bytes) > 0;
    const sealedNames = nonsense || isWrongPassword(listing.errors);
    if (sealedNames) {
      gauge.fact("encrypted_names");
      for (const candidate of candidates(gauge)) {
        const opened = await list(bytes, typeArgs, candidate, gauge);
        if (opened.end.kind === "crashed" || isWrongPassword(opened.errors)) continue;
        listing = opened;
        password = candidate;
        break;
      }
      gauge.sealed(password);
      if (password === null) return true;
    }
    if (listing.entries.length === 0 && !isEmptyArchive(listing)) {
      if (listing.end.kind === "crashed" || isTooCostly(listing.errors)) gauge.flag("archive_too_costly");
      continue;
    }
    noteListing(listing, gauge);
    await extract(bytes, typeArgs, listing, password, gauge);
    // Where 7-Zip finds out itself, it may tell of a file system within the image, not of the image.
    if (type !== "") giveTrailer(bytes, listing.about, gauge);
    return true;
  }
  return false;
}

function isEmptyArchive(listing: Listing): boolean {
  return listing.end.kind === "ended" && listing.end.status === 0 && listing.about.has("type");
}

function isTooCostly(errors: string): boolean {
  return errors.includes("allocate required memory");
}

function isWrongPassword(errors: string): boolean {
  return errors.includes("Wrong password") || errors.includes("encrypted archive");
}

function noteListing(listing: Listing, gauge: Gauge): void {
  for (const entry of listing.entries) {
    if (!entry.folder) gauge.list({ name: entry.name, size: entry.size, encrypted: entry.encrypted });
  }
  const { about, end } = listing;
  if (end.kind === "ended" && end.status > 1) gauge.flag("archive_damaged");
  const split = listing.entries.some((entry) => entry.split);
  if (split || about.get("multivolume") === "+" || Number(about.get("volumes") ?? 1) > 1) {
    gauge.flag("archive_volumes");
  }
}

/** Gives what follows the end of an archive, and says that there is something around it. */
function giveTrailer(bytes: Uint8Array, about: ReadonlyMap<string, string>, gauge: Gauge): void {
  const offset = Number(about.get("offset") ?? 0);
  const end = offset + Number(about.get("physical size") ?? bytes.length);
  if (offset > 0) gauge.flag("archive_data_around");
  if (!(Number(about.get("tail size") ?? 0) >= MIN_TRAILER) || !(end < bytes.length)) return;
  const rest = bytes.subarray(end);
  if (rest.every((byte) => byte === 0)) return;
  gauge.flag("archive_data_around");
  gauge.give(null, rest);
}

/** Candidates as long as there is time for them. */
function* candidates(gauge: Gauge): Generator<string> {
  const least = gauge.secondsLeft() * (1 - PASSWORD_SHARE);
  for (const candidate of gauge.passwords) {
    if (candidate === "" || candidate.length > PASSWORD_MAX || candidate.includes("\0")) continue;
    if (gauge.secondsLeft() <= least) {
      gauge.flag("archive_passwords_exceeded");
      return;
    }
    yield candidate;
  }
}

async function list(
  bytes: Uint8Array,
  typeArgs: readonly string[],
  password: string | null,
  gauge: Gauge,
): Promise<Listing> {
  const entries: Entry[] = [];
  const about = new Map<string, string>();
  let inItems = false;
  let current = new Map<string, string>();
  const endItem = (): boolean => {
    if (current.has("path") || current.has("size")) entries.push(entryOf(current));
    current = new Map();
    if (entries.length <= gauge.maxMembers) return true;
    gauge.flag("archive_members_exceeded");
    entries.pop();
    return false;
  };
  const reader = createLines(LISTING_MAX, (line) => {
    if (line.startsWith("----------")) {
      inItems = true;
      return true;
    }
    if (inItems && line === "") return endItem();
    const split = line.indexOf(" = ");
    if (split < 0) return true;
    const key = line.slice(0, split).toLowerCase();
    if (inItems) current.set(key, line.slice(split + 3));
    else about.set(key, line.slice(split + 3));
    return true;
  });
  let errors = "";
  const end = await runSevenZip({
    args: ["l", "-slt", `-p${password ?? NO_PASSWORD}`, ...typeArgs, "--", ARCHIVE_PATH],
    archive: bytes,
    expired: gauge.expired,
    print: reader.push,
    complain: (piece) => {
      if (errors.length < LISTING_MAX) errors += Buffer.from(piece).toString("latin1");
      return true;
    },
    create: () => null,
  });
  if (inItems) endItem();
  return { end, entries, about, errors };
}

function entryOf(fields: ReadonlyMap<string, string>): Entry {
  const size = fields.get("size") ?? "";
  return {
    name: fields.get("path") ?? "",
    size: /^\d{1,15}$/.test(size) ? Number(size) : null,
    encrypted: fields.get("encrypted") === "+",
    folder: fields.get("folder") === "+" || /^D/.test(fields.get("attributes") ?? ""),
    split: fields.get("split before") === "+" || fields.get("split after") === "+",
    method: fields.get("method") ?? "",
  };
}

/** Splits bytes into lines of UTF-8 text; `push` is false once `take` was, or after `max` bytes. */
function createLines(
  max: number,
  take: (line: string) => boolean,
): { readonly push: (piece: Uint8Array) => boolean } {
  const decoder = new TextDecoder();
  let rest = "";
  let total = 0;
  return {
    push: (piece) => {
      total += piece.length;
      if (total > max) return false;
      const lines = (rest + decoder.decode(piece, { stream: true })).split("\n");
      rest = lines.pop() ?? "";
      return lines.every(take);
    },
  };
}

type Taken = { readonly entry: Entry; readonly bytes: Uint8Array; readonly whole: boolean; bad: boolean };

async function extract(
  bytes: Uint8Array,
  typeArgs: readonly string[],
  listing: Listing,
  known: string | null,
  gauge: Gauge,
): Promise<void> {
  const solid = listing.about.get("solid") === "+";
  const files = listing.entries.filter((entry) => !entry.folder);
  const sealed = files.some((entry) => entry.encrypted);
  const tooLarge = (entry: Entry): boolean => (entry.size ?? 0) > gauge.room();
  const give = (taken: readonly Taken[]): void => {
    for (const one of taken) {
      if (one.bad) continue;
      const name = one.entry.name === "" ? null : one.entry.name;
      gauge.give(name, one.bytes, one.whole);
      if (!one.whole) gauge.overflow();
    }
  };
  const run = (
    password: string | null,
    wanted: (entry: Entry) => boolean,
    trial: boolean,
  ): Promise<Extraction> => extractOnce(bytes, typeArgs, listing.entries, password, wanted, trial, gauge);

  let password = known;
  let opened: Extraction | null = null;
  const fits = (entry: Entry): boolean => solid || !tooLarge(entry);
  const costly = files.some((entry) => entryKeyRounds(entry.method) > KEY_ROUNDS_MAX);
  if (costly) gauge.flag("archive_too_costly");
  if (sealed && password === null && !costly) {
    for (const candidate of candidates(gauge)) {
      const tried = await run(candidate, fits, true);
      if (!tried.taken.some((one) => one.entry.encrypted && !one.bad)) continue;
      password = candidate;
      opened = tried;
      break;
    }
  }
  const wanted = (entry: Entry): boolean => fits(entry) && (password !== null || !entry.encrypted);
  opened ??= await run(password, wanted, false);
  give(opened.taken);
  if (sealed) {
    gauge.sealed(password);
    // Members may have passwords of their own.
    if (opened.taken.some((one) => one.bad)) gauge.sealed(null);
  }
  if (opened.end.kind === "crashed" || opened.costly) gauge.flag("archive_too_costly");
  if (opened.damaged) gauge.flag("archive_damaged");
  if (solid) return;
  const large = files.filter((entry) => tooLarge(entry) && (password !== null || !entry.encrypted));
  const missed = large.filter((entry) => !opened.taken.some((one) => one.entry === entry));
  if (missed.length > 0) gauge.overflow();
  for (const entry of missed.slice(0, BEGINNINGS_MAX)) {
    if (gauge.full() || gauge.cutRoom() === 0 || gauge.expired()) return;
    give((await run(password, (one) => one === entry, false)).taken);
  }
}

type Extraction = {
  readonly taken: readonly Taken[];
  readonly end: SevenZipEnd;
  readonly damaged: boolean;
  readonly costly: boolean;
};

/**
 * One run over the archive. A trial ends with the first word of a wrong password that comes before any encrypted
 * member came out well.
 */
async function extractOnce(
  bytes: Uint8Array,
  typeArgs: readonly string[],
  entries: readonly Entry[],
  password: string | null,
  wanted: (entry: Entry) => boolean,
  trial: boolean,
  gauge: Gauge,
): Promise<Extraction> {
  const taken: Taken[] = [];
  const find = createFinder(entries);
  const last = entries.findLast((entry) => !entry.folder);
  const locked = password === null && entries.some((entry) => entry.encrypted);
  let room = gauge.room();
  let discarded = 0;
  let damaged = false;
  let costly = false;
  const complaints = createLines(LISTING_MAX, (line) => {
    if (!line.includes("ERROR")) return true;
    if (line.includes("Cannot open output file") || line.includes("Cannot create")) return true;
    if (isTooCostly(line)) {
      costly = true;
      return true;
    }
    if (!isWrongPassword(line)) {
      // Without the password what is decrypted is noise, of which 7-Zip may say that a block of it is damaged.
      if (!(locked && NAMES_NO_MEMBER.test(line))) damaged = true;
      return true;
    }
    const last = taken.at(-1);
    if (last?.entry.encrypted) last.bad = true;
    return !trial || taken.some((one) => one.entry.encrypted && !one.bad);
  });
  const end = await runSevenZip({
    args: [
      "x",
      `-p${password ?? NO_PASSWORD}`,
      ...typeArgs,
      `-o${OUTPUT_FOLDER}`,
      "-y",
      "-aoa",
      "-bd",
      "-bso0",
      "-mmt1",
      "--",
      ARCHIVE_PATH,
    ],
    archive: bytes,
    expired: gauge.expired,
    print: () => true,
    complain: complaints.push,
    create: (path) => {
      const entry = find(path);
      return taken.length < gauge.maxMembers && wanted(entry) ? collect(entry) : null;
    },
  });
  return { taken, end, damaged, costly };

  function collect(entry: Entry): Sink {
    const pieces: Uint8Array[] = [];
    const least = Math.min(room, gauge.cutRoom());
    let length = 0;
    let over = false;
    return {
      write: (piece) => {
        if (!over && length + piece.length > room) over = true;
        // Of what does not fit the beginning is kept, and 7-Zip goes on to what follows.
        if (!over || length < least) {
          pieces.push(piece);
          length += piece.length;
          return true;
        }
        discarded += piece.length;
        return entry !== last && discarded <= DISCARD_MAX;
      },
      close: () => {
        const kept = Buffer.concat(pieces, over ? Math.min(length, least) : length);
        pieces.length = 0;
        room -= kept.length;
        taken.push({ entry, bytes: kept, whole: !over, bad: false });
      },
    };
  }
}

/** Finds the member a path of 7-Zip means: the first of that name not met before, else one made up from the path. */
function createFinder(entries: readonly Entry[]): (path: string) => Entry {
  const waiting = new Map<string, Entry[]>();
  for (let index = entries.length - 1; index >= 0; index--) {
    const entry = entries[index];
    if (entry === undefined || entry.folder) continue;
    const key = safePath(entry.name);
    const list = waiting.get(key);
    if (list === undefined) waiting.set(key, [entry]);
    else list.push(entry);
  }
  const files = entries.filter((entry) => !entry.folder);
  return (path) => {
    const [only] = files;
    if (files.length === 1 && only !== undefined) return only;
    return (
      waiting.get(safePath(path))?.pop() ?? {
        name: path,
        size: null,
        encrypted: false,
        folder: false,
        split: false,
        method: "",
      }
    );
  };
}

/** The form in which the name of a list and the path 7-Zip makes from it are the same. */
function safePath(name: string): string {
  return name
    .replace(/[\x00-\x1f\x7f]/g, "_")
    .split(/[/\\]/)
    .filter((part) => part !== "" && part !== "." && part !== "..")
    .join("/");
}
