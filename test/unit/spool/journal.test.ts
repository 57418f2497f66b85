/** Several journal reports of one mail: Exchange splits one with many recipients. */
import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import { cpSync } from "node:fs";
import type { Extraction } from "../../../src/extract/extraction.ts";
import { takeApart } from "../../../src/extract/take-apart.ts";
import { composeMailEvents } from "../../../src/report/compose.ts";
import type { MailRow, Spool } from "../../../src/spool/spool.ts";
import { judge } from "../../../src/verdict/judge.ts";
import { BOUNDS, mail, multipart } from "../extract/mails.ts";
import { extractionOf, open, someMail, temporaryFolder } from "./fixtures.ts";

const DAY = 24 * 3_600_000;
const IDENTITY = "1".repeat(64);

let folder: ReturnType<typeof temporaryFolder>;
let spool: Spool;
beforeEach(async () => {
  folder = temporaryFolder();
  spool = await open(folder.path);
});
afterEach(async () => {
  await spool.close();
  folder.remove();
});

const reported = (to: readonly string[], identity: string | null = IDENTITY): Extraction => ({
  ...extractionOf([]),
  envelope: { source: "journal", from: "anna@sender.example", to, identity },
});

/** Puts a report in; its recipients are known after `extract`. */
async function put(receivedAt = Date.now()): Promise<string> {
  const report = someMail(undefined, { receivedAt });
  await spool.putMail(report);
  return report.id;
}

async function extract(id: string, to: readonly string[], identity: string | null = IDENTITY): Promise<void> {
  await spool.recordExtraction(id, reported(to, identity), []);
}

async function finish(id: string): Promise<readonly string[]> {
  const row = (await spool.analysedMails(10)).find((mail) => mail.id === id);
  if (row === undefined) throw new Error("the mail is not analysed");
  const events = composeMailEvents(row, judge(row), { id: "s", version: "0" }, new Set(), Date.now());
  await spool.finishMail(id, "clean", true, [], events);
  const [event] = events;
  return [event?.mail?.id ?? "", ...(event?.mail?.envelope.to ?? [])];
}

async function mailOf(id: string): Promise<MailRow> {
  const row = await spool.mail(id);
  if (row === null) throw new Error("the mail is gone");
  return row;
}

const recipients = async (id: string) => (await mailOf(id)).envelope.to;

