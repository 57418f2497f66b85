import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { COMPOUND_FLAGS, openCompound } from "../../../../src/extract/ole/compound.ts";
import { writeCompound } from "../../../../src/extract/ole/write-compound.ts";
import { OUTLOOK_FACTS, OUTLOOK_FLAGS } from "../../../../src/extract/outlook/flags.ts";
import type { OutlookReading } from "../../../../src/extract/outlook/mail.ts";
import { MSG_TYPE, readMsg } from "../../../../src/extract/outlook/msg.ts";
import { READER_FLAGS } from "../../../../src/extract/reading.ts";
import { cpuNow } from "../clock.ts";
import {
  ascii,
  embedded,
  join,
  LIMITS,
  lzfu,
  type Msg,
  msg,
  msgParts,
  msgProps,
  prop,
  storage,
  stream,
  u16,
  u32,
} from "./writers.ts";

function read(bytes: Uint8Array, limits = LIMITS): OutlookReading {
  const reading = readMsg(bytes, limits);
  if (!reading) throw new Error("no mail");
  return reading;
}

const HEADERS =
  'Received: from x\r\n by y\r\nFrom: "Doe, J" (me) <j@example.com>\r\nTo: a@example.com,\r\n\t<b@example.com>\r\n' +
  "Cc: list: c@example.com, d@example.com;\r\nDate: Thu, 29 Feb 2024 12:00:00 +0100\r\nMessage-ID: <1@example.com>\r\n";

const file = (name: string, content: Uint8Array, ...more: readonly ReturnType<typeof prop>[]) =>
  msgProps(8, [...more, prop(0x37050003, 1), prop(0x3707001f, name), prop(0x37010102, content)]);

const MAIL: Msg = {
  props: [
    prop(0x001a001f, "IPM.Note"),
    prop(0x0037001f, "\u0001\u0004Re: Grüße"),
    prop(0x00390040, new Date("2024-02-29T12:30:15Z")),
    prop(0x1000001f, "see http://a.example/"),
    prop(0x10130102, ascii("<p>\xc3\xa4</p>")),
    prop(0x3fde0003, 65001),
    prop(0x10090102, lzfu("{\\rtf1\\ansi\\fromhtml1{\\*\\htmltag <b>rtf</b>}}")),
    prop(0x1035001f, "<2@example.com>"),
    prop(0x0064001f, "EX"),
    prop(0x0065001f, "/O=ORG/CN=ME"),
    prop(0x5d01001f, "from@example.com"),
  ],
  recipients: [
    [prop(0x0c150003, 1), prop(0x39fe001f, "to@example.com"), prop(0x3003001f, "/O=ORG/CN=TO")],
    [prop(0x0c150003, 2), prop(0x3003001f, "cc@example.com")],
    [prop(0x0c150003, 3), prop(0x3003001f, "bcc@example.com")],
  ],
  attachments: [
    file("a.zip", ascii("PK"), prop(0x370e001f, "Application/Zip")),
    file("b.txt", ascii("text")),
  ],
};

