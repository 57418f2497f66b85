/**
 * Mails made to cost whoever takes them apart more than they cost their sender. Each is made when it is wanted, at
 * full size; `flags` are those it must get, one of them at least where they are several.
 */
import { crc32, deflateRawSync, deflateSync, gzipSync } from "node:zlib";
import { makeZip, type ZipMember } from "./archives/make.ts";
import { mail, multipart, type Part } from "./mails.ts";
import { docx } from "./office/make.ts";

export type Bomb = {
  readonly make: () => Uint8Array;
  /** One of these flags is given. */
  readonly flags: readonly string[];
  /** True where everything is read all the same. */
  readonly complete?: boolean;
};

/** AES of 256 bits, by the fields of a member. */
const LOCKED = { method: 99, flags: 1, size: 72, extra: Buffer.from("019907000200414503" + "0800", "hex") };

const packed = (name: string, content: Uint8Array): ZipMember => ({
  name,
  data: deflateRawSync(content),
  method: 8,
  size: content.length,
  crc: crc32(content),
});

const MB = 1024 * 1024;

function attachment(name: string, content: Uint8Array): Part {
  return {
    headers: [
      "Content-Type: application/octet-stream",
      `Content-Disposition: attachment; filename="${name}"`,
      "Content-Transfer-Encoding: base64",
    ],
    body: base64Lines(content),
  };
}

/** Base64 in lines of 76 characters; for large contents, of which a regular expression makes too many strings. */
function base64Lines(content: Uint8Array): Buffer {
  const lines: Buffer[] = [];
  for (let at = 0; at < content.length; at += 57) {
    lines.push(Buffer.from(`${Buffer.from(content.subarray(at, at + 57)).toString("base64")}\r\n`));
  }
  return Buffer.concat(lines);
}

const withFile = (name: string, content: Uint8Array): Buffer =>
  multipart(["Subject: a file"], [attachment(name, content)]);

/** Bytes that do not compress, the same every time. */
export function noise(size: number, seed = 1): Buffer {
  const bytes = Buffer.alloc(size);
  let state = seed;
  for (let at = 0; at < size; at++) {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    bytes[at] = state >>> 24;
  }
  return bytes;
}

/** Zips in zips, `width` in each, no two the same, and at the bottom a file of zeros. */
function zipTree(levels: number, width: number, bottom: number): Buffer {
  const zeros = deflateRawSync(Buffer.alloc(bottom));
  const crc = crc32(Buffer.alloc(bottom));
  let zips = Array.from({ length: width }, (_, n) =>
    makeZip([{ name: `${n}.dll`, data: zeros, method: 8, size: bottom, crc }]),
  );
  for (let level = 1; level < levels; level++) {
    zips = Array.from({ length: width }, (_, n) =>
      makeZip(
        zips.map((zip, place) => packed(`lib ${place}.zip`, zip)),
        { comment: `${level}/${n}` },
      ),
    );
  }
  return makeZip(zips.map((zip, place) => packed(`book ${place}.zip`, zip)));
}

function zipChain(levels: number): Uint8Array {
  let inner: Uint8Array = Buffer.from("MZ at the bottom");
  for (let level = 0; level < levels; level++) inner = makeZip([packed("next.zip", inner)]);
  return inner;
}

function lines(count: number, line: (n: number) => string): Buffer {
  const all: string[] = [];
  for (let n = 0; n < count; n++) all.push(line(n));
  return Buffer.from(all.join(""));
}

function nestedMultiparts(levels: number): Buffer {
  const open = lines(levels, (n) => `Content-Type: multipart/mixed; boundary="b${n}"\r\n\r\n--b${n}\r\n`);
  return Buffer.concat([
    Buffer.from("Subject: nested\r\nMIME-Version: 1.0\r\n"),
    open,
    Buffer.from("Content-Type: text/plain\r\n\r\nat the bottom\r\n"),
    lines(levels, (n) => `--b${levels - 1 - n}--\r\n`),
  ]);
}

const nestedMails = (levels: number): Buffer =>
  Buffer.concat([
    lines(levels, (n) => `Subject: ${n}\r\nContent-Type: message/rfc822\r\n\r\n`),
    Buffer.from("Subject: at the bottom\r\n\r\nhttp://bottom.example/\r\n"),
  ]);

/** Each mail encoded again for the one around it, as far as that is possible in this size. */
function encodedMails(levels: number): Uint8Array {
  let inner: Uint8Array = Buffer.from("Subject: at the bottom\r\n\r\nhttp://bottom.example/\r\n");
  for (let level = 0; level < levels; level++) {
    inner = mail(
      [`Subject: ${level}`, "Content-Type: message/rfc822", "Content-Transfer-Encoding: base64"],
      base64Lines(inner),
    );
  }
  return inner;
}