describe("reports of one mail", () => {
  test("are one mail with the recipients of all, and each keeps its own", async () => {
    const [first, second, third] = [await put(), await put(), await put()];
    await extract(first, ["a@corp.example", "b@corp.example"]);
    await extract(second, ["b@CORP.example", "c@corp.example"]);
    await extract(third, ["d@corp.example"]);
    expect(await recipients(first)).toEqual(["a", "b", "c", "d"].map((name) => `${name}@corp.example`));
    expect(await recipients(second)).toEqual(["b@CORP.example", "c@corp.example"]);
    expect((await mailOf(first)).sameAs).toBe(null);
    expect((await mailOf(second)).sameAs).toBe(first);
    expect((await mailOf(third)).sameAs).toBe(first);
    expect((await mailOf(first)).envelope).toMatchObject({ from: "anna@sender.example", helo: "mx" });
  });

  test("have events with the id of the first, which name each recipient, whatever comes first", async () => {
    const [first, second] = [await put(), await put()];
    await extract(first, ["a@corp.example"]);
    const early = await finish(first);
    await extract(second, ["b@corp.example"]);
    const late = await finish(second);
    expect(early).toEqual([first, "a@corp.example"]);
    expect(late).toEqual([first, "b@corp.example"]);
    expect(await recipients(first)).toEqual(["a@corp.example", "b@corp.example"]);
    expect((await spool.mails({}, 10, null)).map(({ id, sameAs }) => [id, sameAs]).toSorted()).toEqual(
      [
        [first, null],
        [second, first],
      ].toSorted(),
    );
  });

  test("keep every recipient where the first is being judged when the second comes", async () => {
    const [first, second] = [await put(), await put()];
    await extract(first, ["a@corp.example"]);
    const [row] = await spool.analysedMails(1);
    await extract(second, ["b@corp.example"]);
    expect(row?.envelope.to).toEqual(["a@corp.example"]);
    expect(await finish(second)).toContain("b@corp.example");
    expect(await finish(first)).toEqual([first, "a@corp.example", "b@corp.example"]);
  });

  test("that are taken apart in another order than they came are one mail too", async () => {
    const [first, second] = [await put(), await put()];
    await extract(second, ["b@corp.example"]);
    await extract(first, ["a@corp.example"]);
    expect(await recipients(second)).toEqual(["b@corp.example", "a@corp.example"]);
    expect((await mailOf(first)).sameAs).toBe(second);
  });

  test("are one mail over a crash between them, and after a second try of the later one", async () => {
    const [first, second] = [await put(), await put()];
    await extract(first, ["a@corp.example"]);
    const crashed = temporaryFolder();
    cpSync(folder.path, crashed.path, { recursive: true });
    await extract(second, ["b@corp.example"]);
    await spool.close();
    spool = await open(crashed.path);
    expect(await recipients(first)).toEqual(["a@corp.example"]);
    expect((await spool.claimMails(10)).map(({ id }) => id)).toEqual([second]);
    await extract(second, ["b@corp.example"]);
    await extract(second, ["b@corp.example", "z@corp.example"]);
    expect(await recipients(first)).toEqual(["a@corp.example", "b@corp.example"]);
    expect((await mailOf(second)).sameAs).toBe(first);
    crashed.remove();
  });

  test("that come more than a day apart are mails of their own", async () => {
    const now = Date.now();
    const [old, within, fresh] = [await put(now - DAY - 1), await put(now - DAY), await put(now)];
    await extract(fresh, ["c@corp.example"]);
    await extract(old, ["a@corp.example"]);
    await extract(within, ["b@corp.example"]);
    expect((await mailOf(old)).sameAs).toBe(null);
    expect((await mailOf(within)).sameAs).toBe(old);
    expect((await mailOf(fresh)).sameAs).toBe(null);
    expect(await recipients(fresh)).toEqual(["c@corp.example"]);
  });

  test("have a bound on all recipients together; what is beyond stands in the later report, with a flag", async () => {
    const many = (from: number, count: number) =>
      Array.from({ length: count }, (_, index) => `u${from + index}@corp.example`);
    const [first, second] = [await put(), await put()];
    await extract(first, many(0, 9_999));
    await extract(second, many(9_999, 2));
    expect(await recipients(first)).toHaveLength(10_000);
    expect((await mailOf(first)).extraction?.flags).toEqual(["addresses_exceeded"]);
    expect(await recipients(second)).toEqual(many(9_999, 2));
  });

  test("do not reach into copies: these have no identity", async () => {
    const [first, second] = [await put(), await put()];
    await extract(first, ["a@corp.example"], null);
    await extract(second, ["b@corp.example"], null);
    expect(await recipients(first)).toEqual(["a@corp.example"]);
    expect((await mailOf(second)).sameAs).toBe(null);
  });
});

describe("what makes two reports one mail", () => {
  const report = (recipient: string, inner: Buffer) =>
    multipart(
      ["X-MS-Journal-Report:", "Subject: Offer"],
      [
        {
          headers: ["Content-Type: text/plain"],
          body: `Sender: a@x.example\r\nSubject: Offer\r\nMessage-Id: <1@x.example>\r\nTo: ${recipient}\r\n`,
        },
        { headers: ["Content-Type: message/rfc822"], body: inner },
      ],
    );
  const inner = (body: string, ...top: readonly string[]) =>
    mail([...top, "From: a@x.example", "Subject: Offer", "Message-ID: <1@x.example>"], body);
  const identityOf = async (raw: Buffer) => (await takeApart(raw, BOUNDS)).envelope?.identity ?? null;

  test("is the mail, whatever servers wrote on top of it", async () => {
    const one = await identityOf(report("b@corp.example", inner("hello\r\n")));
    const other = inner("hello\r\n", "Received: by another server; date", "X-MS-Exchange-Organization-X: 1");
    expect(one).not.toBe(null);
    expect(await identityOf(report("c@corp.example", other))).toBe(one);
  });

  test("is not its Message-ID: another mail with the same one stays apart", async () => {
    const one = await identityOf(report("b@corp.example", inner("hello\r\n")));
    const reused = await identityOf(report("c@corp.example", inner("harm\r\n")));
    expect(reused).not.toBe(null);
    expect(reused).not.toBe(one);
  });
});
