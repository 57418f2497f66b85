/** The intake of the compiled binary where it meets the world: TLS with a client that is not ours, a full disk. */
import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import { join } from "node:path";
import { binaryPath, launchSensor, startAnalyzer } from "./lib/binary.ts";
import { smallDisk } from "./lib/disk.ts";
import { needProgram, openPlace, type Place, runToEnd, waitFor } from "./lib/place.ts";
import { sendMails, type TestMail } from "./lib/smtp.ts";

let place: Place;
beforeEach(() => {
  place = openPlace("intake");
});
afterEach(() => place.close());

const FILES = join(import.meta.dir, "../unit/config/files");

describe("STARTTLS", () => {
  async function sensorWithTls(required: boolean) {
    const certificate = join(FILES, "server.pem.crt");
    const key = join(FILES, "server.pem.key");
    const sensor = await launchSensor(place, {
      analyzer: await startAnalyzer(place),
      config: { smtp: { tls: { cert_file: certificate, key_file: key, required } } },
    });
    const client = async (way: string): Promise<unknown> => {
      const { code, stdout, stderr } = await runToEnd([
        ...[needProgram("python3", "python3"), join(import.meta.dir, "smtp_client.py")],
        ...[String(sensor.smtpPort), way, certificate],
      ]);
      expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
      return JSON.parse(stdout);
    };
    return { sensor, client };
  }

  test("is offered and used; the envelope names the protocol and the cipher", async () => {
    const { sensor, client } = await sensorWithTls(false);
    expect(await client("tls")).toEqual({ offered: true, code: 250 });
    expect(await client("plain")).toEqual({ offered: true, code: 250 });
    const ask = async (...args: readonly string[]) =>
      (await runToEnd([...[binaryPath(), ...args, "--json", "--address", `unix:${sensor.control}`]])).stdout
        .split("\n")
        .filter((line) => line !== "")
        .map((line) => JSON.parse(line));
    const listed = await waitFor("two mails", async () => {
      const mails = await ask("mails");
      return mails.length === 2 ? mails : undefined;
    });
    const details = await Promise.all(listed.map(({ id }) => ask("mail", id)));
    const tls = details.map(([detail]) => detail.mail.envelope.tls ?? "").sort();
    expect(tls[0]).toBe("");
    expect(tls[1]).toMatch(/^TLSv1\.[23] \S+$/);
  });

  test("that is required turns away a client that does not use it, for good", async () => {
    const { client } = await sensorWithTls(true);
    expect(await client("plain")).toEqual({ offered: true, code: 530 });
    expect(await client("tls")).toEqual({ offered: true, code: 250 });
  });

  test("forgets what was sent in clear behind it (CVE-2011-0411)", async () => {
    const { client } = await sensorWithTls(false);
    expect(await client("injected")).toEqual({ ehlo: "250", data: "503" });
  });
});

const mail = (key: string, size = 2_000): TestMail => ({
  key,
  from: "alice@example.com",
  to: ["bob@example.org"],
  content:
    `From: alice@example.com\r\nTo: bob@example.org\r\nSubject: ${key}\r\n\r\n${"x".repeat(70)}\r\n`.padEnd(
      size,
      "y".repeat(70).concat("\r\n"),
    ),
});

describe("a disk that is really full", () => {
  test.each([
    ["only free space is asked for", "8MB"],
    ["nothing is kept free", "0B"],
  ])(
    "makes the sensor answer 452 until there is room again, and costs no mail, where %s",
    async (_name, minFree) => {
      const disk = await smallDisk(place, 32);
      const sensor = await launchSensor(place, {
        analyzer: await startAnalyzer(place),
        config: { spool: { path: join(disk.path, "spool"), min_free: minFree } },
      });
      expect((await sendMails(sensor.smtpPort, [mail("before")])).accepted).toEqual(["before"]);

      disk.fill(minFree === "0B" ? 64 * 1024 : 0);
      await Bun.sleep(1_200);
      const small = Array.from({ length: 60 }, (_, n) => mail(`small ${n}`, 30_000));
      const during = await sendMails(sensor.smtpPort, [mail("large", 3_000_000), ...small], {
        connections: 4,
      });
      expect(during.refused.length).toBeGreaterThan(30);
      for (const { answer } of during.refused) expect(answer).toStartWith("452 ");

      disk.empty();
      const after = await waitFor("room", async () => {
        const sent = await sendMails(sensor.smtpPort, [mail("after"), mail("large again", 3_000_000)]);
        return sent.refused.length === 0 ? sent : undefined;
      });
      expect(after.accepted).toEqual(["after", "large again"]);
      const accepted = 1 + during.accepted.length + after.accepted.length;
      await waitFor("a verdict for each accepted mail", async () => {
        const { stdout } = await runToEnd([
          ...[binaryPath(), "status", "--json", "--address", `unix:${sensor.control}`],
        ]);
        return JSON.parse(stdout).mails?.done >= accepted ? true : undefined;
      });
    },
  );
});
