import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { COMPOUND_FLAGS } from "../../../../src/extract/ole/compound.ts";
import { writeCompound } from "../../../../src/extract/ole/write-compound.ts";
import { OUTLOOK_FACTS, OUTLOOK_FLAGS } from "../../../../src/extract/outlook/flags.ts";
import { readTnef } from "../../../../src/extract/outlook/tnef.ts";
import { READER_FLAGS } from "../../../../src/extract/reading.ts";
import { cpuNow } from "../clock.ts";
import {
  ascii,
  attachment,
  attribute,
  data,
  join,
  LIMITS,
  lzfu,
  mapi,
  prop,
  render,
  storage,
  stream,
  title,
  tnef,
  tnefProps,
  u16,
  u32,
  utf16,
} from "./writers.ts";

const files = (bytes: Uint8Array) =>
  readTnef(bytes, LIMITS).inner.map(({ name, bytes: content }) => [
    name,
    Buffer.from(content).toString("latin1"),
  ]);
const IID_MESSAGE = Uint8Array.of(7, 3, 2, 0, 0, 0, 0, 0, 0xc0, 0, 0, 0, 0, 0, 0, 0x46);
const IID_STORAGE = Uint8Array.of(0x0b, 0, 0, 0, 0, 0, 0, 0, 0xc0, 0, 0, 0, 0, 0, 0, 0x46);

const MAIL = tnef(
  attribute(1, 0x9007, join(u32(1252), u32(0))),
  attribute(1, 0x8008, ascii("IPM.Microsoft Mail.Note\0")),
  attribute(1, 0x8004, ascii("Gr\xfc\xdfe\0")),
  attribute(1, 0x800c, ascii("see http://a.example/\0")),
  attribute(1, 0x8005, join(...[2024, 2, 29, 12, 30, 15, 4].map(u16))),
  attribute(
    1,
    0x9004,
    join(
      u32(3),
      tnefProps([prop(0x0c150003, 1), prop(0x39fe001f, "to@example.com")]),
      tnefProps([prop(0x0c150003, 2), prop(0x3003001e, "cc@example.com")]),
      tnefProps([prop(0x0c150003, 3), prop(0x3003001e, "bcc@example.com")]),
    ),
  ),
  mapi(
    prop(0x1035001e, "<1@example.com>"),
    prop(0x5d01001f, "from@example.com"),
    prop(0x10130102, ascii("<p>hello</p>")),
    prop(0x10090102, lzfu("{\\rtf1\\ansi\\fromhtml1{\\*\\htmltag <b>rtf</b>}}")),
  ),
  render(),
  title("SHORT~1.DOC"),
  data(ascii("one")),
  attachment(prop(0x3707001f, "a long näme.doc"), prop(0x370e001e, "Application/MSWord")),
  render(),
  title("two.bin"),
  attachment(prop(0x37010102, ascii("two"))),
);

