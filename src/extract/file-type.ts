/**
 * Tells the media type of a content from the content itself; its file name only refines what is plain text.
 *
 * In goes a ContentSample, out comes one media type in lower case, "application/octet-stream" where nothing is
 * known. It never throws, and its work is bounded by the size of the sample. What VMRay cares about is told
 * here (programs, documents, scripts, disk images, shortcuts); images, media and archives by `file-type`.
 */
import { fileTypeFromBuffer } from "file-type";
import type { ContentSample } from "./content-sample.ts";

export const UNKNOWN_BINARY = "application/octet-stream";
export const PLAIN_TEXT = "text/plain";
/** The harmless test file of EICAR: a text by its bytes, a DOS program by its meaning, so it is analysed. */
export const EICAR_TEST = "application/x-eicar-test";

/** Characters of a text that are looked at. */
const TEXT_WINDOW = 64 * 1024;
const MAX_ARCHIVE_NAMES = 2000;

/** `filename` as the mail gives it. */
export async function detectType(sample: ContentSample, filename: string | null): Promise<string> {
  if (sample.size === 0) return "application/x-empty";
  const head = Buffer.from(sample.head.buffer, sample.head.byteOffset, sample.head.length);
  const special = binaryType(head, sample);
  if (special !== null) return special;
  const text = textOf(head);
  if (text !== null) return textType(text, extensionOf(filename));
  const known = await fileTypeFromBuffer(head.subarray(0, TEXT_WINDOW));
  return known?.mime.toLowerCase() ?? UNKNOWN_BINARY;
}

/** What follows the last dot of a file name, in lower case; "" where there is none. */
export function extensionOf(filename: string | null): string {
  // Windows ignores dots and spaces at the end of a name.
  const name = (filename ?? "")
    .slice(-300)
    .trimEnd()
    .replace(/[. ]{1,300}$/, "");
  return /\.([^./\\\s]{1,20})$/.exec(name)?.[1]?.toLowerCase() ?? "";
}

/** True where the beginning of a content reads as text of a single-byte or UTF-8 charset, or UTF-16 with BOM. */
export function isText(head: Uint8Array): boolean {
  return textOf(Buffer.from(head.buffer, head.byteOffset, head.length)) !== null;
}

function startsWith(head: Buffer, hex: string, at = 0): boolean {
  const length = hex.length / 2;
  return head.length >= at + length && head.toString("hex", at, at + length) === hex;
}

function hasAscii(head: Buffer, text: string, at: number): boolean {
  return head.length >= at + text.length && head.toString("latin1", at, at + text.length) === text;
}

function beginsWith(head: Buffer, bytes: Uint8Array): boolean {
  if (head.length < bytes.length) return false;
  for (let at = 0; at < bytes.length; at++) if (head[at] !== bytes[at]) return false;
  return true;
}

type Signature = { readonly bytes: Uint8Array; readonly type: string };

/** Signatures at the very beginning, by their first byte. */
const SIGNATURES: ReadonlyMap<number, readonly Signature[]> = byFirstByte([
  ["7f454c46", "application/x-elf"],
  ["feedface", "application/x-mach-binary"],
  ["feedfacf", "application/x-mach-binary"],
  ["cefaedfe", "application/x-mach-binary"],
  ["cffaedfe", "application/x-mach-binary"],
  ["6465780a", "application/x-dex"],
  ["4c0000000114020000000000c000000000000046", "application/x-ms-shortcut"],
  ["e4525c7b8cd8a74daeb15378d02996d3", "application/onenote"],
  ["a12fff43d9ef764c9ee210ea5722765f", "application/onenote"],
  ["4d534346", "application/vnd.ms-cab-compressed"],
  ["49545346", "application/vnd.ms-htmlhelp"],
  ["3f5f0300", "application/winhlp"],
  ["4d5357494d000000", "application/x-ms-wim"],
  ["4b444d56", "application/x-vmdk"],
  ["7668647866696c65", "application/x-vhdx"],
  ["636f6e6563746978", "application/x-vhd"],
  ["514649fb", "application/x-qcow2"],
  ["414c5a01", "application/x-alz-compressed"],
  ["45474741", "application/x-egg-compressed"],
  ["60ea", "application/x-arj"],
  ["789f3e22", "application/vnd.ms-tnef"],
  ["d0cf11e0a1b11ae1", "application/x-ole-storage"],
  ["504b0304", "application/zip"],
  ["504b0506", "application/zip"],
]);

function byFirstByte(
  signatures: readonly (readonly [hex: string, type: string])[],
): ReadonlyMap<number, readonly Signature[]> {
  const all = signatures.map(([hex, type]) => ({ bytes: Uint8Array.fromHex(hex), type }));
  return Map.groupBy(all, ({ bytes }) => bytes[0] ?? 0);
}

