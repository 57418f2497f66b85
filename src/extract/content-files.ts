/**
 * Writes contents of attachments to files while a mail is taken apart.
 *
 * In go the bytes from takeApart, out come files of mode 0600 named by the caller, never by the mail. A fault of
 * the file system is thrown; a file that is not whole is not left behind under its final name.
 */
import {
  closeSync,
  constants,
  fchmodSync,
  ftruncateSync,
  openSync,
  renameSync,
  unlinkSync,
  writeSync,
} from "node:fs";
import { join } from "node:path";
import type { ContentSink } from "./take-apart.ts";

type ContentFile = { readonly sink: ContentSink; readonly close: () => void };

/** The one content whose SHA-256 (hex) is `sha256`, as `path`; `found` tells whether the mail has it. */
export function oneContentFile(
  path: string,
  sha256: string,
): ContentFile & { readonly found: () => boolean } {
  const file = createFile(path);
  let found = false;
  return {
    sink: {
      begin: file.empty,
      write: file.write,
      drop: file.empty,
      keep(read) {
        found = read === sha256;
        return found ? "enough" : "more";
      },
    },
    found: () => found,
    close() {
      file.close();
      if (!found) unlinkSync(path);
    },
  };
}

/** Every content, as `folder`/SHA256. */
export function everyContentFile(folder: string): ContentFile {
  let file: OpenFile | null = null;
  const path = join(folder, `.part-${process.pid}`);
  const drop = (): void => {
    if (file === null) return;
    file.close();
    file = null;
    unlinkSync(path);
  };
  return {
    sink: {
      begin() {
        file = createFile(path);
      },
      write: (chunk) => file?.write(chunk),
      drop,
      keep(sha256) {
        file?.close();
        file = null;
        renameSync(path, join(folder, sha256));
        return "more";
      },
    },
    close: drop,
  };
}

type OpenFile = {
  readonly write: (chunk: Uint8Array) => void;
  readonly empty: () => void;
  readonly close: () => void;
};

function createFile(path: string): OpenFile {
  const { O_WRONLY, O_CREAT, O_TRUNC, O_NOFOLLOW } = constants;
  const descriptor = openSync(path, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW, 0o600);
  // The mode above is for a new file only.
  fchmodSync(descriptor, 0o600);
  let size = 0;
  return {
    write(chunk) {
      for (let at = 0; at < chunk.length; )
        at += writeSync(descriptor, chunk, at, chunk.length - at, size + at);
      size += chunk.length;
    },
    empty() {
      if (size > 0) ftruncateSync(descriptor, 0);
      size = 0;
    },
    close: () => closeSync(descriptor),
  };
}