describe("winmail.dat", () => {
  test("gives its attachments by their long names, or else the short ones", () => {
    const { inner, flags } = readTnef(MAIL, LIMITS);
    expect(inner).toEqual([
      { name: "a long näme.doc", declared: "application/msword", bytes: ascii("one") },
      { name: "two.bin", declared: null, bytes: ascii("two") },
    ]);
    expect(flags).toEqual([]);
  });

  test("gives the facts of its mail", () => {
    expect(readTnef(MAIL, LIMITS).mail).toEqual({
      message_id: "<1@example.com>",
      subject: "Grüße",
      from: ["from@example.com"],
      to: ["to@example.com"],
      cc: ["cc@example.com"],
      date: "2024-02-29T12:30:15.000Z",
    });
  });

  test("gives every form of the body", () => {
    expect(readTnef(MAIL, LIMITS).texts).toEqual([
      { kind: "text", text: "see http://a.example/", source: "text" },
      { kind: "html", text: "<p>hello</p>", source: "html" },
      { kind: "html", text: "<b>rtf</b>", source: "html" },
    ]);
  });

  test("has texts in its code page", () => {
    const bytes = tnef(
      attribute(1, 0x9007, join(u32(932), u32(0))),
      attribute(1, 0x8004, ascii("\x82\xa0\0")),
    );
    expect(readTnef(bytes, LIMITS).mail.subject).toBe("あ");
  });

  test("takes the sender from the old attribute where there is no other", () => {
    const from = join(u16(4), u16(0), u16(3), u16(20), ascii("Me\0"), ascii("SMTP:me@example.com\0"));
    expect(readTnef(tnef(attribute(1, 0x8000, from)), LIMITS).mail.from).toEqual(["me@example.com"]);
  });

  test("gives a mail in the mail as TNEF, whose own attachments are found in it", () => {
    const outer = tnef(
      render(),
      title("Untitled Attachment"),
      attachment(prop(0x37050003, 5), prop(0x3701000d, join(IID_MESSAGE, MAIL))),
    );
    const { inner } = readTnef(outer, LIMITS);
    expect(inner).toEqual([
      { name: "Untitled Attachment", declared: "application/vnd.ms-tnef", bytes: MAIL },
    ]);
  });

  test("gives the file in an OLE object", () => {
    const object = writeCompound(
      storage("", [stream("\u0001Ole", ascii("x")), stream("CONTENTS", ascii("%PDF-1.7"))]),
    );
    const outer = tnef(render(), title("x"), attachment(prop(0x3701000d, join(IID_STORAGE, object))));
    expect(files(outer)).toEqual([["x", "%PDF-1.7"]]);
    expect(readTnef(outer, LIMITS).facts).toEqual(["outlook_ole_object"]);
  });

  test("gives an OLE object as a whole where there is more in it", () => {
    const object = writeCompound(
      storage("", [stream("CONTENTS", ascii("decoy")), stream("WordDocument", ascii("x"))]),
    );
    const outer = tnef(render(), title("x"), attachment(prop(0x3701000d, join(IID_STORAGE, object))));
    expect(readTnef(outer, LIMITS).inner.map(({ bytes }) => bytes)).toEqual([ascii("decoy"), object]);
  });

  test("gives the packed file of an OLE object by its own name", () => {
    const native = join(
      u32(0),
      u16(2),
      ascii("run.exe\0C:\\run.exe\0"),
      u32(0x30000),
      u32(5),
      ascii("temp\0"),
      u32(2),
      ascii("MZ"),
    );
    const object = writeCompound(storage("", [stream("\u0001Ole10Native", native)]));
    expect(files(tnef(render(), title("x"), attachment(prop(0x3701000d, object))))).toEqual([
      ["run.exe", "MZ"],
    ]);
  });

  test("gives the data fork of a file in MacBinary", () => {
    const header = new Uint8Array(128);
    header.set(join(Uint8Array.of(0, 3), ascii("mac")));
    header[86] = 4;
    const bytes = tnef(render(1), title("mac"), data(join(header, ascii("fork"), new Uint8Array(124))));
    expect(files(bytes)).toEqual([["mac", "fork"]]);
  });

  test("gives both contents of an attachment that has two", () => {
    const bytes = tnef(render(), title("x"), data(ascii("one")), attachment(prop(0x37010102, ascii("two"))));
    expect(files(bytes)).toEqual([
      ["x", "one"],
      ["x", "two"],
    ]);
    const same = tnef(render(), title("x"), data(ascii("one")), attachment(prop(0x37010102, ascii("one"))));
    expect(files(same)).toEqual([["x", "one"]]);
    expect(files(tnef(render(), data(ascii("one")), data(ascii("two"))))).toEqual([
      [null, "one"],
      [null, "two"],
    ]);
  });

  test("lists an empty file, and where one lies that is only named", () => {
    expect(files(tnef(render(), title("x"), data(ascii(""))))).toEqual([["x", ""]]);
    const elsewhere = readTnef(
      tnef(render(), title("x"), attachment(prop(0x37050003, 7), prop(0x370d001f, "https://b.example/x"))),
      LIMITS,
    );
    expect(elsewhere.urls).toEqual([{ url: "https://b.example/x", source: "outlook" }]);
    expect(elsewhere.inner).toEqual([]);
    expect(elsewhere.flags).toEqual(["outlook_attachment_elsewhere"]);
  });

  test("shows the fields of an appointment, and a reminder that reaches over the network", () => {
    const meeting = readTnef(
      tnef(
        attribute(1, 0x8008, ascii("IPM.Microsoft Schedule.MtgReq\0")),
        mapi(
          { ...prop(0x8001001f, "https://c.example/room"), local: 0x8208 },
          { ...prop(0x8002001f, "\\\\evil.example\\share\\x.wav"), local: 0x851f },
        ),
      ),
      LIMITS,
    );
    expect(meeting.facts).toEqual(["outlook_meeting", "outlook_reminder_file"]);
    expect(meeting.texts[0]?.text).toContain("https://c.example/room");
    expect(meeting.texts[0]?.source).toBe("outlook");
  });

  test("gives an RTF body with objects as a file too", () => {
    const rtf = "{\\rtf1{\\object{\\*\\objdata 01}}}";
    const { inner } = readTnef(tnef(mapi(prop(0x10090102, lzfu(rtf)))), LIMITS);
    expect(inner).toEqual([{ name: "body.rtf", declared: "application/rtf", bytes: ascii(rtf) }]);
  });
});

