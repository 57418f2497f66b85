import { describe, expect, test } from "bun:test";
import { attached, contentsSink, extractionOf, mail, multipart, type Part, sha256 } from "./mails.ts";

const ZIP = Buffer.from("504b0304140000000000", "hex");
const text = (body: string, ...headers: string[]): Part => ({
  headers: headers.length > 0 ? headers : ["Content-Type: text/plain; charset=utf-8"],
  body,
});
const nested = (inner: Uint8Array, name?: string): Part => ({
  headers: [`Content-Type: message/rfc822${name === undefined ? "" : `; name="${name}"`}`],
  body: inner,
});

describe("the facts of a mail", () => {
  test("are decoded, addresses without names and groups", async () => {
    const { mail: facts, complete } = await extractionOf(
      mail(
        [
          "Message-ID: <1@example.com>",
          "Subject: =?utf-8?q?h=C3=A4llo_=00?=",
          "From: =?utf-8?q?J=C3=BCrgen?= <j@example.com>",
          "To: a@example.com, Team: b@example.com, c@example.com;",
          "To: d@example.com",
          "Cc: (none) <e@example.com>",
          "Date: Mon, 1 Jan 2024 10:00:00 +0100 (CET)",
        ],
        "x",
      ),
    );
    expect(facts).toEqual({
      message_id: "<1@example.com>",
      subject: "hällo \0",
      from: ["j@example.com"],
      to: ["a@example.com", "b@example.com", "c@example.com", "d@example.com"],
      cc: ["e@example.com"],
      date: "2024-01-01T09:00:00.000Z",
    });
    expect(complete).toBe(true);
  });

  test.each([
    ["Date: yesterday", null],
    ["Date: 1", null],
    ["Date: Mon, 99 Foo 2024 10:00:00 +0000", null],
    ["X-Date: Mon, 1 Jan 2024 10:00:00 +0000", null],
    ["Date:  1 Jan 24 10:00 GMT", "2024-01-01T10:00:00.000Z"],
    ["Date: Mon,\r\n 1 Jan 2024\r\n 10:00:00 -0000", "2024-01-01T10:00:00.000Z"],
  ])("take %j as the date %p", async (line, date) => {
    expect((await extractionOf(mail([line], "x"))).mail.date).toBe(date);
  });

  test("name the whole domain of an address with a comment in it (CVE-2026-125755)", async () => {
    const { mail: facts } = await extractionOf(mail(["From: a@trusted.example(x).evil.test"], "x"));
    expect(facts.from).toEqual(["a@trusted.example.evil.test"]);
  });

  test("are cut where they are too long, with a flag", async () => {
    const { mail: facts, flags } = await extractionOf(mail([`Subject: ${"s".repeat(20_000)}`], "x"));
    expect(facts.subject).toBe("s".repeat(8192));
    expect(flags).toEqual(["value_cut"]);
  });

  test("bug: of an address that was too long its domain was cut off, which lists and rules ask for", async () => {
    const { mail: facts, flags } = await extractionOf(mail([`From: ${"a".repeat(2000)}@evil.example`], "x"));
    expect(facts.from).toEqual([`${"a".repeat(320 - 13)}@evil.example`]);
    expect(flags).toEqual(["value_cut"]);
    const endless = await extractionOf(mail([`From: a@${"b".repeat(2000)}`], "x"));
    expect(endless.mail.from).toEqual([`a@${"b".repeat(318)}`]);
  });

  test("bug: of several From headers only the first was seen", async () => {
    const lines = [
      "From: A <a@good.example>",
      "FROM: =?utf-8?q?B?=\r\n <b@evil.example>",
      "From: a@good.example",
    ];
    const { mail: facts } = await extractionOf(mail(lines, "x"));
    expect(facts.from).toEqual(["a@good.example", "b@evil.example"]);
  });

  test("survive JSON with a lone surrogate in them", async () => {
    const subject = `Subject: =?utf-16le?b?${Buffer.from("610000d8", "hex").toString("base64")}?=`;
    const extraction = await extractionOf(mail([subject], "x"));
    expect(JSON.parse(JSON.stringify(extraction))).toEqual(extraction);
    expect(extraction.mail.subject?.isWellFormed()).toBe(true);
  });

  test("are empty for an empty mail", async () => {
    const extraction = await extractionOf(new Uint8Array());
    expect(extraction.mail.subject).toBeNull();
    expect(extraction.attachments).toEqual([]);
    expect(extraction.complete).toBe(true);
  });
});

