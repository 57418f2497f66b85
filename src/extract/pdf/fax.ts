/**
 * Unpacks images of fax machines (ITU-T T.4 and T.6), as /CCITTFaxDecode has them.
 *
 * Rows of one bit a pixel come out, each filled up to a byte. A broken row ends an image packed in two dimensions,
 * whose rows build on each other; in others reading goes on behind the next mark of a row's end. Rows that are
 * missing are white.
 */

export type FaxParameters = {
  /** Below 0 all rows in two dimensions, 0 in one, above 0 mixed. */
  readonly k: number;
  readonly columns: number;
  readonly rows: number;
  readonly byteAlign: boolean;
  readonly blackIsOne: boolean;
};

const WHITE_CODES =
  "00110101 000111 0111 1000 1011 1100 1110 1111 10011 10100 00111 01000 001000 000011 110100 110101 " +
  "101010 101011 0100111 0001100 0001000 0010111 0000011 0000100 0101000 0101011 0010011 0100100 " +
  "0011000 00000010 00000011 00011010 00011011 00010010 00010011 00010100 00010101 00010110 00010111 " +
  "00101000 00101001 00101010 00101011 00101100 00101101 00000100 00000101 00001010 00001011 01010010 " +
  "01010011 01010100 01010101 00100100 00100101 01011000 01011001 01011010 01011011 01001010 01001011 " +
  "00110010 00110011 00110100 11011 10010 010111 0110111 00110110 00110111 01100100 01100101 01101000 " +
  "01100111 011001100 011001101 011010010 011010011 011010100 011010101 011010110 011010111 011011000 " +
  "011011001 011011010 011011011 010011000 010011001 010011010 011000 010011011";
const BLACK_CODES =
  "0000110111 010 11 10 011 0011 0010 00011 000101 000100 0000100 0000101 0000111 00000100 00000111 " +
  "000011000 0000010111 0000011000 0000001000 00001100111 00001101000 00001101100 00000110111 " +
  "00000101000 00000010111 00000011000 000011001010 000011001011 000011001100 000011001101 000001101000 " +
  "000001101001 000001101010 000001101011 000011010010 000011010011 000011010100 000011010101 " +
  "000011010110 000011010111 000001101100 000001101101 000011011010 000011011011 000001010100 " +
  "000001010101 000001010110 000001010111 000001100100 000001100101 000001010010 000001010011 " +
  "000000100100 000000110111 000000111000 000000100111 000000101000 000001011000 000001011001 " +
  "000000101011 000000101100 000001011010 000001100110 000001100111 0000001111 000011001000 " +
  "000011001001 000001011011 000000110011 000000110100 000000110101 0000001101100 0000001101101 " +
  "0000001001010 0000001001011 0000001001100 0000001001101 0000001110010 0000001110011 0000001110100 " +
  "0000001110101 0000001110110 0000001110111 0000001010010 0000001010011 0000001010100 0000001010101 " +
  "0000001011010 0000001011011 0000001100100 0000001100101";
const LONG_CODES =
  "00000001000 00000001100 00000001101 000000010010 000000010011 000000010100 000000010101 000000010110 " +
  "000000010111 000000011100 000000011101 000000011110 000000011111";
const MODE_CODES: readonly (readonly [string, number])[] = [
  ["1", 0],
  ["011", 1],
  ["000011", 2],
  ["0000011", 3],
  ["010", -1],
  ["000010", -2],
  ["0000010", -3],
];
const PASS = 100;
const HORIZONTAL = 101;
const CODE_BITS = 13;

/** By the next 13 bits: the length of the code, and 16 times that plus what it means; 0 where there is none. */
type CodeTable = { readonly lengths: Uint8Array; readonly values: Int16Array };

function tableOf(codes: readonly (readonly [string, number])[]): CodeTable {
  const lengths = new Uint8Array(1 << CODE_BITS);
  const values = new Int16Array(1 << CODE_BITS);
  for (const [code, value] of codes) {
    const rest = CODE_BITS - code.length;
    const first = Number.parseInt(code, 2) << rest;
    lengths.fill(code.length, first, first + (1 << rest));
    values.fill(value, first, first + (1 << rest));
  }
  return { lengths, values };
}

/** Runs of 0 to 63, then of 64 to 1728 in steps of 64, then of 1792 and more. */
function runTable(codes: string): CodeTable {
  const all = [...codes.split(" "), ...LONG_CODES.split(" ")];
  return tableOf(all.map((code, index) => [code, index < 64 ? index : (index - 63) * 64]));
}

