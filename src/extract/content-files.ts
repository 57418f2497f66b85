/**
 * Writes contents of attachments to files while a mail is taken apart.
 *
 * In go the bytes from takeApart, out come files of mode 0600 named by the caller, never by the mail. A fault of
 * the file system is thrown; a file that is not whole is not left behind under its final name.
 */
import { closeSync, constants, fchmodSync, openSync, renameSync, unlinkSync, writeSync } from "node:fs";
import { join } from "node:path";
import type { ContentSink } from "./take-apart.ts";

/** Milliseconds after which nothing more is written. */
const READ_ON = 5_000;

/** Contents that come after one, to be written as `folder`/SHA256, up to this many bytes together. */
export type Following = { readonly folder: string; readonly bytes: number };

/**
 * Writes the content whose SHA-256 (hex) is `sha256` as `path`, and those `following`; ends the reading there. Those
 * are not needed: where they cannot be written, the one is enough.
 */
export function oneContentFile(
  path: string,
  sha256: string,
  following: Following | null,
): { readonly sink: ContentSink; readonly found: () => boolean } {
  let found = false;
  let left = following?.bytes ?? 0;
  let until = 0;
  const next = following === null ? null : everyContentFile(following.folder);
  return {
    sink: (read, bytes) => {
      if (found && next !== null) {
        left -= bytes.length;
        if (left < 0 || performance.now() > until) return "enough";
        try {
          return next(read, bytes);
        } catch {
          return "enough";
        }
      }
      if (read !== sha256) return "more";
      writeFile(path, bytes);
      found = true;
      until = performance.now() + READ_ON;
      return next === null ? "enough" : "more";
    },
    found: () => found,
  };
}

/** Writes every content, as `folder`/SHA256. */
export function everyContentFile(folder: string): ContentSink {
  const written = new Set<string>();
  return (sha256, bytes) => {
    if (!written.has(sha256)) {
      const part = join(folder, `.part-${process.pid}`);
      writeFile(part, bytes);
      renameSync(part, join(folder, sha256));
      written.add(sha256);
    }
    return "more";
  };
}

function writeFile(path: string, bytes: Uint8Array): void {
  const { O_WRONLY, O_CREAT, O_TRUNC, O_NOFOLLOW } = constants;
  const descriptor = openSync(path, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW, 0o600);
  try {
    // The mode above is for a new file only.
    fchmodSync(descriptor, 0o600);
    for (let at = 0; at < bytes.length; ) at += writeSync(descriptor, bytes, at, bytes.length - at, at);
  } catch (thrown) {
    unlinkSync(path);
    throw thrown;
  } finally {
    closeSync(descriptor);
  }
}
