/**
 * The token that opens the control service: metadata `authorization: Bearer TOKEN` on each call.
 *
 * A call without it ends UNAUTHENTICATED before its request is read. Health checks alone need none: probes of
 * orchestrators cannot send one, and they learn no more than whether the sensor serves.
 */
import { createHash, timingSafeEqual } from "node:crypto";
import { readFile } from "node:fs/promises";
import { type Metadata, ServerInterceptingCall, type ServerInterceptor, status } from "@grpc/grpc-js";
import { SensorError } from "../errors.ts";

/** Bytes; shorter ones can be guessed. */
const TOKEN_MIN = 16;
/** Bytes; longer ones do not fit the header every client may send. */
const TOKEN_MAX = 4096;
const OPEN_SERVICES = "/grpc.health.v1.Health/";

function digest(text: string): Buffer {
  return createHash("sha256").update(text).digest();
}

/** The token in a file: its text without white space around it. Throws SensorError CONFIG_INVALID. */
export async function readTokenFile(path: string): Promise<string> {
  let text: string;
  try {
    text = (await readFile(path, "utf8")).trim();
  } catch (thrown) {
    const why = thrown instanceof Error && "code" in thrown ? ` (${String(thrown.code)})` : "";
    throw new SensorError("CONFIG_INVALID", `cannot read the token file ${path}${why}`, { cause: thrown });
  }
  if (text.length < TOKEN_MIN || text.length > TOKEN_MAX || !/^[\x21-\x7E]+$/.test(text)) {
    throw new SensorError(
      "CONFIG_INVALID",
      `the token file ${path} must hold one word of ${TOKEN_MIN} to ${TOKEN_MAX} printable ASCII characters;` +
        " openssl rand -hex 32 makes a good one",
    );
  }
  return text;
}

function shows(metadata: Metadata, expected: Buffer): boolean {
  const values = metadata.get("authorization");
  const value = values.length === 1 ? values[0] : undefined;
  const match = typeof value === "string" ? /^bearer +(\S+) *$/i.exec(value) : null;
  // Digests have one length and say nothing of the token: the comparison takes the same time for all.
  return match?.[1] !== undefined && timingSafeEqual(digest(match[1]), expected);
}

export function requireToken(token: string): ServerInterceptor {
  const expected = digest(token);
  return (method, call) =>
    new ServerInterceptingCall(call, {
      start: (next) =>
        next({
          onReceiveMetadata: (metadata, pass) => {
            if (method.path.startsWith(OPEN_SERVICES) || shows(metadata, expected)) pass(metadata);
            else {
              call.sendStatus({
                code: status.UNAUTHENTICATED,
                details:
                  "the token is missing or wrong; send the content of the sensor's control.token_file" +
                  " as metadata authorization: Bearer TOKEN",
              });
            }
          },
        }),
    });
}
