import { afterEach, describe, expect, test } from "bun:test";
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { SensorError } from "../../../src/errors.ts";
import {
  createExtractPool,
  type ExtractPool,
  type ExtractPoolOptions,
  waitedForProcessor,
} from "../../../src/extract/pool.ts";
import { createLog, type Log } from "../../../src/log.ts";
import { until } from "../../until.ts";
import { attached, BOUNDS, extractionOf, multipart, sha256 } from "./mails.ts";

const opened: ExtractPool[] = [];
const folders: string[] = [];
afterEach(async () => {
  await Promise.all(opened.splice(0).map((pool) => pool.close()));
  for (const folder of folders.splice(0)) rmSync(folder, { recursive: true });
});

const OPTIONS = { ...BOUNDS, helpers: 1, timeout: 20_000, memory: 512 * 1024 * 1024 };
const log = createLog("error", () => {});

function pool(options: Partial<ExtractPoolOptions> = {}, to: Log = log): ExtractPool {
  const made = createExtractPool({ ...OPTIONS, ...options }, to);
  opened.push(made);
  return made;
}

const FAKE = new URL("./fake-helper.ts", import.meta.url).pathname;
const fake = (mode: string, options: Partial<ExtractPoolOptions> = {}) =>
  pool({ command: [process.execPath, FAKE, mode], ...options });

const inline = (body: string | Uint8Array) => ({ kind: "inline", bytes: Buffer.from(body) }) as const;

function folder(): string {
  const made = mkdtempSync(join(tmpdir(), "extract-pool-"));
  folders.push(made);
  return made;
}

async function codeOf(work: Promise<unknown>): Promise<string> {
  try {
    await work;
    return "none";
  } catch (thrown) {
    return thrown instanceof SensorError ? thrown.code : String(thrown);
  }
}

describe("a helper of this program", () => {
  const content = Buffer.alloc(100_000, "content");
  const raw = multipart(
    ["Subject: http://a.example/"],
    [attached("a.bin", content), attached("b.bin", "other")],
  );

  test("takes mails apart, in memory or in a file", async () => {
    const path = join(folder(), "mail.eml");
    writeFileSync(path, raw);
    const expected = await extractionOf(raw);
    const helpers = pool();
    expect(await helpers.extract(inline(raw))).toEqual(expected);
    expect(await helpers.extract({ kind: "file", path })).toEqual(expected);
    expect(helpers.stats()).toEqual({
      ...{ helpers: 1, busy: 0, slow: 0, waiting: 0 },
      ...{ done: 2, failed: 0, killed: 0 },
    });
  });

  test("writes one content of a mail to a file only its owner can read", async () => {
    const helpers = pool();
    const path = join(folder(), "content");
    expect(await helpers.writeContent(inline(raw), sha256("other"), path)).toBe(true);
    expect(readFileSync(path, "utf8")).toBe("other");
    expect(statSync(path).mode & 0o777).toBe(0o600);
    expect(await helpers.writeContent(inline(raw), sha256(content), path)).toBe(true);
    expect(readFileSync(path).equals(content)).toBe(true);
  });

  test("leaves no file where the mail has no such content", async () => {
    const made = folder();
    expect(await pool().writeContent(inline(raw), sha256("absent"), join(made, "content"))).toBe(false);
    expect(readdirSync(made)).toEqual([]);
  });

  test("writes every content to a folder where it is asked to", async () => {
    const made = folder();
    await pool().extract(inline(raw), { contentsTo: made });
    expect(readdirSync(made).sort()).toEqual([sha256(content), sha256("other")].sort());
  });

  test("says what it could not read", async () => {
    const helpers = pool();
    expect(await codeOf(helpers.extract({ kind: "file", path: "/nonexistent/mail" }))).toBe("EXTRACT_FAILED");
    expect(await codeOf(helpers.writeContent(inline(raw), sha256("other"), "/nonexistent/content"))).toBe(
      "EXTRACT_FAILED",
    );
    expect((await helpers.extract(inline(raw))).complete).toBe(true);
  });

  test("has no environment, no open files of its parent, low priority, and dies with the pool", async () => {
    const path = join(folder(), "open");
    writeFileSync(path, "secret");
    const kept = Bun.file(path).stream().getReader();
    await kept.read();
    const helpers = pool();
    await helpers.extract(inline(raw));
    const children = readdirSync("/proc").filter((pid) => {
      if (!/^\d+$/.test(pid) || !existsSync(`/proc/${pid}/stat`)) return false;
      return (
        readFileSync(`/proc/${pid}/stat`, "latin1").split(") ")[1]?.split(" ")[1] === String(process.pid)
      );
    });
    const [child] = children.filter((pid) =>
      readFileSync(`/proc/${pid}/cmdline`, "latin1").includes("extract-helper"),
    );
    if (child === undefined) throw new Error("no helper is running");
    expect(readFileSync(`/proc/${child}/environ`, "latin1")).toBe("");
    const nice = readFileSync(`/proc/${child}/stat`, "latin1").split(") ")[1]?.split(" ")[16];
    expect(Number(nice)).toBeGreaterThan(0);
    const files = readdirSync(`/proc/${child}/fd`).length;
    expect(files).toBeLessThan(16);
    await helpers.close();
    expect(existsSync(`/proc/${child}/exe`)).toBe(false);
    await kept.cancel();
  });
});