describe("attachments", () => {
  test("carry name, hash, size and the type told from the content", async () => {
    const { attachments } = await extractionOf(multipart([], [text("hello"), attached("a.pdf", ZIP)]));
    expect(attachments).toEqual([
      {
        filename: "a.pdf",
        sha256: sha256(ZIP),
        size: ZIP.length,
        type: "application/zip",
        views: ["mime", "lenient"],
        path: [],
        sha1: new Bun.CryptoHasher("sha1").update(ZIP).digest("hex"),
        md5: new Bun.CryptoHasher("md5").update(ZIP).digest("hex"),
        within: "mail",
        facts: ["type_mismatch"],
        password: null,
      },
    ]);
  });

  test("are not the texts of the mail, unless these have a name or the disposition attachment", async () => {
    const { attachments } = await extractionOf(
      multipart(
        [],
        [
          text("plain"),
          text("<p>html</p>", "Content-Type: text/html"),
          text("inline", "Content-Type: text/plain", "Content-Disposition: inline"),
          text("named", 'Content-Type: text/html; name="a.html"'),
          text("named inline", "Content-Type: text/plain", "Content-Disposition: inline; filename=b.txt"),
          text("attached", "Content-Type: text/plain", "Content-Disposition: attachment"),
        ],
      ),
    );
    expect(attachments.map(({ filename, size }) => [filename, size])).toEqual([
      ["a.html", 5],
      ["b.txt", 12],
      [null, 8],
    ]);
  });

  test("are also what calls itself text and is none", async () => {
    const { attachments } = await extractionOf(
      mail(["Content-Type: text/plain", "Content-Transfer-Encoding: base64"], ZIP.toString("base64")),
    );
    expect(attachments.map(({ sha256: hash, type }) => [hash, type])).toEqual([
      [sha256(ZIP), "application/zip"],
    ]);
  });

  test("are found where the header of the part is empty or odd", async () => {
    const { attachments } = await extractionOf(
      multipart([], [{ headers: ["Content-Type: ;", "Content-Disposition: ;"], body: ZIP }]),
    );
    expect(attachments.map(({ type }) => type)).toEqual(["application/zip"]);
  });

  test("have non-ASCII names decoded (RFC 2231, RFC 2047)", async () => {
    const { attachments } = await extractionOf(
      multipart(
        [],
        [
          { headers: ["Content-Disposition: attachment; filename*=utf-8''%C3%A4.zip"], body: ZIP },
          { headers: ['Content-Disposition: attachment; filename="=?utf-8?b?w7YuemlwCg==?="'], body: ZIP },
        ],
      ),
    );
    expect(attachments.map(({ filename }) => filename?.trim())).toEqual(["ä.zip", "ö.zip"]);
  });

  test("hand their bytes to the sink, texts do not", async () => {
    const large = Buffer.alloc(300_000, "0123456789");
    const { sink, contents } = contentsSink();
    await extractionOf(multipart([], [text("hello"), attached("a", large), attached("b", ZIP)]), {}, sink);
    expect([...contents]).toEqual([
      [sha256(large), large],
      [sha256(ZIP), ZIP],
    ]);
  });
});

describe("mails inside mails", () => {
  const inner = multipart(
    ["Subject: see http://in.example/s"],
    [text("http://in.example/t"), attached("a.zip", ZIP)],
    "in",
  );

  test("are listed, and what is in them with the path to it", async () => {
    const middle = multipart([], [nested(inner, "inner.eml")], "mid");
    const { attachments, urls } = await extractionOf(
      multipart([], [nested(middle), attached("last.zip", ZIP)], "out"),
    );
    expect(attachments.map(({ filename, type, path }) => [filename, type, path])).toEqual([
      [null, "message/rfc822", []],
      ["inner.eml", "message/rfc822", ["unnamed.eml"]],
      ["a.zip", "application/zip", ["unnamed.eml", "inner.eml"]],
      ["last.zip", "application/zip", []],
    ]);
    expect(urls.map(({ url }) => url).sort()).toEqual(["http://in.example/s", "http://in.example/t"]);
  });

  test("are taken apart where only the file name says so", async () => {
    const { attachments } = await extractionOf(multipart([], [attached("forward.eml", inner)], "out"));
    expect(attachments.map(({ type }) => type)).toEqual(["message/rfc822", "application/zip"]);
  });

  test("keep their real type where they are no mails", async () => {
    const { attachments } = await extractionOf(multipart([], [nested(ZIP)]));
    expect(attachments.map(({ type }) => type)).toEqual(["application/zip"]);
  });

  test("deeper than the bound are listed only, with a flag", async () => {
    let raw = mail(["Content-Type: application/zip"], ZIP);
    for (let depth = 0; depth < 5; depth++) raw = multipart([], [nested(raw)], `b${depth}`);
    const bounded = await extractionOf(raw, { max_depth: 3 });
    const listed = bounded.attachments.filter(({ views }) => views.includes("mime"));
    expect(listed.map(({ type }) => type)).toEqual(Array(4).fill("message/rfc822"));
    expect(bounded.flags).toContain("depth_exceeded");
    expect(bounded.complete).toBe(false);
    const whole = await extractionOf(raw, { max_depth: 6 });
    expect(whole.attachments.at(-1)?.type).toBe("application/zip");
    expect(whole.flags).not.toContain("depth_exceeded");
  });
});

