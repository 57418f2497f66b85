/**
 * Keeps of a content that streams by what its type is told from: its beginning, its end and, of an OLE file,
 * its directory. In go the chunks in order, out comes a ContentSample; memory is bounded whatever comes.
 */

/** What is kept of a content. */
export type ContentSample = {
  /** Bytes of the whole content. */
  readonly size: number;
  /** The first bytes, all of them where the content is not larger than the limit. */
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

export type Sampler = {
  readonly push: (chunk: Uint8Array) => void;
  readonly finish: () => ContentSample;
};

/** A sampler whose head has at most `headSize` bytes. */
export function createSampler(headSize: number): Sampler {
  const head: Uint8Array[] = [];
  let tail: Uint8Array[] = [];
  let headLength = 0;
  let tailLength = 0;
  let size = 0;
  let directoryAt: number | null | undefined;
  let directory: Uint8Array | null = null;

  return {
    push(chunk) {
      if (headLength < headSize) {
        const piece = chunk.subarray(0, headSize - headLength);
        head.push(piece);
        headLength += piece.length;
      }
      tail.push(chunk);
      tailLength += chunk.length;
      while (tail[0] !== undefined && tailLength - tail[0].length >= TAIL_SIZE) {
        tailLength -= tail[0].length;
        tail.shift();
      }
      // A part that comes in crumbs must not cost an object a crumb.
      if (tail.length > 1024) tail = [Buffer.concat(tail, tailLength)];
      if (head.length > 1024) head.splice(0, head.length, Buffer.concat(head, headLength));
      if (directoryAt === undefined && headLength >= OLE_HEADER_SIZE) {
        directoryAt = oleDirectoryOffset(Buffer.concat(head, headLength));
        if (directoryAt !== null) directory = new Uint8Array(OLE_DIRECTORY_SIZE);
      }
      if (directory !== null && typeof directoryAt === "number")
        copyOverlap(chunk, size, directory, directoryAt);
      size += chunk.length;
    },
    finish() {
      const wholeHead = join(head, headLength);
      const wholeTail = join(tail, tailLength);
      if (directory !== null && typeof directoryAt === "number") {
        copyOverlap(wholeHead, 0, directory, directoryAt);
      }
      return {
        size,
        head: wholeHead,
        tail: wholeTail.subarray(Math.max(0, wholeTail.length - TAIL_SIZE)),
        oleDirectory: directory,
      };
    },
  };
}

/** The sample of a content that is in memory as a whole. */
export function sampleOf(content: Uint8Array): ContentSample {
  const sampler = createSampler(content.length);
  sampler.push(content);
  return sampler.finish();
}

function join(chunks: readonly Uint8Array[], length: number): Uint8Array {
  const [only] = chunks;
  return chunks.length === 1 && only !== undefined ? only : Buffer.concat(chunks, length);
}

/** Where the directory of an OLE file begins ([MS-CFB] 2.2), null where it is no OLE file. */
function oleDirectoryOffset(header: Buffer): number | null {
  if (!OLE_MAGIC.every((byte, index) => header[index] === byte)) return null;
  const sectorShift = header.readUInt16LE(30);
  if (sectorShift !== 9 && sectorShift !== 12) return null;
  return (header.readUInt32LE(48) + 1) * 2 ** sectorShift;
}

/** Copies the bytes of `chunk` (which begins at `chunkAt`) that fall into `window` (which begins at `windowAt`). */
function copyOverlap(chunk: Uint8Array, chunkAt: number, window: Uint8Array, windowAt: number): void {
  const from = Math.max(chunkAt, windowAt);
  const to = Math.min(chunkAt + chunk.length, windowAt + window.length);
  if (from < to) window.set(chunk.subarray(from - chunkAt, to - chunkAt), from - windowAt);
}
