/**
 * Mails of every kind that extraction reads, and what a hostile hand makes of them.
 *
 * A seed is a whole mail, or a file that is attached to one; it is edited as it is, the file before it is encoded,
 * so that the reader of its type gets bytes that are nearly right.
 */
import { deflateSync, gzipSync, zstdCompressSync } from "node:zlib";
import fc from "fast-check";
import { makeCab, makeIso, makeRar4, makeRar5, makeWithSevenZip, tarEntry } from "./archives/make.ts";
import { bmpOf, draw, gifOf, gridOf, pngOf } from "./codes/drawings.ts";
import { attached, mail, multipart, type Part } from "./mails.ts";
import {
  bytes,
  compound,
  docx,
  hex,
  ole10Native,
  paragraph,
  rels,
  storage,
  stream,
  u16,
  u32,
  utf16,
  vbaProject,
  zip,
} from "./office/make.ts";
import {
  ascii,
  attribute,
  data,
  embedded,
  lzfu,
  mapi,
  msg,
  msgProps,
  prop,
  render,
  title,
  tnef,
} from "./outlook/writers.ts";
import { classicPdf, deflated, link, onePage, packedPdf, sealNew, sealOld } from "./pdf/write-pdf.ts";
import { TRICKS } from "./readings/tricks.ts";

type File = { readonly name: string; readonly content: Uint8Array };

const PROGRAM = bytes("MZ", 62, "a program of http://p.example/");
const HTML =
  "<base href='http://base.example/'><a href='x'>x</a> http://b.example/x <style>a{b:url(c)}</style>" +
  "<script>var a='aHR0cDovL3MuZXhhbXBsZS8=';location=atob(a);document.write(unescape('%3Cb%3E'))</script>" +
  "<a href='data:text/html;base64,PGEgaHJlZj1odHRwOi8vZC5leGFtcGxlLz4='>d</a><svg><a xlink:href='//e.example'/></svg>" +
  "<a href='https://x.safelinks.protection.outlook.com/?url=http%3A%2F%2Fw.example%2F&data=1'>w</a>";
const CALENDAR =
  "BEGIN:VCALENDAR\r\nBEGIN:VEVENT\r\nURL:http://c.example/\r\nATTACH;ENCODING=BASE64;VALUE=BINARY:TVo=\r\nEND:VEVENT\r\nEND:VCALENDAR\r\n";

const FOLDERS = { "a.exe": PROGRAM, "b/c.html": HTML };
const TAR = Buffer.concat([tarEntry("a.exe", PROGRAM), tarEntry("b", ascii(HTML)), Buffer.alloc(1024)]);
const ZIP = zip(FOLDERS);
const QR = draw(await gridOf("http://qr.example/"), { scale: 2, margin: 8 });
const MACROS = vbaProject('Sub AutoOpen()\r\nu = "ht" & Chr(116) & "p://m.example/"\r\nEnd Sub');
const OLE_MAIL = {
  props: [
    prop(0x001a001f, "IPM.Note"),
    prop(0x0037001f, "Subject http://s.example/"),
    prop(0x1000001f, "see http://a.example/"),
    prop(0x10130102, ascii(HTML)),
    prop(0x10090102, lzfu("{\\rtf1\\ansi\\fromhtml1{\\*\\htmltag <b>rtf</b>}}")),
  ],
  recipients: [[prop(0x0c150003, 1), prop(0x39fe001f, "to@example.com")]],
};
const msgFile = (name: string, content: Uint8Array) =>
  msgProps(8, [prop(0x37050003, 1), prop(0x3707001f, name), prop(0x37010102, content)]);
