import { describe, expect, test } from "bun:test";
import { createCipheriv, createHash } from "node:crypto";
import { deflateSync } from "node:zlib";
import { readOleDocument } from "../../../../src/extract/office/ole-documents.ts";
import { unpackVba } from "../../../../src/extract/office/vba.ts";
import {
  bytes,
  compound,
  docx,
  hex,
  LIMITS,
  ole10Native,
  packVba,
  paragraph,
  storage,
  stream,
  textOf,
  u16,
  u32,
  urlsOf,
  utf16,
  vbaProject,
} from "./make.ts";

const read = (file: Uint8Array) => readOleDocument(file, LIMITS);
const record = (kind: number, ...data: readonly (string | number | Uint8Array)[]): Buffer => {
  const body = bytes(...data);
  return bytes(u16(kind), u16(body.length), body);
};
const urlMoniker = (url: string): Buffer =>
  bytes(hex("e0c9ea79f9bace118c8200aa004ba90b"), u32(url.length * 2 + 2), utf16(`${url}\0`));

describe("macros in a document of Office 2003", () => {
  const withMacros = (source: string, offset?: number): Uint8Array =>
    compound([stream("WordDocument", bytes(600)), storage("Macros", [...vbaProject(source, offset)])]);

  test("give their source with its texts put together", () => {
    const reading = read(
      withMacros(
        `Sub Document_Open()\r\nu = "http" & _\r\n "://a.exam" & Chr(112) & "le/x"\r\nv = StrReverse("x/elpmaxe.b//:ptth")\r\nEnd Sub`,
      ),
    );
    expect(reading.facts).toEqual(["macros", "macros_autoexec", "macros_suspicious"]);
    expect(textOf(reading, "macro")).toContain('"http://a.example/x"');
    expect(textOf(reading, "macro")).toContain("http://b.example/x");
  });

  test("are found where the list of modules lies about their place", () => {
    const parts = vbaProject("Sub AutoOpen()\r\nEnd Sub", 100);
    const [vba] = parts;
    if (vba?.kind !== "storage") throw new Error("no storage");
    const children = vba.children.map((child) =>
      child.kind === "stream" && child.name === "dir" ? stream("dir", bytes("broken")) : child,
    );
    const reading = read(compound([storage("_VBA_PROJECT_CUR", [{ ...vba, children }])]));
    expect(reading.facts).toEqual(["macros", "macros_autoexec"]);
  });

  test("that have no source any more are told by their names", () => {
    const cache = bytes("\xcc\x61", utf16("Document_Open"), 10);
    const file = compound([storage("Macros", [storage("VBA", [stream("_VBA_PROJECT", cache)])])]);
    expect(read(file).facts).toEqual(["macros", "macros_stomped", "macros_autoexec"]);
  });

  test("keep URLs in their forms and in their compiled code", () => {
    const reading = read(
      compound([
        storage("Macros", [
          ...vbaProject("x = 1"),
          storage("UserForm1", [stream("o", bytes(8, "http://form.example/p", 8))]),
        ]),
      ]),
    );
    expect(textOf(reading, "macro")).toContain("http://form.example/p");
  });

  test("are unpacked with their copies", () => {
    const packed = hex(
      "012fb00023616161626364658266007061676869" +
        "6a013808616b6c00306d6e6f7006710270041072737475761077787" +
        "97a003c",
    );
    expect(unpackVba(packed, 0, 100).toString()).toBe(
      "#aaabcdefaaaaghijaaaaaklaaamnopqaaaaaaaaaaaarstuvwxyzaaa",
    );
    expect(unpackVba(packVba("abc ".repeat(3000)), 0, 1e6).toString()).toBe("abc ".repeat(3000));
    expect(unpackVba(bytes("\x01\x03\xb0\x02", "a", u16(0)), 0, 100).toString()).toBe("aaaa");
  });
});

