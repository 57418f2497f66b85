/** Writers of TNEF, .msg and compressed RTF, for tests. They write what they are told, right or wrong. */

import {
  type StoredStorage,
  type StoredStream,
  writeCompound,
} from "../../../../src/extract/ole/write-compound.ts";
import { checksum } from "../../../../src/extract/outlook/compressed-rtf.ts";

export const LIMITS = { bytes: 50_000_000, inner: 1000, urls: 1000 };
export const NO_CLSID = "0".repeat(32);

export function ascii(text: string): Uint8Array {
  return Uint8Array.from(text, (character) => character.charCodeAt(0));
}

export function utf16(text: string): Uint8Array {
  return new Uint8Array(Buffer.from(text, "utf16le"));
}

export function join(...parts: readonly Uint8Array[]): Uint8Array {
  return new Uint8Array(Buffer.concat(parts));
}

export function u16(value: number): Uint8Array {
  return Uint8Array.of(value & 255, (value >> 8) & 255);
}

export function u32(value: number): Uint8Array {
  return join(u16(value % 65_536), u16(Math.floor(value / 65_536)));
}

/** A property: its tag (number and type) and its value as bytes. */
export type Prop = { readonly tag: number; readonly value: Uint8Array; readonly local?: number };

export function prop(tag: number, value: Uint8Array | string | number | Date): Prop {
  if (value instanceof Uint8Array) return { tag, value };
  if (value instanceof Date) return { tag, value: fileTime(value) };
  if (typeof value === "number") return { tag, value: u32(value) };
  return { tag, value: (tag & 0xffff) === 0x1f ? utf16(`${value}\0`) : ascii(`${value}\0`) };
}

function fileTime(date: Date): Uint8Array {
  const bytes = new Uint8Array(8);
  const ticks = BigInt(date.getTime() + 11_644_473_600_000) * 10_000n;
  new DataView(bytes.buffer).setBigUint64(0, ticks, true);
  return bytes;
}

const SIZED = new Set([0x1e, 0x1f, 0x102, 0x0d]);

function padding(length: number): Uint8Array {
  return new Uint8Array((4 - (length % 4)) % 4);
}

export function tnefProps(props: readonly Prop[]): Uint8Array {
  const parts: Uint8Array[] = [u32(props.length)];
  for (const { tag, value, local } of props) {
    parts.push(u16(tag & 0xffff), u16(tag >>> 16));
    if (tag >>> 16 >= 0x8000) parts.push(new Uint8Array(16), u32(0), u32(local ?? 0x8000));
    if (SIZED.has(tag & 0xffff)) parts.push(u32(1), u32(value.length));
    parts.push(value, padding(value.length));
  }
  return join(...parts);
}

export function attribute(level: number, id: number, data: Uint8Array, sum?: number): Uint8Array {
  let total = 0;
  for (const byte of data) total += byte;
  return join(Uint8Array.of(level), u16(id), u16(0), u32(data.length), data, u16(sum ?? total & 0xffff));
}

export function tnef(...attributes: readonly Uint8Array[]): Uint8Array {
  return join(u32(0x223e9f78), u16(1), attribute(1, 0x9006, u32(0x10000)), ...attributes);
}

export const render = (flags = 0): Uint8Array =>
  attribute(2, 0x9002, join(u16(1), u32(0xffffffff), u16(0), u16(0), u32(flags)));
export const title = (name: string): Uint8Array => attribute(2, 0x8010, ascii(`${name}\0`));
export const data = (bytes: Uint8Array): Uint8Array => attribute(2, 0x800f, bytes);
export const attachment = (...props: readonly Prop[]): Uint8Array => attribute(2, 0x9005, tnefProps(props));
export const mapi = (...props: readonly Prop[]): Uint8Array => attribute(1, 0x9003, tnefProps(props));

export function stream(name: string, content: Uint8Array): StoredStream {
  return { kind: "stream", name, content };
}

export function storage(
  name: string,
  children: readonly (StoredStorage | StoredStream)[],
  clsid = NO_CLSID,
): StoredStorage {
  return { kind: "storage", name, clsid, state: 0, children };
}

const hex = (value: number, digits: number): string => value.toString(16).toUpperCase().padStart(digits, "0");

/** The table and the streams that hold properties in a storage of a .msg file. */
export function msgProps(headerBytes: number, props: readonly Prop[]): StoredStream[] {
  const rows: Uint8Array[] = [new Uint8Array(headerBytes)];
  const streams: StoredStream[] = [];
  for (const { tag, value } of props) {
    const sized = SIZED.has(tag & 0xffff);
    const inline = new Uint8Array(8);
    inline.set(sized ? u32(value.length) : value.subarray(0, 8));
    rows.push(u16(tag & 0xffff), u16(tag >>> 16), u32(6), inline);
    if (sized) streams.push(stream(`__substg1.0_${hex(tag, 8)}`, value));
  }
  return [stream("__properties_version1.0", join(...rows)), ...streams];
}

export type Msg = {
  readonly props: readonly Prop[];
  readonly recipients?: readonly (readonly Prop[])[];
  readonly attachments?: readonly (readonly (StoredStorage | StoredStream)[])[];
  readonly more?: readonly (StoredStorage | StoredStream)[];
};

export function msgParts(msg: Msg, headerBytes: number): (StoredStorage | StoredStream)[] {
  const recipients = (msg.recipients ?? []).map((props, index) =>
    storage(`__recip_version1.0_#${hex(index, 8)}`, msgProps(8, props)),
  );
  const attachments = (msg.attachments ?? []).map((parts, index) =>
    storage(`__attach_version1.0_#${hex(index, 8)}`, parts),
  );
  return [...msgProps(headerBytes, msg.props), ...recipients, ...attachments, ...(msg.more ?? [])];
}

export function msg(content: Msg): Uint8Array {
  return writeCompound(storage("", msgParts(content, 32)));
}

/** A storage with a mail in it, as an attachment holds one. */
export function embedded(content: Msg): StoredStorage {
  return storage("__substg1.0_3701000D", msgParts(content, 24));
}

/** Compresses with literals alone, and at last the reference to the place it is written at. */
export function lzfu(rtf: string, tail?: Uint8Array): Uint8Array {
  const packed: number[] = [];
  let at = 0;
  for (; at + 8 <= rtf.length; at += 8) packed.push(0, ...ascii(rtf.slice(at, at + 8)));
  const rest = ascii(rtf.slice(at));
  const end = (207 + rtf.length) % 4096;
  packed.push(1 << rest.length, ...rest, end >> 4, (end & 15) << 4);
  const content = tail ?? Uint8Array.from(packed);
  return join(u32(content.length + 12), u32(rtf.length), ascii("LZFu"), u32(checksum(content)), content);
}
