/**
 * What the name of a content says about it, beside what it is: names that deceive the reader or the program.
 *
 * In go the name as the mail gives it and the type told from the content, out come names of NAME_FACTS. It only
 * compares; nothing is ever opened by that name.
 */
import { extensionOf } from "../file-type.ts";
import type { NameFact } from "./flags.ts";

/** What file systems allow. */
const MAX_NAME = 255;
/** The part of a name that is looked at, from its end. */
const WINDOW = 2000;

const set = (words: string): ReadonlySet<string> => new Set(words.split(" "));

const PROGRAMS = set(
  "exe scr com pif cpl dll sys ocx msi msp mst msix appx jar app bat cmd ps1 psm1 vbs vbe js jse mjs wsf wsh wsc sct hta " +
    "lnk url scf reg inf chm hlp gadget application appref-ms xll wll ppam ade adp mde msc jnlp diagcab settingcontent-ms " +
    "iso img vhd vhdx udf html htm shtml xhtml xht mht mhtml svg py pyw sh apk dmg pkg deb rpm desktop",
);
const DECOYS = set(
  "pdf doc docx docm dot dotx rtf odt xls xlsx xlsm xlsb csv ods ppt pptx pps ppsx odp txt log jpg jpeg jpe png gif " +
    "bmp tif tiff webp heic mp3 mp4 avi mov wav zip rar 7z eml msg ics one",
);

/** Kinds of content that are told apart here. */
type Kind =
  | "program"
  | "script"
  | "shortcut"
  | "disk"
  | "html"
  | "archive"
  | "office"
  | "ole"
  | "rtf"
  | "pdf"
  | "onenote"
  | "image"
  | "media"
  | "mail"
  | "text";

