import { afterEach, beforeEach, describe, expect, spyOn, test } from "bun:test";
import {
  appendFileSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  renameSync,
  rmdirSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { type FileHandle, open } from "node:fs/promises";
import { join } from "node:path";
import { createFileCarrier, type FileSettings } from "../../../src/report/carrier-file.ts";
import { composeState } from "../../../src/report/compose.ts";
import type { SensorEvent } from "../../../src/report/event.ts";
import { temporaryFolder } from "../spool/fixtures.ts";
import { NOON, SENSOR } from "./fixtures.ts";

let folder: ReturnType<typeof temporaryFolder>;
let path: string;
const closing: (() => Promise<void>)[] = [];
beforeEach(() => {
  folder = temporaryFolder();
  path = join(folder.path, "events.json");
});
afterEach(async () => {
  for (const close of closing.splice(0)) await close();
  folder.remove();
});

function carrier(change: Partial<FileSettings> = {}) {
  const made = createFileCarrier({ path, maxSize: 1_000_000, keep: 3, ...change }, ({ state }) => [
    state?.message ?? "",
  ]);
  closing.push(() => made.close());
  return made;
}

const events = (...texts: string[]): SensorEvent[] =>
  texts.map((text) => composeState("x", text, SENSOR, NOON));
const linesOf = (file: string) => readFileSync(file, "utf8").split("\n").slice(0, -1);

describe("a file of events", () => {
  test("has a line for each event in order, and is appended to after a restart", async () => {
    const first = carrier();
    const results = await Promise.all([first.carry(events("a", "b")), first.carry(events("c"))]);
    expect(results).toEqual([
      { delivered: 2, fault: null },
      { delivered: 1, fault: null },
    ]);
    await first.close();
    await carrier().carry(events("d"));
    expect(linesOf(path)).toEqual(["a", "b", "c", "d"]);
  });

  test("is rotated by size, keeps as many as it is told, and cuts no line", async () => {
    const writer = carrier({ maxSize: 10, keep: 2 });
    for (const text of ["one-1", "two-2", "three", "four4", "five5"]) {
      expect((await writer.carry(events(text))).fault).toBeNull();
    }
    expect([path, `${path}.1`, `${path}.2`].map(linesOf)).toEqual([["five5"], ["four4"], ["three"]]);
    expect(existsSync(`${path}.3`)).toBe(false);
  });

  test("is rotated by age", async () => {
    let time = Date.now();
    const writer = carrier({ maxAge: 60_000, now: () => time });
    await writer.carry(events("a"));
    time += 59_000;
    await writer.carry(events("b"));
    time += 2_000;
    await writer.carry(events("c"));
    expect([linesOf(`${path}.1`), linesOf(path)]).toEqual([["a", "b"], ["c"]]);
  });

  test("was not there after a power cut though its lines were flushed: its name was not", async () => {
    const handle = await open(folder.path, "r");
    const flushed: (number | undefined)[] = [];
    const size = () => (existsSync(path) ? statSync(path).size : undefined);
    const spy = spyOn(Object.getPrototypeOf(handle) as FileHandle, "sync").mockImplementation(async () => {
      flushed.push(size());
    });
    try {
      const writer = carrier({ maxSize: 10 });
      for (const text of ["one", "two", "three", "four", "five"]) await writer.carry(events(text));
      expect(readdirSync(folder.path).sort()).toEqual(["events.json", "events.json.1", "events.json.2"]);
      // Once for each file, before there is a line in it.
      expect(flushed).toEqual([0, 0, 0]);
    } finally {
      spy.mockRestore();
      await handle.close();
    }
  });

  test("was opened anew, for good, by events that were ready only when it was closed", async () => {
    const writer = carrier();
    const under = writer.carry(events("a"));
    await writer.close();
    expect(await under).toEqual({ delivered: 1, fault: null });
    const late = { delivered: 0, fault: expect.objectContaining({ code: "SIEM_UNREACHABLE" }) };
    expect(await writer.carry(events("b"))).toEqual(late);
    expect(linesOf(path)).toEqual(["a"]);
    const held = readdirSync("/proc/self/fd").flatMap((fd) => {
      try {
        return [readlinkSync(`/proc/self/fd/${fd}`)];
      } catch {
        // The one that listed them.
        return [];
      }
    });
    expect(held).not.toContain(path);
  });

  test("is made anew where somebody moved it away", async () => {
    const writer = carrier();
    await writer.carry(events("a"));
    renameSync(path, `${path}-moved`);
    await writer.carry(events("b"));
    expect([linesOf(`${path}-moved`), linesOf(path)]).toEqual([["a"], ["b"]]);
    writeFileSync(path, "");
    await writer.carry(events("c"));
    expect(linesOf(path)).toEqual(["c"]);
  });

  test("was down for a moment where it was moved away while it was made", async () => {
    const handle = await open(folder.path, "r");
    const prototype = Object.getPrototypeOf(handle) as FileHandle;
    const { stat } = prototype;
    const spy = spyOn(prototype, "stat").mockImplementation(async function (this: FileHandle) {
      const found = await stat.call(this);
      if (!existsSync(`${path}.moved`)) renameSync(path, `${path}.moved`);
      return found;
    } as FileHandle["stat"]);
    try {
      const writer = carrier();
      expect(await writer.carry(events("a"))).toEqual({ delivered: 1, fault: null });
      expect(await writer.carry(events("b"))).toEqual({ delivered: 1, fault: null });
      expect([linesOf(`${path}.moved`), linesOf(path)]).toEqual([["a"], ["b"]]);
    } finally {
      spy.mockRestore();
      await handle.close();
    }
  });

  test("loses the half line that a crash left, and no whole one", async () => {
    const line = `{"schema":"email-sensor/event/1","id":"${"x".repeat(200_000)}`;
    for (const half of ["{", line]) {
      writeFileSync(path, `whole\n${half}`);
      const writer = carrier();
      await writer.carry(events('{"schema":"email-sensor/event/1","id":"next"}'));
      await writer.close();
      expect(linesOf(path)).toEqual(["whole", '{"schema":"email-sensor/event/1","id":"next"}']);
    }
  });

  test("takes nothing away that is not its own, also without line break at the end", async () => {
    for (const text of ["precious", "whole\nprecious"]) {
      writeFileSync(path, text);
      const writer = carrier();
      await writer.carry(events('{"schema":1}'));
      await writer.carry(events('{"schema":2}'));
      await writer.close();
      expect(linesOf(path)).toEqual([...text.split("\n"), '{"schema":1}', '{"schema":2}']);
    }
  });

  test("keeps to its size also where many events come at once, with every line once and in order", async () => {
    const texts = Array.from({ length: 500 }, (_, n) => `${n}-${"x".repeat(n === 77 ? 1000 : 100)}`);
    const writer = carrier({ maxSize: 1000, keep: 200 });
    expect(await writer.carry(events(...texts))).toEqual({ delivered: 500, fault: null });
    const files = readdirSync(folder.path).sort(
      (a, b) => Number(b.split(".")[2] ?? 0) - Number(a.split(".")[2] ?? 0),
    );
    expect(files.length).toBeGreaterThan(50);
    const found = files.map((name) => linesOf(join(folder.path, name)));
    expect(found.flat()).toEqual(texts);
    for (const [index, lines] of found.entries()) {
      if (lines.length > 1) {
        expect(statSync(join(folder.path, files[index] ?? "")).size).toBeLessThanOrEqual(1000);
      }
    }
  });

  test("counts what is on disk as delivered where the rest cannot be written", async () => {
    const writer = carrier({ maxSize: 10, keep: 1 });
    mkdirSync(`${path}.1`);
    const { delivered, fault } = await writer.carry(events("one-1", "two-2"));
    expect([delivered, fault?.code]).toEqual([1, "SIEM_UNREACHABLE"]);
    rmdirSync(`${path}.1`);
    expect(await writer.carry(events("two-2"))).toEqual({ delivered: 1, fault: null });
    expect([`${path}.1`, path].map(linesOf)).toEqual([["one-1"], ["two-2"]]);
  });

  test("removes old files beyond those to keep, of a time when more were kept", async () => {
    for (const n of [1, 2, 3, 4, 6]) writeFileSync(`${path}.${n}`, `${n}\n`);
    const writer = carrier({ maxSize: 10, keep: 2 });
    for (const text of ["one-1", "two-2"]) await writer.carry(events(text));
    expect(readdirSync(folder.path).sort()).toEqual(["", ".1", ".2", ".6"].map((end) => `events.json${end}`));
    expect(linesOf(`${path}.2`)).toEqual(["1"]);
  });

  test("is down while it cannot be written, for every call made before, and up when it can", async () => {
    const below = join(folder.path, "later", "events.json");
    const writer = carrier({ path: below });
    for (const { delivered, fault } of await Promise.all([
      writer.carry(events("a")),
      writer.carry(events("b")),
    ])) {
      expect([delivered, fault?.code]).toEqual([0, "SIEM_UNREACHABLE"]);
    }
    mkdirSync(join(folder.path, "later"));
    expect(await writer.carry(events("a", "b"))).toEqual({ delivered: 2, fault: null });
    expect(linesOf(below)).toEqual(["a", "b"]);
    appendFileSync(below, "");
  });

  test("is no device and no folder", async () => {
    expect((await carrier({ path: "/dev/full" }).carry(events("a"))).fault?.message).toContain(
      "no plain file",
    );
    expect((await carrier({ path: folder.path }).carry(events("a"))).fault?.code).toBe("SIEM_UNREACHABLE");
  });
});
