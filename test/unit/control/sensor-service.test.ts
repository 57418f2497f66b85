import { afterEach, describe, expect, test } from "bun:test";
import { status } from "@grpc/grpc-js";
import fc from "fast-check";
import {
  Attachment_Container,
  Circuit_State,
  Decision_Action,
  Destination_State,
  EnvelopeSource,
  Event,
  Judgement_Outcome,
  Mail,
  MailState,
  type MailSummary,
  Verdict,
} from "../../../gen/emailsensor/v1/sensor.ts";
import { eventJson, mailDetailJson } from "../../../src/control/json.ts";
import { eventMessage, MESSAGE_LIMIT, mailMessage } from "../../../src/control/messages.ts";
import { SensorError } from "../../../src/errors.ts";
import { sampleEvents } from "../../../src/report/samples.ts";
import { analysisKey } from "../../../src/spool/analyses.ts";
import type { ArtifactRow, MailRow, Spool } from "../../../src/spool/spool.ts";
import type { PlannedArtifact } from "../../../src/triage/plan.ts";
import { until } from "../../until.ts";
import { attachment, extractionOf, MINING, someMail } from "../spool/fixtures.ts";
import { calls, EXTRA, type Harness, harness, type listRequest, refusalOf, verdictEvent } from "./harness.ts";

let open: Harness | undefined;
afterEach(async () => {
  await open?.end();
  open = undefined;
});

const url: PlannedArtifact = {
  kind: "url",
  url: { url: "HTTP://Bad.example/", normalized: "http://bad.example/", sources: ["html"] },
  decision: { action: "reputation", rule: "default.urls", reason: "URLs are analysed" },
};

const waiting = (part: PlannedArtifact): ArtifactRow => ({ ...part, verdict: null });

/** Puts a mail through to its verdict. */
async function doneMail(spool: Spool, subject: string, to = ["b@example.org"]): Promise<string> {
  const mail = someMail(`Subject: ${subject}\r\n\r\n`, {
    envelope: { from: "", to, client_ip: "192.0.2.1", helo: "mx.example.com", tls: "TLSv1.3 X" },
  });
  await spool.putMail(mail);
  await spool.claimMails(1);
  const parts = [attachment(`${subject} text`, "skip"), attachment(subject), url];
  await spool.recordExtraction(mail.id, { ...extractionOf(parts, subject), passwords: ["infected"] }, parts);
  for (const part of parts.slice(1)) {
    await spool.finishAnalysis(
      analysisKey(part),
      {
        outcome: "judged",
        verdict: "malicious",
        reason: "it runs a miner",
        threat_names: ["Miner"],
        vmray: { sample_id: 2 ** 40, submission_id: null, url: "https://vmray.example/samples/1" },
        evidence: {
          ...MINING,
          indicators: [{ category: "Heuristics", operation: "Mines coins", score: 4 }],
        },
        cost: { calls: 9, submissions: 1, quota: 2, seconds: 61.25, reports: 2, analysis_seconds: 55 },
        analyzer: "cloud",
      },
      null,
    );
  }
  await spool.finishMail(
    mail.id,
    "malicious",
    true,
    ["attachment is malicious"],
    [verdictEvent("malicious")],
  );
  return mail.id;
}

