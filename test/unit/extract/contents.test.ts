import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { oneContentFile } from "../../../src/extract/content-files.ts";
import { type ContentsOptions, createContents } from "../../../src/extract/contents.ts";
import { until } from "../../until.ts";
import { attached, extractionOf, multipart, sha256 } from "./mails.ts";

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "contents-"));
});
afterEach(() => rmSync(folder, { recursive: true }));

const FILES = Array.from({ length: 20 }, (_, n) => `content ${n}`);
const MAIL = multipart(
  [],
  FILES.map((content, n) => attached(`${n}.js`, content)),
);

/** Reads mails here instead of in helpers, and counts how often. */
function contentsOf(options: Partial<ContentsOptions> = {}) {
  const readings: string[] = [];
  const contents = createContents({
    rawMail: async (mailId) => (mailId === "gone" ? null : { kind: "inline", bytes: MAIL }),
    pool: {
      writeContent: async (_raw, hash, path, { following } = {}) => {
        readings.push(hash);
        const file = oneContentFile(path, hash, following ?? null);
        await extractionOf(MAIL, {}, file.sink);
        return file.found();
      },
    },
    folder: join(folder, "kept"),
    ...options,
  });
  let asked = 0;
  const ask = async (content: string, mailId = "mail"): Promise<string | null> => {
    const path = join(folder, `${asked++}`);
    return (await contents.write(mailId, sha256(content), path)) ? readFileSync(path, "utf8") : null;
  };
  return { contents, ask, readings };
}

const kept = (): readonly string[] =>
  existsSync(join(folder, "kept")) ? readdirSync(join(folder, "kept"), { recursive: true }).map(String) : [];

describe("the contents of a mail", () => {
  test("are all given, in whatever order, with two readings of it", async () => {
    const { ask, readings } = contentsOf();
    expect(await Promise.all(FILES.map((content) => ask(content)))).toEqual(FILES);
    expect(readings).toHaveLength(2);
  });

  test("are given where they were asked for backwards or twice", async () => {
    const { ask } = contentsOf();
    for (const content of [...FILES.toReversed(), ...FILES]) expect(await ask(content)).toBe(content);
  });

  test("are not kept where one is asked for, nor for long where more are", async () => {
    const { ask } = contentsOf({ keep: 2000 });
    await ask("content 3");
    expect(kept()).toEqual([]);
    await ask("content 5");
    expect(kept().filter((path) => path.includes("/"))).toHaveLength(14);
    await until(() => kept().length === 0, "an empty folder");
    expect(await ask("content 6")).toBe("content 6");
  });

  test("are kept of a few mails only", async () => {
    const { ask } = contentsOf();
    for (let n = 0; n < 30; n++) {
      expect(await ask("content 0", `${n}`)).toBe("content 0");
      expect(await ask("content 1", `${n}`)).toBe("content 1");
    }
    await until(() => kept().filter((path) => !path.includes("/")).length === 16, "the last 16");
  });

  test("stay while mails of one content each come in between", async () => {
    const { ask, readings } = contentsOf();
    for (const content of FILES.slice(0, 5)) {
      expect(await ask(content)).toBe(content);
      for (let n = 0; n < 20; n++) await ask("content 0", `${content} ${n}`);
    }
    expect(readings).toHaveLength(102);
  });

  test("are not there where the mail or the content is not", async () => {
    const { ask } = contentsOf();
    expect(await ask("content 1", "gone")).toBeNull();
    expect(await ask("nothing")).toBeNull();
    expect(await ask("nothing")).toBeNull();
  });

  test("that were left by a crash are removed, and all at the end", async () => {
    mkdirSync(join(folder, "kept/0"), { recursive: true });
    writeFileSync(join(folder, "kept/0", sha256("content 2")), "left behind");
    const { ask, contents } = contentsOf();
    for (const content of FILES.slice(0, 3)) expect(await ask(content)).toBe(content);
    await contents.stop();
    expect(existsSync(join(folder, "kept"))).toBe(false);
  });

  test("a fault costs who asked, not who asks next", async () => {
    let broken = true;
    const { ask } = contentsOf({
      rawMail: async () => {
        if (broken) throw new Error("a fault");
        return { kind: "inline", bytes: MAIL };
      },
    });
    await expect(ask("content 1")).rejects.toThrow("a fault");
    broken = false;
    expect(await ask("content 1")).toBe("content 1");
  });
});

test("contents that follow one are written up to the bytes given, and need not be", async () => {
  const sizes = async (bytes: number, into: string): Promise<number> => {
    const file = oneContentFile(join(folder, "one"), sha256("content 4"), { folder: into, bytes });
    await extractionOf(MAIL, {}, file.sink);
    expect(readFileSync(join(folder, "one"), "utf8")).toBe("content 4");
    return existsSync(into) ? readdirSync(into).length : 0;
  };
  const into = join(folder, "following");
  mkdirSync(into);
  expect(await sizes(30, into)).toBe(3);
  expect(await sizes(1000, into)).toBe(15);
  expect(await sizes(1000, "/nonexistent")).toBe(0);
});
