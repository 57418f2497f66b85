/**
 * Images in a PDF, for those who look for codes in them: as the file that a stream is, or as pixels of 8 bits.
 *
 * What is too small for a code, or of one colour, is none; what is too large comes at a smaller size. Colours are
 * taken as they are written, without profiles.
 */

import type { PdfDocument, PdfObject, StreamContent } from "./document.ts";
import { decodeFax } from "./fax.ts";
import type { PdfFlag } from "./flags.ts";
import { isDict, isRef, listOf, nameOf, type PdfDict, type PdfValue } from "./objects.ts";

export type PixelImage = {
  readonly kind: "pixels";
  readonly width: number;
  readonly height: number;
  readonly channels: 1 | 3 | 4;
  readonly data: Uint8Array;
};

export type PdfImage =
  | { readonly kind: "file"; readonly type: "image/jpeg" | "image/jp2"; readonly bytes: Uint8Array }
  | PixelImage;

export type ImageCollector = {
  /** False where a bound is reached. */
  readonly stream: (object: PdfObject) => boolean;
  /** An image within a page. */
  readonly inline: (dict: PdfDict, raw: Buffer) => boolean;
  readonly pixels: (width: number, height: number, data: Uint8Array) => boolean;
  /** The pixels of an image of any size, not collected; null where there are none, or where a bound is reached. */
  readonly decode: (object: PdfObject) => PixelImage | null;
  readonly done: () => readonly PdfImage[];
};

const MAX_IMAGES = 40;
const MAX_PIXELS = 40_000_000;
/** Pixels of one image that are given; larger ones lose rows and columns. */
const MAX_GIVEN = 6_000_000;
/** The smallest code has 21 modules a side, and even those of one pixel are found. */
const MIN_SIDE = 21;
const MAX_SIDE = 32_768;
const MAX_FAX = 100_000_000;
/** Images that are looked at, and their pixels; of one colour as most are, they are not given. */
const MAX_LOOKS = 400;
const MAX_LOOKED_AT = 160_000_000;

export function createImageCollector(document: PdfDocument, flag: (name: PdfFlag) => void): ImageCollector {
  const images: PdfImage[] = [];
  const seen = new Set<PdfObject>();
  let pixels = MAX_PIXELS;
  let looks = MAX_LOOKS;
  let lookedAt = MAX_LOOKED_AT;
  const open = (size: Size): boolean => {
    const count = size.width * size.height;
    lookedAt -= count;
    if (images.length >= MAX_IMAGES || looks-- <= 0 || lookedAt < 0 || Math.min(count, MAX_GIVEN) > pixels) {
      flag("pdf_images_exceeded");
      return false;
    }
    return true;
  };
  const add = (dict: PdfDict, size: Size, content: StreamContent): void => {
    const image = imageOf(document, dict, size, content);
    if (image === null || (image.kind === "pixels" && image.height < MIN_SIDE)) {
      if (!document.locked) flag("pdf_image_unreadable");
      return;
    }
    if (image.kind === "pixels") {
      if (isBlank(image.data)) return;
      pixels -= image.width * image.height;
    } else {
      pixels -= Math.min(size.width * size.height, MAX_GIVEN);
    }
    images.push(image);
  };
  return {
    stream: (object) => {
      if (seen.has(object) || !isDict(object.value)) return true;
      seen.add(object);
      const size = sizeOf(document, object.value, MIN_SIDE);
      if (size === null) return true;
      if (!open(size)) return false;
      const content = document.content(object, unpackedSize(document, object.value, size));
      if (content !== null) add(object.value, size, content);
      return true;
    },
    inline: (dict, raw) => {
      const size = sizeOf(document, dict, MIN_SIDE);
      if (size === null) return true;
      if (!open(size)) return false;
      add(dict, size, document.unfilter(dict, raw, unpackedSize(document, dict, size)));
      return true;
    },
    pixels: (width, height, data) => {
      if (images.length >= MAX_IMAGES || width * height > pixels) {
        flag("pdf_images_exceeded");
        return false;
      }
      pixels -= width * height;
      images.push({ kind: "pixels", width, height, channels: 1, data });
      return true;
    },
    decode: (object) => {
      const size = isDict(object.value) ? sizeOf(document, object.value, 1) : null;
      if (size === null || !isDict(object.value) || !open(size)) return null;
      const content = document.content(object, unpackedSize(document, object.value, size));
      const image = content === null ? null : imageOf(document, object.value, size, content);
      return image?.kind === "pixels" ? image : null;
    },
    done: () => images,
  };
}

