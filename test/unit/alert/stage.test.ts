import { afterEach, describe, expect, test } from "bun:test";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { simpleParser } from "mailparser";
import { isOwnAlert } from "../../../src/alert/marker.ts";
import { startAlerts } from "../../../src/alert/stage.ts";
import type { EventAttachment, SensorEvent } from "../../../src/report/event.ts";
import type { Spool } from "../../../src/spool/spool.ts";
import type { Verdict } from "../../../src/verdict/verdict.ts";
import { freePort } from "../../ports.ts";
import { until } from "../../until.ts";
import { content, file, mailRow, recordingLog, SENSOR, verdictEvent } from "../report/fixtures.ts";
import { open, someMail, temporaryFolder } from "../spool/fixtures.ts";
import { alertConfig, note, SECRET } from "./fixtures.ts";
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
  await spool.addDestinations(["alert:soc"]);
  return spool;
}

async function someRelay(port = 0): Promise<RelayServer> {
  const relay = await relayServer(port);
  closing.push(relay.close);
  return relay;
}

const SOC = { to: ["soc@example.org"], to_recipients: false };

function start(
  spool: Spool,
  relay: string,
  change: Readonly<Record<string, unknown>> = {},
  now?: () => number,
) {
  const { log, lines } = recordingLog();
  const alerts = startAlerts({
    alerts: [alertConfig({ relay, ...change })],
    secret: SECRET,
    spool,
    sensor: SENSOR,
    log,
    ...(now && { now }),
  });
  closing.push(() => alerts.stop());
  return { alerts, lines };
}

let contents = 0;
/** A mail with a malicious attachment whose content no other one has. */
function bad(filename = "x.zip", sha256 = "", to?: readonly string[]): SensorEvent {
  contents += 1;
  const part = file(filename, content({ verdict: "malicious", threat_names: ["EICAR-Test-File"] }), {
    sha256: sha256 === "" ? contents.toString(16).padStart(64, "0") : sha256.repeat(64),
  });
  const row = mailRow([part]);
  return verdictEvent(to === undefined ? row : { ...row, envelope: { ...row.envelope, to } });
}

const cursorAt = (spool: Spool, seq: number): Promise<void> =>
  until(async () => (await spool.cursor("alert:soc")) === seq, `the cursor at ${seq}`);

/** Until every alert that is due went out. */
const settled = (spool: Spool): Promise<void> =>
  until(async () => {
    const notes = await spool.alertNotes("alert:soc");
    return notes.every(({ body }) => (JSON.parse(body).dueAt ?? null) === null);
  }, "the alerts to go out");

const textOf = async (relay: RelayServer, at: number) =>
  (await simpleParser(relay.taken[at]?.text ?? "")).text ?? "";