const PAGE = onePage({
  catalog: "/OpenAction << /S /JavaScript /JS (app.launchURL\\('http://j.example/'\\)) >>",
  page: `/Annots [${link("/S /URI /URI (http://u.example/)")}]`,
  content: "BT /F1 12 Tf (see http://t.example/) Tj ET",
});
const PDF = {
  ...PAGE,
  5: deflated("/Type /EmbeddedFile", PROGRAM),
  6: "<< /F (x.exe) /EF << /F 5 0 R >> >>",
};
const [OLD, NEW] = [sealOld("rc4-128", "", "x"), sealNew("secret")];
const RTF_OBJECT = bytes(
  u32(0x501),
  u32(2),
  u32(8),
  "Package\0",
  u32(0),
  u32(0),
  ole10Native("x.js", PROGRAM),
);

/** Each is attached, under a name that says little. */
const FILES: readonly File[] = Object.entries<Uint8Array>({
  "a.zip": ZIP,
  "nested.zip": zip({ "in.zip": zip({ "in.tar.gz": gzipSync(TAR), "x.pdf": classicPdf(PDF) }) }),
  "a.gz": gzipSync(TAR),
  "a.zst": zstdCompressSync(TAR),
  "a.tar": TAR,
  "a.7z": await makeWithSevenZip({ a: PROGRAM, b: HTML }, ["-t7z"]),
  "locked.7z": await makeWithSevenZip({ a: PROGRAM }, ["-t7z", "-psecret", "-mhe=on"]),
  "locked.zip": await makeWithSevenZip({ a: PROGRAM }, ["-tzip", "-psecret"]),
  "aes.zip": await makeWithSevenZip({ a: PROGRAM }, ["-tzip", "-psecret", "-mem=AES256"]),
  "a.bz2": await makeWithSevenZip({ a: PROGRAM }, ["-tbzip2"]),
  "a.xz": await makeWithSevenZip({ a: PROGRAM }, ["-txz"]),
  "a.rar": makeRar4({ a: PROGRAM, b: HTML }),
  "b.rar": makeRar5({ a: PROGRAM, b: HTML }),
  "locked.rar": makeRar5({ a: PROGRAM }, { password: "secret", rounds: 4, names: true }),
  "a.cab": makeCab({ a: PROGRAM }),
  "a.iso": makeIso({ a: PROGRAM }),
  "a.docx": docx(paragraph("see http://w.example/"), {
    "word/_rels/document.xml.rels": rels(
      ["hyperlink", "http://l.example/"],
      ["attachedTemplate", "http://t.example/"],
    ),
    "word/vbaProject.bin": compound(MACROS),
    "word/embeddings/oleObject1.bin": compound([stream("\x01Ole10Native", ole10Native("run.js", PROGRAM))]),
    "word/media/image1.png": pngOf(QR),
  }),
  "a.odt": zip(
    {
      mimetype: "application/vnd.oasis.opendocument.text",
      "content.xml":
        "<office:document-content><text:a xlink:href='http://o.example/'>x</text:a></office:document-content>",
    },
    0,
  ),
  "a.doc": compound([
    stream("WordDocument", bytes(600)),
    storage("Macros", MACROS),
    stream("\x01Ole10Native", ole10Native("x.js", PROGRAM)),
  ]),
  "a.rtf": bytes(`{\\rtf1 http://r.example/{\\object\\objemb{\\*\\objdata ${RTF_OBJECT.toString("hex")}}}}`),
  "a.one": bytes(
    hex("e4525c7b8cd8a74daeb15378d02996d3"),
    utf16("see http://n.example/ now"),
    hex("e716e3bd65261145a4c48d4d0b7a9eac"),
    u32(PROGRAM.length),
    16,
    PROGRAM,
  ),
  "a.lnk": bytes(
    u32(0x4c),
    hex("0114020000000000c000000000000046"),
    u32(0xa8),
    52,
    u16(7),
    utf16("cmd.exe"),
    u16(20),
    utf16("/c http://l.example/"),
    u32(0),
  ),
  "a.url": ascii("[InternetShortcut]\r\nURL=http://i.example/\r\n"),
  "a.msg": msg({
    ...OLE_MAIL,
    attachments: [msgFile("a.zip", ZIP), [...msgProps(8, [prop(0x37050003, 5)]), embedded(OLE_MAIL)]],
  }),
  "winmail.dat": tnef(
    attribute(1, 0x8004, ascii("Subject\0")),
    attribute(1, 0x800c, ascii("see http://a.example/\0")),
    mapi(prop(0x10130102, ascii(HTML)), prop(0x10090102, lzfu("{\\rtf1\\ansi\\fromhtml1 x}"))),
    render(),
    title("A.ZIP"),
    data(ZIP),
  ),
  "a.pdf": classicPdf(PDF),
  "packed.pdf": packedPdf(PDF),
  "locked.pdf": classicPdf({ ...PDF, 800: OLD.dict }, OLD.trailer, OLD.cipher),
  "aes.pdf": packedPdf({ ...PDF, 800: NEW.dict }, NEW.trailer, NEW.cipher, 800),
  "a.png": pngOf(QR),
  "a.gif": gifOf([QR]),
  "a.bmp": bmpOf(QR),
  "a.html": ascii(HTML),
  "a.ics": ascii(CALENDAR),
  "a.xml": bytes(
    '<?mso-application progid="Word.Document"?><w:wordDocument><w:binData w:name="editdata.mso">',
    bytes("ActiveMime", 40, deflateSync(compound(MACROS))).toString("base64"),
    "</w:binData><w:hlink w:dest='http://x.example/'/></w:wordDocument>",
  ),
}).map(([name, content]) => ({ name, content }));

