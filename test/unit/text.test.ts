import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { cutMiddle, cutText, escapeControls, showText, toJsonLine } from "../../src/text.ts";
import { cpuNow } from "./extract/clock.ts";

const DANGEROUS = /[\u0000-\u001F\u007F-\u009F\u061C\u200E\u200F\u2028-\u202E\u2066-\u2069]/;

const anyText = fc
  .array(fc.oneof(fc.integer({ min: 0, max: 0xffff }), fc.integer({ min: 0, max: 0xff })), { maxLength: 200 })
  .map((units) => String.fromCharCode(...units));

describe("text out of a mail", () => {
  test("is cut without splitting a character", () => {
    expect(cutText("ab\u{1F600}cd", 3)).toBe("ab");
    expect(cutText("ab\u{1F600}cd", 4)).toBe("ab\u{1F600}");
  });

  test("is shown on one line without hidden characters", () => {
    expect(showText("invoice\u202Efdp.exe\r\nForged: line", 80)).toBe("invoice\uFFFDfdp.exe Forged: line");
    expect(showText("a".repeat(30), 10)).toBe(`${"a".repeat(9)}\u2026`);
    expect(showText("x\uD800y", 10)).toBe("x\uFFFDy");
  });

  test("says so where white space hides the end of it", () => {
    expect(showText(`a.pdf${" ".repeat(5000)}.exe`, 100)).toBe("a.pdf\u2026");
  });

  test("never comes out with a control or bidirectional character, and within its bound", () => {
    fc.assert(
      fc.property(anyText, fc.integer({ min: 1, max: 40 }), (text, max) => {
        const shown = showText(text, max);
        expect(shown).not.toMatch(DANGEROUS);
        expect(shown.length).toBeLessThanOrEqual(max);
        expect(escapeControls(text)).not.toMatch(DANGEROUS);
        expect(toJsonLine(text)).not.toMatch(DANGEROUS);
        expect(JSON.parse(toJsonLine(text))).toBe(text);
      }),
    );
  });

  test("takes time that grows with its length only", () => {
    const started = cpuNow();
    for (const piece of [" ", "\u202E", "a ", "\uD800", "\n"]) {
      showText(piece.repeat(400_000), 100_000);
      escapeControls(piece.repeat(100_000));
    }
    expect(cpuNow() - started).toBeLessThan(3000);
  });
});

test("a name that is cut in its middle keeps its end and no half of a character", () => {
  expect(cutMiddle("short.exe", 9)).toBe("short.exe");
  expect(cutMiddle(`${"n".repeat(50)}.pdf.exe`, 30)).toBe(`${"n".repeat(19)}\u2026nn.pdf.exe`);
  for (const max of [30, 31, 32, 33, 34]) {
    const cut = cutMiddle("\u{1F600}".repeat(40), max);
    expect(cut.isWellFormed()).toBe(true);
    expect(cut.length).toBeLessThanOrEqual(max);
    expect(cut).toMatch(/^\u{1F600}+\u2026\u{1F600}+$/u);
  }
});
