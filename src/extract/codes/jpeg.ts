/**
 * Reads the pixels of a JPEG file: baseline, extended and progressive, Huffman coded, 8 bits (ITU T.81).
 *
 * Any bytes give an answer: what is missing stays grey. Memory is bounded by the pixels, which the caller bounds;
 * work by the bytes and by a number of visits of each block, since a scan of a few bytes can visit all blocks.
 */

import type { Decoded, Size } from "./picture.ts";
import type { Channel, Plane } from "./plane.ts";

const ZIGZAG = new Uint8Array([
  0, 1, 8, 16, 9, 2, 3, 10, 17, 24, 32, 25, 18, 11, 4, 5, 12, 19, 26, 33, 40, 48, 41, 34, 27, 20, 13, 6, 7,
  14, 21, 28, 35, 42, 49, 56, 57, 50, 43, 36, 29, 22, 15, 23, 30, 37, 44, 51, 58, 59, 52, 45, 38, 31, 39, 46,
  53, 60, 61, 54, 47, 55, 62, 63,
]);

/** Visits of each block: programs that write progressive files make about ten. */
const MAX_VISITS = 40;
const MAX_SEGMENTS = 10_000;

type Frame = {
  readonly progressive: boolean;
  readonly width: number;
  readonly height: number;
  readonly components: readonly Component[];
  readonly maxH: number;
  readonly maxV: number;
};

type Component = {
  readonly id: number;
  readonly h: number;
  readonly v: number;
  readonly table: number;
  /** Blocks of the component alone, and with what fills the last units of a scan of all. */
  readonly columns: number;
  readonly rows: number;
  readonly stride: number;
  readonly coefficients: Int16Array;
};

type FrameHead = { readonly at: number; readonly marker: number; readonly size: Size };

/** The place of the first frame header; null where there is none. */
function findFrame(bytes: Uint8Array): FrameHead | null {
  for (const { marker, at, length } of segmentsOf(bytes, 2)) {
    if (!isFrame(marker)) continue;
    if (length < 6) return null;
    return { at, marker, size: { height: word(bytes, at + 1), width: word(bytes, at + 3) } };
  }
  return null;
}

export function jpegSize(bytes: Uint8Array): Size | null {
  return findFrame(bytes)?.size ?? null;
}

type Segment = { readonly marker: number; readonly at: number; readonly length: number };

/** Segments in order, from the one that begins at or after `at`; bytes between them are passed over. */
function* segmentsOf(bytes: Uint8Array, from: number): Generator<Segment> {
  let at = from;
  for (let count = 0; count < MAX_SEGMENTS; count++) {
    at = bytes.indexOf(0xff, at);
    if (at < 0 || at + 1 >= bytes.length) return;
    while (bytes[at + 1] === 0xff) at++;
    const marker = bytes[at + 1] ?? 0;
    at += 2;
    if (marker === 0 || marker === 1 || (marker >= 0xd0 && marker <= 0xd8)) continue;
    if (marker === 0xd9 || at + 2 > bytes.length) return;
    const length = Math.max(0, Math.min(word(bytes, at) - 2, bytes.length - at - 2));
    yield { marker, at: at + 2, length };
    at += 2 + length;
  }
}

const isFrame = (marker: number): boolean =>
  marker >= 0xc0 && marker <= 0xcf && marker !== 0xc4 && marker !== 0xc8 && marker !== 0xcc;

const word = (bytes: Uint8Array, at: number): number => ((bytes[at] ?? 0) << 8) | (bytes[at + 1] ?? 0);

