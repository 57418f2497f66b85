/** The built-in alerts, as they were last looked at in a browser. `scripts/alert-pages.ts` writes them again. */
import { describe, expect, test } from "bun:test";
import { readdirSync } from "node:fs";
import { join } from "node:path";
import { alertPages } from "../../../scripts/alert-pages.ts";

const FOLDER = join(import.meta.dir, "pages");

describe("the built-in alert mails", async () => {
  const pages = await alertPages();

  test("look as they were looked at", async () => {
    expect(readdirSync(FOLDER).toSorted()).toEqual([...pages.keys()].toSorted());
    for (const [name, page] of pages) expect(page).toBe(await Bun.file(join(FOLDER, name)).text());
  });

  test("load nothing, run nothing, have one kind of link, and suit narrow, wide, light and dark", () => {
    for (const [name, html] of pages) {
      if (!name.endsWith(".html")) continue;
      expect(html).not.toMatch(/<(script|link|iframe|object|form|img|svg|base)|url\(|@import| on[a-z]+=/i);
      const links = [...html.matchAll(/href="([^"]*)"/g)].map(([, href]) => href);
      expect(new Set(links).difference(new Set(["https://vmray.example/samples/1"]))).toEqual(new Set());
      expect(links.length > 0).toBe(/^(alert|long|digest)-analyst/.test(name));
      expect(html).toContain("@media (prefers-color-scheme: dark)");
      expect(html).toContain("max-width:600px");
      expect(html).toContain('name="viewport"');
      expect(html.length).toBeLessThan(20_000);
    }
  });
});
