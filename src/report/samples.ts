/**
 * Sample events: one of each type, and those that show what templates and receivers forget.
 *
 * The documentation shows them, `render` sends them nowhere, and templates are tried with them at start. All of them
 * are made by the code that makes real ones, and their ids and times stay the same.
 */
import type { ArtifactRow, MailBeside, MailRow } from "../spool/spool.ts";
import { judge } from "../verdict/judge.ts";
import { composeChanged, composeFailed, composeMailEvents, composeState } from "./compose.ts";
import { EVENT_TYPES, type SensorEvent } from "./event.ts";

export type Sample = {
  /** The type of the event, with more behind it where there are several of the type. */
  readonly name: string;
  readonly event: SensorEvent;
};

const SENSOR = { id: "sensor-01.example.org", version: "0.1.0" };
const TIME = Date.UTC(2026, 4, 4, 9, 30, 12, 345);
const MAIL_ID = "019df225-4a3f-7c11-8f2e-5b0a9d3c7e10";
const CHANGE_ID = "019df238-3c59-7000-8000-0a1b2c3d4e5f";

const IN_ARCHIVE = "The file lies in an archive that is analysed as a whole.";
/** With what a template must not put into JSON or CEF as it is. */
const SUBJECT = String.raw`Your invoice "A|17" = \overdue`;

/** A mail with an attachment, what lies in it, and a link. */
function sampleMail(): MailRow {
  const attachment: ArtifactRow & { readonly kind: "attachment" } = {
    kind: "attachment",
    attachment: {
      filename: "invoice.zip",
      sha256: "2546dcffc5ad854d4ddc64fbf056871cd5a00f2471cb7a5bfd4ac23b6e9eedad",
      size: 184,
      type: "application/zip",
      views: ["mime"],
      path: [],
      sha1: "bec1b52d350d721c7e22a6d4bb0a92909893a3ae",
      md5: "6ce6f415d8475545be5ba114f208b0ff",
      within: "mail",
      facts: [],
      password: null,
    },
    decision: { action: "dynamic", rule: "default.archives", reason: "archives are analysed" },
    verdict: {
      outcome: "judged",
      verdict: "malicious",
      reason: null,
      threat_names: ["EICAR-Test-File"],
      vmray: { sample_id: 1207, submission_id: 1544, url: "https://vmray.example.org/samples/1207" },
      evidence: {
        classifications: ["Downloader"],
        indicators: [
          { category: "Antivirus", operation: "Malicious content was detected by heuristic scan", score: 4 },
        ],
        techniques: [{ id: "T1204.002", name: "Malicious File", tactics: ["Execution"] }],
        iocs: {
          urls: ["http://load.example.net/2"],
          domains: ["load.example.net"],
          ips: ["192.0.2.80"],
          files: ["275a021bbfb6489e54d471899f7db9d1663fc695ec2fe2a2c4538aabf651fd0f"],
          email_addresses: [],
        },
      },
      cost: {
        calls: 12,
        submissions: 1,
        quota: 1,
        seconds: 38.4,
        reports: 1,
        verdicts: 0,
        waited_seconds: 0.3,
        analysis_seconds: 36,
      },
    },
  };
  const member: ArtifactRow = {
    kind: "attachment",
    attachment: {
      ...attachment.attachment,
      filename: "invoice.pdf.com",
      sha256: "275a021bbfb6489e54d471899f7db9d1663fc695ec2fe2a2c4538aabf651fd0f",
      sha1: "3395856ce81f2b7382dee72602f798b642f14140",
      md5: "44d88612fea8a8f36de82e1278abb02f",
      size: 68,
      type: "application/x-eicar-test",
      path: ["invoice.zip"],
      within: "archive",
      facts: ["double_extension"],
    },
    decision: { action: "skip", rule: "default.in_analysed_file", reason: IN_ARCHIVE },
    verdict: {
      outcome: "skipped",
      verdict: "not_available",
      reason: IN_ARCHIVE,
      threat_names: [],
      vmray: null,
    },
  };
  const url: ArtifactRow = {
    kind: "url",
    url: {
      url: "https://pay.example.net/1",
      normalized: "https://pay.example.net/1",
      sources: ["html"],
      unwrapped_from: ["https://links.example.com/?url=https%3A%2F%2Fpay.example.net%2F1"],
    },
    decision: { action: "reputation", rule: "urls", reason: "URLs are analysed" },
    verdict: {
      outcome: "failed",
      verdict: "not_available",
      reason: "VMRay refused the submission: the quota is used up",
      threat_names: [],
      vmray: null,
    },
  };
  return {
    id: MAIL_ID,
    receivedAt: TIME - 41_000,
    envelope: {
      from: "billing@example.net",
      to: ["anna@example.org"],
      client_ip: "192.0.2.25",
      helo: "mx.example.net",
      tls: "TLSv1.3 TLS_AES_256_GCM_SHA384",
    },
    size: 4312,
    sha256: "4a1f5f3c9a4be0c6f0c0e6d1d19a5a1f0a35b7c0a8a4a50c5a3b7c6b0f0d2e91",
    state: "analysed",
    sameAs: null,
    extraction: {
      mail: {
        message_id: "<20260504.1@example.net>",
        subject: SUBJECT,
        from: ["billing@example.net"],
        to: ["anna@example.org"],
        cc: [],
        date: null,
      },
      envelope: null,
      passwords: [],
      flags: [],
      complete: true,
    },
    artifacts: [attachment, member, url],
    attempts: 0,
    verdict: null,
    complete: null,
    reasons: [],
    finishedAt: null,
    error: null,
    rawKept: true,
  };
}