/** Null where it is no JPEG file of a kind that is read. */
export function decodeJpeg(bytes: Uint8Array): Decoded | null {
  const quantization: (Float32Array | undefined)[] = [];
  const huffman: { dc: (Huffman | undefined)[]; ac: (Huffman | undefined)[] } = { dc: [], ac: [] };
  let frame: Frame | null = null;
  let restart = 0;
  let adobe: number | null = null;
  let visits = 0;
  let damaged = false;

  let from = 2;
  let going = true;
  while (going) {
    going = false;
    for (const { marker, at, length } of segmentsOf(bytes, from)) {
      const body = bytes.subarray(at, at + length);
      if (marker === 0xdb) readQuantization(body, quantization);
      else if (marker === 0xc4) readHuffman(body, huffman);
      else if (marker === 0xdd) restart = word(body, 0);
      else if (marker === 0xee && latin(body, 0, 5) === "Adobe") adobe = body[11] ?? null;
      else if (isFrame(marker)) {
        if (frame !== null) break;
        frame = readFrame(body, marker);
        if (frame === null) return null;
      } else if (marker === 0xda) {
        if (frame === null) break;
        const scan = readScan(body, frame, huffman);
        from = at + length;
        going = true;
        if (scan === null) {
          damaged = true;
          break;
        }
        const blocks = scan.components.reduce(
          (sum, one) => sum + one.component.rows * one.component.stride,
          0,
        );
        visits += blocks;
        if (visits > MAX_VISITS * totalBlocks(frame)) {
          damaged = true;
          going = false;
          break;
        }
        if (!runScan(bytes, from, frame, scan, restart)) damaged = true;
        // What is left of the data of the scan has no markers in it but those of restarts.
        break;
      }
    }
  }
  if (frame === null || visits === 0) return null;
  return { picture: pictureOf(frame, quantization, adobe), damaged };
}

const totalBlocks = (frame: Frame): number =>
  frame.components.reduce((sum, one) => sum + one.rows * one.stride, 0);

const latin = (bytes: Uint8Array, from: number, to: number): string =>
  String.fromCharCode(...bytes.subarray(from, to));

function readQuantization(body: Uint8Array, tables: (Float32Array | undefined)[]): void {
  for (let at = 0; at < body.length; ) {
    const head = body[at++] ?? 0;
    const wide = head >> 4 !== 0;
    const table = new Float32Array(64);
    for (let index = 0; index < 64; index++) {
      const value = wide ? word(body, at) : (body[at] ?? 0);
      at += wide ? 2 : 1;
      const place = ZIGZAG[index] ?? 0;
      table[place] = (value * (SCALES[place >> 3] ?? 1) * (SCALES[place & 7] ?? 1)) / 8;
    }
    tables[head & 3] = table;
  }
}

/** What the transform of Arai, Agui and Nakajima leaves to the quantization. */
const SCALES = [1, 1.387039845, 1.306562965, 1.175875602, 1, 0.785694958, 0.5411961, 0.275899379];

/** A code of up to 16 bits: `quick` has length << 8 | value for the next 9 bits, 0 where the code is longer. */
type Huffman = {
  readonly quick: Uint16Array;
  /** One more than the last code of each length, -1 where there is none. */
  readonly ends: Int32Array;
  readonly offsets: Int32Array;
  readonly values: Uint8Array;
};

const QUICK = 9;

function readHuffman(
  body: Uint8Array,
  tables: { dc: (Huffman | undefined)[]; ac: (Huffman | undefined)[] },
): void {
  for (let at = 0; at + 17 <= body.length; ) {
    const head = body[at] ?? 0;
    const counts = body.subarray(at + 1, at + 17);
    const total = counts.reduce((sum, count) => sum + count, 0);
    const values = body.slice(at + 17, at + 17 + Math.min(256, total));
    at += 17 + total;
    (head >> 4 === 0 ? tables.dc : tables.ac)[head & 3] = makeHuffman(counts, values);
  }
}

function makeHuffman(counts: Uint8Array, values: Uint8Array): Huffman {
  const quick = new Uint16Array(1 << QUICK);
  const ends = new Int32Array(17).fill(-1);
  const offsets = new Int32Array(17);
  let code = 0;
  let place = 0;
  for (let length = 1; length <= 16; length++) {
    const count = Math.min(counts[length - 1] ?? 0, values.length - place);
    offsets[length] = place - code;
    for (let index = 0; index < count; index++) {
      if (length <= QUICK) {
        const first = (code + index) << (QUICK - length);
        const entry = (length << 8) | (values[place + index] ?? 0);
        quick.fill(entry, first, first + (1 << (QUICK - length)));
      }
    }
    code += count;
    place += count;
    if (count > 0) ends[length] = code;
    code <<= 1;
  }
  return { quick, ends, offsets, values };
}

