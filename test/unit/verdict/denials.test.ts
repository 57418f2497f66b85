/** What is put on a deny list is applied to mails that were reported: on a real spool, reopened as after a kill. */
import { afterEach, describe, expect, test } from "bun:test";
import type { ListEntry, ListKind } from "../../../src/triage/lists.ts";
import { contentKey, type PlannedArtifact, type PlannedUrl } from "../../../src/triage/plan.ts";
import { openRunTimeLists } from "../../../src/triage/run-time.ts";
import { startDenials } from "../../../src/verdict/denials.ts";
import { until } from "../../until.ts";
import { recordingLog } from "../report/fixtures.ts";
import { attachment, extractionOf, openInThread, someMail, temporaryFolder } from "../spool/fixtures.ts";
import { closeAll, events, HOUR, judgeAll, known, type Place, place, takenApart, url } from "./delivered.ts";

afterEach(closeAll);

const denied = (kind: ListKind, value: string, more: Partial<ListEntry> = {}): ListEntry => ({
  list: "deny",
  kind,
  value,
  comment: "ticket 4711",
  addedAt: 1,
  expiresAt: null,
  ...more,
});

function link(normalized: string, more: Partial<PlannedUrl> = {}): PlannedArtifact {
  const part = url(normalized);
  return part.kind === "url" ? { ...part, url: { ...part.url, ...more } } : part;
}

function skippedPart(part: PlannedArtifact): PlannedArtifact {
  return { ...part, decision: { action: "skip", rule: "test", reason: "the test says so" } };
}

/** A mail that was judged clean and reported. */
async function delivered(at: Place, parts: readonly PlannedArtifact[], to?: string, from?: string) {
  const id = await takenApart(at, parts, to, from);
  for (const job of await at.spool.dueAnalyses(at.clock.now, 100, new Set())) {
    await at.spool.finishAnalysis(job.key, known("clean"), at.clock.now + HOUR);
  }
  await judgeAll(at);
  at.clock.now += 1000;
  return id;
}

/** Takes every step that is queued, `limit` mails each; gives how many steps there were. */
async function applyAll(
  at: Place,
  limit = 100,
  between: () => Promise<void> = async () => {},
): Promise<number> {
  let steps = 0;
  while ((await at.spool.applyDenials(limit)) > 0) {
    steps += 1;
    await between();
  }
  return steps;
}

const changes = async (at: Place) =>
  (await events(at.spool)).filter(({ type }) => type === "verdict.changed");

async function deny(at: Place, ...entries: readonly ListEntry[]): Promise<void> {
  await at.spool.putListEntries(entries);
  await applyAll(at);
  await judgeAll(at);
}

