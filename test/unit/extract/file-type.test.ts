import { describe, expect, test } from "bun:test";
import { strToU8, zipSync } from "fflate";
import { sampleOf } from "../../../src/extract/content-sample.ts";
import { detectType, extensionOf } from "../../../src/extract/file-type.ts";

const bytes = (...pieces: readonly (string | number | Uint8Array)[]): Buffer =>
  Buffer.concat(
    pieces.map((piece) =>
      typeof piece === "number"
        ? Buffer.alloc(piece)
        : typeof piece === "string"
          ? Buffer.from(piece, "latin1")
          : piece,
    ),
  );
const typeOf = (content: Uint8Array, name: string | null = null) => detectType(sampleOf(content), name);
const zip = (...names: string[]) =>
  zipSync(Object.fromEntries(names.map((name) => [name, strToU8("content")])));

/** A program that does nothing: MS-DOS header that points to a PE header. */
const PE = (() => {
  const header = bytes("MZ", 126, "PE\0\0", 200);
  header.writeUInt32LE(128, 60);
  return header;
})();

/** An OLE file whose directory is the sector at `sector` and has the streams named. */
function ole(streams: readonly string[], sector = 0, rootClsid = ""): Buffer {
  const header = bytes(Buffer.from("d0cf11e0a1b11ae1", "hex"), 504);
  header.writeUInt16LE(9, 30);
  header.writeUInt32LE(sector, 48);
  const entries = ["Root Entry", ...streams].map((name) => {
    const entry = Buffer.alloc(128);
    entry.write(name, "utf16le");
    return entry;
  });
  const directory = Buffer.concat(entries);
  directory.write(rootClsid, 80, "hex");
  return bytes(header, sector * 512, directory, 4096);
}

