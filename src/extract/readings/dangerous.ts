/**
 * Tells from the first bytes whether a content may be of a type that is worth analysing.
 *
 * In goes the head of a content (64 bytes are enough for most types, 512 for all), out comes yes or no. It decides
 * which of the many ways to read an ambiguous mail are kept, so it must rarely say yes to random bytes or to prose.
 */

/** Bytes of a head that are looked at. */
export const HEAD_SIZE = 512;

/** Hex of the first bytes. */
const SIGNATURES = [
  "504b0304", // zip and what is built on it
  "504b0506",
  "504b0708",
  "504b3030504b0304",
  "526172211a07", // rar
  "377abcaf271c", // 7z
  "fd377a585a00", // xz
  "28b52ffd", // zstd
  "04224d18", // lz4
  "4d53434600000000", // cab
  "4d5357494d", // wim
  "d0cf11e0a1b11ae1", // OLE
  "7f454c46", // ELF
  "feedface", // Mach-O
  "feedfacf",
  "cefaedfe",
  "cffaedfe",
  "cafebabe", // Java class, fat Mach-O
  "cafed00d", // packed Java
  "6465780a", // dex
  "4c0000000114020000000000c000000000000046", // lnk
  "e4525c7b8cd8a74daeb15378d02996d3", // OneNote
  "a12fff43d9ef764c9ee210ea5722765f",
  "49545346", // chm
  "789f3e22", // TNEF
  "636f6e6563746978", // vhd
  "7668647866696c65", // vhdx
  "4b444d56", // vmdk
  "514649fb", // qcow2
  "414c5a01", // alz
  "45474741", // egg
] as const;

/** Beginnings of texts, in lower case, after blanks and a byte order mark. */
const TEXTS = [
  "%pdf-",
  "{\\rt",
  "activemime",
  ["x5o!p%@ap[4\\pzx54(p^)", "7cc)7}$"].join(""),
  "<html",
  "<!doctype html",
  "<script",
  "<body",
  "<head",
  "<meta http-equiv",
  "<iframe",
  "<svg",
  "<hta:",
  "<job",
  "<package",
  "#!/",
  "@echo",
  "[internetshortcut]",
  "on error resume next",
  "wscript.",
  "powershell",
  "<%@",
  "<?php",
] as const;
/** What gives a script away anywhere in its head. */
const SCRIPT =
  /activexobject|createobject\s?\(|wscript\.shell|eval\s?\(|new-object |invoke-expression|frombase64string|unescape\s?\(|mso-application|progid="(?:word|excel)|<!doctype svg|<svg[ >]|<html[ >]|<script[ >]/;

const BY_FIRST: ReadonlyMap<number, readonly Uint8Array[]> = groupByFirst(
  SIGNATURES.map((hex) => Uint8Array.fromHex(hex)),
);

function groupByFirst(signatures: readonly Uint8Array[]): ReadonlyMap<number, readonly Uint8Array[]> {
  const groups = new Map<number, Uint8Array[]>();
  for (const signature of signatures) {
    const first = signature[0] ?? 0;
    groups.set(first, [...(groups.get(first) ?? []), signature]);
  }
  return groups;
}

/** True where `head` begins like a program, an archive, a document, a disk image, a script or a page. */
export function looksDangerous(head: Uint8Array): boolean {
  return dangerOf(head) !== null;
}

/** What makes a head look dangerous: its binary type, or what it says as a text. */
export function dangerOf(head: Uint8Array): "binary" | "text" | null {
  const first = head[0];
  if (first === undefined || head.length < 4) return null;
  const signatures = BY_FIRST.get(first);
  if (signatures?.some((signature) => startsWith(head, signature)) || looksBinary(head, first))
    return "binary";
  return looksScript(head) ? "text" : null;
}

function startsWith(head: Uint8Array, signature: Uint8Array): boolean {
  if (head.length < signature.length) return false;
  for (let at = 0; at < signature.length; at++) if (head[at] !== signature[at]) return false;
  return true;
}

/** Types whose signature is short, and so needs more than itself. */
function looksBinary(head: Uint8Array, first: number): boolean {
  const at = (index: number): number => head[index] ?? -1;
  if (first === 0x4d && at(1) === 0x5a) return looksProgram(head);
  // gzip: deflate, and no reserved flag
  if (first === 0x1f && at(1) === 0x8b) return at(2) === 8 && at(3) < 0x20;
  if (first === 0x42 && at(1) === 0x5a && at(2) === 0x68 && at(3) >= 0x31 && at(3) <= 0x39) {
    return at(4) === 0x31 || at(4) === 0x17;
  }
  // lzh
  if (at(2) === 0x2d && at(3) === 0x6c && at(4) === 0x68 && at(6) === 0x2d) return true;
  // ACE
  if (at(7) === 0x2a && ascii(head, 7, 14) === "**ACE**") return true;
  // arj: a header of a possible size
  if (first === 0x60 && at(1) === 0xea) return at(3) <= 0x0a && at(4) >= 0x1e && at(4) <= 0x30 && at(5) <= 12;
  return at(257) === 0x75 && ascii(head, 257, 262) === "ustar";
}

/** A DOS or Windows program: two letters can begin a text, so the header has to be binary. */
function looksProgram(head: Uint8Array): boolean {
  const end = Math.min(head.length, 64);
  let zeros = 0;
  for (let at = 2; at < end; at++) if (head[at] === 0) zeros++;
  if (end < 64) return zeros >= Math.max(1, end >> 3);
  const offset = (head[60] ?? 0) | ((head[61] ?? 0) << 8) | ((head[62] ?? 0) << 16) | ((head[63] ?? 0) << 24);
  return zeros >= 4 && offset >= 0 && offset < 0x100_0000;
}

function ascii(head: Uint8Array, start: number, end: number): string {
  return String.fromCharCode(...head.subarray(start, end));
}

function looksScript(head: Uint8Array): boolean {
  const buffer = Buffer.from(head.buffer, head.byteOffset, Math.min(head.length, HEAD_SIZE));
  const wide = head[0] === 0xff && head[1] === 0xfe;
  const text = (wide ? buffer.toString("utf16le", 2) : buffer.toString("latin1"))
    .replace(/^(?:\xef\xbb\xbf)?[\s\0]{1,64}/, "")
    .replace(/^\xef\xbb\xbf/, "")
    .toLowerCase();
  return TEXTS.some((start) => text.startsWith(start)) || SCRIPT.test(text);
}

/** First bytes of all types that are known by them, for finding where one may begin. */
export const PREFIXES: readonly Uint8Array[] = [
  ...SIGNATURES.map((hex) => Uint8Array.fromHex(hex)),
  ...["MZ", "BZh", "\x1f\x8b\x08"].map((text) => Buffer.from(text, "latin1")),
  ...TEXTS.flatMap((text) => [Buffer.from(text), Buffer.from(text.toUpperCase())]),
  ...["<!Doctype", "<Html", "<Script", "ActiveMime", "[InternetShortcut]", "On Error"].map((text) =>
    Buffer.from(text),
  ),
];
