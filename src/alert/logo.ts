/** The logo in alerts: a PNG or JPEG of the customer. */

export type Logo = { readonly type: "image/png" | "image/jpeg"; readonly bytes: Buffer };

/** A logo goes into every alert. */
export const MAX_LOGO_BYTES = 64 * 1024;

/** The image, null where the bytes are neither PNG nor JPEG. */
export function readLogo(bytes: Buffer): Logo | null {
  if (bytes.subarray(0, 8).equals(Buffer.from("89504e470d0a1a0a", "hex")))
    return { type: "image/png", bytes };
  if (bytes.subarray(0, 3).equals(Buffer.from("ffd8ff", "hex"))) return { type: "image/jpeg", bytes };
  return null;
}
