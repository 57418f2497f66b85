/** ActiveMime: how Word and Excel keep the macros of a document that is saved as one web page or one XML file. */
import { inflateSync } from "node:zlib";

/** Where a packed stream is looked for. */
const WINDOW = 2048;

export function isActiveMime(bytes: Buffer): boolean {
  return bytes.toString("latin1", 0, 10) === "ActiveMime";
}

/** What is packed in it, null where nothing can be unpacked within `max` bytes. */
export function unpackActiveMime(bytes: Buffer, max: number): Buffer | null {
  if (!isActiveMime(bytes)) return null;
  const head = bytes.subarray(0, WINDOW);
  for (let at = head.indexOf(0x78, 10); at >= 0; at = head.indexOf(0x78, at + 1)) {
    if (at + 1 >= bytes.length || bytes.readUInt16BE(at) % 31 !== 0) continue;
    try {
      return inflateSync(bytes.subarray(at), { maxOutputLength: Math.max(1, max) });
    } catch {
      // Not the beginning of a stream, or a broken one.
    }
  }
  return null;
}