describe("GetStatus", () => {
  test("gives identity, counts, the analyzer and each destination", async () => {
    open = await harness();
    await open.spool.addDestinations(["siem", "late"]);
    await doneMail(open.spool, "one");
    await open.spool.putMail(someMail());
    const before = Date.now();
    const { status: seen } = await calls(open.client()).getStatus();
    expect(seen?.sensor).toEqual({ id: "sensor-1", version: "1.2.3" });
    expect(seen?.mails).toEqual({ received: 1n, analysing: 0n, analysed: 0n, done: 1n, failed: 0n });
    expect(seen?.verdicts).toEqual({ malicious: 1n, suspicious: 0n, clean: 0n, notAvailable: 0n });
    expect(seen?.analyzer).toEqual({
      running: 2n,
      open: 5n,
      lookups: { state: Circuit_State.OPEN, retryAt: undefined },
      submissions: {
        state: Circuit_State.PAUSED,
        reason: "unreachable",
        retryAt: new Date("2026-11-24T09:00:00Z"),
      },
      lastError: "VMRAY_UNREACHABLE: VMRay closed\u202e it",
      lastErrorAt: new Date("2026-11-24T08:00:00Z"),
      waiting: { lookups: 1n, urls: 0n, files: 2n, vmray: 7n, verdicts: 0n },
      budget: {
        perDay: 500n,
        used: 412n,
        reserve: 50n,
        usedUp: false,
        renewsAt: new Date("2026-11-25T00:00:00Z"),
        whenUsedUp: Decision_Action.REPUTATION,
        quotaRetryAt: undefined,
      },
      quota: {
        key: { limit: 0n, used: 412n },
        report: { limit: 1000n, used: 412n },
        verdict: { limit: 0n, used: 0n },
        period: "monthly",
      },
    });
    expect(seen?.spoolBytes).toBeGreaterThan(0n);
    const askedAt = (seen?.startedAt?.getTime() ?? 0) + Number(seen?.uptime?.seconds) * 1000;
    expect(askedAt).toBeWithin(before - 2000, Date.now() + 1);
    expect(seen?.destinations.map(({ name, state, backlog }) => ({ name, state, backlog }))).toEqual([
      { name: "siem", state: Destination_State.UP, backlog: 1n },
      { name: "late", state: Destination_State.UNSPECIFIED, backlog: 1n },
    ]);
    expect(seen?.destinations[0]?.oldestWaitingAt?.getTime()).toBeGreaterThan(Date.now() - 60_000);
  });

  test("says why the analyzer pauses and why a destination is down", async () => {
    open = await harness({
      status: () => ({
        analyzer: EXTRA.analyzer && { ...EXTRA.analyzer, pausedReason: "quota used up" },
        destinations: [
          { name: "siem", up: false, delivered: 0, lastError: "connection refused", composed: 5 },
        ],
      }),
    });
    const { status: seen } = await calls(open.client()).getStatus();
    expect(seen?.analyzer?.pausedReason).toBe("quota used up");
    expect(seen?.destinations[0]).toMatchObject({
      state: Destination_State.DOWN,
      lastError: "connection refused",
      backlog: 5n,
    });
  });
});

