/**
 * Tells whether a URL carries the address of a recipient, so that looking it up would tell on that person.
 */
import { createHash } from "node:crypto";
import { base64Text, percentDecoded } from "./decoding.ts";

const ADDRESS = /[a-z0-9!#$%'*+/^_`{|}~.-]{1,64}@[a-z0-9.-]{1,253}/gi;
const TOKEN = /[A-Za-z0-9+_-]{8,}={0,2}/g;
const DIGEST = /^(?:[0-9a-f]{32}|[0-9a-f]{40}|[0-9a-f]{64})$/i;

/** A test for URLs with one of the addresses: plain, escaped, in base64, or as MD5, SHA-1 or SHA-256 of it. */
export function createPersonalTest(recipients: readonly string[]): (url: string) => boolean {
  const addresses = new Set(
    recipients.map((address) => address.trim().toLowerCase()).filter((one) => one !== ""),
  );
  if (addresses.size === 0) return () => false;
  const digests = new Set<string>();
  for (const address of addresses) {
    for (const name of ["md5", "sha1", "sha256"]) digests.add(createHash(name).update(address).digest("hex"));
  }
  const holds = (text: string): boolean =>
    text.includes("@") && [...text.matchAll(ADDRESS)].some(([found]) => isRecipient(found, addresses));

  return (url) => {
    const host = url.indexOf("/", url.indexOf("//") + 2);
    const text = percentDecoded(percentDecoded(host < 0 ? url : url.slice(host)));
    if (holds(text)) return true;
    for (const [token] of text.matchAll(TOKEN)) {
      if (DIGEST.test(token) && digests.has(token.toLowerCase())) return true;
      const decoded = base64Text(token);
      if (decoded !== null && holds(decoded)) return true;
    }
    return false;
  };
}

/** The address at the end of what looks like one: in "a=b/bob@example.com" it is bob@example.com. */
function isRecipient(found: string, addresses: ReadonlySet<string>): boolean {
  const lower = found.toLowerCase().replace(/\.+$/, "");
  if (addresses.has(lower)) return true;
  const parts = /[!#$%'*+/^_`{|}~=]/g;
  for (const { index } of lower.matchAll(parts)) if (addresses.has(lower.slice(index + 1))) return true;
  return false;
}
