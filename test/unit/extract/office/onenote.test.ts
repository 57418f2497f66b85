import { describe, expect, test } from "bun:test";
import { readOneNote } from "../../../../src/extract/office/onenote.ts";
import { bytes, hex, LIMITS, textOf, u32, utf16 } from "./make.ts";

const SECTION = hex("e4525c7b8cd8a74daeb15378d02996d3");
const store = (content: Uint8Array, size = content.length): Buffer =>
  bytes(
    hex("e716e3bd65261145a4c48d4d0b7a9eac"),
    u32(size),
    16,
    content,
    hex("22a7fb71790f0b4abb13899256426b24"),
  );

describe("a section of OneNote", () => {
  test("gives its files and the URLs in its text", () => {
    const image = bytes("\x89PNG\r\n");
    const reading = readOneNote(
      bytes(
        SECTION,
        1000,
        utf16("see http://a.example/ now"),
        store(bytes("<hta> http://inner.example/")),
        store(image),
      ),
      LIMITS,
    );
    expect(reading.inner.map(({ bytes: content }) => Buffer.from(content).toString("latin1"))).toEqual([
      "<hta> http://inner.example/",
      "\x89PNG\r\n",
    ]);
    expect(reading.facts).toEqual(["embedded_file"]);
    expect(textOf(reading, "office")).toBe("http://a.example/");
  });

  test("gives a file whose size leads nowhere", () => {
    const reading = readOneNote(
      bytes(SECTION, store(bytes("@echo off"), 0xffffffff), store(bytes("two"))),
      LIMITS,
    );
    expect(reading.inner).toHaveLength(2);
    expect(Buffer.from(reading.inner[0]?.bytes ?? []).toString("latin1")).toStartWith("@echo off");
  });

  test("that is none is flagged", () => {
    expect(readOneNote(bytes("x"), LIMITS).flags).toEqual(["office_unreadable"]);
  });
});
