/**
 * Codes that are drawn with something else than an image, given as one grey value for each cell drawn.
 */
import type { CodeCollector } from "./found.ts";
import { magnify, type Plane } from "./plane.ts";
import { scanPlane } from "./zxing.ts";

/** Drawings of one text that are looked at. */
export const MAX_DRAWINGS = 16;
/** Cells of a drawing in each direction: the largest QR code has 177 modules, of a few cells each. */
export const MAX_CELLS = 800;
/** The fewest rows of a drawing: those of a Micro QR code. */
export const MIN_ROWS = 11;
const SEARCH_PIXELS = 600_000;

/** `heights`: how many times as high as wide a cell may be shown. */
export async function searchDrawing(
  cells: Plane,
  heights: readonly number[],
  max: number,
  found: CodeCollector,
): Promise<void> {
  const plane = spread(cells);
  if (plane === null) return;
  for (const height of heights) {
    const pixels = plane.width * plane.height * height;
    const scale = Math.max(1, Math.min(3, Math.floor(Math.sqrt(SEARCH_PIXELS / pixels))));
    const image = magnify(plane, scale, scale * height, 8 * scale);
    for (const effort of ["thorough", "quick"] as const) {
      const values = await scanPlane(image, effort, max);
      if (values === null) {
        found.flag("code_reader_failed");
        continue;
      }
      if (values.length === 0) continue;
      found.flag("code_drawing");
      for (const value of values) if (!found.add(value)) return;
      break;
    }
  }
}

/** The darkest grey made black and the lightest white; null where all are the same. */
function spread(plane: Plane): Plane | null {
  let low = 255;
  let high = 0;
  for (const grey of plane.data) {
    if (grey < low) low = grey;
    if (grey > high) high = grey;
  }
  if (low >= high) return null;
  return { ...plane, data: plane.data.map((grey) => ((grey - low) * 255) / (high - low)) };
}
