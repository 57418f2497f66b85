/** Mails that hide a zip archive behind broken MIME, one for each way to break it. */
import { zipSync } from "fflate";

/** Split, so that no scanner takes this file for the test file. */
const EICAR = ["X5O!P%@AP[4\\PZX54(P^)7CC)7}$", "EICAR-STANDARD-", "ANTIVIRUS-TEST-FILE!$H+H*"].join("");
export const PAYLOAD: Buffer = Buffer.from(
  zipSync({ "test.com": Buffer.from(EICAR) }, { level: 6, mtime: new Date(2024, 0, 2) }),
);

export type Trick = { readonly name: string; readonly mail: Buffer };

const BASE64 = PAYLOAD.toString("base64");
export const lines = (text: string, width: number, end = "\r\n"): string =>
  text.replace(new RegExp(`.{${width}}`, "g"), `$&${end}`);
const B64 = lines(BASE64, 76);
const TOP = ["From: a@example.com", "To: b@example.com", "Subject: trick", "MIME-Version: 1.0"];
const TYPE = "Content-Type: application/octet-stream";
const NAMED = 'Content-Disposition: attachment; filename="a.zip"';
const CODED = "Content-Transfer-Encoding: base64";

const mailOf = (headers: readonly string[], body: string | Buffer, delimiter = "\r\n\r\n"): Buffer =>
  Buffer.concat([
    Buffer.from(headers.join("\r\n") + delimiter, "latin1"),
    typeof body === "string" ? Buffer.from(body, "latin1") : body,
  ]);

/** A mail whose Content-Type header is `type`, its parts parted by `--used`. */
function bounded(type: string, used: string, part = [TYPE, NAMED, CODED].join("\r\n")): Buffer {
  const text = `--${used}\r\nContent-Type: text/plain\r\n\r\nhello\r\n`;
  return mailOf([...TOP, type], `${text}--${used}\r\n${part}\r\n\r\n${B64}\r\n--${used}--\r\n`);
}

/** A mail with one part, whose header is `header`, delimiter and all, and whose body is `body`. */
function parted(header: string, body: string | Buffer = B64): Buffer {
  const start = "--b1\r\nContent-Type: text/plain\r\n\r\nhello\r\n--b1\r\n";
  return mailOf(
    [...TOP, "Content-Type: multipart/mixed; boundary=b1"],
    Buffer.concat([
      Buffer.from(start + header, "latin1"),
      typeof body === "string" ? Buffer.from(body, "latin1") : body,
      Buffer.from("\r\n--b1--\r\n"),
    ]),
  );
}

const coded = (encoding: string, body: string | Buffer = B64): Buffer =>
  parted(`${TYPE}\r\n${NAMED}\r\nContent-Transfer-Encoding: ${encoding}\r\n\r\n`, body);

function group(name: string, variants: Readonly<Record<string, Buffer>>): Trick[] {
  return Object.entries(variants).map(([variant, mail]) => ({ name: `${name}: ${variant}`, mail }));
}

const ct = (boundary: string): string => `Content-Type: multipart/mixed; boundary=${boundary}`;

const duplicates = group("duplicate headers", {
  "type, the last one is the multipart": mailOf(
    [...TOP, "Content-Type: text/plain", ct("bb11")],
    rest("bb11"),
  ),
  "type, the first one is the multipart": mailOf(
    [...TOP, ct("bb11"), "Content-Type: text/plain"],
    rest("bb11"),
  ),
  "two boundaries, the last one is used": mailOf([...TOP, ct("cc22"), ct("bb11")], rest("bb11")),
  "two boundaries, the first one is used": mailOf([...TOP, ct("bb11"), ct("cc22")], rest("bb11")),
  "encoding, base64 last": coded("7bit\r\nContent-Transfer-Encoding: base64"),
  "encoding, base64 first": coded("base64\r\nContent-Transfer-Encoding: 8bit"),
  "encoding, quoted-printable and base64": coded("quoted-printable\r\nContent-Transfer-Encoding: base64"),
  "encoding, the other one is unknown": coded("base64\r\nContent-Transfer-Encoding: xxx"),
  "encoding, the other one is empty": coded("\r\nContent-Transfer-Encoding: base64"),
  "type of a part": parted(
    `Content-Type: multipart/mixed; boundary=zz\r\n${TYPE}\r\n${NAMED}\r\n${CODED}\r\n\r\n`,
  ),
});

