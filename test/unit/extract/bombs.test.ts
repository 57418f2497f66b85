import { describe, expect, test } from "bun:test";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { schema } from "../../../src/config/schema.ts";
import type { Extraction } from "../../../src/extract/extraction.ts";
import { BOMBS, LARGE } from "./bombs.ts";
import { BOUNDS } from "./mails.ts";

const { memory } = schema.shape.extract.parse({});
const LONG = process.env.EMAIL_SENSOR_LONG !== undefined;

type Measured = Pick<Extraction, "flags" | "complete"> & {
  /** Of CPU. */
  readonly ms: number;
  /** Bytes resident at most. */
  readonly peak: number;
  readonly attachments: number;
  readonly urls: number;
};

/** Takes a mail apart in a process of its own, as a helper does. */
async function measured(mail: Uint8Array): Promise<Measured> {
  const folder = mkdtempSync(join(tmpdir(), "bomb-"));
  try {
    const path = join(folder, "mail.eml");
    await Bun.write(path, mail);
    const child = Bun.spawn([process.execPath, join(import.meta.dir, "measured.ts"), path], {
      stdout: "pipe",
      stderr: "inherit",
    });
    return JSON.parse(await new Response(child.stdout).text()) as Measured;
  } finally {
    rmSync(folder, { recursive: true });
  }
}

describe("mails made to cost much are taken apart in half of the time and within the memory, with a flag", () => {
  for (const [name, { make, flags, complete = false, costly = false }] of Object.entries(BOMBS)) {
    test.skipIf(costly && !LONG)(
      name,
      async () => {
        const taken = await measured(make());
        if (flags.length > 0) expect(flags.filter((flag) => taken.flags.includes(flag))).not.toEqual([]);
        expect(taken.complete).toBe(complete);
        expect(taken.ms).toBeLessThan(BOUNDS.timeout / 2);
        expect(taken.peak).toBeLessThan(memory);
        expect(taken.attachments).toBeLessThanOrEqual(BOUNDS.max_attachments);
        expect(taken.urls).toBeLessThanOrEqual(BOUNDS.max_urls);
      },
      300_000,
    );
  }
});

test("an attachment of 75 MB is read in full within the memory", async () => {
  const taken = await measured(LARGE.make());
  expect(taken).toMatchObject({ attachments: 1, flags: [], complete: true });
  expect(taken.peak).toBeLessThan(memory);
}, 300_000);
