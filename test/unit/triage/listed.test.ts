import { describe, expect, test } from "bun:test";
import type { MailFacts } from "../../../src/extract/extraction.ts";
import type { ListEntry } from "../../../src/triage/lists.ts";
import { attachment, entry, type MailParts, planned, policyOf, triaged, url } from "./fixtures.ts";

const HASH = "a".repeat(64);
const exe = attachment("application/x-msdownload", { sha256: HASH });
const from = (...addresses: string[]): MailFacts => ({
  message_id: null,
  subject: null,
  from: addresses,
  to: [],
  cc: [],
  date: null,
});

describe("listed parts", () => {
  test("are decided without a call, before every rule, but not before an empty file", () => {
    const policy = policyOf({ rules: [{ name: "all", action: "dynamic" }] });
    const parts = {
      attachments: [exe, attachment("text/plain", { md5: "b".repeat(32) })],
      urls: [url("https://x.evil.example/")],
    };
    const entries = [
      entry("deny", "hash", HASH, "seen in May"),
      entry("allow", "hash", "b".repeat(32)),
      entry("deny", "domain", "evil.example"),
    ];
    expect(triaged(parts, policy, entries).plan.map(({ decision }) => decision)).toEqual([
      {
        action: "skip",
        rule: "list.deny_hash",
        reason: `on the deny list (hash ${HASH}): seen in May`,
        list: "deny",
      },
      {
        action: "skip",
        rule: "list.allow_hash",
        reason: `on the allow list (hash ${"b".repeat(32)})`,
        list: "allow",
      },
      {
        action: "skip",
        rule: "list.deny_domain",
        reason: "on the deny list (domain evil.example)",
        list: "deny",
      },
    ]);
    const empty = { attachments: [{ ...exe, size: 0 }] };
    expect(planned(empty, {}, entries)[0]?.decision.rule).toBe("default.empty");
  });

  test("decide for what lies in them, but not for what is denied itself", () => {
    const zip = attachment("application/zip", { filename: "a.zip", sha256: "c".repeat(64) });
    const deep = (path: string[]) =>
      attachment("application/zip", { path, within: "archive", filename: "i" });
    const attachments = [
      zip,
      deep(["a.zip"]),
      deep(["a.zip", "i"]),
      { ...exe, path: ["a.zip"], within: "archive" as const },
    ];
    const listed = (...entries: ListEntry[]) =>
      planned({ attachments }, {}, entries).map(({ decision }) => decision.rule);
    expect(listed(entry("allow", "hash", "c".repeat(64)), entry("deny", "hash", HASH))).toEqual([
      "list.allow_hash",
      "default.in_listed_file",
      "default.in_listed_file",
      "list.deny_hash",
    ]);
  });

  test("are found by what a URL was before and after its tracking is taken out", () => {
    const urls = [url("https://a.example/?utm_x=1"), url("https://a.example/?utm_x=2")];
    const rule = (one: ListEntry) => planned({ urls }, { strip_tracking: true }, [one])[0]?.decision.rule;
    expect(rule(entry("deny", "url", "https://a.example/?utm_x=2"))).toBe("list.deny_url");
    expect(rule(entry("deny", "url", "https://a.example/"))).toBe("list.deny_url");
    expect(rule(entry("allow", "url", "https://a.example/"))).toBe("list.allow_url");
    expect(rule(entry("deny", "domain", "go.example"))).toBe("default.urls");
    urls.push(url("https://a.example/?utm_x=3", { unwrapped_from: ["https://go.example/3"] }));
    expect(rule(entry("deny", "domain", "go.example"))).toBe("list.deny_domain");
    // What is asked about is another URL than the one that is allowed.
    expect(rule(entry("allow", "url", "https://a.example/?utm_x=2"))).toBe("default.urls");
  });
});

describe("a listed sender", () => {
  const parts = { attachments: [exe, attachment("image/png")], urls: [url("https://a.example/")] };
  const decided = (mail: MailParts, entries: ListEntry[]) => {
    const { plan, sender } = triaged({ ...parts, ...mail }, policyOf(), entries);
    return { sender: sender?.list ?? null, rules: plan.map(({ decision }) => decision.rule) };
  };
  const NORMAL = ["default.executables", "default.images", "default.urls"];

  test("is denied by envelope or header, and costs nothing but look-ups", () => {
    const deny = [entry("deny", "sender", "evil.example", "phishing")];
    for (const mail of [{ sender: "x@evil.example" }, { mail: from("a@b.example", "y@mail.evil.example") }]) {
      expect(decided(mail, deny)).toEqual({
        sender: "deny",
        rules: ["list.deny_sender", "default.images", "list.deny_sender"],
      });
    }
    const { plan, sender } = triaged({ ...parts, sender: "X@evil.example" }, policyOf(), deny);
    expect(sender).toEqual({
      list: "deny",
      address: "X@evil.example",
      entry: "(sender evil.example): phishing",
    });
    expect(plan.map(({ decision }) => decision.action)).toEqual(["lookup", "skip", "lookup"]);
    expect(decided({}, deny)).toEqual({ sender: null, rules: NORMAL });
  });

  test("bug: a rule for the flag sender_denied matched no mail", () => {
    const rules = [{ name: "denied", match: { flags: ["sender_denied"], kind: "url" }, action: "skip" }];
    const policy = policyOf({ rules });
    const found = (sender: string) =>
      triaged({ ...parts, sender }, policy, [entry("deny", "sender", "evil.example")]).plan.map(
        ({ decision }) => decision.rule,
      );
    expect(found("x@evil.example")).toEqual(["list.deny_sender", "default.images", "denied"]);
    expect(found("x@good.example")).toEqual(NORMAL);
  });

  test("is allowed only where envelope and header agree, and is still looked up", () => {
    const allow = [entry("allow", "sender", "good.example")];
    const good = { sender: "bounce@mail.good.example", mail: from("a@good.example") };
    expect(decided(good, allow)).toEqual({
      sender: "allow",
      rules: ["list.allow_sender", "default.images", "list.allow_sender"],
    });
    const spoofed: MailParts[] = [
      { sender: "x@evil.example", mail: from("a@good.example") },
      { sender: "a@good.example", mail: from("x@evil.example") },
      { sender: "a@good.example", mail: from("a@good.example", "x@evil.example") },
      { sender: "a@good.example", mail: from() },
      { sender: "", mail: from("a@good.example") },
    ];
    const first = from("a@good.example");
    spoofed.push({ sender: "a@good.example", mail: first, flags: ["addresses_exceeded"] });
    for (const mail of spoofed) expect(decided(mail, allow)).toEqual({ sender: null, rules: NORMAL });
    const both = [...allow, entry("deny", "sender", "a@good.example")];
    expect(decided(good, both).sender).toBe("deny");
  });

  test("has what lies in an archive looked up, too", () => {
    const zip = attachment("application/zip", { filename: "a.zip" });
    const inner = { ...exe, path: ["a.zip"], within: "archive" as const };
    const mail = { sender: "a@good.example", mail: from("a@good.example"), attachments: [zip, inner] };
    const { plan } = triaged(mail, policyOf(), [entry("allow", "sender", "a@good.example")]);
    expect(plan.map(({ decision }) => decision.action)).toEqual(["lookup", "lookup"]);
  });
});