type Size = { readonly width: number; readonly height: number };

/** Null where a side is smaller than `least`, or where there is no size at all. */
function sizeOf(document: PdfDocument, dict: PdfDict, least: number): Size | null {
  const width = document.get(dict, "Width", "W");
  const height = document.get(dict, "Height", "H");
  if (typeof width !== "number" || typeof height !== "number") return null;
  const whole = Number.isInteger(width) && Number.isInteger(height);
  if (!whole || Math.min(width, height) < least || Math.max(width, height) > MAX_SIDE) return null;
  return { width, height };
}

function bitsOf(document: PdfDocument, dict: PdfDict): number {
  if (document.get(dict, "ImageMask", "IM") === true) return 1;
  const bits = document.get(dict, "BitsPerComponent", "BPC");
  return typeof bits === "number" && [1, 2, 4, 8, 16].includes(bits) ? bits : 8;
}

/** The most bytes an image can use; with the bytes that a predictor adds to each row. */
function unpackedSize(document: PdfDocument, dict: PdfDict, { width, height }: Size): number {
  return (Math.ceil((width * bitsOf(document, dict) * 4) / 8) + 1) * height + 1024;
}

function imageOf(document: PdfDocument, dict: PdfDict, size: Size, content: StreamContent): PdfImage | null {
  const filter = content.imageFilter;
  if (filter === null) return pixelsOf(document, dict, size, content.bytes, bitsOf(document, dict));
  switch (filter.name) {
    case "DCTDecode":
    case "DCT": {
      const start = content.bytes.subarray(0, 1024).indexOf("\xff\xd8\xff", 0, "latin1");
      return start < 0 ? null : { kind: "file", type: "image/jpeg", bytes: content.bytes.subarray(start) };
    }
    case "JPXDecode":
      return { kind: "file", type: "image/jp2", bytes: content.bytes };
    case "CCITTFaxDecode":
    case "CCF":
      return faxOf(document, dict, size, content.bytes, filter.parameters);
    default:
      return null;
  }
}

function faxOf(
  document: PdfDocument,
  dict: PdfDict,
  size: Size,
  bytes: Buffer,
  parameters: PdfDict | null,
): PdfImage | null {
  const number = (key: string, otherwise: number): number => {
    const value = parameters === null ? null : document.get(parameters, key);
    return typeof value === "number" ? value : otherwise;
  };
  const boolean = (key: string): boolean => parameters !== null && document.get(parameters, key) === true;
  const columns = number("Columns", 1728);
  if (!Number.isInteger(columns) || columns < 1 || columns > MAX_SIDE || columns * size.height > MAX_FAX)
    return null;
  const rows = decodeFax(bytes, {
    k: number("K", 0),
    columns,
    rows: size.height,
    byteAlign: boolean("EncodedByteAlign"),
    blackIsOne: boolean("BlackIs1"),
  });
  return pixelsOf(document, dict, { width: columns, height: size.height }, rows, 1);
}

// ---- pixels

/** What the components of a colour mean; an index has a palette of grey or RGB. */
type Colours =
  | { readonly kind: "grey" | "rgb" | "cmyk" | "lab"; readonly components: number }
  | { readonly kind: "tint"; readonly components: number }
  | {
      readonly kind: "index";
      readonly components: 1;
      readonly palette: Uint8Array;
      readonly channels: 1 | 3;
    };

const GREY: Colours = { kind: "grey", components: 1 };
const RGB: Colours = { kind: "rgb", components: 3 };
const CMYK: Colours = { kind: "cmyk", components: 4 };