describe("an Outlook mail file", () => {
  test("gives its attachments with their names and types", () => {
    const { inner, flags } = read(msg(MAIL));
    expect(inner).toEqual([
      { name: "a.zip", declared: "application/zip", bytes: ascii("PK") },
      { name: "b.txt", declared: null, bytes: ascii("text") },
    ]);
    expect(flags).toEqual([]);
  });

  test("gives the facts of the mail", () => {
    expect(read(msg(MAIL)).mail).toEqual({
      message_id: "<2@example.com>",
      subject: "Re: Grüße",
      from: ["from@example.com"],
      to: ["to@example.com"],
      cc: ["cc@example.com"],
      date: "2024-02-29T12:30:15.000Z",
    });
  });

  test("gives every form of the body", () => {
    expect(read(msg(MAIL)).texts).toEqual([
      { kind: "text", text: "see http://a.example/", source: "text" },
      { kind: "html", text: "<p>ä</p>", source: "html" },
      { kind: "html", text: "<b>rtf</b>", source: "html" },
    ]);
  });

  test("takes from the header what its properties lack", () => {
    expect(read(msg({ props: [prop(0x007d001f, HEADERS)] })).mail).toEqual({
      message_id: "<1@example.com>",
      subject: null,
      from: ["j@example.com"],
      to: ["a@example.com", "b@example.com"],
      cc: ["c@example.com", "d@example.com"],
      date: "2024-02-29T11:00:00.000Z",
    });
  });

  test("has texts in the code page it states, or in that of its language", () => {
    const subject = { tag: 0x0037001e, value: ascii("\x82\xa0\0") };
    expect(read(msg({ props: [prop(0x3ffd0003, 932), subject] })).mail.subject).toBe("あ");
    expect(
      read(msg({ props: [prop(0x3ff10003, 1041), prop(0x3fde0003, 50220), subject] })).mail.subject,
    ).toBe("あ");
    expect(read(msg({ props: [subject] })).mail.subject).toBe("‚\u00a0");
  });

  test("names attachments by the short name, and then by what is displayed", () => {
    const named = (...props: readonly ReturnType<typeof prop>[]) =>
      read(msg({ props: [], attachments: [msgProps(8, [...props, prop(0x37010102, ascii("x"))])] })).inner[0]
        ?.name;
    expect(named(prop(0x3704001f, "SHORT.DOC"), prop(0x3001001f, "Shown"))).toBe("SHORT.DOC");
    expect(named(prop(0x3707001f, ""), prop(0x3001001f, "Shown"))).toBe("Shown");
    expect(named()).toBeNull();
  });

  test("gives a mail in the mail as a mail file, and so on inwards", () => {
    const name = prop(0x3001001f, "inner");
    const middle: Msg = { ...MAIL, attachments: [[...msgProps(8, [name]), embedded(MAIL)]] };
    const outer = msg({
      props: [prop(0x0037001f, "outer")],
      attachments: [[...msgProps(8, [prop(0x37050003, 5), name]), embedded(middle)]],
    });
    const [first] = read(outer).inner;
    expect([first?.name, first?.declared]).toEqual(["inner", MSG_TYPE]);
    const inside = read(first?.bytes ?? new Uint8Array(0));
    expect(inside.mail).toEqual(read(msg(MAIL)).mail);
    expect(inside.flags).toEqual([]);
    const [second] = inside.inner;
    expect(second?.bytes).toEqual(msg(MAIL));
    expect(read(second?.bytes ?? new Uint8Array(0)).inner).toHaveLength(2);
  });

  test("gives an inner mail with the names of the properties of the outer one", () => {
    const names = storage("__nameid_version1.0", [
      stream("__substg1.0_00030102", join(u32(0x851f), u16(6), u16(0))),
    ]);
    const evil: Msg = { props: [prop(0x8000001f, "\\\\evil.example\\x\\y.wav")] };
    const outer = msg({ ...evil, attachments: [[...msgProps(8, []), embedded(evil)]], more: [names] });
    expect(read(outer).facts).toEqual(["outlook_reminder_file"]);
    expect(read(read(outer).inner[0]?.bytes ?? new Uint8Array(0)).facts).toEqual(["outlook_reminder_file"]);
  });

  test("gives the file in an OLE object, or else the object", () => {
    const object = (...streams: readonly ReturnType<typeof stream>[]) =>
      read(
        msg({
          props: [],
          attachments: [[...msgProps(8, [prop(0x3707001f, "x")]), storage("__substg1.0_3701000D", streams)]],
        }),
      ).inner;
    expect(object(stream("Package", ascii("PK")), stream("\u0001CompObj", ascii("x")))).toEqual([
      { name: "x", declared: null, bytes: ascii("PK") },
    ]);
    const [whole] = object(stream("WordDocument", ascii("doc")));
    expect(openCompound(whole?.bytes ?? new Uint8Array(0))?.find(["WordDocument"])?.size).toBe(3);
  });

  test("tells where an attachment lies that is only a reference, and lists an empty one", () => {
    const reference = read(
      msg({
        props: [],
        attachments: [
          msgProps(8, [prop(0x37050003, 7), prop(0x370d001f, "https://b.example/x"), prop(0x3707001f, "x")]),
          file("stand-in", ascii("icon"), prop(0x37050003, 7), prop(0x8001001f, "https://c.example/y")),
          msgProps(8, [prop(0x37050003, 2), prop(0x370d001f, "\\\\server\\x")]),
          msgProps(8, [prop(0x37050003, 1), prop(0x3707001f, "empty")]),
        ],
      }),
    );
    expect(reference.urls).toEqual([
      { url: "https://b.example/x", source: "outlook" },
      { url: "https://c.example/y", source: "outlook" },
    ]);
    expect(reference.inner).toEqual([
      { name: "stand-in", declared: null, bytes: ascii("icon") },
      { name: "empty", declared: null, bytes: new Uint8Array(0) },
    ]);
    expect(reference.flags).toEqual(["outlook_attachment_elsewhere", "outlook_attachment_empty"]);
  });

  test("gives a signed mail's content as it is", () => {
    const signed = read(
      msg({
        props: [prop(0x001a001f, "IPM.Note.SMIME.MultipartSigned")],
        attachments: [
          file(
            "smime.p7m",
            ascii("Content-Type: multipart/signed\r\n"),
            prop(0x370e001f, "multipart/signed"),
          ),
        ],
      }),
    );
    expect(signed.inner[0]).toMatchObject({ name: "smime.p7m", declared: "multipart/signed" });
    expect(signed.facts).toEqual(["outlook_signed"]);
  });

  test("is no other compound file", () => {
    expect(readMsg(writeCompound(storage("", [stream("WordDocument", ascii("x"))])), LIMITS)).toBeNull();
    expect(readMsg(ascii("hello"), LIMITS)).toBeNull();
  });
});

