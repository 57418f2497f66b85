import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { createUrlCollector } from "../../../../src/extract/urls/collector.ts";
import type { UrlFlag } from "../../../../src/extract/urls/flags.ts";
import { MAX_URL_LENGTH, normalizeUrl, SCHEMELESS } from "../../../../src/extract/urls/normal-form.ts";
import { leastCpu } from "../clock.ts";

function found(kind: "text" | "html", input: string, max = 500) {
  const flags: UrlFlag[] = [];
  const collector = createUrlCollector({ max, recipients: [], onFlag: (flag) => flags.push(flag) });
  if (kind === "text") collector.addText(input, "text");
  else collector.addHtml(input, "html");
  return { urls: collector.found().map(({ normalized }) => normalized), flags };
}

describe("in a text", () => {
  test.each<[string, string[]]>([
    ["see http://a.example/x.", ["http://a.example/x"]],
    ["(https://a.example/x_(y))", ["https://a.example/x_(y)"]],
    ["<ftp://a.example/>", ["ftp://a.example/"]],
    ["HTTP://A.EXAMPLE:80/B?c=d#e", ["http://a.example/B?c=d"]],
    ["http://a.example/?u=http://b.example/", ["http://a.example/?u=http://b.example/", "http://b.example/"]],
    ["http://a.example,http://b.example", ["http://a.example/", "http://b.example/"]],
    ["https://[::1]:8443/", ["https://[::1]:8443/"]],
    ["http://user@host.example/", ["http://user@host.example/"]],
    ["http://\u4f8b\u3048.example/\u9053\u3002", ["http://xn--r8jz45g.example/%E9%81%93"]],
    ["www.example.com", ["http://www.example.com/"]],
    ["URL:www.example.com/a", ["http://www.example.com/a"]],
    ["bit.ly/abc, and example.org:8080/x", ["http://bit.ly/abc", "http://example.org:8080/x"]],
    ["example.com", []],
    ["report.zip invoice.pdf done.It 1.5/2.0 and/or read.me", []],
    ["bob@example.com bob.co@example.com/x bob@www.example.com", []],
    ["mailto:bob@example.com cid:1@x.example javascript:alert(1)", []],
    ["nosuch.tld0/x src/main.ts 10.0.0.1/x", []],
    ["http:// https://. ftp:///", []],
  ])("%j holds %j", (input, urls) => {
    expect(found("text", input)).toEqual({ urls, flags: [] });
  });
});

describe("in HTML", () => {
  test.each<[string, string[]]>([
    ['<a href="http://a.example/?x=1&amp;y=2">', ["http://a.example/?x=1&y=2"]],
    ["<A HREF = ' http://a.example/ '>", ["http://a.example/"]],
    ["<a href=http://a.example/x>", ["http://a.example/x"]],
    ['<a href="//a.example/x"><a href="/\\b.example/y">', ["https://a.example/x", "https://b.example/y"]],
    ['<a href="www.a.example/x">', ["http://www.a.example/x"]],
    ['<a href="/relative"><a href="#x"><a href="?q">', []],
    [
      '<base href="http://a.example/d/"><a href="login">',
      ["http://a.example/d/", "http://a.example/d/login"],
    ],
    [
      '<form action="http://a.example/"><button formaction=http://b.example/>',
      ["http://a.example/", "http://b.example/"],
    ],
    [
      "<iframe src='http://a.example/'></iframe><area href=http://b.example/x>",
      ["http://a.example/", "http://b.example/x"],
    ],
    ["<meta content=\"0; URL='http://a.example/'\" http-equiv=Refresh>", ["http://a.example/"]],
    ['<meta name=x content="url=http://a.example/">', []],
    ['<svg><a xlink:href="http://a.example/"/></svg>', ["http://a.example/"]],
    ["<!--[if mso]><a href='http://a.example/'><![endif]-->", ["http://a.example/"]],
    ["<!-- <a href='http://a.example/'> -->", ["http://a.example/"]],
    [
      "<p>http://a.example/?x&amp;y<b>http://b.example/</b></p>",
      ["http://a.example/?x&y", "http://b.example/"],
    ],
    [
      "<script>'http://a.example/'</script><style>@import url(http://b.example/)</style>",
      ["http://a.example/", "http://b.example/"],
    ],
    ["<img src=http://a.example/pixel.gif>", ["http://a.example/pixel.gif"]],
    ['<a href="mailto:a@b.example"><a href="data:text/html,http://a.example/"><a href="java\nscript:1">', []],
    ['<a href="http&#58;//a.example&#47;">', ["http://a.example/"]],
    ["<a href='http://a.example/'", ["http://a.example/"]],
  ])("%j leads to %j", (input, urls) => {
    expect(found("html", input)).toEqual({ urls, flags: [] });
  });
});