describe("alerts", () => {
  test("go to each recipient alone, from the null sender, as text and HTML", async () => {
    const [spool, relay] = [await someSpool(), await someRelay()];
    start(spool, relay.address);
    await spool.putEvents([bad("r\u00e9sum\u00e9\r\nBcc: x@evil.example.zip")]);
    await until(() => relay.taken.length === 2);
    expect(relay.taken.map(({ from, to }) => [from, ...to])).toEqual([
      ["", "anna@example.org"],
      ["", "ben@example.org"],
    ]);
    const mail = await simpleParser(relay.taken[0]?.text ?? "");
    expect(mail.headers.get("auto-submitted")).toBe("auto-generated");
    expect(mail.headers.get("x-auto-response-suppress")).toBe("All");
    expect(mail.headers.get("content-type")).toMatchObject({ value: "multipart/alternative" });
    expect(mail.from?.value[0]?.address).toBe("email-sensor@example.org");
    expect(mail.to).toMatchObject({ value: [{ address: "anna@example.org" }] });
    for (const name of ["bcc", "precedence", "reply-to"]) expect(mail.headers.has(name)).toBe(false);
    expect(mail.attachments).toEqual([]);
    expect(mail.subject).toStartWith('Malicious attachment: "r\u00e9sum\u00e9 Bcc: x@evil[.]example[.]zip"');
    expect(mail.text).toContain("EICAR-Test-File");
    expect(mail.html).toContain("EICAR-Test-File");
    expect(isOwnAlert(Buffer.from(relay.taken[0]?.text ?? ""), SECRET, Date.now())).toBe(true);
    await cursorAt(spool, 1);
  });

  test("wait while the relay is down, and none is lost or sent twice", async () => {
    const port = await freePort();
    const spool = await someSpool();
    const { alerts, lines } = start(spool, `127.0.0.1:${port}`, SOC);
    await spool.putEvents([bad(), bad(), bad()]);
    await until(() => lines.some(({ code }) => code === "ALERT_UNREACHABLE"));
    expect(await alerts.status()).toMatchObject([{ destination: "alert:soc", state: "down", composed: 3 }]);
    const relay = await someRelay(port);
    await until(() => relay.taken.length === 3);
    await settled(spool);
    expect(relay.taken).toHaveLength(3);
    expect(lines.filter(({ msg }) => msg === "the destination is down, its alerts wait")).toHaveLength(1);
    expect(await alerts.status()).toMatchObject([{ state: "up", composed: 0, delivered: 3 }]);
  });

  test("that wait go out after a restart, once", async () => {
    const spool = await someSpool();
    const first = start(spool, `127.0.0.1:${await freePort()}`);
    await spool.putEvents([bad(), bad()]);
    await cursorAt(spool, 2);
    await first.alerts.stop();
    const relay = await someRelay();
    start(spool, relay.address);
    await until(() => relay.taken.length === 4);
    await settled(spool);
    const mails = await Promise.all(relay.taken.map(({ text }) => simpleParser(text)));
    expect(new Set(mails.map(({ messageId }) => messageId)).size).toBe(4);
    expect(relay.taken).toHaveLength(4);
  });

  test("go on to the others where the relay refuses one recipient for good", async () => {
    const [spool, relay] = [await someSpool(), await someRelay()];
    relay.answer = (recipient) => (recipient.startsWith("anna") ? 550 : null);
    const { lines } = start(spool, relay.address);
    await spool.putEvents([bad(), bad()]);
    await until(() => relay.taken.length === 2);
    await settled(spool);
    expect(relay.asked.filter((recipient) => recipient.startsWith("anna"))).toHaveLength(2);
    expect(lines.filter(({ code }) => code === "ALERT_REFUSED")).toHaveLength(2);
  });

  test("that a relay refused for good are in the status: it used to say that all was well", async () => {
    const [spool, relay] = [await someSpool(), await someRelay()];
    relay.answer = () => 554;
    const { alerts, lines } = start(spool, relay.address, SOC);
    await spool.putEvents([bad()]);
    await until(() => lines.some(({ code }) => code === "ALERT_REFUSED"));
    expect((await alerts.status())[0]).toMatchObject({
      ...{ delivered: 0, refused: 1, composed: 0 },
      lastError: expect.stringMatching(/^ALERT_REFUSED: .*not now or never/),
    });
  });

  test("wait for a relay that denies the sensor, not the recipient: they used to be given up one by one", async () => {
    const [spool, relay] = [await someSpool(), await someRelay()];
    let later = 0;
    relay.answer = () => "554 5.7.1";
    const { lines } = start(spool, relay.address, SOC, () => Date.now() + later);
    await spool.putEvents([bad()]);
    await until(() => lines.some(({ msg }) => String(msg).startsWith("the relay puts an alert off")));
    relay.answer = () => null;
    later = 60_000;
    await until(() => relay.taken.length === 1);
    expect(lines.some(({ code }) => code === "ALERT_REFUSED")).toBe(false);
  });

  test("do not go to who is in the configuration no more, though they waited for them", async () => {
    const port = await freePort();
    const spool = await someSpool();
    const both = { to: ["soc@example.org", "old@example.org"], to_recipients: true };
    const first = start(spool, `127.0.0.1:${port}`, { ...both, domains: ["example.org"] });
    await spool.putEvents([bad("x.zip", "", ["anna@example.org", "ben@sub.example.org"])]);
    await until(() => first.lines.some(({ code }) => code === "ALERT_UNREACHABLE"));
    await first.alerts.stop();
    const relay = await someRelay(port);
    const next = { to: ["soc@example.org"], to_recipients: true, domains: ["sub.example.org"] };
    const { lines, alerts } = start(spool, relay.address, next);
    await until(() => relay.taken.length === 1);
    await settled(spool);
    expect(relay.taken.map(({ to }) => to)).toEqual([["soc@example.org"]]);
    expect(lines.filter(({ msg }) => String(msg).startsWith("an alert is dropped"))).toHaveLength(2);
    expect((await alerts.status())[0]?.composed).toBe(0);
  });

  test("are tried again where a recipient is put off, without holding up or repeating others", async () => {
    const [spool, relay] = [await someSpool(), await someRelay()];
    let later = 0;
    relay.answer = (recipient) => (recipient.startsWith("anna") && later === 0 ? 451 : null);
    start(spool, relay.address, {}, () => Date.now() + later);
    await spool.putEvents([bad()]);
    await until(() => relay.taken.length === 1);
    await spool.putEvents([bad()]);
    await until(() => relay.taken.length === 2);
    expect(relay.taken.map(({ to }) => to[0])).toEqual(["ben@example.org", "ben@example.org"]);
    later = 60_000;
    await until(() => relay.taken.length === 4);
    await settled(spool);
    expect(relay.taken.filter(({ to }) => to[0] === "anna@example.org")).toHaveLength(2);
  });

  test("are given up where a recipient is put off for a day", async () => {
    const [spool, relay] = [await someSpool(), await someRelay()];
    let later = 0;
    relay.answer = () => 451;
    const { lines } = start(spool, relay.address, SOC, () => Date.now() + later);
    await spool.putEvents([bad()]);
    await until(() => lines.some(({ msg }) => String(msg).startsWith("the relay puts an alert off")));
    later = 25 * 3_600_000;
    await until(() => lines.some(({ code }) => code === "ALERT_REFUSED"));
  });

  /** A mail to so many that its event does not name the last one. */
  async function crowd(spool: Spool): Promise<SensorEvent> {
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
    expect(event.mail?.envelope.to).not.toContain("last@example.org");
    return event;
  }

  test("reach recipients beyond those an event names", async () => {
    const [spool, relay] = [await someSpool(), await someRelay()];
    const event = await crowd(spool);
    start(spool, relay.address);
    await spool.putEvents([event]);
    await until(() => relay.taken.length === 1);
    expect(relay.taken[0]?.to).toEqual(["last@example.org"]);
  });

  test("are raised where the recipient that match asks for is beyond those an event names, else not", async () => {
    const [spool, relay] = [await someSpool(), await someRelay()];
    const event = await crowd(spool);
    await spool.putEvents([event]);
    start(spool, relay.address, { ...SOC, match: { recipient_domains: ["example.org"] } });
    await until(() => relay.taken.length === 1);
    const other = await someSpool();
    await other.putEvents([await crowd(other)]);
    start(other, relay.address, { ...SOC, match: { recipient_domains: ["nobody.example"] } });
    await cursorAt(other, 1);
    await Bun.sleep(50);
    expect(relay.taken).toHaveLength(1);
  });

  test("wait in bounds, however many recipients the mails of one batch have", async () => {
    const spool = await someSpool();
    const { alerts } = start(spool, `127.0.0.1:${await freePort()}`);
    const to = Array.from({ length: 400 }, (_, n) => `r${n}@example.org`);
    await spool.putEvents(Array.from({ length: 27 }, () => bad("x.zip", "", to)));
    const composed = async () => (await alerts.status())[0]?.composed ?? 0;
    await until(async () => (await composed()) >= 10_000);
    await Bun.sleep(200);
    expect(await composed()).toBe(10_000);
  });
});

