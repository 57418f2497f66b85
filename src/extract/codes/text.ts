/**
 * Reads QR codes that a text draws with its characters: block elements (whole, half, quadrants, sextants), squares,
 * Braille dots, or any two characters, one or two to a module.
 *
 * The work is linear in the text; ordinary text costs a look at the first few characters of each line.
 */
import { MAX_CELLS, MAX_DRAWINGS, MIN_ROWS, searchDrawing } from "./drawing.ts";
import { type CodeCollector, type CodeLimits, createCodeCollector, type FoundCodes } from "./found.ts";
import type { Plane } from "./plane.ts";

export async function codesInText(text: string, limits: Pick<CodeLimits, "codes">): Promise<FoundCodes> {
  const found = createCodeCollector(limits.codes);
  await searchText(text, limits.codes, found);
  return found.done();
}

/** What is drawn in a text, into `found`. */
export async function searchText(text: string, max: number, found: CodeCollector): Promise<void> {
  let count = 0;
  for (const drawing of drawingsOf(text)) {
    if (++count > MAX_DRAWINGS) {
      found.flag("code_drawings_exceeded");
      return;
    }
    await searchDrawing(drawing, [1, 2], max, found);
  }
}

/** True where a text has characters that are made for drawing. */
export const hasBlocks = (text: string): boolean => NEAR_BLOCKS.test(text) && BLOCKS.test(text);

/** One range of characters and two that stand before others: fast to rule out. */
const NEAR_BLOCKS = /[\u2580-\u2b1c\ud83d\ud83e]/;

const BLOCKS =
  /[\u2580-\u259f\u25a0-\u25ab\u25cb\u25cf\u25fb-\u25fe\u2801-\u28ff\u2b1b\u2b1c]|\ud83d[\udfe5-\udfeb]|\ud83e[\udf00-\udf3b]/;

const MAX_LINE = 1600;
const MIN_WIDTH = 8;
const MAX_ROWS = 400;
/** The 21 rows of the smallest QR code in Braille. */
const MIN_BLOCK_LINES = 6;

/** How a line draws: with characters made for it, or with no more than two characters at all. */
type Line = { readonly kind: "blocks" | "pair"; readonly text: string; readonly pair: readonly number[] };

function* drawingsOf(text: string): Generator<Plane> {
  const blocks = hasBlocks(text);
  let run: Line[] = [];
  let pair: readonly number[] = [];
  let blank = 0;
  for (let at = 0; at <= text.length; ) {
    const next = text.indexOf("\n", at);
    const end = next < 0 ? text.length : next;
    const line = end - at > MAX_LINE ? null : readLine(text.slice(at, end), blocks);
    at = end + 1;
    if (line === "blank" && ++blank < 3) continue;
    const fits = line !== null && line !== "blank" && line.kind === (run[0]?.kind ?? line.kind);
    const both = fits ? [...new Set([...pair, ...line.pair])] : [];
    if (!fits || (line.kind === "pair" && both.length > 2) || run.length >= MAX_ROWS) {
      if (isDrawing(run)) yield planeOf(run);
      // A run of more lines is looked at again from its middle, so that no code is cut in two.
      run = fits && run.length >= MAX_ROWS ? run.slice(MAX_ROWS / 2) : [];
      pair = run.length > 0 ? pair : [];
    }
    blank = 0;
    if (line === null || line === "blank") continue;
    run.push(line);
    pair = [...new Set([...pair, ...line.pair])];
  }
  if (isDrawing(run)) yield planeOf(run);
}

/** Lines of characters that draw several rows each can be fewer. */
const isDrawing = (run: readonly Line[]): boolean =>
  run.length >= MIN_ROWS || (run[0]?.kind === "blocks" && run.length >= MIN_BLOCK_LINES);

const SPACE = 0x20;
const NO_BREAK_SPACE = 0xa0;
const QUOTE = 0x3e;

function readLine(raw: string, blocks: boolean): Line | "blank" | null {
  const text = withoutEdges(raw);
  if (text === "") return "blank";
  if (blocks && isMostlyBlocks(text)) return { kind: "blocks", text, pair: [] };
  const pair = pairOf(text);
  return pair === null || text.length < MIN_WIDTH ? null : { kind: "pair", text, pair };
}

/** Without marks of quoting before it and blanks after it. */
function withoutEdges(line: string): string {
  let start = 0;
  while (line.charCodeAt(start) === QUOTE) start += line.charCodeAt(start + 1) === SPACE ? 2 : 1;
  return line.slice(start).trimEnd();
}

function isMostlyBlocks(text: string): boolean {
  let drawn = 0;
  let blank = 0;
  let others = 0;
  for (const char of text) {
    const code = char.codePointAt(0) ?? 0;
    if (isBlankSpace(code)) blank++;
    else if (shapeOf(code) !== null) drawn++;
    else others++;
  }
  return drawn >= 4 && others * 4 <= drawn + blank;
}

