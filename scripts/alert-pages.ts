/**
 * The built-in alert mails of sample events, HTML and text: written to test/unit/alert/pages, where the tests compare
 * them and people look at them in a browser.
 */
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { createComposer } from "../src/alert/compose.ts";
import { AUDIENCES, keepEvent, PART_KINDS } from "../src/alert/facts.ts";
import { SAMPLE_CHANGED, SAMPLE_DENIED, SAMPLE_EVENT } from "../src/alert/sample.ts";
import { renderTemplate } from "../src/alert/template.ts";
import { LANGUAGES } from "../src/alert/words.ts";
import { alert } from "../src/config/sections/alerts.ts";

const [attachment] = SAMPLE_EVENT.attachments ?? [];
const [url] = SAMPLE_EVENT.urls ?? [];
if (SAMPLE_EVENT.mail === undefined || attachment === undefined || url === undefined) {
  throw new Error("the sample has no parts");
}
const mail = SAMPLE_EVENT.mail;
const longSubject =
  "Your unpaid invoice 2026-0017 and what happens if nobody pays it before the end of the month";
const events = [
  SAMPLE_EVENT,
  {
    ...SAMPLE_EVENT,
    id: "01890a5d-ac96-774b-bcce-b302099a8059",
    mail: { ...mail, subject: longSubject, from: ["accounting.department@very-long-name.example.net"] },
    attachments: [
      {
        ...attachment,
        filename: `${"scan_of_the_original_document_".repeat(4)}final.pdf.exe`,
        path: ["a.zip", "b.iso"],
      },
    ],
    urls: [{ ...url, url: `https://login.evil.example/a/b?session=${"0123456789abcdef".repeat(12)}` }],
  },
].map((event) => keepEvent(event, "suspicious", PART_KINDS));
const late = keepEvent(SAMPLE_CHANGED, "suspicious", PART_KINDS);
const denied = keepEvent(SAMPLE_DENIED, "suspicious", PART_KINDS);

/** Name of the file to what is in it. */
export async function alertPages(): Promise<ReadonlyMap<string, string>> {
  const pages = new Map<string, string>();
  for (const language of LANGUAGES) {
    for (const audience of AUDIENCES) {
      for (const [name, kind, some] of [
        ["alert", "alert", events.slice(0, 1)],
        ["long", "alert", events.slice(1)],
        ["late", "alert", [late]],
        ["denied", "alert", [denied]],
        ["digest", "digest", [...events, late, denied]],
      ] as const) {
        const composer = createComposer({
          config: alert.parse({
            name: "sample",
            relay: "127.0.0.1:25",
            from: "email-sensor@example.org",
            to: ["soc@example.org"],
            language,
            audience,
            contact: "IT security, phone 1234",
            time_zone: "Europe/Berlin",
          }),
          render: async (source, facts) => renderTemplate(source, facts),
          sensorId: "sensor.example.org",
          secret: new Uint8Array(32),
          failed: (fault) => {
            throw fault;
          },
        });
        const { subject, text, html } = await composer.compose(
          {
            address: "anna@example.org",
            fixed: audience === "analyst",
            yours: audience === "user",
            kind,
            contents: [],
            until: 0,
            dueAt: 0,
            attempts: 0,
            triedAt: null,
            rows: some.map((event, at) => ({ event, mails: at + 1, contents: [] })),
            mails: some.length,
            recipients: ["anna@example.org", "ben@example.org"],
            seen: [],
          },
          0,
        );
        pages.set(`${name}-${audience}-${language}.html`, `${html}\n`);
        pages.set(`${name}-${audience}-${language}.txt`, `Subject: ${subject}\n\n${text}\n`);
      }
    }
  }
  return pages;
}

if (import.meta.main) {
  const folder = join(import.meta.dir, "../test/unit/alert/pages");
  mkdirSync(folder, { recursive: true });
  for (const [name, page] of await alertPages()) writeFileSync(join(folder, name), page);
}
