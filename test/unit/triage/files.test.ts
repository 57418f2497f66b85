import { afterAll, describe, expect, test } from "bun:test";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { schema } from "../../../src/config/schema.ts";
import { SensorError } from "../../../src/errors.ts";
import { createLog } from "../../../src/log.ts";
import { loadPolicy, readListText } from "../../../src/triage/files.ts";
import { MAX_POPULAR, readPopularDomains } from "../../../src/triage/popular.ts";

const folder = mkdtempSync(join(tmpdir(), "triage-files-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));
const bytes = (text: string) => new TextEncoder().encode(text);

describe("a list file", () => {
  test("has one value a line, with comments, and tells its bad lines by number", () => {
    const text = [
      "# what we block",
      "http://evil.example/a#top # seen in May",
      "",
      "  https://evil.example/%61\t#twice",
      "evil.example",
      "https://ok.example/\r",
    ].join("\n");
    const { entries, problems, bad } = readListText(text, { list: "deny", kind: "url" });
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

  test("of nothing but bad lines tells the first of them", () => {
    const { problems, bad } = readListText("x\n".repeat(1000), { list: "deny", kind: "hash" });
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
        entries: [{ value: "evil.example" }],
      },
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
