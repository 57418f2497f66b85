/**
 * Alert mails of the compiled binary through a real Postfix to mailboxes: TLS and its faults, passwords, signatures that
 * another program verifies, crashes, and alerts that come back to the sensor as every mail does.
 */
import { afterEach, beforeEach, expect, test } from "bun:test";
import { generateKeyPairSync, type KeyObject } from "node:crypto";
import { copyFileSync, existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { EICAR } from "../../src/analyzer/simulator/judgement.ts";
import type { SensorEvent } from "../../src/report/event.ts";
import { freePort } from "../ports.ts";
import { type Certificates, makeCertificates } from "../unit/report/certificates.ts";
import { launchSensor, startAnalyzer, type TestSensor } from "./lib/binary.ts";
import { openPlace, type Place, runToEnd, waitFor } from "./lib/place.ts";
import { type Postfix, startPostfix } from "./lib/postfix.ts";
import { sendMails, type TestMail } from "./lib/smtp.ts";

let place: Place;
beforeEach(() => {
  place = openPlace("alert");
});
afterEach(() => place.close());

const USER = { name: "sensor", password: "correct-horse-battery" };
const FROM = "email-sensor@example.org";

type ReadMail = {
  readonly header: readonly (readonly [string, string])[];
  readonly type: string;
  readonly parts: readonly {
    readonly type: string;
    readonly charset: string | null;
    readonly disposition: string | null;
    readonly filename: string | null;
    readonly text: string | null;
  }[];
  readonly defects: readonly string[];
  readonly dkim: boolean | null;
};

/** A mail as Python and dkimpy read it, with the TXT records given. */
async function read(mail: Uint8Array, records: Readonly<Record<string, string>> = {}): Promise<ReadMail> {
  const script = join(import.meta.dir, "read_mail.py");
  const done = await runToEnd(["/usr/bin/python3", script, JSON.stringify(records)], { input: mail });
  if (done.code !== 0) throw new Error(`the mail cannot be read: ${done.stderr}`);
  return JSON.parse(done.stdout) as ReadMail;
}

const fields = (mail: ReadMail, name: string): readonly string[] =>
  mail.header
    .filter(([field]) => field.toLowerCase() === name.toLowerCase())
    .map(([, value]) => value.trim());

/** A mail whose attachment is malicious, each key another content. */
function badMail(key: string, to: readonly string[], header: readonly string[] = []): TestMail {
  const content = [
    ...header,
    "From: Billing <billing@sender.example>",
    `To: ${to[0]}`,
    `Subject: Invoice ${key}`,
    `Message-ID: <${key}@sender.example>`,
    "MIME-Version: 1.0",
    'Content-Type: multipart/mixed; boundary="mark"',
    "",
    "--mark",
    "Content-Type: text/plain",
    "",
    "See invoice.",
    "--mark",
    `Content-Type: application/octet-stream; name="${key}.com"`,
    `Content-Disposition: attachment; filename="${key}.com"`,
    "Content-Transfer-Encoding: base64",
    "",
    Buffer.from(`${EICAR}\r\n${key}`).toString("base64"),
    "--mark--",
    "",
  ];
  return { key, from: "billing@sender.example", to, content: content.join("\r\n") };
}

async function send(port: number, mails: readonly TestMail[]): Promise<void> {
  expect((await sendMails(port, mails)).refused).toEqual([]);
}

const received = (postfix: Postfix, address: string, count: number) =>
  waitFor(`${count} mails for ${address}`, () => {
    const mails = postfix.mailbox(address);
    return mails.length >= count ? mails : undefined;
  });

const DELIVERY = / to=<([^>]*)>/g;

/** The log of Postfix with at least so many deliveries in it: a mail is in its mailbox before that is logged. */
const deliveries = (postfix: Postfix, count: number) =>
  waitFor(`${count} deliveries in the log`, () =>
    [...postfix.log().matchAll(DELIVERY)].length >= count ? postfix.log() : undefined,
  );

const logged = (sensor: TestSensor, msg: string) => sensor.log().filter((line) => line.msg === msg);

function passwordFile(): string {
  const path = join(place.path, "relay.password");
  writeFileSync(path, `${USER.password}\n`, { mode: 0o600 });
  return path;
}

const pem = (key: KeyObject) => key.export({ type: "pkcs8", format: "pem" }).toString();

test("alerts come by STARTTLS and by implicit TLS, with a password, signed, and to nobody else", async () => {
  const made = makeCertificates("localhost", place.path);
  const postfix = await startPostfix(place, {
    mailboxes: ["bob@example.org", "soc@example.org"],
    tls: made.server,
    user: USER,
  });
  const rsa = generateKeyPairSync("rsa", { modulusLength: 2048 });
  const ed25519 = generateKeyPairSync("ed25519");
  const der = (key: KeyObject) => key.export({ type: "spki", format: "der" });
  const records = {
    "rsa._domainkey.example.org": `v=DKIM1; k=rsa; p=${der(rsa.publicKey).toString("base64")}`,
    "ed._domainkey.example.org": `v=DKIM1; k=ed25519; p=${der(ed25519.publicKey).subarray(-32).toString("base64")}`,
  };
  const dkim = (selector: string, key: KeyObject) => {
    const path = join(place.path, `${selector}.key`);
    writeFileSync(path, pem(key), { mode: 0o600 });
    return { domain: "example.org", selector, key_file: path };
  };
  const relay = { from: FROM, ca_file: made.ca, user: USER.name, password_file: passwordFile() };
  const analyzer = await startAnalyzer(place);
  const sensor = await launchSensor(place, {
    analyzer,
    config: {
      alerts: [
        {
          ...{ name: "people", relay: `localhost:${postfix.submission}`, tls: "required", ...relay },
          ...{ to_recipients: true, domains: ["example.org"], dkim: dkim("rsa", rsa.privateKey) },
        },
        {
          ...{ name: "soc", relay: `localhost:${postfix.smtps}`, tls: "implicit", ...relay },
          ...{ to: ["soc@example.org"], campaign_wait: "0s", dkim: dkim("ed", ed25519.privateKey) },
        },
      ],
    },
  });
  const strangers = [
    "carol@elsewhere.example",
    "dave@sub.example.org",
    "eve%elsewhere.example@example.org",
    '"frank@elsewhere.example"@example.org',
    "@example.org:grace@elsewhere.example",
  ];
  await send(sensor.smtpPort, [badMail("one", ["bob@example.org", ...strangers])]);
  const [toBob] = await received(postfix, "bob@example.org", 1);
  const [toSoc] = await received(postfix, "soc@example.org", 1);
  if (toBob === undefined || toSoc === undefined) throw new Error("a mailbox is empty");

  for (const [bytes, address] of [
    [toBob, "bob@example.org"],
    [toSoc, "soc@example.org"],
  ] as const) {
    const mail = await read(bytes, records);
    expect(mail.defects).toEqual([]);
    expect(fields(mail, "Return-Path")).toEqual(["<>"]);
    expect(fields(mail, "Delivered-To")).toEqual([address]);
    expect(fields(mail, "To")).toEqual([address]);
    expect(fields(mail, "From")).toEqual([`Email sensor <${FROM}>`]);
    expect(fields(mail, "Auto-Submitted")).toEqual(["auto-generated"]);
    expect(fields(mail, "Message-ID")).toEqual([expect.stringMatching(/^<alert\.[^<>]+@example\.org>$/)]);
    expect(fields(mail, "Subject")).toEqual(['Malicious attachment: "one[.]com"']);
    expect(mail.type).toBe("multipart/alternative");
    expect(
      mail.parts.map(({ type, charset, disposition, filename }) => [type, charset, disposition, filename]),
    ).toEqual([
      ["text/plain", "utf-8", null, null],
      ["text/html", "utf-8", null, null],
    ]);
    for (const { text } of mail.parts) {
      expect(text).toContain("one[.]com");
      expect(text).toContain("Invoice one");
      expect(text).not.toContain("X5O!P");
    }
    expect(mail.dkim).toBe(true);
    const changed = Buffer.from(bytes.toString("latin1").replace("NOT block,", "now block,"), "latin1");
    expect(changed.equals(bytes)).toBe(false);
    expect((await read(changed, records)).dkim).toBe(false);
    const forged = Buffer.concat([Buffer.from("Subject: All is well\n"), bytes]);
    expect((await read(forged, records)).dkim).toBe(false);
  }
  const log = await deliveries(postfix, 2);
  expect(log.match(/sasl_method=\w+, sasl_username=sensor/g)).toHaveLength(2);
  expect(log.match(/Anonymous TLS connection established from .*TLSv1\.[23]/g)).toHaveLength(2);
  expect([...log.matchAll(DELIVERY)].map(([, to]) => to).toSorted()).toEqual([
    "bob@example.org",
    "soc@example.org",
  ]);
  expect(JSON.stringify(sensor.log())).not.toContain(USER.password);
}, 600_000);

test("a relay that proves nothing, offers no TLS or refuses the password gets no alert; mended, it gets it once", async () => {
  const good = makeCertificates("localhost", place.path);
  const stranger = makeCertificates("localhost", place.path);
  const elsewhere = makeCertificates("mx.elsewhere.example", place.path);
  const server = { cert: join(place.path, "server.pem"), key: join(place.path, "server.key") };
  const put = ({ server: own }: Certificates) => {
    copyFileSync(own.cert, server.cert);
    copyFileSync(own.key, server.key);
  };
  put(stranger);
  const addresses = ["starttls", "implicit", "plain", "password"].map((name) => `${name}@example.org`);
  const postfix = await startPostfix(place, { mailboxes: addresses, tls: server, user: USER });
  const wrong = join(place.path, "wrong.password");
  writeFileSync(wrong, "guessed\n", { mode: 0o600 });
  const analyzer = await startAnalyzer(place);
  const alert = (name: string, port: number, tls: string, password = passwordFile()) => ({
    ...{ name, relay: `localhost:${port}`, tls, ca_file: good.ca, from: FROM, campaign_wait: "0s" },
    ...{ to: [`${name}@example.org`], user: USER.name, password_file: password },
  });
  const sensor = await launchSensor(place, {
    analyzer,
    config: {
      alerts: [
        alert("starttls", postfix.submission, "required"),
        alert("implicit", postfix.smtps, "implicit"),
        alert("plain", postfix.port, "required"),
        alert("password", postfix.smtps, "implicit", wrong),
      ],
    },
  });
  const refused = (count: number) =>
    waitFor("every relay to be found wanting", () => {
      const down = logged(sensor, "the destination is down, its alerts wait");
      return down.length >= count ? down : undefined;
    });
  await send(sensor.smtpPort, [badMail("one", ["bob@example.org"])]);
  await refused(4);
  put(elsewhere);
  await postfix.reload();
  await Bun.sleep(2000);
  expect(addresses.flatMap((address) => postfix.mailbox(address))).toEqual([]);
  expect(postfix.log()).not.toMatch(/sasl_username|SASL \w+ authentication failed/);
  const down = logged(sensor, "the destination is down, its alerts wait");
  expect(down.map(({ code }) => code)).toEqual(Array(4).fill("ALERT_UNREACHABLE"));

  put(good);
  await postfix.reload();
  for (const name of ["starttls", "implicit"]) await received(postfix, `${name}@example.org`, 1);
  await waitFor("the wrong password to be refused", () =>
    /SASL \w+ authentication failed/.test(postfix.log()) ? true : undefined,
  );
  writeFileSync(wrong, `${USER.password}\n`);
  await sensor.stop();
  await sensor.start();
  await received(postfix, "password@example.org", 1);
  await Bun.sleep(500);
  expect(addresses.map((address) => postfix.mailbox(address).length)).toEqual([1, 1, 0, 1]);
}, 600_000);

test("kill -9 between analysis and delivery: every alert comes, those at the cuts twice with one Message-ID", async () => {
  const postfix = await startPostfix(place, { mailboxes: ["bob@example.org"] });
  const analyzer = await startAnalyzer(place, { queued: "10ms", work: "50ms" });
  const sensor = await launchSensor(place, {
    analyzer,
    config: {
      alerts: [
        {
          ...{ name: "people", relay: `127.0.0.1:${postfix.port}`, from: FROM, max_per_recipient_hour: 1000 },
          ...{ to_recipients: true, domains: ["example.org"] },
        },
      ],
    },
  });
  const keys = Array.from({ length: 30 }, (_, n) => `kill${n}`);
  const cuts = 4;
  let sent = 0;
  for (let cut = 0; cut < cuts; cut += 1) {
    const some = keys.slice((cut * keys.length) / cuts, ((cut + 1) * keys.length) / cuts);
    await send(
      sensor.smtpPort,
      some.map((key) => badMail(key, ["bob@example.org"])),
    );
    // The first cut: judged, nothing sent or about to be; the others: in the middle of sending.
    const what = cut === 0 ? "mail judged" : "alert sent";
    await waitFor(what, () => (logged(sensor, what).length > sent ? true : undefined));
    await sensor.kill();
    await sensor.start();
    sent = logged(sensor, "alert sent").length;
  }
  const subject = (bytes: Buffer) => /Subject: Invoice (kill\d+)/.exec(bytes.toString("latin1"))?.[1] ?? "";
  const mails = await waitFor("an alert about each mail", () => {
    const found = postfix.mailbox("bob@example.org");
    return new Set(found.map(subject)).size === keys.length ? found : undefined;
  });
  expect(new Set(mails.map(subject))).toEqual(new Set(keys));
  const ids = mails.map((mail) => /^Message-ID:\s*(<[^>]+>)/m.exec(mail.toString("latin1"))?.[1]);
  expect(ids).not.toContain(undefined);
  expect(new Set(ids).size).toBe(keys.length);
  expect(mails.length - keys.length).toBeLessThanOrEqual(cuts);
}, 600_000);

test("a hostile mail makes a harmless alert by the customer's own templates, also for an address in UTF-8", async () => {
  const to = ["j\u00f6rg@example.org", "o'neill+$home&`x`@example.org"];
  const postfix = await startPostfix(place, { mailboxes: [...to, "soc@example.org"] });
  const analyzer = await startAnalyzer(place);
  const html = join(place.path, "alert.html.liquid");
  const text = join(place.path, "alert.txt.liquid");
  writeFileSync(html, "<p title='{{ mail.subject }}'>{{ attachments[0].filename }} {{ mail | json }}</p>");
  writeFileSync(
    text,
    "{{ headline }}\n{{ mail.subject }}\n{{ mail.from | join: ', ' }}\n{{ attachments[0].filename }}\n",
  );
  const sensor = await launchSensor(place, {
    analyzer,
    config: {
      alerts: [
        {
          ...{ name: "people", relay: `127.0.0.1:${postfix.port}`, from: FROM, to_recipients: true },
          ...{ domains: ["example.org"], html_file: html, text_file: text },
          ...{ subject: "{{ mail.subject }} {{ attachments[0].filename }}" },
        },
      ],
    },
  });
  const evil = `x\r\nBcc: mallory@evil.example\r\n\r\n<script>alert(1)</script> http://evil.example/ \u202Egpj.exe\u0000`;
  const encoded = (value: string) => `=?utf-8?B?${Buffer.from(value).toString("base64")}?=`;
  const bad = badMail("evil", to).content.toString();
  const content = bad
    .replace(/^Subject: .*$/m, `Subject: ${encoded(evil)}`)
    .replace(/^From: .*$/m, `From: ${encoded(evil)} <"a b\\"c"@sender.example>`)
    .replaceAll('"evil.com"', `"${encoded(`${evil}${"n".repeat(3000)}.com`)}"`);
  const client = `import smtplib, sys
with smtplib.SMTP("127.0.0.1", ${sensor.smtpPort}) as smtp:
    smtp.ehlo()
    smtp.sendmail("", sys.argv[1:], sys.stdin.buffer.read(), mail_options=["SMTPUTF8"])
`;
  const sent = await runToEnd(["/usr/bin/python3", "-c", client, ...to], { input: content });
  expect(sent.stderr).toBe("");
  for (const address of to) {
    const [bytes] = await received(postfix, address, 1);
    if (bytes === undefined) throw new Error("no alert");
    const mail = await read(bytes);
    expect(mail.defects).toEqual([]);
    expect(fields(mail, "Delivered-To")).toEqual([address]);
    expect(fields(mail, "Bcc")).toEqual([]);
    expect(fields(mail, "Subject")).toHaveLength(1);
    expect(mail.parts.map(({ type }) => type)).toEqual(["text/plain", "text/html"]);
    expect(mail.parts[1]?.text).not.toContain("<script");
    for (const shown of [fields(mail, "Subject")[0], ...mail.parts.map((part) => part.text)]) {
      expect(shown).toContain("evil[.]example");
      expect(shown).not.toMatch(/evil\.example|[\u0000\u202A-\u202E]/);
      expect(shown?.length).toBeLessThan(5000);
    }
  }
  expect([...(await deliveries(postfix, to.length)).matchAll(DELIVERY)]).toHaveLength(to.length);
}, 600_000);

test("a mail of a denied sender is told with nothing bad in it, in the language of the alert", async () => {
  const postfix = await startPostfix(place, { mailboxes: ["bob@example.org", "soc@example.org"] });
  const analyzer = await startAnalyzer(place);
  const deny = join(place.path, "deny.txt");
  writeFileSync(deny, "sender.example\n");
  const alert = { relay: `127.0.0.1:${postfix.port}`, from: FROM, on: ["sender"], language: "de" };
  const sensor = await launchSensor(place, {
    analyzer,
    config: {
      triage: { lists: [{ list: "deny", kind: "sender", file: deny }] },
      alerts: [
        { ...alert, name: "people", to_recipients: true, domains: ["example.org"] },
        { ...alert, name: "soc", to: ["soc@example.org"], campaign_wait: "0s" },
      ],
    },
  });
  const content =
    "From: Billing <billing@sender.example>\r\nSubject: =?utf-8?Q?Gr=C3=BC=C3=9Fe?=\r\n\r\nhello\r\n";
  await send(sensor.smtpPort, [
    {
      key: "other",
      from: "a@other.example",
      to: ["bob@example.org"],
      content: "Subject: other\r\n\r\nhello\r\n",
    },
    { key: "denied", from: "bounce@mailer.example", to: ["bob@example.org"], content },
  ]);
  for (const [address, sentence] of [
    ["bob@example.org", "Eine Mail an Sie kommt von einem Absender auf der Sperrliste."],
    ["soc@example.org", 'the sender "billing@sender[.]example" is on the deny list'],
  ] as const) {
    const [bytes] = await received(postfix, address, 1);
    if (bytes === undefined) throw new Error("no alert");
    const mail = await read(bytes);
    expect(fields(mail, "Subject")).toEqual(['Mail eines gesperrten Absenders: "Gr\u00fc\u00dfe"']);
    expect(mail.parts[0]?.text?.replaceAll("\n", " ")).toContain(sentence);
  }
  await Bun.sleep(500);
  expect(postfix.mailbox("bob@example.org")).toHaveLength(1);
}, 600_000);

test("an alert that Postfix copies to the sensor starts no loop; its marker hides no other mail", async () => {
  const port = await freePort();
  const analyzer = await startAnalyzer(place);
  const path = join(place.path, "events.json");
  const sensor = await launchSensor(place, {
    analyzer,
    config: {
      siem: [{ name: "file", file: { path } }],
      alerts: [
        {
          ...{ name: "soc", relay: `127.0.0.1:${port}`, from: FROM, to: ["soc@example.org"] },
          ...{ campaign_wait: "0s", on: ["attachment", "url"] },
        },
      ],
    },
  });
  const postfix = await startPostfix(place, {
    port,
    mailboxes: ["bob@example.org", "soc@example.org"],
    alwaysBcc: "copy@sensor.test",
    routes: { "sensor.test": `smtp:[127.0.0.1]:${sensor.smtpPort}` },
  });
  const verdicts = () =>
    (existsSync(path) ? readFileSync(path, "utf8") : "")
      .split("\n")
      .filter((line) => line !== "")
      .map((line) => JSON.parse(line) as SensorEvent)
      .filter(({ type }) => type === "mail.verdict");
  const judged = (count: number) =>
    waitFor(`${count} verdicts`, () => (verdicts().length >= count ? verdicts() : undefined));

  await send(postfix.port, [badMail("one", ["bob@example.org"])]);
  const [alert] = await received(postfix, "soc@example.org", 1);
  if (alert === undefined) throw new Error("no alert");
  const [first, own] = await judged(2);
  expect(first).toMatchObject({ verdict: "malicious", mail: { message_id: "<one@sender.example>" } });
  expect(own).toMatchObject({ verdict: "clean", flags: ["own_alert"], attachments: [], urls: [] });
  expect(own?.mail?.message_id).toStartWith("<alert.");
  expect(own?.mail?.subject).toBe('Malicious attachment: "one[.]com"');
  const calls = (await analyzer.statistics()).calls;
  await Bun.sleep(3000);
  expect((await analyzer.statistics()).calls).toEqual(calls);
  expect(verdicts()).toHaveLength(2);
  expect(postfix.mailbox("soc@example.org")).toHaveLength(1);
  expect(logged(sensor, "an alert of this sensor came back, it is not analysed")).toEqual([
    expect.objectContaining({ own_alerts: 1 }),
  ]);

  // What a recipient can do with it: the mail without what the delivery put in front.
  const text = alert.toString("latin1").replace(/\r?\n/g, "\r\n");
  const genuine = text.slice(text.indexOf("X-Email-Sensor-Alert:"));
  const marker = /^X-Email-Sensor-Alert:[^\r]*(?:\r\n [^\r]*)*/.exec(genuine)?.[0] ?? "";
  const changedMarker = marker.replace(
    /(s=.*)([0-9a-f])$/,
    (_, start, last) => `${start}${last === "0" ? "1" : "0"}`,
  );
  expect(changedMarker).not.toBe(marker);
  const stranger = (key: string, content: string): TestMail => ({
    ...{ key, from: "mallory@elsewhere.example", to: ["bob@example.org"], content },
  });
  const changed = (from: string, to: string) => {
    expect(genuine).toContain(from);
    return genuine.replace(from, to);
  };
  await send(postfix.port, [
    stranger("marker", changed(marker, changedMarker)),
    stranger("body", changed("NOT block,", "now block,")),
    stranger("field", changed("Subject: =?UTF-8?Q?Malicious", "Subject: =?UTF-8?Q?Harmless")),
    badMail("copied", ["bob@example.org"], [marker]),
    stranger("replayed", genuine),
  ]);
  // Five mails, and the alert about the one with an attachment, which comes back as well.
  const all = await judged(8);
  const later = all.slice(2);
  const hidden = later.filter(({ flags }) => flags?.includes("own_alert"));
  expect(hidden).toHaveLength(2);
  expect(new Set(hidden.map(({ mail }) => mail?.message_id)).size).toBe(2);
  expect(hidden.every(({ mail }) => mail?.message_id?.startsWith("<alert.") === true)).toBe(true);
  const analysed = later.filter(({ flags }) => !flags?.includes("own_alert"));
  const copied = analysed.find(({ mail }) => mail?.message_id === "<copied@sender.example>");
  expect(copied).toMatchObject({ verdict: "malicious", attachments: [{ filename: "copied.com" }] });
  // The forged ones have the link to the report, as any mail with a link.
  const forged = analysed.filter((event) => event !== copied);
  expect(forged).toHaveLength(3);
  for (const { urls } of forged)
    expect(urls?.map(({ url }) => new URL(url).host)).toEqual([new URL(analyzer.url).host]);
  expect((await received(postfix, "soc@example.org", 2)).length).toBe(2);
}, 600_000);
