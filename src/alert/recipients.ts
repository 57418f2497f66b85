/**
 * Who an alert goes to: fixed addresses, and recipients of the mail within the domains of the configuration.
 *
 * Pure. Only envelope recipients count: the header of a mail says what its sender likes. An address that is not
 * plainly one (quoted local parts, control characters) is left out, and so is one that might lead elsewhere.
 */
import { domainToASCII } from "node:url";
import { readMailAddress } from "../config/address.ts";
import type { AlertConfig } from "../config/schema.ts";

/**
 * Local parts in which mail servers may find another address (percent hack, bang path, an encoded word that they
 * decode), or that programs behind them take for an option, a command or a file.
 */
const REROUTED = /[%!]|=\?|^[-|/~]/;

export type AlertRecipients = {
  /** From the configuration. */
  readonly fixed: readonly string[];
  /** Of the mail, within the named domains, none of the fixed ones; their domains are A-labels. */
  readonly own: readonly string[];
};

/** Each address once without regard to case. */
export function alertRecipients(
  envelopeTo: readonly string[],
  config: Pick<AlertConfig, "to" | "to_recipients" | "domains">,
): AlertRecipients {
  const domains = new Set(config.domains.map(normalDomain).filter((domain) => domain !== ""));
  const known = new Set<string>();
  const firsts = (addresses: readonly string[]) =>
    addresses.filter((address) => {
      if (known.has(addressKey(address))) return false;
      known.add(addressKey(address));
      return true;
    });
  const fixed = firsts(config.to.filter((address) => typeof readMailAddress(address) === "string"));
  // Written with the very domain that was compared: another spelling may be another domain to a mail server.
  const own = envelopeTo
    .filter((address) => domains.has(domainOf(address)))
    .map((address) => `${address.slice(0, address.lastIndexOf("@"))}@${domainOf(address)}`)
    .filter((address) => typeof readMailAddress(address) === "string" && !REROUTED.test(address));
  return { fixed, own: config.to_recipients ? firsts(own) : [] };
}

/** One spelling for all spellings of an address that differ in case or in the form of the domain. */
export function addressKey(address: string): string {
  return `${address.slice(0, address.lastIndexOf("@")).toLowerCase()}@${domainOf(address)}`;
}

/** The domain in lower-case A-labels (RFC 5890); "" where it is none. */
export function domainOf(address: string): string {
  return normalDomain(address.slice(address.lastIndexOf("@") + 1));
}

/** Without this, a port or a path behind a domain would be taken off. */
function normalDomain(domain: string): string {
  return /^[\p{L}\p{N}\p{M}.\u3002\uFF0E\uFF61-]+$/u.test(domain) ? domainToASCII(domain.toLowerCase()) : "";
}
