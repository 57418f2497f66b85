import { describe, expect, test } from "bun:test";
import { looksDangerous } from "../../../../src/extract/readings/dangerous.ts";
import type { ReadingFlag } from "../../../../src/extract/readings/flags.ts";
import { type LenientReading, rangesRead, readLenient } from "../../../../src/extract/readings/lenient.ts";
import { type SweepReading, sweepRaw } from "../../../../src/extract/readings/sweep.ts";
import { attached, multipart } from "../mails.ts";
import { PAYLOAD, TRICKS, uuencoded, yencoded } from "./tricks.ts";

const LIMITS = { bytes: 64 * 1024 * 1024, inner: 500, urls: 500, depth: 10, parts: 500 };

function readBoth(mail: Buffer): { readonly lenient: LenientReading; readonly swept: SweepReading } {
  const lenient = readLenient(mail, LIMITS);
  const swept = sweepRaw(mail, LIMITS, {
    worth: looksDangerous,
    skip: rangesRead(lenient),
    heads: lenient.heads,
  });
  return { lenient, swept };
}

/** Every content that the two readings find, mails that the sweep finds read as well. */
function contentsOf(mail: Buffer): Uint8Array[] {
  const { lenient, swept } = readBoth(mail);
  const inner = swept.found
    .filter(({ how }) => how === "mail")
    .flatMap(({ bytes }) => readLenient(bytes, LIMITS).parts);
  return [...lenient.parts, ...swept.found, ...inner].map(({ bytes }) => bytes);
}

describe("a payload is found behind", () => {
  for (const { name, mail } of TRICKS) {
    test(name, () => {
      expect(contentsOf(mail).some((bytes) => Buffer.compare(bytes, PAYLOAD) === 0)).toBe(true);
    });
  }
});

const HEADERS = ["From: a@example.com", "To: b@example.com", "Subject: s", "MIME-Version: 1.0"];
const CLEAN = multipart(HEADERS, [
  {
    headers: ["Content-Type: text/plain; charset=utf-8", "Content-Transfer-Encoding: quoted-printable"],
    body: "h=C3=A9\r\n",
  },
  { headers: ["Content-Type: text/html"], body: "<html><p>hello</p></html>" },
  attached("a.zip", PAYLOAD),
  {
    headers: ["Content-Type: message/rfc822"],
    body: multipart(HEADERS, [attached("b.zip", PAYLOAD)], "inner"),
  },
]);

describe("the lenient reading of a clean mail", () => {
  const { lenient, swept } = readBoth(CLEAN);

  test("gives its parts as they are, with names, types and depth, and no flag", () => {
    expect(lenient.flags).toEqual([]);
    expect(
      lenient.parts.map(({ name, declared, charset, kind, depth, primary }) => [
        name,
        declared,
        charset,
        kind,
        depth,
        primary,
      ]),
    ).toEqual([
      [null, "text/plain", "utf-8", "text", 0, true],
      [null, "text/html", null, "html", 0, true],
      ["a.zip", "application/octet-stream", null, "attachment", 0, true],
      ["b.zip", "application/octet-stream", null, "attachment", 1, true],
      [null, "message/rfc822", null, "mail", 0, true],
    ]);
    expect(Buffer.from(lenient.parts[0]?.bytes ?? []).toString()).toBe("hé\r\n");
  });

  test("tells where each body stands", () => {
    for (const { range, kind } of lenient.parts) {
      expect(range).not.toBeNull();
      if (kind === "mail" && range !== null)
        expect(CLEAN.toString("latin1", range.start, range.start + 5)).toBe("From:");
    }
  });

  test("leaves nothing to the sweep", () => {
    expect(swept).toEqual({ found: [], flags: [] });
  });

  test("is the same where lines end in LF alone", () => {
    const unix = Buffer.from(CLEAN.toString("latin1").replaceAll("\r\n", "\n"), "latin1");
    expect(readLenient(unix, LIMITS).flags).toEqual([]);
    expect(readLenient(unix, LIMITS).parts).toHaveLength(5);
  });
});

