import { describe, expect, test } from "bun:test";
import { looksDangerous } from "../../../../src/extract/readings/dangerous.ts";
import { type LenientReading, rangesRead, readLenient } from "../../../../src/extract/readings/lenient.ts";
import { type SweepReading, sweepRaw } from "../../../../src/extract/readings/sweep.ts";
import { PAYLOAD, TRICKS } from "./tricks.ts";

export const LIMITS = { bytes: 64 * 1024 * 1024, inner: 500, urls: 500, depth: 10, parts: 500 };

function readBoth(mail: Buffer): { readonly lenient: LenientReading; readonly swept: SweepReading } {
  const lenient = readLenient(mail, LIMITS);
  const swept = sweepRaw(mail, LIMITS, {
    worth: looksDangerous,
    skip: rangesRead(lenient),
    heads: lenient.heads,
  });
  return { lenient, swept };
}

/** Every content that the two readings find, mails that the sweep finds read as well. */
function contentsOf(mail: Buffer): Uint8Array[] {
  const { lenient, swept } = readBoth(mail);
  const inner = swept.found
    .filter(({ how }) => how === "mail")
    .flatMap(({ bytes }) => readLenient(bytes, LIMITS).parts);
  return [...lenient.parts, ...swept.found, ...inner].map(({ bytes }) => bytes);
}

describe("a payload is found behind", () => {
  for (const { name, mail } of TRICKS) {
    test(name, () => {
      expect(contentsOf(mail).some((bytes) => Buffer.compare(bytes, PAYLOAD) === 0)).toBe(true);
    });
  }
});