describe("a document of Word", () => {
  const word = (text: string, bits = 0): readonly Buffer[] => {
    const body = Buffer.alloc(0x1aa);
    body.writeUInt16LE(0xa5ec, 0);
    body.writeUInt16LE(bits, 0x0a);
    const clx = bytes("\x02", u32(16), u32(0), u32(text.length), 2, u32(0x40000000 | (body.length * 2)), 2);
    const template = bytes(
      u16(0xffff),
      u16(2),
      u16(0),
      u16(1),
      utf16("a"),
      u16(20),
      utf16("http://t.example/t.d"),
    );
    body.writeUInt32LE(clx.length, 0x19a);
    return [bytes(body, text), bytes(clx, template)];
  };

  test("gives its text, the codes of its fields and its template", () => {
    const [body = bytes(), table = bytes()] = word('Hi\r\x13 HYPERLINK "http://a.example/" \x14here\x15 bye');
    const reading = read(compound([stream("WordDocument", body), stream("0Table", table)]));
    expect(textOf(reading, "office")).toStartWith("Hi\nhere bye");
    expect(urlsOf(reading)).toEqual(["http://a.example/", "http://t.example/t.d"]);
    expect(reading.facts).toEqual(["remote_template"]);
  });

  test("may be encrypted", () => {
    const [body = bytes()] = word("xx", 0x0100);
    expect(read(compound([stream("WordDocument", body)])).facts).toEqual(["encrypted"]);
  });

  test("gives the files packed in it, and tells of dangerous objects", () => {
    const reading = read(
      compound([
        stream("WordDocument", bytes(600)),
        storage("ObjectPool", [
          storage("_1", [stream("\x01OLE10nAtIVe", ole10Native("x.vbs", bytes("MsgBox 1")))]),
          storage("_2", [stream("Equation Native", bytes("x"))], "0002ce0200000000c000000000000046"),
          storage("_3", [stream("Package", docx("x"))]),
          storage("_4", [stream("\x01Ole", bytes(4, u32(1), 20, urlMoniker("http://a.example/x.hta")))]),
        ]),
      ]),
    );
    expect(reading.inner.map(({ name }) => name)).toEqual(["x.vbs", null]);
    expect(reading.facts).toEqual(["equation_editor", "embedded_object", "embedded_file", "linked_object"]);
    expect(urlsOf(reading)).toEqual(["http://a.example/x.hta"]);
  });
});

describe("a workbook of Excel 2003", () => {
  const book = (...records: readonly Uint8Array[]) => read(compound([stream("Workbook", bytes(...records))]));

  test("tells of hidden sheets of macros that run by themselves", () => {
    const reading = book(
      record(0x809, u16(0x600), u16(5), 12),
      record(0x85, 4, "\x02\x01", "\x01\0M"),
      record(0x18, u16(0x20), "\0\x01", u16(0), 8, "\0\x01"),
      record(0xfc, 8, "EXEC http://a.example/x"),
    );
    expect(reading.facts.toSorted()).toEqual(["excel4_macros", "hidden_macro_sheet", "macros_autoexec"]);
    expect(textOf(reading, "macro")).toBe("http://a.example/x");
  });

  test("gives its links, and what it asks programs by DDE", () => {
    const reading = book(
      record(
        0x1b8,
        8,
        hex("d0c9ea79f9bace118c8200aa004ba90b"),
        u32(2),
        u32(3),
        urlMoniker("http://a.example/"),
      ),
      record(0x1ae, u16(0), u16(20), "\0", "cmd\x03/c start http://b.example/"),
    );
    expect(urlsOf(reading)).toEqual(["http://a.example/"]);
    expect(reading.facts).toEqual(["dde"]);
    expect(textOf(reading, "office")).toContain("cmd|/c start http://b.example/");
  });

  test("may be encrypted, or without its compound file", () => {
    expect(book(record(0x809, 16), record(0x2f, 6)).facts).toEqual(["encrypted"]);
    expect(read(bytes(record(9, u16(2), u16(0x40)), record(4, 7, "http://a.example/"))).facts).toEqual([
      "excel4_macros",
    ]);
  });
});

describe("a presentation of PowerPoint 2003", () => {
  const atom = (kind: number, data: Uint8Array, instance = 0): Buffer =>
    bytes(u16(instance << 4), u16(kind), u32(data.length), data);
  const container = (kind: number, data: Uint8Array): Buffer =>
    bytes(u16(15), u16(kind), u32(data.length), data);

  test("gives text, links, macros and objects", () => {
    const macros = compound([...vbaProject("Sub Auto_Open()\r\nEnd Sub")]);
    const slides = bytes(
      container(1000, bytes(atom(0x0fa0, utf16("Füße")), atom(0x0fa8, bytes("www.b.example")))),
      container(0x0fd7, atom(0x0fba, utf16("http://a.example/"))),
      atom(0x0ff3, bytes(8, "\x02", 7)),
      atom(0x1011, bytes(u32(macros.length), deflateSync(macros)), 1),
    );
    const reading = read(compound([stream("PowerPoint Document", slides)]));
    expect(textOf(reading, "office")).toBe("Füße\nwww.b.example\n");
    expect(urlsOf(reading)).toEqual(["http://a.example/"]);
    expect(reading.facts).toEqual(["program_action", "macros", "macros_autoexec"]);
  });

  test("gives its images", () => {
    const image = bytes(hex("89504e470d0a1a0a"), "pixels");
    const pictures = bytes(u16(0x6e00), u16(0xf01e), u32(17 + image.length), 17, image, "more");
    expect(read(compound([stream("Pictures", pictures)])).inner).toEqual([
      { name: null, declared: "image/png", bytes: image },
    ]);
  });
});