describe("GetMail", () => {
  test("shows the whole way of a mail", async () => {
    open = await harness();
    const id = await doneMail(open.spool, "hello");
    const client = open.client();
    const { mail } = await calls(client).getMail(id);
    expect(mail).toMatchObject({
      id,
      state: MailState.DONE,
      verdict: Verdict.MALICIOUS,
      complete: true,
      reasons: ["attachment is malicious"],
      envelope: {
        from: "",
        to: ["b@example.org"],
        clientIp: "192.0.2.1",
        helo: "mx.example.com",
        tls: "TLSv1.3 X",
      },
      header: { subject: "hello", messageId: "<1@example.com>" },
      passwordCount: 1,
      extractionComplete: true,
      rawKept: true,
      truncated: false,
    });
    expect(
      mail?.attachments.map(({ decision, judgement }) => [decision?.action, judgement?.outcome]),
    ).toEqual([
      [Decision_Action.SKIP, Judgement_Outcome.SKIPPED],
      [Decision_Action.DYNAMIC, Judgement_Outcome.JUDGED],
    ]);
    expect(mail?.urls[0]).toMatchObject({
      url: "HTTP://Bad.example/",
      normalized: "http://bad.example/",
      sources: ["html"],
      decision: { rule: "default.urls", reason: "URLs are analysed" },
      judgement: {
        verdict: Verdict.MALICIOUS,
        threatNames: ["Miner"],
        vmray: { sampleId: 2n ** 40n, url: "https://vmray.example/samples/1" },
        evidence: {
          classifications: ["Miner"],
          indicators: [{ category: "Heuristics", operation: "Mines coins", score: 4 }],
          techniques: [{ id: "T1496", name: "Resource Hijacking", tactics: ["Impact"] }],
          iocs: { urls: [], domains: ["pool.example"], emailAddresses: ["m@pool.example"] },
        },
        cost: { calls: 9n, submissions: 1n, quota: 2, seconds: 61.25, reports: 2, analysisSeconds: 55 },
        analyzer: "cloud",
      },
    });
    expect(mail?.finishedAt?.getTime()).toBeGreaterThanOrEqual(mail?.receivedAt?.getTime() ?? Number.NaN);
    expect(
      JSON.stringify(mail, (_, value) => (typeof value === "bigint" ? String(value) : value)),
    ).not.toContain("infected");
  });

  test("a mail just received has neither header nor verdict", async () => {
    open = await harness();
    const received = someMail();
    await open.spool.putMail(received);
    const client = open.client();
    const { mail } = await calls(client).getMail(received.id);
    expect(mail).toMatchObject({ state: MailState.RECEIVED, verdict: Verdict.UNSPECIFIED, attachments: [] });
    expect(mail?.header).toBeUndefined();
    expect(mail?.complete).toBeUndefined();
    expect(mail?.finishedAt).toBeUndefined();
  });

  test("an unknown mail is NOT_FOUND, and what is no id INVALID_ARGUMENT", async () => {
    open = await harness();
    const client = open.client();
    const ask = (id: string) => refusalOf(calls(client).getMail(id));
    expect((await ask(Bun.randomUUIDv7())).code).toBe(status.NOT_FOUND);
    for (const id of ["", "../../etc/passwd", "a".repeat(65), "x' OR 1=1 --", "\ud800", "é\r\nx"]) {
      expect(await ask(id)).toMatchObject({
        code: status.INVALID_ARGUMENT,
        details: expect.stringContaining("id: is not the id of a mail"),
      });
    }
  });

  test("an event keeps everything on its way over the wire", () => {
    const events = sampleEvents()
      .map(({ event }) => event)
      .filter(({ type }) => type === "mail.verdict" || type === "sensor.state");
    expect(events.length).toBeGreaterThan(2);
    for (const event of events) {
      const received = Event.decode(Event.encode(eventMessage(1, event)).finish());
      expect(eventJson(received)).toEqual({ seq: 1, ...event } as never);
    }
  });

  test("says what extraction knows of a part, and whose envelope it is", () => {
    const part = attachment("member");
    if (part.kind !== "attachment") throw new Error("no attachment");
    const detail = {
      path: ["docs.zip"],
      within: "archive",
      facts: ["macros"],
      password: "open sesame",
      sha1: "1".repeat(40),
      md5: "2".repeat(32),
    } as const;
    const link = {
      ...url,
      url: {
        ...url.url,
        unwrapped_from: ["https://wrapper.example/?url=x"],
        target_domain: "bad.example",
        personal: true,
      },
    } as const;
    const first = Bun.randomUUIDv7();
    const { body: _, ...facts } = someMail();
    const row: MailRow = {
      ...facts,
      state: "analysing",
      sameAs: first,
      extraction: {
        ...extractionOf([], "journaled"),
        envelope: { source: "journal", from: "", to: [], identity: "ab" },
      },
      artifacts: [
        { ...part, attachment: { ...part.attachment, ...detail }, verdict: null },
        { ...link, verdict: null },
      ],
      attempts: 0,
      verdict: null,
      complete: null,
      reasons: [],
      finishedAt: null,
      error: null,
      rawKept: true,
    };
    const message = Mail.decode(Mail.encode(mailMessage(row)).finish());
    expect(message).toMatchObject({
      envelopeSource: EnvelopeSource.JOURNAL,
      sameAs: first,
      attachments: [{ ...detail, within: Attachment_Container.ARCHIVE }],
      urls: [
        {
          unwrappedFrom: ["https://wrapper.example/?url=x"],
          targetDomain: "bad.example",
          personal: true,
        },
      ],
    });
    expect(mailDetailJson(message)).toMatchObject({
      envelope_source: "journal",
      same_as: first,
      attachments: [{ ...detail, within: "archive" }],
      urls: [
        {
          unwrapped_from: ["https://wrapper.example/?url=x"],
          target_domain: "bad.example",
          personal: true,
        },
      ],
    });
    const plain = mailMessage({
      ...row,
      sameAs: null,
      extraction: null,
      artifacts: [part, url].map(waiting),
    });
    expect(plain).toMatchObject({ envelopeSource: EnvelopeSource.SMTP, urls: [{ personal: false }] });
    expect(mailDetailJson(plain)).toMatchObject({
      envelope_source: "smtp",
      same_as: null,
      attachments: [{ within: "mail", password: null }],
      urls: [{ unwrapped_from: [], target_domain: null, personal: false }],
    });
  });

  test("a mail of any size makes an answer every client takes", () => {
    const many = Array.from({ length: 3000 }, (_, index) => ({
      ...attachment(`part ${index}`),
      verdict: null,
    }));
    const huge = many.map((part, index) =>
      part.kind === "attachment"
        ? { ...part, attachment: { ...part.attachment, path: Array(20).fill(`${index}`.repeat(400)) } }
        : part,
    );
    const { body: _, ...facts } = someMail();
    const message = mailMessage({
      ...facts,
      state: "analysing",
      sameAs: null,
      extraction: { ...extractionOf([], "s".repeat(5_000_000)), flags: Array(50_000).fill("flag") },
      artifacts: huge,
      attempts: 0,
      verdict: null,
      complete: null,
      reasons: [],
      finishedAt: null,
      error: null,
      rawKept: true,
    });
    expect(message.truncated).toBe(true);
    expect(Mail.encode(message).finish().length).toBeLessThanOrEqual(MESSAGE_LIMIT);
    expect(message.attachments.length).toBeGreaterThan(50);
  });
});

