import { afterEach, describe, expect, test } from "bun:test";
import { simpleParser } from "mailparser";
import { createAlertLimit } from "../../../src/alert/limit.ts";
import { startAlerts } from "../../../src/alert/stage.ts";
import type { AlertConfig } from "../../../src/config/schema.ts";
import type { Spool } from "../../../src/spool/spool.ts";
import { content, file, mailRow, recordingLog, SENSOR, until, verdictEvent } from "../report/fixtures.ts";
import { freePort } from "../report/peers.ts";
import { open, someMail, temporaryFolder } from "../spool/fixtures.ts";
import { type RelayServer, relayServer } from "./relay-server.ts";

const closing: (() => Promise<void> | void)[] = [];
afterEach(async () => {
  for (const close of closing.splice(0).reverse()) await close();
});

async function someSpool(): Promise<Spool> {
  const folder = temporaryFolder();
  closing.push(folder.remove);
  const spool = await open(folder.path);
  closing.push(() => spool.close());
  await spool.setDestinations(["alert:soc"]);
  return spool;
}

async function someRelay(port = 0): Promise<RelayServer> {
  const relay = await relayServer(port);
  closing.push(relay.close);
  return relay;
}

function start(spool: Spool, relay: string, change: Partial<AlertConfig> = {}, now?: () => number) {
  const { log, lines } = recordingLog();
  const config: AlertConfig = {
    name: "soc",
    relay,
    from: "email-sensor@example.org",
    to_recipients: true,
    domains: ["example.org"],
    to: [],
    min_verdict: "malicious",
    max_per_recipient_hour: 10,
    ...change,
  };
  const limit = createAlertLimit();
  const alerts = startAlerts({
    alerts: [config],
    limitOf: () => limit,
    spool,
    sensor: SENSOR,
    log,
    ...(now && { now }),
  });
  closing.push(() => alerts.stop());
  return { alerts, lines };
}

const bad = (filename = "x.zip") =>
  verdictEvent(
    mailRow([file(filename, content({ verdict: "malicious", threat_names: ["EICAR-Test-File"] }))]),
  );

async function cursorAt(spool: Spool, seq: number): Promise<void> {
  for (let tries = 0; (await spool.cursor("alert:soc")) !== seq; tries += 1) {
    if (tries > 500) throw new Error("the cursor never came there");
    await Bun.sleep(10);
  }
}

