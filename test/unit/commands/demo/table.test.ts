import { describe, expect, test } from "bun:test";
import { fit, pad, printable, renderTable } from "../../../../src/commands/table.ts";

const COLUMNS = [{ title: "mail", shrink: true }, { title: "finding", shrink: true }, { title: "verdict" }];

/** Where the last column begins, in terminal columns. */
function startOf(line: string, last: string): number {
  return Bun.stringWidth(line.slice(0, line.lastIndexOf(last)));
}

describe("a table", () => {
  test("aligns East Asian, emoji and combining text by what it occupies", () => {
    const rows = [
      ["plain", "a.zip", "clean"],
      ["お見積りの件", "見積書.docx", "malicious"],
      ["🎉 👩‍👩‍👧‍👦 party", "cafe\u0301.pdf", "suspicious"],
    ];
    const lines = renderTable(COLUMNS, rows, 100);
    const starts = rows.map((row, index) => startOf(lines[index + 2] ?? "", row[2] ?? ""));
    expect(new Set(starts).size).toBe(1);
    expect(starts[0]).toBe(startOf(lines[0] ?? "", "verdict"));
  });

  test("is cut to the width asked for, columns that may shrink first, and says so", () => {
    const rows = [["見".repeat(80), "x".repeat(200), "not_available"]];
    for (const width of [100, 60, 40]) {
      const lines = renderTable(COLUMNS, rows, width);
      for (const line of lines) expect(Bun.stringWidth(line)).toBeLessThanOrEqual(width);
      expect(lines[2]).toContain("…");
      expect(lines[2]).toContain("not_available");
    }
  });

  test("paints cells without losing the alignment", () => {
    const rows = [
      ["a", "b", "clean"],
      ["long enough", "c", "clean"],
    ];
    const plain = renderTable(COLUMNS, rows, 100);
    const painted = renderTable(COLUMNS, rows, 100, (cell) => `\u001b[31m${cell}\u001b[0m`);
    expect(painted.map((line) => Bun.stripANSI(line).trimEnd())).toEqual([...plain]);
  });

  test("shows control characters and direction marks instead of passing them on", () => {
    const [, , line] = renderTable(COLUMNS, [["a\u001b[2Jb\r\n", "gpj\u202eexe.pdf", "clean"]], 100);
    expect(line).not.toMatch(/[\p{Cc}\u202e]/u);
    expect(line).toContain("\\u{1b}[2Jb\\u{d}\\u{a}");
  });
});

describe("text in a cell", () => {
  test("is cut between characters as people see them", () => {
    expect(fit("👩‍👩‍👧‍👦👩‍👩‍👧‍👦", 3)).toBe("👩‍👩‍👧‍👦…");
    expect(fit("見積書", 4)).toBe("見…");
    expect(fit("short", 5)).toBe("short");
  });

  test("is filled on the side asked for", () => {
    expect(pad("見", 4)).toBe("見  ");
    expect(pad("1 s", 5, "right")).toBe("  1 s");
  });

  test("keeps letters of all scripts", () => {
    expect(printable("Grüße – 見積書 №7 🎉")).toBe("Grüße – 見積書 №7 🎉");
  });
});
