/**
 * Addresses as the configuration writes them: HOST:PORT, networks, mail addresses, the URL of VMRay.
 *
 * Each `read...` takes the text of one value and gives its parts or its normal form, or `{ problem }` in words
 * that complete "KEY: ...". Never throws, and never repeats the text: it may have come from a secret.
 */
import { isIP, isIPv4, isIPv6 } from "node:net";

export type Problematic = { readonly problem: string };
export type HostPort = { readonly host: string; readonly port: number };

/** HOST:PORT with an IPv6 address in brackets; for JSON Schema and as the first check. */
export const HOST_PORT = /^(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]{1,253}):\d{1,5}$/;

function hostProblem(host: string): string | null {
  if (host.startsWith("[")) {
    return isIPv6(host.slice(1, -1)) ? null : "has brackets around something that is no IPv6 address";
  }
  if (/^[\d.]+$/.test(host) && !isIPv4(host))
    return "names a host that looks like an IPv4 address but is none";
  return null;
}

/** The parts of HOST:PORT, brackets of IPv6 taken off. Port 0 (any free port) only where `minPort` is 0. */
export function readHostPort(text: string, minPort: 0 | 1 = 0): HostPort | Problematic {
  if (!HOST_PORT.test(text)) {
    return { problem: 'must be HOST:PORT, like 127.0.0.1:10025 or "[::1]:10025"' };
  }
  const colon = text.lastIndexOf(":");
  const host = text.slice(0, colon);
  const port = Number(text.slice(colon + 1));
  const problem = hostProblem(host);
  if (problem !== null) return { problem };
  if (port < minPort || port > 65_535) return { problem: `must have a port from ${minPort} to 65535` };
  return { host: host.replace(/^\[|\]$/g, ""), port };
}

/** True for the names and addresses of this machine alone. */
export function isLoopback(host: string): boolean {
  return host === "localhost" || host === "::1" || (isIPv4(host) && host.startsWith("127."));
}

/** The bits of an IPv4 or IPv6 address as one number; the address is known to be valid. */
function bitsOf(address: string): bigint {
  if (isIPv4(address)) return address.split(".").reduce((sum, part) => (sum << 8n) | BigInt(part), 0n);
  const dotted = /^(.*:)(\d+\.\d+\.\d+\.\d+)$/.exec(address);
  const plain =
    dotted?.[1] !== undefined && dotted[2] !== undefined
      ? `${dotted[1]}${(bitsOf(dotted[2]) >> 16n).toString(16)}:${(bitsOf(dotted[2]) & 0xffffn).toString(16)}`
      : address;
  const [head = "", tail] = plain.split("::");
  const words = (part: string): string[] => (part === "" ? [] : part.split(":"));
  const after = tail === undefined ? [] : words(tail);
  const before = words(head);
  const zeros = Array.from({ length: 8 - before.length - after.length }, () => "0");
  return [...before, ...zeros, ...after].reduce((sum, word) => (sum << 16n) | BigInt(`0x${word}`), 0n);
}

/** A network in CIDR form; a bare address becomes a network of one. RFC 4632. */
export function readNetwork(text: string): string | Problematic {
  const match = /^([0-9A-Fa-f:.]{2,45})(?:\/(\d{1,3}))?$/.exec(text);
  const address = match?.[1] ?? "";
  const family = isIP(address);
  if (match === null || family === 0) {
    return { problem: 'must be a network, like 10.0.0.0/8, 192.0.2.7 or "2001:db8::/32"' };
  }
  const width = family === 4 ? 32 : 128;
  const prefix = match[2] === undefined ? width : Number(match[2]);
  if (prefix > width) return { problem: `must have a prefix from 0 to ${width}` };
  const hostBits = BigInt(width - prefix);
  if ((bitsOf(address) & ((1n << hostBits) - 1n)) !== 0n) {
    return { problem: `has address bits set beyond its prefix of ${prefix}` };
  }
  return `${address}/${prefix}`;
}

