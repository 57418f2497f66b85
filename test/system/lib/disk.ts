/** A disk that can be filled: a tmpfs of its own. */
import { appendFileSync, mkdirSync, statfsSync, truncateSync } from "node:fs";
import { join } from "node:path";
import { type Place, runToEnd } from "./place.ts";

const BLOCK = 1024 * 1024;

export type SmallDisk = {
  readonly path: string;
  /** Takes all free bytes but `left`. */
  fill(left?: number): void;
  empty(): void;
};

/** Mounts it below the place until that is closed. Throws where this machine lets nobody mount one. */
export async function smallDisk(place: Place, megabytes: number): Promise<SmallDisk> {
  const path = join(place.path, "disk");
  mkdirSync(path);
  const options = `size=${megabytes}m,mode=0755`;
  const mounted = await runToEnd(["mount", "-t", "tmpfs", "-o", options, "none", path]);
  if (mounted.code !== 0)
    throw new Error(`this test needs root, and a kernel that lets it mount a tmpfs: ${mounted.stderr}`);
  place.onClose(async () => void (await runToEnd(["umount", "--lazy", path])));
  const filling = join(path, "filling");
  return {
    path,
    fill: (left = 0) => {
      // Others write at the same time: what is free now may be gone by the write.
      for (;;) {
        const { bavail, bsize } = statfsSync(path);
        const room = Math.min(bavail * bsize - left, BLOCK);
        if (room <= 0) return;
        try {
          appendFileSync(filling, Buffer.alloc(room));
        } catch (thrown) {
          if (!(thrown instanceof Error && "code" in thrown && thrown.code === "ENOSPC")) throw thrown;
        }
      }
    },
    empty: () => truncateSync(filling, 0),
  };
}
