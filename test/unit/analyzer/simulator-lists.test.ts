/** Lists of the simulator that are longer than an answer may be. */
import { describe, expect, test } from "bun:test";
import { createLists, type Page } from "../../../src/analyzer/simulator/lists.ts";

const items = (count: number): readonly number[] => Array.from({ length: count }, (_, at) => at + 1);
const make = (id: number) => ({ job_id: id, job_even: id % 2 === 0 });
const query = (text: string): URLSearchParams => new URLSearchParams(text);

function all(lists: ReturnType<typeof createLists>, first: Page): readonly unknown[] {
  const ids = first.data.map((row) => row.job_id);
  const next = first.continuation_id;
  return next == null ? ids : [...ids, ...all(lists, lists.next(next))];
}

describe("a list", () => {
  test("of more than a thousand says that it is truncated", () => {
    const lists = createLists();
    const page = lists.page(items(1001), make, "job_", query("_order=asc"));
    expect(page.truncated).toBe(true);
    expect(all(lists, page)).toEqual([...items(1000)]);
    expect(lists.page(items(1000), make, "job_", query("")).truncated).toBeUndefined();
    expect(lists.page(items(1001), make, "job_", query("_limit=1000000")).truncated).toBe(true);
    expect(lists.page(items(1001), make, "job_", query("_limit=5")).truncated).toBeUndefined();
  });

  test("makes no more rows than the answer needs", () => {
    let made = 0;
    const count = (id: number) => {
      made++;
      return make(id);
    };
    const page = createLists().page(items(100_000), count, "job_", query("_limit=10"));
    expect(page.data.map((row) => row.job_id)).toEqual(items(100_000).slice(-10).toReversed());
    expect(made).toBe(11);
  });

  test("leaves out what there is nothing of, and filters by value and range", () => {
    const lists = createLists();
    const odd = (id: number) => (id % 2 === 0 ? undefined : make(id));
    expect(all(lists, lists.page(items(6), odd, "job_", query("_order=asc")))).toEqual([1, 3, 5]);
    expect(all(lists, lists.page(items(20), make, "job_", query("job_id=9~11&_order=asc")))).toEqual([
      9, 10, 11,
    ]);
    expect(all(lists, lists.page(items(4), make, "job_", query("job_even=true&_order=asc")))).toEqual([2, 4]);
  });

  test("forgets the oldest of very many unfinished ones", () => {
    const lists = createLists();
    const ids = Array.from(
      { length: 101 },
      () => lists.page(items(150), make, "job_", query("")).continuation_id ?? 0,
    );
    expect(() => lists.next(ids[0] ?? 0)).toThrow("No such element");
    expect(lists.next(ids[1] ?? 0).data).toHaveLength(50);
  });
});