/** Split, so that no scanner takes this program for the test file. */
const EICAR_START = ["X5O!P%@AP[4\\PZX54(P^)7CC)7}$", "EICAR"].join("");
const DISK_SYSTEMS: ReadonlySet<string> = new Set(["CD001", "BEA01", "NSR02", "NSR03"]);

function binaryType(head: Buffer, sample: ContentSample): string | null {
  if (hasAscii(head, EICAR_START, 0)) return EICAR_TEST;
  if (hasAscii(head, "MZ", 0)) {
    const at = head.length >= 64 ? head.readUInt32LE(60) : head.length;
    if (startsWith(head, "50450000", at)) return "application/vnd.microsoft.portable-executable";
    // Two letters alone can begin a text.
    if (textOf(head) === null) return "application/x-dosexec";
  }
  if (startsWith(head, "cafebabe") && head.length >= 8) {
    return head.readUInt32BE(4) < 32 ? "application/x-mach-binary" : "application/java-vm";
  }
  const signature = SIGNATURES.get(head[0] ?? 0)?.find(({ bytes }) => beginsWith(head, bytes))?.type;
  if (signature === "application/zip") return zipType(head, sample);
  if (signature === "application/x-ole-storage") return oleType(head, sample);
  if (signature !== undefined) return signature;
  if (head.subarray(0, 1024).includes("%PDF-")) return "application/pdf";
  for (const sector of [0x8001, 0x8801, 0x9001]) {
    if (DISK_SYSTEMS.has(head.toString("latin1", sector, sector + 5))) return "application/x-iso9660-image";
  }
  const tail = Buffer.from(sample.tail.buffer, sample.tail.byteOffset, sample.tail.length);
  if (tail.length >= 512) {
    if (hasAscii(tail, "conectix", tail.length - 512)) return "application/x-vhd";
    if (hasAscii(tail, "koly", tail.length - 512)) return "application/x-apple-diskimage";
  }
  if (startsWith(head, "55aa", 510) && (head[0] === 0xeb || head[0] === 0xe9 || head[0] === 0x33)) {
    return "application/x-raw-disk-image";
  }
  return null;
}

/** The names in a zip: from its directory, or from its local headers where the directory was not kept. */
function zipNames(head: Buffer, sample: ContentSample): readonly string[] {
  const names: string[] = [];
  const tail = Buffer.from(sample.tail.buffer, sample.tail.byteOffset, sample.tail.length);
  const end = tail.lastIndexOf("PK\x05\x06", tail.length, "latin1");
  if (end >= 0 && end + 22 <= tail.length) {
    const directorySize = tail.readUInt32LE(end + 12);
    let at = end - directorySize;
    while (
      at >= 0 &&
      at + 46 <= end &&
      names.length < MAX_ARCHIVE_NAMES &&
      startsWith(tail, "504b0102", at)
    ) {
      const nameLength = tail.readUInt16LE(at + 28);
      names.push(tail.toString("latin1", at + 46, at + 46 + nameLength));
      at += 46 + nameLength + tail.readUInt16LE(at + 30) + tail.readUInt16LE(at + 32);
    }
  }
  let at = names.length === 0 ? head.indexOf("PK\x03\x04", 0, "latin1") : -1;
  while (at >= 0 && at + 30 <= head.length && names.length < MAX_ARCHIVE_NAMES) {
    const nameLength = head.readUInt16LE(at + 26);
    names.push(head.toString("latin1", at + 30, at + 30 + nameLength));
    at = head.indexOf("PK\x03\x04", at + 30 + nameLength, "latin1");
  }
  return names;
}

const OOXML = "application/vnd.openxmlformats-officedocument.";

function zipType(head: Buffer, sample: ContentSample): string {
  const names = zipNames(head, sample);
  const has = (name: string): boolean => names.includes(name);
  const under = (folder: string): boolean => names.some((name) => name.startsWith(folder));
  const macros = names.some((name) => name.endsWith("vbaProject.bin"));
  if (has("AndroidManifest.xml")) return "application/vnd.android.package-archive";
  if (has("AppxManifest.xml") || has("AppxMetadata/AppxBundleManifest.xml")) return "application/appx";
  if (has("[Content_Types].xml")) {
    if (under("word/")) {
      return macros
        ? "application/vnd.ms-word.document.macroenabled.12"
        : `${OOXML}wordprocessingml.document`;
    }
    if (has("xl/workbook.bin")) return "application/vnd.ms-excel.sheet.binary.macroenabled.12";
    if (under("xl/")) {
      return macros ? "application/vnd.ms-excel.sheet.macroenabled.12" : `${OOXML}spreadsheetml.sheet`;
    }
    if (under("ppt/")) {
      return macros
        ? "application/vnd.ms-powerpoint.presentation.macroenabled.12"
        : `${OOXML}presentationml.presentation`;
    }
    if (under("visio/")) return "application/vnd.ms-visio.drawing";
    if (under("Documents/") || has("FixedDocumentSequence.fdseq")) return "application/vnd.ms-xpsdocument";
  }
  if (names[0] === "mimetype" && head.length > 38) {
    // OpenDocument and EPUB: the first entry is the media type, stored as it is.
    const stored = head.toString("latin1", 38, 138);
    const type = /^(application\/[a-z0-9.+-]{1,80}?)(?:PK|$|[^a-z0-9.+-])/.exec(stored)?.[1];
    if (type !== undefined) return type;
  }
  if (has("META-INF/MANIFEST.MF") || names.some((name) => name.endsWith(".class"))) {
    return "application/java-archive";
  }
  return "application/zip";
}