describe("alerts", () => {
  test("go to each recipient alone, from the null sender, as plain text that a mail program can read", async () => {
    const [spool, relay] = [await someSpool(), await someRelay()];
    start(spool, relay.address);
    const event = bad("r\u00e9sum\u00e9\r\nBcc: x@evil.example.zip");
    await spool.putEvents([event]);
    await until(() => relay.taken.length === 2);
    expect(relay.taken.map(({ from, to }) => [from, ...to])).toEqual([
      ["", "anna@example.org"],
      ["", "ben@example.org"],
    ]);
    const mail = await simpleParser(relay.taken[0]?.text ?? "");
    expect(mail.headers.get("auto-submitted")).toBe("auto-generated");
    expect(mail.headers.get("x-email-sensor-alert")).toBe(event.id);
    expect(mail.from?.value[0]?.address).toBe("email-sensor@example.org");
    expect(mail.to).toMatchObject({ value: [{ address: "anna@example.org" }] });
    expect(mail.headers.has("bcc")).toBe(false);
    expect(mail.attachments).toEqual([]);
    expect(mail.html).toBe(false);
    expect(mail.subject).toStartWith('Malicious attachment: "r\u00e9sum\u00e9 Bcc: x@evil[.]example[.]zip"');
    expect(mail.text).toContain("EICAR-Test-File");
    await cursorAt(spool, 1);
  });

  test("wait while the relay is down, and none is lost or sent twice", async () => {
    const port = await freePort();
    const spool = await someSpool();
    const { alerts, lines } = start(spool, `127.0.0.1:${port}`, {
      to: ["soc@example.org"],
      to_recipients: false,
    });
    await spool.putEvents([bad(), bad(), bad()]);
    await until(() => lines.some(({ code }) => code === "ALERT_UNREACHABLE"));
    expect(await alerts.status()).toMatchObject([{ destination: "alert:soc", state: "down", backlog: 3 }]);
    const relay = await someRelay(port);
    await until(() => relay.taken.length === 3);
    await cursorAt(spool, 3);
    expect(relay.taken).toHaveLength(3);
    expect(lines.filter(({ msg }) => msg === "the destination is down, its events wait")).toHaveLength(1);
  });

  test("go on to the others where the relay refuses one recipient for good", async () => {
    const [spool, relay] = [await someSpool(), await someRelay()];
    relay.answer = (recipient) => (recipient.startsWith("anna") ? 550 : null);
    const { lines } = start(spool, relay.address);
    await spool.putEvents([bad(), bad()]);
    await until(() => relay.taken.length === 2);
    await cursorAt(spool, 2);
    expect(relay.asked.filter((recipient) => recipient.startsWith("anna"))).toHaveLength(2);
    expect(lines.filter(({ code }) => code === "ALERT_REFUSED")).toHaveLength(2);
  });

  test("are tried again where a recipient is put off, without holding up later ones or repeating those served", async () => {
    const [spool, relay] = [await someSpool(), await someRelay()];
    let later = 0;
    relay.answer = (recipient) => (recipient.startsWith("anna") && later === 0 ? 451 : null);
    start(spool, relay.address, {}, () => Date.now() + later);
    const events = [bad(), bad()];
    await spool.putEvents([...events.slice(0, 1)]);
    await until(() => relay.taken.length === 1);
    await spool.putEvents(events.slice(1));
    await until(() => relay.taken.length === 2);
    expect(relay.taken.map(({ to }) => to[0])).toEqual(["ben@example.org", "ben@example.org"]);
    expect(await spool.cursor("alert:soc")).toBe(0);
    later = 60_000;
    // Any news makes the carrier look at the clock again.
    await spool.putEvents([bad()]);
    await until(() => relay.taken.length === 6);
    await cursorAt(spool, 3);
    expect(relay.taken.filter(({ to }) => to[0] === "anna@example.org")).toHaveLength(3);
    expect(relay.taken.filter(({ to }) => to[0] === "ben@example.org")).toHaveLength(3);
  });

  test("are given up where a recipient is put off for a day", async () => {
    const [spool, relay] = [await someSpool(), await someRelay()];
    let later = 0;
    relay.answer = () => 451;
    const { lines } = start(
      spool,
      relay.address,
      { to: ["soc@example.org"], to_recipients: false },
      () => Date.now() + later,
    );
    await spool.putEvents([bad()]);
    await until(() => lines.some(({ msg }) => String(msg).startsWith("the relay puts a recipient off")));
    later = 25 * 3_600_000;
    await spool.putEvents([bad()]);
    await until(() => lines.some(({ code }) => code === "ALERT_REFUSED"));
  });

  test("are limited for a recipient, and the next one counts what was left out", async () => {
    const [spool, relay] = [await someSpool(), await someRelay()];
    let later = 0;
    const { lines } = start(
      spool,
      relay.address,
      { to: ["soc@example.org"], to_recipients: false, max_per_recipient_hour: 2 },
      () => Date.now() + later,
    );
    await spool.putEvents(Array.from({ length: 5 }, () => bad()));
    await cursorAt(spool, 5);
    expect(relay.taken).toHaveLength(2);
    expect(lines.filter(({ left_out }) => left_out !== undefined)).toHaveLength(3);
    later = 3_700_000;
    await spool.putEvents([bad()]);
    await until(() => relay.taken.length === 3);
    expect((await simpleParser(relay.taken[2]?.text ?? "")).text).toContain("3 earlier alerts to you");
  });

  test("reach recipients beyond those an event names", async () => {
    const [spool, relay] = [await someSpool(), await someRelay()];
    const to = Array.from({ length: 600 }, (_, n) =>
      n === 599 ? "last@example.org" : `r${n}@other.example`,
    );
    const received = someMail("Subject: x\r\n\r\n", {
      envelope: { from: "a@example.net", to, client_ip: "127.0.0.1", helo: "mx", tls: null },
    });
    await spool.putMail(received);
    const row = mailRow([file("x", content({ verdict: "malicious" }))], {
      id: received.id,
      envelope: received.envelope,
    });
    const event = verdictEvent(row);
    expect(event.truncated).toContain("/mail/envelope/to");
    start(spool, relay.address);
    await spool.putEvents([event]);
    await until(() => relay.taken.length === 1);
    expect(relay.taken[0]?.to).toEqual(["last@example.org"]);
  });

  test("reach a recipient once for one mail that came in several journal reports", async () => {
    const [spool, relay] = [await someSpool(), await someRelay()];
    start(spool, relay.address);
    const row = mailRow([file("x.zip", content({ verdict: "malicious" }))]);
    const later = { ...row, id: Bun.randomUUIDv7(), sameAs: row.id };
    const { envelope } = row;
    await spool.putEvents([
      verdictEvent({ ...row, envelope: { ...envelope, to: ["anna@example.org", "ben@example.org"] } }),
      verdictEvent({ ...later, envelope: { ...envelope, to: ["Ben@example.org", "carl@example.org"] } }),
    ]);
    await cursorAt(spool, 2);
    expect(relay.taken.flatMap(({ to }) => to).toSorted()).toEqual([
      "anna@example.org",
      "ben@example.org",
      "carl@example.org",
    ]);
  });

  test("may have a subject of the customer's own, and do not start with a wrong one", async () => {
    const [spool, relay] = [await someSpool(), await someRelay()];
    expect(() => start(spool, relay.address, { subject: "{{ verdict | nosuch }}" })).toThrow(
      /alert soc: subject: .*nosuch/,
    );
    start(spool, relay.address, {
      subject: "[{{ verdict }}] {{ attachments[0].filename }}",
      to: ["soc@example.org"],
    });
    await spool.putEvents([bad("a\r\nb.zip")]);
    await until(() => relay.taken.length > 0);
    expect((await simpleParser(relay.taken[0]?.text ?? "")).subject).toBe("[malicious] a\\r\\nb[.]zip");
  });
});