describe("the type of a content", () => {
  test.each<[string, Uint8Array, string]>([
    ["a Windows program", PE, "application/vnd.microsoft.portable-executable"],
    ["a DOS program", bytes("MZ", 100), "application/x-dosexec"],
    ["an ELF program", bytes("\x7fELF\x02\x01\x01", 60), "application/x-elf"],
    ["a Mach-O program", bytes("\xcf\xfa\xed\xfe", 60), "application/x-mach-binary"],
    ["a fat Mach-O program", bytes("\xca\xfe\xba\xbe\0\0\0\x02", 60), "application/x-mach-binary"],
    ["a Java class", bytes("\xca\xfe\xba\xbe\0\0\0\x34", 60), "application/java-vm"],
    ["a PDF with something before it", bytes("junk\n%PDF-1.7\n", "\0\x01"), "application/pdf"],
    ["an RTF", bytes("{\\rtf1 x}"), "application/rtf"],
    ["an RTF as Word takes it", bytes("{\\rt x}"), "application/rtf"],
    [
      "a shortcut",
      bytes("L\0\0\0\x01\x14\x02\0\0\0\0\0\xc0\0\0\0\0\0\0\x46", 60),
      "application/x-ms-shortcut",
    ],
    [
      "a OneNote section",
      bytes(Buffer.from("e4525c7b8cd8a74daeb15378d02996d3", "hex"), 60),
      "application/onenote",
    ],
    ["an ISO image", bytes(0x8000, "\x01CD001\x01", 2000), "application/x-iso9660-image"],
    ["a UDF image", bytes(0x8000, "\0BEA01\x01", 2000), "application/x-iso9660-image"],
    ["a fixed VHD", bytes(4096, "conectix", 504), "application/x-vhd"],
    ["a VHDX", bytes("vhdxfile", 100), "application/x-vhdx"],
    ["a DMG", bytes(4096, "koly", 508), "application/x-apple-diskimage"],
    ["a boot sector", bytes("\xeb\x3c\x90", 507, "\x55\xaa", 100), "application/x-raw-disk-image"],
    ["a cabinet", bytes("MSCF", 60), "application/vnd.ms-cab-compressed"],
    ["a compiled help", bytes("ITSF", 60), "application/vnd.ms-htmlhelp"],
    ["a winmail.dat", bytes("\x78\x9f\x3e\x22", 60), "application/vnd.ms-tnef"],
    ["a RAR", bytes("Rar!\x1a\x07\x01\0", 60), "application/x-rar-compressed"],
    ["a 7z", bytes("7z\xbc\xaf\x27\x1c\0\x04", 60), "application/x-7z-compressed"],
    ["a gzip", bytes("\x1f\x8b\x08\0\0\0\0\0\0\x03", 60), "application/gzip"],
    ["a PNG", bytes("\x89PNG\r\n\x1a\n\0\0\0\rIHDR", 60), "image/png"],
    ["unknown bytes", bytes("\x01\x02\x03\x04", 60), "application/octet-stream"],
    ["nothing", bytes(), "application/x-empty"],
    ["text", bytes("hello\r\n"), "text/plain"],
    ["text that begins as programs do", bytes("MZ is a Mozambican code"), "text/plain"],
    [
      "the EICAR test",
      bytes("X5O!P%@AP[4\\PZX54(P^)7CC)7}$", "EICAR-STANDARD-ANTIVIRUS-TEST-FILE!$H+H*"),
      "application/x-eicar-test",
    ],
    ["a zip", zip("a.txt"), "application/zip"],
    [
      "a Word document",
      zip("[Content_Types].xml", "word/document.xml"),
      "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
    ],
    [
      "a Word document with macros",
      zip("[Content_Types].xml", "word/document.xml", "word/vbaProject.bin"),
      "application/vnd.ms-word.document.macroenabled.12",
    ],
    [
      "an Excel workbook",
      zip("[Content_Types].xml", "xl/workbook.xml"),
      "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
    ],
    [
      "a binary Excel workbook",
      zip("[Content_Types].xml", "xl/workbook.bin"),
      "application/vnd.ms-excel.sheet.binary.macroenabled.12",
    ],
    ["a Java archive", zip("META-INF/MANIFEST.MF", "A.class"), "application/java-archive"],
    [
      "an Android package",
      zip("AndroidManifest.xml", "META-INF/MANIFEST.MF"),
      "application/vnd.android.package-archive",
    ],
    ["an old Word document", ole(["WordDocument"]), "application/msword"],
    ["an old Excel workbook", ole(["Workbook"]), "application/vnd.ms-excel"],
    ["an older Excel workbook", ole(["Book"]), "application/vnd.ms-excel"],
    ["an old presentation", ole(["PowerPoint Document"]), "application/vnd.ms-powerpoint"],
    ["an Outlook mail", ole(["__properties_version1.0"]), "application/vnd.ms-outlook"],
    ["a protected document", ole(["EncryptedPackage"]), "application/x-ooxml-protected"],
    ["an installer", ole([], 0, "84100c0000000000c000000000000046"), "application/x-msi"],
    ["another OLE file", ole(["x"]), "application/x-ole-storage"],
  ])("tells %s", async (_what, content, type) => {
    expect(await typeOf(content)).toBe(type);
  });

  test("is told from the content, whatever the name says", async () => {
    expect(await typeOf(PE, "invoice.pdf")).toBe("application/vnd.microsoft.portable-executable");
    expect(await typeOf(bytes("\x89PNG\r\n\x1a\n\0\0\0\rIHDR", 60), "a.exe")).toBe("image/png");
  });

  test("of an OpenDocument is what its first entry says", async () => {
    const odt = zipSync({ mimetype: [strToU8("application/vnd.oasis.opendocument.text"), { level: 0 }] });
    expect(await typeOf(odt)).toBe("application/vnd.oasis.opendocument.text");
  });

  test.each<[string, string, string]>([
    ["a.js", "var a;", "text/javascript"],
    ["a.VBS ", "Dim a", "text/vbscript"],
    ["a.ps1.", "Get-Item", "application/x-powershell"],
    ["a.bat", "@echo off", "application/x-bat"],
    ["a.wsf", "<job><script/></job>", "application/x-wsf"],
    ["a.hta", "<html><script></script></html>", "application/hta"],
    ["a.txt", "<html><hta:application></html>", "text/html"],
    ["a", "#!/usr/bin/env python3\n", "text/x-python"],
    ["a", "#!/bin/sh\n", "text/x-shellscript"],
    ["a", "#@~^abc", "application/x-encoded-script"],
    ["a", "<!DOCTYPE html><p>", "text/html"],
    ["a.txt", "hello <script>x</script>", "text/html"],
    ["a.html", "no tags", "text/html"],
    ["a", "<?xml version='1.0'?>\n<!-- c --><svg xmlns='x'>", "image/svg+xml"],
    ["a.xml", "<?xml version='1.0'?><x/>", "text/xml"],
    ["a.xml", "<?xml version='1.0'?><?mso-application progid=\"Word.Document\"?><x/>", "application/msword"],
    ["a.txt", "[InternetShortcut]\r\nURL=http://x/", "application/internet-shortcut"],
    ["a.ics", "BEGIN:VCALENDAR\r\n", "text/calendar"],
    ["a.dat", "BEGIN:VCARD\r\n", "text/vcard"],
    ["a.eml", "Subject: x\r\n\r\nx", "message/rfc822"],
    ["a.js", "From: a\nSubject: b\nDate: c\n", "text/javascript"],
    [
      "a.mht",
      "MIME-Version: 1.0\r\nContent-Type: multipart/related; boundary=x\r\n",
      "application/x-mimearchive",
    ],
    ["a.slk", "ID;PWXL;N;E\r\n", "application/x-sylk"],
    ["a.csv", "a,b\r\n", "text/csv"],
  ])("of a text %s: %j is %s", async (name, content, type) => {
    expect(await typeOf(Buffer.from(content), name)).toBe(type);
    expect(await typeOf(Buffer.from(`\ufeff${content}`), name)).toBe(type);
    expect(await typeOf(Buffer.from(`\ufeff${content}`, "utf16le"), name)).toBe(type);
  });
});

