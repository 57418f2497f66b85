/**
 * The mail relay of the demo: takes the alert mails and keeps their facts.
 *
 * In: SMTP on 127.0.0.1 at a port the system chooses. Out: one {@link SunkMail} for each mail taken. Size, count and
 * connections are bounded; what is more is refused with 452.
 */
import { simpleParser } from "mailparser";
import { SMTPServer } from "smtp-server";

export type SunkMail = {
  readonly from: string;
  readonly to: readonly string[];
  readonly subject: string;
  readonly text: string;
  /** Auto-Submitted of RFC 3834, null where the header is missing. */
  readonly autoSubmitted: string | null;
};

export type MailSink = { readonly port: number; close(): Promise<void> };

const MAX_SIZE = 1024 ** 2;
const MAX_MAILS = 100;

/** Starts it and calls `receive` for each mail. */
export async function listenForMail(receive: (mail: SunkMail) => void): Promise<MailSink> {
  let taken = 0;
  const server = new SMTPServer({
    banner: "email-sensor demo relay",
    authOptional: true,
    disabledCommands: ["AUTH", "STARTTLS"],
    disableReverseLookup: true,
    size: MAX_SIZE,
    maxClients: 10,
    logger: false,
    onData(stream, session, done) {
      const refuse = (message: string) => done(Object.assign(new Error(message), { responseCode: 452 }));
      simpleParser(stream, { skipImageLinks: true }).then(
        (mail) => {
          taken += 1;
          if (taken > MAX_MAILS || stream.sizeExceeded) return refuse("the demo takes no more mail");
          const mailFrom = session.envelope.mailFrom;
          const autoSubmitted = mail.headers.get("auto-submitted");
          receive({
            from: mailFrom === false ? "" : mailFrom.address,
            to: session.envelope.rcptTo.map((recipient) => recipient.address),
            subject: mail.subject ?? "",
            text: mail.text ?? "",
            autoSubmitted: typeof autoSubmitted === "string" ? autoSubmitted : null,
          });
          return done();
        },
        (fault: unknown) => refuse(fault instanceof Error ? fault.message : String(fault)),
      );
    },
  });

  await new Promise<void>((resolve, reject) => {
    server.once("error", reject);
    server.listen(0, "127.0.0.1", () => resolve());
  });
  // Later faults are of single connections; the sensor sees them as well and tries again.
  server.on("error", () => undefined);
  const address = server.server.address();
  if (address === null || typeof address === "string") throw new Error("the mail sink has no port");
  return { port: address.port, close: () => new Promise((resolve) => server.close(() => resolve())) };
}
