import { describe, expect, test } from "bun:test";
import { deflateSync } from "node:zlib";
import { PDF_FACTS, PDF_FLAGS } from "../../../../src/extract/pdf/flags.ts";
import { type PdfReading, readPdf } from "../../../../src/extract/pdf/pdf.ts";
import { type Limits, READER_FACTS, READER_FLAGS } from "../../../../src/extract/reading.ts";
import {
  classicPdf,
  deflated,
  link,
  type Objects,
  onePage,
  packedPdf,
  sealedString,
  sealNew,
  sealOld,
} from "./write-pdf.ts";

const LIMITS: Limits = { bytes: 32 * 1024 * 1024, inner: 100, urls: 100 };

function read(bytes: Uint8Array, passwords: readonly string[] = [], limits: Limits = LIMITS): PdfReading {
  const reading = readPdf(bytes, limits, passwords);
  for (const flag of reading.flags) expect({ ...PDF_FLAGS, ...READER_FLAGS }).toHaveProperty(flag);
  for (const fact of reading.facts) expect({ ...PDF_FACTS, ...READER_FACTS }).toHaveProperty(fact);
  return reading;
}

const urls = (reading: PdfReading): string[] => reading.urls.map(({ url }) => url);
const texts = (reading: PdfReading): string => reading.texts.map(({ text }) => text).join("\n");
const inner = (reading: PdfReading): string[] =>
  reading.inner.map(({ name, bytes }) => `${name}=${Buffer.from(bytes).toString()}`);
const latin = (text: string): Buffer => Buffer.from(text, "latin1");
const withLink = (uri: string): Objects => onePage({ page: `/Annots [${link(`/S /URI /URI ${uri}`)}]` });

