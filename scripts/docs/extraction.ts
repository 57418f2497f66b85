/** docs/extraction.md, from the tables of flags and facts and the bounds of `extract:`. */
import { CONFIG_KEYS } from "../../src/config/keys.ts";
import type { Bounds } from "../../src/extract/bounds.ts";
import { FACT_TABLES, FACTS } from "../../src/extract/facts.ts";
import { FLAG_TABLES, FLAGS } from "../../src/extract/flags.ts";
import { inline } from "./example.ts";
import { table } from "./markdown.ts";

/** What a mail or a file is like that has the flag or the fact. */
const EXAMPLES: Readonly<Record<string, string>> = {
  // mails
  bare_cr: "`Subject: a<CR>Content-Type: ...`, where only some programs see a second field",
  bare_lf: "a boundary line that ends in LF in a mail whose lines end in CRLF",
  boundary_ambiguous: '`boundary="a"; boundary="b"`, or `boundary=a(b)c`',
  content_in_epilogue: "a zip in base64 after `--b--`",
  content_in_preamble: "a zip in base64 before the first `--b`",
  content_in_multipart_type: "`Content-Type: multipart/mixed` over a base64 body, with no part in it",
  duplicate_header: "two lines `Content-Transfer-Encoding`, one `7bit`, one `base64`",
  encoded_multipart: "`Content-Type: message/rfc822` with `Content-Transfer-Encoding: base64`",
  external_body: '`Content-Type: message/external-body; access-type=URL; URL="http://..."`',
  malformed_base64: "`UEsDBA==UEsDBBQA...`: some stop at the padding, some go on",
  malformed_encoding: '`Content-Transfer-Encoding: "base64"`, or `base 64`',
  malformed_header: "`Content-Type : application/zip`, with a blank before the colon",
  malformed_quoted_printable: "`=4` at the end of a line, or `=G1`",
  message_partial: "`Content-Type: message/partial; number=1; total=2`",
  missing_boundary: "`Content-Type: multipart/mixed` and nothing more",
  missing_closing_boundary: "a mail that ends without `--b--`",
  no_header_delimiter: "`Content-Type: application/zip` and the base64 in the next line",
  nul_bytes: "`Content-Type: application/z<NUL>ip`",
  pseudo_end_of_data: "`<LF>.<LF>MAIL FROM:<...>` in the middle of a mail (SMTP smuggling)",
  undeclared_parts: "`--x` and the header of a part, in a mail whose boundary is `b`",
  undeclared_encoding: "`Content-Transfer-Encoding: 7bit` over a body in base64",
  unknown_encoding: "`Content-Transfer-Encoding: foo`",
  utf7_text: "`charset=utf-7` and `+ADw-script+AD4-`",
  utf16_mail: "a mail that begins with the bytes FF FE",
  // carriers
  journal_report_rejected: "a report with a third part, or whose `Message-ID` is not that of the mail in it",
  delivery_report_damaged: "a `message/delivery-status` without `Final-Recipient`",
  // URLs
  url_targets_exceeded: "six redirectors in one another",
  link_text_mismatch: '`<a href="https://login.example.net/">https://www.example.com/</a>`',
  url_disguised: "`http://www.example.com@203.0.113.7/`, `http://0xcb007107/`",
  script_carries_file: "`new Blob([atob('UEsDBBQA...')])` and a click on it",
  file_share_link: "`file://203.0.113.7/share/a.lnk`",
  html_nesting_exceeded: "`document.write(unescape(...))` in one another six times",
  // codes
  code_drawing: "rows of `█`, `▀` and `▄`, or a table of black and white cells",
  image_frames_exceeded: "a GIF of a thousand frames",
  // archives
  archive_ambiguous: "a zip whose directory says `a.txt` where the member itself says `a.js`",
  archive_overlap: "a zip whose 10,000 members all point to one and the same data",
  archive_data_around: "two zips in one file, of which programs show the one or the other",
  archive_hostile_name: "`../../etc/cron.d/a`",
  archive_volumes: "`invoice.part1.rar`",
  // names
  double_extension: "`invoice.pdf.exe`",
  spaced_extension: "`invoice.pdf              .exe`",
  right_to_left_override: "`invoice<U+202E>fdp.exe`, shown as `invoiceexe.pdf`",
  invisible_characters: "`invoice<U+200B>.pdf`",
  trailing_dots: "`invoice.exe. .`",
  homoglyph_extension: "`invoice.ехе`, in Cyrillic letters",
  path_in_name: "`..\\..\\Startup\\a.lnk`, `a.txt::$DATA`",
  type_mismatch: "`invoice.pdf` that is a zip",
  program_as_document: "`invoice.pdf` that is a Windows program",
  // two types
  appended_archive: "a JPEG with a rar behind it",
  appended_script: "a GIF that begins `GIF89a=1;` and goes on as JavaScript",
  appended_document: "a PNG with a PDF in it",
  prepended_data: "a page of HTML, then `%PDF-1.7`",
  web_archive_as_document: "an `.mht` that calls itself `%PDF-1.7` and opens in Word with its macros",
  // documents
  encrypted_names: "a 7z made with `-mhe=on`",
  default_password: "an .xlsx encrypted with `VelvetSweatshop`",
  dde: "the field `DDEAUTO c:\\\\windows\\\\system32\\\\cmd.exe`",
  remote_template: 'a relationship `attachedTemplate` with `TargetMode="External"`',
  unc_link: "an image at `\\\\203.0.113.7\\share\\a.png`",
  script_link: "`mhtml:`, `ms-msdt:` or `javascript:`",
  macros_autoexec: "`Sub AutoOpen()`, `Sub Workbook_Open()`",
  macros_suspicious: "`Shell`, `URLDownloadToFile`, `CreateObject`",
  field_include: 'the field `INCLUDEPICTURE "http://..."`',
  web_formula: '`=WEBSERVICE("http://...")`',
  open_action: "`/OpenAction << /S /JavaScript ... >>`",
  launch_action: "`/S /Launch /F (cmd.exe)`",
  obfuscated_names: "`/J#61vaScript`",
  // shortcuts
  runs_command: "`powershell.exe -w hidden -c ...`",
  encoded_command: "`powershell -enc SQBFAFgA...`",
  padded_arguments: "300 blanks before the command",
};

