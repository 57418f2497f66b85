/**
 * Who an alert goes to: fixed addresses, and recipients of the mail within the domains of the configuration.
 *
 * Pure. Only envelope recipients count: the header of a mail says what its sender likes. An address that is not
 * plainly one (quoted local parts, control characters) is left out.
 */
import { domainToASCII } from "node:url";
import { readMailAddress } from "../config/address.ts";
import type { AlertConfig } from "../config/schema.ts";

/** Fixed ones first, each address once without regard to case. */
export function alertRecipients(
  envelopeTo: readonly string[],
  config: Pick<AlertConfig, "to" | "to_recipients" | "domains">,
): readonly string[] {
  const domains = new Set(config.domains.map(normalDomain).filter((domain) => domain !== ""));
  const own = config.to_recipients ? envelopeTo.filter((address) => domains.has(domainOf(address))) : [];
  const found = new Map<string, string>();
  for (const address of [...config.to, ...own]) {
    if (typeof readMailAddress(address) !== "string") continue;
    const key = addressKey(address);
    if (!found.has(key)) found.set(key, address);
  }
  return [...found.values()];
}

/** One spelling for all spellings of an address that differ in case or in the form of the domain. */
export function addressKey(address: string): string {
  return `${address.slice(0, address.lastIndexOf("@")).toLowerCase()}@${domainOf(address)}`;
}

/** The domain in lower-case A-labels (RFC 5890); "" where it is none. */
export function domainOf(address: string): string {
  return normalDomain(address.slice(address.lastIndexOf("@") + 1));
}

function normalDomain(domain: string): string {
  return domainToASCII(domain.toLowerCase());
}
