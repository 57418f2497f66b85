/**
 * What a page draws (ISO 32000-1, 8 and 9): its text in lines, images within it, and filled shapes.
 *
 * Goes over a content stream once. Pieces of text that stand beside each other are joined, with a space where there
 * is a gap; what stands on another line begins a new one.
 */
import type { PdfFont } from "./fonts.ts";
import type { Matrix } from "./mosaic.ts";
import {
  createBounds,
  createLexer,
  isWhite,
  type Lexer,
  nextToken,
  type PdfDict,
  type PdfName,
  type PdfString,
  type PdfValue,
} from "./objects.ts";

/** Rings of points, x and y in turn, filled where they wind around; 0 black, 255 white. */
export type Shape = { readonly rings: readonly (readonly number[])[]; readonly grey: number };

export type Canvas = {
  readonly font: (name: string) => PdfFont | null;
  readonly text: (text: string) => void;
  readonly image: (dict: PdfDict, raw: Buffer) => void;
  /** An image or a form, and where the unit square that it fills is. */
  readonly place: (name: string, matrix: Matrix) => void;
  /** False where no more shapes are taken. */
  readonly shape: (shape: Shape) => boolean;
};

type State = {
  matrix: Matrix;
  grey: number;
  lineWidth: number;
  font: PdfFont | null;
  size: number;
  charSpace: number;
  wordSpace: number;
  stretch: number;
  leading: number;
};

const IDENTITY: Matrix = [1, 0, 0, 1, 0, 0];
const MAX_STATES = 64;
const MAX_OPERANDS = 64;
const MAX_PATH = 100_000;
/** Of the size of a font: a gap that is a space, with widths that are known and with guessed ones. */
const GAP = 0.15;
const GUESSED_GAP = 0.3;

