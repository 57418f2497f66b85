/**
 * Makes mails such as people and programs send every day, and mails with large attachments, for the benchmarks.
 * The same seed gives the same mails.
 */
import { deflateSync } from "node:zlib";
import { zipSync } from "fflate";

export type MailSet = { readonly name: string; readonly mails: readonly Buffer[] };

type Random = {
  /** A whole number below `limit`. */
  readonly below: (limit: number) => number;
  readonly one: <Item>(items: readonly [Item, ...Item[]]) => Item;
  readonly bytes: (count: number) => Buffer;
};

/** xorshift32: fast, and good enough for texts and for bytes that do not compress. */
function createRandom(seed: number): Random {
  let state = seed | 1;
  const next = (): number => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return state >>> 0;
  };
  const below = (limit: number): number => next() % limit;
  return {
    below,
    one: (items) => items[below(items.length)] ?? items[0],
    bytes: (count) => {
      const words = new Uint32Array(Math.ceil(count / 4));
      for (let at = 0; at < words.length; at++) words[at] = next();
      return Buffer.from(words.buffer, 0, count);
    },
  };
}

const WORDS = (
  "the of and to in for is on that by this with you it not or be are from at as your all have new more an was we " +
  "will home can us about if page my has search free but our one other do no information time they site he up may " +
  "what which their news out use any there see only so his when contact here business who web also now help get " +
  "invoice meeting project schedule delivery customer report quarter budget answer Thursday office team version 3.2 " +
  "Müller größer naïve café 2026 order 48213 please find attached regards Anna question soon document review final"
).split(" ");
const HOSTS = [
  "www.example.com",
  "shop.example.org",
  "click.mail.example.net",
  "docs.example.co.uk",
  "cdn.example.io",
  "intranet.example.de",
] as const;

const COLOURS = ["#333333", "#666", "#0066cc", "#999999", "#222", "black"] as const;

const words = (random: Random, count: number): string =>
  Array.from({ length: count }, () => WORDS[random.below(WORDS.length)]).join(" ");

function paragraphs(random: Random, count: number): string {
  return Array.from({ length: count }, () => {
    const text = `${words(random, 20 + random.below(60))}.`;
    return text.replace(/(.{60,72}) /g, "$1\r\n");
  }).join("\r\n\r\n");
}

function link(random: Random): string {
  const path = random.bytes(9).toString("base64url");
  const query = random.below(3) === 0 ? `?utm_source=news&amp;id=${random.bytes(16).toString("hex")}` : "";
  return `https://${random.one(HOSTS)}/${path}/${random.below(100_000)}${query}`;
}

/** A page as programs for mails write it: tables in tables, a style on each element. */
function page(random: Random, size: number, links: number): string {
  const rows: string[] = [];
  let length = 0;
  let linked = 0;
  while (length < size) {
    const style = `padding:${random.below(30)}px 0;font-family:Arial,Helvetica,sans-serif;font-size:14px;color:${random.one(COLOURS)}`;
    const linking = linked * size < links * length || linked === 0;
    if (linking) linked++;
    const row =
      `<tr><td align="left" valign="top" style="${style}"><table border="0" cellpadding="0" cellspacing="0" ` +
      `width="100%"><tr><td style="${style}">\r\n<p style="margin:0 0 12px 0">${words(random, 30)} &nbsp; ` +
      `${linking ? `<a href="${link(random)}" target="_blank" style="color:#0066cc"><b>${words(random, 3)}</b></a>` : ""} ` +
      `<img src="https://${random.one(HOSTS)}/img/${random.below(1000)}.png" width="1" height="1" alt=""></p>\r\n` +
      "</td></tr></table></td></tr>\r\n";
    rows.push(row);
    length += row.length;
  }
  return (
    '<!DOCTYPE html>\r\n<html><head><meta http-equiv="Content-Type" content="text/html; charset=utf-8">\r\n' +
    '<style type="text/css">\r\nbody{margin:0;padding:0} .main{width:600px} @media only screen and (max-width:600px){.main{width:100%}}\r\n' +
    `td.cell{background-color:#f4f4f4}\r\n</style></head><body>\r\n<table class="main" width="600">\r\n${rows.join("")}</table></body></html>\r\n`
  );
}