/** The flag of each bound; time and size have no other in a mail that is read to its end. */
const FLAGS_OF_BOUNDS: Readonly<Record<keyof Bounds & `max_${string}`, readonly string[]>> = {
  max_mail_size: ["mail_size_exceeded"],
  max_depth: ["depth_exceeded", "lenient_depth_exceeded"],
  max_parts: ["parts_exceeded", "lenient_parts_exceeded"],
  max_attachments: ["attachments_exceeded"],
  max_urls: ["urls_exceeded", "inner_urls_exceeded"],
  max_recipients: ["addresses_exceeded"],
  max_header_size: ["header_too_large"],
  max_header_lines: ["header_lines_exceeded"],
  max_decoded_size: ["decoded_size_exceeded", "lenient_bytes_exceeded"],
  max_unpacked_size: ["inner_bytes_exceeded", "archive_member_cut"],
  max_archive_members: ["inner_exceeded", "archive_members_exceeded"],
  max_archive_ratio: ["archive_ratio_exceeded"],
};

const code = (text: string): string => `\`${text}\``;

function boundRows(): readonly (readonly string[])[] {
  const section = CONFIG_KEYS.keys.get("extract");
  if (section?.shape !== "section") throw new TypeError("extract is no section");
  const row = (name: string, flags: readonly string[]): readonly string[] => {
    const key = section.keys.get(name);
    for (const flag of flags) if (!Object.hasOwn(FLAGS, flag)) throw new TypeError(`no flag ${flag}`);
    return [code(name), code(inline(key?.default)), key?.note.description ?? "", flags.map(code).join(", ")];
  };
  return [
    row("timeout", ["time_exceeded"]),
    ...Object.entries(FLAGS_OF_BOUNDS).map(([name, flags]) => row(name, flags)),
  ];
}

/** A table with a column of examples, where one of its names has one. */
function namesTable(
  names: readonly (readonly [string, readonly string[]])[],
  head: readonly string[],
): string {
  const shown = names.some(([name]) => EXAMPLES[name] !== undefined);
  return table(
    shown ? [...head, "Example"] : head,
    names.map(([name, cells]) => [code(name), ...cells, ...(shown ? [EXAMPLES[name] ?? ""] : [])]),
  );
}

function flagTables(): readonly string[] {
  return FLAG_TABLES.flatMap(({ title, flags }) => [
    `### Flags: ${title}`,
    "",
    namesTable(
      Object.entries(flags).map(([name, { complete, meaning }]) => [
        name,
        [meaning, complete ? "yes" : "**no**"],
      ]),
      ["Flag", "Meaning", "Complete"],
    ),
    "",
  ]);
}

function factTables(): readonly string[] {
  return FACT_TABLES.flatMap(({ title, facts }) => [
    `### Facts: ${title}`,
    "",
    namesTable(
      Object.entries(facts).map(([name, { meaning }]) => [name, [meaning]]),
      ["Fact", "Meaning"],
    ),
    "",
  ]);
}

const MADE_FROM = "<!-- Made from src/extract and src/config by scripts/docs.ts: change it there. -->";