describe("ReplayEvents", () => {
  test("refuses what it does not understand, and says what to give instead", async () => {
    open = await harness();
    const { replayEvents } = calls(open.client());
    const since = new Date("2026-01-01T00:00:00Z");
    const refusal = (change: object) =>
      refusalOf(replayEvents({ destination: "siem", since, until: undefined, ...change }));
    expect(await refusal({ since: undefined })).toMatchObject({ code: status.INVALID_ARGUMENT });
    expect(await refusal({ until: since })).toMatchObject({ code: status.INVALID_ARGUMENT });
    expect(await refusal({ destination: "a b\u0000" })).toMatchObject({ code: status.INVALID_ARGUMENT });
    expect(await refusal({ destination: "other" })).toMatchObject({ code: status.NOT_FOUND });
  });
});

test("a replay without an end left out what bears a later time: the clock was set back since", async () => {
  open = await harness();
  const hour = 3_600_000;
  const event = (time: number) => ({ ...verdictEvent("clean"), time: new Date(time).toISOString() });
  await open.spool.putEvents([event(Date.now() - hour), event(Date.now() - 1000), event(Date.now() + hour)]);
  const { replayEvents } = calls(open.client());
  const since = new Date(Date.now() - hour / 2);
  const { events } = await replayEvents({ destination: "siem", since, until: undefined });
  expect(Number(events)).toBe(2);
});

