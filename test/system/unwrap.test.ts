/**
 * What carries or hides a mail or a file, through the compiled program: archives with passwords, copies by a real
 * Postfix, journal reports, files of Outlook. Verdicts of the simulator, events at rsyslog.
 */
import { afterEach, beforeEach, expect, test } from "bun:test";
import { writeFileSync } from "node:fs";
import path from "node:path";
import { zipSync } from "fflate";
import { EICAR } from "../../src/analyzer/simulator/judgement.ts";
import type { SensorEvent } from "../../src/report/event.ts";
import { makeWithSevenZip } from "../unit/extract/archives/make.ts";
import { attached, mail, multipart, type Part, sha256 } from "../unit/extract/mails.ts";
import {
  ascii,
  attribute,
  data,
  embedded,
  join,
  msg,
  prop,
  render,
  stream,
  title,
  tnef,
  u32,
} from "../unit/extract/outlook/writers.ts";
import { type Analyzer, launchSensor, startAnalyzer, type TestSensor } from "./lib/binary.ts";
import { openPlace, type Place, waitFor } from "./lib/place.ts";
import { startPostfix } from "./lib/postfix.ts";
import { type Rsyslog, startRsyslog } from "./lib/rsyslog.ts";
import { sendMails } from "./lib/smtp.ts";

const PASSWORD = "Tulpe#4711";

let place: Place;
let siem: Rsyslog;
let analyzer: Analyzer;
beforeEach(async () => {
  place = openPlace("unwrap");
  siem = await startRsyslog(place);
  analyzer = await startAnalyzer(place);
});
afterEach(() => place.close());

const startSensor = (extract: Readonly<Record<string, unknown>> = {}): Promise<TestSensor> =>
  launchSensor(place, {
    analyzer,
    config: { extract, siem: [{ name: "siem", syslog: `tcp://127.0.0.1:${siem.tcpPort}` }] },
  });

const events = (): readonly SensorEvent[] => siem.messages().map((line) => JSON.parse(line) as SensorEvent);
const verdicts = (): readonly SensorEvent[] => events().filter(({ type }) => type === "mail.verdict");

/** What a SIEM knows of the mail with this Message-ID once no part of it is being analysed: a bad one is told early. */
const verdictOf = (messageId: string): Promise<SensorEvent> =>
  waitFor(`the verdict of ${messageId}`, () => {
    const told = events().filter(({ mail, type }) => mail?.message_id === messageId && /verdict/.test(type));
    const parts = new Map(
      told
        .flatMap(({ attachments = [] }) => attachments)
        .map((part) => [`${part.path.join("/")} ${part.sha256}`, part]),
    );
    const links = new Map(told.flatMap(({ urls = [] }) => urls).map((link) => [link.url, link]));
    const [attachments, urls] = [[...parts.values()], [...links.values()]];
    const last = told.at(-1);
    if (last === undefined || [...attachments, ...urls].some(({ outcome }) => outcome === "pending"))
      return undefined;
    return { ...last, attachments, urls };
  });

async function send(port: number, content: Uint8Array, to: readonly string[] = ["bob@example.org"]) {
  const sent = await sendMails(port, [{ key: "m", from: "alice@example.com", to, content }]);
  expect(sent.refused).toEqual([]);
}

const head = (messageId: string, ...more: readonly string[]): readonly string[] => [
  "From: alice@example.com",
  "To: bob@example.org",
  `Message-ID: ${messageId}`,
  ...more,
];
const text = (body: string, type = "text/plain"): Part => ({
  headers: [`Content-Type: ${type}; charset=utf-8`],
  body,
});
const nested = (inner: Uint8Array): Part => ({ headers: ["Content-Type: message/rfc822"], body: inner });

/** A zip of the test file, with other bytes each time. */
const sealed = (switches: readonly string[] = ["-mem=AES256"], password = PASSWORD): Promise<Uint8Array> =>
  makeWithSevenZip({ "invoice.com": EICAR }, ["-tzip", `-p${password}`, ...switches]);

