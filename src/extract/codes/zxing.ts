/**
 * Reads QR codes and their like in grey pixels, or in an image file, by ZXing (WebAssembly of zxing-wasm).
 *
 * The program is compiled at the first use and kept. An instance that failed, or that has grown large, is thrown
 * away: the next call gets a fresh one. Nothing is fetched; the WebAssembly lies in the binary.
 */
import { prepareZXingModule, purgeZXingModule, type ZXingReaderModule } from "zxing-wasm/reader";
import wasmPath from "zxing-wasm/reader/zxing_reader.wasm" with { type: "file" };
import type { Plane } from "./plane.ts";

/** What is looked for: the quick kinds everywhere; the thorough search costs several times as much. */
export type Effort = "quick" | "thorough";

/** Null where the reader broke down. */
export type Scan = readonly string[] | null;

/** An instance that has grown beyond this is not kept, since its memory never shrinks; a new one has 22 MB. */
const KEPT_BYTES = 64 * 1024 * 1024;

type Options = Parameters<ZXingReaderModule["readBarcodesFromPixmap"]>[3];
type Results = ReturnType<ZXingReaderModule["readBarcodesFromPixmap"]>;

const QR = "QRCode,MicroQRCode,RMQRCode";
const ALL = `${QR},DataMatrix,Aztec,PDF417`;

/** Numbers are places in the lists of zxing-wasm: local average, plain text, unknown charset, no add-on. */
const BASE: Omit<Options, "formats" | "tryHarder" | "tryRotate" | "tryInvert" | "maxNumberOfSymbols"> = {
  tryDownscale: true,
  tryDenoise: false,
  binarizer: 0,
  isPure: false,
  downscaleThreshold: 500,
  downscaleFactor: 3,
  minLineCount: 2,
  validateOptionalChecksum: false,
  returnErrors: false,
  eanAddOnSymbol: 0,
  textMode: 0,
  characterSet: 0,
  tryCode39ExtendedMode: false,
};

function optionsFor(effort: Effort, max: number): Options {
  const hard = effort === "thorough";
  // One more than wanted, so that the caller sees that there are more.
  const maxNumberOfSymbols = Math.min(255, max + 1);
  return {
    ...BASE,
    formats: hard ? QR : ALL,
    tryHarder: hard,
    tryRotate: hard,
    tryInvert: true,
    maxNumberOfSymbols,
  };
}

/** What Emscripten adds to the module; zxing-wasm has no types for it here. */
type Module = ZXingReaderModule & {
  readonly HEAPU8: Uint8Array;
  readonly _malloc: (size: number) => number;
  readonly _free: (at: number) => void;
};

type Instantiate = (
  imports: Bun.WebAssembly.Imports,
  ready: (instance: WebAssembly.Instance) => void,
) => object;
type Overrides = {
  readonly instantiateWasm: Instantiate;
  readonly print: () => void;
  readonly printErr: () => void;
};

let compiled: Promise<WebAssembly.Module> | undefined;

async function load(): Promise<Module> {
  compiled ??= Bun.file(wasmPath)
    .arrayBuffer()
    .then((bytes) => WebAssembly.compile(bytes));
  const program = await compiled;
  overrides ??= {
    instantiateWasm: (imports, ready) => {
      const instance = new WebAssembly.Instance(program, imports);
      ready(instance);
      return instance.exports;
    },
    print: () => {},
    printErr: () => {},
  };
  return prepareZXingModule({ overrides, fireImmediately: true }) as Promise<Module>;
}

/** The same object each time, or zxing-wasm makes a new instance. */
let overrides: Overrides | undefined;

export function scanPlane(plane: Plane, effort: Effort, max: number): Promise<Scan> {
  return scan(plane.data, (module, at) =>
    module.readBarcodesFromPixmap(at, plane.width, plane.height, optionsFor(effort, max)),
  );
}

async function scan(bytes: Uint8Array, read: (module: Module, at: number) => Results): Promise<Scan> {
  try {
    const module = await load();
    const at = module._malloc(bytes.length);
    if (at === 0) throw new RangeError("no memory");
    module.HEAPU8.set(bytes, at);
    const values = valuesOf(read(module, at));
    module._free(at);
    if (module.HEAPU8.length > KEPT_BYTES) purgeZXingModule();
    return values;
  } catch {
    purgeZXingModule();
    return null;
  }
}

/** The texts of the codes; those of one sequence (structured append) put together in its order. */
function valuesOf(results: Results): readonly string[] {
  const values: string[] = [];
  const sequences = new Map<string, string[]>();
  const count = results.size();
  for (let index = 0; index < count; index++) {
    const result = results.get(index);
    if (result === undefined || !result.isValid) continue;
    if (result.sequenceSize > 1 && result.sequenceIndex >= 0 && result.sequenceIndex < result.sequenceSize) {
      const parts = sequences.get(result.sequenceId) ?? [];
      parts[result.sequenceIndex] = result.text;
      sequences.set(result.sequenceId, parts);
    } else {
      values.push(result.text);
    }
  }
  for (const parts of sequences.values()) values.push(parts.join(""));
  return values;
}
