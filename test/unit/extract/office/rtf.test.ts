import { describe, expect, test } from "bun:test";
import { readRtf } from "../../../../src/extract/office/rtf.ts";
import {
  bytes,
  compound,
  docx,
  hex,
  LIMITS,
  ole10Native,
  packaged,
  stream,
  textOf,
  u32,
  urlsOf,
} from "./make.ts";

const read = (text: string | Uint8Array) => readRtf(bytes(text), LIMITS);
const counted = (text: string): Buffer => bytes(u32(text.length + 1), text, 1);
const ole1 = (className: string, data: Uint8Array, format = 2): Buffer =>
  bytes(u32(0x501), u32(format), counted(className), u32(0), u32(0), u32(data.length), data);
const object = (data: string): string => `{\\rtf1 x{\\object\\objemb{\\*\\objdata ${data}}}}`;
const PACKAGE = ole1("Package", packaged("run.exe", bytes("MZ program")));
const RUN = [{ name: "run.exe", declared: null, bytes: bytes("MZ program") }];

describe("the text of an RTF", () => {
  test("is what is shown", () => {
    const reading = read(
      "{\\rtf1\\ansi{\\fonttbl{\\f0 Arial;}}{\\*\\generator x;}Gr\\'fc\\u223\\'dfe\\par \\{a\\} pass\r\nword http://a.example/\\~x}",
    );
    expect(textOf(reading, "office")).toBe("Grüße\n{a} password http://a.example/ x");
    expect(reading.facts).toEqual([]);
    expect(reading.flags).toEqual([]);
  });

  test("is read after a short header", () => {
    expect(textOf(read("  {\\rt hello}"), "office")).toBe("hello");
    expect(read("no rtf").flags).toEqual(["office_unreadable"]);
  });
});

describe("what an RTF refers to", () => {
  test.each<[string, string, readonly string[]]>([
    ["a link", '{\\rtf1{\\field{\\*\\fldinst {HYPER}{LINK "http://a.example/"}}{\\fldrslt x}}}', []],
    ["a link of letters in hex", "{\\rtf1{\\field{\\*\\fldinst \\'48YPERLINK http\\u58?//a.example/}}}", []],
    [
      "an image",
      '{\\rtf1{\\field{\\*\\fldinst INCLUDEPICTURE "http://a.example/" \\\\d}}}',
      ["field_include"],
    ],
    ["a template", "{\\rtf1{\\*\\template http://a.ex{\\b ample}/}}", ["remote_template"]],
    [
      "a shape",
      "{\\rtf1{\\shp{\\*\\shpinst{\\sp{\\sn pihlShape}{\\sv{\\*\\hl{\\hlsrc http://a.example/}}}}}}}",
      [],
    ],
  ])("%s", (_, text, facts) => {
    const reading = read(text);
    expect(urlsOf(reading)).toEqual(["http://a.example/"]);
    expect(reading.facts).toEqual([...facts]);
  });

  test("a field in a field is read for itself", () => {
    const reading = read("{\\rtf1{\\field{\\*\\fldinst IF 1 {\\field{\\*\\fldinst DDEAUTO cmd /c x}}}}}");
    expect(reading.facts).toEqual(["dde"]);
  });
});

describe("an object in an RTF", () => {
  test.each<[string, string]>([
    ["in hex", PACKAGE.toString("hex")],
    [
      "in upper case and with white space",
      PACKAGE.toString("hex")
        .toUpperCase()
        .replace(/(.{3})/g, "$1\r\n \t"),
    ],
    ["split by groups and control words", PACKAGE.toString("hex").replace(/(.{7})/g, "$1{\\par}{}\\zzz12 ")],
    ["split by groups that nobody knows", PACKAGE.toString("hex").replace(/(.{9})/g, "$1{\\*\\abc 4142}")],
    ["in a group of its own", `{${PACKAGE.toString("hex")}}`],
    ["as bytes", `\\bin${PACKAGE.length} ${PACKAGE.toString("latin1")}`],
    ["without an end", `${PACKAGE.toString("hex")}{{{`],
    ["after a picture that is none", `{\\pict 00}${PACKAGE.toString("hex")}`],
  ])("%s", (_, data) => {
    expect(read(object(data)).inner).toEqual(RUN);
  });

  test("with quoted bytes in it is read in both ways", () => {
    const digits = PACKAGE.toString("hex");
    const ignored = read(object(`${digits.slice(0, 81)}\\'41${digits.slice(81)}`));
    expect(ignored.inner).toContainEqual(RUN[0] ?? { name: null, declared: null, bytes: bytes() });
    const dropped = read(object(`${digits.slice(0, 80)}f\\'41${digits.slice(80)}`));
    expect(dropped.inner).toContainEqual(RUN[0] ?? { name: null, declared: null, bytes: bytes() });
  });

  test("that is a compound file gives what is in it, whatever stands before it", () => {
    const ole = compound([stream("\x01Ole10Native", ole10Native("run.exe", bytes("MZ program")))]);
    expect(read(object(ole1("OLE2Link", ole).toString("hex"))).inner).toEqual(RUN);
    expect(read(object(bytes("junk of any length", ole).toString("hex"))).inner).toEqual(RUN);
  });

  test("that is a document is given as one", () => {
    const ole = compound([stream("Package", docx("x"))]);
    const reading = read(object(ole1("Word.Document.12", ole).toString("hex")));
    expect(reading.inner).toHaveLength(1);
    expect(reading.facts).toEqual(["embedded_object"]);
  });

  test("tells of the Equation Editor and of what loads by itself", () => {
    const data = ole1("eQuATion.3", bytes("native")).toString("hex");
    const reading = read(`{\\rtf1{\\object\\objautlink\\objupdate{\\*\\objdata ${data}}}}`);
    expect(reading.facts).toEqual(["embedded_object", "object_autoload", "equation_editor"]);
    expect(reading.inner.map(({ bytes: content }) => Buffer.from(content).toString())).toEqual(["native"]);
  });

  test("may be a link", () => {
    const link = bytes(
      u32(0x501),
      u32(1),
      counted("htmlfile"),
      counted("http://a.example/"),
      counted(""),
      12,
    );
    const reading = read(object(link.toString("hex")));
    expect(reading.facts).toEqual(["embedded_object", "linked_object"]);
    expect(urlsOf(reading)).toEqual(["http://a.example/"]);
  });
});

test("images of an RTF are given with their types", () => {
  const image = hex("89504e470d0a1a0a00");
  const reading = read(
    `{\\rtf1{\\*\\shppict{\\pict\\pngblip\\picw1 ${image.toString("hex")}}}{\\pict\\wmetafile8 0102}}`,
  );
  expect(reading.inner).toEqual([{ name: null, declared: "image/png", bytes: image }]);
});
