import { describe, expect, test } from "bun:test";
import { readCalendar } from "../../../../src/extract/urls/calendar.ts";
import { headerUrls } from "../../../../src/extract/urls/headers.ts";
import { readShortcut } from "../../../../src/extract/urls/shortcuts.ts";
import { joinFlowed } from "../../../../src/extract/urls/text.ts";
import { leastCpu } from "../clock.ts";
import { found } from "./found.ts";

const times = (piece: string) => (size: number) => piece.repeat(Math.ceil(size / piece.length));
const inScript =
  (piece: string, end = "") =>
  (size: number) =>
    `<script>${times(piece)(size)}${end}</script>`;
const LIMITS = { bytes: 10_000_000, inner: 1000, urls: 1000 };

const TEXTS: Readonly<Record<string, (size: number) => string>> = {
  "URLs parted by commas": times("http://a.b,"),
  "URLs parted by brackets": times("http://a.b]("),
  slashes: times("/"),
  "schemes with backslashes": times("http:\\\\"),
  "colons and slashes": times("://"),
  "wrapped lines": times(`http://a.example/${"x".repeat(59)}\n`),
  "rests of wrapped lines": (size) =>
    `http://a.example/${"x".repeat(59)}\n${times(`${"y1".repeat(38)}\n`)(size)}`,
  "brackets with lines": times("<http://a.example/\nx\n"),
  "quote marks": times("> "),
  "quoted lines": times("> > >\n"),
  "Chinese marks": times("http://a.example，"),
  "Chinese letters": times("http://a.com請"),
  "one word of dots": times("a."),
  "words with dots and slashes": times("a.com/"),
  "nested wrappers": times("http://a.example/?u="),
  "escaped percent signs": (size) => `http://a.example/?u=${times("%25")(size)}`,
  "many long wrappers": times(
    `http://a.example/?${"u=http://b.example/&".repeat(20)}${"%2525".repeat(1500)} `,
  ),
  "many parameters": times(`http://a.example/?${"u=aHR0cDovLw&".repeat(600)} `),
  "percent escapes in hosts": times("http://%41%41%41%41/ "),
};

const PAGES: Readonly<Record<string, (size: number) => string>> = {
  "links without end": times("<a href="),
  "links with open quotes": times("<a href='"),
  "many attributes": (size) => `<a ${times("href=x ")(size)}>`,
  "many different links": (size) =>
    Array.from({ length: size / 40 }, (_, index) => `<a href="http://h${index}.example/">x</a>`).join(""),
  "relative links": times('<a href="x">'),
  bases: times('<base href="http://a.example/">'),
  "link texts": times('<a href="http://a.example/">paypal.com</a>'),
  "one long link text": (size) => `<a href="http://a.example/">${times("b<i>")(size)}`,
  "nested srcdoc": times('<iframe srcdoc="'),
  "nested titles": times("<title>"),
  "nested raw elements": times("<title><textarea><xmp><style><script>"),
  "open comments": times("<!--"),
  "conditional comments": times("<!--[if mso]><a>-->"),
  "nested conditional comments": (size) => times("<!--[if mso]>")(size) + times("-->")(size),
  "style attributes": times('<p style="url(url(url(">'),
  "open CSS URLs": (size) => `<style>${times("url(")(size)}</style>`,
  "CSS escapes": (size) => `<style>${times("\\75")(size)}</style>`,
  refreshes: (size) => `<meta http-equiv=refresh content="${times("url =")(size)}">`,
  "data URLs": times('<img src="data:,x">'),
  "data URLs with parameters": times(`<img src="data:${";a=b".repeat(250)}">`),
  "one data URL of entities": (size) => `<img src="data:x/y,${times("&amp;")(size)}">`,
  "srcset candidates": (size) => `<img srcset="${times("http://a.example/ 1x,")(size)}">`,
  "commas in srcset": (size) => `<img srcset="${times(",")(size)}x">`,
  "animation values": (size) => `<set to="${times("x;")(size)}">`,
  "javascript links": times('<a href="javascript:f()">'),
  "event handlers": times("<a onclick=\"f('http://a.example/')\">"),
  "zero bytes": times("\0"),
  "invisible characters": (size) => `<a href="${times("\u200b")(size)}">`,
  declarations: times("<!DOCTYPE x [<!ENTITY"),
  "file schemes": times('<a href="file://\u200b">'),
};

