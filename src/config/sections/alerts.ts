/** `alerts`: mails to people. docs/alerts.md says how they work. */
import { z } from "zod";
import { AUDIENCES, PART_KINDS } from "../../alert/facts.ts";
import { LANGUAGES } from "../../alert/words.ts";
import { isLoopback, readDomain, readHostPort, readMailAddress } from "../address.ts";
import { noted } from "../note.ts";
import {
  choice,
  destinationName,
  duration,
  flag,
  hostPort,
  isEmpty,
  key,
  path,
  rule,
  template,
  text,
  type Unchecked,
  wait,
  when,
  whole,
} from "./kinds.ts";

/** How the relay is spoken to: TLS is opportunistic, asked for, or there from the start (RFC 8314 section 3.3). */
const TLS_MODES = ["none", "starttls", "required", "implicit"] as const;

const words = (max: number) => noted(z.string().min(1, "is empty").max(max), { kind: "text" });

const domainList = (description: string, example: string) =>
  key(description, z.array(text("domain", readDomain)).min(1).max(1000).optional(), {
    fallback: "any",
    example: [example],
  });

function readTimeZone(value: string) {
  try {
    new Intl.DateTimeFormat("en", { timeZone: value });
    return value;
  } catch {
    return { problem: "must be a time zone, like Europe/Berlin or UTC" };
  }
}