describe("the name of a part is read from", () => {
  const named = (...headers: readonly string[]) => {
    const mail = multipart(HEADERS, [
      { headers: ["Content-Transfer-Encoding: base64", ...headers], body: PAYLOAD.toString("base64") },
    ]);
    return readLenient(mail, LIMITS).parts[0];
  };
  const cases: Readonly<Record<string, readonly [readonly string[], string]>> = {
    filename: [['Content-Disposition: attachment; filename="a b.zip"'], "a b.zip"],
    "filename without quotes": [["Content-Disposition: attachment; filename=a b.zip"], "a b.zip"],
    name: [["Content-Type: application/zip; name=a.zip"], "a.zip"],
    "filename*": [["Content-Disposition: attachment; filename*=utf-8''%C3%A9.zip"], "é.zip"],
    "filename* in Latin-1": [["Content-Disposition: attachment; filename*=iso-8859-1'en'%E9.zip"], "é.zip"],
    "pieces in any order": [['Content-Disposition: attachment; filename*1="b.zip"; filename*0=a'], "ab.zip"],
    "encoded pieces": [
      ["Content-Disposition: attachment; filename*0*=utf-8''%C3; filename*1*=%A9.zip"],
      "é.zip",
    ],
    "an encoded word": [['Content-Disposition: attachment; filename="=?utf-8?B?w6kuemlw?="'], "é.zip"],
    "an encoded word in the type": [["Content-Type: a/b; name==?utf-8?Q?=C3=A9=2Ezip?="], "é.zip"],
    "the description": [["Content-Type: application/zip", "Content-Description: a.zip"], "a.zip"],
    "an escaped string": [['Content-Disposition: attachment; filename="a\\"b.zip"'], 'a"b.zip'],
  };
  for (const [name, [headers, expected]] of Object.entries(cases)) {
    test(name, () => {
      expect(named(...headers)?.name).toBe(expected);
    });
  }

  test("both of two, which are given both", () => {
    const part = named("Content-Disposition: attachment; filename=a.txt", "Content-Type: a/b; name=b.exe");
    expect(part?.names).toEqual(["a.txt", "b.exe"]);
  });
});

describe("what is ambiguous is flagged:", () => {
  const flagsOf = (group: string): string[] => [
    ...new Set(
      TRICKS.filter(({ name }) => name.startsWith(group)).flatMap(({ mail }) => readBoth(mail).lenient.flags),
    ),
  ];
  const expected: Readonly<Record<string, ReadingFlag>> = {
    "duplicate headers": "duplicate_header",
    "header names": "malformed_header",
    "line breaks between headers: bare CR": "bare_cr",
    "line breaks between headers: bare LF": "bare_lf",
    "between header and body": "no_header_delimiter",
    "boundary: comment": "boundary_ambiguous",
    "boundary: missing": "missing_boundary",
    "boundary: not closed": "missing_closing_boundary",
    "boundary: name misspelt": "undeclared_parts",
    "type: an encoded": "encoded_multipart",
    "type: a part that calls itself a multipart": "content_in_multipart_type",
    "place: preamble": "content_in_preamble",
    "place: epilogue": "content_in_epilogue",
    "transfer encoding: comment": "malformed_encoding",
    "transfer encoding: unknown": "unknown_encoding",
    "transfer encoding: wrong": "undeclared_encoding",
    "base64: equals": "malformed_base64",
    "quoted-printable: broken": "malformed_quoted_printable",
    "pseudo end of data": "pseudo_end_of_data",
    "charset: UTF-16": "utf16_mail",
    "header names: NUL": "nul_bytes",
  };
  for (const [group, flag] of Object.entries(expected)) {
    test(`${flag}, ${group}`, () => {
      expect(flagsOf(group)).toContain(flag);
    });
  }

  test("message_partial and external_body", () => {
    const parts = ["message/partial; id=1; number=1", "message/external-body; access-type=URL"];
    const mail = multipart(
      HEADERS,
      parts.map((type) => ({ headers: [`Content-Type: ${type}`], body: "x" })),
    );
    expect(readLenient(mail, LIMITS).flags).toEqual(["message_partial", "external_body"]);
  });

  test("utf7_text, with the text in UTF-8", () => {
    const mail = multipart(HEADERS, [
      { headers: ["Content-Type: text/plain; charset=utf-7"], body: "+ADw-script+AD4-x" },
    ]);
    const { parts, flags } = readLenient(mail, LIMITS);
    expect(flags).toEqual(["utf7_text"]);
    expect(Buffer.from(parts[1]?.bytes ?? []).toString()).toBe("<script>x");
  });
});

test("a body whose dots stayed doubled on the way is read without them as well", () => {
  const script = "<script>\r\n.run();\r\n</script>";
  const file = Buffer.concat([PAYLOAD, Buffer.from(`\r\n${script}`)]);
  const stuffed = Buffer.from(file.toString("latin1").replaceAll("\n.", "\n.."), "latin1");
  const mail = multipart(HEADERS, [{ headers: ["Content-Type: application/zip"], body: stuffed }]);
  const { parts } = readLenient(mail, LIMITS);
  expect(parts.map(({ primary, bytes }) => [primary, Buffer.compare(bytes, file) === 0])).toEqual([
    [true, false],
    [false, true],
  ]);
});

describe("a bound of the lenient reading", () => {
  test("parts", () => {
    const mail = multipart(HEADERS, Array(20).fill(attached("a.zip", PAYLOAD)));
    const { parts, flags } = readLenient(mail, { ...LIMITS, parts: 5 });
    expect(parts).toHaveLength(5);
    expect(flags).toEqual(["lenient_parts_exceeded"]);
  });

  test("bytes", () => {
    const mail = multipart(HEADERS, Array(20).fill(attached("a.zip", PAYLOAD)));
    const { parts, flags } = readLenient(mail, { ...LIMITS, bytes: PAYLOAD.length * 3 });
    expect(parts).toHaveLength(3);
    expect(flags).toContain("lenient_bytes_exceeded");
  });

  test("depth", () => {
    let mail = multipart(HEADERS, [attached("a.zip", PAYLOAD)]);
    for (let level = 0; level < 4; level++) {
      mail = multipart(HEADERS, [{ headers: ["Content-Type: message/rfc822"], body: mail }], `b${level}`);
    }
    expect(readLenient(mail, LIMITS).parts.map(({ depth }) => depth)).toEqual([4, 3, 2, 1, 0]);
    const cut = readLenient(mail, { ...LIMITS, depth: 2 });
    expect(cut.flags).toContain("lenient_depth_exceeded");
  });
});