test("archives whose password the mail tells are opened, and judged by what is in them", async () => {
  const sensor = await startSensor();
  const mails: { name: string; archive: Uint8Array; content: Uint8Array; id: string }[] = [];
  const add = async (
    name: string,
    compose: (archive: Part, headers: (...more: string[]) => readonly string[]) => Uint8Array,
    archive?: Uint8Array,
  ) => {
    const made = archive ?? (await sealed());
    const id = `<${name.replaceAll(" ", "-")}@example.com>`;
    const content = compose(attached("invoice.zip", made), (...more) => head(id, ...more));
    mails.push({ name, archive: made, content, id });
  };
  const tells = `The password is ${PASSWORD}\r\n`;
  await add("text", (zip, top) => multipart(top(), [text(tells), zip]));
  await add(
    "old cipher",
    (zip, top) => multipart(top(), [text(tells), zip]),
    await sealed(["-mem=ZipCrypto"]),
  );
  await add("subject", (zip, top) =>
    multipart(top(`Subject: invoice, pw: ${PASSWORD}`), [text("See."), zip]),
  );
  await add("html", (zip, top) =>
    multipart(top(), [text(`<p>Password:&nbsp;<b>${PASSWORD}</b></p>`, "text/html"), zip]),
  );
  const named = await sealed(undefined, "20261102");
  await add(
    "file name",
    (_, top) => multipart(top(), [text("See."), attached("invoice_20261102.zip", named)]),
    named,
  );
  await add("nested mail", (zip, top) =>
    multipart(top(), [text("See."), zip, nested(mail(["Subject: the key"], tells))], "=_o"),
  );
  await add("surrounding mail", (zip, top) =>
    multipart(top(), [text(tells), nested(multipart(["Subject: in it"], [text("See."), zip]))], "=_o"),
  );
  await add("second attachment", (zip, top) =>
    multipart(top(), [text("See."), zip, attached("readme.txt", `Password: ${PASSWORD}`)]),
  );
  const keys = zipSync({ "readme.txt": Buffer.from(`Password: ${PASSWORD}`) });
  await add("file in another archive", (zip, top) =>
    multipart(top(), [text("See."), zip, attached("keys.zip", keys)]),
  );
  const within = await sealed();
  await add(
    "in another archive",
    (_, top) => multipart(top(), [text(tells), attached("all.zip", zipSync({ "invoice.zip": within }))]),
    within,
  );
  for (const { content } of mails) await send(sensor.smtpPort, content);
  for (const { name, archive, id } of mails) {
    const event = await verdictOf(id);
    expect({ name, verdict: event.verdict, complete: event.complete, flags: event.flags }).toEqual({
      name,
      verdict: "malicious",
      complete: true,
      flags: [],
    });
    const judged = event.attachments?.find((attachment) => attachment.sha256 === sha256(archive));
    expect(judged).toMatchObject({ verdict: "malicious", threat_names: ["EICAR-Test-File"] });
    expect(event.attachments?.map((attachment) => attachment.sha256)).toContain(sha256(EICAR));
  }
  const { opened } = await analyzer.statistics();
  expect(opened).toMatchObject(Object.fromEntries(mails.map(({ archive }) => [sha256(archive), 1])));
}, 600_000);

test("an archive whose password the mail does not tell is flagged, and opened when a later mail tells it", async () => {
  const sensor = await startSensor();
  const archive = await sealed();
  const locked = multipart(head("<locked@example.com>"), [text("See."), attached("a.zip", archive)]);
  await send(sensor.smtpPort, locked);
  const event = await verdictOf("<locked@example.com>");
  expect(event).toMatchObject({ verdict: "not_available", complete: false });
  expect(event.flags).toContain("archive_encrypted");
  expect(event.attachments?.map(({ filename, verdict }) => [filename, verdict])).toEqual([
    ["a.zip", "not_available"],
  ]);
  expect((await analyzer.statistics()).opened).toEqual({});

  const told = multipart(head("<told@example.com>"), [
    text(`Password: ${PASSWORD}`),
    attached("a.zip", archive),
  ]);
  await send(sensor.smtpPort, told);
  expect(await verdictOf("<told@example.com>")).toMatchObject({ verdict: "malicious", complete: true });
  expect((await analyzer.statistics()).opened).toEqual({ [sha256(archive)]: 1 });
}, 600_000);