const INNER = multipart(
  ["Subject: inner http://s.example/", "From: x@example.com", "Message-ID: <1@example.com>"],
  [{ headers: ["Content-Type: text/html"], body: HTML }, attached("a.zip", ZIP)],
  "inner",
);
const rfc822 = (inner: Uint8Array): Part => ({ headers: ["Content-Type: message/rfc822"], body: inner });
const withFile = ({ name, content }: File): Buffer =>
  multipart(
    ["Subject: a file", "From: a@example.com"],
    [{ headers: ["Content-Type: text/plain"], body: "The password is secret" }, attached(name, content)],
  );

const MAILS: readonly Buffer[] = [
  mail(["Subject: plain", "To: a@example.com, b@example.com"], "http://c.example/ www.example.com\r\n"),
  multipart(
    ["Subject: =?utf-8?q?=C3=A4?=", "From: J <j@example.com>", "Date: Mon, 1 Jan 2024 10:00:00 +0100"],
    [
      {
        headers: ["Content-Type: text/plain; format=flowed; delsp=yes"],
        body: "hello http://d.example/ \r\nx",
      },
      rfc822(INNER),
      attached("b.exe", "MZ"),
    ],
  ),
  // A journal report.
  multipart(
    ["X-MS-Journal-Report:", "From: journal@example.com"],
    [
      {
        headers: ["Content-Type: text/plain"],
        body: "Sender: x@example.com\r\nSubject: inner http://s.example/\r\nMessage-Id: <1@example.com>\r\nTo: a@example.com, Expanded: l@example.com\r\n",
      },
      rfc822(INNER),
    ],
  ),
  // A delivery report.
  multipart(
    ["Subject: failed"],
    [
      {
        headers: ["Content-Type: message/delivery-status"],
        body: "Reporting-MTA: dns; x\r\n\r\nFinal-Recipient: rfc822; a@example.com\r\nAction: failed\r\n",
      },
      rfc822(INNER),
    ],
  ),
  multipart(["Subject: calendar"], [{ headers: ["Content-Type: text/calendar"], body: CALENDAR }]),
  ...TRICKS.map((trick) => trick.mail).filter(({ length }) => length < 20_000),
];