describe("a helper that does harm", () => {
  test.each<[string, string]>([
    ["crashes", "EXTRACT_CRASHED"],
    ["garbage", "EXTRACT_CRASHED"],
    ["other-json", "EXTRACT_CRASHED"],
    ["too-much", "EXTRACT_CRASHED"],
    ["wrong-kind", "EXTRACT_CRASHED"],
    ["fails", "EXTRACT_FAILED"],
  ])("and %s costs its mail alone: %s", async (mode, code) => {
    const helpers = fake(mode);
    const [before, harm, after] = await Promise.allSettled([
      helpers.extract(inline("before")),
      helpers.extract(inline("harm")),
      helpers.extract(inline("after")),
    ]);
    expect(before.status).toBe("fulfilled");
    expect(harm.status === "rejected" && harm.reason.code).toBe(code);
    expect(after.status === "fulfilled" && after.value.mail.subject).toBe("after");
    expect(helpers.stats().killed).toBe(mode === "fails" ? 0 : 1);
  });

  test.each(["hangs", "sleeps"])("and %s is killed after the time a mail may take", async (mode) => {
    const helpers = fake(mode, { timeout: 1500 });
    expect(await codeOf(helpers.extract(inline("harm")))).toBe("EXTRACT_TIMEOUT");
    expect((await helpers.extract(inline("after"))).mail.subject).toBe("after");
    expect(helpers.stats()).toMatchObject({ done: 1, failed: 1, killed: 1 });
  });

  test("and grows is killed at the memory a helper may have", async () => {
    const helpers = fake("grows", { memory: 200 * 1024 * 1024 });
    expect(await codeOf(helpers.extract(inline("harm")))).toBe("EXTRACT_MEMORY");
    expect((await helpers.extract(inline("after"))).mail.subject).toBe("after");
  });

  test("and answers twice is not believed the second time", async () => {
    const helpers = fake("answers-twice");
    expect(await codeOf(helpers.extract(inline("harm")))).toStartWith("EXTRACT_");
    expect((await helpers.extract(inline("after"))).mail.subject).toBe("after");
  });

  test.each(["hangs", "sleeps", "grows", "crashes", "garbage", "too-much", "answers-twice"])(
    "and %s costs no mail beside it, however many there are of them",
    async (mode) => {
      // Long enough that on a busy machine no ordinary mail comes near it.
      const timeout = mode === "hangs" || mode === "sleeps" ? 2500 : 60_000;
      const helpers = fake(mode, { helpers: 2, timeout, slowAfter: 100, memory: 160 * 1024 * 1024 });
      const bodies = Array.from({ length: 20 }, (_, n) => (n % 8 === 3 ? `harm ${n}` : `mail ${n}`));
      const results = await Promise.allSettled(bodies.map((body) => helpers.extract(inline(body))));
      for (const [n, body] of bodies.entries()) {
        const result = results[n];
        const subject = result?.status === "fulfilled" ? result.value.mail.subject : null;
        if (!body.startsWith("harm")) expect(subject).toBe(body);
        else if (result?.status === "rejected") expect(result.reason.code).toStartWith("EXTRACT_");
        else expect(mode).toBe("answers-twice");
      }
      expect(helpers.stats()).toMatchObject({ busy: 0, slow: 0, waiting: 0 });
    },
  );

  test("and cannot start is not the fault of a mail", async () => {
    for (const helpers of [
      fake("dies-at-once"),
      fake("wrong-hello"),
      pool({ command: ["/nonexistent/program"] }),
    ]) {
      expect(await codeOf(helpers.extract(inline("x")))).toBe("EXTRACT_UNAVAILABLE");
      expect(helpers.stats()).toMatchObject({ busy: 0, failed: 0 });
    }
  });
});

