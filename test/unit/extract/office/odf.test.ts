import { describe, expect, test } from "bun:test";
import { readOdf } from "../../../../src/extract/office/odf.ts";
import { bytes, compound, LIMITS, ole10Native, stream, textOf, urlsOf, zip } from "./make.ts";

const content = (body: string): string =>
  `<?xml version="1.0"?><office:document-content xmlns:office="urn:office" xmlns:text="urn:text"><office:body>${body}</office:body></office:document-content>`;
const odt = (body: string, more: Readonly<Record<string, string | Uint8Array>> = {}) =>
  readOdf(
    zip({ mimetype: "application/vnd.oasis.opendocument.text", "content.xml": content(body), ...more }),
    LIMITS,
  );

describe("an OpenDocument file", () => {
  test("gives its text and links", () => {
    const reading = odt(
      '<text:p>Password: <text:span>x</text:span></text:p><text:a xlink:href="http://a.example/">here</text:a><draw:image xlink:href="Pictures/1.png"/>',
    );
    expect(textOf(reading, "office")).toBe("Password: x\nhere");
    expect(urlsOf(reading)).toEqual(["http://a.example/"]);
    expect(reading.facts).toEqual([]);
  });

  test("may be one XML file", () => {
    const flat = readOdf(
      bytes("<office:document><text:p>http://a.example/</text:p></office:document>"),
      LIMITS,
    );
    expect(textOf(flat, "office")).toBe("http://a.example/\n");
    expect(readOdf(bytes("nothing"), LIMITS).flags).toEqual(["office_unreadable"]);
  });

  test("tells of what it loads by itself", () => {
    const reading = odt(
      '<draw:image xlink:href="http://a.example/i.png"/><office:dde-source office:dde-application="cmd" office:dde-topic="/c calc"/><table:table-cell table:formula="of:=WEBSERVICE(&quot;http://b.example/&quot;)"/>',
      { "meta.xml": '<office:meta><meta:template xlink:href="http://t.example/t.ott"/></office:meta>' },
    );
    expect(reading.facts.toSorted()).toEqual(["dde", "external_image", "remote_template", "web_formula"]);
    expect(urlsOf(reading)).toEqual(["http://a.example/i.png", "http://t.example/t.ott"]);
    expect(textOf(reading, "office")).toContain("http://b.example/");
  });

  test("tells of macros, and of those that run when it is opened", () => {
    const reading = odt(
      '<script:event-listener script:event-name="dom:load" xlink:href="vnd.sun.star.script:S.M.Main"/>',
      {
        "Basic/Standard/Module1.xml":
          '<script:module>Sub Main\nShell("cmd.exe /c http://m.example/")\nEnd Sub</script:module>',
        "Scripts/python/x.py": "import os",
      },
    );
    expect(reading.facts).toEqual(["macros", "macros_autoexec", "script_link", "macros_suspicious"]);
    expect(textOf(reading, "macro")).toContain("http://m.example/");
    expect(reading.inner.map(({ name }) => name)).toEqual(["x.py"]);
  });

  test("gives its objects and images", () => {
    const object = compound([stream("\x01Ole10Native", ole10Native("run.js", bytes("alert()")))]);
    const reading = odt("x", {
      "Object 1": object,
      "Pictures/1.png": bytes("\x89PNG"),
      "Thumbnails/t.png": "x",
    });
    expect(reading.inner.map(({ name }) => name)).toEqual(["run.js", "1.png"]);
    expect(reading.facts).toEqual(["embedded_object", "embedded_file"]);
  });

  test("may be encrypted", () => {
    const manifest = "<manifest:file-entry><manifest:encryption-data/></manifest:file-entry>";
    expect(odt("x", { "META-INF/manifest.xml": manifest }).facts).toEqual(["encrypted"]);
  });
});
