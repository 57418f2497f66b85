/**
 * A multipart/form-data body (RFC 7578) that streams a file from disk.
 *
 * Takes text fields and at most one file, gives the content type, the exact length and the bytes. Memory does not
 * grow with the file. A file that is not as long as it was said to be ends the stream with an error, so that a
 * wrong body never counts as sent.
 */
import { randomBytes } from "node:crypto";
import { SensorError } from "../errors.ts";

export type FormField = { readonly name: string; readonly value: string };
export type FormFile = {
  readonly name: string;
  readonly path: string;
  /** Bytes. */
  readonly size: number;
};
export type MultipartBody = {
  readonly contentType: string;
  /** Bytes. */
  readonly length: number;
  stream(): AsyncIterable<Uint8Array>;
};

/** Field names are the caller's own constants; values may hold anything, the boundary is 128 random bits. */
export function multipartBody(fields: readonly FormField[], file: FormFile | null): MultipartBody {
  const boundary = `email-sensor-${randomBytes(16).toString("hex")}`;
  const part = (field: FormField) =>
    `--${boundary}\r\nContent-Disposition: form-data; name="${field.name}"\r\n\r\n${field.value}\r\n`;
  const fileHead =
    file === null
      ? ""
      : `--${boundary}\r\nContent-Disposition: form-data; name="${file.name}"; filename="sample"\r\n` +
        "Content-Type: application/octet-stream\r\n\r\n";
  const encoder = new TextEncoder();
  const head = encoder.encode(fields.map(part).join("") + fileHead);
  const tail = encoder.encode(`${file === null ? "" : "\r\n"}--${boundary}--\r\n`);
  return {
    contentType: `multipart/form-data; boundary=${boundary}`,
    length: head.length + (file?.size ?? 0) + tail.length,
    async *stream() {
      yield head;
      if (file !== null) yield* fileBytes(file);
      yield tail;
    },
  };
}

async function* fileBytes(file: FormFile): AsyncIterable<Uint8Array> {
  let sent = 0;
  for await (const chunk of Bun.file(file.path).stream()) {
    sent += chunk.length;
    if (sent > file.size) break;
    yield chunk;
  }
  if (sent !== file.size) {
    throw new SensorError("INTERNAL", `a content of ${file.size} bytes changed while it was sent`);
  }
}