describe("the normal form", () => {
  test("is the same for the ways to write one URL", () => {
    const ways = [
      "http://Ex\u00e4mple.com",
      "HTTP://EX\u00c4MPLE.COM:80/",
      "http://xn--exmple-cua.com/#top",
      "http://exämple.com/a/..",
    ];
    expect(new Set(ways.map((way) => normalizeUrl(way)))).toEqual(new Set(["http://xn--exmple-cua.com/"]));
    expect(normalizeUrl("exämple.com", SCHEMELESS)).toBe("http://xn--exmple-cua.com/");
  });

  test("is a fixed point", () => {
    for (const url of ["http://a.example/%7Ex?q=%zz", "https://[::FFFF]:1/", "ftp://a.example/a b"]) {
      const once = normalizeUrl(url) ?? "";
      expect(normalizeUrl(once)).toBe(once);
    }
  });
});

describe("bounds", () => {
  test("on the number of URLs keep the first ones, with a flag", () => {
    const text = Array.from({ length: 30 }, (_, index) => `http://h${index}.example/`).join(" ");
    const { urls, flags } = found("text", text, 5);
    expect(urls).toHaveLength(5);
    expect(flags).toEqual(["urls_exceeded"]);
  });

  test("on the length of a URL leave it out, with a flag", () => {
    const long = `http://a.example/${"x".repeat(MAX_URL_LENGTH)}`;
    expect(found("text", `${long} http://b.example/`)).toEqual({
      urls: ["http://b.example/"],
      flags: ["url_too_long"],
    });
    expect(found("html", `<a href="${long}">`)).toEqual({ urls: [], flags: ["url_too_long"] });
    // Each character of its normal form takes nine.
    expect(found("text", `http://a.example/${"\u9053".repeat(1000)}`).flags).toEqual(["url_too_long"]);
  });
});

describe("any page or text", () => {
  const piece = fc.constantFrom(
    ..."<>\"'`=/&;:#?@\\ \n\0%.".split(""),
    "<a href=",
    "<base href=",
    "<iframe srcdoc=",
    "<style>",
    "<script>",
    "</script>",
    "<!--",
    "-->",
    "<![CDATA[",
    "url(",
    "javascript:",
    "data:text/html,",
    "http://a.example",
    "https://w.example/?u=",
    "aHR0cDovL2IuZXhhbXBsZS8",
    "&lt;",
    "&#x68;",
    "%68",
    "\u200b",
    "\ud800",
    "www.",
    ".com/",
    "b.net",
    "atob(",
  );
  test("gives URLs in normal form, within the bound, and never throws", () => {
    fc.assert(
      fc.property(fc.array(piece, { maxLength: 60 }), (pieces) => {
        const input = pieces.join("");
        const collector = createUrlCollector({ max: 5, recipients: ["bob@example.com"], onFlag: () => {} });
        collector.addText(input, "text");
        collector.addHtml(input, "html");
        collector.addScript(input, "script");
        collector.addUrl(input, "url");
        const urls = collector.found();
        expect(urls.length).toBeLessThanOrEqual(5);
        for (const { url, normalized, sources } of urls) {
          expect(normalizeUrl(normalized)).toBe(normalized);
          expect(url.isWellFormed()).toBe(true);
          expect(sources.length).toBeGreaterThan(0);
        }
      }),
      { numRuns: 1000 },
    );
  });
});

describe("time grows in proportion to", () => {
  const SHAPES: Readonly<Record<string, (size: number) => string>> = {
    "schemes without end": (size) => "http://".repeat(size / 7),
    dots: (size) => "a.".repeat(size / 2),
    "www.": (size) => "www.".repeat(size / 4),
    "xn-- labels": (size) => `http://${"xn--a.".repeat(size / 6)}/`,
    brackets: (size) => "http://a.b/((((((((( ".repeat(size / 21),
    "one long bracket run": (size) => `http://a/${")".repeat(size)}`,
    "words with paths": (size) => "a.b.c/d ".repeat(size / 8),
    "nested tags": (size) => "<b>".repeat(size / 3),
    "open attributes": (size) => '<a href="'.repeat(size / 9),
    entities: (size) => `<a href="${"&amp;".repeat(size / 5)}`,
    ampersands: (size) => "&".repeat(size),
    "less-than signs": (size) => "<".repeat(size),
    comments: (size) => "<!--[if ".repeat(size / 8),
    "closed comments": (size) => "<!--[if]-->".repeat(size / 11),
    spaces: (size) => `${" ".repeat(size)}.`,
    refreshes: (size) => `<meta http-equiv=refresh content="${"url ".repeat(size / 4)}">`,
    "long international hosts": (size) =>
      `http://${"\u00fc".repeat(63)}.${"\u00e4".repeat(63)}.example/ `.repeat(size / 145),
    "@ signs": (size) => "http://a@".repeat(size / 9),
    scripts: (size) => "<script>".repeat(size / 8),
  };
  test.each(Object.keys(SHAPES))("%s", async (name) => {
    const shape = SHAPES[name];
    if (shape === undefined) throw new Error("no such shape");
    const read = (input: string): void => {
      found("text", input);
      found("html", input);
    };
    read(shape(50_000));
    const [small, large] = [shape(125_000), shape(1_000_000)];
    // Eight times the input; quadratic work would take 64 times as long.
    const bound = 40 * Math.max(await leastCpu(0, () => read(small)), 5);
    expect(await leastCpu(bound, () => read(large))).toBeLessThan(bound);
  });
});
