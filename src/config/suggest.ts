/** The name a person most likely meant by one that is not known. */

/** Edits (insert, delete, replace, swap of neighbours) from one word to another; both are short. */
function distance(from: string, to: string): number {
  let beforeLast: readonly number[] = [];
  let last: readonly number[] = Array.from({ length: to.length + 1 }, (_, index) => index);
  for (let row = 1; row <= from.length; row++) {
    const current = [row];
    for (let column = 1; column <= to.length; column++) {
      const same = from[row - 1] === to[column - 1];
      let best = Math.min(
        (last[column] ?? 0) + 1,
        (current[column - 1] ?? 0) + 1,
        (last[column - 1] ?? 0) + (same ? 0 : 1),
      );
      if (row > 1 && column > 1 && from[row - 1] === to[column - 2] && from[row - 2] === to[column - 1]) {
        best = Math.min(best, (beforeLast[column - 2] ?? 0) + 1);
      }
      current.push(best);
    }
    beforeLast = last;
    last = current;
  }
  return last[to.length] ?? 0;
}

/** The known name nearest to `name`, where one is near; upper case, - and _ make no difference. */
export function nearest(name: string, known: readonly string[]): string | null {
  if (name.length > 64) return null;
  const plain = (word: string): string => word.toLowerCase().replace(/[-_]/g, "");
  const ranked = known
    .map((word) => ({ word, edits: distance(plain(name), plain(word)) }))
    .sort((a, b) => a.edits - b.edits);
  const best = ranked[0];
  const allowed = Math.max(1, Math.floor(name.length / 3));
  return best !== undefined && best.edits <= allowed ? best.word : null;
}