describe("what is denied", () => {
  const file = attachment("evil");
  const hashes = file.kind === "attachment" ? file.attachment : null;
  const opened: PlannedArtifact =
    file.kind === "attachment" ? { ...file, attachment: { ...file.attachment, password: "abc" } } : file;
  const wrapped = link("https://a.example/", {
    unwrapped_from: ["https://go.example/?to=a"],
    target_domain: "Target.example",
  });

  const named = link("https://b.example/", { unwrapped_from: ["https://x:y@go.example/?to=b"] });
  const stripped = link("https://a.example/", {
    stripped_from: ["https://a.example/?utm_x=1", "https://a.example/?utm_x=2"],
  });

  test.each<[string, ListKind, string, PlannedArtifact, string]>([
    ["a file by SHA-256", "hash", hashes?.sha256 ?? "", file, "list.deny_hash"],
    ["a file that a password opens", "hash", hashes?.sha256 ?? "", opened, "list.deny_hash"],
    ["a file by SHA-1", "hash", hashes?.sha1 ?? "", file, "list.deny_hash"],
    ["a file by MD5", "hash", hashes?.md5 ?? "", file, "list.deny_hash"],
    ["a URL", "url", "https://a.example/x", url("https://a.example/x"), "list.deny_url"],
    ["a URL by its wrapper", "url", "https://go.example/?to=a", wrapped, "list.deny_url"],
    ["a URL as the mail has it", "url", "https://a.example/?utm_x=2", stripped, "list.deny_url"],
    [
      "a URL without what is before its @",
      "url",
      "https://a.example/x",
      url("https://me@a.example/x"),
      "list.deny_url",
    ],
    ["a wrapper likewise", "url", "https://go.example/?to=b", named, "list.deny_url"],
    ["a host", "domain", "a.example", url("https://a.example:8443/x"), "list.deny_domain"],
    ["what lies below a domain", "domain", "example", url("https://b.a.example/x"), "list.deny_domain"],
    ["the host of a wrapper", "domain", "go.example", wrapped, "list.deny_domain"],
    ["the target that a wrapper names", "domain", "target.example", wrapped, "list.deny_domain"],
    ["an address", "domain", "[2001:db8::1]", url("http://[2001:db8::1]:81/"), "list.deny_domain"],
    [
      "what policy skipped",
      "domain",
      "a.example",
      skippedPart(url("https://a.example/")),
      "list.deny_domain",
    ],
  ])("%s: the mail is malicious, and told so", async (_, kind, value, part, rule) => {
    const at = await place();
    const id = await delivered(at, [part]);
    const [first] = await events(at.spool);
    expect(first?.verdict).toBe("clean");
    await deny(at, denied(kind, value));
    expect(await changes(at)).toMatchObject([
      {
        verdict: "malicious",
        complete: true,
        mail: { id },
        change: {
          because: "list",
          from: "clean",
          to: "malicious",
          previous_event_id: first?.id ?? "",
          mails: 1,
        },
      },
    ]);
    const row = await at.spool.mail(id);
    expect(row).toMatchObject({ state: "done", verdict: "malicious" });
    expect(row?.artifacts[0]?.decision).toMatchObject({ rule, list: "deny", action: part.decision.action });
    expect(row?.artifacts[0]?.verdict?.reason).toContain(`added at run time): ticket 4711`);
    expect((await at.spool.counts()).verdicts).toMatchObject({ malicious: 1, clean: 0 });
  });

  test.each<[string, ListKind, string]>([
    ["domain", "domain", "vil.example"],
    ["domain below", "domain", "www.evil.example"],
    ["domain with the same beginning", "domain", "evil.example.org"],
    ["URL", "url", "https://evil.example/other"],
    ["SHA-256", "hash", "f".repeat(64)],
    ["MD5", "hash", "f".repeat(32)],
    ["sender", "sender", "sender.exampl"],
    ["sender with another name", "sender", "b@sender.example"],
    ["sender below", "sender", "sub.sender.example"],
  ])("another %s changes nothing", async (_, kind, value) => {
    const at = await place();
    await delivered(at, [url("https://evil.example/"), attachment("file")], undefined, "a@sender.example");
    await at.spool.putListEntries([denied(kind, value)]);
    expect(await at.spool.applyDenials(10)).toBe(0);
    await judgeAll(at);
    expect(await changes(at)).toEqual([]);
  });

  test("as a sender, by the envelope or by From, or any of a domain: the mails name each other", async () => {
    const at = await place();
    const ids = [
      await delivered(at, [attachment("one")], "anna@example.org", "Boss@Evil.example"),
      await delivered(at, [attachment("two")], "ben@example.org", "x@mail.evil.example"),
    ];
    await delivered(at, [attachment("three")], "carl@example.org", "x@evil.example.org");
    await deny(at, denied("sender", "evil.example"));
    const told = await changes(at);
    expect(told.map(({ mail }) => mail?.id)).toEqual(ids);
    expect(told[0]).toMatchObject({
      verdict: "malicious",
      reasons: [
        'the sender "Boss@Evil.example" is on the deny list (sender evil.example, added at run time): ticket 4711',
      ],
      flags: ["sender_denied"],
      attachments: [],
      change: { because: "list", mails: 2 },
      mails: [{ id: ids[1] ?? "", envelope: { to: ["ben@example.org"] } }],
    });
    // All of these have it in From.
    await deny(at, denied("sender", "a@example.com"));
    expect(await changes(at)).toHaveLength(3);
  });

  test("and was malicious before is not told again; nor is what an earlier entry denied", async () => {
    const at = await place();
    const bad = attachment("bad");
    await takenApart(at, [bad]);
    await at.spool.finishAnalysis(contentKey(bad), known("malicious"), null);
    await judgeAll(at);
    const sha256 = bad.kind === "attachment" ? bad.attachment.sha256 : "";
    await deny(at, denied("hash", sha256));
    expect(await changes(at)).toEqual([]);
    await delivered(at, [url("https://www.evil.example/")]);
    await deny(at, denied("domain", "evil.example"));
    await deny(at, denied("domain", "www.evil.example"));
    expect(await changes(at)).toHaveLength(1);
    await at.spool.putListEntries([denied("domain", "evil.example", { comment: "changed" })]);
    expect(await at.spool.applyDenials(10)).toBe(0);
  });

  test("bug: by its wrapper or its tracking alone: its content was no longer looked at again for other mails", async () => {
    const at = await place();
    const about = "https://a.example/";
    await delivered(at, [link(about, { unwrapped_from: ["https://go.example/?to=a"] })]);
    await delivered(at, [link(about, { stripped_from: [`${about}?utm_x=1`] })]);
    const other = await delivered(at, [url(about)]);
    await deny(at, denied("domain", "go.example"), denied("url", `${about}?utm_x=1`));
    expect(await changes(at)).toHaveLength(2);
    expect((await at.spool.mail(other))?.verdict).toBe("clean");
    at.clock.now += 2 * HOUR;
    expect(await at.spool.startRelooks(at.clock.now, 10)).toBe(1);
  });

  test("stays malicious whatever VMRay says later", async () => {
    const at = await place();
    const part = url("https://evil.example/");
    const id = await delivered(at, [part]);
    await deny(at, denied("domain", "evil.example"));
    at.clock.now += 2 * HOUR;
    expect(await at.spool.startRelooks(at.clock.now, 10)).toBe(0);
    await delivered(at, [part]);
    expect(await at.spool.mail(id)).toMatchObject({ verdict: "malicious" });
    expect(await changes(at)).toHaveLength(1);
  });

  test("while parts wait: the mail is reported at once, and ends with what it waits for", async () => {
    const at = await place();
    const [link, slow] = [url("https://evil.example/"), attachment("slow")];
    const id = await takenApart(at, [slow, link]);
    await deny(at, denied("domain", "evil.example"));
    expect(await events(at.spool)).toMatchObject([
      { type: "mail.verdict", verdict: "malicious", complete: false },
    ]);
    await at.spool.finishAnalysis(contentKey(slow), known("clean"), null);
    await judgeAll(at);
    expect(await at.spool.mail(id)).toMatchObject({ state: "done", verdict: "malicious", complete: true });
    const alone = await takenApart(at, [url("https://waits.example/")]);
    await deny(at, denied("domain", "waits.example"));
    expect(await at.spool.mail(alone)).toMatchObject({ state: "done", verdict: "malicious" });
    expect((await events(at.spool)).map(({ type }) => type)).toEqual([
      "mail.verdict",
      "verdict.changed",
      "mail.verdict",
    ]);
    expect((await events(at.spool))[2]?.urls?.[0]).not.toHaveProperty("previous_verdict");
  });

  test("concerns mails of the time that verdicts are kept true alone, and none where that is 0", async () => {
    const at = await place();
    await delivered(at, [url("https://evil.example/old")], "old@example.org");
    at.clock.now += 24 * HOUR;
    await delivered(at, [url("https://evil.example/new")], "new@example.org");
    await deny(at, denied("domain", "evil.example"), denied("url", "https://evil.example/old"));
    expect((await changes(at)).map(({ mail }) => mail?.envelope.to)).toEqual([["new@example.org"]]);
    await at.spool.setRelooks({ for: 0, first: 600_000 });
    await delivered(at, [url("https://off.example/")]);
    await at.spool.putListEntries([denied("domain", "off.example")]);
    expect(await at.spool.applyDenials(10)).toBe(0);
  });

  test("and removed before it was applied changes nothing; removed after, what it changed stays", async () => {
    const at = await place();
    const id = await delivered(at, [url("https://evil.example/")]);
    await at.spool.putListEntries([denied("domain", "evil.example")]);
    await at.spool.removeListEntries([denied("domain", "evil.example")]);
    expect(await at.spool.applyDenials(10)).toBe(0);
    await deny(at, denied("domain", "evil.example"));
    await at.spool.removeListEntries([denied("domain", "evil.example")]);
    await applyAll(at);
    await judgeAll(at);
    expect(await at.spool.mail(id)).toMatchObject({ verdict: "malicious" });
    expect(await changes(at)).toHaveLength(1);
  });

  test("bug: and had expired, and was given again before it was forgotten: mails before that stayed as they were", async () => {
    const at = await place();
    const expiresAt = at.clock.now + 1000;
    const old = ["a", "b", "c"].map((name) => denied("domain", `${name}.example`, { expiresAt }));
    await deny(at, ...old, denied("domain", "evil.example", { expiresAt: expiresAt + 1 }));
    at.clock.now += 5000;
    await delivered(at, [url("https://evil.example/")]);
    expect(await at.spool.putListEntries([denied("domain", "evil.example")])).toEqual({
      added: 1,
      changed: 0,
    });
    await applyAll(at);
    await judgeAll(at);
    expect(await changes(at)).toMatchObject([{ verdict: "malicious", change: { because: "list" } }]);
    expect(await at.spool.removeListEntries(old)).toBe(0);
  });

  test("and has expired by the time it is applied changes nothing", async () => {
    const at = await place();
    await delivered(at, [url("https://evil.example/")]);
    await at.spool.putListEntries([denied("domain", "evil.example", { expiresAt: at.clock.now + 1000 })]);
    at.clock.now += 1000;
    await applyAll(at);
    await judgeAll(at);
    expect(await changes(at)).toEqual([]);
  });
});

