/**
 * Unpacks deflate and zstd streams under a bound, and says where they end in what was given.
 *
 * A stream that ends well within the bound costs one synchronous call. Where it is broken or too large, it is run
 * a second time piece by piece, so that what comes before that place is had; `zlib` gives it up otherwise.
 */
import zlib from "node:zlib";

export type Unpacked = {
  readonly bytes: Uint8Array;
  /** Bytes read of what was given; all where the stream did not end well. */
  readonly consumed: number;
  readonly end: "whole" | "cut" | "broken";
};

export type Stream = "deflate" | "zlib" | "zstd";

type WithInfo = { readonly buffer: Buffer; readonly engine: { readonly bytesWritten: number } };

const SLICE = 64 * 1024;

/** At most `max` bytes where the stream ends within them, else its first `cutTo` bytes. */
export async function unpack(
  stream: Stream,
  bytes: Uint8Array,
  max: number,
  cutTo: number,
): Promise<Unpacked> {
  try {
    const options = { info: true, maxOutputLength: Math.max(1, max) };
    const made = SYNC[stream](bytes, options) as unknown as WithInfo;
    return { bytes: made.buffer, consumed: made.engine.bytesWritten, end: "whole" };
  } catch (fault) {
    const tooLarge = (fault as { code?: unknown }).code === "ERR_BUFFER_TOO_LARGE";
    const piece = await beginning(stream, bytes, tooLarge ? cutTo : max);
    return { bytes: piece, consumed: bytes.length, end: tooLarge ? "cut" : "broken" };
  }
}

const SYNC = { deflate: zlib.inflateRawSync, zlib: zlib.inflateSync, zstd: zlib.zstdDecompressSync };
const STREAMS = {
  deflate: zlib.createInflateRaw,
  zlib: zlib.createInflate,
  zstd: zlib.createZstdDecompress,
};

/** What comes out of a stream until it breaks, at most `max` bytes. */
function beginning(stream: Stream, bytes: Uint8Array, max: number): Promise<Uint8Array> {
  return new Promise((resolve) => {
    const engine = STREAMS[stream]();
    const pieces: Uint8Array[] = [];
    let length = 0;
    let at = 0;
    const finish = (): void => {
      engine.removeAllListeners();
      // A fault that comes late must not be without a listener.
      engine.on("error", () => {});
      engine.destroy();
      resolve(Buffer.concat(pieces, Math.min(length, max)));
    };
    const feed = (): void => {
      if (at >= bytes.length) {
        engine.end();
        return;
      }
      const piece = bytes.subarray(at, at + SLICE);
      at += piece.length;
      engine.write(piece, (fault) => {
        if (!fault) feed();
      });
    };
    engine.on("data", (piece: Uint8Array) => {
      pieces.push(piece);
      length += piece.length;
      if (length >= max) finish();
    });
    engine.on("error", finish);
    engine.on("end", finish);
    if (max <= 0) finish();
    else feed();
  });
}