function rest(used: string): string {
  return `--${used}\r\nContent-Type: text/plain\r\n\r\nhi\r\n--${used}\r\n${TYPE}\r\n${NAMED}\r\n${CODED}\r\n\r\n${B64}\r\n--${used}--\r\n`;
}

const names = group("header names", {
  "space before the colon": parted(`${TYPE}\r\n${NAMED}\r\nContent-Transfer-Encoding : base64\r\n\r\n`),
  "tab before the colon": parted(`${TYPE}\r\n${NAMED}\r\nContent-Transfer-Encoding\t: base64\r\n\r\n`),
  "two colons": parted(`${TYPE}\r\n${NAMED}\r\nContent-Transfer-Encoding:: base64\r\n\r\n`),
  "space before the name": parted(`${TYPE}\r\n${NAMED}\r\n Content-Transfer-Encoding: base64\r\n\r\n`),
  "space before the first name": parted(` ${CODED}\r\n${TYPE}\r\n${NAMED}\r\n\r\n`),
  "NUL before the name": parted(`${TYPE}\r\n${NAMED}\r\n\0Content-Transfer-Encoding: base64\r\n\r\n`),
  "NUL in the name": parted(`${TYPE}\r\n${NAMED}\r\nContent-Tran\0sfer-Encoding: base64\r\n\r\n`),
  "NUL after the name": parted(`${TYPE}\r\n${NAMED}\r\nContent-Transfer-Encoding\0: base64\r\n\r\n`),
  "byte order mark": parted(`\xef\xbb\xbf${CODED}\r\n${TYPE}\r\n${NAMED}\r\n\r\n`),
  "no space after the colon": parted(`${TYPE}\r\n${NAMED}\r\nContent-Transfer-Encoding:base64\r\n\r\n`),
  "upper case": parted(`${TYPE}\r\n${NAMED}\r\nCONTENT-TRANSFER-ENCODING: BASE64\r\n\r\n`),
  "the type behind a line of junk": mailOf([...TOP, "X-Foo-bar", ` ${ct("bb11")}`], rest("bb11")),
  "no type at all": mailOf(TOP, rest("bb11")),
});

const breaks = group("line breaks between headers", {
  "bare CR": parted(`${TYPE}\r${NAMED}\r${CODED}\r\n\r\n`),
  "bare LF": parted(`${TYPE}\n${NAMED}\n${CODED}\n\n`),
  mixed: parted(`${TYPE}\r\n${NAMED}\n${CODED}\r\r\n`),
  "CR before LF twice": parted(`${TYPE}\r\r\n${NAMED}\r\r\n${CODED}\r\r\n\r\n`),
  "vertical tab": parted(`${TYPE}\r\n${NAMED}\x0b${CODED}\r\n\r\n`),
  "form feed": parted(`${TYPE}\r\n${NAMED}\x0c${CODED}\r\n\r\n`),
  "next line": parted(`${TYPE}\r\n${NAMED}\x85${CODED}\r\n\r\n`),
  "CR instead of a space": parted(`${TYPE}\r\n${NAMED}\r\nContent-Transfer-Encoding:\rbase64\r\n\r\n`),
  "folded twice": parted(`${TYPE}\r\n${NAMED}\r\nContent-Transfer-Encoding:\r\n \r\n base64\r\n\r\n`),
  "a line of blanks": parted(`${TYPE}\r\n${NAMED}\r\n \r\n${CODED}\r\n\r\n`),
  "a line of junk": parted(`${TYPE}\r\n${NAMED}\r\nXXXXXX\r\n${CODED}\r\n\r\n`),
  "a line of control characters": parted(`${TYPE}\r\n${NAMED}\r\n\x01\x02\x03\r\n${CODED}\r\n\r\n`),
  "a long fold": parted(`${TYPE}\r\n${NAMED}\r\nContent-Transfer-Encoding:${" ".repeat(3000)}base64\r\n\r\n`),
  "all bare CR": Buffer.from(
    bounded(ct("bb11"), "bb11").toString("latin1").replaceAll("\r\n", "\r"),
    "latin1",
  ),
  "all bare LF": Buffer.from(
    bounded(ct("bb11"), "bb11").toString("latin1").replaceAll("\r\n", "\n"),
    "latin1",
  ),
});

