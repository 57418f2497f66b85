/** The peers of the system tests are real and work: a private Postfix and a private rsyslog. */
import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import { createSocket } from "node:dgram";
import { connect } from "node:net";
import { freePort } from "../ports.ts";
import { needProgram, openPlace, type Place, start, waitFor } from "./lib/place.ts";
import { startPostfix } from "./lib/postfix.ts";
import { startRsyslog } from "./lib/rsyslog.ts";
import { greeting, sendMails, type TestMail } from "./lib/smtp.ts";

let place: Place;
beforeEach(() => {
  place = openPlace("peers");
});
afterEach(() => place.close());

const mail = (key: string): TestMail => ({
  key,
  from: "alice@example.com",
  to: ["bob@example.org"],
  content: `From: alice@example.com\r\nTo: bob@example.org\r\nSubject: ${key}\r\n\r\n.dot\r\nhello\r\n`,
});

describe("the private Postfix", () => {
  test("sends a copy of each mail to the sensor's address and discards the mail itself", async () => {
    const sinkPort = await freePort();
    const dump = `${place.path}/copies`;
    const sink = [needProgram("smtp-sink", "postfix"), "-u", "root", "-D", dump];
    start(place, "sink", [...sink, `127.0.0.1:${sinkPort}`, "100"]);
    await waitFor("the sink", () => greeting(sinkPort));
    const postfix = await startPostfix(place, {
      alwaysBcc: "copy@sensor.test",
      routes: { "sensor.test": `smtp:[127.0.0.1]:${sinkPort}` },
    });
    const sent = await sendMails(postfix.port, [mail("one"), mail("two"), mail("three")], { connections: 2 });
    expect(sent.refused).toEqual([]);
    await waitFor("an empty queue", async () => ((await postfix.queued()) === 0 ? true : undefined));
    const copies = await Bun.file(dump).text();
    expect(copies.match(/^X-Rcpt-Args: <copy@sensor\.test> .*NOTIFY=NEVER/gm)).toHaveLength(3);
    expect([...copies.matchAll(/^Subject: (.*)$/gm)].map((found) => found[1]).sort()).toEqual(
      ["one", "two", "three"].sort(),
    );
    await waitFor("the log", () => (postfix.log().includes("relay=none, delay") ? true : undefined));
  });

  test("keeps what the sensor does not take, and hands it over when the sensor is there", async () => {
    const sinkPort = await freePort();
    const postfix = await startPostfix(place, {
      alwaysBcc: "copy@sensor.test",
      routes: { "sensor.test": `smtp:[127.0.0.1]:${sinkPort}` },
    });
    await sendMails(postfix.port, [mail("waiting")]);
    await waitFor("the mail to be deferred", () =>
      postfix.log().includes("status=deferred") ? true : undefined,
    );
    await waitFor("the copy alone", async () => ((await postfix.queued()) === 1 ? true : undefined));
    start(place, "sink", [needProgram("smtp-sink", "postfix"), "-u", "root", `127.0.0.1:${sinkPort}`, "100"]);
    await waitFor("an empty queue", async () => ((await postfix.queued()) === 0 ? true : undefined));
  });
});

describe("the private rsyslog", () => {
  const message = (text: string) =>
    `<134>1 2026-01-02T03:04:05.678Z sensor.test email-sensor 42 mail.verdict - ${text}`;
  const octets = (text: string) => `${Buffer.byteLength(text)} ${text}`;

  test("takes octet-counted messages with any bytes in them, in order, and goes on after a restart", async () => {
    const rsyslog = await startRsyslog(place);
    const send = (texts: readonly string[]) =>
      new Promise<void>((resolve, reject) => {
        const socket = connect({ host: "127.0.0.1", port: rsyslog.tcpPort });
        socket.once("error", reject);
        socket.end(texts.map((text) => octets(message(text))).join(""), () => resolve());
      });
    const long = JSON.stringify({ subject: "Grüße 日本", filler: "x".repeat(200_000) });
    await send(["first", long, "third"]);
    await waitFor("three messages", () => (rsyslog.messages().length === 3 ? true : undefined));
    expect(rsyslog.messages()).toEqual(["first", long, "third"]);
    expect(await waitFor("the headers", () => rsyslog.headers()[0])).toEqual({
      pri: "134",
      time: "2026-01-02T03:04:05.678Z",
      host: "sensor.test",
      app: "email-sensor",
      procid: "42",
      msgid: "mail.verdict",
      data: "-",
    });
    await rsyslog.restart();
    await send(["fourth"]);
    await waitFor("the fourth message", () => (rsyslog.messages()[3] === "fourth" ? true : undefined));
  });

  test("takes datagrams", async () => {
    const rsyslog = await startRsyslog(place);
    const socket = createSocket("udp4");
    await new Promise((resolve) => socket.send(message("by UDP"), rsyslog.udpPort, "127.0.0.1", resolve));
    socket.close();
    await waitFor("the message", () => (rsyslog.messages()[0] === "by UDP" ? true : undefined));
  });
});
