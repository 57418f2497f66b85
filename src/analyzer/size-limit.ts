/**
 * The size of a file that VMRay, or a proxy before it, does not take: learned from a refusal (413), so that larger ones
 * need not be uploaded to be refused. Time comes in; nothing here waits or calls.
 */

export type SizeLimit = {
  /** A file of this size was too large. */
  refused(size: number, now: number): void;
  /** A file of this size was taken. */
  taken(size: number): void;
  /** The size that was too large, where it is no larger than this one; null where it is to be tried. */
  exceeded(size: number, now: number): number | null;
};

/** How long a refusal holds, milliseconds; then one file that is as large tries, and the others wait for what comes of it. */
export const SIZE_RETRY = 15 * 60_000;
/** Of what is smaller an upload costs little, and limits are larger: a refusal of it must not stand for all files. */
const LEAST = 1024 ** 2;

export function createSizeLimit(): SizeLimit {
  let least: number | null = null;
  let retryAt = 0;
  return {
    refused(size, now) {
      if (size < LEAST) return;
      least = Math.min(size, least ?? size);
      retryAt = now + SIZE_RETRY;
    },
    taken(size) {
      if (least !== null && size >= least) least = null;
    },
    exceeded(size, now) {
      if (least === null || size < least) return null;
      if (now < retryAt) return least;
      retryAt = now + SIZE_RETRY;
      return null;
    },
  };
}
