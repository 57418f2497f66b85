/**
 * The words of the built-in alerts, by language. A customer's template can use them as `words`.
 *
 * Sentences that depend on what was found are functions; they get plain values only, never text of a mail.
 */
import type { ChangeCause } from "../spool/spool.ts";
import type { Verdict } from "../verdict/verdict.ts";

export const LANGUAGES = ["en", "de"] as const;
export type Language = (typeof LANGUAGES)[number];

/** How bad parts of one kind are: all of them the same, or some so and some so. */
export type Badness = "malicious" | "suspicious" | "mixed";

/** What an alert is about, counted; of a digest, all its mails together. */
export type Found = {
  /** The worst of all. */
  readonly verdict: "malicious" | "suspicious";
  readonly attachments: number;
  readonly attachments_are: Badness;
  readonly urls: number;
  readonly urls_are: Badness;
  /** True where its sender is on the deny list and that is to be told. */
  readonly denied: boolean;
  /** True where it was found after an earlier, better verdict. */
  readonly late: boolean;
  /** True where the reader is a recipient of the mail. */
  readonly yours: boolean;
  /** Mails of the campaign. */
  readonly mails: number;
};

/** What a part was before it became worse. */
export type Before = Exclude<Verdict, "malicious">;

export type Words = {
  /** BCP 47, for dates. */
  readonly locale: string;
  readonly byte: string;
  readonly bytes: string;
  readonly labels: Readonly<Record<(typeof LABELS)[number], string>>;
  readonly verdicts: Readonly<Record<Verdict, string>>;
  /** "Malicious attachment", the start of a subject. */
  subject(found: Found): string;
  headline(found: Found): string;
  /** That it was found after delivery. `received` is a date for people, `before` what was said first. */
  changed(found: Found, received: string, before: Before): string;
  /** Why a verdict changed. */
  readonly because: Readonly<Record<ChangeCause, string>>;
  /** That the sender is on the deny list, beside bad parts. */
  denied(found: Found): string;
  /** What the sensor knows of the delivery: that it did nothing about it. */
  delivered(several: boolean): string;
  /** What to do, one sentence each. */
  advice(found: Found): readonly string[];
  contact(contact: string | null): string;
  mails(count: number): string;
  /** `known` is how many are listed at most: beyond it the number is a least one. */
  recipients(count: number, known: number): string;
  leftOut(count: number): string;
  more(count: number): string;
  /** `denied`: some are there for their sender. */
  digestSubject(count: number, denied: boolean): string;
  digestHeadline(count: number, denied: boolean): string;
  footer(sensor: string): string;
};

/** Short labels, `words.subject` and so on in templates. */
export const LABELS = [
  "mail",
  "subject",
  "from",
  "sent_by",
  "delivered_to",
  "received",
  "message_id",
  "attachment",
  "link",
  "found",
  "verdict",
  "threat",
  "type",
  "size",
  "sha256",
  "sha1",
  "md5",
  "classification",
  "indicators",
  "techniques",
  "rule",
  "reason",
  "report",
  "open_report",
  "what_to_do",
  "questions",
  "none",
  "unnamed",
  "inside",
  "reference",
  "change",
  "denied_sender",
  "late",
] as const;

const plural = (count: number, one: string, many: string) => `${count} ${count === 1 ? one : many}`;

/** The kind of part that a subject names, and how bad the worst of it is: links only where they are worse. */
export function foremost(found: Found): {
  readonly kind: "attachment" | "link";
  readonly malicious: boolean;
} {
  const isMalicious = (badness: Badness) => badness !== "suspicious";
  const [file, link] = [isMalicious(found.attachments_are), isMalicious(found.urls_are)];
  return found.attachments > 0 && (file || found.urls === 0 || !link)
    ? { kind: "attachment", malicious: file }
    : { kind: "link", malicious: link };
}

