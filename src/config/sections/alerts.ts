/** `alerts`: mails to people. */
import { z } from "zod";
import { readDomain, readMailAddress } from "../address.ts";
import {
  choice,
  destinationName,
  flag,
  hostPort,
  isEmpty,
  key,
  rule,
  template,
  text,
  when,
  whole,
} from "./kinds.ts";

export const alert = z
  .strictObject({
    name: key("Name of the alert in logs and in the outbox.", destinationName(), { example: "blue-team" }),
    relay: key("Mail relay that takes the alerts.", hostPort(1), { example: "127.0.0.1:25" }),
    from: key(
      "Address in the From header. The envelope sender is empty, so that no bounce comes back.",
      text("mail address", readMailAddress),
      {
        example: "email-sensor@example.org",
      },
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
      "Alert where an attachment has this verdict or a worse one.",
      choice(["malicious", "suspicious"]).prefault("malicious"),
    ),
    subject: key("Subject of the alert in the Liquid language.", template(1000).optional(), {
      fallback: "names the verdict",
      example: "Malicious mail: {{ attachments[0].filename }}",
    }),
    max_per_recipient_hour: key(
      "Alerts one recipient gets within an hour; the next alert says how many were left out.",
      whole(1, 10_000).prefault(10),
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
    ]),
  );
