import { describe, expect, test } from "bun:test";
import { FACT_TABLES, FACTS } from "../../../src/extract/facts.ts";
import { FLAG_TABLES, FLAGS } from "../../../src/extract/flags.ts";

const flags = FLAG_TABLES.flatMap((table) => Object.keys(table.flags));
const facts = FACT_TABLES.flatMap((table) => Object.keys(table.facts));

describe("the names of flags and facts", () => {
  test("stand in one table only", () => {
    expect(flags.toSorted()).toEqual([...new Set(flags)].toSorted());
    expect(facts.toSorted()).toEqual([...new Set(facts)].toSorted());
    expect(Object.keys(FLAGS)).toHaveLength(flags.length);
    expect(Object.keys(FACTS)).toHaveLength(facts.length);
  });

  test("fit where events carry them", () => {
    for (const name of [...flags, ...facts]) expect(name).toMatch(/^[a-z][a-z0-9_]{2,63}$/);
  });
});