describe("ListMails", () => {
  async function pages(of: Harness, filter: Parameters<typeof listRequest>[0], pageSize: number) {
    const client = of.client();
    const found: (readonly MailSummary[])[] = [];
    let token = "";
    do {
      const answer = await calls(client).listMails(filter, pageSize, token);
      found.push(answer.mails);
      token = answer.nextPageToken;
    } while (token !== "");
    return found;
  }

  test("pages through all mails, newest first, each once", async () => {
    open = await harness();
    const ids: string[] = [];
    for (let index = 0; index < 130; index += 1) {
      const mail = someMail();
      await open.spool.putMail(mail);
      ids.unshift(mail.id);
    }
    for (const pageSize of [13, 65, 129, 130, 200]) {
      const found = await pages(open, {}, pageSize);
      expect(found.flat().map((mail) => mail.id)).toEqual(ids);
      expect(found.length).toBe(Math.ceil(130 / pageSize));
    }
    expect((await pages(open, {}, 0)).map((page) => page.length)).toEqual([50, 50, 30]);
  });

  test("summarises a mail with many recipients and parts", async () => {
    open = await harness();
    const to = Array.from({ length: 300 }, (_, index) => `user${index}@example.org`);
    await doneMail(open.spool, "list me", to);
    const [[summary] = []] = await pages(open, {}, 10);
    expect(summary).toMatchObject({
      subject: "list me",
      verdict: Verdict.MALICIOUS,
      envelopeFrom: "",
      recipientCount: 300,
      attachmentCount: 2,
      urlCount: 1,
      reasons: ["attachment is malicious"],
    });
    expect(summary?.envelopeTo).toEqual(to.slice(0, 20));
  });

  test("filters by state, verdict, time and text, and takes no wildcard or quote for more than itself", async () => {
    open = await harness();
    const done = await doneMail(open.spool, "100% sure_thing");
    const waiting = someMail();
    await open.spool.putMail(waiting);
    const from = open;
    const ids = async (filter: Parameters<typeof listRequest>[0]) =>
      (await pages(from, filter, 10)).flat().map((mail) => mail.id);
    expect(await ids({ states: [MailState.RECEIVED] })).toEqual([waiting.id]);
    expect(await ids({ states: [MailState.RECEIVED, MailState.DONE] })).toEqual([waiting.id, done]);
    expect(await ids({ verdicts: [Verdict.MALICIOUS] })).toEqual([done]);
    expect(await ids({ verdicts: [Verdict.CLEAN] })).toEqual([]);
    expect(await ids({ receivedSince: new Date(Date.now() + 60_000) })).toEqual([]);
    expect(await ids({ receivedUntil: new Date(Date.now() + 60_000) })).toEqual([waiting.id, done]);
    expect(await ids({ text: "SURE_" })).toEqual([done]);
    expect(await ids({ text: "100%" })).toEqual([done]);
    for (const text of ["1%e", "s_re", "' OR ''='", "\\", "*", "%", "_"].filter(
      (one) => !/^[%_]$/.test(one),
    )) {
      expect(await ids({ text })).toEqual([]);
    }
  });

  test("refuses what it does not understand, and says what to give instead", async () => {
    open = await harness();
    const client = open.client();
    const ask = (...of: Parameters<typeof listRequest>) => refusalOf(calls(client).listMails(...of));
    const cases: readonly [Parameters<typeof listRequest>, string][] = [
      [[{}, -1], "page_size: is negative"],
      [[{ states: [9 as MailState] }], "filter.states[0]: 9 is not known; give any of MAIL_STATE_RECEIVED"],
      [[{ verdicts: [1, 0] }], "filter.verdicts[1]: 0 is not known; give any of VERDICT_CLEAN"],
      [[{ verdicts: Array(1000).fill(1) }], "filter.verdicts: 1000 values"],
      [[{ text: "x".repeat(257) }], "filter.text: 257 characters"],
      [[{ text: "a\0b" }], "filter.text: holds a NUL"],
      [
        [{ receivedSince: new Date(2000), receivedUntil: new Date(1000) }],
        "filter.received_until: is not after",
      ],
      [[{}, 0, "junk"], "page_token: is not one of this service"],
      [[{}, 0, "x".repeat(10_000)], "page_token: is not one of this service"],
    ];
    for (const [of, details] of cases) {
      expect(await ask(...of)).toMatchObject({
        code: status.INVALID_ARGUMENT,
        details: expect.stringContaining(details),
      });
    }
  });

  test("a page token serves the filter it was made with alone", async () => {
    open = await harness();
    for (let index = 0; index < 3; index += 1) await open.spool.putMail(someMail());
    const client = open.client();
    const first = await calls(client).listMails({}, 1);
    expect(await refusalOf(calls(client).listMails({ text: "x" }, 1, first.nextPageToken))).toMatchObject({
      code: status.INVALID_ARGUMENT,
      details: expect.stringContaining("another filter"),
    });
  });
});