test("an allowed value changes nothing afterwards", async () => {
  const at = await place();
  await delivered(at, [url("https://evil.example/")]);
  await at.spool.putListEntries([denied("domain", "evil.example", { list: "allow" })]);
  expect(await at.spool.applyDenials(10)).toBe(0);
});

test("a restart after each step tells each mail once, and each event names all of them", async () => {
  const at = await place();
  const ids: string[] = [];
  for (let n = 0; n < 7; n += 1) ids.push(await delivered(at, [url(`https://h${n % 3}.evil.example/${n}`)]));
  await at.spool.putListEntries([denied("domain", "evil.example")]);
  await at.restart();
  const steps = await applyAll(at, 2, async () => {
    await at.restart();
    await judgeAll(at);
  });
  expect(steps).toBeGreaterThan(5);
  const told = await changes(at);
  expect(told.map(({ mail }) => mail?.id).toSorted()).toEqual(ids.toSorted());
  expect(new Set(told.map(({ change }) => change?.id)).size).toBe(1);
  for (const { mail, mails, change } of told) {
    expect(change?.mails).toBe(7);
    expect(mails?.map(({ id }) => id).toSorted()).toEqual(ids.filter((id) => id !== mail?.id).toSorted());
  }
});

describe("a file of the deny list", () => {
  const run = async (at: Place, files: Parameters<typeof startDenials>[0]["files"]) => {
    const { log } = recordingLog();
    const stage = startDenials({ spool: at.spool, files, log });
    for (const { count, entries: _, ...about } of files) {
      await until(async () => (await at.spool.deniedFromFile(about)) >= count, "the file");
    }
    await stage.stop();
    await applyAll(at);
    await judgeAll(at);
  };
  const list = (fingerprint: string, ...values: readonly string[]) => ({
    name: "domain deny.txt",
    fingerprint,
    count: values.length,
    entries: (from: number, to: number) =>
      values.slice(from, to).map((value) => denied("domain", value, { addedAt: null })),
  });

  test("is applied where it changed since the last start, and not where it is as it was", async () => {
    const at = await place();
    await delivered(at, [url("https://one.example/")]);
    await delivered(at, [url("https://two.example/")]);
    await run(at, [list("v1", "one.example")]);
    expect(await changes(at)).toMatchObject([
      {
        urls: [
          {
            url: "https://one.example/",
            rule: "list.deny_domain",
            reason: expect.stringContaining("(domain one.example): ticket"),
          },
        ],
      },
    ]);
    await at.restart();
    await run(at, [{ ...list("v1", "one.example", "two.example"), count: 1 }]);
    expect(await changes(at)).toHaveLength(1);
    await run(at, [list("v2", "one.example", "two.example")]);
    expect(await changes(at)).toHaveLength(2);
    await run(at, []);
    expect(await at.spool.deniedFromFile({ name: "domain deny.txt", fingerprint: "v2" })).toBe(0);
  });

  test("goes on after a restart where it was", async () => {
    const at = await place();
    const values = Array.from({ length: 2500 }, (_, n) => `n${n}.example`);
    await delivered(at, [url("https://n2400.example/")]);
    await delivered(at, [url("https://n10.example/")]);
    const file = list("v1", ...values);
    const { name, fingerprint } = file;
    const step = (from: number, note: boolean) =>
      at.spool.denyFromFile({ name, fingerprint }, { from, entries: file.entries(from, from + 500), note });
    // The second has none that a mail has: how far it is need not be written down.
    await step(0, false);
    await step(500, false);
    expect(await at.spool.deniedFromFile({ name, fingerprint })).toBe(500);
    await step(500, true);
    await at.restart();
    expect(await at.spool.deniedFromFile({ name, fingerprint })).toBe(1000);
    await run(at, [file]);
    expect(await changes(at)).toHaveLength(2);
  });
});

