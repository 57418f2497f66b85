/** A simulator over HTTP for tests: with a clock that stands until the test moves it, and a client that has the key. */
import { afterEach } from "bun:test";
import {
  type Simulator,
  type SimulatorOptions,
  startSimulator,
} from "../../../src/analyzer/simulator/simulator.ts";

export const KEY = "test-key";
const running: Simulator[] = [];
afterEach(async () => {
  await Promise.all(running.splice(0).map((simulator) => simulator.stop()));
});

export type Fields = Readonly<Record<string, unknown>>;
export type Reply = {
  readonly status: number;
  readonly headers: Headers;
  readonly text: string;
  readonly body: Fields;
  /** `data` as one object, and as a list. */
  readonly data: Fields;
  readonly list: readonly Fields[];
};

/** A simulator whose clock stands until the test moves it, and a client that has the key. */
export async function start(options: Partial<SimulatorOptions> = {}) {
  const clock = { now: Date.UTC(2026, 0, 2, 3, 4, 5, 600) };
  const simulator = await startSimulator({
    apiKey: KEY,
    queuedMs: 1000,
    inWorkMs: 3000,
    now: () => clock.now,
    ...options,
  });
  running.push(simulator);

  async function call(path: string, init: RequestInit = {}): Promise<Reply> {
    const response = await fetch(simulator.url + path, {
      headers: { authorization: `api_key ${KEY}` },
      ...init,
    });
    const text = await response.text();
    const isJson = response.headers.get("content-type") === "application/json";
    const body: Fields = isJson ? JSON.parse(text) : {};
    return {
      status: response.status,
      headers: response.headers,
      text,
      body,
      data: (body.data ?? {}) as Fields,
      list: (body.data ?? []) as readonly Fields[],
    };
  }

  function submit(
    content: string | Uint8Array<ArrayBuffer>,
    fields: Readonly<Record<string, string>> = {},
    name = "a.txt",
  ) {
    const form = new FormData();
    form.append("sample_file", new Blob([content]), name);
    for (const [field, value] of Object.entries(fields)) form.append(field, value);
    return call("/rest/sample/submit", { method: "POST", body: form });
  }

  function submitUrl(url: string, fields: Readonly<Record<string, string>> = {}) {
    const form = new FormData();
    form.append("sample_url", url);
    for (const [field, value] of Object.entries(fields)) form.append(field, value);
    return call("/rest/sample/submit", { method: "POST", body: form });
  }

  return { simulator, clock, call, submit, submitUrl };
}

export const first = (reply: Reply, list: string): Fields => (reply.data[list] as readonly Fields[])[0] ?? {};
export const submissionId = (reply: Reply): number => Number(first(reply, "submissions").submission_id);
export const sampleId = (reply: Reply): number => Number(first(reply, "samples").sample_id);
export const sha256 = (content: string): string =>
  new Bun.CryptoHasher("sha256").update(content).digest("hex");
