/**
 * Mails of different kinds, numbered, each with the verdict that the analyzer simulator's documented rules give.
 *
 * The number makes a content one of its own; `variants` says after how many mails contents repeat.
 */
import { strToU8, zipSync } from "fflate";
import { EICAR, MARKER_PREFIX } from "../../../src/analyzer/simulator/judgement.ts";
import type { Verdict } from "../../../src/verdict/verdict.ts";
import type { TestMail } from "./smtp.ts";

export type NumberedMail = TestMail & {
  /** The Message-ID, which is in the event. */
  readonly key: string;
  readonly verdict: Verdict;
  readonly complete: boolean;
};

const ZIP_TIME = new Date(2020, 0, 1, 12);

type Kind = {
  readonly verdict: Verdict;
  readonly complete?: boolean;
  readonly parts: (variant: number) => readonly Part[];
};
/** A part of a mail; one with a name is an attachment. */
export type Part = { readonly type: string; readonly name?: string; readonly body: string | Uint8Array };

const text = (body: string): Part => ({ type: "text/plain; charset=utf-8", body });
const file = (name: string, type: string, body: string | Uint8Array): Part => ({ type, name, body });
const zip = (name: string, members: Record<string, string>): Part =>
  file(
    name,
    "application/zip",
    zipSync(Object.fromEntries(Object.entries(members).map(([key, value]) => [key, strToU8(value)])), {
      mtime: ZIP_TIME,
    }),
  );
const nested = (inner: string): Part => ({ type: "message/rfc822", name: "forwarded.eml", body: inner });

const failingScript = (n: number) => `// ${n} ${MARKER_PREFIX}error\n`;

const KINDS: readonly Kind[] = [
  { verdict: "clean", parts: (n) => [text(`Nothing to see, number ${n}.\r\n`)] },
  {
    verdict: "malicious",
    parts: (n) => [text("See invoice."), zip(`invoice-${n}.zip`, { [`i${n}.com`]: EICAR })],
  },
  {
    verdict: "suspicious",
    parts: (n) => [
      text("Macro."),
      file(`run${n}.js`, "text/javascript", `// ${n} ${MARKER_PREFIX}suspicious\n`),
    ],
  },
  {
    verdict: "malicious",
    parts: (n) => [
      { type: "text/html; charset=utf-8", body: `<p><a href="http://malicious.example/p${n}">here</a></p>` },
    ],
  },
  {
    verdict: "malicious",
    parts: (n) => [
      text("Forwarded."),
      nested(
        mime("inner@example.com", `<inner-${n}@example.com>`, `Inner ${n}`, [
          text("inside"),
          file(`in${n}.vbs`, "application/octet-stream", `' ${n} ${MARKER_PREFIX}malicious\r\n`),
        ]),
      ),
    ],
  },
  { verdict: "clean", parts: (n) => [text(`A clean link: https://www.example.org/page/${n} thanks`)] },
  {
    verdict: "clean",
    parts: (n) => [text("Script."), file(`ok${n}.ps1`, "text/plain", `Write-Host ${n}\r\n`)],
  },
  {
    verdict: "not_available",
    complete: false,
    parts: (n) => [text("Fails."), file(`bad${n}.js`, "text/javascript", failingScript(n))],
  },
  {
    verdict: "malicious",
    parts: (n) => [
      text("Größe"),
      zip(`Rechnung-Größe-${n}.zip`, { [`größe${n}.js`]: `// ${n} ${MARKER_PREFIX}malicious` }),
      { type: "image/png", name: "logo.png", body: Buffer.from("89504e470d0a1a0a0000000d49484452", "hex") },
    ],
  },
];

/** SHA-256 of the contents whose analysis fails: only they are submitted again for the next mail with them. */
export function failingContents(variants: number): ReadonlySet<string> {
  const hashes = Array.from({ length: variants }, (_, n) =>
    new Bun.CryptoHasher("sha256").update(failingScript(n)).digest("hex"),
  );
  return new Set(hashes);
}

export function mails(count: number, variants: number, prefix = "m"): readonly NumberedMail[] {
  return Array.from({ length: count }, (_, i) => {
    const kind = KINDS[i % KINDS.length];
    if (kind === undefined) throw new Error("there is no kind of mail");
    const variant = Math.floor(i / KINDS.length) % variants;
    const key = `<${prefix}-${i}@example.com>`;
    return {
      key,
      from: i % 10 === 9 ? "" : "alice@example.com",
      to: i % 5 === 0 ? ["bob@example.org", "carol@example.org"] : ["bob@example.org"],
      content: mime("alice@example.com", key, `Mail ${i} äöü`, kind.parts(variant)),
      verdict: kind.verdict,
      complete: kind.complete ?? true,
    };
  });
}

/** A mail of these parts. */
export function mime(from: string, messageId: string, subject: string, parts: readonly Part[]): string {
  const head = [
    `From: Alice <${from}>`,
    "To: bob@example.org",
    `Subject: =?utf-8?B?${Buffer.from(subject).toString("base64")}?=`,
    `Message-ID: ${messageId}`,
    "Date: Mon, 02 Nov 2026 10:00:00 +0000",
    "MIME-Version: 1.0",
  ];
  const boundary = "----=_part";
  const mark = boundary + Bun.hash(messageId).toString(36);
  const bodies = parts.map((part) => {
    const name = part.name === undefined ? "" : `; name*=utf-8''${encodeURIComponent(part.name)}`;
    const disposition =
      part.name === undefined
        ? []
        : [`Content-Disposition: attachment; filename*=utf-8''${encodeURIComponent(part.name)}`];
    const plain = part.type === "message/rfc822";
    const body = plain
      ? String(part.body)
      : Buffer.from(part.body).toString("base64").replace(/.{76}/g, "$&\r\n");
    return [
      `--${mark}`,
      `Content-Type: ${part.type}${name}`,
      ...disposition,
      ...(plain ? [] : ["Content-Transfer-Encoding: base64"]),
      "",
      body,
      "",
    ].join("\r\n");
  });
  return [
    ...head,
    `Content-Type: multipart/mixed; boundary="${mark}"`,
    "",
    ...bodies,
    `--${mark}--`,
    "",
  ].join("\r\n");
}
