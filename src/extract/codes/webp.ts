/**
 * Reads the pixels of a WebP file by libwebp (WebAssembly of @jsquash/webp), and of a moving one the first frame.
 *
 * The program is compiled at the first use and kept; an instance that failed, or that has grown large, is thrown
 * away. Nothing is fetched; the WebAssembly lies in the binary.
 */
import wasmPath from "@jsquash/webp/codec/dec/webp_dec.wasm" with { type: "file" };
import decode, { init } from "@jsquash/webp/decode.js";
import { type Decoded, pictureOf, type Size } from "./picture.ts";

const MAX_CHUNKS = 1000;
/** An instance that gave more pixels than this is not kept, since its memory never shrinks. */
const KEPT_PIXELS = 2_000_000;

type Chunk = { readonly type: string; readonly body: Uint8Array };

function* chunksOf(bytes: Uint8Array, from: number): Generator<Chunk> {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  for (let at = from, count = 0; at + 8 <= bytes.length && count < MAX_CHUNKS; count++) {
    const length = view.getUint32(at + 4, true);
    const type = String.fromCharCode(...bytes.subarray(at, at + 4));
    yield { type, body: bytes.subarray(at + 8, at + 8 + length) };
    at += 8 + length + (length & 1);
  }
}

const word = (bytes: Uint8Array, at: number): number => (bytes[at] ?? 0) | ((bytes[at + 1] ?? 0) << 8);
const triple = (bytes: Uint8Array, at: number): number => word(bytes, at) | ((bytes[at + 2] ?? 0) << 16);

function sizeOfChunk({ type, body }: Chunk): Size | null {
  if (type === "VP8X") return { width: triple(body, 4) + 1, height: triple(body, 7) + 1 };
  if (type === "VP8 ") return { width: word(body, 6) & 0x3fff, height: word(body, 8) & 0x3fff };
  if (type === "VP8L") {
    const bits = word(body, 1) + word(body, 3) * 0x10000;
    return { width: (bits & 0x3fff) + 1, height: (Math.floor(bits / 0x4000) & 0x3fff) + 1 };
  }
  return null;
}

/** The largest size that any of the first chunks tells. */
export function webpSize(bytes: Uint8Array): Size | null {
  let size: Size | null = null;
  const see = (chunk: Chunk): void => {
    const one = sizeOfChunk(chunk);
    if (one !== null && (size === null || one.width * one.height > size.width * size.height)) size = one;
  };
  for (const chunk of chunksOf(bytes, 12)) {
    see(chunk);
    if (chunk.type !== "ANMF") continue;
    for (const inner of chunksOf(chunk.body, 16)) see(inner);
    break;
  }
  return size;
}

/** The first frame of a moving image as a file of its own; null where the file has no frames. */
function firstFrame(bytes: Uint8Array): Uint8Array | null {
  for (const { type, body } of chunksOf(bytes, 12)) {
    if (type !== "ANMF") continue;
    const head = new Uint8Array(18);
    head.set(Buffer.from("VP8X\x0a\0\0\0\x10", "latin1"));
    // Width and height less one, as the frame has them.
    head.set(body.subarray(6, 12), 12);
    const chunks = Buffer.concat([Buffer.from("WEBP"), head, body.subarray(16)]);
    const riff = Buffer.alloc(8);
    riff.write("RIFF", 0, "latin1");
    riff.writeUInt32LE(chunks.length, 4);
    return Buffer.concat([riff, chunks]);
  }
  return null;
}

let compiled: Promise<WebAssembly.Module> | undefined;
let ready = false;

async function load(): Promise<void> {
  compiled ??= Bun.file(wasmPath)
    .arrayBuffer()
    .then((bytes) => WebAssembly.compile(bytes));
  const program = await compiled;
  if (ready) return;
  await init({
    instantiateWasm: (imports: Bun.WebAssembly.Imports, done: (instance: WebAssembly.Instance) => void) => {
      const instance = new WebAssembly.Instance(program, imports);
      done(instance);
      return instance.exports;
    },
  } as Parameters<typeof init>[0]);
  ready = true;
}

/** Null where it is no WebP file that can be read. The caller bounds the pixels, by webpSize. */
export async function decodeWebp(bytes: Uint8Array): Promise<Decoded | null> {
  try {
    await load();
    const file = firstFrame(bytes) ?? bytes;
    // The program takes what lies in memory of its own.
    const { width, height, data } = await decode(new Uint8Array(file).buffer);
    if (width * height > KEPT_PIXELS) ready = false;
    const pixels = new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
    return { picture: pictureOf({ width, height, channels: 4, data: pixels }), damaged: false };
  } catch {
    ready = false;
    return null;
  }
}
