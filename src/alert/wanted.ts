/** Which events are worth an alert, by the rules of the configuration. Pure. */
import type { AlertConfig } from "../config/schema.ts";
import type { SensorEvent } from "../report/event.ts";
import { alertingParts } from "./facts.ts";
import { domainOf } from "./recipients.ts";

/**
 * A verdict that has a part as bad as asked, or is of a denied sender, in a mail that fits `match`.
 *
 * `envelopeTo` is every recipient of the mail: an event may name only some. Null where the others are not known yet: then
 * any domain may be among them.
 */
export function wantsAlert(
  event: SensorEvent,
  config: Pick<AlertConfig, "min_verdict" | "on" | "match" | "changed">,
  envelopeTo: readonly string[] | null = namedRecipients(event),
): boolean {
  const isVerdict = event.type === "mail.verdict" || (event.type === "verdict.changed" && config.changed);
  if (!isVerdict || event.mail === undefined) return false;
  const { attachments, urls, sender } = alertingParts(event, config.min_verdict, config.on);
  const parts = [...attachments, ...urls];
  if (parts.length === 0 && !sender) return false;
  const { recipient_domains: to, sender_domains: from, verdicts } = config.match ?? {};
  const { mail } = event;
  const worst = sender || parts.some(({ verdict }) => verdict === "malicious") ? "malicious" : "suspicious";
  return (
    (to === undefined || envelopeTo === null || isIn(envelopeTo, to)) &&
    (from === undefined || isIn([mail.envelope.from, ...mail.from], from)) &&
    (verdicts === undefined || verdicts.includes(worst))
  );
}

/**
 * An event without the links to VMRay's own pages that a mail has. An alert has such a link: where a mail server changed
 * it on its way back, and VMRay calls its page bad, alerts about alerts would never end.
 */
export function withoutReports(event: SensorEvent, analyzers: readonly string[]): SensorEvent {
  const isReport = ({ url }: { readonly url: string }) => analyzers.includes(URL.parse(url)?.origin ?? "");
  if (event.urls?.some(isReport) !== true) return event;
  return { ...event, urls: event.urls.filter((part) => !isReport(part)) };
}

/** The envelope recipients of an event; null where they were cut. */
export function namedRecipients({ mail, truncated }: SensorEvent): readonly string[] | null {
  const cut = truncated?.some((pointer) => "/mail/envelope/to".startsWith(pointer)) === true;
  return cut ? null : (mail?.envelope.to ?? []);
}

function isIn(addresses: readonly string[], domains: readonly string[]): boolean {
  const wanted = new Set(domains.map((domain) => domainOf(domain)));
  return addresses.some((address) => address !== "" && wanted.has(domainOf(address)));
}
