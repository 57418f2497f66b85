import { describe, expect, test } from "bun:test";
import { normalizeUrl } from "../../../src/extract/urls/normal-form.ts";
import {
  createLists,
  entryText,
  joinLists,
  type ListEntry,
  type ListKind,
  type ListName,
  readListValue,
} from "../../../src/triage/lists.ts";

const entry = (list: ListName, kind: ListKind, value: string, more: Partial<ListEntry> = {}): ListEntry => {
  const read = readListValue(list, kind, value);
  if (typeof read !== "string") throw new Error(`${value} ${read.problem}`);
  return { list, kind, value: read, comment: null, addedAt: null, expiresAt: null, ...more };
};
const HASHES = { md5: "a".repeat(32), sha1: "b".repeat(40), sha256: "c".repeat(64) };
const url = (normalized: string) => ({ normalized });

describe("values are brought into normal form", () => {
  test.each<[ListKind, string, string]>([
    ["hash", ` ${"A".repeat(32)} `, "a".repeat(32)],
    ["hash", "B".repeat(40), "b".repeat(40)],
    ["hash", "C".repeat(64), "c".repeat(64)],
    ["domain", "Evil.EXAMPLE.", "evil.example"],
    ["domain", "Bücher.example", "xn--bcher-kva.example"],
    ["domain", "192.0.2.7", "192.0.2.7"],
    ["domain", "[2001:DB8::1]", "[2001:db8::1]"],
    ["domain", "2001:DB8::1", "[2001:db8::1]"],
    ["domain", "[::ffff:192.0.2.7]", "192.0.2.7"],
    ["domain", "_dmarc.example.org", "_dmarc.example.org"],
    ["url", "HTTP://Evil.example:80/%7Ea/../b?#x", "http://evil.example/b"],
    ["url", "https://bücher.example", "https://xn--bcher-kva.example/"],
    ["sender", "Boss@EXAMPLE.org", "boss@example.org"],
    ["sender", "<a@bücher.example>", "a@xn--bcher-kva.example"],
    ["sender", "Example.org", "example.org"],
  ])("%s %s", (kind, written, value) => {
    expect(readListValue("allow", kind, written)).toBe(value);
    expect(readListValue("deny", kind, value)).toBe(value);
  });

  test.each<[ListKind, string, string]>([
    ["hash", "", "is empty"],
    ["hash", "a".repeat(33), "is no MD5, SHA-1 or SHA-256 in hex"],
    ["hash", "g".repeat(32), "is no MD5, SHA-1 or SHA-256 in hex"],
    ["domain", "*.example.org", "covers what lies below it anyway: write it without * and dot in front"],
    ["domain", "http://example.org/", "is no domain name"],
    ["domain", "a b.example", "is no domain name"],
    ["domain", "example.org:80", "is no domain name"],
    ["domain", "a..example", "is no domain name"],
    ["url", "example.org/a", "is no URL that starts with http://, https:// or ftp://"],
    ["url", "javascript:alert(1)", "is no URL that starts with http://, https:// or ftp://"],
    ["url", "http://", "is no URL that can be read"],
    ["url", `http://a.example/${"x".repeat(9000)}`, "is longer than 8192 characters"],
    ["sender", "@example.org", "has nothing before its @: for all senders of a domain write it alone"],
    ["sender", "a@", "is no mail address"],
    ["sender", "a@b c", "is no mail address"],
  ])("%s %s: %s", (kind, written, problem) => {
    expect(readListValue("deny", kind, written)).toEqual({ problem });
  });

  test("a public suffix may be denied, not allowed", () => {
    expect(readListValue("deny", "domain", "zip")).toBe("zip");
    for (const kind of ["domain", "sender"] as const) {
      expect(readListValue("allow", kind, "co.uk")).toEqual({
        problem: "is a domain under which anybody registers names: it would allow them all",
      });
    }
    expect(readListValue("allow", "domain", "intranet")).toBe("intranet");
  });

  test("bug: a suffix of a hoster like github.io could be allowed, with the pages of everybody", () => {
    for (const suffix of ["github.io", "s3.amazonaws.com", "azurewebsites.net"]) {
      expect(readListValue("deny", "domain", suffix)).toBe(suffix);
      for (const kind of ["domain", "sender"] as const) {
        expect(readListValue("allow", kind, suffix)).toMatchObject({
          problem: expect.stringContaining("anybody registers names"),
        });
      }
    }
    expect(readListValue("allow", "domain", "our-docs.github.io")).toBe("our-docs.github.io");
  });

  test("bug: senders with a * were taken and matched nothing", () => {
    for (const list of ["allow", "deny"] as const) {
      for (const written of ["*@evil.example", "<*@evil.example>", "bounce-*@evil.example"]) {
        expect(readListValue(list, "sender", written)).toMatchObject({
          problem: expect.stringContaining("has a *"),
        });
      }
      expect(readListValue(list, "url", "https://*.evil.example/")).toMatchObject({
        problem: expect.stringContaining("list the domain"),
      });
    }
    expect(readListValue("deny", "url", "https://evil.example/a*")).toBe("https://evil.example/a*");
  });
});

