/**
 * Host names as policy compares them: lower case, international ones in their ASCII form (RFC 5891), no dot at the
 * end; IPv6 addresses in brackets, as URLs write them, but those that stand for an IPv4 address (RFC 4291, 2.5.5.2, and
 * RFC 6052, 2.1) as that one, since they lead to the same host. Pure and bounded.
 */
import { isIPv4, isIPv6 } from "node:net";
import { parseUrl, SCHEMELESS } from "../extract/urls/normal-form.ts";

/** RFC 1035 allows 127 labels; more are no host that answers. */
const MAX_LABELS = 127;

/** Already in normal form, and no address in numbers: its last label begins with a letter. */
const PLAIN = /^(?:[a-z0-9](?:[a-z0-9_-]{0,62})\.)*[a-z][a-z0-9-]{0,62}$/;

/** The normal form of a host name or IP address written alone; null where the text is anything else. */
export function readHost(text: string): string | null {
  if (text.length <= 253 && PLAIN.test(text) && !text.includes("xn--")) return text;
  if (text.length > 512 || !/^(?:\[[0-9A-Fa-f:.]+\]|[^\s/?#@:\\%*[\]]+)$/u.test(text)) return null;
  const url = parseUrl(text, SCHEMELESS);
  if (url === null || url.hostname.startsWith(".") || url.hostname.includes("..")) return null;
  return unmapped(url.hostname);
}

const OF_IPV4 = /^\[(?:::ffff|64:ff9b:):([0-9a-f]{1,4}):([0-9a-f]{1,4})\]$/;

/** `192.0.2.7` of `[::ffff:c000:207]` and `[64:ff9b::c000:207]`, the forms that URL parsers give to it. */
function unmapped(host: string): string {
  const [, high = "", low = ""] = OF_IPV4.exec(host) ?? [];
  if (low === "") return host;
  const bytes = [high, low].flatMap((pair) => {
    const number = Number.parseInt(pair, 16);
    return [number >> 8, number & 0xff];
  });
  return bytes.join(".");
}

/** The host of a URL in normal form, "" where it has none. */
export function hostOf(normalized: string): string {
  const host = /^[a-z][a-z0-9+.-]*:\/\/(?:[^/?#@]*@)?(\[[^\]]*\]|[^/?#:@]*)/.exec(normalized)?.[1] ?? "";
  return unmapped(host.toLowerCase());
}

/**
 * A URL in normal form and as it is without what stands before the @ of its host, and with the IPv4 address that an IPv6
 * address stands for: all lead to the same place.
 */
export function spellingsOf(normalized: string): readonly string[] {
  const found = /^([a-z][a-z0-9+.-]*:\/\/)([^/?#@]*@)?(\[[^\]]*\]|[^/?#:@]*)/.exec(normalized);
  if (found === null) return [normalized];
  const [authority, scheme = "", user, host = ""] = found;
  if (user === undefined && unmapped(host) === host) return [normalized];
  return [normalized, `${scheme}${unmapped(host)}${normalized.slice(authority.length)}`];
}

/** White space, brackets and what is not seen around an address: it is the same without. */
const AROUND = /^[\s<\p{C}]+|[\s>\p{C}]+$/gu;

/**
 * A mail address for comparing: without regard to case, its domain in the normal form of hosts; null for none. Nothing
 * before the @ is kept as that: the domain is still whose it is.
 */
export function readAddress(written: string): string | null {
  if (written.length > 1024) return null;
  const address = written.replace(AROUND, "");
  const at = address.lastIndexOf("@");
  const domain = at < 0 ? null : readMailDomain(address.slice(at + 1));
  return domain === null ? null : `${readLocalPart(address.slice(0, at))}@${domain}`;
}

/** A domain; of an address literal (RFC 5321, 4.1.3) the host that it stands for. */
export function readMailDomain(written: string): string | null {
  const literal = /^\[(?:IPv6:)?([^[\]]*)\]$/i.exec(written)?.[1];
  if (literal === undefined) return readHost(written);
  if (isIPv6(literal)) return readHost(`[${literal}]`);
  return isIPv4(literal) ? literal : null;
}

const ATOMS = /^[^\s"(),.:;<>@[\\\]\p{C}]+(?:\.[^\s"(),.:;<>@[\\\]\p{C}]+)*$/u;

/** Quotes that a local part does not need say nothing (RFC 5321, 4.1.2): `"a"@b.example` is `a@b.example`. */
export function readLocalPart(written: string): string {
  const local = written.toLowerCase();
  const plain = /^"(.*)"$/s.exec(local)?.[1]?.replace(/\\(.)/gs, "$1");
  return plain !== undefined && ATOMS.test(plain) ? plain : local;
}

/** A host and the domains it lies in, longest first: `a.b.example`, `b.example`, `example`. An IP address is alone. */
export function withParents(host: string): readonly string[] {
  if (host === "") return [];
  if (host.startsWith("[") || /^[\d.]+$/.test(host)) return [host];
  const names = [host];
  for (let dot = host.indexOf("."); dot >= 0 && names.length < MAX_LABELS; dot = host.indexOf(".", dot + 1)) {
    names.push(host.slice(dot + 1));
  }
  return names;
}

/** A mail address taken apart once, for tests. */
export type ParsedAddress = {
  /** As readAddress gives it; "<>" for the null sender. */
  readonly address: string;
  /** Before the @. */
  readonly local: string;
  /** The domain and those it lies in. */
  readonly names: readonly string[];
};

/** Null where the text is no address. "" is the null sender. */
export function parseAddress(written: string): ParsedAddress | null {
  if (written === "") return { address: "<>", local: "", names: [] };
  const address = readAddress(written);
  if (address === null) return null;
  const at = address.lastIndexOf("@");
  return { address, local: address.slice(0, at), names: withParents(address.slice(at + 1)) };
}
