import { Database } from "bun:sqlite";
import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import { mkdirSync, readdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import fc from "fast-check";
import { createLog } from "../../../src/log.ts";
import type { SpoolTopic } from "../../../src/spool/spool.ts";
import {
  attachment,
  extractionOf,
  judged,
  open,
  openInThread,
  someEvent,
  someMail,
  temporaryFolder,
} from "./fixtures.ts";

let folder: ReturnType<typeof temporaryFolder>;
beforeEach(() => {
  folder = temporaryFolder();
});
afterEach(() => folder.remove());

const faultOf = (promise: Promise<unknown>) =>
  promise.then(
    () => ({ code: "none", message: "" }),
    ({ code, message }) => ({ code, message }),
  );

describe("calls to the thread", () => {
  test("are done in the order they were made in, and each gets its own answer", async () => {
    const spool = await openInThread(folder.path);
    const mails = Array.from({ length: 50 }, (_, n) => someMail(`mail ${n}`));
    const finished: number[] = [];
    await Promise.all(mails.map((mail, n) => spool.putMail(mail).then(() => finished.push(n))));
    expect(finished).toEqual(mails.map((_, n) => n));
    const rows = await Promise.all(mails.map(({ id }) => spool.mail(id)));
    expect(rows.map((row) => row?.id)).toEqual(mails.map(({ id }) => id));
    expect((await spool.claimMails(100)).map(({ id }) => id)).toEqual(mails.map(({ id }) => id));
    await spool.close();
  });

  test("fail with the code and the words of the fault, and leave the others alone", async () => {
    const spool = await openInThread(folder.path);
    const mail = someMail();
    await spool.putMail(mail);
    const faults = await Promise.all([spool.putMail(mail), spool.putMail(someMail())].map(faultOf));
    expect(faults).toMatchObject([
      { code: "INTERNAL", message: "write: UNIQUE constraint failed: mails.id" },
      { code: "none" },
    ]);
    expect(await faultOf(spool.cursor("nobody"))).toMatchObject({ code: "INTERNAL" });
    await spool.close();
  });

  test("keep every byte of a mail, and leave the bytes of the caller alone", async () => {
    const spool = await openInThread(folder.path, { inlineSize: 100_000 });
    const pool = new Uint8Array(300_000).map((_, n) => n * 31);
    await fc.assert(
      fc.asyncProperty(fc.nat(200_000), fc.nat(65_536), async (start, length) => {
        const bytes = pool.subarray(start, start + length);
        const mail = someMail("", { body: { kind: "inline", bytes } });
        await spool.putMail(mail);
        expect(bytes.length).toBe(length);
        expect(await spool.rawMail(mail.id)).toEqual({ kind: "inline", bytes: new Uint8Array(bytes) });
      }),
      { numRuns: 50 },
    );
    await spool.close();
  });

  test("are on disk when they are answered", async () => {
    const spool = await openInThread(folder.path);
    const mail = someMail();
    await spool.putMail(mail);
    await spool.recordExtraction(mail.id, extractionOf([attachment("x")]), [attachment("x")]);
    using other = new Database(join(folder.path, "spool.db"), { readonly: true });
    expect(other.query("SELECT id, state FROM mails").all()).toEqual([{ id: mail.id, state: "analysing" }]);
    await spool.close();
  });

  test("wake who waits for their topic, after they are answered, and no one else", async () => {
    const spool = await openInThread(folder.path);
    const woken: (SpoolTopic | "answer")[] = [];
    const stops = (["received", "analyses", "analysed", "events"] as const).map((topic) =>
      spool.subscribe(topic, () => woken.push(topic)),
    );
    const part = attachment("y");
    const mail = someMail();
    await spool.putMail(mail);
    await spool.recordExtraction(mail.id, extractionOf([part]), [part]);
    await spool.finishAnalysis(
      `${(await spool.dueAnalyses(Date.now(), 1, new Set()))[0]?.key}`,
      judged("clean"),
      null,
    );
    await spool.finishMail(mail.id, "clean", true, [], [someEvent()]);
    await Bun.sleep(50);
    expect(woken).toEqual(["received", "analyses", "analysed", "analysed", "events"]);
    for (const stop of stops) stop();
    await spool.putMail(someMail());
    await Bun.sleep(50);
    expect(woken).toHaveLength(5);
    await spool.close();
  });

  test("made before close() are all answered; later ones are refused", async () => {
    const spool = await openInThread(folder.path);
    const mails = Array.from({ length: 2_500 }, () => someMail());
    const writes = mails.map((mail) => faultOf(spool.putMail(mail)));
    const list = spool.mails({ text: "no such subject" }, 10, null);
    const closed = spool.close();
    expect(await faultOf(spool.putMail(someMail()))).toMatchObject({ code: "SPOOL_BROKEN" });
    expect(() => spool.ready()).toThrow("closed");
    await closed;
    expect(new Set((await Promise.all(writes)).map(({ code }) => code))).toEqual(new Set(["none"]));
    expect(await list).toEqual([]);
    const again = await open(folder.path);
    expect((await again.counts()).states.received).toBe(mails.length);
    await again.close();
  });
});

describe("the thread", () => {
  test("says what it logs through the log of the sensor, in order", async () => {
    const lines: { level: string; msg: string }[] = [];
    const log = createLog("debug", (line) => lines.push(JSON.parse(line)), { stage: "spool" });
    const spool = await openInThread(folder.path, {}, log);
    writeFileSync(join(folder.path, "spool.db"), new Uint8Array(100_000));
    expect(await faultOf(Bun.sleep(600).then(() => spool.putMail(someMail())))).toMatchObject({
      code: "SPOOL_BROKEN",
    });
    expect(lines).toMatchObject([
      { level: "error", stage: "spool", msg: "the spool database cannot be used", code: "SPOOL_BROKEN" },
    ]);
    await spool.close();
  });

  test("notes a mail that goes into a parser at once, and erases the note with the outcome", async () => {
    const spool = await openInThread(folder.path);
    const notes = () => readdirSync(join(folder.path, "parsing"));
    const [one, two, three] = [someMail(), someMail(), someMail()];
    for (const mail of [one, two, three]) await spool.putMail(mail);
    await spool.claimMails(3);
    for (const { id } of [one, two, three]) spool.noteParsing(id);
    expect(notes().sort()).toEqual([one.id, two.id, three.id].sort());
    await spool.recordExtraction(one.id, extractionOf([]), []);
    await spool.recordExtractionFault(two.id, "EXTRACT_CRASHED", 0);
    expect(notes()).toEqual([three.id]);
    spool.giveBackMail(three.id);
    expect(notes()).toEqual([]);
    expect((await spool.claimMails(3)).map(({ id }) => id)).toEqual([two.id, three.id]);
    await spool.close();
  });

  test("that cannot open the spool says why", async () => {
    writeFileSync(join(folder.path, "spool.db"), new Uint8Array(100_000).fill(7));
    expect(await faultOf(openInThread(folder.path))).toMatchObject({ code: "SPOOL_BROKEN" });
    expect(await faultOf(openInThread(join(folder.path, "spool.db", "under-a-file")))).toMatchObject({
      code: "SPOOL_BROKEN",
    });
  });
});

/** Calls `use` with the thread that `start` starts. */
async function catchThread<T>(start: () => Promise<T>): Promise<[T, Worker]> {
  const Real = globalThis.Worker;
  const made: Worker[] = [];
  globalThis.Worker = class extends Real {
    constructor(...args: ConstructorParameters<typeof Real>) {
      super(...args);
      made.push(this);
    }
  };
  try {
    const result = await start();
    const [thread] = made;
    if (thread === undefined) throw new Error("no thread was started");
    return [result, thread];
  } finally {
    globalThis.Worker = Real;
  }
}

describe("a thread that dies", () => {
  const DEATHS = [
    ["killed", "it ended", (thread: Worker) => thread.terminate()],
    [
      "by a fault outside a call",
      "TypeError: ",
      (thread: Worker) => thread.postMessage([[1, "noSuchMethod", []]]),
    ],
  ] as const;

  test.each(DEATHS)("%s fails every call and says so", async (_how, why, kill) => {
    const [spool, thread] = await catchThread(() => openInThread(folder.path));
    const stored = someMail();
    await spool.putMail(stored);
    const waiting = Array.from({ length: 20 }, () => faultOf(spool.putMail(someMail())));
    kill(thread);
    const died = await spool.died;
    expect(died).toMatchObject({ code: "SPOOL_BROKEN", permanent: false });
    expect(died.message).toStartWith(`the thread of the spool died: ${why}`);
    for (const fault of await Promise.all(waiting)) {
      expect(["none", "SPOOL_BROKEN"]).toContain(fault.code);
    }
    expect(await faultOf(spool.putMail(someMail()))).toMatchObject({ code: "SPOOL_BROKEN" });
    expect(await faultOf(spool.claimMails(1))).toMatchObject({ code: "SPOOL_BROKEN" });
    expect(() => spool.ready()).toThrow("the thread of the spool died");
    expect(await faultOf(spool.close())).toMatchObject({ code: "SPOOL_BROKEN" });
  });

  test("ends the sensor with a log line and exit code 1; the next start has what was committed", async () => {
    const path = (name: string) => join(folder.path, name);
    mkdirSync(path("spool"), { mode: 0o700 });
    writeFileSync(path("key"), "secret", { mode: 0o600 });
    writeFileSync(
      path("sensor.yaml"),
      JSON.stringify({
        sensor: { id: "test" },
        smtp: { listen: ["127.0.0.1:0"], networks: ["127.0.0.0/8"] },
        spool: { path: path("spool") },
        vmray: { url: "http://127.0.0.1:9", api_key_file: path("key") },
        control: { listen: `unix:${path("control.sock")}` },
      }),
    );
    // The thread is killed when there is a file that says so.
    writeFileSync(
      path("preload.ts"),
      `import { existsSync } from "node:fs";
       const Real = globalThis.Worker;
       globalThis.Worker = class extends Real {
         constructor(...args) {
           super(...args);
           const timer = setInterval(() => {
             if (!existsSync(${JSON.stringify(path("kill"))})) return;
             clearInterval(timer);
             this.terminate();
           }, 5);
         }
       };`,
    );
    const main = new URL("../../../src/main.ts", import.meta.url).pathname;
    const sensor = Bun.spawn(
      [process.execPath, "--preload", path("preload.ts"), main, "run", "--config", path("sensor.yaml")],
      { stdout: "pipe", stderr: "pipe" },
    );
    let out = "";
    for await (const bytes of sensor.stdout) {
      out += Buffer.from(bytes).toString();
      if (out.includes('"sensor started"')) writeFileSync(path("kill"), "");
    }
    expect(await sensor.exited).toBe(1);
    expect(await new Response(sensor.stderr).text()).toBe("");
    const last = out
      .trim()
      .split("\n")
      .map((line) => JSON.parse(line))
      .at(-1);
    expect(last).toMatchObject({
      level: "error",
      code: "SPOOL_BROKEN",
      error: "the thread of the spool died: it ended",
    });
    const spool = await open(path("spool"));
    expect(await spool.eventsAfter(0, 10)).toMatchObject([{ event: { type: "sensor.state" } }]);
    await spool.close();
  });
});
