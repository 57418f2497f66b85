/** The lists of a running sensor on a real spool: they count at once, stay, and are as they were where a write fails. */
import { afterEach, describe, expect, test } from "bun:test";
import { SensorError } from "../../../src/errors.ts";
import { MAX_RUN_TIME_ENTRIES } from "../../../src/spool/lists.ts";
import type { Spool } from "../../../src/spool/spool.ts";
import type { ListEntry } from "../../../src/triage/lists.ts";
import { openRunTimeLists } from "../../../src/triage/run-time.ts";
import { open, temporaryFolder } from "../spool/fixtures.ts";

const closing: (() => Promise<void> | void)[] = [];
afterEach(async () => {
  for (const close of closing.splice(0).reverse()) await close();
});

async function place() {
  const folder = temporaryFolder();
  closing.push(folder.remove);
  const clock = { now: 1_800_000_000_000 };
  let spool = await open(folder.path, {}, () => clock.now);
  closing.push(() => spool.close());
  return {
    clock,
    get spool() {
      return spool;
    },
    lists: () => openRunTimeLists(spool, () => clock.now),
    async restart() {
      await spool.close();
      spool = await open(folder.path, {}, () => clock.now);
    },
  };
}

const deny = (value: string, more: Partial<ListEntry> = {}): ListEntry => ({
  list: "deny",
  kind: "domain",
  value,
  comment: null,
  addedAt: 1_800_000_000_000,
  expiresAt: null,
  ...more,
});
const URL = { normalized: "https://www.evil.example/" };

describe("entries of a running sensor", () => {
  test("count from when they are asked for, before the spool has answered, and after a restart", async () => {
    const at = await place();
    const one = await at.lists();
    const adding = one.add([deny("evil.example", { comment: "seen today" })]);
    expect(one.lists.matchUrl(URL)?.value).toBe("evil.example");
    expect(await adding).toEqual({ added: 1, changed: 0 });
    await at.restart();
    const two = await at.lists();
    expect(two.lists.matchUrl(URL)).toMatchObject({
      list: "deny",
      value: "evil.example",
      comment: "seen today",
    });
    expect(await two.remove([deny("evil.example"), deny("other.example")])).toBe(1);
    expect(two.lists.matchUrl(URL)).toBeNull();
    await at.restart();
    expect((await at.lists()).lists.matchUrl(URL)).toBeNull();
  });

  test("get a new comment and expiry where they are there, and keep their age", async () => {
    const at = await place();
    const lists = await at.lists();
    await lists.add([deny("evil.example")]);
    at.clock.now += 1000;
    const again = deny("evil.example", {
      comment: "again",
      addedAt: at.clock.now,
      expiresAt: at.clock.now + 5,
    });
    expect(await lists.add([again, deny("new.example")])).toEqual({ added: 1, changed: 1 });
    expect(await lists.add([again])).toEqual({ added: 0, changed: 0 });
    expect(await at.spool.listEntries({ text: "EVIL" }, 10, null)).toMatchObject([
      { value: "evil.example", comment: "again", addedAt: at.clock.now - 1000, expiresAt: at.clock.now + 5 },
    ]);
  });

  test("no longer count once they have expired, and are forgotten", async () => {
    const at = await place();
    const lists = await at.lists();
    await lists.add([deny("evil.example", { expiresAt: at.clock.now + 1000 }), deny("stays.example")]);
    at.clock.now += 999;
    expect(lists.lists.matchUrl(URL)).not.toBeNull();
    at.clock.now += 1;
    expect(lists.lists.matchUrl(URL)).toBeNull();
    const values = async () => (await at.spool.listEntries({}, 10, null)).map(({ value }) => value);
    expect(await values()).toEqual(["stays.example"]);
    await at.spool.sweep(at.clock.now);
    at.clock.now -= 10;
    expect(await values()).toEqual(["stays.example"]);
    expect((await at.lists()).lists.matchUrl(URL)).toBeNull();
  });

  test("are what they were where the spool does not take a change", async () => {
    const at = await place();
    await (await at.lists()).add([deny("kept.example", { comment: "old" })]);
    const full = () => Promise.reject(new SensorError("SPOOL_FULL", "no room"));
    const broken: Spool = { ...at.spool, putListEntries: full, removeListEntries: full };
    const lists = await openRunTimeLists(broken);
    const match = (host: string) => lists.lists.matchUrl({ normalized: `https://${host}/` });
    const change = lists.add([
      deny("evil.example"),
      deny("kept.example", { comment: "new" }),
      deny("evil.example", { comment: "twice" }),
    ]);
    expect(match("evil.example")?.comment).toBe("twice");
    await expect(change).rejects.toThrow("no room");
    expect(match("evil.example")).toBeNull();
    expect(match("kept.example")?.comment).toBe("old");
    await expect(lists.remove([deny("kept.example")])).rejects.toThrow("no room");
    expect(match("kept.example")?.comment).toBe("old");
  });

  test("that do not fit are refused as a whole", async () => {
    const at = await place();
    const lists = await at.lists();
    const many = (count: number, name: string) =>
      Array.from({ length: count }, (_, n) =>
        deny(`${name}${n}.example`, { expiresAt: at.clock.now + 1000 }),
      );
    await lists.add(many(MAX_RUN_TIME_ENTRIES - 1, "a"));
    expect(await lists.add(many(2, "b"))).toBe("full");
    expect(lists.lists.matchUrl({ normalized: "https://b0.example/" })).toBeNull();
    expect(await lists.add([deny("c.example")])).toEqual({ added: 1, changed: 0 });
    expect(await lists.add([deny("a1.example", { comment: "is there" })])).toEqual({ added: 0, changed: 1 });
    at.clock.now += 1000;
    expect(await lists.add(many(2, "d"))).toMatchObject({ added: 2 });
    expect((await at.lists()).lists.matchUrl({ normalized: "https://c.example/" })).not.toBeNull();
  });

  test("more than a page are all read at a start", async () => {
    const at = await place();
    const entries = Array.from({ length: 12_001 }, (_, n) => deny(`a${n}.example`));
    await at.spool.putListEntries(entries);
    const { lists } = await at.lists();
    for (const n of [0, 5_000, 12_000]) {
      expect(lists.matchUrl({ normalized: `https://a${n}.example/` })).not.toBeNull();
    }
  });
});