function coloursOf(document: PdfDocument, value: PdfValue, depth: number): Colours | null {
  const { resolve } = document;
  const [first, second, third] = listOf(resolve, value);
  switch (nameOf(first)) {
    case "DeviceGray":
    case "CalGray":
    case "G":
      return GREY;
    case "DeviceRGB":
    case "CalRGB":
    case "RGB":
      return RGB;
    case "DeviceCMYK":
    case "CMYK":
      return CMYK;
    case "Lab":
      return { kind: "lab", components: 3 };
    case "ICCBased": {
      const count = isDict(second) ? document.get(second, "N") : null;
      return count === 1 ? GREY : count === 3 ? RGB : count === 4 ? CMYK : null;
    }
    case "Separation":
      return { kind: "tint", components: 1 };
    case "DeviceN":
      return { kind: "tint", components: Math.min(32, listOf(resolve, second).length) };
    case "Indexed":
    case "I": {
      const base = depth > 0 ? null : coloursOf(document, second ?? null, depth + 1);
      const list = resolve(value);
      const table = typeof list === "object" && list?.kind === "array" ? list.items[3] : undefined;
      return paletteOf(document, base ?? RGB, third, table);
    }
    default:
      return null;
  }
}

function paletteOf(
  document: PdfDocument,
  base: Colours,
  last: PdfValue | undefined,
  table: PdfValue | undefined,
): Colours {
  const count = Math.min(256, (typeof last === "number" && last >= 0 ? last : 255) + 1);
  let bytes: Uint8Array = new Uint8Array(0);
  const text = document.resolve(table);
  const [holder] = isRef(table) ? document.versions(table) : [];
  if (typeof text === "object" && text?.kind === "string") bytes = text.bytes;
  else if (holder !== undefined) bytes = document.content(holder, 4096)?.bytes ?? bytes;
  const padded = new Uint8Array(count * base.components);
  padded.set(bytes.subarray(0, padded.length));
  const channels = base.kind === "rgb" || base.kind === "cmyk" ? 3 : 1;
  const palette = new Uint8Array(256 * channels);
  const put = writer(base, palette);
  for (let index = 0; index < count; index++) put(padded, index * base.components, index * channels);
  return { kind: "index", components: 1, palette, channels };
}

function pixelsOf(
  document: PdfDocument,
  dict: PdfDict,
  { width, height }: Size,
  bytes: Buffer,
  bits: number,
): PdfImage | null {
  const mask = document.get(dict, "ImageMask", "IM") === true;
  const written = document.get(dict, "ColorSpace", "CS");
  const colours = mask
    ? GREY
    : (coloursOf(document, written, 0) ?? coloursBySize(bytes, width, height, bits));
  const row = Math.ceil((width * colours.components * bits) / 8);
  const rows = Math.min(height, Math.floor(bytes.length / row));
  if (rows < 1) return null;
  const step = Math.max(1, Math.ceil(Math.sqrt((width * rows) / MAX_GIVEN)));
  const channels =
    colours.kind === "index" ? colours.channels : colours.kind === "rgb" || colours.kind === "cmyk" ? 3 : 1;
  const inverted = isInverted(document, dict);
  const size = { width: Math.floor(width / step), height: Math.floor(rows / step) };
  const asIs = bits === 8 && step === 1 && !inverted && (colours.kind === "grey" || colours.kind === "rgb");
  if (asIs) return { kind: "pixels", ...size, channels, data: bytes.subarray(0, row * rows) };
  const data = new Uint8Array(size.width * size.height * channels);
  if (colours.components === 1) {
    const table = tableOf(colours, bits, inverted);
    expand(bytes, { ...size, row, bits, step }, table, data);
    return { kind: "pixels", ...size, channels, data };
  }
  const put = writer(colours, data);
  const samples = new Uint8Array(width * colours.components);
  let to = 0;
  for (let y = 0; y < size.height; y++) {
    unpackRow(bytes.subarray(y * step * row, y * step * row + row), bits, samples);
    if (inverted) for (let at = 0; at < samples.length; at++) samples[at] = 255 - (samples[at] ?? 0);
    for (let x = 0; x < size.width; x++, to += channels) put(samples, x * step * colours.components, to);
  }
  return { kind: "pixels", ...size, channels, data };
}

