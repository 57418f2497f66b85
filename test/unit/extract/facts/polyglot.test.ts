import { describe, expect, test } from "bun:test";
import { polyglotFacts } from "../../../../src/extract/facts/polyglot.ts";
import { bytes, compound, hex, stream, u32, zip } from "../office/make.ts";

const GIF = bytes("GIF89a", 40, ";");
const PNG = bytes(hex("89504e470d0a1a0a"), 100, "IEND", hex("ae426082"));
const PDF = bytes("%PDF-1.7\n1 0 obj\n", 100, "\n%%EOF\n");
const JAR = Buffer.from(zip({ "a.class": "x" }));
const PROGRAM = bytes("MZ", 58, u32(128), 14, "This program cannot be run in DOS mode", 12, "PE\0\0", 50);

describe("a content of one type", () => {
  test.each<[string, Uint8Array]>([
    ["an image", GIF],
    ["a PDF", PDF],
    ["a zip", JAR],
    ["a program with a zip in it", bytes(PROGRAM, JAR)],
    ["a document with a zip in it", compound([stream("Package", JAR), stream("More", bytes(5000))])],
    ["a text", bytes("just a text with <b>words</b>")],
    ["nothing", bytes()],
    ["a BMP", bytes("BM", 100)],
  ])("%s", (_, file) => {
    expect(polyglotFacts(file)).toEqual({ facts: [], inner: [] });
  });
});

describe("a content of two types", () => {
  test.each<[string, Uint8Array, string, Uint8Array]>([
    ["an image and an archive of Java", bytes(GIF, JAR), "appended_archive", JAR],
    ["a PDF and a zip", bytes(PDF, JAR), "appended_archive", JAR],
    ["a document and a zip", bytes(compound([stream("x", bytes(10))]), JAR), "appended_archive", JAR],
    ["an RTF and a program", bytes("{\\rtf1 text}", 500, PROGRAM), "appended_program", PROGRAM],
    ["an image and a program", bytes(PNG, PROGRAM), "appended_program", PROGRAM],
    [
      "an image and a rar",
      bytes(PNG, "Rar!\x1a\x07\x01\0more"),
      "appended_archive",
      bytes("Rar!\x1a\x07\x01\0more"),
    ],
    ["an image and a PDF", bytes(PNG, PDF), "appended_document", PDF],
    [
      "an image and a script",
      bytes(PNG, "<SCRIPT>x()</SCRIPT>"),
      "appended_script",
      bytes("<SCRIPT>x()</SCRIPT>"),
    ],
    ["a PDF and a script", bytes(PDF, "<hta:application>"), "appended_script", bytes("<hta:application>")],
    ["a script and a zip", bytes("@echo off\r\nrem some script\r\n", JAR), "appended_archive", JAR],
  ])("%s", (_, file, fact, inner) => {
    const found = polyglotFacts(file);
    expect(found.facts).toEqual([fact as never]);
    expect(found.inner.map((one) => Buffer.from(one.bytes).toString("latin1"))).toEqual([
      Buffer.from(inner).toString("latin1"),
    ]);
  });

  test("a web archive that begins like a PDF", () => {
    const file = bytes(
      "%PDF-1.7\r\nMIME-Version: 1.0\r\nContent-Type: multipart/related\r\n\r\n<w:WordDocument>",
    );
    expect(polyglotFacts(file).facts).toEqual(["web_archive_as_document"]);
  });

  test("a script before a PDF, and an image that is a script", () => {
    expect(polyglotFacts(bytes("<script>x()</script>\n", PDF)).facts).toEqual([
      "prepended_data",
      "appended_script",
    ]);
    expect(polyglotFacts(bytes("GIF89a=1;alert(1)//", 50)).facts).toEqual(["appended_script"]);
  });
});
