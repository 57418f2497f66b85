/** The program of the package 7z-wasm: as an embedded file, it is the path of that file. */
declare module "7z-wasm/7zz.wasm" {
  const path: string;
  export = path;
}
