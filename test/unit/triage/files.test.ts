import { afterAll, describe, expect, test } from "bun:test";
import { appendFileSync, mkdtempSync, renameSync, rmSync, truncateSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { schema } from "../../../src/config/schema.ts";
import { SensorError } from "../../../src/errors.ts";
import { createLog } from "../../../src/log.ts";
import { loadPolicy } from "../../../src/triage/files.ts";
import { readListFile } from "../../../src/triage/list-file.ts";
import type { ListEntry } from "../../../src/triage/lists.ts";
import { MAX_POPULAR, readPopularDomains } from "../../../src/triage/popular.ts";

const folder = mkdtempSync(join(tmpdir(), "triage-files-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));
const bytes = (text: string) => new TextEncoder().encode(text);

async function read(text: string, about: Pick<ListEntry, "list" | "kind">) {
  const file = await readListFile(bytes(text), about, 1000);
  if (typeof file === "string") throw new Error(file);
  return { ...file, entries: file.entries(0, file.count) };
}

describe("a list file", () => {
  test("has one value a line, with comments, and tells its bad lines by number", async () => {
    const text = [
      "# what we block",
      "http://evil.example/a#top # seen in May",
      "",
      "  https://evil.example/%61\t#twice",
      "evil.example",
      "https://ok.example/\r",
    ].join("\n");
    const { entries, problems, bad } = await read(text, { list: "deny", kind: "url" });
    expect(entries.map(({ value, comment }) => [value, comment])).toEqual([
      ["http://evil.example/a", "seen in May"],
      ["https://evil.example/a", "twice"],
      ["https://ok.example/", null],
    ]);
    expect(problems).toEqual([
      { line: 5, message: "is no URL that starts with http://, https:// or ftp://" },
    ]);
    expect(bad).toBe(1);
  });

  test("may be of Windows, have lines without end and comments of anything", async () => {
    const text = `\ufeff${"a".repeat(32)}\r\n${"b".repeat(32)}${" ".repeat(100_000)}\r\n${"d".repeat(3e6)}\r\n${"e".repeat(32)} #\tf\t\u0007g\r`;
    const { entries, problems } = await read(text, { list: "deny", kind: "hash" });
    expect(entries.map(({ value, comment }) => [value[0], value.length, comment])).toEqual([
      ["a", 32, null],
      ["b", 32, null],
      ["e", 32, "f g"],
    ]);
    expect(problems).toEqual([{ line: 3, message: "is longer than 8192 characters" }]);
  });

  test("of nothing but bad lines tells the first of them", async () => {
    const { problems, bad } = await read("x\n".repeat(1000), { list: "deny", kind: "hash" });
    expect(bad).toBe(1000);
    expect(problems).toHaveLength(20);
  });

  test("is loaded with the policy; its bad lines are logged and cost themselves alone", async () => {
    const file = join(folder, "senders.txt");
    await Bun.write(file, "evil.example\n@@\n");
    const settings = schema.shape.triage.parse({ lists: [{ list: "deny", kind: "sender", file }] });
    const lines: string[] = [];
    const { lists, denyLists } = await loadPolicy(
      settings,
      createLog("info", (line) => lines.push(line)),
    );
    expect(denyLists).toMatchObject([
      {
        name: `sender ${file}`,
        fingerprint: expect.stringMatching(/^[0-9a-f]{64}$/),
        count: 1,
      },
    ]);
    expect(denyLists[0]?.entries(0, 5)).toMatchObject([
      { list: "deny", kind: "sender", value: "evil.example" },
    ]);
    expect(lists.matchSender("a@evil.example")?.list).toBe("deny");
    expect(JSON.parse(lines[0] ?? "")).toMatchObject({
      level: "warn",
      at: `${file}:2`,
      problem: "is no mail address",
    });
    expect(JSON.parse(lines[1] ?? "")).toMatchObject({ level: "info", entries: 1 });
  });

  test("that is gone or is no text stops the start", async () => {
    await Bun.write(join(folder, "binary"), new Uint8Array([0xff, 0xfe, 0]));
    for (const [file, fault] of [
      [join(folder, "none"), "does not exist"],
      [folder, "is a folder"],
      [join(folder, "binary"), "is not UTF-8 text"],
    ] as const) {
      const settings = schema.shape.triage.parse({ lists: [{ list: "deny", kind: "hash", file }] });
      const thrown = await loadPolicy(
        settings,
        createLog("error", () => {}),
      ).catch((error) => error);
      expect(thrown).toBeInstanceOf(SensorError);
      expect(thrown).toMatchObject({ code: "CONFIG_INVALID" });
      expect(thrown.message).toContain(fault);
    }
  });
});

test("files of one kind are one list: the closest value of all is told, deny before allow, the first of equal ones", async () => {
  const settings = { lists: [] as object[] };
  for (const [n, [list, text]] of (
    [
      ["deny", "b.example # broad\n"],
      ["deny", "a.b.example # close\na.b.example # again\n"],
      ["allow", "c.a.b.example\nd.example # ours\n"],
    ] as const
  ).entries()) {
    const file = join(folder, `part-${n}.txt`);
    await Bun.write(file, text);
    settings.lists.push({ list, kind: "domain", file });
  }
  const { lists } = await loadPolicy(
    schema.shape.triage.parse(settings),
    createLog("error", () => {}),
  );
  const comment = (host: string) => lists.matchUrl({ normalized: `https://${host}/` })?.comment ?? null;
  expect(comment("c.a.b.example")).toBe("close");
  expect(comment("x.b.example")).toBe("broad");
  expect(comment("x.d.example")).toBe("ours");
  expect(comment("example")).toBeNull();
  expect(lists.matchSender("a@d.example")).toBeNull();
});

test("lists hold a million values in all and no more", async () => {
  const file = join(folder, "many.txt");
  await Bun.write(file, "0".repeat(32).concat("\n").repeat(500_001));
  const lists = [file, file].map((each) => ({ list: "allow", kind: "hash", file: each }));
  const thrown = await loadPolicy(
    schema.shape.triage.parse({ lists }),
    createLog("error", () => {}),
  ).catch((error) => error);
  expect(thrown).toMatchObject({
    code: "CONFIG_INVALID",
    message: expect.stringContaining("more than 1000000 entries"),
  });
});

test("bug: half of a list was read while it was written, and counted as the whole", async () => {
  const file = join(folder, "growing.txt");
  const lists = [{ list: "deny", kind: "domain", file }];
  const load = () =>
    loadPolicy(
      schema.shape.triage.parse({ lists }),
      createLog("error", () => {}),
    );
  writeFileSync(file, "a.example\n");
  // Reading it takes many turns.
  truncateSync(file, 16 * 1024 * 1024);
  let writing = true;
  const write = () => {
    if (!writing) return;
    appendFileSync(file, "b.example\n");
    setImmediate(write);
  };
  write();
  const thrown = await load().catch((error) => error);
  writing = false;
  expect(thrown).toMatchObject({ code: "CONFIG_INVALID", message: expect.stringContaining("rename it") });
  // The way that is told is taken.
  writeFileSync(`${file}.new`, "c.example\n");
  renameSync(`${file}.new`, file);
  expect((await load()).denyLists[0]?.entries(0, 2)).toMatchObject([{ value: "c.example" }]);
});

test("bug: a long list was read in one go, and nothing else had its turn for seconds", async () => {
  const file = join(folder, "long.txt");
  const count = 50_000;
  await Bun.write(
    file,
    Array.from({ length: count }, (_, n) => `host${n}.evil${n % 100}.example`).join("\r\n"),
  );
  const lists = [
    { list: "deny", kind: "domain", file },
    { list: "allow", kind: "domain", file },
  ];
  let turns = 0;
  const timer = setInterval(() => turns++, 0);
  const { lists: loaded, denyLists } = await loadPolicy(
    schema.shape.triage.parse({ lists }),
    createLog("error", () => {}),
  );
  clearInterval(timer);
  expect(denyLists[0]?.count).toBe(count);
  const hit = (host: string) => loaded.matchUrl({ normalized: `https://${host}/` })?.value ?? null;
  for (let n = 0; n < count; n += 97) {
    expect(denyLists[0]?.entries(n, n + 1)[0]?.value).toBe(`host${n}.evil${n % 100}.example`);
    expect(hit(`www.host${n}.evil${n % 100}.example`)).toBe(`host${n}.evil${n % 100}.example`);
    expect(hit(`host${n}.evil${(n + 1) % 100}.example`)).toBeNull();
  }
  expect(turns).toBeGreaterThan(15);
});

describe("the most visited domains", () => {
  const domains = (text: string) => readPopularDomains(bytes(text));

  test("are read from lines and from CSV, without what is no domain", async () => {
    const read = await domains(
      "rank,domain\n1,Example.com\r\n2, example.net \nexample.org\n# x.example\n\nlocal\n",
    );
    expect(read.size).toBe(3);
    for (const name of ["example.com", "example.net", "example.org"]) expect(read.has([name])).toBe(true);
    for (const name of ["domain", "x.example", "local", "xample.com"]) expect(read.has([name])).toBe(false);
    expect(read.has([])).toBe(false);
  });

  test("are read alike wherever pieces of the file end", async () => {
    const names = Array.from({ length: 60_000 }, (_, n) => `häuser-${n}.example.com`);
    const read = await domains(names.join("\n"));
    expect(read.size).toBe(names.length);
    expect(read.has([new URL("http://häuser-59999.example.com").hostname, "example.com"])).toBe(true);
  });

  test("are the first million, in bounded memory and time", async () => {
    const text = Array.from({ length: MAX_POPULAR + 5 }, (_, n) => `${n + 1},site${n}.com`).join("\n");
    const before = process.cpuUsage();
    const read = await domains(text);
    const { user, system } = process.cpuUsage(before);
    if (process.env.EMAIL_SENSOR_SHOW_TIMES !== undefined) console.log(`${(user + system) / 1000} ms of CPU`);
    expect(read.size).toBe(MAX_POPULAR);
    expect(read.has(["site0.com"])).toBe(true);
    expect(read.has([`site${MAX_POPULAR - 1}.com`])).toBe(true);
    expect(read.has([`site${MAX_POPULAR}.com`])).toBe(false);
    expect((user + system) / 1000).toBeLessThan(20_000);
  });
});
