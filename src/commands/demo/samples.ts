/**
 * The sample mails of the demo: each a pure function of the run, with what the sensor must find in it.
 *
 * In: a run id and a date, so that Message-IDs are new each time and nothing reads the clock here. Out: options for
 * nodemailer and the expected outcome. Nothing dangerous is in them: the EICAR test file, which is put together
 * at run time, and the markers that the analyzer simulator documents.
 */
import { createHash } from "node:crypto";
import { type Zippable, zipSync } from "fflate";
import type { MailComposerOptions } from "nodemailer";
import { EICAR, MARKER_PREFIX } from "../../analyzer/simulator/judgement.ts";
import type { Verdict } from "../../verdict/verdict.ts";

export type SampleMail = Pick<MailComposerOptions, "text" | "html" | "attachments" | "date"> & {
  readonly from: string;
  readonly to: string;
  readonly subject: string;
  readonly messageId: string;
};

export type Sample = {
  /** Stable, for `--json` and tests. */
  readonly name: string;
  /** What it shows, for people. */
  readonly title: string;
  readonly mail: SampleMail;
  readonly expected: {
    readonly verdict: Verdict;
    readonly complete: boolean;
    /** File name or URL of the part that decides, null where the mail has no part. */
    readonly finding: string | null;
    /** True where it must be alerted: a malicious attachment that was not alerted before. */
    readonly alert: boolean;
  };
  /** Contents that the analyzer must get for it, once in the whole run: SHA-256 of a file, or a URL. */
  readonly contents: readonly string[];
};

export type Run = { readonly id: string; readonly date: Date };

type Part = { readonly filename: string; readonly bytes: Uint8Array; readonly contentType: string };

const LARGE_SIZE = 12 * 1024 ** 2;
/** A fixed time inside the zips: the same bytes, and the same hash, in each run. */
const ZIP_TIME = new Date(2020, 0, 1, 12);
const DOCX = "application/vnd.openxmlformats-officedocument.wordprocessingml.document";
const DOCM = "application/vnd.ms-word.document.macroEnabled.12";

export const SAMPLES: readonly ((run: Run) => Sample)[] = [
  cleanText,
  eicarInZip,
  macroDocument,
  maliciousUrl,
  nestedMail,
  nonAscii,
  largeAttachment,
  failedAnalysis,
  sameAttachmentAgain,
];

function cleanText(run: Run): Sample {
  return {
    name: "clean-text",
    title: "a plain text mail",
    mail: {
      ...header(run, "clean-text", "Lunch on Thursday?"),
      text: "Hello,\n\nshall we have lunch on Thursday, at noon?\n\nKim\n",
    },
    expected: { verdict: "clean", complete: true, finding: null, alert: false },
    contents: [],
  };
}

function eicarInZip(run: Run): Sample {
  const part = invoiceZip();
  return {
    name: "eicar-in-zip",
    title: "the EICAR test file in a zip",
    mail: {
      ...header(run, "eicar-in-zip", "Your invoice 2041"),
      text: "Please find the invoice attached.\n",
      attachments: [attach(part)],
    },
    expected: { verdict: "malicious", complete: true, finding: part.filename, alert: true },
    contents: [sha256(part.bytes)],
  };
}

function macroDocument(run: Run): Sample {
  const part = {
    filename: "timesheet.docm",
    contentType: DOCM,
    bytes: wordDocument("Please enable the content of this document.", {
      // A real one is an OLE file; the analyzer simulator only looks for its marker.
      "word/vbaProject.bin": text(`Sub AutoOpen()\r\n' ${MARKER_PREFIX}suspicious\r\nEnd Sub\r\n`),
    }),
  };
  return {
    name: "macro-document",
    title: "a document with a macro",
    mail: {
      ...header(run, "macro-document", "Timesheet for approval"),
      text: "Please approve.\n",
      attachments: [attach(part)],
    },
    expected: { verdict: "suspicious", complete: true, finding: part.filename, alert: false },
    contents: [sha256(part.bytes)],
  };
}