const en: Words = {
  locale: "en-GB",
  byte: "byte",
  bytes: "bytes",
  labels: {
    mail: "Mail",
    subject: "Subject",
    from: "From",
    sent_by: "Sent by",
    delivered_to: "Sent to",
    received: "Received",
    message_id: "Message-ID",
    attachment: "Attachment",
    link: "Link",
    found: "Found",
    verdict: "Verdict",
    threat: "Threat",
    type: "Type",
    size: "Size",
    sha256: "SHA-256",
    sha1: "SHA-1",
    md5: "MD5",
    classification: "Classification",
    indicators: "Behaviour",
    techniques: "MITRE ATT&CK",
    rule: "Rule",
    reason: "Reason",
    report: "Report",
    open_report: "Open the report in VMRay",
    what_to_do: "What to do now",
    questions: "Questions?",
    none: "(none)",
    unnamed: "(without a name)",
    inside: "inside",
    reference: "Reference",
    change: "Changed because",
    denied_sender: "sender on the deny list",
    late: "found after delivery",
  },
  verdicts: {
    malicious: "malicious",
    suspicious: "suspicious",
    clean: "clean",
    not_available: "not available",
  },
  subject: (found) => {
    if (found.denied && found.attachments + found.urls === 0) return "Mail from a denied sender";
    const { kind, malicious } = foremost(found);
    return `${malicious ? "Malicious" : "Suspicious"} ${kind}${found.late ? " found after delivery" : ""}`;
  },
  headline: (found) => {
    if (found.denied && found.attachments + found.urls === 0) {
      if (found.mails > 1)
        return `${found.mails} mails in your organization are from a sender on the deny list.`;
      return `A mail ${found.yours ? "to you" : "in your organization"} is from a sender on the deny list.`;
    }
    const how = { malicious: "malicious", suspicious: "suspicious", mixed: "malicious or suspicious" };
    const counted = (count: number, badness: Badness, kind: string) =>
      count === 0 ? [] : [count === 1 ? `a ${how[badness]} ${kind}` : `${count} ${how[badness]} ${kind}s`];
    const what = [
      ...counted(found.attachments, found.attachments_are, "attachment"),
      ...counted(found.urls, found.urls_are, "link"),
    ].join(" and ");
    if (found.mails > 1) return `${found.mails} mails in your organization have ${what}.`;
    return `A mail ${found.yours ? "to you" : "in your organization"} has ${what}.`;
  },
  changed: ({ verdict, mails }, received, before) => {
    const first = {
      clean: "at first nothing bad was known",
      not_available: "at first there was no verdict",
      suspicious: `at first ${mails > 1 ? "they were" : "it was"} only suspicious`,
    }[before];
    return mails > 1
      ? `These mails, the last of which was received on ${received}, were found ${verdict} after delivery: ${first}.`
      : `This mail, received on ${received}, was found ${verdict} after delivery: ${first}.`;
  },
  because: {
    completed: "its analysis ended after the mail had been reported",
    late: "the same content was analysed again for another mail",
    relook: "it was looked up again some time after delivery",
    list: "it was put on the deny list",
  },
  denied: ({ mails }) =>
    mails > 1 ? "Their sender is on the deny list." : "Its sender is on the deny list.",
  delivered: (several) =>
    several
      ? "This sensor did NOT block, change or remove the mails: unless something else did, the originals were delivered."
      : "This sensor did NOT block, change or remove the mail: unless something else did, the original was delivered.",
  advice: (found) => {
    const person = found.yours ? "you" : "a recipient";
    const [mail, it] = found.mails > 1 ? ["these mails", "them"] : ["the mail", "it"];
    const attachment = found.attachments > 1 ? "attachments" : "attachment";
    const opened = `If ${person} opened ${found.attachments > 1 ? "an" : "the"} attachment already: disconnect the computer from the network and tell your security team now.`;
    const followed = `If ${person} followed ${found.attachments > 0 || found.urls > 1 ? "a" : "the"} link already: change any password that was entered there and tell your security team now.`;
    return [
      found.attachments > 0
        ? `Do not open the ${attachment}, and do not follow links in ${mail}.`
        : found.urls > 0
          ? `Do not follow links in ${mail}, and enter no password there.`
          : `Do not follow links in ${mail}, and open none of ${found.mails > 1 ? "their" : "its"} attachments.`,
      `Do not answer or forward ${mail}. Delete ${it}, unless your security team wants to see ${it}.`,
      ...(found.attachments > 0 ? [opened] : []),
      ...(found.urls > 0 ? [followed] : []),
      ...(found.attachments + found.urls === 0
        ? [`If ${person} did so already: tell your security team now.`]
        : []),
    ];
  },
  contact: (contact) => contact ?? "Ask your security team or your IT help desk.",
  mails: (count) => plural(count, "mail", "mails"),
  recipients: (count, known) =>
    count >= known ? `${known} recipients or more` : plural(count, "recipient", "recipients"),
  leftOut: (count) =>
    `${plural(count, "alert", "alerts")} to you had to wait for this summary: there were too many within an hour.`,
  more: (count) => `and ${count} more`,
  digestSubject: (count, denied) =>
    `${plural(count, "mail", "mails")} with bad ${denied ? "senders, " : ""}attachments or links`,
  digestHeadline: (count, denied) => `${en.digestSubject(count, denied)} since the last digest.`,
  footer: (sensor) =>
    `This message was made by the email sensor ${sensor}. Nobody reads answers to it, and it has no attachment.`,
};