describe("bounds", () => {
  test("on attachments leave the rest out, with a flag", async () => {
    const parts = Array.from({ length: 20 }, (_, index) => attached(`${index}`, `content ${index}`));
    const { attachments, flags, complete } = await extractionOf(multipart([], parts), { max_attachments: 7 });
    expect(attachments.map(({ filename }) => filename)).toEqual(["0", "1", "2", "3", "4", "5", "6"]);
    expect(flags).toEqual(["attachments_exceeded"]);
    expect(complete).toBe(false);
  });

  test("on decoded bytes keep what was whole before, with a flag", async () => {
    const { sink, contents } = contentsSink();
    const { attachments, flags, complete } = await extractionOf(
      multipart([], [attached("a", ZIP), attached("b", Buffer.alloc(200_000)), attached("c", ZIP)]),
      { max_decoded_size: 100_000 },
      sink,
    );
    expect(attachments.map(({ filename }) => filename)).toEqual(["a"]);
    expect([...contents.keys()]).toEqual([sha256(ZIP)]);
    expect(flags).toContain("decoded_size_exceeded");
    expect(complete).toBe(false);
  });

  test("on the header of a part do not lose the parts before it", async () => {
    const bomb: Part = { headers: Array.from({ length: 40_000 }, () => "a:"), body: "x" };
    const { sink, contents } = contentsSink();
    const raw = multipart(["Subject: bomb"], [attached("a.zip", ZIP), bomb]);
    const { attachments, mail: facts, flags, complete } = await extractionOf(raw, {}, sink);
    expect(facts.subject).toBe("bomb");
    expect(attachments.map(({ filename }) => filename)).toEqual(["a.zip"]);
    expect([...contents.keys()]).toEqual([sha256(ZIP)]);
    expect(flags).toContain("header_too_large");
    expect(complete).toBe(false);
  });

  test("of the parser on parts do not lose the parts before them", async () => {
    const parts = Array.from({ length: 1200 }, (_, index) => attached(`${index}.zip`, ZIP));
    const { attachments, flags, complete } = await extractionOf(multipart([], parts), {
      max_attachments: 50,
      max_parts: 100,
    });
    expect(attachments).toHaveLength(50);
    expect(flags).toContain("attachments_exceeded");
    expect(flags).toContain("parts_exceeded");
    expect(complete).toBe(false);
  });

  test("on text search the first of it, with a flag", async () => {
    const body = `http://first.example/\n${"word ".repeat(1_800_000)}\nhttp://last.example/`;
    const { urls, flags, complete } = await extractionOf(mail([], body));
    expect(urls.map(({ url }) => url)).toEqual(["http://first.example/"]);
    expect(flags).toContain("text_exceeded");
    expect(complete).toBe(false);
  });
});

describe("URLs", () => {
  test("come from subject, text, HTML and readable attachments, each once with its sources", async () => {
    const { urls } = await extractionOf(
      multipart(
        ["Subject: http://a.example/"],
        [
          text("http://A.example"),
          text('<a href="http://a.example/#x">x</a>', "Content-Type: text/html"),
          attached("page.html", '<html><a href="http://b.example/">x</a>'),
          attached("notes.txt", "http://c.example/"),
          attached("go.url", "[InternetShortcut]\r\nURL=http://d.example/\r\n"),
        ],
      ),
    );
    expect(urls).toEqual([
      { url: "http://a.example/", normalized: "http://a.example/", sources: ["subject", "text", "html"] },
      { url: "http://b.example/", normalized: "http://b.example/", sources: ["attachment"] },
      { url: "http://c.example/", normalized: "http://c.example/", sources: ["attachment"] },
      { url: "http://d.example/", normalized: "http://d.example/", sources: ["shortcut"] },
    ]);
  });

  test("are read in the charset of the text, in UTF-8 where that is not known", async () => {
    const utf16 = Buffer.from("http://utf16.example/", "utf16le").toString("base64");
    const { urls } = await extractionOf(
      multipart(
        [],
        [
          text(utf16, "Content-Type: text/plain; charset=utf-16le", "Content-Transfer-Encoding: base64"),
          text("http://b\u00fccher.example/", "Content-Type: text/plain; charset=x-nonsense"),
        ],
      ),
    );
    expect(urls.map(({ normalized }) => normalized)).toEqual([
      "http://utf16.example/",
      "http://xn--bcher-kva.example/",
    ]);
  });
});

describe("the sink", () => {
  test("ends the reading when it has enough", async () => {
    const { attachments } = await extractionOf(
      multipart([], [attached("a", ZIP), attached("b", `${ZIP}b`)]),
      {},
      () => "enough",
    );
    expect(attachments.map(({ filename }) => filename)).toEqual(["a"]);
  });

  test("fails the reading where it fails", async () => {
    const sink = (): never => {
      throw new Error("disk full");
    };
    await expect(extractionOf(multipart([], [attached("a", ZIP)]), {}, sink)).rejects.toThrow("disk full");
  });
});
