import { describe, expect, test } from "bun:test";
import type { Attachment, FoundUrl } from "../../../src/extract/extraction.ts";
import { groupOf } from "../../../src/triage/groups.ts";
import type { TriageSettings } from "../../../src/triage/policy.ts";
import { attachment, DEFAULT, planned, url as urlOf } from "./fixtures.ts";

const url = urlOf("http://a.example/", { url: "http://a.example" });

function decide(one: Attachment, policy: Partial<TriageSettings> = {}) {
  const [artifact] = planned({ attachments: [one] }, policy);
  if (artifact === undefined) throw new Error("no decision");
  return artifact.decision;
}

describe("the default policy", () => {
  test.each<[string, string, string]>([
    ["application/pdf", "dynamic", "default.documents"],
    [
      "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
      "dynamic",
      "default.documents",
    ],
    ["application/vnd.ms-outlook", "dynamic", "default.documents"],
    ["text/javascript", "dynamic", "default.scripts"],
    ["text/x-python", "dynamic", "default.scripts"],
    ["application/vnd.microsoft.portable-executable", "dynamic", "default.executables"],
    ["application/x-eicar-test", "dynamic", "default.executables"],
    ["application/zip", "dynamic", "default.archives"],
    ["application/x-rar-compressed", "dynamic", "default.archives"],
    ["text/html", "dynamic", "default.html"],
    ["image/svg+xml", "dynamic", "default.html"],
    ["application/x-iso9660-image", "dynamic", "default.disk_images"],
    ["application/x-ms-shortcut", "dynamic", "default.shortcuts"],
    ["application/octet-stream", "lookup", "default.other"],
    ["application/x-nobody-knows", "lookup", "default.other"],
    ["image/png", "skip", "default.images"],
    ["video/mp4", "skip", "default.media"],
    ["text/plain", "skip", "default.text"],
    ["text/calendar", "skip", "default.text"],
    ["message/rfc822", "skip", "default.mails"],
  ])("takes %s: %s by %s", (type, action, rule) => {
    const decision = decide(attachment(type));
    expect<string>(decision.action).toBe(action);
    expect(decision.rule).toBe(rule);
    expect(decision.reason).toContain(type);
  });

  test("lets the extension decide only where the content says nothing", () => {
    expect(groupOf("application/octet-stream", "exe")).toBe("executables");
    expect(groupOf("application/octet-stream", "iso")).toBe("disk_images");
    expect(groupOf("text/plain", "com")).toBe("executables");
    expect(groupOf("image/png", "exe")).toBe("images");
    expect(groupOf("application/zip", "png")).toBe("archives");
  });

  test("is not misled by names of object properties", () => {
    for (const name of ["__proto__", "constructor", "toString"]) {
      expect(groupOf("application/octet-stream", name)).toBe("other");
      expect(groupOf(name, "")).toBe("other");
    }
  });

  test("skips an empty file of any type", () => {
    expect(decide(attachment("application/zip", { size: 0 }))).toMatchObject({
      action: "skip",
      rule: "default.empty",
    });
  });
});

describe("the configured policy", () => {
  test("sends nothing larger than its limit, but looks it up", () => {
    const large = attachment("application/zip", { size: 1001 });
    expect(decide(large, { max_size: 1001 }).action).toBe("dynamic");
    expect(decide(large, { max_size: 1000 })).toMatchObject({ action: "lookup", rule: "default.max_size" });
    expect(decide(attachment("image/png", { size: 1001 }), { max_size: 1000 }).action).toBe("skip");
  });

  test("analyses the groups it names and no others", () => {
    const policy: Partial<TriageSettings> = { analyze: ["images", "other", "mails"] };
    expect(decide(attachment("image/png"), policy).action).toBe("dynamic");
    expect(decide(attachment("application/octet-stream"), policy).action).toBe("dynamic");
    expect(decide(attachment("message/rfc822"), policy).action).toBe("dynamic");
    expect(decide(attachment("application/pdf"), policy).action).toBe("skip");
  });

  test.each([
    ["analyse", "reputation"],
    ["lookup", "lookup"],
    ["skip", "skip"],
  ] as const)("does with URLs what it says: %s", (urls, action) => {
    const [artifact] = planned({ urls: [url] }, { urls });
    expect(artifact).toMatchObject({ kind: "url", url, decision: { action, rule: "default.urls" } });
  });
});

test("URLs that no reader opens are not asked about, unless they also stand where one does", () => {
  const rule = (...sources: string[]) => planned({ urls: [{ ...url, sources }] })[0]?.decision.rule;
  expect(rule("html-resource", "html-comment")).toBe("default.url_not_opened");
  expect(rule("html-resource", "html")).toBe("default.urls");
  expect(rule("html-script")).toBe("default.urls");
});

