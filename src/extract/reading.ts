/**
 * What a reader of one kind of content gives to extraction, and the bounds it is given.
 *
 * A reader is a function from hostile bytes to a Reading. It never throws for what the bytes are: what it cannot
 * read it flags, and gives what came before. Its work is linear in the bytes it was given and those it gives.
 */

/** A content inside another one: a member of an archive, a file in a document, a mail in a mail. */
export type Inner = {
  /** Name as the container gives it, null where it gives none. Hostile text: never used as a path. */
  readonly name: string | null;
  /** Media type as the container declares it, lower case; null where it declares none. */
  readonly declared: string | null;
  readonly bytes: Uint8Array;
};

/** A text that is searched for URLs and for passwords of archives. */
export type ReadText = {
  /** "script": JavaScript. */
  readonly kind: "text" | "html" | "script";
  readonly text: string;
  /** What it is, as it stands in `sources` of a URL: "text", "html", "calendar", "office", ... */
  readonly source: string;
};

export type ReadUrl = { readonly url: string; readonly source: string };

export type Reading = {
  readonly inner: readonly Inner[];
  readonly texts: readonly ReadText[];
  /** Links that are given as such, not written in a text. Absolute or schemeless, as written. */
  readonly urls: readonly ReadUrl[];
  /** What was odd about the reading: names of a table of flags. */
  readonly flags: readonly string[];
  /** What is true of the content itself: names of a table of facts ("macros", "encrypted"). */
  readonly facts: readonly string[];
};

/** Bounds of one call of a reader. What hits one is left out and flagged. */
export type Limits = {
  /** Bytes of all inner contents and texts together. */
  readonly bytes: number;
  /** Inner contents. */
  readonly inner: number;
  /** URLs. */
  readonly urls: number;
};

/** A flag: `complete` tells whether an extraction with this flag alone still counts as complete. */
export type FlagEntry = { readonly complete: boolean; readonly meaning: string };
/** A fact about a content, for triage rules and events. */
export type FactEntry = { readonly meaning: string };

/** Flags that every reader shares: a bound of the call was hit. */
export const READER_FLAGS = {
  inner_exceeded: {
    complete: false,
    meaning: "A content has more inner contents than the bound; the ones after that are not listed.",
  },
  inner_bytes_exceeded: {
    complete: false,
    meaning: "The inner contents of a content are larger than the bound; the rest is not read.",
  },
  inner_urls_exceeded: {
    complete: false,
    meaning: "A content has more URLs than the bound; the ones after that are not listed.",
  },
} as const satisfies Record<string, FlagEntry>;

/** Facts that readers of several types give. */
export const READER_FACTS = {
  encrypted: {
    meaning: "The content, or a member of it, is encrypted, whether opening it takes a password or not.",
  },
  embedded_file: {
    meaning: "The document has a file in it that can be opened from it (Packager, OneNote, a file in a PDF).",
  },
  unc_link: {
    meaning:
      "The document refers to a file on another machine, which can give the user's password hash away.",
  },
} as const satisfies Record<string, FactEntry>;

export type ReaderFact = keyof typeof READER_FACTS;

/** Collects a Reading and keeps its bounds. */
export type ReadingBuilder = {
  /** False where a bound is reached: the content is not kept, the bound is flagged, and the reader may end. */
  readonly inner: (inner: Inner) => boolean;
  readonly text: (text: ReadText) => boolean;
  readonly url: (url: string, source: string) => boolean;
  readonly flag: (name: string) => void;
  readonly fact: (name: string) => void;
  /** Bytes that still may be given: the most that may be unpacked next. */
  readonly left: () => number;
  readonly done: () => Reading;
};

export function createReading(limits: Limits): ReadingBuilder {
  const inner: Inner[] = [];
  const texts: ReadText[] = [];
  const urls = new Map<string, ReadUrl>();
  const flags = new Set<string>();
  const facts = new Set<string>();
  let left = limits.bytes;
  const spend = (bytes: number): boolean => {
    if (bytes > left) {
      flags.add("inner_bytes_exceeded");
      return false;
    }
    left -= bytes;
    return true;
  };
  return {
    inner: (one) => {
      if (inner.length >= limits.inner) {
        flags.add("inner_exceeded");
        return false;
      }
      if (!spend(one.bytes.length)) return false;
      inner.push(one);
      return true;
    },
    text: (one) => {
      if (!spend(one.text.length)) return false;
      texts.push(one);
      return true;
    },
    url: (url, source) => {
      const key = `${source}\n${url}`;
      if (urls.has(key)) return true;
      if (urls.size >= limits.urls) {
        flags.add("inner_urls_exceeded");
        return false;
      }
      urls.set(key, { url, source });
      return true;
    },
    flag: (name) => {
      flags.add(name);
    },
    fact: (name) => {
      facts.add(name);
    },
    left: () => left,
    done: () => ({ inner, texts, urls: [...urls.values()], flags: [...flags], facts: [...facts] }),
  };
}