describe("links", () => {
  test("of annotations, written in every way a string can be", () => {
    const ways: Readonly<Record<string, string>> = {
      "(http://a.example/x)": "http://a.example/x",
      "(http://a.example/\\(x\\)\\055\\\ny)": "http://a.example/(x)-y",
      "(http://a.example/(balanced))": "http://a.example/(balanced)",
      "<687474703A2F2F 612E6578616D706C65>": "http://a.example",
      "<FEFF0068007400740070003A002F002F00612E006500780061006D0070006C0065>": "",
      "(\xfe\xff\0h\0t\0t\0p\0:\0/\0/\0b\0.\0e\0x)": "http://b.ex",
      "(\xef\xbb\xbfhttp://c.example/\xc3\xa4)": "http://c.example/ä",
      "5 0 R": "http://indirect.example",
    };
    for (const [written, url] of Object.entries(ways)) {
      const objects = { ...withLink(written), 5: "(http://indirect.example)" };
      if (url === "") continue;
      expect(urls(read(classicPdf(objects)))).toEqual([url]);
      expect(urls(read(packedPdf(objects)))).toEqual([url]);
    }
  });

  test("names with escapes are the same names, and tell", () => {
    const reading = read(
      classicPdf(onePage({ page: "/Annots [<< /A << /#53 /#55RI /U#52I (http://a.example) >> >>]" })),
    );
    expect(urls(reading)).toEqual(["http://a.example"]);
    expect(reading.facts).toEqual(["uri_action", "obfuscated_names"]);
    const harmless = read(classicPdf(onePage({ page: "/Lime#20Green (x) /A#42 1" })));
    expect(harmless.facts).toEqual([]);
  });

  test("relative ones are joined to the base", () => {
    const reading = read(
      classicPdf({
        ...withLink("(login.php?id=1)"),
        5: "<< /URI << /Base (https://base.example/dir/) >> >>",
      }),
    );
    expect(urls(reading)).toEqual(["https://base.example/dir/", "https://base.example/dir/login.php?id=1"]);
  });

  test("without a scheme, and with schemes that lead nowhere", () => {
    expect(urls(read(classicPdf(withLink("(www.a.example/x)"))))).toEqual(["www.a.example/x"]);
    expect(urls(read(classicPdf(withLink("(a.example/x)"))))).toEqual(["a.example/x"]);
    expect(urls(read(classicPdf(withLink("(mailto:x@a.example)"))))).toEqual([]);
    const script = read(classicPdf(withLink("(javascript:app.alert\\(1\\))")));
    expect(script.facts).toContain("javascript");
    expect(texts(script)).toBe("app.alert(1)");
  });

  test("of other actions", () => {
    const actions: Readonly<Record<string, readonly string[]>> = {
      "/S /GoToR /F (http://a.example/x.pdf) /D [0 /Fit]": ["remote_document"],
      "/S /GoToR /F << /FS /URL /F (http://a.example/x.pdf) >>": ["remote_document"],
      "/S /SubmitForm /F << /FS /URL /F (http://a.example/x.pdf) >>": ["submit_form"],
      "/S /ImportData /F (http://a.example/x.pdf)": ["submit_form"],
      "/S /Launch /F (http://a.example/x.pdf)": ["launch_action"],
      "/S /Rendition /R << /C << /D << /FS /URL /F (http://a.example/x.pdf) >> >> >>": ["rich_media"],
    };
    for (const [action, facts] of Object.entries(actions)) {
      const reading = read(classicPdf(onePage({ page: `/Annots [${link(action)}]` })));
      expect(urls(reading)).toEqual(["http://a.example/x.pdf"]);
      expect(reading.facts).toEqual([...facts]);
    }
  });

  test("to another machine's files", () => {
    const reading = read(
      classicPdf(onePage({ page: `/AA << /O << /S /GoToE /F (\\\\\\\\host.example\\\\share) >> >>` })),
    );
    expect(reading.facts).toEqual(["event_action", "unc_link"]);
  });

  test("producers and namespaces are none", () => {
    const xmp = '<x xmlns:dc="http://purl.org/dc/elements/1.1/">http://no.example</x>';
    const objects = {
      ...onePage({ catalog: "/Metadata 5 0 R" }),
      5: { dict: "/Type /Metadata /Subtype /XML", stream: xmp },
      6: "<< /Producer (Tool 1.0 http://tool.example) /Creator (http://tool.example) >>",
    };
    const reading = read(classicPdf(objects, "/Info 6 0 R"));
    expect({ urls: urls(reading), texts: texts(reading) }).toEqual({ urls: [], texts: "" });
  });
});

describe("what a document does", () => {
  test("scripts in strings and streams are given as text", () => {
    const objects = {
      ...onePage({ catalog: "/OpenAction << /S /JavaScript /JS (app.launchURL\\('http://a.example'\\)) >>" }),
      5: "<< /S /JavaScript /JS 6 0 R >>",
      6: deflated("", "getURL('http://b.example')"),
    };
    const reading = read(packedPdf(objects));
    expect(reading.facts.toSorted()).toEqual(["javascript", "open_action"]);
    expect(reading.texts).toEqual([
      { kind: "text", text: "app.launchURL('http://a.example')", source: "pdf_script" },
      { kind: "text", text: "getURL('http://b.example')", source: "pdf_script" },
    ]);
  });

  test("going to a page on opening is nothing", () => {
    for (const action of ["[3 0 R /Fit]", "<< /S /GoTo /D [3 0 R /Fit] >>", "(name)"]) {
      expect(read(classicPdf(onePage({ catalog: `/OpenAction ${action}` }))).facts).toEqual([]);
    }
  });

  test("command lines are given as text", () => {
    const reading = read(
      classicPdf(
        onePage({
          catalog: "/OpenAction << /S /Launch /Win << /F (cmd.exe) /P (/c start http://a.example/x) >> >>",
        }),
      ),
    );
    expect(reading.facts).toEqual(["open_action", "launch_action"]);
    expect(texts(reading)).toContain("cmd.exe /c start http://a.example/x");
    const file = onePage({ page: `/Annots [${link("/S /Launch /F << /Type /Filespec /F (run.bat) >>")}]` });
    expect(texts(read(classicPdf(file)))).toBe("run.bat");
  });

  test("forms in XML", () => {
    const xml = '<f xmlns="http://ns.example/"><submit target="http://a.example/?x=1&amp;y=2"/></f>';
    const reading = read(
      classicPdf({
        ...onePage({ catalog: "/AcroForm << /XFA [(template) 5 0 R] >>" }),
        5: deflated("", xml),
      }),
    );
    expect(reading.facts).toEqual(["acroform_xfa"]);
    expect(texts(reading)).toBe('<f><submit target="http://a.example/?x=1&y=2"/></f>');
  });

  test("rich media, portfolios and JBIG2", () => {
    const reading = read(
      classicPdf({
        ...onePage({ catalog: "/Collection << /View /T >>", page: "/Annots [<< /Subtype /RichMedia >>]" }),
        5: { dict: "/Subtype /Image /Width 9 /Height 9 /Filter /JBIG2Decode", stream: "x" },
      }),
    );
    expect(reading.facts.toSorted()).toEqual(["jbig2", "portfolio", "rich_media"]);
  });
});

