/**
 * Progress of the demo: a live line on a terminal, one line a step elsewhere.
 */
import { fit } from "../table.ts";

export type Progress = {
  /** A new step begins. */
  step(text: string): void;
  /** The step of now stands differently; shown on a terminal only. */
  update(text: string): void;
  /** Takes the live line away. */
  end(): void;
};

export type ProgressTarget = { readonly live: boolean; readonly width: number; write(text: string): void };

const CLEAR_LINE = "\r\u001b[2K";

export function createProgress(target: ProgressTarget): Progress {
  let shown: string | null = null;
  const show = (text: string) => {
    if (text === shown) return;
    shown = text;
    target.write(`${CLEAR_LINE}${fit(text, target.width - 1)}`);
  };
  return {
    step: (text) => (target.live ? show(text) : target.write(`${text}\n`)),
    update: (text) => {
      if (target.live) show(text);
    },
    end: () => {
      if (shown !== null) target.write(CLEAR_LINE);
      shown = null;
    },
  };
}