const eicarZip = (member: string): Uint8Array =>
  zipSync({ [member]: Buffer.from(EICAR) }, { mtime: new Date(2020, 0, 1, 12) });

/** A report as Exchange makes it. */
function report(inner: Uint8Array, messageId: string, recipients: readonly string[], to: string): Buffer {
  const body = [
    "Sender: anna@sender.example",
    "Subject: Offer",
    `Message-Id: ${messageId}`,
    ...recipients.map((address) => `To: ${address}`),
    "",
  ].join("\r\n");
  return multipart(
    [
      "From: Exchange <MicrosoftExchange329e71ec88ae4615bbc36ab6ce41109e@corp.example>",
      `To: <${to}>`,
      "Subject: Offer",
      `Message-ID: <report-${crypto.randomUUID()}@corp.example>`,
      "X-MS-Journal-Report:",
    ],
    [text(body), nested(inner)],
    "=_r",
  );
}

test("copies by Postfix name the real recipients where they can, and a stranger's report none", async () => {
  const sensor = await startSensor();
  const copies = path.join(place.path, "copies");
  writeFileSync(copies, "/^([^@+]+)@(example[.]org)$/ copies+$1=$2@sensor.test\n");
  const postfix = await startPostfix(place, {
    alwaysBcc: "copy@all.sensor.test",
    routes: {
      "all.sensor.test": `smtp:[127.0.0.1]:${sensor.smtpPort}`,
      "sensor.test": `smtp:[127.0.0.1]:${sensor.smtpPort}`,
    },
    settings: { recipient_bcc_maps: `regexp:${copies}` },
  });
  const plain = (id: string) => multipart(head(id), [text("hello")]);
  await send(postfix.port, plain("<two@example.com>"), ["bob@example.org", "dora@example.org"]);
  const { mail: copied } = await verdictOf("<two@example.com>");
  expect(copied?.envelope.to.toSorted()).toEqual(["bob@example.org", "dora@example.org"]);
  await send(postfix.port, plain("<other@example.com>"), ["carol@example.net"]);
  const { mail: other } = await verdictOf("<other@example.com>");
  expect(other?.envelope.to).toEqual(["copy@all.sensor.test"]);

  const inner = multipart(
    ["From: anna@sender.example", "Subject: Offer", "Message-ID: <forged@sender.example>"],
    [text("hi"), attached("f.zip", eicarZip("forged.com"))],
  );
  const seen = () => verdicts().filter(({ flags }) => flags?.includes("journal_report_untrusted"));
  for (const victim of ["victim@example.org", "victim@example.net"]) {
    const forged = report(inner, "<forged@sender.example>", ["boss@example.org"], "copy@all.sensor.test");
    await send(postfix.port, forged, [victim]);
  }
  await waitFor("the verdicts of both forged reports", () => (seen().length >= 2 ? true : undefined));
  expect(
    seen()
      .flatMap(({ mail: of }) => of?.envelope.to ?? [])
      .toSorted(),
  ).toEqual(["copy@all.sensor.test", "victim@example.org"]);
  for (const event of seen()) {
    expect(event.verdict).toBe("malicious");
    expect(event.mail?.message_id).toStartWith("<report-");
  }
  await waitFor("an empty queue", async () => ((await postfix.queued()) === 0 ? true : undefined));
}, 600_000);

