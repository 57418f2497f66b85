import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { codesInHtml } from "../../../../src/extract/codes/html.ts";
import { codesInText } from "../../../../src/extract/codes/text.ts";
import { leastCpu } from "../clock.ts";
import { type Grid, gridOf } from "./drawings.ts";

const LINK = "https://login.example.test/a?user=1&token=abcdef";
const LIMITS = { codes: 20 };
const grid = await gridOf(LINK);
const found = { values: [LINK], flags: ["code_drawing"] };
const nothing = { values: [], flags: [] };

/** Lines of `across` by `down` modules a character; `char` gets their bits, row by row, the first one highest. */
function lines(
  code: Grid,
  across: number,
  down: number,
  margin: number,
  char: (bits: number) => string,
): string {
  const out: string[] = [];
  for (let y = -margin; y < code.height + margin; y += down) {
    let line = "";
    for (let x = -margin; x < code.width + margin; x += across) {
      let bits = 0;
      for (let row = 0; row < down; row++) {
        for (let column = 0; column < across; column++) {
          bits = (bits << 1) | (code.dark(x + column, y + row) ? 1 : 0);
        }
      }
      line += char(bits);
    }
    out.push(line);
  }
  return out.join("\n");
}

const pick = (chars: readonly string[]) => (bits: number) => chars[bits] ?? "?";
const HALVES = [" ", "▄", "▀", "█"];
const QUADRANTS = Array.from(" ▗▖▄▝▐▞▟▘▚▌▙▀▜▛█");
const texts: readonly (readonly [string, string])[] = [
  ["half blocks", lines(grid, 1, 2, 2, pick(HALVES))],
  ["half blocks, light on dark", lines(grid, 1, 2, 2, pick([...HALVES].reverse()))],
  ["half blocks without a quiet zone", lines(grid, 1, 2, 0, pick(HALVES))],
  ["two whole blocks a module", lines(grid, 1, 1, 2, pick(["  ", "██"]))],
  ["one whole block a module", lines(grid, 1, 1, 0, pick([" ", "█"]))],
  ["quadrants", lines(grid, 2, 2, 2, pick(QUADRANTS))],
  ["Braille", lines(grid, 2, 4, 4, braille)],
  ["squares", lines(grid, 1, 1, 2, pick(["⬜", "⬛"]))],
  ["shades", lines(grid, 1, 1, 2, pick(["░░", "▓▓"]))],
  ["hash signs", lines(grid, 1, 1, 2, pick(["  ", "##"]))],
  ["digits", lines(grid, 1, 1, 1, pick(["0", "1"]))],
  ["letters and dots, two a module", lines(grid, 1, 1, 0, pick(["..", "XX"]))],
];

function braille(bits: number): string {
  // Bits come row by row; dots 1 to 3, 7 go down the left column, 4 to 6, 8 down the right.
  const order = [0, 3, 1, 4, 2, 5, 6, 7];
  let dots = 0;
  order.forEach((dot, index) => {
    if ((bits >> (7 - index)) & 1) dots |= 1 << dot;
  });
  return String.fromCodePoint(0x2800 + dots);
}

describe("codes drawn in a text", () => {
  test.each(texts)("%s", async (_name, drawing) => {
    const mail = `Dear user,\nplease scan this code:\n\n${drawing}\n\nYours,\nthe administrator\n`;
    expect(await codesInText(mail, LIMITS)).toEqual(found);
  });

  test("quoted, with CR LF, blanks cut off at the end of lines and empty lines between them", async () => {
    const drawing = lines(grid, 1, 2, 2, pick(HALVES));
    expect(await codesInText(drawing.replace(/^/gm, "> > ").replaceAll("\n", "\r\n"), LIMITS)).toEqual(found);
    expect(await codesInText(drawing.replace(/ +$/gm, ""), LIMITS)).toEqual(found);
    expect(await codesInText(drawing.replaceAll("\n", "\n\n"), LIMITS)).toEqual(found);
  });

  test("two drawings, one after the other", async () => {
    const other = await gridOf("https://second.example.test/");
    const text = `${lines(grid, 1, 2, 2, pick(HALVES))}\nor\n${lines(other, 1, 1, 1, pick(["  ", "##"]))}`;
    expect((await codesInText(text, LIMITS)).values).toEqual([LINK, "https://second.example.test/"]);
  });

  test("ordinary text, tables and rules give nothing", async () => {
    const text = `${"Lorem ipsum dolor sit amet, consectetur.\n".repeat(200)}${`${"-".repeat(70)}\n`.repeat(30)}`;
    expect(await codesInText(text, LIMITS)).toEqual(nothing);
    expect(await codesInText("█ Heading ▄▄▄▄\n".repeat(40), LIMITS)).toEqual(nothing);
  });

  test("more drawings than the bound are flagged", async () => {
    const decoy = "█▄▀ ▀▄█▀▄ █\n".repeat(12);
    const { flags } = await codesInText(`${decoy}--- and ---\n`.repeat(20), LIMITS);
    expect(flags).toContain("code_drawings_exceeded");
  });
});

