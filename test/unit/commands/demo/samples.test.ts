import { describe, expect, test } from "bun:test";
import { createHash } from "node:crypto";
import { gzipSync } from "node:zlib";
import { type ParsedMail, simpleParser } from "mailparser";
import MailComposer from "nodemailer/lib/mail-composer";
import { EICAR, judgeFile, judgeUrl } from "../../../../src/analyzer/simulator/judgement.ts";
import { SAMPLES, type Sample } from "../../../../src/commands/demo/samples.ts";

const RUN = { id: "test", date: new Date("2026-03-01T09:00:00Z") };
const samples = SAMPLES.map((sample) => sample(RUN));

async function compose(sample: Sample): Promise<Buffer> {
  return await new MailComposer({ ...sample.mail }).compile().build();
}

/** The attachments of a mail and of the mails inside it. */
async function leaves(mail: ParsedMail): Promise<{ filename: string; content: Buffer }[]> {
  const found: { filename: string; content: Buffer }[] = [];
  for (const { filename, content, contentType } of mail.attachments) {
    if (contentType === "message/rfc822") found.push(...(await leaves(await simpleParser(content))));
    else found.push({ filename: filename ?? "", content });
  }
  return found;
}

describe("the sample mails of the demo", () => {
  test("have names and Message-IDs of their own", () => {
    expect(new Set(samples.map(({ name }) => name)).size).toBe(samples.length);
    expect(new Set(samples.map(({ mail }) => mail.messageId)).size).toBe(samples.length);
  });

  test("are the same mails in each run but for id and date", () => {
    const again = SAMPLES.map((sample) => sample({ id: "other", date: new Date(0) }));
    expect(again.map(({ contents }) => contents)).toEqual(samples.map(({ contents }) => contents));
    expect(again[0]?.mail.messageId).not.toBe(samples[0]?.mail.messageId);
  });

  test("cover every verdict", () => {
    expect(new Set(samples.map(({ expected }) => expected.verdict))).toEqual(
      new Set(["clean", "suspicious", "malicious", "not_available"]),
    );
  });

  test("two of them carry the same content", () => {
    const all = samples.flatMap(({ contents }) => contents);
    expect(all.length - new Set(all).size).toBe(1);
  });

  for (const sample of samples) {
    test(`${sample.title}: a parser reads what was meant`, async () => {
      const mail = await simpleParser(await compose(sample), { skipTextLinks: true });
      expect(mail.subject).toBe(sample.mail.subject);
      expect(mail.messageId).toBe(sample.mail.messageId);
      expect(mail.date?.getTime()).toBe(RUN.date.getTime());

      const files = await leaves(mail);
      const keys = files.map(({ content }) => createHash("sha256").update(content).digest("hex"));
      const { finding } = sample.expected;
      expect(sample.contents).toEqual(finding?.startsWith("http") ? [finding] : keys);
      if (finding === null) return expect(files).toEqual([]);
      if (finding.startsWith("http")) return expect(mail.html).toContain(finding);
      return expect(files.map(({ filename }) => filename)).toEqual([finding]);
    });

    test(`${sample.title}: the simulator judges it as the sample expects`, async () => {
      const { finding, verdict, complete } = sample.expected;
      const outcome = complete ? verdict : "error";
      if (finding === null) return expect(outcome).toBe("clean");
      if (finding.startsWith("http")) return expect(judgeUrl(new URL(finding)).outcome).toBe(outcome);
      const [file] = await leaves(await simpleParser(await compose(sample)));
      return expect(judgeFile(file?.content ?? Buffer.of()).outcome).toBe(outcome);
    });
  }

  test("the EICAR test file stands in no source file in one piece", async () => {
    for (const path of ["../../../../src/commands/demo/samples.ts", "./samples.test.ts"]) {
      expect(await Bun.file(new URL(path, import.meta.url)).text()).not.toContain(EICAR);
    }
  });

  test("the large one is larger than what the spool keeps in its database and does not compress", async () => {
    const large = samples.find(({ name }) => name === "large-attachment");
    const content = large?.mail.attachments?.[0]?.content;
    if (!Buffer.isBuffer(content)) throw new Error("the large sample has no bytes");
    expect(content.length).toBeGreaterThan(12 * 1024 ** 2);
    expect(gzipSync(content.subarray(0, 1024 ** 2)).length).toBeGreaterThan(1024 ** 2);
  });
});