const PROSE = `
A sender chooses every byte of a mail, and mail programs read broken mails generously and differently. What one program
does not see another one opens. So the sensor does not ask what a mail *is*: it finds what *any* program could find in
it, says how it was found, and keeps to bounds while it does.

\`email-sensor scan FILE\` shows all of this for a mail on disk, with no network and no sensor:

\`\`\`text
$ email-sensor scan invoice.eml
invoice.eml
  subject     Your invoice, the password is the order number 4711
  attachments 2
    invoice.zip, 207B, application/zip
      sha256      c13fb213bec95e615af2d7cf0d483da43708cd3d9fb4bb3ca4b6f103e6dbd681
      facts       encrypted
      password    4711
    invoice.pdf.exe, 964B, application/vnd.microsoft.portable-executable, in invoice.zip
      sha256      a28485d77a14e7f741aa5caad4ae56914e35acc1399c4f016ca8ef771bb1b025
      facts       double_extension
  urls        2
    https://links.example.com/?url=https%3A%2F%2Fpay.example.net%2F1 (html)
    https://pay.example.net/1 (html)
      wrapped in  https://links.example.com/?url=https%3A%2F%2Fpay.example.net%2F1
\`\`\`

Nothing is opened, run or fetched. Extraction runs in helper processes that have no network, no other programs and no
secret, and that are killed at a limit of time and of memory: see [architecture.md](architecture.md#helpers).

## Three readings

| Reading | \`views\` | How it reads |
| --- | --- | --- |
| strict | \`mime\` | As the standards say (RFC 5322, RFC 2045 to 2049). |
| lenient | \`lenient\` | Every line that may begin a part does, every header counts in all the ways programs read it, a body is decoded in every way it may be meant. |
| sweep | \`sweep\` | No structure at all: base64 from any character on, quoted-printable, uuencode, yEnc, BinHex, Ascii85, files as they are, whole mails. |

Their union is what counts, by SHA-256. Of the last two, a content counts only when it is new and begins like a program,
an archive, a document, a disk image, a script or a page: an ordinary mail gains nothing. A content whose \`views\` do
not have \`mime\` was hidden from programs that keep to the standard; the flags say how.

## What is looked into

Each content is told by its bytes, never by its name, and read by the reader of its type. What lies in it is a content
of its own, with hashes, a type, facts, the names of what it lies in (\`path\`, outermost first), and what it lies in
directly (\`within\`: \`mail\`, \`archive\` or \`document\`).

| Content | What is taken out of it |
| --- | --- |
| mails in mails | \`message/rfc822\`, digests, forwarded mails, \`.eml\`, \`.mht\`; the original in a delivery report. Read in all three ways, as the mail itself |
| Outlook | \`.msg\`, \`winmail.dat\` (TNEF): text in every form, attachments, mails in mails, OLE objects |
| archives | zip, gzip, bzip2, xz, lzma, zstd, lz4, compress, tar, cpio, ar, deb, rpm, 7z, rar, cab, arj, lzh, chm, wim, xar |
| disk images | iso, udf, raw with partitions, vhd, vhdx, vmdk, qcow2, dmg, squashfs |
| Office | \`.docx\` and its like, \`.doc\` and its like, OpenDocument, RTF, OneNote, documents in one XML file: links, fields, remote templates, macros, embedded files and objects, images |
| PDF | links, files, scripts, actions, forms, in compressed and encrypted documents, too |
| pages and scripts | HTML, SVG, HTA, JavaScript: links, forms, frames, styles, files in \`data:\` URLs and in scripts |
| texts | plain text, CSV, calendars, business cards, VBScript, PowerShell, batch files |
| shortcuts | \`.lnk\`, \`.url\`, \`.desktop\` |
| images | PNG, JPEG, GIF, WebP, BMP: QR codes, and what hides behind the end of the image |

A file that is two things at once (a GIF with a zip behind it) is read as both.

### Archives

A zip is read as every program reads it: by each directory in it, and by the headers of the members themselves. Where
these disagree each reading is given and \`archive_ambiguous\` says so. Broken and cut-off archives give what can be had.

What policy does with archives is \`triage.archives\`: \`whole\` has VMRay analyse the archive, with its password, and
lists what lies in it as skipped; \`members\` has each member analysed by its own type.

### Passwords

Candidates come from the subject, the texts and pages of this mail, of mails around and in it, from file names, and
from a short list that senders of samples and of malware use (\`infected\`, \`1234\`). What follows a word for
"password" in one of some thirty languages is tried first, then what looks like a password, then every word. At most
200 are tried on archives (zip in both ciphers, 7z, rar) and PDF. The one that opens it is the \`password\` of the
attachment and goes to VMRay with it. Where none does, \`archive_encrypted\` or \`pdf_encrypted\` is flagged, and the mail
is not complete. Passwords never stand in an event.

### URLs

Schemes are http, https and ftp. Each URL has a normal form, by which it is compared, judged and cached: host in lower
case and punycode, percent-encoding made equal, no default port, no fragment. The same normal form is listed once, with
all its \`sources\`:

| Source | Where it stood |
| --- | --- |
| \`text\`, \`html\`, \`subject\`, \`calendar\` | the bodies and the subject |
| \`html-resource\`, \`html-script\`, \`html-comment\` | what a page loads, in its scripts, in its comments |
| \`list-unsubscribe\` and other names of fields | the header |
| \`qr\` | a QR code or its like, in an image, a document, or drawn |
| \`attachment\` | a text, page or script that is attached |
| \`pdf\`, \`office\`, \`macro\`, \`shortcut\`, \`outlook\` and the like | a document, a macro, a shortcut, a mail of Outlook |

Policy asks about none whose sources all end in \`-resource\` or \`-comment\`: no reader opens them.

- **Wrappers** are opened in one another, to five levels: SafeLinks, URL Defense 1 to 3, Barracuda, Cisco, Google, and
  every other URL that carries one in its query, its path or its fragment, plain, escaped or in base64. Both are
  listed; \`unwrapped_from\` of the inner one names the outer ones. A wrapper that keeps its target to itself but
  names its domain (Mimecast) has that as \`target_domain\`.
- **Scripts** are not run. Their literals are read, and what the usual functions (\`atob\`, \`unescape\`, \`join\`,
  \`fromCharCode\`) put together of them.
- **What only looks like one** is none: \`report.zip\`, \`done.It\`, \`1.2.3.4\`, \`example.com\`. Without a scheme it needs
  \`www.\`, or a domain of the public suffix list and a path.
- **Recipients**: an address of a recipient is no URL, and one that carries it, plain, escaped, in base64 or as a hash,
  is marked \`personal\`.

### QR codes

QR, Micro QR, rMQR, Data Matrix, Aztec and PDF417, in images, in images of documents, and put together from the pieces
of a page of a PDF: several, small, turned, inverted, faint, in one colour, on a transparent ground. Drawn ones, too: with
characters (blocks, Braille, any two) and with tables and boxes of HTML.

## Whom a mail was for

The envelope of a copy names the mailbox of copies alone. So the envelope of a mail is taken, in this order, from

1. a **journal report** of Exchange or Microsoft 365: its sender and recipients, Bcc and members of groups, too. Anyone
   can send a mail that looks like one. So it counts only where the report has a marker, a text of known fields and one
   mail, and nothing else that would go unseen, and where its text speaks of that mail. Otherwise it is an ordinary
   mail with \`journal_report_rejected\`. \`extract.journal\` and \`extract.journal_addresses\` say where reports may come
   from. Several reports of one mail are one mail: their events have the id of the first one, which gets the
   recipients of all.
2. the **address of the copy**, where the MTA wrote the recipient into it:
   \`copies+user=example.org@sensor.example\`, for the mailboxes of \`extract.copy_addresses\`.
3. **fields that the MTA wrote** on top of the mail: \`X-Original-To\`, \`Delivered-To\`, \`Envelope-To\` and their
   like. Those below the first \`Received\` do not count: a sender can write them.

\`scan\` and \`mail ID\` name the source as \`journal\` or \`copy\`.
`.trim();