/** Names of streams in an OLE file ([MS-CFB] 2.6.1) that tell which program it belongs to. */
const OLE_STREAMS: readonly (readonly [string, string])[] = [
  ["__properties_version1.0", "application/vnd.ms-outlook"],
  ["EncryptedPackage", "application/x-ooxml-protected"],
  ["WordDocument", "application/msword"],
  ["Workbook", "application/vnd.ms-excel"],
  ["PowerPoint Document", "application/vnd.ms-powerpoint"],
  ["VisioDocument", "application/vnd.visio"],
  ["Quill", "application/x-mspublisher"],
  ["HwpSummaryInformation", "application/x-hwp"],
  ["Book\0", "application/vnd.ms-excel"],
];
/** CLSIDs of the root entry of Windows Installer packages, patches and transforms. */
const INSTALLER_CLSIDS: ReadonlySet<string> = new Set(
  ["82", "84", "86"].map((kind) => `${kind}100c0000000000c000000000000046`),
);

function oleType(head: Buffer, sample: ContentSample): string {
  const directory = Buffer.from(sample.oleDirectory ?? []);
  if (directory.length >= 96 && INSTALLER_CLSIDS.has(directory.toString("hex", 80, 96))) {
    return "application/x-msi";
  }
  const tail = Buffer.from(sample.tail.buffer, sample.tail.byteOffset, sample.tail.length);
  for (const place of [directory, head, tail]) {
    for (const [stream, type] of OLE_STREAMS) {
      if (place.includes(stream, 0, "utf16le")) return type;
    }
  }
  return "application/x-ole-storage";
}

/** The beginning of a content as text, null where it is none. */
function textOf(head: Buffer): string | null {
  const start = head.subarray(0, TEXT_WINDOW);
  if (startsWith(start, "fffe")) return start.subarray(2).toString("utf16le");
  if (startsWith(start, "feff") && start.length % 2 === 0) {
    return Buffer.from(start.subarray(2)).swap16().toString("utf16le");
  }
  const bytes = startsWith(start, "efbbbf") ? start.subarray(3) : start;
  const text = bytes.toString("latin1", 0, bytes.length);
  return /[\x00-\x06\x0e-\x1a\x1c-\x1f]/.test(text) ? null : text;
}

/** Types of texts that are told by the extension, since that decides which program opens them. */
const BY_EXTENSION: Readonly<Record<string, string>> = {
  js: "text/javascript",
  jse: "text/javascript",
  mjs: "text/javascript",
  cjs: "text/javascript",
  vbs: "text/vbscript",
  vbe: "text/vbscript",
  ps1: "application/x-powershell",
  psm1: "application/x-powershell",
  psd1: "application/x-powershell",
  ps1xml: "application/x-powershell",
  bat: "application/x-bat",
  cmd: "application/x-bat",
  wsf: "application/x-wsf",
  wsh: "application/x-wsf",
  wsc: "application/x-wsf",
  ws: "application/x-wsf",
  sct: "application/x-wsf",
  hta: "application/hta",
  sh: "text/x-shellscript",
  command: "text/x-shellscript",
  py: "text/x-python",
  pyw: "text/x-python",
  pl: "text/x-perl",
  php: "text/x-php",
  rb: "text/x-ruby",
  lua: "text/x-lua",
  au3: "text/x-autoit",
  ahk: "text/x-autohotkey",
  applescript: "text/x-applescript",
  scpt: "text/x-applescript",
  asp: "text/asp",
  aspx: "text/asp",
  jsp: "text/x-jsp",
  inf: "text/x-ms-inf",
  reg: "text/x-ms-regedit",
  iqy: "text/x-iqy",
  slk: "application/x-sylk",
  url: "application/internet-shortcut",
  website: "application/internet-shortcut",
  desktop: "application/x-desktop",
  scf: "application/x-ms-scf",
  rdp: "application/x-rdp",
  html: "text/html",
  htm: "text/html",
  shtml: "text/html",
  xhtml: "text/html",
  xht: "text/html",
  svg: "image/svg+xml",
  mht: "application/x-mimearchive",
  mhtml: "application/x-mimearchive",
  csv: "text/csv",
  ics: "text/calendar",
  vcf: "text/vcard",
  eml: "message/rfc822",
};