export function drawContent(bytes: Buffer, canvas: Canvas): void {
  const lexer = createLexer(bytes, 0, bytes.length, createBounds(bytes.length, 0));
  let state: State = {
    matrix: IDENTITY,
    grey: 0,
    lineWidth: 1,
    font: null,
    size: 1,
    charSpace: 0,
    wordSpace: 0,
    stretch: 1,
    leading: 0,
  };
  const states: State[] = [];
  let textMatrix: Matrix = IDENTITY;
  let lineMatrix: Matrix = IDENTITY;
  let operands: PdfValue[] = [];
  let list: PdfValue[] = [];
  let inList = false;
  const pen = createPen(canvas.text);
  const path = createPath();
  let images = true;

  const number = (index: number): number => {
    const value = operands[index];
    return typeof value === "number" ? value : 0;
  };
  const six = (): Matrix => [number(0), number(1), number(2), number(3), number(4), number(5)];
  /** `exact`: the gap before it is given, whatever the widths are. */
  const show = (value: PdfValue | undefined, exact = false): void => {
    if (typeof value !== "object" || value?.kind !== "string" || value.bytes.length === 0) return;
    const shown = state.font === null ? plainly(value) : state.font.show(value.bytes);
    const advance =
      ((shown.width / 1000) * state.size + shown.codes * state.charSpace + shown.spaces * state.wordSpace) *
      state.stretch;
    const place = multiply(textMatrix, state.matrix);
    pen.show(shown.text, place, state.size, advance, exact || (state.font?.measured ?? false));
    textMatrix = moved(textMatrix, advance, 0);
  };
  const nextLine = (x: number, y: number): void => {
    lineMatrix = moved(lineMatrix, x, y);
    textMatrix = lineMatrix;
  };
  const drawn = (more: boolean): void => {
    if (!more) path.end();
  };
  const fill = (): void => {
    if (path.rings.length > 0) drawn(canvas.shape({ rings: path.rings, grey: state.grey }));
    path.clear();
  };
  const stroke = (): void => {
    const rings = path.strokes(state.lineWidth, state.matrix);
    if (rings.length > 0) drawn(canvas.shape({ rings, grey: state.grey }));
    path.clear();
  };

  for (let token = nextToken(lexer); token !== "end"; token = nextToken(lexer)) {
    if (token === "[") {
      inList = true;
      list = [];
      continue;
    }
    if (token === "]") {
      inList = false;
      continue;
    }
    if (token === "value") {
      if (inList) list.push(lexer.value);
      else if (operands.length < MAX_OPERANDS) operands.push(lexer.value);
      continue;
    }
    if (token !== "word") continue;
    inList = false;
    switch (lexer.word) {
      case "q":
        if (states.length < MAX_STATES) states.push({ ...state });
        break;
      case "Q":
        state = states.pop() ?? state;
        break;
      case "cm":
        state.matrix = multiply(six(), state.matrix);
        break;
      case "w":
        state.lineWidth = number(0);
        break;
      case "g":
        state.grey = number(0) * 255;
        break;
      case "rg":
        state.grey = (number(0) * 0.3 + number(1) * 0.59 + number(2) * 0.11) * 255;
        break;
      case "k":
        state.grey = cmykGrey(number(0), number(1), number(2), number(3));
        break;
      case "sc":
      case "scn":
        state.grey = greyOf(operands);
        break;
      case "cs":
        state.grey = 0;
        break;
      case "BT":
        textMatrix = IDENTITY;
        lineMatrix = IDENTITY;
        break;
      case "Tf": {
        const name = operands.find(
          (value): value is PdfName => typeof value === "object" && value?.kind === "name",
        );
        state.font = name === undefined ? null : canvas.font(name.name);
        state.size = number(operands.length - 1);
        break;
      }
      case "Tc":
        state.charSpace = number(0);
        break;
      case "Tw":
        state.wordSpace = number(0);
        break;
      case "Tz":
        state.stretch = number(0) / 100;
        break;
      case "TL":
        state.leading = number(0);
        break;
      case "Td":
        nextLine(number(0), number(1));
        break;
      case "TD":
        state.leading = -number(1);
        nextLine(number(0), number(1));
        break;
      case "Tm":
        lineMatrix = six();
        textMatrix = lineMatrix;
        break;
      case "T*":
        nextLine(0, -state.leading);
        break;
      case "Tj":
        show(operands.at(-1));
        break;
      case "'":
        nextLine(0, -state.leading);
        show(operands.at(-1));
        break;
      case '"':
        state.wordSpace = number(0);
        state.charSpace = number(1);
        nextLine(0, -state.leading);
        show(operands.at(-1));
        break;
      case "TJ":
        for (const [index, item] of list.entries()) {
          if (typeof item === "number") {
            textMatrix = moved(textMatrix, (-item / 1000) * state.size * state.stretch, 0);
          } else {
            show(item, index > 0);
          }
        }
        break;
      case "m":
        path.move(state.matrix, number(0), number(1));
        break;
      case "l":
        path.line(state.matrix, number(0), number(1));
        break;
      case "c":
        path.curve(state.matrix, [number(0), number(1), number(2), number(3), number(4), number(5)]);
        break;
      case "v":
        path.curve(state.matrix, [null, null, number(0), number(1), number(2), number(3)]);
        break;
      case "y":
        path.curve(state.matrix, [number(0), number(1), number(2), number(3), number(2), number(3)]);
        break;
      case "re":
        path.rectangle(state.matrix, number(0), number(1), number(2), number(3));
        break;
      case "f":
      case "F":
      case "f*":
      case "B":
      case "B*":
      case "b":
      case "b*":
        fill();
        break;
      case "S":
      case "s":
        stroke();
        break;
      case "n":
        path.clear();
        break;
      case "Do": {
        const [name] = operands;
        if (typeof name === "object" && name?.kind === "name") canvas.place(name.name, state.matrix);
        break;
      }
      case "BI":
        if (images) images = readInlineImage(lexer, canvas);
        break;
    }
    if (operands.length > 0) operands = [];
    if (list.length > 0) list = [];
  }
}