/** By patterns on the type; the first that fits counts. */
const KINDS: readonly (readonly [RegExp, Kind])[] = [
  [
    /portable-executable|x-dosexec|x-elf|mach-binary|x-msi$|java-vm|java-archive|x-dex|android\.package|appx/,
    "program",
  ],
  [
    /javascript|vbscript|powershell|x-bat|x-wsf|\/hta$|encoded-script|shellscript|x-autoit|x-autohotkey|applescript|ms-regedit|x-ms-inf|x-ms-application|x-msc|htmlhelp|jnlp/,
    "script",
  ],
  [/ms-shortcut|internet-shortcut|ms-scf|shell-link-xml|x-desktop|x-rdp/, "shortcut"],
  [/iso9660|x-vhd|vmdk|qcow2|apple-diskimage|raw-disk-image/, "disk"],
  [/text\/html|xhtml|mimearchive/, "html"],
  [/image\/svg/, "image"],
  [/officedocument|macroenabled|opendocument|ms-visio|ooxml-protected|ms-xpsdocument/, "office"],
  [/msword|ms-excel|ms-powerpoint|visio|mspublisher|ole-storage|x-hwp|x-cfb/, "ole"],
  [/\/rtf$/, "rtf"],
  [/\/pdf$/, "pdf"],
  [/onenote/, "onenote"],
  [/ms-outlook|rfc822/, "mail"],
  [/zip|rar|7z|bzip|x-xz|zstd|x-tar|cab-compressed|x-arj|alz|egg|x-lzh|x-lzip|x-ace|compress/, "archive"],
  [/^image\//, "image"],
  [/^(?:audio|video)\//, "media"],
  [/^text\//, "text"],
];

/** Contents that a name with this extension may have without anyone being deceived. */
const EXPECTED: readonly (readonly [ReadonlySet<string>, readonly Kind[]])[] = [
  [set("doc dot"), ["office", "ole", "rtf"]],
  [set("xls xlt ppt pps pot pub"), ["office", "ole"]],
  [
    set("docx docm dotx dotm xlsx xlsm xlsb xltx xltm pptx pptm ppsx ppsm potx vsdx odt ods odp odg"),
    ["office", "ole", "archive"],
  ],
  [set("rtf"), ["rtf", "text"]],
  [set("pdf"), ["pdf"]],
  [set("one"), ["onenote"]],
  [set("jpg jpeg jpe png gif bmp tif tiff webp heic ico"), ["image"]],
  [set("mp3 mp4 avi mov wav m4a wmv mkv"), ["media"]],
  [set("txt log csv"), ["text", "html", "mail", "rtf"]],
  [set("zip"), ["archive", "office"]],
  [set("rar 7z gz tgz tar bz2 xz zst cab"), ["archive"]],
  [set("eml msg ics vcf"), ["mail", "text", "ole", "html"]],
];
const RUNNABLE: ReadonlySet<Kind> = new Set<Kind>(["program", "script", "shortcut", "disk"]);

/** `type` as detectType gives it. */
export function nameFacts(filename: string | null, type: string): readonly NameFact[] {
  if (filename === null || filename === "") return [];
  const facts = new Set<NameFact>();
  const name = filename.slice(-WINDOW);
  if (filename.length > MAX_NAME) facts.add("long_name");
  if (/[\u202b\u202d\u202e\u2067\u2068]/.test(name)) facts.add("right_to_left_override");
  if (hasInvisible(name)) facts.add("invisible_characters");
  if (/[. \u00a0]$/.test(name)) facts.add("trailing_dots");
  if (/(?:^|[\\/])\.\.[\\/]|^[\\/]|^[a-z]:[\\/]|::?\$data/i.test(name)) facts.add("path_in_name");
  const visible = withoutInvisible(name);
  const extension = extensionOf(visible);
  nameEndFacts(visible, extension, facts);
  const expected = EXPECTED.find(([extensions]) => extensions.has(extension))?.[1];
  const kind = KINDS.find(([pattern]) => pattern.test(type))?.[1];
  if (expected !== undefined && kind !== undefined && !expected.includes(kind)) {
    // A text under any name is a broken or foreign file, unless a program reads it as something else.
    if (kind !== "text") facts.add("type_mismatch");
    if (RUNNABLE.has(kind)) facts.add("program_as_document");
  }
  return [...facts];
}

const INVISIBLE =
  /[\x00-\x1f\x7f-\x9f\u00ad\u061c\u115f\u1160\u180e\u200b\u202a-\u202e\u2060-\u206f\u2800\u3164\ufeff\uffa0]|\u034f|[\u{e0000}-\u{e007f}]/u;
const EVERY_INVISIBLE = new RegExp(INVISIBLE.source, "gu");
/** Joiners and marks of direction: they belong to some scripts. */
const JOINER = /\u200c|\u200d|\u200e|\u200f/g;

function hasInvisible(name: string): boolean {
  // Beside Latin letters joiners have no meaning.
  return INVISIBLE.test(name) || /[a-z0-9.](?:\u200c|\u200d)|(?:\u200c|\u200d)[a-z0-9.]/i.test(name);
}

function withoutInvisible(name: string): string {
  return name.replace(EVERY_INVISIBLE, "").replace(JOINER, "");
}

/** Letters that look like Latin ones. */
const ALIKE: Readonly<Record<string, string>> = Object.fromEntries(
  [..."аaеeоoрpсcхxуyѕsіiјjԁdһhкkтtмmвbнhοoρpαaνvχxκkτtιiıiɡgⅼlｅe"].flatMap((char, index, all) =>
    index % 2 === 0 ? [[char, all[index + 1] ?? ""]] : [],
  ),
);
const DOTS_ALIKE = /[\u2024\uff0e\ufe52\u06d4\ua4f8]/g;

function nameEndFacts(name: string, extension: string, facts: Set<NameFact>): void {
  const plain = [...name.replace(DOTS_ALIKE, ".").normalize("NFKC").toLowerCase()]
    .map((char) => (Object.hasOwn(ALIKE, char) ? ALIKE[char] : char))
    .join("");
  const looksLike = extensionOf(plain);
  const known = PROGRAMS.has(looksLike) || DECOYS.has(looksLike);
  if (looksLike !== extension && known) facts.add("homoglyph_extension");
  const ended = plain.replace(/[. \u00a0]{1,300}$/, "");
  const dot = ended.lastIndexOf(".");
  if (dot <= 0 || !known) return;
  const before = ended.slice(0, dot);
  const padding = /[\s\u00a0\u2000-\u200a\u3000_.-]{1,2000}$/.exec(before.slice(-WINDOW))?.[0] ?? "";
  if (/\s{4}/.test(padding) || padding.length >= 12) facts.add("spaced_extension");
  if (!PROGRAMS.has(looksLike)) return;
  const stem = before.slice(0, before.length - padding.length);
  const inner = /[._-]([a-z0-9]{2,5})$/.exec(stem.slice(-8))?.[1] ?? "";
  if (DECOYS.has(inner) && (stem.at(-inner.length - 1) === "." || padding !== ""))
    facts.add("double_extension");
}
