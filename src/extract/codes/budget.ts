/**
 * Bounds what looking for QR codes costs one mail: searches and time, of all its images, pages and texts together.
 *
 * A search that is begun runs to its end, so one may take longer than what is left. What is not searched is flagged.
 */
import type { FoundCodes } from "./found.ts";

export type CodeBudget = {
  /** Runs the search of an image or a text; where nothing is left it does not, and the answer is a flag. */
  readonly spend: (on: "image" | "text", search: () => Promise<FoundCodes>) => Promise<FoundCodes>;
};

/** Texts are not counted: they are bounded by their length. */
const MAX_IMAGES = 1000;
const EXCEEDED: FoundCodes = { values: [], flags: ["code_searches_exceeded"] };

/** `time`: milliseconds of all searches together. */
export function createCodeBudget(time: number, now: () => number = () => performance.now()): CodeBudget {
  let left = time;
  let images = 0;
  return {
    spend: async (on, search) => {
      if (left <= 0 || (on === "image" && images >= MAX_IMAGES)) return EXCEEDED;
      if (on === "image") images++;
      const begin = now();
      const found = await search();
      left -= now() - begin;
      return found;
    },
  };
}