/** Another mail with the same link, which was clean and which VMRay knows to be malicious by now. */
function changedMail(mail: MailRow): MailRow {
  const verdict = {
    outcome: "judged",
    verdict: "malicious",
    reason: null,
    threat_names: ["Phishing"],
    vmray: { sample_id: 1311, submission_id: null, url: "https://vmray.example.org/samples/1311" },
  } as const;
  return {
    ...mail,
    id: "019df225-4a3f-7c11-8f2e-5b0a9d3c7e12",
    state: "done",
    reported: "019df225-9b21-7000-8000-00000000000f",
    extraction: mail.extraction && {
      ...mail.extraction,
      mail: { ...mail.extraction.mail, message_id: "<20260504.3@example.net>" },
    },
    artifacts: mail.artifacts
      .filter(({ kind }) => kind === "url")
      .map((part) => ({ ...part, verdict, was: "clean" })),
  };
}

function beside(): MailBeside {
  return {
    id: "019df222-9d1a-7d02-b1c5-90d3a1b7f2c4",
    receivedAt: TIME - 260_000,
    envelope: {
      from: "billing@example.net",
      to: ["ben@example.org"],
      client_ip: "192.0.2.25",
      helo: "mx.example.net",
      tls: null,
    },
    subject: SUBJECT,
    messageId: "<20260504.2@example.net>",
  };
}

/** A mail of which nothing is known but that it came: no sender, no subject, no part. */
function bareMail(mail: MailRow): MailRow {
  return {
    ...mail,
    id: "019df225-4a3f-7c11-8f2e-5b0a9d3c7e11",
    envelope: { ...mail.envelope, from: "", tls: null },
    extraction: mail.extraction && {
      ...mail.extraction,
      mail: { message_id: null, subject: null, from: [], to: [], cc: [], date: null },
    },
    artifacts: [],
  };
}

/** One of each type in their order, then more of some types. */
export function sampleEvents(): readonly Sample[] {
  const mail = sampleMail();
  const bare = bareMail(mail);
  const later = changedMail(mail);
  const change = { id: CHANGE_ID, because: "relook", mails: 2, from: "clean", beside: [beside()] } as const;
  const made = [
    ...composeMailEvents(mail, judge(mail), SENSOR, new Set(EVENT_TYPES), TIME),
    composeFailed(
      { ...mail, extraction: null },
      "EXTRACT_TIMEOUT: taking the mail apart took too long",
      SENSOR,
      TIME,
    ),
    composeState("started", "the sensor takes mails", SENSOR, TIME),
    ...composeChanged(later, judge(later), change, SENSOR, new Set(), TIME + 1_200_000),
  ];
  const of = (name: string, events: readonly SensorEvent[]) => events.map((event) => ({ name, event }));
  return [
    ...EVENT_TYPES.flatMap((type) =>
      of(
        type,
        made.filter((event) => event.type === type),
      ),
    ),
    ...of("mail.verdict of a bare mail", composeMailEvents(bare, judge(bare), SENSOR, new Set(), TIME)),
    ...of("sensor.state events_dropped", [
      composeState(
        "events_dropped",
        "1500 events for siem:soc were given up by its queue limits: from 019df1a7-3d0e-7000-8000-000000000001 of 2026-05-04T07:12:09.118Z to 019df225-0000-7000-8000-000000000002 of 2026-05-04T09:29:53.664Z",
        SENSOR,
        TIME,
      ),
    ]),
    ...of("sensor.state event_refused", [
      composeState(
        "event_refused",
        "the destination soc refused the event 019df225-eb19-7000-8000-000000000002 for good: it is too large",
        SENSOR,
        TIME,
      ),
    ]),
  ].map(({ name, event }, index) => ({
    name,
    event: { ...event, id: `019df225-eb19-7000-8000-0000000000${String(index + 1).padStart(2, "0")}` },
  }));
}
