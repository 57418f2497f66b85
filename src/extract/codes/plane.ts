/**
 * Grey pixels, and what makes a QR code in them easier to see.
 *
 * Pure and linear in the pixels of input and output.
 */

/** One byte a pixel, row by row: 0 black, 255 white. */
export type Plane = { readonly width: number; readonly height: number; readonly data: Uint8Array };

/** Pixels of 1 (grey), 3 (RGB) or 4 (RGBA, alpha not multiplied in) bytes, row by row. */
export type Pixels = {
  readonly width: number;
  readonly height: number;
  readonly channels: 1 | 3 | 4;
  readonly data: Uint8Array;
};

/** Colours that differ at all differ in one of these. */
export type Channel = "luma" | "red" | "blue";

/**
 * One channel of every `step`th pixel of every `step`th row, laid on a background of that grey where it is
 * transparent.
 */
export function planeOf(pixels: Pixels, channel: Channel, background: 0 | 255, step: number): Plane {
  const { channels, data } = pixels;
  if (channels === 1 && step === 1) return { width: pixels.width, height: pixels.height, data };
  const width = Math.floor(pixels.width / step);
  const height = Math.floor(pixels.height / step);
  const grey = new Uint8Array(width * height);
  const next = channels * step;
  for (let y = 0; y < height; y++) {
    const at = y * step * pixels.width * channels;
    const row = grey.subarray(y * width, (y + 1) * width);
    if (channels === 1) takeChannel(data, at, next, row);
    else if (channel === "luma") takeLuma(data, at, next, row);
    else takeChannel(data, channel === "red" ? at : at + 2, next, row);
    if (channels === 4) layOn(background, data, at + 3, next, row);
  }
  return { width, height, data: grey };
}

function takeChannel(data: Uint8Array, start: number, next: number, row: Uint8Array): void {
  for (let x = 0, at = start; x < row.length; x++, at += next) row[x] = data[at] ?? 0;
}

function takeLuma(data: Uint8Array, start: number, next: number, row: Uint8Array): void {
  for (let x = 0, at = start; x < row.length; x++, at += next) {
    row[x] = ((data[at] ?? 0) * 77 + (data[at + 1] ?? 0) * 150 + (data[at + 2] ?? 0) * 29) >> 8;
  }
}

/** `start`: of the alpha values. */
function layOn(background: number, data: Uint8Array, start: number, next: number, row: Uint8Array): void {
  for (let x = 0, at = start; x < row.length; x++, at += next) {
    const alpha = data[at] ?? 0;
    if (alpha !== 255) row[x] = ((row[x] ?? 0) * alpha + background * (255 - alpha)) / 255;
  }
}

export function isTransparent({ width, height, channels, data }: Pixels): boolean {
  if (channels !== 4) return false;
  const end = width * height * 4;
  for (let at = 3; at < end; at += 4) if (data[at] !== 255) return true;
  return false;
}

const COLOUR_MIN = 8;

/** True where some pixels have a colour. */
export function isColoured({ width, height, channels, data }: Pixels): boolean {
  if (channels === 1) return false;
  const end = width * height * channels;
  for (let at = 0; at < end; at += channels) {
    const red = data[at] ?? 0;
    const green = data[at + 1] ?? 0;
    const blue = data[at + 2] ?? 0;
    if (Math.max(red, green, blue) - Math.min(red, green, blue) > COLOUR_MIN) return true;
  }
  return false;
}

/** True where all pixels are the same. */
export function isBlank({ data }: Plane): boolean {
  const first = data[0];
  for (let at = 1; at < data.length; at++) if (data[at] !== first) return false;
  return true;
}

/** The mean of each square of `factor` times `factor` pixels. */
export function shrink(plane: Plane, factor: number): Plane {
  if (factor <= 1) return plane;
  const width = Math.max(1, Math.floor(plane.width / factor));
  const height = Math.max(1, Math.floor(plane.height / factor));
  const sums = new Uint32Array(width);
  const data = new Uint8Array(width * height);
  const area = factor * factor;
  for (let y = 0; y < height; y++) {
    sums.fill(0);
    for (let row = 0; row < factor; row++) {
      let at = (y * factor + row) * plane.width;
      for (let x = 0; x < width; x++) {
        let sum = 0;
        for (let column = 0; column < factor; column++) sum += plane.data[at++] ?? 0;
        sums[x] = (sums[x] ?? 0) + sum;
      }
    }
    for (let x = 0; x < width; x++) data[y * width + x] = (sums[x] ?? 0) / area;
  }
  return { width, height, data };
}

