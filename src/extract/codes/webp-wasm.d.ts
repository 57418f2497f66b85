/** The WebAssembly of @jsquash/webp, as a path that Bun can read in the binary, too. */
declare module "@jsquash/webp/codec/dec/webp_dec.wasm" {
  const path: string;
  export = path;
}