test("URLs are asked about without what tracks the reader, where the policy says so", () => {
  const found = (query: string, source: string): FoundUrl => ({
    url: `http://a.example/?${query}`,
    normalized: `http://a.example/?${query}`,
    sources: [source],
  });
  const urls = [found("id=1&utm_source=x", "text"), found("gclid=2&id=1", "html"), found("id=2", "text")];
  const asked = (policy: Partial<TriageSettings>) =>
    planned({ urls }, policy).map((artifact) =>
      artifact.kind === "url" ? [artifact.url.normalized, artifact.url.sources] : [],
    );
  expect(asked({})).toHaveLength(3);
  expect(asked({ strip_tracking: true })).toEqual([
    ["http://a.example/?id=1", ["text", "html"]],
    ["http://a.example/?id=2", ["text"]],
  ]);
  expect(asked({ strip_tracking: true, tracking_parameters: ["id"] })[2]).toEqual([
    "http://a.example/",
    ["text"],
  ]);
});

test("a plan has attachments first, then URLs, each in the order of the extraction", () => {
  const plan = planned({
    attachments: [attachment("image/png"), attachment("application/pdf")],
    urls: [url],
  });
  expect(plan.map((artifact) => (artifact.kind === "url" ? "url" : artifact.attachment.type))).toEqual([
    "image/png",
    "application/pdf",
    "url",
  ]);
});

describe("what lies in something", () => {
  const inside = (path: string[], within: Attachment["within"], type: string) =>
    attachment(type, { filename: "inner", path, within });
  const rules = (attachments: Attachment[], policy: Partial<TriageSettings> = {}, complete = true) =>
    planned({ attachments, complete }, policy).map(({ decision }) => decision.rule);
  const zip = attachment("application/zip", { filename: "a.zip" });
  const members = [
    inside(["a.zip"], "archive", "application/pdf"),
    inside(["a.zip"], "archive", "application/zip"),
    inside(["a.zip", "inner"], "archive", "application/x-msdownload"),
  ];

  test("that is analysed as a whole is not paid for again, however deep it lies", () => {
    const next = attachment("application/pdf", { filename: "b.pdf" });
    expect(rules([zip, ...members, next])).toEqual([
      "default.archives",
      "default.in_analysed_file",
      "default.in_analysed_file",
      "default.in_analysed_file",
      "default.documents",
    ]);
  });

  test("with a password of its own is analysed by itself, and the whole gets that password too", () => {
    const locked = { ...inside(["a.zip"], "archive", "application/zip"), password: "pw" };
    const deeper = inside(["a.zip", "inner"], "archive", "application/x-msdownload");
    expect(rules([zip, locked, deeper])).toEqual([
      "default.archives",
      "default.archives",
      "default.in_analysed_file",
    ]);
    const forwarded = attachment("message/rfc822", { filename: "f.eml" });
    const down = (one: Attachment): Attachment => ({ ...one, path: ["f.eml", ...one.path] });
    const all = [forwarded, { ...down(zip), within: "mail" as const }, down(locked), zip];
    expect(
      planned({ attachments: all }).map((one) =>
        one.kind === "attachment" ? one.attachment.password : null,
      ),
    ).toEqual([null, "pw", "pw", null]);
    expect(rules([{ ...zip, password: "pw" }, locked, deeper])).toEqual([
      "default.archives",
      "default.in_analysed_file",
      "default.in_analysed_file",
    ]);
  });

  test("that is not analysed is decided by itself", () => {
    expect(rules([{ ...zip, size: DEFAULT.max_size + 1 }, ...members])).toEqual([
      "default.max_size",
      "default.documents",
      "default.archives",
      "default.in_analysed_file",
    ]);
  });

  test("is decided by itself where the policy takes archives by their members, and all of it was read", () => {
    const policy = { archives: "members" } as const;
    expect(rules([zip, ...members], policy)).toEqual([
      "default.archive_members",
      "default.documents",
      "default.archive_members",
      "default.executables",
    ]);
    expect(rules([zip, ...members], policy, false)[0]).toBe("default.archives");
    expect(rules([zip], policy)).toEqual(["default.archives"]);
  });

  test("is decided by itself where it lies in a mail", () => {
    const mail = attachment("message/rfc822", { filename: "m.eml" });
    expect(rules([mail, inside(["m.eml"], "mail", "application/pdf")])).toEqual([
      "default.mails",
      "default.documents",
    ]);
  });
});
