/**
 * The bytes of a mail as a stream that can be read more than once.
 */
import { createReadStream } from "node:fs";
import type { RawMail } from "../intake/mail.ts";

/** Each call reads the mail from its beginning. */
export type MailSource = () => AsyncIterable<Uint8Array> | Iterable<Uint8Array>;

const READ_SIZE = 64 * 1024;

/** A mail that is in memory, as the chunks it came in. */
export function chunksSource(chunks: readonly Uint8Array[]): MailSource {
  return () => chunks;
}

/** Faults of the file (missing, unreadable) are thrown while it is read. */
export function fileSource(path: string): MailSource {
  return () => createReadStream(path, { highWaterMark: READ_SIZE });
}

export function rawSource(raw: RawMail): MailSource {
  return raw.kind === "inline" ? chunksSource([raw.bytes]) : fileSource(raw.path);
}
