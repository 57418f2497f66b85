/**
 * Pixels as a decoder gives them, and the size a file says it has.
 */
import { type Channel, isColoured, isTransparent, type Pixels, type Plane, planeOf } from "./plane.ts";

export type Size = { readonly width: number; readonly height: number };

export type Picture = Size & {
  /** Its planes depend on the background. */
  readonly transparent: boolean;
  readonly coloured: () => boolean;
  /** Of every `step`th pixel of every `step`th row. */
  readonly plane: (channel: Channel, background: 0 | 255, step: number) => Plane;
};

/** `damaged`: a part of the pixels is missing. */
export type Decoded = { readonly picture: Picture; readonly damaged: boolean };

export function pictureOf(pixels: Pixels): Picture {
  return {
    width: pixels.width,
    height: pixels.height,
    transparent: isTransparent(pixels),
    coloured: () => isColoured(pixels),
    plane: (channel, background, step) => planeOf(pixels, channel, background, step),
  };
}
