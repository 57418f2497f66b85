import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { createUrlCollector } from "../../../../src/extract/urls/collector.ts";
import { normalizeUrl, stripTracking } from "../../../../src/extract/urls/normal-form.ts";

describe("the normal form", () => {
  test.each<[string, string | null]>([
    ["HTTP://A.Example:80/%7eb/../c/./d?#f", "http://a.example/c/d"],
    ["http://a.example./x", "http://a.example/x"],
    ["http://a.example/%e3%81%82%2f%41", "http://a.example/%E3%81%82%2FA"],
    ["http://a.example/?", "http://a.example/"],
    ["http://a.example/?a??", "http://a.example/?a??"],
    ["http://a.example/#/login", "http://a.example/"],
    ["http://a.example/#!x", "http://a.example/"],
    ["http:\\\\a.example\\b", "http://a.example/b"],
    ["http://\uff21\uff0eexample/", "http://a.example/"],
    ["http://b\u00fccher.example/", "http://xn--bcher-kva.example/"],
    ["http://0x7f.1/", "http://127.0.0.1/"],
    ["http://0177.0.0.1/", "http://127.0.0.1/"],
    ["http://a.example/%%34%31", "http://a.example/%%341"],
    ["https:a.example", "https://a.example/"],
    ["http://..", null],
    ["http://", null],
    ["javascript:alert(1)", null],
    [`https:${"\u00fc".repeat(4000)}`, null],
  ])("of %j is %j", (written, normal) => {
    expect(normalizeUrl(written)).toBe(normal);
  });

  test("of the normal form is the same", () => {
    const piece = fc.constantFrom(
      "%",
      "2",
      "4",
      "1",
      "7e",
      "/",
      ".",
      "..",
      "?",
      "#",
      "a",
      "%41",
      "%2e",
      "\\",
      "@",
      ":",
      "\u00fc",
    );
    fc.assert(
      fc.property(fc.array(piece, { maxLength: 20 }), (pieces) => {
        const once =
          normalizeUrl(`http://a.example/${pieces.join("")}`) ?? normalizeUrl(`http://${pieces.join("")}`);
        if (once !== null) expect(normalizeUrl(once)).toBe(once);
      }),
      { numRuns: 1000 },
    );
  });
});

describe("stripping what tracks", () => {
  test.each<[string, string]>([
    ["http://a.example/?utm_source=x&id=1&UTM_medium=y", "http://a.example/?id=1"],
    ["http://a.example/x?fbclid=1", "http://a.example/x"],
    ["http://a.example/x?id=1&mc_eid=2#top", "http://a.example/x?id=1#top"],
    ["http://a.example/x?utmost=1", "http://a.example/x?utmost=1"],
    ["http://a.example/x", "http://a.example/x"],
  ])("%s becomes %s", (url, stripped) => {
    expect(stripTracking(url)).toBe(stripped);
  });

  test("takes other parameters where they are given", () => {
    expect(stripTracking("http://a.example/?utm_id=1&sid=2&s=3", { parameters: ["sid"] })).toBe(
      "http://a.example/?utm_id=1&s=3",
    );
  });
});

describe("a URL is personal that carries the address of a recipient", () => {
  const address = "Bob.Jones+x@Example.com";
  const lower = address.toLowerCase();
  const digest = (name: "md5" | "sha1" | "sha256"): string =>
    new Bun.CryptoHasher(name).update(lower).digest("hex");
  const personal = (url: string): boolean => {
    const collector = createUrlCollector({ max: 10, recipients: [address], onFlag: () => {} });
    collector.addUrl(url, "text");
    return collector.found()[0]?.personal === true;
  };

  test.each([
    `http://a.example/?e=${lower}`,
    `http://a.example/?e=${encodeURIComponent(address)}`,
    `http://a.example/?e=${encodeURIComponent(encodeURIComponent(address))}&x`,
    `http://a.example/u/${lower}/x`,
    `http://a.example/#${address}`,
    `http://a.example/?t=${Buffer.from(lower).toString("base64")}`,
    `http://a.example/#${Buffer.from(`${address}|1`).toString("base64url")}`,
    `http://a.example/?h=${digest("md5")}`,
    `http://a.example/?h=${digest("sha1").toUpperCase()}`,
    `http://a.example/${digest("sha256")}`,
  ])("%s", (url) => {
    expect(personal(url)).toBe(true);
  });

  test.each(["http://example.com/", "http://a.example/?e=ob.jones@example.com", "http://a.example/?e=bob"])(
    "and not %s",
    (url) => {
      expect(personal(url)).toBe(false);
    },
  );
});
