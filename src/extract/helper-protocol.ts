/**
 * What the pool and a helper say to each other, over the helper's stdin and stdout.
 *
 * Either side sends frames: four bytes length (big-endian), then JSON of that length. A request for a mail in
 * memory is followed by the bytes of the mail. A helper says HELLO once when it is ready, then gives one answer
 * a request. The pool trusts nothing a helper says: answers are bounded, and every field of them is checked.
 */
import type { Bounds } from "./bounds.ts";
import type { Following } from "./content-files.ts";
import type {
  Attachment,
  Container,
  Extraction,
  FoundUrl,
  MailFacts,
  OriginalEnvelope,
} from "./extraction.ts";

export const HELLO = "email-sensor extract-helper 3";
/** Bytes of the longest frame. */
export const MAX_FRAME = 64 * 1024 * 1024;

/** `size`: bytes of the mail that follow the frame. */
export type SentMail =
  | { readonly kind: "inline"; readonly size: number }
  | { readonly kind: "file"; readonly path: string };

export type HelperRequest =
  | {
      readonly kind: "extract";
      readonly mail: SentMail;
      readonly bounds: Bounds;
      /** Folder that every content is written to, null for none. */
      readonly contentsTo: string | null;
      /** Recipients that the mail had in SMTP. */
      readonly copiedTo: readonly string[];
    }
  | {
      readonly kind: "write";
      readonly mail: SentMail;
      readonly bounds: Bounds;
      readonly sha256: string;
      readonly path: string;
      readonly following: Following | null;
    };

export type HelperAnswer =
  /** `isolated`: the kernel keeps it from the network and from other processes. */
  | { readonly kind: "hello"; readonly hello: string; readonly isolated: boolean }
  | { readonly kind: "extracted"; readonly extraction: Extraction }
  | { readonly kind: "written"; readonly found: boolean }
  | { readonly kind: "failed"; readonly message: string };

/** True for a value that is what it should be. Plain code: this runs in the main process for every mail. */
type Check = (value: unknown) => boolean;

const isText: Check = (value) => typeof value === "string";
const isFlag: Check = (value) => typeof value === "boolean";
const isCount: Check = (value) => Number.isSafeInteger(value) && Number(value) >= 0;
const isTexts: Check = (value) => Array.isArray(value) && value.every(isText);

const orNull =
  (check: Check): Check =>
  (value) =>
    value === null || check(value);

const listOf =
  (check: Check): Check =>
  (value) =>
    Array.isArray(value) && value.every(check);

const textUpTo =
  (length: number): Check =>
  (value) =>
    typeof value === "string" && value.length <= length;

const hexOf =
  (digits: number): Check =>
  (value) =>
    typeof value === "string" && value.length === digits && /^[0-9a-f]+$/.test(value);

function oneOf<Value extends string>(...values: readonly Value[]): Check {
  return (value) => values.some((one) => one === value);
}

type Needed<Shape> = { readonly [Key in keyof Shape as undefined extends Shape[Key] ? never : Key]: Check };
type Optional<Shape> = { readonly [Key in keyof Shape as undefined extends Shape[Key] ? Key : never]: Check };

/** An object with all the required keys and none that is not named. */
function shapeOf<Shape>(required: Needed<Shape>, optional: Optional<Shape>): Check {
  const needed = new Map(Object.entries<Check>(required));
  const more = new Map(Object.entries<Check>(optional));
  return (value) => {
    if (typeof value !== "object" || value === null || Array.isArray(value)) return false;
    const fields = value as Readonly<Record<string, unknown>>;
    let seen = 0;
    for (const key in fields) {
      const check = needed.get(key) ?? more.get(key);
      if (check === undefined || !check(fields[key])) return false;
      if (needed.has(key)) seen++;
    }
    return seen === needed.size;
  };
}