const DOMAIN =
  /^(?=.{1,253}$)[\p{L}\p{N}](?:[\p{L}\p{N}\p{M}-]{0,62})(?:\.[\p{L}\p{N}][\p{L}\p{N}\p{M}-]{0,62})*$/u;

/** A domain name in lower case. Non-ASCII labels are allowed (RFC 5890). */
export function readDomain(text: string): string | Problematic {
  return DOMAIN.test(text)
    ? text.toLowerCase()
    : { problem: "must be a domain name, like example.org, with no @ and no *" };
}

/** One bare mail address (RFC 5321, dot-atom form; RFC 6531 lets it be non-ASCII). */
export function readMailAddress(text: string): string | Problematic {
  const at = text.lastIndexOf("@");
  const local = text.slice(0, Math.max(at, 0));
  const good =
    local.length <= 64 &&
    /^[^\s\p{C}@<>()[\]\\,;:".]+(?:\.[^\s\p{C}@<>()[\]\\,;:".]+)*$/u.test(local) &&
    DOMAIN.test(text.slice(at + 1));
  return good ? text : { problem: "must be one bare mail address, like soc@example.org" };
}

/**
 * The base URL of a VMRay server without trailing slash. A missing scheme becomes https, a trailing /rest
 * (the form of VMRay's own API description) is taken off.
 */
export function readServerUrl(text: string): string | Problematic {
  const written = text.trim();
  const url = URL.parse(/^[A-Za-z][A-Za-z0-9+.-]*:\/\//.test(written) ? written : `https://${written}`);
  if (url === null || url.hostname === "" || /\s/.test(written)) {
    return { problem: "must be the address of the VMRay server, like https://eu.cloud.vmray.com" };
  }
  if (url.protocol !== "https:" && url.protocol !== "http:")
    return { problem: "must start with https:// or http://" };
  if (url.username !== "" || url.password !== "") {
    return { problem: "must not hold a user name or password: the API key goes into vmray.api_key_file" };
  }
  if (url.search !== "" || url.hash !== "") return { problem: "must not have a ? or # part" };
  return `${url.origin}${url.pathname}`
    .replace(/\/+$/, "")
    .replace(/\/rest$/, "")
    .replace(/\/+$/, "");
}

/** The URL of an HTTP proxy without trailing slash; user and password stay in it, percent-encoded. */
export function readProxyUrl(text: string): string | Problematic {
  const written = text.trim();
  const url = URL.parse(/^[A-Za-z][A-Za-z0-9+.-]*:\/\//.test(written) ? written : `http://${written}`);
  if (url === null || url.hostname === "" || /\s/.test(written)) {
    return { problem: "must be the address of a proxy, like http://proxy.example.org:3128" };
  }
  if (url.protocol !== "http:" && url.protocol !== "https:") {
    return { problem: "must start with http:// or https://: other kinds of proxy are not spoken" };
  }
  if (url.pathname !== "/" || url.search !== "" || url.hash !== "") {
    return { problem: "must end with the port: nothing may come after it" };
  }
  if (url.username === "" && url.password !== "") return { problem: "has a password and no user" };
  return url.href.replace(/\/$/, "");
}

/** A domain, with all below it, or a network, whose hosts are reached without a proxy. */
export function readDirectHost(text: string): string | Problematic {
  const network = readNetwork(text);
  if (typeof network === "string") return network;
  if (/^[\d.]+(\/\d+)?$|:/.test(text)) return network;
  return readDomain(text.replace(/^\*?\./, ""));
}

/** `unix:/PATH` or HOST:PORT. The path of a Unix socket holds at most 107 bytes (sockaddr_un). */
export function readControlAddress(text: string): { readonly path: string } | HostPort | Problematic {
  if (!text.startsWith("unix:")) {
    const address = readHostPort(text);
    return "problem" in address ? { problem: "must be unix:/PATH or HOST:PORT" } : address;
  }
  const path = text.slice("unix:".length);
  if (!path.startsWith("/") || /[\p{C}]/u.test(path))
    return { problem: "must be unix: and an absolute path" };
  if (Buffer.byteLength(path) > 107) return { problem: "must name a socket path of at most 107 bytes" };
  return { path };
}
