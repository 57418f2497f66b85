/** Writes PDF documents for tests: as old programs do, with object streams, and encrypted. */
import { createCipheriv, createHash } from "node:crypto";
import { deflateSync } from "node:zlib";

/** An object without a stream as it is written, or a dictionary without brackets and its stream. */
export type ObjectSource = string | { readonly dict: string; readonly stream: Uint8Array | string };
export type Objects = Readonly<Record<number, ObjectSource>>;

/** A catalog, a page tree and one page, with what stands in their dictionaries besides. */
export function onePage(more: { catalog?: string; page?: string; content?: string } = {}): Objects {
  return {
    1: `<< /Type /Catalog /Pages 2 0 R ${more.catalog ?? ""} >>`,
    2: "<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
    3: `<< /Type /Page /Parent 2 0 R /MediaBox [0 0 612 792] /Contents 4 0 R ${more.page ?? ""} >>`,
    4: { dict: "", stream: more.content ?? "BT ET" },
  };
}

export function link(action: string): string {
  return `<< /Type /Annot /Subtype /Link /Rect [0 0 9 9] /A << ${action} >> >>`;
}

export function deflated(dict: string, content: Uint8Array | string): ObjectSource {
  return { dict: `${dict} /Filter /FlateDecode`, stream: deflateSync(content) };
}

function written(num: number, object: ObjectSource, cipher: Cipher | null): Buffer {
  if (typeof object === "string") return Buffer.from(`${num} 0 obj\n${object}\nendobj\n`, "latin1");
  const stream = Buffer.from(object.stream as Uint8Array);
  const bytes = cipher === null ? stream : cipher(num, stream);
  return Buffer.concat([
    Buffer.from(`${num} 0 obj\n<< ${object.dict} /Length ${bytes.length} >>\nstream\n`, "latin1"),
    bytes,
    Buffer.from("\nendstream\nendobj\n"),
  ]);
}

/** With a table of objects at the end, as up to PDF 1.4. */
export function classicPdf(objects: Objects, trailer = "", cipher: Cipher | null = null): Buffer {
  const pieces: Buffer[] = [Buffer.from("%PDF-1.4\n%\xe2\xe3\xcf\xd3\n", "latin1")];
  let at = pieces[0]?.length ?? 0;
  const rows: string[] = ["0000000000 65535 f \n"];
  const numbers = Object.keys(objects).map(Number);
  for (const num of numbers) {
    const object = objects[num] ?? "null";
    const piece = written(num, object, cipher);
    rows.push(`${String(at).padStart(10, "0")} 00000 n \n`);
    pieces.push(piece);
    at += piece.length;
  }
  pieces.push(
    Buffer.from(
      `xref\n0 ${rows.length}\n${rows.join("")}trailer\n<< /Size ${rows.length} /Root 1 0 R ${trailer} >>\nstartxref\n${at}\n%%EOF\n`,
      "latin1",
    ),
  );
  return Buffer.concat(pieces);
}

/** Objects without a stream in an object stream, as since PDF 1.5; the table is a stream, too. */
export function packedPdf(objects: Objects, trailer = "", cipher: Cipher | null = null, clear = -1): Buffer {
  const pieces: Buffer[] = [Buffer.from("%PDF-1.7\n")];
  const header: string[] = [];
  let body = "";
  for (const num of Object.keys(objects).map(Number)) {
    const object = objects[num] ?? "null";
    if (typeof object === "string" && num !== clear) {
      header.push(`${num} ${body.length}`);
      body += `${object}\n`;
    } else {
      pieces.push(written(num, object, cipher));
    }
  }
  const first = `${header.join(" ")}\n`;
  const stream = deflated(
    `/Type /ObjStm /N ${header.length} /First ${first.length}`,
    Buffer.from(first + body, "latin1"),
  );
  pieces.push(written(900, stream, cipher));
  pieces.push(
    written(901, deflated(`/Type /XRef /Size 902 /W [1 2 1] /Root 1 0 R ${trailer}`, "\0\0\0\0"), null),
  );
  pieces.push(Buffer.from("startxref\n0\n%%EOF\n"));
  return Buffer.concat(pieces);
}

// ---- encryption

export type Cipher = (num: number, bytes: Buffer) => Buffer;
export type Sealed = { readonly dict: string; readonly trailer: string; readonly cipher: Cipher };

const PADDING = Buffer.from("28bf4e5e4e758a4164004e56fffa01082e2e00b6d0683e802f0ca9fe6453697a", "hex");
const ID = Buffer.from("0123456789abcdef");

const md5 = (...pieces: readonly Uint8Array[]): Buffer =>
  createHash("md5").update(Buffer.concat(pieces)).digest();
const padded = (password: string): Buffer =>
  Buffer.concat([Buffer.from(password, "latin1"), PADDING]).subarray(0, 32);
const hex = (bytes: Buffer): string => `<${bytes.toString("hex")}>`;

