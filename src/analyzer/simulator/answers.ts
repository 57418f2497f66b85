/** Answers of the simulator: the envelope of the API, its errors, and what a fault makes of an answer. */
import type { FaultRule } from "./scenario.ts";

/** An answer before it is sent; the text can still be spoilt. */
export type Reply = {
  readonly status: number;
  readonly text: string;
  readonly headers: Readonly<Record<string, string>>;
};

const JSON_HEADERS = {
  "content-type": "application/json",
  "x-content-type-options": "nosniff",
  "cache-control": "no-store",
  server: "email-sensor analyzer simulator",
};
const HTML_HEADERS = { "content-type": "text/html" };
const OVERSIZED = 64 * 1024 ** 2;
const CHUNK = " ".repeat(64 * 1024);

export function jsonReply(
  status: number,
  body: object,
  headers: Readonly<Record<string, string>> = {},
): Reply {
  return { status, text: JSON.stringify(body), headers: { ...JSON_HEADERS, ...headers } };
}

export function errorReply(
  status: number,
  message: string,
  headers?: Readonly<Record<string, string>>,
): Reply {
  return jsonReply(status, { error_msg: message, result: "error" }, headers);
}

/** Too many calls; `seconds` undefined leaves Retry-After out. */
export function throttledReply(seconds: number | undefined): Reply {
  return seconds === undefined
    ? errorReply(429, "Request was throttled.")
    : errorReply(429, `Request was throttled. Expected available in ${seconds} seconds.`, {
        "retry-after": String(seconds),
      });
}

/** What stands in front of the API answers 5xx in HTML, so a client has to cope with it. */
export function failedReply(status: number, retryAfter?: number): Reply {
  if (status === 429) return throttledReply(retryAfter);
  const headers = retryAfter === undefined ? {} : { "retry-after": String(retryAfter) };
  if (status === 401) return errorReply(401, "Invalid API key", headers);
  if (status === 403) return errorReply(403, "Permission denied", headers);
  if (status < 500) return errorReply(status, `The simulator was told to answer ${status}.`, headers);
  return {
    status,
    text: `<html><body><h1>${status}</h1><p>The simulator was told to fail.</p></body></html>`,
    headers: { ...HTML_HEADERS, ...headers },
  };
}

/** A fault that needs no answer of the API: nothing of the call is done. Undefined for the others. */
export function replyInstead(fault: FaultRule): Reply | "reset" | undefined {
  if (fault.fault === "reset_before") return "reset";
  if (fault.when === "after") return undefined;
  if (fault.fault === "status") return failedReply(fault.status ?? 500, fault.retry_after);
  return fault.fault === "html" ? portalPage(fault.status) : undefined;
}

/** A proxy that wants a login first, or, with an error as its status, will not pass the call on: no JSON. */
const portalPage = (status = 200): Reply => ({
  status,
  text: "<!doctype html><html><head><title>Sign in</title></head><body><form>Please sign in.</form></body></html>",
  headers: HTML_HEADERS,
});

/** The response for an answer of the API that a fault spoils. Waits for a slow one. */
export async function spoiltResponse(reply: Reply, fault: FaultRule): Promise<Response> {
  switch (fault.fault) {
    case "reset_before":
    case "reset_after":
    case "late":
      return resetResponse();
    case "status":
      return responseOf(failedReply(fault.status ?? 500, fault.retry_after));
    case "html":
      return responseOf(portalPage(fault.status));
    case "slow":
      await Bun.sleep(fault.delay ?? 0);
      return responseOf(reply);
    case "truncated":
      return brokenResponse(reply);
    case "oversized":
      return paddedResponse(reply, fault.size ?? OVERSIZED);
    case "wrong_json":
      return responseOf({ ...reply, text: reply.text.slice(0, Math.floor(reply.text.length / 2)) });
  }
}

export const responseOf = ({ status, text, headers }: Reply): Response =>
  new Response(text, { status, headers });

/** The connection ends without an answer. */
export function resetResponse(): Response {
  // A stream that fails before its first byte makes the server drop the connection; no reason, so that no line is logged.
  return new Response(new ReadableStream({ start: (controller) => controller.error() }));
}

/** The connection ends in the middle of the body. */
function brokenResponse({ status, text, headers }: Reply): Response {
  const half = new TextEncoder().encode(text.slice(0, Math.max(1, Math.floor(text.length / 2))));
  let sent = false;
  const body = new ReadableStream({
    async pull(controller) {
      if (!sent) {
        sent = true;
        controller.enqueue(half);
        return;
      }
      // The first half has to be on its way before the connection ends.
      await Bun.sleep(20);
      controller.error();
    },
  });
  return new Response(body, { status, headers });
}

/** The same JSON, with spaces behind it up to a size in bytes. */
function paddedResponse({ status, text, headers }: Reply, size: number): Response {
  let left = size - text.length;
  let first = true;
  const body = new ReadableStream({
    pull(controller) {
      if (first) {
        first = false;
        controller.enqueue(new TextEncoder().encode(text));
      } else if (left <= 0) {
        controller.close();
      } else {
        controller.enqueue(new TextEncoder().encode(CHUNK.slice(0, left)));
        left -= CHUNK.length;
      }
    },
  });
  return new Response(body, { status, headers });
}