/** A PNG of `side` times `side` pixels in 1 bit grey: dots that look a little like codes everywhere. */
function dottedPng(side: number, seed: number): Buffer {
  const row = noise(Math.ceil(side / 8), seed);
  const line = Buffer.concat([Buffer.of(0), row]);
  const pixels = Buffer.concat(Array<Buffer>(side).fill(line));
  const header = Buffer.from("00000000000000000100000000", "hex");
  header.writeUInt32BE(side, 0);
  header.writeUInt32BE(side, 4);
  const chunk = (type: string, content: Uint8Array): Buffer => {
    const body = Buffer.concat([Buffer.from(type), content]);
    const [length, sum] = [Buffer.alloc(4), Buffer.alloc(4)];
    length.writeUInt32BE(content.length);
    sum.writeUInt32BE(crc32(body) >>> 0);
    return Buffer.concat([length, body, sum]);
  };
  return Buffer.concat([
    Buffer.from("89504e470d0a1a0a", "hex"),
    chunk("IHDR", header),
    chunk("IDAT", deflateSync(pixels)),
    chunk("IEND", Buffer.alloc(0)),
  ]);
}

/** Base64 of `size` bytes of it, with something foreign after every few characters. */
function junkedBase64(size: number): Buffer {
  const piece = Buffer.from("TVqQAAMA\tAAAE*AAAA//8A!ALgA AAAA-AAAAQAAA\r\n=AAA#AAA\0");
  return Buffer.alloc(size, piece);
}