function rc4(key: Buffer, bytes: Buffer): Buffer {
  const state = [...Array(256).keys()];
  let other = 0;
  for (let index = 0; index < 256; index++) {
    other = (other + (state[index] ?? 0) + (key[index % key.length] ?? 0)) % 256;
    [state[index], state[other]] = [state[other] ?? 0, state[index] ?? 0];
  }
  let first = 0;
  let second = 0;
  return Buffer.from(
    bytes.map((byte) => {
      first = (first + 1) % 256;
      second = (second + (state[first] ?? 0)) % 256;
      [state[first], state[second]] = [state[second] ?? 0, state[first] ?? 0];
      return byte ^ (state[((state[first] ?? 0) + (state[second] ?? 0)) % 256] ?? 0);
    }),
  );
}

function aes(bits: 128 | 256, key: Buffer, bytes: Buffer): Buffer {
  const iv = Buffer.alloc(16, 7);
  const cipher = createCipheriv(`aes-${bits}-cbc`, key, iv);
  return Buffer.concat([iv, cipher.update(bytes), cipher.final()]);
}

/** By the standard handler up to revision 4. */
export function sealOld(kind: "rc4-40" | "rc4-128" | "aes-128", user: string, owner: string): Sealed {
  const revision = kind === "rc4-40" ? 2 : kind === "rc4-128" ? 3 : 4;
  const size = kind === "rc4-40" ? 5 : 16;
  const hashed = (bytes: Buffer): Buffer => {
    let hash: Buffer = bytes;
    if (revision >= 3) for (let round = 0; round < 50; round++) hash = md5(hash.subarray(0, size));
    return hash.subarray(0, size);
  };
  const rounds = (key: Buffer, bytes: Buffer): Buffer => {
    let out: Buffer = bytes;
    for (let round = 0; round < (revision >= 3 ? 20 : 1); round++)
      out = rc4(Buffer.from(key.map((b) => b ^ round)), out);
    return out;
  };
  const ownerValue = rounds(hashed(md5(padded(owner))), padded(user));
  const key = hashed(md5(padded(user), ownerValue, Buffer.from([0xfc, 0xff, 0xff, 0xff]), ID));
  const userValue =
    revision === 2 ? rc4(key, PADDING) : Buffer.concat([rounds(key, md5(PADDING, ID)), Buffer.alloc(16)]);
  const filters = "/CF << /StdCF << /CFM /AESV2 /AuthEvent /DocOpen >> >> /StmF /StdCF /StrF /StdCF";
  return {
    dict: `<< /Filter /Standard /V ${revision === 2 ? 1 : revision === 3 ? 2 : 4} /R ${revision} /Length ${size * 8} /P -4 /O ${hex(ownerValue)} /U ${hex(userValue)} ${revision === 4 ? filters : ""} >>`,
    trailer: `/Encrypt 800 0 R /ID [${hex(ID)} ${hex(ID)}]`,
    cipher: (num, bytes) => {
      const salt = Buffer.from([num & 255, num >> 8, 0, 0, 0]);
      const own = md5(key, salt, Buffer.from(revision === 4 ? "sAlT" : "")).subarray(
        0,
        Math.min(16, size + 5),
      );
      return revision === 4 ? aes(128, own, bytes) : rc4(own, bytes);
    },
  };
}

/** By revision 6, of PDF 2.0. */
export function sealNew(user: string): Sealed {
  const key = Buffer.alloc(32, 0x5a);
  const password = Buffer.from(user);
  const validation = Buffer.from("validate");
  const wrapping = Buffer.from("wrapping");
  const unpadded = (bits: 128 | 256, secret: Buffer, iv: Buffer, bytes: Buffer): Buffer =>
    createCipheriv(`aes-${bits}-cbc`, secret, iv).setAutoPadding(false).update(bytes);
  const hash = (salt: Buffer): Buffer => {
    let state: Buffer = createHash("sha256").update(password).update(salt).digest();
    for (let round = 1, last = 255; round <= 64 || last > round - 1 - 32; round++) {
      const input = Buffer.concat(Array<Buffer>(64).fill(Buffer.concat([password, state])));
      const made = unpadded(128, state.subarray(0, 16), state.subarray(16, 32), input);
      const rest = Number(BigInt(`0x${made.subarray(0, 16).toString("hex")}`) % 3n);
      state = createHash(["sha256", "sha384", "sha512"][rest] ?? "")
        .update(made)
        .digest();
      last = made.at(-1) ?? 0;
    }
    return state.subarray(0, 32);
  };
  const userValue = Buffer.concat([hash(validation), validation, wrapping]);
  const userKey = unpadded(256, hash(wrapping), Buffer.alloc(16), key);
  const filters = "/CF << /StdCF << /CFM /AESV3 /AuthEvent /DocOpen >> >> /StmF /StdCF /StrF /StdCF";
  return {
    dict: `<< /Filter /Standard /V 5 /R 6 /Length 256 /P -4 /O <00> /OE <00> /U ${hex(userValue)} /UE ${hex(userKey)} ${filters} >>`,
    trailer: "/Encrypt 800 0 R",
    cipher: (_, bytes) => aes(256, key, bytes),
  };
}

/** A string of an encrypted document, in hexadecimal. */
export function sealedString(seal: Sealed, num: number, text: string): string {
  return hex(seal.cipher(num, Buffer.from(text, "latin1")));
}
