/**
 * Rules out, without taking a name out of a text, that it is one of a few: by its length and its first letter. Pages
 * have many attributes, and few of them matter.
 */

/** False where the name from `start` to `end` in `text` is surely none of `names`, in whatever case. */
export function createNameFilter(
  names: Iterable<string>,
): (text: string, start: number, end: number) => boolean {
  const shapes = new Set([...names].map((name) => shapeOf(name.length, name.charCodeAt(0))));
  return (text, start, end) => shapes.has(shapeOf(end - start, text.charCodeAt(start)));
}

function shapeOf(length: number, first: number): number {
  return length * 0x1_0000 + (first | 0x20);
}
