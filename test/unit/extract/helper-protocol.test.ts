import { describe, expect, test } from "bun:test";
import { frame, HELLO, readAnswer } from "../../../src/extract/helper-protocol.ts";

const EXTRACTED = {
  kind: "extracted",
  extraction: {
    mail: { message_id: null, subject: "hällo", from: ["a@example.com"], to: [], cc: [], date: null },
    envelope: { source: "journal", from: "", to: ["b@example.com"], identity: null },
    attachments: [
      {
        filename: "a.zip",
        sha256: "0".repeat(64),
        sha1: "1".repeat(40),
        md5: "f".repeat(32),
        size: 1,
        type: "application/zip",
        views: ["mime"],
        path: [],
        within: "archive",
        facts: [],
        password: null,
      },
    ],
    urls: [
      { url: "http://a.example", normalized: "http://a.example/", sources: ["text"] },
      {
        url: "http://b.example",
        normalized: "http://b.example/",
        sources: [],
        unwrapped_from: ["http://c.example/"],
        target_domain: "d.example",
        personal: true,
      },
    ],
    passwords: ["infected"],
    flags: [],
    complete: true,
  },
};

const read = (value: unknown) => readAnswer(Buffer.from(JSON.stringify(value)));

/** Copies of `value`, each with one thing about it changed by `change`, at any depth. */
function* changed(value: unknown, change: (one: unknown) => readonly unknown[]): Generator<unknown> {
  yield* change(value);
  if (Array.isArray(value)) {
    for (const [index, one] of value.entries()) {
      for (const other of changed(one, change)) yield value.with(index, other);
    }
  } else if (typeof value === "object" && value !== null) {
    for (const [key, one] of Object.entries(value)) {
      for (const other of changed(one, change)) yield { ...value, [key]: other };
    }
  }
}

const isObject = (value: unknown): value is Readonly<Record<string, unknown>> =>
  typeof value === "object" && value !== null && !Array.isArray(value);

describe("the answer of a helper", () => {
  test("is read where every field is as it should be", () => {
    expect<unknown>(read(EXTRACTED)).toEqual(EXTRACTED);
    for (const answer of [
      { kind: "hello", hello: HELLO, isolated: false },
      { kind: "written", found: true },
      { kind: "failed", message: "x" },
    ]) {
      expect<unknown>(read(answer)).toEqual(answer);
    }
  });

  test("is none where anything in it is of another type", () => {
    const values = [
      ...changed(EXTRACTED, (one) => [typeof one === "number" ? "1" : 1.5, { x: one }, [[one]]]),
    ];
    expect(values.length).toBeGreaterThan(100);
    for (const value of values) expect(read(value)).toBeNull();
  });

  test("is none where an object in it has a key more", () => {
    for (const key of ["more", "__proto__", "constructor"]) {
      const values = [
        ...changed(EXTRACTED, (one) =>
          isObject(one) ? [JSON.parse(`{"${key}":[]}`), { ...one, [key]: [] }] : [],
        ),
      ];
      for (const value of values.filter((one) => JSON.stringify(one).includes(`"${key}"`))) {
        expect(read(value)).toBeNull();
      }
    }
    const own = JSON.stringify(EXTRACTED).replace('"mail":{', '"mail":{"__proto__":{},');
    expect(readAnswer(Buffer.from(own))).toBeNull();
  });

  test("is none where a key is missing that it needs", () => {
    const optional = new Set(["unwrapped_from", "target_domain", "personal"]);
    const without = (one: unknown) =>
      isObject(one)
        ? Object.keys(one)
            .filter((key) => !optional.has(key))
            .map((key) => Object.fromEntries(Object.entries(one).filter(([name]) => name !== key)))
        : [];
    for (const value of changed(EXTRACTED, without)) expect(read(value)).toBeNull();
  });

  test.each([
    ["a digest that is none", (text: string) => text.replace("f".repeat(32), `${"f".repeat(31)}g`)],
    ["a digest of another length", (text: string) => text.replace("f".repeat(32), "f".repeat(33))],
    ["a negative size", (text: string) => text.replace('"size":1', '"size":-1')],
    ["a broken size", (text: string) => text.replace('"size":1', '"size":1.5')],
    ["another container", (text: string) => text.replace('"archive"', '"folder"')],
    ["a false that is never given", (text: string) => text.replace('"personal":true', '"personal":false')],
    ["a long type", (text: string) => text.replace("application/zip", "x".repeat(256))],
    ["no JSON", (text: string) => text.slice(1)],
  ])("is none with %s", (_, edit) => {
    const text = edit(JSON.stringify(EXTRACTED));
    expect(text).not.toBe(JSON.stringify(EXTRACTED));
    expect(readAnswer(Buffer.from(text))).toBeNull();
  });

  test("is none with a greeting of another version, or a message of any length", () => {
    expect(read({ kind: "hello", hello: `${HELLO}0`, isolated: true })).toBeNull();
    expect(read({ kind: "failed", message: "x".repeat(2001) })).toBeNull();
  });

  test("comes in a frame with its length before it", () => {
    const framed = frame({ kind: "written", found: false });
    expect(new DataView(framed.buffer, framed.byteOffset).getUint32(0)).toBe(framed.length - 4);
    expect(readAnswer(framed.subarray(4))).toEqual({ kind: "written", found: false });
  });
});
