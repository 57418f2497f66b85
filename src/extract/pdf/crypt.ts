/**
 * The standard security handler of PDF (ISO 32000-1, 7.6; ISO 32000-2 for revision 6): RC4 of 40 to 128 bits, AES
 * of 128 and 256 bits.
 *
 * In go the encryption dictionary's values and candidate passwords; out comes what decrypts strings and streams,
 * or null where no password opens the document or its encryption is not known.
 */
import { createCipheriv, createDecipheriv, createHash } from "node:crypto";

export type CryptMethod = "rc4" | "aes128" | "aes256" | "none";

export type Encryption = {
  readonly version: number;
  readonly revision: number;
  /** Bits of the key. */
  readonly length: number;
  readonly owner: Buffer;
  readonly user: Buffer;
  readonly ownerKey: Buffer;
  readonly userKey: Buffer;
  readonly permissions: number;
  readonly metadata: boolean;
  readonly id: Buffer;
};

/** The key of a document that one of the passwords opens, as its user or its owner; null where none does. */
export function findKey(
  encryption: Encryption,
  passwords: readonly string[],
): { readonly key: Buffer; readonly password: string } | null {
  for (const password of passwords) {
    for (const form of passwordForms(encryption, password)) {
      const key = encryption.revision >= 5 ? aesKey(encryption, form) : rc4Key(encryption, form);
      if (key !== null) return { key, password };
    }
  }
  return null;
}

function passwordForms({ revision }: Encryption, password: string): readonly Buffer[] {
  const utf8 = Buffer.from(password.normalize("NFKC"), "utf8");
  if (revision >= 5) return [utf8.subarray(0, 127)];
  const latin = Buffer.from(password, "latin1");
  return latin.equals(utf8) ? [latin] : [latin, utf8];
}

export function decryptBytes(
  key: Buffer,
  method: CryptMethod,
  num: number,
  gen: number,
  bytes: Buffer,
): Buffer {
  if (method === "none") return bytes;
  if (method === "aes256") return aesCbc(key, bytes);
  const salt = method === "aes128" ? AES_SALT : NO_BYTES;
  const suffix = Buffer.from([num, num >> 8, num >> 16, gen, gen >> 8]);
  const objectKey = md5(key, suffix, salt).subarray(0, Math.min(16, key.length + 5));
  return method === "aes128" ? aesCbc(objectKey, bytes) : rc4(objectKey, bytes);
}

const NO_BYTES = Buffer.alloc(0);
const AES_SALT = Buffer.from("sAlT");
/** Fills passwords up to 32 bytes (7.6.3.3). */
const PADDING = Buffer.from("28bf4e5e4e758a4164004e56fffa01082e2e00b6d0683e802f0ca9fe6453697a", "hex");

function md5(...pieces: readonly Uint8Array[]): Buffer {
  return digest("md5", ...pieces);
}

function digest(algorithm: string, ...pieces: readonly Uint8Array[]): Buffer {
  const state = createHash(algorithm);
  for (const piece of pieces) state.update(piece);
  return state.digest();
}

/** RC4, which newer builds of OpenSSL leave out. */
export function rc4(key: Uint8Array, bytes: Uint8Array): Buffer {
  const state = Uint8Array.from({ length: 256 }, (_, index) => index);
  for (let index = 0, other = 0; index < 256; index++) {
    const value = state[index] ?? 0;
    other = (other + value + (key[index % key.length] ?? 0)) & 255;
    state[index] = state[other] ?? 0;
    state[other] = value;
  }
  const out = Buffer.allocUnsafe(bytes.length);
  let first = 0;
  let second = 0;
  for (let at = 0; at < bytes.length; at++) {
    first = (first + 1) & 255;
    const value = state[first] ?? 0;
    second = (second + value) & 255;
    const other = state[second] ?? 0;
    state[first] = other;
    state[second] = value;
    out[at] = (bytes[at] ?? 0) ^ (state[(value + other) & 255] ?? 0);
  }
  return out;
}

/** The first 16 bytes are the vector; what does not fill a block at the end is left out. */
function aesCbc(key: Buffer, bytes: Buffer): Buffer {
  const whole = bytes.length & ~15;
  if (whole < 32 || (key.length !== 16 && key.length !== 32)) return NO_BYTES;
  const cipher = createDecipheriv(`aes-${key.length * 8}-cbc`, key, bytes.subarray(0, 16));
  cipher.setAutoPadding(false);
  const plain = Buffer.concat([cipher.update(bytes.subarray(16, whole)), cipher.final()]);
  const padding = plain.at(-1) ?? 0;
  return padding >= 1 && padding <= 16 ? plain.subarray(0, plain.length - padding) : plain;
}

