/**
 * What the type of a content is told from: its beginning, its end and, of an OLE file, its directory. In go the
 * bytes of a content, out comes a ContentSample that shares their memory.
 */

/** What is looked at of a content. */
export type ContentSample = {
  /** Bytes of the whole content. */
  readonly size: number;
  readonly head: Uint8Array;
  /** The last bytes, at most TAIL_SIZE. */
  readonly tail: Uint8Array;
  /** Of an OLE file the first sector of its directory, else null. */
  readonly oleDirectory: Uint8Array | null;
};

const TAIL_SIZE = 64 * 1024;
const OLE_MAGIC = [0xd0, 0xcf, 0x11, 0xe0, 0xa1, 0xb1, 0x1a, 0xe1];
const OLE_HEADER_SIZE = 512;
const OLE_DIRECTORY_SIZE = 4096;

export function sampleOf(content: Uint8Array): ContentSample {
  const directoryAt = oleDirectoryOffset(content);
  return {
    size: content.length,
    head: content,
    tail: content.subarray(Math.max(0, content.length - TAIL_SIZE)),
    oleDirectory:
      directoryAt === null ? null : content.subarray(directoryAt, directoryAt + OLE_DIRECTORY_SIZE),
  };
}

/** Where the directory of an OLE file begins ([MS-CFB] 2.2), null where it is no OLE file. */
function oleDirectoryOffset(content: Uint8Array): number | null {
  if (content.length < OLE_HEADER_SIZE) return null;
  if (!OLE_MAGIC.every((byte, index) => content[index] === byte)) return null;
  const header = new DataView(content.buffer, content.byteOffset, OLE_HEADER_SIZE);
  const sectorShift = header.getUint16(30, true);
  if (sectorShift !== 9 && sectorShift !== 12) return null;
  return (header.getUint32(48, true) + 1) * 2 ** sectorShift;
}