function quotedPrintable(text: string): string {
  const lines = Buffer.from(text)
    .toString("latin1")
    .split("\r\n")
    .map((line) =>
      line
        .replace(
          /[=\x7f-\xff]/g,
          (char) => `=${char.charCodeAt(0).toString(16).toUpperCase().padStart(2, "0")}`,
        )
        .replace(/(?:=..|[^=]){70}(?=.)/g, "$&=\r\n"),
    );
  return lines.join("\r\n");
}

function base64(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length)
    .toString("base64")
    .replace(/.{76}/g, "$&\r\n");
}

function pngChunk(type: string, data: Uint8Array): Buffer {
  const chunk = Buffer.alloc(12 + data.length);
  chunk.writeUInt32BE(data.length, 0);
  chunk.write(type, 4, "latin1");
  chunk.set(data, 8);
  chunk.writeUInt32BE(Bun.hash.crc32(chunk.subarray(4, 8 + data.length)), 8 + data.length);
  return chunk;
}

/** A logo: a few flat shapes with soft edges, RGB. */
function png(random: Random, width: number, height: number): Buffer {
  const rows = Buffer.alloc(height * (1 + 3 * width), 255);
  const shapes = Array.from({ length: 12 }, () => ({
    x: random.below(width),
    y: random.below(height),
    r: 4 + random.below(height / 2),
    colour: random.bytes(3),
  }));
  for (let y = 0; y < height; y++) {
    rows[y * (1 + 3 * width)] = 0;
    for (let x = 0; x < width; x++) {
      const at = y * (1 + 3 * width) + 1 + 3 * x;
      for (const { x: cx, y: cy, r, colour } of shapes) {
        const share = Math.min(1, Math.max(0, r - Math.hypot(x - cx, y - cy)));
        for (let channel = 0; channel < 3; channel++) {
          const under = rows[at + channel] ?? 255;
          rows[at + channel] = under + share * ((colour[channel] ?? 0) - under);
        }
      }
    }
  }
  const header = Buffer.alloc(13);
  header.writeUInt32BE(width, 0);
  header.writeUInt32BE(height, 4);
  header.set([8, 2, 0, 0, 0], 8);
  return Buffer.concat([
    Buffer.from("89504e470d0a1a0a", "hex"),
    pngChunk("IHDR", header),
    pngChunk("IDAT", deflateSync(rows)),
    pngChunk("IEND", new Uint8Array()),
  ]);
}

/** A Word document with a picture, of about this size. */
function docx(random: Random, size: number): Uint8Array {
  const text = Array.from(
    { length: 60 },
    () => `<w:p><w:r><w:t xml:space="preserve">${words(random, 40)}</w:t></w:r></w:p>`,
  ).join("");
  const relations = "application/vnd.openxmlformats-package.relationships+xml";
  const base = "http://schemas.openxmlformats.org";
  return zipSync({
    "[Content_Types].xml": Buffer.from(
      `<?xml version="1.0"?><Types xmlns="${base}/package/2006/content-types"><Default Extension="rels" ContentType="${relations}"/></Types>`,
    ),
    "_rels/.rels": Buffer.from(
      `<?xml version="1.0"?><Relationships xmlns="${base}/package/2006/relationships"><Relationship Id="rId1" Type="${base}/officeDocument/2006/relationships/officeDocument" Target="word/document.xml"/></Relationships>`,
    ),
    "word/document.xml": Buffer.from(
      `<?xml version="1.0"?><w:document xmlns:w="${base}/wordprocessingml/2006/main"><w:body>${text}</w:body></w:document>`,
    ),
    "word/_rels/document.xml.rels": Buffer.from(
      `<?xml version="1.0"?><Relationships xmlns="${base}/package/2006/relationships"><Relationship Id="rId4" Type="${base}/officeDocument/2006/relationships/hyperlink" Target="${link(random)}" TargetMode="External"/></Relationships>`,
    ),
    "word/media/image1.emf": [random.bytes(size), { level: 0 }],
  });
}

