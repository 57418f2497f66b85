/**
 * OneNote sections: the files embedded in them, and the URLs in their text ([MS-ONESTORE] 2.6.13).
 *
 * Bytes in, a Reading out. The stores of files are found by their header, whatever the lists that lead to them say.
 */
import { createReading, type Limits, type Reading } from "../reading.ts";
import type { OfficeFact, OfficeFlag } from "./flags.ts";
import { OFFICE_SOURCE } from "./links.ts";
import { writtenUrls } from "./text.ts";

const STORE_HEADER = Buffer.from("e716e3bd65261145a4c48d4d0b7a9eac", "hex").toString("latin1");
const SECTIONS = ["e4525c7b8cd8a74daeb15378d02996d3", "a12fff43d9ef764c9ee210ea5722765f"];
/** Header, length, and twelve bytes without meaning. */
const STORE_OVERHEAD = 36;
const IMAGE = /^(?:\x89PNG|\xff\xd8\xff|GIF8|BM|II\*|\x01\0\0\0.{36} EMF)/s;

export function readOneNote(bytes: Uint8Array, limits: Limits): Reading {
  const reading = createReading(limits);
  const file = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length);
  const text = file.toString("latin1");
  if (!SECTIONS.includes(file.toString("hex", 0, 16))) {
    reading.flag("office_unreadable" satisfies OfficeFlag);
  }
  // What lies between the stores is the section itself.
  const between: Buffer[] = [];
  let done = 0;
  for (let at = text.indexOf(STORE_HEADER); at >= 0; at = text.indexOf(STORE_HEADER, done)) {
    between.push(file.subarray(done, at));
    const from = at + STORE_OVERHEAD;
    const size = from <= file.length ? Number(file.readBigUInt64LE(at + 16)) : 0;
    // A size that leads nowhere: all up to the next store, which is looked for from here.
    const broken = size === 0 || from + size > file.length;
    const next = broken ? text.indexOf(STORE_HEADER, from) : from + size;
    const content = file.subarray(from, next < 0 ? file.length : next);
    done = next < 0 ? file.length : next;
    if (content.length === 0) continue;
    if (!IMAGE.test(content.toString("latin1", 0, 64))) reading.fact("embedded_file" satisfies OfficeFact);
    if (!reading.inner({ name: null, declared: null, bytes: content })) break;
  }
  between.push(file.subarray(done));
  const written = writtenUrls(Buffer.concat(between));
  if (written !== "") reading.text({ kind: "text", text: written, source: OFFICE_SOURCE });
  return reading.done();
}
