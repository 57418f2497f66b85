/** Unpacks one block of LZ4 (block format 1.5). */

/** Growth of a buffer; no block says how large it becomes. */
const FIRST_SIZE = 64 * 1024;

/** At most `max` bytes; `window` is what the block may refer to before its own beginning. */
export function unpackLz4Block(
  block: Uint8Array,
  window: Uint8Array,
  max: number,
): { readonly bytes: Uint8Array; readonly end: "whole" | "cut" | "broken" } {
  const before = window.length;
  let out = new Uint8Array(before + Math.min(max, Math.max(FIRST_SIZE, block.length * 4)));
  out.set(window);
  let at = 0;
  let length = before;
  const result = (end: "whole" | "cut" | "broken"): { bytes: Uint8Array; end: typeof end } => ({
    bytes: out.subarray(before, length),
    end,
  });
  const grow = (wanted: number): void => {
    if (length + wanted <= out.length) return;
    const larger = new Uint8Array(Math.min(before + max, Math.max(out.length * 2, length + wanted)));
    larger.set(out.subarray(0, length));
    out = larger;
  };
  const readLength = (start: number): number => {
    let total = start;
    if (start !== 15) return total;
    for (;;) {
      const byte = block[at++];
      if (byte === undefined) return Number.POSITIVE_INFINITY;
      total += byte;
      if (byte !== 255) return total;
    }
  };
  while (at < block.length) {
    const token = block[at++] ?? 0;
    const literals = readLength(token >>> 4);
    if (at + literals > block.length) return result("broken");
    if (length + literals > before + max) return result("cut");
    grow(literals);
    out.set(block.subarray(at, at + literals), length);
    at += literals;
    length += literals;
    if (at >= block.length) return result("whole");
    const distance = (block[at] ?? 0) | ((block[at + 1] ?? 0) << 8);
    at += 2;
    const match = readLength(token & 15) + 4;
    if (distance === 0 || distance > length || !Number.isFinite(match)) return result("broken");
    if (length + match > before + max) return result("cut");
    grow(match);
    // What is copied may be what this very copy writes.
    if (distance >= match) out.copyWithin(length, length - distance, length - distance + match);
    else
      for (let index = 0; index < match; index++) out[length + index] = out[length + index - distance] ?? 0;
    length += match;
  }
  return result("whole");
}
