/** A VMRay of canned answers, behind the real client. */
import { afterEach } from "bun:test";
import { createVmrayClient, type VmrayClient } from "../../../src/analyzer/client.ts";
import type { AnalysisJob } from "../../../src/spool/spool.ts";
import type { PlannedArtifact } from "../../../src/triage/plan.ts";
import { DIRECT, KEY, SUBMIT_DEFAULTS } from "./harness.ts";

/** A status, the whole answer, or what to make of the path; everything else is the data of an envelope. */
export type Canned = number | Raw | ((path: string) => Canned) | object | null;

const undo: (() => unknown)[] = [];
afterEach(async () => {
  for (const step of undo.splice(0)) await step();
});

class Raw {
  constructor(
    readonly body: string,
    readonly status: number,
    readonly headers: Readonly<Record<string, string>>,
  ) {}
}

/** An answer without an envelope around it. */
export function raw(body: unknown, status = 200, headers: Readonly<Record<string, string>> = {}): Raw {
  return new Raw(typeof body === "string" ? body : JSON.stringify(body), status, headers);
}

function responseOf(canned: Canned | undefined, path: string): Response {
  if (typeof canned === "function") return responseOf(canned(path), path);
  if (canned instanceof Raw)
    return new Response(canned.body, { status: canned.status, headers: canned.headers });
  if (canned === undefined || typeof canned === "number") {
    return Response.json({ result: "error", error_msg: "no" }, { status: canned ?? 404 });
  }
  return Response.json({ result: "ok", data: canned });
}

/** `answers` by path; a name that ends in a slash is for every path below it. What is not there is 404. */
export function vmray(answers: Readonly<Record<string, Canned>>): {
  readonly client: VmrayClient;
  /** Paths asked for, with their queries. */
  readonly asked: readonly string[];
} {
  const asked: string[] = [];
  const server = Bun.serve({
    port: 0,
    hostname: "127.0.0.1",
    fetch(request) {
      const { pathname, search } = new URL(request.url);
      asked.push(`${pathname}${search}`);
      const folder = Object.keys(answers).find((name) => name.endsWith("/") && pathname.startsWith(name));
      return responseOf(answers[pathname] ?? (folder === undefined ? undefined : answers[folder]), pathname);
    },
  });
  undo.push(() => server.stop(true));
  const client = createVmrayClient(
    {
      ...SUBMIT_DEFAULTS,
      url: `http://127.0.0.1:${server.port}`,
      ...DIRECT,
      request_timeout: 1000,
      upload_timeout: 1000,
    },
    KEY,
  );
  return { client, asked };
}

export const SUBMIT = "/rest/sample/submit";
export const send = (client: VmrayClient) =>
  client.submitUrl({ url: "http://a.example/", action: "dynamic", correlation: "c" });

/** An analysis of this content, as the spool hands it out. */
export function job(artifact: PlannedArtifact): AnalysisJob {
  return {
    key: "dynamic:test",
    lane: "look",
    mailId: "0".repeat(26),
    artifact,
    priority: 0,
    turn: 0,
    progress: { state: "queued" },
    faults: 0,
    createdAt: 0,
    nextAt: 0,
  };
}
