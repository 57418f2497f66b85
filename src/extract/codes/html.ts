/**
 * Reads QR codes that HTML draws: with the cells of tables, with boxes or spans that have a background, or with
 * characters.
 *
 * The HTML is read once, as a stream of coloured cells and of ends of rows; no tree is built. Ordinary HTML, which
 * has no eleven rows of empty cells, costs no more than that. Colours come from attributes, `style`, and classes
 * of style sheets of the same HTML.
 */
import { Tokenizer } from "htmlparser2";
import { createNameFilter } from "../name-filter.ts";
import { greyOf } from "./colour.ts";
import { MAX_CELLS, MAX_DRAWINGS, MIN_ROWS, searchDrawing } from "./drawing.ts";
import { type CodeLimits, createCodeCollector, type FoundCodes } from "./found.ts";
import type { Plane } from "./plane.ts";
import { hasBlocks, searchText } from "./text.ts";

/** Cells of one HTML. */
const MAX_HTML_CELLS = 300_000;
const MAX_DEPTH = 64;
const MAX_VALUE = 600;
const MAX_STYLES = 200_000;
const MAX_CLASSES = 500;
/** A row of a code has a few cells at least, even where runs of modules are one cell. */
const MIN_ROW_CELLS = 3;
const MIN_DRAWING_CELLS = 60;
const MAX_SPAN = 200;
/** Characters in a cell that is empty all the same. */
const MAX_SHOWN = 2;
const MIN_TAGS = 40;

export async function codesInHtml(html: string, limits: Pick<CodeLimits, "codes">): Promise<FoundCodes> {
  const found = createCodeCollector(limits.codes);
  const drawn = hasBlocks(html) || BLOCK_ENTITY.test(html);
  if (!drawn && !hasTags(html, MIN_TAGS)) return found.done();
  const { drawings, text, exceeded } = readDrawings(html, drawn);
  if (exceeded) found.flag("code_drawings_exceeded");
  for (const drawing of drawings) await searchDrawing(drawing, heightsOf(drawing), limits.codes, found);
  if (drawn || text !== "") await searchText(text, limits.codes, found);
  return found.done();
}

