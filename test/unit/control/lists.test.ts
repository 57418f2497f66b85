/** The calls about lists, over a real socket. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { status } from "@grpc/grpc-js";
import {
  type ListEntry,
  ListKind,
  type ListListEntriesRequest,
  ListName,
} from "../../../gen/emailsensor/v1/sensor.ts";
import { type ControlClient, connectControl } from "../../../src/control/client.ts";
import { temporaryFolder } from "../spool/fixtures.ts";
import { type Harness, harness } from "./harness.ts";

let sensor: Harness;
let client: ControlClient;
beforeAll(async () => {
  sensor = await harness();
  client = connectControl(sensor.control.address, null);
});
afterAll(async () => {
  client.close();
  await sensor.end();
});

const entry = (value: string, more: Partial<ListEntry> = {}): ListEntry => ({
  list: ListName.DENY,
  kind: ListKind.DOMAIN,
  value,
  comment: "",
  addedAt: undefined,
  expiresAt: undefined,
  ...more,
});
const add = (...entries: readonly ListEntry[]) => client.addListEntries({ entries });
const show = (more: Partial<ListListEntriesRequest> = {}) =>
  client.listListEntries({ list: 0, kind: 0, text: "", pageSize: 0, pageToken: "", ...more });
/** The text of a refusal, and the code it came with. */
async function refusal(call: Promise<unknown>): Promise<{ code: number | undefined; text: string }> {
  try {
    await call;
  } catch (thrown) {
    const { message, cause } = thrown as Error & { cause?: { code?: number } };
    return { code: cause?.code, text: message };
  }
  throw new Error("the call was answered");
}