const WHITE = runTable(WHITE_CODES);
const BLACK = runTable(BLACK_CODES);
const MODES = tableOf([...MODE_CODES, ["0001", PASS], ["001", HORIZONTAL]]);

export function decodeFax(bytes: Buffer, { k, columns, rows, byteAlign, blackIsOne }: FaxParameters): Buffer {
  const rowBytes = Math.ceil(columns / 8);
  const out = Buffer.alloc(rowBytes * rows, 0xff);
  const end = bytes.length * 8;
  let at = 0;

  const peek = (): number => {
    const byte = at >> 3;
    const word = ((bytes[byte] ?? 0) << 16) | ((bytes[byte + 1] ?? 0) << 8) | (bytes[byte + 2] ?? 0);
    return (word >> (24 - CODE_BITS - (at & 7))) & ((1 << CODE_BITS) - 1);
  };
  /** What the next code means, -100 where it is none. */
  const next = ({ lengths, values }: CodeTable): number => {
    const bits = peek();
    const length = lengths[bits] ?? 0;
    at += length;
    return length === 0 || at > end ? -100 : (values[bits] ?? 0);
  };
  const run = (table: CodeTable): number => {
    for (let length = 0; ; ) {
      const part = next(table);
      if (part < 0) return -1;
      length += part;
      if (part < 64) return length;
      if (length > columns) return length;
    }
  };
  /** Reads over marks of a row's end; true where there was one. */
  const passMark = (): boolean => {
    const start = at;
    while (at < end && peek() >> 1 === 0) at++;
    if (peek() >> 1 === 1 && at < end) {
      at += 12;
      return true;
    }
    at = start;
    return false;
  };
  const seekMark = (): void => {
    while (at < end && peek() >> 1 !== 1) at++;
  };

  // Columns where the colour changes, beginning with white, and ending with the width of the row.
  let above = new Int32Array(columns + 5).fill(columns);
  let row = new Int32Array(columns + 5);
  for (let y = 0; y < rows && at < end; y++) {
    if (byteAlign) at = (at + 7) & ~7;
    if (k >= 0) {
      let marks = 0;
      while (marks < 6 && passMark()) {
        marks++;
        // In mixed images a bit says how the row is packed.
        if (k > 0 && marks > 1) at++;
      }
      if (marks >= 6) break;
    }
    let flat = k === 0;
    if (k > 0) {
      flat = peek() >> (CODE_BITS - 1) === 1;
      at++;
    }
    let count = 0;
    let position = 0;
    let black = false;
    let broken = false;
    let before = 0;
    const change = (to: number): void => {
      position = Math.max(position, Math.min(columns, to));
      if (count < columns + 1) row[count++] = position;
      black = !black;
    };
    const horizontal = (): boolean => {
      const length = run(black ? BLACK : WHITE);
      if (length < 0) return false;
      change(position + length);
      return true;
    };
    let begun = false;
    while (position < columns && !broken) {
      if (flat) {
        broken = !horizontal();
        continue;
      }
      const mode = next(MODES);
      if (mode === HORIZONTAL) {
        broken = !horizontal() || !horizontal();
        begun = true;
        continue;
      }
      before = Math.max(0, before - 1);
      const least = begun ? position : -1;
      while ((above[before] ?? columns) <= least && (above[before] ?? columns) < columns) before++;
      if ((before & 1) !== (black ? 1 : 0)) before++;
      const first = above[before] ?? columns;
      if (mode === PASS) position = above[before + 1] ?? columns;
      else if (mode >= -3) change(first + mode);
      else broken = true;
      begun = true;
    }
    if (broken && k < 0) break;
    if (broken) seekMark();
    row.fill(columns, count, count + 4);
    for (let index = 0; index < count; index += 2) {
      clearBits(
        out,
        y * rowBytes * 8 + (row[index] ?? columns),
        y * rowBytes * 8 + (row[index + 1] ?? columns),
      );
    }
    [above, row] = [row, above];
  }
  if (blackIsOne) for (let index = 0; index < out.length; index++) out[index] = ~(out[index] ?? 0);
  return out;
}

function clearBits(out: Buffer, from: number, to: number): void {
  let at = from;
  for (; at < to && (at & 7) !== 0; at++) out[at >> 3] = (out[at >> 3] ?? 0) & ~(0x80 >> (at & 7));
  const whole = to & ~7;
  if (whole > at) {
    out.fill(0, at >> 3, whole >> 3);
    at = whole;
  }
  for (; at < to; at++) out[at >> 3] = (out[at >> 3] ?? 0) & ~(0x80 >> (at & 7));
}
