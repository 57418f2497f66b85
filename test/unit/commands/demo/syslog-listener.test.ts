import { describe, expect, test } from "bun:test";
import { connect } from "node:net";
import {
  createFrameReader,
  listenForSyslog,
  parseSyslog,
  type SyslogMessage,
} from "../../../../src/commands/demo/syslog-listener.ts";

const MESSAGE = `<134>1 2026-03-01T09:00:00.000Z mx1 email-sensor 42 mail.verdict - {"a":1}`;

describe("a syslog message", () => {
  test("is taken apart by RFC 5424", () => {
    expect(parseSyslog(MESSAGE)).toEqual({
      line: MESSAGE,
      priority: 134,
      time: "2026-03-01T09:00:00.000Z",
      host: "mx1",
      app: "email-sensor",
      messageId: "mail.verdict",
      text: '{"a":1}',
    });
  });

  test("may have structured data with escaped quotes and brackets, and a byte order mark", () => {
    const line = `${String.raw`<134>1 - - - - - [a@1 x="\]\"]"][b@1] `}\ufefftext`;
    expect(parseSyslog(line)?.text).toBe("text");
  });

  for (const [what, line] of [
    ["the old form of RFC 3164", "<134>Mar  1 09:00:00 mx1 sensor: text"],
    ["structured data that never ends", '<134>1 - - - - - [a@1 x="] text'],
    ["a host name with a space too many", "<134>1 -  - - - - - text"],
    ["nothing", ""],
  ] as const) {
    test(`is refused: ${what}`, () => expect(parseSyslog(line)).toBeNull());
  }
});

describe("octet counting", () => {
  test("finds the frames however the stream is cut, also inside a character", () => {
    const wanted = ["größer", "a\nb 3 c", "xyz"];
    const stream = Buffer.concat(wanted.map((text) => Buffer.from(`${Buffer.byteLength(text)} ${text}`)));
    for (let size = 1; size <= stream.length; size += 1) {
      const reader = createFrameReader(100);
      const frames: string[] = [];
      for (let at = 0; at < stream.length; at += size)
        frames.push(...reader.push(stream.subarray(at, at + size)));
      expect(frames).toEqual(wanted);
    }
  });

  for (const [what, bytes] of [
    ["a frame larger than allowed", "101 "],
    ["no number", "<134>1 "],
    ["a number that never ends", "11111111111"],
    ["a leading zero", "03 abc"],
  ] as const) {
    test(`throws at ${what}`, () => {
      expect(() => createFrameReader(100).push(Buffer.from(bytes))).toThrow();
    });
  }
});

describe("the listener", () => {
  async function send(bytes: string): Promise<{ messages: SyslogMessage[]; faults: string[] }> {
    const messages: SyslogMessage[] = [];
    const faults: string[] = [];
    const listener = await listenForSyslog(
      (message) => messages.push(message),
      (why) => faults.push(why),
    );
    await new Promise<void>((resolve) => {
      const socket = connect(listener.port, "127.0.0.1", () => socket.end(bytes));
      socket.on("close", () => resolve());
      socket.on("error", () => resolve());
      socket.resume();
    });
    await listener.close();
    return { messages, faults };
  }

  test("hands over the messages in order", async () => {
    const { messages, faults } = await send(`${MESSAGE.length} ${MESSAGE}`.repeat(3));
    expect(messages.map(({ text }) => text)).toEqual(['{"a":1}', '{"a":1}', '{"a":1}']);
    expect(faults).toEqual([]);
  });

  test("cuts off a peer that speaks something else, and says so", async () => {
    const { messages, faults } = await send(`${MESSAGE}\n`);
    expect(messages).toEqual([]);
    expect(faults).toHaveLength(1);
  });
});