function readFrame(body: Uint8Array, marker: number): Frame | null {
  const progressive = marker === 0xc2;
  if (marker > 0xc2 || body[0] !== 8) return null;
  const height = word(body, 1);
  const width = word(body, 3);
  const count = body[5] ?? 0;
  if (width === 0 || height === 0 || count < 1 || count > 4 || body.length < 6 + 3 * count) return null;
  const shapes = Array.from({ length: count }, (_, index) => {
    const at = 6 + 3 * index;
    const factors = body[at + 1] ?? 0;
    return { id: body[at] ?? 0, h: factors >> 4, v: factors & 15, table: (body[at + 2] ?? 0) & 3 };
  });
  if (shapes.some(({ h, v }) => h < 1 || h > 4 || v < 1 || v > 4)) return null;
  const maxH = Math.max(...shapes.map(({ h }) => h));
  const maxV = Math.max(...shapes.map(({ v }) => v));
  const across = Math.ceil(width / (8 * maxH));
  const down = Math.ceil(height / (8 * maxV));
  const components = shapes.map((shape) => {
    const stride = across * shape.h;
    return {
      ...shape,
      columns: Math.ceil((width * shape.h) / (8 * maxH)),
      rows: down * shape.v,
      stride,
      coefficients: new Int16Array(stride * down * shape.v * 64),
    };
  });
  return { progressive, width, height, components, maxH, maxV };
}

type Scan = {
  readonly components: readonly {
    readonly component: Component;
    readonly dc: Huffman | undefined;
    readonly ac: Huffman | undefined;
  }[];
  readonly first: number;
  readonly last: number;
  readonly high: number;
  readonly low: number;
};

function readScan(
  body: Uint8Array,
  frame: Frame,
  huffman: { readonly dc: (Huffman | undefined)[]; readonly ac: (Huffman | undefined)[] },
): Scan | null {
  const count = body[0] ?? 0;
  if (count < 1 || count > 4 || body.length < 4 + 2 * count) return null;
  const components: Scan["components"][number][] = [];
  for (let index = 0; index < count; index++) {
    const component = frame.components.find(({ id }) => id === body[1 + 2 * index]);
    if (component === undefined || components.some((one) => one.component === component)) return null;
    const tables = body[2 + 2 * index] ?? 0;
    components.push({ component, dc: huffman.dc[tables >> 4], ac: huffman.ac[tables & 15] });
  }
  const at = 1 + 2 * count;
  if (!frame.progressive) return { components, first: 0, last: 63, high: 0, low: 0 };
  const first = body[at] ?? 0;
  const last = body[at + 1] ?? 0;
  const high = (body[at + 2] ?? 0) >> 4;
  const low = (body[at + 2] ?? 0) & 15;
  if (first > last || last > 63 || low > 13 || (first === 0 && last !== 0) || (first > 0 && count > 1))
    return null;
  return { components, first, last, high, low };
}

/** Thrown within a scan where its data ends; never leaves this file. */
const ENDED = new RangeError("the data of the scan ends");

/** Reads bits of a scan; at its end zeros, and after some of them it gives up. */
class Bits {
  at: number;
  private readonly bytes: Uint8Array;
  private buffer = 0;
  private count = 0;
  private missing = 0;

  constructor(bytes: Uint8Array, at: number) {
    this.bytes = bytes;
    this.at = at;
  }

  private fill(): void {
    while (this.count <= 16) {
      let byte = 0;
      const next = this.bytes[this.at];
      if (next === undefined || (next === 0xff && this.bytes[this.at + 1] !== 0)) {
        if (++this.missing > 8) throw ENDED;
      } else {
        byte = next;
        this.at += next === 0xff ? 2 : 1;
      }
      this.buffer = (this.buffer << 8) | byte;
      this.count += 8;
    }
  }

  take(count: number): number {
    if (count === 0) return 0;
    if (this.count < count) this.fill();
    this.count -= count;
    return (this.buffer >> this.count) & ((1 << count) - 1);
  }

  /** A number of `count` bits as T.81 F.2.2.1 extends it. */
  signed(count: number): number {
    if (count === 0) return 0;
    const value = this.take(count);
    return value < 1 << (count - 1) ? value - (1 << count) + 1 : value;
  }

  symbol(table: Huffman): number {
    if (this.count < 16) this.fill();
    const entry = table.quick[(this.buffer >> (this.count - QUICK)) & ((1 << QUICK) - 1)] ?? 0;
    if (entry !== 0) {
      this.count -= entry >> 8;
      return entry & 0xff;
    }
    const ahead = (this.buffer >> (this.count - 16)) & 0xffff;
    for (let length = QUICK + 1; length <= 16; length++) {
      const code = ahead >> (16 - length);
      if (code < (table.ends[length] ?? -1)) {
        this.count -= length;
        return table.values[code + (table.offsets[length] ?? 0)] ?? 0;
      }
    }
    throw ENDED;
  }