const delimiters = group("between header and body", {
  tab: parted(`${TYPE}\r\n${NAMED}\r\n${CODED}\r\n\t\r\n`),
  spaces: parted(`${TYPE}\r\n${NAMED}\r\n${CODED}\r\n  \r\n  \r\n`),
  "vertical tabs": parted(`${TYPE}\r\n${NAMED}\r\n${CODED}\r\n\x0b\r\n\x0b\r\n`),
  nothing: parted(`${TYPE}\r\n${NAMED}\r\n${CODED}\r\n`),
  "four characters of junk": parted(`${TYPE}\r\n${NAMED}\r\n${CODED}\r\nABCD\r\n\r\n`),
  "junk and no empty line": parted(`${TYPE}\r\n${NAMED}\r\n${CODED}\r\nABCD\r\n`),
  "padded junk": parted(`${TYPE}\r\n${NAMED}\r\n${CODED}\r\nABC=\r\nABC=\r\n\r\n`),
  "two bare CR": parted(`${TYPE}\r\n${NAMED}\r\n${CODED}\r\r`),
  "an empty line before the header": parted(`\r\n${TYPE}\r\n${NAMED}\r\n${CODED}\r\n\r\n`),
  "empty lines before the mail": Buffer.concat([Buffer.from("\r\n\r\n"), bounded(ct("bb11"), "bb11")]),
  "mbox line before the mail": Buffer.concat([
    Buffer.from("From a@example.com Mon\r\n"),
    bounded(ct("bb11"), "bb11"),
  ]),
});

const boundary = group("boundary", {
  quoted: bounded(ct('"bb 11"'), "bb 11"),
  "single quotes": bounded(ct("'bb11 '"), "bb11 "),
  "space in it, not quoted": bounded(ct("boun 3ff1"), "boun 3ff1"),
  "cut at the space": bounded(ct("bound 3ff1"), "bound"),
  "space before it": bounded(ct(" bb11;"), " bb11"),
  "space after it": bounded(ct("bb11"), "bb11 "),
  "tab after it": bounded(ct("bb11"), "bb11\t"),
  "comment before it": bounded(ct("(boundary=cc22)bb11"), "bb11"),
  "comment in it": bounded(ct("bound()bb11"), "boundbb11"),
  "cut at the comment": bounded(ct("bound1()bb11"), "bound1"),
  "after the comment": bounded(ct("bound1()bb11"), "bb11"),
  "comment is part of it": bounded(ct("bb11()"), "bb11()"),
  "in a comment": bounded("Content-Type: multipart/mixed; (boundary=bb11)", "bb11"),
  "nested comments": bounded(ct("(a(b)c)bb11"), "bb11"),
  "encoded word, Q": bounded(ct('"=?us-ascii?Q?bb=31=31?="'), "bb11"),
  "encoded word, B": bounded(ct('"=?utf-8?B?YmIxMQ==?="'), "bb11"),
  "continued (RFC 2231)": bounded("Content-Type: multipart/mixed; boundary*0=bb; boundary*1=11", "bb11"),
  "continued, last piece first": bounded(
    "Content-Type: multipart/mixed; boundary*1=11; boundary*0=bb",
    "bb11",
  ),
  "continued and encoded": bounded(
    "Content-Type: multipart/mixed; boundary*0*=''b%62; boundary*1*=%311",
    "bb11",
  ),
  "continued, a piece twice": bounded(
    "Content-Type: multipart/mixed; boundary*0=foo; boundary*0=bb; boundary*1=11",
    "bb11",
  ),
  "charset and language": bounded("Content-Type: multipart/mixed; boundary*=utf-8'en'bb%3111", "bb111"),
  "percent without a star": bounded("Content-Type: multipart/mixed; boundary*0=bb%31%31", "bb11"),
  escaped: bounded(ct("bb\\11"), "bb11"),
  "escape kept": bounded(ct("bb1\\;cc2"), "bb1\\;cc2"),
  "cut at the escape": bounded(ct("bbb1\\;cc2"), "bbb1"),
  "quote in the middle, before it": bounded(ct('bbb1"ccc2"'), "bbb1"),
  "quote in the middle, inside": bounded(ct('bbb1"ccc2"'), "ccc2"),
  "quote in the middle, all": bounded(ct('bbb1"ccc2"'), 'bbb1"ccc2"'),
  "quote in the middle, without quotes": bounded(ct('bbb1"ccc2"'), "bbb1ccc2"),
  "quote not closed": bounded(ct('"bbb1'), "bbb1"),
  "escaped quotes": bounded(ct('bbb1\\"ccc2\\"'), "bbb1"),
  "with the name again": bounded(ct("boundary=bbb1"), "boundary=bbb1"),
  "semicolon in it": bounded(ct("bbb1;ccc2"), "bbb1;ccc2"),
  empty: bounded(ct('""'), ""),
  "only a space": bounded(ct('" "'), " "),
  missing: bounded("Content-Type: multipart/mixed", "bbb1"),
  "name misspelt": bounded("Content-Type: multipart/mixed; oundary=bbb1", "bbb1"),
  "in a string": bounded('Content-Type: multipart/mixed; foo="bla;boundary=bbb1"', "bbb1"),
  "no semicolon": bounded("Content-Type: multipart/mixed boundary=bbb1", "bbb1"),
  "space around the sign": bounded("Content-Type: multipart/mixed; boundary = bbb1", "bbb1"),
  "folded around the sign": bounded("Content-Type: multipart/mixed; boundary\r\n =\r\n bbb1", "bbb1"),
  "twice in one header, the first": bounded(
    "Content-Type: multipart/mixed; boundary=bbb1; boundary=ccc2",
    "bbb1",
  ),
  "twice in one header, the last": bounded(
    "Content-Type: multipart/mixed; boundary=ccc2; boundary=bbb1",
    "bbb1",
  ),
  "more behind it": bounded(ct("bbb1"), "bbb1 X"),
  "a dash behind it": bounded(ct("bbb1"), "bbb1-"),
  "CR behind it": bounded(ct('"bbb1\r"'), "bbb1\r"),
  "CR instead of a line break": Buffer.from(
    bounded(ct("bbb1"), "bbb1").toString("latin1").replaceAll("--bbb1\r\n", "--bbb1\r"),
    "latin1",
  ),
  "blank and CR before it": Buffer.from(
    bounded(ct("bbb1"), "bbb1").toString("latin1").replaceAll("--bbb1", " \r--bbb1"),
    "latin1",
  ),
  "NUL in its line": bounded(ct("bbb1"), "bbb1\0"),
  "end in the header of the mail": mailOf([...TOP, ct('"b:b:1"'), "--b:b:1--"], rest("b:b:1")),
  "inner equal to the outer": mailOf(
    [...TOP, ct("bbb1")],
    `--bbb1\r\n${ct("bbb1")}\r\n\r\n--bbb1\r\nContent-Type: text/plain\r\n\r\nx\r\n--bbb1--\r\n\r\n${rest("bbb1")}`,
  ),
  "outer extends the inner": mailOf(
    [...TOP, ct("bbb1x")],
    `--bbb1x\r\n${ct("bbb1")}\r\n\r\n${rest("bbb1")}--bbb1x--\r\n`,
  ),
  "inner extends the outer": mailOf(
    [...TOP, ct("bbb1")],
    `--bbb1\r\n${ct("bbb1x")}\r\n\r\n${rest("bbb1x")}--bbb1--\r\n`,
  ),
  "not closed": Buffer.from(bounded(ct("bbb1"), "bbb1").toString("latin1").replace("--bbb1--", ""), "latin1"),
  "two dashes too many": bounded(ct("bbb1"), "--bbb1"),
});