function multiply(a: Matrix, b: Matrix): Matrix {
  return [
    a[0] * b[0] + a[1] * b[2],
    a[0] * b[1] + a[1] * b[3],
    a[2] * b[0] + a[3] * b[2],
    a[2] * b[1] + a[3] * b[3],
    a[4] * b[0] + a[5] * b[2] + b[4],
    a[4] * b[1] + a[5] * b[3] + b[5],
  ];
}

function moved(matrix: Matrix, x: number, y: number): Matrix {
  const [a, b, c, d, e, f] = matrix;
  return [a, b, c, d, e + a * x + c * y, f + b * x + d * y];
}

function cmykGrey(cyan: number, magenta: number, yellow: number, black: number): number {
  return (1 - Math.min(1, cyan * 0.3 + magenta * 0.59 + yellow * 0.11 + black)) * 255;
}

/** Of a colour in a space that is not looked up: by the number of its components. */
function greyOf(operands: readonly PdfValue[]): number {
  const [first, second, third, fourth] = operands.map((value) => (typeof value === "number" ? value : 0));
  if (fourth !== undefined) return cmykGrey(first ?? 0, second ?? 0, third ?? 0, fourth);
  if (third !== undefined) return ((first ?? 0) * 0.3 + (second ?? 0) * 0.59 + third * 0.11) * 255;
  return (first ?? 0) * 255;
}

/** Text whose font is not known, taken as Latin 1. */
function plainly(value: PdfString): { text: string; width: number; codes: number; spaces: number } {
  const { length } = value.bytes;
  return { text: value.bytes.toString("latin1"), width: length * 500, codes: length, spaces: 0 };
}

// ---- text

type Pen = {
  readonly show: (text: string, place: Matrix, size: number, advance: number, measured: boolean) => void;
};

/** Joins what is shown into lines, by where the last piece ended. */
function createPen(write: (text: string) => void): Pen {
  let begun = false;
  let endX = 0;
  let endY = 0;
  return {
    show: (text, place, size, advance, measured) => {
      const [a, b, c, d, x, y] = place;
      const along = Math.hypot(a, b) || 1;
      const height = Math.abs(size) * (Math.hypot(c, d) || 1) || 1;
      if (begun) {
        const dx = x - endX;
        const dy = y - endY;
        const gap = (dx * a + dy * b) / along;
        const drop = (dy * a - dx * b) / along;
        if (Math.abs(drop) > height / 2 || gap < -height) write("\n");
        else if (gap > height * (measured ? GAP : GUESSED_GAP)) write(" ");
      }
      begun = true;
      write(text);
      endX = x + a * advance;
      endY = y + b * advance;
    },
  };
}

// ---- shapes

type Path = {
  readonly rings: readonly (readonly number[])[];
  readonly move: (matrix: Matrix, x: number, y: number) => void;
  readonly line: (matrix: Matrix, x: number, y: number) => void;
  readonly curve: (matrix: Matrix, points: readonly (number | null)[]) => void;
  readonly rectangle: (matrix: Matrix, x: number, y: number, width: number, height: number) => void;
  readonly strokes: (width: number, matrix: Matrix) => readonly (readonly number[])[];
  readonly clear: () => void;
  /** Takes no more points. */
  readonly end: () => void;
};

const CURVE_STEPS = 4;

