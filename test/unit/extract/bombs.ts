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
  /** Takes seconds to make or to read. */
  readonly costly?: true;
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

/** Base64 in lines of 76 characters. */
function base64Lines(content: Uint8Array): Buffer {
  const pieces: Buffer[] = [];
  const step = 57 * 4096;
  for (let at = 0; at < content.length; at += step) {
    const piece = Buffer.from(content.subarray(at, at + step)).toString("base64");
    pieces.push(Buffer.from(piece.replace(/.{1,76}/g, "$&\r\n")));
  }
  return Buffer.concat(pieces);
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

/** Members of one byte, none like the other; the count of the end record has 16 bits. */
function zipOfMany(count: number): Buffer {
  const first = makeZip([{ name: "0000000", data: Buffer.from("x") }]);
  const local = first.subarray(0, 38);
  const central = first.subarray(38, first.length - 22);
  const locals = Buffer.alloc(count * local.length, local);
  const centrals = Buffer.alloc(count * central.length, central);
  for (let n = 0; n < count; n++) {
    const name = String(n).padStart(7, "0");
    locals.write(name, n * local.length + 30);
    centrals.write(name, n * central.length + 46);
    centrals.writeUInt32LE(n * local.length, n * central.length + 42);
  }
  const end = Buffer.from(first.subarray(first.length - 22));
  end.writeUInt16LE(count % 65536, 8);
  end.writeUInt16LE(count % 65536, 10);
  end.writeUInt32LE(centrals.length, 12);
  end.writeUInt32LE(locals.length, 16);
  return Buffer.concat([locals, centrals, end]);
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
    flags: ["attachments_exceeded"],
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
    flags: ["inner_bytes_exceeded"],
    costly: true,
  },
  "300 zips that no password opens": {
    make: () =>
      multipart(
        ["Subject: the password is pass1 or pass2 or pass3"],
        Array.from({ length: 300 }, (_, n) =>
          attachment(`${n}.zip`, makeZip([{ name: `${n}.js`, data: noise(100, n), ...LOCKED }])),
        ),
      ),
    flags: ["archive_too_slow", "archive_encrypted", "archive_passwords_exceeded"],
    costly: true,
  },
  "100 pictures of 16 million dots": {
    make: () =>
      multipart(
        ["Subject: pictures"],
        Array.from({ length: 100 }, (_, n) => attachment(`${n}.png`, dottedPng(4000, n + 1))),
      ),
    flags: ["code_searches_exceeded"],
    costly: true,
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
    costly: true,
  },
  "a page of 300,000 cells": {
    make: () =>
      mail(
        ["Content-Type: text/html"],
        Buffer.alloc(8 * MB, `<tr>${"<td bgcolor=#000 width=3><td width=3>".repeat(60)}</tr>`),
      ),
    flags: ["code_drawings_exceeded"],
    costly: true,
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
    flags: ["code_drawings_exceeded"],
  },
  "a gzip of 1 GB of zeros": {
    make: () => {
      const zeros = Buffer.alloc(64 * MB);
      return withFile("zeros.gz", gzipSync(Buffer.concat(Array<Buffer>(16).fill(zeros))));
    },
    flags: ["inner_bytes_exceeded"],
  },
  "a zip of 1,000,000 members": {
    make: () => withFile("many.zip", zipOfMany(1_000_000)),
    flags: ["archive_members_exceeded"],
    costly: true,
  },
  "10,000 multiparts within each other": {
    make: () => nestedMultiparts(10_000),
    flags: ["nesting_exceeded"],
  },
  "10,000 mails within each other": {
    make: () => nestedMails(10_000),
    flags: ["depth_exceeded"],
  },
  "30 mails within each other, each in base64": { make: () => encodedMails(30), flags: ["depth_exceeded"] },
  "1,000,000 boundaries": {
    make: () =>
      mail(
        ["MIME-Version: 1.0", "Content-Type: multipart/mixed; boundary=b"],
        lines(1_000_000, () => "--b\r\n\r\n"),
      ),
    flags: ["parts_exceeded"],
    costly: true,
  },
  "1,000,000 different boundaries": {
    make: () =>
      mail(
        ["MIME-Version: 1.0", "Content-Type: multipart/mixed; boundary=b"],
        lines(1_000_000, (n) => `--b${n}\r\nContent-Type: multipart/mixed; boundary=b${n + 1}\r\n\r\n`),
      ),
    flags: ["lenient_parts_exceeded"],
    costly: true,
  },
  "50,000 attachments": {
    make: () =>
      multipart(
        ["Subject: many"],
        Array.from({ length: 50_000 }, (_, n) => attachment(`${n}.js`, Buffer.from(`eval(${n})`))),
      ),
    flags: ["attachments_exceeded"],
    costly: true,
  },
  "a header of 100 MB": {
    make: () => mail(["Subject: x", `X-Long: ${"a".repeat(100 * MB)}`], "http://behind.example/"),
    flags: ["header_too_large"],
  },
  "a header of 2,000,000 lines": {
    make: () => Buffer.concat([lines(2_000_000, (n) => `X-${n}: (<"\r\n`), Buffer.from("\r\nbody")]),
    flags: ["header_too_large"],
    costly: true,
  },
  "1 MB of one address line": {
    make: () => mail([`To: ${'"a(<b@c.example>,'.repeat(60_000)}`], "x"),
    flags: [],
    complete: true,
  },
  "a mail of 100 MB in one line": {
    make: () => mail(["Subject: one line"], Buffer.alloc(100 * MB, "a")),
    flags: ["text_exceeded"],
  },
  "a mail of 100 MB of line ends": {
    make: () => mail(["Subject: empty"], Buffer.alloc(100 * MB, "\n")),
    flags: ["strict_exceeded"],
    costly: true,
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
    costly: true,
  },
  "HTML of 20 MB": {
    make: () =>
      mail(["Content-Type: text/html"], Buffer.alloc(20 * MB, "<div class='x'><table><td><b>x</div>")),
    flags: ["text_exceeded"],
    costly: true,
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
    flags: ["strict_exceeded"],
    costly: true,
  },
  "base64 of 60 MB with junk in it, undeclared": {
    make: () => mail(["Subject: x"], junkedBase64(60 * MB)),
    flags: ["text_exceeded"],
    costly: true,
  },
  "quoted-printable of 60 MB": {
    make: () =>
      mail(
        ["Content-Type: application/octet-stream", "Content-Transfer-Encoding: quoted-printable"],
        Buffer.alloc(60 * MB, "=50=4B=03=04=\r\n=4d=ZZ="),
      ),
    flags: ["strict_exceeded", "lenient_work_exceeded"],
    costly: true,
  },
};

/** Large, and no bomb: it is read in full. */
export const LARGE: Bomb = {
  make: () => withFile("large.bin", Buffer.alloc(75 * MB, noise(MB + 1))),
  flags: [],
  complete: true,
};
