/**
 * Takes the bytes of one mail as they come: few stay in memory and go into the database with the mail, many
 * go to a file. `finish` resolves after such a file, and its name, are on disk; `abort` leaves nothing behind.
 */
import { type FileHandle, open, rename, unlink } from "node:fs/promises";
import { dirname, join } from "node:path";
import { spoolFault } from "./faults.ts";
import type { MailBody } from "./spool.ts";

/** Where the bytes of a large mail are. */
export function largeFile(spoolPath: string, id: string): string {
  return join(spoolPath, "large", `${id}.eml`);
}

/** A file is written below `incoming` first and renamed when whole. Faults: SPOOL_FULL, SPOOL_BROKEN. */
export function createBody(
  spool: { readonly path: string; readonly inlineSize: number },
  id: string,
): MailBody {
  const path = largeFile(spool.path, id);
  const partial = join(spool.path, "incoming", `${id}.part`);
  const hash = new Bun.CryptoHasher("sha256");
  let chunks: Uint8Array[] = [];
  let size = 0;
  let file: FileHandle | null = null;

  const writeAll = async (handle: FileHandle, bytes: Uint8Array) => {
    let offset = 0;
    while (offset < bytes.length) {
      const { bytesWritten } = await handle.write(bytes, offset, bytes.length - offset);
      offset += bytesWritten;
    }
  };

  return {
    write: async (chunk) => {
      hash.update(chunk);
      size += chunk.length;
      try {
        if (file !== null) {
          await writeAll(file, chunk);
          return;
        }
        chunks.push(chunk);
        if (size <= spool.inlineSize) return;
        file = await open(partial, "wx", 0o600);
        for (const waiting of chunks) await writeAll(file, waiting);
        chunks = [];
      } catch (thrown) {
        throw spoolFault(thrown, "write the mail to disk");
      }
    },
    finish: async () => {
      const sha256 = hash.digest("hex");
      if (file === null) return { size, sha256, raw: { kind: "inline", bytes: Buffer.concat(chunks) } };
      try {
        await file.sync();
        await file.close();
        file = null;
        await rename(partial, path);
        const folder = await open(dirname(path), "r");
        try {
          await folder.sync();
        } finally {
          await folder.close();
        }
        return { size, sha256, raw: { kind: "file", path } };
      } catch (thrown) {
        throw spoolFault(thrown, "flush the mail to disk");
      }
    },
    abort: async () => {
      chunks = [];
      await file?.close();
      file = null;
      for (const left of [partial, path]) await unlink(left).catch(ignoreMissing);
    },
  };
}

export function ignoreMissing(thrown: unknown): void {
  if (!(thrown instanceof Error && "code" in thrown && thrown.code === "ENOENT")) throw thrown;
}
