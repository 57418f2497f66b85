/**
 * Opens encrypted members of zip archives: the traditional cipher of PKWARE (APPNOTE 6.1) and AES of WinZip
 * (AE-1 and AE-2). A wrong password is known after a few bytes; whether a right one is right, only the checksum of
 * the caller (traditional, AE-1) or the authentication code (AES) tells.
 */
import { createCipheriv, createHmac, pbkdf2Sync, timingSafeEqual } from "node:crypto";

/** How a member is encrypted. */
export type Seal =
  | { readonly kind: "traditional"; readonly check: readonly number[] }
  | { readonly kind: "aes"; readonly strength: 1 | 2 | 3 };

const HEADER_SIZE = 12;
const VERIFIER_SIZE = 2;
const CODE_SIZE = 10;
const AES_ROUNDS = 1000;

/** Bytes a password may be on the wire: UTF-8, and Latin 1 where that differs. */
export function passwordForms(password: string): readonly Uint8Array[] {
  const utf8 = Buffer.from(password, "utf8");
  if (utf8.length === password.length) return [utf8];
  const latin = Buffer.from(password, "latin1");
  return latin.toString("latin1") === password ? [utf8, latin] : [utf8];
}

/** True where the first bytes of a member do not rule the password out. */
export function mayOpen(data: Uint8Array, seal: Seal, password: Uint8Array): boolean {
  if (seal.kind === "aes") return aesKeys(data, seal.strength, password) !== null;
  if (data.length < HEADER_SIZE) return false;
  const keys = startKeys(password);
  const header = decrypt(data.subarray(0, HEADER_SIZE), keys);
  return seal.check.includes(header[HEADER_SIZE - 1] ?? -1);
}

/** The packed bytes in clear; null where the password is wrong, as far as it can be told. */
export function openMember(data: Uint8Array, seal: Seal, password: Uint8Array): Uint8Array | null {
  if (seal.kind === "traditional") {
    if (!mayOpen(data, seal, password)) return null;
    return decrypt(data, startKeys(password)).subarray(HEADER_SIZE);
  }
  const keys = aesKeys(data, seal.strength, password);
  if (keys === null) return null;
  const content = data.subarray(keys.start, data.length - CODE_SIZE);
  const code = createHmac("sha1", keys.authentication).update(content).digest().subarray(0, CODE_SIZE);
  if (!timingSafeEqual(code, data.subarray(data.length - CODE_SIZE))) return null;
  return counterMode(content, keys.encryption);
}

type AesKeys = { readonly encryption: Buffer; readonly authentication: Buffer; readonly start: number };

function aesKeys(data: Uint8Array, strength: 1 | 2 | 3, password: Uint8Array): AesKeys | null {
  const size = 8 + 8 * strength;
  const saltSize = size / 2;
  const start = saltSize + VERIFIER_SIZE;
  if (data.length < start + CODE_SIZE) return null;
  const salt = data.subarray(0, saltSize);
  const keys = pbkdf2Sync(password, salt, AES_ROUNDS, 2 * size + VERIFIER_SIZE, "sha1");
  if (keys[2 * size] !== data[saltSize] || keys[2 * size + 1] !== data[saltSize + 1]) return null;
  return { encryption: keys.subarray(0, size), authentication: keys.subarray(size, 2 * size), start };
}

/** AES in counter mode with a counter that begins at 1 and is little-endian, which no library calls CTR. */
function counterMode(content: Uint8Array, key: Buffer): Uint8Array {
  const cipher = createCipheriv(`aes-${key.length * 8}-ecb`, key, null);
  const out = new Uint8Array(content.length);
  const blocks = 4096;
  const counters = Buffer.alloc(16 * blocks);
  let counter = 1;
  for (let at = 0; at < content.length; at += counters.length) {
    for (let block = 0; block < blocks; block++) counters.writeUInt32LE(counter++, block * 16);
    const stream = cipher.update(counters);
    const end = Math.min(content.length, at + stream.length);
    for (let index = at; index < end; index++) out[index] = (content[index] ?? 0) ^ (stream[index - at] ?? 0);
  }
  return out;
}

const CRC_TABLE = Uint32Array.from({ length: 256 }, (_, index) => {
  let value = index;
  for (let bit = 0; bit < 8; bit++) value = value & 1 ? (value >>> 1) ^ 0xedb88320 : value >>> 1;
  return value >>> 0;
});

type Keys = [number, number, number];

function startKeys(password: Uint8Array): Keys {
  const keys: Keys = [0x12345678, 0x23456789, 0x34567890];
  for (const byte of password) updateKeys(keys, byte);
  return keys;
}

function updateKeys(keys: Keys, byte: number): void {
  keys[0] = (CRC_TABLE[(keys[0] ^ byte) & 0xff] ?? 0) ^ (keys[0] >>> 8);
  keys[1] = (Math.imul(keys[1] + (keys[0] & 0xff), 134775813) + 1) | 0;
  keys[2] = (CRC_TABLE[(keys[2] ^ (keys[1] >>> 24)) & 0xff] ?? 0) ^ (keys[2] >>> 8);
}

function decrypt(data: Uint8Array, keys: Keys): Uint8Array {
  const out = new Uint8Array(data.length);
  for (let index = 0; index < data.length; index++) {
    const mask = (keys[2] & 0xffff) | 2;
    const byte = (data[index] ?? 0) ^ ((Math.imul(mask, mask ^ 1) >>> 8) & 0xff);
    out[index] = byte;
    updateKeys(keys, byte);
  }
  return out;
}