/** A PDF with one page, a link and a compressed picture of about this size. */
function pdf(random: Random, size: number): Buffer {
  const picture = random.bytes(size);
  const objects: readonly Buffer[] = [
    Buffer.from("<</Type/Catalog/Pages 2 0 R>>"),
    Buffer.from("<</Type/Pages/Kids[3 0 R]/Count 1>>"),
    Buffer.from(
      "<</Type/Page/Parent 2 0 R/MediaBox[0 0 595 842]/Annots[5 0 R]/Resources<</XObject<</P 4 0 R>>>>>>",
    ),
    Buffer.concat([
      Buffer.from(
        `<</Type/XObject/Subtype/Image/Width 100/Height 100/ColorSpace/DeviceRGB/BitsPerComponent 8/Filter/DCTDecode/Length ${size}>>stream\n`,
      ),
      picture,
      Buffer.from("\nendstream"),
    ]),
    Buffer.from(`<</Type/Annot/Subtype/Link/Rect[0 0 9 9]/A<</S/URI/URI(${link(random)})>>>>`),
  ];
  const pieces: Buffer[] = [Buffer.from("%PDF-1.7\n%\xe2\xe3\xcf\xd3\n", "latin1")];
  const places: number[] = [];
  let length = pieces[0]?.length ?? 0;
  for (const [index, object] of objects.entries()) {
    places.push(length);
    const written = Buffer.concat([Buffer.from(`${index + 1} 0 obj\n`), object, Buffer.from("\nendobj\n")]);
    pieces.push(written);
    length += written.length;
  }
  const table = places.map((place) => `${String(place).padStart(10, "0")} 00000 n \n`).join("");
  pieces.push(
    Buffer.from(
      `xref\n0 6\n0000000000 65535 f \n${table}trailer\n<</Size 6/Root 1 0 R>>\nstartxref\n${length}\n%%EOF\n`,
    ),
  );
  return Buffer.concat(pieces);
}

function headers(random: Random, ...more: readonly string[]): string[] {
  const id = random.bytes(12).toString("hex");
  return [
    `Return-Path: <bounce-${id}@mail.example.net>`,
    `Received: from mx${random.below(9)}.example.net (mx.example.net [192.0.2.${random.below(255)}])\r\n\tby mail.example.org (Postfix) with ESMTPS id ${id.slice(0, 11)}\r\n\tfor <someone@example.org>; Mon, 23 Nov 2026 10:1${random.below(9)}:00 +0100 (CET)`,
    `Received: from localhost (localhost [127.0.0.1])\r\n\tby mx.example.net (Postfix) with ESMTP id ${id.slice(3, 14)};\r\n\tMon, 23 Nov 2026 10:10:00 +0100 (CET)`,
    `DKIM-Signature: v=1; a=rsa-sha256; c=relaxed/relaxed; d=example.net; s=k1;\r\n\th=From:To:Subject:Date:MIME-Version:Content-Type; bh=${random.bytes(32).toString("base64")};\r\n\tb=${random.bytes(96).toString("base64")}\r\n\t ${random.bytes(48).toString("base64")}`,
    `Authentication-Results: mail.example.org; dkim=pass header.d=example.net; spf=pass smtp.mailfrom=mail.example.net`,
    `From: =?utf-8?q?J=C3=B6rg?= Example <joerg.${random.below(1000)}@example.net>`,
    "To: Someone Else <someone@example.org>, other@example.org",
    `Subject: ${words(random, 6)}`,
    `Date: Mon, 23 Nov 2026 10:10:0${random.below(9)} +0100`,
    `Message-ID: <${id}@example.net>`,
    "MIME-Version: 1.0",
    ...more,
  ];
}

type Part = { readonly headers: readonly string[]; readonly body: string };

const text = (body: string): Part => ({
  headers: ["Content-Type: text/plain; charset=utf-8", "Content-Transfer-Encoding: 8bit"],
  body,
});
const html = (body: string): Part => ({
  headers: ["Content-Type: text/html; charset=utf-8", "Content-Transfer-Encoding: quoted-printable"],
  body: quotedPrintable(body),
});
const file = (type: string, name: string, bytes: Uint8Array, ...more: readonly string[]): Part => ({
  headers: [
    `Content-Type: ${type}; name="${name}"`,
    "Content-Transfer-Encoding: base64",
    ...(more.length > 0 ? more : [`Content-Disposition: attachment; filename="${name}"`]),
  ],
  body: base64(bytes),
});

function multipart(random: Random, subtype: string, parts: readonly Part[]): Part {
  const boundary = `----=_Part_${random.bytes(8).toString("hex")}`;
  const body = parts.map((part) => `--${boundary}\r\n${part.headers.join("\r\n")}\r\n\r\n${part.body}\r\n`);
  return {
    headers: [`Content-Type: multipart/${subtype}; boundary="${boundary}"`],
    body: `${body.join("")}--${boundary}--\r\n`,
  };
}

function mail(random: Random, { headers: own, body }: Part, ...more: readonly string[]): Buffer {
  return Buffer.from([...headers(random, ...more), ...own, "", body].join("\r\n"));
}

