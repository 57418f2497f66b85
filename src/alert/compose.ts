/**
 * The text of an alert: plain, in English, for a person who is no expert.
 *
 * Pure. A `mail.verdict` event and a recipient in, subject, text and headers out. Everything that comes from the
 * mail is shortened, freed of control and bidirectional characters and defanged: nothing in an alert can be clicked
 * but the link to VMRay. Alerts carry no attachment, so that an alert can never be the cause of one.
 */
import { createHash } from "node:crypto";
import type { SensorIdentity } from "../report/compose.ts";
import type { EventAttachment, EventMail, SensorEvent } from "../report/event.ts";
import { showText } from "../text.ts";
import { atLeast, type Verdict } from "../verdict/verdict.ts";
import { addressKey, domainOf } from "./recipients.ts";

export type Alert = {
  readonly subject: string;
  readonly text: string;
  /** With angle brackets; the same for the same event and recipient, so that a second sending can be told. */
  readonly messageId: string;
  readonly headers: Readonly<Record<string, string>>;
};

/** Marks alerts, for filters of mail servers. */
export const ALERT_HEADER = "X-Email-Sensor-Alert";

const MAX_ATTACHMENTS = 10;
const MAX_RECIPIENTS = 20;
const MAX_LINK = 1000;
export const MAX_SUBJECT = 200;

/**
 * Nothing that a mail program makes a link of: hxxp[:]//host[.]example, user@host[.]example, mailto[:]user,
 * \\[host]\share.
 */
export function defang(text: string): string {
  return text
    .replace(/\b(h)tt(ps?)\b/gi, "$1xx$2")
    .replace(/\bftp(s?)(?=:)/gi, "fxp$1")
    .replace(/\b([a-z][a-z0-9+.-]{1,30}):(?=[^\s\]])/gi, "$1[:]")
    .replace(/:(?=\/\/)/g, "[:]")
    .replace(/([\\/]{2})(?=[^\s\\/[])([^\s\\/]{1,255})(?=\\)/g, "$1[$2]")
    .replace(/(?<=[\p{L}\p{N}_\]-])[.\u3002\uFF0E\uFF61](?=[\p{L}\p{N}_[-])/gu, "[.]");
}

const show = (text: string, max: number) => defang(showText(text, max));

/** Attachments an alert is about: as bad as `minimum` or worse. */
export function alertingAttachments(event: SensorEvent, minimum: Verdict): readonly EventAttachment[] {
  return (event.attachments ?? []).filter(({ verdict }) => atLeast(verdict, minimum));
}

export function alertMessageId(
  eventId: string,
  recipient: string,
  from: string,
  sensor: Pick<SensorIdentity, "id">,
): string {
  const mark = createHash("sha256")
    .update(JSON.stringify([sensor.id, eventId, addressKey(recipient)]))
    .digest("hex")
    .slice(0, 24);
  return `<alert.${eventId}.${mark}@${domainOf(from)}>`;
}

/**
 * True where a mail is an alert of this sensor that came back to it: null return path, our sender, and a Message-ID
 * that only fits the recipient it names. The first two alone could be written by anyone to keep an alert away.
 */
export function isOwnAlert(mail: EventMail, from: string, sensor: Pick<SensorIdentity, "id">): boolean {
  if (mail.envelope.from !== "" || mail.from.length !== 1) return false;
  if (addressKey(mail.from[0] ?? "") !== addressKey(from)) return false;
  const id = mail.message_id?.replace(/^<?/, "<").replace(/>?$/, ">") ?? "";
  const eventId = /^<alert\.([0-9a-f-]{36})\./.exec(id)?.[1];
  return (
    eventId !== undefined &&
    [...mail.to, ...mail.envelope.to].some((to) => alertMessageId(eventId, to, from, sensor) === id)
  );
}

