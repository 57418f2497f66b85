/**
 * Intake: takes copies of mails over SMTP and gives them to the spool.
 *
 * 250 is answered after the bytes are on disk. What the sensor cannot do now is 4xx (452 where the disk is
 * full), so that the MTA keeps the mail; 5xx is policy alone: a client that is not allowed, a mail over the size
 * limit, a session without TLS where TLS is required. Bytes are streamed: memory holds a chunk of each session.
 */
import { readFileSync } from "node:fs";
import { isIP, type Server } from "node:net";
import type { SMTPServerDataStream, SMTPServerOptions, SMTPServerSession } from "smtp-server";
import type { Config } from "../config/schema.ts";
import { asSensorError, SensorError } from "../errors.ts";
import { faultFields, type Log } from "../log.ts";
import type { MailBody, Spool } from "../spool/spool.ts";
import type { Envelope } from "./mail.ts";
import { networkTest } from "./networks.ts";
import { type CopyServer, createCopyServer } from "./smtp-connection.ts";

export type Intake = {
  readonly addresses: readonly { readonly host: string; readonly port: number }[];
  /** Stops listening; sessions in the middle of a mail may finish it within `grace` milliseconds. */
  stop(grace: number): Promise<void>;
};

/** Listens on every address of `settings.listen`. Throws LISTEN_FAILED and leaves nothing open where one fails. */
export async function startIntake(settings: Config["smtp"], spool: Spool, log: Log): Promise<Intake> {
  const stageLog = log.with({ stage: "intake" });
  const options = serverOptions(settings, spool, stageLog);
  const announcedTooLarge = (clientIp: string, size: number) =>
    stageLog.warn("a mail was not taken", {
      client_ip: clientIp,
      size,
      ...faultFields(tooLarge()),
    });
  const servers: CopyServer[] = [];
  const stop = async (grace: number) => {
    await Promise.all(
      servers.map(
        (server) =>
          new Promise<void>((resolve) => {
            server.options.closeTimeout = Math.max(1, grace);
            server.close(resolve);
            server.endIdle();
          }),
      ),
    );
  };
  const addresses: { host: string; port: number }[] = [];
  try {
    for (const address of settings.listen) {
      const server = createCopyServer(options, announcedTooLarge);
      servers.push(server);
      addresses.push(await listen(server, address));
      server.on("error", (error) =>
        stageLog.warn("an SMTP session broke", faultFields(asSensorError(error))),
      );
    }
  } catch (thrown) {
    await stop(0);
    throw thrown;
  }
  for (const { host, port } of addresses) stageLog.info("listening for mail", { host, port });
  return { addresses, stop };
}

function listen(server: CopyServer, address: string): Promise<{ host: string; port: number }> {
  const colon = address.lastIndexOf(":");
  const host = address.slice(0, colon).replace(/^\[|\]$/g, "");
  const port = Number(address.slice(colon + 1));
  return new Promise((resolve, reject) => {
    const failed = (error: Error) =>
      reject(
        new SensorError("LISTEN_FAILED", `cannot listen on ${address}: ${error.message}`, { cause: error }),
      );
    server.once("error", failed);
    const listener: Server = server.listen({ port, host }, () => {
      server.off("error", failed);
      const bound = listener.address();
      resolve({ host, port: typeof bound === "object" && bound !== null ? bound.port : port });
    });
  });
}

function serverOptions(settings: Config["smtp"], spool: Spool, log: Log): SMTPServerOptions {
  const allowed = networkTest(settings.networks);
  const { tls } = settings;
  return {
    name: settings.hostname,
    banner: "email-sensor",
    size: settings.max_size,
    rejectOversized: true,
    maxRecipients: settings.max_recipients,
    maxClients: settings.max_connections,
    socketTimeout: settings.idle_timeout,
    disableReverseLookup: true,
    authOptional: true,
    disabledCommands: tls === undefined ? ["AUTH", "STARTTLS"] : ["AUTH"],
    hideREQUIRETLS: true,
    hideENHANCEDSTATUSCODES: false,
    heloResponse: "%s",
    logger: false,
    ...(tls === undefined
      ? {}
      : {
          cert: readTls("smtp.tls.cert_file", tls.cert_file),
          key: readTls("smtp.tls.key_file", tls.key_file),
        }),
    onConnect: (session, callback) => {
      if (allowed(session.remoteAddress)) {
        callback();
        return;
      }
      log.warn("refused a client outside smtp.networks", { client_ip: session.remoteAddress });
      callback(reply(554, `${session.remoteAddress} is not allowed to hand over mail here (smtp.networks)`));
    },
    onMailFrom: (_address, session, callback) => {
      if (tls?.required === true && !session.secure) {
        log.warn("refused a mail without TLS (smtp.tls.required)", { client_ip: session.remoteAddress });
        callback(reply(530, "Must issue a STARTTLS command first"));
        return;
      }
      try {
        spool.ready();
        callback();
      } catch (thrown) {
        callback(refusal(thrown, log, { client_ip: session.remoteAddress }));
      }
    },
    onRcptTo: (_address, _session, callback) => callback(),
    onData: (stream, session, callback) => {
      // One time for both: mails are listed by the time in their ids.
      const receivedAt = Date.now();
      const id = Bun.randomUUIDv7("hex", receivedAt);
      take(id, receivedAt, stream, session, spool, log).then(
        () => callback(null, `OK: queued as ${id}`),
        (thrown) => callback(refusal(thrown, log, { mail_id: id, client_ip: session.remoteAddress })),
      );
    },
  };
}

