/**
 * Paints the filled shapes of a page where many small ones are close together, as in codes that are drawn.
 *
 * What comes out is grey, at a few pixels for the width of what the shapes are made of. Work is bounded by the
 * pixels painted; shapes after that are left out.
 */
import type { Shape } from "./content.ts";

export type Raster = { readonly width: number; readonly height: number; readonly data: Uint8Array };

const MIN_POINTS = 200;
const MAX_SIDE = 1400;
const MODULE_PIXELS = 4;
const MARGIN_MODULES = 5;
/** What is longer than this many modules is background. */
const MAX_MODULES = 60;
const MAX_PAINTED = 24_000_000;

type Box = { x0: number; y0: number; x1: number; y1: number };

/** Small shapes with level sides: the more, the likelier a code. 0 where there is none. */
export function codeLikelihood(shapes: readonly Shape[]): number {
  let points = 0;
  let level = 0;
  for (const { rings } of shapes) {
    for (const ring of rings) {
      points += ring.length / 2;
      if (ring.length >= 8 && isLevel(ring)) level += ring.length / 8;
    }
  }
  return points < MIN_POINTS ? 0 : 1 + level;
}

function isLevel(ring: readonly number[]): boolean {
  for (let at = 2; at < Math.min(ring.length, 12); at += 2) {
    const dx = Math.abs((ring[at] ?? 0) - (ring[at - 2] ?? 0));
    const dy = Math.abs((ring[at + 1] ?? 0) - (ring[at - 1] ?? 0));
    if (Math.min(dx, dy) > 0.02 * Math.max(dx, dy)) return false;
  }
  return true;
}

/** Null where there is nothing to be painted. */
export function paint(shapes: readonly Shape[]): Raster | null {
  const boxes = shapes.flatMap(({ rings }) => rings.map(boxOf)).filter((box) => box !== null);
  const sides = boxes
    .map(({ x0, y0, x1, y1 }) => Math.min(x1 - x0, y1 - y0))
    .filter((side) => side > 0)
    .sort((one, other) => one - other);
  const module = sides[sides.length >> 1];
  if (module === undefined) return null;
  const area = { x0: Infinity, y0: Infinity, x1: -Infinity, y1: -Infinity };
  for (const box of boxes) {
    if (Math.max(box.x1 - box.x0, box.y1 - box.y0) > MAX_MODULES * module) continue;
    area.x0 = Math.min(area.x0, box.x0);
    area.y0 = Math.min(area.y0, box.y0);
    area.x1 = Math.max(area.x1, box.x1);
    area.y1 = Math.max(area.y1, box.y1);
  }
  const margin = MARGIN_MODULES * module;
  const spread = Math.max(area.x1 - area.x0, area.y1 - area.y0) + 2 * margin;
  if (!(spread > 0 && spread < Infinity)) return null;
  const scale = Math.min(MODULE_PIXELS / module, MAX_SIDE / spread);
  const width = Math.ceil((area.x1 - area.x0 + 2 * margin) * scale);
  const height = Math.ceil((area.y1 - area.y0 + 2 * margin) * scale);
  const data = new Uint8Array(width * height).fill(255);
  const painter = { width, height, data, left: MAX_PAINTED };
  for (const { rings, grey } of shapes) {
    const value = Math.max(0, Math.min(255, Math.round(grey)));
    const placed = rings.map((ring) =>
      ring.map((at, index) =>
        // Pages are drawn from the bottom up.
        index % 2 === 0 ? (at - area.x0 + margin) * scale : (area.y1 + margin - at) * scale,
      ),
    );
    fillRings(placed, value, painter);
    if (painter.left <= 0) break;
  }
  return { width, height, data };
}

function boxOf(ring: readonly number[]): Box | null {
  const box = { x0: Infinity, y0: Infinity, x1: -Infinity, y1: -Infinity };
  for (let at = 0; at + 1 < ring.length; at += 2) {
    const x = ring[at] ?? 0;
    const y = ring[at + 1] ?? 0;
    if (x < box.x0) box.x0 = x;
    if (x > box.x1) box.x1 = x;
    if (y < box.y0) box.y0 = y;
    if (y > box.y1) box.y1 = y;
  }
  return Number.isFinite(box.x1 - box.x0 + box.y1 - box.y0) ? box : null;
}

type Painter = { readonly width: number; readonly height: number; readonly data: Uint8Array; left: number };
type Crossing = { readonly x: number; readonly turn: 1 | -1 };

/** A pixel is filled where the rings wind around its middle. */
function fillRings(rings: readonly (readonly number[])[], value: number, painter: Painter): void {
  const { width, height, data } = painter;
  const rows = new Map<number, Crossing[]>();
  for (const ring of rings) {
    for (let at = 0; at + 1 < ring.length; at += 2) {
      const next = at + 3 < ring.length ? at + 2 : 0;
      const x0 = ring[at] ?? 0;
      const y0 = ring[at + 1] ?? 0;
      const x1 = ring[next] ?? 0;
      const y1 = ring[next + 1] ?? 0;
      const from = Math.max(0, Math.ceil(Math.min(y0, y1) - 0.5));
      const to = Math.min(height, Math.ceil(Math.max(y0, y1) - 0.5));
      // The cost of an edge is that of the rows it crosses.
      painter.left -= 1 + Math.max(0, to - from) * 4;
      if (painter.left <= 0) return;
      for (let row = from; row < to; row++) {
        const x = x0 + ((row + 0.5 - y0) / (y1 - y0)) * (x1 - x0);
        const crossing: Crossing = { x, turn: y1 > y0 ? 1 : -1 };
        const known = rows.get(row);
        if (known === undefined) rows.set(row, [crossing]);
        else known.push(crossing);
      }
    }
  }
  for (const [row, crossings] of rows) {
    crossings.sort((one, other) => one.x - other.x);
    let winding = 0;
    for (const [index, { x, turn }] of crossings.entries()) {
      winding += turn;
      const next = crossings[index + 1];
      if (winding === 0 || next === undefined) continue;
      const from = Math.max(0, Math.ceil(x - 0.5));
      const to = Math.min(width, Math.ceil(next.x - 0.5));
      if (to <= from) continue;
      painter.left -= (to - from) / 8;
      data.fill(value, row * width + from, row * width + to);
    }
  }
}