export function composeAlert(options: {
  readonly event: SensorEvent;
  readonly mail: EventMail;
  readonly minimum: Verdict;
  readonly recipient: string;
  /** Envelope recipients of the mail, all of them. */
  readonly envelopeTo: readonly string[];
  readonly from: string;
  readonly sensor: SensorIdentity;
  /** Null for the built-in one. */
  readonly subject: string | null;
  /** Alerts to this recipient that the hourly limit left out since the last one. */
  readonly leftOut: number;
}): Alert {
  const { event, mail, minimum, recipient, sensor } = options;
  const attachments = alertingAttachments(event, minimum);
  const [first] = attachments;
  const worst: Verdict = attachments.some(({ verdict }) => verdict === "malicious")
    ? "malicious"
    : "suspicious";
  const received = options.envelopeTo.some((to) => addressKey(to) === addressKey(recipient));
  const subject =
    options.subject === null
      ? `${worst === "malicious" ? "Malicious" : "Suspicious"} attachment: ${first === undefined ? "" : nameOf(first, 80)}`
      : show(options.subject, MAX_SUBJECT);
  return {
    subject,
    text: [
      `A mail ${received ? "that was delivered to you" : "in your organization"} has ${countOf(attachments, worst)}.`,
      "The mail was NOT blocked, changed or removed: the original is in the mailbox.",
      "",
      ...advice(received),
      "",
      ...mailLines(mail, received ? null : options.envelopeTo),
      "",
      ...attachments.slice(0, MAX_ATTACHMENTS).flatMap(attachmentLines),
      ...more(attachments.length - MAX_ATTACHMENTS, "attachment"),
      ...(options.leftOut > 0
        ? [
            `${options.leftOut} earlier ${options.leftOut === 1 ? "alert" : "alerts"} to you had to be left out: too many within an hour.`,
            "",
          ]
        : []),
      `This message was made by the email sensor ${show(sensor.id, 255)}. Nobody reads answers to it.`,
      `Mail ${mail.id}, event ${event.id}`,
      "",
    ].join("\n"),
    messageId: alertMessageId(event.id, recipient, options.from, sensor),
    headers: {
      "Auto-Submitted": "auto-generated",
      "X-Auto-Response-Suppress": "All",
      [ALERT_HEADER]: event.id,
    },
  };
}

function countOf(attachments: readonly EventAttachment[], worst: Verdict): string {
  return attachments.length === 1
    ? `a ${worst} attachment`
    : `${attachments.length} attachments that are ${worst}${worst === "malicious" ? " or suspicious" : ""}`;
}

function advice(received: boolean): readonly string[] {
  const person = received ? "you" : "the recipient";
  return [
    "What to do",
    `  - Do not open the attachment, and do not follow links in the mail.`,
    `  - Do not answer or forward the mail. Delete it, unless your security team wants to see it.`,
    `  - If ${person} opened the attachment already: disconnect the computer from the network and tell the`,
    `    security team now.`,
  ];
}

function mailLines(mail: EventMail, envelopeTo: readonly string[] | null): readonly string[] {
  const sender = mail.envelope.from === "" ? "(none)" : show(mail.envelope.from, 200);
  return [
    "The mail",
    `  Subject:     ${mail.subject === null ? "(none)" : show(mail.subject, 200)}`,
    `  From:        ${
      mail.from.length === 0
        ? "(none)"
        : mail.from
            .slice(0, 3)
            .map((from) => show(from, 200))
            .join(", ")
    }`,
    `  Sent by:     ${sender}`,
    ...(envelopeTo === null
      ? []
      : [
          `  Delivered to: ${envelopeTo
            .slice(0, MAX_RECIPIENTS)
            .map((to) => show(to, 200))
            .join(", ")}`,
          ...more(envelopeTo.length - MAX_RECIPIENTS, "recipient"),
        ]),
    `  Received:    ${mail.received_at}`,
    `  Message-ID:  ${mail.message_id === null ? "(none)" : show(mail.message_id, 200)}`,
  ];
}

function attachmentLines(part: EventAttachment): readonly string[] {
  const threats = part.threat_names.slice(0, 5).map((threat) => show(threat, 80));
  const link = part.vmray?.url ?? null;
  return [
    `Attachment ${nameOf(part, 150)}`,
    `  Verdict:     ${part.verdict}`,
    ...(threats.length > 0 ? [`  Threat:      ${threats.join(", ")}`] : []),
    `  Type:        ${showText(part.type, 100)}, ${part.size} bytes`,
    `  SHA-256:     ${part.sha256}`,
    ...(link !== null && isPlainLink(link) ? [`  VMRay:       ${link}`] : []),
    "",
  ];
}

/** The link comes from the answers of VMRay: shown as it is where it is plainly a web address. */
function isPlainLink(link: string): boolean {
  return link.length <= MAX_LINK && /^https?:\/\/[\x21-\x7E]+$/.test(link) && URL.canParse(link);
}

function nameOf(part: EventAttachment, max: number): string {
  return part.filename === null ? "(without a name)" : `"${show(part.filename, max)}"`;
}

function more(count: number, noun: string): readonly string[] {
  return count > 0 ? [`  and ${count} more ${noun}${count === 1 ? "" : "s"}`, ""] : [];
}
