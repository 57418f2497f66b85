/**
 * Sends one content to VMRay: a file is taken out of its mail into a temporary file and streamed, a URL is sent as text.
 *
 * `begin` is awaited after everything is ready and before the first byte goes out: there the caller commits that the
 * submission may have been sent. Throws the VmrayError of the call, SPOOL_FULL where the disk is, else INTERNAL.
 */
import { chmodSync, mkdirSync, readdirSync, rmSync } from "node:fs";
import { open, rm, stat } from "node:fs/promises";
import { join } from "node:path";
import { SensorError } from "../errors.ts";
import { extensionOf } from "../extract/file-type.ts";
import type { AnalysisJob, Instead } from "../spool/spool.ts";
import { groupOf } from "../triage/groups.ts";
import type { SubmitReply, VmrayClient } from "./client.ts";
import { howSubmitted } from "./steps.ts";
import { VmrayError } from "./vmray-error.ts";

export type SenderOptions = {
  readonly client: VmrayClient;
  /** Writes the attachment with this SHA-256 out of the mail into the existing file; false where it is gone. */
  readonly writeContent: (mailId: string, sha256: string, toPath: string) => Promise<boolean>;
  /** A folder of the analyzer alone, for contents on their way. */
  readonly tempDir: string;
};

/** Null where the mail no longer has the content. `instead`: what is sent in place of what the policy wants. */
export type Sender = (
  job: AnalysisJob,
  instead: Instead | null,
  begin: () => Promise<void>,
  signal: AbortSignal,
) => Promise<SubmitReply | null>;

const TEMP_NAME = /^content-[0-9a-f]{64}-\d{1,15}$/;

/** Makes the folder, for us alone, and removes what a crash left in it. Throws SPOOL_BROKEN. */
export function createSender({ client, writeContent, tempDir }: SenderOptions): Sender {
  let sequence = 0;
  prepareTempDir(tempDir);

  async function sendFile(
    job: AnalysisJob,
    instead: Instead | null,
    begin: () => Promise<void>,
    signal: AbortSignal,
  ) {
    if (job.artifact.kind !== "attachment") throw new SensorError("INTERNAL", "only files are uploaded");
    const { sha256, size, filename, type, password: value } = job.artifact.attachment;
    const isDocument = groupOf(type, extensionOf(filename)) === "documents";
    const password =
      value === null ? undefined : ({ of: isDocument ? "document" : "archive", value } as const);
    sequence += 1;
    const path = join(tempDir, `content-${sha256}-${sequence}`);
    try {
      await (await open(path, "wx", 0o600)).close();
      if (!(await writeContent(job.mailId, sha256, path))) return null;
      const written = (await stat(path)).size;
      if (written !== size) {
        throw new SensorError("INTERNAL", `a content of ${size} bytes came out of the mail with ${written}`);
      }
      await begin();
      return await client.submitFile(
        { ...howSubmitted(job, instead), path, size, filename, password },
        signal,
      );
    } catch (thrown) {
      throw diskFault(thrown);
    } finally {
      await rm(path, { force: true });
    }
  }

  return async (job, instead, begin, signal) => {
    if (job.artifact.kind !== "url") return sendFile(job, instead, begin, signal);
    await begin();
    return client.submitUrl({ ...howSubmitted(job, instead), url: job.artifact.url.normalized }, signal);
  };
}

/** The connection never stood, so nothing was sent. */
const NOT_CONNECTED = /^(ECONNREFUSED|ENOTFOUND|EHOSTUNREACH|ENETUNREACH)$/;
/** A gateway gave up waiting for VMRay, which may have it or get it. */
const GATEWAY_STATUS: ReadonlySet<number> = new Set([408, 502, 504, 520, 522, 524]);

/**
 * True where VMRay may still get a submission that ended with this fault: what lies between may hold it and pass it on
 * after the sensor went. False where VMRay or a gateway said that it does not take it.
 */
export function mayStillArrive(fault: unknown): boolean {
  if (!(fault instanceof VmrayError)) return true;
  if (fault.code === "VMRAY_ANSWER") return fault.status === null || fault.status < 300;
  if (fault.code !== "VMRAY_UNREACHABLE") return false;
  if (fault.status !== null) return GATEWAY_STATUS.has(fault.status);
  const { cause } = fault;
  return !(cause instanceof Error && "code" in cause && NOT_CONNECTED.test(String(cause.code)));
}

function diskFault(thrown: unknown): unknown {
  const code = thrown instanceof Error && "code" in thrown ? thrown.code : undefined;
  return code === "ENOSPC" || code === "EDQUOT"
    ? new SensorError("SPOOL_FULL", "no room for a content on its way to VMRay", { cause: thrown })
    : thrown;
}

function prepareTempDir(path: string): void {
  try {
    mkdirSync(path, { recursive: true, mode: 0o700 });
    chmodSync(path, 0o700);
    for (const name of readdirSync(path)) {
      if (TEMP_NAME.test(name)) rmSync(join(path, name), { force: true });
    }
  } catch (cause) {
    throw new SensorError("SPOOL_BROKEN", `the folder ${path} cannot be used for contents on their way`, {
      cause,
    });
  }
}