function createPath(): Path {
  let rings: number[][] = [];
  let ring: number[] = [];
  let points = 0;
  let ended = false;
  const add = ([a, b, c, d, e, f]: Matrix, x: number, y: number): void => {
    if (!ended && points++ < MAX_PATH) ring.push(a * x + c * y + e, b * x + d * y + f);
  };
  const start = (): void => {
    if (ended || points >= MAX_PATH) return;
    ring = [];
    rings.push(ring);
  };
  return {
    get rings() {
      return rings;
    },
    move: (matrix, x, y) => {
      start();
      add(matrix, x, y);
    },
    line: (matrix, x, y) => {
      if (ring.length === 0) start();
      add(matrix, x, y);
    },
    curve: ([a, b, c, d, e, f], [x1, y1, x2, y2, x3, y3]) => {
      const fromX = ring.at(-2);
      const fromY = ring.at(-1);
      if (fromX === undefined || fromY === undefined) return;
      const at = (x: number | null | undefined, y: number | null | undefined): readonly [number, number] =>
        x == null || y == null ? [fromX, fromY] : [a * x + c * y + e, b * x + d * y + f];
      const first = at(x1, y1);
      const second = at(x2, y2);
      const last = at(x3, y3);
      for (let step = 1; step <= CURVE_STEPS; step++) {
        const t = step / CURVE_STEPS;
        const s = 1 - t;
        const part = (p0: number, p1: number, p2: number, p3: number): number =>
          s * s * s * p0 + 3 * s * s * t * p1 + 3 * s * t * t * p2 + t * t * t * p3;
        add(IDENTITY, part(fromX, first[0], second[0], last[0]), part(fromY, first[1], second[1], last[1]));
      }
    },
    rectangle: (matrix, x, y, width, height) => {
      start();
      add(matrix, x, y);
      add(matrix, x + width, y);
      add(matrix, x + width, y + height);
      add(matrix, x, y + height);
    },
    /** Straight lines as long rectangles. */
    strokes: (width, [a, b, c, d]) => {
      const half = (Math.sqrt(Math.abs(a * d - b * c)) * width) / 2;
      const made: number[][] = [];
      for (const line of rings) {
        for (let at = 0; at + 3 < line.length; at += 2) {
          const [x0 = 0, y0 = 0, x1 = 0, y1 = 0] = line.slice(at, at + 4);
          const length = Math.hypot(x1 - x0, y1 - y0);
          if (!(length > 0)) continue;
          const dx = ((x1 - x0) / length) * half;
          const dy = ((y1 - y0) / length) * half;
          made.push([x0 - dy, y0 + dx, x1 - dy, y1 + dx, x1 + dy, y1 - dx, x0 + dy, y0 - dx]);
        }
      }
      return made;
    },
    clear: () => {
      if (points === 0) return;
      rings = [];
      ring = [];
      points = 0;
    },
    end: () => {
      ended = true;
    },
  };
}

// ---- images within a page

/** Goes on behind the image, whose end is sought, as its length is not given; false where no image ends any more. */
function readInlineImage(lexer: Lexer, canvas: Canvas): boolean {
  const entries = new Map<string, PdfValue>();
  let key: string | null = null;
  let list: PdfValue[] | null = null;
  const set = (value: PdfValue): void => {
    if (key !== null) entries.set(key, value);
    key = null;
  };
  for (let token = nextToken(lexer); token !== "end"; token = nextToken(lexer)) {
    if (token === "word") break;
    if (token === "[") list = [];
    else if (token === "]" && list !== null) {
      set({ kind: "array", items: list });
      list = null;
    } else if (token === "value") {
      const { value } = lexer;
      if (list !== null) list.push(value);
      else if (key === null && typeof value === "object" && value?.kind === "name") key = value.name;
      else set(value);
    }
  }
  if (lexer.word !== "ID") return true;
  const { bytes } = lexer;
  const start = lexer.at + 1;
  let end = bytes.indexOf("EI", start);
  while (end >= 0 && !(isWhite(bytes[end - 1]) && isTextAfter(bytes, end + 2)))
    end = bytes.indexOf("EI", end + 2);
  if (end < 0) return false;
  lexer.at = end + 2;
  canvas.image({ kind: "dict", entries, earlier: [], obfuscatedKeys: [] }, bytes.subarray(start, end));
  return true;
}

function isTextAfter(bytes: Buffer, at: number): boolean {
  if (at < bytes.length && !isWhite(bytes[at])) return false;
  for (const byte of bytes.subarray(at, at + 8))
    if (byte > 0x7e || (byte < 0x20 && !isWhite(byte))) return false;
  return true;
}
