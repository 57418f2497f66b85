/**
 * The bounds of a search for QR codes, and what it found.
 */
import type { CodeFlag } from "./flags.ts";

/** `codes`: values of one search. `pixels`: width times height of one image. */
export type CodeLimits = { readonly codes: number; readonly pixels: number };

/** `values`: what the codes say, each once, in the order found. `flags`: names of CODE_FLAGS. */
export type FoundCodes = { readonly values: readonly string[]; readonly flags: readonly string[] };

export type CodeCollector = {
  /** False where the bound is reached. */
  readonly add: (value: string) => boolean;
  readonly flag: (flag: CodeFlag) => void;
  readonly count: () => number;
  readonly done: () => FoundCodes;
};

export function createCodeCollector(max: number): CodeCollector {
  const values = new Set<string>();
  const flags = new Set<CodeFlag>();
  return {
    add: (value) => {
      if (value === "" || values.has(value)) return true;
      if (values.size >= max) {
        flags.add("codes_exceeded");
        return false;
      }
      values.add(value);
      return true;
    },
    flag: (flag) => {
      flags.add(flag);
    },
    count: () => values.size,
    done: () => ({ values: [...values], flags: [...flags] }),
  };
}
