/**
 * Reads QR codes and their like (Micro QR, rMQR, Data Matrix, Aztec, PDF417) in images.
 *
 * In goes the file of an image, or its pixels; out comes what the codes say. Images that are too small for a
 * code cost nothing, ordinary ones a quick search and a thorough one for QR codes; what makes hidden codes
 * visible (single colours, faint contrast, transparent backgrounds) runs only where the image is of that kind.
 * Nothing here throws for what the bytes are.
 */
import { bmpSize, decodeBmp } from "./bmp.ts";
import { type CodeCollector, type CodeLimits, createCodeCollector, type FoundCodes } from "./found.ts";
import { decodeGif, gifSize } from "./gif.ts";
import { decodeJpeg, jpegSize } from "./jpeg.ts";
import { type Decoded, type Picture, pictureOf, type Size } from "./picture.ts";
import {
  edgeGrey,
  enlarge,
  isBlank,
  type Pixels,
  type Plane,
  sharpen,
  showsCorners,
  shrink,
} from "./plane.ts";
import { decodePng, pngSize } from "./png.ts";
import { decodeWebp, webpSize } from "./webp.ts";
import { type Effort, scanPlane } from "./zxing.ts";

/** The smallest QR code has 21 modules a side. */
const MIN_SIDE = 21;
/** Images up to this side are searched a second time enlarged. */
const SMALL_SIDE = 160;
/** Pixels of one search; larger images are shrunk. */
const SEARCH_PIXELS = 8_000_000;
/** Pixels of a search for what is hardly visible. */
const FAINT_PIXELS = 400_000;
const GIF_FRAMES = 4;

export async function readImageCodes(
  bytes: Uint8Array,
  type: string,
  limits: CodeLimits,
): Promise<FoundCodes> {
  const found = createCodeCollector(limits.codes);
  const kind = kindOf(bytes);
  if (kind === null) {
    if (RASTER.test(type)) found.flag("image_unreadable");
    return found.done();
  }
  const size = SIZES[kind](bytes);
  if (size === null) found.flag("image_unreadable");
  else if (size.width * size.height > limits.pixels) found.flag("image_too_large");
  else if (isLargeEnough(size) || kind === "gif") await searchFile(kind, bytes, limits, found);
  return found.done();
}

export async function readPixelCodes(pixels: Pixels, limits: CodeLimits): Promise<FoundCodes> {
  const found = createCodeCollector(limits.codes);
  const count = pixels.width * pixels.height;
  if (count > limits.pixels) found.flag("image_too_large");
  else if (pixels.data.length < count * pixels.channels) found.flag("image_unreadable");
  else if (isLargeEnough(pixels)) await searchPicture(pictureOf(pixels), limits.codes, found);
  return found.done();
}

type Kind = "png" | "jpeg" | "gif" | "bmp" | "webp";

/** Types that mail programs show, and that are of one of the kinds read here. */
const RASTER = /^image\/(?:png|x-png|apng|jpe?g|pjpeg|gif|webp|bmp|x-ms-bmp)$/;

const SIZES: Readonly<Record<Kind, (bytes: Uint8Array) => Size | null>> = {
  png: pngSize,
  jpeg: jpegSize,
  gif: gifSize,
  bmp: bmpSize,
  webp: webpSize,
};

function kindOf(bytes: Uint8Array): Kind | null {
  const head = String.fromCharCode(...bytes.subarray(0, 16));
  if (head.startsWith("\x89PNG\r\n\x1a\n")) return "png";
  if (head.startsWith("\xff\xd8\xff")) return "jpeg";
  if (/^GIF8[79]a/.test(head)) return "gif";
  if (head.startsWith("RIFF") && head.startsWith("WEBP", 8)) return "webp";
  if (head.startsWith("BM")) return "bmp";
  return null;
}

const isLargeEnough = ({ width, height }: Size): boolean => Math.min(width, height) >= MIN_SIDE;

async function searchFile(
  kind: Kind,
  bytes: Uint8Array,
  limits: CodeLimits,
  found: CodeCollector,
): Promise<void> {
  for (const { picture, damaged } of await decodeFile(kind, bytes, limits.pixels, found)) {
    if (damaged) found.flag("image_damaged");
    if (isLargeEnough(picture)) await searchPicture(picture, limits.codes, found);
  }
}

async function decodeFile(
  kind: Kind,
  bytes: Uint8Array,
  pixels: number,
  found: CodeCollector,
): Promise<readonly Decoded[]> {
  if (kind === "gif") {
    const { frames, more, large } = decodeGif(bytes, GIF_FRAMES, pixels);
    if (more) found.flag("image_frames_exceeded");
    if (large) found.flag("image_too_large");
    if (frames.length === 0 && !large) found.flag("image_unreadable");
    return frames;
  }
  const decoded = await DECODERS[kind](bytes);
  if (decoded !== null) return [decoded];
  found.flag("image_unreadable");
  return [];
}

const DECODERS: Readonly<
  Record<Exclude<Kind, "gif">, (bytes: Uint8Array) => Decoded | null | Promise<Decoded | null>>
> = { png: decodePng, jpeg: decodeJpeg, bmp: decodeBmp, webp: decodeWebp };

async function searchPicture(picture: Picture, max: number, found: CodeCollector): Promise<void> {
  const step = stepTo(picture, FAINT_PIXELS);
  const colours = picture.coloured() ? (["red", "blue"] as const) : [];
  for (const background of picture.transparent ? ([255, 0] as const) : ([255] as const)) {
    const plane = picture.plane("luma", background, 1);
    if (!isBlank(plane)) {
      await searchPlane(plane, max, found);
      await searchFaint(shrink(plane, step), max, found);
    }
    for (const colour of colours) await searchFaint(picture.plane(colour, background, step), max, found);
  }
}

async function searchPlane(plane: Plane, max: number, found: CodeCollector): Promise<void> {
  const whole = shrink(plane, stepTo(plane, SEARCH_PIXELS));
  await search(whole, "quick", max, found);
  await search(whole, "thorough", max, found);
  if (found.count() > 0 || Math.max(plane.width, plane.height) > SMALL_SIDE) return;
  // Codes with modules of about a pixel, and those that fill the image to its edge.
  const edge = edgeGrey(plane);
  for (const background of new Set([edge < 128 ? 0 : 255, 255])) {
    await search(enlarge(plane, 4, 24, background), "thorough", max, found);
  }
}

/** Codes that differ little from their background. */
async function searchFaint(plane: Plane, max: number, found: CodeCollector): Promise<void> {
  if (isBlank(plane)) return;
  const strong = sharpen(plane);
  if (showsCorners(strong)) await search(enlarge(strong, 1, 16, 255), "thorough", max, found);
}

const stepTo = ({ width, height }: Size, pixels: number): number =>
  Math.max(1, Math.ceil(Math.sqrt((width * height) / pixels)));

async function search(plane: Plane, effort: Effort, max: number, found: CodeCollector): Promise<void> {
  const values = await scanPlane(plane, effort, max);
  if (values === null) {
    found.flag("code_reader_failed");
    return;
  }
  for (const value of values) if (!found.add(value)) return;
}