describe("a broken Outlook mail file", () => {
  test("without its table of properties is read from the streams", () => {
    const parts = msgParts(MAIL, 32).filter(({ name }) => name !== "__properties_version1.0");
    const reading = read(writeCompound(storage("", parts)));
    expect(reading.mail.subject).toBe("Re: Grüße");
    expect(reading.inner).toHaveLength(2);
    expect(reading.flags).toEqual(["msg_properties_broken"]);
  });

  test("with an attachment that no tree leads to gives it", () => {
    const bytes = msg(MAIL);
    const root = Buffer.from(bytes).indexOf(Buffer.from("Root Entry", "utf16le"));
    new DataView(bytes.buffer).setUint32(root + 0x4c, 0xffffffff, true);
    const reading = read(bytes);
    expect(reading.inner.map(({ name }) => name).sort()).toEqual(["a.zip", "b.txt"]);
    expect(reading.flags).toContain("compound_orphans");
  });
});

describe("hostile Outlook mail files", () => {
  test("stop at the bounds they are given, and say so", () => {
    const many = msg({
      props: [],
      attachments: Array.from({ length: 40 }, (_, index) => file(`${index}`, ascii("x"))),
    });
    expect(read(many, { ...LIMITS, inner: 5 }).inner).toHaveLength(5);
    expect(read(many, { ...LIMITS, inner: 5 }).flags).toContain("inner_exceeded");
    const large = msg({ props: [], attachments: [[...msgProps(8, []), embedded(MAIL)]] });
    expect(read(large, { ...LIMITS, bytes: 300 }).inner).toEqual([]);
    expect(read(large, { ...LIMITS, bytes: 300 }).flags).toContain("inner_bytes_exceeded");
  });

  test("nested a thousand deep give the next mail only", () => {
    let inner = embedded(MAIL);
    for (let depth = 0; depth < 1000; depth++) {
      const attached = storage("__attach_version1.0_#00000000", [...msgProps(8, []), inner]);
      inner = storage("__substg1.0_3701000D", [...msgProps(24, []), attached]);
    }
    const bytes = msg({ props: [], attachments: [[...msgProps(8, []), inner]] });
    const start = cpuNow();
    expect(read(bytes).inner.map(({ declared }) => declared)).toEqual([MSG_TYPE]);
    expect(cpuNow() - start).toBeLessThan(10000);
  });

  test("mutated give only documented flags, within the bounds", () => {
    const seed = msg({
      ...MAIL,
      attachments: [...(MAIL.attachments ?? []), [...msgProps(8, []), embedded(MAIL)]],
    });
    const change = fc.tuple(fc.nat(seed.length - 1), fc.oneof(fc.nat(255), fc.constantFrom(0, 1, 255)));
    fc.assert(
      fc.property(fc.array(change, { maxLength: 40 }), (changes) => {
        const bytes = seed.slice();
        for (const [at, value] of changes) if (at >= 8) bytes[at] = value;
        const reading = readMsg(bytes, { bytes: 20_000, inner: 5, urls: 5 });
        if (!reading) return;
        expect(reading.inner.length).toBeLessThanOrEqual(5);
        for (const flag of reading.flags) {
          expect(flag in OUTLOOK_FLAGS || flag in COMPOUND_FLAGS || flag in READER_FLAGS).toBe(true);
        }
        for (const fact of reading.facts) expect(fact in OUTLOOK_FACTS).toBe(true);
      }),
      { numRuns: 300 },
    );
  });
});