describe("one content", () => {
  test("in one mail that came in several journal reports is told to each recipient once", async () => {
    const [spool, relay] = [await someSpool(), await someRelay()];
    start(spool, relay.address, { to: ["soc@example.org"] });
    const row = mailRow([file("x.zip", content({ verdict: "malicious" }))]);
    const later = { ...row, id: Bun.randomUUIDv7(), sameAs: row.id };
    const { envelope } = row;
    await spool.putEvents([
      verdictEvent({ ...row, envelope: { ...envelope, to: ["anna@example.org", "ben@example.org"] } }),
      verdictEvent({ ...later, envelope: { ...envelope, to: ["Ben@example.org", "carl@example.org"] } }),
    ]);
    await cursorAt(spool, 2);
    await settled(spool);
    expect(relay.taken.flatMap(({ to }) => to).toSorted()).toEqual([
      "anna@example.org",
      "ben@example.org",
      "carl@example.org",
      "soc@example.org",
    ]);
  });

  test("in many mails is one alert for each recipient, and one with a count for a fixed address", async () => {
    const [spool, relay] = [await someSpool(), await someRelay()];
    let later = 0;
    const now = () => Date.now() + later;
    const config = { to: ["soc@example.org"], campaign_wait: "10s", campaign_window: "1h" };
    start(spool, relay.address, config, now);
    const mails = Array.from({ length: 30 }, (_, n) =>
      bad(`${n}.zip`, "a", [`r${n % 10}@example.org`, "out@other.example"]),
    );
    await spool.putEvents(mails);
    await until(() => relay.taken.length === 10);
    await cursorAt(spool, 30);
    later = 11_000;
    await until(() => relay.taken.length === 11);
    expect(relay.taken[10]?.to).toEqual(["soc@example.org"]);
    expect(await textOf(relay, 10)).toContain("11 recipients, 30 mails");
    expect((await simpleParser(relay.taken[10]?.text ?? "")).subject).toEndWith("(30 mails)");

    // More of it within the window: nobody who knows is told again; at its end the fixed address has the rest.
    await spool.putEvents([bad("x", "a", ["r0@example.org"]), bad("x", "a", ["new@example.org"])]);
    await until(() => relay.taken.length === 12);
    expect(relay.taken[11]?.to).toEqual(["new@example.org"]);
    later = 3_620_000;
    await until(() => relay.taken.length === 13);
    expect(relay.taken[12]?.to).toEqual(["soc@example.org"]);
    expect(await textOf(relay, 12)).toContain("2 recipients, 2 mails");
  });

  test("is told again when a change makes it malicious, to the recipients of each mail that has it", async () => {
    const [spool, relay] = [await someSpool(), await someRelay()];
    start(spool, relay.address, { min_verdict: "suspicious" });
    const first = bad("x", "d", ["anna@example.org"]);
    const parts = (event: SensorEvent, verdict: Verdict, previous?: Verdict) => ({
      ...event,
      attachments: event.attachments?.map((part) => ({
        ...part,
        verdict,
        ...(previous && { previous_verdict: previous }),
      })) as EventAttachment[],
    });
    const changed = (event: SensorEvent, previous: Verdict) => ({
      ...parts(event, "malicious", previous),
      id: Bun.randomUUIDv7(),
      type: "verdict.changed" as const,
    });
    const other = bad("x", "d", ["ben@example.org", "carl@elsewhere.example"]);
    await spool.putEvents([
      parts(first, "suspicious"),
      changed(first, "suspicious"),
      changed(other, "clean"),
    ]);
    await until(() => relay.taken.length === 3);
    await spool.putEvents([changed(first, "malicious"), changed(other, "suspicious")]);
    await cursorAt(spool, 5);
    await settled(spool);
    expect(relay.taken.map(({ to }) => to)).toEqual([
      ["anna@example.org"],
      ["anna@example.org"],
      ["ben@example.org"],
    ]);
    const said = await Promise.all([0, 1, 2].map((at) => textOf(relay, at)));
    expect(said[0]).not.toContain("after delivery");
    const found = "This mail, received on 2 January 2026 at 11:59 UTC, was found malicious after delivery";
    expect(said[1]?.replaceAll("\n", " ")).toContain(`${found}: at first it was only suspicious.`);
    expect(said[2]?.replaceAll("\n", " ")).toContain(`${found}: at first nothing bad was known.`);
  });

  test("is told again after the window, and another content at once", async () => {
    const [spool, relay] = [await someSpool(), await someRelay()];
    let later = 0;
    start(spool, relay.address, {}, () => Date.now() + later);
    const to = ["anna@example.org"];
    await spool.putEvents([bad("x", "b", to), bad("x", "b", to), bad("y", "c", to)]);
    await cursorAt(spool, 3);
    await settled(spool);
    expect(relay.taken).toHaveLength(2);
    later = 3_700_000;
    await spool.putEvents([bad("x", "b", to)]);
    await until(() => relay.taken.length === 3);
  });

  test("is remembered over a restart", async () => {
    const [spool, relay] = [await someSpool(), await someRelay()];
    const first = start(spool, relay.address, SOC);
    await spool.putEvents([bad("x", "d")]);
    await until(() => relay.taken.length === 1);
    await settled(spool);
    await first.alerts.stop();
    start(spool, relay.address, { ...SOC, max_per_recipient_hour: 2 });
    await spool.putEvents([bad("x", "d"), bad(), bad()]);
    await cursorAt(spool, 4);
    await until(() => relay.taken.length === 2);
    await Bun.sleep(50);
    // The count of the hour, too: one before the restart, one after it.
    expect(relay.taken).toHaveLength(2);
  });
});