describe("files in a document", () => {
  test("have the names and types of their specifications", () => {
    const objects = {
      ...onePage({
        catalog: "/Names << /EmbeddedFiles << /Names [(a) 5 0 R] >> >>",
        page: "/Annots [<< /Subtype /FileAttachment /FS << /F (note.txt) /EF << /F 7 0 R >> >> >>]",
      }),
      5: "<< /Type /Filespec /F (old.exe) /UF (\xfe\xff\0n\0e\0w\0.\0e\0x\0e) /EF << /F 6 0 R /UF 6 0 R >> >>",
      6: deflated("/Type /EmbeddedFile /Subtype /application#2Foctet-stream", "MZ program"),
      7: { dict: "", stream: "plain" },
      8: { dict: "/Type /EmbeddedFile", stream: "without a name" },
    };
    for (const pdf of [classicPdf(objects), packedPdf(objects)]) {
      const reading = read(pdf);
      expect(inner(reading).toSorted()).toEqual([
        "new.exe=MZ program",
        "note.txt=plain",
        "null=without a name",
      ]);
      expect(reading.inner.find(({ name }) => name === "new.exe")?.declared).toBe("application/octet-stream");
      expect(reading.facts).toEqual(["embedded_file"]);
    }
  });

  test("a PDF stored in a stream is a file, and its objects are its own", () => {
    const hidden = classicPdf(withLink("(http://inside.example)"));
    const reading = read(
      classicPdf({ ...withLink("(http://outside.example)"), 9: { dict: "", stream: hidden } }),
    );
    expect(urls(reading)).toEqual(["http://outside.example"]);
    expect(reading.inner.map(({ bytes }) => Buffer.from(bytes).equals(hidden))).toEqual([true]);
    expect(reading.flags).toEqual([]);
  });

  test("bounds of number and size", () => {
    const objects: Record<number, Objects[number]> = { ...onePage() };
    for (let num = 10; num < 15; num++)
      objects[num] = { dict: "/Type /EmbeddedFile", stream: "x".repeat(100) };
    const few = read(classicPdf(objects), [], { ...LIMITS, inner: 3 });
    expect(few.inner).toHaveLength(3);
    expect(few.flags).toEqual(["inner_exceeded"]);
    const small = read(classicPdf(objects), [], { ...LIMITS, bytes: 250 });
    expect(small.inner).toHaveLength(2);
    expect(small.flags).toEqual(["inner_bytes_exceeded"]);
  });

  test("a bomb gives what fits", () => {
    const bomb = deflateSync(deflateSync(Buffer.alloc(64 * 1024 * 1024)));
    const reading = read(
      classicPdf({
        ...onePage(),
        5: { dict: "/Type /EmbeddedFile /Filter [/FlateDecode /FlateDecode]", stream: bomb },
      }),
      [],
      { ...LIMITS, bytes: 1024 * 1024 },
    );
    expect(reading.inner[0]?.bytes.length).toBe(1024 * 1024);
    expect(reading.flags).toEqual(["inner_bytes_exceeded"]);
  });
});

