/**
 * Takes the bytes of one mail as they come: few stay in memory and go into the database with the mail, many
 * go to a file. `finish` resolves after such a file, and its name, are on disk; `abort` leaves nothing behind.
 */
import { type FileHandle, open, rename, unlink } from "node:fs/promises";
import { dirname, join } from "node:path";
import { ignoreMissing } from "../errors.ts";
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

  const toFile = async (chunk: Uint8Array) => {
    try {
      const begun = chunks;
      chunks = [];
      file ??= await open(partial, "wx", 0o600);
      for (const bytes of [...begun, chunk]) await writeAll(file, bytes);
    } catch (thrown) {
      throw spoolFault(thrown, "write the mail to disk");
    }
  };

  return {
    write: (chunk) => {
      hash.update(chunk);
      size += chunk.length;
      if (file === null && size <= spool.inlineSize) {
        chunks.push(chunk);
        return null;
      }
      return toFile(chunk);
    },
    finish: async () => {
      const sha256 = hash.digest("hex");
      if (file === null) return { size, sha256, raw: { kind: "inline", bytes: Buffer.concat(chunks, size) } };
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