export const BOMBS: Readonly<Record<string, Bomb>> = {
  "zips in zips that unpack to 6 TB": {
    make: () => withFile("42.zip", zipTree(4, 16, 100_000_000)),
    flags: [
      "archive_size_exceeded",
      "archive_ratio_exceeded",
      "decoded_size_exceeded",
      "attachments_exceeded",
    ],
  },
  "a zip in a zip, 200 deep": {
    make: () => withFile("chain.zip", zipChain(200)),
    flags: ["depth_exceeded"],
  },
  "10 zips in a zip that unpack to 100 MB each": {
    make: () => {
      const half = Buffer.concat([noise(MB / 16), Buffer.alloc(5 * MB)]);
      const zips = Array.from({ length: 10 }, (_, n) =>
        makeZip(
          Array.from({ length: 20 }, (_, m) => packed(`${m}.bin`, half)),
          { comment: `${n}` },
        ),
      );
      return withFile("zips.zip", makeZip(zips.map((zip, n) => packed(`${n}.zip`, zip))));
    },
    flags: ["decoded_size_exceeded", "inner_bytes_exceeded"],
  },
  "300 zips that no password opens": {
    make: () =>
      multipart(
        ["Subject: the password is pass1 or pass2 or pass3"],
        Array.from({ length: 300 }, (_, n) =>
          attachment(`${n}.zip`, makeZip([{ name: `${n}.js`, data: noise(100, n), ...LOCKED }])),
        ),
      ),
    flags: ["archive_encrypted"],
  },
  "100 pictures of 16 million dots": {
    make: () =>
      multipart(
        ["Subject: pictures"],
        Array.from({ length: 100 }, (_, n) => attachment(`${n}.png`, dottedPng(4000, n + 1))),
      ),
    flags: ["code_searches_exceeded"],
  },
  "20 documents of 40 pictures each": {
    make: () =>
      multipart(
        ["Subject: pictures"],
        Array.from({ length: 20 }, (_, n) =>
          attachment(
            `${n}.docx`,
            docx(
              "x",
              Object.fromEntries(
                Array.from({ length: 40 }, (_, m) => [`word/media/${m}.png`, dottedPng(3000, 100 * n + m)]),
              ),
            ),
          ),
        ),
      ),
    flags: ["code_searches_exceeded"],
  },
  "a page of 300,000 cells": {
    make: () =>
      mail(
        ["Content-Type: text/html"],
        Buffer.alloc(8 * MB, `<tr>${"<td bgcolor=#000 width=3><td width=3>".repeat(60)}</tr>`),
      ),
    flags: ["code_drawings_exceeded", "code_searches_exceeded", "text_exceeded"],
  },
  "text drawn with blocks": {
    make: () =>
      mail(
        ["Content-Type: text/plain; charset=utf-8"],
        Buffer.alloc(
          8 * MB,
          lines(60, (n) => `${"\u2588\u2580 \u2584".repeat(20 + (n % 2))}\n`),
        ),
      ),
    flags: ["code_drawings_exceeded", "code_searches_exceeded"],
  },
  "a gzip of 1 GB of zeros": {
    make: () => {
      const zeros = Buffer.alloc(64 * MB);
      return withFile("zeros.gz", gzipSync(Buffer.concat(Array<Buffer>(16).fill(zeros))));
    },
    flags: ["archive_ratio_exceeded", "archive_size_exceeded"],
  },
  "a zip of 1,000,000 members": {
    make: () => {
      const one = packed("x", Buffer.from("x"));
      return withFile(
        "many.zip",
        makeZip(Array.from({ length: 1_000_000 }, (_, n) => ({ ...one, name: `${n}` }))),
      );
    },
    flags: ["archive_members_exceeded", "inner_exceeded"],
  },
  "10,000 multiparts within each other": {
    make: () => nestedMultiparts(10_000),
    flags: [
      "depth_exceeded",
      "malformed",
      "parts_exceeded",
      "lenient_parts_exceeded",
      "lenient_depth_exceeded",
    ],
  },
  "10,000 mails within each other": { make: () => nestedMails(10_000), flags: ["depth_exceeded"] },
  "30 mails within each other, each in base64": { make: () => encodedMails(30), flags: ["depth_exceeded"] },
  "1,000,000 boundaries": {
    make: () =>
      mail(
        ["MIME-Version: 1.0", "Content-Type: multipart/mixed; boundary=b"],
        lines(1_000_000, () => "--b\r\n\r\n"),
      ),
    flags: ["parts_exceeded"],
  },
  "1,000,000 different boundaries": {
    make: () =>
      mail(
        ["MIME-Version: 1.0", "Content-Type: multipart/mixed; boundary=b"],
        lines(1_000_000, (n) => `--b${n}\r\nContent-Type: multipart/mixed; boundary=b${n + 1}\r\n\r\n`),
      ),
    flags: ["parts_exceeded", "malformed", "lenient_parts_exceeded"],
  },
  "50,000 attachments": {
    make: () =>
      multipart(
        ["Subject: many"],
        Array.from({ length: 50_000 }, (_, n) => attachment(`${n}.js`, Buffer.from(`eval(${n})`))),
      ),
    flags: ["attachments_exceeded", "parts_exceeded"],
  },
  "a header of 100 MB": {
    make: () => mail(["Subject: x", `X-Long: ${"a".repeat(100 * MB)}`], "http://behind.example/"),
    flags: ["header_too_large"],
  },
  "a header of 2,000,000 lines": {
    make: () => Buffer.concat([lines(2_000_000, (n) => `X-${n}: (<"\r\n`), Buffer.from("\r\nbody")]),
    flags: ["header_too_large"],
  },
  "1 MB of one address line": {
    make: () => mail([`To: ${'"a(<b@c.example>,'.repeat(60_000)}`], "x"),
    flags: ["addresses_exceeded", "value_cut"],
    complete: true,
  },
  "a mail of 100 MB in one line": {
    make: () => mail(["Subject: one line"], Buffer.alloc(100 * MB, "a")),
    flags: ["text_exceeded"],
  },
  "a mail of 100 MB of line ends": {
    make: () => mail(["Subject: empty"], Buffer.alloc(100 * MB, "\n")),
    flags: ["text_exceeded"],
  },
  "1,000,000 URLs": {
    make: () =>
      mail(
        ["Subject: links"],
        lines(1_000_000, (n) => `http://h${n}.example/${n}\r\n`),
      ),
    flags: ["urls_exceeded"],
  },
  "1,000,000 links of HTML": {
    make: () =>
      mail(
        ["Content-Type: text/html"],
        lines(1_000_000, (n) => `<a href="http://h${n}.example/?u=http%3A%2F%2Fi${n}.example">x</a>\n`),
      ),
    flags: ["urls_exceeded"],
  },
  "HTML of 20 MB": {
    make: () =>
      mail(["Content-Type: text/html"], Buffer.alloc(20 * MB, "<div class='x'><table><td><b>x</div>")),
    flags: ["text_exceeded"],
  },
  "HTML of 20 MB that opens and never closes": {
    make: () =>
      mail(["Content-Type: text/html"], Buffer.alloc(20 * MB, "<!--<style>{<a href='<![CDATA[&amp")),
    flags: ["text_exceeded"],
  },
  "base64 of 60 MB with junk in it": {
    make: () =>
      multipart(
        [],
        [
          {
            headers: ["Content-Transfer-Encoding: base64", "Content-Type: application/zip"],
            body: junkedBase64(60 * MB),
          },
        ],
      ),
    flags: [],
    complete: true,
  },
  "base64 of 60 MB with junk in it, undeclared": {
    make: () => mail(["Subject: x"], junkedBase64(60 * MB)),
    flags: ["text_exceeded"],
  },
  "quoted-printable of 60 MB": {
    make: () =>
      mail(
        ["Content-Type: application/octet-stream", "Content-Transfer-Encoding: quoted-printable"],
        Buffer.alloc(60 * MB, "=50=4B=03=04=\r\n=4d=ZZ="),
      ),
    flags: [],
    complete: true,
  },
};

/** Large, and no bomb: it is read in full. */
export const LARGE: Bomb = {
  make: () => withFile("large.bin", noise(75 * MB)),
  flags: [],
  complete: true,
};
