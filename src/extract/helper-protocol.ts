/**
 * What the pool and a helper say to each other, over the helper's stdin and stdout.
 *
 * Either side sends frames: four bytes length (big-endian), then JSON of that length. A request for a mail in
 * memory is followed by the bytes of the mail. A helper says HELLO once when it is ready, then gives one answer
 * a request. The pool trusts nothing a helper says: answers are bounded and checked against a schema.
 */
import { z } from "zod";
import type { Bounds } from "./bounds.ts";
import type { Extraction } from "./extraction.ts";

export const HELLO = "email-sensor extract-helper 1";
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
    };

export type HelperAnswer =
  | { readonly kind: "hello"; readonly hello: string }
  | { readonly kind: "extracted"; readonly extraction: Extraction }
  | { readonly kind: "written"; readonly found: boolean }
  | { readonly kind: "failed"; readonly message: string };

const texts = z.array(z.string());
const extraction = z.strictObject({
  mail: z.strictObject({
    message_id: z.string().nullable(),
    subject: z.string().nullable(),
    from: texts,
    to: texts,
    cc: texts,
    date: z.string().nullable(),
  }),
  envelope: z
    .strictObject({
      source: z.enum(["journal", "copy"]),
      from: z.string().nullable(),
      to: texts,
      identity: z.string().nullable(),
    })
    .nullable(),
  attachments: z.array(
    z.strictObject({
      filename: z.string().nullable(),
      sha256: z.string().regex(/^[0-9a-f]{64}$/),
      sha1: z.string().regex(/^[0-9a-f]{40}$/),
      md5: z.string().regex(/^[0-9a-f]{32}$/),
      size: z.number().int().min(0),
      type: z.string().max(255),
      views: texts,
      path: texts,
      within: z.enum(["mail", "archive", "document"]),
      facts: texts,
      password: z.string().nullable(),
    }),
  ),
  urls: z.array(
    z.strictObject({
      url: z.string(),
      normalized: z.string(),
      sources: texts,
      unwrapped_from: texts.exactOptional(),
      target_domain: z.string().exactOptional(),
      personal: z.literal(true).exactOptional(),
    }),
  ),
  passwords: texts,
  flags: texts,
  complete: z.boolean(),
});

const answer = z.discriminatedUnion("kind", [
  z.strictObject({ kind: z.literal("hello"), hello: z.literal(HELLO) }),
  z.strictObject({ kind: z.literal("extracted"), extraction }),
  z.strictObject({ kind: z.literal("written"), found: z.boolean() }),
  z.strictObject({ kind: z.literal("failed"), message: z.string().max(2000) }),
]);

/** Null where the bytes are no answer of a helper. */
export function readAnswer(json: Uint8Array): HelperAnswer | null {
  let value: unknown;
  try {
    value = JSON.parse(new TextDecoder().decode(json));
  } catch (thrown) {
    if (thrown instanceof SyntaxError) return null;
    throw thrown;
  }
  const parsed = answer.safeParse(value);
  return parsed.success ? parsed.data : null;
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