function maliciousUrl(run: Run): Sample {
  const url = "http://login.malicious.example/reset?user=kim";
  return {
    name: "malicious-url",
    title: "a malicious link in HTML",
    mail: {
      ...header(run, "malicious-url", "Your mailbox is almost full"),
      html: `<p>Your mailbox is almost full. <a href="${url}">Get more space</a>.</p>`,
    },
    expected: { verdict: "malicious", complete: true, finding: url, alert: false },
    contents: [url],
  };
}

function nestedMail(run: Run): Sample {
  const script = {
    filename: "statement.js",
    contentType: "text/javascript",
    bytes: text(`// ${MARKER_PREFIX}malicious\nWScript.Echo("statement");\n`),
  };
  return {
    name: "nested-mail",
    title: "a script inside a forwarded mail",
    mail: {
      ...header(run, "nested-mail", "Fwd: Account statement"),
      text: "Is this one real?\n",
      attachments: [
        {
          filename: "Account statement.eml",
          contentType: "message/rfc822",
          contentDisposition: "attachment",
          content: innerMail(run, script),
        },
      ],
    },
    expected: { verdict: "malicious", complete: true, finding: script.filename, alert: true },
    contents: [sha256(script.bytes)],
  };
}

function nonAscii(run: Run): Sample {
  const part = {
    filename: "Angebot – 見積書 №7.docx",
    contentType: DOCX,
    bytes: wordDocument("Quotation no. 7: 1.200,00 €"),
  };
  return {
    name: "non-ascii",
    title: "a non-ASCII subject and file name",
    mail: {
      ...header(run, "non-ascii", "Grüße aus Köln 🎉 お見積りの件"),
      text: "Anbei das Angebot.\n",
      attachments: [attach(part)],
    },
    expected: { verdict: "clean", complete: true, finding: part.filename, alert: false },
    contents: [sha256(part.bytes)],
  };
}

function largeAttachment(run: Run): Sample {
  const part = {
    filename: "site-plans.zip",
    contentType: "application/zip",
    bytes: zip({ "ground-floor.dwg": [noise(LARGE_SIZE), { level: 0 }] }),
  };
  return {
    name: "large-attachment",
    title: "an attachment of 12 MB",
    mail: {
      ...header(run, "large-attachment", "Site plans"),
      text: "The plans, in one archive.\n",
      attachments: [attach(part)],
    },
    expected: { verdict: "clean", complete: true, finding: part.filename, alert: false },
    contents: [sha256(part.bytes)],
  };
}

function failedAnalysis(run: Run): Sample {
  const part = {
    filename: "minutes.docx",
    contentType: DOCX,
    bytes: wordDocument(`Minutes of the meeting. ${MARKER_PREFIX}error`),
  };
  return {
    name: "failed-analysis",
    title: "an analysis that fails",
    mail: {
      ...header(run, "failed-analysis", "Minutes of Monday"),
      text: "For your files.\n",
      attachments: [attach(part)],
    },
    expected: { verdict: "not_available", complete: false, finding: part.filename, alert: false },
    contents: [sha256(part.bytes)],
  };
}

function sameAttachmentAgain(run: Run): Sample {
  const part = invoiceZip();
  return {
    name: "same-attachment-again",
    title: "the zip of EICAR again",
    mail: {
      ...header(run, "same-attachment-again", "Reminder: unpaid invoice"),
      text: "We sent this before.\n",
      attachments: [attach(part)],
    },
    expected: { verdict: "malicious", complete: true, finding: part.filename, alert: false },
    contents: [sha256(part.bytes)],
  };
}

function header(run: Run, name: string, subject: string) {
  return {
    from: "Kim Sender <kim@sender.example>",
    to: "Robin <robin@demo.example>",
    subject,
    messageId: `<${name}.${run.id}@sender.example>`,
    date: run.date,
  };
}

function attach(part: Part) {
  return { filename: part.filename, contentType: part.contentType, content: Buffer.from(part.bytes) };
}

function text(value: string): Uint8Array {
  return new TextEncoder().encode(value);
}

function sha256(bytes: Uint8Array): string {
  return createHash("sha256").update(bytes).digest("hex");
}