describe("the pool", () => {
  test("says once that the kernel does not isolate its helpers, and works", async () => {
    const lines: string[] = [];
    const helpers = pool(
      { command: [process.execPath, FAKE, "not-isolated"], helpers: 2 },
      createLog("warn", (line) => lines.push(line)),
    );
    await Promise.all(["1", "2", "3"].map((body) => helpers.extract(inline(body))));
    expect(lines.filter((line) => line.includes("seccomp"))).toHaveLength(1);
  });

  test("keeps a helper while there is work, and stops it when there is none for a while", async () => {
    const helpers = fake("", { idleAfter: 150 });
    const pids = new Set<string | null>();
    for (const body of ["1", "2", "3"]) pids.add((await helpers.extract(inline(body))).mail.message_id);
    expect(pids.size).toBe(1);
    await until(() => helpers.stats().helpers === 0, "the end of the helper");
    expect(pids.has((await helpers.extract(inline("4"))).mail.message_id)).toBe(false);
  });

  test("starts no more helpers than it may, and takes mails in their order", async () => {
    const helpers = fake("", { helpers: 2 });
    const order: string[] = [];
    let most = 0;
    await Promise.all(
      Array.from({ length: 12 }, async (_, index) => {
        const { mail } = await helpers.extract(inline(`${index}`));
        order.push(mail.subject ?? "");
        most = Math.max(most, helpers.stats().helpers);
      }),
    );
    expect(most).toBeLessThanOrEqual(2);
    expect(order.toSorted((a, b) => Number(a) - Number(b))).toEqual(
      Array.from({ length: 12 }, (_, i) => `${i}`),
    );
  });

  test("lets mails that take long wait for each other, not the ones that do not", async () => {
    const helpers = fake("sleeps", { helpers: 1, timeout: 5000, slowAfter: 200 });
    const order: string[] = [];
    const begun: string[] = [];
    const one = (body: string) =>
      helpers
        .extract(inline(body), { begun: () => begun.push(body) })
        .then(() => order.push(body))
        .catch((fault: SensorError) => order.push(`${body} ${fault.code}`));
    const bodies = ["harm 1", "harm 2", "1", "2", "3"];
    const work = bodies.map(one);
    await until(() => order.length >= 3, "three mails taken apart");
    expect(order).toEqual(["1", "2", "3"]);
    expect(helpers.stats()).toMatchObject({ busy: 1, slow: 1, waiting: 1 });
    await Promise.all(work);
    expect(order.slice(3)).toEqual(["harm 1", "harm 2"].map((body) => `${body} EXTRACT_TIMEOUT`));
    // What counts the tries of a mail is told of each once.
    expect(begun.toSorted()).toEqual(bodies.toSorted());
    expect(helpers.stats()).toMatchObject({ busy: 0, slow: 0, waiting: 0, done: 3, failed: 2 });
  });

  test("bug: on a busy machine a helper that got no processor was killed as if its mail took long", async () => {
    const helpers = fake("sleeps", {
      helpers: 1,
      timeout: 500,
      slowAfter: 100,
      waitedForCpu: () => performance.now(),
    });
    const begin = performance.now();
    const [harm, waits] = [codeOf(helpers.extract(inline("harm"))), codeOf(helpers.extract(inline("1")))];
    await until(() => performance.now() - begin > 1000, "twice the time of a mail");
    expect(helpers.stats()).toMatchObject({ busy: 1, slow: 0, waiting: 1, failed: 0 });
    // In bounds all the same.
    expect([await harm, await waits]).toEqual(["EXTRACT_TIMEOUT", "none"]);
    expect(helpers.stats()).toMatchObject({ slow: 0, done: 1, failed: 1, killed: 1 });
  });

  test("what a process waits for a processor is what the kernel says, and nothing where it is gone", async () => {
    const before = waitedForProcessor(process.pid);
    expect(before).toBeGreaterThanOrEqual(0);
    await Bun.sleep(10);
    expect(waitedForProcessor(process.pid)).toBeGreaterThanOrEqual(before);
    expect(waitedForProcessor(2 ** 22 + 1)).toBe(0);
  });

  test("calls off a mail that takes long while it waits again, and fails it when it is closed", async () => {
    const helpers = fake("sleeps", { helpers: 1, slowAfter: 100 });
    const called = new AbortController();
    const work = ["harm 1", "harm 2", "harm 3", "short"].map((body) =>
      codeOf(helpers.extract(inline(body), body === "harm 2" ? { signal: called.signal } : {})),
    );
    expect(await work[3]).toBe("none");
    expect(helpers.stats()).toMatchObject({ slow: 1, waiting: 2 });
    called.abort(new Error("called off"));
    expect(await work[1]).toBe("Error: called off");
    await helpers.close();
    expect([await work[0], await work[2]]).toEqual(["EXTRACT_UNAVAILABLE", "EXTRACT_UNAVAILABLE"]);
    expect(helpers.stats()).toMatchObject({ helpers: 0, busy: 0, slow: 0, waiting: 0 });
  });

  test("lets a mail take its time where none waits", async () => {
    const helpers = fake("sleeps", { helpers: 1, timeout: 600, slowAfter: 50 });
    expect(await codeOf(helpers.extract(inline("harm")))).toBe("EXTRACT_TIMEOUT");
    expect(helpers.stats()).toMatchObject({ slow: 0, failed: 1, killed: 1 });
  });

  test("lets a content be written before all mails that wait are taken apart", async () => {
    const helpers = fake("");
    const order: string[] = [];
    const work = Array.from({ length: 6 }, (_, index) =>
      helpers.extract(inline(`${index}`)).then(() => order.push("extract")),
    );
    // The fake helper answers every request as if it were an extraction: that it answers is what counts.
    const written = codeOf(helpers.writeContent(inline("w"), sha256("w"), "/nonexistent")).then(() =>
      order.push("write"),
    );
    await Promise.all([...work, written]);
    expect(order.indexOf("write")).toBeLessThan(3);
  });

  test("refuses more mails than may wait", async () => {
    const helpers = fake("", { maxWaiting: 2 });
    const codes = await Promise.all(
      ["1", "2", "3", "4"].map((body) => codeOf(helpers.extract(inline(body)))),
    );
    expect(codes).toEqual(["none", "none", "none", "EXTRACT_UNAVAILABLE"]);
  });

  test("calls a mail off, whether it waits or is in work", async () => {
    const helpers = fake("sleeps");
    const called = new AbortController();
    let begun = false;
    const begin = () => {
      begun = true;
    };
    const inWork = codeOf(helpers.extract(inline("harm"), { signal: called.signal, begun: begin }));
    const waits = codeOf(helpers.extract(inline("waits"), { signal: called.signal }));
    const stays = helpers.extract(inline("stays"));
    await until(() => begun, "the begin of the work");
    called.abort(new Error("called off"));
    expect(await Promise.all([inWork, waits])).toEqual(["Error: called off", "Error: called off"]);
    expect((await stays).mail.subject).toBe("stays");
    expect(await codeOf(helpers.extract(inline("late"), { signal: called.signal }))).toBe(
      "Error: called off",
    );
  });

  test("fails what is in work when it is closed, and takes nothing more", async () => {
    const helpers = fake("sleeps");
    let begun = false;
    const begin = () => {
      begun = true;
    };
    const work = ["harm", "waits"].map((body) => codeOf(helpers.extract(inline(body), { begun: begin })));
    await until(() => begun, "the begin of the work");
    await helpers.close();
    expect(await Promise.all(work)).toEqual(["EXTRACT_UNAVAILABLE", "EXTRACT_UNAVAILABLE"]);
    expect(await codeOf(helpers.extract(inline("x")))).toBe("EXTRACT_UNAVAILABLE");
    expect(helpers.stats()).toMatchObject({ helpers: 0, busy: 0, waiting: 0 });
  });
});