export const alert = z
  .strictObject({
    name: key("Name of the alert in logs and in the outbox.", destinationName(), { example: "blue-team" }),
    relay: key("Mail relay that takes the alerts.", hostPort(1), { example: "127.0.0.1:25" }),
    tls: key(
      "TLS to the relay: `starttls` where the relay offers it, `required` never without, `implicit` from the first byte (port 465), `none`.",
      choice(TLS_MODES).prefault("starttls"),
    ),
    tls_verify: key("Whether the certificate of the relay must be good for its name.", flag().optional(), {
      fallback: "`true` with `required`, `implicit` or `ca_file`",
      example: true,
    }),
    ca_file: key(
      "Certificate of the authority that signed the one of the relay, in PEM.",
      path("certificate").optional(),
      { fallback: "those Bun knows", example: "relay-ca.pem" },
    ),
    user: key("User name at the relay (SMTP AUTH).", words(255).optional(), {
      fallback: "no authentication",
      example: "email-sensor",
    }),
    password_file: key("Its password, one line.", path("secret").optional(), { example: "relay.password" }),
    timeout: key(
      "Longest wait for an answer of the relay; that to the whole message has ten minutes (RFC 5321).",
      wait().prefault("30s"),
    ),
    from: key(
      "Address in the From header. The envelope sender is empty, so that no bounce comes back.",
      text("mail address", readMailAddress),
      {
        example: "email-sensor@example.org",
      },
    ),
    dkim: key(
      "Signs the alerts (RFC 6376).",
      z
        .strictObject({
          domain: key("Domain that signs; that of `from` for DMARC.", text("domain", readDomain), {
            example: "example.org",
          }),
          selector: key(
            "Selector: the public key is in the TXT record `SELECTOR._domainkey.DOMAIN`.",
            text("selector", readDomain),
            { example: "sensor" },
          ),
          key_file: key("Private key, RSA or Ed25519, in PEM.", path("private key"), { example: "dkim.key" }),
        })
        .optional(),
    ),
    to_recipients: key(
      "Alert the recipients of the mail, those within `domains` only.",
      flag().prefault(false),
    ),
    domains: key(
      "Domains whose recipients may be alerted, exactly as named: subdomains are domains of their own.",
      z.array(text("domain", readDomain)).max(1000).prefault([]),
      { example: ["example.org"] },
    ),
    to: key(
      "Fixed addresses that get every alert.",
      z.array(text("mail address", readMailAddress)).max(100).prefault([]),
      {
        example: ["soc@example.org"],
      },
    ),
    min_verdict: key(
      "Alert where a part of the mail has this verdict or a worse one.",
      choice(["malicious", "suspicious"]).prefault("malicious"),
    ),
    on: key(
      "What kind of part; `sender` alerts where the sender is on the deny list, whatever is in the mail.",
      z.array(choice(PART_KINDS)).min(1).prefault(["attachment"]),
      {
        example: ["attachment", "url"],
      },
    ),
    match: key(
      "Only mails that fit all that is given here.",
      z
        .strictObject({
          recipient_domains: domainList("A recipient is in one of these domains.", "example.org"),
          sender_domains: domainList(
            "The sender, of the envelope or the From header, is in one of these domains.",
            "partner.example",
          ),
          verdicts: key(
            "The worst part has one of these verdicts.",
            z
              .array(choice(["malicious", "suspicious"]))
              .min(1)
              .optional(),
            { fallback: "any", example: ["malicious"] },
          ),
        })
        .optional(),
    ),
    changed: key(
      "Alert also where a mail that was reported before becomes as bad, now that its analysis has ended or a link was armed after delivery (`verdict.changed`).",
      flag().prefault(true),
    ),
    audience: key(
      "Who the alert is written for: `user` says what to do, `analyst` has hashes, threat names and links to VMRay.",
      choice(AUDIENCES).optional(),
      { fallback: "`user` for recipients of the mail, `analyst` for `to`", example: "analyst" },
    ),
    language: key("Language of the built-in texts.", choice(LANGUAGES).prefault("en")),
    time_zone: key("Time zone of times in alerts.", text("time zone", readTimeZone).prefault("UTC")),
    contact: key("Whom to ask, one line.", words(200).optional(), {
      fallback: "the security team",
      example: "IT security, phone 1234",
    }),
    subject: key("Subject of the alert in the Liquid language.", template(1000).optional(), {
      fallback: "names the verdict",
      example: "Malicious mail: {{ attachments[0].filename }}",
    }),
    text_file: key("Plain text of the alert, a Liquid template.", path("template").optional(), {
      fallback: "built in",
      example: "alert.txt.liquid",
    }),
    html_file: key("HTML of the alert, a Liquid template.", path("template").optional(), {
      fallback: "built in",
      example: "alert.html.liquid",
    }),
    logo_file: key("Logo in the HTML, a PNG or JPEG of at most 64 KB.", path("image").optional(), {
      fallback: "none",
      example: "logo.png",
    }),
    campaign_window: key(
      "For so long a recipient is not alerted again for the same content.",
      duration("1m", "7d").prefault("1h"),
    ),
    campaign_wait: key(
      "So long an alert to a fixed address waits for more mails with the same content, to count them.",
      duration("0s", "1h").prefault("10s"),
    ),
    digest: key(
      "One mail in so long, with a table of what came, instead of an alert for each.",
      duration("5m", "7d").optional(),
      {
        fallback: "no digest",
        example: "1h",
        alternative: true,
      },
    ),
    max_per_recipient_hour: key(
      "Alerts one recipient gets within an hour; what comes beyond is told in one summary after it.",
      whole(1, 10_000).prefault(10),
    ),
    max_per_hour: key(
      "Alerts to all recipients together within an hour.",
      whole(1, 1_000_000).prefault(1000),
    ),
  })
  .check(
    rule((section) => [
      ...when(
        isEmpty(section.to) && section.to_recipients === false,
        "",
        "reaches nobody: set to, or to_recipients with domains",
      ),
      ...when(
        section.to_recipients === true && isEmpty(section.domains),
        "to_recipients",
        "needs domains: nobody outside the domains named there is ever alerted",
      ),
      ...relayRules(section),
    ]),
  );

function relayRules(section: Unchecked) {
  const { tls, user, password_file: password } = section;
  const address = typeof section.relay === "string" ? readHostPort(section.relay, 1) : null;
  const near = address !== null && "host" in address && isLoopback(address.host);
  return [
    ...when(user !== undefined && password === undefined, "user", "needs password_file"),
    ...when(user === undefined && password !== undefined, "password_file", "needs user"),
    ...when(
      user !== undefined && (tls === "none" || tls === "starttls") && !near,
      "user",
      "would send the password without TLS: set tls: required or implicit",
    ),
    ...when(tls === "none" && section.ca_file !== undefined, "ca_file", "has no effect with tls: none"),
  ];
}
