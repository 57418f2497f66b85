/**
 * Puts images together that stand side by side on a page: codes are cut into pieces to hide them, and some programs
 * cut every image into strips.
 */
import type { PdfObject } from "./document.ts";
import type { PixelImage } from "./images.ts";
import type { Raster } from "./raster.ts";

/** A, b, c, d, e and f of a transformation, as in ISO 32000-1, 8.3.3. */
export type Matrix = readonly [number, number, number, number, number, number];

export type Placement = { readonly object: PdfObject; readonly matrix: Matrix };

/** Images on one page; each is compared with each. */
export const MAX_PLACEMENTS = 200;
const MAX_SIDE = 2000;
/** Of the smaller side of an image, by which pieces may stand apart. */
const GAP = 0.1;

type Piece = {
  readonly object: PdfObject;
  readonly left: number;
  readonly right: number;
  readonly bottom: number;
  readonly top: number;
  readonly mirrored: boolean;
  readonly upsideDown: boolean;
};

/** Groups of at least two images that stand upright and touch. */
export function touching(placements: readonly Placement[]): readonly (readonly Piece[])[] {
  const pieces = placements.slice(0, MAX_PLACEMENTS).flatMap(pieceOf);
  const groups: Piece[][] = [];
  const free = new Set(pieces);
  for (const first of pieces) {
    if (!free.delete(first)) continue;
    const group = [first];
    for (let index = 0; index < group.length; index++) {
      const member = group[index];
      if (member === undefined) break;
      for (const other of free) {
        if (!touch(member, other)) continue;
        free.delete(other);
        group.push(other);
      }
    }
    if (group.length > 1) groups.push(group);
  }
  return groups;
}

function pieceOf({ object, matrix: [a, b, c, d, e, f] }: Placement): Piece[] {
  const slant = Math.max(Math.abs(b), Math.abs(c));
  if (!(slant <= 0.01 * Math.min(Math.abs(a), Math.abs(d)))) return [];
  if (!Number.isFinite(a + d + e + f) || a === 0 || d === 0) return [];
  return [
    {
      object,
      left: Math.min(e, e + a),
      right: Math.max(e, e + a),
      bottom: Math.min(f, f + d),
      top: Math.max(f, f + d),
      mirrored: a < 0,
      upsideDown: d < 0,
    },
  ];
}

const thin = ({ left, right, bottom, top }: Piece): number => Math.min(right - left, top - bottom);

function touch(one: Piece, other: Piece): boolean {
  const gap = GAP * Math.min(thin(one), thin(other));
  return (
    one.left <= other.right + gap &&
    other.left <= one.right + gap &&
    one.bottom <= other.top + gap &&
    other.bottom <= one.top + gap
  );
}

/** The pieces in grey, at the size of the finest of them. Null where they are too few or cannot be read. */
export function joinPieces(
  pieces: readonly Piece[],
  decode: (object: PdfObject) => PixelImage | null,
): Raster | null {
  const images = pieces.flatMap((piece) => {
    const image = decode(piece.object);
    return image === null ? [] : [{ piece, image }];
  });
  if (images.length < 2) return null;
  let left = Infinity;
  let right = -Infinity;
  let bottom = Infinity;
  let top = -Infinity;
  let scale = 0;
  for (const { piece, image } of images) {
    left = Math.min(left, piece.left);
    right = Math.max(right, piece.right);
    bottom = Math.min(bottom, piece.bottom);
    top = Math.max(top, piece.top);
    scale = Math.max(
      scale,
      image.width / (piece.right - piece.left),
      image.height / (piece.top - piece.bottom),
    );
  }
  const spread = Math.max(right - left, top - bottom);
  scale = Math.min(scale, MAX_SIDE / spread);
  const width = Math.max(1, Math.round((right - left) * scale));
  const height = Math.max(1, Math.round((top - bottom) * scale));
  if (!(spread > 0) || !Number.isSafeInteger(width * height)) return null;
  const data = new Uint8Array(width * height).fill(255);
  let unpainted = width * height * 4;
  for (const { piece, image } of images) {
    const x0 = Math.max(0, Math.round((piece.left - left) * scale));
    const x1 = Math.min(width, Math.round((piece.right - left) * scale));
    const y0 = Math.max(0, Math.round((top - piece.top) * scale));
    const y1 = Math.min(height, Math.round((top - piece.bottom) * scale));
    // Pieces that lie on each other would cost more than what they show.
    unpainted -= (x1 - x0) * (y1 - y0);
    if (unpainted < 0) break;
    for (let y = y0; y < y1; y++) {
      const down = (y + 0.5 - y0) / (y1 - y0);
      const row = Math.floor((piece.upsideDown ? 1 - down : down) * image.height) * image.width;
      for (let x = x0; x < x1; x++) {
        const along = (x + 0.5 - x0) / (x1 - x0);
        const column = Math.floor((piece.mirrored ? 1 - along : along) * image.width);
        data[y * width + x] = greyAt(image, row + column);
      }
    }
  }
  return { width, height, data };
}

function greyAt({ channels, data }: PixelImage, pixel: number): number {
  const at = pixel * channels;
  if (channels === 1) return data[at] ?? 0;
  return ((data[at] ?? 0) * 77 + (data[at + 1] ?? 0) * 150 + (data[at + 2] ?? 0) * 29) >> 8;
}