const isExtraction = shapeOf<Extraction>(
  {
    mail: shapeOf<MailFacts>(
      {
        message_id: orNull(isText),
        subject: orNull(isText),
        from: isTexts,
        to: isTexts,
        cc: isTexts,
        date: orNull(isText),
      },
      {},
    ),
    envelope: orNull(
      shapeOf<OriginalEnvelope>(
        {
          source: oneOf<OriginalEnvelope["source"]>("journal", "copy"),
          from: orNull(isText),
          to: isTexts,
          identity: orNull(isText),
        },
        {},
      ),
    ),
    attachments: listOf(
      shapeOf<Attachment>(
        {
          filename: orNull(isText),
          sha256: hexOf(64),
          sha1: hexOf(40),
          md5: hexOf(32),
          size: isCount,
          type: textUpTo(255),
          views: isTexts,
          path: isTexts,
          within: oneOf<Container>("mail", "archive", "document"),
          facts: isTexts,
          password: orNull(isText),
        },
        {},
      ),
    ),
    urls: listOf(
      shapeOf<FoundUrl>(
        { url: isText, normalized: isText, sources: isTexts },
        { unwrapped_from: isTexts, target_domain: isText, personal: (value) => value === true },
      ),
    ),
    passwords: isTexts,
    flags: isTexts,
    complete: isFlag,
  },
  {},
);

type AnswerOf<Kind extends HelperAnswer["kind"]> = Extract<HelperAnswer, { readonly kind: Kind }>;

const ANSWERS: readonly Check[] = [
  shapeOf<AnswerOf<"extracted">>({ kind: oneOf("extracted"), extraction: isExtraction }, {}),
  shapeOf<AnswerOf<"written">>({ kind: oneOf("written"), found: isFlag }, {}),
  shapeOf<AnswerOf<"failed">>({ kind: oneOf("failed"), message: textUpTo(2000) }, {}),
  shapeOf<AnswerOf<"hello">>({ kind: oneOf("hello"), hello: oneOf(HELLO), isolated: isFlag }, {}),
];

function isAnswer(value: unknown): value is HelperAnswer {
  return ANSWERS.some((check) => check(value));
}

/** Null where the bytes are no answer of a helper. */
export function readAnswer(json: Uint8Array): HelperAnswer | null {
  let value: unknown;
  try {
    value = JSON.parse(new TextDecoder().decode(json));
  } catch (thrown) {
    if (thrown instanceof SyntaxError) return null;
    throw thrown;
  }
  return isAnswer(value) ? value : null;
}

export function frame(message: HelperRequest | HelperAnswer): Uint8Array {
  const json = Buffer.from(JSON.stringify(message));
  const framed = Buffer.allocUnsafe(4 + json.length);
  framed.writeUInt32BE(json.length, 0);
  framed.set(json, 4);
  return framed;
}

/** Collects chunks until a number of bytes is there. */
export type ByteQueue = {
  readonly length: () => number;
  readonly push: (chunk: Uint8Array) => void;
  /** The first `count` bytes, taken out; there must be that many. */
  readonly take: (count: number) => Uint8Array;
  /** The length of the frame at the beginning, null where its four bytes are not there yet. */
  readonly frameLength: () => number | null;
};

export function createByteQueue(): ByteQueue {
  let chunks: Uint8Array[] = [];
  let length = 0;
  const joined = (): Uint8Array => {
    const [only = new Uint8Array()] = chunks;
    const all = chunks.length <= 1 ? only : Buffer.concat(chunks, length);
    chunks = [all];
    return all;
  };
  return {
    length: () => length,
    push(chunk) {
      chunks.push(chunk);
      length += chunk.length;
    },
    take(count) {
      const all = joined();
      chunks = [all.subarray(count)];
      length -= count;
      return all.subarray(0, count);
    },
    frameLength() {
      if (length < 4) return null;
      const all = joined();
      return new DataView(all.buffer, all.byteOffset, 4).getUint32(0);
    },
  };
}
