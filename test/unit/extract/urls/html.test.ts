import { describe, expect, test } from "bun:test";
import { found } from "./found.ts";

const A = "http://a.example/x";

describe("a page leads to what stands in", () => {
  test.each<[string, string]>([
    [`<a href=${A}>`, "html"],
    [`<a/href="${A}"/>`, "html"],
    [`<A\nHREF\n=\n'${A}'>`, "html"],
    [`<a hr\0ef="${A}">`, "html"],
    [`<area href="${A}">`, "html"],
    [`<form action="${A}"><input>`, "html"],
    [`<input type=image formaction="${A}">`, "html"],
    [`<frame src="${A}">`, "html"],
    [`<embed src="${A}">`, "html"],
    [`<object data="${A}">`, "html"],
    [`<param name=movie value="${A}">`, "html"],
    [`<script src="${A}"></script>`, "html"],
    [`<a ping="${A}" href="#">`, "html"],
    [`<blockquote cite="${A}">`, "html"],
    [`<img longdesc="${A}">`, "html"],
    [`<html manifest="${A}">`, "html"],
    [`<meta content="5;URL=${A}" http-equiv="REFRESH">`, "html"],
    [`<meta http-equiv=refresh content='0;url="${A}"'>`, "html"],
    [`<svg><a xlink:href="${A}"></svg>`, "html"],
    [`<svg><foreignObject><a href="${A}">`, "html"],
    [`<svg><set attributeName="href" to="${A}"/></svg>`, "html"],
    [`<v:roundrect href="${A}"></v:roundrect>`, "html"],
    [`<iframe srcdoc="<a href='${A}'>">`, "html"],
    [`<iframe srcdoc="&lt;iframe srcdoc=&quot;&amp;lt;a href='${A}'&quot;>">`, "html"],
    [`<!--[if gte mso 9]><a href="${A}"><![endif]-->`, "html"],
    [`<![if !mso]><a href="${A}"><![endif]>`, "html"],
    [`<textarea><a href="${A}"></textarea>`, "html"],
    [`<title><a href="${A}">`, "html"],
    [`<noscript><a href="${A}"></noscript>`, "html"],
    [`<xmp><a href="${A}"></xmp>`, "html"],
    [`<style><a href="${A}">`, "html"],
    [`<a href="view-source:${A}">`, "html"],
    [`<a href="ms-word:ofe|u|${A}">`, "html"],
    [`<a originalsrc="${A}" href="#">`, "html"],
    [`<a href="\u0001 ${A} ">`, "html"],
    [`<a href="http:\\\\a.example\\x">`, "html"],
    [`<a href="http:a.example/x">`, "html"],
    [`<a href="&#104;&#x74;tp&colon;//a.example/x">`, "html"],
    [`<a href="http://\uff41.example/x">`, "html"],
    [`<a href="http://a\u3002example/x">`, "html"],
    [`<img src="${A}">`, "html-resource"],
    [`<img srcset="${A} 2x">`, "html-resource"],
    [`<img lowsrc="${A}">`, "html-resource"],
    [`<video poster="${A}">`, "html-resource"],
    [`<video><source src="${A}"><track src="${A}"></video>`, "html-resource"],
    [`<audio src="${A}">`, "html-resource"],
    [`<table background="${A}">`, "html-resource"],
    [`<link rel=stylesheet href="${A}">`, "html-resource"],
    [`<svg><image href="${A}"/></svg>`, "html-resource"],
    [`<svg><use xlink:href="${A}#s"/></svg>`, "html"],
    [`<p style="background: url( '${A}' )">`, "html-resource"],
    [`<p style="background:\\75 rl(${A})">`, "html-resource"],
    [`<style>@import '${A}';</style>`, "html-resource"],
    [`<v:fill src="${A}"/>`, "html-resource"],
    [`<a onclick="open('${A}')">`, "html-script"],
    [`<a href="javascript:location%3D'${A}'">`, "html-script"],
    [`<a href="jav\tascript:open('${A}')">`, "html-script"],
    [`<script>var u = "${A}"</script>`, "html-script"],
    [`<script>var u = "${A}"`, "html-script"],
    [`<script>// ${A}\n</script>`, "html-comment"],
    [`<!-- ${A} -->`, "html-comment"],
    [`<?xml-stylesheet href="${A}"?>`, "html-comment"],
  ])("%j", (html, source) => {
    expect(found("html", html).sources).toEqual({ [A]: source });
  });
});

test("both of an attribute that stands twice count", () => {
  expect(found("html", '<a href="http://a.example/" href="http://b.example/">').urls).toEqual([
    "http://a.example/",
    "http://b.example/",
  ]);
});