describe("the sweep", () => {
  const text = "The quick brown fox jumps over the lazy dog, while mail servers sleep.\r\n".repeat(50);

  test("finds a file in a text, tells how and where, and its name", () => {
    const before = Buffer.from(`${text}\r\n`);
    const found = sweepRaw(Buffer.concat([before, yencoded(PAYLOAD)]), LIMITS).found;
    expect(found.map(({ name, how, range }) => [name, how, range.start])).toEqual([
      ["a.zip", "yenc", before.length],
    ]);
  });

  test("finds base64 from whatever character it begins at", () => {
    for (const junk of ["", "A", "AB", "ABC", "ABCD", "ABCDE"]) {
      const { found } = sweepRaw(Buffer.from(`${junk}${PAYLOAD.toString("base64")}\r\n`), LIMITS);
      expect(found.some(({ bytes }) => Buffer.compare(bytes, PAYLOAD) === 0)).toBe(true);
    }
  });

  test("finds one stream behind another", () => {
    const other = Buffer.concat([Buffer.from("%PDF-1.4\n"), Buffer.alloc(99, 7)]);
    const body = `${other.toString("base64")}\r\n${PAYLOAD.toString("base64")}\r\n`;
    const found = sweepRaw(Buffer.from(body), LIMITS).found;
    expect(found.some(({ bytes }) => Buffer.compare(bytes, PAYLOAD) === 0)).toBe(true);
  });

  test("passes over what another reading has", () => {
    const raw = Buffer.from(`${text}${PAYLOAD.toString("base64")}\r\n`);
    expect(
      sweepRaw(raw, LIMITS, { worth: looksDangerous, skip: [{ start: text.length, end: raw.length }] }).found,
    ).toEqual([]);
  });

  test("finds nothing in a text", () => {
    expect(sweepRaw(Buffer.from(text), LIMITS)).toEqual({ found: [], flags: [] });
  });

  test("ends at its bounds, and says so", () => {
    const raw = Buffer.from(Array.from({ length: 20 }, (_, index) => `${uuFile(index)}\r\n`).join(""));
    const { found, flags } = sweepRaw(raw, { ...LIMITS, inner: 5 });
    expect(found).toHaveLength(5);
    expect(flags).toEqual(["sweep_exceeded"]);
  });
});

/** A file of its own, as uuencode. */
function uuFile(index: number): string {
  return `begin 644 ${index}.zip\r\n${uuencoded(Buffer.concat([PAYLOAD, Buffer.from([index])]))}\`\r\nend\r\n`;
}

describe("what looks dangerous", () => {
  const yes: Readonly<Record<string, Buffer>> = {
    zip: PAYLOAD,
    program: Buffer.concat([
      Buffer.from("MZ\x90\0\x03\0\0\0\x04\0\0\0\xff\xff\0\0", "latin1"),
      Buffer.alloc(48),
    ]),
    pdf: Buffer.from("\r\n%PDF-1.7"),
    rtf: Buffer.from("{\\rtf1"),
    page: Buffer.from("<!DOCTYPE html><html>"),
    script: Buffer.from("var x = new ActiveXObject('a');"),
    gzip: Buffer.from("1f8b0800000000", "hex"),
    bzip2: Buffer.from("BZh91AY&SY"),
    tar: Buffer.concat([Buffer.alloc(257, 65), Buffer.from("ustar")]),
    "UTF-16 script": Buffer.concat([Buffer.from([0xff, 0xfe]), Buffer.from("<script>", "utf16le")]),
  };
  for (const [name, head] of Object.entries(yes)) {
    test(`is a ${name}`, () => {
      expect(looksDangerous(head)).toBe(true);
    });
  }

  test("is no prose, no picture and no random bytes", () => {
    expect(looksDangerous(Buffer.from("MZ is how the letter began, and so on."))).toBe(false);
    expect(looksDangerous(Buffer.from("89504e470d0a1a0a0000000d49484452", "hex"))).toBe(false);
    expect(looksDangerous(Buffer.alloc(0))).toBe(false);
    let hits = 0;
    for (let seed = 1, state = 1; seed < 5000; seed++) {
      const head = Buffer.alloc(64);
      for (let at = 0; at < head.length; at++) {
        state = (state * 1103515245 + 12345) & 0x7fffffff;
        head[at] = state >> 16;
      }
      if (looksDangerous(head)) hits++;
    }
    expect(hits).toBe(0);
  });
});