describe("a fault of the sensor", () => {
  test("is told to the client without insides, and to the log with them", async () => {
    open = await harness({
      wrap: (spool) => ({
        ...spool,
        counts: () => Promise.reject(new Error("disk /secret/path sector 7")),
        mail: () => Promise.reject(new SensorError("SPOOL_BUSY", "locked by /usr/bin/backup")),
      }),
    });
    const client = open.client();
    const internal = await refusalOf(calls(client).getStatus());
    expect(internal.code).toBe(status.INTERNAL);
    expect(internal.details).not.toContain("secret");
    const reference = /reference ([0-9a-f]{12})$/.exec(internal.details)?.[1] ?? "none";
    expect(open.logged.find((line) => line.includes(reference))).toContain("disk /secret/path sector 7");

    const busy = await refusalOf(calls(client).getMail("1"));
    expect(busy.code).toBe(status.UNAVAILABLE);
    expect(busy.details).toContain("SPOOL_BUSY");
    expect(busy.details).not.toContain("backup");
  });

  test("calls beyond the limit are refused while the others wait, and served again after", async () => {
    const gate = Promise.withResolvers<void>();
    open = await harness({
      wrap: (spool) => ({
        ...spool,
        async counts() {
          await gate.promise;
          return spool.counts();
        },
      }),
    });
    const client = open.client();
    let refused = 0;
    const outcomes = Array.from({ length: 40 }, () =>
      calls(client)
        .getStatus()
        .then(
          () => status.OK,
          (error) => {
            refused += 1;
            return error.code as number;
          },
        ),
    );
    await until(() => refused === 8, "the refusals");
    gate.resolve();
    const codes = await Promise.all(outcomes);
    expect(codes.filter((code) => code === status.OK).length).toBe(32);
    expect(codes.filter((code) => code === status.RESOURCE_EXHAUSTED).length).toBe(8);
    expect((await calls(client).getStatus()).status).toBeDefined();
  });
});

test("bytes that are no request end their call and nothing else", async () => {
  open = await harness();
  const client = open.client();
  const raw = (method: string, bytes: Uint8Array) =>
    new Promise<number>((resolve) => {
      client.makeUnaryRequest(
        `/emailsensor.v1.SensorService/${method}`,
        (request: Uint8Array) => Buffer.from(request),
        (answer: Buffer) => answer,
        bytes,
        (error) => resolve(error?.code ?? status.OK),
      );
    });
  await fc.assert(
    fc.asyncProperty(
      fc.constantFrom("GetStatus", "ListMails", "GetMail", "AddListEntries", "ListListEntries"),
      fc.uint8Array({ maxLength: 300 }),
      async (method, bytes) => {
        const { OK, INTERNAL, INVALID_ARGUMENT, NOT_FOUND } = status;
        expect([OK, INTERNAL, INVALID_ARGUMENT, NOT_FOUND]).toContain(await raw(method, bytes));
      },
    ),
    { numRuns: 300 },
  );
  expect(await raw("GetMail", new Uint8Array(270_000))).toBe(status.RESOURCE_EXHAUSTED);
  expect((await calls(client).getStatus()).status).toBeDefined();
  expect(open.logged.filter((line) => line.includes('"level":"error"'))).toEqual([]);
});