const COLOURS = { dark: "#000000", light: "#ffffff" };

/** HTML with one element for each module, in rows. */
function rows(code: Grid, begin: string, cell: (dark: boolean) => string, end: string, margin = 2): string {
  let out = "";
  for (let y = -margin; y < code.height + margin; y++) {
    out += begin;
    for (let x = -margin; x < code.width + margin; x++) out += cell(code.dark(x, y));
    out += end;
  }
  return out;
}

/** Runs of modules of one colour as one cell. */
function runs(code: Grid, cell: (dark: boolean, length: number) => string): string {
  let out = "";
  for (let y = 0; y < code.height; y++) {
    out += "<tr>";
    for (let x = 0; x < code.width; ) {
      const dark = code.dark(x, y);
      let end = x;
      while (end < code.width && code.dark(end, y) === dark) end++;
      out += cell(dark, end - x);
      x = end;
    }
    out += "</tr>";
  }
  return `<table cellspacing=0>${out}</table>`;
}

const colour = (dark: boolean) => (dark ? COLOURS.dark : COLOURS.light);
const htmls: readonly (readonly [string, string])[] = [
  [
    "cells with bgcolor",
    `<table>${rows(grid, "<tr>", (dark) => `<td bgcolor="${colour(dark)}" width=4 height=4></td>`, "</tr>")}</table>`,
  ],
  [
    "cells with a style",
    `<table>${rows(grid, "<tr>", (dark) => `<td style="width:4px;height:4px;background:${dark ? "rgb(10, 10, 10)" : "white"}">&nbsp;</td>`, "</tr>")}</table>`,
  ],
  [
    "cells that end nowhere",
    `<table>${rows(grid, "<tr>", (dark) => `<td bgcolor=${dark ? "black" : "white"}>`, "")}</table>`,
  ],
  [
    "light cells without a colour",
    `<table>${rows(grid, "<tr>", (dark) => (dark ? "<td bgcolor=black></td>" : "<td></td>"), "</tr>")}</table>`,
  ],
  [
    "cells that hold an image of one pixel",
    `<table>${rows(grid, "<tr>", (dark) => `<td bgcolor=${colour(dark)}><img src="cid:p" width=4 height=4></td>`, "</tr>")}</table>`,
  ],
  [
    "cells that hold a box",
    `<table>${rows(grid, "<tr>", (dark) => `<td><div style="width:4px;height:4px;background-color:${colour(dark)}"></div></td>`, "</tr>")}</table>`,
  ],
  [
    "a table for each row",
    rows(grid, "<table><tr>", (dark) => `<td bgcolor=${colour(dark)}></td>`, "</tr></table>"),
  ],
  ["colspan", runs(grid, (dark, length) => `<td bgcolor=${colour(dark)} colspan=${length}></td>`)],
  ["widths", runs(grid, (dark, length) => `<td bgcolor=${colour(dark)} width=${length * 5} height=5></td>`)],
  [
    "classes",
    `<style>.b,td.c { background: #111; width: 4px } .w{background:#fafafa}</style><table>${rows(grid, "<tr>", (dark) => `<td class="${dark ? "x b" : "w"}"></td>`, "</tr>")}</table>`,
  ],
  [
    "boxes in rows",
    rows(
      grid,
      "<div>",
      (dark) => `<div style="float:left;width:4px;height:4px;background:${colour(dark)}"></div>`,
      "</div>",
    ),
  ],
  [
    "boxes that wrap",
    `<div style="width:148px">${rows(grid, "", (dark) => `<div style="float:left;width:4px;height:4px;background:${colour(dark)}"></div>`, "")}</div>`,
  ],
  [
    "spans with a background",
    rows(grid, "", (dark) => `<span style="background:${colour(dark)}">&nbsp;&nbsp;</span>`, "<br>"),
  ],
  ["spans with a colour", rows(grid, "", (dark) => `<span style="color:${colour(dark)}">██</span>`, "<br>")],
  [
    "dark on dark red",
    `<table>${rows(grid, "<tr>", (dark) => `<td bgcolor="${dark ? "#000" : "#300000"}"></td>`, "</tr>")}</table>`,
  ],
  ["characters in pre", `<p>Scan</p><pre>${lines(grid, 1, 2, 2, pick(HALVES))}</pre>`],
  [
    "character references",
    `<div>${lines(grid, 1, 2, 2, pick(["&nbsp;", "&#9604;", "&#x2580;", "&block;"])).replaceAll("\n", "<br>")}</div>`,
  ],
  [
    "characters in cells",
    `<table>${rows(grid, "<tr>", (dark) => `<td>${dark ? "█" : "&nbsp;"}</td>`, "</tr>")}</table>`,
  ],
];

