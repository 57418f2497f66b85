/**
 * An alert as the bytes of a mail: multipart/alternative, and the logo beside the HTML.
 *
 * Text, HTML and addresses in, RFC 5322 with CRLF out, everything in ASCII, so that no relay has to change it. The
 * library encodes every header. The marker is over what comes out, and the DKIM signature over that.
 */
import MailComposer from "nodemailer/lib/mail-composer";
import { type DkimKey, signDkim } from "./dkim.ts";
import type { Logo } from "./logo.ts";
import { markAlert } from "./marker.ts";

export type Alert = {
  readonly subject: string;
  readonly text: string;
  readonly html: string;
  /** With angle brackets; the same for the same alert, so that a second sending can be told. */
  readonly messageId: string;
};

export async function alertMessage(options: {
  readonly alert: Alert;
  readonly from: string;
  readonly to: string;
  readonly logo: Logo | null;
  readonly secret: Uint8Array;
  readonly dkim: DkimKey | null;
  /** Milliseconds since 1970. */
  readonly now: number;
}): Promise<Buffer> {
  const { alert, logo, dkim, now } = options;
  const composed = await new MailComposer({
    from: { name: "Email sensor", address: options.from },
    to: { name: "", address: options.to },
    subject: alert.subject,
    messageId: alert.messageId,
    date: new Date(now),
    text: { content: alert.text, contentTransferEncoding: "quoted-printable" },
    html: { content: alert.html, contentTransferEncoding: "quoted-printable" },
    // No Precedence: it is no field of a standard, and the null return path and Auto-Submitted say more.
    headers: { "Auto-Submitted": "auto-generated", "X-Auto-Response-Suppress": "All" },
    attachments:
      logo === null
        ? []
        : [
            {
              cid: "logo",
              filename: logo.type === "image/png" ? "logo.png" : "logo.jpg",
              content: logo.bytes,
              contentType: logo.type,
              contentDisposition: "inline",
            },
          ],
    newline: "\r\n",
    disableFileAccess: true,
    disableUrlAccess: true,
  })
    .compile()
    .build();
  const marked = markAlert(composed, options.secret, now);
  return dkim === null ? marked : signDkim(marked, dkim);
}