describe("lists over gRPC", () => {
  test("take values in any spelling, show them in normal form, newest first, and forget them", async () => {
    const expiresAt = new Date(Date.now() + 3_600_000);
    expect(
      await add(
        entry("Evil.EXAMPLE.", { comment: " seen today ", expiresAt }),
        entry("HTTP://Evil.example:80/a/../b#x", { kind: ListKind.URL }),
        entry("A".repeat(64), { kind: ListKind.HASH, list: ListName.ALLOW }),
        entry("<Boss@EXAMPLE.org>", { kind: ListKind.SENDER }),
      ),
    ).toEqual({ added: 4, changed: 0 });
    const { entries, nextPageToken } = await show();
    expect(nextPageToken).toBe("");
    expect(entries.map(({ value }) => value)).toEqual([
      "boss@example.org",
      "a".repeat(64),
      "http://evil.example/b",
      "evil.example",
    ]);
    expect(entries[3]).toMatchObject({
      list: ListName.DENY,
      kind: ListKind.DOMAIN,
      comment: "seen today",
      expiresAt,
    });
    expect(entries[3]?.addedAt?.getTime()).toBeGreaterThan(Date.now() - 60_000);
    expect((await show({ list: ListName.ALLOW })).entries).toHaveLength(1);
    expect((await show({ kind: ListKind.SENDER, list: ListName.DENY })).entries).toHaveLength(1);
    expect((await show({ text: "TODAY" })).entries.map(({ value }) => value)).toEqual(["evil.example"]);
    expect(await client.removeListEntries({ entries: [...entries, entry("other.example")] })).toEqual({
      removed: 4,
    });
    expect((await show()).entries).toEqual([]);
  });

  test("come in pages that changes do not disturb", async () => {
    const names = Array.from({ length: 7 }, (_, n) => `n${n}.example`);
    await add(...names.map((name) => entry(name)));
    const found: string[] = [];
    let pageToken = "";
    do {
      const page = await show({ pageSize: 3, pageToken, text: ".example" });
      found.push(...page.entries.map(({ value }) => value));
      pageToken = page.nextPageToken;
      if (found.length === 3) await add(entry("later.example"));
    } while (pageToken !== "");
    expect(found).toEqual(names.toReversed());
    const { nextPageToken } = await show({ pageSize: 2 });
    expect((await refusal(show({ pageToken: nextPageToken, text: "a" }))).text).toContain(
      "belongs to another question",
    );
    expect((await refusal(show({ pageToken: "rubbish" }))).text).toContain(
      "page_token: is not one of this service",
    );
    await client.removeListEntries({ entries: [...names, "later.example"].map((name) => entry(name)) });
  });

  test.each<[string, ListEntry, string]>([
    [
      "no list",
      entry("a.example", { list: 0 }),
      "entries[1].list: is none; give LIST_NAME_ALLOW or LIST_NAME_DENY",
    ],
    [
      "an unknown kind",
      entry("a.example", { kind: 9 as ListKind }),
      "entries[1].kind: is none; give LIST_KIND_HASH",
    ],
    ["an empty value", entry(" "), 'entries[1].value: "" is empty'],
    [
      "a wildcard",
      entry("*.example.org"),
      "covers what lies below it anyway: write it without * and dot in front",
    ],
    ["a hash that is none", entry("abc", { kind: ListKind.HASH }), 'entries[1].value: "abc" is no MD5'],
    [
      "a control character",
      entry("a\u0000b@c.example", { kind: ListKind.SENDER }),
      '"a\\u0000b@c.example" holds a control',
    ],
    ["a public suffix allowed", entry("co.uk", { list: ListName.ALLOW }), "it would allow them all"],
    [
      "a long value",
      entry(`http://a.example/${"x".repeat(9000)}`, { kind: ListKind.URL }),
      "is longer than 8192",
    ],
    [
      "a long comment",
      entry("a.example", { comment: "x".repeat(1001) }),
      "entries[1].comment: 1001 characters are too many",
    ],
    [
      "a comment of two lines",
      entry("a.example", { comment: "a\nb" }),
      "entries[1].comment: holds a control character",
    ],
    [
      "a past expiry",
      entry("a.example", { expiresAt: new Date(1000) }),
      "entries[1].expires_at: is in the past; give a later",
    ],
  ])("refuse %s, saying which entry, and add none", async (_, bad, text) => {
    const { code, text: told } = await refusal(add(entry("good.example"), bad));
    expect(code).toBe(status.INVALID_ARGUMENT);
    expect(told).toContain(text);
    expect((await show()).entries).toEqual([]);
  });

  test("refuse none, too many and too large requests", async () => {
    expect((await refusal(add())).text).toContain("entries: is empty");
    const many = Array.from({ length: 501 }, (_, n) => entry(`n${n}.example`));
    expect((await refusal(add(...many))).text).toContain("501 are too many; give at most 500 in one call");
    expect((await refusal(client.removeListEntries({ entries: many }))).text).toContain("501 are too many");
    const large = Array.from({ length: 100 }, () => entry("x".repeat(5000)));
    expect((await refusal(add(...large))).code).toBe(status.RESOURCE_EXHAUSTED);
  });

  test("leave a log line for each change that says who, what and why, with nothing raw in it", async () => {
    const before = sensor.logged.length;
    await add(entry("audited.example", { comment: "by \u202Ehand" }));
    await client.removeListEntries({ entries: [entry("audited.example")] });
    const lines = sensor.logged.slice(before);
    expect(lines.join("")).not.toMatch(/[\u0080-\u009f\u202a-\u202e]/);
    expect(lines.map((line) => JSON.parse(line))).toMatchObject([
      {
        msg: "list entry added",
        level: "info",
        stage: "control",
        peer: sensor.control.address,
        list: "deny",
        kind: "domain",
        value: "audited.example",
        comment: "by \\u202ehand",
        expires_at: null,
      },
      { msg: "list entry removed", list: "deny", kind: "domain", value: "audited.example" },
    ]);
  });
});

test("lists are closed to whoever does not show the token", async () => {
  const folder = temporaryFolder();
  const tokenFile = join(folder.path, "token");
  writeFileSync(tokenFile, "0123456789abcdef0123456789abcdef");
  const closed = await harness({ tokenFile });
  const stranger = connectControl(closed.control.address, "another-word-of-32-characters-xx");
  try {
    for (const refused of [
      stranger.addListEntries({ entries: [entry("evil.example")] }),
      stranger.removeListEntries({ entries: [entry("evil.example")] }),
      stranger.listListEntries({ list: 0, kind: 0, text: "", pageSize: 0, pageToken: "" }),
    ]) {
      expect((await refusal(refused)).code).toBe(status.UNAUTHENTICATED);
    }
    expect(await closed.spool.listEntries({}, 10, null)).toEqual([]);
  } finally {
    stranger.close();
    await closed.end();
    folder.remove();
  }
});