const isBlankSpace = (code: number): boolean =>
  code === SPACE ||
  code === NO_BREAK_SPACE ||
  code === 9 ||
  code === 0x3000 ||
  (code >= 0x2000 && code <= 0x200a);

/** The one or two characters of a line, blanks taken for spaces; null where it has more. */
function pairOf(text: string): readonly number[] | null {
  let first = -1;
  let second = -1;
  for (let at = 0; at < text.length; at++) {
    const code = text.charCodeAt(at) === NO_BREAK_SPACE ? SPACE : text.charCodeAt(at);
    if (code === first || code === second) continue;
    if (first < 0) first = code;
    else if (second < 0) second = code;
    else return null;
  }
  return second < 0 ? [first] : [first, second];
}

/** A character as cells of 2 columns and 2, 3 or 4 rows: one grey value each, row by row. */
type Shape = { readonly rows: number; readonly greys: readonly number[] };

/** Bits of upper left, upper right, lower left, lower right of the quadrants from U+2596. */
const QUADRANTS = [0b0010, 0b0001, 0b1000, 0b1011, 0b1001, 0b1110, 0b1101, 0b0100, 0b0110, 0b0111];
const SQUARES: ReadonlyMap<number, number> = new Map([
  [0x2588, 0],
  [0x2591, 191],
  [0x2592, 128],
  [0x2593, 64],
  ...[0x25a0, 0x25aa, 0x25cf, 0x25fc, 0x25fe, 0x2b1b].map((code) => [code, 0] as const),
  ...[0x25a1, 0x25ab, 0x25cb, 0x25fb, 0x25fd, 0x2b1c].map((code) => [code, 255] as const),
  // Red, blue, orange, yellow, green, purple, brown.
  ...[80, 90, 150, 220, 110, 100, 70].map((grey, index) => [0x1f7e5 + index, grey] as const),
]);

function shapeOf(code: number): Shape | null {
  const square = SQUARES.get(code);
  if (square !== undefined) return { rows: 2, greys: [square, square, square, square] };
  if (code >= 0x2596 && code <= 0x259f) return bits(2, QUADRANTS[code - 0x2596] ?? 0);
  if (code === 0x2580) return bits(2, 0b1100);
  if (code === 0x2584) return bits(2, 0b0011);
  if (code === 0x258c) return bits(2, 0b1010);
  if (code === 0x2590) return bits(2, 0b0101);
  if (code >= 0x1fb00 && code <= 0x1fb3b) return sextant(code - 0x1fb00 + 1);
  if (code >= 0x2800 && code <= 0x28ff) return braille(code - 0x2800);
  return null;
}

const bits = (rows: number, pattern: number): Shape => ({
  rows,
  greys: Array.from({ length: 2 * rows }, (_, index) =>
    ((pattern >> (2 * rows - 1 - index)) & 1) === 1 ? 0 : 255,
  ),
});

/** The patterns of the left and the right half are not among the sextants, being block elements already. */
function sextant(place: number): Shape {
  const pattern = place + (place >= 0b010101 ? 1 : 0) + (place + 1 >= 0b101010 ? 1 : 0);
  return { rows: 3, greys: [0, 1, 2, 3, 4, 5].map((bit) => (((pattern >> bit) & 1) === 1 ? 0 : 255)) };
}

/** Dots 1 to 6 go down the columns, 7 and 8 are the last row. */
const BRAILLE_BITS = [0, 3, 1, 4, 2, 5, 6, 7];

const braille = (pattern: number): Shape => ({
  rows: 4,
  greys: BRAILLE_BITS.map((bit) => (((pattern >> bit) & 1) === 1 ? 0 : 255)),
});

const BLANK: Shape = bits(2, 0);
const INK: Shape = bits(2, 0b1111);

function planeOf(lines: readonly Line[]): Plane {
  const ink = lines[0]?.kind === "pair" ? inkOf(lines) : -1;
  const shapes = lines.map(({ text }) =>
    Array.from(text.slice(0, MAX_CELLS), (char) => {
      const code = char.codePointAt(0) ?? 0;
      if (ink >= 0) return code === ink ? INK : BLANK;
      return shapeOf(code) ?? BLANK;
    }),
  );
  const columns = Math.max(...shapes.map((row) => row.length));
  const down = Math.max(...shapes.map((row) => Math.max(2, ...row.map(({ rows }) => rows))));
  const width = columns * 2;
  const data = new Uint8Array(width * shapes.length * down).fill(255);
  shapes.forEach((row, line) => {
    row.forEach(({ rows, greys }, column) => {
      for (let y = 0; y < down; y++) {
        const from = Math.floor((y * rows) / down) * 2;
        const to = (line * down + y) * width + column * 2;
        data[to] = greys[from] ?? 255;
        data[to + 1] = greys[from + 1] ?? 255;
      }
    });
  });
  return { width, height: shapes.length * down, data };
}

/** Of the two characters the one that is not a blank, else the first; codes are found in either colour. */
function inkOf(lines: readonly Line[]): number {
  const codes = lines.flatMap(({ pair }) => pair);
  return codes.find((code) => code !== SPACE) ?? SPACE;
}