describe("the matcher", () => {
  test("knows a file by any of its hashes", () => {
    for (const value of Object.values(HASHES)) {
      const lists = createLists([entry("deny", "hash", value.toUpperCase())]);
      expect(lists.matchAttachment(HASHES)?.value).toBe(value);
      expect(lists.matchAttachment({ md5: "0", sha1: "0", sha256: "0" })).toBeNull();
    }
  });

  test("knows a URL by itself, its host and the domains that lies in, and no others", () => {
    const lists = createLists([
      entry("deny", "url", "http://a.example/x"),
      entry("deny", "domain", "evil.example"),
      entry("deny", "domain", "192.0.2.7"),
      entry("deny", "domain", "[2001:db8::1]"),
    ]);
    const hit = (normalized: string) => lists.matchUrl(url(normalized))?.value ?? null;
    expect(hit("http://a.example/x")).toBe("http://a.example/x");
    expect(hit("http://a.example/x?y")).toBeNull();
    expect(hit("https://evil.example/")).toBe("evil.example");
    expect(hit("https://deep.er.evil.example:8443/a@b")).toBe("evil.example");
    expect(hit("https://user:pw@evil.example/")).toBe("evil.example");
    expect(hit("https://evil.example@good.example/")).toBeNull();
    expect(hit("https://notevil.example/")).toBeNull();
    expect(hit("https://evil.example.good.example/")).toBeNull();
    expect(hit("https://good.example/evil.example")).toBeNull();
    expect(hit("http://192.0.2.7:81/")).toBe("192.0.2.7");
    expect(hit("http://1.192.0.2.7.example/")).toBeNull();
    expect(hit("http://[2001:db8::1]:81/")).toBe("[2001:db8::1]");
  });

  test("bug: a denied IPv4 address was reached as an IPv6 address that stands for it", () => {
    const lists = createLists([entry("deny", "domain", "192.0.2.7")]);
    for (const host of [
      "[::ffff:192.0.2.7]",
      "[::FFFF:c000:207]",
      "[::ffff:c000:207]:8443",
      "[64:ff9b::192.0.2.7]",
    ]) {
      const normalized = normalizeUrl(`http://${host}/a`);
      if (normalized === null) throw new Error(host);
      expect(lists.matchUrl(url(normalized))?.value).toBe("192.0.2.7");
    }
    expect(lists.matchUrl(url("http://[::ffff:c000:208]/"))).toBeNull();
    expect(lists.matchUrl(url("http://[2001:db8::ffff:c000:207]/"))).toBeNull();
  });

  test("bug: a denied URL was another one with a name before its host, or with its address written as IPv6", () => {
    const lists = createLists([
      entry("deny", "url", "https://evil.example:8443/x"),
      entry("deny", "url", "http://192.0.2.7/x"),
      entry("allow", "url", "https://good.example/x"),
    ]);
    const hit = (written: string) => lists.matchUrl(url(normalizeUrl(written) ?? ""))?.list ?? null;
    expect(hit("https://you@evil.example:8443/x")).toBe("deny");
    expect(hit("https://you%40me:secret@evil.example:8443/x#y")).toBe("deny");
    expect(hit("http://[::ffff:192.0.2.7]/x")).toBe("deny");
    expect(hit("http://a:b@[::ffff:c000:207]:80/x")).toBe("deny");
    expect(hit("https://evil.example:8443@other.example/x")).toBeNull();
    expect(hit("https://other.example/@evil.example:8443/x")).toBeNull();
    expect(hit("https://good.example/x")).toBe("allow");
    expect(hit("https://you@good.example/x")).toBeNull();
  });

  test("bug: what strangers register below a suffix was allowed with a domain above it", () => {
    const lists = createLists([
      entry("allow", "domain", "amazonaws.com"),
      entry("allow", "domain", "intranet"),
      entry("allow", "sender", "amazonaws.com"),
      entry("deny", "domain", "amazonaws.com", { expiresAt: 0 }),
    ]);
    const hit = (normalized: string) => lists.matchUrl(url(normalized))?.value ?? null;
    expect(hit("https://amazonaws.com/")).toBe("amazonaws.com");
    expect(hit("https://console.amazonaws.com/")).toBe("amazonaws.com");
    expect(hit("https://attacker.s3.amazonaws.com/")).toBeNull();
    expect(hit("https://wiki.intranet/")).toBe("intranet");
    expect(lists.matchSender("a@mail.amazonaws.com")?.value).toBe("amazonaws.com");
    expect(lists.matchSender("a@attacker.s3.amazonaws.com")).toBeNull();
    // No registry takes such names, and browsers go there all the same.
    for (const name of ["a!b.attacker", "-a.attacker", "a-.attacker", "a~b.attacker", "a'b"]) {
      expect(hit(`http://${name}.s3.amazonaws.com/`)).toBeNull();
    }
    const denied = createLists([entry("deny", "domain", "amazonaws.com")]);
    expect(denied.matchUrl(url("https://attacker.s3.amazonaws.com/"))?.list).toBe("deny");
  });

  test("denies by wrapper and by the target a wrapper names, but allows by neither", () => {
    const wrapped = {
      normalized: "https://a.example/",
      unwrapped_from: ["https://go.example/?to=a"],
      target_domain: "Target.example",
    };
    for (const [kind, value] of [
      ["domain", "go.example"],
      ["url", "https://go.example/?to=a"],
      ["domain", "target.example"],
    ] as const) {
      expect(createLists([entry("deny", kind, value)]).matchUrl(wrapped)?.value).toBe(value);
      expect(createLists([entry("allow", kind, value)]).matchUrl(wrapped)).toBeNull();
    }
  });

  test("knows a sender by address without regard to case, and by domain with all below it", () => {
    const lists = createLists([
      entry("deny", "sender", "boss@example.org"),
      entry("deny", "sender", "evil.example"),
    ]);
    expect(lists.matchSender("BOSS@Example.ORG")?.value).toBe("boss@example.org");
    expect(lists.matchSender("other@example.org")).toBeNull();
    expect(lists.matchSender("x@mail.evil.example.")?.value).toBe("evil.example");
    expect(lists.matchSender("evil.example@example.org")).toBeNull();
    for (const odd of ["", "@", "a@", "x".repeat(5000), "a@[192.0.2.1]", "a@[evil.example]"]) {
      expect(lists.matchSender(odd)).toBeNull();
    }
  });

  test("bug: a denied sender was another one with quotes, an odd bracket, no local part or an address literal", () => {
    const value = (written: string) => String(readListValue("deny", "sender", written));
    const lists = createLists(
      ["boss@example.org", "evil.example", "a@[192.0.2.7]", "a@[IPv6:2001:DB8::1]", "2001:db8::2"].map(
        (written) => entry("deny", "sender", value(written)),
      ),
    );
    for (const [written, by] of [
      ['"boss"@example.org', "boss@example.org"],
      ['"B\\oss"@Example.org', "boss@example.org"],
      ["<boss@example.org>", "boss@example.org"],
      ["boss@example.org>", "boss@example.org"],
      ["\u200bboss@example.org \u0000", "boss@example.org"],
      ["@evil.example", "evil.example"],
      ["a@[192.0.2.7]", "a@192.0.2.7"],
      ["a@[ipv6:2001:db8:0::1]", "a@[2001:db8::1]"],
      ["b@[IPv6:2001:db8::2]", "[2001:db8::2]"],
    ] as const) {
      expect([written, lists.matchSender(written)?.value]).toEqual([written, by]);
    }
    for (const other of [
      '"boss "@example.org',
      '"boss@x"@example.org',
      '"bo.ss."@example.org',
      "a@[192.0.2.8]",
    ]) {
      expect([other, lists.matchSender(other)]).toEqual([other, null]);
    }
  });

  test("lets deny beat allow, in one list and between lists", () => {
    const allow = entry("allow", "hash", HASHES.sha256);
    const deny = entry("deny", "hash", HASHES.md5);
    expect(createLists([allow, deny]).matchAttachment(HASHES)).toBe(deny);
    const [one, two] = [createLists([allow]), createLists([deny])];
    expect(joinLists([one, two]).matchAttachment(HASHES)).toBe(deny);
    expect(joinLists([two, one]).matchAttachment(HASHES)).toBe(deny);
    expect(joinLists([one, createLists([])]).matchAttachment(HASHES)).toBe(allow);
    const broad = createLists([
      entry("deny", "domain", "example.org"),
      entry("allow", "url", "http://a.example.org/"),
    ]);
    expect(broad.matchUrl(url("http://a.example.org/"))?.list).toBe("deny");
  });

  test("forgets what has expired, at its time; of two equal ones the longer counts", () => {
    let time = 1000;
    const short = entry("deny", "sender", "a@example.org", { expiresAt: 2000 });
    const long = entry("deny", "sender", "a@example.org", { expiresAt: 3000 });
    for (const entries of [
      [short, long],
      [long, short],
    ]) {
      time = 1000;
      const lists = createLists(entries, () => time);
      expect(lists.matchSender("a@example.org")).toBe(long);
      time = 2999;
      expect(lists.matchSender("a@example.org")).toBe(long);
      time = 3000;
      expect(lists.matchSender("a@example.org")).toBeNull();
    }
  });
});

test("an entry is told with its kind, value and comment, bounded", () => {
  expect(entryText(entry("deny", "domain", "evil.example"))).toBe("(domain evil.example)");
  expect(entryText(entry("deny", "domain", "evil.example", { comment: "seen today" }))).toBe(
    "(domain evil.example): seen today",
  );
  const long = entry("deny", "url", `http://a.example/${"x".repeat(5000)}`, { comment: "y".repeat(5000) });
  expect(entryText(long).length).toBeLessThan(450);
});