  /** Goes on after the next restart marker; false where there is none. */
  restart(): boolean {
    this.buffer = 0;
    this.count = 0;
    this.missing = 0;
    for (;;) {
      this.at = this.bytes.indexOf(0xff, this.at);
      if (this.at < 0) {
        this.at = this.bytes.length;
        return false;
      }
      const marker = this.bytes[this.at + 1] ?? 0xd9;
      if (marker >= 0xd0 && marker <= 0xd7) {
        this.at += 2;
        return true;
      }
      if (marker !== 0 && marker !== 0xff) return false;
      this.at++;
    }
  }
}

type BlockState = { eobRun: number };
type ReadBlock = (bits: Bits, state: BlockState, index: number, block: Int16Array, at: number) => void;

/** False where the scan ends before its time, or is broken. */
function runScan(bytes: Uint8Array, from: number, frame: Frame, scan: Scan, restart: number): boolean {
  const bits = new Bits(bytes, from);
  const predictions = new Int32Array(scan.components.length);
  const state: BlockState = { eobRun: 0 };
  const read = blockReader(frame, scan, predictions);
  const single = scan.components.length === 1 ? scan.components[0]?.component : undefined;
  const across = single?.columns ?? Math.ceil(frame.width / (8 * frame.maxH));
  const down =
    single === undefined
      ? Math.ceil(frame.height / (8 * frame.maxV))
      : Math.ceil((frame.height * single.v) / (8 * frame.maxV));
  const units = across * down;
  try {
    for (let unit = 0; unit < units; unit++) {
      if (restart > 0 && unit > 0 && unit % restart === 0) {
        if (!bits.restart()) return false;
        predictions.fill(0);
        state.eobRun = 0;
      }
      const column = unit % across;
      const row = (unit - column) / across;
      if (single !== undefined) {
        read(bits, state, 0, single.coefficients, (row * single.stride + column) * 64);
        continue;
      }
      for (let index = 0; index < scan.components.length; index++) {
        const component = scan.components[index]?.component;
        if (component === undefined) continue;
        for (let y = 0; y < component.v; y++) {
          for (let x = 0; x < component.h; x++) {
            const place = (row * component.v + y) * component.stride + column * component.h + x;
            read(bits, state, index, component.coefficients, place * 64);
          }
        }
      }
    }
    return true;
  } catch (fault) {
    if (fault === ENDED) return false;
    throw fault;
  }
}

function blockReader(frame: Frame, scan: Scan, predictions: Int32Array): ReadBlock {
  const { components, first, last, high, low } = scan;
  const tableOf = (kind: "dc" | "ac", index: number): Huffman => {
    const table = components[index]?.[kind];
    if (table === undefined) throw ENDED;
    return table;
  };
  const dcValue = (bits: Bits, index: number): number => {
    const size = Math.min(15, bits.symbol(tableOf("dc", index)));
    const value = (predictions[index] ?? 0) + bits.signed(size);
    predictions[index] = value;
    return value;
  };
  if (!frame.progressive) {
    return (bits, _state, index, block, at) => {
      block[at] = dcValue(bits, index);
      const table = tableOf("ac", index);
      for (let k = 1; k < 64; k++) {
        const symbol = bits.symbol(table);
        const size = symbol & 15;
        k += symbol >> 4;
        if (size === 0) {
          if (symbol !== 0xf0) return;
          continue;
        }
        if (k > 63) return;
        block[at + (ZIGZAG[k] ?? 0)] = bits.signed(size);
      }
    };
  }
  if (first === 0) {
    if (high === 0) {
      return (bits, _state, index, block, at) => {
        block[at] = dcValue(bits, index) << low;
      };
    }
    return (bits, _state, _index, block, at) => {
      if (bits.take(1) === 1) block[at] = (block[at] ?? 0) | (1 << low);
    };
  }
  if (high === 0) {
    return (bits, state, index, block, at) => {
      if (state.eobRun > 0) {
        state.eobRun--;
        return;
      }
      const table = tableOf("ac", index);
      for (let k = first; k <= last; k++) {
        const symbol = bits.symbol(table);
        const size = symbol & 15;
        const run = symbol >> 4;
        if (size === 0 && run < 15) {
          state.eobRun = (1 << run) - 1 + bits.take(run);
          return;
        }
        k += run;
        if (size === 0) continue;
        if (k > 63) return;
        block[at + (ZIGZAG[k] ?? 0)] = bits.signed(size) << low;
      }
    };
  }
  return (bits, state, index, block, at) => {
    const bit = 1 << low;
    const refine = (place: number): void => {
      const value = block[place] ?? 0;
      if (bits.take(1) === 1 && (Math.abs(value) & bit) === 0)
        block[place] = value > 0 ? value + bit : value - bit;
    };
    let k = first;
    if (state.eobRun === 0) {
      const table = tableOf("ac", index);
      while (k <= last) {
        const symbol = bits.symbol(table);
        const size = symbol & 15;
        let run = symbol >> 4;
        let value = 0;
        if (size === 0 && run < 15) {
          state.eobRun = (1 << run) + bits.take(run);
          break;
        }
        if (size !== 0) value = bits.take(1) === 1 ? bit : -bit;
        // Of the places that are still zero `run` are passed over; the others get a bit more.
        while (k <= last) {
          const place = at + (ZIGZAG[k++] ?? 0);
          if (block[place] !== 0) {
            refine(place);
          } else if (run-- === 0) {
            if (value !== 0) block[place] = value;
            break;
          }
        }
      }
    }
    if (state.eobRun > 0) {
      for (; k <= last; k++) {
        const place = at + (ZIGZAG[k] ?? 0);
        if (block[place] !== 0) refine(place);
      }
      state.eobRun--;
    }
  };
}