describe("limits", () => {
  test("hold for a recipient, and what they hold back is told in one summary as soon as they allow it", async () => {
    const [spool, relay] = [await someSpool(), await someRelay()];
    let later = 0;
    const { lines } = start(
      spool,
      relay.address,
      { ...SOC, max_per_recipient_hour: 2 },
      () => Date.now() + later,
    );
    await spool.putEvents(Array.from({ length: 5 }, (_, n) => bad(`decoy${n}.zip`)));
    await cursorAt(spool, 5);
    await until(() => relay.taken.length === 2);
    await spool.putEvents([bad("late.zip")]);
    await cursorAt(spool, 6);
    expect(lines.filter(({ msg }) => String(msg).startsWith("an alert waits to be part"))).toHaveLength(1);
    expect(relay.taken).toHaveLength(2);
    later = 3_700_000;
    await until(() => relay.taken.length === 3);
    const { subject } = await simpleParser(relay.taken[2]?.text ?? "");
    expect(subject).toBe("4 mails with bad attachments or links");
    const text = (await textOf(relay, 2)).replaceAll("\n", " ");
    expect(text).toContain("4 alerts to you had to wait for this summary");
    expect(text).toContain("late[.]zip");
    await settled(spool);
    await spool.putEvents([bad()]);
    await until(() => relay.taken.length === 4);
    expect(await textOf(relay, 3)).not.toContain("had to wait");
  });

  test("silence no alert: ten decoys used to make the content they held back count as told", async () => {
    const [spool, relay] = [await someSpool(), await someRelay()];
    let later = 0;
    const config = { to_recipients: true, max_per_recipient_hour: 2, campaign_window: "4h" };
    start(spool, relay.address, config, () => Date.now() + later);
    const to = ["anna@example.org"];
    const [one, two] = [bad("1.zip", "", to), bad("2.zip", "", to)];
    await spool.putEvents([one, two, bad("real.zip", "9", to)]);
    await cursorAt(spool, 3);
    await until(() => relay.taken.length === 2);
    // The very content, again and again: it is counted, and told once when the hour is over.
    await spool.putEvents([bad("real.zip", "9", to), bad("1.zip", "", to)]);
    await cursorAt(spool, 5);
    later = 2 * 3_600_000;
    await until(() => relay.taken.length === 3);
    await settled(spool);
    const text = await textOf(relay, 2);
    expect(text).toContain("real[.]zip");
    expect(text).toContain(", 2 mails");
    // Within the window it is known to have been told now.
    await spool.putEvents([bad("real.zip", "9", to)]);
    await cursorAt(spool, 6);
    await settled(spool);
    expect(relay.taken).toHaveLength(3);
  });

  test("hold for all recipients together", async () => {
    const [spool, relay] = [await someSpool(), await someRelay()];
    start(spool, relay.address, { max_per_hour: 3 });
    await spool.putEvents([bad(), bad(), bad()]);
    await until(() => relay.taken.length === 3);
    await cursorAt(spool, 3);
    await Bun.sleep(50);
    expect(relay.taken).toHaveLength(3);
  });
});

