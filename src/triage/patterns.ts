/**
 * Patterns of the policy: exact, but for a `*` at one end. Each is read once into its normal form; tests made of
 * them take the same time whatever their number, or time linear in what is tested.
 *
 * `read...` gives the normal form or what is wrong, in words that complete "KEY: ...".
 */
import type { Problematic } from "../config/address.ts";
import { type ParsedAddress, readHost, readLocalPart, readMailDomain } from "./hosts.ts";

/** `example.org` for that host alone, `*.example.org` for all below it and not for itself; an IP address. */
export function readHostPattern(text: string): string | Problematic {
  const below = text.startsWith("*.");
  const host = readHost(below ? text.slice(2) : text);
  if (host === null || (below && /^[\d.[]/.test(host))) {
    return {
      problem: "must be a host or domain like example.org, *.example.org for all below it, or an IP address",
    };
  }
  return below ? `*.${host}` : host;
}

/** A mail address; its local part may end in `*`, its domain begin with `*.`; `<>` is the null sender. */
export function readAddressPattern(text: string): string | Problematic {
  if (text === "<>") return text;
  const at = text.lastIndexOf("@");
  const local = readLocalPart(text.slice(0, Math.max(at, 0)));
  const domain = readMailDomain(text.slice(at + 1)) ?? readHostPattern(text.slice(at + 1));
  if (typeof domain !== "string" || local === "" || local.length > 256 || /[\s\p{C}]|\*./u.test(local)) {
    return {
      problem:
        "must be a mail address like a@example.org, with * at the end of the part before the @ or *. after it, or <>",
    };
  }
  return `${local}@${domain}`;
}

/** `image/png`, or `image/*` and `application/vnd.ms-*` for all that begin so. */
export function readTypePattern(text: string): string | Problematic {
  return /^[a-z0-9!#$&^_.+-]{1,100}\/(?:[a-z0-9!#$&^_.+-]{1,100}\*?|\*)$/i.test(text)
    ? text.toLowerCase()
    : { problem: "must be a media type like application/pdf, or one that ends in *, like image/*" };
}

/** A host with the domains it lies in (`withParents`) against patterns of hosts. */
export type HostTest = (names: readonly string[]) => boolean;

export function hostTest(patterns: readonly string[]): HostTest {
  const exact = new Set(patterns.filter((pattern) => !pattern.startsWith("*.")));
  const below = new Set(
    patterns.filter((pattern) => pattern.startsWith("*.")).map((pattern) => pattern.slice(2)),
  );
  return (names) => {
    if (exact.has(names[0] ?? "")) return true;
    if (below.size === 0) return false;
    for (let n = 1; n < names.length; n++) if (below.has(names[n] ?? "")) return true;
    return false;
  };
}

export function addressTest(patterns: readonly string[]): (tested: ParsedAddress) => boolean {
  const exact = new Set(patterns);
  const open = patterns
    .filter((pattern) => pattern.includes("*"))
    .map((pattern) => {
      const at = pattern.lastIndexOf("@");
      const local = pattern.slice(0, at);
      const fits = local.endsWith("*")
        ? (tested: string) => tested.startsWith(local.slice(0, -1))
        : (tested: string) => tested === local;
      return { fits, domain: hostTest([pattern.slice(at + 1)]) };
    });
  return ({ address, local, names }) =>
    exact.has(address) || open.some(({ fits, domain }) => fits(local) && domain(names));
}

/** A test for words against patterns that are whole or end in `*`. */
export function wordTest(patterns: readonly string[]): (word: string) => boolean {
  const exact = new Set(patterns.filter((pattern) => !pattern.endsWith("*")));
  const prefixes = patterns.filter((pattern) => pattern.endsWith("*")).map((pattern) => pattern.slice(0, -1));
  return (word) => exact.has(word) || prefixes.some((prefix) => word.startsWith(prefix));
}