const alternative = (random: Random, size: number): Part =>
  multipart(random, "alternative", [text(paragraphs(random, 6)), html(page(random, size, 30))]);

const KINDS: readonly (readonly [string, (random: Random) => Buffer])[] = [
  [
    "short texts, 4 kB",
    (random) =>
      mail(random, text(`${paragraphs(random, 5)}\r\n\r\nhttps://www.example.com/${random.below(1e6)}\r\n`)),
  ],
  [
    "text and HTML, 10 to 60 kB",
    (random) => mail(random, alternative(random, 10_000 + random.below(50_000))),
  ],
  [
    "newsletters, 80 kB",
    (random) =>
      mail(
        random,
        alternative(random, 80_000),
        `List-Unsubscribe: <${link(random)}>, <mailto:leave@example.net>`,
        "List-Id: <news.example.net>",
        "Precedence: bulk",
      ),
  ],
  [
    "replies with a logo",
    (random) =>
      mail(
        random,
        multipart(random, "related", [
          multipart(random, "alternative", [
            text(
              `${paragraphs(random, 2)}\r\n\r\nOn Monday Anna wrote:\r\n> ${paragraphs(random, 5).replaceAll("\r\n", "\r\n> ")}`,
            ),
            html(`${page(random, 8000, 5)}<img src="cid:logo@example.net">`),
          ]),
          file(
            "image/png",
            "logo.png",
            png(random, 180, 60),
            'Content-Disposition: inline; filename="logo.png"',
            "Content-ID: <logo@example.net>",
          ),
        ]),
        `In-Reply-To: <${random.bytes(8).toString("hex")}@example.org>`,
      ),
  ],
  [
    "invitations",
    (random) => {
      const event = [
        "BEGIN:VCALENDAR",
        "VERSION:2.0",
        "METHOD:REQUEST",
        "BEGIN:VEVENT",
        `UID:${random.bytes(16).toString("hex")}`,
        "DTSTART:20261124T090000Z",
        "ORGANIZER:mailto:joerg@example.net",
        `DESCRIPTION:${words(random, 60)} ${link(random)}`,
        "END:VEVENT",
        "END:VCALENDAR",
        "",
      ].join("\r\n");
      return mail(
        random,
        multipart(random, "mixed", [
          multipart(random, "alternative", [
            text(paragraphs(random, 2)),
            html(page(random, 6000, 3)),
            { headers: ["Content-Type: text/calendar; charset=utf-8; method=REQUEST"], body: event },
          ]),
          file("application/ics", "invite.ics", Buffer.from(event)),
        ]),
      );
    },
  ],
  [
    "a document of 100 kB",
    (random) =>
      mail(
        random,
        multipart(random, "mixed", [
          alternative(random, 12_000),
          file(
            "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
            "offer.docx",
            docx(random, 100_000),
          ),
        ]),
      ),
  ],
  [
    "a PDF of 200 kB",
    (random) =>
      mail(
        random,
        multipart(random, "mixed", [
          alternative(random, 12_000),
          file("application/pdf", "invoice.pdf", pdf(random, 200_000)),
        ]),
      ),
  ],
];

/** Mails of each kind, `count` of each. */
export function ordinaryMails(count: number): readonly MailSet[] {
  return KINDS.map(([name, make], index) => {
    const random = createRandom(7919 * (index + 1));
    return { name, mails: Array.from({ length: count }, () => make(random)) };
  });
}

const MB = 1_000_000;

function large(random: Random, type: string, name: string, bytes: Uint8Array): Buffer {
  return mail(random, multipart(random, "mixed", [text(paragraphs(random, 3)), file(type, name, bytes)]));
}

/** Mails with one attachment in base64; their names tell the size of the mail. */
export function largeMails(): readonly MailSet[] {
  const random = createRandom(104_729);
  const bytes = (size: number) => random.bytes(Math.floor((size / 78) * 57));
  const stored = zipSync({
    "film.mp4": [bytes(10 * MB), { level: 0 }],
    "photo.raw": [bytes(10 * MB), { level: 0 }],
  });
  const octets = "application/octet-stream";
  return [
    { name: "random bytes, 20 MB", mails: [large(random, octets, "data.bin", bytes(20 * MB))] },
    { name: "random bytes, 50 MB", mails: [large(random, octets, "data.bin", bytes(50 * MB))] },
    { name: "a zip of stored files, 20 MB", mails: [large(random, "application/zip", "files.zip", stored)] },
  ];
}