test("journal reports give the mail in them, for all its recipients, whatever their mailbox is behind", async () => {
  const sensor = await startSensor({ journal_addresses: ["journal@sensor.test"] });
  const postfix = await startPostfix(place, {
    routes: { "sensor.test": `smtp:[127.0.0.1]:${sensor.smtpPort}` },
  });
  const inner = multipart(
    [
      "From: Anna <anna@sender.example>",
      "To: list@corp.example",
      "Subject: Offer",
      "Message-ID: <offer@sender.example>",
    ],
    [text("see http://malicious.example/offer"), attached("offer.zip", eicarZip("offer.com"))],
  );
  const first = ["bob@corp.example", "carol@corp.example, Expanded: list@corp.example"];
  const make = (to: readonly string[]) => report(inner, "<offer@sender.example>", to, "journal@sensor.test");
  await send(postfix.port, make(first), ["journal@sensor.test"]);
  const event = await verdictOf("<offer@sender.example>");
  expect(event).toMatchObject({ verdict: "malicious", complete: true, flags: [] });
  expect(event.mail).toMatchObject({
    subject: "Offer",
    from: ["anna@sender.example"],
    to: ["list@corp.example"],
    envelope: { from: "anna@sender.example", to: ["bob@corp.example", "carol@corp.example"] },
  });
  expect(event.urls?.map(({ url, verdict }) => [url, verdict])).toEqual([
    ["http://malicious.example/offer", "malicious"],
  ]);
  const found = event.attachments?.find(({ filename }) => filename === "offer.zip");
  expect(found).toMatchObject({ verdict: "malicious", sha256: sha256(eicarZip("offer.com")) });

  await send(sensor.smtpPort, make(["dora@corp.example"]), ["journal@sensor.test"]);
  const events = () => verdicts().filter(({ mail: of }) => of?.message_id === "<offer@sender.example>");
  await waitFor("the event of the second report", () => (events().length === 2 ? true : undefined));
  expect(new Set(events().map(({ mail: of }) => of?.id)).size).toBe(1);
  expect(events()[1]?.mail?.envelope.to).toEqual(["dora@corp.example"]);
}, 600_000);

test("files in winmail.dat and in mails of Outlook get their verdicts", async () => {
  const sensor = await startSensor();
  const bad = (name: string) => eicarZip(`${name}.com`);
  const winmail = tnef(
    attribute(1, 0x9007, join(u32(1252), u32(0))),
    attribute(1, 0x8004, ascii("Invoice\0")),
    render(),
    title("hidden.zip"),
    data(bad("winmail")),
  );
  const file = (name: string, content: Uint8Array) => [
    stream("__properties_version1.0", new Uint8Array(8)),
    stream("__substg1.0_3707001F", Buffer.from(name, "utf16le")),
    stream("__substg1.0_37010102", content),
  ];
  const message = { props: [prop(0x0037001f, "Invoice")], attachments: [file("hidden.zip", bad("msg"))] };
  const deep = {
    props: [prop(0x0037001f, "Forwarded")],
    attachments: [
      [
        stream("__properties_version1.0", new Uint8Array(8)),
        embedded({ props: message.props, attachments: [file("hidden.zip", bad("deep"))] }),
      ],
    ],
  };
  const cases: readonly (readonly [string, string, Uint8Array])[] = [
    ["winmail", "winmail.dat", winmail],
    ["msg", "invoice.msg", msg(message)],
    ["deep", "forwarded.msg", msg(deep)],
  ];
  for (const [name, filename, content] of cases) {
    const id = `<${name}@example.com>`;
    await send(sensor.smtpPort, multipart(head(id), [text("See."), attached(filename, content)]));
    const event = await verdictOf(id);
    const found = event.attachments?.find((attachment) => attachment.sha256 === sha256(bad(name)));
    expect({ name, verdict: event.verdict, complete: event.complete, file: found?.filename }).toEqual({
      name,
      verdict: "malicious",
      complete: true,
      file: "hidden.zip",
    });
    expect(found).toMatchObject({ verdict: "malicious", threat_names: ["EICAR-Test-File"] });
  }
}, 600_000);