describe("filters", () => {
  const payload = "the quick brown fox ".repeat(20);
  const ascii85 = (bytes: Uint8Array): string => {
    let out = "";
    for (let at = 0; at < bytes.length; at += 4) {
      const group = Buffer.alloc(4);
      Buffer.from(bytes.subarray(at, at + 4)).copy(group);
      const size = Math.min(4, bytes.length - at);
      let value = group.readUInt32BE();
      if (value === 0 && size === 4) {
        out += "z";
        continue;
      }
      let digits = "";
      for (let digit = 0; digit < 5; digit++) {
        digits = String.fromCharCode(0x21 + (value % 85)) + digits;
        value = Math.floor(value / 85);
      }
      out += digits.slice(0, size + 1);
    }
    return `${out}~>`;
  };
  const asHex = (bytes: Uint8Array): string => `${Buffer.from(bytes).toString("hex")}>`;
  const runs = (bytes: Uint8Array): Buffer =>
    Buffer.concat(
      [...Array(bytes.length).keys()]
        .map((at) => Buffer.from([0, bytes[at] ?? 0]))
        .concat([Buffer.from([128])]),
    );
  /** Codes of 9 bits, cleared before they would need a tenth. */
  const lzw = (bytes: Uint8Array): Buffer => {
    const codes = [
      256,
      ...[...bytes].flatMap((byte, index) => (index > 0 && index % 200 === 0 ? [256, byte] : [byte])),
      257,
    ];
    const bits = codes.map((code) => code.toString(2).padStart(9, "0")).join("");
    return Buffer.from(
      (bits.match(/.{1,8}/g) ?? []).map((octet) => Number.parseInt(octet.padEnd(8, "0"), 2)),
    );
  };
  const cases: Readonly<Record<string, readonly [string, string | Buffer]>> = {
    none: ["", payload],
    flate: ["/Filter /FlateDecode", deflateSync(payload)],
    short: ["/Filter [/Fl]", deflateSync(payload)],
    escaped: ["/Filter /Fl#61te#44ecode", deflateSync(payload)],
    hex: ["/Filter /ASCIIHexDecode", asHex(latin(payload))],
    ascii85: ["/Filter /A85", ascii85(latin(payload))],
    runs: ["/Filter /RunLengthDecode", runs(latin(payload))],
    lzw: ["/Filter /LZWDecode", lzw(latin(payload))],
    chain: ["/Filter [/AHx /A85 /LZW /Fl]", asHex(latin(ascii85(lzw(deflateSync(payload)))))],
    indirect: ["/Filter 20 0 R", deflateSync(payload)],
    headless: ["/Filter /FlateDecode", deflateSync(payload).subarray(2)],
    checksum: [
      "/Filter /FlateDecode",
      Buffer.concat([deflateSync(payload).subarray(0, -4), Buffer.from("abcd")]),
    ],
  };
  for (const [name, [filter, stream]] of Object.entries(cases)) {
    test(name, () => {
      const reading = read(
        classicPdf({
          ...onePage(),
          20: "/FlateDecode",
          5: { dict: `/Type /EmbeddedFile ${filter}`, stream },
        }),
      );
      expect(inner(reading)).toEqual([`null=${payload}`]);
      expect(reading.flags).toEqual([]);
    });
  }

  test("a predictor over an object stream", () => {
    const body = "5 0 << /A << /S /URI /URI (http://predicted.example) >> >>";
    const rows = body.match(/.{1,10}/g) ?? [];
    let above = Buffer.alloc(10);
    const filtered = rows.map((row, index) => {
      const plain = Buffer.from(row.padEnd(10));
      const kind = index % 3;
      const out = plain.map((byte, at) =>
        kind === 2 ? byte - (above[at] ?? 0) : kind === 1 ? byte - (at > 0 ? (plain[at - 1] ?? 0) : 0) : byte,
      );
      above = plain;
      return Buffer.concat([Buffer.from([kind]), out]);
    });
    const stream = {
      dict: "/Type /ObjStm /N 1 /First 4 /Filter /FlateDecode /DecodeParms << /Predictor 15 /Columns 10 >>",
      stream: deflateSync(Buffer.concat(filtered)),
    };
    expect(urls(read(classicPdf({ ...onePage(), 9: stream })))).toEqual(["http://predicted.example"]);
  });

  test("what is broken gives what comes before", () => {
    const packed = deflateSync(
      Buffer.from(Array.from({ length: 3000 }, (_, index) => `line ${index * 7919}`).join("\n")),
    );
    packed.fill(0xff, packed.length >> 1);
    const reading = read(
      classicPdf({ ...onePage(), 5: { dict: "/Type /EmbeddedFile /Filter /FlateDecode", stream: packed } }),
    );
    expect(reading.flags).toEqual(["pdf_stream_unreadable"]);
    expect(reading.inner[0]?.bytes.length).toBeGreaterThan(10_000);
    const cut = read(
      classicPdf({
        ...onePage(),
        5: {
          dict: "/Type /EmbeddedFile /Filter /FlateDecode",
          stream: packed.subarray(0, packed.length >> 1),
        },
      }),
    );
    expect(cut.inner[0]?.bytes.length).toBeGreaterThan(10_000);
  });

  test("more filters than anyone needs, and unknown ones", () => {
    const filters = `/Filter [${"/FlateDecode ".repeat(9)}]`;
    const many = read(
      classicPdf({ ...onePage(), 5: { dict: `/Type /EmbeddedFile ${filters}`, stream: "x" } }),
    );
    expect(many.flags).toEqual(["pdf_filters_exceeded"]);
    const unknown = read(
      classicPdf({ ...onePage(), 5: { dict: "/Type /EmbeddedFile /Filter /Foo", stream: "x" } }),
    );
    expect(unknown.flags).toEqual(["pdf_stream_unreadable"]);
  });
});

