/** Names of what was odd about looking for QR codes and the like in images, texts and HTML. */
import type { FlagEntry } from "../reading.ts";

export const CODE_FLAGS = {
  image_too_large: {
    complete: false,
    meaning: "An image has more pixels than the bound; it is not searched for QR codes.",
  },
  image_unreadable: {
    complete: true,
    meaning: "An image is broken, or of a kind that cannot be searched for QR codes.",
  },
  image_damaged: {
    complete: true,
    meaning: "A part of an image is missing or broken; the rest is searched for QR codes.",
  },
  image_frames_exceeded: {
    complete: true,
    meaning: "A moving image has more frames than are searched for QR codes.",
  },
  codes_exceeded: {
    complete: false,
    meaning: "There are more QR codes than the bound; the ones after that are not read.",
  },
  code_searches_exceeded: {
    complete: false,
    meaning:
      "Looking for QR codes in the images and texts of a mail took a third of `extract.timeout`, or there are more than 1,000 images; the rest is not searched.",
  },
  code_reader_failed: {
    complete: false,
    meaning: "The reader of QR codes broke down at an image.",
  },
  code_drawing: {
    complete: true,
    meaning: "A QR code is drawn with characters or with an HTML table in place of an image.",
  },
  code_drawings_exceeded: {
    complete: false,
    meaning: "There is more that could be a QR code drawn with characters or HTML than is looked at.",
  },
} as const satisfies Record<string, FlagEntry>;

export type CodeFlag = keyof typeof CODE_FLAGS;
