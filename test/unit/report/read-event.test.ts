import { describe, expect, test } from "bun:test";
import { SensorError } from "../../../src/errors.ts";
import { LIMITS } from "../../../src/report/bounds.ts";
import { MAX_EVENT_TEXT, readEvent } from "../../../src/report/read-event.ts";
import { sampleEvents } from "../../../src/report/samples.ts";

const verdict = sampleEvents().find(({ name }) => name === "mail.verdict")?.event;
const changed = (change: object): string => JSON.stringify({ ...verdict, ...change });

function refusalOf(text: string): string {
  try {
    readEvent(text);
  } catch (thrown) {
    if (thrown instanceof SensorError && thrown.code === "USAGE") return thrown.message;
    throw thrown;
  }
  throw new Error("it was taken");
}

describe("an event that somebody hands in", () => {
  test("is taken as it is where it is one, also from watch", () => {
    for (const { event } of sampleEvents()) {
      expect(readEvent(JSON.stringify(event))).toEqual(event);
      expect(readEvent(JSON.stringify({ seq: 7, ...event }))).toEqual(event);
    }
  });

  test("is cut as any other", () => {
    const long = readEvent(changed({ flags: ["x".repeat(1000)], reasons: Array(500).fill("r") }));
    expect(long.flags?.[0]?.length).toBe(LIMITS.flag);
    expect(long.reasons?.length).toBe(LIMITS.reasons);
    expect(long.truncated).toEqual(["/reasons", "/flags/0"]);
  });

  test.each(
    [
      ["", "holds no JSON"],
      ["{", "holds no JSON"],
      ["[".repeat(1_000_000), "holds no JSON"],
      ['{"a":'.repeat(200_000), "holds no JSON"],
      [`{"mail":${"[".repeat(100_000)}${"]".repeat(100_000)}}`, "mail: must be an object"],
      ["[]", "holds no JSON object"],
      ["null", "holds no JSON object"],
      [`{"x":"${"y".repeat(MAX_EVENT_TEXT)}"}`, "is longer than"],
      [changed({ mial: 1 }), "  mial: is no member of an event; did you mean mail?"],
      [changed({ "\u001b[2J\u202e": 1 }), "  \\u{1b}[2J\\u{202e}: is no member of an event"],
      [`{"__proto__":{"id":"x"},${changed({}).slice(1)}`, "  __proto__: is no member of an event"],
      [changed({ constructor: 1 }), "  constructor: is no member of an event"],
      [changed({ mail: { ...verdict?.mail, size: "1" } }), "  mail.size: must be a whole number"],
      [changed({ mail: { ...verdict?.mail, size: 1.5 } }), "  mail.size: must be a whole number"],
      [changed({ mail: undefined }), "  mail: is missing, mail.verdict events have it"],
      [changed({ verdict: "evil" }), "  verdict: must be one of malicious, suspicious, clean, not_available"],
      [changed({ type: "toString" }), "  type: must be one of"],
      [changed({ id: "1" }), "  id: does not have the right form"],
      [changed({ time: "2026-13-01T00:00:00Z" }), "  time: does not have the right form"],
      [changed({ schema: "email-sensor/event/2" }), "  schema: must be email-sensor/event/1"],
      [changed({ flags: [null] }), "  flags[0]: must be a text"],
      [changed({ urls: [{}] }), "  urls[0].url: is missing"],
      [changed({ flags: Array(5000).fill(1) }), "  flags[9]: must be a text\n  and 4990 more"],
    ].map(([text = "", words = ""]) => ({ text, words })),
  )("is refused that $words", ({ text, words }) => {
    const refusal = refusalOf(text);
    expect(refusal).toContain(words);
    expect(refusal).not.toMatch(/[^\P{C}\n]/u);
    expect(refusal.length).toBeLessThan(2000);
  });
});
