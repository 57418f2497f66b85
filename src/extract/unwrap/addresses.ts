/**
 * Mail addresses out of hostile text.
 */

/** RFC 5321 4.5.3.1: 64 for the local part, 255 for the domain. */
const MAX_ADDRESS = 320;
const LOCAL = /^[^\s\u0000-\u0020\u007f-\u00a0"(),:;<>@[\]\\\u2028\u2029]{1,64}$/;
const DOMAIN =
  /^(?:[\p{L}\p{N}\p{M}_](?:[\p{L}\p{N}\p{M}._-]{0,253}[\p{L}\p{N}\p{M}_])?\.?|\[[0-9A-Fa-f.:IPv]{2,50}\])$/u;

/**
 * The address alone, without angle brackets; null where the text is anything but one address. Quoted local parts
 * are refused: what they may hold is read differently by different programs.
 */
export function addressOf(text: string): string | null {
  const trimmed = text.length > MAX_ADDRESS + 20 ? "" : text.trim();
  const bare = trimmed.startsWith("<") && trimmed.endsWith(">") ? trimmed.slice(1, -1).trim() : trimmed;
  if (bare.length > MAX_ADDRESS) return null;
  const at = bare.indexOf("@");
  if (at < 0 || at !== bare.lastIndexOf("@")) return null;
  return LOCAL.test(bare.slice(0, at)) && DOMAIN.test(bare.slice(at + 1)) ? bare : null;
}

/** The same for addresses that reach the same mailbox as far as can be told: only the domain has no case. */
export function addressKey(address: string): string {
  const at = address.lastIndexOf("@");
  return address.slice(0, at) + address.slice(at).toLowerCase().replace(/\.$/, "");
}

/** Keeps addresses once each, in order, up to a bound. */
export type AddressList<Entry> = {
  /** False where the bound is reached. */
  readonly add: (address: string, entry: Entry) => boolean;
  readonly entries: () => readonly Entry[];
};

export function createAddressList<Entry>(max: number): AddressList<Entry> {
  const byKey = new Map<string, Entry>();
  return {
    add: (address, entry) => {
      const key = addressKey(address);
      if (byKey.has(key)) return true;
      if (byKey.size >= max) return false;
      byKey.set(key, entry);
      return true;
    },
    entries: () => [...byKey.values()],
  };
}
