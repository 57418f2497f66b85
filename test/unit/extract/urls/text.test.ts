import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { joinFlowed, urlsInText } from "../../../../src/extract/urls/text.ts";
import { found } from "./found.ts";

const urls = (text: string): string[] => found("text", text).urls;
const H = "http://a.example";
/** A URL that ends at the given column. */
const to = (column: number): string => `${H}/${"x".repeat(column - H.length - 1)}`;

describe("a URL broken over lines", () => {
  test.each<[string, string, string[]]>([
    ["at column 76", `${to(76)}\nab1 and more`, [to(76), `${to(76)}ab1`]],
    ["at column 78, with CRLF", `${to(78)}\r\n?a=b`, [to(78), `${to(78)}?a=b`]],
    ["at column 76 behind other words", `see: ${to(71)}\n/b.`, [to(71), `${to(71)}/b`]],
    ["over three lines", `${to(76)}\n${"y1".repeat(38)}\nz/`, [to(76), `${to(76)}${"y1".repeat(38)}z/`]],
    ["with the rest alone on its line", `${to(76)}\nrest\nnext`, [to(76), `${to(76)}rest`]],
    ["in quoted lines", `> ${to(76)}\n> rest/x`, [to(76), `${to(76)}rest/x`]],
  ])("%s is given whole, and as far as its line", (_, text, expected) => {
    expect(urls(text)).toEqual(expected);
  });

  test.each<[string, string]>([
    ["a short line", `${H}/x\nab1`],
    ["a long line", `${to(90)}\nab1`],
    ["a word of the sentence", `${to(76)}\nand so on`],
    ["an empty line", `${to(76)}\n\nab1`],
  ])("is not joined with what follows %s", (_, text) => {
    expect(urls(text)).toHaveLength(1);
  });

  test("is not joined with another URL", () => {
    expect(urls(`${to(76)}\nhttp://b.example/1`)).toEqual([to(76), "http://b.example/1"]);
  });

  test("in angle brackets is given whole, however its lines are broken", () => {
    expect(urls(`<${H}/aa\n  bb\r\n\tcc>`)).toEqual([`${H}/aa`, `${H}/aabbcc`]);
    expect(urls(`<URL:${H}/aa\nbb>`)).toEqual([`${H}/aa`, `${H}/aabb`]);
    expect(urls(`<${H}/aa is broken\nby words>`)).toEqual([`${H}/aa`]);
  });
});

describe("format=flowed", () => {
  test.each<[string, boolean, string]>([
    ["a \nb\nc", false, "a b\nc"],
    ["http://a.example/ \nb", true, "http://a.example/b"],
    ["> a \n> b\n>> c", false, "> a b\n>> c"],
    [" >not quoted\n From x", false, ">not quoted\nFrom x"],
    ["-- \nname", false, "-- \nname"],
    ["a \n-- \nb", false, "a \n-- \nb"],
    ["a \n> b", false, "a \n> b"],
    ["", false, ""],
  ])("of %j with delsp=%p is %j", (text, delsp, joined) => {
    expect(joinFlowed(text, delsp)).toBe(joined);
  });
});

describe("around a URL", () => {
  test.each<[string, string[]]>([
    ['[text](http://a.example/x "t")', [`${H}/x`]],
    ["[http://a.example/1](http://b.example/2)", [`${H}/1`, "http://b.example/2"]],
    ["<b>http://a.example/x</b>", [`${H}/x`]],
    ["'http://a.example/x'", [`${H}/x`]],
    ["*http://a.example/x*", [`${H}/x`]],
    ["http://a.example|text", [`${H}/`]],
    ["[x](http://a.example)-like", [`${H}/`]],
    ["http://user;x@a.example/", ["http://user%3Bx@a.example/"]],
    ["见http://a.example/x，请", [`${H}/x`, `${H}/x%EF%BC%8C%E8%AF%B7`]],
    ["http://evil.com请点击", ["http://evil.com/"]],
    ["http:\\\\a.example\\x", [`${H}/x`]],
    ["HTTPS://a.example", ["https://a.example/"]],
    ["https://http://a.example/", ["https://http//a.example/"]],
  ])("%j", (text, expected) => {
    expect(urls(text)).toEqual(expected);
  });
});

test("what only looks like a URL is none", () => {
  const text = `
    report.zip readme.md archive.zip/inner.txt video.mov/x done.It e.g. i.e/so 10.0.0.1/24 1.2.3/4 12.30/13.00
    foo.bar.baz() System.IO obj.prop.value/2 main.ts lib/main.rs .button.primary{a:b} a.b,c.d and/or
    bob@example.com/x mailto:bob@example.com?subject=www.x example.com hxxp://a.example a[.]com/x http[:]//x
    Mr.Smith/Jones v1.2.3/beta C:\\x.com\\y nodejs.readFile?x ../a.html/b index.php?x=1`;
  expect(urls(text)).toEqual([]);
});

test("a domain without a scheme is one with a path or a query", () => {
  expect(
    urls("evil.com/x evil.com:8080/y evil.com?x=1 (bit.ly/z) m\u00fcller.de/a evil.com. evil.com?"),
  ).toEqual([
    "http://evil.com/x",
    "http://evil.com:8080/y",
    "http://evil.com/?x=1",
    "http://bit.ly/z",
    "http://xn--mller-kva.de/a",
  ]);
});

test("any URL between spaces is found, whatever stands around it", () => {
  fc.assert(
    fc.property(
      fc.string(),
      fc.webUrl({ validSchemes: ["http", "https"] }),
      fc.string(),
      (before, url, after) => {
        const plain = url.replace(/[^\w:/.%-]/g, "");
        const written = [...urlsInText(`${before} ${plain}/x ${after}`)].map((one) => one.url);
        expect(written).toContain(`${plain}/x`);
      },
    ),
    { numRuns: 500 },
  );
});