describe("a busy relay", () => {
  /** Answers the first mail only when told to. */
  function slow(relay: RelayServer, code: number | null = null) {
    const gate = Promise.withResolvers<void>();
    let first = true;
    relay.atData = async () => {
      if (!first) return null;
      first = false;
      await gate.promise;
      return code;
    };
    return gate.resolve;
  }
  const busy = (relay: RelayServer) => until(() => relay.asked.length > 0);

  test("loses no mail of a campaign that comes in while it takes the alert about the first", async () => {
    const [spool, relay] = [await someSpool(), await someRelay()];
    let later = 0;
    start(spool, relay.address, SOC, () => Date.now() + later);
    const answer = slow(relay);
    await spool.putEvents([bad("one.zip", "a", ["r1@example.org"])]);
    await busy(relay);
    await spool.putEvents([
      bad("two.zip", "a", ["r2@example.org"]),
      bad("three.zip", "a", ["r1@example.org"]),
    ]);
    await cursorAt(spool, 3);
    answer();
    await until(() => relay.taken.length === 1);
    later = 3_700_000;
    await until(() => relay.taken.length === 2);
    expect(await textOf(relay, 1)).toContain("2 recipients, 2 mails");
    expect(await textOf(relay, 1)).toContain("two[.]zip");
    await settled(spool);
    expect(relay.taken).toHaveLength(2);
  });

  test("tells of a content again, where it took none for good and another mail brought it meanwhile", async () => {
    const [spool, relay] = [await someSpool(), await someRelay()];
    start(spool, relay.address, SOC);
    const answer = slow(relay, 554);
    await spool.putEvents([bad("one.zip", "a")]);
    await busy(relay);
    await spool.putEvents([bad("two.zip", "a")]);
    await cursorAt(spool, 2);
    answer();
    await until(() => relay.taken.length === 1);
    expect(await textOf(relay, 0)).toContain("two[.]zip");
    await settled(spool);
    expect(relay.taken).toHaveLength(1);
  });

  test("counts what joined, where it puts the alert off meanwhile", async () => {
    const [spool, relay] = [await someSpool(), await someRelay()];
    let later = 0;
    start(spool, relay.address, SOC, () => Date.now() + later);
    const answer = slow(relay, 451);
    await spool.putEvents([bad("one.zip", "a")]);
    await busy(relay);
    await spool.putEvents([bad("two.zip", "a")]);
    await cursorAt(spool, 2);
    answer();
    await Bun.sleep(50);
    later = 60_000;
    await until(() => relay.taken.length === 1);
    expect(await textOf(relay, 0)).toContain("2 mails");
  });

  test("gets an alert once that it looks at for longer than the time-out: it used to be sent over and over", async () => {
    const relay = await someRelay();
    const spool = await someSpool();
    const { alerts } = start(spool, relay.address, { ...SOC, timeout: "1s" });
    relay.atData = async () => {
      await Bun.sleep(3000);
      return null;
    };
    await spool.putEvents([bad()]);
    await until(() => relay.taken.length > 0);
    await alerts.stop();
    expect(relay.asked).toEqual(["soc@example.org"]);
    expect((await alerts.status())[0]).toMatchObject({ state: "up", delivered: 1, lastError: null });
  });

  test("that never answers does not keep the sensor from stopping, and gets the alert after the next start", async () => {
    const relay = await someRelay();
    const spool = await someSpool();
    const first = start(spool, relay.address, SOC);
    let release = () => {};
    relay.atData = async () => {
      await new Promise<void>((resolve) => {
        release = resolve;
      });
      return "drop";
    };
    await spool.putEvents([bad()]);
    await until(() => relay.asked.length > 0);
    await first.alerts.stop();
    expect(first.lines).not.toContainEqual(expect.objectContaining({ code: "ALERT_UNREACHABLE" }));
    release();
    relay.atData = async () => null;
    start(spool, relay.address, SOC);
    await until(() => relay.taken.length > 0);
    expect(relay.taken.map(({ to }) => to)).toEqual([["soc@example.org"]]);
  }, 20_000);

  test("loses no other malicious mail of a digest", async () => {
    const [spool, relay] = [await someSpool(), await someRelay()];
    let later = 0;
    start(spool, relay.address, { ...SOC, digest: "1h" }, () => Date.now() + later);
    const answer = slow(relay);
    await spool.putEvents([bad("one.zip")]);
    await cursorAt(spool, 1);
    later = 3_700_000;
    await busy(relay);
    await spool.putEvents([bad("two.zip")]);
    await cursorAt(spool, 2);
    answer();
    await until(() => relay.taken.length === 1);
    later = 7_400_000;
    await until(() => relay.taken.length === 2);
    expect(await textOf(relay, 0)).not.toContain("two[.]zip");
    expect(await textOf(relay, 1)).toContain("two[.]zip");
    expect(await textOf(relay, 1)).not.toContain("one[.]zip");
  });

  for (const code of [421, "drop"] as const) {
    test(`blocks no other alert where it answers those of one recipient with ${code}`, async () => {
      const [spool, relay] = [await someSpool(), await someRelay()];
      let later = 0;
      let good = false;
      relay.atData = async (recipient) => (recipient.startsWith("victim1") && !good ? code : null);
      const { alerts, lines } = start(spool, relay.address, {}, () => Date.now() + later);
      const victims = Array.from({ length: 5 }, (_, n) => `victim${n + 1}@example.org`);
      await spool.putEvents([bad("x.zip", "", victims)]);
      await until(() => relay.taken.length === 4);
      expect(relay.asked.filter((recipient) => recipient.startsWith("victim1"))).toHaveLength(1);
      await until(() => lines.some(({ msg }) => String(msg).startsWith("the relay puts an alert off")));
      await Bun.sleep(100);
      expect(await alerts.status()).toMatchObject([{ state: "up", composed: 1 }]);
      good = true;
      later = 10_000;
      await until(() => relay.taken.length === 5);
      expect(relay.taken[4]?.to).toEqual(["victim1@example.org"]);
    });
  }
});