/** Root elements of XML texts with a meaning of their own, in lower case. */
const BY_ELEMENT: Readonly<Record<string, string>> = {
  html: "text/html",
  svg: "image/svg+xml",
  "hta:application": "application/hta",
  job: "application/x-wsf",
  package: "application/x-wsf",
  component: "application/x-wsf",
  scriptlet: "application/x-wsf",
  jnlp: "application/x-java-jnlp-file",
  mmc_consolefile: "application/x-msc",
  "xdp:xdp": "application/vnd.adobe.xdp+xml",
  pcsettings: "application/x-ms-shell-link-xml",
  persistedquery: "application/x-ms-shell-link-xml",
  librarydescription: "application/x-ms-shell-link-xml",
  searchconnectordescription: "application/x-ms-shell-link-xml",
  "asmv1:assembly": "application/x-ms-application",
};

const INTERPRETERS: readonly (readonly [RegExp, string])[] = [
  [/python/, "text/x-python"],
  [/perl/, "text/x-perl"],
  [/ruby/, "text/x-ruby"],
  [/php/, "text/x-php"],
  [/node|deno|bun/, "text/javascript"],
  [/osascript/, "text/x-applescript"],
  [/pwsh/, "application/x-powershell"],
];

const BEGINNINGS: readonly (readonly [RegExp, string])[] = [
  [/^\{\\rt/i, "application/rtf"],
  [/^#@~\^/, "application/x-encoded-script"],
  [/^<\?php/i, "text/x-php"],
  [/^BEGIN:VCALENDAR/i, "text/calendar"],
  [/^BEGIN:VCARD/i, "text/vcard"],
  [/^ID;P/, "application/x-sylk"],
  [/^(?:Windows Registry Editor|REGEDIT4)/, "text/x-ms-regedit"],
  [/^\[InternetShortcut\]/i, "application/internet-shortcut"],
  [/^\[Desktop Entry\]/i, "application/x-desktop"],
  [/^# Disk DescriptorFile/, "application/x-vmdk"],
];

const HTML_TAG = /<(?:!doctype html|html|head|body|script|iframe|meta|form|table|div|a)[\s/>]/i;
const MAIL_HEADER = /^(?:from|to|date|subject|received|return-path|message-id|mime-version|delivered-to):/i;

function textType(text: string, extension: string): string {
  const start = text.slice(0, 4096).trimStart();
  const beginning = BEGINNINGS.find(([pattern]) => pattern.test(start))?.[1];
  if (beginning !== undefined) return beginning;
  if (start.startsWith("#!")) {
    const [line = ""] = start.split("\n", 1);
    return INTERPRETERS.find(([pattern]) => pattern.test(line))?.[1] ?? "text/x-shellscript";
  }
  if (/^mime-version:/im.test(start) && /^content-type:\s*multipart\/related/im.test(start)) {
    return extension === "eml" ? "message/rfc822" : "application/x-mimearchive";
  }
  const byExtension = Object.hasOwn(BY_EXTENSION, extension) ? BY_EXTENSION[extension] : undefined;
  if (start.startsWith("<")) {
    const byElement = markupType(start);
    if (byElement !== undefined) {
      // An HTML application is HTML whose name says so.
      return byElement === "text/html" && byExtension !== undefined ? byExtension : byElement;
    }
    return byExtension ?? (HTML_TAG.test(text) ? "text/html" : "text/xml");
  }
  if (byExtension !== undefined) return byExtension;
  if (HTML_TAG.test(start)) return "text/html";
  const headers = start.split(/\r?\n/, 40).filter((line) => MAIL_HEADER.test(line));
  return extension === "" && MAIL_HEADER.test(start) && headers.length >= 3 ? "message/rfc822" : PLAIN_TEXT;
}

/** The type of a text that begins with a tag, by its root element; undefined where that says nothing. */
function markupType(start: string): string | undefined {
  const program = /<\?mso-application\s+progid="(\w{1,20})\.Document"|progid="(Excel)\.Sheet"/.exec(start);
  if (program !== null) {
    return (program[1] ?? program[2]) === "Excel" ? "application/vnd.ms-excel" : "application/msword";
  }
  if (/^<!doctype\s+html/i.test(start)) return "text/html";
  for (const [, name = ""] of start.matchAll(/<([A-Za-z][\w:.-]{0,60})/g)) {
    const element = name.toLowerCase();
    return Object.hasOwn(BY_ELEMENT, element) ? BY_ELEMENT[element] : undefined;
  }
  return undefined;
}