/** Character references of block elements and squares. */
const BLOCK_ENTITY =
  /&(?:block|[ul]hblk|blk(?:14|12|34)|squf?|#x0*2(?:5[89a]|b1|8)|#0*(?:9[67]\d\d|103\d\d|1103[56]))/i;

function hasTags(html: string, count: number): boolean {
  let at = -1;
  for (let seen = 0; seen < count; seen++) {
    at = html.indexOf("<", at + 1);
    if (at < 0) return false;
  }
  return true;
}

/** Cells of a text line are about twice as high as wide; those of tables are as their sizes say, or square. */
function heightsOf({ width, height }: Plane): readonly number[] {
  return width > 1.5 * height ? [2, 1] : [1];
}

type Cell = { readonly grey: number; readonly span: number; readonly rows: number; readonly width: number };
type Row = { readonly cells: readonly Cell[]; readonly height: number };

/** What is known of an element from its attributes; sizes in pixels, 0 where there is none. */
type Look = {
  background: number | null;
  colour: number | null;
  width: number;
  height: number;
};

type Open = {
  readonly tag: string;
  readonly inline: boolean;
  readonly isTableCell: boolean;
  readonly look: Readonly<Look>;
  /** The background it is seen on. */
  readonly grey: number;
  readonly span: number;
  readonly rows: number;
  /** Something in it was a cell. */
  used: boolean;
  /** Characters of its text that show, blanks that keep their width, and whether all are whole blocks. */
  shown: number;
  blanks: number;
  solid: boolean;
};

const INLINE: ReadonlySet<string> = new Set([
  "span",
  "font",
  "b",
  "i",
  "u",
  "s",
  "a",
  "em",
  "strong",
  "tt",
  "code",
  "small",
  "big",
  "ins",
  "del",
  "mark",
]);
const VOID: ReadonlySet<string> = new Set([
  "img",
  "meta",
  "link",
  "input",
  "col",
  "base",
  "wbr",
  "area",
  "source",
  "embed",
  "param",
]);
const ATTRIBUTES: ReadonlySet<string> = new Set([
  "style",
  "bgcolor",
  "color",
  "width",
  "height",
  "colspan",
  "rowspan",
  "class",
]);
const mayCount = createNameFilter(ATTRIBUTES);

type Drawings = { readonly drawings: readonly Plane[]; readonly text: string; readonly exceeded: boolean };

function readDrawings(html: string, keepText: boolean): Drawings {
  const drawings: Plane[] = [];
  const stack: Open[] = [];
  const texts: string[] = [];
  const classes = new Map<string, Look>();
  const styleOf = createStyleReader();
  let exceeded = false;
  let cellCount = 0;
  let pre = 0;
  let rows: Row[] = [];
  let row: Cell[] = [];
  let rowHeight = 0;
  let textual = false;
  let styles = 0;

  const endDrawing = (): void => {
    const cells = rows.reduce((sum, one) => sum + one.cells.length, 0);
    if (rows.length >= MIN_ROWS && cells >= MIN_DRAWING_CELLS) {
      if (drawings.length >= MAX_DRAWINGS) exceeded = true;
      else drawings.push(planeOf(rows));
    }
    rows = [];
  };
  const endRow = (): void => {
    if (keepText) texts.push("\n");
    if (row.length === 0 && !textual) return;
    if (row.length >= MIN_ROW_CELLS && !textual) {
      for (const cells of unwrapped(row)) rows.push({ cells, height: rowHeight });
      if (rows.length >= MAX_CELLS) endDrawing();
    } else {
      endDrawing();
    }
    row = [];
    rowHeight = 0;
    textual = false;
  };
  const addCell = (cell: Cell, height: number): void => {
    if (cellCount >= MAX_HTML_CELLS) {
      exceeded = true;
      return;
    }
    cellCount++;
    row.push(cell);
    rowHeight = Math.max(rowHeight, height);
    const top = stack.at(-1);
    if (top !== undefined) top.used = true;
  };
  const closeTop = (): void => {
    const open = stack.pop();
    if (open === undefined) return;
    const { tag, look, inline, isTableCell } = open;
    if (tag === "pre") pre--;
    if (!open.used) {
      const blocks = open.shown > 0 && open.solid;
      const grey = blocks ? (look.colour ?? 0) : open.grey;
      const coloured = look.background !== null || (blocks && look.colour !== null);
      const empty = blocks || open.shown <= MAX_SHOWN;
      const span = inline ? Math.max(1, open.shown + open.blanks) : open.span;
      if (!empty) textual = true;
      else if (isTableCell || coloured || (!inline && look.width > 0 && look.height > 0)) {
        addCell({ grey, span, rows: open.rows, width: look.width }, look.height);
      }
    } else if (!isTableCell && !inline) {
      if (tag === "tr") rowHeight = look.height > 0 ? look.height : rowHeight;
      endRow();
    }
    if (open.used) {
      const parent = stack.at(-1);
      if (parent !== undefined) parent.used = true;
    }
  };
  /** Closes what may not be open where a row or cell begins. */
  const closeCells = (tag: string): void => {
    let left = MAX_DEPTH;
    while (left-- > 0) {
      const top = stack.at(-1);
      if (top === undefined) return;
      if (top.isTableCell || top.inline || (top.tag === "tr" && tag === "tr")) closeTop();
      else return;
    }
  };

  let tag = "";
  let name = "";
  let value = "";
  let attributes = new Map<string, string>();
  const endTag = (selfClosing: boolean): void => {
    if (tag === "") return;
    const opened = tag;
    tag = "";
    if (opened === "br" || opened === "hr") {
      endRow();
      return;
    }
    if (VOID.has(opened)) return;
    const isTableCell = opened === "td" || opened === "th";
    const inline = !isTableCell && INLINE.has(opened);
    if (isTableCell || opened === "tr") closeCells(opened);
    if (opened === "tr" || opened === "table" || opened === "pre" || opened === "p") endRow();
    else if (textual && !inline && !isTableCell) endRow();
    if (opened === "pre") pre++;
    // Of what lies deep only the innermost matters.
    if (stack.length >= MAX_DEPTH && stack.shift()?.tag === "pre") pre--;
    const look = attributes.size === 0 ? NO_LOOK : lookOf(attributes, classes, styleOf);
    if (!inline && /clear\s*:/i.test(attributes.get("style") ?? "")) endRow();
    const grey = look.background ?? stack.at(-1)?.grey ?? 255;
    stack.push({
      tag: opened,
      inline,
      isTableCell,
      look,
      grey,
      span: countOf(attributes.get("colspan")),
      rows: countOf(attributes.get("rowspan")),
      used: false,
      shown: 0,
      blanks: 0,
      solid: true,
    });
    if (selfClosing && opened === "style") closeTop();
  };
  const addText = (text: string): void => {
    const top = stack.at(-1);
    if (top?.tag === "style") {
      if (styles < MAX_STYLES) readStyles(text, classes);
      styles += text.length;
      return;
    }
    if (top?.tag === "script" || top?.tag === "title") return;
    if (keepText) texts.push(text);
    const newline = pre > 0 && text.includes("\n");
    let shown = 0;
    let blanks = 0;
    let solid = true;
    for (let at = 0; at < text.length; at++) {
      const code = text.charCodeAt(at);
      if (code === 0xa0 || (code === 0x20 && pre > 0)) blanks++;
      else if (code > 0x20) {
        shown++;
        if (code !== 0x2588 && code !== 0x25a0) solid = false;
        // A word is no cell, whatever comes behind it.
        if (!solid && shown > MAX_SHOWN) break;
      }
    }
    if (top !== undefined && (top.isTableCell || top.look.background !== null || top.look.colour !== null)) {
      top.shown += shown;
      top.blanks += blanks;
      top.solid &&= solid;
      return;
    }
    if (newline) {
      endRow();
    } else if (shown > 0 && !solid) {
      textual = true;
    } else if (shown + blanks > 0 && (row.length > 0 || pre > 0)) {
      const grey = shown > 0 ? 0 : (top?.grey ?? 255);
      addCell({ grey, span: Math.min(MAX_SPAN, shown + blanks), rows: 1, width: 0 }, 0);
    }
  };

  const tokenizer = new Tokenizer(
    {},
    {
      onopentagname: (start, end) => {
        tag = html.slice(start, Math.min(end, start + 16)).toLowerCase();
        if (attributes.size > 0) attributes = new Map();
      },
      onattribname: (start, end) => {
        name = mayCount(html, start, end) ? html.slice(start, end).toLowerCase() : "";
        if (!ATTRIBUTES.has(name)) name = "";
        value = "";
      },
      onattribdata: (start, end) => {
        if (name !== "" && value.length < MAX_VALUE)
          value += html.slice(start, Math.min(end, start + MAX_VALUE - value.length));
      },
      onattribentity: (codepoint) => {
        if (name !== "" && value.length < MAX_VALUE) value += String.fromCodePoint(codepoint);
      },
      onattribend: () => {
        if (name !== "" && !attributes.has(name)) attributes.set(name, value);
      },
      onopentagend: () => endTag(false),
      onselfclosingtag: () => endTag(true),
      onclosetag: (start, end) => {
        const closing = html.slice(start, Math.min(end, start + 16)).toLowerCase();
        const place = stack.findLastIndex((open) => open.tag === closing);
        if (place < 0) {
          if (closing === "br" || closing === "p") endRow();
          return;
        }
        while (stack.length > place) closeTop();
      },
      ontext: (start, end) => addText(html.slice(start, end)),
      ontextentity: (codepoint) => addText(String.fromCodePoint(codepoint)),
      oncdata: () => {},
      oncomment: () => {},
      ondeclaration: () => {},
      onprocessinginstruction: () => {},
      onend: () => {},
    },
  );
  tokenizer.write(html);
  tokenizer.end();
  while (stack.length > 0) closeTop();
  endRow();
  endDrawing();
  return { drawings, text: texts.join(""), exceeded };
}

const countOf = (value: string | undefined): number =>
  Math.max(1, Math.min(MAX_SPAN, Number.parseInt(value ?? "1", 10) || 1));

const NO_LOOK: Readonly<Look> = { background: null, colour: null, width: 0, height: 0 };

function lookOf(
  attributes: ReadonlyMap<string, string>,
  classes: ReadonlyMap<string, Look>,
  styleOf: (style: string) => Look,
): Look {
  const look: Look = { ...NO_LOOK };
  const names = classes.size === 0 ? undefined : attributes.get("class");
  if (names !== undefined) for (const name of names.split(/\s+/, 8)) merge(look, classes.get(name));
  const plain = (name: string): string => attributes.get(name) ?? "";
  look.background = greyOf(plain("bgcolor")) ?? look.background;
  look.colour = greyOf(plain("color")) ?? look.colour;
  const width = Number.parseFloat(plain("width"));
  const height = Number.parseFloat(plain("height"));
  if (width > 0) look.width = width;
  if (height > 0) look.height = height;
  const style = attributes.get("style");
  if (style !== undefined) merge(look, styleOf(style));
  return look;
}

/** Mails repeat a few styles over and over. */
const MAX_KNOWN_STYLES = 200;

function createStyleReader(): (style: string) => Look {
  const known = new Map<string, Look>();
  return (style) => {
    const before = known.get(style);
    if (before !== undefined) return before;
    const look = readStyle(style);
    if (known.size < MAX_KNOWN_STYLES) known.set(style, look);
    return look;
  };
}

function merge(look: Look, more: Readonly<Look> | undefined): void {
  if (more === undefined) return;
  look.background = more.background ?? look.background;
  look.colour = more.colour ?? look.colour;
  if (more.width > 0) look.width = more.width;
  if (more.height > 0) look.height = more.height;
}

function readStyle(style: string): Look {
  const look: Look = { background: null, colour: null, width: 0, height: 0 };
  for (const declaration of style.slice(0, MAX_VALUE).split(";", 40)) {
    const colon = declaration.indexOf(":");
    if (colon < 0) continue;
    const property = declaration.slice(0, colon).trim().toLowerCase();
    const value = declaration.slice(colon + 1).trim();
    if (property === "background" || property === "background-color") look.background = greyOf(value);
    else if (property === "color") look.colour = greyOf(value);
    else if (property === "width" || property === "min-width")
      look.width = Number.parseFloat(value) || look.width;
    else if (property === "height" || property === "line-height" || property === "min-height")
      look.height = Number.parseFloat(value) || look.height;
  }
  return look;
}

/** Rules of a style sheet for classes: `.name{...}` and `td.name{...}`. */
function readStyles(css: string, classes: Map<string, Look>): void {
  let at = 0;
  while (classes.size < MAX_CLASSES) {
    const open = css.indexOf("{", at);
    if (open < 0) return;
    const close = css.indexOf("}", open);
    const end = close < 0 ? css.length : close;
    const look = readStyle(css.slice(open + 1, Math.min(end, open + MAX_VALUE)));
    const selectors = css.slice(Math.max(at, open - 200), open);
    for (const selector of selectors.split(",", 20)) {
      const name = selector.slice(selector.lastIndexOf(".") + 1).trim();
      if (selector.includes(".") && name.length <= 64) classes.set(name, look);
    }
    at = end + 1;
  }
}

/** Boxes that the browser wraps into rows stand in one long row here: as many as a square has. */
function unwrapped(row: readonly Cell[]): readonly (readonly Cell[])[] {
  const side = Math.sqrt(row.length);
  if (side < MIN_WRAPPED || !Number.isInteger(side)) return [row];
  return Array.from({ length: side }, (_, y) => row.slice(y * side, (y + 1) * side));
}

const MIN_WRAPPED = 21;

/** One grey value for each module, as far as sizes tell what a module is. */
function planeOf(rows: readonly Row[]): Plane {
  const cells = rows.flatMap((row) => row.cells);
  const sized = cells.every(({ width, span }) => width > 0 && span === 1);
  const unit = sized ? cells.reduce((least, { width }) => Math.min(least, width), Number.MAX_VALUE) : 0;
  const spanOf = ({ width, span }: Cell): number =>
    sized ? Math.max(1, Math.min(MAX_SPAN, Math.round(width / unit))) : span;
  const least = rows.reduce((low, { height }) => Math.min(low, height), Number.MAX_VALUE);
  const rowsOf = ({ height }: Row): number =>
    least > 0 ? Math.max(1, Math.min(MAX_SPAN, Math.round(height / least))) : 1;

  const width = Math.min(
    MAX_CELLS,
    rows.reduce(
      (most, row) =>
        Math.max(
          most,
          row.cells.reduce((sum, cell) => sum + spanOf(cell), 0),
        ),
      0,
    ),
  );
  const height = Math.min(
    MAX_CELLS,
    rows.reduce((sum, row) => sum + rowsOf(row), 0),
  );
  const data = new Uint8Array(width * height).fill(255);
  /** For each column how many more rows a cell from above covers, and in which grey. */
  const covered = new Uint16Array(width);
  const covers = new Uint8Array(width);
  let y = 0;
  for (const row of rows) {
    const down = Math.min(rowsOf(row), height - y);
    const line = y * width;
    let x = 0;
    const passCovered = (): void => {
      for (; x < width && (covered[x] ?? 0) > 0; x++) {
        data[line + x] = covers[x] ?? 255;
        covered[x] = (covered[x] ?? 0) - 1;
      }
    };
    passCovered();
    for (const cell of row.cells) {
      for (let span = spanOf(cell); span > 0 && x < width; span--, x++) {
        data[line + x] = cell.grey;
        covered[x] = cell.rows - 1;
        covers[x] = cell.grey;
      }
      passCovered();
    }
    for (let copy = 1; copy < down; copy++) data.copyWithin(line + copy * width, line, line + width);
    y += down;
    if (y >= height) break;
  }
  return { width, height, data };
}