/** What each value of one component looks like, in one or three bytes. */
function tableOf(colours: Colours, bits: number, inverted: boolean): Uint8Array {
  const most = bits >= 8 ? 255 : (1 << bits) - 1;
  const channels = colours.kind === "index" ? colours.channels : 1;
  const table = new Uint8Array(256 * channels);
  const put = writer(colours, table);
  for (let value = 0; value <= most; value++) {
    const sample = inverted ? most - value : value;
    put(Uint8Array.of(colours.kind === "index" ? sample : (sample * 255) / most), 0, value * channels);
  }
  return table;
}

type Layout = Size & { readonly row: number; readonly bits: number; readonly step: number };

/** Each `step`th pixel of one component of each `step`th row, by a table. */
function expand(
  bytes: Uint8Array,
  { width, height, row, bits, step }: Layout,
  table: Uint8Array,
  data: Uint8Array,
): void {
  const mask = bits >= 8 ? 255 : (1 << bits) - 1;
  // Of 16 bits the first eight are enough.
  const top = Math.max(0, 8 - bits);
  const coloured = table.length > 256;
  let to = 0;
  for (let y = 0; y < height; y++) {
    const start = y * step * row;
    let position = 0;
    for (let x = 0; x < width; x++, position += bits * step) {
      const value = ((bytes[start + (position >> 3)] ?? 0) >> (top - (position & 7))) & mask;
      if (coloured) {
        data[to++] = table[value * 3] ?? 0;
        data[to++] = table[value * 3 + 1] ?? 0;
        data[to++] = table[value * 3 + 2] ?? 0;
      } else {
        data[to++] = table[value] ?? 0;
      }
    }
  }
}

function isInverted(document: PdfDocument, dict: PdfDict): boolean {
  const [low, high] = listOf(document.resolve, document.get(dict, "Decode", "D"));
  return typeof low === "number" && typeof high === "number" && low > high;
}

/** Of a colour space that is not known, the one that the size of the data speaks for. */
function coloursBySize(bytes: Buffer, width: number, height: number, bits: number): Colours {
  const components = Math.round((bytes.length * 8) / (width * height * bits));
  return components >= 4 ? CMYK : components === 3 ? RGB : GREY;
}

function unpackRow(row: Uint8Array, bits: number, samples: Uint8Array): void {
  if (bits === 8) {
    samples.set(row.subarray(0, samples.length));
    return;
  }
  if (bits === 16) {
    for (let at = 0; at < samples.length; at++) samples[at] = row[at * 2] ?? 0;
    return;
  }
  const mask = (1 << bits) - 1;
  const scale = 255 / mask;
  for (let at = 0, position = 0; at < samples.length; at++, position += bits) {
    samples[at] = (((row[position >> 3] ?? 0) >> (8 - bits - (position & 7))) & mask) * scale;
  }
}

/** Writes the colour of the samples at a place to a place of the data. */
function writer(colours: Colours, data: Uint8Array): (samples: Uint8Array, from: number, to: number) => void {
  switch (colours.kind) {
    case "grey":
    case "lab":
      return (samples, from, to) => {
        data[to] = samples[from] ?? 0;
      };
    case "rgb":
      return (samples, from, to) => {
        data[to] = samples[from] ?? 0;
        data[to + 1] = samples[from + 1] ?? 0;
        data[to + 2] = samples[from + 2] ?? 0;
      };
    case "cmyk":
      return (samples, from, to) => {
        const light = 255 - (samples[from + 3] ?? 0);
        for (let part = 0; part < 3; part++)
          data[to + part] = ((255 - (samples[from + part] ?? 0)) * light) / 255;
      };
    case "tint":
      return (samples, from, to) => {
        let most = 0;
        for (let part = 0; part < colours.components; part++)
          most = Math.max(most, samples[from + part] ?? 0);
        data[to] = 255 - most;
      };
    case "index":
      return (samples, from, to) => {
        const at = (samples[from] ?? 0) * colours.channels;
        for (let part = 0; part < colours.channels; part++) data[to + part] = colours.palette[at + part] ?? 0;
      };
  }
}

/** All bytes are the same where each is like the one before it. */
function isBlank(data: Uint8Array): boolean {
  return Buffer.compare(data.subarray(1), data.subarray(0, Math.max(0, data.length - 1))) === 0;
}