const SCRIPTS: Readonly<Record<string, (size: number) => string>> = {
  quotes: inScript("'"),
  "quotes in turn": inScript("'\"`"),
  "escaped quotes": inScript("\\'"),
  "escaped backticks": inScript("\\`"),
  "lines with one quote": inScript("x'\n\""),
  backslashes: inScript("\\"),
  "open comments": inScript("/*"),
  "open comments with spaces": inScript("/* "),
  slashes: inScript("/"),
  "open patterns": inScript("(/["),
  "open patterns in a list": inScript(",/[(/"),
  brackets: inScript("("),
  "brackets of all kinds": inScript("([{"),
  "closing brackets": inScript("([{)]}"),
  sums: inScript("'x'+"),
  "sums of names": inScript("a+="),
  "a text that doubles": inScript("a=a+a+'x';"),
  "a text that grows": inScript("a+='xxxx';"),
  "a text given again": (size) => `<script>a='${"x".repeat(size / 2)}';${times("f(a);")(size / 2)}</script>`,
  "a text in many sums": (size) =>
    `<script>a='${"x".repeat(size / 2)}';${times("f(a+'y');")(size / 2)}</script>`,
  "a text replaced": (size) =>
    `<script>a='${"x".repeat(size / 2)}'${times(".replace('x','yy')")(size / 2)}</script>`,
  "a text split and joined": (size) =>
    `<script>a='${"x".repeat(size / 2)}'${times(".split('').join('')")(size / 2)}</script>`,
  "a list in lists": (size) =>
    `<script>a=${"[".repeat(400)}${times("'x',")(size)}${"]".repeat(400)}</script>`,
  "a list given again": (size) =>
    `<script>a=[${times("'x',")(size / 2)}];${times("f(a);")(size / 2)}</script>`,
  "a list joined again": (size) =>
    `<script>a=[${times("'x',")(size / 2)}];${times("a.join('');")(size / 2)}</script>`,
  numbers: inScript("1,"),
  "numbers of characters": (size) => `<script>f(String.fromCharCode(${times("65,")(size)}66))</script>`,
  templates: inScript("`${`"),
  "members of names": inScript("a.b"),
  "spaces behind names": inScript("a          "),
  "open calls of atob": inScript("atob("),
  "base64 texts": inScript(`'${"QUFB".repeat(64)}';`),
  "base64 in base64": (size) => {
    let text = "x".repeat(size / 20);
    while (text.length < size) text = `f('${Buffer.from(text).toString("base64")}')`;
    return `<script>${text}</script>`;
  },
  "texts with percent signs": inScript("'%25%32%35%33%43';"),
  "one text with percent signs": (size) => `<script>f('${times("%25")(size)}')</script>`,
  "texts with tags": inScript("'<a href=x>';"),
  "one text of scripts": (size) => `<script>f("${times("location('x');")(size)}")</script>`,
  "texts of digits": inScript("'11 22 33 44 55 66 77 88 99';"),
  "different names": (size) =>
    `<script>${Array.from({ length: size / 12 }, (_, index) => `a${index}='xyz';`).join("")}</script>`,
};

async function expectLinear(shape: (size: number) => string, run: (text: string) => void): Promise<void> {
  run(shape(32_000));
  const small = shape(125_000);
  const large = shape(1_000_000);
  // Eight times the input; quadratic work would take 64 times as long.
  const bound = 40 * Math.max(await leastCpu(0, () => run(small)), 8);
  expect(await leastCpu(bound, () => run(large))).toBeLessThan(bound);
}

describe("time grows in proportion to", () => {
  for (const [name, shape] of Object.entries(TEXTS)) {
    test(`a text of ${name}`, () => {
      expectLinear(shape, (text) => found("text", text));
    });
  }
  for (const [name, shape] of [...Object.entries(PAGES), ...Object.entries(SCRIPTS)]) {
    test(`a page of ${name}`, () => {
      expectLinear(shape, (text) => found("html", text));
    });
  }
  for (const [name, shape] of Object.entries({
    "folded lines": times(" x\n"),
    "soft lines": (size: number) => `NOTE;ENCODING=QUOTED-PRINTABLE:${times("x=\n")(size)}`,
    parameters: (size: number) => `URL${times(';a="b",')(size)}`,
    "open quotes": (size: number) => `URL${times(';a="')(size)}`,
    "bare words": (size: number) => `URL${times(";a")(size)}`,
    attachments: times("ATTACH;ENCODING=BASE64:AAAA\n"),
    spaces: times(" "),
    "angle brackets": times("<http://a/"),
    backslashes: times("\\"),
  })) {
    test(`a file of ${name}`, () => {
      expectLinear(shape, (text) => {
        readCalendar(text, LIMITS);
        readShortcut(text, LIMITS);
        readShortcut(`<${text}`, LIMITS);
        headerUrls("link", text);
        joinFlowed(text, true);
      });
    });
  }
});
