/**
 * Draws the pages and forms of a PDF for their text, and for the codes that are drawn or shown on them.
 *
 * Each stream is drawn once, with the fonts of the first page that uses it. Images of the first pages come first,
 * codes that are drawn as shapes last.
 */
import type { Shape } from "./content.ts";
import { drawContent } from "./content.ts";
import type { PdfDocument, PdfObject } from "./document.ts";
import type { PdfFlag } from "./flags.ts";
import { createFontBudget, loadFont, type PdfFont } from "./fonts.ts";
import { createImageCollector, type PdfImage } from "./images.ts";
import { joinPieces, MAX_PLACEMENTS, type Placement, touching } from "./mosaic.ts";
import { isDict, isRef, nameOf, type PdfDict, type PdfValue } from "./objects.ts";
import { codeLikelihood, paint } from "./raster.ts";
import type { Survey } from "./survey.ts";

export type Pages = { readonly text: string; readonly images: readonly PdfImage[] };

/** Bytes of content that are drawn, and characters that come out. */
const MAX_CONTENT = 16 * 1024 * 1024;
const MAX_TEXT = 4 * 1024 * 1024;
const MAX_PARENTS = 16;
const MAX_STREAMS = 10_000;
/** Shapes of one page, and points in them. */
const MAX_SHAPES = 40_000;
const MAX_POINTS = 400_000;
const MAX_PAINTED = 4;
/** Pages with images side by side, and groups of such images, that are put together. */
const MAX_PIECED = 8;

type Drawing = { readonly shapes: readonly Shape[]; readonly likelihood: number };

export function drawPages(document: PdfDocument, survey: Survey, flag: (name: PdfFlag) => void): Pages {
  const images = createImageCollector(document, flag);
  const known = new Set(survey.images);
  /** Lists of images and contents that pages share are gone through once. */
  const lists = new Set<PdfValue>();
  for (const page of survey.pages) {
    for (const object of imagesOf(document, page, lists)) if (known.has(object)) images.stream(object);
  }
  for (const object of survey.images) if (!images.stream(object)) break;

  const fonts = new Map<PdfDict, PdfFont | null>();
  const budget = createFontBudget();
  const fontIn = (resources: PdfDict | null) => {
    const listed = resources === null ? null : document.get(resources, "Font");
    return (name: string): PdfFont | null => {
      const own = isDict(listed) ? document.get(listed, name) : null;
      const dict = isDict(own) ? own : survey.fonts.get(name);
      if (dict === undefined) return null;
      const loaded = fonts.get(dict);
      if (loaded !== undefined) return loaded;
      const font = loadFont(document, dict, budget);
      fonts.set(dict, font);
      return font;
    };
  };

  const written: string[] = [];
  let length = 0;
  const write = (text: string): void => {
    if (length >= MAX_TEXT) flag("pdf_text_exceeded");
    else written.push(text);
    length += text.length;
  };
  let drawings: Drawing[] = [];
  const pieces: Placement[][] = [];
  let left = MAX_CONTENT;
  const draw = (bytes: Buffer, resources: PdfDict | null): void => {
    const shapes: Shape[] = [];
    let points = 0;
    const placements: Placement[] = [];
    const imageNamed = imageIn(document, resources);
    drawContent(bytes, {
      font: fontIn(resources),
      text: write,
      image: images.inline,
      place: (name, matrix) => {
        const object = placements.length < MAX_PLACEMENTS ? imageNamed(name) : null;
        if (object !== null && known.has(object)) placements.push({ object, matrix });
      },
      shape: (shape) => {
        for (const ring of shape.rings) points += ring.length;
        if (points <= MAX_POINTS && shapes.length < MAX_SHAPES) {
          shapes.push(shape);
          return true;
        }
        flag("pdf_images_exceeded");
        return false;
      },
    });
    write("\n");
    if (placements.length > 1 && pieces.length < MAX_PIECED) pieces.push(placements);
    const likelihood = codeLikelihood(shapes);
    if (likelihood === 0) return;
    drawings.push({ shapes, likelihood });
    drawings.sort((one, other) => other.likelihood - one.likelihood);
    drawings = drawings.slice(0, MAX_PAINTED);
  };
  const drawn = new Set<PdfObject>();
  /** The content of streams that were not drawn before, null where no more is drawn. */
  const take = (streams: readonly PdfObject[]): Buffer | null => {
    const contents: Buffer[] = [];
    for (const object of streams) {
      if (drawn.has(object)) continue;
      drawn.add(object);
      if (left <= 0 || drawn.size > MAX_STREAMS) {
        flag("pdf_text_exceeded");
        return null;
      }
      const content = document.content(object, left);
      if (content === null || content.imageFilter !== null) continue;
      if (document.locked && content.end === "broken") continue;
      if (content.end === "cut") flag("pdf_text_exceeded");
      left -= content.bytes.length;
      contents.push(content.bytes, NEW_LINE);
    }
    return Buffer.concat(contents);
  };
  for (const page of survey.pages) {
    const bytes = take(streamsOf(document, page.entries.get("Contents"), lists));
    if (bytes === null) break;
    if (bytes.length > 0) draw(bytes, resourcesOf(document, page));
  }
  for (const form of survey.forms) {
    const bytes = take([form]);
    if (bytes === null) break;
    if (bytes.length > 0 && isDict(form.value)) draw(bytes, resourcesOf(document, form.value));
  }
  for (const group of pieces.flatMap(touching).slice(0, MAX_PIECED)) {
    const joined = joinPieces(group, images.decode);
    if (joined !== null && !images.pixels(joined.width, joined.height, joined.data)) break;
  }
  for (const { shapes } of drawings) {
    const raster = paint(shapes);
    if (raster !== null && !images.pixels(raster.width, raster.height, raster.data)) break;
  }
  return { text: written.join(""), images: images.done() };
}