describe("broken and devious documents", () => {
  const target = "<< /S /URI /URI (http://a.example) >>";
  const broken: Readonly<Record<string, string>> = {
    "junk before the header": `junk\r\n%PDF-1.4\n1 0 obj ${target} endobj`,
    "no table, no end": `%PDF-1.4\n1 0 obj ${target}`,
    "no endobj": `%PDF-1.4\n1 0 obj ${target} 2 0 obj << /A 1 >> endobj`,
    "no space around obj": `%PDF-1.4\n1 0obj${target}endobj`,
    "comments in the header": `%PDF-1.4\n1 %x\n0 %y\r obj %z\n${target}`,
    "a comment in front of the object": `%PDF-1.4\n%1 0 obj ${target} endobj`,
    "a header that is not one": `%PDF-1.4\nx obj ${target} endobj`,
    "comments and white space inside": `%PDF-1.4\n1 0 obj <<\0/S%c\n/URI\f/URI%)\r(http://a.example)>>`,
    "an array that is not closed": `%PDF-1.4\n1 0 obj [ ${target} endobj`,
    "a dictionary that is not closed": "%PDF-1.4\n1 0 obj << /S /URI /URI (http://a.example) endobj",
    "a string that is not closed": "%PDF-1.4\n1 0 obj << /S /URI /URI (http://a.example\nendobj",
    "brackets that close nothing": `%PDF-1.4\n1 0 obj >> ] ) } ${target} endobj`,
    "an object in a string": `%PDF-1.4\n1 0 obj (text 2 0 obj ${target} endobj) endobj`,
    "an object in a stream": `%PDF-1.4\n1 0 obj <</Length 99>> stream\n2 0 obj ${target} endobj\nendstream endobj`,
    "an older version": `%PDF-1.4\n1 0 obj ${target} endobj\n1 0 obj null endobj`,
  };
  for (const [name, text] of Object.entries(broken)) {
    test(name, () => {
      expect(urls(read(latin(text)))).toEqual(["http://a.example"]);
    });
  }

  test("objects where only some programs find them are flagged", () => {
    expect(read(latin(broken["an object in a stream"] ?? "")).flags).toEqual(["pdf_hidden_objects"]);
  });

  test("every version of what a link refers to", () => {
    const first = classicPdf({ ...withLink("5 0 R"), 5: "(http://first.example)" });
    const second = Buffer.concat([first, latin("5 0 obj (http://second.example) endobj\n%%EOF")]);
    expect(urls(read(second)).toSorted()).toEqual(["http://first.example", "http://second.example"]);
  });

  test("keys given twice", () => {
    const reading = read(
      latin("%PDF-1.4\n1 0 obj << /S /URI /URI (http://a.example) /URI (http://b.example) >>"),
    );
    expect(urls(reading).toSorted()).toEqual(["http://a.example", "http://b.example"]);
    expect(reading.flags).toEqual(["pdf_ambiguous"]);
    expect(read(latin("%PDF-1.4\n1 0 obj << /S /URI /S /URI /URI (http://a.example) >>")).flags).toEqual([]);
  });

  test("a length that is wrong, missing, or somewhere else", () => {
    for (const length of ["/Length 3", "/Length 99999", "", "/Length 9 0 R", "/Length -5", "/Length (x)"]) {
      const reading = read(
        latin(
          `%PDF-1.4\n1 0 obj << /Type /EmbeddedFile ${length} >>\nstream\r\ncontent\nendstream\nendobj\n9 0 obj 7 endobj`,
        ),
      );
      expect(inner(reading)).toEqual(["null=content"]);
    }
    const word =
      "%PDF-1.4\n1 0 obj << /Type /EmbeddedFile /Length 9 0 R >> stream\nx endstream y\nendstream 9 0 obj 13 endobj";
    expect(inner(read(latin(word)))).toEqual(["null=x endstream y"]);
    expect(inner(read(latin("%PDF-1.4\n1 0 obj<</Type/EmbeddedFile>>stream\nrest of it")))).toEqual([
      "null=rest of it",
    ]);
  });

  test("loops of references end", () => {
    const reading = read(
      latin(
        "%PDF-1.4\n1 0 obj 2 0 R endobj 2 0 obj 1 0 R endobj 3 0 obj << /Filter 1 0 R /Length 2 0 R /JS 3 0 R /Parent 3 0 R /Contents [3 0 R 1 0 R] >> stream\nx\nendstream",
      ),
    );
    expect(reading.facts).toEqual(["javascript"]);
  });

  test("nothing, and something else", () => {
    for (const bytes of ["", "%PDF-1.4", "GIF89a", "%PDF-1.4\n%%EOF"]) {
      expect(read(latin(bytes)).flags).toEqual(["pdf_unreadable"]);
    }
  });

  test("any nesting, and URLs over their bound", () => {
    expect(read(latin(`%PDF-1.4\n1 0 obj ${"[<</A".repeat(100_000)} ${target}`))).toMatchObject({
      flags: [],
      urls: [{ url: "http://a.example" }],
    });
    const links = Array.from({ length: 20 }, (_, index) => `<< /URI (http://${index}.example) >>`).join("");
    const reading = read(latin(`%PDF-1.4\n1 0 obj [${links}]`), [], { ...LIMITS, urls: 5 });
    expect(reading.urls).toHaveLength(5);
    expect(reading.flags).toEqual(["inner_urls_exceeded"]);
  });
});

