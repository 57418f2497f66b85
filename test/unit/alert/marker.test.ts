import { afterAll, describe, expect, test } from "bun:test";
import { mkdtempSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { ALERT_HEADER, alertSecret, isOwnAlert, MAX_ALERT_BYTES } from "../../../src/alert/marker.ts";
import { alertMessage } from "../../../src/alert/message.ts";
import { createOwnAlerts } from "../../../src/alert/own.ts";
import { recordingLog } from "../report/fixtures.ts";
import { FROM, SECRET } from "./fixtures.ts";

const folder = mkdtempSync(join(tmpdir(), "alert-marker-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const NOW = Date.UTC(2026, 0, 2);
const genuine = (
  await alertMessage({
    alert: {
      subject: "Malicious attachment: \u00fc",
      text: "Text  of the alert\n\n",
      html: "<p>Text</p>",
      messageId: "<alert.1@example.org>",
    },
    from: FROM,
    to: "anna@example.org",
    logo: null,
    dkim: null,
    secret: SECRET,
    now: NOW,
  })
).toString("latin1");
const own = (text: string, now = NOW, secret = SECRET) =>
  isOwnAlert(Buffer.from(text, "latin1"), secret, now);
const on = (text: string, from: string | RegExp, to: string) => {
  const changed = text.replace(from, to);
  expect(changed).not.toBe(text);
  return changed;
};

describe("an alert that came back", () => {
  test("is known, also after mail servers added their fields, folded lines again and cut the end", () => {
    expect(own(genuine)).toBe(true);
    const received =
      "Received: from a by b;\r\n Fri, 2 Jan 2026 00:00:00 +0000\r\nReturn-Path: <>\r\nX-Spam-Score: 0\r\n";
    expect(own(`${received}${genuine}`)).toBe(true);
    expect(own(on(genuine, "Subject: ", "Subject:\r\n  "))).toBe(true);
    expect(own(on(genuine, ";\r\n b=", ";\r\n\t  b="))).toBe(true);
    expect(own(`${genuine}\r\n\r\n`)).toBe(true);
    expect(own(genuine, NOW + 6 * 86_400_000)).toBe(true);
  });

  test("is a mail like any other where the marker was copied to other content", () => {
    expect(own(on(genuine, "<p>Text</p>", "<p>Evil</p>"))).toBe(false);
    expect(own(`${genuine}\r\nmore`)).toBe(false);
    expect(own(on(genuine, "From: ", "From: x"))).toBe(false);
    expect(own(on(genuine, /^Subject: .*$/m, "Subject: see http://evil.example"))).toBe(false);
    expect(own(on(genuine, /boundary="([^"]*)"/, 'boundary="x$1"'))).toBe(false);
    expect(own(on(genuine, /^Content-Type: multipart/m, "Content-Type: text/html\r\nX-Old: multipart"))).toBe(
      false,
    );
    const head = genuine.slice(0, genuine.indexOf("\r\n\r\n"));
    expect(own(`${head}\r\n\r\nother`)).toBe(false);
  });

  test("is a mail like any other where fields were added that are shown or change how it is read", () => {
    for (const field of [
      "Subject: evil",
      "Reply-To: x@evil.example",
      "Cc: x@evil.example",
      "List-Unsubscribe: <http://evil.example>",
      "Content-Transfer-Encoding: base64",
      "Resent-From: x@evil.example",
      "no field",
    ]) {
      expect(own(`${field}\r\n${genuine}`)).toBe(false);
    }
    expect(own(`X-A: a\r\rSubject: evil\r\r${genuine}`)).toBe(false);
    expect(own(`X-A: a\n\n${genuine}`)).toBe(false);
    expect(own(`X-A: \u00ff\r\n${genuine}`)).toBe(false);
    // Where a reader takes a line of blanks for the end of the header, what follows is the body it shows.
    expect(own(`X-A: a\r\n \r\nX-Click: http://evil.example\r\n${genuine}`)).toBe(false);
  });

  test("is a mail like any other with a forged, doubled, missing or late marker, or one of another installation", () => {
    expect(own(on(genuine, / s=[0-9a-f]{4}/, " s=0000"))).toBe(false);
    expect(own(on(genuine, /t=\d+/, `t=${NOW / 1000 + 1}`))).toBe(false);
    expect(own(`${genuine.slice(0, genuine.indexOf("From:"))}${genuine}`)).toBe(false);
    expect(own(genuine.slice(genuine.indexOf("Auto-Submitted")))).toBe(false);
    expect(own(`${ALERT_HEADER}: v=1; t=0; b=; s=\r\n\r\nx`)).toBe(false);
    expect(own(genuine, NOW, Buffer.alloc(32))).toBe(false);
    expect(own(genuine, NOW + 8 * 86_400_000)).toBe(false);
    expect(own(genuine, NOW - 2 * 3_600_000)).toBe(false);
    expect(own(`${genuine}${"\r\n".repeat(MAX_ALERT_BYTES / 2)}`)).toBe(false);
  });

  test("is archived without parts, with a flag, and counted in the log", async () => {
    const { log, lines } = recordingLog();
    const alerts = createOwnAlerts({ secret: SECRET, log, now: () => NOW });
    const bytes = Buffer.from(genuine, "latin1");
    expect(await alerts.recognise({ kind: "inline", bytes })).toMatchObject({
      mail: {
        message_id: "<alert.1@example.org>",
        subject: "Malicious attachment: \u00fc",
        from: [FROM],
        to: ["anna@example.org"],
      },
      attachments: [],
      urls: [],
      flags: ["own_alert"],
      complete: true,
    });
    const path = join(folder, "large.eml");
    writeFileSync(path, bytes);
    expect(await alerts.recognise({ kind: "file", path })).not.toBeNull();
    expect(lines.map(({ own_alerts }) => own_alerts)).toEqual([1, 2]);
    expect(await alerts.recognise({ kind: "inline", bytes: Buffer.from("Subject: x\r\n\r\n") })).toBeNull();
  });
});

describe("the secret of the installation", () => {
  test("is made once, for its owner alone, and a broken one is not used", () => {
    const secret = alertSecret(folder);
    expect(secret).toHaveLength(32);
    expect(alertSecret(folder)).toEqual(secret);
    expect(statSync(join(folder, "alert.key")).mode & 0o777).toBe(0o600);
    writeFileSync(join(folder, "alert.key"), "short\n");
    expect(() => alertSecret(folder)).toThrow(/no secret of this sensor/);
  });
});