const NEW_LINE = Buffer.from("\n");

/** Resources may stand with the pages above. */
function resourcesOf(document: PdfDocument, page: PdfDict): PdfDict | null {
  let holder: PdfValue = page;
  for (let steps = 0; steps < MAX_PARENTS && isDict(holder); steps++) {
    const resources = document.get(holder, "Resources");
    if (isDict(resources)) return resources;
    holder = document.get(holder, "Parent");
  }
  return null;
}

function streamsOf(
  document: PdfDocument,
  contents: PdfValue | undefined,
  seen: Set<PdfValue>,
): readonly PdfObject[] {
  const resolved = isRef(contents) ? document.versions(contents) : [];
  const lists = [contents, ...resolved.map(({ value }) => value)];
  const streams = resolved.filter(({ stream }) => stream !== null);
  for (const list of lists) {
    if (typeof list !== "object" || list?.kind !== "array" || seen.has(list)) continue;
    seen.add(list);
    for (const item of list.items.slice(0, MAX_STREAMS)) {
      if (isRef(item)) streams.push(...document.versions(item).filter(({ stream }) => stream !== null));
    }
  }
  return streams;
}

function imageIn(document: PdfDocument, resources: PdfDict | null): (name: string) => PdfObject | null {
  const objects = resources === null ? null : document.get(resources, "XObject");
  return (name) => {
    const value = isDict(objects) ? objects.entries.get(name) : undefined;
    const [object] = isRef(value) ? document.versions(value) : [];
    return object ?? null;
  };
}

function imagesOf(document: PdfDocument, page: PdfDict, seen: Set<PdfValue>): readonly PdfObject[] {
  const resources = resourcesOf(document, page);
  const objects = resources === null ? null : document.get(resources, "XObject");
  if (!isDict(objects) || seen.has(objects)) return [];
  seen.add(objects);
  return [...objects.entries.values()].flatMap((value) =>
    isRef(value) ? document.versions(value).filter((object) => isImage(document, object)) : [],
  );
}

function isImage(document: PdfDocument, { value }: PdfObject): boolean {
  return isDict(value) && nameOf(document.get(value, "Subtype")) === "Image";
}
