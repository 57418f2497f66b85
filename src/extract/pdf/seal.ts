/**
 * Which encryption a PDF has, and what of it is encrypted how (ISO 32000-1, 7.6.5).
 *
 * Encryption dictionaries of all versions of a document are tried, the newest first: the empty password with each,
 * then the candidates.
 */
import { type CryptMethod, decryptBytes, findKey } from "./crypt.ts";
import type { PdfDocument, PdfObject } from "./document.ts";
import type { PdfFlag } from "./flags.ts";
import {
  type Get,
  isDict,
  isRef,
  listOf,
  nameOf,
  type PdfDict,
  type PdfValue,
  type Resolve,
} from "./objects.ts";

/** Passwords that are tried, in all. */
const MAX_ATTEMPTS = 500;
const MAX_DICTS = 8;
const MAX_IDS = 4;
const NO_BYTES = Buffer.alloc(0);

export type Seal = {
  readonly key: Buffer | null;
  readonly password: string | null;
  readonly strings: CryptMethod;
  readonly streams: CryptMethod;
  readonly methods: ReadonlyMap<string, CryptMethod>;
  readonly metadata: boolean;
  /** The encryption dictionary itself, whose strings are in clear. */
  readonly dict: PdfDict;
};

/** Null where the document is not encrypted. */
export function openEncryption(
  trailers: readonly PdfDict[],
  resolve: Resolve,
  get: Get,
  versions: PdfDocument["versions"],
  passwords: readonly string[],
  flag: (name: PdfFlag) => void,
): Seal | null {
  const ids = new Set<string>([""]);
  const dicts = new Set<PdfDict>();
  for (const trailer of [...trailers].reverse()) {
    const [id] = listOf(resolve, trailer.entries.get("ID"));
    if (typeof id === "object" && id?.kind === "string" && ids.size < MAX_IDS)
      ids.add(id.bytes.toString("latin1"));
    const written = trailer.entries.get("Encrypt");
    const found = isRef(written) ? versions(written).map(({ value }) => value) : [written];
    for (const dict of found) if (isDict(dict) && dicts.size < MAX_DICTS) dicts.add(dict);
  }
  let seal: Seal | null = null;
  let attempts = MAX_ATTEMPTS;
  // What opens without a password opens with the empty one.
  for (const candidates of [[""], passwords]) {
    for (const dict of dicts) {
      for (const id of [...ids].reverse()) {
        if (candidates.length > attempts) flag("pdf_passwords_exceeded");
        const tried = candidates.slice(0, attempts);
        attempts -= tried.length;
        const made = openDictionary(dict, Buffer.from(id, "latin1"), get, tried);
        if (made.key !== null) return made;
        seal ??= made;
      }
    }
  }
  return seal;
}

function openDictionary(dict: PdfDict, id: Buffer, get: Get, candidates: readonly string[]): Seal {
  const number = (key: string, otherwise: number): number => {
    const value = get(dict, key);
    return typeof value === "number" ? value : otherwise;
  };
  const string = (key: string): Buffer => {
    const value = get(dict, key);
    return typeof value === "object" && value?.kind === "string" ? value.bytes : NO_BYTES;
  };
  const version = number("V", 0);
  const revision = number("R", 0);
  const metadata = get(dict, "EncryptMetadata") !== false;
  const methods = methodsOf(get(dict, "CF"), get, version);
  const method = (key: string): CryptMethod => {
    if (version < 4) return "rc4";
    return methods.get(nameOf(get(dict, key))) ?? "none";
  };
  const known = [1, 2, 3, 4, 5].includes(version) && revision >= 2 && revision <= 6;
  const length = number("Length", 40);
  const opened = known
    ? findKey(
        {
          version,
          revision,
          length: length < 40 ? length * 8 : length,
          owner: string("O"),
          user: string("U"),
          ownerKey: string("OE"),
          userKey: string("UE"),
          permissions: number("P", 0),
          metadata,
          id,
        },
        candidates,
      )
    : null;
  return {
    key: opened?.key ?? null,
    password: opened === null || opened.password === "" ? null : opened.password,
    strings: method("StrF"),
    streams: method("StmF"),
    methods,
    metadata,
    dict,
  };
}

function methodsOf(filters: PdfValue, get: Get, version: number): ReadonlyMap<string, CryptMethod> {
  const methods = new Map<string, CryptMethod>([["Identity", "none"]]);
  if (!isDict(filters) || version < 4) return methods;
  for (const name of filters.entries.keys()) {
    const filter = get(filters, name);
    const method = isDict(filter) ? nameOf(get(filter, "CFM")) : "";
    if (method === "V2") methods.set(name, "rc4");
    else if (method === "AESV2") methods.set(name, "aes128");
    else if (method === "AESV3" && version >= 5) methods.set(name, "aes256");
  }
  return methods;
}

export function streamMethod(
  seal: Seal,
  object: PdfObject,
  dict: PdfDict,
  get: Get,
  resolve: Resolve,
): CryptMethod {
  const type = nameOf(get(dict, "Type"));
  if (type === "XRef" || object.hidden) return "none";
  if (type === "Metadata" && !seal.metadata) return "none";
  const filters = listOf(resolve, dict.entries.get("Filter"));
  const own = filters.findIndex((filter) => nameOf(filter) === "Crypt");
  if (own < 0) return seal.streams;
  const parameters = listOf(resolve, dict.entries.get("DecodeParms"))[own];
  const name = isDict(parameters) ? nameOf(get(parameters, "Name")) : "";
  return seal.methods.get(name === "" ? "Identity" : name) ?? seal.streams;
}

/** Objects that are not encrypted are left as they are: what is readable before and not after was not. */
export function decryptStrings(objects: readonly PdfObject[], seal: Seal): void {
  const { key, strings } = seal;
  if (key === null || strings === "none") return;
  for (const object of objects) {
    if (object.num < 0 || object.value === seal.dict) continue;
    const values: PdfValue[] = [object.value];
    for (let value = values.pop(); value !== undefined; value = values.pop()) {
      if (typeof value !== "object" || value === null || value === seal.dict) continue;
      if (value.kind === "string") {
        const clear = decryptBytes(key, strings, object.num, object.gen, value.bytes);
        if (!isReadable(value.bytes) || isReadable(clear)) value.bytes = clear;
      } else if (value.kind === "array") {
        for (const item of value.items) values.push(item);
      } else if (value.kind === "dict") {
        for (const item of value.entries.values()) values.push(item);
        for (const [, item] of value.earlier) values.push(item);
      }
    }
  }
}

function isReadable(bytes: Buffer): boolean {
  if (bytes.length < 8) return false;
  for (const byte of bytes.subarray(0, 64)) if (byte < 0x20 || byte > 0x7e) return false;
  return true;
}