describe("a digest", () => {
  test("is one mail with all that came, each content once with a count, also over a restart", async () => {
    const [spool, relay] = [await someSpool(), await someRelay()];
    let later = 0;
    const now = () => Date.now() + later;
    const config = { ...SOC, digest: "1h" };
    const first = start(spool, relay.address, config, now);
    await spool.putEvents([bad("one.zip", "e"), bad("two.zip", "f"), bad("one.zip", "e")]);
    await cursorAt(spool, 3);
    await first.alerts.stop();
    start(spool, relay.address, config, now);
    await spool.putEvents([bad("three.zip")]);
    await cursorAt(spool, 4);
    expect(relay.taken).toHaveLength(0);
    later = 3_700_000;
    await until(() => relay.taken.length === 1);
    const { subject, text, html } = await simpleParser(relay.taken[0]?.text ?? "");
    expect(subject).toBe("4 mails with bad attachments or links");
    for (const name of ["one[.]zip", "two[.]zip", "three[.]zip"]) {
      expect(text?.split(name)).toHaveLength(2);
      expect(html).toContain(name);
    }
    expect(text).toContain(", 2 mails");
    await settled(spool);
    expect(relay.taken).toHaveLength(1);
  });
});

test("what is found after delivery obeys limits and digests like any other alert", async () => {
  const [spool, relay] = [await someSpool(), await someRelay()];
  let later = 0;
  const now = () => Date.now() + later;
  const late = (filename: string): SensorEvent => ({ ...bad(filename), type: "verdict.changed" });
  const limited = start(spool, relay.address, { ...SOC, max_per_recipient_hour: 1 }, now);
  await spool.putEvents([late("one.zip"), late("two.zip")]);
  await cursorAt(spool, 2);
  await until(() => relay.taken.length === 1);
  await limited.alerts.stop();
  start(spool, relay.address, { ...SOC, max_per_recipient_hour: 1, digest: "1h" }, now);
  await spool.putEvents([late("three.zip"), bad("four.zip")]);
  await cursorAt(spool, 4);
  expect(relay.taken).toHaveLength(1);
  later = 3_700_000;
  await until(() => relay.taken.length === 3);
  const texts = await Promise.all([textOf(relay, 1), textOf(relay, 2)]);
  const [held, digest] = texts.toSorted((a) => (a.includes("two[.]zip") ? -1 : 1));
  expect(held).toContain("two[.]zip, malicious, found after delivery");
  expect(digest).toContain("three[.]zip, malicious, found after delivery");
  expect(digest).toContain("four[.]zip, malicious (EICAR");
});