const de: Words = {
  locale: "de-DE",
  byte: "Byte",
  bytes: "Bytes",
  labels: {
    mail: "Mail",
    subject: "Betreff",
    from: "Von",
    sent_by: "Absender",
    delivered_to: "Gesendet an",
    received: "Empfangen",
    message_id: "Message-ID",
    attachment: "Anhang",
    link: "Link",
    found: "Befund",
    verdict: "Urteil",
    threat: "Bedrohung",
    type: "Typ",
    size: "Gr\u00f6\u00dfe",
    sha256: "SHA-256",
    sha1: "SHA-1",
    md5: "MD5",
    classification: "Einordnung",
    indicators: "Verhalten",
    techniques: "MITRE ATT&CK",
    rule: "Regel",
    reason: "Grund",
    report: "Bericht",
    open_report: "Bericht in VMRay \u00f6ffnen",
    what_to_do: "Was jetzt zu tun ist",
    questions: "Fragen?",
    none: "(keine Angabe)",
    unnamed: "(ohne Namen)",
    inside: "in",
    reference: "Kennung",
    change: "Ge\u00e4ndert, weil",
    denied_sender: "Absender auf der Sperrliste",
    late: "nach der Zustellung erkannt",
  },
  verdicts: {
    malicious: "sch\u00e4dlich",
    suspicious: "verd\u00e4chtig",
    clean: "unauff\u00e4llig",
    not_available: "nicht verf\u00fcgbar",
  },
  subject: (found) => {
    if (found.denied && found.attachments + found.urls === 0) return "Mail eines gesperrten Absenders";
    const { kind, malicious } = foremost(found);
    const what = `${malicious ? "Sch\u00e4dlicher" : "Verd\u00e4chtiger"} ${kind === "attachment" ? "Anhang" : "Link"}`;
    return `${what}${found.late ? ", nach der Zustellung erkannt" : ""}`;
  },
  headline: (found) => {
    if (found.denied && found.attachments + found.urls === 0) {
      const from = "von einem Absender auf der Sperrliste";
      if (found.mails > 1) return `${found.mails} Mails in Ihrer Organisation kommen ${from}.`;
      return found.yours
        ? `Eine Mail an Sie kommt ${from}.`
        : `Eine Mail in Ihrer Organisation kommt ${from}.`;
    }
    const one = {
      malicious: "sch\u00e4dlichen",
      suspicious: "verd\u00e4chtigen",
      mixed: "gef\u00e4hrlichen",
    };
    const several = {
      malicious: "sch\u00e4dliche",
      suspicious: "verd\u00e4chtige",
      mixed: "sch\u00e4dliche oder verd\u00e4chtige",
    };
    const counted = (count: number, badness: Badness, kind: string, kinds: string) =>
      count === 0
        ? []
        : [count === 1 ? `einen ${one[badness]} ${kind}` : `${count} ${several[badness]} ${kinds}`];
    const what = [
      ...counted(found.attachments, found.attachments_are, "Anhang", "Anh\u00e4nge"),
      ...counted(found.urls, found.urls_are, "Link", "Links"),
    ].join(" und ");
    if (found.mails > 1) return `${found.mails} Mails in Ihrer Organisation enthalten ${what}.`;
    return found.yours
      ? `Eine Mail an Sie enth\u00e4lt ${what}.`
      : `Eine Mail in Ihrer Organisation enth\u00e4lt ${what}.`;
  },
  changed: ({ verdict, mails }, received, before) => {
    const bad = verdict === "malicious" ? "sch\u00e4dlich" : "verd\u00e4chtig";
    const first = {
      clean: "zuerst war nichts Schlechtes bekannt",
      not_available: "zuerst gab es kein Urteil",
      suspicious: `zuerst ${mails > 1 ? "galten" : "galt"} sie nur als verd\u00e4chtig`,
    }[before];
    return mails > 1
      ? `Diese Mails, deren letzte am ${received} einging, wurden erst nach der Zustellung als ${bad} erkannt: ${first}.`
      : `Diese Mail, eingegangen am ${received}, wurde erst nach der Zustellung als ${bad} erkannt: ${first}.`;
  },
  because: {
    completed: "die Analyse erst nach der Meldung der Mail zu Ende war",
    late: "derselbe Inhalt f\u00fcr eine andere Mail erneut analysiert wurde",
    relook: "einige Zeit nach der Zustellung erneut nachgesehen wurde",
    list: "es auf die Sperrliste gesetzt wurde",
  },
  denied: ({ mails }) =>
    mails > 1 ? "Ihr Absender steht auf der Sperrliste." : "Der Absender steht auf der Sperrliste.",
  delivered: (several) =>
    several
      ? "Dieser Sensor hat die Mails NICHT aufgehalten, ver\u00e4ndert oder gel\u00f6scht: Wenn nichts anderes das tat, wurden die Originale zugestellt."
      : "Dieser Sensor hat die Mail NICHT aufgehalten, ver\u00e4ndert oder gel\u00f6scht: Wenn nichts anderes das tat, wurde das Original zugestellt.",
  advice: (found) => {
    const person = found.yours ? "Sie" : "Empf\u00e4nger";
    const many = found.mails > 1;
    const inMail = many ? "in diesen Mails" : "in der Mail";
    const opened = `Falls ${person} ${found.attachments > 1 ? "einen" : "den"} Anhang schon ge\u00f6ffnet haben: Trennen Sie den Rechner vom Netz, und informieren Sie sofort Ihr Sicherheitsteam.`;
    const followed = `Falls ${person} ${found.attachments > 0 || found.urls > 1 ? "einem" : "dem"} Link schon gefolgt sind: \u00c4ndern Sie jedes dort eingegebene Passwort, und informieren Sie sofort Ihr Sicherheitsteam.`;
    return [
      found.attachments > 0
        ? `\u00d6ffnen Sie ${found.attachments > 1 ? "die Anh\u00e4nge" : "den Anhang"} nicht, und folgen Sie keinem Link ${inMail}.`
        : found.urls > 0
          ? `Folgen Sie keinem Link ${inMail}, und geben Sie dort kein Passwort ein.`
          : `Folgen Sie keinem Link ${inMail}, und \u00f6ffnen Sie keinen ihrer Anh\u00e4nge.`,
      `Antworten Sie nicht, und leiten Sie die ${many ? "Mails" : "Mail"} nicht weiter. L\u00f6schen Sie sie, es sei denn, Ihr Sicherheitsteam m\u00f6chte sie sehen.`,
      ...(found.attachments > 0 ? [opened] : []),
      ...(found.urls > 0 ? [followed] : []),
      ...(found.attachments + found.urls === 0
        ? [`Falls ${person} das schon getan haben: Informieren Sie sofort Ihr Sicherheitsteam.`]
        : []),
    ];
  },
  contact: (contact) => contact ?? "Fragen Sie Ihr Sicherheitsteam oder Ihren IT-Helpdesk.",
  mails: (count) => plural(count, "Mail", "Mails"),
  recipients: (count, known) =>
    count >= known ? `${known} Empf\u00e4nger oder mehr` : `${count} Empf\u00e4nger`,
  leftOut: (count) =>
    `${plural(count, "Warnung an Sie musste", "Warnungen an Sie mussten")} auf diese \u00dcbersicht warten: Es waren zu viele in einer Stunde.`,
  more: (count) => `und ${count} weitere`,
  digestSubject: (count, denied) =>
    `${plural(count, "Mail", "Mails")} mit gef\u00e4hrlichen ${denied ? "Absendern, " : ""}Anh\u00e4ngen oder Links`,
  digestHeadline: (count, denied) => `${de.digestSubject(count, denied)} seit der letzten \u00dcbersicht.`,
  footer: (sensor) =>
    `Diese Nachricht stammt vom E-Mail-Sensor ${sensor}. Antworten liest niemand; sie hat keinen Anhang.`,
};

export const WORDS: Readonly<Record<Language, Words>> = { en, de };