describe("encrypted documents", () => {
  const content = "BT /F1 12 Tf (see www.shown.example/x) Tj ET";
  const seals = {
    "RC4 of 40 bits": (password: string) => sealOld("rc4-40", password, "owner"),
    "RC4 of 128 bits": (password: string) => sealOld("rc4-128", password, "owner"),
    "AES of 128 bits": (password: string) => sealOld("aes-128", password, "owner"),
    "AES of 256 bits": sealNew,
  };
  for (const [name, make] of Object.entries(seals)) {
    test(name, () => {
      for (const [password, passwords, opens] of [
        ["", [], true],
        ["sesame", [], false],
        ["sesame", ["wrong", "sesame"], true],
      ] as const) {
        const seal = make(password);
        const uri = sealedString(seal, 3, "http://a.example/secret");
        const objects = {
          ...onePage({ page: `/Annots [${link(`/S /URI /URI ${uri}`)}]`, content }),
          800: seal.dict,
        };
        const clear = {
          ...onePage({ page: `/Annots [${link("/S /URI /URI (http://a.example/secret)")}]`, content }),
          800: seal.dict,
        };
        for (const pdf of [
          classicPdf(objects, seal.trailer, seal.cipher),
          packedPdf(clear, seal.trailer, seal.cipher, 800),
        ]) {
          const reading = read(pdf, passwords);
          expect(urls(reading)).toEqual(opens ? ["http://a.example/secret"] : []);
          expect(texts(reading).includes("www.shown.example/x")).toBe(opens);
          expect(reading.flags).toEqual(opens ? [] : ["pdf_encrypted"]);
          expect(reading.facts).toContain("encrypted");
          expect(reading.password).toBe(opens && password !== "" ? password : null);
        }
      }
    });
  }

  test("methods and versions that do not fit each other", () => {
    for (const version of [0, 1, 2, 4, 5, 6]) {
      for (const revision of [1, 2, 3, 4, 5, 6]) {
        for (const method of ["V2", "AESV2", "AESV3", "None", "Foo"]) {
          const seal = sealOld("rc4-40", "", "owner");
          const dict = seal.dict
            .replace("/V 1 /R 2", `/V ${version} /R ${revision}`)
            .replace(/>>$/, `/CF << /A << /CFM /${method} >> >> /StmF /A /StrF /A >>`);
          const objects = {
            ...withLink("(http://a.example)"),
            5: {
              dict: "/Filter [/Crypt] /DecodeParms [<< /Name /A >>] /Type /EmbeddedFile",
              stream: "x".repeat(64),
            },
            800: dict,
          };
          expect(read(classicPdf(objects, seal.trailer)).facts).toContain("encrypted");
        }
      }
    }
  });

  test("the owner's password opens as well", () => {
    const seal = sealOld("aes-128", "user", "owner");
    const pdf = packedPdf(
      { ...withLink("(http://a.example)"), 800: seal.dict },
      seal.trailer,
      seal.cipher,
      800,
    );
    expect(read(pdf, ["owner"])).toMatchObject({ password: "owner", urls: [{ url: "http://a.example" }] });
  });

  test("an encryption that nothing is encrypted with hides nothing", () => {
    const seal = sealOld("rc4-128", "", "owner");
    const objects = {
      ...onePage({ page: `/Annots [${link("/S /URI /URI (http://a.example)")}]` }),
      800: seal.dict,
    };
    const packed = { ...objects, 9: deflated("/Type /EmbeddedFile", "a file in clear") };
    const reading = read(classicPdf(packed, seal.trailer));
    expect(urls(reading)).toEqual(["http://a.example"]);
    expect(inner(reading)).toEqual(["null=a file in clear"]);
    const locked = read(classicPdf({ ...packed, 800: "<< /Filter /Unknown /V 9 >>" }, seal.trailer));
    expect(locked.flags).toEqual(["pdf_encrypted"]);
    expect(urls(locked)).toEqual(["http://a.example"]);
  });

  test("more candidates than are tried", () => {
    const seal = sealOld("rc4-40", "sesame", "owner");
    const pdf = classicPdf({ ...onePage(), 800: seal.dict }, seal.trailer, seal.cipher);
    const reading = read(
      pdf,
      Array.from({ length: 600 }, (_, index) => `wrong ${index}`),
    );
    expect(reading.flags.toSorted()).toEqual(["pdf_encrypted", "pdf_passwords_exceeded"]);
  });
});