function readTls(key: string, path: string): Buffer {
  try {
    return readFileSync(path);
  } catch (thrown) {
    throw new SensorError("CONFIG_INVALID", `${key}: cannot read ${path}`, { cause: thrown });
  }
}

/** Takes one mail to disk; resolves after the commit. */
async function take(
  id: string,
  receivedAt: number,
  stream: SMTPServerDataStream,
  session: SMTPServerSession,
  spool: Spool,
  log: Log,
): Promise<void> {
  const envelope = envelopeOf(session);
  const body = spool.body(id);
  try {
    await readAll(stream, body);
    const { size, sha256, raw } = await body.finish();
    await spool.putMail({ id, receivedAt, envelope, size, sha256, body: raw });
    log.info("mail received", {
      mail_id: id,
      size,
      recipients: envelope.to.length,
      client_ip: envelope.client_ip,
      ms: Date.now() - receivedAt,
    });
  } catch (thrown) {
    await body.abort();
    throw thrown;
  }
}

/**
 * Reads a mail to its end. Whatever fails, the client sends its mail to the end and gets the answer then: the rest is
 * read and dropped.
 */
function readAll(stream: SMTPServerDataStream, body: MailBody): Promise<void> {
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  let failure: unknown = null;
  const fail = (thrown: unknown) => {
    failure ??= thrown;
    stream.resume();
  };
  stream.on("data", (chunk: Uint8Array) => {
    if (failure !== null) return;
    if (stream.sizeExceeded) {
      fail(tooLarge());
      return;
    }
    const written = body.write(chunk);
    if (written === null) return;
    stream.pause();
    written.then(() => stream.resume(), fail);
  });
  stream.on("end", () => {
    if (failure === null && stream.sizeExceeded) failure = tooLarge();
    if (failure === null) resolve();
    else reject(failure);
  });
  stream.on("error", (cause) => reject(aborted(cause)));
  stream.on("close", () => reject(aborted()));
  return promise;
}

function aborted(cause?: unknown): SensorError {
  return new SensorError("SMTP_ABORTED", "the client left in the middle of a mail", { cause });
}

function tooLarge(): SensorError {
  return new SensorError("MAIL_TOO_LARGE", "a mail is over smtp.max_size");
}

function envelopeOf(session: SMTPServerSession): Envelope {
  const { mailFrom, rcptTo } = session.envelope;
  const cipher = session.tlsOptions;
  return {
    from: mailFrom === false ? "" : mailFrom.address,
    to: rcptTo.map((recipient) => recipient.address),
    client_ip: isIP(session.remoteAddress) === 0 ? "" : session.remoteAddress,
    helo: session.hostNameAppearsAs || "",
    tls: cipher === false ? null : `${cipher.version} ${cipher.name}`,
  };
}

function reply(responseCode: number, message: string): Error & { responseCode: number } {
  return Object.assign(new Error(message), { responseCode });
}

/** The 4xx answer to a fault of ours; what went wrong is for the log, not for the client. */
function refusal(
  thrown: unknown,
  log: Log,
  about: Readonly<Record<string, string>>,
): Error & { responseCode: number } {
  const error = asSensorError(thrown);
  const level = error.code === "SMTP_ABORTED" ? "info" : "warn";
  log[level]("a mail was not taken", { ...about, ...faultFields(error) });
  if (error.code === "MAIL_TOO_LARGE") return reply(552, "Message exceeds fixed maximum message size");
  return error.code === "SPOOL_FULL"
    ? reply(452, "Insufficient system storage, try again later")
    : reply(451, "Local error in processing, try again later");
}