test("an alert that cannot be written holds no other one up, and is given up after a day", async () => {
  const [spool, relay] = [await someSpool(), await someRelay()];
  const empty = { ...note(bad()), address: "soc@example.org", fixed: true, dueAt: 1, rows: [] };
  await spool.putAlertNotes("alert:soc", [{ id: "alert:x:soc@example.org", body: JSON.stringify(empty) }]);
  let later = 0;
  const { lines } = start(spool, relay.address, SOC, () => Date.now() + later);
  await spool.putEvents([bad("one.zip")]);
  await until(() => relay.taken.length === 1);
  expect(lines.some(({ msg }) => msg === "an alert cannot be written for now")).toBe(true);
  later = 25 * 3_600_000;
  await until(() => lines.some(({ msg }) => msg === "an alert cannot be written, it is given up"));
  await settled(spool);
});

test("alerts do not start with a wrong template", async () => {
  const spool = await someSpool();
  expect(() => start(spool, "127.0.0.1:25", { subject: "{{ verdict | nosuch }}" })).toThrow(
    /alert soc: subject: .*nosuch/,
  );
});

test("alerts do not start with a DKIM key that cannot sign", async () => {
  const spool = await someSpool();
  const folder = temporaryFolder();
  closing.push(folder.remove);
  const path = join(folder.path, "dkim.key");
  writeFileSync(path, "not a key");
  const dkim = { domain: "example.org", selector: "sensor", key_file: path };
  expect(() => start(spool, "127.0.0.1:25", { dkim })).toThrow(/alert soc: dkim.key_file: is no private key/);
});