describe("the sample of a content", () => {
  test("has its beginning, its end and its size, and copies nothing", () => {
    const content = Buffer.from(Array.from({ length: 300_000 }, (_, index) => index % 251));
    const sample = sampleOf(content);
    expect(sample.size).toBe(300_000);
    expect(Buffer.from(sample.tail).equals(content.subarray(-65_536))).toBe(true);
    expect(sample.head.buffer).toBe(content.buffer);
    expect(sample.tail.buffer).toBe(content.buffer);
  });

  test("has the directory of an OLE file that lies in its middle", async () => {
    const large = bytes(ole(["WordDocument"], 3000), 500_000);
    expect(await detectType(sampleOf(large), null)).toBe("application/msword");
  });

  test("has no more of an OLE file than there is", async () => {
    const whole = ole(["WordDocument"], 3000);
    for (const length of [8, 100, 511, 512, 513, whole.length - 1]) {
      const { oleDirectory } = sampleOf(whole.subarray(0, length));
      expect(oleDirectory?.length ?? 0).toBeLessThanOrEqual(length);
      expect(await detectType(sampleOf(whole.subarray(0, length)), null)).toStartWith("application/");
    }
  });

  test("has the directory of a zip at its end", async () => {
    const content = zipSync({
      "0.bin": [new Uint8Array(300_000), { level: 0 }],
      "[Content_Types].xml": strToU8("x"),
      "word/document.xml": strToU8("x"),
    });
    expect(await detectType(sampleOf(content), null)).toContain("wordprocessingml");
  });
});

test.each([
  ["a.PDF", "pdf"],
  ["a.tar.gz", "gz"],
  ["a.exe. . ", "exe"],
  ["a", ""],
  [".", ""],
  [null, ""],
  ["dir.d/file", ""],
])("the extension of %j is %j", (name, extension) => {
  expect(extensionOf(name)).toBe(extension);
});