function pad(password: Buffer): Buffer {
  return Buffer.concat([password, PADDING]).subarray(0, 32);
}

function keySize({ version, revision, length }: Encryption): number {
  if (revision === 2 || version === 1) return 5;
  if (version >= 4) return 16;
  return Math.max(5, Math.min(16, Math.floor(length / 8)));
}

function rc4Key(encryption: Encryption, password: Buffer): Buffer | null {
  return rc4UserKey(encryption, password) ?? rc4UserKey(encryption, userPasswordOf(encryption, password));
}

function rc4UserKey(encryption: Encryption, password: Buffer): Buffer | null {
  const { revision, owner, user, permissions, metadata, id } = encryption;
  const size = keySize(encryption);
  const flags = Buffer.alloc(4);
  flags.writeInt32LE(permissions | 0);
  const unsealed = revision >= 4 && !metadata ? Buffer.alloc(4, 0xff) : NO_BYTES;
  let key = md5(pad(password), owner.subarray(0, 32), flags, id, unsealed).subarray(0, size);
  if (revision >= 3) for (let round = 0; round < 50; round++) key = md5(key).subarray(0, size);
  if (revision === 2) return rc4(key, PADDING).equals(user.subarray(0, 32)) ? key : null;
  const expected = rc4Rounds(key, md5(PADDING, id), 0);
  return expected.equals(user.subarray(0, 16)) ? key : null;
}

/** The user's password out of the owner's. */
function userPasswordOf(encryption: Encryption, password: Buffer): Buffer {
  const size = keySize(encryption);
  const owner = encryption.owner.subarray(0, 32);
  let hash = md5(pad(password));
  if (encryption.revision >= 3) for (let round = 0; round < 50; round++) hash = md5(hash.subarray(0, size));
  const key = hash.subarray(0, size);
  return encryption.revision === 2 ? rc4(key, owner) : rc4Rounds(key, owner, 19);
}

/** Twenty times RC4 with the key changed by the number of the round, from `start` up or down. */
function rc4Rounds(key: Buffer, bytes: Buffer, start: 0 | 19): Buffer {
  let out = bytes;
  for (let round = 0; round < 20; round++) {
    const change = Math.abs(start - round);
    out = rc4(
      key.map((byte) => byte ^ change),
      out,
    );
  }
  return out;
}

function aesKey(encryption: Encryption, password: Buffer): Buffer | null {
  const { revision, owner, user, ownerKey, userKey } = encryption;
  if (user.length < 48) return null;
  const hash = (salt: Buffer, userHash: Buffer): Buffer =>
    revision === 5 ? digest("sha256", password, salt, userHash) : hardHash(password, salt, userHash);
  const asUser = hash(user.subarray(32, 40), NO_BYTES);
  if (asUser.equals(user.subarray(0, 32))) return unwrap(hash(user.subarray(40, 48), NO_BYTES), userKey);
  if (owner.length < 48) return null;
  const whole = user.subarray(0, 48);
  const asOwner = hash(owner.subarray(32, 40), whole);
  if (!asOwner.equals(owner.subarray(0, 32))) return null;
  return unwrap(hash(owner.subarray(40, 48), whole), ownerKey);
}

function unwrap(key: Buffer, wrapped: Buffer): Buffer | null {
  if (wrapped.length < 32) return null;
  const cipher = createDecipheriv("aes-256-cbc", key, Buffer.alloc(16));
  cipher.setAutoPadding(false);
  return Buffer.concat([cipher.update(wrapped.subarray(0, 32)), cipher.final()]);
}

const MAX_ROUNDS = 512;

/** Algorithm 2.B of ISO 32000-2. */
export function hardHash(password: Buffer, salt: Buffer, userHash: Buffer): Buffer {
  let state = digest("sha256", password, salt, userHash);
  for (let round = 0; round < MAX_ROUNDS; round++) {
    const once = Buffer.concat([password, state, userHash]);
    const input = Buffer.concat(new Array<Buffer>(64).fill(once));
    const cipher = createCipheriv("aes-128-cbc", state.subarray(0, 16), state.subarray(16, 32));
    cipher.setAutoPadding(false);
    const made = cipher.update(input);
    let sum = 0;
    for (const byte of made.subarray(0, 16)) sum += byte;
    state = digest(["sha256", "sha384", "sha512"][sum % 3] ?? "sha256", made);
    if (round >= 63 && (made.at(-1) ?? 0) <= round - 31) break;
  }
  return state.subarray(0, 32);
}