describe("codes drawn in HTML", () => {
  test.each(htmls)("%s", async (_name, drawing) => {
    const html = `<html><body><p>Dear user,</p>${drawing}<p>Regards</p></body></html>`;
    expect(await codesInHtml(html, LIMITS)).toEqual(found);
  });

  test("rowspan", async () => {
    // Pairs of equal modules, one above the other, are one cell.
    let html = "";
    for (let y = 0; y < grid.height; y++) {
      html += "<tr>";
      for (let x = 0; x < grid.width; x++) {
        const same = (row: number): boolean =>
          row < grid.height && grid.dark(x, row) === grid.dark(x, row ^ 1);
        if (y % 2 === 1 && same(y)) continue;
        const two = y % 2 === 0 && y + 1 < grid.height && same(y);
        html += `<td bgcolor=${colour(grid.dark(x, y))}${two ? " rowspan=2" : ""}></td>`;
      }
      html += "</tr>";
    }
    expect(await codesInHtml(`<table>${html}</table>`, LIMITS)).toEqual(found);
  });

  test("a layout of nested tables and a calendar give nothing", async () => {
    const cell = '<td bgcolor="#eeeeee" style="padding:4px"><font color="#333">Monday</font></td>';
    const row = `<tr>${cell.repeat(7)}</tr>`;
    expect(await codesInHtml(`<table>${row.repeat(40)}</table>`, LIMITS)).toEqual(nothing);
    const nested = `<table><tr><td>${row.repeat(3)}</td></tr></table>`.repeat(50);
    expect(await codesInHtml(nested, LIMITS)).toEqual(nothing);
  });
});

describe("hostile input", () => {
  const shapes: readonly (readonly [string, (size: number) => string])[] = [
    ["blocks in one line", (size) => "█".repeat(size)],
    ["blocks in lines", (size) => "█▄▀ ▀▄█▀▄ █ █▄▀ ▀▄█▀▄ █ █▄▀ ▀▄█▀▄ █\n".repeat(size / 36)],
    ["white space", (size) => " ".repeat(size)],
    ["white lines", (size) => "   \n".repeat(size / 4)],
    ["signs of quoting", (size) => ">".repeat(size)],
    ["signs of quoting in lines", (size) => "> > > > >\n".repeat(size / 10)],
    ["two characters in lines", (size) => "##  ## ## # #\n".repeat(size / 14)],
    ["open cells", (size) => "<td bgcolor=#000>".repeat(size / 17)],
    ["open tables", (size) => "<table><tr><td>".repeat(size / 15)],
    ["open spans", (size) => "<span style='background:#000'>".repeat(size / 30)],
    ["rows of cells", (size) => "<tr><td bgcolor=0><td><td bgcolor=0><td>".repeat(size / 40)],
    ["classes", (size) => "<style>.a{".repeat(size / 10)],
    ["rules", (size) => `<style>${".a{}".repeat(size / 4)}</style>`],
    ["closing tags", (size) => "</td></div>".repeat(size / 11)],
    ["less-than signs", (size) => "<".repeat(size)],
    ["blank references", (size) => "<pre>&nbsp;".repeat(size / 11)],
  ];

  test.each(shapes)(
    "%s take linear time",
    async (_name, shape) => {
      const read = async (text: string): Promise<void> => {
        await codesInText(text, LIMITS);
        await codesInHtml(text, LIMITS);
      };
      await read(shape(1 << 14));
      const [small, large] = [shape(1 << 17), shape(1 << 20)];
      const bound = 8 * 3 * (await leastCpu(0, () => read(small))) + 400;
      expect(await leastCpu(bound, () => read(large))).toBeLessThan(bound);
    },
    30_000,
  );

  test("made-up HTML and text never throw", async () => {
    const piece = fc.constantFrom(
      "<table>",
      "<tr>",
      "<td bgcolor=#000>",
      "<td>",
      "</td>",
      "</tr>",
      "</table>",
      "<div style='background:#fff;width:9px;height:1e9px'>",
      "</div>",
      "<pre>",
      "</pre>",
      "\n",
      "█",
      "▄",
      "&nbsp;",
      "<br>",
      "<span style='color:red'>",
      "</span>",
      "x",
      "<style>.a{}",
      "</style>",
      "<td colspan=99999999999 rowspan=-1>",
      "<td width=1e-300>",
      "\ud83d",
      "<td bgcolor='rgba(999,1,1,0.0'>",
    );
    await fc.assert(
      fc.asyncProperty(fc.array(piece, { maxLength: 400 }), async (pieces) => {
        const html = pieces.join("");
        await codesInHtml(html, LIMITS);
        await codesInText(html, LIMITS);
      }),
      { numRuns: 200 },
    );
  });
});
