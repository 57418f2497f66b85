/** Builds mails for the tests of extraction. */
import { schema } from "../../../src/config/schema.ts";
import { type Bounds, boundsOf } from "../../../src/extract/bounds.ts";
import { type ContentSink, takeApart } from "../../../src/extract/take-apart.ts";

export const BOUNDS: Bounds = boundsOf(schema.shape.extract.parse({}));

export type Part = { readonly headers: readonly string[]; readonly body: string | Uint8Array };

/** A mail with CRLF line ends; `body` as it travels. */
export function mail(headers: readonly string[], body: string | Uint8Array): Buffer {
  return Buffer.concat([Buffer.from(`${headers.join("\r\n")}\r\n\r\n`), Buffer.from(body)]);
}

export function multipart(headers: readonly string[], parts: readonly Part[], boundary = "=_b"): Buffer {
  const pieces = parts.flatMap(({ headers: own, body }) => [
    Buffer.from(`--${boundary}\r\n${own.map((line) => `${line}\r\n`).join("")}\r\n`),
    Buffer.from(body),
    Buffer.from("\r\n"),
  ]);
  return mail(
    [...headers, "MIME-Version: 1.0", `Content-Type: multipart/mixed; boundary="${boundary}"`],
    Buffer.concat([...pieces, Buffer.from(`--${boundary}--\r\n`)]),
  );
}

export function attached(name: string, content: Uint8Array | string): Part {
  return {
    headers: [
      "Content-Type: application/octet-stream",
      `Content-Disposition: attachment; filename="${name}"`,
      "Content-Transfer-Encoding: base64",
    ],
    body: Buffer.from(content).toString("base64").replace(/.{76}/g, "$&\r\n"),
  };
}

export function sha256(content: Uint8Array | string): string {
  return new Bun.CryptoHasher("sha256").update(content).digest("hex");
}

export const extractionOf = (raw: Uint8Array, bounds: Partial<Bounds> = {}, sink?: ContentSink) =>
  takeApart(raw, { ...BOUNDS, ...bounds }, { sink });

/** Keeps the contents that a sink is given. */
export function contentsSink(): { readonly sink: ContentSink; readonly contents: Map<string, Buffer> } {
  const contents = new Map<string, Buffer>();
  const sink: ContentSink = (hash, bytes) => {
    contents.set(hash, Buffer.from(bytes));
    return "more";
  };
  return { sink, contents };
}
