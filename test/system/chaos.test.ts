/** The short chaos run: 600 mails with 40 contents. CHAOS_SEED repeats a run; the long one is test/chaos. */
import { expect, test } from "bun:test";
import { chaos } from "../chaos/chaos.ts";

const SEED = Number(process.env.CHAOS_SEED ?? Date.now() % 1_000_000);

test(`600 mails in chaos cost no verdict and nothing twice (CHAOS_SEED=${SEED})`, async () => {
  const figures = await chaos({
    seed: SEED,
    mails: 600,
    contents: 40,
    kills: 6,
    killPause: 2_000,
    percent: 12,
    seconds: 240,
  });
  expect(figures.submissions).toBe(40);
}, 600_000);
