/** Writers of documents for tests. They write what they are told, right or wrong. */
import { strToU8, zipSync } from "fflate";
import {
  type StoredStorage,
  type StoredStream,
  writeCompound,
} from "../../../../src/extract/ole/write-compound.ts";
import type { FlagEntry } from "../../../../src/extract/reading.ts";

export const LIMITS = { bytes: 50_000_000, inner: 1000, urls: 1000 };
export const NO_CLSID = "0".repeat(32);

export const bytes = (...pieces: readonly (string | number | Uint8Array)[]): Buffer =>
  Buffer.concat(
    pieces.map((piece) =>
      typeof piece === "number"
        ? Buffer.alloc(piece)
        : typeof piece === "string"
          ? Buffer.from(piece, "latin1")
          : piece,
    ),
  );
export const utf16 = (text: string): Buffer => Buffer.from(text, "utf16le");
export const hex = (digits: string): Buffer => Buffer.from(digits, "hex");

export function u16(value: number): Buffer {
  const out = Buffer.alloc(2);
  out.writeUInt16LE(value);
  return out;
}

export function u32(value: number): Buffer {
  const out = Buffer.alloc(4);
  out.writeUInt32LE(value);
  return out;
}

export function zip(parts: Readonly<Record<string, string | Uint8Array>>, level: 0 | 6 = 6): Uint8Array {
  const files = Object.entries(parts).map(([name, content]) => [
    name,
    typeof content === "string" ? strToU8(content) : content,
  ]);
  return zipSync(Object.fromEntries(files), { level });
}

export const TYPES = (overrides: Readonly<Record<string, string>> = {}): string =>
  `<?xml version="1.0"?><Types xmlns="http://schemas.openxmlformats.org/package/2006/content-types">${[
    `<Default Extension="rels" ContentType="application/vnd.openxmlformats-package.relationships+xml"/>`,
    `<Default Extension="xml" ContentType="application/xml"/><Default Extension="png" ContentType="image/png"/>`,
    ...Object.entries(overrides).map(
      ([name, type]) => `<Override PartName="/${name}" ContentType="application/${type}"/>`,
    ),
  ].join("")}</Types>`;

export type Relation = readonly [type: string, target: string, more?: string];

export const rels = (...relations: readonly Relation[]): string =>
  `<Relationships xmlns="http://schemas.openxmlformats.org/package/2006/relationships">${relations
    .map(
      ([type, target, more = 'TargetMode="External"'], index) =>
        `<Relationship Id="rId${index}" Type="http://schemas.openxmlformats.org/officeDocument/2006/relationships/${type}" Target="${target}" ${more}/>`,
    )
    .join("")}</Relationships>`;

export const wordXml = (body: string): string =>
  `<?xml version="1.0"?><w:document xmlns:w="http://schemas.openxmlformats.org/wordprocessingml/2006/main"><w:body>${body}</w:body></w:document>`;
export const paragraph = (...runs: readonly string[]): string =>
  `<w:p>${runs.map((run) => `<w:r><w:t>${run}</w:t></w:r>`).join("")}</w:p>`;

export function docx(body: string, more: Readonly<Record<string, string | Uint8Array>> = {}): Uint8Array {
  return zip({ "[Content_Types].xml": TYPES(), "word/document.xml": wordXml(body), ...more });
}

export const stream = (name: string, content: Uint8Array): StoredStream => ({
  kind: "stream",
  name,
  content,
});
export const storage = (
  name: string,
  children: readonly (StoredStream | StoredStorage)[],
  clsid = NO_CLSID,
): StoredStorage => ({ kind: "storage", name, clsid, state: 0, children });
export const compound = (children: readonly (StoredStream | StoredStorage)[], clsid = NO_CLSID): Uint8Array =>
  writeCompound(storage("Root Entry", children, clsid));

/** A container of VBA whose chunks have letters only, no copies. */
export function packVba(source: string): Buffer {
  const chunks: Buffer[] = [Buffer.of(1)];
  // A chunk of letters only is an eighth larger than what it holds.
  for (let at = 0; at < source.length; at += 3600) {
    const body: Buffer[] = [];
    const chunk = Buffer.from(source.slice(at, at + 3600), "latin1");
    for (let letter = 0; letter < chunk.length; letter += 8) {
      body.push(Buffer.of(0), chunk.subarray(letter, letter + 8));
    }
    const packed = Buffer.concat(body);
    chunks.push(u16(0xb000 | (packed.length - 1)), packed);
  }
  return Buffer.concat(chunks);
}

/** The storages of a VBA project with one module, whose source begins at `offset` of its stream. */
export function vbaProject(source: string, offset = 100): readonly (StoredStorage | StoredStream)[] {
  const record = (id: number, data: Uint8Array): Buffer => bytes(u16(id), u32(data.length), data);
  const dir = bytes(
    record(1, u32(1)),
    u16(9),
    u32(4),
    6,
    record(0x19, bytes("Module1")),
    record(0x1a, bytes("Module1")),
    record(0x32, utf16("Module1")),
    record(0x31, u32(offset)),
    record(0x2b, bytes()),
  );
  return [
    storage("VBA", [
      stream("dir", packVba(dir.toString("latin1"))),
      stream("_VBA_PROJECT", hex("cc61ffff00000000")),
      stream("Module1", bytes(offset, packVba(`Attribute VB_Name = "Module1"\r\n${source}`))),
    ]),
    stream("PROJECT", bytes('ID="{0}"\r\nModule=Module1\r\n')),
  ];
}

/** What Packager puts around a file. */
export function packaged(name: string, content: Uint8Array): Buffer {
  const path = bytes(`C:\\Temp\\${name}`, 1);
  return bytes(u16(2), name, 1, path, u32(0x30000), u32(path.length), path, u32(content.length), content);
}

export const ole10Native = (name: string, content: Uint8Array): Buffer => {
  const body = packaged(name, content);
  return bytes(u32(body.length), body);
};

export const urlsOf = (reading: { readonly urls: readonly { readonly url: string }[] }): readonly string[] =>
  reading.urls.map(({ url }) => url);
export const textOf = (
  reading: { readonly texts: readonly { readonly text: string; readonly source: string }[] },
  source: string,
): string =>
  reading.texts
    .filter((text) => text.source === source)
    .map(({ text }) => text)
    .join("\n");

/** Names that are in none of the tables. */
export function unknownNames(
  names: readonly string[],
  ...tables: readonly Readonly<Record<string, FlagEntry | { readonly meaning: string }>>[]
): readonly string[] {
  return names.filter((name) => !tables.some((table) => Object.hasOwn(table, name)));
}
