/**
 * Opens Office documents that are encrypted with the password Excel tries by itself ([MS-OFFCRYPTO] 2.3.4): they
 * open without a question, and what is in them is hidden from everyone who does not do the same.
 */
import { createDecipheriv, createHash } from "node:crypto";
import { decodeXml, readAttributes, scanXml } from "./xml.ts";

const DEFAULT_PASSWORD = Buffer.from("VelvetSweatshop", "utf16le");
/** Rounds of hashing; Office writes 100,000. */
const MAX_ROUNDS = 200_000;
const STANDARD_ROUNDS = 50_000;
const SEGMENT = 4096;
const HASHES: Readonly<Record<string, string>> = {
  SHA1: "sha1",
  "SHA-1": "sha1",
  SHA256: "sha256",
  SHA384: "sha384",
  SHA512: "sha512",
};

/** The document, null where it has another password or a kind of encryption that is not known. */
export function decryptWithDefaultPassword(info: Buffer, encrypted: Buffer): Buffer | null {
  if (info.length < 8 || encrypted.length < 24) return null;
  const minor = info.readUInt16LE(2);
  try {
    if (minor === 4) return decryptAgile(info.subarray(8), encrypted);
    return minor === 2 ? decryptStandard(info, encrypted) : null;
  } catch {
    // A key or a length that the cipher does not take.
    return null;
  }
}

function hash(algorithm: string, ...pieces: readonly Uint8Array[]): Buffer {
  const state = createHash(algorithm);
  for (const piece of pieces) state.update(piece);
  return state.digest();
}

function number(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32LE(value);
  return bytes;
}

function passwordHash(algorithm: string, salt: Buffer, rounds: number): Buffer {
  let state = hash(algorithm, salt, DEFAULT_PASSWORD);
  let input = Buffer.alloc(4 + state.length);
  for (let round = 0; round < rounds; round++) {
    input.writeUInt32LE(round);
    state.copy(input, 4);
    state = hash(algorithm, input);
    if (input.length !== 4 + state.length) input = Buffer.alloc(4 + state.length);
  }
  return state;
}

function sized(bytes: Buffer, size: number): Buffer {
  return Buffer.concat([bytes, Buffer.alloc(Math.max(0, size - bytes.length), 0x36)]).subarray(0, size);
}

function decrypt(cipher: string, key: Buffer, iv: Buffer | null, data: Buffer): Buffer {
  const state = createDecipheriv(cipher, key, iv);
  state.setAutoPadding(false);
  const whole = data.subarray(0, data.length - (data.length % 16));
  return Buffer.concat([state.update(whole), state.final()]);
}

/** The size of the document stands before it. */
function plainSize(encrypted: Buffer): number {
  return Math.min(encrypted.length - 8, Number(encrypted.readBigUInt64LE(0)));
}

const VERIFIER_INPUT = Buffer.from("fea7d2763b4b9e79", "hex");
const VERIFIER_VALUE = Buffer.from("d7aa0f6d3061344e", "hex");
const KEY_VALUE = Buffer.from("146e0be7abacd0d6", "hex");

function decryptAgile(xml: Buffer, encrypted: Buffer): Buffer | null {
  const keyData = new Map<string, string>();
  const encryptedKey = new Map<string, string>();
  scanXml(decodeXml(xml.subarray(0, 64 * 1024)), {
    open: (name, attributes) => {
      const into = name === "keyData" ? keyData : name === "encryptedKey" ? encryptedKey : null;
      if (into !== null)
        for (const attribute of readAttributes(attributes)) into.set(attribute.name, attribute.value);
    },
    close: () => {},
    text: () => {},
  });
  const algorithm = HASHES[encryptedKey.get("hashAlgorithm") ?? ""];
  const dataAlgorithm = HASHES[keyData.get("hashAlgorithm") ?? ""];
  const rounds = Number(encryptedKey.get("spinCount"));
  const bits = Number(encryptedKey.get("keyBits"));
  const known = algorithm !== undefined && dataAlgorithm !== undefined && [128, 192, 256].includes(bits);
  if (!known || !(rounds >= 0 && rounds <= MAX_ROUNDS)) return null;
  const binary = (name: string): Buffer => Buffer.from(encryptedKey.get(name) ?? "", "base64");
  const salt = binary("saltValue");
  const secret = passwordHash(algorithm, salt, rounds);
  const open = (block: Buffer, data: Buffer): Buffer =>
    decrypt(`aes-${bits}-cbc`, sized(hash(algorithm, secret, block), bits / 8), sized(salt, 16), data);
  const input = open(VERIFIER_INPUT, binary("encryptedVerifierHashInput")).subarray(0, salt.length);
  const expected = hash(algorithm, input);
  const verifier = open(VERIFIER_VALUE, binary("encryptedVerifierHashValue"));
  if (!verifier.subarray(0, expected.length).equals(expected)) return null;
  const key = open(KEY_VALUE, binary("encryptedKeyValue")).subarray(0, bits / 8);
  const dataSalt = Buffer.from(keyData.get("saltValue") ?? "", "base64");
  const pieces: Buffer[] = [];
  for (let at = 8; at < encrypted.length; at += SEGMENT) {
    const iv = sized(hash(dataAlgorithm, dataSalt, number((at - 8) / SEGMENT)), 16);
    pieces.push(decrypt(`aes-${bits}-cbc`, key, iv, encrypted.subarray(at, at + SEGMENT)));
  }
  return Buffer.concat(pieces).subarray(0, plainSize(encrypted));
}

function decryptStandard(info: Buffer, encrypted: Buffer): Buffer | null {
  if (info.length < 44) return null;
  const headerSize = info.readUInt32LE(8);
  const bits = info.readUInt32LE(12 + 16);
  const verifier = info.subarray(12 + headerSize);
  if (verifier.length < 72 || ![128, 192, 256].includes(bits)) return null;
  const salt = verifier.subarray(4, 20);
  const secret = hash("sha1", passwordHash("sha1", salt, STANDARD_ROUNDS), number(0));
  const derived = [0x36, 0x5c].map((fill) => {
    const block = Buffer.alloc(64, fill);
    for (const [at, value] of secret.entries()) block[at] = fill ^ value;
    return hash("sha1", block);
  });
  const key = Buffer.concat(derived).subarray(0, bits / 8);
  const open = (data: Buffer): Buffer => decrypt(`aes-${bits}-ecb`, key, null, data);
  const expected = hash("sha1", open(verifier.subarray(20, 36)));
  if (!open(verifier.subarray(40, 72)).subarray(0, 20).equals(expected)) return null;
  return open(encrypted.subarray(8)).subarray(0, plainSize(encrypted));
}
