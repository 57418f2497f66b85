/**
 * Contents that are of two types at once: what one program shows as an image, another runs.
 *
 * Bytes in; facts and what was found behind or in the content out, as contents of their own. A few searches for
 * signatures, each once over the bytes. Installers and archives carry other files by nature and are not looked at.
 */
import type { Inner } from "../reading.ts";
import type { PolyglotFact } from "./flags.ts";

export type Polyglot = { readonly facts: readonly PolyglotFact[]; readonly inner: readonly Inner[] };

type Kind = "image" | "pdf" | "ole" | "rtf" | "text";

const STARTS: readonly (readonly [RegExp, Kind])[] = [
  [
    /^(?:\x89PNG\r\n|\xff\xd8\xff|GIF8[79]a|BM.{4}\0\0\0\0|RIFF.{4}(?:WEBP|WAVE|AVI )|II\*\0|MM\0\*|ID3|\0\0\x01\0|.{4}ftyp)/s,
    "image",
  ],
  [/^\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1/, "ole"],
  [/^\s{0,64}\{\\rt/, "rtf"],
  [/^[^\x00-\x08\x0e-\x1a\x1c-\x1f]{16}/, "text"],
];
/** What comes before this place is the beginning of a PDF to the programs that show it. */
const PDF_WINDOW = 1024;
const MAX_COMMENT = 0xffff;
/** An archive ends this near to the end of the file, or nothing opens it. */
const MAX_TAIL = 1024;

const MARKUP = /<(?:script|html|hta:application|iframe|!doctype html|job|scriptlet)[\s>]|<\?php\s|<%@/gi;

export function polyglotFacts(bytes: Uint8Array): Polyglot {
  const file = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length);
  const kind = kindOf(file);
  const facts = new Set<PolyglotFact>();
  const found: Buffer[] = [];
  if (kind === null) return { facts: [], inner: [] };
  const zip = kind === "text" ? appendedZip(file, 1) : appendedZip(file, 4);
  if (zip !== null) {
    facts.add("appended_archive");
    found.push(zip);
  }
  if (kind === "image") inImage(file, facts, found);
  if (kind === "pdf") inPdf(file, facts, found);
  if (kind === "rtf" || kind === "ole") {
    const program = programIn(file, 512);
    // Objects in a compound file hold programs as they are; those are found by its own reader.
    if (kind === "rtf" && program !== null) {
      facts.add("appended_program");
      found.push(program);
    }
  }
  return { facts: [...facts], inner: found.map((one) => ({ name: null, declared: null, bytes: one })) };
}

function kindOf(file: Buffer): Kind | null {
  const start = file.toString("latin1", 0, PDF_WINDOW);
  if (start.startsWith("MZ") || start.startsWith("PK\x03\x04") || file.length < 16) return null;
  const known = STARTS.find(([pattern]) => pattern.test(start))?.[1] ?? null;
  return start.includes("%PDF-") && known !== "image" && known !== "ole" ? "pdf" : known;
}

/** A zip that ends with the file and begins at `least` or later; null where there is none. */
function appendedZip(file: Buffer, least: number): Buffer | null {
  const tail = file.subarray(Math.max(0, file.length - MAX_COMMENT - 22));
  const end = tail.lastIndexOf("PK\x05\x06", MAX_COMMENT + 22, "latin1");
  if (end < 0 || end + 22 > tail.length) return null;
  const comment = tail.readUInt16LE(end + 20);
  if (end + 22 + comment < tail.length - MAX_TAIL) return null;
  const endAt = file.length - tail.length + end;
  const directory = endAt - file.readUInt32LE(endAt + 12);
  const signed = (at: number, signature: number): boolean =>
    at >= 0 && at + 4 <= file.length && file.readUInt32LE(at) === signature;
  if (!signed(directory, 0x02014b50)) return null;
  // Offsets count from the beginning of the zip, or of the file where they were put right.
  const offset = directory + 46 <= file.length ? file.readUInt32LE(directory + 42) : 0;
  const shift = directory - file.readUInt32LE(endAt + 16);
  const begin = [shift + offset, offset].find((at) => at >= least && signed(at, 0x04034b50));
  return begin === undefined ? null : file.subarray(begin);
}

function inImage(file: Buffer, facts: Set<PolyglotFact>, found: Buffer[]): void {
  const text = file.toString("latin1");
  for (const signature of ["Rar!\x1a\x07", "7z\xbc\xaf\x27\x1c", "MSCF\0\0\0\0"]) {
    const at = text.indexOf(signature, 4);
    if (at < 0) continue;
    facts.add("appended_archive");
    found.push(file.subarray(at));
  }
  for (const signature of ["%PDF-1.", "{\\rtf1", "\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"]) {
    const at = text.indexOf(signature, 4);
    if (at < 0) continue;
    facts.add("appended_document");
    found.push(file.subarray(at));
  }
  const program = programIn(file, 4);
  if (program !== null) {
    facts.add("appended_program");
    found.push(program);
  }
  MARKUP.lastIndex = 0;
  const markup = MARKUP.exec(text);
  if (markup !== null) {
    facts.add("appended_script");
    found.push(file.subarray(markup.index));
  }
  // A name and a sign that make a script of the letters of the image's signature.
  if (/^(?:GIF8[79]a|BM)(?:=|\/\*)/.test(text.slice(0, 8))) facts.add("appended_script");
}

function inPdf(file: Buffer, facts: Set<PolyglotFact>, found: Buffer[]): void {
  const start = file.indexOf("%PDF-", 0, "latin1");
  const head = file.toString("latin1", 0, start);
  if (/[^\s\0\xef\xbb\xbf]/.test(head)) facts.add("prepended_data");
  const end = file.lastIndexOf("%%EOF", file.length, "latin1");
  const tail = end < 0 ? "" : file.toString("latin1", end);
  MARKUP.lastIndex = 0;
  const markup = MARKUP.exec(head) ?? MARKUP.exec(tail);
  if (markup !== null) {
    facts.add("appended_script");
    if (markup.input === tail) found.push(file.subarray(end + markup.index));
  }
  const program = end < 0 ? null : programIn(file.subarray(end), 5);
  if (program !== null) {
    facts.add("appended_program");
    found.push(program);
  }
  const text = file.toString("latin1");
  const mime = text.search(/^(?:mime-version:|content-type: {0,8}multipart\/related)/im);
  const office =
    /x-mso|ActiveMime|QWN0aXZlTWltZ|<w:WordDocument|text\/html|urn:schemas-microsoft-com:office/i;
  if (mime >= 0 && office.test(text)) facts.add("web_archive_as_document");
}

const STUBS = ["This program cannot be run in DOS mode", "This program must be run under Win32"];

/** A Windows program at `least` or later, known by the text that its first part prints. */
function programIn(file: Buffer, least: number): Buffer | null {
  for (const stub of STUBS) {
    const at = file.indexOf(stub, least, "latin1");
    if (at < 0) continue;
    const begin = file.subarray(0, at).lastIndexOf("MZ", at, "latin1");
    if (begin < least || at - begin > 512 || begin + 64 > file.length) continue;
    const header = begin + file.readUInt32LE(begin + 60);
    if (file.toString("latin1", header, header + 4) === "PE\0\0") return file.subarray(begin);
  }
  return null;
}