const types = group("type", {
  "upper and lower case": bounded("Content-Type: mULtipart/mixed; boundary=bbb1", "bbb1"),
  "without subtype": bounded("Content-Type: multipart; boundary=bbb1", "bbb1"),
  misspelt: bounded("Content-Type: multiparts/mixed; boundary=bbb1", "bbb1"),
  "of another family": bounded("Content-Type: singlepart/mixed; boundary=bbb1", "bbb1"),
  "comment before it": bounded("Content-Type: ()multipart/mixed; boundary=bbb1", "bbb1"),
  "comment in it": bounded("Content-Type: multipar()t/mixed; boundary=bbb1", "bbb1"),
  "the boundary alone": bounded("Content-Type: boundary=bbb1", "bbb1"),
  "folded after the name": bounded("Content-Type:\r\n multipart/mixed;\r\n\tboundary=bbb1", "bbb1"),
  "a part that calls itself a multipart": parted(
    `Content-Type: multipart/mixed\r\n${NAMED}\r\n${CODED}\r\n\r\n`,
  ),
  "a part that calls itself a multipart with a boundary": parted(
    `Content-Type: multipart/mixed; boundary=zzz9\r\n${NAMED}\r\n${CODED}\r\n\r\n`,
  ),
  "a digest": mailOf(
    [...TOP, "Content-Type: multipart/digest; boundary=bbb1"],
    `--bbb1\r\n\r\nFrom: c@example.com\r\nSubject: x\r\n${TYPE}\r\n${NAMED}\r\n${CODED}\r\n\r\n${B64}\r\n--bbb1--\r\n`,
  ),
  "a mail in the mail": mailOf([...TOP, "Content-Type: message/rfc822"], bounded(ct("bbb1"), "bbb1")),
  "an encoded mail in the mail": mailOf(
    [...TOP, "Content-Type: message/rfc822", CODED],
    lines(bounded(ct("bbb1"), "bbb1").toString("base64"), 76),
  ),
  "an encoded multipart": mailOf(
    [...TOP, ct("bbb1"), CODED],
    lines(Buffer.from(rest("bbb1")).toString("base64"), 76),
  ),
  "a mail in a text": mailOf(
    [...TOP, "Content-Type: text/plain"],
    `Hello,\r\n\r\nsee below.\r\n\r\n${TOP.join("\r\n")}\r\n${TYPE}\r\n${NAMED}\r\n${CODED}\r\n\r\n${B64}\r\n`,
  ),
});