test("what mails are found by is kept for the time, over midnight, and then forgotten", async () => {
  const at = await place();
  at.clock.now = Date.parse("2027-03-01T23:00:00Z");
  await at.restart();
  await delivered(at, [url("https://evil.example/")], undefined, "x@sender.example");
  await delivered(at, [url("https://a.evil.example/"), url("https://b.evil.example/")]);
  at.clock.now += 23 * HOUR;
  await at.restart(false);
  while (await at.spool.sweep(at.clock.now));
  await at.restart();
  while (await at.spool.sweep(at.clock.now));
  await delivered(at, [url("https://c.evil.example/")]);
  await at.spool.putListEntries([denied("domain", "evil.example")]);
  await applyAll(at, 1);
  await judgeAll(at);
  expect((await changes(at)).map(({ change }) => change?.mails)).toEqual([3, 3, 3]);
  at.clock.now += 48 * HOUR;
  await at.restart(false);
  while (await at.spool.sweep(at.clock.now));
  await at.spool.setRelooks({ for: 100 * HOUR, first: 600_000 });
  await at.spool.putListEntries([denied("sender", "sender.example")]);
  expect(await at.spool.applyDenials(10)).toBeGreaterThan(0);
  await at.restart();
  while (await at.spool.sweep(at.clock.now));
  await at.spool.setRelooks({ for: 100 * HOUR, first: 600_000 });
  await at.spool.putListEntries([denied("sender", "a@example.com")]);
  await applyAll(at);
  await judgeAll(at);
  const reasons = (await changes(at)).flatMap((event) => event.reasons ?? []).join();
  expect(reasons).not.toContain("a@example.com");
});

test("a mail planned before an entry came and committed in the same turn is found by it", async () => {
  const folder = temporaryFolder();
  const spool = await openInThread(folder.path, { keepMetadata: HOUR });
  try {
    await spool.setRelooks({ for: HOUR, first: 600_000 });
    const mail = someMail();
    await spool.putMail(mail);
    await spool.claimMails(1);
    const plan = [skippedPart(url("https://evil.example/"))];
    const lists = await openRunTimeLists(spool);
    await Promise.all([
      spool.recordExtraction(mail.id, extractionOf(plan), plan),
      lists.add([denied("domain", "evil.example")]),
    ]);
    expect(await spool.applyDenials(10)).toBeGreaterThan(0);
    expect((await spool.mail(mail.id))?.artifacts[0]?.verdict?.verdict).toBe("malicious");
  } finally {
    await spool.close();
    folder.remove();
  }
});
