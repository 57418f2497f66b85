/** What is told by a content itself: its hashes, its type, and the name it is kept under. Pure functions. */
import type { SubmittedContent } from "./submit-form.ts";

export const hash = (algorithm: "sha256" | "sha1" | "md5", bytes: Uint8Array): string =>
  new Bun.CryptoHasher(algorithm).update(bytes).digest("hex");

/** VMRay gives a file another name where Windows could not store it under its own (its submission_filename). */
export function storedFilename(name: string, id: number): string {
  const device = /^(?:con|prn|aux|nul|com\d|lpt\d)(?:\.|$)/i;
  return name === "" || name.length > 255 || /[:<>\\"|?*/\0-\x1f]/.test(name) || device.test(name)
    ? `sample-${id}`
    : name;
}

/** Member names that tell the kind of an OOXML document. */
const OOXML_TYPES = [
  ["word/document.xml", "Word Document"],
  ["xl/workbook.xml", "Excel Document"],
  ["ppt/presentation.xml", "Powerpoint Document"],
] as const;

export function sampleType(bytes: Uint8Array): string {
  const content = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const head = content.toString("latin1", 0, 1024);
  if (head.startsWith("MZ")) return "Windows Exe (x86-32)";
  if (head.startsWith("PK\x03\x04")) {
    return OOXML_TYPES.find(([member]) => content.includes(member))?.[1] ?? "Archive";
  }
  if (head.startsWith("%PDF-")) return "PDF Document";
  if (/^\s*<(?:!doctype html|html)/i.test(head)) return "HTML Document";
  return "Unknown";
}

/** The hashes of what was submitted, and its size in bytes; of a URL those of its text. */
export function contentFacts(content: SubmittedContent) {
  const bytes = content.kind === "file" ? content.bytes : new TextEncoder().encode(content.text);
  return {
    sha256: hash("sha256", bytes),
    sha1: hash("sha1", bytes),
    md5: hash("md5", bytes),
    size: bytes.length,
  };
}