const places = group("place", {
  preamble: mailOf(
    [...TOP, ct("bbb1")],
    `${B64}\r\n--bbb1\r\nContent-Type: text/plain\r\n\r\nx\r\n--bbb1--\r\n`,
  ),
  epilogue: mailOf(
    [...TOP, ct("bbb1")],
    `--bbb1\r\nContent-Type: text/plain\r\n\r\nx\r\n--bbb1--\r\n\r\n${B64}\r\n`,
  ),
  "a part in the epilogue": mailOf(
    [...TOP, ct("bbb1")],
    `--bbb1\r\nContent-Type: text/plain\r\n\r\nx\r\n--bbb1--\r\n--zzz9\r\n${TYPE}\r\n${NAMED}\r\n${CODED}\r\n\r\n${B64}\r\n`,
  ),
  "a part without header": parted("\r\n"),
  "a text": parted("Content-Type: text/plain\r\n\r\n", `see this:\r\n\r\n${B64}\r\n\r\nbye\r\n`),
  "a quoted text": parted(
    "Content-Type: text/plain\r\n\r\n",
    `see this:\r\n\r\n> ${lines(BASE64, 76, "\r\n> ")}\r\n\r\nbye bye, and so on\r\n`,
  ),
  "raw bytes": parted(`${TYPE}\r\n\r\n`, PAYLOAD),
  "raw bytes in a text": parted("Content-Type: text/plain\r\n\r\n", PAYLOAD),
  "behind a delimiter that others do not see": mailOf(
    [...TOP, ct("bbb1")],
    `--bbb1\r\n${TYPE}\r\n${NAMED}\r\n${CODED}\r\n\r\n${B64.slice(0, 78)}--none\r\nContent-Type: text/plain\r\n\r\n${B64.slice(78)}\r\n--bbb1--\r\n`,
  ),
});

const encodings = group("transfer encoding", {
  "comment behind it": coded("base64 (xx)"),
  "comment before it": coded("(xx) base64"),
  "comment in it": coded("bas()e64"),
  "folded comment in it": coded("bas(\r\n )e64"),
  folded: coded("\r\n base64"),
  quoted: coded('"base64"'),
  "semicolon behind it": coded("base64;"),
  "semicolon before it": coded(";base64"),
  "comma before it": coded(",base64"),
  "list of two": coded("base64,quoted-printable"),
  "list of two, the second": coded("quoted-printable, base64"),
  "junk behind it": coded("base64 xx"),
  "junk before it": coded("xx base64"),
  "encoded word": coded("=?UTF-8?B?YmFzZTY0?="),
  "open encoded word": coded("=?UTF-8?Q?base64"),
  misspelt: coded("base64x"),
  "with an x": coded("x-base64"),
  short: coded("b64"),
  "with a hyphen": coded("base-64"),
  empty: coded(""),
  unknown: coded("foo"),
  wrong: coded("7bit"),
  "wrong, quoted-printable": coded("quoted-printable"),
  missing: parted(`${TYPE}\r\n${NAMED}\r\n\r\n`),
});