/** What hostile mails are made of. */
const SNIPPETS = [
  "\r\n",
  "\n",
  "\r",
  "\0",
  "\r\n\r\n",
  "\r\n.\r\n",
  "--=_b",
  "--=_b--",
  "--inner\r\n",
  "Content-Type: multipart/mixed; boundary=inner\r\n",
  "Content-Type: message/rfc822\r\n\r\n",
  "Content-Type: ;\r\n",
  "Content-Transfer-Encoding: base64\r\n",
  "Content-Transfer-Encoding: quoted-printable\r\n",
  "Content-Disposition: attachment; filename*0*=utf-8''%ff%00; filename*1=x\r\n",
  "Content-Type: text/html; charset=utf-16le\r\n",
  'From: "a, <b@c>, (d(e\r\n',
  "Subject: =?utf-16le?b?ANg=?=\r\n",
  "Date: Mon, 99 Jan 99999999 99:99:99 +9999\r\n",
  "=?utf-8?q?",
  "http://",
  "<a href=",
  "<!--[if",
  "<script>",
  "&#x110000;",
  "__proto__: x\r\n",
  "List-__proto__: <x>\r\n",
  "begin 644 x\n",
  "PK\x03\x04",
  "PK\x01\x02",
  "\xff\xff\xff\xff",
  "\xff\xff\xff\x7f",
  "\0\0\0\0",
  "\x01\0\0\0",
  "\x80",
  "obj<<",
  "stream\n",
  "{\\rtf1",
];

type Edit = {
  /** Where, as a share of the length. */
  readonly at: number;
  readonly remove: number;
  readonly insert: Uint8Array;
  readonly times: number;
};

const edit: fc.Arbitrary<Edit> = fc.record({
  at: fc.double({ min: 0, max: 1, noNaN: true }),
  remove: fc.oneof({ arbitrary: fc.nat({ max: 8 }), weight: 3 }, fc.nat({ max: 2000 })),
  insert: fc.oneof(
    fc.constantFrom(...SNIPPETS).map((snippet) => Buffer.from(snippet, "latin1")),
    fc.uint8Array({ maxLength: 40 }),
  ),
  times: fc.constantFrom(1, 1, 1, 3, 40),
});
/** Another content in the place of as many bytes: everything after it stays where it was. */
const overwrite: fc.Arbitrary<Edit> = edit.map((one) => ({ ...one, times: 1, remove: one.insert.length }));
const edits = fc.array(fc.oneof(edit, { arbitrary: overwrite, weight: 2 }), { maxLength: 12 });

function edited(seed: Uint8Array, all: readonly Edit[]): Buffer {
  return all.reduce<Buffer>((raw, { at, remove, insert, times }) => {
    const offset = Math.floor(at * raw.length);
    return Buffer.concat([
      raw.subarray(0, offset),
      ...Array<Uint8Array>(times).fill(insert),
      raw.subarray(offset + remove),
    ]);
  }, Buffer.from(seed));
}

const editedMail = fc.tuple(fc.constantFrom(...MAILS), edits).map(([seed, all]) => edited(seed, all));
const editedFile = fc
  .tuple(fc.constantFrom(...FILES), edits)
  .map(([{ name, content }, all]) => withFile({ name, content: edited(content, all) }));
/** The head of one mail and the tail of another. */
const crossed = fc
  .tuple(
    fc.constantFrom(...MAILS, ...FILES.map(withFile)),
    fc.constantFrom(...MAILS, ...FILES.map(withFile)),
    fc.double({ min: 0, max: 1, noNaN: true }),
    fc.double({ min: 0, max: 1, noNaN: true }),
  )
  .map(([one, other, end, begin]) =>
    Buffer.concat([
      one.subarray(0, Math.floor(end * one.length)),
      other.subarray(Math.floor(begin * other.length)),
    ]),
  );

export const hostileMail: fc.Arbitrary<Buffer> = fc.oneof(
  { arbitrary: editedMail, weight: 3 },
  { arbitrary: editedFile, weight: 4 },
  { arbitrary: crossed, weight: 1 },
);

/** The seeds as they are. */
export const SEEDS: readonly Buffer[] = [...MAILS, ...FILES.map(withFile)];
