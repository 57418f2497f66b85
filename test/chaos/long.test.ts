/** The long chaos run: 10,000 mails with 500 contents. `npm run test:chaos`; CHAOS_SEED repeats a run. */
import { expect, test } from "bun:test";
import { chaos } from "./chaos.ts";

const SEED = Number(process.env.CHAOS_SEED ?? Date.now() % 1_000_000);

test(`10,000 mails in chaos cost no verdict and nothing twice (CHAOS_SEED=${SEED})`, async () => {
  const figures = await chaos({
    seed: SEED,
    mails: 10_000,
    contents: 500,
    kills: 40,
    killPause: 5_000,
    percent: 20,
    // Of each life of the analyzer, while the key is refused once: the pool then pauses for a minute.
    moreFaults: [{ fault: "status", status: 401, skip: 150, count: 1 }],
    seconds: 900,
  });
  process.stdout.write(`${JSON.stringify(figures, null, 2)}\n`);
  expect(figures.submissions).toBe(500);
}, 1_200_000);
