import { expect, test } from "bun:test";
import { join } from "node:path";
import { file, link, mailRow, verdictEvent } from "../report/fixtures.ts";
import { facts, malicious, note } from "./fixtures.ts";

test("docs/alerts.md names every variable of the templates, and none that is not there", async () => {
  const event = verdictEvent(mailRow([file("x", malicious), link("http://a.example", malicious)]));
  const text = await Bun.file(join(import.meta.dir, "../../../docs/alerts.md")).text();
  const rows = [...text.matchAll(/^\| (`.*?) \| (.*) \|$/gm)].map(([, names = "", meaning = ""]) => ({
    names: [...names.matchAll(/`([a-z_]+)`/g)].map(([, name]) => name),
    meaning,
  }));
  const change = {
    id: "",
    because: "late",
    from: "clean",
    to: "malicious",
    previous_event_id: null,
    mails: 1,
  } as const;
  const changed = { ...event, type: "verdict.changed" as const, change };
  const all = facts(changed, { digest: 1, rows: note(changed).rows });
  expect(rows.flatMap(({ names }) => names).toSorted() as string[]).toEqual(Object.keys(all).toSorted());
  const parts = { change: all.change, attachments: all.attachments[0], urls: all.urls[0], rows: all.rows[0] };
  for (const [name, part] of Object.entries(parts)) {
    const meaning = rows.find(({ names }) => names.includes(name))?.meaning ?? "";
    for (const key of Object.keys(part ?? {})) expect(`${name}: ${meaning}`).toContain(`\`${key}\``);
  }
});