function zip(members: Zippable): Uint8Array {
  return zipSync(members, { level: 6, mtime: ZIP_TIME });
}

/** The one attachment that two of the mails carry. */
function invoiceZip(): Part {
  return {
    filename: "invoice-2041.zip",
    contentType: "application/zip",
    bytes: zip({ "invoice-2041.com": text(EICAR) }),
  };
}

/** A mail as a forwarding client attaches it (RFC 2046, section 5.2.1), with one attachment of its own. */
function innerMail(run: Run, part: Part): string {
  const boundary = "part-of-the-inner-mail";
  const base64 = Buffer.from(part.bytes).toString("base64");
  return [
    "From: Bank <service@bank.example>",
    "To: Kim <kim@sender.example>",
    "Subject: Account statement",
    `Date: ${run.date.toUTCString().replace("GMT", "+0000")}`,
    `Message-ID: <inner.${run.id}@bank.example>`,
    "MIME-Version: 1.0",
    `Content-Type: multipart/mixed; boundary="${boundary}"`,
    "",
    `--${boundary}`,
    "Content-Type: text/plain; charset=us-ascii",
    "",
    "Your statement is attached.",
    `--${boundary}`,
    `Content-Type: ${part.contentType}; name="${part.filename}"`,
    `Content-Disposition: attachment; filename="${part.filename}"`,
    "Content-Transfer-Encoding: base64",
    "",
    ...(base64.match(/.{1,76}/g) ?? []),
    `--${boundary}--`,
    "",
  ].join("\r\n");
}

/**
 * A small Word document (ECMA-376, part 1, section 11.3.10): what Word needs to open it, plus `more` members. With a
 * `word/vbaProject.bin` it is one that may hold macros.
 */
function wordDocument(paragraph: string, more: Readonly<Record<string, Uint8Array>> = {}): Uint8Array {
  const macros = Object.hasOwn(more, "word/vbaProject.bin");
  const main = macros
    ? "application/vnd.ms-word.document.macroEnabled.main+xml"
    : "application/vnd.openxmlformats-officedocument.wordprocessingml.document.main+xml";
  const xml = (body: string) => text(`<?xml version="1.0" encoding="UTF-8" standalone="yes"?>\n${body}`);
  const packageNames = "http://schemas.openxmlformats.org/package/2006";
  const documentNames = "http://schemas.openxmlformats.org/officeDocument/2006/relationships";
  return zip({
    "[Content_Types].xml": xml(
      `<Types xmlns="${packageNames}/content-types">` +
        '<Default Extension="rels" ContentType="application/vnd.openxmlformats-package.relationships+xml"/>' +
        (macros ? '<Default Extension="bin" ContentType="application/vnd.ms-office.vbaProject"/>' : "") +
        `<Override PartName="/word/document.xml" ContentType="${main}"/></Types>`,
    ),
    "_rels/.rels": xml(
      `<Relationships xmlns="${packageNames}/relationships">` +
        `<Relationship Id="rId1" Type="${documentNames}/officeDocument" Target="word/document.xml"/></Relationships>`,
    ),
    ...(macros
      ? {
          "word/_rels/document.xml.rels": xml(
            `<Relationships xmlns="${packageNames}/relationships">` +
              '<Relationship Id="rId1" Type="http://schemas.microsoft.com/office/2006/relationships/vbaProject" ' +
              'Target="vbaProject.bin"/></Relationships>',
          ),
        }
      : {}),
    "word/document.xml": xml(
      '<w:document xmlns:w="http://schemas.openxmlformats.org/wordprocessingml/2006/main">' +
        `<w:body><w:p><w:r><w:t>${paragraph}</w:t></w:r></w:p></w:body></w:document>`,
    ),
    ...more,
  });
}

/** Bytes that do not compress, the same in each run (xorshift32). */
function noise(size: number): Uint8Array {
  const words = new Uint32Array(size / 4);
  let state = 0x9e3779b9;
  for (let index = 0; index < words.length; index += 1) {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    words[index] = state;
  }
  return new Uint8Array(words.buffer);
}