describe("a relative URL", () => {
  test("is one only with a base; the first base counts, wherever it stands", () => {
    expect(found("html", '<a href="login.php">').urls).toEqual([]);
    expect(
      found("html", '<a href="login.php"><base href="http://b.example/d/"><base href="http://c.example/">')
        .urls,
    ).toEqual(["http://b.example/d/", "http://c.example/", "http://b.example/d/login.php"]);
    expect(found("html", '<a href="../y?z">', { base: "http://m.example/a/b" }).urls).toEqual([
      "http://m.example/y?z",
    ]);
  });

  test("without a base may still begin with a known host", () => {
    expect(found("html", '<a href="evil.com/login"><a href="www.evil.net">').urls).toEqual([
      "http://evil.com/login",
      "http://www.evil.net/",
    ]);
  });
});

test("what names standards is no URL of a comment or script, but of a link", () => {
  const name = "http://www.w3.org/2000/svg";
  expect(found("html", `<svg xmlns="${name}"><!-- ${name} --><script>f("${name}")</script>`).urls).toEqual(
    [],
  );
  expect(found("html", `<a href="${name}">`).urls).toEqual([name]);
  expect(
    found(
      "html",
      '<!DOCTYPE html PUBLIC "-//W3C//DTD XHTML 1.0//EN" "http://www.w3.org/TR/xhtml1/DTD/x.dtd">',
    ).urls,
  ).toEqual([]);
});

describe("a data: URL is a file", () => {
  test.each<[string, string | null, string | null, string]>([
    ['<a download="x.htm" href="data:text/html;charset=utf-8;base64,PGI+">', "x.htm", "text/html", "<b>"],
    ['<a href="data:text/html,%3Cb%3E#top">', null, "text/html", "<b>"],
    ['<img src="data:;base64,AQID">', null, null, "\u0001\u0002\u0003"],
    ['<iframe src="d&#97;ta:text/html;base64,PG\nI+">', null, "text/html", "<b>"],
    ['<object data="DATA:application/pdf;BASE64,JVBERi0%3D">', null, "application/pdf", "%PDF-"],
    ["<style>a{background:url(data:image/svg+xml,<svg/>)}</style>", null, "image/svg+xml", "<svg/>"],
  ])("%j", (html, name, declared, text) => {
    expect(found("html", html)).toMatchObject({ urls: [], files: [{ name, declared, text }] });
  });

  test("however long it is", () => {
    const body = Buffer.alloc(100_000, "abc");
    const { files, flags } = found("html", `<a href="data:x/y;base64,${body.toString("base64")}">`);
    expect(files[0]?.text.length).toBe(100_000);
    expect(flags).toEqual([]);
  });

  test("and beyond a thousand of them is a flag", () => {
    const { files, flags } = found("html", '<img src="data:,x">'.repeat(1001));
    expect(files).toHaveLength(1000);
    expect(flags).toEqual(["embedded_files_exceeded"]);
  });
});

describe("flags", () => {
  test.each<[string, string[]]>([
    ['<a href="http://evil.example/x">https://www.paypal.com/signin</a>', ["link_text_mismatch"]],
    ['<a href="http://evil.example/x"><b>www.pay</b>pal.com</a>', ["link_text_mismatch"]],
    ['<a href="https://click.paypal.com/x">www.paypal.com</a>', []],
    ['<a href="http://evil.example/x">Click here, or see paypal.com</a>', []],
    ['<a href="http://evil.example/x">report.zip</a>', []],
    ['<a href="http://evil.example/x">bob@paypal.com</a>', []],
    ['<a href="https://w.example/?url=https%3A%2F%2Fpaypal.com">paypal.com</a>', []],
    ['<a href="#x">paypal.com</a>', []],
    ['<a href="http://paypal.com@evil.example/">', ["url_disguised"]],
    ['<a href="ftp://user:secret@files.example/">', []],
    ['<a href="http://0x7f000001/">', ["url_disguised"]],
    ['<a href="http://017700000001/">', ["url_disguised"]],
    ['<a href="http://127.0.0.1/">', []],
    ['<a href="http://ev\u200bil.example/">', ["url_disguised"]],
    ['<a href="ht\ntp://a.exa\tmple/">', ["url_disguised"]],
    ['<a href="h\u200bttp://a.example/">', ["url_disguised"]],
    ['<a href="file://evil.example/share/x">', ["file_share_link"]],
    ['<a href="file:///C:/x">', []],
    ['<img src="\\\\evil.example\\x.png">', ["file_share_link"]],
  ])("of %j: %j", (html, flags) => {
    expect(found("html", html).flags).toEqual(flags as never);
  });

  test("tell that markup lies too deep in markup", () => {
    let html = '<a href="http://a.example/">';
    for (let depth = 0; depth < 6; depth++) {
      html = `<iframe srcdoc="${html.replaceAll("&", "&amp;").replaceAll('"', "&quot;")}">`;
    }
    expect(found("html", html)).toMatchObject({ urls: [], flags: ["html_nesting_exceeded"] });
  });
});