/** Drawn larger, smoothly (bilinear), within a margin of one grey. */
export function enlarge(plane: Plane, factor: number, margin: number, background: number): Plane {
  const inner = plane.width * factor;
  const width = inner + 2 * margin;
  const height = plane.height * factor + 2 * margin;
  const data = new Uint8Array(width * height).fill(background);
  const columns = placesOf(plane.width, factor);
  const rows = placesOf(plane.height, factor);
  /** Two rows of the plane, as wide as they are drawn. */
  let upper = new Float64Array(inner);
  let lower = new Float64Array(inner);
  let upperRow = -1;
  let lowerRow = -1;
  for (let y = 0; y < plane.height * factor; y++) {
    const top = rows.low[y] ?? 0;
    const bottom = rows.high[y] ?? 0;
    const down = rows.share[y] ?? 0;
    if (top === lowerRow) {
      [upper, lower] = [lower, upper];
      [upperRow, lowerRow] = [lowerRow, upperRow];
    }
    if (top !== upperRow) widen(plane, top, columns, upper);
    if (bottom !== lowerRow) widen(plane, bottom, columns, lower);
    upperRow = top;
    lowerRow = bottom;
    let at = (y + margin) * width + margin;
    for (let x = 0; x < inner; x++) {
      data[at++] = (upper[x] ?? 0) * (1 - down) + (lower[x] ?? 0) * down + 0.5;
    }
  }
  return { width, height, data };
}

/** For each pixel of a longer side the two of the shorter one it lies between, and how near it is to the second. */
type Places = { readonly low: Uint32Array; readonly high: Uint32Array; readonly share: Float64Array };

function placesOf(side: number, factor: number): Places {
  const length = side * factor;
  const places = {
    low: new Uint32Array(length),
    high: new Uint32Array(length),
    share: new Float64Array(length),
  };
  for (let index = 0; index < length; index++) {
    const at = Math.min(side - 1, Math.max(0, (index + 0.5) / factor - 0.5));
    const low = Math.floor(at);
    places.low[index] = low;
    places.high[index] = Math.min(side - 1, low + 1);
    places.share[index] = at - low;
  }
  return places;
}

function widen({ width, data }: Plane, row: number, { low, high, share }: Places, out: Float64Array): void {
  const start = row * width;
  for (let x = 0; x < out.length; x++) {
    const along = share[x] ?? 0;
    out[x] = (data[start + (low[x] ?? 0)] ?? 0) * (1 - along) + (data[start + (high[x] ?? 0)] ?? 0) * along;
  }
}

/** The grey most of the outermost pixels have. */
export function edgeGrey({ width, height, data }: Plane): number {
  const counts = new Uint32Array(256);
  const count = (at: number): void => {
    const value = data[at] ?? 0;
    counts[value] = (counts[value] ?? 0) + 1;
  };
  for (let x = 0; x < width; x++) {
    count(x);
    count((height - 1) * width + x);
  }
  for (let y = 0; y < height; y++) {
    count(y * width);
    count(y * width + width - 1);
  }
  return counts.indexOf(Math.max(...counts));
}

/**
 * Black where a pixel is darker than its surroundings, white elsewhere, however small the difference.
 * Surroundings are a square of about a fifth of the image. At most 8,000,000 pixels.
 */
