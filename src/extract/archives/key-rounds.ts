/**
 * Tells how many rounds an archive asks for to make a key of a password, before 7-Zip is asked to make one: it
 * cannot be stopped in between. All numbers are powers of two.
 */

/** 7-Zip and WinRAR ask for 19 and 15. More than this takes seconds for each password. */
export const KEY_ROUNDS_MAX = 21;
const NONE = 0;
const SEVEN_ZIP = Buffer.from("377abcaf271c", "hex");
const SEVEN_ZIP_AES = Buffer.from("06f10701", "hex");
/** 7-Zip's value for no rounds at all. */
const NO_ROUNDS = 63;
const RAR5 = Buffer.from("526172211a070100", "hex");
const RAR5_ENCRYPTION = 4;
/** Headers of 7z that are read; one that only says how the real one is packed is small. */
const HEADER_MAX = 1024;

/** For reading the list of members of an archive; 0 where that is not encrypted or not of a known kind. */
export function namesKeyRounds(given: Uint8Array): number {
  const bytes = Buffer.from(given.buffer, given.byteOffset, given.length);
  if (bytes.length > 32 && bytes.subarray(0, 6).equals(SEVEN_ZIP)) {
    const start = 32 + bytes.readUInt32LE(12) + bytes.readUInt32LE(16) * 2 ** 32;
    const header = bytes.subarray(start, start + Math.min(HEADER_MAX, bytes.readUInt32LE(20)));
    const at = header.indexOf(SEVEN_ZIP_AES);
    // The identifier, the size of the properties, and in the first of them the rounds.
    return at < 0 ? NONE : roundsOf((header[at + 5] ?? 0) & 63);
  }
  if (bytes.length > 32 && bytes.subarray(0, 8).equals(RAR5)) {
    let at = 12;
    const next = (): number => {
      let value = 0;
      for (let shift = 0; shift < 35; shift += 7) {
        const byte = bytes[at++] ?? 0;
        value += (byte & 127) * 2 ** shift;
        if (byte < 128) break;
      }
      return value;
    };
    next();
    if (next() !== RAR5_ENCRYPTION) return NONE;
    // Flags of the header, version, flags of the encryption, then the rounds.
    next();
    next();
    next();
    return bytes[at] ?? NONE;
  }
  return NONE;
}

/** For a member, from what 7-Zip says of its method: "7zAES:19", "AES:15". */
export function entryKeyRounds(method: string): number {
  return roundsOf(Number(/AES:(\d{1,3})/.exec(method)?.[1] ?? NONE));
}

function roundsOf(power: number): number {
  return power === NO_ROUNDS ? NONE : power;
}