export function extractionReference(): string {
  const unknown = Object.keys(EXAMPLES).filter((name) => !Object.hasOwn({ ...FLAGS, ...FACTS }, name));
  if (unknown.length > 0) throw new TypeError(`examples of no flag and no fact: ${unknown.join(", ")}`);
  return [
    "# How mails are taken apart",
    "",
    MADE_FROM,
    "",
    PROSE,
    "",
    "## Bounds",
    "",
    "Each is a key of `extract:` ([configuration.md](configuration.md#extract)). A mail over a bound is analysed as far as",
    "the bound reaches, and a flag says so; where contents or URLs may be missing, it is not `complete`.",
    "",
    table(["Key of `extract`", "Default", "Bounds", "Flag"], boundRows()),
    "",
    "A helper that needs more than `extract.memory`, or that does not end by `extract.timeout`, is killed: after",
    "`extract.attempts` the mail has failed, with a `mail.failed` event. Reading ends well before that time, so that what was",
    "found by then counts.",
    "",
    "For example, with `max_attachments: 500` a mail with 600 attachments has the first 500 of them judged, the flag",
    "`attachments_exceeded`, and `complete: false` in its event.",
    "",
    "## Flags",
    "",
    "A flag is what was odd about a mail, or what was not read. They stand in `flags` of the event. *Complete* says whether",
    "a mail with this flag alone counts as taken apart in full; where it does not, `complete` of the event is false.",
    "",
    ...flagTables(),
    "## Facts",
    "",
    "A fact is true of one attachment. They stand in `facts` of the attachment in the event.",
    "",
    ...factTables(),
  ]
    .join("\n")
    .trimEnd()
    .concat("\n");
}