/** The samples of a component, as many as it has, in rows of `width`. */
function samplesOf(component: Component, table: Float32Array | undefined): Plane {
  const width = component.stride * 8;
  const data = new Uint8Array(width * component.rows * 8);
  const scales = table ?? new Float32Array(64);
  const work = new Float32Array(64);
  for (let row = 0; row < component.rows; row++) {
    for (let column = 0; column < component.stride; column++) {
      const at = (row * component.stride + column) * 64;
      transform(component.coefficients, at, scales, work, data, row * 8 * width + column * 8, width);
    }
  }
  return { width, height: component.rows * 8, data };
}

function transform(
  block: Int16Array,
  at: number,
  scales: Float32Array,
  work: Float32Array,
  out: Uint8Array,
  to: number,
  stride: number,
): void {
  let flat = true;
  for (let index = 1; index < 64; index++) {
    if (block[at + index] !== 0) {
      flat = false;
      break;
    }
  }
  if (flat) {
    const grey = clamp((block[at] ?? 0) * (scales[0] ?? 0) + 128.5);
    for (let y = 0; y < 8; y++) out.fill(grey, to + y * stride, to + y * stride + 8);
    return;
  }
  for (let index = 0; index < 64; index++) work[index] = (block[at + index] ?? 0) * (scales[index] ?? 0);
  for (let x = 0; x < 8; x++) butterfly(work, x, 8);
  for (let y = 0; y < 8; y++) {
    butterfly(work, y * 8, 1);
    for (let x = 0; x < 8; x++) out[to + y * stride + x] = clamp((work[y * 8 + x] ?? 0) + 128.5);
  }
}

const clamp = (value: number): number => Math.max(0, Math.min(255, value));

/** One inverse cosine transform of eight values, in place (Arai, Agui, Nakajima). */
function butterfly(work: Float32Array, at: number, step: number): void {
  const i1 = at + step;
  const i2 = i1 + step;
  const i3 = i2 + step;
  const i4 = i3 + step;
  const i5 = i4 + step;
  const i6 = i5 + step;
  const i7 = i6 + step;
  const x0 = work[at] ?? 0;
  const x4 = work[i4] ?? 0;
  const x2 = work[i2] ?? 0;
  const x6 = work[i6] ?? 0;
  const evenSum = x2 + x6;
  const evenTurn = (x2 - x6) * Math.SQRT2 - evenSum;
  const e0 = x0 + x4 + evenSum;
  const e3 = x0 + x4 - evenSum;
  const e1 = x0 - x4 + evenTurn;
  const e2 = x0 - x4 - evenTurn;
  const x5 = work[i5] ?? 0;
  const x3 = work[i3] ?? 0;
  const x1 = work[i1] ?? 0;
  const x7 = work[i7] ?? 0;
  const z13 = x5 + x3;
  const z10 = x5 - x3;
  const z11 = x1 + x7;
  const z12 = x1 - x7;
  const o7 = z11 + z13;
  const z5 = (z10 + z12) * 1.847759065;
  const o6 = z5 - z10 * 2.61312593 - o7;
  const o5 = (z11 - z13) * Math.SQRT2 - o6;
  const o4 = z5 - z12 * 1.0823922 - o5;
  work[at] = e0 + o7;
  work[i7] = e0 - o7;
  work[i1] = e1 + o6;
  work[i6] = e1 - o6;
  work[i2] = e2 + o5;
  work[i5] = e2 - o5;
  work[i3] = e3 + o4;
  work[i4] = e3 - o4;
}