const tail = BASE64.length % 4 === 0 ? BASE64 : `${BASE64}====`.slice(0, Math.ceil(BASE64.length / 4) * 4);
const broken = group("base64", {
  "one line": coded("base64", BASE64),
  "lines of four": coded("base64", lines(BASE64, 4)),
  "lines of six": coded("base64", lines(BASE64, 6)),
  "lines of five": coded("base64", lines(BASE64, 5)),
  "lines of one": coded("base64", lines(BASE64, 1)),
  "dots between": coded("base64", lines(BASE64, 1, ".")),
  "dashes between": coded("base64", lines(BASE64, 1, "-")),
  "spaces between": coded("base64", lines(BASE64, 1, " ")),
  "NUL between": coded("base64", lines(BASE64, 1, "\0")),
  "high bytes between": coded("base64", lines(BASE64, 2, "\xff\x80")),
  "equals sign after each line": coded("base64", lines(BASE64, 64, "=\r\n")),
  "equals sign after each group": coded("base64", lines(BASE64, 4, "=")),
  "equals sign in each group": coded("base64", lines(BASE64, 2, "=")),
  "line of equals signs first": coded("base64", `====\r\n${B64}`),
  "streams of one byte": coded(
    "base64",
    [...PAYLOAD].map((byte) => Buffer.from([byte]).toString("base64")).join(""),
  ),
  "streams of one byte, padded once": coded(
    "base64",
    [...PAYLOAD].map((byte) => Buffer.from([byte]).toString("base64").replace("==", "=")).join(""),
  ),
  "streams of two bytes": coded("base64", pairs().join("")),
  "streams of two bytes, padding first": coded(
    "base64",
    pairs()
      .map((pair) => `=${pair.slice(0, 3)}`)
      .join(""),
  ),
  "streams of two bytes, padding inside": coded(
    "base64",
    pairs()
      .map((pair) => `${pair.slice(0, 2)}=${pair.slice(2, 3)}`)
      .join(""),
  ),
  "streams of two bytes on lines": coded("base64", pairs().join("\r\n")),
  "junk after each line": coded("base64", lines(BASE64, 4, "XX\r\n")),
  "another stream behind it": coded(
    "base64",
    `${tail}\r\n====${Buffer.from("PK\x03\x04 another").toString("base64")}`,
  ),
  "two characters before it": coded("base64", `AB\r\n\r\n${B64}`),
  "three characters before it": coded("base64", `ABC\r\n\r\n${B64}`),
  "a word before it": coded("base64", `hello\r\n${B64}`),
  "a sentence before it": coded("base64", `This is the file you want!\r\n\r\n${B64}`),
  "a line of junk in it": coded("base64", B64.replace("\r\n", "\r\n*** not base64 ***\r\n")),
  "a comment in it": coded("base64", B64.replace("\r\n", "\r\n(comment)\r\n")),
  "without padding": coded("base64", B64.replace(/=+$/, "")),
  "too much padding": coded("base64", `${B64}====`),
  "URL alphabet": coded("base64", B64.replaceAll("+", "-").replaceAll("/", "_")),
  "junk behind it": coded("base64", `${tail}\r\n\r\nThis is the end, my friend.\r\n`),
});

function pairs(): string[] {
  const found: string[] = [];
  for (let at = 0; at < PAYLOAD.length; at += 2) found.push(PAYLOAD.subarray(at, at + 2).toString("base64"));
  return found;
}

const hex = (byte: number): string => byte.toString(16).toUpperCase().padStart(2, "0");
const quotedAll = (before: string, after: string): string =>
  [...PAYLOAD].map((byte) => `${before}=${hex(byte)}${after}`).join("");
const quotedSome = [...PAYLOAD]
  .map((byte) => (byte > 0x20 && byte < 0x7f && byte !== 0x3d ? String.fromCharCode(byte) : `=${hex(byte)}`))
  .join("");
const quoted = group("quoted-printable", {
  plain: coded(
    "quoted-printable",
    lines(quotedSome, 60, "=\r\n").replace(/=([\dA-F]?)=\r\n([\dA-F]{0,2})/g, "=\r\n=$1$2"),
  ),
  "all escaped": coded("quoted-printable", quotedAll("", "=\r\n")),
  "all escaped, one line": coded("quoted-printable", quotedAll("", "")),
  "lower case": coded("quoted-printable", quotedAll("", "").toLowerCase()),
  "blanks after soft breaks": coded("quoted-printable", quotedAll("", "= \t\r\n")),
  "broken escapes: two signs": coded("quoted-printable", quotedAll("=", "=\r\n")),
  "broken escapes: blanks": coded("quoted-printable", quotedAll("=  ", "=\r\n")),
  "broken escapes: letters": coded("quoted-printable", quotedAll("=XX", "=\r\n")),
  "broken escapes: one digit": coded(
    "quoted-printable",
    quotedAll("=0", "=0=0\r\n").replaceAll("=0=0\r\n", ""),
  ),
  "sign at the end": coded("quoted-printable", `${quotedAll("", "")}=`),
  "of base64": coded("quoted-printable", lines(BASE64.replaceAll("=", "=3D"), 70, "=\r\n")),
  "named x-quoted-printable": coded("x-quoted-printable", quotedAll("", "=\r\n")),
  "named quoted-print": coded("quoted-print", quotedAll("", "=\r\n")),
  "named with a space": coded("quoted printable", quotedAll("", "=\r\n")),
  "named qp": coded("qp", quotedAll("", "=\r\n")),
  "not named": parted(`${TYPE}\r\n${NAMED}\r\n\r\n`, quotedAll("", "=\r\n")),
  "in a text": parted("Content-Type: text/plain\r\n\r\n", quotedAll("", "=\r\n")),
});

