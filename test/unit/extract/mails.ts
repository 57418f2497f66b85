/** Builds mails for the tests of extraction. */
import { chunksSource } from "../../../src/extract/mail-source.ts";
import { type Bounds, type ContentSink, takeApart } from "../../../src/extract/take-apart.ts";

export const BOUNDS: Bounds = {
  max_depth: 10,
  max_attachments: 500,
  max_urls: 500,
  max_decoded_size: 64 * 1024 * 1024,
};

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
  takeApart(chunksSource([raw]), { ...BOUNDS, ...bounds }, sink);

/** Keeps the contents that a sink is given. */
export function contentsSink(): { readonly sink: ContentSink; readonly contents: Map<string, Buffer> } {
  const contents = new Map<string, Buffer>();
  let chunks: Uint8Array[] | null = null;
  const sink: ContentSink = {
    begin() {
      if (chunks !== null) throw new Error("a content was begun inside another");
      chunks = [];
    },
    write(chunk) {
      if (chunks === null) throw new Error("bytes of no content");
      chunks.push(chunk);
    },
    keep(hash) {
      if (chunks === null) throw new Error("no content to keep");
      contents.set(hash, Buffer.concat(chunks));
      chunks = null;
      return "more";
    },
    drop() {
      if (chunks === null) throw new Error("no content to drop");
      chunks = null;
    },
  };
  return { sink, contents };
}