describe("a broken winmail.dat", () => {
  const file = (name: string) => join(render(), title(name), data(ascii(name)));

  test("with a wrong checksum is read all the same", () => {
    const bytes = tnef(render(), attribute(2, 0x8010, ascii("a\0"), 7), data(ascii("a")));
    expect(files(bytes)).toEqual([["a", "a"]]);
    expect(readTnef(bytes, LIMITS).flags).toEqual(["tnef_checksum_wrong"]);
  });

  test("cut short gives what there is", () => {
    const bytes = tnef(render(), title("a"), data(ascii("abcdef")));
    const cut = readTnef(bytes.subarray(0, bytes.length - 5), LIMITS);
    expect(cut.inner[0]?.bytes).toEqual(ascii("abc"));
    expect(cut.flags).toEqual(["tnef_truncated"]);
  });

  test("with another stream behind it, or behind rubbish, gives the files of both", () => {
    const twice = join(tnef(file("a")), ascii("rubbish"), tnef(file("b")));
    expect(files(twice)).toEqual([
      ["a", "a"],
      ["b", "b"],
    ]);
    expect(readTnef(twice, LIMITS).flags).toEqual(["tnef_garbage", "tnef_several_streams"]);
    expect(files(join(ascii("xx"), tnef(file("a"))))).toEqual([["a", "a"]]);
  });

  test("with an attachment at the level of the mail gives it too", () => {
    const bytes = tnef(render(), attribute(1, 0x8010, ascii("a\0")), attribute(1, 0x800f, ascii("hidden")));
    expect(files(bytes)).toEqual([["a", "hidden"]]);
    expect(readTnef(bytes, LIMITS).flags).toEqual(["tnef_level_wrong"]);
  });

  test("with a wrong count of properties gives those there are", () => {
    const props = tnefProps([prop(0x0037001f, "subject")]);
    props[0] = 200;
    const broken = readTnef(tnef(attribute(1, 0x9003, props)), LIMITS);
    expect(broken.mail.subject).toBe("subject");
    expect(broken.flags).toEqual(["tnef_properties_broken"]);
  });

  test("of no stream at all is only rubbish", () => {
    expect(readTnef(ascii("hello"), LIMITS)).toMatchObject({ inner: [], texts: [], flags: ["tnef_garbage"] });
    expect(readTnef(new Uint8Array(0), LIMITS).inner).toEqual([]);
  });
});