export function sharpen(plane: Plane): Plane {
  const { width, height, data } = plane;
  const reach = Math.max(12, Math.floor(Math.min(width, height) / 10));
  const stride = width + 1;
  // Sums of all pixels above and to the left.
  const sums = new Int32Array(stride * (height + 1));
  for (let y = 0, at = 0, to = stride + 1; y < height; y++, to++) {
    let row = 0;
    for (let x = 0; x < width; x++, to++) {
      row += data[at++] ?? 0;
      sums[to] = (sums[to - stride] ?? 0) + row;
    }
  }
  const result = new Uint8Array(width * height);
  for (let y = 0, at = 0; y < height; y++) {
    const top = Math.max(0, y - reach);
    const bottom = Math.min(height, y + reach + 1);
    const upper = top * stride;
    const lower = bottom * stride;
    for (let x = 0; x < width; x++, at++) {
      const left = x < reach ? 0 : x - reach;
      const right = x + reach >= width ? width : x + reach + 1;
      const sum =
        (sums[lower + right] ?? 0) -
        (sums[upper + right] ?? 0) -
        (sums[lower + left] ?? 0) +
        (sums[upper + left] ?? 0);
      const area = (bottom - top) * (right - left);
      // Half a grey below the mean: flat places are white.
      result[at] = 2 * ((data[at] ?? 0) * area - sum) < -area ? 0 : 255;
    }
  }
  return { width, height, data: result };
}

/**
 * True where a black and white plane shows what the three corners of a QR code show in whatever direction they
 * are crossed: stripes as wide as 1:1:3:1:1 (ISO 18004 6.3.3), black or white, along a row and across it.
 */
export function showsCorners(plane: Plane): boolean {
  const { width, height, data } = plane;
  const runs: Runs = new Uint32Array(5);
  let hits = 0;
  for (let y = 0; y < height; y++) {
    const row = y * width;
    let start = 0;
    runs.fill(0);
    for (let x = 1; x <= width; x++) {
      if (x < width && data[row + x] === data[row + x - 1]) continue;
      runs.copyWithin(0, 1);
      runs[4] = x - start;
      start = x;
      if (!isCorner(runs)) continue;
      const middle = x - (runs[4] ?? 0) - (runs[3] ?? 0) - ((runs[2] ?? 0) >> 1) - 1;
      if (isCornerDown(plane, Math.max(0, middle), y, total(runs)) && ++hits >= CORNER_ROWS) return true;
    }
  }
  return false;
}

/** Three corners, each crossed by three rows at least, some of which may be lost. */
const CORNER_ROWS = 4;

type Runs = Uint32Array;

const total = (runs: Runs): number =>
  (runs[0] ?? 0) + (runs[1] ?? 0) + (runs[2] ?? 0) + (runs[3] ?? 0) + (runs[4] ?? 0);

function isCorner(runs: Runs): boolean {
  const unit = total(runs) / 7;
  if (runs[0] === 0 || unit < 1) return false;
  const slack = unit * 0.7;
  for (let index = 0; index < 5; index++) {
    const wanted = index === 2 ? 3 : 1;
    if (Math.abs((runs[index] ?? 0) - wanted * unit) > wanted * slack) return false;
  }
  return true;
}

/** The same across a row that has shown it. Looks no further than the corner would reach. */
function isCornerDown({ width, height, data }: Plane, x: number, y: number, size: number): boolean {
  const runs: Runs = new Uint32Array(5);
  const colour = data[y * width + x];
  for (const step of [-1, 1]) {
    let at = y + (step < 0 ? 0 : 1);
    for (let run = 2, same = colour, left = size; run >= 0 && run <= 4 && left > 0; left--, at += step) {
      if (at < 0 || at >= height) break;
      if (data[at * width + x] !== same) {
        same = data[at * width + x];
        run += step;
        if (run < 0 || run > 4) break;
      }
      runs[run] = (runs[run] ?? 0) + 1;
    }
  }
  return isCorner(runs);
}

/** Each pixel as a block of `across` times `down` pixels, within a white margin. */
export function magnify(plane: Plane, across: number, down: number, margin: number): Plane {
  const width = plane.width * across + 2 * margin;
  const height = plane.height * down + 2 * margin;
  const data = new Uint8Array(width * height).fill(255);
  for (let y = 0; y < plane.height; y++) {
    const first = (margin + y * down) * width;
    for (let x = 0, at = first + margin; x < plane.width; x++, at += across) {
      data.fill(plane.data[y * plane.width + x] ?? 0, at, at + across);
    }
    for (let copy = 1; copy < down; copy++) data.copyWithin(first + copy * width, first, first + width);
  }
  return { width, height, data };
}