export function uuencoded(bytes: Uint8Array, offset = 0x20, alphabet: string | null = null): string {
  const digit = (value: number): string =>
    alphabet !== null ? (alphabet[value] ?? "") : String.fromCharCode(value === 0 ? 0x60 : value + offset);
  let text = "";
  for (let at = 0; at < bytes.length; at += 45) {
    const row = bytes.subarray(at, at + 45);
    text += digit(row.length);
    for (let index = 0; index < row.length; index += 3) {
      const word = ((row[index] ?? 0) << 16) | ((row[index + 1] ?? 0) << 8) | (row[index + 2] ?? 0);
      text += [18, 12, 6, 0].map((shift) => digit((word >> shift) & 63)).join("");
    }
    text += "\r\n";
  }
  return text;
}

const UU = uuencoded(PAYLOAD);
const XX = uuencoded(PAYLOAD, 0, "+-0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz");

export function yencoded(bytes: Uint8Array): Buffer {
  const out: number[] = [];
  for (const byte of bytes) {
    const value = (byte + 42) & 0xff;
    if (value === 0 || value === 10 || value === 13 || value === 61) out.push(61, (value + 64) & 0xff);
    else out.push(value);
    if (out.length % 130 === 0) out.push(13, 10);
  }
  return Buffer.concat([
    Buffer.from(`=ybegin line=128 size=${bytes.length} name=a.zip\r\n`),
    Buffer.from(out),
    Buffer.from(`\r\n=yend size=${bytes.length}\r\n`),
  ]);
}

export function binhexed(bytes: Uint8Array): string {
  const alphabet = "!\"#$%&'()*+,-012345689@ABCDEFGHIJKLMNPQRSTUVXYZ[`abcdefhijklmpqr";
  const size = Buffer.alloc(4);
  size.writeUInt32BE(bytes.length);
  const head = Buffer.concat([
    Buffer.from("\x05a.zip\0????????\0\0", "latin1"),
    size,
    Buffer.alloc(4),
    Buffer.alloc(2),
  ]);
  const data = [...Buffer.concat([head, bytes, Buffer.alloc(4)])].flatMap((byte) =>
    byte === 0x90 ? [0x90, 0] : [byte],
  );
  let text = "";
  let bits = 0;
  let held = 0;
  for (const byte of data) {
    bits = ((bits << 8) | byte) & 0xffff;
    held += 8;
    while (held >= 6) {
      held -= 6;
      text += alphabet[(bits >> held) & 63];
    }
  }
  if (held > 0) text += alphabet[(bits << (6 - held)) & 63];
  return `(This file must be converted with BinHex 4.0)\r\n\r\n${lines(`:${text}:`, 64)}\r\n`;
}

export function ascii85(bytes: Uint8Array): string {
  let text = "";
  for (let at = 0; at < bytes.length; at += 4) {
    const row = bytes.subarray(at, at + 4);
    let word = 0;
    for (let index = 0; index < 4; index++) word = word * 256 + (row[index] ?? 0);
    let digits = "";
    for (let index = 0; index < 5; index++) {
      digits = String.fromCharCode(33 + (word % 85)) + digits;
      word = Math.floor(word / 85);
    }
    text += row.length === 4 && digits === "!!!!!" ? "z" : digits.slice(0, row.length + 1);
  }
  return `<~${lines(text, 75)}~>\r\n`;
}

