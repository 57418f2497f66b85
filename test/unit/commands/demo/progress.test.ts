import { expect, test } from "bun:test";
import { createProgress } from "../../../../src/commands/demo/progress.ts";

function record(live: boolean): string {
  let written = "";
  const progress = createProgress({ live, width: 20, write: (text) => (written += text) });
  progress.step("starting");
  progress.update("1 of 9 verdicts, waiting for a long list");
  progress.update("1 of 9 verdicts, waiting for a long list");
  progress.end();
  progress.end();
  return written;
}

test("progress is one line a step where there is no terminal", () => {
  expect(record(false)).toBe("starting\n");
});

test("progress is one live line on a terminal, never wider than it, and gone at the end", () => {
  const clear = "\r\u001b[2K";
  expect(record(true)).toBe(`${clear}starting${clear}1 of 9 verdicts, w…${clear}`);
});