describe("an encrypted document", () => {
  const plain = docx(paragraph("http://a.example/"));
  const hash = (...pieces: readonly Uint8Array[]): Buffer =>
    createHash("sha512")
      .update(bytes(...pieces))
      .digest();
  const encrypt = (key: Uint8Array, iv: Uint8Array, data: Uint8Array, cipher = "aes-256-cbc"): Buffer => {
    const state = createCipheriv(cipher, key, iv.length === 0 ? null : iv);
    state.setAutoPadding(false);
    return Buffer.concat([state.update(bytes(data, (16 - (data.length % 16)) % 16)), state.final()]);
  };

  /** As Office 2010 and later encrypts. */
  function agile(password: string): Uint8Array {
    const salt = Buffer.alloc(16, 1);
    const rounds = 1000;
    let secret = hash(salt, utf16(password));
    for (let round = 0; round < rounds; round++) secret = hash(u32(round), secret);
    const key = Buffer.alloc(32, 7);
    const input = Buffer.alloc(16, 3);
    const close = (block: string, data: Uint8Array): string =>
      encrypt(hash(secret, hex(block)).subarray(0, 32), salt, data).toString("base64");
    const common = `spinCount="${rounds}" saltSize="16" blockSize="16" keyBits="256" hashSize="64" hashAlgorithm="SHA512" saltValue="${salt.toString("base64")}"`;
    const xml = `<encryption><keyData ${common}/><keyEncryptors><keyEncryptor><p:encryptedKey ${common} encryptedVerifierHashInput="${close("fea7d2763b4b9e79", input)}" encryptedVerifierHashValue="${close("d7aa0f6d3061344e", hash(input))}" encryptedKeyValue="${close("146e0be7abacd0d6", key)}"/></keyEncryptor></keyEncryptors></encryption>`;
    const segments: Buffer[] = [];
    for (let at = 0; at < plain.length; at += 4096) {
      const iv = hash(salt, u32(at / 4096)).subarray(0, 16);
      segments.push(encrypt(key, iv, plain.subarray(at, at + 4096)));
    }
    return compound([
      stream("EncryptionInfo", bytes(u16(4), u16(4), u32(0x40), xml)),
      stream("EncryptedPackage", bytes(u32(plain.length), u32(0), ...segments)),
    ]);
  }

  /** As Office 2007 encrypts. */
  function standard(password: string): Uint8Array {
    const sha1 = (...pieces: readonly Uint8Array[]): Buffer =>
      createHash("sha1")
        .update(bytes(...pieces))
        .digest();
    const salt = Buffer.alloc(16, 5);
    let secret = sha1(salt, utf16(password));
    for (let round = 0; round < 50_000; round++) secret = sha1(u32(round), secret);
    secret = sha1(secret, u32(0));
    const block = Buffer.alloc(64, 0x36);
    for (const [at, value] of secret.entries()) block[at] = 0x36 ^ value;
    const key = sha1(block).subarray(0, 16);
    const none = Buffer.alloc(0);
    const close = (data: Uint8Array): Buffer => encrypt(key, none, data, "aes-128-ecb");
    const input = Buffer.alloc(16, 9);
    const header = bytes(u32(0x24), u32(0), u32(0x660e), u32(0x8004), u32(128), u32(24), 8, utf16("x\0"));
    const verifier = bytes(u32(16), salt, close(input), u32(20), close(sha1(input)));
    return compound([
      stream("EncryptionInfo", bytes(u16(3), u16(2), u32(0x24), u32(header.length), header, verifier)),
      stream("EncryptedPackage", bytes(u32(plain.length), u32(0), close(plain))),
    ]);
  }

  test.each([
    ["agile", agile],
    ["standard", standard],
  ])("that opens without a question is opened (%s)", (_, encrypted) => {
    const reading = read(encrypted("VelvetSweatshop"));
    expect(reading.facts).toEqual(["encrypted", "default_password"]);
    expect(Buffer.from(reading.inner[0]?.bytes ?? []).equals(plain)).toBe(true);
  });

  test("with a password of its own is only told of", () => {
    const reading = read(agile("secret"));
    expect(reading.facts).toEqual(["encrypted"]);
    expect(reading.inner).toEqual([]);
  });
});