const text = (body: string | Buffer): Buffer => parted("Content-Type: text/plain\r\n\r\n", body);
const others = group("other encodings", {
  uuencode: coded("x-uuencode", `begin 644 a.zip\r\n${UU}\`\r\nend\r\n`),
  "uuencode without end": coded("uuencode", `begin 644 a.zip\r\n${UU}`),
  "uuencode without begin": coded("uue", UU),
  "uuencode named uu": coded("uu", `begin 644 a.zip\r\n${UU}end\r\n`),
  "uuencode with spaces": coded("x-uue", `begin 644 a.zip\r\n${UU.replaceAll("`", " ")} \r\nend\r\n`),
  "uuencode in a text": text(`see this\r\n\r\nbegin 644 a.zip\r\n${UU}\`\r\nend\r\n\r\nbye\r\n`),
  "uuencode in a text, no end": text(`see this\r\n\r\nbegin 644 a.zip\r\n${UU}`),
  "uuencode in a quotation": text(
    `> begin 644 a.zip\r\n> ${UU.trimEnd().replaceAll("\r\n", "\r\n> ")}\r\n> end\r\n`,
  ),
  "uuencode called base64": coded("base64", `begin 644 a.zip\r\n${UU}\`\r\nend\r\n`),
  xxencode: coded("xxencode", `begin 644 a.zip\r\n${XX}+\r\nend\r\n`),
  "xxencode in a text": text(`begin 644 a.zip\r\n${XX}+\r\nend\r\n`),
  yEnc: coded("x-yencode", yencoded(PAYLOAD)),
  "yEnc in a text": text(Buffer.concat([Buffer.from("hello\r\n\r\n"), yencoded(PAYLOAD)])),
  "yEnc without end": text(
    Buffer.from(
      yencoded(PAYLOAD)
        .toString("latin1")
        .replace(/=yend.*/, ""),
      "latin1",
    ),
  ),
  BinHex: coded("binhex", binhexed(PAYLOAD)),
  "BinHex named mac-binhex40": coded("mac-binhex40", binhexed(PAYLOAD)),
  "BinHex in a text": text(`hello\r\n\r\n${binhexed(PAYLOAD)}`),
  Ascii85: coded("ascii85", ascii85(PAYLOAD)),
  "Ascii85 in a text": text(`hello\r\n\r\n${ascii85(PAYLOAD)}`),
});

const whole = bounded(ct("bbb1"), "bbb1");
const dots = [
  "\n.\n",
  "\r.\r",
  "\r.\n",
  "\n.\r",
  "\n.\r\n",
  "\r\n.\n",
  "\r.\r\n",
  "\r\n.\r",
  "\r\n\0.\r\n",
  "\r\n.\0\r\n",
  "\r\n.\r\r\n",
  "\r\r\n.\r\r\n",
];
const smuggled = group(
  "pseudo end of data",
  Object.fromEntries(
    dots.flatMap((dot) => [
      [
        `${JSON.stringify(dot)} with commands`,
        mailOf(
          [...TOP, "Content-Type: text/plain"],
          Buffer.concat([
            Buffer.from(`hello${dot}MAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nDATA\r\n`, "latin1"),
            whole,
          ]),
        ),
      ],
      [
        `${JSON.stringify(dot)} with a mail`,
        mailOf(
          [...TOP, "Content-Type: text/plain"],
          Buffer.concat([Buffer.from(`hello${dot}`, "latin1"), whole]),
        ),
      ],
    ]),
  ),
);

const twice = group("encoded twice", {
  "base64 in base64": coded("base64", lines(Buffer.from(B64).toString("base64"), 76)),
  "quoted-printable in base64": coded("base64", lines(Buffer.from(quotedAll("", "")).toString("base64"), 76)),
  "uuencode in base64": coded(
    "base64",
    lines(Buffer.from(`begin 644 a.zip\r\n${UU}end\r\n`).toString("base64"), 76),
  ),
  "base64 in escaped quoted-printable": coded(
    "quoted-printable",
    lines([...Buffer.from(B64)].map((byte) => `=${hex(byte)}`).join(""), 72, "=\r\n"),
  ),
});

const wide = Buffer.from(whole.toString("latin1"), "utf16le");
const charsets = group("charset", {
  "UTF-16 with mark": Buffer.concat([Buffer.from([0xff, 0xfe]), wide]),
  "UTF-16 without mark": wide,
  "UTF-16, big end first": Buffer.from(wide).swap16(),
});

export const TRICKS: readonly Trick[] = [
  ...duplicates,
  ...names,
  ...breaks,
  ...delimiters,
  ...boundary,
  ...types,
  ...places,
  ...encodings,
  ...broken,
  ...quoted,
  ...others,
  ...smuggled,
  ...twice,
  ...charsets,
];
