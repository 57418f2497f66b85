/** Text of any charset a browser knows; what is unknown is read as UTF-8, which keeps the ASCII of a URL. */
export function decodeText(bytes: Uint8Array, charset: string | null): string {
  if (bytes[0] === 0xff && bytes[1] === 0xfe) return new TextDecoder("utf-16le").decode(bytes);
  if (bytes[0] === 0xfe && bytes[1] === 0xff) return new TextDecoder("utf-16be").decode(bytes);
  return (decoderFor(charset?.trim() ?? "utf-8") ?? new TextDecoder()).decode(bytes);
}

function decoderFor(charset: string): TextDecoder | null {
  try {
    return new TextDecoder(charset as Bun.Encoding);
  } catch (thrown) {
    if (thrown instanceof RangeError) return null;
    throw thrown;
  }
}