describe("hostile winmail.dat", () => {
  test("stops at the bounds it is given, and says so", () => {
    const many = tnef(...Array.from({ length: 50 }, (_, index) => join(render(), data(ascii(`${index}`)))));
    const few = readTnef(many, { ...LIMITS, inner: 7 });
    expect(few.inner).toHaveLength(7);
    expect(few.flags).toContain("inner_exceeded");
    const small = readTnef(tnef(render(), data(new Uint8Array(500))), { ...LIMITS, bytes: 100 });
    expect(small.inner).toEqual([]);
    expect(small.flags).toContain("inner_bytes_exceeded");
  });

  test("with thousands of recipients lists a thousand of them", () => {
    const row = (index: number) =>
      tnefProps([prop(0x0c150003, 1), prop(0x3003001f, `a${index}@example.com`)]);
    const rows = Array.from({ length: 1500 }, (_, index) => row(index));
    const { mail, flags } = readTnef(tnef(attribute(1, 0x9004, join(u32(1500), ...rows))), LIMITS);
    expect(mail.to).toHaveLength(1000);
    expect(flags).toEqual(["outlook_addresses_exceeded"]);
  });

  test("has names of a bounded length and well-formed texts", () => {
    const long = tnef(
      render(),
      attachment(prop(0x3707001f, utf16("\ud800".repeat(3000))), prop(0x37010102, u32(1))),
    );
    const { inner, flags } = readTnef(long, LIMITS);
    expect(inner[0]?.name?.isWellFormed()).toBe(true);
    expect(inner[0]?.name?.length).toBe(1024);
    expect(flags).toEqual(["outlook_value_cut"]);
  });

  test("costs twice the time at twice the size, whatever it is made of", () => {
    const shapes: Record<string, Uint8Array> = {
      signatures: u32(0x223e9f78),
      "starts of signatures": ascii("x"),
      "empty attachments": render(),
      "empty contents": data(new Uint8Array(0)),
      "messages of nothing": attribute(1, 0x9003, u32(0)),
      recipients: attribute(1, 0x9004, join(u32(1), u32(0))),
      "small properties": mapi(prop(0x0037001f, "")),
    };
    const time = (bytes: Uint8Array): number => {
      const start = cpuNow();
      readTnef(bytes, LIMITS);
      return cpuNow() - start;
    };
    for (const [name, shape] of Object.entries(shapes)) {
      const flood = (bytes: number) =>
        tnef(new Uint8Array(bytes).map((_, at) => shape[at % shape.length] ?? 0));
      time(flood(65_536));
      const [small, large] = [time(flood(131_072)), time(flood(1_048_576))];
      expect({ name, linear: large < Math.max(small, 10) * 40 }).toEqual({ name, linear: true });
    }
  });

  test("mutated gives only documented flags, within the bounds", () => {
    const seeds = [
      MAIL,
      tnef(render(), attachment(prop(0x3701000d, join(IID_MESSAGE, MAIL)))),
      tnef(
        mapi(prop(0x10090102, lzfu("{\\rtf1 \\'e4{\\object}}")), { ...prop(0x8001001f, "x"), local: 0x851f }),
      ),
    ];
    const change = fc.tuple(fc.nat(2000), fc.oneof(fc.nat(255), fc.constantFrom(0, 1, 2, 255)));
    fc.assert(
      fc.property(
        fc.constantFrom(...seeds),
        fc.array(change, { maxLength: 12 }),
        fc.nat(3000),
        (seed, changes, cut) => {
          const bytes = seed.slice(0, Math.max(cut, 10));
          for (const [at, value] of changes) if (at < bytes.length) bytes[at] = value;
          const reading = readTnef(bytes, { bytes: 4000, inner: 5, urls: 5 });
          expect(reading.inner.length).toBeLessThanOrEqual(5);
          for (const flag of reading.flags) {
            expect(flag in OUTLOOK_FLAGS || flag in COMPOUND_FLAGS || flag in READER_FLAGS).toBe(true);
          }
          for (const fact of reading.facts) expect(fact in OUTLOOK_FACTS).toBe(true);
        },
      ),
      { numRuns: 400 },
    );
  });
});