function pictureOf(
  frame: Frame,
  quantization: readonly (Float32Array | undefined)[],
  adobe: number | null,
): Decoded["picture"] {
  const { width, height, components } = frame;
  const made: (Plane | undefined)[] = [];
  const stretched = (index: number): Uint8Array => {
    const component = components[index];
    if (component === undefined) return new Uint8Array();
    made[index] ??= fit(frame, component, samplesOf(component, quantization[component.table]));
    return made[index].data;
  };
  const isRgb =
    adobe === 0 ||
    (adobe === null && components.length === 3 && components.map(({ id }) => id).join() === "82,71,66");
  const pixels = (step: number, value: (index: number) => number): Plane => {
    const [across, down] = [Math.floor(width / step), Math.floor(height / step)];
    const data = new Uint8Array(across * down);
    for (let y = 0, to = 0; y < down; y++) {
      for (let x = 0, at = y * step * width; x < across; x++, at += step) data[to++] = clamp(value(at));
    }
    return { width: across, height: down, data };
  };
  const plane = (channel: Channel, _background: 0 | 255, step: number): Plane => {
    const first = stretched(0);
    if (components.length < 3 || (components.length === 3 && !isRgb && channel === "luma")) {
      return step === 1 ? { width, height, data: first } : pixels(step, (index) => first[index] ?? 0);
    }
    const [second, third] = [stretched(1), stretched(2)];
    const colour = isRgb
      ? plainColour(channel, first, second, third)
      : turnedColour(channel, first, second, third);
    if (components.length === 3) return pixels(step, colour);
    // Adobe writes inks inverted: what is there is light.
    const key = stretched(3);
    return pixels(step, (index) => (clamp(colour(index)) * (key[index] ?? 0)) / 255);
  };
  return {
    width,
    height,
    transparent: false,
    coloured: () => components.length > 2,
    plane,
  };
}

type Colour = (index: number) => number;

function plainColour(channel: Channel, red: Uint8Array, green: Uint8Array, blue: Uint8Array): Colour {
  if (channel === "red") return (index) => red[index] ?? 0;
  if (channel === "blue") return (index) => blue[index] ?? 0;
  return (index) => 0.299 * (red[index] ?? 0) + 0.587 * (green[index] ?? 0) + 0.114 * (blue[index] ?? 0);
}

/** From luma and the differences of blue and red (JFIF). */
function turnedColour(channel: Channel, luma: Uint8Array, blue: Uint8Array, red: Uint8Array): Colour {
  if (channel === "red") return (index) => (luma[index] ?? 0) + 1.402 * ((red[index] ?? 0) - 128);
  if (channel === "blue") return (index) => (luma[index] ?? 0) + 1.772 * ((blue[index] ?? 0) - 128);
  return (index) => luma[index] ?? 0;
}

/** As many pixels as the picture has. */
function fit(frame: Frame, component: Component, samples: Plane): Plane {
  const { width, height } = frame;
  if (component.h === frame.maxH && component.v === frame.maxV && samples.width === width) {
    return { width, height, data: samples.data.subarray(0, width * height) };
  }
  const data = new Uint8Array(width * height);
  for (let y = 0; y < height; y++) {
    const row = Math.floor((y * component.v) / frame.maxV) * samples.width;
    if (component.h === frame.maxH) {
      data.set(samples.data.subarray(row, row + width), y * width);
      continue;
    }
    for (let x = 0; x < width; x++) {
      data[y * width + x] = samples.data[row + Math.floor((x * component.h) / frame.maxH)] ?? 0;
    }
  }
  return { width, height, data };
}
